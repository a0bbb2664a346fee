//! The algorithm behind the multicast ring: one producer, readers in place, barriers between them.
//!
//! Slots carry their commit words as in [`crate::ring::stamped`], and each reader has a *head* on
//! cache lines of its own. A reader at the front of the graph looks at commit words; one that follows
//! others looks only at their heads, and reads what all of them have passed. The producer looks at
//! the heads of those that nobody follows, and keeps the slowest as it saw it. A reader that has
//! closed counts as passed: who looked at its head looks at those before it instead, and in the end at
//! the commit words.
//!
//! After the sequence barriers of Thompson, Farley, Barker, Gee and Stewart, "Disruptor: High
//! performance alternative to bounded queues for exchanging data between concurrent threads" (2011).
//!
//! Invariant: the producer touches a slot's content only after every open reader has passed it; a
//! reader only after the stamp, or after all that it follows have passed it, and never once it has closed.

#![allow(
    unsafe_code,
    reason = "lends slots to several threads at once by commit words and heads"
)]

use core::fmt;
use core::ptr::NonNull;

use crossbeam_utils::CachePadded;

use crate::base::primitive::{Arc, AtomicU32, AtomicU64, Ordering};
use crate::base::{Cause, Sequence};
use crate::ring::stamped::{
    BATCH, Content, LAZY, Layout, Mark, PLANTED_CREDIT, PUBLISH, RETURN, Slot, ready_run, stamp,
};
use crate::ring::{ClaimError, DepthError, prefetch};

/// A set of readers, as bits by their places.
pub(crate) type Set = u32;

/// What a reader shows of itself. The others only read it.
#[repr(C)]
struct Head {
    /// The reader has done with everything before it.
    passed: AtomicU64,
    /// Why the reader has closed.
    closed: Mark,
    /// The readers that this one follows. Never changes.
    after: Set,
}

/// The words of the producer, and the few that are written once or a handful of times.
#[repr(C)]
struct Control {
    /// Where the batch that was published last begins. Read only by [`Reader::ready_ahead`].
    batch_at: CachePadded<AtomicU64>,
    ends: CachePadded<Ends>,
}

#[repr(C)]
struct Ends {
    by_producer: Mark,
    /// Readers that have not closed.
    open: AtomicU32,
    /// The producer's last position, once it has closed.
    tail: AtomicU64,
}

/// The memory of a ring. Control, heads and slots hold no pointers.
struct Ring<V: Content, L: Layout> {
    control: Control,
    heads: Box<[CachePadded<Head>]>,
    slots: Box<[Slot<V, L>]>,
}

impl<V: Content, L: Layout> Drop for Ring<V, L> {
    /// Ends what was published and not overwritten since. All handles are gone.
    fn drop(&mut self) {
        if !V::DISCARDS {
            return;
        }
        let mask = self.slots.len() as u64 - 1;
        for (index, slot) in self.slots.iter().enumerate() {
            // Acquire, as the last handle's drop may be a reader's: pairs with PUBLISH in Claim::publish.
            if !is_occupied(slot.seq.load(Ordering::Acquire), index as u64, mask) {
                continue;
            }
            slot.value.with_mut(|value| {
                // SAFETY: nobody else has the ring any more, so the pointer is unique.
                let value = unsafe { &mut *value };
                // SAFETY: the word says that a published content is in the slot; the memory is freed after this.
                unsafe { value.discard() };
            });
        }
    }
}

/// A word that no position of the slot at `index` ever has: the slot holds nothing.
///
/// The stamps of a slot are its index plus one, modulo the depth, and a ring has two slots at least.
const fn vacant(index: u64) -> u64 {
    index
}

/// Whether a commit word of the slot at `index` says that a published content is in it.
const fn is_occupied(word: u64, index: u64, mask: u64) -> bool {
    word.wrapping_sub(1) & mask == index
}

impl<V: Content, L: Layout> Ring<V, L> {
    /// The position that all of `which` have passed, where that is `base` or further; `None` if
    /// all of them, and all before them, have closed.
    #[inline]
    fn slowest(&self, mut which: Set, base: Sequence) -> Option<Sequence> {
        let mut least: Option<u64> = None;
        while which != 0 {
            // From the last one: a reader only follows earlier ones, so each is looked at once.
            let at = which.ilog2();
            which ^= 1 << at;
            let head = &self.heads[at as usize];
            if head.closed.get().is_some() {
                which |= head.after;
                continue;
            }
            // Acquire: pairs with RETURN in Reader::publish_head; it has done with what lies before.
            let done = Sequence(head.passed.load(Ordering::Acquire)).since(base);
            least = Some(least.map_or(done, |least| least.min(done)));
        }
        least.map(|done| base.plus(done))
    }
}

