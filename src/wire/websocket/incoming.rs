//! Bytes that come in, up to whole messages.
//!
//! A payload is unmasked on its way into the one buffer of the message that it belongs to: what of a frame has come is
//! nowhere else, and a connection on which nothing is under way holds no buffer that it has not used before.
//!
//! | what may grow | its bound |
//! |---|---|
//! | a header that came in pieces | [`HEADER_BYTES_MAX`] |
//! | a ping, pong or close | [`CONTROL_BYTES_MAX`] |
//! | a message, in pieces or fragments | its longest; memory grows with what has come, not with what a header promises |
//!
//! Invariant: every byte is taken once; behind a violation nothing is.

use super::frame::{Header, MASK_BYTES, Opcode, apply, header_bytes};
use super::{CONTROL_BYTES_MAX, HEADER_BYTES_MAX, Role, Violation};

/// What has come, whole; its bytes are in the [`Incoming`] until it is asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whole {
    Text,
    Binary,
    Ping,
    Pong,
    Close,
}

/// A frame whose header is whole, and whose payload is not.
#[derive(Clone, Copy, Debug)]
struct Under {
    opcode: Opcode,
    is_final: bool,
    /// Turned so that its first byte is the next one's.
    mask: [u8; MASK_BYTES],
    /// Bytes of payload that are still to come.
    left: usize,
}

/// What a message is that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Binary,
}

/// A reader of frames.
pub(super) struct Incoming {
    reader: Role,
    message_max: usize,
    header: [u8; HEADER_BYTES_MAX],
    header_have: usize,
    under: Option<Under>,
    /// Frames whose header came whole.
    frames: u64,
    begun: Option<Kind>,
    message: Vec<u8>,
    /// Bytes of a text that are UTF-8 for certain.
    checked: usize,
    /// The text that was handed out; its buffer is `message`'s.
    text: String,
    /// Bytes were handed out of `message`.
    is_lent: bool,
    control: [u8; CONTROL_BYTES_MAX],
    control_len: usize,
}

impl Incoming {
    pub(super) const fn new(reader: Role, message_max: usize) -> Incoming {
        Incoming {
            reader,
            message_max,
            header: [0; HEADER_BYTES_MAX],
            header_have: 0,
            under: None,
            frames: 0,
            begun: None,
            message: Vec::new(),
            checked: 0,
            text: String::new(),
            is_lent: false,
            control: [0; CONTROL_BYTES_MAX],
            control_len: 0,
        }
    }

    /// Frames that have begun.
    pub(super) fn frames(&self) -> u64 {
        self.frames
    }

    /// The text that came last.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The bytes that came last.
    pub(super) fn binary(&self) -> &[u8] {
        &self.message
    }

    /// The payload of the ping, pong or close that came last.
    pub(super) fn control(&self) -> &[u8] {
        &self.control[..self.control_len]
    }

    /// Takes from `input` up to the next that is whole; `None` once all of it is taken.
    ///
    /// # Errors
    /// What the peer broke of the rules.
    #[inline]
    pub(super) fn take(&mut self, input: &mut &[u8]) -> Result<Option<Whole>, Violation> {
        self.take_back();
        loop {
            if self.under.is_none() && !self.begin(input)? {
                return Ok(None);
            }
            if !self.payload(input) {
                self.check_begun()?;
                return Ok(None);
            }
            if let Some(whole) = self.end()? {
                return Ok(Some(whole));
            }
        }
    }

    /// What was handed out is not looked at any more: its memory serves again.
    #[inline]
    fn take_back(&mut self) {
        if self.text.capacity() > 0 {
            self.message = core::mem::take(&mut self.text).into_bytes();
            self.message.clear();
        } else if self.is_lent {
            self.message.clear();
        }
        self.is_lent = false;
    }

    /// Goes on with a header; false if it is not whole.
    #[inline]
    fn begin(&mut self, input: &mut &[u8]) -> Result<bool, Violation> {
        let header = match self.header_have {
            0 => match Header::read(input, self.reader)? {
                Some((header, whole)) => {
                    *input = &input[whole..];
                    header
                }
                None => {
                    self.header[..input.len()].copy_from_slice(input);
                    self.header_have = input.len();
                    *input = &[];
                    return Ok(false);
                }
            },
            _ => match self.begin_in_pieces(input)? {
                Some(header) => header,
                None => return Ok(false),
            },
        };
        self.under = Some(self.admitted(header)?);
        self.frames += 1;
        Ok(true)
    }

