//! Intervals added up. Control path.
//!
//! Invariant: counts, limits, least and largest value are exact; a quantile is rounded up by at most
//! one bucket (1 %) and never above the largest value.

use hdrhistogram::Histogram;

use crate::hist::interval::{Counts, Interval};
use crate::hist::{Limits, LimitsError, histogram, totals_bytes};

/// All that was recorded into one histogram.
///
/// ```
/// use hopline::hist::Totals;
/// let mut totals = Totals::new(&[100])?;
/// (1..=200).for_each(|ns| totals.record(ns));
/// assert_eq!((totals.count(), totals.over(0)), (200, 100));
/// assert_eq!((totals.min_ns(), totals.quantile_ns(0.5), totals.max_ns()), (1, 100, 200));
/// # Ok::<(), hopline::hist::LimitsError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Totals {
    limits: Limits,
    counts: Counts,
    placed: Histogram<u64>,
    /// Largest value of the intervals that were added since it was last taken.
    fresh_max_ns: u64,
}

impl Totals {
    /// Empty totals that count over `limits_ns`. Allocates once.
    ///
    /// # Errors
    /// [`LimitsError::TooMany`] if there are more limits than a budget may have.
    pub fn new(limits_ns: &[u64]) -> Result<Totals, LimitsError> {
        Ok(Totals::with_limits(Limits::new(limits_ns)?))
    }

    pub(crate) fn with_limits(limits: Limits) -> Totals {
        Totals {
            limits,
            counts: Counts::EMPTY,
            placed: histogram(),
            fresh_max_ns: 0,
        }
    }

    /// Records one value, in nanoseconds, as a recorder would.
    pub fn record(&mut self, ns: u64) {
        let place_ns = self.counts.record(ns, &self.limits);
        self.place(place_ns, 1);
    }

    pub(crate) fn add_interval(&mut self, interval: &Interval) {
        debug_assert_eq!(self.limits, interval.limits, "totals of another recorder");
        self.counts.add(&interval.counts);
        self.fresh_max_ns = self.fresh_max_ns.max(interval.counts.max_ns);
        for (ns, count) in interval.placed.iter() {
            self.place(ns, u64::from(count));
        }
    }

    fn place(&mut self, ns: u64, count: u64) {
        let placed = self.placed.record_n(ns, count);
        debug_assert!(placed.is_ok(), "all histograms here have one shape");
    }

    /// Adds another's values to these.
    ///
    /// # Errors
    /// [`LimitsError::Differ`] if they count over different limits; nothing is added then.
    pub fn merge(&mut self, other: &Totals) -> Result<(), LimitsError> {
        if self.limits != other.limits {
            return Err(LimitsError::Differ);
        }
        self.counts.add(&other.counts);
        let added = self.placed.add(&other.placed);
        debug_assert!(added.is_ok(), "all histograms here have one shape");
        Ok(())
    }

    /// Forgets all values (those of the warm-up, say); limits and memory stay.
    pub fn clear(&mut self) {
        self.counts = Counts::EMPTY;
        self.placed.reset();
    }

