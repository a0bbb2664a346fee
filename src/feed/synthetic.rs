//! A seeded market feed in the exchange's format, for lines that have no capture at hand.
//!
//! What its messages say is [`Contents`]'s; here they get their times and are written as JSON.
//!
//! Invariant: the same spec gives the same bytes and the same times; nothing allocates after `new`.

use crate::base::Prng;
use crate::base::limits::MESSAGE_BYTES_MAX;
use crate::feed::arrivals::Arrivals;
use crate::feed::binance::Message;
use crate::feed::contents::{Contents, SIDE_LEVELS_MAX, STEP_UNITS, TICK_UNITS};
use crate::feed::decimal::{Price, Qty};
use crate::feed::market::{BookTicker, DepthHead, Level, SnapshotHead, Trade};
use crate::feed::schedule::{Schedule, ScheduleError};
use crate::feed::symbols::{Symbols, SymbolsError};

pub use crate::feed::contents::Mix;

/// Bytes of buffer that hold any message of the feed.
pub const SYNTHETIC_BYTES_MAX: usize = 12 * 1024;

/// Longest level as text, with its comma: `["1234567.10","1.000"],`.
const LEVEL_BYTES_MAX: usize = 24;

/// Longest message without its levels.
const HEAD_BYTES_MAX: usize = 512;

const _: () =
    assert!(HEAD_BYTES_MAX + 2 * SIDE_LEVELS_MAX * LEVEL_BYTES_MAX <= SYNTHETIC_BYTES_MAX);
const _: () = assert!(SYNTHETIC_BYTES_MAX <= MESSAGE_BYTES_MAX);

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
    contents: Contents,
    symbol: Box<str>,
    /// The symbol as stream names write it.
    stream: Box<str>,
}

impl Synthetic {
    /// A feed at its start.
    ///
    /// # Errors
    /// A symbol, a rate, arrivals or a mix that cannot be.
    pub fn new(spec: &SyntheticSpec) -> Result<Synthetic, SyntheticError> {
        Symbols::new(&[&spec.symbol])?;
        let times_seed = Synthetic::times_seed(spec.seed);
        let schedule = Schedule::new(spec.rate_per_s, spec.arrivals, times_seed)?;
        let contents = Contents::new(spec.seed, 0);
        let contents = contents.mixed(spec.mix).ok_or(SyntheticError::EmptyMix)?;
        Ok(Synthetic {
            schedule,
            contents,
            symbol: spec.symbol.as_str().into(),
            stream: spec.symbol.to_ascii_lowercase().into(),
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
        let mut out = Writer {
            out: buffer,
            len: 0,
            symbol: &self.symbol,
            stream: &self.stream,
        };
        match self.contents.draw(intended_ns) {
            Message::BookTicker(ticker) => out.book_ticker(&ticker),
            Message::Trade(trade) => out.trade(&trade),
            Message::Depth { head, bids, asks } => out.depth(&head, bids, asks),
            Message::Snapshot { head, bids, asks } => out.snapshot(&head, bids, asks),
        }
        Some((intended_ns, out.len))
    }
}

/// Text into a buffer that is large enough, by the bounds at the head of this file.
struct Writer<'b> {
    out: &'b mut [u8],
    len: usize,
    symbol: &'b str,
    stream: &'b str,
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

    /// A price, of whole ticks of 0.10, written with two decimals.
    fn price(&mut self, price: Price) -> &mut Self {
        let ticks = (price.0 / TICK_UNITS) as u64;
        self.number(ticks / 10)
            .text(".")
            .number(ticks % 10)
            .text("0")
    }

    /// A quantity, of whole steps of 0.001.
    fn qty(&mut self, qty: Qty) -> &mut Self {
        let steps = (qty.0 / STEP_UNITS) as u64;
        self.number(steps / 1000).text(".").padded(steps % 1000, 3)
    }

    /// A side's levels, of which there is one at least, and the bracket behind them.
    fn levels(&mut self, levels: &[Level]) -> &mut Self {
        for level in levels {
            self.text("[\"")
                .price(level.price)
                .text("\",\"")
                .qty(level.qty)
                .text("\"],");
        }
        // A bracket in place of the last comma.
        self.len -= 1;
        self.text("]")
    }

    fn book_ticker(&mut self, ticker: &BookTicker) {
        let (symbol, stream) = (self.symbol, self.stream);
        self.text(r#"{"stream":""#)
            .text(stream)
            .text(r#"@bookTicker","data":{"e":"bookTicker","u":"#)
            .number(ticker.update_id)
            .text(r#","s":""#)
            .text(symbol)
            .text(r#"","b":""#)
            .price(ticker.bid)
            .text(r#"","B":""#)
            .qty(ticker.bid_qty)
            .text(r#"","a":""#)
            .price(ticker.ask)
            .text(r#"","A":""#)
            .qty(ticker.ask_qty)
            .text(r#"","T":"#)
            .number(ticker.transaction_ms)
            .text(r#","E":"#)
            .number(ticker.event_ms)
            .text("}}");
    }

    fn trade(&mut self, trade: &Trade) {
        let (symbol, stream) = (self.symbol, self.stream);
        self.text(r#"{"stream":""#)
            .text(stream)
            .text(r#"@trade","data":{"e":"trade","E":"#)
            .number(trade.event_ms)
            .text(r#","T":"#)
            .number(trade.transaction_ms)
            .text(r#","s":""#)
            .text(symbol)
            .text(r#"","t":"#)
            .number(trade.trade_id)
            .text(r#","p":""#)
            .price(trade.price)
            .text(r#"","q":""#)
            .qty(trade.qty)
            .text(r#"","X":"MARKET","m":"#)
            .text(match trade.buyer_is_maker {
                0 => "false}}",
                _ => "true}}",
            });
    }

    fn depth(&mut self, head: &DepthHead, bids: &[Level], asks: &[Level]) {
        let (symbol, stream) = (self.symbol, self.stream);
        self.text(r#"{"stream":""#)
            .text(stream)
            .text(r#"@depth@0ms","data":{"e":"depthUpdate","E":"#)
            .number(head.event_ms)
            .text(r#","T":"#)
            .number(head.transaction_ms)
            .text(r#","s":""#)
            .text(symbol)
            .text(r#"","U":"#)
            .number(head.first_id)
            .text(r#","u":"#)
            .number(head.last_id)
            .text(r#","pu":"#)
            .number(head.prev_id)
            .text(r#","b":["#)
            .levels(bids)
            .text(r#","a":["#)
            .levels(asks)
            .text("}}");
    }

    fn snapshot(&mut self, head: &SnapshotHead, bids: &[Level], asks: &[Level]) {
        self.text(r#"{"lastUpdateId":"#)
            .number(head.last_id)
            .text(r#","E":"#)
            .number(head.event_ms)
            .text(r#","T":"#)
            .number(head.transaction_ms)
            .text(r#","bids":["#)
            .levels(bids)
            .text(r#","asks":["#)
            .levels(asks)
            .text("}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::binance::Decoder;
    use crate::feed::contents::START_MS;
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
