//! The highest rate whose budgets hold: a search over one factor on all rates of the case's load, so that the proportion
//! between its sources stays.
//!
//! ```text
//!   the case's rate ─ holds ─→ twice, twice … until it does not ─┐
//!                   ─ does not → half, half … until it does ─────┴→ the bracket is halved in log space until it is narrow
//! ```
//!
//! Each rate is judged as a gate judges: three process runs or more, by the same rules; what is INCONCLUSIVE gets as many
//! runs again, once, and then counts as not shown to hold.
//!
//! Invariant: only PASS and PASS_CLEAN hold; the answer names what decided at both ends of the bracket.

use hopline::base::units::Span;
use hopline::feed::arrivals::RATE_MAX;

use super::budget::{self, Options, RUNS_MIN};
use super::model::{Capacity, CapacityStep, RunAnalysis, Verdict, Word};
use super::out::{advice_of, place_of, word_cell, worst_of};
use super::outcome::{Inconclusive, overall};
use crate::exit::{Exit, Failure};
use crate::view::table::{Cell, Table, numbers, words};
use crate::view::text::{Tone, limit, rate};

/// Most rates that are tried. Doubling a rate of a thousand a second up to the highest there is takes 20; narrowing a bracket of
/// two down to 1 % takes 7.
pub(crate) const STEPS_MAX: usize = 28;

/// How often the case's rate is halved. What does not hold at a 64th of its rate is not the rate's doing, and what is left there
/// is hardly ever enough to judge.
pub(crate) const HALVINGS_MAX: u32 = 6;

/// How often the same rate is looked at: once, and once more if it is undecided.
pub(crate) const LOOKS: u32 = 2;

/// Fewest process runs of a look.
pub(crate) const RUNS: u16 = RUNS_MIN as u16;

/// Reasons for no word that a lower rate does not take away: fewer frames are no better, and the machine is as it is.
const NOT_BY_RATE: [&str; 7] = [
    "clock",
    "host",
    "parked",
    "resolution",
    "samples",
    "self",
    "warmup",
];

/// A search for the highest factor that holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Search {
    /// How near the ends of the bracket are to come: 0.05 for 5 %.
    within: f64,
    /// The highest factor there may be.
    most: f64,
    holds: Option<f64>,
    fails: Option<f64>,
    steps: usize,
    /// Nothing that can be tried would be of use.
    is_over: bool,
}

impl Search {
    /// Begins at the case's own rates. `most` is the highest factor that may be tried, at least 1.
    pub(crate) fn new(within: f64, most: f64) -> Search {
        Search {
            within,
            most: most.max(1.0),
            holds: None,
            fails: None,
            steps: 0,
            is_over: false,
        }
    }

    /// The factor to try next; none when the search is over.
    pub(crate) fn next(&self) -> Option<f64> {
        if self.is_over || self.steps >= STEPS_MAX {
            return None;
        }
        match (self.holds, self.fails) {
            (None, None) => Some(1.0),
            (Some(holds), None) => (holds < self.most).then(|| (2.0 * holds).min(self.most)),
            (None, Some(fails)) => {
                let least = 0.5f64.powi(HALVINGS_MAX as i32);
                (fails > least).then_some(fails / 2.0)
            }
            (Some(holds), Some(fails)) => {
                (fails > holds * (1.0 + self.within)).then(|| (holds * fails).sqrt())
            }
        }
    }

    /// Takes what a factor came to.
    pub(crate) fn told(&mut self, factor: f64, holds: bool) {
        self.steps += 1;
        if holds {
            self.holds = Some(self.holds.map_or(factor, |before| before.max(factor)));
        } else {
            self.fails = Some(self.fails.map_or(factor, |before| before.min(factor)));
        }
    }

    /// Takes that the last factor was undecided for what a lower one would not change. Above one that holds it is an end of
    /// the bracket like any other.
    pub(crate) fn lower_is_no_help(&mut self) {
        self.is_over |= self.holds.is_none();
    }
}

