//! The head of a capture: what was recorded, of what kinds, and when it began.
//!
//! Invariant: a file can be read years later by its head alone: it names its sources and its kinds with their versions.

use super::{
    BLOCK_ALIGN, CAPTURE_MAGIC, CAPTURE_VERSION, CaptureFault, check, checksum, expect_magic, put,
    u16_at, u32_at, u64_at,
};
use crate::base::limits::{KINDS_PER_HOP_MAX, NODES_MAX};
use crate::frame::KindInfo;

/// Longest head, in bytes: names of all nodes that a line may have, with room.
pub const HEAD_BYTES_MAX: usize = 64 << 10;

/// Bytes of the head before its texts.
const FIXED_BYTES: usize = 48;

/// Where its check sum stands.
const SUM_AT: usize = 12;

/// Longest name that is kept, in bytes; what is longer is cut at a character.
const NAME_BYTES_MAX: usize = 256;

const _: () = assert!(
    FIXED_BYTES + (2 + NODES_MAX) * (2 + NAME_BYTES_MAX) + KINDS_PER_HOP_MAX * (8 + NAME_BYTES_MAX)
        <= HEAD_BYTES_MAX
);

/// A kind of frame in a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureKind {
    /// Its schema id.
    pub schema: u16,
    /// The version of its layout.
    pub version: u16,
    /// Bytes of payload.
    pub bytes: u16,
    /// Its name.
    pub name: String,
}

impl CaptureKind {
    /// A kind as the head has it.
    #[must_use]
    pub fn of(kind: &KindInfo) -> CaptureKind {
        CaptureKind {
            schema: kind.schema,
            version: kind.version,
            bytes: kind.bytes as u16,
            name: kind.name.to_owned(),
        }
    }
}

/// What a capture says of itself in front of its messages.
///
/// ```
/// use hopline::frame::capture::CaptureStart;
/// let start = CaptureStart {
///     wall_ns: 1_723_161_255_000_000_000,
///     line_ns: 12_000,
///     line: "tick-to-trade".to_owned(),
///     hop: "btc->book".to_owned(),
///     sources: vec!["btc".to_owned()],
///     kinds: Vec::new(),
/// };
/// let head = start.encode();
/// assert_eq!(CaptureStart::parse(&head)?, (start, head.len()));
/// # Ok::<(), hopline::frame::capture::CaptureFault>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaptureStart {
    /// When it began, in nanoseconds of wall time since 1970.
    pub wall_ns: u64,
    /// The same moment on the line's clock, in nanoseconds.
    pub line_ns: u64,
    /// The line's name.
    pub line: String,
    /// The hop's name.
    pub hop: String,
    /// The line's sources; a message's `source` is a place in it.
    pub sources: Vec<String>,
    /// The kinds that the hop carries.
    pub kinds: Vec<CaptureKind>,
}

/// A name as it is kept.
fn cut(name: &str) -> &str {
    let mut most = name.len().min(NAME_BYTES_MAX);
    while !name.is_char_boundary(most) {
        most -= 1;
    }
    &name[..most]
}

impl CaptureStart {
    /// The head as bytes. Sources and kinds beyond what a line may have are left out; names are cut at 256 bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (line, hop) = (cut(&self.line), cut(&self.hop));
        let sources = &self.sources[..self.sources.len().min(NODES_MAX)];
        let kinds = &self.kinds[..self.kinds.len().min(KINDS_PER_HOP_MAX)];
        let mut head = vec![0; FIXED_BYTES];
        put(&mut head, 0, CAPTURE_MAGIC);
        put(&mut head, 4, CAPTURE_VERSION.to_le_bytes());
        put(&mut head, 16, self.wall_ns.to_le_bytes());
        put(&mut head, 24, self.line_ns.to_le_bytes());
        let counts = [line.len(), hop.len(), sources.len(), kinds.len()];
        for (at, count) in counts.into_iter().enumerate() {
            put(&mut head, 32 + 2 * at, (count as u16).to_le_bytes());
        }
        head.extend_from_slice(line.as_bytes());
        head.extend_from_slice(hop.as_bytes());
        for source in sources {
            let name = cut(source);
            head.extend_from_slice(&(name.len() as u16).to_le_bytes());
            head.extend_from_slice(name.as_bytes());
        }
        for kind in kinds {
            let name = cut(&kind.name);
            for word in [kind.schema, kind.version, kind.bytes, name.len() as u16] {
                head.extend_from_slice(&word.to_le_bytes());
            }
            head.extend_from_slice(name.as_bytes());
        }
        head.resize(head.len().next_multiple_of(BLOCK_ALIGN), 0);
        let bytes = head.len() as u32;
        put(&mut head, 8, bytes.to_le_bytes());
        let sum = checksum(&head, SUM_AT);
        put(&mut head, SUM_AT, sum.to_le_bytes());
        head
    }

    /// The head at the start of `bytes`, and its length in bytes.
    ///
    /// # Errors
    /// [`CaptureFault::Truncated`] where more bytes are needed, which says how many; else what is wrong.
    pub fn parse(bytes: &[u8]) -> Result<(CaptureStart, usize), CaptureFault> {
        let truncated = |needed| CaptureFault::Truncated {
            needed,
            found: bytes.len(),
        };
        expect_magic(bytes, CAPTURE_MAGIC)?;
        if bytes.len() < FIXED_BYTES {
            return Err(truncated(FIXED_BYTES));
        }
        let version = u16_at(bytes, 4);
        if version != CAPTURE_VERSION {
            return Err(CaptureFault::Version(version));
        }
        let length = u32_at(bytes, 8);
        let needed = length as usize;
        if !(FIXED_BYTES..=HEAD_BYTES_MAX).contains(&needed) || !needed.is_multiple_of(BLOCK_ALIGN)
        {
            return Err(CaptureFault::Length(length));
        }
        let head = bytes.get(..needed).ok_or_else(|| truncated(needed))?;
        check(head, SUM_AT)?;
        let mut rest = &head[FIXED_BYTES..];
        let mut start = CaptureStart {
            wall_ns: u64_at(head, 16),
            line_ns: u64_at(head, 24),
            line: text(&mut rest, u16_at(head, 32))?,
            hop: text(&mut rest, u16_at(head, 34))?,
            ..CaptureStart::default()
        };
        for _ in 0..u16_at(head, 36) {
            let [bytes] = words(&mut rest)?;
            start.sources.push(text(&mut rest, bytes)?);
        }
        for _ in 0..u16_at(head, 38) {
            let [schema, version, bytes, name] = words(&mut rest)?;
            start.kinds.push(CaptureKind {
                schema,
                version,
                bytes,
                name: text(&mut rest, name)?,
            });
        }
        Ok((start, needed))
    }
}

fn words<const N: usize>(rest: &mut &[u8]) -> Result<[u16; N], CaptureFault> {
    let (taken, left) = rest.split_at_checked(2 * N).ok_or(CaptureFault::Names)?;
    *rest = left;
    Ok(core::array::from_fn(|at| u16_at(taken, 2 * at)))
}

fn text(rest: &mut &[u8], bytes: u16) -> Result<String, CaptureFault> {
    let (taken, left) = rest
        .split_at_checked(usize::from(bytes))
        .ok_or(CaptureFault::Names)?;
    *rest = left;
    let text = core::str::from_utf8(taken).map_err(|_| CaptureFault::Names)?;
    Ok(text.to_owned())
}
