//! A text of bounded length in the making, and the numbers in it.
//!
//! Invariant: what does not fit makes the whole text unfit; nothing of it is cut.

use core::fmt::Write;

use crate::base::units::{DIGITS_MAX, decimal_digits};

/// Whole numbers below this are written without a point: every one of them is a double.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// A text of bounded length in the making.
#[derive(Debug)]
pub(super) struct Text {
    bytes: Box<[u8]>,
    len: usize,
    is_too_long: bool,
}

impl Text {
    /// Room for that many bytes. Allocates them.
    pub(super) fn new(bytes_max: usize) -> Text {
        Text {
            bytes: vec![0; bytes_max].into_boxed_slice(),
            len: 0,
            is_too_long: false,
        }
    }

    pub(super) fn clear(&mut self) {
        (self.len, self.is_too_long) = (0, false);
    }

    /// The text, if all of it had room.
    pub(super) fn whole(&self) -> Option<&[u8]> {
        (!self.is_too_long).then(|| &self.bytes[..self.len])
    }

    pub(super) fn put(&mut self, more: &[u8]) {
        let end = self.len + more.len();
        match self.bytes.get_mut(self.len..end) {
            Some(room) => {
                room.copy_from_slice(more);
                self.len = end;
            }
            None => self.is_too_long = true,
        }
    }

    pub(super) fn byte(&mut self, byte: u8) {
        self.put(&[byte]);
    }

    pub(super) fn number(&mut self, number: u64) {
        self.put(decimal_digits(number, &mut [0; DIGITS_MAX]));
    }

    /// The shortest text that is read as the same double, by JSON, Influx and Graphite alike; what
    /// is very large or very small has an exponent.
    pub(super) fn float(&mut self, value: f64) {
        let size = value.abs();
        // Writing to a text cannot fail: what has no room is noted by it.
        let _ = if value == value.trunc() && size < WHOLE_MAX {
            write!(self, "{}", value as i64)
        } else if (1e-5..1e17).contains(&size) {
            write!(self, "{value}")
        } else {
            write!(self, "{value:e}")
        };
    }

    /// A JSON string of bytes that are UTF-8.
    pub(super) fn json(&mut self, bytes: impl Iterator<Item = u8>) {
        self.byte(b'"');
        self.json_inner(bytes);
        self.byte(b'"');
    }

    /// The same without its quotes.
    pub(super) fn json_inner(&mut self, bytes: impl Iterator<Item = u8>) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        for byte in bytes {
            match byte {
                b'"' | b'\\' => self.put(&[b'\\', byte]),
                0..0x20 => {
                    let digit = |nibble: u8| DIGITS[usize::from(nibble)];
                    self.put(b"\\u00");
                    self.put(&[digit(byte >> 4), digit(byte & 15)]);
                }
                _ => self.byte(byte),
            }
        }
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        self.put(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn float(value: f64) -> String {
        let mut text = Text::new(64);
        text.float(value);
        String::from_utf8(text.whole().unwrap().to_vec()).unwrap()
    }

    #[test]
    fn numbers_are_short() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "0"),
            (12.0, "12"),
            (-1.5, "-1.5"),
            (9_007_199_254_740_991.0, "9007199254740991"),
            (1e300, "1e300"),
            (1.5e-9, "1.5e-9"),
            (0.1, "0.1"),
        ] {
            assert_eq!(float(value), expected);
        }
    }

    #[test]
    fn what_does_not_fit_makes_all_of_it_unfit() {
        let mut text = Text::new(4);
        text.put(b"abc");
        assert_eq!(text.whole(), Some(&b"abc"[..]));
        text.put(b"de");
        text.put(b"f");
        assert_eq!(text.whole(), None);
        text.clear();
        text.json([].into_iter());
        assert_eq!(text.whole(), Some(&b"\"\""[..]));
    }

    #[test]
    fn a_json_string_is_read_as_it_was() {
        let mut text = Text::new(64);
        let given = "a\"b\\c\u{7}\u{e9}";
        text.json(given.bytes());
        let read: String = serde_json::from_slice(text.whole().unwrap()).unwrap();
        assert_eq!(read, given);
    }

    proptest! {
        #[test]
        fn a_double_comes_back_whoever_reads_it(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            if value.is_finite() {
                let text = float(value);
                prop_assert_eq!(text.parse::<f64>().unwrap(), value);
                prop_assert!(serde_json::from_str::<f64>(&text).is_ok(), "{}", text);
            }
        }
    }
}
