//! Books of orders for the stage `order_book`.
//!
//! Invariant: prices of trades are those of messages that say one; an execution at its order's own price
//! says none.

use crate::feed::ItchMessage;
use crate::feed::books::ORDERS_MAX;
use crate::feed::books::orders::{ByOrder, OrderBooks, OrderBooksSpec};
use crate::feed::itch::Message;
use crate::frame::View;
use crate::topology::{Params, Problem};

use super::{Did, FromFeed, Why, did, too_large};

impl FromFeed for ByOrder {
    type Frame = ItchMessage;

    fn books(params: &mut Params, symbols: usize, depth: usize) -> Result<OrderBooks, Problem> {
        let default = OrderBooksSpec::default();
        let orders = params.count("most_orders", default.orders as u64, 1..=ORDERS_MAX as u64)?;
        let spec = OrderBooksSpec {
            symbols,
            depth,
            orders: orders as usize,
            ..default
        };
        OrderBooks::new(&spec).map_err(|error| too_large(params, error))
    }

    #[inline]
    fn apply(books: &mut OrderBooks, frame: View<'_, ItchMessage>) -> Result<(Did, u64), Why> {
        let Ok(message) = frame.message() else {
            return Err(Why::Malformed);
        };
        let traded = match &message {
            Message::Trade(trade) => Some(trade.price),
            Message::CrossTrade(cross) => Some(cross.price),
            Message::OrderExecutedPrice(executed) => Some(executed.price),
            _ => None,
        };
        let book = did(books.apply(&message))?;
        let price = traded.map(|price| i64::from(price.units()));
        let index = book.or_else(|| books.index(frame.locate()));
        Ok(match (price, book, index) {
            (Some(price), _, Some(index)) => (Did::Traded(index, price), 0),
            (_, Some(index), _) => (Did::Book(index), 0),
            _ => (Did::Nothing, 0),
        })
    }
}
