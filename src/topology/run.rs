//! A line at work: pinned loops on threads, watched from outside, drained and accounted for.
//!
//! ```text
//!   start: open everything ─→ all open? ─ no ─→ StartError, nothing ran
//!                                  └ yes ─→ run ─→ [sources end | duration | signal | fault | stall]
//!                                                    └─→ drain ─ done before the deadline ─→ report
//!                                                          └─ no ─→ give up: discard, name who held what ─→ report
//! ```

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use crate::base::limits::{GIVE_UP_GRACE_NS, STALL_NS};
use crate::budget::{Budget, Evidence, HopEvidence, LoopEvidence};
use crate::clock::Clock;
use crate::control::{Command, Complaints, Control, Requests};
use crate::host::{self, Host, MemoryReport, Pinned};
use crate::io::Waker;
use crate::reactor::LoopCounters;
use crate::stage::log::Shelf;

use super::clean::{Clean, CleanReport};
use super::drain::{DrainReport, STALLED, left};
use super::panics::Quarantined;
use super::plan::PlannedThread;
use super::record::Recording;
use super::report::{LineReport, LoopReport, Parts, Report, is_over};
use super::samples::Samples;
use super::spill::{SpillThread, SpillView};
use super::window::{self, Window, Windows};
use super::wire::{HopView, NodeView};

/// How long loops may take to end once they were told to give up.
const GIVE_UP_GRACE: Duration = Duration::from_nanos(GIVE_UP_GRACE_NS);

/// How often the runner looks at the line while it waits.
const LOOK: Duration = Duration::from_millis(20);

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

pub(super) struct Loop {
    pub(super) planned: PlannedThread,
    pub(super) counters: Arc<LoopCounters>,
    pub(super) pinned: Option<Pinned>,
    pub(super) thread: Option<std::thread::JoinHandle<()>>,
    pub(super) over: bool,
    /// What its nodes are asked to do.
    pub(super) requests: Arc<Requests>,
    /// What it complains of.
    pub(super) complaints: Complaints,
    /// Where the log of its long segments is left at the end.
    pub(super) shelf: Shelf<LoopEvidence>,
}

/// A line at work.
pub struct Running {
    pub(super) name: String,
    pub(super) clock: Clock,
    pub(super) host: Host,
    pub(super) control: Arc<Control>,
    pub(super) loops: Vec<Loop>,
    pub(super) hops: Vec<HopView>,
    pub(super) splits: Vec<super::split::SplitView>,
    /// The files into which hops overflow, and the thread that writes them.
    pub(super) spills: Vec<SpillView>,
    pub(super) beside: Option<SpillThread>,
    pub(super) nodes: Vec<NodeView>,
    pub(super) windows: Windows,
    pub(super) objective: Option<Budget>,
    pub(super) planned_bytes: usize,
    pub(super) deadline_ns: u64,
    pub(super) began_ns: u64,
    pub(super) ended: Receiver<usize>,
    pub(super) wakers: Vec<Waker>,
    /// The nodes that had the turn when the line was found to hang.
    pub(super) stalled_in: Vec<String>,
    /// Messages delivered on all hops when that number last rose, and when.
    pub(super) progress: (u64, u64),
    /// Bytes in memory, the most that was seen while the loops had their rings.
    pub(super) resident_bytes: Option<u64>,
    pub(super) memory: MemoryReport,
    pub(super) drain: Option<DrainReport>,
    /// What is kept of the stages' panics.
    pub(super) quarantine: Vec<Quarantined>,
    /// What is heard and decided of messages while it runs, if that was asked for.
    pub(super) clean: Option<Clean>,
    /// Who follows messages, if that was asked for.
    pub(super) samples: Option<Samples>,
    /// Its recorders, if it has any.
    pub(super) recording: Option<Recording>,
}

