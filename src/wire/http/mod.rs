//! HTTP/1.1 heads and bodies (RFC 9110, RFC 9112), both sides.
//!
//! | file | side | what it does |
//! |---|---|---|
//! | [`request`] | server | requests with bodies of a known length, cut at any byte |
//! | [`response`] | client | response heads, and bodies in pieces: sized, chunked, until the end |
//! | [`mod@respond`] | server | responses into a bounded [`Output`](crate::wire::Output) |
//!
//! The grammar of a head is `httparse`'s. What is added here are the bounds, the cuts, the length of
//! the body (RFC 9112, section 6) and what a fault is answered with. A head is searched for its end
//! as it comes and parsed once it is whole, so that a sender of single bytes costs no more than one
//! of whole heads.
//!
//! | not here | why |
//! |---|---|
//! | requests with chunked bodies | refused with 411: whoever publishes to a line knows the length |
//! | folded headers, blanks before a colon | refused with 400, as RFC 9112 (5.1, 5.2) lets a server do: they smuggle requests |
//! | HTTP/2 | refused with 505, its preface as well |
//!
//! Invariant: a reader takes from its input what belongs to the head and the body that it reads, and
//! nothing behind them, so that what follows an upgrade is still there.

pub mod request;
pub mod respond;
pub mod response;

pub use request::{Request, RequestLimits, Requests};
pub use respond::{Content, NotSent, last_chunk, refuse, respond, write_chunk};
pub use response::{BodyLength, BodyReader, Response, ResponseFault, Responses};

use core::fmt;

use memchr::memchr;

use crate::base::Reason;

/// Most bytes of a head that names no bound: the 8 KiB that most servers allow, and as much again
/// for the long cookies and tokens of a browser behind a proxy.
pub const HEAD_BYTES_DEFAULT: usize = 16 << 10;

/// Most bytes of a request's target: the least that RFC 9112 (section 3) wants supported.
pub const TARGET_BYTES_MAX: usize = 8_000;

/// Most headers of one head: a browser behind two proxies sends about 30. They are parsed into a
/// table on the stack, 32 B each.
pub const HEADERS_MAX: usize = 64;

/// Most bytes of a body that names no bound: the largest value that a client may set.
pub const BODY_BYTES_DEFAULT: usize = 64 << 10;

/// Most empty lines before a request, which RFC 9112 (section 2.2) has a server pass over: old
/// clients send one behind a body.
pub const BLANK_LINES_MAX: u32 = 4;

const _: () = assert!(TARGET_BYTES_MAX + LINE_BYTES_EXTRA < HEAD_BYTES_DEFAULT);

/// Bytes of a request line beside its target: the longest method, two blanks, the version and the
/// line's end, with room to spare so that what is too long is the target.
const LINE_BYTES_EXTRA: usize = 64;

macro_rules! methods {
    ($($(#[$meta:meta])* $variant:ident = $text:literal),+ $(,)?) => {
        /// What a request asks for: the methods that anything here answers (RFC 9110, section 9).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Method { $($(#[$meta])* $variant),+ }

        impl Method {
            /// All of them.
            pub const ALL: &'static [Method] = &[$(Method::$variant),+];

            /// Its word, as requests write it.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Method::$variant => $text),+ }
            }

            /// The method of that word; case matters.
            #[must_use]
            pub fn of_word(word: &str) -> Option<Method> {
                Method::ALL.iter().copied().find(|method| method.word() == word)
            }
        }
    };
}

methods! {
    /// Give it.
    Get = "GET",
    /// Give only its head.
    Head = "HEAD",
    /// Do something with the body.
    Post = "POST",
    /// Put the body there.
    Put = "PUT",
    /// Change what is there by the body.
    Patch = "PATCH",
    /// Take away what is there.
    Delete = "DELETE",
    /// Say what may be asked for.
    Options = "OPTIONS",
}

/// A set of methods.
///
/// ```
/// use hopline::wire::http::{Method, Methods};
/// let read_only = Methods::of(&[Method::Get, Method::Head]);
/// assert!(!read_only.contains(Method::Post));
/// assert_eq!(read_only.to_string(), "GET, HEAD");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Methods(u8);

impl Methods {
    /// Every [`Method`].
    pub const ALL: Methods = Methods::of(Method::ALL);

    /// Those of the list.
    #[must_use]
    pub const fn of(list: &[Method]) -> Methods {
        const { assert!(Method::ALL.len() <= u8::BITS as usize) };
        let (mut bits, mut at) = (0, 0);
        while at < list.len() {
            bits |= 1 << list[at] as u8;
            at += 1;
        }
        Methods(bits)
    }

    /// Whether the method is one of them.
    #[must_use]
    pub const fn contains(self, method: Method) -> bool {
        self.0 & (1 << method as u8) != 0
    }
}

/// As the header `Allow` lists them.
impl fmt::Display for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        for method in Method::ALL {
            if self.contains(*method) {
                write!(f, "{between}{}", method.word())?;
                between = ", ";
            }
        }
        Ok(())
    }
}

