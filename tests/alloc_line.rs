//! No loop allocates once it runs, proven by a counting allocator on a whole market line.

use std::time::Duration;

use hopline::adapter::{Binance, blackhole, synthetic, udp_to};
use hopline::budget::report::ByReason;
use hopline::feed::Symbols;
use hopline::host::Pin;
use hopline::overload::{Policy, Slow, Split, WhenFull};
use hopline::reactor::Schedule;
use hopline::stages::{
    Batch, BatchSpec, Book, BookSpec, Debounce, DebounceSpec, Encode, KillSwitch, Lean, LeanSpec,
    Risk, RiskSpec, SlackSpec, Top,
};
use hopline::topology::{Builder, Hop, Line, Placement, Running, Sharing, ThreadSpec, p99};
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
        // Built for what needs a table.
        let hop = Hop::depth(512).when_full(WhenFull::Conflate);
        let mut line = overloaded(&["book"], 20_000);
        line.connect("btc", "book", hop);
        let case = Case::of(policy, reason);
        assert_eq!(allocations_of_sheds(&mut line, case), 0, "{policy}");
    }
    no_loop_allocates_for_what_overflows();
    no_loop_allocates_for_a_key_that_moves_or_a_consumer_that_is_cut_off();
}

/// What overflows to another hop, into a file, and what has no room there either.
fn no_loop_allocates_for_what_overflows() {
    let policy = Policy::of(WhenFull::Overflow);
    let hop = Hop::depth(512).policy(policy);
    let mut line = overloaded(&["book"], 20_000);
    line.sink("spare", blackhole());
    line.connect("btc", "book", hop.clone().overflow_to("spare"));
    line.connect("btc", "spare", Hop::depth(4096));
    let case = Case::of(policy, "overflowed");
    assert_eq!(allocations_of_sheds(&mut line, case), 0, "to a hop");
    for (bytes_max, reason) in [(1 << 30, "overflowed"), (1 << 20, "full")] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut line = overloaded(&["book"], 20_000);
        let file = folder.path().join("overflow.cap");
        let hop = hop.clone().overflow_file(&file, bytes_max);
        line.connect("btc", "book", hop);
        let case = Case::of(policy, reason);
        assert_eq!(allocations_of_sheds(&mut line, case), 0, "into a file");
        let length = std::fs::metadata(&file).expect("the file").len();
        // How much it comes to is the machine's: one that is busy with others writes less.
        assert!(length > 50_000 && length <= bytes_max, "{length}");
    }
}

/// What is shed while a hot key is on its way, and where a slow consumer of a broadcast is cut off.
fn no_loop_allocates_for_a_key_that_moves_or_a_consumer_that_is_cut_off() {
    // One key, and consumers that are never done with it in time: each second it is tried again.
    let policy = Policy::of(WhenFull::DropNewest);
    let workers = ["a", "b", "c"];
    let mut line = overloaded(&workers, 2_000_000);
    let hop = Hop::depth(8192).policy(policy);
    line.connect("btc", workers, hop.split(Split::ByKey).isolate());
    // It is on its way from one of two, whichever its hash says.
    let case = Case {
        hops: &["btc->a", "btc->b"],
        ..Case::of(policy, "moving")
    };
    assert_eq!(allocations_of_sheds(&mut line, case), 0, "moving");

    let waits = |block_timeout_ns| Policy {
        block_timeout_ns,
        ..Policy::of(WhenFull::Block)
    };
    let mut line = overloaded(&["a", "b"], 2_000_000);
    line.sink("good", blackhole());
    // The one that is quick waits for no turn of the others.
    line.placement(feeding(&["btc", "good"]));
    // They are cut off when they are told so.
    let hop = Hop::depth(512).policy(waits(60_000_000_000));
    let slow = hop.slow("a", Slow::Disconnect).slow("b", Slow::Disconnect);
    line.connect("btc", ["good", "a", "b"], slow);
    let case = Case {
        hops: &["btc->a", "btc->b"],
        ..Case::of(waits(1_000_000), "disconnected")
    };
    assert_eq!(allocations_of_sheds(&mut line, case), 0, "disconnected");
}

