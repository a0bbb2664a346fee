//! `bench` and `gate` as their users meet them: the real binary, real process runs, exit codes.
//!
//! What these assert holds on a machine of any noise: no figure is compared, only what follows from what was planted.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use hopline_harness::gate::model::SCHEMA;
use serde_json::Value;

fn hopline(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hopline"));
    command.env_remove("COLUMNS").stdin(Stdio::null());
    command.args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn err(output: &Output) -> String {
    text(&output.stderr)
}

#[track_caller]
fn ends(output: &Output, code: i32) {
    let out = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(code), "{out}\n{}", err(output));
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).expect("one JSON report and nothing else")
}

const BRIEF: [&str; 6] = ["--for", "150ms", "--warmup", "20ms", "--wait", "yield"];

#[test]
fn a_bench_says_what_every_span_took() {
    let dir = tempfile::tempdir().unwrap();
    let into = dir.path().join("new").display().to_string();
    let args = [
        "bench",
        "tick-to-trade",
        "--runs",
        "2",
        "--json",
        "--out",
        &into,
    ];
    let output = hopline(&[&args[..], &BRIEF[..]].concat());
    ends(&output, 0);
    let report = json(&output);
    assert_eq!(
        (&report["schema"], &report["command"]),
        (&SCHEMA.into(), &"bench".into())
    );
    let runs = report["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 2);
    // The case's own seed, which it does not name, and the next one.
    assert_eq!(
        [&runs[0]["seed"], &runs[1]["seed"]],
        [&Value::from(42), &Value::from(43)]
    );
    let arguments: Vec<&str> = report["arguments"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert_eq!(arguments[1..=args.len()], args);
    assert_eq!(report["head_hash"].as_str().unwrap().len(), 16);
    assert_eq!(
        runs[0]["exposure_ns"], runs[1]["exposure_ns"],
        "settled once"
    );
    for run in runs {
        assert_eq!(run["ledger"]["closed"], true);
        let spans = run["spans"].as_array().unwrap();
        // Three of each of six hops, the whole, and two of the line.
        assert_eq!(spans.len(), 3 * 6 + 3);
        let of_line: Vec<&Value> = spans[19..].iter().map(|span| &span["of"]).collect();
        assert_eq!(of_line, ["residence", "ipdv"]);
        let fed: Vec<&Value> = run["generators"].as_array().unwrap().iter().collect();
        let sources: Vec<&Value> = fed.iter().map(|one| &one["source"]).collect();
        assert_eq!(
            sources,
            ["btc", "eth"],
            "what sources make in their own turn"
        );
        for span in spans {
            let of = |key: &str| span[key].as_u64().unwrap();
            assert!(of("n_clean") <= of("n"), "{span}");
            let raw = |key: &str| span["raw"][key].as_u64().unwrap();
            assert!(
                raw("p50") <= raw("p99") && raw("p99") <= raw("max"),
                "{span}"
            );
        }
        let first = &spans[0];
        assert!(first["n"].as_u64().unwrap() > 100, "{first}");
        assert!(!run["worst"].as_array().unwrap().is_empty());
    }
    let written = std::fs::read(Path::new(&into).join("gate.json")).unwrap();
    let written: Value = serde_json::from_slice(&written).unwrap();
    assert_eq!(written, report);
    // Shown again it is what a bench shows, and beside another one each span stands in a row of its own.
    let file = format!("{into}/gate.json");
    let again = hopline(&["report", &file]);
    ends(&again, 0);
    let shown = text(&again.stdout);
    for words in ["btc->book sojourn", "end to end", "clean p99", "gap from"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let both = hopline(&["report", &file, &file, "--out", &into]);
    ends(&both, 0);
    let shown = text(&both.stdout);
    let rows = shown.lines().filter(|line| line.contains(" = "));
    // What has no clean frame on a busy machine has no ratio.
    let mut spans = runs.iter().flat_map(|run| run["spans"].as_array().unwrap());
    let is_clean = spans.any(|span| span["n_clean"].as_u64().unwrap() > 0);
    assert!(!is_clean || rows.count() > 0, "{shown}");
    assert!(shown.contains("clean B"), "{shown}");
    assert!(
        !shown.contains("verdict A") && !shown.contains("INCONCLUSIVE"),
        "{shown}"
    );
    let page = std::fs::read_to_string(Path::new(&into).join("compare.html")).unwrap();
    assert_eq!(page.matches("role=\"rowheader\"").count(), 2 * (3 * 6 + 3));
}

#[test]
fn messages_that_were_shed_are_a_loss_whatever_the_rest_took() {
    let args = [
        "gate",
        "tick-to-trade",
        "--runs",
        "3",
        "--json",
        "--rate",
        "40k",
    ];
    // Two slots for a book that gets messages of hundreds of frames.
    let shed = ["--hop", "btc->book:depth=2,when_full=drop_newest"];
    let output = hopline(&[&args[..], &BRIEF[..], &shed[..]].concat());
    ends(&output, 3);
    let report = json(&output);
    assert_eq!(
        (&report["word"], &report["exit_code"]),
        (&"LOSS".into(), &3.into())
    );
    let verdicts = report["verdicts"].as_array().unwrap();
    let lost = verdicts
        .iter()
        .find(|verdict| verdict["hop"] == "btc->book");
    assert_eq!(lost.unwrap()["word"], "LOSS");
    let slices = report["runs"][0]["timeline"].as_array().unwrap();
    let shed: u64 = slices.iter().filter_map(|one| one["shed"].as_u64()).sum();
    let counted = &report["runs"][0]["ledger"]["shed"]["btc->book oversize"];
    assert!(shed > 0 && counted.is_u64(), "{shed}, {counted}");
}

#[test]
fn a_budget_that_no_clock_can_tell_has_no_word_and_one_that_anything_holds_passes() {
    let dir = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/tick-to-trade");
    for file in ["line.toml", "load.toml"] {
        std::fs::copy(root.join(file), dir.path().join(file)).unwrap();
    }
    let case = dir.path().display().to_string();
    let judge = |p50: &str| {
        let budget = format!("[hop.\"btc->book\"]\nof = \"service\"\np50 = \"{p50}\"\n");
        std::fs::write(dir.path().join("budget.toml"), budget).unwrap();
        let args = [
            "gate", &case, "--json", "--for", "400ms", "--wait", "yield", "--rate", "2k",
        ];
        let output = hopline(&args);
        (output.status.code(), json(&output))
    };
    // Others on the machine may keep a loop from its turns so often that its log is full, the generator from its messages, or may
    // leave too little that is clean; that is said before anything else.
    let is_disturbed = |verdict: &Value| {
        let reason = verdict["reason"].as_str().unwrap_or("");
        verdict["word"] == "INCONCLUSIVE"
            && ["log", "rate", "warmup", "dirty", "host", "samples"].contains(&reason)
    };
    // No clock tells a nanosecond.
    let (code, report) = judge("1ns");
    let verdict = &report["verdicts"][0];
    let is_told = verdict["reason"] == "resolution" || is_disturbed(verdict);
    assert!(code == Some(2) && is_told, "{code:?} {verdict}");
    // Half of the time a handler takes less than a second.
    let (code, report) = judge("1s");
    let verdict = &report["verdicts"][0];
    let expected = match is_disturbed(verdict) {
        true => (Some(2), "INCONCLUSIVE"),
        false => (Some(0), "PASS"),
    };
    let word = report["word"].as_str().unwrap();
    assert_eq!((code, word), expected, "{verdict}");
}

#[test]
fn a_case_of_its_own_runs_is_derived_from_or_it_is_said_why_not() {
    let args = ["budget", "derive", "tick-to-trade", "--slo", "p99=2s"];
    let output = hopline(&[&args[..], &["--for", "300ms", "--wait", "yield"]].concat());
    // On a machine that touches every frame there is nothing to derive from.
    match output.status.code() {
        Some(64) => assert!(err(&output).contains("no clean frames"), "{}", err(&output)),
        _ => {
            ends(&output, 0);
            assert_eq!(text(&output.stdout).matches("[hop.").count(), 6);
        }
    }
    let output = hopline(&["budget", "derive", "tick-to-trade", "--slo", "max=1s"]);
    ends(&output, 64);
}

#[test]
fn a_base_that_is_no_hopline_is_told_and_judges_nothing() {
    for base in ["/bin/true", "/nowhere/hopline"] {
        let args = ["gate", "tick-to-trade", "--json", "--base", base];
        let output = hopline(&[&args[..], &BRIEF[..]].concat());
        assert!(
            matches!(output.status.code(), Some(64 | 74)),
            "{base}: {}",
            err(&output)
        );
        assert!(err(&output).contains(base), "{}", err(&output));
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn wrong_words_cost_no_run() {
    let wrong: [&[&str]; 13] = [
        &["gate", "tick-to-trade", "--inconclusive", "maybe"],
        &["gate", "tick-to-trade", "--slower", "3"],
        &["gate", "tick-to-trade", "--runs", "0"],
        &["bench", "tick-to-trade", "--for", "0s"],
        &["bench", "nowhere"],
        &["bench", "tick-to-trade", "--strict"],
        &["bench", "tick-to-trade", "--within", "3"],
        &["bench", "tick-to-trade", "--find-capacity", "--within", "0"],
        &["bench", "tick-to-trade", "--find-capacity", "--live"],
        &[
            "bench",
            "tick-to-trade",
            "--find-capacity",
            "--shape",
            "ramp=1k..2k/1s",
        ],
        &["gate", "tick-to-trade", "--base", "x", "--base-rev", "y"],
        &["gate", "tick-to-trade", "--base-bin", "x"],
        &["gate", "tick-to-trade", "--slower", "7"],
    ];
    for args in wrong {
        let output = hopline(args);
        ends(&output, 64);
        assert!(
            output.stdout.is_empty() && !output.stderr.is_empty(),
            "{args:?}"
        );
    }
}

#[test]
fn a_loop_that_parks_has_a_bare_wake_beside_it() {
    let probe_of = |wait: &str| {
        let args = [
            "bench", "udp-echo", "--runs", "1", "--json", "--for", "100ms",
        ];
        let output = hopline(&[&args[..], &["--wait", wait]].concat());
        ends(&output, 0);
        let report = json(&output);
        (report["runs"][0]["wake_probe"].clone(), report)
    };
    assert_eq!(probe_of("yield").0, Value::Null);
    let (probe, report) = probe_of("park");
    if hopline::host::allowed_cores().len() < 2 {
        let notes = report["notes"].to_string();
        assert!(notes.contains("a bare wake"), "{notes}");
        return;
    }
    let late = |key: &str| probe["late"][key].as_u64().unwrap();
    assert!(late("p50") > 0 && late("p50") <= late("p99"), "{probe}");
    assert!(
        late("p99") <= late("p99_9") && late("p99_9") <= late("max"),
        "{probe}"
    );
    assert!(probe["wakes"].as_u64().unwrap() >= 1_000, "{probe}");
    assert_ne!(probe["cores"][0], probe["cores"][1]);
}
