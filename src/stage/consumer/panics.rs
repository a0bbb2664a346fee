//! What a consuming node does once one of its handlers has panicked: by its policy it fails, goes on without the
//! frame, or is away until another instance of the stage is made.
//!
//! Invariant: whatever panics, the frame in hand is disposed of once, and what was emitted before it goes on its way.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::base::limits::TIMER_AGAIN_NS;
use crate::base::{Cause, Discard};
use crate::stage::handler::Handler;
use crate::stage::hop::HopRx;
use crate::stage::life::Verdict;
use crate::stage::node::{Progress, Standing, State, Turn};
use crate::stage::quarantine::{During, FrameCopy, Panicked, said};

use super::Consumer;

/// Why a node takes no frames.
#[derive(Clone, Copy, Debug)]
pub(super) enum Absent {
    /// It has failed: what still comes is discarded.
    Failed(Discard),
    /// It is made anew when its time has come.
    Until {
        /// When that is, in nanoseconds of the line's clock.
        due_ns: u64,
        /// Since when it has been away.
        since_ns: u64,
    },
}

/// Lets go of what a panic was raised with. Its drop is the user's code as well.
fn let_go(what: Box<dyn Any + Send>) {
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(what))) {
        // One that panics in its drop may do so again.
        core::mem::forget(again);
    }
}

impl<H: Handler> Consumer<H> {
    /// What a panic in a turn comes to.
    #[cold]
    pub(super) fn caught(&mut self, what: Box<dyn Any + Send>, turn: &mut Turn<'_>) -> Progress {
        let during = match (&self.in_hand, self.ending) {
            (Some(_), _) => During::Frame,
            (None, true) => During::Drain,
            (None, false) => During::Timer,
        };
        self.judge(said(what.as_ref()), during);
        let_go(what);
        let now_ns = self.wiring.clock.stamp();
        turn.account(&self.wiring.counters.regimes, H::REGIME, now_ns);
        Progress {
            work: 1,
            held_back: false,
        }
    }

    /// Counts a panic, keeps it where the policy says so, and does what the policy says.
    fn judge(&mut self, said: &str, during: During) {
        let now_ns = self.wiring.clock.stamp();
        let counters = &self.wiring.counters.life;
        counters.panics.add(1);
        let Some(life) = &mut self.life else {
            return self.failed(format!("panicked: {said}"));
        };
        // It is still on its ring.
        let frame = self.in_hand.and_then(|(at, envelope)| {
            let frame = self.wiring.inputs[at].ring.peek()?;
            Some(FrameCopy::of(at, envelope, frame.payload()))
        });
        life.keep(Panicked::new(now_ns, during, frame, said), counters);
        let verdict = life.verdict(now_ns);
        if verdict == Verdict::Stop {
            let words = format!("panicked: {said}{}", life.limit_words());
            return self.failed(words);
        }
        self.leave_in_hand(now_ns);
        let quarantined = self.wiring.counters.life.quarantined.get();
        let kept = |standing: &mut Standing| standing.quarantined = quarantined;
        self.wiring.counters.change_standing(kept);
        if during == During::Drain {
            // It has said its last, as far as it could: there is nothing left to make another one for.
            self.leave_held();
            let told = catch_unwind(AssertUnwindSafe(|| self.tell_counts()));
            told.unwrap_or_else(let_go);
            return self.over(State::Done, Cause::Finished);
        }
        if during == During::Timer && self.timer.is_none() {
            // It asked to be woken, and what it wanted to do then is not done.
            self.timer = Some(now_ns.saturating_add(TIMER_AGAIN_NS));
        }
        let inputs = self.wiring.inputs.len();
        self.rotation.begin_after(self.rotation.first(), inputs);
        self.wiring.outputs.ring_bells();
        self.wiring.inputs.iter().for_each(HopRx::ring_bells);
        if let Verdict::Remake(wait_ns) = verdict {
            self.leave_held();
            self.timer = None;
            let dropped = catch_unwind(AssertUnwindSafe(|| {
                self.tell_counts();
                self.handler.let_go();
            }));
            dropped.unwrap_or_else(let_go);
            self.wiring.counters.own.keep();
            self.absent = Some(Absent::Until {
                due_ns: now_ns.saturating_add(wait_ns),
                since_ns: now_ns,
            });
            self.wiring.set_state(State::Restarting);
        }
    }