/// The search with all that it found.
#[derive(Debug)]
pub(crate) struct Finder {
    search: Search,
    /// Messages a second at a factor of 1, all sources together.
    rate_per_s: f64,
    within: f64,
    steps: Vec<CapacityStep>,
    /// The runs and verdicts of the highest rate that holds; until one does, of the lowest that was tried.
    best: Option<(f64, Vec<RunAnalysis>, Vec<Verdict>)>,
}

/// What a look at a rate asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// As many runs again.
    Again,
    /// It is decided.
    Done,
}

impl Finder {
    /// Nothing tried yet. `rates` are those of the case's sources.
    pub(crate) fn new(rates: &[f64], within: f64) -> Finder {
        let highest = rates.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        Finder {
            search: Search::new(within, RATE_MAX / highest),
            rate_per_s: rates.iter().sum(),
            within,
            steps: Vec::new(),
            best: None,
        }
    }

    pub(crate) fn next(&self) -> Option<f64> {
        self.search.next()
    }

    /// What the last rate came to, in a line.
    pub(crate) fn last_step(&self) -> String {
        self.steps.last().map_or_else(String::new, |step| {
            let how = if step.holds {
                "holds".to_owned()
            } else {
                not(step)
            };
            format!("{} {how}", self.rate(step.factor))
        })
    }

    /// Messages a second at that factor, as people read it.
    fn rate(&self, factor: f64) -> String {
        format!("{}/s", rate(self.rate_per_s * factor))
    }

    /// Judges a rate by its runs so far.
    ///
    /// # Errors
    /// The case owes nothing.
    pub(crate) fn look(
        &mut self,
        factor: f64,
        runs: &[RunAnalysis],
        is_last: bool,
    ) -> Result<Look, Failure> {
        let owed = budget::owed(runs);
        if owed.is_empty() {
            return Err(Failure::usage(
                "the case has no budget that could hold: no budget.toml, or one without a limit",
                "write one, such as [slo] with p99 = \"5ms\"; `hopline budget derive` proposes them",
            ));
        }
        let options = Options {
            strict: false,
            looks: LOOKS,
        };
        let verdicts = budget::judge(runs, &owed, &options);
        let (word, _) = overall(&verdicts, Inconclusive::Shown);
        if word == Word::Inconclusive && !is_last {
            return Ok(Look::Again);
        }
        let holds = matches!(word, Word::Pass | Word::PassClean);
        let decided_by = worst_of(&verdicts).cloned().unwrap_or_default();
        self.search.told(factor, holds);
        let mut undecided = verdicts
            .iter()
            .filter(|one| one.word == Word::Inconclusive && !one.reported_only);
        if word == Word::Inconclusive
            && undecided.all(|one| NOT_BY_RATE.contains(&one.reason.as_str()))
        {
            self.search.lower_is_no_help();
        }
        self.steps.push(CapacityStep {
            rate_per_s: self.rate_per_s * factor,
            factor,
            runs: runs.len() as u32,
            word,
            holds,
            decided_by,
        });
        let is_better = match (&self.best, holds) {
            (None, _) => true,
            (Some((best, ..)), true) => self.search.holds == Some(factor) && *best != factor,
            (Some((best, ..)), false) => self.search.holds.is_none() && factor < *best,
        };
        if is_better {
            self.best = Some((factor, runs.to_vec(), verdicts));
        }
        Ok(Look::Done)
    }

    /// What was found so far, with the runs and verdicts that it rests on.
    pub(crate) fn found(self) -> (Capacity, Vec<RunAnalysis>, Vec<Verdict>) {
        let answer = self.answer();
        let at = |factor: Option<f64>| factor.map(|factor| self.rate_per_s * factor);
        let capacity = Capacity {
            holds_per_s: at(self.search.holds),
            fails_per_s: at(self.search.fails),
            within: self.within,
            answer,
            steps: self.steps,
        };
        let (_, runs, verdicts) = self.best.unwrap_or_default();
        (capacity, runs, verdicts)
    }

