//! The ring of a hop: slots of two cache lines with an envelope, written and read in place.
//!
//! | bytes of a slot | what |
//! |---|---|
//! | 0..8 | commit word, the ring's own |
//! | 8..32 | [`Envelope`] |
//! | 32..128 | payload, aligned to 32 |
//!
//! ```
//! use hopline::ring::hop;
//! use std::thread;
//!
//! let (mut producer, mut consumer) = hop::frames(1024)?;
//! let reader = thread::spawn(move || {
//!     let mut sum = 0u64;
//!     while !consumer.is_finished() {
//!         let Some(frame) = consumer.peek() else {
//!             thread::yield_now();
//!             continue;
//!         };
//!         sum += u64::from_le_bytes(frame.payload().try_into().unwrap());
//!         consumer.advance();
//!     }
//!     sum
//! });
//! for number in 0..1_000u64 {
//!     while !producer.has_room(1) {
//!         thread::yield_now();
//!     }
//!     let mut claim = producer.claim().unwrap();
//!     claim.payload_mut()[..8].copy_from_slice(&number.to_le_bytes());
//!     claim.envelope_mut().len = 8;
//!     claim.commit();
//! }
//! drop(producer);
//! assert_eq!(reader.join().unwrap(), 1_000 * 999 / 2);
//! # Ok::<(), hopline::ring::DepthError>(())
//! ```
//!
//! Invariant: a claim lends bytes that are initialised (by an earlier lap or with zeros), so nothing here needs `unsafe`.

use crate::base::limits::PAYLOAD_BYTES;
use crate::base::{Cause, Envelope, Sequence};
use crate::ring::stamped::{self, Content};
use crate::ring::{ClaimError, DepthError, Lined};

/// What a slot of a hop holds behind its commit word.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Frame {
    pub(crate) envelope: Envelope,
    pub(crate) payload: [u8; PAYLOAD_BYTES],
}

impl Frame {
    /// What a slot holds before its first lap.
    pub(crate) fn zeroed() -> Frame {
        Frame {
            envelope: Envelope::default(),
            payload: [0; PAYLOAD_BYTES],
        }
    }
}

impl Content for Frame {}

/// A ring of `depth` frames.
///
/// # Errors
/// If `depth` is no power of two within the limits.
pub fn frames(depth: usize) -> Result<(FrameProducer, FrameConsumer), DepthError> {
    frames_at(depth, Sequence(0))
}

/// A ring of `depth` frames whose first has the sequence `start`, for those who resume.
///
/// # Errors
/// If `depth` is no power of two within the limits.
pub fn frames_at(
    depth: usize,
    start: Sequence,
) -> Result<(FrameProducer, FrameConsumer), DepthError> {
    let (producer, consumer) = stamped::ring(depth, start, Frame::zeroed)?;
    Ok((FrameProducer(producer), FrameConsumer(consumer)))
}

/// Bytes of heap that a ring of `depth` frames takes, all of them touched at its construction.
///
/// ```
/// use hopline::ring::hop;
/// let slots = 4096 + 64; // the long lap, and the short one, which uses every second slot
/// assert!((slots * 128..slots * 128 + 1024).contains(&hop::memory_bytes(4096)));
/// ```
#[must_use]
pub const fn memory_bytes(depth: usize) -> usize {
    stamped::memory_bytes::<Frame, Lined>(depth)
}

/// The writing handle of a hop's ring. Dropping it closes the ring with [`Cause::Dropped`].
#[derive(Debug)]
pub struct FrameProducer(stamped::Producer<Frame, Lined>);

impl FrameProducer {
    /// Addresses of the slots, for advice on the memory they lie in.
    #[must_use]
    pub fn span(&self) -> core::ops::Range<usize> {
        self.0.span()
    }

