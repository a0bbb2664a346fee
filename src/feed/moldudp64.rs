//! MoldUDP64: packets of a sequenced feed, and the request for those that were lost.
//!
//! Specification: "MoldUDP64 Protocol Specification", version 1.00. All integers are big-endian.
//!
//! | bytes | downstream packet | request packet |
//! |---|---|---|
//! | 0-9 | session | session |
//! | 10-17 | sequence of the first message, or of the next | sequence of the first that is wanted |
//! | 18-19 | count: 0 a heartbeat, 0xFFFF an end of session | how many are wanted |
//! | 20- | per message its length in 2 bytes, and its bytes | |
//!
//! A message of no bytes is a message: it has its sequence, and what it means is not said here.
//!
//! ```
//! use hopline::feed::moldudp64::{Downstream, Writer};
//! let mut buffer = [0; 64];
//! let mut writer = Writer::new(&mut buffer, *b"0000000001", 7).unwrap();
//! assert!(writer.push(b"tick") && writer.push(b"tock"));
//! let len = writer.finish();
//! let packet = Downstream::parse(&buffer[..len])?.packet();
//! assert_eq!((packet.first, packet.end()), (7, 9));
//! assert_eq!(packet.messages.collect::<Vec<_>>(), [b"tick", b"tock"]);
//! # Ok::<(), hopline::feed::packets::PacketReject>(())
//! ```
//!
//! Invariant: nothing is allocated, and no input panics.

#![allow(
    missing_debug_implementations,
    reason = "the types of fields that zerocopy derives have none, and nobody ever holds one"
)]

use crate::feed::packets::{
    Blocks, Endian, Messages, Packet, PacketReject, Purpose, Session, Unchecked, check_sequence,
};
use zerocopy::byteorder::big_endian::{U16, U64};
use zerocopy::{FromBytes, IntoBytes};

/// Bytes of a header, and of a request.
pub const HEADER_BYTES: usize = 20;

/// The count that says that a session has ended.
pub const END_OF_SESSION: u16 = 0xffff;

/// Most messages of one packet: the next count has another meaning.
pub const COUNT_MAX: u16 = END_OF_SESSION - 1;

crate::feed::views::views! {
    /// The header of a downstream packet; a request packet has the same fields.
    Header: 20 {
        /// The session.
        session: [u8; 10],
        /// Sequence of the first message.
        sequence: U64,
        /// Messages.
        count: U16,
    }
}

/// A downstream packet.
#[derive(Clone, Copy, Debug)]
pub struct Downstream<'a> {
    /// The header as it stands.
    pub header: &'a Header,
    /// The messages.
    pub messages: Messages<'a>,
}

impl<'a> Downstream<'a> {
    /// The packet that the bytes of a datagram are.
    ///
    /// # Errors
    /// [`PacketReject`] says in which order it is looked at for which faults.
    #[inline]
    pub fn parse(datagram: &'a [u8]) -> Result<Downstream<'a>, PacketReject> {
        let (header, payload) =
            Header::ref_from_prefix(datagram).map_err(|_| PacketReject::HeaderCut)?;
        let count = match header.count.get() {
            END_OF_SESSION => 0,
            count => count,
        };
        check_sequence(header.sequence.get(), count)?;
        let messages = Messages::checked(payload, count, Endian::Big)?;
        Ok(Downstream { header, messages })
    }

    /// What it says, without its transport.
    #[inline]
    #[must_use]
    pub fn packet(&self) -> Packet<'a> {
        Packet {
            session: Session::Name(self.header.session),
            purpose: match self.header.count.get() {
                0 => Purpose::Heartbeat,
                END_OF_SESSION => Purpose::EndOfSession,
                _ => Purpose::Messages,
            },
            first: self.header.sequence.get(),
            messages: self.messages,
        }
    }
}

/// The messages of a datagram, its lengths not looked at yet.
///
/// # Errors
/// What is wrong with the header.
#[inline]
pub fn open(datagram: &[u8]) -> Result<Unchecked<'_>, PacketReject> {
    let (header, payload) =
        Header::ref_from_prefix(datagram).map_err(|_| PacketReject::HeaderCut)?;
    let count = match header.count.get() {
        END_OF_SESSION => 0,
        count => count,
    };
    check_sequence(header.sequence.get(), count)?;
    Ok(Unchecked::new(
        header.sequence.get(),
        payload,
        count,
        Endian::Big,
    ))
}

fn header(session: [u8; 10], sequence: u64, count: u16) -> Header {
    Header {
        session,
        sequence: U64::new(sequence),
        count: U16::new(count),
    }
}

/// A packet that asks for messages again.
///
/// ```
/// use hopline::feed::moldudp64::request;
/// assert_eq!(&request(*b"0000000001", 258, 3), b"0000000001\0\0\0\0\0\0\x01\x02\0\x03");
/// ```
#[must_use]
pub fn request(session: [u8; 10], first: u64, count: u16) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes.copy_from_slice(header(session, first, count).as_bytes());
    bytes
}

