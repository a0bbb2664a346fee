//! Joins a checked line with rings, counters and recorders.

use std::sync::Arc;

use crate::base::Counter;
use crate::base::limits::{HOPS_MAX, NODES_MAX};
use crate::budget::{Arrivals, Budget, HopCounters, Of, Passage, Peaks};
use crate::clock::Clock;
use crate::frame::KindInfo;
use crate::hist::swap::Reader;
use crate::hist::{self, Observer, Totals};
use crate::ring::hop;
use crate::ring::multicast::{Graph, GraphError, ReaderId};
use crate::stage::context::Outputs;
use crate::stage::hop::{Doorbell, HopRx, HopTx};
use crate::stage::life::Life;
use crate::stage::log::{Ear, HopLog, Notes, Room, Shelf};
use crate::stage::orders::PolicyCell;
use crate::stage::ring::{RxRing, TxRing};
use crate::stage::spill::SpillWriter;
use crate::stage::tap::Desk;
use crate::stage::{Node, NodeCounters, Role, State, Wiring};

use super::fan;
use super::line::{Line, LineHop};
use super::panics::Panics;
use super::problem::{Problem, Problems};
use super::spill::{SpillView, spill};
use super::split::{Leaving, SplitView};

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
    /// What it does when there is too much, and where it is told to do something else.
    pub(crate) policy: Arc<PolicyCell>,
    /// Whether it can conflate, whether something that it carries has a key, and whether it can overflow.
    pub(crate) has_table: bool,
    pub(crate) has_keys: bool,
    pub(crate) has_spill: bool,
    /// Whether its consumer is one for which nobody waits, and whether it is one that is cut off.
    pub(crate) is_tap: bool,
    pub(crate) disconnects: bool,
    /// Most frames of one message of its producer.
    pub(crate) max_emit: usize,
    pub(crate) kinds: &'static [KindInfo],
    pub(crate) budget: Option<Budget>,
    /// What the consumer counts.
    pub(crate) counters: Arc<HopCounters>,
    /// What the producer counts: on a shared ring the counters of its first hop.
    pub(crate) offers: Arc<HopCounters>,
    /// The first hop of a shared ring, for the others.
    pub(crate) shares: Option<String>,
    /// The place of its consumer on the ring.
    pub(crate) place: usize,
    /// The hops of the same ring whose consumers this one's follows.
    pub(crate) after: Vec<usize>,
    /// Where taps of its consumer are attached.
    pub(crate) desk: Arc<Desk>,
    pub(crate) spans: Collected<3>,
    pub(crate) backlog: Backlog,
    /// Where the log of its messages is left at the end.
    pub(crate) shelf: Shelf<(Vec<Passage>, u64)>,
    /// Where it is told, until a view of clean figures takes it.
    pub(crate) ear: Option<Ear<Passage>>,
}

impl HopView {
    /// Where the messages are that it has accepted.
    pub(crate) fn arrivals(&self) -> Arrivals {
        self.counters.arrivals(&self.offers)
    }

    /// Takes what the consumer has handed over of its backlog and asks for more; with it what is seen from outside at `now_ns`.
    /// Never waits. Call it after the spans were collected: the oldest message that was done with is in them.
    pub(crate) fn look(&mut self, now_ns: u64) -> Peaks {
        let mut peaks = Peaks::default();
        self.backlog
            .peaks
            .collect(|handed| peaks.raise(core::mem::take(handed)));
        self.backlog.peaks.ask();
        let sojourn = &mut self.spans.totals[Of::Sojourn as usize];
        let seen = self.backlog.now(&self.counters, &self.offers, now_ns);
        peaks.raise(seen);
        peaks.age_ns = peaks.age_ns.max(sojourn.take_fresh_max_ns());
        peaks
    }

    /// Nanoseconds at full because of this hop's consumer.
    pub(crate) fn full_ns(&self) -> u64 {
        self.offers
            .tx
            .full_ns
            .get(self.place)
            .map_or(0, Counter::get)
    }
}

