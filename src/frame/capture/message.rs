//! The blocks behind a capture's head: messages, and its end.
//!
//! Invariant: a block that is given out has passed its check sum, and its records are those of one whole message.

use super::{
    BLOCK_ALIGN, BLOCK_BYTES_MAX, BLOCK_HEAD_BYTES, CaptureFault, check, checksum, expect_magic,
    put, u16_at, u32_at, u64_at,
};
use crate::base::Flags;
use crate::base::limits::FRAGMENTS_MAX;
use crate::frame::{HEADER_BYTES, Header};

const MESSAGE_MAGIC: [u8; 4] = *b"HOPM";
const END_MAGIC: [u8; 4] = *b"HOPE";

/// Where the check sum of these blocks stands.
const SUM_AT: usize = 8;

/// What a capture says of a message beside what its frames say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// The source in which it entered the line, by its place in the head's list.
    pub source: u16,
    /// Its class; 0 is the most important.
    pub class: u8,
    /// Nanoseconds after it was offered at which it was worthless; 0 means never.
    pub deadline_ns: u32,
    /// When it was offered to the hop, in nanoseconds of the line's clock.
    pub offered_ns: u64,
    /// When it was due, in nanoseconds of the line's clock.
    pub intended_ns: u64,
}

/// Fills in the head of a block whose records are written: `block` is all of it.
pub(crate) fn seal(block: &mut [u8], about: &About, frames: usize, hash: u64) {
    block[..BLOCK_HEAD_BYTES].fill(0);
    put(block, 0, MESSAGE_MAGIC);
    put(block, 4, (block.len() as u32).to_le_bytes());
    put(block, 12, (frames as u16).to_le_bytes());
    put(block, 14, about.source.to_le_bytes());
    put(block, 16, [about.class]);
    put(block, 20, about.deadline_ns.to_le_bytes());
    put(block, 24, about.offered_ns.to_le_bytes());
    put(block, 32, about.intended_ns.to_le_bytes());
    put(block, 40, hash.to_le_bytes());
    let sum = checksum(block, SUM_AT);
    put(block, SUM_AT, sum.to_le_bytes());
}

/// A message of a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapturedMessage<'a> {
    /// Times, source and class.
    pub about: About,
    /// Frames in it.
    pub frames: usize,
    /// The content hash of all messages up to this one.
    pub hash: u64,
    /// The frames' records, one after the other.
    pub records: &'a [u8],
}

impl<'a> CapturedMessage<'a> {
    /// The message whose block begins `bytes`, and the block's length in bytes.
    ///
    /// # Errors
    /// [`CaptureFault::Truncated`] where more bytes are needed, which says how many; else what is wrong.
    pub fn parse(bytes: &'a [u8]) -> Result<(CapturedMessage<'a>, usize), CaptureFault> {
        let block = whole(bytes, MESSAGE_MAGIC)?;
        check(block, SUM_AT)?;
        let message = CapturedMessage {
            about: About {
                source: u16_at(block, 14),
                class: block[16],
                deadline_ns: u32_at(block, 20),
                offered_ns: u64_at(block, 24),
                intended_ns: u64_at(block, 32),
            },
            frames: usize::from(u16_at(block, 12)),
            hash: u64_at(block, 40),
            records: &block[BLOCK_HEAD_BYTES..],
        };
        message.check()?;
        Ok((message, block.len()))
    }

    fn check(&self) -> Result<(), CaptureFault> {
        if !(1..=FRAGMENTS_MAX).contains(&self.frames) {
            return Err(CaptureFault::Frames);
        }
        let mut rest = self.records;
        for at in 0..self.frames {
            let (header, _) = Header::parse(rest)?;
            if header.meta().flags != Flags::fragment(at, self.frames) {
                return Err(CaptureFault::Frames);
            }
            // It was parsed, so it is there.
            rest = &rest[header.record_bytes()..];
        }
        if rest.is_empty() {
            Ok(())
        } else {
            Err(CaptureFault::Frames)
        }
    }

    /// Its frames, in order: header and payload.
    #[must_use]
    pub fn frames(&self) -> CapturedFrames<'a> {
        CapturedFrames { rest: self.records }
    }

    /// Place of its first frame on the hop, in frames: what is missing between two messages was lost on the way to the file.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        Header::parse(self.records).map_or(0, |(header, _)| header.meta().sequence)
    }

    /// When it was due, in nanoseconds of wall time since 1970, by the recorder's clock.
    #[must_use]
    pub fn intended_wall_ns(&self) -> u64 {
        Header::parse(self.records).map_or(0, |(header, _)| header.meta().intended_ns)
    }
}

