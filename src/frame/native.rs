//! From archived fields to native values.
//!
//! Invariant: what implements [`Native`] here has a fixed size; nothing points out of its own bytes.

use rkyv::Archive;
use rkyv::primitive::{
    ArchivedF32, ArchivedF64, ArchivedI16, ArchivedI32, ArchivedI64, ArchivedI128, ArchivedU16,
    ArchivedU32, ArchivedU64, ArchivedU128,
};

/// A type that can be a field of a frame: it has a fixed size, and its archived form turns into
/// the native one by value.
///
/// Implemented for integers of fixed width, `f32`, `f64`, `bool`, arrays of such, and whatever is
/// marked `#[hopline::frame_part]` or `#[hopline::frame]`. `usize` and `isize` are left out: their
/// width is the machine's, and a layout is not.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a field of a frame",
    label = "not a type of fixed size that frames know",
    note = "fields are integers of fixed width, `f32`, `f64`, `bool`, arrays of these, and structs or enums marked `#[hopline::frame_part]`",
    note = "`String`, `Vec`, `Box` and `Option` have no fixed form in a slot: write `[u8; N]` with a length, an id from a table, or a value that means none"
)]
pub trait Native: Archive + Sized {
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
