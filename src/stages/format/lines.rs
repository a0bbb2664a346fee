//! The lines of each format.
//!
//! Invariant: what comes out is read back by the format's own parser, whatever names and tags hold.

use crate::base::text::Text;
use crate::feed::influx;
use crate::feed::sample::{Class, Tag, TagForm, TagSet};
use crate::feed::statsd::{Event, ServiceCheck};
use crate::feed::summary::{Quantiles, Summary, SummedUp};

use super::TextFormat;

/// Nanoseconds of Graphite's unit of time.
const SECOND_NS: u64 = 1_000_000_000;

/// What a tag without a value has in formats that need one.
const NO_VALUE: &[u8] = b"true";

/// Name, field and tags of a metric, as sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key<'a> {
    name: &'a [u8],
    field: &'a [u8],
    tags: TagSet<'a>,
}

impl<'a> Key<'a> {
    pub(super) fn new(
        (name, field, tags): (&'a [u8], &'a [u8], &'a [u8]),
        form: TagForm,
    ) -> Key<'a> {
        let tags = TagSet { bytes: tags, form };
        Key { name, field, tags }
    }

    fn name(&self) -> Plain<'a> {
        match self.tags.form {
            TagForm::Escaped => Plain::Escaped(influx::Text::measurement(self.name).bytes()),
            _ => Plain::AsSent(self.name.iter()),
        }
    }

    fn field(&self) -> Plain<'a> {
        plain(self.field, self.tags.form)
    }

    /// Keys and values of the tags, without their escapes.
    fn tags(&self) -> impl Iterator<Item = (Plain<'a>, Plain<'a>)> + use<'a> {
        let form = self.tags.form;
        self.tags
            .iter()
            .map(Tag::pair)
            .map(move |(key, value)| (plain(key, form), plain(value, form)))
    }
}

/// A key, or the value of a tag.
fn plain(bytes: &[u8], form: TagForm) -> Plain<'_> {
    match form {
        TagForm::Escaped => Plain::Escaped(influx::Text::key(bytes).bytes()),
        _ => Plain::AsSent(bytes.iter()),
    }
}

/// Bytes without the escapes of their format.
#[derive(Clone, Debug)]
enum Plain<'a> {
    AsSent(core::slice::Iter<'a, u8>),
    Escaped(influx::Unescaped<'a>),
}

impl Plain<'_> {
    fn is_empty(&self) -> bool {
        self.clone().next().is_none()
    }
}

impl Iterator for Plain<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        match self {
            Plain::AsSent(bytes) => bytes.next().copied(),
            Plain::Escaped(bytes) => bytes.next(),
        }
    }
}

