//! The worst frames of all runs, each with its way through the line.
//!
//! Invariant: a stop's bar begins where the one before it ends, on the scale of its own frame; what was before the first stop
//! has a bar too.

use super::blame::cause;
use super::span;
use super::svg::percent;
use crate::gate::model::{GateReport, WorstFrame};
use crate::gate::out::phrase::{escape, hop};

/// Frames that are shown, and those of them that are open.
const FRAMES_MAX: usize = 12;

/// See [`FRAMES_MAX`].
const OPEN: usize = 3;

/// Most stops of a way.
const STOPS_MAX: usize = 128;

/// The frames, worst first.
pub(super) fn section(report: &GateReport) -> String {
    let mut frames: Vec<(usize, &WorstFrame)> = report
        .runs
        .iter()
        .enumerate()
        .flat_map(|(at, run)| run.worst.iter().map(move |frame| (at + 1, frame)))
        .collect();
    frames.sort_by_key(|(_, frame)| std::cmp::Reverse(frame.took_ns));
    if frames.is_empty() {
        return String::new();
    }
    let mut out = String::from(
        "<p class=\"legend\"><span><i class=\"key bar late\"></i>due, and not yet offered by its source</span> \
         <span><i class=\"key bar wait\"></i>waiting on the hop</span> \
         <span><i class=\"key bar service\"></i>in the handler</span></p>\n<div class=\"frames\">\n",
    );
    for (place, (run, frame)) in frames.iter().take(FRAMES_MAX).enumerate() {
        let open = if place < OPEN { " open=\"open\"" } else { "" };
        let (at, words) = cause(&frame.cause);
        let place = if frame.place.is_empty() {
            String::new()
        } else {
            format!(" at {}", escape(&hop(&frame.place)))
        };
        out += &format!(
            "<details{open}><summary><strong>{}</strong> <span class=\"chip\"><i class=\"key bar cause{at}\"></i>{}{place}</span> \
             <span class=\"dim\">run {run}, due {} after its start</span></summary>\n{}</details>\n",
            span(frame.took_ns),
            escape(&words),
            span(frame.at_ns),
            way(frame)
        );
    }
    out + "</div>\n"
}

/// What is not nothing is to be seen, though it be less than a pixel.
fn seen(share: f64) -> f64 {
    if share > 0.0 { share.max(0.002) } else { 0.0 }
}

fn way(frame: &WorstFrame) -> String {
    if frame.path.is_empty() {
        return "<p class=\"hint\">Its way is not known.</p>\n".to_owned();
    }
    let stops = frame.path.iter().take(STOPS_MAX);
    let of_path: u64 = stops
        .clone()
        .map(|stop| stop.wait_ns.saturating_add(stop.service_ns))
        .fold(0, u64::saturating_add);
    let of_all = of_path.saturating_add(frame.late_ns);
    let all = frame.took_ns.max(of_all).max(1) as f64;
    let mut out = String::from(
        "<table class=\"way\"><thead><tr><th scope=\"col\">Hop</th><th scope=\"col\">On its way</th>\
         <th scope=\"col\" class=\"n\">Wait</th><th scope=\"col\" class=\"n\">Service</th></tr></thead><tbody>\n",
    );
    let mut from = frame.late_ns as f64 / all;
    if frame.late_ns > 0 {
        out += &format!(
            "<tr><th scope=\"row\">before the first hop</th><td><svg class=\"stop\" aria-hidden=\"true\"><rect class=\"way\" x=\"0\" \
             width=\"100%\" y=\"0\" height=\"100%\"/><rect class=\"late\" x=\"0\" width=\"{}\" y=\"0\" height=\"100%\"/></svg></td>\
             <td class=\"n\">{}</td><td class=\"n\">–</td></tr>\n",
            percent(seen(from)),
            span(frame.late_ns)
        );
    }
    for stop in stops {
        let (wait, service) = (stop.wait_ns as f64 / all, stop.service_ns as f64 / all);
        out += &format!(
            "<tr><th scope=\"row\">{}</th><td><svg class=\"stop\" aria-hidden=\"true\"><rect class=\"way\" x=\"0\" width=\"100%\" y=\"0\" \
             height=\"100%\"/><rect class=\"wait\" x=\"{}\" width=\"{}\" y=\"0\" height=\"100%\"/><rect class=\"service\" x=\"{}\" \
             width=\"{}\" y=\"0\" height=\"100%\"/></svg></td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>\n",
            escape(&stop.hop),
            percent(from),
            percent(seen(wait)),
            percent(from + wait),
            percent(seen(service)),
            span(stop.wait_ns),
            span(stop.service_ns)
        );
        from += wait + service;
    }
    out += "</tbody></table>\n";
    let rest = frame.took_ns.saturating_sub(of_all);
    if rest > 0 {
        out += &format!(
            "<p class=\"hint\">{} passed on no hop that is known.</p>\n",
            span(rest)
        );
    }
    out
}
