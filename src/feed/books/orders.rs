//! Books from order messages, as ITCH has them: add, execute, cancel, delete, replace.
//!
//! Symbols are announced by the stock directory, which gives each its number (locate) for the day. An
//! order is found by its reference and keeps the price and the side that it came with; executions at
//! other prices take shares from the price at which the order stands.
//!
//! Invariant: the shares and orders at a shown price are the sums over the orders in the table.

use core::ops::Range;

use crate::feed::books::ladder::{self, BUY, SELL};
use crate::feed::books::table::{self, Order, Table};
use crate::feed::books::{
    Applied, BookReject, Books, BooksError, DEPTH_DEFAULT, Known, ORDERS_MAX, SYMBOLS_DEFAULT,
    SYMBOLS_MAX, check,
};
use crate::feed::itch::{AddOrder, Message};
use crate::feed::views::Symbol8;

/// How many of what a set of books has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderBooksSpec {
    /// Symbols, from 1 to [`SYMBOLS_MAX`].
    pub symbols: usize,
    /// Prices of a side, from 1 to [`DEPTH_MAX`](crate::feed::books::DEPTH_MAX).
    pub depth: usize,
    /// Open orders, from 1 to [`ORDERS_MAX`].
    pub orders: usize,
    /// Spreads the references over the table; any number.
    pub seed: u64,
}

impl OrderBooksSpec {
    /// Bytes that books of it allocate.
    #[must_use]
    pub const fn memory_bytes(&self) -> usize {
        let table = table::places(self.orders) * size_of::<Order>();
        let symbols = self.symbols * (ladder::bytes_a_symbol(self.depth) + size_of::<Symbol8>());
        table + symbols + SYMBOLS_MAX * size_of::<u32>()
    }
}

impl Default for OrderBooksSpec {
    /// 16,384 symbols (Nasdaq has about 11,000), 64 prices a side, 2^20 orders: 100 MiB.
    fn default() -> OrderBooksSpec {
        OrderBooksSpec {
            symbols: SYMBOLS_DEFAULT,
            depth: DEPTH_DEFAULT,
            orders: 1 << 20,
            seed: 0x6974_6368,
        }
    }
}

/// The books of all symbols of a feed of orders.
///
/// ```
/// use hopline::feed::books::orders::{OrderBooks, OrderBooksSpec};
/// use hopline::feed::itch::{AddOrder, Head, Message, StockDirectory};
/// use hopline::feed::views::{Price4, Symbol8};
/// use zerocopy::FromZeros;
///
/// let spec = OrderBooksSpec { symbols: 8, depth: 8, orders: 64, seed: 1 };
/// let mut books = OrderBooks::new(&spec)?;
/// let mut directory = StockDirectory::new_zeroed();
/// (directory.head, directory.stock) = (Head::new(b'R', 7, 0), Symbol8::new("ZIEXT"));
/// books.apply(&Message::StockDirectory(&directory)).unwrap();
/// let mut add = AddOrder::new_zeroed();
/// (add.head, add.side) = (Head::new(b'A', 7, 1), b'B');
/// (add.reference, add.shares, add.price) = (42.into(), 100.into(), Price4::new(990_500));
/// books.apply(&Message::AddOrder(&add)).unwrap();
/// let index = books.index(7).unwrap();
/// assert_eq!(books.bids(index).best().map(|level| level.shares), Some(100));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type OrderBooks = Books<ByOrder>;

/// The symbols of a feed of orders, by their numbers, and the orders that are open.
#[derive(Debug)]
pub struct ByOrder {
    table: Table,
    /// Index of a number and one; 0 was never announced.
    indices: Box<[u32]>,
    symbols: Box<[Symbol8]>,
    announced: usize,
}

impl Known for ByOrder {
    fn clear(&mut self) {
        self.table.clear();
        self.indices.fill(0);
        self.announced = 0;
    }

    fn symbol(&self, index: u32) -> Option<Symbol8> {
        self.symbols[..self.announced].get(index as usize).copied()
    }

    fn len(&self) -> usize {
        self.announced
    }

    fn span(&self) -> Range<usize> {
        self.table.span()
    }
}

impl Books<ByOrder> {
    /// Empty books. Allocates all that they ever need.
    ///
    /// # Errors
    /// A spec out of its bounds.
    pub fn new(spec: &OrderBooksSpec) -> Result<OrderBooks, BooksError> {
        if !(1..=ORDERS_MAX).contains(&spec.orders) {
            return Err(BooksError::Orders(spec.orders));
        }
        let table = table::places(spec.orders) * size_of::<Order>();
        check(spec.symbols, spec.depth, table)?;
        let orders = ByOrder {
            table: Table::new(spec.orders, spec.seed),
            indices: vec![0; SYMBOLS_MAX].into_boxed_slice(),
            symbols: vec![Symbol8([b' '; 8]); spec.symbols].into_boxed_slice(),
            announced: 0,
        };
        let bytes = spec.memory_bytes();
        Ok(Books::empty(spec.symbols, spec.depth, orders, bytes))
    }

