//! The driver in memory: a datagram network and a disk, on virtual time.
//!
//! Several drivers share one [`VirtualNet`], and tests keep a handle of it to put datagrams and
//! files in and to look at what came out. The same calls in the same order give the same answers.
//!
//! Invariant: no system call; time moves only by what `poll` and `observe_time` are told.

use core::cmp::Reverse;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::collections::{BinaryHeap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::base::limits::MESSAGE_BYTES_MAX;
use crate::base::primitive::{Arc, AtomicBool, Ordering};
use crate::io::error::{IoError, IoErrorKind};
use crate::io::shared::{SharedSocket, SharedUdp};
use crate::io::table::Table;
use crate::io::{
    Datagram, FILES_MAX, FileId, FileMode, Polled, SOCKETS_MAX, Sent, UdpBuffers, UdpCounts, UdpId,
    UdpSpec, Waker, WakerKind,
};

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
/// `sent + injected = delivered + dropped + unrouted + in_flight`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetCounts {
    /// Taken from drivers.
    pub sent: u64,
    /// Put in by tests and simulations.
    pub injected: u64,
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

#[derive(Debug)]
struct Packet {
    at_ns: u64,
    /// Breaks ties of time by the order of sending.
    order: u64,
    from: SocketAddr,
    to: SocketAddr,
    bytes: Vec<u8>,
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

#[derive(Debug)]
struct Inbox {
    local: SocketAddr,
    peer: Option<SocketAddr>,
    queue: VecDeque<Packet>,
    queued_bytes: usize,
    limit_bytes: usize,
    drops: u64,
    /// Who has it open; it closes with the last of them.
    holders: usize,
    /// Something came that no poll has reported yet.
    fresh: bool,
    readable: bool,
}

#[derive(Debug)]
struct StoredFile {
    path: PathBuf,
    bytes: Vec<u8>,
}

#[derive(Debug)]
struct State {
    now_ns: u64,
    delay_ns: u64,
    order: u64,
    next_port: u16,
    inboxes: Vec<Option<Inbox>>,
    in_flight: BinaryHeap<Reverse<Packet>>,
    /// Buffers to use again: nothing is allocated once the run's peak was reached.
    spare: Vec<Vec<u8>>,
    sent: Vec<SentHead>,
    sent_bytes: Vec<u8>,
    counts: NetCounts,
    files: Vec<StoredFile>,
    disk_bytes: usize,
}

impl State {
    fn advance(&mut self, now_ns: u64) {
        self.now_ns = self.now_ns.max(now_ns);
        while let Some(Reverse(first)) = self.in_flight.peek()
            && first.at_ns <= self.now_ns
        {
            if let Some(Reverse(packet)) = self.in_flight.pop() {
                self.deliver(packet);
            }
        }
    }

    fn next_at_ns(&self) -> Option<u64> {
        self.in_flight.peek().map(|Reverse(first)| first.at_ns)
    }

    fn deliver(&mut self, packet: Packet) {
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
        if inbox.queue.len() >= VIRTUAL_QUEUE_DATAGRAMS
            || inbox.queued_bytes + packet.bytes.len() > inbox.limit_bytes
        {
            inbox.drops += 1;
            self.counts.dropped += 1;
            return self.recycle(packet.bytes);
        }
        inbox.queued_bytes += packet.bytes.len();
        inbox.queue.push_back(packet);
        inbox.fresh = true;
        self.counts.delivered += 1;
    }

    fn recycle(&mut self, mut bytes: Vec<u8>) {
        bytes.clear();
        self.spare.push(bytes);
    }

    /// Puts a datagram on its way; false if too many are.
    fn launch(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8], at_ns: u64) -> bool {
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

    fn keep_sent(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
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

    fn bind(&mut self, wanted: SocketAddr) -> Result<SocketAddr, IoError> {
        let taken = |inboxes: &[Option<Inbox>], addr: SocketAddr| {
            inboxes.iter().flatten().any(|inbox| {
                let (own, other) = (inbox.local.ip(), addr.ip());
                inbox.local.port() == addr.port()
                    && own.is_ipv4() == other.is_ipv4()
                    && (own == other || own.is_unspecified() || other.is_unspecified())
            })
        };
        if wanted.port() != 0 {
            return if taken(&self.inboxes, wanted) {
                Err(IoError::new(IoErrorKind::AddrInUse, "bind").on(&wanted))
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
        Err(IoError::new(IoErrorKind::AddrInUse, "bind").on(&wanted))
    }

    fn inbox_mut(&mut self, index: usize, what: &'static str) -> Result<&mut Inbox, IoError> {
        self.inboxes
            .get_mut(index)
            .and_then(Option::as_mut)
            .ok_or(IoError::new(IoErrorKind::WrongId, what))
    }

    fn close(&mut self, index: usize) {
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

    fn file_index(&self, path: &Path) -> Option<usize> {
        self.files.iter().position(|file| file.path == path)
    }

    fn disk_room(&self) -> usize {
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
pub struct VirtualNet(std::sync::Arc<Mutex<State>>);

impl Default for VirtualNet {
    fn default() -> VirtualNet {
        VirtualNet::new()
    }
}

impl VirtualNet {
    /// An empty network at time 0, without delay.
    #[must_use]
    pub fn new() -> VirtualNet {
        VirtualNet(std::sync::Arc::new(Mutex::new(State {
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
        })))
    }

    /// A driver on this network.
    #[must_use]
    pub fn driver(&self) -> Virtual {
        Virtual {
            net: self.clone(),
            sockets: Table::new(SOCKETS_MAX),
            files: Table::new(FILES_MAX),
            woken: Arc::new(AtomicBool::new(false)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is whole between any two calls, so a panic elsewhere does not spoil it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long a datagram travels from now on, in nanoseconds; those on the way keep their time.
    pub fn set_delay_ns(&self, delay_ns: u64) {
        self.state().delay_ns = delay_ns;
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

#[derive(Debug)]
struct Socket {
    /// Place among the network's inboxes.
    inbox: usize,
    peer: Option<SocketAddr>,
    /// What others see as the sender.
    from: SocketAddr,
    /// Whether its poll reports what comes in.
    receives: bool,
    counts: UdpCounts,
}

/// An inbox that several sockets share; stays open as long as this does.
#[derive(Debug)]
pub(crate) struct SharedInbox {
    net: VirtualNet,
    inbox: usize,
    from: SocketAddr,
}

impl Drop for SharedInbox {
    fn drop(&mut self) {
        self.net.state().close(self.inbox);
    }
}

#[derive(Debug)]
struct OpenFile {
    index: usize,
    at: usize,
    mode: FileMode,
}

/// A driver in memory, on virtual time.
///
/// It allocates only until its buffers have grown to the run's peak, and for what it keeps (files,
/// sent datagrams). Dropping it closes its sockets.
#[derive(Debug)]
pub struct Virtual {
    net: VirtualNet,
    sockets: Table<Socket>,
    files: Table<OpenFile>,
    woken: Arc<AtomicBool>,
}

impl Default for Virtual {
    fn default() -> Virtual {
        Virtual::new()
    }
}

impl Drop for Virtual {
    fn drop(&mut self) {
        let mut state = self.net.state();
        for socket in self.sockets.iter() {
            state.close(socket.inbox);
        }
    }
}

impl Virtual {
    /// A driver alone on a network of its own.
    #[must_use]
    pub fn new() -> Virtual {
        VirtualNet::new().driver()
    }

    /// Two drivers on one network.
    #[must_use]
    pub fn pair() -> (Virtual, Virtual) {
        let net = VirtualNet::new();
        (net.driver(), net.driver())
    }

    /// The network it is on.
    #[must_use]
    pub fn net(&self) -> VirtualNet {
        self.net.clone()
    }

    pub(crate) fn udp_open(&mut self, spec: &UdpSpec) -> Result<UdpId, IoError> {
        let (inbox, from) = self.open_inbox(spec)?;
        self.adopt(inbox, from, spec, true)
    }

    pub(crate) fn udp_join(
        &mut self,
        shared: &SharedUdp,
        receives: bool,
    ) -> Result<UdpId, IoError> {
        let spec = shared.spec();
        let opened = shared.socket(|| {
            let (inbox, from) = self.open_inbox(spec)?;
            let net = self.net.clone();
            Ok(SharedSocket::Virtual(SharedInbox { net, inbox, from }))
        })?;
        let SharedSocket::Virtual(SharedInbox { inbox, from, .. }) = opened else {
            return Err(IoError::new(IoErrorKind::InvalidInput, "share a socket"));
        };
        self.net
            .state()
            .inbox_mut(*inbox, "share a socket")?
            .holders += 1;
        self.adopt(*inbox, *from, spec, receives)
    }

    fn adopt(
        &mut self,
        inbox: usize,
        from: SocketAddr,
        spec: &UdpSpec,
        receives: bool,
    ) -> Result<UdpId, IoError> {
        let socket = Socket {
            inbox,
            peer: spec.connect,
            from,
            receives,
            counts: UdpCounts::default(),
        };
        let slot = self.sockets.insert(socket, "open a socket");
        if slot.is_err() {
            self.net.state().close(inbox);
        }
        slot.map(UdpId)
    }

    /// Binds an inbox: its place, and what others see as the sender.
    fn open_inbox(&self, spec: &UdpSpec) -> Result<(usize, SocketAddr), IoError> {
        let localhost = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let wanted = spec.bind.unwrap_or_else(|| {
            let ip = spec
                .connect
                .map_or(Ipv4Addr::UNSPECIFIED.into(), |peer| peer.ip());
            SocketAddr::new(ip, 0)
        });
        if let Some(peer) = spec.connect
            && peer.is_ipv4() != wanted.is_ipv4()
        {
            return Err(
                IoError::new(IoErrorKind::InvalidInput, "connect").on(&format_args!(
                    "{wanted} to {peer}: IPv4 and IPv6 do not mix"
                )),
            );
        }
        let mut state = self.net.state();
        let local = state.bind(wanted)?;
        let inbox = Inbox {
            local,
            peer: spec.connect,
            queue: VecDeque::with_capacity(VIRTUAL_QUEUE_DATAGRAMS),
            queued_bytes: 0,
            limit_bytes: spec.recv_buffer_bytes.unwrap_or(VIRTUAL_QUEUE_BYTES),
            drops: 0,
            holders: 1,
            fresh: false,
            readable: true,
        };
        let index = match state.inboxes.iter().position(Option::is_none) {
            Some(free) => free,
            None => {
                state.inboxes.push(None);
                state.inboxes.len() - 1
            }
        };
        let from = match local.ip() {
            ip if ip.is_unspecified() && ip.is_ipv4() => SocketAddr::new(localhost, local.port()),
            _ => local,
        };
        state.inboxes[index] = Some(inbox);
        Ok((index, from))
    }

    pub(crate) fn udp_close(&mut self, id: UdpId) -> Result<(), IoError> {
        let socket = self.sockets.remove(id.0, "close a socket")?;
        self.net.state().close(socket.inbox);
        Ok(())
    }

    pub(crate) fn udp_local_addr(&self, id: UdpId) -> Result<SocketAddr, IoError> {
        const WHAT: &str = "ask a socket for its address";
        let socket = self.sockets.get(id.0, WHAT)?;
        Ok(self.net.state().inbox_mut(socket.inbox, WHAT)?.local)
    }

    pub(crate) fn udp_buffers(&self, id: UdpId) -> Result<UdpBuffers, IoError> {
        const WHAT: &str = "ask a socket for its buffers";
        let socket = self.sockets.get(id.0, WHAT)?;
        Ok(UdpBuffers {
            recv_bytes: self.net.state().inbox_mut(socket.inbox, WHAT)?.limit_bytes,
            send_bytes: VIRTUAL_IN_FLIGHT_MAX * MESSAGE_BYTES_MAX,
        })
    }

    pub(crate) fn udp_counts(&self, id: UdpId) -> Result<UdpCounts, IoError> {
        Ok(self
            .sockets
            .get(id.0, "ask a socket for its counts")?
            .counts)
    }

    pub(crate) fn udp_recv(
        &mut self,
        id: UdpId,
        buf: &mut [u8],
    ) -> Result<Option<Datagram>, IoError> {
        let socket = self.sockets.get(id.0, "receive")?;
        let mut state = self.net.state();
        let inbox = state.inbox_mut(socket.inbox, "receive")?;
        let Some(packet) = inbox.queue.pop_front() else {
            inbox.readable = false;
            return Ok(None);
        };
        inbox.queued_bytes -= packet.bytes.len();
        let len = packet.bytes.len().min(buf.len());
        buf[..len].copy_from_slice(&packet.bytes[..len]);
        let datagram = Datagram {
            len,
            from: packet.from,
            truncated: packet.bytes.len() > len,
        };
        state.recycle(packet.bytes);
        Ok(Some(datagram))
    }

    pub(crate) fn udp_send(
        &mut self,
        id: UdpId,
        to: Option<SocketAddr>,
        bytes: &[u8],
    ) -> Result<Sent, IoError> {
        let socket = self.sockets.get_mut(id.0, "send")?;
        let to = to
            .or(socket.peer)
            .ok_or(IoError::new(IoErrorKind::InvalidInput, "send"))?;
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(IoError::new(IoErrorKind::MessageTooLong, "send"));
        }
        let mut state = self.net.state();
        let at_ns = state.now_ns.saturating_add(state.delay_ns);
        if !state.launch(socket.from, to, bytes, at_ns) {
            socket.counts.send_would_block += 1;
            return Ok(Sent::WouldBlock);
        }
        state.counts.sent += 1;
        state.keep_sent(socket.from, to, bytes);
        Ok(Sent::Yes)
    }

    pub(crate) fn udp_maybe_readable(&self, id: UdpId) -> bool {
        self.sockets.get(id.0, "receive").is_ok_and(|socket| {
            let mut state = self.net.state();
            state
                .inbox_mut(socket.inbox, "receive")
                .is_ok_and(|inbox| inbox.readable)
        })
    }

    pub(crate) fn udp_kernel_drops(&self, id: UdpId) -> Option<u64> {
        const WHAT: &str = "ask a socket for its drops";
        let socket = self.sockets.get(id.0, WHAT).ok()?;
        let mut state = self.net.state();
        let inbox = state.inbox_mut(socket.inbox, WHAT).ok()?;
        Some(inbox.drops)
    }

    pub(crate) fn file_open(&mut self, path: &Path, mode: FileMode) -> Result<FileId, IoError> {
        let mut state = self.net.state();
        let index = match (state.file_index(path), mode) {
            (None, FileMode::Read) => {
                return Err(IoError::new(IoErrorKind::NotFound, "open").on(&path.display()));
            }
            (None, _) => {
                state.files.push(StoredFile {
                    path: path.to_owned(),
                    bytes: Vec::new(),
                });
                state.files.len() - 1
            }
            (Some(index), FileMode::CreateTruncate) => {
                state.files[index].bytes.clear();
                index
            }
            (Some(index), _) => index,
        };
        let file = OpenFile { index, at: 0, mode };
        self.files.insert(file, "open").map(FileId)
    }

    pub(crate) fn file_read(&mut self, id: FileId, buf: &mut [u8]) -> Result<usize, IoError> {
        let file = self.files.get_mut(id.0, "read")?;
        if file.mode != FileMode::Read {
            return Err(IoError::new(IoErrorKind::InvalidInput, "read"));
        }
        let state = self.net.state();
        let rest = state.files[file.index].bytes.get(file.at..).unwrap_or(&[]);
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        file.at += len;
        Ok(len)
    }

    pub(crate) fn file_write(&mut self, id: FileId, bytes: &[u8]) -> Result<usize, IoError> {
        let file = self.files.get(id.0, "write")?;
        if file.mode == FileMode::Read {
            return Err(IoError::new(IoErrorKind::InvalidInput, "write"));
        }
        let mut state = self.net.state();
        let len = bytes.len().min(state.disk_room());
        if len == 0 && !bytes.is_empty() {
            return Err(IoError::new(IoErrorKind::DiskFull, "write"));
        }
        state.files[file.index]
            .bytes
            .extend_from_slice(&bytes[..len]);
        Ok(len)
    }

    pub(crate) fn file_set_len(&mut self, id: FileId, len: u64) -> Result<(), IoError> {
        let file = self.files.get(id.0, "cut")?;
        if file.mode == FileMode::Read {
            return Err(IoError::new(IoErrorKind::InvalidInput, "cut"));
        }
        let mut state = self.net.state();
        state.files[file.index].bytes.resize(len as usize, 0);
        Ok(())
    }

    pub(crate) fn file_sync(&mut self, id: FileId) -> Result<(), IoError> {
        self.files.get(id.0, "sync").map(drop)
    }

    pub(crate) fn file_close(&mut self, id: FileId) -> Result<(), IoError> {
        self.files.remove(id.0, "close").map(drop)
    }

    /// True once for each socket of this driver that something came to.
    fn take_fresh(&self, state: &mut State) -> bool {
        let mut ready = false;
        for socket in self.sockets.iter().filter(|socket| socket.receives) {
            if let Ok(inbox) = state.inbox_mut(socket.inbox, "poll")
                && inbox.fresh
            {
                inbox.fresh = false;
                inbox.readable = true;
                ready = true;
            }
        }
        ready
    }

    pub(crate) fn poll(&mut self, now_ns: u64, timeout_ns: Option<u64>) -> Result<Polled, IoError> {
        let mut state = self.net.state();
        state.advance(now_ns);
        // Acquire pairs with Release in Waker::wake.
        let woken = self.woken.swap(false, Ordering::Acquire);
        let mut ready = self.take_fresh(&mut state);
        if !ready && !woken {
            // The first delivery anywhere on the network: no driver lets time pass another's.
            let limit = timeout_ns.map(|timeout_ns| now_ns.saturating_add(timeout_ns));
            let until = match (limit, state.next_at_ns()) {
                (Some(limit), Some(next)) => Some(limit.min(next)),
                (limit, next) => limit.or(next),
            };
            if let Some(until) = until {
                state.advance(until);
                ready = self.take_fresh(&mut state);
            }
        }
        Ok(Polled {
            ready,
            woken,
            advance_to_ns: (state.now_ns > now_ns).then_some(state.now_ns),
        })
    }

    pub(crate) fn observe_time(&mut self, now_ns: u64) {
        self.net.state().advance(now_ns);
    }

    pub(crate) fn waker(&self) -> Waker {
        Waker(WakerKind::Virtual(Arc::clone(&self.woken)))
    }
}
