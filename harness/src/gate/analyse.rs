//! From what a run noted to what can be judged: which frames the host touched, quantiles and counts, causes.
//!
//! ```text
//!   Evidence ─→ gaps ─→ exposure G (from a first pass) ─→ taint ─→ spans of each hop, raw and clean ─→ RunAnalysis
//! ```
//!
//! Counted from when a message was sent instead of from when it was due, what is over a limit from end to end is the same: a
//! sender's lateness is never in that span. What comes by UDP is dated from its receipt, or from the kernel's stamp of it. A
//! source that makes its messages in its own turn dates them by its schedule; but late it is by what its loop does meanwhile,
//! which is the line's own doing, or by gaps, which taint. That it cannot make them fast enough shows in its rate.
//!
//! Invariant: the same evidence and options give the same analysis.

use std::collections::BTreeMap;

use hopline::budget::pace::Slowed;
use hopline::budget::report::HopReport;
use hopline::budget::taint::{Gaps, Interval, Thresholds, is_own};
use hopline::budget::{Evidence, LoopEvidence, Of, Passage, Quantile, Segment};
use hopline::topology::Report;
pub use hopline::topology::clean::EXPOSURE_MIN_NS;

use super::blame::{self, Causes};
use super::budget::JITTER;
use super::model::{
    END_TO_END, GeneratorAnalysis, IPDV, LINE, LedgerAnalysis, LimitCounts, LoopAnalysis,
    RESIDENCE, RunAnalysis, SCHEMA, SpanAnalysis,
};
use super::path::Paths;
use super::spans::{encoded, exceedances, quantile, quantiles};
use super::timeline::{Due, timeline};
use super::touch::{Host, Touch, consumer_loop};
use hopline::budget::report::ends;
use hopline::budget::ways::Ways;

/// What an analysis needs beside the evidence.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// What the generators drew from.
    pub seed: u64,
    /// Frames that were due earlier are the warm-up's, in nanoseconds from the start of the line.
    pub warmup_ns: u64,
    /// The exposure, if it was settled by another run.
    pub exposure_ns: Option<u64>,
    /// What the piece of work that shows a core's pace usually takes here, in nanoseconds, as earlier runs had it.
    pub usual_work_ns: Option<u64>,
    /// Most that P99 may lie above P50 from end to end, in nanoseconds, if the case says so.
    pub jitter_ns: Option<u64>,
    /// Most that P99 of [`IPDV`] may be, in nanoseconds, if the case says so.
    pub ipdv_ns: Option<u64>,
    /// UDP sources that date a datagram from its receipt: what it waited in the socket is in no span.
    pub undated: Vec<String>,
    /// Gaps of the generators' own loops.
    pub generator_gaps: Vec<Interval>,
    /// What the generators say of themselves.
    pub generators: Vec<GeneratorAnalysis>,
}

/// A frame of a span: what it took, and what the host did to it.
#[derive(Clone, Copy, Debug)]
struct Taken {
    ns: u64,
    /// Whether it took longer than that, and nobody knows by how much: it is over any limit.
    is_saturated: bool,
    /// What it would have taken if only gaps had held it up.
    floor_ns: u64,
    /// For how long a stretch that nobody sees could have made it longer.
    exposed_ns: u64,
    touch: Touch,
}

