//! What is asked of the edge, well or badly, and what it answers.

use hopline::base::limits::{EDGE_READ_BYTES, EDGE_THROTTLE_NS};
use hopline::edge::{Code, Ended, Kind, Now, Problem, Refused, Said, Waits};
use hopline::wire::websocket::{Event, Limits, Role, WebSocket};

use super::end::{EPOCH, End, get, hub, upgrade};

/// Behind the head of a response.
fn body(response: &str) -> &str {
    response.split_once("\r\n\r\n").unwrap().1
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn lines_begin_with_hello_and_the_state() {
    let (hub, dag, ..) = hub();
    let mut end = End::new(hub);
    end.publish(dag, Kind::NodeState, Some("node:book"), "{\"n\":1}");
    let response = end.ask(&get("/dag", ""));
    assert!(response.starts_with("HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n"));
    let lines: Vec<_> = body(&response).lines().map(json).collect();
    let kinds: Vec<_> = lines
        .iter()
        .map(|line| line["type"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["hello", "subscribed", "snapshot"]);
    assert_eq!(lines[0]["epoch"], EPOCH.to_string());
    assert_eq!(
        (&lines[1]["recovered"], &lines[1]["o"]),
        (&false.into(), &1.into())
    );
    assert_eq!(lines[2]["data"]["node:book"]["n"], 1);
    end.publish(dag, Kind::NodeState, Some("node:book"), "{\"n\":2}");
    let next = json(end.hear_text().trim());
    assert_eq!(
        (&next["type"], &next["o"], &next["n"]),
        (&"node_state".into(), &2.into(), &2.into())
    );
}

#[test]
fn events_have_ids_where_they_have_a_place() {
    let (hub, dag, _, stats) = hub();
    let mut end = End::new(hub);
    let accept = "Accept: text/event-stream\r\n";
    assert!(
        end.ask(&get("/dag?snapshot=0", accept))
            .contains("event: hello\n")
    );
    end.publish(dag, Kind::NodeState, Some("node:a"), "{}");
    assert!(
        end.hear_text()
            .starts_with(&format!("id: {EPOCH}:1\nevent: node_state\ndata: {{"))
    );
    end.reconnect();
    end.ask(&get("/stream/stats/line?types=off", accept));
    end.publish(stats, Kind::HopStats, None, "{\"hops\":[]}");
    let text = end.hear_text();
    assert!(
        text.starts_with("data: {\"type\":\"hop_stats\",\"ch\":\"stats/line\",\"t\":"),
        "{text}"
    );
}

#[test]
fn a_page_is_served_and_the_connection_goes_on() {
    let (hub, ..) = hub();
    let mut end = End::new(hub);
    // Two requests at once: the second waits for the first.
    let response = end.ask(&(get("/", "") + &get("/nowhere", "")));
    assert!(response.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n"));
    assert!(response.contains("Content-Security-Policy: default-src 'none'"));
    assert!(response.contains("<title>a page</title>HTTP/1.1 404 Not Found\r\n"));
    assert!(!response.contains("Connection: close"), "{response}");
    assert_eq!(end.client.is_over(), None, "it does as it says");
    let head = end.ask("HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && body(&head).is_empty());
    assert!(end.client.is_over().is_none());
    end.ask(&get("/", "Connection: close\r\n"));
    assert_eq!(end.client.is_over(), Some(Ended::Answered));
}

#[test]
fn what_is_asked_badly_is_answered_with_a_problem() {
    for (request, status, name) in [
        (get("/stream/none/at-all", ""), 404, "no_channel"),
        (get("/stream/none", ""), 404, "not_found"),
        (get("/dag?since=yesterday", ""), 400, "bad_position"),
        (get("/dag?rate=0", ""), 400, "bad_query"),
        (get("/dag", "Accept: image/png\r\n"), 406, "not_acceptable"),
        (
            get("/dag", "Origin: http://evil.example\r\n"),
            403,
            "forged_origin",
        ),
        (
            get("/dag", "Upgrade: websocket\r\nSec-WebSocket-Key: x\r\n"),
            426,
            "upgrade_required",
        ),
        (
            "PUT /dag HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".into(),
            405,
            "method_not_allowed",
        ),
        (
            "GET /dag HTTP/1.1\r\nHost: evil.example\r\n\r\n".into(),
            421,
            "wrong_host",
        ),
        (
            "GET /dag HTTP/3.0\r\nHost: localhost\r\n\r\n".into(),
            505,
            "unsupported_version",
        ),
        (
            get("/dag", &format!("X: {}\r\n", "y".repeat(20_000))),
            431,
            "head_too_long",
        ),
        (
            get(&format!("/{}", "z".repeat(9_000)), ""),
            414,
            "target_too_long",
        ),
        ("nonsense\r\n\r\n".into(), 400, "bad_request"),
    ] {
        let (hub, ..) = hub();
        let mut end = End::new(hub);
        let response = end.ask(&request);
        let line = format!("HTTP/1.1 {status} ");
        assert!(response.starts_with(&line), "{request:.60}: {response}");
        let problem = json(body(&response));
        assert_eq!(problem["type"], format!("tag:hopline,2026:{name}"));
        assert_eq!(problem["status"], status);
        assert!(problem["detail"].as_str().unwrap().len() > 10);
        assert_eq!(end.counts.problems.iter().sum::<u64>(), 1);
    }
}

#[test]
fn health_is_answered_by_whoever_holds_the_line() {
    let (hub, ..) = hub();
    let mut end = End::new(hub);
    assert_eq!(end.ask(&get("/health", "")), "");
    assert_eq!(end.client.waits(), Some(Waits::Health));
    assert!(
        !end.client.wants_input(),
        "the next request waits in its socket"
    );
    end.client.answer(&Said {
        status: 503,
        media_type: "text/plain; charset=utf-8",
        body: "core-1 has made no turn for 130ms: book does not return\n".into(),
    });
    let response = end.hear_text();
    assert!(response.starts_with("HTTP/1.1 503 Service Unavailable\r\n"));
    assert!(response.ends_with("book does not return\n"));
    assert!(end.client.waits().is_none() && end.client.wants_input());
}

/// A page's script: what it says, and what it is told.
struct Talk {
    socket: WebSocket,
    head: bool,
}

impl Talk {
    fn open(end: &mut End, path: &str) -> Talk {
        end.say(upgrade(path).as_bytes());
        Talk {
            socket: WebSocket::new(Role::Client, Limits::default()),
            head: true,
        }
    }

    fn say(&mut self, end: &mut End, text: &str) {
        self.socket.send_text(text).unwrap();
        let bytes = self.socket.output().to_vec();
        self.socket.written(bytes.len());
        end.say(&bytes);
    }

    /// All that was said to it since, and the code of the close if there was one.
    fn hear(&mut self, end: &mut End) -> (Vec<serde_json::Value>, Option<u16>) {
        let bytes = end.hear(usize::MAX);
        let mut input = bytes.as_slice();
        if core::mem::take(&mut self.head) {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            assert!(
                text.starts_with("HTTP/1.1 101 Switching Protocols\r\n"),
                "{text}"
            );
            assert!(text.contains("Sec-WebSocket-Protocol: hopline.v1.json\r\n"));
            let end = bytes
                .windows(4)
                .position(|four| four == b"\r\n\r\n")
                .unwrap();
            input = &bytes[end + 4..];
        }
        let (mut said, mut code) = (Vec::new(), None);
        while let Some(event) = self.socket.poll(&mut input) {
            match event {
                Event::Text(text) => said.push(json(text)),
                Event::Close { code: with, .. } => code = with,
                _ => {}
            }
        }
        (said, code)
    }
}

#[test]
fn a_page_says_hello_and_follows_several_channels() {
    let (hub, dag, alerts, _) = hub();
    let mut end = End::new(hub);
    end.publish(alerts, Kind::Error, None, "{\"code\":\"failed\"}");
    let mut talk = Talk::open(&mut end, "/ws");
    assert!(talk.hear(&mut end).0.is_empty(), "nothing before hello");
    talk.say(&mut end, r#"{"type":"hello","attempt":0,"subs":[{"ch":"dag/line"},{"ch":"alerts/line"},{"ch":"no/such"}]}"#);
    let (said, _) = talk.hear(&mut end);
    let kinds: Vec<_> = said
        .iter()
        .map(|one| one["type"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds,
        [
            "hello",
            "subscribed",
            "subscribed",
            "error",
            "error",
            "snapshot"
        ]
    );
    assert_eq!(
        (&said[3]["code"], &said[3].get("ch")),
        (&"no_channel".into(), &None)
    );
    assert_eq!(
        said[4]["ch"], "alerts/line",
        "what went wrong before it came is told"
    );
    for (says, code) in [
        (
            r#"{"type":"subscribe","ch":"dag/line"}"#,
            "already_subscribed",
        ),
        (
            r#"{"type":"unsubscribe","ch":"stats/line"}"#,
            "not_subscribed",
        ),
        (r#"{"type":"ack","ch":"alerts/line","o":9}"#, "bad_ack"),
        (r#"{"type":"state","cid":"1","op":"set"}"#, "not_served"),
        ("nonsense", "not_json"),
    ] {
        talk.say(&mut end, says);
        let (said, _) = talk.hear(&mut end);
        assert_eq!(said.len(), 1, "{says}");
        assert_eq!(said[0]["code"], code, "{says}");
    }
    assert_eq!(end.counts.refused, 6, "with the channel that is not there");
    talk.say(&mut end, r#"{"type":"ack","ch":"alerts/line","o":1}"#);
    talk.say(&mut end, r#"{"type":"ping","ts":17}"#);
    end.publish(dag, Kind::NodeState, Some("node:a"), "{}");
    let (said, _) = talk.hear(&mut end);
    assert_eq!(
        (&said[0]["type"], &said[0]["ts"]),
        (&"pong".into(), &17.into())
    );
    assert_eq!(said[1]["type"], "node_state");
    talk.say(&mut end, r#"{"type":"unsubscribe","ch":"dag/line"}"#);
    assert_eq!(end.hub.follower_count(dag), 0, "nobody pays for it");
    talk.say(&mut end, r#"{"type":"bye"}"#);
    let (said, code) = talk.hear(&mut end);
    assert_eq!((&said[0]["type"], code), (&"disconnect".into(), Some(1000)));
}

#[test]
fn a_resync_is_a_snapshot_anew() {
    let (hub, dag, ..) = hub();
    let mut end = End::new(hub);
    end.publish(dag, Kind::NodeState, Some("node:a"), "{\"n\":1}");
    let mut talk = Talk::open(&mut end, "/dag");
    assert_eq!(talk.hear(&mut end).0.len(), 3);
    talk.say(&mut end, r#"{"type":"resync_request","ch":"dag/line"}"#);
    let (said, _) = talk.hear(&mut end);
    assert_eq!((said.len(), &said[0]["type"]), (1, &"snapshot".into()));
    assert_eq!(end.counts.resyncs, 1);
    // One that says what it has seen gets what is behind that.
    for number in 2..5 {
        end.publish(
            dag,
            Kind::NodeState,
            Some("node:a"),
            &format!("{{\"n\":{number}}}"),
        );
    }
    assert_eq!(talk.hear(&mut end).0.len(), 3);
    let seen =
        format!("{{\"type\":\"resync_request\",\"ch\":\"dag/line\",\"last_seen\":\"{EPOCH}:2\"}}");
    talk.say(&mut end, &seen);
    let (said, _) = talk.hear(&mut end);
    let offsets: Vec<_> = said.iter().map(|one| one["o"].as_u64()).collect();
    assert_eq!(offsets, [Some(3), Some(4)]);
}

#[test]
fn critical_events_come_again_until_they_are_acknowledged() {
    let (hub, _, alerts, _) = hub();
    let mut end = End::new(hub);
    let mut talk = Talk::open(&mut end, "/ws");
    talk.say(
        &mut end,
        r#"{"type":"hello","subs":[{"ch":"alerts/line"}]}"#,
    );
    talk.hear(&mut end);
    end.publish(alerts, Kind::Error, None, "{\"code\":\"failed\"}");
    assert_eq!(talk.hear(&mut end).0.len(), 1);
    let start_ns = end.now.ns;
    for ms in [500, 1_000, 2_000] {
        end.now.ns = start_ns + ms * 1_000_000 - 1;
        end.client.step(end.now, &mut end.counts);
        assert!(talk.hear(&mut end).0.is_empty(), "{ms}");
        end.now.ns += 1;
        end.client.step(end.now, &mut end.counts);
        let (said, _) = talk.hear(&mut end);
        assert_eq!((said.len(), &said[0]["o"]), (1, &1.into()), "{ms}");
    }
    talk.say(&mut end, r#"{"type":"ack","ch":"alerts/line","o":1}"#);
    end.now.ns += 10_000_000_000;
    end.client.step(end.now, &mut end.counts);
    assert!(talk.hear(&mut end).0.is_empty());
}

#[test]
fn without_its_token_nobody_is_told_anything() {
    let (hub, ..) = hub();
    let mut end = End::new(hub);
    end.rules.token = Some("secret".into());
    let response = end.ask(&get("/dag", ""));
    assert!(
        response.starts_with("HTTP/1.1 401 Unauthorized\r\n"),
        "{response}"
    );
    assert!(
        end.ask(&get("/dag", "Authorization: Bearer wrong\r\n"))
            .starts_with("HTTP/1.1 401 ")
    );
    assert!(
        end.ask(&get("/dag", "Authorization: Bearer secret\r\n"))
            .starts_with("HTTP/1.1 200 ")
    );
    for (hello, right) in [
        (r#"{"type":"hello","token":"secret"}"#, true),
        (r#"{"type":"hello","token":"secrets"}"#, false),
        (r#"{"type":"hello"}"#, false),
    ] {
        end.reconnect();
        let mut talk = Talk::open(&mut end, "/ws");
        talk.say(&mut end, hello);
        let (said, code) = talk.hear(&mut end);
        let first = if right { "hello" } else { "disconnect" };
        assert_eq!(said[0]["type"], first);
        assert_eq!(code, (!right).then_some(Code::BadAuth.number()));
    }
}

#[test]
fn one_that_may_not_come_in_is_told_so_in_its_own_way() {
    let (hub, ..) = hub();
    let mut end = End::new(hub);
    let rate = Some(Refused::Rate(1_500_000_000));
    end.refuse_next(rate);
    let response = end.ask(&get("/dag", ""));
    assert!(
        response.starts_with("HTTP/1.1 503 ") && response.contains("Retry-After: 2\r\n"),
        "{response}"
    );
    end.refuse_next(rate);
    let response = end.ask(&get("/dag", "Accept: text/event-stream\r\n"));
    assert!(
        response.starts_with("HTTP/1.1 200 OK\r\n"),
        "or an event source would never come back"
    );
    assert!(
        response.ends_with("retry: 1500\n\n") || response.contains("retry: 1500\n"),
        "{response}"
    );
    assert_eq!(end.client.is_over(), Some(Ended::Refused));
    end.refuse_next(rate);
    let mut talk = Talk::open(&mut end, "/ws");
    let (said, code) = talk.hear(&mut end);
    assert_eq!(
        (&said[0]["type"], &said[0]["retry_after_ms"]),
        (&"disconnect".into(), &1500.into())
    );
    assert_eq!(code, Some(Code::Busy.number()));
    // One answer whatever it is, and the connection ends behind it.
    for (count, request) in [
        get("/dag", ""),
        get("/", ""),
        get("/health", ""),
        get("/dag", "").replace("GET", "HEAD"),
    ]
    .iter()
    .enumerate()
    {
        end.refuse_next(Some(Refused::Address));
        let response = end.ask(request);
        assert!(response.starts_with("HTTP/1.1 429 "), "{response}");
        assert_eq!(response.matches("HTTP/1.1 ").count(), 1, "{response}");
        assert_eq!(response.matches("Connection: close\r\n").count(), 1);
        assert_eq!(end.client.is_over(), Some(Ended::Refused));
        assert_eq!(
            end.counts.problems[Problem::TooMany as usize],
            count as u64 + 1
        );
    }
}

#[test]
fn a_head_that_never_ends_is_timed_out() {
    let (hub, ..) = hub();
    let mut end = End::new(hub);
    end.say(b"GET /dag HTTP/1.1\r\nHost: loc");
    for second in 1..10 {
        end.now = Now {
            ns: second * 1_000_000_000,
            ..end.now
        };
        // A byte a second, for as long as it is listened to.
        end.say(b"a");
        end.client.step(end.now, &mut end.counts);
        assert!(end.client.is_over().is_none());
    }
    end.now = Now {
        ns: 10_000_000_001,
        ..end.now
    };
    end.client.step(end.now, &mut end.counts);
    let response = end.hear_text();
    assert!(
        response.starts_with("HTTP/1.1 408 Request Timeout\r\n"),
        "{response}"
    );
    assert_eq!(end.client.is_over(), Some(Ended::NoHello));
    assert_eq!(end.counts.problems[Problem::TimedOut as usize], 1);
}

/// What a page's script does when it goes wrong: small frames without end.
fn flood(frame: &[u8]) {
    let (hub, ..) = hub();
    let mut end = End::new(hub);
    let mut talk = Talk::open(&mut end, "/dag");
    talk.hear(&mut end);
    let (mut taken, mut looks) = (0, 0);
    let began_ns = end.now.ns;
    while end.client.is_over().is_none() && looks < 1_000 {
        // As the server reads it: as much at a time as there is room for, as long as it wants any.
        end.client.step(end.now, &mut end.counts);
        while end.client.has_unread() && end.client.wants_input() {
            end.say(&[]);
        }
        if end.client.wants_input() {
            end.say(&frame.repeat(EDGE_READ_BYTES / frame.len()));
            taken += 1;
        }
        end.hear(usize::MAX);
        end.now.ns += EDGE_THROTTLE_NS;
        looks += 1;
    }
    let took_s = (end.now.ns - began_ns) / 1_000_000_000;
    assert!(taken <= 3, "{taken} reads in {took_s} s");
    assert_eq!(end.client.code(), Some(Code::Flood));
}

#[test]
fn pongs_and_fragments_without_end_are_a_flood_as_well() {
    // A pong without payload, and a fragment of a message that never ends: a first one stands before.
    flood(&[0x8a, 0x80, 1, 2, 3, 4]);
    let (hub, ..) = hub();
    let mut end = End::new(hub);
    let mut talk = Talk::open(&mut end, "/dag");
    talk.hear(&mut end);
    end.say(&[0x01, 0x80, 1, 2, 3, 4]);
    for _ in 0..4 {
        end.say(&[0x00, 0x80, 1, 2, 3, 4].repeat(100));
    }
    assert!(!end.client.wants_input(), "fragments are paid for");
}

#[test]
fn a_burst_of_small_messages_is_answered_and_not_cut() {
    let (hub, ..) = hub();
    let mut end = End::new(hub);
    let mut talk = Talk::open(&mut end, "/dag");
    talk.hear(&mut end);
    for _ in 0..1_100 {
        talk.socket.send_text("{}").unwrap();
    }
    let bytes = talk.socket.output().to_vec();
    talk.socket.written(bytes.len());
    let mut answers = 0;
    end.say(&bytes);
    for _ in 0..1_000 {
        let (said, code) = talk.hear(&mut end);
        assert_eq!(code, None, "{answers} answers");
        answers += said.iter().filter(|one| one["type"] == "error").count();
        end.now.ns += EDGE_THROTTLE_NS;
        end.client.step(end.now, &mut end.counts);
        while end.client.has_unread() && end.client.wants_input() {
            end.say(&[]);
        }
        if !end.client.has_unread() {
            break;
        }
    }
    let (said, _) = talk.hear(&mut end);
    answers += said.iter().filter(|one| one["type"] == "error").count();
    assert_eq!(answers, 1_100);
}

#[test]
fn who_was_told_to_go_is_not_heard_any_more() {
    let (hub, ..) = hub();
    let mut end = End::new(hub);
    let mut talk = Talk::open(&mut end, "/ws");
    talk.say(&mut end, r#"{"type":"hello"}"#);
    talk.say(&mut end, r#"{"type":"bye"}"#);
    for _ in 0..6 {
        end.now.ns += 1_000_000_000;
        talk.say(&mut end, r#"{"type":"hello"}"#);
        end.client.step(end.now, &mut end.counts);
        end.hear(usize::MAX);
    }
    assert!(end.client.is_gone(), "it has five seconds to agree");
}

#[test]
fn what_lies_behind_a_close_is_not_kept_to_be_read() {
    let (hub, ..) = hub();
    let mut end = End::new(hub);
    let mut talk = Talk::open(&mut end, "/dag");
    talk.hear(&mut end);
    talk.socket.close(1000, "");
    let close = talk.socket.output().to_vec();
    // It does not read the answer, and sends on.
    end.say(&[&close[..], b"behind the end"].concat());
    assert!(!end.client.has_unread());
}
