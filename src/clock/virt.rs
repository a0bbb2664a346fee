//! Virtual time: a number that its owner moves, for simulation and inline lines.
//!
//! Invariant: it moves only by [`VirtualTime`] and by stamps, never backwards, and never by itself.

use crate::base::primitive::{Arc, AtomicU64, Ordering};

/// Nanoseconds that a stamp moves virtual time by, unless set otherwise: about what two real stamps
/// are apart, so that a virtual hop has a plausible, non-zero span.
pub const TICK_NS_DEFAULT: u64 = 20;

// Relaxed throughout: the time publishes nothing but itself, and one atomic has one order for all.
#[derive(Debug)]
pub(crate) struct State {
    now_ns: AtomicU64,
    tick_ns: AtomicU64,
}

impl State {
    pub(crate) fn new(start_ns: u64) -> State {
        State {
            now_ns: AtomicU64::new(start_ns),
            tick_ns: AtomicU64::new(TICK_NS_DEFAULT),
        }
    }

    #[inline]
    pub(crate) fn now_ns(&self) -> u64 {
        self.now_ns.load(Ordering::Relaxed)
    }

    /// Moves by a tick and returns the time reached.
    #[inline]
    pub(crate) fn tick(&self) -> u64 {
        self.add(self.tick_ns.load(Ordering::Relaxed))
    }

    /// Moves by `span_ns`, at most to the end of time, and returns the time reached.
    #[inline]
    fn add(&self, span_ns: u64) -> u64 {
        let mut now_ns = self.now_ns();
        loop {
            let next_ns = now_ns.saturating_add(span_ns);
            match self.now_ns.compare_exchange_weak(
                now_ns,
                next_ns,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return next_ns,
                Err(actual_ns) => now_ns = actual_ns,
            }
        }
    }
}

/// The handle that moves a virtual clock; clones move the same one.
///
/// ```
/// use hopline::clock::Clock;
/// let (clock, time) = Clock::virtual_at(0);
/// time.advance_by(500);
/// time.advance_to(300); // already past: nothing happens
/// assert_eq!(clock.now_ns(), 500);
/// ```
#[derive(Clone, Debug)]
pub struct VirtualTime(Arc<State>);

impl VirtualTime {
    pub(crate) fn new(state: Arc<State>) -> VirtualTime {
        VirtualTime(state)
    }

    /// The time now, in nanoseconds. Reading does not move it.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        self.0.now_ns()
    }

    /// Moves time forward to `ns`; does nothing if it is already there or past it.
    pub fn advance_to(&self, ns: u64) {
        self.0.now_ns.fetch_max(ns, Ordering::Relaxed);
    }

    /// Moves time forward by `span_ns`; stops at the last nanosecond that 64 bits can name.
    pub fn advance_by(&self, span_ns: u64) {
        self.0.add(span_ns);
    }

    /// How far each stamp moves time, in nanoseconds.
    #[must_use]
    pub fn tick_ns(&self) -> u64 {
        self.0.tick_ns.load(Ordering::Relaxed)
    }

    /// Sets how far each stamp moves time, in nanoseconds; 0 makes stamps stand still.
    pub fn set_tick_ns(&self, tick_ns: u64) {
        self.0.tick_ns.store(tick_ns, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use crate::clock::{Clock, TICK_NS_DEFAULT};

    #[test]
    fn it_moves_exactly_as_told() {
        let (clock, time) = Clock::virtual_at(1_000);
        assert_eq!(clock.now_ns(), 1_000);
        assert_eq!(clock.now_ns(), 1_000);
        assert_eq!(clock.stamp(), 1_000 + TICK_NS_DEFAULT);
        assert_eq!(clock.stamp_after(), 1_000 + 2 * TICK_NS_DEFAULT);
        time.set_tick_ns(0);
        assert_eq!(time.tick_ns(), 0);
        time.advance_to(5_000);
        time.advance_by(7);
        time.advance_to(1);
        assert_eq!(clock.stamp(), 5_007);
        assert_eq!(clock.wall_ns(), 5_007);
        time.advance_by(u64::MAX);
        assert_eq!(clock.stamp(), u64::MAX);
    }

    #[test]
    fn all_threads_share_one_time() {
        let (clock, time) = Clock::virtual_at(0);
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let clock = clock.clone();
                std::thread::spawn(move || (0..1_000).map(|_| clock.stamp()).collect::<Vec<_>>())
            })
            .collect();
        let mut stamps: Vec<u64> = threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect();
        stamps.sort_unstable();
        let expected: Vec<u64> = (1..=2_000).map(|n| n * TICK_NS_DEFAULT).collect();
        assert_eq!(stamps, expected);
        assert_eq!(time.now_ns(), 2_000 * TICK_NS_DEFAULT);
    }
}
