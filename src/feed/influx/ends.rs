//! Where lines of the protocol end: a line feed inside a text, or behind a backslash, is part of its line.
//!
//! The rules are those of the protocol's own parsers: a quote opens a text only behind the first
//! blank and behind an equal sign that is not yet followed by its comma.
//!
//! Invariant: the ends are the same however the bytes were cut, and each byte is looked at a fixed number of times.

use crate::feed::look;
use crate::feed::text::{take_line, without_return};

/// Finds the ends of lines in bytes that come in any cuts.
///
/// ```
/// use hopline::feed::influx::Ends;
/// let mut ends = Ends::new();
/// assert_eq!(ends.find(b"log text=\"two\nli"), None);
/// assert_eq!(ends.find(b"nes\"\nnext"), Some(4));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// What is not blank has begun.
    begun: bool,
    comment: bool,
    escaped: bool,
    /// A blank was seen, so that fields may have begun.
    fields: bool,
    quoted: bool,
    /// Equal signs and commas behind the first blank.
    equals: u32,
    commas: u32,
}

impl Ends {
    /// At the beginning of a line.
    #[must_use]
    pub fn new() -> Ends {
        Ends::default()
    }

    /// Where in `bytes`, which follow those of the last call, the line in hand ends: the place of its
    /// line feed, behind which the next line begins. `None` if it goes on; all of them were looked at.
    #[inline]
    pub fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        if *self == Ends::default()
            && let Some(end) = look::find(b'\n', bytes)
            && look::find2(b'"', b'\\', &bytes[..end]).is_none()
        {
            return Some(end);
        }
        self.search(bytes)
    }

    fn search(&mut self, bytes: &[u8]) -> Option<usize> {
        for (at, &byte) in bytes.iter().enumerate() {
            if self.ends_with(byte) {
                look::passed(at);
                *self = Ends::default();
                return Some(at);
            }
        }
        look::passed(bytes.len());
        None
    }

    /// Whether the line ends with this byte.
    #[inline]
    fn ends_with(&mut self, byte: u8) -> bool {
        if self.comment {
            return byte == b'\n';
        }
        if self.escaped {
            self.escaped = false;
            return false;
        }
        if !self.begun && !matches!(byte, b' ' | b'\t') {
            self.begun = true;
            self.comment = byte == b'#';
        }
        match byte {
            b'\\' => self.escaped = true,
            b' ' => self.fields = true,
            b'=' if self.fields && !self.quoted => self.equals = self.equals.saturating_add(1),
            b',' if self.fields && !self.quoted => self.commas = self.commas.saturating_add(1),
            b'"' if self.fields && self.equals > self.commas => self.quoted = !self.quoted,
            b'\n' => return !self.quoted,
            _ => {}
        }
        false
    }
}

/// The line without the blanks before it.
#[inline]
pub(super) fn without_blanks(line: &[u8]) -> &[u8] {
    let at = line.iter().position(|byte| !super::is_blank(*byte));
    let at = at.unwrap_or(line.len());
    look::passed(at);
    &line[at..]
}

/// The lines of a datagram without their ends; blank ones and comments are passed over.
///
/// ```
/// use hopline::feed::influx::Lines;
/// let lines: Vec<&[u8]> = Lines::new(b"# load\ncpu load=1\n\nlog text=\"a\nb\"\r\n").collect();
/// assert_eq!(lines, [&b"cpu load=1"[..], b"log text=\"a\nb\""]);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Lines<'a> {
    rest: &'a [u8],
}

impl<'a> Lines<'a> {
    /// The lines of these bytes.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Lines<'a> {
        Lines { rest: bytes }
    }

    /// What was not looked at yet.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether a line is blank or a comment: neither a point nor a fault.
    #[inline]
    #[must_use]
    pub fn is_silent(line: &[u8]) -> bool {
        matches!(without_blanks(without_return(line)), [] | [b'#', ..])
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        while !self.rest.is_empty() {
            let end = Ends::new().find(self.rest);
            let line = take_line(&mut self.rest, end);
            if !Lines::is_silent(line) {
                return Some(without_return(line));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All ends, when the bytes come in pieces that begin at `cuts`.
    fn ends(bytes: &[u8], cuts: &[usize]) -> Vec<usize> {
        let mut ends = Ends::new();
        let mut found = Vec::new();
        let mut from = 0;
        for to in cuts.iter().copied().chain([bytes.len()]) {
            while let Some(at) = ends.find(&bytes[from..to]) {
                found.push(from + at);
                from += at + 1;
            }
            from = to;
        }
        found
    }

    #[test]
    fn ends_do_not_depend_on_the_cuts() {
        let bytes = b"a b=1\n# it's \"open\nc,d=\"e f=\"\n\",g=\"\\\"\n\" 5\nx\\\ny z=2\n\n  #\\\nlast h=\"";
        let whole = ends(bytes, &[]);
        assert_eq!(whole.len(), 6);
        for first in 0..=bytes.len() {
            for second in [first, (first + 3).min(bytes.len()), bytes.len()] {
                assert_eq!(ends(bytes, &[first, second]), whole, "{first} {second}");
            }
        }
        let every: Vec<usize> = (0..bytes.len()).collect();
        assert_eq!(ends(bytes, &every), whole);
    }
}
