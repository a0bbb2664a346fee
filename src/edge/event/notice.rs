//! What is said about a connection or a subscription. None of it has an offset, so none of it moves a client's position.
//!
//! Invariant: whatever is not delivered is told: as a [`Gap`] where it had offsets, as [`Shed`] where it had none.

use super::{Body, Kind};
use crate::edge::json::Object;
use crate::edge::{Code, Epoch, FaultCode, Sum, VERSION};

/// A connection is served, and these are its rules: the first thing that is said on it.
///
/// ```
/// use hopline::edge::Epoch;
/// use hopline::edge::event::{Body, Hello};
/// let hello = Hello {
///     sid: "f1",
///     epoch: Epoch(42),
///     ping_ms: 15_000,
///     misses: 3,
///     message_bytes_max: 65_536,
///     debounce_ms: 20,
///     sample_every: 16,
///     now_ms: 1_700_000_000_000,
/// };
/// assert_eq!(
///     hello.text(),
///     concat!(
///         r#"{"type":"hello","v":1,"sid":"f1","epoch":"000000000000002a","ping_ms":15000,"misses":3,"#,
///         r#""max_msg":65536,"debounce_ms":20,"sample":16,"now":1700000000000}"#,
///     )
/// );
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello<'a> {
    /// The session, by which a client that comes back is known again.
    pub sid: &'a str,
    /// The life of this server.
    pub epoch: Epoch,
    /// How often each side gives a sign of life, in milliseconds.
    pub ping_ms: u64,
    /// So many of them may be missing before the other side is taken for dead.
    pub misses: u64,
    /// Longest message that a client may send, in bytes.
    pub message_bytes_max: u64,
    /// How long events are gathered before they are sent, in milliseconds.
    pub debounce_ms: u64,
    /// Events whose offsets are multiples of this are samples: a client says of some of them when they came and were shown.
    pub sample_every: u64,
    /// The server's time, in milliseconds since 1970.
    pub now_ms: u64,
}

impl Body for Hello<'_> {
    const KIND: Kind = Kind::Hello;

    fn members(&self, to: &mut Object<'_>) {
        to.number("v", VERSION);
        to.text("sid", self.sid);
        to.display("epoch", self.epoch);
        to.number("ping_ms", self.ping_ms);
        to.number("misses", self.misses);
        to.number("max_msg", self.message_bytes_max);
        to.number("debounce_ms", self.debounce_ms);
        to.number("sample", self.sample_every);
        to.number("now", self.now_ms);
    }
}

/// A channel is followed from here on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscribed<'a> {
    /// The channel.
    pub channel: &'a str,
    /// The life of its server.
    pub epoch: Epoch,
    /// The last offset that it has given.
    pub offset: u64,
    /// Whether everything behind the client's position follows. If not, a snapshot does where the channel has one.
    pub recovered: bool,
    /// How many events of before follow.
    pub replayed: u64,
}

impl Body for Subscribed<'_> {
    const KIND: Kind = Kind::Subscribed;

    fn members(&self, to: &mut Object<'_>) {
        to.text("ch", self.channel);
        to.display("epoch", self.epoch);
        to.number("o", self.offset);
        to.flag("recovered", self.recovered);
        to.number("replayed", self.replayed);
    }
}

/// The whole state of a channel: a client forgets what it had of it, and goes on behind this offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot<'a, I> {
    /// The channel.
    pub channel: &'a str,
    /// The last offset that is in it.
    pub offset: u64,
    /// Each key, once, with its value as [`Body::value`] wrote it. No key may be a number, which a client would put first.
    pub entries: I,
    /// The sum over them.
    pub sum: Sum,
}

impl<'a, I: Clone + Iterator<Item = (&'a str, &'a str)>> Body for Snapshot<'_, I> {
    const KIND: Kind = Kind::Snapshot;

    fn members(&self, to: &mut Object<'_>) {
        to.text("ch", self.channel);
        to.number("o", self.offset);
        to.object("data", |to| {
            for (key, value) in self.entries.clone() {
                debug_assert!(!key.starts_with(|c: char| c.is_ascii_digit()), "{key}");
                to.raw(key, value);
            }
        });
        to.number("sum", u64::from(self.sum.value()));
    }
}

