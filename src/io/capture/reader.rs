//! Reads captures, also while they grow.
//!
//! Invariant: every whole message comes out once, and what is wrong is told with its place; a fault within a block costs that
//! block, one of its length or its first bytes costs the rest, because nobody can tell where the next one begins.

use std::path::Path;

use crate::base::Reject;
use crate::frame::capture::{
    BLOCK_BYTES_MAX, BLOCK_HEAD_BYTES, CaptureEnd, CaptureFault, CaptureStart, CapturedMessage,
    HEAD_BYTES_MAX, block_bytes,
};
use crate::io::error::{IoError, IoErrorKind};
use crate::io::{ByteReader, Driver, Fill};

/// Bytes that are read ahead: several of the longest messages, and milliseconds of a busy hop.
const AHEAD_BYTES: usize = 1 << 20;

const _: () = assert!(AHEAD_BYTES >= 4 * BLOCK_BYTES_MAX && AHEAD_BYTES >= HEAD_BYTES_MAX);

/// What is wrong with a capture, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at byte {offset}: {fault}")]
pub struct CaptureBreak {
    /// The first byte of the block, from the start of the file.
    pub offset: u64,
    /// What is wrong.
    pub fault: CaptureFault,
}

/// What is next in a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaptureEvent<'a> {
    /// A message.
    Message(CapturedMessage<'a>),
    /// The recorder ended it here, in good order.
    End(CaptureEnd),
    /// What is no message; others may follow.
    Bad(CaptureBreak),
}

/// Reads a capture, plain or gzip.
#[derive(Debug)]
pub struct CaptureReader {
    bytes: ByteReader,
    start: CaptureStart,
    end: Option<CaptureEnd>,
    /// Whether what follows cannot be told apart any more.
    lost: bool,
}

impl CaptureReader {
    /// Opens a capture and reads its head. Allocates all that it will use.
    ///
    /// # Errors
    /// The file cannot be read, or is no capture: [`IoErrorKind::Malformed`] says what is wrong, and where.
    pub fn open(io: &mut Driver, path: &Path) -> Result<CaptureReader, IoError> {
        let mut bytes = ByteReader::open(io, path, AHEAD_BYTES)?;
        loop {
            let fault = match CaptureStart::parse(bytes.window()) {
                Ok((start, length)) => {
                    bytes.take(length);
                    return Ok(CaptureReader {
                        bytes,
                        start,
                        end: None,
                        lost: false,
                    });
                }
                Err(fault @ CaptureFault::Truncated { .. }) => match bytes.fill(io, AHEAD_BYTES) {
                    Ok(Fill::Progress { .. }) => continue,
                    Ok(Fill::End | Fill::Full) => fault,
                    Err(error) => {
                        // The error of reading is the one to tell.
                        let _ = bytes.close(io);
                        return Err(error.on(&path.display()));
                    }
                },
                Err(fault) => fault,
            };
            let _ = bytes.close(io);
            let at = CaptureBreak { offset: 0, fault };
            let subject = format!("{}: no capture, {at}", path.display());
            return Err(IoError::new(IoErrorKind::Malformed, "read").on(&subject));
        }
    }

    /// What it says of itself.
    #[must_use]
    pub fn start(&self) -> &CaptureStart {
        &self.start
    }

    /// Reads on: at most one read of the file, of at most `budget_bytes`. [`Fill::End`] says that there is nothing more now;
    /// a capture that is still written may be asked again.
    ///
    /// # Errors
    /// What the driver said of the file.
    pub fn fill(&mut self, io: &mut Driver, budget_bytes: usize) -> Result<Fill, IoError> {
        if self.is_over() {
            return Ok(Fill::End);
        }
        self.bytes.fill(io, budget_bytes)
    }

    /// The next message, or what is there instead. `None` if more must be [read](CaptureReader::fill) first, or nothing follows.
    pub fn next_event(&mut self) -> Option<CaptureEvent<'_>> {
        if self.is_over() {
            return None;
        }
        let window = self.bytes.window();
        if window.is_empty() {
            return None;
        }
        match CaptureEnd::parse(window) {
            Ok(None) => {}
            Ok(Some((end, length))) => {
                self.end = Some(end);
                self.bytes.take(length);
                return Some(CaptureEvent::End(end));
            }
            Err(fault) => return self.fault(fault).map(CaptureEvent::Bad),
        }
        let (about, frames, hash, length) = match CapturedMessage::parse(window) {
            Ok((message, length)) => (message.about, message.frames, message.hash, length),
            Err(fault) => return self.fault(fault).map(CaptureEvent::Bad),
        };
        let block = self.bytes.take(length);
        Some(CaptureEvent::Message(CapturedMessage {
            about,
            frames,
            hash,
            records: &block[BLOCK_HEAD_BYTES..],
        }))
    }

    fn fault(&mut self, fault: CaptureFault) -> Option<CaptureBreak> {
        let offset = self.bytes.offset();
        match fault {
            CaptureFault::Truncated { .. } => return None,
            CaptureFault::Checksum { .. } | CaptureFault::Frames | CaptureFault::Record(_) => {
                // Its length was in order and is there.
                let length = self.bytes.window()[4..8]
                    .try_into()
                    .map_or(0, u32::from_le_bytes);
                self.bytes.take(length as usize);
            }
            _ => self.lost = true,
        }
        Some(CaptureBreak { offset, fault })
    }

    /// Once the file has nothing more to give: the block that it breaks off in, if it does. A recorder that was killed may
    /// leave one, and so may one that is about to write on.
    #[must_use]
    pub fn torn(&self) -> Option<CaptureBreak> {
        if self.is_over() {
            return None;
        }
        let offset = self.bytes.offset();
        let found = self.bytes.window().len();
        match self.bytes.broken() {
            Some(Reject::Corrupt) => Some(CaptureBreak {
                offset: offset + found as u64,
                fault: CaptureFault::Corrupt,
            }),
            None if found == 0 => None,
            _ => Some(CaptureBreak {
                offset,
                fault: match CapturedMessage::parse(self.bytes.window()) {
                    Err(fault) => fault,
                    Ok(_) => return None,
                },
            }),
        }
    }

    /// Whether no whole block is buffered.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        let window = self.bytes.window();
        window.is_empty() || matches!(block_bytes(window), Err(CaptureFault::Truncated { .. }))
    }

    /// Whether nothing more will come: the end was read, or what follows cannot be told apart.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.end.is_some() || self.lost
    }

    /// Whether the file had nothing more to give when it was last asked.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.is_over() || self.bytes.has_ended()
    }

    /// Its end, once that was read.
    #[must_use]
    pub fn end(&self) -> Option<&CaptureEnd> {
        self.end.as_ref()
    }

    /// Bytes that are read and not taken yet.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.bytes.window().len()
    }

    /// Memory that it holds, in bytes, its names apart.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of::<CaptureReader>() + self.bytes.memory_bytes()
    }

    /// Closes the file.
    ///
    /// # Errors
    /// If `io` is not the driver it was opened with.
    pub fn close(self, io: &mut Driver) -> Result<(), IoError> {
        self.bytes.close(io)
    }
}
