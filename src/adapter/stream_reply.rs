//! Messages back into the connections that they came from.
//!
//! Invariant: a reply goes to the connection that asked or to nobody; a client that does not read, or
//! reads slowly, holds the line back for a bounded time in all and is then disconnected.

use crate::adapter::Trouble;
use crate::adapter::outbox::{NoBegin, Outbox, Pushed};
use crate::adapter::stream::framing_from_params;
use crate::adapter::stream_sink::{Pace, Piece, Unwritten};
use crate::base::Reason;
use crate::base::limits::{
    CONNECTIONS_MAX, HOUSEKEEPING_NS, MESSAGE_BYTES_MAX, PARK_MAX_NS, STALLED_CLIENT_NS,
    STALLED_WON_BACK, STEADY_CLIENT_BYTES_PER_S, STREAM_MESSAGE_BYTES_DEFAULT,
};
use crate::feed::datagram::{Datagram, Datagrams};
use crate::frame::{Input, KindInfo};
use crate::io::{
    Driver, Half, Handoff, IoError, IoErrorKind, PeerId, SharedStream, SharedStreams, StreamId,
};
use crate::ring::spsc::Consumer;
use crate::stage::{Delivery, Egress, Leaving};
use crate::topology::{Params, Problem};
use crate::wire::{Framing, Prefix};

/// Bytes that a sink keeps for each connection, at least: replies of a turn leave in one write.
const OUTBOX_BYTES: usize = 16 << 10;

/// Longest time between two looks that a client is charged with, in nanoseconds: a loop looks up
/// that often by itself, and what is beyond was no client's doing.
const CHARGED_NS_MAX: u64 = PARK_MAX_NS + HOUSEKEEPING_NS;

#[derive(Clone, Debug)]
enum Of {
    Shared(SharedStream),
    /// The connections that a source of the same registry shares by this name.
    Named(SharedStreams, String),
}

/// A connection of the source.
#[derive(Debug)]
struct Client {
    turn: u32,
    id: Option<StreamId>,
    outbox: Outbox,
    /// Whether it is on the list of those with something to write.
    dirty: bool,
    /// Since when it has taken nothing of what waits.
    stuck_since_ns: Option<u64>,
    /// Bytes that it took since it was last looked at.
    taken_bytes: u64,
    held: Held,
}

/// For how long a client has held the line back.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    /// Whether a message for it is on the hop and finds no room.
    now: bool,
    /// In all, less what it won back.
    spent_ns: u64,
    looked_ns: u64,
}

impl Held {
    /// Looks at it, `span_ns` after the sink's last look. What a client took meanwhile is time that it
    /// did not waste; where it held nothing back, it wins some back.
    fn look(&mut self, now_ns: u64, span_ns: u64, taken_bytes: u64) {
        let charged_ns = if self.now {
            span_ns.min(CHARGED_NS_MAX)
        } else {
            0
        };
        let since_ns = now_ns.saturating_sub(self.looked_ns);
        let free_ns = since_ns.saturating_sub(charged_ns);
        let taken_ns = taken_bytes.saturating_mul(1_000_000_000) / STEADY_CLIENT_BYTES_PER_S;
        let won_ns = taken_ns.saturating_add(free_ns / STALLED_WON_BACK);
        self.spent_ns = (self.spent_ns + charged_ns).saturating_sub(won_ns);
        self.looked_ns = now_ns;
    }
}

/// Replies on the connections of a source.
#[derive(Debug)]
pub struct StreamReply {
    of: Of,
    framing: Framing,
    handoffs: Option<Consumer<Handoff>>,
    /// By the place that the peer's id names; made when a place is first used.
    clients: Vec<Option<Client>>,
    dirty: Vec<u16>,
    /// To whom the message in hand goes.
    to: u16,
    refused: Option<Unwritten>,
    pace: Pace,
    /// When the clients were last looked at.
    looked_ns: u64,
    broken: u64,
    stalled: u64,
    trouble: Trouble,
}

/// Writes each message back to the connection that it came from, which a source shares.
///
/// ```
/// use hopline::adapter::{datagrams, shared_tcp, stream_on, stream_reply};
/// use hopline::topology::{Hop, Line};
/// let connections = shared_tcp("127.0.0.1:26411")?;
/// let mut line = Line::builder("echo");
/// line.source("in", stream_on(&connections).decode(datagrams()));
/// line.sink("out", stream_reply(&connections));
/// line.connect("in", "out", Hop::depth(256));
/// assert!(line.build().is_ok());
/// # Ok::<(), hopline::topology::Problem>(())
/// ```
#[must_use]
pub fn stream_reply(connections: &SharedStream) -> StreamReply {
    StreamReply::new(Of::Shared(connections.clone()))
}

