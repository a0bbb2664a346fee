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

/// A scale with a step a decade.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogScale {
    low: f64,
    high: f64,
}

impl LogScale {
    /// From the decade at or below the least of `values` to the one at or above the largest; zeros do not count.
    pub(super) fn around(values: impl Iterator<Item = u64>) -> LogScale {
        let (least, most) = values
            .filter(|value| *value > 0)
            .fold((u64::MAX, 1), |(least, most), value| {
                (least.min(value), most.max(value))
            });
        let least = least.min(most);
        let low = (least as f64).log10().floor();
        let high = (most as f64).log10().ceil().max(low + 1.0);
        LogScale { low, high }
    }

    /// Where a value stands, from 0 to 1.
    pub(super) fn at(self, value: u64) -> f64 {
        let exponent = (value.max(1) as f64).log10();
        ((exponent - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    /// The decades, both ends included.
    pub(super) fn decades(self) -> impl Iterator<Item = u64> {
        (self.low as u32..=self.high as u32).map(|exponent| 10_u64.saturating_pow(exponent))
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
            scale.decades().collect::<Vec<_>>(),
            [100, 1_000, 10_000, 100_000]
        );
        assert!((scale.at(1_000) - 1.0 / 3.0).abs() < 1e-9);
        assert_eq!((scale.at(0), scale.at(u64::MAX)), (0.0, 1.0));
    }

    #[test]
    fn a_scale_of_nothing_and_of_everything_is_finite() {
        for values in [vec![], vec![0], vec![1], vec![u64::MAX], vec![1, u64::MAX]] {
            let scale = LogScale::around(values.iter().copied());
            assert!(scale.at(5).is_finite(), "{values:?}");
            assert!(scale.decades().count() >= 2, "{values:?}");
        }
    }
}
