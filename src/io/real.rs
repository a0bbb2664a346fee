//! The driver on the machine's own sockets and files: mio, socket2, std.
//!
//! Invariant: after opening, nothing here allocates, and only `poll` and files can block.

use core::time::Duration;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use mio::{Events, Interest, Poll, Token};
use socket2::SockRef;

use crate::base::limits::STREAMS_DEFAULT;
use crate::io::error::{IoError, IoErrorKind};
use crate::io::shared::{SharedSocket, SharedUdp};
use crate::io::stream_real::Streams;
use crate::io::sys::{self, Timer};
use crate::io::table::Table;
use crate::io::udp_real::{SKIPS_MAX, Udp, open_socket};
use crate::io::unix_datagram::UnixSockets;
use crate::io::{
    BatchSent, Datagram, FILES_MAX, FileId, FileMode, Polled, RECV_FIRST_SOCKETS_MAX, RecvBatch,
    SOCKETS_MAX, SendBatch, Sent, UdpBuffers, UdpCounts, UdpGranted, UdpId, UdpSpec, Waker,
    WakerKind, is_refusal,
};

/// Most events one poll takes: every socket, the waker and the timer.
const EVENTS_MAX: usize = SOCKETS_MAX + 2;

/// Most events one poll takes where there may be more connections than usual: ten polls, and not a
/// hundred and fifty, tell of 10,000 that something came of. 12 KiB.
const EVENTS_MAX_OF_MANY: usize = 1024;

const WAKE: Token = Token(usize::MAX - 1);
const TIMER: Token = Token(usize::MAX - 2);

const MILLISECOND_NS: u64 = 1_000_000;

/// Below this every timeout is the timer's, also one of whole milliseconds: it ends 25 to 65 us after
/// its time where a poll's own timeout ends 80 to 110 us after it (`hopline floor`, sleep and wake).
const TIMED_NS_MAX: u64 = 10 * MILLISECOND_NS;

/// The machine's own sockets and files.
#[derive(Debug)]
pub struct Real {
    pub(crate) poll: Poll,
    events: Events,
    waker: Arc<mio::Waker>,
    timer: Option<Timer>,
    sockets: Table<Udp>,
    /// Sockets that the poll reports.
    watched: usize,
    files: Table<File>,
    pub(crate) streams: Streams,
    pub(crate) unix: UnixSockets,
}

impl Real {
    /// A driver with nothing open. Allocates its tables.
    ///
    /// # Errors
    /// If the system gives no poll, waker or timer.
    pub fn new() -> Result<Real, IoError> {
        let failed = |error| IoError::from_os(&error, "set up polling");
        let poll = Poll::new().map_err(failed)?;
        let waker = mio::Waker::new(poll.registry(), WAKE).map_err(failed)?;
        let timer = Timer::open(poll.registry(), TIMER).map_err(failed)?;
        Ok(Real {
            poll,
            events: Events::with_capacity(EVENTS_MAX),
            waker: Arc::new(waker),
            timer,
            sockets: Table::new(SOCKETS_MAX),
            watched: 0,
            files: Table::new(FILES_MAX),
            streams: Streams::new(),
            unix: UnixSockets::new(),
        })
    }

    pub(crate) const fn streams_max(&self) -> usize {
        self.streams.limit()
    }

    pub(crate) fn set_streams_max(&mut self, streams_max: usize) -> bool {
        if streams_max > STREAMS_DEFAULT {
            self.events = Events::with_capacity(EVENTS_MAX_OF_MANY);
        }
        self.streams.set_limit(streams_max)
    }

    pub(crate) fn udp_open(&mut self, spec: &UdpSpec) -> Result<UdpId, IoError> {
        let socket = open_socket(spec)?;
        self.adopt(socket, spec, true)
    }

