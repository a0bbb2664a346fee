//! From what a run noted to what can be judged: which frames the host touched, quantiles and counts, causes.
//!
//! ```text
//!   Evidence ─→ gaps ─→ exposure G (from a first pass) ─→ taint ─→ spans of each hop, raw and clean ─→ RunAnalysis
//! ```
//!
//! Invariant: the same evidence and options give the same analysis.

use std::collections::BTreeMap;

use hopline::budget::taint::{Gaps, Interval, Thresholds, is_own};
use hopline::budget::{Evidence, Of, Passage, Quantile, Segment};
use hopline::topology::Report;

use super::blame::{self, Causes};
use super::budget::JITTER;
use super::model::{
    END_TO_END, GeneratorAnalysis, LedgerAnalysis, LimitCounts, LoopAnalysis, RunAnalysis, SCHEMA,
    Slice, SpanAnalysis,
};
use super::spans::{encoded, exceedances, quantile, quantiles};

/// The least exposure, in nanoseconds, and the one of the first pass.
pub const EXPOSURE_MIN_NS: u64 = 20_000;

/// Slices of the timeline: a pixel or more each on any page.
const SLICES: u64 = 200;

/// What an analysis needs beside the evidence.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// What the generators drew from.
    pub seed: u64,
    /// Frames that were due earlier are the warm-up's, in nanoseconds from the start of the line.
    pub warmup_ns: u64,
    /// The exposure, if it was settled by another run.
    pub exposure_ns: Option<u64>,
    /// Most that P99 may lie above P50 from end to end, in nanoseconds, if the case says so.
    pub jitter_ns: Option<u64>,
    /// Gaps of the generators' own loops.
    pub generator_gaps: Vec<Interval>,
    /// What the generators say of themselves.
    pub generators: Vec<GeneratorAnalysis>,
}

/// A frame of a span: what it took and whether a gap touched it.
#[derive(Clone, Copy, Debug)]
struct Taken {
    ns: u64,
    due_ns: u64,
    is_tainted: bool,
}

