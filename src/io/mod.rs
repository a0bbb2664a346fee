//! The one door to the operating system for sockets, polling, waking and files.
//!
//! A [`Driver`] is real (mio), virtual (a network and a disk in memory, on virtual time) or faulty
//! (another driver with seeded faults), so that the same line runs on the machine, in simulation
//! and under chaos. Nothing here blocks except [`Driver::poll`], which is the only place where a
//! loop rests; files are the exception that the operating system makes (a slow disk is a slow read).
//!
//! The order of a loop is *receive first*: [`Driver::udp_recv`] until it says `None`, work, send,
//! and poll only when there was nothing to do. Readiness is edge-triggered: it is reported once, so
//! a socket stays [marked](Driver::udp_maybe_readable) until receiving from it would block, and
//! `poll` does not look at the marks.
//!
//! Time comes in as an argument (`now_ns`) and the virtual driver's wish to advance it goes out as
//! [`Polled::advance_to_ns`]: this room holds no clock.
//!
//! Invariant: sockets, mio and files are spoken of in this room only; no socket call blocks; the
//! real driver allocates only while opening.

mod batch;
mod bytes;
mod capture;
mod device;
mod error;
mod faulty;
mod gzip;
mod lines;
mod mmsg;
mod multicast;
mod own;
mod packed;
mod ready;
mod real;
mod shared;
mod shared_stream;
mod socket_file;
mod stamp;
mod stream;
mod stream_faulty;
mod stream_net;
mod stream_real;
mod stream_virtual;
mod sys;
mod table;
mod udp_real;
mod unix_datagram;
mod unix_virtual;
mod virtual_driver;
mod virtual_net;

use core::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use crate::base::primitive::{Arc, AtomicBool, Ordering};

pub use batch::{
    BATCH_SLOTS_MAX, BatchSent, Received, RecvBatch, SEND_CALLS_MAX, SendBatch, TRAIN_BYTES_MAX,
    TRAIN_SEGMENTS_MAX, TRAINS_FROM,
};
pub use bytes::{ByteReader, Fill};
pub use capture::{
    CaptureBreak, CaptureCounts, CaptureEvent, CaptureReader, CaptureWriter, Unrecorded,
};
pub use device::{Device, DeviceError, DeviceStamps};
pub use error::{IoError, IoErrorKind};
pub use faulty::{FaultCounts, FaultPlan, Faulty};
pub use lines::{LINE_BUFFER_BYTES_MIN, LineEvent, LineReader};
pub use multicast::{GroupSend, Interface, InterfaceError, Join};
pub use own::OwnAddress;
pub use real::Real;
pub use shared::{SharedSockets, SharedUdp};
pub use shared_stream::{Handoff, PeerId, REPLY_SINKS_MAX, SharedStream, SharedStreams};
pub use stream::{
    Endpoint, Half, HandedStream, LISTENERS_MAX, ListenerId, StreamId, StreamRead, StreamSpec,
    StreamWrite,
};
pub use stream_net::{VIRTUAL_STREAM_BYTES, VIRTUAL_WINDOW_BYTES};
use table::Slot;
pub use unix_datagram::{UnixDatagram, UnixId, UnixSpec};
pub use virtual_driver::Virtual;
pub use virtual_net::{
    NetCounts, SentDatagram, VIRTUAL_DISK_BYTES, VIRTUAL_IN_FLIGHT_MAX, VIRTUAL_QUEUE_BYTES,
    VIRTUAL_QUEUE_DATAGRAMS, VIRTUAL_SENT_BYTES, VIRTUAL_SENT_MAX, VirtualNet,
};

/// Most sockets one driver opens: a thread has at most as many sources and sinks as a line has nodes.
pub const SOCKETS_MAX: usize = crate::base::limits::NODES_MAX;

/// Most files one driver opens, for the same reason.
pub const FILES_MAX: usize = crate::base::limits::NODES_MAX;

/// Most watched sockets of one driver that are tried in each turn without waiting for a poll's
/// report. Trying an empty socket costs one system call, a poll for all of them about two, and the
/// turns between two polls a third.
pub const RECV_FIRST_SOCKETS_MAX: usize = 4;

/// A socket that a driver has open; means nothing to another driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UdpId(Slot);

/// A file that a driver has open; means nothing to another driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId(Slot);

