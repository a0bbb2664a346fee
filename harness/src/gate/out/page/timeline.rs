//! What happened when: the slowest frame, the time lost to gaps, the depth and the sheds of each slice of a run.
//!
//! Invariant: slices are joined, never left out: a column shows the largest value, or the sum of counts, of its slices.

use super::svg::{LogScale, UNITS, percent, plot, stretched};
use super::{left_out, share, span};
use crate::gate::model::{GateReport, RunAnalysis, Slice};
use crate::view::text::grouped;

/// Most columns of a timeline: more would be thinner than a pixel on a phone.
const COLUMNS_MAX: usize = 240;

/// Most runs that are drawn.
const RUNS_MAX: usize = 12;

/// Share of a column that is drawn, so that columns stay apart.
const COLUMN_WIDTH: f64 = 0.86;

/// The runs; the first is open, the others open by a click.
pub(super) fn section(report: &GateReport) -> String {
    let runs: Vec<(usize, &RunAnalysis)> = report
        .runs
        .iter()
        .enumerate()
        .filter(|(_, run)| !run.timeline.is_empty())
        .collect();
    if runs.is_empty() {
        return String::new();
    }
    let mut out = String::from(LEGEND);
    for (place, (at, run)) in runs.iter().take(RUNS_MAX).enumerate() {
        let open = if place == 0 { " open=\"open\"" } else { "" };
        out += &format!(
            "<details{open}><summary>Run {} <span class=\"dim\">seed {}, {}</span></summary>\n{}</details>\n",
            at + 1,
            run.seed,
            span(run.span_ns),
            tracks(run)
        );
    }
    out + &left_out(RUNS_MAX, runs.len(), "runs")
}

const LEGEND: &str = "<p class=\"legend\"><span><i class=\"key bar clean\"></i>the host touched no frame</span> \
<span><i class=\"key bar gap\"></i>a gap of the host</span> <span><i class=\"key bar slowed\"></i>a core that ran slowly</span> \
<span><i class=\"key bar depth\"></i>messages waiting</span> \
<span><i class=\"key bar shed\"></i>messages shed</span></p>\n";

/// Slices joined to columns.
fn columns(timeline: &[Slice]) -> Vec<Slice> {
    let each = timeline.len().div_ceil(COLUMNS_MAX).max(1);
    timeline
        .chunks(each)
        .map(|slices| {
            let mut column = Slice {
                at_ns: slices.first().map_or(0, |slice| slice.at_ns),
                ..Slice::default()
            };
            for slice in slices {
                column.frames = column.frames.saturating_add(slice.frames);
                column.max_ns = column.max_ns.max(slice.max_ns);
                column.tainted = column.tainted.saturating_add(slice.tainted);
                column.slowed = column.slowed.saturating_add(slice.slowed);
                column.gap_ns = column.gap_ns.saturating_add(slice.gap_ns);
                column.shed = column.shed.saturating_add(slice.shed);
                column.depth_max = column.depth_max.max(slice.depth_max);
            }
            column
        })
        .collect()
}

