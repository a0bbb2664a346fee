//! Messages on their way into a file: gathered in a bounded buffer, and written out together.
//!
//! Invariant: holds whole messages only, in order; after a write that failed it has none, and says how many those were.

use std::path::Path;

use crate::base::Reason;
use crate::io::{Driver, FileId, FileMode, IoError, IoErrorKind};

/// What is gathered for one file, and why nothing is written any more, as a reason of the sink's.
#[derive(Debug)]
pub(super) struct Gathered<W> {
    file: Option<FileId>,
    buffer: Box<[u8]>,
    used: usize,
    messages: u64,
    broken: Option<W>,
    lost: u64,
}

/// What was written out.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct WrittenOut {
    pub(super) messages: u64,
    pub(super) bytes: usize,
}

/// A write that failed.
#[derive(Debug)]
pub(super) struct NotWrittenOut {
    pub(super) error: IoError,
    /// Messages that were gathered.
    pub(super) messages: u64,
    /// Bytes of them that are in the file; [`Gathered::front`] still has them.
    pub(super) written: usize,
}

impl<W: Reason> Gathered<W> {
    /// For a file that is not open yet.
    pub(super) fn new() -> Gathered<W> {
        Gathered {
            file: None,
            buffer: Box::default(),
            used: 0,
            messages: 0,
            broken: None,
            lost: 0,
        }
    }

    /// Opens the file, and allocates a buffer of that many bytes.
    pub(super) fn open(
        &mut self,
        io: &mut Driver,
        path: &Path,
        mode: FileMode,
        buffer_bytes: usize,
    ) -> Result<(), IoError> {
        self.file = Some(io.file_open(path, mode)?);
        self.buffer = vec![0; buffer_bytes].into_boxed_slice();
        Ok(())
    }

    /// Room for the next message, behind the others.
    #[inline]
    pub(super) fn room(&mut self) -> &mut [u8] {
        &mut self.buffer[self.used..]
    }

    /// The first `bytes` of the [room](Gathered::room) are one more message.
    #[inline]
    pub(super) fn keep(&mut self, bytes: usize) {
        self.used += bytes;
        self.messages += 1;
    }

    /// Writes out all that is gathered, and says what that was.
    pub(super) fn write_out(&mut self, io: &mut Driver) -> Result<WrittenOut, NotWrittenOut> {
        let Some(file) = self.file else {
            return Ok(WrittenOut::default());
        };
        let (bytes, messages) = (self.used, self.messages);
        (self.used, self.messages) = (0, 0);
        let mut written = 0;
        while written < bytes {
            let error = match io.file_write(file, &self.buffer[written..bytes]) {
                Ok(0) => IoError::new(IoErrorKind::Other, "write"),
                Ok(more) => {
                    written += more;
                    continue;
                }
                Err(error) => error,
            };
            return Err(NotWrittenOut {
                error,
                messages,
                written,
            });
        }
        Ok(WrittenOut { messages, bytes })
    }

    /// The first bytes of the buffer.
    pub(super) fn front(&self, bytes: usize) -> &[u8] {
        &self.buffer[..bytes]
    }

    /// Cuts the file to that length.
    pub(super) fn cut(&mut self, io: &mut Driver, bytes: u64) -> Result<(), IoError> {
        match self.file {
            Some(file) => io.file_set_len(file, bytes),
            None => Ok(()),
        }
    }

    /// Nothing is written any more, for that reason; so many messages that were gathered are not in the file.
    pub(super) fn give_up(&mut self, why: W, lost: u64) {
        self.broken = Some(why);
        self.lost += lost;
    }

    /// Why nothing is written any more.
    #[inline]
    pub(super) fn broken(&self) -> Option<W> {
        self.broken
    }

    /// Messages that were lost since the last call, and why, as [`Egress::lost`](crate::stage::Egress::lost) says it.
    pub(super) fn lost(&mut self) -> Option<(u8, u64)> {
        let count = core::mem::take(&mut self.lost);
        let why = self.broken.filter(|_| count > 0)?;
        Some((why.index() as u8, count))
    }

    /// Closes the file.
    pub(super) fn close(&mut self, io: &mut Driver) -> Result<(), IoError> {
        match self.file.take() {
            Some(file) => io.file_close(file),
            None => Ok(()),
        }
    }
}