    /// Disposes of the frame in hand and of the rest of its message, which counts once.
    fn leave_in_hand(&mut self, now_ns: u64) {
        self.count_passed();
        self.message_emitted = false;
        self.mid_message = false;
        let Some((at, mut envelope)) = self.in_hand.take() else {
            return;
        };
        let rx = &mut self.wiring.inputs[at];
        loop {
            rx.finish(&envelope, now_ns, now_ns);
            rx.step_over(&envelope);
            if envelope.flags.is_last() {
                break;
            }
            // A message's fragments become visible all at once, so the next one is there.
            let Some(next) = rx.ring.peek() else {
                (self.mid_message, self.spoilt) = (true, Some(Discard::StageFailed));
                return;
            };
            envelope = *next.envelope();
        }
        self.wiring.counters.stage.consumed.add(1);
        self.wiring.counters.stage.panicked.add(1);
    }

    /// What the instance held goes with it.
    fn leave_held(&self) {
        let stage = &self.wiring.counters.stage;
        stage.panicked.add(stage.held.get());
        stage.held.set(0);
    }

    /// A turn of a node that takes nothing.
    #[cold]
    pub(super) fn absent_turn(&mut self, absent: Absent, turn: &mut Turn<'_>) -> Progress {
        let (due_ns, since_ns) = match absent {
            Absent::Failed(why) => return self.discard(why),
            Absent::Until { due_ns, since_ns } => (due_ns, since_ns),
        };
        let now_ns = self.wiring.clock.stamp();
        // A drain waits for nobody's back-off, and neither does an end.
        let waits = now_ns < due_ns && !self.draining;
        if waits && !self.wiring.inputs.iter_mut().all(HopRx::is_finished) {
            // What it has said already goes its way meanwhile.
            return Progress {
                work: 0,
                held_back: !self.wiring.outputs.settle(),
            };
        }
        turn.account_idle(now_ns);
        let counters = &self.wiring.counters;
        counters.life.away_ns.add(now_ns.saturating_sub(since_ns));
        self.absent = None;
        match catch_unwind(AssertUnwindSafe(|| self.handler.remake())) {
            Ok(Ok(())) => {
                let now_ns = self.wiring.clock.stamp();
                self.wiring.counters.restarted(now_ns);
            }
            Ok(Err(why)) => self.judge(&why, During::Start),
            Err(what) => {
                self.judge(said(what.as_ref()), During::Start);
                let_go(what);
            }
        }
        let now_ns = self.wiring.clock.stamp();
        turn.account(&self.wiring.counters.regimes, H::REGIME, now_ns);
        Progress {
            work: 1,
            held_back: false,
        }
    }

    /// Whether it is away until another instance is made: what waits for that needs time, not a turn.
    pub(super) fn is_away(&self) -> bool {
        matches!(self.absent, Some(Absent::Until { .. }))
    }

    /// Whether it has failed, and is not asked anything any more.
    pub(super) fn has_failed(&self) -> bool {
        matches!(self.absent, Some(Absent::Failed(_)))
    }

    /// Ends after a panic: the frame in hand is accounted for, nothing more is taken, and what
    /// still comes is discarded until the producers have closed.
    #[cold]
    pub(super) fn failed(&mut self, fault: String) {
        self.wiring.counters.set_fault(fault);
        let _ = catch_unwind(AssertUnwindSafe(|| {
            self.take_back_lost();
            self.tell_counts();
        }));
        self.leave_in_hand(self.wiring.clock.stamp());
        self.leave_held();
        self.discard_queued(Discard::StageFailed);
        for rx in &mut self.wiring.inputs {
            rx.close(Cause::Failed);
        }
        self.wiring.outputs.close(Cause::Failed);
        self.wiring.set_state(State::Failed);
        self.absent = Some(Absent::Failed(Discard::StageFailed));
    }

