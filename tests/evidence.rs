//! What loops note of themselves: the program's own doing is told from the host's, and every message has its passage,
//! whether nodes share a loop or have one each.

use std::time::Duration;

use hopline::base::NoWhy;
use hopline::base::limits::SEGMENTS_TOLD;
use hopline::budget::taint::{Gaps, Interval, is_own};
use hopline::budget::{Evidence, LongSegment, LoopEvidence, Segment};
use hopline::frame::View;
use hopline::overload::WhenFull;
use hopline::stage::{Context, Outcome, Port, Stage};
use hopline::topology::{CleanReport, Hop, Line, Placement, Report, Running, Stop, ThreadSpec};
use hopline::wait::Strategy;

#[path = "common/numbers.rs"]
mod numbers;

use numbers::{Collect, Counting, NUMBERS, Number};

/// What a stage does with each n-th number.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Does {
    Nothing,
    Spins,
    Sleeps,
    Faults,
}

const EVERY: u64 = 100;
const COUNT: u64 = 5_000;
const SPIN_NS: u64 = 20_000;

#[derive(Clone)]
struct Misbehaves {
    does: Does,
    touched: usize,
}

impl Stage for Misbehaves {
    type In = Number;
    type Why = NoWhy;
    const PORTS: &'static [Port] = &[Port::new::<Number>("out")];

    fn on_frame(&mut self, number: View<'_, Number>, cx: &mut Context<'_>) -> Outcome<NoWhy> {
        if number.value().is_multiple_of(EVERY) {
            match self.does {
                Does::Nothing => {}
                Does::Spins => {
                    let until_ns = cx.stamp() + SPIN_NS;
                    while cx.stamp() < until_ns {}
                }
                Does::Sleeps => {
                    // Nobody ever sends: it gives its processor up for as long.
                    let (_tx, rx) = std::sync::mpsc::sync_channel::<()>(1);
                    let _ = rx.recv_timeout(Duration::from_micros(50));
                }
                // More than the allocator ever keeps: mapped anew, touched for the first time, given back at once.
                Does::Faults => {
                    let mut pages = Vec::with_capacity(40 << 20);
                    pages.resize(64 << 10, 1u8);
                    self.touched += pages.iter().filter(|byte| **byte == 1).count();
                }
            }
        }
        cx.emit(NUMBERS, &number.to_owned());
        Outcome::done()
    }
}

/// All nodes on one loop that spins, or a loop for each, which yield since there may be fewer cores.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Placed {
    Fused,
    Dedicated,
}

const PLACED: [Placed; 2] = [Placed::Fused, Placed::Dedicated];

fn line(does: Does, placed: Placed) -> Line {
    let mut line = Line::builder("evidence");
    line.source("in", Counting::new(COUNT, 20_000));
    line.stage("stage", move || Misbehaves { does, touched: 0 });
    line.sink("out", Collect::default());
    line.connect("in", "stage", Hop::depth(1024));
    line.connect("stage", "out", Hop::depth(1024));
    // Named threads may be more than there are cores.
    let thread = |name: &str| ThreadSpec {
        name: name.to_owned(),
        core: None,
        wait: Some(Strategy::YIELD),
        nodes: vec![name.to_owned()],
        ..ThreadSpec::default()
    };
    let (threads, wait) = match placed {
        Placed::Fused => (Vec::new(), Strategy::Spin),
        Placed::Dedicated => (["in", "stage", "out"].map(thread).into(), Strategy::YIELD),
    };
    line.placement(Placement {
        pin: hopline::host::Pin::Off,
        wait: Some(wait),
        threads_max: threads.is_empty().then_some(1),
        threads,
        ..Placement::default()
    });
    line.build().unwrap()
}

fn ended(running: Running, cause: &'static str) -> (Report, Evidence) {
    let (report, evidence) = running.end_noted(cause);
    assert!(report.is_good(), "{:?}", report.ledger);
    (report, evidence)
}

