//! Nasdaq TotalView-ITCH 5.0: every message as a view on its bytes.
//!
//! Specification: "Nasdaq TotalView-ITCH 5.0", with the message *O* (direct listing with capital
//! raise) of its later editions. Integers are big-endian, prices have four decimals (those of the
//! market-wide circuit breaker eight), times are nanoseconds since midnight, Eastern time, in 48
//! bits. Every type has one length, so that a message of any other is refused.
//!
//! ```
//! use hopline::feed::itch::{self, Message};
//! let bytes = b"D\x00\x07\x00\x00\x1f\x1a\xce\xd8\x50\x00\x00\x00\x00\x00\x00\x00\x00\x2a";
//! match itch::decode(bytes) {
//!     Ok(Message::OrderDelete(delete)) => {
//!         assert_eq!((delete.head.locate.get(), delete.reference.get()), (7, 42));
//!     }
//!     other => panic!("{other:?}"),
//! }
//! ```
//!
//! Invariant: decoding copies and allocates nothing, and no input panics.

#![allow(
    missing_debug_implementations,
    reason = "the types of fields that zerocopy derives have none, and nobody ever holds one"
)]

use crate::feed::views::{MessageReject, Ns48, Price4, Price8, Symbol8, views};
use zerocopy::FromBytes;
use zerocopy::byteorder::big_endian::{U16, U32, U64};

/// Bytes of the longest message.
pub const MESSAGE_BYTES_MAX: usize = 50;

