//! One turn of a source.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::base::{Cause, Reason, Reject};
use crate::io::{Driver, IoError};

use super::context::Context;
use super::hold::{Decoding, Hold};
use super::ingress::{Feed, Ingress};
use super::node::{Descriptor, Node, NodeCounters, Progress, Role, State, Turn, Wiring};
use super::source_context::{Seen, SourceContext};

/// The descriptor of a source.
#[must_use]
pub fn describe_ingress(ingress: &dyn Ingress) -> Descriptor {
    Descriptor {
        role: Role::Source,
        takes: &[],
        ports: ingress.ports(),
        max_emit: ingress.max_emit(),
        reasons: &[],
        in_objective: false,
        memory_bytes: ingress.memory_bytes(),
        tells_wire: ingress.tells_wire(),
    }
}

/// A node that runs an ingress.
#[must_use]
pub fn source_node(mut ingress: Box<dyn Ingress>, mut wiring: Wiring) -> Box<dyn Node> {
    let max_emit = ingress.max_emit();
    ingress.join(&wiring.clock, wiring.bell.take());
    Box::new(Source {
        ingress,
        wiring,
        max_emit,
        hold: Hold::default(),
        seen: Box::default(),
        timer: None,
        draining: false,
        ended: false,
        paused: false,
    })
}

struct Source {
    ingress: Box<dyn Ingress>,
    wiring: Wiring,
    max_emit: usize,
    hold: Hold,
    seen: Box<Seen>,
    timer: Option<u64>,
    draining: bool,
    /// Whether that was all, and what waits for room on a hop is still to leave.
    ended: bool,
    paused: bool,
}

impl Source {
    fn over(&mut self, io: &mut Driver, state: State, cause: Cause) {
        self.ingress.close(io, &self.wiring.counters.ingress);
        self.ingress.abandon(&self.wiring.counters.ingress, cause);
        self.housekeep(io);
        self.seen.end(&self.wiring.counters.ingress);
        self.leave_in_hand(0);
        self.wiring.outputs.close(cause);
        self.wiring.set_state(state);
    }
}

impl Source {
    /// Ends once nothing waits for room.
    fn end_settled(&mut self, turn: &mut Turn<'_>) -> Progress {
        let settled = self.wiring.outputs.settle_last();
        if settled {
            self.over(turn.io, State::Done, Cause::Finished);
        } else {
            self.wiring.outputs.ring_bells();
        }
        Progress {
            work: usize::from(settled),
            held_back: !settled,
        }
    }

    /// Ends a pause, if there is one.
    fn go_on(&mut self) {
        if core::mem::take(&mut self.paused) {
            self.hold.until_ns = self.wiring.clock.stamp();
        }
    }

    /// What was received and will not be decoded any more is accounted for, but for so many that were already.
    fn leave_in_hand(&mut self, counted: u64) {
        let left = (self.ingress.in_hand() as u64).saturating_sub(counted);
        let counters = &self.wiring.counters.ingress;
        counters.received.add(left);
        counters.rejected[Reject::LineEnded.index()].add(left);
    }
}

impl Node for Source {
    fn name(&self) -> &str {
        &self.wiring.name
    }

    fn counters(&self) -> &Arc<NodeCounters> {
        &self.wiring.counters
    }

    fn open(&mut self, io: &mut Driver) -> Result<(), IoError> {
        self.ingress.open(io)?;
        self.wiring.set_state(State::Run);
        Ok(())
    }

    fn start(&mut self, t0_ns: u64) {
        self.ingress.start(t0_ns);
    }

    fn turn(&mut self, turn: &mut Turn<'_>) -> Progress {
        let result = catch_unwind(AssertUnwindSafe(|| {
            if self.ended {
                return self.end_settled(turn);
            }
            // What it has brought in already goes its way in a pause as well.
            let settled = self.wiring.outputs.settle();
            if self.paused {
                return Progress {
                    work: 0,
                    held_back: !settled,
                };
            }
            let Wiring {
                outputs,
                counters,
                clock,
                source,
                wire,
                ..
            } = &mut self.wiring;
            let cx = Context::new(outputs, clock, counters, &mut self.timer, turn.mark_ns);
            self.hold.now = false;
            let mut cx = SourceContext {
                cx,
                turn,
                counters,
                hold: &mut self.hold,
                seen: &mut self.seen,
                wire: wire.as_mut(),
                source: *source,
                max_emit: self.max_emit,
                work: 0,
            };
            // What is in hand already goes its way first.
            let feed = if self.draining && self.ingress.in_hand() == 0 {
                self.ingress.drain(&mut cx)
            } else {
                self.ingress.turn(&mut cx)
            };
            let work = cx.work;
            if work > 0 {
                self.wiring.outputs.ring_bells();
            }
            if feed == Feed::Ended {
                self.ended = true;
                return self.end_settled(turn);
            }
            Progress {
                work,
                // What waits for room does not ring when there is some.
                held_back: self.hold.now || !settled,
            }
        }));
        result.unwrap_or_else(|what| {
            self.fail(what.as_ref());
            Progress {
                work: 1,
                held_back: false,
            }
        })
    }

    fn has_input(&mut self) -> bool {
        !self.paused && self.ingress.has_input()
    }

    fn refresh(&mut self) {
        self.wiring.outputs.refresh();
    }

    fn brings_in(&self) -> bool {
        true
    }

    fn drain(&mut self) {
        if !self.is_over() {
            self.draining = true;
            self.go_on();
            self.wiring.set_state(State::Drain);
        }
    }

