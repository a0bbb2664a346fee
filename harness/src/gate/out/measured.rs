//! What was measured where nothing was judged: a bench's report, on a terminal and as rows that can be compared.
//!
//! Invariant: raw stands beside clean for every span, and what it shows is no verdict.

use hopline::base::units::Span;

use super::phrase::hop;
use crate::gate::model::{GateReport, RunAnalysis, SpanAnalysis, Verdict};
use crate::gate::wake;
use crate::view::table::{Cell, Table, numbers, words};
use crate::view::text::{Paint, grouped, share};

/// The quantiles of each span that are put side by side.
const COMPARED: [&str; 2] = ["p50", "p99"];

/// Whether there are runs, and nothing that was said of them.
pub(crate) fn is_unjudged(report: &GateReport) -> bool {
    report.verdicts.is_empty() && report.capacity.is_none() && !report.runs.is_empty()
}

/// The report in lines of at most `width` columns.
pub(crate) fn lines(report: &GateReport, width: usize, paint: Paint) -> Vec<String> {
    let mut lines = Vec::new();
    if report.partial {
        lines.push("  partial: the bench was cut short".to_owned());
    }
    lines.extend(spans(&report.runs).lines(width, paint));
    lines.extend(loops(&report.runs).lines(width, paint));
    lines.extend(wake::row(&report.runs).map(|row| format!("  {row}")));
    lines.extend(report.notes.iter().map(|note| format!("  note: {note}")));
    lines
}

/// P50 and P99 of each span, as figures without a word: medians over the runs.
pub(crate) fn quantiles(report: &GateReport) -> Vec<Verdict> {
    let runs = &report.runs;
    let spans = runs.first().map_or(&[][..], |run| &run.spans);
    let of = |at: usize, quantile: &str| {
        let span = spans.get(at)?;
        let value = |of: fn(&SpanAnalysis) -> [u64; 2]| {
            let place = usize::from(quantile == "p99");
            middle(runs, at, move |span| of(span)[place])
        };
        Some(Verdict {
            hop: span.hop.clone(),
            of: span.of.clone(),
            quantile: quantile.to_owned(),
            n: middle(runs, at, |span| span.n),
            n_clean: middle(runs, at, |span| span.n_clean),
            raw_ns: value(|span| [span.raw.p50, span.raw.p99]),
            clean_ns: value(|span| [span.clean.p50, span.clean.p99]),
            ..Verdict::default()
        })
    };
    let each = (0..spans.len()).flat_map(|at| COMPARED.map(|quantile| of(at, quantile)));
    each.flatten().collect()
}

/// The name of a span for people.
pub(crate) fn name(span: &SpanAnalysis) -> String {
    if span.hop == span.of {
        hop(&span.hop)
    } else {
        format!("{} {}", span.hop, span.of)
    }
}

/// The median over runs of what `of` says of a span.
pub(crate) fn middle(runs: &[RunAnalysis], at: usize, of: impl Fn(&SpanAnalysis) -> u64) -> u64 {
    let mut values: Vec<u64> = runs
        .iter()
        .filter_map(|run| run.spans.get(at))
        .map(of)
        .collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

/// Each span, raw beside clean; medians over the runs.
fn spans(runs: &[RunAnalysis]) -> Table {
    let mut table = Table::new(vec![
        words("span"),
        numbers("frames").may_go(3),
        numbers("raw p50").may_go(2),
        numbers("raw p99"),
        numbers("clean p50"),
        numbers("clean p99"),
        numbers("clean p99.9").may_go(1),
        numbers("host p99").may_go(4),
        numbers("kept"),
        numbers("slowed").may_go(5),
    ]);
    let Some(first) = runs.first() else {
        return table;
    };
    for (at, span) in first.spans.iter().enumerate() {
        let n = middle(runs, at, |span| span.n);
        let part = |of: fn(&SpanAnalysis) -> u64| share(middle(runs, at, of), n);
        let ns = |of: fn(&SpanAnalysis) -> u64| Span(middle(runs, at, of)).to_string();
        let cells: [Cell; 10] = [
            name(span).into(),
            grouped(n).into(),
            ns(|span| span.raw.p50).into(),
            ns(|span| span.raw.p99).into(),
            ns(|span| span.clean.p50).into(),
            ns(|span| span.clean.p99).into(),
            ns(|span| span.clean.p99_9).into(),
            ns(|span| span.host_floor.p99).into(),
            part(|span| span.n_clean).into(),
            part(|span| span.n_slowed).into(),
        ];
        table.row(cells.into());
    }
    table
}

/// What the host did to each loop of the last run.
fn loops(runs: &[RunAnalysis]) -> Table {
    let mut table = Table::new(vec![
        words("loop"),
        numbers("gap from"),
        numbers("gaps"),
        numbers("in gaps"),
        numbers("slowed"),
        numbers("own faults"),
    ]);
    for one in runs.last().into_iter().flat_map(|run| &run.loops) {
        let own: u64 = one.own_faults.values().sum();
        let cells: [Cell; 6] = [
            one.name.as_str().into(),
            Span(one.gap_from_ns).to_string().into(),
            one.gaps.to_string().into(),
            format!("{:.2}%", one.gap_share * 100.0).into(),
            format!("{:.2}%", one.slowed_share * 100.0).into(),
            own.to_string().into(),
        ];
        table.row(cells.into());
    }
    table
}
