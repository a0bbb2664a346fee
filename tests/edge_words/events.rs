//! Events and notices: canonical, with their keys in the order of the protocol, and of a value that a client finds again.

use hopline::base::Reason;
use hopline::base::limits::{EDGE_INTEGER_MAX, EDGE_PROSE_BYTES_MAX};
use hopline::edge::event::{
    BeyondFigures, Body, CostUpdate, DagEdge, DagMutated, DagNode, Disconnect, EdgeActive, Error,
    ExecutionComplete, Gap, GapWhy, Hello, HopFigures, HopStats, Kind, NodeMetrics, NodeState,
    Percentiles, Ping, Place, Pong, Refusal, Role, Sample, SampleHop, Shed, ShedWhy, Snapshot,
    State, Subscribed, placed, with_skip,
};
use hopline::edge::sum::entry;
use hopline::edge::{Code, Epoch, FaultCode, Sum};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::script::rewritten;

/// What an event has beside its value.
const AROUND: &[&str] = &["type", "ch", "o", "t", "sum", "skip", "head"];

/// Texts of all characters, control characters and quotes among them more often than by chance.
fn text() -> impl Strategy<Value = String> {
    let any_of = prop_oneof![
        any::<char>(),
        prop::char::range('\0', '\u{7f}'),
        Just('"'),
        Just('\\'),
        Just('\u{2028}'),
        Just('ß'),
    ];
    prop::collection::vec(any_of, 0..24).prop_map(|chars| chars.into_iter().collect())
}

/// Numbers of every size, those at the bound among them.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        (any::<u64>(), 0..64_u32).prop_map(|(number, by)| number >> by),
        EDGE_INTEGER_MAX - 2..EDGE_INTEGER_MAX + 3,
    ]
}

/// The number as it is written.
fn written(number: u64) -> u64 {
    number.min(EDGE_INTEGER_MAX)
}

/// Random contents for one event of each type.
#[derive(Clone, Debug)]
struct Contents {
    texts: Vec<String>,
    numbers: Vec<u64>,
    some: bool,
    role: Role,
}

fn contents() -> impl Strategy<Value = Contents> {
    let texts = prop::collection::vec(text(), 5);
    let numbers = prop::collection::vec(number(), 12);
    (texts, numbers, any::<bool>(), 0..Role::ALL.len()).prop_map(|(texts, numbers, some, role)| {
        Contents {
            texts,
            numbers,
            some,
            role: Role::ALL[role],
        }
    })
}

impl Contents {
    fn maybe(&self, at: usize) -> Option<u64> {
        self.some.then_some(self.numbers[at])
    }

    fn words(&self, at: usize) -> Option<&str> {
        self.some.then_some(self.texts[at].as_str())
    }

