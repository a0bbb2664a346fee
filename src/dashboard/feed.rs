//! Looks at a running line, and publishes what is new of it.
//!
//! | channel | what | when |
//! |---|---|---|
//! | `dag/line` | the DAG, each node, each hop, the error budget | what differs from what was published last |
//! | `alerts/line` | what went wrong, and the end | once each |
//! | `stats/line` | latencies and counts of all hops | four times a second, while somebody follows |
//! | `samples/line` | the ways of single messages | likewise, while somebody follows this channel |
//!
//! Invariant: a value that the edge had no room for is published with a later look, as it is then.

use std::collections::BTreeMap;

use crate::base::Reason as _;
use crate::base::limits::{EDGE_FIGURES_NS, EDGE_LOG_EVENTS_DEFAULT};
use crate::budget::BeyondReport;
use crate::budget::report::{BudgetReport, HopReport, Percentiles, StageReport};
use crate::dashboard::Burn;
use crate::dashboard::samples::Samples;
use crate::edge::event::Percentiles as Told;
use crate::edge::event::{
    BeyondFigures, Body, CostUpdate, DagEdge, DagMutated, DagNode, EdgeActive, Error,
    ExecutionComplete, HopFigures, HopStats, NodeMetrics, NodeState, Role, State as StateOf,
};
use crate::edge::{ChannelId, ChannelLimits, Event, Hub, Kind, Lane, NoChannel, Publisher};
use crate::stage::State;
use crate::topology::{CleanReport, Health, Report, Running, Window};

crate::reasons! {
    /// What an alert is about.
    pub enum Alert {
        /// A node has failed: the line drains.
        Failed = "failed",
        /// A node panicked, and goes on or is made anew.
        Panicked = "panicked",
        /// A loop makes no turns, or a node is made anew for nothing.
        NotAlive = "not_alive",
        /// It is alive again.
        AliveAgain = "alive_again",
        /// The latency error budget is spent.
        BudgetSpent = "budget_spent",
    }
}

/// What was seen with a look, for who holds the line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// What is left of the latency error budget, in thousandths, where figures were taken.
    pub remaining_permille: Option<u64>,
}

/// What of a node was told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct NodeTold {
    panics: u64,
    failed: bool,
}

/// Publishes what is new of a line.
#[derive(Debug)]
pub struct Feed {
    dag: ChannelId,
    alerts: ChannelId,
    stats: ChannelId,
    samples: Samples,
    samples_channel: ChannelId,
    window: Option<Window>,
    /// Values as they were published, by key.
    values: BTreeMap<String, String>,
    nodes: BTreeMap<String, NodeTold>,
    /// Why it was not alive at the last look that was published.
    why_not: Vec<String>,
    is_spent: bool,
    figures_ns: Option<u64>,
    /// Delivered by each hop at the last figures.
    delivered: BTreeMap<String, u64>,
    /// How long gaps had lasted then.
    gaps_ns: u64,
    /// The hops beyond the line, as they were told last.
    beyond: Vec<BeyondReport>,
}

impl Feed {
    /// Opens the line's channels.
    ///
    /// # Errors
    /// The hub has as many channels as it may.
    pub fn open(hub: &mut Hub) -> Result<Feed, NoChannel> {
        let limits = ChannelLimits::default();
        let few = ChannelLimits {
            // Half a minute of them: a stream that nobody comes back to.
            events_max: EDGE_LOG_EVENTS_DEFAULT / 8,
            ..limits
        };
        let samples = hub.open_passing("samples/line", few)?;
        Ok(Feed {
            samples: Samples::new(samples),
            samples_channel: samples,
            dag: hub.open("dag/line", Lane::State, limits)?,
            alerts: hub.open("alerts/line", Lane::Critical, limits)?,
            stats: hub.open_passing("stats/line", few)?,
            window: None,
            values: BTreeMap::new(),
            nodes: BTreeMap::new(),
            why_not: Vec::new(),
            is_spent: false,
            figures_ns: None,
            delivered: BTreeMap::new(),
            gaps_ns: 0,
            beyond: Vec::new(),
        })
    }

    /// The hops beyond the line are so: they go out with the next figures.
    pub fn tell_beyond(&mut self, beyond: Vec<BeyondReport>) {
        self.beyond = beyond;
    }