impl StreamReply {
    fn new(of: Of) -> StreamReply {
        StreamReply {
            of,
            framing: Framing::new(Prefix::default(), STREAM_MESSAGE_BYTES_DEFAULT),
            handoffs: None,
            clients: Vec::new(),
            dirty: Vec::new(),
            to: 0,
            refused: None,
            pace: Pace::default(),
            looked_ns: 0,
            broken: 0,
            stalled: 0,
            trouble: Trouble::default(),
        }
    }

    /// The same with that length before each message; [`Prefix::U32Be`] if nothing is said.
    #[must_use]
    pub fn framing(mut self, prefix: Prefix) -> StreamReply {
        self.framing = Framing::new(prefix, self.framing.message_bytes_max());
        self
    }

    /// The same for messages of at most that many bytes; longer ones are rejected.
    #[must_use]
    pub fn max_message(mut self, bytes: usize) -> StreamReply {
        self.framing = Framing::new(self.framing.prefix(), bytes.min(MESSAGE_BYTES_MAX));
        self
    }

    /// From the settings `socket`, `framing` and `max_message`.
    pub(crate) fn from_params(
        params: &mut Params,
        names: &SharedStreams,
    ) -> Result<StreamReply, Problem> {
        let name = params.need_text("socket", "echo")?;
        let (prefix, bytes) = framing_from_params(params)?;
        let made = StreamReply::new(Of::Named(names.clone(), name));
        Ok(made.framing(prefix).max_message(bytes))
    }

    /// Takes what the source tells of its connections.
    #[cold]
    fn take_handoffs(&mut self, io: &mut Driver) {
        while let Some(handoff) = self.handoffs.as_mut().and_then(Consumer::pop) {
            match handoff {
                Handoff::Opened(peer, stream) => match io.stream_adopt(stream) {
                    Ok(id) => self.open_client(peer, id),
                    Err(error) => self.trouble.note(error),
                },
                Handoff::Closed(peer) => {
                    self.push(peer.place, io);
                    let client = self.clients.get(usize::from(peer.place));
                    let client = client.and_then(Option::as_ref);
                    if client.is_some_and(|client| client.turn == peer.turn) {
                        self.broken += self.close_client(peer.place, io);
                    }
                }
            }
        }
    }

    fn open_client(&mut self, peer: PeerId, id: StreamId) {
        let framing = self.framing;
        let Some(place) = self.clients.get_mut(usize::from(peer.place)) else {
            return;
        };
        let client = place.get_or_insert_with(|| Client {
            turn: 0,
            id: None,
            outbox: Outbox::new(framing, OUTBOX_BYTES),
            dirty: false,
            stuck_since_ns: None,
            taken_bytes: 0,
            held: Held::default(),
        });
        (client.turn, client.id, client.stuck_since_ns) = (peer.turn, Some(id), None);
        // It owes nothing for the one that had the place before.
        (client.taken_bytes, client.held) = (0, Held::default());
    }

    /// Closes a client, and says how many messages it did not get.
    fn close_client(&mut self, at: u16, io: &mut Driver) -> u64 {
        let Some(client) = self.clients[usize::from(at)].as_mut() else {
            return 0;
        };
        if let Some(id) = client.id.take()
            && let Err(error) = io.stream_close(id)
        {
            self.trouble.note(error);
        }
        client.outbox.clear()
    }

    /// Disconnects a client, so that the source sees its end too.
    #[cold]
    fn disconnect(&mut self, at: u16, io: &mut Driver) -> u64 {
        let client = self.clients[usize::from(at)].as_ref();
        if let Some(id) = client.and_then(|client| client.id) {
            let _ = io.stream_shutdown(id, Half::Both);
        }
        self.close_client(at, io)
    }

