//! Blame comes out under the right cause whether nodes share a loop or have one each.
//!
//! What these assert holds on a machine of any noise: frames are judged that carry what was planted, and the host may add
//! others.

use std::time::Duration;

use hopline::base::NoWhy;
use hopline::base::limits::PASSAGES_DEFAULT;
use hopline::frame::View;
use hopline::host::{Pin, allowed_cores};
use hopline::stage::{Context, Outcome, Port, Stage};
use hopline::topology::{Hop, Line, Placement, Stop, ThreadSpec};
use hopline::wait::Strategy;
use hopline_harness::gate::analyse::{Given, analyse};
use hopline_harness::gate::model::{RunAnalysis, WorstFrame};

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

/// Runs until one shows a planted frame among its worst: on a machine where none of so many does, nothing can be told.
const TRIES: usize = 10;

/// Share of the time that the host may take from each loop of a run that is calm enough for a word on every frame.
const CALM: f64 = 0.02;

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

fn run(does: Does, dedicated: bool) -> RunAnalysis {
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
    analyse(&report, &evidence, &Given::default())
}

/// Of the worst frames those that spent in the stage's handler what was planted, and more than they waited for it, and that
/// no other hop held up for longer.
fn planted(run: &RunAnalysis) -> Vec<&WorstFrame> {
    let is_planted = |frame: &&WorstFrame| {
        let stop = frame.path.iter().find(|stop| stop.hop == "in->stage");
        frame.place == "in->stage"
            && stop.is_some_and(|stop| stop.service_ns >= TAKES_NS.max(stop.wait_ns))
    };
    run.worst.iter().filter(is_planted).collect()
}

/// A run whose worst frames are not all the host's doing.
fn run_that_shows(does: Does, dedicated: bool) -> RunAnalysis {
    let mut runs = (0..TRIES).map(|_| run(does, dedicated));
    let shown = runs.find(|run| !planted(run).is_empty());
    shown.expect("the worst frames of every run were the host's")
}

fn own(run: &RunAnalysis, name: &str) -> u64 {
    let loops = run.loops.iter();
    loops.filter_map(|one| one.own_faults.get(name)).sum()
}

fn its_own_sleep_is_blamed_as_one(dedicated: bool) {
    let run = run_that_shows(Does::Sleeps, dedicated);
    let seen = own(&run, "blocked_in_handler");
    assert!(seen >= PLANTED * 95 / 100, "{dedicated}: {seen}");
    for frame in planted(&run) {
        assert_eq!(frame.cause, "blocked_in_handler", "{dedicated}: {frame:?}");
    }
}

fn its_own_faults_are_blamed_as_such(dedicated: bool) {
    let run = run(Does::Faults, dedicated);
    // The host may make one of them wait as well, which is another name and its own all the same.
    let seen = own(&run, "page_fault") + own(&run, "blocked_in_handler");
    assert!(seen >= PLANTED * 95 / 100, "{dedicated}: {seen}");
    assert!(own(&run, "page_fault") >= PLANTED / 2, "{dedicated}");
    for frame in planted(&run) {
        let causes = ["page_fault", "blocked_in_handler"];
        assert!(causes.contains(&&*frame.cause), "{dedicated}: {frame:?}");
    }
}

/// The host may take its slice in or before some of them, and on a loaded machine in all: what then counts is calm runs.
fn its_own_spin_is_not_blamed_on_the_host(dedicated: bool) {
    let is_own = |frame: &&&WorstFrame| {
        let others = ["page_fault", "blocked_in_handler", "held_back"];
        assert!(!others.contains(&&*frame.cause), "{frame:?}");
        ["service", "slow_core", "interrupt_or_own"].contains(&&*frame.cause)
    };
    let mut calm = Vec::new();
    for _ in 0..TRIES {
        let run = run(Does::Spins, dedicated);
        let spun = planted(&run);
        let own = spun.iter().filter(is_own).count();
        if spun.is_empty() || run.loops.iter().any(|one| one.gap_share > CALM) {
            continue;
        }
        if 2 * own >= spun.len() {
            return;
        }
        calm.push((own, spun.len()));
    }
    assert!(calm.is_empty(), "{dedicated}: {calm:?}");
}

/// One after the other: lines that run beside each other are each other's noise.
#[test]
fn blame_is_the_same_whether_nodes_share_a_loop_or_not() {
    for dedicated in [false, true] {
        its_own_sleep_is_blamed_as_one(dedicated);
        its_own_faults_are_blamed_as_such(dedicated);
        its_own_spin_is_not_blamed_on_the_host(dedicated);
    }
}
