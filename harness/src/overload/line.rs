//! The case as a text with a policy in it, and runs of it.
//!
//! Invariant: of the case's text only the hop that is overloaded changes from policy to policy.

use std::time::Duration;

use hopline::base::units::Span;
use hopline::budget::Evidence;
use hopline::config::{Case, CaseFiles, LoadChange, Overrides, SourceText};
use hopline::feed::schedule::ScheduleError;
use hopline::feed::{Arrivals, Shape};
use hopline::host::{Host, PinError, usable_threads};
use hopline::topology::report::Report;
use hopline::topology::{Problem, Problems, Registry, StartError, Stop};

use crate::floor::gaps;
use crate::floor::report::Gaps;

use super::figures::Window;

/// The hop that is overloaded.
pub const HOP: &str = "in->book";

/// The hop of the control run.
pub const CONTROL_HOP: &str = "in->out";

const LINE: &str = include_str!("../../cases/overload/line.toml");
const LOAD: &str = include_str!("../../cases/overload/load.toml");

/// The same source on a core of its own, and nothing behind it that takes time.
const CONTROL: &str = r#"
[line]
name = "control"
pin = "prefer"
wait = "spin"

[[source]]
name = "in"
kind = "synthetic"
decode = "made_up"
symbol = "BTCUSDT"
symbols = ["BTCUSDT"]
content = "datagrams"
bytes = 8
rate = "45k/s"

[[sink]]
name = "out"
kind = "blackhole"

[[hop]]
from = "in"
to = "out"
depth = 4096
when_full = "block"

[[thread]]
name = "feed"
run = ["in"]

[[thread]]
name = "market"
run = ["out"]
"#;

/// How long a run goes on after its last measured message was due: nothing of the window is cut off by the drain.
const AFTER: Duration = Duration::from_millis(20);

/// Messages that a hop keeps beyond those that are expected: bursts, and the guess of a capacity that was too low.
const ROOM_FACTOR: f64 = 1.5;
const ROOM_MORE: f64 = 50_000.0;

/// Most messages that a hop keeps: 240 MB. A run that would need more is refused.
const ROOM_MAX: f64 = 1e7;

/// Most that the line can do with a book of 10 us, in messages a second: what the room for passages is made for.
const LINE_RATE_MAX: f64 = 100_000.0;

/// A policy: its name, and what stands for it in the hop's table.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// As plots and tables call it.
    pub name: &'static str,
    /// Lines of TOML; tables below the hop's own, such as `[[hop.class]]`, come last.
    pub settings: &'static str,
    /// Whether it is to keep the budget; the others are shown beside it.
    pub is_judged: bool,
}

/// Why nothing could be measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OverloadError {
    /// The line with the policy is no line.
    #[error("the line under the policy \"{policy}\": {problems}")]
    Policy {
        /// Its name.
        policy: String,
        /// What is wrong.
        problems: Problems,
    },
    /// The load is none.
    #[error(transparent)]
    Load(#[from] Problem),
    /// There is no such schedule.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// It did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A core could not be watched.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// The ledger of a run did not close, or a stage failed.
    #[error("the run under the policy \"{policy}\" does not add up: {}", why.join("; "))]
    Ledger {
        /// The policy.
        policy: String,
        /// Breaches and faults.
        why: Vec<String>,
    },
    /// More messages came through than there was room to note.
    #[error(
        "{lost} messages of {hop} were not noted: the line is faster than this program is made for"
    )]
    Room {
        /// The hop.
        hop: String,
        /// How many.
        lost: u64,
    },
    /// The line has one core.
    #[error("needs two cores, one for the sender and one for the line; this process may use {0:?}")]
    Cores(Vec<usize>),
}

