//! Canonical JSON: the one way in which a value is written here.
//!
//! | rule | so that |
//! |---|---|
//! | no blanks; keys in the order in which their type lists them | `JSON.stringify(JSON.parse(text)) === text` |
//! | whole numbers only, up to [`EDGE_INTEGER_MAX`] | a client whose numbers are floating point loses none of them |
//! | in texts only `"`, `\` and control characters are escaped, these as `\b \t \n \f \r` or `\u00xx` | as `JSON.stringify` does it |
//! | no key twice, and none that is a number | a client that keeps an object keeps its order |
//!
//! So a client that has parsed an event and writes it again has the bytes that the server hashed. `serde_json` would write the same
//! texts; it knows neither the bound of the numbers nor the splices by which a value is written once and used in several texts.
//!
//! Source: ECMA-262, "SerializeJSONProperty" and "QuoteJSONString"; RFC 8259.
//!
//! Invariant: what is written is one value, whatever the texts in it are; writing never fails.

use core::fmt::{Display, Write};

use crate::base::Reason;
use crate::base::limits::{EDGE_INTEGER_MAX, EDGE_PROSE_BYTES_MAX};

/// An object in the making, at the end of a text.
///
/// ```
/// use hopline::edge::json::{Object, object};
/// let text = object(|to: &mut Object<'_>| {
///     to.text("name", "a \"b\"");
///     to.number("count", 3);
///     to.number_or_null("limit", None);
///     to.object("inner", |inner| inner.flag("open", true));
/// });
/// assert_eq!(text, r#"{"name":"a \"b\"","count":3,"limit":null,"inner":{"open":true}}"#);
/// ```
#[derive(Debug)]
pub struct Object<'a> {
    out: &'a mut String,
    has_members: bool,
}

