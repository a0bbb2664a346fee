//! StatsD and DogStatsD, a line at a time.
//!
//! ```text
//! name:value|type[|@rate][|#tag:value,tag][|c:container][|Tseconds]
//! name:value:value:value|type…                      packed, DogStatsD 1.1
//! _e{title_len,text_len}:title|text[|d:…][|h:…][|p:…][|t:…][|#…]
//! _sc|name|status[|d:…][|h:…][|#…][|m:…]
//! ```
//! Types: `c` counter, `g` gauge, `ms` timer in milliseconds, `h` histogram, `d` distribution, `s` set.
//!
//! The sources of these rules are StatsD's `docs/metric_types.md` and the pages "DogStatsD" and
//! "Datagram format" of Datadog's documentation. Where they leave a choice:
//! - What stands before the first `|` is the name and its values, parted by its first `:`; a set's
//!   member is all that follows it, colons included. StatsD's older form `name:1|c:2|ms`, several
//!   types in a line, cannot be told from a container id and is not taken.
//! - Sections behind the type stand in any order; of one that stands twice the last one counts;
//!   those that are not listed above are passed over, since the protocol grows by them.
//! - A value is a number by the grammar of `str::parse::<f64>`, finite; one bad value refuses its line.
//! - The sign of a gauge is kept ([`Number::signed`]): in StatsD it makes a change of it, in
//!   DogStatsD, which has no changes, a negative value. Who sums up decides.
//! - Events and service checks are checked as far as their head goes and passed on as views.
//!
//! A line is refused for, in this order: [`Reject::TooLong`], [`Reject::Empty`], [`Reject::NotUtf8`];
//! [`Reject::BadEvent`] or [`Reject::BadCheck`] where it is one; [`Reject::MissingField`] without a
//! type or a value; [`Reject::EmptyName`], [`Reject::NameTooLong`]; [`Reject::UnknownKind`]; a value's
//! [`Reject::WrongType`], [`Reject::NotFinite`], [`Reject::BeyondScale`]; then by section
//! [`Reject::BadRate`], [`Reject::TagsTooLong`], [`Reject::BadTime`].
//!
//! Invariant: views only, no memory is taken, each byte of a line is looked at a fixed number of times.

use crate::base::Reject;
use crate::feed::sample::{Class, Number, Numbers, Sample, TagForm, TagSet, parse_number};
use crate::feed::text::{check_line, check_name, check_tags, split_once};
use crate::feed::{look, number};

/// What a line is.
#[derive(Clone, Copy, Debug)]
pub enum Line<'a> {
    /// Values of a metric.
    Metric(Metric<'a>),
    /// Something that happened, for people to read.
    Event(Event<'a>),
    /// Whether a service is well.
    Check(ServiceCheck<'a>),
}

/// Values of a metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric<'a> {
    /// Its name; never empty.
    pub name: &'a [u8],
    /// What its values mean.
    pub class: Class,
    /// Its tags without the `#`.
    pub tags: &'a [u8],
    /// Its values; none for a set.
    pub values: Numbers<'a>,
    /// The member of a set; empty otherwise.
    pub member: &'a [u8],
    /// Which share of what happened was sent, above 0 and up to 1.
    pub rate: f64,
    /// When it happened, in nanoseconds since 1970, if that is said.
    pub at_ns: Option<u64>,
    /// The id of the sender's container; empty if none is said.
    pub container: &'a [u8],
}

impl<'a> Metric<'a> {
    /// What an aggregate takes.
    #[inline]
    #[must_use]
    pub const fn sample(&self) -> Sample<'a> {
        Sample {
            name: self.name,
            field: b"",
            tags: TagSet {
                bytes: self.tags,
                form: TagForm::Colon,
            },
            class: self.class,
            values: self.values,
            member: self.member,
            rate: self.rate,
            at_ns: self.at_ns,
        }
    }
}

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// Its title; line feeds are written `\n`.
    pub title: &'a [u8],
    /// Its text, likewise.
    pub text: &'a [u8],
    /// The sections behind it, without the first `|`.
    pub rest: &'a [u8],
}

