//! Lines of a plain or gzip file, read ahead in slices that a loop has time for.
//!
//! A source calls [`LineReader::fill`] in idle turns and [`LineReader::next_line`] when a line is
//! due. What is wrong with the input comes out in its place among the lines, as a reason to count.
//!
//! Invariant: nothing is allocated after opening, one call does a bounded amount of work, and
//! every byte of the file is in a line, in a line that was reported as bad, or behind a break that
//! was reported.

use std::path::Path;

use memchr::{memchr, memchr_iter};

use crate::base::Reject;
use crate::base::limits::LINE_BYTES_MAX;
use crate::io::Driver;
use crate::io::bytes::{ByteReader, Fill};
use crate::io::error::IoError;

/// Smallest buffer, in bytes: two of the longest lines with their ends, so that a line that is
/// still incomplete always finds room behind it once it was moved to the front.
pub const LINE_BUFFER_BYTES_MIN: usize = 2 * (LINE_BYTES_MAX + 2);

/// A line, or what is there instead of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineEvent<'a> {
    /// A line without its end (`\n` or `\r\n`).
    Line(&'a [u8]),
    /// [`Reject::TooLong`]: a line beyond [`LINE_BYTES_MAX`], skipped to its end.
    /// [`Reject::Truncated`]: the gzip stream or the reading ended early; the line that was begun
    /// is lost. [`Reject::Corrupt`]: the gzip stream does not decompress or its checksum differs;
    /// the rest of the file is lost. The last two come once, at the end.
    Bad(Reject),
}

/// Reads lines through a driver.
///
/// ```
/// use hopline::io::{Driver, LineEvent, LineReader, Virtual, VirtualNet};
/// let net = VirtualNet::new();
/// net.put_file("a.txt", b"one\ntwo");
/// let mut driver = Driver::from(net.driver());
/// let mut lines = LineReader::open(&mut driver, "a.txt".as_ref(), 0)?;
/// let mut seen = Vec::new();
/// while !lines.at_end() {
///     match lines.next_line() {
///         Some(LineEvent::Line(line)) => seen.push(line.to_vec()),
///         Some(LineEvent::Bad(reason)) => panic!("{reason:?}"),
///         None => drop(lines.fill(&mut driver, 4096)?),
///     }
/// }
/// assert_eq!(seen, [b"one", b"two"]);
/// # Ok::<(), hopline::io::IoError>(())
/// ```
#[derive(Debug)]
pub struct LineReader {
    bytes: ByteReader,
    /// Line ends in the window.
    complete: usize,
    /// Inside a line that was reported as too long.
    skipping: bool,
    /// Whether it was reported why the file ended too early.
    told: bool,
    taken: u64,
}

impl LineReader {
    /// Opens `path` (the real driver takes "-" as standard input) and looks whether it is gzip.
    /// Allocates all it will use: `buffer_bytes` (at least [`LINE_BUFFER_BYTES_MIN`]) and, for
    /// gzip, about 64 KiB more.
    ///
    /// # Errors
    /// The file is not there, not allowed, a folder, or cannot be read.
    pub fn open(
        driver: &mut Driver,
        path: &Path,
        buffer_bytes: usize,
    ) -> Result<LineReader, IoError> {
        let bytes = ByteReader::open(driver, path, buffer_bytes.max(LINE_BUFFER_BYTES_MIN))?;
        let mut lines = LineReader {
            complete: 0,
            skipping: false,
            told: false,
            taken: 0,
            bytes,
        };
        lines.take_in(lines.bytes.window().len());
        Ok(lines)
    }

    /// Closes the file. What is buffered is lost.
    ///
    /// # Errors
    /// If `driver` is not the one it was opened with.
    pub fn close(self, driver: &mut Driver) -> Result<(), IoError> {
        self.bytes.close(driver)
    }

