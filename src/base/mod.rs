//! Words that every room uses: envelopes, reasons, positions, units, limits, and the one door to atomics.
//!
//! Invariant: nothing here knows a ring, a clock or the operating system.

pub mod backoff;
pub mod envelope;
pub mod limits;
pub mod one_in;
pub mod primitive;
pub mod prng;
pub mod reason;
pub mod sequence;
pub(crate) mod text;
pub mod units;

pub use backoff::{Backoff, Jitter};
pub use envelope::{Envelope, Flags};
pub use one_in::OneIn;
pub use primitive::{Counter, Counters};
pub use prng::Prng;
pub use reason::{Cause, Discard, Hangup, Lost, NoWhy, Reason, Reject, Shed};
pub use sequence::Sequence;

/// Addresses of what lies in a slice, for calls that give advice on memory.
#[must_use]
pub fn addresses<T>(memory: &[T]) -> core::ops::Range<usize> {
    let span = memory.as_ptr_range();
    span.start.addr()..span.end.addr()
}
