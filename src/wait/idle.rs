//! Idle strategies: spin, yield, park.
//!
//! Spinning as long as a sleep costs, then sleeping, is at most twice as slow as the best choice
//! with hindsight (Karlin, Manasse, McGeoch, Owicki: "Competitive randomized algorithms for
//! non-uniform problems", SODA 1990). A sleep costs 42-50 us here, and a turn without work some
//! 0.1-0.2 us: hence the default of 256 turns.
//!
//! Invariant: a strategy has state only in [`Idle`], and work resets it.

use core::fmt;
use core::str::FromStr;

use crate::base::limits::PARK_MAX_NS;
use crate::base::units::{Span, UnitError};

/// What a loop does when it has no work.
///
/// A configuration names one of three presets:
///
/// | name | is | for |
/// |---|---|---|
/// | `spin` | [`Strategy::Spin`] | a core of its own, lowest latency |
/// | `yield` | [`Strategy::YIELD`] | a core shared with other loops (1.5 times the latency of spinning) |
/// | `park` | [`Strategy::PARK`], the default | cores shared with others, or rare work |
///
/// ```
/// use hopline::wait::Strategy;
/// assert_eq!("park".parse(), Ok(Strategy::default()));
/// assert_eq!(Strategy::YIELD.to_string(), "yield");
/// assert!("sleep".parse::<Strategy>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// Never leaves the core.
    Spin,
    /// Spins, then offers the core to other threads after each turn.
    Yield {
        /// Turns without work before the first yield.
        spins: u32,
    },
    /// Spins, then yields, then sleeps in the driver's poll until woken.
    Park {
        /// Turns without work before the first yield.
        spins: u32,
        /// Yields before the first park.
        yields: u32,
        /// Longest sleep in nanoseconds; [`Idle`] never asks for more than
        /// [`PARK_MAX_NS`].
        max_park_ns: u64,
    },
}

impl Strategy {
    /// The preset `yield`: 64 turns, since another thread may be waiting for the core.
    pub const YIELD: Strategy = Strategy::Yield { spins: 64 };

    /// The preset `park`: 256 turns (about what a sleep costs), 16 yields, and the longest sleep.
    pub const PARK: Strategy = Strategy::Park {
        spins: 256,
        yields: 16,
        max_park_ns: PARK_MAX_NS,
    };

    /// The name of the preset that this is a form of.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Strategy::Spin => "spin",
            Strategy::Yield { .. } => "yield",
            Strategy::Park { .. } => "park",
        }
    }

    /// What it does, step by step, in words.
    ///
    /// ```
    /// use hopline::wait::Strategy;
    /// assert_eq!(Strategy::PARK.ladder(), "256 turns, 16 yields, then sleeps of up to 50.0ms");
    /// ```
    #[must_use]
    pub fn ladder(self) -> String {
        match self {
            Strategy::Spin => "never leaves its core".to_owned(),
            Strategy::Yield { spins } => format!("{spins} turns, then a yield after each"),
            Strategy::Park {
                spins,
                yields,
                max_park_ns,
            } => format!(
                "{spins} turns, {yields} yields, then sleeps of up to {}",
                Span(max_park_ns.min(PARK_MAX_NS))
            ),
        }
    }

    /// Whether it keeps a core busy, so that no two such loops should share one.
    #[must_use]
    pub const fn keeps_core(self) -> bool {
        matches!(self, Strategy::Spin)
    }
}

impl Default for Strategy {
    /// [`Strategy::PARK`]: as fast as spinning under load, and idle when idle.
    fn default() -> Strategy {
        Strategy::PARK
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Strategy {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Strategy, UnitError> {
        match text.trim() {
            "spin" => Ok(Strategy::Spin),
            "yield" => Ok(Strategy::YIELD),
            "park" => Ok(Strategy::PARK),
            _ => Err(UnitError {
                given: text.to_owned(),
                expected: "a wait strategy: \"spin\", \"yield\" or \"park\"",
            }),
        }
    }
}

/// What to do after a turn without work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Give the processor a spin hint and take the next turn.
    Spin,
    /// Offer the core to another thread.
    Yield,
    /// Announce the sleep, look once more, then sleep in the driver's poll for at most so many
    /// nanoseconds.
    Park(u64),
}

/// The state of an idle loop.
///
/// ```
/// use hopline::wait::{Idle, Rest, Strategy};
/// let mut idle = Idle::new(Strategy::Park { spins: 1, yields: 1, max_park_ns: 500 });
/// assert_eq!([idle.next(), idle.next(), idle.next()], [Rest::Spin, Rest::Yield, Rest::Park(500)]);
/// idle.worked();
/// assert_eq!(idle.next(), Rest::Spin);
/// ```
#[derive(Clone, Debug)]
pub struct Idle {
    strategy: Strategy,
    /// Turns without work since the last work.
    turns: u32,
}

impl Idle {
    /// A loop that has just worked.
    #[must_use]
    pub const fn new(strategy: Strategy) -> Idle {
        Idle { strategy, turns: 0 }
    }