    /// Writes what waits for a client.
    #[inline]
    fn push(&mut self, at: u16, io: &mut Driver) {
        let client = self.clients.get_mut(usize::from(at));
        let Some((client, id)) = client
            .and_then(Option::as_mut)
            .and_then(|client| client.id.map(|id| (client, id)))
        else {
            return;
        };
        let waited = client.outbox.waiting_bytes();
        let pushed = client.outbox.push(id, io);
        client.taken_bytes += waited.saturating_sub(client.outbox.waiting_bytes()) as u64;
        match pushed {
            Ok(Pushed::Empty | Pushed::Pending) => {}
            Ok(Pushed::Broken) => self.broken += self.disconnect(at, io),
            Err(error) => {
                self.trouble.note(error);
                self.broken += self.disconnect(at, io);
            }
        }
    }

    /// Writes what waits for all clients, each in one write.
    fn push_all(&mut self, io: &mut Driver) {
        let mut nth = 0;
        while let Some(at) = self.dirty.get(nth).copied() {
            self.push(at, io);
            let client = self.clients[usize::from(at)].as_mut();
            if let Some(client) = client.filter(|client| !client.outbox.is_empty()) {
                client.dirty = true;
                nth += 1;
            } else {
                if let Some(client) = &mut self.clients[usize::from(at)] {
                    (client.dirty, client.stuck_since_ns) = (false, None);
                }
                self.dirty.swap_remove(nth);
            }
        }
    }

    /// The client of a message, if its connection still stands.
    #[inline]
    fn client_of(&mut self, peer: PeerId) -> Option<&mut Client> {
        let client = self.clients.get_mut(usize::from(peer.place))?.as_mut()?;
        (client.turn == peer.turn && client.id.is_some()).then_some(client)
    }

    /// Begins a message; `Ok` with the reason why it goes no further.
    #[inline]
    fn begin(&mut self, head: &Datagram, io: &mut Driver) -> Result<Option<Unwritten>, NoBegin> {
        let Some(peer) = head.peer().and_then(PeerId::of) else {
            return Ok(Some(Unwritten::NoPeer));
        };
        if self.client_of(peer).is_none() {
            self.take_handoffs(io);
        }
        let Some(client) = self.client_of(peer) else {
            return Ok(Some(Unwritten::Gone));
        };
        let mut begun = client.outbox.begin(usize::from(head.total));
        if begun == Err(NoBegin::Full) {
            self.push(peer.place, io);
            begun = match self.client_of(peer) {
                Some(client) => client.outbox.begin(usize::from(head.total)),
                None => return Ok(Some(Unwritten::Gone)),
            };
        }
        self.to = peer.place;
        if let Some(Some(client)) = self.clients.get_mut(usize::from(peer.place)) {
            client.held.now = begun == Err(NoBegin::Full);
        }
        match begun {
            Ok(()) => Ok(None),
            Err(NoBegin::TooLong) => Ok(Some(Unwritten::TooLong)),
            Err(NoBegin::Full) => Err(NoBegin::Full),
        }
    }

    #[inline]
    fn put(&mut self, at: usize, bytes: &[u8]) {
        if self.refused.is_none()
            && let Some(Some(client)) = self.clients.get_mut(usize::from(self.to))
        {
            client.outbox.put(at, bytes);
        }
    }
}

