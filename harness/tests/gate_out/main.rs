//! What is made of a gate's report: each format by the rules of those who read it.

mod files;
mod fixture;
mod pages;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use hopline_harness::gate::model::*;
use hopline_harness::gate::out::annotations::{ANNOTATIONS_PER_KIND_MAX, annotations};
use hopline_harness::gate::out::histogram::decode;
use hopline_harness::gate::out::hlog::{hlog, tag};
use hopline_harness::gate::out::json::{ReadError, from_json, to_json};
use hopline_harness::gate::out::junit::junit;
use hopline_harness::gate::out::markdown::{SUMMARY_BYTES_MAX, step_summary};

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
    report.head_hash = Some(text());
    report.arguments = vec![text(), text()];
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
                slowed: u64::MAX,
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
    let mut unjudged = report().clone();
    unjudged.verdicts.clear();
    vec![
        report().clone(),
        lost,
        compared,
        empty,
        unjudged,
        hostile(),
        absurd(),
    ]
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
    let other = whole.replacen(&format!("\"schema\": {SCHEMA}"), "\"schema\": 7", 1);
    let other_words =
        format!("speaks schema 7 (hopline 0.1.0); this program reads schema {SCHEMA}");
    let without = whole.replacen("\"verdicts\"", "\"verdict\"", 1);
    let refused = |text: &str| from_json("a.json", text).unwrap_err();
    for (text, words) in [
        (&whole[..whole.len() / 2], "a.json is cut"),
        ("", "a.json is cut"),
        (other.as_str(), other_words.as_str()),
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

/// What is wrong with a JUnit file: attributes that both schemas ask for, children in the order of the stricter one,
/// counts that do not add up.
fn junit_faults(text: &str) -> Vec<String> {
    let tree = match roxmltree::Document::parse(text) {
        Ok(tree) => tree,
        Err(error) => return vec![error.to_string()],
    };
    let mut faults = Vec::new();
    let root = tree.root_element();
    if root.tag_name().name() != "testsuites" || root.attributes().count() > 0 {
        faults.push("the root".to_owned());
    }
    let Some(suite) = root.children().find(|node| node.has_tag_name("testsuite")) else {
        return vec!["no suite".to_owned()];
    };
    for name in ["id", "package", "name", "hostname"] {
        if suite.attribute(name).is_none_or(str::is_empty) {
            faults.push(format!("no {name}"));
        }
    }
    let timestamp = suite.attribute("timestamp").unwrap_or_default();
    if timestamp.len() != "2026-02-14T09:30:00".len() {
        faults.push(format!("timestamp {timestamp}"));
    }
    let order = ["properties", "testcase", "system-out", "system-err"];
    let places: Vec<Option<usize>> = suite
        .children()
        .filter(roxmltree::Node::is_element)
        .map(|node| order.iter().position(|name| node.has_tag_name(*name)))
        .collect();
    if places.contains(&None) || !places.is_sorted() || !places.ends_with(&[Some(2), Some(3)]) {
        faults.push("the order of the suite's parts".to_owned());
    }
    for (attribute, element) in [
        ("tests", "testcase"),
        ("failures", "failure"),
        ("errors", "error"),
        ("skipped", "skipped"),
    ] {
        let found = tree
            .descendants()
            .filter(|node| node.has_tag_name(element))
            .count();
        if suite.attribute(attribute) != Some(&found.to_string()) {
            faults.push(format!("{attribute} is not {found}"));
        }
    }
    for case in tree
        .descendants()
        .filter(|node| node.has_tag_name("testcase"))
    {
        let has_all = ["name", "classname", "time"]
            .iter()
            .all(|name| case.attribute(*name).is_some());
        let parts: Vec<_> = case
            .children()
            .filter(roxmltree::Node::is_element)
            .collect();
        let is_typed = |node: &roxmltree::Node<'_, '_>| {
            node.has_tag_name("skipped") || node.attribute("type").is_some()
        };
        if !has_all || parts.len() > 1 || !parts.iter().all(is_typed) {
            faults.push(format!("testcase {:?}", case.attribute("name")));
        }
    }
    faults
}

#[test]
fn junit_has_the_common_shape_and_every_verdict() {
    for report in all() {
        let text = junit(&report);
        assert_eq!(junit_faults(&text), Vec::<String>::new());
        let tree = roxmltree::Document::parse(&text).unwrap();
        let with = |name: &str| {
            tree.descendants()
                .filter(|node| node.has_tag_name(name))
                .count()
        };
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
    }
    let good = junit(report());
    for (from, to, words) in [
        ("<failure type=\"FAIL\"", "<failure", "testcase"),
        ("failures=\"1\"", "failures=\"0\"", "failures is not 1"),
        ("<system-err></system-err>", "", "order"),
        ("&gt;", ">\u{1}", "XML"),
        ("hostname=\"", "hostname=\"\" x=\"", "no hostname"),
    ] {
        let planted = good.replacen(from, to, 1);
        assert_ne!(planted, good, "{from}");
        let found = junit_faults(&planted).join("; ");
        assert!(
            found.contains(words) || (words == "XML" && !found.is_empty()),
            "{from}: {found}"
        );
    }
}

#[test]
fn what_is_reported_only_turns_nothing_red() {
    let mut report = report().clone();
    for verdict in &mut report.verdicts {
        verdict.reported_only = verdict.word >= Word::Inconclusive;
    }
    report.word = Word::PassClean;
    let text = junit(&report);
    assert_eq!(junit_faults(&text), Vec::<String>::new());
    assert!(text.contains("failures=\"0\"") && text.contains("skipped=\"2\""));
    assert!(text.contains("reported only: FAIL, clean 1.25us"));
    let text = annotations(&report);
    assert!(
        text.lines().all(|line| line.starts_with("::notice")),
        "{text}"
    );
    assert!(text.contains("11 passed, 2 reported only.\n"), "{text}");
    let text = step_summary(&report);
    assert!(text.contains("✗ FAIL, reported only") && !text.contains("What to do"));
    report.verdicts[0].word = Word::Loss;
    assert!(
        junit(&report).contains("errors=\"1\""),
        "a loss always counts"
    );
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
        // Ten columns, whatever is in them.
        for row in text.lines().filter(|line| line.starts_with('|')) {
            let bars = row.replace("\\|", "").matches('|').count();
            assert_eq!(bars, 11, "{row}");
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
