//! Datagrams from a socket.
//!
//! Invariant: a datagram is taken only when there is room for what it may become, so that what
//! waits, waits in the kernel's buffer; what the kernel drops there is read and reported.

use core::net::SocketAddr;

use crate::adapter::{Intake, Trouble, address, decodes};
use crate::base::Reject;
use crate::base::limits::{BURST_MESSAGES, MESSAGE_BYTES_MAX};
use crate::budget::IngressCounters;
use crate::io::{Driver, IoError, SharedSockets, SharedUdp, UdpId, UdpSpec};
use crate::stage::{Arrival, Decode, Feed, Ingress, Port, SourceContext};
use crate::topology::{Params, Problem};

/// Largest receive buffer that a source may ask for, in bytes: 1 GiB, more than any kernel grants
/// by default.
const RECV_BUFFER_BYTES_MAX: u64 = 1 << 30;

/// A description of a source of datagrams.
#[derive(Clone, Debug)]
pub struct Udp {
    opens: Result<Opens, Problem>,
}

#[derive(Clone, Debug)]
enum Opens {
    Alone(UdpSpec),
    Shared(SharedUdp),
}

/// Datagrams that are received at `bind`: an address with a port, in numbers. A wrong one is
/// reported when the line is built.
///
/// ```
/// use hopline::adapter::{Binance, udp};
/// let source = udp("127.0.0.1:26400").recv_buffer(1 << 20).decode(Binance::new(&["BTCUSDT"]));
/// ```
#[must_use]
pub fn udp(bind: &str) -> Udp {
    Udp {
        opens: address("bind", bind).map(|addr| Opens::Alone(UdpSpec::bound(addr))),
    }
}

/// Datagrams that are received by a socket which a sink sends from as well: see
/// [`udp_reply`](crate::adapter::udp_reply).
#[must_use]
pub fn udp_on(socket: &SharedUdp) -> Udp {
    Udp {
        opens: Ok(Opens::Shared(socket.clone())),
    }
}

/// A socket at `bind` for [`udp_on`] and [`udp_reply`](crate::adapter::udp_reply).
///
/// # Errors
/// No address with a port.
pub fn shared_udp(bind: &str) -> Result<SharedUdp, Problem> {
    Ok(SharedUdp::new(UdpSpec::bound(address("bind", bind)?)))
}

decodes!(Udp);

impl Udp {
    /// The same with a receive buffer of that many bytes asked of the kernel, which grants up to
    /// `net.core.rmem_max`. Has no effect on a shared socket.
    #[must_use]
    pub fn recv_buffer(mut self, bytes: usize) -> Udp {
        if let Ok(Opens::Alone(spec)) = &mut self.opens {
            spec.recv_buffer_bytes = Some(bytes);
        }
        self
    }

    /// From the settings `bind`, `connect`, `recv_buffer` and `share`.
    pub(crate) fn from_params(
        params: &mut Params,
        sockets: &SharedSockets,
    ) -> Result<Udp, Problem> {
        let text = params.need_text("bind", "127.0.0.1:26400")?;
        let bind = address("bind", &text).map_err(|error| error.at(params.place_of("bind")))?;
        let mut spec = UdpSpec::bound(bind);
        if let Some(text) = params.text("connect")? {
            let peer = address("connect", &text);
            spec.connect = Some(peer.map_err(|error| error.at(params.place_of("connect")))?);
        }
        let bytes = params.count("recv_buffer", 0, 0..=RECV_BUFFER_BYTES_MAX)?;
        spec.recv_buffer_bytes = (bytes > 0).then_some(bytes as usize);
        let opens = match params.text("share")? {
            None => Opens::Alone(spec),
            Some(name) => Opens::Shared(sockets.declare(&name, spec).map_err(|_| {
                params.problem(
                    "share",
                    format!("another source already shares its socket as \"{name}\""),
                    "give one of them another name",
                )
            })?),
        };
        Ok(Udp { opens: Ok(opens) })
    }
}

impl Intake for Udp {
    fn into_ingress(self, decoder: Box<dyn Decode>) -> Result<Box<dyn Ingress>, Problem> {
        Ok(Box::new(UdpSource {
            opens: self.opens?,
            decoder,
            buffer: Box::default(),
            socket: None,
            trouble: Trouble::default(),
        }))
    }
}

/// Receives datagrams.
pub struct UdpSource {
    opens: Opens,
    decoder: Box<dyn Decode>,
    buffer: Box<[u8]>,
    socket: Option<UdpId>,
    trouble: Trouble,
}

impl core::fmt::Debug for UdpSource {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("UdpSource")
            .field("opens", &self.opens)
            .finish_non_exhaustive()
    }
}

impl UdpSource {
    fn bind(&self) -> Option<SocketAddr> {
        match &self.opens {
            Opens::Alone(spec) => spec.bind,
            Opens::Shared(shared) => shared.spec().bind,
        }
    }
}

impl Ingress for UdpSource {
    fn ports(&self) -> &'static [Port] {
        self.decoder.ports()
    }

    fn max_emit(&self) -> usize {
        self.decoder.max_emit()
    }

    fn memory_bytes(&self) -> usize {
        size_of::<UdpSource>() + MESSAGE_BYTES_MAX + self.decoder.memory_bytes()
    }

    fn open(&mut self, io: &mut Driver) -> Result<(), IoError> {
        self.socket = Some(match &self.opens {
            Opens::Alone(spec) => io.udp_open(spec)?,
            Opens::Shared(shared) => io.udp_join(shared, true)?,
        });
        self.buffer = vec![0; MESSAGE_BYTES_MAX].into_boxed_slice();
        Ok(())
    }

    fn turn(&mut self, cx: &mut SourceContext<'_, '_>) -> Feed {
        let Some(socket) = self.socket else {
            return Feed::Ended;
        };
        for nth in 0..BURST_MESSAGES {
            // Held back is told from idle before the mark is set.
            if !cx.has_room() {
                break;
            }
            if nth == 0 {
                cx.begin_io();
            }
            match cx.io().udp_recv(socket, &mut self.buffer) {
                Ok(Some(datagram)) if datagram.truncated => {
                    cx.reject(Reject::TooLong, datagram.len);
                }
                Ok(Some(datagram)) => {
                    let arrival = Arrival {
                        bytes: &self.buffer[..datagram.len],
                        t_intended_ns: cx.stamp(),
                        scheduled: false,
                        received_wall_ns: None,
                        peer: Some(datagram.from),
                    };
                    cx.message(arrival, self.decoder.as_mut());
                }
                Ok(None) => break,
                Err(error) => {
                    self.trouble.note(error);
                    break;
                }
            }
        }
        Feed::Live
    }

    fn housekeep(&mut self, io: &mut Driver, counters: &IngressCounters) {
        if let Some(drops) = self.socket.and_then(|socket| io.udp_kernel_drops(socket)) {
            counters.kernel_dropped.raise(drops);
        }
    }

    fn fault(&mut self) -> Option<String> {
        match self.bind() {
            Some(addr) => self.trouble.tell(&addr),
            None => self.trouble.tell(&"a socket"),
        }
    }
}
