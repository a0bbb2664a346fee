//! `hopline bench` and `hopline gate`: process runs, verdicts, the report.
//!
//! Invariant: a gate that is cut short, or whose runs say nothing, never ends 0.

use std::path::{Path, PathBuf};

use hopline::base::units::Span;
use hopline::clock::Clock;
use hopline::host::Host;

use super::bench::{self, own_program, run_of_its_own, words};
use super::budget::{self, Options};
use super::compare::{self, Arm, Comparison, Next};
use super::model::{GateReport, RunAnalysis, SCHEMA, Verdict, Word};
use super::once::Once;
use super::out::terminal;
use super::outcome::{Inconclusive, overall};
use super::{facts, out as outputs, wake};
use crate::exit::{Exit, Failure};
use crate::out;
use crate::view::table::{Cell, Table, numbers, words as texts};
use crate::view::text::Paint;

/// Looks at the same budget: the first, and one more with as many runs again.
const LOOKS: u32 = 2;

/// Runs of each side that a comparison keeps whole for its report: those of the first look.
const RUNS_KEPT: usize = 24;

/// How a bench or gate was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) case: &'a str,
    pub(crate) runs: u16,
    pub(crate) first: Once,
    pub(crate) json: bool,
    pub(crate) dir: Option<&'a Path>,
    /// The program that is measured, if it is not this one.
    pub(crate) program: Option<&'a Path>,
    /// The binary that this one is judged against, and by how much it may be slower: 0.05 for 5 %.
    pub(crate) base: Option<(&'a Path, f64)>,
    /// How a gate judges; none for a bench.
    pub(crate) gate: Option<Judging>,
}

/// How a gate judges.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Judging {
    pub(crate) strict: bool,
    pub(crate) inconclusive: Inconclusive,
}

/// Runs, judges if asked to, prints, and writes what is to be written.
pub(crate) fn run(asked: &Asked<'_>) -> Result<Exit, Failure> {
    let clock = Clock::os();
    let (began_ns, began_unix_s) = (clock.now_ns(), unix_s());
    let Measured {
        runs: seen,
        base_runs,
        verdicts,
    } = match asked.base {
        Some((base, slower)) => against(asked, base, slower, &clock)?,
        None => by_budgets(asked)?,
    };
    let (word, exit) = match asked.gate {
        Some(gate) => overall(&verdicts, gate.inconclusive),
        None if seen
            .iter()
            .all(|run| run.ledger.closed && run.ledger.losses.is_empty()) =>
        {
            (Word::Inconclusive, Exit::Good)
        }
        None => (Word::Loss, Exit::Loss),
    };
    let notes = notes(&seen);
    let report = GateReport {
        schema: SCHEMA,
        command: if asked.gate.is_some() {
            "gate"
        } else {
            "bench"
        }
        .to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        case: asked.case.to_owned(),
        began_unix_s,
        took_s: clock.now_ns().saturating_sub(began_ns) as f64 / 1e9,
        host: facts::of(&Host::read(), clock_of(&seen)),
        head: measured_program(asked.program)?.display().to_string(),
        base: asked.base.map(|(base, _)| base.display().to_string()),
        partial: false,
        verdicts,
        word,
        exit_code: exit.code(),
        runs: seen,
        base_runs,
        notes,
    };
    if asked.json {
        let json = outputs::json::to_json(&report).map_err(|error| Failure {
            exit: Exit::Defect,
            what: error.to_string(),
            help: String::new(),
        })?;
        out::print(&(json + "\n"))?;
    } else {
        let (width, paint) = (out::columns(), Paint(out::has_colour()));
        let mut lines = if asked.gate.is_some() {
            terminal::lines(&report, width, paint)
        } else {
            Vec::new()
        };
        if asked.gate.is_none() {
            lines.extend(spans(&report.runs).lines(width, paint));
            lines.extend(loops(&report.runs).lines(width, paint));
            lines.extend(wake::row(&report.runs).map(|row| format!("  {row}")));
            lines.extend(report.notes.iter().map(|note| format!("  note: {note}")));
        }
        out::print(&(lines.join("\n") + "\n"))?;
    }
    if let Some(dir) = asked.dir {
        for file in outputs::write_all(&report, dir)? {
            out::say(format_args!("wrote {}", file.display()));
        }
    }
    Ok(exit)
}

