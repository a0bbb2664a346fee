//! WebSocket connections (RFC 6455), both sides, without their sockets.
//!
//! | file | what it does |
//! |---|---|
//! | [`handshake`] | the opening handshake: a request is an offer, or it is refused with a status |
//! | [`encoded`] | a message encoded once, for all clients of a fan-out |
//! | [`client`] | a client that stays connected: handshake, frames and [`Session`](crate::wire::Session) in one |
//! | [`progress`] | how far the message has come that is not whole yet, for whoever counts what was cut off |
//! | [`url`] | where a `ws://` leads |
//! | here | an open connection: bytes in, messages out, bytes out into a bounded output |
//!
//! The frames are tungstenite's, which passes Autobahn's suite: it is driven here over memory instead
//! of a socket. It takes a piece of input at a time and writes into an [`Output`].
//!
//! | what may grow | its bound |
//! |---|---|
//! | a message that comes in pieces or fragments | [`Limits::message_bytes_max`], closed with 1009 beyond |
//! | bytes that came and are not decoded | [`READ_BYTES`] and a frame of the longest message |
//! | bytes that wait for the socket | [`Limits::output_bytes_max`], then [`Full`]; and a close frame |
//! | pongs to a peer that does not read | dropped where they find no room, counted: only the last one matters (section 5.5.3) |
//!
//! All memory of a connection is within [`Limits::memory_bytes`]. Messages may allocate within it; a
//! message that came in one frame does not, once the buffers have grown.
//!
//! No extension is spoken, so there is no compression. Masks of a client are drawn from the system's
//! randomness by tungstenite: its bytes differ from run to run, what they mean does not.
//!
//! Invariant: after [`Event::Close`] or [`Event::Failed`] no message comes out, and nothing but a
//! close frame goes in; every byte of the input was taken, or stands behind the end.

pub mod client;
pub mod encoded;
pub mod handshake;
pub mod progress;
pub mod url;

pub use client::{Client, ClientConfig, ClientEvent};
pub use encoded::Encoded;
pub use handshake::{AnswerFault, NONCE_BYTES, Offer, OfferFault, Opening};
pub use progress::Progress;
pub use url::{Url, UrlFault};

use core::fmt;
use std::io::{self, Read, Write};

use tungstenite::error::{CapacityError, Error, ProtocolError};
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};
use tungstenite::protocol::{
    CloseFrame, Role as TungsteniteRole, WebSocketConfig, WebSocketContext,
};
use tungstenite::{Message, Utf8Bytes};

use crate::base::Reason;
use crate::wire::{Full, Output};

/// Bytes that are taken from the input at a time: each read zeroes that much of the buffer before it
/// is filled, so tungstenite's own 128 KiB halve its throughput.
pub const READ_BYTES: usize = 8 << 10;

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

/// Longest header of a frame: two bytes, eight of length, four of mask.
pub const HEADER_BYTES_MAX: usize = 14;

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
    /// larger place and is there twice.
    ///
    /// The input buffer doubles as long as it is less than two reads and three frames (a frame's
    /// length is reserved again though its bytes may be there), so it comes to twice that at the
    /// most, and the one before is half of it. Fragments are joined in a buffer that doubles. The
    /// output closes up at twice its bound, and a frame passes through a buffer on its way there.
    #[must_use]
    pub const fn memory_bytes(self) -> usize {
        let frame = self.message_bytes_max + HEADER_BYTES_MAX;
        let input = 3 * (2 * (READ_BYTES + frame) + frame);
        input + 3 * self.message_bytes_max + 4 * (self.output_bytes_max + CLOSE_BYTES)
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
        /// A close with half a code.
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
        /// Its code, if it gave one that may be given.
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

/// The memory that stands in for a socket: a piece of input, and the output.
struct Pipe<'p, 'i> {
    input: &'p mut &'i [u8],
    ended: bool,
    output: &'p mut Output,
    pongs_dropped: &'p mut u64,
}

impl Read for Pipe<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() && !self.ended {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = buffer.len().min(self.input.len());
        let (piece, rest) = self.input.split_at(count);
        buffer[..count].copy_from_slice(piece);
        *self.input = rest;
        Ok(count)
    }
}

