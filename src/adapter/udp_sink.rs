//! Datagrams into a socket: to one address, or back to where each came from.
//!
//! What one turn takes from its hops leaves at its end, in as few calls as the system allows: a lone
//! datagram by itself and at once, a run of equal ones to one address as a train (GSO), others by one
//! call for many. Nothing waits for more to come.
//!
//! Invariant: a full kernel buffer holds the hop back and loses nothing; a datagram that the system
//! refuses is counted by its reason.

use core::net::SocketAddr;

use crate::adapter::{Trouble, address, interface_fits, interface_of, one_family, peer};
use crate::base::Reason;
use crate::base::limits::BATCH_FRAMES;
use crate::feed::datagram::{DATAGRAM_BYTES_MAX, Datagram, DatagramPart, Datagrams};
use crate::frame::{Frame, Input, KindInfo, View};
use crate::io::{
    BatchSent, Driver, GroupSend, IoError, IoErrorKind, OwnAddress, SendBatch, Sent, SharedSockets,
    SharedUdp, UdpId, UdpSpec,
};
use crate::stage::{Delivery, Egress, Leaving};
use crate::topology::{IntoSink, Params, Problem};

crate::reasons! {
    /// Why a datagram did not leave.
    pub enum Unsent {
        /// The system reported that an earlier one found nobody at the other end; this one was not
        /// sent for that.
        Refused = "refused",
        /// Longer than one datagram can be on that way.
        TooLong = "too_long",
        /// The system did not take it; the sink's fault says why.
        Failed = "failed",
        /// To be sent back, but it came from nowhere.
        NoPeer = "no_peer",
        /// Its fragments do not make a datagram.
        Malformed = "malformed",
        /// To be sent back, and it says that it came from this very socket: the answer would be
        /// answered, without end.
        OwnAddress = "own_address",
    }
}

/// A description of a sink that sends to one address.
#[derive(Clone, Debug)]
pub struct UdpTo {
    spec: Result<UdpSpec, Problem>,
}

/// Sends each datagram to `to`: an address with a port, in numbers. A wrong one is reported when
/// the line is built.
///
/// The socket is connected, so that the system can say when nobody listens there.
#[must_use]
pub fn udp_to(to: &str) -> UdpTo {
    UdpTo {
        spec: peer("to", to).map(UdpSpec::connected),
    }
}

impl UdpTo {
    /// The same with that way of sending to groups, if the address is one of a group.
    #[must_use]
    pub fn group_send(mut self, send: GroupSend) -> UdpTo {
        if let Ok(spec) = &mut self.spec {
            spec.group_send = send;
        }
        self
    }
}

impl IntoSink for UdpTo {
    fn into_sink(self) -> Result<Box<dyn Egress>, Problem> {
        Ok(Box::new(UdpSink::new(Opens::Alone(self.spec?))))
    }
}

/// Sends each datagram back to its peer, from the socket that a source receives by. The peer is
/// whom the datagram names, and that may be forged; only one from the socket's own address is
/// rejected, since its answers would never end.
///
/// ```
/// use hopline::adapter::{datagrams, shared_udp, udp_on, udp_reply};
/// use hopline::topology::{Hop, Line};
/// let socket = shared_udp("127.0.0.1:26402")?;
/// let mut line = Line::builder("echo");
/// line.source("in", udp_on(&socket).decode(datagrams()));
/// line.sink("out", udp_reply(&socket));
/// line.connect("in", "out", Hop::depth(256));
/// assert!(line.build().is_ok());
/// # Ok::<(), hopline::topology::Problem>(())
/// ```
#[must_use]
pub fn udp_reply(socket: &SharedUdp) -> UdpSink {
    UdpSink::new(Opens::Shared(socket.clone()))
}

#[derive(Debug)]
enum Opens {
    Alone(UdpSpec),
    Shared(SharedUdp),
    /// The socket that a source of the same registry shares by this name.
    Named(SharedSockets, String),
}

/// Most datagrams that leave together: what a turn takes from one hop, and as many again for the
/// other hops of a sink that has several.
const QUEUE_DATAGRAMS: usize = 2 * BATCH_FRAMES;

/// Bytes of them: two of the longest, or a turn's worth of whole Ethernet frames.
const QUEUE_BYTES: usize = 2 * DATAGRAM_BYTES_MAX;

