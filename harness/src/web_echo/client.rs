//! A client of the echo: its handshake, its messages, its end.
//!
//! Invariant: it is read from only while what it may send fits back out; behind its end nothing is
//! said to it but what waits.

use hopline::io::{Driver, Half, StreamId, StreamRead, StreamWrite};
use hopline::wire::Output;
use hopline::wire::http::{RequestLimits, Requests};
use hopline::wire::websocket::{Event, Limits, Offer, Role, WebSocket};

use super::{EchoCounts, READ_BYTES};

/// Bytes of the answer to a handshake.
const ANSWER_BYTES: usize = 4 << 10;

/// Reads of one client before the next one has its turn.
const READS: usize = 4;

/// How long a handshake may take, in nanoseconds.
const HANDSHAKE_NS: u64 = 10_000_000_000;

/// How long a client may take to agree to its end, in nanoseconds: until then what it still sends is
/// read, for a socket that is closed over it takes back the close frame as well (RFC 9293, 3.10.4).
const LINGER_NS: u64 = 2_000_000_000;

/// What serving a client came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Served {
    /// There was nothing to do.
    Nothing,
    /// There was, and reading more would block or has to wait for room.
    Dry,
    /// There was, and there may be more.
    More,
    /// It is gone, or may go.
    Gone,
}

enum State {
    Asking(Box<Requests>),
    Open(Box<WebSocket>),
}

/// A client.
pub(super) struct Client {
    pub(super) id: StreamId,
    /// Its place among the living.
    pub(super) nth: usize,
    /// Whether it is on the list of those to serve again.
    pub(super) listed: bool,
    state: State,
    limits: Limits,
    /// The answer to its handshake, in front of all frames.
    answer: Output,
    /// Nothing more is said to it but what waits.
    ending: bool,
    /// Its end has been told to the system.
    shut: bool,
    /// When it is hung up on.
    until_ns: Option<u64>,
}

impl core::fmt::Debug for Client {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Client")
            .field("id", &self.id)
            .field("asking", &self.is_asking())
            .field("ending", &self.ending)
            .finish_non_exhaustive()
    }
}

impl Client {
    pub(super) fn new(id: StreamId, nth: usize, message_bytes_max: usize, now_ns: u64) -> Client {
        let limits = Limits {
            message_bytes_max,
            output_bytes_max: 2 * (message_bytes_max + 2 * READ_BYTES),
        };
        Client {
            id,
            nth,
            listed: false,
            state: State::Asking(Box::new(Requests::new(RequestLimits::default()))),
            limits,
            answer: Output::new(ANSWER_BYTES),
            ending: false,
            shut: false,
            until_ns: Some(now_ns.saturating_add(HANDSHAKE_NS)),
        }
    }

    pub(super) fn is_asking(&self) -> bool {
        matches!(self.state, State::Asking(_))
    }

    pub(super) fn is_late(&self, now_ns: u64) -> bool {
        self.until_ns.is_some_and(|until_ns| now_ns >= until_ns)
    }

    pub(super) fn has_output(&self) -> bool {
        !self.output().is_empty()
    }

    fn output(&self) -> &[u8] {
        match &self.state {
            State::Open(socket) if self.answer.is_empty() => socket.output(),
            _ => self.answer.pending(),
        }
    }

    /// Whether all that one read may bring can go back: a message that became whole with it, and
    /// those behind. A frame of a server is no longer than the client's with the same payload.
    fn takes_more(&self) -> bool {
        match &self.state {
            State::Open(socket) if !self.ending => {
                socket.room() >= self.limits.message_bytes_max + READ_BYTES
            }
            _ => true,
        }
    }

    pub(super) fn serve(
        &mut self,
        driver: &mut Driver,
        buffer: &mut [u8],
        counts: &mut EchoCounts,
        now_ns: u64,
    ) -> Served {
        let mut served = Served::Nothing;
        if self.has_output() && driver.stream_maybe_writable(self.id) {
            served = Served::Dry;
            if !self.write(driver, now_ns) {
                return Served::Gone;
            }
        }
        for _ in 0..READS {
            if !self.takes_more() {
                return served;
            }
            let count = match driver.stream_read(self.id, buffer) {
                Ok(StreamRead::Bytes(count)) => count,
                Ok(StreamRead::WouldBlock) => {
                    let did = served != Served::Nothing;
                    return if did { Served::Dry } else { Served::Nothing };
                }
                Ok(StreamRead::End | StreamRead::Reset) | Err(_) => return Served::Gone,
            };
            served = Served::More;
            self.take(&buffer[..count], counts);
            if !self.write(driver, now_ns) {
                return Served::Gone;
            }
            // A read that was not filled has most likely emptied the socket.
            if count < buffer.len() {
                break;
            }
        }
        served
    }

    fn take(&mut self, mut input: &[u8], counts: &mut EchoCounts) {
        if self.ending {
            return;
        }
        if let State::Asking(requests) = &mut self.state {
            let accepted = match requests.poll(&mut input) {
                Ok(None) => return,
                Ok(Some(request)) => match Offer::of(&request) {
                    Ok(offer) => offer.accept(&mut self.answer, None).is_ok(),
                    Err(fault) => {
                        // A refusal that finds no room is an end without words.
                        let _ = fault.refuse(&mut self.answer);
                        false
                    }
                },
                Err(_) => false,
            };
            if !accepted {
                counts.refused += 1;
                self.ending = true;
                return;
            }
            counts.opened += 1;
            self.until_ns = None;
            self.state = State::Open(Box::new(WebSocket::new(Role::Server, self.limits)));
        }
        let State::Open(socket) = &mut self.state else {
            return;
        };
        loop {
            let Some((event, out)) = socket.poll_with(&mut input) else {
                return;
            };
            let sent = match event {
                Event::Text(text) => out.send_text(text),
                Event::Binary(bytes) => out.send_binary(bytes),
                Event::Ping(_) | Event::Pong(_) => continue,
                Event::Close { .. } => {
                    self.ending = true;
                    return;
                }
                Event::Failed(_) => {
                    counts.failed += 1;
                    self.ending = true;
                    return;
                }
            };
            match sent {
                Ok(()) => counts.messages += 1,
                Err(_) => {
                    // There was room for all of it, or it would not have been read.
                    out.close(1011, "no room");
                    self.ending = true;
                    return;
                }
            }
        }
    }

    /// Writes what waits, as far as there is room; false if the connection is broken.
    fn write(&mut self, driver: &mut Driver, now_ns: u64) -> bool {
        loop {
            let output = self.output();
            if output.is_empty() {
                break;
            }
            let whole = output.len();
            match driver.stream_write(self.id, output) {
                Ok(StreamWrite::Bytes(count)) => {
                    match &mut self.state {
                        State::Open(socket) if self.answer.is_empty() => socket.written(count),
                        _ => self.answer.written(count),
                    }
                    if count == whole && !self.has_output() {
                        break;
                    }
                }
                Ok(StreamWrite::WouldBlock) => return true,
                Ok(StreamWrite::Broken) | Err(_) => return false,
            }
        }
        if self.ending && !self.shut {
            self.shut = true;
            self.until_ns = Some(now_ns.saturating_add(LINGER_NS));
            let _ = driver.stream_shutdown(self.id, Half::Write);
        }
        true
    }
}
