//! A hop as one of several among which messages are divided, and one whose consumer may be cut off.
//!
//! Invariant: a hop that was cut off stays so: nothing gets on its ring, and all that is offered to it is counted.

use crate::base::{Cause, Shed};
use crate::overload::WhenFull;

use super::HopTx;

impl HopTx {
    /// The same with a consumer that is cut off once it has held the producer back for longer than the policy lets it.
    pub(crate) fn disconnecting(mut self, disconnects: bool) -> HopTx {
        self.disconnects = disconnects;
        self
    }

    /// Puts nothing more on the ring: the consumer ends when it has read what is queued.
    #[cold]
    pub(super) fn disconnect(&mut self) {
        if self.cut {
            return;
        }
        self.cut = true;
        self.keep_cut();
        self.forget_waiting(Shed::Disconnected);
        self.ring.close(Cause::Finished);
        self.wake_consumers();
    }

    /// Once cut off, whatever its policy says: its producer is not held back, and every offer is looked at.
    pub(super) fn keep_cut(&mut self) {
        if self.cut {
            self.when_full = WhenFull::DropNewest;
            self.judged = true;
            self.admission.look_at_each();
        }
    }

    /// Whether somebody reads what is put on it.
    pub(crate) fn is_read(&self) -> bool {
        !self.cut && !self.ring.is_closed()
    }

    /// Whether its policy holds the producer back.
    pub(crate) fn blocks(&self) -> bool {
        self.when_full == WhenFull::Block
    }

    /// Whether its producer has been held back for longer than the policy lets it.
    pub(crate) fn is_expired(&self) -> bool {
        self.admission.is_expired()
    }

    /// Whether a message of `frames` would get on the ring now, without waiting and without being shed for want of room.
    pub(crate) fn fits(&mut self, frames: usize) -> bool {
        self.is_read() && self.ring.has_room(frames) && self.has_room(frames)
    }

    /// Whether a message of `frames` finds no room, or older ones are about to make some.
    pub(crate) fn is_crowded(&mut self, frames: usize) -> bool {
        !self.fits(frames) || (self.when_full == WhenFull::DropOldest && self.is_half_full())
    }

    /// Whether half of the ring or more is filled, as far as is known.
    pub(crate) fn is_half_full(&mut self) -> bool {
        2 * self.ring.backlog() >= self.ring.depth()
    }

    /// Frames that got on the ring so far.
    pub(crate) fn put_frames(&self) -> u64 {
        self.counters.tx.accepted.get() + self.counters.tx.parts.get()
    }

    /// Whether the consumer is done with the first `mark` frames, and nothing waits for room. Known from above: it may be true for
    /// some time before this says so. Also true where nobody reads any more.
    pub(crate) fn is_past(&mut self, mark: u64) -> bool {
        if !self.is_read() {
            return true;
        }
        if self.table.as_ref().is_some_and(|table| table.waiting() > 0) {
            return false;
        }
        match self.ring.backlog() as u64 {
            0 => true,
            backlog => self.put_frames().saturating_sub(backlog) >= mark,
        }
    }

    /// Refuses a whole message, for a reason that is not the hop's own.
    #[cold]
    pub(crate) fn refuse(&mut self, kind: u16, why: Shed, t_offer_ns: u64) {
        self.counters.tx.offered.add(1);
        self.shed(kind, why, t_offer_ns);
    }

    /// As [`HopTx::begin`], for a message that is refused for a reason that is not the hop's own.
    #[cold]
    pub(crate) fn begin_refused(&mut self, why: Shed, t_offer_ns: u64) {
        self.open_at_ns = t_offer_ns;
        self.open = 0;
        self.refused = Some(why);
    }
}