const _: () = assert!(QUEUE_BYTES >= QUEUE_DATAGRAMS * 1_472);

/// A datagram whose fragments are coming in.
#[derive(Clone, Copy, Debug, Default)]
struct Assembly {
    peer: Option<SocketAddr>,
    len: usize,
    filled: usize,
}

/// Sends datagrams.
#[derive(Debug)]
pub struct UdpSink {
    opens: Opens,
    /// To whom the next datagram goes, if the socket is not connected.
    replies: bool,
    socket: Option<UdpId>,
    /// Whom not to reply to.
    own: Option<OwnAddress>,
    whole: Box<[u8]>,
    assembly: Assembly,
    /// What leaves at the end of the turn.
    queue: SendBatch,
    /// Whether the system took nothing when it was last asked.
    blocked: bool,
    trouble: Trouble,
}

impl UdpSink {
    fn new(opens: Opens) -> UdpSink {
        UdpSink {
            replies: !matches!(opens, Opens::Alone(_)),
            opens,
            socket: None,
            own: None,
            whole: Box::default(),
            assembly: Assembly::default(),
            queue: SendBatch::new(0, 0),
            blocked: false,
            trouble: Trouble::default(),
        }
    }

    /// From the settings `to`, `bind`, `interface`, `ttl` and `loop`.
    pub(crate) fn from_params(params: &mut Params) -> Result<UdpSink, Problem> {
        let text = params.need_text("to", "127.0.0.1:26500")?;
        let to = peer("to", &text).map_err(|error| error.at(params.place_of("to")))?;
        let mut spec = UdpSpec::connected(to);
        let send = GroupSend {
            interface: interface_of(params)?,
            ttl: Some(params.count("ttl", 1, 0..=u64::from(u8::MAX))? as u8),
            loops: Some(params.flag("loop", true)?),
        };
        let bind = params.text("bind")?;
        let of_groups = ["interface", "ttl", "loop"];
        if to.ip().is_multicast() {
            interface_fits(params, to.ip(), send.interface)?;
            spec.group_send = send;
        } else if let Some(key) = of_groups.into_iter().find(|key| params.has(key)) {
            let what = format!("\"{key}\" has no effect where \"to\" is no group");
            return Err(params.problem(key, what, "remove it, or send to a group"));
        }
        if let Some(text) = bind {
            let bind = address("bind", &text).map_err(|error| error.at(params.place_of("bind")))?;
            one_family(params, ("bind", bind.ip()), ("to", to.ip()))?;
            spec.bind = Some(bind);
        }
        Ok(UdpSink::new(Opens::Alone(spec)))
    }

    /// From the setting `socket`.
    pub(crate) fn reply_from_params(
        params: &mut Params,
        sockets: &SharedSockets,
    ) -> Result<UdpSink, Problem> {
        let name = params.need_text("socket", "echo")?;
        Ok(UdpSink::new(Opens::Named(sockets.clone(), name)))
    }

    /// Takes the first frame of a datagram of several.
    fn begin(&mut self, payload: &[u8]) {
        self.assembly = Assembly::default();
        if let Ok(head) = View::<Datagram>::read(payload) {
            let head = head.to_owned();
            let now = head.as_slice();
            let len = usize::from(head.total);
            if now.len() <= len && len <= self.whole.len() {
                self.whole[..now.len()].copy_from_slice(now);
                self.assembly = Assembly {
                    peer: head.peer(),
                    len,
                    filled: now.len(),
                };
            }
        }
    }

    /// Takes a further frame; a second time, if the kernel had no room for the datagram before.
    fn go_on(&mut self, payload: &[u8]) {
        let Ok(part) = View::<DatagramPart>::read(payload) else {
            return;
        };
        let part = part.to_owned();
        let now = part.as_slice();
        let at = usize::from(part.at);
        let end = at + now.len();
        // Anything but the next bytes leaves a hole, which the last frame finds.
        if (at == self.assembly.filled || end == self.assembly.filled) && end <= self.assembly.len {
            self.whole[at..end].copy_from_slice(now);
            self.assembly.filled = end;
        }
    }

