//! The duty cycle.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::base::limits::{HOUSEKEEPING_NS, PARK_MAX_NS, REQUESTS_PER_CHORE};
use crate::base::{Cause, primitive};
use crate::budget::{Regime, Segment};
use crate::clock::Clock;
use crate::control::{Command, Control, Request, Requests};
use crate::host::{pace_ready, pace_work};
use crate::io::{Driver, IoError};
use crate::stage::log::LoopLog;
use crate::stage::{Node, Turn, panic_words};
use crate::wait::{Idle, Rest, Sleeper, Strategy};

use super::counters::LoopCounters;
use super::notice::Notices;
use super::round::{Rounds, Tally};
use super::schedule::Order;

/// Turns without work between two looks at the clock. A turn without work takes tens of
/// nanoseconds, so housekeeping is late by microseconds at the most.
const IDLE_TURNS_PER_LOOK: u32 = 64;

/// Empty turns between two looks at the poll, where the driver [waits for
/// readiness](Driver::wants_poll): a look costs about as much as eight turns that find nothing.
const EMPTY_TURNS_PER_POLL: u32 = 8;

/// Turns between two looks at the poll of a loop that always has work, where the driver waits for
/// readiness: a turn with work takes a microsecond or more, so a socket that becomes readable then
/// waits tens of microseconds at the most, and a look costs that loop about 1 %.
const TURNS_PER_POLL: u32 = 64;

/// Longest park of a loop that is held back, in nanoseconds: nobody rings when room appears.
const HELD_BACK_PARK_NS: u64 = 100_000;

/// Longest park of a loop that waits for the others to open, in nanoseconds: the line starts together.
const HOLD_PARK_NS: u64 = 500_000;

/// Why a node could not be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// The operating system said no.
    Io(IoError),
    /// It panicked; its words.
    Panicked(String),
}

/// Calls a node outside of its turn. A panic there ends the node as one in a turn does.
fn guarded(node: &mut dyn Node, call: impl FnOnce(&mut dyn Node)) {
    if let Err(what) = catch_unwind(AssertUnwindSafe(|| call(node))) {
        node.fail(what.as_ref());
    }
}

/// What one step of a loop came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Work was done.
    Worked,
    /// There was nothing to do; in inline mode the caller moves virtual time.
    Idle {
        /// When the next node has something to do by itself, if known.
        next_due_ns: Option<u64>,
        /// Whether a node waits for room downstream.
        held_back: bool,
    },
    /// Every node is over.
    Over,
}

/// A loop and the nodes on it.
pub struct Reactor {
    nodes: Vec<Box<dyn Node>>,
    /// None where each has its turn in its place.
    rounds: Option<Rounds>,
    driver: Driver,
    clock: Clock,
    control: Arc<Control>,
    counters: Arc<LoopCounters>,
    idle: Idle,
    sleeper: Option<Sleeper>,
    /// The time up to which everything is accounted for, and from when.
    mark_ns: u64,
    began_ns: u64,
    /// When the clock was last read while there was nothing to do: the mark stays where it is while
    /// a node is held back.
    looked_ns: u64,
    housekeep_at_ns: u64,
    idle_turns: u32,
    turns_since_poll: u32,
    seen: Command,
    /// How often there was news for the nodes when they last looked.
    heard: u32,
    log: LoopLog,
    requests: Arc<Requests>,
    notices: Notices,
}

impl std::fmt::Debug for Reactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.nodes.iter().map(|node| node.name()).collect();
        f.debug_struct("Reactor")
            .field("nodes", &names)
            .finish_non_exhaustive()
    }
}

