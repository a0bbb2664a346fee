//! What the user gave: nodes, hops and wishes, not checked yet.

use std::path::PathBuf;

use crate::base::limits::{CONFLATE_KEYS_DEFAULT, DEPTH_DEFAULT, DRAIN_DEADLINE_NS};
use crate::budget::{Budget, BudgetError, Quantile};
use crate::host::{MemoryWish, Pin};
use crate::overload::{Policy, Slow, Split, WhenFull};
use crate::stage::{OnPanic, Stage};
use crate::wait::Strategy;

use super::check::Line;
use super::fan;
use super::part::{IntoSink, IntoSource, Part, SinkPart, SourcePart, StagePart};
use super::problem::{Place, Problem, Problems};
use super::record::Record;
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

/// A ring's depth, policy and budget.
///
/// ```
/// use hopline::overload::WhenFull;
/// use hopline::topology::{Hop, p99};
/// let hop = Hop::depth(1024).when_full(WhenFull::DropNewest).budget(p99("20us"));
/// assert_eq!(hop.depth, 1024);
/// ```
#[derive(Clone, Debug)]
pub struct Hop {
    /// Slots; a power of two.
    pub depth: usize,
    /// What happens when there is too much.
    pub policy: Policy,
    /// Where [`WhenFull::Overflow`] sends what it has no room for: a node that another hop of the same port leads to, which
    /// then gets nothing else.
    pub overflow_to: Option<String>,
    /// The file into which [`WhenFull::Overflow`] writes what it has no room for, instead of another hop.
    pub overflow_file: Option<OverflowFile>,
    /// Keys of the table of [`WhenFull::Conflate`] at most.
    pub most_keys: usize,
    /// Inputs of a lower rank come first at the consumer; those of one rank take turns.
    pub rank: u8,
    /// Which of the port's kinds it carries, where the port's messages are divided into classes.
    pub class: Option<Class>,
    /// What it owes.
    pub budget: Option<Budget>,
    /// Of several consumers those that wait for others, with the others.
    pub after: Vec<(String, Vec<String>)>,
    /// How messages are divided among several consumers; all of them get all without.
    pub split: Option<Split>,
    /// Whether hot keys move to the last one of them.
    pub isolate: bool,
    /// Of several consumers of all messages those that have a ring of their own, since they may be slow.
    pub slow: Vec<(String, Slow)>,
    /// The file that what it delivers is recorded to.
    pub record: Option<Record>,
    /// Whether the consumer is cut off where it has held the producer back for the policy's `block_timeout_ns`.
    pub(crate) disconnects: bool,
    pub(crate) budget_error: Option<BudgetError>,
}

impl Default for Hop {
    fn default() -> Hop {
        Hop::depth(DEPTH_DEFAULT)
    }
}

impl Hop {
    /// A hop of that many slots that holds its producer back when it is full.
    #[must_use]
    pub fn depth(depth: usize) -> Hop {
        Hop {
            depth,
            policy: Policy::of(WhenFull::Block),
            overflow_to: None,
            overflow_file: None,
            most_keys: CONFLATE_KEYS_DEFAULT,
            rank: 0,
            class: None,
            budget: None,
            after: Vec::new(),
            split: None,
            isolate: false,
            slow: Vec::new(),
            record: None,
            disconnects: false,
            budget_error: None,
        }
    }

    /// The same, and what it delivers is recorded to that file, of at most `bytes_max` bytes. The recorder is a lossy copy on a
    /// thread of its own: it can hold nothing up, and what it has no room for is counted. See `docs/CAPTURES.md`.
    ///
    /// ```
    /// use hopline::topology::Hop;
    /// let hop = Hop::depth(1024).record("btc.cap", 1 << 30);
    /// assert_eq!(hop.record.unwrap().bytes_max, 1 << 30);
    /// ```
    #[must_use]
    pub fn record(mut self, path: impl AsRef<std::path::Path>, bytes_max: u64) -> Hop {
        self.record = Some(Record {
            path: path.as_ref().to_owned(),
            bytes_max,
        });
        self
    }

    /// The same with another hard limit.
    #[must_use]
    pub fn when_full(mut self, when_full: WhenFull) -> Hop {
        self.policy.when_full = when_full;
        self
    }

    /// The same with another policy: hard and soft limits.
    ///
    /// ```
    /// use hopline::overload::{Policy, WhenFull};
    /// use hopline::topology::Hop;
    /// let policy = Policy {
    ///     deadline_ns: 500_000,
    ///     ..Policy::of(WhenFull::DropNewest)
    /// };
    /// assert_eq!(Hop::depth(1024).policy(policy).policy.deadline_ns, 500_000);
    /// ```
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Hop {
        self.policy = policy;
        self
    }

    /// The same with a node that gets what it has no room for, under [`WhenFull::Overflow`]. Another hop must lead there from the
    /// same port; it carries nothing else.
    #[must_use]
    pub fn overflow_to(mut self, node: &str) -> Hop {
        self.overflow_to = Some(node.to_owned());
        self
    }

