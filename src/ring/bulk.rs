//! The bulk mode: a ring of values without commit words, for throughput.
//!
//! [`crate::ring::spsc`] hands a value over with the cache line that it lies in, which is quickest for one at a time.
//! When values stream, its words take room: an 8 B value moves 16, one of 56 B a line of its own. Here the slots hold
//! values only, and one shared *tail* says how far they are published. A hop costs a cache line more, a stream less.
//!
//! Interface, order, credits, close and drops are those of [`crate::ring::spsc`].
//!
//! ```
//! use hopline::ring::bulk;
//! use std::thread;
//!
//! let (mut producer, mut consumer) = bulk::ring::<[u64; 7]>(1024)?;
//! let sum = thread::spawn(move || {
//!     let mut sum = 0;
//!     while !consumer.is_finished() {
//!         if consumer.drain(64, |value| sum += value[6]) == 0 {
//!             thread::yield_now();
//!         }
//!     }
//!     sum
//! });
//! for first in (0..10_000).step_by(50) {
//!     while !producer.has_room(50) {
//!         thread::yield_now();
//!     }
//!     producer.push_batch((0..50).map(|at| [first + at as u64; 7])).unwrap();
//! }
//! drop(producer); // closes with Cause::Dropped; what was pushed still arrives
//! assert_eq!(sum.join().unwrap(), 10_000 * 9_999 / 2);
//! # Ok::<(), hopline::ring::DepthError>(())
//! ```
//!
//! After Lee, Bui and Venkataramani, "A Lock-Free, Cache-Efficient Shared Ring Buffer for Multi-Core Architectures"
//! (ANCS 2009): each side keeps a copy of the other's position and looks again only when it runs out.
//!
//! Invariant: the slots from the head up to the tail hold values, all others hold none; the producer writes only
//! behind the tail, the consumer reads only before it.

#![allow(
    unsafe_code,
    reason = "hands slots from one thread to the other by two positions"
)]

use core::mem::MaybeUninit;
use core::ptr::NonNull;

use crossbeam_utils::CachePadded;

use crate::base::primitive::{Arc, AtomicU64, Cell, Ordering, spin_hint};
use crate::base::{Cause, Sequence};
use crate::ring::stamped::{LAZY, Mark, PLANTED_CREDIT, PUBLISH, RETURN};
use crate::ring::{ClaimError, DepthError, PushError};

mod debug;

/// Pauses after a look that found nothing: some tens of nanoseconds, in which a producer pushes a cache line of small values.
const SLIP: u32 = if cfg!(any(loom, shuttle)) { 0 } else { 4 };

/// What an iterator is told that gives more values than it was asked for.
const MORE_THAN_SAID: &str = "a batch of more values than its length";

type Slot<T> = Cell<MaybeUninit<T>>;

/// The words that both sides share beside the slots, each on a cache line of its writer.
#[repr(C)]
struct Control {
    /// The consumer has done with everything before it.
    head: CachePadded<AtomicU64>,
    /// Everything before it is published.
    tail: CachePadded<AtomicU64>,
    /// Written once by each side, so both can afford to look at it every time.
    closed: CachePadded<Closed>,
}

#[repr(C)]
struct Closed {
    by_producer: Mark,
    by_consumer: Mark,
}

/// The memory of a ring. Control and slots hold no pointers.
struct Ring<T> {
    control: Control,
    slots: Box<[Slot<T>]>,
}

impl<T> Drop for Ring<T> {
    /// Drops what was published and never consumed. Both handles are gone, and the consumer's has published its exact head.
    fn drop(&mut self) {
        if !core::mem::needs_drop::<T>() {
            return;
        }
        let mask = self.slots.len() as u64 - 1;
        // Acquire, as the last handle's drop may be the other side's: pairs with the stores of both.
        let mut position = Sequence(self.control.head.load(Ordering::Acquire));
        let tail = Sequence(self.control.tail.load(Ordering::Acquire));
        for _ in 0..tail.since(position) {
            self.slots[position.slot(mask)].with_mut(|value| {
                // SAFETY: nobody else has the ring any more, so the pointer is unique.
                let value = unsafe { &mut *value };
                // SAFETY: between the exact head and the tail lie values that were pushed and not taken.
                unsafe { value.assume_init_drop() };
            });
            position = position.next();
        }
    }
}

