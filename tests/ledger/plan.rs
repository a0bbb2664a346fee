//! What a run of the ledger's property test consists of, drawn from a seed: a graph, its hops' policies, what its nodes
//! do with what they get, what goes wrong, and how it ends.
//!
//! Invariant: the same seed gives the same plan, and every plan is a line that may be built.

use hopline::base::Prng;
use hopline::base::limits::{PANIC_WINDOW_NS_MAX, RESTART_NS_MIN};
use hopline::overload::{Policy, WhenFull};
use hopline::reactor::Schedule;
use hopline::stage::OnPanic;
use hopline::topology::Sharing;

use crate::fans::{self, Fan};
use crate::policies;

/// Most messages of one source: enough that the shallow rings are full many times over.
const MESSAGES_MAX: u64 = 60;

/// Most fragments of a message that a source makes.
const PARTS_MAX: usize = 16;

/// A drain's deadline that passes on no line without a stuck sink.
const DRAIN_NS_LONG: u64 = 20_000_000_000;

/// Frames that a stage emits at most on a port for a frame it takes: each is a type of its own.
pub(crate) const STAGE_EMITS: [usize; 3] = [1, 3, 8];

/// Sets what is drawn of lists apart from the rest, which is the same with and without them.
const FANS_SEED: u64 = 0xFA25;

/// A whole run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// How far each stamp moves virtual time: how slow the line is.
    pub(crate) tick_ns: u64,
    /// In topological order: sources, stages, sinks.
    pub(crate) nodes: Vec<NodePlan>,
    pub(crate) rings: Vec<RingPlan>,
    pub(crate) end: End,
    pub(crate) drain_ns: u64,
    pub(crate) faults: DriverFaults,
    pub(crate) sharing: Sharing,
}

/// What the driver spoils; 0 is never.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DriverFaults {
    pub(crate) would_block_one_in: u32,
    pub(crate) refused_one_in: u32,
    pub(crate) spurious_one_in: u32,
}

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum End {
    /// When the sources have no more.
    Finish,
    /// After so much virtual time.
    After(u64),
    /// By a signal, at the n-th call of a handler.
    Signal(u64),
}

/// A ring: its hops are those to each of `to`.
#[derive(Clone, Debug)]
pub(crate) struct RingPlan {
    pub(crate) from: usize,
    pub(crate) port: usize,
    pub(crate) to: Vec<usize>,
    /// Of the consumers who waits for whom.
    pub(crate) after: Vec<(usize, Vec<usize>)>,
    pub(crate) depth: usize,
    pub(crate) policy: Policy,
    /// The node to which it overflows, if it does.
    pub(crate) overflow_to: Option<usize>,
    /// Whether it overflows into a file of its own.
    pub(crate) into_file: bool,
    pub(crate) most_keys: usize,
    pub(crate) rank: u8,
    /// The first or the second of the two classes of a port's messages to its consumer.
    pub(crate) class: Option<usize>,
    /// The list that it is one of.
    pub(crate) fan: Option<Fan>,
}

/// Of the rings that overflow to no other, one in so many may do so into a file.
const FILE_ONE_IN: u64 = 8;

/// Names of the two classes, and the kinds that each names. The second carries what is left; and so does the first, without it.
pub(crate) const CLASSES: [(&str, &[&str]); 2] = [("urgent", &["mark"]), ("rest", &[])];

/// Kinds that the ports carry.
const KINDS: [&str; 2] = ["token", "mark"];

impl RingPlan {
    /// Whether it leaves by the same port.
    fn is_beside(&self, other: &RingPlan) -> bool {
        (self.from, self.port) == (other.from, other.port)
    }
}

/// A node.
#[derive(Clone, Debug)]
pub(crate) enum NodePlan {
    Source(SourcePlan),
    Stage(StagePlan),
    Sink(SinkPlan),
}

impl NodePlan {
    /// Most frames that it emits on a port for one message or frame; 0 for a sink.
    pub(crate) fn max_emit(&self) -> usize {
        match self {
            NodePlan::Source(source) => source.habits.emit_max,
            NodePlan::Stage(stage) => stage.habits.emit_max,
            NodePlan::Sink(_) => 0,
        }
    }

