//! Taps: copies of what a consumer has done with, which change nothing of the line.

use std::time::Duration;

use hopline::frame::View;
use hopline::host::Pin;
use hopline::io::{Driver, IoError, Virtual};
use hopline::overload::WhenFull;
use hopline::stage::tap::{Tap, TapCounts};
use hopline::stage::{Delivery, Egress, Leaving};
use hopline::stages::Forward;
use hopline::topology::{Builder, Hop, Inline, Line, Placement, Report, Stop};
use hopline::wait::Strategy;

#[path = "common/numbers.rs"]
mod numbers;

use numbers::{Collect, Counting, Number};

/// A diamond: one ring to two stages, which join in a third.
fn diamond(source: Counting, when_full: WhenFull) -> Builder {
    let mut line = Line::builder("diamond");
    line.source("in", source);
    for name in ["left", "right", "join"] {
        line.stage(name, Forward::<Number>::default);
    }
    line.sink("out", Tolerant);
    let ring = Hop::depth(64).when_full(when_full);
    line.connect("in", ["left", "right"], ring);
    // Room for the longest message that a forwarding stage may have.
    line.connect(["left", "right"], "join", Hop::depth(512));
    line.connect("join", "out", Hop::depth(512));
    line
}

/// Takes each number twice, once by each side of the diamond.
struct Tolerant;

impl Egress for Tolerant {
    fn open(&mut self, _io: &mut Driver) -> Result<(), IoError> {
        Ok(())
    }

    fn on_frame(&mut self, _frame: Leaving<'_>, _io: &mut Driver) -> Delivery {
        Delivery::Sent
    }
}

fn inline(line: Line) -> String {
    let inline = Inline::new(Driver::Virtual(Virtual::new()));
    let (mut report, _) = line.run_inline(inline, None).expect("it runs");
    assert!(report.is_good(), "{:?}", report.ledger);
    report.line.resident_bytes = None;
    format!("{report:?}")
}

fn values(tap: &mut Tap) -> Vec<u64> {
    let mut values = Vec::new();
    while let Some(frame) = tap.peek() {
        values.push(View::<Number>::read(frame.payload()).unwrap().value());
        tap.advance();
    }
    values
}

#[test]
fn a_line_inline_is_the_same_with_a_tap_that_is_read_one_that_is_dead_and_none() {
    let line = || {
        diamond(Counting::new(5_000, 777), WhenFull::Block)
            .build()
            .unwrap()
    };
    let untapped = inline(line());

    let wide = line();
    let mut tap = wide.tap("in->left", 8192).unwrap();
    assert_eq!(inline(wide), untapped);
    assert_eq!(values(&mut tap), (0..5_000).collect::<Vec<_>>());
    assert!(tap.is_finished());

    let narrow = line();
    let mut dead = narrow.tap("in->right", 16).unwrap();
    let late = narrow.tap("join->out", 16).unwrap();
    drop(late);
    assert_eq!(inline(narrow), untapped);
    let counts = TapCounts {
        offered: 5_000,
        accepted: 16,
        lost: 4_984,
    };
    assert_eq!((dead.counts(), dead.lost()), (counts, 4_984));
    assert_eq!(
        values(&mut dead),
        (0..16).collect::<Vec<_>>(),
        "what it took first"
    );
}

#[test]
fn fragments_are_copied_one_by_one_with_their_marks() {
    let mut line = Line::builder("fragments");
    line.source("in", Counting::new(10, 1_000).parts(7));
    line.sink("out", Collect::default());
    line.connect("in", "out", Hop::depth(16));
    let line = line.build().unwrap();
    let mut tap = line.tap("in->out", 128).unwrap();
    inline(line);
    let mut last = 0;
    while let Some(frame) = tap.peek() {
        last += u64::from(frame.envelope().flags.is_last());
        tap.advance();
    }
    assert_eq!((last, tap.counts().offered), (10, 70));
}