crate::reasons! {
    /// Why offsets do not come.
    pub enum GapWhy {
        /// The channel no longer has them.
        History = "history",
        /// The client was too slow for them.
        Slow = "slow",
        /// They were older than the client wants them.
        Deadline = "deadline",
        /// The client's position is of another life of the server, or one that this has not come to.
        Epoch = "epoch",
    }
}

/// Offsets that will not come, both ends included. A snapshot follows where the channel has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap<'a> {
    /// The channel.
    pub channel: &'a str,
    /// The first of them.
    pub from: u64,
    /// The last of them.
    pub to: u64,
    /// Why.
    pub why: GapWhy,
}

impl Body for Gap<'_> {
    const KIND: Kind = Kind::Gap;

    fn members(&self, to: &mut Object<'_>) {
        to.text("ch", self.channel);
        to.number("from", self.from);
        to.number("to", self.to);
        to.word("why", self.why);
    }
}

crate::reasons! {
    /// Why events without offsets were dropped for a client.
    pub enum ShedWhy {
        /// It was too slow for them.
        Slow = "slow",
        /// They were older than it wants them.
        Deadline = "deadline",
        /// It wants fewer.
        Rate = "rate",
    }
}

/// Events that were dropped for this client, since it was told the last time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shed<'a> {
    /// The channel.
    pub channel: &'a str,
    /// How many.
    pub count: u64,
    /// Why.
    pub why: ShedWhy,
}

impl Body for Shed<'_> {
    const KIND: Kind = Kind::Shed;

    fn members(&self, to: &mut Object<'_>) {
        to.text("ch", self.channel);
        to.number("n", self.count);
        to.word("why", self.why);
    }
}

/// A sign of life that wants an answer with the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ping {
    /// When it was sent, in milliseconds since 1970 of the server's clock.
    pub sent_ms: u64,
}

impl Body for Ping {
    const KIND: Kind = Kind::Ping;

    fn members(&self, to: &mut Object<'_>) {
        to.number("ts", self.sent_ms);
    }
}

/// The answer to a client's ping, from which it learns how far the clocks are apart, as NTP does (RFC 5905, section 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pong {
    /// When the ping was sent, as it said itself.
    pub sent_ms: u64,
    /// When it came, in microseconds since 1970 of the server's clock.
    pub received_us: u64,
    /// When this was sent.
    pub answered_us: u64,
}

impl Body for Pong {
    const KIND: Kind = Kind::Pong;

    fn members(&self, to: &mut Object<'_>) {
        to.number("ts", self.sent_ms);
        to.number("rx", self.received_us / 1_000);
        to.number("tx", self.answered_us / 1_000);
        to.number("rx_us", self.received_us);
        to.number("tx_us", self.answered_us);
    }
}

/// Something that the client said was not done; the connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal<'a> {
    /// Why, as a word.
    pub code: FaultCode,
    /// The same for people.
    pub message: &'a str,
    /// Whether the same may be done later on.
    pub temporary: bool,
}

impl Body for Refusal<'_> {
    const KIND: Kind = Kind::Error;

    fn members(&self, to: &mut Object<'_>) {
        to.word("code", self.code);
        to.prose("message", self.message);
        to.flag("temporary", self.temporary);
    }
}

/// The connection is about to be closed.
///
/// ```
/// use hopline::edge::Code;
/// use hopline::edge::event::{Body, Disconnect};
/// let drain = Disconnect { code: Code::Drain, reason: Code::Drain.reason(), retry_after_ms: Some(1_250) };
/// assert_eq!(
///     drain.text(),
///     r#"{"type":"disconnect","code":3000,"reason":"the server drains; come back","retry_after_ms":1250}"#
/// );
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disconnect<'a> {
    /// The code that it will be closed with.
    pub code: Code,
    /// Why, for people.
    pub reason: &'a str,
    /// When the client may come back, in milliseconds; none leaves that to its own back-off.
    pub retry_after_ms: Option<u64>,
}

impl Body for Disconnect<'_> {
    const KIND: Kind = Kind::Disconnect;

    fn members(&self, to: &mut Object<'_>) {
        to.number("code", u64::from(self.code.number()));
        to.prose("reason", self.reason);
        to.number_or_null("retry_after_ms", self.retry_after_ms);
    }
}
