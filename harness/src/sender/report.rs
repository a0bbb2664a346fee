//! What a lane says that it did.
//!
//! Invariant: values only.

use std::collections::BTreeMap;

use hopline::budget::report::Percentiles;
use serde::Serialize;

use crate::gate::model::{GeneratorAnalysis, Quantiles};

/// What a lane did, as the report has it.
#[derive(Clone, Debug, Serialize)]
pub struct SenderReport {
    /// The source that it fed.
    pub source: String,
    /// Where it sent to.
    pub to: String,
    /// `market`, `datagrams`, `itch`, `deep`, `tops` or the capture's path.
    pub content: String,
    /// The core that the sending thread was bound to, if it was.
    pub core: Option<usize>,
    /// Messages that a made-up exchange has said up to its last packet, on whatever line they left or were lost: as many as a feed
    /// delivers and has lost. Absent for other contents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub said: Option<u64>,
    /// Datagrams that the system took.
    pub sent: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Datagrams that it did not take.
    pub unsent: u64,
    /// Messages that were due and were not tried: more than a second late, or left over at the end. A
    /// capture gets late instead, since its messages build on one another.
    pub missed: u64,
    /// Calls to the system that sent something: fewer than datagrams where several were due at once.
    pub calls: u64,
    /// Messages that were due, a second, without the warm-up.
    pub offered_per_s: f64,
    /// Datagrams that left, a second, without the warm-up.
    pub achieved_per_s: f64,
    /// Times that it had no room for one, and the sender waited.
    pub would_block: u64,
    /// Lines of the capture that are no messages, by reason.
    pub skipped: BTreeMap<&'static str, u64>,
    /// How long after its intended time each datagram left, in nanoseconds, without the warm-up.
    pub late_ns: Percentiles,
    /// Datagrams that came back; absent where none is expected.
    pub returned: Option<u64>,
    /// Datagrams that came back and that the kernel dropped before the sender took them.
    pub kernel_dropped: u64,
    /// From the intended time to the return, in nanoseconds; absent where none is expected.
    pub round_trip_ns: Option<Percentiles>,
    /// What went wrong first, in words.
    pub fault: Option<String>,
}

impl SenderReport {
    /// What a gate asks of it.
    #[must_use]
    pub fn analysis(&self) -> GeneratorAnalysis {
        let late = &self.late_ns;
        GeneratorAnalysis {
            source: self.source.clone(),
            offered_per_s: self.offered_per_s,
            achieved_per_s: self.achieved_per_s,
            missed: self.missed,
            others: 0,
            lateness: Quantiles {
                p50: late.p50,
                p90: late.p90,
                p99: late.p99,
                p99_9: late.p99_9,
                max: late.max,
            },
        }
    }
}