    /// The same with a file of at most `bytes_max` that gets what it has no room for, under [`WhenFull::Overflow`]: a capture, written
    /// by a thread beside the line's loops. The line does not start where that file holds messages of an earlier run.
    ///
    /// ```
    /// use hopline::overload::WhenFull;
    /// use hopline::topology::Hop;
    /// let hop = Hop::depth(1024).when_full(WhenFull::Overflow);
    /// let hop = hop.overflow_file("overflow.cap", 64 << 20);
    /// assert_eq!(hop.overflow_file.unwrap().bytes_max, 64 << 20);
    /// ```
    #[must_use]
    pub fn overflow_file(mut self, path: impl Into<PathBuf>, bytes_max: u64) -> Hop {
        self.overflow_file = Some(OverflowFile {
            path: path.into(),
            bytes_max,
        });
        self
    }

    /// The same for the frames of these kinds alone, by their names, under the name `from->to#class`. A port whose messages are
    /// divided is connected once for each class, in the order of their importance: the consumer takes from the first one that has
    /// something, and a guard keeps the others from starving. The last class also carries what no other names.
    ///
    /// ```
    /// # use hopline::topology::Hop;
    /// let depth = Hop::depth(1024).class("book", ["depthUpdate", "snapshot"]);
    /// let rest = Hop::depth(64).class("rest", [""; 0]);
    /// assert_eq!(depth.class.unwrap().kinds.len(), 2);
    /// # let _ = rest;
    /// ```
    #[must_use]
    pub fn class(mut self, name: &str, kinds: impl Names) -> Hop {
        self.class = Some(Class {
            name: name.to_owned(),
            kinds: kinds.names(),
        });
        self
    }

    /// The same with an order among its consumers: `consumer` gets a message only after all of `others` are
    /// done with it. For a hop that leads to several nodes.
    ///
    /// ```
    /// # use hopline::topology::Hop;
    /// let hop = Hop::depth(1024).after("publish", ["log", "replicate"]);
    /// assert_eq!(hop.after[0].1, ["log", "replicate"]);
    /// ```
    #[must_use]
    pub fn after(mut self, consumer: &str, others: impl Names) -> Hop {
        self.after.push((consumer.to_owned(), others.names()));
        self
    }

    /// The same with its messages divided among its consumers: each has a ring of its own, and each message goes to one of them.
    /// For a hop that leads to several nodes.
    ///
    /// ```
    /// # use hopline::topology::Hop;
    /// use hopline::overload::Split;
    /// let hop = Hop::depth(256).split(Split::ByKey).isolate();
    /// assert!(hop.isolate);
    /// ```
    #[must_use]
    pub fn split(mut self, split: Split) -> Hop {
        self.split = Some(split);
        self
    }

    /// The same with hot keys moved to the last consumer, which gets nothing else, where messages are
    /// [divided](Hop::split) by key. Each producer knows its own hot keys, so only one may isolate them among the same consumers.
    #[must_use]
    pub fn isolate(mut self) -> Hop {
        self.isolate = true;
        self
    }

    /// The same with what happens if `consumer` is slower than the others: for a hop that leads to several nodes, of which each
    /// gets all messages. [`Slow::Disconnect`] needs a policy with a `block_timeout_ns`, which is then for those that are
    /// disconnected alone, and with `then` as [`Policy::of`] has it.
    ///
    /// ```
    /// # use hopline::topology::Hop;
    /// use hopline::overload::Slow;
    /// let hop = Hop::depth(1024).slow("monitor", Slow::Tap);
    /// assert_eq!(hop.slow.len(), 1);
    /// ```
    #[must_use]
    pub fn slow(mut self, consumer: &str, slow: Slow) -> Hop {
        self.slow.push((consumer.to_owned(), slow));
        self
    }

    /// The same with a budget, such as [`p99("20us")`](p99). A wrong one is reported when the
    /// line is built.
    #[must_use]
    pub fn budget(mut self, budget: Result<Budget, BudgetError>) -> Hop {
        match budget {
            Ok(budget) => self.budget = Some(budget),
            Err(error) => self.budget_error = Some(error),
        }
        self
    }
}

/// A file for what a hop has no room for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverflowFile {
    /// Where it lies; a relative path starts at the folder that the process is in.
    pub path: PathBuf,
    /// Most bytes of it, from [`OVERFLOW_FILE_BYTES_MIN`](crate::base::limits::OVERFLOW_FILE_BYTES_MIN) to
    /// [`OVERFLOW_FILE_BYTES_MAX`](crate::base::limits::OVERFLOW_FILE_BYTES_MAX).
    pub bytes_max: u64,
}

/// Some of the kinds of a port, as a class of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// Its name, behind `#` in the hop's.
    pub name: String,
    /// Names of kinds; the last class of a port may name none.
    pub kinds: Vec<String>,
}

/// A budget on the median of the sojourn.
///
/// # Errors
/// No span, zero, or too long.
pub fn p50(span: &str) -> Result<Budget, BudgetError> {
    Budget::default().limit(Quantile::P50, span)
}

/// A budget on the 90th percentile of the sojourn.
///
/// # Errors
/// No span, zero, or too long.
pub fn p90(span: &str) -> Result<Budget, BudgetError> {
    Budget::default().limit(Quantile::P90, span)
}

/// A budget on the 99th percentile of the sojourn.
///
/// # Errors
/// No span, zero, or too long.
pub fn p99(span: &str) -> Result<Budget, BudgetError> {
    Budget::default().limit(Quantile::P99, span)
}

/// A budget on the 99.9th percentile of the sojourn.
///
/// # Errors
/// No span, zero, or too long.
pub fn p99_9(span: &str) -> Result<Budget, BudgetError> {
    Budget::default().limit(Quantile::P999, span)
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
