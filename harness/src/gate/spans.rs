//! The arithmetic of spans: quantiles, exceedances in blocks, histograms in words.
//!
//! Invariant: counts are made frame by frame from exact values, never from a histogram's buckets.

use hdrhistogram::Histogram;

use super::model::{Exceedances, Quantiles};
use super::out::histogram::encode;

/// Frames in a block for the design effect: about as many as one stall of a millisecond touches at 200,000 a second, and as
/// few as leave 50 blocks of the least sample.
pub const BLOCK_FRAMES: usize = 200;

/// Significant digits of the histograms: what is written for people and other tools. Verdicts do not use them.
const DIGITS: u8 = 3;

/// The value below or at which that share of sorted values lies; 0 of none.
#[must_use]
pub fn quantile(sorted: &[u64], share: f64) -> u64 {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    let at = rank.clamp(1, sorted.len().max(1)) - 1;
    sorted.get(at).copied().unwrap_or(0)
}

/// The percentiles of sorted values.
#[must_use]
pub fn quantiles(sorted: &[u64]) -> Quantiles {
    Quantiles {
        p50: quantile(sorted, 0.5),
        p90: quantile(sorted, 0.9),
        p99: quantile(sorted, 0.99),
        p99_9: quantile(sorted, 0.999),
        max: sorted.last().copied().unwrap_or(0),
    }
}

/// Frames over a limit, in the order in which they were done with, and how much they cluster: the variance of the counts of
/// [`BLOCK_FRAMES`] frames over their mean, at least 1. Independent frames have 1 − p.
#[must_use]
pub fn exceedances(values: &[u64], limit_ns: u64) -> Exceedances {
    let over = |values: &[u64]| values.iter().filter(|value| **value > limit_ns).count() as f64;
    let blocks: Vec<f64> = values.chunks_exact(BLOCK_FRAMES).map(over).collect();
    let mean = blocks.iter().sum::<f64>() / blocks.len().max(1) as f64;
    let squares: f64 = blocks.iter().map(|count| (count - mean).powi(2)).sum();
    let variance = squares / blocks.len().saturating_sub(1).max(1) as f64;
    Exceedances {
        n: values.len() as u64,
        k: over(values) as u64,
        d: if mean > 0.0 {
            (variance / mean).max(1.0)
        } else {
            1.0
        },
    }
}

/// Values as an HdrHistogram in its V2 encoding, base64: what its ports in other languages read.
#[must_use]
pub fn encoded(values: &[u64]) -> String {
    // 1 ns to 4.3 s and beyond, resized as needed; values below its unit count as one.
    let Ok(mut histogram) = Histogram::<u64>::new(DIGITS) else {
        return String::new();
    };
    for value in values {
        // It grows as needed; a span cannot be longer than what it could grow to.
        let _ = histogram.record(*value);
    }
    encode(&histogram).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::out::histogram::decode;

    #[test]
    fn quantiles_are_values_that_were_there() {
        let values: Vec<u64> = (1..=1000).collect();
        let found = quantiles(&values);
        assert_eq!(
            (found.p50, found.p90, found.p99, found.p99_9, found.max),
            (500, 900, 990, 999, 1000)
        );
        assert_eq!(quantiles(&[]), Quantiles::default());
        assert_eq!(quantile(&[7], 0.0), 7);
    }

    #[test]
    fn clusters_raise_the_design_effect_and_a_limit_itself_is_not_over() {
        let mut spread = vec![10u64; 20_000];
        (0..20_000).step_by(100).for_each(|at| spread[at] = 99);
        let even = exceedances(&spread, 98);
        assert_eq!((even.n, even.k, even.d), (20_000, 200, 1.0));
        assert_eq!(exceedances(&spread, 99).k, 0);
        let mut clustered = vec![10u64; 20_000];
        clustered[..200].fill(99);
        let one = exceedances(&clustered, 98);
        // One block of 100 has 200: mean 2, variance 400.
        assert_eq!(one.k, 200);
        assert!((one.d - 200.0).abs() < 1.0, "{}", one.d);
        assert_eq!(exceedances(&[], 5), Exceedances { n: 0, k: 0, d: 1.0 });
    }

    #[test]
    fn another_reader_of_the_histogram_finds_the_same() {
        let mut values: Vec<u64> = (0..10_000).map(|at| 400 + at % 1_000).collect();
        values.push(4_200_000_000);
        let histogram = decode(&encoded(&values)).unwrap();
        assert_eq!(histogram.len(), 10_001);
        assert!(
            histogram.max().abs_diff(4_200_000_000) < 4_200_000,
            "{}",
            histogram.max()
        );
        let p99 = histogram.value_at_quantile(0.99);
        assert!(p99.abs_diff(1_389) <= 2, "{p99}");
    }
}
