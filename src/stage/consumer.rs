//! One turn of a node that takes frames from hops: a stage or a sink.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::base::limits::BATCH_FRAMES;
use crate::base::{Cause, Discard, Envelope, Reason};
use crate::budget::{Regime, Segment};
use crate::frame::Input;
use crate::io::{Driver, IoError};
use crate::ring::fan_in::Rotation;

use super::context::Context;
use super::egress::{Egress, IO_FAULT};
use super::handler::{EgressHandler, Fate, Handler, StageHandler};
use super::node::{Descriptor, Node, NodeCounters, Progress, Role, State, Turn, Wiring};
use super::outcome::Disposal;
use super::{Stage, hop::HopRx};

/// The descriptor of a stage's type.
#[must_use]
pub fn describe<S: Stage>() -> Descriptor {
    Descriptor {
        role: Role::Stage,
        takes: S::In::KINDS,
        ports: S::PORTS,
        max_emit: S::MAX_EMIT,
        reasons: S::Why::NAMES,
        in_objective: false,
        memory_bytes: size_of::<S>(),
        tells_wire: false,
    }
}

/// The descriptor of a sink.
#[must_use]
pub fn describe_egress(egress: &dyn Egress) -> Descriptor {
    Descriptor {
        role: Role::Sink,
        takes: egress.takes(),
        ports: &[],
        max_emit: 0,
        reasons: egress.reasons(),
        in_objective: egress.in_objective(),
        memory_bytes: egress.memory_bytes(),
        tells_wire: false,
    }
}

/// A node that runs a stage.
#[must_use]
pub fn stage_node<S: Stage>(stage: S, wiring: Wiring) -> Box<dyn Node> {
    Box::new(Consumer::new(
        StageHandler(stage),
        S::MAX_EMIT,
        false,
        wiring,
    ))
}

/// A node that runs an egress.
#[must_use]
pub fn sink_node(egress: Box<dyn Egress>, wiring: Wiring) -> Box<dyn Node> {
    let queue_max = egress.queue_max();
    let mut sink = Consumer::new(EgressHandler(egress), 0, true, wiring);
    sink.queued.reserve_exact(queue_max);
    Box::new(sink)
}

/// A message that a sink has queued: off its hop, and not out of the line yet.
struct Queued {
    /// The input that it came by.
    at: usize,
    envelope: Envelope,
    /// When its last fragment was taken, and what the others took before.
    t_dequeue_ns: u64,
    service_ns: u64,
}

struct Consumer<H> {
    handler: H,
    /// What the handler has queued, oldest first.
    queued: VecDeque<Queued>,
    wiring: Wiring,
    max_emit: usize,
    is_sink: bool,
    /// Which input is looked at first in the next turn, so that none starves.
    rotation: Rotation,
    timer: Option<u64>,
    /// The envelope of the frame in the handler, and its input, for the case of a panic.
    in_hand: Option<(usize, Envelope)>,
    /// Whether a fragment of the message in hand led to an emission.
    message_emitted: bool,
    /// Messages of this turn that went the usual way, consumed and forwarded: counted once a turn.
    passed: u64,
    /// Whether frames were taken since the handler last passed on what it buffers.
    unflushed: bool,
    /// Whether the last frame taken was not the last of its message.
    mid_message: bool,
    /// Whether a fragment of the message in hand was malformed: the rest of it goes no further.
    spoilt: bool,
    /// Whether the node was held back when it last looked, and by which output hop; none for the
    /// outside of a sink.
    held: Option<Option<usize>>,
    /// Why what still comes is discarded, once the handler has failed.
    discarding: Option<Discard>,
    over: bool,
}

impl<H: Handler> Consumer<H> {
    fn new(handler: H, max_emit: usize, is_sink: bool, wiring: Wiring) -> Consumer<H> {
        Consumer {
            handler,
            queued: VecDeque::new(),
            wiring,
            max_emit,
            is_sink,
            rotation: Rotation::default(),
            timer: None,
            in_hand: None,
            message_emitted: false,
            passed: 0,
            unflushed: false,
            mid_message: false,
            spoilt: false,
            held: None,
            discarding: None,
            over: false,
        }
    }

