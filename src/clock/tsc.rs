//! The time stamp counter: reading it, and turning ticks into nanoseconds.
//!
//! Invariant: ticks become nanoseconds by one rising function of the tick alone, so all threads
//! agree, whenever they look and whether or not the rate is refined in between.
//!
//! Sources: Intel SDM vol. 3, 19.17 "Time-Stamp Counter" (invariant TSC; `rdtscp` waits until all
//! earlier loads are globally visible); the scale comes from the `quanta` crate.

#![allow(
    unsafe_code,
    reason = "the counter is read by processor intrinsics that are unsafe functions"
)]

use core::arch::x86_64::{__cpuid, __rdtscp, _rdtsc};

use crate::base::primitive::{AtomicU64, Ordering};
use crate::clock::os;

/// Rates are fixed point with this many bits after the point: a rate below 256 ns a tick fits.
const RATE_BITS: u32 = 56;

/// Shortest base for a refined rate, in nanoseconds: an anchor is good to about 20 ns, so 100 ms
/// gives better than one part per million.
const REFINE_BASE_NS: u64 = 100_000_000;

/// How far ahead a refined rate takes effect, in nanoseconds: every thread must know of it before
/// its ticks come up, even if the refining thread loses its core while it writes.
const REFINE_AHEAD_NS: u64 = 50_000_000;

/// Tries for an anchor; the one with the closest reads around it counts.
const ANCHOR_TRIES: usize = 16;

/// The counter now; may be executed before earlier loads have finished.
#[inline(always)]
pub(crate) fn read() -> u64 {
    // SAFETY: every x86-64 processor has `rdtsc`, and it touches no memory.
    unsafe { _rdtsc() }
}

/// The counter after all earlier loads.
#[inline(always)]
pub(crate) fn read_after() -> u64 {
    let mut core = 0;
    // SAFETY: a `Scale` exists only where `supported` found `rdtscp`; it writes only to `core`.
    unsafe { __rdtscp(&raw mut core) }
}

/// Whether the counter runs at one rate in all power states and `rdtscp` exists.
fn supported() -> bool {
    const EXTENDED: u32 = 0x8000_0000;
    const FEATURES: u32 = 0x8000_0001;
    const POWER: u32 = 0x8000_0007;
    const RDTSCP: u32 = 1 << 27;
    const INVARIANT: u32 = 1 << 8;
    cpuid(EXTENDED).0 >= POWER && cpuid(FEATURES).1 & RDTSCP != 0 && cpuid(POWER).1 & INVARIANT != 0
}

/// `eax` and `edx` of a leaf.
fn cpuid(leaf: u32) -> (u32, u32) {
    #[allow(
        unused_unsafe,
        reason = "the intrinsic is an unsafe function up to the oldest supported compiler"
    )]
    // SAFETY: every x86-64 processor has `cpuid`, and it touches no memory.
    let answer = unsafe { __cpuid(leaf) };
    (answer.eax, answer.edx)
}

/// A straight line from ticks to nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rate {
    tick: u64,
    ns: u64,
    /// Nanoseconds a tick, as fixed point.
    ns_per_tick: u64,
}

impl Rate {
    /// The nanosecond of `tick`. A tick before the anchor (another core's counter may lag by some
    /// nanoseconds) counts as the anchor.
    #[inline(always)]
    const fn ns(&self, tick: u64) -> u64 {
        let ticks = tick.saturating_sub(self.tick);
        self.ns
            .wrapping_add(((ticks as u128 * self.ns_per_tick as u128) >> RATE_BITS) as u64)
    }

    /// Ticks in `span_ns`.
    const fn ticks(&self, span_ns: u64) -> u64 {
        (((span_ns as u128) << RATE_BITS) / self.ns_per_tick as u128) as u64
    }
}

/// A tick and the `CLOCK_MONOTONIC` nanosecond at which it was read.
fn anchor() -> (u64, u64) {
    let mut closest = u64::MAX;
    let mut best = (0, 0);
    for _ in 0..ANCHOR_TRIES {
        let before = read_after();
        let ns = os::monotonic_ns();
        let after = read_after();
        let apart = after.saturating_sub(before);
        if apart < closest {
            closest = apart;
            best = (before + apart / 2, ns);
        }
    }
    best
}

/// The conversion: a coarse rate from the start, a refined one from some tick on.
#[derive(Debug)]
pub(crate) struct Scale {
    coarse: Rate,
    /// The tick from which the refined rate holds; `u64::MAX` until there is one.
    refined_from: AtomicU64,
    refined_ns: AtomicU64,
    refined_ns_per_tick: AtomicU64,
    /// 0 until a thread takes it upon itself to refine.
    refining: AtomicU64,
}

impl Scale {
    /// Calibrates, or `None` where the counter is not fit to be a clock.
    pub(crate) fn calibrate() -> Option<Scale> {
        if !supported() {
            return None;
        }
        let ns_per_tick = quanta::Clock::new().delta_as_nanos(0, 1 << RATE_BITS);
        // A frequency from 10 MHz to 100 GHz; anything else is a broken counter.
        const UNIT: u64 = 1 << RATE_BITS;
        if !(UNIT / 100..=UNIT * 100).contains(&ns_per_tick) {
            return None;
        }
        let (tick, ns) = anchor();
        Some(Scale::new(Rate {
            tick,
            ns,
            ns_per_tick,
        }))
    }

