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

    /// The span at `quantile` (0..1), 0 if there is none. Never falls as `quantile` rises.
    ///
    /// Equal spans are spread over the step of the clock that made them equal: where the counter
    /// moves by 10 ns, half of all spans at 130 means a median of 130, three quarters of them one below
    /// it. Where others are nearer than a step, each side ends half way to its neighbour.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> f64 {
        let target = quantile * self.count() as f64;
        let mut through = 0.0;
        let mut before = None;
        let mut buckets = self.histogram.iter_recorded().peekable();
        while let Some(bucket) = buckets.next() {
            let here = bucket.count_since_last_iteration() as f64;
            let value = bucket.value_iterated_to();
            if through + here >= target {
                let half = |apart: Option<u64>| {
                    apart.map_or(self.clock_step_ns, |apart| apart.min(self.clock_step_ns)) as f64
                        / 2.0
                };
                let below = half(before.map(|before| value - before));
                let next = buckets.peek().map(|next| next.value_iterated_to());
                let above = half(next.map(|next| next - value));
                return value as f64 - below + (below + above) * ((target - through) / here);
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
    use hopline::base::Prng;

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
    fn a_percentile_is_never_below_a_lower_one_where_spans_are_nearer_than_a_step() {
        let near = spans(10, &[(100, 90), (101, 10)]);
        let (p90, p99) = (near.quantile(0.90), near.quantile(0.99));
        assert!((p90 - 100.5).abs() < 1e-9, "{p90}");
        assert!(p99 > p90 && p99 <= 106.0, "{p99}");
    }

    #[test]
    fn quantiles_rise_and_stay_within_a_step_of_what_was_recorded() {
        let mut prng = Prng::new(17);
        for _ in 0..300 {
            let step = 1 + prng.below(40);
            let mut one = || (1 + prng.below(5_000) / 10, 1 + prng.below(50) as usize);
            let values: Vec<_> = (0..20).map(|_| one()).collect();
            let spans = spans(step, &values);
            let mut last = f64::MIN;
            for nth in 0..=500 {
                let at = spans.quantile(f64::from(nth) / 500.0);
                assert!(at >= last, "{step} {values:?}: {at} after {last}");
                last = at;
                let near = |&(value, _): &(u64, usize)| {
                    (at - value as f64).abs() <= step as f64 / 2.0 + 1e-9
                };
                assert!(values.iter().any(near), "{step} {values:?}: {at}");
            }
        }
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