/// The statistics of a class, in order.
fn statistics(
    head: &Summary,
    quantiles: Option<&Quantiles>,
    mut each: impl FnMut(&'static str, f64),
) {
    match head.class {
        Class::Counter => each("sum", head.sum),
        Class::Gauge => {
            each("last", head.last);
            each("min", head.min);
            each("max", head.max);
            each("mean", head.mean());
        }
        Class::Set => each("members", head.members as f64),
        Class::Timer | Class::Histogram | Class::Distribution => {
            each("count", head.weight);
            each("sum", head.sum);
            each("min", head.min);
            each("max", head.max);
            each("mean", head.mean());
            if let Some(quantiles) = quantiles {
                each("p50", quantiles.p50);
                each("p90", quantiles.p90);
                each("p95", quantiles.p95);
                each("p99", quantiles.p99);
                each("p99_9", quantiles.p99_9);
            }
        }
    }
}

pub(super) fn summary(
    format: TextFormat,
    head: &Summary,
    quantiles: Option<&Quantiles>,
    key: &Key<'_>,
    out: &mut Text,
) {
    match format {
        TextFormat::Ndjson => summary_json(head, quantiles, key, out),
        TextFormat::Influx => summary_influx(head, quantiles, key, out),
        TextFormat::Graphite => summary_graphite(head, quantiles, key, out),
    }
}

fn summary_json(head: &Summary, quantiles: Option<&Quantiles>, key: &Key<'_>, out: &mut Text) {
    out.put(b"{\"window_start_ns\":");
    out.number(head.window_start_ns);
    out.put(b",\"window_ns\":");
    out.number(head.window_ns);
    out.put(b",\"name\":");
    out.json(key.name());
    if !key.field.is_empty() {
        out.put(b",\"field\":");
        out.json(key.field());
    }
    out.put(b",\"class\":\"");
    out.put(head.class.name().as_bytes());
    out.put(b"\",\"tags\":[");
    for (nth, (tag, value)) in key.tags().enumerate() {
        out.put(if nth > 0 { b",\"" } else { b"\"" });
        out.json_inner(tag);
        if !value.is_empty() {
            out.byte(b':');
            out.json_inner(value);
        }
        out.byte(b'"');
    }
    out.put(b"],\"values\":");
    out.number(head.values);
    statistics(head, quantiles, |name, value| {
        out.put(b",\"");
        out.put(name.as_bytes());
        out.put(b"\":");
        out.float(value);
    });
    if head.members_incomplete {
        out.put(b",\"members_incomplete\":true");
    }
    out.put(b"}\n");
}

fn summary_influx(head: &Summary, quantiles: Option<&Quantiles>, key: &Key<'_>, out: &mut Text) {
    measurement(key.name(), out);
    for (tag, value) in key.tags() {
        out.byte(b',');
        escaped(tag, b"_", out);
        out.byte(b'=');
        escaped(value, NO_VALUE, out);
    }
    let mut before = b' ';
    statistics(head, quantiles, |name, value| {
        out.byte(core::mem::replace(&mut before, b','));
        if !key.field.is_empty() {
            escaped(key.field(), b"_", out);
            out.byte(b'_');
        }
        out.put(name.as_bytes());
        out.byte(b'=');
        out.float(value);
    });
    out.byte(b' ');
    out.number(head.window_start_ns);
    out.byte(b'\n');
}

/// A measurement; one that began a comment would be none.
fn measurement(name: Plain<'_>, out: &mut Text) {
    let mut name = name.enumerate().peekable();
    while let Some((nth, byte)) = name.next() {
        match byte {
            b'#' if nth == 0 => out.byte(b'_'),
            // Nothing may end with one, escaped or not.
            b'\\' if name.peek().is_none() => out.byte(b'_'),
            b',' | b' ' | b'\\' => out.put(&[b'\\', byte]),
            0..0x20 => out.byte(b'_'),
            _ => out.byte(byte),
        }
    }
}

/// A key or the value of a tag, or what stands for an empty one.
fn escaped(bytes: Plain<'_>, empty: &[u8], out: &mut Text) {
    if bytes.is_empty() {
        return out.put(empty);
    }
    let mut bytes = bytes.peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' if bytes.peek().is_none() => out.byte(b'_'),
            b',' | b' ' | b'=' | b'\\' => out.put(&[b'\\', byte]),
            0..0x20 => out.byte(b'_'),
            _ => out.byte(byte),
        }
    }
}

fn summary_graphite(head: &Summary, quantiles: Option<&Quantiles>, key: &Key<'_>, out: &mut Text) {
    statistics(head, quantiles, |name, value| {
        path(key.name(), out);
        if !key.field.is_empty() {
            out.byte(b'.');
            path(key.field(), out);
        }
        out.byte(b'.');
        out.put(name.as_bytes());
        for (tag, value) in key.tags() {
            out.byte(b';');
            tag_key(tag, out);
            out.byte(b'=');
            tag_value(value, out);
        }
        out.byte(b' ');
        out.float(value);
        out.byte(b' ');
        out.number(head.window_start_ns / SECOND_NS);
        out.byte(b'\n');
    });
}

/// Whether a byte parts the words of a line.
fn is_blank(byte: u8) -> bool {
    byte <= b' '
}

fn path(bytes: Plain<'_>, out: &mut Text) {
    for byte in bytes {
        let is_plain = !is_blank(byte) && byte != b';';
        out.byte(if is_plain { byte } else { b'_' });
    }
}

fn tag_key(bytes: Plain<'_>, out: &mut Text) {
    if bytes.is_empty() {
        return out.byte(b'_');
    }
    for byte in bytes {
        let is_plain = !is_blank(byte) && !matches!(byte, b';' | b'!' | b'^' | b'=');
        out.byte(if is_plain { byte } else { b'_' });
    }
}

fn tag_value(bytes: Plain<'_>, out: &mut Text) {
    if bytes.is_empty() {
        return out.put(NO_VALUE);
    }
    for (nth, byte) in bytes.enumerate() {
        let is_plain = !is_blank(byte) && byte != b';' && (nth > 0 || byte != b'~');
        out.byte(if is_plain { byte } else { b'_' });
    }
}

pub(super) fn event(format: TextFormat, event: &Event<'_>, out: &mut Text) {
    let fields = [
        ("title", event.title),
        ("text", event.text),
        ("sections", event.rest),
    ];
    notice(format, "event", &fields, None, out);
}

pub(super) fn check(format: TextFormat, check: &ServiceCheck<'_>, out: &mut Text) {
    let fields = [("name", check.name), ("sections", check.rest)];
    notice(format, "service_check", &fields, Some(check.status), out);
}

