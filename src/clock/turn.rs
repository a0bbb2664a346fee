//! The time of a turn, read once.

use crate::clock::Clock;

/// A time that is read once a turn and used for all that needs no stamp of its own (timers,
/// pacing, deadlines): it is late by at most the length of the turn, and never runs backwards.
///
/// ```
/// use hopline::clock::{Clock, Turn};
/// let (clock, time) = Clock::virtual_at(10);
/// let mut turn = Turn::begin(&clock);
/// time.advance_to(50);
/// assert_eq!(turn.now_ns(), 10);
/// assert_eq!(turn.next(&clock), 50);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    now_ns: u64,
}

impl Turn {
    /// The first turn, which begins now.
    #[inline]
    #[must_use]
    pub fn begin(clock: &Clock) -> Turn {
        Turn {
            now_ns: clock.now_ns(),
        }
    }

    /// Begins the next turn and returns its time, in nanoseconds of the clock.
    #[inline]
    pub fn next(&mut self, clock: &Clock) -> u64 {
        self.now_ns = self.now_ns.max(clock.now_ns());
        self.now_ns
    }

    /// When this turn began, in nanoseconds of the clock.
    #[inline]
    #[must_use]
    pub const fn now_ns(&self) -> u64 {
        self.now_ns
    }
}
