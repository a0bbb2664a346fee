//! Prices and quantities as fixed point with their scale, never as floats.
//!
//! Both count units of 1e-8. Eight digits, because no product of the exchange quotes more, and
//! because eight digits are one machine word of text: the digits after the point are scaled while
//! they are parsed. A signed 64-bit count of such units reaches ±92,233,720,368.54775807, more than
//! the price of anything that is traded and than a coin's usual volumes.
//!
//! The grammar of a number is `-?[0-9]+(\.[0-9]+)?`: no plus sign, no exponent, no blank, a digit
//! on both sides of a point. Leading zeros mean nothing, and so do zeros past the eighth decimal.
//!
//! Invariant: a parsed number is exact or it is an error; nothing is ever rounded in silence.

#![allow(
    missing_debug_implementations,
    reason = "the resolvers that rkyv derives have none, and nobody ever holds one"
)]

use core::fmt;
use core::str::FromStr;

use crate::base::Reject;
use crate::feed::digits;

/// Digits after the point.
pub const SCALE_DIGITS: u32 = 8;

/// Units that make one: 10 to the power of [`SCALE_DIGITS`].
pub const UNITS_PER_ONE: i64 = 10_i64.pow(SCALE_DIGITS);

macro_rules! fixed_point {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[hopline::frame_part]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(transparent)]
        pub struct $name(
            /// Units of 1e-8.
            pub i64,
        );

        impl $name {
            /// Nothing.
            pub const ZERO: $name = $name(0);
            /// The largest number, 92,233,720,368.54775807.
            pub const MAX: $name = $name(i64::MAX);

            /// The number that `text` writes, exactly.
            ///
            /// # Errors
            /// [`Reject::WrongType`] for what is no number by this file's grammar;
            /// [`Reject::BeyondScale`] for a digit other than 0 past the eighth decimal, and for a
            /// number out of range.
            #[inline]
            pub fn parse(text: &[u8]) -> Result<$name, Reject> {
                parse_units(text).map($name)
            }

            /// A whole number of ones; `None` when out of range.
            #[must_use]
            pub const fn from_whole(ones: i64) -> Option<$name> {
                match ones.checked_mul(UNITS_PER_ONE) {
                    Some(units) => Some($name(units)),
                    None => None,
                }
            }

            /// `ticks` times `tick`; `None` when out of range.
            #[must_use]
            pub const fn from_ticks(ticks: i64, tick: $name) -> Option<$name> {
                match ticks.checked_mul(tick.0) {
                    Some(units) => Some($name(units)),
                    None => None,
                }
            }

            /// How many times `tick` this is; `None` when it is not a whole number of them, or
            /// when `tick` is zero.
            #[must_use]
            pub const fn in_ticks(self, tick: $name) -> Option<i64> {
                match (self.0.checked_rem(tick.0), self.0.checked_div(tick.0)) {
                    (Some(0), ticks) => ticks,
                    _ => None,
                }
            }

            /// The sum; `None` when out of range.
            #[inline]
            #[must_use]
            pub const fn checked_add(self, other: $name) -> Option<$name> {
                match self.0.checked_add(other.0) {
                    Some(units) => Some($name(units)),
                    None => None,
                }
            }

            /// The difference; `None` when out of range.
            #[inline]
            #[must_use]
            pub const fn checked_sub(self, other: $name) -> Option<$name> {
                match self.0.checked_sub(other.0) {
                    Some(units) => Some($name(units)),
                    None => None,
                }
            }

            /// Half-way between the two, rounded down to a unit; never out of range.
            #[inline]
            #[must_use]
            pub const fn mid(self, other: $name) -> $name {
                // Bits that both have, and half of those that differ (Warren, Hacker's Delight, 2-5).
                $name((self.0 & other.0) + ((self.0 ^ other.0) >> 1))
            }

            /// Whether this is below zero.
            #[inline]
            #[must_use]
            pub const fn is_negative(self) -> bool {
                self.0 < 0
            }
        }

        /// The exact value without trailing zeros: `61800.20` is shown as `61800.2`.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                show_units(self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = Reject;

            fn from_str(text: &str) -> Result<$name, Reject> {
                $name::parse(text.as_bytes())
            }
        }
    };
}

fixed_point! {
    /// A price, in units of 1e-8 of the quoted currency.
    ///
    /// ```
    /// use hopline::base::Reject;
    /// use hopline::feed::Price;
    /// let bid = Price::parse(b"61800.20").unwrap();
    /// let ask = Price::parse(b"61800.30").unwrap();
    /// assert_eq!(bid, Price(6_180_020_000_000));
    /// assert_eq!(bid.mid(ask).to_string(), "61800.25");
    /// assert_eq!(ask.checked_sub(bid).unwrap().in_ticks(Price(10_000_000)), Some(1));
    /// assert_eq!(Price::parse(b"0.000000001"), Err(Reject::BeyondScale));
    /// assert_eq!(Price::parse(b"6e4"), Err(Reject::WrongType));
    /// ```
    Price
}

