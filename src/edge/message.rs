//! What a client says: one JSON object a message.
//!
//! | message | its fields; with `?` it may be left out or null |
//! |---|---|
//! | `hello` | `token?`, `sid?`, `attempt?`, `subs?`: a list of `{ch, since?, rate?, budget_ms?}` |
//! | `subscribe` | `ch`, `since?`, `rate?`, `budget_ms?` |
//! | `unsubscribe` | `ch` |
//! | `ack` | `ch`, `o`, `rx?`, `paint?`, `rtt?` |
//! | `ping`, `pong` | `ts` |
//! | `resync_request` | `ch`, `last_seen?` |
//! | `bye` | |
//!
//! | field | value | bound |
//! |---|---|---|
//! | `ch` | text: a channel's name | [`EDGE_NAME_BYTES_MAX`] a part |
//! | `since` | text: `EPOCH:OFFSET` or `earliest` | |
//! | `rate` | whole number: most events a second | 1 to [`EDGE_RATE_MAX`] |
//! | `budget_ms` | whole number: what is older is worth nothing to the client | 1 to [`EDGE_BUDGET_MS_MAX`] |
//! | `o` | whole number: an offset; all up to it were seen | [`EDGE_INTEGER_MAX`] |
//! | `rx`, `paint` | number: when the event came and was shown, in milliseconds since 1970, with fractions if there are any | |
//! | `rtt` | number: the round trip by which the client knows how far its clock is off, in milliseconds | 60000 |
//! | `ts` | whole number: when it was sent, in milliseconds; comes back as it is | [`EDGE_INTEGER_MAX`] |
//! | `last_seen` | text: a position, or whole number: an offset of this epoch | |
//! | `token` | text | [`EDGE_TOKEN_BYTES_MAX`] |
//! | `sid` | text: the session of before | [`EDGE_SID_BYTES_MAX`] |
//! | `attempt` | whole number: how often it has tried to connect before | `u32::MAX` |
//!
//! `rx` and `paint` are by the server's clock, as the client knows it from `pong`: only the client can tell how far its own is off.
//!
//! Fields come in any order. Those that a message does not have are passed over, whatever they are, and so are those of a later
//! version. Of a field that comes twice the last one counts, as for `JSON.parse`. A whole number may be written as `1.0`, as some
//! languages do.
//!
//! Texts are borrowed from the message where they have no escapes. A message takes no more memory than a small multiple of its bytes.
//!
//! Invariant: whatever the bytes are, a message comes out whole and within its bounds, or a fault that says what is wrong.

mod fields;

use core::fmt;
use core::num::NonZeroU32;
use std::borrow::Cow;

use serde::de::DeserializeSeed;

use self::fields::{Fields, Key, Level, Value, Within, position, wrong};
use crate::base::Reason;
use crate::base::limits::{
    EDGE_BUDGET_MS_MAX, EDGE_CHANNELS_MAX, EDGE_INTEGER_MAX, EDGE_MESSAGE_BYTES_MAX,
    EDGE_NAME_BYTES_MAX, EDGE_RATE_MAX, EDGE_SID_BYTES_MAX, EDGE_TOKEN_BYTES_MAX,
};
use crate::edge::{ChannelName, Position, Since};

const _: () = assert!(EDGE_MESSAGE_BYTES_MAX == crate::wire::websocket::MESSAGE_BYTES_DEFAULT);
const _: () = assert!(EDGE_NAME_BYTES_MAX < EDGE_TOKEN_BYTES_MAX);

crate::reasons! {
    /// Why a message is not followed. The connection goes on.
    pub enum FaultCode {
        /// No JSON, or no object.
        NotJson = "not_json",
        /// Longer than a message may be.
        TooLong = "message_too_long",
        /// A field is missing, of the wrong type, or out of its bounds.
        BadMessage = "bad_message",
        /// A channel's name that can be none.
        BadChannel = "bad_channel",
        /// A position that is none.
        BadPosition = "bad_position",
        /// More channels than a client may follow.
        TooManyChannels = "too_many_channels",
        /// A channel that is not there.
        NoChannel = "no_channel",
        /// The first message is a hello.
        NoHello = "no_hello",
        /// It follows that channel already.
        Subscribed = "already_subscribed",
        /// It does not follow that channel.
        NotSubscribed = "not_subscribed",
        /// An acknowledgement of what was never sent to it.
        BadAck = "bad_ack",
        /// A type of message that is not served here.
        NotServed = "not_served",
    }
}

/// What is wrong with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// For programs.
    pub code: FaultCode,
    /// For people: what is wrong, where, and what to send instead. Of what the client sent it has at most the type.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.name(), self.message)
    }
}