fn run_placed(does: Does, placed: Placed, noted: Option<usize>) -> (Report, Evidence) {
    let mut line = line(does, placed);
    if let Some(messages) = noted {
        line.note_evidence(messages);
    }
    let mut running: Running = line.start().unwrap();
    let cause = running.watch(&Stop::after(Duration::from_secs(20)), |_| {});
    ended(running, cause)
}

fn run(does: Does, noted: Option<usize>) -> (Report, Evidence) {
    run_placed(does, Placed::Fused, noted)
}

/// The loop that the stage is on, and its place there as segments have it.
fn of_stage(evidence: &Evidence) -> (&LoopEvidence, u16) {
    let on = |noted: &LoopEvidence| noted.nodes.iter().position(|name| name == "stage");
    let found = evidence
        .loops
        .iter()
        .find_map(|noted| Some((noted, on(noted)?)));
    let (noted, at) = found.unwrap();
    (noted, at as u16 + 1)
}

/// The handler's segments of the stage, and how many of them hold.
fn share(evidence: &Evidence, holds: impl Fn(&LongSegment) -> bool) -> (usize, usize) {
    let (noted, stage) = of_stage(evidence);
    let handler = noted
        .segments
        .iter()
        .filter(|one| one.kind == Segment::Handler && one.node == stage);
    let all: Vec<&LongSegment> = handler.collect();
    (all.iter().filter(|one| holds(one)).count(), all.len())
}

#[test]
fn every_message_has_its_passage_and_spans_are_those_of_the_report() {
    let (report, evidence) = run(Does::Nothing, Some(1 << 14));
    assert_eq!(evidence.hops.len(), 2);
    for (hop, reported) in evidence.hops.iter().zip(&report.hops) {
        assert_eq!((&hop.name, hop.lost), (&reported.name, 0));
        assert_eq!(hop.passages.len() as u64, reported.delivered);
        let longest = hop.passages.iter().map(|one| one.sojourn_ns()).max();
        assert_eq!(longest, Some(reported.sojourn_ns.max));
    }
    let left = |at: usize| {
        evidence.hops[at]
            .passages
            .iter()
            .filter(|one| one.has_left())
            .count()
    };
    assert_eq!((left(0), left(1)), (0, COUNT as usize));
    // A message keeps its due time on its way.
    let due = |at: usize| -> Vec<u64> {
        evidence.hops[at]
            .passages
            .iter()
            .map(|one| one.due_ns())
            .collect()
    };
    assert_eq!(due(0), due(1));
    let noted = &evidence.loops[0];
    assert_eq!((noted.nodes.len(), noted.lost), (3, 0));
    assert!(
        noted.idle_turns > 0 && noted.idle_p99_9_ns > 0,
        "{} idle turns",
        noted.idle_turns
    );
    let ends: Vec<u64> = noted.segments.iter().map(LongSegment::end_ns).collect();
    assert!(ends.is_sorted(), "segments are noted as they end");
}

#[test]
fn a_log_that_is_full_says_so() {
    let (report, evidence) = run(Does::Nothing, Some(100));
    for (hop, reported) in evidence.hops.iter().zip(&report.hops) {
        assert_eq!(
            (hop.passages.len() as u64, hop.lost),
            (100, reported.delivered - 100)
        );
    }
}

