//! What a line does when a stage panics: stop, go on without the frame, or make the stage anew.
//!
//! ```text
//!                       ┌─ stop ────────────────────────────────→ failed: the line drains
//!   panic ─ caught at ──┤           ┌─ too many in the window ──→ failed
//!           the border  ├─ skip ────┤
//!                       │           └─ else ─→ the frame is rejected{panicked} ─→ the same instance goes on
//!                       └─ restart ─┬─ too many in the window ──→ failed
//!                                   └─ else ─→ the same, the instance is dropped ─→ restarting ─[back-off]─→ a new one
//! ```
//!
//! Invariant: a policy decides from the times of panics alone, and deciding never allocates.

use std::collections::VecDeque;

use crate::base::Counter;
use crate::base::limits::{
    PANIC_WINDOW_NS_DEFAULT, PANIC_WINDOW_NS_MAX, PANIC_WINDOW_NS_MIN, PANICS_DEFAULT, PANICS_MAX,
    QUARANTINE_DEPTH, RESTART_NS_DEFAULT, RESTART_NS_MAX, RESTART_NS_MAX_DEFAULT, RESTART_NS_MIN,
    RESTARTS_DEFAULT,
};
use crate::base::units::Span;
use crate::ring::spsc;

use super::quarantine::Panicked;

/// What happens when a stage panics. A source or a sink that panics always stops the line: it holds
/// sockets and files, and what it has half done with them is not known.
///
/// ```
/// use hopline::stage::OnPanic;
/// // At most three new instances in ten seconds; the first after 50 ms, later ones after up to a second.
/// let policy = OnPanic::Restart {
///     most: 3,
///     within_ns: 10_000_000_000,
///     after_ns: 50_000_000,
///     after_max_ns: 1_000_000_000,
/// };
/// assert_eq!(policy.check(), Ok(()));
/// assert_eq!(OnPanic::default(), OnPanic::Stop);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnPanic {
    /// The stage has failed, and the line drains.
    #[default]
    Stop,
    /// The frame in hand is refused as rejected{panicked}, and the same instance goes on. For stages
    /// whose state no frame can spoil: what the handler had half done stays so.
    Skip {
        /// Most panics within the window; one more stops the line.
        most: u32,
        /// The window, in nanoseconds.
        within_ns: u64,
    },
    /// The frame in hand is refused likewise, the instance is dropped with all that it holds, and its
    /// factory makes another one after a while. Its inputs stay queued meanwhile.
    Restart {
        /// Most panics within the window; one more stops the line.
        most: u32,
        /// The window, in nanoseconds.
        within_ns: u64,
        /// How long the stage is away after the first panic in the window, in nanoseconds. It doubles
        /// with each further one.
        after_ns: u64,
        /// Longest that it is away, in nanoseconds.
        after_max_ns: u64,
    },
}

/// A number of a policy that is out of its bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutOfBounds {
    /// Which one, as `line.toml` names it.
    pub setting: &'static str,
    /// What is wrong.
    pub what: String,
    /// What to write instead.
    pub help: String,
}

impl OnPanic {
    /// To go on without the frame, with the default limit.
    pub const SKIP: OnPanic = OnPanic::Skip {
        most: PANICS_DEFAULT,
        within_ns: PANIC_WINDOW_NS_DEFAULT,
    };

    /// To make the stage anew, with the default limit and back-off.
    pub const RESTART: OnPanic = OnPanic::Restart {
        most: RESTARTS_DEFAULT,
        within_ns: PANIC_WINDOW_NS_DEFAULT,
        after_ns: RESTART_NS_DEFAULT,
        after_max_ns: RESTART_NS_MAX_DEFAULT,
    };

    /// All policies with their defaults, in the order in which errors list them.
    pub const ALL: [OnPanic; 3] = [OnPanic::Stop, OnPanic::SKIP, OnPanic::RESTART];

