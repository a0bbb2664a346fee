//! The one algorithm behind every point-to-point ring: slots that carry their own commit word.
//!
//! The faces ([`crate::ring::spsc`] for values, [`crate::ring::hop`] for frames) differ only in what
//! a slot holds. Here a slot's content `V` is always a valid `V`, so that this file's interface is
//! safe: a claim lends the producer `&mut V`, a front lends the consumer `&V`, and neither can be had for a
//! slot that the other side may touch.
//!
//! After Firedancer's mcache and Aeron's frame-length commit (a stamp beside the payload), with the
//! cached position of Lee, Bui and Venkataramani, "A Lock-Free, Cache-Efficient Shared Ring Buffer
//! for Multi-Core Architectures" (ANCS 2009).
//!
//! Invariant: the producer touches a slot's content only while it holds the credit for it and before
//! it stamps it; the consumer only after it saw the stamp and before it publishes a head beyond it.

#![allow(
    unsafe_code,
    reason = "hands slots from one thread to the other by their commit words"
)]

use core::fmt;
use core::ptr::NonNull;

use crossbeam_utils::CachePadded;

use crate::base::limits::CACHE_LINE_BYTES;
use crate::base::primitive::{Arc, AtomicU32, AtomicU64, Cell, Ordering};
use crate::base::{Cause, Reason, Sequence};
use crate::ring::{ClaimError, DepthError, prefetch};

/// The ordering of the store that publishes a slot; pairs with Acquire in [`Side::is_ready`].
///
/// `--cfg planted_ordering` weakens it. That exists to prove the models: each `tests/loom_ring*.rs` has
/// to fail with it.
pub(crate) const PUBLISH: Ordering = if cfg!(planted_ordering) {
    Ordering::Relaxed
} else {
    Ordering::Release
};

/// The head is published every `depth / LAZY` items: seldom enough to cost nothing, often enough
/// that a producer at the limit of a deep ring gets its credits in time.
pub(crate) const LAZY: u64 = 8;

/// How slots lie in memory: [`Packed`] or [`Lined`].
pub trait Layout: sealed::Sealed + fmt::Debug + Send + Sync + 'static {}

/// Slots follow each other without gaps; several small ones share a cache line.
#[derive(Clone, Copy, Debug)]
pub struct Packed;

/// Each slot begins a cache line of its own.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub struct Lined;

impl Layout for Packed {}
impl Layout for Lined {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Packed {}
    impl Sealed for super::Lined {}
}

/// What a slot holds.
pub(crate) trait Content: Sized {
    /// Whether [`Content::discard`] does anything.
    const DISCARDS: bool = false;

    /// Ends a content that was published and never consumed.
    ///
    /// # Safety
    /// The content was published, was not consumed, and is not used afterwards.
    unsafe fn discard(&mut self) {}
}

/// One slot: commit word first, content in the same cache line behind it.
#[repr(C)]
pub(crate) struct Slot<V, L> {
    layout: [L; 0],
    /// `position + 1` of the content that was published last.
    pub(crate) seq: AtomicU64,
    pub(crate) value: Cell<V>,
}

impl<V, L> Slot<V, L> {
    /// A slot with that commit word and content.
    pub(crate) fn new(word: u64, content: V) -> Slot<V, L> {
        Slot {
            layout: [],
            seq: AtomicU64::new(word),
            value: Cell::new(content),
        }
    }
}

#[cfg(not(loom))]
impl<V, L> Slot<V, L> {
    /// Bytes from the start of the slot to its content.
    pub(crate) const VALUE_AT_BYTES: usize = core::mem::offset_of!(Slot<V, L>, value);
}

/// The words that both sides share beside the slots, each on a cache line of its writer.
#[repr(C)]
struct Control {
    /// The consumer has done with everything before it. Written by the consumer.
    head: CachePadded<AtomicU64>,
    /// Where the batch that was published last begins. Written by the producer, read only by [`Consumer::ready_ahead`].
    batch_at: CachePadded<AtomicU64>,
    /// Written once by each side, so both can afford to look at it every time.
    closed: CachePadded<Closed>,
}

#[repr(C)]
struct Closed {
    by_producer: Mark,
    by_consumer: Mark,
}

/// A cause, or 0 while there is none.
pub(crate) struct Mark(AtomicU32);

