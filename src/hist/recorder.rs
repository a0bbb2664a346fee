//! The two ends of a set of histograms: the recorder fills, the observer adds up.
//!
//! Invariant: every recorded value reaches the observer exactly once, if it collects until
//! [`Observer::finished`].

use core::array;

use crate::hist::interval::Interval;
use crate::hist::{Limits, LimitsError, Totals, swap};

/// A recorder of `N` histograms, which change hands together, and its observer.
///
/// `limits_ns[i]` are the limits over which histogram `i` counts exactly; at most
/// [`LIMITS_PER_BUDGET_MAX`](crate::base::limits::LIMITS_PER_BUDGET_MAX) each, in any order.
///
/// # Errors
/// [`LimitsError::TooMany`] if one histogram has more limits than that.
pub fn pair<const N: usize>(
    limits_ns: [&[u64]; N],
) -> Result<(Recorder<N>, Observer<N>), LimitsError> {
    let mut limits = [Limits::new(&[])?; N];
    for (place, given_ns) in limits.iter_mut().zip(limits_ns) {
        *place = Limits::new(given_ns)?;
    }
    let (writer, reader) = swap::pair(limits.map(Interval::new), limits.map(Interval::new));
    Ok((Recorder { writer }, Observer { reader, limits }))
}

/// Records latencies; one thread's own.
///
/// Dropping it hands over what it still holds and tells the observer that no more will come.
#[derive(Debug)]
pub struct Recorder<const N: usize> {
    writer: swap::Writer<[Interval; N]>,
}

impl<const N: usize> Recorder<N> {
    /// Records `ns` nanoseconds into histogram `at`.
    ///
    /// No atomics, no allocation. Beyond [`HIST_MAX_NS`](crate::base::limits::HIST_MAX_NS) the value
    /// is placed at that bound and counted as saturated. An `at` that does not exist is a defect of
    /// the caller, caught in debug builds; in release the value is not recorded.
    #[inline]
    pub fn record(&mut self, at: usize, ns: u64) {
        debug_assert!(at < N, "histogram {at} of {N}");
        self.writer.with(|intervals| {
            if let Some(interval) = intervals.get_mut(at) {
                interval.record(ns);
            }
        });
    }

    /// Records `ns` nanoseconds into histogram `at` as often as `times` says: what a run of messages
    /// has in common costs as much as one.
    #[inline]
    pub fn record_n(&mut self, at: usize, ns: u64, times: u32) {
        debug_assert!(at < N, "histogram {at} of {N}");
        self.writer.with(|intervals| {
            if let Some(interval) = intervals.get_mut(at) {
                interval.record_n(ns, times);
            }
        });
    }

    /// Records one value into each histogram.
    #[inline]
    pub fn record_all(&mut self, ns: [u64; N]) {
        self.writer.with(|intervals| {
            for (interval, ns) in intervals.iter_mut().zip(ns) {
                interval.record(ns);
            }
        });
    }

    /// Hands the interval over if the observer asked for it; true if it did.
    ///
    /// For the loop's housekeeping: one load of a shared word, and one store when asked. Wait-free.
    #[inline]
    pub fn publish_if_asked(&mut self) -> bool {
        self.writer.hand_over_if_asked()
    }

    /// How many values histogram `at` has recorded since the last hand-over.
    pub fn count_unpublished(&mut self, at: usize) -> u64 {
        self.writer.with(|intervals| {
            let interval = intervals.get(at);
            interval.map_or(0, |interval| interval.counts.count)
        })
    }

    /// Ends the recording; the same as dropping it.
    pub fn finish(self) {}
}

/// Collects what a [`Recorder`] hands over. Control path; it polls and never waits.
#[derive(Debug)]
pub struct Observer<const N: usize> {
    reader: swap::Reader<[Interval; N]>,
    limits: [Limits; N],
}

impl<const N: usize> Observer<N> {
    /// Empty totals with the limits of this recorder. Allocates [`totals_bytes`] for each.
    ///
    /// [`totals_bytes`]: crate::hist::totals_bytes
    #[must_use]
    pub fn totals(&self) -> [Totals; N] {
        array::from_fn(|at| Totals::with_limits(self.limits[at]))
    }

    /// Asks for the interval so far; the answer comes with the recorder's next housekeeping.
    ///
    /// Harmless to repeat: while a request or an answer is on its way it does nothing.
    pub fn ask(&mut self) {
        self.reader.ask();
    }

