//! Replaying, decoding, echoing and logging allocate nothing for a message, proven by a counting
//! allocator: a run over ten times as many messages allocates as often.

#[path = "common/counting.rs"]
mod counting;

use hopline::adapter::{
    Binance, Content, blackhole, datagrams, itch, moldudp64, replay, synthetic, udp, udp_to,
};
use hopline::feed::Schedule;
use hopline::feed::books::orders::ByOrder;
use hopline::feed::simulated::{Lines, LinesSpec, Orders, Saying};
use hopline::feed::synthetic::{Mix, SYNTHETIC_BYTES_MAX};
use hopline::feed::{Arrivals, Synthetic, SyntheticSpec};
use hopline::io::{Driver, VirtualNet};
use hopline::overload::WhenFull;
use hopline::stages::FeedBook;
use hopline::topology::{Builder, Hop, Inline, Line, Params, Value};

use counting::{Counting, counted, peak};

#[global_allocator]
static GLOBAL: Counting = Counting;

/// Allocations of a whole run, from opening to the report, and the messages that it delivered.
fn allocations(line: &mut Builder, driver: Driver) -> (u64, u64) {
    let line = line.build().unwrap();
    let mut delivered = 0;
    let allocations = counted(|| {
        let (report, _) = line.run_inline(Inline::new(driver), None).unwrap();
        delivered = report.hops.iter().map(|hop| hop.delivered).sum();
    });
    (allocations, delivered)
}

/// A capture of a synthetic feed, with a bad line after every message.
fn capture(messages: usize) -> Vec<u8> {
    let spec = SyntheticSpec {
        seed: 3,
        symbol: "BTCUSDT".into(),
        rate_per_s: 1e6,
        arrivals: Arrivals::Poisson,
        mix: Mix::default(),
    };
    let mut feed = Synthetic::new(&spec).unwrap();
    let mut buffer = [0; SYNTHETIC_BYTES_MAX];
    let mut text = Vec::new();
    for _ in 0..messages {
        let (ns, len) = feed.next(&mut buffer).unwrap();
        text.extend_from_slice(format!("{ns} ").as_bytes());
        text.extend_from_slice(&buffer[..len]);
        text.extend_from_slice(b"\nnonsense\n");
    }
    text
}

fn replayed(messages: usize, speed: Option<f64>) -> (u64, u64) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), capture(messages)).unwrap();
    let mut line = Line::builder("replay");
    let binance = Binance::new(&["BTCUSDT"]);
    line.source("btc", replay(file.path()).speed(speed).decode(binance));
    line.sink("end", blackhole());
    line.connect("btc", "end", Hop::depth(1024));
    allocations(&mut line, Driver::real().unwrap())
}

fn sent(messages: u64) -> (u64, u64) {
    let net = VirtualNet::new();
    let mut line = Line::builder("out");
    let feed = synthetic("BTCUSDT", 1e5).content(Content::Datagrams { bytes: 700 });
    line.source("in", feed.count(messages).decode(datagrams()));
    line.sink("out", udp_to("127.0.0.1:9"));
    line.connect("in", "out", Hop::depth(64));
    allocations(&mut line, net.driver().into())
}