impl Mark {
    pub(crate) fn new() -> Mark {
        Mark(AtomicU32::new(0))
    }

    /// Sets the cause if there is none yet. Only one side calls this on a given mark.
    pub(crate) fn set(&self, cause: Cause) {
        if self.get().is_none() {
            let word = cause.index() as u32 + 1;
            self.0.store(word, PUBLISH); // pairs with Acquire in Mark::get
        }
    }

    #[inline(always)]
    pub(crate) fn get(&self) -> Option<Cause> {
        match self.0.load(Ordering::Acquire) {
            // pairs with PUBLISH in Mark::set
            0 => None,
            word => Cause::ALL.get(word as usize - 1).copied(),
        }
    }
}

/// The memory of a ring. Control and slots hold no pointers.
struct Ring<V: Content, L: Layout> {
    control: Control,
    slots: Box<[Slot<V, L>]>,
}

impl<V: Content, L: Layout> Drop for Ring<V, L> {
    /// Ends what was published and never consumed. Both handles are gone, and the consumer's has
    /// published its exact head.
    fn drop(&mut self) {
        if !V::DISCARDS {
            return;
        }
        let mask = self.slots.len() as u64 - 1;
        let mut position = Sequence(self.control.head.load(Ordering::Acquire));
        for _ in 0..self.slots.len() {
            let slot = &self.slots[position.slot(mask)];
            if slot.seq.load(Ordering::Acquire) != stamp(position) {
                break;
            }
            slot.value.with_mut(|value| {
                // SAFETY: nobody else has the ring any more, so the pointer is unique.
                let value = unsafe { &mut *value };
                // SAFETY: its stamp says published; it lies at or behind the exact head, so it was
                // not consumed; the memory is freed after this.
                unsafe { value.discard() };
            });
            position = position.next();
        }
    }
}

/// The commit word that says that `position` is ready.
#[inline(always)]
pub(crate) fn stamp(position: Sequence) -> u64 {
    position.next().0
}

/// How many places are ready from the first one on, which is, up to `limit`, by doubling and then halving steps.
pub(crate) fn ready_run(limit: u64, is_ready: impl Fn(u64) -> bool) -> u64 {
    // `ready` is an index seen ready; `end` is one seen not ready, or the limit.
    let (mut ready, mut end) = (0, 1);
    while end < limit && is_ready(end) {
        ready = end;
        end *= 2;
    }
    end = end.min(limit);
    while end - ready > 1 {
        let middle = ready + (end - ready) / 2;
        if is_ready(middle) {
            ready = middle;
        } else {
            end = middle;
        }
    }
    end
}

/// Bytes that a ring of `depth` slots takes on the heap, counters of the shared ownership included.
pub(crate) const fn memory_bytes<V: Content, L: Layout>(depth: usize) -> usize {
    let counts = (2 * size_of::<usize>()).next_multiple_of(align_of::<Ring<V, L>>());
    counts + size_of::<Ring<V, L>>() + depth * size_of::<Slot<V, L>>()
}

/// Both handles of a ring.
pub(crate) type Pair<V, L> = (Producer<V, L>, Consumer<V, L>);

/// A ring of `depth` slots that starts at `start`, each filled with what `fill` gives.
pub(crate) fn ring<V: Content, L: Layout>(
    depth: usize,
    start: Sequence,
    mut fill: impl FnMut() -> V,
) -> Result<Pair<V, L>, DepthError> {
    DepthError::check(depth)?;
    let mask = depth as u64 - 1;
    // Each word is what the lap before `start` would have left, so that none looks ready.
    let stale = |index: u64| {
        let first = start.plus(index.wrapping_sub(start.0) & mask);
        stamp(first).wrapping_sub(depth as u64)
    };
    let slots = (0..depth as u64)
        .map(|index| Slot::new(stale(index), fill()))
        .collect();
    let ring = Arc::new(Ring {
        control: Control {
            head: CachePadded::new(AtomicU64::new(start.0)),
            batch_at: CachePadded::new(AtomicU64::new(start.0)),
            closed: CachePadded::new(Closed {
                by_producer: Mark::new(),
                by_consumer: Mark::new(),
            }),
        },
        slots,
    });
    let producer = Producer {
        side: Side::of(&ring),
        position: start,
        head: start,
        closed: None,
    };
    let consumer = Consumer {
        side: Side::of(&ring),
        position: start,
        head: start,
        lazy: (depth as u64 / LAZY).max(1),
    };
    Ok((producer, consumer))
}

