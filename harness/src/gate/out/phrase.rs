//! What all outputs say in the same words: names of quantiles, signs of verdicts, the order of what is worst.
//!
//! Invariant: a verdict's word never goes without its sign or its letters, so that nobody needs colours to read it.

use std::cmp::Ordering;
use std::time::{Duration, SystemTime};

use hopline::base::units::Span;

use crate::gate::model::{Change, END_TO_END, GateReport, Verdict, Word};
use crate::view::text::{Tone, grouped, limit};

/// The last second of the year 9999: a later one has no four digits for its year.
const LAST_UNIX_S: u64 = 253_402_300_799;

/// The letters of a verdict, as in `gate.json`.
pub(crate) const fn letters(word: Word) -> &'static str {
    match word {
        Word::Pass => "PASS",
        Word::PassClean => "PASS_CLEAN",
        Word::Inconclusive => "INCONCLUSIVE",
        Word::Fail => "FAIL",
        Word::Loss => "LOSS",
    }
}

/// The sign of a verdict.
pub(crate) const fn sign(word: Word) -> &'static str {
    match word {
        Word::Pass => "✓",
        Word::PassClean => "≈",
        Word::Inconclusive => "?",
        Word::Fail => "✗",
        Word::Loss => "!",
    }
}

/// How a verdict is painted on a terminal.
pub(crate) const fn tone(word: Word) -> Tone {
    match word {
        Word::Pass | Word::PassClean => Tone::Good,
        Word::Inconclusive => Tone::Warn,
        Word::Fail | Word::Loss => Tone::Bad,
    }
}

/// Whether a verdict is shown only. A loss always counts.
pub(crate) fn is_shown_only(verdict: &Verdict) -> bool {
    verdict.reported_only && verdict.word != Word::Loss
}

/// The word of a verdict as a part of the whole: what is shown only asks for nothing.
pub(crate) fn standing(verdict: &Verdict) -> Word {
    if is_shown_only(verdict) {
        verdict.word.min(Word::PassClean)
    } else {
        verdict.word
    }
}

/// Whether there is nothing to do about it.
pub(crate) const fn is_pass(word: Word) -> bool {
    matches!(word, Word::Pass | Word::PassClean)
}

/// `p99_9` as people write it: `p99.9`.
pub(crate) fn quantile(name: &str) -> String {
    name.replace('_', ".")
}

/// The share of frames at or below a quantile of that name; `None` if there is no such name.
pub(crate) fn share_below(name: &str) -> Option<f64> {
    Some(match name {
        "p50" => 0.5,
        "p90" => 0.9,
        "p99" => 0.99,
        "p99_9" => 0.999,
        "max" => 1.0,
        _ => return None,
    })
}

/// A hop as people read it.
pub(crate) fn hop(name: &str) -> String {
    if name == END_TO_END {
        "end to end".to_owned()
    } else {
        name.to_owned()
    }
}

/// Which span of its hop; nothing where there is only one.
pub(crate) fn span_of(of: &str) -> &str {
    if of == END_TO_END { "" } else { of }
}

/// Where a verdict stands: `btc->book service p99`.
pub(crate) fn place(verdict: &Verdict) -> String {
    let of = span_of(&verdict.of);
    let space = if of.is_empty() { "" } else { " " };
    let hop = hop(&verdict.hop);
    format!("{hop}{space}{of} {}", quantile(&verdict.quantile))
}

/// The share of frames that the host did not touch, in percent; a dash without frames.
pub(crate) fn kept(verdict: &Verdict) -> String {
    crate::view::text::share(verdict.n_clean, verdict.n)
}

/// The share of frames that no gap touched, but whose core ran slowly, in percent; a dash without frames.
pub(crate) fn slowed(verdict: &Verdict) -> String {
    crate::view::text::share(verdict.n_slowed, verdict.n)
}

/// A ratio with its two decimals: `1.31x`.
pub(crate) fn times(ratio: f64) -> String {
    format!("{ratio:.2}x")
}

/// Head against base in a clause.
pub(crate) fn change(change: &Change) -> String {
    format!(
        "head takes {} of base's {} ({} to {}, allowed {})",
        times(change.ratio),
        Span(change.base_ns),
        times(change.low),
        times(change.high),
        times(change.allowed),
    )
}

