//! Messages in a stream of bytes, each behind its length.
//!
//! The length is that of the message alone, without the prefix; an empty message is one. This is
//! the framing that many binary protocols over TCP begin with: DNS (RFC 1035, section 4.2.2) has 16
//! bits, Kafka's protocol 32.
//!
//! Invariant: a message comes out whole and in order however the stream was cut, or the decoder
//! says why it cannot go on and stays there: behind a wrong length there is no next one.

use core::fmt;

use crate::wire::unread::Unread;

/// Bytes that a decoder's buffer has at least, so that short messages that came together take one
/// read: 240 of 64 B. Enough to make the system call a small part of each; beyond it a connection
/// costs more cache than it saves calls.
pub const READ_BYTES_MIN: usize = 16 << 10;

/// The length before each message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Prefix {
    /// Two bytes, most significant first.
    U16Be,
    /// Two bytes, least significant first.
    U16Le,
    /// Four bytes, most significant first: network order, the default.
    #[default]
    U32Be,
    /// Four bytes, least significant first.
    U32Le,
    /// None at all, for messages that say themselves where they end: only for what is written.
    None,
}

impl Prefix {
    /// Those that can be read, by the words that settings use.
    pub const WORDS: &'static [(&'static str, Prefix)] = &[
        ("length16", Prefix::U16Be),
        ("length16_le", Prefix::U16Le),
        ("length32", Prefix::U32Be),
        ("length32_le", Prefix::U32Le),
    ];

    /// The prefix of that word.
    ///
    /// ```
    /// use hopline::wire::Prefix;
    /// assert_eq!(Prefix::of_word("length32"), Some(Prefix::U32Be));
    /// ```
    #[must_use]
    pub fn of_word(word: &str) -> Option<Prefix> {
        let found = Prefix::WORDS.iter().find(|(name, _)| *name == word);
        found.map(|(_, prefix)| *prefix)
    }

    /// Bytes of the prefix itself.
    #[inline]
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Prefix::U16Be | Prefix::U16Le => 2,
            Prefix::U32Be | Prefix::U32Le => 4,
            Prefix::None => 0,
        }
    }

    /// Longest message that it can announce, in bytes.
    #[must_use]
    pub const fn announces_max(self) -> usize {
        match self {
            Prefix::U16Be | Prefix::U16Le => u16::MAX as usize,
            Prefix::U32Be | Prefix::U32Le | Prefix::None => u32::MAX as usize,
        }
    }

    /// The length that `bytes` begin with, if all of the prefix is there; never for [`Prefix::None`].
    #[inline]
    #[must_use]
    pub fn read(self, bytes: &[u8]) -> Option<usize> {
        Some(match self {
            Prefix::U16Be => usize::from(u16::from_be_bytes(*bytes.first_chunk()?)),
            Prefix::U16Le => usize::from(u16::from_le_bytes(*bytes.first_chunk()?)),
            Prefix::U32Be => u32::from_be_bytes(*bytes.first_chunk()?) as usize,
            Prefix::U32Le => u32::from_le_bytes(*bytes.first_chunk()?) as usize,
            Prefix::None => return None,
        })
    }

    /// Writes the prefix of a message of `len` bytes to the front of `out` and says how long it
    /// is; `None` if `out` is shorter, or if the prefix cannot announce that much.
    #[inline]
    #[must_use]
    pub fn write(self, len: usize, out: &mut [u8]) -> Option<usize> {
        if len > self.announces_max() {
            return None;
        }
        match self {
            Prefix::U16Be => *out.first_chunk_mut()? = (len as u16).to_be_bytes(),
            Prefix::U16Le => *out.first_chunk_mut()? = (len as u16).to_le_bytes(),
            Prefix::U32Be => *out.first_chunk_mut()? = (len as u32).to_be_bytes(),
            Prefix::U32Le => *out.first_chunk_mut()? = (len as u32).to_le_bytes(),
            Prefix::None => {}
        }
        Some(self.bytes())
    }
}

/// How the messages of a stream are told apart, and how long one may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framing {
    prefix: Prefix,
    message_bytes_max: usize,
}

impl Framing {
    /// Messages behind `prefix`, of at most `message_bytes_max` bytes or what the prefix can
    /// announce, whichever is less.
    #[must_use]
    pub const fn new(prefix: Prefix, message_bytes_max: usize) -> Framing {
        let announces = prefix.announces_max();
        Framing {
            prefix,
            message_bytes_max: if message_bytes_max < announces {
                message_bytes_max
            } else {
                announces
            },
        }
    }

    /// The length before each message.
    #[must_use]
    pub const fn prefix(self) -> Prefix {
        self.prefix
    }