/// What the outside knows of the messages that wait on a hop.
pub(crate) struct Backlog {
    peaks: Reader<Peaks>,
    /// What was there when it last looked: frames, and the age of the oldest message.
    pub(crate) seen: Peaks,
    /// So many messages had been accepted at that time.
    accepted_by: (u64, u64),
}

impl Backlog {
    fn new(peaks: Reader<Peaks>) -> Backlog {
        Backlog {
            peaks,
            seen: Peaks::default(),
            accepted_by: (0, 0),
        }
    }

    /// What waits at `now_ns`. Where the consumer has not looked at it, because it hangs or its loop is elsewhere, the oldest
    /// message is as old as the outside has known it at the least.
    fn now(&mut self, counters: &HopCounters, offers: &HopCounters, now_ns: u64) -> Peaks {
        let head_offer_ns = counters.rx.head_offer_ns.get();
        let arrivals = counters.arrivals(offers);
        let done = arrivals.accepted - arrivals.in_flight.min(arrivals.accepted);
        if done >= self.accepted_by.0 {
            self.accepted_by = (arrivals.accepted, now_ns);
        }
        self.seen = Peaks::default();
        if arrivals.in_flight > 0 {
            let known_ns = now_ns.saturating_sub(self.accepted_by.1);
            let head_ns = match head_offer_ns {
                0 => 0,
                at => now_ns.saturating_sub(at),
            };
            self.seen = Peaks {
                depth_frames: counters.frames_waiting(offers),
                age_ns: known_ns.max(head_ns),
            };
        }
        self.seen
    }
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
    /// The hops that lead to it, in the order in which it knows them.
    pub(crate) inputs: Vec<usize>,
    /// What a panic of it comes to.
    pub(crate) on_panic: &'static str,
    /// Where its panics are kept, if it has a policy for them.
    pub(crate) panics: Option<Panics>,
    pub(crate) end_to_end: Option<Collected<1>>,
    /// From the kernel's stamps to a source's receipts.
    pub(crate) wire: Option<Collected<1>>,
}

impl NodeView {
    /// Whether it is away after a panic, until another instance of its stage is made.
    pub(crate) fn is_away(&self) -> bool {
        self.counters.state() == State::Restarting
    }

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
    /// The hops among which messages are divided.
    pub(crate) splits: Vec<SplitView>,
    /// Where the rings lie.
    pub(crate) ring_spans: Vec<std::ops::Range<usize>>,
    /// Who writes the files into which hops overflow, and what the outside sees of them.
    pub(crate) writer: SpillWriter,
    pub(crate) spills: Vec<SpillView>,
}

