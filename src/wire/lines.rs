//! Lines in a stream of bytes, each of bounded length.
//!
//! What a line is, its framing does not know: where one ends is a line feed, or what the caller's
//! finder says, since some formats have line feeds inside of a line.
//!
//! Invariant: a line comes out whole and in order however the stream was cut; one that is too long
//! is counted and left out, and the stream goes on behind it; each byte is searched once.

use core::fmt;
use core::ops::Range;

use crate::wire::length::READ_BYTES_MIN;
use crate::wire::unread::Unread;

/// Finds the lines in a stream that comes in any cuts.
///
/// Bytes are read straight into its [space](Splitter::space), and a line is handed out where it
/// lies, without its line feed; bytes move only when the rest of a line would not fit behind its
/// beginning.
///
/// ```
/// use hopline::wire::Splitter;
/// let mut splitter = Splitter::new(8);
/// splitter.push(b"one\ntw");
/// assert_eq!(splitter.next_line(), Some(&b"one"[..]));
/// assert_eq!(splitter.next_line(), None);
/// splitter.push(b"o\nfar too long\nthree\n");
/// assert_eq!(splitter.next_line(), Some(&b"two"[..]));
/// assert_eq!(splitter.next_line(), Some(&b"three"[..]));
/// assert_eq!(splitter.overlong(), 1);
/// ```
#[derive(Clone)]
pub struct Splitter {
    unread: Unread,
    line_bytes_max: usize,
    /// Of what came in the first bytes, which were searched and hold no end.
    searched: usize,
    /// The line in hand is too long and is left out to its end.
    skipping: bool,
    overlong: u64,
    overlong_bytes: u64,
}

impl fmt::Debug for Splitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Splitter")
            .field("line_bytes_max", &self.line_bytes_max)
            .field("buffered", &self.buffered())
            .field("skipping", &self.skipping)
            .field("overlong", &self.overlong)
            .finish_non_exhaustive()
    }
}

impl Splitter {
    /// A splitter at the beginning of a stream, for lines of at most `line_bytes_max` bytes without
    /// their ends. Allocates its buffer, [`Splitter::buffer_bytes`], which never grows.
    #[must_use]
    pub fn new(line_bytes_max: usize) -> Splitter {
        Splitter {
            unread: Unread::new(Splitter::buffer_bytes(line_bytes_max)),
            line_bytes_max,
            searched: 0,
            skipping: false,
            overlong: 0,
            overlong_bytes: 0,
        }
    }

    /// Bytes of the buffer: the longest line with its end, and not less than
    /// [`READ_BYTES_MIN`].
    #[must_use]
    pub const fn buffer_bytes(line_bytes_max: usize) -> usize {
        if line_bytes_max < READ_BYTES_MIN {
            READ_BYTES_MIN
        } else {
            line_bytes_max + 1
        }
    }

    /// Begins another stream: what is buffered is forgotten, what was counted stays.
    pub fn restart(&mut self) {
        self.unread.clear();
        (self.searched, self.skipping) = (0, false);
    }

    /// Longest line, in bytes, without its end.
    #[must_use]
    pub const fn line_bytes_max(&self) -> usize {
        self.line_bytes_max
    }

    /// Bytes that came in and belong to no line yet.
    #[must_use]
    pub const fn buffered(&self) -> usize {
        self.unread.len()
    }

    /// Whether the stream stands inside of a line: what ends it now cuts the line off.
    #[must_use]
    pub const fn is_inside(&self) -> bool {
        self.skipping || self.buffered() > 0
    }

    /// Lines that were left out because they are too long, the one in hand included.
    #[must_use]
    pub const fn overlong(&self) -> u64 {
        self.overlong
    }

    /// Bytes of those lines that were left out so far, without their ends.
    #[must_use]
    pub const fn overlong_bytes(&self) -> u64 {
        self.overlong_bytes
    }

    /// Room for the next bytes of the stream; say with [`Splitter::filled`] how many came. Never
    /// empty as long as every whole line was handed out before.
    #[inline]
    pub fn space(&mut self) -> &mut [u8] {
        // One more than is there, so that only a full buffer moves.
        self.unread.space(self.unread.len() + 1)
    }

