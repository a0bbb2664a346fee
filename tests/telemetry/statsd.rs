//! StatsD and DogStatsD against a reading of the rules that splits texts and takes its time.

use hopline::base::limits::{
    MESSAGE_BYTES_MAX, METRIC_NAME_BYTES_MAX, METRIC_TAGS_BYTES_MAX, METRIC_TAGS_MAX,
};
use hopline::base::{Prng, Reject};
use hopline::feed::statsd::{self, Line};
use hopline::feed::{Class, Lines};

use crate::edits::{edited, lies_in};
use crate::{captured, float, inputs, lines_of, seconds_ns};

/// A line without its borrows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Owned {
    Metric {
        name: String,
        class: Class,
        /// Bits of each value, and whether it was signed.
        values: Vec<(u64, bool)>,
        member: String,
        tags: String,
        rate: u64,
        at_ns: Option<u64>,
        container: String,
    },
    Event(String, String, String),
    Check(String, u8, String),
}

fn read(line: &[u8]) -> Result<Owned, Reject> {
    let text = |bytes: &[u8]| {
        assert!(bytes.is_empty() || lies_in(bytes, line));
        String::from_utf8(bytes.to_vec()).unwrap()
    };
    Ok(match statsd::parse(line)? {
        Line::Metric(metric) => {
            let values: Vec<_> = metric
                .values
                .map(|n| (n.value.to_bits(), n.signed))
                .collect();
            assert_eq!(values.is_empty(), metric.class == Class::Set);
            for tag in metric.sample().tags {
                let (key, value) = tag.pair();
                assert!(key.len() + value.len() <= tag.bytes.len());
            }
            Owned::Metric {
                name: text(metric.name),
                class: metric.class,
                values,
                member: text(metric.member),
                tags: text(metric.tags),
                rate: metric.rate.to_bits(),
                at_ns: metric.at_ns,
                container: text(metric.container),
            }
        }
        Line::Event(event) => Owned::Event(text(event.title), text(event.text), text(event.rest)),
        Line::Check(check) => Owned::Check(text(check.name), check.status, text(check.rest)),
    })
}

pub(crate) fn oracle(line: &[u8]) -> Result<Owned, Reject> {
    if line.len() > MESSAGE_BYTES_MAX {
        return Err(Reject::TooLong);
    }
    if line.is_empty() {
        return Err(Reject::Empty);
    }
    let text = std::str::from_utf8(line).map_err(|_| Reject::NotUtf8)?;
    if text.starts_with("_e{") {
        return event(text).ok_or(Reject::BadEvent);
    }
    if text.starts_with("_sc|") {
        return check(text).ok_or(Reject::BadCheck);
    }
    let parts: Vec<&str> = text.split('|').collect();
    let (name, values) = parts[0].split_once(':').ok_or(Reject::MissingField)?;
    if parts.len() < 2 {
        return Err(Reject::MissingField);
    }
    match name.len() {
        0 => return Err(Reject::EmptyName),
        len if len > METRIC_NAME_BYTES_MAX => return Err(Reject::NameTooLong),
        _ => {}
    }
    if values.is_empty() || parts[1].is_empty() {
        return Err(Reject::MissingField);
    }
    let classes = ["c", "g", "ms", "h", "d", "s"];
    let class = classes.iter().position(|class| *class == parts[1]);
    let class = Class::ALL[class.ok_or(Reject::UnknownKind)?];
    let (mut numbers, mut member) = (Vec::new(), "");
    if class == Class::Set {
        member = values;
    } else {
        for value in values.split(':') {
            numbers.push((float(value)?.to_bits(), value.starts_with(['+', '-'])));
        }
    }
    let (mut tags, mut rate, mut at_ns, mut container) = ("", 1.0, None, "");
    for section in &parts[2..] {
        if let Some(given) = section.strip_prefix('#') {
            let many = given.split(',').count() > METRIC_TAGS_MAX;
            if many || given.len() > METRIC_TAGS_BYTES_MAX {
                return Err(Reject::TagsTooLong);
            }
            tags = given;
        } else if let Some(given) = section.strip_prefix('@') {
            rate = given.parse::<f64>().map_err(|_| Reject::BadRate)?;
            if rate.is_nan() || rate <= 0.0 || rate > 1.0 {
                return Err(Reject::BadRate);
            }
        } else if let Some(given) = section.strip_prefix("c:") {
            container = given;
        } else if let Some(given) = section.strip_prefix('T') {
            let whole = !given.contains('.');
            let ns = seconds_ns(given).filter(|_| whole);
            at_ns = Some(ns.ok_or(Reject::BadTime)?);
        }
    }
    Ok(Owned::Metric {
        name: name.into(),
        class,
        values: numbers,
        member: member.into(),
        tags: tags.into(),
        rate: rate.to_bits(),
        at_ns,
        container: container.into(),
    })
}

fn length(text: &str) -> Option<usize> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

