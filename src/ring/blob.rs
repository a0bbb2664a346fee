//! Payloads of any size, from one producer to one consumer: descriptors in slots, bytes in an arena beside them.
//!
//! For opaque bytes that do not fit a slot. The payload lies unbroken and aligned to a cache line in a bounded
//! ring of bytes; a slot of one cache line says where, and carries an [`Envelope`] and three words of the user's
//! own. What fits in 56 B is quicker in [`crate::ring::spsc`], what fits in 96 B in [`crate::ring::hop`].
//!
//! ```
//! use hopline::ring::blob;
//! use std::thread;
//!
//! let (mut producer, mut consumer) = blob::ring(64, 64 * 1024)?;
//! let reader = thread::spawn(move || {
//!     let mut bytes = 0;
//!     while !consumer.is_finished() {
//!         let Some(blob) = consumer.peek() else {
//!             thread::yield_now();
//!             continue;
//!         };
//!         assert!(blob.bytes().iter().all(|&byte| byte == blob.words()[0] as u8));
//!         bytes += blob.bytes().len();
//!         consumer.advance();
//!     }
//!     bytes
//! });
//! for number in 0..100 {
//!     let len = number * 50;
//!     while !producer.has_room(len) {
//!         thread::yield_now();
//!     }
//!     let mut claim = producer.claim(len).unwrap();
//!     claim.bytes_mut().fill(number as u8);
//!     claim.words_mut()[0] = number as u64;
//!     claim.commit(len);
//! }
//! drop(producer);
//! assert_eq!(reader.join().unwrap(), 99 * 100 / 2 * 50);
//! # Ok::<(), blob::OpenError>(())
//! ```
//!
//! # What it costs
//!
//! Every byte written and read, beside the best ring that carries the same bytes inline (`benches/peers`, Zen 4): at
//! 256 B between 0.9 and 1.3 of it, at 1 KiB 0.7, at 4 KiB 0.5 to 0.6. Values that all have one size travel quicker in
//! [`spsc::ring_apart`](crate::ring::spsc::ring_apart): 256 B in 0.6 of the time, 1 KiB in 0.8. Measured for that, closed
//! loop:
//!
//! - The line that the consumer waits on holds the descriptor only. With bytes of a payload in it that is written
//!   in place, each poll takes the line from the producer that is still writing: 20-40 % more at 256 B. (A value that
//!   is pushed is written in one go; it does not pay that.)
//! - After a commit the producer writes into the lines that the next payload will take, so that it owns them
//!   before it has something to send: 10 % at 256 B, a quarter at 1 KiB, a third and more at 4 KiB. It takes as many
//!   as the last payload had, up to [`AHEAD_BYTES_MAX`](crate::base::limits::AHEAD_BYTES_MAX). `prefetchw` gains nothing.
//! - The waiting consumer prefetches nothing: at 256 B that takes lines away that are being written, at
//!   1 KiB it gains 5 %, less than the second point, which it would undo.
//! - Descriptors of 128 B, or two to a cache line, are no quicker than those of 64 B.
//!
//! Write wide: a payload that is filled by a call for every word costs more than the hop does.
//!
//! Invariant: a descriptor is published after the bytes that it describes, and names bytes that the consumer gives
//! back only by stepping over it.

#![allow(
    unsafe_code,
    reason = "reads the bytes that a descriptor names, which the other side wrote"
)]

use core::fmt;

use crate::base::limits::{ARENA_BYTES_MAX, ARENA_BYTES_MIN, CACHE_LINE_BYTES};
use crate::base::{Cause, Envelope, Reason, Sequence};
use crate::ring::arena::{self, Extent};
use crate::ring::stamped::{self, Content};
use crate::ring::{ClaimError, DepthError, Lined};

/// Words of the user's own beside a payload: what is left of the descriptor's cache line.
pub const WORDS: usize = 3;

/// What a slot holds behind its commit word.
#[repr(C)]
struct Descriptor {
    extent: Extent,
    envelope: Envelope,
    words: [u64; WORDS],
}

impl Content for Descriptor {}

/// Why a ring was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// No ring has so many slots.
    #[error(transparent)]
    Depth(#[from] DepthError),
    /// No arena has so many bytes.
    #[error(
        "an arena cannot have {given} bytes: a power of two from {ARENA_BYTES_MIN} to {ARENA_BYTES_MAX}, such as {nearest}"
    )]
    Bytes {
        /// What was given, in bytes.
        given: usize,
        /// The next size that would be right, in bytes.
        nearest: usize,
    },
}

