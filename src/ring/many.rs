//! The algorithm behind the rings with many producers: [`stamped`](crate::ring::stamped)'s slots, claimed from a shared tail.
//!
//! Reader and slots are those of the point-to-point rings: the item of a position is ready when its slot's
//! commit word says so, and the head is published lazily. Only the claim differs. Producers take
//! positions from one shared *tail* by compare-and-swap, after each has found credit for them, so
//! nobody claims what there is no room for, and *full* is exact.
//!
//! A claim that its holder does not end holds back everything behind it: nobody else may write its
//! slot. So the faces take closures, and a claim that is dropped (by a panic in the closure)
//! commits its slots as aborted.
//!
//! Invariant: a producer touches a slot's content only while it holds the claim on it, for which it
//! saw credit, and before it commits it; the consumer only after it saw it ready and before it
//! publishes a head beyond it.

#![allow(
    unsafe_code,
    reason = "hands slots from many threads to one by their commit words"
)]

use core::fmt;
use core::ptr::NonNull;

use crossbeam_utils::CachePadded;

use crate::base::limits::PRODUCERS_NAMED_MAX;
use crate::base::primitive::{Arc, AtomicU64, Ordering};
use crate::base::{Cause, Sequence};
use crate::ring::stamped::{
    CLOSE, Content, LAZY, Mark, PLANTED_CREDIT, PUBLISH, RETURN, Slot, stamp,
};
use crate::ring::word::{OpenClaim, ProducerId, Word, abort_stamp, claim_stamp};
use crate::ring::{ClaimError, DepthError, Layout, prefetch};

/// What the consumer adds to the tail when it closes: no claim fits behind it any more, and what was
/// claimed before is known exactly.
const SEAL: u64 = 1 << 63;

/// The ordering of that. `--cfg planted_close` weakens it.
const SEALING: Ordering = if cfg!(planted_close) {
    Ordering::Relaxed
} else {
    Ordering::AcqRel
};

/// The words that all sides share beside the slots, each on a cache line of its writers.
#[repr(C)]
struct Control {
    /// The consumer has done with everything before it. Written by the consumer.
    head: CachePadded<AtomicU64>,
    /// Everything before it is claimed. Written by all producers.
    tail: CachePadded<AtomicU64>,
    /// Written seldom, so everybody can afford to look at it every time.
    closed: CachePadded<Closed>,
}

#[repr(C)]
struct Closed {
    /// The first cause that a producer gave.
    by_producers: Mark,
    by_consumer: Mark,
    /// Producers that have neither closed nor been dropped.
    open: AtomicU64,
    /// A bit for each [`ProducerId`] that a living producer has.
    ids: AtomicU64,
}

impl Closed {
    /// The lowest free number.
    fn take_id(&self) -> ProducerId {
        // Relaxed throughout: a number carries nothing but itself.
        let mut taken = self.ids.load(Ordering::Relaxed);
        loop {
            let id = taken.trailing_ones();
            if id as usize >= PRODUCERS_NAMED_MAX {
                return ProducerId::OTHER;
            }
            let with = taken | 1 << id;
            match self
                .ids
                .compare_exchange_weak(taken, with, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return ProducerId(id as u16),
                Err(now) => taken = now,
            }
        }
    }

    fn give_id_back(&self, id: ProducerId) {
        if id != ProducerId::OTHER {
            // Relaxed: as in `take_id`; the claims under this number are all committed.
            self.ids.fetch_and(!(1 << id.0), Ordering::Relaxed);
        }
    }
}

/// The memory of a ring. Control and slots hold no pointers.
struct Ring<V: Content, L: Layout> {
    control: Control,
    slots: Box<[Slot<V, L>]>,
}

