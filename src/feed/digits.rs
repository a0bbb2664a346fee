//! Decimal digits eight at a time, within one 64-bit word (SWAR).
//!
//! Everything here is a *prediction*: `None` means "not of the usual shape", and the caller falls
//! back to the exact rules. The tricks are those of Lemire, "Number parsing at a gigabyte per
//! second" (Software: Practice and Experience 51(8), 2021).
//!
//! Invariant: what is returned as `Some` is exact.

/// Powers of ten up to the eight digits of a word.
const POWERS: [u64; 9] = [
    1,
    10,
    100,
    1_000,
    10_000,
    100_000,
    1_000_000,
    10_000_000,
    100_000_000,
];

/// The first eight bytes, the first one lowest; zeros stand for what is beyond the end.
#[inline(always)]
pub(crate) fn load(bytes: &[u8]) -> u64 {
    match bytes.first_chunk::<8>() {
        Some(chunk) => u64::from_le_bytes(*chunk),
        None => load_tail(bytes),
    }
}

/// [`load`] for fewer than eight bytes; apart, because only the end of a message needs it.
#[cold]
fn load_tail(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    for (to, from) in word.iter_mut().zip(bytes) {
        *to = *from;
    }
    u64::from_le_bytes(word)
}

/// `byte` in all eight places of a word.
#[inline(always)]
pub(crate) const fn splat(byte: u8) -> u64 {
    0x0101_0101_0101_0101 * byte as u64
}

/// A run of digits at the start of a word.
#[derive(Clone, Copy)]
struct Run {
    /// The word with each digit's byte reduced to 0..=9.
    digits: u64,
    /// How many of its bytes are digits, counted from the first: 0..=8.
    count: u32,
}

impl Run {
    #[inline(always)]
    fn of(word: u64) -> Run {
        let digits = word ^ splat(b'0');
        // A byte above 9 sets its top bit, by itself or by the sum. A carry only reaches bytes after
        // the first such byte, and those do not matter.
        let stops = (digits.wrapping_add(splat(0x76)) | digits) & splat(0x80);
        Run {
            digits,
            count: stops.trailing_zeros() / 8,
        }
    }

    /// The value of the run as a whole number; 0 when it is empty.
    #[inline(always)]
    fn whole(self) -> u64 {
        match self.count {
            0 => 0,
            // Zeros shifted in below are leading zeros.
            count => eight(self.digits << (64 - 8 * count)),
        }
    }

    /// The value of the run as digits after the point, in units of 1e-8; 0 when it is empty.
    #[inline(always)]
    fn fraction(self) -> u64 {
        match self.count {
            0 => 0,
            // Zeros above are trailing zeros, so the run is scaled to eight digits for free.
            count => eight(self.digits & (u64::MAX >> (64 - 8 * count))),
        }
    }
}

/// How many of the first eight bytes are digits, counted from the first.
#[inline(always)]
pub(crate) fn run_len(bytes: &[u8]) -> usize {
    Run::of(load(bytes)).count as usize
}

/// The value of eight digits, the first one (the most significant) in the lowest byte.
#[inline(always)]
fn eight(digits: u64) -> u64 {
    const PAIRS: u64 = 0x0000_00ff_0000_00ff;
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let high = (pairs & PAIRS).wrapping_mul(100 + (1_000_000 << 32));
    let low = ((pairs >> 16) & PAIRS).wrapping_mul(1 + (10_000 << 32));
    high.wrapping_add(low) >> 32
}

/// A whole number of 1 to 16 digits without leading zeros at the start of `bytes`, and its length.
#[inline(always)]
pub(crate) fn integer(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = Run::of(load(bytes));
    let mut value = first.whole();
    let mut len = first.count as usize;
    if len == 8 {
        let second = Run::of(load(&bytes[8..]));
        if second.count == 8 {
            return sixteen_or_more(bytes, value, second.whole());
        }
        value = value * POWERS[second.count as usize] + second.whole();
        len += second.count as usize;
    }
    if len == 0 || (len > 1 && bytes[0] == b'0') {
        return None;
    }
    Some((value, len))
}

/// The rest of [`integer`] for two full words: only a number that ends there is taken.
#[cold]
fn sixteen_or_more(bytes: &[u8], high: u64, low: u64) -> Option<(u64, usize)> {
    let goes_on = bytes.get(16).is_some_and(u8::is_ascii_digit);
    if goes_on || bytes[0] == b'0' {
        return None;
    }
    Some((high * POWERS[8] + low, 16))
}

/// A number without sign of at most 10 digits before the point and 8 after it at the start of
/// `bytes`, in units of 1e-8, and its length.
#[inline(always)]
pub(crate) fn decimal(bytes: &[u8]) -> Option<(i64, usize)> {
    let first = Run::of(load(bytes));
    let mut whole = first.whole();
    let mut len = first.count as usize;
    if len == 0 {
        return None;
    }
    if len == 8 {
        let second = Run::of(load(&bytes[8..]));
        if second.count > 2 {
            return None;
        }
        whole = whole * POWERS[second.count as usize] + second.whole();
        len += second.count as usize;
    }
    let mut fraction = 0;
    if bytes.get(len) == Some(&b'.') {
        let rest = &bytes[len + 1..];
        let run = Run::of(load(rest));
        let goes_on = run.count == 8 && rest.get(8).is_some_and(u8::is_ascii_digit);
        if run.count == 0 || goes_on {
            return None;
        }
        fraction = run.fraction();
        len += 1 + run.count as usize;
    }
    // At most 9_999_999_999.99999999, which is below 2^63 units.
    Some(((whole * POWERS[8] + fraction) as i64, len))
}

#[cfg(test)]
mod tests {
    use super::{decimal, integer};

    #[test]
    fn integers_of_every_length_are_exact() {
        let digits = "1234567890123456";
        for len in 1..=16 {
            for tail in ["", ",", "x23456789", "}}"] {
                let text = format!("{}{tail}", &digits[..len]);
                let value = digits[..len].parse::<u64>().unwrap();
                assert_eq!(integer(text.as_bytes()), Some((value, len)), "{text}");
            }
        }
        assert_eq!(
            integer(b"9999999999999999,"),
            Some((9_999_999_999_999_999, 16))
        );
        for text in [
            "",
            "-1",
            "x",
            "01",
            "00",
            "0123456789012345",
            "12345678901234567",
        ] {
            assert_eq!(integer(text.as_bytes()), None, "{text}");
        }
        assert_eq!(integer(b"0,"), Some((0, 1)));
    }

    #[test]
    fn decimals_of_every_shape_are_exact() {
        let (whole, fraction) = ("9876543219", "98765432");
        for w in 1..=10 {
            for f in 0..=8 {
                for tail in ["", "\"", "\",\"B\":\"", "\u{e9}\u{e9}\u{e9}\u{e9}"] {
                    let point = if f == 0 { "" } else { "." };
                    let number = format!("{}{point}{}", &whole[..w], &fraction[..f]);
                    let units = format!("{}{:0<8}", &whole[..w], &fraction[..f]);
                    let text = format!("{number}{tail}");
                    assert_eq!(
                        decimal(text.as_bytes()),
                        Some((units.parse().unwrap(), number.len())),
                        "{text}"
                    );
                }
            }
        }
        for text in ["", ".5", "5.", "-1", "12345678901", "1.123456789", "5.x"] {
            assert_eq!(decimal(text.as_bytes()), None, "{text}");
        }
    }
}
