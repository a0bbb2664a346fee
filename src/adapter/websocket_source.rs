//! Messages from a WebSocket that stays connected: the protocol and its times are
//! [`Client`]'s, the socket is the driver's, the loop is the line's own.
//!
//! A turn reads once and hands over at most [`BURST_MESSAGES`] messages; what is left of a read waits for the next turn. Then
//! it does what is due by time (dial, ping, give up), and writes what waits for the socket, as far as that takes it.
//!
//! Invariant: nothing is read or decoded without room for what it may become, so that a full hop holds the peer back; a peer
//! that floods or does not read costs a bounded turn and bounded memory; every message that began is counted.

use crate::adapter::Trouble;
use crate::adapter::websocket::Target;
use crate::base::limits::{BURST_MESSAGES, HALF_CLOSED_NS, LIVE_NS};
use crate::base::{Hangup, Lost, Prng, Reason, Reject};
use crate::budget::{IngressCounters, LinkCounters, LinkState};
use crate::clock::Clock;
use crate::io::{Driver, Half, IoError, IoErrorKind, StreamId, StreamRead, StreamWrite};
use crate::stage::hop::Doorbell;
use crate::stage::{Arrival, Decode, Feed, IO_FAULT, Ingress, Port, SourceContext};
use crate::wire::session::{Phase, Step};
use crate::wire::websocket::{Client, ClientEvent, Progress, Violation};

/// Bytes of a read: more than a turn's messages of a feed take up, and few enough that the most frames that fit in it, eight
/// thousand empty pings, are answered within a millisecond.
const RECV_BYTES: usize = 16 << 10;

/// A read's bytes, and what of them is still to be decoded.
struct Input {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

/// Receives messages from a WebSocket.
pub struct WebSocketSource {
    target: Target,
    decoder: Box<dyn Decode>,
    clock: Option<Clock>,
    /// Made when the line starts.
    client: Option<Client>,
    stream: Option<StreamId>,
    /// Whether the stream's dial is still under way.
    dialing: bool,
    /// A connection that the peer was told to close, and until when what still comes on it is read and thrown away: a socket
    /// that is closed over unread bytes takes back what it has said last.
    lingering: Option<(StreamId, u64)>,
    input: Input,
    /// When the last bytes came, in nanoseconds of the line's clock.
    received_ns: u64,
    progress: Progress,
    /// By when the next turn should be: one that is much later was nobody's silence.
    due_ns: u64,
    /// Whether it has been open since it was last counted as lost.
    open: bool,
    bytes_in: u64,
    bytes_out: u64,
    round_trip_ns_max: u64,
    /// Why it never opened: the try's error, or the status of the refusal. Taken by the first connection.
    last_error: Option<IoError>,
    last_refusal: Option<(Lost, Option<u16>)>,
    ever_open: bool,
    trouble: Trouble,
    fault: Option<String>,
}

impl core::fmt::Debug for WebSocketSource {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("WebSocketSource")
            .field("url", &self.target.url)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

/// What a client's event was, apart from its bytes.
enum Came {
    Message,
    Opened,
    RoundTrip(u64),
    Lost(Lost, Option<u16>),
}

impl WebSocketSource {
    /// A source of messages that `decoder` understands.
    pub(super) fn new(target: Target, decoder: Box<dyn Decode>) -> WebSocketSource {
        WebSocketSource {
            target,
            decoder,
            clock: None,
            client: None,
            stream: None,
            dialing: false,
            lingering: None,
            input: Input {
                bytes: Box::default(),
                start: 0,
                end: 0,
            },
            received_ns: 0,
            progress: Progress::default(),
            due_ns: u64::MAX,
            open: false,
            bytes_in: 0,
            bytes_out: 0,
            round_trip_ns_max: 0,
            last_error: None,
            last_refusal: None,
            ever_open: false,
            trouble: Trouble::default(),
            fault: None,
        }
    }

    /// The messages that are in hand, or else one read and its messages.
    fn serve(&mut self, id: StreamId, cx: &mut SourceContext<'_, '_>, may_read: bool) -> Handed {
        let (mut left, mut has_read) = (BURST_MESSAGES, !may_read);
        loop {
            let handed = self.hand_over(&mut left, cx);
            if has_read || handed != Handed::All {
                return handed;
            }
            match cx.io().stream_read(id, &mut self.input.bytes) {
                Ok(StreamRead::Bytes(count)) => {
                    (self.input.start, self.input.end) = (0, count);
                    self.bytes_in += count as u64;
                    self.received_ns = cx.stamp();
                    cx.did_io();
                    has_read = true;
                }
                Ok(StreamRead::WouldBlock) => return Handed::All,
                Ok(StreamRead::End) => {
                    self.end(cx);
                    return Handed::Over;
                }
                Ok(StreamRead::Reset) => {
                    self.broke(Lost::Reset, Hangup::Reset, cx);
                    return Handed::Over;
                }
                Err(error) => {
                    self.trouble.note(error);
                    self.broke(Lost::Reset, Hangup::Failed, cx);
                    return Handed::Over;
                }
            }
        }
    }

