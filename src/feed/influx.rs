//! Influx line protocol, a line at a time.
//!
//! ```text
//! measurement[,tag=value…] field=value[,field=value…] [nanoseconds]
//! ```
//! Values: `1.5` a double, `1i` signed, `1u` unsigned, `"text"`, and `t`, `true`, `f`, `false` in three
//! spellings. A line that begins with `#` is a comment.
//!
//! The sources of these rules are InfluxData's page "Line protocol" and, where it leaves a choice,
//! its parser in Rust, the crate `influxdb-line-protocol`, against which this one is tested:
//! - A backslash takes the meaning from the next byte: from a comma, a blank or itself in a
//!   measurement, also from an equal sign in keys and tag values, from a quote or itself in a text.
//!   Before anything else it is a byte like others. None of the first three may end with one.
//! - A key may hold commas that are not escaped; a text and an escape may hold line feeds.
//! - Blanks part measurement, fields and time, one or more; behind the fields they need a time.
//! - A double is `-?digits[.digits][e±digits]`: no plus sign, a digit on both sides of a point.
//!
//! It differs where it must: an overflow of a double is refused, not taken as infinite; so is a comma
//! behind the last field, which that parser takes if there is one field only; a carriage return ends
//! a line together with its line feed; a quote in a comment opens no text.
//!
//! A line is refused for, in this order: [`Reject::TooLong`], [`Reject::Empty`], [`Reject::NotUtf8`];
//! then for what is met first: [`Reject::EmptyName`], [`Reject::NameTooLong`], [`Reject::BadEscape`],
//! [`Reject::BadTags`], [`Reject::TagsTooLong`], [`Reject::MissingField`] where a field should be,
//! [`Reject::Truncated`] for a text without its end, [`Reject::WrongType`], [`Reject::NotFinite`],
//! [`Reject::BeyondScale`], [`Reject::BadTime`], [`Reject::BadLine`] for anything behind.
//!
//! Invariant: views only, no memory is taken, each byte of a line is looked at a fixed number of times.

mod ends;
mod text;

pub use ends::{Ends, Lines};
pub use text::{Text, Unescaped};

use crate::base::Reject;
use crate::feed::sample::{Class, Number, Numbers, Sample, TagForm, TagSet, unescaped};
use crate::feed::text::{check_line, check_name, check_tags};
use crate::feed::{look, number};

/// One line: fields of a measurement at a time.
#[derive(Clone, Copy, Debug)]
pub struct Point<'a> {
    /// What was measured; never empty.
    pub measurement: Text<'a>,
    /// When, in nanoseconds since 1970, if that is said.
    pub at_ns: Option<i64>,
    tags: &'a [u8],
    fields: &'a [u8],
}

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FieldValue<'a> {
    /// A double; finite.
    Float(f64),
    /// `i`: signed.
    Int(i64),
    /// `u`: unsigned.
    Uint(u64),
    /// `true` or `false`.
    Bool(bool),
    /// A text without its quotes.
    Text(Text<'a>),
}

impl FieldValue<'_> {
    /// As a number: `true` is 1, `false` is 0, beyond 2^53 to the nearest double; `None` for a text.
    #[inline]
    #[must_use]
    pub const fn number(self) -> Option<f64> {
        match self {
            FieldValue::Float(value) => Some(value),
            FieldValue::Int(value) => Some(value as f64),
            FieldValue::Uint(value) => Some(value as f64),
            FieldValue::Bool(value) => Some(if value { 1.0 } else { 0.0 }),
            FieldValue::Text(_) => None,
        }
    }
}

impl<'a> Point<'a> {
    /// The tags as sent.
    #[inline]
    #[must_use]
    pub const fn tag_set(&self) -> TagSet<'a> {
        TagSet {
            bytes: self.tags,
            form: TagForm::Escaped,
        }
    }

    /// Keys and values of the tags, in the order of the line.
    pub fn tags(&self) -> impl Iterator<Item = (Text<'a>, Text<'a>)> + Clone + use<'a> {
        self.tag_set().iter().map(|tag| {
            let (key, value) = tag.pair();
            (Text::key(key), Text::key(value))
        })
    }

    /// Keys and values of the fields, in the order of the line; at least one.
    #[inline]
    #[must_use]
    pub const fn fields(&self) -> Fields<'a> {
        Fields { rest: self.fields }
    }

    /// What an aggregate takes: a gauge for each field that is a number.
    pub fn samples(&self) -> Samples<'a> {
        Samples {
            name: self.measurement.raw(),
            tags: self.tag_set(),
            at_ns: self.since_1970_ns(),
            fields: self.fields(),
        }
    }

    /// Its time; what was before 1970 is too late for any window.
    #[inline]
    #[must_use]
    pub(crate) fn since_1970_ns(&self) -> Option<u64> {
        self.at_ns.map(|ns| u64::try_from(ns).unwrap_or(0))
    }
}

