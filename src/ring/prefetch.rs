//! Hints to the cache: fetch a line before it is needed.
//!
//! A hint changes no value and never faults, whatever its address; where it is not stable (other
//! architectures) or would only confuse a checker (loom, miri) it is nothing.
//!
//! Invariant: removing this file changes no result, only times.

#![allow(
    unsafe_code,
    reason = "the hint is an instruction that the language has no safe form for"
)]

use crate::base::limits::CACHE_LINE_BYTES;

/// Asks for the second cache line of `slot`, for reading, if it has one.
///
/// The consumer that waits on the commit word holds the first line by its polling; without this
/// it pays for the second one after the first has arrived: 5-10 % of a hop (`benches/ring_spsc.rs`).
#[inline(always)]
pub(crate) fn second_line_for_read<S>(slot: &S) {
    if size_of::<S>() > CACHE_LINE_BYTES {
        read(
            (&raw const *slot)
                .cast::<u8>()
                .wrapping_add(CACHE_LINE_BYTES),
        );
    }
}

#[inline(always)]
fn read(address: *const u8) {
    #[cfg(all(target_arch = "x86_64", not(any(loom, shuttle)), not(miri)))]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch is architecturally a hint: it reads nothing into the program and does not fault.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }
    #[cfg(not(all(target_arch = "x86_64", not(any(loom, shuttle)), not(miri))))]
    let _ = address;
}
