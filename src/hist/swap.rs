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
        // Acquire pairs with the Release in `Reader::ask`: the spare buffer has been emptied.
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
        // Release pairs with the Acquire in `Reader::collect`: the last buffer is the reader's, too.
        self.shared.ended.store(true, Ordering::Release);
    }
}

impl<T> Reader<T> {
    /// Asks the writer for what it has; does nothing if a request or an answer is on its way.
    pub fn ask(&mut self) {
        // Relaxed: only the reader moves on from IDLE.
        if self.shared.state.load(Ordering::Relaxed) == IDLE {
            // Release pairs with the Acquire in `Writer::hand_over_if_asked`.
            self.shared.state.store(ASKED, Ordering::Release);
        }
    }

    /// Runs `take` on each buffer that the writer has given away; true if there was any.
    ///
    /// `take` must leave the buffer empty, since the writer will fill it again. There is one buffer
    /// after a hand-over, and the writer's last one after its end; never waits.
    pub fn collect(&mut self, mut take: impl FnMut(&mut T)) -> bool {
        // Acquire pairs with the Release in `Writer::drop`. Read first: once it is true, the state
        // below is the last one that the writer left.
        let ended = self.shared.ended.load(Ordering::Acquire);
        let mut taken = false;
        // Acquire pairs with the store of HANDED in `Writer::hand_over_if_asked`.
        if self.shared.state.load(Ordering::Acquire) == HANDED {
            self.spare ^= 1;
            self.take_spare(&mut take);
            // Relaxed: the writer looks only for ASKED, whose Release covers the emptied buffer.
            self.shared.state.store(IDLE, Ordering::Relaxed);
            taken = true;
        }
        if ended && !self.taken_last {
            self.taken_last = true;
            self.spare ^= 1;
            self.take_spare(&mut take);
            taken = true;
        }
        taken
    }

    fn take_spare(&mut self, take: &mut impl FnMut(&mut T)) {
        self.shared.buffers[self.spare].with_mut(|buffer| {
            // SAFETY: `spare` was just set to a buffer that the writer gave away: by HANDED, after
            // which the writer is on the other one, or by its end, after which it touches none.
            take(unsafe { &mut *buffer });
        });
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
