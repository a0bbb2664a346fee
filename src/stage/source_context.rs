//! What a source may do in a turn: take messages in, have them decoded, and say what else it saw.
//!
//! Invariant: every message that is handed over is counted once as received, and where it ends.

use crate::base::limits::SUSPECT_MESSAGE_NS;
use crate::base::{Hangup, Reject};
use crate::budget::{Gaps, IngressCounters, LinkCounters, Regime, Segment, Skew};
use crate::clock::Clock;
use crate::feed::sequenced::Delivery;
use crate::hist::Recorder;
use crate::io::Driver;

use super::context::Context;
use super::decode::{Decode, Decoded};
use super::hold::{Decoding, Hold};
use super::ingress::Arrival;
use super::node::Turn;

/// When and how a turn came to have a batch of messages in hand.
#[derive(Clone, Copy, Debug)]
pub struct InHand {
    /// When, in nanoseconds of the line's clock.
    pub now_ns: u64,
    waited: bool,
    ready: bool,
}

/// What an ingress may do in a turn.
#[derive(Debug)]
pub struct SourceContext<'a, 't> {
    pub(crate) cx: Context<'a>,
    pub(crate) turn: &'a mut Turn<'t>,
    pub(crate) counters: &'a super::node::NodeCounters,
    pub(crate) hold: &'a mut Hold,
    pub(crate) seen: &'a mut Seen,
    pub(crate) wire: Option<&'a mut Recorder<1>>,
    pub(crate) source: u16,
    pub(crate) max_emit: usize,
    pub(crate) work: usize,
}

/// What a source sees of its messages' times.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) gaps: Gaps,
    pub(crate) skew: Skew,
}

impl Seen {
    /// Shows it, for reports.
    pub(crate) fn tell(&self, counters: &IngressCounters) {
        self.gaps.tell(&counters.gaps);
        self.skew.tell(&counters.skew);
    }

    /// Shows what it came to.
    pub(crate) fn end(&self, counters: &IngressCounters) {
        self.gaps.tell(&counters.gaps);
        self.skew.end(&counters.skew);
    }
}

impl SourceContext<'_, '_> {
    /// The door to the operating system.
    pub fn io(&mut self) -> &mut Driver {
        self.turn.io
    }

    /// A fresh stamp of the line's clock, in nanoseconds.
    #[inline]
    #[must_use]
    pub fn stamp(&self) -> u64 {
        self.cx.stamp()
    }

    /// Ends the idle time: what follows until the next message counts as I/O.
    #[inline]
    pub fn begin_io(&mut self) {
        let now_ns = self.cx.stamp();
        self.turn.account_idle(now_ns);
    }

    /// Whether every blocking output has room for one message's frames. Where it has not, the
    /// source must leave its messages where they are and end its turn.
    #[inline]
    pub fn has_room(&mut self) -> bool {
        let Some(hop) = self.cx.outputs().without_room(self.max_emit) else {
            self.hold.now = false;
            if let Some(hop) = self.hold.by.take() {
                let now_ns = self.cx.stamp();
                self.cx.outputs().found_room(now_ns);
                self.held_until(now_ns, hop);
            }
            return true;
        };
        let now_ns = self.cx.stamp();
        self.cx.outputs().found_full(hop, self.turn.mark_ns, now_ns);
        self.held_until(now_ns, hop);
        self.hold.by = Some(hop);
        self.hold.since_ns.get_or_insert(now_ns);
        self.hold.until_ns = now_ns;
        self.hold.now = true;
        false
    }

    /// Gives the time since the last mark to being held back by that output hop.
    #[cold]
    fn held_until(&mut self, now_ns: u64, hop: usize) {
        if let Some(by) = self.counters.held_back_by.get(hop) {
            by.add(now_ns.saturating_sub(self.turn.mark_ns));
        }
        self.turn.account_segment(
            &self.counters.regimes,
            Regime::HeldBack,
            Segment::HeldBack,
            now_ns,
        );
    }

    /// Counts a message and hands it to the decoder.
    #[inline]
    pub fn message(&mut self, arrival: Arrival<'_>, decoder: &mut (impl Decode + ?Sized)) {
        self.receive(&arrival, |cx, now_ns, offer_at_ns| {
            cx.hand_over(arrival, now_ns, offer_at_ns, |bytes, cx| {
                decoder.decode(bytes, cx)
            });
        });
    }