/// Bytes that a ring of `depth` slots and `readers` readers takes on the heap.
pub(crate) const fn memory_bytes<V: Content, L: Layout>(depth: usize, readers: usize) -> usize {
    let counts = (2 * size_of::<usize>()).next_multiple_of(align_of::<Ring<V, L>>());
    let heads = readers * size_of::<CachePadded<Head>>();
    counts + size_of::<Ring<V, L>>() + heads + depth * size_of::<Slot<V, L>>()
}

/// The handles of a ring.
pub(crate) type Handles<V, L> = (Producer<V, L>, Vec<Reader<V, L>>);

/// A ring of `depth` slots that starts at `start`, each filled with what `fill` gives, with a
/// reader for each set of `after`: the earlier readers that it follows.
pub(crate) fn ring<V: Content, L: Layout>(
    depth: usize,
    start: Sequence,
    after: &[Set],
    mut fill: impl FnMut() -> V,
) -> Result<Handles<V, L>, DepthError> {
    DepthError::check(depth)?;
    let head = |after: &Set| {
        CachePadded::new(Head {
            passed: AtomicU64::new(start.0),
            closed: Mark::new(),
            after: *after,
        })
    };
    let ring = Arc::new(Ring {
        control: Control {
            batch_at: CachePadded::new(AtomicU64::new(start.0)),
            ends: CachePadded::new(Ends {
                by_producer: Mark::new(),
                open: AtomicU32::new(after.len() as u32),
                tail: AtomicU64::new(start.0),
            }),
        },
        heads: after.iter().map(head).collect(),
        slots: (0..depth as u64)
            .map(|index| Slot::new(vacant(index), fill()))
            .collect(),
    });
    let followed = after.iter().fold(0, |all, one| all | one);
    let all: Set = (0..after.len()).fold(0, |all, at| all | 1 << at);
    let producer = Producer {
        side: Side::of(&ring),
        position: start,
        head: start,
        last: all & !followed,
        closed: None,
    };
    let readers = after.iter().enumerate().map(|(at, after)| Reader {
        side: Side::of(&ring),
        at,
        after: *after,
        looks_at_slots: *after == 0,
        position: start,
        limit: start,
        head: start,
        // Followers must not wait longer than they have to; a producer has a whole ring of credits.
        lazy: match followed >> at & 1 {
            0 => (depth as u64 / LAZY).max(1),
            _ => 1,
        },
        closed: None,
    });
    Ok((producer, readers.collect()))
}

/// A handle's way into the memory.
struct Side<V: Content, L: Layout> {
    ring: Arc<Ring<V, L>>,
    /// First slot: saves the hot path a load through `ring`.
    first: NonNull<Slot<V, L>>,
    mask: u64,
}

// SAFETY: contents go from the producer to readers by Release and Acquire on commit words and heads,
// and back by the heads; readers on several threads share `&V`, and any handle may be the last to
// drop one. So a handle may move to another thread wherever `V` may move and be shared.
unsafe impl<V: Content + Send + Sync, L: Layout> Send for Side<V, L> {}

impl<V: Content, L: Layout> Side<V, L> {
    fn of(ring: &Arc<Ring<V, L>>) -> Side<V, L> {
        Side {
            ring: Arc::clone(ring),
            first: NonNull::from(&ring.slots[..]).cast(),
            mask: ring.slots.len() as u64 - 1,
        }
    }

    #[inline(always)]
    fn depth(&self) -> u64 {
        self.mask + 1
    }

    #[inline(always)]
    fn ends(&self) -> &Ends {
        &self.ring.control.ends
    }

    #[inline(always)]
    fn slot(&self, position: Sequence) -> &Slot<V, L> {
        // SAFETY: the masked index is below the number of slots.
        let slot = unsafe { self.first.add(position.slot(self.mask)) };
        // SAFETY: `ring` keeps the slots alive and in place, and a slot is shared only by reference.
        unsafe { slot.as_ref() }
    }

