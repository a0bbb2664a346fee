//! Line protocol against InfluxData's own parser in Rust.
//!
//! The two are to say the same of every line, but for what this one refuses on purpose: doubles that
//! overflow, a comma behind the last field, which the oracle takes behind a first one only, and what
//! is beyond its bounds. Where lines end is compared too, but for carriage returns
//! and for comments with a quote or a backslash, in which the oracle still finds texts and escapes.

use hopline::base::{Prng, Reject};
use hopline::feed::influx::{self, Ends, FieldValue, Text};
use hopline::wire::Splitter;
use influxdb_line_protocol::{FieldValue as OracleValue, parse_lines};

use crate::edits::{edited, lies_in};
use crate::inputs;

/// A field's value without its borrows; a double by its bits.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Float(u64),
    Int(i64),
    Uint(u64),
    Bool(bool),
    Text(String),
}

/// A line without its borrows and escapes.
#[derive(Clone, Debug, PartialEq)]
struct Owned {
    measurement: String,
    tags: Vec<(String, String)>,
    fields: Vec<(String, Value)>,
    at_ns: Option<i64>,
}

fn read(line: &[u8]) -> Result<Owned, Reject> {
    let point = influx::parse(line)?;
    let text = |text: Text<'_>| {
        assert!(text.raw().is_empty() || lies_in(text.raw(), line));
        let bytes: Vec<u8> = text.bytes().collect();
        if let Some(plain) = text.plain() {
            assert_eq!(plain, bytes);
        }
        String::from_utf8(bytes).unwrap()
    };
    let value = |value| match value {
        FieldValue::Float(value) => Value::Float(value.to_bits()),
        FieldValue::Int(value) => Value::Int(value),
        FieldValue::Uint(value) => Value::Uint(value),
        FieldValue::Bool(value) => Value::Bool(value),
        FieldValue::Text(value) => Value::Text(text(value)),
    };
    let fields: Vec<_> = point
        .fields()
        .map(|(key, field)| (text(key), value(field)))
        .collect();
    let numbers = fields
        .iter()
        .filter(|(_, value)| !matches!(value, Value::Text(_)));
    assert_eq!(point.samples().count(), numbers.count());
    Ok(Owned {
        measurement: text(point.measurement),
        tags: point
            .tags()
            .map(|(key, value)| (text(key), text(value)))
            .collect(),
        fields,
        at_ns: point.at_ns,
    })
}

/// What the oracle reads in each line of a text; `None` for what it refuses.
fn oracle(text: &str) -> Vec<Option<Owned>> {
    let value = |value: &OracleValue<'_>| match value {
        OracleValue::F64(value) => Value::Float(value.to_bits()),
        OracleValue::I64(value) => Value::Int(*value),
        OracleValue::U64(value) => Value::Uint(*value),
        OracleValue::Boolean(value) => Value::Bool(*value),
        OracleValue::String(value) => Value::Text(value.to_string()),
    };
    let lines = parse_lines(text).map(|line| {
        let line = line.ok()?;
        let tags = line.series.tag_set.iter().flatten();
        Some(Owned {
            measurement: line.series.measurement.to_string(),
            tags: tags
                .map(|(key, value)| (key.to_string(), value.to_string()))
                .collect(),
            fields: line
                .field_set
                .iter()
                .map(|(key, field)| (key.to_string(), value(field)))
                .collect(),
            at_ns: line.timestamp,
        })
    });
    lines.collect()
}

/// Whether both say the same of a line.
fn same(line: &[u8], given: &Result<Owned, Reject>, expected: Option<&Owned>) -> bool {
    let overflows = |line: &Owned| {
        let infinite = |value: &Value| matches!(value, Value::Float(bits) if f64::from_bits(*bits).is_infinite());
        line.fields.iter().any(|(_, value)| infinite(value))
    };
    match given {
        Ok(line) => expected == Some(line),
        Err(Reject::TooLong | Reject::NameTooLong | Reject::TagsTooLong) => true,
        Err(Reject::BeyondScale) => expected.is_none_or(overflows),
        Err(Reject::MissingField) => expected.is_none_or(|expected| {
            let commas = memchr::memchr_iter(b',', line);
            let mut without = commas.map(|at| read(&[&line[..at], &line[at + 1..]].concat()));
            expected.fields.len() == 1 && without.any(|read| read.as_ref() == Ok(expected))
        }),
        Err(_) => expected.is_none(),
    }
}

