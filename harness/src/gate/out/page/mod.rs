//! The page for people: one HTML file without scripts and without a single request, light and dark, from a phone to a wall.
//!
//! The page is well-formed XML as well, so that a test can see that every text stays in its place.
//!
//! Invariant: every figure in a picture stands in a table or in words too, and colour never speaks alone.

mod blame;
mod capacity;
mod compared;
mod facts;
mod percentiles;
mod repeat;
mod svg;
mod timeline;
mod verdicts;
mod worst;

use hopline::base::units::Span;

use super::compare::Comparison;
use super::measured::is_unjudged;
use super::phrase::{escape, headline, is_pass, letters, moment, sign, standing, worst_first};
use crate::gate::model::{GateReport, Word};

/// The looks.
const STYLE: &str = include_str!("page.css");

/// Longest list on a page, in rows; what is beyond is counted.
const ROWS_MAX: usize = 2_000;

/// A part of the page with its heading.
struct Section {
    id: &'static str,
    title: &'static str,
    body: String,
}

/// The report as a page.
#[must_use]
pub fn page(report: &GateReport) -> String {
    let judged = if is_unjudged(report) {
        String::new()
    } else {
        verdicts::table(report)
    };
    let sections: Vec<Section> = [
        ("capacity", "Capacity", capacity::section(report)),
        ("next", "What to do", verdicts::advice_list(report)),
        ("spans", "What every span took", facts::spans(report)),
        ("verdicts", "Verdicts", judged),
        ("percentiles", "Percentiles", percentiles::section(report)),
        ("timeline", "Timeline", timeline::section(report)),
        ("blame", "Where the tail comes from", blame::section(report)),
        ("worst", "Worst frames", worst::section(report)),
        ("ledger", "Ledger and load", facts::ledger(report)),
        ("loops", "Loops and their gaps", facts::loops(report)),
        ("host", "Host", facts::host(report)),
        ("reproduce", "How to repeat it", repeat::section(report)),
    ]
    .into_iter()
    .filter(|(.., body)| !body.is_empty())
    .map(|(id, title, body)| Section { id, title, body })
    .collect();
    let title = match has_word(report) {
        true => format!("{} {}", letters(report.word), report.case),
        false => format!("{} {}", report.command, report.case),
    };
    shell(&title, &head(report), &sections)
}

/// Two reports as a page.
#[must_use]
pub fn comparison(comparison: &Comparison<'_>) -> String {
    compared::page(comparison)
}

/// A page around its sections.
fn shell(title: &str, head: &str, sections: &[Section]) -> String {
    let mut out =
        String::from("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n");
    out += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n";
    out += "<meta name=\"color-scheme\" content=\"light dark\"/>\n";
    // An empty icon, or else the reader asks its server for one.
    out += "<link rel=\"icon\" href=\"data:,\"/>\n";
    out += &format!(
        "<title>{} – hopline</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n",
        escape(title)
    );
    out += "<a class=\"skip\" href=\"#main\">Skip to the verdicts</a>\n";
    out += head;
    out += "<nav aria-label=\"Sections\"><ul>\n";
    for section in sections {
        out += &format!(
            "<li><a href=\"#{}\">{}</a></li>\n",
            section.id, section.title
        );
    }
    out += "</ul></nav>\n<main id=\"main\" tabindex=\"-1\">\n";
    for Section { id, title, body } in sections {
        out += &format!(
            "<section id=\"{id}\" aria-labelledby=\"{id}-title\">\n<h2 id=\"{id}-title\">{title}</h2>\n{body}</section>\n"
        );
    }
    out += "</main>\n<footer><p>Made by hopline from <code>gate.json</code>. Spans are in nanoseconds (ns), microseconds (µs), \
            milliseconds (ms) and seconds (s).</p></footer>\n</body>\n</html>\n";
    out
}

/// Whether its word says something: a bench that lost nothing has none.
fn has_word(report: &GateReport) -> bool {
    !is_unjudged(report) || report.word != Word::Inconclusive
}