    /// Hands over what is in hand, up to `left` messages and as long as there is room.
    #[inline]
    fn hand_over(&mut self, left: &mut usize, cx: &mut SourceContext<'_, '_>) -> Handed {
        loop {
            if *left == 0 {
                return Handed::More;
            }
            let Some(client) = &mut self.client else {
                return Handed::Over;
            };
            // The answer to the handshake becomes nothing, so it needs no room.
            let is_opening = client.is_opening();
            if !is_opening && !cx.has_room() {
                return Handed::HeldBack;
            }
            let all = &self.input.bytes[self.input.start..self.input.end];
            let mut rest = all;
            let event = client.handle_input(&mut rest, self.received_ns);
            let taken = all.len() - rest.len();
            self.input.start += taken;
            // The answer to the handshake is no frame.
            if !is_opening {
                self.progress.take(&all[..taken]);
            }
            let came = match event {
                None => return Handed::All,
                Some(ClientEvent::Text(text)) => Self::message(
                    text.as_bytes(),
                    &self.target,
                    self.received_ns,
                    self.decoder.as_mut(),
                    cx,
                ),
                Some(ClientEvent::Binary(bytes)) => Self::message(
                    bytes,
                    &self.target,
                    self.received_ns,
                    self.decoder.as_mut(),
                    cx,
                ),
                Some(ClientEvent::Opened { .. }) => Came::Opened,
                Some(ClientEvent::RoundTrip(round_ns)) => Came::RoundTrip(round_ns),
                Some(ClientEvent::Lost { why, code, .. }) => Came::Lost(why, code),
            };
            match came {
                Came::Message => *left -= 1,
                Came::Opened => self.opened(cx),
                Came::RoundTrip(round_ns) => {
                    self.round_trip_ns_max = self.round_trip_ns_max.max(round_ns);
                    cx.link().round_trip_ns.set(round_ns);
                }
                Came::Lost(why, code) => {
                    self.lost(why, code, hangup(why), cx);
                    return Handed::Over;
                }
            }
        }
    }

    #[inline]
    fn message(
        bytes: &[u8],
        target: &Target,
        received_ns: u64,
        decoder: &mut dyn Decode,
        cx: &mut SourceContext<'_, '_>,
    ) -> Came {
        if bytes.len() > target.message_bytes_max {
            cx.reject(Reject::TooLong, bytes.len());
            return Came::Message;
        }
        let arrival = Arrival {
            bytes,
            t_intended_ns: received_ns,
            scheduled: false,
            received_wall_ns: None,
            peer: None,
        };
        cx.message(arrival, decoder);
        Came::Message
    }

    /// The server has accepted: what it is asked for goes out.
    #[cold]
    fn opened(&mut self, cx: &mut SourceContext<'_, '_>) {
        cx.note_connected();
        cx.link().up(cx.stamp());
        (self.open, self.ever_open) = (true, true);
        (self.last_error, self.last_refusal) = (None, None);
        self.progress = Progress::default();
        for text in &self.target.subscribe {
            // There is room for all of them: it was kept when the source was made.
            let _ = self.client.as_mut().map(|client| client.send_text(text));
        }
    }

    /// The peer writes no more.
    #[cold]
    fn end(&mut self, cx: &mut SourceContext<'_, '_>) {
        let now_ns = cx.stamp();
        let event = self
            .client
            .as_mut()
            .and_then(|client| client.handle_end(now_ns));
        let (why, code) = match event {
            Some(ClientEvent::Lost { why, code, .. }) => (why, code),
            _ => (Lost::CutOff, None),
        };
        self.lost(why, code, hangup(why), cx);
    }

    /// The connection, or the try at one, is broken.
    #[cold]
    fn broke(&mut self, why: Lost, hangup: Hangup, cx: &mut SourceContext<'_, '_>) {
        let now_ns = cx.stamp();
        if let Some(client) = &mut self.client {
            client.lost(why, now_ns);
        }
        self.lost(why, None, hangup, cx);
    }