    /// Longest message, in bytes, without its prefix.
    #[must_use]
    pub const fn message_bytes_max(self) -> usize {
        self.message_bytes_max
    }

    /// Bytes of the longest message with its prefix.
    #[must_use]
    pub const fn frame_bytes_max(self) -> usize {
        self.prefix.bytes() + self.message_bytes_max
    }

    /// Writes `message` behind its length to the front of `out` and says how long both are; `None`
    /// if it is too long or `out` too short, and then `out` may have been written to.
    ///
    /// ```
    /// use hopline::wire::{Framing, Prefix};
    /// let framing = Framing::new(Prefix::U16Be, 64);
    /// let mut out = [0; 8];
    /// assert_eq!(framing.encode(b"tick", &mut out), Some(6));
    /// assert_eq!(&out[..6], b"\x00\x04tick");
    /// ```
    #[inline]
    #[must_use]
    pub fn encode(self, message: &[u8], out: &mut [u8]) -> Option<usize> {
        if message.len() > self.message_bytes_max {
            return None;
        }
        let at = self.prefix.write(message.len(), out)?;
        out.get_mut(at..at + message.len())?
            .copy_from_slice(message);
        Some(at + message.len())
    }
}

/// A length that no message of this stream can have: the stream cannot be followed any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LengthError {
    /// Where in the stream the prefix stands, in bytes from its beginning.
    pub at: u64,
    /// What it announces, in bytes.
    pub announced: usize,
    /// Most that a message may have, in bytes.
    pub max: usize,
}

impl fmt::Display for LengthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LengthError { at, announced, max } = self;
        write!(
            f,
            "at byte {at} of the stream a message of {announced} bytes is announced, {max} are allowed"
        )
    }
}

impl core::error::Error for LengthError {}

/// Finds the messages in a stream that comes in any cuts.
///
/// Bytes are read straight into its [space](Decoder::space), and a message is handed out where it
/// lies; bytes move only when the rest of a message would not fit behind its beginning.
///
/// ```
/// use hopline::wire::{Decoder, Framing, Prefix};
/// let mut decoder = Decoder::new(Framing::new(Prefix::U32Be, 64));
/// let cut = b"\0\0\0\x04ti";
/// decoder.space()[..cut.len()].copy_from_slice(cut);
/// decoder.filled(cut.len());
/// assert_eq!(decoder.next_message(), Ok(None));
/// assert_eq!(decoder.push(b"ck\0\0\0\0"), 6);
/// assert_eq!(decoder.next_message(), Ok(Some(&b"tick"[..])));
/// assert_eq!(decoder.next_message(), Ok(Some(&b""[..])));
/// assert_eq!(decoder.next_message(), Ok(None));
/// ```
#[derive(Clone)]
pub struct Decoder {
    framing: Framing,
    unread: Unread,
    /// Bytes of the stream that were handed out.
    at: u64,
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder")
            .field("framing", &self.framing)
            .field("buffered", &self.buffered())
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl Decoder {
    /// A decoder at the beginning of a stream. Allocates its buffer,
    /// [`Decoder::buffer_bytes`], which never grows.
    #[must_use]
    pub fn new(framing: Framing) -> Decoder {
        Decoder {
            framing,
            unread: Unread::new(Decoder::buffer_bytes(framing)),
            at: 0,
        }
    }

    /// Bytes of the buffer: the longest message with its prefix, and not less than
    /// [`READ_BYTES_MIN`].
    #[must_use]
    pub const fn buffer_bytes(framing: Framing) -> usize {
        let most = framing.frame_bytes_max();
        if most > READ_BYTES_MIN {
            most
        } else {
            READ_BYTES_MIN
        }
    }

    /// Begins another stream: what is buffered is forgotten.
    pub fn restart(&mut self) {
        self.unread.clear();
        self.at = 0;
    }

    /// Bytes that came in and were not handed out.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.unread.len()
    }

    /// Bytes of the stream that were handed out, prefixes included.
    #[must_use]
    pub fn at(&self) -> u64 {
        self.at
    }

    /// Room for the next bytes of the stream; say with [`Decoder::filled`] how many came. Never
    /// empty as long as every whole message was handed out before.
    #[inline]
    pub fn space(&mut self) -> &mut [u8] {
        let wanted = self.wanted();
        self.unread.space(wanted)
    }

    /// Bytes that the message in hand needs with its prefix, as far as that is known.
    #[inline]
    fn wanted(&self) -> usize {
        let prefix = self.framing.prefix;
        let len = prefix.read(self.unread.bytes()).unwrap_or(0);
        // One more than is there, so that a full buffer always makes room.
        (prefix.bytes() + len.min(self.framing.message_bytes_max)).max(self.buffered() + 1)
    }

