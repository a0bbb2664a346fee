//! A pull scanner of JSON (RFC 8259): it proves the grammar and hands out spans, and builds nothing.
//!
//! The rules are the RFC's, byte for byte: no comments, no trailing comma, no control character in
//! a string, no leading zero. What is left to the caller: that the text is UTF-8, and what a value
//! means. As in the RFC's grammar, an escape may name half a surrogate pair; such a string equals
//! no text.
//!
//! Invariant: no recursion, and nesting is bounded by [`NESTING_MAX`].

use crate::base::Reject;
use crate::feed::digits::{self, load, splat};

/// Deepest nesting of arrays and objects; the exchange's messages nest four deep. One bit each in
/// the stack of [`Scanner::skip_value`].
pub(crate) const NESTING_MAX: u32 = 32;

const _: () = assert!(NESTING_MAX <= u32::BITS);

/// Where a value stands in the text: from `start`, up to and without `end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Span {
    /// The bytes of the span.
    #[inline]
    pub(crate) fn of(self, text: &[u8]) -> &[u8] {
        &text[self.start as usize..self.end as usize]
    }

    /// How many bytes it has.
    #[inline]
    pub(crate) fn len(self) -> usize {
        (self.end - self.start) as usize
    }
}

/// Whether JSON lets a byte stand between its tokens for nothing.
#[inline(always)]
pub(crate) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// A position in a text.
#[derive(Debug)]
pub(crate) struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    /// At the start of a text of less than 4 GiB.
    pub(crate) fn new(text: &'a [u8]) -> Scanner<'a> {
        Scanner { text, at: 0 }
    }

    /// At the start of a span, seeing nothing beyond it.
    pub(crate) fn between(text: &'a [u8], span: Span) -> Scanner<'a> {
        Scanner {
            text: &text[..span.end as usize],
            at: span.start as usize,
        }
    }

    /// The byte here.
    #[inline(always)]
    pub(crate) fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// What is wrong here: the text ended, or it is not JSON.
    #[cold]
    fn fault(&self) -> Reject {
        if self.at >= self.text.len() {
            Reject::Truncated
        } else {
            Reject::NotJson
        }
    }

    /// Goes past blanks.
    #[inline(always)]
    pub(crate) fn space(&mut self) {
        while self.peek().is_some_and(is_blank) {
            self.at += 1;
        }
    }

    /// Goes past `byte`, if it is here.
    #[inline(always)]
    pub(crate) fn take(&mut self, byte: u8) -> bool {
        let is_here = self.peek() == Some(byte);
        self.at += usize::from(is_here);
        is_here
    }

    /// Goes past `byte`, which must be here.
    #[inline(always)]
    pub(crate) fn expect(&mut self, byte: u8) -> Result<(), Reject> {
        if self.take(byte) {
            Ok(())
        } else {
            Err(self.fault())
        }
    }

    /// Nothing but blanks may follow.
    pub(crate) fn end(&mut self) -> Result<(), Reject> {
        self.space();
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(Reject::NotJson),
        }
    }

    /// Goes past a string; the span is what stands between its quotes, escapes as written.
    #[inline(always)]
    pub(crate) fn string(&mut self) -> Result<Span, Reject> {
        self.expect(b'"')?;
        let start = self.at as u32;
        loop {
            self.at += plain_len(load(&self.text[self.at..]));
            match self.peek() {
                Some(b'"') => {
                    let end = self.at as u32;
                    self.at += 1;
                    return Ok(Span { start, end });
                }
                Some(b'\\') => self.escape()?,
                Some(0..0x20) | None => return Err(self.fault()),
                // Eight plain bytes, and the next is plain as well.
                Some(_) => {}
            }
        }
    }

    /// Goes past an escape sequence, which begins here.
    #[cold]
    fn escape(&mut self) -> Result<(), Reject> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                self.at += 1;
                for _ in 0..4 {
                    if !self.peek().is_some_and(|b| b.is_ascii_hexdigit()) {
                        return Err(self.fault());
                    }
                    self.at += 1;
                }
            }
            _ => return Err(self.fault()),
        }
        Ok(())
    }

    /// Goes past a key, its colon and the blanks around; the span is as in [`Scanner::string`].
    #[inline(always)]
    pub(crate) fn key(&mut self) -> Result<Span, Reject> {
        // Nearly all of the exchange's keys are one letter with nothing around.
        if let Some([b'"', b'A'..=b'Z' | b'a'..=b'z', b'"', b':', next]) =
            self.text[self.at..].first_chunk::<5>()
            && !is_blank(*next)
        {
            let start = self.at as u32 + 1;
            self.at += 4;
            let end = start + 1;
            return Ok(Span { start, end });
        }
        let key = self.string()?;
        self.space();
        self.expect(b':')?;
        self.space();
        Ok(key)
    }

    /// Goes past a number.
    #[inline(always)]
    fn number(&mut self) -> Result<(), Reject> {
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if !self.take(b'+') {
                self.take(b'-');
            }
            self.digits()?;
        }
        Ok(())
    }

    /// Goes past one digit or more.
    #[inline(always)]
    fn digits(&mut self) -> Result<(), Reject> {
        let start = self.at;
        loop {
            let run = digits::run_len(&self.text[self.at..]);
            self.at += run;
            if run < 8 {
                break;
            }
        }
        if self.at > start {
            Ok(())
        } else {
            Err(self.fault())
        }
    }

    /// Goes past `true`, `false` or `null`.
    fn word(&mut self, word: &[u8]) -> Result<(), Reject> {
        for &byte in word {
            self.expect(byte)?;
        }
        Ok(())
    }

    /// Goes past a value of any kind, which stands `depth` levels deep; the span is all of it.
    #[inline(always)]
    pub(crate) fn skip_value(&mut self, depth: u32) -> Result<Span, Reject> {
        let start = self.at as u32;
        match self.peek() {
            Some(b'"') => drop(self.string()?),
            Some(b'0'..=b'9') => self.number()?,
            _ => self.skip_any(depth)?,
        }
        let end = self.at as u32;
        Ok(Span { start, end })
    }

    #[inline(never)]
    fn skip_any(&mut self, depth: u32) -> Result<(), Reject> {
        // Bit n says whether the n-th container that is open is an object.
        let mut objects = 0_u32;
        let mut open = 0;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.string()?;
                }
                Some(b'-' | b'0'..=b'9') => self.number()?,
                Some(b't') => self.word(b"true")?,
                Some(b'f') => self.word(b"false")?,
                Some(b'n') => self.word(b"null")?,
                Some(byte @ (b'[' | b'{')) => {
                    let is_object = byte == b'{';
                    if depth + open >= NESTING_MAX {
                        return Err(Reject::NotJson);
                    }
                    self.at += 1;
                    self.space();
                    // '[' and ']' are two apart, and so are '{' and '}'.
                    if !self.take(byte + 2) {
                        objects = (objects & !(1 << open)) | u32::from(is_object) << open;
                        open += 1;
                        if is_object {
                            self.key()?;
                        }
                        continue;
                    }
                }
                _ => return Err(self.fault()),
            }
            // A value has ended, and with it perhaps what it stands in.
            loop {
                if open == 0 {
                    return Ok(());
                }
                let is_object = objects >> (open - 1) & 1 == 1;
                self.space();
                if self.take(b',') {
                    self.space();
                    if is_object {
                        self.key()?;
                    }
                    break;
                }
                self.expect(if is_object { b'}' } else { b']' })?;
                open -= 1;
            }
        }
    }
}

