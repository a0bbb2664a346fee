//! No loop allocates once it runs, proven by a counting allocator on a whole market line.

use std::time::Duration;

use hopline::adapter::{Binance, blackhole, synthetic, udp_to};
use hopline::budget::report::ByReason;
use hopline::feed::Symbols;
use hopline::host::Pin;
use hopline::overload::{Policy, WhenFull};
use hopline::reactor::Schedule;
use hopline::stages::{
    Batch, BatchSpec, Book, BookSpec, Debounce, DebounceSpec, Encode, KillSwitch, Lean, LeanSpec,
    Risk, RiskSpec, SlackSpec, Top,
};
use hopline::topology::{Hop, Line, Placement, Running, Sharing, p99};
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
    for (policy, reason) in policies() {
        assert_eq!(allocations_of_sheds(policy, reason), 0, "{policy}");
    }
}

/// Each policy that sheds, and a reason that it gives.
fn policies() -> [(Policy, &'static str); 9] {
    let plain = Policy::of(WhenFull::DropNewest);
    let with = |change: fn(&mut Policy)| {
        let mut policy = plain;
        change(&mut policy);
        policy
    };
    [
        (plain, "full"),
        (Policy::of(WhenFull::Reject), "rejected"),
        (Policy::of(WhenFull::DropOldest), "oldest"),
        (Policy::of(WhenFull::Conflate), "conflated"),
        (with(|policy| policy.deadline_ns = 400_000), "hopeless"),
        (with(|policy| policy.codel_target_ns = 80_000), "stale"),
        (
            with(|policy| (policy.sample, policy.sample_above) = (10, 10)),
            "sampled",
        ),
        (
            with(|policy| (policy.rate_per_s, policy.burst) = (1_000, 1)),
            "rate_limited",
        ),
        (
            with(|policy| (policy.degrade_high_ns, policy.degrade_low_ns) = (300_000, 100_000)),
            "degraded",
        ),
    ]
}

/// How often the loops allocate of a line that gets several times what it can do, under that policy, which is only given while it
/// runs; and it does shed for that reason.
fn allocations_of_sheds(policy: Policy, reason: &str) -> u64 {
    let table = Symbols::new(&["BTCUSDT"]).expect("a symbol");
    let spec = BookSpec {
        levels: 5,
        takes_ns: 20_000,
        symbols: table,
    };
    let mut line = Line::builder("overloaded");
    let feed = synthetic("BTCUSDT", 400_000.0).seed(1);
    line.source("btc", feed.decode(Binance::new(&["BTCUSDT"]).or("BTCUSDT")));
    line.stage("book", move || Book::new(&spec));
    line.sink("tops", blackhole());
    // Built for what needs a table.
    line.connect("btc", "book", Hop::depth(512).when_full(WhenFull::Conflate));
    line.connect("book", "tops", Hop::depth(4096));
    line.placement(Placement {
        pin: Pin::Off,
        wait: Some(Strategy::PARK),
        threads_max: Some(2),
        ..Placement::default()
    });
    let mut running = line
        .build()
        .expect("a right line")
        .start()
        .expect("it starts");
    running.wait(Duration::from_millis(20));
    let gone = |running: &mut Running| {
        let hop = &running.report().hops[0];
        let count = |by: &ByReason| by.get(reason).copied().unwrap_or(0);
        count(&hop.shed) + count(&hop.discarded)
    };
    let allocations = counted_elsewhere(|| {
        running
            .set_policy("btc->book", policy)
            .expect("it was built for that");
        // Until it has shed, however slow this machine is.
        while gone(&mut running) == 0 {
            running.wait(Duration::from_millis(10));
        }
        running.wait(Duration::from_millis(50));
    });
    let report = running.end("duration");
    assert!(
        report.ledger.closed,
        "{policy}: {:?}",
        report.ledger.breaches
    );
    assert_eq!(report.hops[0].policy, policy.to_string());
    allocations
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
