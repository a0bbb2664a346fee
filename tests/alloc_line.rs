//! No loop allocates once it runs, proven by a counting allocator on a whole market line.

use std::time::Duration;

use hopline::adapter::{Binance, blackhole, synthetic, udp_to};
use hopline::feed::Symbols;
use hopline::host::Pin;
use hopline::reactor::Schedule;
use hopline::stages::{
    Batch, BatchSpec, Book, BookSpec, Debounce, DebounceSpec, Encode, KillSwitch, Lean, LeanSpec,
    Risk, RiskSpec, SlackSpec, Top,
};
use hopline::topology::{Hop, Line, Placement, Sharing, p99};
use hopline::wait::Strategy;

#[path = "common/counting.rs"]
mod counting;

use counting::{Counting, counted_elsewhere};

#[global_allocator]
static GLOBAL: Counting = Counting;

/// What is noted of a run.
#[derive(Clone, Copy, Debug)]
enum Notes {
    Nothing,
    /// For a verdict afterwards.
    Kept,
    /// For a view that looks on, or does not.
    Told,
}

#[test]
fn no_loop_allocates_after_its_start() {
    // The proof itself must see an allocation of another thread.
    let plant = || std::hint::black_box(Vec::<u8>::with_capacity(64)).capacity();
    let seen = counted_elsewhere(|| drop(std::thread::spawn(plant).join()));
    assert!(seen > 0, "an allocation elsewhere is counted");
    for notes in [Notes::Nothing, Notes::Kept, Notes::Told] {
        assert_eq!(allocations(notes), 0, "{notes:?}");
    }
}

/// How often the loops of a market line allocate in half a second and more.
fn allocations(notes: Notes) -> u64 {
    let symbols = ["BTCUSDT", "ETHUSDT"];
    let table = Symbols::new(&symbols).expect("two symbols");
    let spec = BookSpec {
        levels: 50,
        takes_ns: 0,
        symbols: table.clone(),
    };
    let mut line = Line::builder("market");
    for (symbol, seed) in symbols.into_iter().zip(1..) {
        let feed = synthetic(symbol, 20_000.0).seed(seed);
        line.source(symbol, feed.decode(Binance::new(&symbols).or(symbol)));
    }
    line.stage("book", move || Book::new(&spec));
    line.stage("signal", || Lean::new(LeanSpec::default()));
    line.stage("risk", || {
        Risk::new(RiskSpec::default(), KillSwitch::default())
    });
    line.stage("encode", move || Encode::new(table.clone()));
    // Nobody listens there: a refused datagram must not allocate either.
    line.sink("orders", udp_to("127.0.0.1:9"));
    line.sink("log", blackhole());
    let slack = SlackSpec {
        budget_ns: 300_000,
        rest_ns: 10_000,
    };
    let latest = DebounceSpec { slack, keys: 2 };
    line.stage("latest", move || {
        Debounce::<Top>::new(latest, |top| u64::from(top.symbol))
    });
    let gathers = BatchSpec { slack, most: 8 };
    line.stage("gathers", move || Batch::<Top>::new(gathers));
    line.sink("tops", blackhole());
    line.connect(symbols, "book", Hop::depth(4096).budget(p99("100us")));
    line.connect("book", "signal", Hop::depth(4096));
    line.connect("book", "latest", Hop::depth(4096));
    line.connect("latest", "gathers", Hop::depth(4096));
    line.connect("gathers", "tops", Hop::depth(4096));
    line.connect("book.log", "log", Hop::depth(4096));
    line.connect("signal", "risk", Hop::depth(64));
    line.connect("risk", "encode", Hop::depth(64));
    line.connect("encode", "orders", Hop::depth(64));
    line.placement(Placement {
        pin: Pin::Off,
        wait: Some(Strategy::PARK),
        threads_max: Some(2),
        // No two of them alike, so that each schedule has its turn.
        sharing: Sharing {
            schedule: Some(match notes {
                Notes::Nothing => Schedule::RoundRobin,
                Notes::Kept => Schedule::Edf,
                Notes::Told => Schedule::Priority,
            }),
            ..Sharing::default()
        },
        ..Placement::default()
    });
    let mut line = line.build().expect("a right line");
    match notes {
        Notes::Nothing => {}
        Notes::Kept => line.note_evidence(1_000),
        Notes::Told => line.watch_clean(),
    }
    let mut running = line.start().expect("it starts");
    // The first turns may touch what the system's libraries make lazily.
    running.wait(Duration::from_millis(100));
    let allocations = counted_elsewhere(|| {
        // Nobody looks: rings fill up, and what has no room is counted.
        running.wait(Duration::from_millis(400));
        running.clean();
        // What a tap needs is made and freed here, not by the loop that takes it up.
        for _ in 0..3 {
            let tap = running
                .tap("book->signal", 64)
                .expect("nobody else taps it");
            running.wait(Duration::from_millis(100));
            assert!(tap.counts().accepted > 0, "it was taken up");
        }
    });
    let report = running.end("duration");
    assert!(report.is_good(), "{:?}", report.ledger.breaches);
    assert!(
        report.ledger.sources["BTCUSDT"].ingested > 1_000,
        "the line was at work"
    );
    assert!(
        report.hops.iter().all(|hop| hop.delivered > 0),
        "and every hop of it"
    );
    allocations
}
