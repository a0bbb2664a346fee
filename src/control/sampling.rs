//! The one word by which all hops of a line pick the messages that they tell.
//!
//! Invariant: whoever looks sees the last rule or the one before; a rule is whole, for it is one word.

use crate::base::OneIn;
use crate::base::primitive::{AtomicU64, Ordering};

/// Which messages the hops of a line tell. It is read for each message and written a few times a second at the most, so it
/// stays in every core's cache.
///
/// ```
/// use hopline::base::OneIn;
/// use hopline::control::Sampling;
/// let sampling = Sampling::default();
/// assert!(!sampling.picks(0, 7));
/// sampling.set(OneIn::ALL);
/// assert!(sampling.picks(0, 7));
/// ```
#[derive(Debug)]
pub struct Sampling(AtomicU64);

impl Default for Sampling {
    /// No message is told.
    fn default() -> Sampling {
        Sampling(AtomicU64::new(OneIn::NONE.to_word()))
    }
}

impl Sampling {
    /// From now on these are told. Hops see it within the time that a store takes to the other cores.
    pub fn set(&self, rule: OneIn) {
        // Nothing is read that was written before it: whoever joins what is told leaves out what was on its way then.
        self.0.store(rule.to_word(), Ordering::Relaxed);
    }

    /// Which are.
    #[inline(always)]
    #[must_use]
    pub fn get(&self) -> OneIn {
        OneIn::from_word(self.0.load(Ordering::Relaxed))
    }

    /// Whether that message is told, as [`OneIn::picks`] says.
    #[inline(always)]
    #[must_use]
    pub fn picks(&self, source: u16, due_ns: u64) -> bool {
        self.get().picks(source, due_ns)
    }
}
