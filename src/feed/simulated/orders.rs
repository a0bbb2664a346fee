//! A seeded exchange of orders that speaks TotalView-ITCH 5.0.
//!
//! Kinds come in about the shares of a day at Nasdaq: of a hundred messages 42 add an order, 38 delete
//! one, 10 replace, 6 execute, 2 cancel a part; the other types of the specification share what is left.
//!
//! Invariant: references rise and are never used twice; every order that is touched is open.

use crate::base::Prng;
use crate::feed::itch::{
    AddOrder, AddOrderMpid, Head, MESSAGE_BYTES_MAX, OrderCancel, OrderDelete, OrderExecuted,
    OrderExecutedPrice, OrderReplace, StockDirectory, SystemEvent, TYPES, Trade,
};
use crate::feed::simulated::{CENT, SYMBOLS_MAX, start_price, symbol, ticks, wander};
use crate::feed::views::Price4;
use zerocopy::byteorder::big_endian::{U32, U64};
use zerocopy::{Immutable, IntoBytes};

/// An order that is open.
#[derive(Clone, Copy, Debug)]
struct Open {
    reference: u64,
    shares: u32,
    locate: u16,
    side: u8,
}

/// The exchange.
///
/// ```
/// use hopline::feed::itch::{self, MESSAGE_BYTES_MAX, Message};
/// use hopline::feed::simulated::Orders;
/// let mut exchange = Orders::new(7, 20, 1_000);
/// let mut buffer = [0; MESSAGE_BYTES_MAX];
/// let len = exchange.next(34_200_000_000_000, &mut buffer);
/// assert!(matches!(itch::decode(&buffer[..len]), Ok(Message::SystemEvent(_))));
/// let len = exchange.next(34_200_000_000_000, &mut buffer);
/// assert!(matches!(itch::decode(&buffer[..len]), Ok(Message::StockDirectory(_))));
/// ```
#[derive(Clone, Debug)]
pub struct Orders {
    prng: Prng,
    open: Vec<Open>,
    open_max: usize,
    /// Price of each symbol, in ten-thousandths.
    prices: Vec<u32>,
    given: u64,
    reference: u64,
    matched: u64,
}

impl Orders {
    /// An exchange at its start, of so many symbols (1 to [`SYMBOLS_MAX`]; others are taken for the
    /// nearest) and at most so many open orders, from 16.
    #[must_use]
    pub fn new(seed: u64, symbols: u16, open_max: usize) -> Orders {
        let mut prng = Prng::new(seed);
        let open_max = open_max.max(16);
        let symbols = symbols.clamp(1, SYMBOLS_MAX);
        let prices = (0..symbols).map(|_| start_price(prng.next_u64()));
        Orders {
            prices: prices.collect(),
            open: Vec::with_capacity(open_max),
            open_max,
            prng,
            given: 0,
            reference: 0,
            matched: 0,
        }
    }

    /// Begins again, as another day: all orders are gone, and symbols are announced anew.
    pub fn restart(&mut self) {
        self.open.clear();
        (self.given, self.reference, self.matched) = (0, 0, 0);
    }

    /// Writes the next message, which happens at `now_ns` after midnight: its length in bytes.
    pub fn next(&mut self, now_ns: u64, buffer: &mut [u8; MESSAGE_BYTES_MAX]) -> usize {
        let nth = self.given;
        self.given += 1;
        if nth == 0 {
            let head = Head::new(b'S', 0, now_ns);
            return put(buffer, &SystemEvent { head, event: b'O' });
        }
        if nth <= self.prices.len() as u64 {
            return put(buffer, &directory(nth as u16, now_ns));
        }
        let draw = self.prng.below(100);
        let (open, full) = (self.open.len(), self.open.len() == self.open_max);
        match draw {
            99 => self.other(now_ns, buffer),
            98 => self.trade(now_ns, buffer),
            // As many open orders as are allowed is what a day comes to; before, more are added.
            56..98 if open > self.open_max / 2 || (open > 8 && draw < 76) => {
                self.touch(now_ns, draw, buffer)
            }
            _ if full => self.touch(now_ns, 60, buffer),
            _ => self.add(now_ns, draw == 0, buffer),
        }
    }

    fn price(&mut self, locate: u16, side: u8) -> u32 {
        let draw = self.prng.next_u64();
        let price = &mut self.prices[usize::from(locate) - 1];
        *price = wander(*price, draw >> 8);
        let away = ticks(self.prng.next_u64()) * CENT;
        if side == b'B' {
            *price - away
        } else {
            *price + CENT + away
        }
    }

    fn shares(&mut self) -> u32 {
        match self.prng.below(4) {
            0 => 1 + self.prng.below(2_000) as u32,
            _ => 100 * (1 + self.prng.below(5) as u32),
        }
    }

    fn locate(&mut self) -> u16 {
        // The square of a number below 1: few symbols have most of the orders.
        let unit = self.prng.unit();
        1 + (unit * unit * self.prices.len() as f64) as u16
    }

    fn next_match(&mut self) -> u64 {
        self.matched += 1;
        self.matched
    }

