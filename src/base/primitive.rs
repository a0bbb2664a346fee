//! The one door to atomics, cells and spin hints: std, or a checker's models.
//!
//! Everything that two threads share goes through here, so that the checkers see it: under
//! `cfg(loom)` every interleaving of a short story with every weak ordering, under `cfg(shuttle)`
//! random interleavings of long ones, all orderings taken as sequentially consistent.

#![allow(
    clippy::disallowed_types,
    reason = "this is the door that the lint points to"
)]

#[cfg(loom)]
pub use loom::sync::Arc;
#[cfg(shuttle)]
pub use shuttle::sync::Arc;
#[cfg(not(any(loom, shuttle)))]
pub use std::sync::Arc;
pub use std::sync::atomic::Ordering;

// Aliases instead of `pub use`: a re-export of the std types would trip the lint at every user.
/// An atomic `u64`.
#[cfg(not(any(loom, shuttle)))]
pub type AtomicU64 = std::sync::atomic::AtomicU64;
/// An atomic `u32`.
#[cfg(not(any(loom, shuttle)))]
pub type AtomicU32 = std::sync::atomic::AtomicU32;
/// An atomic `bool`.
#[cfg(not(any(loom, shuttle)))]
pub type AtomicBool = std::sync::atomic::AtomicBool;
/// An atomic `u64`, modelled.
#[cfg(loom)]
pub type AtomicU64 = loom::sync::atomic::AtomicU64;
/// An atomic `u64`, scheduled.
#[cfg(shuttle)]
pub type AtomicU64 = shuttle::sync::atomic::AtomicU64;
/// An atomic `u32`, modelled.
#[cfg(loom)]
pub type AtomicU32 = loom::sync::atomic::AtomicU32;
/// An atomic `u32`, scheduled.
#[cfg(shuttle)]
pub type AtomicU32 = shuttle::sync::atomic::AtomicU32;
/// An atomic `bool`, modelled.
#[cfg(loom)]
pub type AtomicBool = loom::sync::atomic::AtomicBool;
/// An atomic `bool`, scheduled.
#[cfg(shuttle)]
pub type AtomicBool = shuttle::sync::atomic::AtomicBool;

/// A fence between all that comes before and all that comes after, in one total order.
#[inline]
#[allow(
    clippy::disallowed_methods,
    reason = "this is the door that the lint points to"
)]
pub fn fence(order: Ordering) {
    #[cfg(not(any(loom, shuttle)))]
    std::sync::atomic::fence(order);
    #[cfg(loom)]
    loom::sync::atomic::fence(order);
    #[cfg(shuttle)]
    shuttle::sync::atomic::fence(order);
}

/// Tells the processor that this is a spin loop.
#[inline]
pub fn spin_hint() {
    #[cfg(not(any(loom, shuttle)))]
    std::hint::spin_loop();
    #[cfg(loom)]
    loom::thread::yield_now();
    #[cfg(shuttle)]
    shuttle::thread::yield_now();
}

/// A cell that two threads hand to each other; with the interface of loom's, so that the model
/// checker sees each access.
#[cfg(not(any(loom, shuttle)))]
#[derive(Debug)]
#[repr(transparent)]
pub struct Cell<T>(std::cell::UnsafeCell<T>);

#[cfg(not(any(loom, shuttle)))]
impl<T> Cell<T> {
    /// A cell that holds `value`.
    pub fn new(value: T) -> Cell<T> {
        Cell(std::cell::UnsafeCell::new(value))
    }

    /// Runs `f` with a pointer for reading. Nobody may write while it runs.
    #[inline(always)]
    pub fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
        f(self.0.get())
    }

    /// Runs `f` with a pointer for writing. Nobody else may read or write while it runs.
    #[inline(always)]
    pub fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.0.get())
    }
}

#[cfg(any(loom, shuttle))]
pub use modelled::Cell;

#[cfg(any(loom, shuttle))]
mod modelled;