    /// The first `count` bytes of the [space](Splitter::space) are the stream's next ones; more
    /// than there is room for are not taken.
    #[inline]
    pub fn filled(&mut self, count: usize) {
        self.unread.filled(count);
    }

    /// Copies as many of `bytes` as there is room for, and says how many.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        self.unread.push(bytes, self.unread.len() + 1)
    }

    /// The next whole line, where it lies in the buffer; `None` if more bytes are needed.
    #[inline]
    pub fn next_line(&mut self) -> Option<&[u8]> {
        self.next_line_by(|bytes| memchr::memchr(b'\n', bytes))
    }

    /// [`Splitter::next_line`], where a line ends as `find` says: it is given bytes that follow those
    /// of its last call, and answers with the place of the one that ends the line, or with `None` if
    /// the line goes on behind them. An end that is not there counts as `None`.
    #[inline]
    pub fn next_line_by(&mut self, mut find: impl FnMut(&[u8]) -> Option<usize>) -> Option<&[u8]> {
        let line = self.next_range_by(&mut find)?;
        Some(self.unread.at(line))
    }

    /// The same, where in the buffer it lies: [`Splitter::line`] has its bytes until more are read.
    #[inline]
    pub fn next_range_by(
        &mut self,
        mut find: impl FnMut(&[u8]) -> Option<usize>,
    ) -> Option<Range<usize>> {
        loop {
            if let Some(line) = self.next_end(&mut find)? {
                return Some(line);
            }
        }
    }

    /// The bytes of a line that was just found; none for what lies in no buffer.
    #[inline]
    #[must_use]
    pub fn line(&self, range: Range<usize>) -> &[u8] {
        self.unread.at(range)
    }

    /// The next line if it is short enough; the outer `None` if its end has not come.
    #[inline]
    pub(super) fn next_end(
        &mut self,
        find: &mut impl FnMut(&[u8]) -> Option<usize>,
    ) -> Option<Option<Range<usize>>> {
        let from = self.searched;
        let bytes = self.unread.len();
        let found = find(&self.unread.bytes()[from..]);
        let found = found.map(|at| from + at).filter(|end| *end < bytes);
        let Some(end) = found else {
            self.searched = bytes;
            if self.skipping || bytes > self.line_bytes_max {
                self.skip(bytes);
                self.skipping = true;
                self.unread.take(bytes);
                self.searched = 0;
            }
            return None;
        };
        let line = self.unread.take(end + 1);
        self.searched = 0;
        if self.skipping || end > self.line_bytes_max {
            self.skip(end);
            self.skipping = false;
            return Some(None);
        }
        Some(Some(line.start..line.end - 1))
    }

    /// The stream ends here, and another one begins: where what came behind the last line lies, or `None` inside of a line
    /// that is left out.
    pub(super) fn end(&mut self) -> Option<Range<usize>> {
        let rest = self.unread.take(self.unread.len());
        let is_whole = !self.skipping;
        self.restart();
        is_whole.then_some(rest)
    }

    /// Counts what is left out of the line in hand, so many bytes more.
    #[cold]
    fn skip(&mut self, bytes: usize) {
        self.overlong += u64::from(!self.skipping);
        self.overlong_bytes += bytes as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Everything that comes out when the stream is cut by `cut`, which says how long the next piece is.
    fn split(
        max: usize,
        mut bytes: &[u8],
        mut cut: impl FnMut(usize) -> usize,
    ) -> (Vec<Vec<u8>>, Splitter) {
        let mut splitter = Splitter::new(max);
        let mut out = Vec::new();
        loop {
            while let Some(line) = splitter.next_line() {
                out.push(line.to_vec());
            }
            if bytes.is_empty() {
                return (out, splitter);
            }
            let len = cut(bytes.len()).clamp(1, bytes.len());
            let taken = splitter.push(&bytes[..len]);
            assert!(taken > 0, "there is room once all whole lines are out");
            bytes = &bytes[taken..];
        }
    }

    /// What should come out: lines that are short enough, and how many bytes of how many are not.
    fn expected(max: usize, bytes: &[u8]) -> (Vec<Vec<u8>>, u64, u64) {
        let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
        let rest = lines.pop().unwrap();
        let long = |line: &&[u8]| line.len() > max;
        let (mut count, mut left_out) = (0, 0);
        for line in lines.iter().copied().chain([rest]).filter(long) {
            count += 1;
            left_out += line.len() as u64;
        }
        let short = lines.into_iter().filter(|line| !long(line));
        (short.map(<[u8]>::to_vec).collect(), count, left_out)
    }

    fn agrees(max: usize, bytes: &[u8], cut: impl FnMut(usize) -> usize) {
        let (lines, splitter) = split(max, bytes, cut);
        let (short, count, left_out) = expected(max, bytes);
        assert_eq!(lines, short);
        assert_eq!(
            (splitter.overlong(), splitter.overlong_bytes()),
            (count, left_out)
        );
        let rest = bytes.len() - memchr::memrchr(b'\n', bytes).map_or(0, |at| at + 1);
        assert_eq!(splitter.is_inside(), rest > 0);
    }

    #[test]
    fn a_cut_at_every_byte_changes_nothing() {
        let bytes = b"one\n\n12345678\n123456789\ntwo\r\n0123456789abcdefghij\n0123456789abcdef\nthree\nrest";
        for at in 0..=bytes.len() {
            for second in 1..=bytes.len() {
                let mut pieces = [at, second].into_iter();
                agrees(8, bytes, |left| pieces.next().unwrap_or(left));
            }
        }
        agrees(8, bytes, |_| 1);
        for max in 0..24 {
            agrees(max, bytes, |_| 3);
        }
    }

    #[test]
    fn lines_as_long_as_the_buffer_come_out() {
        let max = 2 * READ_BYTES_MIN;
        let mut bytes = Vec::new();
        for len in [max, 5, max + 1, max - 1, 3 * max, 0, max] {
            bytes.extend(std::iter::repeat_n(b'x', len));
            bytes.push(b'\n');
        }
        for step in [1_000, READ_BYTES_MIN, 4 * max] {
            agrees(max, &bytes, |_| step);
        }
    }

    #[test]
    fn a_finder_of_its_own_says_where_lines_end() {
        let mut splitter = Splitter::new(8);
        let mut open = false;
        let mut find = |bytes: &[u8]| {
            bytes.iter().position(|byte| {
                open ^= *byte == b'"';
                *byte == b'\n' && !open
            })
        };
        for piece in [&b"a\"b\n"[..], b"c\"d\n\"far too\n long\"\ne", b"\nf"] {
            splitter.push(piece);
        }
        let mut lines = Vec::new();
        while let Some(line) = splitter.next_line_by(&mut find) {
            lines.push(line.to_vec());
        }
        assert_eq!(lines, [&b"a\"b\nc\"d"[..], b"e"]);
        assert_eq!((splitter.overlong(), splitter.buffered()), (1, 1));
        splitter.restart();
        assert!(!splitter.is_inside());
        splitter.push(b"g\n");
        assert_eq!(
            splitter.next_line_by(|_| Some(9)),
            None,
            "an end beyond what is there"
        );
    }

    #[test]
    fn each_byte_is_searched_once() {
        let mut splitter = Splitter::new(8 * READ_BYTES_MIN);
        let mut searched = 0;
        let bytes = vec![b'x'; 6 * READ_BYTES_MIN];
        for piece in bytes.chunks(7) {
            splitter.push(piece);
            let line = splitter.next_line_by(|bytes| {
                searched += bytes.len();
                memchr::memchr(b'\n', bytes)
            });
            assert!(line.is_none());
        }
        assert_eq!(searched, bytes.len());
    }

    proptest! {
        #[test]
        fn any_stream_in_any_pieces_is_split_as_expected(
            bytes in prop::collection::vec(prop::sample::select(b"\n\nabc".to_vec()), 0..200),
            cuts in prop::collection::vec(1_usize..40, 1..20),
            max in 0_usize..12,
        ) {
            let mut cuts = cuts.into_iter().cycle();
            agrees(max, &bytes, |_| cuts.next().unwrap());
        }
    }
}
