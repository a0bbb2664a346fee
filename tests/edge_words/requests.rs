//! Requests: each row of the routing table, each way of asking for less or more than it has, every cut of a target.

use hopline::edge::route::{Exposition, Stream};
use hopline::edge::{
    Access, Answer, Asset, ChannelName, Epoch, Position, Problem, Router, Since, Transport, Wanted,
};
use hopline::wire::http::{Method, RequestLimits, Requests};
use proptest::prelude::*;

const ASSETS: &[Asset] = &[
    Asset {
        path: "/",
        content_type: "text/html; charset=utf-8",
        bytes: b"<!doctype html>",
    },
    Asset {
        path: "/hopline.js",
        content_type: "text/javascript",
        bytes: b"export {};",
    },
];

pub(crate) fn router() -> Router {
    Router::new(Access::default(), ASSETS)
}

/// A request for a stream with all that it may have.
pub(crate) const STREAM: &str = "GET /stream/samples/a-%3Eb?since=earliest&snapshot=0&rate=20&types=off HTTP/1.1\r\n\
     Host: localhost:8080\r\nOrigin: http://localhost:8080\r\nAccept: text/event-stream\r\n\
     Last-Event-ID: 00000000000000ab:7\r\n\r\n";

const AT: Position = Position {
    epoch: Epoch(0xab),
    offset: 7,
};

const HANDSHAKE: &str = "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Gives `each` what the request wants.
fn routed<T>(head: &str, each: impl FnOnce(Result<Wanted<'_>, Answer>) -> T) -> T {
    let mut requests = Requests::new(RequestLimits::default());
    let request = requests.poll(&mut head.as_bytes());
    let request = request.expect(head).expect(head);
    each(router().route(&request))
}

/// A request by that method for that target, with these headers, each ended by its line's end.
fn head(method: &str, target: &str, headers: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")
}

fn problem(head: &str) -> Problem {
    routed(head, |wanted| wanted.expect_err(head).problem)
}

fn stream(target: &str, headers: &str) -> Stream<'static> {
    routed(&head("GET", target, headers), |wanted| match wanted {
        Ok(Wanted::Stream(stream)) => Stream {
            channel: stream.channel.into_owned(),
            ..stream
        },
        other => panic!("{target}: {other:?}"),
    })
}

#[test]
fn all_of_a_request_is_looked_at() {
    let expected = Stream {
        channel: ChannelName::new("samples/a->b").unwrap(),
        transport: Transport::Sse,
        since: Some(Since::After(AT)),
        snapshot: false,
        rate: core::num::NonZeroU32::new(20),
        types: false,
    };
    routed(STREAM, |wanted| {
        assert_eq!(wanted, Ok(Wanted::Stream(expected)))
    });
    let plain = stream("/stream/dag/line", "");
    let expected = Stream {
        channel: ChannelName::new("dag/line").unwrap(),
        transport: Transport::Ndjson,
        since: None,
        snapshot: true,
        rate: None,
        types: true,
    };
    assert_eq!(plain, expected);
    assert_eq!(stream("/dag", ""), expected);
    assert_eq!(stream("/dag?", ""), expected);
    assert_eq!(
        stream(
            "/dag?snapshot=1&types=on&since=&last_event_id=&x=%2B&&=",
            ""
        ),
        expected
    );
    assert_eq!(stream("http://localhost/dag", ""), expected);
    assert_eq!(stream("/dag#part", ""), expected);
}

