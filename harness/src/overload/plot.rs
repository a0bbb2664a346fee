//! Plots that stand alone: an SVG with a line for each policy, which bears its own name.
//!
//! Colours are two palettes of one set of names, light and dark, by the reader's own setting; the ground is left to the page.
//! Names stand at the ends of their lines and are pushed apart where lines end together, with a hair to where they belong.
//!
//! Invariant: a coordinate is finite and within the picture, whatever the figures are.

use std::fmt::Write;

use hopline::base::units::Span;

/// The picture, in its own units.
const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 470.0;

/// Where the plot lies in it.
const LEFT: f64 = 74.0;
const RIGHT: f64 = 690.0;
const TOP: f64 = 62.0;
const BOTTOM: f64 = 412.0;

/// Least distance of two names, where there is room.
const APART: f64 = 17.0;

/// Lines that have a colour of their own; beyond them colours come again.
const COLOURS: usize = 10;

const STYLE: &str = "\
:root{--ink:#1b2330;--dim:#586374;--grid:#dde2e9;--limit:#b91c2b;\
--c0:#586374;--c1:#c2570c;--c2:#8a6a00;--c3:#0b62c4;--c4:#17702f;--c5:#8a1266;--c6:#0a6a77;--c7:#5b4bc4;--c8:#3d6b1f;--c9:#7a4a2b}\
@media(prefers-color-scheme:dark){:root{--ink:#e4e9f0;--dim:#9aa7b8;--grid:#2b3542;--limit:#ff7a80;\
--c0:#aab6c6;--c1:#ff9d57;--c2:#f2bd55;--c3:#6db3ff;--c4:#6fdd8b;--c5:#f58fd3;--c6:#66d3e0;--c7:#a79bff;--c8:#b5d96a;--c9:#d9a686}}\
text{font:13px system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans','DejaVu Sans',sans-serif;fill:var(--ink)}\
.title{font-size:16px;font-weight:650}.dim{fill:var(--dim)}.grid{stroke:var(--grid);stroke-width:1}\
.curve{fill:none;stroke-width:2.2;stroke-linejoin:round}.hair{stroke-width:1;opacity:.55}\
.limit{stroke:var(--limit);stroke-width:1.4;stroke-dasharray:6 4}.says{fill:var(--limit)}";

/// How a value becomes a height.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Spans in nanoseconds, a decade as high as the next.
    Spans,
    /// Shares, from 0 to a little over 1, in percent.
    Shares,
}

/// A line of a plot.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// Its name.
    pub name: String,
    /// Offered load, in capacities, and the value there; in the order of the load.
    pub points: Vec<(f64, f64)>,
}

/// A plot of values against the offered load.
#[derive(Clone, Debug, PartialEq)]
pub struct Plot {
    /// What it shows.
    pub title: String,
    /// What stands below the title: how it was taken.
    pub about: String,
    /// How values become heights.
    pub scale: Scale,
    /// A value that is to be kept, and what it is called.
    pub limit: (f64, String),
    /// Its lines.
    pub curves: Vec<Curve>,
}

/// From where to where an axis goes, and its steps.
struct Axis {
    low: f64,
    high: f64,
    is_log: bool,
    steps: Vec<f64>,
}

impl Axis {
    /// Where a value lies, from 0 to 1.
    fn at(&self, value: f64) -> f64 {
        let value = if value.is_finite() { value } else { self.high };
        let value = value.clamp(self.low, self.high);
        let part = if self.is_log {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        part.clamp(0.0, 1.0)
    }

    fn x(&self, value: f64) -> f64 {
        LEFT + self.at(value) * (RIGHT - LEFT)
    }

    fn y(&self, value: f64) -> f64 {
        BOTTOM - self.at(value) * (BOTTOM - TOP)
    }

    /// The loads that were offered; at equal ratios equally far apart.
    fn of_loads(curves: &[Curve]) -> Axis {
        let points = curves.iter().flat_map(|curve| &curve.points);
        let mut steps: Vec<f64> = points
            .map(|(x, _)| *x)
            .filter(|x| x.is_finite() && *x > 0.0)
            .collect();
        steps.sort_by(f64::total_cmp);
        steps.dedup();
        let low = steps.first().copied().unwrap_or(0.5);
        let high = steps.last().copied().unwrap_or(10.0).max(low * 1.01);
        Axis {
            low,
            high,
            is_log: true,
            steps,
        }
    }

    fn of_values(plot: &Plot) -> Axis {
        let points = plot.curves.iter().flat_map(|curve| &curve.points);
        let values = points.map(|(_, y)| *y).chain([plot.limit.0]);
        let values: Vec<f64> = values.filter(|y| y.is_finite() && *y > 0.0).collect();
        match plot.scale {
            Scale::Shares => Axis {
                low: 0.0,
                high: 1.1,
                is_log: false,
                steps: (0..=5).map(|step| f64::from(step) * 0.2).collect(),
            },
            Scale::Spans => {
                let least = values.iter().copied().fold(f64::INFINITY, f64::min);
                let most = values.iter().copied().fold(1.0, f64::max);
                let decade = |value: f64| value.log10();
                let low = decade(least.min(most)).floor() as i32;
                let high = (decade(most).ceil() as i32).max(low + 1);
                Axis {
                    low: 10_f64.powi(low),
                    high: 10_f64.powi(high),
                    is_log: true,
                    steps: (low..=high).map(|decade| 10_f64.powi(decade)).collect(),
                }
            }
        }
    }
}

impl Plot {
    fn told(&self, value: f64) -> String {
        match self.scale {
            Scale::Spans => Span(value.round() as u64).to_string(),
            Scale::Shares => format!("{:.0} %", value * 100.0),
        }
    }

