//! The stages `order_book` and `level_book`: messages of a sequenced feed in, the top of each symbol's book out.
//!
//! | kind | takes | books from |
//! |---|---|---|
//! | `order_book` | [`ItchMessage`](crate::feed::ItchMessage) | orders by reference ([`OrderBooks`]) |
//! | `level_book` | [`DeepMessage`](crate::feed::DeepMessage) | shares at a price ([`LevelBooks`]) |
//!
//! | setting | default | means |
//! |---|---|---|
//! | `most_symbols` | 16,384 | symbols there is room for |
//! | `depth` | 64 | prices a side there is room for; worse ones are hidden, and counted |
//! | `most_orders` | 1,048,576 | open orders there is room for; `order_book` only |
//! | `levels` | 5 | prices a side whose shares make `imbalance_ppm` |
//! | `part` | `false` | it gets a part of the feed's frames, so that a jump in their numbers is no loss |
//! | `heals_after` | 0 | frames in unbroken order after which a loss on the line counts as made good; 0: none |
//!
//! A [`Top`] leaves when anything in it but ids and times has changed: `symbol` is the place of the symbol in the order in
//! which the feed announced them, `update_id` the message's sequence, `event_ms` 0 for ITCH, whose times are
//! of a day. Prices and shares are at the scale of [`decimal`](crate::feed::decimal).
//!
//! **What a book is worth** stands in [`Top::state`]: `Live` while nothing is missing; `Stale` after a loss, in a gap, or where
//! the feed says that it has gone stale. The feed's own losses are what the frames say, until they say `live` again
//! (`heals_after` of the source); those of the line, frames that a hop before this stage shed, are what their numbers
//! show. An era that begins from 1 empties the books and makes them whole. Price levels heal once each was said
//! anew, for which `heals_after` stands; orders do not.
//!
//! **The books' memory is bounded**, and what finds no room is rejected by its reason: a symbol or an order too many, an order
//! that nobody knows, a symbol that was never announced.
//!
//! [`OrderBooks`]: crate::feed::books::orders::OrderBooks
//! [`LevelBooks`]: crate::feed::books::levels::LevelBooks
//!
//! Invariant: nothing is allocated after the stage is made; the same frames give the same books, whatever their
//! times.

mod levels;
mod orders;

use crate::feed::books::{Applied, BookReject, Books, BooksError, Known, Level, Side};
use crate::feed::decimal::{Price, Qty};
use crate::feed::sequenced::State;
use crate::feed::{Place, Placed};
use crate::frame::View;
use crate::host::lay_on_huge_pages;
use crate::stage::{Context, Count, Out, Outcome, Port, Stage};
use crate::topology::{Params, Problem};

use super::frames::{BookState, Top};

const TOP: Out<Top> = Out::at(0);

/// Millionths in one: the unit of an imbalance.
const PPM: i128 = 1_000_000;

/// A price of a feed, a whole number of ten-thousandths, at the scale of [`Price`].
const PRICE_UNITS: i64 = 10_000;

/// A share at the scale of [`Qty`].
const QTY_UNITS: u64 = 100_000_000;

crate::reasons! {
    /// Why a book stage ends a message.
    pub enum Why {
        /// It changed nothing of what a top shows.
        Unchanged = "unchanged",
        /// It is about no book.
        NoBook = "no_book",
        /// More messages of its event follow, until which the book is between two states.
        InEvent = "in_event",
        /// A symbol that was never announced.
        UnknownSymbol = "unknown_symbol",
        /// An order that is not in the book.
        UnknownOrder = "unknown_order",
        /// A new order of a reference that is taken.
        DuplicateOrder = "duplicate_order",
        /// More shares executed or cancelled than the order has; it is gone.
        TooManyShares = "too_many_shares",
        /// An order without shares.
        NoShares = "no_shares",
        /// A side that is neither buy nor sell.
        UnknownSide = "unknown_side",
        /// A price of 0 or below.
        BadPrice = "bad_price",
        /// There is no room for another order.
        NoRoomForOrder = "no_room_order",
        /// There is no room for another symbol.
        NoRoomForSymbol = "no_room_symbol",
        /// Its bytes are no message of the feed.
        Malformed = "malformed",
    }
}

impl Why {
    fn of(reject: BookReject) -> Why {
        match reject {
            BookReject::UnknownSymbol => Why::UnknownSymbol,
            BookReject::UnknownOrder => Why::UnknownOrder,
            BookReject::DuplicateOrder => Why::DuplicateOrder,
            BookReject::TooManyShares => Why::TooManyShares,
            BookReject::NoShares => Why::NoShares,
            BookReject::UnknownSide => Why::UnknownSide,
            BookReject::BadPrice => Why::BadPrice,
            BookReject::NoRoomForOrder => Why::NoRoomForOrder,
            BookReject::NoRoomForSymbol => Why::NoRoomForSymbol,
        }
    }
}

