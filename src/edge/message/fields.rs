//! The fields of a message: what of its JSON is kept, and what each may hold.
//!
//! Invariant: nothing nests in what is kept, and nothing that is of no use takes memory.

use core::fmt;
use std::borrow::Cow;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{Fault, FaultCode};
use crate::base::limits::{EDGE_CHANNELS_MAX, EDGE_INTEGER_MAX, EDGE_SAMPLE_NS_MAX};
use crate::edge::ChannelName;

/// Whose field it is, for whoever looks for what is wrong.
#[derive(Clone, Copy, Debug)]
pub(super) enum Within {
    /// A message of that type.
    Message(&'static str),
    /// A channel of a hello, by its place in the list.
    Sub(usize),
}

impl fmt::Display for Within {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Within::Message(kind) => f.write_str(kind),
            Within::Sub(at) => write!(f, "hello: subs[{at}]"),
        }
    }
}

/// A field that is not what it should be.
pub(super) fn wrong(within: Within, key: Key, expected: &str) -> Fault {
    let words = format!("{within}: {} is not {expected}", key.name());
    Fault::new(FaultCode::BadMessage, words)
}

pub(super) fn position(within: Within, key: Key, why: impl fmt::Display) -> Fault {
    let words = format!("{within}: {} is no position: {why}", key.name());
    Fault::new(FaultCode::BadPosition, words)
}

/// The fields that are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Type,
    Token,
    Sid,
    Attempt,
    Subs,
    Ch,
    Since,
    Rate,
    BudgetMs,
    O,
    Rx,
    Paint,
    Rtt,
    Ts,
    LastSeen,
}

/// Their names, in the same order.
const KEYS: [(Key, &str); 15] = [
    (Key::Type, "type"),
    (Key::Token, "token"),
    (Key::Sid, "sid"),
    (Key::Attempt, "attempt"),
    (Key::Subs, "subs"),
    (Key::Ch, "ch"),
    (Key::Since, "since"),
    (Key::Rate, "rate"),
    (Key::BudgetMs, "budget_ms"),
    (Key::O, "o"),
    (Key::Rx, "rx"),
    (Key::Paint, "paint"),
    (Key::Rtt, "rtt"),
    (Key::Ts, "ts"),
    (Key::LastSeen, "last_seen"),
];

const _: () = {
    let mut at = 0;
    while at < KEYS.len() {
        assert!(KEYS[at].0 as usize == at);
        at += 1;
    }
};

impl Key {
    const fn name(self) -> &'static str {
        KEYS[self as usize].1
    }

    fn of_name(name: &str) -> Option<Key> {
        let row = KEYS.iter().find(|(_, other)| *other == name);
        row.map(|(key, _)| *key)
    }
}

/// The fields of an object, by their place in [`Key`]; what is not there is null.
pub(super) struct Fields<'a>([Value<'a>; KEYS.len()]);

