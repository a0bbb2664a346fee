//! Mutated messages and requests: nothing panics, what comes out is within its bounds, and serde_json agrees on what is JSON.
//!
//! Invariant: a failure shows the bytes that make it again.

use hopline::base::Prng;
use hopline::base::limits::{
    EDGE_BUDGET_MS_MAX, EDGE_CHANNELS_MAX, EDGE_INTEGER_MAX, EDGE_NAME_BYTES_MAX, EDGE_RATE_MAX,
    EDGE_SID_BYTES_MAX, EDGE_TOKEN_BYTES_MAX,
};
use hopline::edge::message::{FaultCode, LastSeen, Message, Subscription};
use hopline::edge::{ChannelName, Since, Wanted};
use hopline::wire::Output;
use hopline::wire::http::{RequestLimits, Requests};
use serde::de::IgnoredAny;

use crate::messages::good;
use crate::requests::{STREAM, router};

/// How many of each without the variable: a second or two in a debug build.
const INPUTS_DEFAULT: u64 = 20_000;

fn inputs() -> u64 {
    let given = std::env::var("HOPLINE_FUZZ_INPUTS").ok();
    let number = given.map(|text| text.parse().expect("HOPLINE_FUZZ_INPUTS is a number"));
    number.unwrap_or(INPUTS_DEFAULT)
}

/// The bytes with some of them changed, taken out, put in, repeated or taken from `other`.
fn mutated(seed: &[u8], other: &[u8], spice: &[&[u8]], prng: &mut Prng) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=prng.below(4) {
        let len = bytes.len() as u64;
        let at = prng.below(len + 1) as usize;
        let end = at + prng.below((len - at as u64).min(12) + 1) as usize;
        match prng.below(7) {
            0 if at < bytes.len() => bytes[at] = prng.next_u64() as u8,
            1 if at < bytes.len() => bytes[at] ^= 1 << prng.below(8),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            4 => {
                let from = prng.below(other.len() as u64 + 1) as usize;
                bytes.splice(at..end, other[from..].iter().copied());
            }
            _ => {
                let spice = spice[prng.below(spice.len() as u64) as usize];
                bytes.splice(at..at, spice.iter().copied());
            }
        }
    }
    bytes
}

const SPICE: &[&[u8]] = &[
    b"\"",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\\",
    b"\\u0000",
    b"\\ud83d\\udca7",
    b"null",
    b"-",
    b".5",
    b"e9",
    b"0",
    b" ",
    b"\n",
    b"\0",
    b"\xff",
    b"/",
    b"earliest",
    b"\"ch\":\"a/b\",",
    b"\"o\":1,",
    b"99999999999999999999",
];

fn channel_is_bounded(channel: &ChannelName<'_>) {
    for part in [channel.name(), channel.group()] {
        assert!(!part.is_empty() && part.len() <= EDGE_NAME_BYTES_MAX);
        assert!(!part.contains('/') && !part.contains(char::is_control));
    }
}

fn subscription_is_bounded(wanted: &Subscription<'_>) {
    channel_is_bounded(&wanted.channel);
    assert!(wanted.rate.is_none_or(|rate| rate.get() <= EDGE_RATE_MAX));
    let budget_ms = wanted.budget_ms;
    assert!(budget_ms.is_none_or(|ms| ms.get() <= EDGE_BUDGET_MS_MAX));
    if let Some(Since::After(at)) = wanted.since {
        assert!(at.offset <= EDGE_INTEGER_MAX);
    }
}

fn message_is_bounded(message: &Message<'_>) {
    match message {
        Message::Hello(hello) => {
            let bytes =
                |text: &Option<std::borrow::Cow<'_, str>>| text.as_ref().map_or(0, |t| t.len());
            assert!(bytes(&hello.token) <= EDGE_TOKEN_BYTES_MAX);
            assert!(bytes(&hello.sid) <= EDGE_SID_BYTES_MAX);
            assert!(hello.subs.len() <= EDGE_CHANNELS_MAX);
            hello.subs.iter().for_each(subscription_is_bounded);
        }
        Message::Subscribe(wanted) => subscription_is_bounded(wanted),
        Message::Unsubscribe(channel) => channel_is_bounded(channel),
        Message::Ack(ack) => {
            channel_is_bounded(&ack.channel);
            let times = [ack.received_us, ack.painted_us].into_iter().flatten();
            assert!(
                times
                    .chain([ack.offset])
                    .all(|number| number <= EDGE_INTEGER_MAX)
            );
        }
        Message::Ping { sent_ms } | Message::Pong { sent_ms } => {
            assert!(*sent_ms <= EDGE_INTEGER_MAX);
        }
        Message::Resync { channel, last_seen } => {
            channel_is_bounded(channel);
            match last_seen {
                Some(LastSeen::Offset(offset)) => assert!(*offset <= EDGE_INTEGER_MAX),
                Some(LastSeen::Position(at)) => assert!(at.offset <= EDGE_INTEGER_MAX),
                None => {}
            }
        }
        Message::Bye => {}
    }
}

