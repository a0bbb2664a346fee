//! Verdicts on latency: measured runs, what the host did to them, and whether budgets hold.
//!
//! Invariant: no verdict is made from a run whose ledger is open, whose logs were cut, or that had no samples.

pub mod budget;
pub mod compare;
pub mod derive;
pub mod model;
pub mod outcome;
mod pooled;
pub mod stats;
