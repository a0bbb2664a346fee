//! Who has the next turn on a loop of several nodes, by each schedule, on virtual time.

use std::cell::RefCell;

use hopline::base::NoWhy;
use hopline::base::limits::BATCH_FRAMES;
use hopline::clock::VirtualTime;
use hopline::frame::View;
use hopline::io::{Driver, IoError, Virtual};
use hopline::reactor::Schedule;
use hopline::stage::{Context, Delivery, Egress, Leaving, Outcome, Port, Stage};
use hopline::stages::{Batch, BatchSpec, SlackSpec};
use hopline::topology::{
    Builder, Hop, Inline, Line, Placement, Problems, Report, Sharing, ThreadSpec, p99,
};

#[path = "common/numbers.rs"]
mod numbers;

use numbers::{Counting, NUMBERS, Number};

thread_local! {
    /// Who took a frame, in order: an inline line runs on the thread of its test.
    static SERVED: RefCell<Vec<&'static str>> = const { RefCell::new(Vec::new()) };
    /// And their intended times, in nanoseconds.
    static INTENDED_NS: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// Notes its turn; says "not now" to its first so many frames.
struct Served {
    name: &'static str,
    not_now: u64,
}

impl Egress for Served {
    fn open(&mut self, _io: &mut Driver) -> Result<(), IoError> {
        Ok(())
    }

    fn on_frame(&mut self, frame: Leaving<'_>, _io: &mut Driver) -> Delivery {
        if self.not_now > 0 {
            self.not_now -= 1;
            return Delivery::NotNow;
        }
        assert!(frame.envelope.flags.is_last());
        SERVED.with_borrow_mut(|served| served.push(self.name));
        let t_intended_ns = frame.envelope.t_intended_ns();
        INTENDED_NS.with_borrow_mut(|intended| intended.push(t_intended_ns));
        Delivery::Sent
    }
}

const FRAMES: usize = 64;
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// A source and a sink for each name, all on one loop; each hop with its budget.
fn pairs(budgets: [Option<&str>; 4]) -> Builder {
    SERVED.take();
    INTENDED_NS.take();
    let mut line = Line::builder("pairs");
    for (name, budget) in NAMES.into_iter().zip(budgets) {
        let from = format!("to-{name}");
        line.source(&from, Counting::new(FRAMES as u64, 0));
        line.sink(name, Served { name, not_now: 0 });
        let hop = Hop::depth(2 * FRAMES);
        line.connect(
            &from,
            name,
            match budget {
                Some(span) => hop.budget(p99(span)),
                None => hop,
            },
        );
    }
    line
}

fn shared(schedule: Schedule, batch: usize, guard_turns: u32) -> Placement {
    Placement {
        sharing: Sharing {
            schedule: Some(schedule),
            batch: Some(batch),
            guard_turns: Some(guard_turns),
        },
        ..Placement::default()
    }
}

fn run(mut line: Builder, placement: Placement) -> Report {
    line.placement(placement);
    let line = line.build().unwrap();
    let driver = Driver::Virtual(Virtual::new());
    line.run_inline(Inline::new(driver), None).unwrap().0
}

/// Who was served, each run of the same name as its length.
fn served() -> Vec<(&'static str, usize)> {
    let mut runs: Vec<(&str, usize)> = Vec::new();
    for name in SERVED.take() {
        match runs.last_mut() {
            Some((last, times)) if *last == name => *times += 1,
            _ => runs.push((name, 1)),
        }
    }
    runs
}

#[test]
fn each_in_its_place_takes_a_batch_of_the_size_that_is_asked_for() {
    let report = run(pairs([None; 4]), shared(Schedule::RoundRobin, 8, 1));
    assert!(report.is_good(), "{:?}", report.ledger);
    let round = NAMES.map(|name| (name, 8));
    assert_eq!(served(), round.repeat(FRAMES / 8));
    run(pairs([None; 4]), Placement::default());
    let round = NAMES.map(|name| (name, BATCH_FRAMES));
    assert_eq!(served(), round.repeat(FRAMES / BATCH_FRAMES));
}

#[test]
fn the_more_important_are_through_before_the_others_begin() {
    let placement = shared(Schedule::Priority, 4, 1_000)
        .priority("c", 0)
        .priority("d", 1)
        .priority("b", 2);
    let report = run(pairs([None; 4]), placement);
    assert!(report.is_good(), "{:?}", report.ledger);
    // The one that names no priority is the last.
    assert_eq!(served(), ["c", "d", "b", "a"].map(|name| (name, FRAMES)));
    assert_eq!(report.placement[0].planned.schedule, "priority");
    let nodes = &report.placement[0].planned.nodes;
    assert_eq!(nodes[4..], ["c", "d", "b", "a"]);
}

#[test]
fn the_guard_lets_the_last_through() {
    let guard = 7;
    let placement = NAMES.iter().rev().zip(0..).fold(
        shared(Schedule::Priority, 1, guard),
        |placement, (name, rank)| placement.priority(name, rank),
    );
    run(pairs([None; 4]), placement);
    let served = SERVED.take();
    let last = served.iter().rposition(|name| *name == "a").unwrap();
    for name in NAMES {
        let turns: Vec<usize> = (0..served.len()).filter(|at| served[*at] == name).collect();
        assert_eq!(turns.len(), FRAMES, "{name}");
        // Those that were passed over as long may come between.
        let most = turns.windows(2).map(|pair| pair[1] - pair[0]).max();
        assert!(
            most.unwrap() <= guard as usize + NAMES.len(),
            "{name}: {most:?}"
        );
    }
    // And all the same the most important is through long before.
    let first = served.iter().rposition(|name| *name == "d").unwrap();
    assert!(first < last, "{first} and {last}");
}

#[test]
fn what_is_due_first_is_served_first() {
    let budgets = [Some("100ms"), Some("1ms"), None, Some("10ms")];
    let report = run(pairs(budgets), shared(Schedule::Edf, 4, 1_000));
    assert!(report.is_good(), "{:?}", report.ledger);
    // Where nothing is owed, a frame is due since it was offered.
    assert_eq!(served(), ["c", "b", "d", "a"].map(|name| (name, FRAMES)));
}

#[test]
fn of_frames_that_are_owed_the_same_the_oldest_is_first() {
    for budget in [Some("1ms"), None] {
        run(pairs([budget; 4]), shared(Schedule::Edf, 1, 1_000));
        let intended = INTENDED_NS.take();
        assert_eq!(intended.len(), NAMES.len() * FRAMES);
        assert!(intended.is_sorted(), "{intended:?}");
        // Each in its place gives another order, or this would say nothing.
        run(pairs([budget; 4]), shared(Schedule::RoundRobin, 1, 1));
        assert!(!INTENDED_NS.take().is_sorted());
    }
}

/// Passes numbers on, and panics at one of them.
struct Pass {
    panic_at: Option<u64>,
}

impl Stage for Pass {
    type In = Number;
    type Why = NoWhy;
    const PORTS: &'static [Port] = &[Port::new::<Number>("out")];

    fn on_frame(&mut self, number: View<'_, Number>, cx: &mut Context<'_>) -> Outcome<NoWhy> {
        assert!(self.panic_at != Some(number.value()), "planted");
        cx.emit(NUMBERS, &number.to_owned());
        Outcome::done()
    }
}

/// Two chains whose hops are shallow, one of them behind a sink that takes nothing for a while.
fn chains(panic_at: Option<u64>) -> Builder {
    SERVED.take();
    let mut line = Line::builder("chains");
    for (name, not_now) in [("left", 50), ("right", 0)] {
        let [from, first, last] = ["from", "first", "last"].map(|part| format!("{name}-{part}"));
        line.source(&from, Counting::new(5_000, 100));
        line.stage(&first, move || Pass { panic_at });
        line.stage(&last, || Pass { panic_at: None });
        line.sink(name, Served { name, not_now });
        line.connect(&from, &first, Hop::depth(16).budget(p99("20us")));
        line.connect(&first, &last, Hop::depth(2));
        line.connect(&last, name, Hop::depth(4).budget(p99("50us")));
    }
    line
}

#[test]
fn lines_that_are_held_back_drain_or_fail_account_for_every_frame_by_each_schedule() {
    for schedule in Schedule::ALL {
        for (batch, guard) in [(1, 1), (3, 5), (32, 256)] {
            // The upstream stages are the more important: they are held back by the others.
            let placement = |nodes: &[&str]| {
                let shared = shared(schedule, batch, guard);
                match schedule {
                    Schedule::Priority => nodes
                        .iter()
                        .fold(shared, |placement, node| placement.priority(node, 0)),
                    _ => shared,
                }
            };
            let what = format!("{schedule}, {batch} a turn, guard {guard}");
            let report = run(chains(None), placement(&["left-first", "right-first"]));
            assert!(report.is_good(), "{what}: {:?}", report.ledger);
            assert_eq!(SERVED.take().len(), 10_000, "{what}");

            let report = run(chains(Some(700)), placement(&["left-first"]));
            assert!(report.ledger.closed, "{what}: {:?}", report.ledger);
            let drain = report.drain.as_ref().unwrap();
            assert_eq!((drain.cause, drain.complete), ("fault", true), "{what}");

            let mut line = chains(None);
            line.placement(placement(&["right-last"]));
            let inline = Inline::new(Driver::Virtual(Virtual::new())).stop_after_ns(200_000);
            let report = line.build().unwrap().run_inline(inline, None).unwrap().0;
            assert!(report.is_good(), "{what}: {:?}", report.ledger);
            let drain = report.drain.as_ref().unwrap();
            assert_eq!((drain.cause, drain.complete), ("duration", true), "{what}");
        }
    }
}

/// Takes some time for each frame, and notes how old those were that it got.
struct Takes {
    time: VirtualTime,
    span_ns: u64,
    notes: bool,
}

impl Egress for Takes {
    fn open(&mut self, _io: &mut Driver) -> Result<(), IoError> {
        Ok(())
    }

    fn on_frame(&mut self, frame: Leaving<'_>, _io: &mut Driver) -> Delivery {
        if self.notes {
            let age_ns = self.time.now_ns() - frame.envelope.t_intended_ns();
            INTENDED_NS.with_borrow_mut(|ages| ages.push(age_ns));
        }
        self.time.advance_by(self.span_ns);
        Delivery::Sent
    }
}

#[test]
fn what_a_stage_holds_leaves_in_time_whatever_waits_behind_it() {
    // By priority it is as late as its stage is unimportant.
    for schedule in [Schedule::RoundRobin, Schedule::Edf] {
        INTENDED_NS.take();
        let inline = Inline::new(Driver::Virtual(Virtual::new()));
        let takes = |span_ns, notes| Takes {
            time: inline.clock.1.clone(),
            span_ns,
            notes,
        };
        let spec = BatchSpec {
            slack: SlackSpec {
                budget_ns: 2_000_000,
                rest_ns: 100_000,
            },
            most: 64,
        };
        let mut line = Line::builder("holds");
        // The first is owed before all of the work beside it; the second comes while that is held, and is owed after much of it.
        line.source("few", Counting::new(3, 1_500_000));
        line.source("many", Counting::new(1_000, 0));
        line.stage("holds", move || Batch::<Number>::new(spec));
        line.sink("out", takes(0, true));
        line.sink("work", takes(20_000, false));
        line.connect("few", "holds", Hop::depth(64).budget(p99("29ms")));
        line.connect("holds", "out", Hop::depth(512).budget(p99("1ms")));
        line.connect("many", "work", Hop::depth(1024).budget(p99("30ms")));
        line.placement(shared(schedule, 1, 1_000));
        let report = line.build().unwrap().run_inline(inline, None).unwrap().0;
        assert!(report.is_good(), "{:?}", report.ledger);
        let ages = INTENDED_NS.take();
        assert_eq!(ages.len(), 3);
        assert!(ages[0] < 2_000_000, "{schedule}: {ages:?}");
    }
}

fn problems(placement: Placement) -> Problems {
    let mut line = pairs([None; 4]);
    line.placement(placement);
    line.build().unwrap_err()
}

#[test]
fn what_is_wrong_with_a_placement_in_code_is_told() {
    let hot = ThreadSpec {
        name: "hot".to_owned(),
        nodes: vec!["a".to_owned()],
        sharing: Sharing {
            batch: Some(1_000),
            ..Sharing::default()
        },
        ..ThreadSpec::default()
    };
    let wrong = Placement {
        threads: vec![hot],
        ..shared(Schedule::Priority, 0, 0)
    };
    let wrong = wrong
        .priority("a", 64)
        .priority("b", 1)
        .priority("b", 2)
        .priority("to-a", 1)
        .priority("to-q", 1);
    assert_eq!(
        problems(wrong).to_string(),
        "a batch of 0 frames is out of bounds\n  help: write a number from 1 to 256\n\
         a guard of 0 turns is out of bounds\n  help: write a number from 1 to 1048576\n\
         thread \"hot\": a batch of 1000 frames is out of bounds\n  help: write a number from 1 to 256\n\
         a priority of 64 is out of bounds\n  help: write a number from 0 to 63\n\
         two priorities for \"b\"\n  help: keep one of them\n\
         \"to-a\" is a source, of which \"priority\" says nothing\n  \
         help: remove it: a source has a turn in each round of its thread\n\
         a priority for \"to-q\", which is no node\n  help: did you mean \"to-a\"?"
    );
    let hot = ThreadSpec {
        name: "hot".to_owned(),
        nodes: vec!["a".to_owned()],
        sharing: Sharing {
            schedule: Some(Schedule::Edf),
            ..Sharing::default()
        },
        ..ThreadSpec::default()
    };
    let stray = Placement {
        threads: vec![hot],
        ..Placement::default()
    };
    assert_eq!(
        problems(stray.priority("a", 1).priority("b", 1)).to_string(),
        "\"priority\" has no effect where schedule = \"edf\"\n  \
         help: write schedule = \"priority\" at thread \"hot\", or remove it\n\
         \"priority\" has no effect where schedule = \"round_robin\"\n  \
         help: write schedule = \"priority\" at [line], or remove it"
    );
}
