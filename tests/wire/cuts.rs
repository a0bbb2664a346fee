//! Streams in pieces, and decoders that say all that they found as values of their own.
//!
//! Invariant: a harness adds nothing of its own, so that what it says of two cuts can be compared.

use hopline::base::Prng;
use hopline::wire::http::{
    BodyReader, HttpFault, Method, RequestLimits, Requests, ResponseFault, Responses,
};
use hopline::wire::ndjson::{Line, Lines};
use hopline::wire::sse::{self, Incoming, Parser};
use hopline::wire::websocket::{self, Event, Role, WebSocket};

/// The bytes in two pieces, for each place between them, and byte by byte.
pub(crate) fn all_cuts(bytes: &[u8]) -> Vec<Vec<&[u8]>> {
    let two = (0..=bytes.len()).map(|at| vec![&bytes[..at], &bytes[at..]]);
    let mut all: Vec<_> = two.collect();
    all.push(bytes.chunks(1).collect());
    all
}

/// The bytes in pieces of random length, up to `most`.
pub(crate) fn pieces<'b>(mut bytes: &'b [u8], most: u64, prng: &mut Prng) -> Vec<&'b [u8]> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let len = (1 + prng.below(most) as usize).min(bytes.len());
        let (piece, rest) = bytes.split_at(len);
        all.push(piece);
        bytes = rest;
    }
    all
}

/// A request with texts of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) line: (Method, String),
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

/// The requests in the pieces, the fault behind them, and how many bytes were taken.
pub(crate) fn requests(
    limits: RequestLimits,
    pieces: &[&[u8]],
) -> (Vec<Asked>, Option<HttpFault>, usize) {
    let mut reader = Requests::new(limits);
    let (mut all, mut taken) = (Vec::new(), 0);
    for piece in pieces {
        let mut input = *piece;
        loop {
            let before = input.len();
            let got = reader.poll(&mut input).map(|request| {
                request.map(|request| Asked {
                    line: (request.method, request.target.to_owned()),
                    headers: request
                        .headers
                        .iter()
                        .map(|(n, v)| (n.to_owned(), v.to_vec()))
                        .collect(),
                    body: request.body.to_vec(),
                })
            });
            taken += before - input.len();
            let most = 2 * (limits.head_bytes_max + limits.body_bytes_max);
            assert!(reader.capacity() <= most, "{} > {most}", reader.capacity());
            match got {
                Ok(Some(request)) => all.push(request),
                Ok(None) => {
                    assert!(
                        input.is_empty(),
                        "more is wanted, and {} are left",
                        input.len()
                    );
                    break;
                }
                Err(fault) => {
                    assert_eq!(
                        reader.poll(&mut input).unwrap_err(),
                        fault,
                        "it stays there"
                    );
                    return (all, Some(fault), taken);
                }
            }
        }
    }
    (all, None, taken)
}

/// A response with texts of its own, and whether its body is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
    pub(crate) whole: bool,
}

/// The responses in the pieces, to requests that were all `GET`, and the fault behind them.
pub(crate) fn responses(
    head_bytes_max: usize,
    pieces: &[&[u8]],
) -> (Vec<Answered>, Option<ResponseFault>) {
    let mut reader = Responses::new(head_bytes_max);
    let mut body: Option<BodyReader> = None;
    let mut all: Vec<Answered> = Vec::new();
    for piece in pieces {
        let mut input = *piece;
        loop {
            if let Some(reading) = &mut body {
                let last = all.last_mut().unwrap();
                match reading.poll(&mut input) {
                    Ok(Some(piece)) => last.body.extend_from_slice(piece),
                    Ok(None) if reading.is_done() => {
                        last.whole = true;
                        body = None;
                    }
                    Ok(None) => break,
                    Err(fault) => return (all, Some(fault)),
                }
                continue;
            }
            let before = input.len();
            let head = match reader.poll(&mut input) {
                Ok(Some(head)) => head,
                Ok(None) => {
                    assert!(input.is_empty());
                    break;
                }
                Err(fault) => return (all, Some(fault)),
            };
            assert!(before > input.len(), "a head has bytes");
            all.push(Answered {
                status: head.status,
                headers: head
                    .headers
                    .iter()
                    .map(|(n, v)| (n.to_owned(), v.to_vec()))
                    .collect(),
                body: Vec::new(),
                whole: false,
            });
            match head.body_length(Method::Get) {
                Ok(length) => body = Some(BodyReader::new(length)),
                Err(fault) => return (all, Some(fault)),
            }
            assert!(reader.capacity() <= 2 * head_bytes_max);
        }
    }
    // A body of no bytes is whole though nothing comes behind its head.
    if let (Some(reading), Some(last)) = (&body, all.last_mut()) {
        last.whole = reading.is_done();
    }
    (all, None)
}

