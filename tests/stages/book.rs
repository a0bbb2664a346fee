//! A book beside its oracles: what the exchange's book truly was, and a sorted map.

use std::collections::BTreeMap;

use hopline::feed::market::{Left, Level, Market, MarketView};
use hopline::feed::{Message, Symbols};
use hopline::stage::{Context, Outcome, Port, Stage};
use hopline::stages::book::{Book, BookSpec, Why};
use hopline::stages::{BookState, Top};

/// Both sides of a book, by price.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sides {
    pub(crate) bids: BTreeMap<i64, i64>,
    pub(crate) asks: BTreeMap<i64, i64>,
}

impl Sides {
    pub(crate) fn apply(&mut self, bids: &[Level], asks: &[Level]) {
        for (side, levels) in [(&mut self.bids, bids), (&mut self.asks, asks)] {
            for level in levels {
                if level.qty.0 == 0 {
                    side.remove(&level.price.0);
                } else {
                    side.insert(level.price.0, level.qty.0);
                }
            }
        }
    }

    pub(crate) fn of(book: &Book, symbol: u16) -> Sides {
        let pair = |level: Level| (level.price.0, level.qty.0);
        Sides {
            bids: book.bids(symbol).map(pair).collect(),
            asks: book.asks(symbol).map(pair).collect(),
        }
    }

    /// Best bid and ask with their quantities.
    pub(crate) fn top(&self) -> Option<[(i64, i64); 2]> {
        let bid = self.bids.last_key_value()?;
        let ask = self.asks.first_key_value()?;
        Some([(*bid.0, *bid.1), (*ask.0, *ask.1)])
    }
}

/// A book stage that is looked at after each message.
pub(crate) struct Watched<W> {
    book: Book,
    watch: W,
    /// Of the frame in hand.
    symbol: u16,
}

impl<W: FnMut(&Book, u16)> Watched<W> {
    pub(crate) fn new(spec: &BookSpec, watch: W) -> Watched<W> {
        Watched {
            book: Book::new(spec),
            watch,
            symbol: 0,
        }
    }
}

impl<W: FnMut(&Book, u16) + Send + 'static> Stage for Watched<W> {
    type In = Market;
    type Why = Why;
    const PORTS: &'static [Port] = <Book as Stage>::PORTS;

    fn on_frame(&mut self, frame: MarketView<'_>, cx: &mut Context<'_>) -> Outcome<Why> {
        self.symbol = match frame {
            MarketView::Ticker(view) => view.symbol(),
            MarketView::Trade(view) => view.symbol(),
            MarketView::Depth(view) => view.symbol(),
            MarketView::Snapshot(view) => view.symbol(),
            MarketView::Levels(view) => view.symbol(),
        };
        let outcome = self.book.on_frame(frame, cx);
        if cx.flags().is_last() {
            (self.watch)(&self.book, self.symbol);
        }
        outcome
    }
}

/// What a line with both symbols takes.
pub(crate) fn spec() -> BookSpec {
    BookSpec {
        levels: 50,
        takes_ns: 0,
        symbols: Symbols::new(&["BTCUSDT", "ETHUSDT"]).unwrap(),
    }
}

/// What the log says of a message, written down from the message itself.
pub(crate) fn left_of(message: &Message<'_>) -> Left {
    let (id, prev, kind) = match *message {
        Message::BookTicker(ticker) => (ticker.update_id, None, 101),
        Message::Trade(trade) => (trade.trade_id, None, 102),
        Message::Depth { head, .. } => (head.last_id, head.prev(), 103),
        Message::Snapshot { head, .. } => (head.last_id, None, 104),
    };
    Left {
        id,
        prev: prev.unwrap_or(0),
        symbol: message.symbol(),
        kind,
        has_prev: prev.is_some().into(),
    }
}

/// Whether a top shows a live book.
pub(crate) fn is_live(top: &Top) -> bool {
    top.state == BookState::Live
}
