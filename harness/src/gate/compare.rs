//! "Head is no more than so much slower than base": from blocks of process runs to verdicts.
//!
//! What repeats is the process run, not the frame: one run is one number, the logarithm of its clean quantile. A block is six
//! runs of three arms, base, head and base again, forth and back ([`order`]), so that drift over the block cancels out. What
//! head does in a block is its mean less that of both bases; base against base again is the null control.
//!
//! ```text
//!              ┌────────────── undecided, 12 more ──────────────┐
//!   12 blocks ─┴→ look ─ FAIL? ─→ 12 fresh blocks ─→ FAIL again? ─→ FAIL
//!                  └─ all PASS ─→ done
//! ```
//!
//! - Looks are taken at 12 and at 24 blocks, each with half of the chance of a wrong word: a 90 % two-sided interval in all,
//!   95 % at each look (Pocock, *Group sequential methods*, Biometrika 64, 1977; halves, as Bonferroni).
//! - Many short blocks rather than few long ones: what varies is the state of the host from one run to the next, not the
//!   frames of a run. A fifth of the blocks is cut off on each side ([`Moments::trimmed`](super::stats::Moments::trimmed)).
//! - FAIL: the interval lies above what is allowed, by Holm's correction over all spans that are judged, and the change itself
//!   is more than can be told (50 ns, or two readings of the clock). A second, fresh set of blocks must fail as well; for the
//!   spans that were undecided it is the second look.
//! - PASS: the interval lies below what is allowed, or that of the change below what can be told.
//! - Base against itself off by more than a quarter of what is allowed, surely: no FAIL from such a measurement.
//! - Gaps that touched head and base by shares 5 points apart: no word, since what is left is not alike.
//!
//! Raw figures never enter: beside a neighbour they measure the scheduler's slice.
//!
//! ```
//! use hopline_harness::gate::compare::{Comparison, Next, Options};
//! let comparison = Comparison::new(Vec::new(), Options::default());
//! assert!(matches!(comparison.next(), Next::Done(verdicts) if verdicts.is_empty()));
//! ```
//!
//! Invariant: the words follow from the blocks and options alone, in whatever time they were measured.

mod judge;

use super::budget::{share, value_ns};
use super::model::{END_TO_END, RunAnalysis, Verdict};

/// The chance of a wrong word on each side, over both looks together: a 90 % two-sided interval.
pub const ALPHA: f64 = 0.05;

/// Blocks from one look to the next, and of a set that confirms.
pub const LOOK_BLOCKS: usize = 12;

/// How many looks there are.
pub const LOOKS: usize = 2;

/// Changes that are not told from the layout of a binary and the cost of a stamp, whatever their ratio.
pub const CHANGE_MIN_NS: f64 = 50.0;

/// Most that the tainted shares of head and base may differ by.
pub const EXPOSURE_MAX: f64 = 0.05;

/// The part of the allowed change beyond which base against itself spoils a FAIL.
pub const NULL_PART: f64 = 0.25;

/// The least change that is judged from end to end: block to block, that P99 varies by up to 9 %.
pub const END_TO_END_MIN: f64 = 0.10;

/// Fewest frames of a run that must lie beyond a quantile for it to be judged. With fewer it is the value of a few odd frames,
/// which half a gate would not average out.
pub const BEYOND_MIN: f64 = 20.0;

/// Process runs of a block.
pub const BLOCK_RUNS: usize = 6;

/// Who runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arm {
    /// The binary that is judged against.
    Base,
    /// The one that is judged.
    Head,
    /// Base once more, which must not differ from itself.
    BaseAgain,
}

/// Who runs when in the block of that number, from 0: there and back, begun by the other end in every second block.
///
/// ```
/// use hopline_harness::gate::compare::{Arm, order};
/// assert_eq!(order(0)[..3], [Arm::Base, Arm::Head, Arm::BaseAgain]);
/// assert_eq!(order(1)[..3], [Arm::BaseAgain, Arm::Head, Arm::Base]);
/// ```
#[must_use]
pub const fn order(block: usize) -> [Arm; BLOCK_RUNS] {
    use Arm::{Base as A, BaseAgain as C, Head as B};
    if block.is_multiple_of(2) {
        [A, B, C, C, B, A]
    } else {
        [C, B, A, A, B, C]
    }
}

