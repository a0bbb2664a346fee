//! Idle strategies: spin, yield, park.
//!
//! Spinning as long as a sleep costs, then sleeping, is at most twice as slow as the best choice
//! with hindsight (Karlin, Manasse, McGeoch, Owicki: "Competitive randomized algorithms for
//! non-uniform problems", SODA 1990). A sleep costs 42-50 us here, and a turn without work some
//! 0.1-0.2 us: hence the default of 256 turns. How long a turn takes depends on what is on the loop,
//! so a rung can be given in time as well.
//!
//! Invariant: a strategy has state only in [`Idle`], and work resets it; it reads no clock and is told
//! the time.

use core::fmt;
use core::str::FromStr;

use crate::base::limits::PARK_MAX_NS;
use crate::base::units::{Span, UnitError};

/// How long a loop stays on one rung of its ladder.
///
/// ```
/// use hopline::wait::Rung;
/// assert_eq!(Rung::Turns(256).to_string(), "256");
/// assert_eq!(Rung::Span(50_000).to_string(), "50.0us of");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rung {
    /// So many turns without work.
    Turns(u32),
    /// So many nanoseconds without work. While it spins, a loop looks at its clock once in 64 turns,
    /// so the rung ends that much late; while it yields, after each yield.
    Span(u64),
}

impl Rung {
    /// Whether it is given in time.
    #[must_use]
    pub const fn is_timed(self) -> bool {
        matches!(self, Rung::Span(_))
    }

    /// Whether it goes on after `turns` turns and `span_ns` nanoseconds on it.
    #[inline]
    const fn goes_on(self, turns: u32, span_ns: u64) -> bool {
        match self {
            Rung::Turns(most) => turns < most,
            Rung::Span(most_ns) => span_ns < most_ns,
        }
    }
}

impl fmt::Display for Rung {
    /// As a number before what it is a number of: `256` turns, `50.0us of` turns.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rung::Turns(turns) => write!(f, "{turns}"),
            Rung::Span(span_ns) => write!(f, "{} of", Span(*span_ns)),
        }
    }
}

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
        /// How long it spins before the first yield.
        spins: Rung,
    },
    /// Spins, then yields, then sleeps in the driver's poll until woken.
    Park {
        /// How long it spins before the first yield.
        spins: Rung,
        /// How long it yields before the first park.
        yields: Rung,
        /// Longest sleep in nanoseconds; [`Idle`] never asks for more than
        /// [`PARK_MAX_NS`].
        max_park_ns: u64,
    },
}

impl Strategy {
    /// The preset `yield`: 64 turns, since another thread may be waiting for the core.
    pub const YIELD: Strategy = Strategy::Yield {
        spins: Rung::Turns(64),
    };

