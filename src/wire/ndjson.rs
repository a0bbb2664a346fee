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

use crate::wire::{Full, Output};

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
#[derive(Clone)]
pub struct Lines {
    line_bytes_max: usize,
    /// The line in hand, as far as it came in earlier pieces.
    line: Vec<u8>,
    /// Bytes of a line in hand that is too long; 0 if it is not.
    skipped: u64,
    /// Whether the line in hand was given out.
    given: bool,
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines")
            .field("line_bytes_max", &self.line_bytes_max)
            .field("buffered", &self.buffered())
            .finish_non_exhaustive()
    }
}

impl Lines {
    /// A splitter at the beginning of a stream, for lines of at most `line_bytes_max` bytes without
    /// their end. It takes memory for a line in pieces, up to that and one byte for a `\r`.
    #[must_use]
    pub fn new(line_bytes_max: usize) -> Lines {
        Lines {
            line_bytes_max,
            line: Vec::new(),
            skipped: 0,
            given: false,
        }
    }

    /// Bytes of the line in hand, which wait for the rest of it.
    #[must_use]
    pub fn buffered(&self) -> usize {
        if self.given { 0 } else { self.line.len() }
    }

    /// Bytes of memory that it holds now.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.line.capacity()
    }

    /// Takes from `input` up to the end of the next line and gives it, where it lies if it came in
    /// one piece; `None` once all of the input is taken.
    pub fn poll<'l, 'i: 'l>(&'l mut self, input: &mut &'i [u8]) -> Option<Line<'l>> {
        self.let_go();
        while let Some(end) = memchr(b'\n', input) {
            let piece = &input[..end];
            *input = &input[end + 1..];
            if self.skipped > 0 {
                // The count is of what lies before the line's end, which a `\r` is a part of.
                let too_long = core::mem::take(&mut self.skipped) + piece.len() as u64;
                return Some(Line::TooLong(too_long));
            }
            if self.line.is_empty() {
                let line = without_return(piece);
                if line.len() > self.line_bytes_max {
                    return Some(Line::TooLong(piece.len() as u64));
                } else if !line.is_empty() {
                    return Some(Line::Whole(line));
                }
                continue;
            }
            let all = self.line.len() + piece.len();
            let returns = piece.last().or(self.line.last()) == Some(&b'\r');
            if all - usize::from(returns) > self.line_bytes_max {
                self.line.clear();
                return Some(Line::TooLong(all as u64));
            }
            self.append(piece);
            if without_return(&self.line).is_empty() {
                self.line.clear();
                continue;
            }
            self.given = true;
            return Some(Line::Whole(without_return(&self.line)));
        }
        self.gather(input);
        *input = &[];
        None
    }

    /// The stream has ended: gives what came behind the last line's end, if anything.
    pub fn end(&mut self) -> Option<Line<'_>> {
        self.let_go();
        if self.skipped > 0 {
            return Some(Line::TooLong(core::mem::take(&mut self.skipped)));
        }
        self.given = true;
        let rest = without_return(&self.line);
        (!rest.is_empty()).then_some(Line::Rest(rest))
    }

    fn let_go(&mut self) {
        if core::mem::take(&mut self.given) {
            self.line.clear();
        }
    }

    /// Keeps the beginning of a line, or only counts it.
    fn gather(&mut self, piece: &[u8]) {
        if self.skipped > 0 {
            self.skipped += piece.len() as u64;
        } else if self.line.len() + piece.len() > self.line_bytes_max + 1 {
            self.skipped = (self.line.len() + piece.len()) as u64;
            self.line.clear();
        } else {
            self.append(piece);
        }
    }

    fn append(&mut self, piece: &[u8]) {
        let wanted = self.line.len() + piece.len();
        if wanted > self.line.capacity() {
            let to = wanted.max((2 * self.line.capacity()).min(self.line_bytes_max + 1));
            self.line.reserve_exact(to - self.line.len());
        }
        self.line.extend_from_slice(piece);
    }
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}
