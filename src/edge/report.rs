//! What an edge did, for the report of a run.
//!
//! Invariant: values only; maps by reason hold only what is not zero.

use std::collections::BTreeMap;

use serde::Serialize;

use super::admission::TurnedAway;
use super::code::Code;
use super::counts::{Counts, Ended};
use super::event::{GapWhy, ShedWhy};
use super::hops::{Hops, Untaken};
use super::problem::Problem;
use super::route::Transport;
use crate::base::Reason;
use crate::budget::BeyondReport;
use crate::budget::report::{ByReason, Percentiles};

/// What an edge has counted and measured at one moment.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Its counts.
    pub counts: Counts,
    /// What samples of the way to a screen took.
    pub hops: Hops,
}

/// Connections of an edge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ConnectionsReport {
    /// Accepted: ended and open together.
    pub accepted: u64,
    /// Open at that moment.
    pub open: u64,
    /// Not let in, by reason; they are among those accepted.
    pub turned_away: ByReason,
    /// Ended, by reason.
    pub ended: ByReason,
    /// Ended by being found dead: `silent` and `stuck`.
    pub half_open: u64,
    /// Told why they end, by code; they are among those ended.
    pub closes: ByReason,
    /// Streams that began, by transport.
    pub streams: ByReason,
    /// Streams that are open, by transport.
    pub streams_open: ByReason,
    /// Requests refused, by problem.
    pub problems: ByReason,
    /// Clients that came back to all that they had missed.
    pub recovered: u64,
    /// Clients that came back to something else.
    pub unrecovered: u64,
    /// Clients whose view was out of step.
    pub resyncs: u64,
}

/// Events of an edge: published, and what became of them for each client that followed their channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EventsReport {
    /// Published, once each.
    pub published: u64,
    /// Not taken by their channel.
    pub unpublished: u64,
    /// Due to clients, once for each: due + again + resent = sent + skipped + shed + covered + waiting +
    /// left.
    pub due: u64,
    /// Due once more to clients that began anew further back.
    pub again: u64,
    /// Critical ones due once more, because they were not acknowledged.
    pub resent: u64,
    /// Sent.
    pub sent: u64,
    /// Not sent, since newer ones stood for them or they were not wanted.
    pub skipped: u64,
    /// Lost by clients, who were told, by reason.
    pub shed: ByReason,
    /// Not sent, since a snapshot had them.
    pub covered: u64,
    /// Waiting at that moment.
    pub waiting: u64,
    /// Waiting when their client left.
    pub left: u64,
    /// Gaps told, by reason.
    pub gaps: ByReason,
}

/// What went out and came in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TrafficReport {
    /// Messages to clients.
    pub messages_out: u64,
    /// Bytes written.
    pub bytes_out: u64,
    /// Writes.
    pub writes: u64,
    /// Messages of clients.
    pub messages_in: u64,
    /// Messages of clients that were refused.
    pub refused: u64,
}

/// Acknowledgements, and how far the clocks of clients are to be believed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AcksReport {
    /// Acknowledgements that came.
    pub acks: u64,
    /// Those of which nothing was taken, by reason.
    pub untaken: ByReason,
    /// Samples that came before they were sent, by their client's clock: they count as zero on `edge.wire`.
    pub clamped: u64,
    /// The least that a sample took on `edge.wire`, in nanoseconds: below zero where a client's clock is behind.
    pub least_ns: Option<i64>,
    /// By how much the clocks may be wrong: half of the round trip that each rests on, in nanoseconds.
    pub uncertain_ns: Percentiles,
}

/// What an edge did, up to one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EdgeReport {
    /// Where it listens.
    pub address: String,
    /// The hops beyond the line.
    pub hops: Vec<BeyondReport>,
    /// Connections.
    pub connections: ConnectionsReport,
    /// Events.
    pub events: EventsReport,
    /// Messages and bytes.
    pub traffic: TrafficReport,
    /// Acknowledgements.
    pub acks: AcksReport,
    /// Whether connections and events add up.
    pub closed: bool,
    /// What does not, in words.
    pub breaches: Vec<String>,
}

fn by_reason<R: Reason>(counts: &[u64]) -> ByReason {
    let all = R::NAMES.iter().zip(counts);
    all.filter(|(_, count)| **count > 0)
        .map(|(name, count)| ((*name).to_owned(), *count))
        .collect()
}

impl EdgeReport {
    /// What the figures say of the edge at that address.
    #[must_use]
    pub fn new(address: String, figures: &Figures) -> EdgeReport {
        let Figures { counts, hops } = figures;
        let lanes = &counts.lanes;
        let breaches = counts.breaches();
        EdgeReport {
            address,
            hops: hops.reports(),
            connections: ConnectionsReport {
                accepted: counts.accepted,
                open: counts.open(),
                turned_away: by_reason::<TurnedAway>(&counts.turned_away),
                ended: by_reason::<Ended>(&counts.ended),
                half_open: counts.half_open(),
                closes: closes(counts),
                streams: by_reason::<Transport>(&counts.streams),
                streams_open: by_reason::<Transport>(&counts.streams_open),
                problems: by_reason::<Problem>(&counts.problems),
                recovered: counts.recovered,
                unrecovered: counts.unrecovered,
                resyncs: counts.resyncs,
            },
            events: EventsReport {
                published: counts.published,
                unpublished: counts.unpublished,
                due: lanes.due,
                again: lanes.again,
                resent: lanes.resent,
                sent: lanes.sent,
                skipped: lanes.skipped,
                shed: by_reason::<ShedWhy>(&lanes.shed),
                covered: lanes.covered,
                waiting: lanes.waiting,
                left: lanes.left,
                gaps: by_reason::<GapWhy>(&lanes.gaps),
            },
            traffic: TrafficReport {
                messages_out: lanes.messages,
                bytes_out: counts.bytes,
                writes: counts.writes,
                messages_in: counts.messages,
                refused: counts.refused,
            },
            acks: AcksReport {
                acks: counts.acks,
                untaken: by_reason::<Untaken>(&hops.untaken()),
                clamped: hops.clamped(),
                least_ns: hops.least_ns(),
                uncertain_ns: Percentiles::of(hops.uncertain()),
            },
            closed: breaches.is_empty(),
            breaches,
        }
    }
}

/// By the numbers that clients see.
fn closes(counts: &Counts) -> ByReason {
    let all: BTreeMap<u16, u64> = Code::ALL
        .iter()
        .zip(counts.closes)
        .filter(|(_, count)| *count > 0)
        .map(|(code, count)| (code.number(), count))
        .collect();
    all.into_iter()
        .map(|(code, count)| (code.to_string(), count))
        .collect()
}
