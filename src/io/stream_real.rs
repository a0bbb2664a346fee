//! Connections on the machine's own sockets.
//!
//! Invariant: accepting allocates only until the tables have grown to the run's peak; reading and
//! writing never do.

use std::io::{self, Read};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsRawFd;

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
pub(crate) use socket2::Socket;
use socket2::{Domain, Protocol, Type};

use crate::base::limits::{STREAMS_DEFAULT, STREAMS_MAX};
use crate::io::error::{BIND, CONNECT, IoError, IoErrorKind};
use crate::io::ready::{Chain, Links, Ready, ReadyLinks};
use crate::io::socket_file::{self, SocketFile};
use crate::io::stream::{Handed, LISTENERS_MAX};
use crate::io::table::{Slot, Table};
use crate::io::udp_real::SKIPS_MAX;
use crate::io::{
    Endpoint, Half, HandedStream, ListenerId, Real, StreamId, StreamRead, StreamSpec, StreamWrite,
};

/// Where the tokens of listeners begin; below it are the datagram sockets.
const LISTENER_TOKENS: usize = 1 << 20;
/// Where the tokens of connections begin.
const STREAM_TOKENS: usize = 1 << 21;
/// Behind the last of them.
const TOKENS_END: usize = STREAM_TOKENS + STREAMS_MAX;

const _: () = assert!(crate::io::SOCKETS_MAX <= LISTENER_TOKENS);
const _: () = assert!(LISTENER_TOKENS + LISTENERS_MAX <= STREAM_TOKENS);

#[derive(Debug)]
struct Listener {
    socket: Socket,
    at: Endpoint,
    readable: bool,
    nodelay: bool,
    notsent_lowat: Option<u32>,
    /// Its connections that something came of and that were not asked for yet.
    ready: Ready,
    /// Removed with the listener.
    _file: Option<SocketFile>,
}

#[derive(Debug)]
struct Stream {
    socket: Socket,
    readable: bool,
    writable: bool,
    connecting: bool,
    /// Whether a poll reports what can be read.
    watched: bool,
    /// What the poll reports now.
    interest: Option<Interest>,
    /// Who accepted it.
    listener: Option<Slot>,
}

/// A driver's listeners and connections.
#[derive(Debug)]
pub(crate) struct Streams {
    listeners: Table<Listener>,
    streams: Table<Stream>,
    /// Of connections that have no listener, or none any more.
    unlistened: Ready,
    ready: ReadyLinks,
    /// Connections that the poll was not told of yet. It is told only when it is used: a loop that
    /// never polls would pay at each message for reports that nobody reads.
    untold: Chain,
    untold_links: Links,
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
    pub(crate) const fn new() -> Streams {
        Streams {
            listeners: Table::new(LISTENERS_MAX),
            streams: Table::new(STREAMS_DEFAULT),
            unlistened: Ready::new(),
            ready: ReadyLinks::new(),
            untold: Chain::new(),
            untold_links: Links::new(),
        }
    }

    pub(crate) const fn limit(&self) -> usize {
        self.streams.limit()
    }

    /// Has room for so many connections; false if there are more already.
    pub(crate) fn set_limit(&mut self, streams_max: usize) -> bool {
        self.ready.reserve(streams_max);
        self.untold_links.reserve(streams_max);
        self.streams.set_limit(streams_max)
    }

    /// Has the connections watched that are not yet; before each poll.
    #[inline]
    pub(crate) fn watch_all(&mut self, registry: &Registry) -> io::Result<()> {
        if !self.untold.is_empty() {
            self.watch_untold(registry)?;
        }
        Ok(())
    }

