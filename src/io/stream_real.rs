//! Connections on the machine's own sockets.
//!
//! Invariant: accepting allocates only until the tables have grown to the run's peak; reading and
//! writing never do.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::net::Shutdown;
use std::os::fd::AsRawFd;

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
pub(crate) use socket2::Socket;
use socket2::{Domain, Protocol, Type};

use crate::io::error::{BIND, CONNECT, IoError, IoErrorKind};
use crate::io::socket_file::{self, SocketFile};
use crate::io::stream::{Handed, LISTENERS_MAX, STREAMS_MAX};
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
    /// Connections that became readable and were not asked for yet, each at most once.
    ready: VecDeque<Slot>,
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
    /// Whether it is in its listener's list.
    queued: bool,
}

/// A driver's listeners and connections.
#[derive(Debug)]
pub(crate) struct Streams {
    listeners: Table<Listener>,
    streams: Table<Stream>,
    /// Whether there are connections that the poll was not told of yet. It is told only when it is
    /// used: a loop that never polls would pay at each message for reports that nobody reads.
    untold: bool,
}

impl Streams {
    pub(crate) const fn new() -> Streams {
        Streams {
            listeners: Table::new(LISTENERS_MAX),
            streams: Table::new(STREAMS_MAX),
            untold: false,
        }
    }

    /// Has the connections watched that are not yet; before each poll.
    #[inline]
    pub(crate) fn watch_all(&mut self, registry: &Registry) -> io::Result<()> {
        if self.untold {
            self.watch_untold(registry)?;
        }
        Ok(())
    }

    #[cold]
    fn watch_untold(&mut self, registry: &Registry) -> io::Result<()> {
        for index in 0..self.streams.places() {
            if let Some((slot, stream)) = self.streams.slot_at_mut(index)
                && stream.interest.is_none()
            {
                stream.watch(registry, slot, stream.connecting)?;
            }
        }
        self.untold = false;
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
                let Some((slot, stream)) = self.streams.slot_at_mut(token - STREAM_TOKENS) else {
                    return false;
                };
                stream.writable |= event.is_writable() || event.is_error();
                // An end and an error are found by reading.
                if event.is_readable() || event.is_read_closed() || event.is_error() {
                    stream.readable = true;
                    if let Some(listener) = stream.listener
                        && !stream.queued
                        && let Ok(listener) = self.listeners.get_mut(listener, "poll")
                    {
                        stream.queued = true;
                        listener.ready.push_back(slot);
                    }
                }
                true
            }
            _ => false,
        }
    }
}

impl Stream {
    /// Tells the poll what to report, if that is new: readable where it is watched, writable only
    /// while something could not be written.
    fn watch(&mut self, registry: &Registry, slot: Slot, write: bool) -> io::Result<()> {
        let read = self.watched.then_some(Interest::READABLE);
        let write = write.then_some(Interest::WRITABLE);
        let wanted = match (read, write) {
            (Some(read), Some(write)) => Some(read.add(write)),
            (one, other) => one.or(other),
        };
        if wanted == self.interest {
            return Ok(());
        }
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
            ready: VecDeque::with_capacity(STREAMS_MAX),
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
            let nodelay = listener.nodelay;
            let prepare = || {
                socket.set_nonblocking(true)?;
                if nodelay {
                    socket.set_tcp_nodelay(true)?;
                }
                Ok(())
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
            queued: false,
        };
        let slot = self.streams.streams.insert(stream, WHAT)?;
        self.streams.untold |= watched;
        Ok(StreamId(slot))
    }

    #[inline]
    pub(crate) fn listener_next_ready(&mut self, id: ListenerId) -> Option<StreamId> {
        let Streams {
            listeners, streams, ..
        } = &mut self.streams;
        let listener = listeners.get_mut(id.0, "accept").ok()?;
        let slot = listener.ready.pop_front()?;
        if let Ok(stream) = streams.get_mut(slot, "accept") {
            stream.queued = false;
        }
        Some(StreamId(slot))
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
            listeners, streams, ..
        } = &mut self.streams;
        let stream = streams.remove(id.0, WHAT)?;
        if stream.queued
            && let Some(listener) = stream.listener
            && let Ok(listener) = listeners.get_mut(listener, WHAT)
        {
            listener.ready.retain(|slot| *slot != id.0);
        }
        if stream.interest.is_some() {
            let fd = stream.socket.as_raw_fd();
            let gone = self.poll.registry().deregister(&mut SourceFd(&fd));
            gone.map_err(|error| IoError::from_os(&error, WHAT))?;
        }
        Ok(())
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