/// The text of a line with `settings` in the table of the hop `from->to`, in place of its own; its depth stays unless they
/// name one. `None` if there is no such hop.
///
/// ```
/// use hopline_harness::overload::line::with_settings;
/// let line = "[[hop]]\nfrom = \"a\"\nto = \"b\"\ndepth = 64\nwhen_full = \"block\"\n";
/// let other = with_settings(line, "a->b", "when_full = \"reject\"").unwrap();
/// assert_eq!(other, "[[hop]]\nfrom = \"a\"\nto = \"b\"\ndepth = 64\nwhen_full = \"reject\"\n");
/// ```
#[must_use]
pub fn with_settings(line: &str, hop: &str, settings: &str) -> Option<String> {
    let (from, to) = hop.split_once("->")?;
    let lines: Vec<&str> = line.lines().collect();
    let is_value = |text: &str, key: &str, value: &str| {
        let given = text.split_once('=').filter(|(name, _)| name.trim() == key);
        given.is_some_and(|(_, given)| {
            given.split('#').next().unwrap_or("").trim() == format!("\"{value}\"")
        })
    };
    let ends = |at: usize| {
        let mut below = lines.iter().skip(at + 1);
        let end = below.position(|text| text.starts_with('[') && !text.starts_with("[[hop."));
        end.map_or(lines.len(), |after| at + 1 + after)
    };
    let begins = (0..lines.len()).find(|&at| {
        let table = &lines[at..ends(at)];
        let has = |key, value| table.iter().any(|text| is_value(text, key, value));
        lines[at].trim() == "[[hop]]" && has("from", from) && has("to", to)
    })?;
    let keys = ["from", "to", "depth"];
    let key_of = |text: &str| text.split_once('=').map(|(key, _)| key.trim().to_owned());
    let own: Vec<String> = settings.lines().filter_map(&key_of).collect();
    let stays = |text: &&&str| {
        let key = key_of(text).filter(|key| !key.starts_with('#'));
        key.is_some_and(|key| keys.contains(&key.as_str()) && !own.contains(&key))
    };
    let kept = lines[begins + 1..ends(begins)]
        .iter()
        .take_while(|text| !text.starts_with('['));
    let head = lines[..=begins].iter().copied();
    let kept = kept.filter(stays).copied();
    let tail = lines[ends(begins)..].iter().copied();
    let mut text: Vec<&str> = head.chain(kept).chain(settings.lines()).collect();
    if ends(begins) < lines.len() {
        text.push("");
    }
    text.extend(tail);
    Some(text.join("\n") + "\n")
}

/// What is offered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// Messages a second on average; says nothing where the arrivals bring their own rates.
    pub rate_per_s: f64,
    /// How they are spread.
    pub arrivals: Arrivals,
    /// Seed of times and contents.
    pub seed: u64,
}

/// A run that is over.
#[derive(Debug)]
pub struct Ran {
    /// What it counted.
    pub report: Report,
    /// What its hops noted.
    pub evidence: Evidence,
    /// What is measured of it, on the line's clock.
    pub window: Window,
    /// Messages that were due within the window.
    pub due: u64,
}

/// Runs lines on the threads of this machine.
#[derive(Debug)]
pub struct Bench {
    registry: Registry,
    host: Host,
    /// What is not measured at the beginning of each run, in nanoseconds.
    pub warmup_ns: u64,
}

impl Bench {
    /// A bench on this machine.
    ///
    /// # Errors
    /// There are no two cores.
    pub fn new(registry: Registry, warmup_ns: u64) -> Result<Bench, OverloadError> {
        let host = Host::read();
        if usable_threads(&host) < 2 {
            return Err(OverloadError::Cores(host.allowed));
        }
        Ok(Bench {
            registry,
            host,
            warmup_ns,
        })
    }

    /// What the host does to loops that only spin, on the two cores that a line would have.
    ///
    /// # Errors
    /// A core cannot be bound to.
    pub fn gaps(&self, each: Duration) -> Result<Vec<Gaps>, OverloadError> {
        let cores = &self.host.allowed;
        let pair = [cores[cores.len() - 2], cores[cores.len() - 1]];
        let clock = hopline::clock::Clock::calibrated();
        Ok(gaps::measure(
            &clock,
            gaps::groups(&pair, Some(pair)),
            each.as_nanos() as u64,
        )?)
    }

    /// Runs the case under a policy; `measured_ns` of it are measured.
    ///
    /// # Errors
    /// See [`OverloadError`].
    pub fn run(
        &self,
        policy: &Policy,
        load: &Load,
        measured_ns: u64,
    ) -> Result<Ran, OverloadError> {
        let Some(line) = with_settings(LINE, HOP, policy.settings) else {
            let problem = Problem::new(
                format!("the case has no hop {HOP}"),
                "it is part of the program",
            );
            return Err(problem.into());
        };
        self.run_text(policy.name, &line, load, measured_ns, LINE_RATE_MAX)
    }

