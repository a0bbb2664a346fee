//! WebSocket connections (RFC 6455), both sides, without their sockets.
//!
//! | file | what it does |
//! |---|---|
//! | [`handshake`] | the opening handshake: a request is an offer, or it is refused with a status |
//! | `frame` | headers and masks, as bytes |
//! | `incoming` | bytes in, whole messages out |
//! | [`encoded`] | a message encoded once, for all clients of a fan-out |
//! | [`client`] | a client that stays connected: handshake, frames and [`Session`](crate::wire::Session) in one |
//! | [`progress`] | how far the message has come that is not whole yet, for whoever counts what was cut off |
//! | [`url`] | where a `ws://` leads |
//! | [`outgoing`] | messages in, bytes out into a bounded output |
//! | here | an open connection: both, and what one asks of the other |
//!
//! Frames are read and written here, and not by a library: the one that drives bytes without a socket, tungstenite,
//! answers 0.4 of the messages a second that frames by hand do, for each is an allocation of its own there, and it keeps
//! a read buffer for each idle connection. It is what the tests compare with, and Autobahn's suite judges both.
//!
//! | what may grow | its bound |
//! |---|---|
//! | a message that comes in pieces or fragments | [`Limits::message_bytes_max`], closed with 1009 beyond |
//! | bytes that wait for the socket | [`Limits::output_bytes_max`], then [`Full`]; and a close frame |
//! | pongs to a peer that does not read | dropped where they find no room, counted: only the last one matters (section 5.5.3) |
//!
//! All memory of a connection is within [`Limits::memory_bytes`]. Messages are taken and sent without allocating, once
//! the buffers have grown.
//!
//! No extension is spoken, so there is no compression. Masks of a client are drawn from the system's
//! randomness (section 5.3): its bytes differ from run to run, what they mean does not.
//!
//! Invariant: after [`Event::Close`] or [`Event::Failed`] no message comes out, and nothing but a
//! close frame goes in; every byte of the input was taken, or stands behind the end.

pub mod client;
pub mod encoded;
mod frame;
pub mod handshake;
mod incoming;
pub mod outgoing;
pub mod progress;
pub mod url;

pub use client::{Client, ClientConfig, ClientEvent};
pub use encoded::Encoded;
pub use frame::HEADER_BYTES_MAX;
pub use handshake::{AnswerFault, NONCE_BYTES, Offer, OfferFault, Opening};
pub use outgoing::Outgoing;
pub use progress::Progress;
pub use url::{Url, UrlFault};

use core::fmt;

use incoming::{Incoming, Whole};
use outgoing::State;

use crate::base::Reason;
use crate::wire::{Full, Output};

/// Longest message of a connection that names no bound: the largest that the edge takes, and what
/// any exchange's feed stays below but for a snapshot of a full book.
pub const MESSAGE_BYTES_DEFAULT: usize = 64 << 10;

/// Most bytes that wait for the socket on a connection that names no bound: a message of the longest
/// and as much again.
pub const OUTPUT_BYTES_DEFAULT: usize = 2 * MESSAGE_BYTES_DEFAULT;

/// Longest payload of a ping, pong or close (RFC 6455, section 5.5).
pub const CONTROL_BYTES_MAX: usize = 125;

/// Longest reason of a close, in bytes: what its code leaves of the payload.
pub const REASON_BYTES_MAX: usize = CONTROL_BYTES_MAX - 2;

/// Room in the output for the one close frame, whatever else waits.
const CLOSE_BYTES: usize = HEADER_BYTES_MAX + CONTROL_BYTES_MAX;

/// Which side of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It masks what it sends and refuses what is masked.
    Client,
    /// It sends unmasked and refuses what is not masked.
    Server,
}

/// What a connection may take up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest message that may come in, in bytes, whole or in fragments.
    pub message_bytes_max: usize,
    /// Most bytes that may wait for the socket.
    pub output_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            message_bytes_max: MESSAGE_BYTES_DEFAULT,
            output_bytes_max: OUTPUT_BYTES_DEFAULT,
        }
    }
}

