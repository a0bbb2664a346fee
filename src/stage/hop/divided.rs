//! A hop as one of several among which messages are divided, and one whose consumer may be cut off.
//!
//! Invariant: a hop that was cut off stays so: nothing gets on its ring, and all that is offered to it is counted.

use crate::base::{Cause, Shed};
use crate::overload::WhenFull;

use super::HopTx;

/// A place in what goes by a hop: up to and with a message that is offered to it now, whether it gets on the ring or waits for
/// room first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    /// Frames put on the ring, up to and with its last one, if it gets there at once.
    frames: u64,
    /// Entries of the table of those that wait, up to and with its own if it makes one; 0 where it does not wait, or not any more.
    entries: u64,
    /// Whether it may have taken the place of one of those.
    replaces: bool,
}

impl Mark {
    /// Before everything.
    pub(crate) const NONE: Mark = Mark {
        frames: 0,
        entries: 0,
        replaces: false,
    };
}

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

    /// How long its policy lets it hold the producer back in one go, in nanoseconds; 0 where that is for ever.
    pub(crate) fn block_timeout_ns(&self) -> u64 {
        self.admission.policy().block_timeout_ns
    }

    /// Whether its producer has been held back for longer than the policy lets it.
    pub(crate) fn is_expired(&self) -> bool {
        self.admission.is_expired()
    }

    /// Whether a message of `frames` would get on the ring now, without waiting and without being shed for want of room.
    pub(crate) fn fits(&mut self, frames: usize) -> bool {
        self.is_read() && self.ring.has_room(frames) && self.has_room(frames)
    }

    /// Whether a message of `frames` finds no room, or others wait for some, or older ones are about to make some.
    pub(crate) fn is_crowded(&mut self, frames: usize) -> bool {
        let (made, left) = self.made_and_left();
        made > left
            || !self.fits(frames)
            || (self.when_full == WhenFull::DropOldest && self.is_half_full())
    }

    /// Whether half of the ring or more is filled, as far as is known.
    pub(crate) fn is_half_full(&mut self) -> bool {
        2 * self.ring.backlog() >= self.ring.depth()
    }

    /// The mark of a message of `frames` that is offered now; of what came before it with 0.
    pub(crate) fn mark(&self, frames: usize) -> Mark {
        let (made, left) = self.made_and_left();
        let may_wait = self.table.is_some();
        Mark {
            frames: self.put_frames() + frames as u64,
            entries: if may_wait {
                made + u64::from(frames > 0)
            } else {
                0
            },
            replaces: made > left,
        }
    }

    /// Entries that the table of those that wait has made, and how many of them have left it.
    fn made_and_left(&self) -> (u64, u64) {
        let table = self.table.as_ref();
        table.map_or((0, 0), |table| table.made_and_left())
    }

    /// Frames that got on the ring so far.
    fn put_frames(&self) -> u64 {
        self.counters.tx.accepted.get() + self.counters.tx.parts.get()
    }

    /// Whether the consumer is done with what was put on the ring, or waited for room, up to a mark. Known from above: it may be
    /// true for some time before this says so. Also true where nobody reads any more.
    pub(crate) fn is_past(&mut self, mark: &mut Mark) -> bool {
        if !self.is_read() {
            return true;
        }
        let (made, left) = self.made_and_left();
        if mark.replaces || made >= mark.entries {
            if left < made.min(mark.entries) {
                return false;
            }
            // If it waited it is on the ring since then, and not behind what is put there now.
            if mark.entries > 0 {
                mark.frames = mark.frames.max(self.put_frames());
                (mark.entries, mark.replaces) = (0, false);
            }
        }
        match self.ring.backlog() as u64 {
            0 => true,
            backlog => self.put_frames().saturating_sub(backlog) >= mark.frames,
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
