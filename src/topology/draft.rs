//! What the user gave: nodes, hops and wishes, not checked yet.

use crate::base::limits::DRAIN_DEADLINE_NS;
use crate::budget::{Budget, BudgetError};
use crate::host::{MemoryWish, Pin};
use crate::overload::Slow;
use crate::stage::{OnPanic, Stage};
use crate::wait::Strategy;

use super::fan;
use super::hop::Hop;
use super::line::Line;
use super::part::{IntoSink, IntoSource, Part, SinkPart, SourcePart, StagePart};
use super::problem::{Place, Problem, Problems};
use super::sharing::{Priority, Sharing};

/// A node as given.
pub struct DraftNode {
    /// Its name in the line.
    pub name: String,
    /// Its kind, for people.
    pub kind: String,
    /// What it becomes.
    pub part: Box<dyn Part>,
    /// Where it stands.
    pub place: Option<Place>,
}

impl std::fmt::Debug for DraftNode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DraftNode")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .finish()
    }
}

/// What a panic of a node comes to, as given.
#[derive(Clone, Debug)]
pub struct DraftOnPanic {
    /// The node, by its name.
    pub node: String,
    /// The policy.
    pub policy: OnPanic,
    /// Where it stands.
    pub place: Option<Place>,
}

/// A hop as given, to one consumer: one ring for each name in `from`.
#[derive(Clone, Debug)]
pub struct DraftHop {
    /// `node` or `node.port`.
    pub from: String,
    /// The consuming node.
    pub to: String,
    /// The ring and its policy.
    pub hop: Hop,
    /// Hops with the same number share one ring: it has several consumers. A ring of its own without.
    pub ring: Option<usize>,
    /// Hops with the same number come of one list of consumers, whether they share a ring or not. None where there is one.
    pub together: Option<usize>,
    /// Where it and its keys stand.
    pub places: HopPlaces,
}

impl DraftHop {
    /// Whether its consumer is a tap, for which nobody waits: one of several that has a ring of its own for that.
    #[must_use]
    pub fn is_tap(&self) -> bool {
        let mut slow = self.hop.slow.iter();
        self.together.is_some()
            && self.hop.split.is_none()
            && slow.any(|(name, slow)| *name == self.to && *slow == Slow::Tap)
    }

    /// The name that reports and budgets use: `from->to`, and `from->to#class` for one of several classes.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.hop.class {
            None => format!("{}->{}", self.from, self.to),
            Some(class) => format!("{}->{}#{}", self.from, self.to, class.name),
        }
    }
}

/// Where a hop and its keys stand, as far as they came from a file.
#[derive(Clone, Debug, Default)]
pub struct HopPlaces {
    /// The hop itself.
    pub hop: Option<Place>,
    /// Its `from`.
    pub from: Option<Place>,
    /// Its `to`.
    pub to: Option<Place>,
    /// Its `depth`.
    pub depth: Option<Place>,
    /// Its `after`.
    pub after: Option<Place>,
    /// Its `overflow_to`.
    pub overflow_to: Option<Place>,
    /// Its `overflow_file`.
    pub overflow_file: Option<Place>,
    /// What changed depth or policy for a run, in words, such as `--hop btc->book:depth=16`: then
    /// that is to blame for both, and no place in a file.
    pub changed_by: Option<String>,
    /// The last that changed the policy for a run, in the same words.
    pub policy_by: Option<String>,
}

/// A thread as wished for.
///
/// ```
/// use hopline::topology::ThreadSpec;
/// let thread = ThreadSpec {
///     name: "hot".to_owned(),
///     nodes: vec!["book".to_owned()],
///     ..ThreadSpec::default()
/// };
/// assert_eq!(thread.core, None);
/// ```
#[derive(Clone, Debug, Default)]
pub struct ThreadSpec {
    /// Its name.
    pub name: String,
    /// The core to pin it to; chosen by the plan if none is given.
    pub core: Option<usize>,
    /// What it does when idle; chosen by the plan if none is given.
    pub wait: Option<Strategy>,
    /// How its nodes share its turns; as the line says where it says nothing.
    pub sharing: Sharing,
    /// The nodes on it, by name.
    pub nodes: Vec<String>,
    /// Where it stands.
    pub place: Option<Place>,
}

