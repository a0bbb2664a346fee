//! Messages from connections: TCP and Unix sockets, listened for or connected to.
//!
//! Connections are served in turn: one read and at most [`BURST_MESSAGES`] messages of each, and who
//! has more stays on the list of those still readable. Up to [`HOT_MAX`] connections are read in each
//! turn without asking whether they are readable, which is what a low latency wants; of more, those
//! are read that a poll has reported.
//!
//! Invariant: nothing is read without room for what it may become, so that a full hop holds back
//! the senders; every message that began is counted, the last one of a cut connection too.

use std::collections::VecDeque;

use crate::adapter::Trouble;
use crate::adapter::framed::{Finder, Framed, Lost};
use crate::adapter::stream::Opens;
use crate::base::Backoff;
use crate::base::limits::{BURST_MESSAGES, HALF_CLOSED_NS, STREAMS_DEFAULT};
use crate::base::{Hangup, Reject};
use crate::budget::IngressCounters;
use crate::io::{Driver, Half, Handoff, IoError, ListenerId, PeerId, StreamId, StreamRead};
use crate::ring::spsc::Producer;
use crate::stage::{Arrival, Decode, Feed, Ingress, Port, SourceContext};

/// Connections up to which each is read in every turn. A read that finds nothing is one short system
/// call; four of them stay below a microsecond, and the poll that would spare them costs a call too.
pub const HOT_MAX: usize = 4;

/// A source asks for new connections, or what a poll has to report, at least once in so many turns:
/// either costs about as much as a read, so it is a small part of them.
const LOOK_TURNS: u32 = 64;

/// Most connections accepted in a turn: accepting takes several system calls each.
const ACCEPTS_PER_TURN: usize = 16;

/// Most connections served in a turn, so that a turn stays well below a millisecond.
const SERVED_PER_TURN: usize = 32;

/// A place for a connection.
#[derive(Debug)]
struct Conn {
    id: Option<StreamId>,
    /// How many connections had this place before.
    turn: u32,
    found: Finder,
    /// When the last bytes came, in nanoseconds of the line's clock.
    received_ns: u64,
    /// Whether it is on the list of those still readable.
    listed: bool,
    /// The peer writes no more; replies may still go out.
    ended: bool,
}

/// Whether a connection is to be served again without having been reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Served {
    /// Reading it would block.
    Dry,
    /// It may have more.
    More,
    /// A hop has no room: nobody is served now.
    HeldBack,
    /// It is over, or its peer writes no more.
    Over,
}

/// Receives messages from connections.
pub struct StreamSource {
    opens: Opens,
    framed: Framed,
    connections_max: usize,
    decoder: Box<dyn Decode>,
    listener: Option<ListenerId>,
    /// The connection that is being made.
    dialing: Option<StreamId>,
    /// When to try again.
    redial_ns: Option<u64>,
    backoff: Backoff,
    /// Why it never connected; taken by the first connection.
    last_error: Option<IoError>,
    conns: Vec<Conn>,
    /// The place of a connection, by its place in the driver.
    by_place: Box<[u16]>,
    free: Vec<u16>,
    live: Vec<u16>,
    /// Those still readable, each once.
    readable: VecDeque<u16>,
    /// Those whose peers write no more, with the time at which they are closed; oldest first.
    lingering: VecDeque<(u64, u16)>,
    /// Who replies on the connections.
    sinks: Vec<Producer<Handoff>>,
    turns: u32,
    next_hot: usize,
    trouble: Trouble,
}

impl core::fmt::Debug for StreamSource {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("StreamSource")
            .field("opens", &self.opens)
            .field("live", &self.live.len())
            .finish_non_exhaustive()
    }
}

impl StreamSource {
    /// A source of messages that `decoder` understands.
    pub(super) fn new(
        opens: Opens,
        framed: Framed,
        connections_max: usize,
        decoder: Box<dyn Decode>,
    ) -> StreamSource {
        StreamSource {
            framed,
            connections_max: if opens.connects { 1 } else { connections_max },
            opens,
            decoder,
            listener: None,
            dialing: None,
            redial_ns: None,
            backoff: Backoff::default(),
            last_error: None,
            conns: Vec::new(),
            by_place: Box::default(),
            free: Vec::new(),
            live: Vec::new(),
            readable: VecDeque::new(),
            lingering: VecDeque::new(),
            sinks: Vec::new(),
            turns: 0,
            next_hot: 0,
            trouble: Trouble::default(),
        }
    }

    fn peer(&self, at: u16) -> PeerId {
        PeerId {
            place: at,
            turn: self.conns[usize::from(at)].turn,
        }
    }