impl Write for Pipe<'_, '_> {
    /// Takes a whole frame, as tungstenite writes them with a write buffer of zero. Data has been
    /// given its room before; for a close there always is one.
    fn write(&mut self, frame: &[u8]) -> io::Result<usize> {
        const PONG: u8 = 0x8a;
        if frame.first() == Some(&PONG) && frame.len() + CLOSE_BYTES > self.output.room() {
            *self.pongs_dropped += 1;
        } else {
            self.output.push(frame).map_err(io::Error::other)?;
        }
        Ok(frame.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What was got, apart from its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Got {
    Data,
    Ping,
    Pong,
    Close,
    Failed(Violation),
}

impl Got {
    fn of(message: &Message) -> Got {
        match message {
            Message::Text(_) | Message::Binary(_) | Message::Frame(_) => Got::Data,
            Message::Ping(_) => Got::Ping,
            Message::Pong(_) => Got::Pong,
            Message::Close(_) => Got::Close,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Both may send.
    Open,
    /// A close was sent, and the peer's is awaited.
    Closing,
    /// Both have closed, or the connection was failed.
    Over,
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
    role: Role,
    context: WebSocketContext,
    output: Output,
    state: State,
    /// What was handed out last: kept so that it could be lent, let go before the next is read.
    message: Option<Message>,
    pongs_dropped: u64,
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket")
            .field("role", &self.role)
            .field("state", &self.state)
            .field("output", &self.output)
            .finish_non_exhaustive()
    }
}

impl WebSocket {
    /// A connection behind its opening handshake. Allocates its input buffer.
    #[must_use]
    pub fn new(role: Role, limits: Limits) -> WebSocket {
        let role_there = match role {
            Role::Client => TungsteniteRole::Client,
            Role::Server => TungsteniteRole::Server,
        };
        // A frame passes through tungstenite's own buffer on its way to the output, alone: so that
        // buffer's bound is a frame that the output has room for.
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BYTES)
            .write_buffer_size(0)
            .max_write_buffer_size(limits.output_bytes_max + CLOSE_BYTES)
            .max_message_size(Some(limits.message_bytes_max))
            .max_frame_size(Some(limits.message_bytes_max.max(CONTROL_BYTES_MAX)));
        WebSocket {
            role,
            context: WebSocketContext::new(role_there, Some(config)),
            output: Output::new(limits.output_bytes_max + CLOSE_BYTES),
            state: State::Open,
            message: None,
            pongs_dropped: 0,
        }
    }

    /// Takes from `input` and gives the next event; `None` once all of it is taken and more is
    /// needed, or the connection is over, behind which input is left where it is. Messages may be
    /// decoded from bytes that were taken before: ask until there is none.
    pub fn poll(&mut self, input: &mut &[u8]) -> Option<Event<'_>> {
        let got = self.advance(input, false)?;
        Some(self.lend(got))
    }

    /// The peer's half of the connection has ended. Without a close before, that is
    /// [`Violation::CutOff`]; what is left of what came before comes first, so ask until there is
    /// none.
    pub fn end(&mut self) -> Option<Event<'_>> {
        let mut nothing: &[u8] = &[];
        let got = self.advance(&mut nothing, true)?;
        Some(self.lend(got))
    }

    fn advance(&mut self, input: &mut &[u8], ended: bool) -> Option<Got> {
        // Let go first: the bytes below it can then be used again.
        self.message = None;
        if self.state == State::Over {
            return None;
        }
        let (context, mut pipe) = self.split(input, ended);
        match context.read(&mut pipe) {
            Ok(message) => {
                let got = Got::of(&message);
                if matches!(got, Got::Ping | Got::Close) {
                    // The answer, if this is no answer itself, goes into the output at once.
                    self.on_nothing(|context, pipe| context.flush(pipe));
                }
                if got == Got::Close {
                    self.state = State::Over;
                }
                self.message = Some(message);
                Some(got)
            }
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(Error::ConnectionClosed | Error::AlreadyClosed) => {
                self.state = State::Over;
                None
            }
            Err(error) => {
                let violation = violation(&error);
                self.fail(violation);
                Some(Got::Failed(violation))
            }
        }
    }

    /// The event that was got last.
    fn lend(&self, got: Got) -> Event<'_> {
        match (got, &self.message) {
            (Got::Failed(violation), _) => Event::Failed(violation),
            (_, Some(Message::Text(text))) => Event::Text(text),
            (_, Some(Message::Binary(bytes))) => Event::Binary(bytes),
            (_, Some(Message::Ping(bytes))) => Event::Ping(bytes),
            (_, Some(Message::Pong(bytes))) => Event::Pong(bytes),
            (_, Some(Message::Close(Some(frame)))) => Event::Close {
                code: Some(frame.code.into()),
                reason: &frame.reason,
            },
            // Whole messages are read, no frames.
            (_, Some(Message::Close(None) | Message::Frame(_)) | None) => Event::Close {
                code: None,
                reason: "",
            },
        }
    }

