//! A ring for values of any type, from one thread to one other.
//!
//! ```
//! use hopline::ring::{PushError, spsc};
//! use std::thread;
//!
//! let (mut producer, mut consumer) = spsc::ring::<u64>(1024)?;
//! let sum = thread::spawn(move || {
//!     let mut sum = 0;
//!     while !consumer.is_finished() {
//!         // What to do between two empty looks (spin, yield, park) is the caller's business.
//!         if consumer.drain(32, |value| sum += value) == 0 {
//!             thread::yield_now();
//!         }
//!     }
//!     sum
//! });
//! for value in 0..10_000 {
//!     let mut item = value;
//!     while let Err(PushError::Full(back)) = producer.push(item) {
//!         item = back; // backpressure: the value comes back
//!         thread::yield_now();
//!     }
//! }
//! drop(producer); // closes with Cause::Dropped; what was pushed still arrives
//! assert_eq!(sum.join().unwrap(), 10_000 * 9_999 / 2);
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

use crate::base::{Cause, Sequence};
use crate::ring::stamped::{self, Content};
use crate::ring::{Apart, ClaimError, DepthError, Layout, Lined, Packed, PushError};

/// A slot's content: a value from the moment it is published until it is consumed.
#[repr(transparent)]
pub(crate) struct Item<T>(pub(crate) MaybeUninit<T>);

impl<T> Content for Item<T> {
    const DISCARDS: bool = core::mem::needs_drop::<T>();

    /// # Safety
    /// As in [`Content::discard`]: the item was published and not consumed.
    unsafe fn discard(&mut self) {
        // SAFETY: the caller says that it was published and not consumed, so a value is in it.
        unsafe { self.0.assume_init_drop() };
    }
}

/// Both handles of a ring.
pub type Pair<T, L = Packed> = (Producer<T, L>, Consumer<T, L>);

/// A ring of `depth` packed slots: commit word and `T`, one after the other.
///
/// # Errors
/// If `depth` is no power of two within the limits.
pub fn ring<T: Send>(depth: usize) -> Result<Pair<T>, DepthError> {
    ring_at(depth, Sequence(0))
}

/// A ring of `depth` slots that each begin a cache line of their own.
///
/// The commit word takes 8 bytes, so a `T` of up to 56 bytes travels in one cache line, never in
/// halves of two. For values of a few words [`ring()`] is at least as quick, and denser.
///
/// # Errors
/// If `depth` is no power of two within the limits.
pub fn ring_lined<T: Send>(depth: usize) -> Result<Pair<T, Lined>, DepthError> {
    ring_at(depth, Sequence(0))
}

/// A ring of `depth` slots for values of more than 120 bytes: the commit word has a cache line for itself, and the value
/// begins the next one.
///
/// The writing of such a value takes so long that the waiting consumer would take the line that holds both the word
/// and the value's beginning away in the middle: at 256 B a hop costs half as much again with [`ring_lined`].
///
/// ```
/// use hopline::ring::spsc;
/// let (mut producer, mut consumer) = spsc::ring_apart::<[u64; 32]>(64)?;
/// producer.push([7; 32]).unwrap();
/// assert_eq!(consumer.peek().unwrap().iter().sum::<u64>(), 7 * 32);
/// # Ok::<(), hopline::ring::DepthError>(())
/// ```
///
/// # Errors
/// If `depth` is no power of two within the limits.
pub fn ring_apart<T: Send>(depth: usize) -> Result<Pair<T, Apart>, DepthError> {
    ring_at(depth, Sequence(0))
}

/// Bytes of heap that a ring of `depth` values takes, all of them reserved at its construction.
///
/// ```
/// use hopline::ring::{Apart, Packed, spsc};
/// assert!((1024 * 16..1024 * 16 + 2048).contains(&spsc::memory_bytes::<u64, Packed>(1024)));
/// assert!(spsc::memory_bytes::<[u64; 32], Apart>(64) > 64 * 320);
/// ```
#[must_use]
pub const fn memory_bytes<T, L: Layout>(depth: usize) -> usize {
    stamped::memory_bytes::<Item<T>, L>(depth)
}

/// A ring of any layout whose first item has the sequence `start`, for those who resume.
///
/// ```
/// use hopline::base::Sequence;
/// use hopline::ring::{Packed, spsc};
/// let (mut producer, mut consumer) = spsc::ring_at::<_, Packed>(2, Sequence(u64::MAX))?;
/// producer.push('a').unwrap();
/// producer.push('b').unwrap();
/// assert_eq!(producer.position(), Sequence(1)); // positions wrap
/// assert_eq!((consumer.pop(), consumer.pop()), (Some('a'), Some('b')));
/// # Ok::<(), hopline::ring::DepthError>(())
/// ```
///
/// # Errors
/// If `depth` is no power of two within the limits.
pub fn ring_at<T: Send, L: Layout>(
    depth: usize,
    start: Sequence,
) -> Result<Pair<T, L>, DepthError> {
    let (producer, consumer) = stamped::ring(depth, start, || Item(MaybeUninit::uninit()))?;
    Ok((Producer(producer), Consumer(consumer)))
}

