//! The stage `encode`: an order as the datagram that leaves the line.
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
//! The datagram has no peer: the sink knows where orders go. A text of more than
//! [`HEAD_BYTES`] is a message of two fragments.
//!
//! Invariant: nothing is cut; the longest order has room.

use crate::base::text::Text;
use crate::feed::Symbols;
use crate::feed::datagram::{Datagram, Datagrams, HEAD_BYTES, PART_BYTES, datagram_frames, parts};
use crate::feed::decimal::{SCALE_DIGITS, UNITS_PER_ONE};
use crate::feed::symbols::SYMBOL_BYTES_MAX;
use crate::frame::View;
use crate::stage::{Context, Out, Outcome, Port, Stage};

use super::frames::{Order, Side};

const OUT: Out<Datagrams> = Out::at(0);

/// Bytes of the longest text: numbers of 20 digits, prices and quantities of 19 digits
/// with a sign and a point, the longest symbol, and what stands between them.
pub const ORDER_TEXT_BYTES_MAX: usize =
    2 * 20 + 2 * 21 + SYMBOL_BYTES_MAX + "11=|55=|54=1|38=|44=|60=\n".len();

const _: () = assert!(ORDER_TEXT_BYTES_MAX <= HEAD_BYTES + PART_BYTES);

crate::reasons! {
    /// Why an order does not leave.
    pub enum Why {
        /// A symbol beyond the stage's table.
        UnknownSymbol = "unknown_symbol",
    }
}

/// The text of an order in the making.
type OrderText = Text<[u8; ORDER_TEXT_BYTES_MAX]>;

/// Units of 1e-8, exactly, without trailing zeros.
fn put_units(text: &mut OrderText, units: i64) {
    if units < 0 {
        text.put(b"-");
    }
    let one = UNITS_PER_ONE.unsigned_abs();
    let (whole, mut rest) = (units.unsigned_abs() / one, units.unsigned_abs() % one);
    text.number(whole);
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
    text.put(b".");
    text.put(&digits[..kept]);
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

    fn text(&self, order: &Order) -> Result<OrderText, Why> {
        let name = self
            .names
            .get(usize::from(order.symbol))
            .filter(|name| !name.is_empty())
            .ok_or(Why::UnknownSymbol)?;
        let mut text = Text::over([0; ORDER_TEXT_BYTES_MAX]);
        text.put(b"11=");
        text.number(order.id);
        text.put(b"|55=");
        text.put(name.as_bytes());
        text.put(match order.side {
            Side::Buy => b"|54=1|38=",
            Side::Sell => b"|54=2|38=",
        });
        put_units(&mut text, order.qty.0);
        text.put(b"|44=");
        put_units(&mut text, order.price.0);
        text.put(b"|60=");
        text.number(order.event_ms);
        text.put(b"\n");
        Ok(text)
    }
}

impl Stage for Encode {
    type In = Order;
    type Why = Why;
    const PORTS: &'static [Port] = &[Port::new::<Datagrams>("text")];
    const MAX_EMIT: usize = datagram_frames(ORDER_TEXT_BYTES_MAX);

    fn memory_bytes(&self) -> usize {
        size_of_val(&*self.names) + self.names.iter().map(|name| name.len()).sum::<usize>()
    }

    fn on_frame(&mut self, order: View<'_, Order>, cx: &mut Context<'_>) -> Outcome<Why> {
        match self.text(&order.to_owned()) {
            Ok(text) => {
                // None only beyond what a message carries, which is far beyond an order.
                let whole = text.whole();
                if let Some((head, text)) =
                    whole.and_then(|text| Some((Datagram::of(None, text)?, text)))
                {
                    cx.emit_with(OUT, &head, parts(text));
                }
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
        let text = encode()
            .text(&order())
            .map(|text| text.whole().unwrap().to_vec());
        let expected = b"11=42|55=ETHUSDT|54=2|38=0.01|44=61800.3|60=1723161256313\n";
        assert_eq!(text, Ok(expected.to_vec()));
    }

    #[test]
    fn the_longest_order_has_room() {
        let name = "A".repeat(SYMBOL_BYTES_MAX);
        let encode = Encode::new(Symbols::numbered(&[(&name, 1)]).unwrap());
        let longest = Order {
            id: u64::MAX,
            event_ms: u64::MAX,
            price: Price(i64::MIN),
            qty: Qty(i64::MIN),
            ..order()
        };
        let text = encode
            .text(&longest)
            .map(|text| text.whole().unwrap().len());
        assert_eq!(text, Ok(ORDER_TEXT_BYTES_MAX));
    }

    #[test]
    fn a_symbol_without_a_name_is_refused() {
        for symbol in [0, 2, u16::MAX] {
            let unknown = Order { symbol, ..order() };
            assert_eq!(encode().text(&unknown).err(), Some(Why::UnknownSymbol));
        }
    }

    proptest! {
        #[test]
        fn numbers_are_shown_as_the_fixed_point_shows_them(units in any::<i64>(), small in -200_000_000i64..200_000_000) {
            for units in [units, small] {
                let mut text = Text::over([0; ORDER_TEXT_BYTES_MAX]);
                put_units(&mut text, units);
                let expected = Price(units).to_string();
                prop_assert_eq!(text.whole(), Some(expected.as_bytes()));
            }
        }
    }
}
