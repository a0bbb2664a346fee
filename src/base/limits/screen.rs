//! Limits of the way from the edge to a client's screen.
//!
//! Invariant: each has its reason, and what it must fit is checked when this is compiled.

use super::{EDGE_OUTPUT_BYTES, HIST_MAX_NS};

/// One event of so many, by its offset, is a sample of the way to a client's screen: a busy line has some of them a second, and
/// an answer to each would be as much traffic as the events.
pub const EDGE_SAMPLE_EVERY: u64 = 16;

/// Samples of a client that are on their way or wait for its answer: all that fit in its output, and an answer's time of
/// them behind these. The oldest go.
pub const EDGE_SAMPLES_WAITING_MAX: usize = 64;

/// How far a client's times may lie outside what can be by the server's clock, in nanoseconds: beyond, it does not know how far its
/// clock is off.
pub const EDGE_CLOCK_OFF_NS: u64 = 1_000_000_000;

/// How long after a sample was sent its times are taken, in nanoseconds: what is older was not waited for by anybody, and histograms
/// end there.
pub const EDGE_SAMPLE_NS_MAX: u64 = 60_000_000_000;

const _: () = assert!(EDGE_CLOCK_OFF_NS < EDGE_SAMPLE_NS_MAX && EDGE_SAMPLE_NS_MAX < HIST_MAX_NS);
// An event has 32 bytes and more of its own: its type, its channel and its offset.
const _: () =
    assert!(EDGE_SAMPLES_WAITING_MAX as u64 > EDGE_OUTPUT_BYTES as u64 / 32 / EDGE_SAMPLE_EVERY);