#[test]
fn every_path_is_one_row_of_the_table() {
    for method in ["GET", "HEAD"] {
        for (target, expected) in [
            ("/", Wanted::Page(&ASSETS[0])),
            ("/?x=1", Wanted::Page(&ASSETS[0])),
            ("/hopline.js", Wanted::Page(&ASSETS[1])),
            ("/hopline%2Ejs", Wanted::Page(&ASSETS[1])),
            ("/health", Wanted::Health),
            ("/ready?x", Wanted::Ready),
            ("/metrics", Wanted::Metrics(Exposition::Prometheus)),
        ] {
            let head = head(method, target, "");
            routed(&head, |wanted| assert_eq!(wanted, Ok(expected), "{head}"));
        }
    }
    let open = head(
        "GET",
        "/metrics",
        "Accept: application/openmetrics-text\r\n",
    );
    let expected = Ok(Wanted::Metrics(Exposition::OpenMetrics));
    routed(&open, |wanted| assert_eq!(wanted, expected));
    let neither = head("GET", "/metrics", "Accept: image/png\r\n");
    let expected = Ok(Wanted::Metrics(Exposition::Prometheus));
    routed(&neither, |wanted| assert_eq!(wanted, expected));
    routed(&head("GET", "/ws", HANDSHAKE), |wanted| {
        assert_eq!(wanted, Ok(Wanted::Socket));
    });
    for target in [
        "/x",
        "//",
        "/stream",
        "/stream/",
        "/stream/a",
        "/stream/a/",
        "/stream//a",
        "/stream/a/b/",
        "/stream/a/b/c",
        "/Dag",
        "/dag/",
        "/ws/",
        "/hopline.js/",
        "/health/x",
        "*",
        "x",
    ] {
        for method in ["GET", "HEAD", "POST", "DELETE"] {
            let head = head(method, target, "");
            assert_eq!(problem(&head), Problem::NotFound, "{head}");
        }
    }
}

#[test]
fn what_may_not_be_done_is_said_with_what_may() {
    let allowed = |method: &str, target: &str, headers: &str| {
        routed(&head(method, target, headers), |wanted| {
            let answer = wanted.expect_err(target);
            assert_eq!(answer.problem, Problem::NotAllowed, "{method} {target}");
            answer.allowed.expect("it says which").to_string()
        })
    };
    for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        for target in [
            "/",
            "/hopline.js",
            "/dag",
            "/stream/a/b",
            "/health",
            "/ready",
            "/metrics",
        ] {
            assert_eq!(allowed(method, target, ""), "GET, HEAD");
        }
        assert_eq!(allowed(method, "/ws", HANDSHAKE), "GET");
    }
    assert_eq!(allowed("HEAD", "/ws", HANDSHAKE), "GET");
    assert_eq!(allowed("HEAD", "/dag", HANDSHAKE), "GET");
    let odd = Method::ALL.len();
    assert_eq!(odd, 7, "each method was tried");
}

#[test]
fn the_transport_is_the_one_that_was_asked_for() {
    for (headers, expected) in [
        ("", Transport::Ndjson),
        ("Accept: */*\r\n", Transport::Ndjson),
        ("Accept: application/x-ndjson\r\n", Transport::Ndjson),
        ("Accept: text/event-stream\r\n", Transport::Sse),
        ("Accept: text/event-stream, */*;q=0.1\r\n", Transport::Sse),
        (
            "Accept: application/x-ndjson;q=0.5, text/event-stream;q=0.6\r\n",
            Transport::Sse,
        ),
        (HANDSHAKE, Transport::WebSocket),
        // An upgrade to something else is not taken.
        ("Upgrade: h2c\r\nConnection: Upgrade\r\n", Transport::Ndjson),
        ("Upgrade: websocket\r\n", Transport::Ndjson),
    ] {
        assert_eq!(stream("/dag", headers).transport, expected, "{headers}");
    }
    let both = format!("Accept: text/html\r\n{HANDSHAKE}");
    assert_eq!(stream("/dag", &both).transport, Transport::WebSocket);
    for headers in [
        "Accept: text/html\r\n",
        "Accept: application/json\r\n",
        "Accept: */*;q=0\r\n",
    ] {
        assert_eq!(
            problem(&head("GET", "/dag", headers)),
            Problem::NotAcceptable,
            "{headers}"
        );
    }
    for headers in ["Accept: text/event-stream\r\n", "Accept: text/html;q=0\r\n"] {
        assert_eq!(
            problem(&head("GET", "/", headers)),
            Problem::NotAcceptable,
            "{headers}"
        );
    }
    let html = head("GET", "/", "Accept: text/html,application/xml;q=0.9\r\n");
    routed(&html, |wanted| assert!(wanted.is_ok()));
}

