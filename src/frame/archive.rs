//! The two doors to the archive: write without allocating, read with a check.
//!
//! Invariant: no bytes become a reference unchecked, wherever they came from.

use crate::frame::FrameError;
use crate::frame::native::InPlace;
use rkyv::api::low::{LowValidator, access};
use rkyv::api::serialize_using;
use rkyv::bytecheck::CheckBytes;
use rkyv::rancor::Failure;
use rkyv::ser::writer::Buffer;
use rkyv::{Archive, Portable, Serialize};

/// Writes the archived form of `value` at the start of `buf`; answers its length in bytes.
///
/// Padding between fields is written as zeros, so equal frames are equal bytes.
///
/// # Errors
/// [`FrameError::Space`] if `buf` is shorter than the archived form; `buf` is untouched then.
#[inline]
pub fn write<T>(value: &T, buf: &mut [u8]) -> Result<usize, FrameError>
where
    T: Archive + for<'b> Serialize<InPlace<'b>>,
{
    let bytes = size_of::<T::Archived>();
    let room = buf.get_mut(..bytes).ok_or(FrameError::Space)?;
    // `Failure` has no size: an error of the serializer allocates nothing.
    serialize_using::<_, Failure>(value, &mut Buffer::from(room)).map_err(|_| FrameError::Space)?;
    Ok(bytes)
}

/// Checks `bytes` and reads them in place as the archived type `A` of kind `kind`.
///
/// # Errors
/// [`FrameError::Length`] unless `bytes` has exactly the archived length, [`FrameError::Misaligned`]
/// if it begins at the wrong address, [`FrameError::Invalid`] if a field holds an impossible value.
#[inline]
pub fn read<A>(kind: u16, bytes: &[u8]) -> Result<&A, FrameError>
where
    A: Portable + for<'c> CheckBytes<LowValidator<'c, Failure>>,
{
    // The root of an archive is its end: a longer slice would be read from the wrong place.
    if bytes.len() != size_of::<A>() {
        return Err(length::<A>(kind, bytes));
    }
    access::<A, Failure>(bytes).map_err(|_| refusal::<A>(bytes))
}

#[cold]
fn length<A>(kind: u16, bytes: &[u8]) -> FrameError {
    FrameError::Length {
        kind,
        expected: size_of::<A>(),
        found: bytes.len(),
    }
}

#[cold]
fn refusal<A>(bytes: &[u8]) -> FrameError {
    if bytes.as_ptr().cast::<A>().is_aligned() {
        FrameError::Invalid
    } else {
        FrameError::Misaligned
    }
}
