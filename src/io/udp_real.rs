//! One real UDP socket: opening it, and its batches.
//!
//! Invariant: after opening, nothing here allocates or blocks.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;

use mio::net::UdpSocket;
use socket2::{Domain, Protocol, Socket, Type};

use crate::base::limits::MESSAGE_BYTES_MAX;
use crate::io::batch::{
    BatchSent, Entry, RecvBatch, SEND_CALLS_MAX, SendBatch, TRAINS_FROM, plan_trains,
};
use crate::io::device::{self, DeviceStamps};
use crate::io::error::{BIND, CONNECT, GROUP_SEND, IoError, IoErrorKind, JOIN};
use crate::io::mmsg::{self, Drops, Train};
use crate::io::stamp::StampChoice;
use crate::io::{Sent, Trains, UdpCounts, UdpGranted, UdpSpec, is_refusal, multicast, sys};

/// Most interruptions and refusals one call skips. Each refusal answers one earlier send, so
/// more than this in a row means that the next turn is soon enough.
pub(crate) const SKIPS_MAX: usize = 16;

/// The MTU of a path of which nothing is known, in bytes: an Ethernet frame's payload. Where it is
/// less, the system refuses the train and it goes datagram by datagram.
const MTU_UNKNOWN_BYTES: usize = 1500;

/// Bytes of the IP header without options and the UDP header, for IPv4 and IPv6.
const HEADERS_BYTES: [usize; 2] = [20 + 8, 40 + 8];

/// An open socket.
#[derive(Debug)]
pub(crate) struct Udp {
    pub(crate) socket: UdpSocket,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) readable: bool,
    /// Whether the poll reports it: not for one that only sends.
    pub(crate) watched: bool,
    pub(crate) counts: UdpCounts,
    pub(crate) granted: UdpGranted,
    trains: Trains,
    /// Longest segment of a train, in bytes; 0 where trains cannot be sent.
    segment_max: usize,
    drops: Drops,
    stamps: StampChoice,
}

impl Udp {
    /// Takes in a socket that was opened by `spec`, and asks for what batches need.
    pub(crate) fn new(socket: std::net::UdpSocket, spec: &UdpSpec, watched: bool) -> Udp {
        let socket = UdpSocket::from_std(socket);
        let fd = socket.as_fd();
        let device_stamps = match spec.stamp_device.filter(|_| spec.stamps) {
            None => DeviceStamps::Unasked,
            Some(device) => match device::stamps_of(fd, device) {
                DeviceStamps::Granted { .. } if !mmsg::want_device_stamps(fd) => DeviceStamps::None,
                answer => answer,
            },
        };
        let of_device = matches!(device_stamps, DeviceStamps::Granted { .. });
        let granted = UdpGranted {
            trains: spec.trains == Trains::On && mmsg::want_trains(fd),
            sends_trains: mmsg::sends_trains(fd),
            stamps: of_device || (spec.stamps && mmsg::want_stamps(fd)),
            device_stamps,
            drops_told: false,
        };
        let mut udp = Udp {
            socket,
            peer: spec.connect,
            readable: true,
            watched,
            counts: UdpCounts::default(),
            granted,
            trains: spec.trains,
            segment_max: 0,
            drops: Drops::default(),
            stamps: StampChoice {
                of_device,
                not_by_device: 0,
            },
        };
        udp.measure_path();
        udp.want_drops();
        udp
    }

    /// Has trains come datagram by datagram from now on.
    pub(crate) fn refuse_trains(&mut self) {
        self.trains = Trains::Off;
        if self.granted.trains {
            self.granted.trains = !mmsg::refuse_trains(self.socket.as_fd());
        }
    }

    /// Has counts of drops come along, once something comes beside the bytes anyway: a plain call
    /// has no place for them.
    fn want_drops(&mut self) {
        if self.granted.trains || self.granted.stamps {
            self.granted.drops_told = mmsg::want_drops(self.socket.as_fd());
        }
    }

