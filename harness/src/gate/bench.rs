//! The process runs of `bench` and `gate`: how each is started, and how what it says is read.
//!
//! ```text
//!   this program ─ starts itself ─→ run 1 (settles the exposure) ─→ run 2 … run N ─→ verdicts ─→ report, outputs
//! ```
//!
//! Invariant: one run at a time; what a run says is read whole or not at all.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command as Process;
use std::time::Duration;

use hopline::base::limits::OPEN_DEADLINE_NS;

use super::apart;
use super::child::{Children, Errors, Halt, Patience};
use super::model::{RunAnalysis, SCHEMA};
use super::once::Once;
use crate::exit::{Exit, Failure};
use crate::signals;

/// Runs unless told otherwise: as few as show a spread.
pub(crate) const RUNS_DEFAULT: u16 = 3;

/// Flags with a value that a run is not called with: they say how runs are judged and shown, which an older program that is
/// measured need not know, or each run is given its own.
const JUDGING: [&str; 14] = [
    "--base",
    "--base-bin",
    "--base-rev",
    "--bin",
    "--exposure",
    "--for",
    "--inconclusive",
    "--out",
    "--rate-factor",
    "--runs",
    "--seed",
    "--slower",
    "--warmup",
    "--within",
];

/// The same for those without one.
const JUDGING_BARE: [&str; 3] = ["--find-capacity", "--json", "--strict"];

/// A program that is measured: its file, and the words that make it run the case.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) program: PathBuf,
    words: Vec<OsString>,
}

impl Measured {
    /// The given program, or this one if there is none, called as this one was.
    pub(crate) fn new(program: Option<&Path>) -> Result<Measured, Failure> {
        let own = || {
            std::env::current_exe().map_err(|error| {
                Failure::io(format!("this program's own file is not found: {error}"), "")
            })
        };
        Ok(Measured {
            program: program.map_or_else(own, |program| Ok(program.to_owned()))?,
            words: of_a_run(std::env::args_os().skip(1)),
        })
    }

    /// Another program, called in the same way.
    pub(crate) fn another(&self, program: &Path) -> Measured {
        Measured {
            program: program.to_owned(),
            ..self.clone()
        }
    }

    /// The same at another multiple of the load's rates.
    pub(crate) fn at_factor(&self, factor: f64) -> Measured {
        let mut other = self.clone();
        insert(&mut other.words, format!("--rate-factor={factor}"));
        other
    }
}

/// Puts a flag behind all others; what follows `--` is no flag.
fn insert(words: &mut Vec<OsString>, flag: String) {
    let end = words.iter().position(|word| word == "--");
    words.insert(end.unwrap_or(words.len()), flag.into());
}

/// Those of a command line's words that say how a run is to be.
fn of_a_run(words: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut kept = Vec::new();
    let mut words = words.peekable();
    while let Some(word) = words.next() {
        if word == "--" {
            kept.push(word);
            kept.extend(words);
            break;
        }
        let text = word.to_string_lossy();
        let (name, has_value) = match text.split_once('=') {
            Some((name, _)) => (name, true),
            None => (&*text, false),
        };
        if JUDGING.contains(&name) {
            if !has_value {
                words.next();
            }
        } else if !JUDGING_BARE.contains(&name) {
            kept.push(word);
        }
    }
    kept
}

/// Runs the program so many times, and adds to `runs` what it says.
pub(crate) fn runs(
    children: &Children,
    measured: &Measured,
    count: u16,
    first: Once,
    runs: &mut Vec<RunAnalysis>,
) -> Result<(), Halt> {
    let settled = runs.first().map(|run| run.exposure_ns);
    let mut exposure_ns = settled.or(first.exposure_ns);
    let mut known = runs.iter().fold(first, Once::after);
    for at in 0..u64::from(count) {
        let once = Once {
            exposure_ns,
            ..known.nth(at)
        };
        let run = run_of_its_own(children, measured, once)?;
        known = known.after(&run);
        exposure_ns = exposure_ns.or(Some(run.exposure_ns));
        runs.push(run);
    }
    Ok(())
}

/// The least part of the frames that the host must have left untouched, or the run is made again: what is left of less
/// than that comes from a few moments. Beside a thread that computes all the time 0.4 are left.
const KEPT_MIN: f64 = 0.2;

/// How often a run is made again that the host disturbed from its beginning to its end.
const AGAIN_MAX: usize = 3;

