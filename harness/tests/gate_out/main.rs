//! What is made of a gate's report: each format by the rules of those who read it.

mod fixture;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use hopline_harness::gate::model::*;
use hopline_harness::gate::out::annotations::{ANNOTATIONS_PER_KIND_MAX, annotations};
use hopline_harness::gate::out::compare::Comparison;
use hopline_harness::gate::out::histogram::decode;
use hopline_harness::gate::out::hlog::{hlog, tag};
use hopline_harness::gate::out::json::{ReadError, from_json, to_json};
use hopline_harness::gate::out::junit::junit;
use hopline_harness::gate::out::markdown::{SUMMARY_BYTES_MAX, step_summary};
use hopline_harness::gate::out::page::{comparison, page};
use hopline_harness::gate::out::{
    GATE_JSON, OutError, REPORT_HTML, TREND_CSV, TREND_JSONL, write_all,
};

/// Text that would break out of every format, if it could.
const HOSTILE: &str =
    "</td><script>alert(1)</script>&'\"%0A|`[x](y)\r\n::error::]]>--> ,\u{0}\u{1b}[31m";

fn report() -> &'static GateReport {
    static REPORT: OnceLock<GateReport> = OnceLock::new();
    REPORT.get_or_init(|| fixture::report(1, 1.3))
}

/// The report with hostile text wherever a text may be.
fn hostile() -> GateReport {
    let mut report = report().clone();
    let text = || HOSTILE.to_owned();
    report.command = text();
    report.case = text();
    report.version = text();
    report.head = text();
    report.base = Some(text());
    report.host.insert(text(), text());
    report.notes.push(text());
    for verdict in &mut report.verdicts {
        verdict.hop = text();
        verdict.of = text();
        verdict.quantile = text();
        verdict.reason = text();
        verdict.next_step = text();
    }
    for run in &mut report.runs {
        run.notes.push(text());
        run.ledger.breaches.push(text());
        run.ledger.losses.push(text());
        run.ledger.shed.insert(text(), 3);
        for each in &mut run.loops {
            each.name = text();
            each.wait = text();
            each.own_faults.insert(text(), 1);
            each.gaps_by_kind.insert(text(), 1);
        }
        for generator in &mut run.generators {
            generator.source = text();
        }
        for span in &mut run.spans {
            span.hop = text();
            span.of = text();
            span.blame.insert(text(), 3);
        }
        for frame in &mut run.worst {
            frame.cause = text();
            frame.place = text();
            for stop in &mut frame.path {
                stop.hop = text();
            }
        }
    }
    report
}

/// The report with figures from no machine.
fn absurd() -> GateReport {
    let mut report = report().clone();
    report.began_unix_s = u64::MAX;
    report.took_s = f64::MAX;
    for verdict in &mut report.verdicts {
        verdict.n = u64::MAX;
        verdict.raw_ns = u64::MAX;
        verdict.clean_high_ns = u64::MAX;
        verdict.clean_low_ns = 0;
        verdict.budget_ns = Some(0);
    }
    for run in &mut report.runs {
        run.span_ns = u64::MAX;
        for span in &mut run.spans {
            span.raw_histogram = "*".to_owned();
            span.blame
                .values_mut()
                .for_each(|frames| *frames = u64::MAX);
        }
        for slice in &mut run.timeline {
            *slice = Slice {
                at_ns: u64::MAX,
                frames: u64::MAX,
                max_ns: u64::MAX,
                tainted: u64::MAX,
                gap_ns: u64::MAX,
                shed: u64::MAX,
                depth_max: u64::MAX,
            };
        }
        for stop in run.worst.iter_mut().flat_map(|frame| &mut frame.path) {
            stop.wait_ns = u64::MAX;
            stop.service_ns = u64::MAX;
        }
    }
    report
}

/// One report for each word, and those with nothing in them.
fn all() -> Vec<GateReport> {
    let mut lost = report().clone();
    lost.verdicts[0].word = Word::Loss;
    lost.word = Word::Loss;
    lost.partial = true;
    lost.runs[0].ledger.closed = false;
    let mut compared = report().clone();
    compared.base = Some("main".to_owned());
    compared.base_runs = compared.runs.clone();
    for verdict in &mut compared.verdicts {
        verdict.change = Some(Change {
            base_ns: 700,
            ratio: 1.31,
            low: 1.28,
            high: 1.34,
            allowed: 1.05,
            null_low: 0.99,
            null_high: 1.01,
            blocks: 6,
        });
    }
    let empty = GateReport {
        schema: SCHEMA,
        ..GateReport::default()
    };
    vec![report().clone(), lost, compared, empty, hostile(), absurd()]
}