/// What a message did to a set of books.
#[derive(Clone, Copy, Debug)]
pub enum Did {
    /// It changed, or opened, the book of that index.
    Book(u32),
    /// It changed the book of that index, and more of its event follows.
    Part(u32),
    /// A trade in the symbol of that index, at that price in ten-thousandths.
    Traded(u32, i64),
    /// It is about no book.
    Nothing,
}

/// What books are made of, as frames of a feed give it.
pub trait FromFeed: Known + Send + Sized + 'static {
    /// The frames.
    type Frame: Placed;

    /// Empty books with room for so many symbols and prices a side, from a node's settings.
    ///
    /// # Errors
    /// A setting of the wrong type or out of bounds.
    fn books(params: &mut Params, symbols: usize, depth: usize) -> Result<Books<Self>, Problem>;

    /// Applies a frame, and says when the exchange sent it, in milliseconds since 1970, if it says so.
    ///
    /// # Errors
    /// Why it changed nothing, or not as it says.
    fn apply(books: &mut Books<Self>, frame: View<'_, Self::Frame>) -> Result<(Did, u64), Why>;
}

/// What both kinds are made from.
#[derive(Clone, Copy, Debug)]
pub struct FeedBookSpec {
    /// Symbols there is room for.
    pub symbols: usize,
    /// Prices a side whose shares make the imbalance, from 1.
    pub levels: usize,
    /// Whether it gets a part of the feed's frames, so that a jump in their numbers is no loss.
    pub part: bool,
    /// Frames in unbroken order after which a loss on the line counts as made good; 0: none.
    pub heals_after: u64,
}

impl FeedBookSpec {
    fn from_params(
        params: &mut Params,
        symbols: usize,
        depth: usize,
    ) -> Result<FeedBookSpec, Problem> {
        Ok(FeedBookSpec {
            symbols,
            levels: params.count("levels", 5.min(depth as u64), 1..=depth as u64)? as usize,
            part: params.flag("part", false)?,
            heals_after: params.count("heals_after", 0, 0..=u64::MAX)?,
        })
    }
}

/// Symbols and prices a side, of the settings.
fn room(params: &mut Params) -> Result<(usize, usize), Problem> {
    use crate::feed::books::{DEPTH_DEFAULT, DEPTH_MAX, SYMBOLS_DEFAULT, SYMBOLS_MAX};
    let (symbols, depth) = (SYMBOLS_DEFAULT as u64, DEPTH_DEFAULT as u64);
    let symbols = params.count("most_symbols", symbols, 1..=SYMBOLS_MAX as u64)?;
    let depth = params.count("depth", depth, 1..=DEPTH_MAX as u64)?;
    Ok((symbols as usize, depth as usize))
}

/// Books that would be too large.
fn too_large(params: &Params, error: BooksError) -> Problem {
    params.problem(
        "most_symbols",
        error.to_string(),
        "give it fewer symbols, fewer prices a side (depth) or fewer orders (most_orders)",
    )
}

/// The part of a top whose change is worth a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Shown {
    bid: (Price, Qty),
    ask: (Price, Qty),
    last_price: Price,
    imbalance_ppm: i32,
    state: BookState,
}

/// Keeps a book for each symbol of a feed; see this file's head.
#[derive(Debug)]
pub struct FeedBook<S> {
    books: Books<S>,
    shown: Box<[Shown]>,
    levels: usize,
    part: bool,
    heals_after: u64,
    /// The number that the next frame should have; none before the first.
    next: Option<u16>,
    /// Whether frames of this era were lost on the way here, and how many came in order since.
    broken: bool,
    unbroken: u64,
}

impl<S: FromFeed> FeedBook<S> {
    /// From a node's settings.
    ///
    /// # Errors
    /// A setting of the wrong type or out of bounds.
    pub fn from_params(params: &mut Params) -> Result<FeedBook<S>, Problem> {
        let (symbols, depth) = room(params)?;
        let common = FeedBookSpec::from_params(params, symbols, depth)?;
        Ok(FeedBook::over(S::books(params, symbols, depth)?, &common))
    }

    /// A stage over empty books, which come to lie on huge pages where the system gives them.
    #[must_use]
    pub fn over(books: Books<S>, spec: &FeedBookSpec) -> FeedBook<S> {
        lay_on_huge_pages(&books.spans());
        FeedBook {
            books,
            shown: vec![Shown::default(); spec.symbols].into_boxed_slice(),
            levels: spec.levels.max(1),
            part: spec.part,
            heals_after: spec.heals_after,
            next: None,
            broken: false,
            unbroken: 0,
        }
    }

    /// The books.
    #[must_use]
    pub fn books(&self) -> &Books<S> {
        &self.books
    }

