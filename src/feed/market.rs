//! The frames of market data: what the rest of the line knows of the exchange.
//!
//! | kind | frame | carries |
//! |---|---|---|
//! | `bookTicker` | [`BookTicker`] | the best bid and ask |
//! | `trade` | [`Trade`] | one trade |
//! | `depthUpdate` | [`DepthHead`] | the ids of a change of the book; its levels follow |
//! | `snapshot` | [`SnapshotHead`] | the id of a whole book; its levels follow |
//! | `levels` | [`Levels`] | up to five levels of one side, a fragment after a head |
//! | `left` | [`Left`] | that a message has left a stage, for a log |
//!
//! A depth message of n bids and m asks is one message of [`frames_needed`] fragments: the head,
//! the bids five at a time, then the asks five at a time.
//!
//! Invariant: integers of fixed size only, and no frame is larger than a slot's payload.

use crate::base::limits::FRAGMENTS_MAX;
use crate::feed::binance::Message;
use crate::feed::decimal::{Price, Qty};

/// Levels in one [`Levels`] frame: as many as fit in a slot's payload beside what tells them apart.
pub const LEVELS_PER_FRAME: usize = 5;

/// Most levels of one message: what its fragments after the head can carry.
pub const LEVELS_MAX: usize = (FRAGMENTS_MAX - 1) * LEVELS_PER_FRAME;

/// [`Levels::side`] of bids.
pub const SIDE_BIDS: u8 = 0;

/// [`Levels::side`] of asks.
pub const SIDE_ASKS: u8 = 1;

const _: () = assert!(LEVELS_MAX <= u16::MAX as usize);

/// Everything that the exchange sends, on one hop.
#[hopline::frame_set]
#[derive(Debug)]
pub enum Market {
    /// The best bid and ask.
    Ticker(BookTicker),
    /// One trade.
    Trade(Trade),
    /// A change of the book; its levels follow.
    Depth(DepthHead),
    /// A whole book; its levels follow.
    Snapshot(SnapshotHead),
    /// Levels of a change or of a whole book.
    Levels(Levels),
}

/// The best bid and ask of a book. Kind `bookTicker`.
#[hopline::frame(schema = 101, version = 1, name = "bookTicker", key = "symbol")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BookTicker {
    /// The exchange's id of this state of the book; rises from one to the next.
    pub update_id: u64,
    /// Best bid.
    pub bid: Price,
    /// Quantity at the best bid.
    pub bid_qty: Qty,
    /// Best ask.
    pub ask: Price,
    /// Quantity at the best ask.
    pub ask_qty: Qty,
    /// When the exchange sent it, in milliseconds since 1970; 0 when the product does not say.
    pub event_ms: u64,
    /// When the exchange's engine made it, in milliseconds since 1970; 0 when the product does not say.
    pub transaction_ms: u64,
    /// Index of the symbol in the line's table.
    pub symbol: u16,
}

/// One trade. Kind `trade`.
#[hopline::frame(schema = 102, version = 1, name = "trade", key = "symbol")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trade {
    /// The exchange's id of the trade; the next trade of the symbol has the next number.
    pub trade_id: u64,
    /// Price of the trade.
    pub price: Price,
    /// Quantity of the trade.
    pub qty: Qty,
    /// When the exchange sent it, in milliseconds since 1970; 0 when the product does not say.
    pub event_ms: u64,
    /// When the exchange's engine made it, in milliseconds since 1970; 0 when the product does not say.
    pub transaction_ms: u64,
    /// Index of the symbol in the line's table.
    pub symbol: u16,
    /// 1 when the buyer's order was waiting in the book (the trade was a sell), else 0.
    pub buyer_is_maker: u8,
}

/// A change of the book, without its levels. Kind `depthUpdate`.
#[hopline::frame(schema = 103, version = 1, name = "depthUpdate", key = "symbol")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DepthHead {
    /// Id of the first change in this message.
    pub first_id: u64,
    /// Id of the last change in this message.
    pub last_id: u64,
    /// `last_id` of the message before; only when `has_prev` is 1, else 0.
    pub prev_id: u64,
    /// When the exchange sent it, in milliseconds since 1970; 0 when the product does not say.
    pub event_ms: u64,
    /// When the exchange's engine made it, in milliseconds since 1970; 0 when the product does not say.
    pub transaction_ms: u64,
    /// Index of the symbol in the line's table.
    pub symbol: u16,
    /// Levels on the bid side.
    pub bids: u16,
    /// Levels on the ask side.
    pub asks: u16,
    /// 1 when the product names the message before, else 0 (spot does not).
    pub has_prev: u8,
}

impl DepthHead {
    /// `last_id` of the message before, when the product says it.
    #[must_use]
    pub const fn prev(&self) -> Option<u64> {
        if self.has_prev != 0 {
            Some(self.prev_id)
        } else {
            None
        }
    }
}

