//! Opaque datagrams as frames: bytes that the line carries without reading them, and whose they are.
//!
//! | kind | frame | carries |
//! |---|---|---|
//! | `datagram` | [`Datagram`] | the other end's address, the length, the first [`HEAD_BYTES`] bytes |
//! | `datagram_part` | [`DatagramPart`] | the next [`PART_BYTES`] bytes, a fragment after the head |
//!
//! A datagram of n bytes is one message of [`datagram_frames`] fragments. Each part says where its
//! bytes belong, so that putting one in twice changes nothing.
//!
//! Invariant: integers of fixed size only, and no frame is larger than a slot's payload.

use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::base::limits::{FRAGMENTS_MAX, PAYLOAD_BYTES};

/// Bytes of a datagram in its first frame: what a slot's payload has beside the other fields.
pub const HEAD_BYTES: usize = PAYLOAD_BYTES - 21;

/// Bytes of a datagram in each further frame.
pub const PART_BYTES: usize = PAYLOAD_BYTES - 3;

/// Longest datagram that the fragments of one message carry, in bytes.
pub const DATAGRAM_BYTES_MAX: usize = HEAD_BYTES + (FRAGMENTS_MAX - 1) * PART_BYTES;

const _: () = assert!(DATAGRAM_BYTES_MAX <= u16::MAX as usize);
const _: () = assert!(PART_BYTES <= u8::MAX as usize);

/// A datagram, whole or in fragments, on one hop.
#[hopline::frame_set]
#[derive(Debug)]
pub enum Datagrams {
    /// The first of it.
    Head(Datagram),
    /// More of it.
    Part(DatagramPart),
}

/// The first bytes of a datagram, and the other end's address. Kind `datagram`.
#[hopline::frame(schema = 201, version = 1, name = "datagram")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// The other end's address, an IPv4 one in its IPv6 form; zeros where there is none.
    pub peer_ip: [u8; 16],
    /// The other end's port; 0 where there is none.
    pub peer_port: u16,
    /// Bytes of the whole datagram.
    pub total: u16,
    /// How many of `bytes` are meant. The others are zeros.
    pub count: u8,
    /// Its first bytes.
    pub bytes: [u8; HEAD_BYTES],
}

/// Further bytes of a datagram. Kind `datagram_part`.
#[hopline::frame(schema = 202, version = 1, name = "datagram_part")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatagramPart {
    /// Place of the first of `bytes` in the datagram.
    pub at: u16,
    /// How many of `bytes` are meant. The others are zeros.
    pub count: u8,
    /// The bytes.
    pub bytes: [u8; PART_BYTES],
}

/// Frames that carry a datagram of that many bytes, the head included.
///
/// ```
/// use hopline::feed::datagram::{HEAD_BYTES, datagram_frames};
/// assert_eq!(datagram_frames(0), 1);
/// assert_eq!(datagram_frames(HEAD_BYTES + 1), 2);
/// ```
#[inline]
#[must_use]
pub const fn datagram_frames(len: usize) -> usize {
    1 + len.saturating_sub(HEAD_BYTES).div_ceil(PART_BYTES)
}

impl Datagram {
    /// The head of a datagram, or all of it if it has at most [`HEAD_BYTES`]; [`parts`] are the rest.
    /// Of an IPv6 address only the address is kept: no scope, no flow.
    ///
    /// `None` if it is longer than [`DATAGRAM_BYTES_MAX`].
    ///
    /// ```
    /// use hopline::feed::Datagram;
    /// let peer = "127.0.0.1:7".parse().unwrap();
    /// let frame = Datagram::of(Some(peer), b"tick").unwrap();
    /// assert_eq!((frame.peer(), frame.as_slice()), (Some(peer), &b"tick"[..]));
    /// ```
    #[must_use]
    pub fn of(peer: Option<SocketAddr>, datagram: &[u8]) -> Option<Datagram> {
        if datagram.len() > DATAGRAM_BYTES_MAX {
            return None;
        }
        let (peer_ip, peer_port) = match peer {
            None => ([0; 16], 0),
            Some(peer) => {
                let ip = match peer.ip() {
                    IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                    IpAddr::V6(ip) => ip,
                };
                (ip.octets(), peer.port())
            }
        };
        let now = &datagram[..datagram.len().min(HEAD_BYTES)];
        let mut bytes = [0; HEAD_BYTES];
        bytes[..now.len()].copy_from_slice(now);
        Some(Datagram {
            peer_ip,
            peer_port,
            total: datagram.len() as u16,
            count: now.len() as u8,
            bytes,
        })
    }