    /// What all books are worth by what this frame says.
    #[inline]
    fn follow(&mut self, place: &Place) -> BookState {
        let jumped = self.next.is_some_and(|next| next != place.number) && !self.part;
        self.next = Some(place.number.wrapping_add(1));
        if place.begins {
            self.books.clear();
            self.shown.fill(Shown::default());
            (self.broken, self.unbroken) = (false, 0);
        } else if jumped {
            (self.broken, self.unbroken) = (true, 0);
        } else if self.broken {
            self.unbroken += 1;
            self.broken = self.heals_after == 0 || self.unbroken < self.heals_after;
        }
        // What was wrong before an era from 1 is over with it.
        let is_whole = place.state == State::Live || place.begins && place.sequence == 1;
        if is_whole && !self.broken {
            BookState::Live
        } else {
            BookState::Stale
        }
    }

    /// What is to be shown of a book.
    #[inline]
    fn show(&self, index: u32, last_price: Price, state: BookState) -> Shown {
        let (bids, asks) = (self.books.bids(index), self.books.asks(index));
        let best = |side: &Side<'_>| side.best().map_or((Price::ZERO, Qty::ZERO), scaled);
        let sum = |side: &Side<'_>| -> i128 {
            let levels = side.levels().take(self.levels);
            levels.map(|level| i128::from(level.shares)).sum()
        };
        let (bid_shares, ask_shares) = (sum(&bids), sum(&asks));
        let lean = ((bid_shares - ask_shares) * PPM).checked_div(bid_shares + ask_shares);
        Shown {
            bid: best(&bids),
            ask: best(&asks),
            last_price,
            // Between minus and plus a million.
            imbalance_ppm: lean.unwrap_or(0) as i32,
            state,
        }
    }
}

/// A level at the scale of the line's prices and quantities; what is beyond them stays at their largest.
#[inline]
fn scaled(level: Level) -> (Price, Qty) {
    let units = level.shares.saturating_mul(QTY_UNITS);
    (
        Price(level.price.saturating_mul(PRICE_UNITS)),
        Qty(i64::try_from(units).unwrap_or(i64::MAX)),
    )
}

impl<S: FromFeed> Stage for FeedBook<S> {
    type In = S::Frame;
    type Why = Why;
    const PORTS: &'static [Port] = &[Port::new::<Top>("top")];
    const COUNTS: &'static [Count<FeedBook<S>>] = &[
        ("applied", |book| book.books.counts().applied),
        ("passed", |book| book.books.counts().passed),
        ("hidden", |book| book.books.counts().hidden),
    ];

    fn memory_bytes(&self) -> usize {
        size_of_val(&*self.shown) + self.books.memory_bytes()
    }

    fn on_frame(&mut self, frame: View<'_, S::Frame>, cx: &mut Context<'_>) -> Outcome<Why> {
        let place = S::Frame::place(frame);
        let state = self.follow(&place);
        let (did, event_ms) = match S::apply(&mut self.books, frame) {
            Ok(did) => did,
            Err(why) => return Outcome::rejected(why),
        };
        let (index, traded) = match did {
            Did::Book(index) => (index, None),
            Did::Traded(index, price) => (index, Some(price)),
            Did::Part(_) => return Outcome::absorbed(Why::InEvent),
            Did::Nothing => return Outcome::absorbed(Why::NoBook),
        };
        let Some(before) = self.shown.get(index as usize).copied() else {
            return Outcome::rejected(Why::NoRoomForSymbol);
        };
        let last_price = traded.map_or(before.last_price, |price| {
            Price(price.saturating_mul(PRICE_UNITS))
        });
        let shown = self.show(index, last_price, state);
        if shown == before {
            return Outcome::absorbed(Why::Unchanged);
        }
        self.shown[index as usize] = shown;
        let top = Top {
            update_id: place.sequence,
            event_ms,
            bid: shown.bid.0,
            bid_qty: shown.bid.1,
            ask: shown.ask.0,
            ask_qty: shown.ask.1,
            last_price: shown.last_price,
            imbalance_ppm: shown.imbalance_ppm,
            dropped_levels: u32::try_from(self.books.counts().hidden).unwrap_or(u32::MAX),
            symbol: index as u16,
            state: shown.state,
        };
        cx.emit(TOP, &top);
        Outcome::done()
    }

    fn state_hash(&self) -> Option<u64> {
        Some(self.books.state_hash())
    }
}

/// What a set of books says of a message, where it is about one.
fn did(applied: Result<Applied, BookReject>) -> Result<Option<u32>, Why> {
    match applied {
        Ok(Applied::Book(index)) => Ok(Some(index)),
        Ok(Applied::Nothing) => Ok(None),
        Err(reject) => Err(Why::of(reject)),
    }
}
