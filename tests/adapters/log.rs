//! The sink log: every line, in order; what is shed; a full disk.

use std::collections::BTreeMap;

use hopline::adapter::{Binance, blackhole, replay, sink_log};
use hopline::feed::synthetic::{Mix, SYNTHETIC_BYTES_MAX};
use hopline::feed::{Arrivals, Synthetic, SyntheticSpec};
use hopline::io::{FaultPlan, Faulty, VirtualNet};
use hopline::overload::WhenFull;
use hopline::topology::{Builder, Hop, Line};

use crate::rig::{Leaves, run, run_on};

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
fn log_line(depth: usize, when_full: WhenFull) -> Builder {
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
