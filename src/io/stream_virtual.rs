//! Connections in memory, on virtual time: with a delay, cut as a test wants them, broken off at will.
//!
//! Invariant: no system call; what was written arrives whole and in order, or the connection broke.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::collections::VecDeque;

use crate::io::error::{BIND, CONNECT, IoError, IoErrorKind};
use crate::io::stream::{Handed, LISTENERS_MAX, STREAMS_MAX};
use crate::io::table::{Slot, Table};
use crate::io::{
    Endpoint, Half, HandedStream, ListenerId, StreamId, StreamRead, StreamSpec, StreamWrite,
    Virtual, VirtualNet,
};

/// Most bytes of one direction of a virtual connection, on the way and unread; then writing would
/// block. Twice Linux's default of a Unix socket's buffer is not needed to fill one.
pub const VIRTUAL_STREAM_BYTES: usize = 64 << 10;

/// First port given to a listener that names none.
const PORT_MIN: u16 = 40_000;

/// What is on its way to an end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coming {
    Bytes(usize),
    End,
    Reset,
}

/// One end of a connection.
#[derive(Debug)]
struct End {
    peer: Option<usize>,
    /// Bytes in order; the first `arrived` of them can be read.
    bytes: VecDeque<u8>,
    arrived: usize,
    coming: VecDeque<(u64, Coming)>,
    ended: bool,
    broken: bool,
    /// It writes no more.
    shut: bool,
    holders: usize,
    /// Something came that no poll has reported.
    fresh: bool,
    /// A write found no room: its peer's next read is to be reported.
    wants_room: bool,
}

#[derive(Debug)]
struct Port {
    at: Endpoint,
    waiting: VecDeque<usize>,
    backlog: usize,
    fresh: bool,
}

/// All connections of a network.
#[derive(Debug)]
pub(crate) struct StreamNet {
    ends: Vec<Option<End>>,
    ports: Vec<Option<Port>>,
    next_port: u16,
    /// Most bytes of one read, and of one write.
    pub(crate) cuts: [usize; 2],
}

impl Default for StreamNet {
    fn default() -> StreamNet {
        StreamNet {
            ends: Vec::new(),
            ports: Vec::new(),
            next_port: PORT_MIN,
            cuts: [usize::MAX; 2],
        }
    }
}

/// Puts a value at a free place.
fn put<T>(places: &mut Vec<Option<T>>, value: T) -> usize {
    let free = places.iter().position(Option::is_none);
    let at = free.unwrap_or_else(|| {
        places.push(None);
        places.len() - 1
    });
    places[at] = Some(value);
    at
}

impl StreamNet {
    /// Lets what is due by `now_ns` arrive.
    pub(crate) fn advance(&mut self, now_ns: u64) {
        for end in self.ends.iter_mut().flatten() {
            while let Some(&(at_ns, coming)) = end.coming.front()
                && at_ns <= now_ns
            {
                end.coming.pop_front();
                end.fresh = true;
                match coming {
                    Coming::Bytes(count) => end.arrived += count,
                    Coming::End => end.ended = true,
                    Coming::Reset => end.broken = true,
                }
            }
        }
    }

    pub(crate) fn next_at_ns(&self) -> Option<u64> {
        let ends = self.ends.iter().flatten();
        ends.filter_map(|end| end.coming.front().map(|first| first.0))
            .min()
    }

    pub(crate) fn reset_all(&mut self) -> usize {
        let mut broken = 0;
        for end in self.ends.iter_mut().flatten() {
            broken += usize::from(!end.broken);
            (end.broken, end.fresh) = (true, true);
        }
        broken / 2
    }

    fn end(&mut self, at: usize, what: &'static str) -> Result<&mut End, IoError> {
        let end = self.ends.get_mut(at).and_then(Option::as_mut);
        end.ok_or(IoError::new(IoErrorKind::WrongId, what))
    }

    fn tell_peer(&mut self, at: usize, coming: Coming, at_ns: u64) {
        let peer = self.ends[at].as_ref().and_then(|end| end.peer);
        if let Some(peer) = peer.and_then(|peer| self.ends[peer].as_mut()) {
            peer.coming.push_back((at_ns, coming));
        }
    }

    /// Gives up one hold of an end. As with TCP, bytes that nobody read make the close a reset.
    fn let_go(&mut self, at: usize, at_ns: u64) {
        let Ok(end) = self.end(at, "close") else {
            return;
        };
        end.holders -= 1;
        if end.holders > 0 {
            return;
        }
        let (unread, shut, peer) = (end.arrived > 0, end.shut, end.peer);
        if unread {
            self.tell_peer(at, Coming::Reset, at_ns);
        } else if !shut {
            self.tell_peer(at, Coming::End, at_ns);
        }
        self.ends[at] = None;
        if let Some(peer) = peer.and_then(|peer| self.ends[peer].as_mut()) {
            peer.peer = None;
            (peer.fresh, peer.wants_room) = (true, false);
        }
    }

