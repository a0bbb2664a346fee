//! A seeded market feed in the exchange's format, for lines that have no capture at hand.
//!
//! What a reader may rely on, as in the real feed: the first message is a snapshot; trade ids are
//! contiguous; each depthUpdate's `pu` is the `u` of the one before it, the first one's is the
//! snapshot's id; bookTicker's `u` rises; the book that snapshot and updates build is never crossed.
//! Shares of kinds and counts of levels follow the captures: 70 % bookTicker, 23 % trade, 7 %
//! depthUpdate with about 17 levels a side and a long tail. Prices walk at random in ticks of 0.10,
//! quantities come in steps of 0.001.
//!
//! Invariant: the same spec gives the same bytes and the same times; nothing allocates after `new`.

use crate::base::Prng;
use crate::base::limits::MESSAGE_BYTES_MAX;
use crate::feed::arrivals::Arrivals;
use crate::feed::schedule::{Schedule, ScheduleError};
use crate::feed::symbols::{Symbols, SymbolsError};

/// Bytes of buffer that hold any message of the feed.
pub const SYNTHETIC_BYTES_MAX: usize = 12 * 1024;

/// Levels a side in the snapshot.
const SNAPSHOT_LEVELS: u64 = 100;

/// Most levels a side of an update, but for those that only leave the book.
const UPDATE_LEVELS_MAX: u64 = 160;

/// Farthest that the best bid walks between two updates, in ticks: bounds how many prices an update
/// must take out of the book.
const DRIFT_TICKS_MAX: u64 = 16;

/// Widest spread, in ticks.
const SPREAD_TICKS_MAX: u64 = 3;

/// Longest level as text, with its comma: `["1234567.10","1.000"],`.
const LEVEL_BYTES_MAX: u64 = 24;

/// Longest message without its levels.
const HEAD_BYTES_MAX: u64 = 512;

const _: () = assert!(
    HEAD_BYTES_MAX + 2 * (UPDATE_LEVELS_MAX + DRIFT_TICKS_MAX + SPREAD_TICKS_MAX) * LEVEL_BYTES_MAX
        <= SYNTHETIC_BYTES_MAX as u64
);
const _: () = assert!(SNAPSHOT_LEVELS <= UPDATE_LEVELS_MAX);
const _: () = assert!(SYNTHETIC_BYTES_MAX <= MESSAGE_BYTES_MAX);

/// Where the walk of the best bid starts, in ticks: 61,800.00.
const START_TICKS: u64 = 618_000;

/// The walk's lowest and highest best bid, in ticks: all levels have positive prices of bounded length.
const WALK_TICKS: core::ops::Range<u64> = 10_000..9_000_000;

/// The feed's start in milliseconds since 1970, 2023-11-14T22:13:20Z: event times must not depend
/// on when a run takes place.
const START_MS: u64 = 1_700_000_000_000;

/// The first ids; as long as the exchange's.
const FIRST_UPDATE_ID: u64 = 5_000_000_000_000;
const FIRST_TRADE_ID: u64 = 5_000_000_000;

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

/// What to synthesise.
#[derive(Clone, Debug, PartialEq)]
pub struct SyntheticSpec {
    /// Seed of times and contents.
    pub seed: u64,
    /// Name of the symbol, as the exchange writes it: `BTCUSDT`.
    pub symbol: String,
    /// Mean rate, in messages a second.
    pub rate_per_s: f64,
    /// How arrivals are spread.
    pub arrivals: Arrivals,
    /// Weights of the kinds.
    pub mix: Mix,
}

/// Why a spec cannot be synthesised.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SyntheticError {
    /// No such symbol.
    #[error(transparent)]
    Symbol(#[from] SymbolsError),
    /// No such schedule.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// No kind has a weight.
    #[error("a mix needs a kind with a weight above 0")]
    EmptyMix,
}