/// The writing handle of a ring. Dropping it closes the ring with [`Cause::Dropped`].
pub struct Producer<T, L: Layout = Packed>(stamped::Producer<Item<T>, L>);

impl<T, L: Layout> Producer<T, L> {
    /// Pushes one value.
    ///
    /// # Errors
    /// The value comes back if the ring is full or if either side has closed it.
    ///
    /// ```
    /// use hopline::ring::{PushError, spsc};
    /// let (mut producer, _consumer) = spsc::ring(2)?;
    /// assert_eq!(producer.push(1), Ok(()));
    /// assert_eq!(producer.push(2), Ok(()));
    /// assert_eq!(producer.push(3), Err(PushError::Full(3)));
    /// # Ok::<(), hopline::ring::DepthError>(())
    /// ```
    #[inline]
    pub fn push(&mut self, value: T) -> Result<(), PushError<T>> {
        match self.0.claim(1) {
            Ok(mut claim) => {
                claim.get_mut(0).0.write(value);
                claim.publish(1);
                Ok(())
            }
            Err(reason) => Err(PushError::of(reason, value)),
        }
    }

    /// Pushes all values or none, with one publish: the consumer sees none of them or all of them.
    ///
    /// Closures are served by `(0..n).map(|i| …)`. An iterator that ends before its stated length
    /// publishes what it gave; one that has more is asked for no more. Returns how many were pushed.
    ///
    /// # Errors
    /// The iterator comes back, unasked, if not all fit or if either side has closed the ring. More
    /// values than the ring is deep never fit.
    ///
    /// ```
    /// use hopline::ring::{PushError, spsc};
    /// let (mut producer, mut consumer) = spsc::ring(4)?;
    /// assert_eq!(producer.push_batch([1, 2, 3]).unwrap(), 3);
    /// assert!(matches!(producer.push_batch([4, 5]), Err(PushError::Full(_))));
    /// assert_eq!(producer.push_batch((4..5).map(|i| i * 10)).unwrap(), 1);
    /// let mut seen = Vec::new();
    /// consumer.drain(usize::MAX, |value| seen.push(value));
    /// assert_eq!(seen, [1, 2, 3, 40]);
    /// # Ok::<(), hopline::ring::DepthError>(())
    /// ```
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
        let mut filling = Filling { claim, written: 0 };
        for value in values.take(count) {
            filling.claim.get_mut(filling.written).0.write(value);
            filling.written += 1;
        }
        Ok(filling.publish())
    }

    /// Reserves one slot to write and commit later in the turn.
    ///
    /// # Errors
    /// If the ring is full or if either side has closed it.
    ///
    /// ```
    /// use hopline::ring::spsc;
    /// let (mut producer, mut consumer) = spsc::ring(2)?;
    /// drop(producer.claim().unwrap()); // abort: as if nothing had been
    /// let mut filled = producer.claim().unwrap().write(vec![1]);
    /// filled.value_mut().push(2);
    /// assert_eq!(consumer.pop(), None); // not yet committed
    /// filled.commit();
    /// assert_eq!(consumer.pop(), Some(vec![1, 2]));
    /// # Ok::<(), hopline::ring::DepthError>(())
    /// ```
    #[inline]
    pub fn claim(&mut self) -> Result<Claim<'_, T, L>, ClaimError> {
        Ok(Claim(self.0.claim(1)?))
    }

    /// Whether `count` slots are free. Looks at the consumer's head only if the cached one says no.
    ///
    /// A racing answer: `false` may be stale, for the consumer may just have made room; but if it is
    /// `true`, `count` slots are yours until you fill them, for nobody else can. Says nothing
    /// about whether the ring is closed.
    ///
    /// ```
    /// use hopline::ring::spsc;
    /// let (mut producer, mut consumer) = spsc::ring(4)?;
    /// if producer.has_room(2) {
    ///     producer.push('a').unwrap(); // these two cannot be Full
    ///     producer.push('b').unwrap();
    /// }
    /// assert!(!producer.has_room(3));
    /// consumer.drain(2, drop);
    /// assert!(producer.has_room(4));
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

    /// The sequence of the value that is pushed next: everything before it is published.
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

    /// Says that nothing more will come, and why. The first cause stays; later pushes are refused.
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

/// A reserved slot. Dropping or forgetting it gives the slot back: nothing is consumed.
#[must_use = "a claim that is dropped is aborted"]
pub struct Claim<'a, T, L: Layout = Packed>(stamped::Claim<'a, Item<T>, L>);

impl<'a, T, L: Layout> Claim<'a, T, L> {
    /// Writes the value in place. It is not visible before [`Filled::commit`].
    #[inline]
    pub fn write(mut self, value: T) -> Filled<'a, T, L> {
        self.0.get_mut(0).0.write(value);
        Filled(Filling {
            claim: self.0,
            written: 1,
        })
    }
}

