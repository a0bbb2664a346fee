//! A ring from many threads to one: values of any type, or frames in place.
//!
//! Producers come and go: each is a clone of another, with a number of its own ([`ProducerId`]). What
//! one of them pushes arrives in its order, each item once; between two of them the claim decides.
//!
//! A producer writes through a closure, because between claim and commit it holds back everybody
//! behind it:
//!
//! - a closure that returns has committed;
//! - one that panics has *aborted*: the consumer steps over the slot and counts it;
//! - one that does neither leaves an *open claim*: [`Consumer::open_claim`] tells where it is, what
//!   waits behind it, and whose it is. The ring knows no time; who looks judges how long is too long.
//!
//! Where producers are fixed and few, [`fan_in`](crate::ring::fan_in) over a ring each is quicker,
//! and one of them cannot hold back the others.
//!
//! ```
//! use hopline::ring::{PushError, mpsc};
//! use std::thread;
//!
//! let (producer, mut consumer) = mpsc::ring::<u64>(1024)?;
//! for thread in 0..4 {
//!     let mut producer = producer.clone();
//!     thread::spawn(move || {
//!         for number in 0..1_000 {
//!             let mut item = thread * 1_000 + number;
//!             while let Err(PushError::Full(back)) = producer.push(item) {
//!                 item = back; // backpressure: the value comes back
//!                 thread::yield_now();
//!             }
//!         }
//!     });
//! }
//! drop(producer); // the ring closes with the last producer
//! let mut sum = 0;
//! while !consumer.is_finished() {
//!     if consumer.drain(32, |value| sum += value) == 0 {
//!         thread::yield_now();
//!     }
//! }
//! assert_eq!(sum, 4_000 * 3_999 / 2);
//! # Ok::<(), hopline::ring::DepthError>(())
//! ```
//!
//! Invariant: each value is moved in once and moved out or dropped once.

#![allow(
    unsafe_code,
    reason = "a slot is uninitialised memory whenever no value is in it"
)]

use core::fmt;
use core::mem::MaybeUninit;

use crate::base::limits::PAYLOAD_BYTES;
use crate::base::{Cause, Envelope, Sequence};
use crate::ring::hop::{Frame, FrameRef};
use crate::ring::many;
use crate::ring::spsc::Item;
use crate::ring::{ClaimError, DepthError, Layout, Lined, Packed, PushError};

pub use crate::ring::word::{OpenClaim, ProducerId};

/// The first producer of a ring, and its consumer.
pub type Pair<T, L = Packed> = (Producer<T, L>, Consumer<T, L>);

/// A ring of `depth` packed slots: commit word and `T`, one after the other.
///
/// # Errors
/// If `depth` is no power of two within the limits.
pub fn ring<T: Send>(depth: usize) -> Result<Pair<T>, DepthError> {
    ring_at(depth, Sequence(0))
}

/// A ring of `depth` slots that each begin a cache line of their own, so that two producers never
/// write to the same line.
///
/// # Errors
/// If `depth` is no power of two within the limits.
pub fn ring_lined<T: Send>(depth: usize) -> Result<Pair<T, Lined>, DepthError> {
    ring_at(depth, Sequence(0))
}

/// A ring of any layout whose first item has the sequence `start`, for those who resume.
///
/// # Errors
/// If `depth` is no power of two within the limits.
pub fn ring_at<T: Send, L: Layout>(
    depth: usize,
    start: Sequence,
) -> Result<Pair<T, L>, DepthError> {
    let (producer, consumer) = many::ring(depth, start, || Item(MaybeUninit::uninit()))?;
    Ok((Producer(producer), Consumer(consumer)))
}

/// Bytes of heap that a ring of `depth` values takes.
#[must_use]
pub const fn memory_bytes<T, L: Layout>(depth: usize) -> usize {
    many::memory_bytes::<Item<T>, L>(depth)
}

/// A ring of `depth` frames: slots of two cache lines, as those of [`hop`](crate::ring::hop).
///
/// ```
/// use hopline::ring::mpsc;
/// let (mut one, mut consumer) = mpsc::frames(4)?;
/// let mut other = one.clone();
/// for (producer, byte) in [(&mut one, 7), (&mut other, 8)] {
///     producer.push_with(|slot| {
///         slot.payload_mut()[0] = byte;
///         slot.envelope_mut().len = 1;
///     })?;
/// }
/// assert_eq!(consumer.peek().unwrap().payload(), [7]);
/// consumer.advance();
/// assert_eq!(consumer.peek().unwrap().payload(), [8]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
    let (producer, consumer) = many::ring(depth, start, Frame::zeroed)?;
    Ok((FrameProducer(producer), FrameConsumer(consumer)))
}

