//! The rules of the exchange's messages: find the fields, then read what the kind needs.
//!
//! Two steps, because a key's meaning depends on the kind (`b` is a price, a list of levels, or a
//! buyer's order id), and the kind may stand behind it.
//!
//! Invariant: a message's grammar is proven to its end before any of its fields is read.

use crate::base::Reject;
use crate::base::limits::FRAGMENTS_MAX;
use crate::feed::binance::{LevelStore, Names, Shape};
use crate::feed::decimal::{Price, Qty};
use crate::feed::digits;
use crate::feed::market::{BookTicker, DepthHead, SnapshotHead, Trade, frames_needed};
use crate::feed::predict;
use crate::feed::scanner::{Scanner, Span, is_blank, resolve};

/// Longest text, in bytes, of a string with escapes that can still mean something: longer than any
/// key, symbol or stream name. The exchange writes none of these with escapes.
const ESCAPED_BYTES_MAX: usize = 64;

/// The fields that some kind reads.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Field {
    Kind,
    Event,
    Transaction,
    Symbol,
    First,
    Last,
    Prev,
    LowerA,
    LowerB,
    UpperA,
    UpperB,
    TradeId,
    PriceOf,
    QtyOf,
    Maker,
    SnapshotId,
    Bids,
    Asks,
    Stream,
    Data,
}

const FIELDS: usize = Field::Data as usize + 1;

impl Field {
    fn of(key: &[u8]) -> Option<Field> {
        Some(match key {
            b"e" => Field::Kind,
            b"E" => Field::Event,
            b"T" => Field::Transaction,
            b"s" => Field::Symbol,
            b"U" => Field::First,
            b"u" => Field::Last,
            b"pu" => Field::Prev,
            b"a" => Field::LowerA,
            b"b" => Field::LowerB,
            b"A" => Field::UpperA,
            b"B" => Field::UpperB,
            b"t" => Field::TradeId,
            b"p" => Field::PriceOf,
            b"q" => Field::QtyOf,
            b"m" => Field::Maker,
            b"lastUpdateId" => Field::SnapshotId,
            b"bids" => Field::Bids,
            b"asks" => Field::Asks,
            b"stream" => Field::Stream,
            b"data" => Field::Data,
            _ => return None,
        })
    }
}

/// The kinds that `e` names.
enum Kind {
    BookTicker,
    Trade,
    Depth,
}

impl Kind {
    fn of(name: &[u8]) -> Option<Kind> {
        match name {
            b"bookTicker" => Some(Kind::BookTicker),
            b"trade" => Some(Kind::Trade),
            b"depthUpdate" => Some(Kind::Depth),
            _ => None,
        }
    }
}

/// Where the values of an object's known fields stand; a value is never empty, so an empty span is
/// an absent field.
#[derive(Clone, Copy, Default)]
struct Spans([Span; FIELDS]);

/// The message that `text` writes, by the full rules.
#[inline(never)]
pub(crate) fn message(
    text: &[u8],
    names: &Names,
    levels: &mut LevelStore,
) -> Result<Shape, Reject> {
    if text.iter().copied().all(is_blank) {
        return Err(Reject::Empty);
    }
    if !text.is_ascii()
        && let Err(fault) = core::str::from_utf8(text)
    {
        return Err(match fault.error_len() {
            Some(_) => Reject::NotUtf8,
            None => Reject::Truncated,
        });
    }
    let (fields, stream) = locate(text)?;
    Reader {
        text,
        fields,
        stream,
        names,
    }
    .message(levels)
}

/// Proves the grammar of the whole text, and finds the message's fields and its stream's name.
fn locate(text: &[u8]) -> Result<(Spans, Span), Reject> {
    let mut scanner = Scanner::new(text);
    scanner.space();
    if scanner.peek() != Some(b'{') {
        scanner.skip_value(0)?;
        scanner.end()?;
        return Err(Reject::UnknownKind);
    }
    let mut outer = Spans::default();
    let mut inner = None;
    object(&mut scanner, text, &mut outer, |scanner, field| {
        let is_data = matches!(field, Some(Field::Data));
        if is_data && scanner.peek() == Some(b'{') {
            let mut data = Spans::default();
            object(scanner, text, &mut data, |scanner, _| scanner.skip_value(2))?;
            inner = Some(data);
            return Ok(Span::default());
        }
        if is_data {
            inner = None;
        }
        scanner.skip_value(1)
    })?;
    scanner.end()?;
    let stream = outer.0[Field::Stream as usize];
    Ok((inner.unwrap_or(outer), stream))
}