/// Makes rings, counters and recorders, and the nodes around them. `bell` is the doorbell of the
/// loop that a node runs on, if that loop parks and the producer, a node or none, is on another one; `writer_bell` that of the
/// writer of overflow files, if it runs beside the loops.
pub(crate) fn wire(
    line: Line,
    clock: &Clock,
    bell: impl Fn(Option<usize>, usize) -> Option<Doorbell>,
    writer_bell: Option<Doorbell>,
) -> Result<Wired, Problems> {
    let Line {
        name: line_name,
        nodes,
        hops,
        objective,
        mut notes,
        placement,
        ..
    } = line;
    debug_assert!(nodes.len() <= NODES_MAX && hops.len() <= HOPS_MAX);
    let mut inputs: Vec<Vec<HopRx>> = nodes.iter().map(|_| Vec::new()).collect();
    let mut outputs: Vec<Vec<Leaving>> = nodes
        .iter()
        .map(|node| {
            let ports = node.descriptor.ports.iter();
            ports.map(|_| Leaving::default()).collect()
        })
        .collect();
    let mut splits: Vec<SplitView> = Vec::new();
    let mut arriving: Vec<Vec<usize>> = nodes.iter().map(|_| Vec::new()).collect();
    let mut leaving: Vec<Vec<(usize, usize)>> = nodes.iter().map(|_| Vec::new()).collect();
    let mut hop_views: Vec<Option<HopView>> = hops.iter().map(|_| None).collect();
    let mut ring_spans = Vec::with_capacity(hops.len());
    let sources = nodes
        .iter()
        .filter(|node| node.descriptor.role == Role::Source);
    let sources: Vec<String> = sources.map(|node| node.name.clone()).collect();
    let (mut files, mut spills) = (Vec::new(), Vec::new());
    for ring in fan::rings(&hops) {
        let first = &hops[ring[0]];
        let name: Arc<str> = first.name.as_str().into();
        let (tx, readers) = make(&hops, &ring).map_err(|error| refused(&name, error))?;
        ring_spans.push(tx.span());
        let offers = Arc::new(HopCounters::default());
        let policy = first.hop.policy;
        let bells = ring
            .iter()
            .filter_map(|at| bell(Some(first.from), hops[*at].to));
        let bells = bells.collect();
        let kinds = first.kinds;
        let mut tx = HopTx::new(name, tx, policy, offers.clone(), kinds, bells)
            .ordered(first.policy.clone())
            .spilling(first.spill_of)
            .disconnecting(first.hop.disconnects);
        if let Some(spill) = spill(first, ring[0], &line_name, &sources, writer_bell.clone()) {
            tx = tx.spilling_into(spill.tx);
            files.push(spill.file);
            spills.push(spill.view);
        }
        let port = &mut outputs[first.from][first.port];
        if first.hop.split.is_some() {
            tx = tx.carrying(&[]);
            port.divide(first, ring[0], &mut splits);
        } else if let Some(only) = &first.only {
            tx = tx.carrying(only);
        }
        if first.has_table() {
            tx = tx.conflating(first.hop.most_keys);
        }
        // The first consumer's are those of what is offered.
        let mut consumers = vec![offers.clone()];
        consumers.resize_with(ring.len(), Arc::default);
        tx = tx
            .serving(consumers.clone())
            .emitting(nodes[first.from].descriptor.max_emit);
        port.hops.push(tx);
        for (place, ((at, rx), counters)) in
            ring.iter().copied().zip(readers).zip(consumers).enumerate()
        {
            let hop = &hops[at];
            let is_first = at == ring[0];
            let limits = LimitsOf::new(hop.hop.budget.as_ref());
            let (recorder, observer) =
                hist::pair(limits.of()).map_err(|error| refused(&hop.name, error))?;
            let follow = ring
                .iter()
                .filter(|other| hops[**other].after.contains(&hop.to));
            let bells = follow.filter_map(|other| bell(Some(hop.to), hops[*other].to));
            let name = hop.name.as_str().into();
            let rx = HopRx::new(name, rx, counters.clone(), recorder, bells.collect());
            let rx = rx.of_kinds(hop.kinds);
            let (rx, peaks) = rx.watched();
            let tightest_ns = limits.limits_ns.iter().copied().min();
            let mut rx = rx
                .tapped_at(hop.desk.clone())
                .limited(tightest_ns.unwrap_or(0))
                .aging(policy)
                .ordered(first.policy.clone())
                .ranked(hop.hop.rank);
            let shelf = Shelf::default();
            let leaves = nodes[hop.to].descriptor.in_objective
                && nodes[hop.to].descriptor.role == Role::Sink;
            let mark = if leaves { Passage::LEFT } else { 0 };
            let mut ear = None;
            match &mut notes {
                Notes::Nothing => {}
                Notes::Sampled(logs) => {
                    // One for each hop.
                    if let Some(log) = logs.get_mut(at) {
                        rx = rx.logged(std::mem::take(log), mark);
                    }
                }
                Notes::Kept(Room { messages, .. }) | Notes::Passages(messages) => {
                    rx = rx.logged(HopLog::on(*messages, Shelf::clone(&shelf)), mark);
                }
                Notes::Told(_) => {
                    if let Some((log, hears)) = HopLog::told() {
                        rx = rx.logged(log, mark);
                        ear = Some(hears);
                    }
                }
            }
            inputs[hop.to].push(rx);
            arriving[hop.to].push(at);
            leaving[hop.from].push((hop.port, at));
            let after = ring
                .iter()
                .filter(|other| hop.after.contains(&hops[**other].to));
            hop_views[at] = Some(HopView {
                name: hop.name.clone(),
                to: hop.to,
                depth: hop.hop.depth,
                policy: first.policy.clone(),
                has_table: first.has_table(),
                has_keys: first.has_keys(),
                has_spill: first.hop.overflow_to.is_some() || first.overflow_file().is_some(),
                is_tap: hop.is_tap(),
                disconnects: first.hop.disconnects,
                max_emit: nodes[hop.from].descriptor.max_emit,
                kinds: hop.kinds,
                budget: hop.hop.budget.clone(),
                counters,
                offers: offers.clone(),
                shares: (!is_first).then(|| first.name.clone()),
                place,
                after: after.copied().collect(),
                desk: hop.desk.clone(),
                spans: Collected::new(observer),
                backlog: Backlog::new(peaks),
                shelf,
                ear,
            });
        }
    }
    let hop_views = hop_views.into_iter().flatten().collect();
    let mut wired = Wired {
        nodes: Vec::new(),
        hop_views,
        node_views: Vec::new(),
        splits,
        ring_spans,
        writer: SpillWriter::new(files, clock),
        spills,
    };
    let mut sources = 0u16;
    let joined = nodes.into_iter().zip(inputs).zip(outputs).zip(leaving);
    for (at, (((node, inputs), outputs), mut leaving)) in joined.enumerate() {
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
        // A source has no hop in front of it: what wakes its loop is for those who feed it.
        let own_bell = bell(None, at).filter(|_| descriptor.role == Role::Source);
        let (wire_recorder, wire_observer) = if descriptor.tells_wire {
            let (recorder, observer) =
                hist::pair([&[][..]]).map_err(|error| refused(&node.name, error))?;
            (Some(recorder), Some(Collected::new(observer)))
        } else {
            (None, None)
        };
        let (life, panics) = Life::new(node.on_panic).unzip();
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
            inputs: core::mem::take(&mut arriving[at]),
            on_panic: node.on_panic.name(),
            panics: panics.map(Panics::new),
            end_to_end: observer,
            wire: wire_observer,
        });
        wired.nodes.push(node.part.into_node(Wiring {
            name: node.name.as_str().into(),
            inputs,
            outputs: Outputs::of(outputs.into_iter().map(Leaving::into_port).collect()),
            counters,
            clock: clock.clone(),
            bell: own_bell,
            end_to_end: recorder,
            wire: wire_recorder,
            source,
            batch: placement.sharing_of(&node.name).batch(),
            life,
        }));
    }
    Ok(wired)
}

/// Makes the ring of these hops, and its readers in their order.
fn make(hops: &[LineHop], ring: &[usize]) -> Result<(TxRing, Vec<RxRing>), GraphError> {
    let depth = hops[ring[0]].hop.depth;
    if let [_] = ring {
        let (tx, rx) = hop::frames(depth)?;
        return Ok((tx.into(), vec![rx.into()]));
    }
    let mut graph = Graph::new(depth);
    let mut readers: Vec<(usize, ReaderId)> = Vec::with_capacity(ring.len());
    for hop in ring.iter().map(|at| &hops[*at]) {
        let follows = readers.iter().filter(|(node, _)| hop.after.contains(node));
        let follows: Vec<ReaderId> = follows.map(|(_, reader)| *reader).collect();
        readers.push((hop.to, graph.reader_after(&follows)));
    }
    let (ring, readers) = graph.frames()?;
    let consumers = readers.len();
    let readers = readers.into_iter().map(RxRing::from).collect();
    Ok((TxRing::Many { ring, consumers }, readers))
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
