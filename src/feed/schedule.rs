//! The times at which an open-loop sender sends, one after the other.
//!
//! Times come from counts by a closed form wherever there is one, not from sums of gaps: nothing
//! builds up over a long run.
//!
//! Constant arrivals move to and fro by one gap. A machine interrupts its cores by the same clock: 250 times a second, say, for
//! 15 us. Of 20,000 messages a second at even gaps the same point of each eightieth would be hit all the time, or never, as the
//! start has it: P99s of an echo over UDP were 5.5 us in most runs and 20 us in one of ten.
//!
//! Invariant: the mean rate is the one asked for, for each kind of arrivals but ramp and steps, which
//! bring their own; the same seed gives the same times; none is before the one before it; nothing
//! allocates but making a schedule.

use crate::base::Prng;
use crate::feed::Arrivals;
use crate::feed::arrivals::{RATE_MAX, STEPS_MAX};
use crate::feed::rhythm::Rhythm;

/// Why there is no such schedule.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum ScheduleError {
    /// No positive rate, or above [`RATE_MAX`].
    #[error("{0} messages a second is no rate between 0 and {RATE_MAX}")]
    Rate(f64),
    /// A burst without messages, or slower than the mean.
    #[error("a burst has at least one message and at least the mean rate")]
    Burst,
    /// A burst that is not over when the next one begins.
    #[error(
        "{messages} messages within {within_ns} ns are slower than the mean rate of {rate_per_s} a second"
    )]
    BurstSpan {
        /// Messages of a burst.
        messages: u32,
        /// Its span.
        within_ns: u64,
        /// The mean rate, in messages a second.
        rate_per_s: f64,
    },
    /// The gaps of a capture are asked for, and there are none.
    #[error("the rhythm of a capture is missing")]
    Rhythm,
    /// No time to get from one rate to another, no step, or more than [`STEPS_MAX`].
    #[error("a ramp takes some time, and has at most {STEPS_MAX} steps")]
    Ramp,
}

/// Gaps in which constant arrivals move by one gap, and as many back: each gap is longer or shorter by a two-thousandth.
const SWEEP_GAPS: u64 = 2_000;

/// By how many gaps the message of that number is moved: from 0 to 1 and back.
fn swept(nth: u64) -> f64 {
    let at = nth % (2 * SWEEP_GAPS);
    at.min(2 * SWEEP_GAPS - at) as f64 / SWEEP_GAPS as f64
}

/// How the times come about.
#[derive(Clone, Debug)]
enum Kind {
    Constant,
    Poisson,
    Bursty {
        burst: u32,
        intensity: u32,
        /// Mean pause between two bursts, in nanoseconds.
        pause_ns: f64,
    },
    Bursts {
        messages: u64,
        within_ns: f64,
    },
    Ramp {
        from_per_s: f64,
        to_per_s: f64,
        over_s: f64,
    },
    Steps {
        arrivals: Arrivals,
        last: u32,
        each_ns: u64,
        step: u32,
        /// Messages given in this step.
        nth: u64,
        gap_ns: f64,
    },
    Recorded {
        rhythm: Rhythm,
        scale: f64,
        at: usize,
        /// How often the rhythm is over, and recorded nanoseconds since it last was.
        laps: u64,
        lap_ns: u64,
    },
}

/// A sequence of send times, in nanoseconds from the start: an endless iterator that allocates
/// nothing.
///
/// ```
/// use hopline::feed::{Arrivals, Schedule};
/// let mut schedule = Schedule::new(1e6, Arrivals::Constant, 7).unwrap();
/// // Even but for a two-thousandth, so that nothing periodic hits the same messages all the time.
/// assert_eq!([schedule.next_ns(), schedule.next_ns(), schedule.next_ns()], [0, 1_000, 2_001]);
/// assert_eq!(schedule.take_while(|at_ns| *at_ns < 10_000).count(), 7);
/// ```
#[derive(Clone, Debug)]
pub struct Schedule {
    kind: Kind,
    prng: Prng,
    /// Mean gap, in nanoseconds.
    gap_ns: f64,
    /// Times given so far.
    given: u64,
    /// The next time, before it is cut to whole nanoseconds; sums of cut gaps would drift.
    at_ns: f64,
}

