//! Files of captured packets: pcap and pcapng, as bytes.
//!
//! | | pcap | pcapng |
//! |---|---|---|
//! | said in | draft-ietf-opsawg-pcap | draft-ietf-opsawg-pcapng |
//! | times | micro- or nanoseconds, by the magic | any power of 10 or 2, by interface, with an offset |
//! | byte order | by the magic | by each section's own |
//! | packets in | records | enhanced, simple and the old packet blocks |
//!
//! Blocks that hold no packet (names, statistics, secrets, comments) are stepped over, however long they are. [`udp`] finds the
//! datagram in a packet.
//!
//! By hand, since what crates there are either allocate for each packet (its options) or bring a parser framework for two heads and
//! four blocks; the headers within packets are etherparse's.
//!
//! Invariant: opens nothing, allocates nothing, and never reads past what it is given, whatever that is.

mod packet;

use crate::base::Reject;

pub use packet::{Found, udp};

/// Longest packet, in bytes: `MAXIMUM_SNAPLEN` of libpcap.
pub const PACKET_BYTES_MAX: usize = 262_144;

/// Bytes in front of a packet in any of the blocks, at most.
const FRONT_BYTES: usize = 28;

/// What a reader must be able to hold to find every packet, in bytes.
pub const PCAP_WINDOW_BYTES: usize = FRONT_BYTES + PACKET_BYTES_MAX + 4;

/// Most interfaces of a section: more than machines have; what is captured at others is refused.
pub const INTERFACES_MAX: usize = 64;

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const OLD_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

/// An interface that packets were captured at.
#[derive(Clone, Copy, Debug, Default)]
struct Interface {
    link: u16,
    snap_bytes: u32,
    /// `if_tsresol`: a power of 10, or with the highest bit of 2, by which a second is divided.
    resolution: u8,
    offset_s: i64,
}

/// What kind of file it is, once its first bytes have told.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Not known yet.
    Unknown,
    Classic {
        big: bool,
        nanoseconds: bool,
        link: u16,
    },
    Sections {
        big: bool,
    },
}

/// What stands at the start of what was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// A packet.
    Packet(Packet<'a>),
    /// Something else, which is stepped over.
    Other,
    /// More bytes are needed.
    More,
    /// A packet that cannot be had; the ones behind it can.
    Bad(Reject),
    /// What follows cannot be told apart any more.
    Lost(Reject),
}

/// A captured packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// When it was captured, in nanoseconds since 1970; `None` in a simple packet block.
    pub at_ns: Option<u64>,
    /// Its link: a `LINKTYPE_` of tcpdump.org.
    pub link: u16,
    /// Its bytes, as far as they were captured.
    pub bytes: &'a [u8],
    /// How many it had on the wire.
    pub wire_bytes: u32,
}

/// Reads a file of packets, piece by piece.
///
/// ```
/// use hopline::feed::pcap::{Packets, Step};
/// let mut file = Vec::new();
/// for word in [0xa1b2_3c4d_u32, 2 | 4 << 16, 0, 0, 65_535, 1] {
///     file.extend_from_slice(&word.to_le_bytes());
/// }
/// for word in [7_u32, 500, 3, 60] {
///     file.extend_from_slice(&word.to_le_bytes());
/// }
/// file.extend_from_slice(b"abc");
/// let mut packets = Packets::new();
/// let mut rest = &file[..];
/// let mut found = 0;
/// while let (step, taken) = packets.next(rest)
///     && step != Step::More
/// {
///     if let Step::Packet(packet) = step {
///         assert_eq!((packet.at_ns, packet.bytes, packet.wire_bytes), (Some(7_000_000_500), &b"abc"[..], 60));
///         found += 1;
///     }
///     rest = &rest[taken..];
/// }
/// assert_eq!((found, rest.len()), (1, 0));
/// ```
#[derive(Debug)]
pub struct Packets {
    kind: Kind,
    interfaces: [Interface; INTERFACES_MAX],
    known: usize,
    /// Bytes of a block that are still to be stepped over.
    skip: u64,
}

impl Default for Packets {
    fn default() -> Packets {
        Packets::new()
    }
}

impl Packets {
    /// At the start of a file.
    #[must_use]
    pub fn new() -> Packets {
        Packets {
            kind: Kind::Unknown,
            interfaces: [Interface::default(); INTERFACES_MAX],
            known: 0,
            skip: 0,
        }
    }

