//! Datagrams from a socket.
//!
//! One call to the system takes what waits there, up to a batch; trains of equal datagrams come as one
//! (GRO). A datagram is handed to the decoder only when there is room for what it may become: what has
//! none stays in the batch until the next turn, and nothing is received meanwhile, so that what waits,
//! waits in the kernel's buffer.
//!
//! The intended time of a datagram is the kernel's receive stamp, or its device's, mapped to the line's
//! clock; the span from there to the receipt is the source's `wire`.
//!
//! Invariant: what was received is decoded or accounted for, a drain included; what the kernel drops
//! is read and reported.

use core::net::{IpAddr, SocketAddr};

use crate::adapter::{
    Intake, Trouble, address, decodes, interface_fits, interface_of, one_family, peer,
};
use crate::base::Reject;
use crate::base::limits::{BURST_MESSAGES, MESSAGE_BYTES_MAX, OPEN_DEADLINE_NS};
use crate::budget::IngressCounters;
use crate::clock::{Clock, WallMap};
use crate::io::{
    BATCH_SLOTS_MAX, Device, DeviceStamps, Driver, Interface, IoError, Join, RecvBatch,
    SharedSockets, SharedUdp, TRAIN_BYTES_MAX, Trains, UdpGranted, UdpId, UdpSpec,
};
use crate::stage::{Arrival, Decode, Feed, Ingress, Port, SourceContext};
use crate::topology::{Params, Problem};

/// Largest receive buffer that a source may ask for, in bytes: 1 GiB, more than any kernel grants
/// by default.
const RECV_BUFFER_BYTES_MAX: u64 = 1 << 30;

/// Whose stamps a source has unless a device has them, and of which clock.
const KERNEL_CLOCK: &str = "kernel software, CLOCK_REALTIME";

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
        opens: address("bind", bind).map(|addr| Opens::Alone(receives(addr))),
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
    Ok(SharedUdp::new(receives(address("bind", bind)?)))
}

