//! What should not be done to an edge, and what becomes of whoever does it.
//!
//! Invariant: each of these ends with one answer: a problem, a close code, an error, or a gap.

use std::time::Duration;

use serde_json::json;

use crate::peer::{Peer, UPGRADE};

/// What a server answers to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// A problem of that status and name, behind which the connection ends or goes on.
    Problem(u16, String),
    /// A WebSocket that is closed with that code.
    Closed(u16),
    /// An error over a connection that goes on.
    Error(String),
    /// A gap for that reason, and then a snapshot.
    Gap(String),
    /// Something else.
    Other(String),
}

/// An act, and what is to become of it.
pub(crate) struct Act {
    pub(crate) what: &'static str,
    pub(crate) expected: Answer,
    run: Box<dyn Fn(&str) -> Answer + Send + Sync>,
}

impl Act {
    pub(crate) fn run(&self, address: &str) -> Answer {
        (self.run)(address)
    }
}

fn act(
    what: &'static str,
    expected: Answer,
    run: impl Fn(&str) -> Answer + Send + Sync + 'static,
) -> Act {
    let run = Box::new(run);
    Act {
        what,
        expected,
        run,
    }
}

fn answered(mut peer: Peer) -> Answer {
    let response = peer.response();
    let (status, goes_on) = (
        response.status,
        response.header("connection") != Some("close"),
    );
    if !goes_on && !peer.is_ended() {
        return Answer::Other(format!("{status} says that it ends and says more"));
    }
    if goes_on && status != 426 {
        // What it says is so: the next request is answered.
        peer.send(b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let next = peer.response().status;
        if next != 404 {
            return Answer::Other(format!("{status} and then {next}"));
        }
    }
    match response.problem() {
        Some(name) => Answer::Problem(status, name),
        None => Answer::Other(response.head),
    }
}

/// Sends these bytes on a connection of their own; the answer is a problem.
fn raw(
    what: &'static str,
    status: u16,
    name: &str,
    bytes: impl Into<Vec<u8>> + Send + Sync + 'static,
) -> Act {
    let bytes = bytes.into();
    act(
        what,
        Answer::Problem(status, name.to_owned()),
        move |address| {
            let mut peer = Peer::connect(address);
            peer.send(&bytes);
            answered(peer)
        },
    )
}

/// Sends that request; the answer is a problem.
fn asked(
    what: &'static str,
    status: u16,
    name: &str,
    method: &'static str,
    target: &'static str,
    headers: &str,
) -> Act {
    let headers = headers.to_owned();
    act(
        what,
        Answer::Problem(status, name.to_owned()),
        move |address| answered(Peer::ask(address, method, target, &headers)),
    )
}

/// Says something on a WebSocket that has said hello and follows the DAG; the answer is its end.
fn broken(what: &'static str, code: u16, say: impl Fn(&mut Peer) + Send + Sync + 'static) -> Act {
    act(what, Answer::Closed(code), move |address| {
        let mut peer = Peer::greeted(address, &json!([{"ch": "dag/line"}]));
        say(&mut peer);
        closed(&mut peer)
    })
}

fn closed(peer: &mut Peer) -> Answer {
    match peer.closed() {
        Some(code) if peer.next().is_none() => Answer::Closed(code),
        Some(code) => Answer::Other(format!("closed with {code}, and then more")),
        None => Answer::Other("an end without a code".to_owned()),
    }
}

/// Says something that is not done; the answer is an error, and the connection goes on.
fn refused(what: &'static str, code: &str, said: impl Into<String>) -> Act {
    let said = said.into();
    act(what, Answer::Error(code.to_owned()), move |address| {
        let mut peer = Peer::greeted(address, &json!([{"ch": "alerts/line"}]));
        peer.text(&said);
        error(&mut peer)
    })
}

/// The error that comes, on a connection that is alive behind it.
fn error(peer: &mut Peer) -> Answer {
    let error = loop {
        let message = peer.message_of("error");
        if message.get("ch").is_none() {
            break message;
        }
    };
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|words| !words.is_empty())
    );
    peer.say(&json!({"type": "ping", "ts": 7}));
    if peer.message_of("pong")["ts"] != 7 {
        return Answer::Other("it no longer answers".to_owned());
    }
    Answer::Error(error["code"].as_str().unwrap_or_default().to_owned())
}

