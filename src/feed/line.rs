//! The lines of a capture: `<nanoseconds> <json>`.
//!
//! Invariant: only splits; the JSON is the decoder's to judge.

use crate::base::Reject;
use crate::base::limits::LINE_BYTES_MAX;

/// The time at which a line was received, in nanoseconds since 1970, and its JSON.
///
/// One space parts the two. A line feed at the end, or a carriage return before it, is not part of
/// the line.
///
/// ```
/// use hopline::feed::parse_line;
/// assert_eq!(parse_line(b"1723161255088169167 {}\r\n"), Ok((1_723_161_255_088_169_167, &b"{}"[..])));
/// ```
///
/// # Errors
/// [`Reject::Empty`] for nothing but blanks; [`Reject::TooLong`] beyond [`LINE_BYTES_MAX`];
/// [`Reject::BeyondScale`] for a time that does not fit in 64 bits; [`Reject::BadLine`] for any
/// other text that is not digits, a space and something more.
#[inline]
pub fn parse_line(line: &[u8]) -> Result<(u64, &[u8]), Reject> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.len() > LINE_BYTES_MAX {
        return Err(Reject::TooLong);
    }
    let digits = line.iter().take_while(|b| b.is_ascii_digit()).count();
    let (time, json) = match line.split_at(digits) {
        (time @ [_, ..], [b' ', json @ ..]) if !json.trim_ascii().is_empty() => (time, json),
        _ if line.trim_ascii().is_empty() => return Err(Reject::Empty),
        _ => return Err(Reject::BadLine),
    };
    let digit = |ns: u64, b: &u8| ns.checked_mul(10)?.checked_add(u64::from(b - b'0'));
    let ns = time.iter().try_fold(0, digit).ok_or(Reject::BeyondScale)?;
    Ok((ns, json))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_time_a_space_and_something_more() {
        for end in ["", "\n", "\r\n", "\r"] {
            let line = format!("18446744073709551615 {{\"a\": 1}}{end}");
            assert_eq!(
                parse_line(line.as_bytes()),
                Ok((u64::MAX, &b"{\"a\": 1}"[..]))
            );
        }
        for line in ["", "\n", "\r\n", "   \n"] {
            assert_eq!(parse_line(line.as_bytes()), Err(Reject::Empty), "{line:?}");
        }
        for line in [
            "1", "1 ", "1 \t\r\n", "{}", " 1 {}", "-1 {}", "1.5 {}", "1\t{}", "1{} ", "x 1",
        ] {
            assert_eq!(
                parse_line(line.as_bytes()),
                Err(Reject::BadLine),
                "{line:?}"
            );
        }
        assert_eq!(
            parse_line(b"18446744073709551616 {}"),
            Err(Reject::BeyondScale)
        );
        let long = vec![b'1'; LINE_BYTES_MAX + 1];
        assert_eq!(parse_line(&long), Err(Reject::TooLong));
    }
}
