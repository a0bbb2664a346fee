//! One process run of a case, measured and analysed: what `bench` and `gate` start several of.
//!
//! A process of its own, since the spread that counts lies between runs: where memory lies, how caches are shared, what
//! the host does meanwhile.
//!
//! Invariant: standard output carries one analysis as JSON or nothing.

use std::time::Duration;

use hopline::base::limits::PASSAGES_DEFAULT;
use hopline::budget::taint::Interval;
use hopline::host::Host;
use hopline::topology::Registry;

use super::analyse::{Given, analyse};
use super::model::{LoopAnalysis, RunAnalysis};
use super::wake::Probe;
use crate::cli::{CleanArg, Shape};
use crate::exit::{Exit, Failure};
use crate::run::{Done, Options};
use crate::sender::{GeneratorGaps, SenderReport};
use crate::{case, out, run};

/// What a run is to be like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Once {
    /// How long it is measured.
    pub(crate) span: Duration,
    /// What is left out before that.
    pub(crate) warmup: Duration,
    /// The exposure, if another run has settled it.
    pub(crate) exposure_ns: Option<u64>,
    /// What the generators draw from, if the case's own seed is not meant.
    pub(crate) seed: Option<u64>,
}

/// Runs a case once and prints its analysis.
pub(crate) fn print(registry: &Registry, shape: &Shape, once: Once) -> Result<Exit, Failure> {
    let (analysis, exit) = measure(registry, shape, once)?;
    let json = serde_json::to_string(&analysis).map_err(|error| Failure {
        exit: Exit::Defect,
        what: format!("the analysis cannot be written as JSON: {error}"),
        help: String::new(),
    })?;
    out::print(&(json + "\n"))?;
    Ok(exit)
}

/// Runs a case once, and how the run ended.
fn measure(registry: &Registry, shape: &Shape, once: Once) -> Result<(RunAnalysis, Exit), Failure> {
    let mut ready = case::load(registry, shape, false)?;
    // One warm-up: the line's own figures leave out the same.
    ready.warmup_ns = once.warmup.as_nanos() as u64;
    let options = Options {
        case: shape.case.clone(),
        most: Some(once.warmup + once.span),
        json: true,
        taps: Vec::new(),
        clean: CleanArg::Never,
    };
    let mut probe = Probe::of(&ready.line.plan(&Host::read())?);
    probe.measure();
    let Done { run, evidence } = run::measured(ready, &options, Some(PASSAGES_DEFAULT))?;
    probe.measure();
    let given = Given {
        seed: once.seed.unwrap_or(0),
        warmup_ns: once.warmup.as_nanos() as u64,
        exposure_ns: once.exposure_ns,
        jitter_ns: run.jitter_budget_ns,
        generator_gaps: run.sender_gaps.as_ref().map(intervals).unwrap_or_default(),
        generators: run.senders.iter().map(SenderReport::analysis).collect(),
    };
    let mut analysis = analyse(&run.report, &evidence, &given);
    analysis.notes.extend(run.notes.iter().cloned());
    probe.put_into(&mut analysis);
    if let Some(gaps) = &run.sender_gaps {
        analysis.loops.push(generator_loop(gaps, analysis.span_ns));
    }
    Ok((analysis, Exit::of(&run.report)))
}

/// The gaps of the thread that sent: its loop is this program's own, so all its long stretches are gaps.
fn intervals(gaps: &GeneratorGaps) -> Vec<Interval> {
    let interval = |(start_ns, len_ns): &(u64, u64)| Interval {
        start_ns: *start_ns,
        end_ns: start_ns + len_ns,
    };
    gaps.log.iter().map(interval).collect()
}

/// The same as a loop among the others.
fn generator_loop(gaps: &GeneratorGaps, span_ns: u64) -> LoopAnalysis {
    LoopAnalysis {
        name: "generator".to_owned(),
        core: gaps.core,
        wait: "spin".to_owned(),
        gap_from_ns: gaps.from_ns,
        receive_gap_from_ns: gaps.from_ns,
        gaps: gaps.count,
        gap_share: gaps.total_ns as f64 / span_ns.max(1) as f64,
        gaps_by_kind: [("generator".to_owned(), gaps.count)].into(),
        log_lost: gaps.lost,
        ..LoopAnalysis::default()
    }
}