/// Bytes of heap that a ring of `depth` frames takes, all of them touched at its construction.
///
/// ```
/// use hopline::ring::mpsc;
/// assert!((4096 * 128..4096 * 128 + 1024).contains(&mpsc::frames_memory_bytes(4096)));
/// ```
#[must_use]
pub const fn frames_memory_bytes(depth: usize) -> usize {
    many::memory_bytes::<Frame, Lined>(depth)
}

/// What the writing handles of values and of frames have in common.
macro_rules! producer {
    () => {
        /// Whether `count` slots were free an instant ago. Only a hint: another producer may take them.
        #[inline]
        pub fn has_room(&mut self, count: usize) -> bool {
            self.0.credits() >= count
        }

        /// How many slots are free, by the consumer's published head. Only a hint, as [`Self::has_room`].
        #[inline]
        pub fn credits(&mut self) -> usize {
            self.0.credits()
        }

        /// The sequence that is claimed next, by whichever producer.
        #[inline]
        #[must_use]
        pub fn position(&self) -> Sequence {
            self.0.position()
        }

        /// The number by which an open claim names this producer. It is given to another one
        /// after this one is dropped.
        #[inline]
        #[must_use]
        pub fn id(&self) -> ProducerId {
            self.0.id()
        }

        /// Slots of the ring.
        #[inline]
        #[must_use]
        pub fn depth(&self) -> usize {
            self.0.depth()
        }

        /// Says that nothing more comes from this producer, and why; its later pushes are refused,
        /// and its later clones are closed as well. The others go on.
        ///
        /// The consumer learns it when the last producer has closed or is dropped: the first cause
        /// that any of them gave, [`Cause::Dropped`] if none did.
        pub fn close(&mut self, cause: Cause) {
            self.0.close(cause);
        }

        /// Why the consumer has closed. `None` may be stale; a cause is final.
        #[inline]
        #[must_use]
        pub fn consumer_closed(&self) -> Option<Cause> {
            self.0.consumer_closed()
        }
    };
}

/// What the reading handles of values and of frames have in common.
macro_rules! consumer {
    () => {
        /// How many items are ready now, up to `limit`; each of them can be taken without fail.
        ///
        /// Reads as many commit words, so ask only when there is a backlog. May be stale, but only
        /// too low.
        pub fn ready_ahead(&mut self, limit: usize) -> usize {
            self.0.ready_ahead(limit)
        }

        /// The claim that holds back everything behind it, if the oldest position is one.
        ///
        /// Ask after a look that found nothing; the same [`OpenClaim::sequence`] in a later answer
        /// means that the claim has been open all the while.
        pub fn open_claim(&mut self) -> Option<OpenClaim> {
            self.0.open_claim()
        }

        /// How many slots are claimed and not consumed: ready, open or aborted. May be stale, but only
        /// too low.
        ///
        /// Once this consumer has closed it is exact and only falls: every push that was or will be
        /// accepted is among them, and at 0 nothing will come.
        #[inline]
        #[must_use]
        pub fn claimed(&self) -> u64 {
            self.0.claimed()
        }

        /// Slots that this consumer stepped over because their claim was aborted.
        #[inline]
        #[must_use]
        pub fn aborted(&self) -> u64 {
            self.0.aborted()
        }

        /// Gives back to the producers every credit that is due, now.
        ///
        /// Credits return by themselves every `depth / 8` items and whenever the ring is found empty;
        /// this is for a consumer that stops in between for a while.
        #[inline]
        pub fn return_credits(&mut self) {
            self.0.publish_head();
        }

        /// Whether all producers have closed and everything they pushed is taken: nothing will ever come.
        ///
        /// `false` may be stale; `true` is final.
        #[inline]
        pub fn is_finished(&mut self) -> bool {
            self.0.is_finished()
        }

        /// The sequence of the slot that is read next: everything before it is consumed or was aborted.
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
        /// Every later push is refused. What was claimed before can still be taken, and
        /// [`Self::claimed`] says how much of that is left.
        pub fn close(&mut self, cause: Cause) {
            self.0.close(cause);
        }

        /// Why the last of the producers is gone: the first cause that one of them gave. `None` may
        /// be stale; a cause is final. Items may still be left: see [`Self::is_finished`].
        #[inline]
        #[must_use]
        pub fn producer_closed(&self) -> Option<Cause> {
            self.0.producers_closed()
        }
    };
}

/// A writing handle of a ring of values. Dropping the last one closes the ring with
/// [`Cause::Dropped`]; one that is forgotten keeps it open for ever.
pub struct Producer<T, L: Layout = Packed>(many::Producer<Item<T>, L>);

