//! Numbers and strings as the formats write them into a text.
//!
//! Invariant: whoever reads them has the same value.

use core::fmt::Write;

use crate::base::text::Text;

/// Whole numbers below this are written without a point: every one of them is a double.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

impl Text {
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
