//! Lines of text in a datagram, and what every text format of telemetry checks about one.
//!
//! Invariant: each byte of a datagram is in exactly one line, or ends one, or stands in a blank one.

use crate::base::Reject;
use crate::base::limits::{
    MESSAGE_BYTES_MAX, METRIC_NAME_BYTES_MAX, METRIC_TAGS_BYTES_MAX, METRIC_TAGS_MAX,
};
use crate::feed::look;

/// The lines of a datagram without their ends, which are a line feed or a carriage return and one.
///
/// Blank lines are passed over: clients end each line, so the last end begins none.
///
/// ```
/// use hopline::feed::Lines;
/// let lines: Vec<&[u8]> = Lines::new(b"a:1|c\r\n\nb:2|c\n").collect();
/// assert_eq!(lines, [b"a:1|c", b"b:2|c"]);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Lines<'a> {
    rest: &'a [u8],
}

impl<'a> Lines<'a> {
    /// The lines of these bytes.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Lines<'a> {
        Lines { rest: bytes }
    }

    /// What was not looked at yet.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        while !self.rest.is_empty() {
            let end = look::find(b'\n', self.rest);
            let line = without_return(take_line(&mut self.rest, end));
            if !line.is_empty() {
                return Some(line);
            }
        }
        None
    }
}

/// Takes the line that ends there off the rest, or all of it.
#[inline]
pub(crate) fn take_line<'a>(rest: &mut &'a [u8], end: Option<usize>) -> &'a [u8] {
    let Some(end) = end else {
        return core::mem::take(rest);
    };
    let line = &rest[..end];
    *rest = &rest[end + 1..];
    line
}

/// The line without a carriage return at its end.
#[inline]
pub(crate) fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Refuses what no format may go on with: too long, blank, or no UTF-8.
#[inline]
pub(crate) fn check_line(line: &[u8]) -> Result<(), Reject> {
    if line.len() > MESSAGE_BYTES_MAX {
        return Err(Reject::TooLong);
    }
    if line.is_empty() {
        return Err(Reject::Empty);
    }
    look::passed(line.len());
    if line.is_ascii() {
        return Ok(());
    }
    look::passed(line.len());
    match core::str::from_utf8(line) {
        Ok(_) => Ok(()),
        Err(_) => Err(Reject::NotUtf8),
    }
}

/// Refuses a name that is empty or too long.
#[inline]
pub(crate) fn check_name(name: &[u8]) -> Result<(), Reject> {
    match name.len() {
        0 => Err(Reject::EmptyName),
        1..=METRIC_NAME_BYTES_MAX => Ok(()),
        _ => Err(Reject::NameTooLong),
    }
}

/// Refuses tags that are more, or longer, than the bounds; they are parted by `separator`.
#[inline]
pub(crate) fn check_tags(tags: &[u8], separator: u8) -> Result<(), Reject> {
    // So few bytes cannot be too many tags.
    if tags.len() < METRIC_TAGS_MAX {
        return Ok(());
    }
    look::passed(tags.len());
    if tags.len() > METRIC_TAGS_BYTES_MAX
        || memchr::memchr_iter(separator, tags).count() >= METRIC_TAGS_MAX
    {
        return Err(Reject::TagsTooLong);
    }
    Ok(())
}

/// What stands before the first `byte`, and what stands behind it; `None` if there is none.
#[inline]
pub(crate) fn split_once(text: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = look::find(byte, text)?;
    Some((&text[..at], &text[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_in_a_line_or_ends_one() {
        for (bytes, expected) in [
            (&b""[..], &[][..]),
            (b"\n\r\n\n", &[]),
            (b"a", &[&b"a"[..]]),
            (b"a\n", &[b"a"]),
            (b"a\rb\r\r\nc", &[b"a\rb\r", b"c"]),
            (b"\na\n\nb\r", &[b"a", b"b"]),
        ] {
            assert_eq!(Lines::new(bytes).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn bounds_are_refused_on_their_edge() {
        assert_eq!(check_name(b""), Err(Reject::EmptyName));
        assert_eq!(check_name(&[b'a'; METRIC_NAME_BYTES_MAX]), Ok(()));
        let long = [b'a'; METRIC_NAME_BYTES_MAX + 1];
        assert_eq!(check_name(&long), Err(Reject::NameTooLong));
        assert_eq!(check_tags(&[b'a'; METRIC_TAGS_BYTES_MAX], b','), Ok(()));
        let long = [b'a'; METRIC_TAGS_BYTES_MAX + 1];
        assert_eq!(check_tags(&long, b','), Err(Reject::TagsTooLong));
        assert_eq!(check_tags(&[b','; METRIC_TAGS_MAX - 1], b','), Ok(()));
        let many = [b','; METRIC_TAGS_MAX];
        assert_eq!(check_tags(&many, b','), Err(Reject::TagsTooLong));
        assert_eq!(check_line(&[b'a'; MESSAGE_BYTES_MAX]), Ok(()));
        let long = [b'a'; MESSAGE_BYTES_MAX + 1];
        assert_eq!(check_line(&long), Err(Reject::TooLong));
        assert_eq!(check_line(b""), Err(Reject::Empty));
        assert_eq!(check_line(b"\xc3\xa9"), Ok(()));
        assert_eq!(check_line(b"\xc3"), Err(Reject::NotUtf8));
    }
}
