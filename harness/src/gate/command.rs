//! `hopline bench` and `hopline gate`: process runs, verdicts, the report.
//!
//! Invariant: a gate that is cut short, or whose runs say nothing, never ends 0.

use std::path::Path;

use hopline::base::units::Span;
use hopline::clock::Clock;
use hopline::host::Host;

use super::bench::{self, Measured};
use super::budget::{self, Options};
use super::capacity::{self, Finder, Look};
use super::child::{Children, Halt};
use super::compare::{self, Arm, Comparison, Next};
use super::model::{Capacity, GateReport, RunAnalysis, SCHEMA, Verdict, Word};
use super::once::Once;
use super::out::{measured, terminal};
use super::outcome::{Inconclusive, cut_short, overall};
use super::revision::{self, Wanted};
use super::{apart, facts, out as outputs};
use crate::exit::{Exit, Failure};
use crate::out;
use crate::view::text::{Paint, without_figures};

/// Looks at the same budget: the first, and one more with as many runs again.
const LOOKS: u32 = 2;

/// Runs of each side that a comparison keeps whole for its report: those of the first look.
const RUNS_KEPT: usize = 24;

/// How a bench or gate was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) case: &'a str,
    /// The words of the command line, the program's own name first.
    pub(crate) arguments: Vec<String>,
    pub(crate) runs: u16,
    pub(crate) first: Once,
    pub(crate) json: bool,
    pub(crate) dir: Option<&'a Path>,
    /// The program that is measured, if it is not this one.
    pub(crate) program: Option<&'a Path>,
    pub(crate) what: What<'a>,
}

/// What is asked of the runs.
#[derive(Clone, Debug)]
pub(crate) enum What<'a> {
    /// What every span took.
    Bench,
    /// The highest rate whose budgets hold.
    Capacity {
        /// The mean rates of the case's sources.
        rates: Vec<f64>,
        /// How near to it: 0.05 for 5 %.
        within: f64,
    },
    /// Whether the budgets hold.
    Gate(Judging),
    /// Whether it is slower than a base.
    Against {
        base: Base<'a>,
        /// By how much it may be: 0.05 for 5 %.
        slower: f64,
        judging: Judging,
    },
}

/// What a program is judged against.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Base<'a> {
    /// A program.
    Program(&'a Path),
    /// A revision of the repository, which is built first.
    Revision(Wanted<'a>),
}

/// How a gate judges.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Judging {
    pub(crate) strict: bool,
    pub(crate) inconclusive: Inconclusive,
}

/// What was seen so far.
#[derive(Debug, Default)]
struct Seen {
    /// What head is judged against, as people name it.
    base: Option<String>,
    base_hash: Option<String>,
    runs: Vec<RunAnalysis>,
    base_runs: Vec<RunAnalysis>,
    verdicts: Vec<Verdict>,
    capacity: Option<Capacity>,
    notes: Vec<String>,
}

/// Runs, judges if asked to, prints, and writes what is to be written: what there was by then, if a signal came first.
pub(crate) fn run(asked: &Asked<'_>) -> Result<Exit, Failure> {
    let children = Children::watch()?;
    let head = Measured::new(asked.program)?;
    let mut work = Work {
        asked,
        children: &children,
        began_ns: Clock::os().now_ns(),
        began_unix_s: unix_s(),
        clock_cost_ns: facts::clock_cost_ns(&Clock::calibrated()),
        seen: Seen::default(),
        head_hash: facts::hash_of(&head.program),
        head,
    };
    if let Some(dir) = asked.dir {
        let note = "The gate had not ended when this was written: it still runs, or it was killed.";
        outputs::begin(&work.report(Some((Exit::Inconclusive, note))).0, dir)?;
    }
    let (report, exit) = match work.measure() {
        Ok(()) => work.report(None),
        Err(Halt::Stopped(exit)) => {
            let note = "A signal ended it: what is here is what was there by then.";
            work.report(Some((exit, note)))
        }
        Err(Halt::Failed(failure)) => {
            if let Some(dir) = asked.dir {
                let (report, _) = work.report(Some((failure.exit, &failure.what)));
                // Of the two, the failure is what the user has to hear of.
                let _ = outputs::write_all(&report, dir);
            }
            return Err(failure);
        }
    };
    // Each of the two is done though the other fails: what was measured is not to be measured again.
    let written = asked.dir.map(|dir| outputs::write_all(&report, dir));
    let shown = show(asked, &report);
    for file in written.transpose()?.unwrap_or_default() {
        out::say(format_args!("wrote {}", file.display()));
    }
    shown?;
    Ok(exit)
}

