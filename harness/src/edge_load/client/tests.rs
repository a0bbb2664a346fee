use hopline::edge::event::{Body, Disconnect, Hello, Ping, Pong, Subscribed};
use hopline::edge::message::Message;
use hopline::edge::{ChannelName, Since};

use super::*;
use crate::edge_load::plan::Plan;
use crate::edge_load::world::CutReport;

const SECOND: u64 = 1_000_000_000;
const EPOCH: Epoch = Epoch(42);

fn at(ns: u64) -> Now {
    Now {
        ns,
        wall_ns: 1_700_000_000 * SECOND + ns,
    }
}

fn world(via: Via, channel: &'static str) -> World {
    let plan = Plan {
        clients: 1,
        vias: vec![via],
        channels: vec![ChannelName::new(channel).unwrap()],
        slow: 0,
        flood: 0,
    };
    World::new(plan, None, 7)
}

/// A client that connects at once, up to where the server has to say hello.
fn asking(world: &mut World) -> Client {
    let mut client = Client::new(0, 0, world);
    assert_eq!(client.connect(at(0), world), [None]);
    client.stands();
    client
}

fn hear(client: &mut Client, text: &str, ns: u64, world: &mut World) {
    client.heard(at(ns));
    client.hear(Heard::Text { text, id: None }, at(ns), world);
}

fn hello() -> String {
    let hello = Hello {
        sid: "f1",
        epoch: EPOCH,
        ping_ms: 15_000,
        misses: 3,
        message_bytes_max: 65_536,
        debounce_ms: 20,
        sample_every: 16,
        now_ms: 5,
    };
    hello.text()
}

fn subscribed(channel: &str, offset: u64, recovered: bool) -> String {
    let subscribed = Subscribed {
        channel,
        epoch: EPOCH,
        offset,
        recovered,
        replayed: 0,
    };
    subscribed.text()
}

/// One that is live on a channel of critical events.
fn live(world: &mut World) -> Client {
    let mut client = asking(world);
    hear(&mut client, &hello(), 5, world);
    assert!(!client.is_live());
    hear(&mut client, &subscribed("alerts/line", 9, false), 6, world);
    assert!(client.is_live());
    client
}

#[test]
fn one_that_is_live_and_lost_comes_back_from_where_it_was() {
    let mut world = world(Via::WebSocket, "alerts/line");
    let mut client = live(&mut world);
    assert_eq!((world.live, world.been_live), (1, 1));
    assert_eq!(world.spans.hello.max_ns(), 5);
    assert_eq!(world.spans.live.max_ns(), 6);
    client.lost(Lost::Ended("reset"), at(100), &mut world);
    assert_eq!((world.live, world.counts.lost), (0, 1));
    let Phase::Waiting(until_ns) = client.phase() else {
        panic!("it comes back")
    };
    assert!(
        (SECOND..13 * SECOND / 10 + 100).contains(&until_ns),
        "{until_ns}"
    );
    let since = client.connect(at(until_ns), &mut world);
    let position = Position {
        epoch: EPOCH,
        offset: 9,
    };
    assert_eq!(since, [Some(position)]);
    let text = client.hello(&since, Some("secret"), &world);
    let Ok(Message::Hello(said)) = Message::parse(&text) else {
        panic!("the server understands {text}")
    };
    assert_eq!((said.sid.as_deref(), said.attempt), (Some("f1"), 1));
    assert_eq!(said.token.as_deref(), Some("secret"));
    assert_eq!(said.subs[0].since, Some(Since::After(position)));
    client.stands();
    let again_ns = until_ns + 7;
    hear(&mut client, &hello(), again_ns, &mut world);
    hear(
        &mut client,
        &subscribed("alerts/line", 9, true),
        again_ns,
        &mut world,
    );
    assert!(
        client.is_live() && world.checks.are_good(),
        "{:?}",
        world.checks
    );
    assert_eq!(world.spans.again.max_ns(), again_ns - 100);
    assert_eq!((world.checks.resumed, world.checks.recovered), (1, 1));
    assert_eq!((world.been_live, world.spans.live.count()), (1, 1));
}