    /// The picture.
    #[must_use]
    pub fn svg(&self) -> String {
        let (across, up) = (Axis::of_loads(&self.curves), Axis::of_values(self));
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
             role=\"img\" aria-label=\"{}\"><style>{STYLE}</style>\n",
            escape(&self.title)
        );
        text(&mut out, 16.0, 24.0, "class=\"title\"", &self.title);
        text(&mut out, 16.0, 44.0, "class=\"dim\"", &self.about);
        self.grid(&mut out, &across, &up);
        self.ends(&mut out, &up);
        for (at, curve) in self.curves.iter().enumerate() {
            let colour = at % COLOURS;
            let places: Vec<(f64, f64)> = curve
                .points
                .iter()
                .map(|(x, y)| (across.x(*x), up.y(*y)))
                .collect();
            let line: Vec<String> = places
                .iter()
                .map(|(x, y)| format!("{x:.1},{y:.1}"))
                .collect();
            let _ = writeln!(
                out,
                "<polyline class=\"curve\" style=\"stroke:var(--c{colour})\" points=\"{}\"/>",
                line.join(" ")
            );
            for ((x, y), (load, value)) in places.iter().zip(&curve.points) {
                let _ = writeln!(
                    out,
                    "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.2\" style=\"fill:var(--c{colour})\">\
                     <title>{} at {load}x: {}</title></circle>",
                    escape(&curve.name),
                    self.told(*value)
                );
            }
        }
        out.push_str("</svg>\n");
        out
    }

    fn grid(&self, out: &mut String, across: &Axis, up: &Axis) {
        for step in &up.steps {
            let y = up.y(*step);
            let _ = writeln!(
                out,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>"
            );
            // A step is a decade: what stands behind its point are zeros.
            let name = self.told(*step).replace(".00", "").replace(".0", "");
            text(
                out,
                LEFT - 8.0,
                y + 4.5,
                "class=\"dim\" text-anchor=\"end\"",
                &name,
            );
        }
        let mut last = f64::NEG_INFINITY;
        for step in &across.steps {
            let x = across.x(*step);
            // Steps that are too close together share a name.
            if x - last >= 34.0 {
                last = x;
                text(
                    out,
                    x,
                    BOTTOM + 20.0,
                    "class=\"dim\" text-anchor=\"middle\"",
                    &format!("{step}x"),
                );
            }
            let _ = writeln!(
                out,
                "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{BOTTOM}\" y2=\"{:.1}\"/>",
                BOTTOM + 5.0
            );
        }
        let middle = (LEFT + RIGHT) / 2.0;
        let axis = "offered load, in capacities of the line";
        text(
            out,
            middle,
            BOTTOM + 43.0,
            "class=\"dim\" text-anchor=\"middle\"",
            axis,
        );
        let y = up.y(self.limit.0);
        let _ = writeln!(
            out,
            "<line class=\"limit\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>"
        );
        text(out, LEFT + 6.0, y - 6.0, "class=\"says\"", &self.limit.1);
    }

    /// The names, each beside the end of its line.
    fn ends(&self, out: &mut String, up: &Axis) {
        let last = |curve: &Curve| curve.points.last().map(|(_, y)| up.y(*y));
        let mut ends: Vec<(usize, f64)> = self
            .curves
            .iter()
            .enumerate()
            .filter_map(|(at, curve)| Some((at, last(curve)?)))
            .collect();
        ends.sort_by(|(_, a), (_, b)| a.total_cmp(b));
        let at: Vec<f64> = ends.iter().map(|(_, y)| *y).collect();
        for ((curve, y), name_y) in ends.iter().zip(pushed_apart(&at, TOP, BOTTOM)) {
            let colour = curve % COLOURS;
            let _ = writeln!(
                out,
                "<line class=\"hair\" style=\"stroke:var(--c{colour})\" x1=\"{:.1}\" y1=\"{y:.1}\" x2=\"{:.1}\" y2=\"{name_y:.1}\"/>",
                RIGHT + 5.0,
                RIGHT + 22.0
            );
            let fill = format!("style=\"fill:var(--c{colour})\"");
            text(
                out,
                RIGHT + 26.0,
                name_y + 4.5,
                &fill,
                &self.curves[*curve].name,
            );
        }
    }
}

