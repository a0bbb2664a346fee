//! Multicast of frames: the slots of a hop, read in place by several.
//!
//! Invariant: a claim lends bytes that are initialised (by an earlier lap or with zeros), so nothing here needs `unsafe`.

use crate::base::limits::PAYLOAD_BYTES;
use crate::base::{Cause, Envelope, Sequence};
use crate::ring::hop::{Frame, FrameRef, frame_claims};
use crate::ring::multicast::{GraphError, ReaderId, barrier};
use crate::ring::{ClaimError, Lined};

/// Makes the handles of a ring with a reader for each set.
pub(super) fn make(
    depth: usize,
    start: Sequence,
    after: &[barrier::Set],
) -> Result<(FrameProducer, Vec<FrameReader>), GraphError> {
    let (producer, readers) = barrier::ring(depth, start, after, Frame::zeroed)?;
    Ok((
        FrameProducer(producer),
        readers.into_iter().map(FrameReader).collect(),
    ))
}

/// Bytes of heap that a ring of `depth` frames with `readers` readers takes, all of them touched at
/// its construction.
///
/// ```
/// use hopline::ring::multicast;
/// assert!((4096 * 128..4096 * 128 + 2048).contains(&multicast::memory_bytes(4096, 3)));
/// ```
#[must_use]
pub const fn memory_bytes(depth: usize, readers: usize) -> usize {
    barrier::memory_bytes::<Frame, Lined>(depth, readers)
}

/// The writing handle of a ring of frames. Dropping it closes the ring with [`Cause::Dropped`].
#[derive(Debug)]
pub struct FrameProducer(barrier::Producer<Frame, Lined>);

impl FrameProducer {
    /// Addresses of the slots, for advice on the memory they lie in.
    #[must_use]
    pub fn span(&self) -> core::ops::Range<usize> {
        self.0.span()
    }

    /// Reserves one slot, to be written in place.
    ///
    /// # Errors
    /// If the slowest reader has a whole ring before it, if all readers have closed, or if this side has.
    #[inline]
    pub fn claim(&mut self) -> Result<FrameClaim<'_>, ClaimError> {
        Ok(FrameClaim(self.0.claim(1)?))
    }

    /// Reserves `count` slots, of which [`FrameBatch::commit`] publishes the first ones at once.
    ///
    /// # Errors
    /// If not all of them are free (more than the ring is deep never are) or if the ring is closed.
    #[inline]
    pub fn claim_batch(&mut self, count: usize) -> Result<FrameBatch<'_>, ClaimError> {
        Ok(FrameBatch(self.0.claim(count)?))
    }

    /// Whether `count` slots are free. Looks at the readers' heads only if the cached one says no.
    ///
    /// A racing answer, as [`Producer::has_room`](super::Producer::has_room) gives it.
    #[inline]
    pub fn has_room(&mut self, count: usize) -> bool {
        self.0.has_room(count)
    }

    /// How many slots are free, by the readers' published heads. May be stale, but only too low.
    #[inline]
    pub fn credits(&mut self) -> usize {
        self.0.credits()
    }

    /// The sequence of the frame that is published next: everything before it is published.
    #[inline]
    #[must_use]
    pub fn position(&self) -> Sequence {
        self.0.position()
    }

    /// Slots of the ring.
    #[inline]
    #[must_use]
    pub fn depth(&self) -> usize {
        self.0.depth()
    }

    /// Says that nothing more will come, and why. The first cause stays; later claims are refused.
    pub fn close(&mut self, cause: Cause) {
        self.0.close(cause);
    }

    /// Why the readers have closed, once all of them have: the first added one's cause. `None` may
    /// be stale; a cause is final.
    #[inline]
    #[must_use]
    pub fn readers_closed(&self) -> Option<Cause> {
        self.0.readers_closed()
    }

    /// Why one reader has closed. `None` may be stale (or there is no such reader); a cause is final.
    #[must_use]
    pub fn reader_closed(&self, reader: ReaderId) -> Option<Cause> {
        self.0.reader_closed(reader.place())
    }

    /// The place of the reader that is furthest behind and holds this side back once the ring is full: of
    /// several the one that the others follow. `None` if all have closed. May be stale.
    #[must_use]
    pub fn slowest_reader(&self) -> Option<usize> {
        self.0.slowest_reader()
    }
}

frame_claims!(barrier);

/// One of the reading handles of a ring of frames. Dropping it closes it with [`Cause::Dropped`].
#[derive(Debug)]
pub struct FrameReader(barrier::Reader<Frame, Lined>);

impl FrameReader {
    /// The oldest frame that may be read, where it lies. The same one again until [`FrameReader::advance`].
    ///
    /// A racing answer: `None` may be stale, for the producer may just have published, or a reader that
    /// this one follows may just have passed. Always `None` once this reader has closed.
    #[inline]
    pub fn peek(&mut self) -> Option<FrameRef<'_>> {
        let sequence = self.0.position();
        let frame = self.0.front()?.into_ref();
        Some(FrameRef { sequence, frame })
    }

    /// Steps over the oldest frame. `false`, and nothing done, if none may be read.
    #[inline]
    pub fn advance(&mut self) -> bool {
        match self.0.front() {
            Some(front) => {
                front.advance();
                true
            }
            None => false,
        }
    }

    /// Steps over the oldest frame and keeps it back from those that follow, until the next
    /// [`FrameReader::advance`] or [`FrameReader::return_credits`]: so they see a message of several
    /// frames whole.
    ///
    /// `false`, and nothing done, if none may be read.
    #[inline]
    pub fn advance_unseen(&mut self) -> bool {
        match self.0.front() {
            Some(front) => {
                front.advance_unseen();
                true
            }
            None => false,
        }
    }

    /// How many frames may be read now, up to `limit`; each of them can be peeked without fail.
    /// May be stale, but only too low.
    pub fn ready_ahead(&mut self, limit: usize) -> usize {
        self.0.ready_ahead(limit)
    }

    /// Gives back to the producer every credit that is due, now: for a reader that stops for a while.
    #[inline]
    pub fn return_credits(&mut self) {
        self.0.publish_head();
    }

    /// Whether nothing will ever come: the producer has closed, and this reader has read everything,
    /// or has closed itself. `false` may be stale; `true` is final.
    #[inline]
    pub fn is_finished(&mut self) -> bool {
        self.0.is_finished()
    }

    /// The sequence of the frame that is read next: everything before it is read.
    #[inline]
    #[must_use]
    pub fn position(&self) -> Sequence {
        self.0.position()
    }

    /// Slots of the ring.
    #[inline]
    #[must_use]
    pub fn depth(&self) -> usize {
        self.0.depth()
    }

    /// Says that nothing more is wanted, and why. The first cause stays. This reader holds nobody up from
    /// now on, and so reads nothing more, not even what was published before.
    pub fn close(&mut self, cause: Cause) {
        self.0.close(cause);
    }

    /// Why the producer has closed. `None` may be stale; a cause is final. Frames may still be left:
    /// see [`FrameReader::is_finished`].
    #[inline]
    #[must_use]
    pub fn producer_closed(&self) -> Option<Cause> {
        self.0.producer_closed()
    }
}