    /// Adds to `totals` what has been handed over; false if nothing has.
    ///
    /// Does not allocate. `totals` come from [`Observer::totals`]: with other limits the counts over
    /// them would mean nothing, which debug builds catch.
    pub fn collect(&mut self, totals: &mut [Totals; N]) -> bool {
        self.reader.collect(|intervals| {
            for (totals, interval) in totals.iter_mut().zip(intervals) {
                totals.add_interval(interval);
                interval.clear();
            }
        })
    }

    /// Whether the recorder has ended and all of it has been collected.
    #[must_use]
    pub fn finished(&self) -> bool {
        self.reader.finished()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Prng;

    #[test]
    fn an_interval_comes_once_and_only_when_asked() {
        let (mut recorder, mut observer) = pair([&[][..]]).unwrap();
        let mut totals = observer.totals();
        recorder.record(0, 7);
        assert!(!recorder.publish_if_asked());
        assert!(!observer.collect(&mut totals));
        observer.ask();
        observer.ask();
        assert!(!observer.collect(&mut totals), "asking is not getting");
        assert!(recorder.publish_if_asked());
        assert!(!recorder.publish_if_asked());
        recorder.record(0, 8);
        assert_eq!(recorder.count_unpublished(0), 1);
        observer.ask();
        assert!(!recorder.publish_if_asked(), "an answer is on its way");
        assert!(observer.collect(&mut totals));
        assert!(!observer.collect(&mut totals));
        assert_eq!((totals[0].count(), totals[0].max_ns()), (1, 7));
        assert!(!observer.finished());
    }

    #[test]
    fn the_largest_value_of_what_came_is_seen_once() {
        let (mut recorder, mut observer) = pair([&[][..]]).unwrap();
        let mut totals = observer.totals();
        let mut handed = |recorder: &mut Recorder<1>, totals: &mut [Totals; 1]| {
            observer.ask();
            assert!(recorder.publish_if_asked());
            assert!(observer.collect(totals));
        };
        recorder.record(0, 900);
        handed(&mut recorder, &mut totals);
        recorder.record(0, 30);
        handed(&mut recorder, &mut totals);
        totals[0].clear();
        assert_eq!(totals[0].take_fresh_max_ns(), 900);
        recorder.record(0, 40);
        handed(&mut recorder, &mut totals);
        assert_eq!(totals[0].take_fresh_max_ns(), 40);
        assert_eq!(totals[0].take_fresh_max_ns(), 0);
    }

    #[test]
    fn the_end_delivers_the_rest_in_every_state() {
        for (ask, answer) in [(false, false), (true, false), (true, true)] {
            let (mut recorder, mut observer) = pair([&[5][..]]).unwrap();
            let mut totals = observer.totals();
            recorder.record(0, 4);
            if ask {
                observer.ask();
            }
            if answer {
                assert!(recorder.publish_if_asked());
            }
            recorder.record(0, 6);
            recorder.finish();
            assert!(observer.collect(&mut totals));
            assert!(observer.finished());
            assert!(!observer.collect(&mut totals));
            assert_eq!((totals[0].count(), totals[0].over(0)), (2, 1));
        }
    }

    #[test]
    fn threads_lose_nothing_and_the_set_agrees() {
        let (mut recorder, mut observer) = pair([&[50][..], &[], &[1_000, 10]]).unwrap();
        let mut totals = observer.totals();
        const VALUES: u64 = 200_000;
        let thread = std::thread::spawn(move || {
            let mut prng = Prng::new(3);
            let mut over = 0;
            for _ in 0..VALUES {
                let (wait_ns, service_ns) = (prng.below(100), prng.below(5_000));
                over += u64::from(wait_ns > 50);
                recorder.record_all([wait_ns, service_ns, wait_ns + service_ns]);
                recorder.publish_if_asked();
            }
            over
        });
        while !observer.finished() {
            observer.ask();
            observer.collect(&mut totals);
            let counts = [0, 1, 2].map(|at| totals[at].count());
            assert!(counts[0] == counts[1] && counts[1] == counts[2]);
        }
        assert_eq!(totals[0].count(), VALUES);
        assert_eq!(totals[0].over(0), thread.join().unwrap());
    }
}