/// How many bytes at the start of a word are plain text in a string: no quote, no backslash, no
/// control character.
#[inline(always)]
fn plain_len(word: u64) -> usize {
    let below = |word: u64, byte: u8| word.wrapping_sub(splat(byte)) & !word;
    // Each test is exact up to its first hit; a borrow only reaches bytes after it.
    let stops = below(word, 0x20) | below(word ^ splat(b'"'), 1) | below(word ^ splat(b'\\'), 1);
    (stops & splat(0x80)).trailing_zeros() as usize / 8
}

/// As [`plain_len`], and bytes beyond ASCII stop as well: the text up to there needs no check of UTF-8.
#[inline(always)]
pub(crate) fn plain_ascii_len(word: u64) -> usize {
    plain_len(word).min((word & splat(0x80)).trailing_zeros() as usize / 8)
}

/// The text of a string's span that has escapes, resolved into `buffer`.
///
/// `None` when there is no escape, when the text is longer than `buffer`, or when it names half a
/// surrogate pair: such a text equals nothing that is looked for.
#[cold]
#[inline(never)]
pub(crate) fn resolve<'b>(written: &[u8], buffer: &'b mut [u8]) -> Option<&'b [u8]> {
    memchr::memchr(b'\\', written)?;
    let mut len = 0;
    let mut rest = written;
    while let [first, tail @ ..] = rest {
        let mut utf8 = [0; 4];
        let (text, after) = match (first, tail) {
            (b'\\', [b'u', tail @ ..]) => {
                let (c, after) = code_point(tail)?;
                (c.encode_utf8(&mut utf8).as_bytes(), after)
            }
            (b'\\', [escape, after @ ..]) => {
                utf8[0] = match escape {
                    b'b' => 0x08,
                    b'f' => 0x0c,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    itself => *itself,
                };
                (&utf8[..1], after)
            }
            (byte, after) => {
                utf8[0] = *byte;
                (&utf8[..1], after)
            }
        };
        buffer.get_mut(len..len + text.len())?.copy_from_slice(text);
        len += text.len();
        rest = after;
    }
    Some(&buffer[..len])
}

