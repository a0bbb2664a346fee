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
    #[inline(always)]
    fn of(key: &[u8]) -> Option<Field> {
        match key {
            [letter] => LETTERS.get(usize::from(*letter)).copied().flatten(),
            word => Field::of_word(word),
        }
    }

    fn of_word(key: &[u8]) -> Option<Field> {
        Some(match key {
            b"pu" => Field::Prev,
            b"lastUpdateId" => Field::SnapshotId,
            b"bids" => Field::Bids,
            b"asks" => Field::Asks,
            b"stream" => Field::Stream,
            b"data" => Field::Data,
            _ => return None,
        })
    }
}

/// The fields whose keys are one letter, by that letter.
static LETTERS: [Option<Field>; 128] = {
    let mut letters = [None; 128];
    letters[b'e' as usize] = Some(Field::Kind);
    letters[b'E' as usize] = Some(Field::Event);
    letters[b'T' as usize] = Some(Field::Transaction);
    letters[b's' as usize] = Some(Field::Symbol);
    letters[b'U' as usize] = Some(Field::First);
    letters[b'u' as usize] = Some(Field::Last);
    letters[b'a' as usize] = Some(Field::LowerA);
    letters[b'b' as usize] = Some(Field::LowerB);
    letters[b'A' as usize] = Some(Field::UpperA);
    letters[b'B' as usize] = Some(Field::UpperB);
    letters[b't' as usize] = Some(Field::TradeId);
    letters[b'p' as usize] = Some(Field::PriceOf);
    letters[b'q' as usize] = Some(Field::QtyOf);
    letters[b'm' as usize] = Some(Field::Maker);
    letters
};

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
#[derive(Default)]
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
    let (mut outer, mut inner) = (Spans::default(), Spans::default());
    let is_combined = locate(text, &mut outer, &mut inner)?;
    let stream = outer.0[Field::Stream as usize];
    Reader {
        text,
        fields: if is_combined { &inner } else { &outer },
        stream,
        names,
    }
    .message(levels)
}