    /// What there is of a lost connection is counted and let go. The client knows of it already.
    #[cold]
    fn lost(
        &mut self,
        why: Lost,
        code: Option<u16>,
        hangup: Hangup,
        cx: &mut SourceContext<'_, '_>,
    ) {
        // The answer to a close, as far as the socket takes it.
        self.flush(cx.io());
        if core::mem::take(&mut self.open) {
            let violation = self.client.as_ref().and_then(Client::last_violation);
            let came = self.progress.unfinished();
            let refused = match (why, violation) {
                (Lost::TooLong, _) => Some(Reject::TooLong),
                (Lost::Violation, Some(Violation::NotUtf8)) => Some(Reject::NotUtf8),
                (Lost::Violation, _) => Some(Reject::Violation),
                _ => came.map(|_| Reject::Truncated),
            };
            if let Some(refused) = refused {
                // What came, not what was announced.
                cx.reject(refused, came.unwrap_or(0) as usize);
            }
            cx.note_disconnected(hangup);
            let link = cx.link();
            link.down(cx.stamp());
            match (why, code) {
                (Lost::Closed, code) => link.closed.count(code.unwrap_or(1005)),
                (Lost::CutOff | Lost::Reset, _) => link.closed.count(1006),
                _ => {}
            }
        } else {
            if let (Lost::HandshakeRefused, Some(status)) = (why, code) {
                cx.link().refused.count(status);
            }
            self.last_refusal = Some((why, code));
        }
        cx.link().lose(why);
        if matches!(why, Lost::TooLong | Lost::Violation) {
            self.linger(cx);
        }
        self.let_go(cx.io());
    }

    /// Keeps a connection that was failed until the peer has ended it, or had its time.
    #[cold]
    fn linger(&mut self, cx: &mut SourceContext<'_, '_>) {
        self.end_lingering(cx.io());
        if let Some(id) = self.stream.take() {
            let _ = cx.io().stream_shutdown(id, Half::Write);
            self.lingering = Some((id, cx.stamp().saturating_add(HALF_CLOSED_NS)));
        }
    }

    /// Throws away what comes on such a connection, a read a turn.
    #[cold]
    fn look_at_lingering(&mut self, cx: &mut SourceContext<'_, '_>) {
        let Some((id, until_ns)) = self.lingering else {
            return;
        };
        // Nothing of the next connection is in hand while there is none.
        let read = match self.stream {
            Some(_) => Ok(StreamRead::End),
            None => cx.io().stream_read(id, &mut self.input.bytes),
        };
        match read {
            Ok(StreamRead::Bytes(count)) => {
                self.bytes_in += count as u64;
                cx.did_io();
            }
            Ok(StreamRead::WouldBlock) => {}
            _ => return self.end_lingering(cx.io()),
        }
        if cx.stamp() >= until_ns {
            self.end_lingering(cx.io());
        }
    }

    fn end_lingering(&mut self, io: &mut Driver) {
        if let Some((id, _)) = self.lingering.take()
            && let Err(error) = io.stream_close(id)
        {
            self.trouble.note(error);
        }
    }

    /// Closes the socket.
    fn let_go(&mut self, io: &mut Driver) {
        self.progress = Progress::default();
        (self.input.start, self.input.end) = (0, 0);
        self.dialing = false;
        if let Some(id) = self.stream.take()
            && let Err(error) = io.stream_close(id)
        {
            self.trouble.note(error);
        }
    }

    /// Does what is due by time.
    fn act(&mut self, now_ns: u64, cx: &mut SourceContext<'_, '_>) {
        while let Some(step) = self.client.as_mut().and_then(|client| client.poll(now_ns)) {
            match step {
                Step::Dial => self.dial(cx),
                Step::Drop(why) => self.lost(why, None, hangup(why), cx),
                Step::Ping(_) | Step::Stale | Step::Close => {}
            }
        }
    }

    #[cold]
    fn dial(&mut self, cx: &mut SourceContext<'_, '_>) {
        match cx.io().stream_connect(&self.target.spec) {
            Ok(id) => {
                (self.stream, self.dialing) = (Some(id), true);
                self.look_at_dial(id, cx);
            }
            Err(error) => self.dial_failed(error, cx),
        }
    }

    /// Whether the dial has come through.
    #[cold]
    fn look_at_dial(&mut self, id: StreamId, cx: &mut SourceContext<'_, '_>) {
        match cx.io().stream_connected(id) {
            Ok(false) => {}
            Ok(true) => {
                self.dialing = false;
                let now_ns = cx.stamp();
                if let Some(client) = &mut self.client {
                    client.connected(now_ns);
                }
            }
            Err(error) => self.dial_failed(error, cx),
        }
    }