#[test]
fn what_was_written_is_read_back() {
    for given in all() {
        let text = to_json(&given).unwrap();
        assert_eq!(from_json("x", &text).unwrap(), given);
    }
    let mut unreadable = report().clone();
    unreadable.took_s = f64::NAN;
    assert!(
        to_json(&unreadable)
            .unwrap_err()
            .to_string()
            .contains("took_s")
            || unreadable.took_s.is_nan()
    );
}

#[test]
fn what_is_no_report_is_refused_with_words() {
    let whole = to_json(report()).unwrap();
    let other = whole.replacen("\"schema\": 1", "\"schema\": 7", 1);
    let without = whole.replacen("\"verdicts\"", "\"verdict\"", 1);
    let refused = |text: &str| from_json("a.json", text).unwrap_err();
    for (text, words) in [
        (&whole[..whole.len() / 2], "a.json is cut"),
        ("", "a.json is cut"),
        (
            other.as_str(),
            "speaks schema 7 (hopline 0.1.0); this program reads schema 1",
        ),
        ("{\"schema\": \"x\"}", "speaks schema \"x\""),
        ("{}", "no field \"schema\""),
        ("[]", "not a gate's report"),
        (without.as_str(), "missing field `verdicts`"),
    ] {
        let error = refused(text);
        assert!(error.to_string().contains(words), "{error}");
        assert!(!error.hint().is_empty());
    }
    assert!(matches!(refused(&other), ReadError::Schema { .. }));
}

/// Attributes that both schemas of JUnit ask for, and children in the order of the stricter one.
#[test]
fn junit_has_the_common_shape_and_every_verdict() {
    for report in all() {
        let text = junit(&report);
        let tree = roxmltree::Document::parse(&text).unwrap();
        let root = tree.root_element();
        assert_eq!(
            (root.tag_name().name(), root.attributes().count()),
            ("testsuites", 0)
        );
        let suites: Vec<_> = root
            .children()
            .filter(roxmltree::Node::is_element)
            .collect();
        assert_eq!(suites.len(), 1);
        let suite = suites[0];
        let number = |name: &str| suite.attribute(name).unwrap().parse::<usize>().unwrap();
        for name in ["id", "package", "name", "hostname"] {
            assert!(!suite.attribute(name).unwrap().is_empty(), "{name}");
        }
        assert_eq!(
            suite.attribute("timestamp").unwrap().len(),
            "2026-02-14T09:30:00".len()
        );
        let children: Vec<&str> = suite
            .children()
            .filter(|node| node.is_element())
            .map(|node| node.tag_name().name())
            .collect();
        assert_eq!(children.first(), Some(&"properties"));
        assert_eq!(children[children.len() - 2..], ["system-out", "system-err"]);
        assert!(
            children[1..children.len() - 2]
                .iter()
                .all(|name| *name == "testcase")
        );
        let with = |name: &str| {
            tree.descendants()
                .filter(|node| node.has_tag_name(name))
                .count()
        };
        assert_eq!(number("tests"), with("testcase"));
        assert_eq!(number("failures"), with("failure"));
        assert_eq!(number("errors"), with("error"));
        assert_eq!(number("skipped"), with("skipped"));
        assert_eq!(
            with("testcase"),
            report.verdicts.len() + usize::from(report.partial)
        );
        let of = |word| {
            report
                .verdicts
                .iter()
                .filter(|verdict| verdict.word == word)
                .count()
        };
        assert_eq!(with("failure"), of(Word::Fail));
        assert_eq!(with("skipped"), of(Word::Inconclusive));
        assert_eq!(with("error"), of(Word::Loss) + usize::from(report.partial));
        for case in tree
            .descendants()
            .filter(|node| node.has_tag_name("testcase"))
        {
            assert!(
                ["name", "classname", "time"]
                    .iter()
                    .all(|name| case.attribute(*name).is_some())
            );
            assert!(case.children().filter(roxmltree::Node::is_element).count() <= 1);
            for fault in case
                .children()
                .filter(|node| node.has_tag_name("failure") || node.has_tag_name("error"))
            {
                assert!(fault.attribute("type").is_some() && fault.attribute("message").is_some());
            }
        }
    }
}

