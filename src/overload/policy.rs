//! What a hop does when there is too much: one value, from the case or from a hand while the line runs.
//!
//! A hop has one hard limit, [`WhenFull`], and any number of soft ones that come before it, by age where they can: a frame
//! that is too old is worth less than the room it takes.
//!
//! Invariant: a policy is a value; it holds neither a ring nor the time.

use core::fmt;

use crate::base::units::Span;

use super::bounds::BoundError;
use super::{BucketParams, CodelParams, LadderParams, SampleParams, WatermarkParams};

/// What happens when a hop's ring has no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WhenFull {
    /// The consumer holds its producer back: the producing stage gets no input until there is room
    /// for what it may emit. Nothing is lost, and latency grows upstream.
    #[default]
    Block,
    /// The new message is refused and the producing stage is told so, and counted as
    /// `shed{rejected}`.
    Reject,
    /// The new message is dropped and counted as `shed{full}`; what is queued stays.
    DropNewest,
    /// The consumer steps over its oldest messages, counted as `discarded{oldest}`, when it finds its ring nearly full; what
    /// comes while it does not (it may be stuck) is dropped and counted as `shed{full}`.
    DropOldest,
    /// The message waits at the producer in a table of bounded size until there is room, and a newer one of the same kind and
    /// key takes its place: the older one is counted as `shed{conflated}`. A message without a key, or for which the table has
    /// no room, is dropped as `shed{full}`.
    Conflate,
    /// The message goes to another hop of the same port or into a file, and is counted here as `shed{overflowed}`.
    Overflow,
}

impl WhenFull {
    /// All policies, in the order in which errors list them.
    pub const ALL: [WhenFull; 6] = [
        WhenFull::Block,
        WhenFull::Reject,
        WhenFull::DropNewest,
        WhenFull::DropOldest,
        WhenFull::Conflate,
        WhenFull::Overflow,
    ];

    /// The word that config files and reports use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            WhenFull::Block => "block",
            WhenFull::Reject => "reject",
            WhenFull::DropNewest => "drop_newest",
            WhenFull::DropOldest => "drop_oldest",
            WhenFull::Conflate => "conflate",
            WhenFull::Overflow => "overflow",
        }
    }

    /// The policy of that name.
    ///
    /// ```
    /// use hopline::overload::WhenFull;
    /// assert_eq!(WhenFull::parse("drop_newest"), Some(WhenFull::DropNewest));
    /// assert_eq!(WhenFull::parse("drop"), None);
    /// ```
    #[must_use]
    pub fn parse(name: &str) -> Option<WhenFull> {
        WhenFull::ALL
            .into_iter()
            .find(|policy| policy.name() == name)
    }
}

impl fmt::Display for WhenFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a hop does when there is too much. The default blocks and has no soft limit.
///
/// ```
/// use hopline::overload::{Policy, WhenFull};
/// let policy = Policy {
///     codel_target_ns: 80_000,
///     ..Policy::of(WhenFull::DropNewest)
/// };
/// assert_eq!(policy.to_string(), "drop_newest, codel 80.0us");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// The hard limit.
    pub when_full: WhenFull,
    /// How long [`WhenFull::Block`] holds a producer back before it does as `then` says, in nanoseconds; 0 is for ever.
    pub block_timeout_ns: u64,
    /// What it does then: anything but block and drop_oldest.
    pub then: WhenFull,
    /// Frames older than this, from their intended time, are worthless, in nanoseconds; 0 is no such limit. A frame that would be
    /// by the time its turn comes is refused, `shed{hopeless}`, and one that is when its turn comes is `discarded{late}`.
    pub deadline_ns: u64,
    /// The wait that the consumer's queue may have for long, in nanoseconds; 0 is no such limit. See [`codel`](super::codel).
    pub codel_target_ns: u64,
    /// For how long it may have more, in nanoseconds.
    pub codel_interval_ns: u64,
    /// Of so many messages one is taken where the ring is filled above `sample_above`; 0 and 1 take all.
    pub sample: u32,
    /// The fill of the ring above which it is sampled, in parts of a hundred.
    pub sample_above: u8,
    /// Messages a second that are taken, on average; 0 is no such limit.
    pub rate_per_s: u64,
    /// Messages that may be taken at once beyond it.
    pub burst: u32,
    /// The fill of the ring at which its producer is paused, in parts of a hundred; 0 is no such limit.
    pub high: u8,
    /// The fill at which it goes on.
    pub low: u8,
    /// The wait, as predicted from the backlog, over which the hop degrades by a rung, in nanoseconds; 0 is no such limit. See
    /// [`ladder`](super::ladder).
    pub degrade_high_ns: u64,
    /// The wait below which it takes a rung back, in nanoseconds.
    pub degrade_low_ns: u64,
    /// Whether the rungs of the ladder below the last leave it alone.
    pub protected: bool,
}

/// Interval of [`Policy::codel_interval_ns`] where only a target is given, in nanoseconds: a millisecond, as DAGOR's window has
/// it, a dozen and more services of a stage that needs such a target.
pub const CODEL_INTERVAL_NS: u64 = 1_000_000;

