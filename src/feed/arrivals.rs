//! When an open-loop sender sends: times that are fixed ahead, whatever the receiver does.
//!
//! | arrivals | gaps |
//! |---|---|
//! | constant | all the same |
//! | Poisson | exponential, independent: many senders that do not know each other |
//! | bursty | a switched process, below |
//!
//! The bursty model has two states. Within a burst messages follow each other at `intensity` times
//! the mean rate. After each message the burst ends with probability 1/`burst`, so that its size is
//! geometric with mean `burst`; then comes a pause, exponential, whose mean is what keeps the mean
//! rate at the one asked for. It is the simplest process with the two properties that hurt a queue:
//! runs of close arrivals, and no memory of when the last run was.
//!
//! Invariant: the mean rate is the one asked for, for each kind of arrivals; the same seed gives the
//! same times.

use crate::base::Prng;

/// Highest rate of a schedule, in messages a second: one a nanosecond.
pub const RATE_MAX: f64 = 1e9;

/// How arrivals are spread in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrivals {
    /// Evenly.
    Constant,
    /// At random, independent of each other.
    Poisson,
    /// In bursts.
    Bursty {
        /// Mean number of messages in a burst, from 1.
        burst: u32,
        /// How many times the mean rate is sent at within a burst, from 1.
        intensity: u32,
    },
}

/// Why there is no such schedule.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum ScheduleError {
    /// No positive rate, or above [`RATE_MAX`].
    #[error("{0} messages a second is no rate between 0 and {RATE_MAX}")]
    Rate(f64),
    /// A burst without messages, or slower than the mean.
    #[error("a burst has at least one message and at least the mean rate")]
    Burst,
}

/// A sequence of send times, in nanoseconds from the start.
///
/// ```
/// use hopline::feed::{Arrivals, Schedule};
/// let mut schedule = Schedule::new(1e6, Arrivals::Constant, 7).unwrap();
/// assert_eq!([schedule.next_ns(), schedule.next_ns(), schedule.next_ns()], [0, 1_000, 2_000]);
/// ```
#[derive(Clone, Debug)]
pub struct Schedule {
    arrivals: Arrivals,
    prng: Prng,
    /// Mean gap, in nanoseconds.
    gap_ns: f64,
    /// Mean pause between two bursts, in nanoseconds.
    pause_ns: f64,
    /// Times given so far.
    given: u64,
    /// The next time, before it is cut to whole nanoseconds; sums of cut gaps would drift.
    at_ns: f64,
}

impl Schedule {
    /// A schedule with the mean rate `rate_per_s`, in messages a second.
    ///
    /// # Errors
    /// A rate that is not within (0, [`RATE_MAX`]], or a burst of nothing.
    pub fn new(rate_per_s: f64, arrivals: Arrivals, seed: u64) -> Result<Schedule, ScheduleError> {
        if !(rate_per_s > 0.0 && rate_per_s <= RATE_MAX) {
            return Err(ScheduleError::Rate(rate_per_s));
        }
        let gap_ns = 1e9 / rate_per_s;
        let mut pause_ns = gap_ns;
        if let Arrivals::Bursty { burst, intensity } = arrivals {
            if burst == 0 || intensity == 0 {
                return Err(ScheduleError::Burst);
            }
            // Of `burst` gaps one is a pause, and together they last `burst` mean gaps.
            let burst = f64::from(burst);
            pause_ns = burst * gap_ns - (burst - 1.0) * gap_ns / f64::from(intensity);
        }
        Ok(Schedule {
            arrivals,
            prng: Prng::new(seed),
            gap_ns,
            pause_ns,
            given: 0,
            at_ns: 0.0,
        })
    }

    /// The next time, in nanoseconds from the start; the first is 0, and none is before the one
    /// before it. Saturates after 584 years.
    #[inline]
    pub fn next_ns(&mut self) -> u64 {
        let now_ns = self.at_ns;
        self.given += 1;
        self.at_ns = match self.arrivals {
            // A product, not a sum: no error builds up.
            Arrivals::Constant => self.given as f64 * self.gap_ns,
            Arrivals::Poisson => now_ns + self.prng.exponential(self.gap_ns),
            Arrivals::Bursty { burst, intensity } => {
                now_ns
                    + if self.prng.below(u64::from(burst)) == 0 {
                        self.prng.exponential(self.pause_ns)
                    } else {
                        self.gap_ns / f64::from(intensity)
                    }
            }
        };
        now_ns as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaps(arrivals: Arrivals, rate: f64, count: usize) -> Vec<u64> {
        let mut schedule = Schedule::new(rate, arrivals, 42).unwrap();
        let times: Vec<u64> = (0..=count).map(|_| schedule.next_ns()).collect();
        assert_eq!(times[0], 0);
        times.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    fn mean(gaps: &[u64]) -> f64 {
        gaps.iter().sum::<u64>() as f64 / gaps.len() as f64
    }

    #[test]
    fn the_mean_rate_is_the_one_asked_for() {
        for rate in [0.5, 272.0, 50_000.0, 3_333_333.0] {
            for (arrivals, tolerance) in [
                (Arrivals::Constant, 1e-6),
                (Arrivals::Poisson, 0.005),
                (
                    Arrivals::Bursty {
                        burst: 50,
                        intensity: 20,
                    },
                    0.02,
                ),
                (
                    Arrivals::Bursty {
                        burst: 1,
                        intensity: 1,
                    },
                    0.005,
                ),
            ] {
                let mean = mean(&gaps(arrivals, rate, 1_000_000));
                let off = (mean * rate / 1e9 - 1.0).abs();
                assert!(off < tolerance, "{arrivals:?} at {rate}/s is off by {off}");
            }
        }
    }

    #[test]
    fn arrivals_are_spread_as_their_name_says() {
        let constant = gaps(Arrivals::Constant, 3_000.0, 10_000);
        assert!(constant.iter().all(|gap| (333_333..=333_334).contains(gap)));

        // The share of an exponential's gaps that are longer than the mean is 1/e.
        let poisson = gaps(Arrivals::Poisson, 1_000.0, 200_000);
        let longer = poisson.iter().filter(|gap| **gap > 1_000_000).count() as f64 / 200_000.0;
        assert!((longer - (-1.0_f64).exp()).abs() < 0.005, "{longer}");

        let bursty = gaps(
            Arrivals::Bursty {
                burst: 40,
                intensity: 10,
            },
            1_000.0,
            400_000,
        );
        let within = bursty
            .iter()
            .filter(|gap| (99_999..=100_001).contains(*gap))
            .count();
        let share = within as f64 / 400_000.0;
        assert!((share - 39.0 / 40.0).abs() < 0.002, "{share}");
    }

    #[test]
    fn what_cannot_be_scheduled_is_refused() {
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY, 2e9] {
            assert!(matches!(
                Schedule::new(rate, Arrivals::Poisson, 1),
                Err(ScheduleError::Rate(_))
            ));
        }
        for (burst, intensity) in [(0, 5), (5, 0)] {
            let bursty = Arrivals::Bursty { burst, intensity };
            assert_eq!(
                Schedule::new(1.0, bursty, 1).unwrap_err(),
                ScheduleError::Burst
            );
        }
    }
}
