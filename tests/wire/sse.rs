//! Server-sent events: what the encoder writes, what the parser reads, and the specification's own
//! examples, cut at every byte.
//!
//! Invariant: the plain parser below follows section 9.2.6 step by step on the whole stream, and
//! knows neither pieces nor limits.

use hopline::base::Prng;
use hopline::wire::Output;
use hopline::wire::sse::{
    Dropped, Incoming, Limits, NotEncoded, Outgoing, Parser, comment, encode, encoded_bytes, retry,
};

use crate::cuts::{Streamed, all_cuts, pieces, streamed};

/// The events of a stream that is whole.
pub(crate) fn plain(bytes: &[u8]) -> (Vec<Streamed>, Vec<u8>) {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut text = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let end = bytes[at..].starts_with(b"\r\n");
        text.push(if bytes[at] == b'\r' { b'\n' } else { bytes[at] });
        at += if end { 2 } else { 1 };
    }
    let mut lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    lines.pop();
    let (mut all, mut last) = (Vec::new(), Vec::new());
    let (mut data, mut kind, mut id) = (Vec::new(), Vec::new(), Vec::new());
    for line in lines {
        if line.is_empty() {
            last.clone_from(&id);
            let kind = core::mem::take(&mut kind);
            let mut data: Vec<u8> = core::mem::take(&mut data);
            if data.pop().is_some() {
                let named = if kind.is_empty() {
                    b"message".to_vec()
                } else {
                    kind
                };
                all.push(Streamed::Event(named, data, last.clone()));
            }
            continue;
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = line.split_at(colon.unwrap_or(line.len()));
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"event" => kind = value.to_vec(),
            b"data" => {
                data.extend_from_slice(value);
                data.push(b'\n');
            }
            b"id" if !value.contains(&0) => id = value.to_vec(),
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                let digits = core::str::from_utf8(value).unwrap();
                all.push(Streamed::Retry(digits.parse().unwrap_or(u64::MAX)));
            }
            _ => {}
        }
    }
    (all, last)
}

fn event(kind: &str, data: &str, id: &str) -> Streamed {
    let own = |text: &str| text.as_bytes().to_vec();
    Streamed::Event(own(kind), own(data), own(id))
}

/// The examples of the specification (9.2.6, and 9.2.1 for the first), with what it says of them.
fn examples() -> Vec<(&'static str, Vec<Streamed>, &'static str)> {
    vec![
        (
            "event: add\ndata: 73857293\n\nevent: remove\ndata: 2153\n\n",
            vec![event("add", "73857293", ""), event("remove", "2153", "")],
            "",
        ),
        (
            "data: YHOO\ndata: +2\ndata: 10\n\n",
            vec![event("message", "YHOO\n+2\n10", "")],
            "",
        ),
        (
            ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n",
            vec![
                event("message", "first event", "1"),
                event("message", "second event", ""),
            ],
            "",
        ),
        (
            "data\n\ndata\ndata\n\ndata:",
            vec![event("message", "", ""), event("message", "\n", "")],
            "",
        ),
        (
            "data:test\n\ndata: test\n\n",
            vec![event("message", "test", ""), event("message", "test", "")],
            "",
        ),
        ("id: 7\n\nid: 8\n", vec![], "7"),
        (
            "retry: 2500\nretry: 2x\nretry:\n\n",
            vec![Streamed::Retry(2_500)],
            "",
        ),
        ("id: 3\0\ndata: a\n\n", vec![event("message", "a", "")], ""),
        (
            "event: lost\n\ndata: a\n\n",
            vec![event("message", "a", "")],
            "",
        ),
        (
            "\u{feff}data: a\r\rdata: b\r\n\r\n",
            vec![event("message", "a", ""), event("message", "b", "")],
            "",
        ),
        ("\u{feff}\u{feff}data: a\n\n", vec![], ""),
        (
            "unknown: a\ndata: b\nDATA: c\n\n",
            vec![event("message", "b", "")],
            "",
        ),
    ]
}

#[test]
fn the_specifications_examples_come_out_as_it_says_cut_at_every_byte() {
    for (text, expected, last) in examples() {
        let expected = (expected, last.as_bytes().to_vec());
        assert_eq!(plain(text.as_bytes()), expected, "{text:?}");
        for pieces in all_cuts(text.as_bytes()) {
            assert_eq!(streamed(Limits::default(), &pieces), expected, "{text:?}");
        }
    }
}

#[test]
fn random_streams_in_random_cuts_are_parsed_as_the_whole_is() {
    let words: [&[u8]; 16] = [
        b"data",
        b"event",
        b"id",
        b"retry",
        b":",
        b": ",
        b" ",
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b"7",
        b"x",
        b"\0",
        b"\xef\xbb\xbf",
        b"\xff",
    ];
    let mut prng = Prng::new(9);
    for _ in 0..3_000 {
        let bytes: Vec<u8> = (0..prng.below(60))
            .flat_map(|_| words[prng.below(16) as usize].to_vec())
            .collect();
        let cut = pieces(&bytes, 7, &mut prng);
        assert_eq!(
            streamed(Limits::default(), &cut),
            plain(&bytes),
            "{}",
            bytes.escape_ascii()
        );
    }
}