#[test]
fn no_message_makes_it_panic_and_serde_agrees_on_what_is_json() {
    let seeds = good();
    let mut prng = Prng::new(41);
    let (mut taken, mut refused) = (0_u64, [0_u64; FaultCode::ALL.len()]);
    for _ in 0..inputs() {
        let one = |prng: &mut Prng| seeds[prng.below(seeds.len() as u64) as usize].0.as_bytes();
        let (seed, other) = (one(&mut prng), one(&mut prng));
        let bytes = mutated(seed, other, SPICE, &mut prng);
        let text = String::from_utf8_lossy(&bytes);
        // What is passed over is read less strictly than what becomes a value: half a surrogate pair may stand in it.
        let is_json = serde_json::from_str::<IgnoredAny>(&text).is_ok();
        let value: Option<serde_json::Value> = serde_json::from_str(&text).ok();
        match Message::parse(&text) {
            Ok(message) => {
                message_is_bounded(&message);
                assert!(is_json, "{text}");
                assert!(
                    value.is_none_or(|value| value["type"].is_string()),
                    "{text}"
                );
                taken += 1;
            }
            Err(fault) => {
                match fault.code {
                    FaultCode::NotJson => assert!(
                        value.is_none_or(|value| !value.is_object()),
                        "{text}: {fault}"
                    ),
                    _ => assert!(is_json, "{text}: {fault}"),
                }
                assert!(fault.message.len() < 512, "{fault}");
                refused[fault.code as usize] += 1;
            }
        }
    }
    // A mutator that only made rubbish, or nothing but good messages, would have tried nothing.
    for code in [
        FaultCode::NotJson,
        FaultCode::BadMessage,
        FaultCode::BadChannel,
        FaultCode::BadPosition,
        FaultCode::NotServed,
    ] {
        assert!(refused[code as usize] > 0, "none was {code:?}");
    }
    assert!(taken > 0);
}

#[test]
fn no_bytes_at_all_make_a_message_panic() {
    let mut prng = Prng::new(43);
    for _ in 0..inputs() {
        let count = prng.below(80);
        let bytes: Vec<u8> = (0..count)
            .flat_map(|_| match prng.below(3) {
                0 => vec![prng.next_u64() as u8],
                _ => SPICE[prng.below(SPICE.len() as u64) as usize].to_vec(),
            })
            .collect();
        if let Ok(message) = Message::parse(&String::from_utf8_lossy(&bytes)) {
            message_is_bounded(&message);
        }
    }
}

#[test]
fn no_request_makes_it_panic_and_each_has_its_answer() {
    const SPICE: &[&[u8]] = &[
        b"%",
        b"%2F",
        b"%00",
        b"%C3%9F",
        b"%ff",
        b"+",
        b"/",
        b"//",
        b"?",
        b"&",
        b"=",
        b"#",
        b"..",
        b"since=earliest",
        b"&rate=5",
        b"*/*",
        b";q=0",
        b";q=0.5",
        b",",
        b" ",
        b"\r\nAccept: text/event-stream",
        b"\r\nOrigin: null",
        b"http://h/",
        b"POST",
        b"HEAD",
        b"\r\nUpgrade: websocket",
        b"\r\nConnection: upgrade",
        b"\r\nLast-Event-ID: 1",
        b"/health",
        b"/ws",
        b"/metrics",
        b"/dag",
        b"\xc3",
    ];
    let router = router();
    let mut prng = Prng::new(47);
    let (mut wanted, mut refused) = (0_u64, std::collections::BTreeSet::new());
    for _ in 0..inputs() {
        let bytes = mutated(STREAM.as_bytes(), b"/dag", SPICE, &mut prng);
        let mut requests = Requests::new(RequestLimits::default());
        let Ok(Some(request)) = requests.poll(&mut bytes.as_slice()) else {
            continue;
        };
        match router.route(&request) {
            Ok(Wanted::Stream(stream)) => {
                channel_is_bounded(&stream.channel);
                assert!(stream.rate.is_none_or(|rate| rate.get() <= EDGE_RATE_MAX));
                wanted += 1;
            }
            Ok(_) => wanted += 1,
            Err(answer) => {
                let mut output = Output::new(1 << 10);
                let sent = answer.respond(&mut output, false, true);
                assert_eq!(sent, Ok(()), "{answer}");
                refused.insert(answer.problem.status());
            }
        }
    }
    assert!(wanted > 0);
    assert!(refused.len() >= 5, "only {refused:?}");
}