impl Reactor {
    /// A loop over these nodes. `sleeper` announces its sleep to producers on other loops; without
    /// one the loop must not park, or it is woken late.
    #[must_use]
    pub fn new(
        nodes: Vec<Box<dyn Node>>,
        driver: Driver,
        clock: Clock,
        strategy: Strategy,
        sleeper: Option<Sleeper>,
        control: Arc<Control>,
        counters: Arc<LoopCounters>,
    ) -> Reactor {
        let mark_ns = clock.stamp();
        Reactor {
            nodes,
            rounds: None,
            driver,
            clock,
            control,
            counters,
            idle: Idle::new(strategy),
            sleeper,
            mark_ns,
            began_ns: mark_ns,
            looked_ns: mark_ns,
            housekeep_at_ns: mark_ns,
            idle_turns: 0,
            turns_since_poll: 0,
            seen: Command::Hold,
            heard: 0,
            log: LoopLog::off(),
            requests: Arc::default(),
            notices: Notices::default(),
        }
    }

    /// The same with turns in that order.
    #[must_use]
    pub fn ordered(mut self, order: Order) -> Reactor {
        self.rounds = Rounds::of(order, &self.nodes);
        self
    }

    /// The same with a log of its long segments.
    #[must_use]
    pub fn logged(mut self, log: LoopLog) -> Reactor {
        self.log = log;
        self
    }

    /// The same, which is asked by others and complains to them.
    #[must_use]
    pub fn heard(mut self, requests: Arc<Requests>, notices: Notices) -> Reactor {
        self.requests = requests;
        self.notices = notices;
        self
    }

    /// Opens what the nodes need of the operating system, on the loop's own thread.
    ///
    /// # Errors
    /// The node whose resource could not be opened, and why.
    pub fn open(&mut self) -> Result<(), (String, OpenError)> {
        for node in &mut self.nodes {
            let opened = catch_unwind(AssertUnwindSafe(|| node.open(&mut self.driver)));
            let error = match opened {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => OpenError::Io(error),
                Err(what) => OpenError::Panicked(panic_words(what.as_ref())),
            };
            return Err((node.name().to_owned(), error));
        }
        Ok(())
    }

    /// Runs until every node is over, and drops them.
    pub fn run(&mut self) {
        self.turns();
        let now_ns = self.clock.stamp();
        self.notices.end(now_ns);
        self.log.note_sheds(now_ns);
        let names = self.nodes.iter().map(|node| node.name().to_owned());
        self.log.hand_over(names);
        self.drop_nodes();
    }

    /// Drops the nodes one by one, each under its name: a drop is the user's code as well, and may hang.
    fn drop_nodes(&mut self) {
        for (at, node) in self.nodes.drain(..).enumerate() {
            self.counters.current.set(at as u64 + 1);
            drop(node);
        }
        self.counters.current.set(0);
    }

    fn turns(&mut self) {
        loop {
            match self.step() {
                Step::Worked => self.idle.worked(),
                Step::Idle {
                    next_due_ns,
                    held_back,
                } => self.rest(next_due_ns, held_back),
                Step::Over => return,
            }
        }
    }

