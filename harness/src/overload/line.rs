//! The case as a text with a policy in it, and runs of it.
//!
//! Invariant: of the case's text only the hop that is overloaded changes from policy to policy.

use std::time::Duration;

use hopline::base::units::Span;
use hopline::budget::Evidence;
use hopline::config::{Case, CaseFiles, LoadChange, Overrides, SourceText};
use hopline::feed::schedule::ScheduleError;
use hopline::feed::{Arrivals, Schedule, Shape};
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

const IOT_LINE: &str = include_str!("../../cases/overload-iot/line.toml");
const IOT_LOAD: &str = include_str!("../../cases/overload-iot/load.toml");

/// The overloaded hops of the case with surges: one table gives both.
const IOT_TABLE: &str = "surge->store";

/// What its report's hops have in common.
pub const IOT_HOPS: [&str; 2] = ["steady->store", "surge->store"];

/// Its surges, as its load.toml has them: messages, how long one is and from one to the next, in nanoseconds.
const SURGE_MESSAGES: u64 = 950_000;
const SURGE_NS: u64 = 5_000_000_000;
const SURGES_APART_NS: u64 = 20_000_000_000;

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

/// What a control run is called.
const CONTROL_NAME: &str = "control";

/// Messages a second of the case with surges, on average, both sources together.
const IOT_MEAN_PER_S: f64 = 57_000.0;

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
    /// Whether it needs no kinds and no keys, so that it also suits messages that are bytes without a meaning.
    pub is_for_any: bool,
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

/// The text of a line with `settings` in the table that the hop `from->to` comes from, in place of its own; its depth stays
/// unless they name one. `None` if there is no such hop.
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
    let names = |text: &str, key: &str, value: &str| {
        let given = text.split_once('=').filter(|(name, _)| name.trim() == key);
        let given = given.map_or("", |(_, given)| given.split('#').next().unwrap_or(""));
        let mut words = given.split(['[', ',', ']']).map(str::trim);
        words.any(|word| {
            word.strip_prefix('"')
                .and_then(|word| word.strip_suffix('"'))
                == Some(value)
        })
    };
    let ends = |at: usize| {
        let mut below = lines.iter().skip(at + 1);
        let end = below.position(|text| text.starts_with('[') && !text.starts_with("[[hop."));
        end.map_or(lines.len(), |after| at + 1 + after)
    };
    let begins = (0..lines.len()).find(|&at| {
        let table = &lines[at..ends(at)];
        let has = |key, value| table.iter().any(|text| names(text, key, value));
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
    /// When the run was told to end, on the line's clock.
    pub until_ns: u64,
    /// Messages that were due within the window.
    pub due: u64,
    /// When messages are due, a feed each, from the run's start.
    pub schedules: Vec<Schedule>,
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
        let line = under(LINE, HOP, policy)?;
        let case = self.case(policy.name, &line, load)?;
        self.run_case(policy.name, &case, self.span(measured_ns), LINE_RATE_MAX)
    }

    /// Sends the same load to a line that does nothing.
    ///
    /// # Errors
    /// See [`OverloadError`].
    pub fn control(&self, load: &Load, measured_ns: u64) -> Result<Ran, OverloadError> {
        let case = self.case(CONTROL_NAME, CONTROL, load)?;
        self.run_case(CONTROL_NAME, &case, self.span(measured_ns), load.rate_per_s)
    }

    /// Runs the case with surges, of which the second is measured, all times divided by `divisor`. Without a policy it is the
    /// same load with a store that takes no time.
    ///
    /// # Errors
    /// See [`OverloadError`].
    pub fn surges(&self, policy: Option<&Policy>, divisor: u64) -> Result<Ran, OverloadError> {
        let divisor = divisor.max(1);
        let (name, line) = match policy {
            Some(policy) => (policy.name, under(IOT_LINE, IOT_TABLE, policy)?),
            None => (
                CONTROL_NAME,
                IOT_LINE
                    .replace("\"50us\"", "\"0ns\"")
                    .replace("drop_newest", "block"),
            ),
        };
        let whole = format!("{SURGE_MESSAGES}/{}s", SURGE_NS / 1_000_000_000);
        let short = format!("{}/{}ns", SURGE_MESSAGES / divisor, SURGE_NS / divisor);
        let case = parse(name, &line, &IOT_LOAD.replace(&whole, &short))?;
        let from_ns = SURGES_APART_NS / divisor;
        let surge_ns = SURGE_NS / divisor;
        let span = Measured {
            from_ns,
            to_ns: from_ns + surge_ns,
            // As long again, in which it recovers.
            after_ns: surge_ns,
        };
        let rate_max = policy.map_or(IOT_MEAN_PER_S * 2.0, |_| LINE_RATE_MAX);
        self.run_case(name, &case, span, rate_max)
    }

    fn span(&self, measured_ns: u64) -> Measured {
        Measured {
            from_ns: self.warmup_ns,
            to_ns: self.warmup_ns + measured_ns,
            after_ns: 0,
        }
    }

    fn case(&self, policy: &str, line: &str, load: &Load) -> Result<Case, OverloadError> {
        let mut case = parse(policy, line, LOAD)?;
        case.change_load(&LoadChange {
            rate_per_s: (!load.arrivals.has_own_rate()).then_some(load.rate_per_s),
            shape: Some(Shape::Of(load.arrivals)),
            seed: Some(load.seed),
            ..LoadChange::default()
        })?;
        Ok(case)
    }

    fn run_case(
        &self,
        policy: &str,
        case: &Case,
        span: Measured,
        rate_max: f64,
    ) -> Result<Ran, OverloadError> {
        let load = case.load();
        let feeds = load.iter().flat_map(|load| &load.feeds);
        let schedules: Vec<Schedule> = feeds
            .map(|feed| feed.schedule(None))
            .collect::<Result<_, _>>()?;
        let before = |end_ns| -> u64 {
            let schedules = schedules.iter().cloned();
            schedules.map(|one| one.count_before(end_ns)).sum()
        };
        let due = before(span.to_ns) - before(span.from_ns);
        let draft = case.draft(&self.registry, &Overrides::default());
        let line = draft.and_then(|draft| draft.check());
        let mut line = line.map_err(|problems| refused(policy, problems))?;
        let whole = Duration::from_nanos(span.to_ns + span.after_ns) + AFTER;
        let room = whole.as_secs_f64() * rate_max * ROOM_FACTOR + ROOM_MORE;
        if room > ROOM_MAX {
            let span = Span(whole.as_nanos() as u64);
            let what = format!("{span} of such a load are more messages than can be noted");
            return Err(Problem::new(what, "measure for a shorter time").into());
        }
        line.note_passages(room as usize);
        let mut running = line.start()?;
        let cause = running.watch(&Stop::after(whole), |_| {});
        let (report, evidence) = running.end_noted(cause);
        let began_ns = evidence.began_ns;
        let ran = Ran {
            due,
            schedules,
            window: Window {
                from_ns: began_ns + span.from_ns,
                to_ns: began_ns + span.to_ns,
            },
            until_ns: began_ns + span.to_ns + span.after_ns,
            report,
            evidence,
        };
        ran.checked(policy)
    }
}

