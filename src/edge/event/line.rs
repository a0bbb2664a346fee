//! How the line is: the events of its channels.
//!
//! | channel | event | key | delivered |
//! |---|---|---|---|
//! | `dag/line` | [`NodeState`] | `node:NAME` | the newest of each key |
//! | | [`EdgeActive`] | `edge:HOP` | |
//! | | [`DagMutated`] | `dag` | |
//! | | [`CostUpdate`] | `cost` | |
//! | `alerts/line` | [`Error`], [`ExecutionComplete`] | | every one, until it is acknowledged |
//! | `stats/line` | [`HopStats`] | | as long as the client keeps up; no offsets |
//! | `samples/line` | [`Sample`] | | as well |
//!
//! A field that ends in `_ns` is in nanoseconds, `_us` in microseconds, `_ms` in milliseconds, `_ppm` in millionths, `_permille` in
//! thousandths; all of them are whole. Names are those of the line's spec.
//!
//! Invariant: two states that clients should tell apart have two keys.

use super::{Body, Kind, State};
use crate::edge::json::Object;

crate::reasons! {
    /// What a node is to its line.
    pub enum Role {
        /// It brings messages in.
        Source = "source",
        /// It works on them.
        Stage = "stage",
        /// It takes them out.
        Sink = "sink",
    }
}

/// The figures of the hop into a node: of the slowest, where it has several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeMetrics {
    /// Half of its messages were faster, from when they were offered until the node was done with them; none where no message was
    /// measured, as at a source.
    pub p50_us: Option<u64>,
    /// 99 of 100 were faster.
    pub p99_us: Option<u64>,
    /// What its 99th percentile may be, if the budget says so.
    pub budget_us: Option<u64>,
    /// Messages that wait.
    pub depth: u64,
    /// How long the oldest of them has waited.
    pub age_us: u64,
    /// Messages that were dropped on purpose, since the start.
    pub shed: u64,
    /// How many of its messages a gap of the host touched.
    pub tainted_permille: u64,
}

/// A node's state and figures.
///
/// ```
/// use hopline::edge::event::{Body, NodeMetrics, NodeState, Role, State};
/// let node = NodeState {
///     node_id: "book",
///     status: "run",
///     role: Role::Stage,
///     metrics: NodeMetrics { p50_us: Some(3), p99_us: Some(21), budget_us: Some(20), ..NodeMetrics::default() },
///     culprit: true,
///     why: Some("it works 98 % of its time"),
///     fault: None,
/// };
/// assert_eq!(node.key(), "node:book");
/// assert_eq!(
///     node.value(),
///     concat!(
///         r#"{"node_id":"book","status":"run","role":"stage","#,
///         r#""metrics":{"p50_us":3,"p99_us":21,"budget_us":20,"depth":0,"age_us":0,"shed":0,"tainted":0},"#,
///         r#""culprit":true,"why":"it works 98 % of its time","fault":null}"#,
///     )
/// );
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeState<'a> {
    /// Its name.
    pub node_id: &'a str,
    /// Where it is in its life, as [`stage::State`](crate::stage::State) names it.
    pub status: &'a str,
    /// What it is to the line.
    pub role: Role,
    /// The figures of the hop into it.
    pub metrics: NodeMetrics,
    /// Whether it is the part of the line that makes messages late.
    pub culprit: bool,
    /// What makes it so, in words.
    pub why: Option<&'a str>,
    /// What went wrong with it, in words.
    pub fault: Option<&'a str>,
}

impl Body for NodeState<'_> {
    const KIND: Kind = Kind::NodeState;

    fn members(&self, to: &mut Object<'_>) {
        let metrics = &self.metrics;
        to.text("node_id", self.node_id);
        to.text("status", self.status);
        to.word("role", self.role);
        to.object("metrics", |to| {
            to.number_or_null("p50_us", metrics.p50_us);
            to.number_or_null("p99_us", metrics.p99_us);
            to.number_or_null("budget_us", metrics.budget_us);
            to.number("depth", metrics.depth);
            to.number("age_us", metrics.age_us);
            to.number("shed", metrics.shed);
            to.number("tainted", metrics.tainted_permille);
        });
        to.flag("culprit", self.culprit);
        to.prose_or_null("why", self.why);
        to.prose_or_null("fault", self.fault);
    }
}

