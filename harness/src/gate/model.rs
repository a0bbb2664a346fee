//! What a measured run says of its spans, and what a gate says of the runs: the one JSON that everything else is made from.
//!
//! ```text
//!   a process run ─→ RunAnalysis ─┐
//!   a process run ─→ RunAnalysis ─┼─→ verdicts ─→ GateReport ─→ gate.json ─→ page, JUnit, summary, .hlog, trend
//!   a process run ─→ RunAnalysis ─┘
//! ```
//!
//! Names of fields are the keys of the JSON; spans are in nanoseconds. A reader refuses another [`SCHEMA`].
//!
//! Invariant: every figure of a verdict can be found again from the counts and histograms beside it.

use std::collections::BTreeMap;

use hopline::budget::Of;
use serde::{Deserialize, Serialize};

/// The version of these values. It rises whenever a field changes its meaning or goes.
pub const SCHEMA: u32 = 2;

/// The name of the span from the intended time of a message until its order has left, in place of a hop's.
pub const END_TO_END: &str = "end_to_end";

/// The name in place of a hop's for spans of the line as a whole that begin where it does, and for what it does to spacing.
pub const LINE: &str = "line";

/// On [`LINE`]: the span from the first offer of a message to a hop until it has left. Lateness of whoever sent it is not in it.
pub const RESIDENCE: &str = "residence";

/// On [`LINE`]: by how much the spans from end to end of two messages differ that left by one sink one after the other, which is
/// the difference between their spacing at the end and when they were due (IPDV of RFC 5481, without its sign).
pub const IPDV: &str = "ipdv";

/// The percentiles of a span. All zero where there was no sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quantiles {
    /// The median.
    pub p50: u64,
    /// Nine of ten.
    pub p90: u64,
    /// 99 of a hundred.
    pub p99: u64,
    /// 999 of a thousand.
    pub p99_9: u64,
    /// The largest, exact.
    pub max: u64,
}

/// How many frames were over a limit, and how much they came in clusters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Exceedances {
    /// Frames.
    pub n: u64,
    /// Those over the limit, counted one by one.
    pub k: u64,
    /// The design effect: by how much the counts of blocks of 200 frames vary more than independent ones would, at least 1.
    pub d: f64,
}

/// A limit of a budget, and the frames over it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LimitCounts {
    /// `p50`, `p90`, `p99`, `p99_9` or `max`.
    pub quantile: String,
    /// The limit.
    pub limit_ns: u64,
    /// All frames.
    pub raw: Exceedances,
    /// Those that the host did not touch.
    pub clean: Exceedances,
    /// From end to end only: the clean ones without what a late generator added to them. A FAIL needs it.
    #[serde(default)]
    pub from_send: Option<Exceedances>,
}

/// A span of a hop, or the one from end to end, in one run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SpanAnalysis {
    /// `from->to`, [`END_TO_END`] or [`LINE`].
    pub hop: String,
    /// `wait`, `service`, `sojourn`; [`END_TO_END`]; [`RESIDENCE`] or [`IPDV`].
    pub of: String,
    /// Frames.
    pub n: u64,
    /// Those that the host did not touch: neither a gap nor a core that ran slowly.
    pub n_clean: u64,
    /// Those that no gap touched, but whose core ran slowly.
    #[serde(default)]
    pub n_slowed: u64,
    /// Of all frames.
    pub raw: Quantiles,
    /// Of the clean ones.
    pub clean: Quantiles,
    /// What a span that costs nothing would have had by the host's gaps on the same due times.
    pub host_floor: Quantiles,
    /// The clean median of the first and of the second half of the run.
    pub clean_p50_halves: [u64; 2],
    /// The share of clean frames that gaps too short to be seen are expected to have touched.
    pub contamination: f64,
    /// Messages that were shed or lost on it and so have no span; from end to end, on any hop or in the kernel. They are not
    /// part of the counts over limits.
    #[serde(default)]
    pub shed: u64,
    /// Those of them that were shed while the host did nothing: no gap lasted, no core ran slowly, and no loop sleeps. From end to
    /// end only those of hops by which messages leave.
    #[serde(default)]
    pub shed_clean: u64,
    /// Messages that found no room in the logs it is made from: those of its hop, or of all hops for spans of the line. With
    /// any, it is not judged.
    #[serde(default)]
    pub log_lost: u64,
    /// The names of the loops on its path: those that feed its hop, its consumer's, and those that can hold either back; of
    /// `service` only the consumer's and those that can hold it back. All loops count where none is named.
    #[serde(default)]
    pub loops: Vec<String>,
    /// The limits of its budget, and the counts over them.
    pub limits: Vec<LimitCounts>,
    /// Causes of the frames at or above the raw P99, by name.
    pub blame: BTreeMap<String, u64>,
    /// All frames as an HdrHistogram in its V2 encoding, base64.
    pub raw_histogram: String,
    /// The clean ones likewise.
    pub clean_histogram: String,
}

