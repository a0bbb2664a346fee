//! A limit on the rate of frames, with a burst: who comes faster is refused, and who slows down is admitted at once.
//!
//! Invariant: over any span of time no more than rate x time + burst is admitted, exactly; what is refused costs nothing.
//!
//! The generic cell rate algorithm (ITU-T I.371) in its form as a leaky bucket with a continuous state, seen from
//! the other side: not how full the bucket is, but how much room is left. Room is counted in parts of a thousand millionth
//! of a frame, so that a nanosecond at `r` frames a second is worth `r` parts: whole numbers at any rate, nothing rounded.

use super::bounds::{Amount, BoundError, within};
use crate::base::limits::DEPTH_MAX;

/// Parts of a frame: as many as a second has nanoseconds.
const FRAME: u64 = 1_000_000_000;

/// Highest rate, in frames a second: one a nanosecond is no limit.
pub const RATE_MAX_PER_S: u64 = 1_000_000_000;

/// Largest burst, in frames: no queue takes more at once.
pub const BURST_MAX: u64 = DEPTH_MAX as u64;

// A full bucket, and what a time step adds to it, stay in 64 bits.
const _: () = assert!(BURST_MAX <= u64::MAX / FRAME / 2);

/// What a [`Bucket`] admits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BucketParams {
    rate_per_s: u64,
    burst: u64,
}

impl BucketParams {
    /// So many frames a second, and so many at once after a pause.
    ///
    /// # Errors
    /// The rate is not 1 to [`RATE_MAX_PER_S`], or the burst not 1 to [`BURST_MAX`].
    pub fn new(rate_per_s: u64, burst: u64) -> Result<BucketParams, BoundError> {
        within(
            "rate",
            rate_per_s,
            1,
            RATE_MAX_PER_S,
            Amount::RatePerS,
            "\"50k/s\"",
        )?;
        within("burst", burst, 1, BURST_MAX, Amount::Count, "32")?;
        Ok(BucketParams { rate_per_s, burst })
    }

    /// A rate, with a millisecond of it as burst: what a source brings at once after a turn of housekeeping.
    ///
    /// # Errors
    /// The rate is not 1 to [`RATE_MAX_PER_S`].
    pub fn of_rate(rate_per_s: u64) -> Result<BucketParams, BoundError> {
        BucketParams::new(rate_per_s, (rate_per_s / 1_000).clamp(1, BURST_MAX))
    }

    /// Frames a second.
    #[must_use]
    pub const fn rate_per_s(&self) -> u64 {
        self.rate_per_s
    }

    /// Frames at once.
    #[must_use]
    pub const fn burst(&self) -> u64 {
        self.burst
    }
}

/// Admits frames of one source. It begins full.
///
/// With a burst of 1 a source has to keep the rate's beat to have all of it: whoever comes a little late has lost that little.
///
/// Time that steps back adds no room, nor does it until it is again where it was.
///
/// ```
/// use hopline::overload::{Bucket, BucketParams};
/// let mut bucket = Bucket::new(BucketParams::new(1_000, 2)?);
/// let at_once: Vec<bool> = (0..3).map(|_| bucket.admit(5_000_000)).collect();
/// assert_eq!(at_once, [true, true, false]);
/// assert!(!bucket.admit(5_999_999));
/// assert!(bucket.admit(6_000_000));
/// # Ok::<(), hopline::overload::BoundError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    params: BucketParams,
    /// Room left, in parts of a frame.
    room: u64,
    /// Until when `room` is counted.
    until_ns: u64,
}

impl Bucket {
    /// A full bucket.
    #[must_use]
    pub const fn new(params: BucketParams) -> Bucket {
        Bucket {
            params,
            room: params.burst * FRAME,
            until_ns: 0,
        }
    }

    /// Whether a frame that comes now is admitted.
    #[inline]
    #[must_use]
    pub fn admit(&mut self, now_ns: u64) -> bool {
        self.fill(now_ns);
        let admitted = self.room >= FRAME;
        if admitted {
            self.room -= FRAME;
        }
        admitted
    }

    /// Frames that would be admitted now.
    #[must_use]
    pub fn room_frames(&self, now_ns: u64) -> u64 {
        let mut then = *self;
        then.fill(now_ns);
        then.room / FRAME
    }

    /// The parameters.
    #[must_use]
    pub const fn params(&self) -> BucketParams {
        self.params
    }

    /// Goes on with other parameters from now on: time until now counts at the old rate, and room that the new burst does
    /// not have is gone.
    pub fn set_params(&mut self, now_ns: u64, params: BucketParams) {
        self.fill(now_ns);
        self.params = params;
        self.room = self.room.min(params.burst * FRAME);
    }

