//! Values of any unit in the buckets of one histogram, for whoever keeps many of them.
//!
//! A recorder of latencies comes with an observer and exact counts over its limits; this is the
//! histogram alone, filled and read by one thread, 14 KiB.
//!
//! Invariant: counting and reading allocate nothing and never fail.

use hdrhistogram::Histogram;

use crate::base::limits::HIST_MAX_NS;
use crate::hist::{BUCKETS, histogram};

/// Counts of values from 0 to [`HIST_MAX_NS`], told apart by two significant digits.
///
/// ```
/// use hopline::hist::Tally;
/// let mut tally = Tally::new();
/// assert!(tally.add(250, 3) && tally.add(7, 1));
/// assert!(!tally.add(u64::MAX, 1), "counted at the largest value");
/// assert_eq!((tally.count(), tally.quantile(0.5)), (5, 250));
/// ```
#[derive(Clone, Debug)]
pub struct Tally {
    placed: Histogram<u32>,
}

impl Default for Tally {
    fn default() -> Tally {
        Tally::new()
    }
}

impl Tally {
    /// Bytes of memory of one, its buckets included.
    pub const BYTES: usize = size_of::<Tally>() + BUCKETS * size_of::<u32>();

    /// An empty one. Allocates.
    #[must_use]
    pub fn new() -> Tally {
        Tally {
            placed: histogram(),
        }
    }

    /// Counts `value` as often as `times` says; one beyond [`HIST_MAX_NS`] counts as that, and the
    /// answer is `false`. A bucket ends to count at `u32::MAX`.
    #[inline]
    pub fn add(&mut self, value: u64, times: u32) -> bool {
        let fits = value <= HIST_MAX_NS;
        let placed = self.placed.record_n(value.min(HIST_MAX_NS), times);
        debug_assert!(placed.is_ok(), "the value is within the histogram's bounds");
        fits
    }

    /// How many were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.placed.len()
    }

    /// The value that a share `q` of all does not exceed, as the highest of its bucket; 0 while empty.
    ///
    /// `q` is a quantile from 0.0 to 1.0 and is clamped to that (not a number counts as 1.0).
    #[must_use]
    pub fn quantile(&self, q: f64) -> u64 {
        if self.placed.is_empty() {
            return 0;
        }
        let q = if q.is_nan() { 1.0 } else { q.clamp(0.0, 1.0) };
        self.placed.value_at_quantile(q)
    }

    /// The buckets that are not empty: the highest value of each, and its count.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u32)> {
        let recorded = self.placed.iter_recorded();
        recorded.map(|step| (step.value_iterated_to(), step.count_at_value()))
    }

    /// Forgets all of them.
    pub fn clear(&mut self) {
        self.placed.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_their_buckets() {
        let mut tally = Tally::new();
        assert_eq!((tally.quantile(0.5), tally.quantile(1.0)), (0, 0));
        for value in 1..=1000 {
            tally.add(value, 1);
        }
        assert_eq!(tally.count(), 1000);
        assert_eq!(
            tally
                .buckets()
                .map(|(_, count)| u64::from(count))
                .sum::<u64>(),
            1000
        );
        for (q, exact) in [
            (0.0, 1),
            (0.5, 500),
            (0.99, 990),
            (1.0, 1000),
            (9.0, 1000),
            (f64::NAN, 1000),
        ] {
            let value = tally.quantile(q);
            assert!(
                value >= exact && value <= exact + exact / 100 + 1,
                "{q}: {value}"
            );
        }
        tally.clear();
        assert_eq!(
            (tally.count(), tally.quantile(0.5), tally.buckets().count()),
            (0, 0, 0)
        );
    }

    #[test]
    fn a_bucket_that_is_full_stays_so() {
        let mut tally = Tally::new();
        assert!(tally.add(HIST_MAX_NS, u32::MAX));
        assert!(!tally.add(HIST_MAX_NS + 1, 1));
        assert!(tally.buckets().all(|(_, count)| count == u32::MAX));
        assert!(tally.quantile(0.5) >= HIST_MAX_NS);
    }
}
