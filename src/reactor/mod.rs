//! The loop that runs nodes on a driver: pinned to a core, or inline without a thread.
//!
//! A turn gives every node a bounded amount of work; sources receive first and the driver is
//! polled only when a turn found nothing and the idle strategy says so, because a poll on every
//! message costs a fifth of a round trip. Housekeeping is paced and bounded. Each tick of the
//! loop's time belongs to exactly one regime.
//!
//! Invariant: knows nodes and the driver; never the topology, never what a stage does.

mod counters;
mod notice;
mod round;
mod schedule;
mod turn;

pub use counters::LoopCounters;
pub use notice::Notices;
pub use schedule::{Order, Schedule};
pub use turn::{OpenError, Reactor, Step};
