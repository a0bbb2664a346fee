//! Who made a frame late: the host, the program, or those before it.
//!
//! The larger part of what a frame took on a hop has the cause, and only what happened to that part can be it:
//!
//! | part | first that holds | cause |
//! |---|---|---|
//! | any | the consumer faulted or waited in this frame's handler | `page_fault`, `blocked_in_handler` |
//! | wait | half of it is a gap that the program made itself on another core | `shootdown` |
//! | wait | half of it is a gap of the host, or its backlog | `host_gap` |
//! | wait | the hop's consumer, or its producer, had no room downstream | `held_back{CONSUMER}` |
//! | wait | else | `queueing` |
//! | service | for half of it the processor was taken away | `preempted` |
//! | service | half of it is a gap on the consumer's loop: a sink had the frame queued | `host_gap` |
//! | service | its sink had no room outside meanwhile | `held_back{outside}` |
//! | service | more than twice the usual and a microsecond, and no witness explains it | `interrupt_or_own` |
//! | service | else, and the consumer's core ran slowly | `slow_core` |
//! | service | else | `service` |
//!
//! Interrupts inside a handler cannot be told from its own work: `interrupt_or_own`. A frame that waited because the handler of
//! the one before it was preempted has met a gap: `host_gap`; if that one was slow by itself, it is `queueing`. So it is where
//! the gaps since the line was last empty are shorter than half of the wait: such a backlog is not theirs.
//!
//! Invariant: every frame gets exactly one cause, and a gap is none of what it cannot have lengthened.

use std::collections::BTreeMap;

use hopline::budget::pace::Slowed;
use hopline::budget::taint::{Gaps, Interval, Thresholds, is_own};
use hopline::budget::{Evidence, LongSegment, Passage, Segment};

use super::model::{Stop, WorstFrame};
use super::spans::quantile;
use hopline::budget::report::ends;
use hopline::budget::ways::{Ways, dequeue_ns};

/// Worst frames that a run keeps.
const WORST: usize = 20;

/// The name of a gap that the program made itself on another core.
pub(super) const SHOOTDOWN: &str = "shootdown";

const PREEMPTED: &str = "preempted";
const HOST_GAP: &str = "host_gap";
const HELD_BACK: &str = "held_back";
const QUEUEING: &str = "queueing";

/// Who holds a sink back.
const OUTSIDE: &str = "outside";

/// The name of the program's own doing in a segment that is its own.
#[must_use]
pub(super) fn own_name(segment: &LongSegment) -> &'static str {
    match segment.witness {
        Some(witness) if witness.voluntary > 0 => "blocked_in_handler",
        _ => "page_fault",
    }
}

/// Whether the thread was off the processor for half of a segment. What else was long in it was the program's.
fn mostly_off(segment: &LongSegment) -> bool {
    let off_ns = segment.witness.map_or(0, |witness| witness.off_cpu_ns);
    off_ns.saturating_mul(2) >= segment.len_ns
}

/// A stretch that explains frames which overlap it, and what it is called.
#[derive(Clone, Copy, Debug)]
struct Stretch<'a> {
    span: Interval,
    cause: &'static str,
    /// The place of its loop.
    of_loop: usize,
    /// The node that had the turn; none between turns.
    node: Option<&'a str>,
}

/// What explains the frames of a run.
pub(super) struct Causes<'a> {
    evidence: &'a Evidence,
    gaps: &'a Gaps,
    /// Own doing, gaps and holding back, of all loops, by their beginnings.
    stretches: Vec<Stretch<'a>>,
    /// The longest of them: how far back one that still matters can have begun.
    longest_ns: u64,
    hops: Vec<Hop<'a>>,
    /// When which loop's core ran slowly, where that is known.
    slowed: &'a [Slowed],
}

/// What is known of a hop.
#[derive(Clone, Copy, Debug)]
struct Hop<'a> {
    from: &'a str,
    to: &'a str,
    /// The loop of its consumer.
    of_loop: Option<usize>,
    /// The usual service time on it.
    usual_ns: u64,
}

