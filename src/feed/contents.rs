//! The messages of a made-up market, by a seed, before anybody writes them down.
//!
//! What a reader may rely on, as in the real feed: the first message is a snapshot; trade ids are
//! contiguous; each depthUpdate's `pu` is the `u` of the one before it, the first one's is the
//! snapshot's id; bookTicker's `u` rises; the book that snapshot and updates build is never crossed.
//! Shares of kinds and counts of levels follow the captures: 70 % bookTicker, 23 % trade, 7 %
//! depthUpdate with about 17 levels a side and a long tail. Prices walk at random in ticks of 0.10,
//! quantities come in steps of 0.001.
//!
//! Invariant: the same seed gives the same messages; nothing allocates after `new`.

use crate::base::Prng;
use crate::feed::binance::Message;
use crate::feed::decimal::{Price, Qty, UNITS_PER_ONE};
use crate::feed::market::{BookTicker, DepthHead, Level, SnapshotHead, Trade};

/// Levels a side in the snapshot.
const SNAPSHOT_LEVELS: u64 = 100;

/// Most levels a side of an update, but for those that only leave the book.
const UPDATE_LEVELS_MAX: u64 = 160;

/// Farthest that the best bid walks between two updates, in ticks: bounds how many prices an update
/// must take out of the book.
const DRIFT_TICKS_MAX: u64 = 16;

/// Widest spread, in ticks.
const SPREAD_TICKS_MAX: u64 = 3;

/// Most levels a side of any message.
pub(super) const SIDE_LEVELS_MAX: usize =
    (UPDATE_LEVELS_MAX + DRIFT_TICKS_MAX + SPREAD_TICKS_MAX) as usize;

const _: () = assert!(SNAPSHOT_LEVELS <= UPDATE_LEVELS_MAX);

/// Where the walk of the best bid starts, in ticks: 61,800.00.
const START_TICKS: u64 = 618_000;

/// The walk's lowest and highest best bid, in ticks: all levels have positive prices of bounded length.
const WALK_TICKS: core::ops::Range<u64> = 10_000..9_000_000;

/// The feed's start in milliseconds since 1970, 2023-11-14T22:13:20Z: event times must not depend
/// on when a run takes place.
pub(super) const START_MS: u64 = 1_700_000_000_000;

/// The first ids; as long as the exchange's.
const FIRST_UPDATE_ID: u64 = 5_000_000_000_000;
const FIRST_TRADE_ID: u64 = 5_000_000_000;

/// Units of a price in a tick of 0.10.
pub(super) const TICK_UNITS: i64 = UNITS_PER_ONE / 10;

/// Units of a quantity in a step of 0.001.
pub(super) const STEP_UNITS: i64 = UNITS_PER_ONE / 1_000;

/// Weights of the kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mix {
    /// Weight of bookTicker.
    pub book_ticker: u32,
    /// Weight of trade.
    pub trade: u32,
    /// Weight of depthUpdate.
    pub depth: u32,
}

/// The shares in the captures, in percent.
impl Default for Mix {
    fn default() -> Mix {
        Mix {
            book_ticker: 70,
            trade: 23,
            depth: 7,
        }
    }
}

/// The messages, one after the other.
///
/// ```
/// use hopline::feed::Message;
/// use hopline::feed::contents::Contents;
/// let mut market = Contents::new(7, 0);
/// assert!(matches!(market.draw(0), Message::Snapshot { .. }));
/// ```
#[derive(Clone, Debug)]
pub struct Contents {
    prng: Prng,
    mix: Mix,
    symbol: u16,
    started: bool,
    trade_id: u64,
    update_id: u64,
    /// `u` of the last depthUpdate, or the snapshot's id.
    depth_id: u64,
    bid_ticks: u64,
    spread_ticks: u64,
    /// Best bid and ask of the book that the messages so far have built.
    built_bid_ticks: u64,
    built_ask_ticks: u64,
    /// The levels of the message in hand.
    bids: Vec<Level>,
    asks: Vec<Level>,
}

