//! One message in so many: the same ones for all who ask.
//!
//! A message is known along the line by the source that it entered by and the time for which it was meant, both of which its
//! envelope carries. A hash of the two decides, so that every hop picks the same messages and no frame is longer for it.
//!
//! Invariant: who is picked as one in n is picked as one in every power of two below n.

use super::Prng;

/// Which messages are picked: none, all, or one in a power of two.
///
/// ```
/// use hopline::base::OneIn;
/// let few = OneIn::new(1_000);
/// assert_eq!(few.n(), Some(1_024));
/// let picked = (0..1_000_000).filter(|due_ns| few.picks(0, *due_ns)).count();
/// assert!((900..1_060).contains(&picked));
/// assert!(OneIn::ALL.picks(0, 7) && !OneIn::NONE.picks(0, 7));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OneIn(u64);

impl OneIn {
    /// None is picked.
    pub const NONE: OneIn = OneIn(u64::MAX);

    /// All are picked.
    pub const ALL: OneIn = OneIn(0);

    /// The rarest pick: of a million messages a second one in half an hour.
    pub const N_MAX: u64 = 1 << 31;

    /// One in `n`, which is rounded up to a power of two, and is 1 to [`OneIn::N_MAX`].
    #[must_use]
    pub const fn new(n: u64) -> OneIn {
        let n = if n > OneIn::N_MAX { OneIn::N_MAX } else { n };
        OneIn(n.next_power_of_two() - 1)
    }

    /// Of how many one is picked; none if none is.
    #[must_use]
    pub const fn n(self) -> Option<u64> {
        match self {
            OneIn::NONE => None,
            OneIn(mask) => Some(mask + 1),
        }
    }

    /// Whether it picks the message that entered by that source and was meant for that time, in nanoseconds of the line's clock.
    #[inline(always)]
    #[must_use]
    pub fn picks(self, source: u16, due_ns: u64) -> bool {
        self.0 != u64::MAX && hash(source, due_ns) & self.0 == 0
    }

    /// As a word.
    #[inline(always)]
    #[must_use]
    pub const fn to_word(self) -> u64 {
        self.0
    }

    /// Of a word that [`OneIn::to_word`] gave.
    #[inline(always)]
    #[must_use]
    pub const fn from_word(word: u64) -> OneIn {
        OneIn(word)
    }
}

/// Times come at even distances and in multiples of a clock's tick: a generator's step spreads them over all bits.
#[inline(always)]
fn hash(source: u16, due_ns: u64) -> u64 {
    Prng::new(due_ns ^ u64::from(source) << 48).next_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_picked_is_picked_by_all_that_pick_more() {
        for due_ns in (0..50_000_000).step_by(1_000) {
            let picks = [1, 2, 16, 256].map(|n| OneIn::new(n).picks(3, due_ns));
            assert!(picks.is_sorted_by(|more, fewer| more >= fewer), "{due_ns}");
        }
    }

    #[test]
    fn times_at_even_distances_are_picked_evenly() {
        for step_ns in [1, 100, 1_000, 1 << 20, 15_625, 1_000_000_000] {
            for source in [0, 1, 9] {
                let of = |at: u64| OneIn::new(64).picks(source, 1_000_000_000 + at * step_ns);
                let picked = (0..64_000).filter(|at| of(*at)).count();
                assert!(
                    (850..1_150).contains(&picked),
                    "{step_ns} {source}: {picked}"
                );
            }
        }
    }

    #[test]
    fn a_rarer_pick_is_the_greater_one() {
        assert!(OneIn::ALL < OneIn::new(2) && OneIn::new(2) < OneIn::new(u64::MAX));
        assert!(OneIn::new(u64::MAX) < OneIn::NONE);
        assert_eq!((OneIn::new(0), OneIn::NONE.n()), (OneIn::ALL, None));
        assert_eq!(OneIn::from_word(OneIn::NONE.to_word()), OneIn::NONE);
    }
}