/// Every line of an input is what the oracle says; how many are good, and how many are not.
fn agrees(input: &[u8]) -> (u64, u64) {
    let lines: Vec<&[u8]> = influx::Lines::new(input).collect();
    let read_all: Vec<_> = lines.iter().map(|line| read(line)).collect();
    for (line, given) in lines.iter().zip(&read_all) {
        let Ok(text) = std::str::from_utf8(line) else {
            assert!(matches!(given, Err(Reject::NotUtf8 | Reject::TooLong)));
            continue;
        };
        let expected = oracle(text);
        assert_eq!(expected.len(), 1, "{}", line.escape_ascii());
        assert!(
            same(line, given, expected[0].as_ref()),
            "{}\n{given:?}\n{:?}",
            line.escape_ascii(),
            expected[0]
        );
    }
    let has = |byte| memchr::memchr(byte, input).is_some();
    let comments_differ = has(b'#') && (has(b'"') || has(b'\\'));
    if let Ok(text) = std::str::from_utf8(input)
        && !has(b'\r')
        && !comments_differ
    {
        let expected = oracle(text);
        assert_eq!(expected.len(), read_all.len(), "{}", input.escape_ascii());
        for ((line, given), expected) in lines.iter().zip(&read_all).zip(&expected) {
            assert!(
                same(line, given, expected.as_ref()),
                "{}",
                input.escape_ascii()
            );
        }
    }
    let good = read_all.iter().filter(|line| line.is_ok()).count() as u64;
    (good, read_all.len() as u64 - good)
}

const SEEDS: &[&[u8]] = &[
    br#"myMeasurement,tag1=value1,tag2=value2 fieldKey="fieldValue" 1556813561098000000"#,
    br#"measurementName fieldKey="field string value" 1556813561098000000"#,
    br#"myMeasurement fieldKey="string value""#,
    b"cpu,host=A,region=west usage_system=64.2 1590488773254420000",
    b"myMeasurement fieldKey=1.0\nmyMeasurement fieldKey=1\nmyMeasurement fieldKey=-1.234456e+78",
    b"myMeasurement fieldKey=1i,b=12485903i,c=-12485903i,d=12485903u",
    b"myMeasurement fieldKey=true,b=false,c=t,d=F,e=TRUE,f=False 1556813561098000000",
    br#"my\ Measurement fieldKey="string value""#,
    br#"myMeasurement fieldKey="\"string\" within a string, and a \\ backslash""#,
    br"myMeasurement,tag\ Key1=tag\ Value1,tag\ Key2=tag\ Value2 fieldKey=100",
    br"m\,e\=a\\s,t\,a\=g=v\=a\,l\\x fi\,el\=d=1 -5",
    b"myMeasurement,tagKey=\xf0\x9f\x8d\xad fieldKey=\"Launch \xf0\x9f\x9a\x80\" 1556813561098000000",
    b"# a comment\n\n  cpu load=1,text=\"two\nlines\" 7  \ndisk free=2i\r\n",
    b"weather,location=us-midwest temperature=82,humidity=71 1465839830100400200",
];

#[test]
fn edited_lines_are_what_the_oracle_says() {
    let mut prng = Prng::new(0x1f_0001);
    let (mut good, mut refused) = (0, 0);
    for _ in 0..inputs() {
        let (more_good, more_refused) = agrees(&edited(&mut prng, SEEDS));
        good += more_good;
        refused += more_refused;
    }
    assert!(
        good > inputs() / 4 && refused > inputs() / 4,
        "{good} {refused}"
    );
}

#[test]
fn any_soup_of_the_format_is_what_the_oracle_says() {
    const PIECES: &[&str] = &[
        "m", "a", "f", "=", "=", ",", ",", " ", " ", "\\", "\"", "\n", "\t", "1", "1i", "2u", "-",
        ".5", "e9", "t", "true", "\0", "é", "#", "m f=1", ",a=b", "=\"", "\" 5",
    ];
    let mut prng = Prng::new(0x1f_0002);
    let mut good = 0;
    for _ in 0..4 * inputs() {
        let count = prng.below(14);
        let soup: String = (0..count)
            .map(|_| PIECES[prng.below(PIECES.len() as u64) as usize])
            .collect();
        good += agrees(soup.as_bytes()).0;
    }
    assert!(good > inputs() / 20, "{good}");
}

#[test]
fn a_stream_in_any_pieces_has_the_lines_of_the_whole() {
    let stream = [SEEDS[8], b"\n", SEEDS[12], SEEDS[10], b"\n"].concat();
    let whole: Vec<_> = influx::Lines::new(&stream).map(read).collect();
    assert_eq!(whole.len(), 4);
    for first in 0..=stream.len() {
        let mut splitter = Splitter::new(200);
        let mut ends = Ends::new();
        let mut read_so_far = Vec::new();
        for piece in [&stream[..first], &stream[first..]] {
            assert_eq!(splitter.push(piece), piece.len());
            while let Some(line) = splitter.next_line_by(|bytes| ends.find(bytes)) {
                if !influx::Lines::is_silent(line) {
                    read_so_far.push(read(line.strip_suffix(b"\r").unwrap_or(line)));
                }
            }
        }
        assert_eq!(read_so_far, whole, "cut at {first}");
    }
}