#[test]
fn waits_double_until_it_was_up_for_long() {
    let mut world = world(Via::WebSocket, "alerts/line");
    let mut client = asking(&mut world);
    let mut now_ns = 0;
    for least_s in [1, 2, 4, 8, 16, 30, 30] {
        client.lost(Lost::Failed("nobody listens there"), at(now_ns), &mut world);
        let Phase::Waiting(until_ns) = client.phase() else {
            panic!("it comes back")
        };
        let wait_ns = until_ns - now_ns;
        let most_ns = least_s * 13 * SECOND / 10;
        assert!((least_s * SECOND..=most_ns).contains(&wait_ns), "{wait_ns}");
        client.connect(at(until_ns), &mut world);
        client.stands();
        now_ns = until_ns;
    }
    hear(&mut client, &hello(), now_ns, &mut world);
    let long_ns = now_ns + UP_NS;
    client.lost(Lost::Closed(Some(3009)), at(long_ns), &mut world);
    let waits = client.phase();
    assert!(
        matches!(waits, Phase::Waiting(until_ns) if until_ns < long_ns + 2 * SECOND),
        "{waits:?}"
    );
    assert_eq!(world.counts.failed["nobody listens there"], 7);
    assert_eq!(world.counts.closed["3009 silent"], 1);
}

#[test]
fn the_server_says_when_to_come_back_and_whether() {
    let mut world = world(Via::WebSocket, "alerts/line");
    let told = Disconnect {
        code: Code::Busy,
        reason: "",
        retry_after_ms: Some(77),
    };
    let mut client = asking(&mut world);
    hear(&mut client, &told.text(), 5, &mut world);
    client.lost(Lost::Closed(Some(3002)), at(10), &mut world);
    assert_eq!(client.phase(), Phase::Waiting(10 + 77_000_000));
    assert_eq!(world.counts.refused["3002 busy"], 1);
    client.connect(at(100_000_000), &mut world);
    let refused = |status, after_s| Lost::Refused { status, after_s };
    client.lost(refused(503, Some(2)), at(0), &mut world);
    assert_eq!(client.phase(), Phase::Waiting(2 * SECOND));
    assert_eq!(world.counts.given_up, 0);
    // It was told twice and has not failed: what fails next is the first failure.
    client.connect(at(2 * SECOND), &mut world);
    client.lost(Lost::Failed("nobody listens there"), at(0), &mut world);
    let waits = client.phase();
    assert!(
        matches!(waits, Phase::Waiting(until_ns) if until_ns < 2 * SECOND),
        "{waits:?}"
    );
    for (lost, name) in [
        (refused(401, None), "401"),
        (Lost::Closed(Some(3500)), "3500 bad_auth"),
    ] {
        let mut client = asking(&mut world);
        client.lost(lost, at(0), &mut world);
        assert_eq!(client.phase(), Phase::Over);
        assert_eq!(world.counts.refused[name], 1);
    }
    assert_eq!(world.counts.given_up, 2);
    assert!(world.checks.are_good());
}

#[test]
fn what_one_that_was_cut_is_told_counts_for_the_cut_and_what_others_are_told_does_not() {
    let mut world = world(Via::WebSocket, "alerts/line");
    world.cuts.push(CutReport {
        at_ns: SECOND,
        asked: 1,
        cut: 1,
        away: 1,
        all_live_ns: None,
        told_ns: None,
        told_again: 0,
        from_ns: SECOND,
    });
    let refused = |after_s| Lost::Refused {
        status: 503,
        after_s: Some(after_s),
    };
    let mut other = asking(&mut world);
    other.lost(refused(9), at(SECOND), &mut world);
    let mut client = live(&mut world);
    client.lost(Lost::Cut(0), at(SECOND), &mut world);
    assert_eq!(world.cuts[0].told_ns, None);
    // To come after four seconds from the cut, and then after three: the latest counts.
    for (now_ns, after_s) in [(2 * SECOND, 3), (3 * SECOND, 1)] {
        client.connect(at(now_ns), &mut world);
        client.lost(refused(after_s), at(now_ns), &mut world);
    }
    let told = (world.cuts[0].told_ns, world.cuts[0].told_again);
    assert_eq!(told, (Some(4 * SECOND), 1));
    client.connect(at(4 * SECOND), &mut world);
    client.stands();
    hear(&mut client, &hello(), 4 * SECOND, &mut world);
    let there = subscribed("alerts/line", 9, true);
    hear(&mut client, &there, 5 * SECOND, &mut world);
    assert_eq!(world.cuts[0].all_live_ns, Some(4 * SECOND));
}

