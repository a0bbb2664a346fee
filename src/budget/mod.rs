//! What a line owes and what it did: limits, counters that add up, regimes, and the report.
//!
//! - *wait* = t_dequeue − t_offer, *service* = t_done − t_dequeue, *sojourn* = wait + service: local to a hop.
//! - *end to end* = t_done at the sink − the message's intended time.
//!
//! Invariant: values and counters only; nobody is called from here and nothing is timed here.

pub mod beyond;
pub mod culprit;
pub mod delay;
pub mod evidence;
pub mod fidelity;
pub mod follow;
pub mod ledger;
pub mod limit;
pub mod link;
pub mod losses;
pub mod pace;
pub mod regime;
pub mod report;
pub mod sequenced;
pub mod skew;
pub mod slope;
pub mod taint;
pub mod ways;

pub use beyond::{Beyond, BeyondBudgets, BeyondReport};
pub use culprit::Culprit;
pub use evidence::{
    Evidence, HopEvidence, LongSegment, LoopEvidence, Pace, Passage, Segment, ShedNote, Witness,
};
pub use fidelity::{Fidelity, FidelityReport};
pub use ledger::{Arrivals, HopCounters, IngressCounters, Peaks, StageCounters};
pub use limit::{Budget, BudgetError, Limit, Of, Quantile};
pub use link::{LinkCounters, LinkReport, LinkState};
pub use regime::{Regime, Regimes};
pub use skew::{Gaps, GapsCounters, GapsReport, Skew, SkewCounters, SkewReport};
