//! The report of a run with what only the harness knows: the senders and the warm-up.
//!
//! Invariant: what the line itself reports stays as it is; only keys beside it are added.

use hopline::edge::EdgeReport;
use hopline::topology::{CleanReport, Report};
use serde::Serialize;

use crate::exchange::ExchangeReport;
use crate::listener::ListenerReport;
use crate::sender::{GeneratorGaps, SenderReport};

/// What `--json` prints: the line's report and, beside its keys, those of the harness.
#[derive(Clone, Debug, Serialize)]
pub struct RunReport {
    /// The line's own report.
    #[serde(flatten)]
    pub report: Report,
    /// The senders that fed the line over the loopback; empty where it fed itself.
    pub senders: Vec<SenderReport>,
    /// When the senders' thread did not run; absent where there is none.
    pub sender_gaps: Option<GeneratorGaps>,
    /// The exchange's feeds, where an exchange fed the line.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exchange: Vec<ExchangeReport>,
    /// What listened where the line's sinks send to, since nobody else did.
    pub listeners: Vec<ListenerReport>,
    /// What its edge did up to the end of the line, if it had one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edge: Option<EdgeReport>,
    /// What the host did not touch, if the line was watched for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clean: Option<CleanReport>,
    /// Nanoseconds at the start whose latencies are not in the histograms; counters have them.
    pub warmup_ns: u64,
    /// Most that P99 may lie above P50 from end to end, in nanoseconds, if the case says so.
    pub jitter_budget_ns: Option<u64>,
    /// Most that 99 of a hundred differences between successive messages' spans may be, likewise. A run does not count
    /// them; `gate` does.
    pub ipdv_budget_ns: Option<u64>,
    /// What a person should know of how the threads were placed.
    pub notes: Vec<String>,
}