    #[cold]
    fn watch_untold(&mut self, registry: &Registry) -> io::Result<()> {
        while let Some(place) = self.untold_links.pop(&mut self.untold) {
            if let Some((slot, stream)) = self.streams.slot_at_mut(place)
                && stream.interest.is_none()
                && let Err(error) = stream.watch(registry, slot, stream.connecting)
            {
                // What the system refuses now it may grant at the next poll.
                self.untold_links.push(&mut self.untold, place);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Takes a poll's event, if its token is one of these; true if something may be done now.
    pub(crate) fn on_event(&mut self, event: &Event) -> bool {
        match event.token().0 {
            token @ LISTENER_TOKENS..STREAM_TOKENS => {
                let listener = self.listeners.at_mut(token - LISTENER_TOKENS);
                listener.map(|listener| listener.readable = true).is_some()
            }
            token @ STREAM_TOKENS..TOKENS_END => {
                let place = token - STREAM_TOKENS;
                let Some(stream) = self.streams.at_mut(place) else {
                    return false;
                };
                // An end and an error are found by reading.
                let reads = event.is_readable() || event.is_read_closed() || event.is_error();
                let writes = event.is_writable() || event.is_error();
                // A connection that comes to stand can be written to.
                let again = writes && (!stream.writable || stream.connecting);
                stream.readable |= reads;
                stream.writable |= writes;
                if reads || again {
                    let listener = stream.listener;
                    let of = ready_of(&mut self.listeners, &mut self.unlistened, listener);
                    if reads {
                        self.ready.readable.push(&mut of.readable, place);
                    }
                    if again {
                        self.ready.writable.push(&mut of.writable, place);
                    }
                }
                true
            }
            _ => false,
        }
    }

    /// The id of a place that was on a list, where only what is open is.
    fn id_at(&mut self, place: usize) -> Option<StreamId> {
        self.streams
            .slot_at_mut(place)
            .map(|(slot, _)| StreamId(slot))
    }
}

impl Stream {
    fn wanted(&self, write: bool) -> Option<Interest> {
        let read = self.watched.then_some(Interest::READABLE);
        let write = write.then_some(Interest::WRITABLE);
        match (read, write) {
            (Some(read), Some(write)) => Some(read.add(write)),
            (one, other) => one.or(other),
        }
    }

    /// Tells the poll what to report, if that is new: readable where it is watched, writable only
    /// while something could not be written.
    fn watch(&mut self, registry: &Registry, slot: Slot, write: bool) -> io::Result<()> {
        let wanted = self.wanted(write);
        if wanted == self.interest {
            return Ok(());
        }
        self.tell(registry, slot, wanted)
    }

    fn tell(
        &mut self,
        registry: &Registry,
        slot: Slot,
        wanted: Option<Interest>,
    ) -> io::Result<()> {
        let fd = self.socket.as_raw_fd();
        let (mut source, token) = (SourceFd(&fd), Token(STREAM_TOKENS + slot.index()));
        match (self.interest, wanted) {
            (None, Some(wanted)) => registry.register(&mut source, token, wanted)?,
            (Some(_), Some(wanted)) => registry.reregister(&mut source, token, wanted)?,
            (_, None) => registry.deregister(&mut source)?,
        }
        self.interest = wanted;
        Ok(())
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected
            | io::ErrorKind::TimedOut
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::ConnectionRefused
    )
}

/// Whether a connection waits. Accepting finds out too, but makes a socket first: microseconds where
/// this takes a fraction of one, and a source asks often.
fn waits(listener: &Socket) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let mut ask = [PollFd::new(listener, PollFlags::IN)];
    // What fails here fails with its reason when it is accepted.
    poll(&mut ask, Some(&now)) != Ok(0)
}

/// What a spec says of bytes that are not sent, where that has a meaning.
fn notsent_lowat(spec: &StreamSpec) -> Option<u32> {
    let bytes = spec.notsent_lowat_bytes.filter(|bytes| *bytes > 0)?;
    let bytes = i32::try_from(bytes).unwrap_or(i32::MAX);
    matches!(spec.at, Endpoint::Tcp(_)).then_some(bytes.cast_unsigned())
}

#[cfg(target_os = "linux")]
fn set_notsent_lowat(socket: &Socket, bytes: Option<u32>) -> io::Result<()> {
    bytes.map_or(Ok(()), |bytes| socket.set_tcp_notsent_lowat(bytes))
}

/// Other systems are left at what they do.
#[cfg(not(target_os = "linux"))]
fn set_notsent_lowat(_socket: &Socket, _bytes: Option<u32>) -> io::Result<()> {
    Ok(())
}

/// A socket for this place that does not block, with its options.
fn open(spec: &StreamSpec, what: &'static str) -> Result<Socket, IoError> {
    let make = || {
        let (domain, protocol) = match &spec.at {
            Endpoint::Tcp(addr) => (Domain::for_address(*addr), Some(Protocol::TCP)),
            Endpoint::Path(_) | Endpoint::Abstract(_) => (Domain::UNIX, None),
        };
        let socket = Socket::new(domain, Type::STREAM, protocol)?;
        socket.set_nonblocking(true)?;
        if let Some(bytes) = spec.recv_buffer_bytes {
            socket.set_recv_buffer_size(bytes.min(i32::MAX as usize))?;
        }
        if let Some(bytes) = spec.send_buffer_bytes {
            socket.set_send_buffer_size(bytes.min(i32::MAX as usize))?;
        }
        set_notsent_lowat(&socket, notsent_lowat(spec))?;
        Ok(socket)
    };
    make().map_err(|error: io::Error| IoError::from_os(&error, what).on(&spec.at))
}

impl Real {
    pub(crate) fn listen(&mut self, spec: &StreamSpec) -> Result<ListenerId, IoError> {
        const WHAT: &str = "listen on";
        let failed = |error: io::Error| IoError::from_os(&error, WHAT).on(&spec.at);
        let socket = open(spec, WHAT)?;
        let file = if let Endpoint::Tcp(addr) = &spec.at {
            // A restart must not wait for the old connections' TIME_WAIT (RFC 9293, 3.6.1).
            socket.set_reuse_address(true).map_err(failed)?;
            socket
                .bind(&(*addr).into())
                .map_err(|error| IoError::from_os(&error, BIND).on(&spec.at))?;
            None
        } else {
            socket_file::bind(&socket, &spec.at, || {
                let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
                probe.set_nonblocking(true)?;
                Ok(probe)
            })?
        };
        let backlog = i32::try_from(spec.backlog).unwrap_or(i32::MAX);
        socket.listen(backlog).map_err(failed)?;
        let fd = socket.as_raw_fd();
        let listener = Listener {
            socket,
            at: spec.at.clone(),
            readable: true,
            nodelay: spec.nodelay && matches!(spec.at, Endpoint::Tcp(_)),
            notsent_lowat: notsent_lowat(spec),
            ready: Ready::new(),
            _file: file,
        };
        let slot = self.streams.listeners.insert(listener, WHAT)?;
        let token = Token(LISTENER_TOKENS + slot.index());
        let registered =
            self.poll
                .registry()
                .register(&mut SourceFd(&fd), token, Interest::READABLE);
        if let Err(error) = registered {
            self.streams.listeners.remove(slot, WHAT)?;
            return Err(failed(error));
        }
        Ok(ListenerId(slot))
    }

    pub(crate) fn listener_endpoint(&self, id: ListenerId) -> Result<Endpoint, IoError> {
        const WHAT: &str = "ask a listener for its address";
        let listener = self.streams.listeners.get(id.0, WHAT)?;
        let addr = listener.socket.local_addr();
        let addr = addr.map_err(|error| IoError::from_os(&error, WHAT))?;
        Ok(match addr.as_socket() {
            Some(addr) => Endpoint::Tcp(addr),
            None => listener.at.clone(),
        })
    }

    pub(crate) fn listener_close(&mut self, id: ListenerId) -> Result<(), IoError> {
        const WHAT: &str = "close a listener";
        let listener = self.streams.listeners.remove(id.0, WHAT)?;
        let Streams {
            unlistened, ready, ..
        } = &mut self.streams;
        ready.append(unlistened, listener.ready);
        let fd = listener.socket.as_raw_fd();
        let gone = self.poll.registry().deregister(&mut SourceFd(&fd));
        gone.map_err(|error| IoError::from_os(&error, WHAT))
    }

    #[inline]
    pub(crate) fn listener_maybe_readable(&self, id: ListenerId) -> bool {
        let listener = self.streams.listeners.get(id.0, "accept");
        listener.is_ok_and(|listener| listener.readable)
    }

    pub(crate) fn accept(&mut self, id: ListenerId) -> Result<Option<StreamId>, IoError> {
        const WHAT: &str = "accept";
        for _ in 0..SKIPS_MAX {
            let listener = self.streams.listeners.get_mut(id.0, WHAT)?;
            if !waits(&listener.socket) {
                listener.readable = false;
                return Ok(None);
            }
            let socket = match listener.socket.accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    listener.readable = false;
                    return Ok(None);
                }
                // Errors of a connection that has gone again: accept(2) passes them on.
                Err(error) if error.kind() == io::ErrorKind::Interrupted || is_gone(&error) => {
                    continue;
                }
                Err(error) => return Err(IoError::from_os(&error, WHAT)),
            };
            let (nodelay, lowat) = (listener.nodelay, listener.notsent_lowat);
            let prepare = || {
                socket.set_nonblocking(true)?;
                if nodelay {
                    socket.set_tcp_nodelay(true)?;
                }
                set_notsent_lowat(&socket, lowat)
            };
            match prepare() {
                Ok(()) => return self.take_in(socket, Some(id.0), true, false).map(Some),
                Err(error) if is_gone(&error) || error.kind() == io::ErrorKind::InvalidInput => {}
                Err(error) => return Err(IoError::from_os(&error, WHAT)),
            }
        }
        Ok(None)
    }

