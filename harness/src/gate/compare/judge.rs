//! The looks of a comparison, and its words.
//!
//! Invariant: FAIL only after two sets of blocks that share none.

use super::{
    ALPHA, Arm, BEYOND_MIN, CHANGE_MIN_NS, Comparison, EXPOSURE_MAX, Effect, LOOK_BLOCKS, LOOKS,
    Metric, NULL_PART, Sample, State, Track, frames_beyond,
};
use crate::gate::budget::{RATE_MIN, TAINTED_MAX};
use crate::gate::drift;
use crate::gate::model::{Change, LoopAnalysis, RunAnalysis, Verdict, Word};
use crate::gate::outcome::{Said, cut_words, others_words, percent, sort, touched};
use crate::gate::stats::{Interval, Moments, TRIMMED_IN, blocks_to_decide, holm, t_critical};

/// The chance of a wrong word on each side at one look.
const ALPHA_LOOK: f64 = ALPHA / LOOKS as f64;

/// What makes runs worthless for every metric, by side.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    head: SideFaults,
    base: SideFaults,
}

#[derive(Clone, Debug, Default)]
struct SideFaults {
    runs: usize,
    lost: Option<String>,
    log_lost: u64,
    /// What is said of the first run in which a hop's log had no room for all messages.
    hop_cut: Option<String>,
    /// The source to which the most came from others than its generator, and its share of what that sent.
    others: Option<(String, f64)>,
    /// By how much the clock was off in the first run in which it was.
    clock_off_ns: Option<f64>,
    slow: usize,
    held_back: usize,
    /// The least part of the offered rate that was sent.
    sent: Option<f64>,
}

impl SideFaults {
    fn note(&mut self, run: &RunAnalysis) {
        self.runs += 1;
        let ledger = &run.ledger;
        let breach = || ledger.breaches.first().cloned();
        let open = || breach().unwrap_or_else(|| "its equations do not hold".to_owned());
        if self.lost.is_none() {
            self.lost = match ledger.closed {
                false => Some(format!("the ledger is open: {}", open())),
                true => ledger.losses.first().cloned(),
            };
        }
        self.log_lost += run.loops.iter().map(LoopAnalysis::cut).sum::<u64>();
        if self.hop_cut.is_none() && run.cut_hops().next().is_some() {
            self.hop_cut = Some(cut_words(std::iter::once(run)));
        }
        if let Some((source, share)) = run.others().filter(|(_, share)| *share > 1.0 - RATE_MIN)
            && self.others.as_ref().is_none_or(|(_, most)| share > *most)
        {
            self.others = Some((source.to_owned(), share));
        }
        self.clock_off_ns = self.clock_off_ns.or_else(|| run.clock_is_off_ns());
        if let Some(sent) = run.sent_share().filter(|&sent| sent < RATE_MIN) {
            self.slow += 1;
            self.held_back += usize::from(run.source_held_back);
            self.sent = Some(self.sent.map_or(sent, |least| least.min(sent)));
        }
    }

    fn mostly_held_back(&self) -> bool {
        2 * self.held_back > self.runs
    }
}

impl Faults {
    pub(super) fn note(&mut self, arm: Arm, run: &RunAnalysis) {
        match arm {
            Arm::Head => self.head.note(run),
            Arm::Base | Arm::BaseAgain => self.base.note(run),
        }
    }

    /// Whether no further block would lead to a word.
    pub(super) fn hopeless(&self) -> bool {
        [&self.head, &self.base].iter().any(|side| {
            side.lost.is_some()
                || side.log_lost > 0
                || side.hop_cut.is_some()
                || side.others.is_some()
                || side.clock_off_ns.is_some()
        })
    }

