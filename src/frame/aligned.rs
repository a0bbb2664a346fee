//! Scratch that frames can be read from.
//!
//! Invariant: the first byte lies at a multiple of [`PAYLOAD_ALIGN`].

use crate::frame::{Frame, FrameError, View};
use core::ops::{Deref, DerefMut};

/// Alignment of a payload in a slot, and the strictest that a frame may ask for, in bytes.
pub const PAYLOAD_ALIGN: usize = 16;

/// `N` bytes at a multiple of [`PAYLOAD_ALIGN`]: scratch for bytes that arrived at any address.
///
/// ```
/// use hopline::frame::Aligned;
/// let datagram = [1, 2, 3];
/// let mut scratch = Aligned::<64>::new();
/// assert_eq!(scratch.copy_from(&datagram), Ok(&datagram[..]));
/// ```
#[repr(C, align(16))]
#[derive(Clone, Copy, Debug)]
pub struct Aligned<const N: usize>([u8; N]);

impl<const N: usize> Aligned<N> {
    /// Zeroed scratch.
    #[must_use]
    pub const fn new() -> Self {
        Aligned([0; N])
    }

    /// Copies `bytes` to the start and answers the copy; what was there beyond it stays.
    ///
    /// # Errors
    /// [`FrameError::Space`] if `bytes` is longer than `N`.
    #[inline]
    pub fn copy_from(&mut self, bytes: &[u8]) -> Result<&[u8], FrameError> {
        let room = self.0.get_mut(..bytes.len()).ok_or(FrameError::Space)?;
        room.copy_from_slice(bytes);
        Ok(room)
    }

    /// Writes `frame` to the start and views it: how a test gets a view without a ring.
    ///
    /// # Errors
    /// [`FrameError::Space`] if the frame is longer than `N`.
    pub fn hold<F: Frame>(&mut self, frame: &F) -> Result<View<'_, F>, FrameError> {
        let bytes = frame.write(&mut self.0)?;
        View::read(&self.0[..bytes])
    }
}

impl<const N: usize> Default for Aligned<N> {
    fn default() -> Self {
        Aligned::new()
    }
}

impl<const N: usize> Deref for Aligned<N> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl<const N: usize> DerefMut for Aligned<N> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

const _: () = assert!(align_of::<Aligned<1>>() == PAYLOAD_ALIGN);
const _: () = assert!(crate::base::limits::SLOT_HEAD_BYTES.is_multiple_of(PAYLOAD_ALIGN));