/// Both handles of a ring.
pub type Pair<T> = (Producer<T>, Consumer<T>);

/// A ring of `depth` values.
///
/// # Errors
/// If `depth` is no power of two within the limits.
pub fn ring<T: Send>(depth: usize) -> Result<Pair<T>, DepthError> {
    ring_at(depth, Sequence(0))
}

/// A ring whose first value has the sequence `start`, for those who resume.
///
/// # Errors
/// If `depth` is no power of two within the limits.
pub fn ring_at<T: Send>(depth: usize, start: Sequence) -> Result<Pair<T>, DepthError> {
    DepthError::check(depth)?;
    let ring = Arc::new(Ring {
        control: Control {
            head: CachePadded::new(AtomicU64::new(start.0)),
            tail: CachePadded::new(AtomicU64::new(start.0)),
            closed: CachePadded::new(Closed {
                by_producer: Mark::new(),
                by_consumer: Mark::new(),
            }),
        },
        slots: (0..depth)
            .map(|_| Cell::new(MaybeUninit::uninit()))
            .collect(),
    });
    let producer = Producer {
        side: Side::of(&ring),
        position: start,
        head: start,
        closed: None,
    };
    let consumer = Consumer {
        side: Side::of(&ring),
        position: start,
        tail: start,
        head: start,
        lazy: (depth as u64 / LAZY).max(1),
    };
    Ok((producer, consumer))
}

/// One side's way into the memory.
struct Side<T> {
    ring: Arc<Ring<T>>,
    /// First slot: saves the hot path a load through `ring`.
    first: NonNull<Slot<T>>,
    mask: u64,
}

// SAFETY: a side is the only one of its kind, and values go from thread to thread by Release and Acquire on the tail
// (and on the head, on the way back); so it may move wherever `T` may.
unsafe impl<T: Send> Send for Side<T> {}

#[allow(
    clippy::mut_from_ref,
    reason = "a slot's content is behind a cell; the callers say that they alone have it"
)]
impl<T> Side<T> {
    fn of(ring: &Arc<Ring<T>>) -> Side<T> {
        Side {
            ring: Arc::clone(ring),
            first: NonNull::from(&ring.slots[..]).cast(),
            mask: ring.slots.len() as u64 - 1,
        }
    }

    #[inline(always)]
    fn depth(&self) -> u64 {
        self.mask + 1
    }

    /// The index of this position's slot.
    #[inline(always)]
    fn index(&self, position: Sequence) -> usize {
        position.slot(self.mask)
    }

    #[inline(always)]
    fn control(&self) -> &Control {
        &self.ring.control
    }

    /// The `count` positions from `position` as two runs of unbroken slots: where the first begins and ends, and where the
    /// second, at the start of the memory, ends.
    #[inline(always)]
    fn runs(&self, position: Sequence, count: usize) -> [core::ops::Range<usize>; 2] {
        let first = position.slot(self.mask);
        let before_the_end = count.min(self.mask as usize + 1 - first);
        [first..first + before_the_end, 0..count - before_the_end]
    }

    /// The content of the slot with this index, which belongs to this side alone: for the producer one that it has a
    /// credit for, for the consumer one between its position and the tail.
    ///
    /// # Safety
    /// The index is below the number of slots, the slot is this side's, and no other reference to its content lives.
    #[inline(always)]
    unsafe fn content_at(&self, index: usize) -> &mut MaybeUninit<T> {
        debug_assert!(index as u64 <= self.mask);
        // SAFETY: the caller says that the index is below the number of slots.
        let slot = unsafe { self.first.add(index) };
        // SAFETY: `ring` keeps the slots alive and in place, and a slot is shared only by reference.
        let slot = unsafe { slot.as_ref() };
        // SAFETY: the caller says that nobody else has the content.
        slot.with_mut(|value| unsafe { &mut *value })
    }
}

