//! `hopline bench` and `hopline gate`: process runs, verdicts, the report.
//!
//! Invariant: a gate that is cut short, or whose runs say nothing, never ends 0.

use std::path::Path;

use hopline::base::units::Span;
use hopline::clock::Clock;
use hopline::host::Host;

use super::bench::{runs, words};
use super::budget::{self, Options};
use super::model::{GateReport, RunAnalysis, SCHEMA, Word};
use super::once::Once;
use super::out::terminal;
use super::outcome::{Inconclusive, overall};
use super::{facts, out as outputs};
use crate::exit::{Exit, Failure};
use crate::out;
use crate::view::table::{Cell, Table, numbers, words as texts};
use crate::view::text::Paint;

/// Looks at the same budget: the first, and one more with as many runs again.
const LOOKS: u32 = 2;

/// How a bench or gate was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) case: &'a str,
    pub(crate) runs: u16,
    pub(crate) first: Once,
    pub(crate) json: bool,
    pub(crate) dir: Option<&'a Path>,
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
    let words = words();
    let mut seen = runs(&words, asked.runs, asked.first)?;
    let options = Options {
        strict: asked.gate.is_some_and(|gate| gate.strict),
        looks: LOOKS,
    };
    let mut verdicts = Vec::new();
    if asked.gate.is_some() {
        verdicts = budget::judge(&seen, &budget::owed(&seen), &options);
        if budget::more_runs_help(&verdicts) {
            say(asked, "undecided: as many runs again");
            let more = Once {
                seed: asked.first.seed.map(|seed| seed + u64::from(asked.runs)),
                exposure_ns: seen.first().map(|run| run.exposure_ns),
                ..asked.first
            };
            seen.extend(runs(&words, asked.runs, more)?);
            verdicts = budget::judge(&seen, &budget::owed(&seen), &options);
        }
    }
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
        head: std::env::current_exe()
            .map_or_else(|_| String::new(), |path| path.display().to_string()),
        base: None,
        partial: false,
        verdicts,
        word,
        exit_code: exit.code(),
        runs: seen,
        base_runs: Vec::new(),
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
