//! A text of bounded length in the making.
//!
//! Invariant: what does not fit makes the whole text unfit; nothing of it is cut.

use core::fmt::Write;

use super::units::{DIGITS_MAX, decimal_digits};

/// A text in the making, in a room of its own or in another's.
#[derive(Debug)]
pub(crate) struct Text<B = Box<[u8]>> {
    room: B,
    len: usize,
    is_too_long: bool,
}

impl Text {
    /// Room for that many bytes. Allocates them.
    pub(crate) fn new(bytes_max: usize) -> Text {
        Text::over(vec![0; bytes_max].into_boxed_slice())
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Text<B> {
    /// Over that room.
    #[inline]
    pub(crate) fn over(room: B) -> Text<B> {
        Text {
            room,
            len: 0,
            is_too_long: false,
        }
    }

    pub(crate) fn clear(&mut self) {
        (self.len, self.is_too_long) = (0, false);
    }

    /// The text, if all of it had room.
    #[inline]
    pub(crate) fn whole(&self) -> Option<&[u8]> {
        (!self.is_too_long).then(|| &self.room.as_ref()[..self.len])
    }

    #[inline]
    pub(crate) fn put(&mut self, more: &[u8]) {
        let end = self.len + more.len();
        match self.room.as_mut().get_mut(self.len..end) {
            Some(room) => {
                room.copy_from_slice(more);
                self.len = end;
            }
            None => self.is_too_long = true,
        }
    }

    pub(crate) fn byte(&mut self, byte: u8) {
        self.put(&[byte]);
    }

    #[inline]
    pub(crate) fn number(&mut self, number: u64) {
        self.put(decimal_digits(number, &mut [0; DIGITS_MAX]));
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Write for Text<B> {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        self.put(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_makes_all_of_it_unfit() {
        let mut text = Text::new(4);
        text.put(b"abc");
        assert_eq!(text.whole(), Some(&b"abc"[..]));
        text.put(b"de");
        text.put(b"f");
        assert_eq!(text.whole(), None);
        text.clear();
        text.number(1_234);
        assert_eq!(text.whole(), Some(&b"1234"[..]));
        let mut room = [0; 2];
        let mut over = Text::over(&mut room[..]);
        over.byte(b'x');
        assert_eq!(over.whole(), Some(&b"x"[..]));
    }
}
