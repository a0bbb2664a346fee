//! What the feeds of the Investors Exchange share: views on the messages that both TOPS and DEEP have.
//!
//! Specifications: "Investors Exchange TOPS Specification" 1.6 (as of its edition 1.66) and
//! "Investors Exchange DEEP Specification" 1.0 (as of its edition 1.08). Integers are little-endian,
//! prices have four decimals and a sign, times are nanoseconds since 1970, UTC.
//!
//! IEX "reserves the right to add message types and grow the length of any message without notice":
//! a message that is longer than its view is read, one that is shorter is refused, and so is a type
//! that nobody knows, which costs no more than that message.
//!
//! Invariant: every pattern of bytes is a value of every field.

#![allow(
    missing_debug_implementations,
    reason = "the types of fields that zerocopy derives have none, and nobody ever holds one"
)]

use crate::feed::views::{SignedPrice4, Symbol8, views};
use zerocopy::byteorder::little_endian::{I64, U32, U64};

/// Bytes of the longest message that the specifications have.
pub const MESSAGE_BYTES_MAX: usize = 80;

/// Bit of [`TradeReport::flags`]: an intermarket sweep order.
pub const SALE_SWEEP: u8 = 0x80;
/// Bit of [`TradeReport::flags`]: outside of regular hours.
pub const SALE_EXTENDED_HOURS: u8 = 0x40;
/// Bit of [`TradeReport::flags`]: fewer shares than a round lot.
pub const SALE_ODD_LOT: u8 = 0x20;
/// Bit of [`TradeReport::flags`]: exempt from trade-through rules.
pub const SALE_TRADE_THROUGH_EXEMPT: u8 = 0x10;
/// Bit of [`TradeReport::flags`]: from a cross at a single price.
pub const SALE_SINGLE_PRICE_CROSS: u8 = 0x08;

/// Where the symbol is in every message that has one: behind the type, a flag and the time.
const SYMBOL: core::ops::Range<usize> = 10..18;

/// The key of a message's symbol ([`Symbol8::key`]), whatever its type; 0 for an event of the whole system, which has none, and
/// for what is too short to have one.
///
/// ```
/// use hopline::feed::{iex, views::Symbol8};
/// let level = b"8\x01\xac\x63\xc0\x20\x96\x86\x6d\x14ZIEXT   \xe4\x25\x00\x00\x24\x1d\x0f\x00\x00\x00\x00\x00";
/// assert_eq!(iex::symbol_key(level), Symbol8::new("ZIEXT").key());
/// assert_eq!(iex::symbol_key(b"SA12345678"), 0);
/// ```
#[inline]
#[must_use]
pub fn symbol_key(message: &[u8]) -> u64 {
    let symbol = message.get(SYMBOL).and_then(|bytes| bytes.try_into().ok());
    match (message.first(), symbol) {
        (Some(b'S') | None, _) | (_, None) => 0,
        (_, Some(symbol)) => Symbol8(symbol).key(),
    }
}

