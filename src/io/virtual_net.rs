//! A datagram network and a disk in memory, on virtual time.
//!
//! Several drivers share one [`VirtualNet`], and tests keep a handle of it to put datagrams and
//! files in and to look at what came out. The same calls in the same order give the same answers.
//!
//! Invariant: no system call; time moves only by what drivers are told.

#![allow(
    clippy::disallowed_types,
    reason = "a simulated network is shared by its drivers; no line on real sockets comes here"
)]

use core::cmp::Reverse;
use core::net::{IpAddr, SocketAddr};
use std::collections::{BinaryHeap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::base::limits::MESSAGE_BYTES_MAX;
use crate::io::Virtual;
use crate::io::error::{BIND, IoError, IoErrorKind};
use crate::io::stream_net::StreamNet;
use crate::io::unix_virtual::UnixNet;

/// Most datagrams that wait at one virtual socket; the next one is dropped and counted.
pub const VIRTUAL_QUEUE_DATAGRAMS: usize = 1024;

/// Most bytes that wait at one virtual socket if its spec says nothing: Linux's default
/// `net.core.rmem_default`. Only payload is charged.
pub const VIRTUAL_QUEUE_BYTES: usize = 212_992;

/// Most datagrams on the way in one network; beyond it, sending would block.
pub const VIRTUAL_IN_FLIGHT_MAX: usize = 1 << 16;

/// Most datagrams whose sending is kept for tests to read; later ones are only counted.
pub const VIRTUAL_SENT_MAX: usize = 1 << 16;

/// Most bytes kept of sent datagrams, for the same reason.
pub const VIRTUAL_SENT_BYTES: usize = 16 << 20;

/// Bytes of all files together, unless [`VirtualNet::set_disk_bytes`] says otherwise.
pub const VIRTUAL_DISK_BYTES: usize = 64 << 20;

/// First port given to a socket that names none; where Linux starts its own range.
const EPHEMERAL_PORT_MIN: u16 = 32_768;

/// What a network did with its datagrams. At any time
/// `sent + injected + copied = delivered + dropped + unrouted + in_flight`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetCounts {
    /// Taken from drivers.
    pub sent: u64,
    /// Put in by tests and simulations.
    pub injected: u64,
    /// Made for the second and further members of a group.
    pub copied: u64,
    /// Put into a socket's queue.
    pub delivered: u64,
    /// Came to a full queue.
    pub dropped: u64,
    /// No socket had the address when they came.
    pub unrouted: u64,
    /// On the way.
    pub in_flight: u64,
}

/// A datagram as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentDatagram {
    /// When, in virtual nanoseconds.
    pub at_ns: u64,
    /// From where.
    pub from: SocketAddr,
    /// To where.
    pub to: SocketAddr,
    /// What.
    pub bytes: Vec<u8>,
}

#[derive(Debug)]
struct SentHead {
    at_ns: u64,
    from: SocketAddr,
    to: SocketAddr,
    len: usize,
}

/// A datagram on its way or in a queue.
#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) at_ns: u64,
    /// Breaks ties of time by the order of sending.
    order: u64,
    pub(crate) from: SocketAddr,
    to: SocketAddr,
    pub(crate) bytes: Vec<u8>,
}

impl PartialEq for Packet {
    fn eq(&self, other: &Packet) -> bool {
        (self.at_ns, self.order) == (other.at_ns, other.order)
    }
}

impl Eq for Packet {}

impl PartialOrd for Packet {
    fn partial_cmp(&self, other: &Packet) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Packet {
    fn cmp(&self, other: &Packet) -> core::cmp::Ordering {
        (self.at_ns, self.order).cmp(&(other.at_ns, other.order))
    }
}

/// A socket as the network sees it.
#[derive(Debug)]
pub(crate) struct Inbox {
    pub(crate) local: SocketAddr,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) queue: VecDeque<Packet>,
    pub(crate) queued_bytes: usize,
    pub(crate) limit_bytes: usize,
    pub(crate) drops: u64,
    /// Whether its datagrams come with the time of their delivery.
    pub(crate) stamps: bool,
    pub(crate) asks_device: bool,
    /// The group that it has joined.
    pub(crate) group: Option<IpAddr>,
    /// Who has it open; it closes with the last of them.
    pub(crate) holders: usize,
    /// Something came that no poll has reported yet.
    pub(crate) fresh: bool,
    pub(crate) readable: bool,
}