impl<V: Content, L: Layout> Drop for Ring<V, L> {
    /// Ends what was committed and never consumed. All handles are gone, so no claim is open, and
    /// the consumer's has published its exact head.
    fn drop(&mut self) {
        if !V::DISCARDS {
            return;
        }
        let mask = self.slots.len() as u64 - 1;
        // Acquire here and below, as the last handle's drop may be the other side's: pairs with the stores of both.
        let mut position = Sequence(self.control.head.load(Ordering::Acquire));
        for _ in 0..self.slots.len() {
            let slot = &self.slots[position.slot(mask)];
            if slot.seq.load(Ordering::Acquire) == stamp(position) {
                slot.value.with_mut(|value| {
                    // SAFETY: nobody else has the ring any more, so the pointer is unique.
                    let value = unsafe { &mut *value };
                    // SAFETY: its stamp says committed with an item; it lies at or behind the exact
                    // head, so it was not consumed; the memory is freed after this.
                    unsafe { value.discard() };
                });
            }
            position = position.next();
        }
    }
}

/// Bytes that a ring of `depth` slots takes on the heap, counters of the shared ownership included.
pub(crate) const fn memory_bytes<V: Content, L: Layout>(depth: usize) -> usize {
    let counts = (2 * size_of::<usize>()).next_multiple_of(align_of::<Ring<V, L>>());
    counts + size_of::<Ring<V, L>>() + depth * size_of::<Slot<V, L>>()
}

/// The first producer of a ring, and its consumer.
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
            tail: CachePadded::new(AtomicU64::new(start.0)),
            closed: CachePadded::new(Closed {
                by_producers: Mark::new(),
                by_consumer: Mark::new(),
                open: AtomicU64::new(1),
                ids: AtomicU64::new(1),
            }),
        },
        slots,
    });
    let producer = Producer {
        side: Side::of(&ring),
        head: start,
        id: ProducerId(0),
        closed: None,
    };
    let consumer = Consumer {
        side: Side::of(&ring),
        position: start,
        head: start,
        lazy: (depth as u64 / LAZY).max(1),
        aborted: 0,
        end: None,
    };
    Ok((producer, consumer))
}

/// One handle's way into the memory.
struct Side<V: Content, L: Layout> {
    ring: Arc<Ring<V, L>>,
    /// First slot: saves the hot path a load through `ring`.
    first: NonNull<Slot<V, L>>,
    mask: u64,
}

// SAFETY: a position has one claimer (the tail's compare-and-swap) and one consumer, and contents go
// from thread to thread by Release and Acquire on the commit word (and on the head, on the way
// back); so a side may move wherever `V` may.
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
    fn word(&self, position: Sequence) -> Word {
        // Acquire: pairs with PUBLISH in Claim::commit; the content is seen with its stamp.
        Word::of(self.slot(position).seq.load(Ordering::Acquire), position)
    }
}

/// A writing side. Two cache lines of its own, as [`stamped`](crate::ring::stamped)'s has.
#[repr(align(128))]
pub(crate) struct Producer<V: Content, L: Layout> {
    side: Side<V, L>,
    /// The consumer's head as last seen by this producer.
    head: Sequence,
    id: ProducerId,
    /// Why this producer has closed.
    closed: Option<Cause>,
}

impl<V: Content, L: Layout> Producer<V, L> {
    #[inline]
    pub(crate) fn depth(&self) -> usize {
        self.side.depth() as usize
    }

    #[inline]
    pub(crate) fn id(&self) -> ProducerId {
        self.id
    }

    /// The position that is claimed next, by anybody.
    #[inline]
    pub(crate) fn position(&self) -> Sequence {
        // Relaxed: a number that may be old by the time it is used, whatever the ordering.
        let tail = Sequence(self.side.control().tail.load(Ordering::Relaxed));
        // Nothing but the seal takes it that far from a head.
        if tail.since(self.head) >= SEAL {
            tail.plus(SEAL)
        } else {
            tail
        }
    }