    /// Asks the system how long a segment may be on the way to the peer.
    fn measure_path(&mut self) {
        self.segment_max = 0;
        if !self.granted.sends_trains {
            return;
        }
        let v6 = self.socket.local_addr().is_ok_and(|addr| addr.is_ipv6());
        let known = self
            .peer
            .and_then(|_| mmsg::path_mtu(self.socket.as_fd(), v6));
        let mtu = known.unwrap_or(MTU_UNKNOWN_BYTES);
        self.segment_max = mtu
            .saturating_sub(HEADERS_BYTES[usize::from(v6)])
            .min(MESSAGE_BYTES_MAX);
    }

    #[inline]
    pub(crate) fn takes_trains(&self) -> bool {
        self.trains != Trains::Off
    }

    #[inline]
    pub(crate) fn recv_batch(&mut self, batch: &mut RecvBatch) -> Result<usize, IoError> {
        for _ in 0..SKIPS_MAX {
            let want = batch.want();
            // What says nothing beside the bytes of a lone datagram is taken by the plainest call.
            let received = if want == 1 && !self.granted.trains && !self.granted.stamps {
                batch.fill_one(|buf| sys::recv(&self.socket, buf))
            } else {
                let fd = self.socket.as_fd();
                let (drops, stamps) = (&mut self.drops, &mut self.stamps);
                let received = mmsg::recv_many(fd, want, &mut batch.slots, drops, stamps);
                self.counts.not_by_device = self.stamps.not_by_device;
                received.map(|got| batch.filled(got))
            };
            match received {
                Ok(got) => {
                    if got >= TRAINS_FROM && self.trains == Trains::Backlog {
                        // Whatever the answer, it is asked once.
                        self.trains = Trains::On;
                        self.granted.trains = mmsg::want_trains(self.socket.as_fd());
                        self.want_drops();
                    }
                    return Ok(got);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.readable = false;
                    return Ok(batch.filled(0));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_refusal(&error) => self.counts.recv_refused += 1,
                Err(error) => return Err(IoError::from_os(&error, "receive")),
            }
        }
        Ok(0)
    }

    pub(crate) fn send_batch(&mut self, batch: &mut SendBatch) -> Result<BatchSent, IoError> {
        let Some(first) = batch.entries().first() else {
            return Ok(BatchSent::NONE);
        };
        if first.to.is_none() && self.peer.is_none() {
            batch.take_out(1);
            return Err(IoError::new(IoErrorKind::InvalidInput, "send"));
        }
        let lone = batch.len() == 1;
        let mut trains = [Train::EMPTY; SEND_CALLS_MAX];
        trains[0].count = 1;
        for _ in 0..SKIPS_MAX {
            // The plain call is cheaper for a lone datagram, and needs no plan.
            let sent = if lone {
                match batch.entries() {
                    &[Entry { to: Some(to), .. }] => self.socket.send_to(batch.bytes(), to),
                    _ => self.socket.send(batch.bytes()),
                }
                .map(|_| 1)
            } else {
                let planned = plan_trains(batch.entries(), self.segment_max, &mut trains);
                let trains = &trains[..planned];
                mmsg::send_many(self.socket.as_fd(), batch.bytes(), batch.entries(), trains)
            };
            let error = match sent {
                Ok(taken) => {
                    let count = trains[..taken].iter().map(|train| train.count).sum();
                    batch.take_out(count);
                    let what = Sent::Yes;
                    return Ok(BatchSent { count, what });
                }
                Err(error) => error,
            };
            if error.kind() == io::ErrorKind::Interrupted {
                continue;
            }
            // A full device queue is a full buffer by another name.
            if error.kind() == io::ErrorKind::WouldBlock
                || error.raw_os_error() == Some(libc::ENOBUFS)
            {
                self.counts.send_would_block += 1;
                return Ok(BatchSent {
                    count: 0,
                    what: Sent::WouldBlock,
                });
            }
            if is_refusal(&error) {
                let count = trains[0].count;
                self.counts.send_refused += count as u64;
                batch.take_out(count);
                let what = Sent::Refused;
                return Ok(BatchSent { count, what });
            }
            if trains[0].count > 1 && self.gives_up_train(&error, trains[0].segment) {
                continue;
            }
            // The system speaks of the first, which stands for all of its train.
            batch.take_out(1);
            return Err(IoError::from_os(&error, "send"));
        }
        Err(IoError::new(IoErrorKind::Interrupted, "send"))
    }

    /// Whether a train's datagrams are to be tried one by one after this error.
    #[cold]
    fn gives_up_train(&mut self, error: &io::Error, segment: usize) -> bool {
        match error.raw_os_error() {
            // A segment would not fit in a packet of that path (EINVAL before Linux 6.9 as well).
            Some(libc::EMSGSIZE | libc::EINVAL) => {
                self.segment_max = self.segment_max.min(segment - 1);
            }
            // The device cannot compute checksums, or the system knows no trains.
            Some(libc::EIO | libc::ENOPROTOOPT | libc::EOPNOTSUPP) => {
                self.segment_max = 0;
                self.granted.sends_trains = false;
            }
            _ => return false,
        }
        self.counts.trains_refused += 1;
        true
    }

    pub(crate) fn kernel_drops(&self) -> Option<u64> {
        let mut drops = self.drops;
        drops.saw(sys::kernel_drops(&self.socket)?);
        Some(drops.total())
    }
}

/// Opens, binds and connects a socket that does not block.
pub(crate) fn open_socket(spec: &UdpSpec) -> Result<std::net::UdpSocket, IoError> {
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let family = spec.bind.or(spec.connect).unwrap_or(any);
    if let (Some(bind), Some(peer)) = (spec.bind, spec.connect)
        && bind.is_ipv4() != peer.is_ipv4()
    {
        return Err(IoError::new(IoErrorKind::InvalidInput, "connect")
            .on(&format_args!("{bind} to {peer}: IPv4 and IPv6 do not mix")));
    }
    let failed =
        |what, addr: SocketAddr| move |error: io::Error| IoError::from_os(&error, what).on(&addr);
    let socket = Socket::new(
        Domain::for_address(family),
        Type::DGRAM,
        Some(Protocol::UDP),
    )
    .map_err(failed("open a socket for", family))?;
    let prepare = || {
        socket.set_nonblocking(true)?;
        if spec.reuse_address || spec.join.is_some() {
            socket.set_reuse_address(true)?;
        }
        if let Some(bytes) = spec.recv_buffer_bytes {
            socket.set_recv_buffer_size(bytes.min(i32::MAX as usize))?;
        }
        if let Some(bytes) = spec.send_buffer_bytes {
            socket.set_send_buffer_size(bytes.min(i32::MAX as usize))?;
        }
        Ok(())
    };
    prepare().map_err(failed("set the options of", family))?;
    multicast::prepare_send(&socket, &spec.group_send, family.is_ipv6())
        .map_err(|error| IoError::from_os(&error, GROUP_SEND).on(&spec.group_send.interface))?;
    if let Some(join) = &spec.join {
        if join.group.is_ipv4() != family.is_ipv4() {
            return Err(
                IoError::new(IoErrorKind::InvalidInput, JOIN).on(&format_args!(
                    "{} at {family}: IPv4 and IPv6 do not mix",
                    join.group
                )),
            );
        }
        multicast::join(&socket, join).map_err(|error| {
            let on = format_args!("{} by interface {}", join.group, join.interface);
            IoError::from_os(&error, JOIN).on(&on)
        })?;
    }
    if let Some(bind) = spec.bind.or_else(|| spec.connect.is_none().then_some(any)) {
        socket.bind(&bind.into()).map_err(failed(BIND, bind))?;
    }
    if let Some(peer) = spec.connect {
        socket
            .connect(&peer.into())
            .map_err(failed(CONNECT, peer))?;
    }
    Ok(socket.into())
}
