//! Replaying, decoding, echoing and logging allocate nothing for a message, proven by a counting
//! allocator: a run over ten times as many messages allocates as often.

#[path = "common/counting.rs"]
mod counting;

use hopline::adapter::{Binance, Content, blackhole, datagrams, replay, synthetic, udp_to};
use hopline::feed::synthetic::{Mix, SYNTHETIC_BYTES_MAX};
use hopline::feed::{Arrivals, Synthetic, SyntheticSpec};
use hopline::io::{Driver, VirtualNet};
use hopline::topology::{Builder, Hop, Inline, Line};

use counting::{Counting, counted};

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