impl<'a> Causes<'a> {
    pub(super) fn new(evidence: &'a Evidence, gaps: &'a Gaps) -> Causes<'a> {
        let mut stretches = Vec::new();
        for (of_loop, noted) in evidence.loops.iter().enumerate() {
            let thresholds = Thresholds::of(noted);
            for segment in &noted.segments {
                let is_handler = matches!(segment.kind, Segment::Handler | Segment::Send);
                let cause = match thresholds.is_gap(segment) {
                    _ if is_own(segment) => own_name(segment),
                    true if gaps.is_own(segment) => SHOOTDOWN,
                    true if is_handler && mostly_off(segment) => PREEMPTED,
                    true if is_handler => continue,
                    true => HOST_GAP,
                    false if segment.kind == Segment::HeldBack => HELD_BACK,
                    false => continue,
                };
                let node = usize::from(segment.node).checked_sub(1);
                stretches.push(Stretch {
                    span: Interval::of(segment),
                    cause,
                    of_loop,
                    node: node.and_then(|at| noted.nodes.get(at)).map(String::as_str),
                });
            }
        }
        stretches.sort_by_key(|stretch| stretch.span);
        let lengths = stretches.iter().map(|stretch| stretch.span.len_ns());
        let longest_ns = lengths.max().unwrap_or(0);
        let hops = evidence.hops.iter().map(|hop| {
            let (from, to) = ends(&hop.name);
            let service = hop.passages.iter().map(|one| u64::from(one.service_ns));
            let mut service: Vec<u64> = service.collect();
            service.sort_unstable();
            Hop {
                from,
                to,
                of_loop: loop_of(evidence, to),
                usual_ns: quantile(&service, 0.5),
            }
        });
        Causes {
            evidence,
            gaps,
            stretches,
            longest_ns,
            hops: hops.collect(),
            slowed: &[],
        }
    }

    /// The same with what is known of slow cores, by loop.
    pub(super) fn knowing(self, slowed: &'a [Slowed]) -> Causes<'a> {
        Causes { slowed, ..self }
    }

    /// The stretches that overlap a span.
    fn near(&self, from_ns: u64, until_ns: u64) -> impl Iterator<Item = &Stretch<'a>> {
        let first = from_ns.saturating_sub(self.longest_ns);
        let begin = |stretch: &Stretch<'_>| stretch.span.start_ns < first;
        let at = self.stretches.partition_point(begin);
        let near = self.stretches[at..].iter();
        near.take_while(move |stretch| stretch.span.start_ns < until_ns)
            .filter(move |stretch| stretch.span.end_ns > from_ns)
    }

    /// Nanoseconds of a loop's stretches of that name in a span.
    fn time_of(&self, cause: &str, of_loop: Option<usize>, from_ns: u64, until_ns: u64) -> u64 {
        self.near(from_ns, until_ns)
            .filter(|one| one.cause == cause && of_loop == Some(one.of_loop))
            .map(|one| one.span.end_ns.min(until_ns) - one.span.start_ns.max(from_ns))
            .sum()
    }

    /// What that node did itself, or had done to it, in a handler.
    fn in_handler(&self, node: &str, from_ns: u64, until_ns: u64) -> Option<&'static str> {
        let of_node = |one: &&Stretch<'_>| {
            one.node == Some(node) && ![SHOOTDOWN, HOST_GAP, HELD_BACK].contains(&one.cause)
        };
        let causes = self.near(from_ns, until_ns).filter(of_node);
        // Its own doing before what was done to it.
        causes
            .map(|one| one.cause)
            .min_by_key(|cause| *cause == PREEMPTED)
    }

    /// Why a frame waited for a node of that loop, if it was not for others before it.
    fn of_wait(&self, of_loop: Option<usize>, from_ns: u64, until_ns: u64) -> Option<&'static str> {
        let half_ns = until_ns.saturating_sub(from_ns).div_ceil(2).max(1);
        if self.time_of(SHOOTDOWN, of_loop, from_ns, until_ns) >= half_ns {
            Some(SHOOTDOWN)
        } else if self.gaps.extended_in(from_ns, until_ns) >= half_ns {
            let since_ns = self.gaps.first_in(from_ns, until_ns)?.start_ns;
            (self.gaps.time_in(since_ns, until_ns) >= half_ns).then_some(HOST_GAP)
        } else {
            None
        }
    }

    /// Who held one of these nodes back in a span, as a cause. A loop's chores cut what it notes of that into pieces, of
    /// which short ones are not noted: one is enough.
    fn held_back(&self, nodes: &[&str], from_ns: u64, until_ns: u64) -> Option<String> {
        let mut near = self.near(from_ns, until_ns);
        let held = |one: &&Stretch<'_>| {
            one.cause == HELD_BACK && one.node.is_some_and(|node| nodes.contains(&node))
        };
        let held = near.find(held)?;
        let by = self.full(held.node?, held.span.start_ns);
        Some(format!("{HELD_BACK}{{{by}}}"))
    }

    /// The consumer of the fullest hop that leaves a node, at a point in time.
    fn full(&self, node: &str, at_ns: u64) -> &'a str {
        let waiting = |hop: usize| {
            let passages = &self.evidence.hops[hop].passages;
            let offered = passages.partition_point(|one| one.t_offer_ns <= at_ns);
            offered.saturating_sub(passages.partition_point(|one| dequeue_ns(one) <= at_ns))
        };
        let hops = self.hops.iter().enumerate();
        let leaving = hops.filter(|(_, hop)| hop.from == node);
        let fullest = leaving.max_by_key(|(at, _)| waiting(*at));
        fullest.map_or(OUTSIDE, |(_, hop)| hop.to)
    }

    /// The cause of a frame on a hop.
    pub(super) fn of(&self, hop: usize, passage: &Passage) -> String {
        let Hop {
            from,
            to,
            of_loop,
            usual_ns,
        } = self.hops[hop];
        let (offer_ns, done_ns) = (passage.t_offer_ns, passage.done_ns());
        let dequeue_ns = dequeue_ns(passage);
        let in_handler = self.in_handler(to, dequeue_ns, done_ns);
        let (service_ns, wait_ns) = (u64::from(passage.service_ns), u64::from(passage.wait_ns));
        if let Some(cause) = in_handler.filter(|one| *one != PREEMPTED || wait_ns <= service_ns) {
            return cause.to_owned();
        }
        if wait_ns > service_ns {
            return match self.of_wait(of_loop, offer_ns, dequeue_ns) {
                Some(cause) => cause.to_owned(),
                None => self
                    .held_back(&[from, to], offer_ns, dequeue_ns)
                    .unwrap_or_else(|| QUEUEING.to_owned()),
            };
        }
        if self.time_of(HOST_GAP, of_loop, dequeue_ns, done_ns) * 2 >= service_ns.max(1) {
            return HOST_GAP.to_owned();
        }
        if let Some(cause) = self.held_back(&[to], dequeue_ns, done_ns) {
            return cause;
        }
        let slowed = of_loop.and_then(|at| self.slowed.get(at));
        let cause = if service_ns > 2 * usual_ns + 1_000 {
            // No neighbour on the core makes a handler take more than twice as long.
            "interrupt_or_own"
        } else if slowed.is_some_and(|slowed| slowed.touches(dequeue_ns, done_ns)) {
            "slow_core"
        } else {
            "service"
        };
        cause.to_owned()
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
            *causes.entry(self.of(hop, passage)).or_default() += 1;
        }
        causes
    }

    /// The cause of a message that was late from end to end, and its place: what took the most of it, a stop of its way or
    /// the time until its source offered it.
    pub(super) fn of_way(&self, way: &[(usize, &Passage)]) -> (String, String) {
        let longest = way.iter().max_by_key(|(_, stop)| stop.sojourn_ns());
        let (Some((hop, stop)), Some((first_hop, first))) = (longest, way.first()) else {
            return (QUEUEING.to_owned(), String::new());
        };
        if u64::from(first.origin_ns) <= stop.sojourn_ns() {
            let place = self.evidence.hops[*hop].name.clone();
            return (self.of(*hop, stop), place);
        }
        let source = self.hops[*first_hop].from;
        let (due_ns, offer_ns) = (first.due_ns(), first.t_offer_ns);
        let of_loop = loop_of(self.evidence, source);
        let cause = match self.of_wait(of_loop, due_ns, offer_ns) {
            Some(cause) => cause.to_owned(),
            None => self
                .held_back(&[source], due_ns, offer_ns)
                .unwrap_or_else(|| QUEUEING.to_owned()),
        };
        (cause, source.to_owned())
    }
}