impl Inbox {
    /// Puts a datagram into the queue, or gives it back where there is no room.
    fn take(&mut self, packet: Packet) -> Result<(), Packet> {
        if self.queue.len() >= VIRTUAL_QUEUE_DATAGRAMS
            || self.queued_bytes + packet.bytes.len() > self.limit_bytes
        {
            self.drops += 1;
            return Err(packet);
        }
        self.queued_bytes += packet.bytes.len();
        self.queue.push_back(packet);
        self.fresh = true;
        Ok(())
    }
}

/// A file on the disk in memory.
#[derive(Debug)]
pub(crate) struct StoredFile {
    pub(crate) path: PathBuf,
    pub(crate) bytes: Vec<u8>,
}

/// All there is on a network, behind its lock.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) now_ns: u64,
    pub(crate) delay_ns: u64,
    order: u64,
    next_port: u16,
    pub(crate) inboxes: Vec<Option<Inbox>>,
    in_flight: BinaryHeap<Reverse<Packet>>,
    /// Buffers to use again: nothing is allocated once the run's peak was reached.
    spare: Vec<Vec<u8>>,
    sent: Vec<SentHead>,
    sent_bytes: Vec<u8>,
    pub(crate) counts: NetCounts,
    pub(crate) files: Vec<StoredFile>,
    disk_bytes: usize,
    pub(crate) streams: StreamNet,
    pub(crate) unix: UnixNet,
}

impl State {
    /// Lets time pass to `now_ns` and delivers what is due by then. Time never goes back.
    pub(crate) fn advance(&mut self, now_ns: u64) {
        self.now_ns = self.now_ns.max(now_ns);
        while let Some(Reverse(first)) = self.in_flight.peek()
            && first.at_ns <= self.now_ns
        {
            if let Some(Reverse(packet)) = self.in_flight.pop() {
                self.deliver(packet);
            }
        }
        self.streams.advance(self.now_ns);
    }

    /// When the next datagram, or the next bytes of a connection, arrive.
    pub(crate) fn next_at_ns(&mut self) -> Option<u64> {
        let datagram = self.in_flight.peek().map(|Reverse(first)| first.at_ns);
        let others = [self.streams.next_at_ns(), self.unix.next_at_ns(self.now_ns)];
        others.into_iter().flatten().chain(datagram).min()
    }

    fn deliver(&mut self, packet: Packet) {
        if packet.to.ip().is_multicast() {
            return self.deliver_to_group(packet);
        }
        let reaches = |inbox: &&mut Inbox| {
            inbox.local.port() == packet.to.port()
                && (inbox.local.ip() == packet.to.ip() || inbox.local.ip().is_unspecified())
                && inbox.peer.is_none_or(|peer| peer == packet.from)
        };
        let inboxes = self.inboxes.iter_mut().flatten();
        // A socket connected to this sender goes before one that hears everybody.
        let Some(inbox) = inboxes
            .filter(reaches)
            .max_by_key(|inbox| inbox.peer.is_some())
        else {
            self.counts.unrouted += 1;
            return self.recycle(packet.bytes);
        };
        if let Err(packet) = inbox.take(packet) {
            self.counts.dropped += 1;
            return self.recycle(packet.bytes);
        }
        self.counts.delivered += 1;
    }

    /// Every member hears it; without any it is lost.
    fn deliver_to_group(&mut self, packet: Packet) {
        let mut members = 0;
        for inbox in self.inboxes.iter_mut().flatten() {
            let local = inbox.local;
            let hears = inbox.group == Some(packet.to.ip())
                && local.port() == packet.to.port()
                && (local.ip() == packet.to.ip() || local.ip().is_unspecified())
                && inbox.peer.is_none_or(|peer| peer == packet.from);
            if !hears {
                continue;
            }
            members += 1;
            let mut bytes = self.spare.pop().unwrap_or_default();
            bytes.extend_from_slice(&packet.bytes);
            match inbox.take(Packet { bytes, ..packet }) {
                Ok(()) => self.counts.delivered += 1,
                Err(mut packet) => {
                    self.counts.dropped += 1;
                    packet.bytes.clear();
                    self.spare.push(packet.bytes);
                }
            }
        }
        match members {
            0 => self.counts.unrouted += 1,
            _ => self.counts.copied += members - 1,
        }
        self.recycle(packet.bytes);
    }

