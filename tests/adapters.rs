//! Sources, decoders and sinks on lines: inline on virtual time, and on real loopback.

#[path = "adapters/rig.rs"]
mod rig;

mod common;

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use hopline::adapter::{
    Binance, Content, blackhole, datagrams, register, replay, shared_udp, sink_log, synthetic, udp,
    udp_on, udp_reply, udp_to,
};
use hopline::feed::synthetic::{Mix, SYNTHETIC_BYTES_MAX};
use hopline::feed::{
    Arrivals, BookTicker, DepthHead, Schedule, SnapshotHead, Synthetic, SyntheticSpec, Trade,
};
use hopline::io::{Driver, FaultPlan, Faulty, IoErrorKind, VirtualNet};
use hopline::overload::WhenFull;
use hopline::stage::Role;
use hopline::topology::{
    Hop, Inline, Line, Params, Placement, Registry, Report, StartError, Stop, Value,
};
use hopline::wait::Strategy;

use rig::{Leaves, Tap, exact, of_kind, run, run_line, run_on};

const TRADE: &str =
    r#"{"e":"trade","E":1,"T":1,"s":"BTCUSDT","t":7,"p":"61800.10","q":"0.5","m":true}"#;

fn trade(id: usize) -> String {
    TRADE.replace("\"t\":7", &format!("\"t\":{id}"))
}

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

fn rejected(report: &Report) -> Vec<(&str, u64)> {
    let source = &report.ledger.sources["btc"];
    let by_reason = source.rejected.iter();
    by_reason
        .map(|(why, count)| (why.as_str(), *count))
        .collect()
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
    assert_eq!(
        (source.skew_clamped, source.skew_ns_max),
        (1, 1_271_000_000)
    );
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
    assert!(source.late_ns_max > 100_000, "{}", source.late_ns_max);
    let first = tap
        .seen()
        .into_iter()
        .filter(|frame| frame.flags.is_first());
    let times: Vec<u64> = first.map(|frame| frame.t_intended_ns).collect();
    assert_eq!(times.len(), 5_000);
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] == 100));
}