    /// The word that config files and reports use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            OnPanic::Stop => "stop",
            OnPanic::Skip { .. } => "skip",
            OnPanic::Restart { .. } => "restart",
        }
    }

    /// The policy of that name, with its defaults.
    #[must_use]
    pub fn parse(name: &str) -> Option<OnPanic> {
        OnPanic::ALL
            .into_iter()
            .find(|policy| policy.name() == name)
    }

    /// Most panics and their window, where there is a limit.
    const fn limit(self) -> Option<(u32, u64)> {
        match self {
            OnPanic::Stop => None,
            OnPanic::Skip { most, within_ns }
            | OnPanic::Restart {
                most, within_ns, ..
            } => Some((most, within_ns)),
        }
    }

    /// How long the stage is away after the `nth` panic in the window, counted from 1.
    fn wait_ns(self, nth: usize) -> u64 {
        let OnPanic::Restart {
            after_ns,
            after_max_ns,
            ..
        } = self
        else {
            return 0;
        };
        let doublings = u32::try_from(nth.saturating_sub(1)).unwrap_or(u32::MAX);
        let factor = 1u64.checked_shl(doublings).unwrap_or(u64::MAX);
        after_ns.saturating_mul(factor).min(after_max_ns)
    }

    /// Whether its numbers are within their bounds.
    ///
    /// # Errors
    /// The first that is not.
    pub fn check(self) -> Result<(), OutOfBounds> {
        let Some((most, within_ns)) = self.limit() else {
            return Ok(());
        };
        if !(1..=PANICS_MAX).contains(&most) {
            return Err(OutOfBounds {
                setting: "panics_max",
                what: format!("a limit of {most} panics is out of bounds"),
                help: format!(
                    "write a number from 1 to {PANICS_MAX}, or on_panic = \"stop\" for none"
                ),
            });
        }
        let span = |setting, what: &str, ns: u64, least: u64, longest: u64| {
            if (least..=longest).contains(&ns) {
                return Ok(());
            }
            Err(OutOfBounds {
                setting,
                what: format!("{what} of {} is out of bounds", Span(ns)),
                help: format!("write a span from {} to {}", Span(least), Span(longest)),
            })
        };
        let (least, longest) = (PANIC_WINDOW_NS_MIN, PANIC_WINDOW_NS_MAX);
        span("panics_within", "a window", within_ns, least, longest)?;
        if let OnPanic::Restart {
            after_ns,
            after_max_ns,
            ..
        } = self
        {
            let (least, longest) = (RESTART_NS_MIN, RESTART_NS_MAX);
            span("restart_after", "a back-off", after_ns, least, longest)?;
            let what = "a longest back-off";
            span("restart_after_max", what, after_max_ns, after_ns, longest)?;
            self.check_reach(most, within_ns)?;
        }
        Ok(())
    }

    /// Whether that many panics with the back-offs after them fall in one window: else none is ever one too many, and a stage that
    /// can do nothing but panic is made anew for ever.
    fn check_reach(self, most: u32, within_ns: u64) -> Result<(), OutOfBounds> {
        let waits = (1..=most as usize).map(|nth| self.wait_ns(nth));
        let least_ns = waits.fold(0, u64::saturating_add);
        if least_ns < within_ns {
            return Ok(());
        }
        Err(OutOfBounds {
            setting: "panics_within",
            what: format!(
                "the back-offs after {most} panics take {}, so no window of {} has one more, and nothing ends the restarts",
                Span(least_ns),
                Span(within_ns)
            ),
            help: "write a longer \"panics_within\", a lower \"panics_max\" or a shorter \"restart_after\"".to_owned(),
        })
    }

    /// Bytes that it takes beside the stage, for the plan.
    pub(crate) fn memory_bytes(self) -> usize {
        self.limit().map_or(0, |(most, _)| {
            most as usize * size_of::<u64>() + QUARANTINE_DEPTH * size_of::<Panicked>()
        })
    }
}

/// What a stage's panics came to, read by anybody while it runs.
#[derive(Debug, Default)]
pub struct LifeCounters {
    /// How often it panicked, with a frame in hand or without.
    pub panics: Counter,
    /// How often another instance was made.
    pub restarts: Counter,
    /// How long it was away between two instances, in nanoseconds. Its loop worked on or idled then.
    pub away_ns: Counter,
    /// Restarts in a row between which it was done with no frame, up to the last restart.
    pub in_vain: Counter,
    /// Messages that it was done with at its last restart.
    pub done_before: Counter,
    /// Panics that went into the quarantine.
    pub quarantined: Counter,
    /// Panics for which that had no room.
    pub quarantine_lost: Counter,
}

/// What a panic comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The same instance goes on.
    GoOn,
    /// Another one is made after so many nanoseconds.
    Remake(u64),
    /// There were too many.
    Stop,
}

/// A stage's policy at work: when it panicked of late, and where its panics are kept.
#[derive(Debug)]
pub struct Life {
    policy: OnPanic,
    most: usize,
    within_ns: u64,
    /// Times of the panics in the window, oldest first; never more than `most`.
    times: VecDeque<u64>,
    quarantine: spsc::Producer<Panicked>,
}

impl Life {
    /// A policy that keeps something, and the reading end of what it keeps; none for one that stops.
    pub(crate) fn new(policy: OnPanic) -> Option<(Life, spsc::Consumer<Panicked>)> {
        let (most, within_ns) = policy.limit()?;
        let (quarantine, reader) = spsc::ring(QUARANTINE_DEPTH).ok()?;
        let most = most.min(PANICS_MAX) as usize;
        let life = Life {
            policy,
            most,
            within_ns,
            times: VecDeque::with_capacity(most),
            quarantine,
        };
        Some((life, reader))
    }

