//! What a server says, as far as a load has to understand it.
//!
//! Events are the same bytes for all clients, but for a `skip` at their end, so a text is told from others by its head alone,
//! which stands in a fixed order: `{"type":…,"ch":…,"o":…,"t":…`. Only what is said to one client is parsed whole.
//!
//! Invariant: a text that is not written as the edge writes is told as such, and never understood half.

use hopline::edge::Kind;
use hopline::edge::sum;
use serde::Deserialize;

/// The head of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head<'a> {
    /// Its type.
    pub(super) kind: &'a str,
    /// The channel, in the form in which JSON has it.
    pub(super) channel: Option<&'a str>,
    /// Its offset.
    pub(super) offset: Option<u64>,
    /// When the line had it, in milliseconds since 1970.
    pub(super) time_ms: Option<u64>,
    /// What comes behind: members with a comma before each, and the brace.
    pub(super) rest: &'a str,
}

/// A text between quotes, with its escapes, and what comes behind the second quote.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('"')?;
    let mut escaped = false;
    for (at, byte) in inner.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some((&inner[..at], &inner[at + 1..])),
            _ => {}
        }
    }
    None
}

/// A whole number, and what comes behind it.
fn number(text: &str) -> Option<(u64, &str)> {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit())?;
    Some((text[..end].parse().ok()?, &text[end..]))
}

impl<'a> Head<'a> {
    /// The head of a text of the edge; none of what is not written as it writes.
    pub(super) fn of(text: &'a str) -> Option<Head<'a>> {
        let (kind, mut rest) = quoted(text.strip_prefix("{\"type\":")?)?;
        let (mut channel, mut offset, mut time_ms) = (None, None, None);
        if let Some(more) = rest.strip_prefix(",\"ch\":") {
            let (name, more) = quoted(more)?;
            (channel, rest) = (Some(name), more);
        }
        if let Some(more) = rest.strip_prefix(",\"o\":") {
            let (value, more) = number(more)?;
            (offset, rest) = (Some(value), more);
        }
        if let Some(more) = rest.strip_prefix(",\"t\":") {
            let (value, more) = number(more)?;
            (time_ms, rest) = (Some(value), more);
        }
        text.ends_with('}').then_some(Head {
            kind,
            channel,
            offset,
            time_ms,
            rest,
        })
    }

    /// Whether it is an event of a channel, and no notice about a connection.
    pub(super) fn is_event(&self) -> bool {
        self.channel.is_some() && self.time_ms.is_some()
    }
}

/// Takes a member that is a number from the end of what stands before an object's last brace.
fn take_last<'a>(open: &'a str, key: &str) -> Option<(u64, &'a str)> {
    let digits = open.bytes().rev().take_while(u8::is_ascii_digit).count();
    let (before, value) = open.split_at(open.len() - digits);
    Some((value.parse().ok()?, before.strip_suffix(key)?))
}

/// The text that all clients get of an event, without its last brace, and the offsets that this client is told of as skipped.
pub(super) fn without_skip(text: &str) -> (&str, u64) {
    let open = text.strip_suffix('}').unwrap_or(text);
    let behind = take_last(open, ",\"head\":").map(|(_, before)| before);
    match behind.and_then(|before| take_last(before, ",\"skip\":")) {
        Some((skip, shared)) => (shared, skip),
        None => (open, 0),
    }
}

/// The members of an event's value, from what comes behind its head up to its last brace, and the sum that it carries.
pub(super) fn members(rest: &str) -> (&str, Option<u32>) {
    let rest = rest.strip_prefix(',').unwrap_or(rest);
    let digits = rest.bytes().rev().take_while(u8::is_ascii_digit).count();
    let (before, value) = rest.split_at(rest.len() - digits);
    let carried = before.strip_suffix("\"sum\":");
    match carried.zip(value.parse().ok()) {
        Some((members, sum)) => (members.strip_suffix(',').unwrap_or(members), Some(sum)),
        None => (rest, None),
    }
}

/// The fields by which an event is one of its key's.
#[derive(Deserialize)]
struct KeyFields {
    #[serde(default)]
    node_id: Option<String>,
    #[serde(default)]
    hop: Option<String>,
}