    #[cold]
    fn begin_in_pieces(&mut self, input: &mut &[u8]) -> Result<Option<Header>, Violation> {
        while let Some((byte, rest)) = input.split_first() {
            self.header[self.header_have] = *byte;
            self.header_have += 1;
            *input = rest;
            let have = &self.header[..self.header_have];
            if have.len() >= 2 && (have.len() == 2 || have.len() == header_bytes(have)) {
                let read = Header::read(have, self.reader)?;
                if let Some((header, _)) = read {
                    self.header_have = 0;
                    return Ok(Some(header));
                }
            }
        }
        Ok(None)
    }

    /// The frame of that header, if it may come now.
    #[inline]
    fn admitted(&mut self, header: Header) -> Result<Under, Violation> {
        if header.opcode.is_control() {
            self.control_len = 0;
        } else {
            let begins = match header.opcode {
                Opcode::Text => Some(Kind::Text),
                Opcode::Binary => Some(Kind::Binary),
                _ => None,
            };
            if begins.is_some() == self.begun.is_some() {
                return Err(Violation::BadFragment);
            }
            let room = self.message_max - self.message.len();
            if header.len > room as u64 {
                return Err(Violation::TooLong);
            }
            self.begun = begins.or(self.begun);
        }
        Ok(Under {
            opcode: header.opcode,
            is_final: header.is_final,
            mask: header.mask,
            left: header.len as usize,
        })
    }

    /// Goes on with a payload; false if it is not whole.
    #[inline]
    fn payload(&mut self, input: &mut &[u8]) -> bool {
        let Some(under) = &mut self.under else {
            return true;
        };
        let count = under.left.min(input.len());
        let (piece, rest) = input.split_at(count);
        *input = rest;
        let to = if under.opcode.is_control() {
            let start = self.control_len;
            self.control_len += count;
            let to = &mut self.control[start..start + count];
            to.copy_from_slice(piece);
            to
        } else {
            let start = self.message.len();
            if self.message.capacity() - start < count {
                let most = self.message_max.min(2 * self.message.capacity());
                self.message.reserve_exact(most.max(start + count) - start);
            }
            self.message.extend_from_slice(piece);
            &mut self.message[start..]
        };
        if self.reader == Role::Server {
            apply(under.mask, to);
        }
        under.left -= count;
        if under.left == 0 {
            return true;
        }
        under.mask.rotate_left(count % MASK_BYTES);
        false
    }

    /// A frame is whole: gives what is, with it.
    #[inline]
    fn end(&mut self) -> Result<Option<Whole>, Violation> {
        let Some(Under {
            opcode, is_final, ..
        }) = self.under.take()
        else {
            return Ok(None);
        };
        match opcode {
            Opcode::Ping => return Ok(Some(Whole::Ping)),
            Opcode::Pong => return Ok(Some(Whole::Pong)),
            Opcode::Close => return Ok(Some(Whole::Close)),
            _ if !is_final => {
                self.check_begun()?;
                return Ok(None);
            }
            _ => {}
        }
        self.checked = 0;
        match self.begun.take() {
            Some(Kind::Text) => {
                let bytes = core::mem::take(&mut self.message);
                self.text = String::from_utf8(bytes).map_err(|_| Violation::NotUtf8)?;
                Ok(Some(Whole::Text))
            }
            _ => {
                self.is_lent = true;
                Ok(Some(Whole::Binary))
            }
        }
    }

    /// Finds what is wrong with a text before all of it has come.
    fn check_begun(&mut self) -> Result<(), Violation> {
        if self.begun != Some(Kind::Text) {
            return Ok(());
        }
        match core::str::from_utf8(&self.message[self.checked..]) {
            Ok(_) => self.checked = self.message.len(),
            Err(error) if error.error_len().is_none() => self.checked += error.valid_up_to(),
            Err(_) => return Err(Violation::NotUtf8),
        }
        Ok(())
    }
}
