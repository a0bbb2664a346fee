//! Histograms of latency: recorded by one thread without atomics, read by another without waiting.
//!
//! Words:
//! - *recorder*: the one writer's handle; it lives on the loop that measures.
//! - *observer*: the reader's handle; it lives on the control path and polls.
//! - *interval*: what was recorded between two hand-overs. All `N` histograms of a recorder change
//!   hands together, so the figures of a hop (wait, service, sojourn) always speak of the same frames.
//! - *totals*: intervals added up by the observer.
//! - *tally*: a histogram by itself, for one thread that keeps many.
//! - *limit*: a latency above which values are counted exactly, besides the histogram, whose buckets
//!   are 1 % wide and could not say on which side of a limit a value fell.
//!
//! How an interval changes hands ([`swap`] has the proof): the observer asks; the recorder sees it in
//! its housekeeping, gives its buffer away and goes on with the other one; the observer adds the
//! buffer up, clears it and may ask again. The recorder never waits, and an idle one costs its
//! observer nothing but a later answer. A recorder that is dropped hands over what it still holds,
//! so totals at the end of a run are exact.
//!
//! Invariant: recording never allocates, locks, waits or fails; only this room knows `hdrhistogram`.
//!
//! ```
//! use hopline::hist;
//! let (mut recorder, mut observer) = hist::pair([&[20_000]])?;
//! let mut totals = observer.totals();
//! recorder.record(0, 15_000);
//! recorder.record(0, 25_000);
//! observer.ask();
//! recorder.publish_if_asked(); // the loop's housekeeping
//! assert!(observer.collect(&mut totals));
//! assert_eq!((totals[0].count(), totals[0].over(0), totals[0].max_ns()), (2, 1, 25_000));
//! # Ok::<(), hist::LimitsError>(())
//! ```

mod interval;
mod placed;
mod recorder;
pub mod swap;
mod tally;
mod totals;

pub use recorder::{Observer, Recorder, pair};
pub use tally::Tally;
pub use totals::Totals;

use crate::base::limits::{HIST_DIGITS, HIST_MAX_NS, LIMITS_PER_BUDGET_MAX};

/// Why limits cannot be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LimitsError {
    /// One histogram was given more limits than a budget may have.
    #[error("{given} limits on one histogram; at most {LIMITS_PER_BUDGET_MAX} can be counted")]
    TooMany {
        /// How many were given.
        given: usize,
    },
    /// Totals with different limits cannot be added up.
    #[error("totals counted over different limits cannot be added up")]
    Differ,
}

/// The limits of one histogram, in a fixed place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    ns: [u64; LIMITS_PER_BUDGET_MAX],
    len: usize,
    /// Below or at this nothing is over any limit: the one comparison that most values need.
    least_ns: u64,
}

impl Limits {
    pub(crate) fn new(given_ns: &[u64]) -> Result<Limits, LimitsError> {
        // Nothing is above the largest number, so the places left over count nothing.
        let mut ns = [u64::MAX; LIMITS_PER_BUDGET_MAX];
        let len = given_ns.len();
        let places = ns
            .get_mut(..len)
            .ok_or(LimitsError::TooMany { given: len })?;
        places.copy_from_slice(given_ns);
        let least_ns = given_ns.iter().copied().min().unwrap_or(u64::MAX);
        Ok(Limits { ns, len, least_ns })
    }

    pub(crate) fn as_slice(&self) -> &[u64] {
        &self.ns[..self.len]
    }
}

/// Buckets of a histogram of [`HIST_DIGITS`] digits up to [`HIST_MAX_NS`].
///
/// Gil Tene's layout: a first run of 2 × 10^digits (rounded up to a power of two) unit buckets, then
/// half as many for each doubling of the range.
pub(crate) const BUCKETS: usize = {
    let first = (2 * 10_usize.pow(HIST_DIGITS as u32)).next_power_of_two();
    let mut runs = 1;
    while (first as u64) << (runs - 1) <= HIST_MAX_NS {
        runs += 1;
    }
    (runs + 1) * (first / 2)
};

/// A new histogram of the one shape that this house uses, with all of its memory touched: zeros
/// fresh from the allocator would cost the first values that fall on each page a page fault.
pub(crate) fn histogram<T: hdrhistogram::Counter>() -> hdrhistogram::Histogram<T> {
    let mut histogram = hdrhistogram::Histogram::new_with_bounds(1, HIST_MAX_NS, HIST_DIGITS)
        .expect("the bounds are constants, checked below");
    histogram.reset();
    histogram
}

// What `new_with_bounds` asks for.
const _: () = assert!(HIST_MAX_NS >= 2 && HIST_DIGITS <= 5 && BUCKETS < u32::MAX as usize);

/// Bytes of memory that a recorder of `histograms` histograms and its observer hold together: two
/// buffers, allocated at the start and never again.
///
/// ```
/// use hopline::hist::recorder_bytes;
/// assert!(recorder_bytes(1) > 2 * 14 * 1024);
/// assert!(recorder_bytes(3) < 128 * 1024);
/// ```
#[must_use]
pub const fn recorder_bytes(histograms: usize) -> usize {
    swap::SHARED_BYTES + 2 * histograms * interval::INTERVAL_BYTES
}

/// Bytes of memory of one [`Totals`], allocated at the start and never again.
#[must_use]
pub const fn totals_bytes() -> usize {
    size_of::<Totals>() + BUCKETS * size_of::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stated_memory_is_the_memory() {
        assert_eq!(histogram::<u32>().distinct_values(), BUCKETS);
        assert_eq!(histogram::<u64>().distinct_values(), BUCKETS);
    }

    #[test]
    fn limits_are_bounded() {
        let full = [1; LIMITS_PER_BUDGET_MAX];
        assert_eq!(Limits::new(&full).unwrap().as_slice(), full);
        let given = LIMITS_PER_BUDGET_MAX + 1;
        assert_eq!(
            Limits::new(&vec![1; given]),
            Err(LimitsError::TooMany { given })
        );
        assert_eq!(Limits::new(&[]).unwrap().least_ns, u64::MAX);
    }
}