    /// Takes frames from all inputs, a bounded batch of each. A message's fragments are taken
    /// without others between, so that a handler may collect them in one store; they all become
    /// visible at once, so this waits for nobody.
    fn take(&mut self, turn: &mut Turn<'_>) -> Progress {
        let inputs = self.wiring.inputs.len();
        let mut progress = Progress::IDLE;
        for at in self.rotation.order(inputs) {
            progress = self.take_from(at, turn, progress);
            if self.mid_message {
                self.rotation.begin_with(at);
                return progress;
            }
            if progress.held_back {
                break;
            }
        }
        self.rotation.begin_after(self.rotation.first(), inputs);
        progress
    }

    #[inline]
    fn take_from(&mut self, at: usize, turn: &mut Turn<'_>, mut progress: Progress) -> Progress {
        let Wiring {
            inputs,
            outputs,
            counters,
            clock,
            end_to_end,
            ..
        } = &mut self.wiring;
        let rx: &mut HopRx = &mut inputs[at];
        let mut cx = Context::new(outputs, clock, counters, &mut self.timer, turn.mark_ns);
        let mut taken = 0;
        // When the frame before was done with, if this turn took one.
        let mut t_before_ns = None;
        // Where there is room for all that a turn may emit, it need not be asked for each frame.
        let mut roomy = None;
        while taken < BATCH_FRAMES || self.mid_message {
            let Some(frame) = rx.ring.peek() else { break };
            let envelope = *frame.envelope();
            if self.spoilt {
                self.spoilt = !envelope.flags.is_last();
                self.mid_message = self.spoilt;
                rx.discard(&envelope, Discard::Malformed);
                taken += 1;
                continue;
            }
            let roomy = *roomy.get_or_insert_with(|| {
                let most = self.max_emit.saturating_mul(BATCH_FRAMES);
                cx.outputs().without_room(most).is_none()
            });
            if (!roomy || taken >= BATCH_FRAMES)
                && let Some(hop) = cx.outputs().without_room(self.max_emit)
            {
                account_until(t_before_ns, H::REGIME, counters, turn);
                self.held = Some(Some(hop));
                held_until(clock.stamp(), Some(hop), counters, turn);
                progress.held_back = true;
                break;
            }
            let t_dequeue_ns = match t_before_ns {
                // It was waiting when the one before was done with: one stamp ends the one and
                // begins the other, and what lies between counts as this one's service.
                Some(before_ns) if envelope.t_offer_ns <= before_ns => before_ns,
                before_ns => {
                    // After the pop: a plain read of the counter could be speculated to before it.
                    let now_ns = clock.stamp_after();
                    let since_ns = before_ns.unwrap_or(turn.mark_ns).min(now_ns);
                    // It came after the one before was done with: between them is only the pop, so that a long span is a gap.
                    if taken > 0 && turn.log.is_long(Segment::Idle, now_ns - since_ns) {
                        account_until(t_before_ns.take(), H::REGIME, counters, turn);
                        turn.account_idle(now_ns);
                    }
                    now_ns
                }
            };
            match self.held.take() {
                Some(hop) => held_until(t_dequeue_ns, hop, counters, turn),
                None if taken == 0 => turn.account_idle(t_dequeue_ns),
                None => {}
            }
            self.in_hand = Some((at, envelope));
            cx.begin_input(&envelope, t_dequeue_ns, H::ONLY_COPIES);
            let outcome = self
                .handler
                .frame(&envelope, frame.payload(), &mut cx, turn.io);
            let t_done_ns = clock.stamp();
            self.in_hand = None;
            t_before_ns = Some(t_done_ns);
            let kind = Segment::of(H::REGIME);
            if turn
                .log
                .is_long(kind, t_done_ns - t_dequeue_ns.min(t_done_ns))
            {
                account_until(t_before_ns.take(), H::REGIME, counters, turn);
                turn.note(kind, t_dequeue_ns, t_done_ns);
            }
            let disposal = match outcome {
                Ok(Fate::Now(disposal)) => disposal,
                Ok(Fate::NotNow) => {
                    self.held = Some(None);
                    progress.held_back = true;
                    break;
                }
                Ok(Fate::Queued) => {
                    self.mid_message = false;
                    self.queued.push_back(Queued {
                        at,
                        envelope,
                        t_dequeue_ns,
                        service_ns: rx.take_service_ns(),
                    });
                    rx.step_over(&envelope);
                    taken += 1;
                    continue;
                }
                Err(_) => {
                    self.mid_message = !envelope.flags.is_last();
                    self.spoilt = self.mid_message;
                    self.message_emitted = false;
                    rx.discard(&envelope, Discard::Malformed);
                    taken += 1;
                    continue;
                }
            };
            self.mid_message = !envelope.flags.is_last();
            // What a hop was offered and shed is in that hop's ledger; for the stage it is done.
            let (_, offered) = cx.take_emitted();
            self.message_emitted |= offered > 0;
            rx.finish(&envelope, t_dequeue_ns, t_done_ns);
            rx.step_over(&envelope);
            if envelope.flags.is_last() {
                let forwarded = core::mem::take(&mut self.message_emitted)
                    || (self.is_sink && disposal == Disposal::Done);
                if forwarded && matches!(disposal, Disposal::Done | Disposal::Absorbed(_)) {
                    self.passed += 1;
                } else {
                    counters.stage.consumed.add(1);
                    counters.dispose(disposal, forwarded);
                }
                // What the sink refused has not reached the end.
                if let Some(recorder) = end_to_end.as_mut().filter(|_| forwarded) {
                    recorder.record(0, t_done_ns.saturating_sub(envelope.t_intended_ns()));
                }
            }
            taken += 1;
        }
        account_until(t_before_ns, H::REGIME, counters, turn);
        self.count_passed();
        if taken > 0 {
            let rx = &mut self.wiring.inputs[at];
            let waiting = if taken >= BATCH_FRAMES {
                taken + rx.ring.ready_ahead(usize::MAX)
            } else {
                taken
            };
            // The producer may have refilled what was taken meanwhile.
            rx.saw_depth(waiting.min(rx.ring.depth()));
            progress.work += taken;
        }
        progress
    }

