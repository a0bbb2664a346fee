//! Recording from outside: a recorder that is killed, a file that is replayed, packets that tcpdump captured.

use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use hopline::clock::Clock;
use hopline::frame::capture::CaptureFault;
use hopline::io::{CaptureEvent, CaptureReader, Driver, Fill};
use serde_json::Value;

const HOPLINE: &str = env!("CARGO_BIN_EXE_hopline");

/// How long anything may take on a busy machine, in nanoseconds.
const PATIENCE_NS: u64 = 60_000_000_000;

fn hopline(args: &[&str]) -> Output {
    Command::new(HOPLINE).args(args).output().unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

/// The messages of a file, and where it breaks off.
fn read(path: &Path) -> (u64, Option<CaptureFault>, bool) {
    let mut io = Driver::real().unwrap();
    let mut reader = CaptureReader::open(&mut io, path).unwrap();
    let mut messages = 0;
    loop {
        match reader.next_event() {
            Some(CaptureEvent::Message(_)) => messages += 1,
            Some(CaptureEvent::Bad(bad)) => panic!("{bad}"),
            Some(CaptureEvent::End(_)) => {}
            None => {
                if reader.fill(&mut io, 1 << 20).unwrap() == Fill::End {
                    break;
                }
            }
        }
    }
    (
        messages,
        reader.torn().map(|torn| torn.fault),
        reader.end().is_some(),
    )
}

/// Ends a child whatever becomes of the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_recorder_that_is_killed_leaves_whole_messages_that_replay() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("btc.cap");
    let record = format!("btc->book={}", file.display());
    let child = Command::new(HOPLINE)
        .args([
            "run",
            "tick-to-trade",
            "--for",
            "60s",
            "--json",
            "--pin",
            "off",
            "--record",
            &record,
        ])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut child = Killed(child);
    let clock = Clock::calibrated();
    let began_ns = clock.now_ns();
    // While it is written it can be read, and it grows.
    let size = |file: &Path| std::fs::metadata(file).map_or(0, |file| file.len());
    while size(&file) < 200_000 {
        assert!(
            clock.now_ns() - began_ns < PATIENCE_NS,
            "nothing was recorded"
        );
        std::thread::yield_now();
    }
    let (before, _, ended) = read(&file);
    assert!(before > 0 && !ended);
    child.0.kill().unwrap();
    child.0.wait().unwrap();
    let (messages, torn, ended) = read(&file);
    assert!(messages >= before && !ended);
    assert!(
        matches!(torn, None | Some(CaptureFault::Truncated { .. })),
        "{torn:?}"
    );

    let file_arg = file.to_str().unwrap();
    let output = hopline(&["replay", file_arg, "--speed", "max"]);
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        words.contains("of btc->book") && words.contains("as recorded"),
        "{words}"
    );
    assert_eq!(hopline(&["replay", HOPLINE]).status.code(), Some(74));

    let case = folder.path().join("again");
    std::fs::create_dir(&case).unwrap();
    let line = format!(
        r#"
[[source]]
name = "btc"
kind = "capture"
file = "{}"
speed = "max"
decode = "captured"

[[stage]]
name = "book"
kind = "book"
symbols = ["BTCUSDT", "ETHUSDT"]

[[sink]]
name = "end"
kind = "blackhole"

[[hop]]
from = "btc"
to = "book"

[[hop]]
from = "book"
to = "end"
"#,
        file.display()
    );
    std::fs::write(case.join("line.toml"), line).unwrap();
    let mut words = Vec::new();
    for _ in 0..2 {
        let output = hopline(&["run", case.to_str().unwrap(), "--json", "--pin", "off"]);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let report = json(&output);
        let source = &report["ledger"]["sources"]["btc"];
        assert_eq!(source["ingested"], messages);
        assert_eq!(source["fidelity"]["hash_matches"], true);
        let book = report["stages"]
            .as_array()
            .unwrap()
            .iter()
            .find(|stage| stage["name"] == "book")
            .unwrap();
        words.push((
            source["fidelity"]["content_hash"].to_string(),
            book["state_hash"].to_string(),
        ));
    }
    assert_eq!(words[0], words[1]);
    assert!(words[0].1.len() == 18, "{words:?}");
}