    /// Keeps a buffer to be used again.
    pub(crate) fn recycle(&mut self, mut bytes: Vec<u8>) {
        bytes.clear();
        self.spare.push(bytes);
    }

    /// Puts a datagram on its way; false if too many are.
    pub(crate) fn launch(
        &mut self,
        from: SocketAddr,
        to: SocketAddr,
        bytes: &[u8],
        at_ns: u64,
    ) -> bool {
        if self.in_flight.len() >= VIRTUAL_IN_FLIGHT_MAX {
            return false;
        }
        let mut stored = self.spare.pop().unwrap_or_default();
        stored.extend_from_slice(bytes);
        self.order += 1;
        self.in_flight.push(Reverse(Packet {
            at_ns,
            order: self.order,
            from,
            to,
            bytes: stored,
        }));
        self.advance(self.now_ns);
        true
    }

    /// Keeps a copy for tests, while there is room for it.
    pub(crate) fn keep_sent(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        if self.sent.len() < VIRTUAL_SENT_MAX
            && self.sent_bytes.len() + bytes.len() <= VIRTUAL_SENT_BYTES
        {
            self.sent_bytes.extend_from_slice(bytes);
            self.sent.push(SentHead {
                at_ns: self.now_ns,
                from,
                to,
                len: bytes.len(),
            });
        }
    }

    /// The address a socket gets that wants this one; port 0 is any free one.
    /// One that is `shared` does not mind others there.
    pub(crate) fn bind(&mut self, wanted: SocketAddr, shared: bool) -> Result<SocketAddr, IoError> {
        let taken = |inboxes: &[Option<Inbox>], addr: SocketAddr| {
            inboxes.iter().flatten().any(|inbox| {
                let (own, other) = (inbox.local.ip(), addr.ip());
                inbox.local.port() == addr.port()
                    && own.is_ipv4() == other.is_ipv4()
                    && (own == other || own.is_unspecified() || other.is_unspecified())
            })
        };
        if wanted.port() != 0 {
            return if !shared && taken(&self.inboxes, wanted) {
                Err(IoError::new(IoErrorKind::AddrInUse, BIND).on(&wanted))
            } else {
                Ok(wanted)
            };
        }
        for _ in EPHEMERAL_PORT_MIN..=u16::MAX {
            let addr = SocketAddr::new(wanted.ip(), self.next_port);
            self.next_port = self.next_port.checked_add(1).unwrap_or(EPHEMERAL_PORT_MIN);
            if !taken(&self.inboxes, addr) {
                return Ok(addr);
            }
        }
        Err(IoError::new(IoErrorKind::AddrInUse, BIND).on(&wanted))
    }

    /// The socket at this place.
    pub(crate) fn inbox_mut(
        &mut self,
        index: usize,
        what: &'static str,
    ) -> Result<&mut Inbox, IoError> {
        self.inboxes
            .get_mut(index)
            .and_then(Option::as_mut)
            .ok_or(IoError::new(IoErrorKind::WrongId, what))
    }

    /// Forgets a socket and what waits at it.
    pub(crate) fn close(&mut self, index: usize) {
        if let Ok(inbox) = self.inbox_mut(index, "close a socket")
            && inbox.holders > 1
        {
            inbox.holders -= 1;
            return;
        }
        if let Some(mut inbox) = self.inboxes.get_mut(index).and_then(Option::take) {
            while let Some(packet) = inbox.queue.pop_front() {
                self.recycle(packet.bytes);
            }
        }
    }

    /// The place of the file with this path.
    pub(crate) fn file_index(&self, path: &Path) -> Option<usize> {
        self.files.iter().position(|file| file.path == path)
    }

    /// Bytes the disk has left.
    pub(crate) fn disk_room(&self) -> usize {
        let used: usize = self.files.iter().map(|file| file.bytes.len()).sum();
        self.disk_bytes.saturating_sub(used)
    }
}

/// A network and a disk in memory, shared by the drivers that were made from it and by the tests
/// that watch them. Clones are the same network.
///
/// A lock guards it, so that drivers can be moved to threads; a simulation runs on one, where it is
/// never contended. Nothing of it is on a real line's path.
#[derive(Clone, Debug)]
pub struct VirtualNet(Arc<Mutex<State>>);

impl Default for VirtualNet {
    fn default() -> VirtualNet {
        VirtualNet::new()
    }
}

