//! Each cause is planted in one frame of a hundred, and found there and nowhere else.
//!
//! Invariant: no test reads a clock.

use super::*;
use hopline::budget::{HopEvidence, LoopEvidence, Witness};

/// Frames over each hop, one every 100 us.
const FRAMES: u64 = 100;
const EVERY_NS: u64 = 100_000;

/// The frame with the fault.
const NTH: u64 = 50;

/// What a fault takes.
const LONG_NS: u64 = 20_000;

const HOST: Witness = Witness {
    off_cpu_ns: LONG_NS,
    voluntary: 0,
    involuntary: 1,
    faults: 0,
};

fn offer_ns(nth: u64) -> u64 {
    (nth + 1) * EVERY_NS
}

/// `in` and `stage` on one loop, `out` on another. A frame waits 200 ns and takes 300.
fn line() -> Evidence {
    let hop = |name: &str| HopEvidence {
        name: name.to_owned(),
        passages: (0..FRAMES)
            .map(|nth| Passage {
                t_offer_ns: offer_ns(nth),
                wait_ns: 200,
                service_ns: 300,
                flags: Passage::LEFT,
                ..Passage::default()
            })
            .collect(),
        lost: 0,
    };
    let noted = |nodes: &[&str]| LoopEvidence {
        nodes: nodes.iter().map(|name| (*name).to_owned()).collect(),
        idle_p99_9_ns: 50,
        receive_p99_ns: 500,
        ..LoopEvidence::default()
    };
    Evidence {
        loops: vec![noted(&["in", "stage"]), noted(&["out"])],
        hops: vec![hop("in->stage"), hop("stage->out")],
        began_ns: 0,
    }
}

/// A segment of a node by its place on its loop, plus one.
fn segment(start_ns: u64, kind: Segment, node: u16, witness: Option<Witness>) -> LongSegment {
    LongSegment {
        start_ns,
        len_ns: LONG_NS,
        kind,
        node,
        witness,
    }
}

/// The handler of the frame with the fault takes long.
fn in_handler(evidence: &mut Evidence, witness: Option<Witness>) {
    let passage = &mut evidence.hops[0].passages[NTH as usize];
    passage.service_ns = LONG_NS as u32;
    let start_ns = passage.t_offer_ns + 200;
    if let Some(witness) = witness {
        let handler = segment(start_ns, Segment::Handler, 2, Some(witness));
        evidence.loops[0].segments.push(handler);
    }
}

/// It waits long.
fn waits(evidence: &mut Evidence) -> u64 {
    let passage = &mut evidence.hops[0].passages[NTH as usize];
    passage.wait_ns = LONG_NS as u32;
    passage.t_offer_ns
}

/// The causes of all frames of the first hop but the usual one, with the frame's number; and the second hop has none.
fn found(evidence: &Evidence) -> Vec<(u64, String)> {
    let gaps = Gaps::find(evidence, &[]);
    let causes = Causes::new(evidence, &gaps);
    let of = |hop: usize, nth: u64| causes.of(hop, &evidence.hops[hop].passages[nth as usize]);
    for nth in 0..FRAMES {
        assert_eq!(of(1, nth), "service", "frame {nth} of the second hop");
    }
    let all = (0..FRAMES).map(|nth| (nth, of(0, nth)));
    all.filter(|(_, cause)| cause != "service").collect()
}

fn only(cause: &str) -> Vec<(u64, String)> {
    vec![(NTH, cause.to_owned())]
}

#[test]
fn a_quiet_line_has_no_cause_but_its_own_service() {
    assert_eq!(found(&line()), []);
}

#[test]
fn a_fault_in_the_handler_is_the_programs() {
    let mut evidence = line();
    let faults = Witness { faults: 1, ..HOST };
    in_handler(&mut evidence, Some(faults));
    assert_eq!(found(&evidence), only("page_fault"));
}

#[test]
fn a_wait_in_the_handler_is_the_programs() {
    let mut evidence = line();
    let sleeps = Witness {
        voluntary: 1,
        ..HOST
    };
    in_handler(&mut evidence, Some(sleeps));
    assert_eq!(found(&evidence), only("blocked_in_handler"));
}

#[test]
fn a_processor_taken_away_in_the_handler_is_preempted() {
    let mut evidence = line();
    in_handler(&mut evidence, Some(HOST));
    assert_eq!(found(&evidence), only("preempted"));
    // One that was taken away for a little of it was long by itself.
    let little = Witness {
        off_cpu_ns: LONG_NS / 10,
        ..HOST
    };
    evidence.loops[0].segments[0].witness = Some(little);
    assert_eq!(found(&evidence), only("interrupt_or_own"));
}

#[test]
fn a_processor_taken_away_in_the_handler_explains_no_longer_wait_before_it() {
    let mut evidence = line();
    in_handler(&mut evidence, Some(HOST));
    let passage = &mut evidence.hops[0].passages[NTH as usize];
    passage.t_offer_ns -= 2 * LONG_NS;
    passage.wait_ns += 2 * LONG_NS as u32;
    assert_eq!(found(&evidence), only("queueing"));
}