#[test]
fn every_shed_message_is_noted_once_and_in_time() {
    let mut line = Line::builder("sheds");
    // As fast as it goes, more in a turn than the hop has room for.
    line.source("in", Counting::new(COUNT, 0));
    line.sink("out", Collect::default());
    let full = Hop::depth(16).when_full(WhenFull::DropNewest);
    line.connect("in", "out", full);
    line.placement(Placement {
        pin: hopline::host::Pin::Off,
        threads_max: Some(1),
        ..Placement::default()
    });
    let mut line = line.build().unwrap();
    line.note_evidence(1 << 14);
    let mut running: Running = line.start().unwrap();
    let cause = running.watch(&Stop::after(Duration::from_secs(20)), |_| {});
    let (report, evidence) = running.end_noted(cause);
    let shed = report.ledger.shed;
    assert!(shed > COUNT / 4, "{shed} of {COUNT} were shed");
    let notes: Vec<_> = evidence.loops.iter().flat_map(|one| &one.sheds).collect();
    assert_eq!(notes.iter().map(|note| note.messages).sum::<u64>(), shed);
    assert!(notes.iter().all(|note| note.at_ns >= evidence.began_ns));
    assert!(notes.is_sorted_by_key(|note| note.at_ns));
    let in_order = |note: &&hopline::budget::ShedNote| note.hop == 0 && note.since_ns < note.at_ns;
    assert!(notes.iter().all(in_order));
    assert!(notes.windows(2).all(|two| two[0].at_ns <= two[1].since_ns));
}

#[test]
fn a_run_that_is_not_to_be_judged_notes_nothing() {
    let (_, evidence) = run(Does::Nothing, None);
    assert!(
        evidence
            .loops
            .iter()
            .all(|one| one.segments.is_empty() && one.idle_turns == 0)
    );
    assert!(
        evidence
            .hops
            .iter()
            .all(|hop| hop.passages.is_empty() && hop.lost == 0)
    );
}

#[test]
fn a_loop_for_each_node_notes_what_one_for_all_does() {
    let (report, evidence) = run_placed(Does::Nothing, Placed::Dedicated, Some(1 << 14));
    assert_eq!(report.placement.len(), 3);
    let nodes: Vec<usize> = evidence
        .loops
        .iter()
        .map(|noted| noted.nodes.len())
        .collect();
    assert_eq!(nodes, [1, 1, 1]);
    for (hop, reported) in evidence.hops.iter().zip(&report.hops) {
        assert_eq!(hop.passages.len() as u64, reported.delivered);
    }
    assert!(evidence.loops.iter().all(|noted| noted.idle_turns > 0));
}

#[test]
fn its_own_sleep_and_its_own_faults_are_never_the_hosts() {
    for (placed, does) in PLACED
        .into_iter()
        .flat_map(|placed| [Does::Sleeps, Does::Faults].map(|does| (placed, does)))
    {
        let (_, evidence) = run_placed(does, placed, Some(1 << 14));
        let (own, all) = share(&evidence, is_own);
        let planted = (COUNT / EVERY) as usize;
        assert!(
            own >= planted * 95 / 100,
            "{placed:?} {does:?}: {own} of {planted}, {all} long"
        );
        let by_name = |one: &LongSegment| {
            one.witness.is_some_and(|seen| match does {
                Does::Sleeps => seen.voluntary > 0,
                _ => seen.faults > 0 && seen.voluntary == 0,
            })
        };
        let (named, _) = share(&evidence, by_name);
        assert!(
            named >= planted * 90 / 100,
            "{placed:?} {does:?}: {named} of {planted} by their name"
        );
        // What was its own doing is no gap, on whatever loop.
        let gaps = Gaps::find(&evidence, &[]);
        let (noted, _) = of_stage(&evidence);
        let own = noted.segments.iter().filter(|one| is_own(one));
        let excused = own.filter(|one| gaps.seen.contains(&Interval::of(one)));
        assert_eq!(excused.count(), 0, "{placed:?} {does:?}");
    }
}

