//! `--input`: text, captures of a hop and packets, told apart by what the file is; and what a judged run makes of them.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use tempfile::TempDir;

fn hopline(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hopline"));
    command.args(args).stdin(Stdio::null());
    command.env_remove("COLUMNS").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The report of a run that ends well.
#[track_caller]
fn ran(args: &[&str]) -> Value {
    let output = hopline(args);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What a command says that is refused before anything runs.
#[track_caller]
fn refused(args: &[&str]) -> String {
    let output = hopline(args);
    let words = text(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{words}");
    words
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A pcap in nanoseconds on raw IP: each packet's time, its port, and its payload.
fn pcap(packets: &[(u64, u16, &[u8])]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_3c4d_u32, 2 | 4 << 16, 0, 0, 65_535, 101] {
        file.extend_from_slice(&word.to_le_bytes());
    }
    for (at_ns, port, payload) in packets {
        let udp = 8 + payload.len() as u16;
        let bytes = 20 + u32::from(udp);
        for word in [
            (at_ns / 1_000_000_000) as u32,
            (at_ns % 1_000_000_000) as u32,
            bytes,
            bytes,
        ] {
            file.extend_from_slice(&word.to_le_bytes());
        }
        file.extend_from_slice(&[0x45, 0]);
        file.extend_from_slice(&(bytes as u16).to_be_bytes());
        file.extend_from_slice(&[0, 0, 0, 0, 64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1]);
        for half in [40_000, *port, udp, 0] {
            file.extend_from_slice(&half.to_be_bytes());
        }
        file.extend_from_slice(payload);
    }
    file
}

/// A case with one source into nothing.
fn case(source: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let line = format!(
        "[[source]]\nname = \"in\"\n{source}\n[[sink]]\nname = \"end\"\nkind = \"blackhole\"\n\
         [[hop]]\nfrom = \"in\"\nto = \"end\"\n[line]\nname = \"one\"\n"
    );
    fs::write(folder.path().join("line.toml"), line).unwrap();
    fs::write(folder.path().join("budget.toml"), "[slo]\np99 = \"1s\"\n").unwrap();
    folder
}

fn put(folder: &TempDir, name: &str, bytes: &[u8]) -> String {
    let file = folder.path().join(name);
    fs::write(&file, bytes).unwrap();
    file.display().to_string()
}

/// The report of a run of that case on that input, wherever its threads come to lie.
#[track_caller]
fn replayed(case: &TempDir, input: &str) -> Value {
    let case = path(case);
    ran(&["run", &case, "--input", input, "--json", "--pin", "off"])
}

fn path(folder: &TempDir) -> String {
    folder.path().display().to_string()
}

/// A capture of the first hop of the case that runs when none is named.
fn recorded(to: &Path) {
    let record = format!("btc->book={}", to.display());
    let run = [
        "run",
        "tick-to-trade",
        "--for",
        "300ms",
        "--pin",
        "off",
        "--json",
    ];
    ran(&[&run[..], &["--record", &record]].concat());
}

#[test]
fn a_capture_of_a_hop_takes_the_place_of_the_source_in_front_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("btc.cap");
    recorded(&file);
    let packed = put(&folder, "packed", &gzipped(&fs::read(&file).unwrap()));
    let mut hashes = Vec::new();
    for file in [file.display().to_string(), packed] {
        let input = format!("btc={file}");
        let run = [
            "run",
            "tick-to-trade",
            "--for",
            "400ms",
            "--pin",
            "off",
            "--json",
        ];
        let report = ran(&[&run[..], &["--input", &input, "--speed", "max"]].concat());
        let source = &report["ledger"]["sources"]["btc"];
        assert!(source["ingested"].as_u64() > Some(0), "{source}");
        assert_eq!(source["ingested"], source["received"]);
        assert_eq!(source["fidelity"]["hash_matches"], true);
        hashes.push(source["fidelity"]["content_hash"].to_string());
    }
    assert_eq!(hashes[0], hashes[1]);
}

#[test]
fn packets_come_by_the_port_that_the_source_binds() {
    let case = case("kind = \"udp\"\nbind = \"127.0.0.1:26490\"\ndecode = \"datagram\"");
    let first = 1_700_000_000_000_000_000;
    // The first packet is for somebody else, an hour before: the pace begins with the source's own.
    let file = pcap(&[
        (first, 9, b"other"),
        (first + 3_600_000_000_000, 26_490, b"one"),
        (first + 3_600_001_000_000, 26_490, b"three"),
    ]);
    for bytes in [file.clone(), gzipped(&file)] {
        let input = format!("in={}", put(&case, "packets", &bytes));
        let report = replayed(&case, &input);
        let source = &report["ledger"]["sources"]["in"];
        let counts = ["ingested", "bytes", "skipped"].map(|key| source[key].as_u64());
        assert_eq!(counts, [Some(2), Some(8), Some(1)], "{source}");
        assert!(report["line"]["elapsed_ns"].as_u64() < Some(600_000_000_000));
    }
}

#[test]
fn lines_of_telemetry_that_share_a_datagram_are_messages_of_their_own() {
    let case = case("kind = \"udp\"\nbind = \"127.0.0.1:26491\"\ndecode = \"statsd\"");
    let file = pcap(&[
        (5, 26_491, b"a:1|c\nb:2|c\nrubbish\n\n"),
        (6, 26_491, b"c:3|c"),
    ]);
    let input = format!("in={}", put(&case, "packets", &file));
    let report = replayed(&case, &input);
    let source = &report["ledger"]["sources"]["in"];
    let counts = ["received", "ingested"].map(|key| source[key].as_u64());
    assert_eq!(counts, [Some(4), Some(3)], "{source}");
    assert_eq!(source["fidelity"]["messages"], 2);
}

#[test]
fn what_a_source_cannot_replay_is_told_with_its_place_and_what_to_do() {
    let packets = pcap(&[(5, 26_492, b"one")]);
    let input = |case: &TempDir, bytes: &[u8]| format!("in={}", put(case, "given", bytes));
    let one = |source: &str, bytes: &[u8], more: &[&str]| {
        let case = case(source);
        let (path, input) = (path(&case), input(&case, bytes));
        refused(&[&["run", &path, "--input", &input][..], more].concat())
    };
    let words = one(
        "kind = \"tcp\"\nbind = \"127.0.0.1:26492\"\ndecode = \"statsd\"",
        &packets,
        &[],
    );
    assert!(
        words.contains("line.toml:3:1")
            && words.contains("has packets")
            && words.contains("of kind \"tcp\""),
        "{words}"
    );
    assert!(
        words.contains("help: datagrams go to a source of kind \"udp\""),
        "{words}"
    );
    let mold = "kind = \"moldudp64\"\nbind = \"127.0.0.1:26492\"\ndecode = \"itch\"";
    let words = one(mold, &packets, &[]);
    assert!(words.contains("tcpreplay"), "{words}");
    let udp =
        |port: u16| format!("kind = \"udp\"\nbind = \"127.0.0.1:{port}\"\ndecode = \"datagram\"");
    let words = one(&udp(0), &packets, &[]);
    assert!(words.contains("binds no port"), "{words}");
    let words = one(&udp(26_492), &packets, &["--via", "udp"]);
    assert!(
        words.contains("has packets") && words.contains("--via direct"),
        "{words}"
    );

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("btc.cap");
    recorded(&file);
    let frames = fs::read(&file).unwrap();
    let words = one(&udp(26_492), &frames, &[]);
    assert!(
        words.contains("has frames of a hop: \"in\" has no frames of") && words.contains("help: "),
        "{words}"
    );
    let own = format!(
        "kind = \"capture\"\nfile = \"{}\"\ndecode = \"captured\"",
        file.display()
    );
    let words = one(&own, b"1000 {}\n", &[]);
    assert!(
        words.contains("has lines of text") && words.contains("--record"),
        "{words}"
    );
    // A head that breaks off is no capture, and no text either.
    let case = case(&own);
    let input = input(&case, &frames[..20]);
    let output = hopline(&["run", &path(&case), "--input", &input]);
    assert_eq!(output.status.code(), Some(74));
    assert!(
        text(&output.stderr).contains("no capture"),
        "{}",
        text(&output.stderr)
    );
}

/// A packet each millisecond, ten seconds long.
fn paced(port: u16) -> Vec<u8> {
    let packets = (1..=10_000_u64).map(|nth| (nth * 1_000_000, port, &b"tick"[..]));
    pcap(&packets.collect::<Vec<_>>())
}

#[test]
fn packets_and_captures_are_held_to_their_schedule() {
    let folder = tempfile::tempdir().unwrap();
    let file = put(&folder, "packets", &paced(26_493));
    let brief = ["--runs", "1", "--for", "200ms", "--wait", "yield", "--json"];
    let offered = |args: &[&str]| {
        let output = hopline(&[args, &brief[..]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let fed = report["runs"][0]["generators"].as_array().unwrap().clone();
        let sources: Vec<&Value> = fed.iter().map(|one| &one["source"]).collect();
        assert_eq!(sources, ["in"]);
        fed[0]["offered_per_s"].as_f64().unwrap()
    };
    let udp = case("kind = \"udp\"\nbind = \"127.0.0.1:26493\"\ndecode = \"datagram\"");
    let input = format!("in={file}");
    let by_input = offered(&["bench", &path(&udp), "--input", &input, "--speed", "2x"]);
    assert!((by_input - 2_000.0).abs() < 20.0, "{by_input}");
    let own = |speed: &str| {
        case(&format!(
            "kind = \"pcap\"\nfile = \"{file}\"\nport = 26493\nspeed = \"{speed}\"\ndecode = \"datagram\""
        ))
    };
    let by_file = offered(&["bench", &path(&own("2x"))]);
    assert!((by_file - 2_000.0).abs() < 20.0, "{by_file}");
    // The same of a capture of a hop.
    let capture = folder.path().join("in.cap");
    let record = format!("in->end={}", capture.display());
    ran(&[
        "run",
        &path(&own("100x")),
        "--record",
        &record,
        "--json",
        "--pin",
        "off",
    ]);
    let captured = |speed: &str| {
        case(&format!(
            "kind = \"capture\"\nfile = \"{}\"\nspeed = \"{speed}\"\ndecode = \"captured\"\nframes = \"datagrams\"",
            capture.display()
        ))
    };
    let by_capture = offered(&["bench", &path(&captured("0.02x"))]);
    assert!((by_capture - 2_000.0).abs() < 20.0, "{by_capture}");

    for flat_out in [own("max"), captured("max")] {
        let words = refused(&["gate", &path(&flat_out), "--for", "1h"]);
        assert!(
            words.contains("\"in\"") && words.contains("speed = \"max\" in line.toml"),
            "{words}"
        );
    }
}
