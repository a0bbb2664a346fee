//! Causes of the frames in the tail, span by span, as stacked bars beside their numbers.
//!
//! Invariant: the parts of a bar are whole: every frame of the tail has one cause.

use std::collections::BTreeMap;

use super::svg::percent;
use super::{ROWS_MAX, left_out, share};
use crate::gate::model::GateReport;
use crate::gate::out::phrase::{escape, hop, span_of};
use crate::view::text::grouped;

/// The causes in the order of their bars: the program's own first, the host's last.
const CAUSES: [(&str, &str); 10] = [
    ("queueing", "queueing"),
    ("service", "service"),
    ("held_back", "held back"),
    ("page_fault", "page fault"),
    ("blocked_in_handler", "blocked in handler"),
    ("shootdown", "shootdown"),
    ("interrupt_or_own", "interrupt or own"),
    ("slow_core", "slow core"),
    ("preempted", "preempted"),
    ("host_gap", "host gap"),
];

/// Narrowest part of a bar that has room for its share in digits.
const LABEL_SHARE: f64 = 0.12;

/// The place of a cause in the palette, and its words; what has a parameter, such as `held_back{book}`, is told by what
/// stands before it.
pub(super) fn cause(name: &str) -> (usize, String) {
    let (root, of) = match name.strip_suffix('}').and_then(|name| name.split_once('{')) {
        Some((root, of)) => (root, Some(of)),
        None => (name, None),
    };
    let Some(at) = CAUSES.iter().position(|(cause, _)| *cause == root) else {
        return (CAUSES.len(), name.replace('_', " "));
    };
    let words = CAUSES[at].1;
    (
        at,
        of.map_or(words.to_owned(), |of| format!("{words} by {of}")),
    )
}

/// The bars.
pub(super) fn section(report: &GateReport) -> String {
    let mut order: Vec<(&str, &str)> = Vec::new();
    let mut sums: BTreeMap<(&str, &str), BTreeMap<&str, u64>> = BTreeMap::new();
    for span in report.runs.iter().flat_map(|run| &run.spans) {
        let key = (span.hop.as_str(), span.of.as_str());
        for (name, frames) in span.blame.iter().filter(|(_, frames)| **frames > 0) {
            if !sums.contains_key(&key) {
                order.push(key);
            }
            let sum = sums.entry(key).or_default().entry(name).or_default();
            *sum = sum.saturating_add(*frames);
        }
    }
    if order.is_empty() {
        return String::new();
    }
    let mut out = String::from(
        "<p class=\"hint\">Causes of the frames at or above the raw p99.</p>\n<p class=\"legend\">",
    );
    for (at, (_, words)) in CAUSES.iter().enumerate() {
        out += &format!("<span><i class=\"key bar cause{at}\"></i>{words}</span> ");
    }
    out += "</p>\n<table class=\"blame\" role=\"table\">\n<thead role=\"rowgroup\"><tr role=\"row\">\
            <th role=\"columnheader\" scope=\"col\">Hop</th><th role=\"columnheader\" scope=\"col\">Causes</th>\
            <th role=\"columnheader\" scope=\"col\" class=\"n\">Frames</th></tr></thead>\n<tbody role=\"rowgroup\">\n";
    for key in order.iter().take(ROWS_MAX) {
        if let Some(causes) = sums.get(key) {
            out += &row(key.0, key.1, causes);
        }
    }
    out + "</tbody>\n</table>\n" + &left_out(ROWS_MAX, order.len(), "spans")
}

fn row(name: &str, of: &str, causes: &BTreeMap<&str, u64>) -> String {
    let all = causes.values().copied().fold(0, u64::saturating_add);
    let mut parts: Vec<(usize, String, u64)> = causes
        .iter()
        .map(|(name, frames)| {
            let (at, words) = cause(name);
            (at, words, *frames)
        })
        .collect();
    parts.sort_by_key(|(at, ..)| *at);
    let (mut bars, mut labels, mut told) = (String::new(), String::new(), Vec::new());
    let mut from = 0.0;
    for (at, words, frames) in &parts {
        let width = *frames as f64 / all.max(1) as f64;
        let text = format!("{} {}", escape(words), share(*frames, all));
        bars += &format!(
            "<rect class=\"cause{at}\" x=\"{}\" width=\"{}\" y=\"0\" height=\"100%\"><title>{text}</title></rect>",
            percent(from),
            percent(width)
        );
        if width >= LABEL_SHARE {
            labels += &format!(
                "<text class=\"on cause{at}\" x=\"{}\" y=\"50%\" dy=\"0.35em\" text-anchor=\"middle\">{}</text>",
                percent(from + width / 2.0),
                share(*frames, all)
            );
        }
        told.push(text);
        from += width;
    }
    let told = told.join(", ");
    let title = format!("{} {}", hop(name), span_of(of));
    format!(
        "<tr role=\"row\"><th role=\"rowheader\" scope=\"row\">{}</th><td role=\"cell\"><svg class=\"stack\" role=\"img\" \
         aria-label=\"{told}\">{bars}{labels}</svg><p class=\"told\">{told}</p></td><td role=\"cell\" class=\"n\">{}</td></tr>\n",
        escape(title.trim_end()),
        grouped(all)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_keeps_its_parameter_and_an_unknown_one_its_name() {
        assert_eq!(
            cause("held_back{book}"),
            (2, "held back by book".to_owned())
        );
        assert_eq!(cause("host_gap"), (9, "host gap".to_owned()));
        assert_eq!(cause("moon_phase"), (10, "moon phase".to_owned()));
    }
}