/// How often one is made again whose cores were elsewhere or moved about: a host that has moved them leaves them there as a
/// rule, and a block that has runs of both places is one of those that are cut off.
const AGAIN_ELSEWHERE_MAX: usize = 1;

/// A run in a process of its own, made again while the host touches nearly all of it, moves its cores about, or has them at
/// another distance than in the run that it is to be compared with; the last one counts whatever it was. For comparisons,
/// which rest on clean frames alone; a budget may hold by all frames together.
pub(crate) fn undisturbed_run(
    children: &Children,
    measured: &Measured,
    once: Once,
    beside: Option<&RunAnalysis>,
) -> Result<RunAnalysis, Halt> {
    let mut run = run_of_its_own(children, measured, once)?;
    for again in 0..AGAIN_MAX {
        let is_touched = kept(&run).is_some_and(|kept| kept < KEPT_MIN);
        let is_elsewhere = beside.is_some_and(|other| apart::elsewhere(&run, other));
        let is_away = (is_elsewhere || apart::moved(&run)) && again < AGAIN_ELSEWHERE_MAX;
        if !(is_touched || is_away) || !run.ledger.closed {
            break;
        }
        run = run_of_its_own(children, measured, once)?;
    }
    Ok(run)
}

/// Frames of a span from which on the part that is left of it says something of a run: with fewer a single gap may touch them
/// all, and no quantile of theirs is judged.
const FRAMES_MIN: u64 = 100;

/// The part of the frames that the host left untouched, of the span that has the least; none where no span has enough frames.
fn kept(run: &RunAnalysis) -> Option<f64> {
    let measured = run.spans.iter().filter(|span| span.n >= FRAMES_MIN);
    measured
        .map(|span| span.n_clean as f64 / span.n as f64)
        .reduce(f64::min)
}

/// What a run may take beside its span: calibrating, looks at the machine before and after it, and the analysis, all beside a
/// neighbour that takes most of the time.
const SLACK: Duration = Duration::from_secs(60);

/// The longest that a run may take.
fn longest(once: Once) -> Duration {
    let opens = Duration::from_nanos(OPEN_DEADLINE_NS);
    let parts = [opens, once.warmup, once.span, once.drain, SLACK];
    parts
        .into_iter()
        .fold(Duration::ZERO, Duration::saturating_add)
}

/// One run in a process of its own.
fn run_of_its_own(
    children: &Children,
    measured: &Measured,
    once: Once,
) -> Result<RunAnalysis, Halt> {
    let mut words = measured.words.clone();
    insert(&mut words, "--one-run".to_owned());
    if let Some(seed) = once.seed {
        insert(&mut words, format!("--seed={seed}"));
    }
    if let Some(exposure_ns) = once.exposure_ns {
        insert(&mut words, format!("--exposure={exposure_ns}ns"));
    }
    if let Some(usual_ns) = once.usual_work_ns {
        insert(&mut words, format!("--usual-work={usual_ns}ns"));
    }
    insert(&mut words, format!("--for={}ns", once.span.as_nanos()));
    insert(&mut words, format!("--warmup={}ns", once.warmup.as_nanos()));
    let name = measured.program.display().to_string();
    // Its words on standard error are for the same reader.
    let ended = children.run(
        Process::new(&measured.program)
            .args(words)
            .env(signals::HELD, "1"),
        &name,
        Errors::Shown,
        Patience::Until(longest(once)),
    )?;
    let code = ended.status.code();
    let ended_well = [Exit::Good, Exit::Loss].map(|exit| Some(i32::from(exit.code())));
    if !ended_well.contains(&code) {
        let exit = match code {
            Some(64) => Exit::Usage,
            Some(74) => Exit::Io,
            _ => Exit::Defect,
        };
        let how = code.map_or("by a signal".to_owned(), |code| format!("with {code}"));
        return Err(Halt::Failed(Failure {
            exit,
            what: format!("a measured run of {name} ended {how}, and nothing is judged"),
            help: "its own words stand above; the case runs alone with `run`".to_owned(),
        }));
    }
    Ok(read(&name, &ended.output)?)
}

