//! A real capture, replayed at a pace that overloads the line: what is missing in the log of what left is what the ledger says,
//! kind by kind.
//!
//! A policy is the settings of the hop's table; what it promises stands beside it.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::time::Duration;

use hopline::config::{Case, CaseFiles, Overrides, SourceText};
use hopline::feed::{Decoder, Message, Symbols, parse_line};
use hopline::io::{Driver, LineEvent, LineReader};
use hopline::topology::{Registry, Report, Stop};
use hopline::{adapter, stages};
use hopline_harness::overload::line::{is_of, with_settings};
use serde_json::Value;

#[path = "../../tests/common/data.rs"]
mod data;

const CAPTURE: &str = "market/binance_usdm_btcusdt_20240808.gz";

const HOP: &str = "in->book";

/// 272 messages a second on average, two hundred times as fast, into a book that does some 5,000: also a build without
/// optimisation and a busy machine offer it several times what it can do.
const LINE: &str = r#"
[line]
name = "capture"
pin = "off"
drain = "20s"

[[source]]
name = "in"
kind = "replay"
file = "FILE"
speed = "200x"
decode = "binance"
symbol = "BTCUSDT"

[[stage]]
name = "book"
kind = "book"
symbols = ["BTCUSDT"]
takes = "200us"

[[sink]]
name = "tops"
kind = "blackhole"

[[hop]]
from = "in"
to = "book"
depth = 1024
when_full = "block"

[[hop]]
from = "book"
to = "tops"
depth = 4096

[[thread]]
name = "feed"
run = ["in"]
wait = "yield"

[[thread]]
name = "market"
run = ["book", "tops", "sink-log"]
wait = "yield"
"#;

/// What may stand in the hop's table, and what it promises.
struct Policy {
    settings: &'static str,
    /// Kinds of which nothing may be missing.
    whole: &'static [&'static str],
}

const DROP_NEWEST: Policy = Policy {
    settings: "when_full = \"drop_newest\"",
    whole: &[],
};

/// A policy for each kind: changes of the book are all needed, of tickers the latest, of trades those that are not old.
const BY_KIND: Policy = Policy {
    settings: r#"when_full = "drop_newest"

[[hop.class]]
name = "changes"
kinds = ["depthUpdate", "snapshot"]
when_full = "block"

[[hop.class]]
name = "tickers"
kinds = ["bookTicker"]
when_full = "conflate"
depth = 16

[[hop.class]]
name = "trades"
kinds = ["trade"]
deadline = "20ms"
"#,
    whole: &["depthUpdate", "snapshot"],
};

/// A message as the log has it: its id, and the one before it where it names one.
type Line = (u64, Option<u64>);

/// Messages by kind, in their order.
type Kinds = BTreeMap<String, Vec<Line>>;

/// What the capture holds.
fn captured(file: &Path) -> Kinds {
    let mut driver = Driver::real().unwrap();
    let mut lines = LineReader::open(&mut driver, file, 1 << 20).unwrap();
    let symbols = Symbols::new(&["BTCUSDT"]).unwrap();
    let mut decoder = Decoder::new(symbols, Some("BTCUSDT")).unwrap();
    let mut kinds = Kinds::new();
    while !lines.at_end() {
        let line = match lines.next_line() {
            Some(LineEvent::Line(line)) => line,
            Some(LineEvent::Bad(_)) => panic!("the capture has a bad line"),
            None => {
                lines.fill(&mut driver, 256 << 10).unwrap();
                continue;
            }
        };
        let (_, json) = parse_line(line).unwrap();
        let (kind, line) = match decoder.decode(json).unwrap() {
            Message::BookTicker(ticker) => ("bookTicker", (ticker.update_id, None)),
            Message::Trade(trade) => ("trade", (trade.trade_id, None)),
            Message::Depth { head, .. } => ("depthUpdate", (head.last_id, head.prev())),
            Message::Snapshot { head, .. } => ("snapshot", (head.last_id, None)),
        };
        kinds.entry(kind.to_owned()).or_default().push(line);
    }
    kinds
}

/// What the log holds.
fn logged(file: &Path) -> Kinds {
    let mut kinds = Kinds::new();
    for line in std::fs::read_to_string(file).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let kind = line["kind"].as_str().unwrap().to_owned();
        let line = (line["id"].as_u64().unwrap(), line["prev"].as_u64());
        kinds.entry(kind).or_default().push(line);
    }
    kinds
}

/// What the ledger says is lost of each kind on the hop.
fn lost(report: &Report) -> BTreeMap<String, u64> {
    let mut lost: BTreeMap<String, u64> = BTreeMap::new();
    for hop in report.hops.iter().filter(|one| is_of(&one.name, &[HOP])) {
        let by_kind = hop.shed_by_kind.iter().chain(&hop.discarded_by_kind);
        for (kind, reasons) in by_kind {
            *lost.entry(kind.clone()).or_default() += reasons.values().sum::<u64>();
        }
    }
    lost
}