    #[inline(always)]
    fn is_ready(&self, position: Sequence) -> bool {
        // Acquire: pairs with PUBLISH in Claim::publish; the content is seen with its stamp.
        self.slot(position).seq.load(Ordering::Acquire) == stamp(position)
    }
}

/// The writing side, on two cache lines of its own: see [`crate::ring::stamped`].
#[repr(align(128))]
pub(crate) struct Producer<V: Content, L: Layout> {
    side: Side<V, L>,
    /// Everything before it is published.
    position: Sequence,
    /// The slowest reader's head as last seen.
    head: Sequence,
    /// The readers that nobody follows: the others are never behind them.
    last: Set,
    /// Why this side has closed.
    closed: Option<Cause>,
}

impl<V: Content, L: Layout> Producer<V, L> {
    #[inline]
    pub(crate) fn depth(&self) -> usize {
        self.side.depth() as usize
    }

    /// Addresses of the slots.
    pub(crate) fn span(&self) -> core::ops::Range<usize> {
        crate::base::addresses(&self.side.ring.slots)
    }

    #[inline]
    pub(crate) fn position(&self) -> Sequence {
        self.position
    }

    /// Credits by the cached head: never too many.
    #[inline(always)]
    fn credits_known(&self) -> u64 {
        self.side.depth() + PLANTED_CREDIT - self.position.since(self.head)
    }

    /// Credits by the readers' heads as they are now.
    #[inline]
    pub(crate) fn credits(&mut self) -> usize {
        let slowest = self.side.ring.slowest(self.last, self.head);
        self.head = slowest.unwrap_or(self.position);
        self.credits_known() as usize
    }

    #[inline(always)]
    pub(crate) fn has_room(&mut self, count: usize) -> bool {
        count as u64 <= self.credits_known() || count <= self.credits()
    }

    /// The place of the open reader that is furthest behind: of several the one that the others follow.
    #[cold]
    pub(crate) fn slowest_reader(&self) -> Option<usize> {
        let open = |at: &usize| self.reader_closed(*at).is_none();
        let behind = |at: &usize| {
            // Acquire, as in Ring::slowest, so that a follower is not seen ahead of what it follows.
            let passed = self.side.ring.heads[*at].passed.load(Ordering::Acquire);
            self.position.since(Sequence(passed))
        };
        let readers = (0..self.side.ring.heads.len()).filter(open);
        // The last of the largest, hence from the end: a reader only follows earlier ones.
        readers.rev().max_by_key(behind)
    }

    /// Reserves `count` slots.
    #[inline(always)]
    pub(crate) fn claim(&mut self, count: usize) -> Result<Claim<'_, V, L>, ClaimError> {
        if let Some(cause) = self.closed.or_else(|| self.readers_closed()) {
            return Err(ClaimError::Closed(cause));
        }
        if !self.has_room(count) {
            return Err(ClaimError::Full);
        }
        Ok(Claim {
            producer: self,
            count,
        })
    }

    /// Why all readers have closed: the first one's cause. One load while any of them is open.
    #[inline(always)]
    pub(crate) fn readers_closed(&self) -> Option<Cause> {
        // Relaxed: a count. The first one's mark has its own ordering, and may be seen a look later.
        match self.side.ends().open.load(Ordering::Relaxed) {
            0 => self.reader_closed(0),
            _ => None,
        }
    }

    #[cold]
    pub(crate) fn reader_closed(&self, at: usize) -> Option<Cause> {
        self.side.ring.heads.get(at)?.closed.get()
    }

    pub(crate) fn close(&mut self, cause: Cause) {
        let ends = self.side.ends();
        if self.closed.is_none() {
            ends.tail.store(self.position.0, Ordering::Relaxed); // published by the mark
            ends.by_producer.set(cause);
            self.closed = Some(cause);
        }
    }
}

impl<V: Content, L: Layout> Drop for Producer<V, L> {
    fn drop(&mut self) {
        self.close(Cause::Dropped);
    }
}

impl<V: Content, L: Layout> fmt::Debug for Producer<V, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("position", &self.position)
            .field("depth", &self.depth())
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

/// Slots that only the producer may touch until they are published. Dropping it gives them back.
pub(crate) struct Claim<'a, V: Content, L: Layout> {
    producer: &'a mut Producer<V, L>,
    count: usize,
}