    /// Credits by head and tail as they are now.
    #[inline]
    pub(crate) fn credits(&mut self) -> usize {
        // Acquire: pairs with RETURN in Consumer::publish_head. Head before tail, so that the tail is no older.
        self.head = Sequence(self.side.control().head.load(Ordering::Acquire));
        let used = self.position().since(self.head);
        // Between the two loads, others may have filled more than was free at the first.
        self.side.depth().saturating_sub(used) as usize
    }

    /// Takes `count` positions from the tail and signs the first.
    #[inline(always)]
    pub(crate) fn claim(&mut self, count: usize) -> Result<Claim<'_, V, L>, ClaimError> {
        if let Some(cause) = self.closed.or_else(|| self.consumer_closed()) {
            return Err(ClaimError::Closed(cause));
        }
        let first = self.take(count as u64)?;
        if count > 0 {
            let word = claim_stamp(first, self.id);
            // Relaxed: it publishes nothing but itself. The slot's line is about to be written anyway.
            self.side.slot(first).seq.store(word, Ordering::Relaxed);
        }
        Ok(Claim {
            side: &self.side,
            first,
            count: count as u64,
        })
    }

    /// The first of `count` positions that are now this producer's.
    #[inline(always)]
    fn take(&mut self, count: u64) -> Result<Sequence, ClaimError> {
        let control = self.side.control();
        let depth = self.side.depth() + PLANTED_CREDIT;
        // Acquire here and below: pairs with Release in the exchange. The head that is loaded after it is
        // no older than the one that the tail's last claimer saw, so that a distance beyond the depth
        // means one thing only.
        let mut tail = Sequence(control.tail.load(Ordering::Acquire));
        loop {
            // By the cached head: never too few in use.
            let used = tail.since(self.head);
            if used > depth || count > depth - used {
                // Acquire: pairs with RETURN in Consumer::publish_head; the consumer has done with what lies before.
                self.head = Sequence(control.head.load(Ordering::Acquire));
                let used = tail.since(self.head);
                if used > depth {
                    if let Some(cause) = self.consumer_closed() {
                        return Err(ClaimError::Closed(cause));
                    }
                    // The head has passed the tail that was seen before it: others were quicker. It
                    // brings with it the claims before it, so the tail is no lower this time.
                    tail = Sequence(control.tail.load(Ordering::Acquire));
                    continue;
                }
                if count > depth - used {
                    return Err(ClaimError::Full);
                }
            }
            let next = tail.plus(count).0;
            match control.tail.compare_exchange_weak(
                tail.0,
                next,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return Ok(tail),
                Err(now) => tail = Sequence(now),
            }
        }
    }

    #[inline(always)]
    pub(crate) fn consumer_closed(&self) -> Option<Cause> {
        self.side.control().closed.by_consumer.get()
    }

    pub(crate) fn close(&mut self, cause: Cause) {
        if self.closed.is_some() {
            return;
        }
        let closed = &self.side.control().closed;
        if cause != Cause::Dropped {
            closed.by_producers.set(cause);
        }
        self.closed = Some(cause);
        // CLOSE: pairs with Acquire in Consumer::producers_closed; what this producer committed, and
        // the cause it gave, are seen by whoever sees that none is left.
        closed.open.fetch_sub(1, CLOSE);
    }
}

impl<V: Content, L: Layout> Clone for Producer<V, L> {
    /// Another producer with a number of its own. That of a closed one is closed.
    fn clone(&self) -> Producer<V, L> {
        let closed = &self.side.control().closed;
        if self.closed.is_none() {
            // Relaxed: this producer is open, so the count cannot have come to 0.
            closed.open.fetch_add(1, Ordering::Relaxed);
        }
        Producer {
            side: Side::of(&self.side.ring),
            head: self.head,
            id: closed.take_id(),
            closed: self.closed,
        }
    }
}

impl<V: Content, L: Layout> Drop for Producer<V, L> {
    fn drop(&mut self) {
        self.close(Cause::Dropped);
        self.side.control().closed.give_id_back(self.id);
    }
}