    /// One turn over all nodes, or a round of turns by another schedule. For inline mode; [`Reactor::run`] is the loop around it.
    pub fn step(&mut self) -> Step {
        let command = self.control.command();
        if command != self.seen {
            self.obey(command);
        }
        let heard = self.control.heard();
        if heard != self.heard {
            self.heard = heard;
            self.nodes.iter_mut().for_each(|node| node.refresh());
        }
        if command == Command::Hold {
            // No turn reads the clock meanwhile, and a ladder may be given in time.
            self.looked_ns = self.clock.stamp();
            return Step::Idle {
                next_due_ns: None,
                held_back: false,
            };
        }
        if self.clock.is_virtual() {
            self.driver.observe_time(self.clock.now_ns());
        }
        let mut turn = Turn {
            io: &mut self.driver,
            mark_ns: self.mark_ns,
            idle: &self.counters.regimes,
            rest_ns: 0,
            clock: &self.clock,
            log: &mut self.log,
        };
        let tally = match &mut self.rounds {
            None => {
                let mut tally = Tally::new(&turn);
                for (at, node) in self.nodes.iter_mut().enumerate() {
                    if !node.is_over() {
                        tally.turn(at, node.as_mut(), &mut turn, &self.counters);
                    }
                }
                tally
            }
            Some(rounds) => rounds.round(&mut self.nodes, &mut turn, &self.counters),
        };
        turn.log.node = 0;
        let Tally {
            work,
            held_back,
            over,
            slowest,
            busy_ns,
            ..
        } = tally;
        self.mark_ns = turn.mark_ns;
        self.counters.current.set(0);
        self.counters.turns.add(1);
        if over {
            self.account(Regime::Idle, self.clock.stamp());
            self.counters.span_ns.set(self.mark_ns - self.began_ns);
            return Step::Over;
        }
        self.turns_since_poll += 1;
        if work > 0 {
            self.idle_turns = 0;
            if busy_ns > self.counters.turn_ns_max.get() {
                self.counters.turn_ns_max.set(busy_ns);
                self.counters.turn_max_node.set(slowest);
                self.counters.turn_max_at_ns.set(self.mark_ns);
            }
            if self.turns_since_poll >= TURNS_PER_POLL {
                self.look_at_poll();
            }
            if self.mark_ns >= self.housekeep_at_ns {
                self.housekeep();
            }
            return Step::Worked;
        }
        if self.turns_since_poll >= EMPTY_TURNS_PER_POLL {
            self.look_at_poll();
        }
        self.idle_turns += 1;
        // A loop that is judged looks at the clock in every turn: what is longer than a turn takes is the host's.
        let looks = self.log.is_on() || self.clock.is_virtual();
        if looks || self.idle_turns >= IDLE_TURNS_PER_LOOK {
            self.look_around(held_back);
        }
        Step::Idle {
            next_due_ns: self.next_due_ns(),
            held_back,
        }
    }

    /// Lets the driver see which sockets have become readable, where it waits to be told: a loop
    /// that spins or always has work would otherwise never ask.
    fn look_at_poll(&mut self) {
        self.turns_since_poll = 0;
        if self.driver.wants_poll() {
            // A failed poll has seen nothing; the next one is a few turns away.
            let _ = self.driver.poll(self.mark_ns, Some(0));
        }
    }

    /// In a turn without work: the time so far was idle, and housekeeping may be due.
    fn look_around(&mut self, held_back: bool) {
        self.idle_turns = 0;
        self.looked_ns = self.clock.stamp();
        let (since_ns, now_ns) = (self.mark_ns, self.looked_ns);
        let span_ns = now_ns.saturating_sub(since_ns);
        // Before chores, which are no part of it. A park is none either: it is not looked around after.
        if !held_back {
            self.log.idle_turn(span_ns);
        }
        if !held_back && self.log.is_long(Segment::Idle, span_ns) {
            self.account(Regime::Idle, now_ns);
            self.log.note(Segment::Idle, since_ns, now_ns);
            let noted_ns = self.clock.stamp();
            self.log.took(now_ns, noted_ns);
            self.account(Regime::Housekeeping, noted_ns);
        }
        if !held_back && self.log.wants_pace(now_ns) {
            self.look_at_pace();
        }
        self.rested_until(self.looked_ns, held_back);
    }

    /// Looks at how fast the core runs. What takes the processor away meanwhile is a gap as in any idle turn.
    #[cold]
    fn look_at_pace(&mut self) {
        pace_ready();
        let from_ns = self.clock.stamp_after();
        self.account(Regime::Idle, from_ns);
        pace_work();
        let done_ns = self.clock.stamp_after();
        self.log.note_pace(from_ns, done_ns);
        if self
            .log
            .is_long(Segment::Idle, done_ns.saturating_sub(from_ns))
        {
            self.log.note(Segment::Idle, from_ns, done_ns);
        }
        let noted_ns = self.clock.stamp();
        self.log.took(done_ns, noted_ns);
        self.account(Regime::Housekeeping, noted_ns);
    }