/// The writing handle. Dropping it closes the ring with [`Cause::Dropped`].
///
/// Two cache lines of its own, as every handle of a ring: the processor fetches a line's neighbour with it.
#[repr(align(128))]
pub struct Producer<T> {
    side: Side<T>,
    /// Everything before it is published.
    position: Sequence,
    /// The consumer's head as last seen.
    head: Sequence,
    /// Why this side has closed.
    closed: Option<Cause>,
}

impl<T> Producer<T> {
    /// Credits by the cached head: never too many.
    #[inline(always)]
    fn credits_known(&self) -> u64 {
        self.side.depth() + PLANTED_CREDIT - self.position.since(self.head)
    }

    #[inline(always)]
    fn check(&mut self, count: usize) -> Result<(), ClaimError> {
        if let Some(cause) = self.closed.or_else(|| self.consumer_closed()) {
            return Err(ClaimError::Closed(cause));
        }
        if self.has_room(count) {
            Ok(())
        } else {
            Err(ClaimError::Full)
        }
    }

    /// Makes the next `count` values visible, all with one store.
    #[inline(always)]
    fn publish(&mut self, count: usize) {
        self.position = self.position.plus(count as u64);
        let tail = &self.side.control().tail;
        tail.store(self.position.0, PUBLISH); // pairs with Acquire in Consumer::look
    }

    /// Pushes one value.
    ///
    /// # Errors
    /// The value comes back if the ring is full or if either side has closed it.
    ///
    /// ```
    /// use hopline::ring::{PushError, bulk};
    /// let (mut producer, _consumer) = bulk::ring(2)?;
    /// assert_eq!(producer.push(1), Ok(()));
    /// assert_eq!(producer.push(2), Ok(()));
    /// assert_eq!(producer.push(3), Err(PushError::Full(3)));
    /// # Ok::<(), hopline::ring::DepthError>(())
    /// ```
    #[inline]
    pub fn push(&mut self, value: T) -> Result<(), PushError<T>> {
        if let Err(reason) = self.check(1) {
            return Err(PushError::of(reason, value));
        }
        // SAFETY: there is a credit for the slot at the tail, and no claim lives, for `self` is borrowed.
        let slot = unsafe { self.side.content_at(self.side.index(self.position)) };
        slot.write(value);
        self.publish(1);
        Ok(())
    }

    /// Pushes all values or none, with one publish: the consumer sees none of them or all of them.
    ///
    /// Closures are served by `(0..n).map(|i| …)`. An iterator that ends before its stated length publishes what it
    /// gave; one that has more is asked for no more. Returns how many were pushed.
    ///
    /// # Errors
    /// The iterator comes back, unasked, if not all fit or if either side has closed the ring. More values than the
    /// ring is deep never fit.
    #[inline]
    pub fn push_batch<I>(&mut self, values: I) -> Result<usize, PushError<I::IntoIter>>
    where
        I: IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
    {
        let values = values.into_iter();
        let count = values.len();
        if let Err(reason) = self.check(count) {
            return Err(PushError::of(reason, values));
        }
        let [before_the_end, at_the_start] = self.side.runs(self.position, count);
        let mut filling = Filling {
            producer: self,
            written: 0,
        };
        // Two loops, so that the common one has no index to wrap and can be a few wide stores.
        let values = values.take(count);
        if at_the_start.is_empty() && !core::mem::needs_drop::<T>() {
            // What is not published needs no drop, so that nothing is counted between two values.
            let first = before_the_end.start;
            let side = &filling.producer.side;
            let write = |at, value| {
                // The iterator is the caller's, and so may its fold be.
                assert!(at < count, "{MORE_THAN_SAID}");
                // SAFETY: the slot is in the run that there were credits for, and the filling is the only way to it.
                let slot = unsafe { side.content_at(first + at) };
                slot.write(value);
                at + 1
            };
            filling.written = values.fold(0, write);
        } else {
            values.for_each(|value| {
                assert!(filling.written < count, "{MORE_THAN_SAID}");
                filling.write(value);
            });
        }
        Ok(filling.publish())
    }

