//! No loop allocates because its line is looked at for a page, proven by a counting allocator while pages are made all the time.

use std::time::Duration;

use hopline::adapter::{Binance, blackhole, synthetic};
use hopline::clock::Clock;
use hopline::feed::Symbols;
use hopline::host::Pin;
use hopline::metrics::{Format, Machine, Page, Snapshot, write};
use hopline::stages::{Book, BookSpec};
use hopline::topology::{Hop, Line, Placement, Running, p99};
use hopline::wait::Strategy;

#[path = "common/counting.rs"]
mod counting;

use counting::{Counting, counted_elsewhere};

#[global_allocator]
static GLOBAL: Counting = Counting;

fn started() -> Running {
    let spec = BookSpec {
        levels: 50,
        takes_ns: 0,
        symbols: Symbols::new(&["BTCUSDT"]).expect("a symbol"),
    };
    let mut line = Line::builder("market");
    let feed = synthetic("BTCUSDT", 20_000.0).seed(1);
    line.source("btc", feed.decode(Binance::new(&["BTCUSDT"]).or("BTCUSDT")));
    line.stage("book", move || Book::new(&spec));
    line.sink("tops", blackhole());
    line.connect("btc", "book", Hop::depth(4096).budget(p99("100us")));
    line.connect("book", "tops", Hop::depth(4096));
    line.placement(Placement {
        pin: Pin::Off,
        wait: Some(Strategy::PARK),
        threads_max: Some(2),
        ..Placement::default()
    });
    line.build()
        .expect("a right line")
        .start()
        .expect("it starts")
}

#[test]
fn no_loop_allocates_while_pages_are_made() {
    // The proof itself must see an allocation of another thread.
    let plant = || std::hint::black_box(Vec::<u8>::with_capacity(64)).capacity();
    let seen = counted_elsewhere(|| drop(std::thread::spawn(plant).join()));
    assert!(seen > 0, "an allocation elsewhere is counted");
    let mut running = started();
    let window = running.window();
    let mut machine = Machine::new(&Clock::os());
    // The first turns may touch what the system's libraries make lazily.
    running.wait(Duration::from_millis(100));
    let mut bytes = 0;
    let allocations = counted_elsewhere(|| {
        for _ in 0..50 {
            // What a page takes is made and freed here.
            let snapshot = Snapshot::take(&mut running, window);
            bytes += write(&Page::of(&snapshot, &mut machine), Format::OpenMetrics).len();
            running.complaints();
            running.wait(Duration::from_millis(10));
        }
    });
    assert_eq!(allocations, 0);
    assert!(bytes > 50 * 10_000, "pages were made: {bytes}");
    let report = running.end("duration");
    assert!(report.is_good(), "{:?}", report.ledger.breaches);
    assert!(report.ledger.sources["btc"].ingested > 1_000, "at work");
}