impl<V: Content, L: Layout> fmt::Debug for Producer<V, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("id", &self.id)
            .field("depth", &self.depth())
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

/// Slots that only this producer may touch until they are committed. Dropping it commits all of
/// them as aborted; it must not be forgotten.
pub(crate) struct Claim<'a, V: Content, L: Layout> {
    side: &'a Side<V, L>,
    first: Sequence,
    /// Slots still claimed.
    count: u64,
}

impl<V: Content, L: Layout> Claim<'_, V, L> {
    #[inline(always)]
    pub(crate) fn count(&self) -> usize {
        self.count as usize
    }

    /// The sequence of the slot `index` places into the claim.
    #[inline(always)]
    pub(crate) fn sequence(&self, index: usize) -> Sequence {
        self.first.plus(index as u64)
    }

    /// The content of the slot `index` places into the claim.
    ///
    /// # Panics
    /// If `index` is not below [`Claim::count`].
    #[inline(always)]
    pub(crate) fn get_mut(&mut self, index: usize) -> &mut V {
        assert!((index as u64) < self.count, "a slot beyond the claim");
        let slot = self.side.slot(self.sequence(index));
        // SAFETY: the tail gave the position to this claim alone, the consumer has done with the slot
        // (there was a credit for it) and does not touch it before its stamp; `&mut self` keeps
        // this side to one reference.
        slot.value.with_mut(|value| unsafe { &mut *value })
    }

    /// Makes the first `count` slots ready, all or none, and the others aborted.
    #[inline(always)]
    pub(crate) fn commit(mut self, count: usize) {
        self.end(count as u64);
    }

    #[inline(always)]
    fn end(&mut self, ready: u64) {
        let claimed = core::mem::take(&mut self.count);
        if claimed == 0 {
            return;
        }
        // The first slot last: the consumer looks at none behind it before that.
        for ahead in (0..claimed).rev() {
            let position = self.first.plus(ahead);
            let word = if ahead < ready {
                stamp(position)
            } else {
                abort_stamp(position)
            };
            self.side.slot(position).seq.store(word, PUBLISH); // pairs with Acquire in Side::word
        }
    }
}

impl<V: Content, L: Layout> Drop for Claim<'_, V, L> {
    #[inline]
    fn drop(&mut self) {
        self.end(0);
    }
}

/// The reading side. Two cache lines of its own, as [`stamped`](crate::ring::stamped)'s has.
#[repr(align(128))]
pub(crate) struct Consumer<V: Content, L: Layout> {
    side: Side<V, L>,
    /// Everything before it is consumed.
    position: Sequence,
    /// The head as last published.
    head: Sequence,
    /// Most items consumed before the head is published.
    lazy: u64,
    /// Slots that were committed without an item.
    aborted: u64,
    /// The tail as it was sealed.
    end: Option<Sequence>,
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

    #[inline]
    pub(crate) fn aborted(&self) -> u64 {
        self.aborted
    }

