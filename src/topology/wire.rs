//! Joins a checked line with rings, counters and recorders.

use std::sync::Arc;

use crate::base::limits::{HOPS_MAX, NODES_MAX};
use crate::budget::{Budget, HopCounters};
use crate::clock::Clock;
use crate::frame::KindInfo;
use crate::hist::{self, Observer, Totals};
use crate::ring::hop;
use crate::stage::context::Outputs;
use crate::stage::hop::{Doorbell, HopRx, HopTx};
use crate::stage::{Node, NodeCounters, Role, Wiring};

use super::check::Line;
use super::problem::{Problem, Problems};

/// The histograms of one recorder as the outside collects them.
pub(crate) struct Collected<const N: usize> {
    observer: Observer<N>,
    pub(crate) totals: [Totals; N],
    /// Whether the next hand-over holds what was recorded before it was to be forgotten.
    stale: bool,
}

impl<const N: usize> Collected<N> {
    fn new(observer: Observer<N>) -> Collected<N> {
        let totals = observer.totals();
        Collected {
            observer,
            totals,
            stale: false,
        }
    }

    /// Takes what the loop has handed over and asks for more. Never waits.
    pub(crate) fn observe(&mut self) {
        if self.observer.collect(&mut self.totals) && core::mem::take(&mut self.stale) {
            self.clear();
        }
        self.observer.ask();
    }

    /// Forgets what was recorded up to now: what was handed over, and what will be with the next
    /// hand-over, which was begun before this.
    pub(crate) fn forget(&mut self) {
        self.observe();
        self.clear();
        self.stale = true;
    }

    fn clear(&mut self) {
        self.totals.iter_mut().for_each(Totals::clear);
    }
}

/// What the outside sees of a hop.
pub(crate) struct HopView {
    pub(crate) name: String,
    pub(crate) to: usize,
    pub(crate) depth: usize,
    pub(crate) when_full: &'static str,
    pub(crate) kinds: &'static [KindInfo],
    pub(crate) budget: Option<Budget>,
    pub(crate) counters: Arc<HopCounters>,
    pub(crate) spans: Collected<3>,
}

/// What the outside sees of a node.
pub(crate) struct NodeView {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) role: Role,
    pub(crate) reasons: &'static [&'static str],
    pub(crate) in_objective: bool,
    pub(crate) counters: Arc<NodeCounters>,
    /// The hops that leave it, in the order of the ports.
    pub(crate) outputs: Vec<usize>,
    pub(crate) end_to_end: Option<Collected<1>>,
    /// From the kernel's stamps to a source's receipts.
    pub(crate) wire: Option<Collected<1>>,
}

impl NodeView {
    /// The spans that it records for itself.
    pub(crate) fn spans_mut(&mut self) -> impl Iterator<Item = &mut Collected<1>> {
        self.end_to_end.iter_mut().chain(&mut self.wire)
    }
}

/// A line whose parts are joined, before anything runs.
pub(crate) struct Wired {
    pub(crate) nodes: Vec<Box<dyn Node>>,
    pub(crate) hop_views: Vec<HopView>,
    pub(crate) node_views: Vec<NodeView>,
}

