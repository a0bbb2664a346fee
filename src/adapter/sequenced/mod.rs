//! Sequenced market feeds: MoldUDP64 and IEX-TP from one or two lines of datagrams.
//!
//! A turn takes what waits in the sockets, hands it to [`Sequenced`], and what that hands out to the decoder, whose
//! frames say of each message where it stands and what can be relied on. What is missing is given up for being late only
//! where no socket may have it: each was found empty, or its own line has come past it. A copy that has waited
//! there while the line was held back, or off its core, comes in first.
//!
//! What has no room on the line is copied into a queue, and no datagram is taken until that is empty, so that
//! what waits further, waits in the kernel's buffers, and is counted there when they overflow.
//!
//! The unit of the source's ledger is the message: received = messages of all datagrams that were understood, of
//! every line, + datagrams that were refused. A datagram that carries none (a heartbeat) counts with its
//! line alone.
//!
//! | file | what it knows |
//! |---|---|
//! | `settings` | how people describe such a source |
//! | `hand` | the way from the feed to the decoder |
//! | `waiting` | what has no room yet |
//! | `tell` | counts for the report |
//!
//! Invariant: each message that a datagram brought is handed over, a duplicate, or rejected with a reason, a drain
//! included; what no line brought is named.

mod hand;
mod settings;
mod tell;
mod waiting;

use std::sync::Arc;

use crate::base::limits::{BURST_MESSAGES, MESSAGE_BYTES_MAX, OPEN_DEADLINE_NS};
use crate::base::{Cause, Reason as _, Reject};
use crate::budget::IngressCounters;
use crate::budget::sequenced::SequencedCounters;
use crate::feed::Sequenced;
use crate::feed::sequenced::Params as Sequencing;
use crate::io::{
    BATCH_SLOTS_MAX, Driver, IoError, RecvBatch, TRAIN_BYTES_MAX, Trains, UdpGranted, UdpId,
    UdpSpec,
};
use crate::stage::{Decode, Feed, Ingress, Port, SourceContext};

use super::Trouble;
use super::udp_source::{Wire, wire_clock};
use hand::{Giver, Hand, Owed};
use waiting::Waiting;

pub use settings::{SequencedUdp, iextp, moldudp64};

/// Most messages that a turn hands over of those that waited for room: eight turns of a socket.
const WAITING_PER_TURN: usize = 8 * BURST_MESSAGES;

/// One line: a socket and what was taken from it.
struct Line {
    spec: UdpSpec,
    open: Option<Open>,
}

/// What an open line works with.
struct Open {
    socket: UdpId,
    granted: UdpGranted,
    batch: RecvBatch,
    /// When the batch was received, in nanoseconds of the line's clock.
    received_ns: u64,
    wire: Wire,
}

/// Receives a sequenced feed.
pub struct SequencedSource {
    lines: Box<[Line]>,
    /// The line that a turn begins with.
    first: usize,
    sequencing: Sequencing,
    feed: Sequenced,
    decoder: Box<dyn Decode>,
    waiting: Waiting,
    owed: Owed,
    counters: Arc<SequencedCounters>,
    /// When time matters to the feed next, in nanoseconds of the line's clock.
    due_ns: Option<u64>,
    /// Whether the feed was told that the run ends.
    finished: bool,
    told: tell::Told,
    trouble: Trouble,
}

impl core::fmt::Debug for SequencedSource {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("SequencedSource")
            .field("sequencing", &self.sequencing)
            .field("feed", &self.feed.union())
            .finish_non_exhaustive()
    }
}

/// Slots of a line's batch, and bytes of each.
fn room(spec: &UdpSpec) -> (usize, usize) {
    match spec.trains {
        Trains::On | Trains::Backlog => (BATCH_SLOTS_MAX, TRAIN_BYTES_MAX),
        Trains::Off => (BATCH_SLOTS_MAX, MESSAGE_BYTES_MAX),
    }
}

impl SequencedSource {
    /// Hands over what waits for room; false if some is left.
    fn give_waiting(&mut self, cx: &mut SourceContext<'_, '_>) -> bool {
        if self.waiting.is_empty() {
            return true;
        }
        if !cx.has_room() {
            return false;
        }
        let in_hand = cx.begin_batch(self.decoder.as_ref(), true);
        let mut giver = Giver {
            cx,
            decoder: self.decoder.as_mut(),
            owed: &mut self.owed,
            in_hand,
            room: 0,
        };
        giver.give_waiting(&mut self.waiting, WAITING_PER_TURN);
        cx.end_batch();
        self.is_all_handed(cx)
    }