    #[inline]
    fn fill(&mut self, now_ns: u64) {
        let passed_ns = now_ns.saturating_sub(self.until_ns);
        self.until_ns += passed_ns;
        let gained = passed_ns.saturating_mul(self.params.rate_per_s);
        self.room = self
            .room
            .saturating_add(gained)
            .min(self.params.burst * FRAME);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bucket(rate_per_s: u64, burst: u64) -> Bucket {
        Bucket::new(BucketParams::new(rate_per_s, burst).unwrap())
    }

    #[test]
    fn a_source_that_slows_down_is_admitted_in_full_at_once() {
        let rate = 100_000;
        let mut bucket = bucket(rate, 1);
        let mut now_ns = 0;
        let mut admitted = 0;
        for _ in 0..100_000 {
            now_ns += 1_000;
            admitted += u64::from(bucket.admit(now_ns));
        }
        assert_eq!(admitted, 10_000);
        for nth in 0..10_000 {
            now_ns += 11_112;
            assert!(bucket.admit(now_ns), "frame {nth} after the fall");
        }
    }

    #[test]
    fn rates_are_exact_at_both_ends() {
        for (rate, seconds) in [(1, 3_600), (3, 1_000), (7_777_777, 1), (100_000_000, 1)] {
            // The second frame of the burst is what the part of a nanosecond is kept in that a due time is rounded by.
            let mut bucket = bucket(rate, 2);
            assert!(bucket.admit(0) && bucket.admit(0));
            // Asked at each nanosecond at which the next frame is due, and just before it.
            let frames = (rate * seconds).min(1_000_000);
            for nth in 1..=frames {
                let due_ns = (u128::from(nth) * 1_000_000_000).div_ceil(u128::from(rate)) as u64;
                assert!(!bucket.admit(due_ns - 1), "{rate}/s: frame {nth} too early");
                assert!(bucket.admit(due_ns), "{rate}/s: frame {nth}");
            }
        }
    }

    #[test]
    fn parameters_change_while_it_runs() {
        let mut bucket = bucket(1_000_000, 100);
        assert_eq!(bucket.room_frames(0), 100);
        bucket.set_params(0, BucketParams::new(1_000, 2).unwrap());
        assert_eq!(bucket.room_frames(0), 2);
        bucket.set_params(0, BucketParams::new(1_000, 100).unwrap());
        assert_eq!(bucket.room_frames(0), 2);
        assert_eq!(bucket.room_frames(10_000_000), 12);
        // The millisecond before the change counts at the old rate.
        bucket.set_params(1_000_000, BucketParams::new(1_000_000, 100).unwrap());
        assert_eq!(bucket.room_frames(1_000_000), 3);
    }

    #[test]
    fn bad_parameters_are_refused_in_words() {
        let error = BucketParams::new(0, 1).unwrap_err();
        assert_eq!(
            error.to_string(),
            "rate is 0/s, and not between 1/s and 1000000000/s; write for example \"50k/s\""
        );
        assert!(BucketParams::new(1, 0).is_err());
        assert_eq!(BucketParams::of_rate(50_000).unwrap().burst(), 50);
        assert_eq!(BucketParams::of_rate(1).unwrap().burst(), 1);
    }

    proptest! {
        /// Against the definition: from any admitted frame to any later one no more than burst + rate x time, and
        /// whatever is refused would have been more.
        #[test]
        fn it_admits_rate_by_time_and_burst_exactly(
            rate in prop_oneof![1u64..10, 1_000u64..1_000_000, 90_000_000u64..=RATE_MAX_PER_S],
            burst in 1u64..20,
            gaps in proptest::collection::vec(0u64..40, 1..120),
        ) {
            let mut bucket = bucket(rate, burst);
            let mut now_ns = 0u64;
            let mut admitted: Vec<u64> = Vec::new();
            for gap in gaps {
                // Gaps in tenths of the mean gap, at least of a nanosecond.
                now_ns += gap * (100_000_000 / rate).max(1);
                // Most over all spans that end here and begin with an admitted frame.
                let fits = admitted.iter().enumerate().all(|(nth, &from_ns)| {
                    let count = (admitted.len() - nth) as u128 + 1;
                    let gained = u128::from(now_ns - from_ns) * u128::from(rate);
                    count * 1_000_000_000 <= gained + u128::from(burst) * 1_000_000_000
                });
                prop_assert_eq!(bucket.admit(now_ns), fits);
                if fits {
                    admitted.push(now_ns);
                }
            }
        }

        #[test]
        fn time_that_steps_back_admits_no_more(
            rate in 1u64..=RATE_MAX_PER_S, burst in 1u64..5,
            // In tenths of the mean gap, but for some of any size.
            times in proptest::collection::vec((0u64..300, prop::option::weighted(0.02, any::<u64>())), 1..100),
        ) {
            let mut bucket = bucket(rate, burst);
            let mut monotone = bucket;
            let mut latest_ns = 0;
            for (tenths, any_ns) in times {
                let now_ns = any_ns.unwrap_or(tenths * (100_000_000 / rate).max(1));
                latest_ns = latest_ns.max(now_ns);
                prop_assert_eq!(bucket.admit(now_ns), monotone.admit(latest_ns));
            }
        }
    }
}
