//! The trend over many gates: a history in JSON lines, and the table that Apache Otava reads.
//!
//! A line is one gate, keyed by the case, the host's fingerprint and the time it began: a gate that is rendered
//! again replaces its line. Figures of different hosts are never put in one table. Finding the change points is
//! Otava's work: `otava analyze CASE --config-file otava.yaml`, where the files lie.
//!
//! Source: Otava's CSV importer: a column of times in ISO 8601, columns of numbers, columns of attributes; a cell
//! that is no number is refused.
//!
//! Invariant: a line that cannot be read is an error, never lost; partial gates make no line.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::phrase::moment;
use crate::gate::model::{GateReport, Word};

/// Most gates of a history, of which the oldest go: five years of nights.
pub const HISTORY_ENTRIES_MAX: usize = 2_000;

/// The version of a line; it rises whenever a field changes its meaning or goes.
pub const TREND_SCHEMA: u32 = 1;

/// Columns in front of the metrics.
const ATTRIBUTES: [&str; 3] = ["head", "version", "word"];

/// A figure of a gate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// The quantile of the clean frames.
    pub clean_ns: u64,
    /// That of all frames.
    pub raw_ns: u64,
    /// The share of clean ones.
    pub kept: f64,
}

/// A gate in a history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// [`TREND_SCHEMA`].
    pub schema: u32,
    /// Seconds since 1970, UTC.
    pub at_unix_s: u64,
    /// The host's; `unknown` if it has none.
    pub fingerprint: String,
    /// The case.
    pub case: String,
    /// What was judged.
    pub head: String,
    /// The program's version.
    pub version: String,
    /// The word for the whole gate.
    pub word: Word,
    /// Figures by `hop.span.quantile`; those without clean frames are not there.
    pub metrics: BTreeMap<String, Metric>,
}

/// Why a history cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the history is no gate of schema {TREND_SCHEMA}: {what}")]
pub struct HistoryError {
    line: usize,
    what: String,
}

impl Entry {
    /// The gate as an entry; `None` if it is partial, has no clean figure, or looked for a capacity: its figures are of another
    /// rate each time.
    #[must_use]
    pub fn of(report: &GateReport) -> Option<Entry> {
        let metrics: BTreeMap<String, Metric> = report
            .verdicts
            .iter()
            .filter(|verdict| verdict.n_clean > 0)
            .map(|verdict| {
                let metric = Metric {
                    clean_ns: verdict.clean_ns,
                    raw_ns: verdict.raw_ns,
                    kept: verdict.n_clean as f64 / verdict.n.max(1) as f64,
                };
                (
                    metric_name(&verdict.hop, &verdict.of, &verdict.quantile),
                    metric,
                )
            })
            .collect();
        if report.partial || report.capacity.is_some() || metrics.is_empty() {
            return None;
        }
        let fingerprint = report.host.get("fingerprint");
        Some(Entry {
            schema: TREND_SCHEMA,
            at_unix_s: report.began_unix_s,
            fingerprint: fingerprint.map_or_else(|| "unknown".to_owned(), Clone::clone),
            case: report.case.clone(),
            head: report.head.clone(),
            version: report.version.clone(),
            word: report.word,
            metrics,
        })
    }

    fn key(&self) -> (u64, &str, &str) {
        (self.at_unix_s, &self.case, &self.fingerprint)
    }
}

fn metric_name(hop: &str, of: &str, quantile: &str) -> String {
    if hop == of {
        format!("{hop}.{quantile}")
    } else {
        format!("{hop}.{of}.{quantile}")
    }
}

/// Reads a history; empty lines are nothing.
///
/// # Errors
/// A line that is no [`Entry`] of this schema.
pub fn parse(history: &str) -> Result<Vec<Entry>, HistoryError> {
    let lines = history.lines().enumerate();
    lines
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(at, line)| {
            let fault = |what: String| HistoryError { line: at + 1, what };
            let entry: Entry =
                serde_json::from_str(line).map_err(|error| fault(error.to_string()))?;
            if entry.schema != TREND_SCHEMA {
                return Err(fault(format!("it speaks schema {}", entry.schema)));
            }
            Ok(entry)
        })
        .collect()
}

/// Puts a gate into a history, in the place of the same one if it is there, and in the order of time.
#[must_use]
pub fn with(mut history: Vec<Entry>, entry: Entry) -> Vec<Entry> {
    history.retain(|old| old.key() != entry.key());
    history.push(entry);
    history.sort_by_key(|entry| entry.at_unix_s);
    let over = history.len().saturating_sub(HISTORY_ENTRIES_MAX);
    history.drain(..over);
    history
}

/// A history as JSON lines.
#[must_use]
pub fn lines(history: &[Entry]) -> String {
    let line = |entry| serde_json::to_string(entry).map(|line| line + "\n");
    history
        .iter()
        .filter_map(|entry| line(entry).ok())
        .collect()
}

