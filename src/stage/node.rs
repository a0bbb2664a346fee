//! A node: what a loop runs, whatever stands behind it.

use std::sync::Arc;

use crossbeam_utils::CachePadded;

use crate::base::Cause;
use crate::base::primitive::{AtomicU32, Ordering};
use crate::budget::{IngressCounters, Regime, Regimes, Segment, StageCounters};
use crate::clock::Clock;
use crate::control::{Latest, Words};
use crate::frame::KindInfo;
use crate::hist::Recorder;
use crate::io::{Driver, IoError};

use super::context::Outputs;
use super::counts::OwnCounts;
use super::hop::{Doorbell, HopRx};
use super::life::{Life, LifeCounters};
use super::log::LoopLog;
use super::port::Port;

/// What a node is on the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Frames enter here.
    Source,
    /// Frames pass here.
    Stage,
    /// Frames leave here.
    Sink,
}

impl Role {
    /// The word that reports use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Role::Source => "source",
            Role::Stage => "stage",
            Role::Sink => "sink",
        }
    }
}

/// What can be said of a node before it runs.
#[derive(Clone, Copy, Debug)]
pub struct Descriptor {
    /// What it is.
    pub role: Role,
    /// The kinds of frames it takes; empty means any. Meaningless for a source.
    pub takes: &'static [KindInfo],
    /// Its output ports.
    pub ports: &'static [Port],
    /// Most frames that it emits on one port for one frame taken, or for one message received.
    pub max_emit: usize,
    /// Names of its reasons to absorb or reject.
    pub reasons: &'static [&'static str],
    /// Whether a sink's frames count towards the objective from end to end; logs do not.
    pub in_objective: bool,
    /// Bytes that it allocates for itself, as far as it knows.
    pub memory_bytes: usize,
    /// Whether a source may know when the kernel received its messages, which is a span to record.
    pub tells_wire: bool,
}

/// Where a node is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum State {
    /// Not opened yet.
    Boot = 0,
    /// Taking frames.
    Run = 1,
    /// Taking what is left.
    Drain = 2,
    /// Ended in good order.
    Done = 3,
    /// Ended by a panic.
    Failed = 4,
    /// Ended from outside, with what was queued discarded.
    Aborted = 5,
    /// Away after a panic, until another instance is made.
    Restarting = 6,
    /// A source that was told to take nothing; its messages stay where they are.
    Paused = 7,
}

impl State {
    /// All of them.
    pub const ALL: [State; 8] = [
        State::Boot,
        State::Run,
        State::Drain,
        State::Done,
        State::Failed,
        State::Aborted,
        State::Restarting,
        State::Paused,
    ];

    /// The word that reports use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            State::Boot => "boot",
            State::Run => "run",
            State::Drain => "drain",
            State::Done => "done",
            State::Failed => "failed",
            State::Aborted => "aborted",
            State::Restarting => "restarting",
            State::Paused => "paused",
        }
    }

    const fn of(number: u32) -> State {
        match number {
            0 => State::Boot,
            1 => State::Run,
            2 => State::Drain,
            3 => State::Done,
            4 => State::Failed,
            6 => State::Restarting,
            7 => State::Paused,
            _ => State::Aborted,
        }
    }

    /// Whether it takes no more frames.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, State::Done | State::Failed | State::Aborted)
    }
}

/// Where a node is in its life, since when, and what it has been through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Where it is.
    pub state: State,
    /// Since when, in nanoseconds of the line's clock; 0 before it was opened.
    pub since_ns: u64,
    /// How often its state has changed.
    pub changes: u64,
    /// How often it was made anew after a panic.
    pub restarts: u64,
    /// Panics of it that went into its quarantine, with a frame in hand or without.
    pub quarantined: u64,
}

impl Default for Standing {
    fn default() -> Standing {
        Standing {
            state: State::Boot,
            since_ns: 0,
            changes: 0,
            restarts: 0,
            quarantined: 0,
        }
    }
}

impl Words<5> for Standing {
    fn to_words(self) -> [u64; 5] {
        let state = u64::from(self.state as u32);
        [
            state,
            self.since_ns,
            self.changes,
            self.restarts,
            self.quarantined,
        ]
    }

