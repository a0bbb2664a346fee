//! An allocator that counts, for tests that prove that nothing is allocated.
//!
//! Invariant: every call is passed on to the system's allocator unchanged.

#![expect(
    unsafe_code,
    reason = "a global allocator can only be written with unsafe"
)]
#![allow(dead_code, reason = "each test binary uses one of the ways to count")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::Ordering;

use hopline::base::primitive::{AtomicBool, AtomicU64};

thread_local! {
    // Of this thread alone, because the test harness allocates on its own.
    static OWN: Cell<u64> = const { Cell::new(0) };
    // Bytes that this thread has allocated and not freed, and the most of them; what another thread
    // frees is not taken off.
    static LIVE: Cell<i64> = const { Cell::new(0) };
    static PEAK: Cell<i64> = const { Cell::new(0) };
    static EXEMPT: Cell<bool> = const { Cell::new(false) };
}

static ARMED: AtomicBool = AtomicBool::new(false);
static OTHERS: AtomicU64 = AtomicU64::new(0);

/// The allocator; a test binary makes it its global one.
pub(crate) struct Counting;

fn count() {
    OWN.set(OWN.get() + 1);
    if ARMED.load(Ordering::Relaxed) && !EXEMPT.get() {
        OTHERS.fetch_add(1, Ordering::Relaxed);
    }
}

fn weigh(bytes: i64) {
    LIVE.set(LIVE.get() + bytes);
    PEAK.set(PEAK.get().max(LIVE.get()));
}

// SAFETY: every call is passed on to the system's allocator as it came; counting touches atomics
// and const-initialised thread-locals without destructors, which allocate nothing.
unsafe impl GlobalAlloc for Counting {
    /// # Safety
    /// As the trait's.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        weigh(layout.size() as i64);
        // SAFETY: the caller keeps `alloc`'s contract, which is the system's.
        unsafe { System.alloc(layout) }
    }

    /// # Safety
    /// As the trait's.
    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        weigh(-(layout.size() as i64));
        // SAFETY: `place` comes from `alloc` above, hence from the system, with this layout.
        unsafe { System.dealloc(place, layout) }
    }
}

/// Allocations of this thread while `work` runs.
pub(crate) fn counted(work: impl FnOnce()) -> u64 {
    let before = OWN.get();
    work();
    OWN.get() - before
}

/// Most bytes that `work` holds at a time on this thread, beyond what was there before.
pub(crate) fn peak(work: impl FnOnce()) -> u64 {
    let before = LIVE.get();
    PEAK.set(before);
    work();
    (PEAK.get() - before).max(0) as u64
}

/// Allocations of all threads but this one while `work` runs.
pub(crate) fn counted_elsewhere(work: impl FnOnce()) -> u64 {
    EXEMPT.set(true);
    let before = OTHERS.load(Ordering::Relaxed);
    ARMED.store(true, Ordering::Relaxed);
    work();
    ARMED.store(false, Ordering::Relaxed);
    OTHERS.load(Ordering::Relaxed) - before
}