/// The key of a state channel that an event is the newest value of; none where events of that type have none. `object` is its
/// value.
pub(super) fn key(kind: &str, object: &str) -> Option<String> {
    let fields = || serde_json::from_str::<KeyFields>(object).ok();
    if kind == name(Kind::NodeState) {
        return Some(format!("node:{}", fields()?.node_id?));
    }
    if kind == name(Kind::EdgeActive) {
        return Some(format!("edge:{}", fields()?.hop?));
    }
    if kind == name(Kind::DagMutated) {
        return Some("dag".to_owned());
    }
    (kind == name(Kind::CostUpdate)).then(|| "cost".to_owned())
}

/// The word for a kind.
pub(super) fn name(kind: Kind) -> &'static str {
    hopline::base::Reason::name(kind)
}

/// A snapshot, taken apart: keys with the hashes of their values, and the sum that it carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) entries: Vec<(String, u32)>,
    pub(super) sum: u32,
}

impl Snapshot {
    /// Reads one from what comes behind its head.
    pub(super) fn of(rest: &str) -> Option<Snapshot> {
        let mut rest = rest.strip_prefix(",\"data\":{")?;
        let mut entries = Vec::new();
        while !rest.starts_with('}') {
            let (key, more) = quoted(rest)?;
            let value = value_of(more.strip_prefix(':')?)?;
            rest = &more[1 + value.len()..];
            rest = rest.strip_prefix(',').unwrap_or(rest);
            let key: String = serde_json::from_str(&format!("\"{key}\"")).ok()?;
            let hash = sum::entry(&key, value);
            entries.push((key, hash));
        }
        let (sum, end) = number(rest.strip_prefix("},\"sum\":")?)?;
        let sum = u32::try_from(sum).ok().filter(|_| end == "}")?;
        Some(Snapshot { entries, sum })
    }
}

/// The object at the beginning of a text.
fn value_of(text: &str) -> Option<&str> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<serde::de::IgnoredAny>();
    values.next()?.ok()?;
    let value = &text[..values.byte_offset()];
    value.starts_with('{').then_some(value)
}

/// What is said to one client about its connection or a channel of it.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Notice {
    Hello {
        v: u64,
        sid: String,
        epoch: String,
        ping_ms: u64,
        misses: u64,
    },
    Subscribed {
        ch: String,
        epoch: String,
        o: u64,
        recovered: bool,
        replayed: u64,
    },
    Gap {
        ch: String,
        from: u64,
        to: u64,
        why: String,
    },
    Shed {
        n: u64,
    },
    Ping {
        ts: u64,
    },
    Pong {
        ts: u64,
    },
    Error {
        code: String,
        message: String,
    },
    Disconnect {
        code: u16,
        #[serde(default)]
        retry_after_ms: Option<u64>,
    },
    #[serde(other)]
    Other,
}

impl Notice {
    pub(super) fn of(text: &str) -> Option<Notice> {
        serde_json::from_str(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use hopline::edge::event::{
        Body, CostUpdate, EdgeActive, Hello, NodeMetrics, NodeState, Place, Role, State, placed,
        with_skip,
    };
    use hopline::edge::{Epoch, Sum};

    use super::*;

    const PLACE: Place<'_> = Place {
        channel: "dag/line",
        offset: Some(64),
        time_ms: 1_700_000_000_000,
        sum: Some(7),
    };

    fn node() -> NodeState<'static> {
        NodeState {
            node_id: "a\"b",
            status: "run",
            role: Role::Stage,
            metrics: NodeMetrics::default(),
            culprit: false,
            why: None,
            fault: None,
        }
    }

    #[test]
    fn an_event_comes_apart_into_what_it_was_made_of() {
        let value = node().value();
        let shared = placed(Kind::NodeState, &value, &PLACE);
        for (skip, sum) in [(0, Some(7)), (3, Some(7)), (0, None), (12, None)] {
            let place = Place { sum, ..PLACE };
            let text = with_skip(&placed(Kind::NodeState, &value, &place), skip, 99);
            let (without, told) = without_skip(&text);
            assert_eq!(told, skip);
            let head = Head::of(&text).unwrap();
            assert_eq!((head.kind, head.channel), ("node_state", Some("dag/line")));
            assert_eq!((head.offset, head.time_ms), (Some(64), Some(PLACE.time_ms)));
            let rest = &without[text.len() - head.rest.len()..];
            let (members, carried) = members(rest);
            assert_eq!(carried, sum);
            let object = format!("{{{members}}}");
            assert_eq!(object, value);
            assert_eq!(key(head.kind, &object), Some(node().key()));
        }
        assert_eq!(
            without_skip(&with_skip(&shared, 3, 99)).0,
            without_skip(&shared).0
        );
    }

