//! Records: header and payload together, and upgrades from older versions.
//!
//! Invariant: a record is read only as the schema and version that it names.

use crate::base::limits::PAYLOAD_BYTES;
use crate::frame::{
    Aligned, Frame, FrameError, HEADER_BYTES, Header, HeaderError, KindInfo, Meta, View,
};

/// Writes `frame` as a record to the start of `out`; answers the record's length in bytes, which is
/// a multiple of 16. Records may follow each other without gaps.
///
/// # Errors
/// [`HeaderError::Space`] if `out` is shorter than the record.
pub fn encode<F: Frame>(frame: &F, meta: Meta, out: &mut [u8]) -> Result<usize, HeaderError> {
    let (payload, record_bytes) = begin(&KindInfo::of::<F>(), F::BYTES, meta, out)?;
    frame.write(payload)?;
    Ok(record_bytes)
}

/// Writes a payload that is archived already as a record: what a capture does with the bytes of a
/// slot. The payload is taken as it is.
///
/// # Errors
/// [`FrameError::Length`] if `payload` has not the length of `kind`; [`HeaderError::Space`] if `out`
/// is shorter than the record.
pub fn encode_payload(
    kind: &KindInfo,
    payload: &[u8],
    meta: Meta,
    out: &mut [u8],
) -> Result<usize, HeaderError> {
    if payload.len() != kind.bytes {
        return Err(HeaderError::Frame(FrameError::Length {
            kind: kind.schema,
            expected: kind.bytes,
            found: payload.len(),
        }));
    }
    let (place, record_bytes) = begin(kind, payload.len(), meta, out)?;
    place.copy_from_slice(payload);
    Ok(record_bytes)
}

/// Writes header and padding; answers the payload's place and the record's length.
fn begin<'o>(
    kind: &KindInfo,
    payload_bytes: usize,
    meta: Meta,
    out: &'o mut [u8],
) -> Result<(&'o mut [u8], usize), HeaderError> {
    let header = Header::new(kind.schema, kind.version, payload_bytes, meta)?;
    let (needed, found) = (header.record_bytes(), out.len());
    let record = out
        .get_mut(..needed)
        .ok_or(HeaderError::Space { needed, found })?;
    header.write(record)?;
    let (payload, padding) = record[HEADER_BYTES..].split_at_mut(payload_bytes);
    padding.fill(0);
    Ok((payload, needed))
}

/// Reads the record at the start of `bytes` in place as a frame of kind `F`.
///
/// The payload is read where it lies, so `bytes` begins at a multiple of 16; bytes from elsewhere
/// are copied to an [`Aligned`] first.
///
/// # Errors
/// [`HeaderError::Frame`] with [`FrameError::Misaligned`] if `bytes` lies at the wrong address; else
/// what is wrong with the record.
pub fn decode<F: Frame>(bytes: &[u8]) -> Result<View<'_, F>, HeaderError> {
    let (header, payload) = Header::parse(bytes)?;
    expect_schema::<F>(header)?;
    if header.version() != F::VERSION {
        return Err(version_error::<F>(header.version()));
    }
    Ok(View::read(payload)?)
}

/// A frame that can be read from records of its older versions.
///
/// An upgrade is a function from one version's payload to the newest one's: explicit, total over the
/// versions it names, and tested. The old layout stays in the source as a frame of its own, with the
/// same schema id and its old version.
///
/// ```
/// use hopline::frame::{Aligned, Frame, HeaderError, Meta, Upgrade, decode_or_upgrade, encode};
///
/// #[hopline::frame(schema = 7, version = 1, name = "quote")]
/// struct QuoteV1 { bid: i64, ask: i64 }
///
/// #[hopline::frame(schema = 7, version = 2)]
/// struct Quote { bid: i64, ask: i64, venue: u16 }
///
/// impl Upgrade for Quote {
///     fn upgrade(from: u16, payload: &[u8], out: &mut [u8]) -> Result<usize, HeaderError> {
///         match from {
///             1 => {
///                 let old = QuoteV1::read(payload)?;
///                 // Version 1 knew one venue only.
///                 Ok(Quote { bid: old.bid(), ask: old.ask(), venue: 0 }.write(out)?)
///             }
///             _ => Err(Self::no_upgrade(from)),
///         }
///     }
/// }
///
/// let mut record = Aligned::<144>::new();
/// encode(&QuoteV1 { bid: 1, ask: 2 }, Meta::default(), &mut record)?;
/// let mut scratch = Aligned::new();
/// let quote = decode_or_upgrade::<Quote>(&record, &mut scratch)?;
/// assert_eq!((quote.bid(), quote.ask(), quote.venue()), (1, 2, 0));
/// # Ok::<(), HeaderError>(())
/// ```
pub trait Upgrade: Frame {
    /// Writes to `out` the payload of this version that says what `payload`, of the older version
    /// `from_version`, said; answers its length in bytes.
    ///
    /// # Errors
    /// [`Upgrade::no_upgrade`] for a version that it does not know; else what is wrong with the
    /// payload.
    fn upgrade(from_version: u16, payload: &[u8], out: &mut [u8]) -> Result<usize, HeaderError>;

    /// The error of a version without an upgrade.
    #[must_use]
    fn no_upgrade(from_version: u16) -> HeaderError {
        version_error::<Self>(from_version)
    }
}

/// Reads the record at the start of `bytes` as a frame of kind `F`: in place if it has this version,
/// else by its [`Upgrade`] into `scratch`.
///
/// # Errors
/// As [`decode`]; [`HeaderError::Version`] as well for a version that is newer than `F`.
pub fn decode_or_upgrade<'a, F: Upgrade>(
    bytes: &'a [u8],
    scratch: &'a mut Aligned<PAYLOAD_BYTES>,
) -> Result<View<'a, F>, HeaderError> {
    let (header, payload) = Header::parse(bytes)?;
    expect_schema::<F>(header)?;
    let version = header.version();
    if version == F::VERSION {
        return Ok(View::read(payload)?);
    }
    if version > F::VERSION {
        return Err(version_error::<F>(version));
    }
    let written = F::upgrade(version, payload, scratch)?;
    let upgraded = scratch.get(..written).ok_or(FrameError::Space)?;
    Ok(View::read(upgraded)?)
}

fn expect_schema<F: Frame>(header: &Header) -> Result<(), HeaderError> {
    if header.schema() == F::SCHEMA {
        return Ok(());
    }
    Err(HeaderError::Schema {
        expected: F::SCHEMA,
        found: header.schema(),
    })
}

fn version_error<F: Frame>(found: u16) -> HeaderError {
    HeaderError::Version {
        schema: F::SCHEMA,
        expected: F::VERSION,
        found,
    }
}
