//! What the kernel knows of the calling thread: processor time, switches, faults.
//!
//! Together with a clock that goes on when the thread does not, this tells who took a stretch of time: the host, which
//! took the processor away, or the thread itself, which gave it up or made the kernel work.
//!
//! Source: `clock_gettime(2)` (CLOCK_THREAD_CPUTIME_ID, CLOCK_MONOTONIC_RAW), `getrusage(2)` (RUSAGE_THREAD, since Linux 2.6.26).
//!
//! Invariant: three system calls, about 0.3 us when they are warm and 1.5 us in a loop that rarely makes them; never in a
//! turn that goes well.

#![allow(
    unsafe_code,
    reason = "the thread's usage has no safe form; fenced here"
)]

use core::mem::MaybeUninit;

use rustix::time::{ClockId, Timespec, clock_gettime};

/// A reading of the calling thread's clocks and counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThreadUse {
    /// CLOCK_MONOTONIC_RAW, in nanoseconds.
    pub raw_ns: u64,
    /// Processor time of the thread, in nanoseconds.
    pub cpu_ns: u64,
    /// Times that it gave the processor up by itself.
    pub voluntary: u64,
    /// Times that the processor was taken from it.
    pub involuntary: u64,
    /// Page faults, those without a disk included.
    pub faults: u64,
}

impl ThreadUse {
    /// The calling thread now. Where the kernel does not tell, counts stay 0.
    #[must_use]
    pub fn now() -> ThreadUse {
        let usage = usage();
        let count = |value: i64| u64::try_from(value).unwrap_or(0);
        ThreadUse {
            // The processor time first: what passes between the two readings then counts as off it, never as negative.
            cpu_ns: nanoseconds(clock_gettime(ClockId::ThreadCPUTime)),
            raw_ns: nanoseconds(clock_gettime(ClockId::MonotonicRaw)),
            voluntary: usage.map_or(0, |usage| count(usage.ru_nvcsw)),
            involuntary: usage.map_or(0, |usage| count(usage.ru_nivcsw)),
            faults: usage.map_or(0, |usage| count(usage.ru_minflt) + count(usage.ru_majflt)),
        }
    }

    /// What happened between an earlier reading and this one.
    #[must_use]
    pub const fn since(&self, earlier: &ThreadUse) -> ThreadUse {
        ThreadUse {
            raw_ns: self.raw_ns.saturating_sub(earlier.raw_ns),
            cpu_ns: self.cpu_ns.saturating_sub(earlier.cpu_ns),
            voluntary: self.voluntary.saturating_sub(earlier.voluntary),
            involuntary: self.involuntary.saturating_sub(earlier.involuntary),
            faults: self.faults.saturating_sub(earlier.faults),
        }
    }

    /// Of a difference: the time for which the thread was on no processor, in nanoseconds.
    #[must_use]
    pub const fn off_cpu_ns(&self) -> u64 {
        self.raw_ns.saturating_sub(self.cpu_ns)
    }
}

fn nanoseconds(time: Timespec) -> u64 {
    (time.tv_sec as u64).wrapping_mul(1_000_000_000) + time.tv_nsec as u64
}

fn usage() -> Option<libc::rusage> {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is to a whole `rusage`, which the kernel fills.
    let status = unsafe { libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr()) };
    if status != 0 {
        return None;
    }
    // SAFETY: zeroed before, and all its fields are integers, so it is initialised whatever the kernel wrote.
    Some(unsafe { usage.assume_init() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_computes_is_on_its_processor_and_one_that_sleeps_gave_it_up() {
        let before = ThreadUse::now();
        while ThreadUse::now().since(&before).cpu_ns < 2_000_000 {}
        let computed = ThreadUse::now().since(&before);
        // The two are of different clocks, one of which is slewed.
        assert!(computed.raw_ns >= 1_990_000 && computed.cpu_ns >= 2_000_000);
        // A host that takes the processor away until the time is over leaves nothing to sleep for: that one does not count.
        let (tx, rx) = std::sync::mpsc::sync_channel::<()>(0);
        let mut sleeps = (0..100).map(|_| {
            let before = ThreadUse::now();
            let waited = rx.recv_timeout(std::time::Duration::from_millis(2));
            assert!(waited.is_err());
            ThreadUse::now().since(&before)
        });
        let slept = sleeps.find(|slept| slept.voluntary >= 1);
        assert!(
            slept.is_some_and(|slept| slept.off_cpu_ns() >= 1_000_000),
            "{slept:?}"
        );
        drop(tx);
    }

    #[test]
    fn a_page_that_is_touched_for_the_first_time_is_a_fault() {
        let before = ThreadUse::now();
        // More than the allocator ever keeps, whatever other tests have given back to it: mapped anew.
        let mut pages = Vec::with_capacity(40 << 20);
        pages.resize(64 << 10, 1u8);
        let after = ThreadUse::now().since(&before);
        assert!(
            pages[pages.len() - 1] == 1 && after.faults >= 1,
            "{after:?}"
        );
    }
}