/// The feed.
///
/// ```
/// use hopline::feed::synthetic::{Mix, SYNTHETIC_BYTES_MAX};
/// use hopline::feed::{Arrivals, Synthetic, SyntheticSpec};
/// let spec = SyntheticSpec {
///     seed: 7,
///     symbol: "BTCUSDT".into(),
///     rate_per_s: 50_000.0,
///     arrivals: Arrivals::Poisson,
///     mix: Mix::default(),
/// };
/// let mut feed = Synthetic::new(&spec)?;
/// let mut buffer = [0; SYNTHETIC_BYTES_MAX];
/// let (intended_ns, len) = feed.next(&mut buffer).unwrap();
/// assert_eq!(intended_ns, 0);
/// assert!(buffer[..len].starts_with(b"{\"lastUpdateId\":"));
/// # Ok::<(), hopline::feed::synthetic::SyntheticError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Synthetic {
    schedule: Schedule,
    prng: Prng,
    mix: Mix,
    symbol: Box<str>,
    /// The symbol as stream names write it.
    stream: Box<str>,
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
}

impl Synthetic {
    /// A feed at its start.
    ///
    /// # Errors
    /// A symbol, a rate, arrivals or a mix that cannot be.
    pub fn new(spec: &SyntheticSpec) -> Result<Synthetic, SyntheticError> {
        Symbols::new(&[&spec.symbol])?;
        let mut prng = Prng::new(spec.seed);
        // The contents draw on behind the number that seeds the times.
        prng.next_u64();
        let times_seed = Synthetic::times_seed(spec.seed);
        let schedule = Schedule::new(spec.rate_per_s, spec.arrivals, times_seed)?;
        if (spec.mix.book_ticker, spec.mix.trade, spec.mix.depth) == (0, 0, 0) {
            return Err(SyntheticError::EmptyMix);
        }
        Ok(Synthetic {
            schedule,
            prng,
            mix: spec.mix,
            symbol: spec.symbol.as_str().into(),
            stream: spec.symbol.to_ascii_lowercase().into(),
            started: false,
            trade_id: FIRST_TRADE_ID,
            update_id: FIRST_UPDATE_ID,
            depth_id: FIRST_UPDATE_ID,
            bid_ticks: START_TICKS,
            spread_ticks: 1,
            built_bid_ticks: START_TICKS,
            built_ask_ticks: START_TICKS + 1,
        })
    }

    /// The seed of its [`Schedule`] for a spec's seed. Times draw from a generator of their own: other
    /// arrivals leave the contents as they are.
    #[must_use]
    pub fn times_seed(seed: u64) -> u64 {
        Prng::new(seed).next_u64()
    }

    /// Sends at these times from now on, instead of those of the spec; contents stay as they are.
    pub fn follow(&mut self, schedule: Schedule) {
        self.schedule = schedule;
    }