#[test]
fn annotations_are_single_commands_worst_first_and_few() {
    let mut many = report().clone();
    let verdict = many.verdicts[0].clone();
    many.verdicts.extend((0..30_u64).map(|at| Verdict {
        word: Word::Fail,
        clean_ns: 10_000 + at,
        budget_ns: Some(1_000),
        ..verdict.clone()
    }));
    for report in all().into_iter().chain([many]) {
        let text = annotations(&report);
        let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
        for line in text.lines() {
            let kind = ["error", "warning", "notice"]
                .into_iter()
                .find(|kind| line.starts_with(&format!("::{kind} title=")))
                .unwrap_or_else(|| panic!("{line}"));
            *kinds.entry(kind).or_default() += 1;
            // A property ends at the first bare colon; a second command would begin a line.
            let (title, message) = line.split_once("::").unwrap().1.split_once("::").unwrap();
            assert!(
                !title.split_once('=').unwrap().1.contains([',', ':']),
                "{line}"
            );
            assert!(!message.contains('\r') && !message.is_empty(), "{line}");
        }
        assert!(
            kinds
                .values()
                .all(|count| *count <= ANNOTATIONS_PER_KIND_MAX),
            "{kinds:?}"
        );
        let failed = report
            .verdicts
            .iter()
            .filter(|verdict| verdict.word >= Word::Fail)
            .count();
        assert_eq!(
            kinds.get("error").copied().unwrap_or(0),
            failed.min(ANNOTATIONS_PER_KIND_MAX)
        );
        if failed > ANNOTATIONS_PER_KIND_MAX {
            assert!(text.contains(&format!(
                "title={} more",
                failed - ANNOTATIONS_PER_KIND_MAX + 1
            )));
            assert!(
                text.lines().next().unwrap().contains("10.0us"),
                "the worst is first"
            );
        }
    }
    assert!(annotations(&hostile()).contains("%250A"));
}

#[test]
fn the_summary_stays_below_its_limit_and_says_what_is_missing() {
    for report in all() {
        let text = step_summary(&report);
        assert!(text.starts_with("## ") && text.len() <= SUMMARY_BYTES_MAX);
        assert!(!text.contains("<script") && !text.replace("\\]", "").contains("]("));
        // Nine columns, whatever is in them.
        for row in text.lines().filter(|line| line.starts_with('|')) {
            let bars = row.replace("\\|", "").matches('|').count();
            assert_eq!(bars, 10, "{row}");
        }
    }
    let mut huge = report().clone();
    let verdict = huge.verdicts[0].clone();
    huge.verdicts.extend((0..20_000).map(|_| verdict.clone()));
    huge.notes = vec!["x".repeat(900); 2_000];
    let text = step_summary(&huge);
    assert!(text.len() <= SUMMARY_BYTES_MAX, "{}", text.len());
    assert!(text.contains("more verdicts had no room here"));
    assert!(text.contains("What to do"));
}

#[test]
fn logs_hold_the_histograms_of_the_report_under_their_tags() {
    let text = hlog(report(), &report().runs).unwrap();
    assert!(text.contains("#[Histogram log format version 1.3]\n"));
    let mut found: BTreeMap<String, Histogram<u64>> = BTreeMap::new();
    let mut intervals = 0;
    for entry in IntervalLogIterator::new(text.as_bytes()) {
        if let LogEntry::Interval(interval) = entry.unwrap() {
            intervals += 1;
            let histogram = decode(interval.encoded_histogram()).unwrap();
            let tag = interval.tag().unwrap().as_str().to_owned();
            match found.get_mut(&tag) {
                Some(sum) => sum.add(histogram).unwrap(),
                None => {
                    found.insert(tag, histogram);
                }
            }
        }
    }
    assert_eq!(intervals, 3 * 16 * 2);
    for span in &report().runs[0].spans {
        let frames = |get: fn(&SpanAnalysis) -> u64| -> u64 {
            let spans = report().runs.iter().flat_map(|run| &run.spans);
            spans
                .filter(|other| (&other.hop, &other.of) == (&span.hop, &span.of))
                .map(get)
                .sum()
        };
        assert_eq!(
            found[&tag(&span.hop, &span.of, "raw")].len(),
            frames(|span| span.n)
        );
        assert_eq!(
            found[&tag(&span.hop, &span.of, "clean")].len(),
            frames(|span| span.n_clean)
        );
    }
    for report in all() {
        // Only the absurd one holds what is no histogram.
        let is_readable = report
            .runs
            .iter()
            .flat_map(|run| &run.spans)
            .all(|span| span.raw_histogram != "*");
        let result = hlog(&report, &report.runs);
        assert_eq!(result.is_ok(), is_readable);
        if let Err(error) = result {
            assert!(
                error
                    .to_string()
                    .contains("raw histogram of btc->book wait in run 1"),
                "{error}"
            );
        }
        assert_eq!(
            hlog(&report, &report.runs).is_ok_and(|text| text.contains("Partial")),
            report.partial
        );
    }
}