    fn taken(&self, at: &Endpoint) -> bool {
        self.ports.iter().flatten().any(|port| port.at == *at)
    }
}

/// A hold of an end on its way to another driver.
#[derive(Debug)]
pub(crate) struct HeldEnd {
    net: VirtualNet,
    end: Option<usize>,
}

impl Drop for HeldEnd {
    fn drop(&mut self) {
        if let Some(end) = self.end {
            let mut state = self.net.state();
            let at_ns = state.now_ns.saturating_add(state.delay_ns);
            state.streams.let_go(end, at_ns);
        }
    }
}

#[derive(Debug)]
struct Listener {
    port: usize,
    readable: bool,
    ready: VecDeque<Slot>,
}

#[derive(Debug)]
struct Stream {
    end: usize,
    readable: bool,
    writable: bool,
    watched: bool,
    listener: Option<Slot>,
    queued: bool,
}

/// What one virtual driver has of them.
#[derive(Debug)]
pub(crate) struct Streams {
    listeners: Table<Listener>,
    streams: Table<Stream>,
}

impl Streams {
    pub(crate) const fn new() -> Streams {
        Streams {
            listeners: Table::new(LISTENERS_MAX),
            streams: Table::new(STREAMS_MAX),
        }
    }

    pub(crate) fn close_all(&self, net: &mut StreamNet) {
        for listener in self.listeners.iter() {
            net.ports[listener.port] = None;
        }
        for stream in self.streams.iter() {
            net.let_go(stream.end, 0);
        }
    }

    /// Marks what something came to, and says whether there was any.
    pub(crate) fn take_fresh(&mut self, net: &mut StreamNet) -> bool {
        let mut ready = false;
        for index in 0..LISTENERS_MAX {
            if let Some(listener) = self.listeners.at_mut(index)
                && let Some(port) = &mut net.ports[listener.port]
                && core::mem::take(&mut port.fresh)
            {
                listener.readable = true;
                ready = true;
            }
        }
        for index in 0..self.streams.places() {
            let Some((slot, stream)) = self.streams.slot_at_mut(index) else {
                continue;
            };
            let Ok(end) = net.end(stream.end, "poll") else {
                continue;
            };
            let room = end.wants_room && stream_room(net, stream.end) > 0;
            let Ok(end) = net.end(stream.end, "poll") else {
                continue;
            };
            if room && !stream.writable {
                (end.wants_room, stream.writable, ready) = (false, true, true);
            }
            if !stream.watched || !core::mem::take(&mut end.fresh) {
                continue;
            }
            (stream.readable, stream.writable, ready) = (true, true, true);
            if let Some(listener) = stream.listener
                && !stream.queued
                && let Ok(listener) = self.listeners.get_mut(listener, "poll")
            {
                stream.queued = true;
                listener.ready.push_back(slot);
            }
        }
        ready
    }
}

/// Bytes that may be written to the peer of this end now.
fn stream_room(net: &StreamNet, at: usize) -> usize {
    let end = net.ends.get(at).and_then(Option::as_ref);
    let peer = end.and_then(|end| end.peer);
    let peer = peer.and_then(|peer| net.ends[peer].as_ref());
    peer.map_or(usize::MAX, |peer| {
        VIRTUAL_STREAM_BYTES.saturating_sub(peer.bytes.len())
    })
}

impl Virtual {
    pub(crate) fn listen(&mut self, spec: &StreamSpec) -> Result<ListenerId, IoError> {
        let mut state = self.net.state();
        let net = &mut state.streams;
        let mut at = spec.at.clone();
        if let Endpoint::Tcp(addr) = &mut at
            && addr.port() == 0
        {
            while net.taken(&Endpoint::Tcp(SocketAddr::new(addr.ip(), net.next_port))) {
                net.next_port = net.next_port.checked_add(1).unwrap_or(PORT_MIN);
            }
            addr.set_port(net.next_port);
        }
        if net.taken(&at) {
            return Err(IoError::new(IoErrorKind::AddrInUse, BIND).on(&at));
        }
        let port = put(
            &mut net.ports,
            Port {
                at,
                waiting: VecDeque::new(),
                backlog: spec.backlog as usize,
                fresh: false,
            },
        );
        let listener = Listener {
            port,
            readable: true,
            ready: VecDeque::with_capacity(STREAMS_MAX),
        };
        let slot = self.streams.listeners.insert(listener, "listen on");
        if slot.is_err() {
            net.ports[port] = None;
        }
        slot.map(ListenerId)
    }