    /// Gives `each` the type, the value and what the value should be, of all events.
    fn each(&self, mut each: impl FnMut(Kind, String, Value)) {
        let (t, n) = (&self.texts, &self.numbers);
        let w = |at: usize| written(n[at]);
        let maybe = |at: usize| self.maybe(at).map(written);
        let node = NodeState {
            node_id: &t[0],
            status: &t[1],
            role: self.role,
            metrics: NodeMetrics {
                p50_us: self.maybe(0),
                p99_us: self.maybe(1),
                budget_us: self.maybe(2),
                depth: n[3],
                age_us: n[4],
                shed: n[5],
                tainted_permille: n[6],
            },
            culprit: self.some,
            why: self.words(1),
            fault: self.words(2),
        };
        assert_eq!(node.key(), format!("node:{}", t[0]));
        each(
            Kind::NodeState,
            node.value(),
            json!({
                "node_id": t[0], "status": t[1], "role": self.role.name(),
                "metrics": {
                    "p50_us": maybe(0), "p99_us": maybe(1), "budget_us": maybe(2), "depth": w(3),
                    "age_us": w(4), "shed": w(5), "tainted": w(6),
                },
                "culprit": self.some, "why": self.words(1), "fault": self.words(2),
            }),
        );
        let edge = EdgeActive {
            from: &t[0],
            to: &t[1],
            hop: &t[2],
            rate_per_s: n[0],
            depth: n[1],
            depth_max: n[2],
            capacity: n[3],
            p99_us: self.maybe(4),
            budget_us: self.maybe(5),
            shed: n[6],
        };
        assert_eq!(edge.key(), format!("edge:{}", t[2]));
        each(
            Kind::EdgeActive,
            edge.value(),
            json!({
                "from": t[0], "to": t[1], "hop": t[2], "rate": w(0), "depth": w(1), "depth_max": w(2),
                "capacity": w(3), "p99_us": maybe(4), "budget_us": maybe(5), "shed": w(6),
            }),
        );
        let dag = DagMutated {
            nodes: &[
                DagNode {
                    id: &t[0],
                    role: self.role,
                    core: self.maybe(0),
                },
                DagNode {
                    id: &t[1],
                    role: Role::Sink,
                    core: None,
                },
            ],
            edges: &[DagEdge {
                from: &t[0],
                to: &t[1],
                hop: &t[2],
                capacity: n[1],
                policy: &t[3],
                budget_us: self.maybe(2),
            }],
            name: &t[4],
        };
        assert_eq!(dag.key(), "dag");
        each(
            Kind::DagMutated,
            dag.value(),
            json!({
                "mutation": "line",
                "nodes": [
                    {"id": t[0], "role": self.role.name(), "core": maybe(0)},
                    {"id": t[1], "role": "sink", "core": null},
                ],
                "edges": [{
                    "from": t[0], "to": t[1], "hop": t[2], "capacity": w(1), "policy": t[3],
                    "budget_us": maybe(2),
                }],
                "name": t[4],
            }),
        );
        let cost = CostUpdate {
            spent_ppm: n[0],
            budget_ppm: n[1],
            remaining_permille: n[2],
        };
        assert_eq!(cost.key(), "cost");
        let value = json!({"spent": w(0), "budget": w(1), "remaining": w(2)});
        each(Kind::CostUpdate, cost.value(), value);
        let error = Error {
            code: &t[0],
            message: &t[1],
            temporary: self.some,
            node_id: self.words(2),
        };
        let value = json!({
            "code": t[0], "message": t[1], "temporary": self.some, "node_id": self.words(2),
        });
        each(Kind::Error, error.value(), value);
        let complete = ExecutionComplete {
            cause: &t[0],
            closed: self.some,
            delivered: n[0],
        };
        let value = json!({"results": {"cause": t[0], "closed": self.some, "delivered": w(0)}});
        each(Kind::ExecutionComplete, complete.value(), value);
        let percentiles = |from: usize| Percentiles {
            p50_ns: n[from],
            p90_ns: n[from + 1],
            p99_ns: n[from + 2],
            p999_ns: n[from + 3],
            max_ns: n[from + 4],
        };
        let told = |from: usize| {
            json!({
                "p50_ns": w(from), "p90_ns": w(from + 1), "p99_ns": w(from + 2),
                "p999_ns": w(from + 3), "max_ns": w(from + 4),
            })
        };
        let figures = HopFigures {
            hop: &t[0],
            raw: self.some.then(|| percentiles(0)),
            clean: self.some.then(|| percentiles(5)),
            wait_p99_ns: self.maybe(10),
            service_p99_ns: self.maybe(11),
            depth: n[0],
            depth_max: n[1],
            shed: n[2],
            offered: n[3],
            delivered: n[4],
            gap_ns: self.maybe(6),
            tainted: self.maybe(5),
        };
        let beyond = BeyondFigures {
            hop: &t[1],
            samples: n[5],
            raw: self.some.then(|| percentiles(0)),
            budget_us: self.maybe(6),
        };
        let stats = HopStats {
            hops: &[figures, HopFigures::default()],
            beyond: &[beyond, BeyondFigures::default()],
        };
        let value = json!({"hops": [
            {
                "hop": t[0], "raw": self.some.then(|| told(0)), "clean": self.some.then(|| told(5)),
                "wait_p99_ns": maybe(10), "service_p99_ns": maybe(11), "depth": w(0), "depth_max": w(1),
                "shed": w(2), "offered": w(3), "delivered": w(4),
                "gap_ns": maybe(6), "tainted": maybe(5),
            },
            {
                "hop": "", "raw": null, "clean": null, "wait_p99_ns": null, "service_p99_ns": null,
                "depth": 0, "depth_max": 0, "shed": 0, "offered": 0, "delivered": 0,
                "gap_ns": null, "tainted": null,
            },
        ], "beyond": [
            {"hop": t[1], "samples": w(5), "raw": self.some.then(|| told(0)), "budget_us": maybe(6)},
            {"hop": "", "samples": 0, "raw": null, "budget_us": null},
        ]});
        each(Kind::HopStats, stats.value(), value);
        let hop = |at: usize| SampleHop {
            hop: &t[at],
            after: self.maybe(at),
            at_ns: n[at + 1],
            wait_ns: n[at + 2],
            service_ns: n[at + 3],
            gap_ns: self.maybe(at + 4),
        };
        let sample = Sample {
            id: &t[2],
            source: &t[0],
            left: self.some,
            slowest: !self.some,
            together: n[0],
            total_ns: n[1],
            hops: &[hop(0), hop(1)],
            one_in: n[2],
            shed: n[3],
        };
        let hop = |at: usize| {
            json!({
                "hop": t[at], "after": maybe(at), "at_ns": w(at + 1), "wait_ns": w(at + 2),
                "service_ns": w(at + 3), "gap_ns": maybe(at + 4),
            })
        };
        let value = json!({
            "id": t[2], "source": t[0], "left": self.some, "slowest": !self.some,
            "together": w(0), "total_ns": w(1), "hops": [hop(0), hop(1)], "one_in": w(2),
            "shed": w(3),
        });
        each(Kind::Sample, sample.value(), value);
    }