/// Proves the grammar of the whole text, and finds the fields of its object and of the object that
/// is its `data`, if there is one: then it is the combined form.
fn locate(text: &[u8], outer: &mut Spans, inner: &mut Spans) -> Result<bool, Reject> {
    let mut scanner = Scanner::new(text);
    scanner.space();
    if scanner.peek() != Some(b'{') {
        scanner.skip_value(0)?;
        scanner.end()?;
        return Err(Reject::UnknownKind);
    }
    let mut is_combined = false;
    object(&mut scanner, text, outer, |scanner, field| {
        if matches!(field, Some(Field::Data)) {
            is_combined = scanner.peek() == Some(b'{');
            if is_combined {
                *inner = Spans::default();
                object(scanner, text, inner, |scanner, _| scanner.skip_value(2))?;
                return Ok(Span::default());
            }
        }
        scanner.skip_value(1)
    })?;
    scanner.end()?;
    Ok(is_combined)
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
    fields: &'a Spans,
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
        let kind = self.contents(kind)?.of(self.text);
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
            bid: self.price(self.needed(Field::LowerB)?)?,
            bid_qty: self.qty(self.needed(Field::UpperB)?)?,
            ask: self.price(self.needed(Field::LowerA)?)?,
            ask_qty: self.qty(self.needed(Field::UpperA)?)?,
            event_ms: self.integer_or_zero(Field::Event)?,
            transaction_ms: self.integer_or_zero(Field::Transaction)?,
        }))
    }

    fn trade(&self) -> Result<Shape, Reject> {
        Ok(Shape::Trade(Trade {
            trade_id: self.integer(Field::TradeId)?,
            symbol: self.symbol()?,
            price: self.price(self.needed(Field::PriceOf)?)?,
            qty: self.qty(self.needed(Field::QtyOf)?)?,
            event_ms: self.integer_or_zero(Field::Event)?,
            transaction_ms: self.integer_or_zero(Field::Transaction)?,
            buyer_is_maker: match self.needed(Field::Maker)?.of(self.text) {
                b"true" => 1,
                b"false" => 0,
                _ => return Err(Reject::WrongType),
            },
        }))
    }

    fn depth(&self, levels: &mut LevelStore) -> Result<Shape, Reject> {
        let prev = self
            .value(Field::Prev)
            .map(|prev| self.whole(prev))
            .transpose()?;
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

    /// Where the value of a field stands.
    #[inline(always)]
    fn value(&self, field: Field) -> Option<Span> {
        Some(self.fields.0[field as usize]).filter(|value| value.end > 0)
    }

    #[inline(always)]
    fn needed(&self, field: Field) -> Result<Span, Reject> {
        self.value(field).ok_or(Reject::MissingField)
    }

    fn integer(&self, field: Field) -> Result<u64, Reject> {
        self.whole(self.needed(field)?)
    }

    fn integer_or_zero(&self, field: Field) -> Result<u64, Reject> {
        self.value(field).map_or(Ok(0), |value| self.whole(value))
    }

    fn symbol(&self) -> Result<u16, Reject> {
        if let Some(name) = self.value(Field::Symbol) {
            let name = self.contents(name)?.of(self.text);
            return with_escapes(name, |name| self.names.named(name));
        }
        if self.stream == Span::default() {
            return self.names.unnamed(None);
        }
        let stream = self.contents(self.stream)?.of(self.text);
        with_escapes(stream, |name| self.names.unnamed(Some(name)))
    }

    /// What stands between the quotes of a value, which must be a string.
    #[inline(always)]
    fn contents(&self, value: Span) -> Result<Span, Reject> {
        let Span { start, end } = value;
        // The grammar is proven: what begins with a quote ends with another.
        if self.text[start as usize] == b'"' {
            Ok(Span {
                start: start + 1,
                end: end - 1,
            })
        } else {
            Err(Reject::WrongType)
        }
    }

    /// A value as a whole number of 64 bits.
    #[inline(always)]
    fn whole(&self, value: Span) -> Result<u64, Reject> {
        // Open at the end, because a number's last word is read fastest with text behind it.
        match digits::integer(&self.text[value.start as usize..]) {
            Some((number, len)) if len == value.len() => Ok(number),
            _ => whole_exactly(value.of(self.text)),
        }
    }

    /// A value as a number in units of 1e-8.
    #[inline(always)]
    fn units(&self, value: Span) -> Result<i64, Reject> {
        let contents = self.contents(value)?;
        match digits::decimal(&self.text[contents.start as usize..]) {
            Some((units, len)) if len == contents.len() => Ok(units),
            // A number has at most 21 characters of weight; one that needs more escapes is none.
            _ => with_escapes(contents.of(self.text), |text| Ok(Price::parse(text)?.0)),
        }
    }

    fn price(&self, value: Span) -> Result<Price, Reject> {
        Ok(Price(self.units(value)?))
    }

    fn qty(&self, value: Span) -> Result<Qty, Reject> {
        let qty = Qty(self.units(value)?);
        if qty.is_negative() {
            Err(Reject::WrongType)
        } else {
            Ok(qty)
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
        self.side(self.needed(bids)?, levels)?;
        let bids = levels.len();
        self.side(self.needed(asks)?, levels)?;
        counted(bids, levels.len() - bids)
    }

    /// Reads a list of levels.
    fn side(&self, list: Span, levels: &mut LevelStore) -> Result<(), Reject> {
        let before = levels.len();
        if predict::list(&self.text[list.start as usize..], list.len(), levels).is_some() {
            return Ok(());
        }
        levels.truncate(before);
        let mut scanner = Scanner::between(self.text, list);
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
            if scanner.peek() == Some(b']') {
                return Err(Reject::WrongType);
            }
            let price = self.price(scanner.skip_value(0)?)?;
            scanner.space();
            if !scanner.take(b',') {
                return Err(Reject::WrongType);
            }
            scanner.space();
            let qty = self.qty(scanner.skip_value(0)?)?;
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

/// A value as a whole number of 64 bits, digit by digit.
#[cold]
fn whole_exactly(value: &[u8]) -> Result<u64, Reject> {
    if !value.iter().all(u8::is_ascii_digit) {
        return Err(Reject::WrongType);
    }
    let digit = |number: u64, b: &u8| number.checked_mul(10)?.checked_add(u64::from(b - b'0'));
    value.iter().try_fold(0, digit).ok_or(Reject::BeyondScale)
}

/// What `read` makes of a text; of one that it refuses as written, with its escapes resolved.
#[inline(always)]
fn with_escapes<T>(written: &[u8], read: impl Fn(&[u8]) -> Result<T, Reject>) -> Result<T, Reject> {
    read(written).or_else(|reject| {
        let mut buffer = [0; ESCAPED_BYTES_MAX];
        read(resolve(written, &mut buffer).ok_or(reject)?)
    })
}