    fn new(coarse: Rate) -> Scale {
        Scale {
            coarse,
            refined_from: AtomicU64::new(u64::MAX),
            refined_ns: AtomicU64::new(0),
            refined_ns_per_tick: AtomicU64::new(0),
            refining: AtomicU64::new(0),
        }
    }

    /// The nanosecond of a tick.
    #[inline(always)]
    pub(crate) fn ns(&self, tick: u64) -> u64 {
        // Acquire pairs with the Release in `refine_at`: who sees the switch sees its rate.
        let from = self.refined_from.load(Ordering::Acquire);
        if tick < from {
            return self.coarse.ns(tick);
        }
        let refined = Rate {
            tick: from,
            ns: self.refined_ns.load(Ordering::Relaxed),
            ns_per_tick: self.refined_ns_per_tick.load(Ordering::Relaxed),
        };
        refined.ns(tick)
    }

    /// Refines the rate if the base is long enough and nobody has; true if it did.
    pub(crate) fn refine(&self) -> bool {
        let (tick, ns) = anchor();
        self.refine_at(tick, ns)
    }

    fn refine_at(&self, tick: u64, ns: u64) -> bool {
        let ticks = tick.saturating_sub(self.coarse.tick);
        let span_ns = ns.saturating_sub(self.coarse.ns);
        if span_ns < REFINE_BASE_NS || ticks == 0 {
            return false;
        }
        let rate = ((u128::from(span_ns)) << RATE_BITS) / u128::from(ticks);
        // Off by over 1 %: the counter or the kernel's clock has jumped (a suspended or migrated
        // guest), and the coarse rate is the better guess.
        let coarse = u128::from(self.coarse.ns_per_tick);
        if rate.abs_diff(coarse) > coarse / 100 {
            return false;
        }
        // Relaxed: it only picks the one thread that refines.
        if self.refining.swap(1, Ordering::Relaxed) != 0 {
            return false;
        }
        let from = tick.saturating_add(self.coarse.ticks(REFINE_AHEAD_NS));
        self.refined_ns
            .store(self.coarse.ns(from), Ordering::Relaxed);
        self.refined_ns_per_tick
            .store(rate as u64, Ordering::Relaxed);
        // Release pairs with the Acquire in `ns`.
        self.refined_from.store(from, Ordering::Release);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2.5 ticks a nanosecond, anchored far from zero.
    const COARSE: Rate = Rate {
        tick: 1 << 50,
        ns: 1 << 40,
        ns_per_tick: (1 << RATE_BITS) / 5 * 2,
    };

    #[test]
    fn ticks_become_nanoseconds() {
        assert_eq!(COARSE.ns(COARSE.tick), COARSE.ns);
        assert_eq!(COARSE.ns(COARSE.tick - 1), COARSE.ns);
        // Ten years of ticks: the product is wider than 64 bits.
        let span_ns = 10 * 365 * 86_400 * 1_000_000_000_u64;
        let got_ns = COARSE.ns(COARSE.tick + span_ns / 2 * 5) - COARSE.ns;
        assert!(got_ns.abs_diff(span_ns) <= 10, "{got_ns}");
        assert!(COARSE.ticks(1_000).abs_diff(2_500) <= 1);
    }

    #[test]
    fn a_refined_rate_bends_the_timeline_without_a_step() {
        let scale = Scale::new(COARSE);
        let ticks = 2_500_000_000;
        // The kernel says that a second has passed and 20 us: the coarse rate is 20 ppm slow.
        assert!(scale.refine_at(COARSE.tick + ticks, COARSE.ns + 1_000_020_000));
        let from = scale.refined_from.load(Ordering::Relaxed);
        assert_eq!(
            scale.ns(COARSE.tick + ticks),
            COARSE.ns(COARSE.tick + ticks)
        );
        assert!(scale.ns(from) - scale.ns(from - 1) <= 1);
        let second_ns = scale.ns(from + ticks) - scale.ns(from);
        assert!(second_ns.abs_diff(1_000_020_000) <= 1, "{second_ns}");
        // Once is enough.
        assert!(!scale.refine_at(COARSE.tick + 2 * ticks, COARSE.ns + 2_000_000_000));
    }

    #[test]
    fn a_short_base_or_a_jump_refines_nothing() {
        let scale = Scale::new(COARSE);
        for (ticks, span_ns) in [
            (0, 0),
            (0, REFINE_BASE_NS),
            (200_000_000, 80_000_000),
            (2_500_000_000, 1_100_000_000),
        ] {
            assert!(!scale.refine_at(COARSE.tick + ticks, COARSE.ns + span_ns));
        }
        assert_eq!(scale.refined_from.load(Ordering::Relaxed), u64::MAX);
    }

    #[test]
    fn the_real_counter_follows_the_kernel_once_refined() {
        let Some(scale) = Scale::calibrate() else {
            return;
        };
        while !scale.refine() {
            crate::base::primitive::spin_hint();
        }
        let from = scale.refined_from.load(Ordering::Relaxed);
        while read_after() < from {
            crate::base::primitive::spin_hint();
        }
        // A suspended thread cannot spoil this: both ends are anchors with close reads around them.
        let (tick, ns) = anchor();
        let drift_ns = scale.ns(tick).abs_diff(ns);
        assert!(drift_ns < 100_000, "{drift_ns}");
        let mut last_ns = 0;
        for _ in 0..1_000 {
            let now_ns = scale.ns(read_after());
            assert!(now_ns >= last_ns);
            last_ns = now_ns;
        }
    }
}