fixed_point! {
    /// A quantity, in units of 1e-8 of the traded thing. Positions and differences may be negative.
    ///
    /// ```
    /// use hopline::feed::Qty;
    /// assert_eq!(Qty::parse(b"-2.507").unwrap(), Qty(-250_700_000));
    /// assert_eq!(Qty(-250_700_000).to_string(), "-2.507");
    /// ```
    Qty
}

#[inline]
fn parse_units(text: &[u8]) -> Result<i64, Reject> {
    match digits::decimal(text) {
        Some((units, len)) if len == text.len() => Ok(units),
        _ => parse_units_exactly(text),
    }
}

/// The grammar and the bounds, digit by digit, for what the usual shape does not cover.
#[cold]
fn parse_units_exactly(text: &[u8]) -> Result<i64, Reject> {
    let (negative, body) = match text {
        [b'-', body @ ..] => (true, body),
        body => (false, body),
    };
    let (whole, fraction) = match memchr::memchr(b'.', body) {
        Some(point) => (&body[..point], &body[point + 1..]),
        // A number without a point is one with nothing of weight after it.
        None => (body, &b"0"[..]),
    };
    let is_digits = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    if !is_digits(whole) || !is_digits(fraction) {
        return Err(Reject::WrongType);
    }
    let (kept, beyond) = fraction.split_at(fraction.len().min(SCALE_DIGITS as usize));
    if beyond.iter().any(|&digit| digit != b'0') {
        return Err(Reject::BeyondScale);
    }
    let zeros = core::iter::repeat_n(&b'0', SCALE_DIGITS as usize - kept.len());
    // Counted downwards, because the negative side reaches one unit further.
    let units = (whole.iter().chain(kept).chain(zeros))
        .try_fold(0_i64, |units, digit| {
            units.checked_mul(10)?.checked_sub(i64::from(digit - b'0'))
        })
        .ok_or(Reject::BeyondScale)?;
    if negative {
        Ok(units)
    } else {
        units.checked_neg().ok_or(Reject::BeyondScale)
    }
}

fn show_units(units: i64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let sign = if units < 0 { "-" } else { "" };
    let one = UNITS_PER_ONE.unsigned_abs();
    let (whole, mut fraction) = (units.unsigned_abs() / one, units.unsigned_abs() % one);
    if fraction == 0 {
        return write!(f, "{sign}{whole}");
    }
    let mut width = SCALE_DIGITS as usize;
    while fraction % 10 == 0 {
        fraction /= 10;
        width -= 1;
    }
    write!(f, "{sign}{whole}.{fraction:0width$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_narrow() {
        for text in [
            "", "-", ".", "+1", ".5", "5.", "-.5", "1e5", "1.2.3", "--1", "1-", " 1", "1 ", "0x1",
            "NaN", "inf", "١", "1_000", "1,5", "1\0",
        ] {
            assert_eq!(
                Price::parse(text.as_bytes()),
                Err(Reject::WrongType),
                "{text:?}"
            );
        }
        for (text, units) in [
            ("0", 0),
            ("-0", 0),
            ("0.0", 0),
            ("007", 700_000_000),
            ("-1", -100_000_000),
            ("0.00000001", 1),
            ("0.000000010000", 1),
            ("000000000000000000000001.5", 150_000_000),
            ("92233720368.54775807", i64::MAX),
            ("-92233720368.54775808", i64::MIN),
        ] {
            assert_eq!(Price::parse(text.as_bytes()), Ok(Price(units)), "{text}");
        }
        for text in [
            "0.000000001",
            "92233720368.54775808",
            "-92233720368.54775809",
            "92233720369",
            "99999999999999999999999999999999999999",
        ] {
            assert_eq!(
                Price::parse(text.as_bytes()),
                Err(Reject::BeyondScale),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_shown_parses_to_the_same() {
        for units in [
            0,
            1,
            -1,
            10,
            99_999_999,
            100_000_000,
            123_450_000_000,
            i64::MAX,
            i64::MIN,
        ] {
            let shown = Qty(units).to_string();
            assert_eq!(shown.parse(), Ok(Qty(units)), "{shown}");
            assert!(!shown.contains('.') || !shown.ends_with('0'), "{shown}");
        }
    }

    #[test]
    fn arithmetic_stays_in_range_or_says_so() {
        assert_eq!(Price::MAX.checked_add(Price(1)), None);
        assert_eq!(Price(i64::MIN).checked_sub(Price(1)), None);
        assert_eq!(Price::MAX.mid(Price(i64::MAX - 2)), Price(i64::MAX - 1));
        assert_eq!(Price(i64::MIN).mid(Price::MAX), Price(-1));
        assert_eq!(Price::from_whole(92_233_720_369), None);
        assert_eq!(Price::from_ticks(3, Price(10)), Some(Price(30)));
        assert_eq!(Price(31).in_ticks(Price(10)), None);
        assert_eq!(Price(31).in_ticks(Price::ZERO), None);
        assert_eq!(Price(i64::MIN).in_ticks(Price(-1)), None);
    }
}
