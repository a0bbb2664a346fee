//! The files of a folder, and the command that makes them again.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use hopline_harness::gate::model::{GateReport, SCHEMA};
use hopline_harness::gate::out::json::{from_json, to_json};
use hopline_harness::gate::out::{
    GATE_JSON, OutError, REPORT_HTML, TREND_CSV, TREND_JSONL, begin, write_all,
};

use crate::{fixture, report};

#[test]
fn a_partial_report_says_so_everywhere_and_is_not_in_the_trend() {
    let dir = tempfile::tempdir().unwrap();
    let mut partial = report().clone();
    partial.partial = true;
    let files = write_all(&partial, dir.path()).unwrap();
    assert_eq!(files.len(), 6);
    // It marks the folder before anything else of it is there.
    assert_eq!(files[0], dir.path().join(GATE_JSON));
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap().to_lowercase();
        assert!(text.contains("partial"), "{}", file.display());
    }
    assert!(!dir.path().join(TREND_JSONL).exists());
}

#[test]
fn a_gate_that_begins_leaves_nothing_that_looks_finished() {
    let dir = tempfile::tempdir().unwrap();
    let mut compared = report().clone();
    compared.base_runs = compared.runs.clone();
    let whole = write_all(&compared, dir.path()).unwrap();
    let began = GateReport {
        schema: compared.schema,
        case: compared.case.clone(),
        partial: true,
        ..GateReport::default()
    };
    begin(&began, dir.path()).unwrap();
    for path in whole {
        let name = path.file_name().unwrap().to_str().unwrap();
        match std::fs::read_to_string(&path) {
            // What the nights before came to is no result of this one.
            _ if name.starts_with("trend") || name == "otava.yaml" => {}
            Ok(text) => assert!(text.to_lowercase().contains("partial"), "{name}"),
            Err(_) => assert_eq!(name, "base.hlog"),
        }
    }
    let read = std::fs::read_to_string(dir.path().join(GATE_JSON)).unwrap();
    assert!(from_json("gate.json", &read).unwrap().partial);
    std::fs::write(dir.path().join(TREND_JSONL), "{\"schema\":9}\n").unwrap();
    let refused = begin(&began, dir.path());
    assert!(
        matches!(refused, Err(OutError::Trend { .. })),
        "{refused:?}"
    );
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn all_files_are_written_and_the_history_grows() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("a/b");
    for _ in 0..2 {
        let files = write_all(report(), &out).unwrap();
        let at = files.iter().position(|file| *file == out.join(GATE_JSON));
        // Behind all that is made for this gate; the history was there before.
        assert_eq!(at, Some(files.len() - 1));
    }
    let mut next = report().clone();
    next.began_unix_s += 86_400;
    write_all(&next, &out).unwrap();
    let mut elsewhere = next.clone();
    elsewhere
        .host
        .insert("fingerprint".to_owned(), "another".to_owned());
    write_all(&elsewhere, &out).unwrap();
    write_all(&next, &out).unwrap();
    assert_eq!(
        names(&out),
        [
            "annotations.txt",
            "gate.json",
            "head.hlog",
            "junit.xml",
            "otava.yaml",
            "report.html",
            "summary.md",
            "trend.csv",
            "trend.jsonl"
        ]
    );
    let history = std::fs::read_to_string(out.join(TREND_JSONL)).unwrap();
    assert_eq!(history.lines().count(), 3);
    let csv = std::fs::read_to_string(out.join(TREND_CSV)).unwrap();
    assert_eq!(
        csv.lines().count(),
        1 + 2,
        "the other host is not in this table"
    );
    assert_eq!(
        csv.lines().next().unwrap().split(',').count(),
        4 + report().verdicts.len()
    );
}

#[test]
fn what_stood_there_stays_when_a_file_cannot_be_written() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(GATE_JSON), "before").unwrap();
    std::fs::create_dir_all(dir.path().join(REPORT_HTML).join("x")).unwrap();
    let error = write_all(report(), dir.path()).unwrap_err();
    let OutError::File { written, path, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!((*written, path.clone()), (0, dir.path().join(REPORT_HTML)));
    assert_eq!(
        names(dir.path()),
        ["gate.json", "report.html"],
        "nothing half is left"
    );
    let file = dir.path().join(GATE_JSON);
    assert!(matches!(
        write_all(report(), &file.join("x")),
        Err(OutError::Folder { .. })
    ));
    let history = tempfile::tempdir().unwrap();
    std::fs::write(history.path().join(TREND_JSONL), "{\"schema\":9}\n").unwrap();
    assert!(matches!(
        write_all(report(), history.path()),
        Err(OutError::Trend { .. })
    ));
    assert_eq!(names(history.path()), [TREND_JSONL]);
}