impl State for NodeState<'_> {
    fn key(&self) -> String {
        format!("node:{}", self.node_id)
    }
}

/// What passes over a hop.
///
/// Its key is the hop's name and not `from` and `to`: two nodes may be joined by several hops, one for each port or class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EdgeActive<'a> {
    /// The node that writes it.
    pub from: &'a str,
    /// The node that reads it.
    pub to: &'a str,
    /// Its name, `from->to` as a rule.
    pub hop: &'a str,
    /// Messages that were delivered in the last second.
    pub rate_per_s: u64,
    /// Messages that wait.
    pub depth: u64,
    /// Most that waited since the event before.
    pub depth_max: u64,
    /// Slots that it has.
    pub capacity: u64,
    /// 99 of 100 messages were faster, from when they were offered until the reader was done with them, if any was measured.
    pub p99_us: Option<u64>,
    /// What that may be, if the budget says so.
    pub budget_us: Option<u64>,
    /// Messages that were dropped on purpose, since the start.
    pub shed: u64,
}

impl Body for EdgeActive<'_> {
    const KIND: Kind = Kind::EdgeActive;

    fn members(&self, to: &mut Object<'_>) {
        to.text("from", self.from);
        to.text("to", self.to);
        to.text("hop", self.hop);
        to.number("rate", self.rate_per_s);
        to.number("depth", self.depth);
        to.number("depth_max", self.depth_max);
        to.number("capacity", self.capacity);
        to.number_or_null("p99_us", self.p99_us);
        to.number_or_null("budget_us", self.budget_us);
        to.number("shed", self.shed);
    }
}

impl State for EdgeActive<'_> {
    fn key(&self) -> String {
        format!("edge:{}", self.hop)
    }
}

/// A node of the DAG.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DagNode<'a> {
    /// Its name.
    pub id: &'a str,
    /// What it is to the line.
    pub role: Role,
    /// The core that its loop is pinned to.
    pub core: Option<u64>,
}

/// A hop of the DAG.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DagEdge<'a> {
    /// The node that writes it.
    pub from: &'a str,
    /// The node that reads it.
    pub to: &'a str,
    /// Its name.
    pub hop: &'a str,
    /// Slots that it has.
    pub capacity: u64,
    /// What gives way when it is full, in the words of the spec.
    pub policy: &'a str,
    /// What its 99th percentile may be, if the budget says so.
    pub budget_us: Option<u64>,
}

/// The line's DAG, all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DagMutated<'a> {
    /// Its nodes.
    pub nodes: &'a [DagNode<'a>],
    /// Its hops.
    pub edges: &'a [DagEdge<'a>],
    /// The line's name.
    pub name: &'a str,
}

impl Body for DagMutated<'_> {
    const KIND: Kind = Kind::DagMutated;

    fn members(&self, to: &mut Object<'_>) {
        // A line is planned as a whole, so that a DAG changes as a whole.
        to.text("mutation", "line");
        to.objects("nodes", self.nodes, |to, node| {
            to.text("id", node.id);
            to.word("role", node.role);
            to.number_or_null("core", node.core);
        });
        to.objects("edges", self.edges, |to, edge| {
            to.text("from", edge.from);
            to.text("to", edge.to);
            to.text("hop", edge.hop);
            to.number("capacity", edge.capacity);
            to.text("policy", edge.policy);
            to.number_or_null("budget_us", edge.budget_us);
        });
        to.text("name", self.name);
    }
}

impl State for DagMutated<'_> {
    fn key(&self) -> String {
        "dag".to_owned()
    }
}

/// How much of the latency error budget is spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CostUpdate {
    /// How many messages were over a limit, of all.
    pub spent_ppm: u64,
    /// How many may be.
    pub budget_ppm: u64,
    /// What is left of the budget; 0 also once it is overdrawn.
    pub remaining_permille: u64,
}

impl Body for CostUpdate {
    const KIND: Kind = Kind::CostUpdate;