    pub(crate) fn udp_join(
        &mut self,
        shared: &SharedUdp,
        receives: bool,
    ) -> Result<UdpId, IoError> {
        const WHAT: &str = "share a socket";
        let spec = shared.spec();
        let opened = shared.socket(|| open_socket(spec).map(SharedSocket::Real))?;
        let SharedSocket::Real(socket) = opened else {
            return Err(IoError::new(IoErrorKind::InvalidInput, WHAT));
        };
        let socket = socket
            .try_clone()
            .map_err(|error| IoError::from_os(&error, WHAT))?;
        self.adopt(socket, spec, receives)
    }

    /// Takes a socket in, watched if it receives.
    fn adopt(
        &mut self,
        socket: std::net::UdpSocket,
        spec: &UdpSpec,
        watched: bool,
    ) -> Result<UdpId, IoError> {
        let udp = Udp::new(socket, spec, watched);
        let slot = self.sockets.insert(udp, "open a socket")?;
        if !watched {
            return Ok(UdpId(slot));
        }
        let udp = self.sockets.get_mut(slot, "open a socket")?;
        // Only readable: asking for writable as well would end a poll after each send.
        let registered =
            self.poll
                .registry()
                .register(&mut udp.socket, Token(slot.index()), Interest::READABLE);
        if let Err(error) = registered {
            self.sockets.remove(slot, "open a socket")?;
            let failed = IoError::from_os(&error, "watch");
            return Err(match spec.bind.or(spec.connect) {
                Some(addr) => failed.on(&addr),
                None => failed,
            });
        }
        self.watched += 1;
        Ok(UdpId(slot))
    }

    pub(crate) fn udp_close(&mut self, id: UdpId) -> Result<(), IoError> {
        let mut udp = self.sockets.remove(id.0, "close a socket")?;
        if !udp.watched {
            return Ok(());
        }
        self.watched -= 1;
        self.poll
            .registry()
            .deregister(&mut udp.socket)
            .map_err(|error| IoError::from_os(&error, "close a socket"))
    }

    pub(crate) fn udp_local_addr(&self, id: UdpId) -> Result<SocketAddr, IoError> {
        const WHAT: &str = "ask a socket for its address";
        let udp = self.sockets.get(id.0, WHAT)?;
        udp.socket
            .local_addr()
            .map_err(|error| IoError::from_os(&error, WHAT))
    }

    pub(crate) fn udp_buffers(&self, id: UdpId) -> Result<UdpBuffers, IoError> {
        const WHAT: &str = "ask a socket for its buffers";
        let socket = SockRef::from(&self.sockets.get(id.0, WHAT)?.socket);
        let ask = || {
            Ok(UdpBuffers {
                recv_bytes: socket.recv_buffer_size()?,
                send_bytes: socket.send_buffer_size()?,
            })
        };
        ask().map_err(|error: io::Error| IoError::from_os(&error, WHAT))
    }

    pub(crate) fn udp_counts(&self, id: UdpId) -> Result<UdpCounts, IoError> {
        Ok(self
            .sockets
            .get(id.0, "ask a socket for its counts")?
            .counts)
    }