impl VirtualNet {
    /// An empty network at time 0, without delay.
    #[must_use]
    pub fn new() -> VirtualNet {
        VirtualNet(Arc::new(Mutex::new(State {
            now_ns: 0,
            delay_ns: 0,
            order: 0,
            next_port: EPHEMERAL_PORT_MIN,
            inboxes: Vec::new(),
            in_flight: BinaryHeap::with_capacity(VIRTUAL_QUEUE_DATAGRAMS),
            spare: Vec::with_capacity(VIRTUAL_QUEUE_DATAGRAMS),
            sent: Vec::with_capacity(VIRTUAL_QUEUE_DATAGRAMS),
            sent_bytes: Vec::with_capacity(VIRTUAL_QUEUE_BYTES),
            counts: NetCounts::default(),
            files: Vec::new(),
            disk_bytes: VIRTUAL_DISK_BYTES,
            streams: StreamNet::default(),
            unix: UnixNet::default(),
        })))
    }

    /// A driver on this network.
    #[must_use]
    pub fn driver(&self) -> Virtual {
        Virtual::on(self.clone())
    }

    /// What is on it, locked.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // The state is whole between any two calls, so a panic elsewhere does not spoil it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long a datagram travels from now on, in nanoseconds; those on the way keep their time.
    pub fn set_delay_ns(&self, delay_ns: u64) {
        self.state().delay_ns = delay_ns;
    }

    /// How many bytes a connection gives or takes at once from now on, at most: every read is cut
    /// after `read_bytes`, every write after `write_bytes`. 0 is 1.
    pub fn set_stream_cuts(&self, read_bytes: usize, write_bytes: usize) {
        let streams = &mut self.state().streams;
        streams.cuts = [read_bytes.max(1), write_bytes.max(1)];
    }

    /// Breaks off every connection, and says how many.
    pub fn reset_streams(&self) -> usize {
        self.state().streams.reset_all()
    }

    /// How many bytes all files may have together; writes beyond it meet a full disk.
    pub fn set_disk_bytes(&self, disk_bytes: usize) {
        self.state().disk_bytes = disk_bytes;
    }

    /// Puts in a datagram that arrives at `at_ns` (at once if that is past), as if `from` had sent
    /// it. False if too many are on the way or it is longer than a datagram can be.
    pub fn inject(&self, from: SocketAddr, to: SocketAddr, bytes: &[u8], at_ns: u64) -> bool {
        let mut state = self.state();
        let launched = bytes.len() <= MESSAGE_BYTES_MAX && state.launch(from, to, bytes, at_ns);
        state.counts.injected += u64::from(launched);
        launched
    }

    /// What drivers sent, oldest first, within [`VIRTUAL_SENT_MAX`] and [`VIRTUAL_SENT_BYTES`].
    #[must_use]
    pub fn sent(&self) -> Vec<SentDatagram> {
        let state = self.state();
        let mut rest = state.sent_bytes.as_slice();
        let mut out = Vec::with_capacity(state.sent.len());
        for head in &state.sent {
            let (bytes, after) = rest.split_at(head.len);
            rest = after;
            out.push(SentDatagram {
                at_ns: head.at_ns,
                from: head.from,
                to: head.to,
                bytes: bytes.to_vec(),
            });
        }
        out
    }

    /// Forgets what drivers sent, and makes room to keep more.
    pub fn clear_sent(&self) {
        let mut state = self.state();
        state.sent.clear();
        state.sent_bytes.clear();
    }

    /// What became of all datagrams.
    #[must_use]
    pub fn counts(&self) -> NetCounts {
        let state = self.state();
        NetCounts {
            in_flight: state.in_flight.len() as u64,
            ..state.counts
        }
    }

    /// When the next datagram on the way arrives, in virtual nanoseconds.
    #[must_use]
    pub fn next_delivery_ns(&self) -> Option<u64> {
        self.state().next_at_ns()
    }

    /// The content of a file.
    #[must_use]
    pub fn file(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let state = self.state();
        let index = state.file_index(path.as_ref())?;
        Some(state.files[index].bytes.clone())
    }

    /// Makes or replaces a file, whatever room the disk has.
    pub fn put_file(&self, path: impl AsRef<Path>, bytes: &[u8]) {
        let mut state = self.state();
        match state.file_index(path.as_ref()) {
            Some(index) => state.files[index].bytes = bytes.to_vec(),
            None => state.files.push(StoredFile {
                path: path.as_ref().to_owned(),
                bytes: bytes.to_vec(),
            }),
        }
    }
}
