//! A message encoded once, for all connections that it goes to.
//!
//! Invariant: its bytes are one whole frame of a server: final, unmasked, the same for everybody.

use bytes::Bytes;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Data, OpCode};

/// The header of a whole, unmasked frame.
fn header(kind: OpCode) -> FrameHeader {
    FrameHeader {
        opcode: kind,
        ..FrameHeader::default()
    }
}

/// Bytes of the header of an unmasked frame with so many bytes of payload.
pub(super) fn header_bytes(payload: usize) -> usize {
    header(OpCode::Data(Data::Text)).len(payload as u64)
}

/// Appends a whole, unmasked frame.
pub(super) fn append(bytes: &mut Vec<u8>, kind: OpCode, payload: &[u8]) {
    // Writing to a vector does not fail.
    let _ = header(kind).format(payload.len() as u64, bytes);
    bytes.extend_from_slice(payload);
}

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
        Encoded::of(Data::Text, text.as_bytes())
    }

    /// Bytes. Allocates once.
    #[must_use]
    pub fn binary(bytes: &[u8]) -> Encoded {
        Encoded::of(Data::Binary, bytes)
    }

    fn of(kind: Data, payload: &[u8]) -> Encoded {
        let header = header_bytes(payload.len());
        let mut bytes = Vec::with_capacity(header + payload.len());
        append(&mut bytes, OpCode::Data(kind), payload);
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
