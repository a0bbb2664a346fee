//! The commands `bench` and `gate`: several process runs of a case, and what they come to.
//!
//! ```text
//!   this program ─ starts itself ─→ run 1 (settles the exposure) ─→ run 2 … run N ─→ verdicts ─→ report, outputs
//! ```
//!
//! Invariant: one run at a time; what a run says is read whole or not at all.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};

use super::model::{RunAnalysis, SCHEMA};
use super::once::Once;
use crate::exit::{Exit, Failure};

/// Runs unless told otherwise: as few as show a spread.
pub(crate) const RUNS_DEFAULT: u16 = 3;

/// Starts a program for each run, with the words that this one was called by and how the run is to be.
pub(crate) fn runs(
    program: &Path,
    words: &[OsString],
    count: u16,
    first: Once,
) -> Result<Vec<RunAnalysis>, Failure> {
    let mut runs: Vec<RunAnalysis> = Vec::with_capacity(usize::from(count));
    let mut known = first;
    for at in 0..u64::from(count) {
        let once = Once {
            seed: first.seed.map(|seed| seed + at),
            exposure_ns: runs
                .first()
                .map(|run| run.exposure_ns)
                .or(first.exposure_ns),
            ..known
        };
        let run = undisturbed_run(program, words, once)?;
        known = known.after(&run);
        runs.push(run);
    }
    Ok(runs)
}

/// This program's file.
pub(crate) fn own_program() -> Result<PathBuf, Failure> {
    std::env::current_exe()
        .map_err(|error| Failure::io(format!("this program's own file is not found: {error}"), ""))
}

/// The least part of the frames that the host must have left untouched, or the run is made again: what is left of less
/// than that comes from a few moments. Beside a thread that computes all the time 0.4 are left.
const KEPT_MIN: f64 = 0.2;

/// How often a run is made again that the host disturbed from its beginning to its end.
const AGAIN_MAX: usize = 3;

/// A run in a process of its own, made again while the host touches nearly all of it; the last one counts whatever it was.
pub(crate) fn undisturbed_run(
    program: &Path,
    words: &[OsString],
    once: Once,
) -> Result<RunAnalysis, Failure> {
    let mut run = run_of_its_own(program, words, once)?;
    for _ in 0..AGAIN_MAX {
        if kept(&run).is_none_or(|kept| kept >= KEPT_MIN) || !run.ledger.closed {
            break;
        }
        run = run_of_its_own(program, words, once)?;
    }
    Ok(run)
}

/// The part of the frames that the host left untouched, of the span that has the least; none where there are no frames.
fn kept(run: &RunAnalysis) -> Option<f64> {
    let measured = run.spans.iter().filter(|span| span.n > 0);
    measured
        .map(|span| span.n_clean as f64 / span.n as f64)
        .reduce(f64::min)
}

/// One run in a process of its own.
pub(crate) fn run_of_its_own(
    program: &Path,
    words: &[OsString],
    once: Once,
) -> Result<RunAnalysis, Failure> {
    let mut process = Process::new(program);
    process.args(words).arg("--one-run");
    if let Some(seed) = once.seed {
        process.arg(format!("--seed={seed}"));
    }
    if let Some(exposure_ns) = once.exposure_ns {
        process.arg(format!("--exposure={exposure_ns}ns"));
    }
    if let Some(usual_ns) = once.usual_work_ns {
        process.arg(format!("--usual-work={usual_ns}ns"));
    }
    // Its words on standard error are for the same reader.
    let process = process.stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = process
        .output()
        .map_err(|error| Failure::io(format!("cannot start {}: {error}", program.display()), ""))?;
    let code = output.status.code();
    let ended_well = [Exit::Good, Exit::Loss].map(|exit| Some(i32::from(exit.code())));
    if !ended_well.contains(&code) {
        let exit = match code {
            Some(64) => Exit::Usage,
            Some(74) => Exit::Io,
            _ => Exit::Defect,
        };
        let how = code.map_or("by a signal".to_owned(), |code| format!("with {code}"));
        return Err(Failure {
            exit,
            what: format!(
                "a measured run of {} ended {how}, and nothing is judged",
                program.display()
            ),
            help: "its own words stand above; the case runs alone with `run`".to_owned(),
        });
    }
    let alien = |what: String| {
        let what = format!("{} {what}", program.display());
        Failure::usage(what, "build it from a revision that has this gate")
    };
    let run: RunAnalysis = serde_json::from_slice(&output.stdout)
        .map_err(|error| alien(format!("said something that is no analysis: {error}")))?;
    if run.schema != SCHEMA {
        return Err(alien(format!("speaks schema {}, not {SCHEMA}", run.schema)));
    }
    Ok(run)
}

/// The words by which this program was called, without its own name.
pub(crate) fn words() -> Vec<OsString> {
    std::env::args_os().skip(1).collect()
}
