//! The parts that views on binary messages share: fields in wire form, and why a message is refused.
//!
//! A view is a struct that has the bytes of a message for its memory: nothing is copied, a field is
//! read when it is asked for. Every field is aligned to 1, so a view lies wherever its bytes do.
//! The casts are `zerocopy`'s, which checks their layout when this is compiled.
//!
//! Codes of one byte are given as they are, with the specification's values beside the field: an
//! exchange adds codes without notice, and what a code that nobody knows means is for the reader
//! of the field to say.
//!
//! Invariant: every pattern of bytes is a value of every field; reading one never fails.

use core::fmt;

use crate::base::Reject;
use crate::feed::decimal::Price;
use zerocopy::byteorder::{big_endian, little_endian};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

crate::reasons! {
    /// Why bytes are no message of their feed.
    pub enum MessageReject {
        /// No bytes, so not even a type.
        Empty = "empty_message",
        /// A type that the feed's specification does not have.
        UnknownType = "unknown_type",
        /// Fewer bytes than the type has.
        TooShort = "message_too_short",
        /// More bytes than the type has, where its length is fixed.
        TooLong = "message_too_long",
    }
}

impl MessageReject {
    /// The ingress's reason for it.
    #[must_use]
    pub const fn as_reject(self) -> Reject {
        match self {
            MessageReject::Empty => Reject::Empty,
            MessageReject::UnknownType => Reject::UnknownKind,
            MessageReject::TooShort => Reject::Truncated,
            MessageReject::TooLong => Reject::TooLong,
        }
    }
}

/// Declares views: memory as on the wire, and a check that the lengths are the specification's.
macro_rules! views {
    ($($(#[$meta:meta])* $name:ident: $bytes:literal { $($(#[$fmeta:meta])* $field:ident: $ty:ty),+ $(,)? })+) => {
        $(
            $(#[$meta])*
            #[repr(C)]
            #[derive(
                Clone, Copy, Debug, PartialEq, Eq,
                zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout,
                zerocopy::Unaligned,
            )]
            pub struct $name {
                $($(#[$fmeta])* pub $field: $ty),+
            }

            const _: () = assert!(size_of::<$name>() == $bytes);
        )+
    };
}
pub(crate) use views;

/// Nanoseconds since midnight in 48 bits, big-endian.
///
/// ```
/// use hopline::feed::views::Ns48;
/// assert_eq!(Ns48::new(34_200_000_000_000).get(), 34_200_000_000_000);
/// ```
#[repr(transparent)]
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
pub struct Ns48([u8; 6]);

impl Ns48 {
    /// A time in nanoseconds; what does not fit in 48 bits (78 hours) is cut off.
    #[must_use]
    pub const fn new(ns: u64) -> Ns48 {
        let [_, _, a, b, c, d, e, f] = ns.to_be_bytes();
        Ns48([a, b, c, d, e, f])
    }

    /// The time in nanoseconds.
    #[inline]
    #[must_use]
    pub const fn get(self) -> u64 {
        let [a, b, c, d, e, f] = self.0;
        u64::from_be_bytes([0, 0, a, b, c, d, e, f])
    }
}

/// A price of four decimals in 32 bits, big-endian.
#[repr(transparent)]
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
pub struct Price4(big_endian::U32);

impl Price4 {
    /// A price of so many ten-thousandths.
    #[must_use]
    pub const fn new(units: u32) -> Price4 {
        Price4(big_endian::U32::new(units))
    }

    /// The price in ten-thousandths.
    #[inline]
    #[must_use]
    pub const fn units(self) -> u32 {
        self.0.get()
    }

    /// The price, at the scale of [`decimal`](crate::feed::decimal).
    ///
    /// ```
    /// use hopline::feed::views::Price4;
    /// assert_eq!(Price4::new(990_500).price().to_string(), "99.05");
    /// ```
    #[inline]
    #[must_use]
    pub const fn price(self) -> Price {
        Price(self.units() as i64 * 10_000)
    }
}

/// A price of eight decimals in 64 bits, big-endian.
#[repr(transparent)]
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
pub struct Price8(big_endian::U64);

impl Price8 {
    /// A price of so many units of 1e-8.
    #[must_use]
    pub const fn new(units: u64) -> Price8 {
        Price8(big_endian::U64::new(units))
    }

    /// The price in units of 1e-8.
    #[inline]
    #[must_use]
    pub const fn units(self) -> u64 {
        self.0.get()
    }

    /// The price; `None` beyond the range of [`decimal`](crate::feed::decimal).
    #[inline]
    #[must_use]
    pub const fn price(self) -> Option<Price> {
        match self.units() {
            units if units <= i64::MAX as u64 => Some(Price(units as i64)),
            _ => None,
        }
    }
}

/// A signed price of four decimals in 64 bits, little-endian.
#[repr(transparent)]
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
pub struct SignedPrice4(little_endian::I64);

impl SignedPrice4 {
    /// A price of so many ten-thousandths.
    #[must_use]
    pub const fn new(units: i64) -> SignedPrice4 {
        SignedPrice4(little_endian::I64::new(units))
    }

    /// The price in ten-thousandths.
    #[inline]
    #[must_use]
    pub const fn units(self) -> i64 {
        self.0.get()
    }

    /// The price; `None` beyond the range of [`decimal`](crate::feed::decimal).
    #[inline]
    #[must_use]
    pub const fn price(self) -> Option<Price> {
        match self.units().checked_mul(10_000) {
            Some(units) => Some(Price(units)),
            None => None,
        }
    }
}

/// A symbol: eight bytes, filled up with blanks.
#[repr(transparent)]
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
pub struct Symbol8(pub [u8; 8]);

impl Symbol8 {
    /// The symbol of that name; what is beyond the eighth byte is cut off.
    ///
    /// ```
    /// use hopline::feed::views::Symbol8;
    /// let symbol = Symbol8::new("ZIEXT");
    /// assert_eq!((symbol.name(), &symbol.0), (&b"ZIEXT"[..], b"ZIEXT   "));
    /// ```
    #[must_use]
    pub const fn new(name: &str) -> Symbol8 {
        let (name, mut bytes) = (name.as_bytes(), [b' '; 8]);
        let mut at = 0;
        while at < name.len() && at < bytes.len() {
            bytes[at] = name[at];
            at += 1;
        }
        Symbol8(bytes)
    }

    /// The name, without the blanks behind it.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        self.0.trim_ascii_end()
    }

    /// All eight bytes as one number: equal for equal symbols.
    #[inline]
    #[must_use]
    pub const fn key(self) -> u64 {
        u64::from_le_bytes(self.0)
    }
}

impl fmt::Display for Symbol8 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name().escape_ascii())
    }
}

impl fmt::Debug for Symbol8 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_hold_their_extremes() {
        assert_eq!(Ns48::new(u64::MAX).get(), (1 << 48) - 1);
        assert_eq!(Price4::new(u32::MAX).price(), Price(4_294_967_295 * 10_000));
        assert_eq!(Price8::new(u64::MAX).price(), None);
        assert_eq!(Price8::new(i64::MAX as u64).price(), Some(Price::MAX));
        assert_eq!(SignedPrice4::new(-1).price(), Some(Price(-10_000)));
        assert_eq!(SignedPrice4::new(i64::MIN).price(), None);
        assert_eq!(Symbol8::new("ABCDEFGHI").name(), b"ABCDEFGH");
        assert_eq!(Symbol8([0xff; 8]).to_string(), r"\xff".repeat(8));
    }
}
