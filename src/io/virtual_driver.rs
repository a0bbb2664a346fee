//! The driver in memory, on a [`VirtualNet`].
//!
//! Invariant: no system call, and never a wait: `poll` answers what time it is then.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::collections::VecDeque;
use std::path::Path;

use crate::base::limits::MESSAGE_BYTES_MAX;
use crate::base::primitive::{Arc, AtomicBool, Ordering};
use crate::io::error::{IoError, IoErrorKind};
use crate::io::shared::{SharedSocket, SharedUdp};
use crate::io::stream_virtual::Streams;
use crate::io::table::Table;
use crate::io::unix_virtual::UnixSockets;
use crate::io::virtual_net::{Inbox, State, StoredFile};
use crate::io::{
    BatchSent, Datagram, DeviceStamps, FILES_MAX, FileId, FileMode, Polled, RecvBatch, SOCKETS_MAX,
    SendBatch, Sent, UdpBuffers, UdpCounts, UdpGranted, UdpId, UdpSpec, VIRTUAL_IN_FLIGHT_MAX,
    VIRTUAL_QUEUE_BYTES, VIRTUAL_QUEUE_DATAGRAMS, VirtualNet, Waker, WakerKind,
};

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

impl SharedInbox {
    /// What others see as its address.
    pub(crate) fn local(&self) -> SocketAddr {
        self.from
    }
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
    pub(crate) net: VirtualNet,
    sockets: Table<Socket>,
    pub(crate) streams: Streams,
    pub(crate) unix: UnixSockets,
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
        self.streams.close_all(&mut state.streams);
        self.unix.close_all(&mut state.unix);
    }
}

impl Virtual {
    /// A driver alone on a network of its own.
    #[must_use]
    pub fn new() -> Virtual {
        VirtualNet::new().driver()
    }

    /// A driver on this network.
    pub(crate) fn on(net: VirtualNet) -> Virtual {
        let driver = net.state().streams.join();
        Virtual {
            net,
            sockets: Table::new(SOCKETS_MAX),
            streams: Streams::new(driver),
            unix: UnixSockets::new(),
            files: Table::new(FILES_MAX),
            woken: Arc::new(AtomicBool::new(false)),
        }
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
        let local = state.bind(wanted, spec.reuse_address || spec.join.is_some())?;
        let inbox = Inbox {
            local,
            peer: spec.connect,
            queue: VecDeque::with_capacity(VIRTUAL_QUEUE_DATAGRAMS),
            queued_bytes: 0,
            limit_bytes: spec.recv_buffer_bytes.unwrap_or(VIRTUAL_QUEUE_BYTES),
            drops: 0,
            stamps: spec.stamps,
            asks_device: spec.stamps && spec.stamp_device.is_some(),
            group: spec.join.map(|join| join.group),
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
            stamp_wall_ns: inbox.stamps.then_some(packet.at_ns),
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

    pub(crate) fn udp_granted(&self, id: UdpId) -> Result<UdpGranted, IoError> {
        const WHAT: &str = "ask a socket what it was granted";
        let socket = self.sockets.get(id.0, WHAT)?;
        let mut state = self.net.state();
        let inbox = state.inbox_mut(socket.inbox, WHAT)?;
        let (stamps, asked) = (inbox.stamps, inbox.asks_device);
        // A network in memory has no devices.
        let device_stamps = match asked {
            true => DeviceStamps::NoAnswer,
            false => DeviceStamps::Unasked,
        };
        Ok(UdpGranted {
            stamps,
            device_stamps,
            ..UdpGranted::default()
        })
    }

    pub(crate) fn udp_recv_batch(
        &mut self,
        id: UdpId,
        batch: &mut RecvBatch,
    ) -> Result<usize, IoError> {
        batch.fill_with(|buf| self.udp_recv(id, buf))
    }

    pub(crate) fn udp_send_batch(
        &mut self,
        id: UdpId,
        batch: &mut SendBatch,
    ) -> Result<BatchSent, IoError> {
        batch.send_with(|to, bytes| self.udp_send(id, to, bytes))
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

    /// The same for connections and Unix datagrams too.
    fn take_all_fresh(&mut self, state: &mut State) -> bool {
        let now_ns = state.now_ns;
        self.take_fresh(state)
            | self.streams.take_fresh(&mut state.streams)
            | self.unix.take_fresh(&mut state.unix, now_ns)
    }

    pub(crate) fn poll(&mut self, now_ns: u64, timeout_ns: Option<u64>) -> Result<Polled, IoError> {
        let net = self.net.clone();
        let mut state = net.state();
        state.advance(now_ns);
        // Acquire pairs with Release in Waker::wake.
        let woken = self.woken.swap(false, Ordering::Acquire);
        let mut ready = self.take_all_fresh(&mut state);
        if !ready && !woken {
            // The first delivery anywhere on the network: no driver lets time pass another's.
            let limit = timeout_ns.map(|timeout_ns| now_ns.saturating_add(timeout_ns));
            let until = match (limit, state.next_at_ns()) {
                (Some(limit), Some(next)) => Some(limit.min(next)),
                (limit, next) => limit.or(next),
            };
            if let Some(until) = until {
                state.advance(until);
                ready = self.take_all_fresh(&mut state);
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