fn tracks(run: &RunAnalysis) -> String {
    let columns = columns(&run.timeline);
    let slowest = columns
        .iter()
        .map(|column| column.max_ns)
        .max()
        .unwrap_or(0);
    let lost = columns
        .iter()
        .map(|column| column.gap_ns)
        .fold(0, u64::saturating_add);
    let deepest = columns
        .iter()
        .map(|column| column.depth_max)
        .max()
        .unwrap_or(0);
    let shed = columns
        .iter()
        .map(|column| column.shed)
        .fold(0, u64::saturating_add);
    let most_lost = columns
        .iter()
        .map(|column| column.gap_ns)
        .max()
        .unwrap_or(0);
    let most_shed = columns.iter().map(|column| column.shed).max().unwrap_or(0);
    let y = LogScale::around(columns.iter().map(|column| column.max_ns));
    let linear = |value: u64, most: u64| value as f64 / most.max(1) as f64;
    let frames = columns.iter().map(|column| {
        let class = match (column.tainted, column.slowed) {
            (0, _) => "clean",
            (tainted, slowed) if tainted > slowed => "gap",
            _ => "slowed",
        };
        (class, y.at(column.max_ns))
    });
    let mut out = String::from("<div class=\"timeline\">\n");
    out += &track(
        "tall",
        "Slowest frame",
        &format!("at most {}; the scale is logarithmic", span(slowest)),
        &(steps(y) + &bars(frames)),
    );
    out += &track(
        "low",
        "Time lost to gaps",
        &format!(
            "{} in all, at most {} in a column",
            span(lost),
            span(most_lost)
        ),
        &bars(
            columns
                .iter()
                .map(|column| ("gap", linear(column.gap_ns, most_lost))),
        ),
    );
    out += &track(
        "low",
        "Depth of the fullest hop",
        &format!("at most {} messages", grouped(deepest)),
        &bars(
            columns
                .iter()
                .map(|column| ("depth", linear(column.depth_max, deepest))),
        ),
    );
    out += &if shed == 0 {
        "<p class=\"track-name\"><strong>Shed</strong> <span class=\"dim\">nothing</span></p>\n"
            .to_owned()
    } else {
        track(
            "low",
            "Shed",
            &format!(
                "{} messages, at most {} in a column",
                grouped(shed),
                grouped(most_shed)
            ),
            &bars(
                columns
                    .iter()
                    .map(|column| ("shed", linear(column.shed, most_shed))),
            ),
        )
    };
    out += "<p class=\"ends\" aria-hidden=\"true\">";
    for quarter in 0..=4 {
        out += &format!("<span>{}</span>", span(run.span_ns / 4 * quarter));
    }
    let frames = columns
        .iter()
        .map(|column| column.frames)
        .fold(0, u64::saturating_add);
    let tainted = columns
        .iter()
        .map(|column| column.tainted)
        .fold(0, u64::saturating_add);
    let slowed = columns
        .iter()
        .map(|column| column.slowed)
        .fold(0, u64::saturating_add);
    out += &format!(
        "</p>\n<p class=\"hint\">{} frames were due, the host touched {} ({}), {} of these only by a core that ran slowly.</p>\n</div>\n",
        grouped(frames),
        grouped(tainted),
        share(tainted, frames),
        grouped(slowed)
    );
    out
}

fn track(class: &str, name: &str, told: &str, body: &str) -> String {
    format!(
        "<p class=\"track-name\"><strong>{name}</strong> <span class=\"dim\">{told}</span></p>\n"
    ) + &plot(&format!("track {class}"), name, told, body)
}

fn steps(y: LogScale) -> String {
    let mut lines = String::new();
    let mut texts = String::new();
    for step in y.steps() {
        let at = (1.0 - y.at(step)) * UNITS;
        lines += &format!("<polyline class=\"grid\" points=\"0,{at:.1} 1000,{at:.1}\"/>");
        texts += &format!(
            "<text class=\"scale\" x=\"-6\" y=\"{}\" dy=\"0.35em\" text-anchor=\"end\">{}</text>",
            percent(1.0 - y.at(step)),
            super::limit(step)
        );
    }
    stretched(&lines) + &texts
}

/// A column for each value from 0 to 1.
fn bars<'a>(values: impl ExactSizeIterator<Item = (&'a str, f64)>) -> String {
    let step = UNITS / values.len().max(1) as f64;
    let width = step * COLUMN_WIDTH;
    let mut out = String::new();
    for (at, (class, value)) in values.enumerate() {
        if value > 0.0 {
            // What is not nothing is to be seen.
            let height = (value.min(1.0) * UNITS).max(8.0);
            let (x, y) = (at as f64 * step, UNITS - height);
            out += &format!(
                "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>"
            );
        }
    }
    stretched(&out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_slices_are_joined_and_none_is_lost() {
        let slices: Vec<Slice> = (0..1_000)
            .map(|at| Slice {
                at_ns: at,
                frames: 2,
                max_ns: at,
                shed: u64::from(at == 999),
                ..Slice::default()
            })
            .collect();
        let columns = columns(&slices);
        assert!(columns.len() <= COLUMNS_MAX);
        assert_eq!(
            columns.iter().map(|column| column.frames).sum::<u64>(),
            2_000
        );
        assert_eq!(
            columns.last().map(|column| (column.max_ns, column.shed)),
            Some((999, 1))
        );
    }
}