/// One side's way into the memory.
struct Side<V: Content, L: Layout> {
    ring: Arc<Ring<V, L>>,
    /// First slot: saves the hot path a load through `ring`.
    first: NonNull<Slot<V, L>>,
    mask: u64,
}

// SAFETY: a side is the only one of its kind, and contents go from thread to thread by Release and
// Acquire on the commit word (and on the head, on the way back); so it may move wherever `V` may.
unsafe impl<V: Content + Send, L: Layout> Send for Side<V, L> {}

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
    fn control(&self) -> &Control {
        &self.ring.control
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

/// The writing side. Two cache lines of its own: handles that are made together, for two threads,
/// must not share one, and processors fetch a line's neighbour with it. With one line each, the
/// neighbour's stores cost a hop 40 % (`benches/ring_spsc.rs`).
#[repr(align(128))]
pub(crate) struct Producer<V: Content, L: Layout> {
    side: Side<V, L>,
    /// Everything before it is published.
    position: Sequence,
    /// The consumer's head as last seen.
    head: Sequence,
    /// Why this side has closed.
    closed: Option<Cause>,
}

impl<V: Content, L: Layout> Producer<V, L> {
    #[inline]
    pub(crate) fn depth(&self) -> usize {
        self.side.depth() as usize
    }

    #[inline]
    pub(crate) fn position(&self) -> Sequence {
        self.position
    }

    /// Credits by the cached head: never too many.
    #[inline(always)]
    fn credits_known(&self) -> u64 {
        self.side.depth() - self.position.since(self.head)
    }

    /// Credits by the consumer's head as it is now.
    #[inline]
    pub(crate) fn credits(&mut self) -> usize {
        // Acquire: pairs with Release in Consumer::publish_head; the consumer has done with what lies before.
        self.head = Sequence(self.side.control().head.load(Ordering::Acquire));
        self.credits_known() as usize
    }

    #[inline(always)]
    pub(crate) fn has_room(&mut self, count: usize) -> bool {
        count as u64 <= self.credits_known() || count <= self.credits()
    }

    /// Reserves `count` slots.
    #[inline(always)]
    pub(crate) fn claim(&mut self, count: usize) -> Result<Claim<'_, V, L>, ClaimError> {
        if let Some(cause) = self.closed.or_else(|| self.consumer_closed()) {
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

    #[inline(always)]
    pub(crate) fn consumer_closed(&self) -> Option<Cause> {
        self.side.control().closed.by_consumer.get()
    }

    pub(crate) fn close(&mut self, cause: Cause) {
        self.side.control().closed.by_producer.set(cause);
        self.closed = self.side.control().closed.by_producer.get();
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
        let slot = self
            .producer
            .side
            .slot(self.producer.position.plus(index as u64));
        // SAFETY: the consumer has done with the slot (there was a credit for it) and does not touch
        // it before its stamp; `&mut self` keeps this side to one reference.
        slot.value.with_mut(|value| unsafe { &mut *value })
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
            // Said before the later stamps: pairs with Acquire in Consumer::ready_ahead, which
            // may see those stamps while the first is still missing.
            side.control().batch_at.store(first.0, Ordering::Release);
            for ahead in 1..count as u64 {
                let later = first.plus(ahead);
                side.slot(later).seq.store(stamp(later), PUBLISH); // pairs with Acquire in Side::is_ready
            }
        }
        side.slot(first).seq.store(stamp(first), PUBLISH); // pairs with Acquire in Side::is_ready
        // No prefetch of the next slot for writing: it takes the line from the consumer that already
        // waits on it, and costs 20-40 % of a hop (`benches/ring_spsc.rs`, measured on Zen 4).
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

/// The reading side. Two cache lines of its own, as the writing side has.
#[repr(align(128))]
pub(crate) struct Consumer<V: Content, L: Layout> {
    side: Side<V, L>,
    /// Everything before it is consumed.
    position: Sequence,
    /// The head as last published.
    head: Sequence,
    /// Most items consumed before the head is published.
    lazy: u64,
}

impl<V: Content, L: Layout> Consumer<V, L> {
    #[inline]
    pub(crate) fn depth(&self) -> usize {
        self.side.depth() as usize
    }

    #[inline]
    pub(crate) fn position(&self) -> Sequence {
        self.position
    }

    /// The oldest item, if one is ready. Publishes the head if none is.
    #[inline(always)]
    pub(crate) fn front(&mut self) -> Option<Front<'_, V, L>> {
        if self.side.is_ready(self.position) {
            Some(Front { consumer: self })
        } else {
            self.publish_head();
            prefetch::second_line_for_read(self.side.slot(self.position));
            None
        }
    }

    /// Gives back every credit that is due.
    #[inline(always)]
    pub(crate) fn publish_head(&mut self) {
        if self.head != self.position {
            self.head = self.position;
            let head = &self.side.control().head;
            head.store(self.position.0, Ordering::Release); // pairs with Acquire in Producer::credits
        }
    }

    /// How many items are ready, up to `limit`, by doubling and then halving steps.
    pub(crate) fn ready_ahead(&mut self, limit: usize) -> usize {
        let limit = limit.min(self.depth()) as u64;
        if limit == 0 || self.front().is_none() {
            return 0;
        }
        let mut end = ready_run(limit, |at| self.side.is_ready(self.position.plus(at)));
        // Stamps are no unbroken run while a batch is being published: all but its first may be
        // there. Acquire: pairs with Release in Claim::publish. Having seen a later stamp, this
        // sees the batch's beginning, or that of a batch behind it, and then the first stamp too.
        let batch_at = Sequence(self.side.control().batch_at.load(Ordering::Acquire));
        let before_batch = batch_at.since(self.position);
        if before_batch < end && !self.side.is_ready(batch_at) {
            end = before_batch;
        }
        end as usize
    }

    /// Whether the producer has closed and everything it published is consumed.
    #[inline]
    pub(crate) fn is_finished(&mut self) -> bool {
        // Closed first, then the slot: what was published before the close is visible by then.
        self.producer_closed().is_some() && self.front().is_none()
    }

    #[inline]
    pub(crate) fn producer_closed(&self) -> Option<Cause> {
        self.side.control().closed.by_producer.get()
    }

    pub(crate) fn close(&mut self, cause: Cause) {
        self.side.control().closed.by_consumer.set(cause);
    }
}

impl<V: Content, L: Layout> Drop for Consumer<V, L> {
    fn drop(&mut self) {
        // The exact head: what lies behind it is discarded with the ring.
        self.publish_head();
        self.close(Cause::Dropped);
    }
}

impl<V: Content, L: Layout> fmt::Debug for Consumer<V, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("position", &self.position)
            .field("depth", &self.depth())
            .finish_non_exhaustive()
    }
}

