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

/// A message on its way into an output.
pub(super) struct Piece<'a> {
    pub(super) kind: &'a str,
    pub(super) offset: Option<u64>,
    pub(super) text: Text<'a>,
}

/// Its JSON.
#[derive(Clone, Copy)]
pub(super) enum Text<'a> {
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
    let is_large =
        |full: Full, output_is_empty: bool| full.needed > EDGE_OUTPUT_BYTES && output_is_empty;
    match via {
        Via::Http(_) => Put::Closed,
        Via::WebSocket { socket, .. } => {
            let sent = match piece.text {
                Text::Shared(published) => socket.send_encoded(published.encoded()),
                Text::Own(json) => socket.send_text(json),
            };
            match sent {
                Ok(()) => Put::Done,
                Err(SendError::Full(full)) if is_large(full, socket.output().is_empty()) => {
                    Put::Large(match piece.text {
                        Text::Shared(published) => published.encoded().bytes().clone(),
                        Text::Own(json) => Encoded::text(json).bytes().clone(),
                    })
                }
                Err(SendError::Full(_)) => Put::NoRoom,
                Err(_) => Put::Closed,
            }
        }
        Via::Sse { output, types } => {
            let position = piece
                .offset
                .map(|offset| Position { epoch, offset }.to_string());
            let event = sse::Outgoing {
                id: position.as_deref(),
                event: types.then_some(piece.kind),
                data: piece.text.json().as_bytes(),
            };
            match sse::encode(output, &event) {
                Ok(()) => Put::Done,
                Err(sse::NotEncoded::Full(full)) if is_large(full, output.is_empty()) => {
                    let mut own = Output::new(full.needed);
                    let _ = sse::encode(&mut own, &event);
                    Put::Large(Bytes::copy_from_slice(own.pending()))
                }
                Err(_) => Put::NoRoom,
            }
        }
        Via::Ndjson { output } => match ndjson::write(output, piece.text.json().as_bytes()) {
            Ok(()) => Put::Done,
            Err(ndjson::NotWritten::Full(full)) if is_large(full, output.is_empty()) => {
                let mut own = Output::new(full.needed);
                let _ = ndjson::write(&mut own, piece.text.json().as_bytes());
                Put::Large(Bytes::copy_from_slice(own.pending()))
            }
            Err(_) => Put::NoRoom,
        },
    }
}
