//! The command as its users meet it: the real binary, its output and its exit codes.
//!
//! Each test has a case of its own in a folder of its own, with a port of its own, so that they run
//! side by side.

use std::io::{BufRead, BufReader, Read};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

fn hopline() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hopline"));
    command.env_remove("COLUMNS").stdin(Stdio::null());
    command
}

fn run(args: &[&str]) -> Output {
    hopline().args(args).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn ends(output: &Output, code: i32) {
    assert_eq!(
        output.status.code(),
        Some(code),
        "standard output:\n{}\nstandard error:\n{}",
        out(output),
        err(output)
    );
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).expect("one JSON report and nothing else")
}

fn signal(child: &Child, name: &str) {
    let pid = child.id().to_string();
    let sent = Command::new("kill").args(["-s", name, &pid]).status();
    assert!(sent.unwrap().success());
}

/// A port that nobody holds, with the socket that keeps it so.
fn port() -> (UdpSocket, u16) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

/// A case: one feed, a book, a stage that misbehaves if told to, and nothing behind it.
struct Case {
    folder: tempfile::TempDir,
    port: u16,
}

impl Case {
    fn new(fault: &str, more: &str) -> Case {
        let (socket, port) = port();
        drop(socket);
        let case = Case {
            folder: tempfile::tempdir().unwrap(),
            port,
        };
        case.write(
            "line.toml",
            &format!(
                r#"
[line]
name = "small"
drain = "300ms"
{more}

[[source]]
name = "btc"
kind = "udp"
bind = "127.0.0.1:{port}"
decode = "binance"
symbol = "BTCUSDT"
symbols = ["BTCUSDT"]

[[stage]]
name = "book"
kind = "book"

[[stage]]
name = "fault"
kind = "fault"
{fault}

[[sink]]
name = "end"
kind = "blackhole"

[[hop]]
from = "btc"
to = "book"
depth = 4096

[[hop]]
from = "book"
to = "fault"

[[hop]]
from = "fault"
to = "end"
"#
            ),
        );
        case.write(
            "load.toml",
            "rate = \"2k/s\"\narrivals = \"constant\"\nseed = 1\n",
        );
        case.write(
            "budget.toml",
            "[slo]\np99 = \"5ms\"\n[hop.\"btc->book\"]\np50 = \"1ms\"\np99 = \"2ms\"\nlossless = true\n",
        );
        case
    }