    /// Accounts for time in which nothing was done, and does the chores that have become due. The
    /// node that waits for room accounts for that time by itself, as long as no chore comes between.
    fn rested_until(&mut self, now_ns: u64, held_back: bool) {
        let is_due = now_ns >= self.housekeep_at_ns;
        if !held_back {
            self.account(Regime::Idle, now_ns);
        } else if is_due {
            self.account(Regime::HeldBack, now_ns);
        }
        if is_due {
            self.housekeep();
        }
    }

    /// Gives the time since the mark to a regime of the loop's own.
    fn account(&mut self, regime: Regime, now_ns: u64) {
        let span_ns = now_ns.saturating_sub(self.mark_ns);
        self.counters.regimes.add(regime, span_ns);
        self.mark_ns = self.mark_ns.max(now_ns);
    }

    fn next_due_ns(&self) -> Option<u64> {
        let live = self.nodes.iter().filter(|node| !node.is_over());
        live.filter_map(|node| node.next_due_ns()).min()
    }

    /// Does a bounded few of the things that it was asked for. Returns whether there were any.
    fn take_requests(&mut self) -> bool {
        let mut asked = false;
        for _ in 0..REQUESTS_PER_CHORE {
            let Some(request) = self.requests.take() else {
                break;
            };
            asked = true;
            let (Request::Pause(at) | Request::Resume(at) | Request::Restart(at)) = request;
            let Some(node) = self.nodes.get_mut(usize::from(at)) else {
                continue;
            };
            self.counters.current.set(u64::from(at) + 1);
            guarded(node.as_mut(), |node| match request {
                Request::Pause(_) => node.pause(),
                Request::Resume(_) => node.resume(),
                Request::Restart(_) => drop(node.restart()),
            });
        }
        self.counters.current.set(0);
        asked
    }

    fn housekeep(&mut self) {
        self.take_requests();
        for (at, node) in self.nodes.iter_mut().enumerate() {
            self.counters.current.set(at as u64 + 1);
            let driver = &mut self.driver;
            guarded(node.as_mut(), |node| node.housekeep(driver));
        }
        self.counters.current.set(0);
        let (since_ns, now_ns) = (self.mark_ns, self.clock.stamp());
        let kind = Segment::Housekeeping;
        if self.log.is_long(kind, now_ns.saturating_sub(since_ns)) {
            self.log.note(kind, since_ns, now_ns);
        } else {
            self.log.refresh();
        }
        self.log.note_sheds(now_ns);
        self.notices.look(now_ns);
        let done_ns = self.clock.stamp();
        self.log.took(now_ns, done_ns);
        // After all that the loop has to say of the time before.
        self.log.tell_until(now_ns);
        self.account(Regime::Housekeeping, done_ns);
        self.counters.span_ns.set(self.mark_ns - self.began_ns);
        self.counters.beat_ns.set(self.mark_ns);
        self.housekeep_at_ns = self.mark_ns + HOUSEKEEPING_NS;
    }

    fn obey(&mut self, command: Command) {
        if self.seen == Command::Hold && command != Command::Abort {
            let t0_ns = self.control.t0_ns();
            for (at, node) in self.nodes.iter_mut().enumerate() {
                self.counters.current.set(at as u64 + 1);
                guarded(node.as_mut(), |node| node.start(t0_ns));
            }
            // What went before was waiting for the others to open: no part of the run.
            self.mark_ns = self.clock.stamp();
            self.began_ns = self.mark_ns;
            self.counters.regimes.clear();
            self.log.begin();
        }
        self.seen = command;
        for (at, node) in self.nodes.iter_mut().enumerate() {
            self.counters.current.set(at as u64 + 1);
            let driver = &mut self.driver;
            guarded(node.as_mut(), |node| match command {
                Command::Hold | Command::Run => {}
                Command::Drain => node.drain(),
                Command::GiveUp => node.abort(driver, Cause::Failed),
                Command::Abort => node.abort(driver, Cause::Aborted),
            });
        }
        self.counters.current.set(0);
    }