    /// What stands at the start of `bytes`, and how many of them to step over before the next call. [`Step::More`] needs more
    /// behind them, at most [`PCAP_WINDOW_BYTES`] in all, and after [`Step::Lost`] nothing is to be had.
    pub fn next<'a>(&mut self, bytes: &'a [u8]) -> (Step<'a>, usize) {
        if self.skip > 0 {
            let now = self.skip.min(bytes.len() as u64) as usize;
            self.skip -= now as u64;
            return (if now == 0 { Step::More } else { Step::Other }, now);
        }
        match self.kind {
            Kind::Unknown => self.begin(bytes),
            Kind::Classic {
                big,
                nanoseconds,
                link,
            } => record(bytes, big, nanoseconds, link),
            Kind::Sections { big } => self.block(bytes, big),
        }
    }

    /// Whether it stands between two packets, where a file may end.
    #[must_use]
    pub fn may_end(&self) -> bool {
        self.skip == 0 && !matches!(self.kind, Kind::Unknown)
    }

    fn begin<'a>(&mut self, bytes: &'a [u8]) -> (Step<'a>, usize) {
        let Some(magic) = word(bytes, 0, true) else {
            return (Step::More, 0);
        };
        let (big, nanoseconds) = match magic {
            0xa1b2_c3d4 => (true, false),
            0xa1b2_3c4d => (true, true),
            0xd4c3_b2a1 => (false, false),
            0x4d3c_b2a1 => (false, true),
            SECTION => {
                self.kind = Kind::Sections { big: true };
                return (Step::Other, 0);
            }
            _ => return (Step::Lost(Reject::BadHeader), 0),
        };
        let Some(link) = word(bytes, 20, big) else {
            return (Step::More, 0);
        };
        if half(bytes, 4, big) != Some(2) {
            return (Step::Lost(Reject::BadHeader), 0);
        }
        // The upper half says what else there is of a frame, such as its check sum.
        let link = link as u16;
        self.kind = Kind::Classic {
            big,
            nanoseconds,
            link,
        };
        (Step::Other, 24)
    }

    /// The block at the start of `bytes`.
    fn block<'a>(&mut self, bytes: &'a [u8], big: bool) -> (Step<'a>, usize) {
        const LOST: (Step<'_>, usize) = (Step::Lost(Reject::BadHeader), 0);
        let (Some(kind), Some(length)) = (word(bytes, 0, big), word(bytes, 4, big)) else {
            return (Step::More, 0);
        };
        if kind == SECTION {
            return self.section(bytes);
        }
        let length = length as usize;
        if length < 12 || !length.is_multiple_of(4) {
            return LOST;
        }
        let is_packet = matches!(kind, OLD_PACKET | SIMPLE_PACKET | ENHANCED_PACKET);
        if !is_packet && kind != INTERFACE {
            self.skip = length as u64;
            return (Step::Other, 0);
        }
        if is_packet {
            return self.packet(bytes, kind, length, big);
        }
        // What matters of an interface stands in front; the rest of a long one is comments.
        let most = length.min(PCAP_WINDOW_BYTES);
        let Some(block) = bytes.get(..most) else {
            return (Step::More, 0);
        };
        // Of one too many, packets are refused.
        if let Some(interface) = self.interfaces.get_mut(self.known) {
            *interface = interface_of(block, big);
            self.known += 1;
        }
        self.skip = (length - most) as u64;
        (Step::Other, most)
    }

    /// The head of a section, which says the byte order of all that follows.
    fn section<'a>(&mut self, bytes: &'a [u8]) -> (Step<'a>, usize) {
        let Some(order) = word(bytes, 8, true) else {
            return (Step::More, 0);
        };
        let big = match order {
            0x1a2b_3c4d => true,
            0x4d3c_2b1a => false,
            _ => return (Step::Lost(Reject::BadHeader), 0),
        };
        let (Some(length), Some(major)) = (word(bytes, 4, big), half(bytes, 12, big)) else {
            return (Step::More, 0);
        };
        if length < 28 || !length.is_multiple_of(4) || major != 1 {
            return (Step::Lost(Reject::BadHeader), 0);
        }
        self.kind = Kind::Sections { big };
        self.known = 0;
        self.skip = u64::from(length);
        (Step::Other, 0)
    }

    fn packet<'a>(
        &mut self,
        bytes: &'a [u8],
        kind: u32,
        length: usize,
        big: bool,
    ) -> (Step<'a>, usize) {
        let front = if kind == SIMPLE_PACKET {
            12
        } else {
            FRONT_BYTES
        };
        if length < front + 4 {
            return (Step::Lost(Reject::BadHeader), 0);
        }
        // Options and comments behind a packet may be long; they are stepped over.
        let Some(head) = bytes.get(..front) else {
            return (Step::More, 0);
        };
        let at = |place| word(head, place, big).unwrap_or(0);
        let (number, time, captured, wire_bytes) = match kind {
            SIMPLE_PACKET => {
                let snap = self.interfaces[0].snap_bytes;
                let most = if snap == 0 { u32::MAX } else { snap };
                (0, None, at(8).min(most), at(8))
            }
            _ => {
                let number = match kind {
                    OLD_PACKET => u32::from(half(head, 8, big).unwrap_or(0)),
                    _ => at(8),
                };
                let time = u64::from(at(12)) << 32 | u64::from(at(16));
                (number, Some(time), at(20), at(24))
            }
        };
        let captured = captured as usize;
        if captured > length - front - 4 || captured > PACKET_BYTES_MAX {
            // The block's own length still says where the next one begins.
            self.skip = length as u64;
            return (Step::Bad(Reject::BadHeader), 0);
        }
        let Some(packet) = bytes.get(front..front + captured) else {
            return (Step::More, 0);
        };
        self.skip = (length - front - captured) as u64;
        let Some(interface) = self.interfaces[..self.known].get(number as usize) else {
            return (Step::Bad(Reject::BadHeader), front + captured);
        };
        let packet = Packet {
            at_ns: time.map(|time| interface.ns(time)),
            link: interface.link,
            bytes: packet,
            wire_bytes,
        };
        (Step::Packet(packet), front + captured)
    }
}

