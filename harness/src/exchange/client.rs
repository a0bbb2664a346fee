//! A connection of the exchange: its handshake, its frames, and what waits for it.
//!
//! Invariant: a client that does not read, or asks without end, costs bounded memory, and no other client waits for it.

use hopline::io::{Driver, Half, StreamId, StreamRead, StreamWrite};
use hopline::wire::Output;
use hopline::wire::http::{RequestLimits, Requests};
use hopline::wire::websocket::{Event, Limits, Offer, Role, WebSocket};

/// Most bytes that wait for a client: a second of the busiest capture. Who reads slower is closed, as exchanges do it.
const OUTPUT_BYTES: usize = 4 << 20;

/// The same where the feed goes as fast as its clients take it.
const OUTPUT_BYTES_FLAT_OUT: usize = 256 << 10;

/// Longest message of a client: what it subscribes to.
const ASKED_BYTES: usize = 32 << 10;

/// Bytes of an answer to what is no handshake.
const ANSWER_BYTES: usize = 4 << 10;

/// Reads of one client in a turn.
const READS: usize = 4;

/// Code of a close for one that is too slow (RFC 6455, section 7.4.1: a policy).
const TOO_SLOW: u16 = 1008;

enum State {
    Asking(Box<Requests>),
    Open(Box<WebSocket>),
}

/// A connection.
pub(super) struct Client {
    stream: StreamId,
    state: State,
    /// The answer to its handshake, in front of all frames.
    answer: Output,
    /// Messages that it was sent.
    pub(super) sent: u64,
    /// It is kept, and nobody looks after it.
    pub(super) silent: bool,
    /// Nothing more is said to it, and what it says is read until it ends: what has left still arrives.
    cut: bool,
    /// Nothing more is said to it but what waits.
    ending: bool,
}

/// What a client did, for the counts of its feed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Did {
    pub(super) opened: u64,
    pub(super) refused: u64,
    pub(super) asked: u64,
    pub(super) pinged: u64,
    pub(super) bytes: u64,
    /// It is gone.
    pub(super) gone: bool,
}

impl Client {
    pub(super) fn new(stream: StreamId) -> Client {
        Client {
            stream,
            state: State::Asking(Box::new(Requests::new(RequestLimits::default()))),
            answer: Output::new(ANSWER_BYTES),
            sent: 0,
            silent: false,
            cut: false,
            ending: false,
        }
    }

    /// Whether it is there, as far as it knows: messages are for it.
    pub(super) fn is_open(&self) -> bool {
        matches!(&self.state, State::Open(socket) if socket.is_open()) && !self.ending && !self.cut
    }

    /// Whether messages are sent to it.
    pub(super) fn is_served(&self) -> bool {
        self.is_open() && !self.silent
    }

    /// Whether a feed without times may send it more.
    pub(super) fn takes_more(&self) -> bool {
        match &self.state {
            State::Open(socket) => {
                !self.is_served() || socket.output().len() < OUTPUT_BYTES_FLAT_OUT
            }
            State::Asking(_) => true,
        }
    }

    /// Whether something waits for it to be read.
    pub(super) fn has_output(&self) -> bool {
        !self.silent && !self.cut && !self.output().is_empty()
    }

    fn output(&self) -> &[u8] {
        match &self.state {
            State::Open(socket) if self.answer.is_empty() => socket.output(),
            _ => self.answer.pending(),
        }
    }

    /// Sends a text. False if it is too slow for it, and is closed for that.
    pub(super) fn send(&mut self, text: &str) -> bool {
        let State::Open(socket) = &mut self.state else {
            return true;
        };
        if self.silent {
            return true;
        }
        if socket.send_text(text).is_err() {
            socket.close(TOO_SLOW, "too slow");
            self.ending = true;
            return false;
        }
        self.sent += 1;
        true
    }