impl Taken {
    /// What is held against a limit.
    fn limited_ns(&self) -> u64 {
        if self.is_saturated { u64::MAX } else { self.ns }
    }
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
    let host = Host::new(evidence, &gaps, exposure_ns, from_ns, given.usual_work_ns);
    let floors = Floors::new(evidence, &gaps, from_ns, until_ns);
    let causes = Causes::new(evidence, &gaps).knowing(&host.slowed);
    let paths = Paths::new(report, evidence);
    let sheds_clean = sheds_clean(report, evidence, &host, from_ns);
    let mut spans = Vec::new();
    for (at, (hop, reported)) in evidence.hops.iter().zip(&report.hops).enumerate() {
        let passages: Vec<&Passage> = hop.passages.iter().filter(measured).collect();
        let consumer = consumer_loop(evidence, &hop.name);
        let touches: Vec<Touch> = passages
            .iter()
            .map(|passage| host.touch(passage, passage.t_offer_ns, consumer))
            .collect();
        for of in Of::ALL {
            let taken: Vec<Taken> = passages
                .iter()
                .zip(&touches)
                .map(|(passage, touch)| {
                    let ns = match of {
                        Of::Wait => u64::from(passage.wait_ns),
                        Of::Service => u64::from(passage.service_ns),
                        Of::Sojourn => passage.sojourn_ns(),
                    };
                    floors.taken(ns, passage.t_offer_ns, *touch)
                })
                .collect();
            let budget = reported.budget.as_ref().filter(|budget| budget.of == of);
            let limits = budget.map(|budget| &budget.limits_ns);
            let mut span = floors.span((&hop.name, of.name()), &taken, limits);
            // Those of the warm-up count too: what was shed is never overlooked. It keeps a budget from passing, and only
            // what was shed while the host did nothing makes it fail.
            span.shed = reported.shed.values().sum();
            span.shed_clean = sheds_clean[at].min(span.shed);
            span.log_lost = hop.lost;
            span.loops = paths.of(at, of);
            if of == Of::Sojourn {
                span.blame = causes.of_tail(at, &passages, span.raw.p99);
            }
            spans.push(span);
        }
    }
    let ways = Ways::new(evidence);
    let left: Vec<(usize, &Passage)> = leaving(evidence)
        .filter(|(_, passage)| measured(passage))
        .collect();
    let taken: Vec<Taken> = left
        .iter()
        .map(|(_, passage)| {
            let due_ns = passage.due_ns();
            let touch = host.touch(passage, due_ns, None);
            Taken {
                is_saturated: passage.is_saturated(),
                ..floors.taken(passage.end_to_end_ns(), due_ns, touch)
            }
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
    for limit in &mut whole.limits {
        // Never the sender's lateness: see above.
        limit.from_send = Some(limit.clean);
    }
    let dropped: u64 = report
        .ledger
        .sources
        .values()
        .map(|source| source.kernel_dropped)
        .sum();
    whole.shed = dropped + report.hops.iter().map(|hop| hop.shed_once()).sum::<u64>();
    // A message that was shed further up might have been filtered out, or left by another way.
    let last = report.hops.iter().zip(&evidence.hops).zip(&sheds_clean);
    let last = last.filter(|((_, hop), _)| hop.passages.iter().any(Passage::has_left));
    let by_ring: BTreeMap<&str, u64> = last
        .map(|((reported, _), clean)| (ring(reported), *clean))
        .collect();
    whole.shed_clean = by_ring.values().sum::<u64>().min(whole.shed);
    let worst = blame::worst(&causes, &ways, &left, from_ns);
    for frame in &worst {
        *whole.blame.entry(frame.cause.clone()).or_default() += 1;
    }
    spans.push(whole);
    let resident: Vec<Taken> = left
        .iter()
        .zip(&taken)
        .filter_map(|((hop, passage), taken)| {
            let way = ways.of(*hop, passage)?;
            let since_ns = way.first()?.1.t_offer_ns;
            let ns = passage.done_ns().saturating_sub(since_ns);
            Some(floors.taken(ns, since_ns, taken.touch))
        })
        .collect();
    let lost_ways = left.len() - resident.len();
    spans.push(floors.span((LINE, RESIDENCE), &resident, None));
    let varied = variation(&left, &taken, evidence);
    let limit = given.ipdv_ns.map(|ns| (Quantile::P99.name(), ns));
    let limits = limit.map(|limit| BTreeMap::from([limit]));
    spans.push(floors.span((LINE, IPDV), &varied, limits.as_ref()));
    // What leaves, the ways there, and for how long a gap lasts are made of all hops.
    let lost = evidence.hops.iter().map(|hop| hop.lost).sum();
    for span in spans
        .iter_mut()
        .filter(|span| [END_TO_END, LINE].contains(&&*span.hop))
    {
        span.log_lost = lost;
        span.loops = paths.all();
    }
    let mut notes = lost_words(evidence);
    if lost_ways > 0 {
        let of = left.len();
        notes.push(format!(
            "{lost_ways} of {of} messages that left could not be followed back to where they came in: residence is without them"
        ));
    }
    if objective.is_some() || given.jitter_ns.is_some() || given.ipdv_ns.is_some() {
        notes.extend(given.undated.iter().map(|source| {
            format!(
                "what is owed from end to end begins at the receipt by \"{source}\", not counting what a datagram \
                 waited in the socket before: timestamps = \"kernel\" in its [[source]] counts that too"
            )
        }));
    }
    let due = left.iter().zip(&taken).map(|((_, passage), taken)| Due {
        at_ns: passage.due_ns(),
        took_ns: taken.ns,
        touch: taken.touch,
    });
    let timeline = timeline(evidence, due, &gaps, from_ns, until_ns);
    RunAnalysis {
        schema: SCHEMA,
        line: report.line.name.clone(),
        clock: report.line.clock.to_owned(),
        seed: given.seed,
        span_ns: until_ns - from_ns,
        exposure_ns,
        loops: loops(report, evidence, &host, (from_ns, until_ns)),
        spans,
        generators: given.generators.clone(),
        source_held_back: report
            .stages
            .iter()
            .any(|stage| stage.role == "source" && stage.regimes_ns.held_back > 0),
        ledger: ledger(report),
        worst,
        timeline,
        notes,
        // What the clock was like is known to whoever ran it.
        ..RunAnalysis::default()
    }
}

/// The hop whose ring it is.
fn ring(hop: &HopReport) -> &str {
    hop.shares.as_deref().unwrap_or(&hop.name)
}

/// What was shed on each hop while the host did nothing. Of a loop that sleeps nobody knows what it did to the others.
fn sheds_clean(report: &Report, evidence: &Evidence, host: &Host<'_>, from_ns: u64) -> Vec<u64> {
    let mut placed = report.placement.iter();
    let is_seen = !placed.any(|placed| placed.planned.wait == "park");
    let of_hop = |hop: &HopReport| {
        let mut hops = evidence.hops.iter();
        let at = hops.position(|one| one.name == ring(hop));
        at.filter(|_| is_seen)
            .map_or(0, |at| host.shed_clean(evidence, at, from_ns))
    };
    report.hops.iter().map(of_hop).collect()
}

/// The limit on P99 less P50: frames that lie above the median by more than it.
fn jitter(taken: &[Taken], whole: &SpanAnalysis, limit_ns: u64) -> LimitCounts {
    let all: Vec<u64> = taken.iter().map(Taken::limited_ns).collect();
    let clean = taken.iter().filter(|frame| frame.touch.is_clean());
    let clean: Vec<u64> = clean.map(Taken::limited_ns).collect();
    LimitCounts {
        quantile: JITTER.to_owned(),
        limit_ns,
        raw: exceedances(&all, whole.raw.p50.saturating_add(limit_ns)),
        clean: exceedances(&clean, whole.clean.p50.saturating_add(limit_ns)),
        ..LimitCounts::default()
    }
}

/// By how much the spans from end to end of messages differ that left by one sink one after the other. Two are clean if
/// both messages are.
fn variation(left: &[(usize, &Passage)], taken: &[Taken], evidence: &Evidence) -> Vec<Taken> {
    let mut by_sink: BTreeMap<&str, Vec<(u64, &Taken)>> = BTreeMap::new();
    for ((hop, passage), taken) in left.iter().zip(taken) {
        let (_, sink) = ends(&evidence.hops[*hop].name);
        let sink = by_sink.entry(sink).or_default();
        sink.push((passage.done_ns(), taken));
    }
    let mut varied = Vec::with_capacity(taken.len());
    for sink in by_sink.values_mut() {
        // Of each hop they are in order; a sink may have several.
        sink.sort_by_key(|(done_ns, _)| *done_ns);
        varied.extend(sink.windows(2).map(|pair| {
            let (one, next) = (pair[0].1, pair[1].1);
            Taken {
                ns: next.ns.abs_diff(one.ns),
                is_saturated: next.is_saturated || one.is_saturated,
                floor_ns: next.floor_ns.abs_diff(one.floor_ns),
                exposed_ns: next.ns.saturating_add(one.ns),
                touch: next.touch.worse(one.touch),
            }
        }));
    }
    varied
}

/// The messages that left the line, over all hops that end in a sink which counts, each with its hop.
pub(super) fn leaving(evidence: &Evidence) -> impl Iterator<Item = (usize, &Passage)> {
    let hops = evidence.hops.iter().enumerate();
    let passages = hops.flat_map(|(at, hop)| hop.passages.iter().map(move |one| (at, one)));
    passages.filter(|(_, passage)| passage.has_left())
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
pub(super) fn exposure(evidence: &Evidence, gaps: &Gaps, from_ns: u64) -> u64 {
    let clean = leaving(evidence)
        .map(|(_, passage)| passage)
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

    /// A frame that took so long from a point in time on.
    fn taken(&self, ns: u64, since_ns: u64, touch: Touch) -> Taken {
        let met = self.gaps.first_seen_at(since_ns);
        Taken {
            ns,
            is_saturated: false,
            floor_ns: met.map_or(0, |gap| gap.end_ns - since_ns),
            exposed_ns: ns,
            touch,
        }
    }

    fn span(
        &self,
        (hop, of): (&str, &str),
        taken: &[Taken],
        limits: Option<&BTreeMap<&'static str, u64>>,
    ) -> SpanAnalysis {
        let raw: Vec<u64> = taken.iter().map(|frame| frame.ns).collect();
        let clean_ones = || taken.iter().filter(|frame| frame.touch.is_clean());
        // A stretch makes a frame longer if it falls into the span itself.
        let exposed_ns: u64 = clean_ones().map(|frame| frame.exposed_ns).sum();
        let clean: Vec<u64> = clean_ones().map(|frame| frame.ns).collect();
        let mean_ns = exposed_ns as f64 / clean.len().max(1) as f64;
        let halves = [&clean[..clean.len() / 2], &clean[clean.len() / 2..]].map(|half| {
            let mut half = half.to_vec();
            half.sort_unstable();
            quantile(&half, 0.5)
        });
        let limited: Vec<u64> = taken.iter().map(Taken::limited_ns).collect();
        let limited_clean: Vec<u64> = clean_ones().map(Taken::limited_ns).collect();
        let counts = limits
            .into_iter()
            .flatten()
            .map(|(name, limit_ns)| LimitCounts {
                quantile: (*name).to_owned(),
                limit_ns: *limit_ns,
                raw: exceedances(&limited, *limit_ns),
                clean: exceedances(&limited_clean, *limit_ns),
                ..LimitCounts::default()
            });
        let limits = counts.collect();
        let (raw_histogram, clean_histogram) = (encoded(&raw), encoded(&clean));
        let (mut raw, mut clean) = (raw, clean);
        let mut floor: Vec<u64> = taken.iter().map(|frame| frame.floor_ns).collect();
        raw.sort_unstable();
        clean.sort_unstable();
        floor.sort_unstable();
        SpanAnalysis {
            hop: hop.to_owned(),
            of: of.to_owned(),
            n: raw.len() as u64,
            n_clean: clean.len() as u64,
            n_slowed: taken
                .iter()
                .filter(|frame| frame.touch == Touch::Slowed)
                .count() as u64,
            raw: quantiles(&raw),
            clean: quantiles(&clean),
            host_floor: quantiles(&floor),
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
    host: &Host<'_>,
    (from_ns, until_ns): (u64, u64),
) -> Vec<LoopAnalysis> {
    let span_ns = until_ns.saturating_sub(from_ns).max(1) as f64;
    let of_loop =
        |((noted, placed), slowed): ((&LoopEvidence, &hopline::topology::LoopReport), &Slowed)| {
            let thresholds = Thresholds::of(noted);
            let mut found = LoopAnalysis {
                name: placed.planned.name.clone(),
                core: placed.pinned,
                wait: placed.planned.wait.clone(),
                gap_from_ns: thresholds.idle_ns,
                receive_gap_from_ns: thresholds.receive_ns,
                log_lost: noted.lost,
                looks_lost: noted.paces_lost,
                usual_work_ns: slowed.usual_ns,
                slowed_share: slowed.time_in(from_ns, until_ns) as f64 / span_ns,
                ..LoopAnalysis::default()
            };
            let (mut gap_ns, mut own_ns) = (0u64, 0u64);
            let measured = |segment: &&hopline::budget::LongSegment| segment.start_ns >= from_ns;
            for segment in noted.segments.iter().filter(measured) {
                let is_gap = thresholds.is_gap(segment);
                let own = if is_gap && host.gaps.is_own(segment) {
                    Some(blame::SHOOTDOWN)
                } else {
                    is_own(segment).then(|| blame::own_name(segment))
                };
                if let Some(name) = own {
                    *found.own_faults.entry(name.to_owned()).or_default() += 1;
                    own_ns += segment.len_ns + host.exposure_ns;
                } else if is_gap {
                    found.gaps += 1;
                    gap_ns += segment.len_ns;
                    let kind = segment.kind.name().to_owned();
                    *found.gaps_by_kind.entry(kind).or_default() += 1;
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
        .zip(&host.slowed)
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

#[cfg(test)]
mod tests;