impl Limits {
    /// Most bytes of memory that a connection with these limits holds, also while a buffer moves to a
    /// larger place and is there twice: that of the message, which doubles up to its bound, and the
    /// output, which closes up at twice its bound.
    #[must_use]
    pub const fn memory_bytes(self) -> usize {
        2 * self.message_bytes_max + 4 * (self.output_bytes_max + CLOSE_BYTES)
    }
}

crate::reasons! {
    /// Why a connection was failed (RFC 6455, section 7.1.7): the peer broke the protocol or a limit.
    pub enum Violation {
        /// A message or a frame over the limit.
        TooLong = "message_too_long",
        /// A text, or the reason of a close, that is not UTF-8.
        NotUtf8 = "not_utf8",
        /// A client sent a frame that is not masked.
        Unmasked = "unmasked_frame",
        /// A server sent a frame that is masked.
        Masked = "masked_frame",
        /// Reserved bits are set though no extension is spoken.
        ReservedBits = "reserved_bits",
        /// A kind of frame that is not defined.
        BadOpcode = "bad_opcode",
        /// A ping, pong or close in fragments.
        FragmentedControl = "fragmented_control",
        /// A ping, pong or close over 125 bytes.
        ControlTooLong = "control_too_long",
        /// A fragment of no message, or a message among another's fragments.
        BadFragment = "bad_fragment",
        /// A close with half a code, or one that may not be given.
        BadClose = "bad_close",
        /// The connection ended without a close.
        CutOff = "cut_off",
    }
}

impl Violation {
    /// The code that the connection is closed with (RFC 6455, section 7.4.1).
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Violation::TooLong => 1009,
            Violation::NotUtf8 => 1007,
            Violation::CutOff => 1006,
            _ => 1002,
        }
    }
}

/// What came in. Texts and bytes live until the connection is asked for the next event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A text, whole.
    Text(&'a str),
    /// Bytes, whole.
    Binary(&'a [u8]),
    /// The peer asks for a sign of life; it has been answered.
    Ping(&'a [u8]),
    /// The peer gives a sign of life.
    Pong(&'a [u8]),
    /// The peer closes, or agrees to be closed: nothing more will come. If it was the first to say
    /// so, it has been answered.
    Close {
        /// Its code, if it gave one.
        code: Option<u16>,
        /// Its reason, for people.
        reason: &'a str,
    },
    /// The peer broke a rule: the connection was closed with [`Violation::code`], and nothing more
    /// will come.
    Failed(Violation),
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// There is no room for it now.
    Full(Full),
    /// The connection is closing: nothing more may be sent.
    Closing,
    /// A ping or pong over [`CONTROL_BYTES_MAX`].
    TooLong,
}

impl From<Full> for SendError {
    fn from(full: Full) -> SendError {
        SendError::Full(full)
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SendError::Full(full) => full.fmt(f),
            SendError::Closing => f.write_str("the connection is closing, nothing more is sent"),
            SendError::TooLong => write!(
                f,
                "a ping or pong has at most {CONTROL_BYTES_MAX} bytes; send a shorter one"
            ),
        }
    }
}

impl core::error::Error for SendError {}

/// What was got, apart from its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Got {
    Text,
    Binary,
    Ping,
    Pong,
    Close,
    Failed(Violation),
}

/// An open WebSocket connection.
///
/// ```
/// use hopline::wire::websocket::{Event, Limits, Role, WebSocket};
/// let mut client = WebSocket::new(Role::Client, Limits::default());
/// let mut server = WebSocket::new(Role::Server, Limits::default());
/// client.send_text("tick").unwrap();
/// client.send_ping(b"1").unwrap();
/// let mut input = client.output();
/// assert_eq!(server.poll(&mut input), Some(Event::Text("tick")));
/// assert_eq!(server.poll(&mut input), Some(Event::Ping(b"1")));
/// assert_eq!(server.poll(&mut input), None);
/// let mut input = server.output(); // the ping is answered
/// assert_eq!(client.poll(&mut input), Some(Event::Pong(b"1")));
/// ```
pub struct WebSocket {
    incoming: Incoming,
    outgoing: Outgoing,
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket")
            .field("outgoing", &self.outgoing)
            .finish_non_exhaustive()
    }
}

