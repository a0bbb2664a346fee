//! Spans, rates and sizes as people write them.

use core::fmt;

/// Why a text is no span, rate or speed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitError {
    /// What was given.
    pub given: String,
    /// What would be right, with an example.
    pub expected: &'static str,
}

impl fmt::Display for UnitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" is not {}", self.given, self.expected)
    }
}

impl std::error::Error for UnitError {}

fn unit_error(given: &str, expected: &'static str) -> UnitError {
    UnitError {
        given: given.to_owned(),
        expected,
    }
}

/// A hash as reports show it: sixteen hexadecimal digits, in one allocation.
///
/// ```
/// assert_eq!(hopline::base::units::hash_text(0xABC), "0000000000000abc");
/// ```
#[must_use]
pub fn hash_text(hash: u64) -> String {
    let digit = |at: u32| char::from_digit((hash >> (4 * at)) as u32 & 0xF, 16);
    let mut text = String::with_capacity(16);
    text.extend((0..16).rev().filter_map(digit));
    text
}

/// A span in nanoseconds from a text such as `20us`, `5ms`, `1.5s`, `250ns` or `2min`.
///
/// A unit is needed: a bare number is an error.
///
/// ```
/// use hopline::base::units::parse_span_ns;
/// assert_eq!(parse_span_ns("20us"), Ok(20_000));
/// assert_eq!(parse_span_ns("1.5ms"), Ok(1_500_000));
/// assert!(parse_span_ns("20").is_err());
/// ```
///
/// # Errors
/// What was given and what was expected, if the text has no known unit, no number, or is out of range.
pub fn parse_span_ns(text: &str) -> Result<u64, UnitError> {
    const EXPECTED: &str = "a span of time with its unit, such as \"20us\", \"5ms\" or \"10s\"";
    let error = || unit_error(text, EXPECTED);
    let trimmed = text.trim();
    let at = trimmed
        .find(|c: char| c.is_ascii_alphabetic() || c == 'µ')
        .ok_or_else(error)?;
    let (number, unit) = trimmed.split_at(at);
    let scale = match unit {
        "ns" => 1.0,
        "us" | "µs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        // Compound and longer spans follow the rules of humantime.
        _ => {
            let span = humantime::parse_duration(trimmed).map_err(|_| error())?;
            return u64::try_from(span.as_nanos()).map_err(|_| error());
        }
    };
    let value = parse_number(number.trim()).ok_or_else(error)?;
    let span_ns = value * scale;
    if (0.0..9e18).contains(&span_ns) {
        Ok(span_ns.round() as u64)
    } else {
        Err(error())
    }
}

/// A rate in events a second from a text such as `50k/s`, `1.2M/s` or `800/s`.
///
/// ```
/// use hopline::base::units::parse_rate;
/// assert_eq!(parse_rate("50k/s"), Ok(50_000.0));
/// assert!(parse_rate("50k").is_err());
/// ```
///
/// # Errors
/// What was given and what was expected, if the text is no positive rate.
pub fn parse_rate(text: &str) -> Result<f64, UnitError> {
    const EXPECTED: &str = "a rate, such as \"800/s\", \"50k/s\" or \"1.2M/s\"";
    let error = || unit_error(text, EXPECTED);
    let body = text.trim().strip_suffix("/s").ok_or_else(error)?;
    let (number, scale) = match body.char_indices().last() {
        Some((at, 'k')) => (&body[..at], 1e3),
        Some((at, 'M')) => (&body[..at], 1e6),
        _ => (body, 1.0),
    };
    let rate = parse_number(number).ok_or_else(error)? * scale;
    if rate > 0.0 && rate <= 1e9 {
        Ok(rate)
    } else {
        Err(error())
    }
}

/// A replay speed from a text such as `1x`, `100x`, `0.5x`; `None` is as fast as it goes (`max`, `flat`).
///
/// ```
/// use hopline::base::units::parse_speed;
/// assert_eq!(parse_speed("100x"), Ok(Some(100.0)));
/// assert_eq!(parse_speed("max"), Ok(None));
/// ```
///
/// # Errors
/// What was given and what was expected, if the text is no positive speed.
pub fn parse_speed(text: &str) -> Result<Option<f64>, UnitError> {
    const EXPECTED: &str = "a speed, such as \"1x\", \"100x\" or \"max\"";
    let error = || unit_error(text, EXPECTED);
    let trimmed = text.trim();
    if matches!(trimmed, "max" | "flat") {
        return Ok(None);
    }
    let speed = parse_number(trimmed.strip_suffix('x').ok_or_else(error)?).ok_or_else(error)?;
    if speed > 0.0 && speed <= 1e6 {
        Ok(Some(speed))
    } else {
        Err(error())
    }
}

