//! Captures: what went over a hop, as a file that can be read while it is written.
//!
//! ```text
//!   "HOPC" head: line, hop, sources, kinds, both clocks at the start
//!   "HOPM" message: times, source, class, hash so far, check sum │ "HOPF" record of each of its frames
//!   "HOPM" message …
//!   "HOPE" end: why, how many, how many are missing      only where the recorder ended in good order
//! ```
//!
//! Each part is a *block*: its length stands in front, a check sum (CRC-32, IEEE 802.3) covers all of it, and it
//! is a multiple of 16 bytes long, so that payloads lie as a frame wants them. What a recorder that was killed
//! has left behind is whole up to its last whole block. `docs/CAPTURES.md` has the tables.
//!
//! The *content hash* says what was carried, whenever it was: schemas, versions, marks and payloads in their order,
//! and no time. It is a chain of XXH3 (64 bits), frame by frame; see [`content_hash`].
//!
//! Invariant: knows bytes only; parsing never panics and never reads past the end, whatever they are.

mod message;
mod start;

use crate::base::Flags;
use crate::base::limits::FRAGMENTS_MAX;
use crate::frame::{HEADER_BYTES, HeaderError, RECORD_BYTES_MAX};

pub(crate) use message::seal;
pub use message::{About, CaptureEnd, CapturedFrames, CapturedMessage, WhyEnded, block_bytes};
pub use start::{CaptureKind, CaptureStart, HEAD_BYTES_MAX};

/// The version of the format, in the head of each file.
pub const CAPTURE_VERSION: u16 = 1;

/// The first bytes of a capture, by which it is told from other files.
pub const CAPTURE_MAGIC: [u8; 4] = *b"HOPC";

/// Every block is a multiple of this, in bytes.
pub const BLOCK_ALIGN: usize = 16;

/// Bytes of a message's block before its records, and of a whole end block.
pub const BLOCK_HEAD_BYTES: usize = 48;

/// Bytes that a frame takes within a message's block, which has [`BLOCK_HEAD_BYTES`] more.
///
/// ```
/// use hopline::frame::capture::frame_bytes;
/// assert_eq!(frame_bytes(40), 48 + 48);
/// ```
#[must_use]
pub const fn frame_bytes(payload_bytes: usize) -> usize {
    HEADER_BYTES + payload_bytes.next_multiple_of(BLOCK_ALIGN)
}

/// Longest block of a message, in bytes: as many frames as a message may have.
pub const BLOCK_BYTES_MAX: usize = BLOCK_HEAD_BYTES + FRAGMENTS_MAX * RECORD_BYTES_MAX;

const _: () = assert!(BLOCK_BYTES_MAX.is_multiple_of(BLOCK_ALIGN));

/// Why bytes are no block of a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CaptureFault {
    /// The file ends within a block.
    #[error("it ends within a block: {found} of {needed} bytes are there")]
    Truncated {
        /// Bytes that are needed, as far as is known.
        needed: usize,
        /// Bytes that are there.
        found: usize,
    },
    /// No block begins here.
    #[error("no block begins with {0:02x?}")]
    Magic(
        /// The bytes found in its place.
        [u8; 4],
    ),
    /// A file of another version of the format.
    #[error("version {0} of the format; this build reads version {CAPTURE_VERSION}")]
    Version(
        /// The version found.
        u16,
    ),
    /// A length that no block has.
    #[error("a block of {0} bytes")]
    Length(
        /// The length found.
        u32,
    ),
    /// Something changed the block since it was written.
    #[error("its check sum is {found:08x}, and it says {stored:08x}")]
    Checksum {
        /// What the block says.
        stored: u32,
        /// What its bytes give.
        found: u32,
    },
    /// Names and kinds do not fit into the head, or are no text.
    #[error("the names and kinds in its head make no sense")]
    Names,
    /// It is compressed, and does not decompress.
    #[error("its gzip stream does not decompress")]
    Corrupt,
    /// Its frames are not as many as it says, or do not fill it, or are marked as no message is.
    #[error("its frames are not those of one message")]
    Frames,
    /// One of its frames is no record.
    #[error(transparent)]
    Record(#[from] HeaderError),
}

/// The content hash after one more frame: `h' = xxh3(payload, seed = xxh3(marks, seed = h))`, where `marks` are schema,
/// version, fragment marks (bit 0 first, bit 1 last) and length, two little-endian bytes each. It begins with 0.
///
/// XXH3 is well known, has fixed test vectors and takes a few nanoseconds for a frame. It finds what differs by
/// accident; it is no proof against somebody who wants it to be equal.
#[inline]
#[must_use]
pub fn content_hash(hash: u64, schema: u16, version: u16, flags: Flags, payload: &[u8]) -> u64 {
    let marks = u16::from(flags.is_first()) | u16::from(flags.is_last()) << 1;
    let mut head = [0; 8];
    for (place, word) in
        head.chunks_exact_mut(2)
            .zip([schema, version, marks, payload.len() as u16])
    {
        place.copy_from_slice(&word.to_le_bytes());
    }
    chain_hash(chain_hash(hash, &head), payload)
}

/// A hash of bytes behind others: what a chain of hashes is made of. It begins with 0.
///
/// ```
/// use hopline::frame::capture::chain_hash;
/// let both = |first, second| chain_hash(chain_hash(0, first), second);
/// assert_ne!(both(b"a", b"b"), both(b"b", b"a"));
/// ```
#[inline]
#[must_use]
pub fn chain_hash(hash: u64, bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(bytes, hash)
}

/// The check sum of a block whose bytes 8 to 12 hold it, or will.
fn checksum(block: &[u8], at: usize) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&block[..at]);
    sum.update(&[0; 4]);
    sum.update(&block[at + 4..]);
    sum.finalize()
}

/// Compares a block's check sum, at place `at` of it, with its bytes.
fn check(block: &[u8], at: usize) -> Result<(), CaptureFault> {
    let stored = u32_at(block, at);
    let found = checksum(block, at);
    if stored == found {
        Ok(())
    } else {
        Err(CaptureFault::Checksum { stored, found })
    }
}

fn put<const N: usize>(block: &mut [u8], at: usize, bytes: [u8; N]) {
    block[at..at + N].copy_from_slice(&bytes);
}

fn u16_at(block: &[u8], at: usize) -> u16 {
    block
        .get(at..at + 2)
        .map_or(0, |bytes| u16::from_le_bytes([bytes[0], bytes[1]]))
}

fn u32_at(block: &[u8], at: usize) -> u32 {
    u32::from(u16_at(block, at)) | u32::from(u16_at(block, at + 2)) << 16
}

fn u64_at(block: &[u8], at: usize) -> u64 {
    u64::from(u32_at(block, at)) | u64::from(u32_at(block, at + 4)) << 32
}

/// The first four bytes, if they are `magic` as far as they go; else what they are.
fn expect_magic(bytes: &[u8], magic: [u8; 4]) -> Result<(), CaptureFault> {
    let found = &bytes[..bytes.len().min(4)];
    if magic.starts_with(found) {
        return Ok(());
    }
    let mut shown = [0; 4];
    shown[..found.len()].copy_from_slice(found);
    Err(CaptureFault::Magic(shown))
}
