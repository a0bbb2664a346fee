//! The ring from one thread to several: every reader sees every item, where it lies.
//!
//! A ring is made from a [`Graph`]: which readers there are, and which of them follow others. A reader
//! that follows is let at an item only after all that it follows have stepped over it, so
//! that pipelines and diamonds need one ring and no copy:
//!
//! ```text
//!              ┌→ book ─┐
//!   producer ──┤        ├→ join ──→ (holds the producer back)
//!              └→ log ──┘
//! ```
//!
//! ```
//! use hopline::ring::multicast::Graph;
//! use std::thread;
//!
//! let mut graph = Graph::new(1024);
//! let book = graph.reader();
//! let log = graph.reader();
//! let join = graph.reader_after(&[book, log]);
//! let (mut producer, readers) = graph.values::<u64>()?;
//! let sums = readers.into_iter().map(|mut reader| {
//!     thread::spawn(move || {
//!         let mut sum = 0;
//!         while !reader.is_finished() {
//!             if reader.drain(32, |value| sum += value) == 0 {
//!                 thread::yield_now();
//!             }
//!         }
//!         sum
//!     })
//! });
//! let sums: Vec<_> = sums.collect();
//! for value in 0..10_000u64 {
//!     while !producer.has_room(1) {
//!         thread::yield_now(); // held back by the slowest reader
//!     }
//!     producer.push(value).unwrap();
//! }
//! drop(producer); // closes with Cause::Dropped; what was pushed still arrives
//! for sum in sums {
//!     assert_eq!(sum.join().unwrap(), 10_000 * 9_999 / 2);
//! }
//! # let _ = join;
//! # Ok::<(), hopline::ring::multicast::GraphError>(())
//! ```
//!
//! # What is different from a ring of two ends
//!
//! - **Reliable, all of them.** The producer is held back by the slowest open reader. A reader that
//!   may lose items is no reader of this ring: it gets a copy by a ring of its own (a tap).
//! - **Shared, not moved.** Readers get `&T`, several at a time, so `T` is `Sync`. A value stays in its slot
//!   until the producer overwrites it, a lap later, and is dropped then or with the ring; once.
//! - **Heads.** A reader that others follow publishes its head with every item, so that they
//!   are not kept waiting; one that nobody follows every `depth / 8` items and whenever it finds nothing.
//! - **Closing.** A reader that closes or is dropped, whatever it has still to read, holds nobody up from then
//!   on and reads nothing more: those that follow it follow those before it instead. The ring closes
//!   when the last of them does.
//! - **Batches** are seen whole by readers that follow nobody. Readers that follow see what has been
//!   passed, item by item.
//!
//! Invariant: each value is moved in once and dropped once, and nobody reads it after that.

#![allow(
    unsafe_code,
    reason = "a slot is uninitialised memory whenever no value is in it"
)]

mod barrier;
mod frames;

use core::fmt;
use core::mem::MaybeUninit;

use crate::base::limits::READERS_MAX;
use crate::base::{Cause, Sequence};
use crate::ring::spsc::Item;
use crate::ring::{ClaimError, DepthError, Layout, Lined, Packed, PushError};

pub use frames::{FrameBatch, FrameClaim, FrameProducer, FrameReader, memory_bytes};

/// Why a ring was not made of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// No ring has that depth.
    #[error(transparent)]
    Depth(#[from] DepthError),
    /// Nobody would read it.
    #[error("a ring without a reader would be closed from the start: add one")]
    NoReader,
    /// More readers than a ring has heads for.
    #[error("a ring cannot have {given} readers: at most {READERS_MAX}")]
    Readers {
        /// How many were added.
        given: usize,
    },
    /// A reader follows one that was not added before it.
    #[error("reader {reader} follows reader {after}, which is not there before it")]
    Order {
        /// The reader that follows, by its place.
        reader: usize,
        /// The one that it follows.
        after: usize,
    },
}

/// A reader of a graph: its place among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReaderId(usize);

impl ReaderId {
    /// The place of its handle in what the graph makes.
    #[must_use]
    pub const fn place(self) -> usize {
        self.0
    }
}

/// Who reads a ring, and who follows whom. A reader can only follow earlier ones, so there is no cycle.
///
/// ```
/// use hopline::ring::multicast::{Graph, GraphError};
/// let mut graph = Graph::new(8);
/// let first = graph.reader();
/// let second = graph.reader_after(&[first]);
/// assert_eq!((first.place(), second.place()), (0, 1));
/// let (producer, readers) = graph.values::<char>()?;
/// assert_eq!((producer.depth(), readers.len()), (8, 2));
/// assert_eq!(Graph::new(8).values::<char>().unwrap_err(), GraphError::NoReader);
/// # Ok::<(), GraphError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Graph {
    depth: usize,
    start: Sequence,
    /// For each reader those that it follows.
    after: Vec<Vec<ReaderId>>,
}

