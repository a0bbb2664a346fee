//! What a run under overload let through, and how long that took.
//!
//! Invariant: every span counts from the time at which its message was due, and every percentile is one of the spans
//! themselves, not of a bucket.

use std::collections::BTreeMap;

use hopline::budget::Passage;
use serde::Serialize;

use super::line::{Ran, is_of};
use super::{BUDGET_NS, GOODPUT, OVER_SHARE, Server};

/// A stretch of the line's clock, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its begin.
    pub from_ns: u64,
    /// Its end, not within.
    pub to_ns: u64,
}

impl Window {
    /// Whether a time lies within.
    #[must_use]
    pub const fn holds(&self, at_ns: u64) -> bool {
        self.from_ns <= at_ns && at_ns < self.to_ns
    }

    /// In seconds.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.to_ns.saturating_sub(self.from_ns) as f64 / 1e9
    }
}

/// Percentiles of spans, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Spans {
    /// Half of them are no longer.
    pub p50: u64,
    /// 99 of a hundred.
    pub p99: u64,
    /// 999 of a thousand.
    pub p99_9: u64,
    /// All.
    pub max: u64,
}

impl Spans {
    /// Of spans in any order, which are sorted; zeros of none.
    pub fn of(spans_ns: &mut [u64]) -> Spans {
        spans_ns.sort_unstable();
        let at = |share: f64| quantile(spans_ns, share);
        Spans {
            p50: at(0.5),
            p99: at(0.99),
            p99_9: at(0.999),
            max: at(1.0),
        }
    }
}

/// The least of sorted spans that so large a share of them does not exceed; 0 of none.
pub(super) fn quantile(sorted_ns: &[u64], share: f64) -> u64 {
    let rank = (share * sorted_ns.len() as f64).ceil() as usize;
    let last = sorted_ns.len().saturating_sub(1);
    sorted_ns
        .get(rank.saturating_sub(1).min(last))
        .copied()
        .unwrap_or(0)
}

/// What became of a load. Counts of the ledger are of the whole run, all others of the measured window.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Messages that were due, a second.
    pub due_per_s: f64,
    /// Messages that the source had, whole run.
    pub received: u64,
    /// Of them offered to the hop.
    pub offered: u64,
    /// Of those taken.
    pub accepted: u64,
    /// Not taken, by reason.
    pub shed: BTreeMap<String, u64>,
    /// Taken and not delivered, by reason.
    pub discarded: BTreeMap<String, u64>,
    /// Done with within the window.
    pub delivered: u64,
    /// The same, a second.
    pub delivered_per_s: f64,
    /// The same as a share of the capacity.
    pub goodput: f64,
    /// The most that this could be, as the load comes ([`Server::attainable`](super::Server::attainable)).
    pub attainable: f64,
    /// Those delivered, from their due time until they were done with.
    pub spans_ns: Spans,
    /// Of these, how many took longer than the budget.
    pub over: u64,
    /// From the due time to the offer: the sender's lateness, and under `block` the backlog before the line.
    pub late_ns: Spans,
}

impl Figures {
    /// Of these hops and their classes; `capacity_per_s` is what the line can do.
    #[must_use]
    pub fn of(ran: &Ran, hops: &[&str], capacity_per_s: f64) -> Figures {
        let mut figures = Figures {
            due_per_s: ran.due as f64 / ran.window.seconds(),
            received: ran
                .report
                .ledger
                .sources
                .values()
                .map(|source| source.received)
                .sum(),
            attainable: 1.0,
            ..Figures::default()
        };
        if let ([one], false) = (ran.schedules.as_slice(), capacity_per_s <= 1.0) {
            let server = Server {
                service_ns: 1e9 / capacity_per_s,
                budget_ns: BUDGET_NS,
            };
            let began_ns = ran.evidence.began_ns;
            let [from_ns, to_ns] =
                [ran.window.from_ns, ran.window.to_ns].map(|at_ns| at_ns.saturating_sub(began_ns));
            figures.attainable = server.attainable(one.clone(), from_ns, to_ns);
        }
        for hop in ran.report.hops.iter().filter(|one| is_of(&one.name, hops)) {
            figures.offered += hop.offered;
            figures.accepted += hop.accepted;
            add(&mut figures.shed, &hop.shed);
            add(&mut figures.discarded, &hop.discarded);
        }
        figures.count(passages(ran, hops), ran.window);
        figures.delivered_per_s = figures.delivered as f64 / ran.window.seconds();
        figures.goodput = figures.delivered_per_s / capacity_per_s;
        figures
    }