/// A message with bytes of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
    Failed(websocket::Violation),
}

impl Heard {
    pub(crate) fn of(event: Event<'_>) -> Heard {
        match event {
            Event::Text(text) => Heard::Text(text.to_owned()),
            Event::Binary(bytes) => Heard::Binary(bytes.to_vec()),
            Event::Ping(bytes) => Heard::Ping(bytes.to_vec()),
            Event::Pong(bytes) => Heard::Pong(bytes.to_vec()),
            Event::Close { code, reason } => Heard::Close(code, reason.to_owned()),
            Event::Failed(violation) => Heard::Failed(violation),
        }
    }
}

/// What a connection hears in the pieces, and what it says to that.
pub(crate) fn heard(
    role: Role,
    limits: websocket::Limits,
    pieces: &[&[u8]],
) -> (Vec<Heard>, Vec<u8>) {
    let mut socket = WebSocket::new(role, limits);
    let (mut all, mut said) = (Vec::new(), Vec::new());
    for piece in pieces {
        let mut input = *piece;
        while let Some(event) = socket.poll(&mut input) {
            all.push(Heard::of(event));
            // Each answer leaves at once, so that none is dropped for want of room.
            said.extend_from_slice(socket.output());
            socket.written(usize::MAX);
        }
        assert!(
            input.is_empty() || socket.is_over(),
            "all is taken, or it is over"
        );
    }
    (all, said)
}

/// An event of a stream with bytes of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Streamed {
    Event(Vec<u8>, Vec<u8>, Vec<u8>),
    Retry(u64),
    Dropped(sse::Dropped),
}

/// The events in the pieces, and the last id.
pub(crate) fn streamed(limits: sse::Limits, pieces: &[&[u8]]) -> (Vec<Streamed>, Vec<u8>) {
    let mut parser = Parser::new(limits);
    let mut all = Vec::new();
    for piece in pieces {
        let mut input = *piece;
        while let Some(incoming) = parser.poll(&mut input) {
            all.push(match incoming {
                Incoming::Event { event, data, id } => {
                    Streamed::Event(event.to_vec(), data.to_vec(), id.to_vec())
                }
                Incoming::Retry(wait_ms) => Streamed::Retry(wait_ms),
                Incoming::Dropped(why) => Streamed::Dropped(why),
            });
        }
        assert!(input.is_empty());
        assert!(parser.capacity() <= limits.memory_bytes());
    }
    let bytes: usize = pieces.iter().map(|piece| piece.len()).sum();
    assert_eq!(parser.counts().bytes, bytes as u64);
    (all, parser.last_event_id().to_vec())
}

/// A line with bytes of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Split {
    Whole(Vec<u8>),
    TooLong(u64),
    Rest(Vec<u8>),
}

impl Split {
    fn of(line: Line<'_>) -> Split {
        match line {
            Line::Whole(bytes) => Split::Whole(bytes.to_vec()),
            Line::TooLong(bytes) => Split::TooLong(bytes),
            Line::Rest(bytes) => Split::Rest(bytes.to_vec()),
        }
    }
}

/// The lines in the pieces.
pub(crate) fn split(line_bytes_max: usize, pieces: &[&[u8]]) -> Vec<Split> {
    let mut lines = Lines::new(line_bytes_max);
    let mut all = Vec::new();
    for piece in pieces {
        let mut input = *piece;
        while let Some(line) = lines.poll(&mut input) {
            all.push(Split::of(line));
        }
        assert!(input.is_empty());
        assert!(lines.buffered() <= line_bytes_max + 1);
    }
    all.extend(lines.end().map(Split::of));
    all
}
