//! Graphite's plaintext against a reading of the rules that splits texts.

use hopline::base::limits::{
    MESSAGE_BYTES_MAX, METRIC_NAME_BYTES_MAX, METRIC_TAGS_BYTES_MAX, METRIC_TAGS_MAX,
};
use hopline::base::{Prng, Reject};
use hopline::feed::{Lines, graphite};
use hopline::wire::Splitter;

use crate::edits::{edited, lies_in};
use crate::{float, inputs, lines_of, seconds_ns};

/// Path, tags, bits of the value, time.
type Owned = (String, String, u64, Option<u64>);

fn read(line: &[u8]) -> Result<Owned, Reject> {
    let point = graphite::parse(line)?;
    assert!(lies_in(point.path, line));
    for tag in point.sample().tags {
        let (key, value) = tag.pair();
        assert!(!key.is_empty() && !value.is_empty() && lies_in(tag.bytes, line));
    }
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    Ok((
        text(point.path),
        text(point.tags),
        point.value.to_bits(),
        point.at_ns,
    ))
}

fn oracle(line: &[u8]) -> Result<Owned, Reject> {
    if line.len() > MESSAGE_BYTES_MAX {
        return Err(Reject::TooLong);
    }
    if line.is_empty() {
        return Err(Reject::Empty);
    }
    let text = std::str::from_utf8(line).map_err(|_| Reject::NotUtf8)?;
    let words = text.split(|c: char| c.is_ascii_whitespace());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    let (name, value, time) = match words[..] {
        [] => return Err(Reject::Empty),
        [_] | [_, _] => return Err(Reject::MissingField),
        [name, value, time] => (name, value, time),
        _ => return Err(Reject::BadLine),
    };
    let parts: Vec<&str> = name.split(';').collect();
    let path = parts[0];
    if path.is_empty() {
        return Err(Reject::EmptyName);
    }
    if path.len() > METRIC_NAME_BYTES_MAX {
        return Err(Reject::NameTooLong);
    }
    let tags = name.get(path.len() + 1..).unwrap_or("");
    if parts.len() - 1 > METRIC_TAGS_MAX || tags.len() > METRIC_TAGS_BYTES_MAX {
        return Err(Reject::TagsTooLong);
    }
    for tag in &parts[1..] {
        let (key, value) = tag.split_once('=').ok_or(Reject::BadTags)?;
        if key.is_empty() || key.contains(['!', '^']) || value.is_empty() || value.starts_with('~')
        {
            return Err(Reject::BadTags);
        }
    }
    let value = float(value)?;
    let at_ns = match time {
        "-1" => None,
        time => Some(seconds_ns(time).ok_or(Reject::BadTime)?),
    };
    Ok((path.into(), tags.into(), value.to_bits(), at_ns))
}

const SEEDS: &[&[u8]] = &[
    b"local.random.diceroll 4 1700000000",
    b"test.bash.stats 42 1461149434",
    b"disk.used;datacenter=dc1;rack=a1;server=web01 1234.5 1700000000.25",
    b"my.series;tag1=value1;tag2=value2 -1e-3 -1",
    b"collectd.host.load.load.shortterm 0.080000 1700000001\r\ncollectd.host.cpu-0.cpu-user nan 1700000001\r\n",
    b"\ta.b\t 1 \t 2  \n\xc3\xa9;\xc3\xa0=\xc3\xbc 3 4",
];

#[test]
fn edited_lines_are_what_the_oracle_says() {
    let mut prng = Prng::new(0x6a27_0001);
    let (mut good, mut refused) = (0, 0);
    for _ in 0..inputs() {
        let input = edited(&mut prng, SEEDS);
        let lines: Vec<&[u8]> = Lines::new(&input).collect();
        assert_eq!(lines, lines_of(&input));
        for line in lines {
            let given = read(line);
            assert_eq!(given, oracle(line), "{}", line.escape_ascii());
            good += u64::from(given.is_ok());
            refused += u64::from(given.is_err());
        }
    }
    assert!(
        good > inputs() / 4 && refused > inputs() / 4,
        "{good} {refused}"
    );
}

#[test]
fn a_stream_in_any_pieces_has_the_lines_of_the_whole() {
    let stream = [SEEDS[2], b"\n", SEEDS[4], SEEDS[5], b"\n"].concat();
    let whole: Vec<_> = stream
        .split_inclusive(|byte| *byte == b'\n')
        .map(|line| read(&line[..line.len() - 1]))
        .collect();
    for first in 0..=stream.len() {
        let mut splitter = Splitter::new(100);
        let mut read_so_far = Vec::new();
        for piece in [&stream[..first], &stream[first..]] {
            assert_eq!(splitter.push(piece), piece.len());
            while let Some(line) = splitter.next_line() {
                read_so_far.push(read(line));
            }
        }
        assert_eq!(read_so_far, whole, "cut at {first}");
        assert!(!splitter.is_inside());
    }
}
