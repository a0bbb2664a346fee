//! The case of sequenced market feeds as its users meet it: two simulated exchanges, two lossy lines each, real
//! sockets.
//!
//! What these assert holds on a machine of any noise: no figure is compared, only what adds up.

use std::net::UdpSocket;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// The case in a folder of its own, with ports of its own, at a rate that a debug build keeps.
fn case() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let built_in = concat!(env!("CARGO_MANIFEST_DIR"), "/cases/market-udp/");
    let sockets = [(); 4].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    for file in ["line.toml", "load.toml", "budget.toml"] {
        let mut text = std::fs::read_to_string(format!("{built_in}{file}")).unwrap();
        for (port, socket) in ["26700", "26701", "26710", "26711"].iter().zip(&sockets) {
            let own = socket.local_addr().unwrap().port().to_string();
            text = text.replace(port, &own);
        }
        for (from, to) in [
            ("rate = \"50k/s\"", "rate = \"4k/s\""),
            ("rate = \"20k/s\"", "rate = \"2k/s\""),
            ("bursts=8000/1ms", "bursts=200/1ms"),
            ("symbols = 1000 ", "symbols = 100 "),
        ] {
            text = text.replace(from, to);
        }
        std::fs::write(folder.path().join(file), text).unwrap();
    }
    folder
}

fn run(folder: &tempfile::TempDir, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hopline"));
    command.env_remove("COLUMNS").stdin(Stdio::null());
    command.arg("run").arg(folder.path());
    command.args(["--wait", "yield", "--for", "1500ms"]);
    let output = command.args(more).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{words}\n{said}");
    output
}

fn of(value: &Value, key: &str) -> u64 {
    value[key]
        .as_u64()
        .unwrap_or_else(|| panic!("no {key} in {value}"))
}

fn sum(value: &Value) -> u64 {
    value
        .as_object()
        .unwrap()
        .values()
        .map(|count| count.as_u64().unwrap())
        .sum()
}

#[test]
fn two_lossy_lines_lose_what_both_lost_and_the_ledger_closes() {
    let folder = case();
    let report: Value = serde_json::from_slice(&run(&folder, &["--json"]).stdout).unwrap();
    let ledger = &report["ledger"];
    assert_eq!(ledger["closed"], true, "{}", ledger["breaches"]);
    for (at, name) in ["nasdaq", "iex"].iter().enumerate() {
        let source = &ledger["sources"][name];
        let lines = source["feed_lines"].as_object().unwrap();
        assert_eq!(lines.len(), 2);
        let all = |key: &str| lines.values().map(|line| of(line, key)).sum::<u64>();
        let refused: u64 = lines.values().map(|line| sum(&line["rejected"])).sum();
        // Nothing that the sender of a simulated exchange sends is refused.
        assert_eq!(refused, 0, "{name}");
        assert_eq!(of(source, "received"), all("messages"));
        let ends = of(source, "ingested") + of(source, "shed") + sum(&source["rejected"]);
        assert_eq!(of(source, "received"), ends + of(source, "duplicates"));
        let feed = &source["sequenced"];
        assert_eq!(of(feed, "delivered"), all("first"));
        assert_eq!((of(feed, "held"), of(source, "shed")), (0, 0));
        for line in lines.values() {
            // A twentieth of each line's packets never left.
            assert!(
                of(line, "missed") > 0 && of(line, "packets") > 0,
                "{name}: {line}"
            );
        }
        // Each datagram that was sent was received, or dropped by the kernel.
        let sender = &report["senders"][at];
        assert_eq!(sender["source"], *name);
        let taken = all("packets") + of(source, "kernel_dropped");
        assert!(taken <= of(sender, "sent"), "{name}");
        // Where all of it came, whatever was said was delivered or is known to be lost.
        let known = of(feed, "delivered") + of(feed, "lost");
        if taken == of(sender, "sent") {
            assert_eq!(known, of(sender, "said"), "{name}");
        } else {
            assert!(known <= of(sender, "said"), "{name}");
        }
        // What is lost is named, or counted where there is no room for more names.
        let ranges = feed["lost_ranges"].as_array().unwrap();
        let named: u64 = ranges
            .iter()
            .map(|range| of(range, "last") + 1 - of(range, "first"))
            .sum();
        if of(feed, "lost_ranges_more") == 0 {
            assert_eq!(named, of(feed, "lost"), "{name}");
        } else {
            assert!(named < of(feed, "lost"), "{name}");
        }
        assert!(of(feed, "lost") < all("missed"), "{name}: one line had it");
    }
    for stage in report["stages"].as_array().unwrap() {
        if stage["role"] == "stage" {
            assert_eq!(stage["state_hash"].as_str().unwrap().len(), 16);
            assert!(of(stage, "emitted") > 0);
        }
    }
}

#[test]
fn the_table_has_each_line_and_what_was_lost() {
    let folder = case();
    let output = run(&folder, &[]);
    let text = String::from_utf8_lossy(&output.stdout);
    for words in [
        "line a: ",
        "line b: ",
        " missed",
        " first, ",
        "in order",
        "ledger:   closed",
    ] {
        assert!(text.contains(words), "no {words} in\n{text}");
    }
}

#[test]
fn a_feed_that_no_source_takes_is_refused_before_anything_runs() {
    let folder = case();
    let load = folder.path().join("load.toml");
    let text = std::fs::read_to_string(&load).unwrap();
    for (from, to, words) in [
        ("content = \"deep\"", "content = \"tops\"", "does not take"),
        ("via = \"udp\" ", "via = \"direct\" ", "over UDP"),
        ("loss = \"5%\"", "loss = \"105%\"", "such as \"5%\""),
        ("content = \"itch\"", "content = \"market\"", "made-up feed"),
    ] {
        let changed = text.replace(from, to);
        assert_ne!(changed, text);
        std::fs::write(&load, changed).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_hopline"));
        let output = command.arg("check").arg(folder.path()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{to}: {said}");
        assert!(said.contains(words), "{to}: {said}");
    }
}
