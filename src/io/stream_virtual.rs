//! Connections in memory, on virtual time: with a delay, cut as a test wants them, broken off at will.
//!
//! Invariant: no system call; a poll costs by what came since the last one, and by the connections
//! that wait for room.

use std::net::SocketAddr;

use crate::base::limits::STREAMS_DEFAULT;
use crate::io::error::{CONNECT, IoError, IoErrorKind};
use crate::io::ready::{Chain, Links, Ready, ReadyLinks};
use crate::io::stream::{Handed, LISTENERS_MAX};
use crate::io::stream_net::{Coming, StreamNet};
use crate::io::table::{Slot, Table};
use crate::io::{
    Endpoint, Half, HandedStream, ListenerId, StreamId, StreamRead, StreamSpec, StreamWrite,
    Virtual, VirtualNet,
};

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
    /// Its connections that something came of and that were not asked for yet.
    ready: Ready,
}

#[derive(Debug)]
struct Stream {
    end: usize,
    readable: bool,
    writable: bool,
    watched: bool,
    listener: Option<Slot>,
}

/// What one virtual driver has of them.
#[derive(Debug)]
pub(crate) struct Streams {
    /// Its number on the network.
    driver: usize,
    listeners: Table<Listener>,
    streams: Table<Stream>,
    /// Of connections that have no listener, or none any more.
    unlistened: Ready,
    ready: ReadyLinks,
    /// Connections in which a write found no room.
    full: Chain,
    full_links: Links,
}

/// The lists that a connection of this listener is in.
fn ready_of<'a>(
    listeners: &'a mut Table<Listener>,
    unlistened: &'a mut Ready,
    listener: Option<Slot>,
) -> &'a mut Ready {
    match listener.map(|listener| listeners.get_mut(listener, "poll")) {
        Some(Ok(listener)) => &mut listener.ready,
        _ => unlistened,
    }
}

impl Streams {
    /// Of the driver of that number.
    pub(crate) const fn new(driver: usize) -> Streams {
        Streams {
            driver,
            listeners: Table::new(LISTENERS_MAX),
            streams: Table::new(STREAMS_DEFAULT),
            unlistened: Ready::new(),
            ready: ReadyLinks::new(),
            full: Chain::new(),
            full_links: Links::new(),
        }
    }

    pub(crate) fn close_all(&self, net: &mut StreamNet) {
        for listener in self.listeners.iter() {
            net.close_port(listener.port, 0);
        }
        for stream in self.streams.iter() {
            if stream.watched {
                net.unwatch(stream.end);
            }
            net.let_go(stream.end, 0);
        }
        net.leave(self.driver);
    }

    /// Marks what something came to, and says whether there was any.
    pub(crate) fn take_fresh(&mut self, net: &mut StreamNet) -> bool {
        let mut ready = false;
        for index in 0..self.listeners.places() {
            if let Some(listener) = self.listeners.at_mut(index)
                && let Some(port) = &mut net.ports[listener.port]
                && core::mem::take(&mut port.fresh)
            {
                listener.readable = true;
                ready = true;
            }
        }
        ready |= self.take_room(net);
        while let Some(place) = net.watch_of(self.driver).and_then(|watch| watch.pop()) {
            let Some(stream) = self.streams.at_mut(place) else {
                continue;
            };
            let Ok(end) = net.end(stream.end, "poll") else {
                continue;
            };
            (end.fresh, stream.readable, ready) = (false, true, true);
            let listener = stream.listener;
            let of = ready_of(&mut self.listeners, &mut self.unlistened, listener);
            self.ready.readable.push(&mut of.readable, place);
        }
        ready
    }

    /// Marks those that have room again.
    fn take_room(&mut self, net: &StreamNet) -> bool {
        let (mut ready, mut still) = (false, Chain::new());
        while let Some(place) = self.full_links.pop(&mut self.full) {
            let Some(stream) = self.streams.at_mut(place) else {
                continue;
            };
            if !net.takes(stream.end) {
                self.full_links.push(&mut still, place);
                continue;
            }
            (stream.writable, ready) = (true, true);
            let listener = stream.listener;
            let of = ready_of(&mut self.listeners, &mut self.unlistened, listener);
            self.ready.writable.push(&mut of.writable, place);
        }
        self.full = still;
        ready
    }

    /// The id of a place that was on a list, where only what is open is.
    fn id_at(&mut self, place: usize) -> Option<StreamId> {
        self.streams
            .slot_at_mut(place)
            .map(|(slot, _)| StreamId(slot))
    }
}

impl Virtual {
    pub(crate) const fn streams_max(&self) -> usize {
        self.streams.streams.limit()
    }

    pub(crate) fn set_streams_max(&mut self, streams_max: usize) -> bool {
        self.streams.ready.reserve(streams_max);
        self.streams.full_links.reserve(streams_max);
        self.streams.streams.set_limit(streams_max)
    }