/// How a UDP socket is opened.
///
/// Without `bind`, the system chooses a port; on all addresses, or those that reach `connect`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UdpSpec {
    /// Where it receives; port 0 lets the system choose.
    pub bind: Option<SocketAddr>,
    /// The one peer it sends to and hears from.
    pub connect: Option<SocketAddr>,
    /// Wanted `SO_RCVBUF`, in bytes; [`Driver::udp_buffers`] tells what was granted.
    pub recv_buffer_bytes: Option<usize>,
    /// Wanted `SO_SNDBUF`, in bytes.
    pub send_buffer_bytes: Option<usize>,
    /// `SO_REUSEADDR`: another socket that also asks for it may bind the same address, and the
    /// last one gets the datagrams. Off unless multicast needs it.
    pub reuse_address: bool,
    /// Whether runs of datagrams are taken as one, where the system can.
    pub trains: Trains,
    /// Ask for the kernel's receive stamps; they come with batches. The first on a machine that
    /// asks gets them a moment later: until then datagrams come without.
    pub stamps: bool,
    /// Ask for this device's own receive stamps beside the kernel's: see [`DeviceStamps`]. Has no
    /// effect without `stamps`.
    pub stamp_device: Option<Device>,
    /// A group to join: its datagrams to the port of `bind` are heard, and with a `bind` to the
    /// group's own address no others. The port is shared with other members on this machine.
    pub join: Option<Join>,
    /// How it sends to groups.
    pub group_send: GroupSend,
}

/// Whether a run of equal datagrams of one sender is taken from the system as one train (`UDP_GRO`).
///
/// A train costs a fraction of its datagrams, but to learn what it is made of, a lone datagram costs
/// a dearer call as well (`benches/udp.rs`). Where trains may come, only
/// [`Driver::udp_recv_batch`] receives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trains {
    /// Each datagram by itself.
    #[default]
    Off,
    /// From the first backlog on: once a call brought [`TRAINS_FROM`] datagrams at once. There is no
    /// way back, for a train that waits then could not be told from a datagram.
    Backlog,
    /// From the start.
    On,
}

/// What the system granted a socket of what was asked for, and what it can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UdpGranted {
    /// Trains come as one by now (`UDP_GRO`). A train that the kernel drops counts as one drop then.
    pub trains: bool,
    /// Trains can be sent (`UDP_SEGMENT`).
    pub sends_trains: bool,
    /// Batches bring the kernel's receive stamps.
    pub stamps: bool,
    /// Whether the stamps are a device's where it gave one.
    pub device_stamps: DeviceStamps,
    /// Counts of drops come with datagrams (`SO_RXQ_OVFL`), not only when asked for.
    pub drops_told: bool,
}

impl UdpSpec {
    /// A socket that receives at `addr`.
    #[must_use]
    pub fn bound(addr: SocketAddr) -> UdpSpec {
        UdpSpec {
            bind: Some(addr),
            ..UdpSpec::default()
        }
    }

    /// A socket that sends to `addr` from a port the system chooses.
    #[must_use]
    pub fn connected(addr: SocketAddr) -> UdpSpec {
        UdpSpec {
            connect: Some(addr),
            ..UdpSpec::default()
        }
    }
}

/// The buffers the system granted a socket, in bytes. Linux doubles what is asked (up to
/// `net.core.rmem_max`) and charges each datagram with its bookkeeping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpBuffers {
    /// For what is received and not yet taken.
    pub recv_bytes: usize,
    /// For what is sent and not yet on the wire.
    pub send_bytes: usize,
}

/// A received datagram; its bytes are in the caller's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Bytes in the buffer.
    pub len: usize,
    /// Who sent it.
    pub from: SocketAddr,
    /// When the kernel, or the device where that was granted, received it, in nanoseconds of the wall
    /// clock. The real driver tells it with batches only.
    pub stamp_wall_ns: Option<u64>,
    /// It was longer than the buffer; the rest is lost. Always false off Linux.
    pub truncated: bool,
}

/// What became of a datagram that was to be sent.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The system took it.
    Yes,
    /// There is no room now; it was not sent.
    WouldBlock,
    /// The system reported that an earlier one found nobody (or no way) at the other end; this
    /// one was not sent either. Counted in [`UdpCounts`], no reason to stop.
    Refused,
}

/// What a socket counted apart from what it delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UdpCounts {
    /// Sends that came back as [`Sent::Refused`].
    pub send_refused: u64,
    /// Sends that came back as [`Sent::WouldBlock`].
    pub send_would_block: u64,
    /// Refusals of earlier sends that were reported, and skipped, while receiving.
    pub recv_refused: u64,
    /// Trains that the system would not send as one; their datagrams went one by one.
    pub trains_refused: u64,
    /// Datagrams or trains with the kernel's stamp although a device's were granted: it gave none, or
    /// one that its clock cannot have meant.
    pub not_by_device: u64,
}

