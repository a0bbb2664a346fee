//! Sources, decoders and sinks on lines: inline on virtual time, and on real loopback.

#[path = "adapters/batches.rs"]
mod batches;
#[path = "adapters/captures.rs"]
mod captures;
mod common;
#[path = "adapters/lengths.rs"]
mod lengths;
#[path = "adapters/log.rs"]
mod log;
#[path = "adapters/names.rs"]
mod names;
#[path = "adapters/rig.rs"]
mod rig;
#[path = "adapters/sockets.rs"]
mod sockets;

use std::collections::BTreeMap;
use std::io::Write;

use hopline::adapter::{Binance, Content, MadeUp, blackhole, datagrams, replay, synthetic, udp_to};
use hopline::feed::{Arrivals, Schedule, Trade};
use hopline::io::{Driver, FaultPlan, Faulty, IoErrorKind, VirtualNet};
use hopline::topology::{Hop, Inline, Line, Report, StartError};

use rig::{TRADE, Tap, exact, of_kind, rejected, run, run_line, run_on, trade};

/// A flat-out replay of a file into a tap.
fn replayed(file: &[u8]) -> (Report, Vec<rig::Seen>) {
    replayed_by(file, |net| net.driver().into())
}

fn replayed_by(
    file: &[u8],
    driver: impl FnOnce(&VirtualNet) -> Driver,
) -> (Report, Vec<rig::Seen>) {
    let (net, tap) = (VirtualNet::new(), Tap::default());
    net.put_file("capture", file);
    let mut line = Line::builder("replay");
    let binance = Binance::new(&["BTCUSDT"]);
    line.source("btc", replay("capture").speed(None).decode(binance));
    line.sink("end", tap.clone());
    line.connect("btc", "end", Hop::depth(1024));
    let report = run_on(&mut line, driver(&net));
    (report, tap.seen())
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(text).unwrap();
    packed.finish().unwrap()
}

#[test]
fn each_bad_line_is_counted_by_its_reason_and_the_others_arrive() {
    let long = format!("5 {{\"e\":\"trade\",\"x\":\"{}\"}}", "y".repeat(1 << 20));
    let bad: &[(&[u8], &str)] = &[
        (b"no time at all", "bad_line"),
        (b"99999999999999999999999 {}", "beyond_scale"),
        (b"", "empty"),
        (b"5 {\"e\":\"trade\",\"s\":\"BTC\xff\"}", "not_utf8"),
        (b"5 {\"e\":\"trade\" 7}", "not_json"),
        (b"5 {\"e\":\"trade\",", "truncated"),
        (b"5 {\"e\":\"kline\"}", "unknown_kind"),
        (b"5 {\"e\":\"trade\",\"s\":\"BTCUSDT\",\"t\":7}", "missing_field"),
        (
            b"5 {\"e\":\"trade\",\"s\":\"BTCUSDT\",\"t\":\"7\",\"p\":\"1\",\"q\":\"1\",\"m\":true}",
            "wrong_type",
        ),
        (
            b"5 {\"e\":\"trade\",\"s\":\"BTCUSDT\",\"t\":7,\"p\":\"0.000000000001\",\"q\":\"1\",\"m\":true}",
            "beyond_scale",
        ),
        (
            b"5 {\"e\":\"trade\",\"s\":\"DOGEUSDT\",\"t\":7,\"p\":\"1\",\"q\":\"1\",\"m\":true}",
            "unknown_symbol",
        ),
        (long.as_bytes(), "too_long"),
    ];
    let mut text = Vec::new();
    let mut expected = BTreeMap::new();
    for (at, (line, why)) in bad.iter().enumerate() {
        writeln!(text, "5 {}", trade(at)).unwrap();
        text.extend_from_slice(line);
        text.push(b'\n');
        *expected.entry(*why).or_insert(0) += 1;
    }
    for file in [text.clone(), gzip(&text)] {
        let (report, seen) = replayed(&file);
        let source = &report.ledger.sources["btc"];
        assert_eq!(of_kind::<Trade>(&seen), bad.len());
        assert_eq!(source.received, 2 * bad.len() as u64);
        assert_eq!(rejected(&report), Vec::from_iter(expected.clone()));
        assert_eq!((source.time_backwards, report.faults.len()), (0, 0));
    }
}

