//! The dashboard: a running line for those who follow it, and the page that shows it.
//!
//! | file | what it does |
//! |---|---|
//! | [`feed`] | looks at the line, and publishes what is new of it |
//! | `samples` | chooses which messages are shown with their way |
//! | [`burn`] | how much of the latency error budget is spent |
//! | [`assets`] | the page, embedded: no build step, nothing loaded from elsewhere |
//!
//! ```text
//!   Running ─ fifty looks a second ──→ Feed ─ what is new ──→ edge::Publisher ──→ clients
//!             states and faults: each     │
//!             figures: four times a second, and only while somebody follows
//! ```
//!
//! What the feed has published it keeps, and publishes what differs. Where the edge has no room, it keeps the older value, so
//! that the next look publishes the newest: a state cannot be lost on the way, however late it is.
//!
//! Invariant: a look reads what the line shows and waits for nobody; a line that nobody follows pays for states alone.

pub mod assets;
pub mod burn;
pub mod feed;
mod samples;

pub use burn::Burn;
pub use feed::{Feed, Look};