    /// Reserves one slot to write and commit later in the turn.
    ///
    /// # Errors
    /// If the ring is full or if either side has closed it.
    #[inline]
    pub fn claim(&mut self) -> Result<Claim<'_, T>, ClaimError> {
        self.check(1)?;
        Ok(Claim(self))
    }

    /// Whether `count` slots are free. Looks at the consumer's head only if the cached one says no.
    ///
    /// A racing answer: `false` may be stale, for the consumer may just have made room; but if it is `true`, `count`
    /// slots are yours until you fill them, for nobody else can. Says nothing about whether the ring is closed.
    #[inline]
    pub fn has_room(&mut self, count: usize) -> bool {
        count as u64 <= self.credits_known() || count <= self.credits()
    }

    /// How many slots are free, by the consumer's published head. May be stale, but only too low.
    #[inline]
    pub fn credits(&mut self) -> usize {
        // Acquire: pairs with RETURN in Consumer::return_credits; the consumer has done with what lies before.
        self.head = Sequence(self.side.control().head.load(Ordering::Acquire));
        self.credits_known() as usize
    }

    /// The sequence of the value that is pushed next: everything before it is published.
    #[inline]
    #[must_use]
    pub fn position(&self) -> Sequence {
        self.position
    }

    /// Slots of the ring.
    #[inline]
    #[must_use]
    pub fn depth(&self) -> usize {
        self.side.depth() as usize
    }

    /// Says that nothing more will come, and why. The first cause stays; later pushes are refused.
    pub fn close(&mut self, cause: Cause) {
        self.side.control().closed.by_producer.set(cause);
        self.closed = self.side.control().closed.by_producer.get();
    }

    /// Why the consumer has closed. `None` may be stale; a cause is final.
    #[inline]
    #[must_use]
    pub fn consumer_closed(&self) -> Option<Cause> {
        self.side.control().closed.by_consumer.get()
    }
}

impl<T> Drop for Producer<T> {
    fn drop(&mut self) {
        self.close(Cause::Dropped);
    }
}

/// A reserved slot. Dropping or forgetting it gives the slot back: nothing is consumed.
#[must_use = "a claim that is dropped is aborted"]
pub struct Claim<'a, T>(&'a mut Producer<T>);

impl<'a, T> Claim<'a, T> {
    /// Writes the value in place. It is not visible before [`Filled::commit`].
    #[inline]
    pub fn write(self, value: T) -> Filled<'a, T> {
        let mut filling = Filling {
            producer: self.0,
            written: 0,
        };
        filling.write(value);
        Filled(filling)
    }
}

/// A slot with its value in place, not yet visible. Dropping it drops the value and gives the slot back.
#[must_use = "a value that is not committed is dropped"]
pub struct Filled<'a, T>(Filling<'a, T>);

impl<T> Filled<'_, T> {
    /// The value where it lies.
    #[inline]
    pub fn value_mut(&mut self) -> &mut T {
        let producer = &mut *self.0.producer;
        let index = producer.side.index(producer.position);
        // SAFETY: the slot at the tail is claimed, and `self` is its only way.
        let slot = unsafe { producer.side.content_at(index) };
        // SAFETY: a `Filled` is made by writing the value, and only commit or drop end that.
        unsafe { slot.assume_init_mut() }
    }

    /// Makes the value visible to the consumer.
    #[inline]
    pub fn commit(self) {
        self.0.publish();
    }
}

/// Slots behind the tail, enough credits for which were seen, of which the first `written` hold values: what is not
/// published is dropped.
struct Filling<'a, T> {
    producer: &'a mut Producer<T>,
    written: usize,
}