/// Whether a service is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceCheck<'a> {
    /// The service; never empty.
    pub name: &'a [u8],
    /// 0 well, 1 a warning, 2 critical, 3 unknown.
    pub status: u8,
    /// The sections behind it, without the first `|`.
    pub rest: &'a [u8],
}

/// What a line says; it has no line end.
///
/// ```
/// use hopline::feed::statsd::{self, Line};
/// use hopline::feed::Class;
/// let Ok(Line::Metric(metric)) = statsd::parse(b"page.views:1:3|c|@0.5|#env:prod") else { panic!() };
/// assert_eq!((metric.name, metric.class, metric.rate), (&b"page.views"[..], Class::Counter, 0.5));
/// assert_eq!(metric.values.map(|number| number.value).sum::<f64>(), 4.0);
/// assert_eq!(metric.tags, b"env:prod");
/// ```
///
/// # Errors
/// Why it is refused; this file's head lists the reasons in their order.
#[inline]
pub fn parse(line: &[u8]) -> Result<Line<'_>, Reject> {
    check_line(line)?;
    if line[0] == b'_' {
        if let Some(rest) = line.strip_prefix(b"_e{") {
            return event(rest).map(Line::Event).ok_or(Reject::BadEvent);
        }
        if let Some(rest) = line.strip_prefix(b"_sc|") {
            return check(rest).map(Line::Check).ok_or(Reject::BadCheck);
        }
    }
    metric(line).map(Line::Metric)
}

#[inline]
fn metric(line: &[u8]) -> Result<Metric<'_>, Reject> {
    let (head, sections) = split_once(line, b'|').ok_or(Reject::MissingField)?;
    let (name, values) = split_once(head, b':').ok_or(Reject::MissingField)?;
    check_name(name)?;
    if values.is_empty() {
        return Err(Reject::MissingField);
    }
    let (kind, mut rest) = section(sections);
    let class = match kind {
        b"c" => Class::Counter,
        b"g" => Class::Gauge,
        b"ms" => Class::Timer,
        b"h" => Class::Histogram,
        b"d" => Class::Distribution,
        b"s" => Class::Set,
        b"" => return Err(Reject::MissingField),
        _ => return Err(Reject::UnknownKind),
    };
    let mut metric = Metric {
        name,
        class,
        tags: b"",
        values: Numbers::NONE,
        member: b"",
        rate: 1.0,
        at_ns: None,
        container: b"",
    };
    if class == Class::Set {
        metric.member = values;
    } else {
        metric.values = numbers(values)?;
    }
    while let Some(after) = rest {
        let (text, next) = section(after);
        rest = next;
        match text {
            [b'#', tags @ ..] => {
                check_tags(tags, b',')?;
                metric.tags = tags;
            }
            [b'@', rate @ ..] => metric.rate = rate_of(rate)?,
            [b'c', b':', container @ ..] => metric.container = container,
            [b'T', seconds @ ..] => {
                let seconds = number::whole(seconds).map_err(|_| Reject::BadTime)?;
                let ns = seconds.checked_mul(1_000_000_000);
                metric.at_ns = Some(ns.ok_or(Reject::BadTime)?);
            }
            _ => {}
        }
    }
    Ok(metric)
}

/// The first section, and what follows its `|`.
#[inline]
fn section(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    match split_once(text, b'|') {
        Some((section, rest)) => (section, Some(rest)),
        None => (text, None),
    }
}

/// All values, each of which is looked at.
#[inline]
fn numbers(values: &[u8]) -> Result<Numbers<'_>, Reject> {
    match split_once(values, b':') {
        None => Ok(Numbers::checked(parse_number(values)?, b"")),
        Some((first, packed)) => packed_numbers(first, packed),
    }
}

fn packed_numbers<'a>(first: &[u8], packed: &'a [u8]) -> Result<Numbers<'a>, Reject> {
    let first: Number = parse_number(first)?;
    look::passed(packed.len());
    for value in packed.split(|byte| *byte == b':') {
        number::float(value)?;
    }
    Ok(Numbers::checked(first, packed))
}

