//! Messages as the bytes that they are.
//!
//! Invariant: the bytes are never looked at.

use crate::base::Reject;
use crate::feed::datagram::{DATAGRAM_BYTES_MAX, Datagram, Datagrams, datagram_frames, parts};
use crate::stage::{Context, Decode, Decoded, Out, Port};
use crate::topology::{Params, Problem};

const OUT: Out<Datagrams> = Out::at(0);

/// Longest message unless set otherwise, in bytes: what a datagram carries in one Ethernet frame.
/// It bounds the fragments of a message, and with them how deep a hop must be.
const MESSAGE_BYTES_DEFAULT: usize = 1472;

/// Takes messages as opaque bytes, with the address of who sent them.
#[derive(Clone, Copy, Debug)]
pub struct DatagramDecoder {
    bytes_max: usize,
}

/// Messages as opaque bytes, of at most 1,472 B.
#[must_use]
pub const fn datagrams() -> DatagramDecoder {
    DatagramDecoder {
        bytes_max: MESSAGE_BYTES_DEFAULT,
    }
}

impl DatagramDecoder {
    /// The same for messages of at most that many bytes, and never more than
    /// [`DATAGRAM_BYTES_MAX`]; longer ones are refused as too long.
    #[must_use]
    pub fn at_most(self, bytes_max: usize) -> DatagramDecoder {
        DatagramDecoder {
            bytes_max: bytes_max.min(DATAGRAM_BYTES_MAX),
        }
    }

    /// From the setting `max_bytes`.
    pub(crate) fn from_params(params: &mut Params) -> Result<DatagramDecoder, Problem> {
        let most = params.count(
            "max_bytes",
            MESSAGE_BYTES_DEFAULT as u64,
            1..=DATAGRAM_BYTES_MAX as u64,
        )?;
        Ok(datagrams().at_most(most as usize))
    }
}

impl Decode for DatagramDecoder {
    fn ports(&self) -> &'static [Port] {
        const PORTS: &[Port] = &[Port::new::<Datagrams>("out")];
        PORTS
    }

    fn max_emit(&self) -> usize {
        datagram_frames(self.bytes_max)
    }

    fn message_bytes_max(&self) -> Option<usize> {
        Some(self.bytes_max)
    }

    fn only_copies(&self) -> bool {
        true
    }

    #[inline]
    fn decode(&mut self, message: &[u8], cx: &mut Context<'_>) -> Result<Decoded, Reject> {
        if message.len() > self.bytes_max {
            return Err(Reject::TooLong);
        }
        let head = Datagram::of(cx.peer(), message).ok_or(Reject::TooLong)?;
        cx.emit_with(OUT, &head, parts(message));
        Ok(Decoded::default())
    }
}