fn rate_is_right(rate_per_s: f64) -> Result<f64, ScheduleError> {
    if rate_per_s > 0.0 && rate_per_s <= RATE_MAX {
        Ok(rate_per_s)
    } else {
        Err(ScheduleError::Rate(rate_per_s))
    }
}

impl Schedule {
    /// A schedule with the mean rate `rate_per_s`, in messages a second. Arrivals that [bring their
    /// own rates](Arrivals::has_own_rate) do not look at it.
    ///
    /// # Errors
    /// A rate that is not within (0, [`RATE_MAX`]], a burst of nothing, one that lasts into the next,
    /// a ramp of no time, or steps beyond [`STEPS_MAX`].
    pub fn new(rate_per_s: f64, arrivals: Arrivals, seed: u64) -> Result<Schedule, ScheduleError> {
        let gap_ns = match arrivals {
            Arrivals::Ramp { from_per_s, .. } | Arrivals::Steps { from_per_s, .. } => {
                1e9 / rate_is_right(from_per_s)?
            }
            _ => 1e9 / rate_is_right(rate_per_s)?,
        };
        let kind = match arrivals {
            Arrivals::Constant => Kind::Constant,
            Arrivals::Poisson => Kind::Poisson,
            Arrivals::Bursty { burst, intensity } => {
                if burst == 0 || intensity == 0 {
                    return Err(ScheduleError::Burst);
                }
                // Of `burst` gaps one is a pause, and together they last `burst` mean gaps.
                let mean = f64::from(burst);
                let pause_ns = mean * gap_ns - (mean - 1.0) * gap_ns / f64::from(intensity);
                Kind::Bursty {
                    burst,
                    intensity,
                    pause_ns,
                }
            }
            Arrivals::Bursts {
                messages,
                within_ns,
            } => {
                if messages == 0 {
                    return Err(ScheduleError::Burst);
                }
                if within_ns as f64 > f64::from(messages) * gap_ns {
                    return Err(ScheduleError::BurstSpan {
                        messages,
                        within_ns,
                        rate_per_s,
                    });
                }
                Kind::Bursts {
                    messages: u64::from(messages),
                    within_ns: within_ns as f64,
                }
            }
            Arrivals::Ramp {
                from_per_s,
                to_per_s,
                over_ns,
            } => {
                if over_ns == 0 {
                    return Err(ScheduleError::Ramp);
                }
                Kind::Ramp {
                    from_per_s,
                    to_per_s: rate_is_right(to_per_s)?,
                    over_s: over_ns as f64 / 1e9,
                }
            }
            Arrivals::Steps {
                to_per_s,
                steps,
                each_ns,
                ..
            } => {
                if steps == 0 || steps > STEPS_MAX || each_ns == 0 {
                    return Err(ScheduleError::Ramp);
                }
                rate_is_right(to_per_s)?;
                Kind::Steps {
                    arrivals,
                    last: steps - 1,
                    each_ns,
                    step: 0,
                    nth: 0,
                    gap_ns,
                }
            }
        };
        Ok(Schedule::of(kind, gap_ns, seed))
    }

