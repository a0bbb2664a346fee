//! Two buffers between one writer and one observer: the writer never waits.
//!
//! Public for the model (`tests/loom_hist.rs`), which runs it with a plain number as the buffer, and
//! for whatever else one thread fills and another looks at now and then.
//!
//! Who owns what, and who moves which arrow:
//!
//! ```text
//!           observer: ask             writer: hand over            observer: collect
//!   IDLE ------------------> ASKED ----------------------> HANDED --------------------> IDLE
//!   writer fills one         the observer has given        the writer fills the         the observer
//!   buffer, the observer     the spare one back            spare one, the observer      gives it back
//!   keeps the spare one                                    reads the filled one         empty
//! ```
//!
//! From IDLE and HANDED only the observer moves on, from ASKED only the writer: a plain store does.
//! When the writer ends it sets `ended`, and its own buffer goes to the observer in whatever state.
//!
//! Invariant: at any time each buffer has one owner, who learned of it by an Acquire.

#![allow(
    unsafe_code,
    reason = "two buffers change owners by a protocol that the compiler cannot see"
)]

use core::fmt;

use crossbeam_utils::CachePadded;

use crate::base::primitive::{Arc, AtomicBool, AtomicU32, Cell, Ordering};

const IDLE: u32 = 0;
const ASKED: u32 = 1;
const HANDED: u32 = 2;

/// Release, so that the observer sees all that the writer put into the buffer it hands over.
///
/// `--cfg planted_ordering` weakens it, only to show that the model would find that.
const HAND_OVER: Ordering = if cfg!(planted_ordering) {
    Ordering::Relaxed
} else {
    Ordering::Release
};

/// Release, so that the writer sees the spare buffer emptied. `--cfg planted_return` weakens it, for the model as well.
const ASK: Ordering = if cfg!(planted_return) {
    Ordering::Relaxed
} else {
    Ordering::Release
};

/// Release, so that the observer sees all of the writer's last buffer. `--cfg planted_close` weakens it, likewise.
const END: Ordering = if cfg!(planted_close) {
    Ordering::Relaxed
} else {
    Ordering::Release
};

/// Bytes of what the two handles share, but for the buffers.
pub(crate) const SHARED_BYTES: usize = size_of::<Shared<()>>();

struct Shared<T> {
    /// Apart, since one is written while the other is read.
    buffers: [CachePadded<Cell<T>>; 2],
    state: CachePadded<AtomicU32>,
    ended: AtomicBool,
}

// SAFETY: a buffer is touched only by its one owner, and becomes another thread's by a Release store
// that pairs with an Acquire load; so sharing this moves `T` between threads and never shares it.
unsafe impl<T: Send> Sync for Shared<T> {}

/// The side that fills.
pub struct Writer<T> {
    shared: Arc<Shared<T>>,
    mine: usize,
}

/// The side that asks and reads.
pub struct Reader<T> {
    shared: Arc<Shared<T>>,
    spare: usize,
    taken_last: bool,
}

/// Two handles on two buffers; both must be empty.
#[must_use]
pub fn pair<T>(first: T, second: T) -> (Writer<T>, Reader<T>) {
    let shared = Arc::new(Shared {
        buffers: [first, second].map(|buffer| CachePadded::new(Cell::new(buffer))),
        state: CachePadded::new(AtomicU32::new(IDLE)),
        ended: AtomicBool::new(false),
    });
    let writer = Writer {
        shared: shared.clone(),
        mine: 0,
    };
    let reader = Reader {
        shared,
        spare: 1,
        taken_last: false,
    };
    (writer, reader)
}

impl<T> Writer<T> {
    /// Runs `f` on the buffer that is being filled. No atomics.
    #[inline(always)]
    pub fn with<R>(&mut self, f: impl FnOnce(&mut T) -> R) -> R {
        self.shared.buffers[self.mine].with_mut(|buffer| {
            // SAFETY: `mine` is the writer's buffer until `hand_over_if_asked` or `drop` gives it
            // away, and both need the `&mut self` that is borrowed here.
            f(unsafe { &mut *buffer })
        })
    }

    /// Hands the buffer over if the reader asked, and goes on with the other; true if it did.
    ///
    /// One load, and one store when asked: wait-free.
    #[inline]
    pub fn hand_over_if_asked(&mut self) -> bool {
        // Acquire pairs with ASK in `Reader::ask`: the spare buffer has been emptied.
        if self.shared.state.load(Ordering::Acquire) != ASKED {
            return false;
        }
        self.mine ^= 1;
        // Pairs with the Acquire in `Reader::collect`.
        self.shared.state.store(HANDED, HAND_OVER);
        true
    }
}

impl<T> Drop for Writer<T> {
    fn drop(&mut self) {
        // Pairs with the Acquire in `Reader::collect`: the last buffer is the reader's, too.
        self.shared.ended.store(true, END);
    }
}