#[test]
fn a_handshake_that_is_not_complete_is_refused_and_not_taken_for_something_else() {
    let without = |part: &str| HANDSHAKE.replace(part, "");
    let with = |part: &str, other: &str| HANDSHAKE.replace(part, other);
    for (headers, expected) in [
        (without("Upgrade: websocket\r\n"), Problem::UpgradeRequired),
        (
            without("Connection: keep-alive, Upgrade\r\n"),
            Problem::UpgradeRequired,
        ),
        (with("Version: 13", "Version: 8"), Problem::UpgradeRequired),
        (
            without("Sec-WebSocket-Version: 13\r\n"),
            Problem::UpgradeRequired,
        ),
        (with("ZQ==\r\n", "\r\n"), Problem::BadHandshake),
    ] {
        for target in ["/ws", "/dag", "/stream/a/b"] {
            assert_eq!(
                problem(&head("GET", target, &headers)),
                expected,
                "{target} {headers}"
            );
        }
    }
    assert_eq!(problem(&head("GET", "/ws", "")), Problem::UpgradeRequired);
}

#[test]
fn the_header_counts_before_the_last_event_id_and_that_before_since() {
    let since = |target: &str, headers: &str| stream(target, headers).since;
    let at = |offset: u64| Some(Since::After(Position { offset, ..AT }));
    let header = "Last-Event-ID: 00000000000000ab:7\r\n";
    let both = "/dag?since=00000000000000ab:1&last_event_id=00000000000000ab%3A2";
    assert_eq!(since(both, header), at(7));
    assert_eq!(since(both, "last-event-id:\r\n"), at(2));
    assert_eq!(since(both, ""), at(2));
    assert_eq!(since("/dag?since=00000000000000ab:1", header), at(7));
    assert_eq!(
        since("/dag?since=00000000000000ab:1&last_event_id=", ""),
        at(1)
    );
    assert_eq!(since("/dag?since=earliest", ""), Some(Since::Earliest));
    assert_eq!(since("/dag", header), at(7));
    assert_eq!(
        since("/dag", "Last-Event-ID: earliest\r\n"),
        Some(Since::Earliest)
    );
    assert_eq!(since("/dag?since=x", header), at(7));
    for (target, headers) in [
        ("/dag?since=7", ""),
        ("/dag?since=ab:7", ""),
        ("/dag?last_event_id=00000000000000ab:-7&since=earliest", ""),
        ("/dag?since=earliest", "Last-Event-ID: 7\r\n"),
        ("/dag", "Last-Event-ID: \u{e9}\r\n"),
    ] {
        assert_eq!(
            problem(&head("GET", target, headers)),
            Problem::BadPosition,
            "{target}"
        );
    }
}

#[test]
fn what_a_query_cannot_say_is_refused() {
    for (query, expected) in [
        ("snapshot=2", Problem::BadQuery),
        ("snapshot", Problem::BadQuery),
        ("snapshot=true", Problem::BadQuery),
        ("types=1", Problem::BadQuery),
        ("rate=0", Problem::BadQuery),
        ("rate=1000001", Problem::BadQuery),
        ("rate=-1", Problem::BadQuery),
        ("rate=%2B5", Problem::BadQuery),
        ("rate=5.0", Problem::BadQuery),
        ("rate=", Problem::BadQuery),
        ("rate=4294967297", Problem::BadQuery),
        ("rate=1&rate=2", Problem::BadQuery),
        ("since=earliest&since=earliest", Problem::BadQuery),
        ("rate=%", Problem::BadTarget),
        ("rate=%4", Problem::BadTarget),
        ("rate=%GG", Problem::BadTarget),
        ("since=%FF", Problem::BadTarget),
        ("%FF=1", Problem::BadTarget),
    ] {
        let head = head("GET", &format!("/dag?{query}"), "");
        assert_eq!(problem(&head), expected, "{query}");
    }
    assert_eq!(
        stream("/dag?rate=1000000", "").rate.unwrap().get(),
        1_000_000
    );
    assert_eq!(stream("/dag?%72ate=%35&Rate=x", "").rate.unwrap().get(), 5);
}