impl<T> Filling<'_, T> {
    /// Writes the next value. Never called more often than there were credits.
    #[inline(always)]
    fn write(&mut self, value: T) {
        debug_assert!((self.written as u64) < self.producer.credits_known());
        let position = self.producer.position.plus(self.written as u64);
        let index = self.producer.side.index(position);
        // SAFETY: the index is the next one's, below the number of slots; there is a credit for it, and the filling is
        // the only way to it.
        let slot = unsafe { self.producer.side.content_at(index) };
        slot.write(value);
        self.written += 1;
    }

    #[inline]
    fn publish(mut self) -> usize {
        // Taken first: published values are no longer this guard's to drop.
        let written = core::mem::take(&mut self.written);
        if written > 0 {
            self.producer.publish(written);
        }
        written
    }
}

impl<T> Drop for Filling<'_, T> {
    fn drop(&mut self) {
        let side = &self.producer.side;
        for ahead in 0..self.written as u64 {
            let position = self.producer.position.plus(ahead);
            // SAFETY: as in `write`.
            let slot = unsafe { side.content_at(side.index(position)) };
            // SAFETY: the first `written` slots hold values, unpublished, and are not read again.
            unsafe { slot.assume_init_drop() };
        }
    }
}

/// The reading handle. Dropping it closes the ring with [`Cause::Dropped`].
///
/// Two cache lines of its own, as the writing handle has.
#[repr(align(128))]
pub struct Consumer<T> {
    side: Side<T>,
    /// Everything before it is consumed.
    position: Sequence,
    /// The producer's tail as last seen.
    tail: Sequence,
    /// The head as last published.
    head: Sequence,
    /// Most values consumed before the head is published.
    lazy: u64,
}

impl<T> Consumer<T> {
    /// How many values are ready, by the producer's tail as it is now.
    #[inline(always)]
    fn look(&mut self) -> u64 {
        // Acquire: pairs with PUBLISH in Producer::publish; the values before the tail are seen with it.
        self.tail = Sequence(self.side.control().tail.load(Ordering::Acquire));
        self.tail.since(self.position)
    }

    /// Whether a value is ready. Publishes the head if none is.
    #[inline(always)]
    fn is_ready(&mut self) -> bool {
        if self.position != self.tail || self.look() > 0 {
            return true;
        }
        self.return_credits();
        self.fall_behind()
    }

    /// Leaves the tail alone for a moment, then looks once more; whether a value has come.
    ///
    /// A consumer that is as quick as its producer would take the tail's line from it after each value. A few pauses
    /// let the producer get ahead, and then both work undisturbed (Giacomoni, Moseley and Vachharajani, "FastForward for
    /// Efficient Pipeline Parallelism", PPoPP 2008, call it temporal slipping).
    #[cold]
    fn fall_behind(&mut self) -> bool {
        (0..SLIP).for_each(|_| spin_hint());
        self.look() > 0
    }

    /// Steps over `count` values that were taken.
    #[inline(always)]
    fn step_over(&mut self, count: u64) {
        self.position = self.position.plus(count);
        if self.position.since(self.head) >= self.lazy {
            self.return_credits();
        }
    }

