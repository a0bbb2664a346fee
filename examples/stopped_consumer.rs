//! A broadcast of which one consumer stops for good: what the others get before and after, and who is told to be the culprit.
//!
//! ```text
//!         ┌→ first
//!   in ───┼→ second      each on a thread of its own
//!         └→ stops       hangs in its handler from the second second on
//! ```
//!
//! `cargo run --release --example stopped_consumer`
//!
//! Three runs: `stops` may hold the others back, is tapped, and is disconnected.

use std::error::Error;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use hopline::adapter::{Content, blackhole, datagrams, synthetic};
use hopline::host::Pin;
use hopline::io::{Driver, IoError};
use hopline::overload::{Policy, Slow, WhenFull};
use hopline::stage::{Delivery, Egress, Leaving};
use hopline::topology::{Hop, Line, Placement, Problems, Report, Running, ThreadSpec};
use hopline::wait::Strategy;

const NAMES: [&str; 3] = ["first", "second", "stops"];
/// Messages a second, and bytes of each: they fit in one frame.
const RATE: f64 = 50_000.0;
const BYTES: usize = 32;
/// How long each half of a run takes.
const HALF: Duration = Duration::from_secs(1);
/// How long one that is to be disconnected may hold the others back.
const TIMEOUT_NS: u64 = 10_000_000;

/// Takes what comes until it is told to stop; then it hangs until nobody can let it go any more.
struct Stopping {
    told: Receiver<()>,
}

impl Egress for Stopping {
    fn open(&mut self, _io: &mut Driver) -> Result<(), IoError> {
        Ok(())
    }

    fn on_frame(&mut self, _frame: Leaving<'_>, _io: &mut Driver) -> Delivery {
        if self.told.try_recv().is_ok() {
            let _ = self.told.recv();
        }
        Delivery::Sent
    }
}

fn broadcast(slow: Slow) -> Result<(Line, SyncSender<()>), Problems> {
    let (tell, told) = sync_channel(1);
    let mut line = Line::builder("broadcast");
    let content = Content::Datagrams { bytes: BYTES };
    let feed = synthetic("", RATE).content(content);
    line.source("in", feed.decode(datagrams().at_most(BYTES)));
    line.sink("first", blackhole());
    line.sink("second", blackhole());
    line.sink("stops", Stopping { told });
    let policy = Policy {
        block_timeout_ns: if slow == Slow::Disconnect {
            TIMEOUT_NS
        } else {
            0
        },
        ..Policy::of(WhenFull::Block)
    };
    let hop = Hop::depth(1024).policy(policy).slow("stops", slow);
    line.connect("in", NAMES, hop);
    let alone = |name: &str| ThreadSpec {
        name: name.to_owned(),
        nodes: vec![name.to_owned()],
        ..ThreadSpec::default()
    };
    line.placement(Placement {
        pin: Pin::Off,
        wait: Some(Strategy::PARK),
        threads: ["in", "first", "second", "stops"].map(alone).into(),
        ..Placement::default()
    });
    Ok((line.build()?, tell))
}

/// Lets the line run for so long. Loops hand over what they have recorded when they are asked, so they are asked now and then.
fn run_for(running: &mut Running, span: Duration) {
    for _ in 0..50 {
        running.wait(span / 50);
        running.observe();
    }
}

/// Messages delivered by each hop so far.
fn delivered(report: &Report) -> Vec<u64> {
    report.hops.iter().map(|hop| hop.delivered).collect()
}

fn show(half: &str, report: &Report, before: &[u64]) {
    for (hop, before) in report.hops.iter().zip(before).take(2) {
        let messages = hop.delivered - before;
        let at = &hop.sojourn_ns;
        let (p50_us, p99_us) = (at.p50 as f64 / 1e3, at.p99 as f64 / 1e3);
        println!(
            "  {half:<7} {:<12} {messages:>6} messages   p50 {p50_us:>9.1} us   p99 {p99_us:>9.1} us",
            hop.name
        );
    }
}

fn run(slow: Slow) -> Result<(), Box<dyn Error>> {
    let (line, tell) = broadcast(slow)?;
    let mut running = line.start()?;
    println!("slow = \"{slow}\"");
    // What it takes to start is no part of it.
    run_for(&mut running, HALF / 4);
    running.forget_latencies();
    let begun = delivered(&running.report());

    run_for(&mut running, HALF);
    let before = running.report();
    show("before", &before, &begun);
    tell.send(())?;
    running.forget_latencies();

    run_for(&mut running, HALF);
    let after = running.report();
    show("after", &after, &delivered(&before));
    match after.culprit() {
        Some(culprit) => println!("  culprit: {}: {}", culprit.node, culprit.why),
        None => println!("  culprit: nobody"),
    }

    // It may go on, so that the line can end.
    drop(tell);
    let report = running.end("asked");
    let stops = &report.hops[2];
    println!(
        "  {}: delivered {}, shed {:?}; ledger closed: {}\n",
        stops.name, stops.delivered, stops.shed, report.ledger.closed
    );
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    for slow in Slow::ALL {
        run(slow)?;
    }
    Ok(())
}