#[test]
fn names_that_can_be_none_are_refused() {
    let long = format!("/stream/a/{}", "x".repeat(197));
    for (target, expected) in [
        ("/stream/a/b%2Fc", Problem::BadChannel),
        ("/stream/a%2Fb/c", Problem::BadChannel),
        ("/stream/a/%00", Problem::BadChannel),
        ("/stream/a/%7F", Problem::BadChannel),
        ("/stream/a/..", Problem::BadChannel),
        ("/stream/%2E/a", Problem::BadChannel),
        (long.as_str(), Problem::BadChannel),
        ("/stream/a/%", Problem::BadTarget),
        ("/stream/a/%zz", Problem::BadTarget),
        ("/stream/a/%C3", Problem::BadTarget),
        ("/%C3", Problem::BadTarget),
    ] {
        assert_eq!(problem(&head("GET", target, "")), expected, "{target}");
    }
    assert_eq!(stream("/stream/a+b/c", "").channel.as_str(), "a+b/c");
}

#[test]
fn pages_of_others_and_names_of_others_are_refused_wherever_they_go() {
    for target in ["/", "/dag", "/ws", "/health", "/metrics", "/nothing"] {
        let forged = head("GET", target, "Origin: http://evil.example\r\n");
        assert_eq!(problem(&forged), Problem::ForgedOrigin, "{target}");
        let rebound = format!("GET {target} HTTP/1.1\r\nHost: evil.example\r\n\r\n");
        assert_eq!(problem(&rebound), Problem::WrongHost, "{target}");
    }
}

#[test]
fn every_cut_of_a_target_has_its_answer() {
    let target = STREAM.split(' ').nth(1).unwrap();
    for cut in 1..target.len() {
        routed(&head("GET", &target[..cut], ""), |wanted| match wanted {
            Ok(Wanted::Stream(stream)) => assert_eq!(stream.channel.name(), "samples"),
            Ok(other) => assert_eq!((other, cut), (Wanted::Page(&ASSETS[0]), 1)),
            Err(answer) => assert!(matches!(answer.problem.status(), 400 | 404), "{answer}"),
        });
    }
}

/// The text as a path writes it, each byte that may not stand for itself as `%XX`.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let each = text.bytes().map(|byte| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    });
    each.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_channel_is_found_under_its_name(
        parts in prop::collection::vec(prop::collection::vec(any::<char>(), 0..30), 2),
        offset in 0..=9_007_199_254_740_991_u64,
    ) {
        let parts: Vec<String> = parts.iter().map(|chars| chars.iter().collect()).collect();
        let name = parts.join("/");
        let position = format!("00000000000000ab:{offset}");
        let target = format!("/stream/{}/{}?since={}", encoded(&parts[0]), encoded(&parts[1]), encoded(&position));
        let channel = ChannelName::new(name.as_str());
        routed(&head("GET", &target, ""), |wanted| match wanted {
            Ok(Wanted::Stream(stream)) => {
                assert_eq!(Ok(&stream.channel), channel.as_ref());
                assert_eq!(stream.since.unwrap().to_string(), position);
            }
            Ok(other) => panic!("{other:?}"),
            // Without a part it is another path.
            Err(answer) if parts.iter().any(String::is_empty) => assert_eq!(answer.problem, Problem::NotFound),
            Err(answer) => {
                assert_eq!(answer.problem, Problem::BadChannel);
                assert_eq!(answer.detail, channel.unwrap_err().advice());
            }
        });
    }
}