/// Places at which a change of the book does not follow the one before it.
fn breaks(log: &Kinds) -> usize {
    let changes = log.get("depthUpdate").map_or(&[][..], Vec::as_slice);
    let follows = |pair: &&[Line]| pair[1].1 == Some(pair[0].0);
    changes.windows(2).filter(|pair| !follows(pair)).count()
}

/// Whether `log` is what is left of `all` when some are taken out.
fn is_left_of(log: &[Line], all: &[Line]) -> bool {
    let mut log: VecDeque<&Line> = log.iter().collect();
    for line in all {
        if log.front() == Some(&line) {
            log.pop_front();
        }
    }
    log.is_empty()
}

fn run(capture: &Path, log: &Path, policy: &Policy) -> Report {
    let line = LINE.replace("FILE", capture.to_str().unwrap());
    let files = CaseFiles {
        line: SourceText::new(
            "line.toml",
            with_settings(&line, HOP, policy.settings).unwrap(),
        ),
        load: None,
        budget: None,
    };
    let overrides = Overrides {
        sink_log: Some(log.to_owned()),
        ..Overrides::default()
    };
    let registry = stages::register(adapter::register(Registry::new()));
    let case = Case::parse("capture", files).unwrap();
    let line = case
        .draft(&registry, &overrides)
        .and_then(|draft| draft.check());
    let line = line.unwrap_or_else(|problems| panic!("{problems}"));
    let mut running = line.start().unwrap();
    let cause = running.watch(&Stop::after(Duration::from_secs(120)), |_| {});
    assert_eq!(cause, "finished");
    running.end(cause)
}

/// Runs the capture under a policy and holds the log against the ledger; gives the log.
fn add_up(data: &Path, policy: &Policy) -> Kinds {
    let capture = data.join(CAPTURE);
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log.ndjson");
    let report = run(&capture, &log, policy);
    assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
    assert!(report.faults.is_empty(), "{:?}", report.faults);
    let (all, log) = (captured(&capture), logged(&log));
    let lost = lost(&report);
    let none = Vec::new();
    for (kind, all) in &all {
        let left = log.get(kind).unwrap_or(&none);
        let missing = (all.len() - left.len()) as u64;
        assert_eq!(
            missing,
            lost.get(kind).copied().unwrap_or(0),
            "{kind}: {lost:?}"
        );
        assert!(
            is_left_of(left, all),
            "{kind}: what left is not what came, in its order"
        );
        assert!(
            missing == 0 || !policy.whole.contains(&kind.as_str()),
            "{kind}: {missing} missing"
        );
    }
    assert!(
        log.keys().all(|kind| all.contains_key(kind)),
        "{:?}",
        log.keys()
    );
    assert!(
        lost.values().sum::<u64>() > 0,
        "the line was not overloaded"
    );
    log
}

#[test]
fn what_is_missing_of_a_capture_is_what_the_ledger_says_kind_by_kind() {
    let test = "what_is_missing_of_a_capture_is_what_the_ledger_says_kind_by_kind";
    let Some(data) = data::data_dir(test) else {
        return;
    };
    let log = add_up(&data, &DROP_NEWEST);
    // Whatever comes without room goes, changes of the book as well: that is what a policy for each kind is for.
    assert!(breaks(&log) > 0);
}

#[test]
fn a_policy_for_each_kind_keeps_the_chain_of_changes_whole() {
    let test = "a_policy_for_each_kind_keeps_the_chain_of_changes_whole";
    let Some(data) = data::data_dir(test) else {
        return;
    };
    let log = add_up(&data, &BY_KIND);
    assert_eq!(breaks(&log), 0);
    assert!(log["depthUpdate"].len() > 1_000 && !log["bookTicker"].is_empty());
}

#[test]
fn a_chain_that_lacks_a_link_is_seen_and_so_is_what_never_came() {
    let change = |prev, id| (id, Some(prev));
    let mut log = Kinds::new();
    log.insert(
        "depthUpdate".to_owned(),
        vec![change(5, 9), change(9, 12), change(12, 20)],
    );
    assert_eq!(breaks(&log), 0);
    let all = log["depthUpdate"].clone();
    log.get_mut("depthUpdate").unwrap().remove(1);
    assert_eq!(breaks(&log), 1);
    assert!(is_left_of(&log["depthUpdate"], &all));
    assert!(!is_left_of(&[change(12, 20), change(5, 9)], &all));
    assert!(!is_left_of(&[change(5, 9), change(5, 9)], &all));
}
