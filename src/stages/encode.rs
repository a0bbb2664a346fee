//! The stage `encode`: an order as the text that leaves the line.
//!
//! | setting | default | means |
//! |---|---|---|
//! | `symbols` | `["BTCUSDT", "ETHUSDT"]` | the line's table of symbols, in the order of its numbers |
//!
//! One line of ASCII: tags and meanings are FIX's (11 ClOrdID, 55 Symbol, 54 Side with 1 to buy and 2
//! to sell, 38 OrderQty, 44 Price, 60 the time, here the exchange's in milliseconds since 1970), the
//! framing is not: bars instead of SOH, a line feed at the end, no length and no checksum.
//! ```text
//! 11=1|55=BTCUSDT|54=1|38=0.01|44=61800.3|60=1723161256313
//! ```
//! Numbers are exact and without trailing zeros, as [`decimal`](crate::feed::decimal) shows them.
//!
//! Invariant: a text is whole or the order is refused; nothing is cut.

use crate::feed::Symbols;
use crate::feed::datagram::{Datagram, Datagrams, datagram_frames, parts};
use crate::feed::decimal::{SCALE_DIGITS, UNITS_PER_ONE};
use crate::frame::View;
use crate::stage::{Context, Out, Outcome, Port, Stage};

use super::frames::{Order, Side};

const OUT: Out<Datagrams> = Out::at(0);

/// Longest text of an order, in bytes: every number at its widest and a symbol of twenty letters.
const ORDER_TEXT_BYTES: usize = 128;

crate::reasons! {
    /// Why an order does not leave.
    pub enum Why {
        /// A symbol beyond the stage's table.
        UnknownSymbol = "unknown_symbol",
        /// Its text is longer than [`ORDER_TEXT_BYTES`].
        TooLong = "too_long",
    }
}

/// A text of bounded length in the making.
#[derive(Debug, PartialEq, Eq)]
struct Text {
    bytes: [u8; ORDER_TEXT_BYTES],
    /// Bytes wanted so far; beyond the bound nothing is written.
    len: usize,
}

impl Text {
    fn new() -> Text {
        Text {
            bytes: [0; ORDER_TEXT_BYTES],
            len: 0,
        }
    }

    fn put(&mut self, more: &[u8]) {
        let end = self.len + more.len();
        if let Some(room) = self.bytes.get_mut(self.len..end) {
            room.copy_from_slice(more);
        }
        self.len = end;
    }

    fn number(&mut self, mut number: u64) {
        // u64::MAX has 20 digits.
        let mut digits = [0; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.put(&digits[at..]);
    }

    /// Units of 1e-8, exactly, without trailing zeros.
    fn units(&mut self, units: i64) {
        if units < 0 {
            self.put(b"-");
        }
        let one = UNITS_PER_ONE.unsigned_abs();
        let (whole, mut rest) = (units.unsigned_abs() / one, units.unsigned_abs() % one);
        self.number(whole);
        if rest == 0 {
            return;
        }
        let mut digits = [0; SCALE_DIGITS as usize];
        let mut kept = 0;
        for (at, digit) in digits.iter_mut().enumerate().rev() {
            *digit = b'0' + (rest % 10) as u8;
            if kept == 0 && rest % 10 != 0 {
                kept = at + 1;
            }
            rest /= 10;
        }
        self.put(b".");
        self.put(&digits[..kept]);
    }

    /// The text, unless it was too long.
    fn whole(&self) -> Option<&[u8]> {
        self.bytes.get(..self.len)
    }
}

/// Writes orders as text; see this file's head.
#[derive(Debug)]
pub struct Encode {
    /// By number.
    names: Box<[Box<str>]>,
}

impl Encode {
    /// A stage for the orders of these symbols.
    #[must_use]
    pub fn new(symbols: Symbols) -> Encode {
        let count = symbols.iter().map(|(_, number)| usize::from(number) + 1);
        let name = |number: usize| symbols.name(number as u16).unwrap_or_default().into();
        Encode {
            names: (0..count.max().unwrap_or(0)).map(name).collect(),
        }
    }

