//! The stage `book`: the exchange's messages in, the top of each symbol's book out.
//!
//! | setting | default | means |
//! |---|---|---|
//! | `levels` | 50 | levels a side whose quantities make `imbalance_ppm` |
//! | `symbols` | `["BTCUSDT", "ETHUSDT"]` | the line's table of symbols, in the order of its numbers |
//! | `takes` | 0 | works so long on each message before it applies it, as the stage `work` does |
//!
//! Which top is shown: bookTicker's or the book's own, whichever has the higher id; the two streams
//! of the exchange overtake each other. A [`Top`] leaves on port `top` when anything in it but ids
//! and times has changed. On port `log`, which may stay unconnected, a [`Left`] leaves for every
//! message that the stage understood, in the order in which they came.
//!
//! A side holds [`LEVELS_PER_SIDE`] levels; when it is full, the farthest go, and
//! [`Top::dropped_levels`] counts them.
//!
//! Invariant: nothing is allocated after [`Book::new`]; a message's levels are applied together.

mod collect;
mod ladder;
mod pending;
mod symbol;

pub use ladder::LEVELS_PER_SIDE;
pub use pending::{PENDING_CHANGES, PENDING_LEVELS};

use crate::feed::Symbols;
use crate::feed::decimal::Price;
use crate::feed::market::{
    BookTicker, DepthHead, Left, Level, Market, MarketView, SnapshotHead, Trade,
};
use crate::frame::Frame;
use crate::frame::capture::chain_hash;
use crate::stage::{Context, Count, Out, Outcome, Port, Stage};
use crate::topology::{Params, Problem};

use super::frames::{BookState, Top};
use super::work::work_for;
use collect::{Collector, Head, Step};
use symbol::{Applied, Change, Ids, SymbolBook};

const TOP: Out<Top> = Out::at(0);
const LOG: Out<Left> = Out::at(1);

/// Millionths in one: the unit of an imbalance.
const PPM: i128 = 1_000_000;

crate::reasons! {
    /// Why the book ends a message.
    pub enum Why {
        /// It changed nothing of what a top shows.
        Unchanged = "unchanged",
        /// Older than what the book or the top shows already.
        Old = "old",
        /// It waits for a snapshot to join; until then nothing of it is shown.
        AwaitsSnapshot = "awaits_snapshot",
        /// A snapshot that is too old for the changes that wait for one.
        SnapshotTooOld = "snapshot_too_old",
        /// Its fragments do not make a message.
        Broken = "broken",
        /// A symbol beyond the stage's table.
        UnknownSymbol = "unknown_symbol",
    }
}

/// What a book stage is made from.
#[derive(Clone, Debug)]
pub struct BookSpec {
    /// Levels a side whose quantities make the imbalance.
    pub levels: usize,
    /// The line's symbols; their numbers are places in the stage's table.
    pub symbols: Symbols,
    /// How long it works on each message before it applies it, in nanoseconds: 0 but in drills of overload, where
    /// a line's capacity has to be known beforehand.
    pub takes_ns: u64,
}

impl BookSpec {
    /// From a node's settings; this file's head lists them.
    ///
    /// # Errors
    /// A setting of the wrong type or out of bounds.
    pub fn from_params(params: &mut Params) -> Result<BookSpec, Problem> {
        Ok(BookSpec {
            levels: params.count("levels", 50, 1..=LEVELS_PER_SIDE as u64)? as usize,
            symbols: super::symbols(params)?,
            takes_ns: params.span_ns("takes")?.unwrap_or(0),
        })
    }
}

/// The part of a top whose change is worth a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Shown {
    bid: Level,
    ask: Level,
    last_price: Price,
    imbalance_ppm: i32,
    state: BookState,
}

#[derive(Debug)]
struct Symbol {
    book: SymbolBook,
    ticker: BookTicker,
    last_price: Price,
    imbalance_ppm: i32,
    shown: Shown,
}

impl Symbol {
    fn new() -> Symbol {
        Symbol {
            book: SymbolBook::new(LEVELS_PER_SIDE),
            ticker: BookTicker::default(),
            last_price: Price::ZERO,
            imbalance_ppm: 0,
            shown: Shown::default(),
        }
    }

    /// What is to be shown now, and the id of the state that it shows.
    fn show(&self) -> (Shown, u64) {
        let (bid, ask, id) = if self.ticker.update_id >= self.book.last_id() {
            let bid = Level {
                price: self.ticker.bid,
                qty: self.ticker.bid_qty,
            };
            let ask = Level {
                price: self.ticker.ask,
                qty: self.ticker.ask_qty,
            };
            (bid, ask, self.ticker.update_id)
        } else {
            let bid = self.book.bids().best().unwrap_or_default();
            let ask = self.book.asks().best().unwrap_or_default();
            (bid, ask, self.book.last_id())
        };
        let shown = Shown {
            bid,
            ask,
            last_price: self.last_price,
            imbalance_ppm: self.imbalance_ppm,
            state: self.book.state(),
        };
        (shown, id)
    }
}

