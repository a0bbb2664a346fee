//! A message encoded once, for all connections that it goes to.
//!
//! Invariant: its bytes are one whole frame of a server: final, unmasked, the same for everybody.

use bytes::Bytes;

use super::frame::{Opcode, append, header_len};

/// A message as a server sends it. A clone shares the bytes.
///
/// ```
/// use hopline::wire::websocket::Encoded;
/// let encoded = Encoded::text("tick");
/// assert_eq!(encoded.bytes().as_ref(), b"\x81\x04tick");
/// assert_eq!(encoded.payload(), b"tick");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    bytes: Bytes,
    payload: u8,
}

impl Encoded {
    /// A text. Allocates once.
    #[must_use]
    pub fn text(text: &str) -> Encoded {
        Encoded::of(Opcode::Text, text.as_bytes())
    }

    /// Bytes. Allocates once.
    #[must_use]
    pub fn binary(bytes: &[u8]) -> Encoded {
        Encoded::of(Opcode::Binary, bytes)
    }

    fn of(opcode: Opcode, payload: &[u8]) -> Encoded {
        let header = header_len(payload.len(), false);
        let mut bytes = Vec::with_capacity(header + payload.len());
        append(&mut bytes, opcode, None, payload);
        Encoded {
            bytes: bytes.into(),
            payload: header as u8,
        }
    }

    /// Header and payload, as they go to the socket.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The payload, which other ways out can share: `bytes().slice_ref(payload())`.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.bytes[usize::from(self.payload)..]
    }
}
