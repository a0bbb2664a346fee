//! Blame comes out under the right cause whether nodes share a loop or have one each.
//!
//! Lines run for real, and what they noted of the planted messages is judged as if each had been due when its handler began and
//! had left when it was offered on: what the host adds before and after is cut off, and what happened in the handler has
//! witnesses of its own. So a machine may be as loaded as it likes.
//!
//! Evidence whose loops or nodes are mixed up is seen: the same checks are red on it.

use std::time::Duration;

use hopline::base::NoWhy;
use hopline::base::limits::PASSAGES_DEFAULT;
use hopline::budget::{Evidence, Passage, Segment};
use hopline::frame::View;
use hopline::host::{Pin, allowed_cores};
use hopline::stage::{Context, Outcome, Port, Stage};
use hopline::topology::{Hop, Line, Placement, Report, Stop, ThreadSpec};
use hopline::wait::Strategy;
use hopline_harness::gate::analyse::{Given, analyse};

#[path = "../../tests/common/numbers.rs"]
mod numbers;

use numbers::{Collect, Counting, NUMBERS, Number};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Does {
    Spins,
    Sleeps,
    Faults,
}

const EVERY: u64 = 10;
const COUNT: u64 = 400;
const PLANTED: u64 = COUNT / EVERY;

/// Far enough apart that no frame waits for one before it.
const APART_NS: u64 = 500_000;

/// Worst frames that an analysis names: so many planted ones are looked at at once.
const AT_ONCE: usize = 20;

/// The most that a message takes behind the planted stage, in nanoseconds, as it is judged.
const AFTER_NS: u32 = 1_000;

/// What a spin or a sleep takes at the least.
const TAKES_NS: u64 = 100_000;

struct Misbehaves(Does);

impl Stage for Misbehaves {
    type In = Number;
    type Why = NoWhy;
    const PORTS: &'static [Port] = &[Port::new::<Number>("out")];

    fn on_frame(&mut self, number: View<'_, Number>, cx: &mut Context<'_>) -> Outcome<NoWhy> {
        if number.value().is_multiple_of(EVERY) {
            match self.0 {
                Does::Spins => {
                    let until_ns = cx.stamp() + TAKES_NS;
                    while cx.stamp() < until_ns {}
                }
                Does::Sleeps => {
                    // Nobody ever sends: it gives its processor up for as long.
                    let (_tx, rx) = std::sync::mpsc::sync_channel::<()>(1);
                    let _ = rx.recv_timeout(Duration::from_nanos(TAKES_NS));
                }
                // More than the allocator ever keeps: mapped anew, touched for the first time, given back at once.
                Does::Faults => {
                    let mut pages = Vec::with_capacity(40 << 20);
                    pages.resize(256 << 10, 1u8);
                    std::hint::black_box(&pages);
                }
            }
        }
        cx.emit(NUMBERS, &number.to_owned());
        Outcome::done()
    }
}

/// What a run reported and noted.
struct Ran {
    report: Report,
    evidence: Evidence,
}

fn run(does: Does, dedicated: bool) -> Ran {
    let mut line = Line::builder("placed");
    line.source("in", Counting::new(COUNT, APART_NS));
    line.stage("stage", move || Misbehaves(does));
    line.sink("out", Collect::default());
    line.connect("in", "stage", Hop::depth(1024));
    line.connect("stage", "out", Hop::depth(1024));
    // The stage alone and the others together, on a core each where there are two.
    let cores = allowed_cores();
    let (wait, pin) = match cores.len() {
        0 | 1 => (Strategy::YIELD, Pin::Off),
        _ => (Strategy::Spin, Pin::Prefer),
    };
    let thread = |nodes: &[&str], at: usize| ThreadSpec {
        name: nodes.join("-"),
        core: cores.get(at).copied().filter(|_| pin == Pin::Prefer),
        wait: Some(wait),
        nodes: nodes.iter().map(|&name| name.to_owned()).collect(),
        ..ThreadSpec::default()
    };
    let threads = match dedicated {
        true => vec![thread(&["in", "out"], 0), thread(&["stage"], 1)],
        false => vec![thread(&["in", "stage", "out"], 0)],
    };
    line.placement(Placement {
        pin,
        threads,
        ..Placement::default()
    });
    let mut line = line.build().unwrap();
    line.note_evidence(PASSAGES_DEFAULT / 64);
    let mut running = line.start().unwrap();
    let cause = running.watch(&Stop::after(Duration::from_secs(20)), |_| {});
    let (report, evidence) = running.end_noted(cause);
    assert!(report.is_good(), "{:?}", report.ledger);
    assert_eq!(evidence.loops.len(), if dedicated { 2 } else { 1 });
    for hop in &evidence.hops {
        assert_eq!((hop.passages.len() as u64, hop.lost), (COUNT, 0));
    }
    Ran { report, evidence }
}

