//! What packets of sequenced feeds have in common, whatever their transport.
//!
//! A packet holds messages that follow each other in a session, and the sequence of the first. One
//! without messages is a heartbeat (or an end of session) and holds the sequence that comes next, so
//! that a receiver learns of a loss before more traffic does. Sequences count from 1.
//!
//! A packet is checked as a whole before anything of it is handed out: one whose counts or lengths
//! contradict its bytes is refused with a reason of its own, since nobody can say which of its
//! messages are meant. What it carried is then missing, and found so by the sequence.
//!
//! | file | transport |
//! |---|---|
//! | [`moldudp64`] | MoldUDP64 1.00, big-endian |
//! | [`iextp`] | IEX-TP 1.x, little-endian |
//!
//! Invariant: each byte of a packet is the header's, a block's length or a message's, or the packet
//! is refused; nothing is allocated, and no input panics.

use core::fmt;

use crate::base::Reject;
use crate::feed::{iextp, moldudp64};

crate::reasons! {
    /// Why a packet of a sequenced feed is refused, in the order in which it is looked at.
    pub enum PacketReject {
        /// Fewer bytes than the header has.
        HeaderCut = "header_cut",
        /// A version of the transport that nobody knows.
        UnknownVersion = "unknown_version",
        /// Messages of another feed than the line is for.
        OtherProtocol = "other_protocol",
        /// Another channel than the line is for; its sequences mean nothing here.
        OtherChannel = "other_channel",
        /// Sequence 0; they count from 1.
        NoSequence = "no_sequence",
        /// The last message's sequence would not fit in 64 bits.
        SequenceOverflow = "sequence_overflow",
        /// The header announces more bytes than there are.
        PayloadCut = "payload_cut",
        /// Bytes behind those that the header announces.
        PayloadExceeded = "payload_exceeded",
        /// A message, or its length, reaches past the last byte.
        BlockCut = "block_cut",
        /// The bytes end between two messages before all that are counted were seen.
        CountTooHigh = "count_too_high",
        /// Bytes behind the last message that is counted.
        CountTooLow = "count_too_low",
        /// From a line that the feed does not have.
        UnknownLine = "unknown_line",
    }
}

impl PacketReject {
    /// The ingress's reason that covers it; reports tell them apart line by line.
    #[must_use]
    pub const fn as_reject(self) -> Reject {
        match self {
            PacketReject::HeaderCut | PacketReject::PayloadCut | PacketReject::BlockCut => {
                Reject::Truncated
            }
            PacketReject::UnknownVersion => Reject::UnknownSchema,
            PacketReject::OtherProtocol
            | PacketReject::OtherChannel
            | PacketReject::UnknownLine => Reject::OtherFeed,
            PacketReject::NoSequence | PacketReject::SequenceOverflow => Reject::BadSequence,
            PacketReject::PayloadExceeded
            | PacketReject::CountTooHigh
            | PacketReject::CountTooLow => Reject::BadCount,
        }
    }
}

/// By which transport the messages of a feed come, as far as the feed says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// MoldUDP64.
    MoldUdp64,
    /// IEX-TP, with the id of the feed in its headers.
    IexTp(u16),
}

impl Carrier {
    /// The transport's name, as configurations write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Carrier::MoldUdp64 => "moldudp64",
            Carrier::IexTp(_) => "iextp",
        }
    }
}

/// The transport of a sequenced feed, and which of its packets are the line's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// MoldUDP64.
    MoldUdp64,
    /// IEX-TP.
    IexTp {
        /// Id of the feed: [`tops::PROTOCOL`](crate::feed::tops::PROTOCOL) or
        /// [`deep::PROTOCOL`](crate::feed::deep::PROTOCOL).
        protocol: u16,
        /// The channel.
        channel: u32,
    },
}

