//! IEX TOPS 1.6: best quotes and trades, every message as a view on its bytes.
//!
//! Specification: "Investors Exchange TOPS Specification" 1.6, as of its edition 1.66; over
//! [IEX-TP](crate::feed::iextp) it has the protocol id [`PROTOCOL`]. [`iex`](crate::feed::iex) has
//! the views and the rules.
//!
//! ```
//! use hopline::feed::tops::{self, Message};
//! let bytes = b"X\x51\x00\xf0\x30\x2a\x5b\x25\xb6\x14ZIEXT   \x24\x1d\x0f\x00\x00\x00\x00\x00";
//! match tops::decode(bytes) {
//!     Ok(Message::OfficialPrice(m)) => assert_eq!(m.price.price().unwrap().to_string(), "99.05"),
//!     other => panic!("{other:?}"),
//! }
//! ```
//!
//! Invariant: decoding copies and allocates nothing, and no input panics.

use crate::feed::iex::{
    AuctionInformation, OfficialPrice, OperationalHalt, QuoteUpdate, RetailLiquidity,
    SecurityDirectory, ShortSaleStatus, SystemEvent, TradeReport, TradingStatus, messages,
};
use crate::feed::views::MessageReject;
use zerocopy::FromBytes;

/// The feed's id in the headers of its transport.
pub const PROTOCOL: u16 = 0x8003;

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
    /// The best bid and ask.
    b'Q' QuoteUpdate QuoteUpdate,
    /// A trade.
    b'T' TradeReport TradeReport,
    /// An official price.
    b'X' OfficialPrice OfficialPrice,
    /// A trade that never was.
    b'B' TradeBreak TradeReport,
    /// An auction.
    b'A' AuctionInformation AuctionInformation,
}
