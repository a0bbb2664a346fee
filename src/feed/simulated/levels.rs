//! A seeded exchange of price levels that speaks DEEP 1.0 or TOPS 1.6.
//!
//! Of a hundred messages of DEEP 84 change a level and 12 report a trade; of TOPS 80 are quotes and 16
//! trades. The other types of the specification share what is left.
//!
//! Invariant: a level that is taken out was there.

use crate::base::Prng;
use crate::feed::iex::{
    AuctionInformation, MESSAGE_BYTES_MAX, OfficialPrice, PriceLevel, QuoteUpdate,
    SecurityDirectory, SystemEvent, TradeReport, TradingStatus,
};
use crate::feed::simulated::{CENT, SYMBOLS_MAX, start_price, symbol, ticks, wander};
use crate::feed::views::SignedPrice4;
use crate::feed::{deep, tops};
use zerocopy::byteorder::little_endian::{I64, U32, U64};
use zerocopy::{Immutable, IntoBytes};

/// Which of the feeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feed {
    /// Price levels.
    Deep,
    /// Best quotes.
    Tops,
}

impl Feed {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Feed::Deep => "deep",
            Feed::Tops => "tops",
        }
    }

    /// The feed's id in the headers of its transport.
    #[must_use]
    pub const fn protocol(self) -> u16 {
        match self {
            Feed::Deep => deep::PROTOCOL,
            Feed::Tops => tops::PROTOCOL,
        }
    }
}

/// Prices of a side that are kept: those that `ticks` draws.
const KEPT: usize = 25;

#[derive(Clone, Debug)]
struct Book {
    price: u32,
    /// Shares at so many ticks from the best price of each side as it was at the start.
    shares: [[u32; KEPT]; 2],
}

/// The exchange.
///
/// ```
/// use hopline::feed::deep::{self, Message};
/// use hopline::feed::iex::MESSAGE_BYTES_MAX;
/// use hopline::feed::simulated::{Feed, Levels};
/// let mut exchange = Levels::new(Feed::Deep, 7, 20);
/// let mut buffer = [0; MESSAGE_BYTES_MAX];
/// let len = exchange.next(1_700_000_000_000_000_000, &mut buffer);
/// assert!(matches!(deep::decode(&buffer[..len]), Ok(Message::SystemEvent(_))));
/// ```
#[derive(Clone, Debug)]
pub struct Levels {
    feed: Feed,
    prng: Prng,
    books: Vec<Book>,
    given: u64,
    traded: u64,
}

impl Levels {
    /// An exchange at its start, of so many symbols (1 to [`SYMBOLS_MAX`]; others are taken for the
    /// nearest).
    #[must_use]
    pub fn new(feed: Feed, seed: u64, symbols: u16) -> Levels {
        let mut prng = Prng::new(seed);
        let books = (0..symbols.clamp(1, SYMBOLS_MAX)).map(|_| Book {
            price: start_price(prng.next_u64()),
            shares: [[0; KEPT]; 2],
        });
        Levels {
            feed,
            books: books.collect(),
            prng,
            given: 0,
            traded: 0,
        }
    }

    /// Which feed it speaks.
    #[must_use]
    pub const fn feed(&self) -> Feed {
        self.feed
    }

    /// Begins again, as another day: books are empty, and symbols are announced anew.
    pub fn restart(&mut self) {
        for book in &mut self.books {
            book.shares = [[0; KEPT]; 2];
        }
        (self.given, self.traded) = (0, 0);
    }

    /// Writes the next message, which happens at `now_ns` after 1970: its length in bytes.
    pub fn next(&mut self, now_ns: u64, buffer: &mut [u8; MESSAGE_BYTES_MAX]) -> usize {
        let nth = self.given;
        self.given += 1;
        let timestamp = I64::new(now_ns as i64);
        if nth == 0 {
            return put(
                buffer,
                &SystemEvent {
                    kind: b'S',
                    event: b'O',
                    timestamp,
                },
            );
        }
        let at = (nth - 1) as usize;
        if let Some(book) = self.books.get(at) {
            return put(
                buffer,
                &SecurityDirectory {
                    kind: b'D',
                    flags: 0,
                    timestamp,
                    symbol: symbol(at as u16),
                    round_lot_size: U32::new(100),
                    adjusted_close: price(book.price),
                    luld_tier: 1,
                },
            );
        }
        // The square of a number below 1: few symbols have most of the messages.
        let unit = self.prng.unit();
        let at = (unit * unit * self.books.len() as f64) as usize;
        match (self.prng.below(100), self.feed) {
            (0..84, Feed::Deep) => self.level(at, timestamp, buffer),
            (0..80, Feed::Tops) => self.quote(at, timestamp, buffer),
            (0..96, _) => self.trade(b'T', at, timestamp, buffer),
            (96, _) => self.trade(b'B', at, timestamp, buffer),
            _ => self.other(at, timestamp, buffer),
        }
    }

