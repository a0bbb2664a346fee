//! Which messages the host disturbed: gaps from the loops' logs, and the messages that were exposed to them.
//!
//! ```text
//!   gap of the host      ├──┤
//!   extended             ├──┼───────────┤   until the line is empty again: a backlog is the gap's doing
//!   due, done        due ├────────┤ done      ← touched
//!                                          due ├──┤ done ┄┄┄┤   ← exposed for G at least, and not touched
//! ```
//!
//! A message is *tainted* if a gap, extended until the line is empty again, overlaps [due, max(done, due + G)]. G makes
//! quick and slow programs equally likely to be exposed. The program's own doing taints nothing: neither a segment in which a
//! thread waited or faulted, nor a gap of another thread at the same time. Unmapping and protecting memory make the kernel
//! interrupt all cores that the process runs on (TLB shootdown, 12 to 30 us), and touching memory again shows as faults. Memory
//! that was touched long before is given back without any: then such a short gap lies within a handler on another core that
//! took unusually long and has no witness for it.
//!
//! The method is hopline's own; `docs/GATE.md` has the measurements behind each rule. What is never seen: interrupts inside a
//! handler, and gaps shorter than the threshold.
//!
//! Invariant: decided after the fact, from the logs of all loops together; the same evidence gives the same answer.

use crate::base::limits::{BLAME_FROM_NS, IDLE_FLOOR_NS};

use super::evidence::{Evidence, HopEvidence, LongSegment, LoopEvidence, Passage, Segment};
use super::report::ends;

/// The longest threshold, in nanoseconds.
const GAP_FROM_MAX_NS: u64 = 5_000;

/// The longest gap that an interrupt for the sake of another core makes, in nanoseconds: 12 to 30 us were seen.
const SHOOTDOWN_MAX_NS: u64 = 50_000;

/// By how much such a gap may stick out of the handler that made it, in nanoseconds: it is seen from the turn's beginning on and
/// until its end.
const SHOOTDOWN_EDGE_NS: u64 = 1_000;

/// A handler has taken unusually long above twice what is usual on its node and this, in nanoseconds: as blame has it.
const UNUSUAL_NS: u64 = 1_000;

/// What waits outside shows only once it is received: the line is empty when a reception has had time to find nothing, in
/// nanoseconds. Less than what lies between the messages of any line that is ever empty.
const RECEPTION_NS: u64 = 2_000;

/// A span of time, in nanoseconds of the line's clock; the end is not part of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval {
    /// Its beginning.
    pub start_ns: u64,
    /// Its end.
    pub end_ns: u64,
}

impl Interval {
    /// The time of a segment.
    #[must_use]
    pub const fn of(segment: &LongSegment) -> Interval {
        Interval {
            start_ns: segment.start_ns,
            end_ns: segment.end_ns(),
        }
    }

    /// How long it is, in nanoseconds.
    #[must_use]
    pub const fn len_ns(&self) -> u64 {
        self.end_ns.saturating_sub(self.start_ns)
    }

    /// The same, until the end of the busy span that is under way, or begins, when it ends.
    pub(super) fn until_empty(&self, busy: &[Interval]) -> Interval {
        let at = busy.partition_point(|span| span.start_ns <= self.end_ns);
        let under_way = at.checked_sub(1).map(|before| busy[before]);
        let end_ns = under_way.map_or(self.end_ns, |span| span.end_ns.max(self.end_ns));
        Interval { end_ns, ..*self }
    }
}

/// From how long on a loop's segments are gaps, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Idle segments: three times what 999 of a thousand idle turns take, between 0.5 and 5 us.
    pub idle_ns: u64,
    /// Receptions: as idle ones, and at least twice what 99 of a hundred take.
    pub receive_ns: u64,
}

impl Thresholds {
    /// The thresholds of a loop, from what its turns took.
    #[must_use]
    pub fn of(noted: &LoopEvidence) -> Thresholds {
        Thresholds::by(noted.idle_p99_9_ns, noted.receive_p99_ns)
    }

    /// The thresholds by what 999 of a thousand idle turns and 99 of a hundred receptions take.
    #[must_use]
    pub fn by(idle_p99_9_ns: u64, receive_p99_ns: u64) -> Thresholds {
        let idle_ns = (3 * idle_p99_9_ns).clamp(IDLE_FLOOR_NS, GAP_FROM_MAX_NS);
        Thresholds {
            idle_ns,
            receive_ns: idle_ns.max(2 * receive_p99_ns),
        }
    }