/// Keeps a book for each symbol; see this file's head.
#[derive(Debug)]
pub struct Book {
    symbols: Box<[Symbol]>,
    collector: Collector,
    levels: usize,
    takes_ns: u64,
    /// Levels for which a side had no room, of all symbols.
    dropped: u64,
}

impl Book {
    /// A stage with empty books. Allocates all that it will ever need: about 0.5 MB a symbol.
    #[must_use]
    pub fn new(spec: &BookSpec) -> Book {
        let count = spec
            .symbols
            .iter()
            .map(|(_, number)| usize::from(number) + 1);
        let symbols = (0..count.max().unwrap_or(0)).map(|_| Symbol::new());
        Book {
            symbols: symbols.collect(),
            collector: Collector::new(),
            levels: spec.levels,
            takes_ns: spec.takes_ns,
            dropped: 0,
        }
    }

    /// What a symbol's book is worth; `None` for a number beyond the table.
    #[must_use]
    pub fn state(&self, symbol: u16) -> Option<BookState> {
        self.symbol(symbol).map(|symbol| symbol.book.state())
    }

    /// The id of the last change in a symbol's book; 0 before its first snapshot.
    #[must_use]
    pub fn last_id(&self, symbol: u16) -> u64 {
        self.symbol(symbol)
            .map_or(0, |symbol| symbol.book.last_id())
    }

    /// A symbol's bids, the best first; none for a number beyond the table.
    pub fn bids(&self, symbol: u16) -> impl Iterator<Item = Level> {
        self.symbol(symbol)
            .into_iter()
            .flat_map(|symbol| symbol.book.bids().levels())
    }

    /// A symbol's asks, the best first; none for a number beyond the table.
    pub fn asks(&self, symbol: u16) -> impl Iterator<Item = Level> {
        self.symbol(symbol)
            .into_iter()
            .flat_map(|symbol| symbol.book.asks().levels())
    }

    /// A hash of all books: of each symbol its state, its last id, its levels, and what was last traded.
    #[must_use]
    pub fn hash(&self) -> u64 {
        let mut hash = 0;
        for symbol in &self.symbols {
            let word = |hash, word: i64| chain_hash(hash, &word.to_le_bytes());
            hash = word(hash, symbol.book.state() as i64);
            hash = word(hash, symbol.book.last_id() as i64);
            hash = word(hash, symbol.last_price.0);
            hash = word(hash, symbol.ticker.update_id as i64);
            for side in [symbol.book.bids(), symbol.book.asks()] {
                for level in side.levels() {
                    hash = word(word(hash, level.price.0), level.qty.0);
                }
                // Where one side ends and the next begins.
                hash = word(hash, i64::MIN);
            }
        }
        hash
    }

    fn symbol(&self, symbol: u16) -> Option<&Symbol> {
        self.symbols.get(usize::from(symbol))
    }

    fn ticker(&mut self, ticker: &BookTicker, cx: &mut Context<'_>) -> Outcome<Why> {
        let Some(symbol) = self.symbols.get_mut(usize::from(ticker.symbol)) else {
            return Outcome::rejected(Why::UnknownSymbol);
        };
        let left = Left {
            id: ticker.update_id,
            symbol: ticker.symbol,
            kind: BookTicker::SCHEMA,
            ..Left::default()
        };
        let mut why = Why::Unchanged;
        if ticker.update_id < symbol.ticker.update_id {
            why = Why::Old;
        } else {
            symbol.ticker = *ticker;
        }
        publish(symbol, &left, ticker.event_ms, why, cx)
    }

    fn trade(&mut self, trade: &Trade, cx: &mut Context<'_>) -> Outcome<Why> {
        let Some(symbol) = self.symbols.get_mut(usize::from(trade.symbol)) else {
            return Outcome::rejected(Why::UnknownSymbol);
        };
        let left = Left {
            id: trade.trade_id,
            symbol: trade.symbol,
            kind: Trade::SCHEMA,
            ..Left::default()
        };
        symbol.last_price = trade.price;
        publish(symbol, &left, trade.event_ms, Why::Unchanged, cx)
    }

    fn fragment(&mut self, step: Step, cx: &mut Context<'_>) -> Outcome<Why> {
        match step {
            Step::More | Step::Broken { last: false } => Outcome::held(),
            Step::Broken { last: true } => Outcome::rejected(Why::Broken),
            Step::Whole => self.message(cx),
        }
    }