/// Heights, the highest first, moved so that each is far enough from the one before, and all are within where there is room.
fn pushed_apart(at: &[f64], top: f64, bottom: f64) -> Vec<f64> {
    let mut out: Vec<f64> = at.to_vec();
    let apart = APART.min((bottom - top) / at.len().max(1) as f64);
    // Names that end together are spread around where they end.
    let mut begin = 0;
    while begin < at.len() {
        let mut end = begin + 1;
        while end < at.len() && at[end] - at[end - 1] < apart {
            end += 1;
        }
        let middle = at[begin..end].iter().sum::<f64>() / (end - begin) as f64;
        for (nth, y) in out[begin..end].iter_mut().enumerate() {
            *y = middle + (nth as f64 - (end - begin - 1) as f64 / 2.0) * apart;
        }
        begin = end;
    }
    let mut least = top;
    for y in &mut out {
        *y = y.max(least);
        least = *y + apart;
    }
    let mut most = bottom;
    for y in out.iter_mut().rev() {
        *y = y.min(most);
        most = *y - apart;
    }
    out
}

fn text(out: &mut String, x: f64, y: f64, how: &str, words: &str) {
    let _ = writeln!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" {how}>{}</text>",
        escape(words)
    );
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(scale: Scale, points: Vec<Vec<(f64, f64)>>) -> Plot {
        let curves = points.into_iter().enumerate().map(|(at, points)| Curve {
            name: format!("policy <{at}>"),
            points,
        });
        Plot {
            title: "a \"title\" & more".to_owned(),
            about: "about".to_owned(),
            scale,
            limit: (500_000.0, "budget".to_owned()),
            curves: curves.collect(),
        }
    }

    /// Every coordinate of an SVG.
    fn coordinates(svg: &str) -> Vec<f64> {
        let document = roxmltree::Document::parse(svg).unwrap();
        let mut found = Vec::new();
        for node in document.descendants() {
            for name in ["x", "y", "x1", "x2", "y1", "y2", "cx", "cy"] {
                found.extend(
                    node.attribute(name)
                        .map(|text| text.parse::<f64>().unwrap()),
                );
            }
            if let Some(points) = node.attribute("points") {
                let each = points.split([' ', ',']).filter(|part| !part.is_empty());
                found.extend(each.map(|text| text.parse::<f64>().unwrap()));
            }
        }
        found
    }

    #[test]
    fn a_picture_is_whole_whatever_is_in_it() {
        let odd = vec![
            vec![
                (0.5, 11_000.0),
                (1.0, 0.0),
                (2.0, f64::NAN),
                (10.0, f64::INFINITY),
            ],
            vec![(10.0, 1e15)],
            vec![],
        ];
        for scale in [Scale::Spans, Scale::Shares] {
            for points in [odd.clone(), vec![], vec![vec![(1.0, 1.0)]; 30]] {
                let svg = plot(scale, points).svg();
                for at in coordinates(&svg) {
                    assert!((0.0..=WIDTH).contains(&at), "{at} in {svg}");
                }
            }
        }
    }

    #[test]
    fn higher_is_more_and_decades_are_alike() {
        let points = vec![vec![(1.0, 1e4), (2.0, 1e5), (4.0, 1e6)]];
        let plot = plot(Scale::Spans, points);
        let (across, up) = (Axis::of_loads(&plot.curves), Axis::of_values(&plot));
        let y = [1e4, 1e5, 1e6].map(|value| up.y(value));
        assert!(y[0] > y[1] && y[1] > y[2]);
        assert!((y[0] - y[1] - (y[1] - y[2])).abs() < 1e-6);
        assert!((across.x(2.0) - (LEFT + RIGHT) / 2.0).abs() < 1e-6);
    }

    #[test]
    fn names_do_not_lie_on_each_other() {
        let at = [70.0, 70.0, 71.0, 200.0, 401.0, 401.0, 401.0];
        let apart = pushed_apart(&at, TOP, BOTTOM);
        assert!(
            apart
                .windows(2)
                .all(|pair| pair[1] - pair[0] > APART - 1e-9),
            "{apart:?}"
        );
        assert!(
            apart.iter().all(|y| (TOP..=BOTTOM).contains(y)),
            "{apart:?}"
        );
        assert_eq!(apart[3], 200.0);
    }
}