#[test]
fn an_empty_file_and_a_cut_one_are_counted() {
    for file in [Vec::new(), gzip(b"")] {
        let (report, seen) = replayed(&file);
        assert_eq!((rejected(&report), seen.len()), (vec![("empty", 1)], 0));
    }
    let text: String = (0..2_000).map(|id| format!("5 {}\n", trade(id))).collect();
    let packed = gzip(text.as_bytes());
    let (report, seen) = replayed(&packed[..packed.len() / 2]);
    assert_eq!(rejected(&report), [("truncated", 1)]);
    assert!((1..2_000).contains(&seen.len()), "{}", seen.len());

    let mut changed = packed.clone();
    changed[packed.len() - 6] ^= 1;
    let (report, seen) = replayed(&changed);
    assert_eq!(
        (rejected(&report), seen.len()),
        (vec![("corrupt", 1)], 2_000)
    );
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let mut line = Line::builder("replay");
    line.source("btc", replay("no/such").decode(Binance::new(&["BTCUSDT"])));
    line.sink("end", blackhole());
    line.connect("btc", "end", Hop::depth(1024));
    let started = line
        .build()
        .unwrap()
        .run_inline(Inline::new(VirtualNet::new().driver().into()), None);
    let error = started.map(|_| ()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "btc: cannot open no/such: no such file or folder"
    );
    assert!(matches!(error, StartError::Open { error, .. } if error.kind == IoErrorKind::NotFound));
}

#[test]
fn a_read_that_fails_is_counted_and_said() {
    let text: String = (0..2_000).map(|id| format!("5 {}\n", trade(id))).collect();
    let (report, seen) = replayed_by(text.as_bytes(), |net| {
        let plan = FaultPlan {
            read_error_after_bytes: Some(100_000),
            ..FaultPlan::default()
        };
        Faulty::new(net.driver().into(), plan).into()
    });
    assert_eq!(rejected(&report), [("truncated", 1)]);
    assert!((900..1_200).contains(&seen.len()), "{}", seen.len());
    assert!(
        report.faults[0].starts_with("btc: i/o: capture: cannot read: "),
        "{:?}",
        report.faults
    );
}

#[test]
fn times_that_run_backwards_are_counted_and_keep_the_order() {
    let net = VirtualNet::new();
    let text = "1000 a\n4000 b\n2000 c\n500 d\n6000 e\n";
    net.put_file("capture", text.as_bytes());
    let mut line = Line::builder("backwards");
    line.source("btc", replay("capture").decode(datagrams()));
    line.sink("end", udp_to("127.0.0.1:9"));
    line.connect("btc", "end", Hop::depth(64));
    let report = run_line(line.build().unwrap(), exact(&net));
    let source = &report.ledger.sources["btc"];
    assert_eq!((source.time_backwards, source.ingested), (2, 5));
    // Late by what other messages' times say, not by its own.
    assert_eq!(source.late_ns_max, 0);
    let sent: Vec<(u64, Vec<u8>)> = net.sent().into_iter().map(|d| (d.at_ns, d.bytes)).collect();
    let at = |ns: u64, text: &str| (1_000_000_000 + ns, text.as_bytes().to_vec());
    assert_eq!(
        sent,
        [
            at(0, "a"),
            at(3000, "b"),
            at(3000, "c"),
            at(3000, "d"),
            at(5000, "e")
        ]
    );
}

#[test]
fn an_event_after_its_receive_time_is_clamped_and_counted() {
    let late = TRADE.replace("\"E\":1", "\"E\":2271");
    let text = format!("1000000000 {late}\n3000000000 {late}\n");
    let (report, seen) = replayed(text.as_bytes());
    let source = &report.ledger.sources["btc"];
    let skew = source.skew.as_ref().unwrap();
    assert_eq!((skew.clamped, skew.ahead_ns_max()), (1, 1_271_000_000));
    assert_eq!(seen.len(), 2);
}

