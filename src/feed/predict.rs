//! The usual order of keys, byte for byte: the exchange writes each kind always in the same way, so
//! most of a message is known before it is read.
//!
//! Invariant: a prediction only accepts, and only what `fields` would accept with the same result.
//! `None` says nothing about the message. Every byte is compared or read, and text between quotes
//! stops at anything that is not plain ASCII, so no check of UTF-8 is left to do.
//!
//! Measured by `benches/decode.rs`.

use crate::feed::binance::{LevelStore, Names, Shape};
use crate::feed::decimal::{Price, Qty};
use crate::feed::digits;
use crate::feed::fields::counted;
use crate::feed::market::{BookTicker, DepthHead, SnapshotHead, Trade};
use crate::feed::scanner::plain_ascii_len;

/// The message that `text` writes, if it does so in the usual way.
#[inline]
pub(crate) fn message(text: &[u8], names: &Names, levels: &mut LevelStore) -> Option<Shape> {
    let mut at = Cursor { rest: text };
    let stream = if at.take(br#"{"stream":""#) {
        let stream = at.plain_text()?;
        at.literal(br#"","data":"#)?;
        Some(stream)
    } else {
        None
    };
    let shape = if at.take(br#"{"e":"bookTicker","u":"#) {
        book_ticker(&mut at, names)?
    } else if at.take(br#"{"e":"trade","E":"#) {
        trade(&mut at, names)?
    } else if at.take(br#"{"e":"depthUpdate","E":"#) {
        depth(&mut at, names, levels)?
    } else if at.take(br#"{"lastUpdateId":"#) {
        snapshot(&mut at, names, levels, stream)?
    } else {
        return None;
    };
    if stream.is_some() {
        at.literal(b"}")?;
    }
    at.rest.is_empty().then_some(shape)
}

/// `…,"s":"…","b":"…","B":"…","a":"…","A":"…","T":…,"E":…}`
#[inline(always)]
fn book_ticker(at: &mut Cursor<'_>, names: &Names) -> Option<Shape> {
    let update_id = at.integer()?;
    at.literal(br#","s":""#)?;
    let symbol = names.named(at.plain_text()?).ok()?;
    at.literal(br#"","b":""#)?;
    let bid = at.price()?;
    at.literal(br#"","B":""#)?;
    let bid_qty = at.qty()?;
    at.literal(br#"","a":""#)?;
    let ask = at.price()?;
    at.literal(br#"","A":""#)?;
    let ask_qty = at.qty()?;
    at.literal(br#"","T":"#)?;
    let transaction_ms = at.integer()?;
    at.literal(br#","E":"#)?;
    let event_ms = at.integer()?;
    at.literal(b"}")?;
    Some(Shape::BookTicker(BookTicker {
        update_id,
        bid,
        bid_qty,
        ask,
        ask_qty,
        event_ms,
        transaction_ms,
        symbol,
    }))
}

/// `…,"T":…,"s":"…","t":…,"p":"…","q":"…","X":"…","m":…}`, where `X` may be absent.
#[inline(always)]
fn trade(at: &mut Cursor<'_>, names: &Names) -> Option<Shape> {
    let event_ms = at.integer()?;
    at.literal(br#","T":"#)?;
    let transaction_ms = at.integer()?;
    at.literal(br#","s":""#)?;
    let symbol = names.named(at.plain_text()?).ok()?;
    at.literal(br#"","t":"#)?;
    let trade_id = at.integer()?;
    at.literal(br#","p":""#)?;
    let price = at.price()?;
    at.literal(br#"","q":""#)?;
    let qty = at.qty()?;
    if at.take(br#"","X":""#) {
        at.plain_text()?;
    }
    at.literal(br#"","m":"#)?;
    let buyer_is_maker = u8::from(at.take(b"true}"));
    if buyer_is_maker == 0 {
        at.literal(b"false}")?;
    }
    Some(Shape::Trade(Trade {
        trade_id,
        price,
        qty,
        event_ms,
        transaction_ms,
        symbol,
        buyer_is_maker,
    }))
}

/// `…,"T":…,"s":"…","U":…,"u":…,"pu":…,"b":[…],"a":[…]}`
#[inline(always)]
fn depth(at: &mut Cursor<'_>, names: &Names, levels: &mut LevelStore) -> Option<Shape> {
    let event_ms = at.integer()?;
    at.literal(br#","T":"#)?;
    let transaction_ms = at.integer()?;
    at.literal(br#","s":""#)?;
    let symbol = names.named(at.plain_text()?).ok()?;
    at.literal(br#"","U":"#)?;
    let first_id = at.integer()?;
    at.literal(br#","u":"#)?;
    let last_id = at.integer()?;
    at.literal(br#","pu":"#)?;
    let prev_id = at.integer()?;
    levels.truncate(0);
    at.literal(br#","b":["#)?;
    at.levels(levels)?;
    let bids = levels.len();
    at.literal(br#","a":["#)?;
    at.levels(levels)?;
    at.literal(b"}")?;
    let (bids, asks) = counted(bids, levels.len() - bids).ok()?;
    Some(Shape::Depth(DepthHead {
        first_id,
        last_id,
        prev_id,
        event_ms,
        transaction_ms,
        symbol,
        bids,
        asks,
        has_prev: 1,
    }))
}

/// `…,"E":…,"T":…,"bids":[…],"asks":[…]}`
fn snapshot(
    at: &mut Cursor<'_>,
    names: &Names,
    levels: &mut LevelStore,
    stream: Option<&[u8]>,
) -> Option<Shape> {
    let last_id = at.integer()?;
    at.literal(br#","E":"#)?;
    let event_ms = at.integer()?;
    at.literal(br#","T":"#)?;
    let transaction_ms = at.integer()?;
    levels.truncate(0);
    at.literal(br#","bids":["#)?;
    at.levels(levels)?;
    let bids = levels.len();
    at.literal(br#","asks":["#)?;
    at.levels(levels)?;
    at.literal(b"}")?;
    let (bids, asks) = counted(bids, levels.len() - bids).ok()?;
    Some(Shape::Snapshot(SnapshotHead {
        last_id,
        event_ms,
        transaction_ms,
        symbol: names.unnamed(stream).ok()?,
        bids,
        asks,
    }))
}

/// Reads a list of levels of `len` bytes at the start of `text`, if it is written in the usual way.
#[inline]
pub(crate) fn list(text: &[u8], len: usize, levels: &mut LevelStore) -> Option<()> {
    let mut at = Cursor { rest: text };
    at.literal(b"[")?;
    at.levels(levels)?;
    (text.len() - at.rest.len() == len).then_some(())
}

/// What is left of a message.
struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// Goes past `expected`, if it is here.
    #[inline(always)]
    fn take<const N: usize>(&mut self, expected: &[u8; N]) -> bool {
        match self.rest.split_first_chunk::<N>() {
            Some((here, rest)) if here == expected => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// Goes past `expected`, which must be here.
    #[inline(always)]
    fn literal<const N: usize>(&mut self, expected: &[u8; N]) -> Option<()> {
        self.take(expected).then_some(())
    }

    /// Goes past `len` bytes.
    #[inline(always)]
    fn skip(&mut self, len: usize) -> Option<&'a [u8]> {
        let (skipped, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(skipped)
    }

    #[inline(always)]
    fn integer(&mut self) -> Option<u64> {
        let (value, len) = digits::integer(self.rest)?;
        self.skip(len)?;
        Some(value)
    }

    #[inline(always)]
    fn price(&mut self) -> Option<Price> {
        let (units, len) = digits::decimal(self.rest)?;
        self.skip(len)?;
        Some(Price(units))
    }

    #[inline(always)]
    fn qty(&mut self) -> Option<Qty> {
        let (units, len) = digits::decimal(self.rest)?;
        self.skip(len)?;
        Some(Qty(units))
    }

    /// Goes up to the quote that ends a string of plain ASCII.
    #[inline(always)]
    fn plain_text(&mut self) -> Option<&'a [u8]> {
        let mut len = 0;
        loop {
            let plain = plain_ascii_len(digits::load(self.rest.get(len..)?));
            len += plain;
            if plain < 8 {
                break;
            }
        }
        if self.rest.get(len) == Some(&b'"') {
            self.skip(len)
        } else {
            None
        }
    }

    /// Reads a list of levels, whose opening bracket is behind.
    #[inline(always)]
    fn levels(&mut self, levels: &mut LevelStore) -> Option<()> {
        if self.take(b"]") {
            return Some(());
        }
        loop {
            self.literal(br#"[""#)?;
            let price = self.price()?;
            self.literal(br#"",""#)?;
            let qty = self.qty()?;
            self.literal(br#""]"#)?;
            levels.push(price, qty).ok()?;
            if !self.take(b",") {
                return self.literal(b"]");
            }
        }
    }
}
