//! A line at work: pinned loops on threads, watched from outside, drained and accounted for.
//!
//! ```text
//!   start: open everything ─→ all open? ─ no ─→ StartError, nothing ran
//!                                  └ yes ─→ run ─→ [sources end | duration | signal | fault | stall]
//!                                                    └─→ drain ─ done before the deadline ─→ report
//!                                                          └─ no ─→ give up: discard, name who held what ─→ report
//! ```

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use crate::budget::Budget;
use crate::budget::report::RegimeReport;
use crate::clock::Clock;
use crate::host::{self, Host, Pin, Pinned};
use crate::io::{Driver, IoError, Waker};
use crate::reactor::{Command, Control, LoopCounters, OpenError, Reactor};
use crate::stage::hop::Doorbell;
use crate::wait::{Sleeper, Strategy, announce};

use super::check::Line;
use super::plan::{Plan, PlannedThread};
use super::problem::Problems;
use super::report::{DrainReport, Left, LineReport, LoopReport, Parts, Report, is_over};
use super::wire::{HopView, NodeView, Wired, wire};

/// How long all loops together may take to open what they need.
const OPEN_DEADLINE: Duration = Duration::from_secs(10);

/// How long loops may take to end once they were told to give up.
const GIVE_UP_GRACE: Duration = Duration::from_millis(250);

/// How often the runner looks at the line while it waits.
const LOOK: Duration = Duration::from_millis(20);

/// A loop without a turn for that long hangs in a handler: the line is drained and the node named.
const STALL_NS: u64 = 5_000_000_000;

/// Why a line did not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// Something in the line or its placement is wrong.
    Line(Problems),
    /// A node could not open what it needs.
    Open {
        /// The node.
        node: String,
        /// What and why.
        error: IoError,
    },
    /// A node panicked while it was opened.
    Panicked {
        /// The node.
        node: String,
        /// The panic's words.
        words: String,
    },
    /// A loop's thread could not be pinned, and the line requires it.
    Pin {
        /// The thread.
        thread: String,
        /// Why not.
        error: host::PinError,
    },
    /// A thread or its driver could not be made.
    Thread {
        /// The thread.
        thread: String,
        /// Why not.
        why: String,
    },
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Line(problems) => write!(f, "{problems}"),
            StartError::Open { node, error } => write!(f, "{node}: {error}"),
            StartError::Panicked { node, words } => write!(f, "{node}: {words}"),
            StartError::Pin { thread, error } => write!(f, "thread \"{thread}\": {error}"),
            StartError::Thread { thread, why } => write!(f, "thread \"{thread}\": {why}"),
        }
    }
}

impl std::error::Error for StartError {}

impl StartError {
    pub(crate) fn open(node: String, error: OpenError) -> StartError {
        match error {
            OpenError::Io(error) => StartError::Open { node, error },
            OpenError::Panicked(words) => StartError::Panicked { node, words },
        }
    }
}

impl From<Problems> for StartError {
    fn from(problems: Problems) -> StartError {
        StartError::Line(problems)
    }
}

/// When a run shall end, besides when all its sources have.
///
/// ```
/// use std::time::Duration;
/// use hopline::topology::Stop;
/// let stop = Stop::after(Duration::from_secs(10));
/// ```
#[derive(Default)]
pub struct Stop {
    after: Option<Duration>,
    asked: Option<Box<dyn Fn() -> bool + Send>>,
}

impl fmt::Debug for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stop")
            .field("after", &self.after)
            .finish_non_exhaustive()
    }
}

impl Stop {
    /// Only when all sources have ended.
    #[must_use]
    pub fn when_done() -> Stop {
        Stop::default()
    }

    /// After that long at the latest.
    #[must_use]
    pub fn after(span: Duration) -> Stop {
        Stop {
            after: Some(span),
            asked: None,
        }
    }

    /// As soon as `asked` says so; it is asked about fifty times a second.
    #[must_use]
    pub fn when(asked: impl Fn() -> bool + Send + 'static) -> Stop {
        Stop {
            after: None,
            asked: Some(Box::new(asked)),
        }
    }

    /// The same, and also after that long.
    #[must_use]
    pub fn or_after(mut self, span: Duration) -> Stop {
        self.after = Some(span);
        self
    }

    /// Why the run shall end now, if it shall.
    #[must_use]
    pub fn cause(&self, elapsed: Duration) -> Option<&'static str> {
        if self.asked.as_ref().is_some_and(|asked| asked()) {
            return Some("signal");
        }
        (self.after.is_some_and(|after| elapsed >= after)).then_some("duration")
    }
}

