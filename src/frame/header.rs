//! The persistent header of a frame: 48 bytes before the payload, where frames leave the process.
//!
//! Little-endian throughout, as the payload is (rkyv's default): one byte order in a record, and a
//! plain load on every machine that this is built for. Every field has its own bytes, so the struct
//! may be read at any address.
//!
//! It carries no checksum: what a capture's compression, TCP, UDP and disks check already is not
//! checked again. A flipped bit in the words that say what follows (magic, lengths, schema, version,
//! reserved) is an error; one in a value (sequence, times, fragment marks) is another value.
//!
//! Invariant: parsing looks at bytes only; it never panics, whatever they are.

use crate::base::Flags;
use crate::base::limits::PAYLOAD_BYTES;
use crate::frame::{FrameError, PAYLOAD_ALIGN};
use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The first bytes of every record.
pub const MAGIC: [u8; 4] = *b"HOPF";

/// Bytes of the header. A multiple of [`PAYLOAD_ALIGN`], so that an aligned record has an aligned
/// payload.
pub const HEADER_BYTES: usize = 48;

/// Bytes of the longest record: header, payload and padding.
pub const RECORD_BYTES_MAX: usize = HEADER_BYTES + PAYLOAD_BYTES.next_multiple_of(PAYLOAD_ALIGN);

const FLAG_FIRST: u16 = 1;
const FLAG_LAST: u16 = 2;

/// The persistent header, byte for byte; `docs/FRAME_FORMAT.md` has the table.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
pub struct Header {
    magic: [u8; 4],
    header_bytes: U16,
    schema: U16,
    version: U16,
    flags: U16,
    payload_bytes: U32,
    sequence: U64,
    time_ns: U64,
    intended_ns: U64,
    reserved: [u8; 8],
}

/// What a record tells of its frame beside the payload and its kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Position of the frame in the stream it was taken from; it rises by one a frame.
    pub sequence: u64,
    /// When the record was written, in nanoseconds of wall time since 1970.
    pub time_ns: u64,
    /// When the frame's message was due, in nanoseconds of wall time since 1970.
    pub intended_ns: u64,
    /// Fragment marks.
    pub flags: Flags,
}

/// Why bytes are no record, or not the record that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The bytes end before the record does.
    #[error("the record needs {needed} bytes, {found} are there")]
    Truncated {
        /// Bytes that are needed, as far as is known.
        needed: usize,
        /// Bytes that are there.
        found: usize,
    },
    /// The bytes do not begin with [`MAGIC`].
    #[error("not a record: it begins with {0:02x?}")]
    Magic(
        /// The bytes found in its place.
        [u8; 4],
    ),
    /// A header of another length than this version of the format has.
    #[error("a header of {0} bytes; this format has {HEADER_BYTES}")]
    HeaderLength(
        /// The length found.
        u16,
    ),
    /// A payload that no slot holds.
    #[error("a payload of {0} bytes; a slot holds at most {PAYLOAD_BYTES}")]
    PayloadLength(
        /// The length found.
        u32,
    ),
    /// Reserved bytes, unknown flags or padding that are not zero.
    #[error("bytes that must be zero are not: written by a newer format, or damaged")]
    Reserved,
    /// A frame of another kind.
    #[error("a record of schema {found}; expected {expected}")]
    Schema {
        /// The schema id that was asked for.
        expected: u16,
        /// The schema id found.
        found: u16,
    },
    /// A frame of a version for which there is no layout and no upgrade.
    #[error("schema {schema} in version {found}; this build reads version {expected}")]
    Version {
        /// The schema id.
        schema: u16,
        /// The version that this build has.
        expected: u16,
        /// The version found.
        found: u16,
    },
    /// The buffer is too small for the record.
    #[error("the record needs {needed} bytes of buffer, {found} are there")]
    Space {
        /// Bytes that are needed.
        needed: usize,
        /// Bytes that are there.
        found: usize,
    },
    /// The payload is not what its kind promises.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