fn polite(mut line: Builder, wait: Strategy) -> Line {
    line.placement(Placement {
        wait: Some(wait),
        threads_max: Some(3),
        pin: Pin::Off,
        ..Placement::default()
    });
    line.build().unwrap()
}

fn ledger_of(report: &Report) -> Vec<(u64, u64, u64)> {
    let hops = report.hops.iter();
    hops.map(|hop| (hop.offered, hop.accepted, hop.delivered))
        .collect()
}

#[test]
fn a_tap_that_stops_reading_for_good_leaves_the_ledger_as_it_was() {
    for wait in [Strategy::YIELD, Strategy::PARK] {
        let run = |tapped: bool| {
            let line = polite(diamond(Counting::new(10_000, 0), WhenFull::Block), wait);
            let mut dead = tapped.then(|| line.tap("in->left", 16).unwrap());
            let report = line
                .run_until(Stop::after(Duration::from_secs(60)))
                .unwrap();
            assert!(report.is_good(), "{wait}: {:?}", report.ledger);
            assert_eq!((report.ledger.shed, report.ledger.discarded), (0, 0));
            if let Some(dead) = &mut dead {
                let counts = dead.counts();
                assert_eq!((counts.offered, counts.accepted), (10_000, 16));
                assert_eq!(values(dead), (0..16).collect::<Vec<_>>());
            }
            ledger_of(&report)
        };
        assert_eq!(run(false), run(true), "{wait}");
    }
}

#[test]
fn taps_join_and_leave_while_the_line_runs() {
    let line = polite(
        diamond(Counting::new(u64::MAX, 1_000), WhenFull::Block),
        Strategy::PARK,
    );
    let mut running = line.start().unwrap();
    let patience = Duration::from_secs(30);
    let mut before = 0;
    for round in 0..5 {
        let mut tap = running.tap("right->join", 64).unwrap();
        assert!(running.tap("right->join", 64).is_err(), "one at a time");
        let mut seen = 0;
        let began = running.elapsed();
        while seen < 100 {
            assert!(
                running.elapsed() - began < patience,
                "round {round}: nothing comes"
            );
            while let Some(frame) = tap.peek() {
                let value = View::<Number>::read(frame.payload()).unwrap().value();
                assert!(seen == 0 && round == 0 || value > before, "order is kept");
                before = value;
                seen += 1;
                tap.advance();
            }
            // Lets the loops have the core, and collects what they gave back.
            running.wait(Duration::from_millis(1));
            running.observe();
        }
        let counts = tap.counts();
        assert!(counts.offered == counts.accepted + counts.lost && counts.accepted >= seen);
    }
    let mut last = running.tap("right->join", 64).unwrap();
    let report = running.end("duration");
    assert!(report.is_good(), "{:?}", report.ledger);
    while last.advance() {}
    assert!(last.is_finished(), "the hop's end is the tap's");
}

#[test]
fn what_is_wrong_with_a_tap_is_told() {
    let line = diamond(Counting::new(1, 0), WhenFull::Block)
        .build()
        .unwrap();
    let told = |hop: &str, depth| {
        line.tap(hop, depth)
            .err()
            .map_or(String::new(), |it| it.to_string())
    };
    for (hop, depth, words) in [
        (
            "in->lefd",
            16,
            "\"in->lefd\" is no hop of this line\n  help: did you mean \"in->left\"?",
        ),
        ("zzz", 16, "help: hops here: in->left"),
        ("in->left", 17, "a ring cannot have 17 slots"),
    ] {
        let told = told(hop, depth);
        assert!(told.contains(words), "{told}");
    }
    let tap = line.tap("in->left", 16).unwrap();
    assert!(told("in->left", 16).contains("has a tap already"));
    drop(tap);
    assert_eq!(told("in->left", 16), "");

    let mut running = line.start().unwrap();
    assert!(running.wait(Duration::from_secs(30)));
    let over = running.tap("in->right", 16).unwrap_err().to_string();
    assert!(over.contains("the hop has ended"), "{over}");
}