impl<T, L: Layout> Producer<T, L> {
    /// Pushes one value.
    ///
    /// # Errors
    /// The value comes back if the ring is full or closed.
    ///
    /// ```
    /// use hopline::ring::{PushError, mpsc};
    /// let (mut one, _consumer) = mpsc::ring(2)?;
    /// let mut other = one.clone();
    /// assert_eq!(one.push(1), Ok(()));
    /// assert_eq!(other.push(2), Ok(()));
    /// assert_eq!(one.push(3), Err(PushError::Full(3)));
    /// # Ok::<(), hopline::ring::DepthError>(())
    /// ```
    #[inline]
    pub fn push(&mut self, value: T) -> Result<(), PushError<T>> {
        match self.0.claim(1) {
            Ok(mut claim) => {
                claim.get_mut(0).0.write(value);
                claim.commit(1);
                Ok(())
            }
            Err(reason) => Err(PushError::of(reason, value)),
        }
    }

    /// Pushes the value that `make` gives for its sequence. It is asked only once a slot is claimed.
    ///
    /// If `make` panics, the claim is aborted.
    ///
    /// # Errors
    /// If the ring is full or closed; `make` is not called then.
    ///
    /// ```
    /// use hopline::ring::mpsc;
    /// let (mut producer, mut consumer) = mpsc::ring(2)?;
    /// producer.push_with(|sequence| format!("number {}", sequence.0)).unwrap();
    /// assert_eq!(consumer.pop().unwrap(), "number 0");
    /// # Ok::<(), hopline::ring::DepthError>(())
    /// ```
    #[inline]
    pub fn push_with(&mut self, make: impl FnOnce(Sequence) -> T) -> Result<(), ClaimError> {
        let mut claim = self.0.claim(1)?;
        let value = make(claim.sequence(0));
        claim.get_mut(0).0.write(value);
        claim.commit(1);
        Ok(())
    }

    /// Pushes all values or none, one behind the other, with one claim: no other producer's value
    /// comes between them, and the consumer sees none of them or all of them.
    ///
    /// Closures are served by `(0..n).map(|i| …)`. An iterator that ends before its stated length
    /// pushes what it gave, and the rest of the slots are aborted; one that has more is asked for
    /// no more; one that panics aborts all of them. Returns how many were pushed.
    ///
    /// # Errors
    /// The iterator comes back, unasked, if not all fit or if the ring is closed. More values than
    /// the ring is deep never fit.
    #[inline]
    pub fn push_batch<I>(&mut self, values: I) -> Result<usize, PushError<I::IntoIter>>
    where
        I: IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
    {
        let values = values.into_iter();
        let claim = match self.0.claim(values.len()) {
            Ok(claim) => claim,
            Err(reason) => return Err(PushError::of(reason, values)),
        };
        let count = claim.count();
        let mut filling = Filling {
            claim: Some(claim),
            written: 0,
        };
        for value in values.take(count) {
            filling.write(value);
        }
        Ok(filling.commit())
    }

    producer!();
}

impl<T, L: Layout> Clone for Producer<T, L> {
    fn clone(&self) -> Producer<T, L> {
        Producer(self.0.clone())
    }
}

/// Claimed slots of which the first `written` hold values: what is not committed is dropped.
struct Filling<'a, T, L: Layout> {
    /// Taken by the commit.
    claim: Option<many::Claim<'a, Item<T>, L>>,
    written: usize,
}

impl<T, L: Layout> Filling<'_, T, L> {
    #[inline(always)]
    fn write(&mut self, value: T) {
        if let Some(claim) = &mut self.claim {
            claim.get_mut(self.written).0.write(value);
            self.written += 1;
        }
    }

    #[inline(always)]
    fn commit(mut self) -> usize {
        // Taken first: committed values are no longer this guard's to drop.
        let written = core::mem::take(&mut self.written);
        if let Some(claim) = self.claim.take() {
            claim.commit(written);
        }
        written
    }
}

impl<T, L: Layout> Drop for Filling<'_, T, L> {
    fn drop(&mut self) {
        let Some(claim) = &mut self.claim else { return };
        for index in 0..self.written {
            // SAFETY: the first `written` slots hold values, uncommitted, and are not read again.
            unsafe { claim.get_mut(index).0.assume_init_drop() };
        }
    }
}

/// The reading handle of a ring of values. Dropping it closes the ring with [`Cause::Dropped`].
pub struct Consumer<T, L: Layout = Packed>(many::Consumer<Item<T>, L>);