/// Where the nodes shall run.
#[derive(Clone, Debug)]
pub struct Placement {
    /// How serious the pinning is.
    pub pin: Pin,
    /// What idle loops do; chosen by the plan if none is given.
    pub wait: Option<Strategy>,
    /// How nodes share the turns of their thread, where the thread does not say it by itself.
    pub sharing: Sharing,
    /// How important nodes are among those on their thread; the last, where it is not given.
    pub priorities: Vec<Priority>,
    /// Most threads; as many as there are cores for if none is given.
    pub threads_max: Option<usize>,
    /// Threads by hand; nodes on none of them are placed by the plan.
    pub threads: Vec<ThreadSpec>,
    /// What is asked of the memory.
    pub memory: MemoryWish,
}

impl Default for Placement {
    fn default() -> Placement {
        Placement {
            pin: Pin::Prefer,
            wait: None,
            sharing: Sharing::default(),
            priorities: Vec::new(),
            threads_max: None,
            threads: Vec::new(),
            memory: MemoryWish::default(),
        }
    }
}

/// A line as given.
#[derive(Debug)]
pub struct Draft {
    /// Its name.
    pub name: String,
    /// Its nodes.
    pub nodes: Vec<DraftNode>,
    /// Its hops.
    pub hops: Vec<DraftHop>,
    /// What panics come to; the end of the line where nothing is said.
    pub on_panic: Vec<DraftOnPanic>,
    /// Where the nodes shall run.
    pub placement: Placement,
    /// What the line owes from end to end.
    pub objective: Option<Budget>,
    /// How long a drain may take, in nanoseconds.
    pub drain_ns: u64,
    /// What was already found wrong.
    pub problems: Problems,
    /// Nodes that `problems` already tells of, by name: that one of them is not there, gets no
    /// frames or leads nowhere follows from that, and is not told again.
    pub excused: Vec<String>,
}

impl Draft {
    /// An empty line.
    #[must_use]
    pub fn new(name: &str) -> Draft {
        Draft {
            name: name.to_owned(),
            nodes: Vec::new(),
            hops: Vec::new(),
            on_panic: Vec::new(),
            placement: Placement::default(),
            objective: None,
            drain_ns: DRAIN_DEADLINE_NS,
            problems: Problems::default(),
            excused: Vec::new(),
        }
    }

    /// Checks everything.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn check(self) -> Result<Line, Problems> {
        Line::new(self)
    }
}

/// The names on a side of [`Builder::connect`]: one, or several.
pub trait Names {
    /// All of them.
    fn names(&self) -> Vec<String>;
}

impl Names for &str {
    fn names(&self) -> Vec<String> {
        vec![(*self).to_owned()]
    }
}

impl Names for &String {
    fn names(&self) -> Vec<String> {
        vec![(*self).clone()]
    }
}

impl<const N: usize> Names for [&str; N] {
    fn names(&self) -> Vec<String> {
        self.iter().map(|name| (*name).to_owned()).collect()
    }
}

impl Names for &[&str] {
    fn names(&self) -> Vec<String> {
        self.iter().map(|name| (*name).to_owned()).collect()
    }
}

/// Puts a line together in code; see [`Line::builder`].
#[derive(Debug)]
pub struct Builder(Draft);

impl Builder {
    pub(crate) fn new(name: &str) -> Builder {
        Builder(Draft::new(name))
    }

    fn node(&mut self, name: &str, kind: &str, part: Box<dyn Part>) -> &mut Builder {
        self.0.nodes.push(DraftNode {
            name: name.to_owned(),
            kind: kind.to_owned(),
            part,
            place: None,
        });
        self
    }

    /// Adds a source. What it describes is opened by the driver when the line starts.
    pub fn source(&mut self, name: &str, source: impl IntoSource) -> &mut Builder {
        match source.into_source() {
            Ok(ingress) => self.node(name, "source", Box::new(SourcePart(ingress))),
            Err(problem) => self.wrong(name, problem),
        }
    }