impl core::error::Error for Fault {}

impl Fault {
    fn new(code: FaultCode, message: impl Into<String>) -> Fault {
        let message = message.into();
        Fault { code, message }
    }
}

/// What a client says first.
#[derive(Clone, PartialEq, Eq)]
pub struct Hello<'a> {
    /// What it may show of who it is.
    pub token: Option<Cow<'a, str>>,
    /// Its session of before, if it has been here.
    pub sid: Option<Cow<'a, str>>,
    /// How often it has tried to connect since it was connected last.
    pub attempt: u32,
    /// What it wants to follow; at most [`EDGE_CHANNELS_MAX`].
    pub subs: Vec<Subscription<'a>>,
}

/// Without the token, which has no business in a log.
impl fmt::Debug for Hello<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hello")
            .field("has_token", &self.token.is_some())
            .field("sid", &self.sid)
            .field("attempt", &self.attempt)
            .field("subs", &self.subs)
            .finish()
    }
}

/// A channel that a client wants to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription<'a> {
    /// Which.
    pub channel: ChannelName<'a>,
    /// From where on, if it has been there or wants what there was.
    pub since: Option<Since>,
    /// Most events a second.
    pub rate: Option<NonZeroU32>,
    /// How old an event may be when it leaves, in milliseconds.
    pub budget_ms: Option<NonZeroU32>,
}

/// What a client has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack<'a> {
    /// Of which channel.
    pub channel: ChannelName<'a>,
    /// Everything up to this offset.
    pub offset: u64,
    /// When that event came, in microseconds since 1970 of the server's clock, as the client knows it.
    pub received_us: Option<u64>,
    /// When it was on the screen.
    pub painted_us: Option<u64>,
    /// The round trip that its knowledge of the server's clock rests on, in microseconds: it is wrong by at most half of it.
    pub round_trip_us: Option<u64>,
}

/// Where a client was when it lost its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastSeen {
    /// At that offset of this server's epoch.
    Offset(u64),
    /// At that position.
    Position(Position),
}