#[test]
fn a_spin_in_the_handler_is_never_the_hosts_whatever_happens_elsewhere() {
    let mut evidence = line();
    in_handler(&mut evidence, Some(Witness::default()));
    assert_eq!(found(&evidence), only("interrupt_or_own"));
    // A gap on the other core meanwhile, and one of its own before the frame came.
    let at_ns = offer_ns(NTH);
    let gap = segment(at_ns + 500, Segment::Idle, 0, None);
    evidence.loops[1].segments.push(gap);
    let before = segment(at_ns - LONG_NS - 1_000, Segment::Idle, 0, None);
    evidence.loops[0].segments.insert(0, before);
    assert_eq!(found(&evidence), only("interrupt_or_own"));
    // Where all frames take long it is the usual service.
    for passage in &mut evidence.hops[0].passages {
        passage.service_ns = LONG_NS as u32;
    }
    assert_eq!(found(&evidence), []);
}

#[test]
fn a_gap_while_a_frame_waits_is_the_hosts() {
    let mut evidence = line();
    let at_ns = waits(&mut evidence);
    let gap = segment(at_ns - 1_000, Segment::Idle, 0, None);
    evidence.loops[0].segments.push(gap);
    assert_eq!(found(&evidence), only("host_gap"));
}

#[test]
fn a_gap_that_is_a_small_part_of_a_wait_explains_none_of_it() {
    let mut evidence = line();
    let at_ns = waits(&mut evidence);
    // Long before the frame came; the line was empty after it.
    let gap = segment(at_ns - LONG_NS - 30_000, Segment::Idle, 0, None);
    evidence.loops[0].segments.push(gap);
    assert_eq!(found(&evidence), only("queueing"));
}

#[test]
fn a_frame_behind_one_that_was_preempted_has_met_a_gap() {
    let mut evidence = line();
    in_handler(&mut evidence, Some(HOST));
    let first = evidence.hops[0].passages[NTH as usize];
    let next = &mut evidence.hops[0].passages[NTH as usize + 1];
    next.t_offer_ns = first.t_offer_ns + 1_000;
    next.wait_ns = (first.done_ns() - next.t_offer_ns) as u32;
    let causes = [
        (NTH, "preempted".to_owned()),
        (NTH + 1, "host_gap".to_owned()),
    ];
    assert_eq!(found(&evidence), causes);
    // Behind one that took long by itself it is queueing.
    evidence.loops[0].segments[0].witness = Some(Witness::default());
    let causes = [
        (NTH, "interrupt_or_own".to_owned()),
        (NTH + 1, "queueing".to_owned()),
    ];
    assert_eq!(found(&evidence), causes);
}

#[test]
fn a_backlog_that_outlasts_its_gap_by_far_is_not_the_hosts() {
    let mut evidence = line();
    // From the gap on the line is never empty again: more comes than it can do.
    for passage in &mut evidence.hops[0].passages[NTH as usize..] {
        passage.wait_ns = 3 * EVERY_NS as u32 / 2;
    }
    evidence.hops[0].passages[NTH as usize].wait_ns = 2 * LONG_NS as u32;
    let gap = segment(offer_ns(NTH) - 1_000, Segment::Idle, 0, None);
    evidence.loops[0].segments.push(gap);
    for passage in &mut evidence.hops[1].passages {
        passage.service_ns = EVERY_NS as u32;
    }
    let found = found(&evidence);
    assert_eq!(found[0], (NTH, "host_gap".to_owned()));
    let behind = found[1..].iter().all(|(_, cause)| cause == "queueing");
    assert!(
        behind && found.len() == (FRAMES - NTH) as usize,
        "{found:?}"
    );
}

#[test]
fn a_wait_without_any_gap_is_queueing() {
    let mut evidence = line();
    waits(&mut evidence);
    assert_eq!(found(&evidence), only("queueing"));
}

#[test]
fn who_had_no_room_is_held_back_and_the_consumer_is_named() {
    let mut evidence = line();
    let at_ns = waits(&mut evidence);
    let held = segment(at_ns, Segment::HeldBack, 2, Some(Witness::default()));
    evidence.loops[0].segments.push(held);
    assert_eq!(found(&evidence), only("held_back{out}"));
    // Of two consumers the one with the fuller hop.
    let mut other = evidence.hops[1].clone();
    other.name = "stage.log->file".to_owned();
    other.passages[NTH as usize - 1].wait_ns = 2 * EVERY_NS as u32;
    evidence.hops.push(other);
    assert_eq!(found(&evidence), only("held_back{file}"));
    // Another node that was held back meanwhile is no cause.
    evidence.loops[0].segments[0].node = 0;
    assert_eq!(found(&evidence), only("queueing"));
}

#[test]
fn a_sink_is_held_back_by_the_outside() {
    let mut evidence = line();
    evidence.hops.remove(0);
    let mut other = line().hops[1].clone();
    other.name = "stage.log->file".to_owned();
    evidence.hops.push(other);
    let passage = &mut evidence.hops[0].passages[NTH as usize];
    passage.wait_ns = LONG_NS as u32;
    let at_ns = passage.t_offer_ns;
    let held = segment(at_ns, Segment::HeldBack, 1, Some(Witness::default()));
    evidence.loops[1].segments.push(held);
    assert_eq!(found(&evidence), only("held_back{outside}"));
}

