//! How far the message has come that is begun and not whole: the frames of a stream by their headers
//! alone (RFC 6455, section 5.2).
//!
//! A codec keeps what it has of a message to itself. Who counts every message also counts the one
//! that a cut leaves unfinished, and for that it is enough to know where frames begin and end.
//!
//! Invariant: looks at headers only, holds no payload, and says nothing of whether a frame is right.

use super::HEADER_BYTES_MAX;
use super::frame::header_bytes;

const FIN: u8 = 0x80;
const OPCODE: u8 = 0x0f;
const OPCODE_CLOSE: u8 = 0x8;
/// The bit that tells control frames from data.
const OPCODE_CONTROL: u8 = 0x8;
const MASK: u8 = 0x80;

/// Where a stream of frames stands.
///
/// ```
/// use hopline::wire::websocket::Progress;
/// let mut progress = Progress::default();
/// progress.take(b"\x01\x03abc"); // the first fragment of a text
/// assert_eq!(progress.unfinished(), Some(3));
/// progress.take(b"\x89\x00"); // a ping in between
/// progress.take(b"\x80\x02d"); // the last fragment, all but a byte
/// assert_eq!(progress.unfinished(), Some(4));
/// progress.take(b"e");
/// assert_eq!(progress.unfinished(), None);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    header: [u8; HEADER_BYTES_MAX],
    have: usize,
    /// Payload of the current frame that is still to come, once its header is whole.
    left: u64,
    in_payload: bool,
    /// Payload so far of the message that is begun.
    message: Option<u64>,
    closed: bool,
}

impl Progress {
    /// The next bytes of the stream. Those behind a close frame belong to no message.
    pub fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.closed {
            if self.in_payload {
                let count = self.left.min(bytes.len() as u64);
                self.advance(count);
                bytes = &bytes[count as usize..];
                continue;
            }
            self.header[self.have] = bytes[0];
            self.have += 1;
            bytes = &bytes[1..];
            if self.have == header_bytes(&self.header[..self.have]) {
                self.begin();
            }
        }
    }

    /// Bytes of payload that came of the message which is begun and not whole; `None` between two.
    /// One of which there is only a part of the first header has none, and is begun.
    #[must_use]
    pub fn unfinished(&self) -> Option<u64> {
        let is_data = |first: u8| first & OPCODE_CONTROL == 0;
        match self.message {
            Some(bytes) => Some(bytes),
            None if self.have > 0 && !self.closed && is_data(self.header[0]) => Some(0),
            None => None,
        }
    }

    /// A frame's header is whole.
    fn begin(&mut self) {
        let header = &self.header;
        self.left = match header[1] & !MASK {
            126 => u64::from(u16::from_be_bytes([header[2], header[3]])),
            127 => header[2..10]
                .iter()
                .fold(0, |length, byte| length << 8 | u64::from(*byte)),
            short => u64::from(short),
        };
        self.in_payload = true;
        let opcode = header[0] & OPCODE;
        if opcode & OPCODE_CONTROL == 0 {
            self.message.get_or_insert(0);
        }
        self.closed = opcode == OPCODE_CLOSE;
        if self.left == 0 {
            self.advance(0);
        }
    }

    fn advance(&mut self, count: u64) {
        self.left -= count;
        let is_data = self.header[0] & OPCODE_CONTROL == 0;
        if is_data && let Some(bytes) = &mut self.message {
            *bytes = bytes.saturating_add(count);
        }
        if self.left == 0 {
            if is_data && self.header[0] & FIN != 0 {
                self.message = None;
            }
            self.in_payload = false;
            self.have = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Prng;

    fn frame(fin: bool, opcode: u8, mask: bool, payload: usize) -> Vec<u8> {
        let mut bytes = vec![if fin { FIN | opcode } else { opcode }];
        let mask_bit = if mask { MASK } else { 0 };
        match payload {
            0..126 => bytes.push(mask_bit | payload as u8),
            126..0x1_0000 => {
                bytes.push(mask_bit | 126);
                bytes.extend((payload as u16).to_be_bytes());
            }
            _ => {
                bytes.push(mask_bit | 127);
                bytes.extend((payload as u64).to_be_bytes());
            }
        }
        bytes.extend(if mask { &[7; 4][..] } else { &[] });
        bytes.resize(bytes.len() + payload, 0xff);
        bytes
    }

    #[test]
    fn at_every_byte_of_random_streams_it_says_what_is_unfinished() {
        for seed in 0..200 {
            let mut prng = Prng::new(seed);
            let (mut bytes, mut expected) = (Vec::new(), Vec::new());
            let mut message: Option<u64> = None;
            for _ in 0..30 {
                let control = prng.below(3) == 0;
                let payload = match prng.below(6) {
                    0 => 0,
                    1 => 125,
                    2 if !control => 126 + prng.below(400) as usize,
                    3 if !control && seed % 20 == 0 => 0x1_0000 + prng.below(9) as usize,
                    _ => prng.below(60) as usize,
                };
                let (fin, opcode) = match (control, message) {
                    (true, _) => (true, 0x9 + prng.below(2) as u8),
                    (false, None) => (prng.below(2) == 0, 0x1 + prng.below(2) as u8),
                    (false, Some(_)) => (prng.below(2) == 0, 0x0),
                };
                let one = frame(fin, opcode, prng.below(4) == 0, payload);
                let header = one.len() - payload;
                for at in 1..=one.len() {
                    if !control && at == header {
                        message.get_or_insert(0);
                    }
                    if !control && at > header {
                        *message.as_mut().unwrap() += 1;
                    }
                    if !control && fin && at == one.len() {
                        message = None;
                    }
                    let begun = !control && at < header && message.is_none();
                    expected.push(if begun { Some(0) } else { message });
                }
                bytes.extend(one);
            }
            let mut by_byte = Progress::default();
            for (byte, expected) in bytes.iter().zip(&expected) {
                by_byte.take(&[*byte]);
                assert_eq!(by_byte.unfinished(), *expected, "{seed}");
            }
            let (mut in_pieces, mut at) = (Progress::default(), 0);
            while at < bytes.len() {
                let end = (at + 1 + prng.below(300) as usize).min(bytes.len());
                in_pieces.take(&bytes[at..end]);
                at = end;
                assert_eq!(in_pieces.unfinished(), expected[at - 1], "{seed} at {at}");
            }
        }
    }

    #[test]
    fn behind_a_close_nothing_begins_and_a_length_beyond_all_is_no_overflow() {
        let mut progress = Progress::default();
        progress.take(b"\x88\x02\x03\xe8\x81\x05ab");
        assert_eq!(progress.unfinished(), None);
        let mut progress = Progress::default();
        progress.take(b"\x01\x02ab\x88\x00\x80\x05ab");
        assert_eq!(progress.unfinished(), Some(2), "it never became whole");
        let mut progress = Progress::default();
        progress.take(b"\x01\x7f\xff\xff\xff\xff\xff\xff\xff\xffabc");
        assert_eq!(progress.unfinished(), Some(3));
    }
}