    fn size(&mut self) -> u32 {
        100 * (1 + self.prng.below(20) as u32)
    }

    fn level(&mut self, at: usize, timestamp: I64, buffer: &mut [u8]) -> usize {
        let draw = self.prng.next_u64();
        let (side, away) = ((draw & 1) as usize, ticks(draw >> 1) as usize);
        let new = self.size();
        let book = &mut self.books[at];
        let place = &mut book.shares[side][away];
        *place = if *place > 0 && self.prng.below(3) == 0 {
            0
        } else {
            new
        };
        let away = away as u32 * CENT;
        let (kind, units) = if side == 0 {
            (b'8', book.price - away)
        } else {
            (b'5', book.price + CENT + away)
        };
        put(
            buffer,
            &PriceLevel {
                kind,
                flags: u8::from(self.prng.below(10) != 0),
                timestamp,
                symbol: symbol(at as u16),
                size: U32::new(*place),
                price: price(units),
            },
        )
    }

    fn quote(&mut self, at: usize, timestamp: I64, buffer: &mut [u8]) -> usize {
        let draw = self.prng.next_u64();
        let (bid_size, ask_size) = (self.size(), self.size());
        let book = &mut self.books[at];
        book.price = wander(book.price, draw);
        put(
            buffer,
            &QuoteUpdate {
                kind: b'Q',
                flags: 0,
                timestamp,
                symbol: symbol(at as u16),
                bid_size: U32::new(bid_size),
                bid: price(book.price),
                ask: price(book.price + CENT),
                ask_size: U32::new(ask_size),
            },
        )
    }

    fn trade(&mut self, kind: u8, at: usize, timestamp: I64, buffer: &mut [u8]) -> usize {
        self.traded += 1;
        let size = self.size();
        put(
            buffer,
            &TradeReport {
                kind,
                flags: (self.prng.next_u64() & 0xf8) as u8,
                timestamp,
                symbol: symbol(at as u16),
                size: U32::new(size),
                price: price(self.books[at].price),
                trade_id: U64::new(self.traded),
            },
        )
    }

    /// One of the types that change nothing here.
    fn other(&mut self, at: usize, timestamp: I64, buffer: &mut [u8]) -> usize {
        let (symbol, units) = (symbol(at as u16), self.books[at].price);
        match self.prng.below(8) {
            0 => put(
                buffer,
                &AuctionInformation {
                    kind: b'A',
                    auction: b'C',
                    timestamp,
                    symbol,
                    paired: U32::new(1_000),
                    reference: price(units),
                    indicative: price(units),
                    imbalance: U32::new(100),
                    imbalance_side: b'B',
                    extension: 0,
                    scheduled_s: U32::new(57_600),
                    book_clearing: price(units),
                    collar_reference: price(units),
                    collar_lower: price(units - CENT),
                    collar_upper: price(units + CENT),
                },
            ),
            1 => put(
                buffer,
                &OfficialPrice {
                    kind: b'X',
                    price_type: b'Q',
                    timestamp,
                    symbol,
                    price: price(units),
                },
            ),
            2 => put(
                buffer,
                &TradingStatus {
                    kind: b'H',
                    status: b'T',
                    timestamp,
                    symbol,
                    reason: *b"    ",
                },
            ),
            draw => {
                // Three types of the same fields, and one with a byte more; only DEEP has the first.
                let kind = match (draw, self.feed) {
                    (3, Feed::Deep) => b'E',
                    (4, _) => b'O',
                    (5, _) => b'P',
                    _ => b'I',
                };
                let len = put(
                    buffer,
                    &crate::feed::iex::SecurityEvent {
                        kind,
                        event: b'O',
                        timestamp,
                        symbol,
                    },
                );
                buffer[len] = b' ';
                len + usize::from(kind == b'P')
            }
        }
    }
}

fn price(units: u32) -> SignedPrice4 {
    SignedPrice4::new(i64::from(units))
}

/// A view's bytes into the buffer, which holds any of them.
fn put(buffer: &mut [u8], view: &(impl IntoBytes + Immutable)) -> usize {
    let bytes = view.as_bytes();
    buffer[..bytes.len()].copy_from_slice(bytes);
    bytes.len()
}
