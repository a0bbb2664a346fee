//! Graphite's plaintext protocol, a line at a time.
//!
//! ```text
//! path[;tag=value;tag=value] value seconds
//! ```
//! The sources of these rules are Graphite's pages "Feeding in your data" and "Tag support", and what
//! carbon's receiver does where they leave a choice:
//! - The three parts are parted by any number of blanks and tabs, which may also stand around them.
//! - The time is in seconds since 1970, with decimals or without; `-1` is the time of its receipt.
//! - A tag has a key and a value, neither empty; the key has none of `!` and `^`, the value does not
//!   begin with `~`.
//!
//! A line is refused for, in this order: [`Reject::TooLong`], [`Reject::Empty`], [`Reject::NotUtf8`];
//! [`Reject::MissingField`] for fewer than three parts, [`Reject::BadLine`] for more;
//! [`Reject::EmptyName`], [`Reject::NameTooLong`]; [`Reject::TagsTooLong`], [`Reject::BadTags`]; the
//! value's [`Reject::WrongType`], [`Reject::NotFinite`], [`Reject::BeyondScale`]; [`Reject::BadTime`].
//!
//! Invariant: views only, no memory is taken, each byte of a line is looked at a fixed number of times.

use crate::base::Reject;
use crate::feed::sample::{Class, Number, Numbers, Sample, TagForm, TagSet};
use crate::feed::text::{check_line, check_name, check_tags};
use crate::feed::{look, number};

/// One value of one path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point<'a> {
    /// The path without its tags; never empty.
    pub path: &'a [u8],
    /// Its tags, parted by semicolons, without the first one.
    pub tags: &'a [u8],
    /// The value; finite.
    pub value: f64,
    /// When it was so, in nanoseconds since 1970; `None` for the time of its receipt.
    pub at_ns: Option<u64>,
}

impl<'a> Point<'a> {
    /// What an aggregate takes: a gauge.
    #[inline]
    #[must_use]
    pub const fn sample(&self) -> Sample<'a> {
        Sample {
            name: self.path,
            field: b"",
            tags: TagSet {
                bytes: self.tags,
                form: TagForm::Semicolon,
            },
            class: Class::Gauge,
            values: Numbers::one(Number::plain(self.value)),
            member: b"",
            rate: 1.0,
            at_ns: self.at_ns,
        }
    }
}

/// What a line says; it has no line end, though a carriage return counts as a blank.
///
/// ```
/// use hopline::feed::graphite;
/// let point = graphite::parse(b"disk.used;host=a;rack=3 42.5 1656581400").unwrap();
/// assert_eq!((point.path, point.tags, point.value), (&b"disk.used"[..], &b"host=a;rack=3"[..], 42.5));
/// assert_eq!(point.at_ns, Some(1_656_581_400_000_000_000));
/// ```
///
/// # Errors
/// Why it is refused; this file's head lists the reasons in their order.
#[inline]
pub fn parse(line: &[u8]) -> Result<Point<'_>, Reject> {
    check_line(line)?;
    let (name, rest) = word(line);
    let (value, rest) = word(rest);
    let (time, rest) = word(rest);
    if time.is_empty() {
        let blank = name.is_empty();
        return Err(if blank {
            Reject::Empty
        } else {
            Reject::MissingField
        });
    }
    look::passed(rest.len());
    if !rest.trim_ascii_start().is_empty() {
        return Err(Reject::BadLine);
    }
    let (path, tags) = match look::find(b';', name) {
        Some(at) => (&name[..at], Some(&name[at + 1..])),
        None => (name, None),
    };
    check_name(path)?;
    if let Some(tags) = tags {
        check_tags(tags, b';')?;
        check_pairs(tags)?;
    }
    Ok(Point {
        path,
        tags: tags.unwrap_or(b""),
        value: number::float(value)?,
        at_ns: match time {
            b"-1" => None,
            time => Some(number::seconds_ns(time)?),
        },
    })
}

