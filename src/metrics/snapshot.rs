//! What is taken of a running line for a page.
//!
//! Invariant: taking it waits for no loop.

use super::edge::EdgeSnapshot;
use super::page::{Quantiles, Spread, views};
use crate::budget::Of;
use crate::control::KINDS;
use crate::edge::Figures;
use crate::topology::{Report, Running, SpanOf, Window};

/// A line at one moment: all that a page says of it.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// What it did so far.
    pub report: Report,
    /// Why it is not alive, in words; empty where it is.
    pub why_not: Vec<String>,
    /// Whether it drains, or has ended.
    pub is_ending: bool,
    pub(super) complaints: [u64; KINDS],
    pub(super) latencies: Vec<Latency>,
    pub(super) edge: Option<Box<EdgeSnapshot>>,
}

/// A histogram of the line, in both its views.
#[derive(Clone, Debug)]
pub(super) struct Latency {
    pub(super) of: Which,
    /// The hop, sink or source.
    pub(super) name: String,
    pub(super) spread: Spread,
    pub(super) quantiles: Quantiles,
}

/// What a histogram is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Hop(Of),
    Sink,
    Wire,
}

impl Snapshot {
    /// The line now, as [`Running::report_since`] reports it for that window, or [`Running::report`] without one.
    pub fn take(running: &mut Running, window: Option<Window>) -> Snapshot {
        let report = match window {
            Some(window) => running.report_since(window),
            None => running.report(),
        };
        let latencies = running.latencies().map(|latency| {
            let (of, name) = match latency.span {
                SpanOf::Hop(name, of) => (Which::Hop(of), name),
                SpanOf::Sink(name) => (Which::Sink, name),
                SpanOf::Wire(name) => (Which::Wire, name),
            };
            let (spread, quantiles) = views(latency.totals);
            let name = name.to_owned();
            Latency {
                of,
                name,
                spread,
                quantiles,
            }
        });
        Snapshot {
            latencies: latencies.collect(),
            complaints: running.complained(),
            edge: None,
            is_ending: running.is_ending(),
            why_not: running.health().why_not(),
            report,
        }
    }

    /// The same with what the edge of the line has counted and measured.
    #[must_use]
    pub fn with_edge(mut self, figures: &Figures) -> Snapshot {
        self.edge = Some(Box::new(EdgeSnapshot::new(figures)));
        self
    }

    /// The same with the last report of the run, which [`Running::end`] gives: take it after the drain, when nothing runs
    /// any more and all that loops recorded has been collected.
    #[must_use]
    pub fn ended(self, report: Report) -> Snapshot {
        Snapshot { report, ..self }
    }
}