/// What stands in a field, as far as any field may have it.
pub(super) enum Value<'a> {
    Null,
    Whole(u64),
    /// A number that is negative, or has a fraction or an exponent.
    Real(f64),
    Text(Cow<'a, str>),
    /// Only of `subs`.
    List(Vec<Value<'a>>),
    /// The same with too many of them, which are not kept.
    LongList,
    /// Only a message itself, and what stands in `subs`.
    Object(Box<Fields<'a>>),
    /// Anything else.
    Other,
}

impl<'a> Value<'a> {
    /// The whole number that it is, if it is one within these bounds.
    pub(super) fn whole(&self, min: u64, max: u64) -> Option<u64> {
        let number = match *self {
            Value::Whole(number) => number,
            // Up to the bound every whole number has a value of its own.
            Value::Real(real)
                if real.fract() == 0.0 && (0.0..=EDGE_INTEGER_MAX as f64).contains(&real) =>
            {
                real as u64
            }
            _ => return None,
        };
        (min..=max).contains(&number).then_some(number)
    }

    /// The number of microseconds that it is in milliseconds, if it is a time.
    fn time_us(&self) -> Option<u64> {
        const MS_MAX: u64 = EDGE_INTEGER_MAX / 1_000;
        match *self {
            Value::Whole(ms) if ms <= MS_MAX => Some(1_000 * ms),
            Value::Real(ms) if (0.0..=MS_MAX as f64).contains(&ms) => {
                Some((1_000.0 * ms).round() as u64)
            }
            _ => None,
        }
    }
}

impl<'a> Fields<'a> {
    pub(super) fn take(&mut self, key: Key) -> Value<'a> {
        core::mem::replace(&mut self.0[key as usize], Value::Null)
    }

    pub(super) fn channel(&mut self, within: Within) -> Result<ChannelName<'a>, Fault> {
        match self.take(Key::Ch) {
            Value::Text(text) => ChannelName::new(text).map_err(|why| {
                let words = format!("{within}: ch is no channel: {why}");
                Fault::new(FaultCode::BadChannel, words)
            }),
            _ => Err(wrong(
                within,
                Key::Ch,
                "a text; write the channel as name/group",
            )),
        }
    }

    pub(super) fn text(
        &mut self,
        within: Within,
        key: Key,
        bytes_max: usize,
    ) -> Result<Option<Cow<'a, str>>, Fault> {
        match self.take(key) {
            Value::Null => Ok(None),
            Value::Text(text) if text.len() <= bytes_max => Ok(Some(text)),
            _ => {
                let expected = format!("a text of at most {bytes_max} bytes");
                Err(wrong(within, key, &expected))
            }
        }
    }

    pub(super) fn number(
        &mut self,
        within: Within,
        key: Key,
        min: u32,
        max: u32,
    ) -> Result<Option<u32>, Fault> {
        match self.take(key) {
            Value::Null => Ok(None),
            value => match value.whole(u64::from(min), u64::from(max)) {
                Some(number) => Ok(Some(number as u32)),
                None => Err(out_of(within, key, u64::from(min), u64::from(max))),
            },
        }
    }

    pub(super) fn needed_whole(&mut self, within: Within, key: Key) -> Result<u64, Fault> {
        let number = self.take(key).whole(0, EDGE_INTEGER_MAX);
        number.ok_or_else(|| out_of(within, key, 0, EDGE_INTEGER_MAX))
    }

    pub(super) fn sent_ms(mut self, within: Within) -> Result<u64, Fault> {
        self.needed_whole(within, Key::Ts)
    }

    /// A span in milliseconds, in microseconds.
    pub(super) fn span_us(&mut self, within: Within, key: Key) -> Result<Option<u64>, Fault> {
        const MOST_US: u64 = EDGE_SAMPLE_NS_MAX / 1_000;
        match self.take(key) {
            Value::Null => Ok(None),
            value => match value.time_us().filter(|us| *us <= MOST_US) {
                Some(span_us) => Ok(Some(span_us)),
                None => Err(wrong(within, key, "a span of at most 60000 milliseconds")),
            },
        }
    }

    pub(super) fn time_us(&mut self, within: Within, key: Key) -> Result<Option<u64>, Fault> {
        match self.take(key) {
            Value::Null => Ok(None),
            value => match value.time_us() {
                Some(time_us) => Ok(Some(time_us)),
                None => Err(wrong(within, key, "a time in milliseconds since 1970")),
            },
        }
    }
}

fn out_of(within: Within, key: Key, min: u64, max: u64) -> Fault {
    wrong(within, key, &format!("a whole number from {min} to {max}"))
}

/// Where in a message a value stands, which decides what of it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// The message: an object.
    Message,
    /// The value of `subs`: a list.
    Subs,
    /// In that list: an object.
    Sub,
    /// Any other value: a text or a number.
    Field,
}

impl<'de> DeserializeSeed<'de> for Level {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Value<'de>, D::Error> {
        input.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value<'de>, E> {
        Ok(Value::Other)
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value<'de>, E> {
        Ok(Value::Whole(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value<'de>, E> {
        // What is not negative comes as the other kind.
        Ok(Value::Real(number as f64))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value<'de>, E> {
        Ok(Value::Real(number))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value<'de>, A::Error> {
        let mut kept = Vec::new();
        while self == Level::Subs && kept.len() < EDGE_CHANNELS_MAX {
            match items.next_element_seed(Level::Sub)? {
                Some(item) => kept.push(item),
                None => return Ok(Value::List(kept)),
            }
        }
        let mut passed = 0_u32;
        while items.next_element::<IgnoredAny>()?.is_some() {
            passed += 1;
        }
        Ok(match (self, passed) {
            (Level::Subs, 0) => Value::List(kept),
            (Level::Subs, _) => Value::LongList,
            _ => Value::Other,
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value<'de>, A::Error> {
        if !matches!(self, Level::Message | Level::Sub) {
            while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(Value::Other);
        }
        let mut fields = Box::new(Fields([const { Value::Null }; KEYS.len()]));
        while let Some(key) = members.next_key_seed(KeySeed)? {
            match key {
                None => {
                    members.next_value::<IgnoredAny>()?;
                }
                Some(key) => {
                    let level = match (self, key) {
                        (Level::Message, Key::Subs) => Level::Subs,
                        _ => Level::Field,
                    };
                    fields.0[key as usize] = members.next_value_seed(level)?;
                }
            }
        }
        Ok(Value::Object(fields))
    }
}

/// Reads a key: one that is looked at, or none.
struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Option<Key>;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Option<Key>, D::Error> {
        input.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed {
    type Value = Option<Key>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, text: &str) -> Result<Option<Key>, E> {
        Ok(Key::of_name(text))
    }
}