    /// Applies the message that is whole now.
    fn message(&mut self, cx: &mut Context<'_>) -> Outcome<Why> {
        let Some((head, bids, asks)) = self.collector.take() else {
            return Outcome::rejected(Why::Broken);
        };
        let (number, event_ms) = match &head {
            Head::Depth(head) => (head.symbol, head.event_ms),
            Head::Snapshot(head) => (head.symbol, head.event_ms),
        };
        let Some(symbol) = self.symbols.get_mut(usize::from(number)) else {
            return Outcome::rejected(Why::UnknownSymbol);
        };
        let dropped_before = dropped(symbol);
        let (applied, left) = match &head {
            Head::Depth(head) => (
                symbol.book.change(&Change {
                    ids: Ids::of(head),
                    bids,
                    asks,
                }),
                Left {
                    id: head.last_id,
                    prev: head.prev_id,
                    symbol: number,
                    kind: DepthHead::SCHEMA,
                    has_prev: head.has_prev,
                },
            ),
            Head::Snapshot(head) => (
                symbol.book.snapshot(head, bids, asks),
                Left {
                    id: head.last_id,
                    symbol: number,
                    kind: SnapshotHead::SCHEMA,
                    ..Left::default()
                },
            ),
        };
        self.dropped += u64::from(dropped(symbol) - dropped_before);
        let why = match applied {
            Applied::Yes => {
                symbol.imbalance_ppm = imbalance_ppm(
                    symbol.book.bids().qty_of_first(self.levels),
                    symbol.book.asks().qty_of_first(self.levels),
                );
                Why::Unchanged
            }
            Applied::Old => Why::Old,
            Applied::Waits | Applied::Gap => Why::AwaitsSnapshot,
            Applied::TooOld => Why::SnapshotTooOld,
        };
        publish(symbol, &left, event_ms, why, cx)
    }
}

/// (bids − asks) / (bids + asks) in millionths, rounded towards zero; 0 when there is nothing.
fn imbalance_ppm(bids: i128, asks: i128) -> i32 {
    // At most 8,192 levels of 63 bits each, times 20 bits: far from the range of 128 bits.
    ((bids - asks) * PPM).checked_div(bids + asks).unwrap_or(0) as i32
}

/// Levels of a symbol for which a side had no room.
fn dropped(symbol: &Symbol) -> u32 {
    let (bids, asks) = (symbol.book.bids(), symbol.book.asks());
    bids.dropped().saturating_add(asks.dropped())
}

/// Emits the log frame, and the top if it has changed.
fn publish(
    symbol: &mut Symbol,
    left: &Left,
    event_ms: u64,
    why: Why,
    cx: &mut Context<'_>,
) -> Outcome<Why> {
    cx.emit(LOG, left);
    let (shown, update_id) = symbol.show();
    if shown == symbol.shown {
        return Outcome::absorbed(why);
    }
    symbol.shown = shown;
    let top = Top {
        update_id,
        event_ms,
        bid: shown.bid.price,
        bid_qty: shown.bid.qty,
        ask: shown.ask.price,
        ask_qty: shown.ask.qty,
        last_price: shown.last_price,
        imbalance_ppm: shown.imbalance_ppm,
        dropped_levels: dropped(symbol),
        symbol: left.symbol,
        state: shown.state,
    };
    cx.emit(TOP, &top);
    Outcome::done()
}

impl Stage for Book {
    type In = Market;
    type Why = Why;
    const PORTS: &'static [Port] = &[Port::new::<Top>("top"), Port::optional::<Left>("log")];
    const COUNTS: &'static [Count<Book>] = &[("dropped_levels", |book| book.dropped)];

    fn memory_bytes(&self) -> usize {
        let books = self.symbols.iter().map(|symbol| symbol.book.memory_bytes());
        size_of_val(&*self.symbols) + books.sum::<usize>() + self.collector.memory_bytes()
    }

    fn state_hash(&self) -> Option<u64> {
        Some(self.hash())
    }

    fn on_start(&mut self) {
        for symbol in &mut self.symbols {
            symbol.book.touch();
        }
    }

    fn on_frame(&mut self, frame: MarketView<'_>, cx: &mut Context<'_>) -> Outcome<Why> {
        if self.takes_ns > 0 && cx.flags().is_last() {
            work_for(self.takes_ns, cx);
        }
        let step = match frame {
            MarketView::Ticker(view) => return self.ticker(&view.to_owned(), cx),
            MarketView::Trade(view) => return self.trade(&view.to_owned(), cx),
            MarketView::Depth(view) => self.collector.begin(Head::Depth(view.to_owned())),
            MarketView::Snapshot(view) => self.collector.begin(Head::Snapshot(view.to_owned())),
            MarketView::Levels(view) => self.collector.add(&view.to_owned()),
        };
        self.fragment(step, cx)
    }
}
