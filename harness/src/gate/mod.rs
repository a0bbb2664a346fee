//! Verdicts on latency: measured runs, what the host did to them, and whether budgets hold.
//!
//! Invariant: no verdict is made from a run whose ledger is open, whose logs were cut, or that had no samples.

pub mod analyse;
pub(crate) mod apart;
pub(crate) mod bench;
mod blame;
pub mod budget;
pub(crate) mod capacity;
mod child;
pub(crate) mod command;
pub mod compare;
pub mod derive;
pub mod drift;
pub mod each;
pub mod facts;
pub mod model;
pub(crate) mod once;
pub mod out;
pub mod outcome;
mod path;
mod pooled;
pub(crate) mod revision;
pub mod spans;
pub mod stats;
mod timeline;
mod touch;
pub(crate) mod wake;
