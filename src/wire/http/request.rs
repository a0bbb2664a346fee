//! Requests as they come to a server, in any cuts.
//!
//! Invariant: a request comes out whole and as it was sent however it was cut, or the reader says
//! why it cannot go on and stays there: behind a request that is not understood there is no next.

use super::{
    BLANK_LINES_MAX, BODY_BYTES_DEFAULT, HEAD_BYTES_DEFAULT, HEADERS_MAX, HeadBuffer, Headers,
    HttpFault, LINE_BYTES_EXTRA, Method, Methods, Progress, TARGET_BYTES_MAX, Version, append,
    remember,
};

/// What a request may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// Most bytes of the head: request line, headers and the empty line.
    pub head_bytes_max: usize,
    /// Most bytes of the body.
    pub body_bytes_max: usize,
    /// The methods that are answered.
    pub methods: Methods,
}

impl Default for RequestLimits {
    fn default() -> RequestLimits {
        RequestLimits {
            head_bytes_max: HEAD_BYTES_DEFAULT,
            body_bytes_max: BODY_BYTES_DEFAULT,
            methods: Methods::ALL,
        }
    }
}

/// A request, whole. It lives until the reader is asked for the next one.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// What is asked for.
    pub method: Method,
    /// Of what, as it was sent: a path with its query, an address with a scheme, or `*`.
    pub target: &'a str,
    /// The version of HTTP that the client speaks.
    pub version: Version,
    /// The headers.
    pub headers: Headers<'a>,
    /// The body; empty if there is none.
    pub body: &'a [u8],
}

impl<'a> Request<'a> {
    /// The target's path, without scheme, host and query, and not decoded; `/` if it has none.
    #[must_use]
    pub fn path(&self) -> &'a str {
        let path = self.path_and_query().split(['?', '#']).next();
        match path {
            None | Some("") => "/",
            Some(path) => path,
        }
    }

    /// What stands behind the path's `?`, not decoded; empty if there is none.
    #[must_use]
    pub fn query(&self) -> &'a str {
        let query = self.path_and_query().split_once('?');
        let query = query.map_or("", |(_, query)| query);
        query.split('#').next().unwrap_or_default()
    }

    /// The value of that key in the query, not decoded; `""` for a key without a value.
    #[must_use]
    pub fn query_value(&self, key: &str) -> Option<&'a str> {
        let mut pairs = self
            .query()
            .split('&')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs
            .find(|(name, _)| !name.is_empty() && *name == key)
            .map(|(_, value)| value)
    }

    /// The target without the scheme and host of its absolute form (RFC 9112, section 3.2.2).
    fn path_and_query(&self) -> &'a str {
        let after = self.target.split_once("://").filter(|(scheme, _)| {
            !scheme.is_empty()
                && scheme
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
        });
        match after {
            None => self.target,
            Some((_, rest)) => {
                let from = rest.find(['/', '?', '#']).unwrap_or(rest.len());
                &rest[from..]
            }
        }
    }

    /// Whether the client wants the connection to go on behind the response.
    #[must_use]
    pub fn keep_alive(&self) -> bool {
        self.headers.keep_alive(self.version)
    }

    /// Whether the client asks to speak that protocol from here on (RFC 9110, section 7.8).
    #[must_use]
    pub fn wants_upgrade(&self, protocol: &str) -> bool {
        self.version == Version::V11
            && self.headers.has_word("connection", "upgrade")
            && self.headers.has_word("upgrade", protocol)
    }
}

/// What of a head is kept beside its bytes.
#[derive(Clone, Copy, Debug)]
struct Line {
    method: Method,
    target: (u32, u32),
    version: Version,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Lines of the head come.
    Head { blank_lines: u32 },
    /// The head is whole; so many bytes of the body are still to come.
    Body { line: Line, left: usize },
    /// It was handed out.
    Given,
    /// It cannot be understood.
    Failed(HttpFault),
}