    fn text(&self, order: &Order) -> Result<Text, Why> {
        let name = self
            .names
            .get(usize::from(order.symbol))
            .filter(|name| !name.is_empty())
            .ok_or(Why::UnknownSymbol)?;
        let mut text = Text::new();
        text.put(b"11=");
        text.number(order.id);
        text.put(b"|55=");
        text.put(name.as_bytes());
        text.put(match order.side {
            Side::Buy => b"|54=1|38=",
            Side::Sell => b"|54=2|38=",
        });
        text.units(order.qty.0);
        text.put(b"|44=");
        text.units(order.price.0);
        text.put(b"|60=");
        text.number(order.event_ms);
        text.put(b"\n");
        if text.whole().is_none() {
            return Err(Why::TooLong);
        }
        Ok(text)
    }
}

impl Stage for Encode {
    type In = Order;
    type Why = Why;
    const PORTS: &'static [Port] = &[Port::new::<Datagrams>("text")];
    const MAX_EMIT: usize = datagram_frames(ORDER_TEXT_BYTES);

    fn memory_bytes(&self) -> usize {
        size_of_val(&*self.names) + self.names.iter().map(|name| name.len()).sum::<usize>()
    }

    fn on_frame(&mut self, order: View<'_, Order>, cx: &mut Context<'_>) -> Outcome<Why> {
        match self.text(&order.to_owned()) {
            Ok(text) => {
                let bytes = text.whole().unwrap_or_default();
                let Some(head) = Datagram::of(None, bytes) else {
                    return Outcome::rejected(Why::TooLong);
                };
                cx.emit_with(OUT, &head, parts(bytes));
                Outcome::done()
            }
            Err(why) => Outcome::rejected(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::feed::decimal::{Price, Qty};

    fn order() -> Order {
        Order {
            id: 42,
            update_id: 1,
            event_ms: 1_723_161_256_313,
            t_ns: 5,
            price: Price(6_180_030_000_000),
            qty: Qty(1_000_000),
            position: Qty(2_000_000),
            symbol: 1,
            side: Side::Sell,
        }
    }

    fn encode() -> Encode {
        Encode::new(Symbols::numbered(&[("ETHUSDT", 1)]).unwrap())
    }

    #[test]
    fn golden_bytes() {
        let text = encode().text(&order()).unwrap();
        let expected = b"11=42|55=ETHUSDT|54=2|38=0.01|44=61800.3|60=1723161256313\n";
        assert_eq!(text.whole(), Some(&expected[..]));
    }

    #[test]
    fn the_widest_order_of_a_long_symbol_fits_and_a_longer_one_is_refused_whole() {
        let mut wide = order();
        (wide.id, wide.event_ms) = (u64::MAX, u64::MAX);
        wide.price = Price(i64::MIN + 1);
        wide.qty = Qty(i64::MIN + 1);
        let with_name = |letters: usize| Encode {
            names: [Box::from(""), "X".repeat(letters).into()].into(),
        };
        let text = with_name(20).text(&wide).unwrap();
        assert_eq!(text.whole().and_then(<[u8]>::last), Some(&b'\n'));
        assert_eq!(with_name(40).text(&wide), Err(Why::TooLong));
    }

    #[test]
    fn a_symbol_beyond_the_table_is_refused() {
        let mut unknown = order();
        for symbol in [0, 2, u16::MAX] {
            unknown.symbol = symbol;
            assert_eq!(encode().text(&unknown), Err(Why::UnknownSymbol));
        }
    }

    proptest! {
        #[test]
        fn numbers_are_shown_as_the_fixed_point_shows_them(units in any::<i64>(), small in -200_000_000i64..200_000_000) {
            for units in [units, small] {
                let mut text = Text::new();
                text.units(units);
                let expected = Price(units).to_string();
                prop_assert_eq!(text.whole(), Some(expected.as_bytes()));
            }
        }
    }
}