    fn from_words([state, since_ns, changes, restarts, quarantined]: [u64; 5]) -> Standing {
        Standing {
            state: State::of(state as u32),
            since_ns,
            changes,
            restarts,
            quarantined,
        }
    }
}

/// What a node counts, read by anybody while it runs.
#[derive(Debug, Default)]
pub struct NodeCounters {
    /// What it did with what it consumed.
    pub stage: CachePadded<StageCounters>,
    /// What it received, if it is a source.
    pub ingress: CachePadded<IngressCounters>,
    /// Where its time went.
    pub regimes: CachePadded<Regimes>,
    /// Nanoseconds held back, by output hop in the order of the ports.
    pub held_back_by: [crate::base::Counter; crate::base::limits::HOPS_PER_NODE_MAX],
    /// What its panics came to, if it is a stage.
    pub life: CachePadded<LifeCounters>,
    /// What its stage counts of its own.
    pub own: OwnCounts,
    /// The state alone, for the node's own turns.
    state: AtomicU32,
    /// The state with its history, for the outside.
    standing: Latest<Standing, 5>,
    /// What went wrong; written once, on the way out, never in a turn that goes well.
    fault: std::sync::OnceLock<String>,
    /// What its state came to; written once, at its end.
    state_hash: std::sync::OnceLock<u64>,
}

impl NodeCounters {
    /// Where the node is in its life.
    #[must_use]
    pub fn state(&self) -> State {
        // Acquire pairs with Release in `set_state`: a fault is there when its state is seen.
        State::of(self.state.load(Ordering::Acquire))
    }

    /// Where the node is in its life, with its history. Nothing if its loop has lost its processor just while it wrote that.
    #[must_use]
    pub fn standing(&self) -> Option<Standing> {
        self.standing.get()
    }

    /// The node's own loop only.
    pub(crate) fn set_state(&self, state: State, now_ns: u64) {
        self.set_state_and(state, now_ns, |_| {});
    }

    /// Says the state and what came with it in one change: nobody sees one without the other. The node's own loop only.
    fn set_state_and(&self, state: State, now_ns: u64, change: impl FnOnce(&mut Standing)) {
        // It comes first, so that who has seen the standing finds the state at least as new. Release pairs with Acquire in
        // `state`.
        self.state.store(state as u32, Ordering::Release);
        self.change_standing(|standing| {
            if state != standing.state {
                standing.state = state;
                standing.since_ns = now_ns;
                standing.changes += 1;
            }
            change(standing);
        });
    }

    /// Changes what the outside sees of the node's life. The node's own loop only.
    pub(crate) fn change_standing(&self, change: impl FnOnce(&mut Standing)) {
        // Nobody else writes, so what is read is whole.
        let mut standing = self.standing.get().unwrap_or_default();
        change(&mut standing);
        self.standing.set(standing);
    }

    /// Counts a restart, and says that it runs again. The node's own loop only.
    pub(crate) fn restarted(&self, now_ns: u64) {
        let life = &self.life;
        let in_vain = match self.done() > life.done_before.get() {
            true => 0,
            false => life.in_vain.get(),
        };
        life.in_vain.set(in_vain + 1);
        life.done_before.set(self.done());
        life.restarts.add(1);
        self.set_state_and(State::Run, now_ns, |standing| standing.restarts += 1);
    }

    /// Restarts in a row, up to now, between which it was done with no frame. It counts a turn's frames at the end of the turn.
    #[must_use]
    pub fn restarts_in_vain(&self) -> u64 {
        match self.done() > self.life.done_before.get() {
            true => 0,
            false => self.life.in_vain.get(),
        }
    }

    /// Messages that it has consumed and not panicked with.
    fn done(&self) -> u64 {
        let panicked = self.stage.panicked.get();
        self.stage.consumed.get().saturating_sub(panicked)
    }

    /// What went wrong, in words.
    #[must_use]
    pub fn fault(&self) -> Option<&str> {
        self.fault.get().map(String::as_str)
    }

    /// What its state came to, once it has ended in good order and if it tells: [`Stage::state_hash`](super::Stage::state_hash).
    #[must_use]
    pub fn state_hash(&self) -> Option<u64> {
        self.state_hash.get().copied()
    }

    pub(crate) fn set_state_hash(&self, hash: u64) {
        // A node ends once.
        let _ = self.state_hash.set(hash);
    }

