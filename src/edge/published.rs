//! An event as it goes out: numbered, and encoded once for all who get it.
//!
//! Invariant: its text is one JSON object on one line, so that it is a WebSocket text, the data of a server-sent event, and a line
//! of NDJSON.

use core::cell::OnceCell;

use bytes::Bytes;

use super::client::Form;
use super::event::{Kind, Place, placed};
use crate::wire::websocket::Encoded;

/// What is published of one event, apart from what its channel adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outline<'a> {
    /// Its type.
    pub kind: Kind,
    /// Of a state channel: what it is the newest value of.
    pub key: Option<&'a str>,
    /// Its value, as [`Body::value`](super::event::Body::value) writes it.
    pub value: &'a str,
    /// When the line had it, in milliseconds since 1970.
    pub time_ms: u64,
    /// The same by the clock of whoever serves it, in nanoseconds.
    pub born_ns: u64,
}

/// Why an event was not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotPublished {
    /// There is no such channel.
    NoChannel,
    /// It has a key where the channel keeps no values, or none where it does.
    Key,
    /// The channel has as many keys as it may, and this one is new.
    TooManyKeys,
    /// Its key is longer than [`EDGE_KEY_BYTES_MAX`](crate::base::limits::EDGE_KEY_BYTES_MAX).
    LongKey,
    /// It is longer than [`EDGE_EVENT_BYTES_MAX`](crate::base::limits::EDGE_EVENT_BYTES_MAX).
    TooLong,
}

impl core::fmt::Display for NotPublished {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            NotPublished::NoChannel => "there is no such channel",
            NotPublished::Key => "events of a state channel have a key, those of others have none",
            NotPublished::TooManyKeys => "the channel has as many keys as it may",
            NotPublished::LongKey => "the key is too long",
            NotPublished::TooLong => "the event is too long",
        })
    }
}

impl core::error::Error for NotPublished {}

/// An event, numbered and encoded. A clone shares the bytes.
#[derive(Clone, Debug)]
pub struct Published {
    encoded: Encoded,
    kind: Kind,
    offset: Option<u64>,
    born_ns: u64,
    /// Of a snapshot: its bytes in other forms, for clients whose output it does not fit into. A log of events is bounded by what it
    /// holds of each once.
    forms: Option<Box<Forms>>,
}

/// Those that are not [`Form::WebSocket`].
type Forms = [OnceCell<Bytes>; Form::WebSocket as usize];

impl Published {
    pub(super) fn new(place: &Place<'_>, outline: &Outline<'_>) -> Published {
        let text = placed(outline.kind, outline.value, place);
        Published {
            encoded: Encoded::text(&text),
            kind: outline.kind,
            offset: place.offset,
            born_ns: outline.born_ns,
            forms: None,
        }
    }

    /// What belongs to no event and is shared all the same: a snapshot, for all who join at once.
    pub(super) fn of_text(text: &str, kind: Kind) -> Published {
        Published {
            encoded: Encoded::text(text),
            kind,
            offset: None,
            born_ns: 0,
            forms: Some(Box::default()),
        }
    }

    /// Its JSON.
    #[must_use]
    pub fn json(&self) -> &str {
        // Made of a text, so it is one.
        core::str::from_utf8(self.encoded.payload()).unwrap_or_default()
    }

    /// The whole WebSocket message.
    #[must_use]
    pub fn encoded(&self) -> &Encoded {
        &self.encoded
    }

    /// Its bytes in that form. All to whom a snapshot goes hold the same, made for the first of them.
    pub(super) fn in_form(&self, form: Form, make: impl FnOnce() -> Bytes) -> Bytes {
        if form == Form::WebSocket {
            return self.encoded.bytes().clone();
        }
        match &self.forms {
            Some(forms) => forms[form.index()].get_or_init(make).clone(),
            None => make(),
        }
    }

    /// Its type.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its place in its channel; `None` where the channel numbers nothing.
    #[must_use]
    pub fn offset(&self) -> Option<u64> {
        self.offset
    }

    /// When the line had it, in nanoseconds of the server's clock.
    #[must_use]
    pub fn born_ns(&self) -> u64 {
        self.born_ns
    }

    /// Bytes that it takes up in a log.
    pub(super) fn bytes(&self) -> usize {
        self.encoded.bytes().len()
    }
}