    /// After a failure: a producer may have put a frame on the ring while it was being closed.
    fn discard(&mut self, why: Discard) -> Progress {
        for rx in &mut self.wiring.inputs {
            rx.discard_all(why);
        }
        self.over = self.wiring.inputs.iter_mut().all(HopRx::is_finished);
        Progress {
            work: usize::from(self.over),
            held_back: false,
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::NoWhy;
    use crate::budget::Regime;
    use crate::clock::Clock;
    use crate::frame::View;
    use crate::overload::WhenFull;
    use crate::stage::context::Outputs;
    use crate::stage::hop::Parent;
    use crate::stage::life::Life;
    use crate::stage::rig::{self, Alone};
    use crate::stage::{
        Context, NodeCounters, OnPanic, Out, Outcome, Port, Stage, Wiring, stage_node,
    };

    #[hopline::frame(schema = 904, version = 1, name = "word")]
    struct Word {
        word: u64,
    }

    const RESTARTS: OnPanic = OnPanic::Restart {
        most: 5,
        within_ns: 1_000_000_000,
        after_ns: 500_000_000,
        after_max_ns: 500_000_000,
    };

    struct PanicsAtOne;

    impl Stage for PanicsAtOne {
        type In = Word;
        type Why = NoWhy;

        fn on_frame(&mut self, word: View<'_, Word>, _cx: &mut Context<'_>) -> Outcome<NoWhy> {
            assert!(word.word() != 1, "planted");
            Outcome::held()
        }
    }

    #[test]
    fn one_that_is_away_keeps_no_loop_awake_and_may_be_called_back() {
        let (clock, _time) = Clock::virtual_at(1_000);
        let (mut tx, rx) = rig::hop("words");
        let counters = Arc::new(NodeCounters::default());
        let wiring = Wiring {
            inputs: vec![rx],
            life: Life::new(RESTARTS).map(|(life, _)| life),
            ..rig::wiring("stage", &counters, &clock)
        };
        let stage = stage_node(PanicsAtOne, Box::new(|| Ok(PanicsAtOne)), wiring);
        let mut alone = Alone::open(stage, clock);
        for word in [1, 2, 3] {
            tx.emit(&Word { word }, &Parent::default(), 1_000).unwrap();
        }
        assert!(
            alone.node.has_input() && !alone.node.restart(),
            "it is there"
        );
        assert_eq!(alone.turn().work, 1);
        assert_eq!(counters.state(), State::Restarting);
        assert_eq!(alone.turn(), Progress::IDLE);
        assert!(!alone.node.has_input(), "what waits needs time, not a turn");
        assert_eq!(
            alone.node.due_ns(),
            None,
            "and is not what a schedule goes by"
        );
        let due_ns = alone.node.next_due_ns().unwrap();
        assert!((500_001_000..500_002_000).contains(&due_ns), "{due_ns}");
        assert!(alone.node.restart());
        assert_eq!(alone.turn().work, 1, "it is made anew");
        assert_eq!(
            (counters.state(), counters.life.restarts.get()),
            (State::Run, 1)
        );
        assert!(
            alone.node.has_input() && alone.node.next_due_ns().is_none() && !alone.node.restart()
        );
        assert_eq!(alone.turn().work, 2);
        let taken = counters.stage.held.get();
        assert_eq!((taken, counters.stage.panicked.get()), (2, 1));
        assert_eq!(counters.regimes.get(Regime::HeldBack), 0);
    }

    #[hopline::frame(schema = 905, version = 1, name = "said", key = "word")]
    struct Said {
        word: u64,
    }

    /// Says two words more for each, and panics at the third.
    struct Repeats;

    impl Stage for Repeats {
        type In = Word;
        type Why = NoWhy;
        const PORTS: &'static [Port] = &[Port::new::<Said>("out")];
        const MAX_EMIT: usize = 2;

        fn on_frame(&mut self, word: View<'_, Word>, cx: &mut Context<'_>) -> Outcome<NoWhy> {
            assert!(word.word() != 3, "planted");
            for word in [10 * word.word(), 10 * word.word() + 1] {
                cx.emit(Out::<Said>::at(0), &Said { word });
            }
            Outcome::done()
        }
    }

    #[test]
    fn what_waits_for_room_behind_one_that_is_away_gets_it() {
        let (clock, _time) = Clock::virtual_at(1_000);
        let (mut tx, rx) = rig::hop("in");
        let (leaves, mut out, said) = rig::out("out", 2, WhenFull::Conflate);
        let counters = Arc::new(NodeCounters::default());
        let wiring = Wiring {
            inputs: vec![rx],
            outputs: Outputs::new(vec![vec![leaves.conflating(4)]]),
            life: Life::new(RESTARTS).map(|(life, _)| life),
            ..rig::wiring("stage", &counters, &clock)
        };
        let stage = stage_node(Repeats, Box::new(|| Ok(Repeats)), wiring);
        let mut alone = Alone::open(stage, clock);
        for word in [1, 2, 3] {
            tx.emit(&Word { word }, &Parent::default(), 1_000).unwrap();
        }
        alone.turn();
        assert_eq!(counters.state(), State::Restarting);
        assert_eq!((said.tx.accepted.get(), said.tx.waiting.get()), (2, 2));
        assert!(alone.turn().held_back, "nobody rings when there is room");
        for _ in 0..2 {
            assert!(out.peek().is_some());
            out.advance();
        }
        out.return_credits();
        assert_eq!(alone.turn(), Progress::IDLE);
        assert_eq!((said.tx.accepted.get(), said.tx.waiting.get()), (4, 0));
        assert_eq!(counters.state(), State::Restarting);
    }
}
