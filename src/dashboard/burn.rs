//! How much of the latency error budget is spent.
//!
//! A limit "99 of 100 messages take at most B" is a budget of one message in a hundred that may take longer. What is spent of it
//! is the share that did, from the start of the run; what is left is 1 less the ratio of both. Of all limits of a line the one
//! counts of which the least is left (after the error budgets of *Site Reliability Engineering*, chapter 3). Raw counts: it is
//! what users got, whoever is to blame.
//!
//! Invariant: a line without limits, or without messages, has spent nothing.

use std::collections::BTreeMap;

use crate::budget::report::BudgetReport;
use crate::topology::Report;

/// The limit of which the least is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burn {
    /// Messages over the limit, in parts per million of all.
    pub spent_ppm: u64,
    /// How many may be.
    pub budget_ppm: u64,
    /// What is left, in thousandths.
    pub remaining_permille: u64,
}

impl Burn {
    /// Of a line without limits.
    pub const NONE: Burn = Burn {
        spent_ppm: 0,
        budget_ppm: 0,
        remaining_permille: 1_000,
    };

    /// What is left of so many messages that may be over a limit, of which so many were.
    ///
    /// ```
    /// use hopline::dashboard::Burn;
    /// let burn = Burn::of("p99", 10_000, 25);
    /// assert_eq!((burn.spent_ppm, burn.budget_ppm, burn.remaining_permille), (2_500, 10_000, 750));
    /// assert_eq!(Burn::of("p99", 10_000, 101).remaining_permille, 0);
    /// assert_eq!(Burn::of("max", 10, 0).remaining_permille, 1_000);
    /// ```
    #[must_use]
    pub fn of(quantile: &str, count: u64, over: u64) -> Burn {
        let budget_ppm = match quantile {
            "p50" => 500_000,
            "p90" => 100_000,
            "p99" => 10_000,
            "p99_9" => 1_000,
            // The largest: none may be over it.
            _ => 0,
        };
        if count == 0 {
            return Burn {
                budget_ppm,
                ..Burn::NONE
            };
        }
        let spent_ppm = (u128::from(over) * 1_000_000 / u128::from(count)) as u64;
        // Of the counts and not of what was rounded: one message of a hundred million that was over counts.
        let allowed = u128::from(count) * u128::from(budget_ppm);
        let spent = u128::from(over) * 1_000_000;
        let remaining_permille = match allowed {
            0 => 1_000 * u128::from(over == 0),
            _ => 1_000 * allowed.saturating_sub(spent) / allowed,
        };
        Burn {
            spent_ppm,
            budget_ppm,
            remaining_permille: remaining_permille as u64,
        }
    }

    /// That of a line.
    #[must_use]
    pub fn of_line(report: &Report) -> Burn {
        let hops = report.hops.iter().flat_map(|hop| {
            let count = match hop.budget.as_ref().map(|budget| budget.of.name()) {
                Some("wait") => hop.wait_ns.count,
                Some("service") => hop.service_ns.count,
                _ => hop.sojourn_ns.count,
            };
            limits(hop.budget.as_ref(), count, &hop.over_budget)
        });
        let ends = &report.end_to_end;
        let count = ends.sojourn_ns.count;
        let line = limits(ends.budget.as_ref(), count, &ends.over_budget);
        let least = hops.chain(line).min_by_key(|burn| burn.remaining_permille);
        least.unwrap_or(Burn::NONE)
    }
}

fn limits<'a>(
    budget: Option<&'a BudgetReport>,
    count: u64,
    over: &'a BTreeMap<&'static str, u64>,
) -> impl Iterator<Item = Burn> + 'a {
    let names = budget
        .into_iter()
        .flat_map(|budget| budget.limits_ns.keys());
    names.map(move |name| Burn::of(name, count, over.get(name).copied().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_what_may_be_over_leaves_half() {
        for (quantile, allowed) in [("p50", 500), ("p90", 100), ("p99", 10), ("p99_9", 1)] {
            let burn = Burn::of(quantile, 1_000, allowed);
            assert_eq!(burn.remaining_permille, 0, "{quantile}");
            assert_eq!(burn.spent_ppm, burn.budget_ppm);
            let burn = Burn::of(quantile, 2_000, allowed);
            assert_eq!(burn.remaining_permille, 500, "{quantile}");
        }
    }

    #[test]
    fn one_over_the_largest_is_all_of_it() {
        assert_eq!(Burn::of("max", 1_000, 1).remaining_permille, 0);
        assert_eq!(Burn::of("max", 1_000, 0).remaining_permille, 1_000);
    }

    #[test]
    fn nothing_measured_is_nothing_spent() {
        let burn = Burn::of("p99", 0, 0);
        assert_eq!((burn.spent_ppm, burn.remaining_permille), (0, 1_000));
        let most = Burn::of("p99", u64::MAX, u64::MAX);
        assert_eq!((most.spent_ppm, most.remaining_permille), (1_000_000, 0));
    }
}