    /// Hands the next message of a packet to the decoder, of which `at` says what is done with; whether the
    /// packet may hold more. The packet comes again with the same `at` until it does not. For packets of one
    /// message this is [`SourceContext::message`].
    #[inline]
    pub fn packet(
        &mut self,
        packet: Arrival<'_>,
        at: &mut usize,
        decoder: &mut (impl Decode + ?Sized),
    ) -> bool {
        self.receive(&packet, |cx, now_ns, offer_at_ns| {
            cx.take_next(packet, at, decoder, now_ns, offer_at_ns)
        })
    }

    /// Accounts for the receipt of what arrived, has `take` deal with it, and accounts for that.
    #[inline(always)]
    fn receive<T>(
        &mut self,
        arrival: &Arrival<'_>,
        take: impl FnOnce(&mut Self, u64, Option<u64>) -> T,
    ) -> T {
        let now_ns = self.cx.stamp();
        self.account_received(now_ns);
        let offer_at_ns = self.offer_at_ns(arrival.t_intended_ns, arrival.scheduled);
        if arrival.scheduled {
            let late_ns = now_ns.saturating_sub(arrival.t_intended_ns);
            self.counters.ingress.late_ns_max.raise(late_ns);
        }
        let taken = take(self, now_ns, offer_at_ns);
        let done_ns = self.cx.stamp();
        self.turn.account_segment(
            &self.counters.regimes,
            Regime::Work,
            Segment::Handler,
            done_ns,
        );
        taken
    }

    /// Begins to hand over messages that one call brought, now or in an earlier turn: the time since
    /// the last mark was I/O. One stamp serves all of them, for they are all in hand now; what each of
    /// them becomes gets its own stamp when it is offered to a hop, unless the decoder
    /// [only copies](Decode::only_copies).
    ///
    /// `waited` says that an earlier turn had them in hand and no room for them, so that their wait
    /// counts from then.
    #[inline]
    pub fn begin_batch(&mut self, decoder: &(impl Decode + ?Sized), waited: bool) -> InHand {
        let now_ns = self.cx.stamp();
        self.account_received(now_ns);
        InHand {
            now_ns,
            waited,
            ready: decoder.only_copies(),
        }
    }

    /// Counts a message of a batch and hands it to the decoder.
    #[inline]
    pub fn batch_message(
        &mut self,
        arrival: Arrival<'_>,
        decoder: &mut (impl Decode + ?Sized),
        in_hand: InHand,
    ) {
        let InHand {
            now_ns,
            waited,
            ready,
        } = in_hand;
        let held_ns = self.offer_at_ns(arrival.t_intended_ns, waited);
        let offer_at_ns = held_ns.or(ready.then_some(now_ns));
        self.hand_over(arrival, now_ns, offer_at_ns, |bytes, cx| {
            decoder.decode(bytes, cx)
        });
    }

    /// Counts a message of a sequenced feed, which became due in this batch, and hands it to the decoder with
    /// its place; `waited` says that it was due before and had no room. Whether a hop has it now.
    #[inline]
    pub fn sequenced_message(
        &mut self,
        delivery: &Delivery<'_>,
        t_intended_ns: u64,
        decoder: &mut (impl Decode + ?Sized),
        in_hand: InHand,
        waited: bool,
    ) -> bool {
        let arrival = Arrival {
            bytes: delivery.bytes,
            t_intended_ns,
            scheduled: false,
            received_wall_ns: None,
            peer: None,
        };
        let held_ns = self.offer_at_ns(t_intended_ns, waited);
        let offer_at_ns = held_ns.or(in_hand.ready.then_some(in_hand.now_ns));
        self.hand_over(arrival, in_hand.now_ns, offer_at_ns, |_, cx| {
            decoder.decode_in_sequence(delivery, cx)
        })
    }

    /// Hands the next message of a packet to the decoder, of which `at` says what is done with; whether the
    /// packet may hold more. The packet comes again with the same `at` until it does not.
    ///
    /// For packets that are [packed](Decode::is_packed); [`SourceContext::begin_batch`] and
    /// [`SourceContext::end_batch`] stand around them as around messages.
    #[inline]
    pub fn batch_packet(
        &mut self,
        packet: Arrival<'_>,
        at: &mut usize,
        decoder: &mut (impl Decode + ?Sized),
        in_hand: InHand,
    ) -> bool {
        let held_ns = self.offer_at_ns(packet.t_intended_ns, in_hand.waited);
        let offer_at_ns = held_ns.or(in_hand.ready.then_some(in_hand.now_ns));
        self.take_next(packet, at, decoder, in_hand.now_ns, offer_at_ns)
    }