/// A packet without messages into `buffer`: a heartbeat, or an end of session. Its length in bytes;
/// `None` if the buffer is too small.
pub fn write_empty(
    buffer: &mut [u8],
    session: [u8; 10],
    next: u64,
    purpose: Purpose,
) -> Option<usize> {
    let count = match purpose {
        Purpose::EndOfSession => END_OF_SESSION,
        Purpose::Heartbeat | Purpose::Messages => 0,
    };
    let place = buffer.get_mut(..HEADER_BYTES)?;
    place.copy_from_slice(header(session, next, count).as_bytes());
    Some(HEADER_BYTES)
}

/// Writes a downstream packet into a buffer.
pub struct Writer<'b>(Blocks<'b>);

impl<'b> Writer<'b> {
    /// A packet without messages yet; `None` if the buffer does not hold its header.
    #[must_use]
    pub fn new(buffer: &'b mut [u8], session: [u8; 10], first: u64) -> Option<Writer<'b>> {
        Blocks::behind(header(session, first, 0).as_bytes(), buffer).map(Writer)
    }

    /// Appends a message; `false`, and nothing is changed, if it has no room.
    pub fn push(&mut self, message: &[u8]) -> bool {
        self.0.push(message, Endian::Big, COUNT_MAX)
    }

    /// Ends the packet: its length in bytes.
    #[must_use]
    pub fn finish(self) -> usize {
        let count = self.0.count.to_be_bytes();
        self.0.buffer[HEADER_BYTES - 2..HEADER_BYTES].copy_from_slice(&count);
        self.0.len
    }
}

impl core::fmt::Debug for Writer<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Writer({} messages)", self.0.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(sequence: u64, count: u16, payload: &[u8]) -> Vec<u8> {
        let mut bytes = header(*b"session  1", sequence, count).as_bytes().to_vec();
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn each_lie_has_its_reason() {
        let good = packet(5, 2, b"\0\x03abc\0\0");
        let parsed = Downstream::parse(&good).unwrap().packet();
        assert_eq!((parsed.first, parsed.end()), (5, 7));
        assert_eq!(parsed.session.to_string(), "session  1");
        let messages: Vec<&[u8]> = parsed.messages.collect();
        assert_eq!(messages, [&b"abc"[..], b""]);
        for (bytes, reject) in [
            (good[..19].to_vec(), PacketReject::HeaderCut),
            (packet(0, 0, b""), PacketReject::NoSequence),
            (
                packet(u64::MAX, 1, b"\0\x01a"),
                PacketReject::SequenceOverflow,
            ),
            (packet(5, 2, b"\0\x03abc\0"), PacketReject::BlockCut),
            (packet(5, 1, b"\0\x04abc"), PacketReject::BlockCut),
            (packet(5, 1, b"\xff\xffabc"), PacketReject::BlockCut),
            (packet(5, 2, b"\0\x03abc"), PacketReject::CountTooHigh),
            (packet(5, 1, b""), PacketReject::CountTooHigh),
            (packet(5, COUNT_MAX, b"\0\0"), PacketReject::CountTooHigh),
            (packet(5, 1, b"\0\x02abc"), PacketReject::CountTooLow),
            (packet(5, 0, b"\0"), PacketReject::CountTooLow),
            (packet(5, END_OF_SESSION, b"\0"), PacketReject::CountTooLow),
        ] {
            assert_eq!(Downstream::parse(&bytes).err(), Some(reject), "{bytes:?}");
        }
    }

    #[test]
    fn packets_without_messages_say_what_comes_next() {
        let mut buffer = [0; HEADER_BYTES];
        for (purpose, next) in [(Purpose::Heartbeat, 1), (Purpose::EndOfSession, u64::MAX)] {
            let len = write_empty(&mut buffer, *b"0123456789", next, purpose).unwrap();
            let parsed = Downstream::parse(&buffer[..len]).unwrap().packet();
            assert_eq!((parsed.purpose, parsed.first), (purpose, next));
            assert_eq!(parsed.end(), next);
        }
        assert_eq!(
            write_empty(&mut [0; 19], [0; 10], 1, Purpose::Heartbeat),
            None
        );
    }

    #[test]
    fn a_writer_stops_where_the_room_ends() {
        let mut buffer = [0; HEADER_BYTES + 7];
        let mut writer = Writer::new(&mut buffer, *b"0123456789", 1).unwrap();
        assert!(writer.push(b"abc"));
        assert!(!writer.push(b"d"), "two bytes of length, no room for one");
        assert!(writer.push(b""));
        assert!(!writer.push(b""));
        let len = writer.finish();
        assert_eq!(len, buffer.len());
        assert_eq!(Downstream::parse(&buffer).unwrap().messages.len(), 2);
    }
}
