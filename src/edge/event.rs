//! What the server says: events of a channel, and notices about a connection, each as one line of
//! [canonical JSON](crate::edge::json).
//!
//! | file | what is said |
//! |---|---|
//! | [`line`](mod@line) | how the line is: its nodes, hops, errors and figures |
//! | [`notice`] | about a connection or a subscription: who is there, what follows, what is missing |
//! | here | how a text is put together |
//!
//! ```text
//!   event    {"type":"node_state","ch":"dag/line","o":64,"t":MS, VALUE'S MEMBERS, "sum":N,"skip":N}
//!   value    {VALUE'S MEMBERS}
//! ```
//!
//! The value is written once: it is what is hashed for the [check sum](crate::edge::sum), what a snapshot holds, and the middle of
//! the event's text, which all clients share. `sum` stands in it where one is due; `skip` is for one client alone and comes last,
//! so that it can be appended.
//!
//! The same texts go over each transport: as a WebSocket text, as the `data:` of a server-sent event, as a line of NDJSON. None has
//! a line's end in it.
//!
//! Invariant: a text is canonical, and the value of an event is its object without `type`, `ch`, `o`, `t`, `sum`, `skip` and `head`.

pub mod line;
pub mod notice;

pub use line::{
    BeyondFigures, CostUpdate, DagEdge, DagMutated, DagNode, EdgeActive, Error, ExecutionComplete,
    HopFigures, HopStats, NodeMetrics, NodeState, Percentiles, Role, Sample, SampleHop,
};
pub use notice::{
    Disconnect, Gap, GapWhy, Hello, Ping, Pong, Refusal, Shed, ShedWhy, Snapshot, Subscribed,
};

use super::json::{self, Object};
use crate::base::Reason;

crate::reasons! {
    /// What an event or notice is; its name is the text's `type`, and the `event:` of a server-sent event.
    pub enum Kind {
        /// A connection is served, and these are its rules.
        Hello = "hello",
        /// A channel is followed from here on.
        Subscribed = "subscribed",
        /// The whole state of a channel.
        Snapshot = "snapshot",
        /// Offsets that will not come.
        Gap = "gap",
        /// A node's state and figures.
        NodeState = "node_state",
        /// What passes over a hop.
        EdgeActive = "edge_active",
        /// The line's DAG is another one.
        DagMutated = "dag_mutated",
        /// How much of the latency error budget is spent.
        CostUpdate = "cost_update",
        /// Something went wrong: with the line where it has a channel, else with the connection.
        Error = "error",
        /// The line has ended.
        ExecutionComplete = "execution_complete",
        /// Latencies and counts of all hops.
        HopStats = "hop_stats",
        /// The way of one message.
        Sample = "sample",
        /// Events that were dropped for this client.
        Shed = "shed",
        /// A sign of life that wants an answer.
        Ping = "ping",
        /// The answer to a client's ping.
        Pong = "pong",
        /// The connection is about to be closed.
        Disconnect = "disconnect",
    }
}

/// What is said, apart from where it stands.
///
/// ```
/// use hopline::edge::event::{Body, CostUpdate, Ping};
/// assert_eq!(Ping { sent_ms: 12 }.text(), r#"{"type":"ping","ts":12}"#);
/// let cost = CostUpdate { spent_ppm: 12, budget_ppm: 100, remaining_permille: 880 };
/// assert_eq!(cost.value(), r#"{"spent":12,"budget":100,"remaining":880}"#);
/// ```
pub trait Body {
    /// Its type.
    const KIND: Kind;

    /// Writes its members, in the order in which they always stand.
    fn members(&self, to: &mut Object<'_>);

    /// Its value as canonical JSON, from which [`placed`] makes an event.
    fn value(&self) -> String {
        json::object(|to| self.members(to))
    }

    /// The text of a notice: its type and its members. Those of a channel name it themselves, and have no place in it.
    fn text(&self) -> String {
        json::object(|to| {
            to.text("type", Self::KIND.name());
            self.members(to);
        })
    }
}

/// An event whose newest value for a key is all that a late client needs.
pub trait State: Body {
    /// What it is the state of. An event of the same key replaces it.
    fn key(&self) -> String;
}

/// Where an event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// The channel's name.
    pub channel: &'a str,
    /// Its offset; none on a channel without history, whose events no client waits for.
    pub offset: Option<u64>,
    /// When the line had it, in milliseconds since 1970.
    pub time_ms: u64,
    /// The channel's sum once this event is applied, where it is due ([`sum::is_due`](super::sum::is_due)).
    pub sum: Option<u32>,
}

/// Most bytes of an event's text beside its value and its channel's name, whose characters need no escape as a rule.
const FRAME_BYTES: usize = 96;

/// Most bytes that a skip adds to a text.
const SKIP_BYTES: usize = 49;