struct Loop {
    planned: PlannedThread,
    counters: Arc<LoopCounters>,
    pinned: Option<Pinned>,
    thread: Option<std::thread::JoinHandle<()>>,
    over: bool,
    /// The last turn that was seen, and when.
    beat: (u64, u64),
}

/// A line at work.
pub struct Running {
    name: String,
    clock: Clock,
    host: Host,
    control: Arc<Control>,
    loops: Vec<Loop>,
    hops: Vec<HopView>,
    nodes: Vec<NodeView>,
    objective: Option<Budget>,
    planned_bytes: usize,
    deadline_ns: u64,
    began_ns: u64,
    ended: Receiver<usize>,
    wakers: Vec<Waker>,
    /// Messages delivered on all hops when that number last rose, and when.
    progress: (u64, u64),
    /// Bytes in memory, the most that was seen while the loops had their rings.
    resident_bytes: Option<u64>,
    drain: Option<DrainReport>,
}

impl Drop for Running {
    /// A line that nobody holds any more is ended at once; a loop that hangs is left behind.
    fn drop(&mut self) {
        if self.loops.iter().any(|one| !one.over) {
            self.abort();
            self.wait(GIVE_UP_GRACE);
        }
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

type Opened = Result<Option<Pinned>, StartError>;

impl Line {
    /// Starts the line on threads of its own, placed by [`Line::plan`].
    ///
    /// # Errors
    /// What could not be placed, pinned or opened; nothing has run then.
    pub fn start(self) -> Result<Running, StartError> {
        let host = Host::read();
        let plan = self.plan(&host)?;
        let clock = if host.trusts_tsc() {
            Clock::calibrated()
        } else {
            Clock::os()
        };
        self.start_as(plan, host, clock, &Driver::real)
    }

    /// Starts the line and waits for its end: when all sources have ended, when `stop` says so,
    /// when a node fails, or when a loop hangs. What is queued is drained first.
    ///
    /// # Errors
    /// As [`Line::start`].
    pub fn run_until(self, stop: Stop) -> Result<Report, StartError> {
        let mut running = self.start()?;
        let cause = running.watch(&stop, |_| {});
        Ok(running.end(cause))
    }

    /// Starts the line as planned, on that clock, with a driver from `driver` for each loop.
    ///
    /// # Errors
    /// What could not be placed, pinned or opened; nothing has run then.
    pub fn start_as(
        self,
        plan: Plan,
        host: Host,
        clock: Clock,
        driver: &dyn Fn() -> Result<Driver, IoError>,
    ) -> Result<Running, StartError> {
        let (name, pin, deadline_ns) = (self.name.clone(), self.placement.pin, self.drain_ns);
        let objective = self.objective.clone();
        let planned_bytes = plan.memory_bytes;

        // Drivers are made here, so that the bells of other loops can hold their wakers.
        let mut drivers = Vec::new();
        for thread in &plan.threads {
            drivers.push(driver().map_err(|error| StartError::Thread {
                thread: thread.name.clone(),
                why: error.to_string(),
            })?);
        }
        let sleepers: Vec<Option<Sleeper>> = plan
            .threads
            .iter()
            .map(|thread| {
                matches!(thread.strategy, Strategy::Park { .. }).then(|| announce::pair().0)
            })
            .collect();
        let thread_of = |node: usize| {
            plan.threads
                .iter()
                .position(|thread| thread.at.contains(&node))
        };
        let bell = |from: usize, to: usize| {
            let (from, to) = (thread_of(from)?, thread_of(to)?);
            let sleeper = sleepers[to].as_ref().filter(|_| from != to)?;
            Some(Doorbell::new(sleeper.alarm(), drivers[to].waker()))
        };
        let wakers: Vec<Waker> = drivers.iter().map(Driver::waker).collect();
        let Wired {
            nodes,
            hop_views,
            node_views,
        } = wire(self, &clock, bell)?;

        let control = Arc::new(Control::default());
        let (ended_tx, ended) = sync_channel(plan.threads.len());
        let (opened_tx, opened) = sync_channel(plan.threads.len());
        let mut slots: Vec<Option<Box<dyn crate::stage::Node>>> =
            nodes.into_iter().map(Some).collect();
        let mut loops = Vec::new();
        for (at, ((planned, driver), sleeper)) in plan
            .threads
            .into_iter()
            .zip(drivers)
            .zip(sleepers)
            .enumerate()
        {
            let nodes = planned
                .at
                .iter()
                .filter_map(|node| slots[*node].take())
                .collect();
            let counters = Arc::new(LoopCounters::default());
            let reactor = Reactor::new(
                nodes,
                driver,
                clock.clone(),
                planned.strategy,
                sleeper,
                control.clone(),
                counters.clone(),
            );
            let (pin, core) = (pin, planned.core);
            let thread_name = planned.name.clone();
            let (opened, ended) = (opened_tx.clone(), ended_tx.clone());
            let spawned = std::thread::Builder::new()
                .name(planned.name.clone())
                .spawn(move || {
                    run_loop(at, reactor, pin, core, &thread_name, &opened, &ended);
                });
            let thread = spawned.map_err(|error| {
                control.tell(Command::Abort);
                StartError::Thread {
                    thread: planned.name.clone(),
                    why: error.to_string(),
                }
            })?;
            let thread = Some(thread);
            loops.push(Loop {
                planned,
                counters,
                pinned: None,
                thread,
                over: false,
                beat: (0, 0),
            });
        }
        drop(ended_tx);
        drop(opened_tx);
        let mut running = Running {
            name,
            host,
            control,
            loops,
            hops: hop_views,
            nodes: node_views,
            objective,
            planned_bytes,
            deadline_ns,
            began_ns: clock.stamp(),
            clock,
            ended,
            wakers,
            progress: (0, 0),
            resident_bytes: None,
            drain: None,
        };
        running.wait_for_open(&opened)?;
        Ok(running)
    }
}

/// The body of a loop's thread.
fn run_loop(
    at: usize,
    mut reactor: Reactor,
    pin: Pin,
    core: Option<usize>,
    name: &str,
    opened: &SyncSender<(usize, Opened)>,
    ended: &SyncSender<usize>,
) {
    let pinned = match core
        .filter(|_| pin != Pin::Off)
        .map(|core| host::pin(core, pin))
    {
        None => Ok(None),
        Some(Ok(pinned)) => Ok(Some(pinned)),
        Some(Err(error)) => Err(StartError::Pin {
            thread: name.to_owned(),
            error,
        }),
    };
    let result = pinned.and_then(|pinned| match reactor.open() {
        Ok(()) => Ok(pinned),
        Err((node, error)) => Err(StartError::open(node, error)),
    });
    let good = result.is_ok();
    // The channels have a place for every loop, so neither of these ever waits.
    let _ = opened.send((at, result));
    // Nodes are guarded one by one. What panics here all the same is a defect of the loop or a
    // node's drop: its nodes are then never seen to end, and the report is not good.
    let _ = catch_unwind(AssertUnwindSafe(move || {
        if good {
            reactor.run();
        }
    }));
    let _ = ended.send(at);
}

impl Running {
    fn wait_for_open(&mut self, opened: &Receiver<(usize, Opened)>) -> Result<(), StartError> {
        let mut result = Ok(());
        let mut answered = vec![false; self.loops.len()];
        let until_ns = self.clock.stamp() + OPEN_DEADLINE.as_nanos() as u64;
        for _ in 0..self.loops.len() {
            let left = Duration::from_nanos(until_ns.saturating_sub(self.clock.stamp()));
            match opened.recv_timeout(left) {
                Ok((at, pinned)) => {
                    answered[at] = true;
                    match pinned {
                        Ok(pinned) => self.loops[at].pinned = pinned,
                        Err(error) => result = result.and(Err(error)),
                    }
                }
                Err(_) => {
                    let silent = self.loops.iter().zip(&answered).filter(|(_, yes)| !**yes);
                    let thread = silent
                        .map(|(one, _)| one.planned.name.as_str())
                        .collect::<Vec<_>>();
                    let thread = thread.join(", ");
                    let why = format!("not open after {OPEN_DEADLINE:?}");
                    result = result.and(Err(StartError::Thread { thread, why }));
                    break;
                }
            }
        }
        // Where it failed, dropping this aborts the loops that are open.
        result?;
        self.began_ns = self.clock.stamp();
        self.control.run(self.began_ns);
        self.wake();
        self.resident_bytes = host::resident_bytes();
        Ok(())
    }

    /// The line's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How long it has been running.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.clock.stamp().saturating_sub(self.began_ns))
    }

    /// Waits until every loop is over, at most that long. Returns whether they are.
    pub fn wait(&mut self, most: Duration) -> bool {
        let until_ns = self.clock.stamp().saturating_add(most.as_nanos() as u64);
        while self.loops.iter().any(|one| !one.over) {
            let left = Duration::from_nanos(until_ns.saturating_sub(self.clock.stamp()));
            match self.ended.recv_timeout(left) {
                Ok(at) => {
                    self.loops[at].over = true;
                    if let Some(thread) = self.loops[at].thread.take() {
                        // Its nodes catch their own panics; one in the loop itself shows as a
                        // node that never ended.
                        let _ = thread.join();
                    }
                }
                Err(RecvTimeoutError::Timeout) => return false,
                Err(RecvTimeoutError::Disconnected) => {
                    for one in &mut self.loops {
                        one.over = true;
                    }
                }
            }
        }
        true
    }

    /// Waits for the end of the line, or for a reason to end it, and returns that reason.
    /// `look` is called about fifty times a second.
    pub fn watch(&mut self, stop: &Stop, mut look: impl FnMut(&mut Running)) -> &'static str {
        loop {
            if self.wait(LOOK) {
                return if self.has_fault() {
                    "fault"
                } else {
                    "finished"
                };
            }
            look(self);
            // Once the counter has run for long enough, its scale is known better.
            self.clock.refine();
            if self.has_failed() {
                return "fault";
            }
            if let Some(cause) = stop.cause(self.elapsed()) {
                return cause;
            }
            if !self.stalled().is_empty() || self.is_stuck_at_the_end() {
                return "stalled";
            }
        }
    }

