//! What clients say: every field, every bound, every cut, and random messages with serde_json's hand in how they are written.

use std::borrow::Cow;
use std::num::NonZeroU32;

use hopline::base::Prng;
use hopline::base::limits::{
    EDGE_BUDGET_MS_MAX, EDGE_CHANNELS_MAX, EDGE_INTEGER_MAX, EDGE_MESSAGE_BYTES_MAX,
    EDGE_NAME_BYTES_MAX, EDGE_RATE_MAX, EDGE_SID_BYTES_MAX, EDGE_TOKEN_BYTES_MAX,
};
use hopline::edge::message::{Ack, Fault, FaultCode, Hello, LastSeen, Message, Subscription};
use hopline::edge::{ChannelName, Epoch, Position, Since};
use serde_json::{Map, Value, json};

fn name(text: &str) -> ChannelName<'_> {
    ChannelName::new(text).unwrap()
}

const AT: Position = Position {
    epoch: Epoch(0xab),
    offset: 7,
};

fn sub(channel: &str) -> Subscription<'_> {
    Subscription {
        channel: name(channel),
        since: None,
        rate: None,
        budget_ms: None,
    }
}

/// Messages of each type, with what they are.
pub(crate) fn good() -> Vec<(&'static str, Message<'static>)> {
    let hello = |token: Option<&'static str>, sid: Option<&'static str>, attempt, subs| {
        Message::Hello(Hello {
            token: token.map(Cow::Borrowed),
            sid: sid.map(Cow::Borrowed),
            attempt,
            subs,
        })
    };
    vec![
        (r#"{"type":"hello"}"#, hello(None, None, 0, vec![])),
        (
            r#"{"type":"hello","token":null,"sid":null,"attempt":null,"subs":null}"#,
            hello(None, None, 0, vec![]),
        ),
        (
            r#"{"type":"hello","token":"t","sid":"s","attempt":3,"subs":[{"ch":"a/b"},{"since":"00000000000000ab:7","ch":"c/d"}]}"#,
            hello(
                Some("t"),
                Some("s"),
                3,
                vec![
                    sub("a/b"),
                    Subscription {
                        since: Some(Since::After(AT)),
                        ..sub("c/d")
                    },
                ],
            ),
        ),
        (
            r#"{"type":"subscribe","ch":"a/b"}"#,
            Message::Subscribe(sub("a/b")),
        ),
        (
            r#"{"type":"subscribe","ch":"a/b","since":"earliest","rate":5,"budget_ms":250}"#,
            Message::Subscribe(Subscription {
                since: Some(Since::Earliest),
                rate: NonZeroU32::new(5),
                budget_ms: NonZeroU32::new(250),
                ..sub("a/b")
            }),
        ),
        (
            r#"{"type":"unsubscribe","ch":"a\u002fb"}"#,
            Message::Unsubscribe(name("a/b")),
        ),
        (
            r#"{"type":"ack","ch":"alerts/line","o":9}"#,
            Message::Ack(Ack {
                channel: name("alerts/line"),
                offset: 9,
                received_us: None,
                painted_us: None,
                round_trip_us: None,
            }),
        ),
        (
            r#"{"type":"ack","ch":"a/b","o":1.2e1,"rx":1700000000000.25,"paint":1700000000016,"rtt":1.5}"#,
            Message::Ack(Ack {
                channel: name("a/b"),
                offset: 12,
                received_us: Some(1_700_000_000_000_250),
                painted_us: Some(1_700_000_000_016_000),
                round_trip_us: Some(1_500),
            }),
        ),
        (r#"{"type":"ping","ts":12}"#, Message::Ping { sent_ms: 12 }),
        (r#"{"type":"pong","ts":0}"#, Message::Pong { sent_ms: 0 }),
        (
            r#"{"type":"resync_request","ch":"a/b"}"#,
            Message::Resync {
                channel: name("a/b"),
                last_seen: None,
            },
        ),
        (
            r#"{"type":"resync_request","ch":"a/b","last_seen":41}"#,
            Message::Resync {
                channel: name("a/b"),
                last_seen: Some(LastSeen::Offset(41)),
            },
        ),
        (
            r#"{"type":"resync_request","ch":"a/b","last_seen":"00000000000000ab:7"}"#,
            Message::Resync {
                channel: name("a/b"),
                last_seen: Some(LastSeen::Position(AT)),
            },
        ),
        (r#"{"type":"bye"}"#, Message::Bye),
    ]
}

#[test]
fn a_message_is_what_it_says_and_every_cut_of_it_is_none() {
    for (text, message) in good() {
        assert_eq!(Message::parse(text), Ok(message), "{text}");
        for cut in 0..text.len() {
            let fault = Message::parse(&text[..cut]).expect_err(text);
            assert_eq!(fault.code, FaultCode::NotJson, "{}", &text[..cut]);
        }
        let fault = Message::parse(&format!("{text}{text}")).expect_err(text);
        assert_eq!(fault.code, FaultCode::NotJson);
    }
}

#[test]
fn what_a_message_does_not_have_is_passed_over() {
    for (text, message) in [
        (
            r#" { "v" : {"deep":[[{}]]} , "ts" : 5 , "type" : "ping" } "#,
            Message::Ping { sent_ms: 5 },
        ),
        (
            r#"{"type":"bye","ch":7,"subs":{"a":1},"since":[],"rate":-1,"o":"x","last_seen":{}}"#,
            Message::Bye,
        ),
        (
            r#"{"type":"subscribe","ch":"a/b","subs":[1,2],"type":"unsubscribe"}"#,
            Message::Unsubscribe(name("a/b")),
        ),
        (
            r#"{"type":"subscribe","ch":"a/b","subs":[{"subs":[{"ch":1}]}],"vc":{"a":1}}"#,
            Message::Subscribe(sub("a/b")),
        ),
        (
            r#"{"ts":1,"ts":2.0,"type":"pong"}"#,
            Message::Pong { sent_ms: 2 },
        ),
    ] {
        assert_eq!(Message::parse(text), Ok(message), "{text}");
    }
}

fn refused(text: &str) -> Fault {
    Message::parse(text).expect_err(text)
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let whole = "9007199254740991";
    for (text, code, words) in [
        ("", FaultCode::NotJson, "line 1 column 0"),
        ("null", FaultCode::NotJson, "a message is a JSON object"),
        ("[]", FaultCode::NotJson, "a message is a JSON object"),
        (
            r#"["ping",1]"#,
            FaultCode::NotJson,
            "a message is a JSON object",
        ),
        (
            r#""ping""#,
            FaultCode::NotJson,
            "a message is a JSON object",
        ),
        (r#"{"type":"bye",}"#, FaultCode::NotJson, "line 1 column 15"),
        (r#"{"type":"bye","a":01}"#, FaultCode::NotJson, "line 1"),
        (
            "{\"type\":\"b\nye\"}",
            FaultCode::NotJson,
            "control character",
        ),
        (r#"{"type":"\ud800"}"#, FaultCode::NotJson, "line 1"),
        (
            r#"{"type":"ack","ch":"a/b","o":1e999}"#,
            FaultCode::NotJson,
            "number out of range",
        ),
        ("{}", FaultCode::BadMessage, "type is missing"),
        (r#"{"type":null}"#, FaultCode::BadMessage, "type is missing"),
        (r#"{"type":5}"#, FaultCode::BadMessage, "type is missing"),
        (
            r#"{"Type":"bye"}"#,
            FaultCode::BadMessage,
            "type is missing",
        ),
        (
            r#"{"type":"Bye"}"#,
            FaultCode::NotServed,
            r#"no message of type "Bye""#,
        ),
        (
            r#"{"type":""}"#,
            FaultCode::NotServed,
            r#"no message of type """#,
        ),
        (
            r#"{"type":"publish","cid":1,"ch":{},"data":[]}"#,
            FaultCode::NotServed,
            "there is hello, subscribe",
        ),
        (
            r#"{"type":"subscribe"}"#,
            FaultCode::BadMessage,
            "subscribe: ch is not a text",
        ),
        (
            r#"{"type":"unsubscribe","ch":["a/b"]}"#,
            FaultCode::BadMessage,
            "unsubscribe: ch is not a text",
        ),
        (
            r#"{"type":"subscribe","ch":"ab"}"#,
            FaultCode::BadChannel,
            "subscribe: ch is no channel: a channel is called name/group",
        ),
        (
            r#"{"type":"ack","ch":"a/\u0000","o":1}"#,
            FaultCode::BadChannel,
            "control characters",
        ),
        (
            r#"{"type":"subscribe","ch":"a/b","since":5}"#,
            FaultCode::BadMessage,
            "subscribe: since is not a text",
        ),
        (
            r#"{"type":"subscribe","ch":"a/b","since":""}"#,
            FaultCode::BadPosition,
            "subscribe: since is no position",
        ),
        (
            r#"{"type":"subscribe","ch":"a/b","since":"ab:7"}"#,
            FaultCode::BadPosition,
            "16 lower-case",
        ),
        (
            r#"{"type":"subscribe","ch":"a/b","rate":0}"#,
            FaultCode::BadMessage,
            "rate is not a whole number from 1 to 1000000",
        ),
        (
            r#"{"type":"subscribe","ch":"a/b","rate":1000001}"#,
            FaultCode::BadMessage,
            "rate is not",
        ),
        (
            r#"{"type":"subscribe","ch":"a/b","rate":1.5}"#,
            FaultCode::BadMessage,
            "rate is not",
        ),
        (
            r#"{"type":"subscribe","ch":"a/b","rate":true}"#,
            FaultCode::BadMessage,
            "rate is not",
        ),
        (
            r#"{"type":"subscribe","ch":"a/b","budget_ms":0}"#,
            FaultCode::BadMessage,
            "budget_ms is not a whole number from 1 to 60000",
        ),
        (r#"{"type":"ack","ch":"a/b"}"#, FaultCode::BadMessage, whole),
        (
            r#"{"type":"ack","ch":"a/b","o":-1}"#,
            FaultCode::BadMessage,
            "ack: o is not",
        ),
        (
            r#"{"type":"ack","ch":"a/b","o":"1"}"#,
            FaultCode::BadMessage,
            "ack: o is not",
        ),
        (
            r#"{"type":"ack","ch":"a/b","o":9007199254740992}"#,
            FaultCode::BadMessage,
            "ack: o is not",
        ),
        (
            r#"{"type":"ack","ch":"a/b","o":18446744073709551616}"#,
            FaultCode::BadMessage,
            "ack: o is not",
        ),
        (
            r#"{"type":"ack","ch":"a/b","o":1,"rx":-0.5}"#,
            FaultCode::BadMessage,
            "ack: rx is not a time",
        ),
        (
            r#"{"type":"ack","ch":"a/b","o":1,"paint":"now"}"#,
            FaultCode::BadMessage,
            "ack: paint is not a time",
        ),
        (
            r#"{"type":"ack","ch":"a/b","o":1,"paint":1e13}"#,
            FaultCode::BadMessage,
            "ack: paint is not a time",
        ),
        (
            r#"{"type":"ack","ch":"a/b","o":1,"rtt":60001}"#,
            FaultCode::BadMessage,
            "ack: rtt is not a span of at most",
        ),
        (
            r#"{"type":"ack","ch":"a/b","o":1,"rtt":-1}"#,
            FaultCode::BadMessage,
            "ack: rtt is not a span",
        ),
        (
            r#"{"type":"ping"}"#,
            FaultCode::BadMessage,
            "ping: ts is not a whole number",
        ),
        (
            r#"{"type":"pong","ts":0.25}"#,
            FaultCode::BadMessage,
            "pong: ts is not a whole number",
        ),
        (
            r#"{"type":"resync_request","ch":"a/b","last_seen":"earliest"}"#,
            FaultCode::BadPosition,
            "last_seen is no position",
        ),
        (
            r#"{"type":"resync_request","ch":"a/b","last_seen":-3}"#,
            FaultCode::BadMessage,
            "last_seen is not a position",
        ),
        (
            r#"{"type":"hello","token":5}"#,
            FaultCode::BadMessage,
            "hello: token is not a text of at most 4096 bytes",
        ),
        (
            r#"{"type":"hello","sid":[]}"#,
            FaultCode::BadMessage,
            "hello: sid is not a text of at most 64 bytes",
        ),
        (
            r#"{"type":"hello","attempt":4294967296}"#,
            FaultCode::BadMessage,
            "hello: attempt is not",
        ),
        (
            r#"{"type":"hello","subs":{}}"#,
            FaultCode::BadMessage,
            "hello: subs is not a list",
        ),
        (
            r#"{"type":"hello","subs":["a/b"]}"#,
            FaultCode::BadMessage,
            "hello: subs[0] is not an object",
        ),
        (
            r#"{"type":"hello","subs":[["a/b"]]}"#,
            FaultCode::BadMessage,
            "hello: subs[0] is not an object",
        ),
        (
            r#"{"type":"hello","subs":[{"ch":"a/b"},{"ch":"c"}]}"#,
            FaultCode::BadChannel,
            "hello: subs[1]: ch is no channel",
        ),
        (
            r#"{"type":"hello","subs":[{"ch":"a/b","rate":"5"}]}"#,
            FaultCode::BadMessage,
            "hello: subs[0]: rate is not",
        ),
    ] {
        let fault = refused(text);
        assert_eq!(fault.code, code, "{text}: {fault}");
        assert!(fault.message.contains(words), "{text}: {fault}");
        assert!(fault.message.len() < 256, "{fault}");
    }
}

#[test]
fn each_bound_is_met_and_kept() {
    let longest = "n".repeat(EDGE_NAME_BYTES_MAX);
    let hello = |token: usize, sid: usize, channels: usize| {
        let subs: Vec<Value> = (0..channels)
            .map(|at| json!({"ch": format!("{longest}/{at:0>EDGE_NAME_BYTES_MAX$}"), "since": format!("{AT}")}))
            .collect();
        json!({"type": "hello", "token": "t".repeat(token), "sid": "s".repeat(sid), "subs": subs})
            .to_string()
    };
    let most = hello(EDGE_TOKEN_BYTES_MAX, EDGE_SID_BYTES_MAX, EDGE_CHANNELS_MAX);
    match Message::parse(&most) {
        Ok(Message::Hello(hello)) => assert_eq!(hello.subs.len(), EDGE_CHANNELS_MAX),
        other => panic!("{other:?}"),
    }
    let code = |text: &str| refused(text).code;
    assert_eq!(
        code(&hello(EDGE_TOKEN_BYTES_MAX + 1, 0, 0)),
        FaultCode::BadMessage
    );
    assert_eq!(
        code(&hello(0, EDGE_SID_BYTES_MAX + 1, 0)),
        FaultCode::BadMessage
    );
    assert_eq!(
        code(&hello(0, 0, EDGE_CHANNELS_MAX + 1)),
        FaultCode::TooManyChannels
    );
    let channel = format!(r#"{{"type":"subscribe","ch":"a/{longest}x"}}"#);
    assert_eq!(code(&channel), FaultCode::BadChannel);

    let ends = format!(
        r#"{{"type":"subscribe","ch":"a/b","rate":{EDGE_RATE_MAX},"budget_ms":{EDGE_BUDGET_MS_MAX}}}"#
    );
    assert!(Message::parse(&ends).is_ok());
    let last = format!(r#"{{"type":"ack","ch":"a/b","o":{EDGE_INTEGER_MAX}}}"#);
    assert!(Message::parse(&last).is_ok());

    let filled = |bytes: usize| {
        let (start, end) = (r#"{"type":"bye","x":""#, r#""}"#);
        let fill = "x".repeat(bytes - start.len() - end.len());
        format!("{start}{fill}{end}")
    };
    assert_eq!(
        Message::parse(&filled(EDGE_MESSAGE_BYTES_MAX)),
        Ok(Message::Bye)
    );
    assert_eq!(
        code(&filled(EDGE_MESSAGE_BYTES_MAX + 1)),
        FaultCode::TooLong
    );
}

#[test]
fn depth_costs_neither_stack_nor_memory() {
    for field in ["x", "ch", "subs"] {
        for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
            let depth = (EDGE_MESSAGE_BYTES_MAX - 40) / (open.len() + close.len());
            let inner = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            let text = format!(r#"{{"{field}":{inner},"type":"bye"}}"#);
            assert_eq!(Message::parse(&text), Ok(Message::Bye), "{field} {open}");
        }
    }
}

#[test]
fn texts_without_escapes_are_borrowed() {
    let text = String::from(r#"{"type":"hello","token":"secret","sid":"a\tb"}"#);
    let Ok(Message::Hello(hello)) = Message::parse(&text) else {
        panic!("it is a hello")
    };
    assert!(matches!(hello.token, Some(Cow::Borrowed("secret"))));
    assert!(matches!(&hello.sid, Some(Cow::Owned(sid)) if sid == "a\tb"));
    assert!(
        !format!("{hello:?}").contains("secret"),
        "no log has a token"
    );
}

/// A random text of a channel's part.
fn part(prng: &mut Prng) -> String {
    let chars: Vec<char> = "abc->#.ß💧\"\\ ".chars().collect();
    let count = 1 + prng.below(8) as usize;
    let part: String = (0..count)
        .map(|_| chars[prng.below(chars.len() as u64) as usize])
        .collect();
    if matches!(part.as_str(), "." | "..") {
        return "dots".to_owned();
    }
    part
}

fn position(prng: &mut Prng) -> Position {
    Position {
        epoch: Epoch(prng.next_u64()),
        offset: prng.below(EDGE_INTEGER_MAX + 1),
    }
}

fn subscription(prng: &mut Prng) -> (Map<String, Value>, Subscription<'static>) {
    let channel = format!("{}/{}", part(prng), part(prng));
    let since = match prng.below(3) {
        0 => None,
        1 => Some(Since::Earliest),
        _ => Some(Since::After(position(prng))),
    };
    let number = |prng: &mut Prng, max: u32| match prng.below(2) {
        0 => None,
        _ => NonZeroU32::new(1 + prng.below(u64::from(max)) as u32),
    };
    let rate = number(prng, EDGE_RATE_MAX);
    let budget_ms = number(prng, EDGE_BUDGET_MS_MAX);
    let mut fields = Map::new();
    fields.insert("ch".to_owned(), json!(channel));
    fields.insert(
        "since".to_owned(),
        json!(since.map(|since| since.to_string())),
    );
    fields.insert("rate".to_owned(), json!(rate));
    fields.insert("budget_ms".to_owned(), json!(budget_ms));
    let subscription = Subscription {
        channel: ChannelName::new(channel).unwrap(),
        since,
        rate,
        budget_ms,
    };
    (fields, subscription)
}

/// A random message and its fields.
fn message(prng: &mut Prng) -> (Map<String, Value>, Message<'static>) {
    let (mut fields, wanted) = subscription(prng);
    let channel = wanted.channel.clone();
    let number = prng.below(EDGE_INTEGER_MAX + 1);
    let (kind, message) = match prng.below(8) {
        0 => {
            let subs: Vec<_> = (0..prng.below(4)).map(|_| subscription(prng)).collect();
            let (told, subs): (Vec<_>, Vec<_>) = subs.into_iter().unzip();
            let (token, sid) = (part(prng), part(prng));
            let attempt = prng.next_u64() as u32;
            fields.insert("subs".to_owned(), json!(told));
            fields.insert("token".to_owned(), json!(token));
            fields.insert("sid".to_owned(), json!(sid));
            fields.insert("attempt".to_owned(), json!(attempt));
            let hello = Hello {
                token: Some(token.into()),
                sid: Some(sid.into()),
                attempt,
                subs,
            };
            ("hello", Message::Hello(hello))
        }
        1 => ("subscribe", Message::Subscribe(wanted)),
        2 => ("unsubscribe", Message::Unsubscribe(channel)),
        3 => {
            let received_ms = prng.below(EDGE_INTEGER_MAX / 1_000);
            fields.insert("o".to_owned(), json!(number));
            fields.insert("rx".to_owned(), json!(received_ms));
            let ack = Ack {
                channel,
                offset: number,
                received_us: Some(1_000 * received_ms),
                painted_us: None,
                round_trip_us: None,
            };
            ("ack", Message::Ack(ack))
        }
        4 => {
            fields.insert("ts".to_owned(), json!(number));
            ("ping", Message::Ping { sent_ms: number })
        }
        5 => {
            fields.insert("ts".to_owned(), json!(number));
            ("pong", Message::Pong { sent_ms: number })
        }
        6 => {
            let at = position(prng);
            fields.insert("last_seen".to_owned(), json!(at.to_string()));
            let last_seen = Some(LastSeen::Position(at));
            ("resync_request", Message::Resync { channel, last_seen })
        }
        _ => ("bye", Message::Bye),
    };
    fields.insert("type".to_owned(), json!(kind));
    (fields, message)
}

/// The text with each of its characters beyond ASCII written as an escape.
fn escaped(text: &str) -> String {
    let mut units = [0; 2];
    let each = text.chars().map(|c| match c {
        c if c.is_ascii() => c.to_string(),
        c => {
            let units = c.encode_utf16(&mut units).iter();
            units.map(|unit| format!("\\u{unit:04X}")).collect()
        }
    });
    each.collect()
}

#[test]
fn random_messages_come_out_however_they_are_written() {
    let mut prng = Prng::new(29);
    for _ in 0..4_000 {
        let (fields, message) = message(&mut prng);
        let mut members: Vec<(String, Value)> = fields.into_iter().collect();
        for at in 0..prng.below(3) {
            let value = [json!(1.5), json!([{"type": "bye"}]), json!("\u{1}")][at as usize].clone();
            members.push((format!("x{at}"), value));
        }
        for at in (1..members.len()).rev() {
            members.swap(at, prng.below(at as u64 + 1) as usize);
        }
        let gap = ["", " ", "\n\t"][prng.below(3) as usize];
        let each = members.iter().map(|(key, value)| {
            let value = match prng.below(2) {
                0 => value.to_string(),
                _ => serde_json::to_string_pretty(value).unwrap(),
            };
            format!("{gap}\"{key}\"{gap}:{gap}{value}{gap}")
        });
        let text = format!("{gap}{{{}}}{gap}", each.collect::<Vec<String>>().join(","));
        assert_eq!(Message::parse(&text).as_ref(), Ok(&message), "{text}");
        let text = escaped(&text);
        assert_eq!(Message::parse(&text).as_ref(), Ok(&message), "{text}");
    }
}