    pub(crate) fn listener_endpoint(&self, id: ListenerId) -> Result<Endpoint, IoError> {
        const WHAT: &str = "ask a listener for its address";
        let listener = self.streams.listeners.get(id.0, WHAT)?;
        let state = self.net.state();
        let port = state.streams.ports[listener.port].as_ref();
        let port = port.ok_or(IoError::new(IoErrorKind::WrongId, WHAT))?;
        Ok(port.at.clone())
    }

    pub(crate) fn listener_close(&mut self, id: ListenerId) -> Result<(), IoError> {
        let listener = self.streams.listeners.remove(id.0, "close a listener")?;
        let mut state = self.net.state();
        let at_ns = state.now_ns.saturating_add(state.delay_ns);
        if let Some(port) = state.streams.ports[listener.port].take() {
            for end in port.waiting {
                state.streams.let_go(end, at_ns);
            }
        }
        Ok(())
    }

    pub(crate) fn listener_maybe_readable(&self, id: ListenerId) -> bool {
        let listener = self.streams.listeners.get(id.0, "accept");
        listener.is_ok_and(|listener| listener.readable)
    }

    pub(crate) fn accept(&mut self, id: ListenerId) -> Result<Option<StreamId>, IoError> {
        let listener = self.streams.listeners.get_mut(id.0, "accept")?;
        let mut state = self.net.state();
        let port = state.streams.ports[listener.port].as_mut();
        let Some(end) = port.and_then(|port| port.waiting.pop_front()) else {
            listener.readable = false;
            return Ok(None);
        };
        drop(state);
        self.take_in(end, Some(id.0), true).map(Some)
    }

    fn take_in(
        &mut self,
        end: usize,
        listener: Option<Slot>,
        watched: bool,
    ) -> Result<StreamId, IoError> {
        let stream = Stream {
            end,
            readable: watched,
            writable: true,
            watched,
            listener,
            queued: false,
        };
        let slot = self.streams.streams.insert(stream, "open a connection");
        if slot.is_err() {
            self.net.state().streams.let_go(end, 0);
        }
        slot.map(StreamId)
    }

    pub(crate) fn listener_next_ready(&mut self, id: ListenerId) -> Option<StreamId> {
        let listener = self.streams.listeners.get_mut(id.0, "accept").ok()?;
        let slot = listener.ready.pop_front()?;
        if let Ok(stream) = self.streams.streams.get_mut(slot, "accept") {
            stream.queued = false;
        }
        Some(StreamId(slot))
    }

    pub(crate) fn stream_connect(&mut self, spec: &StreamSpec) -> Result<StreamId, IoError> {
        const WHAT: &str = CONNECT;
        let mut state = self.net.state();
        let net = &mut state.streams;
        let reaches = |port: &Port| match (&port.at, &spec.at) {
            (Endpoint::Tcp(own), Endpoint::Tcp(to)) => {
                let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
                own.port() == to.port() && (own.ip() == to.ip() || own.ip() == any)
            }
            (own, to) => own == to,
        };
        let port = net.ports.iter_mut().flatten().find(|port| reaches(port));
        let full = port
            .as_ref()
            .is_none_or(|port| port.waiting.len() >= port.backlog);
        if full {
            return Err(IoError::new(IoErrorKind::ConnectionRefused, WHAT).on(&spec.at));
        }
        let end = || End {
            peer: None,
            bytes: VecDeque::with_capacity(VIRTUAL_STREAM_BYTES),
            arrived: 0,
            coming: VecDeque::with_capacity(64),
            ended: false,
            broken: false,
            shut: false,
            holders: 1,
            fresh: false,
            wants_room: false,
        };
        let (ours, theirs) = (put(&mut net.ends, end()), put(&mut net.ends, end()));
        for (own, peer) in [(ours, theirs), (theirs, ours)] {
            net.end(own, WHAT)?.peer = Some(peer);
        }
        let mut ports = net.ports.iter_mut().flatten();
        if let Some(port) = ports.find(|port| reaches(port)) {
            port.waiting.push_back(theirs);
            port.fresh = true;
        }
        drop(state);
        self.take_in(ours, None, true)
    }

    pub(crate) fn stream_connected(&mut self, id: StreamId) -> Result<bool, IoError> {
        self.streams.streams.get(id.0, "connect").map(|_| true)
    }