crate::reasons! {
    /// Why a request was refused. The connection cannot be followed any further: answer with
    /// [`HttpFault::status`] and close it.
    pub enum HttpFault {
        /// The first line is no request line.
        BadLine = "bad_request_line",
        /// A header line is not `name: value`, or has a byte that none may have.
        BadHeader = "bad_header",
        /// No `Host` where one is needed, or more than one.
        BadHost = "bad_host",
        /// A `Content-Length` that is no number, or two that differ.
        BadLength = "bad_content_length",
        /// Both a length and a coding, by which requests are smuggled (RFC 9112, section 6.1).
        LengthAndCoding = "length_and_coding",
        /// A method that this resource does not allow.
        NotAllowed = "method_not_allowed",
        /// The body comes without saying how long it is.
        NoLength = "length_required",
        /// The body is longer than is allowed.
        BodyTooLong = "body_too_long",
        /// The target is longer than is allowed.
        TargetTooLong = "target_too_long",
        /// An expectation other than `100-continue`.
        BadExpectation = "bad_expectation",
        /// The head is longer than is allowed.
        HeadTooLong = "head_too_long",
        /// More headers than are allowed.
        TooManyHeaders = "too_many_headers",
        /// A method that nothing here knows.
        UnknownMethod = "unknown_method",
        /// A coding of the body that nothing here knows.
        UnknownCoding = "unknown_coding",
        /// A version of HTTP that is neither 1.0 nor 1.1.
        BadVersion = "unsupported_version",
    }
}

impl HttpFault {
    /// The status code to answer with.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            HttpFault::BadLine
            | HttpFault::BadHeader
            | HttpFault::BadHost
            | HttpFault::BadLength
            | HttpFault::LengthAndCoding => 400,
            HttpFault::NotAllowed => 405,
            HttpFault::NoLength => 411,
            HttpFault::BodyTooLong => 413,
            HttpFault::TargetTooLong => 414,
            HttpFault::BadExpectation => 417,
            HttpFault::HeadTooLong | HttpFault::TooManyHeaders => 431,
            HttpFault::UnknownMethod | HttpFault::UnknownCoding => 501,
            HttpFault::BadVersion => 505,
        }
    }

    /// What to do about it, for whoever sent the request.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            HttpFault::BadLine => "begin with METHOD TARGET HTTP/1.1",
            HttpFault::BadHeader => "write each header as name: value on a line of its own",
            HttpFault::BadHost => "send the header Host once",
            HttpFault::BadLength => "send Content-Length once, as a number of bytes",
            HttpFault::LengthAndCoding => "send Content-Length without Transfer-Encoding",
            HttpFault::NotAllowed => "use a method that the header Allow lists",
            HttpFault::NoLength => "send the body with a Content-Length",
            HttpFault::BodyTooLong => "send a shorter body",
            HttpFault::TargetTooLong => "send a shorter target",
            HttpFault::BadExpectation => "leave out Expect, or expect 100-continue",
            HttpFault::HeadTooLong => "send shorter headers",
            HttpFault::TooManyHeaders => "send fewer headers",
            HttpFault::UnknownMethod => "use GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS",
            HttpFault::UnknownCoding => "send the body with a Content-Length and no coding",
            HttpFault::BadVersion => "speak HTTP/1.1",
        }
    }
}

impl fmt::Display for HttpFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name().replace('_', " "), self.advice())
    }
}

impl core::error::Error for HttpFault {}

/// The versions of HTTP that are spoken here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0: connections end with the response unless they say otherwise.
    V10,
    /// HTTP/1.1: connections go on unless they say otherwise.
    V11,
}

impl Version {
    fn of_minor(minor: Option<u8>) -> Version {
        match minor {
            Some(0) => Version::V10,
            _ => Version::V11,
        }
    }
}

/// Where a header lies in its head.
#[derive(Clone, Copy, Debug)]
struct Place {
    name: (u32, u32),
    value: (u32, u32),
}

/// The headers of a head, in the order in which they came.
#[derive(Clone, Copy)]
pub struct Headers<'a> {
    head: &'a [u8],
    places: &'a [Place],
}

impl fmt::Debug for Headers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self
            .iter()
            .map(|(name, value)| (name, value.escape_ascii()));
        f.debug_map()
            .entries(shown.map(|(n, v)| (n, v.to_string())))
            .finish()
    }
}