/// Measures, and prints a budget.toml for what is asked.
pub(crate) fn derive(
    program: Option<&Path>,
    count: u16,
    first: Once,
    asked: &super::derive::Asked,
) -> Result<Exit, Failure> {
    let runs = bench::runs(&measured_program(program)?, &words(), count, first)?;
    let derived = super::derive::derive(&runs, asked)
        .map_err(|error| Failure::usage(error.to_string(), "nothing was written"))?;
    out::print(&derived.to_toml())?;
    for (hop, envelope) in derived.tight() {
        out::say(format_args!(
            "{hop}: {} = {} is near to what it takes now, {}: a gate will often be undecided",
            envelope.quantile.name(),
            Span(envelope.limit_ns),
            Span(envelope.now_ns)
        ));
    }
    Ok(Exit::Good)
}

/// What was measured, and what it comes to.
struct Measured {
    runs: Vec<RunAnalysis>,
    base_runs: Vec<RunAnalysis>,
    verdicts: Vec<Verdict>,
}

/// Runs of this program, judged by the case's budgets if that is asked for.
fn by_budgets(asked: &Asked<'_>) -> Result<Measured, Failure> {
    let words = words();
    let program = measured_program(asked.program)?;
    let mut runs = bench::runs(&program, &words, asked.runs, asked.first)?;
    let mut verdicts = Vec::new();
    if let Some(gate) = asked.gate {
        let options = Options {
            strict: gate.strict,
            looks: LOOKS,
        };
        verdicts = budget::judge(&runs, &budget::owed(&runs), &options);
        if budget::more_runs_help(&verdicts) {
            say(asked, "undecided: as many runs again");
            let more = Once {
                seed: asked.first.seed.map(|seed| seed + u64::from(asked.runs)),
                exposure_ns: runs.first().map(|run| run.exposure_ns),
                ..asked.first
            };
            runs.extend(bench::runs(&program, &words, asked.runs, more)?);
            verdicts = budget::judge(&runs, &budget::owed(&runs), &options);
        }
    }
    Ok(Measured {
        runs,
        base_runs: Vec::new(),
        verdicts,
    })
}

/// Runs of this program and of another one in turn, until the comparison has seen enough.
fn against(
    asked: &Asked<'_>,
    base: &Path,
    slower: f64,
    clock: &Clock,
) -> Result<Measured, Failure> {
    let (words, head) = (words(), measured_program(asked.program)?);
    // Both sides get the exposure that base has, or the quicker one would look cleaner.
    let settling = run_of_its_own(base, &words, asked.first)?;
    let metrics = compare::metrics(&settling, slower);
    let began_ns = clock.now_ns();
    let mut measured = Measured {
        runs: Vec::new(),
        base_runs: Vec::new(),
        verdicts: Vec::new(),
    };
    let mut comparison = Comparison::new(metrics.clone(), compare::Options::default());
    loop {
        let blocks = match comparison.next() {
            Next::Done(verdicts) => {
                measured.verdicts = verdicts;
                return Ok(measured);
            }
            Next::RunBlocks(blocks) => blocks,
            Next::Confirm(blocks) => {
                say(
                    asked,
                    "slower at first sight: a fresh set of blocks is to confirm it",
                );
                blocks
            }
        };
        for _ in 0..blocks {
            let number = comparison.blocks();
            let once = Once {
                seed: asked.first.seed.map(|seed| seed + number as u64),
                exposure_ns: Some(settling.exposure_ns),
                ..asked.first
            };
            let mut block = Vec::with_capacity(compare::BLOCK_RUNS);
            for arm in compare::order(number) {
                let program = if arm == Arm::Head { &head } else { base };
                block.push((arm, run_of_its_own(program, &words, once)?));
            }
            comparison.block(&block);
            for (arm, run) in block {
                let side = match arm {
                    Arm::Head => &mut measured.runs,
                    Arm::Base | Arm::BaseAgain => &mut measured.base_runs,
                };
                // Figures of all, pictures of some: histograms of hundreds of runs would fill megabytes.
                if side.len() < RUNS_KEPT {
                    side.push(run);
                }
            }
            let spent_s = clock.now_ns().saturating_sub(began_ns) as f64 / 1e9;
            comparison.block_takes(spent_s / comparison.blocks() as f64);
        }
    }
}