views! {
    /// What every message begins with.
    Head: 11 {
        /// The type, a letter.
        kind: u8,
        /// Number of the security for this day; 0 where the message is about none.
        locate: U16,
        /// Nasdaq's own tracking number.
        tracking: U16,
        /// When it happened.
        timestamp: Ns48,
    }

    /// *S*: an event of the whole system.
    SystemEvent: 12 {
        /// What every message begins with.
        head: Head,
        /// `O` start and `C` end of messages, `S` start and `E` end of system hours, `Q` start and
        /// `M` end of market hours.
        event: u8,
    }

    /// *R*: a security and its number for the day.
    StockDirectory: 39 {
        /// What every message begins with.
        head: Head,
        /// The security's symbol.
        stock: Symbol8,
        /// `Q` global select, `G` global, `S` capital market, `N` NYSE, `A` NYSE American, `P` Arca,
        /// `Z` BATS, `V` IEX, blank: not available.
        market_category: u8,
        /// `D` deficient, `E` delinquent, `Q` bankrupt, `S` suspended and their mixtures, `N` normal.
        financial_status: u8,
        /// Shares of a round lot.
        round_lot_size: U32,
        /// `Y`: only round lots are accepted.
        round_lots_only: u8,
        /// Class of the security.
        issue_classification: u8,
        /// Its sub-type.
        issue_sub_type: [u8; 2],
        /// `P` live, `T` test.
        authenticity: u8,
        /// `Y`: on the short sale threshold list; blank: not available.
        short_sale_threshold: u8,
        /// `Y`: a new issue; blank: not available.
        ipo_flag: u8,
        /// `1` or `2`, the tier of limit up, limit down; blank: not available.
        luld_tier: u8,
        /// `Y`: an exchange traded product; blank: not available.
        etp_flag: u8,
        /// Leverage of such a product.
        etp_leverage: U32,
        /// `Y`: an inverse product.
        inverse: u8,
    }

    /// *H*: a security is halted, paused, quoted or traded.
    TradingAction: 25 {
        /// What every message begins with.
        head: Head,
        /// The security's symbol.
        stock: Symbol8,
        /// `H` halted, `P` paused, `Q` quotation only, `T` trading.
        state: u8,
        /// Reserved.
        reserved: u8,
        /// Why.
        reason: [u8; 4],
    }

    /// *Y*: the short sale price test of a security.
    RegSho: 20 {
        /// What every message begins with.
        head: Head,
        /// The security's symbol.
        stock: Symbol8,
        /// `0` none, `1` restricted by a drop of today, `2` still restricted.
        action: u8,
    }

    /// *L*: a market participant's position in a security.
    ParticipantPosition: 26 {
        /// What every message begins with.
        head: Head,
        /// The participant.
        mpid: [u8; 4],
        /// The security's symbol.
        stock: Symbol8,
        /// `Y`: a primary market maker.
        primary: u8,
        /// `N` normal, `P` passive, `S` syndicate, `R` pre-syndicate, `L` penalty.
        mode: u8,
        /// `A` active, `E` excused, `W` withdrawn, `S` suspended, `D` deleted.
        state: u8,
    }

    /// *V*: levels of the market-wide circuit breaker.
    MwcbLevels: 35 {
        /// What every message begins with.
        head: Head,
        /// The first level.
        level_1: Price8,
        /// The second.
        level_2: Price8,
        /// The third.
        level_3: Price8,
    }

    /// *W*: a level of the market-wide circuit breaker was breached.
    MwcbStatus: 12 {
        /// What every message begins with.
        head: Head,
        /// `1`, `2` or `3`.
        breached: u8,
    }

    /// *K*: when the quoting of a new issue begins.
    QuotingPeriod: 28 {
        /// What every message begins with.
        head: Head,
        /// The security's symbol.
        stock: Symbol8,
        /// Release time in seconds since midnight.
        release_s: U32,
        /// `A` anticipated, `C` cancelled or postponed.
        qualifier: u8,
        /// The issue's price.
        price: Price4,
    }

    /// *J*: the collar of an auction after a pause by limit up, limit down.
    AuctionCollar: 35 {
        /// What every message begins with.
        head: Head,
        /// The security's symbol.
        stock: Symbol8,
        /// Reference price.
        reference: Price4,
        /// Upper border.
        upper: Price4,
        /// Lower border.
        lower: Price4,
        /// How often the auction was extended.
        extension: U32,
    }

    /// *h*: an operational halt of a security.
    OperationalHalt: 21 {
        /// What every message begins with.
        head: Head,
        /// The security's symbol.
        stock: Symbol8,
        /// `Q` Nasdaq, `B` BX, `X` PSX.
        market: u8,
        /// `H` halted, `T` resumed.
        action: u8,
    }

    /// *A*: an order enters the book, its participant unnamed.
    AddOrder: 36 {
        /// What every message begins with.
        head: Head,
        /// The order's number, unique for the day.
        reference: U64,
        /// `B` or `S`.
        side: u8,
        /// Shares.
        shares: U32,
        /// The security's symbol.
        stock: Symbol8,
        /// Its price.
        price: Price4,
    }

    /// *F*: an order enters the book, its participant named.
    AddOrderMpid: 40 {
        /// As in [`AddOrder`].
        add: AddOrder,
        /// The participant.
        attribution: [u8; 4],
    }

    /// *E*: shares of an order were executed at its price.
    OrderExecuted: 31 {
        /// What every message begins with.
        head: Head,
        /// The order.
        reference: U64,
        /// Shares.
        shares: U32,
        /// The match's number, unique for the day.
        match_number: U64,
    }

    /// *C*: shares of an order were executed at another price.
    OrderExecutedPrice: 36 {
        /// What every message begins with.
        head: Head,
        /// The order.
        reference: U64,
        /// Shares.
        shares: U32,
        /// The match's number.
        match_number: U64,
        /// `N`: in no volume, a cross will report it in bulk; `Y`: counts.
        printable: u8,
        /// Price of the execution.
        price: Price4,
    }

    /// *X*: shares of an order were cancelled.
    OrderCancel: 23 {
        /// What every message begins with.
        head: Head,
        /// The order.
        reference: U64,
        /// Shares that are taken off it.
        shares: U32,
    }

    /// *D*: an order leaves the book.
    OrderDelete: 19 {
        /// What every message begins with.
        head: Head,
        /// The order.
        reference: U64,
    }

    /// *U*: an order gives way to a new one, of the same security and side.
    OrderReplace: 35 {
        /// What every message begins with.
        head: Head,
        /// The order that leaves.
        reference: U64,
        /// The order that enters.
        new_reference: U64,
        /// Its shares.
        shares: U32,
        /// Its price.
        price: Price4,
    }

    /// *P*: a trade against an order that was never shown.
    Trade: 44 {
        /// What every message begins with.
        head: Head,
        /// 0, or the order's number in older recordings.
        reference: U64,
        /// `B`, whatever the side, since 2014.
        side: u8,
        /// Shares.
        shares: U32,
        /// The security's symbol.
        stock: Symbol8,
        /// The price.
        price: Price4,
        /// The match's number.
        match_number: U64,
    }

    /// *Q*: a cross in bulk.
    CrossTrade: 40 {
        /// What every message begins with.
        head: Head,
        /// Shares.
        shares: U64,
        /// The security's symbol.
        stock: Symbol8,
        /// The price.
        price: Price4,
        /// The match's number.
        match_number: U64,
        /// `O` opening, `C` closing, `H` after a halt or a new issue, `I` intraday.
        cross_type: u8,
    }

    /// *B*: an execution never was.
    BrokenTrade: 19 {
        /// What every message begins with.
        head: Head,
        /// The match that is broken.
        match_number: U64,
    }

    /// *I*: the imbalance before a cross.
    Imbalance: 50 {
        /// What every message begins with.
        head: Head,
        /// Shares that match.
        paired: U64,
        /// Shares that do not.
        imbalance: U64,
        /// `B` buy, `S` sell, `N` none, `O` too few orders, `P` paused.
        direction: u8,
        /// The security's symbol.
        stock: Symbol8,
        /// Price at which the orders of the cross alone would clear.
        far: Price4,
        /// Price at which they and the book would.
        near: Price4,
        /// Price at which this is computed.
        reference: Price4,
        /// As of [`CrossTrade`].
        cross_type: u8,
        /// How far the near price is from the reference, in classes of the specification.
        variation: u8,
    }

    /// *N*: retail interest.
    RetailInterest: 20 {
        /// What every message begins with.
        head: Head,
        /// The security's symbol.
        stock: Symbol8,
        /// `B` buy, `S` sell, `A` both, `N` none.
        interest: u8,
    }

    /// *O*: price discovery of a direct listing with capital raise.
    DirectListing: 48 {
        /// What every message begins with.
        head: Head,
        /// The security's symbol.
        stock: Symbol8,
        /// `Y`: it may be released for trading.
        open_eligibility: u8,
        /// Lowest price at which it may open.
        minimum: Price4,
        /// Highest.
        maximum: Price4,
        /// Price at which it would open now.
        near: Price4,
        /// When that was computed, as the specification counts it.
        near_time: U64,
        /// Lower border of the collar.
        lower: Price4,
        /// Upper border.
        upper: Price4,
    }
}