/// Each policy that sheds on a hop by itself, and a reason that it gives.
fn policies() -> [(Policy, &'static str); 11] {
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
        // What is protected is left alone up to the last rung.
        (
            with(|policy| {
                (policy.degrade_high_ns, policy.degrade_low_ns) = (300_000, 100_000);
                policy.protected = true;
            }),
            "refused",
        ),
        (
            Policy {
                block_timeout_ns: 10_000,
                ..Policy::of(WhenFull::Block)
            },
            "block_timeout",
        ),
    ]
}

/// What is given to hops of a line while it runs, and what they shed for then.
#[derive(Clone, Copy)]
struct Case {
    hops: &'static [&'static str],
    policy: Policy,
    reason: &'static str,
}

impl Case {
    fn of(policy: Policy, reason: &'static str) -> Case {
        Case {
            hops: &["btc->book"],
            policy,
            reason,
        }
    }
}

/// A line btc → workers → tops that gets several times what its workers can do, whose first hop is still to be joined. Its source
/// has a thread of its own.
fn overloaded(workers: &[&str], takes_ns: u64) -> Builder {
    let table = Symbols::new(&["BTCUSDT"]).expect("a symbol");
    let mut line = Line::builder("overloaded");
    let feed = synthetic("BTCUSDT", 400_000.0).seed(1);
    line.source("btc", feed.decode(Binance::new(&["BTCUSDT"]).or("BTCUSDT")));
    line.sink("tops", blackhole());
    for worker in workers {
        let spec = BookSpec {
            levels: 5,
            takes_ns,
            symbols: table.clone(),
        };
        line.stage(worker, move || Book::new(&spec));
        line.connect(*worker, "tops", Hop::depth(4096));
    }
    line.drain_within_ns(1_000_000_000);
    line.placement(feeding(&["btc"]));
    line
}

/// Two threads, of which one has these nodes.
fn feeding(nodes: &[&str]) -> Placement {
    let feed = ThreadSpec {
        name: "feed".to_owned(),
        nodes: nodes.iter().map(|node| (*node).to_owned()).collect(),
        ..ThreadSpec::default()
    };
    Placement {
        pin: Pin::Off,
        wait: Some(Strategy::PARK),
        threads_max: Some(2),
        threads: vec![feed],
        ..Placement::default()
    }
}

/// How often the loops allocate of a line that gets several times what it can do, under a policy which is only given while it
/// runs; and it does shed for that reason.
fn allocations_of_sheds(line: &mut Builder, case: Case) -> u64 {
    let Case {
        hops,
        policy,
        reason,
    } = case;
    let mut running = line
        .build()
        .expect("a right line")
        .start()
        .expect("it starts");
    running.wait(Duration::from_millis(20));
    let gone = |running: &mut Running| {
        let report = running.report();
        let hops = report
            .hops
            .iter()
            .filter(|hop| hops.contains(&hop.name.as_str()));
        let count = |by: &ByReason| by.get(reason).copied().unwrap_or(0);
        hops.map(|hop| count(&hop.shed) + count(&hop.discarded))
            .sum::<u64>()
    };
    let before = gone(&mut running);
    let allocations = counted_elsewhere(|| {
        for hop in hops {
            running
                .set_policy(hop, policy)
                .expect("it was built for that");
        }
        // Until it has shed, however slow this machine is: a minute and more.
        let mut looks = 0;
        while gone(&mut running) == before {
            running.wait(Duration::from_millis(10));
            looks += 1;
            assert!(looks < 6_000, "{policy} sheds nothing as {reason}");
        }
        running.wait(Duration::from_millis(50));
    });
    let report = running.end("duration");
    assert!(
        report.ledger.closed,
        "{policy}: {:?}",
        report.ledger.breaches
    );
    let mut given = report
        .hops
        .iter()
        .filter(|hop| hops.contains(&hop.name.as_str()));
    assert!(given.all(|hop| hop.policy == policy.to_string()));
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
