//! Connections: TCP, and Unix sockets by a path or an abstract name, through the same calls.
//!
//! Nothing here blocks. A connection is *marked* readable from its beginning or a poll's report
//! until reading it would block, and writable until writing would; a poll reports each change once.
//! The driver asks the system for reports of *writable* only while something could not be written.
//!
//! A listener keeps a list of its connections that became readable
//! ([`Driver::listener_next_ready`]) and one of those that became writable again
//! ([`Driver::listener_next_writable`]), so that who has thousands of them looks at those that
//! something came of. Connections without a listener have lists of their own
//! ([`Driver::unlistened_next_ready`]). A connection is on each list at most once, and on none once
//! it is closed, so they are bounded also where nobody asks for them.
//!
//! Invariant: what the peer does (closes, resets, never reads) is an answer, not an error.

use core::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::base::limits::{STREAMS_MAX, UNIX_NAME_BYTES_MAX};
use crate::io::error::{IoError, IoErrorKind};
use crate::io::table::Slot;
use crate::io::{Driver, each, stream_real, stream_virtual};

/// Most listeners one driver opens: as many as it opens datagram sockets, for the same reason.
pub const LISTENERS_MAX: usize = crate::io::SOCKETS_MAX;

/// A connection that a driver has; means nothing to another driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamId(pub(crate) Slot);

impl StreamId {
    /// Its place among the driver's connections, below [`Driver::streams_max`]; given out again once
    /// it is closed.
    #[inline]
    #[must_use]
    pub const fn place(self) -> usize {
        self.0.index()
    }
}

/// A socket that listens; means nothing to another driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerId(pub(crate) Slot);

/// Where a connection leads, or a datagram socket of this machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// TCP, by address and port.
    Tcp(SocketAddr),
    /// A Unix socket by its file. At most [`UNIX_NAME_BYTES_MAX`] bytes.
    Path(PathBuf),
    /// A Unix socket by a name without a file, which vanishes with its socket. Linux only; written
    /// with a leading `@`.
    Abstract(String),
}

impl Endpoint {
    /// A Unix socket as people write it: `@name` is an abstract name, all else a path.
    ///
    /// `None` if it is empty, has a zero byte or is longer than [`UNIX_NAME_BYTES_MAX`].
    ///
    /// ```
    /// use hopline::io::Endpoint;
    /// assert_eq!(Endpoint::unix("@feed"), Some(Endpoint::Abstract("feed".into())));
    /// assert_eq!(Endpoint::unix("feed.sock"), Some(Endpoint::Path("feed.sock".into())));
    /// assert_eq!(Endpoint::unix(""), None);
    /// ```
    #[must_use]
    pub fn unix(text: &str) -> Option<Endpoint> {
        let name = text.strip_prefix('@').unwrap_or(text);
        if name.is_empty() || name.len() > UNIX_NAME_BYTES_MAX || name.contains('\0') {
            return None;
        }
        Some(match text.strip_prefix('@') {
            Some(name) => Endpoint::Abstract(name.to_owned()),
            None => Endpoint::Path(PathBuf::from(text)),
        })
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(addr: SocketAddr) -> Endpoint {
        Endpoint::Tcp(addr)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp(addr) => addr.fmt(f),
            Endpoint::Path(path) => path.display().fmt(f),
            Endpoint::Abstract(name) => write!(f, "@{name}"),
        }
    }
}

/// How a listener or a connection is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSpec {
    /// Where it listens or connects to; port 0 lets the system choose.
    pub at: Endpoint,
    /// `TCP_NODELAY`: what is written leaves at once. On unless switched off; without it a small
    /// message waits for the acknowledgement of the one before (RFC 896).
    pub nodelay: bool,
    /// Wanted `SO_RCVBUF`, in bytes; accepted connections have their listener's.
    pub recv_buffer_bytes: Option<usize>,
    /// Wanted `SO_SNDBUF`, in bytes.
    pub send_buffer_bytes: Option<usize>,
    /// `TCP_NOTSENT_LOWAT`, in bytes: writing finds no room while so many, or more, of what was written
    /// before have not been sent, and a poll reports room once it is half of that. Accepted
    /// connections have their listener's. `None` and 0 are the system's own bound, which is the send
    /// buffer, and with it the megabytes of which the writer can take nothing back. What was sent and
    /// not acknowledged does not count, so throughput stays. Of TCP on Linux only (tcp(7)).
    pub notsent_lowat_bytes: Option<usize>,
    /// Connections that wait to be accepted; the system may allow fewer (`net.core.somaxconn`).
    pub backlog: u32,
}