/// A feed over two lines that overtake each other, into books: copies are held, and come twice.
fn fed(messages: u64) -> (u64, u64, u64) {
    let spec = LinesSpec {
        messages,
        delayed: 0.05,
        repeated: 0.05,
        ..LinesSpec::default()
    };
    let schedule = Schedule::new(5e5, Arrivals::Constant, 1).unwrap();
    let mut lines = Lines::new(&spec, Saying::Orders(Orders::new(1, 20, 400)), schedule);
    let net = VirtualNet::new();
    let to = ["127.0.0.1:7", "127.0.0.1:8"];
    while let Some(sent) = lines.next() {
        let (from, to) = (
            "127.0.0.1:1".parse().unwrap(),
            to[sent.line].parse().unwrap(),
        );
        assert!(net.inject(from, to, sent.bytes, 1_001_000_000 + sent.at_ns));
    }
    let mut line = Line::builder("feed");
    let feed = moldudp64(udp(to[0])).line_b(udp(to[1]));
    line.source("itch", feed.decode(itch()));
    line.stage("book", || {
        let mut params = Params::new(None);
        for (key, value) in [("most_symbols", 32), ("depth", 16), ("most_orders", 1_024)] {
            params.set(key, Value::Int(value), None);
        }
        FeedBook::<ByOrder>::from_params(&mut params).unwrap()
    });
    line.sink("end", blackhole());
    line.connect("itch", "book", Hop::depth(256));
    line.connect("book", "end", Hop::depth(256));
    let line = line.build().unwrap();
    let inline = Inline::new(net.driver().into()).stop_after_ns(1_000_000_000);
    let (mut delivered, mut held_max) = (0, 0);
    let allocations = counted(|| {
        let (report, _) = line.run_inline(inline, None).unwrap();
        let feed = report.ledger.sources["itch"].sequenced.as_ref().unwrap();
        assert!(report.ledger.closed && feed.lost == 0, "{feed:?}");
        (delivered, held_max) = (feed.delivered, feed.held_max);
    });
    (allocations, delivered, held_max)
}

/// What a line is planned to take and takes at most, in bytes, whose hop overflows into that file, if it is given.
fn planned_and_taken(file: Option<&std::path::Path>) -> (u64, u64) {
    let (mut planned, mut messages) = (0, 0);
    let taken = peak(|| {
        let mut line = Line::builder("overflows");
        let feed = synthetic("BTCUSDT", 1e6).content(Content::Datagrams { bytes: 64 });
        line.source("in", feed.count(20_000).decode(datagrams()));
        line.sink("out", blackhole());
        let hop = Hop::depth(64);
        line.connect(
            "in",
            "out",
            match file {
                None => hop,
                Some(file) => hop
                    .when_full(WhenFull::Overflow)
                    .overflow_file(file, 64 << 20),
            },
        );
        let inline = Inline::new(Driver::real().unwrap());
        let (report, _) = line.build().unwrap().run_inline(inline, None).unwrap();
        assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
        planned = report.line.planned_bytes as u64;
        messages = report.hops[0].offered;
    });
    assert_eq!(messages, 20_000);
    (planned, taken)
}

#[test]
fn a_file_that_is_overflowed_into_takes_no_more_than_the_plan_says() {
    let folder = tempfile::tempdir().unwrap();
    let (planned, taken) = planned_and_taken(None);
    let (planned_more, taken_more) = planned_and_taken(Some(&folder.path().join("spill.cap")));
    let (planned, taken) = (planned_more - planned, taken_more - taken);
    // Names, paths and a row of the report are not planned for.
    const WORDS_BYTES: u64 = 8 << 10;
    assert!(
        taken <= planned + WORDS_BYTES && taken > 2 << 20,
        "planned {planned} B for it, took {taken} B"
    );
}

#[test]
fn a_feed_of_two_lines_allocates_no_more_for_more_messages() {
    fed(1_000);
    let (few, many) = (fed(20_000), fed(60_000));
    assert_eq!((few.1, many.1), (20_000, 60_000));
    assert!(
        few.2 > 0 && many.2 > 0,
        "some came out of turn: {few:?} {many:?}"
    );
    // The virtual network keeps the buffers of what was taken, in a vector that doubles.
    assert!(many.0 <= few.0 + 2, "{few:?} {many:?}");
}

#[test]
fn a_run_allocates_no_more_for_more_messages() {
    // Things that a process makes once.
    replayed(1, None);
    for speed in [None, Some(10.0)] {
        let (few, many) = (replayed(500, speed), replayed(5_000, speed));
        assert_eq!((few.1, many.1), (500, 5_000));
        assert_eq!(few.0, many.0, "at speed {speed:?}");
    }
    // The virtual network keeps what was sent, in vectors that double.
    let (few, many) = (sent(500), sent(5_000));
    assert_eq!((few.1, many.1), (500, 5_000));
    assert!(many.0 - few.0 < 16, "{few:?} {many:?}");
}
