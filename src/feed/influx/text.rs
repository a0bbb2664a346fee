//! A name or a text with its escapes as sent, and without them.
//!
//! Invariant: nothing is copied; taking the escapes out is an iterator.

use crate::feed::look;

/// What a backslash takes its meaning from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escapes {
    /// A comma, a blank, a backslash.
    Measurement,
    /// These and an equal sign.
    Key,
    /// A quote, a backslash.
    Quoted,
}

impl Escapes {
    #[inline]
    fn has(self, byte: u8) -> bool {
        match (self, byte) {
            (_, b'\\') => true,
            (Escapes::Quoted, byte) => byte == b'"',
            (_, b',' | b' ') => true,
            (escapes, byte) => escapes == Escapes::Key && byte == b'=',
        }
    }
}

/// A part of a line with its escapes as sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text<'a> {
    raw: &'a [u8],
    escapes: Escapes,
}

impl<'a> Text<'a> {
    pub(crate) const fn measurement(raw: &'a [u8]) -> Text<'a> {
        let escapes = Escapes::Measurement;
        Text { raw, escapes }
    }

    pub(crate) const fn key(raw: &'a [u8]) -> Text<'a> {
        let escapes = Escapes::Key;
        Text { raw, escapes }
    }

    pub(super) const fn quoted(raw: &'a [u8]) -> Text<'a> {
        let escapes = Escapes::Quoted;
        Text { raw, escapes }
    }

    /// Its bytes as sent.
    #[inline]
    #[must_use]
    pub const fn raw(self) -> &'a [u8] {
        self.raw
    }

    /// Its bytes without the escapes.
    #[inline]
    #[must_use]
    pub const fn bytes(self) -> Unescaped<'a> {
        Unescaped {
            rest: self.raw,
            escapes: self.escapes,
        }
    }

    /// Its bytes without the escapes where they lie, if it has none.
    #[inline]
    #[must_use]
    pub fn plain(self) -> Option<&'a [u8]> {
        match look::find(b'\\', self.raw) {
            Some(_) => None,
            None => Some(self.raw),
        }
    }
}

/// The bytes of a [`Text`] without its escapes.
#[derive(Clone, Copy, Debug)]
pub struct Unescaped<'a> {
    rest: &'a [u8],
    escapes: Escapes,
}

impl Iterator for Unescaped<'_> {
    type Item = u8;

    #[inline]
    fn next(&mut self) -> Option<u8> {
        let (byte, rest) = match self.rest {
            [b'\\', byte, rest @ ..] if self.escapes.has(*byte) => (*byte, rest),
            [byte, rest @ ..] => (*byte, rest),
            [] => return None,
        };
        look::passed(self.rest.len() - rest.len());
        self.rest = rest;
        Some(byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_needs_it_is_unescaped() {
        let raw = br#"\,\ \=\"\\\x\"#;
        for (text, expected) in [
            (Text::measurement(raw), &br#", \=\"\\x\"#[..]),
            (Text::key(raw), br#", =\"\\x\"#),
            (Text::quoted(raw), br#"\,\ \="\\x\"#),
        ] {
            let bytes: Vec<u8> = text.bytes().collect();
            assert_eq!(bytes, expected);
            assert_eq!((text.raw(), text.plain()), (&raw[..], None));
        }
        assert_eq!(Text::key(b"a b").plain(), Some(&b"a b"[..]));
    }
}
