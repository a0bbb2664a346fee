//! Annotations for GitHub: workflow commands on standard output, which a pull request shows beside its checks.
//!
//! FAIL and LOSS are `::error`, INCONCLUSIVE is `::warning`, the whole and PASS_CLEAN are `::notice`.
//!
//! Source: "Workflow commands for GitHub Actions", § Setting an error message, and the limits of its annotations.
//!
//! Invariant: no text of a report can end its line or begin another command.

use super::phrase::{advice, count, figures, headline, is_shown_only, letters, place, worst_first};
use crate::gate::model::{GateReport, Verdict, Word};

/// Annotations of one kind that GitHub shows of a step; what is beyond them would be dropped without a word.
pub const ANNOTATIONS_PER_KIND_MAX: usize = 10;

/// A message, as the runner reads it.
fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// A property's value, where colon and comma have a meaning too.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

fn line(kind: &str, title: &str, message: &str) -> String {
    format!("::{kind} title={}::{}\n", property(title), data(message))
}

fn annotation(kind: &str, verdict: &Verdict) -> String {
    let title = format!("{} {}", letters(verdict.word), place(verdict));
    let message = format!("{}; {}", figures(verdict), advice(verdict));
    line(kind, &title, message.trim_end_matches("; "))
}

/// The report as workflow commands, worst first, at most [`ANNOTATIONS_PER_KIND_MAX`] of a kind. Where there are more,
/// the last of the kind says how many.
#[must_use]
pub fn annotations(report: &GateReport) -> String {
    let whole = line(
        "notice",
        &format!("{} {}", letters(report.word), report.case),
        &headline(report),
    );
    let mut out = String::new();
    for (kind, words, mut lines) in [
        ("error", &[Word::Loss, Word::Fail][..], Vec::new()),
        ("warning", &[Word::Inconclusive][..], Vec::new()),
        ("notice", &[Word::PassClean][..], vec![whole]),
    ] {
        if kind == "warning" && report.partial {
            let message = "The gate was cut short: what is missing did not pass.";
            lines.push(line(kind, "the gate is partial", message));
        }
        let all = lines.len() + words.iter().map(|word| count(report, *word)).sum::<usize>();
        let sorted = worst_first(&report.verdicts);
        let of_kind = sorted
            .into_iter()
            .filter(|verdict| words.contains(&verdict.word) && !is_shown_only(verdict));
        let room = if all > ANNOTATIONS_PER_KIND_MAX {
            ANNOTATIONS_PER_KIND_MAX - 1
        } else {
            all
        };
        lines.extend(
            of_kind
                .take(room - lines.len())
                .map(|verdict| annotation(kind, verdict)),
        );
        if all > room {
            let title = format!("{} more", all - room);
            lines.push(line(
                kind,
                &title,
                "The step summary and report.html have them all.",
            ));
        }
        out.extend(lines);
    }
    out
}