    /// Reserves one slot, to be written in place.
    ///
    /// # Errors
    /// If the ring is full or if either side has closed it.
    #[inline]
    pub fn claim(&mut self) -> Result<FrameClaim<'_>, ClaimError> {
        Ok(FrameClaim(self.0.claim(1)?))
    }

    /// Reserves `count` slots, of which [`FrameBatch::commit`] publishes the first ones at once.
    ///
    /// # Errors
    /// If not all of them are free (more than the ring is deep never are) or if either side has closed it.
    ///
    /// ```
    /// use hopline::ring::{ClaimError, hop};
    /// let (mut producer, mut consumer) = hop::frames(4)?;
    /// let mut batch = producer.claim_batch(3).unwrap();
    /// for index in 0..2 {
    ///     let (envelope, payload) = batch.frame_mut(index);
    ///     payload[0] = index as u8;
    ///     envelope.len = 1;
    /// }
    /// batch.commit(2); // the third slot is given back
    /// assert_eq!(consumer.ready_ahead(4), 2);
    /// assert_eq!(producer.claim_batch(3).unwrap_err(), ClaimError::Full);
    /// # Ok::<(), hopline::ring::DepthError>(())
    /// ```
    #[inline]
    pub fn claim_batch(&mut self, count: usize) -> Result<FrameBatch<'_>, ClaimError> {
        Ok(FrameBatch(self.0.claim(count)?))
    }

    /// Whether `count` slots are free. Looks at the consumer's head only if the cached one says no.
    ///
    /// A racing answer: `false` may be stale, for the consumer may just have made room; but if it is
    /// `true`, `count` slots are yours until you fill them, for nobody else can. Says nothing
    /// about whether the ring is closed.
    ///
    /// ```
    /// use hopline::ring::hop;
    /// let (mut producer, mut consumer) = hop::frames(2)?;
    /// assert!(producer.has_room(2));
    /// producer.claim().unwrap().commit(); // cannot be Full
    /// producer.claim().unwrap().commit(); // nor this
    /// assert!(!producer.has_room(1));
    /// consumer.advance();
    /// assert!(producer.has_room(1));
    /// # Ok::<(), hopline::ring::DepthError>(())
    /// ```
    #[inline]
    pub fn has_room(&mut self, count: usize) -> bool {
        self.0.has_room(count)
    }

    /// How many slots are free, by the consumer's published head. May be stale, but only too low.
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

    /// Why the consumer has closed. `None` may be stale; a cause is final.
    #[inline]
    #[must_use]
    pub fn consumer_closed(&self) -> Option<Cause> {
        self.0.consumer_closed()
    }
}

/// What a producer of frames lends for writing, over the slots that its ring has reserved.
macro_rules! frame_claims {
    ($ring:ident) => {
        /// A reserved slot. Dropping or forgetting it gives the slot back: nothing is consumed.
        ///
        /// Envelope and payload hold what an earlier lap left in them: write all that you publish.
        #[must_use = "a claim that is dropped is aborted"]
        #[derive(Debug)]
        pub struct FrameClaim<'a>($ring::Claim<'a, Frame, Lined>);

        impl FrameClaim<'_> {
            /// The envelope; its `len` says how much of the payload counts.
            #[inline]
            pub fn envelope_mut(&mut self) -> &mut Envelope {
                &mut self.0.get_mut(0).envelope
            }

            /// The whole room for the payload.
            #[inline]
            pub fn payload_mut(&mut self) -> &mut [u8; PAYLOAD_BYTES] {
                &mut self.0.get_mut(0).payload
            }

            /// Publishes the frame.
            #[inline]
            pub fn commit(mut self) {
                self.0.publish(1);
            }
        }

        /// Reserved slots. Dropping or forgetting it gives all of them back: nothing is consumed.
        ///
        /// Envelopes and payloads hold what an earlier lap left in them: write all that you publish.
        #[must_use = "a batch that is dropped is aborted"]
        #[derive(Debug)]
        pub struct FrameBatch<'a>($ring::Claim<'a, Frame, Lined>);

        impl FrameBatch<'_> {
            /// Envelope and payload of the slot `index` places into the batch.
            ///
            /// # Panics
            /// If `index` is not below the count that was claimed.
            #[inline]
            pub fn frame_mut(&mut self, index: usize) -> (&mut Envelope, &mut [u8; PAYLOAD_BYTES]) {
                let frame = self.0.get_mut(index);
                (&mut frame.envelope, &mut frame.payload)
            }

            /// Publishes the first `count` frames (at most as many as were claimed), all or none: a reader that
            /// follows no other one sees the first only when it can see all. The other slots are given back; 0 aborts.
            #[inline]
            pub fn commit(mut self, count: usize) {
                self.0.publish(count);
            }
        }
    };
}
pub(crate) use frame_claims;