    fn add(&mut self, now_ns: u64, named: bool, buffer: &mut [u8; MESSAGE_BYTES_MAX]) -> usize {
        let locate = self.locate();
        let side = if self.prng.below(2) == 0 { b'B' } else { b'S' };
        let (shares, price) = (self.shares(), self.price(locate, side));
        self.reference += 1;
        self.open.push(Open {
            reference: self.reference,
            shares,
            locate,
            side,
        });
        let add = AddOrder {
            head: Head::new(if named { b'F' } else { b'A' }, locate, now_ns),
            reference: U64::new(self.reference),
            side,
            shares: U32::new(shares),
            stock: symbol(locate - 1),
            price: Price4::new(price),
        };
        if named {
            let attribution = *b"MPID";
            put(buffer, &AddOrderMpid { add, attribution })
        } else {
            put(buffer, &add)
        }
    }

    /// Something happens to an open order.
    fn touch(&mut self, now_ns: u64, draw: u64, buffer: &mut [u8; MESSAGE_BYTES_MAX]) -> usize {
        let at = self.prng.below(self.open.len() as u64) as usize;
        let order = self.open[at];
        let reference = U64::new(order.reference);
        let head = |kind| Head::new(kind, order.locate, now_ns);
        match draw {
            56..58 if order.shares > 1 => {
                let shares = 1 + self.prng.below(u64::from(order.shares) - 1) as u32;
                self.open[at].shares -= shares;
                let shares = U32::new(shares);
                put(
                    buffer,
                    &OrderCancel {
                        head: head(b'X'),
                        reference,
                        shares,
                    },
                )
            }
            80..86 => {
                let shares = if self.prng.below(2) == 0 {
                    order.shares
                } else {
                    1 + self.prng.below(u64::from(order.shares)) as u32
                };
                if shares == order.shares {
                    self.open.swap_remove(at);
                } else {
                    self.open[at].shares -= shares;
                }
                let match_number = U64::new(self.next_match());
                let shares = U32::new(shares);
                if draw == 80 {
                    let price = Price4::new(self.price(order.locate, order.side));
                    return put(
                        buffer,
                        &OrderExecutedPrice {
                            head: head(b'C'),
                            reference,
                            shares,
                            match_number,
                            printable: b'Y',
                            price,
                        },
                    );
                }
                put(
                    buffer,
                    &OrderExecuted {
                        head: head(b'E'),
                        reference,
                        shares,
                        match_number,
                    },
                )
            }
            86..96 => {
                let (shares, price) = (self.shares(), self.price(order.locate, order.side));
                self.reference += 1;
                let entry = &mut self.open[at];
                (entry.reference, entry.shares) = (self.reference, shares);
                put(
                    buffer,
                    &OrderReplace {
                        head: head(b'U'),
                        reference,
                        new_reference: U64::new(self.reference),
                        shares: U32::new(shares),
                        price: Price4::new(price),
                    },
                )
            }
            _ => {
                self.open.swap_remove(at);
                put(
                    buffer,
                    &OrderDelete {
                        head: head(b'D'),
                        reference,
                    },
                )
            }
        }
    }

    fn trade(&mut self, now_ns: u64, buffer: &mut [u8; MESSAGE_BYTES_MAX]) -> usize {
        let locate = self.locate();
        let trade = Trade {
            head: Head::new(b'P', locate, now_ns),
            reference: U64::new(0),
            side: b'B',
            shares: U32::new(self.shares()),
            stock: symbol(locate - 1),
            price: Price4::new(self.price(locate, b'B')),
            match_number: U64::new(self.next_match()),
        };
        put(buffer, &trade)
    }

    /// One of the types that touch no order, with a head that makes sense and anything behind it.
    fn other(&mut self, now_ns: u64, buffer: &mut [u8; MESSAGE_BYTES_MAX]) -> usize {
        const OTHERS: &[u8] = b"HYLVWKJhQBINO";
        let kind = OTHERS[self.prng.below(OTHERS.len() as u64) as usize];
        let len = TYPES.iter().find(|(letter, _)| *letter == kind);
        let len = len.map_or(0, |(_, len)| *len);
        for chunk in buffer.chunks_mut(8) {
            let random = self.prng.next_u64().to_le_bytes();
            chunk.copy_from_slice(&random[..chunk.len()]);
        }
        let locate = self.locate();
        put(buffer, &Head::new(kind, locate, now_ns));
        len
    }
}

fn directory(locate: u16, now_ns: u64) -> StockDirectory {
    StockDirectory {
        head: Head::new(b'R', locate, now_ns),
        stock: symbol(locate - 1),
        market_category: b'Q',
        financial_status: b'N',
        round_lot_size: U32::new(100),
        round_lots_only: b'N',
        issue_classification: b'C',
        issue_sub_type: *b"Z ",
        authenticity: b'P',
        short_sale_threshold: b'N',
        ipo_flag: b'N',
        luld_tier: b'1',
        etp_flag: b'N',
        etp_leverage: U32::new(0),
        inverse: b'N',
    }
}

/// A view's bytes into the buffer, which holds any of them.
fn put(buffer: &mut [u8], view: &(impl IntoBytes + Immutable)) -> usize {
    let bytes = view.as_bytes();
    buffer[..bytes.len()].copy_from_slice(bytes);
    bytes.len()
}
