//! hopline's typed hop as a link: a BookTicker with envelope, stamps, three records, counters and ledger.
//!
//! Invariant: a frame that is sent and taken here costs all that it costs on a line's hop.

use hopline::clock::Clock;
use hopline::feed::decimal::{Price, Qty};
use hopline::feed::market::BookTicker;
use hopline::frame::{Frame, View};
use hopline::stage::{TypedEnds, TypedRx, TypedTx, typed};

use super::link::{Link, Rx, Tx};

/// Bytes of the frame's payload: peers carry as many, bare.
pub const TYPED_BYTES: usize = BookTicker::BYTES;

/// Words of the frame that carry the number; the symbol carries the rest of it.
const WORDS: u64 = 7;

/// A typed hop of so many slots.
#[derive(Clone, Debug)]
pub struct Typed {
    /// Slots.
    pub depth: usize,
    /// The clock of its stamps.
    pub clock: Clock,
}

/// The emitting end.
#[derive(Debug)]
pub struct Emitting(TypedTx<BookTicker>);

/// The taking end, with what observes the hop.
#[derive(Debug)]
pub struct Taking(
    TypedRx<BookTicker>,
    #[allow(dead_code, reason = "kept, so that the hop is observed as on a line")] TypedEnds,
);

impl Link for Typed {
    type Tx = Emitting;
    type Rx = Taking;

    fn words(&self) -> u64 {
        WORDS
    }

    fn open(&self, _round: usize) -> (Emitting, Taking) {
        let (tx, rx, ends) =
            typed("typed", self.depth, &self.clock).expect("a depth within the limits");
        (Emitting(tx), Taking(rx, ends))
    }
}

impl Tx for Emitting {
    #[inline(always)]
    fn send(&mut self, number: u64) -> bool {
        if !self.0.has_room() {
            return false;
        }
        let units = number as i64;
        let ticker = BookTicker {
            update_id: number,
            bid: Price(units),
            bid_qty: Qty(units),
            ask: Price(units),
            ask_qty: Qty(units),
            event_ms: number,
            transaction_ms: number,
            symbol: number as u16,
        };
        // The intended time is the parent's on a line; a constant costs the same arithmetic.
        self.0.emit(&ticker, 1).is_ok()
    }
}

impl Rx for Taking {
    #[inline(always)]
    fn take(&mut self) -> Option<u64> {
        self.take_with(|sum| sum)
    }

    /// `then` is the handler's: what it emits leaves before the frame is recorded, as on a line.
    #[inline(always)]
    fn take_with<T>(&mut self, then: impl FnOnce(u64) -> T) -> Option<T> {
        let taken = self.0.take(|ticker| then(sum(ticker)));
        // A frame that fails its check is none: the loop then ends for want of it.
        taken?.ok()
    }
}

/// The sum of all fields.
#[inline(always)]
fn sum(ticker: View<'_, BookTicker>) -> u64 {
    let units = [
        ticker.bid().0,
        ticker.bid_qty().0,
        ticker.ask().0,
        ticker.ask_qty().0,
    ];
    let units = units
        .iter()
        .fold(0, |sum: u64, &units| sum.wrapping_add(units as u64));
    let number = ticker.update_id();
    // Nothing where the symbol is the number's rest, so that the sum tells if it is not.
    let symbol = ticker.symbol().wrapping_sub(number as u16);
    let words = [
        number,
        ticker.event_ms(),
        ticker.transaction_ms(),
        u64::from(symbol),
    ];
    words
        .iter()
        .fold(units, |sum, &word| sum.wrapping_add(word))
}