/// A slot with its value in place, not yet visible. Dropping it drops the value and gives the slot back.
#[must_use = "a value that is not committed is dropped"]
pub struct Filled<'a, T, L: Layout = Packed>(Filling<'a, T, L>);

impl<T, L: Layout> Filled<'_, T, L> {
    /// The value where it lies.
    #[inline]
    pub fn value_mut(&mut self) -> &mut T {
        // SAFETY: a `Filled` is made by writing the value, and only commit or drop end that.
        unsafe { self.0.claim.get_mut(0).0.assume_init_mut() }
    }

    /// Makes the value visible to the consumer.
    #[inline]
    pub fn commit(self) {
        self.0.publish();
    }
}

/// Claimed slots of which the first `written` hold values: what is not published is dropped.
struct Filling<'a, T, L: Layout> {
    claim: stamped::Claim<'a, Item<T>, L>,
    written: usize,
}

impl<T, L: Layout> Filling<'_, T, L> {
    #[inline]
    fn publish(mut self) -> usize {
        // Taken first: published values are no longer this guard's to drop.
        let written = core::mem::take(&mut self.written);
        self.claim.publish(written);
        written
    }
}

impl<T, L: Layout> Drop for Filling<'_, T, L> {
    fn drop(&mut self) {
        for index in 0..self.written {
            // SAFETY: the first `written` slots hold values, unpublished, and are not read again.
            unsafe { self.claim.get_mut(index).0.assume_init_drop() };
        }
    }
}

/// The reading handle of a ring. Dropping it closes the ring with [`Cause::Dropped`].
pub struct Consumer<T, L: Layout = Packed>(stamped::Consumer<Item<T>, L>);

impl<T, L: Layout> Consumer<T, L> {
    /// Takes the oldest value.
    ///
    /// A racing answer: `None` may be stale, for the producer may just have pushed.
    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        let front = self.0.front()?;
        // SAFETY: a slot that is ready holds a value, and the step over it keeps it from being read again.
        let value = unsafe { front.get().0.assume_init_read() };
        front.advance();
        Some(value)
    }

    /// The oldest value where it lies. The same one again until [`Consumer::advance`] or a pop.
    ///
    /// ```
    /// use hopline::ring::spsc;
    /// let (mut producer, mut consumer) = spsc::ring(2)?;
    /// producer.push("a frame").unwrap();
    /// assert_eq!(consumer.peek(), Some(&"a frame"));
    /// assert_eq!(consumer.peek(), Some(&"a frame"));
    /// assert!(consumer.advance());
    /// assert_eq!(consumer.peek(), None);
    /// # Ok::<(), hopline::ring::DepthError>(())
    /// ```
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

    /// How many values are ready now, up to `limit`; each of them can be popped without fail.
    ///
    /// Reads about 2 log2 of the answer's commit words, so ask only when there is a backlog. May be
    /// stale, but only too low.
    pub fn ready_ahead(&mut self, limit: usize) -> usize {
        self.0.ready_ahead(limit)
    }

    /// Gives back to the producer every credit that is due, now.
    ///
    /// Credits return by themselves every `depth / 8` values and whenever the ring is found empty;
    /// this is for a consumer that stops in between for a while.
    #[inline]
    pub fn return_credits(&mut self) {
        self.0.publish_head();
    }

    /// Whether the producer has closed and every value it pushed is taken: nothing will ever come.
    ///
    /// `false` may be stale; `true` is final.
    ///
    /// ```
    /// use hopline::base::Cause;
    /// use hopline::ring::spsc;
    /// let (mut producer, mut consumer) = spsc::ring(2)?;
    /// producer.push(7).unwrap();
    /// producer.close(Cause::Finished);
    /// assert!(!consumer.is_finished()); // the 7 still arrives
    /// assert_eq!(consumer.pop(), Some(7));
    /// assert!(consumer.is_finished());
    /// assert_eq!(consumer.producer_closed(), Some(Cause::Finished));
    /// # Ok::<(), hopline::ring::DepthError>(())
    /// ```
    #[inline]
    pub fn is_finished(&mut self) -> bool {
        self.0.is_finished()
    }

    /// The sequence of the value that is taken next: everything before it is consumed.
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
    /// The producer sees it at its next push. What it pushed before that can still be taken.
    pub fn close(&mut self, cause: Cause) {
        self.0.close(cause);
    }

    /// Why the producer has closed. `None` may be stale; a cause is final. Values may still be left:
    /// see [`Consumer::is_finished`].
    #[inline]
    #[must_use]
    pub fn producer_closed(&self) -> Option<Cause> {
        self.0.producer_closed()
    }
}

// By hand: values need not be printable for their handles to be.
impl<T, L: Layout> fmt::Debug for Producer<T, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T, L: Layout> fmt::Debug for Claim<'_, T, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T, L: Layout> fmt::Debug for Filled<'_, T, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.claim.fmt(f)
    }
}

impl<T, L: Layout> fmt::Debug for Consumer<T, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
