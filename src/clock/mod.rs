//! Time as a value: one clock for a line, real or virtual, and the only room that reads time.
//!
//! Words:
//! - *stamp*: the time at a point of the code, in nanoseconds (`u64`). [`Clock::stamp`] comes before
//!   a publish; [`Clock::stamp_after`] comes after a pop.
//! - *timeline*: real clocks count nanoseconds on the scale of `CLOCK_MONOTONIC`, so that a stamp
//!   can be set beside what the kernel reports; a virtual clock counts from where it was started.
//! - *wall time*: nanoseconds since the Unix epoch; it may jump, so nothing is measured with it.
//!
//! The stamp counter starts coarse (the `quanta` crate calibrates it, usually in under a
//! millisecond, to some 20 parts per million) and is refined once, on the control path, by
//! [`Clock::refine`]: a run of minutes then stays within microseconds of the kernel's clock.
//!
//! Invariant: time enters the house here and nowhere else; no clock waits, sleeps or allocates when
//! it is read.

mod os;
#[cfg(target_arch = "x86_64")]
mod tsc;
mod turn;
mod virt;
mod wall;

use core::fmt;

use crate::base::primitive::Arc;
#[cfg(target_arch = "x86_64")]
use tsc::Scale;
pub use turn::Turn;
pub use virt::{TICK_NS_DEFAULT, VirtualTime};
pub use wall::{Mapped, REFRESH_NS, WallMap};

/// A clock: cheap to clone, and all clones tell the same time.
///
/// Which kind it is never changes, so the branch in a read is always predicted.
///
/// ```
/// use hopline::clock::Clock;
/// let (clock, time) = Clock::virtual_at(1_000);
/// time.set_tick_ns(5);
/// assert_eq!(clock.stamp(), 1_005);
/// time.advance_to(2_000);
/// assert_eq!(clock.now_ns(), 2_000);
/// ```
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    #[cfg(target_arch = "x86_64")]
    Tsc(Arc<Scale>),
    Os,
    Virtual(Arc<virt::State>),
}

/// Where a clock takes its time from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockKind {
    /// The processor's time stamp counter.
    Tsc,
    /// The operating system's `CLOCK_MONOTONIC`.
    Os,
    /// A number that its owner moves.
    Virtual,
}

impl ClockKind {
    /// The name as reports write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            ClockKind::Tsc => "tsc",
            ClockKind::Os => "os",
            ClockKind::Virtual => "virtual",
        }
    }
}

impl fmt::Display for ClockKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Clock {
    /// The best real clock of this machine: the time stamp counter where it is invariant, else the
    /// operating system's clock.
    ///
    /// Blocks while `quanta` calibrates: measured 0.6 ms to 0.9 ms on a busy two-core guest, bounded
    /// by that crate at 200 ms, once in a process. On processors other than x86-64 this is
    /// [`Clock::os`], which reads the same architectural counter there without a system call.
    ///
    /// The processor cannot tell whether its sockets agree; the kernel checks that. Where the
    /// kernel's own clock source is not `tsc`, take [`Clock::os`].
    #[must_use]
    pub fn calibrated() -> Clock {
        #[cfg(target_arch = "x86_64")]
        if let Some(scale) = Scale::calibrate() {
            return Clock(Source::Tsc(Arc::new(scale)));
        }
        Clock::os()
    }

    /// The operating system's monotonic clock.
    #[must_use]
    pub const fn os() -> Clock {
        Clock(Source::Os)
    }

    /// A clock that stands at `start_ns` and the handle that moves it.
    ///
    /// Each stamp moves it on by [`VirtualTime::tick_ns`] as well, so that spans between stamps are
    /// above zero and the same in every run.
    #[must_use]
    pub fn virtual_at(start_ns: u64) -> (Clock, VirtualTime) {
        let state = Arc::new(virt::State::new(start_ns));
        (
            Clock(Source::Virtual(state.clone())),
            VirtualTime::new(state),
        )
    }

    /// The time now, to be taken before a publish.
    ///
    /// On the stamp counter a plain `rdtsc`: it does not wait for what precedes it, which costs
    /// least and cannot make the frame look younger than it is.
    #[inline]
    #[must_use]
    pub fn stamp(&self) -> u64 {
        match &self.0 {
            #[cfg(target_arch = "x86_64")]
            Source::Tsc(scale) => scale.ns(tsc::read()),
            Source::Os => os::monotonic_ns(),
            Source::Virtual(state) => state.tick(),
        }
    }

    /// The time now, to be taken after a pop.
    ///
    /// On the stamp counter `rdtscp`: it waits for the loads before it, whereas a plain `rdtsc`
    /// after a spin loop is executed early, before the frame has arrived.
    #[inline]
    #[must_use]
    pub fn stamp_after(&self) -> u64 {
        match &self.0 {
            #[cfg(target_arch = "x86_64")]
            Source::Tsc(scale) => scale.ns(tsc::read_after()),
            Source::Os => os::monotonic_ns(),
            Source::Virtual(state) => state.tick(),
        }
    }

