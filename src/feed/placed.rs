//! Messages of sequenced feeds as frames: the bytes as they came, each with its place in the feed and
//! what can be relied on when it was handed out.
//!
//! | kind | frame | carries |
//! |---|---|---|
//! | `itch` | [`ItchMessage`] | a message of TotalView-ITCH 5.0 |
//! | `deep` | [`DeepMessage`] | a message of DEEP 1.0 |
//! | `tops` | [`TopsMessage`] | a message of TOPS 1.6 |
//!
//! A message is copied once, into the slot, and read there: `view.message()` casts the bytes to the same
//! views that [`itch`], [`deep`] and [`tops`] give of a packet, and a field is read when it is
//! asked for. The bytes are checked before they become a frame.
//!
//! Every frame says what the feed lost before it and in what state it is, so that who looks at nothing but
//! frames misses nothing. What is lost on the line itself, on a hop that sheds, shows in `number`: each frame's is one
//! more than the one before.
//!
//! Each frame has a key, by which a hop splits and conflates: the number of its security for the day (ITCH), or its symbol's eight
//! bytes (DEEP, TOPS). What is about no security has the key 0.
//!
//! Invariant: integers and closed enums of fixed size only; no frame is larger than a slot's payload.

#![allow(
    missing_debug_implementations,
    reason = "the resolvers that rkyv derives have none, and nobody ever holds one"
)]

use crate::feed::sequenced::{Delivery, State};
use crate::feed::views::MessageReject;
use crate::feed::{deep, iex, itch, tops};
use crate::frame::{Frame, View};

/// Bytes of an ITCH message in its frame.
const ITCH_BYTES: usize = itch::MESSAGE_BYTES_MAX;

/// Bytes of a message of IEX in its frame. A longer one, which later editions may have, is cut: views read as
/// much of it as they know.
const IEX_BYTES: usize = iex::MESSAGE_BYTES_MAX;

/// A message of TotalView-ITCH 5.0. Kind `itch`.
#[hopline::frame(schema = 211, version = 1, name = "itch", key = "locate")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ItchMessage {
    /// Its sequence in its session.
    pub sequence: u64,
    /// Messages that the feed lost since the frame before; sticky at its maximum.
    pub lost: u32,
    /// Which run of a numbering from 1 it is of, counted from 1.
    pub era: u32,
    /// Number of the frame among those of its source; the largest is followed by 0.
    pub number: u16,
    /// Number of the security for this day; 0 where the message is about none.
    pub locate: u16,
    /// How many of `bytes` are meant. The others are zeros.
    pub length: u8,
    /// The line whose copy it is, from 0.
    pub line: u8,
    /// The worst state since the frame before.
    pub state: State,
    /// Whether an era began since the frame before: what was built from earlier ones is void.
    pub begins: bool,
    /// The message.
    pub bytes: [u8; ITCH_BYTES],
}