    /// Reads on, as [`ByteReader::fill`] does, but never moves more than was taken since the last move. Once the file has
    /// ended it is read no more.
    ///
    /// # Errors
    /// What the driver said of the file. The reader then ends as if the file were cut there.
    pub fn fill(&mut self, driver: &mut Driver, budget_bytes: usize) -> Result<Fill, IoError> {
        if self.bytes.has_ended() {
            return Ok(Fill::End);
        }
        if !self.bytes.has_cheap_room() {
            return Ok(Fill::Full);
        }
        let filled = self.bytes.fill(driver, budget_bytes)?;
        if let Fill::Progress { text_bytes } = filled {
            self.take_in(text_bytes);
        }
        Ok(filled)
    }

    /// The next line, or `None` if none is complete: [fill](LineReader::fill) on, or it was the
    /// [end](LineReader::at_end). An empty line is a line.
    pub fn next_line(&mut self) -> Option<LineEvent<'_>> {
        let window = self.bytes.window();
        if self.complete > 0 {
            let len = memchr(b'\n', window)?;
            self.complete -= 1;
            return Some(self.take_line(len, 1));
        }
        let unread = window.len();
        // One more than a line, for the `\r` whose `\n` may still come.
        if unread > LINE_BYTES_MAX + 1 {
            self.skipping = true;
            return Some(self.take_rest(Reject::TooLong));
        }
        if !self.bytes.has_ended() {
            return None;
        }
        if let Some(reason) = self.untold() {
            self.told = true;
            return Some(self.take_rest(reason));
        }
        (unread > 0).then(|| self.take_line(unread, 0))
    }

    /// How many complete lines are buffered. A last line without an end is not counted.
    #[must_use]
    pub fn buffered_lines_hint(&self) -> usize {
        self.complete
    }

    /// Whether a [fill](LineReader::fill) would do something: the file has not ended and there
    /// is room.
    #[must_use]
    pub fn needs_fill(&self) -> bool {
        !self.bytes.has_ended() && self.bytes.has_cheap_room()
    }

    /// Whether everything was read and taken.
    #[must_use]
    pub fn at_end(&self) -> bool {
        self.bytes.has_ended() && self.bytes.window().is_empty() && self.untold().is_none()
    }

    /// Number of the line that was taken last, counted from 1 with the bad ones; 0 before it.
    #[must_use]
    pub fn line_number(&self) -> u64 {
        self.taken
    }

    /// Memory that it holds, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of::<LineReader>() - size_of::<ByteReader>() + self.bytes.memory_bytes()
    }

    /// What is to report after the last line.
    fn untold(&self) -> Option<Reject> {
        self.bytes.broken().filter(|_| !self.told)
    }

    /// Takes `len` bytes as a line and `end_len` more as its end.
    fn take_line(&mut self, len: usize, end_len: usize) -> LineEvent<'_> {
        self.taken += 1;
        let line = &self.bytes.take(len + end_len)[..len];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > LINE_BYTES_MAX {
            LineEvent::Bad(Reject::TooLong)
        } else {
            LineEvent::Line(line)
        }
    }

    /// Takes all that is there, which is no line.
    fn take_rest(&mut self, reason: Reject) -> LineEvent<'_> {
        self.taken += 1;
        self.bytes.take(usize::MAX);
        LineEvent::Bad(reason)
    }

    /// Looks at the last `added` bytes of the window: they are text, or part of a line that is skipped.
    fn take_in(&mut self, added: usize) {
        let window = self.bytes.window();
        let new = &window[window.len() - added..];
        let mut ends = memchr_iter(b'\n', new);
        if self.skipping {
            // Nothing else waits: the line's beginning was taken when it was reported.
            let end = ends.next();
            self.complete += ends.count();
            self.skipping = end.is_none();
            self.bytes.take(end.map_or(added, |at| at + 1));
        } else {
            self.complete += ends.count();
        }
    }
}

#[cfg(test)]
mod tests;
