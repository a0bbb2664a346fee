//! The reading side.
//!
//! Invariant: when an item is lent, this side is on the lap that the item lies in.

#![allow(
    unsafe_code,
    reason = "lends slots that the producer does not touch any more"
)]

use core::fmt;

use crate::base::primitive::Ordering;
use crate::base::{Cause, Sequence};
use crate::ring::{Layout, prefetch};

use super::{Content, LAZY, RETURN, Side, ready_run};

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
    pub(super) fn new(side: Side<V, L>, start: Sequence) -> Consumer<V, L> {
        Consumer {
            lazy: (side.depth() / LAZY).max(1),
            side,
            position: start,
            head: start,
        }
    }

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
        if self.side.is_ready(self.position) || self.has_changed_laps() {
            Some(Front { consumer: self })
        } else {
            self.publish_head();
            prefetch::second_line_for_read(self.side.slot(self.position));
            None
        }
    }

    /// Follows the producer to the other lap, if it has changed at this position; whether the
    /// oldest item is ready there.
    #[inline(always)]
    fn has_changed_laps(&mut self) -> bool {
        // Relaxed: see `Changes`.
        if self.side.change_word().load(Ordering::Relaxed) != self.position.0 {
            return false;
        }
        self.side.change_laps();
        self.side.is_ready(self.position)
    }

    /// Gives back every credit that is due.
    #[inline(always)]
    pub(crate) fn publish_head(&mut self) {
        if self.head != self.position {
            self.head = self.position;
            let head = &self.side.control().head;
            head.store(self.position.0, RETURN); // pairs with Acquire in Producer::credits
        }
    }

    /// How many items are ready, up to `limit`.
    pub(crate) fn ready_ahead(&mut self, limit: usize) -> usize {
        let limit = limit.min(self.depth()) as u64;
        if limit == 0 || self.front().is_none() {
            return 0;
        }
        let (mut ready, mut changes) = (0, 0);
        loop {
            let stretch = self.ready_here(ready, limit);
            ready += stretch;
            // Stamps are no unbroken run while a batch is being published: all but its first may be
            // there. Acquire: pairs with BATCH in Claim::publish. Having seen a later stamp, this
            // sees the batch's beginning, or that of a batch behind it, and then the first stamp too.
            let batch_at = Sequence(self.side.control().batch_at.load(Ordering::Acquire));
            let before_batch = batch_at.since(self.position);
            if (ready - stretch..ready).contains(&before_batch) && !self.side.is_ready(batch_at) {
                ready = before_batch;
                break;
            }
            // Relaxed: see `Changes`.
            let change_at = self.side.change_word().load(Ordering::Relaxed);
            if ready == limit || stretch == 0 || change_at != self.position.plus(ready).0 {
                break;
            }
            self.side.change_laps();
            changes += 1;
        }
        // Back to the lap of the oldest item.
        if changes % 2 == 1 {
            self.side.change_laps();
        }
        ready as usize
    }

    /// How many items from the one `from` places ahead are ready on this lap, up to the one `limit`
    /// places ahead.
    fn ready_here(&self, from: u64, limit: u64) -> u64 {
        let is_ready = |ahead: u64| self.side.is_ready(self.position.plus(from + ahead));
        if limit == from || !is_ready(0) {
            return 0;
        }
        ready_run(limit - from, is_ready)
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

    /// Steps over the item, and gives back every credit that is due.
    #[inline(always)]
    pub(crate) fn advance_now(self) {
        self.consumer.position = self.consumer.position.next();
        self.consumer.publish_head();
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
