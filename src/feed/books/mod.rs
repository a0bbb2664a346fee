//! Books of binary feeds: the best prices and the depth of each symbol, in fixed memory.
//!
//! | file | books from |
//! |---|---|
//! | [`orders`] | order messages by reference: ITCH |
//! | [`levels`] | shares at a price: DEEP |
//! | `ladder` | the sides of all symbols, best price first, as deep as there is room |
//! | `table` | the orders, by reference |
//! | `names` | symbols by their eight bytes |
//!
//! Prices are whole ten-thousandths, as both feeds have them.
//!
//! **A side has room for so many prices.** What is worse than those is *hidden*: it is counted and not
//! kept, and from then on so is whatever is no better than the best that was hidden, until nothing is
//! hidden any more. So the prices that are shown are always the best there are, in order and whole; only how
//! the side goes on behind them may be unknown. A side with nothing to show and something hidden says
//! so: [`Side::is_unknown`].
//!
//! **Nothing is guessed.** An order that nobody knows, a symbol that was never announced, a table that
//! is full: a reason each, counted, and the books are as they were before (but for an order that more
//! is taken from than it has, or that is replaced where there is no room: it is gone). After a loss such
//! reasons are what is to be expected; [`Books::clear`] starts anew.
//!
//! Invariant: memory is allocated when books are made and never after; whatever is applied costs no
//! more than the depth of a side.

mod ladder;
pub mod levels;
mod names;
pub mod orders;
mod table;

use core::ops::Range;

use crate::base::Reason as _;
use crate::feed::views::Symbol8;

use ladder::{BUY, Ladders, SELL};

pub use ladder::{Level, Side};
pub use levels::LevelBooks;
pub use orders::OrderBooks;

/// Most symbols of a set of books: numbers on the wire have 16 bits.
pub const SYMBOLS_MAX: usize = 1 << 16;

/// Most prices of a side: more is no use to anybody, and a worst case that has to be moved on an insertion.
pub const DEPTH_MAX: usize = 1 << 12;

/// Most orders: twice what Nasdaq has open at once on a busy day.
pub const ORDERS_MAX: usize = 1 << 24;

/// Symbols that a spec has room for unless it says otherwise: Nasdaq has about 11,000.
pub const SYMBOLS_DEFAULT: usize = 1 << 14;

/// Prices of a side that a spec has room for unless it says otherwise.
pub const DEPTH_DEFAULT: usize = 64;

/// Most memory of a set of books, in bytes.
pub const BOOKS_BYTES_MAX: usize = 1 << 31;

crate::reasons! {
    /// Why a message changed no book, or not as it says.
    pub enum BookReject {
        /// A symbol that was never announced.
        UnknownSymbol = "unknown_symbol",
        /// An order that is not in the book.
        UnknownOrder = "unknown_order",
        /// A new order of a reference that is taken.
        DuplicateOrder = "duplicate_order",
        /// More shares executed or cancelled than the order has; it is gone.
        TooManyShares = "too_many_shares",
        /// An order without shares.
        NoShares = "no_shares",
        /// A side that is neither buy nor sell.
        UnknownSide = "unknown_side",
        /// A price of 0 or below.
        BadPrice = "bad_price",
        /// The table of orders has no room.
        NoRoomForOrder = "no_room_order",
        /// The table of symbols has no room.
        NoRoomForSymbol = "no_room_symbol",
    }
}

/// What happened to a set of books.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BookCounts {
    /// Messages that changed a book, as they say.
    pub applied: u64,
    /// Messages that are about no book: events, trades, imbalances.
    pub passed: u64,
    /// Messages that changed none, by [`BookReject`].
    pub rejected: [u64; BookReject::ALL.len()],
    /// Orders, or prices where the feed has no orders, that were hidden for want of room in a side.
    pub hidden: u64,
}

impl BookCounts {
    /// All messages.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.applied + self.passed + self.rejected.iter().sum::<u64>()
    }

    fn count(&mut self, result: Result<Applied, BookReject>) {
        match result {
            Ok(Applied::Book(_)) => self.applied += 1,
            Ok(Applied::Nothing) => self.passed += 1,
            Err(reject) => self.rejected[reject.index()] += 1,
        }
    }
}