/// Why no room was claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlobError {
    /// No slot for the descriptor.
    SlotsFull,
    /// A slot, but not so many bytes unbroken.
    BytesFull,
    /// More bytes than [`BlobProducer::len_max`]: never fits.
    TooLong,
    /// One of the two sides has closed the ring; nothing will ever fit again.
    Closed(Cause),
}

impl fmt::Display for BlobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BlobError::SlotsFull => f.write_str("the ring is full: no slot is free"),
            BlobError::BytesFull => f.write_str("the ring is full: too few bytes are free"),
            BlobError::TooLong => f.write_str("the payload is longer than the ring takes"),
            BlobError::Closed(cause) => write!(f, "the ring is closed ({})", cause.name()),
        }
    }
}

impl std::error::Error for BlobError {}

impl From<ClaimError> for BlobError {
    fn from(reason: ClaimError) -> BlobError {
        match reason {
            ClaimError::Full => BlobError::SlotsFull,
            ClaimError::Closed(cause) => BlobError::Closed(cause),
        }
    }
}

/// Both handles of a ring.
pub type Pair = (BlobProducer, BlobConsumer);

/// A ring of `depth` descriptors beside an arena of `bytes`, both powers of two. A payload may take half of the arena.
///
/// A payload takes whole cache lines, and what is left at the arena's end if it does not fit before it. So for payloads of
/// `len` bytes, `depth` of them fit if `bytes` is at least `depth + 1` times their cache lines.
///
/// # Errors
/// If `depth` or `bytes` is no power of two within the limits.
pub fn ring(depth: usize, bytes: usize) -> Result<Pair, OpenError> {
    ring_at(depth, bytes, Sequence(0))
}

/// A ring whose first blob has the sequence `start`, for those who resume.
///
/// # Errors
/// If `depth` or `bytes` is no power of two within the limits.
pub fn ring_at(depth: usize, bytes: usize, start: Sequence) -> Result<Pair, OpenError> {
    if !(bytes.is_power_of_two() && (ARENA_BYTES_MIN..=ARENA_BYTES_MAX).contains(&bytes)) {
        let nearest = bytes
            .clamp(ARENA_BYTES_MIN, ARENA_BYTES_MAX)
            .next_power_of_two();
        return Err(OpenError::Bytes {
            given: bytes,
            nearest,
        });
    }
    let (slots, ready) = stamped::ring(depth, start, || Descriptor {
        extent: Extent::default(),
        envelope: Envelope::default(),
        words: [0; WORDS],
    })?;
    // Bytes begin near the end of their numbers as well where slots do, so that both wrap.
    let (writer, reader) = arena::arena(bytes, start.0.wrapping_mul(CACHE_LINE_BYTES as u64));
    let producer = BlobProducer {
        slots,
        arena: writer,
    };
    let consumer = BlobConsumer {
        slots: ready,
        arena: reader,
    };
    Ok((producer, consumer))
}

/// Bytes of heap that such a ring takes, all of them touched at its construction.
#[must_use]
pub const fn memory_bytes(depth: usize, bytes: usize) -> usize {
    stamped::memory_bytes::<Descriptor, Lined>(depth) + arena::memory_bytes(bytes)
}

/// The writing handle. Dropping it closes the ring with [`Cause::Dropped`].
#[derive(Debug)]
pub struct BlobProducer {
    slots: stamped::Producer<Descriptor, Lined>,
    arena: arena::Writer,
}