/// Frames of IEX's feeds, which have the same fields.
macro_rules! iex_frame {
    ($(#[$meta:meta])* $name:ident, $archived:ident, $feed:ident, $schema:literal, $word:literal) => {
        $(#[$meta])*
        #[hopline::frame(schema = $schema, version = 1, name = $word, key_of = "symbol_key")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name {
            /// Its sequence in its session.
            pub sequence: u64,
            /// Messages that the feed lost since the frame before; sticky at its maximum.
            pub lost: u16,
            /// Number of the frame among those of its source; the largest is followed by 0.
            pub number: u16,
            /// How many of `bytes` are meant. The others are zeros.
            pub length: u8,
            /// The line whose copy it is, from 0.
            pub line: u8,
            /// The worst state since the frame before.
            pub state: State,
            /// Whether an era began since the frame before: what was built from earlier ones is void.
            pub begins: bool,
            /// The message.
            pub bytes: [u8; IEX_BYTES],
        }

        impl $name {
            /// The key of its symbol, as [`Symbol8::key`](crate::feed::views::Symbol8::key) has it; 0 where the message is about
            /// none. It is no field, because the frame is as large as a frame can be.
            #[inline]
            #[must_use]
            pub fn symbol_key(&self) -> u64 {
                iex::symbol_key(&self.bytes)
            }

            /// A message as it was handed out, and the number of its frame.
            ///
            /// # Errors
            /// Bytes that are no message of the feed.
            #[inline]
            pub fn of(delivery: &Delivery<'_>, number: u16) -> Result<$name, MessageReject> {
                $feed::decode(delivery.bytes)?;
                let len = delivery.bytes.len().min(IEX_BYTES);
                let mut bytes = [0; IEX_BYTES];
                bytes[..len].copy_from_slice(&delivery.bytes[..len]);
                let lost = delivery.lost.saturating_add(delivery.lost_earlier);
                Ok($name {
                    sequence: delivery.sequence,
                    lost: u16::try_from(lost).unwrap_or(u16::MAX),
                    number,
                    length: len as u8,
                    line: delivery.line,
                    state: delivery.state,
                    begins: delivery.begins,
                    bytes,
                })
            }
        }

        impl $archived {
            /// The message, as a view on the frame's bytes.
            ///
            /// # Errors
            /// Bytes that are no message of the feed; no frame is made of such.
            #[inline]
            pub fn message(&self) -> Result<$feed::Message<'_>, MessageReject> {
                $feed::decode(&self.bytes[..usize::from(self.length).min(IEX_BYTES)])
            }
        }
    };
}

iex_frame!(
    /// A message of DEEP 1.0. Kind `deep`.
    DeepMessage, ArchivedDeepMessage, deep, 212, "deep"
);

iex_frame!(
    /// A message of TOPS 1.6. Kind `tops`.
    TopsMessage, ArchivedTopsMessage, tops, 213, "tops"
);

impl ItchMessage {
    /// A message as it was handed out, and the number of its frame.
    ///
    /// # Errors
    /// Bytes that are no message of the feed.
    #[inline]
    pub fn of(delivery: &Delivery<'_>, number: u16) -> Result<ItchMessage, MessageReject> {
        itch::decode(delivery.bytes)?;
        let head = itch::head(delivery.bytes).ok_or(MessageReject::TooShort)?;
        // What decodes is no longer than the longest type.
        let len = delivery.bytes.len().min(ITCH_BYTES);
        let mut bytes = [0; ITCH_BYTES];
        bytes[..len].copy_from_slice(&delivery.bytes[..len]);
        let lost = delivery.lost.saturating_add(delivery.lost_earlier);
        Ok(ItchMessage {
            sequence: delivery.sequence,
            lost: u32::try_from(lost).unwrap_or(u32::MAX),
            era: u32::try_from(delivery.era).unwrap_or(u32::MAX),
            number,
            locate: head.locate.get(),
            length: len as u8,
            line: delivery.line,
            state: delivery.state,
            begins: delivery.begins,
            bytes,
        })
    }
}

impl ArchivedItchMessage {
    /// The message, as a view on the frame's bytes.
    ///
    /// # Errors
    /// Bytes that are no message of the feed; [`ItchMessage::of`] makes no such frame.
    #[inline]
    pub fn message(&self) -> Result<itch::Message<'_>, MessageReject> {
        itch::decode(&self.bytes[..usize::from(self.length).min(ITCH_BYTES)])
    }
}

/// What a frame of a feed says beside its message.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Its sequence.
    pub sequence: u64,
    /// The frame's number among those of its source.
    pub number: u16,
    /// The worst state since the frame before.
    pub state: State,
    /// Whether what was built before is void.
    pub begins: bool,
}

