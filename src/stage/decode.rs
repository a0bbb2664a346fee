//! What messages of the outside are.
//!
//! Invariant: a message becomes frames or has the reason for which it does not; bytes never cross a ring.

use crate::base::Reject;
use crate::feed::packets::Carrier;
use crate::feed::sequenced::Delivery;
use crate::frame::capture::CaptureKind;

use super::context::Context;
use super::port::Port;

/// Turns one message of the outside into frames. Runs in the source's turn, so that raw bytes
/// never cross a ring. Must not allocate for a message.
pub trait Decode: Send + 'static {
    /// Its output ports.
    fn ports(&self) -> &'static [Port];

    /// Most frames that it emits on one port for one message.
    fn max_emit(&self) -> usize {
        1
    }

    /// Bytes that it allocates for itself.
    fn memory_bytes(&self) -> usize {
        0
    }

    /// Whether it only copies, in some nanoseconds: a message of a batch is then ready for its hop as
    /// soon as it is in hand, and one stamp serves the whole batch. What the messages before it took is
    /// part of its wait, which is never shorter than it was.
    fn only_copies(&self) -> bool {
        false
    }

    /// Longest message that it takes, in bytes, if it refuses longer ones whatever they hold: a source that
    /// is told of longer ones is then told of a mistake.
    fn message_bytes_max(&self) -> Option<usize> {
        None
    }

    /// By which transport its messages come, if they are those of a sequenced feed and its frames say of
    /// each where it stands and what can be relied on.
    fn comes_by(&self) -> Option<Carrier> {
        None
    }

    /// Decodes a message of a sequenced feed, in its turn, with what is known of its place.
    ///
    /// # Errors
    /// As [`Decode::decode`].
    fn decode_in_sequence(
        &mut self,
        delivery: &Delivery<'_>,
        cx: &mut Context<'_>,
    ) -> Result<Decoded, Reject> {
        self.decode(delivery.bytes, cx)
    }

    /// Of a kind of frame that a capture has, the version that it reads, if it cannot read the recorded one. A source
    /// refuses such a capture before it starts.
    fn other_version(&self, _kind: &CaptureKind) -> Option<u16> {
        None
    }

    /// Whether a packet, such as a datagram, may hold any number of messages: what receives packets then asks for
    /// one after the other with [`Decode::decode_next`].
    fn is_packed(&self) -> bool {
        false
    }

    /// How its messages end in a stream of bytes, if they are lines of text.
    fn line_ends(&self) -> Option<LineEnds> {
        None
    }

    /// Decodes one message and emits its frames.
    ///
    /// # Errors
    /// The reason for which the message is refused; it is counted, and the feed goes on.
    fn decode(&mut self, message: &[u8], cx: &mut Context<'_>) -> Result<Decoded, Reject>;

    /// Decodes the next message of a packet, of which the bytes before `from` are done with. Before each call
    /// there is room for what one message may become, so the same packet may come again in a later turn.
    fn decode_next(&mut self, packet: &[u8], from: usize, cx: &mut Context<'_>) -> Taken {
        debug_assert_eq!(from, 0, "the whole packet was one message");
        Taken {
            bytes: packet.len(),
            message: Some(self.decode(packet, cx)),
            next: None,
        }
    }

    /// Messages that a packet holds from there on: what a source counts that ends before it could hand them over.
    fn messages_left(&self, _packet: &[u8], _from: usize) -> usize {
        1
    }
}

/// How messages end that are lines of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineEnds {
    /// With a line feed, wherever it stands.
    Feed,
    /// With a line feed that is neither inside of a text nor behind a backslash:
    /// [`influx::Ends`](crate::feed::influx::Ends).
    Quoted,
}

/// What a decoder took from a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Bytes of the message, as the ledger counts them.
    pub bytes: usize,
    /// What became of it; `None` if there was none: it counts as nothing, and must not have emitted anything.
    pub message: Option<Result<Decoded, Reject>>,
    /// Where in the packet to go on; `None` if that was all of it.
    pub next: Option<usize>,
}

/// What a decoder says of a message that it emitted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decoded {
    /// When the sender says that it happened, in nanoseconds of its own wall clock.
    pub event_wall_ns: Option<u64>,
}
