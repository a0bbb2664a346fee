//! Why bytes are no frame, or a frame found no room.
//!
//! Invariant: an error is a small `Copy` value; making one allocates nothing.

/// Why a payload is not the frame that its kind promises, or could not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The payload has another length than frames of this kind.
    #[error("a frame of kind {kind} has {expected} bytes of payload, found {found}")]
    Length {
        /// The kind that was asked for: a schema id.
        kind: u16,
        /// Bytes of payload of every frame of that kind.
        expected: usize,
        /// Bytes that were there.
        found: usize,
    },
    /// The hop does not carry this kind.
    #[error("kind {0} is not one that this reader knows")]
    UnknownKind(u16),
    /// A byte has a value that its field cannot hold: a bool beyond 1, or no variant of an enum.
    #[error("the payload holds a value that its field cannot have")]
    Invalid,
    /// The payload does not begin at a multiple of the frame's alignment.
    #[error("the payload is not aligned: copy it to a `frame::Aligned` first")]
    Misaligned,
    /// The buffer is too small for the frame.
    #[error("the buffer is too small for the frame")]
    Space,
}