    /// How many values were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.count
    }

    /// The limits, in nanoseconds, in the order given.
    #[must_use]
    pub fn limits_ns(&self) -> &[u64] {
        self.limits.as_slice()
    }

    /// How many values were above limit `at`, exactly; a value on the limit is not. 0 for a limit
    /// that does not exist.
    #[must_use]
    pub fn over(&self, at: usize) -> u64 {
        self.counts.over.get(at).copied().unwrap_or(0)
    }

    /// How many values were beyond [`HIST_MAX_NS`](crate::base::limits::HIST_MAX_NS): quantiles see
    /// them at that bound.
    #[must_use]
    pub fn saturated(&self) -> u64 {
        self.counts.saturated
    }

    /// How many values are counted but unknown to quantiles, since more than `u32::MAX` were recorded
    /// between two hand-overs. 0 wherever an observer asks once an hour.
    #[must_use]
    pub fn unplaced(&self) -> u64 {
        self.counts.unplaced
    }

    /// The largest value in nanoseconds, exactly, also beyond the histogram's bound; 0 while empty.
    #[must_use]
    pub fn max_ns(&self) -> u64 {
        self.counts.max_ns
    }

    /// The largest value in nanoseconds, exactly, of what a recorder handed over since the last call; 0 where nothing
    /// came. So each value is seen by one call, whatever [`Totals::clear`] forgets meanwhile.
    pub fn take_fresh_max_ns(&mut self) -> u64 {
        core::mem::take(&mut self.fresh_max_ns)
    }

    /// The least value in nanoseconds, exactly; 0 while empty.
    #[must_use]
    pub fn min_ns(&self) -> u64 {
        if self.counts.count == 0 {
            0
        } else {
            self.counts.min_ns
        }
    }

    /// The value in nanoseconds that a share `q` of all values does not exceed; 0 while empty.
    ///
    /// `q` is a quantile from 0.0 to 1.0 and is clamped to that (not a number counts as 1.0). The
    /// answer is the highest value of its bucket, so it is never too low, and at most
    /// [`Totals::max_ns`], which is the answer for 1.0.
    #[must_use]
    pub fn quantile_ns(&self, q: f64) -> u64 {
        if q >= 1.0 || q.is_nan() {
            return self.max_ns();
        }
        if q <= 0.0 {
            return self.min_ns();
        }
        self.placed
            .value_at_quantile(q)
            .clamp(self.min_ns(), self.max_ns())
    }

    /// How many values are at most each of `bounds_ns`, which must rise. A value counts at the highest value of its bucket, as
    /// [`Totals::quantile_ns`] tells it, so one that lies less than 1 % below a bound may count above it. What more there is
    /// in [`Totals::count`] lies above the last bound.
    ///
    /// ```
    /// use hopline::hist::Totals;
    /// let mut totals = Totals::new(&[])?;
    /// [90, 150, 4_000].into_iter().for_each(|ns| totals.record(ns));
    /// assert_eq!(totals.up_to(&[50, 100, 1_000]), [0, 1, 2]);
    /// # Ok::<(), hopline::hist::LimitsError>(())
    /// ```
    #[must_use]
    pub fn up_to(&self, bounds_ns: &[u64]) -> Vec<u64> {
        debug_assert!(bounds_ns.is_sorted(), "bounds rise");
        let mut counts = Vec::with_capacity(bounds_ns.len());
        let mut sum = 0;
        for step in self.placed.iter_recorded() {
            let highest_ns = step.value_iterated_to();
            while bounds_ns
                .get(counts.len())
                .is_some_and(|bound_ns| *bound_ns < highest_ns)
            {
                counts.push(sum);
            }
            sum += step.count_at_value();
        }
        counts.resize(bounds_ns.len(), sum);
        counts
    }

    /// The sum of all values in nanoseconds, each taken as the middle of its bucket: wrong by at most 1 %. It only rises until
    /// [`Totals::clear`], and stays at the largest number that there is.
    #[must_use]
    pub fn sum_ns(&self) -> u64 {
        let steps = self.placed.iter_recorded();
        steps.fold(0, |sum: u64, step| {
            let middle_ns = self.placed.median_equivalent(step.value_iterated_to());
            sum.saturating_add(middle_ns.saturating_mul(step.count_at_value()))
        })
    }

    /// Bytes of memory that these totals hold.
    #[must_use]
    pub const fn memory_bytes(&self) -> usize {
        totals_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Prng;
    use crate::base::limits::HIST_MAX_NS;

    #[test]
    fn empty_totals_say_nothing() {
        let totals = Totals::new(&[]).unwrap();
        assert_eq!(
            (totals.count(), totals.min_ns(), totals.max_ns()),
            (0, 0, 0)
        );
        assert_eq!(totals.quantile_ns(0.99), 0);
        assert_eq!((totals.over(0), totals.over(99)), (0, 0));
    }

    #[test]
    fn limits_are_counted_exactly_on_the_edge() {
        // 1 % buckets cannot tell these apart.
        let limit_ns = 1_000_000;
        let mut totals = Totals::new(&[limit_ns, 10]).unwrap();
        for ns in [limit_ns - 1, limit_ns, limit_ns + 1, limit_ns + 2] {
            totals.record(ns);
        }
        assert_eq!((totals.over(0), totals.over(1)), (2, 4));
        assert_eq!(totals.limits_ns(), [limit_ns, 10]);
    }

    #[test]
    fn values_beyond_the_bound_are_counted_and_kept_as_the_largest() {
        let mut totals = Totals::new(&[HIST_MAX_NS]).unwrap();
        for ns in [HIST_MAX_NS, HIST_MAX_NS + 1, u64::MAX] {
            totals.record(ns);
        }
        assert_eq!(
            (totals.count(), totals.saturated(), totals.over(0)),
            (3, 2, 2)
        );
        assert_eq!(totals.max_ns(), u64::MAX);
        assert_eq!(totals.quantile_ns(1.0), u64::MAX);
        assert!(totals.quantile_ns(0.5) >= HIST_MAX_NS);
    }

    #[test]
    fn quantiles_follow_a_sorted_list_within_a_bucket() {
        let mut prng = Prng::new(11);
        let mut totals = Totals::new(&[]).unwrap();
        let mut values: Vec<u64> = (0..10_000)
            .map(|_| {
                let bits = 4 + prng.below(30);
                prng.below(1 << bits)
            })
            .collect();
        values.iter().for_each(|&ns| totals.record(ns));
        values.sort_unstable();
        for q in [0.001, 0.25, 0.5, 0.9, 0.99, 0.999, 0.9999] {
            let exact_ns = values[(q * values.len() as f64).ceil() as usize - 1];
            let got_ns = totals.quantile_ns(q);
            assert!(
                got_ns >= exact_ns && got_ns <= exact_ns + exact_ns / 100 + 1,
                "{q}"
            );
        }
        assert_eq!(totals.quantile_ns(0.0), values[0]);
        assert_eq!(totals.quantile_ns(2.0), *values.last().unwrap());
        assert_eq!(totals.quantile_ns(f64::NAN), totals.max_ns());
    }

    #[test]
    fn counts_up_to_bounds_agree_with_quantiles_and_the_sum_is_near() {
        let mut prng = Prng::new(17);
        let mut totals = Totals::new(&[]).unwrap();
        let bounds_ns: Vec<u64> = (7..34).map(|bit| 1 << bit).collect();
        assert_eq!(totals.up_to(&bounds_ns), vec![0; bounds_ns.len()]);
        let (mut sum, mut before) = (0, totals.up_to(&bounds_ns));
        for _ in 0..200 {
            for _ in 0..100 {
                let bits = 4 + prng.below(32);
                let ns = prng.below(1 << bits);
                sum += ns;
                totals.record(ns);
            }
            let counts = totals.up_to(&bounds_ns);
            assert!(counts.is_sorted() && counts.iter().all(|count| *count <= totals.count()));
            assert!(before.iter().zip(&counts).all(|(old, new)| old <= new));
            before = counts;
        }
        for q in [0.01, 0.5, 0.9, 0.99, 0.999] {
            let rank = (q * totals.count() as f64).ceil() as u64;
            let at = before.partition_point(|count| *count < rank);
            let quantile_ns = totals.quantile_ns(q);
            assert!(at == bounds_ns.len() || quantile_ns <= bounds_ns[at]);
            assert!(at == 0 || quantile_ns > bounds_ns[at - 1], "{q}");
        }
        assert!(totals.sum_ns().abs_diff(sum) <= sum / 100);
        totals.record(u64::MAX);
        assert_eq!(totals.up_to(&bounds_ns), before, "above the last bound");
        assert_eq!(totals.up_to(&[]), Vec::<u64>::new());
    }

    #[test]
    fn merging_is_recording_in_one() {
        let mut prng = Prng::new(5);
        let mut parts = [Totals::new(&[500]).unwrap(), Totals::new(&[500]).unwrap()];
        let mut whole = Totals::new(&[500]).unwrap();
        for at in 0..1_000 {
            let ns = prng.below(1_000);
            parts[at % 2].record(ns);
            whole.record(ns);
        }
        let [mut sum, other] = parts;
        sum.merge(&other).unwrap();
        for q in [0.0, 0.5, 0.99, 1.0] {
            assert_eq!(sum.quantile_ns(q), whole.quantile_ns(q));
        }
        assert_eq!((sum.count(), sum.over(0)), (whole.count(), whole.over(0)));
        let before = sum.count();
        let unlike = Totals::new(&[501]).unwrap();
        assert_eq!(sum.merge(&unlike), Err(LimitsError::Differ));
        assert_eq!(sum.count(), before);
        sum.clear();
        assert_eq!((sum.count(), sum.max_ns(), sum.quantile_ns(0.5)), (0, 0, 0));
    }
}