/// A loop in one run, as its own hiccup meter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LoopAnalysis {
    /// The thread's name.
    pub name: String,
    /// The core it was bound to.
    pub core: Option<usize>,
    /// `spin`, `yield` or `park`. A loop that parks is no meter: it is not there when a gap begins.
    pub wait: String,
    /// From how long on an idle, polling or glue segment is a gap.
    pub gap_from_ns: u64,
    /// From how long on a receive segment is one.
    pub receive_gap_from_ns: u64,
    /// Gaps of the host.
    pub gaps: u64,
    /// Their share of the time.
    pub gap_share: f64,
    /// Gaps by the kind of segment that they were found in.
    pub gaps_by_kind: BTreeMap<String, u64>,
    /// The program's own doing, by name: `page_fault`, `blocked_in_handler`, and `shootdown` for gaps at the time of one of
    /// these on another loop.
    pub own_faults: BTreeMap<String, u64>,
    /// The share of the time that those touch.
    pub own_fault_share: f64,
    /// What the piece of work that shows a core's pace usually took, in nanoseconds; 0 where it was not looked at often enough.
    #[serde(default)]
    pub usual_work_ns: u64,
    /// The share of the time in which it took longer, since a neighbour used the same core.
    #[serde(default)]
    pub slowed_share: f64,
    /// Segments that the bounded log had no room for: with any, the run is not judged.
    pub log_lost: u64,
    /// Looks at how fast the core ran that had none, likewise: how fast it was at the end is not known.
    #[serde(default)]
    pub looks_lost: u64,
}

impl LoopAnalysis {
    /// What the loop's logs had no room for, of whatever kind.
    #[must_use]
    pub fn cut(&self) -> u64 {
        self.log_lost + self.looks_lost
    }
}

/// What a bare wake takes on a run's cores, right before and after it: the reference for loops that park, which see no gaps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WakeProbe {
    /// The loop that parks, for which it stands.
    pub of: String,
    /// The core that woke, and the one that was woken.
    pub cores: [usize; 2],
    /// How often.
    pub wakes: u64,
    /// From the wake until the thread ran.
    pub late: Quantiles,
}

/// What was sent into the line by its own generators.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GeneratorAnalysis {
    /// The source that it fed.
    pub source: String,
    /// What was due, a second.
    pub offered_per_s: f64,
    /// What was sent, a second.
    pub achieved_per_s: f64,
    /// Messages that were due and never sent.
    pub missed: u64,
    /// Datagrams that came to the source beyond all that it sent: somebody else sends there as well.
    #[serde(default)]
    pub others: u64,
    /// How late what was sent was.
    pub lateness: Quantiles,
}

/// What the ledger of a run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerAnalysis {
    /// Whether all equations hold.
    pub closed: bool,
    /// Those that do not, in words.
    pub breaches: Vec<String>,
    /// What was lost where nothing may be, in words.
    pub losses: Vec<String>,
    /// Messages shed, by hop and reason.
    pub shed: BTreeMap<String, u64>,
    /// Messages that the kernel dropped, by source.
    pub kernel_dropped: BTreeMap<String, u64>,
}

/// A stop of a frame on its way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// `from->to`.
    pub hop: String,
    /// On the hop.
    pub wait_ns: u64,
    /// In the handler.
    pub service_ns: u64,
}

/// One of the worst frames, with its way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorstFrame {
    /// From the start of the measured span to its due time.
    pub at_ns: u64,
    /// From its due time until it was done with.
    pub took_ns: u64,
    /// From its due time until it was first offered to a hop, which is before its way begins.
    #[serde(default)]
    pub late_ns: u64,
    /// `queueing`, `service`, `held_back{CONSUMER}`, `host_gap`, `preempted`, `page_fault`, `blocked_in_handler`, `shootdown` or
    /// `interrupt_or_own`.
    pub cause: String,
    /// Where, if the cause has a place: a hop, a node or a loop.
    pub place: String,
    /// Its way, hop by hop.
    pub path: Vec<Stop>,
}