    #[inline]
    fn take_next(
        &mut self,
        packet: Arrival<'_>,
        at: &mut usize,
        decoder: &mut (impl Decode + ?Sized),
        now_ns: u64,
        offer_at_ns: Option<u64>,
    ) -> bool {
        self.begin_message(&packet, now_ns, offer_at_ns);
        // How much of a packet with several is the next message, only the decoder knows.
        let is_packed = decoder.is_packed();
        let bytes = if is_packed { 0 } else { packet.bytes.len() };
        self.hold.in_hand = Some(Decoding {
            bytes: bytes as u64,
            is_kept: true,
        });
        let taken = decoder.decode_next(packet.bytes, *at, &mut self.cx);
        self.hold.in_hand = None;
        match taken.message {
            Some(result) => {
                self.end_message(result, taken.bytes, packet.received_wall_ns);
            }
            None => {
                let (_, offered) = self.cx.take_emitted();
                if offered > 0 {
                    self.counters.ingress.received.add(1);
                    self.counters.ingress.undeclared.add(1);
                }
                self.work += 1;
            }
        }
        *at = taken.next.unwrap_or(0);
        taken.next.is_some()
    }

    /// Ends a batch, or this turn's part of it: the time since it began was work.
    #[inline]
    pub fn end_batch(&mut self) {
        let done_ns = self.cx.stamp();
        let since_ns = self.turn.mark_ns;
        self.turn
            .account(&self.counters.regimes, Regime::Work, done_ns);
        // Timed as a whole, so what is long depends on how many there were.
        let more_ns = SUSPECT_MESSAGE_NS * self.work as u64;
        let span_ns = done_ns.saturating_sub(since_ns).saturating_sub(more_ns);
        if self.turn.log.is_long(Segment::Handler, span_ns) {
            self.turn.note(Segment::Handler, since_ns, done_ns);
        }
    }

    /// Whether so many more messages have room; [`SourceContext::has_room`] says who holds them back.
    #[inline]
    pub fn has_room_for(&mut self, messages: usize) -> bool {
        let frames = self.max_emit.saturating_mul(messages);
        self.cx.outputs().without_room(frames).is_none()
    }

    /// Records how long each of so many messages lay in the kernel, in nanoseconds.
    #[inline]
    pub fn record_wire(&mut self, span_ns: u64, messages: u32) {
        if let Some(wire) = &mut self.wire {
            wire.record_n(0, span_ns, messages);
        }
    }

    /// The line's clock.
    #[inline]
    #[must_use]
    pub fn clock(&self) -> &Clock {
        self.cx.clock()
    }

    /// Gives the time since the last mark to receiving.
    #[inline]
    fn account_received(&mut self, now_ns: u64) {
        self.turn
            .log
            .received(now_ns.saturating_sub(self.turn.mark_ns));
        self.turn
            .account_segment(&self.counters.regimes, Regime::Io, Segment::Receive, now_ns);
    }