#[test]
fn a_gap_made_by_a_fault_on_another_core_is_the_programs() {
    let mut evidence = line();
    let at_ns = waits(&mut evidence);
    let gap = segment(at_ns, Segment::Idle, 0, None);
    evidence.loops[0].segments.push(gap);
    let faults = Witness { faults: 9, ..HOST };
    // On the other loop, in a handler of no frame that is looked at.
    let own = segment(at_ns + 1_000, Segment::Handler, 0, Some(faults));
    evidence.loops[1].segments.push(own);
    assert_eq!(found(&evidence), only("shootdown"));
}

#[test]
fn a_fault_of_another_node_at_the_same_time_is_not_this_ones() {
    let mut evidence = line();
    in_handler(&mut evidence, Some(Witness::default()));
    let faults = Witness { faults: 1, ..HOST };
    let own = segment(offer_ns(NTH) + 600, Segment::Handler, 1, Some(faults));
    evidence.loops[1].segments.push(own);
    assert_eq!(found(&evidence), only("interrupt_or_own"));
}

#[test]
fn what_a_source_was_late_by_has_its_own_cause() {
    let of = |change: &dyn Fn(&mut Evidence)| {
        let mut evidence = line();
        evidence.hops.truncate(1);
        let passage = &mut evidence.hops[0].passages[NTH as usize];
        passage.origin_ns = LONG_NS as u32;
        change(&mut evidence);
        let gaps = Gaps::find(&evidence, &[]);
        let (causes, ways) = (Causes::new(&evidence, &gaps), Ways::new(&evidence));
        let left: Vec<(usize, &Passage)> = evidence.hops[0]
            .passages
            .iter()
            .map(|one| (0, one))
            .collect();
        let worst = worst(&causes, &ways, &left, 0);
        assert_eq!(
            (worst[0].took_ns, worst[0].late_ns),
            (LONG_NS + 500, LONG_NS)
        );
        assert_eq!(
            (&*worst[1].cause, &*worst[1].place),
            ("service", "in->stage")
        );
        (worst[0].cause.clone(), worst[0].place.clone())
    };
    let said = |cause: &str| (cause.to_owned(), "in".to_owned());
    let due_ns = offer_ns(NTH) - LONG_NS;
    assert_eq!(of(&|_| ()), said("queueing"));
    let noted = |evidence: &mut Evidence, kind, witness| {
        evidence.loops[0]
            .segments
            .push(segment(due_ns, kind, 1, witness));
    };
    assert_eq!(
        of(&|line| noted(line, Segment::Idle, None)),
        said("host_gap")
    );
    let held = Some(Witness::default());
    let held = |line: &mut Evidence| noted(line, Segment::HeldBack, held);
    assert_eq!(of(&held), said("held_back{stage}"));
}

#[test]
fn gaps_of_two_loops_at_the_same_time_are_no_longer_than_one() {
    let cause = |len_ns| {
        let mut evidence = line();
        let offer_ns = waits(&mut evidence);
        for noted in &mut evidence.loops {
            let gap = segment(offer_ns, Segment::Idle, 0, None);
            noted.segments.push(LongSegment { len_ns, ..gap });
        }
        let gaps = Gaps::find(&evidence, &[]);
        Causes::new(&evidence, &gaps).of(0, &evidence.hops[0].passages[NTH as usize])
    };
    // Its backlog lasts three times as long as both.
    assert_eq!(cause(LONG_NS * 3 / 10), "queueing");
    assert_eq!(cause(LONG_NS * 6 / 10), "host_gap");
}

#[test]
fn a_core_that_ran_slowly_is_the_cause_of_what_it_can_explain() {
    let mut evidence = line();
    evidence.hops[0].passages[NTH as usize].service_ns = 550;
    let span = Interval {
        start_ns: offer_ns(NTH),
        end_ns: offer_ns(NTH) + EVERY_NS,
    };
    let slow = |spans| Slowed {
        usual_ns: 100,
        spans,
    };
    let cause = |evidence: &Evidence, nth: u64, slowed: [Vec<Interval>; 2]| {
        let gaps = Gaps::find(evidence, &[]);
        let slowed = slowed.map(slow);
        let causes = Causes::new(evidence, &gaps).knowing(&slowed);
        causes.of(0, &evidence.hops[0].passages[nth as usize])
    };
    assert_eq!(cause(&evidence, NTH, [vec![span], vec![]]), "slow_core");
    assert_eq!(cause(&evidence, NTH + 2, [vec![span], vec![]]), "service");
    // The loop of `out` has another core.
    assert_eq!(cause(&evidence, NTH, [vec![], vec![span]]), "service");
    in_handler(&mut evidence, None);
    let found = cause(&evidence, NTH, [vec![span], vec![]]);
    assert_eq!(found, "interrupt_or_own", "no neighbour takes so much");
}
