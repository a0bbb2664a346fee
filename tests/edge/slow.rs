//! Clients that read slowly or not at all: what they hold is bounded, and what they miss they are told.

use hopline::base::limits::{EDGE_LOG_EVENTS_DEFAULT, EDGE_OUTPUT_BYTES};
use hopline::edge::{ChannelId, Code, Ended, Kind};
use hopline::wire::websocket::{Event, Limits, Role, WebSocket};

use super::end::{End, get, hub, upgrade};

fn lines(text: &str) -> Vec<serde_json::Value> {
    let lines = text.lines().filter(|line| line.starts_with('{'));
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn one_that_reads_nothing_holds_an_output_and_catches_up_with_the_state() {
    let (hub, dag, ..) = hub();
    let mut end = End::new(hub);
    end.ask(&get("/dag", ""));
    for number in 0..100_000 {
        let key = format!("node:{}", number % 7);
        end.publish(
            dag,
            Kind::NodeState,
            Some(&key),
            &format!("{{\"n\":{number}}}"),
        );
        if number % 1_000 == 0 {
            // A turn, in which the socket has no room.
            end.hear(0);
        }
        assert!(end.client.output().len() <= EDGE_OUTPUT_BYTES);
    }
    let said = lines(&end.hear_text());
    let newest: Vec<_> = said
        .iter()
        .rev()
        .take(7)
        .map(|one| one["n"].as_u64().unwrap())
        .collect();
    assert_eq!(newest, (99_993..100_000).rev().collect::<Vec<_>>());
    let skipped: u64 = said.iter().filter_map(|one| one["skip"].as_u64()).sum();
    assert_eq!(said.len() as u64 + skipped, 100_000);
}

#[test]
fn one_that_reads_nothing_of_a_stream_is_told_how_much_it_lost() {
    let (hub, .., stats) = hub();
    let mut end = End::new(hub);
    end.ask(&get("/stream/stats/line", ""));
    for _ in 0..10_000 {
        end.publish(stats, Kind::HopStats, None, "{\"hops\":[]}");
    }
    let said = lines(&end.hear_text());
    assert_eq!(
        (&said[0]["type"], &said[0]["why"]),
        (&"shed".into(), &"slow".into())
    );
    let lost = said[0]["n"].as_u64().unwrap();
    assert_eq!(said.len() - 1, EDGE_LOG_EVENTS_DEFAULT);
    assert_eq!(lost as usize + said.len() - 1, 10_000);
}

#[test]
fn one_that_takes_nothing_is_gone_after_its_time() {
    let (hub, dag, ..) = hub();
    let mut end = End::new(hub);
    end.ask(&get("/dag", ""));
    end.publish(dag, Kind::NodeState, Some("node:a"), "{}");
    end.hear(0);
    end.client.blocked(end.now);
    let mut seconds = 0;
    while end.client.is_over().is_none() {
        seconds += 1;
        end.now.ns += 1_000_000_000;
        end.client.step(end.now, &mut end.counts);
        assert!(seconds < 100);
    }
    assert_eq!((seconds, end.client.is_over()), (45, Some(Ended::Stuck)));
}

#[test]
fn a_snapshot_larger_than_the_output_leaves_whole_in_any_pieces() {
    let (hub, dag, ..) = hub();
    let mut end = End::new(hub);
    for number in 0..1_000 {
        let value = format!("{{\"n\":{number},\"s\":\"{}\"}}", "x".repeat(200));
        end.publish(
            dag,
            Kind::NodeState,
            Some(&format!("node:{number}")),
            &value,
        );
    }
    end.say(get("/dag", "").as_bytes());
    let mut text = Vec::new();
    loop {
        let piece = end.hear(777);
        if piece.is_empty() {
            break;
        }
        text.extend_from_slice(&piece);
        if text.len() == 77_700 {
            // What comes meanwhile waits behind it.
            end.publish(dag, Kind::NodeState, Some("node:0"), "{\"n\":5000}");
        }
    }
    let said = lines(&String::from_utf8(text).unwrap());
    assert_eq!(said[2]["data"].as_object().unwrap().len(), 1_000);
    assert_eq!(
        (&said[3]["o"], &said[3]["n"]),
        (&1_001.into(), &5_000.into())
    );
    assert_eq!(said.len(), 4);
}

/// A hub whose `dag/line` has a snapshot that no output has room for.
fn large() -> (End, ChannelId) {
    let (hub, dag, ..) = hub();
    let mut end = End::new(hub);
    for number in 0..50 {
        let key = format!("node:{number}");
        let value = format!("{{\"pad\":\"{}\"}}", "x".repeat(1_000));
        end.publish(dag, Kind::NodeState, Some(&key), &value);
    }
    (end, dag)
}

/// Lets everything before the snapshot through: what that was.
fn until_large(end: &mut End) -> Vec<u8> {
    let mut heard = Vec::new();
    while end.client.output().len() < EDGE_OUTPUT_BYTES {
        let more = end.hear(1);
        assert!(!more.is_empty());
        heard.extend(more);
    }
    heard
}

#[test]
fn nothing_leaves_behind_the_last_words() {
    let sse = get("/dag", "Accept: text/event-stream\r\n");
    for request in [get("/dag", ""), sse] {
        let (mut end, _) = large();
        end.say(request.as_bytes());
        // What comes first fills the output; the snapshot waits behind it.
        end.hear(10);
        end.client
            .end(Code::Drain, Ended::Drained, Some(7), end.now);
        let text = end.hear_text();
        assert!(!text.contains("\"snapshot\""), "{text}");
        assert!(text.contains("\"disconnect\""), "{text}");
    }
    // What has begun leaves to its end.
    let (mut end, _) = large();
    end.say(get("/dag", "").as_bytes());
    let begun = end.hear(2_000);
    assert!(String::from_utf8(begun).unwrap().contains("\"snapshot\""));
    end.client
        .end(Code::Drain, Ended::Drained, Some(7), end.now);
    let text = end.hear_text();
    assert!(
        text.lines().last().unwrap().contains("\"disconnect\""),
        "{text}"
    );
    // A close of the client's own is answered, and that is all.
    for closing in [b"\x88\x80\0\0\0\0".as_slice(), b"\x81\x02no"] {
        let (mut end, _) = large();
        end.say(upgrade("/ws").as_bytes());
        let head = end.hear_text();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let mut client = WebSocket::new(Role::Client, Limits::default());
        client
            .send_text(r#"{"type":"hello","subs":[{"ch":"dag/line"}]}"#)
            .unwrap();
        end.say(client.output());
        let mut heard = until_large(&mut end);
        end.say(closing);
        heard.extend(end.hear(usize::MAX));
        let (mut input, mut closes) = (heard.as_slice(), 0);
        while let Some(event) = client.poll(&mut input) {
            closes += u32::from(matches!(event, Event::Close { .. }));
        }
        assert_eq!((closes, input.len()), (1, 0));
    }
}

#[test]
fn all_who_wait_for_a_large_snapshot_hold_the_same_one() {
    for more in ["", "Accept: text/event-stream\r\n"] {
        let (mut end, _) = large();
        let mut places = Vec::new();
        for _ in 0..3 {
            end.reconnect();
            end.say(get("/dag", more).as_bytes());
            until_large(&mut end);
            places.push(end.client.output().as_ptr());
        }
        places.dedup();
        assert_eq!(places.len(), 1);
    }
}

#[test]
fn one_that_was_told_to_go_went_for_that_whatever_it_says_then() {
    let (hub, ..) = hub();
    let mut end = End::new(hub);
    end.say(upgrade("/ws").as_bytes());
    end.hear_text();
    end.client
        .end(Code::Drain, Ended::Drained, Some(7), end.now);
    end.hear(usize::MAX);
    // A close with a code that may not be given.
    end.say(b"\x88\x82\0\0\0\0\x03\xed");
    assert_eq!(end.client.code(), Some(Code::Drain));
    assert_eq!(end.client.is_over(), Some(Ended::Drained));
}