/// A share above 0 and up to 1.
#[inline]
fn rate_of(text: &[u8]) -> Result<f64, Reject> {
    match number::float(text) {
        Ok(rate) if rate > 0.0 && rate <= 1.0 => Ok(rate),
        _ => Err(Reject::BadRate),
    }
}

/// What follows `_e{`.
fn event(text: &[u8]) -> Option<Event<'_>> {
    let (lengths, text) = split_once(text, b'}')?;
    let (title_len, text_len) = split_once(lengths, b',')?;
    let length = |text| usize::try_from(number::whole(text).ok()?).ok();
    let (title, text) = text
        .strip_prefix(b":")?
        .split_at_checked(length(title_len)?)?;
    let (text, rest) = text
        .strip_prefix(b"|")?
        .split_at_checked(length(text_len)?)?;
    let rest = match rest {
        [] => rest,
        [b'|', rest @ ..] => rest,
        _ => return None,
    };
    Some(Event { title, text, rest })
}

/// What follows `_sc|`.
fn check(text: &[u8]) -> Option<ServiceCheck<'_>> {
    let (name, text) = split_once(text, b'|')?;
    let (status, rest) = section(text);
    let status = match status {
        [digit @ b'0'..=b'3'] => digit - b'0',
        _ => return None,
    };
    check_name(name).ok()?;
    Some(ServiceCheck {
        name,
        status,
        rest: rest.unwrap_or(b""),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::limits::{METRIC_NAME_BYTES_MAX, METRIC_TAGS_BYTES_MAX};

    fn metric(line: &str) -> Metric<'_> {
        match parse(line.as_bytes()) {
            Ok(Line::Metric(metric)) => metric,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn why(line: &str) -> Reject {
        parse(line.as_bytes()).expect_err(line)
    }

    fn values(metric: &Metric<'_>) -> Vec<f64> {
        metric.values.map(|number| number.value).collect()
    }

    #[test]
    fn the_examples_of_the_specifications_are_read() {
        for (line, class, expected, rate) in [
            ("gorets:1|c", Class::Counter, &[1.0][..], 1.0),
            ("gorets:1|c|@0.1", Class::Counter, &[1.0], 0.1),
            ("glork:320|ms|@0.1", Class::Timer, &[320.0], 0.1),
            ("gaugor:333|g", Class::Gauge, &[333.0], 1.0),
            (
                "page.views:1:2:32|d",
                Class::Distribution,
                &[1.0, 2.0, 32.0],
                1.0,
            ),
            ("fuel.level:0.5|g", Class::Gauge, &[0.5], 1.0),
            ("song.length:240|h|@0.5", Class::Histogram, &[240.0], 0.5),
            (
                "users.online:1|c|@0.5|#country:china",
                Class::Counter,
                &[1.0],
                0.5,
            ),
            ("bytes:-1e3:+.5|h", Class::Histogram, &[-1000.0, 0.5], 1.0),
        ] {
            let metric = metric(line);
            assert_eq!(metric.name, line.split(':').next().unwrap().as_bytes());
            assert_eq!((metric.class, metric.rate), (class, rate), "{line}");
            assert_eq!(values(&metric), expected, "{line}");
        }
        let gauge = metric("gaugor:-10|g").values.single().unwrap();
        assert_eq!((gauge.value, gauge.signed), (-10.0, true));
        let gauge = metric("gaugor:+4|g").values.single().unwrap();
        assert_eq!((gauge.value, gauge.signed), (4.0, true));
        let set = metric("users:uniques:765|s|#a");
        assert_eq!(
            (set.member, set.class, set.values.count()),
            (&b"uniques:765"[..], Class::Set, 0)
        );
        let all = metric("page.views:15|c|#env:dev|c:ci-83c0|T1656581400|e:x|card:low||");
        assert_eq!(
            (all.tags, all.container),
            (&b"env:dev"[..], &b"ci-83c0"[..])
        );
        assert_eq!(all.at_ns, Some(1_656_581_400_000_000_000));
        assert_eq!(metric("a:1|c|#x|#y|@0.5|@0.25").tags, b"y");
        assert_eq!(metric("a b/c:1|c|#").tags, b"");
    }

    #[test]
    fn events_and_checks_are_passed_on_as_views() {
        let line = b"_e{21,36}:An exception occurred|Cannot parse CSV file from 10.0.0.17|t:warning|#err_type:bad_file";
        let Ok(Line::Event(event)) = parse(line) else {
            panic!()
        };
        assert_eq!(event.title, b"An exception occurred");
        assert_eq!(event.text, b"Cannot parse CSV file from 10.0.0.17");
        assert_eq!(event.rest, b"t:warning|#err_type:bad_file");
        let Ok(Line::Event(event)) = parse(b"_e{3,1}:a|b||") else {
            panic!()
        };
        assert_eq!(
            (event.title, event.text, event.rest),
            (&b"a|b"[..], &b"|"[..], &b""[..])
        );
        let line = b"_sc|Redis connection|2|#env:dev|m:Redis connection timed out after 10s";
        let Ok(Line::Check(check)) = parse(line) else {
            panic!()
        };
        assert_eq!((check.name, check.status), (&b"Redis connection"[..], 2));
        assert_eq!(
            check.rest,
            b"#env:dev|m:Redis connection timed out after 10s"
        );
        for line in [
            "_e{",
            "_e{}:",
            "_e{1}:a|b",
            "_e{2,1}:a|b",
            "_e{1,1}:a|bc",
            "_e{1,1}a|b",
            "_e{1,1}:ab",
            "_e{99999999999999999999,1}:a|b",
            "_e{-1,1}:a|b",
            "_e{18446744073709551615,1}:a|b",
        ] {
            assert_eq!(why(line), Reject::BadEvent, "{line}");
        }
        for line in [
            "_sc|",
            "_sc|a",
            "_sc||0",
            "_sc|a|4",
            "_sc|a|",
            "_sc|a|00",
            "_sc|a|x|m:b",
        ] {
            assert_eq!(why(line), Reject::BadCheck, "{line}");
        }
        assert_eq!(metric("_scale:1|c").name, b"_scale");
    }

    #[test]
    fn each_fault_has_a_reason_of_its_own() {
        for (line, reason) in [
            ("", Reject::Empty),
            ("a", Reject::MissingField),
            ("a:1", Reject::MissingField),
            ("a|c", Reject::MissingField),
            ("a|b:1|c", Reject::MissingField),
            ("a:|c", Reject::MissingField),
            ("a:1|", Reject::MissingField),
            (":1|c", Reject::EmptyName),
            ("a:1|x", Reject::UnknownKind),
            ("a:1|C", Reject::UnknownKind),
            ("a:1|c:2|ms", Reject::UnknownKind),
            ("a:x|c", Reject::WrongType),
            ("a:1:|c", Reject::WrongType),
            ("a:1:x|c", Reject::WrongType),
            ("a: 1|c", Reject::WrongType),
            ("a:NaN|g", Reject::NotFinite),
            ("a:1:inf|ms", Reject::NotFinite),
            ("a:-Infinity|g", Reject::NotFinite),
            ("a:1e309|g", Reject::BeyondScale),
            ("a:1|c|@0", Reject::BadRate),
            ("a:1|c|@-0.5", Reject::BadRate),
            ("a:1|c|@1.01", Reject::BadRate),
            ("a:1|c|@nan", Reject::BadRate),
            ("a:1|c|@", Reject::BadRate),
            ("a:1|c|T", Reject::BadTime),
            ("a:1|c|T-1", Reject::BadTime),
            ("a:1|c|T1.5", Reject::BadTime),
            ("a:1|c|T18446744074", Reject::BadTime),
        ] {
            assert_eq!(why(line), reason, "{line}");
        }
        assert_eq!(parse(b"a\xff:1|c").unwrap_err(), Reject::NotUtf8);
        let name = "a".repeat(METRIC_NAME_BYTES_MAX + 1);
        assert_eq!(why(&format!("{name}:1|c")), Reject::NameTooLong);
        let tags = "t".repeat(METRIC_TAGS_BYTES_MAX + 1);
        assert_eq!(why(&format!("a:1|c|#{tags}")), Reject::TagsTooLong);
        assert_eq!(
            why(&format!("a:1|c|#{}", "t".repeat(65_000))),
            Reject::TagsTooLong
        );
    }
}