    /// Whether a hop has what became of the message.
    #[inline]
    fn hand_over(
        &mut self,
        arrival: Arrival<'_>,
        now_ns: u64,
        offer_at_ns: Option<u64>,
        decode: impl FnOnce(&[u8], &mut Context<'_>) -> Result<Decoded, Reject>,
    ) -> bool {
        self.begin_message(&arrival, now_ns, offer_at_ns);
        let result = decode(arrival.bytes, &mut self.cx);
        self.hold.in_hand = None;
        self.end_message(result, arrival.bytes.len(), arrival.received_wall_ns)
    }

    /// The decoder gets a message, or a packet that may hold one.
    #[inline]
    fn begin_message(&mut self, arrival: &Arrival<'_>, now_ns: u64, offer_at_ns: Option<u64>) {
        self.counters.stage.done_ns.set(now_ns);
        self.seen.gaps.note(arrival.t_intended_ns);
        self.cx.begin_source(
            self.source,
            arrival.t_intended_ns,
            now_ns,
            offer_at_ns,
            arrival.peer,
        );
        self.hold.in_hand = Some(Decoding {
            bytes: arrival.bytes.len() as u64,
            is_kept: false,
        });
    }

    /// Counts a message and what became of it; whether a hop has it.
    #[inline]
    fn end_message(
        &mut self,
        result: Result<Decoded, Reject>,
        bytes: usize,
        received_wall_ns: Option<u64>,
    ) -> bool {
        let counters = &*self.counters.ingress;
        counters.received.add(1);
        counters.bytes.add(bytes as u64);
        let (emitted, offered) = self.cx.take_emitted();
        match result {
            // Refused and emitted: one of the two is not true.
            Err(_) if offered > 0 => counters.undeclared.add(1),
            Err(why) => counters.reject(why),
            Ok(_) if emitted > 0 => counters.ingested.add(1),
            Ok(_) if offered > 0 => counters.shed.add(1),
            Ok(_) => counters.undeclared.add(1),
        }
        if let Ok(Decoded {
            event_wall_ns: Some(event_ns),
        }) = result
            && let Some(received_ns) = received_wall_ns
        {
            self.seen.skew.note(event_ns, received_ns);
        }
        self.work += 1;
        emitted > 0
    }

    /// Counts datagrams as work of this turn, whatever messages they brought.
    #[inline]
    pub fn took_in(&mut self, datagrams: usize) {
        self.note_datagrams(datagrams);
        self.work += datagrams;
    }

    /// Counts datagrams that the system handed over, whatever they hold.
    #[inline]
    pub fn note_datagrams(&mut self, count: usize) {
        self.counters.ingress.datagrams.add(count as u64);
    }

    /// Counts I/O that brought no message yet, such as reading ahead: the time since the last mark
    /// goes to it, and the loop does not take the turn for an empty one.
    #[inline]
    pub fn did_io(&mut self) {
        let now_ns = self.cx.stamp();
        self.account_received(now_ns);
        self.work += 1;
    }

    /// Counts a message that was refused before any decoder saw it.
    pub fn reject(&mut self, why: Reject, bytes: usize) {
        let counters = &*self.counters.ingress;
        counters.received.add(1);
        counters.bytes.add(bytes as u64);
        counters.reject(why);
        self.work += 1;
    }

    /// Counts bytes of messages that were refused for their length.
    #[inline]
    pub fn note_left_out(&mut self, bytes: u64) {
        self.counters.ingress.bytes.add(bytes);
    }

    /// What is counted of the connection that the source keeps open.
    #[must_use]
    pub fn link(&self) -> &LinkCounters {
        &self.counters.ingress.link
    }

    /// Counts a connection that began.
    pub fn note_connected(&mut self) {
        self.counters.ingress.connected.add(1);
        self.work += 1;
    }

    /// Counts a connection that ended.
    pub fn note_disconnected(&mut self, why: Hangup) {
        self.counters.ingress.hang_up(why);
        self.work += 1;
    }

    /// Counts a message whose recorded time lies before that of an earlier one.
    pub fn note_time_backwards(&mut self) {
        self.counters.ingress.time_backwards.add(1);
    }

    /// Counts packets that are for somebody else.
    pub fn note_skipped(&mut self, packets: u64) {
        self.counters.ingress.skipped.add(packets);
    }

    /// Counts messages whose thread panicked while it wrote them.
    pub fn note_panicked(&mut self, messages: u64) {
        let counters = &*self.counters.ingress;
        counters.received.add(messages);
        counters.panicked.add(messages);
        self.work += messages as usize;
    }

    /// Notes for how long a claim of another thread has been open, in nanoseconds.
    pub fn note_claim_open(&mut self, span_ns: u64) {
        self.counters.ingress.claim_open_ns_max.raise(span_ns);
    }

    /// From when a frame's wait counts, if not from now: a scheduled message that was ready while
    /// the source was held back has been waiting since then.
    #[inline]
    fn offer_at_ns(&mut self, t_intended_ns: u64, was_ready: bool) -> Option<u64> {
        let since_ns = self.hold.since_ns?;
        if t_intended_ns > self.hold.until_ns {
            self.hold.since_ns = None;
            return None;
        }
        was_ready.then(|| t_intended_ns.max(since_ns))
    }
}