/// What a poll saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Polled {
    /// At least one socket became readable since the last poll.
    pub ready: bool,
    /// A [`Waker`] ended it.
    pub woken: bool,
    /// On virtual time: it is now this late, and the caller moves its clock there.
    /// `None` on real time, and when no time has passed.
    pub advance_to_ns: Option<u64>,
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileMode {
    /// From the front, read only. The real driver takes "-" as standard input.
    Read,
    /// For writing; made if absent, emptied if present.
    CreateTruncate,
    /// For writing at the end; made if absent.
    Append,
}

/// Ends another thread's poll, now or, if it is not in one, the next.
#[derive(Clone)]
pub struct Waker(WakerKind);

#[derive(Clone)]
enum WakerKind {
    Real(std::sync::Arc<mio::Waker>),
    Virtual(Arc<AtomicBool>),
}

impl Waker {
    /// Wakes the driver it came from. Several calls before its poll are one.
    ///
    /// # Errors
    /// What the system said; only a broken process gets here.
    pub fn wake(&self) -> Result<(), IoError> {
        match &self.0 {
            WakerKind::Real(waker) => waker
                .wake()
                .map_err(|error| IoError::from_os(&error, "wake a loop")),
            WakerKind::Virtual(flag) => {
                flag.store(true, Ordering::Release); // pairs with the swap in Virtual::poll
                Ok(())
            }
        }
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            WakerKind::Real(_) => "Waker(real)",
            WakerKind::Virtual(_) => "Waker(virtual)",
        })
    }
}

/// The door itself.
///
/// An enum and not a trait: the choice costs one branch that is always predicted, and no type
/// parameter spreads into stages, registries and plans.
///
/// ```
/// use hopline::io::{Driver, Sent, UdpSpec, Virtual};
/// let mut driver = Driver::from(Virtual::new());
/// let inbox = driver.udp_open(&UdpSpec::bound("127.0.0.1:26400".parse().unwrap()))?;
/// let out = driver.udp_open(&UdpSpec::connected("127.0.0.1:26400".parse().unwrap()))?;
/// assert_eq!(driver.udp_send(out, None, b"tick")?, Sent::Yes);
/// let mut buf = [0; 16];
/// let datagram = driver.udp_recv(inbox, &mut buf)?.unwrap();
/// assert_eq!(&buf[..datagram.len], b"tick");
/// # Ok::<(), hopline::io::IoError>(())
/// ```
#[derive(Debug)]
pub enum Driver {
    /// The machine's own sockets and files.
    Real(Real),
    /// A network and a disk in memory, on virtual time.
    Virtual(Virtual),
    /// Another driver with seeded faults.
    Faulty(Box<Faulty>),
}

impl From<Real> for Driver {
    fn from(real: Real) -> Driver {
        Driver::Real(real)
    }
}

impl From<Virtual> for Driver {
    fn from(simulated: Virtual) -> Driver {
        Driver::Virtual(simulated)
    }
}

impl From<Faulty> for Driver {
    fn from(faulty: Faulty) -> Driver {
        Driver::Faulty(Box::new(faulty))
    }
}

/// Calls the same method on whichever driver it is.
macro_rules! each {
    ($self:expr, $driver:ident => $call:expr) => {
        match $self {
            Driver::Real($driver) => $call,
            Driver::Virtual($driver) => $call,
            Driver::Faulty($driver) => $call,
        }
    };
}
use each;

impl Driver {
    /// A driver on the machine's own sockets and files.
    ///
    /// # Errors
    /// If the system gives no poll, waker or timer.
    pub fn real() -> Result<Driver, IoError> {
        Real::new().map(Driver::Real)
    }

    /// Opens a UDP socket. Allocates.
    ///
    /// # Errors
    /// The address is in use, not of this machine or not allowed; IPv4 and IPv6 are mixed; too many
    /// are open.
    pub fn udp_open(&mut self, spec: &UdpSpec) -> Result<UdpId, IoError> {
        each!(self, driver => driver.udp_open(spec))
    }

    /// Joins a socket that several nodes share, opening it if this is the first to come. One that
    /// does not receive is not watched by this driver's poll. Allocates.
    ///
    /// # Errors
    /// As [`Driver::udp_open`], the same for all who join; a socket of another kind of driver.
    pub fn udp_join(&mut self, shared: &SharedUdp, receives: bool) -> Result<UdpId, IoError> {
        each!(self, driver => driver.udp_join(shared, receives))
    }

    /// Closes a socket. Its id is wrong from now on.
    ///
    /// # Errors
    /// A wrong id.
    pub fn udp_close(&mut self, id: UdpId) -> Result<(), IoError> {
        each!(self, driver => driver.udp_close(id))
    }