/// Makes rings, counters and recorders, and the nodes around them. `bell` is the doorbell of the
/// loop that a node runs on, if that loop parks and the producer is on another one.
pub(crate) fn wire(
    line: Line,
    clock: &Clock,
    bell: impl Fn(usize, usize) -> Option<Doorbell>,
) -> Result<Wired, Problems> {
    let Line {
        nodes,
        hops,
        objective,
        ..
    } = line;
    debug_assert!(nodes.len() <= NODES_MAX && hops.len() <= HOPS_MAX);
    let mut inputs: Vec<Vec<HopRx>> = nodes.iter().map(|_| Vec::new()).collect();
    let mut outputs: Vec<Vec<Vec<HopTx>>> = nodes
        .iter()
        .map(|node| node.descriptor.ports.iter().map(|_| Vec::new()).collect())
        .collect();
    let mut leaving: Vec<Vec<(usize, usize)>> = nodes.iter().map(|_| Vec::new()).collect();
    let mut hop_views = Vec::with_capacity(hops.len());
    for (at, hop) in hops.into_iter().enumerate() {
        let name: Arc<str> = hop.name.as_str().into();
        let counters = Arc::new(HopCounters::default());
        let limits = LimitsOf::new(hop.hop.budget.as_ref());
        let (recorder, observer) =
            hist::pair(limits.of()).map_err(|error| refused(&name, error))?;
        let (tx, rx) = hop::frames(hop.hop.depth).map_err(|error| refused(&name, error))?;
        let policy = hop.hop.when_full;
        let bell = bell(hop.from, hop.to);
        let tx = HopTx::new(name.clone(), tx, policy, counters.clone(), hop.kinds, bell);
        outputs[hop.from][hop.port].push(tx);
        leaving[hop.from].push((hop.port, at));
        inputs[hop.to].push(HopRx::new(name, rx, counters.clone(), recorder));
        hop_views.push(HopView {
            name: hop.name,
            to: hop.to,
            depth: hop.hop.depth,
            when_full: policy.name(),
            kinds: hop.kinds,
            budget: hop.hop.budget,
            counters,
            spans: Collected::new(observer),
        });
    }
    let mut wired = Wired {
        nodes: Vec::new(),
        hop_views,
        node_views: Vec::new(),
    };
    let mut sources = 0u16;
    let joined = nodes.into_iter().zip(inputs).zip(outputs).zip(leaving);
    for (((node, inputs), outputs), mut leaving) in joined {
        leaving.sort_by_key(|(port, _)| *port);
        let descriptor = node.descriptor;
        let counters = Arc::new(NodeCounters::default());
        let (recorder, observer) = if descriptor.role == Role::Sink {
            let owed = objective.as_ref().filter(|_| descriptor.in_objective);
            let limits = owed.map(Budget::limits_ns).unwrap_or_default();
            let (recorder, observer) =
                hist::pair([limits.as_slice()]).map_err(|error| refused(&node.name, error))?;
            (Some(recorder), Some(Collected::new(observer)))
        } else {
            (None, None)
        };
        let (wire_recorder, wire_observer) = if descriptor.tells_wire {
            let (recorder, observer) =
                hist::pair([&[][..]]).map_err(|error| refused(&node.name, error))?;
            (Some(recorder), Some(Collected::new(observer)))
        } else {
            (None, None)
        };
        let source = sources;
        sources += u16::from(descriptor.role == Role::Source);
        wired.node_views.push(NodeView {
            name: node.name.clone(),
            kind: node.kind,
            role: descriptor.role,
            reasons: descriptor.reasons,
            in_objective: descriptor.in_objective,
            counters: counters.clone(),
            outputs: leaving.into_iter().map(|(_, hop)| hop).collect(),
            end_to_end: observer,
            wire: wire_observer,
        });
        wired.nodes.push(node.part.into_node(Wiring {
            name: node.name.as_str().into(),
            inputs,
            outputs: Outputs::new(outputs),
            counters,
            clock: clock.clone(),
            end_to_end: recorder,
            wire: wire_recorder,
            source,
        }));
    }
    Ok(wired)
}

fn refused(name: &str, error: impl std::fmt::Display) -> Problems {
    Problem::new(format!("{name}: {error}"), "").into()
}

/// The limits of a budget, put under the one of the three spans that it limits.
struct LimitsOf {
    of: usize,
    limits_ns: Vec<u64>,
}

impl LimitsOf {
    fn new(budget: Option<&Budget>) -> LimitsOf {
        LimitsOf {
            of: budget.map_or(0, |budget| budget.span() as usize),
            limits_ns: budget.map(Budget::limits_ns).unwrap_or_default(),
        }
    }

    fn of(&self) -> [&[u64]; 3] {
        let mut limits: [&[u64]; 3] = [&[], &[], &[]];
        limits[self.of] = &self.limits_ns;
        limits
    }
}