/// The figures of a verdict in one sentence, without its word.
pub(crate) fn figures(verdict: &Verdict) -> String {
    if verdict.n == 0 {
        return "no frame was measured".to_owned();
    }
    let mut text = String::new();
    if verdict.n_clean == 0 {
        text += &format!("raw {}, no clean frame", Span(verdict.raw_ns));
    } else {
        text += &format!(
            "clean {} ({} to {}), raw {}",
            Span(verdict.clean_ns),
            Span(verdict.clean_low_ns),
            Span(verdict.clean_high_ns),
            Span(verdict.raw_ns)
        );
    }
    if let Some(budget_ns) = verdict.budget_ns {
        text += &format!(", budget {}", limit(budget_ns));
    }
    if let Some(against) = &verdict.change {
        text += &format!("; {}", change(against));
    }
    text + &format!("; kept {} of {} frames", kept(verdict), grouped(verdict.n))
}

/// Why, and what to do next, in one or two sentences.
pub(crate) fn advice(verdict: &Verdict) -> String {
    match (verdict.reason.is_empty(), verdict.next_step.is_empty()) {
        (true, true) => String::new(),
        (false, true) => verdict.reason.clone(),
        (true, false) => verdict.next_step.clone(),
        (false, false) => format!("{}: {}", verdict.reason, verdict.next_step),
    }
}

/// By how much a verdict is over what is allowed: 1 is just at the limit, 0 if nothing is known.
fn excess(verdict: &Verdict) -> f64 {
    let allowed = verdict.budget_ns.filter(|budget_ns| *budget_ns > 0);
    let of_budget = allowed.map(|budget_ns| verdict.clean_ns as f64 / budget_ns as f64);
    let of_base = verdict
        .change
        .filter(|change| change.allowed > 0.0)
        .map(|change| change.ratio / change.allowed);
    of_base.or(of_budget).unwrap_or(0.0)
}

/// The verdicts, worst first: by word, then by how far over what is allowed; of equals the given order stays.
pub(crate) fn worst_first(verdicts: &[Verdict]) -> Vec<&Verdict> {
    let mut sorted: Vec<&Verdict> = verdicts.iter().collect();
    sorted.sort_by(|a, b| {
        let by_word = standing(b).cmp(&standing(a));
        by_word.then_with(|| excess(b).partial_cmp(&excess(a)).unwrap_or(Ordering::Equal))
    });
    sorted
}

/// The verdict that decides: the worst that counts, and of those that pass the one nearest to what is allowed.
pub(crate) fn worst_of(verdicts: &[Verdict]) -> Option<&Verdict> {
    let sorted = worst_first(verdicts);
    let counts = sorted.iter().find(|verdict| !is_shown_only(verdict));
    counts.or(sorted.first()).copied()
}

/// The verdicts hop by hop: end to end first, then in the order of the line, each in the order of spans and quantiles.
pub(crate) fn by_hop(report: &GateReport) -> Vec<&Verdict> {
    let mut line: Vec<&str> = vec![END_TO_END];
    let spans = report.runs.iter().take(1).flat_map(|run| &run.spans);
    let judged = report.verdicts.iter().map(|verdict| verdict.hop.as_str());
    for hop in spans.map(|span| span.hop.as_str()).chain(judged) {
        if !line.contains(&hop) {
            line.push(hop);
        }
    }
    let place = |words: &[&str], word: &str| words.iter().position(|known| *known == word);
    let mut sorted: Vec<&Verdict> = report.verdicts.iter().collect();
    sorted.sort_by_key(|verdict| {
        (
            place(&line, &verdict.hop),
            place(&["wait", "service", "sojourn"], &verdict.of),
            share_below(&verdict.quantile).map(|share| (share * 1e6) as u64),
        )
    });
    sorted
}

/// How many verdicts have that word, without those that are shown only.
pub(crate) fn count(report: &GateReport, word: Word) -> usize {
    let counted = report
        .verdicts
        .iter()
        .filter(|verdict| !is_shown_only(verdict));
    counted.filter(|verdict| verdict.word == word).count()
}

