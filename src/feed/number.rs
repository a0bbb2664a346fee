//! Numbers of telemetry: decimal text to a double, and times to nanoseconds.
//!
//! What clients send is nearly always short: such a number is a whole number below 2^53 over a power
//! of ten up to 22, both of which a double holds exactly, so that one division rounds as it should
//! (Clinger, "How to read floating point numbers accurately", PLDI 1990). Anything else goes to the
//! standard library, which is exact, takes no memory, and is as fast as the crates made for it.
//!
//! Invariant: what is accepted has the value that `str::parse::<f64>` gives it.

use crate::base::Reject;
use crate::feed::look;

/// Digits of a number that takes the short way: so many of them fit in 64 bits.
const SHORT_DIGITS: usize = 16;

/// Powers of ten that a double holds exactly, as many as a short number needs.
const POWERS: [f64; SHORT_DIGITS + 1] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
];

/// The largest whole number up to which a double holds all of them.
const EXACT_MAX: u64 = 1 << 53;

/// Nanoseconds in a second.
const NS_PER_S: u64 = 1_000_000_000;

/// The number that all of `text` writes, by the grammar of `str::parse::<f64>`.
///
/// # Errors
/// [`Reject::WrongType`] for what is no number, [`Reject::NotFinite`] for one that says that it is
/// none or infinite, [`Reject::BeyondScale`] for one beyond the largest double.
#[inline]
pub(crate) fn float(text: &[u8]) -> Result<f64, Reject> {
    match short(text) {
        Some(value) => Ok(value),
        None => general(text),
    }
}

/// A number of at most 16 digits without exponent.
#[inline]
fn short(text: &[u8]) -> Option<f64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.len() > SHORT_DIGITS {
        return None;
    }
    look::passed(text.len());
    let mut whole = 0_u64;
    let mut decimals = None;
    let mut count = 0;
    for &byte in digits {
        match (byte.wrapping_sub(b'0'), decimals) {
            (digit @ 0..=9, _) => {
                whole = whole * 10 + u64::from(digit);
                count += 1;
            }
            // A point, the first one.
            (254, None) => decimals = Some(count),
            _ => return None,
        }
    }
    if count == 0 || whole > EXACT_MAX {
        return None;
    }
    let mut value = whole as f64;
    if let Some(before) = decimals {
        value /= POWERS[count - before];
    }
    Some(if negative { -value } else { value })
}

#[cold]
fn general(text: &[u8]) -> Result<f64, Reject> {
    look::passed(3 * text.len());
    let text = core::str::from_utf8(text).map_err(|_| Reject::WrongType)?;
    let value: f64 = text.parse().map_err(|_| Reject::WrongType)?;
    if value.is_finite() {
        return Ok(value);
    }
    // A number has digits; the names of what is none have only letters.
    if text.bytes().any(|byte| byte.is_ascii_digit()) {
        Err(Reject::BeyondScale)
    } else {
        Err(Reject::NotFinite)
    }
}

/// A whole number of digits alone.
///
/// # Errors
/// [`Reject::WrongType`] for what is none, [`Reject::BeyondScale`] for one beyond 64 bits.
#[inline]
pub(crate) fn whole(text: &[u8]) -> Result<u64, Reject> {
    if text.is_empty() {
        return Err(Reject::WrongType);
    }
    look::passed(text.len());
    let mut value = 0_u64;
    let mut fits = true;
    for &byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return Err(Reject::WrongType);
        }
        match value
            .checked_mul(10)
            .and_then(|v| v.checked_add(u64::from(digit)))
        {
            Some(next) => value = next,
            None => fits = false,
        }
    }
    if fits {
        Ok(value)
    } else {
        Err(Reject::BeyondScale)
    }
}

/// A whole number with or without a minus.
///
/// # Errors
/// As those of [`whole`].
#[inline]
pub(crate) fn signed(text: &[u8]) -> Result<i64, Reject> {
    match text.strip_prefix(b"-") {
        Some(digits) => match whole(digits)? {
            value if value <= i64::MIN.unsigned_abs() => Ok(0_i64.wrapping_sub_unsigned(value)),
            _ => Err(Reject::BeyondScale),
        },
        None => i64::try_from(whole(text)?).map_err(|_| Reject::BeyondScale),
    }
}

