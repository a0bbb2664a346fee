//! Messages back into the connections that they came from.
//!
//! Invariant: a reply goes to the connection that asked or to nobody; a client that does not read
//! holds the line back for a bounded time and is then disconnected.

use crate::adapter::Trouble;
use crate::adapter::outbox::{NoBegin, Outbox, Pushed};
use crate::adapter::stream::framing_from_params;
use crate::adapter::stream_sink::{Pace, Piece, Unwritten};
use crate::base::Reason;
use crate::base::limits::{
    CONNECTIONS_DEFAULT, CONNECTIONS_MAX, MESSAGE_BYTES_MAX, STALLED_CLIENT_NS,
    STREAM_MESSAGE_BYTES_DEFAULT,
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
    /// Whether it took something since that was last looked at.
    took: bool,
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
            took: false,
        });
        (client.turn, client.id, client.stuck_since_ns) = (peer.turn, Some(id), None);
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
        client.took |= client.outbox.waiting_bytes() < waited;
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
        let client = size_of::<Option<Client>>() + Outbox::bytes(self.framing, OUTBOX_BYTES);
        size_of::<StreamReply>() + CONNECTIONS_DEFAULT * client
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
        for nth in 0..self.dirty.len() {
            let at = self.dirty[nth];
            let Some(client) = self.clients[usize::from(at)].as_mut() else {
                continue;
            };
            if core::mem::take(&mut client.took) {
                client.stuck_since_ns = None;
            }
            let since_ns = *client.stuck_since_ns.get_or_insert(now_ns);
            if now_ns.saturating_sub(since_ns) > STALLED_CLIENT_NS {
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
    use crate::base::limits::PAYLOAD_BYTES;
    use crate::base::{Envelope, Flags};
    use crate::frame::{Aligned, Frame};
    use crate::io::{Endpoint, ListenerId, StreamRead, StreamSpec, VirtualNet};

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
}
