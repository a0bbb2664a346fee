//! What loops note of themselves: the program's own doing is told from the host's, and every message has its passage.

use std::time::Duration;

use hopline::base::NoWhy;
use hopline::budget::taint::{Gaps, Interval, is_own};
use hopline::budget::{Evidence, LongSegment, Segment};
use hopline::frame::View;
use hopline::overload::WhenFull;
use hopline::stage::{Context, Outcome, Port, Stage};
use hopline::topology::{Hop, Line, Placement, Report, Running, Stop};
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

fn run(does: Does, noted: Option<usize>) -> (Report, Evidence) {
    let mut line = Line::builder("evidence");
    line.source("in", Counting::new(COUNT, 20_000));
    line.stage("stage", move || Misbehaves { does, touched: 0 });
    line.sink("out", Collect::default());
    line.connect("in", "stage", Hop::depth(1024));
    line.connect("stage", "out", Hop::depth(1024));
    line.placement(Placement {
        pin: hopline::host::Pin::Off,
        wait: Some(Strategy::Spin),
        threads_max: Some(1),
        ..Placement::default()
    });
    let mut line = line.build().unwrap();
    if let Some(messages) = noted {
        line.note_evidence(messages);
    }
    let mut running: Running = line.start().unwrap();
    let cause = running.watch(&Stop::after(Duration::from_secs(20)), |_| {});
    let (report, evidence) = running.end_noted(cause);
    assert!(report.is_good(), "{:?}", report.ledger);
    (report, evidence)
}

/// The handler's segments of the stage, and how many of them hold.
fn share(evidence: &Evidence, holds: impl Fn(&LongSegment) -> bool) -> (usize, usize) {
    let noted = &evidence.loops[0];
    let stage = noted.nodes.iter().position(|name| name == "stage").unwrap() as u16 + 1;
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
fn its_own_sleep_and_its_own_faults_are_never_the_hosts() {
    for does in [Does::Sleeps, Does::Faults] {
        let (_, evidence) = run(does, Some(1 << 14));
        let (own, all) = share(&evidence, is_own);
        let planted = (COUNT / EVERY) as usize;
        assert!(
            own >= planted * 95 / 100,
            "{does:?}: {own} of {planted}, {all} long"
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
            "{does:?}: {named} of {planted} by their name"
        );
    }
}

#[test]
fn its_own_spin_is_noted_and_not_excused() {
    let (_, evidence) = run(Does::Spins, Some(1 << 14));
    let gaps = Gaps::find(&evidence, &[]);
    let (long, _) = share(&evidence, |one| one.len_ns >= SPIN_NS);
    let planted = (COUNT / EVERY) as usize;
    assert!(long >= planted, "{long} of {planted} spins were noted");
    // The host may take its slice inside a spin of 20 us, and then that one is its gap.
    let excused = |one: &LongSegment| {
        let whole = Interval {
            start_ns: one.start_ns,
            end_ns: one.end_ns(),
        };
        one.len_ns >= SPIN_NS && gaps.seen.contains(&whole)
    };
    let (excused, _) = share(&evidence, excused);
    assert!(
        excused <= planted / 2,
        "{excused} of {planted} spins were excused"
    );
}