impl WebSocket {
    /// A connection behind its opening handshake. A client's allocates once, for its masks.
    #[must_use]
    pub fn new(role: Role, limits: Limits) -> WebSocket {
        WebSocket {
            incoming: Incoming::new(role, limits.message_bytes_max),
            outgoing: Outgoing::new(role, limits.output_bytes_max),
        }
    }

    /// Takes from `input` and gives the next event; `None` once all of it is taken and more is
    /// needed, or the connection is over, behind which input is left where it is.
    #[inline]
    pub fn poll(&mut self, input: &mut &[u8]) -> Option<Event<'_>> {
        let got = self.advance(input, false)?;
        Some(self.lend(got))
    }

    /// The same, with what an answer is sent on while the event is still looked at.
    ///
    /// ```
    /// use hopline::wire::websocket::{Event, Limits, Role, WebSocket};
    /// let mut server = WebSocket::new(Role::Server, Limits::default());
    /// let mut input: &[u8] = b"\x81\x81\0\0\0\0x";
    /// while let Some((event, out)) = server.poll_with(&mut input) {
    ///     if let Event::Text(text) = event {
    ///         out.send_text(text)?;
    ///     }
    /// }
    /// assert_eq!(server.output(), b"\x81\x01x");
    /// # Ok::<(), hopline::wire::websocket::SendError>(())
    /// ```
    #[inline]
    pub fn poll_with(&mut self, input: &mut &[u8]) -> Option<(Event<'_>, &mut Outgoing)> {
        let got = self.advance(input, false)?;
        let event = lend(&self.incoming, got);
        Some((event, &mut self.outgoing))
    }

    /// The peer's half of the connection has ended. Without a close before, that is
    /// [`Violation::CutOff`].
    pub fn end(&mut self) -> Option<Event<'_>> {
        let mut nothing: &[u8] = &[];
        let got = self.advance(&mut nothing, true)?;
        Some(self.lend(got))
    }

    #[inline]
    fn advance(&mut self, input: &mut &[u8], ended: bool) -> Option<Got> {
        if self.outgoing.state == State::Over {
            return None;
        }
        let whole = match self.incoming.take(input) {
            Ok(Some(whole)) => whole,
            Ok(None) if !ended => return None,
            Ok(None) => return Some(self.fail(Violation::CutOff)),
            Err(violation) => return Some(self.fail(violation)),
        };
        Some(match whole {
            Whole::Text => Got::Text,
            Whole::Binary => Got::Binary,
            Whole::Ping => {
                self.outgoing.answer_ping(self.incoming.control());
                Got::Ping
            }
            Whole::Pong => Got::Pong,
            Whole::Close => self.closed(),
        })
    }

    /// The peer closes: it is answered by its own words, if they may be said.
    fn closed(&mut self) -> Got {
        let payload = self.incoming.control();
        let (code, reason) = match payload {
            [] => (None, payload),
            [_] => return self.fail(Violation::BadClose),
            [high, low, reason @ ..] => (Some(u16::from_be_bytes([*high, *low])), reason),
        };
        if core::str::from_utf8(reason).is_err() {
            return self.fail(Violation::NotUtf8);
        }
        if code.is_some_and(|code| !may_be_given(code)) {
            return self.fail(Violation::BadClose);
        }
        self.outgoing.agree(payload);
        Got::Close
    }

    /// The event that was got last.
    #[inline]
    fn lend(&self, got: Got) -> Event<'_> {
        lend(&self.incoming, got)
    }

    /// Ends the connection for what the peer did, and tells it so, if it can still be told.
    #[cold]
    fn fail(&mut self, violation: Violation) -> Got {
        match violation {
            Violation::CutOff => self.outgoing.state = State::Over,
            _ => self.outgoing.over(violation.code(), violation.name()),
        }
        Got::Failed(violation)
    }

    /// Sends a text.
    ///
    /// # Errors
    /// There is no room for it, or the connection is closing; nothing was sent.
    pub fn send_text(&mut self, text: &str) -> Result<(), SendError> {
        self.outgoing.send_text(text)
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// There is no room for them, or the connection is closing; nothing was sent.
    pub fn send_binary(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        self.outgoing.send_binary(bytes)
    }

    /// Sends a message that was encoded before, for many.
    ///
    /// # Errors
    /// There is no room for it, or the connection is closing; nothing was sent.
    ///
    /// # Panics
    /// This is a client, which must mask each message anew: a defect of the caller.
    pub fn send_encoded(&mut self, encoded: &Encoded) -> Result<(), SendError> {
        self.outgoing.send_encoded(encoded)
    }

    /// Asks for a sign of life, with bytes that come back with it.
    ///
    /// # Errors
    /// `bytes` are too many, there is no room, or the connection is closing; nothing was sent.
    pub fn send_ping(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        self.outgoing.send_ping(bytes)
    }

    /// Closes the connection: the peer will answer, and [`Event::Close`] says so. Messages that are
    /// on their way still come. A reason is for people; what is too long of it is cut. Does nothing
    /// if the connection is closing already.
    pub fn close(&mut self, code: u16, reason: &str) {
        self.outgoing.close(code, reason);
    }

    /// Whether messages may be sent.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.outgoing.is_open()
    }

    /// Whether nothing more comes in or goes out, but for what waits in the output: once that has
    /// left, end the connection. A server does so at once, a client once the server has, or after a
    /// time (RFC 6455, section 7.1.1).
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.outgoing.state == State::Over
    }

    /// What is to be written to the socket next, all of it: one write for all that was sent since.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        self.outgoing.output.pending()
    }

    /// Where the [output](WebSocket::output) waits.
    pub(crate) fn buffer(&self) -> &Output {
        &self.outgoing.output
    }

    /// The rest of whole frames whose beginning has left from elsewhere: it goes in before anything else does.
    pub(crate) fn push_rest(&mut self, bytes: &[u8]) -> Result<(), Full> {
        self.outgoing.push_rest(bytes)
    }

    /// The first `count` bytes of the [output](WebSocket::output) have left.
    pub fn written(&mut self, count: usize) {
        self.outgoing.output.written(count);
    }

    /// Longest message that there is room for now, in bytes.
    #[must_use]
    pub fn room(&self) -> usize {
        self.outgoing.room()
    }

    /// Frames that have come in, of which many may be one message, or none yet.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.incoming.frames()
    }

    /// Pongs that found no room in the output, so that the peer never got them.
    #[must_use]
    pub fn pongs_dropped(&self) -> u64 {
        self.outgoing.pongs_dropped
    }
}

/// The event that was got last, which lives in what has come in.
#[inline]
fn lend(incoming: &Incoming, got: Got) -> Event<'_> {
    match got {
        Got::Text => Event::Text(incoming.text()),
        Got::Binary => Event::Binary(incoming.binary()),
        Got::Ping => Event::Ping(incoming.control()),
        Got::Pong => Event::Pong(incoming.control()),
        Got::Failed(violation) => Event::Failed(violation),
        Got::Close => match incoming.control() {
            [high, low, reason @ ..] => Event::Close {
                code: Some(u16::from_be_bytes([*high, *low])),
                // It was looked at when it came.
                reason: core::str::from_utf8(reason).unwrap_or_default(),
            },
            _ => Event::Close {
                code: None,
                reason: "",
            },
        },
    }
}

/// Whether a close may have that code: those that RFC 6455, section 7.4, and the registry that it founded name for the
/// wire, and those that applications give themselves.
const fn may_be_given(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}