    /// Whether a segment is time that the host took.
    #[must_use]
    pub fn is_gap(&self, segment: &LongSegment) -> bool {
        match (segment.kind, &segment.witness) {
            (Segment::Idle, _) => segment.len_ns >= self.idle_ns,
            (Segment::Receive, _) => segment.len_ns >= self.receive_ns,
            (Segment::Blame, _) => segment.len_ns >= BLAME_FROM_NS,
            (_, Some(witness)) => witness.is_host(),
            (_, None) => false,
        }
    }
}

/// Whether a segment was long by the program's own doing.
#[must_use]
pub fn is_own(segment: &LongSegment) -> bool {
    segment.witness.is_some_and(|witness| witness.is_own())
}

/// The gaps of all loops and what they touch.
#[derive(Clone, Debug, Default)]
pub struct Gaps {
    /// As they were seen, of all loops, sorted; they may overlap. Those in `own` are not among them.
    pub seen: Vec<Interval>,
    /// Gaps that the program made itself, sorted: while they lasted, another loop waited or faulted in a segment of its own.
    pub own: Vec<Interval>,
    /// Extended until the line was empty again, disjoint and sorted.
    pub extended: Vec<Interval>,
    /// For each of `seen`, which of them so far ends last.
    last_so_far: Vec<Interval>,
    /// The time of `seen`, disjoint and sorted.
    lost: Vec<Interval>,
    /// For each of `lost`, how much time lies in those before it.
    lost_before_ns: Vec<u64>,
}

impl Gaps {
    /// The gaps of a run. `more` are those of others on the line's cores, such as generators.
    #[must_use]
    pub fn find(evidence: &Evidence, more: &[Interval]) -> Gaps {
        let doings = Doings::of(evidence);
        let (mut own, mut seen) = (Vec::new(), Vec::new());
        let mut sort = |gap: Interval, by: Option<usize>, is_witnessed: bool| {
            if doings.of_others(&gap, by) || !is_witnessed && doings.interrupted(&gap, by) {
                own.push(gap);
            } else {
                seen.push(gap);
            }
        };
        for (at, noted) in evidence.loops.iter().enumerate() {
            let thresholds = Thresholds::of(noted);
            let gaps = noted.segments.iter().filter(|one| thresholds.is_gap(one));
            gaps.for_each(|gap| sort(Interval::of(gap), Some(at), gap.witness.is_some()));
        }
        more.iter().for_each(|gap| sort(*gap, None, false));
        own.sort_unstable();
        let busy = busy_spans(evidence);
        let mut gaps = Gaps::lasting(seen, &busy);
        gaps.own = own;
        gaps.look_up();
        gaps
    }

    /// Makes what a run asks for by points in time.
    fn look_up(&mut self) {
        let mut last = Interval::default();
        let so_far = self.seen.iter().map(|gap| {
            if gap.end_ns > last.end_ns {
                last = *gap;
            }
            last
        });
        self.last_so_far = so_far.collect();
        self.lost = union(self.seen.clone());
        let mut sum_ns = 0;
        let before = self.lost.iter().map(|span| {
            sum_ns += span.len_ns();
            sum_ns - span.len_ns()
        });
        self.lost_before_ns = before.collect();
    }

    /// Gaps as they were seen, each lasting until the line is empty again. `busy` are the spans in which it is not, disjoint
    /// and sorted.
    #[must_use]
    pub(super) fn lasting(mut seen: Vec<Interval>, busy: &[Interval]) -> Gaps {
        seen.sort_unstable();
        let extend = |gap: &Interval| gap.until_empty(busy);
        Gaps {
            extended: union(seen.iter().map(extend).collect()),
            seen,
            ..Gaps::default()
        }
    }

    /// Whether a gap is the program's own doing on another loop.
    #[must_use]
    pub fn is_own(&self, gap: &LongSegment) -> bool {
        self.own.binary_search(&Interval::of(gap)).is_ok()
    }

    /// Whether a gap touched a message that was exposed for `exposure_ns` at least.
    #[must_use]
    pub fn taint(&self, passage: &Passage, exposure_ns: u64) -> bool {
        let due_ns = passage.due_ns();
        self.first_in(due_ns, exposed_until_ns(passage, exposure_ns))
            .is_some()
    }

