//! Half-open positions on a hop.

/// Places that a slot lies beyond its own: none, but for `--cfg planted_slot`, which exists to prove `.ci/valgrind`:
/// the last slot of every ring is then the one behind the memory, and each of its runs has to be red.
const PLANTED_BEYOND: usize = cfg!(planted_slot) as usize;

/// A count of frames: everything strictly before it is done.
///
/// Positions are 64 bits wide, start anywhere and wrap: at a frame a nanosecond one lap of the
/// number takes 584 years, and the arithmetic is right across it all the same.
///
/// ```
/// use hopline::base::Sequence;
/// let near_the_end = Sequence(u64::MAX);
/// assert_eq!(near_the_end.next(), Sequence(0));
/// assert_eq!(near_the_end.next().since(near_the_end), 1);
/// ```
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sequence(pub u64);

impl Sequence {
    /// The position one further.
    #[inline]
    #[must_use]
    pub const fn next(self) -> Sequence {
        Sequence(self.0.wrapping_add(1))
    }

    /// The position `n` further.
    #[inline]
    #[must_use]
    pub const fn plus(self, n: u64) -> Sequence {
        Sequence(self.0.wrapping_add(n))
    }

    /// How many positions lie from `earlier` (included) up to this one (excluded).
    #[inline]
    #[must_use]
    pub const fn since(self, earlier: Sequence) -> u64 {
        self.0.wrapping_sub(earlier.0)
    }

    /// The slot of this position in a ring of `mask + 1` slots.
    #[inline]
    #[must_use]
    pub const fn slot(self, mask: u64) -> usize {
        (self.0 & mask) as usize + PLANTED_BEYOND
    }

    /// The slot of this position among `mask + 1`: every one, or with `every_second` all ones only
    /// the even ones. Without a shift by a variable, which costs a nanosecond where that counts.
    #[inline]
    #[must_use]
    pub const fn spread_slot(self, every_second: u64, mask: u64) -> usize {
        (self.0.wrapping_add(self.0 & every_second) & mask) as usize + PLANTED_BEYOND
    }
}