/// Prints a report.
fn show(asked: &Asked<'_>, report: &GateReport) -> Result<(), Failure> {
    if asked.json {
        let json = outputs::json::to_json(report).map_err(|error| Failure {
            exit: Exit::Defect,
            what: error.to_string(),
            help: String::new(),
        })?;
        return out::print(&(json + "\n"));
    }
    let (width, paint) = (out::columns(), Paint(out::has_colour()));
    let lines = if matches!(asked.what, What::Bench) {
        measured::lines(report, width, paint)
    } else {
        terminal::lines(report, width, paint)
    };
    out::print(&(lines.join("\n") + "\n"))
}

/// Measures, and prints a budget.toml for what is asked.
pub(crate) fn derive(
    program: Option<&Path>,
    count: u16,
    first: Once,
    asked: &super::derive::Asked,
) -> Result<Exit, Failure> {
    let children = Children::watch()?;
    let mut runs = Vec::new();
    bench::runs(&children, &Measured::new(program)?, count, first, &mut runs)
        .map_err(Halt::into_failure)?;
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

/// A bench or gate under way.
struct Work<'a> {
    asked: &'a Asked<'a>,
    children: &'a Children,
    head: Measured,
    head_hash: Option<String>,
    began_ns: u64,
    began_unix_s: u64,
    clock_cost_ns: f64,
    seen: Seen,
}

