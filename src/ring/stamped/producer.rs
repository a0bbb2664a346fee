//! The writing side.
//!
//! Invariant: laps change only between a publish and the next one, so a position that is claimed
//! twice with the same count is claimed in the same slots.

#![allow(unsafe_code, reason = "lends slots that the consumer cannot see yet")]

use core::fmt;

use crate::base::primitive::Ordering;
use crate::base::{Cause, Sequence};
use crate::ring::{ClaimError, Layout};

use super::{BATCH, Content, PLANTED_CREDIT, PLANTED_LAPS, PUBLISH, Side, short, stamp};

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
    /// Most items ahead of the head on the lap that this side is on.
    most: u64,
    /// At this position the producer looks at the head and thinks about the lap.
    look_at: Sequence,
    /// Why this side has closed.
    closed: Option<Cause>,
}

/// A backlog up to this is no reason to leave the short lap.
const fn few<V, L: Layout>() -> u64 {
    let quarter = short::<V, L>() / 4;
    // Above what brings it back, or a backlog that does not change would go to and fro.
    if cfg!(not(any(loom, shuttle))) && quarter <= NEARLY_NONE {
        NEARLY_NONE + 1
    } else {
        quarter
    }
}

/// A backlog up to this is a reason to go back to it: an item or two are always under way.
const NEARLY_NONE: u64 = 2;

/// Fewest items between two looks on the long lap. A look takes the head's line from the consumer,
/// about what 16 items cost to publish.
const LOOK_AFTER: u64 = if cfg!(any(loom, shuttle)) { 1 } else { 64 };

/// Further ahead than positions ever come: never.
const NEVER: u64 = u64::MAX >> 1;

impl<V: Content, L: Layout> Producer<V, L> {
    pub(super) fn new(side: Side<V, L>, start: Sequence) -> Producer<V, L> {
        let (most, look_after) = if side.on_short {
            (short::<V, L>(), short::<V, L>() / 2)
        } else {
            (side.depth(), NEVER)
        };
        Producer {
            side,
            position: start,
            head: start,
            most,
            look_at: start.plus(look_after),
            closed: None,
        }
    }

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

    /// Credits by the consumer's head as it is now.
    #[inline]
    pub(crate) fn credits(&mut self) -> usize {
        // Acquire: pairs with RETURN in Consumer::publish_head; the consumer has done with what lies before.
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
        let known = self.most + PLANTED_CREDIT - self.position.since(self.head);
        if count as u64 > known && !self.make_room(count) {
            return Err(ClaimError::Full);
        }
        Ok(Claim {
            producer: self,
            count,
        })
    }

    /// Finds room by the head as it is now, on the long lap if the short one has none.
    #[cold]
    fn make_room(&mut self, count: usize) -> bool {
        if count > self.credits() {
            return false;
        }
        if self.side.on_short && self.position.since(self.head) + count as u64 > short::<V, L>() {
            self.change_to_long();
        }
        true
    }

    /// Looks at the head when nobody waits for it, and changes laps if the backlog has changed.
    #[inline(never)]
    fn look(&mut self) {
        self.credits();
        let backlog = self.position.since(self.head);
        if self.side.on_short {
            if backlog > few::<V, L>() {
                self.change_to_long();
            } else {
                self.look_at = self.head.plus(short::<V, L>() / 2);
            }
            return;
        }
        // Relaxed: this side's own word.
        let changed_at = self
            .side
            .control()
            .changes
            .to_long_at
            .load(Ordering::Relaxed);
        let since_change = self.position.since(Sequence(changed_at));
        // The consumer has passed the change to this lap, so its word may be written anew one day. As long as `LOOK_AFTER`
        // exceeds `NEARLY_NONE` a short backlog says so by itself; in the models, which look after each item, it does not.
        let is_passed = backlog < since_change || PLANTED_LAPS;
        if backlog <= NEARLY_NONE && is_passed {
            self.change();
            self.most = short::<V, L>();
            self.look_at = self.head.plus(short::<V, L>() / 2);
        } else {
            // A long backlog does not go away sooner than it would take to publish another.
            self.look_at = self.position.plus(backlog.max(LOOK_AFTER));
        }
    }

    fn change_to_long(&mut self) {
        self.change();
        self.most = self.side.depth();
        self.look_at = self.position.plus(LOOK_AFTER);
    }

    /// Announces that items lie in the other lap from the next position on.
    fn change(&mut self) {
        // Relaxed: see `Changes`.
        let word = self.side.change_word();
        word.store(self.position.0, Ordering::Relaxed);
        self.side.change_laps();
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
            side.control().batch_at.store(first.0, BATCH);
            for ahead in 1..count as u64 {
                let later = first.plus(ahead);
                side.slot(later).seq.store(stamp(later), PUBLISH); // pairs with Acquire in Side::is_ready
            }
        }
        side.slot(first).seq.store(stamp(first), PUBLISH); // pairs with Acquire in Side::is_ready
        // No prefetch of the next slot for writing: it takes the line from the consumer that already
        // waits on it, and costs 20-40 % of a hop (`benches/ring_spsc.rs`, measured on Zen 4).
        self.producer.position = first.plus(count as u64);
        // As a signed number: not yet there is negative.
        if self.producer.position.since(self.producer.look_at) as i64 >= 0 {
            self.producer.look();
        }
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