    /// A schedule with the gaps of a capture, scaled to the mean rate `rate_per_s`, in messages a
    /// second. After the last gap comes the first one again.
    ///
    /// ```
    /// use hopline::feed::{Rhythm, Schedule};
    /// let rhythm = Rhythm::of([100, 200, 500]).unwrap();
    /// // Gaps of 100 and 300 are a mean of 200: a thousand times as long at 5,000 a second.
    /// let times: Vec<u64> = Schedule::recorded(5e3, rhythm).unwrap().take(4).collect();
    /// assert_eq!(times, [0, 100_000, 400_000, 500_000]);
    /// ```
    ///
    /// # Errors
    /// A rate that is not within (0, [`RATE_MAX`]].
    pub fn recorded(rate_per_s: f64, rhythm: Rhythm) -> Result<Schedule, ScheduleError> {
        let gap_ns = 1e9 / rate_is_right(rate_per_s)?;
        let kind = Kind::Recorded {
            scale: gap_ns / rhythm.mean_gap_ns(),
            rhythm,
            at: 0,
            laps: 0,
            lap_ns: 0,
        };
        Ok(Schedule::of(kind, gap_ns, 0))
    }

    fn of(kind: Kind, gap_ns: f64, seed: u64) -> Schedule {
        Schedule {
            kind,
            prng: Prng::new(seed),
            gap_ns,
            given: 0,
            at_ns: 0.0,
        }
    }

    /// Memory beside its own size, in bytes.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        match &self.kind {
            Kind::Recorded { rhythm, .. } => rhythm.heap_bytes(),
            _ => 0,
        }
    }

    /// The next time, in nanoseconds from the start; the first is 0, and none is before the one
    /// before it. Saturates after 584 years.
    #[inline]
    pub fn next_ns(&mut self) -> u64 {
        let now_ns = self.at_ns;
        self.given = self.given.saturating_add(1);
        let given = self.given;
        let next_ns = match &mut self.kind {
            // A product, not a sum: no error builds up.
            Kind::Constant => (given as f64 + swept(given)) * self.gap_ns,
            Kind::Poisson => now_ns + self.prng.exponential(self.gap_ns),
            Kind::Bursty {
                burst,
                intensity,
                pause_ns,
            } => {
                now_ns
                    + if self.prng.below(u64::from(*burst)) == 0 {
                        self.prng.exponential(*pause_ns)
                    } else {
                        self.gap_ns / f64::from(*intensity)
                    }
            }
            Kind::Bursts {
                messages,
                within_ns,
            } => {
                let (burst, nth) = (given / *messages, given % *messages);
                let begins_ns = (burst * *messages) as f64 * self.gap_ns;
                begins_ns + nth as f64 * *within_ns / *messages as f64
            }
            Kind::Ramp {
                from_per_s,
                to_per_s,
                over_s,
            } => 1e9 * ramp_s(given as f64, *from_per_s, *to_per_s, *over_s),
            Kind::Steps {
                arrivals,
                last,
                each_ns,
                step,
                nth,
                gap_ns,
            } => {
                let each = *each_ns as f64;
                *nth = nth.saturating_add(1);
                let mut within_ns = *nth as f64 * *gap_ns;
                if within_ns >= each && *step < *last {
                    // Each step begins with a message.
                    *step += 1;
                    (*nth, within_ns) = (0, 0.0);
                    let begins_ns = each_ns.saturating_mul(u64::from(*step));
                    if let Some((_, rate_per_s)) = arrivals.step_at(begins_ns) {
                        *gap_ns = 1e9 / rate_per_s;
                    }
                }
                f64::from(*step) * each + within_ns
            }
            Kind::Recorded {
                rhythm,
                scale,
                at,
                laps,
                lap_ns,
            } => {
                *lap_ns += rhythm.gap_ns(at);
                if *at == 0 {
                    (*laps, *lap_ns) = (laps.saturating_add(1), 0);
                }
                // A product here as well.
                (*laps as f64 * rhythm.total_ns() + *lap_ns as f64) * *scale
            }
        };
        // Closed forms are even to the last bit only where their roundings are.
        self.at_ns = next_ns.max(now_ns);
        now_ns as u64
    }

    /// How many times there are before `end_ns`: what was due in that span. Costs 2 to 20 ns for each.
    #[must_use]
    pub fn count_before(self, end_ns: u64) -> u64 {
        self.take_while(|at_ns| *at_ns < end_ns).count() as u64
    }
}