/// How a source receives at `bind` unless told otherwise.
fn receives(bind: SocketAddr) -> UdpSpec {
    UdpSpec {
        trains: Trains::Backlog,
        ..UdpSpec::bound(bind)
    }
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

    /// The same with trains taken at once, never, or (unless told otherwise) from the first backlog on:
    /// the kernel hands over a run of equal datagrams of one sender as one, which costs a fraction, but
    /// counts a dropped run as one drop. Has no effect on a shared socket.
    #[must_use]
    pub fn trains(mut self, trains: Trains) -> Udp {
        if let Ok(Opens::Alone(spec)) = &mut self.opens {
            spec.trains = trains;
        }
        self
    }

    /// The same with the kernel's receive stamps, or (unless told otherwise) without. Without them, the
    /// intended time of a datagram is the time of its receipt. Has no effect on a shared socket.
    #[must_use]
    pub fn stamps(mut self, stamps: bool) -> Udp {
        if let Ok(Opens::Alone(spec)) = &mut self.opens {
            spec.stamps = stamps;
        }
        self
    }

    /// The same with receive stamps of that network device where it has them, else with the kernel's:
    /// the report's [`WireReport::clock`](crate::budget::report::WireReport::clock) says which. They are read as
    /// wall time, so the device's clock has to be kept at it (`phc2sys`). Has no effect on a shared socket.
    #[must_use]
    pub fn device_stamps(mut self, device: Device) -> Udp {
        if let Ok(Opens::Alone(spec)) = &mut self.opens {
            (spec.stamps, spec.stamp_device) = (true, Some(device));
        }
        self
    }

    /// The same as a member of a multicast group, which is heard by that interface. With the group's
    /// own address as `bind`, nothing but the group is heard. Has no effect on a shared socket.
    #[must_use]
    pub fn join(mut self, group: IpAddr, interface: Interface) -> Udp {
        if let Ok(Opens::Alone(spec)) = &mut self.opens {
            spec.join = Some(Join { group, interface });
        }
        self
    }

    /// From the settings `bind`, `connect`, `recv_buffer`, `gro`, `timestamps`, `device`, `join`,
    /// `interface` and `share`.
    pub(crate) fn from_params(
        params: &mut Params,
        sockets: &SharedSockets,
    ) -> Result<Udp, Problem> {
        let spec = Udp::spec_from_params(params)?;
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

    /// What it opens, if the socket is its own.
    pub(super) fn into_spec(self) -> Result<UdpSpec, Problem> {
        match self.opens? {
            Opens::Alone(spec) => Ok(spec),
            Opens::Shared(_) => Err(Problem::new(
                "a sequenced feed on a socket that a sink sends from",
                "give its lines sockets of their own",
            )),
        }
    }

    /// The socket of the settings of [`Udp::from_params`] but `share`.
    pub(super) fn spec_from_params(params: &mut Params) -> Result<UdpSpec, Problem> {
        let text = params.need_text("bind", "127.0.0.1:26400")?;
        let bind = address("bind", &text).map_err(|error| error.at(params.place_of("bind")))?;
        let mut spec = receives(bind);
        if let Some(text) = params.text("connect")? {
            let from = peer("connect", &text);
            spec.connect = Some(from.map_err(|error| error.at(params.place_of("connect")))?);
        }
        let bytes = params.count("recv_buffer", 0, 0..=RECV_BUFFER_BYTES_MAX)?;
        spec.recv_buffer_bytes = (bytes > 0).then_some(bytes as usize);
        let trains = |word: &str| match word {
            "backlog" => Some(Trains::Backlog),
            "on" => Some(Trains::On),
            "off" => Some(Trains::Off),
            _ => None,
        };
        if let Some(trains) = params.word("gro", &["backlog", "on", "off"], trains)? {
            spec.trains = trains;
        }
        (spec.stamps, spec.stamp_device) = stamps_from_params(params)?;
        let interface = interface_of(params)?;
        if let Some(text) = params.text("join")? {
            let group = text.parse().ok().filter(IpAddr::is_multicast);
            let group = group.ok_or_else(|| {
                let what = format!("\"join\" = \"{text}\" is no address of a group");
                let help = "write one of 224.0.0.0 to 239.255.255.255, or of ff00::/8";
                params.problem("join", what, help)
            })?;
            spec.join = Some(Join { group, interface });
        }
        can_hear(params, &text, bind, &spec)?;
        Ok(spec)
    }
}

/// From the settings `timestamps` and `device`: whether there are stamps, and of which device if not
/// only the kernel's.
fn stamps_from_params(params: &mut Params) -> Result<(bool, Option<Device>), Problem> {
    let words = ["kernel", "hardware", "off"];
    let known = |word: &str| words.into_iter().find(|known| *known == word);
    let wanted = params.word("timestamps", &words, known)?.unwrap_or("off");
    let device = match wanted {
        "hardware" => Some(params.need_text("device", "eth0")?),
        _ => params.text("device")?,
    };
    match device {
        Some(_) if wanted != "hardware" => {
            let what = format!("\"device\" has no effect where timestamps = \"{wanted}\"");
            let help = "write timestamps = \"hardware\", or remove it";
            Err(params.problem("device", what, help))
        }
        Some(text) => match text.parse() {
            Ok(device) => Ok((true, Some(device))),
            Err(_) => {
                let what = format!("\"device\" = \"{text}\" is no name of a network device");
                let help = "write it as `ip link` shows it, such as \"eth0\"";
                Err(params.problem("device", what, help))
            }
        },
        None => Ok((wanted == "kernel", None)),
    }
}

/// Whose stamps there are, of which clock, and why not the device's if they were asked for.
pub(super) fn wire_clock(spec: &UdpSpec, granted: &UdpGranted) -> String {
    let Some(device) = spec.stamp_device else {
        return KERNEL_CLOCK.to_owned();
    };
    let why = match granted.device_stamps {
        DeviceStamps::Granted { phc } => {
            return format!("device {device}, phc{phc} read as CLOCK_REALTIME");
        }
        DeviceStamps::Unasked => return KERNEL_CLOCK.to_owned(),
        DeviceStamps::NoAnswer => "there is no such device",
        DeviceStamps::None => "it has none",
        DeviceStamps::Off => "it does not stamp every packet",
    };
    format!("{KERNEL_CLOCK} (asked for stamps of {device}: {why})")
}

/// What the kernel would take and then never deliver: a socket that is bound to an address gets what
/// is sent to just that address, and of groups only those that it joined (ip(7)).
fn can_hear(params: &Params, text: &str, bind: SocketAddr, spec: &UdpSpec) -> Result<(), Problem> {
    if let Some(from) = spec.connect {
        one_family(params, ("connect", from.ip()), ("bind", bind.ip()))?;
    }
    let Some(Join { group, interface }) = spec.join else {
        if params.has("interface") {
            let what = "\"interface\" has no effect without \"join\"";
            let help = "write the group to hear there, such as join = \"239.1.2.3\", or remove it";
            return Err(params.problem("interface", what, help));
        }
        if bind.ip().is_multicast() {
            let what = format!("\"bind\" = \"{text}\" is a group, which this source does not join");
            let help = format!("write join = \"{}\" beside it", bind.ip());
            return Err(params.problem("bind", what, help));
        }
        return Ok(());
    };
    one_family(params, ("join", group), ("bind", bind.ip()))?;
    interface_fits(params, group, interface)?;
    if bind.ip() != group && !bind.ip().is_unspecified() {
        let what = format!("bound to {text}, nothing that is sent to {group} is heard");
        let any = match group {
            IpAddr::V4(_) => "0.0.0.0",
            IpAddr::V6(_) => "[::]",
        };
        let help = format!(
            "write bind = \"{}\" for the group alone, or bind = \"{any}:{}\" to hear all else as well",
            SocketAddr::new(group, bind.port()),
            bind.port()
        );
        return Err(params.problem("bind", what, help));
    }
    Ok(())
}

impl Intake for Udp {
    fn into_ingress(self, decoder: Box<dyn Decode>) -> Result<Box<dyn Ingress>, Problem> {
        Ok(Box::new(UdpSource {
            opens: self.opens?,
            decoder,
            open: None,
            trouble: Trouble::default(),
        }))
    }
}

/// Receives datagrams.
pub struct UdpSource {
    opens: Opens,
    decoder: Box<dyn Decode>,
    open: Option<Open>,
    trouble: Trouble,
}

/// What an open source works with.
#[derive(Debug)]
struct Open {
    socket: UdpId,
    granted: UdpGranted,
    batch: RecvBatch,
    /// When the batch was received, in nanoseconds of the line's clock.
    received_ns: u64,
    /// Whether what is left of the batch found no room in an earlier turn.
    waited: bool,
    wire: Wire,
    /// Whose stamps there are, until that was told.
    wire_clock: Option<String>,
}

/// The kernel's stamps on the line's clock.
#[derive(Debug, Default)]
pub(super) struct Wire {
    pub(super) map: Option<WallMap>,
    /// Before it, in nanoseconds of the line's clock, the socket cannot have been open.
    pub(super) floor_ns: u64,
    /// The stamp that was mapped last, and to what: a train shares one.
    last: (u64, u64),
    pub(super) clamped: u64,
    /// A span that is still to be recorded, and how often: a train shares that as well.
    run: (u64, u32),
}

impl Wire {
    /// Maps the wall clock from now on, if the kernel stamps; else the same again.
    #[inline]
    pub(super) fn refresh(&mut self, clock: &Clock, now_ns: u64) {
        match &mut self.map {
            Some(map) => map.refresh_if_due(clock, now_ns),
            None => self.map = Some(WallMap::new(clock, self.floor_ns)),
        }
        self.last = (0, now_ns);
    }

    /// Keeps a span to be recorded with those that are like it.
    #[inline]
    pub(super) fn note(&mut self, span_ns: u64, cx: &mut SourceContext<'_, '_>) {
        if span_ns != self.run.0 {
            self.tell(cx);
            self.run.0 = span_ns;
        }
        self.run.1 += 1;
    }

    /// Records what is still to be recorded.
    #[inline]
    pub(super) fn tell(&mut self, cx: &mut SourceContext<'_, '_>) {
        if self.run.1 > 0 {
            cx.record_wire(self.run.0, core::mem::take(&mut self.run.1));
        }
    }

    /// The line's time of a stamp, for something received at `now_ns`.
    #[inline]
    pub(super) fn line_ns(&mut self, clock: &Clock, wall_ns: u64, now_ns: u64) -> u64 {
        if wall_ns != self.last.0
            && let Some(map) = &mut self.map
        {
            let mapped = map.line_ns(clock, wall_ns, now_ns);
            self.clamped += u64::from(mapped.clamped);
            self.last = (wall_ns, mapped.at_ns);
        }
        self.last.1
    }
}

impl core::fmt::Debug for UdpSource {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("UdpSource")
            .field("opens", &self.opens)
            .finish_non_exhaustive()
    }
}