impl Interface {
    /// A time of its own as nanoseconds since 1970.
    fn ns(&self, time: u64) -> u64 {
        let (time, exponent) = (u128::from(time), u32::from(self.resolution & 0x7f));
        let ns = if self.resolution & 0x80 != 0 {
            // 2^64 seconds' parts times 10^9 have room.
            (time * 1_000_000_000).checked_shr(exponent).unwrap_or(0)
        } else {
            match exponent {
                0..=9 => time * 10_u128.pow(9 - exponent),
                _ => time / 10_u128.checked_pow(exponent - 9).unwrap_or(u128::MAX),
            }
        };
        let offset_ns = i128::from(self.offset_s) * 1_000_000_000;
        let ns = i128::try_from(ns)
            .unwrap_or(i128::MAX)
            .saturating_add(offset_ns);
        u64::try_from(ns.max(0)).unwrap_or(u64::MAX)
    }
}

/// What an interface's block says.
fn interface_of(block: &[u8], big: bool) -> Interface {
    const RESOLUTION: u16 = 9;
    const OFFSET: u16 = 14;
    let mut interface = Interface {
        link: half(block, 8, big).unwrap_or(0),
        snap_bytes: word(block, 12, big).unwrap_or(0),
        resolution: 6,
        offset_s: 0,
    };
    let mut at = 16;
    while let (Some(code), Some(length)) = (half(block, at, big), half(block, at + 2, big))
        && code != 0
    {
        let Some(value) = block.get(at + 4..at + 4 + usize::from(length)) else {
            break;
        };
        match (code, value) {
            (RESOLUTION, [resolution]) => interface.resolution = *resolution,
            (OFFSET, [..]) if length == 8 => {
                let halves = [word(value, 0, big), word(value, 4, big)]
                    .map(|half| u64::from(half.unwrap_or(0)));
                let [high, low] = if big { halves } else { [halves[1], halves[0]] };
                interface.offset_s = (high << 32 | low) as i64;
            }
            _ => {}
        }
        at += 4 + usize::from(length).next_multiple_of(4);
    }
    interface
}

/// The record at the start of `bytes`.
fn record(bytes: &[u8], big: bool, nanoseconds: bool, link: u16) -> (Step<'_>, usize) {
    let (Some(seconds), Some(part), Some(captured), Some(wire_bytes)) = (
        word(bytes, 0, big),
        word(bytes, 4, big),
        word(bytes, 8, big),
        word(bytes, 12, big),
    ) else {
        return (Step::More, 0);
    };
    let captured = captured as usize;
    if captured > PACKET_BYTES_MAX {
        return (Step::Lost(Reject::BadHeader), 0);
    }
    let Some(packet) = bytes.get(16..16 + captured) else {
        return (Step::More, 0);
    };
    let part_ns = u64::from(part) * if nanoseconds { 1 } else { 1_000 };
    let packet = Packet {
        at_ns: Some(u64::from(seconds) * 1_000_000_000 + part_ns),
        link,
        bytes: packet,
        wire_bytes,
    };
    (Step::Packet(packet), 16 + captured)
}

fn word(bytes: &[u8], at: usize, big: bool) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(if big {
        u32::from_be_bytes(*bytes)
    } else {
        u32::from_le_bytes(*bytes)
    })
}

fn half(bytes: &[u8], at: usize, big: bool) -> Option<u16> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(if big {
        u16::from_be_bytes(*bytes)
    } else {
        u16::from_le_bytes(*bytes)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_every_resolution_are_nanoseconds() {
        let ns = |resolution, offset_s, time| {
            let interface = Interface {
                resolution,
                offset_s,
                ..Interface::default()
            };
            interface.ns(time)
        };
        assert_eq!(ns(6, 0, 1_500_000), 1_500_000_000);
        assert_eq!(ns(9, 2, 7), 2_000_000_007);
        assert_eq!(ns(12, 0, 7_000), 7);
        assert_eq!(ns(0, 0, 3), 3_000_000_000);
        assert_eq!(ns(0x80 | 10, 0, 512), 500_000_000);
        assert_eq!(ns(0xff, 0, u64::MAX), 0);
        assert_eq!(ns(0x7f, 0, u64::MAX), 0);
        assert_eq!(ns(0, i64::MIN, u64::MAX), u64::MAX);
        assert_eq!(ns(9, -5, 7), 0);
    }
}