    #[cold]
    fn dial_failed(&mut self, error: IoError, cx: &mut SourceContext<'_, '_>) {
        let why = match error.kind {
            IoErrorKind::NoAnswer => Lost::ConnectTimeout,
            _ => Lost::Refused,
        };
        self.last_error = Some(error);
        self.broke(why, Hangup::Failed, cx);
    }

    /// Writes what waits, as far as the socket takes it. Tried in each turn, since a loop that spins is never told that there
    /// is room again. False if it is broken.
    fn flush(&mut self, io: &mut Driver) -> bool {
        let (Some(client), Some(id)) = (&mut self.client, self.stream.filter(|_| !self.dialing))
        else {
            return true;
        };
        while !client.output().is_empty() {
            match io.stream_write(id, client.output()) {
                Ok(StreamWrite::Bytes(count)) => {
                    client.written(count);
                    self.bytes_out += count as u64;
                }
                Ok(StreamWrite::WouldBlock) => break,
                Ok(StreamWrite::Broken) => return false,
                Err(error) => {
                    self.trouble.note(error);
                    return false;
                }
            }
        }
        true
    }

    /// Shows where it stands.
    fn show(&self, link: &LinkCounters) {
        let Some(client) = &self.client else { return };
        let session = client.session();
        let (state, retry_at_ns) = match session.phase() {
            Phase::Waiting => (LinkState::BackingOff, client.next_ns()),
            Phase::Connecting | Phase::Handshaking => (LinkState::Connecting, 0),
            Phase::Live => (LinkState::Live, 0),
            Phase::Stale => (LinkState::Stale, 0),
            Phase::Closing | Phase::Stopped => (LinkState::Ended, 0),
        };
        link.retry_at_ns.set(retry_at_ns);
        link.set_state(state);
        let counts = session.counts();
        link.dials.set(counts.dials);
        link.opened.set(counts.opened);
        link.stale.set(counts.stale);
        link.down_ns.set(counts.down_ns);
        link.pings.set(counts.pings);
        link.pongs.set(counts.pongs);
        link.pinged.set(client.pinged());
        link.pongs_dropped.set(client.pongs_dropped());
        link.bytes_in.set(self.bytes_in);
        link.bytes_out.set(self.bytes_out);
        link.round_trip_ns_max.set(self.round_trip_ns_max);
        for (why, counter) in Lost::ALL.iter().zip(&link.lost) {
            counter.set(counts.lost(*why));
        }
    }
}

/// What became of what was in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Handed {
    /// All of it was decoded, and more is needed.
    All,
    /// There may be more, and the turn is over.
    More,
    /// There may be more, and a hop has no room.
    HeldBack,
    /// The connection is over.
    Over,
}

/// The end of an open connection, as other sources count it.
fn hangup(why: Lost) -> Hangup {
    match why {
        Lost::Closed => Hangup::Finished,
        Lost::CutOff => Hangup::CutOff,
        Lost::TooLong => Hangup::TooLong,
        Lost::Violation => Hangup::Violation,
        Lost::Silent | Lost::NoPong => Hangup::Silent,
        Lost::Stale => Hangup::Stale,
        Lost::Stopped | Lost::CloseTimeout => Hangup::Ended,
        _ => Hangup::Reset,
    }
}

impl Ingress for WebSocketSource {
    fn ports(&self) -> &'static [Port] {
        self.decoder.ports()
    }

    fn max_emit(&self) -> usize {
        self.decoder.max_emit()
    }

    fn memory_bytes(&self) -> usize {
        size_of::<WebSocketSource>()
            + RECV_BYTES
            + self.target.client.limits.memory_bytes()
            + self.decoder.memory_bytes()
    }

    fn open(&mut self, _io: &mut Driver) -> Result<(), IoError> {
        self.input.bytes = vec![0; RECV_BYTES].into_boxed_slice();
        Ok(())
    }

    fn join(&mut self, clock: &Clock, _bell: Option<Doorbell>) {
        self.clock = Some(clock.clone());
    }

    fn start(&mut self, t0_ns: u64) {
        let mut config = self.target.client.clone();
        // Two who lost one peer must not draw the same waits: no two processes come here at the same nanosecond.
        let seed = self.clock.as_ref().map_or(t0_ns, Clock::stamp);
        let mixed = |seed: u64, byte: u8| Prng::new(seed ^ u64::from(byte)).next_u64();
        config.session.seed = self.target.url.bytes().fold(seed, mixed);
        self.client = Some(Client::new(config, t0_ns));
    }

