//! How much the line can take: the rates that were tried.
//!
//! Invariant: lowest rate first, so that the border between what holds and what does not is one line.

use super::facts::table;
use super::{badge, limit, prose, span};
use crate::gate::capacity::by_rate;
use crate::gate::model::GateReport;
use crate::gate::out::phrase::{advice, escape, place};
use crate::view::text::rate;

/// The steps of the search; nothing where none was asked for.
pub(super) fn section(report: &GateReport) -> String {
    let Some(capacity) = &report.capacity else {
        return String::new();
    };
    let rows: Vec<Vec<String>> = by_rate(capacity)
        .into_iter()
        .map(|step| {
            let verdict = &step.decided_by;
            let some = |has: bool, ns: u64| if has { span(ns) } else { "–".to_owned() };
            vec![
                format!("{}/s", rate(step.rate_per_s)),
                badge(step.word),
                escape(&place(verdict)),
                verdict.budget_ns.map_or_else(|| "–".to_owned(), limit),
                some(verdict.n > 0, verdict.raw_ns),
                some(verdict.n_clean > 0, verdict.clean_ns),
                step.runs.to_string(),
            ]
        })
        .collect();
    let titles = [
        "Rate",
        "Verdict",
        "Decided by",
        "Budget",
        "Raw",
        "Clean",
        "Runs",
    ];
    let mut out = table("Rates that were tried", &titles, 3.., &rows);
    let short = by_rate(capacity).into_iter().filter(|step| !step.holds);
    let why: Vec<String> = short
        .map(|step| {
            let why = prose(&advice(&step.decided_by));
            format!("<li>{}/s: {why}</li>\n", rate(step.rate_per_s))
        })
        .collect();
    if !why.is_empty() {
        out += &format!("<ul>\n{}</ul>\n", why.concat());
    }
    if capacity.holds_per_s.is_some() {
        out += "<p class=\"hint\">All that follows is of the highest rate that holds.</p>\n";
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::model::{Capacity, CapacityStep, Verdict, Word};

    #[test]
    fn every_rate_is_a_row_and_nothing_leaves_its_place() {
        let step = |factor: f64, holds: bool| CapacityStep {
            rate_per_s: 15_000.0 * factor,
            factor,
            runs: 3,
            word: if holds { Word::Pass } else { Word::Fail },
            holds,
            decided_by: Verdict {
                hop: "<a>->b".to_owned(),
                reason: "<too slow>".to_owned(),
                ..Verdict::default()
            },
        };
        let mut report = GateReport::default();
        assert_eq!(section(&report), "");
        report.capacity = Some(Capacity {
            holds_per_s: Some(15_000.0),
            steps: vec![step(1.0, true), step(4.0, false), step(2.0, false)],
            ..Capacity::default()
        });
        let html = section(&report);
        let at = |rate: &str| html.find(rate).expect(rate);
        assert!(at("15.0k/s") < at("30.0k/s") && at("30.0k/s") < at("60.0k/s"));
        assert!(
            !html.contains("<a>") && html.matches("&lt;too slow&gt;").count() == 2,
            "{html}"
        );
    }
}