    /// The address a socket is bound to, with the port the system chose.
    ///
    /// # Errors
    /// A wrong id.
    pub fn udp_local_addr(&self, id: UdpId) -> Result<SocketAddr, IoError> {
        each!(self, driver => driver.udp_local_addr(id))
    }

    /// The same, and with it which addresses lead back to this socket.
    ///
    /// # Errors
    /// A wrong id.
    pub fn udp_own(&self, id: UdpId) -> Result<OwnAddress, IoError> {
        let local = self.udp_local_addr(id)?;
        match self {
            Driver::Real(_) => Ok(OwnAddress::new(local, own::is_of_this_machine)),
            // All of a network in memory is one machine.
            Driver::Virtual(_) => Ok(OwnAddress::new(local, |_| true)),
            Driver::Faulty(faulty) => faulty.udp_own(id),
        }
    }

    /// The buffers that were granted.
    ///
    /// # Errors
    /// A wrong id.
    pub fn udp_buffers(&self, id: UdpId) -> Result<UdpBuffers, IoError> {
        each!(self, driver => driver.udp_buffers(id))
    }

    /// What the socket has counted so far.
    ///
    /// # Errors
    /// A wrong id.
    pub fn udp_counts(&self, id: UdpId) -> Result<UdpCounts, IoError> {
        each!(self, driver => driver.udp_counts(id))
    }

    /// Takes the next datagram into `buf`, or `None` if there is none: the socket is then no longer
    /// [marked](Driver::udp_maybe_readable). A burst of refusals may end it with `None` and the
    /// mark kept: try again next turn. Never blocks, never allocates.
    ///
    /// # Errors
    /// A wrong id, or what the system said. An interruption or a refusal is none: they are skipped.
    #[inline]
    pub fn udp_recv(&mut self, id: UdpId, buf: &mut [u8]) -> Result<Option<Datagram>, IoError> {
        each!(self, driver => driver.udp_recv(id, buf))
    }

    /// Sends one datagram to `to`, or to the connected peer. Never blocks, never allocates.
    ///
    /// # Errors
    /// A wrong id, neither `to` nor a peer, more than a datagram holds, or what the system said.
    #[inline]
    pub fn udp_send(
        &mut self,
        id: UdpId,
        to: Option<SocketAddr>,
        bytes: &[u8],
    ) -> Result<Sent, IoError> {
        each!(self, driver => driver.udp_send(id, to, bytes))
    }

    /// What the system granted a socket.
    ///
    /// # Errors
    /// A wrong id.
    pub fn udp_granted(&self, id: UdpId) -> Result<UdpGranted, IoError> {
        each!(self, driver => driver.udp_granted(id))
    }

    /// Receives what waits, in one call to the system, and says how many datagrams `batch` holds now;
    /// 0 means that there was none, as [`Driver::udp_recv`] says with `None`. A batch that still holds
    /// something is left as it is. While little comes it asks for one datagram, and for more after
    /// each call that got all it asked for. Never blocks, never allocates.
    ///
    /// # Errors
    /// A wrong id, or what the system said. An interruption or a refusal is none: they are skipped.
    #[inline]
    pub fn udp_recv_batch(&mut self, id: UdpId, batch: &mut RecvBatch) -> Result<usize, IoError> {
        if !batch.is_empty() {
            return Ok(batch.len());
        }
        each!(self, driver => driver.udp_recv_batch(id, batch))
    }

    /// Sends the oldest datagrams of a batch in one call to the system, and says how many left it
    /// with what outcome; call again for the rest. Datagrams of one length to one receiver leave as
    /// trains where the system can, of segments that the path carries whole: a train never needs
    /// fragments. A train that the system refuses to send as one goes datagram by datagram.
    ///
    /// [`Sent::WouldBlock`] says that nothing left. Never blocks, never allocates.
    ///
    /// # Errors
    /// As [`Driver::udp_send`], of the oldest datagram, which is then no longer in the batch; a
    /// wrong id.
    #[inline]
    pub fn udp_send_batch(
        &mut self,
        id: UdpId,
        batch: &mut SendBatch,
    ) -> Result<BatchSent, IoError> {
        each!(self, driver => driver.udp_send_batch(id, batch))
    }

    /// Whether receiving may yield something: true from opening or from a poll's report, until
    /// receiving would block. False for a wrong id.
    #[inline]
    #[must_use]
    pub fn udp_maybe_readable(&self, id: UdpId) -> bool {
        each!(self, driver => driver.udp_maybe_readable(id))
    }

