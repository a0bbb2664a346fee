//! Bytes of a plain or gzip file, read ahead in slices that a loop has time for: what captures and lines are parsed from.
//!
//! Invariant: nothing is allocated after opening, one call does a bounded amount of work, and every byte of the file is in the
//! window once, in order.

use std::path::Path;

use crate::base::Reject;
use crate::io::error::IoError;
use crate::io::packed::{self, Filled, Packed};
use crate::io::{Driver, FileId, FileMode};

/// Smallest window, in bytes: room to tell gzip from anything else.
const WINDOW_BYTES_MIN: usize = 64;

/// What a reading on did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Took some of the file, which made this many bytes of text (0 is possible inside gzip's
    /// frame and inside a line that is too long).
    Progress {
        /// Bytes of text added.
        text_bytes: usize,
    },
    /// The buffer is full; take some of it first.
    Full,
    /// The file has nothing more to give; some of it may still be buffered.
    End,
}

/// A window that slides over a file.
///
/// ```
/// use hopline::io::{ByteReader, Driver, VirtualNet};
/// let net = VirtualNet::new();
/// net.put_file("a.bin", b"head and body");
/// let mut driver = Driver::from(net.driver());
/// let mut bytes = ByteReader::open(&mut driver, "a.bin".as_ref(), 64)?;
/// bytes.fill(&mut driver, 4096)?;
/// assert_eq!(&bytes.window()[..4], b"head");
/// bytes.take(5);
/// assert_eq!((bytes.window(), bytes.offset()), (&b"and body"[..], 5));
/// # Ok::<(), hopline::io::IoError>(())
/// ```
#[derive(Debug)]
pub struct ByteReader {
    file: FileId,
    room: Box<[u8]>,
    start: usize,
    end: usize,
    packed: Option<Packed>,
    ended: bool,
    broken: Option<Reject>,
    taken: u64,
}

impl ByteReader {
    /// Opens `path` (the real driver takes "-" as standard input) and looks whether it is gzip. The window holds at most
    /// `window_bytes`; all that is ever used is allocated here.
    ///
    /// # Errors
    /// The file is not there, not allowed, a folder, or cannot be read.
    pub fn open(
        driver: &mut Driver,
        path: &Path,
        window_bytes: usize,
    ) -> Result<ByteReader, IoError> {
        let file = driver.file_open(path, FileMode::Read)?;
        let mut room = vec![0; window_bytes.max(WINDOW_BYTES_MIN)].into_boxed_slice();
        let sniffed =
            packed::sniff(driver, file, &mut room).map_err(|error| error.on(&path.display()))?;
        let packed = Packed::of(&room[..sniffed]);
        let end = if packed.is_some() { 0 } else { sniffed };
        Ok(ByteReader {
            file,
            room,
            start: 0,
            end,
            packed,
            ended: false,
            broken: None,
            taken: 0,
        })
    }

    /// Closes the file.
    ///
    /// # Errors
    /// If `driver` is not the one it was opened with.
    pub fn close(self, driver: &mut Driver) -> Result<(), IoError> {
        driver.file_close(self.file)
    }

    /// Reads on: at most one read of the file, and at most `budget_bytes` (at least 1). Where the file has nothing more to give
    /// now it says [`Fill::End`]; one that still grows may be asked again. Costs one system call, or for gzip decompressing
    /// the text (2 to 3 ns a byte), and now and then a move of what is buffered; never allocates.
    ///
    /// # Errors
    /// What the driver said of the file, which then ends there.
    pub fn fill(&mut self, driver: &mut Driver, budget_bytes: usize) -> Result<Fill, IoError> {
        if self.broken.is_some() {
            return Ok(Fill::End);
        }
        self.make_room(budget_bytes.max(1));
        let to = self
            .room
            .len()
            .min(self.end.saturating_add(budget_bytes.max(1)));
        if self.end == to {
            return Ok(Fill::Full);
        }
        let room = &mut self.room[self.end..to];
        let filled = match &mut self.packed {
            None => driver.file_read(self.file, room).map(|read| Filled {
                text_bytes: read,
                ended: read == 0,
                broken: None,
            }),
            Some(packed) => packed.fill(driver, self.file, room),
        };
        let filled = filled.inspect_err(|_| {
            self.ended = true;
            self.broken = Some(Reject::Truncated);
        })?;
        self.end += filled.text_bytes;
        self.ended = filled.ended;
        self.broken = filled.broken;
        if filled.ended && filled.text_bytes == 0 {
            return Ok(Fill::End);
        }
        Ok(Fill::Progress {
            text_bytes: filled.text_bytes,
        })
    }

    /// What is read and not taken yet.
    #[inline]
    #[must_use]
    pub fn window(&self) -> &[u8] {
        &self.room[self.start..self.end]
    }

    /// Takes the first `bytes` of the window, or all of it, and gives them.
    #[inline]
    pub fn take(&mut self, bytes: usize) -> &[u8] {
        let bytes = bytes.min(self.end - self.start);
        let from = self.start;
        self.start += bytes;
        self.taken += bytes as u64;
        &self.room[from..self.start]
    }

    /// Place of the window's first byte in the file, or in what its gzip stream holds.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.taken
    }

    /// Whether the file had nothing more to give when it was last asked.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Why it ended too early: [`Reject::Corrupt`] or [`Reject::Truncated`].
    #[must_use]
    pub fn broken(&self) -> Option<Reject> {
        self.broken
    }

    /// Memory that it holds, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of::<ByteReader>()
            + self.room.len()
            + self.packed.as_ref().map_or(0, Packed::memory_bytes)
    }

    /// Whether there is room behind the window, or a move makes some that copies no more than was taken since the last one.
    pub(super) fn has_cheap_room(&self) -> bool {
        self.end < self.room.len() || self.is_cheap_to_move()
    }

    fn is_cheap_to_move(&self) -> bool {
        self.start > 0 && self.start >= self.end - self.start
    }

    fn make_room(&mut self, wanted: usize) {
        let is_full = self.end == self.room.len();
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.room.len() - self.end < wanted
            && (self.is_cheap_to_move() || is_full && self.start > 0)
        {
            // Costs more than was taken only where there is no other way.
            self.room.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
    }
}