fn event(text: &str) -> Option<Owned> {
    let (lengths, body) = text["_e{".len()..].split_once('}')?;
    let (title, words) = lengths.split_once(',')?;
    let (title, words) = (length(title)?, length(words)?);
    let body = body.strip_prefix(':')?.as_bytes();
    let end = title.checked_add(1)?.checked_add(words)?;
    if body.len() < end || body[title] != b'|' || *body.get(end).unwrap_or(&b'|') != b'|' {
        return None;
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let rest = text(body.get(end + 1..).unwrap_or(b""));
    Some(Owned::Event(
        text(&body[..title]),
        text(&body[title + 1..end]),
        rest,
    ))
}

fn check(text: &str) -> Option<Owned> {
    let parts: Vec<&str> = text.splitn(4, '|').collect();
    let (name, status) = (*parts.get(1)?, *parts.get(2)?);
    let status = ["0", "1", "2", "3"].iter().position(|s| *s == status)?;
    let known = !name.is_empty() && name.len() <= METRIC_NAME_BYTES_MAX;
    let rest = parts.get(3).copied().unwrap_or("");
    known.then(|| Owned::Check(name.into(), status as u8, rest.into()))
}

/// Every line of an input is what the oracle says, and no byte is in no line; how many are good.
fn agrees(input: &[u8]) -> (u64, u64) {
    let lines: Vec<&[u8]> = Lines::new(input).collect();
    assert_eq!(lines, lines_of(input), "{}", input.escape_ascii());
    let (mut good, mut refused) = (0, 0);
    for line in lines {
        // An event's lengths may end within a character; what lies there is bytes, not text.
        if line.starts_with(b"_e{") && !line.is_ascii() {
            let known = statsd::parse(line).map(|line| matches!(line, Line::Event(_)));
            assert_eq!(known, oracle(line).map(|_| true), "{}", line.escape_ascii());
            good += u64::from(known.is_ok());
            refused += u64::from(known.is_err());
            continue;
        }
        let given = read(line);
        assert_eq!(given, oracle(line), "{}", line.escape_ascii());
        good += u64::from(given.is_ok());
        refused += u64::from(given.is_err());
    }
    (good, refused)
}

const SEEDS: &[&[u8]] = &[
    b"gorets:1|c",
    b"gorets:1|c|@0.1",
    b"glork:320|ms|@0.1",
    b"gaugor:333|g",
    b"gaugor:-10|g",
    b"gaugor:+4|g",
    b"uniques:765|s",
    b"page.views:1|c",
    b"fuel.level:0.5|g",
    b"song.length:240|h|@0.5",
    b"users.uniques:1234|s",
    b"users.online:1|c|#country:china",
    b"users.online:1|c|@0.5|#country:china",
    b"page.views:1:2:32|d",
    b"song.length:240:234|h|@0.5",
    b"users.online:1:2:3|c|#country:china,environment:production|c:83c0a99c0a54c0c187f461c7980e9b57f3f6a8b0c918c8d93df19a9de6f3fe1d",
    b"page.views:15|c|#env:dev|T1656581400",
    b"page.views:15|c|#env:dev|c:ci-83c0a99c|e:it-false,cn-nginx,pu-75a2b6d5|card:low",
    b"_e{21,36}:An exception occurred|Cannot parse CSV file from 10.0.0.17|t:warning|#err_type:bad_file",
    b"_e{21,42}:An exception occurred|Cannot parse JSON request:\\n{\"foo: \"bar\"}|p:low|#err_type:bad_request",
    b"_sc|Redis connection|2|#env:dev|m:Redis connection timed out after 10s",
    b"app.lat:0.000000|ms\napp.g:0|g\nlat.ms:0|h|#route:/x0,env:test\n",
    b"\xc3\xa9t\xc3\xa9:1|c|#ville:Orl\xc3\xa9ans",
];

#[test]
fn edited_lines_are_what_the_oracle_says() {
    let mut prng = Prng::new(0x57a7_5d01);
    let (mut good, mut refused) = (0, 0);
    for _ in 0..inputs() {
        let (more_good, more_refused) = agrees(&edited(&mut prng, SEEDS));
        good += more_good;
        refused += more_refused;
    }
    assert!(
        good > inputs() / 4 && refused > inputs() / 4,
        "{good} {refused}"
    );
}

#[test]
fn captured_lines_are_what_the_oracle_says() {
    let Some(datagrams) = captured("captured_lines_are_what_the_oracle_says") else {
        return;
    };
    assert_eq!(datagrams.len(), 4_655);
    let mut lines = [0; Class::ALL.len()];
    for (_, bytes) in &datagrams {
        for line in Lines::new(bytes) {
            let Ok(Line::Metric(metric)) = statsd::parse(line) else {
                panic!("{}", line.escape_ascii());
            };
            lines[metric.class as usize] += 1;
        }
        assert_eq!(agrees(bytes).1, 0);
    }
    assert_eq!(lines, [2_000, 965, 2_000, 3_558, 0, 0]);
    let seeds: Vec<&[u8]> = datagrams
        .iter()
        .step_by(97)
        .map(|(_, bytes)| &bytes[..])
        .collect();
    let mut prng = Prng::new(0x57a7_5d02);
    for _ in 0..inputs() {
        agrees(&edited(&mut prng, &seeds));
    }
}

#[test]
fn generated_lines_are_what_the_oracle_says() {
    let mut prng = Prng::new(0x57a7_5d03);
    for _ in 0..inputs() {
        let mut line = format!("n{}.é", prng.below(100));
        for _ in 0..=prng.below(3) {
            let value = match prng.below(4) {
                0 => format!("{}", prng.below(1 << 53)),
                1 => format!("{:+}", prng.exponential(1e3)),
                2 => format!("{:e}", f64::from_bits(prng.next_u64())),
                _ => format!("-{:.3}", prng.unit() * 100.0),
            };
            line.push(':');
            line.push_str(&value);
        }
        line.push('|');
        line.push_str(["c", "g", "ms", "h", "d", "s", "m"][prng.below(7) as usize]);
        for _ in 0..prng.below(4) {
            line.push('|');
            let section = match prng.below(5) {
                0 => format!("@{}", prng.unit() * 1.1),
                1 => format!("#a:{},b,c:d:{}", prng.below(9), prng.below(9)),
                2 => format!("T{}", prng.below(20_000_000_000)),
                3 => format!("c:{}", prng.below(9)),
                _ => format!("e:{}", prng.below(9)),
            };
            line.push_str(&section);
        }
        agrees(line.as_bytes());
    }
}