/// Reads the requests of one connection.
///
/// ```
/// use hopline::wire::http::{Method, RequestLimits, Requests};
/// let mut requests = Requests::new(RequestLimits::default());
/// let mut piece: &[u8] = b"PUT /state/a HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nti";
/// assert!(requests.poll(&mut piece).unwrap().is_none());
/// let mut piece: &[u8] = b"ckGET / HT";
/// let request = requests.poll(&mut piece).unwrap().unwrap();
/// assert_eq!((request.method, request.path()), (Method::Put, "/state/a"));
/// assert_eq!((request.headers.text("HOST"), request.body), (Some("h"), &b"tick"[..]));
/// assert_eq!(piece, b"GET / HT"); // of the next one
/// ```
pub struct Requests {
    limits: RequestLimits,
    head: HeadBuffer,
    body: Vec<u8>,
    state: State,
    continue_due: bool,
}

impl core::fmt::Debug for Requests {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Requests")
            .field("limits", &self.limits)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl Requests {
    /// A reader at the beginning of a connection. Memory is taken as a head or a body comes, up to
    /// the limits, and kept for the next one.
    #[must_use]
    pub fn new(limits: RequestLimits) -> Requests {
        Requests {
            limits,
            head: HeadBuffer::new(limits.head_bytes_max),
            body: Vec::new(),
            state: State::Head { blank_lines: 0 },
            continue_due: false,
        }
    }

    /// Takes from `input` what belongs to the request in hand, and gives the request once it is
    /// whole; `None` once all of the input is taken and more is needed.
    ///
    /// # Errors
    /// The request is refused. Nothing more is taken, and each further call says the same.
    pub fn poll(&mut self, input: &mut &[u8]) -> Result<Option<Request<'_>>, HttpFault> {
        if let State::Given = self.state {
            self.head.clear();
            self.body.clear();
            self.state = State::Head { blank_lines: 0 };
        }
        if let Err(fault) = self.advance(input) {
            self.state = State::Failed(fault);
            return Err(fault);
        }
        let State::Body { line, left: 0 } = self.state else {
            return Ok(None);
        };
        self.state = State::Given;
        self.continue_due = false;
        let target = &self.head.bytes[line.target.0 as usize..line.target.1 as usize];
        Ok(Some(Request {
            method: line.method,
            target: core::str::from_utf8(target).unwrap_or_default(),
            version: line.version,
            headers: self.head.headers(),
            body: &self.body,
        }))
    }

    /// Whether the client waits for `100 Continue` before it sends the body; true once for a
    /// request. Answer with [`CONTINUE`](super::respond::CONTINUE), or refuse it.
    #[must_use]
    pub fn take_continue(&mut self) -> bool {
        core::mem::take(&mut self.continue_due)
    }

    /// Whether a request has begun and is not whole: a connection that ends here ends inside it.
    #[must_use]
    pub fn is_inside(&self) -> bool {
        match self.state {
            State::Head { .. } => !self.head.bytes.is_empty(),
            State::Body { .. } => true,
            State::Given | State::Failed(_) => false,
        }
    }

    /// The methods that are answered, for the header `Allow` of a refusal.
    #[must_use]
    pub fn methods(&self) -> Methods {
        self.limits.methods
    }

