//! Books of price levels for the stage `level_book`.
//!
//! Invariant: a book that is between two states is not shown.

use crate::feed::DeepMessage;
use crate::feed::books::levels::{LevelBooks, LevelBooksSpec};
use crate::feed::books::{BookCounts, Side};
use crate::feed::deep::Message;
use crate::frame::View;
use crate::host::lay_on_huge_pages;
use crate::topology::{Params, Problem};

use super::{BookSet, Did, FeedBook, FeedBookSpec, Place, Why, did};

/// Nanoseconds in a millisecond.
const MS_NS: i64 = 1_000_000;

/// Books from price levels.
#[derive(Debug)]
pub struct LevelSet {
    books: LevelBooks,
    memory_bytes: usize,
}

impl LevelSet {
    /// Over books of that spec.
    ///
    /// # Errors
    /// A spec out of its bounds.
    pub fn new(spec: &LevelBooksSpec) -> Result<LevelSet, crate::feed::books::BooksError> {
        let books = LevelBooks::new(spec)?;
        lay_on_huge_pages(&books.spans());
        Ok(LevelSet {
            books,
            memory_bytes: spec.memory_bytes(),
        })
    }

    /// The books.
    #[must_use]
    pub fn levels(&self) -> &LevelBooks {
        &self.books
    }
}

impl FeedBook<LevelSet> {
    /// From a node's settings.
    ///
    /// # Errors
    /// A setting of the wrong type or out of bounds.
    pub fn from_params(params: &mut Params) -> Result<FeedBook<LevelSet>, Problem> {
        let default = LevelBooksSpec::default();
        let (symbols, depth) = super::room(params, default.symbols, default.depth)?;
        let common = FeedBookSpec::from_params(params, symbols, depth)?;
        let spec = LevelBooksSpec { symbols, depth };
        let books = LevelSet::new(&spec).map_err(|error| super::too_large(params, error))?;
        Ok(FeedBook::over(books, &common))
    }
}

impl BookSet for LevelSet {
    type Frame = DeepMessage;

    #[inline]
    fn place(frame: View<'_, DeepMessage>) -> Place {
        Place {
            sequence: frame.sequence(),
            number: frame.number(),
            state: frame.state(),
            begins: frame.begins(),
        }
    }

    #[inline]
    fn apply(&mut self, frame: View<'_, DeepMessage>) -> Result<(Did, u64), Why> {
        let Ok(message) = frame.message() else {
            return Err(Why::Malformed);
        };
        let book = did(self.books.apply(&message))?;
        let ms = |timestamp_ns: i64| u64::try_from(timestamp_ns / MS_NS).unwrap_or(0);
        Ok(match (&message, book) {
            (Message::PriceLevelBuy(m) | Message::PriceLevelSell(m), Some(index)) => {
                let did = if self.books.is_settled(index) {
                    Did::Book(index)
                } else {
                    Did::Part(index)
                };
                (did, ms(m.timestamp.get()))
            }
            (_, Some(index)) => (Did::Book(index), 0),
            (Message::TradeReport(m), None) => match self.books.index(m.symbol) {
                Some(index) => (Did::Traded(index, m.price.units()), ms(m.timestamp.get())),
                None => return Err(Why::UnknownSymbol),
            },
            (_, None) => (Did::Nothing, 0),
        })
    }

    #[inline]
    fn sides(&self, index: u32) -> (Side<'_>, Side<'_>) {
        (self.books.bids(index), self.books.asks(index))
    }

    fn clear(&mut self) {
        self.books.clear();
    }

    fn counts(&self) -> &BookCounts {
        self.books.counts()
    }

    fn state_hash(&self) -> u64 {
        self.books.state_hash()
    }

    fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }
}