    /// The first extended gap that overlaps a span.
    #[must_use]
    pub fn first_in(&self, from_ns: u64, until_ns: u64) -> Option<Interval> {
        let at = self.extended.partition_point(|gap| gap.end_ns <= from_ns);
        let gap = self.extended.get(at)?;
        (gap.start_ns < until_ns).then_some(*gap)
    }

    /// Nanoseconds of extended gaps in a span.
    #[must_use]
    pub fn extended_in(&self, from_ns: u64, until_ns: u64) -> u64 {
        let at = self.extended.partition_point(|gap| gap.end_ns <= from_ns);
        let inside = self.extended[at..]
            .iter()
            .take_while(|gap| gap.start_ns < until_ns);
        inside
            .map(|gap| gap.end_ns.min(until_ns) - gap.start_ns.max(from_ns))
            .sum()
    }

    /// The gap, as it was seen, that a point in time lies in: the one that lasts longest.
    #[must_use]
    pub fn first_seen_at(&self, at_ns: u64) -> Option<Interval> {
        let behind = self.seen.partition_point(|gap| gap.start_ns <= at_ns);
        let last = self.last_so_far.get(behind.checked_sub(1)?)?;
        (last.end_ns > at_ns).then_some(*last)
    }

    /// Nanoseconds of gaps, as they were seen, in a span; where gaps of several loops overlap they count once.
    #[must_use]
    pub fn time_in(&self, from_ns: u64, until_ns: u64) -> u64 {
        let before = |at_ns: u64| {
            let begun = self.lost.partition_point(|span| span.start_ns < at_ns);
            begun.checked_sub(1).map_or(0, |at| {
                let span = self.lost[at];
                self.lost_before_ns[at] + span.end_ns.min(at_ns) - span.start_ns
            })
        };
        before(until_ns).saturating_sub(before(from_ns))
    }
}

/// When each loop did something that takes time of other cores.
struct Doings {
    /// It waited or faulted.
    own: Spans,
    /// A handler was unusually long, and the kernel knows nothing of it.
    unusual: Spans,
}

impl Doings {
    fn of(evidence: &Evidence) -> Doings {
        let (mut own, mut unusual) = (Vec::new(), Vec::new());
        for (at, noted) in evidence.loops.iter().enumerate() {
            let usual = noted
                .nodes
                .iter()
                .map(|name| usual_ns(&evidence.hops, name));
            let usual: Vec<Option<u64>> = usual.collect();
            let is_unusual = |segment: &LongSegment| {
                let node = usize::from(segment.node).checked_sub(1);
                let usual_ns = node.and_then(|node| usual.get(node).copied().flatten());
                matches!(segment.kind, Segment::Handler | Segment::Send)
                    && segment.witness.is_some_and(|witness| !witness.is_host())
                    && usual_ns.is_some_and(|ns| segment.len_ns > 2 * ns + UNUSUAL_NS)
            };
            for segment in &noted.segments {
                if is_own(segment) {
                    own.push((Interval::of(segment), at));
                } else if is_unusual(segment) {
                    unusual.push((Interval::of(segment), at));
                }
            }
        }
        Doings {
            own: Spans::new(own),
            unusual: Spans::new(unusual),
        }
    }

    /// Whether another loop than `but` waited or faulted during that gap.
    fn of_others(&self, gap: &Interval, but: Option<usize>) -> bool {
        self.own.overlap(gap, but).next().is_some()
    }

    /// Whether that gap may be the interrupt by which another loop than `but` gave memory back.
    fn interrupted(&self, gap: &Interval, but: Option<usize>) -> bool {
        let holds = |doing: Interval| {
            doing.start_ns <= gap.start_ns + SHOOTDOWN_EDGE_NS
                && gap.end_ns <= doing.end_ns + SHOOTDOWN_EDGE_NS
        };
        gap.len_ns() <= SHOOTDOWN_MAX_NS && self.unusual.overlap(gap, but).any(holds)
    }
}

/// Spans of several loops.
struct Spans {
    /// With the place of the loop, by their beginnings.
    sorted: Vec<(Interval, usize)>,
    /// The longest of them: how far back one that still lasts can have begun.
    longest_ns: u64,
}