/// A quantile of a span that is compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// `from->to`, or [`END_TO_END`].
    pub hop: String,
    /// Which span of it.
    pub of: String,
    /// `p50`, `p90`, `p99`, `p99_9` or `max`.
    pub quantile: String,
    /// By how much head may be slower: 0.05 for 5 %.
    pub slower: f64,
    /// Whether it is only shown.
    pub reported_only: bool,
}

/// What is compared unless somebody says otherwise: of each hop `service` and `sojourn` at P50 and P99, `residence` in the
/// line at P50, and from end to end P50 and P99, these by at least [`END_TO_END_MIN`]. The P99.9 from end to end is only shown:
/// it varies by 10 to 18 % from block to block. So is a quantile beyond which fewer than [`BEYOND_MIN`] frames of
/// `run` lie.
#[must_use]
pub fn metrics(run: &RunAnalysis, slower: f64) -> Vec<Metric> {
    let mut metrics = Vec::new();
    for span in &run.spans {
        let end_to_end = span.hop == END_TO_END;
        let quantiles: &[&str] = match span.of.as_str() {
            _ if end_to_end => &["p50", "p99", "p99_9"],
            "service" | "sojourn" => &["p50", "p99"],
            "residence" => &["p50"],
            _ => &[],
        };
        metrics.extend(quantiles.iter().map(|&quantile| Metric {
            hop: span.hop.clone(),
            of: span.of.clone(),
            quantile: quantile.to_owned(),
            slower: if end_to_end {
                slower.max(END_TO_END_MIN)
            } else {
                slower
            },
            // Where there was no frame at all it is judged, and found to have no samples.
            reported_only: quantile == "p99_9"
                || (span.n > 0 && frames_beyond(span.n, quantile) < BEYOND_MIN),
        }));
    }
    metrics
}

/// How many of so many frames lie beyond a quantile.
fn frames_beyond(frames: u64, quantile: &str) -> f64 {
    frames as f64 * (1.0 - share(quantile).unwrap_or(1.0))
}

/// How to compare.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// What one reading of the clock costs; a change below two of them is none.
    pub clock_cost_ns: f64,
    /// How long a block takes, for "so many blocks would decide". Not said where it is 0.
    pub block_s: f64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            clock_cost_ns: 25.0,
            block_s: 0.0,
        }
    }
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Measure so many blocks and give them to [`Comparison::block`].
    RunBlocks(usize),
    /// Something failed: measure so many blocks afresh, with new seeds, to see whether it does so again.
    Confirm(usize),
    /// The verdicts, worst first.
    Done(Vec<Verdict>),
}

/// What one process run says of one metric.
#[derive(Clone, Copy, Debug)]
struct Sample {
    clean_ns: u64,
    raw_ns: u64,
    host_floor_ns: u64,
    n: u64,
    n_clean: u64,
    n_slowed: u64,
}

/// A block as one number for each arm, of one metric.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Effect {
    /// Head less base, of logarithms.
    head: f64,
    /// Base again less base.
    null: f64,
    /// The change in nanoseconds.
    change_ns: f64,
    /// The logarithm of head's clean quantile.
    head_log: f64,
    /// That of base.
    base_log: f64,
}

/// All that was measured of one metric.
#[derive(Clone, Debug, Default)]
struct Track {
    /// By block; none where a run had no clean frame.
    effects: Vec<Option<Effect>>,
    head: Vec<Sample>,
    base: Vec<Sample>,
}

/// Where a metric stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    /// Passed at the look after so many blocks.
    Passed(usize),
    /// Failed at the look after so many blocks; what comes after those must confirm it.
    Failed(usize),
    Confirmed(usize),
    /// Failed once, and not again.
    Unconfirmed,
}

/// A comparison that is fed block by block and says what it wants next.
#[derive(Clone, Debug)]
pub struct Comparison {
    metrics: Vec<Metric>,
    options: Options,
    tracks: Vec<Track>,
    states: Vec<State>,
    blocks: usize,
    faults: judge::Faults,
}