/// A slice of the run, for the timeline.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice {
    /// From the start of the measured span.
    pub at_ns: u64,
    /// Frames that were due in it.
    pub frames: u64,
    /// The slowest of them, from end to end.
    pub max_ns: u64,
    /// Those that the host touched: by a gap, or since their core ran slowly.
    pub tainted: u64,
    /// Those of them that no gap touched.
    #[serde(default)]
    pub slowed: u64,
    /// Time in which a gap lasted on some loop; where those of several overlap it counts once.
    pub gap_ns: u64,
    /// Messages shed on hops: noticed in it, up to a millisecond after they were.
    pub shed: u64,
    /// Most messages that waited on one hop.
    pub depth_max: u64,
}

/// How far two cores are from each other: what a cache line takes from one to the other, the median of two thousand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoresApart {
    /// Those two.
    pub cores: [usize; 2],
    /// Right before the run.
    pub before_ns: u64,
    /// Right after it.
    pub after_ns: u64,
}

/// What one process run came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunAnalysis {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The line's name.
    pub line: String,
    /// The line's clock: `tsc` or `os`.
    #[serde(default)]
    pub clock: String,
    /// By how much the line's clock ran faster than the system's over the run, in parts per million; below 0 if slower.
    #[serde(default)]
    pub clock_drift_ppm: f64,
    /// What a reading of the line's clock cost.
    #[serde(default)]
    pub clock_cost_ns: f64,
    /// What the generator of the first source drew from, and the next ones from as many more; 0 where nothing was drawn.
    pub seed: u64,
    /// What was measured, after the warm-up.
    pub span_ns: u64,
    /// The least time for which a frame counts as exposed to gaps, whatever it took.
    pub exposure_ns: u64,
    /// Each loop.
    pub loops: Vec<LoopAnalysis>,
    /// What a bare wake takes, where a loop parks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wake_probe: Option<WakeProbe>,
    /// How far the cores of the line and its sender were from each other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cores_apart: Vec<CoresApart>,
    /// Each span of each hop, and the one from end to end.
    pub spans: Vec<SpanAnalysis>,
    /// Each generator.
    pub generators: Vec<GeneratorAnalysis>,
    /// Whether the line held its sources back: hops had no room, or the loop of a source that makes its messages in its own turn
    /// had no time for it.
    pub source_held_back: bool,
    /// What was counted.
    pub ledger: LedgerAnalysis,
    /// The worst frames, worst first.
    pub worst: Vec<WorstFrame>,
    /// The run in slices of equal length.
    pub timeline: Vec<Slice>,
    /// What a person should know.
    pub notes: Vec<String>,
}

impl RunAnalysis {
    /// The source to which most datagrams came that its generator did not send, with their share of what it sent.
    #[must_use]
    pub fn others(&self) -> Option<(&str, f64)> {
        let fed = self.generators.iter().filter(|one| one.others > 0);
        fed.map(|one| {
            let sent = one.achieved_per_s * self.span_ns as f64 / 1e9;
            (&*one.source, one.others as f64 / sent.max(1.0))
        })
        .max_by(|(_, one), (_, other)| one.total_cmp(other))
    }

    /// The hops whose logs had no room for all messages, with how many found none.
    pub fn cut_hops(&self) -> impl Iterator<Item = (&str, u64)> {
        // Once for each hop.
        let of_hops = self
            .spans
            .iter()
            .filter(|span| span.of == Of::Sojourn.name());
        let cut = of_hops.filter(|span| span.log_lost > 0);
        cut.map(|span| (&*span.hop, span.log_lost))
    }

    /// The least part of its offered rate that a generator sent. None where none has one; 0 where a rate is no number.
    #[must_use]
    pub fn sent_share(&self) -> Option<f64> {
        let paced = self
            .generators
            .iter()
            .filter(|generator| generator.offered_per_s > 0.0);
        paced
            .map(|generator| generator.achieved_per_s / generator.offered_per_s)
            .map(|share| if share.is_nan() { 0.0 } else { share })
            .reduce(f64::min)
    }
}

/// A verdict's word.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Word {
    /// Raw figures hold the budget, or head is no slower than allowed.
    Pass,
    /// Only without the frames that the host touched.
    PassClean,
    /// No word can be said; the reason says why, the next step what would decide.
    #[default]
    Inconclusive,
    /// The budget does not hold, or head is slower.
    Fail,
    /// Frames were lost where none may be.
    Loss,
}

/// Head against base.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The clean quantile of base.
    pub base_ns: u64,
    /// Head over base, as a ratio.
    pub ratio: f64,
    /// The interval of that ratio: 90 % over the two looks together, which is 95 % at each.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
    /// The largest ratio that is allowed, such as 1.05.
    pub allowed: f64,
    /// The interval of base against itself, which a right measurement has around 1.
    pub null_low: f64,
    /// Its upper end.
    pub null_high: f64,
    /// Blocks of three arms.
    pub blocks: u32,
}