impl<V: Content, L: Layout> Claim<'_, V, L> {
    /// Slots still claimed.
    #[inline(always)]
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The content of the slot `index` places into the claim.
    ///
    /// # Panics
    /// If `index` is not below [`Claim::count`].
    #[inline(always)]
    pub(crate) fn get_mut(&mut self, index: usize) -> &mut V {
        assert!(index < self.count, "a slot beyond the claim");
        let position = self.producer.position.plus(index as u64);
        let slot = self.producer.side.slot(position);
        // SAFETY: every reader that is open has passed the slot's earlier content (there was a credit)
        // and touches it only after its new stamp, and one that is closed touches nothing; `&mut self`
        // keeps this side to one reference.
        slot.value.with_mut(|value| unsafe { &mut *value })
    }

    /// The same, after what an earlier lap left in the slot was ended.
    #[inline(always)]
    pub(crate) fn vacate(&mut self, index: usize) -> &mut V {
        if V::DISCARDS {
            self.end_earlier(index);
        }
        self.get_mut(index)
    }

    fn end_earlier(&mut self, index: usize) {
        assert!(index < self.count, "a slot beyond the claim");
        let side = &self.producer.side;
        let position = self.producer.position.plus(index as u64);
        let at = position.0 & side.mask;
        let word = &side.slot(position).seq;
        // Relaxed: only this side writes commit words.
        if is_occupied(word.load(Ordering::Relaxed), at, side.mask) {
            // Before the content ends: should that panic, nobody ends it again. Relaxed: no reader
            // waits for a word that says nothing.
            word.store(vacant(at), Ordering::Relaxed);
            // SAFETY: the word said that a published content is in the slot; nobody reads it any
            // more, and the word that is there now keeps it from being ended again.
            unsafe { self.get_mut(index).discard() };
        }
    }

    /// Makes the first `count` slots ready, all or none, and gives the others back.
    #[inline(always)]
    pub(crate) fn publish(&mut self, count: usize) {
        let count = count.min(self.count);
        self.count = 0;
        if count == 0 {
            return;
        }
        let side = &self.producer.side;
        let first = self.producer.position;
        if count > 1 {
            // Said before the later stamps: pairs with Acquire in Reader::ready_ahead, which
            // may see those stamps while the first is still missing.
            let batch_at = &side.ring.control.batch_at;
            batch_at.store(first.0, BATCH);
            for ahead in 1..count as u64 {
                let later = first.plus(ahead);
                side.slot(later).seq.store(stamp(later), PUBLISH); // pairs with Acquire in Side::is_ready
            }
        }
        side.slot(first).seq.store(stamp(first), PUBLISH); // pairs with Acquire in Side::is_ready
        self.producer.position = first.plus(count as u64);
    }
}

impl<V: Content, L: Layout> fmt::Debug for Claim<'_, V, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim")
            .field("position", &self.producer.position)
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

/// One of the reading sides, on two cache lines of its own.
#[repr(align(128))]
pub(crate) struct Reader<V: Content, L: Layout> {
    side: Side<V, L>,
    /// Everything before it is read.
    position: Sequence,
    /// What it follows had passed everything before it when it last looked.
    limit: Sequence,
    /// Whether it follows nobody, or nobody who is open: then commit words say what is ready.
    looks_at_slots: bool,
    /// Why it has closed.
    closed: Option<Cause>,
    /// The head as last published.
    head: Sequence,
    /// Most items passed before the head is published.
    lazy: u64,
    /// Its place among the readers.
    at: usize,
    /// The readers that it follows.
    after: Set,
}

impl<V: Content, L: Layout> Reader<V, L> {
    #[inline]
    pub(crate) fn depth(&self) -> usize {
        self.side.depth() as usize
    }

    #[inline]
    pub(crate) fn position(&self) -> Sequence {
        self.position
    }