    /// The oldest item, if one is ready. Publishes the head if none is.
    #[inline(always)]
    pub(crate) fn front(&mut self) -> Option<Front<'_, V, L>> {
        let is_ready = match self.side.word(self.position) {
            Word::Ready => true,
            Word::Aborted => self.step_over_aborted(),
            Word::Stale | Word::Claimed(_) => false,
        };
        if is_ready {
            return Some(Front { consumer: self });
        }
        self.publish_head();
        prefetch::second_line_for_read(self.side.slot(self.position));
        None
    }

    /// Steps over aborted slots, at most a lap of them. Whether an item is ready behind them.
    #[cold]
    fn step_over_aborted(&mut self) -> bool {
        for _ in 0..self.depth() {
            match self.side.word(self.position) {
                Word::Aborted => {
                    self.aborted += 1;
                    self.step();
                }
                word => return word == Word::Ready,
            }
        }
        false
    }

    #[inline(always)]
    fn step(&mut self) {
        self.position = self.position.next();
        if self.position.since(self.head) >= self.lazy {
            self.publish_head();
        }
    }

    /// Gives back every credit that is due.
    #[inline(always)]
    pub(crate) fn publish_head(&mut self) {
        if self.head != self.position {
            self.head = self.position;
            let head = &self.side.control().head;
            head.store(self.position.0, RETURN); // pairs with Acquire in Producer::take and Producer::credits
        }
    }

    /// How many items are ready, up to `limit`, one after the other.
    pub(crate) fn ready_ahead(&mut self, limit: usize) -> usize {
        let mut ready = 0;
        if limit == 0 || self.front().is_none() {
            return ready;
        }
        for ahead in 0..self.side.depth() {
            match self.side.word(self.position.plus(ahead)) {
                Word::Ready => ready += 1,
                Word::Aborted => {}
                Word::Stale | Word::Claimed(_) => break,
            }
            if ready == limit {
                break;
            }
        }
        ready
    }

    /// How many positions are claimed and not consumed. Only falls once this side has closed.
    #[inline]
    pub(crate) fn claimed(&self) -> u64 {
        // Relaxed: no lower than this position, whose claim was seen with what lay before it.
        let tail = || Sequence(self.side.control().tail.load(Ordering::Relaxed));
        self.end.unwrap_or_else(tail).since(self.position)
    }

    /// The claim that holds back everything behind it, if the oldest position is one.
    pub(crate) fn open_claim(&mut self) -> Option<OpenClaim> {
        if self.front().is_some() {
            return None;
        }
        let claimed = self.claimed();
        if claimed == 0 {
            return None;
        }
        let producer = match self.side.word(self.position) {
            Word::Stale => None,
            Word::Claimed(id) => Some(id),
            Word::Ready | Word::Aborted => return None,
        };
        Some(OpenClaim {
            sequence: self.position,
            behind: claimed - 1,
            producer,
        })
    }

    /// Whether every producer has closed and everything they committed is consumed.
    #[inline]
    pub(crate) fn is_finished(&mut self) -> bool {
        // Closed first, then the slot: what was committed before the last close is visible by then,
        // and a producer that has closed has no open claim.
        self.producers_closed().is_some() && self.front().is_none()
    }

    #[inline]
    pub(crate) fn producers_closed(&self) -> Option<Cause> {
        let closed = &self.side.control().closed;
        // Acquire: pairs with CLOSE in Producer::close, of every producer: their subtractions are one release sequence.
        if closed.open.load(Ordering::Acquire) > 0 {
            return None;
        }
        Some(closed.by_producers.get().unwrap_or(Cause::Dropped))
    }

    pub(crate) fn close(&mut self, cause: Cause) {
        let control = self.side.control();
        control.closed.by_consumer.set(cause);
        if self.end.is_none() {
            // Release: pairs with Acquire in Producer::take; who sees the seal sees the cause. Acquire: pairs with
            // Release there; the claims before the seal are seen.
            let end = control.tail.fetch_add(SEAL, SEALING);
            self.end = Some(Sequence(end));
        }
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
            .field("aborted", &self.aborted)
            .finish_non_exhaustive()
    }
}

/// The oldest item, seen ready. Dropping it leaves the item where it is.
pub(crate) struct Front<'a, V: Content, L: Layout> {
    consumer: &'a mut Consumer<V, L>,
}

impl<'a, V: Content, L: Layout> Front<'a, V, L> {
    #[inline(always)]
    pub(crate) fn sequence(&self) -> Sequence {
        self.consumer.position
    }

    /// The item.
    #[inline(always)]
    pub(crate) fn get(&self) -> &V {
        let slot = self.consumer.side.slot(self.consumer.position);
        // SAFETY: the stamp was seen with Acquire, so the content is whole, and no producer can claim
        // the slot until a head beyond it is published, which needs `&mut` of the consumer.
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
        self.consumer.step();
    }
}