    /// Whether nothing waits for room; else says who holds it back.
    fn is_all_handed(&self, cx: &mut SourceContext<'_, '_>) -> bool {
        self.waiting.is_empty() || {
            cx.has_room();
            false
        }
    }

    /// Receives on a line, if nothing of it is in hand. Whether there is something in hand then.
    fn receive(&mut self, at: usize, cx: &mut SourceContext<'_, '_>) -> bool {
        let Some(open) = &mut self.lines[at].open else {
            return false;
        };
        if !open.batch.is_empty() {
            return true;
        }
        cx.begin_io();
        match cx.io().udp_recv_batch(open.socket, &mut open.batch) {
            Ok(0) => false,
            Ok(_) => {
                open.received_ns = cx.stamp();
                if open.granted.stamps {
                    open.wire.refresh(cx.clock(), open.received_ns);
                }
                true
            }
            Err(error) => {
                self.trouble.note(error);
                false
            }
        }
    }

    /// Hands what is in hand of a line to the feed, until something has to wait for room.
    fn take(&mut self, at: usize, cx: &mut SourceContext<'_, '_>) {
        let Some(open) = &mut self.lines[at].open else {
            return;
        };
        let in_hand = cx.begin_batch(self.decoder.as_ref(), false);
        let received_ns = open.received_ns;
        let mut room = 0;
        for _ in 0..open.batch.len().min(BURST_MESSAGES) {
            if !self.waiting.is_empty() {
                break;
            }
            let Some(datagram) = open.batch.next() else {
                break;
            };
            let mut t_intended_ns = received_ns;
            if let Some(wall_ns) = datagram.stamp_wall_ns {
                t_intended_ns = open.wire.line_ns(cx.clock(), wall_ns, received_ns);
                open.wire.note(received_ns - t_intended_ns, cx);
            }
            let mut hand = Hand {
                giver: Giver {
                    cx,
                    decoder: self.decoder.as_mut(),
                    owed: &mut self.owed,
                    in_hand,
                    room,
                },
                waiting: &mut self.waiting,
                counters: &self.counters,
                received_ns,
                t_intended_ns,
            };
            // One that was cut off is refused for what it announces and does not have.
            let taken = self
                .feed
                .arrived(at, datagram.bytes, received_ns, &mut hand);
            room = hand.giver.room;
            match taken {
                Ok(()) => cx.took_in(1),
                Err(why) => cx.reject(why.as_reject(), datagram.bytes.len()),
            }
        }
        open.wire.tell(cx);
        cx.end_batch();
        self.due_ns = self.feed.next_tick_ns();
    }

    /// Lets the feed do what it does by time, or for the end of the run.
    fn by_time(
        &mut self,
        cx: &mut SourceContext<'_, '_>,
        now_ns: u64,
        act: impl FnOnce(&mut Sequenced, &mut Hand<'_, '_, '_>),
    ) {
        let in_hand = cx.begin_batch(self.decoder.as_ref(), false);
        let mut hand = Hand {
            giver: Giver {
                cx,
                decoder: self.decoder.as_mut(),
                owed: &mut self.owed,
                in_hand,
                room: 0,
            },
            waiting: &mut self.waiting,
            counters: &self.counters,
            received_ns: now_ns,
            t_intended_ns: now_ns,
        };
        act(&mut self.feed, &mut hand);
        cx.end_batch();
        self.due_ns = self.feed.next_tick_ns();
    }

    /// Datagrams in hand that the feed has not seen.
    fn datagrams_left(&self) -> usize {
        let open = self.lines.iter().filter_map(|line| line.open.as_ref());
        open.map(|open| open.batch.len()).sum()
    }
}

impl Ingress for SequencedSource {
    fn ports(&self) -> &'static [Port] {
        self.decoder.ports()
    }

    fn max_emit(&self) -> usize {
        self.decoder.max_emit()
    }

    fn memory_bytes(&self) -> usize {
        let batches = self.lines.iter().map(|line| {
            let (slots, bytes) = room(&line.spec);
            RecvBatch::memory_bytes(slots, bytes)
        });
        size_of::<SequencedSource>()
            + batches.sum::<usize>()
            + self.sequencing.memory_bytes()
            + Waiting::memory_bytes(&self.sequencing)
            + self.decoder.memory_bytes()
    }

    fn open(&mut self, io: &mut Driver) -> Result<(), IoError> {
        for line in &mut self.lines {
            let socket = io.udp_open(&line.spec)?;
            let granted = io.udp_granted(socket)?;
            if granted.stamps {
                self.told.wire_clock = Some(wire_clock(&line.spec, &granted));
            }
            let (slots, bytes) = room(&line.spec);
            line.open = Some(Open {
                socket,
                granted,
                batch: RecvBatch::new(slots, bytes),
                received_ns: 0,
                wire: Wire::default(),
            });
        }
        Ok(())
    }