    /// Takes a socket into the table; the next poll has it watched.
    fn take_in(
        &mut self,
        socket: Socket,
        listener: Option<Slot>,
        watched: bool,
        connecting: bool,
    ) -> Result<StreamId, IoError> {
        const WHAT: &str = "open a connection";
        let stream = Stream {
            socket,
            readable: watched,
            writable: true,
            connecting,
            watched,
            interest: None,
            listener,
        };
        let streams = &mut self.streams;
        let slot = streams.streams.insert(stream, WHAT)?;
        let places = streams.streams.places();
        streams.ready.grow(places);
        streams.untold_links.grow(places);
        if watched {
            streams.untold_links.push(&mut streams.untold, slot.index());
        }
        Ok(StreamId(slot))
    }

    #[inline]
    pub(crate) fn listener_next_ready(&mut self, id: ListenerId) -> Option<StreamId> {
        let listener = self.streams.listeners.get_mut(id.0, "accept").ok()?;
        let place = self
            .streams
            .ready
            .readable
            .pop(&mut listener.ready.readable)?;
        self.streams.id_at(place)
    }

    #[inline]
    pub(crate) fn listener_next_writable(&mut self, id: ListenerId) -> Option<StreamId> {
        let listener = self.streams.listeners.get_mut(id.0, "accept").ok()?;
        let place = self
            .streams
            .ready
            .writable
            .pop(&mut listener.ready.writable)?;
        self.streams.id_at(place)
    }

