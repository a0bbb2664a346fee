//! From the wall clock to a line's clock: what a stamp of the kernel means on the line.
//!
//! The kernel stamps datagrams on `CLOCK_REALTIME`, which somebody may set and which is steered all
//! the time; a line counts on the scale of `CLOCK_MONOTONIC`. Their difference is measured between
//! two reads of the line's clock and measured again every [`REFRESH_NS`] of use: a clock that is
//! steered by 500 parts per million (the most that the kernel does) moves half a microsecond in that
//! time. A greater change is a *step*: somebody set the clock.
//!
//! Invariant: a mapped stamp is never after the time of its receipt, and never before the socket was
//! opened or the wall clock last stepped; what would be, is clamped to the receipt and counted.

use crate::clock::Clock;

/// How long a measured difference is used, in nanoseconds.
pub const REFRESH_NS: u64 = 1_000_000;

/// Tries for a difference; the one with the closest reads around it counts.
const TRIES: usize = 3;

/// Widest pair of reads around the wall clock that counts, in nanoseconds: beyond it the thread lost
/// its core in between, and the old difference is better.
const BRACKET_NS_MAX: u64 = 5_000;

/// What a stamp may seem to be ahead of its receipt, in nanoseconds, without anything being wrong:
/// the measured difference is good to a part of [`BRACKET_NS_MAX`].
const SLACK_NS: u64 = BRACKET_NS_MAX;

/// A change of the difference that no steering explains: this, and 1/1000 of the time since the last
/// measurement (twice what the kernel steers by), in nanoseconds.
const STEP_NS: u64 = 50_000;

/// Age from which a stamp is believed only by a difference measured within [`SUSPECT_FRESH_NS`]: the
/// clock may have been set since. In nanoseconds.
const SUSPECT_AGE_NS: u64 = 200_000;

/// See [`SUSPECT_AGE_NS`]. Bounds how often a backlog has it measured.
const SUSPECT_FRESH_NS: u64 = 50_000;

/// A stamp on the line's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// In nanoseconds of the line's clock; at most the time of receipt.
    pub at_ns: u64,
    /// The stamp made no sense, and the time of receipt stands for it.
    pub clamped: bool,
}

/// The difference between the wall clock and a line's clock.
///
/// ```
/// use hopline::clock::{Clock, WallMap};
/// let (clock, time) = Clock::virtual_at(1_000);
/// let mut map = WallMap::new(&clock, 1_000);
/// time.advance_to(9_000);
/// // Virtual time is its own wall time.
/// assert_eq!(map.line_ns(&clock, 5_000, clock.now_ns()).at_ns, 5_000);
/// assert!(map.line_ns(&clock, 900_000, clock.now_ns()).clamped);
/// ```
#[derive(Clone, Debug)]
pub struct WallMap {
    /// Wall time less the line's time.
    offset_ns: i128,
    measured_at_ns: u64,
    /// Nothing can have been stamped before it.
    floor_ns: u64,
    steps: u64,
}

impl WallMap {
    /// The difference now. Stamps from before `floor_ns` of the line's clock make no sense.
    #[must_use]
    pub fn new(clock: &Clock, floor_ns: u64) -> WallMap {
        let (at_ns, offset_ns, _) = measure(clock);
        WallMap {
            offset_ns,
            measured_at_ns: at_ns,
            floor_ns,
            steps: 0,
        }
    }

    /// How often the wall clock was seen to have been set.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Measures again if the last time is [`REFRESH_NS`] ago. `now_ns` is the line's time.
    #[inline]
    pub fn refresh_if_due(&mut self, clock: &Clock, now_ns: u64) {
        if now_ns.saturating_sub(self.measured_at_ns) >= REFRESH_NS {
            self.refresh(clock);
        }
    }

    fn refresh(&mut self, clock: &Clock) {
        let (at_ns, offset_ns, apart_ns) = measure(clock);
        self.observe(at_ns, offset_ns, apart_ns);
    }

    /// Takes a measurement over, if it is good.
    fn observe(&mut self, at_ns: u64, offset_ns: i128, apart_ns: u64) {
        if apart_ns > BRACKET_NS_MAX {
            return;
        }
        let since_ns = at_ns.saturating_sub(self.measured_at_ns);
        let moved_ns = offset_ns.abs_diff(self.offset_ns);
        if moved_ns > u128::from(STEP_NS + since_ns / 1_000) {
            self.steps += 1;
            // Nobody can tell on which side of the step an earlier stamp was taken.
            self.floor_ns = at_ns;
        }
        self.offset_ns = offset_ns;
        self.measured_at_ns = at_ns;
    }

    /// The wall time of a time of the line's clock, in nanoseconds since 1970: as good as the last measurement.
    #[inline]
    #[must_use]
    pub fn wall_ns(&self, line_ns: u64) -> u64 {
        u64::try_from(i128::from(line_ns) + self.offset_ns).unwrap_or(0)
    }

    /// What a stamp of the wall clock is on the line's clock, for something received at `now_ns`.
    #[inline]
    pub fn line_ns(&mut self, clock: &Clock, wall_ns: u64, now_ns: u64) -> Mapped {
        let mapped = self.map(wall_ns, now_ns);
        let age_ns = now_ns.saturating_sub(mapped.at_ns);
        if !mapped.clamped
            && age_ns > SUSPECT_AGE_NS
            && now_ns.saturating_sub(self.measured_at_ns) > SUSPECT_FRESH_NS
        {
            self.refresh(clock);
            return self.map(wall_ns, now_ns);
        }
        mapped
    }