    /// The other end, if there is one.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        let ip = Ipv6Addr::from(self.peer_ip).to_canonical();
        (self.peer_port != 0).then(|| SocketAddr::new(ip, self.peer_port))
    }

    /// The bytes that are meant.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.count).min(HEAD_BYTES)]
    }

    /// Whether this is all of the datagram.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.as_slice().len() == usize::from(self.total)
    }
}

impl DatagramPart {
    /// The bytes that are meant.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.count).min(PART_BYTES)]
    }
}

/// The frames that follow the head of a datagram, in order. Their number is [`datagram_frames`]
/// less one, for a datagram that has a head.
pub fn parts(datagram: &[u8]) -> impl ExactSizeIterator<Item = DatagramPart> {
    let rest = datagram.get(HEAD_BYTES..).unwrap_or(&[]);
    let chunks = rest.chunks(PART_BYTES).enumerate();
    chunks.map(|(index, now)| {
        let mut bytes = [0; PART_BYTES];
        bytes[..now.len()].copy_from_slice(now);
        DatagramPart {
            at: (HEAD_BYTES + index * PART_BYTES) as u16,
            count: now.len() as u8,
            bytes,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Aligned, Frame};

    #[test]
    fn frames_fill_a_slot_exactly() {
        let mut slot = Aligned::<PAYLOAD_BYTES>::new();
        let head = Datagram::of(None, &[1; HEAD_BYTES]).unwrap();
        assert_eq!(head.write(&mut slot), Ok(PAYLOAD_BYTES));
        let part = parts(&[1; HEAD_BYTES + 1]).next().unwrap();
        assert_eq!(part.write(&mut slot), Ok(PAYLOAD_BYTES));
    }

    #[test]
    fn head_and_parts_hold_every_byte_in_its_place() {
        let bytes: Vec<u8> = (0..DATAGRAM_BYTES_MAX).map(|n| (n % 251) as u8).collect();
        for len in [
            0,
            1,
            HEAD_BYTES,
            HEAD_BYTES + 1,
            HEAD_BYTES + PART_BYTES,
            1472,
            DATAGRAM_BYTES_MAX,
        ] {
            let datagram = &bytes[..len];
            let head = Datagram::of(None, datagram).unwrap();
            let mut together = head.as_slice().to_vec();
            assert_eq!(head.is_whole(), len <= HEAD_BYTES);
            for part in parts(datagram) {
                assert_eq!(usize::from(part.at), together.len());
                together.extend_from_slice(part.as_slice());
            }
            assert_eq!(
                (together.as_slice(), usize::from(head.total)),
                (datagram, len)
            );
            assert_eq!(datagram_frames(len), 1 + parts(datagram).count());
        }
        assert_eq!(datagram_frames(DATAGRAM_BYTES_MAX), FRAGMENTS_MAX);
        assert_eq!(Datagram::of(None, &vec![0; DATAGRAM_BYTES_MAX + 1]), None);
    }

    #[test]
    fn addresses_of_both_families_come_back() {
        for peer in ["192.0.2.7:65535", "[2001:db8::7]:1"] {
            let peer: SocketAddr = peer.parse().unwrap();
            assert_eq!(Datagram::of(Some(peer), b"").unwrap().peer(), Some(peer));
        }
        assert_eq!(Datagram::of(None, b"").unwrap().peer(), None);
    }
}