#[test]
fn its_own_spin_is_noted_and_not_excused() {
    for placed in PLACED {
        let (_, evidence) = run_placed(Does::Spins, placed, Some(1 << 14));
        let gaps = Gaps::find(&evidence, &[]);
        let (long, _) = share(&evidence, |one| one.len_ns >= SPIN_NS);
        let planted = (COUNT / EVERY) as usize;
        assert!(
            long >= planted,
            "{placed:?}: {long} of {planted} spins were noted"
        );
        // The host may take its slice inside a spin of 20 us, and then that one is its gap.
        let excused =
            |one: &LongSegment| one.len_ns >= SPIN_NS && gaps.seen.contains(&Interval::of(one));
        let (excused, _) = share(&evidence, excused);
        assert!(
            excused <= planted / 2,
            "{placed:?}: {excused} of {planted} spins were excused"
        );
    }
}

/// A watched run, looked at all the time or never, with gaps of another loop.
fn watched(looks: bool, gaps: &[Interval], count: u64) -> (Report, CleanReport) {
    let mut line = line(Does::Nothing, Placed::Fused);
    line.watch_clean();
    let mut meter = line.meter().unwrap();
    let mut running = line.start().unwrap();
    gaps.iter().for_each(|gap| meter.gap(*gap));
    // Nothing more from there.
    drop(meter);
    let stop = Stop::after(Duration::from_secs(20));
    let cause = running.watch(&stop, |running| {
        if looks {
            running.clean();
        }
    });
    running.drain(cause);
    let clean = running.clean().unwrap();
    let (report, evidence) = ended(running, cause);
    assert_eq!(report.hops[0].delivered, count);
    assert!(evidence.hops.iter().all(|hop| hop.passages.is_empty()));
    (report, clean)
}

#[test]
fn every_message_of_a_watched_run_is_clean_or_touched_in_the_end() {
    for looks in [true, false] {
        let (report, clean) = watched(looks, &[], COUNT);
        assert_eq!(clean.held, 0);
        for hop in &report.hops {
            let seen = &clean.hops[&hop.name];
            assert_eq!(seen.judged() + seen.not_judged, hop.delivered);
            // The host may keep the view away for long.
            assert!(seen.not_judged == 0 || clean.lost > 0);
            assert_eq!(seen.sojourn_ns.count, seen.clean);
            assert!(seen.sojourn_ns.max <= hop.sojourn_ns.max);
        }
        let whole = &clean.end_to_end;
        assert_eq!(whole.judged() + whole.not_judged, COUNT);
    }
}

#[test]
fn a_gap_of_another_loop_over_the_whole_run_touches_all_of_it() {
    let whole = Interval {
        start_ns: 0,
        end_ns: u64::MAX,
    };
    let (_, clean) = watched(true, &[whole], COUNT);
    for seen in clean.hops.values().chain([&clean.end_to_end]) {
        assert_eq!((seen.clean, seen.tainted + seen.not_judged), (0, COUNT));
        assert!(seen.not_judged == 0 || clean.lost > 0);
    }
}

#[test]
fn a_view_that_is_late_says_what_it_did_not_judge() {
    let mut line = line(Does::Nothing, Placed::Fused);
    line.watch_clean();
    let mut meter = line.meter().unwrap();
    let mut running = line.start().unwrap();
    // More than there is room for, before anybody looks.
    let gap = Interval {
        start_ns: 1,
        end_ns: 2,
    };
    (0..=SEGMENTS_TOLD).for_each(|_| meter.gap(gap));
    drop(meter);
    assert!(running.wait(Duration::from_secs(20)), "it ends by itself");
    let clean = running.clean().unwrap();
    let (report, _) = ended(running, "finished");
    assert!(clean.lost >= 1);
    for hop in &report.hops {
        let seen = &clean.hops[&hop.name];
        assert_eq!((seen.judged(), seen.not_judged), (0, hop.delivered));
    }
}

#[test]
fn a_run_that_is_not_watched_has_no_clean_figures_and_no_place_for_gaps() {
    let mut line = line(Does::Nothing, Placed::Fused);
    assert!(line.meter().is_none());
    let mut running = line.start().unwrap();
    assert!(running.clean().is_none());
    running.watch(&Stop::after(Duration::from_secs(20)), |_| {});
    ended(running, "finished");
}