impl Transport {
    /// The packet that the bytes of a datagram are.
    ///
    /// # Errors
    /// The first of the reasons, in their order, for which they are none of this transport.
    #[inline]
    pub fn parse(self, datagram: &[u8]) -> Result<Packet<'_>, PacketReject> {
        match self {
            Transport::MoldUdp64 => Ok(moldudp64::Downstream::parse(datagram)?.packet()),
            Transport::IexTp { protocol, channel } => {
                let header = iextp::Header::of(datagram)?;
                if header.protocol.get() != protocol {
                    return Err(PacketReject::OtherProtocol);
                }
                if header.channel.get() != channel {
                    return Err(PacketReject::OtherChannel);
                }
                Ok(iextp::Segment::parse(datagram)?.packet())
            }
        }
    }

    /// The same with lengths that are looked at as messages are reached: see [`Unchecked`].
    ///
    /// # Errors
    /// What is wrong with the header.
    #[inline]
    pub fn open(self, datagram: &[u8]) -> Result<Unchecked<'_>, PacketReject> {
        match self {
            Transport::MoldUdp64 => moldudp64::open(datagram),
            Transport::IexTp { protocol, channel } => {
                let header = iextp::Header::of(datagram)?;
                if header.protocol.get() != protocol {
                    return Err(PacketReject::OtherProtocol);
                }
                if header.channel.get() != channel {
                    return Err(PacketReject::OtherChannel);
                }
                iextp::open(datagram)
            }
        }
    }
}

/// A session: within it sequences count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Session {
    /// Of MoldUDP64: ten characters.
    Name([u8; 10]),
    /// Of IEX-TP: a number.
    Number(u32),
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Session::Name(name) => write!(f, "{}", name.trim_ascii().escape_ascii()),
            Session::Number(number) => write!(f, "{number:#010x}"),
        }
    }
}

/// What a packet is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It carries messages, one at least.
    Messages,
    /// It carries none: all before its sequence were sent.
    Heartbeat,
    /// As a heartbeat, and nothing more will be sent in the session.
    EndOfSession,
}

/// A packet whose counts and lengths agree with its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// The session.
    pub session: Session,
    /// What it is for.
    pub purpose: Purpose,
    /// Sequence of its first message; of one that carries none, the sequence that comes next.
    pub first: u64,
    /// Its messages.
    pub messages: Messages<'a>,
}

impl Packet<'_> {
    /// The sequence after its last message. Never overflows: such a packet was refused.
    #[inline]
    #[must_use]
    pub fn end(&self) -> u64 {
        self.first.saturating_add(self.messages.left as u64)
    }
}

/// Order of the bytes of a message's length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endian {
    Big,
    Little,
}

/// The messages of a packet, in order.
#[derive(Clone, Copy, Debug)]
pub struct Messages<'a> {
    rest: &'a [u8],
    left: usize,
    endian: Endian,
}

/// Bytes of a message's length.
pub(crate) const LENGTH_BYTES: usize = 2;

#[inline]
fn split(bytes: &[u8], length: impl Fn([u8; LENGTH_BYTES]) -> u16) -> Option<(&[u8], &[u8])> {
    let (said, behind) = bytes.split_first_chunk::<LENGTH_BYTES>()?;
    behind.split_at_checked(usize::from(length(*said)))
}

impl<'a> Messages<'a> {
    /// The messages of a payload, if it is made of exactly so many.
    #[inline]
    pub(crate) fn checked(
        payload: &'a [u8],
        count: u16,
        endian: Endian,
    ) -> Result<Messages<'a>, PacketReject> {
        match endian {
            Endian::Big => walk(payload, count, u16::from_be_bytes, &mut |_| {})?,
            Endian::Little => walk(payload, count, u16::from_le_bytes, &mut |_| {})?,
        };
        Ok(Messages {
            rest: payload,
            left: usize::from(count),
            endian,
        })
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        if self.left == 0 {
            return None;
        }
        let (message, rest) = match self.endian {
            Endian::Big => split(self.rest, u16::from_be_bytes),
            Endian::Little => split(self.rest, u16::from_le_bytes),
        }?;
        self.rest = rest;
        self.left -= 1;
        Some(message)
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Messages<'_> {}

/// The messages of a packet whose header was looked at, and whose lengths are looked at as they are reached.
///
/// Lengths are then walked once and not twice. The price: of a packet that contradicts itself, the messages before
/// the fault have been handed out when it is found. For readers of files and for what keeps no sequence;
/// [`Sequenced`](crate::feed::Sequenced) checks a packet as a whole.
#[derive(Clone, Copy, Debug)]
pub struct Unchecked<'a> {
    /// Sequence of the first message, or of the next where there is none.
    pub first: u64,
    payload: &'a [u8],
    count: u16,
    endian: Endian,
}

