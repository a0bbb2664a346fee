//! The page of two reports side by side.
//!
//! Invariant: what to know before reading the ratios stands above them.

use super::{ROWS_MAX, Section, badge, left_out, metric_text, shell};
use crate::gate::model::Verdict;
use crate::gate::out::compare::{Comparison, JUDGES_NOTHING, Row, about, clean, raw};
use crate::gate::out::phrase::{escape, hop, quantile, span_of};
use crate::view::text::Tone;

/// The whole page.
pub(super) fn page(comparison: &Comparison<'_>) -> String {
    let mut head = String::from(
        "<header class=\"head\">\n<p class=\"crumb\">hopline report</p>\n<h1>Two reports side by side</h1>\n<dl class=\"facts two\">\n",
    );
    for ((report, name), letter) in comparison
        .reports
        .iter()
        .zip(&comparison.names)
        .zip(["A", "B"])
    {
        head += &format!(
            "<div><dt>{letter}</dt><dd>{}</dd></div>\n",
            escape(&about(report, name))
        );
    }
    head += "</dl>\n";
    for note in &comparison.notes {
        head += &format!("<p class=\"note\">{}</p>\n", escape(note));
    }
    head += &format!(
        "<p class=\"hint\">{}</p>\n</header>\n",
        escape(JUDGES_NOTHING)
    );
    let section = Section {
        id: "quantiles",
        title: "Quantiles",
        body: table(comparison),
    };
    shell("Two reports", &head, &[section])
}

fn table(comparison: &Comparison<'_>) -> String {
    if comparison.rows.is_empty() {
        return "<p>Neither report has a run.</p>\n".to_owned();
    }
    let mut out = String::from(
        "<div class=\"scroll\" role=\"region\" aria-label=\"Quantiles\" tabindex=\"0\">\n<table class=\"verdicts\" role=\"table\">\n\
         <thead role=\"rowgroup\"><tr role=\"row\">",
    );
    let mut titles = vec![
        ("Hop", ""),
        ("Span", ""),
        ("Quantile", ""),
        ("Clean A", "n"),
        ("Clean B", "n"),
        ("B / A", "n"),
        ("Raw A", "n"),
        ("Raw B", "n"),
    ];
    if comparison.has_verdicts {
        titles.extend([("Verdict A", ""), ("Verdict B", "")]);
    }
    for (title, class) in titles {
        out += &format!("<th role=\"columnheader\" scope=\"col\" class=\"{class}\">{title}</th>");
    }
    out += "</tr></thead>\n<tbody role=\"rowgroup\">\n";
    let mut last: Option<&str> = None;
    for line in comparison.rows.iter().take(ROWS_MAX) {
        let Some(any) = line.any() else { continue };
        let hop = any.hop.as_str();
        if last.replace(hop).is_some_and(|last| last != hop) {
            out += "</tbody>\n<tbody role=\"rowgroup\">\n";
        }
        out += &row(line, any, comparison.has_verdicts);
    }
    out + "</tbody>\n</table>\n</div>\n" + &left_out(ROWS_MAX, comparison.rows.len(), "rows")
}

fn row(row: &Row, any: &Verdict, has_verdicts: bool) -> String {
    let tone = match row.tone() {
        Tone::Warn | Tone::Bad => "slower",
        Tone::Good => "faster",
        Tone::Plain | Tone::Dim | Tone::Strong => "dim",
    };
    let mut out = format!(
        "<tr role=\"row\"><th role=\"rowheader\" scope=\"row\" class=\"hop\">{}</th>",
        escape(&hop(&any.hop))
    );
    let mut cell = |label: &str, class: &str, text: &str| {
        out += &format!("<td role=\"cell\" class=\"{class}\" data-label=\"{label}\">{text}</td>");
    };
    let word = |verdict: Option<&Verdict>| {
        verdict.map_or_else(|| "–".to_owned(), |verdict| badge(verdict.word))
    };
    cell("Span", "what", &escape(span_of(&any.of)));
    cell("Quantile", "what", &escape(&quantile(&any.quantile)));
    cell("Clean A", "n strong", &metric_text(&clean(row.a.as_ref())));
    cell("Clean B", "n strong", &metric_text(&clean(row.b.as_ref())));
    cell("B / A", &format!("n {tone}"), &row.change());
    cell("Raw A", "n dim", &metric_text(&raw(row.a.as_ref())));
    cell("Raw B", "n dim", &metric_text(&raw(row.b.as_ref())));
    if has_verdicts {
        cell("Verdict A", "wide", &word(row.a.as_ref()));
        cell("Verdict B", "wide", &word(row.b.as_ref()));
    }
    out + "</tr>\n"
}