    fn map(&self, wall_ns: u64, now_ns: u64) -> Mapped {
        let at_ns = i128::from(wall_ns) - self.offset_ns;
        let known = i128::from(self.floor_ns.saturating_sub(SLACK_NS))
            ..=i128::from(now_ns.saturating_add(SLACK_NS));
        let clamped = !known.contains(&at_ns);
        Mapped {
            // Within the range it is no less than 0 and fits.
            at_ns: if clamped {
                now_ns
            } else {
                (at_ns as u64).min(now_ns)
            },
            clamped,
        }
    }
}

/// The line's time, wall time less the line's time, and how far apart the reads around it were.
fn measure(clock: &Clock) -> (u64, i128, u64) {
    let mut best = (0, 0, u64::MAX);
    for _ in 0..TRIES {
        let before_ns = clock.now_ns();
        let wall_ns = clock.wall_ns();
        let after_ns = clock.now_ns();
        let apart_ns = after_ns.saturating_sub(before_ns);
        if apart_ns < best.2 {
            let at_ns = before_ns + apart_ns / 2;
            best = (at_ns, i128::from(wall_ns) - i128::from(at_ns), apart_ns);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH_NS: i128 = 1_700_000_000_000_000_000;

    /// A map at line time 1 s, with that difference.
    fn map() -> WallMap {
        WallMap {
            offset_ns: EPOCH_NS,
            measured_at_ns: 1_000_000_000,
            floor_ns: 1_000_000_000,
            steps: 0,
        }
    }

    fn wall_ns(line_ns: i128) -> u64 {
        (EPOCH_NS + line_ns) as u64
    }

    #[test]
    fn a_stamp_becomes_its_own_time_and_never_one_after_its_receipt() {
        let map = map();
        let now_ns = 1_000_100_000;
        let good = |at_ns| Mapped {
            at_ns,
            clamped: false,
        };
        let clamped = Mapped {
            at_ns: now_ns,
            clamped: true,
        };
        assert_eq!(map.map(wall_ns(1_000_090_000), now_ns), good(1_000_090_000));
        assert_eq!(
            map.map(wall_ns(1_000_100_000 + 4_000), now_ns),
            good(now_ns)
        );
        assert_eq!(map.map(wall_ns(1_000_100_000 + 6_000), now_ns), clamped);
        assert_eq!(
            map.map(wall_ns(999_000_000), now_ns),
            clamped,
            "before it was opened"
        );
        for absurd in [0, 1, u64::MAX] {
            assert_eq!(map.map(absurd, now_ns), clamped);
        }
    }

    #[test]
    fn steering_is_followed_and_a_step_is_counted_and_forgets_the_past() {
        let mut map = map();
        map.observe(1_001_000_000, EPOCH_NS + 500, 100);
        assert_eq!((map.steps, map.offset_ns), (0, EPOCH_NS + 500));
        // A second without a look: 0.5 ms of steering is none either.
        map.observe(2_001_000_000, EPOCH_NS + 500_500, 100);
        assert_eq!(map.steps, 0);
        for (seconds, steps) in [(10, 1), (-10, 2)] {
            let at_ns = 2_001_000_000 + 1_000_000 * steps;
            let offset_ns = EPOCH_NS + seconds * 1_000_000_000;
            map.observe(at_ns, offset_ns, 100);
            assert_eq!((map.steps, map.floor_ns), (steps, at_ns));
            // Stamped right before the step, by either clock: no huge latency.
            for wall in [EPOCH_NS, offset_ns].map(|offset| offset + i128::from(at_ns) - 20_000) {
                let mapped = map.map(wall as u64, at_ns + 10_000);
                assert!(mapped.at_ns <= at_ns + 10_000 && mapped.at_ns + 30_000 > at_ns);
            }
        }
    }

    #[test]
    fn a_measurement_that_was_interrupted_changes_nothing() {
        let mut map = map();
        map.observe(1_001_000_000, 0, BRACKET_NS_MAX + 1);
        assert_eq!((map.steps, map.offset_ns), (0, EPOCH_NS));
    }

    #[test]
    fn an_old_stamp_is_believed_only_by_a_fresh_difference() {
        let clock = Clock::os();
        let mut map = WallMap::new(&clock, 0);
        // Somebody sets the wall clock back by ten seconds: planted in the difference.
        map.offset_ns += 10_000_000_000;
        let now_ns = clock.now_ns();
        map.measured_at_ns = now_ns - REFRESH_NS;
        let mapped = map.line_ns(&clock, clock.wall_ns(), now_ns);
        assert!(now_ns - mapped.at_ns < 1_000_000_000, "{mapped:?}");
        assert_eq!(map.steps(), 1);
    }

    #[test]
    fn real_clocks_map_the_wall_to_now() {
        for clock in [Clock::calibrated(), Clock::os()] {
            let mut map = WallMap::new(&clock, 0);
            let wall_ns = clock.wall_ns();
            let now_ns = clock.now_ns();
            let mapped = map.line_ns(&clock, wall_ns, now_ns);
            assert!(!mapped.clamped && now_ns - mapped.at_ns < 5_000_000);
        }
    }
}
