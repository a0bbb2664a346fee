//! Datagrams of captured packets, by the port that they were sent to.
//!
//! Invariant: a packet is a message, refused by a reason, or skipped and counted; none is lost without a word.

use core::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use super::{AHEAD_BYTES, Item, Pace, Recording, decodes, paced, source};
use crate::adapter::Intake;
use crate::base::Reject;
use crate::feed::pcap::{Found, PACKET_BYTES_MAX, PCAP_WINDOW_BYTES, Packets, Step, udp};
use crate::io::{ByteReader, Driver, Fill, IoError};
use crate::stage::{Decode, Ingress};
use crate::topology::{Params, Problem};

/// Most packets that are looked at for one message, some microseconds.
const LOOKS_MAX: usize = 64;

/// Less than so much is read on for, in bytes: some of the packets of a usual network.
const SHORT_BYTES: usize = 64 << 10;

const _: () = assert!(PCAP_WINDOW_BYTES <= AHEAD_BYTES);

/// A description of a source that replays packets.
#[derive(Clone, Debug, PartialEq)]
pub struct Pcap {
    path: PathBuf,
    pub(super) pace: Pace,
    to: To,
}

/// Whom the datagrams are for that are taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct To {
    port: u16,
    address: Option<IpAddr>,
}

/// Replays the datagrams that were sent to `port`, out of a pcap or pcapng file, plain or gzip, at the pace at which they were
/// captured.
///
/// ```
/// use hopline::adapter::{datagrams, pcap};
/// let source = pcap("feed.pcap.gz", 26400).speed(Some(10.0)).decode(datagrams());
/// ```
#[must_use]
pub fn pcap(path: impl AsRef<Path>, port: u16) -> Pcap {
    Pcap {
        path: path.as_ref().to_owned(),
        pace: Pace::default(),
        to: To {
            port,
            address: None,
        },
    }
}

paced!(Pcap, Datagrams, |pcap| pcap.to);

impl Pcap {
    /// Only those that were sent to that address: one of several groups that share a port.
    #[must_use]
    pub fn to(mut self, address: IpAddr) -> Pcap {
        self.to.address = Some(address);
        self
    }

    /// From the settings `file`, `port`, `address`, `speed` and `epoch_ns`.
    pub(crate) fn from_params(params: &mut Params) -> Result<Pcap, Problem> {
        let path = params.need_text("file", "feed.pcap")?.into();
        let port = params.count("port", 0, 0..=u64::from(u16::MAX))? as u16;
        if port == 0 {
            let what = "the setting \"port\" is missing";
            let help = "name the port whose datagrams are the messages, such as port = 26400";
            return Err(params.problem("port", what, help));
        }
        let address = match params.text("address")? {
            None => None,
            Some(text) => Some(text.parse().map_err(|_| {
                let what = format!("\"address\" = \"{text}\" is no address");
                let help = "write it in numbers, such as address = \"239.1.2.3\"";
                params.problem("address", what, help)
            })?),
        };
        let pace = Pace::from_params(params)?;
        let to = To { port, address };
        Ok(Pcap { path, pace, to })
    }
}

impl Intake for Pcap {
    fn into_ingress(self, decoder: Box<dyn Decode>) -> Result<Box<dyn Ingress>, Problem> {
        source::<Datagrams>(self.path, self.pace, self.to, decoder)
    }
}

/// A file of packets as the source reads it.
pub(super) struct Datagrams {
    bytes: ByteReader,
    packets: Packets,
    to: To,
    found: u64,
    skipped: u64,
    /// The latest time, for packets without one.
    latest_ns: u64,
    /// Whether nothing more can be had.
    over: bool,
    /// Whether more must be read first.
    starved: bool,
}

/// What a look at a packet came to.
enum Look {
    /// The datagram lies so far from the start of the window, and is so long.
    At(usize, usize, SocketAddr, u64),
    Bad(Reject, usize),
    Next,
    Stop,
}