#[test]
fn a_recording_is_in_the_report_and_wrong_wishes_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out.cap");
    let record = format!("book->signal={}", file.display());
    let output = hopline(&[
        "run",
        "tick-to-trade",
        "--for",
        "300ms",
        "--json",
        "--pin",
        "off",
        "--record",
        &record,
    ]);
    let report = json(&output);
    let row = &report["records"][0];
    let (messages, torn, ended) = read(&file);
    assert_eq!(
        (row["messages"].as_u64(), torn, ended),
        (Some(messages), None, true),
        "{row}"
    );
    assert!(messages > 0);
    for (wish, words) in [
        ("nowhere->book=x.cap", "is no hop of this line"),
        ("book->signal", "write the hop and the file"),
    ] {
        let output = hopline(&["run", "tick-to-trade", "--for", "1s", "--record", wish]);
        assert_eq!(output.status.code(), Some(64));
        assert!(String::from_utf8_lossy(&output.stderr).contains(words));
    }
}

/// Says that a test is skipped, where skipped ones are counted.
fn skipped(test: &str, why: &str) {
    let line = format!("skipped: {test} ({why})\n");
    print!("{line}");
    if let Some(log) = std::env::var_os("HOPLINE_SKIP_LOG") {
        use std::io::Write;
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(log);
        log.and_then(|mut log| log.write_all(line.as_bytes()))
            .expect("HOPLINE_SKIP_LOG can be appended to");
    }
}

#[test]
fn packets_that_tcpdump_captured_are_replayed() {
    const TEST: &str = "packets_that_tcpdump_captured_are_replayed";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lo.pcap");
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = receiver.local_addr().unwrap();
    let filter = format!("udp port {}", to.port());
    // Packet by packet, as they come; in nanoseconds.
    let spawned = Command::new("tcpdump")
        .args([
            "-i",
            "lo",
            "-U",
            "--immediate-mode",
            "--time-stamp-precision=nano",
            "-c",
            "300",
            "-w",
        ])
        .arg(&file)
        .arg(&filter)
        .stderr(Stdio::null())
        .spawn();
    let Ok(child) = spawned else {
        return skipped(TEST, "tcpdump is not there");
    };
    let mut child = Killed(child);
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    let clock = Clock::calibrated();
    let began_ns = clock.now_ns();
    let mut sent = 0_u32;
    let ended = loop {
        if let Some(status) = child.0.try_wait().unwrap() {
            break status;
        }
        assert!(
            clock.now_ns() - began_ns < PATIENCE_NS,
            "tcpdump has not seen 300 packets"
        );
        sender.send_to(&sent.to_le_bytes(), to).unwrap();
        sent += 1;
        std::thread::yield_now();
    };
    if !ended.success() {
        return skipped(TEST, "tcpdump may not capture here");
    }
    let case = folder.path().join("packets");
    std::fs::create_dir(&case).unwrap();
    let line = format!(
        r#"
[[source]]
name = "feed"
kind = "pcap"
file = "{}"
port = {}
speed = "max"
decode = "datagram"

[[sink]]
name = "end"
kind = "blackhole"

[[hop]]
from = "feed"
to = "end"
"#,
        file.display(),
        to.port()
    );
    std::fs::write(case.join("line.toml"), line).unwrap();
    let output = hopline(&["run", case.to_str().unwrap(), "--json", "--pin", "off"]);
    let source = json(&output)["ledger"]["sources"]["feed"].clone();
    assert_eq!(
        (source["ingested"].as_u64(), source["bytes"].as_u64()),
        (Some(300), Some(1_200)),
        "{source}"
    );
}