/// What people read: texts, and of a check its status.
fn notice(
    format: TextFormat,
    name: &str,
    fields: &[(&str, &[u8])],
    status: Option<u8>,
    out: &mut Text,
) {
    let is_json = format == TextFormat::Ndjson;
    out.put(if is_json { b"{\"" } else { b"" });
    out.put(name.as_bytes());
    out.put(if is_json { b"\":{" } else { b" " });
    for (nth, (field, text)) in fields.iter().enumerate() {
        out.put(if nth > 0 { b"," } else { b"" });
        if is_json {
            out.byte(b'"');
            out.put(field.as_bytes());
            out.put(b"\":");
            out.json(text.iter().copied());
        } else {
            out.put(field.as_bytes());
            out.put(b"=\"");
            for &byte in *text {
                match byte {
                    b'"' | b'\\' => out.put(&[b'\\', byte]),
                    _ => out.byte(byte),
                }
            }
            out.byte(b'"');
        }
    }
    if let Some(status) = status {
        out.put(if is_json {
            b",\"status\":"
        } else {
            b",status="
        });
        out.number(u64::from(status));
    }
    out.put(if is_json { b"}}\n" } else { b"\n" });
}

pub(super) fn counts(format: TextFormat, counts: &SummedUp, out: &mut Text) {
    let figures = [
        ("samples", counts.samples),
        ("late", counts.late),
        ("ahead", counts.ahead),
        ("no_room", counts.no_room),
        ("key_too_long", counts.key_too_long),
        ("beyond_scale", counts.beyond_scale),
        ("keys", u64::from(counts.keys)),
        ("keys_evicted", counts.keys_evicted),
        ("without_histogram", counts.without_histogram),
        ("without_set", u64::from(counts.without_set)),
        ("set_full", u64::from(counts.set_full)),
        ("clamped", counts.clamped),
    ];
    match format {
        TextFormat::Ndjson => {
            out.put(b"{\"aggregate\":{\"at_ns\":");
            out.number(counts.at_ns);
            for (name, figure) in figures {
                out.put(b",\"");
                out.put(name.as_bytes());
                out.put(b"\":");
                out.number(figure);
            }
            out.put(b"}}\n");
        }
        TextFormat::Influx => {
            out.put(b"hopline_aggregate");
            let mut before = b' ';
            for (name, figure) in figures {
                out.byte(core::mem::replace(&mut before, b','));
                out.put(name.as_bytes());
                out.byte(b'=');
                out.number(figure);
            }
            out.byte(b' ');
            out.number(counts.at_ns);
            out.byte(b'\n');
        }
        TextFormat::Graphite => {
            for (name, figure) in figures {
                out.put(b"hopline_aggregate.");
                out.put(name.as_bytes());
                out.byte(b' ');
                out.number(figure);
                out.byte(b' ');
                out.number(counts.at_ns / SECOND_NS);
                out.byte(b'\n');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::feed::{graphite, statsd};

    const QUANTILES: Quantiles = Quantiles {
        p50: 2.0,
        p90: 3.0,
        p95: 3.5,
        p99: 4.0,
        p99_9: 4.5,
    };

    fn head(class: Class, form: TagForm) -> Summary {
        Summary {
            window_start_ns: 1_700_000_000_000_000_000,
            window_ns: 10_000_000_000,
            values: 3,
            weight: 6.0,
            sum: 12.0,
            min: 0.5,
            max: 4.5,
            last: 4.5,
            members: 2,
            name_bytes: 0,
            field_bytes: 0,
            tags_bytes: 0,
            form,
            class,
            members_incomplete: false,
        }
    }

    fn written(format: TextFormat, class: Class, form: TagForm, key: [&[u8]; 3]) -> String {
        let mut out = Text::new(8192);
        let head = head(class, form);
        let key = Key::new((key[0], key[1], key[2]), form);
        summary(format, &head, Some(&QUANTILES), &key, &mut out);
        String::from_utf8(out.whole().unwrap().to_vec()).unwrap()
    }

    #[test]
    fn golden_lines() {
        let key: [&[u8]; 3] = [b"hits", b"", b"env:prod,canary"];
        let line = |format| written(format, Class::Counter, TagForm::Colon, key);
        assert_eq!(
            line(TextFormat::Ndjson),
            "{\"window_start_ns\":1700000000000000000,\"window_ns\":10000000000,\"name\":\"hits\",\
             \"class\":\"counter\",\"tags\":[\"env:prod\",\"canary\"],\"values\":3,\"sum\":12}\n"
        );
        assert_eq!(
            line(TextFormat::Influx),
            "hits,env=prod,canary=true sum=12 1700000000000000000\n"
        );
        assert_eq!(
            line(TextFormat::Graphite),
            "hits.sum;env=prod;canary=true 12 1700000000\n"
        );
        let key: [&[u8]; 3] = [br"cpu\ load", b"user", br"host=a\,b"];
        let line = |format| written(format, Class::Gauge, TagForm::Escaped, key);
        assert_eq!(
            line(TextFormat::Influx),
            "cpu\\ load,host=a\\,b user_last=4.5,user_min=0.5,user_max=4.5,user_mean=2 1700000000000000000\n"
        );
        assert!(
            line(TextFormat::Graphite).starts_with("cpu_load.user.last;host=a,b 4.5 1700000000\n")
        );
        let timer = written(
            TextFormat::Influx,
            Class::Timer,
            TagForm::Colon,
            [b"t", b"", b""],
        );
        assert_eq!(
            timer,
            "t count=6,sum=12,min=0.5,max=4.5,mean=2,p50=2,p90=3,p95=3.5,p99=4,p99_9=4.5 1700000000000000000\n"
        );
    }

    #[test]
    fn notices_and_counts_have_lines() {
        let mut out = Text::new(8192);
        let Ok(statsd::Line::Event(found)) = statsd::parse(b"_e{3,3}:a\"b|c\\d|#x") else {
            panic!("an event")
        };
        event(TextFormat::Ndjson, &found, &mut out);
        event(TextFormat::Influx, &found, &mut out);
        let Ok(statsd::Line::Check(found)) = statsd::parse(b"_sc|redis|2|m:gone") else {
            panic!("a check")
        };
        check(TextFormat::Ndjson, &found, &mut out);
        check(TextFormat::Influx, &found, &mut out);
        let text = String::from_utf8(out.whole().unwrap().to_vec()).unwrap();
        let expected = [
            r#"{"event":{"title":"a\"b","text":"c\\d","sections":"#,
            "event title=\"a\\\"b\",text=\"c\\\\d\",sections=\"#x\"",
            r#"{"service_check":{"name":"redis","sections":"m:gone","status":2}}"#,
            r#"service_check name="redis",sections="m:gone",status=2"#,
        ];
        for (line, expected) in text.lines().zip(expected) {
            assert!(line.starts_with(expected), "{line}");
        }
        assert_eq!(text.lines().count(), 4);
        for line in text.lines().skip(1).step_by(2) {
            assert!(influx::parse(line.as_bytes()).is_ok(), "{line}");
        }
        let figures = SummedUp {
            at_ns: 5 * SECOND_NS,
            keys_evicted: 7,
            ..SummedUp::default()
        };
        out.clear();
        counts(TextFormat::Ndjson, &figures, &mut out);
        let read: serde_json::Value = serde_json::from_slice(out.whole().unwrap()).unwrap();
        assert_eq!(read["aggregate"]["keys_evicted"], 7);
        out.clear();
        counts(TextFormat::Influx, &figures, &mut out);
        assert!(influx::parse(out.whole().unwrap().trim_ascii_end()).is_ok());
        out.clear();
        counts(TextFormat::Graphite, &figures, &mut out);
        let lines = out.whole().unwrap().trim_ascii_end().split(|b| *b == b'\n');
        assert_eq!(
            lines.filter(|line| graphite::parse(line).is_ok()).count(),
            12
        );
    }

    fn name() -> impl Strategy<Value = String> {
        "[ -~\u{e9}\t]{1,12}"
    }

    proptest! {
        #[test]
        fn whatever_names_and_tags_hold_the_formats_own_parsers_read_it(
            sent in name(), tag in name(), value in name(), class in 0..Class::ALL.len(),
        ) {
            let class = Class::ALL[class];
            let tags = format!("{tag}:{value}");
            let key: [&[u8]; 3] = [sent.as_bytes(), b"", tags.as_bytes()];
            let json = written(TextFormat::Ndjson, class, TagForm::Colon, key);
            let read: serde_json::Value = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(read["name"].as_str(), Some(sent.as_str()));
            let line = written(TextFormat::Influx, class, TagForm::Colon, key);
            let point = influx::parse(line.trim_end_matches('\n').as_bytes());
            let point = point.map_err(|why| TestCaseError::fail(format!("{why:?}: {line}")))?;
            let measured: Vec<u8> = point.measurement.bytes().collect();
            let shown = sent.replace('\t', "_");
            let shown = match shown.strip_suffix('\\') {
                Some(rest) => format!("{rest}_"),
                None => shown,
            };
            let shown = match shown.strip_prefix('#') {
                Some(rest) => format!("_{rest}"),
                None => shown,
            };
            prop_assert_eq!(measured, shown.as_bytes());
            let lines = written(TextFormat::Graphite, class, TagForm::Colon, key);
            for line in lines.lines() {
                let point = graphite::parse(line.as_bytes());
                prop_assert!(point.is_ok(), "{:?}: {}", point, line);
            }
        }
    }
}