/// The first word, and what follows it.
#[inline]
fn word(text: &[u8]) -> (&[u8], &[u8]) {
    let word = text.trim_ascii_start();
    let end = word.iter().position(u8::is_ascii_whitespace);
    let end = end.unwrap_or(word.len());
    look::passed(text.len() - word.len() + end);
    word.split_at(end)
}

/// Refuses tags that are not all pairs by the grammar.
fn check_pairs(tags: &[u8]) -> Result<(), Reject> {
    look::passed(tags.len());
    for tag in tags.split(|byte| *byte == b';') {
        let at = look::find(b'=', tag).ok_or(Reject::BadTags)?;
        let (key, value) = (&tag[..at], &tag[at + 1..]);
        if key.is_empty() || look::find2(b'!', b'^', key).is_some() {
            return Err(Reject::BadTags);
        }
        if matches!(value, [] | [b'~', ..]) {
            return Err(Reject::BadTags);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::limits::{METRIC_NAME_BYTES_MAX, METRIC_TAGS_BYTES_MAX};

    #[test]
    fn the_examples_of_the_specification_are_read() {
        let point = parse(b"local.random.diceroll 4 1700000000").unwrap();
        assert_eq!(
            (point.path, point.tags),
            (&b"local.random.diceroll"[..], &b""[..])
        );
        assert_eq!(
            (point.value, point.at_ns),
            (4.0, Some(1_700_000_000_000_000_000))
        );
        let line = b"disk.used;datacenter=dc1;rack=a1;server=web01 1e3 1700000000.25";
        let point = parse(line).unwrap();
        assert_eq!(point.tags, b"datacenter=dc1;rack=a1;server=web01");
        assert_eq!(
            (point.value, point.at_ns),
            (1000.0, Some(1_700_000_000_250_000_000))
        );
        let point = parse(b" \ta.b  -0.5\t-1 \r").unwrap();
        assert_eq!(
            (point.path, point.value, point.at_ns),
            (&b"a.b"[..], -0.5, None)
        );
        let point = parse(b"a;b=c=d 1 0").unwrap();
        assert_eq!((point.tags, point.at_ns), (&b"b=c=d"[..], Some(0)));
    }

    #[test]
    fn each_fault_has_a_reason_of_its_own() {
        for (line, reason) in [
            ("", Reject::Empty),
            (" \t", Reject::Empty),
            ("a", Reject::MissingField),
            ("a 1", Reject::MissingField),
            ("a 1 ", Reject::MissingField),
            ("a 1 2 3", Reject::BadLine),
            (";a=b 1 2", Reject::EmptyName),
            ("a x 2", Reject::WrongType),
            ("a nan 2", Reject::NotFinite),
            ("a -inf 2", Reject::NotFinite),
            ("a 1e999 2", Reject::BeyondScale),
            ("a 1 x", Reject::BadTime),
            ("a 1 -2", Reject::BadTime),
            ("a 1 N", Reject::BadTime),
            ("a 1 99999999999", Reject::BadTime),
            ("a; 1 2", Reject::BadTags),
            ("a;b 1 2", Reject::BadTags),
            ("a;=c 1 2", Reject::BadTags),
            ("a;b= 1 2", Reject::BadTags),
            ("a;b=~c 1 2", Reject::BadTags),
            ("a;b!=c 1 2", Reject::BadTags),
            ("a;b=c; 1 2", Reject::BadTags),
        ] {
            assert_eq!(parse(line.as_bytes()), Err(reason), "{line}");
        }
        assert_eq!(parse(b"\xff 1 2"), Err(Reject::NotUtf8));
        let name = "a".repeat(METRIC_NAME_BYTES_MAX + 1);
        assert_eq!(
            parse(format!("{name} 1 2").as_bytes()),
            Err(Reject::NameTooLong)
        );
        let tags = "t".repeat(METRIC_TAGS_BYTES_MAX);
        assert_eq!(
            parse(format!("a;{tags}=b 1 2").as_bytes()),
            Err(Reject::TagsTooLong)
        );
    }
}