    #[inline]
    pub(crate) fn udp_recv(
        &mut self,
        id: UdpId,
        buf: &mut [u8],
    ) -> Result<Option<Datagram>, IoError> {
        let wants_poll = self.wants_poll();
        let udp = self.sockets.get_mut(id.0, "receive")?;
        if wants_poll && !udp.readable {
            return Ok(None);
        }
        if udp.takes_trains() {
            // A train taken as a datagram could not be told from one.
            return Err(IoError::new(IoErrorKind::InvalidInput, "receive"));
        }
        for _ in 0..SKIPS_MAX {
            match sys::recv(&udp.socket, buf) {
                Ok((len, from)) => {
                    return Ok(Some(Datagram {
                        len: len.min(buf.len()),
                        from,
                        stamp_wall_ns: None,
                        truncated: len > buf.len(),
                    }));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    udp.readable = false;
                    return Ok(None);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_refusal(&error) => udp.counts.recv_refused += 1,
                Err(error) => return Err(IoError::from_os(&error, "receive")),
            }
        }
        Ok(None)
    }

    #[inline]
    pub(crate) fn udp_send(
        &mut self,
        id: UdpId,
        to: Option<SocketAddr>,
        bytes: &[u8],
    ) -> Result<Sent, IoError> {
        let udp = self.sockets.get_mut(id.0, "send")?;
        if to.is_none() && udp.peer.is_none() {
            return Err(IoError::new(IoErrorKind::InvalidInput, "send"));
        }
        for _ in 0..SKIPS_MAX {
            let sent = match to {
                Some(to) => udp.socket.send_to(bytes, to),
                None => udp.socket.send(bytes),
            };
            match sent {
                Ok(_) => return Ok(Sent::Yes),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A full device queue is a full buffer by another name.
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock
                        || error.raw_os_error() == Some(libc::ENOBUFS) =>
                {
                    udp.counts.send_would_block += 1;
                    return Ok(Sent::WouldBlock);
                }
                Err(error) if is_refusal(&error) => {
                    udp.counts.send_refused += 1;
                    return Ok(Sent::Refused);
                }
                Err(error) => return Err(IoError::from_os(&error, "send")),
            }
        }
        Err(IoError::new(IoErrorKind::Interrupted, "send"))
    }

    pub(crate) fn udp_granted(&self, id: UdpId) -> Result<UdpGranted, IoError> {
        let udp = self.sockets.get(id.0, "ask a socket what it was granted")?;
        Ok(udp.granted)
    }

    /// Has trains come datagram by datagram from now on.
    pub(crate) fn udp_refuse_trains(&mut self, id: UdpId) -> Result<(), IoError> {
        self.sockets.get_mut(id.0, "open a socket")?.refuse_trains();
        Ok(())
    }

    #[inline]
    pub(crate) fn udp_recv_batch(
        &mut self,
        id: UdpId,
        batch: &mut RecvBatch,
    ) -> Result<usize, IoError> {
        let wants_poll = self.wants_poll();
        let udp = self.sockets.get_mut(id.0, "receive")?;
        if wants_poll && !udp.readable {
            return Ok(batch.filled(0));
        }
        udp.recv_batch(batch)
    }

    #[inline]
    pub(crate) fn udp_send_batch(
        &mut self,
        id: UdpId,
        batch: &mut SendBatch,
    ) -> Result<BatchSent, IoError> {
        self.sockets.get_mut(id.0, "send")?.send_batch(batch)
    }

    #[inline]
    pub(crate) fn udp_maybe_readable(&self, id: UdpId) -> bool {
        self.sockets
            .get(id.0, "receive")
            .is_ok_and(|udp| udp.readable)
    }

    #[inline]
    pub(crate) fn wants_poll(&self) -> bool {
        self.watched > RECV_FIRST_SOCKETS_MAX
    }

    pub(crate) fn udp_kernel_drops(&self, id: UdpId) -> Option<u64> {
        let udp = self.sockets.get(id.0, "ask a socket for its drops").ok()?;
        udp.kernel_drops()
    }

    pub(crate) fn file_open(&mut self, path: &Path, mode: FileMode) -> Result<FileId, IoError> {
        let what = match mode {
            FileMode::Read => "open",
            FileMode::CreateTruncate | FileMode::Append => "write to",
        };
        let failed = |error: io::Error| IoError::from_os(&error, what).on(&path.display());
        let file = match mode {
            FileMode::Read if path.as_os_str() == "-" => standard_input().map_err(failed)?,
            FileMode::Read => File::open(path).map_err(failed)?,
            FileMode::CreateTruncate => File::create(path).map_err(failed)?,
            FileMode::Append => OpenOptions::new()
                .append(true)
                .create(true)
                .open(path)
                .map_err(failed)?,
        };
        // A folder can be opened for reading, and fails only at the first read.
        if file.metadata().map_err(failed)?.is_dir() {
            return Err(IoError::new(IoErrorKind::IsADirectory, what).on(&path.display()));
        }
        if mode == FileMode::Read {
            sys::advise_sequential(&file);
        }
        self.files.insert(file, what).map(FileId)
    }

    pub(crate) fn file_read(&mut self, id: FileId, buf: &mut [u8]) -> Result<usize, IoError> {
        let file = self.files.get_mut(id.0, "read")?;
        skip_interruptions("read", || file.read(buf))
    }

    pub(crate) fn file_write(&mut self, id: FileId, bytes: &[u8]) -> Result<usize, IoError> {
        let file = self.files.get_mut(id.0, "write")?;
        skip_interruptions("write", || file.write(bytes))
    }

    pub(crate) fn file_set_len(&mut self, id: FileId, len: u64) -> Result<(), IoError> {
        let file = self.files.get_mut(id.0, "cut")?;
        skip_interruptions("cut", || {
            file.set_len(len)?;
            file.seek(SeekFrom::Start(len)).map(drop)
        })
    }

    pub(crate) fn file_sync(&mut self, id: FileId) -> Result<(), IoError> {
        let file = self.files.get_mut(id.0, "sync")?;
        skip_interruptions("sync", || file.sync_data())
    }

    pub(crate) fn file_close(&mut self, id: FileId) -> Result<(), IoError> {
        self.files.remove(id.0, "close").map(drop)
    }

    pub(crate) fn poll(
        &mut self,
        _now_ns: u64,
        timeout_ns: Option<u64>,
    ) -> Result<Polled, IoError> {
        let failed = |error: io::Error| IoError::from_os(&error, "poll");
        let registry = self.poll.registry();
        self.streams.watch_all(registry).map_err(failed)?;
        self.unix.watch_all(registry).map_err(failed)?;
        if let Some(timer) = &mut self.timer {
            match timeout_ns {
                // Just looking: an expiry that is still to come cannot shorten it.
                Some(0) => {}
                // mio rounds up to whole milliseconds, and the kernel adds its slack to those.
                Some(ns) if ns < TIMED_NS_MAX || ns % MILLISECOND_NS != 0 => {
                    timer.arm(ns).map_err(failed)?
                }
                _ => timer.disarm().map_err(failed)?,
            }
        }
        let mut polled = Polled::default();
        match self
            .poll
            .poll(&mut self.events, timeout_ns.map(Duration::from_nanos))
        {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(polled),
            Err(error) => return Err(failed(error)),
        }
        for event in &self.events {
            match event.token() {
                WAKE => polled.woken = true,
                TIMER => {
                    if let Some(timer) = &mut self.timer {
                        timer.fired();
                    }
                }
                // Any event, errors too: receiving is what clears a refusal.
                Token(index) => {
                    if let Some(udp) = self.sockets.at_mut(index) {
                        udp.readable = true;
                        polled.ready = true;
                    } else {
                        polled.ready |= self.streams.on_event(event) || self.unix.on_event(index);
                    }
                }
            }
        }
        Ok(polled)
    }

    pub(crate) fn waker(&self) -> Waker {
        Waker(WakerKind::Real(Arc::clone(&self.waker)))
    }
}

/// A file of its own on the process's standard input.
#[cfg(unix)]
fn standard_input() -> io::Result<File> {
    use std::os::fd::AsFd;
    Ok(File::from(io::stdin().as_fd().try_clone_to_owned()?))
}

#[cfg(not(unix))]
fn standard_input() -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

fn skip_interruptions<T>(
    what: &'static str,
    mut call: impl FnMut() -> io::Result<T>,
) -> Result<T, IoError> {
    for _ in 0..SKIPS_MAX {
        match call() {
            Ok(value) => return Ok(value),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(IoError::from_os(&error, what)),
        }
    }
    Err(IoError::new(IoErrorKind::Interrupted, what))
}