#[test]
fn a_stream_that_ends_with_a_code_ends_with_that() {
    let mut world = world(Via::Sse, "alerts/line");
    let mut client = asking(&mut world);
    hear(&mut client, &hello(), 5, &mut world);
    let told = Disconnect {
        code: Code::Drain,
        reason: "",
        retry_after_ms: None,
    };
    hear(&mut client, &told.text(), 6, &mut world);
    client.hear(Heard::Retry(250), at(6), &mut world);
    client.lost(Lost::Ended("end of stream"), at(7), &mut world);
    assert_eq!(client.phase(), Phase::Waiting(7 + 250_000_000));
    assert_eq!(world.counts.closed["3000 drain"], 1);
}

#[test]
fn heartbeats_go_both_ways_and_late_ones_are_counted() {
    let mut world = world(Via::WebSocket, "alerts/line");
    let mut client = live(&mut world);
    let ping = Ping { sent_ms: 12 }.text();
    hear(&mut client, &ping, 16 * SECOND, &mut world);
    assert_eq!(
        client.says(at(16 * SECOND), &mut world),
        [r#"{"type":"pong","ts":12}"#]
    );
    assert_eq!((world.beats.heard, world.beats.late), (1, 0));
    hear(&mut client, &ping, 33 * SECOND, &mut world);
    assert_eq!((world.beats.heard, world.beats.late), (2, 1));
    client.says(at(0), &mut world);
    // Its own, at some time within the first beat.
    let now = at(client.due_ns());
    client.step(now, &mut world);
    let said = client.says(now, &mut world);
    let Ok(Message::Ping { sent_ms }) = Message::parse(&said[0]) else {
        panic!("the server understands {said:?}")
    };
    let pong = Pong {
        sent_ms,
        received_us: 1,
        answered_us: 1,
    };
    hear(&mut client, &pong.text(), now.ns + 30, &mut world);
    assert_eq!((world.beats.pings, world.beats.pongs), (1, 1));
    assert_eq!(world.spans.pong.max_ns(), 30);
    // Nothing more comes: pings stay unanswered, and then it is over.
    while client.ended.is_none() {
        let now = at(client.due_ns());
        client.step(now, &mut world);
    }
    assert_eq!(client.ended, Some(Lost::Ended("silent")));
    assert!(world.beats.unanswered >= 1 && world.beats.silent == 1);
}

#[test]
fn critical_events_are_acknowledged_and_what_may_not_come_is_a_breach() {
    let mut world = world(Via::WebSocket, "alerts/line");
    let mut client = live(&mut world);
    let event = |offset: u64| {
        format!(
            r#"{{"type":"error","ch":"alerts/line","o":{offset},"t":1700000000000,"code":"x"}}"#
        )
    };
    hear(&mut client, &event(10), 7, &mut world);
    hear(&mut client, &event(11), 7, &mut world);
    let said = client.says(at(7), &mut world);
    let Ok(Message::Ack(ack)) = Message::parse(&said[0]) else {
        panic!("the server understands {said:?}")
    };
    assert_eq!((said.len(), ack.offset), (1, 11));
    hear(&mut client, &event(11), 8, &mut world);
    assert_eq!((world.checks.resent, world.checks.events), (1, 2));
    assert!(
        !client.says(at(8), &mut world).is_empty(),
        "it was not heard"
    );
    assert!(world.checks.are_good());
    for (text, breach) in [
        (event(12).replace("alerts", "other"), "unasked_channel"),
        ("{}".to_owned(), "not_canonical"),
        (
            r#"{"type":"gap","ch":"alerts/line"}"#.to_owned(),
            "bad_notice",
        ),
        (hello(), "bad_hello"),
    ] {
        hear(&mut client, &text, 9, &mut world);
        assert_eq!(world.checks.broken.remove(breach), Some(1), "{text}");
    }
    let id = Some("000000000000002a:99");
    let text = &event(12);
    client.hear(Heard::Text { text, id }, at(9), &mut world);
    assert_eq!(world.checks.broken.remove("wrong_id"), Some(1));
    let mut early = asking(&mut world);
    hear(
        &mut early,
        &subscribed("alerts/line", 9, false),
        1,
        &mut world,
    );
    assert_eq!(world.checks.broken.remove("no_hello"), Some(1));
}