/// The loop that runs a node.
fn loop_of(evidence: &Evidence, node: &str) -> Option<usize> {
    let has = |noted: &hopline::budget::LoopEvidence| noted.nodes.iter().any(|name| name == node);
    evidence.loops.iter().position(has)
}

/// The worst frames from end to end, with their ways; of one whose way is not known, only the last hop.
pub(super) fn worst(
    causes: &Causes<'_>,
    ways: &Ways<'_>,
    left: &[(usize, &Passage)],
    from_ns: u64,
) -> Vec<WorstFrame> {
    let mut slowest: Vec<(usize, &Passage)> = left.to_vec();
    slowest.sort_by_key(|(_, passage)| std::cmp::Reverse(passage.end_to_end_ns()));
    slowest.truncate(WORST);
    let frame = |(hop, passage): (usize, &Passage)| {
        let way = ways.of(hop, passage);
        let way = way.unwrap_or_else(|| vec![(hop, passage)]);
        let (cause, place) = causes.of_way(&way);
        let stop = |(at, stop): &(usize, &Passage)| Stop {
            hop: causes.evidence.hops[*at].name.clone(),
            wait_ns: u64::from(stop.wait_ns),
            service_ns: u64::from(stop.service_ns),
        };
        WorstFrame {
            at_ns: passage.due_ns().saturating_sub(from_ns),
            took_ns: passage.end_to_end_ns(),
            late_ns: way
                .first()
                .map_or(0, |(_, first)| u64::from(first.origin_ns)),
            cause,
            place,
            path: way.iter().map(stop).collect(),
        }
    };
    slowest.into_iter().map(frame).collect()
}

#[cfg(test)]
mod tests;