/// The page is XML too, so that another's parser can say whether every text stayed in its place.
fn well_formed(page: &str) -> roxmltree::Document<'_> {
    let options = roxmltree::ParsingOptions {
        allow_dtd: true,
        ..roxmltree::ParsingOptions::default()
    };
    roxmltree::Document::parse_with_options(page, options).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn the_page_is_whole_asks_for_nothing_and_can_be_read_aloud() {
    let reports = all();
    let pages = reports.iter().map(page);
    let both = Comparison::new(
        [&reports[0], &reports[4]],
        [HOSTILE.to_owned(), "b".to_owned()],
    );
    for page in pages.chain([comparison(&both)]) {
        let tree = well_formed(&page);
        let mut ids: Vec<&str> = tree
            .descendants()
            .filter_map(|node| node.attribute("id"))
            .collect();
        for node in tree.descendants().filter(roxmltree::Node::is_element) {
            let name = node.tag_name().name();
            assert!(
                !["script", "iframe", "img", "object", "embed"].contains(&name),
                "{name}"
            );
            for attribute in node.attributes() {
                let value = attribute.value();
                assert!(!attribute.name().starts_with("on") && attribute.name() != "src");
                if attribute.name() == "href" {
                    let inside = value.strip_prefix('#').is_some_and(|id| ids.contains(&id));
                    assert!(inside || value == "data:,", "{value}");
                }
                assert!(!value.contains("NaN") && !value.contains("inf%"), "{value}");
            }
            if name == "svg" {
                let hidden = node
                    .ancestors()
                    .any(|node| node.attribute("aria-hidden").is_some());
                assert!(
                    hidden
                        || node
                            .attribute("aria-label")
                            .is_some_and(|label| !label.is_empty())
                );
            }
            if name == "th" {
                assert!(node.attribute("scope").is_some());
            }
        }
        let style = tree
            .descendants()
            .find(|node| node.has_tag_name("style"))
            .unwrap();
        let style = style.text().unwrap();
        assert!(!style.contains("url(") && !style.contains("@import"));
        assert!(style.contains("prefers-color-scheme: dark"));
        let all = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), all, "an id stands twice");
    }
}

#[test]
fn the_page_shows_every_verdict_with_its_word_sign_and_figures() {
    let text = page(report());
    let tree = well_formed(&text);
    let table = tree
        .descendants()
        .find(|node| node.attribute("class") == Some("verdicts"))
        .unwrap();
    let rows: Vec<String> = table
        .descendants()
        .filter(|node| node.has_tag_name("tr"))
        .skip(1)
        .map(|row| {
            row.descendants()
                .filter_map(|node| node.text())
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    assert_eq!(rows.len(), report().verdicts.len());
    for (row, verdict) in rows.iter().zip(&report().verdicts) {
        let (word, sign) = match verdict.word {
            Word::Pass => ("PASS", "✓"),
            Word::PassClean => ("PASS_CLEAN", "≈"),
            Word::Inconclusive => ("INCONCLUSIVE", "?"),
            Word::Fail => ("FAIL", "✗"),
            Word::Loss => ("LOSS", "!"),
        };
        assert!(row.contains(word) && row.contains(sign), "{row}");
    }
    for id in [
        "next",
        "verdicts",
        "percentiles",
        "timeline",
        "blame",
        "worst",
        "ledger",
        "loops",
        "host",
        "reproduce",
    ] {
        assert!(
            tree.descendants()
                .any(|node| node.attribute("id") == Some(id)),
            "{id}"
        );
    }
    let plots = tree
        .descendants()
        .filter(|node| node.attribute("class") == Some("percentiles"))
        .count();
    assert_eq!(plots, 5 * 2 + 1);
}

#[test]
fn a_partial_report_says_so_everywhere_and_is_not_in_the_trend() {
    let dir = tempfile::tempdir().unwrap();
    let mut partial = report().clone();
    partial.partial = true;
    let files = write_all(&partial, dir.path()).unwrap();
    assert_eq!(files.len(), 6);
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap().to_lowercase();
        assert!(text.contains("partial"), "{}", file.display());
    }
    assert!(!dir.path().join(TREND_JSONL).exists());
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
        assert_eq!(write_all(report(), &out).unwrap()[0], out.join(GATE_JSON));
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
    assert_eq!((*written, path.clone()), (1, dir.path().join(REPORT_HTML)));
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
        &whole.replacen("\"schema\": 1", "\"schema\": 2", 1),
    );
    let missing = dir.path().join("missing.json");
    for (args, code, words) in [
        (vec![missing.as_path()], 74, "cannot read"),
        (vec![dir.path()], 74, "cannot read"),
        (vec![&cut], 64, "is cut"),
        (vec![&foreign], 64, "speaks schema 2"),
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