/// The fields of a line that are numbers, as an aggregate takes them.
#[derive(Clone, Copy, Debug)]
pub struct Samples<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) tags: TagSet<'a>,
    pub(crate) at_ns: Option<u64>,
    pub(crate) fields: Fields<'a>,
}

impl<'a> Iterator for Samples<'a> {
    type Item = Sample<'a>;

    #[inline]
    fn next(&mut self) -> Option<Sample<'a>> {
        loop {
            let (key, value) = self.fields.next()?;
            if let Some(value) = value.number() {
                return Some(Sample {
                    name: self.name,
                    field: key.raw(),
                    tags: self.tags,
                    class: Class::Gauge,
                    values: Numbers::one(Number::plain(value)),
                    member: b"",
                    rate: 1.0,
                    at_ns: self.at_ns,
                });
            }
        }
    }
}

/// The fields of a [`Point`], which were all checked before.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Their bytes.
    #[inline]
    #[must_use]
    pub(crate) const fn raw(self) -> &'a [u8] {
        self.rest
    }

    /// Of bytes that were checked before; what is no field ends them.
    #[inline]
    #[must_use]
    pub(crate) const fn checked(raw: &'a [u8]) -> Fields<'a> {
        Fields { rest: raw }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (Text<'a>, FieldValue<'a>);

    #[inline]
    fn next(&mut self) -> Option<(Text<'a>, FieldValue<'a>)> {
        if self.rest.is_empty() {
            return None;
        }
        let (key, value, rest) = field(self.rest).ok()?;
        self.rest = rest.get(1..).unwrap_or(b"");
        Some((key, value))
    }
}

/// What a line says; it has no line end.
///
/// ```
/// use hopline::feed::influx::{self, FieldValue};
/// let point = influx::parse(br#"cpu\ load,host=a user=0.5,procs=12i,note="a \"b\"" 1700000000000000000"#).unwrap();
/// assert!(point.measurement.bytes().eq(*b"cpu load"));
/// assert_eq!(point.tags().map(|(key, _)| key.raw()).collect::<Vec<_>>(), [b"host"]);
/// let values: Vec<FieldValue> = point.fields().map(|(_, value)| value).collect();
/// assert_eq!(values[..2], [FieldValue::Float(0.5), FieldValue::Int(12)]);
/// assert_eq!(point.at_ns, Some(1_700_000_000_000_000_000));
/// ```
///
/// # Errors
/// Why it is refused; this file's head lists the reasons. [`Reject::Empty`] also for a comment.
#[inline]
pub fn parse(line: &[u8]) -> Result<Point<'_>, Reject> {
    check_line(line)?;
    let line = ends::without_blanks(line);
    if matches!(line, [] | [b'#', ..]) {
        return Err(Reject::Empty);
    }
    let (measurement, rest) = token(line, |byte| is_blank(byte) || matches!(byte, b',' | 0))?;
    check_name(measurement)?;
    let (tags, rest) = match rest {
        [b',', rest @ ..] => tags(rest)?,
        rest => (&b""[..], rest),
    };
    let fields = match rest {
        [] => return Err(Reject::MissingField),
        [b' ', ..] => past_blanks(rest),
        _ => return Err(Reject::BadLine),
    };
    let mut rest = fields;
    loop {
        let (_, _, after) = field(rest)?;
        match after {
            [b',', next @ ..] => rest = next,
            after => {
                let fields = &fields[..fields.len() - after.len()];
                return Ok(Point {
                    measurement: Text::measurement(measurement),
                    at_ns: time(after)?,
                    tags,
                    fields,
                });
            }
        }
    }
}

/// What ends a name or a key wherever it stands.
#[inline(always)]
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n')
}

/// Goes past blanks that part.
#[inline]
fn past_blanks(text: &[u8]) -> &[u8] {
    let at = text.iter().position(|byte| *byte != b' ');
    let at = at.unwrap_or(text.len());
    look::passed(at);
    &text[at..]
}