    /// The preset `park`: 256 turns (about what a sleep costs), 16 yields, and the longest sleep.
    pub const PARK: Strategy = Strategy::Park {
        spins: Rung::Turns(256),
        yields: Rung::Turns(16),
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

    /// Whether its yields are to end after a time.
    #[must_use]
    pub const fn times_yields(self) -> bool {
        matches!(self, Strategy::Park { yields, .. } if yields.is_timed())
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

/// Which rung of its ladder an idle loop is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Spins,
    Yields,
    Parks,
}

/// The state of an idle loop.
///
/// ```
/// use hopline::wait::{Idle, Rest, Rung, Strategy};
/// let (spins, yields) = (Rung::Turns(1), Rung::Span(200));
/// let mut idle = Idle::new(Strategy::Park { spins, yields, max_park_ns: 500 });
/// assert_eq!([idle.next(1_000), idle.next(1_010)], [Rest::Spin, Rest::Yield]);
/// assert_eq!([idle.next(1_209), idle.next(1_210)], [Rest::Yield, Rest::Park(500)]);
/// idle.worked();
/// assert_eq!(idle.next(1_300), Rest::Spin);
/// ```
#[derive(Clone, Debug)]
pub struct Idle {
    strategy: Strategy,
    /// Turns without work since the last work.
    turns: u32,
    step: Step,
    /// Turns on this rung.
    on_rung: u32,
    /// The time at which it was entered.
    since_ns: u64,
}

impl Idle {
    /// A loop that has just worked.
    #[must_use]
    pub const fn new(strategy: Strategy) -> Idle {
        Idle {
            strategy,
            turns: 0,
            step: Step::Spins,
            on_rung: 0,
            since_ns: 0,
        }
    }

    /// What to do after one more turn without work. `now_ns` is the latest time that the loop knows:
    /// only differences count, and a time that stands still ends no rung that is given in time.
    #[inline]
    pub fn next(&mut self, now_ns: u64) -> Rest {
        if self.turns == 0 {
            self.enter(Step::Spins, now_ns);
        }
        self.turns = self.turns.saturating_add(1);
        let (spins, yields, max_park_ns) = match self.strategy {
            Strategy::Spin => return Rest::Spin,
            Strategy::Yield { spins } => (spins, None, 0),
            Strategy::Park {
                spins,
                yields,
                max_park_ns,
            } => (spins, Some(yields), max_park_ns),
        };
        if self.step == Step::Spins {
            if self.stays(spins, now_ns) {
                return Rest::Spin;
            }
            self.enter(Step::Yields, now_ns);
        }
        let Some(yields) = yields else {
            return Rest::Yield;
        };
        if self.step == Step::Yields {
            if self.stays(yields, now_ns) {
                return Rest::Yield;
            }
            self.enter(Step::Parks, now_ns);
        }
        Rest::Park(max_park_ns.min(PARK_MAX_NS))
    }

    #[inline]
    fn enter(&mut self, step: Step, now_ns: u64) {
        (self.step, self.on_rung, self.since_ns) = (step, 0, now_ns);
    }

    /// Whether this turn is still one of the rung's.
    #[inline]
    fn stays(&mut self, rung: Rung, now_ns: u64) -> bool {
        let goes_on = rung.goes_on(self.on_rung, now_ns.saturating_sub(self.since_ns));
        self.on_rung = self.on_rung.saturating_add(1);
        goes_on
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
        // Time stands still: nothing here is given in time.
        (0..turns).map(|_| idle.next(7)).collect()
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
            spins: Rung::Turns(0),
            yields: Rung::Turns(0),
            max_park_ns: u64::MAX,
        };
        assert_eq!(rests(strategy, 1), [Rest::Park(PARK_MAX_NS)]);
    }

    #[test]
    fn counts_at_their_end_do_not_wrap() {
        let mut idle = Idle::new(Strategy::Park {
            spins: Rung::Turns(u32::MAX),
            yields: Rung::Turns(u32::MAX),
            max_park_ns: 1,
        });
        assert_eq!(idle.next(0), Rest::Spin);
        (idle.turns, idle.on_rung) = (u32::MAX - 1, u32::MAX - 1);
        let rests = [idle.next(0), idle.next(0), idle.next(0)];
        assert_eq!(rests, [Rest::Spin, Rest::Yield, Rest::Yield]);
        idle.on_rung = u32::MAX;
        assert_eq!([idle.next(0), idle.next(0)], [Rest::Park(1), Rest::Park(1)]);
        idle.worked();
        assert_eq!((idle.turns(), idle.next(0)), (0, Rest::Spin));
    }

    /// How long a loop stays on each rung, by a clock that it is told every `look` turns of 100 ns.
    fn rungs_ns(strategy: Strategy, look: u64) -> [u64; 2] {
        let mut idle = Idle::new(strategy);
        let mut rungs_ns = [0, 0];
        for turn in 0..100_000 {
            // It begins anywhere but at zero.
            match idle.next(1_000_000_000 + turn / look * look * 100) {
                Rest::Spin => rungs_ns[0] += 100,
                Rest::Yield => rungs_ns[1] += 100,
                Rest::Park(_) => break,
            }
        }
        rungs_ns
    }

    #[test]
    fn rungs_in_time_end_with_the_first_look_after_it() {
        let park = |spins, yields| Strategy::Park {
            spins,
            yields,
            max_park_ns: 1,
        };
        let both = park(Rung::Span(50_000), Rung::Span(200_000));
        assert_eq!(rungs_ns(both, 1), [50_000, 200_000]);
        // Looks every 6.4 us: the first one at or after 50 us, then the first one 200 us later.
        assert_eq!(rungs_ns(both, 64), [51_200, 204_800]);
        // Each rung in its own measure.
        let mixed = park(Rung::Turns(10), Rung::Span(5_000));
        assert_eq!(rungs_ns(mixed, 1), [1_000, 5_000]);
        let mixed = park(Rung::Span(5_000), Rung::Turns(10));
        assert_eq!(rungs_ns(mixed, 1), [5_000, 1_000]);
        let none = park(Rung::Span(0), Rung::Span(0));
        assert_eq!(rungs_ns(none, 1), [0, 0]);
    }

    #[test]
    fn work_begins_the_time_anew_and_a_clock_that_goes_back_ends_nothing() {
        let spins = Rung::Span(1_000);
        let mut idle = Idle::new(Strategy::Yield { spins });
        assert_eq!(idle.next(5_000), Rest::Spin);
        assert_eq!(idle.next(5_999), Rest::Spin);
        idle.worked();
        assert_eq!(idle.next(6_500), Rest::Spin);
        assert_eq!(idle.next(100), Rest::Spin);
        assert_eq!(idle.next(7_499), Rest::Spin);
        assert_eq!(idle.next(7_500), Rest::Yield);
        assert_eq!(idle.next(7_499), Rest::Yield);
    }

    #[test]
    fn a_ladder_says_turns_or_times() {
        let spins = Rung::Span(50_000);
        assert_eq!(
            Strategy::Yield { spins }.ladder(),
            "50.0us of turns, then a yield after each"
        );
        let park = Strategy::Park {
            spins,
            yields: Rung::Span(200_000),
            max_park_ns: 2_000_000,
        };
        assert_eq!(
            park.ladder(),
            "50.0us of turns, 200us of yields, then sleeps of up to 2.00ms"
        );
        assert!(park.times_yields() && !Strategy::PARK.times_yields());
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