#[test]
fn a_paced_replay_leaves_at_its_due_times() {
    // Several in the same nanosecond, and pauses longer than any slice of reading ahead.
    let times: Vec<u64> = (0..500)
        .map(|n: u64| 7_000 + n / 3 * 40_000 + n % 2)
        .collect();
    for (speed, epoch_ns) in [(1.0, None), (4.0, None), (0.5, Some(1_000))] {
        let net = VirtualNet::new();
        let text: String = times
            .iter()
            .map(|ns| format!("{ns} {ns:0>200}\n"))
            .collect();
        net.put_file("capture", &gzip(text.as_bytes()));
        let mut line = Line::builder("paced");
        let mut capture = replay("capture").speed(Some(speed));
        if let Some(epoch_ns) = epoch_ns {
            capture = capture.epoch_ns(epoch_ns);
        }
        line.source("btc", capture.decode(datagrams()));
        line.sink("end", udp_to("127.0.0.1:9"));
        line.connect("btc", "end", Hop::depth(64));
        let report = run_line(line.build().unwrap(), exact(&net));
        assert_eq!(report.ledger.sources["btc"].late_ns_max, 0);
        let mut newest_ns = 0;
        let due: Vec<u64> = times
            .iter()
            .map(|ns| {
                newest_ns = newest_ns.max(*ns);
                let after_ns = (newest_ns - epoch_ns.unwrap_or(7_000)) as f64 / speed;
                1_000_000_000 + after_ns as u64
            })
            .collect();
        let sent: Vec<u64> = net.sent().iter().map(|datagram| datagram.at_ns).collect();
        assert_eq!(sent, due, "at {speed}x");
        assert_eq!(report.end_to_end.sojourn_ns.max, 0);
    }
}

#[test]
fn two_captures_with_one_epoch_stay_aligned() {
    let (net, tap) = (VirtualNet::new(), Tap::default());
    net.put_file("a", b"1000 a\n3000 a\n");
    net.put_file("b", b"2000 b\n4000 b\n");
    let mut line = Line::builder("aligned");
    for name in ["a", "b"] {
        line.source(name, replay(name).epoch_ns(1_000).decode(datagrams()));
    }
    line.sink("end", tap.clone());
    line.connect(["a", "b"], "end", Hop::depth(64));
    run_line(line.build().unwrap(), exact(&net));
    let seen: Vec<(u16, u64)> = tap
        .seen()
        .iter()
        .map(|s| (s.source, s.t_intended_ns))
        .collect();
    let t0 = 1_000_000_000;
    assert_eq!(
        seen,
        [(0, t0), (1, t0 + 1_000), (0, t0 + 2_000), (1, t0 + 3_000)]
    );
}

#[test]
fn a_synthetic_feed_catches_up_with_the_times_at_which_it_was_due() {
    // A message each 100 ns, on a clock that moves 20 ns a stamp: more than the line can take.
    let tap = Tap::default();
    let mut line = Line::builder("synthetic");
    let feed = synthetic("BTCUSDT", 1e7)
        .arrivals(Arrivals::Constant)
        .count(5_000);
    line.source("btc", feed.decode(Binance::new(&["BTCUSDT"])));
    line.sink("end", tap.clone());
    line.connect("btc", "end", Hop::depth(1024));
    let report = run(&mut line, &VirtualNet::new());
    let source = &report.ledger.sources["btc"];
    assert_eq!((source.received, source.ingested), (5_000, 5_000));
    assert!(source.late_ns_max > 50_000, "{}", source.late_ns_max);
    let first = tap
        .seen()
        .into_iter()
        .filter(|frame| frame.flags.is_first());
    let times: Vec<u64> = first.map(|frame| frame.t_intended_ns).collect();
    assert_eq!(times.len(), 5_000);
    assert!(
        times
            .windows(2)
            .all(|pair| (99..=101).contains(&(pair[1] - pair[0])))
    );
}

#[test]
fn a_synthetic_feed_ends_when_it_is_told_to() {
    let until = |feed: MadeUp| {
        let mut line = Line::builder("synthetic");
        line.source("btc", feed.decode(datagrams()));
        line.sink("end", blackhole());
        line.connect("btc", "end", Hop::depth(64));
        run(&mut line, &VirtualNet::new()).ledger.sources["btc"].clone()
    };
    let feed = || {
        synthetic("BTCUSDT", 1_000.0)
            .arrivals(Arrivals::Constant)
            .content(Content::Datagrams { bytes: 100 })
    };
    assert_eq!(until(feed().for_ns(1_000_000_000)).received, 1_000);
    assert_eq!(until(feed().count(7)).bytes, 700);
    assert_eq!(until(feed().count(0)).received, 0);
    let mut schedule = Schedule::new(1_000.0, Arrivals::Poisson, 9).unwrap();
    let due = core::iter::from_fn(|| Some(schedule.next_ns()));
    let expected = due.take_while(|ns| *ns < 500_000_000).count() as u64;
    let poisson = feed()
        .arrivals(Arrivals::Poisson)
        .seed(9)
        .for_ns(500_000_000);
    assert_eq!(until(poisson).received, expected);
}
