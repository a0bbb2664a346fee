//! Pictures that keep their letters: plots stretch with the page, their texts and dots do not.
//!
//! A plot is an `svg` without a view box, as wide as its place. Curves and areas lie in an inner `svg` of 1000 x 1000
//! that is stretched; texts and dots stand outside it, at percentages.
//!
//! Invariant: a coordinate is finite and within its plot, whatever the figures are.

use std::fmt::Write;

use crate::gate::out::phrase::escape;

/// Units of the stretched part, each way.
pub(super) const UNITS: f64 = 1_000.0;

/// A logarithmic scale, with a step a decade, or with steps at 1, 2 and 5 where it is short.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogScale {
    low: u64,
    high: u64,
    is_short: bool,
}

/// Up to this ratio of its ends a scale has steps at 1, 2 and 5.
const SHORT_RATIO: u64 = 50;

/// Steps within a decade.
const WITHIN: [u64; 3] = [1, 2, 5];

/// Decades of a `u64`.
const DECADES: u32 = 20;

/// The steps of all scales of a kind, least first.
fn ladder(is_short: bool) -> impl Iterator<Item = u64> {
    let within = if is_short { &WITHIN[..] } else { &WITHIN[..1] };
    (0..DECADES).flat_map(move |decade| {
        within
            .iter()
            .filter_map(move |step| step.checked_mul(10_u64.pow(decade)))
    })
}

impl LogScale {
    /// From the step at or below the least of `values` to the one at or above the largest; zeros do not count.
    pub(super) fn around(values: impl Iterator<Item = u64>) -> LogScale {
        let (least, most) = values
            .filter(|value| *value > 0)
            .fold((u64::MAX, 1), |(least, most), value| {
                (least.min(value), most.max(value))
            });
        let least = least.min(most);
        let between = |is_short: bool| {
            let low = ladder(is_short)
                .take_while(|step| *step <= least)
                .last()
                .unwrap_or(1);
            let above = |step: &u64| *step >= most && *step > low;
            (low, ladder(is_short).find(above).unwrap_or(u64::MAX))
        };
        let (low, high) = between(true);
        let is_short = high / low <= SHORT_RATIO;
        let (low, high) = if is_short {
            (low, high)
        } else {
            between(false)
        };
        LogScale {
            low,
            high,
            is_short,
        }
    }

    /// Where a value stands, from 0 to 1.
    pub(super) fn at(self, value: u64) -> f64 {
        self.beyond(value).clamp(0.0, 1.0)
    }

    /// Where it stands, or would stand beyond the ends: for what is cut off there.
    pub(super) fn beyond(self, value: u64) -> f64 {
        let part = (value.max(1) as f64 / self.low as f64).ln();
        part / (self.high as f64 / self.low as f64).ln()
    }

    /// The steps, both ends included.
    pub(super) fn steps(self) -> impl Iterator<Item = u64> {
        ladder(self.is_short).filter(move |step| (self.low..=self.high).contains(step))
    }

    /// From where to where.
    pub(super) fn told(self) -> String {
        format!("{} to {}", super::limit(self.low), super::limit(self.high))
    }
}

/// Points of the stretched part; `x` and `y` from 0 to 1, `y` upwards.
pub(super) fn points(points: impl Iterator<Item = (f64, f64)>) -> String {
    let mut out = String::new();
    for (x, y) in points {
        let _ = write!(out, "{:.1},{:.1} ", x * UNITS, (1.0 - y) * UNITS);
    }
    out.truncate(out.trim_end().len());
    out
}

/// A share of the way across, as SVG wants it.
pub(super) fn percent(share: f64) -> String {
    format!("{:.2}%", share.clamp(0.0, 1.0) * 100.0)
}

/// The stretched part of a plot.
pub(super) fn stretched(shapes: &str) -> String {
    format!(
        "<svg width=\"100%\" height=\"100%\" viewBox=\"0 0 1000 1000\" preserveAspectRatio=\"none\" aria-hidden=\"true\">{shapes}</svg>"
    )
}

/// The same, but what lies beyond it is cut off.
pub(super) fn clipped(shapes: &str) -> String {
    stretched(shapes).replacen("<svg ", "<svg class=\"clipped\" ", 1)
}

/// A plot with its name and, in words, what it shows.
pub(super) fn plot(class: &str, title: &str, told: &str, body: &str) -> String {
    format!(
        "<svg class=\"{class}\" role=\"img\" aria-label=\"{}. {}\"><title>{}</title>{body}</svg>\n",
        escape(title),
        escape(told),
        escape(title),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_holds_what_it_is_made_around() {
        let scale = LogScale::around([700, 90_000, 0].into_iter());
        assert_eq!(
            scale.steps().collect::<Vec<_>>(),
            [100, 1_000, 10_000, 100_000]
        );
        assert!((scale.at(1_000) - 1.0 / 3.0).abs() < 1e-9);
        assert_eq!((scale.at(0), scale.at(u64::MAX)), (0.0, 1.0));
        let short = LogScale::around([430, 1_900].into_iter());
        assert_eq!(short.steps().collect::<Vec<_>>(), [200, 500, 1_000, 2_000]);
    }

    #[test]
    fn a_scale_of_nothing_and_of_everything_is_finite() {
        for values in [vec![], vec![0], vec![1], vec![u64::MAX], vec![1, u64::MAX]] {
            let scale = LogScale::around(values.iter().copied());
            assert!(scale.at(5).is_finite(), "{values:?}");
            assert!(scale.steps().count() >= 1, "{values:?}");
        }
    }
}