    /// The oldest item, if it may be read. Publishes the head if not.
    #[inline(always)]
    pub(crate) fn front(&mut self) -> Option<Front<'_, V, L>> {
        let ready = if self.looks_at_slots {
            self.side.is_ready(self.position)
        } else {
            self.limit != self.position || self.look_before()
        };
        if ready {
            return Some(Front { reader: self });
        }
        self.publish_head();
        prefetch::second_line_for_read(self.side.slot(self.position));
        None
    }

    /// Looks how far those have come that it follows. Whether the oldest item may be read.
    #[inline]
    fn look_before(&mut self) -> bool {
        if self.closed.is_some() {
            return false;
        }
        match self.side.ring.slowest(self.after, self.position) {
            Some(limit) => self.limit = limit,
            None => {
                // For good: what is closed stays so.
                self.looks_at_slots = true;
                return self.side.is_ready(self.position);
            }
        }
        self.limit != self.position
    }

    /// Lets the producer and those that follow see how far it has come.
    #[inline(always)]
    pub(crate) fn publish_head(&mut self) {
        if self.head != self.position {
            self.head = self.position;
            let passed = &self.side.ring.heads[self.at].passed;
            passed.store(self.position.0, RETURN); // pairs with Acquire in Ring::slowest
        }
    }

    /// How many items may be read, up to `limit`.
    pub(crate) fn ready_ahead(&mut self, limit: usize) -> usize {
        let limit = limit.min(self.depth()) as u64;
        if limit == 0 || self.front().is_none() {
            return 0;
        }
        if !self.looks_at_slots {
            if self.limit.since(self.position) < limit {
                self.look_before();
            }
            if !self.looks_at_slots {
                return self.limit.since(self.position).min(limit) as usize;
            }
        }
        let mut end = ready_run(limit, |at| self.side.is_ready(self.position.plus(at)));
        // As in stamped.rs: all stamps of a batch but the first may be there. Acquire: pairs with
        // BATCH in Claim::publish.
        let batch_at = self.side.ring.control.batch_at.load(Ordering::Acquire);
        let before_batch = Sequence(batch_at).since(self.position);
        if before_batch < end && !self.side.is_ready(Sequence(batch_at)) {
            end = before_batch;
        }
        end as usize
    }

    /// Whether nothing will ever come: the producer has closed, and everything is read or no longer wanted.
    #[inline]
    pub(crate) fn is_finished(&mut self) -> bool {
        // Relaxed: the mark, seen by Acquire, says that the last position is there.
        self.producer_closed().is_some()
            && (self.closed.is_some()
                || self.side.ends().tail.load(Ordering::Relaxed) == self.position.0)
    }

    #[inline]
    pub(crate) fn producer_closed(&self) -> Option<Cause> {
        self.side.ends().by_producer.get()
    }

    /// Reads no more, and holds nobody up any more.
    pub(crate) fn close(&mut self, cause: Cause) {
        if self.closed.is_some() {
            return;
        }
        self.closed = Some(cause);
        // Nothing may be read from here on: the producer may write to any slot.
        self.looks_at_slots = false;
        self.limit = self.position;
        self.side.ring.heads[self.at].closed.set(cause);
        // Relaxed: see Producer::readers_closed.
        self.side.ends().open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<V: Content, L: Layout> Drop for Reader<V, L> {
    fn drop(&mut self) {
        self.close(Cause::Dropped);
    }
}

impl<V: Content, L: Layout> fmt::Debug for Reader<V, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("at", &self.at)
            .field("position", &self.position)
            .field("depth", &self.depth())
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

/// The oldest item, seen ready. Dropping it leaves the item where it is.
pub(crate) struct Front<'a, V: Content, L: Layout> {
    reader: &'a mut Reader<V, L>,
}

impl<'a, V: Content, L: Layout> Front<'a, V, L> {
    /// The item.
    #[inline(always)]
    pub(crate) fn get(&self) -> &V {
        let slot = self.reader.side.slot(self.reader.position);
        // SAFETY: the stamp, or the heads of all that it follows, were seen with Acquire, so the
        // content is whole; the producer does not touch the slot until this reader's head is beyond it
        // or the reader is closed, and both need `&mut` of the reader, which this front has.
        slot.value.with(|value| unsafe { &*value })
    }

    /// The item, for as long as the reader stays borrowed.
    #[inline(always)]
    pub(crate) fn into_ref(self) -> &'a V {
        let reader: &'a Reader<V, L> = self.reader;
        let slot = reader.side.slot(reader.position);
        // SAFETY: as in `get`; the reader stays borrowed for `'a`.
        slot.value.with(|value| unsafe { &*value })
    }

    /// Steps over the item.
    #[inline(always)]
    pub(crate) fn advance(self) {
        let reader = self.reader;
        reader.position = reader.position.next();
        if reader.position.since(reader.head) >= reader.lazy {
            reader.publish_head();
        }
    }

    /// Steps over the item, and lets nobody see it yet.
    #[inline(always)]
    pub(crate) fn advance_unseen(self) {
        self.reader.position = self.reader.position.next();
    }
}
