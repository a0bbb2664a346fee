//! A checked frame, read in place.
//!
//! Invariant: a view exists only of bytes that passed the check of its kind, and lives one turn.

use crate::frame::{Frame, FrameError};
use core::fmt;
use core::ops::Deref;

/// A frame of kind `T` as it lies in a slot: a reference, as cheap to copy.
///
/// It derefs to the archived type, whose methods return native values: `view.ask()`. What outlives
/// the turn is copied out, by [`View::to_owned`].
pub struct View<'a, T: Frame> {
    archived: &'a T::Archived,
}

impl<'a, T: Frame> View<'a, T> {
    /// Checks `bytes`, the payload of a slot, and views them as a frame of kind `T`.
    ///
    /// # Errors
    /// As [`Frame::read`].
    #[inline]
    pub fn read(bytes: &'a [u8]) -> Result<View<'a, T>, FrameError> {
        T::read(bytes).map(View::new)
    }

    /// A view of an archived frame; who holds a reference to one has had it checked.
    #[inline]
    #[must_use]
    pub const fn new(archived: &'a T::Archived) -> View<'a, T> {
        View { archived }
    }

    /// A native copy that outlives the turn.
    #[inline]
    #[must_use]
    pub fn to_owned(self) -> T {
        T::owned(self.archived)
    }
}

impl<T: Frame> Clone for View<'_, T> {
    #[inline]
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Frame> Copy for View<'_, T> {}

impl<T: Frame> Deref for View<'_, T> {
    type Target = T::Archived;

    #[inline]
    fn deref(&self) -> &T::Archived {
        self.archived
    }
}

impl<T: Frame> fmt::Debug for View<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.archived.fmt(f)
    }
}
