//! The way of an event beyond the line: from the edge to a person's screen. Hops without a ring, of which samples are taken.
//!
//! ```text
//!   the edge has it ── edge.queue ──→ handed to the socket ── edge.wire ──→ the client has it ── client.paint ──→ on its screen
//!   by the server's clock, exact         by the client's clock, as far as it knows how far off that is
//! ```
//!
//! Invariant: values and counters only; a percentile that too few samples stand behind is said to be so.

use std::collections::BTreeMap;

use serde::Serialize;

use super::limit::{Budget, Quantile};
use super::report::{BudgetReport, Percentiles};
use crate::hist::Totals;

crate::reasons! {
    /// A hop beyond the line, by the name that budget files and reports use.
    pub enum Beyond {
        /// From when the edge had an event until its last byte was handed to a client's socket.
        EdgeQueue = "edge.queue",
        /// From there until the client had it.
        EdgeWire = "edge.wire",
        /// From there until it was on the client's screen.
        ClientPaint = "client.paint",
    }
}

impl Beyond {
    /// How many there are.
    pub const COUNT: usize = 3;

    /// The hop of that name.
    ///
    /// ```
    /// use hopline::budget::Beyond;
    /// assert_eq!(Beyond::parse("edge.wire"), Some(Beyond::EdgeWire));
    /// assert_eq!(Beyond::parse("book->signal"), None);
    /// ```
    #[must_use]
    pub fn parse(name: &str) -> Option<Beyond> {
        use crate::base::Reason as _;
        Beyond::ALL.iter().copied().find(|hop| hop.name() == name)
    }
}

const _: () = assert!(Beyond::ALL.len() == Beyond::COUNT);

/// What each hop beyond the line owes, in the order of [`Beyond::ALL`].
pub type BeyondBudgets = [Option<Budget>; Beyond::COUNT];

/// One hop beyond the line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BeyondReport {
    /// Its name.
    pub name: &'static str,
    /// What samples of it took, in nanoseconds.
    pub sojourn_ns: Percentiles,
    /// What it owes, if anything was said.
    pub budget: Option<BudgetReport>,
    /// Samples over each limit: exact, raw, unjudged.
    pub over_budget: BTreeMap<&'static str, u64>,
    /// Limits that too few samples were taken for to say whether they hold, with the fewest that would do.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub too_few: BTreeMap<&'static str, u64>,
    /// Samples longer than histograms tell apart.
    pub saturated: u64,
}

impl BeyondReport {
    /// What a histogram of it says, whose limits are those of the budget.
    #[must_use]
    pub fn new(hop: Beyond, totals: &Totals, budget: Option<&Budget>) -> BeyondReport {
        use crate::base::Reason as _;
        let limits = budget.map_or(&[][..], Budget::limits);
        let over = limits.iter().enumerate();
        let few = limits
            .iter()
            .map(|limit| (limit.quantile, samples_for(limit.quantile)));
        BeyondReport {
            name: hop.name(),
            sojourn_ns: Percentiles::of(totals),
            budget: budget.map(BudgetReport::new),
            over_budget: over
                .map(|(at, limit)| (limit.quantile.name(), totals.over(at)))
                .collect(),
            too_few: few
                .filter(|(_, fewest)| totals.count() < *fewest)
                .map(|(quantile, fewest)| (quantile.name(), fewest))
                .collect(),
            saturated: totals.saturated(),
        }
    }
}

/// The fewest samples that say anything of a quantile: ten of them lie beyond it. Of the largest value one says as much as there
/// is to say.
///
/// ```
/// use hopline::budget::{Quantile, beyond::samples_for};
/// assert_eq!([Quantile::P50, Quantile::P99, Quantile::Max].map(samples_for), [20, 1_000, 1]);
/// ```
#[must_use]
pub const fn samples_for(quantile: Quantile) -> u64 {
    match quantile {
        Quantile::P50 => 20,
        Quantile::P90 => 100,
        Quantile::P99 => 1_000,
        Quantile::P999 => 10_000,
        Quantile::Max => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_counted_exactly_and_too_few_samples_are_told() {
        let budget = Budget::default();
        let budget = budget.limit_ns(Quantile::P50, 1_000_000).unwrap();
        let budget = budget.limit_ns(Quantile::P99, 2_000_000).unwrap();
        let limits: Vec<u64> = budget.limits().iter().map(|limit| limit.limit_ns).collect();
        let mut totals = Totals::new(&limits).unwrap();
        (1..=30).for_each(|n| totals.record(n * 100_000));
        let report = BeyondReport::new(Beyond::EdgeWire, &totals, Some(&budget));
        assert_eq!((report.name, report.sojourn_ns.count), ("edge.wire", 30));
        let over: Vec<(&str, u64)> = report.over_budget.into_iter().collect();
        assert_eq!(over, [("p50", 20), ("p99", 10)]);
        let few: Vec<(&str, u64)> = report.too_few.into_iter().collect();
        assert_eq!(few, [("p99", 1_000)]);
    }

    #[test]
    fn without_a_budget_nothing_is_over_and_nothing_too_few() {
        let totals = Totals::new(&[]).unwrap();
        let report = BeyondReport::new(Beyond::EdgeQueue, &totals, None);
        assert!(report.over_budget.is_empty() && report.too_few.is_empty());
        assert_eq!(report.budget, None);
    }
}