    fn pause(&mut self) {
        // A drain cannot be taken back, and one that waits for a pause to end would not end.
        if !self.paused && !self.draining && !self.is_over() {
            self.paused = true;
            self.hold.now = false;
            // What is due meanwhile was ready, and waits from now on.
            self.hold.since_ns.get_or_insert(self.wiring.clock.stamp());
            self.wiring.set_state(State::Paused);
        }
    }

    fn resume(&mut self) {
        if self.paused {
            self.go_on();
            self.wiring.set_state(State::Run);
        }
    }

    fn next_due_ns(&self) -> Option<u64> {
        // What is due while the source is held back needs room, not time; and nothing while it is paused or has ended.
        if self.hold.now || self.paused || self.ended {
            return None;
        }
        self.ingress.next_due_ns()
    }

    fn housekeep(&mut self, io: &mut Driver) {
        let now_ns = self.wiring.clock.stamp();
        self.wiring.outputs.housekeep(now_ns);
        self.ingress.housekeep(io, &self.wiring.counters.ingress);
        self.seen.tell(&self.wiring.counters.ingress);
        if let Some(wire) = &mut self.wiring.wire {
            wire.publish_if_asked();
        }
        if let Some(fault) = self.ingress.fault() {
            self.wiring.counters.set_fault(fault);
        }
    }

    #[cold]
    fn fail(&mut self, what: &(dyn std::any::Any + Send)) {
        let in_hand = core::mem::take(&mut self.hold.in_hand);
        let counters = &self.wiring.counters;
        counters.set_fault(super::quarantine::panic_words(what));
        let mut counted = 0;
        if let Some(Decoding { bytes, is_kept }) = in_hand {
            counters.ingress.received.add(1);
            counters.ingress.bytes.add(bytes);
            counters.ingress.panicked.add(1);
            counted = u64::from(is_kept);
        }
        self.seen.end(&counters.ingress);
        // What it accepted and never took; a second panic has nothing to add.
        let _ = catch_unwind(AssertUnwindSafe(|| {
            let counters = &self.wiring.counters.ingress;
            self.ingress.abandon(counters, Cause::Failed);
            self.leave_in_hand(counted);
        }));
        self.wiring.outputs.close(Cause::Failed);
        self.wiring.set_state(State::Failed);
    }

    fn abort(&mut self, io: &mut Driver, cause: Cause) {
        if !self.is_over() {
            self.over(io, State::Aborted, cause);
        }
    }

    fn is_over(&self) -> bool {
        self.wiring.counters.state().is_over()
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::overload::WhenFull;
    use crate::stage::context::Outputs;
    use crate::stage::decode::{Decode, Decoded};
    use crate::stage::ingress::Arrival;
    use crate::stage::rig::{self, Alone};
    use crate::stage::{Out, Port};

    #[hopline::frame(schema = 905, version = 1, name = "level", key = "of")]
    struct Level {
        of: u64,
        value: u64,
    }

    const PORTS: &[Port] = &[Port::new::<Level>("out")];

    struct Levels;

    impl Decode for Levels {
        fn ports(&self) -> &'static [Port] {
            PORTS
        }

        fn decode(&mut self, message: &[u8], cx: &mut Context<'_>) -> Result<Decoded, Reject> {
            let value = message.len() as u64;
            cx.emit(Out::<Level>::at(0), &Level { of: value, value });
            Ok(Decoded::default())
        }
    }

    /// Brings four messages, each of a key of its own.
    struct Four;

    impl Ingress for Four {
        fn ports(&self) -> &'static [Port] {
            PORTS
        }

        fn max_emit(&self) -> usize {
            1
        }

        fn open(&mut self, _io: &mut Driver) -> Result<(), IoError> {
            Ok(())
        }

        fn turn(&mut self, cx: &mut SourceContext<'_, '_>) -> Feed {
            for bytes in [&[0; 1][..], &[0; 2], &[0; 3], &[0; 4]] {
                let arrival = Arrival {
                    bytes,
                    t_intended_ns: cx.stamp(),
                    scheduled: false,
                    received_wall_ns: None,
                    peer: None,
                };
                cx.message(arrival, &mut Levels);
            }
            Feed::Live
        }
    }

    #[test]
    fn one_that_is_paused_lets_go_of_what_waits_for_room() {
        let (clock, _time) = Clock::virtual_at(1_000);
        let (tx, mut rx, hop_counters) = rig::out("levels", 2, WhenFull::Conflate);
        let counters = Arc::new(NodeCounters::default());
        let wiring = Wiring {
            outputs: Outputs::new(vec![vec![tx.conflating(4)]]),
            ..rig::wiring("source", &counters, &clock)
        };
        let mut alone = Alone::open(source_node(Box::new(Four), wiring), clock);
        assert_eq!(alone.turn().work, 4);
        assert_eq!(hop_counters.tx.waiting.get(), 2);
        alone.node.pause();
        let mut waits = Progress {
            work: 0,
            held_back: true,
        };
        assert_eq!(alone.turn(), waits, "there is no room yet");
        for _ in 0..2 {
            assert!(rx.peek().is_some());
            rx.advance();
        }
        rx.return_credits();
        waits.held_back = false;
        assert_eq!(alone.turn(), waits);
        let tx = &hop_counters.tx;
        assert_eq!((tx.waiting.get(), tx.accepted.get()), (0, 4));
        assert_eq!(counters.state(), State::Paused);
        assert_eq!(tx.offered.get(), 4, "it brings nothing in");
    }
}