#[test]
fn what_goes_in_comes_out_whatever_the_data_is() {
    let mut prng = Prng::new(5);
    let mut output = Output::new(1 << 20);
    let mut expected = Vec::new();
    for number in 0..2_000_u32 {
        let data: Vec<u8> = (0..prng.below(40))
            .map(|_| b"ab:\r\n \0\xff"[prng.below(8) as usize])
            .collect();
        let (id, kind) = (number.to_string(), format!("k{}", number % 7));
        let outgoing = Outgoing {
            id: Some(&id),
            event: (number % 3 > 0).then_some(kind.as_str()),
            data: &data,
        };
        let before = output.len();
        encode(&mut output, &outgoing).unwrap();
        assert_eq!(output.len() - before, encoded_bytes(&outgoing));
        comment(&mut output, "beat\r\n").unwrap();
        retry(&mut output, u64::from(number)).unwrap();
        let text = data
            .iter()
            .map(|byte| char::from(*byte))
            .collect::<String>();
        let joined = text.replace("\r\n", "\n").replace('\r', "\n");
        let joined = joined.chars().map(|c| c as u8).collect();
        let kind = outgoing.event.unwrap_or("message").as_bytes().to_vec();
        expected.push(Streamed::Event(kind, joined, id.into_bytes()));
        expected.push(Streamed::Retry(u64::from(number)));
    }
    let cut = pieces(output.pending(), 50, &mut prng);
    assert_eq!(streamed(Limits::default(), &cut).0, expected);
}

#[test]
fn what_is_over_a_limit_is_dropped_whole_and_the_next_one_comes() {
    let limits = Limits {
        line_bytes_max: 2_000,
        event_bytes_max: 20,
    };
    let long = |len: usize| "x".repeat(len);
    let cases = [
        (format!("data: {}\n\n", long(20)), None),
        (
            format!("data: {}\n\n", long(21)),
            Some(Dropped::EventTooLong),
        ),
        (format!("data: {}\ndata: {}\n\n", long(10), long(9)), None),
        (
            format!("data: {}\ndata: {}\n\n", long(10), long(10)),
            Some(Dropped::EventTooLong),
        ),
        (format!("data: a\nother: {}\n\n", long(1_993)), None),
        (
            format!("data: a\nother: {}\n\n", long(1_994)),
            Some(Dropped::LineTooLong),
        ),
        (format!("data: a\nevent: {}\n\n", long(256)), None),
        (
            format!("data: a\nevent: {}\n\n", long(257)),
            Some(Dropped::TypeTooLong),
        ),
        (format!("data: a\nid: {}\n\n", long(1_024)), None),
        (
            format!("data: a\nid: {}\n\n", long(1_025)),
            Some(Dropped::IdTooLong),
        ),
    ];
    for (text, dropped) in cases {
        let stream = format!("{text}id: 9\ndata: next\n\n");
        let mut pieces = vec![
            vec![stream.as_bytes()],
            stream.as_bytes().chunks(1).collect(),
        ];
        pieces.push(stream.as_bytes().chunks(100).collect());
        for cut in pieces {
            let (all, last) = streamed(limits, &cut);
            assert_eq!(all.len(), 2, "{}", &text[..20]);
            match dropped {
                Some(why) => assert_eq!(all[0], Streamed::Dropped(why)),
                None => assert!(matches!(all[0], Streamed::Event(..))),
            }
            assert_eq!(all[1], event("message", "next", "9"));
            assert_eq!(last, b"9");
        }
    }
}

#[test]
fn a_stream_that_ends_inside_an_event_drops_it_and_keeps_its_place() {
    for (text, cut) in [
        ("id: 1\ndata: a\n\n", false),
        ("id: 1\ndata: a\n\n: beat\n", false),
        ("id: 1\ndata: a\n\nid: 2\ndata: b\n", true),
        ("id: 1\ndata: a\n\nda", true),
    ] {
        let mut parser = Parser::new(Limits::default());
        let mut input = text.as_bytes();
        while parser.poll(&mut input).is_some() {}
        assert_eq!(parser.end(), cut.then_some(Dropped::Truncated), "{text:?}");
        assert_eq!(parser.counts().dropped(Dropped::Truncated), u64::from(cut));
        assert_eq!(parser.last_event_id(), b"1");
        // The next stream goes on from there: an event without an id has the last one.
        let mut input: &[u8] = b"data: c\n\n";
        let expected = Incoming::Event {
            event: b"message",
            data: b"c",
            id: b"1",
        };
        assert_eq!(parser.poll(&mut input), Some(expected));
    }
}

#[test]
fn a_field_that_would_begin_another_is_refused() {
    let mut output = Output::new(100);
    let id = |id| Outgoing {
        id: Some(id),
        ..Outgoing::default()
    };
    for bad in ["a\nb", "a\rb", "a\0b"] {
        assert_eq!(encode(&mut output, &id(bad)), Err(NotEncoded::BadId));
    }
    let kind = Outgoing {
        event: Some("a\ndata: b"),
        ..Outgoing::default()
    };
    assert_eq!(encode(&mut output, &kind), Err(NotEncoded::BadEvent));
    let long = Outgoing {
        data: &[b'x'; 100],
        ..Outgoing::default()
    };
    assert!(matches!(
        encode(&mut output, &long),
        Err(NotEncoded::Full(_))
    ));
    assert!(comment(&mut output, &"x".repeat(97)).is_err());
    assert!(output.is_empty());
}
