//! What holds a source back, and what it has in hand meanwhile.

/// Since when a source has been held back, and until when it was.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hold {
    pub(crate) since_ns: Option<u64>,
    pub(crate) until_ns: u64,
    pub(crate) now: bool,
    /// The hop that had no room when it was last asked.
    pub(crate) by: Option<usize>,
    /// The message that the decoder has, for the case of a panic.
    pub(crate) in_hand: Option<Decoding>,
}

/// A message that a decoder has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decoding {
    pub(crate) bytes: u64,
    /// Whether the source still counts it among those that it has in hand: its packet comes again until nothing is left of it.
    pub(crate) is_kept: bool,
}
