//! IEX DEEP 1.0: the shares at each price and trades, every message as a view on its bytes.
//!
//! Specification: "Investors Exchange DEEP Specification" 1.0, as of its edition 1.08; over
//! [IEX-TP](crate::feed::iextp) it has the protocol id [`PROTOCOL`]. [`iex`](crate::feed::iex) has
//! the views and the rules.
//!
//! ```
//! use hopline::feed::deep::{self, Message};
//! let bytes = b"8\x01\xac\x63\xc0\x20\x96\x86\x6d\x14ZIEXT   \xe4\x25\x00\x00\x24\x1d\x0f\x00\x00\x00\x00\x00";
//! match deep::decode(bytes) {
//!     Ok(Message::PriceLevelBuy(m)) => assert_eq!((m.size.get(), m.price.units()), (9_700, 990_500)),
//!     other => panic!("{other:?}"),
//! }
//! ```
//!
//! Invariant: decoding copies and allocates nothing, and no input panics.

use crate::feed::iex::{
    AuctionInformation, OfficialPrice, OperationalHalt, PriceLevel, RetailLiquidity,
    SecurityDirectory, SecurityEvent, ShortSaleStatus, SystemEvent, TradeReport, TradingStatus,
    messages,
};
use crate::feed::views::MessageReject;
use zerocopy::FromBytes;

/// The feed's id in the headers of its transport.
pub const PROTOCOL: u16 = 0x8004;

messages! {
    /// An event of the whole system.
    b'S' SystemEvent SystemEvent,
    /// A security.
    b'D' SecurityDirectory SecurityDirectory,
    /// Whether a security is traded.
    b'H' TradingStatus TradingStatus,
    /// Retail interest.
    b'I' RetailLiquidity RetailLiquidity,
    /// An operational halt.
    b'O' OperationalHalt OperationalHalt,
    /// The short sale price test.
    b'P' ShortSaleStatus ShortSaleStatus,
    /// Opening or closing is complete.
    b'E' SecurityEvent SecurityEvent,
    /// All shares at a price of the buy side.
    b'8' PriceLevelBuy PriceLevel,
    /// All shares at a price of the sell side.
    b'5' PriceLevelSell PriceLevel,
    /// A trade.
    b'T' TradeReport TradeReport,
    /// An official price.
    b'X' OfficialPrice OfficialPrice,
    /// A trade that never was.
    b'B' TradeBreak TradeReport,
    /// An auction.
    b'A' AuctionInformation AuctionInformation,
}