#[test]
fn a_synthetic_feed_ends_when_it_is_told_to() {
    let until = |feed: hopline::adapter::MadeUp| {
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

/// The messages of a synthetic feed, by kind.
fn made_up(count: usize) -> (String, BTreeMap<String, u64>) {
    let spec = SyntheticSpec {
        seed: 3,
        symbol: "BTCUSDT".into(),
        rate_per_s: 1e6,
        arrivals: Arrivals::Constant,
        mix: Mix::default(),
    };
    let mut feed = Synthetic::new(&spec).unwrap();
    let mut buffer = [0; SYNTHETIC_BYTES_MAX];
    let (mut text, mut kinds) = (String::new(), BTreeMap::new());
    for _ in 0..count {
        let (ns, len) = feed.next(&mut buffer).unwrap();
        let json = std::str::from_utf8(&buffer[..len]).unwrap();
        text.push_str(&format!("{ns} {json}\n"));
        let value: serde_json::Value = serde_json::from_str(json).unwrap();
        let kind = value["data"]["e"].as_str().unwrap_or("snapshot");
        *kinds.entry(kind.to_owned()).or_insert(0) += 1;
    }
    (text, kinds)
}

/// Counts of a sink log's lines by kind; each line has exactly the agreed keys.
fn logged(net: &VirtualNet) -> BTreeMap<String, u64> {
    let log = String::from_utf8(net.file("log").unwrap()).unwrap();
    let mut kinds = BTreeMap::new();
    for line in log.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        let keys: Vec<&String> = value.as_object().unwrap().keys().collect();
        assert_eq!(keys.len(), 4, "{line}");
        assert!(
            line.starts_with("{\"symbol\":\"BTCUSDT\",\"kind\":\""),
            "{line}"
        );
        let kind = value["kind"].as_str().unwrap();
        assert!(value["id"].is_u64(), "{line}");
        assert_eq!(value["prev"].is_u64(), kind == "depthUpdate", "{line}");
        *kinds.entry(kind.to_owned()).or_insert(0) += 1;
    }
    kinds
}

/// Replays `capture` flat out through a stage into the log and a blackhole.
fn log_line(depth: usize, when_full: WhenFull) -> hopline::topology::Builder {
    let mut line = Line::builder("logged");
    line.source(
        "btc",
        replay("capture")
            .speed(None)
            .decode(Binance::new(&["BTCUSDT"])),
    );
    line.stage("leaves", || Leaves);
    line.sink("log", sink_log("log", &["BTCUSDT"]));
    line.sink("end", blackhole());
    line.connect("btc", "leaves", Hop::depth(depth).when_full(when_full));
    line.connect("leaves", "log", Hop::depth(4096));
    line.connect("leaves", "end", Hop::depth(4096));
    line
}

#[test]
fn the_log_has_every_message_in_order() {
    let net = VirtualNet::new();
    let (text, kinds) = made_up(5_000);
    net.put_file("capture", text.as_bytes());
    // Short writes change nothing.
    let plan = FaultPlan {
        seed: 5,
        short_write_one_in: 2,
        ..FaultPlan::default()
    };
    let driver = Faulty::new(net.driver().into(), plan).into();
    let report = run_on(&mut log_line(1024, WhenFull::Block), driver);
    assert_eq!((logged(&net), report.ledger.shed), (kinds, 0));
    let log = String::from_utf8(net.file("log").unwrap()).unwrap();
    let ids = |kind: &str| -> Vec<(u64, Option<u64>)> {
        let lines = log.lines().map(|line| serde_json::from_str(line).unwrap());
        let of_kind = lines.filter(|value: &serde_json::Value| value["kind"] == kind);
        of_kind
            .map(|value| (value["id"].as_u64().unwrap(), value["prev"].as_u64()))
            .collect()
    };
    assert!(
        ids("trade")
            .windows(2)
            .all(|pair| pair[1].0 == pair[0].0 + 1)
    );
    assert!(
        ids("depthUpdate")
            .windows(2)
            .all(|pair| pair[1].1 == Some(pair[0].0))
    );
    assert!(
        ids("bookTicker")
            .windows(2)
            .all(|pair| pair[1].0 > pair[0].0)
    );
    // A log does not count towards the objective.
    assert_eq!(report.end_to_end.sojourn_ns.count, 5_000);
}

#[test]
fn what_is_missing_in_the_log_is_what_was_shed() {
    let net = VirtualNet::new();
    let (text, kinds) = made_up(5_000);
    net.put_file("capture", text.as_bytes());
    let report = run(&mut log_line(16, WhenFull::DropNewest), &net);
    let mut missing = kinds;
    for (kind, count) in logged(&net) {
        *missing.get_mut(&kind).unwrap() -= count;
    }
    let hop = &report.hops[0];
    let shed = hop.shed_by_kind.iter();
    let shed: BTreeMap<String, u64> = shed
        .map(|(kind, reasons)| (kind.clone(), reasons.values().sum()))
        .collect();
    missing.retain(|_, count| *count > 0);
    assert_eq!(shed, missing);
    assert!(
        hop.shed["full"] > 1_000 && hop.shed["oversize"] > 10,
        "{:?}",
        hop.shed
    );
    assert_eq!(report.ledger.sources["btc"].shed, report.ledger.shed);
}

#[test]
fn a_full_disk_under_the_log_is_said_and_nothing_else_is_affected() {
    let (text, _) = made_up(5_000);
    for room in [0, 1, 1_000, 100_000, 300_000] {
        let net = VirtualNet::new();
        net.put_file("capture", text.as_bytes());
        net.set_disk_bytes(text.len() + room);
        let report = run(&mut log_line(1024, WhenFull::Block), &net);
        let file = net.file("log").unwrap();
        let lines = file.iter().filter(|b| **b == b'\n').count() as u64;
        assert!(file.len() <= room && file.last().is_none_or(|b| *b == b'\n'));
        assert!(room < 100 || lines > 0);
        logged(&net);
        let says = format!(
            "log: i/o: log: disk full after {lines} lines: free space or write the log elsewhere"
        );
        assert_eq!(report.faults, [says]);
        let stage = |name| {
            report
                .stages
                .iter()
                .find(|stage| stage.name == name)
                .unwrap()
        };
        let log = stage("log");
        assert_eq!((log.forwarded, log.state), (lines, "done"));
        assert_eq!(log.rejected["disk_full"], 5_000 - lines);
        assert_eq!(stage("end").forwarded, 5_000);
    }
}

#[test]
fn what_comes_in_by_a_socket_is_counted_even_where_it_is_lost() {
    let net = VirtualNet::new();
    let (from, to) = (
        "127.0.0.1:1".parse().unwrap(),
        "127.0.0.1:26400".parse().unwrap(),
    );
    // All at once: more than a socket's queue holds.
    for id in 0..1_100 {
        assert!(net.inject(from, to, trade(id).as_bytes(), 2_000_000_000));
    }
    let mut line = Line::builder("udp");
    line.source(
        "btc",
        udp("127.0.0.1:26400").decode(Binance::new(&["BTCUSDT"])),
    );
    line.sink("end", blackhole());
    line.connect("btc", "end", Hop::depth(1024));
    let inline = Inline::new(net.driver().into()).stop_after_ns(2_000_000_000);
    let report = run_line(line.build().unwrap(), inline);
    let source = &report.ledger.sources["btc"];
    assert_eq!((source.received, source.kernel_dropped), (1_024, 76));
    assert_eq!(report.hops[0].delivered, 1_024);
}

#[test]
fn a_datagram_that_was_cut_is_too_long() {
    let net = VirtualNet::new();
    let to = "127.0.0.1:26400".parse().unwrap();
    for id in 0..10 {
        net.inject(
            "127.0.0.1:1".parse().unwrap(),
            to,
            trade(id).as_bytes(),
            2_000_000_000,
        );
    }
    let mut line = Line::builder("udp");
    line.source("btc", udp("127.0.0.1:26400").decode(datagrams()));
    line.sink("end", blackhole());
    line.connect("btc", "end", Hop::depth(1024));
    let plan = FaultPlan {
        recv_truncate_one_in: 1,
        ..FaultPlan::default()
    };
    let driver = Faulty::new(net.driver().into(), plan).into();
    let inline = Inline::new(driver).stop_after_ns(2_000_000_000);
    let report = run_line(line.build().unwrap(), inline);
    assert_eq!(rejected(&report), [("too_long", 10)]);
}

#[test]
fn a_full_socket_holds_back_and_a_refusal_is_counted() {
    let sent = |plan: FaultPlan| {
        let net = VirtualNet::new();
        let mut line = Line::builder("out");
        let feed = synthetic("BTCUSDT", 1e6).content(Content::Datagrams { bytes: 700 });
        line.source("btc", feed.count(1_000).decode(datagrams()));
        line.sink("end", udp_to("127.0.0.1:9"));
        line.connect("btc", "end", Hop::depth(64));
        let report = run_on(&mut line, Faulty::new(net.driver().into(), plan).into());
        let numbers: Vec<u64> = net
            .sent()
            .iter()
            .map(|datagram| {
                assert_eq!(datagram.bytes.len(), 700);
                u64::from_le_bytes(*datagram.bytes.first_chunk().unwrap())
            })
            .collect();
        (report, numbers)
    };
    // Each datagram is several fragments, of which the last one is offered again and again.
    let (report, numbers) = sent(FaultPlan {
        seed: 1,
        send_would_block_one_in: 2,
        ..FaultPlan::default()
    });
    assert!(numbers.into_iter().eq(0..1_000));
    assert_eq!(report.hops[0].delivered, 1_000);

    let (report, numbers) = sent(FaultPlan {
        seed: 1,
        send_refused_one_in: 4,
        ..FaultPlan::default()
    });
    let sink = &report.stages[1];
    assert_eq!(sink.forwarded, numbers.len() as u64);
    assert_eq!(sink.rejected["refused"], 1_000 - sink.forwarded);
    assert!((150..350).contains(&sink.rejected["refused"]));
}

/// A line on threads that only yield, so that tests beside it go on.
fn on_threads(line: &mut hopline::topology::Builder) -> hopline::topology::Running {
    line.placement(Placement {
        wait: Some(Strategy::YIELD),
        ..Placement::default()
    });
    line.build().unwrap().start().unwrap()
}

fn client(of: SocketAddr) -> UdpSocket {
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    client.connect(of).unwrap();
    client
}

#[test]
fn an_echo_comes_back_from_the_port_that_it_was_sent_to() {
    let socket = shared_udp("127.0.0.1:0").unwrap();
    let mut line = Line::builder("echo");
    line.source("in", udp_on(&socket).decode(datagrams()));
    line.sink("out", udp_reply(&socket));
    line.connect("in", "out", Hop::depth(256));
    let running = on_threads(&mut line);
    let echo = socket.local_addr().unwrap();
    // Connected: they hear nothing from any other port.
    let clients = [client(echo), client(echo)];
    let mut buf = [0; 2_000];
    for len in [0, 1, 75, 76, 1_472] {
        for (at, client) in clients.iter().enumerate() {
            let bytes = vec![at as u8 + 1; len];
            client.send(&bytes).unwrap();
            let got = client.recv(&mut buf).unwrap();
            assert_eq!(&buf[..got], bytes, "{len} bytes");
        }
    }
    clients[0].send(&[0; 1_473]).unwrap();
    clients[0].send(b"last").unwrap();
    assert_eq!(clients[0].recv(&mut buf).unwrap(), 4);
    let report = running.end("duration");
    assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
    let source = &report.ledger.sources["in"];
    assert_eq!((source.received, source.ingested), (12, 11));
    assert_eq!(source.rejected["too_long"], 1);
    assert_eq!(report.faults, Vec::<String>::new());
}

#[test]
fn market_data_over_loopback_is_all_accounted_for() {
    let socket = shared_udp("127.0.0.1:0").unwrap();
    let out = UdpSocket::bind("127.0.0.1:0").unwrap();
    out.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut line = Line::builder("through");
    line.source("in", udp_on(&socket).decode(datagrams()));
    line.sink("out", udp_to(&out.local_addr().unwrap().to_string()));
    line.connect("in", "out", Hop::depth(256));
    let running = on_threads(&mut line);
    let into = client(socket.local_addr().unwrap());
    let mut buf = [0; 2_000];
    // One at a time, so that no buffer of the kernel overflows.
    for id in 0..500 {
        let message = trade(id);
        into.send(message.as_bytes()).unwrap();
        let got = out.recv(&mut buf).unwrap();
        assert_eq!(&buf[..got], message.as_bytes());
    }
    let report = running.end("duration");
    assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
    assert_eq!((report.hops[0].delivered, report.ledger.shed), (500, 0));
    assert_eq!(report.ledger.sources["in"].kernel_dropped, 0);
}

#[test]
fn a_port_in_use_is_named() {
    let held = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = held.local_addr().unwrap().to_string();
    let mut line = Line::builder("twice");
    line.source("in", udp(&addr).decode(datagrams()));
    line.sink("end", blackhole());
    line.connect("in", "end", Hop::depth(64));
    let error = line.build().unwrap().start().unwrap_err().to_string();
    assert_eq!(
        error,
        format!("in: cannot bind {addr}: address already in use")
    );
}

fn params(settings: &[(&str, Value)]) -> Params {
    let mut params = Params::new(None);
    for (key, value) in settings {
        params.set(key, value.clone(), None);
    }
    params
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

#[test]
fn all_kinds_are_made_by_their_names() {
    let registry = register(Registry::new());
    let kinds: Vec<(&str, Role)> = registry.kinds().collect();
    for (kind, role) in [
        ("udp", Role::Source),
        ("replay", Role::Source),
        ("synthetic", Role::Source),
        ("udp", Role::Sink),
        ("udp_reply", Role::Sink),
        ("blackhole", Role::Sink),
        ("sink_log", Role::Sink),
    ] {
        assert!(kinds.contains(&(kind, role)), "{kind}");
    }
    let good: &[(&str, Role, &[(&str, Value)])] = &[
        (
            "udp",
            Role::Source,
            &[
                ("bind", text("127.0.0.1:0")),
                ("decode", text("binance")),
                ("symbol", text("BTCUSDT")),
            ],
        ),
        (
            "udp",
            Role::Source,
            &[
                ("bind", text("[::1]:0")),
                ("decode", text("datagram")),
                ("share", text("echo")),
                ("recv_buffer", Value::Int(1 << 20)),
            ],
        ),
        (
            "replay",
            Role::Source,
            &[
                ("file", text("a.gz")),
                ("speed", text("100x")),
                ("epoch_ns", Value::Int(5)),
                ("decode", text("binance")),
                (
                    "symbols",
                    Value::List(vec![text("BTCUSDT"), text("ETHUSDT")]),
                ),
                ("symbol", text("ETHUSDT")),
            ],
        ),
        (
            "synthetic",
            Role::Source,
            &[
                ("rate", text("50k/s")),
                ("arrivals", text("bursty")),
                ("burst", Value::Int(8)),
                ("intensity", Value::Int(4)),
                ("seed", Value::Int(9)),
                ("for", text("10s")),
                ("count", Value::Int(5)),
                ("decode", text("binance")),
                ("symbol", text("BTCUSDT")),
            ],
        ),
        (
            "synthetic",
            Role::Source,
            &[
                ("rate", text("50k/s")),
                ("content", text("datagrams")),
                ("bytes", Value::Int(100)),
                ("decode", text("datagram")),
                ("max_bytes", Value::Int(100)),
            ],
        ),
        ("udp", Role::Sink, &[("to", text("127.0.0.1:9"))]),
        ("udp_reply", Role::Sink, &[("socket", text("echo"))]),
        ("blackhole", Role::Sink, &[]),
        (
            "sink_log",
            Role::Sink,
            &[("file", text("a")), ("symbols", text("BTCUSDT"))],
        ),
    ];
    for (kind, role, settings) in good {
        let made = registry.make(kind, *role, &mut params(settings));
        let part = made.unwrap_or_else(|problems| panic!("{kind}: {problems}"));
        assert_eq!(part.descriptor().role, *role);
        assert!(part.descriptor().memory_bytes > 0 || *kind == "blackhole");
    }
}

#[test]
fn wrong_settings_are_named_with_what_to_write() {
    let registry = register(Registry::new());
    let udp: &[(&str, Value)] = &[("decode", text("datagram"))];
    let made_up: &[(&str, Value)] = &[("decode", text("binance")), ("symbol", text("BTCUSDT"))];
    for (kind, role, base, setting, says) in [
        (
            "udp",
            Role::Source,
            udp,
            None,
            "write bind = \"127.0.0.1:26400\"",
        ),
        (
            "udp",
            Role::Source,
            udp,
            Some(("bind", text("localhost:1"))),
            "no address with a port",
        ),
        (
            "udp",
            Role::Sink,
            &[],
            Some(("to", text("127.0.0.1"))),
            "no address with a port",
        ),
        (
            "udp",
            Role::Stage,
            &[],
            None,
            "\"udp\" is a source and a sink, not a stage",
        ),
        (
            "synthetic",
            Role::Source,
            made_up,
            None,
            "write rate = \"50k/s\"",
        ),
        (
            "synthetic",
            Role::Source,
            made_up,
            Some(("rate", text("50k"))),
            "cannot be read",
        ),
        (
            "synthetic",
            Role::Source,
            made_up,
            Some(("arrivals", text("possion"))),
            "rate",
        ),
        (
            "replay",
            Role::Source,
            made_up,
            Some(("speed", text("100x"))),
            "\"file\" is missing",
        ),
        (
            "replay",
            Role::Source,
            &[("file", text("a")), ("decode", text("binance"))],
            None,
            "symbol = \"BTCUSDT\"",
        ),
        (
            "replay",
            Role::Source,
            &[("file", text("a")), ("decode", text("binance"))],
            Some(("symbol", text("btc"))),
            "as the exchange does",
        ),
        (
            "replay",
            Role::Source,
            &[("file", text("a")), ("decode", text("binnance"))],
            None,
            "did you mean \"binance\"?",
        ),
        (
            "replay",
            Role::Source,
            &[("file", text("a"))],
            None,
            "\"decode\" is missing",
        ),
        (
            "sink_log",
            Role::Sink,
            &[("file", text("a"))],
            None,
            "symbols = [\"BTCUSDT\"",
        ),
        (
            "blackhole",
            Role::Sink,
            &[],
            Some(("file", text("a"))),
            "unknown key \"file\"",
        ),
    ] {
        let mut given = params(base);
        if let Some((key, value)) = setting {
            given.set(key, value, None);
        }
        let made = registry.make(kind, role, &mut given).map(|_| ());
        let problems = made.unwrap_err().to_string();
        assert!(problems.contains(says), "{kind}: {problems}");
    }
    // In code the same is said when the line is built.
    let mut line = Line::builder("wrong");
    line.source(
        "in",
        hopline::adapter::udp("nowhere").decode(Binance::new(&[])),
    );
    let problems = line.build().unwrap_err().to_string();
    assert!(
        problems.contains("in: a source needs at least one symbol"),
        "{problems}"
    );
}

#[test]
fn a_reply_without_a_source_that_shares_is_an_error_at_opening() {
    let registry = register(Registry::new());
    let sink = registry.make(
        "udp_reply",
        Role::Sink,
        &mut params(&[("socket", text("echo"))]),
    );
    let mut draft = hopline::topology::Draft::new("alone");
    let source = [
        ("rate", text("1k/s")),
        ("content", text("datagrams")),
        ("decode", text("datagram")),
    ];
    for (name, part) in [
        (
            "in",
            registry.make("synthetic", Role::Source, &mut params(&source)),
        ),
        ("out", sink),
    ] {
        draft.nodes.push(hopline::topology::draft::DraftNode {
            name: name.to_owned(),
            kind: name.to_owned(),
            part: part.unwrap(),
            place: None,
        });
    }
    draft.hops.push(hopline::topology::draft::DraftHop {
        from: "in".to_owned(),
        to: "out".to_owned(),
        hop: Hop::depth(64),
        places: hopline::topology::draft::HopPlaces::default(),
    });
    let line = draft.check().unwrap();
    let ran = line.run_inline(Inline::new(VirtualNet::new().driver().into()), None);
    let error = ran.map(|_| ()).unwrap_err().to_string();
    assert!(
        error.contains("no source of this line has share = \"echo\""),
        "{error}"
    );
}

#[test]
fn the_captures_come_through_flat_out_and_add_up() {
    let Some(data) = common::data::data_dir("the_captures_come_through_flat_out_and_add_up") else {
        return;
    };
    let file = |symbol: &str| data.join(format!("market/binance_usdm_{symbol}_20240808.gz"));
    let taps = [Tap::default(), Tap::default()];
    let mut line = Line::builder("captures");
    let symbols = ["BTCUSDT", "ETHUSDT"];
    for (name, tap) in ["btc", "eth"].into_iter().zip(&taps) {
        let capture = replay(file(&format!("{name}usdt"))).speed(None);
        // The snapshot names no symbol.
        let own = format!("{}USDT", name.to_uppercase());
        line.source(name, capture.decode(Binance::new(&symbols).or(&own)));
        let end = format!("{name}-end");
        line.sink(&end, tap.clone());
        line.connect(name, &end, Hop::depth(4096));
    }
    let report = run_on(&mut line, Driver::real().unwrap());
    assert_eq!((report.ledger.shed, report.ledger.discarded), (0, 0));
    let btc = taps[0].seen();
    assert_eq!(of_kind::<BookTicker>(&btc), 66_089);
    assert_eq!(of_kind::<Trade>(&btc), 21_313);
    assert_eq!(of_kind::<DepthHead>(&btc), 6_551);
    assert_eq!(of_kind::<SnapshotHead>(&btc), 1);
    for (name, tap, lines) in [("btc", &taps[0], 93_954), ("eth", &taps[1], 74_655)] {
        let source = &report.ledger.sources[name];
        assert_eq!((source.received, source.ingested), (lines, lines));
        assert!(source.rejected.is_empty(), "{:?}", source.rejected);
        let whole = tap
            .seen()
            .iter()
            .filter(|frame| frame.flags.is_last())
            .count();
        assert_eq!(whole as u64, lines);
        // The collector's clock is behind the exchange's by about 1.27 s.
        assert!(source.skew_clamped > lines / 2);
        assert!(
            (1_000_000_000..2_000_000_000).contains(&source.skew_ns_max),
            "{}",
            source.skew_ns_max
        );
    }
}

#[test]
fn a_capture_at_400x_on_threads_loses_nothing() {
    let Some(data) = common::data::data_dir("a_capture_at_400x_on_threads_loses_nothing") else {
        return;
    };
    let mut line = Line::builder("400x");
    let capture = replay(data.join("market/binance_usdm_btcusdt_20240808.gz")).speed(Some(400.0));
    line.source("btc", capture.decode(Binance::new(&["BTCUSDT"])));
    line.sink("end", blackhole());
    line.connect("btc", "end", Hop::depth(4096));
    line.placement(Placement {
        wait: Some(Strategy::YIELD),
        ..Placement::default()
    });
    let report = line
        .build()
        .unwrap()
        .run_until(Stop::after(Duration::from_secs(60)))
        .unwrap();
    assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
    assert_eq!(
        (report.ledger.sources["btc"].ingested, report.ledger.shed),
        (93_954, 0)
    );
}
