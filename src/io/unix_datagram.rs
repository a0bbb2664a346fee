//! Datagrams between processes of one machine: Unix datagram sockets.
//!
//! They look like UDP but for two things. An address is a path or an abstract name, so a datagram's
//! sender is not named (most have no name at all). And nothing is lost: where the receiver's queue is
//! full, sending would block (unix(7)); `net.unix.max_dgram_qlen`, 10 to 512, is how long it is.
//!
//! Invariant: a datagram that was taken arrives; what the receiver does is an answer, not an error.

use std::io;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use socket2::{Domain, Socket, Type};
use std::os::fd::AsRawFd;

use crate::io::error::{BIND, IoError, IoErrorKind};
use crate::io::socket_file::{self, SocketFile};
use crate::io::table::{Slot, Table};
use crate::io::udp_real::SKIPS_MAX;
use crate::io::{Driver, Endpoint, Real, SOCKETS_MAX, Sent, each};

/// Where the tokens of these sockets begin, behind those of connections.
const TOKENS: usize = 1 << 22;

/// A Unix datagram socket that a driver has open; means nothing to another driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UnixId(pub(crate) Slot);

/// How a Unix datagram socket is opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnixSpec {
    /// Where it receives: a path or an abstract name.
    pub bind: Option<Endpoint>,
    /// To whom it sends.
    pub connect: Option<Endpoint>,
    /// Wanted `SO_SNDBUF`, in bytes: it bounds what the sender may have under way.
    pub send_buffer_bytes: Option<usize>,
}

/// A received datagram; its bytes are in the caller's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnixDatagram {
    /// Bytes in the buffer.
    pub len: usize,
    /// It was longer than the buffer; the rest is lost. Always false off Linux.
    pub truncated: bool,
}

impl Driver {
    /// Opens a Unix datagram socket. Allocates. A file left behind by a socket that nobody has any
    /// more is replaced.
    ///
    /// # Errors
    /// The name is in use or not allowed; it is no Unix name; too many are open. That nobody has
    /// the name to send to is none: a send says so.
    pub fn unix_open(&mut self, spec: &UnixSpec) -> Result<UnixId, IoError> {
        let names = [&spec.bind, &spec.connect];
        if let Some(at @ Endpoint::Tcp(_)) = names.into_iter().flatten().next() {
            return Err(IoError::new(IoErrorKind::InvalidInput, BIND).on(at));
        }
        each!(self, driver => driver.unix_open(spec))
    }

    /// Closes a socket and removes its file. Its id is wrong from now on.
    ///
    /// # Errors
    /// A wrong id.
    pub fn unix_close(&mut self, id: UnixId) -> Result<(), IoError> {
        each!(self, driver => driver.unix_close(id))
    }

    /// Takes the next datagram into `buf`, or `None` if there is none. Never blocks, never allocates.
    ///
    /// # Errors
    /// A wrong id, or what the system said.
    #[inline]
    pub fn unix_recv(
        &mut self,
        id: UnixId,
        buf: &mut [u8],
    ) -> Result<Option<UnixDatagram>, IoError> {
        each!(self, driver => driver.unix_recv(id, buf))
    }

    /// Sends one datagram to the connected name. Never blocks, never allocates.
    ///
    /// [`Sent::WouldBlock`]: the receiver's queue is full. [`Sent::Refused`]: nobody has the name; the
    /// next send looks again.
    ///
    /// # Errors
    /// A wrong id, no name to send to, or what the system said.
    #[inline]
    pub fn unix_send(&mut self, id: UnixId, bytes: &[u8]) -> Result<Sent, IoError> {
        each!(self, driver => driver.unix_send(id, bytes))
    }

    /// Whether receiving may yield something; false for a wrong id.
    #[inline]
    #[must_use]
    pub fn unix_maybe_readable(&self, id: UnixId) -> bool {
        each!(self, driver => driver.unix_maybe_readable(id))
    }
}

#[derive(Debug)]
struct Unix {
    socket: Socket,
    connect: Option<socket2::SockAddr>,
    connected: bool,
    readable: bool,
    receives: bool,
    watched: bool,
    _file: Option<SocketFile>,
}

/// A real driver's Unix datagram sockets.
#[derive(Debug)]
pub(crate) struct UnixSockets {
    sockets: Table<Unix>,
    /// Whether there are some that the poll was not told of yet: see `stream_real`.
    untold: bool,
}

impl UnixSockets {
    pub(crate) const fn new() -> UnixSockets {
        UnixSockets {
            sockets: Table::new(SOCKETS_MAX),
            untold: false,
        }
    }

    /// Has the sockets watched that are not yet; before each poll.
    #[inline]
    pub(crate) fn watch_all(&mut self, registry: &Registry) -> io::Result<()> {
        if self.untold {
            self.watch_untold(registry)?;
        }
        Ok(())
    }

