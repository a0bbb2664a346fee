//! Responses as they come to a client, in any cuts: heads, and bodies in pieces.
//!
//! Invariant: a head comes out whole however it was cut; a body's pieces lie in the input and are
//! never gathered, so that a stream without an end takes no memory.

use core::fmt;

use super::{
    HEAD_BYTES_DEFAULT, HEADERS_MAX, HeadBuffer, Headers, Method, Progress, Version, remember,
};
use crate::base::Reason;

/// Most bytes of the line before a chunk: 16 digits of its size, and as much as anybody writes of
/// extensions, which nobody does.
pub const CHUNK_LINE_BYTES_MAX: usize = 256;

/// Most bytes of the trailers behind a chunked body, which are passed over.
pub const TRAILER_BYTES_MAX: usize = HEAD_BYTES_DEFAULT;

crate::reasons! {
    /// Why a response cannot be followed any further.
    pub enum ResponseFault {
        /// The first line is no status line of HTTP/1.
        BadLine = "bad_status_line",
        /// A header line is not `name: value`.
        BadHeader = "bad_header",
        /// The head is longer than is allowed.
        HeadTooLong = "head_too_long",
        /// More headers than are allowed.
        TooManyHeaders = "too_many_headers",
        /// A `Content-Length` that is no number, or two that differ.
        BadLength = "bad_content_length",
        /// A coding of the body that nothing here knows.
        UnknownCoding = "unknown_coding",
        /// A chunk without a size, or without its end.
        BadChunk = "bad_chunk",
        /// The connection ended inside the head or the body.
        Truncated = "truncated",
    }
}

impl fmt::Display for ResponseFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the response is not HTTP/1.1 as a client can follow it: {}",
            self.name()
        )
    }
}

impl core::error::Error for ResponseFault {}

/// The head of a response. It lives until the reader is asked for the next one.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    /// The status code, 100 to 999.
    pub status: u16,
    /// The version of HTTP that the server speaks.
    pub version: Version,
    /// The headers.
    pub headers: Headers<'a>,
}

impl Response<'_> {
    /// How the end of the body is told, for a response to `method` (RFC 9112, section 6.3).
    ///
    /// # Errors
    /// The headers contradict themselves, or name a coding that is not known.
    pub fn body_length(&self, method: Method) -> Result<BodyLength, ResponseFault> {
        if method == Method::Head || matches!(self.status, 100..=199 | 204 | 304) {
            return Ok(BodyLength::Sized(0));
        }
        if let Some(coding) = self.headers.get("transfer-encoding") {
            return match coding.eq_ignore_ascii_case(b"chunked") {
                true => Ok(BodyLength::Chunked),
                false => Err(ResponseFault::UnknownCoding),
            };
        }
        match self.headers.content_length() {
            Ok(Some(length)) => Ok(BodyLength::Sized(length)),
            Ok(None) => Ok(BodyLength::UntilClose),
            Err(()) => Err(ResponseFault::BadLength),
        }
    }

    /// Whether the connection goes on behind the body.
    #[must_use]
    pub fn keep_alive(&self) -> bool {
        self.headers.keep_alive(self.version)
    }

    /// The seconds of the header `Retry-After`, if it is a number (RFC 9110, section 10.2.3).
    #[must_use]
    pub fn retry_after_s(&self) -> Option<u64> {
        let text = self.headers.text("retry-after")?;
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|_| digits)
    }
}

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// By its length in bytes.
    Sized(u64),
    /// By a last chunk.
    Chunked,
    /// By the end of the connection.
    UntilClose,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Reading,
    Given,
    Failed(ResponseFault),
}

/// Reads the heads of one connection's responses.
///
/// ```
/// use hopline::wire::http::{BodyLength, BodyReader, Method, Responses};
/// let mut responses = Responses::new(16 << 10);
/// let mut piece: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntickHTTP";
/// let head = responses.poll(&mut piece).unwrap().unwrap();
/// assert_eq!(head.status, 200);
/// let mut body = BodyReader::new(head.body_length(Method::Get).unwrap());
/// assert_eq!(body.poll(&mut piece), Ok(Some(&b"tick"[..])));
/// assert!(body.is_done());
/// assert_eq!(piece, b"HTTP");
/// ```
pub struct Responses {
    head: HeadBuffer,
    state: State,
}