    fn said(&self) -> Option<Said> {
        if let Some(words) = &self.head.lost {
            return Some(Said::bad(
                Word::Loss,
                words.clone(),
                "frames that are gone have no latency: a lower rate, a deeper hop, or mend head",
            ));
        }
        if let Some(words) = &self.base.lost {
            return Some(Said::inconclusive(
                "base",
                format!("base loses frames ({words}): a lower rate, or another base"),
            ));
        }
        let cut = self.head.log_lost + self.base.log_lost;
        if cut > 0 {
            return Some(Said::inconclusive(
                "log",
                format!(
                    "{cut} segments or looks at the core's pace found no room in a loop's log: shorter runs or a lower rate"
                ),
            ));
        }
        let sides = [&self.head, &self.base];
        if let Some(words) = sides.iter().find_map(|side| side.hop_cut.clone()) {
            return Some(Said::inconclusive("log", words));
        }
        if let Some((source, share)) = sides.iter().find_map(|side| side.others.as_ref()) {
            return Some(Said::inconclusive("others", others_words(source, *share)));
        }
        if let Some(off_ns) = sides.iter().find_map(|side| side.clock_off_ns) {
            return Some(Said::inconclusive("clock", drift::words(off_ns)));
        }
        let sent = sides.iter().filter_map(|side| side.sent).reduce(f64::min)?;
        if self.head.mostly_held_back() && self.base.held_back == 0 {
            return Some(Said::bad(
                Word::Fail,
                format!(
                    "head holds its source back, base does not: it took {} of the offered rate",
                    percent(sent)
                ),
                "a lower rate shows which hop is slower",
            ));
        }
        // A run now and then that was disturbed is what blocks are for.
        let often = sides.iter().any(|side| 10 * side.slow > side.runs);
        often.then(|| {
            Said::inconclusive(
                "rate",
                format!("only {} of the offered rate was sent: a lower rate, or a core of its own for the generator", percent(sent)),
            )
        })
    }
}

/// An effect's intervals.
struct Look {
    head: Interval,
    null: Interval,
    change_ns: Interval,
}

fn moments(effects: &[Effect], value: fn(&Effect) -> f64) -> Moments {
    Moments::trimmed(&effects.iter().map(value).collect::<Vec<_>>())
}

/// An interval with that chance of error on each side.
fn interval(effects: &[Effect], value: fn(&Effect) -> f64, alpha: f64) -> Interval {
    let moments = moments(effects, value);
    moments.interval(t_critical(alpha, moments.n as f64 - 1.0))
}

impl Look {
    fn of(effects: &[Effect]) -> Look {
        let of = |value| interval(effects, value, ALPHA_LOOK);
        Look {
            head: of(|effect| effect.head),
            null: of(|effect| effect.null),
            change_ns: of(|effect| effect.change_ns),
        }
    }

    fn null_is_off(&self, allowed: f64) -> bool {
        let most = allowed * NULL_PART;
        self.null.low > most || self.null.high < -most
    }
}

impl Track {
    /// Those of the blocks after the first `blocks`, without the ones that came to nothing.
    fn after(&self, blocks: usize) -> Vec<Effect> {
        let effects = self.effects.get(blocks..).unwrap_or_default();
        effects.iter().flatten().copied().collect()
    }

    /// Those by which the word was said: a look that passed stands, whatever more blocks, made for other metrics, come to.
    fn said_by(&self, state: State) -> Vec<Effect> {
        let State::Passed(blocks) = state else {
            return self.after(0);
        };
        let effects = self.effects.get(..blocks).unwrap_or(&self.effects);
        effects.iter().flatten().copied().collect()
    }

    fn tainted_share(samples: &[Sample]) -> f64 {
        let n: u64 = samples.iter().map(|sample| sample.n).sum();
        let clean: u64 = samples.iter().map(|sample| sample.n_clean).sum();
        if n == 0 {
            return 0.0;
        }
        1.0 - clean.min(n) as f64 / n as f64
    }