    /// The notices, each with what it should be.
    fn notices(&self) -> Vec<(String, Value)> {
        let (t, n) = (&self.texts, &self.numbers);
        let w = |at: usize| written(n[at]);
        let epoch = Epoch(n[11]);
        let digits = format!("{:016x}", n[11]);
        let hello = Hello {
            sid: &t[0],
            epoch,
            ping_ms: n[0],
            misses: n[1],
            message_bytes_max: n[2],
            debounce_ms: n[3],
            sample_every: n[5],
            now_ms: n[4],
        };
        let subscribed = Subscribed {
            channel: &t[0],
            epoch,
            offset: n[0],
            recovered: self.some,
            replayed: n[1],
        };
        let gap = Gap {
            channel: &t[0],
            from: n[0],
            to: n[1],
            why: GapWhy::ALL[n[2] as usize % GapWhy::ALL.len()],
        };
        let shed = Shed {
            channel: &t[0],
            count: n[0],
            why: ShedWhy::ALL[n[2] as usize % ShedWhy::ALL.len()],
        };
        let pong = Pong {
            sent_ms: n[0],
            received_us: n[1],
            answered_us: n[2],
        };
        let refusal = Refusal {
            code: FaultCode::ALL[n[0] as usize % FaultCode::ALL.len()],
            message: &t[0],
            temporary: self.some,
        };
        let disconnect = Disconnect {
            code: Code::ALL[n[0] as usize % Code::ALL.len()],
            reason: &t[0],
            retry_after_ms: self.maybe(1),
        };
        let maybe = self.maybe(1).map(written);
        vec![
            (
                hello.text(),
                json!({
                    "type": "hello", "v": 1, "sid": t[0], "epoch": digits, "ping_ms": w(0),
                    "misses": w(1), "max_msg": w(2), "debounce_ms": w(3), "sample": w(5), "now": w(4),
                }),
            ),
            (
                subscribed.text(),
                json!({
                    "type": "subscribed", "ch": t[0], "epoch": digits, "o": w(0),
                    "recovered": self.some, "replayed": w(1),
                }),
            ),
            (
                gap.text(),
                json!({"type": "gap", "ch": t[0], "from": w(0), "to": w(1), "why": gap.why.name()}),
            ),
            (
                shed.text(),
                json!({"type": "shed", "ch": t[0], "n": w(0), "why": shed.why.name()}),
            ),
            (
                Ping { sent_ms: n[0] }.text(),
                json!({"type": "ping", "ts": w(0)}),
            ),
            (
                pong.text(),
                json!({
                    "type": "pong", "ts": w(0), "rx": written(n[1] / 1_000), "tx": written(n[2] / 1_000),
                    "rx_us": w(1), "tx_us": w(2),
                }),
            ),
            (
                refusal.text(),
                json!({
                    "type": "error", "code": refusal.code.name(), "message": t[0],
                    "temporary": self.some,
                }),
            ),
            (
                disconnect.text(),
                json!({
                    "type": "disconnect", "code": disconnect.code.number(), "reason": t[0],
                    "retry_after_ms": maybe,
                }),
            ),
        ]
    }
}