    pub(crate) fn set_fault(&self, what: String) {
        // The first fault is the cause; later ones follow from it.
        let _ = self.fault.set(what);
    }
}

/// What a node is joined with when the line is built.
#[derive(Debug)]
pub struct Wiring {
    /// Its name in the line.
    pub name: Arc<str>,
    /// Its inputs.
    pub inputs: Vec<HopRx>,
    /// Its outputs, port by port.
    pub outputs: Outputs,
    /// Its counters.
    pub counters: Arc<NodeCounters>,
    /// The line's clock.
    pub clock: Clock,
    /// Wakes the loop that it runs on, if that loop parks.
    pub bell: Option<Doorbell>,
    /// Recorder of the span from the intended time to the end of the handler, for a sink.
    pub end_to_end: Option<Recorder<1>>,
    /// Recorder of the span from the kernel's receive stamp to the receipt, for a source that knows it.
    pub wire: Option<Recorder<1>>,
    /// Index of this source among the line's sources, for a source.
    pub source: u16,
    /// Most frames that it takes from one input in a turn, at least 1.
    pub batch: usize,
    /// What a panic comes to, for a stage; where there is none, it is the end of the line.
    pub life: Option<Life>,
}

impl Wiring {
    /// Says where the node is in its life, from now on.
    pub(crate) fn set_state(&self, state: State) {
        self.counters.set_state(state, self.clock.stamp());
    }
}

/// What one turn of a node came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Frames or messages handled.
    pub work: usize,
    /// Whether input waits for room downstream.
    pub held_back: bool,
}

impl Progress {
    /// Nothing to do.
    pub const IDLE: Progress = Progress {
        work: 0,
        held_back: false,
    };
}

/// What a turn has in hand beside the node: the driver, and where the time goes.
#[derive(Debug)]
pub struct Turn<'a> {
    /// The door to the operating system.
    pub io: &'a mut Driver,
    /// The time up to which everything is accounted for, in nanoseconds of the line's clock.
    pub mark_ns: u64,
    /// Where the loop's own time goes: idle and housekeeping.
    pub idle: &'a Regimes,
    /// How much of this turn was no work: idle before it, or held back, in nanoseconds.
    pub rest_ns: u64,
    /// The line's clock.
    pub clock: &'a Clock,
    /// Where long segments are noted, if the run is to be judged.
    pub log: &'a mut LoopLog,
}

impl Turn<'_> {
    /// Gives the time since the last mark to a regime of `to`, and sets the mark.
    #[inline(always)]
    pub fn account(&mut self, to: &Regimes, regime: Regime, now_ns: u64) {
        let span_ns = now_ns.saturating_sub(self.mark_ns);
        to.add(regime, span_ns);
        if matches!(regime, Regime::Idle | Regime::HeldBack) {
            self.rest_ns += span_ns;
        }
        self.mark_ns = self.mark_ns.max(now_ns);
    }

    /// The same for time that is one segment: it is noted if it was long.
    #[inline(always)]
    pub fn account_segment(&mut self, to: &Regimes, regime: Regime, kind: Segment, now_ns: u64) {
        let since_ns = self.mark_ns;
        self.account(to, regime, now_ns);
        if self.log.is_long(kind, now_ns.saturating_sub(since_ns)) {
            self.note(kind, since_ns, now_ns);
        }
    }

    /// Gives the time since the last mark to the loop's idle time.
    #[inline(always)]
    pub fn account_idle(&mut self, now_ns: u64) {
        self.account_segment(self.idle, Regime::Idle, Segment::Idle, now_ns);
    }

    /// Notes a long segment. What that takes is a chore of the loop: no frame waits for it unseen, and none pays for it.
    #[cold]
    pub(crate) fn note(&mut self, kind: Segment, since_ns: u64, until_ns: u64) {
        self.log.note(kind, since_ns, until_ns);
        let now_ns = self.clock.stamp();
        self.log.took(until_ns, now_ns);
        let span_ns = now_ns.saturating_sub(self.mark_ns);
        self.idle.add(Regime::Housekeeping, span_ns);
        self.rest_ns += span_ns;
        self.mark_ns = self.mark_ns.max(now_ns);
    }
}

/// What a loop runs. The loop calls [`Node::open`] once on its own thread, then [`Node::turn`]
/// until the node is over.
pub trait Node: Send {
    /// Its name in the line.
    fn name(&self) -> &str;