    fn write(&self, file: &str, text: &str) -> PathBuf {
        let path = self.path().join(file);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The output of `hopline COMMAND CASE ARGS…`.
    fn hopline(&self, command: &str, args: &[&str]) -> Output {
        hopline()
            .arg(command)
            .arg(self.path())
            .args(args)
            .output()
            .unwrap()
    }

    /// The case running, with its output in pipes.
    fn spawn(&self, args: &[&str]) -> Child {
        hopline()
            .arg("run")
            .arg(self.path())
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }
}

/// Reads lines of standard error until one contains `words`; they stay with the child afterwards.
fn wait_for(child: &mut Child, words: &str) {
    let stderr = child.stderr.take().unwrap();
    let mut lines = BufReader::new(stderr);
    loop {
        let mut line = String::new();
        assert!(
            lines.read_line(&mut line).unwrap() > 0,
            "{words} never came"
        );
        if line.contains(words) {
            break;
        }
    }
    child.stderr = Some(lines.into_inner());
}

#[test]
fn the_built_in_line_runs_from_any_folder_and_shows_every_hop() {
    let elsewhere = tempfile::tempdir().unwrap();
    let output = hopline()
        .current_dir(elsewhere.path())
        .args(["run", "tick-to-trade", "--for", "500ms"])
        .output()
        .unwrap();
    ends(&output, 0);
    let text = out(&output);
    for words in [
        "btc->book",
        "eth->book",
        "book->signal",
        "encode->orders",
        "end to end",
        "p99.9",
        "ledger:   closed",
        "unjudged",
        "drain:    complete",
    ] {
        assert!(text.contains(words), "no {words} in\n{text}");
    }
    for line in text.lines() {
        assert!(line.chars().count() <= 100, "too wide: {line}");
    }
}

#[test]
fn without_arguments_it_demonstrates_until_a_signal_drains_it() {
    let mut child = hopline()
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for(&mut child, " of 10.0s");
    signal(&child, "TERM");
    let output = child.wait_with_output().unwrap();
    ends(&output, 0);
    assert!(out(&output).contains("a signal asked for it"));
    assert!(out(&output).contains("ledger:   closed"));
}

#[test]
fn help_and_version_are_good_and_a_wrong_word_is_not() {
    for args in [&["--help"][..], &["run", "--help"], &["--version"]] {
        let output = run(args);
        ends(&output, 0);
        assert!(!output.stdout.is_empty() && output.stderr.is_empty());
    }
    for args in [
        &["run"][..],
        &["fly"],
        &["run", "tick-to-trade", "--fast"],
        &["run", "tick-to-trade", "--for", "10"],
        &["run", "tick-to-trade", "--speed", "1x"],
        &["run", "tick-to-trade", "--threads", "0"],
        &["run", "no-such-case"],
        &["run", "tick-to-trade", "--hop", "no->hop:depth=16"],
        &["run", "tick-to-trade", "--hop", "btc->book:depth=15"],
        &["run", "tick-to-trade", "--input", "gold=/dev/null"],
    ] {
        let output = run(args);
        ends(&output, 64);
        assert!(output.stdout.is_empty(), "{args:?}");
        assert!(!output.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn built_in_cases_are_listed_and_right() {
    let output = run(&["cases"]);
    ends(&output, 0);
    for name in [
        "tick-to-trade",
        "udp-echo",
        "market-udp",
        "diamond",
        "overload",
        "overload-iot",
        "telemetry",
        "overload-telemetry",
    ] {
        assert!(out(&output).contains(name));
        ends(&run(&["check", name]), 0);
    }
    assert_eq!(
        out(&run(&["check", "tick-to-trade"])),
        "ok: 7 nodes, 6 hops\n"
    );
}

#[test]
fn check_names_every_problem_with_its_place_and_what_to_write() {
    let case = Case::new("", "");
    let line = std::fs::read_to_string(case.path().join("line.toml")).unwrap();
    let broken = line
        .replace("depth = 4096", "depht = 4096")
        .replace("kind = \"book\"", "kind = \"bok\"");
    case.write("line.toml", &broken);
    case.write("budget.toml", "[slo]\np99 = \"0us\"\n");
    let output = case.hopline("check", &[]);
    ends(&output, 64);
    let text = err(&output);
    let column = |text: &str, at: &str| {
        let place = text.lines().find(|line| line.contains(at)).unwrap();
        let after = &place[place.find(".toml:").unwrap() + 6..];
        after
            .split(':')
            .take(2)
            .all(|number| number.parse::<u32>().is_ok())
    };
    for (words, help) in [
        ("unknown key \"depht\"", "did you mean \"depth\"?"),
        ("named \"bok\"", "did you mean \"book\"?"),
        ("budget of zero", "20us"),
    ] {
        assert!(text.contains(words), "no {words} in\n{text}");
        assert!(text.contains(help), "no {help} in\n{text}");
        assert!(column(&text, words), "no place in\n{text}");
    }
    assert!(case.hopline("run", &["--for", "1s"]).stdout.is_empty());
}

#[test]
fn a_flag_is_blamed_for_what_it_changes_and_not_the_file() {
    let case = Case::new("", "");
    let output = case.hopline("check", &["--hop", "btc->book:depth=16"]);
    ends(&output, 64);
    let text = err(&output);
    assert!(
        text.starts_with("error: --hop 'btc->book:depth=16': btc->book has a depth of 16"),
        "{text}"
    );
    assert!(!text.contains("line.toml"), "{text}");
}

#[test]
fn a_core_that_is_not_there_is_found_by_check_and_by_plan() {
    let thread = "pin = \"require\"\n[[thread]]\nname = \"far\"\ncore = 999\nrun = [\"book\"]";
    let case = Case::new("", thread);
    for command in ["check", "plan"] {
        let output = case.hopline(command, &[]);
        ends(&output, 64);
        assert!(err(&output).contains("core 999"), "{}", err(&output));
    }
}

#[test]
fn the_plan_fuses_what_has_no_core_and_says_so() {
    let output = run(&["plan", "tick-to-trade", "--threads", "2"]);
    ends(&output, 0);
    for words in ["fused", "runs", "ring", "memory", "note"] {
        assert!(out(&output).contains(words), "no {words}");
    }
    let plan = json(&run(&["plan", "tick-to-trade", "--threads", "1", "--json"]));
    assert_eq!(plan["threads"].as_array().unwrap().len(), 1);
    assert_eq!(plan["threads"][0]["placement"], "fused");
    assert!(plan["memory_bytes"].as_u64().unwrap() > 1_000_000);
    assert!(plan["notes"][0].as_str().unwrap().contains("fused"));
}

#[test]
fn the_report_has_every_key_that_it_promises() {
    let case = Case::new("", "");
    let output = case.hopline("run", &["--for", "300ms", "--json"]);
    ends(&output, 0);
    let report = json(&output);
    for key in [
        "schema",
        "line",
        "host",
        "placement",
        "hops",
        "stages",
        "end_to_end",
        "ledger",
        "drain",
        "faults",
        "verdict",
        "senders",
        "notes",
    ] {
        assert!(!report[key].is_null(), "no {key}");
    }
    assert_eq!(report["schema"], 1);
    assert_eq!(report["verdict"], "unjudged");
    assert_eq!(report["ledger"]["closed"], true);
    assert_eq!(report["drain"]["cause"], "duration");
    let hop = &report["hops"][0];
    for key in [
        "name",
        "offered",
        "accepted",
        "shed",
        "shed_by_kind",
        "delivered",
        "in_flight",
        "discarded",
        "discarded_by_kind",
        "rungs_ns",
        "depth_now",
        "depth_max",
        "depth_window_max",
        "age_now_ns",
        "age_window_max_ns",
        "full_ns",
        "wait_ns",
        "service_ns",
        "sojourn_ns",
        "budget",
        "over_budget",
    ] {
        assert!(!hop[key].is_null(), "no hops[].{key}");
    }
    assert_eq!(hop["name"], "btc->book");
    for span in ["wait_ns", "service_ns", "sojourn_ns"] {
        for key in ["count", "p50", "p90", "p99", "p99_9", "max"] {
            assert!(hop[span][key].is_u64(), "no hops[].{span}.{key}");
        }
    }
    assert_eq!(hop["budget"]["limits_ns"]["p99"], 2_000_000);
    let source = &report["ledger"]["sources"]["btc"];
    assert!(source["received"].as_u64().unwrap() > 100);
    assert_eq!(source["received"], source["ingested"]);
    assert!(report["end_to_end"]["count"].is_u64());
}

#[test]
fn on_virtual_time_the_same_report_comes_twice() {
    let case = Case::new("", "");
    let twice = [(); 2].map(|()| case.hopline("run", &["--virtual", "--for", "2s", "--json"]));
    ends(&twice[0], 0);
    assert_eq!(out(&twice[0]), out(&twice[1]));
    let report = json(&twice[0]);
    assert_eq!(report["line"]["mode"], "inline");
    // 2,000 a second for two seconds, both ends included.
    assert_eq!(report["ledger"]["sources"]["btc"]["received"], 4_001);
}

#[test]
fn a_capture_is_replayed_and_a_bad_one_named() {
    let case = Case::new("", "");
    let good = case.write(
        "good",
        concat!(
            r#"1000000000 {"stream":"btcusdt@trade","data":{"e":"trade","E":1,"T":1,"#,
            r#""s":"BTCUSDT","t":7,"p":"1.0","q":"2.0","m":true}}"#,
            "\nno line\n"
        ),
    );
    let input = format!("btc={}", good.display());
    for way in [&["--speed", "max"][..], &["--virtual"]] {
        let output = case.hopline("run", &[&["--input", &input, "--json"], way].concat());
        ends(&output, 0);
        let report = json(&output);
        assert_eq!(report["drain"]["cause"], "finished");
        let source = &report["ledger"]["sources"]["btc"];
        assert_eq!(source["received"], 2);
        assert_eq!(source["rejected"]["bad_line"], 1);
    }
    let empty = case.write("empty", "");
    for (file, words) in [
        (case.path().join("none"), "no such file"),
        (empty, "is empty"),
        (case.path().to_owned(), "folder"),
    ] {
        let input = format!("btc={}", file.display());
        let output = case.hopline("run", &["--input", &input]);
        ends(&output, 74);
        assert!(err(&output).contains(words), "{}", err(&output));
        assert!(err(&output).contains("--input btc"), "{}", err(&output));
        assert!(output.stdout.is_empty());
    }
    let output = case.hopline("run", &["--input", &format!("gold={}", good.display())]);
    ends(&output, 64);
    assert!(
        err(&output).contains("\"gold\" is no source"),
        "{}",
        err(&output)
    );
}

#[test]
fn a_port_in_use_is_an_error_of_the_start() {
    let case = Case::new("", "");
    let _held = UdpSocket::bind(("127.0.0.1", case.port)).unwrap();
    let output = case.hopline("run", &["--live", "--for", "1s"]);
    ends(&output, 74);
    let words = format!("127.0.0.1:{}: address already in use", case.port);
    assert!(err(&output).contains(&words), "{}", err(&output));
    assert!(output.stdout.is_empty());
}

#[test]
fn a_sender_feeds_the_line_over_the_loopback_and_says_how_late_it_was() {
    let case = Case::new("", "");
    let output = case.hopline("run", &["--via", "udp", "--for", "500ms", "--json"]);
    ends(&output, 0);
    let report = json(&output);
    let sender = &report["senders"][0];
    // 2,000 a second for half a second.
    assert_eq!(sender["sent"], 1_000);
    assert_eq!(sender["unsent"], 0);
    assert_eq!(sender["late_ns"]["count"], 1_000);
    assert_eq!(sender["content"], "market");
    let source = &report["ledger"]["sources"]["btc"];
    let taken = source["received"].as_u64().unwrap() + source["kernel_dropped"].as_u64().unwrap();
    assert_eq!(taken, 1_000);
    assert_eq!(report["drain"]["cause"], "duration");
}

#[test]
fn loss_where_none_may_be_ends_3() {
    let case = Case::new("", "");
    let hop = "btc->book:depth=16,when_full=drop_newest";
    let output = case.hopline("run", &["--virtual", "--for", "1s", "--hop", hop]);
    ends(&output, 3);
    let text = out(&output);
    assert!(text.contains("shed: "), "{text}");
    assert!(text.contains("snapshot (oversize 1)"), "{text}");
    // It adds up all the same: nothing is unaccounted for.
    assert!(text.contains("ledger:   closed"), "{text}");
    assert!(text.contains("loss:     btc->book: "), "{text}");
}

#[test]
fn a_stage_that_misbehaves_ends_3_and_is_named() {
    for (fault, words) in [
        ("undeclared_every = 1000", "absorbed{undeclared}"),
        ("panic_at = 100", "fault: "),
    ] {
        let case = Case::new(fault, "");
        let output = case.hopline("run", &["--for", "1s"]);
        ends(&output, 3);
        assert!(out(&output).contains(words), "{}", out(&output));
    }
}

#[test]
fn a_stage_that_is_made_anew_ends_0_and_its_panics_have_a_line() {
    let settings =
        "panic_at = 100\non_panic = \"restart\"\npanics_max = 32\nrestart_after = \"1ms\"";
    let case = Case::new(settings, "");
    let output = case.hopline("run", &["--for", "1s", "--virtual"]);
    ends(&output, 0);
    let text = out(&output);
    assert!(text.contains("panics:   fault: "), "{text}");
    assert!(text.contains("the first: planted at frame 100"), "{text}");
    assert!(text.contains(" lost to panics"), "{text}");
    let output = case.hopline("run", &["--for", "1s", "--virtual", "--json"]);
    let report = json(&output);
    let first = &report["quarantine"][0];
    assert_eq!(
        (&first["node"], &first["during"]),
        (&"fault".into(), &"frame".into())
    );
    assert_eq!(first["frame"]["hop"], "book->fault");
}

#[test]
fn a_stage_that_never_returns_is_named_and_nothing_hangs() {
    let case = Case::new("hang_at = 100", "");
    let output = case.hopline("run", &["--for", "60s", "--json"]);
    ends(&output, 3);
    let report = json(&output);
    assert_eq!(report["drain"]["cause"], "stalled");
    assert_eq!(report["drain"]["stuck"][0], "fault");
    assert!(err(&output).contains("fault: its handler did not return"));
    // Who reads along is told long before the end.
    let output = case.hopline("run", &["--for", "1s"]);
    ends(&output, 3);
    let said = err(&output);
    assert!(
        said.contains("not alive: ") && said.contains("fault does not return"),
        "{said}"
    );
}

#[test]
fn the_first_signal_drains_and_the_second_ends_at_once() {
    let case = Case::new("", "");
    let mut child = case.spawn(&["--for", "60s"]);
    wait_for(&mut child, "small: ");
    signal(&child, "INT");
    let output = child.wait_with_output().unwrap();
    ends(&output, 0);
    assert!(out(&output).contains("a signal asked for it"));

    // `timeout` signals the process and then its group: that is one wish, and the report comes.
    let output = Command::new("timeout")
        .args(["-s", "TERM", "1", env!("CARGO_BIN_EXE_hopline"), "run"])
        .arg(case.path())
        .args(["--for", "60s", "--json"])
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).expect("a whole report");
    assert_eq!(report["drain"]["cause"], "signal");

    // A drain that cannot end, and may take a minute to find that out.
    for (name, code) in [("TERM", 143), ("INT", 130)] {
        let case = Case::new("hang_at = 10", "");
        let line = std::fs::read_to_string(case.path().join("line.toml")).unwrap();
        case.write("line.toml", &line.replace("300ms", "60s"));
        let mut child = case.spawn(&["--for", "60s"]);
        wait_for(&mut child, "small: ");
        signal(&child, name);
        // The first one must be seen as the first: two at once are one to the system.
        wait_for(&mut child, "draining");
        let mut output = child.stdout.take().unwrap();
        // One that follows at once is the same wish delivered twice; one of a moment later is not.
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            let _ = Command::new("kill")
                .args([format!("-{name}"), child.id().to_string()])
                .stderr(Stdio::null())
                .status();
        };
        assert_eq!(status.code(), Some(code));
        let mut text = String::new();
        output.read_to_string(&mut text).unwrap();
        assert!(text.is_empty(), "a second signal prints nothing: {text}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_reason_to_panic() {
    let case = Case::new("", "");
    let case = case.path().to_str().unwrap();
    for args in [
        &["run", case, "--for", "300ms"][..],
        &["run", case, "--for", "300ms", "--json"],
        &["check", case],
        &["--help"],
    ] {
        // Gone before the command starts, so that no write of it can succeed.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let child = hopline()
            .args(args)
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn();
        let output = child.unwrap().wait_with_output().unwrap();
        ends(&output, 74);
        let text = err(&output);
        assert!(text.contains("reader of standard output is gone"), "{text}");
        assert!(!text.contains("panicked"), "{text}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_under_the_sink_log_is_an_io_fault() {
    let case = Case::new("", "");
    let output = case.hopline("run", &["--for", "1s", "--sink-log", "/dev/full"]);
    ends(&output, 74);
    assert!(out(&output).contains("disk full"), "{}", out(&output));
}

#[test]
fn a_log_never_overwrites_what_the_run_reads() {
    let case = Case::new("", "");
    let capture = case.write("capture", "1000 {}\n");
    let around = capture.parent().unwrap().join(".").join("capture");
    let input = format!("btc={}", capture.display());
    for log in [around, case.path().join("line.toml")] {
        let before = std::fs::read(&log).unwrap();
        let log_arg = log.to_str().unwrap();
        let output = case.hopline("run", &["--input", &input, "--sink-log", log_arg]);
        ends(&output, 64);
        assert!(
            err(&output).contains("which this run reads"),
            "{}",
            err(&output)
        );
        assert_eq!(std::fs::read(&log).unwrap(), before, "nothing was written");
    }
}
