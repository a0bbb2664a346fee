//! A percentile plot for each span that was judged: along, log 1/(1 − q); up, the span in decades.
//!
//! The budget is drawn as stairs: between two of its quantiles no value may be over the limit of the higher one, so a
//! curve holds the budget where it stays below the stairs.
//!
//! Invariant: raw and clean are drawn from the same histograms that `gate.json` holds.

use hdrhistogram::Histogram;

use super::svg::{LogScale, clipped, percent, plot, points, stretched};
use super::{badge, left_out, limit, span};
use crate::gate::model::{GateReport, Quantiles, Verdict};
use crate::gate::out::histogram::{spans, sums};
use crate::gate::out::phrase::{
    by_hop, escape, hop, is_shown_only, kept, quantile, share_below, span_of, standing,
};

/// Most plots on a page.
const PLOTS_MAX: usize = 96;

/// Points of a curve in a decade of 1/(1 − q).
const POINTS_PER_DECADE: u32 = 24;

/// Decades along the plot: to p99.99, beyond which no run here has frames enough.
const DECADES: f64 = 4.0;

/// The plots.
pub(super) fn section(report: &GateReport) -> String {
    let mut names: Vec<(&str, &str)> = Vec::new();
    for verdict in by_hop(report) {
        if !names.contains(&(&verdict.hop, &verdict.of)) {
            names.push((&verdict.hop, &verdict.of));
        }
    }
    let plots: Vec<String> = names
        .iter()
        .filter_map(|(hop, of)| figure(report, hop, of))
        .collect();
    if plots.is_empty() {
        return String::new();
    }
    let all = plots.len();
    let mut out = String::from(INTRODUCTION);
    out += "<div class=\"plots\">\n";
    out.extend(plots.into_iter().take(PLOTS_MAX));
    out + "</div>\n" + &left_out(PLOTS_MAX, all, "plots")
}

const INTRODUCTION: &str = "<p class=\"legend\"><span><i class=\"key clean\"></i>clean</span> <span><i class=\"key raw\"></i>raw</span> \
<span><i class=\"key noise\"></i>what the host added</span> <span><i class=\"key floor\"></i>host floor</span> \
<span><i class=\"key budget\"></i>budget: the curve has to stay below the stairs</span></p>\n";

/// Where a share of frames stands along the plot.
fn along(share: f64) -> f64 {
    let rest = (1.0 - share).max(1e-9);
    (-rest.log10() / DECADES).clamp(0.0, 1.0)
}

/// A curve through a histogram, as far as it has frames: a quantile beyond the last frame says nothing.
fn curve(histogram: &Histogram<u64>) -> Vec<(f64, u64)> {
    if histogram.is_empty() {
        return Vec::new();
    }
    let end = (histogram.len() as f64).log10().min(DECADES);
    let steps = (end * f64::from(POINTS_PER_DECADE)).ceil() as u32;
    (0..=steps)
        .map(|step| {
            let decades = (f64::from(step) / f64::from(POINTS_PER_DECADE)).min(end);
            let share = 1.0 - 10_f64.powf(-decades);
            (decades / DECADES, histogram.value_at_quantile(share))
        })
        .collect()
}

/// The median over the runs of the host's floor, at the quantiles that it is known at.
fn floor(report: &GateReport, hop: &str, of: &str) -> Vec<(f64, u64)> {
    let all: Vec<&Quantiles> = spans(&report.runs, hop, of)
        .map(|span| &span.host_floor)
        .collect();
    let median = |get: fn(&Quantiles) -> u64| {
        let mut values: Vec<u64> = all.iter().map(|quantiles| get(quantiles)).collect();
        values.sort_unstable();
        values.get(values.len() / 2).copied().unwrap_or(0)
    };
    [
        (0.5, median(|quantiles| quantiles.p50)),
        (0.9, median(|quantiles| quantiles.p90)),
        (0.99, median(|quantiles| quantiles.p99)),
        (0.999, median(|quantiles| quantiles.p99_9)),
    ]
    .into_iter()
    .filter(|(_, ns)| *ns > 0)
    .map(|(share, ns)| (along(share), ns))
    .collect()
}

/// The limits along the plot, in order.
fn limits(judged: &[&Verdict]) -> Vec<(f64, u64)> {
    let mut limits: Vec<(f64, u64)> = judged
        .iter()
        .filter_map(|verdict| Some((along(share_below(&verdict.quantile)?), verdict.budget_ns?)))
        .collect();
    limits.sort_by(|a, b| a.0.total_cmp(&b.0));
    limits
}