/// A quantile of a span, judged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// `from->to`, or [`END_TO_END`].
    pub hop: String,
    /// Which span of it.
    pub of: String,
    /// `p50`, `p90`, `p99`, `p99_9` or `max`.
    pub quantile: String,
    /// The budget, if there is one.
    pub budget_ns: Option<u64>,
    /// Frames, over all runs.
    pub n: u64,
    /// Clean ones.
    pub n_clean: u64,
    /// Those that no gap touched, but whose core ran slowly.
    #[serde(default)]
    pub n_slowed: u64,
    /// One less the share of clean ones.
    pub tainted_share: f64,
    /// The quantile of all frames: the geometric mean of the runs' ones; of `max`, the largest.
    pub raw_ns: u64,
    /// The quantile of the clean ones, likewise.
    pub clean_ns: u64,
    /// Bounds of that quantile, 95 % each: by its counts, and never narrower than what the runs came to; for a comparison by
    /// what the blocks came to.
    pub clean_low_ns: u64,
    /// The upper one.
    pub clean_high_ns: u64,
    /// The host's floor at that quantile.
    pub host_floor_ns: u64,
    /// Counts over the budget, over all runs.
    pub raw: Exceedances,
    /// The same of clean frames.
    pub clean: Exceedances,
    /// Where head is judged against base.
    pub change: Option<Change>,
    /// The word.
    pub word: Word,
    /// Why, in one or two words for INCONCLUSIVE (`dirty`, `band`, `rate`), in a clause for the others.
    pub reason: String,
    /// What would decide, or mend; empty for a pass.
    pub next_step: String,
    /// Whether it is shown only, and no part of the word for all verdicts together.
    #[serde(default)]
    pub reported_only: bool,
}

/// A rate at which the budget was asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CapacityStep {
    /// Messages a second, all sources together.
    pub rate_per_s: f64,
    /// The multiple of the case's own rates that this is.
    pub factor: f64,
    /// Process runs.
    pub runs: u32,
    /// The word for all budgets together.
    pub word: Word,
    /// Whether they were shown to hold.
    pub holds: bool,
    /// The verdict that decided: the worst, or of those that pass the one nearest to its budget.
    pub decided_by: Verdict,
}

/// The highest rate whose budgets hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Capacity {
    /// The highest rate that was shown to hold them, in messages a second, all sources together; none if none was.
    pub holds_per_s: Option<f64>,
    /// The lowest rate above it that was not shown to; none if every rate was.
    pub fails_per_s: Option<f64>,
    /// How near to each other the two were to come: 0.05 for 5 %.
    pub within: f64,
    /// What it came to, in a sentence.
    pub answer: String,
    /// Every rate that was tried, in the order of the search.
    pub steps: Vec<CapacityStep>,
}

/// What a gate, a bench or a comparison came to: `gate.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GateReport {
    /// [`SCHEMA`].
    pub schema: u32,
    /// `bench`, `bench --find-capacity`, `gate`, `gate --base` or `gate --base-rev`.
    pub command: String,
    /// The program's version.
    pub version: String,
    /// The case, as it was called.
    pub case: String,
    /// Seconds since 1970, UTC, when it began.
    pub began_unix_s: u64,
    /// How long it took.
    pub took_s: f64,
    /// Facts of the machine by name: `cpu`, `cores`, `kernel`, `governor`, `virtual`, `clock`, `clock_cost_ns`, and `fingerprint`, which is
    /// the same for the same kind of machine.
    pub host: BTreeMap<String, String>,
    /// What was judged: the path of a binary.
    pub head: String,
    /// What that file held when it began: the FNV-1a hash of 64 bits, in hexadecimal digits, so that two reports show whether they
    /// are of the same build. From which revision it was built is not known here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_hash: Option<String>,
    /// What it was judged against: the path of a binary, or a revision as it was asked for with the commit that it was.
    pub base: Option<String>,
    /// The same hash of base.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_hash: Option<String>,
    /// The words of the command line, the name of the program first, as it was called.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
    /// Whether the gate was cut short: what is here is what was there by then.
    pub partial: bool,
    /// The verdicts, worst first.
    pub verdicts: Vec<Verdict>,
    /// The word for all of them together.
    pub word: Word,
    /// The exit code that it ended with.
    pub exit_code: u8,
    /// The process runs of head.
    pub runs: Vec<RunAnalysis>,
    /// Those of base.
    pub base_runs: Vec<RunAnalysis>,
    /// The highest rate whose budgets hold, where that was asked for; `runs` and `verdicts` are then those of that rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Capacity>,
    /// What a person should know.
    pub notes: Vec<String>,
}