impl<'a> Headers<'a> {
    /// All of them: name and value, without the blanks around the value.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.places.iter().map(move |place| {
            let name = &self.head[place.name.0 as usize..place.name.1 as usize];
            let value = &self.head[place.value.0 as usize..place.value.1 as usize];
            (core::str::from_utf8(name).unwrap_or_default(), value)
        })
    }

    /// The values of all headers of that name, whatever its case.
    pub fn all(self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.iter()
            .filter(move |(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// The value of the first header of that name, whatever its case.
    #[must_use]
    pub fn get(self, name: &str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    /// The value of the first header of that name, if it is text.
    #[must_use]
    pub fn text(self, name: &str) -> Option<&'a str> {
        core::str::from_utf8(self.get(name)?).ok()
    }

    /// The entries of all headers of that name, which are lists between commas (RFC 9110, 5.6.1).
    pub fn list(self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.all(name)
            .flat_map(|value| value.split(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|entry| !entry.is_empty())
    }

    /// Whether a list of that name has that word in it, whatever its case.
    #[must_use]
    pub fn has_word(self, name: &str, word: &str) -> bool {
        self.list(name)
            .any(|entry| entry.eq_ignore_ascii_case(word.as_bytes()))
    }

    /// How many there are.
    #[must_use]
    pub fn len(self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.places.is_empty()
    }

    /// Whether the connection goes on behind this message (RFC 9112, section 9.3).
    fn keep_alive(self, version: Version) -> bool {
        match version {
            Version::V11 => !self.has_word("connection", "close"),
            Version::V10 => {
                self.has_word("connection", "keep-alive") && !self.has_word("connection", "close")
            }
        }
    }

    /// The length that the headers give the body, if they do; `Err` where they contradict
    /// themselves, are no number, or are one of more than 64 bits.
    fn content_length(self) -> Result<Option<u64>, ()> {
        let mut length = None;
        for value in self.all("content-length") {
            for entry in value.split(|byte| *byte == b',') {
                let entry = entry.trim_ascii();
                if entry.is_empty() || !entry.iter().all(u8::is_ascii_digit) {
                    return Err(());
                }
                let digits = core::str::from_utf8(entry).map_err(|_| ())?;
                let next = digits.parse::<u64>().map_err(|_| ())?;
                if length.is_some_and(|length| length != next) {
                    return Err(());
                }
                length = Some(next);
            }
        }
        Ok(length)
    }
}

/// How far a head has been read.
#[derive(Debug, PartialEq, Eq)]
enum Progress {
    /// Its input is used up.
    Wanting,
    /// A line ended; it is the first one.
    FirstLine,
    /// The empty line behind the last header.
    Whole,
    /// It does not fit.
    TooLong,
}

/// Gathers a head from its pieces, and no byte behind it.
struct HeadBuffer {
    bytes: Vec<u8>,
    /// Where the line in hand begins.
    line: usize,
    max: usize,
    places: Vec<Place>,
}

impl HeadBuffer {
    fn new(max: usize) -> HeadBuffer {
        HeadBuffer {
            bytes: Vec::new(),
            line: 0,
            max,
            places: Vec::new(),
        }
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.places.clear();
        self.line = 0;
    }

    /// Takes lines from the input until something is to be said of them.
    fn take(&mut self, input: &mut &[u8]) -> Progress {
        while !input.is_empty() {
            let end = memchr(b'\n', input);
            let (line, rest) = input.split_at(end.map_or(input.len(), |at| at + 1));
            if line.len() > self.max - self.bytes.len() {
                return Progress::TooLong;
            }
            append(&mut self.bytes, line, self.max);
            *input = rest;
            if end.is_none() {
                break;
            }
            let first = self.line == 0;
            let blank = matches!(&self.bytes[self.line..], b"\n" | b"\r\n");
            self.line = self.bytes.len();
            if blank {
                return Progress::Whole;
            } else if first {
                return Progress::FirstLine;
            }
        }
        Progress::Wanting
    }

    fn headers(&self) -> Headers<'_> {
        Headers {
            head: &self.bytes,
            places: &self.places,
        }
    }
}

/// Appends, with a memory that doubles, up to `max` bytes.
fn append(bytes: &mut Vec<u8>, more: &[u8], max: usize) {
    let wanted = bytes.len() + more.len();
    if wanted > bytes.capacity() {
        let to = wanted.max((2 * bytes.capacity()).min(max));
        bytes.reserve_exact(to - bytes.len());
    }
    bytes.extend_from_slice(more);
}

/// Remembers where the headers lie in the head that they were parsed from.
fn remember(places: &mut Vec<Place>, head: &[u8], headers: &[httparse::Header<'_>]) {
    let start = head.as_ptr().addr();
    let of = |part: &[u8]| {
        // An empty value may be a slice that lies elsewhere.
        let from = part.as_ptr().addr().wrapping_sub(start);
        if part.is_empty() || from > head.len() {
            (0, 0)
        } else {
            (from as u32, (from + part.len()) as u32)
        }
    };
    places.clear();
    places.extend(headers.iter().map(|header| Place {
        name: of(header.name.as_bytes()),
        value: of(header.value),
    }));
}