    fn start(&mut self, t0_ns: u64) {
        for open in self.lines.iter_mut().filter_map(|line| line.open.as_mut()) {
            open.wire.floor_ns = t0_ns.saturating_sub(OPEN_DEADLINE_NS);
        }
    }

    fn turn(&mut self, cx: &mut SourceContext<'_, '_>) -> Feed {
        // Held back is told from idle before the mark is set.
        if !self.give_waiting(cx) || !cx.has_room() {
            return Feed::Live;
        }
        let now_ns = cx.stamp();
        let lines = self.lines.len();
        // The first sequence that a socket may still have.
        let mut reach = u64::MAX;
        for nth in 0..lines {
            let at = (self.first + nth) % lines;
            if !self.receive(at, cx) {
                continue;
            }
            self.take(at, cx);
            if !self.is_all_handed(cx) {
                return Feed::Live;
            }
            reach = reach.min(self.feed.position(at));
        }
        self.first = (self.first + 1) % lines;
        let is_due = self.due_ns.is_some_and(|due_ns| due_ns <= now_ns);
        if is_due && reach > self.feed.next_sequence() {
            self.by_time(cx, now_ns, |feed, hand| {
                feed.tick_as_far_as(now_ns, reach, hand);
            });
            self.is_all_handed(cx);
        }
        Feed::Live
    }

    fn has_input(&mut self) -> bool {
        self.waiting.is_empty() && self.datagrams_left() > 0
    }

    fn drain(&mut self, cx: &mut SourceContext<'_, '_>) -> Feed {
        if !self.give_waiting(cx) {
            return Feed::Live;
        }
        for at in 0..self.lines.len() {
            let is_left = |line: &Line| {
                line.open
                    .as_ref()
                    .is_some_and(|open| !open.batch.is_empty())
            };
            while self.waiting.is_empty() && is_left(&self.lines[at]) {
                self.take(at, cx);
            }
        }
        if !self.finished && self.waiting.is_empty() {
            self.finished = true;
            let now_ns = cx.stamp();
            self.by_time(cx, now_ns, |feed, hand| feed.finish(hand));
        }
        if self.finished && self.is_all_handed(cx) {
            Feed::Ended
        } else {
            Feed::Live
        }
    }

    fn abandon(&mut self, counters: &IngressCounters, _cause: Cause) {
        let unseen = self.told.leave_unseen(&self.feed, self.lines.len());
        let left = self.waiting.count() + self.feed.held() + self.datagrams_left();
        let left = left as u64 + unseen;
        counters.received.add(left);
        counters.rejected[Reject::LineEnded.index()].add(left);
        while self.waiting.next().is_some() {}
    }

    fn tells_wire(&self) -> bool {
        self.lines.iter().any(|line| line.spec.stamps)
    }

    fn next_due_ns(&self) -> Option<u64> {
        self.due_ns
    }

    fn housekeep(&mut self, io: &mut Driver, counters: &IngressCounters) {
        self.told.tell(&self.feed, &self.counters, counters);
        let (mut clamped, mut steps, mut not_by_device, mut trains) = (0, 0, 0, false);
        let mut dropped = 0;
        for (line, counts) in self.lines.iter().zip(&self.counters.lines) {
            let Some(open) = &line.open else { continue };
            if let Some(drops) = io.udp_kernel_drops(open.socket) {
                counts.kernel_dropped.raise(drops);
            }
            dropped += counts.kernel_dropped.get();
            trains |= io.udp_granted(open.socket).unwrap_or(open.granted).trains;
            clamped += open.wire.clamped;
            steps = steps.max(
                open.wire
                    .map
                    .as_ref()
                    .map_or(0, crate::clock::WallMap::steps),
            );
            not_by_device += io
                .udp_counts(open.socket)
                .map_or(0, |counts| counts.not_by_device);
        }
        counters.kernel_dropped.raise(dropped);
        counters.drops_are_trains.set(u64::from(trains));
        counters.stamps_clamped.set(clamped);
        counters.clock_steps.set(steps);
        counters.not_by_device.set(not_by_device);
    }

    fn fault(&mut self) -> Option<String> {
        match self.lines.first().and_then(|line| line.spec.bind) {
            Some(addr) => self.trouble.tell(&addr),
            None => self.trouble.tell(&"a socket"),
        }
    }
}
