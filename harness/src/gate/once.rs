//! One process run of a case, measured and analysed: what `bench` and `gate` start several of.
//!
//! A process of its own, since the spread that counts lies between runs: where memory lies, how caches are shared, what
//! the host does meanwhile.
//!
//! Invariant: standard output carries one analysis as JSON or nothing.

use std::time::Duration;

use hopline::base::limits::PASSAGES_DEFAULT;
use hopline::topology::Registry;

use super::analyse::{Given, analyse};
use super::model::{GeneratorAnalysis, Quantiles, RunAnalysis};
use crate::cli::Shape;
use crate::exit::{Exit, Failure};
use crate::run::{Done, Options};
use crate::sender::SenderReport;
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
    /// What the generators draw from.
    pub(crate) seed: u64,
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
    let ready = case::load(registry, shape, false)?;
    let options = Options {
        case: shape.case.clone(),
        most: Some(once.warmup + once.span),
        json: true,
        taps: Vec::new(),
    };
    let Done { run, evidence } = run::measured(ready, &options, Some(PASSAGES_DEFAULT))?;
    let given = Given {
        seed: once.seed,
        warmup_ns: once.warmup.as_nanos() as u64,
        exposure_ns: once.exposure_ns,
        generator_gaps: Vec::new(),
        generators: run.senders.iter().map(generator).collect(),
    };
    let mut analysis = analyse(&run.report, &evidence, &given);
    analysis.notes.extend(run.notes.iter().cloned());
    Ok((analysis, Exit::of(&run.report)))
}

fn generator(sender: &SenderReport) -> GeneratorAnalysis {
    GeneratorAnalysis {
        source: sender.source.clone(),
        lateness: Quantiles {
            p50: sender.late_ns.p50,
            p90: sender.late_ns.p90,
            p99: sender.late_ns.p99,
            p99_9: sender.late_ns.p99_9,
            max: sender.late_ns.max,
        },
        ..GeneratorAnalysis::default()
    }
}
