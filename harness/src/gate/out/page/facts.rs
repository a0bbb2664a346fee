//! The rest of what a reader asks: what was counted and offered, what the loops and the host are.
//!
//! Invariant: a ledger that is open, or that lost something, is the first thing of its section.

use std::ops::{Bound, RangeBounds};

use super::{ROWS_MAX, share, span};
use crate::gate::model::{GateReport, RunAnalysis, SpanAnalysis};
use crate::gate::out::measured::{is_unjudged, middle, name};
use crate::gate::out::phrase::escape;
use crate::view::text::{grouped, rate};

/// A table with its head; `rows` are cells that are escaped already, those of columns `numbers` are numbers, and what is behind
/// them may be broken into lines.
pub(super) fn table(
    caption: &str,
    titles: &[&str],
    numbers: impl RangeBounds<usize>,
    rows: &[Vec<String>],
) -> String {
    let is_behind = |at: usize| match numbers.end_bound() {
        Bound::Excluded(end) => at >= *end,
        Bound::Included(end) => at > *end,
        Bound::Unbounded => false,
    };
    let class = |at: usize| match () {
        () if numbers.contains(&at) => " class=\"n\"",
        () if is_behind(at) => " class=\"broken\"",
        () => "",
    };
    let mut out = format!(
        "<div class=\"scroll\" role=\"region\" aria-label=\"{caption}\" tabindex=\"0\">\
         <table class=\"plain\"><caption>{caption}</caption><thead><tr>"
    );
    for (at, title) in titles.iter().enumerate() {
        out += &format!("<th scope=\"col\"{}>{title}</th>", class(at));
    }
    out += "</tr></thead><tbody>\n";
    for row in rows.iter().take(ROWS_MAX) {
        out += "<tr>";
        for (at, cell) in row.iter().enumerate() {
            out += &match at {
                0 => format!("<th scope=\"row\">{cell}</th>"),
                _ => format!("<td{}>{cell}</td>", class(at)),
            };
        }
        out += "</tr>\n";
    }
    out + "</tbody></table></div>\n"
}

/// Each run of head, then of base, with its name.
pub(super) fn named(report: &GateReport) -> impl Iterator<Item = (String, &RunAnalysis)> {
    let head = report.runs.iter().enumerate();
    let base = report.base_runs.iter().enumerate();
    head.map(|(at, run)| (format!("run {}", at + 1), run))
        .chain(base.map(|(at, run)| (format!("base run {}", at + 1), run)))
}

fn percent(share: f64) -> String {
    if share.is_finite() {
        format!("{:.2}%", share * 100.0)
    } else {
        "–".to_owned()
    }
}

/// What was counted, lost, shed and offered.
pub(super) fn ledger(report: &GateReport) -> String {
    let mut out = String::new();
    let (mut wrong, mut counted, mut offered) = (Vec::new(), Vec::new(), Vec::new());
    let mut closed = 0_usize;
    for (name, run) in named(report) {
        closed += usize::from(run.ledger.closed);
        let all = run.ledger.breaches.iter().chain(&run.ledger.losses);
        wrong.extend(all.map(|words| format!("<li>{name}: {}</li>\n", escape(words))));
        for (kind, counts) in [
            ("shed", &run.ledger.shed),
            ("dropped by the kernel", &run.ledger.kernel_dropped),
        ] {
            let rows = counts.iter().filter(|(_, count)| **count > 0);
            counted.extend(rows.map(|(place, count)| {
                vec![
                    name.clone(),
                    kind.to_owned(),
                    escape(place),
                    grouped(*count),
                ]
            }));
        }
        for generator in &run.generators {
            // A source that makes its messages itself is late in the line's own spans.
            let late = |ns: u64| match generator.lateness.max {
                0 => "–".to_owned(),
                _ => span(ns),
            };
            offered.push(vec![
                name.clone(),
                escape(&generator.source),
                rate(generator.offered_per_s),
                rate(generator.achieved_per_s),
                grouped(generator.missed),
                late(generator.lateness.p50),
                late(generator.lateness.p99),
                late(generator.lateness.max),
            ]);
        }
        if run.source_held_back {
            wrong.push(format!("<li>{name}: the line held its sources back</li>\n"));
        }
    }
    let runs = report.runs.len() + report.base_runs.len();
    if runs == 0 {
        return out;
    }
    let state = if closed == runs {
        format!(
            "<p><span class=\"badge pass\"><span class=\"sign\" aria-hidden=\"true\">✓</span>closed</span> \
             Every frame is accounted for in all {runs} runs.</p>\n"
        )
    } else {
        format!(
            "<p><span class=\"badge loss\"><span class=\"sign\" aria-hidden=\"true\">!</span>open</span> \
             The ledger is open in {} of {runs} runs.</p>\n",
            runs - closed
        )
    };
    out += &state;
    if !wrong.is_empty() {
        wrong.truncate(ROWS_MAX);
        out += &format!("<ul class=\"wrong\">\n{}</ul>\n", wrong.concat());
    }
    if !counted.is_empty() {
        out += &table(
            "Not delivered",
            &["Run", "What", "Where", "Messages"],
            3..,
            &counted,
        );
    }
    if !offered.is_empty() {
        let titles = [
            "Run",
            "Source",
            "Offered / s",
            "Achieved / s",
            "Missed",
            "Late p50",
            "Late p99",
            "Late max",
        ];
        out += &table("Generators", &titles, 2.., &offered);
    }
    out
}