/// What is noted of the hop of that name.
fn hop<'e>(evidence: &'e mut Evidence, name: &str) -> &'e mut Vec<Passage> {
    let mut hops = evidence.hops.iter_mut();
    let found = hops.find(|hop| hop.name == name);
    &mut found.expect("the line has it").passages
}

/// When the handler of a message on its hop began.
fn began_ns(passage: &Passage) -> u64 {
    passage.done_ns() - u64::from(passage.service_ns)
}

impl Ran {
    /// The evidence of these messages alone, with nothing in it but what their handlers took.
    fn only(&self, messages: &[usize]) -> Evidence {
        let mut evidence = self.evidence.clone();
        let came = hop(&mut evidence, "in->stage");
        for &at in messages {
            let passage = &mut came[at];
            passage.t_offer_ns = began_ns(passage);
            (passage.origin_ns, passage.wait_ns) = (0, 0);
        }
        let due_ns: Vec<u64> = messages.iter().map(|&at| came[at].t_offer_ns).collect();
        let left = hop(&mut evidence, "stage->out");
        let kept = messages.iter().zip(due_ns).map(|(&at, due_ns)| {
            let passage = left[at];
            Passage {
                origin_ns: u32::try_from(passage.t_offer_ns - due_ns).expect("less than seconds"),
                wait_ns: 0,
                service_ns: passage.service_ns.min(AFTER_NS),
                ..passage
            }
        });
        *left = kept.collect();
        evidence
    }

    /// Of each planted message the cause, and when its handler began and ended.
    fn planted(&self) -> Vec<(String, [u64; 2])> {
        let planted: Vec<usize> = (0..COUNT as usize).step_by(EVERY as usize).collect();
        let mut found = Vec::new();
        for some in planted.chunks(AT_ONCE) {
            let mut evidence = self.only(some);
            let run = analyse(&self.report, &evidence, &Given::default());
            assert_eq!(run.worst.len(), some.len());
            let began_ns = evidence.began_ns;
            let came = hop(&mut evidence, "in->stage");
            for frame in &run.worst {
                let due_ns = began_ns + frame.at_ns;
                let of_it = |one: &&Passage| one.t_offer_ns == due_ns;
                let passage = came.iter().rfind(of_it).expect("it came by there");
                assert!(u64::from(passage.service_ns) > frame.took_ns / 2);
                found.push((frame.cause.clone(), [due_ns, passage.done_ns()]));
            }
        }
        assert_eq!(found.len() as u64, PLANTED);
        found
    }

    /// How often the loops did that themselves, in the whole run.
    fn own(&self, name: &str) -> u64 {
        let run = analyse(&self.report, &self.evidence, &Given::default());
        let loops = run.loops.iter();
        loops.filter_map(|one| one.own_faults.get(name)).sum()
    }

    /// Whether a witness says that in this span a handler faulted or waited, or the host took the processor from it.
    fn is_touched(&self, [from_ns, until_ns]: [u64; 2]) -> bool {
        let segments = self.evidence.loops.iter().flat_map(|one| &one.segments);
        let mut during = segments.filter(|segment| {
            segment.kind == Segment::Handler
                && segment.start_ns < until_ns
                && segment.end_ns() > from_ns
        });
        during.any(|segment| {
            let witness = segment.witness;
            witness.is_some_and(|witness| witness.is_own() || witness.is_host())
        })
    }

    /// The same where what was long in a handler is taken for time between turns.
    fn with_handlers_idle(mut self) -> Ran {
        let segments = self
            .evidence
            .loops
            .iter_mut()
            .flat_map(|one| &mut one.segments);
        for segment in segments.filter(|segment| segment.kind == Segment::Handler) {
            segment.kind = Segment::Idle;
            segment.witness = None;
        }
        for noted in &mut self.evidence.loops {
            // Whatever turns without work took on this machine: what is longer is the host's.
            noted.idle_p99_9_ns = 0;
        }
        self
    }