    /// The share of frames that gaps touched, of those whose core did not run slowly: which cores a neighbour uses has
    /// nothing to do with the program, and what is left is alike whatever its share.
    fn gap_share(samples: &[Sample]) -> f64 {
        let at_pace: u64 = samples
            .iter()
            .map(|sample| sample.n - sample.n_slowed.min(sample.n))
            .sum();
        let clean: u64 = samples.iter().map(|sample| sample.n_clean).sum();
        if at_pace == 0 {
            return 0.0;
        }
        1.0 - clean.min(at_pace) as f64 / at_pace as f64
    }

    fn exposure(&self) -> f64 {
        (Self::gap_share(&self.head) - Self::gap_share(&self.base)).abs()
    }

    /// Why clean figures are not to be compared.
    fn unfit(&self) -> Option<Said> {
        let empty = self
            .effects
            .iter()
            .filter(|effect| effect.is_none())
            .count();
        // As many as are cut off on each side anyway may be missing.
        if empty > self.effects.len() / TRIMMED_IN || self.effects.is_empty() {
            let next = format!(
                "{empty} of {} blocks had a run without a clean frame here: a quieter machine, or see that the load reaches this hop",
                self.effects.len()
            );
            return Some(Said::inconclusive("samples", next));
        }
        let dirtier = if Self::tainted_share(&self.head) >= Self::tainted_share(&self.base) {
            &self.head
        } else {
            &self.base
        };
        if Self::tainted_share(dirtier) > TAINTED_MAX {
            let sum = |of: fn(&Sample) -> u64| dirtier.iter().map(of).sum();
            return Some(Said::inconclusive(
                "dirty",
                format!(
                    "the host touched {}: a quieter machine, or cores of its own",
                    touched(
                        sum(|sample| sample.n),
                        sum(|sample| sample.n_clean),
                        sum(|sample| sample.n_slowed)
                    )
                ),
            ));
        }
        (self.exposure() > EXPOSURE_MAX).then(|| {
            Said::inconclusive(
                "exposure",
                format!(
                    "gaps touched {} of head's frames and {} of base's: what is left is not alike; a quieter machine, or longer runs",
                    percent(Self::gap_share(&self.head)),
                    percent(Self::gap_share(&self.base))
                ),
            )
        })
    }
}

impl Metric {
    /// What is allowed, as a logarithm.
    fn allowed(&self) -> f64 {
        self.slower.max(0.0).ln_1p()
    }
}

impl Comparison {
    /// Which changes are smaller than can be told.
    fn grain_ns(&self) -> f64 {
        CHANGE_MIN_NS.max(2.0 * self.options.clock_cost_ns)
    }

    /// Which of `which` are slower than allowed in the blocks after the first `from`, by Holm over all of them.
    fn failing(&self, which: &[usize], from: usize, alpha: f64) -> Vec<usize> {
        let effects = || which.iter().map(|&at| (at, self.tracks[at].after(from)));
        let chances: Vec<f64> = effects()
            .map(|(at, effects)| {
                moments(&effects, |effect| effect.head).chance_above(self.metrics[at].allowed())
            })
            .collect();
        effects()
            .zip(holm(&chances, alpha))
            .filter(|((_, effects), sure)| {
                *sure && moments(effects, |effect| effect.change_ns).mean > self.grain_ns()
            })
            .map(|((at, _), _)| at)
            .collect()
    }

