//! Seeded exchanges for tests and load: what they say, and how two lossy lines carry it.
//!
//! | file | makes |
//! |---|---|
//! | [`orders`] | TotalView-ITCH 5.0 of a book of orders |
//! | [`levels`] | DEEP 1.0 and TOPS 1.6 of books of price levels |
//! | [`lines`](mod@lines) | packets of MoldUDP64 and IEX-TP on one or two lines that lose, repeat, reorder, restart |
//!
//! A sender of orders says first which securities there are, and never takes from an order more than
//! it has: whoever gets all of it rejects nothing. Times come from a
//! [`Schedule`](crate::feed::Schedule): [`burst`] is the one of 8,000 messages in a millisecond.
//!
//! Invariant: the same spec gives the same bytes and the same times; nothing allocates after `new`.

pub mod levels;
pub mod lines;
pub mod orders;

use crate::feed::arrivals::Arrivals;
use crate::feed::views::Symbol8;

pub use levels::{Feed, Levels};
pub use lines::{Lines, LinesSpec, Restart, Saying, Sent};
pub use orders::Orders;

/// Most symbols of a simulated exchange: it keeps a few words of each.
pub const SYMBOLS_MAX: u16 = 8_192;

/// Bursts of 8,000 messages within a millisecond each: what an opening looks like.
#[must_use]
pub const fn burst() -> Arrivals {
    Arrivals::Bursts {
        messages: 8_000,
        within_ns: 1_000_000,
    }
}

/// The name of the nth symbol: four letters, `AAAA` and on.
///
/// ```
/// use hopline::feed::simulated::symbol;
/// assert_eq!((symbol(0).to_string(), symbol(27).to_string()), ("AAAA".into(), "AABB".into()));
/// ```
#[must_use]
pub fn symbol(nth: u16) -> Symbol8 {
    let mut name = [b' '; 8];
    let mut left = nth;
    for letter in name[..4].iter_mut().rev() {
        *letter = b'A' + (left % 26) as u8;
        left /= 26;
    }
    Symbol8(name)
}

/// Prices of a symbol wander by a cent; they stay between 10 and 500 dollars.
const PRICE_MIN: u32 = 100_000;
const PRICE_MAX: u32 = 5_000_000;
const CENT: u32 = 100;

/// A price that wandered.
fn wander(price: u32, draw: u64) -> u32 {
    match draw % 32 {
        0 => (price + CENT).min(PRICE_MAX),
        1 => (price - CENT).max(PRICE_MIN),
        _ => price,
    }
}

/// A first price.
fn start_price(draw: u64) -> u32 {
    PRICE_MIN + (draw % u64::from((PRICE_MAX - PRICE_MIN) / CENT)) as u32 * CENT
}

/// Ticks from the best price: near ones are likelier.
fn ticks(draw: u64) -> u32 {
    (draw.trailing_zeros() * 2 + (draw >> 62) as u32).min(24)
}
