//! Taps: lossy observers of a hop that come and go while the line runs.
//!
//! A tap is a ring of its own, beside the hop's. While one is attached, the hop's consumer puts a copy of each frame
//! that it has done with on it, envelope and payload; a full tap loses the copy, which is counted. So
//! a tap never holds anything back, nor does its frame count in the line's ledger: what it was offered is
//! what it accepted and what it lost.
//!
//! ```text
//!   observer                    cells, lock-free              the hop's consumer
//!   ────────                    ────────────────              ──────────────────
//!   makes a ring ─────────────→ coming ──[housekeeping]─────→ copies each frame
//!   frees the ring ←─────────── leaving ←─[housekeeping]───── sees that nobody reads
//! ```
//!
//! The consumer neither allocates nor frees: rings come and go as boxes through two cells that it
//! looks at in its housekeeping.
//!
//! Invariant: a hop without a tap pays one predicted branch a frame, and a hop with one whose reader has
//! stopped for good pays a copy that is refused.

use core::fmt;
use std::sync::Arc;

use crossbeam_utils::CachePadded;
use crossbeam_utils::atomic::AtomicCell;

use crate::base::primitive::{AtomicBool, Ordering};
use crate::base::{Cause, Counter, Envelope};
use crate::ring::DepthError;
use crate::ring::hop::{FrameConsumer, FrameProducer, FrameRef, frames};

use super::ring::RxRing;

/// What a tap was offered, in frames: offered = accepted + lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TapCounts {
    /// Frames that the hop's consumer had done with while the tap was attached.
    pub offered: u64,
    /// Copies that got on the tap's ring.
    pub accepted: u64,
    /// Copies for which it had no room.
    pub lost: u64,
}

/// Written by the hop's consumer alone.
#[derive(Debug, Default)]
struct Counters {
    accepted: Counter,
    lost: Counter,
}

/// The reading end of a tap. Dropping it detaches it.
///
/// Frames are as on the hop, in order, with gaps where the tap lost some. Each counts for itself: of
/// a message of several a tap may have lost a part, which the marks of the envelopes tell.
pub struct Tap {
    ring: FrameConsumer,
    counters: Arc<CachePadded<Counters>>,
    desk: Arc<Desk>,
}

impl Tap {
    /// The oldest copy. The same one again until [`Tap::advance`]. `None` may be stale.
    #[inline]
    pub fn peek(&mut self) -> Option<FrameRef<'_>> {
        self.ring.peek()
    }

    /// Steps over the oldest copy. `false`, and nothing done, if there is none.
    #[inline]
    pub fn advance(&mut self) -> bool {
        self.ring.advance()
    }

    /// What it was offered so far. Exact once the hop is at rest; may be late by the frame in hand before that.
    #[must_use]
    pub fn counts(&self) -> TapCounts {
        let (accepted, lost) = (self.counters.accepted.get(), self.counters.lost.get());
        TapCounts {
            offered: accepted + lost,
            accepted,
            lost,
        }
    }

    /// Frames that it had no room for.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.counters.lost.get()
    }

    /// Whether the hop has ended and every copy is read: nothing will ever come. `false` may be stale.
    #[must_use]
    pub fn is_finished(&mut self) -> bool {
        self.ring.is_finished()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.ring.close(Cause::Dropped);
        // Release pairs with AcqRel in `Desk::attach`: who attaches next finds this one closed.
        self.desk.taken.store(false, Ordering::Release);
    }
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tap")
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

/// Why a tap was not attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TapError {
    /// No ring has that depth.
    #[error(transparent)]
    Depth(#[from] DepthError),
    /// The hop has a tap already; drop that one first.
    #[error("the hop has a tap already")]
    Taken,
    /// The hop has ended.
    #[error("the hop has ended")]
    Over,
}

/// The kind of what stands for frames that a marked tap lost: their number, 8 bytes, in front of the next one that it has
/// room for. No schema has this id.
pub(crate) const LOST_MARK: u16 = 0;

/// The writing end, as it changes hands.
struct Spout {
    ring: FrameProducer,
    counters: Arc<CachePadded<Counters>>,
    /// Whether what is lost is marked.
    marks: bool,
    /// Frames lost since the last one that it had room for.
    lost_run: u64,
}

type Cell = AtomicCell<Option<Box<Spout>>>;

