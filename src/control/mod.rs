//! How the outside steers a running line, and how its loops speak back: state, a word, few requests, rare complaints.
//!
//! ```text
//!   outside ── Control ───→ every loop     one word: run, drain, give up; it only rises
//!   outside ── Latest ────→ a loop         a policy or a flag: the loop sees the last one, however late it looks
//!   outside ── Sampling ──→ every hop      one word: of how many messages one is told
//!   outside ── Requests ──→ a loop         pause, resume: a bounded queue, taken with the loop's housekeeping
//!   loop ───── Latest ────→ the outside    where a node is in its life
//!   loop ───── Complaints → the outside    what went wrong: bounded, few a second, the rest counted
//! ```
//!
//! What is *state* goes through a [`Latest`], which is level-triggered: it is right for whoever reads it, whenever. What is an
//! *event* goes through a bounded queue, and where that has no room the sender is told ([`Requests`]) or the event is counted
//! ([`Complaints`]). Nothing here waits, locks or allocates after its start.
//!
//! Invariant: holds state that a late reader still sees; knows nobody who reads it: nodes and hops are numbers here.

mod complaints;
mod latest;
mod line;
mod requests;
mod sampling;

pub use complaints::{Complaint, Complaints, KINDS, Voice, What, complaints};
pub use latest::{Epoch, Latest, Words};
pub use line::{Command, Control};
pub use requests::{Full, Request, Requests};
pub use sampling::Sampling;