impl<T, L: Layout> Consumer<T, L> {
    /// Takes the oldest value.
    ///
    /// A racing answer: `None` may be stale, for a producer may just have pushed.
    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        let front = self.0.front()?;
        // SAFETY: a slot that is ready holds a value, and the step over it keeps it from being read again.
        let value = unsafe { front.get().0.assume_init_read() };
        front.advance();
        Some(value)
    }

    /// The oldest value where it lies. The same one again until [`Consumer::advance`] or a pop.
    #[inline]
    pub fn peek(&mut self) -> Option<&T> {
        let item = self.0.front()?.into_ref();
        // SAFETY: a slot that is ready holds a value.
        Some(unsafe { item.0.assume_init_ref() })
    }

    /// Drops the oldest value and steps over it. `false` if there was none.
    #[inline]
    pub fn advance(&mut self) -> bool {
        self.pop().is_some()
    }

    /// Takes up to `max` values, and no more than the ring is deep, and hands each to `f`. Returns how many.
    ///
    /// If `f` panics, the value that it was given counts as consumed; those behind it stay.
    #[inline]
    pub fn drain(&mut self, max: usize, mut f: impl FnMut(T)) -> usize {
        // What comes in the meantime is for the next call: so it ends beside a producer that is as quick.
        let max = max.min(self.depth());
        let mut count = 0;
        while count < max {
            let Some(value) = self.pop() else { break };
            count += 1;
            f(value);
        }
        count
    }

    consumer!();
}

/// A writing handle of a ring of frames. Dropping the last one closes the ring with
/// [`Cause::Dropped`]; one that is forgotten keeps it open for ever.
#[derive(Debug)]
pub struct FrameProducer(many::Producer<Frame, Lined>);

impl FrameProducer {
    /// Claims a slot, lets `write` fill it, and commits it. Returns what `write` returns.
    ///
    /// If `write` panics, the claim is aborted.
    ///
    /// # Errors
    /// If the ring is full or closed; `write` is not called then.
    #[inline]
    pub fn push_with<R>(
        &mut self,
        write: impl FnOnce(&mut FrameSlot<'_>) -> R,
    ) -> Result<R, ClaimError> {
        let mut claim = self.0.claim(1)?;
        let result = write(&mut FrameSlot {
            sequence: claim.sequence(0),
            frame: claim.get_mut(0),
        });
        claim.commit(1);
        Ok(result)
    }

    /// The same for `count` slots, one behind the other: no other producer's frame comes between
    /// them, and the consumer sees none of them or all of them. `write` is called for each, with
    /// its place in the batch. If it panics, all of them are aborted.
    ///
    /// # Errors
    /// If not all of them are free (more than the ring is deep never are) or if the ring is closed.
    #[inline]
    pub fn push_batch_with(
        &mut self,
        count: usize,
        mut write: impl FnMut(usize, &mut FrameSlot<'_>),
    ) -> Result<(), ClaimError> {
        let mut claim = self.0.claim(count)?;
        for at in 0..count {
            let sequence = claim.sequence(at);
            let frame = claim.get_mut(at);
            write(at, &mut FrameSlot { sequence, frame });
        }
        claim.commit(count);
        Ok(())
    }

    producer!();
}

impl Clone for FrameProducer {
    fn clone(&self) -> FrameProducer {
        FrameProducer(self.0.clone())
    }
}

/// A claimed slot, for as long as the closure runs that fills it.
///
/// Envelope and payload hold what an earlier lap left in them: write all that you publish.
#[derive(Debug)]
pub struct FrameSlot<'a> {
    sequence: Sequence,
    frame: &'a mut Frame,
}

impl FrameSlot<'_> {
    /// The sequence that the frame will have.
    #[inline]
    #[must_use]
    pub fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// The envelope; its `len` says how much of the payload counts.
    #[inline]
    pub fn envelope_mut(&mut self) -> &mut Envelope {
        &mut self.frame.envelope
    }

    /// The whole room for the payload.
    #[inline]
    pub fn payload_mut(&mut self) -> &mut [u8; PAYLOAD_BYTES] {
        &mut self.frame.payload
    }
}

/// The reading handle of a ring of frames. Dropping it closes the ring with [`Cause::Dropped`].
#[derive(Debug)]
pub struct FrameConsumer(many::Consumer<Frame, Lined>);

impl FrameConsumer {
    /// The oldest frame where it lies. The same one again until [`FrameConsumer::advance`].
    ///
    /// A racing answer: `None` may be stale, for a producer may just have committed.
    #[inline]
    pub fn peek(&mut self) -> Option<FrameRef<'_>> {
        let front = self.0.front()?;
        // Asked of the front: the look may have stepped over aborted slots.
        let sequence = front.sequence();
        Some(FrameRef::new(sequence, front.into_ref()))
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

    consumer!();
}

// By hand: values need not be printable for their handles to be.
impl<T, L: Layout> fmt::Debug for Producer<T, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T, L: Layout> fmt::Debug for Consumer<T, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