impl Datagrams {
    /// Looks at what stands at the start of the window, and says how much of it to step over.
    fn look(&mut self) -> (Look, usize) {
        let window = self.bytes.window();
        let (step, taken) = self.packets.next(window);
        let look = match step {
            Step::Packet(packet) => {
                self.found += 1;
                self.latest_ns = packet.at_ns.unwrap_or(self.latest_ns);
                let To { port, address } = self.to;
                let wants = |to: SocketAddr| {
                    to.port() == port && address.is_none_or(|address| address == to.ip())
                };
                match udp(&packet, wants) {
                    Found::Datagram { from, payload, .. } => {
                        let at = payload.as_ptr() as usize - window.as_ptr() as usize;
                        Look::At(at, payload.len(), from, self.latest_ns)
                    }
                    Found::Other => {
                        self.skipped += 1;
                        Look::Next
                    }
                    Found::Bad(why) => Look::Bad(why, packet.bytes.len()),
                }
            }
            Step::Other => Look::Next,
            Step::More => {
                self.starved = true;
                Look::Stop
            }
            Step::Bad(why) => {
                self.found += 1;
                Look::Bad(why, 0)
            }
            Step::Lost(why) => {
                self.over = true;
                self.found += 1;
                Look::Bad(why, 0)
            }
        };
        (look, taken)
    }

    /// What is left when the file has nothing more: a packet that it breaks off in.
    fn last(&mut self) -> Option<Item<'_>> {
        self.over = true;
        let left = self.bytes.window().len();
        let why = match self.bytes.broken() {
            Some(why) => why,
            None if left > 0 || !self.packets.may_end() => Reject::Truncated,
            None => return None,
        };
        // A file of nothing is told as empty.
        if self.found == 0 && left == 0 && self.bytes.offset() == 0 {
            return None;
        }
        self.found += 1;
        Some(Item::Bad(why, left))
    }
}

impl Recording for Datagrams {
    type Wish = To;
    const MESSAGE_BYTES: usize = PACKET_BYTES_MAX;
    const MEMORY_BYTES: usize = AHEAD_BYTES + size_of::<Packets>();

    fn open(io: &mut Driver, path: &Path, to: &To) -> Result<Datagrams, IoError> {
        Ok(Datagrams {
            bytes: ByteReader::open(io, path, AHEAD_BYTES)?,
            packets: Packets::new(),
            to: *to,
            found: 0,
            skipped: 0,
            latest_ns: 0,
            over: false,
            starved: false,
        })
    }

    fn next(&mut self) -> Option<Item<'_>> {
        for _ in 0..LOOKS_MAX {
            if self.over {
                return None;
            }
            let (look, taken) = self.look();
            match look {
                Look::At(at, len, from, at_ns) => {
                    let bytes = self.bytes.take(taken);
                    return Some(Item::Message {
                        at_ns,
                        bytes: &bytes[at..at + len],
                        peer: Some(from),
                    });
                }
                Look::Bad(why, len) => {
                    self.bytes.take(taken);
                    return Some(Item::Bad(why, len));
                }
                Look::Next => {
                    self.bytes.take(taken);
                }
                Look::Stop if self.bytes.has_ended() => return self.last(),
                Look::Stop => return None,
            }
        }
        None
    }

    fn is_short(&self) -> bool {
        self.starved || self.bytes.window().len() < SHORT_BYTES
    }

    fn needs_fill(&self) -> bool {
        !self.over && !self.bytes.has_ended()
    }

    fn fill(&mut self, io: &mut Driver, budget_bytes: usize) -> Result<Fill, IoError> {
        self.starved = false;
        self.bytes.fill(io, budget_bytes)
    }

    fn at_end(&self) -> bool {
        self.over
    }

    fn was_empty(&self) -> bool {
        self.found == 0
    }

    fn take_skipped(&mut self) -> u64 {
        core::mem::take(&mut self.skipped)
    }

    fn close(self, io: &mut Driver) -> Result<(), IoError> {
        self.bytes.close(io)
    }
}