/// Connections that wait for a listener that says nothing else: Linux's default limit.
const BACKLOG_DEFAULT: u32 = 4096;

impl StreamSpec {
    /// At `at`, without delay, with the system's buffers.
    #[must_use]
    pub fn at(at: impl Into<Endpoint>) -> StreamSpec {
        StreamSpec {
            at: at.into(),
            nodelay: true,
            recv_buffer_bytes: None,
            send_buffer_bytes: None,
            notsent_lowat_bytes: None,
            backlog: BACKLOG_DEFAULT,
        }
    }
}

/// What reading a connection came to.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamRead {
    /// So many bytes, at least one.
    Bytes(usize),
    /// Nothing now: the connection is no longer marked readable.
    WouldBlock,
    /// The peer writes no more; it may still read.
    End,
    /// The connection broke off.
    Reset,
}

/// What writing to a connection came to.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamWrite {
    /// So many of the bytes, at least one.
    Bytes(usize),
    /// No room now: the connection is no longer marked writable, and a poll reports when it is.
    WouldBlock,
    /// The peer reads no more, or the connection broke off.
    Broken,
}

/// Which half of a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// Nothing more is written: the peer reads an end.
    Write,
    /// Neither written nor read: whoever has this connection too sees its end.
    Both,
}

/// A second handle of a connection on its way to another driver of the same kind.
#[derive(Debug)]
pub struct HandedStream(pub(crate) Handed);

#[derive(Debug)]
pub(crate) enum Handed {
    Real(stream_real::Socket),
    Virtual(stream_virtual::HeldEnd),
}

impl Driver {
    /// The same driver with room for that many connections, instead of
    /// [`STREAMS_DEFAULT`](crate::base::limits::STREAMS_DEFAULT): at most [`STREAMS_MAX`]. Allocates
    /// for all of them, some 100 bytes each, so that opening one does not.
    ///
    /// ```
    /// use hopline::io::{Driver, Virtual};
    /// let driver = Driver::from(Virtual::new()).with_streams_max(10_000)?;
    /// assert_eq!(driver.streams_max(), 10_000);
    /// # Ok::<(), hopline::io::IoError>(())
    /// ```
    ///
    /// # Errors
    /// [`IoErrorKind::InvalidInput`] for none, for more than [`STREAMS_MAX`], or for fewer than it has
    /// had at once.
    pub fn with_streams_max(mut self, streams_max: usize) -> Result<Driver, IoError> {
        let allowed = (1..=STREAMS_MAX).contains(&streams_max);
        match allowed && each!(&mut self, driver => driver.set_streams_max(streams_max)) {
            true => Ok(self),
            false => Err(IoError::new(IoErrorKind::InvalidInput, "have room for")
                .on(&format_args!("{streams_max} connections"))),
        }
    }

    /// Most connections that it has at once.
    #[must_use]
    pub fn streams_max(&self) -> usize {
        each!(self, driver => driver.streams_max())
    }

    /// Listens. Allocates.
    ///
    /// A file left behind by a socket that nobody has any more is replaced; any other file, and a
    /// socket that answers, are left alone.
    ///
    /// # Errors
    /// The address is in use, not of this machine or not allowed; too many are open.
    pub fn listen(&mut self, spec: &StreamSpec) -> Result<ListenerId, IoError> {
        each!(self, driver => driver.listen(spec))
    }

    /// Where it listens, with the port that the system chose.
    ///
    /// # Errors
    /// A wrong id.
    pub fn listener_endpoint(&self, id: ListenerId) -> Result<Endpoint, IoError> {
        each!(self, driver => driver.listener_endpoint(id))
    }

    /// Stops listening, and removes the socket's file. Connections stay, without a listener. Its id is
    /// wrong from now on.
    ///
    /// # Errors
    /// A wrong id.
    pub fn listener_close(&mut self, id: ListenerId) -> Result<(), IoError> {
        each!(self, driver => driver.listener_close(id))
    }

    /// Whether accepting may yield something; false for a wrong id.
    #[inline]
    #[must_use]
    pub fn listener_maybe_readable(&self, id: ListenerId) -> bool {
        each!(self, driver => driver.listener_maybe_readable(id))
    }

    /// Takes the next connection, or `None` if none waits. Never blocks. Allocates only until the
    /// tables of connections have grown to the run's peak, at most [`Driver::streams_max`].
    ///
    /// # Errors
    /// A wrong id; too many are open; what the system said. A peer that has gone again is skipped.
    pub fn accept(&mut self, id: ListenerId) -> Result<Option<StreamId>, IoError> {
        each!(self, driver => driver.accept(id))
    }