    fn list(&mut self, at: u16) {
        let conn = &mut self.conns[usize::from(at)];
        if !conn.listed && conn.id.is_some() && !conn.ended {
            conn.listed = true;
            self.readable.push_back(at);
        }
    }

    /// Whether there are too many connections to read each in every turn.
    fn is_crowded(&self) -> bool {
        self.live.len() > HOT_MAX
    }

    /// Takes a connection in, or closes it where there is no place.
    fn admit(&mut self, id: StreamId, cx: &mut SourceContext<'_, '_>) {
        cx.note_connected();
        if self.free.is_empty()
            && let Some((_, oldest)) = self.lingering.pop_front()
        {
            self.hang_up(oldest, cx.io());
        }
        let Some(at) = self.free.pop() else {
            self.close_stream(id, cx.io());
            return cx.note_disconnected(Hangup::TooMany);
        };
        let peer = self.peer(at);
        for sink in &mut self.sinks {
            let told = match cx.io().stream_hand_over(id) {
                Ok(handed) => sink.push(Handoff::Opened(peer, handed)).is_ok(),
                Err(error) => {
                    self.trouble.note(error);
                    false
                }
            };
            // A sink that has ended takes nothing; one that cannot be told cannot reply.
            if !told && sink.consumer_closed().is_none() {
                let _ = cx.io().stream_shutdown(id, Half::Both);
            }
        }
        let conn = &mut self.conns[usize::from(at)];
        conn.found.restart();
        (conn.id, conn.ended) = (Some(id), false);
        self.by_place[id.place()] = at;
        self.live.push(at);
        if self.live.len() == HOT_MAX + 1 {
            // What was read in every turn may have more that no poll will report.
            for nth in 0..self.live.len() {
                self.list(self.live[nth]);
            }
        }
        self.list(at);
    }

    fn close_stream(&mut self, id: StreamId, io: &mut Driver) {
        if let Err(error) = io.stream_close(id) {
            self.trouble.note(error);
        }
    }

    /// Closes a connection and gives its place away.
    fn hang_up(&mut self, at: u16, io: &mut Driver) {
        let peer = self.peer(at);
        let conn = &mut self.conns[usize::from(at)];
        let Some(id) = conn.id.take() else { return };
        conn.turn = conn.turn.wrapping_add(1);
        if core::mem::take(&mut conn.listed) {
            self.readable.retain(|listed| *listed != at);
        }
        self.close_stream(id, io);
        for sink in &mut self.sinks {
            // There is room: it was kept when the connection was accepted.
            let _ = sink.push(Handoff::Closed(peer));
        }
        self.live.retain(|live| *live != at);
        self.free.push(at);
    }

    /// A connection has ended for that reason: what it left unfinished is counted.
    #[cold]
    fn ended(&mut self, at: u16, why: Hangup, cx: &mut SourceContext<'_, '_>) -> Served {
        let conn = &mut self.conns[usize::from(at)];
        let unfinished = conn.found.buffered();
        let mut why = why;
        if why != Hangup::TooLong && unfinished > 0 {
            cx.reject(Reject::Truncated, unfinished);
            if why == Hangup::Finished {
                why = Hangup::CutOff;
            }
        }
        conn.found.restart();
        cx.note_disconnected(why);
        if self.sinks.is_empty() || !matches!(why, Hangup::Finished | Hangup::CutOff) {
            self.hang_up(at, cx.io());
        } else {
            // Its requests may still be on the line: replies find it open for a while.
            conn.ended = true;
            let until_ns = cx.stamp().saturating_add(HALF_CLOSED_NS);
            self.lingering.push_back((until_ns, at));
        }
        Served::Over
    }

    /// Serves one connection: the messages in its buffer, or else one read and its messages.
    #[inline]
    fn serve(&mut self, at: u16, cx: &mut SourceContext<'_, '_>) -> Served {
        let conn = &mut self.conns[usize::from(at)];
        let Some(id) = conn.id.filter(|_| !conn.ended) else {
            return Served::Over;
        };
        let peer = PeerId {
            place: at,
            turn: conn.turn,
        };
        let peer = Some(peer.addr());
        let (mut left, mut has_read) = (BURST_MESSAGES, false);
        loop {
            loop {
                if left == 0 {
                    return Served::More;
                }
                if !cx.has_room() {
                    return Served::HeldBack;
                }
                let next = match conn.found.next() {
                    Ok(next) => next,
                    Err(Lost) => {
                        // What came, not what was announced.
                        cx.reject(Reject::TooLong, conn.found.buffered());
                        return self.ended(at, Hangup::TooLong, cx);
                    }
                };
                for _ in 0..next.left_out {
                    cx.reject(Reject::TooLong, 0);
                }
                cx.note_left_out(next.left_out_bytes);
                match next.message {
                    Some(bytes) => {
                        let arrival = Arrival {
                            bytes,
                            t_intended_ns: conn.received_ns,
                            scheduled: false,
                            received_wall_ns: None,
                            peer,
                        };
                        // A line is one message, or none.
                        cx.packet(arrival, &mut 0, self.decoder.as_mut());
                        left -= 1;
                    }
                    None => break,
                }
            }
            if has_read {
                return Served::More;
            }
            let space = conn.found.space();
            match cx.io().stream_read(id, space) {
                Ok(StreamRead::Bytes(count)) => {
                    conn.found.filled(count);
                    conn.received_ns = cx.stamp();
                    cx.did_io();
                    has_read = true;
                }
                Ok(StreamRead::WouldBlock) => return Served::Dry,
                Ok(StreamRead::End) => return self.ended(at, Hangup::Finished, cx),
                Ok(StreamRead::Reset) => return self.ended(at, Hangup::Reset, cx),
                Err(error) => {
                    self.trouble.note(error);
                    return self.ended(at, Hangup::Failed, cx);
                }
            }
        }
    }

