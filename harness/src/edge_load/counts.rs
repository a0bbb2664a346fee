//! What a load counts beside its checks, and the spans that it measures.
//!
//! Invariant: histograms are the library's, so that their percentiles are those of every other report.

use std::collections::BTreeMap;

use hopline::budget::report::Percentiles;
use hopline::hist::Totals;
use serde::Serialize;

/// Counts by name.
pub(super) type ByName = BTreeMap<String, u64>;

/// Adds one to a count by name.
pub(super) fn add(counts: &mut ByName, name: &str) {
    match counts.get_mut(name) {
        Some(count) => *count += 1,
        None => {
            counts.insert(name.to_owned(), 1);
        }
    }
}

/// What is counted of connections.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Counts {
    /// Connections begun, those that came to nothing included.
    pub(super) begun: u64,
    /// Those that came to nothing, by reason.
    pub(super) failed: ByName,
    /// Those that the server did not let in, by status or code.
    pub(super) refused: ByName,
    /// Those that ended, by code, or by how they ended without one.
    pub(super) closed: ByName,
    /// Those that were cut by this load.
    pub(super) cut: u64,
    /// Connections that were lost, or cut, after the client was live.
    pub(super) lost: u64,
    /// Clients that will not come back, since they are told not to.
    pub(super) given_up: u64,
    /// Bytes that came.
    pub(super) bytes: u64,
    /// Reads that brought some.
    pub(super) reads: u64,
    /// Acknowledgements sent.
    pub(super) acks: u64,
    /// Pings of those that send without end.
    pub(super) flooded: u64,
    /// What the server would not do, by code.
    pub(super) errors: ByName,
}

/// Signs of life.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Beats {
    /// Heartbeats of the server.
    pub(super) heard: u64,
    /// Those that came more than a tenth of their time too late.
    pub(super) late: u64,
    /// Pings of the clients.
    pub(super) pings: u64,
    /// Answers to them.
    pub(super) pongs: u64,
    /// Pings that were not answered before the next one was due.
    pub(super) unanswered: u64,
    /// Connections on which nothing came for as many heartbeats as may be missed.
    pub(super) silent: u64,
}

/// Spans, in nanoseconds.
#[derive(Clone, Debug)]
pub(super) struct Spans {
    /// From when a client was to connect until it did.
    pub(super) connect_late: Totals,
    /// From when it was to connect until the server's hello.
    pub(super) hello: Totals,
    /// Until its first snapshot.
    pub(super) snapshot: Totals,
    /// Until it was live: all channels are followed, and all that there was has come.
    pub(super) live: Totals,
    /// From when a connection was lost until the client was live again.
    pub(super) again: Totals,
    /// From when the line had an event until it came, by both walls' clocks.
    pub(super) delay: Totals,
    /// Between two reads of a connection that brought events.
    pub(super) between: Totals,
    /// How late heartbeats were.
    pub(super) beat_late: Totals,
    /// From a client's ping until its answer.
    pub(super) pong: Totals,
    /// What a turn of this load's own loop took.
    pub(super) turn: Totals,
}

impl Default for Spans {
    fn default() -> Spans {
        let empty = || Totals::new(&[]).unwrap_or_else(|_| unreachable!("no limits are in bounds"));
        Spans {
            connect_late: empty(),
            hello: empty(),
            snapshot: empty(),
            live: empty(),
            again: empty(),
            delay: empty(),
            between: empty(),
            beat_late: empty(),
            pong: empty(),
            turn: empty(),
        }
    }
}

/// The spans' percentiles.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct SpanReport {
    pub(crate) connect_late_ns: Percentiles,
    pub(crate) hello_ns: Percentiles,
    pub(crate) snapshot_ns: Percentiles,
    pub(crate) live_ns: Percentiles,
    pub(crate) live_again_ns: Percentiles,
    pub(crate) event_delay_ns: Percentiles,
    pub(crate) between_ns: Percentiles,
    pub(crate) heartbeat_late_ns: Percentiles,
    pub(crate) pong_ns: Percentiles,
    pub(crate) turn_ns: Percentiles,
}

impl From<&Spans> for SpanReport {
    fn from(spans: &Spans) -> SpanReport {
        SpanReport {
            connect_late_ns: Percentiles::of(&spans.connect_late),
            hello_ns: Percentiles::of(&spans.hello),
            snapshot_ns: Percentiles::of(&spans.snapshot),
            live_ns: Percentiles::of(&spans.live),
            live_again_ns: Percentiles::of(&spans.again),
            event_delay_ns: Percentiles::of(&spans.delay),
            between_ns: Percentiles::of(&spans.between),
            heartbeat_late_ns: Percentiles::of(&spans.beat_late),
            pong_ns: Percentiles::of(&spans.pong),
            turn_ns: Percentiles::of(&spans.turn),
        }
    }
}