/// Analyses a run.
#[must_use]
pub fn analyse(report: &Report, evidence: &Evidence, given: &Given) -> RunAnalysis {
    let from_ns = evidence.began_ns + given.warmup_ns;
    let until_ns = last_done_ns(evidence).max(from_ns);
    let gaps = Gaps::find(evidence, &given.generator_gaps);
    let measured = |passage: &&Passage| passage.due_ns() >= from_ns;
    let exposure_ns = given
        .exposure_ns
        .unwrap_or_else(|| exposure(evidence, &gaps, from_ns));
    let floors = Floors::new(evidence, &gaps, from_ns, until_ns);
    let causes = Causes::new(evidence, &gaps);
    let mut spans = Vec::new();
    for (at, (hop, reported)) in evidence.hops.iter().zip(&report.hops).enumerate() {
        let passages: Vec<&Passage> = hop.passages.iter().filter(measured).collect();
        for of in Of::ALL {
            let taken: Vec<Taken> = passages
                .iter()
                .map(|passage| Taken {
                    ns: match of {
                        Of::Wait => u64::from(passage.wait_ns),
                        Of::Service => u64::from(passage.service_ns),
                        Of::Sojourn => passage.sojourn_ns(),
                    },
                    due_ns: passage.t_offer_ns,
                    is_tainted: gaps.taint(passage, exposure_ns),
                })
                .collect();
            let budget = reported.budget.as_ref().filter(|budget| budget.of == of);
            let limits = budget.map(|budget| &budget.limits_ns);
            let mut span = floors.span((&hop.name, of.name()), &taken, limits);
            // Those of the warm-up count too: what was shed is never overlooked. When it was shed is not known, so none of it
            // counts as clean: it can keep a budget from passing, and not make it fail.
            span.shed = reported.shed.values().sum();
            if of == Of::Sojourn {
                span.blame = causes.of_tail(at, &passages, span.raw.p99);
            }
            spans.push(span);
        }
    }
    let left: Vec<&Passage> = leaving(evidence).filter(measured).collect();
    let taken: Vec<Taken> = left
        .iter()
        .map(|passage| Taken {
            ns: passage.end_to_end_ns(),
            due_ns: passage.due_ns(),
            is_tainted: gaps.taint(passage, exposure_ns),
        })
        .collect();
    let objective = report.end_to_end.budget.as_ref();
    let limits = objective.map(|budget| &budget.limits_ns);
    let mut whole = floors.span((END_TO_END, END_TO_END), &taken, limits);
    whole.limits.extend(
        given
            .jitter_ns
            .map(|limit_ns| jitter(&taken, &whole, limit_ns)),
    );
    let dropped: u64 = report
        .ledger
        .sources
        .values()
        .map(|source| source.kernel_dropped)
        .sum();
    whole.shed = dropped + report.hops.iter().map(|hop| hop.shed_once()).sum::<u64>();
    let worst = blame::worst(evidence, &causes, &left, from_ns);
    for frame in &worst {
        *whole.blame.entry(frame.cause.clone()).or_default() += 1;
    }
    spans.push(whole);
    RunAnalysis {
        schema: SCHEMA,
        line: report.line.name.clone(),
        clock: report.line.clock.to_owned(),
        seed: given.seed,
        span_ns: until_ns - from_ns,
        exposure_ns,
        loops: loops(report, evidence, from_ns, until_ns, exposure_ns),
        wake_probe: None,
        spans,
        generators: given.generators.clone(),
        source_held_back: report
            .stages
            .iter()
            .any(|stage| stage.role == "source" && stage.regimes_ns.held_back > 0),
        ledger: ledger(report),
        worst,
        timeline: timeline(&taken, &gaps, from_ns, until_ns),
        notes: lost_words(evidence),
    }
}

/// The limit on P99 less P50: frames that lie above the median by more than it.
fn jitter(taken: &[Taken], whole: &SpanAnalysis, limit_ns: u64) -> LimitCounts {
    let all: Vec<u64> = taken.iter().map(|frame| frame.ns).collect();
    let clean = taken.iter().filter(|frame| !frame.is_tainted);
    let clean: Vec<u64> = clean.map(|frame| frame.ns).collect();
    LimitCounts {
        quantile: JITTER.to_owned(),
        limit_ns,
        raw: exceedances(&all, whole.raw.p50.saturating_add(limit_ns)),
        clean: exceedances(&clean, whole.clean.p50.saturating_add(limit_ns)),
        ..LimitCounts::default()
    }
}

/// The messages that left the line, over all hops that end in a sink which counts.
fn leaving(evidence: &Evidence) -> impl Iterator<Item = &Passage> {
    let passages = evidence.hops.iter().flat_map(|hop| &hop.passages);
    passages.filter(|passage| passage.has_left())
}

fn last_done_ns(evidence: &Evidence) -> u64 {
    let done = evidence
        .hops
        .iter()
        .filter_map(|hop| hop.passages.last())
        .map(Passage::done_ns);
    done.max().unwrap_or(0)
}

/// The exposure by a first pass with the least one: twice the clean P99.9 from end to end, so that a slow program's frames
/// are no likelier to be touched than a quick one's.
fn exposure(evidence: &Evidence, gaps: &Gaps, from_ns: u64) -> u64 {
    let clean = leaving(evidence)
        .filter(|passage| passage.due_ns() >= from_ns && !gaps.taint(passage, EXPOSURE_MIN_NS));
    let mut clean: Vec<u64> = clean.map(Passage::end_to_end_ns).collect();
    clean.sort_unstable();
    (2 * quantile(&clean, 0.999)).max(EXPOSURE_MIN_NS)
}