/// What a message did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It changed, or opened, the book of the symbol with that index.
    Book(u32),
    /// It is about no book.
    Nothing,
}

/// Why a set of books cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BooksError {
    /// No symbol, or too many.
    #[error("books for {0} symbols; 1 to {SYMBOLS_MAX} are possible")]
    Symbols(usize),
    /// No price a side, or too many.
    #[error("{0} prices a side; 1 to {DEPTH_MAX} are possible")]
    Depth(usize),
    /// No order, or too many.
    #[error("a table of {0} orders; 1 to {ORDERS_MAX} are possible")]
    Orders(usize),
    /// Too much memory.
    #[error("the books would take {0} bytes, more than {BOOKS_BYTES_MAX}")]
    Memory(usize),
}

/// How a set of books knows the symbols of its feed.
pub trait Known {
    /// Forgets all.
    fn clear(&mut self);

    /// The symbol of an index.
    fn symbol(&self, index: u32) -> Option<Symbol8>;

    /// How many symbols were announced; indices are below it.
    fn len(&self) -> usize;

    /// Addresses of what of it is touched at random.
    fn span(&self) -> Range<usize>;

    /// Whether none was.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The books of all symbols of a feed: [`OrderBooks`] or [`LevelBooks`].
#[derive(Debug)]
pub struct Books<S> {
    ladders: Ladders,
    symbols: S,
    counts: BookCounts,
    memory_bytes: usize,
}

impl<S: Known> Books<S> {
    fn empty(symbols: usize, depth: usize, of: S, memory_bytes: usize) -> Books<S> {
        Books {
            ladders: Ladders::new(symbols, depth),
            symbols: of,
            counts: BookCounts::default(),
            memory_bytes,
        }
    }

    /// Forgets books, symbols and what else is known of them; counts stay.
    pub fn clear(&mut self) {
        self.ladders.clear();
        self.symbols.clear();
    }

    /// Addresses of what is touched at random, the levels among it: large enough to gain from huge pages
    /// ([`lay_on_huge_pages`](crate::host::lay_on_huge_pages)).
    #[must_use]
    pub fn spans(&self) -> [Range<usize>; 2] {
        [self.symbols.span(), self.ladders.span()]
    }

    /// The symbol of an index.
    #[must_use]
    pub fn symbol(&self, index: u32) -> Option<Symbol8> {
        self.symbols.symbol(index)
    }

    /// How many symbols were announced; indices are below it.
    #[must_use]
    pub fn symbols(&self) -> usize {
        self.symbols.len()
    }

    /// The bids of an index; empty for one that there is not.
    #[inline]
    #[must_use]
    pub fn bids(&self, index: u32) -> Side<'_> {
        self.ladders.side(index as usize, BUY)
    }

    /// The asks of an index; empty for one that there is not.
    #[inline]
    #[must_use]
    pub fn asks(&self, index: u32) -> Side<'_> {
        self.ladders.side(index as usize, SELL)
    }

    /// The best bid and the best ask of an index.
    #[inline]
    #[must_use]
    pub fn top(&self, index: u32) -> (Option<Level>, Option<Level>) {
        (self.bids(index).best(), self.asks(index).best())
    }

    /// What was counted.
    #[must_use]
    pub fn counts(&self) -> &BookCounts {
        &self.counts
    }

    /// A number that is the same for the same books: of two replays of one capture, say. Looks at
    /// everything: for reports.
    #[must_use]
    pub fn state_hash(&self) -> u64 {
        self.ladders.hash()
    }

    /// Bytes that they allocated.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }
}

fn check(symbols: usize, depth: usize, more_bytes: usize) -> Result<(), BooksError> {
    if !(1..=SYMBOLS_MAX).contains(&symbols) {
        return Err(BooksError::Symbols(symbols));
    }
    if !(1..=DEPTH_MAX).contains(&depth) {
        return Err(BooksError::Depth(depth));
    }
    let bytes = symbols * ladder::bytes_a_symbol(depth) + more_bytes;
    if bytes > BOOKS_BYTES_MAX {
        return Err(BooksError::Memory(bytes));
    }
    Ok(())
}
