//! What it costs to read time.

use std::hint::black_box;

use hopline::clock::Clock;

use super::report::ClockReport;

/// Reads of one batch: long enough that the batch's own two stamps do not count.
const READS: u32 = 2_000;

/// Batches, of which the quickest is taken: what disturbs can only add.
const BATCHES: usize = 25;

/// Costs and step of `clock`; the skew between cores is somebody else's to find.
pub(super) fn measure(clock: &Clock, step_ns: u64) -> ClockReport {
    let os = Clock::os();
    ClockReport {
        kind: clock.kind().name(),
        stamp_ns: cost(clock, || clock.stamp()),
        stamp_after_ns: cost(clock, || clock.stamp_after()),
        os_ns: cost(clock, || os.stamp()),
        step_ns,
        skew_ns: None,
    }
}

/// Nanoseconds of one call, the quickest of all batches.
pub(super) fn cost<T>(clock: &Clock, mut call: impl FnMut() -> T) -> f64 {
    let mut batch = || {
        let begin_ns = clock.stamp();
        for _ in 0..READS {
            black_box(call());
        }
        clock.stamp_after().saturating_sub(begin_ns)
    };
    let quickest = (0..BATCHES).map(|_| batch()).min().unwrap_or(0);
    quickest as f64 / f64::from(READS)
}