/// The text of an event with that value, for all clients. Allocates once.
///
/// ```
/// use hopline::edge::event::{Body, CostUpdate, Kind, Place, placed, with_skip};
/// let value = CostUpdate { spent_ppm: 12, budget_ppm: 100, remaining_permille: 880 }.value();
/// let place = Place { channel: "dag/line", offset: Some(7), time_ms: 1_700_000_000_000, sum: None };
/// let text = placed(Kind::CostUpdate, &value, &place);
/// assert_eq!(
///     text,
///     r#"{"type":"cost_update","ch":"dag/line","o":7,"t":1700000000000,"spent":12,"budget":100,"remaining":880}"#
/// );
/// let for_a_slow_client = with_skip(&text, 2, 9);
/// assert!(for_a_slow_client.ends_with(r#""remaining":880,"skip":2,"head":9}"#));
/// ```
///
/// # Panics
/// In debug builds, if `value` is no object as [`Body::value`] writes it.
#[must_use]
pub fn placed(kind: Kind, value: &str, place: &Place<'_>) -> String {
    let members = value
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'));
    debug_assert!(members.is_some(), "a value is an object: {value}");
    let mut out = String::with_capacity(value.len() + place.channel.len() + FRAME_BYTES);
    json::append(&mut out, |to| {
        to.text("type", kind.name());
        to.text("ch", place.channel);
        if let Some(offset) = place.offset {
            to.number("o", offset);
        }
        to.number("t", place.time_ms);
        to.splice(members.unwrap_or_default());
        if let Some(sum) = place.sum {
            to.number("sum", u64::from(sum));
        }
    });
    out
}

/// The text of an event for a client that did not get the `skipped` offsets between the last event sent to it and this one, and will
/// not: newer events of their keys took their places, or will, up to `head`. Until it has come so far its values are those of no one
/// moment, and sums on the way say nothing. Without any it is the text that all others get.
#[must_use]
pub fn with_skip(text: &str, skipped: u64, head: u64) -> String {
    let Some(open) = text.strip_suffix('}').filter(|_| skipped > 0) else {
        return text.to_owned();
    };
    let mut out = String::with_capacity(text.len() + SKIP_BYTES);
    out.push_str(open);
    out.push_str(",\"skip\":");
    json::number(&mut out, skipped);
    out.push_str(",\"head\":");
    json::number(&mut out, head);
    out.push('}');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::Sum;
    use crate::edge::sum::entry;

    const COST: CostUpdate = CostUpdate {
        spent_ppm: 1,
        budget_ppm: 1_000,
        remaining_permille: 999,
    };

    #[test]
    fn what_a_place_has_not_is_left_out() {
        let place = Place {
            channel: "stats/line",
            offset: None,
            time_ms: 5,
            sum: None,
        };
        let text = placed(Kind::CostUpdate, "{}", &place);
        assert_eq!(text, r#"{"type":"cost_update","ch":"stats/line","t":5}"#);
        let place = Place {
            offset: Some(64),
            sum: Some(u32::MAX),
            ..place
        };
        let text = placed(Kind::CostUpdate, "{}", &place);
        let expected = r#"{"type":"cost_update","ch":"stats/line","o":64,"t":5,"sum":4294967295}"#;
        assert_eq!(text, expected);
    }

    #[test]
    fn a_text_has_the_room_it_takes_from_the_start() {
        let place = Place {
            channel: "dag/line",
            offset: Some(u64::MAX),
            time_ms: u64::MAX,
            sum: Some(u32::MAX),
        };
        for kind in Kind::ALL {
            let text = placed(*kind, &COST.value(), &place);
            assert!(text.len() <= COST.value().len() + place.channel.len() + FRAME_BYTES);
        }
        let text = placed(Kind::CostUpdate, &COST.value(), &place);
        assert!(with_skip(&text, u64::MAX, u64::MAX).len() <= text.len() + SKIP_BYTES);
    }

    #[test]
    fn nothing_skipped_is_the_shared_text() {
        let text = COST.text();
        assert_eq!(with_skip(&text, 0, 9), text);
        let skipped = with_skip(&text, 3, 9);
        assert_eq!(
            skipped.strip_suffix(",\"skip\":3,\"head\":9}"),
            text.strip_suffix('}')
        );
    }

    #[test]
    fn the_value_that_is_hashed_is_the_one_that_snapshots_hold() {
        let (key, value) = (COST.key(), COST.value());
        let mut sum = Sum::default();
        sum.add(entry(&key, &value));
        let entries = [(key.as_str(), value.as_str())];
        let snapshot = Snapshot {
            channel: "dag/line",
            offset: 9,
            entries: entries.iter().copied(),
            sum,
        };
        let expected = format!(
            r#"{{"type":"snapshot","ch":"dag/line","o":9,"data":{{"cost":{value}}},"sum":{}}}"#,
            sum.value()
        );
        assert_eq!(snapshot.text(), expected);
    }
}