impl BlobProducer {
    /// Reserves a slot and `len` bytes, to be written in place.
    ///
    /// ```
    /// use hopline::ring::blob::{self, BlobError};
    /// let (mut producer, mut consumer) = blob::ring(2, 1024)?;
    /// let mut claim = producer.claim(500).unwrap();
    /// claim.bytes_mut()[..5].copy_from_slice(b"hello");
    /// claim.commit(5); // the rest is given back
    /// assert_eq!(consumer.peek().unwrap().bytes(), b"hello");
    /// assert_eq!(producer.claim(513).unwrap_err(), BlobError::TooLong);
    /// producer.claim(512).unwrap().commit(512);
    /// assert_eq!(producer.claim(0).unwrap_err(), BlobError::SlotsFull);
    /// # Ok::<(), blob::OpenError>(())
    /// ```
    ///
    /// # Errors
    /// If the payload is too long, if either side has closed the ring, if no slot or too few bytes are free.
    #[inline]
    pub fn claim(&mut self, len: usize) -> Result<BlobClaim<'_>, BlobError> {
        if len > self.arena.len_max() {
            return Err(BlobError::TooLong);
        }
        let slot = self.slots.claim(1)?;
        let room = self.arena.room(len).ok_or(BlobError::BytesFull)?;
        Ok(BlobClaim { slot, room })
    }

    /// Whether a slot and `len` bytes are free.
    ///
    /// A racing answer: `false` may be stale, for the consumer may just have made room; but if it is `true`, both
    /// are yours until you fill them, for nobody else can. Says nothing about whether the ring is closed.
    #[inline]
    pub fn has_room(&mut self, len: usize) -> bool {
        len <= self.arena.len_max() && self.slots.has_room(1) && self.arena.room(len).is_some()
    }

    /// Whether `count` slots are free, whatever the bytes. A racing answer, as in [`BlobProducer::has_room`].
    #[inline]
    pub fn has_slots(&mut self, count: usize) -> bool {
        self.slots.has_room(count)
    }

    /// How many slots are free, by the consumer's published head. May be stale, but only too low.
    #[inline]
    pub fn credits(&mut self) -> usize {
        self.slots.credits()
    }

    /// How many bytes are free, by what the consumer has published. May be stale, but only too low.
    ///
    /// A payload needs them unbroken: up to half of the arena this is so when all of it is free.
    #[inline]
    pub fn free_bytes(&mut self) -> usize {
        self.arena.free_bytes()
    }

    /// Bytes passed over so far at the arena's end, because a payload did not fit there. They come back with it.
    #[inline]
    #[must_use]
    pub fn passed_over_bytes(&self) -> u64 {
        self.arena.passed_over()
    }

    /// Longest payload, in bytes: half of the arena.
    #[inline]
    #[must_use]
    pub fn len_max(&self) -> usize {
        self.arena.len_max()
    }

    /// The sequence of the blob that is published next: everything before it is published.
    #[inline]
    #[must_use]
    pub fn position(&self) -> Sequence {
        self.slots.position()
    }

    /// Slots of the ring.
    #[inline]
    #[must_use]
    pub fn depth(&self) -> usize {
        self.slots.depth()
    }

    /// Says that nothing more will come, and why. The first cause stays; later claims are refused.
    pub fn close(&mut self, cause: Cause) {
        self.slots.close(cause);
    }

    /// Why the consumer has closed. `None` may be stale; a cause is final.
    #[inline]
    #[must_use]
    pub fn consumer_closed(&self) -> Option<Cause> {
        self.slots.consumer_closed()
    }
}

/// A reserved slot and bytes. Dropping or forgetting it gives both back: nothing is consumed.
///
/// Bytes, words and envelope hold what an earlier lap left in them: write all that you publish.
#[must_use = "a claim that is dropped is aborted"]
#[derive(Debug)]
pub struct BlobClaim<'a> {
    slot: stamped::Claim<'a, Descriptor, Lined>,
    room: arena::Room<'a>,
}

impl BlobClaim<'_> {
    /// The room for the payload: as many bytes as were claimed, aligned to a cache line.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.room.bytes_mut()
    }

    /// The envelope, all of it the user's: the payload's length is kept elsewhere, and may be more than `len` holds.
    #[inline]
    pub fn envelope_mut(&mut self) -> &mut Envelope {
        &mut self.slot.get_mut(0).envelope
    }

    /// Words of the user's own, in the descriptor's cache line.
    #[inline]
    pub fn words_mut(&mut self) -> &mut [u64; WORDS] {
        &mut self.slot.get_mut(0).words
    }

    /// Publishes the first `len` bytes (at most as many as were claimed); the others are given back.
    #[inline]
    pub fn commit(mut self, len: usize) {
        let (extent, arena) = self.room.keep(len);
        self.slot.get_mut(0).extent = extent;
        self.slot.publish(1);
        arena.take_ahead(extent.len as usize);
    }
}

/// The reading handle. Dropping it closes the ring with [`Cause::Dropped`].
#[derive(Debug)]
pub struct BlobConsumer {
    slots: stamped::Consumer<Descriptor, Lined>,
    arena: arena::Reader,
}

