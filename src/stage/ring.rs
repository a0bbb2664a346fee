//! The ring of a hop, whichever it is: to one consumer, or to several that read in place.
//!
//! Invariant: both kinds are written and read alike; which one it is, is a predicted branch.

use crate::base::limits::PAYLOAD_BYTES;
use crate::base::{Cause, Envelope};
use crate::ring::hop::{FrameConsumer, FrameProducer, FrameRef};
use crate::ring::{ClaimError, multicast};

/// The writing end.
#[derive(Debug)]
pub enum TxRing {
    /// To one consumer.
    One(FrameProducer),
    /// To several.
    Many {
        /// The ring's producer.
        ring: multicast::FrameProducer,
        /// How many there are.
        consumers: usize,
    },
}

impl From<FrameProducer> for TxRing {
    fn from(ring: FrameProducer) -> TxRing {
        TxRing::One(ring)
    }
}

/// Calls the same method of whichever ring it is.
macro_rules! either {
    ($self:ident, $ring:ident => $call:expr) => {
        match $self {
            Self::One($ring) => $call,
            Self::Many { ring: $ring, .. } => $call,
        }
    };
}

impl TxRing {
    /// How many consumers see each frame.
    #[inline]
    pub(crate) fn consumers(&self) -> usize {
        match self {
            TxRing::One(_) => 1,
            TxRing::Many { consumers, .. } => *consumers,
        }
    }

    /// The consumer that is furthest behind, by its place.
    #[cold]
    pub(crate) fn slowest(&self) -> usize {
        match self {
            TxRing::One(_) => 0,
            TxRing::Many { ring, .. } => ring.slowest_reader().unwrap_or(0),
        }
    }

    #[inline]
    pub(crate) fn has_room(&mut self, frames: usize) -> bool {
        either!(self, ring => ring.has_room(frames))
    }

    /// Whether nobody reads any more.
    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.closed().is_some()
    }

    /// Why nobody reads any more, if so.
    #[inline]
    pub(crate) fn closed(&self) -> Option<Cause> {
        match self {
            TxRing::One(ring) => ring.consumer_closed(),
            TxRing::Many { ring, .. } => ring.readers_closed(),
        }
    }

    pub(crate) fn depth(&self) -> usize {
        either!(self, ring => ring.depth())
    }

    /// Frames that are on it, or were until the slowest consumer last gave back credits: never too few.
    pub(crate) fn backlog(&mut self) -> usize {
        either!(self, ring => ring.depth() - ring.credits())
    }

    /// Addresses of the slots, for advice on the memory they lie in.
    pub(crate) fn span(&self) -> core::ops::Range<usize> {
        either!(self, ring => ring.span())
    }

    pub(crate) fn close(&mut self, cause: Cause) {
        either!(self, ring => ring.close(cause));
    }

    /// Publishes a frame whose payload `write` writes in place.
    #[inline(always)]
    pub(crate) fn put(
        &mut self,
        write: impl FnOnce(&mut [u8; PAYLOAD_BYTES]) -> Envelope,
    ) -> Result<(), ClaimError> {
        either!(self, ring => {
            let mut claim = ring.claim()?;
            let envelope = write(claim.payload_mut());
            *claim.envelope_mut() = envelope;
            claim.commit();
        });
        Ok(())
    }

    /// Writes the frame `at` places ahead, of `frames` that [`TxRing::publish`] makes visible together.
    #[inline]
    pub(crate) fn write_ahead(
        &mut self,
        at: usize,
        frames: usize,
        write: impl FnOnce(&mut [u8; PAYLOAD_BYTES]) -> Envelope,
    ) {
        // The batch is dropped after the write: nothing is published, and the slots stay claimed
        // by nobody but this producer until `publish` claims them again.
        either!(self, ring => if let Ok(mut batch) = ring.claim_batch(frames) {
            let (envelope, payload) = batch.frame_mut(at);
            *envelope = write(payload);
        });
    }

    /// Publishes the next `frames` frames, which were written ahead.
    pub(crate) fn publish(&mut self, frames: usize) -> Result<(), ClaimError> {
        either!(self, ring => ring.claim_batch(frames)?.commit(frames));
        Ok(())
    }
}

/// The reading end.
#[derive(Debug)]
pub enum RxRing {
    /// The only consumer's.
    One(FrameConsumer),
    /// One of several consumers'.
    Many {
        /// The consumer's reader.
        ring: multicast::FrameReader,
    },
}

impl From<FrameConsumer> for RxRing {
    fn from(ring: FrameConsumer) -> RxRing {
        RxRing::One(ring)
    }
}

impl From<multicast::FrameReader> for RxRing {
    fn from(ring: multicast::FrameReader) -> RxRing {
        RxRing::Many { ring }
    }
}

impl RxRing {
    #[inline(always)]
    pub(crate) fn peek(&mut self) -> Option<FrameRef<'_>> {
        either!(self, ring => ring.peek())
    }

    /// Steps over the frame in hand. Those that follow see a message when its last frame is done.
    #[inline(always)]
    pub(crate) fn advance(&mut self, is_last: bool) {
        match self {
            RxRing::One(ring) => ring.advance(),
            RxRing::Many { ring } if is_last => ring.advance(),
            RxRing::Many { ring } => ring.advance_unseen(),
        };
    }

    /// Steps over the frame in hand, the last of its message, and gives back every credit that is due, so that the producer knows
    /// how much waits.
    #[inline(always)]
    pub(crate) fn advance_now(&mut self) {
        match self {
            RxRing::One(ring) => {
                ring.advance_now();
            }
            RxRing::Many { ring } => {
                ring.advance();
                ring.return_credits();
            }
        }
    }

    pub(crate) fn ready_ahead(&mut self, limit: usize) -> usize {
        either!(self, ring => ring.ready_ahead(limit))
    }

    pub(crate) fn depth(&self) -> usize {
        either!(self, ring => ring.depth())
    }

    #[inline]
    pub(crate) fn is_finished(&mut self) -> bool {
        either!(self, ring => ring.is_finished())
    }

    pub(crate) fn close(&mut self, cause: Cause) {
        either!(self, ring => ring.close(cause));
    }

    /// Whether others read it too: then what it leaves is no longer its own to step over.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self, RxRing::Many { .. })
    }
}