/// Resumes from a position that the server does not have.
fn lost(what: &'static str, position: impl Fn(&str) -> String + Send + Sync + 'static) -> Act {
    act(what, Answer::Gap("epoch".to_owned()), move |address| {
        let target = format!("/dag?since={}", position(address));
        let mut peer = Peer::lines(address, &target);
        let mut next = || peer.line().unwrap_or_default();
        let (hello, subscribed, gap, snapshot) = (next(), next(), next(), next());
        let kinds = [&hello, &subscribed, &gap, &snapshot].map(|line| &line["type"]);
        if kinds != ["hello", "subscribed", "gap", "snapshot"] {
            return Answer::Other(format!("{kinds:?}"));
        }
        assert_eq!(subscribed["recovered"], false);
        assert_eq!(subscribed["o"], snapshot["o"]);
        Answer::Gap(gap["why"].as_str().unwrap_or_default().to_owned())
    })
}

fn epoch(address: &str) -> String {
    let hello = Peer::lines(address, "/dag").line().unwrap();
    hello["epoch"].as_str().unwrap().to_owned()
}

fn many(count: usize) -> String {
    let one = json!({"ch": "dag/line"});
    json!({"type": "hello", "subs": vec![one; count]}).to_string()
}

/// Everything of the list; some of it takes a server ten seconds and more.
pub(crate) fn all() -> Vec<Act> {
    let long = "x".repeat(70_000);
    let upgrade = |headers: &str| format!("{UPGRADE}{headers}");
    let mut all = vec![
        act(
            "a head that comes a byte at a time",
            Answer::Problem(408, "timed_out".to_owned()),
            |address| {
                let mut peer = Peer::connect(address);
                peer.send(b"GET /dag HTTP/1.1\r\nX: ");
                while peer.trickle(b'x', Duration::from_millis(200)) {}
                answered(peer)
            },
        ),
        raw(
            "an oversized head",
            431,
            "head_too_long",
            format!("GET / HTTP/1.1\r\nHost: h\r\nX: {long}\r\n\r\n"),
        ),
        raw(
            "an oversized target",
            414,
            "target_too_long",
            format!("GET /{} HTTP/1.1\r\n", &long[..9_000]),
        ),
        raw("no HTTP", 400, "bad_request", "\u{16}\u{3}\u{1}\r\n\r\n"),
        raw(
            "two lengths",
            400,
            "bad_request",
            "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        ),
        raw(
            "a target that is no UTF-8",
            400,
            "bad_request",
            &b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n"[..],
        ),
        raw(
            "another version",
            505,
            "unsupported_version",
            "GET / HTTP/3.0\r\nHost: localhost\r\n\r\n",
        ),
        raw(
            "an old one",
            505,
            "unsupported_version",
            "GET / HTTP/0.9\r\nHost: localhost\r\n\r\n",
        ),
        raw(
            "an origin that is no UTF-8",
            403,
            "forged_origin",
            &b"GET /dag HTTP/1.1\r\nHost: localhost\r\nOrigin: \xff\r\n\r\n"[..],
        ),
        asked(
            "a path that is no UTF-8",
            400,
            "bad_target",
            "GET",
            "/stream/%ff/line?snapshot=%ff",
            "",
        ),
        asked(
            "half an escape",
            400,
            "bad_target",
            "GET",
            "/stream/dag/lin%6",
            "",
        ),
        asked(
            "a channel that none can be",
            400,
            "bad_channel",
            "GET",
            "/stream/dag/%00",
            "",
        ),
        asked(
            "a channel that is not there",
            404,
            "no_channel",
            "GET",
            "/stream/dag/other",
            "",
        ),
        asked(
            "a path that is not there",
            404,
            "not_found",
            "GET",
            "/stream/dag/line/more",
            "",
        ),
        asked(
            "a wrong method",
            405,
            "method_not_allowed",
            "DELETE",
            "/dag",
            "",
        ),
        asked(
            "a wrong method for a page",
            405,
            "method_not_allowed",
            "PUT",
            "/",
            "",
        ),
        asked(
            "a method that nobody knows",
            501,
            "not_implemented",
            "BREW",
            "/dag",
            "",
        ),
        asked(
            "a body that is too long",
            413,
            "body_too_long",
            "POST",
            "/dag",
            "Content-Length: 4097\r\n",
        ),
        // Blank lines before the next request are allowed.
        asked(
            "a body for what takes none",
            405,
            "method_not_allowed",
            "POST",
            "/stream/alerts/line",
            "Content-Length: 5\r\n\r\nhello",
        ),
        asked(
            "a body for what is not there",
            404,
            "not_found",
            "PUT",
            "/state/flags",
            "Content-Length: 5\r\n\r\nhello",
        ),
        act(
            "a body that waits until it is asked for",
            Answer::Problem(405, "method_not_allowed".to_owned()),
            |address| {
                let waits = "Content-Length: 5\r\nExpect: 100-continue\r\n";
                let mut peer = Peer::ask(address, "POST", "/dag", waits);
                match peer.head().status {
                    100 => {
                        peer.send(b"hello");
                        answered(peer)
                    }
                    status => Answer::Other(format!("{status} and not 100")),
                }
            },
        ),
        asked(
            "a body in pieces",
            411,
            "length_required",
            "POST",
            "/dag",
            "Transfer-Encoding: chunked\r\n",
        ),
        asked(
            "an expectation",
            417,
            "bad_expectation",
            "GET",
            "/dag",
            "Expect: the-impossible\r\n",
        ),
        asked(
            "a wrong media type",
            406,
            "not_acceptable",
            "GET",
            "/dag",
            "Accept: image/png\r\n",
        ),
        asked(
            "a forged origin",
            403,
            "forged_origin",
            "GET",
            "/dag",
            "Origin: http://evil.example\r\n",
        ),
        asked(
            "a forged origin for a WebSocket",
            403,
            "forged_origin",
            "GET",
            "/ws",
            &upgrade("Origin: http://evil.example\r\n"),
        ),
        asked(
            "a page without an origin",
            403,
            "forged_origin",
            "GET",
            "/ws",
            &upgrade("Origin: null\r\n"),
        ),
        asked(
            "a name that leads here",
            421,
            "wrong_host",
            "GET",
            "/",
            "Host: evil.example\r\n",
        ),
        asked(
            "a position that is none",
            400,
            "bad_position",
            "GET",
            "/dag?since=7",
            "",
        ),
        asked(
            "a last event that is none",
            400,
            "bad_position",
            "GET",
            "/dag",
            "Last-Event-ID: 7\r\n",
        ),
        asked(
            "a rate of nothing",
            400,
            "bad_query",
            "GET",
            "/dag?rate=0",
            "",
        ),
        asked(
            "a key twice",
            400,
            "bad_query",
            "GET",
            "/dag?rate=1&rate=2",
            "",
        ),
        asked(
            "a handshake without its key",
            400,
            "bad_handshake",
            "GET",
            "/ws",
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
        ),
        asked(
            "a handshake of another version",
            426,
            "upgrade_required",
            "GET",
            "/ws",
            &UPGRADE.replace("Version: 13", "Version: 8"),
        ),
        lost("an epoch that nobody knows", |_| {
            "0123456789abcdef:7".to_owned()
        }),
        lost("an offset beyond the end", |address| {
            format!("{}:9007199254740991", epoch(address))
        }),
        broken("an oversized message", 1009, |peer| {
            peer.text(&"x".repeat(65_537));
        }),
        broken("an oversized message in pieces", 1009, |peer| {
            let piece = [b'x'; 40_000];
            peer.frame(0x01, &piece);
            peer.frame(0x80, &piece);
        }),
        broken("a length beyond all bounds", 1009, |peer| {
            peer.send(&[
                0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0,
            ]);
        }),
        broken("a text that is no UTF-8", 1007, |peer| {
            peer.frame(0x81, &[0xce, 0xba, 0xff]);
        }),
        broken("a text cut within a character", 1007, |peer| {
            peer.frame(0x81, &[b'{', 0xce]);
        }),
        broken("a frame without a mask", 1002, |peer| {
            peer.send(&[0x81, 2, b'{', b'}']);
        }),
        broken("reserved bits", 1002, |peer| {
            peer.frame(0xc1, b"{}");
        }),
        broken("an opcode that nobody knows", 1002, |peer| {
            peer.frame(0x83, b"{}");
        }),
        broken("a piece of nothing", 1002, |peer| {
            peer.frame(0x80, b"{}");
        }),
        broken("a long ping", 1002, |peer| {
            peer.frame(0x89, &[0; 126]);
        }),
        broken("a close with a code that may not be sent", 1002, |peer| {
            peer.frame(0x88, &1006_u16.to_be_bytes());
        }),
        broken("a goodbye", 1000, |peer| peer.say(&json!({"type": "bye"}))),
        act("a flood", Answer::Closed(3013), |address| {
            let mut peer = Peer::greeted(address, &json!([]));
            let mut writes = peer.twin();
            let flood =
                std::thread::spawn(move || while writes.text(r#"{"type":"ping","ts":1}"#) {});
            let answer = closed(&mut peer);
            drop(peer);
            flood.join().unwrap();
            answer
        }),
        act(
            "a WebSocket that says nothing",
            Answer::Closed(3009),
            |address| closed(&mut Peer::socket(address, "/ws")),
        ),
        act(
            "something before hello",
            Answer::Error("no_hello".to_owned()),
            |address| {
                let mut peer = Peer::socket(address, "/ws");
                peer.say(&json!({"type": "subscribe", "ch": "dag/line"}));
                error(&mut peer)
            },
        ),
        act(
            "bytes instead of a text",
            Answer::Error("bad_message".to_owned()),
            |address| {
                let mut peer = Peer::greeted(address, &json!([]));
                peer.frame(0x82, b"{}");
                error(&mut peer)
            },
        ),
        refused(
            "an ack of what was never sent",
            "bad_ack",
            r#"{"type":"ack","ch":"alerts/line","o":1000}"#,
        ),
        refused(
            "an ack of a channel that is not followed",
            "bad_ack",
            r#"{"type":"ack","ch":"dag/line","o":1}"#,
        ),
        refused("half a JSON", "not_json", r#"{"type":"#),
        refused("a list", "not_json", "[1,2]"),
        refused("many brackets", "not_json", "[".repeat(60_000)),
        refused("no type", "bad_message", "{}"),
        refused(
            "a field of another type",
            "bad_message",
            r#"{"type":"subscribe","ch":7}"#,
        ),
        refused(
            "a channel that none can be",
            "bad_channel",
            r#"{"type":"subscribe","ch":"dag"}"#,
        ),
        refused(
            "a channel that is not there",
            "no_channel",
            r#"{"type":"subscribe","ch":"dag/other"}"#,
        ),
        refused(
            "a position that is none",
            "bad_position",
            r#"{"type":"subscribe","ch":"dag/line","since":"x"}"#,
        ),
        refused(
            "a channel twice",
            "already_subscribed",
            r#"{"type":"subscribe","ch":"alerts/line"}"#,
        ),
        refused(
            "a channel that is not followed",
            "not_subscribed",
            r#"{"type":"unsubscribe","ch":"dag/line"}"#,
        ),
        refused(
            "a snapshot of what has none",
            "not_subscribed",
            r#"{"type":"resync_request","ch":"alerts/line"}"#,
        ),
        refused("too many channels", "too_many_channels", many(129)),
        refused(
            "a message in which nothing is right but its length",
            "not_json",
            "x".repeat(65_536),
        ),
    ];
    // What is not there yet.
    for said in [
        r#"{"type":"publish","cid":1,"ch":"dag/line","data":{}}"#,
        r#"{"type":"state","cid":1,"op":"set","scope":"a","key":"b","value":1}"#,
        r#"{"type":"presence","status":"here"}"#,
        r#"{"type":"human_decision","cid":1,"node_id":"book","decision":"approve"}"#,
        r#"{"type":"pause_execution"}"#,
        r#"{"type":"resume_execution"}"#,
        r#"{"type":"cancel_execution"}"#,
    ] {
        all.push(refused(
            "a message of what is not there yet",
            "not_served",
            said,
        ));
    }
    all
}

/// Runs all of them at once, and gives what did not become of it what should.
pub(crate) fn judged(acts: &[Act], address: &str) -> Vec<String> {
    std::thread::scope(|scope| {
        let running: Vec<_> = acts
            .iter()
            .map(|act| (act, scope.spawn(|| act.run(address))))
            .collect();
        let judged = running.into_iter().filter_map(|(act, thread)| {
            let answer = thread
                .join()
                .unwrap_or_else(|_| Answer::Other("it stalls, or says what cannot be".to_owned()));
            let is_right = answer == act.expected;
            (!is_right).then(|| format!("{}: {answer:?}, not {:?}", act.what, act.expected))
        });
        judged.collect()
    })
}

/// How many of these are to end so.
pub(crate) fn expected(acts: &[Act], is_it: impl Fn(&Answer) -> bool) -> u64 {
    acts.iter().filter(|act| is_it(&act.expected)).count() as u64
}