    /// The next step of the idle ladder, by the latest time that the loop has read anyway.
    fn next_rest(&mut self) -> Rest {
        self.idle.next(self.mark_ns.max(self.looked_ns))
    }

    /// What the loop does when a turn found nothing.
    fn rest(&mut self, next_due_ns: Option<u64>, held_back: bool) {
        let park_ns = match self.next_rest() {
            Rest::Spin => return primitive::spin_hint(),
            Rest::Yield => {
                std::thread::yield_now();
                if self.idle.strategy().times_yields() {
                    // Others may have had the core for a whole slice: 64 of them would be too late.
                    // Beside the system call the read is nothing.
                    self.looked_ns = self.clock.stamp();
                }
                return;
            }
            Rest::Park(most_ns) => most_ns.min(PARK_MAX_NS),
        };
        // Who asks wakes the loop; asleep again at once it would be late by a whole park.
        if self.take_requests() {
            return;
        }
        let now_ns = self.clock.stamp();
        let mut park_ns =
            next_due_ns.map_or(park_ns, |due| park_ns.min(due.saturating_sub(now_ns)));
        if held_back {
            park_ns = park_ns.min(HELD_BACK_PARK_NS);
        } else {
            self.account(Regime::Idle, now_ns);
        }
        if self.seen == Command::Hold {
            park_ns = park_ns.min(HOLD_PARK_NS);
        }
        if park_ns == 0 {
            return;
        }
        if let Some(sleeper) = &self.sleeper {
            sleeper.announce();
            // What was published before the announcement rang no bell: look once more.
            // Input that waits for room does not count; for new input the park is short then.
            let mut live = self.nodes.iter_mut().filter(|node| !node.is_over());
            let work = !held_back && live.any(|node| node.has_input());
            if work || self.control.command() != self.seen {
                sleeper.retract();
                return;
            }
        }
        // A failed poll is a poll that returned at once: the sockets are read all the same.
        let _ = self.driver.poll(now_ns, Some(park_ns));
        if let Some(sleeper) = &self.sleeper {
            sleeper.retract();
        }
        self.turns_since_poll = 0;
        self.rested_until(self.clock.stamp(), held_back);
    }

    /// Ends the loop; what its nodes still hold reaches their observers.
    #[must_use]
    pub fn into_driver(self) -> Driver {
        self.driver
    }

