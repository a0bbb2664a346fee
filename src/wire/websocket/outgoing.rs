//! What a connection sends: whole frames into a bounded output.
//!
//! Invariant: behind a close nothing is sent; for that one close there is always room.

use core::fmt;

use super::frame::{MASK_BYTES, Opcode, append, header_len};
use super::{
    CLOSE_BYTES, CONTROL_BYTES_MAX, Encoded, HEADER_BYTES_MAX, REASON_BYTES_MAX, Role, SendError,
};
use crate::wire::{Full, Output};

/// Masks that are drawn from the system at a time.
const MASKS: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Both may send.
    Open,
    /// A close was sent, and the peer's is awaited.
    Closing,
    /// Both have closed, or the connection was failed.
    Over,
}

/// The half of a [`WebSocket`](super::WebSocket) that sends.
pub struct Outgoing {
    role: Role,
    pub(super) state: State,
    pub(super) output: Output,
    masks: Option<Box<Masks>>,
    pub(super) pongs_dropped: u64,
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing")
            .field("role", &self.role)
            .field("state", &self.state)
            .field("output", &self.output)
            .finish_non_exhaustive()
    }
}

impl Outgoing {
    pub(super) fn new(role: Role, output_bytes_max: usize) -> Outgoing {
        Outgoing {
            role,
            state: State::Open,
            output: Output::new(output_bytes_max + CLOSE_BYTES),
            masks: (role == Role::Client).then(Box::default),
            pongs_dropped: 0,
        }
    }

    /// Sends a text.
    ///
    /// # Errors
    /// There is no room for it, or the connection is closing; nothing was sent.
    #[inline]
    pub fn send_text(&mut self, text: &str) -> Result<(), SendError> {
        self.send(Opcode::Text, text.as_bytes())
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// There is no room for them, or the connection is closing; nothing was sent.
    #[inline]
    pub fn send_binary(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        self.send(Opcode::Binary, bytes)
    }

    /// Sends a message that was encoded before, for many.
    ///
    /// # Errors
    /// There is no room for it, or the connection is closing; nothing was sent.
    ///
    /// # Panics
    /// This is a client, which must mask each message anew: a defect of the caller.
    #[inline]
    pub fn send_encoded(&mut self, encoded: &Encoded) -> Result<(), SendError> {
        assert!(
            self.role == Role::Server,
            "a client masks each message anew"
        );
        self.admit(encoded.bytes().len())?;
        Ok(self.output.push(encoded.bytes())?)
    }

    /// Asks for a sign of life, with bytes that come back with it.
    ///
    /// # Errors
    /// `bytes` are too many, there is no room, or the connection is closing; nothing was sent.
    pub fn send_ping(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        match bytes.len() {
            0..=CONTROL_BYTES_MAX => self.send(Opcode::Ping, bytes),
            _ => Err(SendError::TooLong),
        }
    }

    /// Closes the connection, as [`WebSocket::close`](super::WebSocket::close) does.
    pub fn close(&mut self, code: u16, reason: &str) {
        if self.state == State::Open {
            self.send_close(code, reason);
            self.state = State::Closing;
        }
    }

    /// Whether messages may be sent.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Longest message that there is room for now, in bytes.
    #[must_use]
    pub fn room(&self) -> usize {
        self.output
            .room()
            .saturating_sub(CLOSE_BYTES + HEADER_BYTES_MAX)
    }

    /// A pong to a peer that does not read is worth less than the room for the close.
    pub(super) fn answer_ping(&mut self, payload: &[u8]) {
        if let Err(SendError::Full(_)) = self.send(Opcode::Pong, payload) {
            self.pongs_dropped += 1;
        }
    }

    /// Ends it from here, with a close if none was sent.
    pub(super) fn over(&mut self, code: u16, reason: &str) {
        if self.state == State::Open {
            self.send_close(code, reason);
        }
        self.state = State::Over;
    }

    /// Ends it as the peer wants it, with its own words if none were said here.
    pub(super) fn agree(&mut self, payload: &[u8]) {
        if self.state == State::Open {
            self.push(Opcode::Close, payload);
        }
        self.state = State::Over;
    }

    fn send_close(&mut self, code: u16, reason: &str) {
        let mut len = reason.len().min(REASON_BYTES_MAX);
        while !reason.is_char_boundary(len) {
            len -= 1;
        }
        let mut payload = [0; CONTROL_BYTES_MAX];
        payload[..2].copy_from_slice(&code.to_be_bytes());
        payload[2..2 + len].copy_from_slice(&reason.as_bytes()[..len]);
        self.push(Opcode::Close, &payload[..2 + len]);
    }

    /// The rest of frames whose beginning has left already.
    pub(super) fn push_rest(&mut self, bytes: &[u8]) -> Result<(), Full> {
        debug_assert!(self.state == State::Open && self.output.is_empty());
        let room = self.output.room().saturating_sub(CLOSE_BYTES);
        match bytes.len() <= room {
            true => self.output.push(bytes),
            false => Err(Full {
                needed: bytes.len(),
                room,
            }),
        }
    }

    /// A close, for which there is room: see [`CLOSE_BYTES`].
    fn push(&mut self, opcode: Opcode, payload: &[u8]) {
        let needed = header_len(payload.len(), self.role == Role::Client) + payload.len();
        let mask = self.masks.as_deref_mut().map(Masks::next);
        if let Ok(to) = self.output.reserve(needed) {
            append(to, opcode, mask, payload);
        }
    }

    #[inline]
    fn admit(&self, needed: usize) -> Result<(), SendError> {
        if self.state != State::Open {
            return Err(SendError::Closing);
        }
        let room = self.output.room().saturating_sub(CLOSE_BYTES);
        match needed <= room {
            true => Ok(()),
            false => Err(SendError::Full(Full { needed, room })),
        }
    }

    #[inline]
    fn send(&mut self, opcode: Opcode, payload: &[u8]) -> Result<(), SendError> {
        let needed = header_len(payload.len(), self.role == Role::Client) + payload.len();
        self.admit(needed)?;
        let mask = self.masks.as_deref_mut().map(Masks::next);
        append(self.output.reserve(needed)?, opcode, mask, payload);
        Ok(())
    }
}

/// Masks that a client has drawn and not used: nobody may know the next one (section 10.3).
struct Masks {
    drawn: [[u8; MASK_BYTES]; MASKS],
    used: usize,
}

impl Default for Masks {
    fn default() -> Masks {
        Masks {
            drawn: [[0; MASK_BYTES]; MASKS],
            used: MASKS,
        }
    }
}

impl Masks {
    fn next(&mut self) -> [u8; MASK_BYTES] {
        if self.used == MASKS {
            // A system without randomness leaves the masks as they are: peers understand any.
            let _ = getrandom::fill(self.drawn.as_flattened_mut());
            self.used = 0;
        }
        self.used += 1;
        self.drawn[self.used - 1]
    }
}
