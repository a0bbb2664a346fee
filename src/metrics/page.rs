//! Samples by family: what a page says, before it is text.
//!
//! Invariant: every sample has as many values of labels as its family has labels.

use std::collections::BTreeMap;

use super::bounds::bounds_ns;
use super::edge;
use super::family::{FAMILIES, Family, Id};
use super::line;
use super::machine::Machine;
use super::snapshot::Snapshot;
use crate::base::Reason;
use crate::budget::report::{ByReason, Percentiles};
use crate::hist::Totals;

/// A page: the samples of one moment, by family.
///
/// ```
/// use hopline::metrics::{Format, Page, write};
/// let page = Page::default();
/// assert!(page.rows().all(|(_, samples)| samples.is_empty()));
/// assert!(write(&page, Format::OpenMetrics).ends_with("# EOF\n"));
/// ```
#[derive(Clone, Debug)]
pub struct Page {
    rows: Vec<Vec<Sample>>,
}

/// A value of a family, with the values of its labels in the order of [`Family::labels`].
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The values of the labels.
    pub labels: Vec<String>,
    /// The value.
    pub value: Value,
}

/// What a sample says.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number of whatever the unit says.
    Count(u64),
    /// Nanoseconds; a page writes them in seconds, without rounding.
    SpanNs(u64),
    /// A number that is no whole one.
    Real(f64),
    /// A histogram.
    Spread(Spread),
    /// The quantiles of the same.
    Quantiles(Quantiles),
}

/// Latencies by bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// All of them.
    pub count: u64,
    /// Their sum in nanoseconds, to 1 %.
    pub sum_ns: u64,
    /// How many are at most each of [`BOUNDS`](super::BOUNDS).
    pub up_to: Vec<u64>,
}

/// Latencies by quantile, as the line's own histograms know them: to 1 %.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quantiles {
    /// How many there are.
    pub count: u64,
    /// Their sum in nanoseconds, to 1 %.
    pub sum_ns: u64,
    /// The values at [`Quantiles::AT`], in nanoseconds.
    pub at_ns: [u64; Quantiles::AT.len()],
}

impl Quantiles {
    /// The quantiles that are exported, and the label of each; the last one is the largest value.
    pub const AT: [(f64, &'static str); 5] = [
        (0.5, "0.5"),
        (0.9, "0.9"),
        (0.99, "0.99"),
        (0.999, "0.999"),
        (1.0, "1.0"),
    ];
}

/// Both views on one histogram.
pub(super) fn views(totals: &Totals) -> (Spread, Quantiles) {
    let (count, sum_ns) = (totals.count(), totals.sum_ns());
    let spread = Spread {
        count,
        sum_ns,
        up_to: totals.up_to(&bounds_ns()),
    };
    let at_ns = Quantiles::AT.map(|(at, _)| totals.quantile_ns(at));
    let quantiles = Quantiles {
        count,
        sum_ns,
        at_ns,
    };
    (spread, quantiles)
}

impl Default for Page {
    fn default() -> Page {
        Page {
            rows: vec![Vec::new(); FAMILIES.len()],
        }
    }
}

impl Page {
    /// All that there is to say of a line at that moment, and of the machine now, which is read here.
    #[must_use]
    pub fn of(snapshot: &Snapshot, machine: &mut Machine) -> Page {
        let mut page = Page::default();
        line::fill(&mut page, snapshot);
        if let Some(edge) = &snapshot.edge {
            edge::fill(&mut page, edge);
        }
        machine.look(&snapshot.report);
        machine.fill(&mut page, &snapshot.report);
        page
    }

    /// All families in their order, each with its samples.
    pub fn rows(&self) -> impl Iterator<Item = (&'static Family, &[Sample])> {
        let samples = self.rows.iter().map(Vec::as_slice);
        FAMILIES.iter().zip(samples)
    }

    /// Adds a sample.
    pub(super) fn put(&mut self, id: Id, labels: &[&str], value: Value) {
        let family = &FAMILIES[id as usize];
        debug_assert_eq!(labels.len(), family.labels.len(), "{}", family.name);
        self.rows[id as usize].push(Sample {
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            value,
        });
    }

    pub(super) fn count(&mut self, id: Id, labels: &[&str], count: u64) {
        self.put(id, labels, Value::Count(count));
    }

    pub(super) fn flag(&mut self, id: Id, labels: &[&str], is_so: bool) {
        self.put(id, labels, Value::Count(u64::from(is_so)));
    }

    pub(super) fn span(&mut self, id: Id, labels: &[&str], ns: u64) {
        self.put(id, labels, Value::SpanNs(ns));
    }

    /// Billionths of what the unit says, also less than none.
    pub(super) fn signed(&mut self, id: Id, labels: &[&str], billionths: i64) {
        self.put(id, labels, Value::Real(billionths as f64 / 1e9));
    }

    /// Counts by reason, `labels` with the reason behind them: all of a closed enum, those that never came as 0, and what the enum
    /// does not have, if there is such a thing.
    pub(super) fn reasons<R: Reason>(&mut self, id: Id, labels: &[&str], counts: &ByReason) {
        let never = R::NAMES.iter().map(|name| (*name, 0));
        let came = counts.iter().map(|(name, count)| (name.as_str(), *count));
        let all: BTreeMap<&str, u64> = never.chain(came).collect();
        for (reason, count) in all {
            self.count(id, &[labels, &[reason]].concat(), count);
        }
    }

    /// Percentiles in nanoseconds, each with its name behind `labels`.
    pub(super) fn percentiles(&mut self, id: Id, labels: &[&str], spans_ns: &Percentiles) {
        for (name, ns) in [
            ("p50", spans_ns.p50),
            ("p90", spans_ns.p90),
            ("p99", spans_ns.p99),
            ("p99_9", spans_ns.p99_9),
            ("max", spans_ns.max),
        ] {
            self.span(id, &[labels, &[name]].concat(), ns);
        }
    }
}