impl Drop for Running {
    /// A line that nobody holds any more is ended at once; a loop that hangs is left behind, at once after a drain, which has
    /// waited for it.
    fn drop(&mut self) {
        if self.drain.is_none() && self.loops.iter().any(|one| !one.over) {
            self.abort();
            self.wait(GIVE_UP_GRACE);
        }
        // Where a loop hangs, its hops do not end by themselves.
        if let Some(beside) = self.beside.as_ref().filter(|one| !one.over) {
            beside.stop();
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

impl Running {
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
            if !self.hear_of_an_end(until_ns) {
                return false;
            }
        }
        true
    }

    /// Waits until the overflow files are written, at most until that time. Returns whether they are.
    fn wait_for_files(&mut self, until_ns: u64) -> bool {
        while self.beside.as_ref().is_some_and(|one| !one.over) {
            if !self.hear_of_an_end(until_ns) {
                return false;
            }
        }
        true
    }

    /// Waits until one of the threads says that it is over, at most until that time. Returns whether one did.
    fn hear_of_an_end(&mut self, until_ns: u64) -> bool {
        let left = Duration::from_nanos(until_ns.saturating_sub(self.clock.stamp()));
        match self.ended.recv_timeout(left) {
            Ok(at) => match self.loops.get_mut(at) {
                Some(one) => {
                    one.over = true;
                    if let Some(thread) = one.thread.take() {
                        // Its nodes catch their own panics; one in the loop itself shows as a
                        // node that never ended.
                        let _ = thread.join();
                    }
                }
                None => self.beside.iter_mut().for_each(SpillThread::is_over),
            },
            Err(RecvTimeoutError::Timeout) => return false,
            Err(RecvTimeoutError::Disconnected) => {
                for one in &mut self.loops {
                    one.over = true;
                }
                self.beside.iter_mut().for_each(SpillThread::is_over);
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
            self.listen();
            self.collect_panics();
            // Once the counter has run for long enough, its scale is known better.
            self.clock.refine();
            if self.has_failed() {
                return "fault";
            }
            if let Some(cause) = stop.cause(self.elapsed()) {
                return cause;
            }
            let stalled = self.stalled();
            if !stalled.is_empty() || self.is_stuck_at_the_end() {
                self.stalled_in = stalled;
                return STALLED;
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
        // One that is away between two instances of its stage is known to come back.
        let away = self.nodes.iter().any(NodeView::is_away);
        if over < all || away || delivered != self.progress.0 || self.progress.1 == 0 {
            self.progress = (delivered, now_ns);
        }
        now_ns.saturating_sub(self.progress.1) > self.deadline_ns
    }

    /// The nodes of loops that have made no turn for seconds.
    fn stalled(&self) -> Vec<String> {
        let now_ns = self.clock.stamp();
        let hangs =
            |one: &&Loop| !one.over && one.age_ns(now_ns, self.began_ns, &self.nodes) > STALL_NS;
        let stalled = self.loops.iter().filter(hangs);
        stalled.filter_map(Loop::current_node).collect()
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
        let now_ns = self.clock.stamp();
        for (at, hop) in self.hops.iter_mut().enumerate() {
            hop.spans.observe();
            hop.desk.collect();
            self.windows.show(at, hop.look(now_ns));
        }
        for spans in self.nodes.iter_mut().flat_map(NodeView::spans_mut) {
            spans.observe();
        }
        self.collect_panics();
        self.listen();
    }

    /// Hears what the loops tell, if the line is watched for clean figures.
    pub(super) fn listen(&mut self) {
        if let Some(clean) = &mut self.clean {
            clean.listen(self.clock.stamp(), self.samples.as_mut());
        }
    }

    /// Which messages the host did not touch, as far as that can be said by now, where [`Line::watch_clean`] asked for it: of
    /// those of the last quarter of a second nothing is said yet, unless the line has ended.
    ///
    /// [`Line::watch_clean`]: super::Line::watch_clean
    pub fn clean(&mut self) -> Option<CleanReport> {
        self.listen();
        let clean = self.clean.as_ref()?;
        Some(clean.report(&self.hops))
    }

    /// Forgets the latencies so far, those of a warm-up: percentiles and counts over budget begin
    /// anew, all other counters go on. Loops hand over with their next housekeeping what they have
    /// recorded, and that is forgotten too; so they begin within a millisecond of this, or as soon
    /// as a parked loop looks up.
    pub fn forget_latencies(&mut self) {
        for hop in &mut self.hops {
            hop.spans.forget();
        }
        for spans in self.nodes.iter_mut().flat_map(NodeView::spans_mut) {
            spans.forget();
        }
        let now_ns = self.clock.stamp();
        if let Some(clean) = &mut self.clean {
            clean.forget(now_ns);
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

    pub(super) fn wake(&self) {
        for waker in &self.wakers {
            // A waker that fails leaves its loop to the end of its park, which is bounded.
            let _ = waker.wake();
        }
    }

    /// As [`Running::drain_within`], with the line's own deadline.
    pub fn drain(&mut self, cause: &'static str) -> DrainReport {
        self.drain_within(cause, Duration::from_nanos(self.deadline_ns))
    }

    /// Stops the sources, lets what is queued finish, and returns by the deadline with what was left and who held it. The last of
    /// that time, [`GIVE_UP_GRACE_NS`] and at most half, is for loops to end that are given up. Once drained the line stays so, and
    /// another call says the same again.
    pub fn drain_within(&mut self, cause: &'static str, deadline: Duration) -> DrainReport {
        self.drain_looking(cause, deadline, &mut |_| {})
    }

    /// As [`Running::drain`], and meanwhile `look` is called about fifty times a second, for whoever shows the line also
    /// while it ends. It is not called where that takes less.
    pub fn drain_watched(
        &mut self,
        cause: &'static str,
        mut look: impl FnMut(&mut Running),
    ) -> DrainReport {
        self.drain_looking(cause, Duration::from_nanos(self.deadline_ns), &mut look)
    }

    fn drain_looking(
        &mut self,
        cause: &'static str,
        deadline: Duration,
        look: &mut dyn FnMut(&mut Running),
    ) -> DrainReport {
        if let Some(done) = &self.drain {
            return done.clone();
        }
        self.observe();
        let asked_ns = self.clock.stamp();
        self.begin_drain();
        let grace = GIVE_UP_GRACE.min(deadline / 2);
        let until = |span: Duration| asked_ns.saturating_add(span.as_nanos() as u64);
        let complete = self.wait_observing(deadline - grace, look)
            && self.wait_for_files(until(deadline - grace));
        let mut report = DrainReport {
            cause,
            complete,
            deadline_ns: u64::try_from(deadline.as_nanos()).unwrap_or(u64::MAX),
            stalled_in: std::mem::take(&mut self.stalled_in),
            ..DrainReport::default()
        };
        if !complete {
            self.tell(Command::GiveUp);
            // What was handed over last is still to be written.
            let last = match &self.beside {
                Some(_) => grace / 4,
                None => Duration::ZERO,
            };
            let ended = self.wait_observing(grace - last, look);
            if !self.wait_for_files(self.clock.stamp()) {
                self.beside.iter().for_each(SpillThread::stop);
                self.wait_for_files(until(deadline));
            }
            if !ended {
                report.stuck = self
                    .loops
                    .iter()
                    .filter(|one| !one.over)
                    .filter_map(Loop::current_node)
                    .collect();
            }
            let stuck_with = |node: &str| {
                let hangs = self.loops.iter().filter(|one| !one.over);
                let mut with =
                    hangs.filter(|one| one.planned.nodes.iter().any(|name| name == node));
                with.find_map(Loop::current_node)
            };
            report.left = left(&self.hops, &self.nodes, stuck_with);
            report
                .left
                .extend(self.spills.iter().filter_map(SpillView::left));
        }
        report.elapsed_ns = self.clock.stamp().saturating_sub(asked_ns);
        self.drain = Some(report.clone());
        report
    }

    fn wait_observing(&mut self, most: Duration, look: &mut dyn FnMut(&mut Running)) -> bool {
        let until_ns = self.clock.stamp().saturating_add(most.as_nanos() as u64);
        loop {
            let left = Duration::from_nanos(until_ns.saturating_sub(self.clock.stamp()));
            if self.wait(LOOK.min(left)) {
                return true;
            }
            self.observe();
            look(self);
            if left.is_zero() {
                return false;
            }
        }
    }

    /// What the line has done so far. What it says of a window is since the last call of this, whoever made it: several readers
    /// that each want all of it take a [`Running::window`].
    pub fn report(&mut self) -> Report {
        self.report_since(window::UNNAMED)
    }

    /// A window of the caller's own on what the line does, for [`Running::report_since`]; none where there are
    /// [`WINDOWS_MAX`](crate::base::limits::WINDOWS_MAX), which stay until the line ends.
    pub fn window(&mut self) -> Option<Window> {
        self.windows.open(self.clock.stamp())
    }

    /// As [`Running::report`], with a window that nobody else reads: each peak is in exactly one report of each window. Loops
    /// hand over with their housekeeping, so a peak of the last milliseconds may come with the next report.
    pub fn report_since(&mut self, window: Window) -> Report {
        self.observe();
        self.report_of(self.drain.clone(), false, window)
    }

    /// As [`Running::end`], with what the loops and hops noted, where [`Line::note_evidence`] asked for it. A loop that hangs
    /// has left nothing; its evidence is empty.
    ///
    /// [`Line::note_evidence`]: super::Line::note_evidence
    pub fn end_noted(mut self, cause: &'static str) -> (Report, Evidence) {
        self.drain(cause);
        let mut evidence = Evidence {
            began_ns: self.began_ns,
            ..Evidence::default()
        };
        for one in &mut self.loops {
            let noted = std::mem::take(&mut one.shelf);
            let noted = std::sync::Arc::into_inner(noted).and_then(std::sync::OnceLock::into_inner);
            evidence.loops.push(noted.unwrap_or_default());
        }
        for hop in &mut self.hops {
            let noted = std::mem::take(&mut hop.shelf);
            let noted = std::sync::Arc::into_inner(noted).and_then(std::sync::OnceLock::into_inner);
            let (passages, lost) = noted.unwrap_or_default();
            evidence.hops.push(HopEvidence {
                name: hop.name.clone(),
                passages,
                lost,
            });
        }
        (self.end(cause), evidence)
    }

    /// Drains the line and returns its last report. `cause` is why it ends.
    pub fn end(mut self, cause: &'static str) -> Report {
        let drain = self.drain(cause);
        // Loops that are over have handed over the rest of what they recorded.
        for _ in 0..2 {
            self.observe();
        }
        // Its taps have ended with their hops.
        if let Some(recording) = &mut self.recording {
            recording.end();
        }
        self.report_of(Some(drain), true, window::RUN)
    }

    fn report_of(&mut self, drain: Option<DrainReport>, at_rest: bool, window: Window) -> Report {
        let now_ns = self.clock.stamp();
        let hang = self.loops.iter().filter(|one| at_rest && !one.over);
        let hung: Vec<usize> = hang.flat_map(|one| one.planned.at.clone()).collect();
        let placement = self
            .loops
            .iter()
            .map(|one| {
                let silent_ns = match one.over {
                    true => 0,
                    false => one.age_ns(now_ns, self.began_ns, &self.nodes),
                };
                LoopReport {
                    silent_ns,
                    ..LoopReport::new(
                        one.planned.clone(),
                        one.pinned.as_ref(),
                        &one.counters,
                        self.began_ns,
                    )
                }
            })
            .collect();
        Parts {
            line: LineReport {
                name: self.name.clone(),
                mode: "threads",
                clock: self.clock.kind().name(),
                elapsed_ns: now_ns.saturating_sub(self.began_ns),
                window_ns: 0,
                planned_bytes: self.planned_bytes,
                resident_bytes: self.resident_bytes,
                memory: self.memory.clone(),
            },
            host: &self.host,
            placement,
            hops: &self.hops,
            nodes: &self.nodes,
            splits: &self.splits,
            spills: &self.spills,
            writer_is_left: at_rest && self.drain.as_ref().is_some_and(|one| !one.complete),
            objective: self.objective.as_ref(),
            quarantine: &self.quarantine,
            drain,
            at_rest,
            hung: &hung,
            windows: &mut self.windows,
            window,
            records: self
                .recording
                .as_ref()
                .map_or_else(Vec::new, Recording::reports),
            now_ns,
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
