//! Clean figures of a run as its users meet them: only where they are asked for, for every message, or with words why not.
//!
//! What these assert holds on a machine of any noise: no figure is compared, only what adds up.

use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn run(case: &str, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hopline"));
    command.env_remove("COLUMNS").stdin(Stdio::null());
    command.args(["run", case, "--for", "400ms"]).args(more);
    let output = command.output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{words}");
    output
}

fn json(case: &str, more: &[&str]) -> Value {
    let output = run(case, &[&["--json"], more].concat());
    serde_json::from_slice(&output.stdout).expect("one JSON report and nothing else")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn without_a_terminal_nothing_is_told_apart_unless_asked_for() {
    for clean in ["auto", "never"] {
        let report = json("tick-to-trade", &["--wait", "yield", "--clean", clean]);
        assert_eq!(report.get("clean"), None, "{clean}");
    }
    assert_eq!(
        json("tick-to-trade", &["--wait", "yield"]).get("clean"),
        None
    );
}

#[test]
fn every_message_is_clean_or_touched_or_said_not_to_be_judged() {
    // A line that feeds itself, and one whose sender's gaps count as well.
    let cases: [(&str, &[&str]); 2] = [("tick-to-trade", &[]), ("udp-echo", &["--via", "udp"])];
    for (case, more) in cases {
        let report = json(
            case,
            &[&["--wait", "yield", "--clean", "always"], more].concat(),
        );
        let clean = &report["clean"];
        assert_eq!(clean["held"], 0, "{case}: all is decided at the end");
        for hop in report["hops"].as_array().unwrap() {
            let name = hop["name"].as_str().unwrap();
            let of = |key: &str| clean["hops"][name][key].as_u64().unwrap();
            let seen = of("clean") + of("tainted") + of("not_judged");
            // The warm-up counts as delivered and is in no figure.
            assert!(
                seen > 0 && seen <= hop["delivered"].as_u64().unwrap(),
                "{case} {name}"
            );
            assert_eq!(clean["hops"][name]["sojourn_ns"]["count"], of("clean"));
        }
        assert!(clean["exposure_ns"].as_u64().unwrap() >= 20_000);
    }
}

#[test]
fn the_summary_has_the_clean_figures_and_the_share_that_was_kept() {
    let args = ["--wait", "yield", "--clean", "always"];
    let summary = text(&run("tick-to-trade", &args));
    for words in ["clean p99", "kept", "the host touched"] {
        assert!(summary.contains(words), "{words}: {summary}");
    }
    assert!(!text(&run("tick-to-trade", &["--wait", "yield"])).contains("clean p99"));
}

#[test]
fn a_loop_that_parks_has_no_clean_figures_and_the_reason_is_said() {
    let report = json("tick-to-trade", &["--wait", "park", "--clean", "always"]);
    assert_eq!(report.get("clean"), None);
    let notes = report["notes"].to_string();
    assert!(notes.contains("parks and sees no gaps"), "{notes}");
}