    /// Moves every metric on by what there is now.
    pub(super) fn look(&mut self) {
        let judged: Vec<usize> = (0..self.metrics.len())
            .filter(|&at| !self.metrics[at].reported_only)
            .collect();
        // A set that confirms has a question of its own: those that failed, in fresh blocks only.
        let asked: Vec<usize> = judged
            .iter()
            .copied()
            .filter(|&at| matches!(self.states[at], State::Failed(_)))
            .collect();
        let again = self.failing(&asked, self.blocks - LOOK_BLOCKS, ALPHA);
        for at in asked {
            self.states[at] = match self.states[at] {
                State::Failed(blocks) if again.contains(&at) => State::Confirmed(blocks),
                _ => State::Unconfirmed,
            };
        }
        if self.blocks > LOOK_BLOCKS * LOOKS {
            return;
        }
        // All that are judged are one family, those with a word already too: else it would shrink as words are said.
        let failing = self.failing(&judged, 0, ALPHA_LOOK);
        for at in judged {
            if self.states[at] != State::Open || self.tracks[at].unfit().is_some() {
                continue;
            }
            let look = Look::of(&self.tracks[at].after(0));
            let allowed = self.metrics[at].allowed();
            if failing.contains(&at) && !look.null_is_off(allowed) {
                self.states[at] = State::Failed(self.blocks);
            } else if look.head.high <= allowed || look.change_ns.high <= self.grain_ns() {
                self.states[at] = State::Passed(self.blocks);
            }
        }
    }

    /// The verdicts by what there is, worst first: of an unfinished comparison too, for a gate that is cut short.
    #[must_use]
    pub fn verdicts(&self) -> Vec<Verdict> {
        let mut verdicts: Vec<Verdict> =
            (0..self.metrics.len()).map(|at| self.verdict(at)).collect();
        sort(&mut verdicts);
        verdicts
    }

    fn verdict(&self, at: usize) -> Verdict {
        let (metric, track) = (&self.metrics[at], &self.tracks[at]);
        let effects = track.said_by(self.states[at]);
        let look = Look::of(&effects);
        let sum = |value: fn(&Sample) -> u64| track.head.iter().map(value).sum();
        let mean_ns = |value: fn(&Sample) -> u64| {
            let logs = track
                .head
                .iter()
                .map(|sample| (value(sample).max(1) as f64).ln());
            (logs.sum::<f64>() / track.head.len().max(1) as f64)
                .exp()
                .round() as u64
        };
        let logs = |value| interval(&effects, value, ALPHA);
        let (head, base) = (
            logs(|effect| effect.head_log),
            logs(|effect| effect.base_log),
        );
        // Before two blocks there is no interval; JSON has no infinity.
        let ratio = |log: f64| if log.is_finite() { log.exp() } else { 0.0 };
        let mut verdict = Verdict {
            hop: metric.hop.clone(),
            of: metric.of.clone(),
            quantile: metric.quantile.clone(),
            n: sum(|sample| sample.n),
            n_clean: sum(|sample| sample.n_clean),
            n_slowed: sum(|sample| sample.n_slowed),
            tainted_share: Track::tainted_share(&track.head),
            raw_ns: if track.head.is_empty() {
                0
            } else {
                mean_ns(|sample| sample.raw_ns)
            },
            clean_ns: if effects.is_empty() {
                0
            } else {
                ratio(head.of.mean).round() as u64
            },
            clean_low_ns: ratio(head.low).round() as u64,
            clean_high_ns: ratio(head.high).round() as u64,
            host_floor_ns: track
                .head
                .iter()
                .map(|sample| sample.host_floor_ns)
                .max()
                .unwrap_or(0),
            change: (!effects.is_empty()).then(|| Change {
                base_ns: ratio(base.of.mean).round() as u64,
                ratio: ratio(look.head.of.mean),
                low: ratio(look.head.low),
                high: ratio(look.head.high),
                allowed: 1.0 + metric.slower,
                null_low: ratio(look.null.low),
                null_high: ratio(look.null.high),
                blocks: u32::try_from(effects.len()).unwrap_or(u32::MAX),
            }),
            reported_only: metric.reported_only,
            ..Verdict::default()
        };
        self.said(at, &look).put_into(&mut verdict);
        verdict
    }

