//! What exporters read of a running line beside its report: whole histograms, and a few words of its state.
//!
//! Invariant: reads what was collected with the last report or look; asks no loop for anything.

use crate::budget::Of;
use crate::control::{Command, KINDS, What};
use crate::hist::Totals;

use super::report::hop::rung_name;
use super::run::Running;
use super::wire::HopView;

/// The place of that kind of complaint.
const FILE_FAILED: usize = What::FileFailed.kind();

/// What a histogram is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanOf<'a> {
    /// A hop's waiting, service or both.
    Hop(&'a str, Of),
    /// From the intended time to the end of a sink's handler.
    Sink(&'a str),
    /// From the kernel's stamp to the receipt by a source.
    Wire(&'a str),
}

/// A histogram of a running line.
#[derive(Clone, Copy, Debug)]
pub struct Latency<'a> {
    /// What it is of.
    pub span: SpanOf<'a>,
    /// All that was collected by the last report.
    pub totals: &'a Totals,
}

impl Running {
    /// Every histogram of the line, as the last [`Running::report`] or [`Running::observe`] collected them: three of each
    /// hop, one of each sink, and one of each source whose messages the kernel stamps.
    pub fn latencies(&self) -> impl Iterator<Item = Latency<'_>> {
        let hops = self.hops.iter().flat_map(|hop| {
            let spans = [Of::Wait, Of::Service, Of::Sojourn];
            spans.map(|of| Latency {
                span: SpanOf::Hop(&hop.name, of),
                totals: &hop.spans.totals[of as usize],
            })
        });
        let nodes = self.nodes.iter().flat_map(|node| {
            let sink = node.end_to_end.as_ref().map(|spans| Latency {
                span: SpanOf::Sink(&node.name),
                totals: &spans.totals[0],
            });
            let is_stamped = node.counters.ingress.wire_clock.get().is_some();
            let wire = node.wire.as_ref().filter(|_| is_stamped);
            let wire = wire.map(|spans| Latency {
                span: SpanOf::Wire(&node.name),
                totals: &spans.totals[0],
            });
            sink.into_iter().chain(wire)
        });
        hops.chain(nodes)
    }

    /// The rung of the degrade ladder that each hop is on just now. A load for each hop; never waits.
    pub fn rungs(&self) -> impl Iterator<Item = (&str, &'static str)> {
        let rung = |hop: &'_ HopView| rung_name(hop.offers.tx.rung.get());
        self.hops
            .iter()
            .map(move |hop| (hop.name.as_str(), rung(hop)))
    }

    /// Whether it was told to end: it drains, or has.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.control.command() >= Command::Drain
    }

    /// All that its loops have complained of so far, told or kept back, in the order of
    /// [`What::NAMES`](crate::control::What::NAMES).
    #[must_use]
    pub fn complained(&self) -> [u64; KINDS] {
        let mut all = [0; KINDS];
        for one in &self.loops {
            for (sum, count) in all.iter_mut().zip(one.complaints.all()) {
                *sum += count;
            }
        }
        // No loop writes to a file: what failed there is known here, once for each.
        let failed = self.spills.iter().filter(|spill| spill.has_failed());
        all[FILE_FAILED] += failed.count() as u64;
        all
    }
}