    /// Looks at the line at `now_ns`, and publishes what is new.
    pub fn look(&mut self, running: &mut Running, publisher: &Publisher, now_ns: u64) -> Look {
        self.window = self.window.or_else(|| running.window());
        let health = running.health();
        let mut news = News::default();
        self.alarms(&health, &mut news);
        let wants_samples = publisher.is_followed(self.samples_channel);
        self.samples.look(running, wants_samples);
        let is_time = self
            .figures_ns
            .is_none_or(|ns| now_ns >= ns + EDGE_FIGURES_NS);
        let mut look = Look::default();
        if is_time && (publisher.followed() > 0 || self.figures_ns.is_none()) {
            let report = match self.window {
                Some(window) => running.report_since(window),
                None => running.report(),
            };
            let clean = running.clean();
            let span_ns = self.figures_ns.map(|ns| now_ns - ns);
            let burn = Burn::of_line(&report);
            self.figures(&report, clean.as_ref(), &health, span_ns, burn, &mut news);
            news.events.extend(self.samples.tell());
            look.remaining_permille = Some(burn.remaining_permille);
            self.figures_ns = Some(now_ns);
        }
        self.publish(news, publisher);
        look
    }

    /// Says how the line ended.
    pub fn last(&mut self, report: &Report, publisher: &Publisher) {
        let mut news = News::default();
        let health = Health::default();
        let burn = Burn::of_line(report);
        self.figures(report, None, &health, None, burn, &mut news);
        let cause = report.drain.as_ref().map_or("", |drain| drain.cause);
        let sinks = report.stages.iter().filter(|stage| stage.role == "sink");
        let done = ExecutionComplete {
            cause,
            closed: report.ledger.closed,
            delivered: sinks.map(|sink| sink.forwarded).sum(),
        };
        news.alert(self.alerts, Kind::ExecutionComplete, done.value());
        self.publish(news, publisher);
    }

    /// Hands over what is new; what finds no room is new again at the next look.
    fn publish(&mut self, news: News, publisher: &Publisher) {
        if news.events.is_empty() {
            return;
        }
        match publisher.publish(news.events) {
            Err(events) => self.samples.not_told(&events),
            Ok(()) => {
                self.values.extend(news.values);
                for (node, told) in news.nodes {
                    self.nodes.insert(node, told);
                }
                if let Some(why_not) = news.why_not {
                    self.why_not = why_not;
                }
                self.is_spent = news.is_spent.unwrap_or(self.is_spent);
            }
        }
    }

    /// What went wrong since the last look.
    fn alarms(&self, health: &Health, news: &mut News) {
        for node in &health.nodes {
            let before = self.nodes.get(&node.name).cloned().unwrap_or_default();
            let failed = node.state == State::Failed;
            let panics = node
                .standing
                .map_or(before.panics, |standing| standing.quarantined);
            if failed && !before.failed {
                let words = node.fault.as_deref().unwrap_or("it gave no reason");
                self.alert(Alert::Failed, words, false, Some(&node.name), news);
            }
            if panics > before.panics && !failed {
                let words = format!("{} panicked, {panics} times so far", node.name);
                self.alert(Alert::Panicked, &words, true, Some(&node.name), news);
            }
            let told = NodeTold { panics, failed };
            if told != before {
                news.nodes.push((node.name.clone(), told));
            }
        }
        let why_not = health.why_not();
        // Words have ages in them: what is told once is that it is not alive, and that it is again.
        if why_not.is_empty() != self.why_not.is_empty() {
            match why_not.first() {
                Some(why) => {
                    let loops = health.loops.iter();
                    let node = loops.filter_map(|one| one.node.as_deref());
                    let node = node.into_iter().find(|node| why.contains(node));
                    self.alert(Alert::NotAlive, why, true, node, news);
                }
                None => self.alert(Alert::AliveAgain, "all loops make turns", true, None, news),
            }
            news.why_not = Some(why_not);
        }
    }

    fn alert(
        &self,
        what: Alert,
        words: &str,
        temporary: bool,
        node: Option<&str>,
        news: &mut News,
    ) {
        let error = Error {
            code: what.name(),
            message: words,
            temporary,
            node_id: node,
        };
        news.alert(self.alerts, Kind::Error, error.value());
    }