    /// Applies a message.
    ///
    /// # Errors
    /// The reason for which it changed nothing, or not as it says; counted already.
    #[inline]
    pub fn apply(&mut self, message: &Message<'_>) -> Result<Applied, BookReject> {
        let result = match message {
            Message::AddOrder(m) => self.add(m),
            Message::AddOrderMpid(m) => self.add(&m.add),
            Message::OrderExecuted(m) => self.reduce(m.reference.get(), m.shares.get()),
            Message::OrderExecutedPrice(m) => self.reduce(m.reference.get(), m.shares.get()),
            Message::OrderCancel(m) => self.reduce(m.reference.get(), m.shares.get()),
            Message::OrderDelete(m) => self.delete(m.reference.get()),
            Message::OrderReplace(m) => self.replace(
                m.reference.get(),
                m.new_reference.get(),
                m.shares.get(),
                m.price.units(),
            ),
            Message::StockDirectory(m) => self.announce(m.head.locate.get(), m.stock),
            _ => Ok(Applied::Nothing),
        };
        self.counts.count(result);
        result
    }

    fn announce(&mut self, locate: u16, stock: Symbol8) -> Result<Applied, BookReject> {
        let known = &mut self.symbols;
        let entry = &mut known.indices[usize::from(locate)];
        if *entry == 0 {
            if known.announced == known.symbols.len() {
                return Err(BookReject::NoRoomForSymbol);
            }
            known.announced += 1;
            *entry = known.announced as u32;
        }
        let index = *entry - 1;
        known.symbols[index as usize] = stock;
        Ok(Applied::Book(index))
    }

    #[inline]
    fn add(&mut self, m: &AddOrder) -> Result<Applied, BookReject> {
        let index = self.index(m.head.locate.get());
        let index = index.ok_or(BookReject::UnknownSymbol)?;
        let side = match m.side {
            b'B' => BUY,
            b'S' => SELL,
            _ => return Err(BookReject::UnknownSide),
        };
        let (reference, shares) = (m.reference.get(), m.shares.get());
        if self.symbols.table.find(reference).is_some() {
            return Err(BookReject::DuplicateOrder);
        }
        self.enter(reference, index as u16, side, shares, m.price.units())
    }

    /// Puts an order that is not there into the table and its book.
    #[inline]
    fn enter(
        &mut self,
        reference: u64,
        symbol: u16,
        side: usize,
        shares: u32,
        price: u32,
    ) -> Result<Applied, BookReject> {
        if shares == 0 {
            return Err(BookReject::NoShares);
        }
        let order = Order::new(reference, symbol, side as u8, shares, price);
        if !self.symbols.table.insert(order) {
            return Err(BookReject::NoRoomForOrder);
        }
        let at = usize::from(symbol);
        self.counts.hidden += self
            .ladders
            .add(at, side, i64::from(price), u64::from(shares));
        Ok(Applied::Book(u32::from(symbol)))
    }

    #[inline]
    fn reduce(&mut self, reference: u64, shares: u32) -> Result<Applied, BookReject> {
        let at = self.symbols.table.find(reference);
        let at = at.ok_or(BookReject::UnknownOrder)?;
        let order = self.symbols.table.at(at);
        let left = order.shares.checked_sub(shares);
        match left {
            Some(left @ 1..) => {
                order.shares = left;
                let order = *order;
                self.take(&order, shares, false);
                Ok(Applied::Book(u32::from(order.symbol)))
            }
            Some(0) => Ok(self.remove(at)),
            None => {
                self.remove(at);
                Err(BookReject::TooManyShares)
            }
        }
    }

    #[inline]
    fn delete(&mut self, reference: u64) -> Result<Applied, BookReject> {
        let at = self.symbols.table.find(reference);
        Ok(self.remove(at.ok_or(BookReject::UnknownOrder)?))
    }

    #[inline]
    fn replace(
        &mut self,
        reference: u64,
        new_reference: u64,
        shares: u32,
        price: u32,
    ) -> Result<Applied, BookReject> {
        let at = self.symbols.table.find(reference);
        let at = at.ok_or(BookReject::UnknownOrder)?;
        if shares == 0 {
            return Err(BookReject::NoShares);
        }
        if new_reference != reference && self.symbols.table.find(new_reference).is_some() {
            return Err(BookReject::DuplicateOrder);
        }
        let old = *self.symbols.table.at(at);
        self.remove(at);
        let side = usize::from(old.side);
        self.enter(new_reference, old.symbol, side, shares, price)
    }

    #[inline]
    fn remove(&mut self, at: usize) -> Applied {
        let order = *self.symbols.table.at(at);
        self.symbols.table.remove(at);
        self.take(&order, order.shares, true);
        Applied::Book(u32::from(order.symbol))
    }

    #[inline]
    fn take(&mut self, order: &Order, shares: u32, is_last: bool) {
        let (symbol, side) = (usize::from(order.symbol), usize::from(order.side));
        let price = i64::from(order.price);
        self.ladders
            .reduce(symbol, side, price, u64::from(shares), is_last);
    }

    /// Index of the symbol with that number; `None` if it was never announced.
    #[inline]
    #[must_use]
    pub fn index(&self, locate: u16) -> Option<u32> {
        self.symbols.indices[usize::from(locate)].checked_sub(1)
    }

    /// Orders that are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.symbols.table.len()
    }
}
