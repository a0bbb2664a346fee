//! What `bench`, `gate` and `budget derive` refuse before the first run: what could not be judged, and what would have no effect.
//!
//! What these assert holds on a machine of any noise. Each run that is refused would take an hour: a test ends because there is none.

#![cfg(target_os = "linux")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

const CASE: &str = "tick-to-trade";

fn hopline(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hopline"));
    command.args(args).stdin(Stdio::null());
    command.env_remove("COLUMNS").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The words of a command that would measure for an hour and is refused as wrong usage.
#[track_caller]
fn refused(args: &[&str]) -> String {
    let output = hopline(&[args, &["--for", "1h"]].concat());
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(64), "{args:?}: {out}\n{err}");
    assert!(out.is_empty(), "{out}");
    err
}

/// A copy of the case in which `change` changes files.
fn case_with(change: impl FnOnce(&Path)) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("cases")
        .join(CASE);
    for file in ["line.toml", "load.toml", "budget.toml"] {
        fs::write(dir.path().join(file), fs::read(root.join(file)).unwrap()).unwrap();
    }
    change(dir.path());
    dir
}

/// A capture with a line each millisecond, ten seconds long.
fn capture(dir: &Path) -> String {
    let file = dir.join("capture");
    let lines = (0..10_000u64).map(|nth| format!("{} {{}}\n", nth * 1_000_000));
    fs::write(&file, lines.collect::<String>()).unwrap();
    file.display().to_string()
}

#[test]
fn a_line_that_paces_itself_is_never_judged() {
    let dir = tempfile::tempdir().unwrap();
    let input = format!("btc={}", capture(dir.path()));
    let flat_out = ["--input", &input, "--speed", "max"];
    for asked in [
        &["gate", CASE][..],
        &["gate", CASE, "--base", "/bin/true"],
        &["gate", CASE, "--bin", "/bin/true"],
        &["gate", CASE, "--via", "udp"],
        &["bench", CASE, "--find-capacity"],
        &["budget", "derive", CASE, "--slo", "p99=1s"],
    ] {
        let words = refused(&[asked, &flat_out[..]].concat());
        assert!(
            words.contains("\"btc\"") && words.contains("--speed max"),
            "{words}"
        );
    }
    // The same by the case's own files.
    let own = case_with(|case| {
        let line = fs::read_to_string(case.join("line.toml")).unwrap();
        let file = capture(case);
        let replays = format!("kind = \"replay\"\nfile = \"{file}\"\nspeed = \"max\"");
        let line = line.replacen("kind = \"udp\"", &replays, 1);
        let line = line.lines().filter(|line| !line.starts_with("bind"));
        fs::write(case.join("line.toml"), line.collect::<Vec<_>>().join("\n")).unwrap();
        fs::remove_file(case.join("load.toml")).unwrap();
    });
    let case = own.path().display().to_string();
    let words = refused(&["gate", &case]);
    assert!(words.contains("line.toml"), "{words}");
}

#[test]
fn a_replay_is_held_to_its_schedule() {
    let dir = tempfile::tempdir().unwrap();
    let file = capture(dir.path());
    let (btc, eth) = (format!("btc={file}"), format!("eth={file}"));
    let args = [
        "bench", CASE, "--input", &btc, "--input", &eth, "--speed", "2x",
    ];
    let brief = ["--runs", "1", "--for", "200ms", "--wait", "yield", "--json"];
    let output = hopline(&[&args[..], &brief[..]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let fed = report["runs"][0]["generators"].as_array().unwrap();
    let sources: Vec<&Value> = fed.iter().map(|one| &one["source"]).collect();
    assert_eq!(sources, ["btc", "eth"]);
    for one in fed {
        let offered = one["offered_per_s"].as_f64().unwrap();
        assert!((offered - 2_000.0).abs() < 20.0, "{one}");
    }
}

#[test]
fn a_case_that_owes_nothing_is_not_measured_to_say_so() {
    let none = case_with(|case| fs::remove_file(case.join("budget.toml")).unwrap());
    // What may not be lost is no limit.
    let unlimited = "[slo]\n[hop.\"btc->book\"]\nlossless = true\n";
    let empty = case_with(|case| fs::write(case.join("budget.toml"), unlimited).unwrap());
    for case in [&none, &empty] {
        let case = case.path().display().to_string();
        for asked in [
            &["gate", &case][..],
            &["gate", &case, "--bin", "/bin/true"],
            &["bench", &case, "--find-capacity"],
        ] {
            let words = refused(asked);
            assert!(words.contains("no budget that could hold"), "{words}");
            assert!(words.contains("budget derive"), "{words}");
        }
        // Against a base nothing is owed: it is asked whether it is a hopline.
        let words = refused(&["gate", &case, "--base", "/bin/true"]);
        assert!(words.contains("/bin/true"), "{words}");
    }
}

#[test]
fn a_flag_without_effect_on_a_comparison_is_refused() {
    for base in [["--base", "/bin/true"], ["--base-rev", "HEAD"]] {
        for flag in [&["--runs", "5"][..], &["--strict"]] {
            let words = refused(&[&["gate", CASE][..], &base, flag].concat());
            assert!(
                words.contains(flag[0]) && words.contains("no effect"),
                "{words}"
            );
        }
    }
}

#[test]
fn an_objective_that_a_budget_could_not_have_is_not_measured_for() {
    for (asked, words) in [
        (&["--slo", "p99=5ms", "--slo", "p99=6ms"][..], "p99"),
        (&["--slo", "p99=5ms", "--slo", "p50=6ms"], "p50"),
        (&["--slo", "p99=2h"], "p99"),
        (&["--slo", "p99=5ms", "--runs", "2"], "2 runs"),
        // It prints a budget.toml, and nothing else.
        (&["--slo", "p99=5ms", "--json"], "--json"),
        (&["--slo", "p99=5ms", "--out", "x"], "--out"),
    ] {
        let told = refused(&[&["budget", "derive", CASE][..], asked].concat());
        assert!(told.contains(words), "{asked:?}: {told}");
    }
}