/// A whole book, without its levels. Kind `snapshot`.
#[hopline::frame(schema = 104, version = 1, name = "snapshot", key = "symbol")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SnapshotHead {
    /// Id of the last change that is in the snapshot.
    pub last_id: u64,
    /// When the exchange sent it, in milliseconds since 1970; 0 when the product does not say.
    pub event_ms: u64,
    /// When the exchange's engine made it, in milliseconds since 1970; 0 when the product does not say.
    pub transaction_ms: u64,
    /// Index of the symbol in the line's table.
    pub symbol: u16,
    /// Levels on the bid side.
    pub bids: u16,
    /// Levels on the ask side.
    pub asks: u16,
}

/// A price and what is offered at it; a quantity of zero takes the price out of the book.
#[hopline::frame_part]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// The price.
    pub price: Price,
    /// The quantity.
    pub qty: Qty,
}

/// That a message of the exchange has left a stage whole: what a log of the line's losses needs to
/// compare with what came in. Kind `left`.
#[hopline::frame(schema = 106, version = 1, name = "left")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// The message's own id: `update_id`, `trade_id` or `last_id`.
    pub id: u64,
    /// `prev_id` of a change of the book; only when `has_prev` is 1, else 0.
    pub prev: u64,
    /// Index of the symbol in the line's table.
    pub symbol: u16,
    /// The message's kind: the schema id of its frame, or of its head.
    pub kind: u16,
    /// 1 when the message names the one before it, else 0.
    pub has_prev: u8,
}

/// Up to five levels of one side: a fragment after a head. Kind `levels`.
#[hopline::frame(schema = 105, version = 1, name = "levels")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Levels {
    /// `last_id` of the head.
    pub last_id: u64,
    /// Index of the symbol in the line's table.
    pub symbol: u16,
    /// This fragment's place in its message; the head is 0.
    pub part: u16,
    /// Fragments of the message, the head included.
    pub parts: u16,
    /// How many of `levels` are meant: 1 to 5. The others are zeros.
    pub count: u8,
    /// [`SIDE_BIDS`] or [`SIDE_ASKS`].
    pub side: u8,
    /// The levels, in the order of the message.
    pub levels: [Level; LEVELS_PER_FRAME],
}

impl Levels {
    /// The levels that are meant.
    #[must_use]
    pub fn as_slice(&self) -> &[Level] {
        &self.levels[..usize::from(self.count).min(LEVELS_PER_FRAME)]
    }
}

/// Fragments of a message with that many levels, the head included.
///
/// ```
/// use hopline::feed::frames_needed;
/// assert_eq!(frames_needed(0, 0), 1);
/// assert_eq!(frames_needed(5, 6), 1 + 1 + 2);
/// ```
#[inline]
#[must_use]
pub const fn frames_needed(bids: usize, asks: usize) -> usize {
    1 + bids.div_ceil(LEVELS_PER_FRAME) + asks.div_ceil(LEVELS_PER_FRAME)
}

/// The frames that follow a message's head, in order: bids, then asks; none for a message without levels.
///
/// Their number is [`frames_needed`] less one.
#[must_use]
pub fn fragments<'a>(message: &Message<'a>) -> Fragments<'a> {
    let (bids, asks, last_id, symbol) = match *message {
        Message::Depth { head, bids, asks } => (bids, asks, head.last_id, head.symbol),
        Message::Snapshot { head, bids, asks } => (bids, asks, head.last_id, head.symbol),
        Message::BookTicker(_) | Message::Trade(_) => (&[][..], &[][..], 0, 0),
    };
    Fragments {
        bids,
        asks,
        last_id,
        symbol,
        part: 1,
        parts: frames_needed(bids.len(), asks.len()) as u16,
    }
}

/// The iterator of [`fragments`].
#[derive(Clone, Debug)]
pub struct Fragments<'a> {
    bids: &'a [Level],
    asks: &'a [Level],
    last_id: u64,
    symbol: u16,
    part: u16,
    parts: u16,
}

impl Iterator for Fragments<'_> {
    type Item = Levels;

    #[inline]
    fn next(&mut self) -> Option<Levels> {
        let (side, from) = match (self.bids.is_empty(), self.asks.is_empty()) {
            (false, _) => (SIDE_BIDS, &mut self.bids),
            (true, false) => (SIDE_ASKS, &mut self.asks),
            (true, true) => return None,
        };
        let (now, later) = from.split_at(from.len().min(LEVELS_PER_FRAME));
        *from = later;
        let mut frame = Levels {
            last_id: self.last_id,
            symbol: self.symbol,
            part: self.part,
            parts: self.parts,
            count: now.len() as u8,
            side,
            levels: [Level::default(); LEVELS_PER_FRAME],
        };
        frame.levels[..now.len()].copy_from_slice(now);
        self.part += 1;
        Some(frame)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = frames_needed(self.bids.len(), self.asks.len()) - 1;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Fragments<'_> {}