/// Goes past an object whose brace is here, and notes the spans that `value` returns for its known fields.
#[inline(always)]
fn object<'a>(
    scanner: &mut Scanner<'a>,
    text: &'a [u8],
    spans: &mut Spans,
    mut value: impl FnMut(&mut Scanner<'a>, Option<Field>) -> Result<Span, Reject>,
) -> Result<(), Reject> {
    scanner.expect(b'{')?;
    scanner.space();
    if scanner.take(b'}') {
        return Ok(());
    }
    loop {
        let key = scanner.key()?.of(text);
        let field = Field::of(key).or_else(|| {
            // An unknown key is one that is known when its escapes are resolved, or none.
            let mut buffer = [0; ESCAPED_BYTES_MAX];
            resolve(key, &mut buffer).and_then(Field::of)
        });
        let span = value(scanner, field)?;
        if let Some(field) = field {
            spans.0[field as usize] = span;
        }
        scanner.space();
        if !scanner.take(b',') {
            return scanner.expect(b'}');
        }
        scanner.space();
    }
}

/// The fields of one message, and how to read each type.
struct Reader<'a> {
    text: &'a [u8],
    fields: Spans,
    stream: Span,
    names: &'a Names,
}

impl<'a> Reader<'a> {
    fn message(&self, levels: &mut LevelStore) -> Result<Shape, Reject> {
        let Some(kind) = self.value(Field::Kind) else {
            return if self.value(Field::SnapshotId).is_some() {
                self.snapshot(levels)
            } else if self.is_bare_book_ticker() {
                self.book_ticker()
            } else {
                Err(Reject::UnknownKind)
            };
        };
        let kind = contents(kind)?;
        let kind = Kind::of(kind).or_else(|| {
            let mut buffer = [0; ESCAPED_BYTES_MAX];
            resolve(kind, &mut buffer).and_then(Kind::of)
        });
        match kind.ok_or(Reject::UnknownKind)? {
            Kind::BookTicker => self.book_ticker(),
            Kind::Trade => self.trade(),
            Kind::Depth => self.depth(levels),
        }
    }

    fn is_bare_book_ticker(&self) -> bool {
        let needs = [
            Field::Last,
            Field::LowerB,
            Field::UpperB,
            Field::LowerA,
            Field::UpperA,
        ];
        needs.into_iter().all(|field| self.value(field).is_some())
    }

    fn book_ticker(&self) -> Result<Shape, Reject> {
        Ok(Shape::BookTicker(BookTicker {
            update_id: self.integer(Field::Last)?,
            symbol: self.symbol()?,
            bid: price(self.needed(Field::LowerB)?)?,
            bid_qty: qty(self.needed(Field::UpperB)?)?,
            ask: price(self.needed(Field::LowerA)?)?,
            ask_qty: qty(self.needed(Field::UpperA)?)?,
            event_ms: self.integer_or_zero(Field::Event)?,
            transaction_ms: self.integer_or_zero(Field::Transaction)?,
        }))
    }

    fn trade(&self) -> Result<Shape, Reject> {
        Ok(Shape::Trade(Trade {
            trade_id: self.integer(Field::TradeId)?,
            symbol: self.symbol()?,
            price: price(self.needed(Field::PriceOf)?)?,
            qty: qty(self.needed(Field::QtyOf)?)?,
            event_ms: self.integer_or_zero(Field::Event)?,
            transaction_ms: self.integer_or_zero(Field::Transaction)?,
            buyer_is_maker: match self.needed(Field::Maker)? {
                b"true" => 1,
                b"false" => 0,
                _ => return Err(Reject::WrongType),
            },
        }))
    }

    fn depth(&self, levels: &mut LevelStore) -> Result<Shape, Reject> {
        let prev = self.value(Field::Prev).map(integer).transpose()?;
        let mut head = DepthHead {
            first_id: self.integer(Field::First)?,
            last_id: self.integer(Field::Last)?,
            prev_id: prev.unwrap_or(0),
            event_ms: self.integer_or_zero(Field::Event)?,
            transaction_ms: self.integer_or_zero(Field::Transaction)?,
            symbol: self.symbol()?,
            bids: 0,
            asks: 0,
            has_prev: u8::from(prev.is_some()),
        };
        (head.bids, head.asks) = self.sides(Field::LowerB, Field::LowerA, levels)?;
        Ok(Shape::Depth(head))
    }

    fn snapshot(&self, levels: &mut LevelStore) -> Result<Shape, Reject> {
        let mut head = SnapshotHead {
            last_id: self.integer(Field::SnapshotId)?,
            event_ms: self.integer_or_zero(Field::Event)?,
            transaction_ms: self.integer_or_zero(Field::Transaction)?,
            symbol: self.symbol()?,
            bids: 0,
            asks: 0,
        };
        (head.bids, head.asks) = self.sides(Field::Bids, Field::Asks, levels)?;
        Ok(Shape::Snapshot(head))
    }