    /// Counts the messages that went the usual way.
    #[inline]
    fn count_passed(&mut self) {
        let passed = core::mem::take(&mut self.passed);
        let stage = &self.wiring.counters.stage;
        stage.consumed.add(passed);
        stage.forwarded.add(passed);
    }

    /// Whether the outputs have room for what one call of a handler may emit.
    fn has_room(&mut self) -> bool {
        self.max_emit == 0 || self.wiring.outputs.without_room(self.max_emit).is_none()
    }

    /// Runs the timer if its time has come and there is room for what it may emit.
    fn run_timer(&mut self, progress: &mut Progress, turn: &mut Turn<'_>) {
        let now_ns = self.wiring.clock.stamp();
        if self.timer.is_some_and(|at| at <= now_ns) {
            if !self.has_room() {
                progress.held_back = true;
                return;
            }
            self.timer = None;
            if progress.work == 0 {
                turn.account_idle(now_ns);
            }
            progress.work += 1;
            let Wiring {
                outputs,
                counters,
                clock,
                ..
            } = &mut self.wiring;
            let mut cx = Context::new(outputs, clock, counters, &mut self.timer, now_ns);
            self.handler.timer(&mut cx);
            let now_ns = clock.stamp();
            turn.account_segment(&counters.regimes, Regime::Work, Segment::Handler, now_ns);
        }
    }

    /// Ends in good order: the handler passes on the last of it, then the outputs close.
    fn finish(&mut self, io: &mut Driver) {
        let Wiring {
            outputs,
            counters,
            clock,
            ..
        } = &mut self.wiring;
        let now_ns = clock.stamp();
        let mut cx = Context::new(outputs, clock, counters, &mut self.timer, now_ns);
        let closed = self.handler.drained(&mut cx, io);
        if let Err(error) = closed {
            self.note_io(&error);
        }
        self.take_back_lost();
        self.note_fault();
        self.over(State::Done, Cause::Finished);
    }

    fn over(&mut self, state: State, cause: Cause) {
        for rx in &mut self.wiring.inputs {
            rx.close(cause);
        }
        self.wiring.outputs.close(cause);
        self.wiring.set_state(state);
        self.over = true;
    }