/// Where a hop's observers and its consumer leave things for each other.
pub(crate) struct Desk {
    coming: Cell,
    leaving: Cell,
    /// Whether somebody has the tap. A hop has one at a time, so that a dead one is all that it can cost.
    taken: AtomicBool,
    /// Whether the consumer takes no more taps.
    over: AtomicBool,
}

// A pointer that may be null: a cell of it is one atomic word.
const _: () = assert!(Cell::is_lock_free());

impl Default for Desk {
    fn default() -> Desk {
        Desk {
            coming: AtomicCell::new(None),
            leaving: AtomicCell::new(None),
            taken: AtomicBool::new(false),
            over: AtomicBool::new(false),
        }
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk")
            .field("taken", &self.taken)
            .finish_non_exhaustive()
    }
}

impl Desk {
    /// Leaves a ring of `depth` slots for the consumer to take up. On the observer's thread.
    pub(crate) fn attach(self: &Arc<Desk>, depth: usize) -> Result<Tap, TapError> {
        self.attach_as(depth, false)
    }

    /// The same, and with `marks` a [`LOST_MARK`] says where how many frames are missing. At the end of a hop none does: what
    /// was lost last is known by the tap's counts.
    pub(crate) fn attach_as(self: &Arc<Desk>, depth: usize, marks: bool) -> Result<Tap, TapError> {
        self.collect();
        // Acquire pairs with Release in `Inlet::close`.
        if self.over.load(Ordering::Acquire) {
            return Err(TapError::Over);
        }
        let (producer, consumer) = frames(depth)?;
        // AcqRel: pairs with Release in the last tap's drop.
        if self.taken.swap(true, Ordering::AcqRel) {
            return Err(TapError::Taken);
        }
        let counters = Arc::new(CachePadded::new(Counters::default()));
        let spout = Spout {
            ring: producer,
            counters: Arc::clone(&counters),
            marks,
            lost_run: 0,
        };
        // One that was never taken up comes back, and is freed here.
        drop(self.coming.swap(Some(Box::new(spout))));
        Ok(Tap {
            ring: consumer,
            counters,
            desk: Arc::clone(self),
        })
    }

    /// Frees what the consumer has let go of. On the observer's thread.
    pub(crate) fn collect(&self) {
        drop(self.leaving.take());
    }
}

/// The consumer's end: a spout, or none.
#[derive(Default)]
pub(crate) struct Inlet {
    desk: Arc<Desk>,
    spout: Option<Box<Spout>>,
    /// One that nobody reads any more and that the observer has not taken back yet.
    done: Option<Box<Spout>>,
}

impl fmt::Debug for Inlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inlet")
            .field("attached", &self.spout.is_some())
            .finish_non_exhaustive()
    }
}

impl Inlet {
    /// An inlet that has taken up what already lies on the desk.
    pub(crate) fn new(desk: Arc<Desk>) -> Inlet {
        let mut inlet = Inlet {
            desk,
            ..Inlet::default()
        };
        inlet.housekeep();
        inlet
    }

    /// Copies the frame in hand to the tap, if there is one.
    #[inline(always)]
    pub(crate) fn offer(&mut self, ring: &mut RxRing) {
        if let Some(spout) = &mut self.spout {
            spout.copy(ring);
        }
    }

    /// Takes up a new ring and hands back one that nobody reads. Neither allocates nor frees.
    pub(crate) fn housekeep(&mut self) {
        if self.done.is_some() {
            // What lay there comes back: the observer is late, and is asked again next time.
            self.done = self.desk.leaving.swap(self.done.take());
        }
        let unread = |spout: &Spout| spout.ring.consumer_closed().is_some();
        if self.done.is_none() && self.spout.as_deref().is_some_and(unread) {
            self.done = self.desk.leaving.swap(self.spout.take());
        }
        if self.spout.is_none() {
            self.spout = self.desk.coming.take();
        }
    }

    /// Says that no more frames come.
    pub(crate) fn close(&mut self, cause: Cause) {
        // Release pairs with Acquire in `Desk::attach`.
        self.desk.over.store(true, Ordering::Release);
        self.housekeep();
        if let Some(spout) = &mut self.spout {
            spout.ring.close(cause);
        }
    }
}