/// The oldest item, seen ready. Dropping it leaves the item where it is.
pub(crate) struct Front<'a, V: Content, L: Layout> {
    consumer: &'a mut Consumer<V, L>,
}

impl<'a, V: Content, L: Layout> Front<'a, V, L> {
    /// The item.
    #[inline(always)]
    pub(crate) fn get(&self) -> &V {
        let slot = self.consumer.side.slot(self.consumer.position);
        // SAFETY: the stamp was seen with Acquire, so the content is whole, and the producer does
        // not touch the slot until a head beyond it is published, which needs `&mut` of the consumer.
        slot.value.with(|value| unsafe { &*value })
    }

    /// The item, for as long as the consumer stays borrowed.
    #[inline(always)]
    pub(crate) fn into_ref(self) -> &'a V {
        let consumer: &'a Consumer<V, L> = self.consumer;
        let slot = consumer.side.slot(consumer.position);
        // SAFETY: as in `get`; the consumer stays borrowed for `'a`.
        slot.value.with(|value| unsafe { &*value })
    }

    /// Steps over the item.
    #[inline(always)]
    pub(crate) fn advance(self) {
        let consumer = self.consumer;
        consumer.position = consumer.position.next();
        if consumer.position.since(consumer.head) >= consumer.lazy {
            consumer.publish_head();
        }
    }
}

const _: () = assert!(align_of::<Lined>() == CACHE_LINE_BYTES);
// The model checker's atomics and cells are wider.
#[cfg(not(loom))]
const _: () = {
    assert!(size_of::<Slot<u64, Packed>>() == 16);
    assert!(size_of::<Slot<[u8; 56], Lined>>() == CACHE_LINE_BYTES);
    assert!(core::mem::offset_of!(Slot<u64, Lined>, seq) == 0);
};