impl Iterator for Schedule {
    type Item = u64;

    /// As [`Schedule::next_ns`]; never `None`.
    #[inline]
    fn next(&mut self) -> Option<u64> {
        Some(self.next_ns())
    }
}

/// When message `nth` of a ramp is due, in seconds: where the integral of the rate is `nth`.
fn ramp_s(nth: f64, from_per_s: f64, to_per_s: f64, over_s: f64) -> f64 {
    let on_ramp = (from_per_s + to_per_s) / 2.0 * over_s;
    if nth >= on_ramp {
        return over_s + (nth - on_ramp) / to_per_s;
    }
    // The root of `from t + slope t² / 2 = nth`, in the form that loses no digits on a flat ramp.
    let slope = (to_per_s - from_per_s) / over_s;
    let root = (from_per_s * from_per_s + 2.0 * slope * nth)
        .max(0.0)
        .sqrt();
    2.0 * nth / (from_per_s + root)
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
        assert!(constant.iter().all(|gap| (333_166..=333_501).contains(gap)));

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
    fn constant_arrivals_meet_a_periodic_interrupt_at_all_of_their_phases() {
        // 250 a second, and 20,000 messages: the first one's phase would be that of all.
        let times = Schedule::new(2e4, Arrivals::Constant, 1).unwrap();
        let times: Vec<u64> = times.take(20_000).collect();
        let hit = |tick: u64| {
            let after = times.partition_point(|at_ns| *at_ns <= tick * 4_000_000);
            (tick * 4_000_000 - times[after - 1]) / 5_000
        };
        let mut phases = [0u32; 11];
        (1..250).for_each(|tick| phases[hit(tick) as usize] += 1);
        let tenths = &phases[..10];
        assert!(
            tenths.iter().all(|hits| (15..=35).contains(hits)),
            "{phases:?}"
        );
    }

    const SECOND_NS: u64 = 1_000_000_000;

    fn bursts(messages: u32, within_ns: u64) -> Arrivals {
        Arrivals::Bursts {
            messages,
            within_ns,
        }
    }

    fn steps(from_per_s: f64, to_per_s: f64, steps: u32) -> Arrivals {
        Arrivals::Steps {
            from_per_s,
            to_per_s,
            steps,
            each_ns: SECOND_NS,
        }
    }

    /// How many are due in each of `windows` windows of `window_ns`.
    fn counts(schedule: Schedule, window_ns: u64, windows: u64) -> Vec<u64> {
        let mut counts = vec![0; windows as usize];
        for at_ns in schedule.take_while(|at_ns| *at_ns < window_ns * windows) {
            counts[(at_ns / window_ns) as usize] += 1;
        }
        counts
    }

    /// Variance over mean of the counts in windows of 1 ms at 10,000 a second: 1 for Poisson.
    fn dispersion(arrivals: Arrivals) -> f64 {
        let schedule = Schedule::new(1e4, arrivals, 11).unwrap();
        let counts = counts(schedule, 1_000_000, 20_000);
        let mean = mean(&counts);
        let square = |count: &u64| (*count as f64 - mean).powi(2);
        counts.iter().map(square).sum::<f64>() / (counts.len() - 1) as f64 / mean
    }

    #[test]
    fn counts_vary_as_much_as_the_name_says() {
        // The index of dispersion of n windows has a standard deviation of sqrt(2/n) for Poisson: five
        // of them are 0.05.
        let poisson = dispersion(Arrivals::Poisson);
        assert!((poisson - 1.0).abs() < 0.05, "{poisson}");
        let constant = dispersion(Arrivals::Constant);
        assert!(constant < 0.01, "{constant}");
        let (burst, intensity) = (50, 20);
        let bursty = dispersion(Arrivals::Bursty { burst, intensity });
        assert!(bursty > 20.0, "{bursty}");
        // A hundred at once in one window of ten, nothing in the others: variance 900, mean 10.
        let on_and_off = dispersion(bursts(100, 0));
        assert!((on_and_off - 90.0).abs() < 0.1, "{on_and_off}");
    }

    #[test]
    fn nothing_drifts_over_ten_million_messages() {
        const MESSAGES: usize = 10_000_000;
        let rate = 333_333.3;
        let due_ns = (MESSAGES as f64 * 1e9 / rate) as u64;
        let last = |arrivals| {
            let mut schedule = Schedule::new(rate, arrivals, 5).unwrap();
            let mut before_ns = 0;
            for at_ns in schedule.by_ref().take(MESSAGES) {
                assert!(at_ns >= before_ns);
                before_ns = at_ns;
            }
            schedule.next_ns()
        };
        assert_eq!(last(Arrivals::Constant), due_ns);
        assert_eq!(last(bursts(100, 200_000)), due_ns);
        // Five standard deviations of the sum of as many exponentials.
        let off = last(Arrivals::Poisson) as f64 / due_ns as f64 - 1.0;
        assert!(off.abs() < 5.0 / (MESSAGES as f64).sqrt(), "{off}");
        let rhythm = Rhythm::of([0, 7, 8, 31]).unwrap();
        let mut recorded = Schedule::recorded(rate, rhythm).unwrap();
        let lap = MESSAGES / 3 * 3;
        let due_ns = (lap as f64 * 1e9 / rate) as u64;
        let off_ns = recorded.nth(lap).unwrap().abs_diff(due_ns);
        assert!(off_ns <= 1, "{off_ns}");
    }

    #[test]
    fn bursts_come_by_the_clock() {
        let schedule = Schedule::new(20_000.0, bursts(4, 60_000), 1).unwrap();
        let times: Vec<u64> = schedule.take(9).collect();
        let first = [0, 15_000, 30_000, 45_000];
        assert_eq!(times[..4], first);
        assert_eq!(times[4..8], first.map(|at_ns| at_ns + 200_000));
        assert_eq!(times[8], 400_000);
        let at_once = Schedule::new(1e6, bursts(3, 0), 1).unwrap();
        assert_eq!(
            at_once.take(7).collect::<Vec<_>>(),
            [0, 0, 0, 3_000, 3_000, 3_000, 6_000]
        );
    }

    #[test]
    fn ramps_go_from_one_rate_to_the_other_and_stay() {
        for (from_per_s, to_per_s) in [(10e3, 100e3), (100e3, 10e3), (50e3, 50e3)] {
            let ramp = Arrivals::Ramp {
                from_per_s,
                to_per_s,
                over_ns: 10 * SECOND_NS,
            };
            // The mean rate plays no part, not even one that is none.
            let schedule = Schedule::new(f64::NAN, ramp, 1).unwrap();
            let counts = counts(schedule, SECOND_NS, 13);
            for (second, count) in counts.iter().enumerate() {
                let middle = ((second as f64 + 0.5) / 10.0).min(1.0);
                let mean = match second {
                    0..10 => from_per_s + (to_per_s - from_per_s) * middle,
                    _ => to_per_s,
                };
                let off = *count as f64 - mean;
                assert!(
                    off.abs() <= 1.0,
                    "{from_per_s}..{to_per_s}, {second}: {off}"
                );
            }
        }
    }

    #[test]
    fn steps_hold_their_rates() {
        for (arrivals, rates) in [
            (steps(1e3, 3e3, 3), [1e3, 2e3, 3e3, 3e3]),
            (steps(3e3, 1e3, 2), [3e3, 1e3, 1e3, 1e3]),
            (steps(5e2, 9e3, 1), [5e2; 4]),
        ] {
            let schedule = Schedule::new(1.0, arrivals, 1).unwrap();
            let counts = counts(schedule, SECOND_NS, 4);
            assert_eq!(counts, rates.map(|rate| rate as u64), "{arrivals:?}");
            for (second, rate) in rates.iter().enumerate() {
                let (_, told) = arrivals.step_at(second as u64 * SECOND_NS).unwrap();
                assert_eq!(told, *rate);
            }
        }
        assert_eq!(Arrivals::Poisson.step_at(0), None);
    }

    #[test]
    fn a_rhythm_is_scaled_to_the_rate_and_repeats() {
        let rhythm = Rhythm::of([50, 60, 60, 90]).unwrap();
        let schedule = Schedule::recorded(75e6, rhythm).unwrap();
        // 40 recorded nanoseconds for three messages, which are due each 13.3 ns: as recorded.
        let times: Vec<u64> = schedule.clone().take(8).collect();
        assert_eq!(times, [0, 10, 10, 40, 50, 50, 80, 90]);
        assert_eq!(schedule.heap_bytes(), 24);
    }

    #[test]
    fn the_same_seed_gives_the_same_times_and_another_one_others() {
        let bursty = Arrivals::Bursty {
            burst: 5,
            intensity: 3,
        };
        for arrivals in [Arrivals::Poisson, bursty] {
            let times = |seed| {
                let schedule = Schedule::new(1e5, arrivals, seed).unwrap();
                schedule.take(10_000).collect::<Vec<_>>()
            };
            assert_eq!(times(7), times(7));
            assert_ne!(times(7), times(8));
        }
    }

    #[test]
    fn far_times_saturate() {
        for arrivals in [Arrivals::Constant, Arrivals::Poisson, bursts(2, 9)] {
            let mut schedule = Schedule::new(1e-10, arrivals, 1).unwrap();
            schedule.given = u64::MAX - 2;
            for _ in 0..5 {
                schedule.next_ns();
            }
            assert_eq!(schedule.next_ns(), u64::MAX, "{arrivals:?}");
        }
        let rhythm = Rhythm::of([0, u64::MAX]).unwrap();
        let mut recorded = Schedule::recorded(1e-9, rhythm).unwrap();
        assert_eq!(recorded.nth(40), Some(u64::MAX));
        let ramp = Arrivals::Ramp {
            from_per_s: 1e-12,
            to_per_s: 1e-12,
            over_ns: u64::MAX,
        };
        let mut slow = Schedule::new(1.0, ramp, 1).unwrap();
        assert_eq!(slow.nth(40), Some(u64::MAX));
    }

    #[test]
    fn what_was_due_is_counted_without_the_end() {
        let schedule = Schedule::new(1e6, Arrivals::Constant, 7).unwrap();
        assert_eq!(schedule.clone().count_before(0), 0);
        assert_eq!(schedule.clone().count_before(2_001), 2);
        assert_eq!(schedule.count_before(2_002), 3);
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
        let refused = |arrivals| Schedule::new(1e5, arrivals, 1).unwrap_err();
        assert_eq!(refused(bursts(0, 5)), ScheduleError::Burst);
        assert!(Schedule::new(1e5, bursts(100, 1_000_000), 1).is_ok());
        assert!(matches!(
            refused(bursts(100, 1_000_001)),
            ScheduleError::BurstSpan { .. }
        ));
        for rate in [0.0, 2e9, f64::NAN] {
            assert!(matches!(
                refused(steps(rate, 1.0, 2)),
                ScheduleError::Rate(_)
            ));
            assert!(matches!(
                refused(steps(1.0, rate, 2)),
                ScheduleError::Rate(_)
            ));
        }
        for count in [0, STEPS_MAX + 1] {
            assert_eq!(refused(steps(1.0, 2.0, count)), ScheduleError::Ramp);
        }
        let (from_per_s, to_per_s, over_ns) = (1.0, 2.0, 0);
        let ramp = Arrivals::Ramp {
            from_per_s,
            to_per_s,
            over_ns,
        };
        assert_eq!(refused(ramp), ScheduleError::Ramp);
    }
}