impl fmt::Debug for Responses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responses")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl Responses {
    /// A reader at the beginning of a connection, for heads of at most `head_bytes_max` bytes.
    #[must_use]
    pub fn new(head_bytes_max: usize) -> Responses {
        Responses {
            head: HeadBuffer::new(head_bytes_max),
            state: State::Reading,
        }
    }

    /// Takes from `input` what belongs to the head in hand, and gives the head once it is whole;
    /// `None` once all of the input is taken and more is needed. Heads that only say that another
    /// is to come (1xx, but for 101) are passed over.
    ///
    /// # Errors
    /// The head cannot be understood. Nothing more is taken, and each further call says the same.
    pub fn poll(&mut self, input: &mut &[u8]) -> Result<Option<Response<'_>>, ResponseFault> {
        if self.state == State::Given {
            self.head.clear();
            self.state = State::Reading;
        }
        match self.advance(input) {
            Ok(None) => Ok(None),
            Ok(Some((status, version))) => {
                self.state = State::Given;
                Ok(Some(Response {
                    status,
                    version,
                    headers: self.head.headers(),
                }))
            }
            Err(fault) => {
                self.state = State::Failed(fault);
                Err(fault)
            }
        }
    }

    /// Whether a head has begun and is not whole: a connection that ends here ends inside it.
    #[must_use]
    pub fn is_inside(&self) -> bool {
        self.state == State::Reading && !self.head.bytes.is_empty()
    }

    /// Bytes of memory that it holds now: never more than twice its limit and the table of headers.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.head.bytes.capacity()
    }

    fn advance(&mut self, input: &mut &[u8]) -> Result<Option<(u16, Version)>, ResponseFault> {
        if let State::Failed(fault) = self.state {
            return Err(fault);
        }
        loop {
            match self.head.take(input) {
                Progress::TooLong if !self.begins(input) => return Err(ResponseFault::BadLine),
                Progress::TooLong => return Err(ResponseFault::HeadTooLong),
                Progress::Wanting if !self.begins(input) => return Err(ResponseFault::BadLine),
                Progress::Wanting => return Ok(None),
                Progress::FirstLine => {
                    let mut parsed = httparse::Response::new(&mut []);
                    let parsed = parsed.parse(&self.head.bytes);
                    parsed.map_err(|_| ResponseFault::BadLine)?;
                }
                Progress::Whole => {
                    let head = self.parse()?;
                    if head.0 >= 200 || head.0 == 101 {
                        return Ok(Some(head));
                    }
                    self.head.clear();
                }
            }
        }
    }

    /// Whether what has come, with what comes next, begins as a response, so that a peer that speaks
    /// another protocol is known at once.
    fn begins(&self, next: &[u8]) -> bool {
        let come = self.head.bytes.iter().chain(next);
        come.zip(b"HTTP/1.")
            .all(|(byte, expected)| byte == expected)
    }

    fn parse(&mut self) -> Result<(u16, Version), ResponseFault> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut parsed = httparse::Response::new(&mut headers);
        let bytes = self.head.bytes.as_slice();
        match parsed.parse(bytes) {
            Ok(httparse::Status::Complete(len)) if len == bytes.len() => {}
            Ok(_) if self.head.bytes.len() <= 2 => return Err(ResponseFault::BadLine),
            Ok(_) => return Err(ResponseFault::BadHeader),
            Err(httparse::Error::TooManyHeaders) => return Err(ResponseFault::TooManyHeaders),
            Err(_) => return Err(ResponseFault::BadHeader),
        }
        let status = parsed.code.filter(|code| *code >= 100);
        let status = status.ok_or(ResponseFault::BadLine)?;
        let version = Version::of_minor(parsed.version);
        remember(&mut self.head.places, bytes, parsed.headers);
        Ok((status, version))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// So many bytes of the body, or of a chunk.
    Bytes(u64),
    /// The line before a chunk: its size so far, its digits, and its bytes.
    Size {
        size: u64,
        digits: u8,
        bytes: u16,
        extension: bool,
    },
    /// The end of a chunk's line: its `\r` has come if so said.
    End {
        cr: bool,
    },
    /// Trailers: how long the line in hand is, and all of them.
    Trailers {
        line: u32,
        bytes: u32,
    },
    Done,
    Failed(ResponseFault),
}

/// Gives a body's pieces as they come.
#[derive(Clone, Debug)]
pub struct BodyReader {
    length: BodyLength,
    part: Part,
}

const NEXT_CHUNK: Part = Part::Size {
    size: 0,
    digits: 0,
    bytes: 0,
    extension: false,
};

