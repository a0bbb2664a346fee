//! What one thread records between two hand-overs.
//!
//! Invariant: counts beside the histogram are exact; only the place of a value is rounded.

use crate::base::limits::{HIST_MAX_NS, LIMITS_PER_BUDGET_MAX};
use crate::hist::placed::Placed;
use crate::hist::{BUCKETS, Limits};

/// Most values that an interval puts into its buckets: as many as one bucket can count, so that no
/// bucket ever overflows. Over an hour at a million values a second without an observer; later
/// values are still counted exactly, but without a place.
pub(crate) const PLACED_MAX: u64 = u32::MAX as u64;

/// Bytes of an interval, heap included.
pub(crate) const INTERVAL_BYTES: usize = size_of::<Interval>() + BUCKETS * size_of::<u32>();

#[derive(Debug)]
pub(crate) struct Interval {
    pub(crate) limits: Limits,
    pub(crate) counts: Counts,
    pub(crate) placed: Placed,
}

/// The exact figures of an interval or of totals.
#[derive(Clone, Debug)]
pub(crate) struct Counts {
    pub(crate) count: u64,
    pub(crate) over: [u64; LIMITS_PER_BUDGET_MAX],
    pub(crate) saturated: u64,
    /// Values that are counted but have no place in the histogram.
    pub(crate) unplaced: u64,
    /// `u64::MAX` while empty.
    pub(crate) min_ns: u64,
    pub(crate) max_ns: u64,
}

impl Counts {
    pub(crate) const EMPTY: Counts = Counts {
        count: 0,
        over: [0; LIMITS_PER_BUDGET_MAX],
        saturated: 0,
        unplaced: 0,
        min_ns: u64::MAX,
        max_ns: 0,
    };

    /// Counts one value; returns where the histogram is to place it.
    #[inline(always)]
    pub(crate) fn record(&mut self, ns: u64, limits: &Limits) -> u64 {
        self.count += 1;
        self.min_ns = self.min_ns.min(ns);
        self.max_ns = self.max_ns.max(ns);
        if ns > limits.least_ns {
            for (over, limit_ns) in self.over.iter_mut().zip(limits.ns) {
                *over += u64::from(ns > limit_ns);
            }
        }
        if ns > HIST_MAX_NS {
            self.saturated += 1;
            return HIST_MAX_NS;
        }
        ns
    }

    /// Counts a value that was just counted as often again.
    fn record_again(&mut self, ns: u64, limits: &Limits, times: u64) {
        self.count += times;
        for (over, limit_ns) in self.over.iter_mut().zip(limits.ns) {
            *over += times * u64::from(ns > limit_ns);
        }
        self.saturated += times * u64::from(ns > HIST_MAX_NS);
    }

    pub(crate) fn add(&mut self, other: &Counts) {
        self.count += other.count;
        for (over, more) in self.over.iter_mut().zip(other.over) {
            *over += more;
        }
        self.saturated += other.saturated;
        self.unplaced += other.unplaced;
        self.min_ns = self.min_ns.min(other.min_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
    }
}

impl Interval {
    pub(crate) fn new(limits: Limits) -> Interval {
        Interval {
            limits,
            counts: Counts::EMPTY,
            placed: Placed::new(),
        }
    }

    #[inline(always)]
    pub(crate) fn record(&mut self, ns: u64) {
        let place_ns = self.counts.record(ns, &self.limits);
        if self.counts.count - self.counts.unplaced <= PLACED_MAX {
            self.placed.add(place_ns, 1);
        } else {
            self.counts.unplaced += 1;
        }
    }

    /// Records the same value `times` times.
    pub(crate) fn record_n(&mut self, ns: u64, times: u32) {
        let Some(rest) = times.checked_sub(1) else {
            return;
        };
        let place_ns = self.counts.record(ns, &self.limits);
        self.counts.record_again(ns, &self.limits, u64::from(rest));
        if self.counts.count - self.counts.unplaced <= PLACED_MAX {
            self.placed.add(place_ns, times);
        } else {
            self.counts.unplaced += u64::from(times);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.counts = Counts::EMPTY;
        self.placed.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_times_the_same_value_is_that_value_many_times() {
        let of = |limits: &[u64]| Interval::new(Limits::new(limits).unwrap());
        let (mut once, mut many) = (of(&[10, 500]), of(&[10, 500]));
        for (ns, times) in [(5, 3), (10, 1), (11, 0), (11, 64), (HIST_MAX_NS + 1, 2)] {
            many.record_n(ns, times);
            (0..times).for_each(|_| once.record(ns));
        }
        let figures = |of: &Interval| {
            let Counts {
                count,
                over,
                saturated,
                unplaced,
                min_ns,
                max_ns,
            } = of.counts.clone();
            (count, over, saturated, unplaced, min_ns, max_ns)
        };
        assert_eq!(figures(&once), figures(&many));
        assert_eq!(once.placed, many.placed);
    }

    #[test]
    fn a_bucket_that_could_overflow_takes_no_more() {
        let mut interval = Interval::new(Limits::new(&[10]).unwrap());
        // As if so many had been recorded: nobody can wait for four billion.
        interval.counts.count = PLACED_MAX - 1;
        for _ in 0..3 {
            interval.record(50);
        }
        assert_eq!(interval.counts.count, PLACED_MAX + 2);
        assert_eq!(interval.counts.unplaced, 2);
        assert_eq!(interval.counts.over[0], 3);
        assert_eq!(
            interval.placed.iter().map(|(_, count)| count).sum::<u32>(),
            1
        );
        interval.clear();
        interval.record(5);
        assert_eq!((interval.counts.count, interval.counts.unplaced), (1, 0));
        assert_eq!((interval.counts.min_ns, interval.counts.max_ns), (5, 5));
        assert_eq!(
            interval.placed.iter().map(|(_, count)| count).sum::<u32>(),
            1
        );
    }
}