    /// Writes the next message into `buffer`: its intended time in nanoseconds from the start, and
    /// its length in bytes.
    ///
    /// `None`, and no message is used up, when `buffer` has fewer than [`SYNTHETIC_BYTES_MAX`] bytes.
    pub fn next(&mut self, buffer: &mut [u8]) -> Option<(u64, usize)> {
        if buffer.len() < SYNTHETIC_BYTES_MAX {
            return None;
        }
        let intended_ns = self.schedule.next_ns();
        let event_ms = START_MS + intended_ns / 1_000_000;
        let mut out = Writer {
            out: buffer,
            len: 0,
        };
        if !self.started {
            self.started = true;
            self.snapshot(event_ms, &mut out);
            return Some((intended_ns, out.len));
        }
        self.walk();
        let (tickers, trades) = (u64::from(self.mix.book_ticker), u64::from(self.mix.trade));
        let draw = self
            .prng
            .below(tickers + trades + u64::from(self.mix.depth));
        if draw < tickers {
            self.book_ticker(event_ms, &mut out);
        } else if draw < tickers + trades {
            self.trade(event_ms, &mut out);
        } else {
            self.depth(event_ms, &mut out);
        }
        Some((intended_ns, out.len))
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

    fn book_ticker(&mut self, event_ms: u64, out: &mut Writer<'_>) {
        let update_id = self.next_update_id();
        let (bid, ask) = (self.bid_ticks, self.ask_ticks());
        out.text(r#"{"stream":""#)
            .text(&self.stream)
            .text(r#"@bookTicker","data":{"e":"bookTicker","u":"#);
        out.number(update_id)
            .text(r#","s":""#)
            .text(&self.symbol)
            .text(r#"","b":""#)
            .price(bid);
        out.text(r#"","B":""#)
            .qty(self.draw_qty())
            .text(r#"","a":""#)
            .price(ask);
        out.text(r#"","A":""#)
            .qty(self.draw_qty())
            .text(r#"","T":"#)
            .number(event_ms);
        out.text(r#","E":"#).number(event_ms).text("}}");
    }

    fn trade(&mut self, event_ms: u64, out: &mut Writer<'_>) {
        let is_sell = self.prng.below(2) == 0;
        let ticks = if is_sell {
            self.bid_ticks
        } else {
            self.ask_ticks()
        };
        out.text(r#"{"stream":""#)
            .text(&self.stream)
            .text(r#"@trade","data":{"e":"trade","E":"#);
        out.number(event_ms)
            .text(r#","T":"#)
            .number(event_ms)
            .text(r#","s":""#)
            .text(&self.symbol);
        out.text(r#"","t":"#)
            .number(self.trade_id)
            .text(r#","p":""#)
            .price(ticks);
        out.text(r#"","q":""#)
            .qty(self.draw_qty())
            .text(r#"","X":"MARKET","m":"#);
        out.text(if is_sell { "true}}" } else { "false}}" });
        self.trade_id += 1;
    }

    fn depth(&mut self, event_ms: u64, out: &mut Writer<'_>) {
        let (first_id, prev_id) = (self.depth_id + 1, self.depth_id);
        self.depth_id = self.next_update_id();
        out.text(r#"{"stream":""#)
            .text(&self.stream)
            .text(r#"@depth@0ms","data":{"e":"depthUpdate","E":"#);
        out.number(event_ms)
            .text(r#","T":"#)
            .number(event_ms)
            .text(r#","s":""#)
            .text(&self.symbol);
        out.text(r#"","U":"#)
            .number(first_id)
            .text(r#","u":"#)
            .number(self.depth_id);
        out.text(r#","pu":"#).number(prev_id).text(r#","b":["#);
        let (bid, ask) = (self.bid_ticks, self.ask_ticks());
        for at in (1..self.draw_levels()).rev() {
            let ticks = bid - 3 * at - self.prng.below(3);
            out.level(ticks, self.draw_level_qty());
        }
        out.level(bid, self.draw_qty());
        // Prices that the walk has left behind leave the book, or it would stand crossed.
        for ticks in bid + 1..=self.built_bid_ticks {
            out.level(ticks, 0);
        }
        out.close_list().text(r#","a":["#);
        for ticks in self.built_ask_ticks..ask {
            out.level(ticks, 0);
        }
        out.level(ask, self.draw_qty());
        for at in 1..self.draw_levels() {
            let ticks = ask + 3 * at + self.prng.below(3);
            out.level(ticks, self.draw_level_qty());
        }
        out.close_list().text("}}");
        (self.built_bid_ticks, self.built_ask_ticks) = (bid, ask);
    }

    /// Levels of one side of an update: 4 to 29, and for one in twelve up to 160.
    fn draw_levels(&mut self) -> u64 {
        match self.prng.below(12) {
            0 => 40 + self.prng.below(UPDATE_LEVELS_MAX - 39),
            _ => 4 + self.prng.below(26),
        }
    }

    fn snapshot(&mut self, event_ms: u64, out: &mut Writer<'_>) {
        out.text(r#"{"lastUpdateId":"#)
            .number(self.depth_id)
            .text(r#","E":"#)
            .number(event_ms);
        out.text(r#","T":"#).number(event_ms).text(r#","bids":["#);
        for at in 0..SNAPSHOT_LEVELS {
            out.level(self.bid_ticks - at, self.draw_qty());
        }
        out.close_list().text(r#","asks":["#);
        for at in 0..SNAPSHOT_LEVELS {
            out.level(self.ask_ticks() + at, self.draw_qty());
        }
        out.close_list().text("}");
    }
}

/// Text into a buffer that is large enough, by the bounds at the head of this file.
struct Writer<'b> {
    out: &'b mut [u8],
    len: usize,
}

impl Writer<'_> {
    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        let place = self.out.get_mut(self.len..self.len + bytes.len());
        debug_assert!(
            place.is_some(),
            "a message is longer than SYNTHETIC_BYTES_MAX"
        );
        if let Some(place) = place {
            place.copy_from_slice(bytes);
            self.len += bytes.len();
        }
        self
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    fn number(&mut self, number: u64) -> &mut Self {
        self.padded(number, 1)
    }

    /// A number with at least `width` digits.
    fn padded(&mut self, mut number: u64, width: usize) -> &mut Self {
        let mut digits = [b'0'; 20];
        let mut at = digits.len();
        while number > 0 {
            at -= 1;
            digits[at] = b'0' + (number % 10) as u8;
            number /= 10;
        }
        let at = at.min(digits.len() - width);
        self.bytes(&digits[at..])
    }

    /// A price in ticks of 0.10, written with two decimals.
    fn price(&mut self, ticks: u64) -> &mut Self {
        self.number(ticks / 10)
            .text(".")
            .number(ticks % 10)
            .text("0")
    }

    /// A quantity in steps of 0.001.
    fn qty(&mut self, steps: u64) -> &mut Self {
        self.number(steps / 1000).text(".").padded(steps % 1000, 3)
    }

    fn level(&mut self, ticks: u64, steps: u64) {
        self.text("[\"")
            .price(ticks)
            .text("\",\"")
            .qty(steps)
            .text("\"],");
    }

    /// Ends a list that has an element: a bracket in place of the last comma.
    fn close_list(&mut self) -> &mut Self {
        self.len -= 1;
        self.text("]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::binance::{Decoder, Message};
    use crate::feed::market::Level;
    use std::collections::BTreeMap;

    fn spec(seed: u64, arrivals: Arrivals) -> SyntheticSpec {
        SyntheticSpec {
            seed,
            symbol: "ETHUSDT".into(),
            rate_per_s: 50_000.0,
            arrivals,
            mix: Mix::default(),
        }
    }

    const BURSTY: Arrivals = Arrivals::Bursty {
        burst: 30,
        intensity: 8,
    };

    /// FNV-1a over times and messages.
    fn hash(spec: &SyntheticSpec) -> u64 {
        let mut feed = Synthetic::new(spec).unwrap();
        let mut buffer = [0; SYNTHETIC_BYTES_MAX];
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for _ in 0..5_000 {
            let (ns, len) = feed.next(&mut buffer).unwrap();
            for byte in ns.to_le_bytes().iter().chain(&buffer[..len]) {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
        hash
    }

    #[test]
    fn a_seed_always_gives_the_same_feed() {
        // Golden: a change here changes every recorded synthetic run.
        assert_eq!(hash(&spec(1, Arrivals::Constant)), 0xc627_c01c_a6f0_33a8);
        assert_eq!(hash(&spec(1, Arrivals::Poisson)), 0xf9a6_10ac_9c55_c9ae);
        assert_eq!(hash(&spec(1, BURSTY)), 0x4809_8dea_a02b_622a);
        assert_ne!(hash(&spec(1, BURSTY)), hash(&spec(2, BURSTY)));
    }

    #[test]
    fn the_feed_keeps_the_promises_of_the_real_one() {
        let mut feed = Synthetic::new(&spec(9, BURSTY)).unwrap();
        let symbols = Symbols::new(&["ETHUSDT"]).unwrap();
        let mut decoder = Decoder::new(symbols, Some("ETHUSDT")).unwrap();
        let mut buffer = [0; SYNTHETIC_BYTES_MAX];
        let mut sides = [BTreeMap::new(), BTreeMap::new()];
        let mut apply = |side: usize, levels: &[Level]| {
            for level in levels {
                if level.qty.0 == 0 {
                    sides[side].remove(&level.price);
                } else {
                    sides[side].insert(level.price, level.qty);
                }
            }
            if side == 1 {
                let (bid, ask) = (sides[0].last_key_value(), sides[1].first_key_value());
                assert!(bid.unwrap().0 < ask.unwrap().0, "crossed");
            }
        };
        let (mut ticker, mut trade, mut prev) = (0, None, None);
        let (mut counts, mut levels, mut last_ns, mut longest) = ([0.0; 4], 0, 0, 0);
        const MESSAGES: u32 = 100_000;
        for at in 0..MESSAGES {
            let (ns, len) = feed.next(&mut buffer).unwrap();
            assert!(ns >= last_ns);
            last_ns = ns;
            longest = longest.max(len);
            let message = decoder.decode(&buffer[..len]).unwrap();
            assert_eq!(at == 0, matches!(message, Message::Snapshot { .. }));
            match message {
                Message::BookTicker(m) => {
                    counts[0] += 1.0;
                    assert!(
                        m.update_id > ticker && m.bid < m.ask && m.bid_qty.0 > 0 && m.ask_qty.0 > 0
                    );
                    assert_eq!(m.event_ms, START_MS + ns / 1_000_000);
                    ticker = m.update_id;
                }
                Message::Trade(m) => {
                    counts[1] += 1.0;
                    assert!(
                        trade
                            .replace(m.trade_id)
                            .is_none_or(|last| last + 1 == m.trade_id)
                    );
                }
                Message::Depth { head, bids, asks } => {
                    counts[2] += 1.0;
                    levels += bids.len() + asks.len();
                    assert_eq!(head.prev(), prev.replace(head.last_id));
                    assert!(bids.is_sorted_by(|a, b| a.price < b.price));
                    assert!(asks.is_sorted_by(|a, b| a.price < b.price));
                    apply(0, bids);
                    apply(1, asks);
                }
                Message::Snapshot { head, bids, asks } => {
                    counts[3] += 1.0;
                    prev = Some(head.last_id);
                    assert_eq!((bids.len(), asks.len()), (100, 100));
                    apply(0, bids);
                    apply(1, asks);
                }
            }
        }
        for (count, share) in counts.into_iter().zip([0.70, 0.23, 0.07, 0.0]) {
            assert!(
                (count / f64::from(MESSAGES) - share).abs() < 0.005,
                "{counts:?}"
            );
        }
        let levels_a_side = levels as f64 / counts[2] / 2.0;
        assert!((15.0..40.0).contains(&levels_a_side), "{levels_a_side}");
        assert!((4_000..SYNTHETIC_BYTES_MAX).contains(&longest), "{longest}");
        let rate = f64::from(MESSAGES) * 1e9 / last_ns as f64;
        assert!((rate / 50_000.0 - 1.0).abs() < 0.05, "{rate}");
    }

    #[test]
    fn what_cannot_be_synthesised_is_refused() {
        let good = spec(1, Arrivals::Constant);
        let bad = |change: fn(&mut SyntheticSpec)| {
            let mut spec = good.clone();
            change(&mut spec);
            Synthetic::new(&spec).unwrap_err()
        };
        assert!(matches!(
            bad(|s| s.symbol = "eth\"".into()),
            SyntheticError::Symbol(_)
        ));
        assert!(matches!(
            bad(|s| s.rate_per_s = 0.0),
            SyntheticError::Schedule(_)
        ));
        let empty = Mix {
            book_ticker: 0,
            trade: 0,
            depth: 0,
        };
        assert_eq!(
            bad(|s| s.mix = Mix {
                depth: 0,
                book_ticker: 0,
                trade: 0
            }),
            SyntheticError::EmptyMix
        );
        let only_depth = Mix { depth: 1, ..empty };
        let mut feed = Synthetic::new(&SyntheticSpec {
            mix: only_depth,
            ..good
        })
        .unwrap();
        assert_eq!(feed.next(&mut [0; SYNTHETIC_BYTES_MAX - 1]), None);
        let mut buffer = [0; SYNTHETIC_BYTES_MAX];
        assert!(feed.next(&mut buffer).is_some_and(|(ns, _)| ns == 0));
        let (_, len) = feed.next(&mut buffer).unwrap();
        assert!(buffer[..len].starts_with(br#"{"stream":"ethusdt@depth@0ms""#));
    }
}
