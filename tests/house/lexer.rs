//! Just enough of a Rust lexer for house rules: code without comments and text literals, tokens, paths.
//!
//! Invariant: line numbers hold; nothing here knows a rule.

/// A file taken apart. Both parts are as long as the file, blanks stand for what went to the other.
#[derive(Debug)]
pub(crate) struct Source {
    /// The code; strings and character literals are empty, comments are blank.
    pub(crate) code: String,
    /// The comments alone.
    pub(crate) comments: String,
}

/// One token: an identifier or number, `::`, a lifetime, or one other character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub(crate) text: &'a str,
    /// Counted from 1.
    pub(crate) line: usize,
}

/// A path as written, with the groups of a `use` spelled out: `a::{b, c}` gives `a::b` and `a::c`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Path<'a> {
    pub(crate) segments: Vec<&'a str>,
    pub(crate) line: usize,
    /// How many `mod name { … }` of this file stand around it.
    pub(crate) inline_depth: usize,
    /// It follows `use`, `extern crate` or `#[`, so that even a single segment names a crate.
    pub(crate) names_crate: bool,
    /// `as` follows: another name for it.
    pub(crate) renamed: bool,
}

impl Path<'_> {
    pub(crate) fn text(&self) -> String {
        self.segments.join("::")
    }
}

/// Takes `text` apart into code and comments.
pub(crate) fn split(text: &str) -> Source {
    let bytes = text.as_bytes();
    let blank = |b: &u8| if *b == b'\n' { b'\n' } else { b' ' };
    let mut code: Vec<u8> = bytes.iter().map(blank).collect();
    let mut comments = code.clone();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text[at..];
        let after_word = at > 0 && is_word(bytes[at - 1]);
        let end = if rest.starts_with("//") {
            at + rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            at + block_comment(rest)
        } else {
            let (length, keep) = match (raw_string(rest), bytes[at]) {
                (Some(length), _) if !after_word => (length, 0),
                (_, b'"') => (quoted(rest), 1),
                (_, b'\'') => char_literal(rest).map_or((1, 1), |length| (length, 0)),
                _ => {
                    let length = rest.chars().next().map_or(1, char::len_utf8);
                    (length, length)
                }
            };
            code[at..at + keep].copy_from_slice(&bytes[at..at + keep]);
            at += length;
            continue;
        };
        comments[at..end].copy_from_slice(&bytes[at..end]);
        at = end;
    }
    let utf8 = |bytes| String::from_utf8(bytes).expect("whole characters were copied or blanked");
    Source {
        code: utf8(code),
        comments: utf8(comments),
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// Bytes of the block comment that `rest` begins with; they nest.
fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        let here = &rest.as_bytes()[at..];
        if here.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// Bytes of the raw string that `rest` begins with, if it does: `r"…"`, `br#"…"#`, `cr"…"`.
fn raw_string(rest: &str) -> Option<usize> {
    let body = rest.strip_prefix(['b', 'c']).unwrap_or(rest);
    let body = body.strip_prefix('r')?;
    let hashes = body.len() - body.trim_start_matches('#').len();
    let inner = body[hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let length = inner
        .find(&close)
        .map_or(inner.len(), |end| end + close.len());
    Some(rest.len() - inner.len() + length)
}

/// Bytes of the string that `rest` begins with.
fn quoted(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// Bytes of the character literal that `rest` begins with; `None` for a lifetime.
fn char_literal(rest: &str) -> Option<usize> {
    let mut chars = rest.char_indices().skip(1);
    let (_, first) = chars.next()?;
    if first == '\\' {
        chars.next()?;
        return chars.find(|(_, c)| *c == '\'').map(|(at, _)| at + 1);
    }
    let (at, second) = chars.next()?;
    (second == '\'').then_some(at + 1)
}

/// The tokens of code that [`split`] cleaned.
pub(crate) fn tokens(code: &str) -> Vec<Token<'_>> {
    let bytes = code.as_bytes();
    let (mut at, mut line, mut out) = (0, 1, Vec::new());
    let word_end = |from: usize| {
        (from..bytes.len())
            .find(|i| !is_word(bytes[*i]))
            .unwrap_or(bytes.len())
    };
    while at < bytes.len() {
        let start = at;
        at = match bytes[at] {
            b'\n' => {
                line += 1;
                at += 1;
                continue;
            }
            byte if byte.is_ascii_whitespace() => {
                at += 1;
                continue;
            }
            b':' if code[at..].starts_with("::") => at + 2,
            b'\'' => word_end(at + 1),
            byte if is_word(byte) => word_end(at),
            _ => at + 1,
        };
        // A raw identifier is the word behind its mark.
        let raw =
            &code[start..at] == "r" && bytes.get(at) == Some(&b'#') && word_end(at + 1) > at + 1;
        let start = if raw { at + 1 } else { start };
        at = if raw { word_end(start) } else { at };
        out.push(Token {
            text: &code[start..at],
            line,
        });
    }
    out
}

/// Every path in the tokens; a lone identifier is a path of one segment.
pub(crate) fn paths<'a>(tokens: &[Token<'a>]) -> Vec<Path<'a>> {
    let (mut out, mut at) = (Vec::new(), 0);
    let mut braces = 0_usize;
    let mut modules: Vec<usize> = Vec::new();
    while at < tokens.len() {
        match tokens[at].text {
            "{" => {
                let opens_module = at >= 2 && tokens[at - 2].text == "mod";
                if opens_module {
                    modules.push(braces);
                }
                braces += 1;
            }
            "}" => {
                braces = braces.saturating_sub(1);
                if modules.last() == Some(&braces) {
                    modules.pop();
                }
            }
            _ => {}
        }
        if starts_path(tokens, at) {
            let before = text(tokens, at.wrapping_sub(1));
            let attribute = before == "[" && matches!(text(tokens, at.wrapping_sub(2)), "#" | "!");
            let from = out.len();
            at = path(tokens, at, &[], &mut out);
            for path in &mut out[from..] {
                path.inline_depth = modules.len();
                path.names_crate |= attribute || matches!(before, "use" | "crate");
            }
        } else {
            at += 1;
        }
    }
    out
}