/// Fill above which messages are sampled where only the share is given.
pub const SAMPLE_ABOVE: u8 = 50;

/// Shortest span of a limit by age, in nanoseconds: a hop by itself takes some hundreds.
const SPAN_LEAST_NS: u64 = 1_000;

impl Policy {
    /// A policy of a hard limit alone.
    #[must_use]
    pub const fn of(when_full: WhenFull) -> Policy {
        Policy {
            when_full,
            block_timeout_ns: 0,
            then: WhenFull::DropNewest,
            deadline_ns: 0,
            codel_target_ns: 0,
            codel_interval_ns: CODEL_INTERVAL_NS,
            sample: 0,
            sample_above: SAMPLE_ABOVE,
            rate_per_s: 0,
            burst: 0,
            high: 0,
            low: 0,
            degrade_high_ns: 0,
            degrade_low_ns: 0,
            protected: false,
        }
    }

    /// Whether the producing end has anything to do beside looking for room.
    #[must_use]
    pub const fn is_judged_at_offer(&self) -> bool {
        self.block_timeout_ns > 0
            || self.deadline_ns > 0
            || self.sample > 1
            || self.rate_per_s > 0
            || self.high > 0
            || self.degrade_high_ns > 0
            || matches!(self.when_full, WhenFull::Conflate)
    }

    /// Whether the consuming end has anything to do beside taking, and be it to tell at once what it has taken.
    #[must_use]
    pub const fn is_judged_at_take(&self) -> bool {
        self.deadline_ns > 0
            || self.codel_target_ns > 0
            || self.degrade_high_ns > 0
            || self.sample > 1
            || self.high > 0
            || matches!(self.when_full, WhenFull::DropOldest)
    }

    /// What a full ring means now: block, or once it has for too long, what comes then.
    #[must_use]
    pub const fn when_full_now(&self, expired: bool) -> WhenFull {
        if expired { self.then } else { self.when_full }
    }

    /// Whether one of its limits needs `WhenFull::Conflate`'s table.
    #[must_use]
    pub fn conflates(&self) -> bool {
        self.when_full == WhenFull::Conflate
            || (self.block_timeout_ns > 0 && self.then == WhenFull::Conflate)
    }

    /// Whether one of its limits needs a hop or a file to spill to.
    #[must_use]
    pub fn spills(&self) -> bool {
        self.when_full == WhenFull::Overflow
            || (self.block_timeout_ns > 0 && self.then == WhenFull::Overflow)
    }

    /// The interval that goes with a target where none is given, in nanoseconds: ten targets where that is longer than
    /// [`CODEL_INTERVAL_NS`].
    #[must_use]
    pub const fn codel_interval_of(target_ns: u64) -> u64 {
        let least_ns = target_ns.saturating_mul(10);
        if least_ns > CODEL_INTERVAL_NS {
            least_ns
        } else {
            CODEL_INTERVAL_NS
        }
    }

    /// What is wrong with it on a ring of `depth` frames: what, and what to write instead. One that is right has all of its
    /// limits: there is none that could not be made of it.
    ///
    /// ```
    /// use hopline::overload::{Policy, WhenFull};
    /// let policy = Policy {
    ///     high: 1,
    ///     ..Policy::of(WhenFull::Block)
    /// };
    /// assert_eq!(policy.check(1024), Ok(()));
    /// let (what, _) = policy.check(64).unwrap_err();
    /// assert!(what.contains("0 and 0 frames"));
    /// ```
    ///
    /// # Errors
    /// Limits that contradict each other, or that could never be kept.
    pub fn check(&self, depth: usize) -> Result<(), (String, String)> {
        self.check_block()?;
        self.check_age()?;
        self.check_fill(depth)?;
        if self.rate_per_s > 0 {
            if self.burst == 0 {
                let what = "a rate without a burst takes nothing";
                return wrong(what.to_owned(), "write burst = 1 or more");
            }
            bound(
                "rate",
                BucketParams::new(self.rate_per_s, self.burst.into()),
            )?;
        }
        Ok(())
    }

    fn check_block(&self) -> Result<(), (String, String)> {
        if self.block_timeout_ns > 0 && self.when_full != WhenFull::Block {
            let what = format!(
                "\"block_timeout\" has no effect where when_full = \"{}\"",
                self.when_full
            );
            return wrong(what, "write when_full = \"block\", or remove it");
        }
        if self.block_timeout_ns > 0 && matches!(self.then, WhenFull::Block | WhenFull::DropOldest)
        {
            let what = format!("\"then\" cannot be \"{}\"", self.then);
            return wrong(
                what,
                "write \"drop_newest\", \"reject\", \"conflate\" or \"overflow\"",
            );
        }
        Ok(())
    }