impl<'a> Unchecked<'a> {
    pub(crate) fn new(first: u64, payload: &'a [u8], count: u16, endian: Endian) -> Unchecked<'a> {
        Unchecked {
            first,
            payload,
            count,
            endian,
        }
    }

    /// Hands out each message, and says how many there were.
    ///
    /// # Errors
    /// The packet contradicts itself; messages before the fault were handed out.
    ///
    /// ```
    /// use hopline::feed::packets::{PacketReject, Transport};
    /// let packet = b"0000000001\0\0\0\0\0\0\0\x01\0\x02\0\x01a\0\x02b";
    /// let mut seen = Vec::new();
    /// let opened = Transport::MoldUdp64.open(packet)?;
    /// assert_eq!(opened.each(|message| seen.push(message)), Err(PacketReject::BlockCut));
    /// assert_eq!(seen, [b"a"]);
    /// # Ok::<(), PacketReject>(())
    /// ```
    // Always, as `itch::decode` is: the caller's match on a message and the walk become one loop.
    #[inline(always)]
    pub fn each(&self, mut take: impl FnMut(&'a [u8])) -> Result<usize, PacketReject> {
        // Once and not at each message: where the next one begins waits for this one's length.
        match self.endian {
            Endian::Big => walk(self.payload, self.count, u16::from_be_bytes, &mut take),
            Endian::Little => walk(self.payload, self.count, u16::from_le_bytes, &mut take),
        }
    }
}

/// Every message of a payload that is made of so many; how many there were.
#[inline(always)]
fn walk<'a>(
    payload: &'a [u8],
    count: u16,
    length: impl Fn([u8; LENGTH_BYTES]) -> u16,
    take: &mut impl FnMut(&'a [u8]),
) -> Result<usize, PacketReject> {
    let mut rest = payload;
    for _ in 0..count {
        let Some((message, behind)) = split(rest, &length) else {
            return Err(cut(rest));
        };
        take(message);
        rest = behind;
    }
    if rest.is_empty() {
        Ok(usize::from(count))
    } else {
        Err(PacketReject::CountTooLow)
    }
}

/// Why no message begins there.
#[cold]
fn cut(rest: &[u8]) -> PacketReject {
    if rest.is_empty() {
        PacketReject::CountTooHigh
    } else {
        PacketReject::BlockCut
    }
}

/// The checks of a sequence that both transports have.
#[inline]
pub(crate) fn check_sequence(first: u64, count: u16) -> Result<(), PacketReject> {
    if first == 0 {
        return Err(PacketReject::NoSequence);
    }
    match first.checked_add(u64::from(count)) {
        Some(_) => Ok(()),
        None => Err(PacketReject::SequenceOverflow),
    }
}

/// Messages into a payload, for those who write packets.
pub(crate) struct Blocks<'b> {
    pub(crate) buffer: &'b mut [u8],
    pub(crate) len: usize,
    pub(crate) count: u16,
}

impl<'b> Blocks<'b> {
    /// Blocks behind a header; `None` if the buffer does not hold it.
    pub(crate) fn behind(header: &[u8], buffer: &'b mut [u8]) -> Option<Blocks<'b>> {
        buffer.get_mut(..header.len())?.copy_from_slice(header);
        Some(Blocks {
            buffer,
            len: header.len(),
            count: 0,
        })
    }

    /// Appends a message unless there is no room for it or a count of `count_max` is reached.
    pub(crate) fn push(&mut self, message: &[u8], endian: Endian, count_max: u16) -> bool {
        let Ok(length) = u16::try_from(message.len()) else {
            return false;
        };
        let end = self.len + LENGTH_BYTES + message.len();
        if self.count >= count_max {
            return false;
        }
        let Some((head, body)) = self
            .buffer
            .get_mut(self.len..end)
            .and_then(|place| place.split_at_mut_checked(LENGTH_BYTES))
        else {
            return false;
        };
        head.copy_from_slice(&match endian {
            Endian::Big => length.to_be_bytes(),
            Endian::Little => length.to_le_bytes(),
        });
        body.copy_from_slice(message);
        self.len = end;
        self.count += 1;
        true
    }
}
