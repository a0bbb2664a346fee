//! "This quantile of that span is at most so long": from process runs to verdicts.
//!
//! The quantile holds if the share of frames over the limit is at most `1 - q`; those are counted one by one, so the width of
//! a histogram's buckets never touches a verdict. In order, and the first that applies is said:
//!
//! 1. LOSS: an open ledger, or a loss where none may be.
//! 2. INCONCLUSIVE: a log of segments that was cut; no or too few frames or runs; a clock that did not keep time, or cannot tell
//!    so little; less than 99 % of the rate (FAIL if the line
//!    itself held it back); medians of the two halves of a run that differ by more than 5 %, unless nearly all
//!    frames are tainted; more gaps too short to be seen than
//!    a fifth of the allowed share.
//! 3. PASS: the upper bound of the share of all frames is allowed. Noise only adds latency.
//! 4. FAIL: at most 85 % are tainted, and the lower bound of the share of clean frames is not allowed; from end to end only if
//!    that is so without what a late sender adds as well.
//! 5. PASS_CLEAN: likewise the upper bound is allowed, and no doing of the program's own could be among what was left out.
//! 6. INCONCLUSIVE: else.
//!
//! What was shed counts as a frame over the limit: against a pass in any case, and for a FAIL if the host did nothing meanwhile.
//! There is no way to allow it, but by a quantile that leaves room for it; one that no message may be shed for is `lossless`.
//!
//! Tainted is a frame that the host touched: by a gap, or by a core that ran slowly meanwhile.
//!
//! 3 to 5 need a limit that lies outside what the quantile varies by between process runs (two standard deviations, at least
//! 10 %): layout of memory and what neighbours leave of the caches differ between them, and more frames of the same process say
//! nothing about that.
//!
//! A limit on `max` is no statement about a share. It says of the frames that were measured whether one was over: none,
//! PASS; tainted ones only, PASS_CLEAN; clean ones in two runs or more, FAIL.
//!
//! Invariant: no word but LOSS and INCONCLUSIVE comes from a run with an open ledger, a cut log or no frames.

mod evidence;
mod rules;

use hopline::budget::Quantile;

use super::model::{Quantiles, RunAnalysis, Verdict, Word};
use super::outcome::sort;
use evidence::Evidence;

/// The chance of a wrong word that each bound takes, over all looks together.
pub const ALPHA: f64 = 0.05;

/// Fewest process runs: with two there is no telling how much they vary.
pub const RUNS_MIN: usize = 3;

/// The least part of the offered rate that must have been sent.
pub const RATE_MIN: f64 = 0.99;

/// Most that the clean medians of a run's halves may differ by.
pub const HALVES_MAX: f64 = 0.05;

/// What a clock cannot tell apart: a step of the stamp counter on most machines, and about what a stamp costs. A limit below it
/// is not judged, nor below what a reading of the clock cost in the runs.
pub const CLOCK_GRAIN_NS: u64 = 20;

/// Differences of medians up to this are none.
pub const HALVES_GRAIN_NS: u64 = CLOCK_GRAIN_NS;

/// The largest tainted share with which clean frames are judged. Verdicts stayed right at 0.77; beyond, what is left comes from
/// few quiet moments.
pub const TAINTED_MAX: f64 = 0.85;

/// The least half-width of the band around a quantile in which no word is said.
pub const BAND_MIN: f64 = 0.10;

/// The largest part of the allowed share that gaps too short to be seen may make up.
pub const CONTAMINATION_MAX: f64 = 0.2;

/// The name of the limit on P99 less P50. Its counts are those of frames that are over P50 by more than the limit.
pub const JITTER: &str = "jitter";

/// A limit that a span owes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owed {
    /// `from->to`, [`END_TO_END`](super::model::END_TO_END) or [`LINE`](super::model::LINE).
    pub hop: String,
    /// `wait`, `service`, `sojourn`, [`END_TO_END`](super::model::END_TO_END) or [`IPDV`](super::model::IPDV).
    pub of: String,
    /// `p50`, `p90`, `p99`, `p99_9`, `max` or [`JITTER`].
    pub quantile: String,
    /// The limit.
    pub limit_ns: u64,
}

/// How to judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whether PASS_CLEAN is not good enough: it becomes INCONCLUSIVE.
    pub strict: bool,
    /// How often the same budget may be judged while runs are added, the first time included. Each look has
    /// [`ALPHA`]` / looks`, so that looking again does not make a wrong word likelier.
    pub looks: u32,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            strict: false,
            looks: 1,
        }
    }
}

/// The limits that were counted in any of `runs`, in the order of their spans.
#[must_use]
pub fn owed(runs: &[RunAnalysis]) -> Vec<Owed> {
    let mut all: Vec<Owed> = Vec::new();
    for span in runs.iter().flat_map(|run| &run.spans) {
        for limit in &span.limits {
            let one = Owed {
                hop: span.hop.clone(),
                of: span.of.clone(),
                quantile: limit.quantile.clone(),
                limit_ns: limit.limit_ns,
            };
            if !all.contains(&one) {
                all.push(one);
            }
        }
    }
    all
}

/// Judges what is owed, worst first. What no run counted is INCONCLUSIVE, not left out.
#[must_use]
pub fn judge(runs: &[RunAnalysis], owed: &[Owed], options: &Options) -> Vec<Verdict> {
    let mut verdicts: Vec<Verdict> = owed
        .iter()
        .map(|owed| Evidence::new(runs, owed, options).verdict())
        .collect();
    sort(&mut verdicts);
    verdicts
}

/// Whether more process runs could turn an INCONCLUSIVE among `verdicts` into a word. Where one is already FAIL or LOSS they
/// would not change how the gate ends.
#[must_use]
pub fn more_runs_help(verdicts: &[Verdict]) -> bool {
    const BY_CHANCE: [&str; 8] = [
        "border",
        "samples",
        "dirty",
        "host",
        "band",
        "warmup",
        "rate",
        "generator",
    ];
    let settled = |word| matches!(word, Word::Fail | Word::Loss);
    !verdicts.iter().any(|verdict| settled(verdict.word))
        && verdicts.iter().any(|verdict| {
            verdict.word == Word::Inconclusive && BY_CHANCE.contains(&verdict.reason.as_str())
        })
}

/// What `quantiles` say for a limit of that name.
pub(super) fn value_ns(quantiles: &Quantiles, name: &str) -> Option<u64> {
    if name == JITTER {
        return Some(quantiles.p99.saturating_sub(quantiles.p50));
    }
    Some(match Quantile::parse(name)? {
        Quantile::P50 => quantiles.p50,
        Quantile::P90 => quantiles.p90,
        Quantile::P99 => quantiles.p99,
        Quantile::P999 => quantiles.p99_9,
        Quantile::Max => quantiles.max,
    })
}

/// The quantile as a share of one.
pub(super) fn share(name: &str) -> Option<f64> {
    if name == JITTER {
        return Some(Quantile::P99.share());
    }
    Quantile::parse(name).map(Quantile::share)
}

#[cfg(test)]
mod tests;