    /// Datagrams dropped at this socket since it was opened because its buffer was full; `None` if
    /// the system does not say, or for a wrong id. One system call: for housekeeping and drains.
    ///
    /// A train that is dropped counts once, whatever it holds: where [`UdpGranted::trains`] is true,
    /// this is the least that was lost.
    #[must_use]
    pub fn udp_kernel_drops(&self, id: UdpId) -> Option<u64> {
        each!(self, driver => driver.udp_kernel_drops(id))
    }

    /// Whether sockets are received from only after a [poll](Driver::poll) has reported them, so
    /// that a loop which never rests must poll now and then. Up to [`RECV_FIRST_SOCKETS_MAX`]
    /// watched sockets are simply tried, which is faster; beyond that a system call for each socket
    /// in each turn costs more than one poll for all of them.
    #[inline]
    #[must_use]
    pub fn wants_poll(&self) -> bool {
        match self {
            Driver::Real(driver) => driver.wants_poll(),
            // What is sent on a virtual network is there at once.
            Driver::Virtual(_) => false,
            Driver::Faulty(driver) => driver.inner().wants_poll(),
        }
    }

    /// Opens a file. Allocates, and blocks as long as the disk takes (on a named pipe: until its
    /// other end opens).
    ///
    /// # Errors
    /// It is not there, not allowed or a folder; too many are open.
    pub fn file_open(&mut self, path: &Path, mode: FileMode) -> Result<FileId, IoError> {
        each!(self, driver => driver.file_open(path, mode))
    }

    /// Reads on into `buf`; 0 is the end. May be less than asked for.
    ///
    /// # Errors
    /// A wrong id, a file opened for writing, or what the system said.
    pub fn file_read(&mut self, id: FileId, buf: &mut [u8]) -> Result<usize, IoError> {
        each!(self, driver => driver.file_read(id, buf))
    }

    /// Writes `bytes`, possibly only the first part of them, and says how many.
    ///
    /// # Errors
    /// [`IoErrorKind::DiskFull`] if none fits; a wrong id, a file opened for reading, or what the
    /// system said.
    pub fn file_write(&mut self, id: FileId, bytes: &[u8]) -> Result<usize, IoError> {
        each!(self, driver => driver.file_write(id, bytes))
    }

    /// Cuts a file that was opened for writing to `len` bytes; the next write goes behind them.
    ///
    /// # Errors
    /// A wrong id, a file opened for reading, or what the system said: a pipe cannot be cut.
    pub fn file_set_len(&mut self, id: FileId, len: u64) -> Result<(), IoError> {
        each!(self, driver => driver.file_set_len(id, len))
    }

    /// Waits until what was written is on the device. Blocks: not for a turn.
    ///
    /// # Errors
    /// A wrong id, or what the system said.
    pub fn file_sync(&mut self, id: FileId) -> Result<(), IoError> {
        each!(self, driver => driver.file_sync(id))
    }

    /// Closes a file. Its id is wrong from now on.
    ///
    /// # Errors
    /// A wrong id.
    pub fn file_close(&mut self, id: FileId) -> Result<(), IoError> {
        each!(self, driver => driver.file_close(id))
    }

    /// Waits until a socket becomes readable, a [`Waker`] calls or `timeout_ns` is over, whichever
    /// is first; `Some(0)` just looks, `None` waits for ever. May end early without a reason.
    ///
    /// A socket that is already [marked](Driver::udp_maybe_readable) is not reported again: a loop
    /// rests only when it has emptied its sockets, or holds them back on purpose.
    ///
    /// `now_ns` is the caller's time; only the virtual driver looks at it. It does not wait: it
    /// answers how late it is when the first delivery or the timeout is reached
    /// ([`Polled::advance_to_ns`]).
    ///
    /// # Errors
    /// What the system said; an interruption is no error.
    pub fn poll(&mut self, now_ns: u64, timeout_ns: Option<u64>) -> Result<Polled, IoError> {
        each!(self, driver => driver.poll(now_ns, timeout_ns))
    }

    /// Tells a virtual driver what time it is without polling, so that what is due by then can be
    /// received; nothing on real time.
    #[inline]
    pub fn observe_time(&mut self, now_ns: u64) {
        match self {
            Driver::Real(_) => {}
            Driver::Virtual(simulated) => simulated.observe_time(now_ns),
            Driver::Faulty(faulty) => faulty.observe_time(now_ns),
        }
    }

    /// A handle with which other threads end this driver's poll.
    #[must_use]
    pub fn waker(&self) -> Waker {
        each!(self, driver => driver.waker())
    }
}

/// Whether a socket error only says that nobody, or no way, was there for an earlier datagram.
fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
    )
}