impl BodyReader {
    /// A reader at the beginning of a body.
    #[must_use]
    pub fn new(length: BodyLength) -> BodyReader {
        let part = match length {
            BodyLength::Sized(0) => Part::Done,
            BodyLength::Sized(bytes) => Part::Bytes(bytes),
            BodyLength::Chunked => NEXT_CHUNK,
            BodyLength::UntilClose => Part::Bytes(u64::MAX),
        };
        BodyReader { length, part }
    }

    /// The next piece of the body, where it lies in `input`, which is taken as far as the piece
    /// goes; `None` once all of the input is taken, or the body is done.
    ///
    /// # Errors
    /// A chunk is none. Nothing more is taken, and each further call says the same.
    pub fn poll<'i>(&mut self, input: &mut &'i [u8]) -> Result<Option<&'i [u8]>, ResponseFault> {
        while let Some(first) = input.first().copied() {
            match self.part {
                Part::Done => return Ok(None),
                Part::Failed(fault) => return Err(fault),
                Part::Bytes(left) => {
                    let len = input.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    let (piece, rest) = input.split_at(len);
                    *input = rest;
                    self.part = match (self.length, left - len as u64) {
                        (BodyLength::UntilClose, _) => Part::Bytes(u64::MAX),
                        (BodyLength::Chunked, 0) => Part::End { cr: false },
                        (BodyLength::Sized(_), 0) => Part::Done,
                        (_, left) => Part::Bytes(left),
                    };
                    return Ok(Some(piece));
                }
                _ => {
                    self.part = self.framing(first).inspect_err(|fault| {
                        self.part = Part::Failed(*fault);
                    })?;
                    *input = &input[1..];
                }
            }
        }
        match self.part {
            Part::Failed(fault) => Err(fault),
            _ => Ok(None),
        }
    }

    /// Whether all of the body has come.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.part == Part::Done
    }

    /// The connection has ended: so has a body that ends with it.
    ///
    /// # Errors
    /// The body was not whole.
    pub fn finish(&mut self) -> Result<(), ResponseFault> {
        match (self.length, self.part) {
            (_, Part::Failed(fault)) => Err(fault),
            (BodyLength::UntilClose, _) | (_, Part::Done) => {
                self.part = Part::Done;
                Ok(())
            }
            _ => Err(ResponseFault::Truncated),
        }
    }

    /// One byte of what stands between the chunks.
    fn framing(&self, byte: u8) -> Result<Part, ResponseFault> {
        let bad = Err(ResponseFault::BadChunk);
        match self.part {
            Part::Size {
                size,
                digits,
                bytes,
                extension,
            } => {
                let bytes = bytes + 1;
                match (char::from(byte).to_digit(16), byte) {
                    (_, b'\n') if digits == 0 => bad,
                    (_, b'\n') if size == 0 => Ok(Part::Trailers { line: 0, bytes: 0 }),
                    (_, b'\n') => Ok(Part::Bytes(size)),
                    _ if usize::from(bytes) >= CHUNK_LINE_BYTES_MAX => bad,
                    (Some(digit), _) if !extension => match digits {
                        16.. => bad,
                        _ => Ok(Part::Size {
                            size: size << 4 | u64::from(digit),
                            digits: digits + 1,
                            bytes,
                            extension,
                        }),
                    },
                    (_, b';' | b' ' | b'\t' | b'\r') if digits > 0 => Ok(Part::Size {
                        size,
                        digits,
                        bytes,
                        extension: true,
                    }),
                    _ if extension => Ok(Part::Size {
                        size,
                        digits,
                        bytes,
                        extension,
                    }),
                    _ => bad,
                }
            }
            Part::End { cr } => match byte {
                b'\r' if !cr => Ok(Part::End { cr: true }),
                b'\n' => Ok(NEXT_CHUNK),
                _ => bad,
            },
            Part::Trailers { line, bytes } => match byte {
                b'\n' if line == 0 => Ok(Part::Done),
                _ if bytes as usize >= TRAILER_BYTES_MAX => bad,
                b'\n' => Ok(Part::Trailers {
                    line: 0,
                    bytes: bytes + 1,
                }),
                b'\r' => Ok(Part::Trailers {
                    line,
                    bytes: bytes + 1,
                }),
                _ => Ok(Part::Trailers {
                    line: line + 1,
                    bytes: bytes + 1,
                }),
            },
            part => Ok(part),
        }
    }
}