    /// The next connection of this listener that became readable since it was asked for last.
    #[inline]
    pub fn listener_next_ready(&mut self, id: ListenerId) -> Option<StreamId> {
        each!(self, driver => driver.listener_next_ready(id))
    }

    /// The next connection of this listener that became writable again, after a write that found no
    /// room, since it was asked for last.
    #[inline]
    pub fn listener_next_writable(&mut self, id: ListenerId) -> Option<StreamId> {
        each!(self, driver => driver.listener_next_writable(id))
    }

    /// The next connection without a listener that became readable since it was asked for last: one
    /// that this driver connected, or whose listener was closed.
    #[inline]
    pub fn unlistened_next_ready(&mut self) -> Option<StreamId> {
        each!(self, driver => driver.unlistened_next_ready())
    }

    /// The next connection without a listener that became writable again, or that was connecting and
    /// has come to something ([`Driver::stream_connected`]), since it was asked for last.
    #[inline]
    pub fn unlistened_next_writable(&mut self) -> Option<StreamId> {
        each!(self, driver => driver.unlistened_next_writable())
    }

    /// Begins to connect; [`Driver::stream_connected`] says what came of it. Never blocks.
    ///
    /// # Errors
    /// What is known at once: a Unix socket that nobody has, an address that makes no sense, too
    /// many are open.
    pub fn stream_connect(&mut self, spec: &StreamSpec) -> Result<StreamId, IoError> {
        each!(self, driver => driver.stream_connect(spec))
    }

    /// Whether a connection that was begun stands; false as long as that is not known.
    ///
    /// # Errors
    /// Why it came to nothing; a wrong id. It is still to be closed.
    pub fn stream_connected(&mut self, id: StreamId) -> Result<bool, IoError> {
        each!(self, driver => driver.stream_connected(id))
    }

    /// Who is at the other end of a connection over TCP; `None` for one of this machine, and for one in memory.
    ///
    /// # Errors
    /// A wrong id, or what the system said: the peer may have gone.
    pub fn stream_peer(&self, id: StreamId) -> Result<Option<SocketAddr>, IoError> {
        each!(self, driver => driver.stream_peer(id))
    }

    /// Reads into `buf`, which must not be empty. Never blocks, never allocates.
    ///
    /// # Errors
    /// A wrong id, an empty `buf`, or what the system said.
    #[inline]
    pub fn stream_read(&mut self, id: StreamId, buf: &mut [u8]) -> Result<StreamRead, IoError> {
        each!(self, driver => driver.stream_read(id, buf))
    }

    /// Writes `bytes`, of which there must be some, or the first part of them. Never blocks, never
    /// allocates.
    ///
    /// # Errors
    /// A wrong id, no `bytes`, or what the system said.
    #[inline]
    pub fn stream_write(&mut self, id: StreamId, bytes: &[u8]) -> Result<StreamWrite, IoError> {
        each!(self, driver => driver.stream_write(id, bytes))
    }

    /// Whether reading may yield something; false for a wrong id.
    #[inline]
    #[must_use]
    pub fn stream_maybe_readable(&self, id: StreamId) -> bool {
        each!(self, driver => driver.stream_maybe_readable(id))
    }

    /// Whether writing may succeed; false for a wrong id.
    #[inline]
    #[must_use]
    pub fn stream_maybe_writable(&self, id: StreamId) -> bool {
        each!(self, driver => driver.stream_maybe_writable(id))
    }

    /// Ends a half of a connection, for all who have it.
    ///
    /// # Errors
    /// A wrong id. That the peer has gone already is none.
    pub fn stream_shutdown(&mut self, id: StreamId, half: Half) -> Result<(), IoError> {
        each!(self, driver => driver.stream_shutdown(id, half))
    }

    /// Gives up this driver's hold of a connection; it ends when nobody else has it. Its id is
    /// wrong from now on.
    ///
    /// # Errors
    /// A wrong id.
    pub fn stream_close(&mut self, id: StreamId) -> Result<(), IoError> {
        each!(self, driver => driver.stream_close(id))
    }

    /// A second handle of a connection, for another node to [adopt](Driver::stream_adopt). Costs a
    /// file descriptor.
    ///
    /// # Errors
    /// A wrong id; the process has too many files open.
    pub fn stream_hand_over(&self, id: StreamId) -> Result<HandedStream, IoError> {
        each!(self, driver => driver.stream_hand_over(id))
    }

    /// Takes in a connection to write to. This driver's poll does not report what can be read from it.
    ///
    /// # Errors
    /// It comes from another kind of driver; too many are open.
    pub fn stream_adopt(&mut self, handed: HandedStream) -> Result<StreamId, IoError> {
        each!(self, driver => driver.stream_adopt(handed))
    }
}