/// An object with the members that `write` gives it.
#[must_use]
pub fn object(write: impl FnOnce(&mut Object<'_>)) -> String {
    let mut out = String::new();
    append(&mut out, write);
    out
}

/// Appends an object.
pub(super) fn append(out: &mut String, write: impl FnOnce(&mut Object<'_>)) {
    out.push('{');
    write(&mut Object {
        out,
        has_members: false,
    });
    out.push('}');
}

impl Object<'_> {
    fn key(&mut self, key: &str) -> &mut String {
        if core::mem::replace(&mut self.has_members, true) {
            self.out.push(',');
        }
        quote(self.out, key);
        self.out.push(':');
        self.out
    }

    /// A text, whole.
    pub fn text(&mut self, key: &str, value: &str) {
        quote(self.key(key), value);
    }

    /// A text, or null.
    pub fn text_or_null(&mut self, key: &str, value: Option<&str>) {
        match value {
            Some(value) => self.text(key, value),
            None => self.null(key),
        }
    }

    /// The name of a member of a closed enum.
    pub fn word(&mut self, key: &str, value: impl Reason) {
        self.text(key, value.name());
    }

    /// What it displays itself as, which has nothing to escape.
    pub(super) fn display(&mut self, key: &str, value: impl Display) {
        let out = self.key(key);
        let _ = write!(out, "\"{value}\"");
    }

    /// Words for people, cut off behind [`EDGE_PROSE_BYTES_MAX`].
    pub fn prose(&mut self, key: &str, value: &str) {
        let mut end = value.len().min(EDGE_PROSE_BYTES_MAX);
        while !value.is_char_boundary(end) {
            end -= 1;
        }
        self.text(key, &value[..end]);
    }

    /// Words for people, or null.
    pub fn prose_or_null(&mut self, key: &str, value: Option<&str>) {
        match value {
            Some(value) => self.prose(key, value),
            None => self.null(key),
        }
    }

    /// A whole number. What is above [`EDGE_INTEGER_MAX`] is written as that.
    pub fn number(&mut self, key: &str, value: u64) {
        number(self.key(key), value);
    }

    /// A whole number, or null.
    pub fn number_or_null(&mut self, key: &str, value: Option<u64>) {
        match value {
            Some(value) => self.number(key, value),
            None => self.null(key),
        }
    }

    /// `true` or `false`.
    pub fn flag(&mut self, key: &str, value: bool) {
        self.raw(key, if value { "true" } else { "false" });
    }

    /// `null`.
    pub fn null(&mut self, key: &str) {
        self.raw(key, "null");
    }

    /// An object.
    pub fn object(&mut self, key: &str, write: impl FnOnce(&mut Object<'_>)) {
        append(self.key(key), write);
    }

    /// A list of objects, each with the members that `write` gives it.
    pub fn objects<T>(
        &mut self,
        key: &str,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Object<'_>, T),
    ) {
        self.list(key, items, |out, item| append(out, |to| write(to, item)));
    }

    /// A list.
    pub(super) fn list<T>(
        &mut self,
        key: &str,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut String, T),
    ) {
        let out = self.key(key);
        let mut before = '[';
        for item in items {
            out.push(before);
            write(out, item);
            before = ',';
        }
        if before == '[' {
            out.push('[');
        }
        out.push(']');
    }

    /// Members that are canonical already, with the commas between them; there may be none.
    pub(super) fn splice(&mut self, members: &str) {
        if members.is_empty() {
            return;
        }
        if core::mem::replace(&mut self.has_members, true) {
            self.out.push(',');
        }
        self.out.push_str(members);
    }

    /// A value that is canonical already.
    pub(super) fn raw(&mut self, key: &str, value: &str) {
        self.key(key).push_str(value);
    }
}

/// Appends a number.
pub(super) fn number(out: &mut String, value: u64) {
    // Writing to a string does not fail.
    let _ = write!(out, "{}", value.min(EDGE_INTEGER_MAX));
}

/// Appends a text in its quotes.
pub(super) fn quote(out: &mut String, value: &str) {
    out.push('"');
    let mut from = 0;
    for (at, byte) in value.bytes().enumerate() {
        let escaped = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            0x08 => "\\b",
            b'\t' => "\\t",
            b'\n' => "\\n",
            0x0c => "\\f",
            b'\r' => "\\r",
            0..0x20 => "",
            _ => continue,
        };
        out.push_str(&value[from..at]);
        from = at + 1;
        match escaped {
            "" => {
                let _ = write!(out, "\\u{byte:04x}");
            }
            escaped => out.push_str(escaped),
        }
    }
    out.push_str(&value[from..]);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stop_where_clients_no_longer_tell_them_apart() {
        for (value, text) in [
            (0, "{\"n\":0}"),
            (EDGE_INTEGER_MAX, "{\"n\":9007199254740991}"),
            (EDGE_INTEGER_MAX + 1, "{\"n\":9007199254740991}"),
            (u64::MAX, "{\"n\":9007199254740991}"),
        ] {
            assert_eq!(object(|to| to.number("n", value)), text);
        }
    }

    #[test]
    fn prose_is_cut_between_characters() {
        let fits = "x".repeat(EDGE_PROSE_BYTES_MAX);
        for (prose, kept) in [
            (fits.clone(), EDGE_PROSE_BYTES_MAX),
            (format!("{fits}y"), EDGE_PROSE_BYTES_MAX),
            (format!("{}ß", &fits[1..]), EDGE_PROSE_BYTES_MAX - 1),
            ("💧".repeat(EDGE_PROSE_BYTES_MAX), EDGE_PROSE_BYTES_MAX),
            (format!("a{}", "💧".repeat(EDGE_PROSE_BYTES_MAX)), 1021),
            (String::new(), 0),
        ] {
            let expected = object(|to| to.text("p", &prose[..kept]));
            assert_eq!(object(|to| to.prose("p", &prose)), expected);
        }
    }

    #[test]
    fn lists_and_objects_may_be_empty() {
        let text = object(|to| {
            to.list("none", [0; 0], number);
            to.list("some", [1, 2], number);
            to.objects("all", [true, false], |to, flag| to.flag("f", flag));
            to.object("inner", |_| ());
            to.text_or_null("t", None);
            to.prose_or_null("p", None);
        });
        let expected = r#"{"none":[],"some":[1,2],"all":[{"f":true},{"f":false}],"inner":{},"t":null,"p":null}"#;
        assert_eq!(text, expected);
        assert_eq!(object(|_| ()), "{}");
    }
}
