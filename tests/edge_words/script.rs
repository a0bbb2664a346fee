//! What `JSON.stringify(JSON.parse(text))` gives, for texts whose numbers a script keeps as they are.
//!
//! Invariant: texts and numbers are read and written by `serde_json`; only the order of keys is kept here, as a script keeps it.

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// The text as a script would write it again, without these members of the object that it is.
pub(crate) fn rewritten(text: &str, without: &[&str]) -> String {
    let mut input = serde_json::Deserializer::from_str(text);
    let out = Rewrite { without }.deserialize(&mut input).expect(text);
    input.end().expect(text);
    out
}

#[derive(Clone, Copy)]
struct Rewrite<'k> {
    without: &'k [&'k str],
}

impl<'de> DeserializeSeed<'de> for Rewrite<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<String, D::Error> {
        input.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Rewrite<'_> {
    type Value = String;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value that a script keeps as it is")
    }

    fn visit_unit<E>(self) -> Result<String, E> {
        Ok("null".to_owned())
    }

    fn visit_bool<E>(self, flag: bool) -> Result<String, E> {
        Ok(flag.to_string())
    }

    fn visit_u64<E>(self, number: u64) -> Result<String, E> {
        // A script's numbers are of 64-bit floating point; it writes whole ones without an exponent below 10^21.
        Ok(((number as f64) as u64).to_string())
    }

    fn visit_str<E>(self, text: &str) -> Result<String, E> {
        Ok(serde_json::to_string(text).expect("a text is a value"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<String, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element_seed(Rewrite { without: &[] })? {
            all.push(item);
        }
        Ok(format!("[{}]", all.join(",")))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<String, A::Error> {
        let mut all: Vec<(String, String)> = Vec::new();
        while let Some(key) = members.next_key::<String>()? {
            let value = members.next_value_seed(Rewrite { without: &[] })?;
            // A key that comes again keeps its place and takes the new value.
            match all.iter_mut().find(|(other, _)| *other == key) {
                Some((_, before)) => *before = value,
                None => all.push((key, value)),
            }
        }
        all.retain(|(key, _)| !self.without.contains(&key.as_str()));
        // Keys that are numbers come first, by their size.
        let number = |key: &str| {
            let number = key.parse::<u32>().ok()?;
            (number.to_string() == key && number < u32::MAX).then_some(number)
        };
        all.sort_by_key(|(key, _)| number(key).map_or(u64::MAX, u64::from));
        let quoted = |key: &str| serde_json::to_string(key).expect("a text is a value");
        let members = all
            .iter()
            .map(|(key, value)| format!("{}:{value}", quoted(key)));
        Ok(format!(
            "{{{}}}",
            members.collect::<Vec<String>>().join(",")
        ))
    }
}

#[test]
fn a_text_that_a_script_would_write_otherwise_is_told_from_one_that_it_would_not() {
    for canonical in [
        "{}",
        "[]",
        r#"{"b":1,"a":[true,null,"x"]}"#,
        r#"{"t":"\"\\\b\f\n\r\t\u0001\u001f/é💧"}"#,
        r#"{"n":9007199254740991}"#,
    ] {
        assert_eq!(rewritten(canonical, &[]), canonical);
    }
    for other in [
        "{ }",
        r#"{"a":1, "b":2}"#,
        r#"{"a":"\u00e9"}"#,
        r#"{"a":"\/"}"#,
        r#"{"a":"\u000A"}"#,
        r#"{"a":"\u001F"}"#,
        r#"{"n":9007199254740993}"#,
        r#"{"a":1,"a":2}"#,
        r#"{"x":1,"1":2}"#,
    ] {
        assert_ne!(rewritten(other, &[]), other);
    }
    assert_eq!(rewritten(r#"{"a":{"a":1},"b":2}"#, &["a"]), r#"{"b":2}"#);
    assert_eq!(
        rewritten(r#"{"a":{"b":1},"b":2}"#, &["b"]),
        r#"{"a":{"b":1}}"#
    );
}