/// How many verdicts are shown only.
pub(crate) fn count_shown_only(report: &GateReport) -> usize {
    report
        .verdicts
        .iter()
        .filter(|verdict| is_shown_only(verdict))
        .count()
}

/// What it came to in one sentence.
pub(crate) fn headline(report: &GateReport) -> String {
    if let Some(capacity) = &report.capacity {
        return format!("{}.", capacity.answer);
    }
    let all = report.verdicts.len();
    if all == 0 {
        return "Nothing was judged.".to_owned();
    }
    let parts: Vec<String> = [
        (Word::Loss, "lost frames"),
        (Word::Fail, "failed"),
        (Word::Inconclusive, "undecided"),
        (Word::PassClean, "passed on clean frames"),
        (Word::Pass, "passed"),
    ]
    .into_iter()
    .map(|(word, words)| (count(report, word), words))
    .chain([(count_shown_only(report), "reported only")])
    .filter(|(count, _)| *count > 0)
    .map(|(count, words)| format!("{count} {words}"))
    .collect();
    let noun = if all == 1 { "verdict" } else { "verdicts" };
    let mut text = format!("{all} {noun}: {}.", parts.join(", "));
    if let Some(worst) = worst_first(&report.verdicts).first()
        && !is_pass(standing(worst))
    {
        text += &format!(" Worst: {}, {}.", place(worst), figures(worst));
    }
    text
}

/// A moment since 1970 as ISO 8601 in UTC, such as `2026-02-14T09:30:00Z`; past the year 9999 that year's end.
pub(crate) fn moment(unix_s: u64) -> String {
    let since = Duration::from_secs(unix_s.min(LAST_UNIX_S));
    humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + since).to_string()
}

/// Text for XML and HTML, in elements and in quoted attributes. What XML cannot hold becomes U+FFFD.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\t' | '\n' => out.push(c),
            '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}' => {
                out.push('\u{fffd}');
            }
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(word: Word, clean_ns: u64) -> Verdict {
        Verdict {
            word,
            clean_ns,
            budget_ns: Some(1_000),
            ..Verdict::default()
        }
    }

    #[test]
    fn a_span_of_the_line_has_its_name_before_the_quantile() {
        use crate::gate::model::{IPDV, LINE};

        let verdict = Verdict {
            hop: LINE.to_owned(),
            of: IPDV.to_owned(),
            quantile: "p99".to_owned(),
            ..Verdict::default()
        };
        assert_eq!(place(&verdict), "line ipdv p99");
    }

    #[test]
    fn the_worst_word_is_first_and_then_the_farthest_over_its_budget() {
        let given = [
            verdict(Word::Pass, 10),
            verdict(Word::Fail, 1_100),
            verdict(Word::Loss, 0),
            verdict(Word::Fail, 2_000),
            verdict(Word::Inconclusive, 9_000),
        ];
        let sorted: Vec<(Word, u64)> = worst_first(&given)
            .iter()
            .map(|verdict| (verdict.word, verdict.clean_ns))
            .collect();
        assert_eq!(
            sorted,
            [
                (Word::Loss, 0),
                (Word::Fail, 2_000),
                (Word::Fail, 1_100),
                (Word::Inconclusive, 9_000),
                (Word::Pass, 10)
            ]
        );
    }

    #[test]
    fn a_moment_is_never_too_late() {
        assert_eq!(moment(0), "1970-01-01T00:00:00Z");
        assert_eq!(moment(1_771_061_400), "2026-02-14T09:30:00Z");
        assert_eq!(moment(u64::MAX), "9999-12-31T23:59:59Z");
    }

    #[test]
    fn text_cannot_leave_its_place() {
        assert_eq!(
            escape("<a href=\"x\">'&\u{1}\r</a>"),
            "&lt;a href=&quot;x&quot;&gt;&#39;&amp;\u{fffd}\u{fffd}&lt;/a&gt;"
        );
    }

    #[test]
    fn nothing_measured_is_said_so() {
        let report = GateReport::default();
        assert_eq!(headline(&report), "Nothing was judged.");
        assert_eq!(figures(&Verdict::default()), "no frame was measured");
    }
}
