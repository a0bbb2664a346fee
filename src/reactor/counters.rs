//! What the outside can read of a loop.
//!
//! Invariant: one writer, the loop; any number of readers.

use crossbeam_utils::CachePadded;

use crate::base::Counter;
use crate::budget::Regimes;

/// What a loop shows of itself. One writer, any number of readers.
#[derive(Debug, Default)]
pub struct LoopCounters {
    /// Turns so far: the loop's heartbeat.
    pub turns: CachePadded<Counter>,
    /// The kernel's number of its thread; 0 before it ran, and without a thread of its own.
    pub thread: Counter,
    /// When the loop last did its housekeeping, in nanoseconds of the line's clock: within a millisecond of its last turn, or
    /// of the last turn before it was parked. 0 before the line ran.
    pub beat_ns: Counter,
    /// The node that has the turn, by its place on the loop, plus one; 0 between turns.
    pub current: Counter,
    /// Longest turn, without the idle time before it, in nanoseconds. The two counters behind it
    /// are stored after it: a reader of a running loop may see those of the turn before.
    pub turn_ns_max: Counter,
    /// The node that took the most of it, by its place on the loop, plus one; 0 before any turn.
    pub turn_max_node: Counter,
    /// When it ended, in nanoseconds of the line's clock.
    pub turn_max_at_ns: Counter,
    /// Where the loop's own time goes: idle, housekeeping, and what it was held back in its sleep.
    pub regimes: CachePadded<Regimes>,
    /// The time that is accounted for, in nanoseconds: from the start of the run to the last look
    /// at the clock. At the loop's end it is the sum of its regimes and those of its nodes.
    pub span_ns: Counter,
}