/// What of a run is measured, from its start.
struct Measured {
    from_ns: u64,
    to_ns: u64,
    /// How long the run goes on after it.
    after_ns: u64,
}

fn refused(policy: &str, problems: Problems) -> OverloadError {
    OverloadError::Policy {
        policy: policy.to_owned(),
        problems,
    }
}

/// The line with the policy's settings in the table of that hop.
fn under(line: &str, hop: &str, policy: &Policy) -> Result<String, OverloadError> {
    with_settings(line, hop, policy.settings).ok_or_else(|| {
        let what = format!("the case has no hop {hop}");
        Problem::new(what, "it is part of the program").into()
    })
}

fn parse(policy: &str, line: &str, load: &str) -> Result<Case, OverloadError> {
    let files = CaseFiles {
        line: SourceText::new("line.toml", line),
        load: Some(SourceText::new("load.toml", load)),
        budget: None,
    };
    Case::parse(policy, files).map_err(|problems| refused(policy, problems))
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

/// Whether a row of a report is of one of these hops, or of a class of one (`from->to#class`).
#[must_use]
pub fn is_of(row: &str, hops: &[&str]) -> bool {
    let rest = |hop: &&str| row.strip_prefix(*hop);
    hops.iter()
        .filter_map(rest)
        .any(|rest| rest.is_empty() || rest.starts_with('#'))
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
    fn the_surges_are_as_the_case_has_them() {
        let whole = format!("bursts={SURGE_MESSAGES}/{}s", SURGE_NS / 1_000_000_000);
        assert!(IOT_LOAD.contains(&whole));
        let case = parse("iot", IOT_LINE, IOT_LOAD).unwrap();
        let rate_per_s = case.load().unwrap().feed("surge").unwrap().rate_per_s;
        assert_eq!(
            SURGE_MESSAGES as f64 / rate_per_s * 1e9,
            SURGES_APART_NS as f64
        );
        let mean: f64 = case
            .load()
            .unwrap()
            .feeds
            .iter()
            .map(|feed| feed.rate_per_s)
            .sum();
        assert_eq!(mean, IOT_MEAN_PER_S);
        assert!(IOT_LINE.contains("takes = \"50us\""));
        let text = with_settings(IOT_LINE, IOT_TABLE, "when_full = \"reject\"").unwrap();
        assert!(text.contains("to = \"store\"\ndepth = 1024") && !text.contains("drop_newest"));
    }

    #[test]
    fn a_class_of_a_hop_is_of_the_hop() {
        assert!(is_of("in->book", &[HOP]) && is_of("in->book#trade", &[HOP]));
        assert!(!is_of("in->books", &[HOP]) && !is_of("book->signal", &[HOP]));
    }
}