impl Contents {
    /// A market at its start, in the captures' mix; `symbol` is its number in the line's table. Allocates.
    #[must_use]
    pub fn new(seed: u64, symbol: u16) -> Contents {
        let mut prng = Prng::new(seed);
        // The contents draw on behind the number that seeds the times.
        prng.next_u64();
        Contents {
            prng,
            mix: Mix::default(),
            symbol,
            started: false,
            trade_id: FIRST_TRADE_ID,
            update_id: FIRST_UPDATE_ID,
            depth_id: FIRST_UPDATE_ID,
            bid_ticks: START_TICKS,
            spread_ticks: 1,
            built_bid_ticks: START_TICKS,
            built_ask_ticks: START_TICKS + 1,
            bids: Vec::with_capacity(SIDE_LEVELS_MAX),
            asks: Vec::with_capacity(SIDE_LEVELS_MAX),
        }
    }

    /// The same in another mix; `None` if no kind of it has a weight.
    #[must_use]
    pub fn mixed(self, mix: Mix) -> Option<Contents> {
        let is_empty = (mix.book_ticker, mix.trade, mix.depth) == (0, 0, 0);
        (!is_empty).then_some(Contents { mix, ..self })
    }

    /// Memory beside its own size, in bytes.
    #[must_use]
    pub const fn heap_bytes() -> usize {
        2 * SIDE_LEVELS_MAX * size_of::<Level>()
    }

    /// The next message, which is due so long after the start, in nanoseconds.
    pub fn draw(&mut self, due_ns: u64) -> Message<'_> {
        let event_ms = START_MS + due_ns / 1_000_000;
        if !self.started {
            self.started = true;
            return self.snapshot(event_ms);
        }
        self.walk();
        let (tickers, trades) = (u64::from(self.mix.book_ticker), u64::from(self.mix.trade));
        let draw = self
            .prng
            .below(tickers + trades + u64::from(self.mix.depth));
        if draw < tickers {
            Message::BookTicker(self.book_ticker(event_ms))
        } else if draw < tickers + trades {
            Message::Trade(self.trade(event_ms))
        } else {
            self.depth(event_ms)
        }
    }

    /// Moves the best bid by a tick now and then, and the spread more rarely.
    fn walk(&mut self) {
        let draw = self.prng.below(64);
        let (lowest, highest) = (
            WALK_TICKS.start.max(self.built_bid_ticks - DRIFT_TICKS_MAX),
            WALK_TICKS.end.min(self.built_bid_ticks + DRIFT_TICKS_MAX),
        );
        match draw {
            0 | 1 => self.bid_ticks = (self.bid_ticks - 1).max(lowest),
            2 | 3 => self.bid_ticks = (self.bid_ticks + 1).min(highest),
            4 => self.spread_ticks = 1 + self.prng.below(SPREAD_TICKS_MAX),
            5..8 => self.spread_ticks = 1,
            _ => {}
        }
    }

    fn ask_ticks(&self) -> u64 {
        self.bid_ticks + self.spread_ticks
    }

    fn next_update_id(&mut self) -> u64 {
        self.update_id += 1 + self.prng.below(500);
        self.update_id
    }

    /// A quantity in steps of 0.001: mostly small, now and then large, never 0.
    fn draw_qty(&mut self) -> u64 {
        let widest = if self.prng.below(10) == 0 {
            50_000
        } else {
            2_000
        };
        1 + self.prng.below(widest)
    }

    /// A level's quantity: 0 for a fifth of them, as in the captures.
    fn draw_level_qty(&mut self) -> u64 {
        if self.prng.below(5) == 0 {
            0
        } else {
            self.draw_qty()
        }
    }

    fn book_ticker(&mut self, event_ms: u64) -> BookTicker {
        BookTicker {
            update_id: self.next_update_id(),
            bid: price(self.bid_ticks),
            bid_qty: qty(self.draw_qty()),
            ask: price(self.ask_ticks()),
            ask_qty: qty(self.draw_qty()),
            event_ms,
            transaction_ms: event_ms,
            symbol: self.symbol,
        }
    }

    fn trade(&mut self, event_ms: u64) -> Trade {
        let is_sell = self.prng.below(2) == 0;
        let ticks = if is_sell {
            self.bid_ticks
        } else {
            self.ask_ticks()
        };
        let trade_id = self.trade_id;
        self.trade_id += 1;
        Trade {
            trade_id,
            price: price(ticks),
            qty: qty(self.draw_qty()),
            event_ms,
            transaction_ms: event_ms,
            symbol: self.symbol,
            buyer_is_maker: u8::from(is_sell),
        }
    }

    fn depth(&mut self, event_ms: u64) -> Message<'_> {
        let (first_id, prev_id) = (self.depth_id + 1, self.depth_id);
        self.depth_id = self.next_update_id();
        let (bid, ask) = (self.bid_ticks, self.ask_ticks());
        self.bids.clear();
        for at in (1..self.draw_levels()).rev() {
            let ticks = bid - 3 * at - self.prng.below(3);
            let steps = self.draw_level_qty();
            self.bids.push(level(ticks, steps));
        }
        let steps = self.draw_qty();
        self.bids.push(level(bid, steps));
        // Prices that the walk has left behind leave the book, or it would stand crossed.
        let left = bid + 1..=self.built_bid_ticks;
        self.bids.extend(left.map(|ticks| level(ticks, 0)));
        self.asks.clear();
        let left = self.built_ask_ticks..ask;
        self.asks.extend(left.map(|ticks| level(ticks, 0)));
        let steps = self.draw_qty();
        self.asks.push(level(ask, steps));
        for at in 1..self.draw_levels() {
            let ticks = ask + 3 * at + self.prng.below(3);
            let steps = self.draw_level_qty();
            self.asks.push(level(ticks, steps));
        }
        (self.built_bid_ticks, self.built_ask_ticks) = (bid, ask);
        let head = DepthHead {
            first_id,
            last_id: self.depth_id,
            prev_id,
            event_ms,
            transaction_ms: event_ms,
            symbol: self.symbol,
            bids: self.bids.len() as u16,
            asks: self.asks.len() as u16,
            has_prev: 1,
        };
        Message::Depth {
            head,
            bids: &self.bids,
            asks: &self.asks,
        }
    }

    /// Levels of one side of an update: 4 to 29, and for one in twelve up to 160.
    fn draw_levels(&mut self) -> u64 {
        match self.prng.below(12) {
            0 => 40 + self.prng.below(UPDATE_LEVELS_MAX - 39),
            _ => 4 + self.prng.below(26),
        }
    }

    fn snapshot(&mut self, event_ms: u64) -> Message<'_> {
        self.bids.clear();
        self.asks.clear();
        for at in 0..SNAPSHOT_LEVELS {
            let steps = self.draw_qty();
            self.bids.push(level(self.bid_ticks - at, steps));
        }
        for at in 0..SNAPSHOT_LEVELS {
            let steps = self.draw_qty();
            self.asks.push(level(self.ask_ticks() + at, steps));
        }
        let head = SnapshotHead {
            last_id: self.depth_id,
            event_ms,
            transaction_ms: event_ms,
            symbol: self.symbol,
            bids: self.bids.len() as u16,
            asks: self.asks.len() as u16,
        };
        Message::Snapshot {
            head,
            bids: &self.bids,
            asks: &self.asks,
        }
    }
}