/// The handles of a ring: its producer, and its readers in the order in which they were added.
pub type Handles<T, L = Packed> = (Producer<T, L>, Vec<Reader<T, L>>);

impl Graph {
    /// A ring of `depth` slots that nobody reads yet.
    #[must_use]
    pub fn new(depth: usize) -> Graph {
        Graph {
            depth,
            start: Sequence(0),
            after: Vec::new(),
        }
    }

    /// The same with a first item of the sequence `start`, for those who resume.
    #[must_use]
    pub fn starting_at(mut self, start: Sequence) -> Graph {
        self.start = start;
        self
    }

    /// Adds a reader that follows nobody: it sees an item as soon as it is published.
    pub fn reader(&mut self) -> ReaderId {
        self.reader_after(&[])
    }

    /// Adds a reader that sees an item only after all of `after` have stepped over it. Names of
    /// another graph's readers are an error when the ring is made, or the names of other readers.
    pub fn reader_after(&mut self, after: &[ReaderId]) -> ReaderId {
        self.after.push(after.to_vec());
        ReaderId(self.after.len() - 1)
    }

    /// Makes a ring of packed slots: commit word and `T`, one after the other.
    ///
    /// # Errors
    /// If the depth is no power of two within the limits, or there are too few or too many readers.
    pub fn values<T: Send + Sync>(&self) -> Result<Handles<T>, GraphError> {
        self.values_as()
    }

    /// Makes a ring of slots that each begin a cache line of their own, for values of up to 56 bytes.
    ///
    /// # Errors
    /// As [`Graph::values`].
    pub fn values_lined<T: Send + Sync>(&self) -> Result<Handles<T, Lined>, GraphError> {
        self.values_as()
    }

    /// Makes a ring of any layout.
    ///
    /// # Errors
    /// As [`Graph::values`].
    pub fn values_as<T: Send + Sync, L: Layout>(&self) -> Result<Handles<T, L>, GraphError> {
        let sets = self.sets()?;
        let empty = || Item(MaybeUninit::uninit());
        let (producer, readers) = barrier::ring(self.depth, self.start, &sets, empty)?;
        Ok((
            Producer(producer),
            readers.into_iter().map(Reader).collect(),
        ))
    }

    /// Makes a ring of frames, written and read in place, in slots of two cache lines as those of
    /// [`crate::ring::hop`].
    ///
    /// # Errors
    /// As [`Graph::values`].
    pub fn frames(&self) -> Result<(FrameProducer, Vec<FrameReader>), GraphError> {
        frames::make(self.depth, self.start, &self.sets()?)
    }

    /// For each reader those that it has to look at: not those that another of them follows, for they
    /// are never behind that one.
    fn sets(&self) -> Result<Vec<barrier::Set>, GraphError> {
        let given = self.after.len();
        match given {
            0 => return Err(GraphError::NoReader),
            1..=READERS_MAX => {}
            _ => return Err(GraphError::Readers { given }),
        }
        // Everything that a reader follows, through however many.
        let mut before: Vec<barrier::Set> = Vec::with_capacity(given);
        let mut sets = Vec::with_capacity(given);
        for (reader, after) in self.after.iter().enumerate() {
            if let Some(ReaderId(after)) = after.iter().copied().find(|after| after.0 >= reader) {
                return Err(GraphError::Order { reader, after });
            }
            let direct = after.iter().fold(0, |set, after| set | 1 << after.0);
            let implied = after.iter().fold(0, |set, after| set | before[after.0]);
            before.push(direct | implied);
            sets.push(direct & !implied);
        }
        Ok(sets)
    }
}

/// The writing handle of a ring of values. Dropping it closes the ring with [`Cause::Dropped`].
pub struct Producer<T, L: Layout = Packed>(barrier::Producer<Item<T>, L>);

impl<T, L: Layout> Producer<T, L> {
    /// Pushes one value. What lay in its slot a lap ago is dropped.
    ///
    /// # Errors
    /// The value comes back if the slowest reader has a whole ring before it, if all readers have
    /// closed, or if this side has.
    #[inline]
    pub fn push(&mut self, value: T) -> Result<(), PushError<T>> {
        match self.0.claim(1) {
            Ok(mut claim) => {
                claim.vacate(0).0.write(value);
                claim.publish(1);
                Ok(())
            }
            Err(reason) => Err(PushError::of(reason, value)),
        }
    }

