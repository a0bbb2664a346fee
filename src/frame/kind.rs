//! Kinds of frames: what the frame attribute implements.
//!
//! Invariant: a schema id and a version name one layout for ever.

use crate::frame::FrameError;
use core::fmt;

/// A message of fixed size that hops carry; `#[hopline::frame(…)]` implements it.
pub trait Frame: Sized + 'static {
    /// Id of the kind, 1 to 65535: the `kind` of an envelope.
    const SCHEMA: u16;
    /// Version of this layout, 1 to 65535. A slot does not carry it: within one run all is built
    /// from the same source. The persistent [header](crate::frame::Header) does.
    const VERSION: u16;
    /// Name in reports.
    const NAME: &'static str;
    /// Bytes of payload of every frame of this kind: the size of the archived type, at most
    /// [`PAYLOAD_BYTES`](crate::base::limits::PAYLOAD_BYTES).
    const BYTES: usize = size_of::<Self::Archived>();
    /// Whether frames of this kind have a key.
    const KEYED: bool = false;
    /// The frame as it lies in a slot, with an accessor method a field.
    type Archived: fmt::Debug + 'static;

    /// Writes the frame in place at the start of `buf`; answers [`Self::BYTES`]. Allocates nothing;
    /// `buf` may have any alignment.
    ///
    /// # Errors
    /// [`FrameError::Space`] if `buf` is shorter than [`Self::BYTES`].
    fn write(&self, buf: &mut [u8]) -> Result<usize, FrameError>;

    /// Checks `bytes` and reads them in place.
    ///
    /// # Errors
    /// [`FrameError::Length`] unless `bytes` is exactly [`Self::BYTES`] long,
    /// [`FrameError::Misaligned`] or [`FrameError::Invalid`] otherwise.
    fn read(bytes: &[u8]) -> Result<&Self::Archived, FrameError>;

    /// Its key, by which a hop conflates and splits; 0 where it has none. The attribute's argument `key` names the field,
    /// or `key_of` the method that computes it.
    ///
    /// ```
    /// use hopline::frame::Frame;
    /// #[hopline::frame(schema = 7, version = 1, key = "symbol")]
    /// struct Quote { symbol: u16, bid: i64 }
    /// assert!(Quote::KEYED);
    /// assert_eq!(Quote { symbol: 3, bid: 100 }.key(), 3);
    /// ```
    #[inline]
    fn key(&self) -> u64 {
        0
    }

    /// A native copy of an archived frame.
    #[must_use]
    fn owned(archived: &Self::Archived) -> Self;
}

/// What a plan, a report and a check at connect time know of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindInfo {
    /// Id of the kind: the `kind` of an envelope.
    pub schema: u16,
    /// Version of the layout.
    pub version: u16,
    /// Name in reports.
    pub name: &'static str,
    /// Bytes of payload of every frame of this kind.
    pub bytes: usize,
    /// Whether its frames have a [key](Frame::key).
    pub keyed: bool,
}

impl KindInfo {
    /// The kind of frame `F`.
    #[must_use]
    pub const fn of<F: Frame>() -> KindInfo {
        KindInfo {
            schema: F::SCHEMA,
            version: F::VERSION,
            name: F::NAME,
            bytes: F::BYTES,
            keyed: F::KEYED,
        }
    }
}

/// Whether no two of `kinds` have the same schema id.
///
/// ```
/// use hopline::frame::{KindInfo, schemas_differ};
/// let quote = KindInfo { schema: 7, version: 1, name: "quote", bytes: 24, keyed: false };
/// let trade = KindInfo { schema: 8, version: 1, name: "trade", bytes: 16, keyed: false };
/// assert!(schemas_differ(&[quote, trade]));
/// assert!(!schemas_differ(&[quote, trade, quote]));
/// ```
#[must_use]
pub const fn schemas_differ(kinds: &[KindInfo]) -> bool {
    let mut at = 0;
    while at < kinds.len() {
        let mut other = at + 1;
        while other < kinds.len() {
            if kinds[at].schema == kinds[other].schema {
                return false;
            }
            other += 1;
        }
        at += 1;
    }
    true
}