    /// Counts the messages that were done with within the window.
    fn count<'a>(&mut self, passages: impl Iterator<Item = &'a Passage>, window: Window) {
        let done = passages.filter(|one| window.holds(one.done_ns()));
        let (mut spans_ns, mut late_ns): (Vec<u64>, Vec<u64>) = done
            .map(|one| (one.end_to_end_ns(), u64::from(one.origin_ns)))
            .unzip();
        self.delivered = spans_ns.len() as u64;
        self.over = spans_ns
            .iter()
            .filter(|span_ns| **span_ns > BUDGET_NS)
            .count() as u64;
        self.spans_ns = Spans::of(&mut spans_ns);
        self.late_ns = Spans::of(&mut late_ns);
    }

    /// Share of the delivered messages that took longer than the budget; 0 of none.
    #[must_use]
    pub fn over_share(&self) -> f64 {
        self.over as f64 / self.delivered.max(1) as f64
    }

    /// What of the bars does not hold, in words; empty where all do. `control` is the share over the budget in the control
    /// runs. Goodput is only asked of a load that is no less than the capacity, as a share of what it allows.
    #[must_use]
    pub fn misses(&self, control: f64, is_overloaded: bool) -> Vec<String> {
        let mut misses = Vec::new();
        if self.over_share() > OVER_SHARE + control {
            misses.push(format!("{:.2} % over budget", 100.0 * self.over_share()));
        }
        if is_overloaded && self.goodput < GOODPUT * self.attainable {
            let share = self.goodput / self.attainable;
            misses.push(format!(
                "goodput {:.0} % of what could be had",
                100.0 * share
            ));
        }
        misses
    }
}

/// The messages of these hops and their classes.
pub fn passages<'a>(ran: &'a Ran, hops: &'a [&str]) -> impl Iterator<Item = &'a Passage> {
    let rows = ran.evidence.hops.iter();
    rows.filter(|one| is_of(&one.name, hops))
        .flat_map(|hop| &hop.passages)
}

fn add(sum: &mut BTreeMap<String, u64>, more: &BTreeMap<String, u64>) {
    for (why, count) in more {
        *sum.entry(why.clone()).or_default() += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One that was due at `due_ns`, offered `origin_ns` later, and done with after 20 us more.
    fn passage(due_ns: u64, origin_ns: u32) -> Passage {
        Passage {
            t_offer_ns: due_ns + u64::from(origin_ns),
            origin_ns,
            wait_ns: 10_000,
            service_ns: 10_000,
            ..Passage::default()
        }
    }

    #[test]
    fn what_waited_before_the_line_counts_and_what_is_not_done_in_time_does_not() {
        let window = Window {
            from_ns: 1_000_000,
            to_ns: 2_000_000,
        };
        let mut figures = Figures::default();
        let passages = [
            passage(900_000, 0),         // done with before the window
            passage(1_100_000, 0),       // 20 us
            passage(1_200_000, 0),       // 20 us
            passage(1_300_000, 480_001), // a nanosecond over the budget
            passage(1_300_000, 480_000), // the budget itself
            passage(1_990_000, 0),       // done with after the window
        ];
        figures.count(passages.iter(), window);
        assert_eq!((figures.delivered, figures.over), (4, 1));
        assert_eq!(figures.over_share(), 0.25);
        let spans = Spans {
            p50: 20_000,
            p99: 500_001,
            p99_9: 500_001,
            max: 500_001,
        };
        assert_eq!(figures.spans_ns, spans);
        assert_eq!(figures.late_ns.max, 480_001);
    }

    #[test]
    fn a_run_is_judged_by_its_control() {
        let mut figures = Figures {
            delivered: 1_000,
            over: 25,
            goodput: 0.95,
            attainable: 1.0,
            ..Figures::default()
        };
        assert_eq!(figures.misses(0.016, true), Vec::<String>::new());
        assert_eq!(figures.misses(0.0, true), ["2.50 % over budget"]);
        figures.goodput = 0.5;
        assert_eq!(
            figures.misses(0.02, true),
            ["goodput 50 % of what could be had"]
        );
        figures.attainable = 0.55;
        assert!(figures.misses(0.02, true).is_empty());
        assert!(figures.misses(0.02, false).is_empty());
    }

    #[test]
    fn percentiles_are_spans_that_there_were() {
        let mut spans: Vec<u64> = (1..=1_000).rev().collect();
        let found = Spans::of(&mut spans);
        assert_eq!(
            [found.p50, found.p99, found.p99_9, found.max],
            [500, 990, 999, 1_000]
        );
        assert_eq!(Spans::of(&mut []), Spans::default());
        assert_eq!(Spans::of(&mut [7]).p50, 7);
    }
}