/// What all spans of a run share.
struct Floors<'a> {
    gaps: &'a Gaps,
    /// Stretches that hide, a nanosecond, and how long they are on average.
    hidden_per_ns: f64,
    hidden_mean_ns: f64,
}

impl<'a> Floors<'a> {
    fn new(evidence: &Evidence, gaps: &'a Gaps, from_ns: u64, until_ns: u64) -> Floors<'a> {
        // Idle stretches that are no gap yet and no turn any more: what hides among clean frames.
        let (mut count, mut length_ns) = (0u64, 0u64);
        for noted in &evidence.loops {
            let thresholds = Thresholds::of(noted);
            let hidden = noted.segments.iter().filter(|segment| {
                segment.kind == Segment::Idle
                    && segment.start_ns >= from_ns
                    && segment.len_ns > 2 * noted.idle_p99_9_ns
                    && !thresholds.is_gap(segment)
            });
            for segment in hidden {
                count += 1;
                length_ns += segment.len_ns;
            }
        }
        let mean_ns = length_ns as f64 / count.max(1) as f64;
        let span_ns = until_ns.saturating_sub(from_ns).max(1) as f64;
        Floors {
            gaps,
            hidden_per_ns: count as f64 / span_ns,
            hidden_mean_ns: mean_ns,
        }
    }

    /// The quantiles of frames that cost nothing and are only held up by the gaps that they meet.
    fn host(&self, taken: &[Taken]) -> Vec<u64> {
        let mut floor: Vec<u64> = taken
            .iter()
            .map(|frame| {
                let met = self.gaps.first_seen_at(frame.due_ns);
                met.map_or(0, |gap| gap.end_ns - frame.due_ns)
            })
            .collect();
        floor.sort_unstable();
        floor
    }

    fn span(
        &self,
        (hop, of): (&str, &str),
        taken: &[Taken],
        limits: Option<&BTreeMap<&'static str, u64>>,
    ) -> SpanAnalysis {
        let raw: Vec<u64> = taken.iter().map(|frame| frame.ns).collect();
        let clean: Vec<u64> = taken
            .iter()
            .filter(|frame| !frame.is_tainted)
            .map(|frame| frame.ns)
            .collect();
        // A stretch makes a frame longer if it falls into the span itself.
        let mean_ns = clean.iter().sum::<u64>() as f64 / clean.len().max(1) as f64;
        let halves = [&clean[..clean.len() / 2], &clean[clean.len() / 2..]].map(|half| {
            let mut half = half.to_vec();
            half.sort_unstable();
            quantile(&half, 0.5)
        });
        let counts = limits
            .into_iter()
            .flatten()
            .map(|(name, limit_ns)| LimitCounts {
                quantile: (*name).to_owned(),
                limit_ns: *limit_ns,
                raw: exceedances(&raw, *limit_ns),
                clean: exceedances(&clean, *limit_ns),
                ..LimitCounts::default()
            });
        let limits = counts.collect();
        let (raw_histogram, clean_histogram) = (encoded(&raw), encoded(&clean));
        let (mut raw, mut clean) = (raw, clean);
        raw.sort_unstable();
        clean.sort_unstable();
        SpanAnalysis {
            hop: hop.to_owned(),
            of: of.to_owned(),
            n: raw.len() as u64,
            n_clean: clean.len() as u64,
            raw: quantiles(&raw),
            clean: quantiles(&clean),
            host_floor: quantiles(&self.host(taken)),
            clean_p50_halves: halves,
            contamination: (self.hidden_per_ns * (mean_ns + self.hidden_mean_ns)).min(1.0),
            limits,
            blame: BTreeMap::new(),
            raw_histogram,
            clean_histogram,
            ..SpanAnalysis::default()
        }
    }
}

fn loops(
    report: &Report,
    evidence: &Evidence,
    from_ns: u64,
    until_ns: u64,
    exposure_ns: u64,
) -> Vec<LoopAnalysis> {
    let span_ns = until_ns.saturating_sub(from_ns).max(1) as f64;
    let of_loop = |(noted, placed): (
        &hopline::budget::LoopEvidence,
        &hopline::topology::LoopReport,
    )| {
        let thresholds = Thresholds::of(noted);
        let mut found = LoopAnalysis {
            name: placed.planned.name.clone(),
            core: placed.pinned,
            wait: placed.planned.wait.clone(),
            gap_from_ns: thresholds.idle_ns,
            receive_gap_from_ns: thresholds.receive_ns,
            log_lost: noted.lost,
            ..LoopAnalysis::default()
        };
        let (mut gap_ns, mut own_ns) = (0u64, 0u64);
        let measured = |segment: &&hopline::budget::LongSegment| segment.start_ns >= from_ns;
        for segment in noted.segments.iter().filter(measured) {
            if thresholds.is_gap(segment) {
                found.gaps += 1;
                gap_ns += segment.len_ns;
                *found
                    .gaps_by_kind
                    .entry(segment.kind.name().to_owned())
                    .or_default() += 1;
            } else if is_own(segment) {
                *found
                    .own_faults
                    .entry(blame::own_name(segment).to_owned())
                    .or_default() += 1;
                own_ns += segment.len_ns + exposure_ns;
            }
        }
        found.gap_share = gap_ns as f64 / span_ns;
        found.own_fault_share = (own_ns as f64 / span_ns).min(1.0);
        found
    };
    evidence
        .loops
        .iter()
        .zip(&report.placement)
        .map(of_loop)
        .collect()
}

fn ledger(report: &Report) -> LedgerAnalysis {
    let ledger = &report.ledger;
    let mut shed = BTreeMap::new();
    for hop in &report.hops {
        for (reason, count) in &hop.shed {
            shed.insert(format!("{} {reason}", hop.name), *count);
        }
    }
    let dropped = ledger
        .sources
        .iter()
        .filter(|(_, source)| source.kernel_dropped > 0);
    LedgerAnalysis {
        closed: ledger.closed,
        breaches: ledger.breaches.clone(),
        losses: ledger.losses.clone(),
        shed,
        kernel_dropped: dropped
            .map(|(name, source)| (name.clone(), source.kernel_dropped))
            .collect(),
    }
}

fn timeline(taken: &[Taken], gaps: &Gaps, from_ns: u64, until_ns: u64) -> Vec<Slice> {
    let width_ns = ((until_ns - from_ns) / SLICES).max(1);
    let mut slices: Vec<Slice> = (0..SLICES)
        .map(|at| {
            let begin_ns = from_ns + at * width_ns;
            Slice {
                at_ns: at * width_ns,
                gap_ns: gaps.time_in(begin_ns, begin_ns + width_ns),
                ..Slice::default()
            }
        })
        .collect();
    for frame in taken {
        let at = ((frame.due_ns - from_ns) / width_ns).min(SLICES - 1) as usize;
        let slice = &mut slices[at];
        slice.frames += 1;
        slice.max_ns = slice.max_ns.max(frame.ns);
        slice.tainted += u64::from(frame.is_tainted);
    }
    slices
}

fn lost_words(evidence: &Evidence) -> Vec<String> {
    let lost = evidence.hops.iter().filter(|hop| hop.lost > 0);
    lost.map(|hop| {
        let (noted, name) = (hop.passages.len(), &hop.name);
        format!(
            "{name}: only the first {noted} messages were noted, {} came after them: measure for a shorter time",
            hop.lost
        )
    })
    .collect()
}

/// The quantiles that a span always has.
#[must_use]
pub fn of_quantile(quantiles: &super::model::Quantiles, quantile: Quantile) -> u64 {
    match quantile {
        Quantile::P50 => quantiles.p50,
        Quantile::P90 => quantiles.p90,
        Quantile::P99 => quantiles.p99,
        Quantile::P999 => quantiles.p99_9,
        Quantile::Max => quantiles.max,
    }
}
