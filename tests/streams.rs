//! Lines on connections: TCP and Unix sockets against the standard library's clients and python's,
//! and on a virtual network with cuts, delays, breaks.

#[path = "streams/real.rs"]
mod real;
#[path = "streams/simulated.rs"]
mod simulated;

use hopline::topology::{Builder, Placement, Report, Running};
use hopline::wait::Strategy;
use hopline::wire::{Framing, Prefix};

/// The framing that nobody has to name.
pub(crate) const FRAMING: Framing = Framing::new(Prefix::U32Be, 16_380);

/// A line on threads that only yield, so that tests beside it go on.
pub(crate) fn on_threads(line: &mut Builder) -> Running {
    waiting(line, Strategy::YIELD)
}

pub(crate) fn waiting(line: &mut Builder, wait: Strategy) -> Running {
    line.placement(Placement {
        wait: Some(wait),
        ..Placement::default()
    });
    line.build().unwrap().start().unwrap()
}

/// A message behind its length.
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let mut out = vec![0; message.len() + 4];
    FRAMING.encode(message, &mut out).unwrap();
    out
}

/// The report of a line that is told to end; everything must be accounted for.
pub(crate) fn ended(running: Running) -> Report {
    checked(running.end("duration"))
}

pub(crate) fn checked(report: Report) -> Report {
    assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
    let source = report.ledger.sources.values().next().unwrap();
    let over: u64 = source.disconnected.values().sum();
    assert_eq!(source.connected, over, "{:?}", source.disconnected);
    report
}

/// Counts by reason as a short list.
pub(crate) fn counts(by: &std::collections::BTreeMap<String, u64>) -> Vec<(&str, u64)> {
    by.iter()
        .map(|(why, count)| (why.as_str(), *count))
        .collect()
}
