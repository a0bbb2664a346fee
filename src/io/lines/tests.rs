//! Lines from files of every kind, whole and spoilt, in slices of every size.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::base::Prng;
use crate::io::gzip::MAGIC;
use crate::io::{FaultPlan, Faulty, IoErrorKind, VirtualNet};

const BUDGETS: [usize; 4] = [1, 100, 4096, usize::MAX];

#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Line(Vec<u8>),
    Bad(Reject),
}

fn line(text: impl AsRef<[u8]>) -> Seen {
    Seen::Line(text.as_ref().to_vec())
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// Reads to the end; filling never stalls, and the counts of lines agree.
fn read_on(
    lines: &mut LineReader,
    driver: &mut Driver,
    budget: usize,
) -> Result<Vec<Seen>, IoError> {
    let mut seen = Vec::new();
    let mut idle = 0;
    while !lines.at_end() {
        let complete = lines.buffered_lines_hint();
        match lines.next_line() {
            Some(LineEvent::Line(text)) => seen.push(line(text)),
            Some(LineEvent::Bad(reason)) => seen.push(Seen::Bad(reason)),
            None => {
                assert_eq!(complete, 0);
                assert!(lines.needs_fill());
                match lines.fill(driver, budget)? {
                    Fill::Full => panic!("full without a line"),
                    Fill::Progress { text_bytes } => {
                        assert!(text_bytes <= budget.max(1));
                        idle = if text_bytes == 0 { idle + 1 } else { 0 };
                        assert!(idle < 1 << 21, "no progress");
                    }
                    Fill::End => {}
                }
                continue;
            }
        }
        assert_eq!(lines.line_number(), seen.len() as u64);
    }
    assert_eq!(lines.next_line(), None);
    assert_eq!(lines.fill(driver, budget), Ok(Fill::End));
    Ok(seen)
}

fn read(bytes: &[u8], budget: usize) -> Vec<Seen> {
    let net = VirtualNet::new();
    net.put_file("in", bytes);
    let mut driver = Driver::from(net.driver());
    let mut lines = LineReader::open(&mut driver, "in".as_ref(), 0).unwrap();
    let seen = read_on(&mut lines, &mut driver, budget).unwrap();
    lines.close(&mut driver).unwrap();
    seen
}

/// The same text plain, as gzip, and as gzip of two members, in slices of all sizes.
fn assert_reads(text: &[u8], expected: &[Seen]) {
    let (front, back) = text.split_at(text.len() / 3);
    let members = [gzip(front), gzip(b""), gzip(back)].concat();
    for budget in BUDGETS {
        assert_eq!(read(text, budget), expected, "plain, {budget}");
        assert_eq!(read(&gzip(text), budget), expected, "gzip, {budget}");
        assert_eq!(read(&members, budget), expected, "members, {budget}");
    }
}

#[test]
fn lines_end_in_every_way() {
    assert_reads(b"", &[]);
    assert_reads(b"one", &[line("one")]);
    assert_reads(b"one\ntwo\n", &[line("one"), line("two")]);
    assert_reads(
        b"one\r\n\n\r\ntwo\rtoo\nend\r",
        &[
            line("one"),
            line(""),
            line(""),
            line("two\rtoo"),
            line("end"),
        ],
    );
    assert_reads(b"\n", &[line("")]);
}

#[test]
fn a_line_of_the_largest_size_is_a_line_and_one_byte_more_is_not() {
    let largest = vec![b'x'; LINE_BYTES_MAX];
    let longer = vec![b'x'; LINE_BYTES_MAX + 1];
    for end in [&b"\n"[..], b"\r\n"] {
        let text = [&largest, end, &longer, end, b"after", end, &largest].concat();
        let expected = [
            line(&largest),
            Seen::Bad(Reject::TooLong),
            line("after"),
            line(&largest),
        ];
        for budget in [100, 4096, usize::MAX] {
            assert_eq!(read(&text, budget), expected);
            assert_eq!(read(&gzip(&text), budget), expected);
        }
    }
    assert_eq!(read(&longer, 4096), [Seen::Bad(Reject::TooLong)]);
}

#[test]
fn a_line_of_a_megabyte_is_skipped_once_and_the_next_lines_come() {
    let text = [&b"before\n"[..], &vec![b'x'; 1 << 20], b"\nafter\nend"].concat();
    let expected = [
        line("before"),
        Seen::Bad(Reject::TooLong),
        line("after"),
        line("end"),
    ];
    for budget in [1000, 4096, usize::MAX] {
        assert_eq!(read(&text, budget), expected);
        assert_eq!(read(&gzip(&text), budget), expected);
    }
}

fn numbered(count: usize) -> Vec<u8> {
    let mut prng = Prng::new(3);
    (0..count)
        .flat_map(|at| format!("{at} {}\n", prng.next_u64()).into_bytes())
        .collect()
}

#[test]
fn a_cut_gzip_gives_its_whole_lines_and_says_truncated_once() {
    let text = numbered(60);
    let whole = read(&text, 4096);
    let packed = gzip(&text);
    for cut in 1..packed.len() {
        let mut seen = read(&packed[..cut], 700);
        assert_eq!(
            seen.pop(),
            Some(Seen::Bad(Reject::Truncated)),
            "cut at {cut}"
        );
        assert_eq!(seen, whole[..seen.len()], "cut at {cut}");
    }
    // All but the last bytes of the trailer: no line is missing, and still it is said.
    assert_eq!(
        read(&packed[..packed.len() - 1], 700).len(),
        whole.len() + 1
    );
    let two = [packed.clone(), packed[..packed.len() / 2].to_vec()].concat();
    let seen = read(&two, 700);
    assert_eq!(seen[..whole.len()], whole);
    assert_eq!(seen.last(), Some(&Seen::Bad(Reject::Truncated)));
}

#[test]
fn a_changed_byte_in_gzip_is_never_silent_and_said_once() {
    let text = numbered(60);
    let whole = read(&text, 4096);
    let packed = gzip(&text);
    // Behind the fixed head, whose time and system of origin mean nothing here.
    for place in 10..packed.len() {
        let mut bad = packed.clone();
        bad[place] ^= 0x04;
        let seen = read(&bad, usize::MAX);
        let breaks = |seen: &Seen| matches!(seen, Seen::Bad(Reject::Corrupt | Reject::Truncated));
        // The last byte of the body may have bits that mean nothing.
        if place == packed.len() - 9 && seen == whole {
            continue;
        }
        assert_eq!(
            seen.iter().filter(|seen| breaks(seen)).count(),
            1,
            "byte {place}"
        );
        assert!(breaks(&seen[seen.len() - 1]), "byte {place}");
    }
    let behind = [packed, b"no gzip\n".to_vec()].concat();
    let seen = read(&behind, 700);
    assert_eq!(seen[..whole.len()], whole);
    assert_eq!(seen[whole.len()..], [Seen::Bad(Reject::Corrupt)]);
}

#[test]
fn garbage_comes_out_as_lines_that_hold_every_byte() {
    let mut prng = Prng::new(11);
    for _ in 0..20 {
        let garbage: Vec<u8> = (0..10_000)
            .map(|_| match prng.below(20) {
                0 => b'\n',
                1 => b'\r',
                _ => prng.next_u64() as u8,
            })
            .collect();
        let expected: Vec<Seen> = garbage
            .strip_suffix(b"\n")
            .unwrap_or(&garbage)
            .split(|&byte| byte == b'\n')
            .map(|text| line(text.strip_suffix(b"\r").unwrap_or(text)))
            .collect();
        if garbage[..2] != MAGIC {
            assert_eq!(read(&garbage, 333), expected);
        }
        let packed = [&MAGIC[..], &garbage].concat();
        assert_eq!(read(&packed, 333), [Seen::Bad(Reject::Corrupt)]);
    }
}

#[test]
fn reading_ahead_stops_when_the_buffer_is_full_and_goes_on_after() {
    let text = numbered(20_000);
    let net = VirtualNet::new();
    net.put_file("plain", &text);
    net.put_file("gzip", &gzip(&text));
    let whole = read(&text, 4096);
    for path in ["plain", "gzip"] {
        let mut driver = Driver::from(net.driver());
        let mut lines = LineReader::open(&mut driver, path.as_ref(), 0).unwrap();
        let mut seen = Vec::new();
        while !lines.at_end() {
            while lines.needs_fill() {
                assert_ne!(lines.fill(&mut driver, 4096), Ok(Fill::Full));
            }
            assert!(lines.at_end() || lines.buffered_lines_hint() > 0);
            assert!(matches!(
                lines.fill(&mut driver, 4096),
                Ok(Fill::Full | Fill::End)
            ));
            for _ in 0..1000 {
                if let Some(LineEvent::Line(text)) = lines.next_line() {
                    seen.push(line(text));
                }
            }
        }
        assert!(seen == whole, "{path}: {} of {}", seen.len(), whole.len());
        assert!(lines.memory_bytes() > LINE_BUFFER_BYTES_MIN);
    }
}

#[test]
fn a_failed_read_is_an_error_then_truncated_after_the_whole_lines() {
    let net = VirtualNet::new();
    net.put_file("in", b"one\ntwo\nthree\n");
    let plan = FaultPlan {
        read_error_after_bytes: Some(10),
        ..FaultPlan::default()
    };
    let mut driver = Driver::from(Faulty::new(net.driver().into(), plan));
    let mut lines = LineReader::open(&mut driver, "in".as_ref(), 0).unwrap();
    let error = read_on(&mut lines, &mut driver, 4).unwrap_err();
    assert_eq!(error.kind, IoErrorKind::Other);
    assert_eq!(
        lines.next_line(),
        Some(LineEvent::Bad(Reject::Truncated)),
        "of the third line, \"th\" was read"
    );
    assert!(lines.at_end());
    let none = LineReader::open(&mut driver, "in".as_ref(), 0).unwrap_err();
    assert!(none.to_string().starts_with("cannot read in: "), "{none}");
    let missing = LineReader::open(&mut driver, "absent".as_ref(), 0).unwrap_err();
    assert_eq!(missing.kind, IoErrorKind::NotFound);
}

#[test]
fn memory_is_what_it_says() {
    let net = VirtualNet::new();
    net.put_file("plain", b"text");
    net.put_file("gzip", &gzip(b"text"));
    let mut driver = Driver::from(net.driver());
    let plain = LineReader::open(&mut driver, "plain".as_ref(), 1 << 20).unwrap();
    assert_eq!(plain.memory_bytes(), (1 << 20) + size_of::<LineReader>());
    let packed = LineReader::open(&mut driver, "gzip".as_ref(), 1 << 20).unwrap();
    assert_eq!(
        packed.memory_bytes(),
        plain.memory_bytes() + crate::io::packed::PACKED_BYTES + crate::io::gzip::INFLATE_BYTES
    );
}