    #[test]
    fn keys_are_the_server_s_own() {
        let edge = EdgeActive {
            from: "a",
            to: "b",
            hop: "a.x->b",
            ..EdgeActive::default()
        };
        let cost = CostUpdate::default();
        assert_eq!(key("edge_active", &edge.value()), Some(edge.key()));
        assert_eq!(key("cost_update", &cost.value()), Some(cost.key()));
        assert_eq!(key("dag_mutated", "{}"), Some("dag".to_owned()));
        assert_eq!(key("hop_stats", "{}"), None);
    }

    #[test]
    fn a_value_that_ends_as_a_skip_does_is_no_skip() {
        let inner = r#"{"type":"x","ch":"a/b","o":1,"t":2,"in":{"a":1,"skip":3,"head":9}}"#;
        assert_eq!(without_skip(inner), (&inner[..inner.len() - 1], 0));
        let text = r#","a":{"b":1,"sum":4}"#;
        assert_eq!(members(text), (&text[1..], None));
        assert_eq!(members(r#","sum":4"#), ("", Some(4)));
        assert_eq!(members(""), ("", None));
    }

    #[test]
    fn a_snapshot_comes_apart_into_keys_and_hashes() {
        let values = [
            ("cost", CostUpdate::default().value()),
            ("node:a\"b", node().value()),
        ];
        let entries = values.iter().map(|(key, value)| (*key, value.as_str()));
        let snapshot = hopline::edge::event::Snapshot {
            channel: "dag/line",
            offset: 9,
            entries: entries.clone(),
            sum: Sum::of(entries),
        };
        let text = snapshot.text();
        let head = Head::of(&text).unwrap();
        assert_eq!((head.kind, head.offset), ("snapshot", Some(9)));
        let read = Snapshot::of(head.rest).unwrap();
        let mut sum = Sum::default();
        for ((key, hash), (name, value)) in read.entries.iter().zip(&values) {
            assert_eq!((key.as_str(), *hash), (*name, sum::entry(name, value)));
            sum.add(*hash);
        }
        assert_eq!(sum.value(), read.sum);
        let none = r#","data":{},"sum":0}"#;
        assert_eq!(Snapshot::of(none).unwrap().entries, []);
        for bad in [
            "",
            r#","data":{"a":1},"sum":0}"#,
            r#","data":{"a":{}}"#,
            r#","data":{}}"#,
        ] {
            assert_eq!(Snapshot::of(bad), None, "{bad}");
        }
    }

    #[test]
    fn notices_are_read_whole_and_later_ones_are_passed_over() {
        let hello = Hello {
            sid: "f1",
            epoch: Epoch(42),
            ping_ms: 15_000,
            misses: 3,
            message_bytes_max: 65_536,
            debounce_ms: 20,
            sample_every: 16,
            now_ms: 5,
        };
        let Some(Notice::Hello { epoch, ping_ms, .. }) = Notice::of(&hello.text()) else {
            panic!("it is a hello")
        };
        assert_eq!((epoch.as_str(), ping_ms), ("000000000000002a", 15_000));
        assert_eq!(Notice::of(r#"{"type":"later","x":1}"#), Some(Notice::Other));
        assert_eq!(Notice::of(r#"{"type":"gap","ch":"a/b"}"#), None);
        assert_eq!(Notice::of("{"), None);
    }

    #[test]
    fn what_the_edge_does_not_write_has_no_head() {
        for text in [
            "",
            "{}",
            r#"{ "type":"x"}"#,
            r#"{"ch":"a/b","type":"x"}"#,
            r#"{"type":"x"#,
            r#"{"type":"x","ch":"a/b","o":x}"#,
            r#"{"type":"x","ch":"a/b","o":1"#,
        ] {
            assert_eq!(Head::of(text), None, "{text}");
        }
    }
}