/// The character that one or two `\u` escapes name, given what follows the first `\u`.
fn code_point(rest: &[u8]) -> Option<(char, &[u8])> {
    let (first, rest) = hex4(rest)?;
    if let Some(c) = char::from_u32(first) {
        return Some((c, rest));
    }
    let (second, rest) = hex4(rest.strip_prefix(b"\\u")?)?;
    let is_pair = (0xd800..0xdc00).contains(&first) && (0xdc00..0xe000).contains(&second);
    let joined = 0x1_0000 + ((first & 0x3ff) << 10) + (second & 0x3ff);
    let c = char::from_u32(joined).filter(|_| is_pair)?;
    Some((c, rest))
}

fn hex4(rest: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) = rest.split_first_chunk::<4>()?;
    let digit = |value: u32, b: &u8| Some(value << 4 | char::from(*b).to_digit(16)?);
    Some((digits.iter().try_fold(0, digit)?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<(), Reject> {
        let mut scanner = Scanner::new(text.as_bytes());
        scanner.space();
        scanner.skip_value(0)?;
        scanner.end()
    }

    #[test]
    fn the_grammar_is_the_rfcs() {
        for text in [
            "0",
            "-0.5e+10",
            "1E9",
            "1e-9",
            " [ ] ",
            "{ }",
            r#"{"a":[1,{"b":null}],"c":"\u00e9\n"}"#,
            "[[],{},[true,false]]",
            "\"\"",
            "\"é\u{7f}\"",
            r#""\ud800""#,
            "\t\r\n1 ",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
        for text in [
            "01",
            "+1",
            ".5",
            "1.e5",
            "[1,]",
            "[,1]",
            "{,}",
            r#"{"a"}"#,
            r#"{"a":1,}"#,
            "{1:2}",
            "[1}",
            "{\"a\":1]",
            "trux",
            "nulL",
            "1 2",
            "\"\n\"",
            r#""\x""#,
            r#""\u12g4""#,
            "[1 2]",
            "1x",
            "'a'",
            "\u{a0}1",
        ] {
            assert_eq!(check(text), Err(Reject::NotJson), "{text}");
        }
        for text in [
            "", " ", "-", "1.", "1e", "1e+", "tru", "\"", "\"\\", r#""\u12"#, "[", "[1,",
            "{\"a\":", "{\"a\"",
        ] {
            assert_eq!(check(text), Err(Reject::Truncated), "{text}");
        }
    }

    #[test]
    fn nesting_has_a_bound() {
        let nested = |depth: usize| {
            format!(
                "{}{}",
                "[{\"a\":".repeat(depth / 2),
                "[]".to_owned() + &"}]".repeat(depth / 2)
            )
        };
        assert_eq!(check(&nested(NESTING_MAX as usize - 2)), Ok(()));
        assert_eq!(check(&nested(NESTING_MAX as usize)), Err(Reject::NotJson));
        assert_eq!(check(&"[".repeat(100_000)), Err(Reject::NotJson));
    }

    #[test]
    fn a_string_ends_at_its_first_bare_quote_wherever_that_falls_in_a_word() {
        for len in 0..40 {
            for stop in ["\"", "\\\"", "é", "\u{1}"] {
                let text = format!("\"{}{stop}{}\"", "x".repeat(len), "y".repeat(9));
                let span = Scanner::new(text.as_bytes()).string();
                match stop {
                    "\"" => assert_eq!(
                        span,
                        Ok(Span {
                            start: 1,
                            end: 1 + len as u32
                        })
                    ),
                    "\u{1}" => assert_eq!(span, Err(Reject::NotJson)),
                    _ => assert_eq!(span.unwrap().end as usize, text.len() - 1),
                }
            }
        }
    }

    #[test]
    fn escapes_resolve_as_the_oracle_says() {
        let mut buffer = [0; 32];
        for text in [
            r#"a\"b\\c\/\b\f\n\r\t"#,
            r"\u0041\u00e9\u20AC",
            r"\ud83d\ude00",
            r"x\u0000y",
        ] {
            let oracle: String = serde_json::from_str(&format!("\"{text}\"")).unwrap();
            assert_eq!(
                resolve(text.as_bytes(), &mut buffer),
                Some(oracle.as_bytes()),
                "{text}"
            );
        }
        for text in [
            r"\ud83d",
            r"\ud83d\n",
            r"\ude00\ud83d",
            r"\ud83dA",
            r"\ud83d\ud83d",
        ] {
            assert_eq!(resolve(text.as_bytes(), &mut buffer), None, "{text}");
        }
        assert_eq!(resolve(r"\n1234567890".as_bytes(), &mut [0; 10]), None);
        assert_eq!(resolve(b"plain", &mut buffer), None);
    }
}
