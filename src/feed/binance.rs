//! The exchange's JSON into frames.
//!
//! A message is either a bare object or the combined form `{"stream":"…","data":{…}}`: an object
//! whose `data` is an object is the combined form, and what else stands beside `data` is ignored
//! (but for `stream`).
//!
//! | kind | is | needs | may have |
//! |---|---|---|---|
//! | `bookTicker` | `"e":"bookTicker"`, or no `e` but all of its needs (spot) | `u` `b` `B` `a` `A` | `E` `T` |
//! | `trade` | `"e":"trade"` | `t` `p` `q` `m` | `E` `T` |
//! | `depthUpdate` | `"e":"depthUpdate"` | `U` `u` `b` `a` | `pu` `E` `T` |
//! | `snapshot` | no `e` but `lastUpdateId` | `lastUpdateId` `bids` `asks` | `E` `T` |
//!
//! The symbol is `s`; without it, what stands before the `@` of `stream`, in either case; without
//! that, the decoder's default.
//!
//! Rules where the format leaves a choice
//! - Keys stand in any order; unknown ones are passed over, whatever their values; of a key that
//!   stands twice the last one counts, as in `JSON.parse`. `"\u0065"` is the key `e`.
//! - Ids and times are whole JSON numbers that fit in 64 bits; prices and quantities are strings by
//!   the grammar of [`decimal`](crate::feed::decimal), quantities not negative; a level is an array
//!   of such a price, such a quantity and whatever else. Anything else is [`Reject::WrongType`],
//!   `null` included.
//!
//! What a text is refused for, in this order
//! 1. [`Reject::TooLong`]: more than [`MESSAGE_BYTES_MAX`] bytes; [`Reject::Empty`]: nothing but blanks.
//! 2. [`Reject::NotUtf8`], or [`Reject::Truncated`] when the text ends within a character.
//! 3. [`Reject::Truncated`] when the text ends before its JSON does, else [`Reject::NotJson`]; the
//!    latter also for nesting deeper than 32.
//! 4. [`Reject::UnknownKind`], for whatever is JSON but no message of the table.
//! 5. [`Reject::MissingField`], [`Reject::WrongType`], [`Reject::BeyondScale`],
//!    [`Reject::UnknownSymbol`], [`Reject::TooManyLevels`]: whichever is met first.
//!
//! A message is first tried against the exchange's usual order of keys (`predict`); any surprise
//! sends it through the scanner that holds the rules (`fields`). A prediction only ever accepts, so
//! the two cannot disagree about an error.
//!
//! Invariant: after [`Decoder::new`] nothing is allocated, and no input panics.

use core::fmt;

use crate::base::Reject;
use crate::base::limits::MESSAGE_BYTES_MAX;
use crate::feed::decimal::{Price, Qty};
use crate::feed::market::{
    BookTicker, DepthHead, LEVELS_MAX, Level, SnapshotHead, Trade, frames_needed,
};
use crate::feed::symbols::{Symbols, SymbolsError};
use crate::feed::{fields, predict};

/// A decoded message. Levels lie in the decoder until its next message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// The best bid and ask.
    BookTicker(BookTicker),
    /// A trade.
    Trade(Trade),
    /// A change of the book.
    Depth {
        /// Its ids and counts.
        head: DepthHead,
        /// The bid side, in the order of the message.
        bids: &'a [Level],
        /// The ask side, in the order of the message.
        asks: &'a [Level],
    },
    /// A whole book.
    Snapshot {
        /// Its id and counts.
        head: SnapshotHead,
        /// The bid side, in the order of the message.
        bids: &'a [Level],
        /// The ask side, in the order of the message.
        asks: &'a [Level],
    },
}

impl Message<'_> {
    /// Frames that carry this message: 1, or [`frames_needed`] for its levels.
    #[inline]
    #[must_use]
    pub fn frames(&self) -> usize {
        match self {
            Message::BookTicker(_) | Message::Trade(_) => 1,
            Message::Depth { bids, asks, .. } | Message::Snapshot { bids, asks, .. } => {
                frames_needed(bids.len(), asks.len())
            }
        }
    }

    /// Index of the symbol in the line's table.
    #[inline]
    #[must_use]
    pub const fn symbol(&self) -> u16 {
        match self {
            Message::BookTicker(ticker) => ticker.symbol,
            Message::Trade(trade) => trade.symbol,
            Message::Depth { head, .. } => head.symbol,
            Message::Snapshot { head, .. } => head.symbol,
        }
    }

    /// The kind's name, as users see it.
    #[must_use]
    pub const fn kind_name(&self) -> &'static str {
        match self {
            Message::BookTicker(_) => "bookTicker",
            Message::Trade(_) => "trade",
            Message::Depth { .. } => "depthUpdate",
            Message::Snapshot { .. } => "snapshot",
        }
    }
}

