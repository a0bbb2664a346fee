//! A round of turns by another schedule than each in its place.
//!
//! ```text
//!   round ─→ each source ─→ the first of those with input ─┐  until none has any, as many turns as there
//!                        └──────── after a turn ───────────┘  are takers were given, or it took too long
//!         ─→ each taker without input, or whose timer is due: timers, what it has queued, its end
//! ```
//!
//! A round is bounded as a turn of round robin is: sources, polls, chores and commands wait no longer.
//! A node that is held back is not asked again until another one did some work.
//!
//! Invariant: a node that has input gets its turn after a bounded number of turns of others, and every other
//! node, and one whose timer is due, one in each round.

use crate::base::limits::{PRIORITY_MAX, ROUND_NS};
use crate::stage::{Node, Progress, Turn};

use super::counters::LoopCounters;
use super::schedule::{Order, Schedule};

/// What the turns of a step came to.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) work: usize,
    pub(super) held_back: bool,
    /// Whether there was nobody left to give a turn to.
    pub(super) over: bool,
    /// The node that took the longest, by its place plus one, and how long: its own time, without idling.
    pub(super) slowest: u64,
    slowest_ns: u64,
    /// What all of them took.
    pub(super) busy_ns: u64,
    began_ns: u64,
}

impl Tally {
    #[inline(always)]
    pub(super) fn new(turn: &Turn<'_>) -> Tally {
        Tally {
            work: 0,
            held_back: false,
            over: true,
            slowest: 0,
            slowest_ns: 0,
            busy_ns: 0,
            began_ns: turn.mark_ns,
        }
    }

    /// Gives a node its turn.
    #[inline(always)]
    pub(super) fn turn(
        &mut self,
        at: usize,
        node: &mut dyn Node,
        turn: &mut Turn<'_>,
        counters: &LoopCounters,
    ) -> Progress {
        self.over = false;
        counters.current.set(at as u64 + 1);
        turn.log.node = at as u16 + 1;
        let progress = node.turn(turn);
        self.work += progress.work;
        self.held_back |= progress.held_back;
        let busy_so_far_ns = turn.mark_ns - self.began_ns - turn.rest_ns;
        if busy_so_far_ns - self.busy_ns > self.slowest_ns {
            (self.slowest, self.slowest_ns) = (at as u64 + 1, busy_so_far_ns - self.busy_ns);
        }
        self.busy_ns = busy_so_far_ns;
        progress
    }
}

/// The nodes of a set, in the order of their places.
fn places(mut set: u64) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let at = set.trailing_zeros() as usize;
        set &= set.wrapping_sub(1);
        (at < u64::BITS as usize).then_some(at)
    })
}

/// Who has the next turn of a round.
#[derive(Debug)]
pub(super) struct Rounds {
    order: Order,
    /// Sets of nodes, a bit each: those that bring frames in, and those that take them.
    sources: u64,
    takers: u64,
    /// Turns of others since each of them had one, as long as it has input.
    passed_over: Vec<u32>,
    /// Who had the last turn of those that take frames.
    last: usize,
}

impl Rounds {
    /// Rounds for these nodes; none where each has its turn in its place, or none waits for another.
    pub(super) fn of(mut order: Order, nodes: &[Box<dyn Node>]) -> Option<Rounds> {
        let (mut sources, mut takers) = (0, 0);
        for (at, node) in nodes.iter().enumerate() {
            let set = if node.brings_in() {
                &mut sources
            } else {
                &mut takers
            };
            *set |= 1u64.checked_shl(at as u32)?;
        }
        if order.schedule == Schedule::RoundRobin || takers.count_ones() < 2 {
            return None;
        }
        order.priorities.resize(nodes.len(), PRIORITY_MAX);
        Some(Rounds {
            order,
            sources,
            takers,
            passed_over: vec![0; nodes.len()],
            last: nodes.len() - 1,
        })
    }