    /// Adds a stage by its factory, which runs when the line starts, and again where the stage panicked and is to be
    /// made anew ([`Builder::on_panic`]).
    pub fn stage<S: Stage>(
        &mut self,
        name: &str,
        factory: impl Fn() -> S + Send + 'static,
    ) -> &mut Builder {
        self.node(name, "stage", Box::new(StagePart(factory)))
    }

    /// Adds a sink.
    pub fn sink(&mut self, name: &str, sink: impl IntoSink) -> &mut Builder {
        match sink.into_sink() {
            Ok(egress) => self.node(name, "sink", Box::new(SinkPart(egress))),
            Err(problem) => self.wrong(name, problem),
        }
    }

    fn wrong(&mut self, name: &str, mut problem: Problem) -> &mut Builder {
        problem.what = format!("{name}: {}", problem.what);
        self.0.problems.push(problem);
        self.0.excused.push(name.to_owned());
        self
    }

    /// Joins nodes with a ring for each of `from`, which is a node (its first port) or `node.port`.
    ///
    /// Several names in `to` share that ring: it is written once, each of them gets every message, the
    /// slowest holds the producer back, and [`Hop::after`] says who waits for whom. Each of them is a hop
    /// of its own in plan, budget and report, such as `quotes->book` and `quotes->log`. With [`Hop::split`] each has a ring of its
    /// own, and each message goes to one of them; with [`Hop::slow`] some have.
    pub fn connect(&mut self, from: impl Names, to: impl Names, hop: Hop) -> &mut Builder {
        let to = to.names();
        for from in from.names() {
            let hops = fan::spread(&from, &to, &hop, &HopPlaces::default(), self.0.hops.len());
            self.0.hops.extend(hops);
        }
        self
    }

    /// Sets what happens when a stage panics. Without this, the line stops.
    ///
    /// ```
    /// # use hopline::adapter::{Binance, blackhole, synthetic};
    /// # use hopline::stages::{Book, BookSpec};
    /// # use hopline::feed::Symbols;
    /// # use hopline::topology::{Hop, Line};
    /// use hopline::stage::OnPanic;
    /// # let mut line = Line::builder("mine");
    /// # line.source("btc", synthetic("BTCUSDT", 1e3).decode(Binance::new(&["BTCUSDT"])));
    /// # let spec = BookSpec { levels: 5, takes_ns: 0, symbols: Symbols::new(&["BTCUSDT"]).unwrap() };
    /// line.stage("book", move || Book::new(&spec));
    /// line.on_panic("book", OnPanic::RESTART);
    /// # line.sink("out", blackhole());
    /// # line.connect("btc", "book", Hop::default());
    /// # line.connect("book", "out", Hop::default());
    /// # line.build().unwrap();
    /// ```
    pub fn on_panic(&mut self, stage: &str, policy: OnPanic) -> &mut Builder {
        self.0.on_panic.push(DraftOnPanic {
            node: stage.to_owned(),
            policy,
            place: None,
        });
        self
    }

    /// Sets what the line owes from end to end, from the intended time of a message.
    pub fn objective(&mut self, budget: Result<Budget, BudgetError>) -> &mut Builder {
        match budget {
            Ok(budget) => self.0.objective = Some(budget),
            Err(error) => self.0.problems.push(Problem::new(error.to_string(), "")),
        }
        self
    }

    /// Sets how long a drain may take before what is left is discarded and its holder named, in nanoseconds;
    /// [`DRAIN_DEADLINE_NS`] if it is not said.
    pub fn drain_within_ns(&mut self, drain_ns: u64) -> &mut Builder {
        self.0.drain_ns = drain_ns;
        self
    }

    /// Sets where the nodes shall run.
    pub fn placement(&mut self, placement: Placement) -> &mut Builder {
        self.0.placement = placement;
        self
    }

    /// Checks everything and builds the line. The builder is empty afterwards.
    ///
    /// # Errors
    /// All that is wrong: names, kinds, cycles, orphans, depths, budgets, cores.
    pub fn build(&mut self) -> Result<Line, Problems> {
        let name = self.0.name.clone();
        core::mem::replace(&mut self.0, Draft::new(&name)).check()
    }
}