impl Comparison {
    /// Nothing measured yet.
    #[must_use]
    pub fn new(metrics: Vec<Metric>, options: Options) -> Comparison {
        Comparison {
            tracks: vec![Track::default(); metrics.len()],
            states: vec![State::default(); metrics.len()],
            metrics,
            options,
            blocks: 0,
            faults: judge::Faults::default(),
        }
    }

    /// How many blocks were given so far; the number of the next one for [`order`].
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.blocks
    }

    /// Takes a block: its six runs with their arms, in any order. A block without a run of each arm counts as one with
    /// nothing in it.
    pub fn block(&mut self, runs: &[(Arm, RunAnalysis)]) {
        for (arm, run) in runs {
            self.faults.note(*arm, run);
        }
        for (metric, track) in self.metrics.iter().zip(&mut self.tracks) {
            track.take(metric, runs);
        }
        self.blocks += 1;
        if self.blocks.is_multiple_of(LOOK_BLOCKS) {
            self.look();
        }
    }

    /// Says how long a block takes, in seconds, for "so many blocks would decide".
    pub fn block_takes(&mut self, seconds: f64) {
        self.options.block_s = seconds;
    }

    /// What to do next.
    #[must_use]
    pub fn next(&self) -> Next {
        let set = LOOK_BLOCKS - self.blocks % LOOK_BLOCKS;
        let begun = !self.blocks.is_multiple_of(LOOK_BLOCKS) || self.blocks == 0;
        if self.metrics.is_empty() || self.faults.hopeless() {
            return Next::Done(self.verdicts());
        }
        let judged = || {
            let both = self.metrics.iter().zip(&self.states);
            both.filter(|(metric, _)| !metric.reported_only)
                .map(|(_, state)| *state)
        };
        if judged().any(|state| matches!(state, State::Failed(_))) {
            return Next::Confirm(set);
        }
        let looks_left = self.blocks < LOOK_BLOCKS * LOOKS;
        if begun || (looks_left && judged().any(|state| state == State::Open)) {
            return Next::RunBlocks(set);
        }
        Next::Done(self.verdicts())
    }
}

impl Track {
    fn take(&mut self, metric: &Metric, runs: &[(Arm, RunAnalysis)]) {
        let mut logs: [Vec<f64>; 3] = Default::default();
        for (arm, run) in runs {
            let Some(sample) = Sample::of(metric, run) else {
                continue;
            };
            let of_arm = match arm {
                Arm::Base => 0,
                Arm::Head => 1,
                Arm::BaseAgain => 2,
            };
            if *arm == Arm::Head {
                self.head.push(sample);
            } else {
                self.base.push(sample);
            }
            if sample.n_clean > 0 {
                logs[of_arm].push((sample.clean_ns.max(1) as f64).ln());
            }
        }
        let each = runs.len() / 3;
        if logs.iter().any(|logs| logs.is_empty() || logs.len() < each) {
            self.effects.push(None);
            return;
        }
        let [base, head, again] = logs.map(|logs| logs.iter().sum::<f64>() / logs.len() as f64);
        let both = f64::midpoint(base, again);
        self.effects.push(Some(Effect {
            head: head - both,
            null: again - base,
            change_ns: head.exp() - both.exp(),
            head_log: head,
            base_log: both,
        }));
    }
}

impl Sample {
    fn of(metric: &Metric, run: &RunAnalysis) -> Option<Sample> {
        let spans = &run.spans;
        let span = spans
            .iter()
            .find(|span| span.hop == metric.hop && span.of == metric.of)?;
        Some(Sample {
            clean_ns: value_ns(&span.clean, &metric.quantile)?,
            raw_ns: value_ns(&span.raw, &metric.quantile)?,
            host_floor_ns: value_ns(&span.host_floor, &metric.quantile)?,
            n: span.n,
            n_clean: span.n_clean,
            n_slowed: span.n_slowed,
        })
    }
}

#[cfg(test)]
mod tests;
