//! Bytes of a stream that came in and were not handed out yet, in a buffer of fixed size.
//!
//! Invariant: they lie in one piece and in order; they move only when what is wanted of them would not fit behind their
//! beginning.

use core::ops::Range;

/// A buffer that is read into, and handed out of where the bytes lie.
#[derive(Clone)]
pub(super) struct Unread {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Unread {
    /// An empty one. Allocates so many bytes.
    pub(super) fn new(bytes: usize) -> Unread {
        Unread {
            buffer: vec![0; bytes].into_boxed_slice(),
            start: 0,
            end: 0,
        }
    }

    /// Forgets what it holds.
    pub(super) fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// How many bytes there are.
    #[inline]
    pub(super) const fn len(&self) -> usize {
        self.end - self.start
    }

    /// All of them.
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Those that lie there; none for what lies in no buffer.
    #[inline]
    pub(super) fn at(&self, range: Range<usize>) -> &[u8] {
        self.buffer.get(range).unwrap_or(b"")
    }

    /// Takes the first `count`, which are there, and says where they lie until more are read.
    #[inline]
    pub(super) fn take(&mut self, count: usize) -> Range<usize> {
        let from = self.start;
        self.start += count;
        from..self.start
    }

    /// Room for more; the first bytes of all are to reach to `wanted` of them, if the buffer is as long.
    #[inline]
    pub(super) fn space(&mut self, wanted: usize) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.start > 0 && self.start + wanted > self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        &mut self.buffer[self.end..]
    }

    /// The first `count` bytes of the space have come; more than there is room for are not taken.
    #[inline]
    pub(super) fn filled(&mut self, count: usize) {
        self.end = (self.end + count).min(self.buffer.len());
    }

    /// Copies as many of `bytes` as there is [space](Unread::space) for, and says how many.
    pub(super) fn push(&mut self, bytes: &[u8], wanted: usize) -> usize {
        let space = self.space(wanted);
        let count = bytes.len().min(space.len());
        space[..count].copy_from_slice(&bytes[..count]);
        self.filled(count);
        count
    }
}