    /// Pushes all values or none, with one publish: readers that follow nobody see none of them or all.
    ///
    /// An iterator that ends before its stated length publishes what it gave; one that has more
    /// is asked for no more. Returns how many were pushed.
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
        let mut filling = Filling { claim, written: 0 };
        for value in values.take(count) {
            filling.claim.vacate(filling.written).0.write(value);
            filling.written += 1;
        }
        Ok(filling.publish())
    }

    /// Reserves one slot to write and commit later in the turn.
    ///
    /// # Errors
    /// If the ring is full or closed, as for [`Producer::push`].
    #[inline]
    pub fn claim(&mut self) -> Result<Claim<'_, T, L>, ClaimError> {
        Ok(Claim(self.0.claim(1)?))
    }

    /// Whether `count` slots are free. Looks at the readers' heads only if the cached one says no.
    ///
    /// A racing answer: `false` may be stale, for a reader may just have made room; but if it is
    /// `true`, `count` slots are yours until you fill them, for nobody else can. Says nothing
    /// about whether the ring is closed.
    #[inline]
    pub fn has_room(&mut self, count: usize) -> bool {
        self.0.has_room(count)
    }

    /// How many slots are free, by the readers' published heads. May be stale, but only too low.
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
        self.0.reader_closed(reader.0)
    }

    /// The reader that is furthest behind and holds this side back once the ring is full: of several the one
    /// that the others follow. `None` if all have closed. May be stale.
    #[must_use]
    pub fn slowest_reader(&self) -> Option<ReaderId> {
        self.0.slowest_reader().map(ReaderId)
    }
}

/// A reserved slot. Dropping or forgetting it gives the slot back: nothing is consumed.
#[must_use = "a claim that is dropped is aborted"]
pub struct Claim<'a, T, L: Layout = Packed>(barrier::Claim<'a, Item<T>, L>);

impl<'a, T, L: Layout> Claim<'a, T, L> {
    /// Writes the value in place of the one of a lap ago, which is dropped. It is not visible
    /// before [`Filled::commit`].
    #[inline]
    pub fn write(mut self, value: T) -> Filled<'a, T, L> {
        self.0.vacate(0).0.write(value);
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

    /// Makes the value visible to the readers.
    #[inline]
    pub fn commit(self) {
        self.0.publish();
    }
}

/// Claimed slots of which the first `written` hold values: what is not published is dropped.
struct Filling<'a, T, L: Layout> {
    claim: barrier::Claim<'a, Item<T>, L>,
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
            // SAFETY: the first `written` slots hold values, unpublished, and are not read again:
            // their words say that they hold nothing.
            unsafe { self.claim.get_mut(index).0.assume_init_drop() };
        }
    }
}

/// One of the reading handles of a ring of values. Dropping it closes it with [`Cause::Dropped`].
pub struct Reader<T, L: Layout = Packed>(barrier::Reader<Item<T>, L>);

impl<T, L: Layout> Reader<T, L> {
    /// The oldest value that may be read, where it lies. The same one again until [`Reader::advance`].
    ///
    /// A racing answer: `None` may be stale, for the producer may just have pushed, or a reader that
    /// this one follows may just have passed. Always `None` once this reader has closed.
    #[inline]
    pub fn peek(&mut self) -> Option<&T> {
        let item = self.0.front()?.into_ref();
        // SAFETY: a slot that is ready holds a value.
        Some(unsafe { item.0.assume_init_ref() })
    }

    /// Steps over the oldest value. `false`, and nothing done, if none may be read.
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

    /// Shows up to `max` values, and no more than the ring is deep, to `f` and steps over them. Returns how many.
    ///
    /// If `f` panics, the value that it was given counts as not read.
    #[inline]
    pub fn drain(&mut self, max: usize, mut f: impl FnMut(&T)) -> usize {
        // What comes in the meantime is for the next call: so it ends beside a producer that is as quick.
        let max = max.min(self.depth());
        let mut count = 0;
        while count < max {
            let Some(front) = self.0.front() else { break };
            // SAFETY: a slot that is ready holds a value.
            f(unsafe { front.get().0.assume_init_ref() });
            front.advance();
            count += 1;
        }
        count
    }

    /// How many values may be read now, up to `limit`; each of them can be peeked without fail.
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

    /// The sequence of the value that is read next: everything before it is read.
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

    /// Why the producer has closed. `None` may be stale; a cause is final. Values may still be left:
    /// see [`Reader::is_finished`].
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

impl<T, L: Layout> fmt::Debug for Reader<T, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