impl Work<'_> {
    fn measure(&mut self) -> Result<(), Halt> {
        match &self.asked.what {
            What::Bench => self.add_runs(self.asked.first),
            What::Capacity { rates, within } => self.capacity(rates, *within),
            What::Gate(judging) => self.by_budgets(*judging),
            What::Against { base, slower, .. } => self.against(*base, *slower),
        }
    }

    fn add_runs(&mut self, first: Once) -> Result<(), Halt> {
        let (count, runs) = (self.asked.runs, &mut self.seen.runs);
        bench::runs(self.children, &self.head, count, first, runs)
    }

    /// Runs judged by the case's budgets.
    fn by_budgets(&mut self, judging: Judging) -> Result<(), Halt> {
        let options = Options {
            strict: judging.strict,
            looks: LOOKS,
        };
        let judge = |runs: &[RunAnalysis]| budget::judge(runs, &budget::owed(runs), &options);
        let first = self.asked.first;
        let mut measured = self.add_runs(first);
        self.seen.verdicts = judge(&self.seen.runs);
        if measured.is_ok() && budget::more_runs_help(&self.seen.verdicts) {
            self.say("undecided: as many runs again");
            measured = self.add_runs(first.nth(u64::from(self.asked.runs)));
            self.seen.verdicts = judge(&self.seen.runs);
        }
        measured
    }

    /// The case at one rate after the other, until the highest that holds is known.
    fn capacity(&mut self, rates: &[f64], within: f64) -> Result<(), Halt> {
        let mut finder = Finder::new(rates, within);
        let found = self.search(&mut finder);
        let (capacity, runs, verdicts) = finder.found();
        self.seen.capacity = Some(capacity);
        (self.seen.runs, self.seen.verdicts) = (runs, verdicts);
        found
    }

    fn search(&self, finder: &mut Finder) -> Result<(), Halt> {
        let count = self.asked.runs.max(capacity::RUNS);
        while let Some(factor) = finder.next() {
            let program = self.head.at_factor(factor);
            let mut runs = Vec::new();
            for look in 1..=capacity::LOOKS {
                let seen = runs.len() as u64;
                let once = self.asked.first.nth(seen);
                bench::runs(self.children, &program, count, once, &mut runs)?;
                let is_last = look == capacity::LOOKS;
                if finder.look(factor, &runs, is_last)? == Look::Done {
                    break;
                }
            }
            self.say(&finder.last_step());
        }
        Ok(())
    }

    /// Runs of this program and of another one in turn, until the comparison has seen enough.
    fn against(&mut self, base: Base<'_>, slower: f64) -> Result<(), Halt> {
        // Held until the last run: its binary goes with it.
        let built;
        let base = match base {
            Base::Program(program) => {
                self.seen.base = Some(program.display().to_string());
                self.head.another(program)
            }
            Base::Revision(wanted) => {
                self.seen.base = Some(wanted.revision.to_owned());
                self.say(&format!("building the base {}", wanted.revision));
                built = revision::build(self.children, wanted, &self.head.program)?;
                self.seen.base = Some(built.name.clone());
                self.seen.notes.push(built.note.clone());
                self.head.another(&built.program)
            }
        };
        self.seen.base_hash = facts::hash_of(&base.program);
        // Both sides get the exposure that base has, or the quicker one would look cleaner.
        let settling = self.run_of_base(&base, self.asked.first, None)?;
        let options = compare::Options {
            clock_cost_ns: self.clock_cost_ns,
            ..compare::Options::default()
        };
        let mut comparison = Comparison::new(compare::metrics(&settling, slower), options);
        let compared = self.blocks(&base, &settling, &mut comparison);
        self.seen.verdicts = comparison.verdicts();
        compared
    }

    fn blocks(
        &mut self,
        base: &Measured,
        settling: &RunAnalysis,
        comparison: &mut Comparison,
    ) -> Result<(), Halt> {
        let began_ns = Clock::os().now_ns();
        let mut known = Once {
            exposure_ns: Some(settling.exposure_ns),
            ..self.asked.first.after(settling)
        };
        loop {
            let blocks = match comparison.next() {
                Next::Done(_) => return Ok(()),
                Next::RunBlocks(blocks) => blocks,
                Next::Confirm(blocks) => {
                    self.say("slower at first sight: a fresh set of blocks is to confirm it");
                    blocks
                }
            };
            for _ in 0..blocks {
                let number = comparison.blocks();
                let mut block: Vec<(Arm, RunAnalysis)> = Vec::with_capacity(compare::BLOCK_RUNS);
                for arm in compare::order(number) {
                    // All runs of a block draw the same; those that confirm a FAIL never what was drawn before.
                    let once = known.nth(number as u64);
                    let beside = block.first().map(|(_, run)| run);
                    let run = match arm {
                        Arm::Head => {
                            bench::undisturbed_run(self.children, &self.head, once, beside)?
                        }
                        Arm::Base | Arm::BaseAgain => self.run_of_base(base, once, beside)?,
                    };
                    known = known.after(&run);
                    block.push((arm, run));
                }
                comparison.block(&block);
                for (arm, run) in block {
                    let side = match arm {
                        Arm::Head => &mut self.seen.runs,
                        Arm::Base | Arm::BaseAgain => &mut self.seen.base_runs,
                    };
                    // Figures of all, pictures of some: histograms of hundreds of runs would fill megabytes.
                    if side.len() < RUNS_KEPT {
                        side.push(run);
                    }
                }
                let spent_s = Clock::os().now_ns().saturating_sub(began_ns) as f64 / 1e9;
                comparison.block_takes(spent_s / comparison.blocks() as f64);
            }
        }
    }

    /// A run of base; what is wrong with it is said of it by its name.
    fn run_of_base(
        &self,
        base: &Measured,
        once: Once,
        beside: Option<&RunAnalysis>,
    ) -> Result<RunAnalysis, Halt> {
        bench::undisturbed_run(self.children, base, once, beside).map_err(|halt| match halt {
            Halt::Failed(failure) => Halt::Failed(Failure {
                what: format!(
                    "base {}: {}",
                    self.seen.base.as_deref().unwrap_or_default(),
                    failure.what
                ),
                ..failure
            }),
            stopped => stopped,
        })
    }

    /// The report by what was seen so far. `cut` is for one that was cut short: how it ends, and what is to be known of that.
    fn report(&self, cut: Option<(Exit, &str)>) -> (GateReport, Exit) {
        let (seen, asked) = (&self.seen, self.asked);
        let mut verdicts = seen.verdicts.clone();
        if cut.is_some() {
            cut_short(&mut verdicts);
        }
        let (word, exit) = match cut {
            Some((exit, _)) => (overall(&verdicts, Inconclusive::Shown).0, exit),
            None => self.end(&verdicts),
        };
        let note = cut.map(|(_, note)| note.to_owned());
        let mut notes = all_notes(&seen.runs);
        notes.extend(apart::varied(seen.runs.iter().chain(&seen.base_runs)));
        notes.splice(0..0, note.into_iter().chain(seen.notes.iter().cloned()));
        let report = GateReport {
            schema: SCHEMA,
            command: match asked.what {
                What::Bench => "bench",
                What::Capacity { .. } => "bench --find-capacity",
                What::Gate(_) => "gate",
                What::Against {
                    base: Base::Program(_),
                    ..
                } => "gate --base",
                What::Against { .. } => "gate --base-rev",
            }
            .to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            case: asked.case.to_owned(),
            began_unix_s: self.began_unix_s,
            took_s: Clock::os().now_ns().saturating_sub(self.began_ns) as f64 / 1e9,
            host: facts::of(&Host::read(), clock_of(&seen.runs), self.clock_cost_ns),
            head: self.head.program.display().to_string(),
            head_hash: self.head_hash.clone(),
            base: seen.base.clone(),
            base_hash: seen.base_hash.clone(),
            arguments: asked.arguments.clone(),
            partial: cut.is_some(),
            verdicts,
            word,
            exit_code: exit.code(),
            runs: seen.runs.clone(),
            base_runs: seen.base_runs.clone(),
            capacity: seen.capacity.clone(),
            notes,
        };
        (report, exit)
    }

    /// The word for all of it, and how it ends if nothing cuts it short.
    fn end(&self, verdicts: &[Verdict]) -> (Word, Exit) {
        let lossless = |run: &RunAnalysis| run.ledger.closed && run.ledger.losses.is_empty();
        match &self.asked.what {
            What::Gate(judging) | What::Against { judging, .. } => {
                overall(verdicts, judging.inconclusive)
            }
            What::Capacity { .. } => {
                let found = self.seen.capacity.as_ref();
                found.map_or((Word::Inconclusive, Exit::Inconclusive), capacity::end)
            }
            What::Bench if self.seen.runs.iter().all(lossless) => (Word::Inconclusive, Exit::Good),
            What::Bench => (Word::Loss, Exit::Loss),
        }
    }

    fn say(&self, what: &str) {
        if !self.asked.json {
            out::say(what);
        }
    }
}

