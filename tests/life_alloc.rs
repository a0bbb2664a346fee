//! Going on after a panic allocates nothing of its own, proven by a counting allocator: a run with a thousand panics allocates
//! as often more than one without as so many panics do that are caught where nothing is done about them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use hopline::base::NoWhy;
use hopline::frame::View;
use hopline::io::{Driver, Virtual};
use hopline::stage::{Context, OnPanic, Outcome, Port, Stage};
use hopline::topology::{Hop, Inline, Line};

#[path = "common/counting.rs"]
mod counting;
#[path = "common/numbers.rs"]
mod numbers;

use counting::{Counting, counted};
use numbers::{Collect, NUMBERS, Number};

#[global_allocator]
static GLOBAL: Counting = Counting;

/// Numbers of a run.
const COUNT: u64 = 2_000;

fn planted() {
    panic!("planted");
}

struct PanicsFrom(u64);

impl Stage for PanicsFrom {
    type In = Number;
    type Why = NoWhy;
    const PORTS: &'static [Port] = &[Port::new::<Number>("out")];

    fn on_frame(&mut self, number: View<'_, Number>, cx: &mut Context<'_>) -> Outcome<NoWhy> {
        if number.value() >= self.0 {
            planted();
        }
        cx.emit(NUMBERS, &number.to_owned());
        Outcome::done()
    }
}

/// Allocations of a run that panics from that number on.
fn run(from: u64) -> u64 {
    let mut line = Line::builder("panics");
    line.source("in", numbers::Counting::new(COUNT, 10_000));
    line.stage("odd", move || PanicsFrom(from));
    line.sink("out", Collect::default());
    line.connect("in", "odd", Hop::depth(64));
    line.connect("odd", "out", Hop::depth(64));
    let policy = OnPanic::Skip {
        most: 1_000,
        within_ns: 1_000_000,
    };
    line.on_panic("odd", policy);
    let line = line.build().unwrap();
    let mut panics = 0;
    let allocations = counted(|| {
        let inline = Inline::new(Driver::Virtual(Virtual::new()));
        let (report, _) = line.run_inline(inline, None).unwrap();
        assert!(report.is_good(), "{:?}", report.ledger.breaches);
        panics = report.stages[1].panics;
    });
    assert_eq!(panics, COUNT - from);
    allocations
}

#[test]
fn going_on_after_a_panic_allocates_nothing_of_its_own() {
    // What the hook does is the program's choice.
    std::panic::set_hook(Box::new(|_| {}));
    let bare = |times: u64| {
        counted(|| {
            for _ in 0..times {
                assert!(catch_unwind(AssertUnwindSafe(planted)).is_err());
            }
        })
    };
    // Things that a process makes once.
    bare(1);
    run(COUNT - 100);
    // In both runs the quarantine is full and the report has as many entries.
    let (few, many) = (run(COUNT - 100), run(COUNT - 1_100));
    let of_panics = bare(1_000);
    assert!(of_panics >= 1_000, "a panic's own part is counted");
    assert_eq!(many - few, of_panics);
}