fn read(text: &str) -> Value {
    serde_json::from_str(text).expect(text)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_event_is_canonical_and_its_value_is_found_again(
        contents in contents(),
        channel in text(),
        offset in prop::option::of(number()),
        time_ms in number(),
        sum in prop::option::of(any::<u32>()),
        skipped in prop_oneof![Just(0), number()],
    ) {
        contents.each(|kind, value, expected| {
            assert_eq!(read(&value), expected);
            assert_eq!(rewritten(&value, &[]), value);
            let place = Place { channel: &channel, offset, time_ms, sum };
            let text = placed(kind, &value, &place);
            let sent = with_skip(&text, skipped, time_ms);
            assert_eq!(rewritten(&sent, &[]), sent);
            assert_eq!(rewritten(&sent, AROUND), value);
            let read = read(&sent);
            let number = |key: &str| read.get(key).map(|number| number.as_u64().unwrap());
            assert_eq!(read["type"], kind.name());
            assert_eq!(read["ch"].as_str(), Some(channel.as_str()));
            assert_eq!(number("o"), offset.map(written));
            assert_eq!(number("t"), Some(written(time_ms)));
            assert_eq!(number("sum"), sum.map(u64::from));
            assert_eq!(number("skip"), (skipped > 0).then_some(written(skipped)));
            assert!(!sent.bytes().any(|byte| byte < b' '), "it is one line: {sent:?}");
        });
    }

    #[test]
    fn a_notice_is_canonical_and_says_what_it_should(contents in contents()) {
        for (text, expected) in contents.notices() {
            assert_eq!(read(&text), expected);
            assert_eq!(rewritten(&text, &[]), text);
        }
    }

    #[test]
    fn a_snapshot_is_canonical_and_a_client_comes_to_its_sum(
        all in prop::collection::vec(contents(), 0..4),
        channel in text(),
        offset in number(),
    ) {
        let mut entries: Vec<(String, String)> = Vec::new();
        for (at, contents) in all.iter().enumerate() {
            contents.each(|kind, value, _| entries.push((format!("{}:{at}", kind.name()), value)));
        }
        let pairs = entries.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let sum = Sum::of(pairs.clone());
        let snapshot = Snapshot { channel: &channel, offset, entries: pairs, sum };
        let text = snapshot.text();
        assert_eq!(rewritten(&text, &[]), text);
        let read = read(&text);
        assert_eq!(read["o"], written(offset));
        let data = read["data"].as_object().unwrap();
        assert_eq!(data.len(), entries.len());
        // A client has the values' objects in the order in which they came, and writes them again.
        let mut theirs = Sum::default();
        for (key, value) in &entries {
            assert_eq!(data[key], self::read(value));
            theirs.add(entry(key, &rewritten(value, &[])));
        }
        assert_eq!(read["sum"], theirs.value());
    }
}

/// `order.txt` has one of each, as the protocol writes them.
#[test]
fn keys_stand_in_the_order_of_the_protocol() {
    let texts = |at: usize| ["a", "b", "a->b", "block", "line"][at].to_owned();
    let contents = Contents {
        texts: (0..5).map(texts).collect(),
        numbers: (1..13).collect(),
        some: true,
        role: Role::Source,
    };
    let mut all = Vec::new();
    let place = Place {
        channel: "c/d",
        offset: Some(64),
        time_ms: 99,
        sum: Some(7),
    };
    contents.each(|kind, value, _| all.push(with_skip(&placed(kind, &value, &place), 2, 9)));
    all.extend(contents.notices().into_iter().map(|(text, _)| text));
    let expected: Vec<&str> = include_str!("order.txt").lines().collect();
    assert_eq!(all, expected);
}

#[test]
fn prose_is_bounded_and_names_are_whole() {
    let long = "ä".repeat(EDGE_PROSE_BYTES_MAX);
    let error = Error {
        code: &long,
        message: &long,
        temporary: false,
        node_id: Some(&long),
    };
    let read = read(&error.value());
    assert_eq!(
        read["message"].as_str().unwrap().len(),
        EDGE_PROSE_BYTES_MAX
    );
    assert_eq!(read["code"].as_str(), Some(long.as_str()));
    assert_eq!(read["node_id"].as_str(), Some(long.as_str()));
}