    #[cold]
    fn watch_untold(&mut self, registry: &Registry) -> io::Result<()> {
        for index in 0..self.sockets.places() {
            if let Some(unix) = self.sockets.at_mut(index)
                && unix.receives
                && !unix.watched
            {
                let fd = unix.socket.as_raw_fd();
                let token = Token(TOKENS + index);
                registry.register(&mut SourceFd(&fd), token, Interest::READABLE)?;
                unix.watched = true;
            }
        }
        self.untold = false;
        Ok(())
    }

    /// Marks the socket of that token, if there is one.
    pub(crate) fn on_event(&mut self, token: usize) -> bool {
        let at = token.checked_sub(TOKENS);
        let unix = at.and_then(|at| self.sockets.at_mut(at));
        unix.map(|unix| unix.readable = true).is_some()
    }
}

/// Whether nobody has the name.
fn is_nobody(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::NotConnected
            | io::ErrorKind::NotFound
    )
}

impl Real {
    pub(crate) fn unix_open(&mut self, spec: &UnixSpec) -> Result<UnixId, IoError> {
        const WHAT: &str = "open a socket for";
        let make = || {
            let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        let name = spec.bind.as_ref().or(spec.connect.as_ref());
        let failed = |error: io::Error| {
            let failed = IoError::from_os(&error, WHAT);
            match name {
                Some(name) => failed.on(name),
                None => failed,
            }
        };
        let socket = make().map_err(failed)?;
        if let Some(bytes) = spec.send_buffer_bytes {
            let bytes = bytes.min(i32::MAX as usize);
            socket.set_send_buffer_size(bytes).map_err(failed)?;
        }
        let file = match &spec.bind {
            Some(at) => socket_file::bind(&socket, at, make)?,
            None => None,
        };
        let connect = spec.connect.as_ref().map(socket_file::sock_addr);
        let connect = connect.transpose().map_err(failed)?;
        let connected = connect
            .as_ref()
            .is_some_and(|addr| socket.connect(addr).is_ok());
        let unix = Unix {
            socket,
            connect,
            connected,
            readable: true,
            receives: spec.bind.is_some(),
            watched: false,
            _file: file,
        };
        self.unix.untold |= unix.receives;
        self.unix.sockets.insert(unix, WHAT).map(UnixId)
    }

    pub(crate) fn unix_close(&mut self, id: UnixId) -> Result<(), IoError> {
        let unix = self.unix.sockets.remove(id.0, "close a socket")?;
        if unix.watched {
            let fd = unix.socket.as_raw_fd();
            let gone = self.poll.registry().deregister(&mut SourceFd(&fd));
            gone.map_err(|error| IoError::from_os(&error, "close a socket"))?;
        }
        Ok(())
    }

    #[inline]
    pub(crate) fn unix_recv(
        &mut self,
        id: UnixId,
        buf: &mut [u8],
    ) -> Result<Option<UnixDatagram>, IoError> {
        let unix = self.unix.sockets.get_mut(id.0, "receive")?;
        for _ in 0..SKIPS_MAX {
            match receive(&unix.socket, buf) {
                Ok(len) => {
                    return Ok(Some(UnixDatagram {
                        len: len.min(buf.len()),
                        truncated: len > buf.len(),
                    }));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    unix.readable = false;
                    return Ok(None);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted || is_nobody(&error) => {}
                Err(error) => return Err(IoError::from_os(&error, "receive")),
            }
        }
        Ok(None)
    }

    #[inline]
    pub(crate) fn unix_send(&mut self, id: UnixId, bytes: &[u8]) -> Result<Sent, IoError> {
        let unix = self.unix.sockets.get_mut(id.0, "send")?;
        let Some(to) = &unix.connect else {
            return Err(IoError::new(IoErrorKind::InvalidInput, "send"));
        };
        for _ in 0..SKIPS_MAX {
            // The name may have got another socket since, after a restart of the receiver.
            if !unix.connected {
                unix.connected = unix.socket.connect(to).is_ok();
                if !unix.connected {
                    return Ok(Sent::Refused);
                }
            }
            match unix.socket.send(bytes) {
                Ok(_) => return Ok(Sent::Yes),
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock
                        || error.raw_os_error() == Some(libc::ENOBUFS) =>
                {
                    return Ok(Sent::WouldBlock);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_nobody(&error) => unix.connected = false,
                Err(error) => return Err(IoError::from_os(&error, "send")),
            }
        }
        Ok(Sent::Refused)
    }

    #[inline]
    pub(crate) fn unix_maybe_readable(&self, id: UnixId) -> bool {
        self.unix
            .sockets
            .get(id.0, "receive")
            .is_ok_and(|unix| unix.readable)
    }
}

/// Takes one datagram: its whole length, which may exceed `buf`.
#[cfg(target_os = "linux")]
fn receive(socket: &Socket, buf: &mut [u8]) -> io::Result<usize> {
    use rustix::net::{RecvFlags, recv};
    let (_, len) = recv(socket, buf, RecvFlags::TRUNC)?;
    Ok(len)
}

/// Takes one datagram: at most `buf` of it. A cut is not seen on this system.
#[cfg(not(target_os = "linux"))]
fn receive(socket: &Socket, buf: &mut [u8]) -> io::Result<usize> {
    use std::io::Read;
    (&*socket).read(buf)
}
