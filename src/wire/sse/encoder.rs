//! The server's side: events as bytes.
//!
//! Invariant: an event goes in whole or not at all, and nothing in its fields can begin another
//! field or another event.

use std::io::Write as _;

use memchr::memchr2;

use crate::wire::{Full, Output};

/// An event on its way out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outgoing<'a> {
    /// Where a client is once it has this event; `None` leaves it where it was, as for events that
    /// have no place in the stream.
    pub id: Option<&'a str>,
    /// Its type; `None` for the usual one, `message`.
    pub event: Option<&'a str>,
    /// Its data. A line's end in it, be it `\n`, `\r` or both, arrives as `\n`.
    pub data: &'a [u8],
}

/// Why an event was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotEncoded {
    /// There is no room for it now.
    Full(Full),
    /// The id has a line's end or a NUL in it, with which clients would pass it over.
    BadId,
    /// The type has a line's end in it.
    BadEvent,
}

impl From<Full> for NotEncoded {
    fn from(full: Full) -> NotEncoded {
        NotEncoded::Full(full)
    }
}

impl core::fmt::Display for NotEncoded {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            NotEncoded::Full(full) => full.fmt(f),
            NotEncoded::BadId => f.write_str("an id may have no line's end and no NUL in it"),
            NotEncoded::BadEvent => f.write_str("an event's type may have no line's end in it"),
        }
    }
}

impl core::error::Error for NotEncoded {}

/// Calls `each` with the lines of the data; data without a line's end is one line, even if empty.
fn lines(mut data: &[u8], mut each: impl FnMut(&[u8])) {
    while let Some(end) = memchr2(b'\n', b'\r', data) {
        each(&data[..end]);
        let both = data[end..].starts_with(b"\r\n");
        data = &data[end + if both { 2 } else { 1 }..];
    }
    each(data);
}

const ID: &[u8] = b"id: ";
const EVENT: &[u8] = b"event: ";
const DATA: &[u8] = b"data: ";

/// Bytes of the event once it is encoded.
#[must_use]
pub fn encoded_bytes(event: &Outgoing<'_>) -> usize {
    let field = |name: &[u8], value: Option<&str>| value.map_or(0, |v| name.len() + v.len() + 1);
    let mut bytes = field(ID, event.id) + field(EVENT, event.event) + 1;
    lines(event.data, |line| bytes += DATA.len() + line.len() + 1);
    bytes
}

/// Puts the event into `output`.
///
/// ```
/// use hopline::wire::Output;
/// use hopline::wire::sse::{Outgoing, encode};
/// let mut output = Output::new(1 << 10);
/// let event = Outgoing { id: Some("7:42"), event: None, data: b"one\ntwo" };
/// encode(&mut output, &event).unwrap();
/// assert_eq!(output.pending(), b"id: 7:42\ndata: one\ndata: two\n\n");
/// ```
///
/// # Errors
/// There is no room for all of it, or a field is none; nothing was written.
pub fn encode(output: &mut Output, event: &Outgoing<'_>) -> Result<(), NotEncoded> {
    let ends_line = |text: &str| text.bytes().any(|byte| matches!(byte, b'\n' | b'\r'));
    if event
        .id
        .is_some_and(|id| ends_line(id) || id.contains('\0'))
    {
        return Err(NotEncoded::BadId);
    }
    if event.event.is_some_and(ends_line) {
        return Err(NotEncoded::BadEvent);
    }
    let bytes = output.reserve(encoded_bytes(event))?;
    let mut field = |name: &[u8], value: &[u8]| {
        for part in [name, value, b"\n"] {
            bytes.extend_from_slice(part);
        }
    };
    if let Some(id) = event.id {
        field(ID, id.as_bytes());
    }
    if let Some(kind) = event.event {
        field(EVENT, kind.as_bytes());
    }
    lines(event.data, |line| field(DATA, line));
    field(b"", b"");
    Ok(())
}

/// Puts a comment into `output`, which clients pass over: a heartbeat that keeps proxies from ending
/// a quiet connection. Line's ends in it are left out.
///
/// # Errors
/// There is no room for all of it; nothing was written.
pub fn comment(output: &mut Output, text: &str) -> Result<(), Full> {
    let ends = text.bytes().filter(|byte| matches!(byte, b'\n' | b'\r'));
    let bytes = output.reserve(text.len() - ends.count() + 4)?;
    bytes.extend_from_slice(b": ");
    lines(text.as_bytes(), |line| bytes.extend_from_slice(line));
    bytes.extend_from_slice(b"\n\n");
    Ok(())
}

/// Tells the client, through `output`, how long it is to wait before it reconnects, in milliseconds.
/// Give each client another one, or all of them come back at once.
///
/// # Errors
/// There is no room for all of it; nothing was written.
pub fn retry(output: &mut Output, wait_ms: u64) -> Result<(), Full> {
    let mut space = [0; 40];
    let all = space.len();
    let mut rest = &mut space[..];
    // At most 20 digits.
    let _ = write!(rest, "retry: {wait_ms}\n\n");
    let len = all - rest.len();
    output.push(&space[..len])
}