    /// Adds a datagram to what leaves at the end of the turn.
    fn queue(&mut self, peer: Option<SocketAddr>, whole: Whole<'_>) -> Delivery {
        if self.replies {
            let Some(peer) = peer else {
                return Unsent::NoPeer.into();
            };
            if self.own.as_mut().is_some_and(|own| own.is(peer)) {
                return Unsent::OwnAddress.into();
            }
        }
        let bytes = match whole {
            Whole::Frame(bytes) => bytes,
            Whole::Assembled(len) => &self.whole[..len],
        };
        // A full queue leaves the frame on the hop until some of it has gone.
        if !self.blocked && self.queue.push(peer.filter(|_| self.replies), bytes) {
            Delivery::Queued
        } else {
            Delivery::NotNow
        }
    }

    fn queue_assembled(&mut self) -> Delivery {
        let Assembly { peer, len, filled } = self.assembly;
        if filled != len || len == 0 {
            return Unsent::Malformed.into();
        }
        self.queue(peer, Whole::Assembled(len))
    }
}

/// Where a datagram's bytes are.
enum Whole<'f> {
    Frame(&'f [u8]),
    Assembled(usize),
}

impl Egress for UdpSink {
    fn takes(&self) -> &'static [KindInfo] {
        Datagrams::KINDS
    }

    fn reasons(&self) -> &'static [&'static str] {
        Unsent::NAMES
    }

    fn memory_bytes(&self) -> usize {
        size_of::<UdpSink>()
            + DATAGRAM_BYTES_MAX
            + QUEUE_BYTES
            + SendBatch::rows_bytes(QUEUE_DATAGRAMS)
    }

    fn open(&mut self, io: &mut Driver) -> Result<(), IoError> {
        let socket = match &self.opens {
            Opens::Alone(spec) => io.udp_open(spec)?,
            Opens::Shared(shared) => io.udp_join(shared, false)?,
            Opens::Named(sockets, name) => match sockets.find(name) {
                Some(shared) => io.udp_join(&shared, false)?,
                None => {
                    let what = "reply: no source of this line has share =";
                    let error = IoError::new(IoErrorKind::InvalidInput, what);
                    return Err(error.on(&format_args!("\"{name}\"")));
                }
            },
        };
        self.own = Some(io.udp_own(socket)?);
        self.socket = Some(socket);
        self.whole = vec![0; DATAGRAM_BYTES_MAX].into_boxed_slice();
        self.queue = SendBatch::new(QUEUE_DATAGRAMS, QUEUE_BYTES);
        Ok(())
    }

    fn on_frame(&mut self, frame: Leaving<'_>, _io: &mut Driver) -> Delivery {
        let flags = frame.envelope.flags;
        if flags.is_whole() {
            if frame.envelope.kind == Datagram::SCHEMA
                && let Ok(head) = View::<Datagram>::read(frame.payload)
            {
                let head = head.to_owned();
                if head.is_whole() {
                    return self.queue(head.peer(), Whole::Frame(head.as_slice()));
                }
            }
            return Unsent::Malformed.into();
        }
        if flags.is_first() {
            self.begin(frame.payload);
        } else {
            self.go_on(frame.payload);
        }
        if flags.is_last() {
            self.queue_assembled()
        } else {
            Delivery::Part
        }
    }

    fn queue_max(&self) -> usize {
        QUEUE_DATAGRAMS
    }

    fn send_queued(&mut self, io: &mut Driver) -> Option<(Delivery, usize)> {
        if self.queue.is_empty() {
            return None;
        }
        let Some(socket) = self.socket else {
            let count = self.queue.len();
            self.queue.clear();
            return Some((Unsent::Failed.into(), count));
        };
        let sent = io.udp_send_batch(socket, &mut self.queue);
        self.blocked = matches!(&sent, Ok(sent) if sent.what == Sent::WouldBlock);
        Some(match sent {
            Ok(BatchSent { count, what }) => match what {
                Sent::Yes => (Delivery::Sent, count),
                Sent::WouldBlock => (Delivery::NotNow, 0),
                Sent::Refused => (Unsent::Refused.into(), count),
            },
            // An error speaks of the oldest datagram.
            Err(error) if error.kind == IoErrorKind::MessageTooLong => (Unsent::TooLong.into(), 1),
            Err(error) => {
                self.trouble.note(error);
                (Unsent::Failed.into(), 1)
            }
        })
    }

    fn fault(&mut self) -> Option<String> {
        match &self.opens {
            Opens::Alone(UdpSpec {
                connect: Some(to), ..
            }) => self.trouble.tell(to),
            _ => self.trouble.tell(&"a reply"),
        }
    }
}