/// Decodes the messages of one source.
///
/// ```
/// use hopline::feed::{Decoder, Message, Price, Symbols};
/// let mut decoder = Decoder::new(Symbols::new(&["BTCUSDT"])?, Some("BTCUSDT"))?;
/// let text = br#"{"u":7,"s":"BTCUSDT","b":"61800.20","B":"2.507","a":"61800.30","A":"2.510"}"#;
/// match decoder.decode(text) {
///     Ok(Message::BookTicker(ticker)) => assert_eq!(ticker.bid, Price(6_180_020_000_000)),
///     other => panic!("{other:?}"),
/// }
/// # Ok::<(), hopline::feed::symbols::SymbolsError>(())
/// ```
pub struct Decoder {
    names: Names,
    levels: LevelStore,
}

impl Decoder {
    /// A decoder for the symbols of a source; messages that carry no symbol (a snapshot asked for
    /// by itself) are taken for `default_symbol`, or refused for a missing field if it is `None`.
    ///
    /// Allocates the store of levels, once: 40 KiB.
    ///
    /// # Errors
    /// When `default_symbol` is not one of the symbols.
    pub fn new(symbols: Symbols, default_symbol: Option<&str>) -> Result<Decoder, SymbolsError> {
        let unknown = |name: &str| SymbolsError::UnknownDefault(name.to_owned());
        let default_symbol = default_symbol
            .map(|name| symbols.find(name.as_bytes()).ok_or_else(|| unknown(name)))
            .transpose()?;
        Ok(Decoder {
            names: Names {
                symbols,
                default_symbol,
            },
            levels: LevelStore::new(),
        })
    }

    /// The symbols that this source carries.
    #[must_use]
    pub fn symbols(&self) -> &Symbols {
        &self.names.symbols
    }

    /// The message that the text writes.
    ///
    /// # Errors
    /// The reason for which the text is refused; this file's head lists them in their order.
    #[inline]
    pub fn decode(&mut self, message: &[u8]) -> Result<Message<'_>, Reject> {
        if message.len() > MESSAGE_BYTES_MAX {
            return Err(Reject::TooLong);
        }
        let shape = match predict::message(message, &self.names, &mut self.levels) {
            Some(shape) => shape,
            None => fields::message(message, &self.names, &mut self.levels)?,
        };
        Ok(match shape {
            Shape::BookTicker(ticker) => Message::BookTicker(ticker),
            Shape::Trade(trade) => Message::Trade(trade),
            Shape::Depth(head) => {
                let (bids, asks) = self.levels.sides(head.bids, head.asks);
                Message::Depth { head, bids, asks }
            }
            Shape::Snapshot(head) => {
                let (bids, asks) = self.levels.sides(head.bids, head.asks);
                Message::Snapshot { head, bids, asks }
            }
        })
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder")
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

/// A message whose levels still lie in the store.
pub(crate) enum Shape {
    BookTicker(BookTicker),
    Trade(Trade),
    Depth(DepthHead),
    Snapshot(SnapshotHead),
}

/// How a message's symbol becomes a number.
#[derive(Debug)]
pub(crate) struct Names {
    symbols: Symbols,
    default_symbol: Option<u16>,
}

impl Names {
    /// By its name.
    #[inline]
    pub(crate) fn named(&self, name: &[u8]) -> Result<u16, Reject> {
        self.symbols.find(name).ok_or(Reject::UnknownSymbol)
    }

    /// By the name of its stream, or by default.
    pub(crate) fn unnamed(&self, stream: Option<&[u8]>) -> Result<u16, Reject> {
        match stream {
            Some(stream) => {
                let end = memchr::memchr(b'@', stream).unwrap_or(stream.len());
                self.symbols
                    .find_any_case(&stream[..end])
                    .ok_or(Reject::UnknownSymbol)
            }
            None => self.default_symbol.ok_or(Reject::MissingField),
        }
    }
}

/// The levels of one message, bids first: bounded by what its fragments can carry.
pub(crate) struct LevelStore {
    levels: Box<[Level]>,
    used: usize,
}

impl LevelStore {
    fn new() -> LevelStore {
        LevelStore {
            levels: vec![Level::default(); LEVELS_MAX].into_boxed_slice(),
            used: 0,
        }
    }

    /// Forgets all levels but the first `len`.
    #[inline]
    pub(crate) fn truncate(&mut self, len: usize) {
        self.used = self.used.min(len);
    }

    /// How many levels there are.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.used
    }

    /// Adds a level.
    #[inline]
    pub(crate) fn push(&mut self, price: Price, qty: Qty) -> Result<(), Reject> {
        let place = self
            .levels
            .get_mut(self.used)
            .ok_or(Reject::TooManyLevels)?;
        *place = Level { price, qty };
        self.used += 1;
        Ok(())
    }

    fn sides(&self, bids: u16, asks: u16) -> (&[Level], &[Level]) {
        let (bids, asks) = (usize::from(bids), usize::from(asks));
        (&self.levels[..bids], &self.levels[bids..bids + asks])
    }
}