fn hopline(args: &[&Path], columns: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hopline"))
        .arg("report")
        .args(args)
        .env("COLUMNS", columns)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// A report on the disk, in a folder that stays, so that a person can look at what becomes of it.
fn on_disk(name: &str, report: &GateReport) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, to_json(report).unwrap()).unwrap();
    path
}

#[test]
fn a_report_is_shown_again_at_every_width() {
    let file = on_disk("gate_shown.json", report());
    for columns in ["80", "100", "160"] {
        let output = hopline(&[&file], columns);
        assert_eq!(output.status.code(), Some(0));
        let text = String::from_utf8(output.stdout).unwrap();
        let width = columns.parse().unwrap();
        assert!(
            text.lines().all(|line| line.chars().count() <= width),
            "{text}"
        );
        let rows = text.lines().filter(|line| {
            line.contains('→') || line.contains("->") || line.contains("end to end")
        });
        let judged = rows.filter(|line| {
            ["PASS", "FAIL", "INCONCLUSIVE"]
                .iter()
                .any(|word| line.trim_end().ends_with(word) || line.contains("PASS_CLEAN"))
        });
        assert!(judged.count() >= report().verdicts.len(), "{text}");
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for words in [
            "raw",
            "clean",
            "kept",
            "budget",
            "look at the handler of signal",
            "measure 4x as long",
        ] {
            assert!(text.contains(words), "{words} at {columns}: {text}");
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let output = hopline(&[&file, "--out".as_ref(), dir.path()], "80");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(names(dir.path()).len(), 9);
    let again = std::fs::read_to_string(dir.path().join(GATE_JSON)).unwrap();
    assert_eq!(again, std::fs::read_to_string(&file).unwrap());
}

#[test]
fn two_reports_stand_side_by_side() {
    let mut other = fixture::report(7, 1.0);
    other.host.insert("kernel".to_owned(), "6.9.1".to_owned());
    other.verdicts.retain(|verdict| verdict.hop != "eth->book");
    let (a, b) = (
        on_disk("gate_a.json", report()),
        on_disk("gate_b.json", &other),
    );
    let dir = tempfile::tempdir().unwrap();
    let output = hopline(&[&a, &b, "--out".as_ref(), dir.path()], "100");
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    for words in [
        "kernel 6.8.0-1021 against 6.9.1",
        "▼ 0.7",
        "= 1.0",
        "gone",
        "A comparison judges nothing",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(
        text.lines().all(|line| line.chars().count() <= 100),
        "{text}"
    );
    assert_eq!(names(dir.path()), ["compare.html"]);
}

#[test]
fn what_cannot_be_read_or_written_ends_with_its_code() {
    let dir = tempfile::tempdir().unwrap();
    let whole = to_json(report()).unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let good = write("good.json", &whole);
    let cut = write("cut.json", &whole[..whole.len() / 3]);
    let foreign = write(
        "foreign.json",
        &whole.replacen(&format!("\"schema\": {SCHEMA}"), "\"schema\": 77", 1),
    );
    let missing = dir.path().join("missing.json");
    for (args, code, words) in [
        (vec![missing.as_path()], 74, "cannot read"),
        (vec![dir.path()], 74, "cannot read"),
        (vec![&cut], 64, "is cut"),
        (vec![&foreign], 64, "speaks schema 77"),
        (vec![&good, &cut], 64, "is cut"),
        (
            vec![&good, "--out".as_ref(), &cut],
            74,
            "cannot make the folder",
        ),
        (
            vec![&good, "--out".as_ref(), "/proc/no".as_ref()],
            74,
            "/proc/no",
        ),
    ] {
        let output = hopline(&args, "100");
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{error}");
        assert!(error.contains(words) && error.contains("help:"), "{error}");
        assert!(output.stdout.is_empty());
    }
}
