//! The flags that change a case's load, as users meet them: the real binary and its exit codes.

use std::process::{Command, Output, Stdio};

use serde_json::Value;

const LINE: &str = r#"
[line]
name = "small"

[[source]]
name = "in"
kind = "udp"
bind = "127.0.0.1:0"
decode = "datagram"

[[sink]]
name = "out"
kind = "blackhole"

[[hop]]
from = "in"
to = "out"
"#;

/// Runs a case with this load, if it has one, and these words behind it.
fn run(load: Option<&str>, files: &[(&str, &str)], words: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("line.toml", LINE);
    for (name, text) in files {
        write(name, text);
    }
    if let Some(load) = load {
        write("load.toml", load);
    }
    Command::new(env!("CARGO_BIN_EXE_hopline"))
        .env_remove("COLUMNS")
        .current_dir(&folder)
        .stdin(Stdio::null())
        .args(["run", "."])
        .args(words.split_whitespace())
        .output()
        .unwrap()
}

const DATAGRAMS: Option<&str> = Some("content = \"datagrams\"\n");

/// How many messages a run of 100 ms of virtual time takes.
fn received(files: &[(&str, &str)], words: &str) -> u64 {
    let output = run(
        DATAGRAMS,
        files,
        &format!("{words} --virtual --for 100ms --json"),
    );
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{words}: {err}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    report["ledger"]["sources"]["in"]["received"]
        .as_u64()
        .unwrap()
}

#[test]
fn the_flags_make_the_load() {
    for (words, least, most) in [
        ("--rate 20k --shape constant", 2_000, 2_001),
        ("--rate 20k/s --shape bursts=100/1ms", 2_000, 2_100),
        ("--shape ramp=10k..30k/100ms", 1_999, 2_001),
        ("--shape steps=10k..30k/4/25ms", 1_999, 2_004),
        // Five standard deviations of a Poisson count.
        ("--rate 20k --shape poisson", 1_776, 2_224),
    ] {
        let count = received(&[], words);
        assert!((least..=most).contains(&count), "{words}: {count}");
    }
    let poisson = |seed| received(&[], &format!("--rate 20k --seed {seed}"));
    assert_eq!(poisson(1), poisson(1));
    assert!((2..6).any(|seed| poisson(seed) != poisson(1)));
}

#[test]
fn a_capture_lends_its_rhythm() {
    // 3 ms for three gaps, of which a millisecond holds none: at 10,000 a second three times in 300 us.
    let capture = ("rhythm", "5000000 {}\n5000000 {}\n6000000 {}\n8000000 {}\n");
    let count = received(&[capture], "--rate 10k --shape recorded=rhythm");
    assert!((1_000..=1_002).contains(&count), "{count}");
}

#[test]
fn a_sender_says_how_well_it_kept_its_times() {
    let load = "via = \"udp\"\ncontent = \"datagrams\"\n";
    // A port that was free a moment ago.
    let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let bind = free.local_addr().unwrap().to_string();
    drop(free);
    let line = LINE.replace("127.0.0.1:0", &bind);
    let words = "--rate 5k --shape bursts=10/0s --for 300ms --json";
    let output = run(Some(load), &[("line.toml", &line)], words);
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{err}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let sender = &report["senders"][0];
    let count = |key: &str| sender[key].as_u64().unwrap();
    // A burst of ten each 2 ms, the one at 300 ms included.
    assert_eq!(
        count("sent") + count("unsent") + count("missed"),
        1_510,
        "{sender}"
    );
    assert!(count("calls") < count("sent") / 2, "{sender}");
    let offered = sender["offered_per_s"].as_f64().unwrap();
    assert!((offered - 5_000.0).abs() < 50.0, "{sender}");
    assert_eq!(report["sender_gaps"]["from_ns"], 2_000);
    assert!(report["sender_gaps"]["log"].is_null());
}

#[test]
fn wrong_flags_end_64_and_say_what_would_be_right() {
    let feed = ("a", "1 {}\n2 {}\n");
    for (load, words, says) in [
        (DATAGRAMS, "--rate 20kb", "such as 800, 20k or 1.2M"),
        (DATAGRAMS, "--rate 0", "above 0"),
        (DATAGRAMS, "--rate -5", "--rate"),
        (DATAGRAMS, "--seed -1", "--seed"),
        (DATAGRAMS, "--seed 4294967296", "4294967295"),
        (DATAGRAMS, "--shape poison", "did you mean \"poisson\"?"),
        (
            DATAGRAMS,
            "--shape bursts=100",
            "such as \"bursts=100/1ms\"",
        ),
        (
            DATAGRAMS,
            "--shape ramp=10k..100k",
            "such as \"ramp=10k..100k/10s\"",
        ),
        (DATAGRAMS, "--shape recorded", "such as \"recorded=btc.gz\""),
        (
            DATAGRAMS,
            "--rate 5k --shape ramp=1..2/1s",
            "leave the rate out",
        ),
        (
            DATAGRAMS,
            "--rate 200k --shape bursts=100/1ms",
            "a span of at most 500us",
        ),
        (DATAGRAMS, "--rate 5k --live", "cannot be used with"),
        (
            DATAGRAMS,
            "--rate 5k --input in=a",
            "every source replays a capture",
        ),
        (
            DATAGRAMS,
            "--shape recorded=load.toml",
            "has no two messages of different times",
        ),
        (DATAGRAMS, "--shape recorded=-", "cannot be read twice"),
        (None, "--rate 5k", "the case has no load.toml"),
    ] {
        let words =
            &format!("{words} --for 1ms --virtual").replace("--live --for 1ms --virtual", "--live");
        let output = run(load, &[feed], words);
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(64), "{words}: {err}");
        assert!(output.stdout.is_empty(), "{words}");
        assert!(err.contains(says), "{words}: {err}");
    }
    // A file that is not there is the disk's, as for other captures.
    let output = run(DATAGRAMS, &[], "--shape recorded=none.gz");
    assert_eq!(output.status.code(), Some(74));
}