    /// Gives turns; see this file's head.
    pub(super) fn round(
        &mut self,
        nodes: &mut [Box<dyn Node>],
        turn: &mut Turn<'_>,
        counters: &LoopCounters,
    ) -> Tally {
        let mut tally = Tally::new(turn);
        for at in places(self.sources) {
            if !nodes[at].is_over() {
                tally.turn(at, nodes[at].as_mut(), turn, counters);
            }
        }
        let until_ns = turn.mark_ns + ROUND_NS;
        // Those that had a turn, those that had one in vain since another one did some work, and those
        // that were seen with input and wait for a turn by the schedule.
        let (mut had, mut vain, mut waiting) = (0u64, 0u64, 0u64);
        for _ in 0..self.takers.count_ones() {
            let next;
            (next, waiting) = self.next(nodes, vain, turn.mark_ns);
            let Some(at) = next else { break };
            let progress = tally.turn(at, nodes[at].as_mut(), turn, counters);
            had |= 1 << at;
            vain = match progress.work {
                0 => vain | 1 << at,
                _ => 0,
            };
            if turn.mark_ns >= until_ns {
                break;
            }
        }
        for at in places(self.takers & !had & !waiting) {
            if !nodes[at].is_over() {
                tally.turn(at, nodes[at].as_mut(), turn, counters);
            }
        }
        tally
    }