    /// Whether a node has failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.nodes
            .iter()
            .any(|node| node.counters.state() == crate::stage::State::Failed)
    }

    fn has_fault(&self) -> bool {
        self.nodes
            .iter()
            .any(|node| node.counters.fault().is_some())
    }

    /// Whether all sources are over and no hop has delivered anything for as long as a drain may
    /// take: a sink that takes nothing would keep the line for ever.
    fn is_stuck_at_the_end(&mut self) -> bool {
        let (over, all) = self.sources_over();
        let now_ns = self.clock.stamp();
        let delivered = self
            .hops
            .iter()
            .map(|hop| hop.counters.rx.delivered.get())
            .sum();
        if over < all || delivered != self.progress.0 || self.progress.1 == 0 {
            self.progress = (delivered, now_ns);
        }
        now_ns.saturating_sub(self.progress.1) > self.deadline_ns
    }

    /// The nodes of loops that have made no turn for seconds.
    fn stalled(&mut self) -> Vec<String> {
        let now_ns = self.clock.stamp();
        let mut stalled = Vec::new();
        for one in self.loops.iter_mut().filter(|one| !one.over) {
            let turns = one.counters.turns.get();
            if turns != one.beat.0 || one.beat.1 == 0 {
                one.beat = (turns, now_ns);
            } else if now_ns.saturating_sub(one.beat.1) > STALL_NS {
                stalled.extend(current_node(one));
            }
        }
        stalled
    }

    /// What went wrong so far, in words: the node, then what.
    pub fn faults(&self) -> impl Iterator<Item = (&str, &str)> {
        let fault = |node: &'_ NodeView| node.counters.fault().is_some();
        self.nodes
            .iter()
            .filter(move |node| fault(node))
            .map(|node| {
                (
                    node.name.as_str(),
                    node.counters.fault().unwrap_or_default(),
                )
            })
    }

    /// Collects what the loops have recorded since the last time, and asks for more. Never waits.
    pub fn observe(&mut self) {
        if self.loops.iter().any(|one| !one.over) {
            self.resident_bytes = self.resident_bytes.max(host::resident_bytes());
        }
        for hop in &mut self.hops {
            hop.spans.observe();
        }
        for spans in self
            .nodes
            .iter_mut()
            .filter_map(|node| node.end_to_end.as_mut())
        {
            spans.observe();
        }
    }

    /// Forgets the latencies so far, those of a warm-up: percentiles and counts over budget begin
    /// anew, all other counters go on. Loops hand over with their next housekeeping what they have
    /// recorded, and that is forgotten too; so they begin within a millisecond of this, or as soon
    /// as a parked loop looks up.
    pub fn forget_latencies(&mut self) {
        for hop in &mut self.hops {
            hop.spans.forget();
        }
        for spans in self
            .nodes
            .iter_mut()
            .filter_map(|node| node.end_to_end.as_mut())
        {
            spans.forget();
        }
    }

    /// Tells the line to drain without waiting for it. May be called any number of times.
    pub fn begin_drain(&self) {
        self.tell(Command::Drain);
    }

    /// Ends the line at once: what is queued is discarded.
    pub fn abort(&self) {
        self.tell(Command::Abort);
    }

    /// Tells all loops, and wakes those that sleep.
    fn tell(&self, command: Command) {
        self.control.tell(command);
        self.wake();
    }

    fn wake(&self) {
        for waker in &self.wakers {
            // A waker that fails leaves its loop to the end of its park, which is bounded.
            let _ = waker.wake();
        }
    }

    /// Stops the sources, lets what is queued finish, and says what was left at the deadline and
    /// who held it. Once drained it stays so.
    pub fn drain(&mut self, cause: &'static str) -> DrainReport {
        if let Some(done) = &self.drain {
            return done.clone();
        }
        self.observe();
        let asked_ns = self.clock.stamp();
        self.begin_drain();
        let complete = self.wait_observing(Duration::from_nanos(self.deadline_ns));
        let mut report = DrainReport {
            cause,
            complete,
            deadline_ns: self.deadline_ns,
            ..DrainReport::default()
        };
        if !complete {
            report.left = self.left();
            self.tell(Command::GiveUp);
            if !self.wait_observing(GIVE_UP_GRACE) {
                report.stuck = self
                    .loops
                    .iter()
                    .filter(|one| !one.over)
                    .flat_map(current_node)
                    .collect();
            }
        }
        report.elapsed_ns = self.clock.stamp().saturating_sub(asked_ns);
        self.drain = Some(report.clone());
        report
    }

    fn wait_observing(&mut self, most: Duration) -> bool {
        let until_ns = self.clock.stamp().saturating_add(most.as_nanos() as u64);
        loop {
            let left = Duration::from_nanos(until_ns.saturating_sub(self.clock.stamp()));
            if self.wait(LOOK.min(left)) {
                return true;
            }
            self.observe();
            if left.is_zero() {
                return false;
            }
        }
    }

    fn left(&self) -> Vec<Left> {
        let on_ring = self.hops.iter().map(|hop| (hop, hop.counters.in_flight()));
        on_ring
            .filter(|(_, messages)| *messages > 0)
            .map(|(hop, messages)| Left {
                hop: hop.name.clone(),
                messages,
                held_by: self.nodes[hop.to].name.clone(),
            })
            .collect()
    }

    /// What the line has done so far.
    pub fn report(&mut self) -> Report {
        self.observe();
        self.report_of(self.drain.clone(), false)
    }

    /// Drains the line and returns its last report. `cause` is why it ends.
    pub fn end(mut self, cause: &'static str) -> Report {
        let drain = self.drain(cause);
        // Loops that are over have handed over the rest of what they recorded.
        for _ in 0..2 {
            self.observe();
        }
        self.report_of(Some(drain), true)
    }

    fn report_of(&self, drain: Option<DrainReport>, at_rest: bool) -> Report {
        let placement = self.loops.iter().map(loop_report).collect();
        Parts {
            line: LineReport {
                name: self.name.clone(),
                mode: "threads",
                clock: self.clock.kind().name(),
                elapsed_ns: self.clock.stamp().saturating_sub(self.began_ns),
                planned_bytes: self.planned_bytes,
                resident_bytes: self.resident_bytes,
            },
            host: &self.host,
            placement,
            hops: &self.hops,
            nodes: &self.nodes,
            objective: self.objective.as_ref(),
            drain,
            at_rest,
        }
        .report()
    }

    /// The sources that have ended, and all of them.
    #[must_use]
    pub fn sources_over(&self) -> (usize, usize) {
        let sources = || {
            self.nodes
                .iter()
                .filter(|node| node.role == crate::stage::Role::Source)
        };
        (
            sources().filter(|node| is_over(node)).count(),
            sources().count(),
        )
    }
}

/// The node that has had the turn since the loop was last seen.
fn current_node(one: &Loop) -> Option<String> {
    let at = one.counters.current.get().checked_sub(1)?;
    one.planned.nodes.get(at as usize).cloned()
}

fn loop_report(one: &Loop) -> LoopReport {
    LoopReport {
        planned: one.planned.clone(),
        pinned: one.pinned.as_ref().and_then(|pinned| pinned.got),
        note: one.pinned.as_ref().and_then(|pinned| pinned.note.clone()),
        turns: one.counters.turns.get(),
        turn_ns_max: one.counters.turn_ns_max.get(),
        regimes_ns: RegimeReport::new(one.counters.regimes.all()),
    }
}