views! {
    /// *S*: an event of the whole system.
    SystemEvent: 10 {
        /// The type.
        kind: u8,
        /// `O` start and `C` end of messages, `S` start and `E` end of system hours, `R` start and
        /// `M` end of regular market hours.
        event: u8,
        /// When, in nanoseconds since 1970.
        timestamp: I64,
    }

    /// *D*: a security.
    SecurityDirectory: 31 {
        /// The type.
        kind: u8,
        /// Bits: 0x80 a test security, 0x40 when issued, 0x20 an exchange traded product.
        flags: u8,
        /// When, in nanoseconds since 1970.
        timestamp: I64,
        /// The security's symbol.
        symbol: Symbol8,
        /// Shares of a round lot.
        round_lot_size: U32,
        /// Official closing price of the day before, adjusted for corporate actions.
        adjusted_close: SignedPrice4,
        /// `0` none, `1` or `2`: the tier of limit up, limit down (numbers, not letters).
        luld_tier: u8,
    }

    /// *H*: whether a security is traded.
    TradingStatus: 22 {
        /// The type.
        kind: u8,
        /// `H` halted, `O` halted while orders are taken (of IEX only), `P` paused while orders are
        /// taken, `T` trading.
        status: u8,
        /// When, in nanoseconds since 1970.
        timestamp: I64,
        /// The security's symbol.
        symbol: Symbol8,
        /// Why, filled up with blanks.
        reason: [u8; 4],
    }

    /// *I*: retail interest.
    RetailLiquidity: 18 {
        /// The type.
        kind: u8,
        /// Blank none, `A` buy, `B` sell, `C` both.
        indicator: u8,
        /// When, in nanoseconds since 1970.
        timestamp: I64,
        /// The security's symbol.
        symbol: Symbol8,
    }

    /// *O*: an operational halt of a security.
    OperationalHalt: 18 {
        /// The type.
        kind: u8,
        /// `O` halted on IEX, `N` not.
        status: u8,
        /// When, in nanoseconds since 1970.
        timestamp: I64,
        /// The security's symbol.
        symbol: Symbol8,
    }

    /// *P*: the short sale price test of a security.
    ShortSaleStatus: 19 {
        /// The type.
        kind: u8,
        /// 0: not in effect, 1: in effect (numbers, not letters).
        status: u8,
        /// When, in nanoseconds since 1970.
        timestamp: I64,
        /// The security's symbol.
        symbol: Symbol8,
        /// Blank none, `A` activated, `C` continued, `D` deactivated, `N` not available.
        detail: u8,
    }

    /// *T*: a trade; *B*: a trade never was. They have the same fields.
    TradeReport: 38 {
        /// The type.
        kind: u8,
        /// Sale conditions: [`SALE_SWEEP`] and the others.
        flags: u8,
        /// When, in nanoseconds since 1970.
        timestamp: I64,
        /// The security's symbol.
        symbol: Symbol8,
        /// Shares.
        size: U32,
        /// The price.
        price: SignedPrice4,
        /// The trade's number, unique for the day.
        trade_id: U64,
    }

    /// *X*: an official opening or closing price.
    OfficialPrice: 26 {
        /// The type.
        kind: u8,
        /// `Q` opening, `M` closing.
        price_type: u8,
        /// When, in nanoseconds since 1970.
        timestamp: I64,
        /// The security's symbol.
        symbol: Symbol8,
        /// The price.
        price: SignedPrice4,
    }

    /// *A*: an auction as it stands.
    AuctionInformation: 80 {
        /// The type.
        kind: u8,
        /// `O` opening, `C` closing, `I` new issue, `H` after a halt, `V` after a pause.
        auction: u8,
        /// When, in nanoseconds since 1970.
        timestamp: I64,
        /// The security's symbol.
        symbol: Symbol8,
        /// Shares that match at the reference price.
        paired: U32,
        /// The reference price.
        reference: SignedPrice4,
        /// Price at which it would clear.
        indicative: SignedPrice4,
        /// Shares that do not match at the reference price.
        imbalance: U32,
        /// `B` buy, `S` sell, `N` none.
        imbalance_side: u8,
        /// How often it was extended.
        extension: u8,
        /// When it is due, in seconds since 1970.
        scheduled_s: U32,
        /// Price at which the book alone would clear.
        book_clearing: SignedPrice4,
        /// Reference of the collar.
        collar_reference: SignedPrice4,
        /// Its lower border.
        collar_lower: SignedPrice4,
        /// Its upper border.
        collar_upper: SignedPrice4,
    }

    /// *Q* of TOPS: the best bid and ask of a security.
    QuoteUpdate: 42 {
        /// The type.
        kind: u8,
        /// Bits: 0x80 halted or paused on IEX, 0x40 outside of regular hours.
        flags: u8,
        /// When, in nanoseconds since 1970.
        timestamp: I64,
        /// The security's symbol.
        symbol: Symbol8,
        /// Shares at the bid; 0 where there is none.
        bid_size: U32,
        /// The bid; 0 where there is none.
        bid: SignedPrice4,
        /// The ask; 0 where there is none.
        ask: SignedPrice4,
        /// Shares at the ask; 0 where there is none.
        ask_size: U32,
    }

    /// *E* of DEEP: opening or closing of a security is complete.
    SecurityEvent: 18 {
        /// The type.
        kind: u8,
        /// `O` opening process complete, `C` closing process complete.
        event: u8,
        /// When, in nanoseconds since 1970.
        timestamp: I64,
        /// The security's symbol.
        symbol: Symbol8,
    }

    /// *8* (buy side) and *5* (sell side) of DEEP: all shares at a price.
    PriceLevel: 30 {
        /// The type, which tells the side.
        kind: u8,
        /// 1: the event is complete and the book as a whole is as it should be; 0: more of it follows.
        flags: u8,
        /// When, in nanoseconds since 1970.
        timestamp: I64,
        /// The security's symbol.
        symbol: Symbol8,
        /// Shares at the price now; 0: the level is gone.
        size: U32,
        /// The price.
        price: SignedPrice4,
    }
}

/// Ties letters to views, for one of the feeds.
macro_rules! messages {
    ($($(#[$meta:meta])* $letter:literal $variant:ident $view:ident),+ $(,)?) => {
        /// A message, as a view on its bytes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Message<'a> {
            $($(#[$meta])* $variant(&'a $view)),+
        }

        /// Types and their lengths in bytes, in the specification's order; longer ones are read.
        pub const TYPES: &[(u8, usize)] = &[$(($letter, size_of::<$view>())),+];

        /// The message that the bytes begin with.
        ///
        /// # Errors
        /// No bytes, a type that nobody knows, or fewer bytes than its type has.
        #[inline]
        pub fn decode(bytes: &[u8]) -> Result<Message<'_>, MessageReject> {
            let Some(kind) = bytes.first() else {
                return Err(MessageReject::Empty);
            };
            match *kind {
                $($letter => match $view::ref_from_prefix(bytes) {
                    Ok((view, _)) => Ok(Message::$variant(view)),
                    Err(_) => Err(MessageReject::TooShort),
                },)+
                _ => Err(MessageReject::UnknownType),
            }
        }
    };
}
pub(crate) use messages;