    pub(crate) fn stream_read(
        &mut self,
        id: StreamId,
        buf: &mut [u8],
    ) -> Result<StreamRead, IoError> {
        const WHAT: &str = "read a connection";
        let stream = self.streams.streams.get_mut(id.0, WHAT)?;
        if buf.is_empty() {
            return Err(IoError::new(IoErrorKind::InvalidInput, WHAT));
        }
        let mut state = self.net.state();
        let net = &mut state.streams;
        let most = net.cuts[0];
        let end = net.end(stream.end, WHAT)?;
        if end.broken {
            return Ok(StreamRead::Reset);
        }
        let count = end.arrived.min(buf.len()).min(most);
        if count == 0 {
            if end.ended {
                return Ok(StreamRead::End);
            }
            stream.readable = false;
            return Ok(StreamRead::WouldBlock);
        }
        for byte in &mut buf[..count] {
            *byte = end.bytes.pop_front().unwrap_or_default();
        }
        end.arrived -= count;
        Ok(StreamRead::Bytes(count))
    }

    pub(crate) fn stream_write(
        &mut self,
        id: StreamId,
        bytes: &[u8],
    ) -> Result<StreamWrite, IoError> {
        const WHAT: &str = "write to a connection";
        let stream = self.streams.streams.get_mut(id.0, WHAT)?;
        if bytes.is_empty() {
            return Err(IoError::new(IoErrorKind::InvalidInput, WHAT));
        }
        let mut state = self.net.state();
        let at_ns = state.now_ns.saturating_add(state.delay_ns);
        let net = &mut state.streams;
        let count = bytes
            .len()
            .min(stream_room(net, stream.end))
            .min(net.cuts[1]);
        let end = net.end(stream.end, WHAT)?;
        let Some(peer) = end.peer.filter(|_| !end.broken && !end.shut) else {
            return Ok(StreamWrite::Broken);
        };
        if count == 0 {
            end.wants_room = true;
            stream.writable = false;
            return Ok(StreamWrite::WouldBlock);
        }
        net.end(peer, WHAT)?.bytes.extend(&bytes[..count]);
        net.tell_peer(stream.end, Coming::Bytes(count), at_ns);
        let now_ns = state.now_ns;
        state.streams.advance(now_ns);
        Ok(StreamWrite::Bytes(count))
    }

    pub(crate) fn stream_maybe_readable(&self, id: StreamId) -> bool {
        let stream = self.streams.streams.get(id.0, "read");
        stream.is_ok_and(|stream| stream.readable)
    }

    pub(crate) fn stream_maybe_writable(&self, id: StreamId) -> bool {
        let stream = self.streams.streams.get(id.0, "write");
        stream.is_ok_and(|stream| stream.writable)
    }

    pub(crate) fn stream_shutdown(&mut self, id: StreamId, half: Half) -> Result<(), IoError> {
        const WHAT: &str = "end a connection";
        let stream = self.streams.streams.get(id.0, WHAT)?;
        let mut state = self.net.state();
        let at_ns = state.now_ns.saturating_add(state.delay_ns);
        let net = &mut state.streams;
        let end = net.end(stream.end, WHAT)?;
        if half == Half::Both {
            (end.ended, end.fresh) = (true, true);
        }
        if !core::mem::replace(&mut end.shut, true) {
            net.tell_peer(stream.end, Coming::End, at_ns);
        }
        Ok(())
    }

    pub(crate) fn stream_close(&mut self, id: StreamId) -> Result<(), IoError> {
        const WHAT: &str = "close a connection";
        let Streams { listeners, streams } = &mut self.streams;
        let stream = streams.remove(id.0, WHAT)?;
        if stream.queued
            && let Some(listener) = stream.listener
            && let Ok(listener) = listeners.get_mut(listener, WHAT)
        {
            listener.ready.retain(|slot| *slot != id.0);
        }
        let mut state = self.net.state();
        let at_ns = state.now_ns.saturating_add(state.delay_ns);
        state.streams.let_go(stream.end, at_ns);
        Ok(())
    }

    pub(crate) fn stream_hand_over(&self, id: StreamId) -> Result<HandedStream, IoError> {
        const WHAT: &str = "share a connection";
        let stream = self.streams.streams.get(id.0, WHAT)?;
        self.net.state().streams.end(stream.end, WHAT)?.holders += 1;
        Ok(HandedStream(Handed::Virtual(HeldEnd {
            net: self.net.clone(),
            end: Some(stream.end),
        })))
    }

    pub(crate) fn stream_adopt(&mut self, handed: HandedStream) -> Result<StreamId, IoError> {
        const WHAT: &str = "share a connection";
        let Handed::Virtual(mut held) = handed.0 else {
            return Err(IoError::new(IoErrorKind::InvalidInput, WHAT));
        };
        let end = held.end.take();
        let end = end.ok_or(IoError::new(IoErrorKind::WrongId, WHAT))?;
        self.take_in(end, None, false)
    }
}
