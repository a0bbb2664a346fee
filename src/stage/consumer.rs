//! One turn of a node that takes frames from hops: a stage or a sink.

mod node;
mod panics;

use std::collections::VecDeque;

use crate::base::limits::DROPS_PER_TURN_MAX;
use crate::base::{Cause, Discard, Envelope, Reason};
use crate::budget::{Regime, Segment};
use crate::frame::Input;
use crate::io::{Driver, IoError};
use crate::ring::fan_in::Rotation;

use super::classes::Classes;
use super::context::Context;
use super::egress::{Egress, IO_FAULT};
use super::handler::{EgressHandler, Fate, Handler, Make, StageHandler};
use super::life::Life;
use super::node::{Descriptor, Node, NodeCounters, Progress, Role, State, Turn, Wiring};
use super::order::Order;
use super::outcome::Disposal;
use super::{Stage, hop::HopRx};

use panics::Absent;

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

/// A node that runs a stage; `make` gives another instance of it where one that panicked is to be replaced.
#[must_use]
pub fn stage_node<S: Stage>(stage: S, make: Make<S>, wiring: Wiring) -> Box<dyn Node> {
    let handler = StageHandler::new(stage, make);
    Box::new(Consumer::new(handler, S::MAX_EMIT, false, wiring))
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
    /// Most frames that a turn takes from one input.
    batch: usize,
    is_sink: bool,
    /// Which input is looked at first in the next turn, so that none starves.
    rotation: Rotation,
    timer: Option<u64>,
    /// Whether the timer's time has come and there is no room for what it may emit.
    timer_waits: bool,
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
    /// Why the rest of the message of which a fragment was taken last goes no further, if it does not: a fragment of it was
    /// malformed, or it came too late.
    spoilt: Option<Discard>,
    /// Which input comes next, where they are of several classes.
    classes: Option<Box<Classes>>,
    /// Whether the node was held back when it last looked, and by which output hop; none for the
    /// outside of a sink.
    held: Option<Option<usize>>,
    /// What a panic comes to, where that is not the end of the line.
    life: Option<Box<Life>>,
    /// Why it takes nothing, once it has panicked.
    absent: Option<Absent>,
    /// In which order the messages of its sources come, if it is a sink.
    order: Option<Box<Order>>,
    /// Whether the line drains, and whether the handler has been asked for its last words.
    draining: bool,
    ending: bool,
    over: bool,
}

impl<H: Handler> Consumer<H> {
    fn new(handler: H, max_emit: usize, is_sink: bool, mut wiring: Wiring) -> Consumer<H> {
        let classes = Classes::new(wiring.inputs.iter().map(HopRx::rank).collect());
        let classes = classes.are_several().then(|| Box::new(classes));
        Consumer {
            handler,
            queued: VecDeque::new(),
            batch: wiring.batch.max(1),
            life: wiring.life.take().map(Box::new),
            wiring,
            max_emit,
            is_sink,
            rotation: Rotation::default(),
            timer: None,
            timer_waits: false,
            in_hand: None,
            message_emitted: false,
            passed: 0,
            unflushed: false,
            mid_message: false,
            spoilt: None,
            classes,
            held: None,
            absent: None,
            order: is_sink.then(Box::default),
            draining: false,
            ending: false,
            over: false,
        }
    }

