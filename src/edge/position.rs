//! Where a client is in a channel: `EPOCH:OFFSET`, as in `00c0ffee00c0ffee:42`.
//!
//! Invariant: there is one text for each position, and one position for each text.

use core::fmt;
use core::str::FromStr;

use crate::base::limits::EDGE_INTEGER_MAX;

/// Digits of an epoch.
const EPOCH_DIGITS: usize = 16;

crate::reasons! {
    /// Why a text is no position.
    pub enum PositionFault {
        /// No colon between an epoch and an offset.
        NoColon = "no_colon",
        /// An epoch that is not 16 lower-case hexadecimal digits.
        BadEpoch = "bad_epoch",
        /// An offset that is no decimal number up to [`EDGE_INTEGER_MAX`], or begins with a sign or a 0.
        BadOffset = "bad_offset",
    }
}

impl PositionFault {
    /// What to write instead.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            PositionFault::NoColon => "a position is written EPOCH:OFFSET, as an event's id has it",
            PositionFault::BadEpoch => "an epoch is 16 lower-case hexadecimal digits",
            PositionFault::BadOffset => {
                "an offset is a whole number up to 9007199254740991, without sign or leading zeros"
            }
        }
    }
}

const _: () = assert!(EDGE_INTEGER_MAX == 9_007_199_254_740_991);

impl fmt::Display for PositionFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.advice())
    }
}

impl core::error::Error for PositionFault {}

/// One life of a server: offsets of different epochs have nothing to do with each other.
///
/// ```
/// use hopline::edge::Epoch;
/// let epoch: Epoch = "00c0ffee00c0ffee".parse().unwrap();
/// assert_eq!(epoch, Epoch(0xc0_ffee_00c0_ffee));
/// assert_eq!(epoch.to_string(), "00c0ffee00c0ffee");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Epoch {
    type Err = PositionFault;

    fn from_str(text: &str) -> Result<Epoch, PositionFault> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != EPOCH_DIGITS || !text.bytes().all(is_digit) {
            return Err(PositionFault::BadEpoch);
        }
        let number = u64::from_str_radix(text, 16);
        number.map(Epoch).map_err(|_| PositionFault::BadEpoch)
    }
}

/// A place in a channel: all up to that offset was seen. Offset 0 is before the first event.
///
/// ```
/// use hopline::edge::{Epoch, Position, PositionFault};
/// let position: Position = "000000000000002a:7".parse().unwrap();
/// assert_eq!(position, Position { epoch: Epoch(42), offset: 7 });
/// assert_eq!(position.to_string(), "000000000000002a:7");
/// assert_eq!("2a:7".parse::<Position>(), Err(PositionFault::BadEpoch));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// The life of the server that gave the offset.
    pub epoch: Epoch,
    /// The last event that was seen, at most [`EDGE_INTEGER_MAX`].
    pub offset: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.offset)
    }
}

impl FromStr for Position {
    type Err = PositionFault;

    fn from_str(text: &str) -> Result<Position, PositionFault> {
        let (epoch, offset) = text.split_once(':').ok_or(PositionFault::NoColon)?;
        Ok(Position {
            epoch: epoch.parse()?,
            offset: offset_of(offset).ok_or(PositionFault::BadOffset)?,
        })
    }
}

fn offset_of(text: &str) -> Option<u64> {
    let is_canonical = text == "0" || !text.starts_with('0');
    if !is_canonical || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let offset = text.parse().ok()?;
    (offset <= EDGE_INTEGER_MAX).then_some(offset)
}

/// From where on a client wants a channel.
///
/// ```
/// use hopline::edge::Since;
/// assert_eq!("earliest".parse(), Ok(Since::Earliest));
/// let since: Since = "000000000000002a:7".parse().unwrap();
/// assert_eq!(since.to_string(), "000000000000002a:7");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Since {
    /// Everything that the channel still has.
    Earliest,
    /// Everything behind that position.
    After(Position),
}

/// How [`Since::Earliest`] is written, as Mercure has it.
const EARLIEST: &str = "earliest";

impl fmt::Display for Since {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Since::Earliest => f.write_str(EARLIEST),
            Since::After(position) => position.fmt(f),
        }
    }
}

impl FromStr for Since {
    type Err = PositionFault;

    fn from_str(text: &str) -> Result<Since, PositionFault> {
        match text {
            EARLIEST => Ok(Since::Earliest),
            text => text.parse().map(Since::After),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Prng;

    #[test]
    fn positions_come_back_as_they_were_written() {
        let mut prng = Prng::new(3);
        for turn in 0..2_000 {
            let position = Position {
                epoch: Epoch(prng.next_u64() >> (turn % 64)),
                offset: prng.below(EDGE_INTEGER_MAX + 1) >> (turn % 53),
            };
            let text = position.to_string();
            assert_eq!(text.parse(), Ok(position));
            assert_eq!(text.parse(), Ok(Since::After(position)));
        }
    }

    #[test]
    fn the_ends_are_taken_and_what_is_beyond_is_named() {
        let epoch = "0123456789abcdef";
        for offset in ["0", "1", "9007199254740991"] {
            let text = format!("{epoch}:{offset}");
            assert_eq!(text.parse::<Position>().unwrap().to_string(), text);
        }
        for (text, fault) in [
            ("", PositionFault::NoColon),
            (epoch, PositionFault::NoColon),
            ("Earliest", PositionFault::NoColon),
            (":1", PositionFault::BadEpoch),
            ("123456789abcdef:1", PositionFault::BadEpoch),
            ("00123456789abcdef:1", PositionFault::BadEpoch),
            ("0123456789ABCDEF:1", PositionFault::BadEpoch),
            ("+123456789abcdef:1", PositionFault::BadEpoch),
            ("0123456789abcdeé:1", PositionFault::BadEpoch),
            ("0123456789abcdef:", PositionFault::BadOffset),
            ("0123456789abcdef:01", PositionFault::BadOffset),
            ("0123456789abcdef:00", PositionFault::BadOffset),
            ("0123456789abcdef:+1", PositionFault::BadOffset),
            ("0123456789abcdef:-1", PositionFault::BadOffset),
            ("0123456789abcdef: 1", PositionFault::BadOffset),
            ("0123456789abcdef:1:2", PositionFault::BadOffset),
            (
                "0123456789abcdef:9007199254740992",
                PositionFault::BadOffset,
            ),
            (
                "0123456789abcdef:99999999999999999999",
                PositionFault::BadOffset,
            ),
        ] {
            assert_eq!(text.parse::<Since>(), Err(fault), "{text:?}");
        }
    }
}