    /// Ends the connection for what the peer did, and tells it so, if it can still be told.
    fn fail(&mut self, violation: Violation) {
        if self.state == State::Open && violation != Violation::CutOff {
            self.send_close(violation.code(), violation.name());
        }
        self.state = State::Over;
    }

    fn split<'p, 'i>(
        &'p mut self,
        input: &'p mut &'i [u8],
        ended: bool,
    ) -> (&'p mut WebSocketContext, Pipe<'p, 'i>) {
        let pipe = Pipe {
            input,
            ended,
            output: &mut self.output,
            pongs_dropped: &mut self.pongs_dropped,
        };
        (&mut self.context, pipe)
    }

    /// Lets tungstenite write, with nothing to read. It has no reason to fail then but that the
    /// closing handshake is done, which it says as an error.
    fn on_nothing(
        &mut self,
        write: impl FnOnce(&mut WebSocketContext, &mut Pipe<'_, '_>) -> Result<(), Error>,
    ) -> bool {
        let mut nothing: &[u8] = &[];
        let (context, mut pipe) = self.split(&mut nothing, false);
        write(context, &mut pipe).is_ok()
    }

    /// Sends a text.
    ///
    /// # Errors
    /// There is no room for it, or the connection is closing; nothing was sent.
    pub fn send_text(&mut self, text: &str) -> Result<(), SendError> {
        self.admit(text.len())?;
        match self.role {
            Role::Server => self.push(OpCode::Data(Data::Text), text.as_bytes()),
            Role::Client => self.write(Message::Text(Utf8Bytes::from(text))),
        }
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// There is no room for them, or the connection is closing; nothing was sent.
    pub fn send_binary(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        self.admit(bytes.len())?;
        match self.role {
            Role::Server => self.push(OpCode::Data(Data::Binary), bytes),
            Role::Client => self.write(Message::Binary(bytes::Bytes::copy_from_slice(bytes))),
        }
    }

    /// Sends a message that was encoded before, for many.
    ///
    /// # Errors
    /// There is no room for it, or the connection is closing; nothing was sent.
    ///
    /// # Panics
    /// This is a client, which must mask each message anew: a defect of the caller.
    pub fn send_encoded(&mut self, encoded: &Encoded) -> Result<(), SendError> {
        assert!(
            self.role == Role::Server,
            "a client masks each message anew"
        );
        self.admit_bytes(encoded.bytes().len())?;
        Ok(self.output.push(encoded.bytes())?)
    }

    /// Asks for a sign of life, with bytes that come back with it.
    ///
    /// # Errors
    /// `bytes` are too many, there is no room, or the connection is closing; nothing was sent.
    pub fn send_ping(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        if bytes.len() > CONTROL_BYTES_MAX {
            return Err(SendError::TooLong);
        }
        self.admit(bytes.len())?;
        match self.role {
            Role::Server => self.push(OpCode::Control(Control::Ping), bytes),
            Role::Client => self.write(Message::Ping(bytes::Bytes::copy_from_slice(bytes))),
        }
    }

    /// Closes the connection: the peer will answer, and [`Event::Close`] says so. Messages that are
    /// on their way still come. A reason is for people; what is too long of it is cut. Does nothing
    /// if the connection is closing already.
    pub fn close(&mut self, code: u16, reason: &str) {
        if self.state == State::Open {
            self.send_close(code, reason);
            self.state = State::Closing;
        }
    }

    fn send_close(&mut self, code: u16, reason: &str) {
        let mut len = reason.len().min(REASON_BYTES_MAX);
        while !reason.is_char_boundary(len) {
            len -= 1;
        }
        let frame = CloseFrame {
            code: CloseCode::from(code),
            reason: Utf8Bytes::from(&reason[..len]),
        };
        // There is room in the output for this one close: see CLOSE_BYTES.
        self.on_nothing(|context, pipe| context.close(pipe, Some(frame)));
    }

    /// Whether messages may be sent.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Whether nothing more comes in or goes out, but for what waits in the output: once that has
    /// left, end the connection. A server does so at once, a client once the server has, or after a
    /// time (RFC 6455, section 7.1.1).
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// What is to be written to the socket next, all of it: one write for all that was sent since.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        self.output.pending()
    }