impl Spans {
    fn new(mut spans: Vec<(Interval, usize)>) -> Spans {
        spans.sort_unstable();
        let longest = spans.iter().map(|(span, _)| span.len_ns()).max();
        Spans {
            sorted: spans,
            longest_ns: longest.unwrap_or(0),
        }
    }

    /// Those of other loops than `but` that overlap a gap.
    fn overlap(&self, gap: &Interval, but: Option<usize>) -> impl Iterator<Item = Interval> {
        let (start_ns, end_ns) = (gap.start_ns, gap.end_ns);
        let first_ns = start_ns.saturating_sub(self.longest_ns);
        let near = |(span, _): &(Interval, usize)| span.start_ns < first_ns;
        let from = self.sorted.partition_point(near);
        let meets = self.sorted[from..].iter();
        meets
            .take_while(move |(span, _)| span.start_ns < end_ns)
            .filter(move |(span, at)| Some(*at) != but && span.end_ns > start_ns)
            .map(|(span, _)| *span)
    }
}

/// What a node's handler usually takes: the median over the hops that lead to it; none if no message came.
fn usual_ns(hops: &[HopEvidence], node: &str) -> Option<u64> {
    let leads_to_it = |hop: &&HopEvidence| ends(&hop.name).1 == node;
    let passages = hops
        .iter()
        .filter(leads_to_it)
        .flat_map(|hop| &hop.passages);
    let mut service: Vec<u32> = passages.map(|one| one.service_ns).collect();
    let middle = service.len() / 2;
    (!service.is_empty()).then(|| u64::from(*service.select_nth_unstable(middle).1))
}

/// Until when a message is exposed.
pub(super) fn exposed_until_ns(passage: &Passage, exposure_ns: u64) -> u64 {
    let least_ns = passage.due_ns().saturating_add(exposure_ns);
    passage.done_ns().max(least_ns)
}

/// When a message kept the line from being empty: from its due time until its last hop was done with it, and [`RECEPTION_NS`]
/// before, so that a gap's end lies in the span that its backlog makes.
pub(super) fn busy_with(passage: &Passage) -> Interval {
    Interval {
        start_ns: passage.due_ns().saturating_sub(RECEPTION_NS),
        end_ns: passage.done_ns(),
    }
}

/// The spans in which the line was not empty, disjoint and sorted.
fn busy_spans(evidence: &Evidence) -> Vec<Interval> {
    let passages = evidence.hops.iter().flat_map(|hop| &hop.passages);
    union(passages.map(busy_with).collect())
}

