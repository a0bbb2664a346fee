//! The frames of the market line, from the top of a book to an order.
//!
//! Invariant: integers and closed enums of fixed size only; no frame is larger than a slot's payload.

use crate::feed::decimal::{Price, Qty};

/// What a book is worth.
#[hopline::frame_part]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum BookState {
    /// No snapshot has come that the changes could be joined to; what is shown is bookTicker's.
    #[default]
    Empty = 0,
    /// Every change since the snapshot is in it.
    Live = 1,
    /// A change was missed; it waits for the next snapshot.
    Stale = 2,
}

/// Which side of the market.
#[hopline::frame_part]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Side {
    /// Buy: meets the asks.
    Buy = 1,
    /// Sell: meets the bids.
    Sell = 2,
}

/// The top of a symbol's book, emitted when anything in it but ids and times has changed.
#[hopline::frame(schema = 110, version = 1, name = "top")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Top {
    /// The exchange's id of the state that is shown.
    pub update_id: u64,
    /// When the exchange sent the message that led to it, in milliseconds since 1970; 0 if unknown.
    pub event_ms: u64,
    /// Best bid; 0 with a quantity of 0 when nobody bids.
    pub bid: Price,
    /// Quantity at the best bid.
    pub bid_qty: Qty,
    /// Best ask; 0 with a quantity of 0 when nobody asks.
    pub ask: Price,
    /// Quantity at the best ask.
    pub ask_qty: Qty,
    /// Price of the last trade; 0 before the first.
    pub last_price: Price,
    /// How far the first levels lean, as of the book's last change, in millionths:
    /// (bids − asks) / (bids + asks) of the quantities; 1,000,000 is bids only.
    pub imbalance_ppm: i32,
    /// Levels that the book let go because a side was full, farthest first; stops at the largest number.
    pub dropped_levels: u32,
    /// Index of the symbol in the line's table.
    pub symbol: u16,
    /// What the book is worth.
    pub state: BookState,
}

/// That a book leans to one side.
#[hopline::frame(schema = 111, version = 1, name = "signal")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal {
    /// `update_id` of the top that led to it.
    pub update_id: u64,
    /// `event_ms` of the top that led to it.
    pub event_ms: u64,
    /// Price at which the other side stands: the best ask to buy, the best bid to sell.
    pub price: Price,
    /// Quantity to trade, at most what stands at that price.
    pub qty: Qty,
    /// The price weighted by the other side's quantity: (bid × ask_qty + ask × bid_qty) /
    /// (bid_qty + ask_qty), rounded down.
    pub micro_price: Price,
    /// How far the best level leans, in millionths; negative to sell.
    pub strength_ppm: i32,
    /// Index of the symbol in the line's table.
    pub symbol: u16,
    /// Buy or sell.
    pub side: Side,
}

/// An order that passed the limits.
#[hopline::frame(schema = 112, version = 1, name = "order")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// Number of the order, from 1, without gaps.
    pub id: u64,
    /// `update_id` of the top that led to it.
    pub update_id: u64,
    /// `event_ms` of the top that led to it.
    pub event_ms: u64,
    /// When it passed the limits, in nanoseconds of the line's clock.
    pub t_ns: u64,
    /// Limit price.
    pub price: Price,
    /// Quantity.
    pub qty: Qty,
    /// The symbol's position after it, as if it were filled at once.
    pub position: Qty,
    /// Index of the symbol in the line's table.
    pub symbol: u16,
    /// Buy or sell.
    pub side: Side,
}