    /// What a panic at `now_ns` comes to.
    pub(crate) fn verdict(&mut self, now_ns: u64) -> Verdict {
        let within_ns = self.within_ns;
        let is_past = |at_ns: &u64| now_ns.saturating_sub(*at_ns) >= within_ns;
        while self.times.front().is_some_and(is_past) {
            self.times.pop_front();
        }
        if self.times.len() >= self.most {
            return Verdict::Stop;
        }
        self.times.push_back(now_ns);
        match self.policy {
            OnPanic::Restart { .. } => Verdict::Remake(self.policy.wait_ns(self.times.len())),
            _ => Verdict::GoOn,
        }
    }

    /// Puts a panic into the quarantine; the first ones stay where there is no room.
    pub(crate) fn keep(&mut self, panicked: Panicked, counters: &LifeCounters) {
        match self.quarantine.push(panicked) {
            Ok(()) => counters.quarantined.add(1),
            Err(_) => counters.quarantine_lost.add(1),
        }
    }

    /// Why the line stops although its policy is another, in words behind the panic's own.
    pub(crate) fn limit_words(&self) -> String {
        format!(
            "; on_panic = \"{}\" allows {} within {}, and this was one more",
            self.policy.name(),
            self.most,
            Span(self.within_ns)
        )
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn one_more_than_the_window_allows_stops_and_old_ones_are_forgotten() {
        let policy = OnPanic::Skip {
            most: 2,
            within_ns: 1_000_000,
        };
        let (mut life, _reader) = Life::new(policy).unwrap();
        assert_eq!(life.verdict(10), Verdict::GoOn);
        assert_eq!(life.verdict(1_000_009), Verdict::GoOn);
        // The first is past exactly when the window has gone by.
        assert_eq!(life.verdict(1_000_010), Verdict::GoOn);
        assert_eq!(life.verdict(1_000_011), Verdict::Stop);
        assert!(
            life.limit_words()
                .contains("\"skip\" allows 2 within 1.00ms")
        );
    }

    #[test]
    fn a_back_off_doubles_up_to_its_bound_and_is_short_again_after_a_quiet_window() {
        let policy = OnPanic::Restart {
            most: 100,
            within_ns: 1_000_000_000,
            after_ns: 1_000_000,
            after_max_ns: 6_000_000,
        };
        let (mut life, _reader) = Life::new(policy).unwrap();
        let waits: Vec<Verdict> = (0..5).map(|at| life.verdict(at)).collect();
        let expected = [1, 2, 4, 6, 6].map(|ms| Verdict::Remake(ms * 1_000_000));
        assert_eq!(waits, expected);
        assert_eq!(life.verdict(3_000_000_000), Verdict::Remake(1_000_000));
        for _ in 0..99 {
            assert_ne!(life.verdict(3_000_000_001), Verdict::Stop);
        }
        assert_eq!(life.verdict(3_000_000_002), Verdict::Stop);
    }

    #[test]
    fn a_policy_that_stops_keeps_nothing_and_costs_nothing() {
        assert!(Life::new(OnPanic::Stop).is_none());
        assert_eq!(OnPanic::Stop.memory_bytes(), 0);
        assert!(OnPanic::SKIP.memory_bytes() > QUARANTINE_DEPTH);
    }

    #[test]
    fn numbers_out_of_bounds_are_named_with_their_bounds() {
        let skip = |most, within_ns| OnPanic::Skip { most, within_ns }.check();
        assert_eq!(skip(1, PANIC_WINDOW_NS_MIN), Ok(()));
        assert!(
            skip(0, PANIC_WINDOW_NS_MIN)
                .unwrap_err()
                .help
                .contains("from 1")
        );
        assert!(skip(PANICS_MAX + 1, PANIC_WINDOW_NS_MIN).is_err());
        assert!(skip(1, PANIC_WINDOW_NS_MAX + 1).is_err());
        let restart = |after_ns, after_max_ns| {
            OnPanic::Restart {
                most: 1,
                within_ns: PANIC_WINDOW_NS_MIN,
                after_ns,
                after_max_ns,
            }
            .check()
        };
        assert_eq!(restart(RESTART_NS_MIN, RESTART_NS_MAX), Ok(()));
        assert!(restart(RESTART_NS_MIN - 1, RESTART_NS_MAX).is_err());
        // Two panics in a window that is over before the first back-off is.
        let most = restart(PANIC_WINDOW_NS_MIN, PANIC_WINDOW_NS_MIN).unwrap_err();
        assert_eq!(most.setting, "panics_within");
        assert_eq!(
            restart(PANIC_WINDOW_NS_MIN - 1, PANIC_WINDOW_NS_MIN),
            Ok(())
        );
        let wrong = restart(20_000_000, 10_000_000).unwrap_err();
        assert_eq!(wrong.setting, "restart_after_max");
        assert_eq!(wrong.what, "a longest back-off of 10.0ms is out of bounds");
        assert!(wrong.help.starts_with("write a span from 20.0ms to "));
        for policy in OnPanic::ALL {
            assert_eq!(policy.check(), Ok(()));
            assert_eq!(OnPanic::parse(policy.name()), Some(policy));
        }
    }
}