/// What a run said.
fn read(name: &str, output: &[u8]) -> Result<RunAnalysis, Failure> {
    let alien = |what: String| {
        Failure::usage(
            format!("{name} {what}"),
            "build it from a revision that has this gate",
        )
    };
    // The schema first: fields of another version would be refused for the wrong reason.
    let value: serde_json::Value = serde_json::from_slice(output)
        .map_err(|error| alien(format!("said something that is no analysis: {error}")))?;
    match &value["schema"] {
        schema if *schema == SCHEMA => {}
        serde_json::Value::Null => {
            return Err(alien(
                "said something that is no analysis: it has no field \"schema\"".to_owned(),
            ));
        }
        schema => return Err(alien(format!("speaks schema {schema}, not {SCHEMA}"))),
    }
    serde_json::from_value(value)
        .map_err(|error| alien(format!("said something that is no analysis: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::model::SpanAnalysis;

    #[test]
    fn a_span_of_a_few_frames_does_not_have_a_run_made_again() {
        let span = |n, n_clean| SpanAnalysis {
            n,
            n_clean,
            ..SpanAnalysis::default()
        };
        let of = |spans: Vec<SpanAnalysis>| {
            super::kept(&RunAnalysis {
                spans,
                ..RunAnalysis::default()
            })
        };
        assert_eq!(of(vec![span(1, 0), span(1_000, 900)]), Some(0.9));
        assert_eq!(of(vec![span(FRAMES_MIN, 10), span(1_000, 900)]), Some(0.1));
        assert_eq!(of(vec![span(FRAMES_MIN - 1, 0), span(0, 0)]), None);
    }

    fn kept(line: &str) -> String {
        let words = of_a_run(line.split(' ').map(OsString::from));
        let words: Vec<&str> = words.iter().map(|word| word.to_str().unwrap()).collect();
        words.join(" ")
    }

    #[test]
    fn a_run_is_called_without_what_only_its_judge_knows() {
        for (line, expected) in [
            (
                "gate c --base x --slower=7 --for 1s --pin off",
                "gate c --pin off",
            ),
            ("gate --json c --out dir --rate 5k", "gate c --rate 5k"),
            ("gate --base-rev HEAD~1 --base-bin=b c", "gate c"),
            (
                "bench c --find-capacity --within 2 --hop a->b:depth=2",
                "bench c --hop a->b:depth=2",
            ),
            ("gate --strict --runs 5 -- --json", "gate -- --json"),
            (
                "gate c --warmup=1s --seed=1 --wait spin --bin",
                "gate c --wait spin",
            ),
        ] {
            assert_eq!(kept(line), expected, "{line}");
        }
    }

    #[test]
    fn a_run_may_take_what_it_was_asked_for_and_what_its_line_may() {
        let seconds = Duration::from_secs;
        let once = Once {
            span: seconds(3600),
            warmup: seconds(10),
            drain: seconds(600),
            exposure_ns: None,
            usual_work_ns: None,
            seed: None,
            edge: None,
        };
        let opens = Duration::from_nanos(OPEN_DEADLINE_NS);
        assert_eq!(longest(once), seconds(3600 + 10 + 600) + opens + SLACK);
        let forever = Once {
            span: Duration::MAX,
            ..once
        };
        assert_eq!(longest(forever), Duration::MAX);
    }

    #[test]
    fn a_flag_stands_before_what_is_none() {
        let mut words: Vec<OsString> = ["gate", "--", "c"].map(OsString::from).into();
        insert(&mut words, "--one-run".to_owned());
        assert_eq!(words, ["gate", "--one-run", "--", "c"]);
        insert(&mut words, "--seed=1".to_owned());
        assert_eq!(words, ["gate", "--one-run", "--seed=1", "--", "c"]);
    }

    #[test]
    fn what_is_no_analysis_is_told_from_one_of_another_schema() {
        let words = |output: &str| read("base", output.as_bytes()).unwrap_err().what;
        assert!(words("hello").starts_with("base said something that is no analysis: "));
        assert!(words("").contains("no analysis"));
        assert!(words("{\"a\": 1}").contains("no field \"schema\""));
        assert_eq!(words("{\"schema\": 1}"), "base speaks schema 1, not 2");
        assert!(words("{\"schema\": 2}").contains("no analysis: missing field"));
        let run = serde_json::to_string(&RunAnalysis {
            schema: SCHEMA,
            ..RunAnalysis::default()
        });
        assert_eq!(
            read("base", run.unwrap().as_bytes()).unwrap().schema,
            SCHEMA
        );
    }
}