    /// Passes on what the handler buffers, once nothing more is waiting or can be taken.
    fn flush(&mut self, held_back: bool, turn: &mut Turn<'_>) {
        let waits = |rx: &mut HopRx| rx.ring.peek().is_some();
        if !self.unflushed || (!held_back && self.wiring.inputs.iter_mut().any(waits)) {
            return;
        }
        self.unflushed = false;
        if let Err(error) = self.handler.rest(turn.io) {
            self.note_io(&error);
        }
        self.unflushed = self.handler.pending();
        self.take_back_lost();
        let now_ns = self.wiring.clock.stamp();
        let regimes = &self.wiring.counters.regimes;
        turn.account_segment(regimes, H::REGIME, Segment::of(H::REGIME), now_ns);
    }

    /// Sends what the handler has queued, as much as the outside takes now; false if some is left.
    fn send_queued(&mut self, turn: &mut Turn<'_>) -> bool {
        while !self.queued.is_empty() {
            let fate = self.handler.send_queued(turn.io);
            let now_ns = self.wiring.clock.stamp();
            let regimes = &self.wiring.counters.regimes;
            turn.account_segment(regimes, H::REGIME, Segment::of(H::REGIME), now_ns);
            let Some((Fate::Now(disposal), count)) = fate else {
                self.held = Some(None);
                return false;
            };
            self.settle(disposal, count, now_ns);
        }
        true
    }

    /// The oldest `count` of what was queued became that, at `t_done_ns`.
    fn settle(&mut self, disposal: Disposal, count: usize, t_done_ns: u64) {
        let Wiring {
            inputs,
            counters,
            end_to_end,
            ..
        } = &mut self.wiring;
        let forwarded = disposal == Disposal::Done;
        for message in self.queued.drain(..count.min(self.queued.len())) {
            let envelope = &message.envelope;
            let last_ns = t_done_ns.saturating_sub(message.t_dequeue_ns);
            inputs[message.at].record(envelope, message.service_ns + last_ns, t_done_ns);
            counters.stage.consumed.add(1);
            counters.dispose(disposal, forwarded);
            if let Some(recorder) = end_to_end.as_mut().filter(|_| forwarded) {
                recorder.record(0, t_done_ns.saturating_sub(envelope.t_intended_ns()));
            }
        }
    }

    /// What is queued will never leave.
    fn discard_queued(&mut self, why: Discard) {
        for message in self.queued.drain(..) {
            self.wiring.inputs[message.at].discard_message(why);
        }
    }

    /// Only the first failure is put into words: a sink that keeps failing must not keep allocating.
    fn note_io(&self, error: &IoError) {
        if self.wiring.counters.fault().is_none() {
            self.wiring.counters.set_fault(format!("{IO_FAULT}{error}"));
        }
    }

    /// What a sink had in its buffer and lost did not leave the line after all.
    fn take_back_lost(&mut self) {
        while let Some((why, count)) = self.handler.lost() {
            let stage = &self.wiring.counters.stage;
            let count = count.min(stage.forwarded.get());
            stage.forwarded.set(stage.forwarded.get() - count);
            let rejected = stage.rejected.get(usize::from(why));
            rejected.unwrap_or(&stage.undeclared).add(count);
        }
    }

    fn note_fault(&mut self) {
        if let Some(fault) = self.handler.fault() {
            self.wiring.counters.set_fault(fault);
        }
    }