    fn said(&self, at: usize, look: &Look) -> Said {
        let (metric, track) = (&self.metrics[at], &self.tracks[at]);
        if let Some(said) = self.faults.said() {
            return said;
        }
        if let Some(said) = track.unfit() {
            return said;
        }
        let change = |log: f64| format!("{:+.1} %", log.exp_m1() * 100.0);
        let between = format!(
            "{} ({} to {}), {} is allowed",
            change(look.head.of.mean),
            change(look.head.low),
            change(look.head.high),
            change(metric.allowed())
        );
        let between = match self.states[at] {
            State::Passed(blocks) if blocks < self.blocks => {
                format!("{between}, after {blocks} blocks")
            }
            _ => between,
        };
        match self.states[at] {
            State::Passed(_) if look.head.high <= metric.allowed() => {
                Said::pass(Word::Pass, between)
            }
            State::Passed(_) => Said::pass(
                Word::Pass,
                format!(
                    "{between}; but in nanoseconds {:+.0} ({:+.0} at most), and less than {:.0} is not told apart",
                    look.change_ns.of.mean,
                    look.change_ns.high,
                    self.grain_ns()
                ),
            ),
            State::Confirmed(blocks) => Said::bad(
                Word::Fail,
                format!("{between}; so in {blocks} blocks, and again in {LOOK_BLOCKS} fresh ones"),
                "see the blame of this hop in both reports for what changed",
            ),
            State::Failed(_) => Said::inconclusive(
                "unconfirmed",
                format!(
                    "it failed ({between}), and was cut short before a second set could confirm it"
                ),
            ),
            State::Unconfirmed => Said::inconclusive(
                "unconfirmed",
                format!(
                    "it failed once, and not in a fresh set of blocks ({between}): run the gate again"
                ),
            ),
            State::Open if metric.reported_only => {
                let runs = track.head.len().max(1) as u64;
                let frames: u64 = track.head.iter().map(|sample| sample.n).sum();
                let beyond = frames_beyond(frames / runs, &metric.quantile);
                let why = if beyond < BEYOND_MIN {
                    format!(
                        "only {beyond:.0} frames of a run lie beyond it, {BEYOND_MIN} are asked for: a higher rate, or longer runs (--for)"
                    )
                } else {
                    "it varies too much from block to block to be judged, and is shown only"
                        .to_owned()
                };
                Said::inconclusive("reported", format!("{between}: {why}"))
            }
            State::Open => self.open(at, look, &between),
        }
    }

    fn open(&self, at: usize, look: &Look, between: &str) -> Said {
        let allowed = self.metrics[at].allowed();
        if look.head.low > allowed && look.null_is_off(allowed) {
            return Said::inconclusive(
                "null-bias",
                format!(
                    "base against itself is off by {:+.1} %: something else changed meanwhile; a quieter machine, then again",
                    look.null.of.mean.exp_m1() * 100.0
                ),
            );
        }
        if look.head.low > allowed && look.change_ns.of.mean <= self.grain_ns() {
            return Said::inconclusive(
                "small",
                format!(
                    "{between}; in nanoseconds {:+.0}, near the {:.0} that can be told: a larger allowance",
                    look.change_ns.of.mean,
                    self.grain_ns()
                ),
            );
        }
        let noise = format!("{between}, blocks vary by {}", percent(look.head.of.sd));
        let next = match blocks_to_decide(look.head.of.mean, look.head.of.sd, allowed, ALPHA_LOOK) {
            _ if look.head.of.n < 2 => "cut short before two blocks were measured".to_owned(),
            Some(blocks) => {
                let minutes = blocks as f64 * self.options.block_s / 60.0;
                let took = if self.options.block_s > 0.0 {
                    format!(" ({minutes:.0} min)")
                } else {
                    String::new()
                };
                format!(
                    "{noise}: at this noise {blocks} blocks{took} would decide {}",
                    change_allowed(self.metrics[at].slower)
                )
            }
            None => format!(
                "{noise}: the change is what is allowed, and no sensible number of blocks would decide"
            ),
        };
        Said::inconclusive("noise", next)
    }
}

fn change_allowed(slower: f64) -> String {
    format!("+{}", percent(slower))
}