    /// Serves those still readable, each once, up to a bound.
    fn serve_listed(&mut self, cx: &mut SourceContext<'_, '_>) {
        for _ in 0..self.readable.len().min(SERVED_PER_TURN) {
            let Some(at) = self.readable.pop_front() else {
                return;
            };
            self.conns[usize::from(at)].listed = false;
            match self.serve(at, cx) {
                Served::Dry | Served::Over => {}
                Served::More => self.list(at),
                Served::HeldBack => {
                    self.conns[usize::from(at)].listed = true;
                    return self.readable.push_front(at);
                }
            }
        }
    }

    /// Serves each connection, beginning with another one in each turn.
    #[inline]
    fn serve_hot(&mut self, cx: &mut SourceContext<'_, '_>) {
        self.next_hot = self.next_hot.wrapping_add(1);
        for step in 0..self.live.len() {
            // One that ended is gone from the list.
            let Some(count) = core::num::NonZeroUsize::new(self.live.len()) else {
                return;
            };
            let at = self.live[(self.next_hot + step) % count];
            if self.serve(at, cx) == Served::HeldBack {
                return;
            }
        }
    }

    /// Takes in new connections and what a poll has reported.
    fn look(&mut self, listener: ListenerId, cx: &mut SourceContext<'_, '_>) {
        self.turns = self.turns.wrapping_add(1);
        let due = self.turns.is_multiple_of(LOOK_TURNS);
        let crowded = self.is_crowded();
        if crowded && (due || self.readable.is_empty()) {
            let now_ns = cx.stamp();
            // Only a look: what it finds stays marked for all nodes of the loop.
            if let Err(error) = cx.io().poll(now_ns, Some(0)) {
                self.trouble.note(error);
            }
        }
        // A loop that spins on few connections never polls, so that nobody tells of new ones.
        if cx.io().listener_maybe_readable(listener) || (due && !crowded) {
            self.accept(listener, cx);
        }
        while let Some(id) = cx.io().listener_next_ready(listener) {
            self.list(self.by_place[id.place()]);
        }
    }

    #[cold]
    fn accept(&mut self, listener: ListenerId, cx: &mut SourceContext<'_, '_>) {
        for _ in 0..ACCEPTS_PER_TURN {
            // Each sink can be told of this beginning, of all ends, and of an end for it.
            let need = self.live.len() + 2;
            self.sinks.retain(|sink| sink.consumer_closed().is_none());
            if !self.sinks.iter_mut().all(|sink| sink.has_room(need)) {
                return;
            }
            match cx.io().accept(listener) {
                Ok(Some(id)) => self.admit(id, cx),
                Ok(None) => return,
                Err(error) => return self.trouble.note(error),
            }
        }
    }

    /// Makes the connection, or makes it again when its time has come.
    #[cold]
    fn dial(&mut self, cx: &mut SourceContext<'_, '_>) {
        let now_ns = cx.stamp();
        if self.redial_ns.is_some_and(|at_ns| now_ns < at_ns) {
            return;
        }
        self.redial_ns = None;
        let connected = match self.dialing {
            Some(id) => cx.io().stream_connected(id).map(|is| (id, is)),
            None => cx
                .io()
                .stream_connect(&self.opens.spec)
                .map(|id| (id, false)),
        };
        match connected {
            Ok((id, false)) => self.dialing = Some(id),
            Ok((id, true)) => {
                (self.dialing, self.last_error) = (None, None);
                self.backoff.connected();
                self.admit(id, cx);
            }
            Err(error) => {
                if let Some(id) = self.dialing.take() {
                    self.close_stream(id, cx.io());
                }
                // In words only where it never came to anything: losing a peer is part of a day.
                if self.conns.iter().all(|conn| conn.turn == 0) {
                    self.last_error = Some(error);
                }
                self.redial_ns = Some(self.backoff.retry_at_ns(now_ns));
            }
        }
    }

