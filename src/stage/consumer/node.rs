//! A consuming node as its loop sees it: opened, turned, drained, ended.
//!
//! Invariant: a node that is away or has failed takes nothing.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::base::{Cause, Discard};
use crate::io::{Driver, IoError};
use crate::stage::handler::{Fate, Handler};
use crate::stage::hop::HopRx;
use crate::stage::node::{Node, NodeCounters, Progress, State, Turn};
use crate::stage::quarantine::panic_words;

use super::Consumer;
use super::panics::Absent;

impl<H: Handler> Node for Consumer<H> {
    fn name(&self) -> &str {
        &self.wiring.name
    }

    fn counters(&self) -> &Arc<NodeCounters> {
        &self.wiring.counters
    }

    fn open(&mut self, io: &mut Driver) -> Result<(), IoError> {
        self.handler.open(io)?;
        self.tell_counts();
        self.wiring.set_state(State::Run);
        Ok(())
    }

    fn turn(&mut self, turn: &mut Turn<'_>) -> Progress {
        if let Some(absent) = self.absent {
            return self.absent_turn(absent, turn);
        }
        // One guard for the turn, not one for each frame: what is in hand is kept beside it.
        let result = catch_unwind(AssertUnwindSafe(|| {
            let settled = self.wiring.outputs.settle();
            let mut progress = self.take(turn);
            // What waits for room does not ring when there is some.
            progress.held_back |= !settled;
            if self.timer.is_some() {
                self.run_timer(&mut progress, turn);
            }
            if progress.work > 0 {
                self.wiring.outputs.ring_bells();
                self.wiring.inputs.iter().for_each(HopRx::ring_bells);
                self.unflushed = self.is_sink;
            }
            self.flush(progress.held_back, turn);
            progress.held_back |= !self.send_queued(turn);
            if progress.work == 0
                && !progress.held_back
                && self.wiring.inputs.iter_mut().all(HopRx::is_finished)
            {
                // What the handler still has to say needs room as any emission does, and what it
                // has taken leaves before it ends.
                if !self.has_room() || self.unflushed || !self.wiring.outputs.settle_last() {
                    progress.held_back = true;
                    return progress;
                }
                self.finish(turn.io);
                // An end is no idle turn: consumers downstream have to see it.
                progress.work = 1;
            }
            progress
        }));
        result.unwrap_or_else(|what| self.caught(what, turn))
    }

    fn refresh(&mut self) {
        self.wiring.inputs.iter_mut().for_each(HopRx::refresh);
        self.wiring.outputs.refresh();
    }

    fn next_due_ns(&self) -> Option<u64> {
        if let Some(Absent::Until { due_ns, .. }) = self.absent {
            return Some(due_ns);
        }
        // What is due and has no room needs room, not time; and one that failed does nothing more by itself.
        let waits = self.timer_waits || self.has_failed();
        self.timer.filter(|_| !waits)
    }

    fn drain(&mut self) {
        self.draining = true;
    }

    fn restart(&mut self) -> bool {
        let Some(Absent::Until { due_ns, .. }) = &mut self.absent else {
            return false;
        };
        *due_ns = 0;
        true
    }

    fn has_input(&mut self) -> bool {
        let is_away = self.is_away();
        let inputs = &mut self.wiring.inputs;
        (!is_away && inputs.iter_mut().any(|rx| rx.ring.peek().is_some()))
            || inputs.iter_mut().all(HopRx::is_finished)
    }

    fn due_ns(&mut self) -> Option<u64> {
        if self.is_away() {
            return None;
        }
        self.wiring
            .inputs
            .iter_mut()
            .filter_map(HopRx::due_ns)
            .min()
    }

    fn housekeep(&mut self, io: &mut Driver) {
        if !self.over && self.absent.is_none() {
            let now_ns = self.wiring.clock.stamp();
            self.wiring.outputs.housekeep(now_ns);
            self.handler.housekeep(now_ns, io);
            self.unflushed |= self.handler.pending();
            self.take_back_lost();
            self.tell_counts();
        }
        for rx in &mut self.wiring.inputs {
            rx.housekeep();
        }
        if let Some(recorder) = &mut self.wiring.end_to_end {
            recorder.publish_if_asked();
        }
        self.note_fault();
    }

    fn fail(&mut self, what: &(dyn Any + Send)) {
        if !self.over && !self.has_failed() {
            self.failed(panic_words(what));
        }
    }

    fn abort(&mut self, io: &mut Driver, cause: Cause) {
        if self.over {
            return;
        }
        // One that has failed is not asked again, and stays failed.
        let failed = self.has_failed();
        if !failed {
            let now_ns = self.wiring.clock.stamp();
            // A last try; whatever goes wrong in it, what is still queued is discarded below.
            let _ = catch_unwind(AssertUnwindSafe(|| {
                if let Err(error) = self.handler.give_up(io) {
                    self.note_io(&error);
                }
                while let Some((Fate::Now(disposal), count)) = self.handler.send_queued(io) {
                    self.settle(disposal, count, now_ns);
                }
                self.note_fault();
                self.tell_counts();
            }));
            self.take_back_lost();
        }
        let why = match cause {
            Cause::Aborted => Discard::Aborted,
            _ => Discard::DrainDeadline,
        };
        self.discard_queued(why);
        // What it holds has been delivered to it, and will not come out any more.
        let stage = &self.wiring.counters.stage;
        stage.ended.add(stage.held.get());
        stage.held.set(0);
        for rx in &mut self.wiring.inputs {
            // Refuse first, then discard, so that as little as possible slips in between.
            rx.close(cause);
            rx.discard_all(why);
        }
        let state = if failed {
            State::Failed
        } else {
            State::Aborted
        };
        self.over(state, cause);
    }

    fn is_over(&self) -> bool {
        self.over
    }
}