/// The gates of one case on one kind of host, oldest first, with the metrics that the newest of them has. A gate
/// that lacks one of those is left out, since Otava takes no empty cell.
fn of_same<'a>(history: &'a [Entry], like: &Entry) -> (Vec<&'a Entry>, BTreeSet<&'a String>) {
    let same: Vec<&Entry> = history
        .iter()
        .filter(|entry| entry.case == like.case && entry.fingerprint == like.fingerprint)
        .collect();
    let metrics: BTreeSet<&String> = same
        .last()
        .map_or_else(BTreeSet::new, |newest| newest.metrics.keys().collect());
    let has_all = |entry: &&Entry| metrics.iter().all(|name| entry.metrics.contains_key(*name));
    (same.into_iter().filter(has_all).collect(), metrics)
}

/// The gates of `like`'s case on `like`'s host as CSV: `time`, attributes, and the clean figures in nanoseconds.
#[must_use]
pub fn csv(history: &[Entry], like: &Entry) -> String {
    let (same, metrics) = of_same(history, like);
    let quoted = |text: &str| {
        let text: String = text
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        format!("\"{}\"", text.replace('"', "\"\""))
    };
    let mut out = String::from("time");
    for name in ATTRIBUTES {
        out += &format!(",{name}");
    }
    for name in &metrics {
        out += &format!(",{}", quoted(name));
    }
    out.push('\n');
    for entry in same {
        let word = super::phrase::letters(entry.word);
        out += &moment(entry.at_unix_s);
        for text in [entry.head.as_str(), &entry.version, word] {
            out += &format!(",{}", quoted(text));
        }
        for name in &metrics {
            let clean_ns = entry.metrics.get(*name).map_or(0, |metric| metric.clean_ns);
            out += &format!(",{clean_ns}");
        }
        out.push('\n');
    }
    out
}

/// What Otava has to know of that table: which columns, and that less is better.
#[must_use]
pub fn otava_yaml(history: &[Entry], like: &Entry, csv_name: &str) -> String {
    let (_, metrics) = of_same(history, like);
    // A JSON string is a YAML string.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let mut out = format!(
        "tests:\n  {}:\n    type: csv\n    file: {}\n    time_column: time\n    attributes: [{}]\n    metrics:\n",
        quoted(&like.case),
        quoted(csv_name),
        ATTRIBUTES.join(", ")
    );
    for name in metrics {
        let name = quoted(name);
        out += &format!("      {name}: {{column: {name}, direction: -1, scale: 1}}\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(at_unix_s: u64, names: &[&str]) -> Entry {
        Entry {
            schema: TREND_SCHEMA,
            at_unix_s,
            fingerprint: "zen4-2".to_owned(),
            case: "udp-echo".to_owned(),
            head: "a,\"b\"".to_owned(),
            version: "0.1.0".to_owned(),
            word: Word::PassClean,
            metrics: names
                .iter()
                .map(|name| {
                    let metric = Metric {
                        clean_ns: 10 + at_unix_s % 1_000,
                        raw_ns: 20,
                        kept: 0.5,
                    };
                    ((*name).to_owned(), metric)
                })
                .collect(),
        }
    }

    #[test]
    fn a_gate_replaces_its_own_line_and_stands_in_its_time() {
        let history = with(with(Vec::new(), entry(2, &["a"])), entry(1, &["a"]));
        let history = with(history, entry(2, &["b"]));
        assert_eq!(history, [entry(1, &["a"]), entry(2, &["b"])]);
        assert_eq!(parse(&lines(&history)).unwrap(), history);
        let full: Vec<Entry> = (0..HISTORY_ENTRIES_MAX as u64)
            .map(|at| entry(at, &["a"]))
            .collect();
        let full = with(full, entry(u64::MAX, &["a"]));
        assert_eq!((full.len(), full[0].at_unix_s), (HISTORY_ENTRIES_MAX, 1));
    }

    #[test]
    fn the_table_has_one_host_and_no_empty_cell() {
        let mut other = entry(3, &["a", "b"]);
        other.fingerprint = "another".to_owned();
        let history = [
            entry(0, &["a"]),
            entry(1, &["a", "b"]),
            entry(2, &["a", "b"]),
            other,
        ];
        assert_eq!(
            csv(&history, &history[2]),
            "time,head,version,word,\"a\",\"b\"\n\
             1970-01-01T00:00:01Z,\"a,\"\"b\"\"\",\"0.1.0\",\"PASS_CLEAN\",11,11\n\
             1970-01-01T00:00:02Z,\"a,\"\"b\"\"\",\"0.1.0\",\"PASS_CLEAN\",12,12\n"
        );
    }

    #[test]
    fn a_line_that_is_no_gate_is_an_error() {
        let good = lines(&[entry(1, &["a"])]);
        for (line, words) in [
            ("{", "line 2"),
            ("{\"schema\":1}", "missing field"),
            (&good.replace("\"schema\":1", "\"schema\":9"), "schema 9"),
        ] {
            let error = parse(&format!("{good}{line}")).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
