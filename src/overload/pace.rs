//! What a message and what each of its frames take, told apart.
//!
//! Some consumers work on each frame and some on each message, and most on both. Where messages differ by many frames, as those
//! of a market do, a backlog told by its frames alone, or by its messages alone, is wrong by a third. So a line is fitted: of
//! runs of as many messages, the ones with more frames show what a frame takes, and what is left is the message's own.
//!
//! Invariant: neither part is less than nothing, and of a run that is like those before it both together give its time.

use super::service::{OUTLIER_TIMES, TOOK_MAX_NS, WEIGHT_SHIFT};

/// Messages of a run that is measured.
pub const MESSAGES: u32 = 8;

/// What a new measure counts for, as a service's does.
const WEIGHT: f64 = 1.0 / (1_u64 << WEIGHT_SHIFT) as f64;

/// What a consumer takes, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// For each message, however many frames it has.
    pub message_ns: u64,
    /// For each frame, the first of a message among them.
    pub frame_ns: u64,
}

impl Pace {
    /// The time that so many messages take with so many frames in all, in nanoseconds; saturates.
    ///
    /// ```
    /// use hopline::overload::Pace;
    /// let pace = Pace { message_ns: 10_000, frame_ns: 50 };
    /// assert_eq!(pace.takes_ns(2, 11), 20_550);
    /// ```
    #[inline]
    #[must_use]
    pub const fn takes_ns(self, messages: usize, frames: usize) -> u64 {
        let by_messages_ns = (messages as u64).saturating_mul(self.message_ns);
        by_messages_ns.saturating_add((frames as u64).saturating_mul(self.frame_ns))
    }
}

/// Least squares of the time of a run over its frames, weighted exponentially: means, and what deviates from them together (West,
/// "Updating Mean and Variance Estimates", CACM 22(9), 1979, with a weight that stays).
///
/// ```
/// use hopline::overload::{Pace, PaceMeter};
/// let mut meter = PaceMeter::new();
/// for run in 0..100 {
///     // Of eight messages of 10 us one has now and then 20 frames more, of 100 ns each.
///     let frames = if run % 3 == 0 { 28 } else { 8 };
///     meter.measured(frames, 80_000 + 100 * frames);
/// }
/// assert_eq!(meter.pace(), Pace { message_ns: 10_000, frame_ns: 100 });
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PaceMeter {
    /// Means of a run's time and of its frames; 0 until the first measure.
    mean_ns: f64,
    frames: f64,
    /// How much the frames of runs differ, squared, and how much time goes with that.
    spread: f64,
    common: f64,
}

impl PaceMeter {
    /// One that knows nothing.
    #[must_use]
    pub const fn new() -> PaceMeter {
        PaceMeter {
            mean_ns: 0.0,
            frames: 0.0,
            spread: 0.0,
            common: 0.0,
        }
    }

    /// A run of [`MESSAGES`] messages with so many frames took `took_ns`, without the time in which none waited.
    #[inline]
    pub fn measured(&mut self, frames: u64, took_ns: u64) {
        let (frames, took_ns) = (frames as f64, took_ns.min(TOOK_MAX_NS) as f64);
        if self.mean_ns == 0.0 {
            (self.frames, self.mean_ns) = (frames, took_ns);
            return;
        }
        let more = frames - self.frames;
        if more == 0.0 && self.spread == 0.0 {
            self.mean_ns += WEIGHT * self.late_ns(took_ns, 0.0);
        } else {
            let late_ns = self.late_ns(took_ns, more);
            self.frames += WEIGHT * more;
            self.spread = (1.0 - WEIGHT) * (self.spread + WEIGHT * more * more);
            self.common = (1.0 - WEIGHT) * (self.common + WEIGHT * more * late_ns);
            self.mean_ns += WEIGHT * late_ns;
        }
        // Never down to 0, which says that nothing was measured.
        self.mean_ns = self.mean_ns.max(1.0);
    }

    /// By how much a run with so many frames more than the mean was slower than the mean, as far as that counts.
    #[inline]
    fn late_ns(&self, took_ns: f64, more: f64) -> f64 {
        let expected_ns = if self.spread > 0.0 {
            self.mean_ns + (more * self.common / self.spread).max(0.0)
        } else {
            self.mean_ns
        };
        took_ns.min(OUTLIER_TIMES as f64 * expected_ns) - self.mean_ns
    }

    /// What a message and a frame take; where runs do not differ by their frames all is the messages'.
    #[inline]
    #[must_use]
    pub fn pace(&self) -> Pace {
        if self.spread == 0.0 {
            return Pace {
                message_ns: self.mean_ns as u64 / u64::from(MESSAGES),
                frame_ns: 0,
            };
        }
        let most_ns = self.mean_ns / self.frames.max(1.0);
        let frame_ns = (self.common / self.spread).clamp(0.0, most_ns);
        let own_ns = (self.mean_ns - frame_ns * self.frames).max(0.0);
        Pace {
            message_ns: (own_ns / f64::from(MESSAGES)).round() as u64,
            frame_ns: frame_ns.round() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::Prng;

    /// What is known after runs of messages, one in fifteen of which has some twenty frames, by what a run of so many takes.
    fn known(mut takes_ns: impl FnMut(u64) -> u64) -> Pace {
        let mut prng = Prng::new(5);
        let mut meter = PaceMeter::new();
        for _ in 0..2_000 {
            let more = |prng: &mut Prng| {
                if prng.below(15) == 0 {
                    prng.below(40)
                } else {
                    0
                }
            };
            let frames = 8 + (0..8).map(|_| more(&mut prng)).sum::<u64>();
            meter.measured(frames, takes_ns(frames));
        }
        meter.pace()
    }

    #[test]
    fn what_is_the_messages_and_what_is_the_frames_is_told_apart() {
        let pace = |message_ns, frame_ns| Pace {
            message_ns,
            frame_ns,
        };
        assert_eq!(known(|_| 80_000), pace(10_000, 0));
        assert_eq!(known(|frames| 500 * frames), pace(0, 500));
        assert_eq!(known(|frames| 8_000 + 60 * frames), pace(1_000, 60));
    }

    #[test]
    fn interruptions_are_shared_by_all_and_make_no_frame_dear() {
        let mut prng = Prng::new(9);
        let Pace {
            message_ns,
            frame_ns,
        } = known(|_| 80_000 + if prng.below(20) == 0 { 40_000 } else { 0 });
        // 2 us a run are the host's; some frames may be taken for dear for a while.
        assert!((9_000..=11_500).contains(&message_ns), "{message_ns}");
        assert!(frame_ns < 500, "{frame_ns}");
    }

    #[test]
    fn one_run_that_was_interrupted_for_long_counts_for_four() {
        let mut meter = PaceMeter::new();
        meter.measured(8, 80_000);
        meter.measured(8, 1 << 50);
        assert_eq!(meter.pace().message_ns, 11_875);
    }

    proptest! {
        #[test]
        fn neither_part_is_out_of_bounds(runs in proptest::collection::vec((8u64..4_096, 0u64..1 << 45), 1..60)) {
            let mut meter = PaceMeter::new();
            for &(frames, took_ns) in &runs {
                meter.measured(frames, took_ns);
            }
            let Pace { message_ns, frame_ns } = meter.pace();
            let most_ns = runs.iter().map(|run| run.1.min(TOOK_MAX_NS)).max().unwrap_or(0).max(1);
            prop_assert!(message_ns <= most_ns && frame_ns <= most_ns);
        }
    }
}
