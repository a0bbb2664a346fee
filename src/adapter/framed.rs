//! What a connection's bytes are made of: messages behind their lengths, or lines.
//!
//! Invariant: a line that is too long is told once and left out, and the stream goes on; a length that is too
//! long ends it, for behind it there is no next one.

use crate::feed::influx::Ends;
use crate::stage::LineEnds;
use crate::wire::{Decoder, Framing, Splitter};

/// How the messages of a connection are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framed {
    /// Each behind its length.
    Behind(Framing),
    /// Lines of at most so many bytes, without their ends.
    Lines { ends: LineEnds, bytes_max: usize },
}

impl Framed {
    /// Bytes of a connection's buffer.
    pub(super) const fn buffer_bytes(self) -> usize {
        match self {
            Framed::Behind(framing) => Decoder::buffer_bytes(framing),
            Framed::Lines { bytes_max, .. } => Splitter::buffer_bytes(bytes_max),
        }
    }
}

/// What the bytes of a connection came to next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Next<'a> {
    /// The next message, if all of it is there.
    pub(super) message: Option<&'a [u8]>,
    /// Lines before it that are too long and were left out, and bytes that were left out of them.
    pub(super) left_out: u64,
    pub(super) left_out_bytes: u64,
}

/// The stream cannot be followed any further: a length is over the bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lost;

/// Finds the messages of one connection.
#[derive(Debug)]
pub(super) enum Finder {
    Behind(Decoder),
    Lines(Lines),
}

/// Finds lines.
#[derive(Debug)]
pub(super) struct Lines {
    splitter: Splitter,
    /// Where they end, if not at each line feed.
    quoted: Option<Ends>,
    /// What was told of those that are too long.
    told: u64,
    told_bytes: u64,
}

impl Finder {
    /// At the beginning of a connection. Allocates its buffer, which never grows.
    pub(super) fn new(framed: Framed) -> Finder {
        match framed {
            Framed::Behind(framing) => Finder::Behind(Decoder::new(framing)),
            Framed::Lines { ends, bytes_max } => Finder::Lines(Lines {
                splitter: Splitter::new(bytes_max),
                quoted: (ends == LineEnds::Quoted).then(Ends::new),
                told: 0,
                told_bytes: 0,
            }),
        }
    }

    /// Begins another connection.
    pub(super) fn restart(&mut self) {
        match self {
            Finder::Behind(decoder) => decoder.restart(),
            Finder::Lines(lines) => {
                lines.splitter.restart();
                lines.quoted = lines.quoted.map(|_| Ends::new());
            }
        }
    }

    /// Bytes that came in and belong to no message yet.
    pub(super) fn buffered(&self) -> usize {
        match self {
            Finder::Behind(decoder) => decoder.buffered(),
            Finder::Lines(lines) => lines.splitter.buffered(),
        }
    }

    /// Room for the next bytes; not empty once all messages are out.
    #[inline]
    pub(super) fn space(&mut self) -> &mut [u8] {
        match self {
            Finder::Behind(decoder) => decoder.space(),
            Finder::Lines(lines) => lines.splitter.space(),
        }
    }

    /// So many bytes came into the space.
    #[inline]
    pub(super) fn filled(&mut self, count: usize) {
        match self {
            Finder::Behind(decoder) => decoder.filled(count),
            Finder::Lines(lines) => lines.splitter.filled(count),
        }
    }

    /// What comes next.
    #[inline]
    pub(super) fn next(&mut self) -> Result<Next<'_>, Lost> {
        match self {
            Finder::Behind(decoder) => match decoder.next_message() {
                Ok(message) => Ok(Next {
                    message,
                    ..Next::default()
                }),
                Err(_) => Err(Lost),
            },
            Finder::Lines(lines) => Ok(lines.next()),
        }
    }
}

impl Lines {
    #[inline]
    fn next(&mut self) -> Next<'_> {
        let Lines {
            splitter,
            quoted,
            told,
            told_bytes,
        } = self;
        let found = match quoted {
            None => splitter.next_range_by(|bytes| memchr::memchr(b'\n', bytes)),
            Some(ends) => splitter.next_range_by(|bytes| ends.find(bytes)),
        };
        let left_out = splitter.overlong() - *told;
        let left_out_bytes = splitter.overlong_bytes() - *told_bytes;
        (*told, *told_bytes) = (splitter.overlong(), splitter.overlong_bytes());
        let splitter = &*splitter;
        Next {
            message: found.map(|range| splitter.line(range)),
            left_out,
            left_out_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds a finder in pieces of that many bytes: the lines, and how many were left out with how many bytes.
    fn run(ends: LineEnds, bytes: &[u8], piece: usize) -> (Vec<Vec<u8>>, u64, u64) {
        let mut finder = Finder::new(Framed::Lines {
            ends,
            bytes_max: 12,
        });
        let (mut lines, mut left_out, mut left_out_bytes) = (Vec::new(), 0, 0);
        for piece in bytes.chunks(piece) {
            finder.space()[..piece.len()].copy_from_slice(piece);
            finder.filled(piece.len());
            loop {
                let next = finder.next().expect("lines are never lost");
                left_out += next.left_out;
                left_out_bytes += next.left_out_bytes;
                match next.message {
                    Some(line) => lines.push(line.to_vec()),
                    None => break,
                }
            }
        }
        (lines, left_out, left_out_bytes)
    }

    #[test]
    fn what_is_too_long_is_told_once_whatever_the_cuts() {
        let bytes = b"one\nfar too long a line\n\ntwo\nand again one that is\nthree\nres";
        for piece in 1..bytes.len() {
            let (lines, left_out, left_out_bytes) = run(LineEnds::Feed, bytes, piece);
            assert_eq!(lines, [&b"one"[..], b"", b"two", b"three"], "{piece}");
            assert_eq!((left_out, left_out_bytes), (2, 19 + 21), "{piece}");
        }
    }

    #[test]
    fn a_line_feed_inside_of_a_text_ends_no_line() {
        let bytes = b"a b=\"x\ny\"\nc d=1\n";
        for piece in 1..bytes.len() {
            let (lines, ..) = run(LineEnds::Quoted, bytes, piece);
            assert_eq!(lines, [&b"a b=\"x\ny\""[..], b"c d=1"], "{piece}");
        }
    }
}