    /// Takes the oldest value.
    ///
    /// A racing answer: `None` may be stale, for the producer may just have pushed.
    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        if !self.is_ready() {
            return None;
        }
        // SAFETY: the slot lies before the tail, so it is the consumer's, and `self` is borrowed.
        let slot = unsafe { self.side.content_at(self.side.index(self.position)) };
        // SAFETY: before the tail lie values, and the step over it keeps this one from being read again.
        let value = unsafe { slot.assume_init_read() };
        self.step_over(1);
        Some(value)
    }

    /// The oldest value where it lies. The same one again until [`Consumer::advance`] or a pop.
    #[inline]
    pub fn peek(&mut self) -> Option<&T> {
        if !self.is_ready() {
            return None;
        }
        // SAFETY: the slot lies before the tail, so it is the consumer's, which stays borrowed.
        let slot = unsafe { self.side.content_at(self.side.index(self.position)) };
        // SAFETY: before the tail lie values.
        Some(unsafe { slot.assume_init_ref() })
    }

    /// Drops the oldest value and steps over it. `false` if there was none.
    #[inline]
    pub fn advance(&mut self) -> bool {
        self.pop().is_some()
    }

    /// Takes up to `max` values, and no more than the ring is deep, and hands each to `f`. Returns how many. Credits
    /// return once for each run of values that were ready together.
    ///
    /// If `f` panics, the value that it was given counts as consumed; those behind it stay.
    #[inline]
    pub fn drain(&mut self, max: usize, mut f: impl FnMut(T)) -> usize {
        // What comes in the meantime is for the next call: so it ends beside a producer that is as quick.
        let max = max.min(self.depth());
        let mut count = 0;
        while count < max && self.is_ready() {
            let ready = (self.tail.since(self.position) as usize).min(max - count);
            let [before_the_end, at_the_start] = self.side.runs(self.position, ready);
            let mut taking = Taking {
                consumer: self,
                taken: 0,
            };
            // Two loops, each over unbroken memory.
            before_the_end.for_each(|index| f(taking.take_at(index)));
            at_the_start.for_each(|index| f(taking.take_at(index)));
            drop(taking);
            count += ready;
        }
        count
    }

    /// How many values are ready now, up to `limit`; each of them can be popped without fail.
    ///
    /// One load. May be stale, but only too low.
    pub fn ready_ahead(&mut self, limit: usize) -> usize {
        if limit == 0 {
            return 0;
        }
        let ready = self.look() as usize;
        if ready == 0 {
            self.return_credits();
        }
        ready.min(limit)
    }

    /// Gives back to the producer every credit that is due, now.
    ///
    /// Credits return by themselves every `depth / 8` values and whenever the ring is found empty; this is for a
    /// consumer that stops in between for a while.
    #[inline(always)]
    pub fn return_credits(&mut self) {
        if self.head != self.position {
            self.head = self.position;
            let head = &self.side.control().head;
            head.store(self.position.0, RETURN); // pairs with Acquire in Producer::credits
        }
    }

    /// Whether the producer has closed and every value it pushed is taken: nothing will ever come.
    ///
    /// `false` may be stale; `true` is final.
    #[inline]
    pub fn is_finished(&mut self) -> bool {
        // Closed first, then the tail: what was published before the close is visible by then.
        self.producer_closed().is_some() && !self.is_ready()
    }

    /// The sequence of the value that is taken next: everything before it is consumed.
    #[inline]
    #[must_use]
    pub fn position(&self) -> Sequence {
        self.position
    }

    /// Slots of the ring.
    #[inline]
    #[must_use]
    pub fn depth(&self) -> usize {
        self.side.depth() as usize
    }

    /// Says that nothing more is wanted, and why. The first cause stays.
    ///
    /// The producer sees it at its next push. What it pushed before that can still be taken.
    pub fn close(&mut self, cause: Cause) {
        self.side.control().closed.by_consumer.set(cause);
    }

    /// Why the producer has closed. `None` may be stale; a cause is final. Values may still be left:
    /// see [`Consumer::is_finished`].
    #[inline]
    #[must_use]
    pub fn producer_closed(&self) -> Option<Cause> {
        self.side.control().closed.by_producer.get()
    }
}

/// Values that were taken and not yet stepped over; dropping it steps over them, so that a panic reads none again.
struct Taking<'a, T> {
    consumer: &'a mut Consumer<T>,
    taken: u64,
}

impl<T> Taking<'_, T> {
    /// Takes the next value, which lies in the slot with this index.
    #[inline(always)]
    fn take_at(&mut self, index: usize) -> T {
        debug_assert!(self.taken < self.consumer.tail.since(self.consumer.position));
        // SAFETY: the slot lies before the tail, so it is the consumer's, which stays borrowed.
        let slot = unsafe { self.consumer.side.content_at(index) };
        self.taken += 1;
        // SAFETY: before the tail lie values, and having counted it keeps this one from being read again.
        unsafe { slot.assume_init_read() }
    }
}

impl<T> Drop for Taking<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        self.consumer.step_over(self.taken);
    }
}

impl<T> Drop for Consumer<T> {
    fn drop(&mut self) {
        // The exact head: what lies behind it is dropped with the ring.
        self.return_credits();
        self.close(Cause::Dropped);
    }
}