/// The records of a message, one after the other. Ends at what is no record.
#[derive(Clone, Debug)]
pub struct CapturedFrames<'a> {
    rest: &'a [u8],
}

impl<'a> CapturedFrames<'a> {
    /// Those in `records`, as [`CapturedMessage::records`] are.
    #[must_use]
    pub const fn of(records: &'a [u8]) -> CapturedFrames<'a> {
        CapturedFrames { rest: records }
    }
}

impl<'a> Iterator for CapturedFrames<'a> {
    type Item = (&'a Header, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (header, payload) = Header::parse(self.rest).ok()?;
        self.rest = self.rest.get(header.record_bytes()..)?;
        Some((header, payload))
    }
}

const _: () = assert!(HEADER_BYTES.is_multiple_of(BLOCK_ALIGN));

crate::reasons! {
    /// Why a capture ended in good order.
    pub enum WhyEnded {
        /// The hop has ended.
        HopEnded = "hop_ended",
        /// It has as many bytes as it may.
        Bound = "bound",
        /// The recorder was told to stop.
        Stopped = "stopped",
    }
}

/// The end of a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaptureEnd {
    /// Why it ended; `None` is a reason that this build does not know.
    pub why: Option<WhyEnded>,
    /// Messages in the file.
    pub messages: u64,
    /// Frames that never came to the recorder: it had no room for them.
    pub frames_lost: u64,
    /// Messages that came to it and are not in the file.
    pub unrecorded: u64,
    /// The content hash of all messages.
    pub hash: u64,
}

impl CaptureEnd {
    /// The block.
    #[must_use]
    pub fn encode(&self) -> [u8; BLOCK_HEAD_BYTES] {
        let mut block = [0; BLOCK_HEAD_BYTES];
        put(&mut block, 0, END_MAGIC);
        put(&mut block, 4, (BLOCK_HEAD_BYTES as u32).to_le_bytes());
        let why = self.why.map_or(u16::MAX, |why| why as u16);
        put(&mut block, 12, why.to_le_bytes());
        put(&mut block, 16, self.messages.to_le_bytes());
        put(&mut block, 24, self.frames_lost.to_le_bytes());
        put(&mut block, 32, self.unrecorded.to_le_bytes());
        put(&mut block, 40, self.hash.to_le_bytes());
        let sum = checksum(&block, SUM_AT);
        put(&mut block, SUM_AT, sum.to_le_bytes());
        block
    }

    /// The end block at the start of `bytes`, and its length in bytes; `None` where none begins there.
    ///
    /// # Errors
    /// As [`CapturedMessage::parse`].
    pub fn parse(bytes: &[u8]) -> Result<Option<(CaptureEnd, usize)>, CaptureFault> {
        if !bytes.starts_with(&END_MAGIC) {
            return Ok(None);
        }
        let block = whole(bytes, END_MAGIC)?;
        if block.len() != BLOCK_HEAD_BYTES {
            return Err(CaptureFault::Length(block.len() as u32));
        }
        check(block, SUM_AT)?;
        let end = CaptureEnd {
            why: WhyEnded::ALL.get(usize::from(u16_at(block, 12))).copied(),
            messages: u64_at(block, 16),
            frames_lost: u64_at(block, 24),
            unrecorded: u64_at(block, 32),
            hash: u64_at(block, 40),
        };
        Ok(Some((end, block.len())))
    }
}

/// The length of the block at the start of `bytes`, all of which is there; its check sum is not looked at.
///
/// # Errors
/// As [`CapturedMessage::parse`], of its first bytes and its length.
pub fn block_bytes(bytes: &[u8]) -> Result<usize, CaptureFault> {
    let magic = if bytes.starts_with(&END_MAGIC) {
        END_MAGIC
    } else {
        MESSAGE_MAGIC
    };
    whole(bytes, magic).map(<[u8]>::len)
}

/// The whole block at the start of `bytes`, by its own length.
fn whole(bytes: &[u8], magic: [u8; 4]) -> Result<&[u8], CaptureFault> {
    let truncated = |needed| CaptureFault::Truncated {
        needed,
        found: bytes.len(),
    };
    expect_magic(bytes, magic)?;
    if bytes.len() < BLOCK_HEAD_BYTES {
        return Err(truncated(BLOCK_HEAD_BYTES));
    }
    let length = u32_at(bytes, 4);
    let needed = length as usize;
    if !(BLOCK_HEAD_BYTES..=BLOCK_BYTES_MAX).contains(&needed)
        || !needed.is_multiple_of(BLOCK_ALIGN)
    {
        return Err(CaptureFault::Length(length));
    }
    bytes.get(..needed).ok_or_else(|| truncated(needed))
}