    /// Takes frames from all inputs, a bounded batch of each. A message's fragments are taken
    /// without others between, so that a handler may collect them in one store; they all become
    /// visible at once, so this waits for nobody.
    fn take(&mut self, turn: &mut Turn<'_>) -> Progress {
        if self.classes.is_some() && !self.mid_message {
            return self.take_by_class(turn);
        }
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

    /// Takes a bounded batch of the input whose turn it is by its class.
    fn take_by_class(&mut self, turn: &mut Turn<'_>) -> Progress {
        let inputs = &mut self.wiring.inputs;
        let has_something = |at: usize| inputs[at].ring.peek().is_some();
        let next = self
            .classes
            .as_mut()
            .and_then(|one| one.next(has_something));
        let Some(at) = next else {
            return Progress::IDLE;
        };
        let progress = self.take_from(at, turn, Progress::IDLE);
        if self.mid_message {
            self.rotation.begin_with(at);
        }
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
        // Those that came too late and are stepped over.
        let mut dropped = 0;
        if rx.judged && !self.mid_message {
            rx.skip_oldest();
        }
        // One that is worked on though it may become too late.
        let mut spared = false;
        // When the frame before was done with, if this turn took one.
        let mut t_before_ns = None;
        // Where there is room for all that a turn may emit, it need not be asked for each frame.
        let mut roomy = None;
        while (taken < self.batch && dropped < DROPS_PER_TURN_MAX) || self.mid_message {
            let Some(frame) = rx.ring.peek() else { break };
            let envelope = *frame.envelope();
            if let Some(why) = self.spoilt {
                self.mid_message = !envelope.flags.is_last();
                self.spoilt = self.spoilt.filter(|_| self.mid_message);
                rx.discard(&envelope, why);
                dropped += 1;
                continue;
            }
            let roomy = *roomy.get_or_insert_with(|| {
                rx.backlog.begins(envelope.t_offer_ns, turn.mark_ns);
                let most = self.max_emit.saturating_mul(self.batch);
                cx.outputs().without_room(most).is_none()
            });
            if (!roomy || taken >= self.batch)
                && let Some(hop) = cx.outputs().without_room(self.max_emit)
            {
                account_until(t_before_ns, H::REGIME, counters, turn);
                self.held = Some(Some(hop));
                let now_ns = clock.stamp();
                cx.outputs().found_full(hop, turn.mark_ns, now_ns);
                held_until(now_ns, Some(hop), counters, turn);
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
                Some(hop) => {
                    cx.outputs().found_room(t_dequeue_ns);
                    held_until(t_dequeue_ns, hop, counters, turn);
                }
                None if taken == 0 => turn.account_idle(t_dequeue_ns),
                None => {}
            }
            if rx.judged
                && envelope.flags.is_first()
                && !core::mem::take(&mut spared)
                && let Some(old) = rx.aging.too_late(&envelope, t_dequeue_ns)
            {
                if rx.spares(old, envelope.t_offer_ns) {
                    // The same one again, without a question.
                    spared = true;
                    continue;
                }
                let why = old.why;
                self.mid_message = !envelope.flags.is_last();
                self.spoilt = Some(why).filter(|_| self.mid_message);
                rx.discard(&envelope, why);
                // One stamp serves all that were waiting then.
                t_before_ns = Some(t_dequeue_ns);
                dropped += 1;
                continue;
            }
            self.in_hand = Some((at, envelope));
            cx.begin_input(&envelope, t_dequeue_ns, H::ONLY_COPIES);
            let outcome = self
                .handler
                .frame(&envelope, frame.payload(), &mut cx, turn.io);
            let t_done_ns = clock.stamp();
            self.in_hand = None;
            counters.stage.done_ns.set(t_done_ns);
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
                    if let Some(order) = &mut self.order {
                        order.note(&envelope, &counters.stage);
                    }
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
                    self.spoilt = Some(Discard::Malformed).filter(|_| self.mid_message);
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
                if let Some(order) = &mut self.order {
                    order.note(&envelope, &counters.stage);
                }
            }
            taken += 1;
        }
        account_until(t_before_ns, H::REGIME, counters, turn);
        self.count_passed();
        if taken > 0 {
            let rx = &mut self.wiring.inputs[at];
            let (mut waiting, mut head_offer_ns) = (taken, 0);
            if taken >= self.batch || progress.held_back {
                waiting += rx.ring.ready_ahead(usize::MAX);
                let head = rx.ring.peek();
                head_offer_ns = head.map_or(0, |frame| frame.envelope().t_offer_ns);
            }
            // The producer may have refilled what was taken meanwhile.
            rx.backlog.ends(waiting.min(rx.ring.depth()), head_offer_ns);
        }
        progress.work += taken + dropped;
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
            let Wiring {
                outputs, counters, ..
            } = &mut self.wiring;
            // Without a declared emission there is nothing to ask for.
            let full = outputs
                .without_room(self.max_emit)
                .filter(|_| self.max_emit > 0);
            self.timer_waits = full.is_some();
            if let Some(hop) = full {
                self.held = Some(Some(hop));
                outputs.found_full(hop, turn.mark_ns, now_ns);
                held_until(now_ns, Some(hop), counters, turn);
                progress.held_back = true;
                return;
            }
            if let Some(hop) = self.held.take() {
                outputs.found_room(now_ns);
                held_until(now_ns, hop, counters, turn);
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
            counters.stage.done_ns.set(now_ns);
            turn.account_segment(&counters.regimes, Regime::Work, Segment::Handler, now_ns);
        }
    }

    /// Ends in good order: the handler passes on the last of it, in as many turns as that takes, then the outputs close.
    fn finish(&mut self, io: &mut Driver) {
        let Wiring {
            outputs,
            counters,
            clock,
            ..
        } = &mut self.wiring;
        let now_ns = clock.stamp();
        let mut cx = Context::new(outputs, clock, counters, &mut self.timer, now_ns);
        self.ending = true;
        let closed = self.handler.drained(&mut cx, io);
        if let Err(error) = closed {
            self.note_io(&error);
        }
        if !self.handler.is_drained() {
            return self.wiring.outputs.ring_bells();
        }
        if let Some(hash) = self.handler.state_hash() {
            self.wiring.counters.set_state_hash(hash);
        }
        self.take_back_lost();
        self.note_fault();
        self.tell_counts();
        self.over(State::Done, Cause::Finished);
    }

    /// Shows what the handler counts of its own.
    fn tell_counts(&self) {
        self.handler.tell(&self.wiring.counters.own);
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
            let counters = &self.wiring.counters;
            counters.stage.done_ns.set(now_ns);
            let regimes = &counters.regimes;
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
            let kind = message.envelope.kind;
            self.wiring.inputs[message.at].discard_message(kind, why);
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
