//! IEX-TP: segments of a sequenced feed.
//!
//! Specification: "IEX Transport Protocol" (IEX-TP), version 1.x, its outbound segments. All
//! integers are little-endian.
//!
//! | bytes | field |
//! |---|---|
//! | 0 | version, 1 |
//! | 1 | reserved |
//! | 2-3 | id of the feed: 0x8003 TOPS 1.6, 0x8004 DEEP 1.0 |
//! | 4-7 | channel |
//! | 8-11 | session |
//! | 12-13 | bytes of payload |
//! | 14-15 | count of messages; 0 with no payload is a heartbeat |
//! | 16-23 | offset of the payload in the stream of the session, in bytes |
//! | 24-31 | sequence of the first message, or of the next |
//! | 32-39 | when it was sent, nanoseconds since 1970, UTC |
//! | 40- | per message its length in 2 bytes, and its bytes |
//!
//! The transport has no end of session; the feeds say it in a system event.
//!
//! Invariant: nothing is allocated, and no input panics.

#![allow(
    missing_debug_implementations,
    reason = "the types of fields that zerocopy derives have none, and nobody ever holds one"
)]

use crate::feed::packets::{
    Blocks, Endian, Messages, Packet, PacketReject, Purpose, Session, Unchecked, check_sequence,
};
use zerocopy::byteorder::little_endian::{I64, U16, U32, U64};
use zerocopy::{FromBytes, IntoBytes};

/// Bytes of a header.
pub const HEADER_BYTES: usize = 40;

/// The version that this is.
pub const VERSION: u8 = 1;

crate::feed::views::views! {
    /// The header of a segment.
    Header: 40 {
        /// Version of the transport.
        version: u8,
        /// Reserved.
        reserved: u8,
        /// Id of the feed.
        protocol: U16,
        /// The channel.
        channel: U32,
        /// The session.
        session: U32,
        /// Bytes behind the header.
        payload_bytes: U16,
        /// Messages.
        count: U16,
        /// Bytes of payload that the session had before this.
        stream_offset: U64,
        /// Sequence of the first message, or of the next.
        first: U64,
        /// When it was sent, in nanoseconds since 1970.
        sent: I64,
    }
}

impl Header {
    /// The header that a datagram begins with.
    ///
    /// # Errors
    /// It is cut off, or of another version.
    #[inline]
    pub fn of(datagram: &[u8]) -> Result<&Header, PacketReject> {
        let (header, _) = Header::ref_from_prefix(datagram).map_err(|_| PacketReject::HeaderCut)?;
        if header.version != VERSION {
            return Err(PacketReject::UnknownVersion);
        }
        Ok(header)
    }
}

/// A segment.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// The header as it stands.
    pub header: &'a Header,
    /// The messages.
    pub messages: Messages<'a>,
}

impl<'a> Segment<'a> {
    /// The segment that the bytes of a datagram are, of whatever feed and channel.
    ///
    /// # Errors
    /// [`PacketReject`] says in which order it is looked at for which faults.
    #[inline]
    pub fn parse(datagram: &'a [u8]) -> Result<Segment<'a>, PacketReject> {
        let (header, payload) = opened(datagram)?;
        let messages = Messages::checked(payload, header.count.get(), Endian::Little)?;
        Ok(Segment { header, messages })
    }

    /// What it says, without its transport.
    #[inline]
    #[must_use]
    pub fn packet(&self) -> Packet<'a> {
        Packet {
            session: Session::Number(self.header.session.get()),
            purpose: match self.header.count.get() {
                0 => Purpose::Heartbeat,
                _ => Purpose::Messages,
            },
            first: self.header.first.get(),
            messages: self.messages,
        }
    }
}

/// The messages of a datagram, of whatever feed and channel, its messages' lengths not looked at yet.
///
/// # Errors
/// What is wrong with the header.
#[inline]
pub fn open(datagram: &[u8]) -> Result<Unchecked<'_>, PacketReject> {
    let (header, payload) = opened(datagram)?;
    Ok(Unchecked::new(
        header.first.get(),
        payload,
        header.count.get(),
        Endian::Little,
    ))
}

/// Header and payload, which is as long as the header says.
#[inline]
fn opened(datagram: &[u8]) -> Result<(&Header, &[u8]), PacketReject> {
    let header = Header::of(datagram)?;
    let payload = datagram.get(HEADER_BYTES..).unwrap_or(&[]);
    check_sequence(header.first.get(), header.count.get())?;
    let announced = usize::from(header.payload_bytes.get());
    if announced > payload.len() {
        return Err(PacketReject::PayloadCut);
    }
    if announced < payload.len() {
        return Err(PacketReject::PayloadExceeded);
    }
    Ok((header, payload))
}

/// What segments of a sender have in common, and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Id of the feed.
    pub protocol: u16,
    /// The channel.
    pub channel: u32,
    /// The session.
    pub session: u32,
    /// Bytes of payload that the session had before.
    pub stream_offset: u64,
    /// Sequence of the first message.
    pub first: u64,
    /// When it is sent, in nanoseconds since 1970.
    pub sent_ns: i64,
}

