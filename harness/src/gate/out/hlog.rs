//! `.hlog`: the histograms of every run as an interval log, for HdrHistogram's own tools.
//!
//! A line is one span of one run; its tag is `HOP.SPAN.raw` or `HOP.SPAN.clean`. Values are nanoseconds, and so is
//! the third column, the largest value of the line. Runs follow each other as if there were no time between them.
//!
//! ```text
//! HistogramLogProcessor -i head.hlog -tag 'btc->book.service.clean' -outputValueUnitRatio 1
//! ```
//!
//! Every reader finds the same counts in the same buckets. Of a quantile whose rank is no whole number (p99.9 of 16,798
//! frames) Java and Rust take the next higher rank, Python's reader the nearest, which may be one frame lower.
//!
//! Source: HdrHistogram's log format 1.3 (`HistogramLogWriter.java`), written by the port's own writer.
//!
//! Invariant: readers find the counts that `gate.json` holds, under a tag that says whose they are.

use std::time::{Duration, SystemTime};

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use super::histogram::{HistogramError, decode};
use crate::gate::model::{END_TO_END, GateReport, RunAnalysis};

/// Seconds since 1970 up to the year 9999: a log has them with three decimals, which are exact up to there.
const LAST_UNIX_S: u64 = 253_402_300_799;

/// Why there is no log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {which} histogram of {hop} {of} in run {run} cannot be read: {why}")]
pub struct HlogError {
    /// `raw` or `clean`.
    which: &'static str,
    hop: String,
    of: String,
    run: usize,
    why: HistogramError,
}

/// The tag of a span's lines: no comma, space or line's end, which the format keeps for itself.
#[must_use]
pub fn tag(hop: &str, of: &str, which: &str) -> String {
    let name = if of == END_TO_END {
        format!("{hop}.{which}")
    } else {
        format!("{hop}.{of}.{which}")
    };
    let plain = |c: char| {
        if c == ',' || c.is_whitespace() || c.is_control() {
            '_'
        } else {
            c
        }
    };
    name.chars().map(plain).collect()
}

/// The runs of head, or those of base, as an interval log.
///
/// # Errors
/// A histogram in the report cannot be read.
pub fn hlog(report: &GateReport, runs: &[RunAnalysis]) -> Result<String, HlogError> {
    let began = SystemTime::UNIX_EPOCH + Duration::from_secs(report.began_unix_s.min(LAST_UNIX_S));
    let mut bytes = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let one_line = |text: &str| text.replace(['\n', '\r'], " ");
    let mut head = IntervalLogWriterBuilder::new();
    head.add_comment(&format!(
        "[Logged with hopline {}]",
        one_line(&report.version)
    ))
    .add_comment("[Histogram log format version 1.3]");
    if report.partial {
        head.add_comment("[Partial: the gate was cut short]");
    }
    head.add_comment(&format!(
        "[Case: {}; values in nanoseconds]",
        one_line(&report.case)
    ))
    .with_start_time(began)
    .with_base_time(began);
    // A vector takes everything: what can fail below is a histogram.
    let Ok(mut log) = head.begin_log_with(&mut bytes, &mut serializer) else {
        return Ok(String::new());
    };
    let mut since = Duration::ZERO;
    for (at, run) in runs.iter().enumerate() {
        let span = Duration::from_nanos(run.span_ns);
        for analysis in &run.spans {
            for (which, text, frames) in [
                ("raw", &analysis.raw_histogram, analysis.n),
                ("clean", &analysis.clean_histogram, analysis.n_clean),
            ] {
                if frames == 0 && text.is_empty() {
                    continue;
                }
                let fault = |why| HlogError {
                    which,
                    hop: analysis.hop.clone(),
                    of: analysis.of.clone(),
                    run: at + 1,
                    why,
                };
                let histogram = decode(text).map_err(fault)?;
                let name = tag(&analysis.hop, &analysis.of, which);
                log.write_histogram(&histogram, since, span, Tag::new(&name))
                    .map_err(|why| fault(HistogramError::of(&why)))?;
            }
        }
        since = since.saturating_add(span);
    }
    drop(log);
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