    /// Closes those that replies have had their time for.
    #[cold]
    fn expire(&mut self, cx: &mut SourceContext<'_, '_>) {
        let now_ns = cx.stamp();
        while let Some((until_ns, at)) = self.lingering.front().copied()
            && until_ns <= now_ns
        {
            self.lingering.pop_front();
            self.hang_up(at, cx.io());
        }
    }
}

impl Ingress for StreamSource {
    fn ports(&self) -> &'static [Port] {
        self.decoder.ports()
    }

    fn max_emit(&self) -> usize {
        self.decoder.max_emit()
    }

    fn memory_bytes(&self) -> usize {
        let of_conn = size_of::<Conn>() + self.framed.buffer_bytes();
        size_of::<StreamSource>()
            + self.connections_max * of_conn
            + STREAMS_DEFAULT * size_of::<u16>()
            + self.decoder.memory_bytes()
    }

    fn open(&mut self, io: &mut Driver) -> Result<(), IoError> {
        if !self.opens.connects {
            let listener = io.listen(&self.opens.spec)?;
            if let Some(shared) = &self.opens.shared {
                shared.opened_at(io.listener_endpoint(listener)?);
            }
            self.listener = Some(listener);
        }
        let most = self.connections_max;
        let conn = |_| Conn {
            id: None,
            turn: 0,
            found: Finder::new(self.framed),
            received_ns: 0,
            listed: false,
            ended: false,
        };
        self.conns = (0..most).map(conn).collect();
        self.by_place = vec![0; io.streams_max()].into_boxed_slice();
        self.free = (0..most as u16).rev().collect();
        self.live = Vec::with_capacity(most);
        self.readable = VecDeque::with_capacity(most);
        self.lingering = VecDeque::with_capacity(most);
        Ok(())
    }

    fn start(&mut self, _t0_ns: u64) {
        if let Some(shared) = &self.opens.shared {
            self.sinks = shared.take_sinks();
        }
    }

    fn turn(&mut self, cx: &mut SourceContext<'_, '_>) -> Feed {
        if !self.lingering.is_empty() {
            self.expire(cx);
        }
        match self.listener {
            Some(listener) => self.look(listener, cx),
            None if self.live.is_empty() => self.dial(cx),
            None => {}
        }
        // Held back is told from idle before the mark is set.
        if self.live.is_empty() || !cx.has_room() {
            return Feed::Live;
        }
        cx.begin_io();
        if self.is_crowded() {
            self.serve_listed(cx);
        } else {
            self.serve_hot(cx);
        }
        Feed::Live
    }

    fn housekeep(&mut self, _io: &mut Driver, counters: &IngressCounters) {
        let is = matches!(self.framed, Framed::Lines { .. });
        counters.in_lines.set(u64::from(is));
    }

    fn next_due_ns(&self) -> Option<u64> {
        let linger_ns = self.lingering.front().map(|(until_ns, _)| *until_ns);
        linger_ns.into_iter().chain(self.redial_ns).min()
    }

    fn close(&mut self, io: &mut Driver, counters: &IngressCounters) {
        let count = |why: Reject, bytes: usize| {
            counters.received.add(1);
            counters.bytes.add(bytes as u64);
            counters.reject(why);
        };
        for conn in &mut self.conns {
            let Some(id) = conn.id.take() else { continue };
            while let Ok(next) = conn.found.next() {
                for _ in 0..next.left_out {
                    count(Reject::TooLong, 0);
                }
                let Some(message) = next.message else { break };
                for _ in 0..self.decoder.messages_left(message, 0) {
                    count(Reject::LineEnded, message.len());
                }
            }
            match conn.found.buffered() {
                0 => {}
                unfinished => count(Reject::Truncated, unfinished),
            }
            if !conn.ended {
                counters.hang_up(Hangup::Ended);
            }
            // Sinks have handles of their own and may still write.
            if let Err(error) = io.stream_close(id) {
                self.trouble.note(error);
            }
        }
        self.live.clear();
        if let Some(id) = self.dialing.take() {
            self.close_stream(id, io);
        }
        if let Some(listener) = self.listener.take()
            && let Err(error) = io.listener_close(listener)
        {
            self.trouble.note(error);
        }
        if let Some(error) = self.last_error.take() {
            self.trouble.note(error);
        }
    }

    fn fault(&mut self) -> Option<String> {
        self.trouble.tell(&self.opens.spec.at)
    }
}
