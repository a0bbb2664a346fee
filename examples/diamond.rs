//! A diamond with a tap that stops reading for good: the line does what it does without one.
//!
//! ```text
//!            ┌→ left ──┐
//!   in ──────┤         ├→ join → out          a tap on in->left that nobody ever reads
//!    one ring└→ right ─┘
//! ```
//!
//! `cargo run --release --example diamond`
//!
//! Runs without a tap, with one that is read and with one that is dead, in turns, and prints for each
//! what the hops delivered and how long they took. Median of the rounds, and the lowest and highest.

use std::error::Error;
use std::time::Duration;

use hopline::adapter::{Content, blackhole, datagrams, synthetic};
use hopline::feed::Datagrams;
use hopline::stage::tap::TapCounts;
use hopline::stages::Forward;
use hopline::topology::{Hop, Line, Problems, Report, Stop};

/// Messages of each run.
const MESSAGES: u64 = 100_000;
/// Bytes of each: they fit in one frame.
const BYTES: usize = 32;
/// Messages a second.
const RATE: f64 = 200_000.0;
/// Runs of each way.
const ROUNDS: usize = 9;
/// Slots of a tap.
const TAP_DEPTH: usize = 1024;

/// What a run is tapped by.
#[derive(Clone, Copy, PartialEq)]
enum Tapped {
    Not,
    Read,
    Dead,
}

fn diamond() -> Result<Line, Problems> {
    let mut line = Line::builder("diamond");
    let content = Content::Datagrams { bytes: BYTES };
    let feed = synthetic("", RATE).content(content).count(MESSAGES);
    line.source("in", feed.decode(datagrams().at_most(BYTES)));
    for name in ["left", "right", "join"] {
        line.stage(name, Forward::<Datagrams>::default);
    }
    line.sink("out", blackhole());
    line.connect("in", ["left", "right"], Hop::depth(1024));
    line.connect(["left", "right"], "join", Hop::depth(1024));
    line.connect("join", "out", Hop::depth(1024));
    line.build()
}

fn run(tapped: Tapped) -> Result<(Report, TapCounts), Box<dyn Error>> {
    let line = diamond()?;
    let mut tap = match tapped {
        Tapped::Not => None,
        Tapped::Read | Tapped::Dead => Some(line.tap("in->left", TAP_DEPTH)?),
    };
    let mut running = line.start()?;
    while !running.wait(Duration::from_millis(2)) {
        if let (Some(tap), Tapped::Read) = (&mut tap, tapped) {
            while tap.advance() {}
        }
    }
    let cause = running.watch(&Stop::when_done(), |_| {});
    let report = running.end(cause);
    Ok((report, tap.map(|tap| tap.counts()).unwrap_or_default()))
}

fn main() -> Result<(), Box<dyn Error>> {
    let ways = [
        ("no tap", Tapped::Not),
        ("a tap that is read", Tapped::Read),
        ("a dead tap", Tapped::Dead),
    ];
    let mut p50_ns: Vec<Vec<Vec<u64>>> = vec![Vec::new(); ways.len()];
    let mut last = Vec::new();
    for _ in 0..ROUNDS {
        last.clear();
        for (at, (_, tapped)) in ways.iter().enumerate() {
            let (report, counts) = run(*tapped)?;
            assert!(report.is_good(), "{:?} {:?}", report.ledger, report.faults);
            let hops = report.hops.iter().map(|hop| hop.sojourn_ns.p50);
            p50_ns[at].push(hops.collect());
            last.push((report, counts));
        }
    }
    for (at, (name, _)) in ways.iter().enumerate() {
        let (report, counts) = &last[at];
        println!(
            "{name}: offered {}, accepted {}, lost {} by the tap; ledger closed: {}",
            counts.offered, counts.accepted, counts.lost, report.ledger.closed
        );
        for (place, hop) in report.hops.iter().enumerate() {
            let mut p50: Vec<u64> = p50_ns[at].iter().map(|round| round[place]).collect();
            p50.sort_unstable();
            println!(
                "  {:<14} offered {:>7} delivered {:>7} shed {:>2}   p50 {:>6} ns ({}-{})",
                hop.name,
                hop.offered,
                hop.delivered,
                hop.shed_once(),
                p50[p50.len() / 2],
                p50[0],
                p50[p50.len() - 1]
            );
        }
    }
    Ok(())
}