    /// The driver, for inline mode: virtual time moves with its poll.
    pub fn driver(&mut self) -> &mut Driver {
        &mut self.driver
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::Virtual;
    use crate::stage::{NodeCounters, Progress};
    use crate::wait::Rung;

    /// A node with nothing to do.
    #[derive(Default)]
    struct Silent {
        counters: Arc<NodeCounters>,
        held_back: bool,
        pauses: Arc<crate::base::Counter>,
    }

    impl Node for Silent {
        fn name(&self) -> &str {
            "silent"
        }
        fn counters(&self) -> &Arc<NodeCounters> {
            &self.counters
        }
        fn open(&mut self, _io: &mut Driver) -> Result<(), IoError> {
            Ok(())
        }
        fn turn(&mut self, _turn: &mut Turn<'_>) -> Progress {
            Progress {
                work: 0,
                held_back: self.held_back,
            }
        }
        fn housekeep(&mut self, _io: &mut Driver) {}
        fn pause(&mut self) {
            self.pauses.add(1);
        }
        fn fail(&mut self, _what: &(dyn std::any::Any + Send)) {}
        fn abort(&mut self, _io: &mut Driver, _cause: Cause) {}
        fn is_over(&self) -> bool {
            false
        }
    }

    /// How many of 1,000 empty turns spin and how many yield, and the time after them on a clock that
    /// every read of it moves by 100 ns.
    fn climb(spins: Rung, yields: Rung, held_back: bool) -> (usize, usize, u64) {
        let (clock, time) = Clock::virtual_at(1_000_000);
        time.set_tick_ns(100);
        let control = Arc::new(Control::default());
        let node = Silent {
            held_back,
            ..Silent::default()
        };
        let park = Strategy::Park {
            spins,
            yields,
            max_park_ns: 1_000,
        };
        let mut reactor = Reactor::new(
            vec![Box::new(node)],
            Virtual::new().into(),
            clock.clone(),
            park,
            None,
            control.clone(),
            Arc::default(),
        );
        control.run(clock.now_ns());
        let (mut spun, mut yielded) = (0, 0);
        for _ in 0..1_000 {
            let step = reactor.step();
            assert!(matches!(step, Step::Idle { .. }), "{step:?}");
            match reactor.next_rest() {
                Rest::Spin => spun += 1,
                Rest::Yield => yielded += 1,
                Rest::Park(_) => {}
            }
        }
        (spun, yielded, clock.now_ns())
    }

    #[test]
    fn a_ladder_in_time_follows_the_clock_and_reads_it_no_more_often() {
        for held_back in [false, true] {
            // On virtual time a turn without work reads the clock once, so it takes 100 ns.
            let (spun, yielded, ended_ns) = climb(Rung::Turns(50), Rung::Turns(200), held_back);
            assert_eq!((spun, yielded), (50, 200));
            let timed = climb(Rung::Span(5_000), Rung::Span(20_000), held_back);
            assert_eq!(timed, (50, 200, ended_ns), "held back: {held_back}");
        }
    }

    #[test]
    fn a_loop_that_waits_for_the_others_to_open_climbs_as_well() {
        let (clock, time) = Clock::virtual_at(1_000_000);
        time.set_tick_ns(100);
        let mut reactor = Reactor::new(
            Vec::new(),
            Virtual::new().into(),
            clock,
            Strategy::Yield {
                spins: Rung::Span(1_000),
            },
            None,
            Arc::default(),
            Arc::default(),
        );
        let mut turn = || {
            reactor.step();
            reactor.next_rest()
        };
        let rests: Vec<Rest> = (0..20).map(|_| turn()).collect();
        assert_eq!(rests[..10], [Rest::Spin; 10]);
        assert_eq!(rests[10..], [Rest::Yield; 10]);
    }

    #[test]
    fn a_loop_takes_few_requests_with_each_housekeeping_and_beats() {
        let (clock, time) = Clock::virtual_at(1_000_000);
        let (control, counters) = (Arc::<Control>::default(), Arc::<LoopCounters>::default());
        let (requests, pauses) = (Arc::<Requests>::default(), Arc::default());
        let node = Silent {
            pauses: Arc::clone(&pauses),
            ..Silent::default()
        };
        let mut reactor = Reactor::new(
            vec![Box::new(node)],
            Virtual::new().into(),
            clock.clone(),
            Strategy::Spin,
            None,
            control.clone(),
            counters.clone(),
        )
        .heard(requests.clone(), Notices::default());
        control.run(clock.now_ns());
        for _ in 0..REQUESTS_PER_CHORE + 1 {
            requests.ask(Request::Pause(0)).unwrap();
        }
        // A number that is no node of this loop harms nobody.
        requests.ask(Request::Pause(7)).unwrap();
        let mut chore = || {
            time.advance_to(clock.now_ns() + HOUSEKEEPING_NS);
            reactor.step();
            assert_eq!(counters.beat_ns.get(), clock.now_ns());
            pauses.get()
        };
        let few = REQUESTS_PER_CHORE as u64;
        assert_eq!([chore(), chore(), chore()], [few, few + 1, few + 1]);
        assert!(requests.is_empty());
    }
}