/// A size in bytes from a text such as `64MiB`, `1.5GiB`, `100MB` or `4096B`: `Ki`, `Mi`, `Gi` and `Ti` are powers of 1024, `k`,
/// `M`, `G` and `T` of 1000.
///
/// ```
/// use hopline::base::units::parse_bytes;
/// assert_eq!(parse_bytes("64MiB"), Ok(64 << 20));
/// assert_eq!(parse_bytes("1.5 kB"), Ok(1_500));
/// assert!(parse_bytes("64").is_err());
/// ```
///
/// # Errors
/// What was given and what was expected, if the text has no known unit, no number, or is out of range.
pub fn parse_bytes(text: &str) -> Result<u64, UnitError> {
    const EXPECTED: &str = "a size in bytes with its unit, such as \"64MiB\" or \"1GiB\"";
    let error = || unit_error(text, EXPECTED);
    let trimmed = text.trim();
    let at = trimmed
        .find(|c: char| c.is_ascii_alphabetic())
        .ok_or_else(error)?;
    let (number, unit) = trimmed.split_at(at);
    let scale = match unit {
        "B" => 1.0,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        "GiB" => 1024.0 * 1024.0 * 1024.0,
        "TiB" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        "kB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "TB" => 1e12,
        _ => return Err(error()),
    };
    let bytes = parse_number(number.trim()).ok_or_else(error)? * scale;
    if (0.0..9e18).contains(&bytes) {
        Ok(bytes.round() as u64)
    } else {
        Err(error())
    }
}

/// A plain non-negative decimal number: digits and at most one point. `inf`, `nan`, signs and
/// exponents are not what a person means in a case file.
fn parse_number(text: &str) -> Option<f64> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if plain { text.parse().ok() } else { None }
}

/// Most digits of a `u64`.
pub const DIGITS_MAX: usize = 20;

/// A number as decimal digits, written at the end of `room`: no allocation, for texts that are
/// made in a turn.
///
/// ```
/// use hopline::base::units::{DIGITS_MAX, decimal_digits};
/// assert_eq!(decimal_digits(0, &mut [0; DIGITS_MAX]), b"0");
/// assert_eq!(decimal_digits(u64::MAX, &mut [0; DIGITS_MAX]), b"18446744073709551615");
/// ```
#[inline]
pub fn decimal_digits(mut number: u64, room: &mut [u8; DIGITS_MAX]) -> &[u8] {
    let mut at = DIGITS_MAX;
    loop {
        at -= 1;
        room[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &room[at..];
        }
    }
}

/// A span for people: three significant digits and the unit that fits.
///
/// ```
/// use hopline::base::units::Span;
/// assert_eq!(Span(950).to_string(), "950ns");
/// assert_eq!(Span(12_345).to_string(), "12.3us");
/// assert_eq!(Span(5_000_000).to_string(), "5.00ms");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(
    /// Nanoseconds.
    pub u64,
);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ns = self.0;
        let text = match ns {
            0..1_000 => format!("{ns}ns"),
            1_000..1_000_000 => three_digits(ns as f64 / 1e3, "us"),
            1_000_000..1_000_000_000 => three_digits(ns as f64 / 1e6, "ms"),
            _ => three_digits(ns as f64 / 1e9, "s"),
        };
        f.pad(&text)
    }
}

fn three_digits(value: f64, unit: &str) -> String {
    if value < 9.995 {
        format!("{value:.2}{unit}")
    } else if value < 99.95 {
        format!("{value:.1}{unit}")
    } else {
        format!("{value:.0}{unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_parsed_as_people_write_them() {
        for (text, bytes) in [
            ("0B", 0),
            ("1KiB", 1 << 10),
            ("0.5MiB", 1 << 19),
            (" 2 GiB ", 2 << 30),
            ("1TiB", 1 << 40),
            ("1kB", 1_000),
            ("3TB", 3_000_000_000_000),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "64",
            "MiB",
            "-1MiB",
            "1mib",
            "1 M",
            "1e3MiB",
            "9999999TiB",
        ] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn spans_are_parsed_as_people_write_them() {
        for (text, ns) in [
            ("0ns", 0),
            ("250ns", 250),
            ("20us", 20_000),
            ("20µs", 20_000),
            ("0.5ms", 500_000),
            ("10s", 10_000_000_000),
            ("2min", 120_000_000_000),
            ("1m 30s", 90_000_000_000),
        ] {
            assert_eq!(parse_span_ns(text), Ok(ns), "{text}");
        }
        for text in [
            "",
            "20",
            "us",
            "-5ms",
            "5 lightyears",
            "infs",
            "nans",
            "1e9s",
            "99999999999999s",
        ] {
            assert!(parse_span_ns(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rates_and_speeds_need_their_units() {
        for text in ["", "50k", "0/s", "-1/s", "x/s", "inf/s"] {
            assert!(parse_rate(text).is_err(), "{text}");
        }
        for text in ["", "100", "0x", "-1x", "x"] {
            assert!(parse_speed(text).is_err(), "{text}");
        }
        assert_eq!(parse_rate("1.2M/s"), Ok(1_200_000.0));
        assert_eq!(parse_speed("0.5x"), Ok(Some(0.5)));
    }

    #[test]
    fn spans_are_shown_with_three_digits() {
        for (ns, text) in [
            (0, "0ns"),
            (999, "999ns"),
            (1_000, "1.00us"),
            (9_999, "10.0us"),
            (123_456, "123us"),
            (1_270_000_000, "1.27s"),
        ] {
            assert_eq!(Span(ns).to_string(), text);
        }
    }
}
