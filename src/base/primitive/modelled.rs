//! The cell as the checkers see it.
//!
//! Invariant: an access that overlaps a write ends the run with a panic.

#[cfg(loom)]
mod inner {
    /// A cell that two threads hand to each other, modelled.
    #[derive(Debug)]
    pub struct Cell<T>(loom::cell::UnsafeCell<T>);

    impl<T> Cell<T> {
        /// A cell that holds `value`.
        pub fn new(value: T) -> Cell<T> {
            Cell(loom::cell::UnsafeCell::new(value))
        }

        /// Runs `f` with a pointer for reading. Nobody may write while it runs.
        pub fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
            self.0.with(f)
        }

        /// Runs `f` with a pointer for writing. Nobody else may read or write while it runs.
        pub fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
            self.0.with_mut(f)
        }
    }
}

#[cfg(shuttle)]
mod inner {
    use std::cell::UnsafeCell;
    use std::sync::atomic::{AtomicIsize, Ordering};

    /// What `holders` is while one writes.
    const WRITTEN: isize = -1;

    /// A cell that two threads hand to each other. The scheduler may switch threads inside an
    /// access, so that one which overlaps a write is found.
    #[derive(Debug)]
    pub struct Cell<T> {
        value: UnsafeCell<T>,
        /// How many read, or [`WRITTEN`]. Not a scheduled atomic: it belongs to the checker.
        holders: AtomicIsize,
    }

    impl<T> Cell<T> {
        /// A cell that holds `value`.
        pub fn new(value: T) -> Cell<T> {
            Cell {
                value: UnsafeCell::new(value),
                holders: AtomicIsize::new(0),
            }
        }

        /// Runs `f` with a pointer for reading. Nobody may write while it runs.
        pub fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
            let readers = self.holders.load(Ordering::SeqCst);
            assert!(readers != WRITTEN, "read while it is being written");
            let _hold = Hold::of(&self.holders, readers + 1, -1);
            shuttle::thread::yield_now();
            f(self.value.get())
        }

        /// Runs `f` with a pointer for writing. Nobody else may read or write while it runs.
        pub fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
            let holders = self.holders.load(Ordering::SeqCst);
            assert!(holders == 0, "written while others hold it: {holders}");
            let _hold = Hold::of(&self.holders, WRITTEN, -WRITTEN);
            shuttle::thread::yield_now();
            f(self.value.get())
        }
    }

    /// An access; it ends with the closure, by a panic too.
    struct Hold<'a> {
        holders: &'a AtomicIsize,
        undo: isize,
    }

    impl Hold<'_> {
        fn of(holders: &AtomicIsize, now: isize, undo: isize) -> Hold<'_> {
            holders.store(now, Ordering::SeqCst);
            Hold { holders, undo }
        }
    }

    impl Drop for Hold<'_> {
        fn drop(&mut self) {
            self.holders.fetch_add(self.undo, Ordering::SeqCst);
        }
    }
}

pub use inner::Cell;
