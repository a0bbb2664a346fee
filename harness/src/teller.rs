//! Who is told the figures of a running line besides the one who watches it: scrapers, and a collector.
//!
//! Invariant: none of them is waited for while the line runs.

#[cfg(feature = "otlp")]
use std::net::SocketAddr;
#[cfg(feature = "otlp")]
use std::time::Duration;

#[cfg(feature = "otlp")]
use hopline::base::limits::OTLP_EVERY_NS_DEFAULT;
#[cfg(feature = "otlp")]
use hopline::metrics::otlp::Exporter;
use hopline::metrics::{Server, Snapshot};
use hopline::topology::{Report, Running};

#[cfg(feature = "otlp")]
use crate::exit::Failure;

/// All of them, as far as they were asked for.
#[derive(Debug, Default)]
pub(crate) struct Teller {
    pub(crate) server: Option<Server>,
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
        if let Some(server) = &mut self.server {
            server.answer(running);
        }
        #[cfg(feature = "otlp")]
        if let Some(exporter) = &mut self.exporter {
            exporter.answer(running);
        }
    }

    fn has_any(&self) -> bool {
        #[cfg(feature = "otlp")]
        if self.exporter.is_some() {
            return true;
        }
        self.server.is_some()
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

    /// Tells the end: the server goes on to serve it, and notes say what became of pushes.
    pub(crate) fn end(
        mut self,
        last: Option<Snapshot>,
        report: &Report,
    ) -> (Option<Server>, Vec<String>) {
        #[cfg_attr(not(feature = "otlp"), allow(unused_mut, reason = "nothing is pushed"))]
        let mut notes = Vec::new();
        let Some(last) = last else {
            return (None, notes);
        };
        let last = last.ended(report.clone());
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
        (self.server, notes)
    }
}
