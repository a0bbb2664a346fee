//! From archived fields to native values.
//!
//! Invariant: what implements [`Native`] here has a fixed size; nothing points out of its own bytes.

use rkyv::primitive::{
    ArchivedF32, ArchivedF64, ArchivedI16, ArchivedI32, ArchivedI64, ArchivedI128, ArchivedU16,
    ArchivedU32, ArchivedU64, ArchivedU128,
};
use rkyv::rancor::{Failure, Strategy};
use rkyv::ser::writer::Buffer;
use rkyv::with::{ArchiveWith, SerializeWith};
use rkyv::{Archive, Place, Serialize};

/// What a frame is serialised with: a plain buffer, and an error without a size, so that a failure
/// allocates nothing.
pub(crate) type InPlace<'b> = Strategy<Buffer<'b>, Failure>;

/// A type that can be a field of a frame: it has a fixed size, and its archived form turns into
/// the native one by value.
///
/// Implemented for integers of fixed width, `f32`, `f64`, `bool`, arrays of such, and whatever is
/// marked `#[hopline::frame_part]` or `#[hopline::frame]`. `usize` and `isize` are left out: their
/// width is the machine's, and a layout is not.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a field of a frame",
    label = "not a type of fixed size that frames know",
    note = "fields are integers of fixed width, `f32`, `f64`, `bool`, arrays of these, \
            and structs or enums marked `#[hopline::frame_part]`",
    note = "`String`, `Vec`, `Box` and `Option` have no fixed form in a slot: \
            write `[u8; N]` with a length, an id from a table, or a value that means none"
)]
pub trait Native: Archive + for<'b> Serialize<InPlace<'b>> + Sized {
    /// The native value of an archived field.
    #[must_use]
    fn native(archived: &Self::Archived) -> Self;
}

macro_rules! native_as_is {
    ($($native:ty),+) => {$(
        impl Native for $native {
            #[inline]
            fn native(archived: &$native) -> $native {
                *archived
            }
        }
    )+};
}

macro_rules! native_by_byte_order {
    ($($native:ty: $archived:ty),+ $(,)?) => {$(
        impl Native for $native {
            #[inline]
            fn native(archived: &$archived) -> $native {
                archived.to_native()
            }
        }
    )+};
}

native_as_is!(bool, u8, i8);
native_by_byte_order!(
    u16: ArchivedU16,
    u32: ArchivedU32,
    u64: ArchivedU64,
    u128: ArchivedU128,
    i16: ArchivedI16,
    i32: ArchivedI32,
    i64: ArchivedI64,
    i128: ArchivedI128,
    f32: ArchivedF32,
    f64: ArchivedF64,
);

impl<T: Native, const N: usize> Native for [T; N] {
    #[inline]
    fn native(archived: &[T::Archived; N]) -> [T; N] {
        core::array::from_fn(|at| T::native(&archived[at]))
    }
}

/// Compiles only for field types; the attributes name it once a field, so that a wrong type is
/// reported where it stands.
#[doc(hidden)]
pub const fn assert_native<T: Native>() {}

/// How the attributes have rkyv archive each field: as usual, but only types that are [`Native`].
///
/// With it a wrong type is refused in the words of [`Native`]; without it rkyv's own bounds come
/// first, and they know nothing of frames.
#[doc(hidden)]
#[derive(Debug)]
pub struct Fixed;

impl<T: Native> ArchiveWith<T> for Fixed {
    type Archived = T::Archived;
    type Resolver = T::Resolver;

    #[inline]
    fn resolve_with(field: &T, resolver: T::Resolver, out: Place<T::Archived>) {
        field.resolve(resolver, out);
    }
}

impl<'b, T: Native> SerializeWith<T, InPlace<'b>> for Fixed {
    #[inline]
    fn serialize_with(field: &T, serializer: &mut InPlace<'b>) -> Result<T::Resolver, Failure> {
        field.serialize(serializer)
    }
}
