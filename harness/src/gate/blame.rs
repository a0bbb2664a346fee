//! Who made a frame late: the host, the program, or those before it.
//!
//! In this order, the first that holds: the program's own doing in its handler (`page_fault`, `blocked_in_handler`); the
//! processor taken away in its handler (`preempted`); a gap elsewhere on its way (`host_gap`); no room downstream
//! (`held_back`); a handler much longer than usual that no witness explains (`interrupt_or_own`: interrupts inside a handler
//! cannot be told from its own work); else the larger of its two spans: `service` or `queueing`.
//!
//! Invariant: every frame gets exactly one cause.

use std::collections::{BTreeMap, HashMap};

use hopline::budget::taint::{Gaps, Interval, Thresholds, is_own};
use hopline::budget::{Evidence, LongSegment, Passage, Segment};

use super::model::{Stop, WorstFrame};
use super::spans::quantile;

/// Worst frames that a run keeps.
const WORST: usize = 20;

/// The name of the program's own doing in a segment that is its own.
#[must_use]
pub(super) fn own_name(segment: &LongSegment) -> &'static str {
    match segment.witness {
        Some(witness) if witness.voluntary > 0 => "blocked_in_handler",
        _ => "page_fault",
    }
}

/// A stretch that explains frames which overlap it, and what it is called.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    span: Interval,
    cause: &'static str,
}

/// What explains the frames of a run.
pub(super) struct Causes<'a> {
    evidence: &'a Evidence,
    gaps: &'a Gaps,
    /// Own doing, preemption and holding back, of all loops, by their beginnings.
    stretches: Vec<Stretch>,
    /// The longest of them: how far back one that still matters can have begun.
    longest_ns: u64,
    /// The usual service time on each hop.
    usual_ns: Vec<u64>,
}

impl<'a> Causes<'a> {
    pub(super) fn new(evidence: &'a Evidence, gaps: &'a Gaps) -> Causes<'a> {
        let mut stretches = Vec::new();
        for noted in &evidence.loops {
            let thresholds = Thresholds::of(noted);
            for segment in &noted.segments {
                let cause = match segment.kind {
                    _ if is_own(segment) => own_name(segment),
                    Segment::Handler | Segment::Send if thresholds.is_gap(segment) => "preempted",
                    Segment::HeldBack => "held_back",
                    _ => continue,
                };
                let span = Interval {
                    start_ns: segment.start_ns,
                    end_ns: segment.end_ns(),
                };
                stretches.push(Stretch { span, cause });
            }
        }
        stretches.sort_by_key(|stretch| stretch.span);
        let longest_ns = stretches
            .iter()
            .map(|stretch| stretch.span.len_ns())
            .max()
            .unwrap_or(0);
        let usual = evidence.hops.iter().map(|hop| {
            let mut service: Vec<u64> = hop
                .passages
                .iter()
                .map(|passage| u64::from(passage.service_ns))
                .collect();
            service.sort_unstable();
            quantile(&service, 0.5)
        });
        Causes {
            evidence,
            gaps,
            stretches,
            longest_ns,
            usual_ns: usual.collect(),
        }
    }

    /// Whether a stretch of that name overlaps a span.
    fn overlaps(&self, cause: &str, from_ns: u64, until_ns: u64) -> bool {
        let first = from_ns.saturating_sub(self.longest_ns);
        let at = self
            .stretches
            .partition_point(|stretch| stretch.span.start_ns < first);
        self.stretches[at..]
            .iter()
            .take_while(|stretch| stretch.span.start_ns < until_ns)
            .any(|stretch| stretch.cause == cause && stretch.span.end_ns > from_ns)
    }

    /// The cause of a frame on a hop.
    fn of(&self, hop: usize, passage: &Passage) -> &'static str {
        let done_ns = passage.done_ns();
        let dequeue_ns = done_ns.saturating_sub(u64::from(passage.service_ns));
        let own = ["page_fault", "blocked_in_handler", "preempted"];
        if let Some(cause) = own
            .into_iter()
            .find(|cause| self.overlaps(cause, dequeue_ns, done_ns))
        {
            return cause;
        }
        if self.gaps.first_in(passage.t_offer_ns, done_ns).is_some() {
            return "host_gap";
        }
        if self.overlaps("held_back", passage.t_offer_ns, done_ns) {
            return "held_back";
        }
        let usual_ns = self.usual_ns.get(hop).copied().unwrap_or(0);
        let (service_ns, wait_ns) = (u64::from(passage.service_ns), u64::from(passage.wait_ns));
        if service_ns > 2 * usual_ns + 1_000 {
            "interrupt_or_own"
        } else if service_ns >= wait_ns {
            "service"
        } else {
            "queueing"
        }
    }

    /// The causes of a hop's frames that took at least so long.
    pub(super) fn of_tail(
        &self,
        hop: usize,
        passages: &[&Passage],
        from_ns: u64,
    ) -> BTreeMap<String, u64> {
        let mut causes = BTreeMap::new();
        for passage in passages.iter().filter(|one| one.sojourn_ns() >= from_ns) {
            *causes.entry(self.of(hop, passage).to_owned()).or_default() += 1;
        }
        causes
    }
}

/// The worst frames from end to end, with their ways: a message keeps its source and its due time on every hop.
pub(super) fn worst(
    evidence: &Evidence,
    causes: &Causes<'_>,
    left: &[&Passage],
    from_ns: u64,
) -> Vec<WorstFrame> {
    let mut slowest: Vec<&Passage> = left.to_vec();
    slowest.sort_by_key(|passage| std::cmp::Reverse(passage.end_to_end_ns()));
    slowest.truncate(WORST);
    let key = |passage: &Passage| (passage.source, passage.due_ns());
    let mut ways: HashMap<(u16, u64), Vec<(usize, &Passage)>> = slowest
        .iter()
        .map(|passage| (key(passage), Vec::new()))
        .collect();
    for (at, hop) in evidence.hops.iter().enumerate() {
        for passage in &hop.passages {
            if let Some(way) = ways.get_mut(&key(passage)) {
                way.push((at, passage));
            }
        }
    }
    let frame = |passage: &&Passage| {
        let mut way = ways.get(&key(passage)).cloned().unwrap_or_default();
        way.sort_by_key(|(_, stop)| stop.t_offer_ns);
        // The stop that took the most of it has the cause.
        let most = way.iter().max_by_key(|(_, stop)| stop.sojourn_ns());
        let (cause, place) = most.map_or(("queueing", String::new()), |(at, stop)| {
            (causes.of(*at, stop), causes.evidence.hops[*at].name.clone())
        });
        let stop = |(at, stop): &(usize, &Passage)| Stop {
            hop: evidence.hops[*at].name.clone(),
            wait_ns: u64::from(stop.wait_ns),
            service_ns: u64::from(stop.service_ns),
        };
        WorstFrame {
            at_ns: passage.due_ns().saturating_sub(from_ns),
            took_ns: passage.end_to_end_ns(),
            cause: cause.to_owned(),
            place,
            path: way.iter().map(stop).collect(),
        }
    };
    slowest.iter().map(frame).collect()
}