/// Seconds since 1970, with or without decimals, in nanoseconds; what is below one is cut off.
///
/// # Errors
/// [`Reject::BadTime`] for what is none, and for times after the year 2554.
#[inline]
pub(crate) fn seconds_ns(text: &[u8]) -> Result<u64, Reject> {
    let (seconds, decimals) = match look::find(b'.', text) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &b"0"[..]),
    };
    let seconds = whole(seconds).map_err(|_| Reject::BadTime)?;
    look::passed(decimals.len());
    let mut ns = 0;
    let mut weight = NS_PER_S;
    for &byte in decimals {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return Err(Reject::BadTime);
        }
        weight /= 10;
        ns += u64::from(digit) * weight;
    }
    let whole_ns = seconds.checked_mul(NS_PER_S).ok_or(Reject::BadTime)?;
    whole_ns.checked_add(ns).ok_or(Reject::BadTime)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Prng;
    use proptest::prelude::{any, prop, prop_assert_eq, proptest};

    /// What the standard library says.
    fn reference(text: &str) -> Result<u64, Reject> {
        match text.parse::<f64>() {
            Err(_) => Err(Reject::WrongType),
            Ok(value) if value.is_finite() => Ok(value.to_bits()),
            Ok(_) if text.bytes().any(|b| b.is_ascii_digit()) => Err(Reject::BeyondScale),
            Ok(_) => Err(Reject::NotFinite),
        }
    }

    #[test]
    fn shapes_of_numbers_are_those_of_the_standard_library() {
        for text in [
            "",
            "-",
            "+",
            ".",
            "-.",
            "1",
            "-1",
            "+1",
            "1.",
            ".5",
            "-.5",
            "+.5",
            "1..2",
            "1.2.3",
            "00",
            "007",
            "-0",
            "-0.0",
            "0.000000",
            "9007199254740992",
            "9007199254740993",
            "9007199254740994",
            "1e5",
            "1E-5",
            "1e",
            "1e+",
            "e1",
            "1e309",
            "-1e309",
            "1e-400",
            "nan",
            "NaN",
            "-nan",
            "inf",
            "-inf",
            "+Infinity",
            "infinit",
            "0x10",
            "1_000",
            " 1",
            "1 ",
            "--1",
            "+-1",
            "12345678901234567890",
            "0.1234567890123456",
            "0.12345678901234567",
            "1,5",
            "\u{661}",
            "179769313486231580793728971405301",
        ] {
            assert_eq!(
                float(text.as_bytes()).map(f64::to_bits),
                reference(text),
                "{text}"
            );
        }
        assert_eq!(float(b"\xff"), Err(Reject::WrongType));
    }

    #[test]
    fn a_long_number_is_read_once() {
        let text = format!("0.{}1", "0".repeat(60_000));
        assert_eq!(float(text.as_bytes()), Ok(0.0));
        let text = "9".repeat(60_000);
        assert_eq!(float(text.as_bytes()), Err(Reject::BeyondScale));
    }

    #[test]
    fn numbers_of_every_length_round_as_the_standard_library_does() {
        let mut prng = Prng::new(11);
        for _ in 0..200_000 {
            let len = 1 + prng.below(20) as usize;
            let point = prng.below(24) as usize;
            let mut text = String::new();
            if prng.below(4) == 0 {
                text.push(if prng.below(2) == 0 { '-' } else { '+' });
            }
            for at in 0..len {
                if at == point {
                    text.push('.');
                }
                text.push(char::from(b'0' + prng.below(10) as u8));
            }
            assert_eq!(
                float(text.as_bytes()).map(f64::to_bits),
                reference(&text),
                "{text}"
            );
        }
    }

    #[test]
    fn whole_numbers_end_with_their_width() {
        assert_eq!(whole(b"18446744073709551615"), Ok(u64::MAX));
        assert_eq!(whole(b"18446744073709551616"), Err(Reject::BeyondScale));
        assert_eq!(whole(b"99999999999999999999x"), Err(Reject::WrongType));
        assert_eq!(whole(b"000000000000000000000000001"), Ok(1));
        assert_eq!(
            (whole(b""), whole(b"+1")),
            (Err(Reject::WrongType), Err(Reject::WrongType))
        );
        assert_eq!(signed(b"-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(signed(b"-9223372036854775809"), Err(Reject::BeyondScale));
        assert_eq!(signed(b"9223372036854775807"), Ok(i64::MAX));
        assert_eq!(signed(b"9223372036854775808"), Err(Reject::BeyondScale));
        assert_eq!(
            (signed(b"-0"), signed(b"-")),
            (Ok(0), Err(Reject::WrongType))
        );
    }

    #[test]
    fn seconds_become_nanoseconds() {
        assert_eq!(seconds_ns(b"1656581400"), Ok(1_656_581_400_000_000_000));
        assert_eq!(seconds_ns(b"1.5"), Ok(1_500_000_000));
        assert_eq!(seconds_ns(b"1.0000000019"), Ok(1_000_000_001));
        assert_eq!(seconds_ns(b"1."), Ok(1_000_000_000));
        assert_eq!(seconds_ns(b"18446744073.709551615"), Ok(u64::MAX));
        for text in [
            "",
            ".",
            "-1",
            "x",
            "1.x",
            "1e9",
            "18446744073.709551616",
            "18446744074",
        ] {
            assert_eq!(seconds_ns(text.as_bytes()), Err(Reject::BadTime), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_what_the_standard_library_takes_it_for(
            text in prop::collection::vec(prop::sample::select(b"0123456789.eE+-naif".to_vec()), 0..24),
        ) {
            let text = String::from_utf8(text).unwrap();
            prop_assert_eq!(float(text.as_bytes()).map(f64::to_bits), reference(&text));
        }

        #[test]
        fn any_double_comes_back(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            let text = format!("{value}");
            prop_assert_eq!(float(text.as_bytes()).map(f64::to_bits), reference(&text));
            let text = format!("{value:e}");
            prop_assert_eq!(float(text.as_bytes()).map(f64::to_bits), reference(&text));
        }
    }
}