    /// What to do after one more turn without work.
    #[inline]
    #[allow(
        clippy::should_implement_trait,
        reason = "it always has an answer, so an iterator would only add an Option to each turn"
    )]
    pub fn next(&mut self) -> Rest {
        let turn = self.turns;
        self.turns = turn.saturating_add(1);
        match self.strategy {
            Strategy::Spin => Rest::Spin,
            Strategy::Yield { spins } if turn < spins => Rest::Spin,
            Strategy::Yield { .. } => Rest::Yield,
            Strategy::Park { spins, .. } if turn < spins => Rest::Spin,
            Strategy::Park { spins, yields, .. } if turn < spins.saturating_add(yields) => {
                Rest::Yield
            }
            Strategy::Park { max_park_ns, .. } => Rest::Park(max_park_ns.min(PARK_MAX_NS)),
        }
    }

    /// The loop had work: the next idle turn is the first again.
    #[inline(always)]
    pub fn worked(&mut self) {
        self.turns = 0;
    }

    /// Turns without work since the last work.
    #[inline]
    #[must_use]
    pub const fn turns(&self) -> u32 {
        self.turns
    }

    /// The strategy that this follows.
    #[must_use]
    pub const fn strategy(&self) -> Strategy {
        self.strategy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rests(strategy: Strategy, turns: usize) -> Vec<Rest> {
        let mut idle = Idle::new(strategy);
        (0..turns).map(|_| idle.next()).collect()
    }

    #[test]
    fn each_strategy_backs_off_as_documented() {
        assert!(
            rests(Strategy::Spin, 1_000)
                .iter()
                .all(|rest| *rest == Rest::Spin)
        );
        let yields = rests(Strategy::YIELD, 70);
        assert!(yields[..64].iter().all(|rest| *rest == Rest::Spin));
        assert!(yields[64..].iter().all(|rest| *rest == Rest::Yield));
        let parks = rests(Strategy::PARK, 300);
        assert!(parks[..256].iter().all(|rest| *rest == Rest::Spin));
        assert!(parks[256..272].iter().all(|rest| *rest == Rest::Yield));
        assert!(
            parks[272..]
                .iter()
                .all(|rest| *rest == Rest::Park(PARK_MAX_NS))
        );
    }

    #[test]
    fn no_sleep_is_longer_than_the_bound() {
        let strategy = Strategy::Park {
            spins: 0,
            yields: 0,
            max_park_ns: u64::MAX,
        };
        assert_eq!(rests(strategy, 1), [Rest::Park(PARK_MAX_NS)]);
    }

    #[test]
    fn counts_at_their_end_do_not_wrap() {
        let mut idle = Idle::new(Strategy::Park {
            spins: u32::MAX,
            yields: u32::MAX,
            max_park_ns: 1,
        });
        idle.turns = u32::MAX - 1;
        let rests = [idle.next(), idle.next(), idle.next()];
        assert_eq!(rests, [Rest::Spin, Rest::Park(1), Rest::Park(1)]);
        idle.worked();
        assert_eq!((idle.turns(), idle.next()), (0, Rest::Spin));
    }

    #[test]
    fn names_go_both_ways() {
        for strategy in [Strategy::Spin, Strategy::YIELD, Strategy::PARK] {
            assert_eq!(strategy.to_string().parse(), Ok(strategy));
        }
        let error = "nap".parse::<Strategy>().unwrap_err();
        assert!(error.to_string().contains("\"nap\" is not a wait strategy"));
    }
}