    /// The first `count` bytes of the [space](Decoder::space) are the stream's next ones; more
    /// than there is room for are not taken.
    #[inline]
    pub fn filled(&mut self, count: usize) {
        self.unread.filled(count);
    }

    /// Copies as many of `bytes` as there is room for, and says how many.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        let wanted = self.wanted();
        self.unread.push(bytes, wanted)
    }

    /// The next whole message, where it lies in the buffer; `None` if more bytes are needed.
    ///
    /// # Errors
    /// The next prefix announces more than a message may have. The decoder stays before it, so
    /// that each further call says the same.
    #[inline]
    pub fn next_message(&mut self) -> Result<Option<&[u8]>, LengthError> {
        let prefix = self.framing.prefix;
        let Some(len) = prefix.read(self.unread.bytes()) else {
            return Ok(None);
        };
        if len > self.framing.message_bytes_max {
            return Err(LengthError {
                at: self.at,
                announced: len,
                max: self.framing.message_bytes_max,
            });
        }
        let frame_bytes = prefix.bytes() + len;
        if frame_bytes > self.unread.len() {
            return Ok(None);
        }
        self.at += frame_bytes as u64;
        let frame = self.unread.take(frame_bytes);
        Ok(Some(&self.unread.at(frame)[prefix.bytes()..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [Prefix; 4] = [Prefix::U16Be, Prefix::U16Le, Prefix::U32Be, Prefix::U32Le];

    fn stream(framing: Framing, messages: &[Vec<u8>]) -> Vec<u8> {
        let mut out = vec![0; messages.iter().map(|m| m.len() + 4).sum::<usize>()];
        let mut at = 0;
        for message in messages {
            at += framing.encode(message, &mut out[at..]).unwrap();
        }
        out.truncate(at);
        out
    }

    /// Everything that comes out when the stream is cut by `cut`, which says how long the next piece is.
    fn decoded(
        framing: Framing,
        mut bytes: &[u8],
        mut cut: impl FnMut(usize) -> usize,
    ) -> (Vec<Vec<u8>>, Option<LengthError>, Decoder) {
        let mut decoder = Decoder::new(framing);
        let mut out = Vec::new();
        loop {
            loop {
                match decoder.next_message() {
                    Ok(Some(message)) => out.push(message.to_vec()),
                    Ok(None) => break,
                    Err(error) => return (out, Some(error), decoder),
                }
            }
            if bytes.is_empty() {
                return (out, None, decoder);
            }
            let len = cut(bytes.len()).clamp(1, bytes.len());
            let taken = decoder.push(&bytes[..len]);
            assert!(taken > 0, "there is room once all whole messages are out");
            bytes = &bytes[taken..];
        }
    }

    #[test]
    fn a_cut_at_every_byte_changes_nothing() {
        let messages: Vec<Vec<u8>> = [0, 1, 5, 64, 0, 2]
            .iter()
            .map(|len| (0..*len).map(|n| n as u8 ^ 0xa5).collect())
            .collect();
        for prefix in ALL {
            let framing = Framing::new(prefix, 64);
            let bytes = stream(framing, &messages);
            for at in 0..=bytes.len() {
                let mut first = true;
                let (out, error, decoder) = decoded(framing, &bytes, |left| {
                    if core::mem::take(&mut first) {
                        at
                    } else {
                        left
                    }
                });
                assert_eq!((&out, error), (&messages, None), "{prefix:?} cut at {at}");
                assert_eq!(decoder.at(), bytes.len() as u64);
            }
            let (out, ..) = decoded(framing, &bytes, |_| 1);
            assert_eq!(out, messages, "{prefix:?} byte by byte");
        }
    }

    #[test]
    fn a_length_over_the_limit_says_what_and_where_and_stays() {
        for prefix in ALL {
            let framing = Framing::new(prefix, 8);
            let mut bytes = stream(framing, &[b"12345678".to_vec()]);
            let at = bytes.len() as u64;
            bytes.extend_from_slice(&stream(Framing::new(prefix, 64), &[vec![7; 9]]));
            let (out, error, mut decoder) = decoded(framing, &bytes, |_| 3);
            assert_eq!(out.len(), 1);
            let expected = LengthError {
                at,
                announced: 9,
                max: 8,
            };
            assert_eq!(error, Some(expected));
            assert_eq!(decoder.next_message(), Err(expected), "it stays there");
            decoder.restart();
            assert_eq!(decoder.next_message(), Ok(None));
            assert_eq!((decoder.buffered(), decoder.at()), (0, 0));
        }
        let error = LengthError {
            at: 12,
            announced: 9,
            max: 8,
        };
        let text = "at byte 12 of the stream a message of 9 bytes is announced, 8 are allowed";
        assert_eq!(error.to_string(), text);
    }

    #[test]
    fn what_lies_whole_is_not_moved() {
        let framing = Framing::new(Prefix::U32Be, 64);
        let mut decoder = Decoder::new(framing);
        decoder.push(&stream(framing, &[vec![1; 10], vec![2; 20]]));
        let first = decoder.next_message().unwrap().unwrap().as_ptr();
        // Room is asked for in between, as a source does that reads on.
        decoder.space();
        let second = decoder.next_message().unwrap().unwrap();
        assert_eq!(second.as_ptr().addr(), first.addr() + 10 + 4);
        assert!(core::ptr::eq(decoder.unread.at(4..5).as_ptr(), first));
    }

    #[test]
    fn the_longest_message_fits_wherever_the_one_before_ended() {
        for most in [1, READ_BYTES_MIN - 4, READ_BYTES_MIN, 3 * READ_BYTES_MIN] {
            let framing = Framing::new(Prefix::U32Le, most);
            let messages = vec![
                vec![1; most],
                vec![2; most.div_ceil(2)],
                vec![3; most],
                vec![],
            ];
            let bytes = stream(framing, &messages);
            for piece in [7, 1_000, READ_BYTES_MIN - 1, usize::MAX] {
                let (out, error, _) = decoded(framing, &bytes, |_| piece);
                assert_eq!((out.len(), error), (4, None), "{most} in pieces of {piece}");
                assert_eq!(out, messages);
            }
        }
    }

    #[test]
    fn a_message_that_ends_at_either_side_of_the_buffers_end_is_whole() {
        let framing = Framing::new(Prefix::U32Be, READ_BYTES_MIN);
        let buffer = Decoder::buffer_bytes(framing);
        // The second message would end so many bytes before the buffer's end, or behind it.
        for beyond in -10_isize..=10 {
            let first = (buffer - 4 - 4 - 50).wrapping_add_signed(beyond);
            let messages = vec![vec![1; first], vec![2; 50], vec![3; 5]];
            let bytes = stream(framing, &messages);
            for there in [1, 3, 4, 5, 30] {
                let mut pieces = [first + 4 + there].into_iter();
                let (out, error, _) =
                    decoded(framing, &bytes, |left| pieces.next().unwrap_or(left));
                assert_eq!((&out, error), (&messages, None), "{beyond} {there}");
            }
        }
    }

    #[test]
    fn encoding_refuses_what_does_not_fit() {
        let framing = Framing::new(Prefix::U16Le, 1 << 20);
        assert_eq!(framing.message_bytes_max(), 65_535);
        let mut out = vec![0; 70_000];
        assert_eq!(framing.encode(&vec![0; 65_536], &mut out), None);
        assert_eq!(framing.encode(b"abc", &mut out[..4]), None);
        assert_eq!(framing.encode(b"abc", &mut out[..1]), None);
        assert_eq!(framing.encode(b"abc", &mut out), Some(5));
        assert_eq!(Prefix::U32Be.write(1 << 33, &mut out), None);
    }

    proptest! {
        #[test]
        fn any_messages_in_any_cuts_come_out_as_they_went_in(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..40),
            cuts in prop::collection::vec(1_usize..400, 1..50),
            which in 0_usize..4,
        ) {
            let framing = Framing::new(ALL[which], 300);
            let bytes = stream(framing, &messages);
            let mut at = 0;
            let (out, error, decoder) = decoded(framing, &bytes, |_| {
                at += 1;
                cuts[at % cuts.len()]
            });
            prop_assert_eq!(error, None);
            prop_assert_eq!(out, messages);
            prop_assert_eq!(decoder.buffered(), 0);
        }

        #[test]
        fn any_bytes_at_all_do_no_harm(
            bytes in prop::collection::vec(any::<u8>(), 0..4_000),
            max in 0_usize..1_000,
            piece in 1_usize..500,
            which in 0_usize..4,
        ) {
            let framing = Framing::new(ALL[which], max);
            let (out, error, decoder) = decoded(framing, &bytes, |_| piece);
            let handed: usize = out.iter().map(|m| m.len() + framing.prefix().bytes()).sum();
            prop_assert_eq!(decoder.at(), handed as u64);
            prop_assert!(out.iter().all(|message| message.len() <= max));
            prop_assert!(error.is_some() || handed + decoder.buffered() == bytes.len());
        }
    }
}