    /// The same where the stage's segments are taken for those of another loop, or of another node of its loop.
    fn mixed_up(mut self) -> Ran {
        if let [one, other] = &mut self.evidence.loops[..] {
            core::mem::swap(&mut one.segments, &mut other.segments);
        }
        for noted in &mut self.evidence.loops {
            noted.nodes.rotate_left(1);
        }
        self
    }
}

/// A sleep is seen as one in each of them; in the loops' counts those are left out in which the host had a hand as well.
fn its_own_sleep_is_blamed_as_one(ran: &Ran) -> Result<(), String> {
    let seen = ran.own("blocked_in_handler");
    if seen < PLANTED * 3 / 4 {
        return Err(format!("{seen} of {PLANTED} were seen"));
    }
    all(ran, |(cause, _)| cause == "blocked_in_handler")
}

/// The host may make some of them wait as well, which is another name and its own all the same.
fn its_own_faults_are_blamed_as_such(ran: &Ran) -> Result<(), String> {
    let (faulted, blocked) = (ran.own("page_fault"), ran.own("blocked_in_handler"));
    if faulted + blocked < PLANTED * 3 / 4 || faulted < PLANTED / 2 {
        return Err(format!("{faulted} and {blocked} of {PLANTED} were seen"));
    }
    let causes = ["page_fault", "blocked_in_handler"];
    all(ran, |(cause, _)| causes.contains(&cause.as_str()))
}

/// It is the stage's own, and nobody held it back, where no witness says that something else had a hand in it: as in most of
/// them, for they are shorter than the slices of a scheduler.
fn its_own_spin_is_not_blamed_on_the_host(ran: &Ran) -> Result<(), String> {
    if ran.planted().iter().all(|(_, span)| ran.is_touched(*span)) {
        return Err("each was touched".to_owned());
    }
    let own = ["service", "slow_core", "interrupt_or_own"];
    all(ran, |(cause, span)| {
        own.contains(&cause.as_str()) || ran.is_touched(*span)
    })
}

/// Planted messages of which it may not hold: a host that takes the processor in the middle ends a wait before it was one, and
/// beside builds it did so to 6 of 40 in a row. How many are right on a free machine is what `benches/planted` counts; whatever
/// is mixed up is wrong of nearly all.
const ODD_MAX: usize = PLANTED as usize / 4;

/// Whether that holds for all planted messages but a few.
fn all(ran: &Ran, holds: impl Fn(&(String, [u64; 2])) -> bool) -> Result<(), String> {
    let planted = ran.planted();
    match planted.iter().filter(|one| !holds(one)).count() {
        ..=ODD_MAX => Ok(()),
        wrong => Err(format!(
            "{wrong} of {} are wrong: {planted:?}",
            planted.len()
        )),
    }
}

/// One after the other: lines that run beside each other are each other's noise.
#[test]
fn blame_is_the_same_whether_nodes_share_a_loop_or_not() {
    for dedicated in [false, true] {
        let slept = run(Does::Sleeps, dedicated);
        assert_eq!(
            its_own_sleep_is_blamed_as_one(&slept),
            Ok(()),
            "{dedicated}"
        );
        let faulted = run(Does::Faults, dedicated);
        assert_eq!(
            its_own_faults_are_blamed_as_such(&faulted),
            Ok(()),
            "{dedicated}"
        );
        let spun = run(Does::Spins, dedicated);
        assert_eq!(
            its_own_spin_is_not_blamed_on_the_host(&spun),
            Ok(()),
            "{dedicated}"
        );
        // What is no sleep is not taken for one, and what is mixed up is not taken for right.
        assert!(
            its_own_sleep_is_blamed_as_one(&faulted).is_err(),
            "{dedicated}"
        );
        assert!(
            its_own_faults_are_blamed_as_such(&spun).is_err(),
            "{dedicated}"
        );
        assert!(
            its_own_spin_is_not_blamed_on_the_host(&spun.with_handlers_idle()).is_err(),
            "{dedicated}"
        );
        assert!(
            its_own_sleep_is_blamed_as_one(&slept.mixed_up()).is_err(),
            "{dedicated}"
        );
        assert!(
            its_own_faults_are_blamed_as_such(&faulted.mixed_up()).is_err(),
            "{dedicated}"
        );
    }
}