/// Frames of a sequenced feed.
pub trait Placed: Frame {
    /// What one says beside its message.
    fn place(frame: View<'_, Self>) -> Place;
}

macro_rules! placed {
    ($($name:ident),*) => {$(
        impl Placed for $name {
            #[inline]
            fn place(frame: View<'_, $name>) -> Place {
                Place {
                    sequence: frame.sequence(),
                    number: frame.number(),
                    state: frame.state(),
                    begins: frame.begins(),
                }
            }
        }
    )*};
}

placed!(ItchMessage, DeepMessage, TopsMessage);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::packets::Session;
    use crate::frame::Aligned;

    fn delivery(bytes: &[u8]) -> Delivery<'_> {
        Delivery {
            session: Session::Number(1),
            era: 70_000,
            sequence: 9,
            line: 1,
            state: State::Gap,
            begins: true,
            lost: 2,
            lost_earlier: u64::MAX,
            received_ns: 0,
            bytes,
        }
    }

    #[test]
    fn a_frame_is_its_message_and_its_place() {
        let bytes = b"D\x00\x07\x00\x00\x1f\x1a\xce\xd8\x50\x00\x00\x00\x00\x00\x00\x00\x00\x2a";
        let frame = ItchMessage::of(&delivery(bytes), 3).unwrap();
        assert_eq!((frame.key(), frame.lost), (7, u32::MAX));
        let mut slot = Aligned::<96>::new();
        let len = frame.write(&mut slot[..]).unwrap();
        let view = View::<ItchMessage>::read(&slot[..len]).unwrap();
        assert_eq!((view.sequence(), view.state()), (9, State::Gap));
        assert_eq!(view.message().unwrap(), itch::decode(bytes).unwrap());
        assert_eq!(
            ItchMessage::of(&delivery(b""), 0),
            Err(MessageReject::Empty)
        );
    }

    #[test]
    fn a_frame_of_iex_has_the_key_of_its_symbol_whatever_its_type() {
        use crate::feed::views::Symbol8;
        const KINDS: [&[u8]; 2] = [b"SDHIOPE85TXBA", b"SDHIOPQTXBA"];
        let zvzzt = Symbol8::new("ZVZZT");
        for (kinds, deep) in KINDS.into_iter().zip([true, false]) {
            for kind in kinds {
                let mut bytes = [b'0'; 80];
                bytes[0] = *kind;
                bytes[10..18].copy_from_slice(&zvzzt.0);
                let key = match deep {
                    true => DeepMessage::of(&delivery(&bytes), 0).map(|frame| frame.key()),
                    false => TopsMessage::of(&delivery(&bytes), 0).map(|frame| frame.key()),
                };
                // An event of the whole system is about no symbol, however long a later edition makes it.
                let expected = if *kind == b'S' { 0 } else { zvzzt.key() };
                assert_eq!(key, Ok(expected), "{}", *kind as char);
            }
        }
        let event = b"S\x45\x00\x00\x00\x00\x00\x00\x00\x00";
        assert_eq!(DeepMessage::of(&delivery(event), 0).unwrap().key(), 0);
        const { assert!(DeepMessage::KEYED && TopsMessage::KEYED && ItchMessage::KEYED) };
    }

    #[test]
    fn a_longer_message_of_iex_is_read_as_far_as_it_is_known() {
        let mut bytes = vec![b'A'; 200];
        bytes[0] = b'A';
        let frame = DeepMessage::of(&delivery(&bytes), 9).unwrap();
        assert_eq!((frame.length, frame.number, frame.lost), (80, 9, u16::MAX));
        assert_eq!(DeepMessage::BYTES, 96);
        let mut slot = Aligned::<96>::new();
        frame.write(&mut slot[..]).unwrap();
        let view = View::<DeepMessage>::read(&slot[..]).unwrap();
        assert_eq!(view.message().unwrap(), deep::decode(&bytes).unwrap());
        let unknown = TopsMessage::of(&delivery(b"?"), 0);
        assert_eq!(unknown, Err(MessageReject::UnknownType));
    }
}