/// The same time in disjoint intervals, sorted. Those that touch become one.
pub(super) fn union(mut intervals: Vec<Interval>) -> Vec<Interval> {
    intervals.sort_unstable();
    let mut joined: Vec<Interval> = Vec::with_capacity(intervals.len().min(1 << 16));
    for one in intervals {
        match joined.last_mut() {
            Some(last) if one.start_ns <= last.end_ns => last.end_ns = last.end_ns.max(one.end_ns),
            _ => joined.push(one),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::evidence::{HopEvidence, Witness};

    fn segment(start_ns: u64, len_ns: u64, kind: Segment, witness: Option<Witness>) -> LongSegment {
        LongSegment {
            start_ns,
            len_ns,
            kind,
            node: 0,
            witness,
        }
    }

    fn passage(due_ns: u64, done_ns: u64) -> Passage {
        Passage {
            t_offer_ns: due_ns,
            origin_ns: 0,
            wait_ns: 0,
            service_ns: (done_ns - due_ns) as u32,
            source: 0,
            flags: Passage::LEFT,
        }
    }

    fn run(segments: Vec<LongSegment>, passages: Vec<Passage>) -> Evidence {
        Evidence {
            loops: vec![LoopEvidence {
                segments,
                idle_p99_9_ns: 100,
                receive_p99_ns: 900,
                ..LoopEvidence::default()
            }],
            hops: vec![HopEvidence {
                passages,
                ..HopEvidence::default()
            }],
            began_ns: 0,
        }
    }

    #[test]
    fn thresholds_follow_the_turns_within_their_bounds() {
        let noted = |idle, receive| LoopEvidence {
            idle_p99_9_ns: idle,
            receive_p99_ns: receive,
            ..LoopEvidence::default()
        };
        let of = |idle, receive| {
            let thresholds = Thresholds::of(&noted(idle, receive));
            (thresholds.idle_ns, thresholds.receive_ns)
        };
        assert_eq!(of(20, 0), (500, 500));
        assert_eq!(of(300, 400), (900, 900));
        assert_eq!(of(300, 2_000), (900, 4_000));
        assert_eq!(of(9_000, 100), (5_000, 5_000));
    }

    #[test]
    fn idle_time_speaks_for_itself_and_a_handler_needs_a_witness() {
        let thresholds = Thresholds {
            idle_ns: 600,
            receive_ns: 1_800,
        };
        let host = Witness {
            off_cpu_ns: 20_000,
            ..Witness::default()
        };
        let own = Witness { faults: 1, ..host };
        let is_gap = |len, kind, witness| thresholds.is_gap(&segment(0, len, kind, witness));
        assert!(is_gap(600, Segment::Idle, None) && !is_gap(599, Segment::Idle, None));
        assert!(is_gap(1_800, Segment::Receive, None) && !is_gap(1_799, Segment::Receive, None));
        assert!(is_gap(20_000, Segment::Handler, Some(host)));
        assert!(!is_gap(20_000, Segment::Handler, Some(own)));
        assert!(!is_gap(1 << 30, Segment::Send, Some(Witness::default())));
        assert!(is_own(&segment(0, 20_000, Segment::Handler, Some(own))));
    }

    #[test]
    fn a_gap_lasts_until_the_line_is_empty_again() {
        // A gap from 10 to 20 us; the messages that waited for it are done with at 24; then comes one that is alone.
        let messages = vec![
            passage(1_000, 1_500),
            passage(12_000, 22_000),
            passage(21_500, 24_000),
            passage(30_000, 30_500),
        ];
        let evidence = run(
            vec![segment(10_000, 10_000, Segment::Idle, None)],
            messages.clone(),
        );
        let gaps = Gaps::find(&evidence, &[]);
        let extended = Interval {
            start_ns: 10_000,
            end_ns: 24_000,
        };
        assert_eq!(gaps.extended, [extended]);
        let tainted: Vec<bool> = messages.iter().map(|one| gaps.taint(one, 0)).collect();
        assert_eq!(tainted, [false, true, true, false]);
        // One that is exposed for longer than it took is touched by a gap behind it.
        assert!(gaps.taint(&messages[0], 9_500));
        assert!(!gaps.taint(&messages[0], 9_000));
        assert_eq!(gaps.time_in(0, 15_000), 5_000);
        let extended = [(0, 15_000), (11_000, 40_000), (24_000, 40_000)];
        let extended = extended.map(|(from, until)| gaps.extended_in(from, until));
        assert_eq!(extended, [5_000, 13_000, 0]);
    }

    #[test]
    fn a_long_gap_is_found_behind_any_number_of_short_ones_and_time_of_two_loops_counts_once() {
        // One loop is away from 1 to 11 ms; another one for 1 us of each 20 meanwhile, 500 times.
        let short =
            (0..500).map(|nth| segment(1_000_000 + nth * 20_000, 1_000, Segment::Idle, None));
        let mut evidence = run(short.collect(), Vec::new());
        let long = run(
            vec![segment(1_000_000, 10_000_000, Segment::Idle, None)],
            Vec::new(),
        );
        evidence.loops.extend(long.loops);
        let gaps = Gaps::find(&evidence, &[]);
        let until = |at_ns| gaps.first_seen_at(at_ns).map(|gap| gap.end_ns);
        assert_eq!(gaps.seen.len(), 501);
        assert_eq!(until(10_500_500), Some(11_000_000));
        assert_eq!(
            (until(1_000_000), until(999_999), until(11_000_000)),
            (Some(11_000_000), None, None)
        );
        assert_eq!(gaps.time_in(0, u64::MAX), 10_000_000);
        assert_eq!(gaps.time_in(2_000_000, 2_000_700), 700);
        assert_eq!(
            (gaps.time_in(0, 1_000_000), gaps.time_in(12_000_000, 5)),
            (0, 0)
        );
    }

    #[test]
    fn gaps_of_others_count_and_overlapping_ones_become_one() {
        let evidence = run(
            vec![
                segment(10_000, 5_000, Segment::Idle, None),
                segment(17_000, 100, Segment::Idle, None),
            ],
            Vec::new(),
        );
        let more = [Interval {
            start_ns: 12_000,
            end_ns: 18_000,
        }];
        let gaps = Gaps::find(&evidence, &more);
        let joined = Interval {
            start_ns: 10_000,
            end_ns: 18_000,
        };
        assert_eq!(gaps.extended, [joined]);
        assert_eq!(gaps.seen.len(), 2, "what is below the threshold is none");
        assert_eq!(joined.len_ns(), 8_000);
    }

    #[test]
    fn a_gap_during_the_programs_own_doing_on_another_core_is_not_the_hosts() {
        let faults = |faults| {
            Some(Witness {
                faults,
                ..Witness::default()
            })
        };
        let noted = |segments: Vec<LongSegment>| LoopEvidence {
            segments,
            idle_p99_9_ns: 100,
            ..LoopEvidence::default()
        };
        // One core faults from 10 to 40 us; on the other are gaps at the same time and later. A gap of the same loop ends
        // where its own doing begins, and that of a sender is seen like any other's.
        let evidence = Evidence {
            loops: vec![
                noted(vec![
                    segment(8_000, 2_000, Segment::Idle, None),
                    segment(10_000, 30_000, Segment::Handler, faults(3)),
                    segment(60_000, 30_000, Segment::Handler, faults(0)),
                ]),
                noted(vec![
                    segment(12_000, 15_000, Segment::Idle, None),
                    segment(40_000, 15_000, Segment::Idle, None),
                    segment(62_000, 15_000, Segment::Idle, None),
                ]),
            ],
            hops: vec![HopEvidence {
                passages: vec![passage(13_000, 28_000), passage(63_000, 78_000)],
                ..HopEvidence::default()
            }],
            began_ns: 0,
        };
        let at = |start_ns, end_ns| Interval { start_ns, end_ns };
        let gaps = Gaps::find(&evidence, &[at(39_000, 41_000), at(100_000, 101_000)]);
        assert_eq!(gaps.own, [at(12_000, 27_000), at(39_000, 41_000)]);
        let seen = [
            at(8_000, 10_000),
            at(40_000, 55_000),
            at(62_000, 77_000),
            at(100_000, 101_000),
        ];
        assert_eq!(gaps.seen, seen);
        let is_own = |of: usize, nth: usize| gaps.is_own(&evidence.loops[of].segments[nth]);
        assert!(is_own(1, 0) && !is_own(1, 1) && !is_own(0, 0));
        let tainted = |at: usize| gaps.taint(&evidence.hops[0].passages[at], 0);
        assert!(!tainted(0), "what the program did is not excused");
        assert!(
            tainted(1),
            "a long handler without a fault is no doing of that kind"
        );
    }

    #[test]
    fn a_short_gap_within_an_unusually_long_handler_on_another_core_is_not_the_hosts() {
        let noted = |node: &str, segments: Vec<LongSegment>| LoopEvidence {
            nodes: vec![node.to_owned()],
            segments,
            idle_p99_9_ns: 100,
            ..LoopEvidence::default()
        };
        let seen_by = |witness, usual_ns: u64, gap: (u64, u64)| {
            let handler = LongSegment {
                node: 1,
                ..segment(100_000, 40_000, Segment::Handler, witness)
            };
            let idle = segment(gap.0, gap.1, Segment::Idle, None);
            let usual = (0..9).map(|nth| passage(nth * 50_000, nth * 50_000 + usual_ns));
            let evidence = Evidence {
                loops: vec![noted("stage", vec![handler]), noted("out", vec![idle])],
                hops: vec![HopEvidence {
                    name: "in->stage".to_owned(),
                    passages: usual.collect(),
                    lost: 0,
                }],
                began_ns: 0,
            };
            let gaps = Gaps::find(&evidence, &[]);
            gaps.seen.contains(&Interval::of(&idle))
        };
        let nothing = Some(Witness::default());
        let taken = Witness {
            involuntary: 1,
            ..Witness::default()
        };
        let within = (110_000, 20_000);
        assert!(!seen_by(nothing, 600, within));
        assert!(!seen_by(nothing, 600, (99_500, 40_000)));
        assert!(
            seen_by(Some(taken), 600, within),
            "that one was taken away itself"
        );
        assert!(
            seen_by(nothing, 20_000, within),
            "it always takes that long"
        );
        assert!(seen_by(nothing, 600, (95_000, 20_000)), "it began before");
        assert!(seen_by(nothing, 600, (130_000, 20_000)), "it lasted on");
        assert!(seen_by(None, 600, within), "nobody asked the kernel");
    }
}