impl BlobConsumer {
    /// The oldest blob where it lies. The same one again until [`BlobConsumer::advance`].
    ///
    /// A racing answer: `None` may be stale, for the producer may just have published.
    #[inline]
    pub fn peek(&mut self) -> Option<BlobRef<'_>> {
        let sequence = self.slots.position();
        let Some(front) = self.slots.front() else {
            self.arena.publish();
            return None;
        };
        let descriptor = front.into_ref();
        // SAFETY: the extent is the writer's, of the oldest blob that was not stepped over; its slot's commit word was
        // seen with Acquire, and stored with Release after the bytes were written.
        let bytes = unsafe { self.arena.bytes(descriptor.extent) };
        Some(BlobRef {
            sequence,
            descriptor,
            bytes,
        })
    }

    /// Steps over the oldest blob. `false`, and nothing done, if none is ready.
    #[inline]
    pub fn advance(&mut self) -> bool {
        let Some(front) = self.slots.front() else {
            self.arena.publish();
            return false;
        };
        self.arena.step_over(front.get().extent);
        front.advance();
        true
    }

    /// Shows up to `max` blobs, and no more than there are slots, to `f`, one after the other, and steps over each.
    /// Returns how many.
    ///
    /// If `f` panics, the blob that it was shown stays.
    #[inline]
    pub fn drain(&mut self, max: usize, mut f: impl FnMut(BlobRef<'_>)) -> usize {
        // What comes in the meantime is for the next call: so it ends beside a producer that is as quick.
        let max = max.min(self.depth());
        let mut count = 0;
        while count < max {
            let Some(blob) = self.peek() else { break };
            f(blob);
            self.advance();
            count += 1;
        }
        count
    }

    /// How many blobs are ready now, up to `limit`; each of them can be peeked without fail.
    ///
    /// Reads about 2 log2 of the answer's commit words, so ask only when there is a backlog. May be stale, but only too low.
    pub fn ready_ahead(&mut self, limit: usize) -> usize {
        let ready = self.slots.ready_ahead(limit);
        if ready == 0 {
            self.arena.publish();
        }
        ready
    }

    /// Gives back to the producer every slot and byte that is due, now.
    ///
    /// They return by themselves every eighth of the ring's slots and of its bytes, and whenever the ring is found
    /// empty; this is for a consumer that stops in between for a while.
    #[inline]
    pub fn return_credits(&mut self) {
        self.arena.publish();
        self.slots.publish_head();
    }

    /// Whether the producer has closed and every blob is consumed: nothing will ever come.
    ///
    /// `false` may be stale; `true` is final.
    #[inline]
    pub fn is_finished(&mut self) -> bool {
        self.slots.is_finished()
    }

    /// The sequence of the blob that is read next: everything before it is consumed.
    #[inline]
    #[must_use]
    pub fn position(&self) -> Sequence {
        self.slots.position()
    }

    /// Slots of the ring.
    #[inline]
    #[must_use]
    pub fn depth(&self) -> usize {
        self.slots.depth()
    }

    /// Says that nothing more is wanted, and why. The first cause stays.
    ///
    /// The producer sees it at its next claim. What it published before that can still be read.
    pub fn close(&mut self, cause: Cause) {
        self.slots.close(cause);
    }

    /// Why the producer has closed. `None` may be stale; a cause is final. Blobs may still be left:
    /// see [`BlobConsumer::is_finished`].
    #[inline]
    #[must_use]
    pub fn producer_closed(&self) -> Option<Cause> {
        self.slots.producer_closed()
    }
}

/// A blob where it lies. It lives until the consumer is used again.
#[derive(Clone, Copy)]
pub struct BlobRef<'a> {
    sequence: Sequence,
    descriptor: &'a Descriptor,
    bytes: &'a [u8],
}

impl<'a> BlobRef<'a> {
    /// The blob's sequence on this ring.
    #[inline]
    #[must_use]
    pub fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// The payload, aligned to a cache line.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The envelope.
    #[inline]
    #[must_use]
    pub fn envelope(&self) -> &'a Envelope {
        &self.descriptor.envelope
    }

    /// The user's own words.
    #[inline]
    #[must_use]
    pub fn words(&self) -> &'a [u64; WORDS] {
        &self.descriptor.words
    }
}

impl fmt::Debug for BlobRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobRef")
            .field("sequence", &self.sequence)
            .field("envelope", self.envelope())
            .field("words", self.words())
            .field("bytes", &self.bytes.len())
            .finish()
    }
}

// The model checker's atomics and cells are wider.
#[cfg(not(any(loom, shuttle)))]
const _: () = assert!(size_of::<stamped::Slot<Descriptor, Lined>>() == CACHE_LINE_BYTES);