    fn members(&self, to: &mut Object<'_>) {
        to.number("spent", self.spent_ppm);
        to.number("budget", self.budget_ppm);
        to.number("remaining", self.remaining_permille);
    }
}

impl State for CostUpdate {
    fn key(&self) -> String {
        "cost".to_owned()
    }
}

/// Something went wrong with the line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Error<'a> {
    /// What, as a word of a closed enum.
    pub code: &'a str,
    /// The same for people.
    pub message: &'a str,
    /// Whether it ends by itself.
    pub temporary: bool,
    /// The node that it happened to.
    pub node_id: Option<&'a str>,
}

impl Body for Error<'_> {
    const KIND: Kind = Kind::Error;

    fn members(&self, to: &mut Object<'_>) {
        to.text("code", self.code);
        to.prose("message", self.message);
        to.flag("temporary", self.temporary);
        to.text_or_null("node_id", self.node_id);
    }
}

/// The line has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExecutionComplete<'a> {
    /// Why.
    pub cause: &'a str,
    /// Whether every equation of the ledger holds.
    pub closed: bool,
    /// Messages that left by sinks.
    pub delivered: u64,
}

impl Body for ExecutionComplete<'_> {
    const KIND: Kind = Kind::ExecutionComplete;

    fn members(&self, to: &mut Object<'_>) {
        to.object("results", |to| {
            to.text("cause", self.cause);
            to.flag("closed", self.closed);
            to.number("delivered", self.delivered);
        });
    }
}

/// How long messages took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Percentiles {
    /// Half of them were faster.
    pub p50_ns: u64,
    /// 90 of 100 were faster.
    pub p90_ns: u64,
    /// 99 of 100.
    pub p99_ns: u64,
    /// 999 of 1000.
    pub p999_ns: u64,
    /// The slowest.
    pub max_ns: u64,
}

impl Percentiles {
    fn members(&self, to: &mut Object<'_>) {
        to.number("p50_ns", self.p50_ns);
        to.number("p90_ns", self.p90_ns);
        to.number("p99_ns", self.p99_ns);
        to.number("p999_ns", self.p999_ns);
        to.number("max_ns", self.max_ns);
    }
}

/// Latencies and counts of a hop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HopFigures<'a> {
    /// Its name.
    pub hop: &'a str,
    /// All messages since the start, from when they were offered until the reader was done with them; if any was
    /// measured.
    pub raw: Option<Percentiles>,
    /// Those that no gap of the host touched, where the line is watched for such.
    pub clean: Option<Percentiles>,
    /// 99 of 100 waited for less until they were taken, if any was measured.
    pub wait_p99_ns: Option<u64>,
    /// 99 of 100 were worked on for less, if any was measured.
    pub service_p99_ns: Option<u64>,
    /// Messages that wait.
    pub depth: u64,
    /// Most that waited since the event before.
    pub depth_max: u64,
    /// Messages that were dropped on purpose, since the start.
    pub shed: u64,
    /// Messages that were offered, since the start.
    pub offered: u64,
    /// Messages that were delivered, since the start.
    pub delivered: u64,
    /// How long gaps of the host lasted since the event before, all loops of the line together, where it is watched for such.
    pub gap_ns: Option<u64>,
    /// Messages that a gap of the host touched, since the start, where the line is watched for such.
    pub tainted: Option<u64>,
}

/// Latencies of a hop beyond the line: of samples on their way to a client's screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BeyondFigures<'a> {
    /// Its name.
    pub hop: &'a str,
    /// Samples since the start.
    pub samples: u64,
    /// How long they took, if there are any.
    pub raw: Option<Percentiles>,
    /// What the 99th percentile may be, if the budget says so.
    pub budget_us: Option<u64>,
}

/// Latencies and counts of all hops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HopStats<'a> {
    /// One for each hop, in the order of the DAG.
    pub hops: &'a [HopFigures<'a>],
    /// One for each hop beyond the line, in the order of the way.
    pub beyond: &'a [BeyondFigures<'a>],
}

