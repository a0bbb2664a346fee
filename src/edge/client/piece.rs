//! A message on its way into an output, as each transport writes it.
//!
//! Invariant: a message goes in whole, or nothing of it.

use bytes::Bytes;

use super::Via;
use crate::base::limits::EDGE_OUTPUT_BYTES;
use crate::edge::position::{Epoch, Position};
use crate::edge::published::Published;
use crate::wire::websocket::{Encoded, SendError};
use crate::wire::{Full, Output, ndjson, sse};

/// How messages are written, as far as their bytes differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::edge) enum Form {
    /// Server-sent events with their types.
    Typed,
    /// Server-sent events that are all messages.
    Untyped,
    /// Lines of JSON.
    Ndjson,
    /// Frames of a server.
    WebSocket,
}

impl Form {
    pub(in crate::edge) const COUNT: usize = Form::WebSocket as usize + 1;

    pub(in crate::edge) const fn index(self) -> usize {
        self as usize
    }
}

/// A message on its way into an output.
pub(in crate::edge) struct Piece<'a> {
    pub(in crate::edge) kind: &'a str,
    pub(in crate::edge) offset: Option<u64>,
    pub(in crate::edge) text: Text<'a>,
}

/// Its JSON.
#[derive(Clone, Copy)]
pub(in crate::edge) enum Text<'a> {
    /// Encoded for all whom it goes to.
    Shared(&'a Published),
    /// For this client alone.
    Own(&'a str),
}

impl<'a> Text<'a> {
    fn json(self) -> &'a str {
        match self {
            Text::Shared(published) => published.json(),
            Text::Own(json) => json,
        }
    }
}

impl<'a> Piece<'a> {
    /// A message for this client alone, whose type stands at its beginning.
    pub(super) fn own(json: &'a str) -> Piece<'a> {
        let kind = json.strip_prefix("{\"type\":\"");
        let kind = kind.and_then(|rest| rest.split('"').next());
        Piece {
            kind: kind.unwrap_or_default(),
            offset: None,
            text: Text::Own(json),
        }
    }
}

pub(super) enum Put {
    Done,
    NoRoom,
    /// It is larger than the output, and leaves by itself.
    Large(Bytes),
    Closed,
}

pub(super) fn put(via: &mut Via, piece: &Piece<'_>, epoch: Epoch) -> Put {
    let Some(form) = via.form() else {
        return Put::Closed;
    };
    let (result, is_empty) = match via {
        Via::Http(_) => return Put::Closed,
        Via::WebSocket { socket, .. } => {
            let sent = match piece.text {
                Text::Shared(published) => socket.send_encoded(published.encoded()),
                Text::Own(json) => socket.send_text(json),
            };
            match sent {
                Ok(()) => (Ok(()), true),
                Err(SendError::Full(full)) => (Err(Some(full)), socket.output().is_empty()),
                Err(_) => return Put::Closed,
            }
        }
        Via::Sse { output, .. } | Via::Ndjson { output } => {
            let written = write(form, output, piece, epoch);
            (written, output.is_empty())
        }
    };
    match result {
        Ok(()) => Put::Done,
        Err(Some(full)) if full.needed > EDGE_OUTPUT_BYTES && is_empty => {
            Put::Large(match piece.text {
                Text::Shared(published) => {
                    published.in_form(form, || alone(form, piece, epoch, full.needed))
                }
                Text::Own(_) => alone(form, piece, epoch, full.needed),
            })
        }
        Err(_) => Put::NoRoom,
    }
}

/// Its bytes in a place of their own.
fn alone(form: Form, piece: &Piece<'_>, epoch: Epoch, needed: usize) -> Bytes {
    let mut own = Output::new(needed);
    // There is room for it: nothing else is in there.
    let _ = write(form, &mut own, piece, epoch);
    Bytes::copy_from_slice(own.pending())
}

/// Writes it behind what is in `output`, or says how much room that takes, if room is what it lacks.
pub(in crate::edge) fn write(
    form: Form,
    output: &mut Output,
    piece: &Piece<'_>,
    epoch: Epoch,
) -> Result<(), Option<Full>> {
    match form {
        Form::WebSocket => {
            let pushed = match piece.text {
                Text::Shared(published) => output.push(published.encoded().bytes()),
                Text::Own(json) => output.push(Encoded::text(json).bytes()),
            };
            pushed.map_err(Some)
        }
        Form::Typed | Form::Untyped => {
            let position = piece
                .offset
                .map(|offset| Position { epoch, offset }.to_string());
            let event = sse::Outgoing {
                id: position.as_deref(),
                event: (form == Form::Typed).then_some(piece.kind),
                data: piece.text.json().as_bytes(),
            };
            sse::encode(output, &event).map_err(|error| match error {
                sse::NotEncoded::Full(full) => Some(full),
                _ => None,
            })
        }
        Form::Ndjson => {
            let written = ndjson::write(output, piece.text.json().as_bytes());
            written.map_err(|error| match error {
                ndjson::NotWritten::Full(full) => Some(full),
                ndjson::NotWritten::NotOneLine(_) => None,
            })
        }
    }
}
