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
use crate::io::error::IoError;
use crate::io::packed::{self, Filled, Packed};
use crate::io::{Driver, FileId, FileMode};

/// Smallest buffer, in bytes: two of the longest lines with their ends, so that a line that is
/// still incomplete always finds room behind it once it was moved to the front.
pub const LINE_BUFFER_BYTES_MIN: usize = 2 * (LINE_BYTES_MAX + 2);

/// What a [`LineReader::fill`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Took some of the file, which made this many bytes of text (0 is possible inside gzip's
    /// frame and inside a line that is too long).
    Progress {
        /// Bytes of text added.
        text_bytes: usize,
    },
    /// The buffer is full; take lines first.
    Full,
    /// The file has nothing more to give; lines may still be buffered.
    End,
}

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
    file: FileId,
    text: Box<[u8]>,
    start: usize,
    end: usize,
    /// Line ends between `start` and `end`.
    complete: usize,
    /// Inside a line that was reported as too long.
    skipping: bool,
    packed: Option<Packed>,
    ended: bool,
    /// What to report after the last line.
    broken: Option<Reject>,
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
        let file = driver.file_open(path, FileMode::Read)?;
        let mut text = vec![0; buffer_bytes.max(LINE_BUFFER_BYTES_MIN)].into_boxed_slice();
        let sniffed =
            packed::sniff(driver, file, &mut text).map_err(|error| error.on(&path.display()))?;
        let mut lines = LineReader {
            file,
            text,
            start: 0,
            end: 0,
            complete: 0,
            skipping: false,
            packed: None,
            ended: false,
            broken: None,
            taken: 0,
        };
        lines.packed = Packed::of(&lines.text[..sniffed]);
        if lines.packed.is_none() {
            lines.take_in(sniffed);
        }
        Ok(lines)
    }

    /// Closes the file. What is buffered is lost.
    ///
    /// # Errors
    /// If `driver` is not the one it was opened with.
    pub fn close(self, driver: &mut Driver) -> Result<(), IoError> {
        driver.file_close(self.file)
    }

    /// Reads on: at most one read of the file, and at most `budget_bytes` (at least 1) of text.
    /// Costs one system call, or for gzip decompressing the text (2 to 3 ns a byte), and now and
    /// then a move of what is buffered; never allocates.
    ///
    /// # Errors
    /// What the driver said of the file. The reader then ends as if the file were cut there.
    pub fn fill(&mut self, driver: &mut Driver, budget_bytes: usize) -> Result<Fill, IoError> {
        if self.ended {
            return Ok(Fill::End);
        }
        let budget_bytes = budget_bytes.max(1);
        self.make_room(budget_bytes);
        let to = self.text.len().min(self.end.saturating_add(budget_bytes));
        if self.end == to {
            return Ok(Fill::Full);
        }
        let room = &mut self.text[self.end..to];
        let filled = match &mut self.packed {
            None => driver.file_read(self.file, room).map(|read| Filled {
                text_bytes: read,
                ended: read == 0,
                broken: None,
            }),
            Some(packed) => packed.fill(driver, self.file, room),
        };
        match filled {
            Ok(filled) => {
                self.take_in(filled.text_bytes);
                if filled.ended {
                    self.ended = true;
                    self.broken = filled.broken;
                    if filled.text_bytes == 0 {
                        return Ok(Fill::End);
                    }
                }
                Ok(Fill::Progress {
                    text_bytes: filled.text_bytes,
                })
            }
            Err(error) => {
                self.ended = true;
                self.broken = Some(Reject::Truncated);
                Err(error)
            }
        }
    }

    /// The next line, or `None` if none is complete: [fill](LineReader::fill) on, or it was the
    /// [end](LineReader::at_end). An empty line is a line.
    pub fn next_line(&mut self) -> Option<LineEvent<'_>> {
        if self.complete > 0 {
            let len = memchr(b'\n', &self.text[self.start..self.end])?;
            self.complete -= 1;
            return Some(self.take_line(len, 1));
        }
        let unread = self.end - self.start;
        // One more than a line, for the `\r` whose `\n` may still come.
        if unread > LINE_BYTES_MAX + 1 {
            self.skipping = true;
            self.start = self.end;
            self.taken += 1;
            return Some(LineEvent::Bad(Reject::TooLong));
        }
        if !self.ended {
            return None;
        }
        if let Some(reason) = self.broken.take() {
            self.start = self.end;
            self.taken += 1;
            return Some(LineEvent::Bad(reason));
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
        !self.ended && (self.end < self.text.len() || self.can_move())
    }

    /// Whether everything was read and taken.
    #[must_use]
    pub fn at_end(&self) -> bool {
        self.ended && self.start == self.end && self.broken.is_none()
    }

    /// Number of the line that was taken last, counted from 1 with the bad ones; 0 before it.
    #[must_use]
    pub fn line_number(&self) -> u64 {
        self.taken
    }

    /// Memory that it holds, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let packed = self.packed.as_ref().map_or(0, Packed::memory_bytes);
        size_of::<LineReader>() + self.text.len() + packed
    }

    /// Takes `len` bytes as a line and `end_len` more as its end.
    fn take_line(&mut self, len: usize, end_len: usize) -> LineEvent<'_> {
        let line = self.start..self.start + len;
        self.start += len + end_len;
        self.taken += 1;
        let line = &self.text[line];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > LINE_BYTES_MAX {
            LineEvent::Bad(Reject::TooLong)
        } else {
            LineEvent::Line(line)
        }
    }

    /// Makes the next `added` bytes part of the text, or skips them.
    fn take_in(&mut self, added: usize) {
        let new = self.end..self.end + added;
        self.end = new.end;
        let mut from = new.start;
        if self.skipping {
            match memchr(b'\n', &self.text[new.clone()]) {
                Some(at) => {
                    self.skipping = false;
                    from += at + 1;
                }
                None => from = new.end,
            }
            self.start = from;
        }
        self.complete += memchr_iter(b'\n', &self.text[from..new.end]).count();
    }

    /// A move to the front copies no more than was taken since the last one.
    fn can_move(&self) -> bool {
        self.start > 0 && self.start >= self.end - self.start
    }

    fn make_room(&mut self, wanted: usize) {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.text.len() - self.end < wanted && self.can_move() {
            self.text.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
    }
}

#[cfg(test)]
mod tests;