impl Body for HopStats<'_> {
    const KIND: Kind = Kind::HopStats;

    fn members(&self, to: &mut Object<'_>) {
        to.objects("hops", self.hops, |to, hop| {
            to.text("hop", hop.hop);
            for (name, of) in [("raw", &hop.raw), ("clean", &hop.clean)] {
                match of {
                    Some(of) => to.object(name, |to| of.members(to)),
                    None => to.null(name),
                }
            }
            to.number_or_null("wait_p99_ns", hop.wait_p99_ns);
            to.number_or_null("service_p99_ns", hop.service_p99_ns);
            to.number("depth", hop.depth);
            to.number("depth_max", hop.depth_max);
            to.number("shed", hop.shed);
            to.number("offered", hop.offered);
            to.number("delivered", hop.delivered);
            to.number_or_null("gap_ns", hop.gap_ns);
            to.number_or_null("tainted", hop.tainted);
        });
        to.objects("beyond", self.beyond, |to, hop| {
            to.text("hop", hop.hop);
            to.number("samples", hop.samples);
            match &hop.raw {
                Some(raw) => to.object("raw", |to| raw.members(to)),
                None => to.null("raw"),
            }
            to.number_or_null("budget_us", hop.budget_us);
        });
    }
}

/// A hop on the way of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SampleHop<'a> {
    /// Its name.
    pub hop: &'a str,
    /// The place in the list of the hop that it came from; none of the first one.
    pub after: Option<u64>,
    /// From when the message was due until it was offered to the hop.
    pub at_ns: u64,
    /// How long it waited on it.
    pub wait_ns: u64,
    /// How long it was worked on behind it.
    pub service_ns: u64,
    /// For how much of that the host had taken the core away, where the line is watched for such.
    pub gap_ns: Option<u64>,
}

/// The way of one message.
///
/// ```
/// use hopline::edge::event::{Body, Sample, SampleHop};
/// let hop = SampleHop { hop: "in->book", at_ns: 90, wait_ns: 200, service_ns: 710, ..SampleHop::default() };
/// let sample = Sample { id: "3b9aca00", source: "in", left: true, total_ns: 1_000, hops: &[hop], ..Sample::default() };
/// assert_eq!(
///     sample.value(),
///     concat!(
///         r#"{"id":"3b9aca00","source":"in","left":true,"slowest":false,"together":0,"total_ns":1000,"#,
///         r#""hops":[{"hop":"in->book","after":null,"at_ns":90,"wait_ns":200,"service_ns":710,"gap_ns":null}],"#,
///         r#""one_in":0,"shed":0}"#,
///     )
/// );
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample<'a> {
    /// What tells it from others of its source: when it was due, as hexadecimal digits.
    pub id: &'a str,
    /// The node that it began at.
    pub source: &'a str,
    /// Whether it has left the line; if not, a stage has absorbed it or a hop has shed it.
    pub left: bool,
    /// Whether it is the slowest of those that were followed since the last time that one was told.
    pub slowest: bool,
    /// Messages that entered with it at the same time, of which it is the slowest; it is one of them.
    pub together: u64,
    /// From when it was due until the last of it has left, or was done with.
    pub total_ns: u64,
    /// The hops that it took, in the order in which it was offered to them.
    pub hops: &'a [SampleHop<'a>],
    /// Of so many messages one is followed.
    pub one_in: u64,
    /// Followed messages that were not told since the event before.
    pub shed: u64,
}

impl Body for Sample<'_> {
    const KIND: Kind = Kind::Sample;

    fn members(&self, to: &mut Object<'_>) {
        to.text("id", self.id);
        to.text("source", self.source);
        to.flag("left", self.left);
        to.flag("slowest", self.slowest);
        to.number("together", self.together);
        to.number("total_ns", self.total_ns);
        to.objects("hops", self.hops, |to, hop| {
            to.text("hop", hop.hop);
            to.number_or_null("after", hop.after);
            to.number("at_ns", hop.at_ns);
            to.number("wait_ns", hop.wait_ns);
            to.number("service_ns", hop.service_ns);
            to.number_or_null("gap_ns", hop.gap_ns);
        });
        to.number("one_in", self.one_in);
        to.number("shed", self.shed);
    }
}