impl Spout {
    #[inline(never)]
    fn copy(&mut self, from: &mut RxRing) {
        let Some(frame) = from.peek() else { return };
        let marked = usize::from(self.marks && self.lost_run > 0);
        let Ok(mut claim) = self.ring.claim_batch(marked + 1) else {
            self.counters.lost.add(1);
            self.lost_run += 1;
            return;
        };
        if marked > 0 {
            let (envelope, payload) = claim.frame_mut(0);
            payload[..8].copy_from_slice(&self.lost_run.to_le_bytes());
            *envelope = Envelope {
                kind: LOST_MARK,
                len: 8,
                ..Envelope::default()
            };
        }
        self.lost_run = 0;
        let (envelope, room) = claim.frame_mut(marked);
        let payload = frame.payload();
        // A payload is never longer than a slot's room for it.
        room[..payload.len()].copy_from_slice(payload);
        *envelope = Envelope {
            len: payload.len() as u16,
            ..*frame.envelope()
        };
        claim.commit(marked + 1);
        self.counters.accepted.add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desk_and_inlet() -> (Arc<Desk>, Inlet) {
        let desk = Arc::new(Desk::default());
        let inlet = Inlet::new(Arc::clone(&desk));
        (desk, inlet)
    }

    #[test]
    fn a_ring_that_nobody_reads_goes_back_to_be_freed() {
        let (desk, mut inlet) = desk_and_inlet();
        let tap = desk.attach(8).unwrap();
        inlet.housekeep();
        assert!(inlet.spout.is_some());
        assert_eq!(desk.attach(8).err(), Some(TapError::Taken));
        drop(tap);
        inlet.housekeep();
        assert!(inlet.spout.is_none() && inlet.done.is_none());
        assert!(desk.leaving.take().is_some(), "the observer frees it");
    }

    #[test]
    fn an_observer_that_is_late_makes_the_consumer_keep_one_and_no_more() {
        let (desk, mut inlet) = desk_and_inlet();
        for round in 0..3 {
            let counters = Arc::default();
            let (ring, reader) = frames(2).unwrap();
            drop(reader);
            // As `attach` does it, but for collecting.
            desk.coming.store(Some(Box::new(Spout {
                ring,
                counters,
                marks: false,
                lost_run: 0,
            })));
            inlet.housekeep();
            inlet.housekeep();
            assert_eq!(inlet.done.is_some(), round > 0, "round {round}");
        }
        for _ in 0..2 {
            desk.collect();
            inlet.housekeep();
        }
        assert!(
            inlet.done.is_none() && inlet.spout.is_none(),
            "all handed over once there is room"
        );
    }

    #[test]
    fn a_tap_that_was_never_taken_up_is_replaced() {
        let (desk, mut inlet) = desk_and_inlet();
        drop(desk.attach(8).unwrap());
        let tap = desk.attach(16).unwrap();
        inlet.housekeep();
        assert_eq!(
            inlet.spout.as_ref().map(|spout| spout.ring.depth()),
            Some(16)
        );
        inlet.close(Cause::Finished);
        drop(tap);
        assert_eq!(desk.attach(8).err(), Some(TapError::Over));
    }
    #[test]
    fn a_marked_tap_says_where_how_many_frames_are_missing() {
        let desk = Arc::new(Desk::default());
        let mut tap = desk.attach_as(4, true).unwrap();
        let mut inlet = Inlet::new(Arc::clone(&desk));
        let (mut from, consumer) = frames(64).unwrap();
        let mut ring = RxRing::from(consumer);
        let mut seen = Vec::new();
        let mut offer = |inlet: &mut Inlet, value: u8| {
            let mut claim = from.claim().unwrap();
            claim.payload_mut()[0] = value;
            *claim.envelope_mut() = Envelope {
                kind: 7,
                len: 1,
                ..Envelope::default()
            };
            claim.commit();
            inlet.offer(&mut ring);
            ring.advance(true);
        };
        let mut read = |tap: &mut Tap, most: usize| {
            for _ in 0..most {
                let Some(frame) = tap.peek() else { break };
                seen.push((frame.envelope().kind, frame.payload()[0]));
                tap.advance();
            }
        };
        (0..7).for_each(|value| offer(&mut inlet, value));
        // One place is too little for a mark and a frame.
        read(&mut tap, 1);
        offer(&mut inlet, 7);
        read(&mut tap, 9);
        offer(&mut inlet, 8);
        offer(&mut inlet, 9);
        read(&mut tap, 9);
        assert_eq!(
            seen,
            [
                (7, 0),
                (7, 1),
                (7, 2),
                (7, 3),
                (LOST_MARK, 4),
                (7, 8),
                (7, 9)
            ]
        );
        let counts = TapCounts {
            offered: 10,
            accepted: 6,
            lost: 4,
        };
        assert_eq!(tap.counts(), counts);
    }
}