/// Writes a segment into a buffer. Without messages it is a heartbeat.
///
/// ```
/// use hopline::feed::iextp::{Place, Segment, Writer};
/// let place = Place { protocol: 0x8004, channel: 1, session: 9, stream_offset: 0, first: 1, sent_ns: 5 };
/// let mut buffer = [0; 64];
/// let mut writer = Writer::new(&mut buffer, place).unwrap();
/// assert!(writer.push(b"tick"));
/// let len = writer.finish();
/// let segment = Segment::parse(&buffer[..len])?;
/// assert_eq!((segment.header.payload_bytes.get(), segment.messages.len()), (6, 1));
/// # Ok::<(), hopline::feed::packets::PacketReject>(())
/// ```
pub struct Writer<'b>(Blocks<'b>);

impl<'b> Writer<'b> {
    /// A segment without messages yet; `None` if the buffer does not hold its header.
    #[must_use]
    pub fn new(buffer: &'b mut [u8], place: Place) -> Option<Writer<'b>> {
        let header = Header {
            version: VERSION,
            reserved: 0,
            protocol: U16::new(place.protocol),
            channel: U32::new(place.channel),
            session: U32::new(place.session),
            payload_bytes: U16::new(0),
            count: U16::new(0),
            stream_offset: U64::new(place.stream_offset),
            first: U64::new(place.first),
            sent: I64::new(place.sent_ns),
        };
        // What the header's 16 bits cannot announce is no room either.
        let room = buffer.len().min(HEADER_BYTES + usize::from(u16::MAX));
        Blocks::behind(header.as_bytes(), &mut buffer[..room]).map(Writer)
    }

    /// Appends a message; `false`, and nothing is changed, if it has no room.
    pub fn push(&mut self, message: &[u8]) -> bool {
        self.0.push(message, Endian::Little, u16::MAX)
    }

    /// Ends the segment: its length in bytes.
    #[must_use]
    pub fn finish(self) -> usize {
        let payload = (self.0.len - HEADER_BYTES) as u16;
        self.0.buffer[12..14].copy_from_slice(&payload.to_le_bytes());
        self.0.buffer[14..16].copy_from_slice(&self.0.count.to_le_bytes());
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
    use crate::feed::packets::Transport;

    const PLACE: Place = Place {
        protocol: 0x8004,
        channel: 1,
        session: 0x4287_0000,
        stream_offset: 2_205_324,
        first: 50_122,
        sent_ns: 1_471_980_632_572_839_404,
    };

    fn segment(messages: &[&[u8]]) -> Vec<u8> {
        let mut buffer = vec![0; 2_000];
        let mut writer = Writer::new(&mut buffer, PLACE).unwrap();
        assert!(messages.iter().all(|message| writer.push(message)));
        let len = writer.finish();
        buffer.truncate(len);
        buffer
    }

    #[test]
    fn each_lie_has_its_reason() {
        let transport = Transport::IexTp {
            protocol: 0x8004,
            channel: 1,
        };
        let good = segment(&[b"abc", b""]);
        let parsed = transport.parse(&good).unwrap();
        assert_eq!((parsed.first, parsed.end()), (50_122, 50_124));
        assert_eq!(parsed.session.to_string(), "0x42870000");
        let changed = |at: usize, to: &[u8]| {
            let mut bytes = good.clone();
            bytes[at..at + to.len()].copy_from_slice(to);
            bytes
        };
        let longer = [&good[..], b"x"].concat();
        for (bytes, reject) in [
            (good[..39].to_vec(), PacketReject::HeaderCut),
            (changed(0, &[2]), PacketReject::UnknownVersion),
            (changed(2, &[3]), PacketReject::OtherProtocol),
            (changed(4, &[2]), PacketReject::OtherChannel),
            (changed(24, &[0; 8]), PacketReject::NoSequence),
            (changed(24, &[0xff; 8]), PacketReject::SequenceOverflow),
            (good[..41].to_vec(), PacketReject::PayloadCut),
            (longer, PacketReject::PayloadExceeded),
            (changed(40, &[6]), PacketReject::BlockCut),
            (changed(14, &[3]), PacketReject::CountTooHigh),
            (changed(14, &[1]), PacketReject::CountTooLow),
            (changed(14, &[0]), PacketReject::CountTooLow),
        ] {
            assert_eq!(transport.parse(&bytes).err(), Some(reject), "{bytes:?}");
        }
        let heartbeat = segment(&[]);
        let parsed = transport.parse(&heartbeat).unwrap();
        assert_eq!((parsed.purpose, parsed.end()), (Purpose::Heartbeat, 50_122));
    }

    #[test]
    fn a_writer_never_announces_more_than_its_header_can() {
        let mut buffer = vec![0; 80_000];
        let mut writer = Writer::new(&mut buffer, PLACE).unwrap();
        let message = [7; 1_000];
        let mut pushed = 0;
        while writer.push(&message) {
            pushed += 1;
        }
        let len = writer.finish();
        assert_eq!(pushed, 65);
        assert_eq!(Segment::parse(&buffer[..len]).unwrap().messages.len(), 65);
    }
}
