//! Clean figures beside raw ones: the cells, and what to think of them.
//!
//! Invariant: a figure that leaves something out has words that say so.

use hopline::base::limits::DELAY_NS;
use hopline::base::units::Span;
use hopline::budget::report::Percentiles;
use hopline::topology::CleanReport;
use hopline::topology::clean::CleanSpan;

use super::table::Cell;
use super::text::{Tone, grouped, limit, share};

/// The P99 of clean ones.
pub(super) fn clean_cell(spans: &Percentiles) -> Cell {
    match spans.count {
        0 => Cell::new("-", Tone::Dim),
        _ => Cell::new(Span(spans.p99).to_string(), Tone::Good),
    }
}

/// The clean P99, and the share that was kept of what was judged. Nothing where nobody told them apart.
pub(super) fn clean_cells(clean: Option<&CleanSpan>) -> [Cell; 2] {
    let Some(span) = clean else {
        return Default::default();
    };
    let tone = if span.not_judged > 0 {
        Tone::Warn
    } else {
        Tone::Plain
    };
    let kept = Cell::new(share(span.clean, span.judged()), tone);
    [clean_cell(&span.sojourn_ns), kept]
}

/// What the clean figures leave out, or may be wrong about.
pub(crate) fn doubts(clean: &CleanReport) -> Option<String> {
    let spans = clean.hops.values().chain([&clean.end_to_end]);
    let not_judged = spans.map(|span| span.not_judged).max().unwrap_or(0);
    let mut parts = Vec::new();
    if not_judged > 0 {
        let (count, lost) = (grouped(not_judged), grouped(clean.lost));
        parts.push(format!(
            "{count} messages not judged: {lost} found no room on the way here"
        ));
    }
    if clean.overdue > 0 {
        let (count, delay) = (grouped(clean.overdue), limit(DELAY_NS));
        parts.push(format!(
            "{count} took over {delay}: others beside them may count as clean"
        ));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}