    pub(crate) fn habits(&mut self) -> Option<&mut Habits> {
        match self {
            NodePlan::Source(source) => Some(&mut source.habits),
            NodePlan::Stage(stage) => Some(&mut stage.habits),
            NodePlan::Sink(_) => None,
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct SourcePlan {
    pub(crate) messages: u64,
    /// Time between bursts; 0: as fast as it goes.
    pub(crate) gap_ns: u64,
    pub(crate) burst: u64,
    /// Messages that it takes into its hand at once, before there is room for them.
    pub(crate) batch: u64,
    pub(crate) habits: Habits,
}

#[derive(Clone, Debug)]
pub(crate) struct StagePlan {
    /// Stamps that it takes for a frame: each moves virtual time.
    pub(crate) work: u64,
    pub(crate) on_panic: OnPanic,
    pub(crate) habits: Habits,
}

/// What a source or a stage does with a message, each now and then: with a chance of one in so many, 0 is never.
#[derive(Clone, Debug, Default)]
pub(crate) struct Habits {
    /// Most frames it emits on a port for a message or frame.
    pub(crate) emit_max: usize,
    pub(crate) several: u32,
    pub(crate) on_extra: u32,
    pub(crate) reject: u32,
    pub(crate) absorb: u32,
    /// Emits and ends it with a reason all the same.
    pub(crate) both: u32,
    pub(crate) hold: u32,
    /// Begins a message and takes it back.
    pub(crate) take_back: u32,
    /// Sends a message of no frames.
    pub(crate) empty: u32,
    /// Emits at the first fragment instead of the last.
    pub(crate) eager: u32,
    /// Says nothing.
    pub(crate) silent: u32,
    /// Emits a frame of a kind that the port does not carry.
    pub(crate) alien: u32,
    /// Emits on its timer, whatever it holds.
    pub(crate) chatty: u32,
    pub(crate) keeps_at_end: bool,
    pub(crate) panic_at: Option<(u64, Moment)>,
    /// How often it panics, where its policy lets it.
    pub(crate) panics: u64,
}

/// Where in a handler a panic comes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Moment {
    Before,
    AfterEmitting,
    InMessage,
    Timer,
    Drain,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct SinkPlan {
    pub(crate) not_now: u32,
    pub(crate) reject: u32,
    /// Most messages in its own queue; 0: it has none.
    pub(crate) queue: usize,
    pub(crate) lose: u32,
    pub(crate) pending: u32,
    pub(crate) flush_fails: u32,
    /// Sends by the driver, which may refuse.
    pub(crate) sends: bool,
    /// Takes no more after so many messages.
    pub(crate) stuck_after: Option<u64>,
    pub(crate) panic_at: Option<u64>,
    /// In which call it panics: taking a frame, or sending what is queued.
    pub(crate) panic_in_queue: bool,
}

/// A habit of one in some, or none.
fn now_and_then(prng: &mut Prng, often: u64) -> u32 {
    if prng.below(100) < often {
        2 + prng.below(12) as u32
    } else {
        0
    }
}

fn habits(prng: &mut Prng, emit_max: usize, is_stage: bool) -> Habits {
    let mut habits = Habits {
        emit_max,
        several: now_and_then(prng, 30),
        on_extra: now_and_then(prng, 60),
        reject: now_and_then(prng, 30),
        take_back: now_and_then(prng, 15),
        empty: now_and_then(prng, 10),
        alien: now_and_then(prng, 4),
        silent: now_and_then(prng, 3),
        ..Habits::default()
    };
    let mut moments = vec![Moment::Before, Moment::AfterEmitting, Moment::InMessage];
    if is_stage {
        habits.absorb = now_and_then(prng, 40);
        habits.both = now_and_then(prng, 20);
        habits.hold = now_and_then(prng, 25);
        habits.eager = now_and_then(prng, 25);
        habits.chatty = now_and_then(prng, 10);
        habits.keeps_at_end = habits.hold > 0 && prng.below(20) == 0;
        moments.extend([Moment::Timer, Moment::Drain]);
    }
    if prng.below(if is_stage { 8 } else { 20 }) == 0 {
        let moment = moments[prng.below(moments.len() as u64) as usize];
        let nth = match moment {
            Moment::Timer | Moment::Drain => 0,
            _ => prng.below(MESSAGES_MAX),
        };
        habits.panic_at = Some((nth, moment));
        habits.panics = 1 + prng.below(4);
    }
    habits
}

fn source(prng: &mut Prng) -> SourcePlan {
    let emit_max = [1, 1, 1, 2, 5, PARTS_MAX][prng.below(6) as usize];
    SourcePlan {
        messages: prng.below(MESSAGES_MAX + 1),
        gap_ns: [0, 0, 50, 1_000, 20_000, 100_000, 100_000, 1_500_000][prng.below(8) as usize],
        burst: [1, 1, 8, 40][prng.below(4) as usize],
        batch: [1, 1, 4][prng.below(3) as usize],
        habits: habits(prng, emit_max, false),
    }
}

fn stage(prng: &mut Prng) -> StagePlan {
    let emit_max = STAGE_EMITS[prng.below(STAGE_EMITS.len() as u64) as usize];
    StagePlan {
        work: [0, 0, 3, 40, 400][prng.below(5) as usize],
        on_panic: on_panic(prng),
        habits: habits(prng, emit_max, true),
    }
}

/// What its panics come to. Within a window that never ends the times of panics do not matter, only how many there were.
fn on_panic(prng: &mut Prng) -> OnPanic {
    let most = 1 + prng.below(4) as u32;
    let within_ns = PANIC_WINDOW_NS_MAX;
    match prng.below(3) {
        0 => OnPanic::Stop,
        1 => OnPanic::Skip { most, within_ns },
        _ => OnPanic::Restart {
            most,
            within_ns,
            after_ns: RESTART_NS_MIN,
            after_max_ns: RESTART_NS_MIN * (1 + prng.below(20)),
        },
    }
}

fn sink(prng: &mut Prng) -> SinkPlan {
    SinkPlan {
        not_now: now_and_then(prng, 30),
        reject: now_and_then(prng, 25),
        queue: [0, 0, 1, 5][prng.below(4) as usize],
        lose: now_and_then(prng, 15),
        pending: now_and_then(prng, 15),
        flush_fails: now_and_then(prng, 3),
        sends: prng.below(4) == 0,
        stuck_after: (prng.below(40) == 0).then(|| prng.below(MESSAGES_MAX)),
        panic_at: (prng.below(30) == 0).then(|| prng.below(MESSAGES_MAX)),
        panic_in_queue: prng.below(2) == 0,
    }
}

impl Plan {
    /// The plan of that seed.
    pub(crate) fn draw(seed: u64) -> Plan {
        let prng = &mut Prng::new(seed);
        // The first output of a generator spreads neighbouring seeds far apart.
        *prng = Prng::new(prng.next_u64());
        let sources = 1 + prng.below(4) as usize;
        let stages = prng.below(9) as usize;
        let sinks = 1 + prng.below(4) as usize;
        let mut nodes = Vec::new();
        nodes.extend((0..sources).map(|_| NodePlan::Source(source(prng))));
        nodes.extend((0..stages).map(|_| NodePlan::Stage(stage(prng))));
        nodes.extend((0..sinks).map(|_| NodePlan::Sink(sink(prng))));
        let edges = edges(prng, sources, stages, sinks);
        let rings = rings(prng, &nodes, edges);
        let rings = fans::draw(&mut Prng::new(seed ^ FANS_SEED), &nodes, rings);
        let mut plan = Plan {
            seed,
            tick_ns: [0, 1, 20, 500][prng.below(4) as usize],
            nodes,
            rings,
            end: match prng.below(4) {
                0 => End::After(prng.below(3_000_000)),
                1 => End::Signal(prng.below(400)),
                _ => End::Finish,
            },
            drain_ns: match prng.below(4) {
                0 => 1 + prng.below(20_000_000),
                _ => DRAIN_NS_LONG,
            },
            faults: DriverFaults {
                would_block_one_in: now_and_then(prng, 40),
                refused_one_in: now_and_then(prng, 40),
                spurious_one_in: now_and_then(prng, 10),
            },
            sharing: Sharing {
                schedule: Some(Schedule::ALL[prng.below(3) as usize]),
                batch: Some([32, 32, 1, 3][prng.below(4) as usize]),
                guard_turns: Some([64, 1, 4][prng.below(3) as usize]),
            },
        };
        if plan.is_stuck() {
            // A line whose sink takes nothing more runs until it is told to end.
            plan.end = End::After(prng.below(3_000_000));
            plan.drain_ns = plan.drain_ns.min(1 + prng.below(20_000_000));
        }
        plan
    }

    /// Whether one of its sinks takes no more at some time.
    pub(crate) fn is_stuck(&self) -> bool {
        let stuck =
            |node: &NodePlan| matches!(node, NodePlan::Sink(sink) if sink.stuck_after.is_some());
        self.nodes.iter().any(stuck)
    }

    /// Whether its drain's deadline may pass.
    pub(crate) fn may_give_up(&self) -> bool {
        self.is_stuck() || self.drain_ns < DRAIN_NS_LONG
    }

    /// Whether messages that begin with a frame of that kind are offered to a ring, or are once another has no room for them.
    pub(crate) fn carries(&self, at: usize, kind: &str) -> bool {
        let ring = &self.rings[at];
        let Some(class) = ring.class else { return true };
        let other = |other: &RingPlan| {
            other.is_beside(ring) && other.to == ring.to && other.class != Some(class)
        };
        let has_other = self.rings.iter().any(other);
        let named = |class: usize| CLASSES[class].1.contains(&kind);
        let is_left = (class == 1 || !has_other) && KINDS.contains(&kind);
        named(class) || (is_left && !(has_other && named(1 - class)))
    }

    /// The rings whose overflow a ring takes, by their places; one that takes some gets nothing else.
    pub(crate) fn spilling_to(&self, at: usize) -> Vec<usize> {
        let to = &self.rings[at];
        let spills = |ring: &RingPlan| {
            to.to.len() == 1 && ring.is_beside(to) && ring.overflow_to == Some(to.to[0])
        };
        (0..self.rings.len())
            .filter(|at| spills(&self.rings[*at]))
            .collect()
    }

    /// Has what overflows to nowhere drop instead.
    pub(crate) fn plug(&mut self) {
        for at in 0..self.rings.len() {
            let (before, rest) = self.rings.split_at_mut(at);
            let (ring, after) = rest.split_first_mut().expect("it is there");
            let mut others = before.iter().chain(after.iter());
            let is_there = others.any(|other| {
                other.is_beside(ring)
                    && other.to.len() == 1
                    && Some(other.to[0]) == ring.overflow_to
            });
            if ring.overflow_to.is_some() && !is_there {
                ring.overflow_to = None;
                let drops = |when_full: &mut WhenFull| {
                    if *when_full == WhenFull::Overflow {
                        *when_full = WhenFull::DropNewest;
                    }
                };
                drops(&mut ring.policy.when_full);
                drops(&mut ring.policy.then);
            }
        }
    }

    /// The first node that nothing leads to, or whose first output leads nowhere: a line has none.
    pub(crate) fn loose(&self) -> Option<usize> {
        let is_fed = |at| self.rings.iter().any(|ring| ring.to.contains(&at));
        let leads = |at| {
            let out = |ring: &RingPlan| ring.from == at && ring.port == 0;
            self.rings.iter().any(out)
        };
        self.nodes
            .iter()
            .enumerate()
            .position(|(at, node)| match node {
                NodePlan::Source(_) => !leads(at),
                NodePlan::Stage(_) => !is_fed(at) || !leads(at),
                NodePlan::Sink(_) => !is_fed(at),
            })
    }
}

/// From a node's port to another node.
type Edge = (usize, usize, usize);

/// A DAG: whatever leads from a node leads to a later one.
fn edges(prng: &mut Prng, sources: usize, stages: usize, sinks: usize) -> Vec<Edge> {
    let emitters = sources + stages;
    let count = emitters + sinks;
    let mut edges: Vec<Edge> = Vec::new();
    let add = |edges: &mut Vec<Edge>, edge| {
        if !edges.contains(&edge) {
            edges.push(edge);
        }
    };
    for to in sources..count {
        let inputs = 1 + prng.below(3) as usize * prng.below(2) as usize;
        for _ in 0..inputs {
            let from = prng.below(to.min(emitters) as u64) as usize;
            let port = usize::from(prng.below(4) == 0);
            add(&mut edges, (from, port, to));
        }
    }
    for from in 0..emitters {
        if !edges.iter().any(|edge| edge.0 == from && edge.1 == 0) {
            let first = (from + 1).max(sources);
            let to = first + prng.below((count - first) as u64) as usize;
            add(&mut edges, (from, 0, to));
        }
    }
    edges
}

/// Splits what leaves by each port into rings, some with several consumers.
fn rings(prng: &mut Prng, nodes: &[NodePlan], edges: Vec<Edge>) -> Vec<RingPlan> {
    let mut rings: Vec<RingPlan> = Vec::new();
    for (from, port, to) in edges {
        let same = |ring: &&mut RingPlan| ring.from == from && ring.port == port;
        let shared = rings.iter_mut().rfind(same);
        match shared {
            Some(ring) if prng.below(3) > 0 => ring.to.push(to),
            _ => rings.push(RingPlan {
                from,
                port,
                to: vec![to],
                after: Vec::new(),
                depth: 0,
                policy: Policy::default(),
                overflow_to: None,
                into_file: false,
                most_keys: [1, 2, 8, 64][prng.below(4) as usize],
                rank: prng.below(3) as u8,
                class: None,
                fan: None,
            }),
        }
    }
    for ring in &mut rings {
        ring.to.sort_unstable();
        for at in 1..ring.to.len() {
            if prng.below(3) == 0 {
                let other = ring.to[prng.below(at as u64) as usize];
                ring.after.push((ring.to[at], vec![other]));
            }
        }
    }
    overflows(prng, &mut rings);
    for ring in &mut rings {
        ring.into_file = ring.overflow_to.is_none() && prng.below(FILE_ONE_IN) == 0;
        let spills = ring.overflow_to.is_some() || ring.into_file;
        ring.policy = policies::draw(prng, spills);
        if !ring.policy.spills() {
            ring.overflow_to = None;
            ring.into_file = false;
        }
        ring.depth = depth(prng, &ring.policy, nodes[ring.from].max_emit());
    }
    classes(prng, nodes, rings)
}

/// Of some ports with several rings one or two get what the others have no room for.
fn overflows(prng: &mut Prng, rings: &mut [RingPlan]) {
    for at in 0..rings.len() {
        let is_target = |ring: &RingPlan, rings: &[RingPlan]| {
            rings
                .iter()
                .any(|other| other.is_beside(ring) && other.overflow_to == Some(ring.to[0]))
        };
        let beside = rings
            .iter()
            .filter(|other| other.is_beside(&rings[at]))
            .count();
        let may = beside > 1 && rings[at].to.len() == 1 && rings[at].overflow_to.is_none();
        if !may || prng.below(3) > 0 {
            continue;
        }
        let to = rings[at].to[0];
        for other in (0..rings.len()).filter(|other| *other != at) {
            let free = rings[other].overflow_to.is_none() && !is_target(&rings[other], rings);
            if rings[other].is_beside(&rings[at]) && free && prng.below(3) > 0 {
                rings[other].overflow_to = Some(to);
            }
        }
    }
}

/// Divides some rings into two classes by their kinds.
fn classes(prng: &mut Prng, nodes: &[NodePlan], rings: Vec<RingPlan>) -> Vec<RingPlan> {
    let is_target = |ring: &RingPlan| {
        rings.iter().any(|other| {
            other.is_beside(ring) && ring.to.len() == 1 && other.overflow_to == Some(ring.to[0])
        })
    };
    let mut all = Vec::new();
    for ring in &rings {
        let overflows = ring.overflow_to.is_some() || ring.into_file;
        let may = ring.to.len() == 1 && !overflows && !is_target(ring);
        if !may || prng.below(6) > 0 {
            all.push(ring.clone());
            continue;
        }
        let mut first = ring.clone();
        first.class = Some(0);
        // What only marks go by has no key.
        while first.policy.conflates() || first.depth == 0 {
            first.policy = policies::draw(prng, false);
            first.depth = depth(prng, &first.policy, nodes[ring.from].max_emit());
        }
        let mut second = ring.clone();
        second.class = Some(1);
        all.extend([first, second]);
    }
    all
}

fn depth(prng: &mut Prng, policy: &Policy, emit_max: usize) -> usize {
    let least = match policy.when_full {
        WhenFull::Block => emit_max.next_power_of_two().max(2),
        _ => 2,
    };
    let mut depth = (least << prng.below(6)).min(64);
    // Marks in parts of a hundred are none on a ring that is too small for them.
    while depth < 64 && policy.check(depth).is_err() {
        depth *= 2;
    }
    depth
}