    /// Bytes of memory that it holds now: never more than twice its limits and the table of headers.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.head.bytes.capacity() + self.body.capacity()
    }

    fn advance(&mut self, input: &mut &[u8]) -> Result<(), HttpFault> {
        loop {
            match &mut self.state {
                State::Failed(fault) => return Err(*fault),
                State::Given => return Ok(()),
                State::Body { left, .. } => {
                    let (body, rest) = input.split_at(input.len().min(*left));
                    append(&mut self.body, body, self.limits.body_bytes_max);
                    *left -= body.len();
                    *input = rest;
                    return Ok(());
                }
                State::Head { blank_lines } => match self.head.take(input) {
                    Progress::Wanting => return self.check_beginning(),
                    Progress::TooLong => return Err(self.too_long(input)),
                    Progress::FirstLine => {
                        parse_line(&self.head.bytes)?;
                    }
                    Progress::Whole if self.head.bytes.len() <= 2 => {
                        *blank_lines += 1;
                        if *blank_lines > BLANK_LINES_MAX {
                            return Err(HttpFault::BadLine);
                        }
                        self.head.clear();
                    }
                    Progress::Whole => self.begin_body()?,
                },
            }
        }
    }

    /// The first line is not whole: refuses what cannot become one, so that a peer that speaks
    /// another protocol is told at once.
    fn check_beginning(&self) -> Result<(), HttpFault> {
        match self.head.line {
            0 => check_line(&self.head.bytes),
            _ => Ok(()),
        }
    }

    /// Which part of the head it is that does not fit.
    fn too_long(&self, input: &[u8]) -> HttpFault {
        if self.head.line > 0 {
            return HttpFault::HeadTooLong;
        }
        let beginning = self.head.bytes.first().or(input.first());
        match beginning.is_none_or(u8::is_ascii_alphabetic) {
            true => HttpFault::TargetTooLong,
            false => HttpFault::BadLine,
        }
    }

    /// The head is whole: parses it and says what is to come behind it.
    fn begin_body(&mut self) -> Result<(), HttpFault> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut parsed = httparse::Request::new(&mut headers);
        let bytes = self.head.bytes.as_slice();
        match parsed.parse(bytes) {
            Ok(httparse::Status::Complete(len)) if len == bytes.len() => {}
            Ok(_) => return Err(HttpFault::BadHeader),
            Err(httparse::Error::TooManyHeaders) => return Err(HttpFault::TooManyHeaders),
            Err(_) => return Err(HttpFault::BadHeader),
        }
        let line = line_of(bytes, &parsed)?;
        remember(&mut self.head.places, bytes, parsed.headers);
        let headers = self.head.headers();
        let hosts = headers.all("host").count();
        if hosts > 1 || (hosts == 0 && line.version == Version::V11) {
            return Err(HttpFault::BadHost);
        }
        let length = headers
            .content_length()
            .map_err(|()| HttpFault::BadLength)?;
        if let Some(coding) = headers.get("transfer-encoding") {
            return Err(match length {
                Some(_) => HttpFault::LengthAndCoding,
                None if coding.eq_ignore_ascii_case(b"chunked") => HttpFault::NoLength,
                None => HttpFault::UnknownCoding,
            });
        }
        if !self.limits.methods.contains(line.method) {
            return Err(HttpFault::NotAllowed);
        }
        let left = length.unwrap_or(0);
        if left > self.limits.body_bytes_max as u64 {
            return Err(HttpFault::BodyTooLong);
        }
        if let Some(expected) = headers.get("expect") {
            if !expected.eq_ignore_ascii_case(b"100-continue") {
                return Err(HttpFault::BadExpectation);
            }
            self.continue_due = left > 0 && line.version == Version::V11;
        }
        self.state = State::Body {
            line,
            left: left as usize,
        };
        Ok(())
    }
}

/// What can be said of a request line, or of the beginning of one, without its grammar.
fn check_line(bytes: &[u8]) -> Result<(), HttpFault> {
    match bytes {
        [] | [b'\r'] => Ok(()),
        [first, ..] if !first.is_ascii_alphabetic() => Err(HttpFault::BadLine),
        bytes if bytes.len() > TARGET_BYTES_MAX + LINE_BYTES_EXTRA => Err(HttpFault::TargetTooLong),
        _ => Ok(()),
    }
}

/// Checks a request line as soon as it is there.
fn parse_line(bytes: &[u8]) -> Result<(), HttpFault> {
    check_line(bytes)?;
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse(bytes) {
        Ok(_) => line_of(bytes, &parsed).map(|_| ()),
        Err(httparse::Error::Version) if names_a_version(bytes) => Err(HttpFault::BadVersion),
        Err(_) => Err(HttpFault::BadLine),
    }
}

/// Whether the line ends with something that is a version of HTTP, though not one that is spoken.
fn names_a_version(line: &[u8]) -> bool {
    let last = line.trim_ascii_end().rsplit(|byte| *byte == b' ').next();
    let number = last.and_then(|last| last.strip_prefix(b"HTTP/"));
    number.is_some_and(|number| number.first().is_some_and(u8::is_ascii_digit))
}

fn line_of(head: &[u8], parsed: &httparse::Request<'_, '_>) -> Result<Line, HttpFault> {
    let target = parsed.path.ok_or(HttpFault::BadLine)?;
    if target.len() > TARGET_BYTES_MAX {
        return Err(HttpFault::TargetTooLong);
    }
    let word = parsed.method.ok_or(HttpFault::BadLine)?;
    let from = target.as_ptr().addr() - head.as_ptr().addr();
    Ok(Line {
        method: Method::of_word(word).ok_or(HttpFault::UnknownMethod)?,
        target: (from as u32, (from + target.len()) as u32),
        version: Version::of_minor(parsed.version),
    })
}
