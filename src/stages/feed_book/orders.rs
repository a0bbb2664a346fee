//! Books of orders for the stage `order_book`.
//!
//! Invariant: prices of trades are those of messages that say one; an execution at its order's own price
//! says none.

use crate::feed::ItchMessage;
use crate::feed::books::orders::{OrderBooks, OrderBooksSpec};
use crate::feed::books::{BookCounts, ORDERS_MAX, Side};
use crate::feed::itch::Message;
use crate::frame::View;
use crate::host::lay_on_huge_pages;
use crate::topology::{Params, Problem};

use super::{BookSet, Did, FeedBook, FeedBookSpec, Place, Why, did};

/// Books from order messages.
#[derive(Debug)]
pub struct OrderSet {
    books: OrderBooks,
    memory_bytes: usize,
}

impl OrderSet {
    /// Over books of that spec.
    ///
    /// # Errors
    /// A spec out of its bounds.
    pub fn new(spec: &OrderBooksSpec) -> Result<OrderSet, crate::feed::books::BooksError> {
        let books = OrderBooks::new(spec)?;
        lay_on_huge_pages(&books.spans());
        Ok(OrderSet {
            books,
            memory_bytes: spec.memory_bytes(),
        })
    }

    /// The books.
    #[must_use]
    pub fn orders(&self) -> &OrderBooks {
        &self.books
    }
}

impl FeedBook<OrderSet> {
    /// From a node's settings.
    ///
    /// # Errors
    /// A setting of the wrong type or out of bounds.
    pub fn from_params(params: &mut Params) -> Result<FeedBook<OrderSet>, Problem> {
        let default = OrderBooksSpec::default();
        let (symbols, depth) = super::room(params, default.symbols, default.depth)?;
        let orders = params.count("most_orders", default.orders as u64, 1..=ORDERS_MAX as u64)?;
        let common = FeedBookSpec::from_params(params, symbols, depth)?;
        let spec = OrderBooksSpec {
            symbols,
            depth,
            orders: orders as usize,
            ..default
        };
        let books = OrderSet::new(&spec).map_err(|error| super::too_large(params, error))?;
        Ok(FeedBook::over(books, &common))
    }
}

impl BookSet for OrderSet {
    type Frame = ItchMessage;

    #[inline]
    fn place(frame: View<'_, ItchMessage>) -> Place {
        Place {
            sequence: frame.sequence(),
            number: frame.number(),
            state: frame.state(),
            begins: frame.begins(),
        }
    }

    #[inline]
    fn apply(&mut self, frame: View<'_, ItchMessage>) -> Result<(Did, u64), Why> {
        let Ok(message) = frame.message() else {
            return Err(Why::Malformed);
        };
        let traded = match &message {
            Message::Trade(trade) => Some(trade.price),
            Message::CrossTrade(cross) => Some(cross.price),
            Message::OrderExecutedPrice(executed) => Some(executed.price),
            _ => None,
        };
        let book = did(self.books.apply(&message))?;
        let price = traded.map(|price| i64::from(price.units()));
        let index = book.or_else(|| self.books.index(frame.locate()));
        Ok(match (price, book, index) {
            (Some(price), _, Some(index)) => (Did::Traded(index, price), 0),
            (_, Some(index), _) => (Did::Book(index), 0),
            _ => (Did::Nothing, 0),
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