    /// Closes it in good order.
    pub(super) fn close(&mut self, code: u16, reason: &str) {
        if let State::Open(socket) = &mut self.state {
            socket.close(code, reason);
        }
        self.ending = true;
    }

    /// Whether all that was sent has left, after another try.
    pub(super) fn has_left(&mut self, driver: &mut Driver) -> bool {
        self.write(driver);
        self.output().is_empty()
    }

    /// Writes the first part of a message, as far as the socket takes it, and ends the connection there.
    pub(super) fn cut_within(&mut self, text: &str, driver: &mut Driver) {
        self.cut = true;
        if let State::Open(socket) = &mut self.state
            && socket.send_text(text).is_ok()
        {
            let frame = socket.output();
            let _ = driver.stream_write(self.stream, &frame[..frame.len() / 2]);
        }
        let _ = driver.stream_shutdown(self.stream, Half::Write);
    }

    /// Reads, answers and writes, without waiting.
    pub(super) fn turn(&mut self, driver: &mut Driver, buffer: &mut [u8]) -> Did {
        let mut did = Did::default();
        if self.silent {
            return did;
        }
        for _ in 0..READS {
            match driver.stream_read(self.stream, buffer) {
                Ok(StreamRead::Bytes(_)) if self.cut => {}
                Ok(StreamRead::Bytes(count)) => self.take(&buffer[..count], &mut did),
                Ok(StreamRead::WouldBlock) => break,
                Ok(StreamRead::End | StreamRead::Reset) | Err(_) => {
                    did.gone = true;
                    return did;
                }
            }
        }
        if self.cut {
            return did;
        }
        let written = self.write(driver);
        did.bytes = written.unwrap_or(0);
        let over = match &self.state {
            State::Asking(_) => self.ending,
            State::Open(socket) => socket.is_over(),
        };
        did.gone = written.is_none() || over && self.output().is_empty();
        did
    }

    fn take(&mut self, mut input: &[u8], did: &mut Did) {
        let output = &mut self.answer;
        if let State::Asking(requests) = &mut self.state {
            if self.ending {
                return;
            }
            let accepted = match requests.poll(&mut input) {
                Ok(None) => return,
                Ok(Some(request)) => match Offer::of(&request) {
                    Ok(offer) => offer.accept(output, None).is_ok(),
                    Err(fault) => {
                        let _ = fault.refuse(output);
                        false
                    }
                },
                Err(_) => false,
            };
            if !accepted {
                did.refused += 1;
                self.ending = true;
                return;
            }
            let limits = Limits {
                message_bytes_max: ASKED_BYTES,
                output_bytes_max: OUTPUT_BYTES,
            };
            self.state = State::Open(Box::new(WebSocket::new(Role::Server, limits)));
            did.opened += 1;
        }
        let State::Open(socket) = &mut self.state else {
            return;
        };
        while let Some(event) = socket.poll(&mut input) {
            match event {
                Event::Text(_) | Event::Binary(_) => did.asked += 1,
                Event::Ping(_) => did.pinged += 1,
                Event::Pong(_) => {}
                Event::Close { .. } | Event::Failed(_) => self.ending = true,
            }
        }
    }

    /// Writes what waits; how many bytes, or none if the connection is broken.
    fn write(&mut self, driver: &mut Driver) -> Option<u64> {
        let mut bytes = 0;
        while !self.output().is_empty() {
            match driver.stream_write(self.stream, self.output()) {
                Ok(StreamWrite::Bytes(count)) => {
                    bytes += count as u64;
                    match &mut self.state {
                        State::Open(socket) if self.answer.is_empty() => socket.written(count),
                        _ => self.answer.written(count),
                    }
                }
                Ok(StreamWrite::WouldBlock) => break,
                Ok(StreamWrite::Broken) | Err(_) => return None,
            }
        }
        Some(bytes)
    }

    /// Gives its socket back.
    pub(super) fn end(self, driver: &mut Driver) {
        let _ = driver.stream_close(self.stream);
    }
}
