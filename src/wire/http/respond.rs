//! Responses of a server, into a bounded output.
//!
//! Invariant: a response goes in whole or not at all, and no header's value can begin another.

use std::io::Write as _;

use super::{HttpFault, Methods};
use crate::wire::{Full, Output};

/// What lets a client that waits for it go on with its body (RFC 9110, section 15.2.1).
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What follows the head of a response, and how its length is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// These bytes, with their length.
    Sized(&'a [u8]),
    /// Nothing, though the head says how many bytes a `GET` would have got: the response to `HEAD`.
    HeadOnly(u64),
    /// Nothing at all: 101, 204 and 304 have neither body nor length.
    None,
    /// Pieces by [`write_chunk`], ended by [`last_chunk`].
    Chunked,
    /// Pieces as they are, until the connection ends: the only stream that HTTP/1.0 has.
    UntilClose,
}

/// Why a response was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotSent {
    /// There is no room for it now.
    Full(Full),
    /// This header, counted from 0, has a name that is no token, or a value with a line's end or
    /// another control character in it.
    BadHeader(usize),
}

impl From<Full> for NotSent {
    fn from(full: Full) -> NotSent {
        NotSent::Full(full)
    }
}

impl core::fmt::Display for NotSent {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            NotSent::Full(full) => full.fmt(f),
            NotSent::BadHeader(at) => {
                write!(
                    f,
                    "header {at} has a byte that no header may have; take it out"
                )
            }
        }
    }
}

impl core::error::Error for NotSent {}

/// The words that go with a status code; empty for a code that has none here.
#[must_use]
pub const fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

/// Puts a response with that status, these headers and that content into `output`.
///
/// The headers of the content's length are written here; of the others only what is given.
///
/// ```
/// use hopline::wire::Output;
/// use hopline::wire::http::{Content, respond};
/// let mut output = Output::new(1 << 10);
/// respond(&mut output, 200, &[("Content-Type", "text/plain")], Content::Sized(b"tick")).unwrap();
/// let expected = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\ntick";
/// assert_eq!(output.pending(), expected.as_bytes());
/// ```
///
/// # Errors
/// There is no room for all of it, or a header is none; nothing was written.
pub fn respond(
    output: &mut Output,
    status: u16,
    headers: &[(&str, &str)],
    content: Content<'_>,
) -> Result<(), NotSent> {
    for (at, (name, value)) in headers.iter().enumerate() {
        if !is_token(name) || !is_value(value) {
            return Err(NotSent::BadHeader(at));
        }
    }
    let body = match content {
        Content::Sized(body) => body,
        _ => b"",
    };
    let fields: usize = headers.iter().map(|(n, v)| n.len() + v.len() + 4).sum();
    let mut line = [0; 128];
    let head = status_and_length(&mut line, status, content);
    let needed = head.0.len() + head.1.len() + fields + body.len() + 2;
    let bytes = output.reserve(needed)?;
    bytes.extend_from_slice(head.0);
    for (name, value) in headers {
        for part in [name, ": ", value, "\r\n"] {
            bytes.extend_from_slice(part.as_bytes());
        }
    }
    for part in [head.1, b"\r\n", body] {
        bytes.extend_from_slice(part);
    }
    Ok(())
}

/// The status line, and the header of the content's length.
fn status_and_length<'a>(
    space: &'a mut [u8; 128],
    status: u16,
    content: Content<'_>,
) -> (&'a [u8], &'a [u8]) {
    let all = space.len();
    let mut rest = &mut space[..];
    // Both are shorter than the space by far: no status has more than 5 digits, no length 20.
    let _ = write!(rest, "HTTP/1.1 {status} {}\r\n", reason_phrase(status));
    let first = all - rest.len();
    let _ = match content {
        Content::Sized(body) => write!(rest, "Content-Length: {}\r\n", body.len()),
        Content::HeadOnly(length) => write!(rest, "Content-Length: {length}\r\n"),
        Content::Chunked => write!(rest, "Transfer-Encoding: chunked\r\n"),
        Content::UntilClose => write!(rest, "Connection: close\r\n"),
        Content::None => Ok(()),
    };
    let end = all - rest.len();
    space[..end].split_at(first)
}

/// Answers a request that was refused, and says that the connection ends.
///
/// # Errors
/// There is no room for it; nothing was written.
pub fn refuse(output: &mut Output, fault: HttpFault, allowed: Methods) -> Result<(), NotSent> {
    let text = format!("{fault}\n");
    let allow = allowed.to_string();
    let headers = [
        ("Connection", "close"),
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Allow", &allow),
    ];
    let count = if fault == HttpFault::NotAllowed { 3 } else { 2 };
    let content = Content::Sized(text.as_bytes());
    respond(output, fault.status(), &headers[..count], content)
}

/// Puts one piece of a chunked body into `output` (RFC 9112, section 7.1). An empty piece would end
/// the body, so none is written.
///
/// # Errors
/// There is no room for all of it; nothing was written.
pub fn write_chunk(output: &mut Output, piece: &[u8]) -> Result<(), Full> {
    if piece.is_empty() {
        return Ok(());
    }
    let mut space = [0; 20];
    let all = space.len();
    let mut rest = &mut space[..];
    let _ = write!(rest, "{:x}\r\n", piece.len());
    let size = all - rest.len();
    let bytes = output.reserve(size + piece.len() + 2)?;
    for part in [&space[..size], piece, b"\r\n"] {
        bytes.extend_from_slice(part);
    }
    Ok(())
}

/// Ends a chunked body.
///
/// # Errors
/// There is no room for it; nothing was written.
pub fn last_chunk(output: &mut Output) -> Result<(), Full> {
    output.push(b"0\r\n\r\n")
}

/// Whether it may stand for a header's name (RFC 9110, section 5.6.2).
pub(in crate::wire) fn is_token(text: &str) -> bool {
    let of_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(of_token)
}

/// Whether it may stand for a header's value (RFC 9110, section 5.5).
pub(in crate::wire) fn is_value(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte == b'\t' || !byte.is_ascii_control())
}
