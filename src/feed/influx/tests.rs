//! The examples of the specification, and a reason for each fault.

use super::*;
use crate::base::limits::{METRIC_NAME_BYTES_MAX, METRIC_TAGS_BYTES_MAX};

fn unescape(text: Text<'_>) -> String {
    String::from_utf8(text.bytes().collect()).unwrap()
}

fn why(line: &str) -> Reject {
    parse(line.as_bytes()).expect_err(line)
}

#[test]
fn the_examples_of_the_specification_are_read() {
    let line =
        br#"myMeasurement,tag1=value1,tag2=value2 fieldKey="fieldValue" 1556813561098000000"#;
    let point = parse(line).unwrap();
    assert_eq!(point.measurement.plain(), Some(&b"myMeasurement"[..]));
    assert_eq!(point.tag_set().bytes, b"tag1=value1,tag2=value2");
    assert_eq!(point.at_ns, Some(1_556_813_561_098_000_000));
    let fields: Vec<_> = point
        .fields()
        .map(|(key, value)| (key.raw(), value))
        .collect();
    assert_eq!(
        fields,
        [(
            &b"fieldKey"[..],
            FieldValue::Text(Text::quoted(b"fieldValue"))
        )]
    );

    let line = [
        br"m\,easure\ ment\\x,tag\ Key1=tag\,Value1,a\=b=c\\d fi\ eld=1.0,i=-12485903i,u=12485903u"
            .as_slice(),
        br#",t=t,F=FALSE,s="a, \"b\" \\ \z" -1"#,
    ]
    .concat();
    let point = parse(&line).unwrap();
    assert_eq!(unescape(point.measurement), r"m,easure ment\x");
    let tags: Vec<_> = point
        .tags()
        .map(|(key, value)| (unescape(key), unescape(value)))
        .collect();
    let expected = [("tag Key1", "tag,Value1"), ("a=b", r"c\d")];
    assert_eq!(
        tags,
        expected.map(|(key, value)| (key.to_owned(), value.to_owned()))
    );
    let values: Vec<_> = point.fields().map(|(_, value)| value).collect();
    assert_eq!(
        values[..5],
        [
            FieldValue::Float(1.0),
            FieldValue::Int(-12_485_903),
            FieldValue::Uint(12_485_903),
            FieldValue::Bool(true),
            FieldValue::Bool(false),
        ]
    );
    let FieldValue::Text(text) = values[5] else {
        panic!()
    };
    assert_eq!(unescape(text), r#"a, "b" \ \z"#);
    assert_eq!(point.at_ns, Some(-1));

    let point = parse(b"\t m  f=-1234456e+10,g=\"\"   5  ").unwrap();
    assert_eq!(point.fields().count(), 2);
    assert_eq!(point.samples().count(), 1, "a text is no sample");
    let sample = point.samples().next().unwrap();
    assert_eq!(
        (sample.name, sample.field, sample.at_ns),
        (&b"m"[..], &b"f"[..], Some(5))
    );
    assert_eq!(sample.values.single(), Some(Number::plain(-1.234_456e16)));
}

#[test]
fn each_fault_has_a_reason_of_its_own() {
    for (line, reason) in [
        ("", Reject::Empty),
        ("  ", Reject::Empty),
        ("# m f=1", Reject::Empty),
        (",a=b f=1", Reject::EmptyName),
        ("m", Reject::MissingField),
        ("m,a=b", Reject::MissingField),
        ("m ", Reject::MissingField),
        ("m f", Reject::MissingField),
        ("m =1", Reject::MissingField),
        ("m f=1,", Reject::MissingField),
        ("m\tf=1", Reject::BadLine),
        ("m\0 f=1", Reject::BadLine),
        ("m, f=1", Reject::BadTags),
        ("m,a f=1", Reject::BadTags),
        ("m,=b f=1", Reject::BadTags),
        ("m,a= f=1", Reject::BadTags),
        ("m,a=b, f=1", Reject::BadTags),
        (r"m\\ f=1", Reject::BadEscape),
        (r"m,a=b\\ f=1", Reject::BadEscape),
        (r"m,a\\=b f=1", Reject::BadEscape),
        (r"m f\\=1", Reject::BadEscape),
        (r"m\", Reject::BadEscape),
        ("m f=", Reject::WrongType),
        ("m f=1x", Reject::WrongType),
        ("m f=+1", Reject::WrongType),
        ("m f=1.", Reject::WrongType),
        ("m f=.5", Reject::WrongType),
        ("m f=1e", Reject::WrongType),
        ("m f=-1u", Reject::WrongType),
        ("m f=1.5i", Reject::WrongType),
        ("m f=tRUE", Reject::WrongType),
        ("m f=NaN", Reject::NotFinite),
        ("m f=-inf", Reject::NotFinite),
        ("m f=1e999", Reject::BeyondScale),
        ("m f=9223372036854775808i", Reject::BeyondScale),
        ("m f=18446744073709551616u", Reject::BeyondScale),
        ("m f=\"a", Reject::Truncated),
        (r#"m f="a\""#, Reject::Truncated),
        ("m f=\"a\"x", Reject::BadLine),
        ("m f=1 ", Reject::BadLine),
        ("m f=1 5 6", Reject::BadLine),
        ("m f=1 x", Reject::BadTime),
        ("m f=1 1.5", Reject::BadTime),
        ("m f=1 9223372036854775808", Reject::BadTime),
    ] {
        assert_eq!(why(line), reason, "{line}");
    }
    assert_eq!(parse(b"m\xff f=1").unwrap_err(), Reject::NotUtf8);
    let name = "a".repeat(METRIC_NAME_BYTES_MAX + 1);
    assert_eq!(why(&format!("{name} f=1")), Reject::NameTooLong);
    assert_eq!(why(&format!("m {name}=1")), Reject::NameTooLong);
    let tags = "t".repeat(METRIC_TAGS_BYTES_MAX);
    assert_eq!(why(&format!("m,a={tags} f=1")), Reject::TagsTooLong);
}
