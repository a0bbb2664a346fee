//! `bench`, `gate` and `budget derive` on a program whose figures are known: a script that says what a run came to.
//!
//! What these assert follows from those figures, on any machine: words, codes, and what is printed.

#![cfg(target_os = "linux")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use hopline_harness::gate::model::{
    END_TO_END, Exceedances, LedgerAnalysis, LimitCounts, Quantiles, RunAnalysis, SCHEMA,
    SpanAnalysis,
};
use serde_json::Value;
use tempfile::TempDir;

/// The hops of tick-to-trade, in its order.
const HOPS: [&str; 6] = [
    "btc->book",
    "eth->book",
    "book->signal",
    "signal->risk",
    "risk->encode",
    "encode->orders",
];

/// Frames of a span in a run: enough for a P99.
const FRAMES: u64 = 20_000;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A span of which so many frames were over a limit of 1 ms on its P99.
fn span(hop: &str, of: &str, p99: u64, over: u64) -> SpanAnalysis {
    let quantiles = Quantiles {
        p50: p99 / 2,
        p90: p99 * 3 / 4,
        p99,
        p99_9: 2 * p99,
        max: 4 * p99,
    };
    let counts = Exceedances {
        n: FRAMES,
        k: over,
        d: 1.0,
    };
    SpanAnalysis {
        hop: hop.to_owned(),
        of: of.to_owned(),
        n: FRAMES,
        n_clean: FRAMES,
        raw: quantiles,
        clean: quantiles,
        clean_p50_halves: [quantiles.p50; 2],
        limits: vec![LimitCounts {
            quantile: "p99".to_owned(),
            limit_ns: 1_000_000,
            raw: counts,
            clean: counts,
            from_send: Some(counts),
        }],
        ..SpanAnalysis::default()
    }
}

/// A run whose end to end took that long at P99.
fn run(p99: u64, over: u64) -> RunAnalysis {
    let hop = |hop: &&str| span(hop, "sojourn", p99 / 8, 0);
    let mut spans: Vec<SpanAnalysis> = HOPS.iter().map(hop).collect();
    spans.push(span(END_TO_END, END_TO_END, p99, over));
    RunAnalysis {
        schema: SCHEMA,
        clock: "tsc".to_owned(),
        span_ns: 1_000_000_000,
        exposure_ns: 20_000,
        spans,
        ledger: LedgerAnalysis {
            closed: true,
            ..LedgerAnalysis::default()
        },
        ..RunAnalysis::default()
    }
}

/// A run that holds its budget, and one that does not.
fn good() -> RunAnalysis {
    run(100_000, 0)
}

fn slow() -> RunAnalysis {
    run(5_000_000, FRAMES / 2)
}

/// A program that says the first of these at a rate of at most so many times the case's, and the second above.
struct Told {
    dir: TempDir,
    program: PathBuf,
}

impl Told {
    fn new(up_to: &RunAnalysis, above: &RunAnalysis, factors: &str) -> Told {
        let dir = tempfile::tempdir().unwrap();
        for (name, run) in [("up-to", up_to), ("above", above)] {
            fs::write(dir.path().join(name), serde_json::to_string(run).unwrap()).unwrap();
        }
        let program = dir.path().join("told");
        let script = format!(
            "#!/bin/sh\nfactor=1\nfor word; do case $word in --rate-factor=*) factor=${{word#*=}};; esac; done\n\
             case $factor in {factors}) exec cat '{0}/up-to';; *) exec cat '{0}/above';; esac\n",
            dir.path().display()
        );
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Told { dir, program }
    }

    fn hopline(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hopline"));
        command.args(args).arg("--bin").arg(&self.program);
        command.env_remove("COLUMNS").stdin(Stdio::null());
        command.output().unwrap()
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }
}

#[track_caller]
fn ends(output: &Output, code: i32) {
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}\n{err}");
}

#[test]
fn a_search_for_the_capacity_ends_with_the_bracket_that_there_is() {
    let told = Told::new(&good(), &slow(), "1|2");
    let args = ["bench", "tick-to-trade", "--find-capacity", "--json"];
    let output = told.hopline(&[&args[..], &["--within", "100"]].concat());
    ends(&output, 0);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["command"], "bench --find-capacity");
    let capacity = &report["capacity"];
    // Two feeds of 10k/s and 5k/s are one capacity of the line.
    assert_eq!(
        (&capacity["holds_per_s"], &capacity["fails_per_s"]),
        (&30_000.0.into(), &60_000.0.into()),
        "{capacity}"
    );
    let steps = capacity["steps"].as_array().unwrap();
    let tried: Vec<(f64, &str, bool)> = steps
        .iter()
        .map(|step| {
            assert!(step["runs"].as_u64().unwrap() >= 3, "{step}");
            let word = step["word"].as_str().unwrap();
            let holds = step["holds"].as_bool().unwrap();
            (step["factor"].as_f64().unwrap(), word, holds)
        })
        .collect();
    assert_eq!(
        tried,
        [
            (1.0, "PASS", true),
            (2.0, "PASS", true),
            (4.0, "FAIL", false)
        ]
    );
    assert_eq!(report["word"], "PASS");
}

#[test]
fn without_a_capacity_a_search_ends_as_its_lowest_rate_did() {
    let mut lossy = good();
    lossy.ledger.losses = vec!["btc->book lost 3".to_owned()];
    let mut few = good();
    for span in &mut few.spans {
        (span.n, span.n_clean) = (0, 0);
        span.limits[0].raw.n = 0;
        span.limits[0].clean.n = 0;
    }
    for (run, code, word) in [
        (slow(), 1, "FAIL"),
        (few, 2, "INCONCLUSIVE"),
        (lossy, 3, "LOSS"),
    ] {
        let told = Told::new(&run, &run, "1");
        let args = ["bench", "tick-to-trade", "--find-capacity", "--json"];
        let output = told.hopline(&args);
        ends(&output, code);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["word"], word, "{}", report["capacity"]["answer"]);
        assert_eq!(report["capacity"]["holds_per_s"], Value::Null);
    }
}

#[test]
fn a_derived_budget_is_one_that_its_case_takes_and_keeps_what_may_not_be_lost() {
    let told = Told::new(&good(), &good(), "1");
    let args = ["budget", "derive", "tick-to-trade"];
    let slo = ["--slo", "p99=2ms", "--slo", "p50=1ms"];
    let output = told.hopline(&[&args[..], &slo[..]].concat());
    ends(&output, 0);
    let printed = text(&output.stdout);
    assert_eq!(printed.matches("[hop.").count(), HOPS.len(), "{printed}");
    // The case's own budget has all of its hops lossless.
    assert_eq!(
        printed.matches("lossless = true").count(),
        HOPS.len(),
        "{printed}"
    );
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/tick-to-trade");
    let case = told.path().join("case");
    fs::create_dir(&case).unwrap();
    for file in ["line.toml", "load.toml"] {
        fs::write(case.join(file), fs::read(root.join(file)).unwrap()).unwrap();
    }
    fs::write(case.join("budget.toml"), &printed).unwrap();
    let mut check = Command::new(env!("CARGO_BIN_EXE_hopline"));
    ends(&check.arg("check").arg(&case).output().unwrap(), 0);
}