    pub(crate) fn listen(&mut self, spec: &StreamSpec) -> Result<ListenerId, IoError> {
        let mut state = self.net.state();
        let port = state.streams.open_port(spec)?;
        let listener = Listener {
            port,
            readable: true,
            ready: Ready::new(),
        };
        let slot = self.streams.listeners.insert(listener, "listen on");
        if slot.is_err() {
            state.streams.close_port(port, 0);
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
        let Streams {
            listeners,
            unlistened,
            ready,
            ..
        } = &mut self.streams;
        let listener = listeners.remove(id.0, "close a listener")?;
        ready.append(unlistened, listener.ready);
        let mut state = self.net.state();
        let at_ns = state.now_ns.saturating_add(state.delay_ns);
        state.streams.close_port(listener.port, at_ns);
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
        };
        let mut state = self.net.state();
        let net = &mut state.streams;
        let streams = &mut self.streams;
        let slot = streams.streams.insert(stream, "open a connection");
        let Ok(slot) = slot else {
            net.let_go(end, 0);
            return slot.map(StreamId);
        };
        let places = streams.streams.places();
        streams.ready.grow(places);
        streams.full_links.grow(places);
        if watched {
            net.watch(end, streams.driver, slot.index());
        }
        Ok(StreamId(slot))
    }

    pub(crate) fn listener_next_ready(&mut self, id: ListenerId) -> Option<StreamId> {
        let listener = self.streams.listeners.get_mut(id.0, "accept").ok()?;
        let place = self
            .streams
            .ready
            .readable
            .pop(&mut listener.ready.readable)?;
        self.streams.id_at(place)
    }

    pub(crate) fn listener_next_writable(&mut self, id: ListenerId) -> Option<StreamId> {
        let listener = self.streams.listeners.get_mut(id.0, "accept").ok()?;
        let place = self
            .streams
            .ready
            .writable
            .pop(&mut listener.ready.writable)?;
        self.streams.id_at(place)
    }

    pub(crate) fn unlistened_next_ready(&mut self) -> Option<StreamId> {
        let Streams {
            unlistened, ready, ..
        } = &mut self.streams;
        let place = ready.readable.pop(&mut unlistened.readable)?;
        self.streams.id_at(place)
    }

    pub(crate) fn unlistened_next_writable(&mut self) -> Option<StreamId> {
        let Streams {
            unlistened, ready, ..
        } = &mut self.streams;
        let place = ready.writable.pop(&mut unlistened.writable)?;
        self.streams.id_at(place)
    }

    pub(crate) fn stream_connect(&mut self, spec: &StreamSpec) -> Result<StreamId, IoError> {
        let connected = self.net.state().streams.connect(spec);
        match connected {
            Some(end) => self.take_in(end, None, true),
            None => Err(IoError::new(IoErrorKind::ConnectionRefused, CONNECT).on(&spec.at)),
        }
    }

    pub(crate) fn stream_peer(&self, id: StreamId) -> Result<Option<SocketAddr>, IoError> {
        self.streams
            .streams
            .get(id.0, "ask who is at the other end")
            .map(|_| None)
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
        for (byte, came) in buf[..count].iter_mut().zip(end.bytes.drain(..count)) {
            *byte = came;
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
        let count = bytes.len().min(net.room(stream.end)).min(net.cuts[1]);
        let end = net.end(stream.end, WHAT)?;
        let Some(peer) = end.peer.filter(|_| !end.broken && !end.shut) else {
            return Ok(StreamWrite::Broken);
        };
        if count == 0 {
            drop(state);
            self.stream_hold(id)?;
            return Ok(StreamWrite::WouldBlock);
        }
        net.end(peer, WHAT)?.bytes.extend(&bytes[..count]);
        net.tell_peer(stream.end, Coming::Bytes(count), at_ns);
        let now_ns = state.now_ns;
        state.streams.advance(now_ns);
        Ok(StreamWrite::Bytes(count))
    }

    /// Has it as if a write had found no room: the next poll that sees room reports it.
    pub(crate) fn stream_hold(&mut self, id: StreamId) -> Result<(), IoError> {
        let streams = &mut self.streams;
        let stream = streams.streams.get_mut(id.0, "write to a connection")?;
        stream.writable = false;
        streams.full_links.push(&mut streams.full, id.place());
        Ok(())
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
        if half == Half::Both {
            net.end(stream.end, WHAT)?.ended = true;
            net.touch(stream.end);
        }
        let end = net.end(stream.end, WHAT)?;
        if !core::mem::replace(&mut end.shut, true) {
            net.tell_peer(stream.end, Coming::End, at_ns);
        }
        Ok(())
    }

    pub(crate) fn stream_close(&mut self, id: StreamId) -> Result<(), IoError> {
        let Streams {
            listeners,
            streams,
            unlistened,
            ready,
            full,
            full_links,
            ..
        } = &mut self.streams;
        let stream = streams.remove(id.0, "close a connection")?;
        let of = ready_of(listeners, unlistened, stream.listener);
        ready.remove(of, id.place());
        full_links.remove(full, id.place());
        let mut state = self.net.state();
        let at_ns = state.now_ns.saturating_add(state.delay_ns);
        if stream.watched {
            state.streams.unwatch(stream.end);
        }
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