/// What a client says.
///
/// ```
/// use hopline::edge::message::{FaultCode, Message};
/// let Ok(Message::Subscribe(wanted)) = Message::parse(r#"{"type":"subscribe","ch":"dag/line","since":"earliest"}"#) else {
///     panic!("it is a subscription")
/// };
/// assert_eq!(wanted.channel.as_str(), "dag/line");
///
/// let fault = Message::parse(r#"{"type":"subscribe","ch":"dag/line","rate":"5"}"#).unwrap_err();
/// assert_eq!(fault.code, FaultCode::BadMessage);
/// assert_eq!(fault.message, "subscribe: rate is not a whole number from 1 to 1000000");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Who it is, and what it wants.
    Hello(Hello<'a>),
    /// It wants another channel.
    Subscribe(Subscription<'a>),
    /// It no longer wants a channel.
    Unsubscribe(ChannelName<'a>),
    /// It has seen events.
    Ack(Ack<'a>),
    /// It wants a sign of life with this time in it.
    Ping {
        /// When it was sent, in milliseconds of its clock.
        sent_ms: u64,
    },
    /// It gives a sign of life.
    Pong {
        /// The time of the server's ping.
        sent_ms: u64,
    },
    /// Its view is wrong: it wants a snapshot.
    Resync {
        /// Of which channel.
        channel: ChannelName<'a>,
        /// The last that was right, if it knows.
        last_seen: Option<LastSeen>,
    },
    /// It goes.
    Bye,
}

/// The types that are served, for whoever sends another.
const TYPES: &str = "hello, subscribe, unsubscribe, ack, ping, pong, resync_request and bye";

impl<'a> Message<'a> {
    /// The message of a text.
    ///
    /// # Errors
    /// It is none, or nothing that is served here.
    pub fn parse(text: &'a str) -> Result<Message<'a>, Fault> {
        if text.len() > EDGE_MESSAGE_BYTES_MAX {
            let words =
                format!("a message has at most {EDGE_MESSAGE_BYTES_MAX} bytes; send it in parts");
            return Err(Fault::new(FaultCode::TooLong, words));
        }
        let mut input = serde_json::Deserializer::from_str(text);
        let read = Level::Message.deserialize(&mut input);
        let read = read.and_then(|value| input.end().map(|()| value));
        match read {
            Ok(Value::Object(fields)) => Message::of(*fields),
            Ok(_) => Err(Fault::new(FaultCode::NotJson, "a message is a JSON object")),
            Err(error) => Err(Fault::new(FaultCode::NotJson, error.to_string())),
        }
    }

    fn of(mut fields: Fields<'a>) -> Result<Message<'a>, Fault> {
        let kind = match fields.take(Key::Type) {
            Value::Text(kind) => kind,
            _ => {
                let words = "type is missing or no text; write what the message is";
                return Err(Fault::new(FaultCode::BadMessage, words));
            }
        };
        match kind.as_ref() {
            "hello" => hello(fields).map(Message::Hello),
            "subscribe" => {
                subscription(Within::Message("subscribe"), &mut fields).map(Message::Subscribe)
            }
            "unsubscribe" => fields
                .channel(Within::Message("unsubscribe"))
                .map(Message::Unsubscribe),
            "ack" => ack(fields).map(Message::Ack),
            "ping" => fields
                .sent_ms(Within::Message("ping"))
                .map(|sent_ms| Message::Ping { sent_ms }),
            "pong" => fields
                .sent_ms(Within::Message("pong"))
                .map(|sent_ms| Message::Pong { sent_ms }),
            "resync_request" => resync(fields),
            "bye" => Ok(Message::Bye),
            other => {
                let shown: String = other.chars().take(32).collect();
                let words =
                    format!("no message of type {shown:?} is served here; there is {TYPES}");
                Err(Fault::new(FaultCode::NotServed, words))
            }
        }
    }
}

fn hello(mut fields: Fields<'_>) -> Result<Hello<'_>, Fault> {
    let within = Within::Message("hello");
    let subs = match fields.take(Key::Subs) {
        Value::Null => Vec::new(),
        Value::List(items) => items
            .into_iter()
            .enumerate()
            .map(sub)
            .collect::<Result<_, Fault>>()?,
        Value::LongList => {
            let words =
                format!("hello: subs has more than {EDGE_CHANNELS_MAX} channels; follow fewer");
            return Err(Fault::new(FaultCode::TooManyChannels, words));
        }
        _ => return Err(wrong(within, Key::Subs, "a list")),
    };
    Ok(Hello {
        token: fields.text(within, Key::Token, EDGE_TOKEN_BYTES_MAX)?,
        sid: fields.text(within, Key::Sid, EDGE_SID_BYTES_MAX)?,
        attempt: fields
            .number(within, Key::Attempt, 0, u32::MAX)?
            .unwrap_or(0),
        subs,
    })
}

fn sub((at, item): (usize, Value<'_>)) -> Result<Subscription<'_>, Fault> {
    match item {
        Value::Object(mut fields) => subscription(Within::Sub(at), &mut fields),
        _ => {
            let words = format!("{} is not an object", Within::Sub(at));
            Err(Fault::new(FaultCode::BadMessage, words))
        }
    }
}

fn subscription<'a>(within: Within, fields: &mut Fields<'a>) -> Result<Subscription<'a>, Fault> {
    let since = match fields.take(Key::Since) {
        Value::Null => None,
        Value::Text(text) => Some(
            text.parse()
                .map_err(|fault| position(within, Key::Since, fault))?,
        ),
        _ => return Err(wrong(within, Key::Since, "a text")),
    };
    let rate = fields.number(within, Key::Rate, 1, EDGE_RATE_MAX)?;
    let budget_ms = fields.number(within, Key::BudgetMs, 1, EDGE_BUDGET_MS_MAX)?;
    Ok(Subscription {
        channel: fields.channel(within)?,
        since,
        rate: rate.and_then(NonZeroU32::new),
        budget_ms: budget_ms.and_then(NonZeroU32::new),
    })
}

fn ack(mut fields: Fields<'_>) -> Result<Ack<'_>, Fault> {
    let within = Within::Message("ack");
    Ok(Ack {
        channel: fields.channel(within)?,
        offset: fields.needed_whole(within, Key::O)?,
        received_us: fields.time_us(within, Key::Rx)?,
        painted_us: fields.time_us(within, Key::Paint)?,
        round_trip_us: fields.span_us(within, Key::Rtt)?,
    })
}

fn resync(mut fields: Fields<'_>) -> Result<Message<'_>, Fault> {
    let within = Within::Message("resync_request");
    let last_seen = match fields.take(Key::LastSeen) {
        Value::Null => None,
        Value::Text(text) => {
            let at = text
                .parse()
                .map_err(|fault| position(within, Key::LastSeen, fault))?;
            Some(LastSeen::Position(at))
        }
        value => match value.whole(0, EDGE_INTEGER_MAX) {
            Some(offset) => Some(LastSeen::Offset(offset)),
            None => {
                return Err(wrong(
                    within,
                    Key::LastSeen,
                    "a position, or an offset of this epoch",
                ));
            }
        },
    };
    Ok(Message::Resync {
        channel: fields.channel(within)?,
        last_seen,
    })
}
