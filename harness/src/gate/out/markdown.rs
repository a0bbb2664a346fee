//! The step summary: one page of Markdown, as GitHub and GitLab show it.
//!
//! Invariant: the page is below [`SUMMARY_BYTES_MAX`], whatever the report holds; what had no room is counted.

use hopline::base::units::Span;

use super::phrase::{
    advice, change, headline, hop, is_pass, is_shown_only, kept, letters, moment, place, quantile,
    sign, slowed, span_of, standing, worst_first,
};
use crate::gate::capacity::by_rate;
use crate::gate::model::{GateReport, Verdict, Word};
use crate::view::text::{limit, rate};

/// Longest page: GitHub refuses a summary of more than 1 MiB, and so all of it; the rest is for what others add.
pub const SUMMARY_BYTES_MAX: usize = (1 << 20) - (16 << 10);

/// Room for what follows the table.
const TAIL_BYTES: usize = 64 << 10;

/// Longest text of a cell or of a line, in characters.
const TEXT_CHARS_MAX: usize = 1_000;

/// Text that can mean nothing but itself in a cell of a table.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars().take(TEXT_CHARS_MAX) {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '@' => out.push_str("&#64;"),
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '!' | '#' | '~' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => out.push(' '),
            _ => out.push(c),
        }
    }
    out
}

/// A span, or a dash for none.
fn span(ns: u64) -> String {
    if ns == 0 {
        "–".to_owned()
    } else {
        Span(ns).to_string()
    }
}

fn row(verdict: &Verdict) -> String {
    let cells = [
        format!(
            "{} {}{}",
            sign(verdict.word),
            plain(letters(verdict.word)),
            if is_shown_only(verdict) {
                ", reported only"
            } else {
                ""
            }
        ),
        plain(&hop(&verdict.hop)),
        plain(span_of(&verdict.of)),
        plain(&quantile(&verdict.quantile)),
        verdict.budget_ns.map_or_else(|| "–".to_owned(), limit),
        span(verdict.raw_ns),
        span(verdict.clean_ns),
        span(verdict.host_floor_ns),
        plain(&kept(verdict)),
        plain(&slowed(verdict)),
    ];
    format!("| {} |\n", cells.join(" | "))
}

/// The report as Markdown.
#[must_use]
pub fn step_summary(report: &GateReport) -> String {
    let mut out = format!(
        "## {} {} – {}\n\n",
        sign(report.word),
        plain(letters(report.word)),
        plain(&report.case)
    );
    if report.partial {
        out += "> **Partial:** the gate was cut short. What is missing did not pass.\n\n";
    }
    out += &format!("{}\n\n", plain(&headline(report)));
    out += &capacity(report);
    if !report.verdicts.is_empty() {
        out += "| verdict | hop | span | quantile | budget | raw | clean | host floor | kept | slowed |\n";
        out += "|---|---|---|---|---:|---:|---:|---:|---:|---:|\n";
    }
    let mut left_out = 0_usize;
    for verdict in worst_first(&report.verdicts) {
        let row = row(verdict);
        if left_out > 0 || out.len() + row.len() > SUMMARY_BYTES_MAX - TAIL_BYTES {
            left_out += 1;
        } else {
            out += &row;
        }
    }
    if left_out > 0 {
        out += &format!("\n{left_out} more verdicts had no room here; report.html has them.\n");
    }
    out += "\n*raw* is all frames; *clean* those that the host did not touch, and *kept* is their share; ";
    out += "*slowed* are those that no gap touched, but whose core a neighbour used meanwhile; ";
    out += "the *host floor* is what a hop that costs nothing would have had.\n";
    let tail = tail(report);
    for line in tail.split_inclusive('\n') {
        if out.len() + line.len() > SUMMARY_BYTES_MAX {
            break;
        }
        out += line;
    }
    out
}

/// The rates that were tried, where a capacity was looked for.
fn capacity(report: &GateReport) -> String {
    let Some(capacity) = &report.capacity else {
        return String::new();
    };
    let mut out = "| rate | verdict | decided by | budget | clean | runs |\n".to_owned();
    out += "|---:|---|---|---:|---:|---:|\n";
    for step in by_rate(capacity) {
        let verdict = &step.decided_by;
        let cells = [
            format!("{}/s", rate(step.rate_per_s)),
            format!("{} {}", sign(step.word), plain(letters(step.word))),
            plain(&place(verdict)),
            verdict.budget_ns.map_or_else(|| "–".to_owned(), limit),
            span(verdict.clean_ns),
            step.runs.to_string(),
        ];
        out += &format!("| {} |\n", cells.join(" | "));
    }
    out + "\nWhat follows is of the highest rate that holds, or of the lowest that was tried.\n\n"
}

/// What to do, notes, where and what.
fn tail(report: &GateReport) -> String {
    let mut out = String::new();
    let todo: Vec<String> = worst_first(&report.verdicts)
        .into_iter()
        .filter(|verdict| !is_pass(standing(verdict)) && !advice(verdict).is_empty())
        .map(|verdict| {
            format!(
                "- **{}** {}\n",
                plain(&place(verdict)),
                plain(&advice(verdict))
            )
        })
        .collect();
    if !todo.is_empty() {
        out += "\n### What to do\n\n";
        out.extend(todo);
    }
    let changes: Vec<String> = report
        .verdicts
        .iter()
        .filter(|verdict| verdict.word != Word::Pass)
        .filter_map(|verdict| Some((verdict, verdict.change?)))
        .map(|(verdict, against)| format!("- {}: {}\n", plain(&place(verdict)), change(&against)))
        .collect();
    if !changes.is_empty() {
        out += "\n### Head against base\n\n";
        out.extend(changes);
    }
    for note in &report.notes {
        out += &format!("\n> {}\n", plain(note));
    }
    let host: Vec<String> = report
        .host
        .iter()
        .map(|(name, value)| format!("{} {}", plain(name), plain(value)))
        .collect();
    out += &format!(
        "\n<sub>{} · head {} · {} · hopline {} · {}</sub>\n",
        moment(report.began_unix_s),
        plain(&report.head),
        report.base.as_deref().map_or_else(
            || "no base".to_owned(),
            |base| format!("base {}", plain(base))
        ),
        plain(&report.version),
        host.join(" · ")
    );
    out
}