impl UdpSource {
    fn spec(&self) -> &UdpSpec {
        match &self.opens {
            Opens::Alone(spec) => spec,
            Opens::Shared(shared) => shared.spec(),
        }
    }

    /// Slots of the batch, and bytes of each: a train may be as long as a packet.
    fn room(&self) -> (usize, usize) {
        match self.spec().trains {
            Trains::On | Trains::Backlog => (BATCH_SLOTS_MAX, TRAIN_BYTES_MAX),
            Trains::Off => (BATCH_SLOTS_MAX, MESSAGE_BYTES_MAX),
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
        let (slots, bytes) = self.room();
        let batch = RecvBatch::memory_bytes(slots, bytes);
        size_of::<UdpSource>() + batch + self.decoder.memory_bytes()
    }

    fn open(&mut self, io: &mut Driver) -> Result<(), IoError> {
        let socket = match &self.opens {
            Opens::Alone(spec) => io.udp_open(spec)?,
            Opens::Shared(shared) => io.udp_join(shared, true)?,
        };
        let (slots, bytes) = self.room();
        let granted = io.udp_granted(socket)?;
        let wire_clock = granted.stamps.then(|| wire_clock(self.spec(), &granted));
        self.open = Some(Open {
            socket,
            granted,
            wire_clock,
            batch: RecvBatch::new(slots, bytes),
            received_ns: 0,
            waited: false,
            wire: Wire::default(),
        });
        Ok(())
    }

    fn start(&mut self, t0_ns: u64) {
        if let Some(open) = &mut self.open {
            open.wire.floor_ns = t0_ns.saturating_sub(OPEN_DEADLINE_NS);
        }
    }

    fn turn(&mut self, cx: &mut SourceContext<'_, '_>) -> Feed {
        let Some(open) = &mut self.open else {
            return Feed::Ended;
        };
        // Held back is told from idle before the mark is set.
        if !cx.has_room() {
            return Feed::Live;
        }
        let fresh = open.batch.is_empty();
        if fresh {
            cx.begin_io();
            match cx.io().udp_recv_batch(open.socket, &mut open.batch) {
                Ok(0) => return Feed::Live,
                Ok(_) => open.waited = false,
                Err(error) => {
                    self.trouble.note(error);
                    return Feed::Live;
                }
            }
        }
        let in_hand = cx.begin_batch(self.decoder.as_ref(), open.waited);
        if fresh {
            open.received_ns = in_hand.now_ns;
            if open.granted.stamps {
                open.wire.refresh(cx.clock(), in_hand.now_ns);
            }
        }
        let received_ns = open.received_ns;
        let burst = open.batch.len().min(BURST_MESSAGES);
        // Where all of them have room, it need not be asked for each.
        let roomy = cx.has_room_for(burst);
        for nth in 0..burst {
            // For the first of them there is room.
            if nth > 0 && !roomy && !open.batch.is_empty() && !cx.has_room_for(1) {
                open.waited = true;
                break;
            }
            let Some(datagram) = open.batch.next() else {
                break;
            };
            if datagram.truncated {
                cx.reject(Reject::TooLong, datagram.bytes.len());
                continue;
            }
            let mut t_intended_ns = received_ns;
            if let Some(wall_ns) = datagram.stamp_wall_ns {
                t_intended_ns = open.wire.line_ns(cx.clock(), wall_ns, received_ns);
                open.wire.note(received_ns - t_intended_ns, cx);
            }
            let arrival = Arrival {
                bytes: datagram.bytes,
                t_intended_ns,
                scheduled: false,
                received_wall_ns: None,
                peer: datagram.from,
            };
            cx.batch_message(arrival, self.decoder.as_mut(), in_hand);
        }
        open.wire.tell(cx);
        cx.end_batch();
        if open.waited && !open.batch.is_empty() {
            // Says who holds back what is left.
            cx.has_room();
        }
        Feed::Live
    }

    fn in_hand(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.batch.len())
    }

    fn tells_wire(&self) -> bool {
        self.spec().stamps
    }

    fn housekeep(&mut self, io: &mut Driver, counters: &IngressCounters) {
        let Some(open) = &mut self.open else { return };
        if let Some(drops) = io.udp_kernel_drops(open.socket) {
            counters.kernel_dropped.raise(drops);
        }
        let granted = io.udp_granted(open.socket).unwrap_or(open.granted);
        counters.drops_are_trains.set(u64::from(granted.trains));
        counters.stamps_clamped.set(open.wire.clamped);
        let steps = open.wire.map.as_ref().map_or(0, WallMap::steps);
        counters.clock_steps.set(steps);
        if let Ok(counts) = io.udp_counts(open.socket) {
            counters.not_by_device.set(counts.not_by_device);
        }
        if let Some(whose) = open.wire_clock.take() {
            // Told once; a source that was made again says the same.
            let _ = counters.wire_clock.set(whose);
        }
    }

    fn fault(&mut self) -> Option<String> {
        match self.spec().bind {
            Some(addr) => self.trouble.tell(&addr),
            None => self.trouble.tell(&"a socket"),
        }
    }
}
