//! The verdicts on a terminal: raw beside clean, the share kept, and what to do about all that is no pass.
//!
//! Invariant: at 80 columns every verdict has its word, its budget and its clean figure.

use hopline::base::units::Span;

use super::phrase::{
    advice, change, headline, hop, is_pass, is_shown_only, kept, letters, quantile, sign, slowed,
    span_of, times, tone,
};
use crate::gate::model::{GateReport, Verdict, Word};
use crate::gate::{capacity, wake};
use crate::view::table::{Cell, Table, numbers, words};
use crate::view::text::{Paint, Tone, limit, wrap};

/// The report in lines of at most `width` columns.
pub(crate) fn lines(report: &GateReport, width: usize, paint: Paint) -> Vec<String> {
    let mut out = vec![String::new()];
    let add = |out: &mut Vec<String>, text: &str, tone: Tone| {
        for line in wrap(text, width.saturating_sub(2).max(20)) {
            out.push(format!("  {}", paint.paint(&line, tone)));
        }
    };
    let word = format!("{} {}", sign(report.word), letters(report.word));
    add(
        &mut out,
        &format!("{word}  {}", report.case),
        tone(report.word),
    );
    if report.partial {
        add(
            &mut out,
            "partial: the gate was cut short, and what is missing did not pass",
            Tone::Bad,
        );
    }
    add(&mut out, &headline(report), Tone::Plain);
    let table = match &report.capacity {
        Some(capacity) => capacity::table(capacity),
        None => verdicts(report),
    };
    if !table.is_empty() {
        out.push(String::new());
        out.extend(table.lines(width, paint));
    }
    if let Some(row) = wake::row(&report.runs) {
        out.push(String::new());
        add(&mut out, &row, Tone::Dim);
    }
    let ledgers = report.runs.iter().enumerate();
    let mut said: Vec<String> = Vec::new();
    for (at, run) in ledgers {
        let ledger = &run.ledger;
        let all = ledger.breaches.iter().chain(&ledger.losses);
        said.extend(all.map(|words| format!("run {}: {words}", at + 1)));
    }
    if !said.is_empty() || !report.notes.is_empty() {
        out.push(String::new());
    }
    for words in &said {
        add(&mut out, words, Tone::Bad);
    }
    for note in &report.notes {
        add(&mut out, &format!("note: {note}"), Tone::Dim);
    }
    out
}

/// The table of verdicts in the report's order, with a remark under each that is no pass.
fn verdicts(report: &GateReport) -> Table {
    let has_base = report
        .verdicts
        .iter()
        .any(|verdict| verdict.change.is_some());
    let mut table = Table::new(vec![
        words("hop"),
        words("span"),
        words("q"),
        numbers("budget"),
        numbers("raw"),
        numbers("clean"),
        numbers("kept").may_go(1),
        numbers(if has_base { "to base" } else { "" }).may_go(2),
        numbers("slowed").may_go(3),
        numbers("floor").may_go(4),
        numbers("over").may_go(6),
        numbers("frames").may_go(7),
        words("verdict"),
    ]);
    for verdict in &report.verdicts {
        table.row(row(verdict));
        if is_shown_only(verdict) {
            let advice = advice(verdict);
            let advice = advice.strip_prefix("reported: ").unwrap_or(&advice);
            let why = if advice.is_empty() {
                "no part of the whole word"
            } else {
                advice
            };
            table.remark(format!("reported only: {why}"), Tone::Dim);
        } else if !is_pass(verdict.word) {
            let advice = advice(verdict);
            if !advice.is_empty() {
                table.remark(advice, Tone::Dim);
            }
            if let Some(against) = &verdict.change {
                table.remark(change(against), Tone::Dim);
            }
        }
    }
    table
}

fn row(verdict: &Verdict) -> Vec<Cell> {
    let span = |ns: u64, has: bool| {
        if has {
            Span(ns).to_string()
        } else {
            "-".to_owned()
        }
    };
    vec![
        hop(&verdict.hop).into(),
        span_of(&verdict.of).into(),
        quantile(&verdict.quantile).into(),
        verdict.budget_ns.map(limit).unwrap_or_default().into(),
        Cell::new(span(verdict.raw_ns, verdict.n > 0), Tone::Dim),
        Cell::new(span(verdict.clean_ns, verdict.n_clean > 0), Tone::Strong),
        kept(verdict).into(),
        verdict
            .change
            .map(|change| times(change.ratio))
            .unwrap_or_default()
            .into(),
        Cell::new(slowed(verdict), Tone::Dim),
        Cell::new(
            span(verdict.host_floor_ns, verdict.host_floor_ns > 0),
            Tone::Dim,
        ),
        verdict
            .budget_ns
            .map(|_| verdict.clean.k.to_string())
            .unwrap_or_default()
            .into(),
        crate::view::text::grouped(verdict.n).into(),
        word(verdict.word),
    ]
}

/// A word with its sign, as a cell.
pub(crate) fn word(word: Word) -> Cell {
    let text = format!("{} {}", sign(word), letters(word));
    Cell::new(text, tone(word))
}