impl Egress for StreamReply {
    fn takes(&self) -> &'static [KindInfo] {
        Datagrams::KINDS
    }

    fn reasons(&self) -> &'static [&'static str] {
        Unwritten::NAMES
    }

    fn memory_bytes(&self) -> usize {
        // A source that is none of this line lets nobody in.
        let connections = match &self.of {
            Of::Shared(shared) => shared.connections_max(),
            Of::Named(names, name) => names.find(name).map_or(0, |of| of.connections_max()),
        };
        let places = CONNECTIONS_MAX * (size_of::<Option<Client>>() + size_of::<u16>());
        let outboxes = connections * Outbox::bytes(self.framing, OUTBOX_BYTES);
        size_of::<StreamReply>() + places + outboxes + SharedStream::subscription_bytes()
    }

    fn open(&mut self, _io: &mut Driver) -> Result<(), IoError> {
        let shared = match &self.of {
            Of::Shared(shared) => shared.clone(),
            Of::Named(names, name) => names.find(name).ok_or_else(|| {
                let what = "reply: no source of this line has share =";
                let error = IoError::new(IoErrorKind::InvalidInput, what);
                error.on(&format_args!("\"{name}\""))
            })?,
        };
        self.handoffs = Some(shared.subscribe()?);
        self.clients = (0..CONNECTIONS_MAX).map(|_| None).collect();
        self.dirty = Vec::with_capacity(CONNECTIONS_MAX);
        Ok(())
    }

    #[inline]
    fn on_frame(&mut self, frame: Leaving<'_>, io: &mut Driver) -> Delivery {
        match Piece::of(&frame) {
            Piece::Head(head) => {
                self.refused = match self.begin(&head, io) {
                    Ok(refused) => refused,
                    Err(_) => return Delivery::NotNow,
                };
                self.put(0, head.as_slice());
            }
            Piece::Part(part) => self.put(usize::from(part.at), part.as_slice()),
            Piece::Wrong => self.refused = Some(Unwritten::Malformed),
        }
        if !frame.envelope.flags.is_last() {
            return Delivery::Part;
        }
        if let Some(why) = self.refused.take() {
            return why.into();
        }
        let Some(Some(client)) = self.clients.get_mut(usize::from(self.to)) else {
            return Unwritten::Gone.into();
        };
        if !client.outbox.commit() {
            return Unwritten::Malformed.into();
        }
        if !core::mem::replace(&mut client.dirty, true) {
            self.dirty.push(self.to);
        }
        if self.pace.write_now() {
            self.push_all(io);
        }
        Delivery::Sent
    }

    fn flush(&mut self, io: &mut Driver) -> Result<(), IoError> {
        self.pace.turn_ends();
        self.push_all(io);
        Ok(())
    }

    fn pending(&self) -> bool {
        !self.dirty.is_empty()
    }

    fn housekeep(&mut self, now_ns: u64, io: &mut Driver) {
        self.take_handoffs(io);
        let span_ns = now_ns.saturating_sub(self.looked_ns);
        self.looked_ns = now_ns;
        for nth in 0..self.dirty.len() {
            let at = self.dirty[nth];
            let Some(client) = self.clients[usize::from(at)].as_mut() else {
                continue;
            };
            let taken_bytes = core::mem::take(&mut client.taken_bytes);
            client.held.look(now_ns, span_ns, taken_bytes);
            if taken_bytes > 0 {
                client.stuck_since_ns = None;
            }
            let since_ns = *client.stuck_since_ns.get_or_insert(now_ns);
            let stuck = now_ns.saturating_sub(since_ns) > STALLED_CLIENT_NS;
            if stuck || client.held.spent_ns > STALLED_CLIENT_NS {
                self.stalled += self.disconnect(at, io);
            }
        }
        self.push_all(io);
    }

    fn give_up(&mut self, io: &mut Driver) -> Result<(), IoError> {
        self.close(io)
    }

    fn close(&mut self, io: &mut Driver) -> Result<(), IoError> {
        self.take_handoffs(io);
        self.flush(io)?;
        for at in 0..self.clients.len() {
            self.broken += self.close_client(at as u16, io);
        }
        self.handoffs = None;
        Ok(())
    }

    fn lost(&mut self) -> Option<(u8, u64)> {
        for (count, why) in [
            (&mut self.broken, Unwritten::Broken),
            (&mut self.stalled, Unwritten::Stalled),
        ] {
            let count = core::mem::take(count);
            if count > 0 {
                return Some((why.index() as u8, count));
            }
        }
        None
    }

    fn fault(&mut self) -> Option<String> {
        self.trouble.tell(&"a reply")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::{datagrams, shared_tcp, stream_on};
    use crate::base::limits::PAYLOAD_BYTES;
    use crate::base::{Envelope, Flags};
    use crate::frame::{Aligned, Frame};
    use crate::io::{Endpoint, ListenerId, StreamRead, StreamSpec, VirtualNet};
    use crate::topology::IntoSource;

    /// A reply sink, and what stands around it: the driver, its listener, the source's end of the ring.
    struct Rig {
        io: Driver,
        spec: StreamSpec,
        listener: ListenerId,
        shared: SharedStream,
        sink: StreamReply,
    }

    fn rig() -> Rig {
        let mut io = Driver::from(VirtualNet::new().driver());
        let spec = StreamSpec::at(Endpoint::Abstract("reply".into()));
        let listener = io.listen(&spec).unwrap();
        let shared = SharedStream::new(spec.clone());
        let mut sink = stream_reply(&shared);
        sink.open(&mut io).unwrap();
        Rig {
            io,
            spec,
            listener,
            shared,
            sink,
        }
    }

    impl Rig {
        /// A client and the handle of its connection for the sink.
        fn connect(&mut self) -> (StreamId, StreamId) {
            let client = self.io.stream_connect(&self.spec).unwrap();
            (client, self.io.accept(self.listener).unwrap().unwrap())
        }

        fn reply(&mut self, to: PeerId, bytes: &[u8]) -> Delivery {
            let head = Datagram::of(Some(to.addr()), bytes).unwrap();
            let mut payload = Aligned::<PAYLOAD_BYTES>::new();
            let len = head.write(&mut payload).unwrap();
            let envelope = Envelope {
                kind: Datagram::SCHEMA,
                flags: Flags::WHOLE,
                ..Envelope::default()
            };
            let frame = Leaving {
                envelope: &envelope,
                payload: &payload[..len],
            };
            let delivery = self.sink.on_frame(frame, &mut self.io);
            self.sink.flush(&mut self.io).unwrap();
            delivery
        }
    }

    #[test]
    fn a_reply_to_one_that_has_gone_never_reaches_its_successor() {
        let mut rig = rig();
        let mut source = rig.shared.take_sinks().pop().unwrap();
        let first = PeerId { place: 3, turn: 0 };
        let second = PeerId { turn: 1, ..first };
        let (one, held) = rig.connect();
        let handed = rig.io.stream_hand_over(held).unwrap();
        source.push(Handoff::Opened(first, handed)).unwrap();
        assert_eq!(rig.reply(first, b"one"), Delivery::Sent);
        source.push(Handoff::Closed(first)).unwrap();
        let (two, held) = rig.connect();
        let handed = rig.io.stream_hand_over(held).unwrap();
        source.push(Handoff::Opened(second, handed)).unwrap();
        assert_eq!(rig.reply(second, b"two"), Delivery::Sent);
        assert_eq!(rig.reply(first, b"late"), Unwritten::Gone.into());
        let nobody = PeerId { place: 4, turn: 0 };
        assert_eq!(rig.reply(nobody, b"late"), Unwritten::Gone.into());
        let mut buf = [0; 32];
        for (client, expected) in [(one, b"\0\0\0\x03one"), (two, b"\0\0\0\x03two")] {
            assert_eq!(
                rig.io.stream_read(client, &mut buf),
                Ok(StreamRead::Bytes(7))
            );
            assert_eq!(&buf[..7], expected);
            assert_eq!(
                rig.io.stream_read(client, &mut buf),
                Ok(StreamRead::WouldBlock)
            );
        }
    }

    #[test]
    fn one_that_does_not_read_is_disconnected_after_its_time_and_not_before() {
        let mut rig = rig();
        let mut source = rig.shared.take_sinks().pop().unwrap();
        let peer = PeerId { place: 0, turn: 0 };
        let (client, held) = rig.connect();
        let handed = rig.io.stream_hand_over(held).unwrap();
        source.push(Handoff::Opened(peer, handed)).unwrap();
        while rig.reply(peer, &[7; 64]) == Delivery::Sent {}
        assert!(rig.sink.pending());
        rig.sink.housekeep(1_000, &mut rig.io);
        rig.sink.housekeep(STALLED_CLIENT_NS, &mut rig.io);
        assert_eq!(rig.reply(peer, &[7; 64]), Delivery::NotNow);
        // It reads a little, and has its time anew.
        let mut buf = [0; 4_096];
        assert!(matches!(
            rig.io.stream_read(client, &mut buf),
            Ok(StreamRead::Bytes(_))
        ));
        rig.sink.flush(&mut rig.io).unwrap();
        rig.sink.housekeep(STALLED_CLIENT_NS + 2_000, &mut rig.io);
        assert_eq!(rig.sink.lost(), None);
        rig.sink
            .housekeep(2 * STALLED_CLIENT_NS + 3_000, &mut rig.io);
        let (why, count) = rig.sink.lost().unwrap();
        assert_eq!(usize::from(why), Unwritten::Stalled.index());
        assert!(count > 0 && !rig.sink.pending());
        assert_eq!(rig.reply(peer, b"more"), Unwritten::Gone.into());
    }

    #[test]
    fn its_memory_is_that_of_as_many_connections_as_the_source_lets_in() {
        let of = |connections: usize| {
            let shared = shared_tcp("127.0.0.1:0").unwrap();
            let sink = stream_reply(&shared);
            let source = stream_on(&shared).connections(connections);
            let _source = source.decode(datagrams()).into_source().unwrap();
            sink.memory_bytes()
        };
        assert_eq!(of(1_024) - of(64), 960 * OUTBOX_BYTES);
        // What nobody lets in is counted as if nothing were said.
        let shared = shared_tcp("127.0.0.1:0").unwrap();
        assert_eq!(stream_reply(&shared).memory_bytes(), of(64));
        let names = SharedStreams::default();
        let named = StreamReply::new(Of::Named(names.clone(), "echo".to_owned()));
        let none = named.memory_bytes();
        let spec = StreamSpec::at(Endpoint::Abstract("named".into()));
        let declared = names.declare("echo", spec).unwrap();
        declared.lets_in(7);
        assert_eq!(named.memory_bytes() - none, 7 * OUTBOX_BYTES);
    }

    /// Floods one client, which reads `bytes` each `every_ns`, for as long as `to_ns`: when it was disconnected.
    fn flooded(bytes: usize, every_ns: u64, to_ns: u64) -> Option<u64> {
        let mut rig = rig();
        let mut source = rig.shared.take_sinks().pop().unwrap();
        let peer = PeerId { place: 0, turn: 0 };
        let (client, held) = rig.connect();
        let handed = rig.io.stream_hand_over(held).unwrap();
        source.push(Handoff::Opened(peer, handed)).unwrap();
        let mut buf = vec![0; bytes];
        for now_ns in (0..to_ns).step_by(HOUSEKEEPING_NS as usize) {
            loop {
                match rig.reply(peer, &[7; 64]) {
                    Delivery::Sent => {}
                    Delivery::NotNow => break,
                    other => {
                        assert_eq!(other, Unwritten::Gone.into());
                        let (why, count) = rig.sink.lost().unwrap();
                        assert_eq!(usize::from(why), Unwritten::Stalled.index());
                        assert!(count > 0 && !rig.sink.pending());
                        return Some(now_ns);
                    }
                }
            }
            if now_ns % every_ns == 0 {
                let _ = rig.io.stream_read(client, &mut buf);
            }
            rig.sink.housekeep(now_ns, &mut rig.io);
        }
        None
    }

    #[test]
    fn one_that_reads_little_by_little_has_its_time_once_and_not_again_with_each_read() {
        const MS: u64 = 1_000_000;
        // All of it now and then, some of it often, next to nothing: none gets beyond its second by much.
        for (bytes, every_ms) in [
            (1 << 20, 900),
            (20_000, 700),
            (20_000, 100),
            (1, 10),
            (4_096, 1),
        ] {
            let ended_ns = flooded(bytes, every_ms * MS, 10_000 * MS);
            let ended_ms = ended_ns.expect("it holds the line back for ever") / MS;
            assert!(
                (1_000..=1_400).contains(&ended_ms),
                "{bytes} bytes each {every_ms} ms: {ended_ms} ms"
            );
        }
    }

    #[test]
    fn one_that_reads_steadily_may_be_flooded_for_ever() {
        // 20 MB a second: it never empties what waits for it, and is held back by nobody but itself.
        assert_eq!(flooded(40_000, 2_000_000, 3 * STALLED_CLIENT_NS / 2), None);
    }

    #[test]
    fn what_was_held_is_won_back_slowly_and_a_late_look_is_nobodys_doing() {
        let mut held = Held {
            now: true,
            ..Held::default()
        };
        held.look(STALLED_CLIENT_NS, STALLED_CLIENT_NS, 0);
        assert!(held.spent_ns <= CHARGED_NS_MAX, "{held:?}");
        let mut now_ns = held.looked_ns;
        while held.spent_ns < STALLED_CLIENT_NS / 2 {
            now_ns += HOUSEKEEPING_NS;
            held.look(now_ns, HOUSEKEEPING_NS, 0);
        }
        held.now = false;
        held.look(now_ns + STALLED_CLIENT_NS, HOUSEKEEPING_NS, 0);
        let won_ns = STALLED_CLIENT_NS / 2 - held.spent_ns;
        assert!(
            won_ns.abs_diff(STALLED_CLIENT_NS / STALLED_WON_BACK) <= HOUSEKEEPING_NS,
            "{held:?}"
        );
        held.look(now_ns + 20 * STALLED_CLIENT_NS, HOUSEKEEPING_NS, 0);
        assert_eq!(held.spent_ns, 0);
    }
}