    fn turn(&mut self, cx: &mut SourceContext<'_, '_>) -> Feed {
        let now_ns = cx.stamp();
        let Some(client) = &mut self.client else {
            return Feed::Live;
        };
        if now_ns.saturating_sub(LIVE_NS) > self.due_ns {
            client.unheard(now_ns);
        }
        if self.lingering.is_some() {
            self.look_at_lingering(cx);
        }
        let is_opening = self.client.as_ref().is_some_and(Client::is_opening);
        let mut handed = Handed::All;
        match self.stream {
            Some(id) if self.dialing => self.look_at_dial(id, cx),
            // Held back is told from idle before the mark is set.
            Some(_) if !is_opening && !cx.has_room() => handed = Handed::HeldBack,
            Some(id) => {
                cx.begin_io();
                handed = self.serve(id, cx, true);
            }
            None => {}
        }
        let now_ns = cx.stamp();
        if let Some(client) = &mut self.client
            && handed == Handed::HeldBack
        {
            client.unheard(now_ns);
        }
        self.act(now_ns, cx);
        if !self.flush(cx.io()) {
            self.broke(Lost::Reset, Hangup::Reset, cx);
        }
        self.due_ns = self.client.as_ref().map_or(u64::MAX, Client::next_ns);
        Feed::Live
    }

    fn drain(&mut self, cx: &mut SourceContext<'_, '_>) -> Feed {
        let Some(id) = self.stream.filter(|_| !self.dialing) else {
            return Feed::Ended;
        };
        if !cx.has_room() {
            return Feed::Live;
        }
        cx.begin_io();
        match self.serve(id, cx, false) {
            Handed::More | Handed::HeldBack => Feed::Live,
            Handed::All | Handed::Over => Feed::Ended,
        }
    }

    fn next_due_ns(&self) -> Option<u64> {
        let linger_ns = self.lingering.map(|(_, until_ns)| until_ns);
        let client_ns = self.client.as_ref().map(Client::next_ns);
        client_ns.into_iter().chain(linger_ns).min()
    }

    fn housekeep(&mut self, _io: &mut Driver, counters: &IngressCounters) {
        self.show(&counters.link);
    }

    fn close(&mut self, io: &mut Driver, counters: &IngressCounters) {
        let now_ns = self.clock.as_ref().map_or(0, Clock::stamp);
        let count = |why: Reject, bytes: usize| {
            counters.received.add(1);
            counters.bytes.add(bytes as u64);
            counters.reject(why);
        };
        if let Some(client) = self.client.as_mut().filter(|_| self.open) {
            // What was read, and for which there was no room.
            let all = &self.input.bytes[self.input.start..self.input.end];
            let mut rest = all;
            loop {
                let before = rest;
                let event = client.handle_input(&mut rest, now_ns);
                self.progress.take(&before[..before.len() - rest.len()]);
                match event {
                    Some(ClientEvent::Text(text)) => count(Reject::LineEnded, text.len()),
                    Some(ClientEvent::Binary(bytes)) => count(Reject::LineEnded, bytes.len()),
                    Some(ClientEvent::Opened { .. } | ClientEvent::RoundTrip(_)) => {}
                    Some(ClientEvent::Lost { .. }) | None => break,
                }
            }
            if let Some(unfinished) = self.progress.unfinished() {
                count(Reject::Truncated, unfinished as usize);
            }
            counters.hang_up(Hangup::Ended);
            self.open = false;
        }
        if let Some(client) = &mut self.client {
            // The peer is told in good order; its answer is not waited for.
            client.stop(now_ns);
        }
        self.flush(io);
        if let Some(client) = &mut self.client {
            client.lost(Lost::Stopped, now_ns);
        }
        self.let_go(io);
        self.end_lingering(io);
        self.show(&counters.link);
        if !self.ever_open {
            self.fault = match (self.last_error.take(), self.last_refusal) {
                (Some(mut error), _) => {
                    if error.subject.is_empty() {
                        error = error.on(&self.target.url);
                    }
                    Some(format!("{IO_FAULT}{error}"))
                }
                (None, Some((why, Some(status)))) => Some(format!(
                    "{IO_FAULT}cannot open {}: {}, status {status}",
                    self.target.url,
                    why.name()
                )),
                (None, Some((why, None))) => Some(format!(
                    "{IO_FAULT}cannot open {}: {}",
                    self.target.url,
                    why.name()
                )),
                (None, None) => None,
            };
        }
    }

    fn fault(&mut self) -> Option<String> {
        self.fault
            .take()
            .or_else(|| self.trouble.tell(&self.target.url))
    }
}
