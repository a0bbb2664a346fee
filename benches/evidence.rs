//! What it costs a hop that its messages are noted for those who judge: a line of two hops on one loop, as fast as it goes.
//!
//! ```text
//! cargo bench --bench evidence
//! ```
//!
//! - *off*: nothing is noted, as in a run that nobody judges.
//! - *kept*: the loop's long segments and every message, kept for the end, as in `bench` and `gate`.
//! - *told*: the same, told to a live view that decides with a delay, as in `run` on a terminal.
//!
//! Each round runs all three, so that drift of the machine touches them alike. The difference to *off* is shown a message and
//! hop: all that judging adds, without the stamps, which every run takes. The live view's own work is on another thread.

use std::time::Duration;

use hopline::adapter::{Content, blackhole, datagrams, synthetic};
use hopline::base::limits::PASSAGES_DEFAULT;
use hopline::feed::{Arrivals, Datagrams};
use hopline::host::{Pin, allowed_cores};
use hopline::stages::Forward;
use hopline::topology::{Hop, Line, Placement, Stop, ThreadSpec};
use hopline::wait::Strategy;
use hopline_harness::measure::Spread;

/// A tenth of a second and more of messages, and as many as a hop keeps.
const MESSAGES: u64 = PASSAGES_DEFAULT as u64;

const HOPS: f64 = 2.0;

const ROUNDS: usize = 15;

#[derive(Clone, Copy, PartialEq)]
enum Notes {
    Off,
    Kept,
    Told,
}

const ALL: [(Notes, &str); 3] = [
    (Notes::Off, "off"),
    (Notes::Kept, "kept"),
    (Notes::Told, "told"),
];

fn main() {
    // `cargo test --benches` runs this as well: once around is enough then.
    let rounds = if std::env::args().any(|word| word == "--bench") {
        ROUNDS
    } else {
        1
    };
    let mut seen: [Vec<f64>; 3] = Default::default();
    for _ in 0..rounds {
        for (at, (notes, _)) in ALL.iter().enumerate() {
            seen[at].push(run(*notes));
        }
    }
    println!("ns a message and hop, median of {rounds} rounds (least, most)");
    for (at, (_, name)) in ALL.iter().enumerate() {
        let more: Vec<f64> = seen[at]
            .iter()
            .zip(&seen[0])
            .map(|(one, off)| one - off)
            .collect();
        let (whole, more) = (Spread::of(&seen[at]), Spread::of(&more));
        println!(
            "  {name:<5}{:6.1} ({:.1}, {:.1})   more than off {:+5.1} ({:+.1}, {:+.1})",
            whole.median, whole.low, whole.high, more.median, more.low, more.high
        );
    }
}

/// Nanoseconds a message and hop.
fn run(notes: Notes) -> f64 {
    let mut line = Line::builder("evidence");
    let feed = synthetic("none", 1e9)
        .content(Content::Datagrams { bytes: 64 })
        .arrivals(Arrivals::Constant);
    line.source("in", feed.count(MESSAGES).decode(datagrams()));
    line.stage("forward", Forward::<Datagrams>::new);
    line.sink("out", blackhole());
    line.connect("in", "forward", Hop::depth(1024));
    line.connect("forward", "out", Hop::depth(1024));
    // The first cores tend to serve interrupts, and the last is the one that looks on.
    let core = allowed_cores().last().copied();
    line.placement(Placement {
        pin: Pin::Prefer,
        threads: vec![ThreadSpec {
            name: "all".to_owned(),
            core,
            wait: Some(Strategy::Spin),
            nodes: ["in", "forward", "out"].map(str::to_owned).to_vec(),
            ..ThreadSpec::default()
        }],
        ..Placement::default()
    });
    let mut line = line.build().expect("a right line");
    match notes {
        Notes::Off => {}
        Notes::Kept => line.note_evidence(PASSAGES_DEFAULT),
        Notes::Told => line.watch_clean(),
    }
    let mut running = line.start().expect("it starts");
    let cause = running.watch(&Stop::after(Duration::from_secs(20)), |running| {
        running.clean();
    });
    let report = running.end(cause);
    assert!(report.is_good(), "{:?}", report.ledger.breaches);
    let busy: u64 = report
        .stages
        .iter()
        .map(|stage| stage.regimes_ns.work + stage.regimes_ns.io)
        .sum();
    busy as f64 / MESSAGES as f64 / HOPS
}