    #[inline]
    pub(crate) fn unlistened_next_ready(&mut self) -> Option<StreamId> {
        let Streams {
            unlistened, ready, ..
        } = &mut self.streams;
        let place = ready.readable.pop(&mut unlistened.readable)?;
        self.streams.id_at(place)
    }

    #[inline]
    pub(crate) fn unlistened_next_writable(&mut self) -> Option<StreamId> {
        let Streams {
            unlistened, ready, ..
        } = &mut self.streams;
        let place = ready.writable.pop(&mut unlistened.writable)?;
        self.streams.id_at(place)
    }

    pub(crate) fn stream_connect(&mut self, spec: &StreamSpec) -> Result<StreamId, IoError> {
        const WHAT: &str = CONNECT;
        let failed = |error: io::Error| IoError::from_os(&error, WHAT).on(&spec.at);
        let socket = open(spec, WHAT)?;
        if spec.nodelay && matches!(spec.at, Endpoint::Tcp(_)) {
            socket.set_tcp_nodelay(true).map_err(failed)?;
        }
        let addr = socket_file::sock_addr(&spec.at).map_err(failed)?;
        let connecting = match socket.connect(&addr) {
            Ok(()) => false,
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => true,
            Err(error) => return Err(failed(error)),
        };
        self.take_in(socket, None, true, connecting)
    }

    pub(crate) fn stream_peer(&self, id: StreamId) -> Result<Option<SocketAddr>, IoError> {
        const WHAT: &str = "ask who is at the other end";
        let stream = self.streams.streams.get(id.0, WHAT)?;
        let peer = stream.socket.peer_addr();
        let peer = peer.map_err(|error| IoError::from_os(&error, WHAT))?;
        Ok(peer.as_socket())
    }

