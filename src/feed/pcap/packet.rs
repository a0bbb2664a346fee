//! The datagram in a captured packet: link, VLAN tags, IP, UDP.
//!
//! Invariant: what is cut short or contradicts itself is a reason, and only where it is for the port that is asked for.

use core::net::SocketAddr;

use etherparse::{IpNumber, Ipv6ExtensionSlice, LaxIpSlice, UdpSlice};

use super::Packet;
use crate::base::Reject;

/// Most VLAN tags in a row: two are usual where providers tag what customers tagged.
const TAGS_MAX: usize = 8;

const ETHERNET: u16 = 1;
const NULL: u16 = 0;
const LOOP: u16 = 108;
const RAW: [u16; 5] = [12, 14, 101, 228, 229];
const COOKED: u16 = 113;
const COOKED_2: u16 = 276;

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
/// 802.1Q, 802.1ad, and what was in use before that.
const TAGS: [u16; 3] = [0x8100, 0x88a8, 0x9100];

/// What a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// A datagram that is asked for.
    Datagram {
        /// Who sent it.
        from: SocketAddr,
        /// Whom it is for.
        to: SocketAddr,
        /// What is in it.
        payload: &'a [u8],
    },
    /// Something else: another protocol or port, or a fragment behind the first.
    Other,
    /// One that is asked for, or may be, and cannot be had.
    Bad(Reject),
}

/// The datagram in a packet, if it is for what `wants` says of its receiver.
///
/// Links: Ethernet with any VLAN tags, raw IP, Linux cooked (v1 and v2), BSD loopback. IPv4 with options, IPv6 with extension
/// headers. Fragments are not joined: the first one of a datagram that is asked for is [`Reject::Fragmented`], the others are
/// told from nothing else and are `Other`.
pub fn udp<'a>(packet: &Packet<'a>, wants: impl Fn(SocketAddr) -> bool) -> Found<'a> {
    let ip = match network(packet.link, packet.bytes) {
        Ok(Some(ip)) => ip,
        Ok(None) => return Found::Other,
        Err(why) => return Found::Bad(why),
    };
    let is_cut = (packet.bytes.len() as u64) < u64::from(packet.wire_bytes);
    let wrong = if is_cut {
        Reject::Truncated
    } else {
        Reject::BadHeader
    };
    let Ok((ip, stopped)) = LaxIpSlice::from_slice(ip) else {
        return Found::Bad(wrong);
    };
    let (from, to) = (ip.source_addr(), ip.destination_addr());
    let within = ip.payload();
    if within.ip_number != IpNumber::UDP {
        // Extension headers that are cut or wrong may have hidden one.
        return if stopped.is_some() {
            Found::Bad(wrong)
        } else {
            Found::Other
        };
    }
    let is_fragment = within.fragmented;
    if is_fragment && !is_first_fragment(&ip) {
        return Found::Other;
    }
    let Some((ports, _)) = within.payload.split_first_chunk::<8>() else {
        return Found::Bad(wrong);
    };
    let port = |at: usize| u16::from_be_bytes([ports[at], ports[at + 1]]);
    let (from, to) = (SocketAddr::new(from, port(0)), SocketAddr::new(to, port(2)));
    if !wants(to) {
        return Found::Other;
    }
    if is_fragment {
        return Found::Bad(Reject::Fragmented);
    }
    match UdpSlice::from_slice(within.payload) {
        // A length of 0 is all that is there; of a packet that was cut nobody knows whether that is all.
        Ok(udp) if !within.incomplete || (is_cut && udp.length() > 0) => Found::Datagram {
            from,
            to,
            payload: udp.payload(),
        },
        _ => Found::Bad(wrong),
    }
}

fn is_first_fragment(ip: &LaxIpSlice<'_>) -> bool {
    match ip {
        LaxIpSlice::Ipv4(ip) => ip.header().fragments_offset().value() == 0,
        LaxIpSlice::Ipv6(ip) => {
            ip.extensions()
                .clone()
                .into_iter()
                .all(|extension| match extension {
                    Ipv6ExtensionSlice::Fragment(fragment) => {
                        fragment.fragment_offset().value() == 0
                    }
                    _ => true,
                })
        }
    }
}

/// The IP packet behind a link's header; `None` if something else is.
fn network(link: u16, bytes: &[u8]) -> Result<Option<&[u8]>, Reject> {
    let behind = |front: usize| bytes.get(front..).ok_or(Reject::Truncated);
    match link {
        ETHERNET => tagged(bytes, 12),
        COOKED => tagged(bytes, 14),
        COOKED_2 => {
            let protocol = protocol(bytes, 0)?;
            Ok(is_ip(protocol).then_some(behind(20)?))
        }
        // The family is a number of the capturing system; IP's own version tells enough.
        NULL | LOOP => {
            let ip = behind(4)?;
            Ok(matches!(ip.first().map(|first| first >> 4), Some(4 | 6)).then_some(ip))
        }
        _ if RAW.contains(&link) => Ok(Some(bytes)),
        _ => Err(Reject::UnknownLink),
    }
}

fn protocol(bytes: &[u8], at: usize) -> Result<u16, Reject> {
    let found = bytes.get(at..at + 2).ok_or(Reject::Truncated)?;
    Ok(u16::from_be_bytes([found[0], found[1]]))
}

fn is_ip(protocol: u16) -> bool {
    matches!(protocol, IPV4 | IPV6)
}

/// What is behind a protocol number at `at`, with the VLAN tags that follow it.
fn tagged(bytes: &[u8], at: usize) -> Result<Option<&[u8]>, Reject> {
    let mut at = at;
    for _ in 0..=TAGS_MAX {
        let found = protocol(bytes, at)?;
        if !TAGS.contains(&found) {
            return Ok(bytes.get(at + 2..).filter(|_| is_ip(found)));
        }
        at += 4;
    }
    Err(Reject::BadHeader)
}
