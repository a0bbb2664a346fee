//! Spans in an HDR histogram, and percentiles that see past the steps of the clock.
//!
//! Invariant: recording does not allocate and loses nothing: what is beyond the range counts at its end.

use hdrhistogram::Histogram;
use serde::Serialize;

/// Longest span that is told from longer ones: a second, far beyond what a link takes.
const SPAN_MAX_NS: u64 = 1_000_000_000;

/// Digits kept. Three, so that a bucket (1 ns below 2 µs) is finer than any step of a clock.
const DIGITS: u8 = 3;

/// Percentiles of one round, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// The median.
    pub p50: f64,
    /// Nine in ten are below it.
    pub p90: f64,
    /// Ninety-nine in a hundred are below it. In an open loop it is the host's, not the link's.
    pub p99: f64,
}

/// A histogram of spans.
#[derive(Clone, Debug)]
pub struct Spans {
    histogram: Histogram<u32>,
    clock_step_ns: u64,
}

impl Spans {
    /// An empty one, for a clock that steps by `clock_step_ns`. About 100 KiB, all allocated here.
    #[must_use]
    pub fn new(clock_step_ns: u64) -> Spans {
        Spans {
            histogram: Histogram::new_with_bounds(1, SPAN_MAX_NS, DIGITS)
                .expect("the bounds are constants that the library accepts"),
            clock_step_ns,
        }
    }

    /// Records a span.
    #[inline(always)]
    pub fn record(&mut self, span_ns: u64) {
        self.histogram.saturating_record(span_ns);
    }

    /// How many were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// Adds those of another; beyond `u32::MAX` spans of one length they are no more counted.
    pub fn add(&mut self, other: &Spans) {
        let added = self.histogram.add(&other.histogram);
        debug_assert!(added.is_ok(), "all of them have one range");
    }

    /// The longest, to three digits; 0 if there is none.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.histogram.max()
    }

    /// The span at `quantile` (0..1), 0 if there is none.
    ///
    /// Equal spans are spread over the step of the clock that made them equal: where the counter
    /// moves by 10 ns, half of all spans at 130 means a median of 130, three quarters of them one below it.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> f64 {
        let target = quantile * self.count() as f64;
        let mut through = 0.0;
        let mut before = None;
        for bucket in self.histogram.iter_recorded() {
            let here = bucket.count_since_last_iteration() as f64;
            let value = bucket.value_iterated_to();
            if through + here >= target {
                let apart = before.map_or(u64::MAX, |before| value - before);
                let step = apart.min(self.clock_step_ns) as f64;
                return value as f64 + step * ((target - through) / here - 0.5);
            }
            through += here;
            before = Some(value);
        }
        0.0
    }

    /// Percentiles, each divided by `parts`: 2 for half a round trip.
    #[must_use]
    pub fn percentiles(&self, parts: f64) -> Percentiles {
        Percentiles {
            p50: self.quantile(0.50) / parts,
            p90: self.quantile(0.90) / parts,
            p99: self.quantile(0.99) / parts,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(step: u64, values: &[(u64, usize)]) -> Spans {
        let mut spans = Spans::new(step);
        for &(value, times) in values {
            (0..times).for_each(|_| spans.record(value));
        }
        spans
    }

    #[test]
    fn percentiles_are_those_of_the_sorted_spans() {
        let mut spans = Spans::new(1);
        (1..=1_000).for_each(|ns| spans.record(ns));
        let percentiles = spans.percentiles(1.0);
        assert!((percentiles.p50 - 500.0).abs() <= 1.0);
        assert!((percentiles.p90 - 900.0).abs() <= 1.0);
        assert!((percentiles.p99 - 990.0).abs() <= 1.0);
        assert!((spans.percentiles(2.0).p99 - 495.0).abs() <= 0.5);
    }

    #[test]
    fn equal_spans_are_spread_over_the_clocks_step_and_no_further() {
        let even = spans(10, &[(120, 100), (130, 100)]);
        assert!((even.quantile(0.5) - 125.0).abs() < 1e-9);
        assert!((even.quantile(0.75) - 130.0).abs() < 1e-9);
        let far = spans(10, &[(120, 50), (500, 50)]);
        assert!((far.quantile(1.0) - 505.0).abs() < 1e-9);
        assert!(spans(10, &[]).quantile(0.5).abs() < 1e-9);
    }

    #[test]
    fn two_are_added_up() {
        let mut all = spans(1, &[(100, 3)]);
        all.add(&spans(1, &[(500, 1)]));
        assert_eq!((all.count(), all.max()), (4, 500));
    }

    #[test]
    fn spans_beyond_the_range_are_not_lost() {
        let spans = spans(1, &[(0, 1), (u64::MAX, 3)]);
        assert_eq!(spans.count(), 4);
        assert!(spans.quantile(0.9) >= SPAN_MAX_NS as f64 * 0.99);
    }
}