/// What it is, and what it came to.
fn head(report: &GateReport) -> String {
    let class = class(report.word);
    let mut out = format!(
        "<header class=\"head {class}\">\n<p class=\"crumb\">hopline {}</p>\n",
        escape(&report.command)
    );
    out += &format!("<h1>{}</h1>\n", escape(&report.case));
    if has_word(report) {
        out += &format!("<p class=\"verdict\">{}</p>\n", badge(report.word));
    }
    if report.partial {
        out += "<p class=\"partial\" role=\"alert\"><strong>Partial.</strong> The gate was cut short: this is what was there by then. \
                What is missing did not pass.</p>\n";
    }
    out += &format!("<p class=\"headline\">{}</p>\n", prose(&headline(report)));
    let took = if report.took_s.is_finite() {
        span((report.took_s.max(0.0) * 1e9) as u64)
    } else {
        "unknown".to_owned()
    };
    let base = report
        .base
        .as_deref()
        .unwrap_or("none: judged against its budget");
    out += "<dl class=\"facts\">\n";
    for (name, value) in [
        ("Head", report.head.clone()),
        ("Base", base.to_owned()),
        ("Began", began(report)),
        ("Took", took),
        ("Process runs", runs(report)),
        ("Exit code", report.exit_code.to_string()),
    ] {
        out += &format!("<div><dt>{name}</dt><dd>{}</dd></div>\n", escape(&value));
    }
    out += "</dl>\n";
    for note in &report.notes {
        out += &format!("<p class=\"note\">{}</p>\n", prose(note));
    }
    out + "</header>\n"
}

fn began(report: &GateReport) -> String {
    let moment = moment(report.began_unix_s);
    moment.trim_end_matches('Z').replace('T', " ") + " UTC"
}

fn runs(report: &GateReport) -> String {
    match report.base_runs.len() {
        0 => report.runs.len().to_string(),
        base => format!("{} of head, {base} of base", report.runs.len()),
    }
}

/// The class that colours a word.
const fn class(word: Word) -> &'static str {
    match word {
        Word::Pass => "pass",
        Word::PassClean => "clean",
        Word::Inconclusive => "open",
        Word::Fail => "fail",
        Word::Loss => "loss",
    }
}

/// A word with its sign and colour.
fn badge(word: Word) -> String {
    format!(
        "<span class=\"badge {}\"><span class=\"sign\" aria-hidden=\"true\">{}</span>{}</span>",
        class(word),
        sign(word),
        letters(word)
    )
}

/// A span as a page writes it: `12.3 µs`, with a space that does not break.
fn span(ns: u64) -> String {
    apart(&Span(ns).to_string())
}

/// A span as it is written in a budget, likewise.
fn limit(ns: u64) -> String {
    apart(&crate::view::text::limit(ns))
}

fn apart(text: &str) -> String {
    let at = text
        .find(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let unit = if unit == "us" { "µs" } else { unit };
    format!("{number}\u{a0}{unit}")
}

/// A sentence that was written for terminals, as HTML: no line ends before a unit, or between the two signs of an arrow.
fn prose(text: &str) -> String {
    let kept = metric_text(text).replace(" %", "\u{a0}%");
    escape(&kept).replace("-&gt;", "<span class=\"arrow\">-&gt;</span>")
}

/// The units of a sentence that was written for terminals: `1.25us` becomes `1.25 µs`.
fn metric_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut after_digit = false;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let unit = ["ns", "us", "ms", "s"].into_iter().find(|unit| {
            let follows = rest.strip_prefix(unit).map(|rest| rest.chars().next());
            follows.is_some_and(|next| !next.is_some_and(char::is_alphanumeric))
        });
        let taken = match unit {
            Some(unit) if after_digit => {
                out.push('\u{a0}');
                out.push_str(if unit == "us" { "µs" } else { unit });
                unit.len()
            }
            _ => {
                out.push(c);
                c.len_utf8()
            }
        };
        rest = rest.get(taken..).unwrap_or("");
        after_digit = c.is_ascii_digit();
    }
    out
}

/// A share in percent, of which the least begins with a sign that HTML keeps for itself.
fn share(part: u64, whole: u64) -> String {
    escape(&crate::view::text::share(part, whole))
}

/// How many of something are not shown, as a line; nothing if all are.
fn left_out(shown: usize, all: usize, what: &str) -> String {
    if all <= shown {
        return String::new();
    }
    format!(
        "<p class=\"hint\">{} more {what} are in gate.json.</p>\n",
        all - shown
    )
}

/// Whether there is anything to do.
fn is_quiet(report: &GateReport) -> bool {
    worst_first(&report.verdicts)
        .first()
        .is_none_or(|verdict| is_pass(standing(verdict)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_legend_is_text_that_flows() {
        let rule = STYLE.lines().find(|line| line.starts_with(".legend span"));
        // As a flex box each word in italics would be a column of its own.
        assert!(!rule.unwrap().contains("flex"), "{rule:?}");
    }

    #[test]
    fn units_are_those_of_print() {
        assert_eq!(span(12_345), "12.3\u{a0}µs");
        assert_eq!(limit(20_000), "20\u{a0}µs");
        let text = metric_text("raw 9.12us, 4ns; 15.2s bus 3use p99s1 2s");
        assert_eq!(
            text.replace('\u{a0}', "~"),
            "raw 9.12~µs, 4~ns; 15.2~s bus 3use p99s1 2~s"
        );
        assert_eq!(metric_text("ü1us"), "ü1\u{a0}µs");
    }
}