/// Bytes that two threads hand to each other range by range: whole cache lines, zeroed at first.
///
/// A [`Cell`] holds one thing; a range here begins and ends where its users say. So that the model
/// checker sees each access all the same, it is given one cell a line to watch.
#[derive(Debug)]
pub struct Memory {
    lines: Box<[std::cell::UnsafeCell<Line>]>,
    #[cfg(any(loom, shuttle))]
    watched: Box<[Cell<()>]>,
}

#[derive(Debug)]
#[repr(C, align(64))]
struct Line([u8; Memory::LINE_BYTES]);

impl Memory {
    /// Bytes of a line; the memory begins at a multiple of it.
    pub const LINE_BYTES: usize = 64;

    /// Zeroed memory of so many lines, all of it touched.
    pub fn zeroed(lines: usize) -> Memory {
        Memory {
            lines: (0..lines)
                .map(|_| std::cell::UnsafeCell::new(Line([0; Memory::LINE_BYTES])))
                .collect(),
            #[cfg(any(loom, shuttle))]
            watched: (0..lines).map(|_| Cell::new(())).collect(),
        }
    }

    /// A pointer for reading the `len` bytes from `at`. Nobody may write them while it is used.
    ///
    /// The range has to lie inside the memory: this only checks it in debug builds.
    #[inline(always)]
    pub fn read(&self, at: usize, len: usize) -> *const u8 {
        #[cfg(any(loom, shuttle))]
        for cell in &self.watched[at / Self::LINE_BYTES..(at + len).div_ceil(Self::LINE_BYTES)] {
            cell.with(|_| ());
        }
        self.pointer(at, len)
    }

    /// A pointer for writing the `len` bytes from `at`. Nobody else may read or write them while it is used.
    ///
    /// The range has to lie inside the memory: this only checks it in debug builds.
    #[inline(always)]
    pub fn write(&self, at: usize, len: usize) -> *mut u8 {
        #[cfg(any(loom, shuttle))]
        for cell in &self.watched[at / Self::LINE_BYTES..(at + len).div_ceil(Self::LINE_BYTES)] {
            cell.with_mut(|_| ());
        }
        self.pointer(at, len)
    }

    #[inline(always)]
    fn pointer(&self, at: usize, len: usize) -> *mut u8 {
        debug_assert!(at + len <= size_of_val(&*self.lines));
        std::cell::UnsafeCell::raw_get(self.lines.as_ptr())
            .cast::<u8>()
            .wrapping_add(at)
    }
}

/// A count with one writer and any number of readers.
///
/// The writer adds with a plain load and store (no locked instruction), so a count costs as much
/// as a field; a reader may be late by what is still in the writer's store buffer, never wrong.
///
/// ```
/// use hopline::base::Counter;
/// let frames = Counter::default();
/// frames.add(3);
/// assert_eq!(frames.get(), 3);
/// ```
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only one thread may ever call this on a given counter: with two, counts are lost.
    #[inline(always)]
    pub fn add(&self, n: u64) {
        // Relaxed: a count publishes nothing but itself.
        let now = self.0.load(Ordering::Relaxed);
        self.0.store(now.wrapping_add(n), Ordering::Relaxed);
    }

    /// Raises the count to `value` if it is lower. Same single writer as [`Counter::add`].
    #[inline(always)]
    pub fn raise(&self, value: u64) {
        if value > self.0.load(Ordering::Relaxed) {
            self.0.store(value, Ordering::Relaxed);
        }
    }

    /// Sets the count. Same single writer as [`Counter::add`].
    #[inline(always)]
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The count as last stored.
    #[inline(always)]
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// So many [`Counter`]s, of any number: a closed set of reasons has one each.
#[derive(Debug)]
pub struct Counters<const N: usize>([Counter; N]);

impl<const N: usize> Default for Counters<N> {
    fn default() -> Counters<N> {
        Counters(core::array::from_fn(|_| Counter::default()))
    }
}

impl<const N: usize> core::ops::Deref for Counters<N> {
    type Target = [Counter];

    #[inline(always)]
    fn deref(&self) -> &[Counter] {
        &self.0
    }
}
