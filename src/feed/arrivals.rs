//! When an open-loop sender sends: times that are fixed ahead, whatever the receiver does.
//!
//! | arrivals | gaps |
//! |---|---|
//! | constant | all the same |
//! | Poisson | exponential, independent: many senders that do not know each other |
//! | bursty | a switched process, below |
//! | bursts | on and off by the clock: so many within a span, then nothing until the next |
//! | ramp | even, at a rate that goes evenly from one to another, and stays there |
//! | steps | even, at rates that rise or fall step by step, and stay at the last |
//! | recorded | those of a capture, scaled: see [`Rhythm`](crate::feed::Rhythm) |
//!
//! The bursty model has two states. Within a burst messages follow each other at `intensity` times
//! the mean rate. After each message the burst ends with probability 1/`burst`, so that its size is
//! geometric with mean `burst`; then comes a pause, exponential, whose mean is what keeps the mean
//! rate at the one asked for. It is the simplest process with the two properties that hurt a queue:
//! runs of close arrivals, and no memory of when the last run was.
//!
//! Invariant: values only; a [`Schedule`](crate::feed::Schedule) makes times of them.

/// Highest rate of a schedule, in messages a second: one a nanosecond.
pub const RATE_MAX: f64 = 1e9;

/// Most steps of one schedule: a second each, they take a quarter of an hour.
pub const STEPS_MAX: u32 = 1_000;

/// How arrivals are spread in time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arrivals {
    /// Evenly, but for a two-thousandth of each gap: a [`Schedule`](crate::feed::Schedule) has the reason.
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
    /// On and off: a burst each `messages` mean gaps.
    Bursts {
        /// Messages of each burst, from 1.
        messages: u32,
        /// The span that they are spread over evenly, in nanoseconds; 0 is all at once. No longer
        /// than from one burst to the next.
        within_ns: u64,
    },
    /// From one rate to another, evenly, then on at that.
    Ramp {
        /// Messages a second at the start.
        from_per_s: f64,
        /// Messages a second at the end.
        to_per_s: f64,
        /// From the one to the other, in nanoseconds, above 0.
        over_ns: u64,
    },
    /// At rates in equal steps from one to another, then on at that.
    Steps {
        /// Messages a second of the first step.
        from_per_s: f64,
        /// Messages a second of the last step.
        to_per_s: f64,
        /// How many, the first and the last included: 1 to [`STEPS_MAX`].
        steps: u32,
        /// How long each takes, in nanoseconds, above 0.
        each_ns: u64,
    },
}

impl Arrivals {
    /// Whether they bring their own rates, so that a mean rate says nothing.
    #[must_use]
    pub const fn has_own_rate(self) -> bool {
        matches!(self, Arrivals::Ramp { .. } | Arrivals::Steps { .. })
    }

    /// The step that a message belongs to which is due so long after the start, and the step's rate in
    /// messages a second; `None` for arrivals without steps. What is due after the last step belongs
    /// to it as well.
    ///
    /// ```
    /// use hopline::feed::Arrivals;
    /// let steps = Arrivals::Steps { from_per_s: 1e4, to_per_s: 3e4, steps: 3, each_ns: 1_000_000_000 };
    /// assert_eq!(steps.step_at(999_999_999), Some((0, 1e4)));
    /// assert_eq!(steps.step_at(1_000_000_000), Some((1, 2e4)));
    /// assert_eq!(steps.step_at(u64::MAX), Some((2, 3e4)));
    /// ```
    #[must_use]
    pub fn step_at(self, after_ns: u64) -> Option<(u32, f64)> {
        let Arrivals::Steps {
            from_per_s,
            to_per_s,
            steps,
            each_ns,
        } = self
        else {
            return None;
        };
        let last = steps.saturating_sub(1);
        let step = after_ns / each_ns.max(1);
        let step = u32::try_from(step).unwrap_or(u32::MAX).min(last);
        let share = f64::from(step) / f64::from(last.max(1));
        Some((step, from_per_s + (to_per_s - from_per_s) * share))
    }
}