/// Each span, where nothing was judged: medians over the runs.
pub(super) fn spans(report: &GateReport) -> String {
    if !is_unjudged(report) {
        return String::new();
    }
    let first = report.runs.first().map_or(&[][..], |run| &run.spans);
    let row = |(at, one): (usize, &SpanAnalysis)| {
        let of = |of: fn(&SpanAnalysis) -> u64| middle(&report.runs, at, of);
        let ns = |value: fn(&SpanAnalysis) -> u64| span(of(value));
        let n = of(|one| one.n);
        vec![
            escape(&name(one)),
            grouped(n),
            ns(|one| one.raw.p50),
            ns(|one| one.raw.p99),
            ns(|one| one.clean.p50),
            ns(|one| one.clean.p99),
            ns(|one| one.clean.p99_9),
            ns(|one| one.host_floor.p99),
            share(of(|one| one.n_clean), n),
            share(of(|one| one.n_slowed), n),
        ]
    };
    let rows: Vec<Vec<String>> = first.iter().enumerate().map(row).collect();
    let titles = [
        "Span",
        "Frames",
        "Raw p50",
        "Raw p99",
        "Clean p50",
        "Clean p99",
        "Clean p99.9",
        "Host p99",
        "Kept",
        "Slowed",
    ];
    "<p class=\"hint\">Medians over the process runs. Nothing was judged.</p>\n".to_owned()
        + &table("Spans", &titles, 1.., &rows)
}

/// The loops as hiccup meters.
pub(super) fn loops(report: &GateReport) -> String {
    let mut rows = Vec::new();
    for (name, run) in named(report) {
        for each in &run.loops {
            let faults: Vec<String> = each
                .own_faults
                .iter()
                .filter(|(_, count)| **count > 0)
                .map(|(fault, count)| {
                    format!("{} {}", escape(&fault.replace('_', " ")), grouped(*count))
                })
                .collect();
            let kinds: Vec<String> = each
                .gaps_by_kind
                .iter()
                .filter(|(_, count)| **count > 0)
                .map(|(kind, count)| format!("{} {}", escape(kind), grouped(*count)))
                .collect();
            rows.push(vec![
                name.clone(),
                escape(&each.name),
                each.core
                    .map_or_else(|| "any".to_owned(), |core| core.to_string()),
                escape(&each.wait),
                grouped(each.gaps),
                percent(each.gap_share),
                percent(each.slowed_share),
                grouped(each.cut()),
                span(each.gap_from_ns),
                span(each.receive_gap_from_ns),
                percent(each.own_fault_share),
                kinds.join(", "),
                faults.join(", "),
            ]);
        }
    }
    if rows.is_empty() {
        return String::new();
    }
    let titles = [
        "Run",
        "Loop",
        "Core",
        "Wait",
        "Gaps",
        "In gaps",
        "Slowed",
        "Log lost",
        "Gap from",
        "Receive from",
        "In own faults",
        "Gaps found in",
        "Own faults",
    ];
    "<p class=\"hint\">Each loop times all its segments, and is the meter of the host’s gaps on its core. Slowed is the time in which \
     a fixed piece of work took over a quarter longer than usual: a neighbour used the same core.</p>\n".to_owned()
        + &table("Loops", &titles, 4..11, &rows)
        + &wakes(report)
}

/// What a bare wake takes, where a loop parks.
fn wakes(report: &GateReport) -> String {
    let row = |(name, run): (String, &RunAnalysis)| {
        let probe = run.wake_probe.as_ref()?;
        let [waker, sleeper] = probe.cores;
        let late = &probe.late;
        let spans = [late.p50, late.p90, late.p99, late.p99_9, late.max];
        let mut cells = vec![
            name,
            escape(&probe.of),
            format!("{waker} wakes {sleeper}"),
            grouped(probe.wakes),
        ];
        cells.extend(spans.map(span));
        Some(cells)
    };
    let rows: Vec<Vec<String>> = named(report).filter_map(row).collect();
    if rows.is_empty() {
        return String::new();
    }
    let titles = [
        "Run", "For loop", "Cores", "Wakes", "p50", "p90", "p99", "p99.9", "max",
    ];
    "<p class=\"hint\">A loop that parks sees no gaps. What a thread takes that is woken out of a bare sleep, on the same cores \
     right before and after the run, is what any such loop takes at the least.</p>\n"
        .to_owned()
        + &table("Bare wakes", &titles, 3.., &rows)
}

/// Facts of the machine.
pub(super) fn host(report: &GateReport) -> String {
    if report.host.is_empty() {
        return String::new();
    }
    let mut out = String::from("<dl class=\"facts\">\n");
    for (name, value) in &report.host {
        out += &format!(
            "<div><dt>{}</dt><dd>{}</dd></div>\n",
            escape(name),
            escape(value)
        );
    }
    out + "</dl>\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::model::LoopAnalysis;

    #[test]
    fn what_counts_of_a_loop_stands_before_what_a_narrow_page_breaks_or_hides() {
        let run = RunAnalysis {
            loops: vec![LoopAnalysis {
                slowed_share: 0.25,
                log_lost: 77,
                gaps_by_kind: [("idle".to_owned(), 5)].into(),
                ..LoopAnalysis::default()
            }],
            ..RunAnalysis::default()
        };
        let page = loops(&GateReport {
            runs: vec![run],
            ..GateReport::default()
        });
        let at = |cell: &str| page.find(cell).unwrap();
        assert!(at(">25.00%</td>") < at(">77</td>"), "{page}");
        assert!(
            at(">77</td>") < at("<td class=\"broken\">idle 5</td>"),
            "{page}"
        );
        assert!(at(">Log lost</th>") < at(">Gap from</th>"), "{page}");
    }
}