    fn figures(
        &mut self,
        report: &Report,
        clean: Option<&CleanReport>,
        health: &Health,
        span_ns: Option<u64>,
        burn: Burn,
        news: &mut News,
    ) {
        self.dag(report, news);
        for stage in &report.stages {
            let node = node_state(report, clean, health, stage);
            self.value(&node, news);
        }
        for hop in &report.hops {
            let (from, to) = hop.ends();
            let before = self.delivered.insert(hop.name.clone(), hop.delivered);
            let since = hop.delivered.saturating_sub(before.unwrap_or(0));
            let rate = span_ns.map_or(0, |ns| {
                (u128::from(since) * 1_000_000_000 / u128::from(ns.max(1))) as u64
            });
            let edge = EdgeActive {
                from,
                to,
                hop: &hop.name,
                rate_per_s: rate,
                depth: hop.depth_now,
                depth_max: hop.depth_window_max,
                capacity: hop.depth as u64,
                p99_us: told(&hop.sojourn_ns).map(|told| us(told.p99_ns)),
                budget_us: budget_us(hop),
                shed: hop.shed_once(),
            };
            self.value(&edge, news);
        }
        self.value(
            &CostUpdate {
                spent_ppm: burn.spent_ppm,
                budget_ppm: burn.budget_ppm,
                remaining_permille: burn.remaining_permille,
            },
            news,
        );
        let is_spent = burn.budget_ppm > 0 && burn.remaining_permille == 0;
        if is_spent != self.is_spent {
            if is_spent {
                let words = format!(
                    "{} of a million messages were over a limit, {} may be",
                    burn.spent_ppm, burn.budget_ppm
                );
                self.alert(Alert::BudgetSpent, &words, true, None, news);
            }
            news.is_spent = Some(is_spent);
        }
        let gaps_ns = clean.map(|clean| clean.gaps_ns);
        let gap_ns = gaps_ns.map(|ns| ns.saturating_sub(self.gaps_ns));
        self.gaps_ns = gaps_ns.unwrap_or(0);
        let figures: Vec<HopFigures<'_>> = report
            .hops
            .iter()
            .map(|hop| hop_figures(hop, clean, gap_ns))
            .collect();
        let beyond: Vec<BeyondFigures<'_>> = self.beyond.iter().map(beyond_figures).collect();
        news.events.push(Event {
            channel: self.stats,
            kind: Kind::HopStats,
            key: None,
            value: HopStats {
                hops: &figures,
                beyond: &beyond,
            }
            .value(),
        });
    }

    fn dag(&self, report: &Report, news: &mut News) {
        let core_of = |name: &str| {
            let on = report
                .placement
                .iter()
                .find(|one| one.planned.nodes.iter().any(|node| node == name));
            on.and_then(|one| one.pinned).map(|core| core as u64)
        };
        let nodes: Vec<DagNode<'_>> = report
            .stages
            .iter()
            .map(|stage| DagNode {
                id: &stage.name,
                role: role(stage),
                core: core_of(&stage.name),
            })
            .collect();
        let edges: Vec<DagEdge<'_>> = report
            .hops
            .iter()
            .map(|hop| {
                let (from, to) = hop.ends();
                DagEdge {
                    from,
                    to,
                    hop: &hop.name,
                    capacity: hop.depth as u64,
                    policy: &hop.policy,
                    budget_us: budget_us(hop),
                }
            })
            .collect();
        let dag = DagMutated {
            nodes: &nodes,
            edges: &edges,
            name: &report.line.name,
        };
        self.value(&dag, news);
    }

    /// A value of the channel of states, if it differs from the one that was published.
    fn value(&self, body: &impl StateOf, news: &mut News) {
        let (key, value) = (body.key(), body.value());
        if self.values.get(&key) == Some(&value) {
            return;
        }
        news.events.push(Event {
            channel: self.dag,
            kind: kind_of(body),
            key: Some(key.as_str().into()),
            value: value.clone(),
        });
        news.values.push((key, value));
    }
}

/// What is to be published, and what is then to be remembered.
#[derive(Default)]
struct News {
    events: Vec<Event>,
    values: Vec<(String, String)>,
    nodes: Vec<(String, NodeTold)>,
    why_not: Option<Vec<String>>,
    is_spent: Option<bool>,
}