    /// The time now for the control path. A virtual clock does not move when it is read this way.
    #[inline]
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        match &self.0 {
            Source::Virtual(state) => state.now_ns(),
            _ => self.stamp(),
        }
    }

    /// Wall time in nanoseconds since the Unix epoch. Control path; it may jump.
    ///
    /// Virtual time is its own wall time: start it at a Unix time where that matters.
    #[must_use]
    pub fn wall_ns(&self) -> u64 {
        match &self.0 {
            Source::Virtual(state) => state.now_ns(),
            _ => os::wall_ns(),
        }
    }

    /// Where the time comes from.
    #[must_use]
    pub const fn kind(&self) -> ClockKind {
        match &self.0 {
            #[cfg(target_arch = "x86_64")]
            Source::Tsc(_) => ClockKind::Tsc,
            Source::Os => ClockKind::Os,
            Source::Virtual(_) => ClockKind::Virtual,
        }
    }

    /// Whether time is a number that its owner moves.
    #[must_use]
    pub const fn is_virtual(&self) -> bool {
        matches!(self.0, Source::Virtual(_))
    }

    /// Corrects the rate of the stamp counter against the kernel's clock; true if it did.
    ///
    /// Call it on the control path now and then: before 100 ms of life it does nothing, since the
    /// base would be too short; then it acts once, for all clones. The timeline stays continuous and
    /// keeps the offset gathered until then (a few microseconds a second at most).
    pub fn refine(&self) -> bool {
        match &self.0 {
            #[cfg(target_arch = "x86_64")]
            Source::Tsc(scale) => scale.refine(),
            _ => false,
        }
    }

    /// What a stamp costs here, in nanoseconds: the median over batches. Control path, about 0.2 ms;
    /// 0 for a virtual clock, which is not read for it.
    #[must_use]
    pub fn cost_ns(&self) -> f64 {
        const BATCHES: usize = 101;
        const STAMPS: u32 = 64;
        if self.is_virtual() {
            return 0.0;
        }
        let mut costs = [0u64; BATCHES];
        for cost in &mut costs {
            let start_ns = self.stamp_after();
            for _ in 0..STAMPS {
                core::hint::black_box(self.stamp());
            }
            *cost = self.stamp_after().saturating_sub(start_ns);
        }
        costs.sort_unstable();
        costs[BATCHES / 2] as f64 / f64::from(STAMPS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn real() -> [Clock; 2] {
        [Clock::calibrated(), Clock::os()]
    }

    #[test]
    fn real_clocks_never_run_backwards_on_a_thread() {
        for clock in real() {
            let mut last_ns = 0;
            for _ in 0..50_000 {
                for now_ns in [clock.stamp_after(), clock.stamp_after()] {
                    assert!(now_ns >= last_ns, "{}", clock.kind());
                    last_ns = now_ns;
                }
            }
            assert!(clock.stamp() > 0);
        }
    }

    #[test]
    fn real_clocks_stand_on_the_timeline_of_the_kernel() {
        for clock in real() {
            let before_ns = os::monotonic_ns();
            let now_ns = clock.now_ns();
            let after_ns = os::monotonic_ns();
            // The slack covers the drift of a coarse scale since its anchor.
            assert!(now_ns + 1_000_000 > before_ns && now_ns < after_ns + 1_000_000);
        }
    }

    /// Elapsed by the clock and by the standard library over the same busy span.
    #[allow(
        clippy::disallowed_methods,
        reason = "the standard library's clock is the oracle"
    )]
    fn spans(clock: &Clock, least_ns: u64) -> (f64, f64) {
        let start = std::time::Instant::now();
        let start_ns = clock.now_ns();
        while (start.elapsed().as_nanos() as u64) < least_ns {
            crate::base::primitive::spin_hint();
        }
        let span_ns = clock.now_ns() - start_ns;
        (span_ns as f64, start.elapsed().as_nanos() as f64)
    }

    #[test]
    fn real_clocks_agree_with_the_standard_library() {
        for clock in real() {
            // A thread may lose its core between the two reads, so the best of a few must agree.
            let best = (0..20)
                .map(|_| spans(&clock, 5_000_000))
                .map(|(span, oracle)| (span - oracle).abs() / oracle)
                .fold(f64::MAX, f64::min);
            assert!(best < 1e-3, "{}: {best}", clock.kind());
        }
    }

    #[test]
    fn wall_time_is_this_century() {
        for clock in real() {
            assert!(clock.wall_ns() > 1_600_000_000_000_000_000);
        }
    }

    #[test]
    fn the_cost_of_a_stamp_is_measured() {
        for clock in real() {
            let cost_ns = clock.cost_ns();
            assert!(cost_ns > 0.1 && cost_ns < 100_000.0, "{cost_ns}");
        }
        assert!(Clock::virtual_at(7).0.cost_ns() == 0.0);
    }

    #[test]
    fn names_are_those_of_the_reports() {
        let names = [ClockKind::Tsc, ClockKind::Os, ClockKind::Virtual].map(ClockKind::name);
        assert_eq!(names, ["tsc", "os", "virtual"]);
        assert_eq!(Clock::os().kind(), ClockKind::Os);
        assert!(!Clock::os().is_virtual() && Clock::virtual_at(0).0.is_virtual());
        assert!(!Clock::os().refine());
    }
}
