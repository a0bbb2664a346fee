//! The gzip side of reading a file: compressed bytes in, text out, nothing allocated after opening.
//!
//! Invariant: says once why a stream ended early, and never gives text of which the checksum is known to be wrong without saying so.

use crate::base::Reject;
use crate::io::error::IoError;
use crate::io::gzip::{Gunzip, INFLATE_BYTES, MAGIC};
use crate::io::{Driver, FileId};

/// Most compressed bytes read at once; a slice of them makes about 100 KiB of market data.
pub(super) const PACKED_BYTES: usize = 16 << 10;

/// Most reads at opening until the two bytes are there that tell gzip from text. A file gives them
/// at once, a pipe perhaps not.
const SNIFF_READS_MAX: usize = 64;

/// Reads the first bytes of a file, by which gzip is told from anything else, and says how many there are. Closes the file
/// where that fails.
pub(super) fn sniff(driver: &mut Driver, file: FileId, room: &mut [u8]) -> Result<usize, IoError> {
    let mut sniffed = 0;
    for _ in 0..SNIFF_READS_MAX {
        match driver.file_read(file, &mut room[sniffed..MAGIC.len()]) {
            Ok(0) => break,
            Ok(read) => sniffed += read,
            Err(error) => {
                // The error of reading is the one to tell.
                let _ = driver.file_close(file);
                return Err(error);
            }
        }
        if sniffed == MAGIC.len() {
            break;
        }
    }
    Ok(sniffed)
}

/// A gzip stream on its way.
#[derive(Debug)]
pub(super) struct Packed {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
    gunzip: Gunzip,
}

/// What a fill came to.
pub(super) struct Filled {
    pub(super) text_bytes: usize,
    pub(super) ended: bool,
    pub(super) broken: Option<Reject>,
}

impl Packed {
    /// One that has taken those first bytes of a file, if they are gzip's. A lone first byte of the magic is gzip cut off after one.
    pub(super) fn of(sniffed: &[u8]) -> Option<Packed> {
        if sniffed.is_empty() || !MAGIC.starts_with(sniffed) {
            return None;
        }
        let mut bytes = vec![0; PACKED_BYTES].into_boxed_slice();
        bytes[..sniffed.len()].copy_from_slice(sniffed);
        Some(Packed {
            bytes,
            start: 0,
            end: sniffed.len(),
            gunzip: Gunzip::new(),
        })
    }

    /// Memory that it holds, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes.len() + INFLATE_BYTES
    }

    /// Decompresses on into `room`: at most one read of the file.
    pub(super) fn fill(
        &mut self,
        driver: &mut Driver,
        file: FileId,
        room: &mut [u8],
    ) -> Result<Filled, IoError> {
        let mut file_ended = false;
        if self.start == self.end {
            let most = self.bytes.len().min(room.len());
            self.start = 0;
            self.end = 0;
            self.end = driver.file_read(file, &mut self.bytes[..most])?;
            file_ended = self.end == 0;
        }
        let step = self.gunzip.step(&self.bytes[self.start..self.end], room);
        self.start += step.consumed;
        let broken = if self.gunzip.is_broken() {
            Some(Reject::Corrupt)
        } else {
            let cut = file_ended && step.produced == 0 && !self.gunzip.is_between();
            cut.then_some(Reject::Truncated)
        };
        Ok(Filled {
            text_bytes: step.produced,
            // Text that had no room before may still come out after the last byte went in.
            ended: broken.is_some() || (file_ended && step.produced == 0),
            broken,
        })
    }
}