impl<T> Reader<T> {
    /// Asks the writer for what it has; does nothing if a request or an answer is on its way.
    pub fn ask(&mut self) {
        // Relaxed: only the reader moves on from IDLE.
        if self.shared.state.load(Ordering::Relaxed) == IDLE {
            // Pairs with the Acquire in `Writer::hand_over_if_asked`.
            self.shared.state.store(ASKED, ASK);
        }
    }

    /// Runs `take` on each buffer that the writer has given away; true if there was any.
    ///
    /// `take` must leave the buffer empty, since the writer will fill it again. There is one buffer
    /// after a hand-over, and the writer's last one after its end; never waits. If `take` panics, the
    /// buffer that it had counts as not collected: the next call shows it again, as `take` left it.
    pub fn collect(&mut self, mut take: impl FnMut(&mut T)) -> bool {
        // Acquire pairs with END in `Writer::drop`. Read first: once it is true, the state
        // below is the last one that the writer left.
        let ended = self.shared.ended.load(Ordering::Acquire);
        let mut taken = false;
        // Acquire pairs with the store of HANDED in `Writer::hand_over_if_asked`.
        if self.shared.state.load(Ordering::Acquire) == HANDED {
            self.take_other(&mut take);
            // Relaxed: the writer looks only for ASKED, whose Release covers the emptied buffer.
            self.shared.state.store(IDLE, Ordering::Relaxed);
            taken = true;
        }
        if ended && !self.taken_last {
            self.take_other(&mut take);
            self.taken_last = true;
            taken = true;
        }
        taken
    }

    /// Runs `take` on the buffer that the writer gave away, which is then the spare one. If `take` panics nothing has
    /// changed hands, and the next call comes to the same buffer.
    fn take_other(&mut self, take: &mut impl FnMut(&mut T)) {
        let other = self.spare ^ 1;
        self.shared.buffers[other].with_mut(|buffer| {
            // SAFETY: the writer gave this buffer away: by HANDED, after which it is on the spare one until it is asked
            // again, or by its end, after which it touches none. `spare` and the state (or `taken_last`) move on
            // together, once `take` has returned, so that neither says so of a buffer that the writer fills.
            take(unsafe { &mut *buffer });
        });
        self.spare = other;
    }

    /// Whether the writer has ended and all that it left has been collected.
    #[must_use]
    pub fn finished(&self) -> bool {
        self.taken_last
    }
}

impl<T> fmt::Debug for Writer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Reader<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("finished", &self.taken_last)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

    use super::*;

    /// A `take` that panics without a message.
    fn panicking(_: &mut u64) {
        resume_unwind(Box::new(()))
    }

    fn collect_panics(reader: &mut Reader<u64>) -> bool {
        catch_unwind(AssertUnwindSafe(|| reader.collect(panicking))).is_err()
    }

    fn collected(reader: &mut Reader<u64>) -> (Vec<*const u64>, u64) {
        let (mut places, mut sum) = (Vec::new(), 0);
        reader.collect(|buffer| {
            places.push(core::ptr::from_ref(buffer));
            sum += core::mem::take(buffer);
        });
        (places, sum)
    }

    #[test]
    fn a_take_that_panics_leaves_each_buffer_with_its_owner() {
        let (mut writer, mut reader) = pair(0, 0);
        writer.with(|buffer| *buffer = 1);
        reader.ask();
        assert!(writer.hand_over_if_asked());
        let filled = writer.with(|buffer| {
            *buffer = 10;
            core::ptr::from_ref(buffer)
        });
        assert!(collect_panics(&mut reader));
        let (places, sum) = collected(&mut reader);
        assert!(!places.contains(&filled), "the buffer that is being filled");
        assert_eq!((places.len(), sum), (1, 1));
        assert_eq!(collected(&mut reader), (vec![], 0));
        // The next hand-over gives that one, and the first comes back to the writer.
        reader.ask();
        assert!(writer.hand_over_if_asked());
        assert_eq!(writer.with(|buffer| core::ptr::from_ref(buffer)), places[0]);
        assert_eq!(collected(&mut reader), (vec![filled], 10));
    }

    #[test]
    fn a_take_that_panics_after_the_writers_end_loses_neither_buffer() {
        let (mut writer, mut reader) = pair(0, 0);
        writer.with(|buffer| *buffer = 1);
        reader.ask();
        assert!(writer.hand_over_if_asked());
        writer.with(|buffer| *buffer = 10);
        drop(writer);
        assert!(collect_panics(&mut reader));
        // The one that was handed over, and only then the last one.
        let mut seen = 0;
        let second = catch_unwind(AssertUnwindSafe(|| {
            reader.collect(|buffer| {
                if *buffer == 10 {
                    panicking(buffer);
                }
                seen += core::mem::take(buffer);
            })
        }));
        assert!(second.is_err());
        assert_eq!((seen, reader.finished()), (1, false));
        let (places, sum) = collected(&mut reader);
        assert_eq!((places.len(), sum, reader.finished()), (1, 10, true));
        assert_eq!(collected(&mut reader), (vec![], 0));
    }
}
