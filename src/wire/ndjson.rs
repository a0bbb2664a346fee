//! One JSON value a line, each ended by `\n` (ndjson.org, version 1.0): an encoder, and a splitter
//! of streams in any cuts.
//!
//! Whether a line is JSON is for its reader to say: here it is a line. A `\r` before the `\n` is taken
//! off, as JSON's white space; empty lines are passed over.
//!
//! Invariant: the same lines come out however the stream was cut, and a line of which a part is
//! missing is told as what it is.

use core::fmt;

use memchr::{memchr, memchr2};

use crate::wire::{Full, Output, Splitter};

/// The type of a response whose body is such a stream.
pub const CONTENT_TYPE: &str = "application/x-ndjson";

/// Longest line of a splitter that names no bound, in bytes, without its end: the largest message of
/// the edge.
pub const LINE_BYTES_DEFAULT: usize = 64 << 10;

/// Why a line was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotWritten {
    /// There is no room for it now.
    Full(Full),
    /// It has a line's end in it at this byte, so it would be two: JSON writes it as `\n`.
    NotOneLine(usize),
}

impl From<Full> for NotWritten {
    fn from(full: Full) -> NotWritten {
        NotWritten::Full(full)
    }
}

impl fmt::Display for NotWritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotWritten::Full(full) => full.fmt(f),
            NotWritten::NotOneLine(at) => {
                write!(f, "byte {at} of the line ends it; write it escaped")
            }
        }
    }
}

impl core::error::Error for NotWritten {}

/// Puts one line with its end into `output`.
///
/// ```
/// use hopline::wire::{Output, ndjson};
/// let mut output = Output::new(64);
/// ndjson::write(&mut output, br#"{"a":1}"#).unwrap();
/// ndjson::write(&mut output, b"2").unwrap();
/// assert_eq!(output.pending(), b"{\"a\":1}\n2\n");
/// ```
///
/// # Errors
/// There is no room for all of it, or it is not one line; nothing was written.
pub fn write(output: &mut Output, json: &[u8]) -> Result<(), NotWritten> {
    if let Some(at) = memchr2(b'\n', b'\r', json) {
        return Err(NotWritten::NotOneLine(at));
    }
    let bytes = output.reserve(json.len() + 1)?;
    bytes.extend_from_slice(json);
    bytes.push(b'\n');
    Ok(())
}

/// What came in. It lives until the splitter is asked for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// A line, without its end; never empty.
    Whole(&'a [u8]),
    /// A line over the limit has ended: so many bytes, without its end, of which none came out.
    TooLong(u64),
    /// The stream ended without a line's end; these bytes came behind the last one. A value that
    /// was cut off may look like a shorter one.
    Rest(&'a [u8]),
}

/// Splits a stream that comes in any cuts into its lines.
///
/// ```
/// use hopline::wire::ndjson::{Line, Lines};
/// let mut lines = Lines::new(16);
/// let mut piece: &[u8] = b"{}\r\n\n{\"a\"";
/// assert_eq!(lines.poll(&mut piece), Some(Line::Whole(b"{}")));
/// assert_eq!(lines.poll(&mut piece), None);
/// let mut piece: &[u8] = b":1}\n";
/// assert_eq!(lines.poll(&mut piece), Some(Line::Whole(b"{\"a\":1}")));
/// ```
#[derive(Clone, Debug)]
pub struct Lines {
    /// For lines that may be one byte longer: that of a `\r`.
    splitter: Splitter,
    line_bytes_max: usize,
    /// Bytes of lines over the limit that were told of.
    told_bytes: u64,
}

impl Lines {
    /// A splitter at the beginning of a stream, for lines of at most `line_bytes_max` bytes without
    /// their end. Allocates its buffer, which never grows.
    #[must_use]
    pub fn new(line_bytes_max: usize) -> Lines {
        Lines {
            splitter: Splitter::new(line_bytes_max + 1),
            line_bytes_max,
            told_bytes: 0,
        }
    }

    /// Bytes of the line in hand, which wait for the rest of it.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.splitter.buffered()
    }

    /// Takes from `input` up to the end of the next line and gives it; `None` once all of the input is
    /// taken.
    pub fn poll(&mut self, input: &mut &[u8]) -> Option<Line<'_>> {
        let line = loop {
            match self.splitter.next_end(&mut |bytes| memchr(b'\n', bytes)) {
                Some(Some(line)) => {
                    let text_bytes = without_return(self.splitter.line(line.clone())).len();
                    if text_bytes > self.line_bytes_max {
                        return Some(Line::TooLong(line.len() as u64));
                    }
                    if text_bytes > 0 {
                        break line;
                    }
                }
                Some(None) => return Some(Line::TooLong(self.left_out())),
                None if input.is_empty() => return None,
                None => {
                    let piece = memchr(b'\n', input).map_or(*input, |end| &input[..=end]);
                    let taken = self.splitter.push(piece);
                    *input = &input[taken..];
                }
            }
        };
        Some(Line::Whole(without_return(self.splitter.line(line))))
    }

    /// The stream has ended: gives what came behind the last line's end, if anything.
    pub fn end(&mut self) -> Option<Line<'_>> {
        let Some(rest) = self.splitter.end() else {
            return Some(Line::TooLong(self.left_out()));
        };
        let rest = without_return(self.splitter.line(rest));
        (!rest.is_empty()).then_some(Line::Rest(rest))
    }

    /// Bytes of the line over the limit that has ended.
    fn left_out(&mut self) -> u64 {
        let all = self.splitter.overlong_bytes();
        all - core::mem::replace(&mut self.told_bytes, all)
    }
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}
