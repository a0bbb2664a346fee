//! Lines of JSON: in any cuts, against a plain split of the whole.
//!
//! Invariant: the plain split knows nothing of pieces.

use hopline::base::Prng;
use hopline::wire::Output;
use hopline::wire::ndjson::{NotWritten, write};

use crate::cuts::{Split, all_cuts, pieces, split};

/// What comes out, by the whole stream.
pub(crate) fn plain(line_bytes_max: usize, bytes: &[u8]) -> Vec<Split> {
    let mut all = Vec::new();
    let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    let rest = lines.pop().unwrap();
    for line in lines {
        let text = line.strip_suffix(b"\r").unwrap_or(line);
        if text.len() > line_bytes_max {
            all.push(Split::TooLong(line.len() as u64));
        } else if !text.is_empty() {
            all.push(Split::Whole(text.to_vec()));
        }
    }
    let text = rest.strip_suffix(b"\r").unwrap_or(rest);
    if rest.len() > line_bytes_max + 1 {
        all.push(Split::TooLong(rest.len() as u64));
    } else if !text.is_empty() {
        all.push(Split::Rest(text.to_vec()));
    }
    all
}

#[test]
fn a_cut_at_every_byte_changes_no_line() {
    let stream = b"{\"a\":1}\n\r\n\n12345678\r\n123456789\n1234567890\r\n\r\rx\r\n12345678901234567890\r\n{}\n{\"c\"";
    for line_bytes_max in [0, 1, 2, 7, 8, 9, 10, 64] {
        let expected = plain(line_bytes_max, stream);
        for pieces in all_cuts(stream) {
            assert_eq!(split(line_bytes_max, &pieces), expected, "{line_bytes_max}");
        }
    }
}

#[test]
fn random_streams_in_random_cuts_are_split_as_the_whole_is() {
    let mut prng = Prng::new(3);
    for _ in 0..2_000 {
        let len = prng.below(200) as usize;
        let bytes: Vec<u8> = (0..len)
            .map(|_| b"\n\r{}a1"[prng.below(6) as usize])
            .collect();
        let line_bytes_max = prng.below(12) as usize;
        let cut = pieces(&bytes, 9, &mut prng);
        assert_eq!(split(line_bytes_max, &cut), plain(line_bytes_max, &bytes));
    }
}

#[test]
fn what_is_written_is_one_line_or_nothing() {
    let mut output = Output::new(8);
    assert_eq!(write(&mut output, b"{\n}"), Err(NotWritten::NotOneLine(1)));
    assert_eq!(write(&mut output, b"{}\r"), Err(NotWritten::NotOneLine(2)));
    write(&mut output, b"1234567").unwrap();
    assert!(matches!(write(&mut output, b""), Err(NotWritten::Full(_))));
    assert_eq!(output.pending(), b"1234567\n");
}