/// Ties a letter to its view: the enum, the decoder and the way back.
macro_rules! messages {
    ($($letter:literal $name:ident),+ $(,)?) => {
        /// A message, as a view on its bytes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Message<'a> {
            $(#[doc = concat!("A [`", stringify!($name), "`].")] $name(&'a $name)),+
        }

        /// Types and their lengths in bytes, in the specification's order.
        pub const TYPES: &[(u8, usize)] = &[$(($letter, size_of::<$name>())),+];

        /// The message that the bytes are.
        ///
        /// # Errors
        /// No bytes, a type that nobody knows, or a length that its type does not have.
        // Always: where the caller matches on what comes out, both matches become one jump, which is
        // what a mispredicted branch a message costs (`benches/itch`).
        #[inline(always)]
        pub fn decode(bytes: &[u8]) -> Result<Message<'_>, MessageReject> {
            let Some(kind) = bytes.first() else {
                return Err(MessageReject::Empty);
            };
            match *kind {
                $($letter => match $name::ref_from_bytes(bytes) {
                    Ok(view) => Ok(Message::$name(view)),
                    Err(_) => Err(wrong_length(bytes.len(), size_of::<$name>())),
                },)+
                _ => Err(MessageReject::UnknownType),
            }
        }
    };
}

messages! {
    b'S' SystemEvent,
    b'R' StockDirectory,
    b'H' TradingAction,
    b'Y' RegSho,
    b'L' ParticipantPosition,
    b'V' MwcbLevels,
    b'W' MwcbStatus,
    b'K' QuotingPeriod,
    b'J' AuctionCollar,
    b'h' OperationalHalt,
    b'A' AddOrder,
    b'F' AddOrderMpid,
    b'E' OrderExecuted,
    b'C' OrderExecutedPrice,
    b'X' OrderCancel,
    b'D' OrderDelete,
    b'U' OrderReplace,
    b'P' Trade,
    b'Q' CrossTrade,
    b'B' BrokenTrade,
    b'I' Imbalance,
    b'N' RetailInterest,
    b'O' DirectListing,
}

#[cold]
fn wrong_length(found: usize, needed: usize) -> MessageReject {
    if found < needed {
        MessageReject::TooShort
    } else {
        MessageReject::TooLong
    }
}

/// What every message begins with, of bytes that are one; `None` if they are shorter than that.
#[inline]
#[must_use]
pub fn head(bytes: &[u8]) -> Option<&Head> {
    Head::ref_from_prefix(bytes).ok().map(|(head, _)| head)
}

impl Head {
    /// A head of that type, security and time.
    #[must_use]
    pub const fn new(kind: u8, locate: u16, timestamp_ns: u64) -> Head {
        Head {
            kind,
            locate: U16::new(locate),
            tracking: U16::new(0),
            timestamp: Ns48::new(timestamp_ns),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_message_is_the_bound() {
        let longest = TYPES.iter().map(|(_, bytes)| *bytes).max();
        assert_eq!(longest, Some(MESSAGE_BYTES_MAX));
        assert_eq!(TYPES.len(), 23);
    }

    #[test]
    fn a_length_that_is_not_the_types_is_refused() {
        assert_eq!(decode(b""), Err(MessageReject::Empty));
        let mut bytes = [0; MESSAGE_BYTES_MAX + 1];
        for kind in 0..=u8::MAX {
            bytes[0] = kind;
            let known = TYPES.iter().find(|(letter, _)| *letter == kind);
            for len in 1..=bytes.len() {
                let expected = match known {
                    None => Some(MessageReject::UnknownType),
                    Some((_, needed)) if len < *needed => Some(MessageReject::TooShort),
                    Some((_, needed)) if len > *needed => Some(MessageReject::TooLong),
                    Some(_) => None,
                };
                assert_eq!(decode(&bytes[..len]).err(), expected, "{kind} {len}");
            }
        }
    }
}