    pub(crate) fn stream_connected(&mut self, id: StreamId) -> Result<bool, IoError> {
        const WHAT: &str = "connect";
        let stream = self.streams.streams.get_mut(id.0, WHAT)?;
        if !stream.connecting {
            return Ok(true);
        }
        let failed = |error: io::Error| IoError::from_os(&error, WHAT);
        if let Some(error) = stream.socket.take_error().map_err(failed)? {
            return Err(failed(error));
        }
        match stream.socket.peer_addr() {
            Ok(_) => {
                stream.connecting = false;
                (stream.readable, stream.writable) = (true, true);
                stream
                    .watch(self.poll.registry(), id.0, false)
                    .map_err(failed)?;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }

    #[inline]
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
        for _ in 0..SKIPS_MAX {
            match (&stream.socket).read(buf) {
                Ok(0) => return Ok(StreamRead::End),
                Ok(count) => return Ok(StreamRead::Bytes(count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    stream.readable = false;
                    return Ok(StreamRead::WouldBlock);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_gone(&error) => return Ok(StreamRead::Reset),
                Err(error) => return Err(IoError::from_os(&error, WHAT)),
            }
        }
        Err(IoError::new(IoErrorKind::Interrupted, WHAT))
    }

    #[inline]
    pub(crate) fn stream_write(
        &mut self,
        id: StreamId,
        bytes: &[u8],
    ) -> Result<StreamWrite, IoError> {
        const WHAT: &str = "write to a connection";
        // A peer that is gone is an answer and no signal, whatever the process thinks of SIGPIPE.
        #[cfg(target_os = "linux")]
        const FLAGS: i32 = libc::MSG_NOSIGNAL;
        #[cfg(not(target_os = "linux"))]
        const FLAGS: i32 = 0;
        let stream = self.streams.streams.get_mut(id.0, WHAT)?;
        if bytes.is_empty() {
            return Err(IoError::new(IoErrorKind::InvalidInput, WHAT));
        }
        for _ in 0..SKIPS_MAX {
            match stream.socket.send_with_flags(bytes, FLAGS) {
                Ok(count) => {
                    // Reports of writable end with the last byte that had to wait.
                    let reported = stream.interest.is_some_and(Interest::is_writable);
                    if count == bytes.len() && reported {
                        stream.writable = true;
                        let registry = self.poll.registry();
                        let watched = stream.watch(registry, id.0, false);
                        watched.map_err(|error| IoError::from_os(&error, WHAT))?;
                    }
                    return Ok(StreamWrite::Bytes(count));
                }
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock
                        || error.raw_os_error() == Some(libc::ENOBUFS) =>
                {
                    stream.writable = false;
                    let watched = stream.watch(self.poll.registry(), id.0, true);
                    watched.map_err(|error| IoError::from_os(&error, WHAT))?;
                    return Ok(StreamWrite::WouldBlock);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_gone(&error) => return Ok(StreamWrite::Broken),
                Err(error) => return Err(IoError::from_os(&error, WHAT)),
            }
        }
        Err(IoError::new(IoErrorKind::Interrupted, WHAT))
    }

    #[inline]
    pub(crate) fn stream_maybe_readable(&self, id: StreamId) -> bool {
        let stream = self.streams.streams.get(id.0, "read");
        stream.is_ok_and(|stream| stream.readable)
    }

    #[inline]
    pub(crate) fn stream_maybe_writable(&self, id: StreamId) -> bool {
        let stream = self.streams.streams.get(id.0, "write");
        stream.is_ok_and(|stream| stream.writable)
    }

    pub(crate) fn stream_shutdown(&mut self, id: StreamId, half: Half) -> Result<(), IoError> {
        let stream = self.streams.streams.get(id.0, "end a connection")?;
        let how = match half {
            Half::Write => Shutdown::Write,
            Half::Both => Shutdown::Both,
        };
        // It fails only where the peer has ended it before.
        let _ = stream.socket.shutdown(how);
        Ok(())
    }

    pub(crate) fn stream_close(&mut self, id: StreamId) -> Result<(), IoError> {
        const WHAT: &str = "close a connection";
        let Streams {
            listeners,
            streams,
            unlistened,
            ready,
            untold,
            untold_links,
        } = &mut self.streams;
        let stream = streams.remove(id.0, WHAT)?;
        let of = ready_of(listeners, unlistened, stream.listener);
        ready.remove(of, id.place());
        untold_links.remove(untold, id.place());
        if stream.interest.is_some() {
            let fd = stream.socket.as_raw_fd();
            let gone = self.poll.registry().deregister(&mut SourceFd(&fd));
            gone.map_err(|error| IoError::from_os(&error, WHAT))?;
        }
        Ok(())
    }

    /// Has it as if a write had found no room: the next poll that sees room reports it.
    pub(crate) fn stream_hold(&mut self, id: StreamId) -> Result<(), IoError> {
        const WHAT: &str = "write to a connection";
        let stream = self.streams.streams.get_mut(id.0, WHAT)?;
        stream.writable = false;
        // Told anew even where it is told: only that has room reported which was there before.
        let wanted = stream.wanted(true);
        let told = stream.tell(self.poll.registry(), id.0, wanted);
        told.map_err(|error| IoError::from_os(&error, WHAT))
    }

    pub(crate) fn stream_hand_over(&self, id: StreamId) -> Result<HandedStream, IoError> {
        const WHAT: &str = "share a connection";
        let socket = self.streams.streams.get(id.0, WHAT)?.socket.try_clone();
        let socket = socket.map_err(|error| IoError::from_os(&error, WHAT))?;
        Ok(HandedStream(Handed::Real(socket)))
    }

    pub(crate) fn stream_adopt(&mut self, handed: HandedStream) -> Result<StreamId, IoError> {
        match handed.0 {
            Handed::Real(socket) => self.take_in(socket, None, false, false),
            Handed::Virtual(_) => Err(IoError::new(
                IoErrorKind::InvalidInput,
                "share a connection",
            )),
        }
    }
}