fn figure(report: &GateReport, name: &str, of: &str) -> Option<String> {
    let sums = sums(&report.runs, name, of)?;
    let judged: Vec<&Verdict> = report
        .verdicts
        .iter()
        .filter(|verdict| verdict.hop == name && verdict.of == of)
        .collect();
    let (raw, clean) = (curve(&sums.raw), curve(&sums.clean));
    let (floor, limits) = (floor(report, name, of), limits(&judged));
    // Not around the floor: one far from the curves would press them together, so it is cut off.
    let drawn = raw.iter().chain(&clean).chain(&limits);
    let y = LogScale::around(drawn.map(|(_, ns)| *ns));
    let title = format!("{} {}", hop(name), span_of(of));
    let title = title.trim_end();
    let told: Vec<String> = judged
        .iter()
        .map(|verdict| {
            format!(
                "{} clean {}, raw {}, kept {}{}",
                quantile(&verdict.quantile),
                span(verdict.clean_ns),
                span(verdict.raw_ns),
                kept(verdict),
                verdict
                    .budget_ns
                    .map_or_else(String::new, |ns| format!(", budget {}", limit(ns))),
            )
        })
        .collect();
    // What is shown only says something of a span of which nothing else is judged.
    let counted = judged.iter().filter(|verdict| !is_shown_only(verdict));
    let worst = counted.map(|verdict| standing(verdict)).max();
    let shown = judged.iter().map(|verdict| standing(verdict)).max();
    let worst = worst.or(shown).unwrap_or_default();
    let mut out = format!(
        "<figure>\n<figcaption><span>{}</span>{}</figcaption>\n",
        escape(title),
        badge(worst)
    );
    let body = grid(y) + &shapes(y, &raw, &clean, &floor, &limits) + &texts(y, &judged);
    out += &plot("percentiles", title, &told.join("; "), &body);
    Some(out + "</figure>\n")
}

fn grid(y: LogScale) -> String {
    let mut lines = String::new();
    for step in y.steps() {
        let up = points([(0.0, y.at(step)), (1.0, y.at(step))].into_iter());
        lines += &format!("<polyline class=\"grid\" points=\"{up}\"/>");
    }
    for share in [0.9, 0.99, 0.999] {
        let across = points([(along(share), 0.0), (along(share), 1.0)].into_iter());
        lines += &format!("<polyline class=\"grid\" points=\"{across}\"/>");
    }
    stretched(&lines)
}

fn shapes(
    y: LogScale,
    raw: &[(f64, u64)],
    clean: &[(f64, u64)],
    floor: &[(f64, u64)],
    limits: &[(f64, u64)],
) -> String {
    let place = |line: &[(f64, u64)]| points(line.iter().map(|(x, ns)| (*x, y.at(*ns))));
    // Only as far as there are both: beyond the last clean frame nobody knows what the host added.
    let both_until = clean.last().map_or(0.0, |(x, _)| *x);
    let there: Vec<(f64, u64)> = raw
        .iter()
        .filter(|(x, _)| *x <= both_until)
        .copied()
        .collect();
    let back: Vec<(f64, u64)> = clean.iter().rev().copied().collect();
    let mut shapes = String::new();
    if there.len() > 1 && back.len() > 1 {
        shapes += &format!(
            "<polygon class=\"noise\" points=\"{} {}\"/>",
            place(&there),
            place(&back)
        );
    }
    shapes += &format!("<polyline class=\"raw\" points=\"{}\"/>", place(raw));
    shapes += &format!("<polyline class=\"clean\" points=\"{}\"/>", place(clean));
    let mut stairs = Vec::new();
    let mut from = 0.0;
    for (x, ns) in limits {
        stairs.extend([(from, *ns), (*x, *ns)]);
        from = *x;
    }
    if !stairs.is_empty() {
        shapes += &format!("<polyline class=\"budget\" points=\"{}\"/>", place(&stairs));
    }
    let line = floor.iter().map(|(x, ns)| (*x, y.beyond(*ns)));
    let floor = format!("<polyline class=\"floor\" points=\"{}\"/>", points(line));
    clipped(&floor) + &stretched(&shapes)
}

/// What is not stretched: the scales' words and the judged quantiles as dots.
fn texts(y: LogScale, judged: &[&Verdict]) -> String {
    let mut out = String::new();
    let up = |share: f64| percent(1.0 - share);
    for step in y.steps() {
        out += &format!(
            "<text class=\"scale\" x=\"-6\" y=\"{}\" dy=\"0.35em\" text-anchor=\"end\">{}</text>",
            up(y.at(step)),
            limit(step)
        );
    }
    for (share, name) in [
        (0.5, "p50"),
        (0.9, "p90"),
        (0.99, "p99"),
        (0.999, "p99.9"),
        (0.9999, "p99.99"),
    ] {
        let anchor = if share > 0.9995 { "end" } else { "middle" };
        out += &format!(
            "<text class=\"scale\" x=\"{}\" y=\"100%\" dy=\"1.3em\" text-anchor=\"{anchor}\">{name}</text>",
            percent(along(share))
        );
    }
    for verdict in judged {
        let Some(share) = share_below(&verdict.quantile).filter(|share| *share < 1.0) else {
            continue;
        };
        let x = percent(along(share));
        for (class, ns, frames) in [
            ("raw", verdict.raw_ns, verdict.n),
            ("clean", verdict.clean_ns, verdict.n_clean),
        ] {
            if frames > 0 {
                out += &format!(
                    "<circle class=\"{class}\" cx=\"{x}\" cy=\"{}\" r=\"4\"><title>{} {class} {}</title></circle>",
                    up(y.at(ns)),
                    escape(&quantile(&verdict.quantile)),
                    span(ns)
                );
            }
        }
    }
    out
}
