//! Hints to the cache: fetch a line before it is needed.
//!
//! A hint changes no value and never faults, whatever its address; where it is not stable (other
//! architectures) or would only confuse a checker (loom, miri) it is nothing.
//!
//! Invariant: removing this file changes no result, only times.

#![allow(
    unsafe_code,
    reason = "the hints are instructions that the language has no safe form for"
)]

use crate::base::limits::CACHE_LINE_BYTES;

/// Asks for the second cache line of `slot`, for reading, if it has one.
///
/// The consumer that waits on the commit word holds the first line by its polling; without this
/// it pays for the second one after the first has arrived (`benches/ring_spsc.rs`, hop slots).
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

/// Asks for the first two cache lines of `slot`, for writing.
///
/// The producer's next store then finds its line owned. With a slot a cache line this is worth a
/// factor of several in unit throughput; it is neutral for a ping-pong (`benches/ring_spsc.rs`).
#[inline(always)]
pub(crate) fn for_write<S>(slot: &S) {
    let address = (&raw const *slot).cast::<u8>();
    write(address);
    if size_of::<S>() > CACHE_LINE_BYTES {
        write(address.wrapping_add(CACHE_LINE_BYTES));
    }
}

#[inline(always)]
fn read(address: *const u8) {
    #[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch is architecturally a hint: it reads nothing into the program and does not fault.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }
    #[cfg(not(all(target_arch = "x86_64", not(loom), not(miri))))]
    let _ = address;
}

#[inline(always)]
fn write(address: *const u8) {
    #[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
    // By assembly: `_mm_prefetch` with its exclusive hint becomes `prefetcht0` unless the target
    // feature `prfchw` is on. The opcode (0F 0D /1) is older than x86-64; a processor without it treats it as no operation.
    // SAFETY: a prefetch is architecturally a hint: it changes no register, flag or memory and does not fault.
    unsafe {
        core::arch::asm!("prefetchw [{}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(all(target_arch = "x86_64", not(loom), not(miri))))]
    let _ = address;
}
