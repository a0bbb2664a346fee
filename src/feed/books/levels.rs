//! Books from price levels, as DEEP has them: all shares at a price, 0 for none.
//!
//! Symbols are announced by the security directory. One event may change several levels; until its
//! last message a book may stand crossed, and says so: [`Books::is_settled`].
//!
//! A side from which prices were hidden stays so until [`Books::clear`]: the feed does not tell
//! whether a price that nobody keeps is new, so that how many are hidden is not known.
//!
//! Invariant: the shares at a shown price are those of the last message about it.

use core::ops::Range;

use crate::base::addresses;
use crate::feed::books::ladder::{self, BUY, SELL};
use crate::feed::books::names::{BYTES_A_SYMBOL, Names};
use crate::feed::books::{
    Applied, BookReject, Books, BooksError, DEPTH_DEFAULT, Known, SYMBOLS_DEFAULT, check,
};
use crate::feed::deep::Message;
use crate::feed::iex::PriceLevel;
use crate::feed::views::Symbol8;

/// How many of what a set of books has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LevelBooksSpec {
    /// Symbols, from 1 to [`SYMBOLS_MAX`](crate::feed::books::SYMBOLS_MAX).
    pub symbols: usize,
    /// Prices of a side, from 1 to [`DEPTH_MAX`](crate::feed::books::DEPTH_MAX).
    pub depth: usize,
}

impl LevelBooksSpec {
    /// Bytes that books of it allocate.
    #[must_use]
    pub const fn memory_bytes(&self) -> usize {
        self.symbols * (ladder::bytes_a_symbol(self.depth) + BYTES_A_SYMBOL + 1)
    }
}

impl Default for LevelBooksSpec {
    /// 16,384 symbols, 64 prices a side: 50 MiB.
    fn default() -> LevelBooksSpec {
        LevelBooksSpec {
            symbols: SYMBOLS_DEFAULT,
            depth: DEPTH_DEFAULT,
        }
    }
}

/// The books of all symbols of a feed of price levels.
///
/// ```
/// use hopline::feed::books::levels::{LevelBooks, LevelBooksSpec};
/// use hopline::feed::deep;
/// use hopline::feed::views::Symbol8;
///
/// let mut books = LevelBooks::new(&LevelBooksSpec { symbols: 8, depth: 8 })?;
/// let directory = b"D\0\0\0\0\0\0\0\0\0ZIEXT   \x64\0\0\0\0\0\0\0\0\0\0\0\x01";
/// books.apply(&deep::decode(directory).unwrap()).unwrap();
/// let update = b"8\x01\0\0\0\0\0\0\0\0ZIEXT   \xe4\x25\0\0\x24\x1d\x0f\0\0\0\0\0";
/// books.apply(&deep::decode(update).unwrap()).unwrap();
/// let index = books.index(Symbol8::new("ZIEXT")).unwrap();
/// assert_eq!(books.bids(index).best().map(|level| level.shares), Some(9_700));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type LevelBooks = Books<ByLevel>;

/// The symbols of a feed of price levels, by their eight bytes.
#[derive(Debug)]
pub struct ByLevel {
    names: Names,
    /// Whether an event is under way, by index.
    in_event: Box<[bool]>,
}

impl Known for ByLevel {
    fn clear(&mut self) {
        self.names.clear();
        self.in_event.fill(false);
    }

    fn symbol(&self, index: u32) -> Option<Symbol8> {
        self.names.symbol(index)
    }

    fn len(&self) -> usize {
        self.names.len()
    }

    fn span(&self) -> Range<usize> {
        addresses(&self.in_event)
    }
}

/// Bit of [`PriceLevel::flags`]: the event is complete.
const COMPLETE: u8 = 1;

impl Books<ByLevel> {
    /// Empty books. Allocates all that they ever need.
    ///
    /// # Errors
    /// A spec out of its bounds.
    pub fn new(spec: &LevelBooksSpec) -> Result<LevelBooks, BooksError> {
        check(
            spec.symbols,
            spec.depth,
            spec.symbols * (BYTES_A_SYMBOL + 1),
        )?;
        let levels = ByLevel {
            names: Names::new(spec.symbols),
            in_event: vec![false; spec.symbols].into_boxed_slice(),
        };
        let bytes = spec.memory_bytes();
        Ok(Books::empty(spec.symbols, spec.depth, levels, bytes))
    }

    /// Applies a message.
    ///
    /// # Errors
    /// The reason for which it changed nothing; counted already.
    #[inline]
    pub fn apply(&mut self, message: &Message<'_>) -> Result<Applied, BookReject> {
        let result = match message {
            Message::PriceLevelBuy(m) => self.set(BUY, m),
            Message::PriceLevelSell(m) => self.set(SELL, m),
            Message::SecurityDirectory(m) => match self.symbols.names.announce(m.symbol) {
                Some(index) => Ok(Applied::Book(index)),
                None => Err(BookReject::NoRoomForSymbol),
            },
            _ => Ok(Applied::Nothing),
        };
        self.counts.count(result);
        result
    }

    #[inline]
    fn set(&mut self, side: usize, m: &PriceLevel) -> Result<Applied, BookReject> {
        let index = self.symbols.names.find(m.symbol);
        let index = index.ok_or(BookReject::UnknownSymbol)?;
        let price = m.price.units();
        if price <= 0 {
            return Err(BookReject::BadPrice);
        }
        let at = index as usize;
        self.counts.hidden += self.ladders.set(at, side, price, u64::from(m.size.get()));
        self.symbols.in_event[at] = m.flags & COMPLETE == 0;
        Ok(Applied::Book(index))
    }

    /// Index of a symbol; `None` if it was never announced.
    #[inline]
    #[must_use]
    pub fn index(&self, symbol: Symbol8) -> Option<u32> {
        self.symbols.names.find(symbol)
    }

    /// Whether no event is under way for an index.
    #[inline]
    #[must_use]
    pub fn is_settled(&self, index: u32) -> bool {
        self.symbols.in_event.get(index as usize) != Some(&true)
    }
}