frame_claims!(stamped);

/// The reading handle of a hop's ring. Dropping it closes the ring with [`Cause::Dropped`].
#[derive(Debug)]
pub struct FrameConsumer(stamped::Consumer<Frame, Lined>);

impl FrameConsumer {
    /// The oldest frame where it lies. The same one again until [`FrameConsumer::advance`].
    ///
    /// A racing answer: `None` may be stale, for the producer may just have published.
    #[inline]
    pub fn peek(&mut self) -> Option<FrameRef<'_>> {
        let sequence = self.0.position();
        let frame = self.0.front()?.into_ref();
        Some(FrameRef { sequence, frame })
    }

    /// Steps over the oldest frame. `false`, and nothing done, if none is ready.
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

    /// The same, and gives back to the producer every credit that is due: for a consumer whose producer is to know what waits.
    #[inline]
    pub fn advance_now(&mut self) -> bool {
        match self.0.front() {
            Some(front) => {
                front.advance_now();
                true
            }
            None => false,
        }
    }

    /// How many frames are ready now, up to `limit`; each of them can be peeked without fail.
    ///
    /// Reads about 2 log2 of the answer's commit words, so ask only when there is a backlog. May be
    /// stale, but only too low.
    pub fn ready_ahead(&mut self, limit: usize) -> usize {
        self.0.ready_ahead(limit)
    }

    /// Gives back to the producer every credit that is due, now.
    ///
    /// Credits return by themselves every `depth / 8` frames and whenever the ring is found empty;
    /// this is for a consumer that stops in between for a while.
    #[inline]
    pub fn return_credits(&mut self) {
        self.0.publish_head();
    }

    /// Whether the producer has closed and every frame is consumed: nothing will ever come.
    ///
    /// `false` may be stale; `true` is final.
    #[inline]
    pub fn is_finished(&mut self) -> bool {
        self.0.is_finished()
    }

    /// The sequence of the frame that is read next: everything before it is consumed.
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

    /// Says that nothing more is wanted, and why. The first cause stays.
    ///
    /// The producer sees it at its next claim. What it published before that can still be read.
    pub fn close(&mut self, cause: Cause) {
        self.0.close(cause);
    }

    /// Why the producer has closed. `None` may be stale; a cause is final. Frames may still be left:
    /// see [`FrameConsumer::is_finished`].
    #[inline]
    #[must_use]
    pub fn producer_closed(&self) -> Option<Cause> {
        self.0.producer_closed()
    }
}

/// A frame in its slot. It lives until the consumer is used again.
#[derive(Clone, Copy)]
pub struct FrameRef<'a> {
    pub(crate) sequence: Sequence,
    pub(crate) frame: &'a Frame,
}

impl<'a> FrameRef<'a> {
    pub(crate) fn new(sequence: Sequence, frame: &'a Frame) -> FrameRef<'a> {
        FrameRef { sequence, frame }
    }

    /// The frame's sequence on this hop.
    #[inline]
    #[must_use]
    pub fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// The frame's envelope.
    #[inline]
    #[must_use]
    pub fn envelope(&self) -> &'a Envelope {
        &self.frame.envelope
    }

    /// The first `len` bytes of the payload; all of it if the envelope claims more.
    #[inline]
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        let len = usize::from(self.frame.envelope.len).min(PAYLOAD_BYTES);
        &self.frame.payload[..len]
    }
}

impl core::fmt::Debug for FrameRef<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("FrameRef")
            .field("sequence", &self.sequence)
            .field("envelope", self.envelope())
            .field("payload", &self.payload())
            .finish()
    }
}

// The model checker's atomics and cells are wider.
#[cfg(not(any(loom, shuttle)))]
const _: () = {
    use crate::base::limits::{CACHE_LINE_BYTES, SLOT_BYTES, SLOT_HEAD_BYTES};
    use crate::ring::stamped::Slot;

    let payload_at = Slot::<Frame, Lined>::VALUE_AT_BYTES + core::mem::offset_of!(Frame, payload);
    assert!(payload_at == SLOT_HEAD_BYTES && payload_at.is_multiple_of(16));
    assert!(size_of::<Slot<Frame, Lined>>() == SLOT_BYTES);
    assert!(align_of::<Slot<Frame, Lined>>() == CACHE_LINE_BYTES);
};
