//! Who is told the figures of a running line besides the one who watches it: scrapers, and a collector.
//!
//! Invariant: none of them is waited for while the line runs.

#[cfg(feature = "otlp")]
use std::net::SocketAddr;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

#[cfg(feature = "otlp")]
use hopline::base::limits::OTLP_EVERY_NS_DEFAULT;
use hopline::base::primitive::{AtomicBool, Ordering};
use hopline::clock::Clock;
use hopline::edge::EdgeReport;
#[cfg(feature = "otlp")]
use hopline::metrics::otlp::Exporter;
use hopline::metrics::{Server, Snapshot};
use hopline::topology::{Report, Running};

use crate::edge::Edge;
#[cfg(feature = "otlp")]
use crate::exit::Failure;

/// All of them, as far as they were asked for.
#[derive(Debug, Default)]
pub(crate) struct Teller {
    pub(crate) server: Option<Server>,
    pub(crate) edge: Option<Edge>,
    #[cfg(feature = "otlp")]
    pub(crate) exporter: Option<Exporter>,
}

/// Pushes there, every so often.
#[cfg(feature = "otlp")]
pub(crate) fn exporter(
    to: Option<(SocketAddr, Option<Duration>)>,
) -> Result<Option<Exporter>, Failure> {
    let Some((to, every)) = to else {
        return Ok(None);
    };
    let every_ns = every.map_or(OTLP_EVERY_NS_DEFAULT, |every| {
        u64::try_from(every.as_nanos()).unwrap_or(u64::MAX)
    });
    Ok(Some(Exporter::open(to, every_ns)?))
}

impl Teller {
    /// Answers what was asked, and pushes what is due.
    pub(crate) fn answer(&mut self, running: &mut Running) {
        if let Some(edge) = &mut self.edge {
            edge.answer(running);
        }
        let figures = || self.edge.as_ref().map(Edge::figures);
        if let Some(server) = &mut self.server {
            if let Some(figures) = figures() {
                server.tell_edge(figures);
            }
            server.answer(running);
        }
        #[cfg(feature = "otlp")]
        if let Some(exporter) = &mut self.exporter {
            if let Some(figures) = figures() {
                exporter.tell_edge(figures);
            }
            exporter.answer(running);
        }
    }

    fn has_any(&self) -> bool {
        #[cfg(feature = "otlp")]
        if self.exporter.is_some() {
            return true;
        }
        self.server.is_some() || self.edge.is_some()
    }

    /// A drained line, if anybody wants to know.
    pub(crate) fn last_of(&self, running: &mut Running) -> Option<Snapshot> {
        if !self.has_any() {
            return None;
        }
        // Loops that are over have left the rest of what they recorded.
        running.observe();
        Some(Snapshot::take(running, None))
    }

    /// Tells the end: the servers go on to serve it, and notes say what became of pushes.
    pub(crate) fn end(mut self, last: Option<Snapshot>, report: &Report) -> LastWords {
        #[cfg_attr(not(feature = "otlp"), allow(unused_mut, reason = "nothing is pushed"))]
        let mut notes = Vec::new();
        let Some(last) = last else {
            return LastWords {
                notes,
                ..LastWords::default()
            };
        };
        let mut last = last.ended(report.clone());
        let edge = self.edge.as_mut().map(|edge| {
            let report = edge.last(last.clone(), report);
            last = last.clone().with_edge(&edge.figures());
            report
        });
        #[cfg(feature = "otlp")]
        if let Some(exporter) = self.exporter.take() {
            let pushes = exporter.last(last.clone());
            notes.push(format!(
                "otlp: the collector took {} pushes; {} failed, {} were not sent since it was too slow",
                pushes.taken, pushes.failed, pushes.dropped
            ));
        }
        if let Some(server) = &mut self.server {
            server.last(last);
        }
        let told = Told {
            server: self.server,
            edge: self.edge,
        };
        LastWords { told, notes, edge }
    }
}

/// What is left of those who were told.
#[derive(Debug, Default)]
pub(crate) struct LastWords {
    /// Who still serves the line.
    pub(crate) told: Told,
    /// What a person should know.
    pub(crate) notes: Vec<String>,
    /// What the edge did.
    pub(crate) edge: Option<EdgeReport>,
}

/// Who still serves a line that has ended.
#[derive(Debug, Default)]
pub(crate) struct Told {
    server: Option<Server>,
    edge: Option<Edge>,
}

/// Time between two looks at what is asked, and for a signal.
const LOOK: Duration = Duration::from_millis(20);

impl Told {
    pub(crate) fn is_empty(&self) -> bool {
        self.server.is_none() && self.edge.is_none()
    }

    /// Serves on for that long, or until a signal that has not ended the run itself: after one that has, the next one ends the
    /// process.
    pub(crate) fn linger(mut self, span: Duration, signalled: &AtomicBool, was_signalled: bool) {
        let (_nobody_sends, nothing) = sync_channel::<()>(0);
        let clock = Clock::os();
        let span_ns = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        let until_ns = clock.stamp().saturating_add(span_ns);
        while clock.stamp() < until_ns && signalled.load(Ordering::Relaxed) == was_signalled {
            if let Some(edge) = &mut self.edge {
                edge.idle();
            }
            let left = Duration::from_nanos(until_ns.saturating_sub(clock.stamp()));
            let _ = nothing.recv_timeout(LOOK.min(left));
        }
        if let Some(edge) = self.edge.take() {
            edge.end();
        }
    }
}