    fn check_age(&self) -> Result<(), (String, String)> {
        if self.deadline_ns > u64::from(u32::MAX) {
            let what = format!("a deadline of {} cannot be carried", Span(self.deadline_ns));
            return wrong(what, "write at most \"4.2s\"");
        }
        for (key, span_ns) in [
            ("deadline", self.deadline_ns),
            ("codel", self.codel_target_ns),
            ("degrade_high", self.degrade_high_ns),
        ] {
            if span_ns > 0 && !(SPAN_LEAST_NS..=u64::from(u32::MAX)).contains(&span_ns) {
                let what = format!("\"{key}\" of {} is out of bounds", Span(span_ns));
                return wrong(what, "write \"1us\" to \"4.2s\"");
            }
        }
        if self.codel_target_ns > 0 {
            if self.codel_interval_ns < 2 * self.codel_target_ns {
                let what = format!(
                    "a codel interval of {} is too short for a target of {}",
                    Span(self.codel_interval_ns),
                    Span(self.codel_target_ns)
                );
                return wrong(what, "write an interval of at least twice the target");
            }
            let codel = CodelParams::new(self.codel_target_ns, self.codel_interval_ns);
            bound("codel", codel)?;
        }
        if self.degrade_high_ns > 0 {
            let (high_ns, low_ns) = (self.degrade_high_ns, self.degrade_low_ns);
            if low_ns >= high_ns {
                let what = format!(
                    "a hop that degrades above {} and recovers below {} would never rest",
                    Span(high_ns),
                    Span(low_ns)
                );
                return wrong(what, "write degrade_low below degrade_high");
            }
            if low_ns == 0 {
                let what = "a wait is never below a \"degrade_low\" of zero: nothing recovers";
                return wrong(what.to_owned(), "write half of degrade_high");
            }
            // The window and the dwell are the hop's own, and right.
            let ladder = LadderParams::new(high_ns, low_ns, SPAN_LEAST_NS, 1);
            bound("degrade_high", ladder)?;
        }
        Ok(())
    }

    fn check_fill(&self, depth: usize) -> Result<(), (String, String)> {
        let of_depth = |percent: u8| depth * usize::from(percent) / 100;
        if self.sample_above > 99 {
            let what = format!("a fill of {} % is none to sample above", self.sample_above);
            return wrong(what, "write 0 to 99");
        }
        if self.sample > 1 {
            let sample = SampleParams::new(self.sample, of_depth(self.sample_above));
            bound("sample", sample)?;
        }
        if self.high == 0 {
            return Ok(());
        }
        if self.high > 100 || self.low >= self.high {
            let what = format!(
                "marks of {} % and {} % leave nothing between",
                self.low, self.high
            );
            return wrong(what, "write low below high, and high up to 100");
        }
        if self.when_full != WhenFull::Block {
            let what = format!(
                "\"high\" has no effect where when_full = \"{}\"",
                self.when_full
            );
            return wrong(what, "write when_full = \"block\", or remove it");
        }
        let (high, low) = (of_depth(self.high), of_depth(self.low));
        if WatermarkParams::new(high, low).is_err() {
            let what = format!(
                "marks of {} % and {} % of a depth of {depth} are {low} and {high} frames, and leave nothing between",
                self.low, self.high
            );
            return wrong(what, "write low further below high, or a greater depth");
        }
        Ok(())
    }
}

fn wrong(what: String, help: &str) -> Result<(), (String, String)> {
    Err((what, help.to_owned()))
}

/// What is wrong with the parameters of the limit that `key` sets, if they are none.
fn bound<T>(key: &str, params: Result<T, BoundError>) -> Result<(), (String, String)> {
    let Err(error) = params else {
        return Ok(());
    };
    let words = error.to_string();
    let (what, help) = words.split_once("; ").unwrap_or((&words, ""));
    wrong(format!("\"{key}\": {what}"), help)
}

impl From<WhenFull> for Policy {
    fn from(when_full: WhenFull) -> Policy {
        Policy::of(when_full)
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.when_full)?;
        if self.block_timeout_ns > 0 {
            write!(f, " {} then {}", Span(self.block_timeout_ns), self.then)?;
        }
        if self.deadline_ns > 0 {
            write!(f, ", deadline {}", Span(self.deadline_ns))?;
        }
        if self.codel_target_ns > 0 {
            write!(f, ", codel {}", Span(self.codel_target_ns))?;
            if self.codel_interval_ns != Policy::codel_interval_of(self.codel_target_ns) {
                write!(f, " within {}", Span(self.codel_interval_ns))?;
            }
        }
        if self.sample > 1 {
            write!(f, ", 1 in {} above {} %", self.sample, self.sample_above)?;
        }
        if self.rate_per_s > 0 {
            write!(f, ", {}/s", self.rate_per_s)?;
        }
        if self.high > 0 {
            write!(f, ", paused from {} to {} %", self.high, self.low)?;
        }
        if self.degrade_high_ns > 0 {
            write!(f, ", degrades above {}", Span(self.degrade_high_ns))?;
        }
        if self.protected {
            f.write_str(", protected")?;
        }
        Ok(())
    }
}