    fn why(&self, factor: f64) -> String {
        let step = self.steps.iter().rfind(|step| step.factor == factor);
        step.map(not).unwrap_or_default()
    }

    fn answer(&self) -> String {
        let range = |factor: f64| self.rate(factor);
        match (self.search.holds, self.search.fails) {
            (None, None) => "no rate was judged".to_owned(),
            (Some(holds), None) => format!(
                "capacity: at least {}, which holds; no higher rate was tried",
                range(holds)
            ),
            (None, Some(fails)) => format!(
                "capacity: none found, {}{} {}",
                if self.search.is_over { "" } else { "even " },
                range(fails),
                self.why(fails)
            ),
            (Some(holds), Some(fails)) => format!(
                "capacity: between {} (holds) and {} ({})",
                range(holds),
                range(fails),
                self.why(fails)
            ),
        }
    }
}

/// That a rate does not hold, and why: in a clause, with the place.
fn not(step: &CapacityStep) -> String {
    let verdict = &step.decided_by;
    let (place, reason) = (place_of(verdict), &verdict.reason);
    match step.word {
        Word::Inconclusive => format!("is not shown to: {place} is undecided, {reason}"),
        _ => format!("does not: {place}, {reason}"),
    }
}

/// How a search ends: with a capacity well; without one as the lowest rate that was tried.
pub(crate) fn end(capacity: &Capacity) -> (Word, Exit) {
    let of = |step: &CapacityStep| step.word;
    if capacity.holds_per_s.is_some() {
        let held = capacity.steps.iter().filter(|step| step.holds);
        let highest = held.max_by(|a, b| a.factor.total_cmp(&b.factor));
        return (highest.map_or(Word::Inconclusive, of), Exit::Good);
    }
    let lowest = capacity.steps.iter();
    let lowest = lowest.min_by(|a, b| a.factor.total_cmp(&b.factor));
    match lowest.map_or(Word::Inconclusive, of) {
        Word::Fail => (Word::Fail, Exit::Fail),
        Word::Loss => (Word::Loss, Exit::Loss),
        _ => (Word::Inconclusive, Exit::Inconclusive),
    }
}

/// The steps, lowest rate first.
pub(crate) fn by_rate(capacity: &Capacity) -> Vec<&CapacityStep> {
    let mut steps: Vec<&CapacityStep> = capacity.steps.iter().collect();
    steps.sort_by(|a, b| a.factor.total_cmp(&b.factor));
    steps
}

/// The steps as a table, lowest rate first, and under each that does not hold why.
pub(crate) fn table(capacity: &Capacity) -> Table {
    let mut table = Table::new(vec![
        numbers("rate"),
        words("verdict"),
        words("decided by"),
        numbers("budget"),
        numbers("raw").may_go(1),
        numbers("clean"),
        numbers("runs").may_go(2),
    ]);
    for step in by_rate(capacity) {
        let verdict = &step.decided_by;
        let span = |ns: u64, n: u64| match n {
            0 => "-".to_owned(),
            _ => Span(ns).to_string(),
        };
        table.row(vec![
            format!("{}/s", rate(step.rate_per_s)).into(),
            word_cell(step.word),
            place_of(verdict).into(),
            verdict.budget_ns.map(limit).unwrap_or_default().into(),
            Cell::new(span(verdict.raw_ns, verdict.n), Tone::Dim),
            Cell::new(span(verdict.clean_ns, verdict.n_clean), Tone::Strong),
            step.runs.to_string().into(),
        ]);
        if !step.holds {
            table.remark(advice_of(verdict), Tone::Dim);
        }
    }
    table
}

#[cfg(test)]
mod tests;