impl News {
    fn alert(&mut self, channel: ChannelId, kind: Kind, value: String) {
        self.events.push(Event {
            channel,
            kind,
            key: None,
            value,
        });
    }
}

fn kind_of<B: Body>(_: &B) -> Kind {
    B::KIND
}

const fn us(ns: u64) -> u64 {
    ns.div_ceil(1_000)
}

fn role(stage: &StageReport) -> Role {
    match stage.role {
        "source" => Role::Source,
        "sink" => Role::Sink,
        _ => Role::Stage,
    }
}

/// What the 99th percentile of a hop may be.
fn budget_us(hop: &HopReport) -> Option<u64> {
    p99_us(hop.budget.as_ref())
}

fn p99_us(budget: Option<&BudgetReport>) -> Option<u64> {
    let limits = &budget?.limits_ns;
    limits.get("p99").copied().map(us)
}

/// A node with the figures of the hop into it: of the slowest, where there are several.
fn node_state<'a>(
    report: &'a Report,
    clean: Option<&CleanReport>,
    health: &'a Health,
    stage: &'a StageReport,
) -> NodeState<'a> {
    let into = report.hops.iter().filter(|hop| hop.ends().1 == stage.name);
    let slowest = into.clone().max_by_key(|hop| hop.sojourn_ns.p99);
    let touched = slowest.and_then(|hop| clean?.hops.get(&hop.name));
    let tainted = touched.map_or(0, |span| 1_000 * span.tainted / span.judged().max(1));
    let metrics = slowest.map_or_else(NodeMetrics::default, |hop| NodeMetrics {
        p50_us: told(&hop.sojourn_ns).map(|told| us(told.p50_ns)),
        p99_us: told(&hop.sojourn_ns).map(|told| us(told.p99_ns)),
        budget_us: budget_us(hop),
        depth: into.clone().map(|hop| hop.depth_now).sum(),
        age_us: us(into.clone().map(|hop| hop.age_now_ns).max().unwrap_or(0)),
        shed: into.map(HopReport::shed_once).sum(),
        tainted_permille: tainted,
    });
    let culprit = report.culprit.as_ref();
    let culprit = culprit.filter(|culprit| culprit.node == stage.name);
    let seen = health.nodes.iter().find(|node| node.name == stage.name);
    NodeState {
        node_id: &stage.name,
        status: seen.map_or(stage.state, |node| node.state.name()),
        role: role(stage),
        metrics,
        culprit: culprit.is_some(),
        why: culprit.map(|culprit| culprit.why.as_str()),
        fault: stage.fault.as_deref(),
    }
}

fn hop_figures<'a>(
    hop: &'a HopReport,
    clean: Option<&CleanReport>,
    gap_ns: Option<u64>,
) -> HopFigures<'a> {
    let span = clean.and_then(|clean| clean.hops.get(&hop.name));
    HopFigures {
        hop: &hop.name,
        raw: told(&hop.sojourn_ns),
        clean: span.and_then(|span| told(&span.sojourn_ns)),
        wait_p99_ns: told(&hop.wait_ns).map(|told| told.p99_ns),
        service_p99_ns: told(&hop.service_ns).map(|told| told.p99_ns),
        depth: hop.depth_now,
        depth_max: hop.depth_window_max,
        shed: hop.shed_once(),
        offered: hop.offered,
        delivered: hop.delivered,
        gap_ns,
        tainted: span.map(|span| span.tainted),
    }
}

fn beyond_figures(hop: &BeyondReport) -> BeyondFigures<'_> {
    BeyondFigures {
        hop: hop.name,
        samples: hop.sojourn_ns.count,
        raw: told(&hop.sojourn_ns),
        budget_us: p99_us(hop.budget.as_ref()),
    }
}

/// What is told of percentiles: nothing where nothing was measured, which is not the same as fast.
fn told(percentiles: &Percentiles) -> Option<Told> {
    (percentiles.count > 0).then_some(Told {
        p50_ns: percentiles.p50,
        p90_ns: percentiles.p90,
        p99_ns: percentiles.p99,
        p999_ns: percentiles.p99_9,
        max_ns: percentiles.max,
    })
}