fn text<'a>(tokens: &[Token<'a>], at: usize) -> &'a str {
    tokens.get(at).map_or("", |token| token.text)
}

fn is_identifier(text: &str) -> bool {
    text.bytes()
        .next()
        .is_some_and(|b| is_word(b) && !b.is_ascii_digit())
}

/// Keywords that a path with a leading `::` may follow.
const BEFORE_PATHS: &[&str] = &[
    "as", "dyn", "else", "for", "if", "impl", "in", "match", "mut", "return", "use", "where",
];

/// Whether a path begins at this token: not a field or method, nor the rest of `<T as Trait>::name`.
fn starts_path(tokens: &[Token<'_>], at: usize) -> bool {
    let own = text(tokens, at);
    if !is_identifier(own) || BEFORE_PATHS.contains(&own) {
        return false;
    }
    match text(tokens, at.wrapping_sub(1)) {
        "." => text(tokens, at.wrapping_sub(2)) == ".",
        "::" => {
            let before = text(tokens, at.wrapping_sub(2));
            before != ">" && (!is_identifier(before) || BEFORE_PATHS.contains(&before))
        }
        _ => true,
    }
}

/// Reads one path (or group) from `at`, behind `prefix`; gives the index after it.
fn path<'a>(
    tokens: &[Token<'a>],
    mut at: usize,
    prefix: &[&'a str],
    out: &mut Vec<Path<'a>>,
) -> usize {
    let line = tokens[at].line;
    let mut segments = prefix.to_vec();
    loop {
        segments.push(text(tokens, at));
        at += 1;
        if text(tokens, at) != "::" {
            break;
        }
        let next = text(tokens, at + 1);
        if next == "{" {
            at += 2;
            while at < tokens.len() && text(tokens, at) != "}" {
                at = match text(tokens, at) {
                    "as" => at + 2,
                    item if is_identifier(item) || item == "*" => path(tokens, at, &segments, out),
                    _ => at + 1,
                };
            }
            return at + 1;
        }
        if !(is_identifier(next) || next == "*") {
            break;
        }
        at += 1;
    }
    out.push(Path {
        segments,
        line,
        inline_depth: 0,
        names_crate: false,
        renamed: text(tokens, at) == "as",
    });
    at
}