    /// Its counters.
    fn counters(&self) -> &Arc<NodeCounters>;

    /// Opens what it needs of the operating system.
    ///
    /// # Errors
    /// What could not be opened and why.
    fn open(&mut self, io: &mut Driver) -> Result<(), IoError>;

    /// The line starts: schedules count from `t0_ns` of the line's clock.
    fn start(&mut self, _t0_ns: u64) {}

    /// Does a bounded amount of work.
    fn turn(&mut self, turn: &mut Turn<'_>) -> Progress;

    /// Whether an input has something to take; asked once more before the loop sleeps.
    fn has_input(&mut self) -> bool {
        false
    }

    /// Does as the policies of its hops say now: one of the line's has changed.
    fn refresh(&mut self) {}

    /// Whether frames enter the line here. Such a node has no input that a schedule could go by: it has a
    /// turn in each round of its loop.
    fn brings_in(&self) -> bool {
        false
    }

    /// When the first of the frames that wait for it is due, in nanoseconds of the line's clock; none
    /// where none waits, or it takes none just now. What it waits for by itself is [`Node::next_due_ns`].
    fn due_ns(&mut self) -> Option<u64> {
        None
    }

    /// The line drains. A source takes nothing new from outside any more; the others end when their
    /// inputs do, and one that is away between two instances of its stage waits no longer.
    fn drain(&mut self) {}

    /// Ends the back-off of a stage that is away after a panic, and says whether it was.
    fn restart(&mut self) -> bool {
        false
    }

    /// Takes nothing from outside until it is resumed, or its line drains. Only sources act on it.
    fn pause(&mut self) {}

    /// Goes on after a pause.
    fn resume(&mut self) {}

    /// When it next has something to do by itself, in nanoseconds of the line's clock.
    fn next_due_ns(&self) -> Option<u64> {
        None
    }

    /// Hands what it recorded to the observers that asked, and looks after its I/O.
    fn housekeep(&mut self, io: &mut Driver);

    /// Ends it because a call of it panicked: the frame in hand is accounted for, its hops close,
    /// and the report has the panic's words.
    fn fail(&mut self, what: &(dyn std::any::Any + Send));

    /// Ends it at once: what is queued is discarded with that reason.
    fn abort(&mut self, io: &mut Driver, cause: Cause);

    /// Whether it needs no more turns.
    fn is_over(&self) -> bool;
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::base::limits::BLAME_FROM_NS;
    use crate::stage::log::{Room, Shelf};

    #[test]
    fn a_processor_that_is_taken_away_while_the_kernel_is_asked_is_a_gap() {
        let gaps_with = |tick_ns: u64| {
            let (clock, time) = Clock::virtual_at(100_000);
            time.set_tick_ns(tick_ns);
            let shelf = Shelf::default();
            let mut log = LoopLog::on(shelf.clone(), std::iter::empty(), Room::default());
            log.begin();
            let regimes = Regimes::default();
            let mut io = Driver::real().unwrap();
            let mut turn = Turn {
                io: &mut io,
                mark_ns: 100_000,
                idle: &regimes,
                rest_ns: 0,
                clock: &clock,
                log: &mut log,
            };
            turn.note(Segment::Handler, 90_000, 100_000);
            log.hand_over(std::iter::empty());
            let evidence = shelf.get().unwrap();
            let noted = evidence.segments.iter();
            noted.filter(|one| one.kind == Segment::Blame).count()
        };
        assert_eq!(gaps_with(1_000), 0);
        assert_eq!(gaps_with(BLAME_FROM_NS), 1);
    }

    #[test]
    fn restarts_are_in_vain_until_a_frame_is_done_with_between_two() {
        let counters = NodeCounters::default();
        for nth in 1..=3 {
            // Each takes a frame and panics with it.
            counters.stage.consumed.add(1);
            counters.stage.panicked.add(1);
            counters.restarted(nth);
            assert_eq!(counters.restarts_in_vain(), nth);
        }
        counters.stage.consumed.add(1);
        assert_eq!(counters.restarts_in_vain(), 0);
        counters.restarted(4);
        assert_eq!(
            (counters.restarts_in_vain(), counters.life.restarts.get()),
            (1, 4)
        );
    }
}
