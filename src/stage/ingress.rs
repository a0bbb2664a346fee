//! Where messages enter the line.

use core::net::SocketAddr;

use crate::base::{Cause, Reject};
use crate::budget::IngressCounters;
use crate::clock::Clock;
use crate::feed::packets::Carrier;
use crate::feed::sequenced::Delivery;
use crate::io::{Driver, IoError};

use super::context::Context;
use super::hop::Doorbell;
use super::port::Port;
use super::source_context::SourceContext;

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

/// Whether a source has more to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feed {
    /// There may be more.
    Live,
    /// That was all; the source's hops close.
    Ended,
}

/// Brings messages into the line through the driver. Runs on the line's loop: it must not block.
pub trait Ingress: Send + 'static {
    /// Its output ports.
    fn ports(&self) -> &'static [Port];

    /// Most frames that it emits on one port for one message.
    fn max_emit(&self) -> usize;

    /// Bytes that it allocates for itself.
    fn memory_bytes(&self) -> usize {
        0
    }

    /// Opens what it needs.
    ///
    /// # Errors
    /// What could not be opened and why.
    fn open(&mut self, io: &mut Driver) -> Result<(), IoError>;

    /// The source is joined with its line: the line's clock, and a bell for the loop that it will
    /// run on, if that loop parks. For sources that other threads feed: they ring it after a push.
    fn join(&mut self, _clock: &Clock, _bell: Option<Doorbell>) {}

    /// The line starts: schedules count from `t0_ns` of the line's clock, the same for all sources.
    fn start(&mut self, _t0_ns: u64) {}

    /// Takes a bounded burst of messages.
    fn turn(&mut self, cx: &mut SourceContext<'_, '_>) -> Feed;

    /// Whether a message waits to be taken that nothing else wakes the loop for; asked once more
    /// before it sleeps.
    fn has_input(&mut self) -> bool {
        false
    }

    /// The line drains: refuses what is new, and takes a bounded burst of what it has accepted
    /// already. Called in each turn until it says that this was all.
    fn drain(&mut self, _cx: &mut SourceContext<'_, '_>) -> Feed {
        Feed::Ended
    }

    /// The source ends and takes nothing more, for that cause, which it tells those who feed it: counts what it had
    /// accepted and never took.
    fn abandon(&mut self, _counters: &IngressCounters, _cause: Cause) {}

    /// Messages that it has received and not handed over yet: those of a batch for which there was
    /// no room. They are handed over before a drain ends the source.
    fn in_hand(&self) -> usize {
        0
    }

    /// Whether it may know when the kernel received its messages.
    fn tells_wire(&self) -> bool {
        false
    }

    /// When the next message is due, in nanoseconds of the line's clock, if that is known.
    fn next_due_ns(&self) -> Option<u64> {
        None
    }

    /// Looks after its I/O now and then, and once more before it closes: reads the kernel's drops.
    fn housekeep(&mut self, _io: &mut Driver, _counters: &IngressCounters) {}

    /// The source ends, whatever the cause: what it has in hand is counted, and what it opened closes.
    fn close(&mut self, _io: &mut Driver, _counters: &IngressCounters) {}

    /// What went wrong on the way, in words, once.
    fn fault(&mut self) -> Option<String> {
        None
    }
}

/// A message as an ingress hands it over.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'m> {
    /// Its bytes.
    pub bytes: &'m [u8],
    /// Its intended time, in nanoseconds of the line's clock: the schedule, else the receive time.
    pub t_intended_ns: u64,
    /// Whether it was ready at its intended time, whatever held the source back since: true for a
    /// schedule, false for a socket, where the message was not in hand yet.
    pub scheduled: bool,
    /// When its collector received it, in nanoseconds of the collector's wall clock.
    pub received_wall_ns: Option<u64>,
    /// Who sent it, where that is known.
    pub peer: Option<SocketAddr>,
}
