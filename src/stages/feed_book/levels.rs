//! Books of price levels for the stage `level_book`.
//!
//! Invariant: a book that is between two states is not shown.

use crate::feed::DeepMessage;
use crate::feed::books::levels::{ByLevel, LevelBooks, LevelBooksSpec};
use crate::feed::deep::Message;
use crate::frame::View;
use crate::topology::{Params, Problem};

use super::{Did, FromFeed, Why, did, too_large};

/// Nanoseconds in a millisecond.
const MS_NS: i64 = 1_000_000;

impl FromFeed for ByLevel {
    type Frame = DeepMessage;

    fn books(params: &mut Params, symbols: usize, depth: usize) -> Result<LevelBooks, Problem> {
        let spec = LevelBooksSpec { symbols, depth };
        LevelBooks::new(&spec).map_err(|error| too_large(params, error))
    }

    #[inline]
    fn apply(books: &mut LevelBooks, frame: View<'_, DeepMessage>) -> Result<(Did, u64), Why> {
        let Ok(message) = frame.message() else {
            return Err(Why::Malformed);
        };
        let book = did(books.apply(&message))?;
        let ms = |timestamp_ns: i64| u64::try_from(timestamp_ns / MS_NS).unwrap_or(0);
        Ok(match (&message, book) {
            (Message::PriceLevelBuy(m) | Message::PriceLevelSell(m), Some(index)) => {
                let did = if books.is_settled(index) {
                    Did::Book(index)
                } else {
                    Did::Part(index)
                };
                (did, ms(m.timestamp.get()))
            }
            (_, Some(index)) => (Did::Book(index), 0),
            (Message::TradeReport(m), None) => match books.index(m.symbol) {
                Some(index) => (Did::Traded(index, m.price.units()), ms(m.timestamp.get())),
                None => return Err(Why::UnknownSymbol),
            },
            (_, None) => (Did::Nothing, 0),
        })
    }
}