/// Of so many ticks; the walk keeps them far within the range.
const fn price(ticks: u64) -> Price {
    Price(ticks as i64 * TICK_UNITS)
}

/// Of so many steps.
const fn qty(steps: u64) -> Qty {
    Qty(steps as i64 * STEP_UNITS)
}

const fn level(ticks: u64, steps: u64) -> Level {
    Level {
        price: price(ticks),
        qty: qty(steps),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::synthetic::SYNTHETIC_BYTES_MAX;
    use crate::feed::{Arrivals, Decoder, Symbols, Synthetic, SyntheticSpec};

    #[test]
    fn they_are_what_the_json_of_the_same_seed_says() {
        let spec = SyntheticSpec {
            seed: 11,
            symbol: "BTCUSDT".into(),
            rate_per_s: 1e5,
            arrivals: Arrivals::Poisson,
            mix: Mix::default(),
        };
        let mut written = Synthetic::new(&spec).unwrap();
        let symbols = Symbols::new(&["ETHUSDT", "BTCUSDT"]).unwrap();
        let mut decoder = Decoder::new(symbols, Some("BTCUSDT")).unwrap();
        let mut drawn = Contents::new(11, 1);
        let mut buffer = [0; SYNTHETIC_BYTES_MAX];
        for at in 0..20_000 {
            let (due_ns, len) = written.next(&mut buffer).unwrap();
            let read = decoder.decode(&buffer[..len]).unwrap();
            let drawn = drawn.draw(due_ns);
            assert_eq!(read, drawn, "message {at}");
        }
    }

    #[test]
    fn a_mix_without_a_weight_is_none() {
        let none = Mix {
            book_ticker: 0,
            trade: 0,
            depth: 0,
        };
        assert!(Contents::new(1, 0).mixed(none).is_none());
    }
}