    /// Ends after a panic: the frame in hand is accounted for, nothing more is taken, and what
    /// still comes is discarded until the producers have closed.
    #[cold]
    fn failed(&mut self, what: &(dyn Any + Send)) {
        self.wiring.counters.set_fault(panic_words(what));
        self.count_passed();
        let _ = catch_unwind(AssertUnwindSafe(|| self.take_back_lost()));
        if let Some((at, envelope)) = self.in_hand.take() {
            let now_ns = self.wiring.clock.stamp();
            self.wiring.inputs[at].finish(&envelope, now_ns, now_ns);
            self.wiring.inputs[at].step_over(&envelope);
            if envelope.flags.is_last() {
                self.wiring.counters.stage.consumed.add(1);
                self.wiring.counters.stage.panicked.add(1);
            }
        }
        self.discard_queued(Discard::StageFailed);
        for rx in &mut self.wiring.inputs {
            rx.close(Cause::Failed);
        }
        self.wiring.outputs.close(Cause::Failed);
        self.wiring.set_state(State::Failed);
        self.discarding = Some(Discard::StageFailed);
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

/// Gives the time since the last mark to being held back, by that output hop or by the outside.
fn held_until(now_ns: u64, hop: Option<usize>, counters: &NodeCounters, turn: &mut Turn<'_>) {
    let span_ns = now_ns.saturating_sub(turn.mark_ns);
    if let Some(by) = hop.and_then(|hop| counters.held_back_by.get(hop)) {
        by.add(span_ns);
    }
    turn.account_segment(
        &counters.regimes,
        Regime::HeldBack,
        Segment::HeldBack,
        now_ns,
    );
}

/// Gives the time since the last mark, up to when the last frame was done with, to a regime: once a
/// turn and not once a frame, for between the frames of a turn there is nothing else.
fn account_until(
    t_done_ns: Option<u64>,
    regime: Regime,
    counters: &NodeCounters,
    turn: &mut Turn<'_>,
) {
    if let Some(t_done_ns) = t_done_ns {
        turn.account(&counters.regimes, regime, t_done_ns);
    }
}

/// A panic's message.
pub(crate) fn panic_words(what: &(dyn Any + Send)) -> String {
    let said = what
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| what.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without words");
    format!("panicked: {said}")
}

impl<H: Handler> Node for Consumer<H> {
    fn name(&self) -> &str {
        &self.wiring.name
    }

    fn counters(&self) -> &Arc<NodeCounters> {
        &self.wiring.counters
    }

    fn open(&mut self, io: &mut Driver) -> Result<(), IoError> {
        self.handler.open(io)?;
        self.wiring.set_state(State::Run);
        Ok(())
    }

    fn turn(&mut self, turn: &mut Turn<'_>) -> Progress {
        if let Some(why) = self.discarding {
            return self.discard(why);
        }
        // One guard for the turn, not one for each frame: what is in hand is kept beside it.
        let result = catch_unwind(AssertUnwindSafe(|| {
            let mut progress = self.take(turn);
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
                if !self.has_room() || self.unflushed {
                    progress.held_back = true;
                    return progress;
                }
                self.finish(turn.io);
                // An end is no idle turn: consumers downstream have to see it.
                progress.work = 1;
            }
            progress
        }));
        match result {
            Ok(progress) => progress,
            Err(what) => {
                self.failed(what.as_ref());
                Progress {
                    work: 1,
                    held_back: false,
                }
            }
        }
    }

    fn next_due_ns(&self) -> Option<u64> {
        self.timer
    }

    fn has_input(&mut self) -> bool {
        let inputs = &mut self.wiring.inputs;
        inputs.iter_mut().any(|rx| rx.ring.peek().is_some())
            || inputs.iter_mut().all(HopRx::is_finished)
    }

    fn housekeep(&mut self, io: &mut Driver) {
        if !self.over && self.discarding.is_none() {
            self.handler.housekeep(self.wiring.clock.stamp(), io);
            self.unflushed |= self.handler.pending();
            self.take_back_lost();
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
        if !self.over && self.discarding.is_none() {
            self.failed(what);
        }
    }

    fn abort(&mut self, io: &mut Driver, cause: Cause) {
        if self.over {
            return;
        }
        // One that has failed is not asked again, and stays failed.
        let failed = self.discarding.is_some();
        if !failed {
            let now_ns = self.wiring.clock.stamp();
            // A last try; whatever goes wrong in it, what is still queued is discarded below.
            let _ = catch_unwind(AssertUnwindSafe(|| {
                let _ = self.handler.give_up(io);
                while let Some((Fate::Now(disposal), count)) = self.handler.send_queued(io) {
                    self.settle(disposal, count, now_ns);
                }
                self.note_fault();
            }));
            self.take_back_lost();
        }
        let why = match cause {
            Cause::Aborted => Discard::Aborted,
            _ => Discard::DrainDeadline,
        };
        self.discard_queued(why);
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