impl Header {
    /// A header for a payload of `payload_bytes` bytes of schema `schema` in version `version`.
    ///
    /// # Errors
    /// [`HeaderError::PayloadLength`] if no slot holds such a payload.
    pub fn new(
        schema: u16,
        version: u16,
        payload_bytes: usize,
        meta: Meta,
    ) -> Result<Header, HeaderError> {
        if payload_bytes > PAYLOAD_BYTES {
            let shown = u32::try_from(payload_bytes).unwrap_or(u32::MAX);
            return Err(HeaderError::PayloadLength(shown));
        }
        Ok(Header {
            magic: MAGIC,
            header_bytes: U16::new(HEADER_BYTES as u16),
            schema: U16::new(schema),
            version: U16::new(version),
            flags: U16::new(bits(meta.flags)),
            payload_bytes: U32::new(payload_bytes as u32),
            sequence: U64::new(meta.sequence),
            time_ns: U64::new(meta.time_ns),
            intended_ns: U64::new(meta.intended_ns),
            reserved: [0; 8],
        })
    }

    /// The header at the start of `bytes`, and its payload. Bytes after the record are not looked
    /// at: the next record begins [`Header::record_bytes`] further on.
    ///
    /// # Errors
    /// Any [`HeaderError`] but `Schema`, `Version`, `Space` and `Frame`: what the kind is, and
    /// whether the payload is sound, is for [`decode`](crate::frame::decode) to say.
    pub fn parse(bytes: &[u8]) -> Result<(&Header, &[u8]), HeaderError> {
        let truncated = |needed| HeaderError::Truncated {
            needed,
            found: bytes.len(),
        };
        let (header, rest) = Header::ref_from_prefix(bytes).map_err(|_| truncated(HEADER_BYTES))?;
        if header.magic != MAGIC {
            return Err(HeaderError::Magic(header.magic));
        }
        if usize::from(header.header_bytes.get()) != HEADER_BYTES {
            return Err(HeaderError::HeaderLength(header.header_bytes.get()));
        }
        if header.reserved != [0; 8] || header.flags.get() & !(FLAG_FIRST | FLAG_LAST) != 0 {
            return Err(HeaderError::Reserved);
        }
        if header.payload_bytes() > PAYLOAD_BYTES {
            return Err(HeaderError::PayloadLength(header.payload_bytes.get()));
        }
        let body = rest
            .get(..header.record_bytes() - HEADER_BYTES)
            .ok_or_else(|| truncated(header.record_bytes()))?;
        let (payload, padding) = body.split_at(header.payload_bytes());
        if padding.iter().any(|&byte| byte != 0) {
            return Err(HeaderError::Reserved);
        }
        Ok((header, payload))
    }

    /// Writes the header to the start of `out`; answers [`HEADER_BYTES`].
    ///
    /// # Errors
    /// [`HeaderError::Space`] if `out` is shorter than that.
    pub fn write(&self, out: &mut [u8]) -> Result<usize, HeaderError> {
        let found = out.len();
        self.write_to_prefix(out).map_err(|_| HeaderError::Space {
            needed: HEADER_BYTES,
            found,
        })?;
        Ok(HEADER_BYTES)
    }

    /// The schema id.
    #[must_use]
    pub fn schema(&self) -> u16 {
        self.schema.get()
    }

    /// The version of the schema.
    #[must_use]
    pub fn version(&self) -> u16 {
        self.version.get()
    }

    /// Bytes of payload.
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        self.payload_bytes.get() as usize
    }

    /// Bytes of the whole record: header, payload, and zeros up to a multiple of [`PAYLOAD_ALIGN`].
    #[must_use]
    pub fn record_bytes(&self) -> usize {
        HEADER_BYTES.saturating_add(self.payload_bytes().next_multiple_of(PAYLOAD_ALIGN))
    }

    /// Sequence, times and fragment marks.
    #[must_use]
    pub fn meta(&self) -> Meta {
        Meta {
            sequence: self.sequence.get(),
            time_ns: self.time_ns.get(),
            intended_ns: self.intended_ns.get(),
            flags: flags(self.flags.get()),
        }
    }
}

/// The persistent bits are this format's own, whatever the envelope's are.
fn bits(flags: Flags) -> u16 {
    (u16::from(flags.is_first()) * FLAG_FIRST) | (u16::from(flags.is_last()) * FLAG_LAST)
}

fn flags(bits: u16) -> Flags {
    match (bits & FLAG_FIRST != 0, bits & FLAG_LAST != 0) {
        (true, true) => Flags::WHOLE,
        (true, false) => Flags::FIRST,
        (false, true) => Flags::LAST,
        (false, false) => Flags::MIDDLE,
    }
}

const _: () = assert!(size_of::<Header>() == HEADER_BYTES);
const _: () = assert!(HEADER_BYTES.is_multiple_of(PAYLOAD_ALIGN));
const _: () = assert!(RECORD_BYTES_MAX <= u16::MAX as usize);