/// What stands before the first byte that ends it and is not escaped, and the rest from that byte on.
#[inline(always)]
fn token(text: &[u8], ends: impl Fn(u8) -> bool) -> Result<(&[u8], &[u8]), Reject> {
    let mut at = 0;
    let mut ends_escaped = false;
    while let Some(&byte) = text.get(at) {
        if ends(byte) {
            break;
        }
        if byte == b'\\' {
            // A pair of backslashes is one, and a last one alone is itself.
            ends_escaped = matches!(text.get(at + 1), Some(b'\\') | None);
            at += 2;
        } else {
            ends_escaped = false;
            at += 1;
        }
    }
    look::passed(at);
    if ends_escaped {
        return Err(Reject::BadEscape);
    }
    Ok(text.split_at(at.min(text.len())))
}

/// All tags, and the rest behind them.
#[inline]
fn tags(text: &[u8]) -> Result<(&[u8], &[u8]), Reject> {
    let mut rest = text;
    loop {
        let (key, after) = token(rest, |byte| is_blank(byte) || byte == b'=')?;
        let [b'=', value @ ..] = after else {
            return Err(Reject::BadTags);
        };
        let (value, after) = token(value, |byte| is_blank(byte) || byte == b',')?;
        if key.is_empty() || value.is_empty() {
            return Err(Reject::BadTags);
        }
        match after {
            [b',', next @ ..] => rest = next,
            after => {
                let tags = &text[..text.len() - after.len()];
                check_tags(tags, b',')?;
                return Ok((tags, after));
            }
        }
    }
}

/// A field's key and value, and the rest behind them.
#[inline]
fn field(text: &[u8]) -> Result<(Text<'_>, FieldValue<'_>, &[u8]), Reject> {
    let (key, after) = token(text, |byte| is_blank(byte) || byte == b'=')?;
    let [b'=', text @ ..] = after else {
        return Err(Reject::MissingField);
    };
    if key.is_empty() {
        return Err(Reject::MissingField);
    }
    check_name(key)?;
    let key = Text::key(key);
    if let [b'"', text @ ..] = text {
        let end = unescaped(text, b'"').ok_or(Reject::Truncated)?;
        let value = FieldValue::Text(Text::quoted(&text[..end]));
        return Ok((key, value, &text[end + 1..]));
    }
    let end = look::find2(b',', b' ', text).unwrap_or(text.len());
    let (value, rest) = text.split_at(end);
    Ok((key, literal(value)?, rest))
}

/// A value that is no text.
#[inline]
fn literal(text: &[u8]) -> Result<FieldValue<'_>, Reject> {
    Ok(match text {
        [digits @ .., b'i'] => FieldValue::Int(number::signed(digits)?),
        [digits @ .., b'u'] => FieldValue::Uint(number::whole(digits)?),
        b"t" | b"T" | b"true" | b"True" | b"TRUE" => FieldValue::Bool(true),
        b"f" | b"F" | b"false" | b"False" | b"FALSE" => FieldValue::Bool(false),
        text if is_double(text) => FieldValue::Float(number::float(text)?),
        // Names of what is no number have a reason of their own; all else is of no type.
        text if number::float(text) == Err(Reject::NotFinite) => return Err(Reject::NotFinite),
        _ => return Err(Reject::WrongType),
    })
}

/// Whether a text is a double by the protocol's grammar.
#[inline]
fn is_double(text: &[u8]) -> bool {
    look::passed(text.len());
    let digits = |text: &[u8]| text.iter().take_while(|b| b.is_ascii_digit()).count();
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let whole = digits(text);
    let mut rest = &text[whole..];
    let mut complete = whole > 0;
    if let [b'.', decimals @ ..] = rest {
        let count = digits(decimals);
        complete &= count > 0;
        rest = &decimals[count..];
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let exponent = match exponent {
            [b'+' | b'-', exponent @ ..] => exponent,
            exponent => exponent,
        };
        let count = digits(exponent);
        complete &= count > 0;
        rest = &exponent[count..];
    }
    complete && rest.is_empty()
}

/// What stands behind the fields: nothing, or blanks and a time.
#[inline]
fn time(text: &[u8]) -> Result<Option<i64>, Reject> {
    if text.is_empty() {
        return Ok(None);
    }
    let time = past_blanks(text);
    if time.len() == text.len() || time.is_empty() {
        return Err(Reject::BadLine);
    }
    let end = look::find(b' ', time).unwrap_or(time.len());
    let (time, rest) = time.split_at(end);
    let ns = number::signed(time).map_err(|_| Reject::BadTime)?;
    if past_blanks(rest).is_empty() {
        Ok(Some(ns))
    } else {
        Err(Reject::BadLine)
    }
}

#[cfg(test)]
mod tests;