/// The date, for people.
fn unix_s() -> u64 {
    #[allow(clippy::disallowed_methods, reason = "a date is no measurement")]
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

fn clock_of(runs: &[RunAnalysis]) -> &str {
    runs.first().map_or("", |run| run.clock.as_str())
}

/// What all runs say, each once: of notes that differ in their figures alone the first, and how many there are.
fn all_notes(runs: &[RunAnalysis]) -> Vec<String> {
    let mut all: Vec<(String, &String, bool, usize)> = Vec::new();
    for note in runs.iter().flat_map(|run| &run.notes) {
        let shape = without_figures(note);
        match all.iter_mut().find(|(known, ..)| *known == shape) {
            Some((_, first, differs, times)) => {
                *differs |= *first != note;
                *times += 1;
            }
            None => all.push((shape, note, false, 1)),
        }
    }
    let told = |(_, note, differs, times): (String, &String, bool, usize)| {
        if differs {
            format!("{note} (with other figures in {} more)", times - 1)
        } else {
            note.clone()
        }
    };
    all.into_iter().map(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_that_differs_in_its_figures_alone_stands_once() {
        let run = |notes: &[&str]| RunAnalysis {
            notes: notes.iter().map(ToString::to_string).collect(),
            ..RunAnalysis::default()
        };
        let runs = [
            run(&["one core is left", "a log of 1,024 lost 7"]),
            run(&["one core is left", "a log of 1,024 lost 12"]),
            run(&["a log of 1,024 lost 100", "one cord is left"]),
        ];
        assert_eq!(
            all_notes(&runs),
            [
                "one core is left",
                "a log of 1,024 lost 7 (with other figures in 2 more)",
                "one cord is left"
            ]
        );
    }
}