    /// The first `count` bytes of the [output](WebSocket::output) have left.
    pub fn written(&mut self, count: usize) {
        self.output.written(count);
    }

    /// Longest message that there is room for now, in bytes.
    #[must_use]
    pub fn room(&self) -> usize {
        self.output
            .room()
            .saturating_sub(CLOSE_BYTES + HEADER_BYTES_MAX)
    }

    /// Pongs that found no room in the output, so that the peer never got them.
    #[must_use]
    pub fn pongs_dropped(&self) -> u64 {
        self.pongs_dropped
    }

    /// Whether a message of that payload may be sent now.
    fn admit(&self, payload: usize) -> Result<(), SendError> {
        let mask = if self.role == Role::Client { 4 } else { 0 };
        self.admit_bytes(encoded::header_bytes(payload) + mask + payload)
    }

    fn admit_bytes(&self, needed: usize) -> Result<(), SendError> {
        if self.state != State::Open {
            return Err(SendError::Closing);
        }
        let room = self.output.room().saturating_sub(CLOSE_BYTES);
        match needed <= room {
            true => Ok(()),
            false => Err(SendError::Full(Full { needed, room })),
        }
    }

    /// A frame of a server, which needs no mask: straight into the output.
    fn push(&mut self, kind: OpCode, payload: &[u8]) -> Result<(), SendError> {
        let needed = encoded::header_bytes(payload.len()) + payload.len();
        encoded::append(self.output.reserve(needed)?, kind, payload);
        Ok(())
    }

    /// A frame of a client, which tungstenite masks; there is room for it.
    fn write(&mut self, message: Message) -> Result<(), SendError> {
        match self.on_nothing(|context, pipe| context.write(pipe, message)) {
            true => Ok(()),
            false => Err(SendError::Closing),
        }
    }
}

/// What of the peer's doing the error stands for.
fn violation(error: &Error) -> Violation {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { .. }) => Violation::TooLong,
        Error::Utf8(_) => Violation::NotUtf8,
        Error::Protocol(error) => match error {
            ProtocolError::UnmaskedFrameFromClient => Violation::Unmasked,
            ProtocolError::MaskedFrameFromServer => Violation::Masked,
            ProtocolError::NonZeroReservedBits => Violation::ReservedBits,
            ProtocolError::InvalidOpcode(_)
            | ProtocolError::UnknownControlFrameType(_)
            | ProtocolError::UnknownDataFrameType(_) => Violation::BadOpcode,
            ProtocolError::FragmentedControlFrame => Violation::FragmentedControl,
            ProtocolError::ControlFrameTooBig => Violation::ControlTooLong,
            ProtocolError::UnexpectedContinueFrame | ProtocolError::ExpectedFragment(_) => {
                Violation::BadFragment
            }
            ProtocolError::ResetWithoutClosingHandshake => Violation::CutOff,
            _ => Violation::BadClose,
        },
        _ => Violation::CutOff,
    }
}
