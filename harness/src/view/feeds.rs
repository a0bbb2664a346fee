//! What the lines of a sequenced feed brought, below its source.
//!
//! Invariant: names a bounded number of what was lost.

use hopline::budget::report::SourceReport;

use super::table::Table;
use super::text::{Tone, grouped};

/// Runs of lost sequences that are named in a table; the report has more of them.
const LOST_NAMED: usize = 4;

/// What the lines of a sequenced feed brought, each and together.
pub(crate) fn sequenced(source: &SourceReport, table: &mut Table) {
    let Some(feed) = &source.sequenced else {
        return;
    };
    for (name, line) in &source.feed_lines {
        let refused: u64 = line.rejected.values().sum();
        let counts = [
            (line.packets, "packets"),
            (line.messages, "messages"),
            (line.first, "first"),
            (line.duplicates, "duplicates"),
            (line.late, "late"),
            (line.old, "old"),
            (line.straggler, "of sessions that were over"),
            (line.unheld, "too long to be held"),
            (line.missed, "missed"),
            (refused, "packets refused"),
            (line.kernel_dropped, "packets dropped by the kernel"),
        ];
        let told = counts.iter().filter(|(count, _)| *count > 0);
        let told: Vec<String> = told
            .map(|(count, what)| format!("{} {what}", grouped(*count)))
            .collect();
        let is_whole = line.missed + refused + line.kernel_dropped == 0;
        let tone = if is_whole { Tone::Dim } else { Tone::Warn };
        table.remark(format!("line {name}: {}", told.join(", ")), tone);
    }
    let begun = format!(
        "{}; {} in order; sessions {}, restarts {}, gaps {}, stale {}",
        feed.state,
        grouped(feed.delivered),
        grouped(feed.sessions),
        grouped(feed.restarts),
        grouped(feed.gaps),
        grouped(feed.stale)
    );
    table.remark(begun, Tone::Dim);
    if feed.lost > 0 {
        let named = feed.lost_ranges.iter().take(LOST_NAMED);
        let named = named.map(|range| match range.last - range.first {
            0 => format!("{} of {}", range.first, range.session),
            _ => format!("{}-{} of {}", range.first, range.last, range.session),
        });
        let mut named: Vec<String> = named.collect();
        let runs = feed.lost_ranges.len() as u64 + feed.lost_ranges_more;
        if runs > named.len() as u64 {
            named.push(format!("{} more", grouped(runs - named.len() as u64)));
        }
        let text = format!(
            "lost on all lines: {} ({})",
            grouped(feed.lost),
            named.join(", ")
        );
        table.remark(text, Tone::Bad);
    }
}