    /// Who is next at `now_ns`, without those in `vain`, and who waits for a turn by the schedule: has input, and no timer whose
    /// time has come. Looks at the heads of all inputs.
    fn next(
        &mut self,
        nodes: &mut [Box<dyn Node>],
        vain: u64,
        now_ns: u64,
    ) -> (Option<usize>, u64) {
        let mut waiting = 0;
        let (mut first, mut starved) = (None, None);
        for at in places(self.takers) {
            let node = nodes[at].as_mut();
            // What a stage holds is due by its timer, and is urgent once that has come.
            let timer_ns = node.next_due_ns().filter(|due_ns| *due_ns <= now_ns);
            let urgency = match self.order.schedule {
                _ if node.is_over() => None,
                Schedule::Edf => node.due_ns().into_iter().chain(timer_ns).min(),
                _ => node
                    .has_input()
                    .then(|| u64::from(self.order.priorities[at])),
            };
            let Some(urgency) = urgency else {
                self.passed_over[at] = 0;
                continue;
            };
            waiting |= u64::from(timer_ns.is_none()) << at;
            if vain & 1 << at != 0 {
                continue;
            }
            // Of those that are alike it is the one that comes next after the last.
            let further = (at + nodes.len() - self.last - 1) % nodes.len();
            let key = (urgency, further);
            if first.is_none_or(|(least, _)| key < least) {
                first = Some((key, at));
            }
            let passed_over = self.passed_over[at];
            if passed_over >= self.order.guard_turns
                && starved.is_none_or(|(most, _)| passed_over > most)
            {
                starved = Some((passed_over, at));
            }
            self.passed_over[at] = passed_over.saturating_add(1);
        }
        let next = starved.map(|(_, at)| at).or(first.map(|(_, at)| at));
        if let Some(at) = next {
            self.passed_over[at] = 0;
            self.last = at;
        }
        (next, waiting)
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::base::{Cause, Counter};
    use crate::budget::Regimes;
    use crate::clock::Clock;
    use crate::io::{Driver, IoError, Virtual};
    use crate::stage::NodeCounters;
    use crate::stage::log::LoopLog;

    const NODES: usize = 5;

    /// What the test and its nodes both see.
    #[derive(Default)]
    struct Desk {
        pending: [Counter; NODES],
        due_ns: [Counter; NODES],
        blocked: [Counter; NODES],
        /// Turns in all, and for each node the number of its last one.
        turns: Counter,
        last: [Counter; NODES],
        /// The most turns between two of a node that had input all the while.
        gap: [Counter; NODES],
    }

    /// Takes one frame in a turn; the first one is a source.
    struct Fake {
        at: usize,
        desk: Arc<Desk>,
        counters: Arc<NodeCounters>,
    }

    impl Node for Fake {
        fn name(&self) -> &str {
            "fake"
        }
        fn counters(&self) -> &Arc<NodeCounters> {
            &self.counters
        }
        fn open(&mut self, _io: &mut Driver) -> Result<(), IoError> {
            Ok(())
        }
        fn turn(&mut self, _turn: &mut Turn<'_>) -> Progress {
            let (at, desk) = (self.at, &self.desk);
            desk.gap[at].raise(desk.turns.get() - desk.last[at].get());
            desk.turns.add(1);
            desk.last[at].set(desk.turns.get());
            let pending = desk.pending[at].get();
            if desk.blocked[at].get() > 0 || pending == 0 {
                return Progress {
                    work: 0,
                    held_back: pending > 0,
                };
            }
            desk.pending[at].set(pending - 1);
            Progress {
                work: 1,
                held_back: false,
            }
        }
        fn has_input(&mut self) -> bool {
            self.desk.pending[self.at].get() > 0
        }
        fn brings_in(&self) -> bool {
            self.at == 0
        }
        fn due_ns(&mut self) -> Option<u64> {
            self.has_input().then(|| self.desk.due_ns[self.at].get())
        }
        fn housekeep(&mut self, _io: &mut Driver) {}
        fn fail(&mut self, _what: &(dyn std::any::Any + Send)) {}
        fn abort(&mut self, _io: &mut Driver, _cause: Cause) {}
        fn is_over(&self) -> bool {
            false
        }
    }

    struct Rig {
        desk: Arc<Desk>,
        nodes: Vec<Box<dyn Node>>,
        rounds: Rounds,
        io: Driver,
        clock: Clock,
        log: LoopLog,
    }

    impl Rig {
        fn new(schedule: Schedule, guard_turns: u32, priorities: &[u8]) -> Rig {
            let desk = Arc::<Desk>::default();
            let nodes: Vec<Box<dyn Node>> = (0..NODES)
                .map(|at| {
                    let desk = desk.clone();
                    let counters = Arc::default();
                    Box::new(Fake { at, desk, counters }) as Box<dyn Node>
                })
                .collect();
            let order = Order {
                schedule,
                guard_turns,
                priorities: priorities.to_vec(),
            };
            Rig {
                rounds: Rounds::of(order, &nodes).unwrap(),
                desk,
                nodes,
                io: Virtual::new().into(),
                clock: Clock::virtual_at(1_000).0,
                log: LoopLog::off(),
            }
        }

        /// A round; who took a frame in it, and who had a turn.
        fn round(&mut self) -> Tally {
            let counters = LoopCounters::default();
            let regimes = Regimes::default();
            let mut turn = Turn {
                io: &mut self.io,
                mark_ns: 1_000,
                idle: &regimes,
                rest_ns: 0,
                clock: &self.clock,
                log: &mut self.log,
            };
            self.rounds.round(&mut self.nodes, &mut turn, &counters)
        }

        fn pending(&self) -> Vec<u64> {
            self.desk.pending.iter().map(Counter::get).collect()
        }

        fn give(&self, frames: [u64; NODES]) {
            for (pending, frames) in self.desk.pending.iter().zip(frames) {
                pending.set(frames);
            }
        }
    }

    #[test]
    fn the_most_important_is_served_until_it_has_nothing() {
        // The source is first, and takes what it has whatever the others have.
        let mut rig = Rig::new(Schedule::Priority, 100, &[63, 2, 0, 1]);
        rig.give([1, 2, 2, 2, 2]);
        rig.round();
        assert_eq!(rig.pending(), [0, 2, 0, 0, 2]);
        rig.desk.pending[2].set(1);
        rig.round();
        assert_eq!(rig.pending(), [0, 0, 0, 0, 1]);
        assert!(rig.round().work == 1 && rig.round().work == 0);
    }

    #[test]
    fn those_of_one_priority_go_round() {
        let mut rig = Rig::new(Schedule::Priority, 100, &[]);
        rig.give([0, 4, 4, 4, 4]);
        rig.round();
        assert_eq!(rig.pending(), [0, 3, 3, 3, 3]);
    }

    #[test]
    fn the_frame_that_is_due_first_is_served_first() {
        let mut rig = Rig::new(Schedule::Edf, 100, &[]);
        for (at, due_ns) in [(1, 40), (2, 10), (3, 30), (4, 20)] {
            rig.desk.due_ns[at].set(due_ns);
        }
        rig.give([0, 1, 3, 1, 2]);
        rig.round();
        assert_eq!(rig.pending(), [0, 1, 0, 1, 1]);
        rig.round();
        assert_eq!(rig.pending(), [0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_node_that_is_passed_over_has_its_turn_by_the_guard_and_not_without_it() {
        let served = |guard_turns| {
            let mut rig = Rig::new(Schedule::Priority, guard_turns, &[0, 0, 1, 2, 3]);
            for _ in 0..1_000 {
                rig.give([1, 1, 1, 1, 1]);
                rig.round();
            }
            [2, 3, 4].map(|at| rig.desk.last[at].get() > 0)
        };
        assert_eq!(served(16), [true; 3]);
        // Four turns a round, all of them of the first: what the guard is there for.
        let mut rig = Rig::new(Schedule::Priority, u32::MAX, &[0, 0, 1, 2, 3]);
        for _ in 0..1_000 {
            rig.give([1, 1_000, 1, 1, 1]);
            rig.round();
        }
        assert_eq!(rig.desk.last[4].get(), 0);
    }

    #[test]
    fn one_that_is_held_back_is_asked_again_when_another_did_some_work() {
        let mut rig = Rig::new(Schedule::Priority, 100, &[0, 0, 1, 2, 3]);
        rig.desk.blocked[1].set(1);
        rig.give([0, 5, 1, 0, 0]);
        let tally = rig.round();
        assert!(tally.held_back && tally.work == 1);
        assert_eq!(rig.pending(), [0, 5, 0, 0, 0]);
        // In vain, the other, in vain; and those without input.
        assert_eq!(rig.desk.turns.get(), 1 + 3 + 2);
        let tally = rig.round();
        assert!(tally.held_back && tally.work == 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn nobody_starves_whatever_is_ready(
            edf in any::<bool>(),
            guard_turns in 1u32..40,
            priorities in prop::collection::vec(0u8..4, NODES),
            steps in prop::collection::vec(
                (prop::array::uniform5(0u64..3), prop::array::uniform5(0u64..50), 0usize..40), 1..200),
        ) {
            let schedule = if edf { Schedule::Edf } else { Schedule::Priority };
            let mut rig = Rig::new(schedule, guard_turns, &priorities);
            for (frames, due_ns, blocked) in steps {
                for at in 0..NODES {
                    rig.desk.pending[at].add(frames[at]);
                    rig.desk.due_ns[at].set(due_ns[at]);
                    rig.desk.blocked[at].set(u64::from(blocked == at));
                }
                let before: Vec<u64> = rig.pending();
                let turns = rig.desk.turns.get();
                let tally = rig.round();
                let given = rig.desk.turns.get() - turns;
                prop_assert!(given <= (1 + 2 * (NODES - 1)) as u64, "a round is bounded: {given}");
                for (at, pending) in before.iter().enumerate() {
                    let had = rig.desk.last[at].get() > turns;
                    prop_assert!(had || (at > 0 && *pending > 0), "{at} had no input and no turn");
                }
                let ready: u64 = (0..NODES).filter(|at| blocked != *at).map(|at| before[at]).sum();
                prop_assert_eq!(tally.work > 0, ready > 0, "work is done if there is some");
            }
            // Guarded turns, those of others that were passed over as long, sources between rounds, and
            // turns of those without input.
            let rounds = u64::from(guard_turns) + NODES as u64;
            for at in 1..NODES {
                let gap = rig.desk.gap[at].get();
                prop_assert!(gap <= rounds * NODES as u64, "{at} waited for {gap} turns");
            }
        }
    }
}