    /// The value of a field, as it is written.
    fn value(&self, field: Field) -> Option<&'a [u8]> {
        Some(self.fields.0[field as usize].of(self.text)).filter(|value| !value.is_empty())
    }

    fn needed(&self, field: Field) -> Result<&'a [u8], Reject> {
        self.value(field).ok_or(Reject::MissingField)
    }

    fn integer(&self, field: Field) -> Result<u64, Reject> {
        integer(self.needed(field)?)
    }

    fn integer_or_zero(&self, field: Field) -> Result<u64, Reject> {
        self.value(field).map_or(Ok(0), integer)
    }

    fn symbol(&self) -> Result<u16, Reject> {
        if let Some(name) = self.value(Field::Symbol) {
            return with_escapes(contents(name)?, |name| self.names.named(name));
        }
        match self.stream.of(self.text) {
            [] => self.names.unnamed(None),
            stream => with_escapes(contents(stream)?, |name| self.names.unnamed(Some(name))),
        }
    }

    /// Reads both sides into the store, and says how many levels each has.
    fn sides(
        &self,
        bids: Field,
        asks: Field,
        levels: &mut LevelStore,
    ) -> Result<(u16, u16), Reject> {
        levels.truncate(0);
        side(self.needed(bids)?, levels)?;
        let bids = levels.len();
        side(self.needed(asks)?, levels)?;
        counted(bids, levels.len() - bids)
    }
}

/// Both counts, if their fragments are not too many.
#[inline]
pub(crate) fn counted(bids: usize, asks: usize) -> Result<(u16, u16), Reject> {
    if frames_needed(bids, asks) > FRAGMENTS_MAX {
        return Err(Reject::TooManyLevels);
    }
    // Both are below the store's bound, which `market` ties to 16 bits.
    Ok((bids as u16, asks as u16))
}

/// Reads a list of levels, whose grammar is proven.
fn side(list: &[u8], levels: &mut LevelStore) -> Result<(), Reject> {
    let before = levels.len();
    if predict::list(list, levels).is_some() {
        return Ok(());
    }
    levels.truncate(before);
    let mut scanner = Scanner::new(list);
    if !scanner.take(b'[') {
        return Err(Reject::WrongType);
    }
    scanner.space();
    if scanner.take(b']') {
        return Ok(());
    }
    loop {
        if !scanner.take(b'[') {
            return Err(Reject::WrongType);
        }
        scanner.space();
        if scanner.peek() != Some(b'"') {
            return Err(Reject::WrongType);
        }
        let price = price(scanner.skip_value(0)?.of(list))?;
        scanner.space();
        if !scanner.take(b',') {
            return Err(Reject::WrongType);
        }
        scanner.space();
        let qty = qty(scanner.skip_value(0)?.of(list))?;
        scanner.space();
        while scanner.take(b',') {
            scanner.space();
            scanner.skip_value(0)?;
            scanner.space();
        }
        scanner.expect(b']')?;
        levels.push(price, qty)?;
        scanner.space();
        if !scanner.take(b',') {
            return scanner.expect(b']');
        }
        scanner.space();
    }
}

/// What stands between the quotes of a value, which must be a string.
fn contents(value: &[u8]) -> Result<&[u8], Reject> {
    match value {
        [b'"', contents @ .., b'"'] => Ok(contents),
        _ => Err(Reject::WrongType),
    }
}

/// A value as a whole number of 64 bits.
fn integer(value: &[u8]) -> Result<u64, Reject> {
    if let Some((number, len)) = digits::integer(value)
        && len == value.len()
    {
        return Ok(number);
    }
    if !value.iter().all(u8::is_ascii_digit) {
        return Err(Reject::WrongType);
    }
    let digit = |number: u64, b: &u8| number.checked_mul(10)?.checked_add(u64::from(b - b'0'));
    value.iter().try_fold(0, digit).ok_or(Reject::BeyondScale)
}

fn price(value: &[u8]) -> Result<Price, Reject> {
    with_escapes(contents(value)?, Price::parse)
}

fn qty(value: &[u8]) -> Result<Qty, Reject> {
    let qty = with_escapes(contents(value)?, Qty::parse)?;
    if qty.is_negative() {
        Err(Reject::WrongType)
    } else {
        Ok(qty)
    }
}

/// What `read` makes of a text; of one that it refuses as written, with its escapes resolved.
#[inline(always)]
fn with_escapes<T>(written: &[u8], read: impl Fn(&[u8]) -> Result<T, Reject>) -> Result<T, Reject> {
    read(written).or_else(|reject| {
        let mut buffer = [0; ESCAPED_BYTES_MAX];
        read(resolve(written, &mut buffer).ok_or(reject)?)
    })
}