    /// Sends the same load to a line that does nothing.
    ///
    /// # Errors
    /// See [`OverloadError`].
    pub fn control(&self, load: &Load, measured_ns: u64) -> Result<Ran, OverloadError> {
        self.run_text("control", CONTROL, load, measured_ns, load.rate_per_s)
    }

    fn run_text(
        &self,
        policy: &str,
        line: &str,
        load: &Load,
        measured_ns: u64,
        rate_max: f64,
    ) -> Result<Ran, OverloadError> {
        let refused = |problems| OverloadError::Policy {
            policy: policy.to_owned(),
            problems,
        };
        let files = CaseFiles {
            line: SourceText::new("line.toml", line),
            load: Some(SourceText::new("load.toml", LOAD)),
            budget: None,
        };
        let mut case = Case::parse(policy, files).map_err(refused)?;
        case.change_load(&LoadChange {
            rate_per_s: (!load.arrivals.has_own_rate()).then_some(load.rate_per_s),
            shape: Some(Shape::Of(load.arrivals)),
            seed: Some(load.seed),
            ..LoadChange::default()
        })?;
        let feed = case.load().and_then(|load| load.feed("in"));
        let schedule = feed.map(|feed| feed.schedule(None)).transpose()?;
        let due_before = |at_ns| schedule.clone().map_or(0, |due| due.count_before(at_ns));
        let draft = case.draft(&self.registry, &Overrides::default());
        let mut line = draft.and_then(|draft| draft.check()).map_err(refused)?;
        let whole = Duration::from_nanos(self.warmup_ns + measured_ns) + AFTER;
        let room = whole.as_secs_f64() * rate_max * ROOM_FACTOR + ROOM_MORE;
        if room > ROOM_MAX {
            let what = format!(
                "{} of such a load are more messages than can be noted",
                Span(measured_ns)
            );
            return Err(Problem::new(what, "measure for a shorter time").into());
        }
        line.note_passages(room as usize);
        let mut running = line.start()?;
        let cause = running.watch(&Stop::after(whole), |_| {});
        let (report, evidence) = running.end_noted(cause);
        let from_ns = evidence.began_ns + self.warmup_ns;
        let ran = Ran {
            due: due_before(self.warmup_ns + measured_ns) - due_before(self.warmup_ns),
            window: Window {
                from_ns,
                to_ns: from_ns + measured_ns,
            },
            report,
            evidence,
        };
        ran.checked(policy)
    }
}

impl Ran {
    fn checked(self, policy: &str) -> Result<Ran, OverloadError> {
        let ledger = &self.report.ledger;
        // What a drain had to give up on is a loss of the run's end, not a miscount.
        if !ledger.closed || !self.report.faults.is_empty() {
            let why = ledger.breaches.iter().chain(&self.report.faults);
            return Err(OverloadError::Ledger {
                policy: policy.to_owned(),
                why: why.cloned().collect(),
            });
        }
        match self.evidence.hops.iter().find(|hop| hop.lost > 0) {
            Some(hop) => Err(OverloadError::Room {
                hop: hop.name.clone(),
                lost: hop.lost,
            }),
            None => Ok(self),
        }
    }
}

/// Whether a hop of a report is the hop of that name, or one of its classes (`from->to#class`).
#[must_use]
pub fn is_of(name: &str, hop: &str) -> bool {
    name.strip_prefix(hop)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_changes_its_hop_and_nothing_else() {
        let block = "when_full = \"block\"\ndepth = 64\n\n[[hop.class]]\nname = \"all\"";
        let text = with_settings(LINE, HOP, block).unwrap();
        let (before, table) = text.split_once("[[hop]]\nfrom = \"in\"\n").unwrap();
        assert!(LINE.starts_with(before));
        let (table, after) = table.split_once("\n\n[[hop]]\n").unwrap();
        assert_eq!(table, format!("to = \"book\"\n{block}"));
        assert!(LINE.ends_with(after));
        // What is put in may be taken out again, with its own tables.
        let again = with_settings(&text, HOP, "when_full = \"reject\"").unwrap();
        assert!(
            !again.contains("hop.class") && again.contains("depth = 64\nwhen_full = \"reject\"\n")
        );
        assert_eq!(with_settings(LINE, "in->nobody", ""), None);
    }

    #[test]
    fn a_class_of_a_hop_is_of_the_hop() {
        assert!(is_of("in->book", HOP) && is_of("in->book#trade", HOP));
        assert!(!is_of("in->books", HOP) && !is_of("book->signal", HOP));
    }
}