/// The program that is measured.
fn measured_program(given: Option<&Path>) -> Result<PathBuf, Failure> {
    given.map_or_else(own_program, |program| Ok(program.to_owned()))
}

/// The date, for people.
fn unix_s() -> u64 {
    #[allow(clippy::disallowed_methods, reason = "a date is no measurement")]
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

fn say(asked: &Asked<'_>, what: &str) {
    if !asked.json {
        out::say(what);
    }
}

fn clock_of(runs: &[RunAnalysis]) -> &str {
    runs.first().map_or("", |run| run.clock.as_str())
}

/// What all runs say, each once.
fn notes(runs: &[RunAnalysis]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for note in runs.iter().flat_map(|run| &run.notes) {
        if !all.contains(note) {
            all.push(note.clone());
        }
    }
    all
}

/// The median over runs of what `of` says of a span.
fn middle(runs: &[RunAnalysis], at: usize, of: impl Fn(&super::model::SpanAnalysis) -> u64) -> u64 {
    let mut values: Vec<u64> = runs
        .iter()
        .filter_map(|run| run.spans.get(at))
        .map(of)
        .collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

/// Each span, raw beside clean; medians over the runs.
fn spans(runs: &[RunAnalysis]) -> Table {
    let mut table = Table::new(vec![
        texts("span"),
        numbers("frames").may_go(3),
        numbers("raw p50").may_go(2),
        numbers("raw p99"),
        numbers("clean p50"),
        numbers("clean p99"),
        numbers("clean p99.9").may_go(1),
        numbers("host p99").may_go(4),
        numbers("kept"),
    ]);
    let Some(first) = runs.first() else {
        return table;
    };
    for (at, span) in first.spans.iter().enumerate() {
        let name = if span.hop == span.of {
            "end to end".to_owned()
        } else {
            format!("{} {}", span.hop, span.of)
        };
        let (n, clean) = (
            middle(runs, at, |span| span.n),
            middle(runs, at, |span| span.n_clean),
        );
        let ns =
            |of: fn(&super::model::SpanAnalysis) -> u64| Span(middle(runs, at, of)).to_string();
        let cells: [Cell; 9] = [
            name.into(),
            n.to_string().into(),
            ns(|span| span.raw.p50).into(),
            ns(|span| span.raw.p99).into(),
            ns(|span| span.clean.p50).into(),
            ns(|span| span.clean.p99).into(),
            ns(|span| span.clean.p99_9).into(),
            ns(|span| span.host_floor.p99).into(),
            format!("{:.0} %", clean as f64 * 100.0 / n.max(1) as f64).into(),
        ];
        table.row(cells.into());
    }
    table
}

/// What the host took from each loop of the last run.
fn loops(runs: &[RunAnalysis]) -> Table {
    let mut table = Table::new(vec![
        texts("loop"),
        numbers("gap from"),
        numbers("gaps"),
        numbers("time lost"),
        numbers("own faults"),
    ]);
    for one in runs.last().into_iter().flat_map(|run| &run.loops) {
        let own: u64 = one.own_faults.values().sum();
        let cells: [Cell; 5] = [
            one.name.as_str().into(),
            Span(one.gap_from_ns).to_string().into(),
            one.gaps.to_string().into(),
            format!("{:.2} %", one.gap_share * 100.0).into(),
            own.to_string().into(),
        ];
        table.row(cells.into());
    }
    table
}
