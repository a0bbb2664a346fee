//! Several rings read as one, fairly: the fan-in of producers that are known from the start.
//!
//! Each producer has a ring of its own, so there is one writer a ring, no contended instruction, and
//! backpressure reaches the producer that causes it. Within an input the order is kept; between
//! inputs there is none.
//!
//! ```
//! use hopline::ring::{fan_in::FanIn, spsc};
//! let (mut quick, first) = spsc::ring(64)?;
//! let (mut slow, second) = spsc::ring(64)?;
//! quick.push_batch(0..60).unwrap();
//! slow.push(100).unwrap();
//!
//! let mut inputs = FanIn::new([first, second]);
//! let mut seen = Vec::new();
//! assert_eq!(inputs.poll(8, |_, value| seen.push(value)), 8);
//! assert_eq!(seen, [0, 1, 2, 3, 100, 4, 5, 6]); // the slow one did not wait for all of the quick one's
//! # Ok::<(), hopline::ring::DepthError>(())
//! ```
//!
//! Invariant: an input that has something is served after at most one batch of each other one.

use core::fmt;

use crate::base::limits::BATCH_FRAMES;
use crate::ring::hop::{self, FrameRef};
use crate::ring::{Layout, mpsc, spsc};

/// Whose turn it is among several: each in its place, beginning one further each time.
///
/// ```
/// use hopline::ring::fan_in::Rotation;
/// let mut rotation = Rotation::default();
/// assert_eq!(rotation.order(3).collect::<Vec<_>>(), [0, 1, 2]);
/// rotation.begin_after(0, 3);
/// assert_eq!(rotation.order(3).collect::<Vec<_>>(), [1, 2, 0]);
/// rotation.begin_after(2, 3);
/// assert_eq!(rotation.first(), 0);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Rotation {
    first: usize,
}

impl Rotation {
    /// Who comes first.
    #[inline]
    #[must_use]
    pub fn first(&self) -> usize {
        self.first
    }

    /// All of `count`, each once, from the first one on. Keeps no borrow.
    #[inline]
    pub fn order(&self, count: usize) -> impl Iterator<Item = usize> + use<> {
        let first = self.first.min(count);
        (first..count).chain(0..first)
    }

    /// The next order begins with `at`.
    #[inline]
    pub fn begin_with(&mut self, at: usize) {
        self.first = at;
    }

    /// The next order of `count` begins with the one behind `at`.
    #[inline]
    pub fn begin_after(&mut self, at: usize, count: usize) {
        self.first = if at + 1 < count { at + 1 } else { 0 };
    }
}

/// A reading handle that can stand in a [`FanIn`].
pub trait Input: sealed::Sealed {
    /// What it gives: a value, or a frame in its slot.
    type Item<'a>
    where
        Self: 'a;

    /// Hands the oldest item to `f` and steps over it. `None` if there is none.
    ///
    /// If `f` panics, a value counts as consumed, and a frame stays where it lies.
    fn take_with<R>(&mut self, f: impl FnOnce(Self::Item<'_>) -> R) -> Option<R>;

    /// Whether nothing will ever come.
    fn is_finished(&mut self) -> bool;

    /// Slots of the ring.
    fn depth(&self) -> usize;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! values {
    ($($consumer:ty),+) => {$(
        impl<T, L: Layout> sealed::Sealed for $consumer {}

        impl<T, L: Layout> Input for $consumer {
            type Item<'a> = T where Self: 'a;

            #[inline(always)]
            fn take_with<R>(&mut self, f: impl FnOnce(T) -> R) -> Option<R> {
                self.pop().map(f)
            }

            #[inline]
            fn is_finished(&mut self) -> bool {
                self.is_finished()
            }

            #[inline]
            fn depth(&self) -> usize {
                self.depth()
            }
        }
    )+};
}

macro_rules! frames {
    ($($consumer:ty),+) => {$(
        impl sealed::Sealed for $consumer {}

        impl Input for $consumer {
            type Item<'a> = FrameRef<'a>;

            #[inline(always)]
            fn take_with<R>(&mut self, f: impl FnOnce(FrameRef<'_>) -> R) -> Option<R> {
                let result = f(self.peek()?);
                self.advance();
                Some(result)
            }

            #[inline]
            fn is_finished(&mut self) -> bool {
                self.is_finished()
            }

            #[inline]
            fn depth(&self) -> usize {
                self.depth()
            }
        }
    )+};
}

values!(spsc::Consumer<T, L>, mpsc::Consumer<T, L>);
frames!(hop::FrameConsumer, mpsc::FrameConsumer);

/// Reading handles of one kind, read in turn.
pub struct FanIn<R> {
    inputs: Box<[R]>,
    /// Slots of all inputs together.
    slots: usize,
    rotation: Rotation,
}

impl<R: Input> FanIn<R> {
    /// Reads from these: an array or a vector of reading handles. There may be none.
    #[must_use]
    pub fn new(inputs: impl Into<Box<[R]>>) -> FanIn<R> {
        let inputs = inputs.into();
        FanIn {
            slots: inputs.iter().map(Input::depth).sum(),
            inputs,
            rotation: Rotation::default(),
        }
    }

    /// Takes up to `limit` items and hands each to `f` with the place of its input. Returns how many.
    ///
    /// Inputs have their turns one after the other, a batch each: an equal share of `limit`, at
    /// least one and at most [`BATCH_FRAMES`] items. What an empty input leaves of its share goes to
    /// the others in a further round. The next call begins where this one ended, so a low limit
    /// favours nobody.
    ///
    /// It ends when a whole round found nothing, and never takes more than all inputs have slots: so with
    /// `usize::MAX` as well, beside producers that are as quick.
    pub fn poll(&mut self, limit: usize, mut f: impl FnMut(usize, R::Item<'_>)) -> usize {
        let count = self.inputs.len();
        if count == 0 {
            return 0;
        }
        let limit = limit.min(self.slots);
        let share = (limit / count).clamp(1, BATCH_FRAMES);
        let (mut taken, mut empty) = (0, 0);
        // Each input without an item in its turn ends the poll a little: all of them, wholly.
        while taken < limit && empty < count {
            let at = self.rotation.first();
            // Moved first: an `f` that panics has had its input's turn.
            self.rotation.begin_after(at, count);
            let input = &mut self.inputs[at];
            let most = share.min(limit - taken);
            let mut of_this = 0;
            while of_this < most && input.take_with(|item| f(at, item)).is_some() {
                of_this += 1;
            }
            taken += of_this;
            empty = if of_this == 0 { empty + 1 } else { 0 };
        }
        taken
    }

    /// Whether every input is finished: nothing will ever come.
    ///
    /// `false` may be stale; `true` is final.
    pub fn is_finished(&mut self) -> bool {
        self.inputs.iter_mut().all(Input::is_finished)
    }

    /// The inputs, in their places.
    #[must_use]
    pub fn inputs(&self) -> &[R] {
        &self.inputs
    }

    /// The inputs, to close one of them or to look at it alone.
    pub fn inputs_mut(&mut self) -> &mut [R] {
        &mut self.inputs
    }
}

impl<R: fmt::Debug> fmt::Debug for FanIn<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FanIn")
            .field("inputs", &self.inputs)
            .field("first", &self.rotation.first)
            .finish()
    }
}
