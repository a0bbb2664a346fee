//! What is to be written to one connection, in a bounded buffer that one write empties.
//!
//! Invariant: bytes leave in order and once; what does not fit whole is not taken at all.

use core::fmt;

/// There is no room for it now: nothing of it was taken, and nothing is lost. Try again when bytes
/// have left, or shed it and count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// Bytes that it needs.
    pub needed: usize,
    /// Bytes that there is room for.
    pub room: usize,
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Full { needed, room } = self;
        write!(
            f,
            "{needed} bytes do not fit into the {room} that are left of the output buffer"
        )
    }
}

impl core::error::Error for Full {}

/// Bytes on their way to one connection: put in whole, taken out as the connection takes them.
///
/// Its memory grows with what waits in it, to twice its bound at the most: the bytes that have left
/// are closed up only once they are as many as those that wait, so each byte moves twice at most.
///
/// ```
/// use hopline::wire::Output;
/// let mut output = Output::new(8);
/// output.push(b"tick").unwrap();
/// output.push(b"er").unwrap();
/// assert!(output.push(b"tape").is_err());
/// assert_eq!(output.pending(), b"ticker"); // one write for both
/// output.written(5);
/// assert_eq!((output.pending(), output.room()), (&b"r"[..], 7));
/// ```
#[derive(Clone)]
pub struct Output {
    bytes: Vec<u8>,
    /// Where what has not left begins.
    start: usize,
    max: usize,
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output")
            .field("pending", &self.len())
            .field("max", &self.max)
            .finish_non_exhaustive()
    }
}

impl Output {
    /// An empty one for at most `max` bytes. Allocates when the first bytes come.
    #[must_use]
    pub const fn new(max: usize) -> Output {
        Output {
            bytes: Vec::new(),
            start: 0,
            max,
        }
    }

    /// What is to be written next, all of it.
    #[must_use]
    pub fn pending(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// The first `count` of the [pending](Output::pending) bytes have left; more than there are is
    /// all of them.
    pub fn written(&mut self, count: usize) {
        self.start += count.min(self.len());
        if self.start == self.bytes.len() {
            self.clear();
        }
    }

    /// Bytes that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Most bytes that may wait.
    #[must_use]
    pub const fn max(&self) -> usize {
        self.max
    }

    /// Bytes that there is room for.
    #[must_use]
    pub fn room(&self) -> usize {
        self.max.saturating_sub(self.len())
    }

    /// Bytes of memory that it holds now: never more than twice its bound.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Forgets what waits: the connection is another one.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.start = 0;
    }

    /// Puts in all of `bytes`, or nothing.
    ///
    /// # Errors
    /// There is no room for them.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Full> {
        self.reserve(bytes.len())?.extend_from_slice(bytes);
        Ok(())
    }

    /// The buffer to append at most `needed` bytes to, which then fit.
    ///
    /// # Errors
    /// There is no room for so many.
    pub(super) fn reserve(&mut self, needed: usize) -> Result<&mut Vec<u8>, Full> {
        let room = self.room();
        if needed > room {
            return Err(Full { needed, room });
        }
        if self.start >= self.len() {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        let wanted = self.bytes.len() + needed;
        if wanted > self.bytes.capacity() {
            // Twice as much as before, so that growing costs little, yet never above the bound.
            let to = wanted.max((2 * self.bytes.capacity()).min(2 * self.max));
            self.bytes.reserve_exact(to - self.bytes.len());
        }
        Ok(&mut self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Prng;

    #[test]
    fn what_goes_in_comes_out_in_order_whatever_is_taken_at_once() {
        let mut prng = Prng::new(11);
        for max in [1, 7, 64, 1_000] {
            let mut output = Output::new(max);
            let (mut sent, mut got) = (Vec::new(), Vec::new());
            for round in 0..3_000 {
                let piece = vec![round as u8; prng.below(max as u64 + 2) as usize];
                let room = output.room();
                match output.push(&piece) {
                    Ok(()) => sent.extend_from_slice(&piece),
                    Err(full) => {
                        let needed = piece.len();
                        assert_eq!(full, Full { needed, room });
                        assert!(needed > room);
                    }
                }
                let count = prng.below(output.len() as u64 + 1) as usize;
                got.extend_from_slice(&output.pending()[..count]);
                output.written(count);
                assert!(output.len() <= max && output.capacity() <= 2 * max);
            }
            got.extend_from_slice(output.pending());
            assert_eq!(got, sent);
            output.written(usize::MAX);
            assert!(output.is_empty());
        }
    }

    #[test]
    fn a_refusal_says_how_much_was_wanted_and_how_much_there_is() {
        let full = Output::new(3).push(b"four").unwrap_err();
        let text = "4 bytes do not fit into the 3 that are left of the output buffer";
        assert_eq!(full.to_string(), text);
    }
}
