//! The way to a client's screen: what a client says of it is taken as far as it can be, and counted where it cannot.

use hopline::base::limits::{EDGE_SAMPLE_EVERY, EDGE_SAMPLES_WAITING_MAX};
use hopline::budget::Beyond;
use hopline::edge::{ChannelId, Kind, Untaken};
use hopline::wire::websocket::{Event, Limits, Role, WebSocket};

use super::end::{EPOCH, End, get, hub, upgrade};

const MS: u64 = 1_000_000;
const HOUR_MS: i64 = 3_600_000;

/// A client on a WebSocket that follows `dag/line`, and what it was sent of it.
struct Viewer {
    end: End,
    dag: ChannelId,
    alerts: ChannelId,
    socket: WebSocket,
    events: Vec<serde_json::Value>,
    refusals: Vec<String>,
}

impl Viewer {
    fn new() -> Viewer {
        Viewer::since("")
    }

    fn since(query: &str) -> Viewer {
        let (hub, dag, alerts, _) = hub();
        let mut viewer = Viewer {
            end: End::new(hub),
            dag,
            alerts,
            socket: WebSocket::new(Role::Client, Limits::default()),
            events: Vec::new(),
            refusals: Vec::new(),
        };
        viewer.join(query);
        viewer
    }

    fn join(&mut self, query: &str) {
        self.end.reconnect();
        self.end.say(upgrade(&format!("/dag{query}")).as_bytes());
        let head = self.end.hear(usize::MAX);
        let at = head.windows(4).position(|four| four == b"\r\n\r\n");
        self.socket = WebSocket::new(Role::Client, Limits::default());
        self.read(&head[at.unwrap() + 4..]);
    }

    fn read(&mut self, mut bytes: &[u8]) {
        while let Some(event) = self.socket.poll(&mut bytes) {
            let Event::Text(text) = event else {
                panic!("{event:?}")
            };
            let message: serde_json::Value = serde_json::from_str(text).unwrap();
            match message["type"].as_str().unwrap() {
                "node_state" | "error" if message["o"].is_u64() => self.events.push(message),
                "error" => self
                    .refusals
                    .push(message["code"].as_str().unwrap().to_owned()),
                _ => {}
            }
        }
    }

    /// Time passes, by both of the server's clocks.
    fn wait(&mut self, ns: u64) {
        self.end.now.ns += ns;
        self.end.now.us += ns / 1_000;
    }

    /// So many events, and what is sent of them a while later.
    fn publish(&mut self, count: u64, waits_ns: u64) {
        for number in 0..count {
            let value = format!("{{\"node_id\":\"a\",\"n\":{number}}}");
            self.end
                .publish(self.dag, Kind::NodeState, Some("node:a"), &value);
        }
        self.wait(waits_ns);
        let bytes = self.end.hear(usize::MAX);
        self.read(&bytes);
    }

    fn say(&mut self, message: &serde_json::Value) {
        self.socket.send_text(&message.to_string()).unwrap();
        let bytes = self.socket.output().to_vec();
        self.socket.written(bytes.len());
        self.end.say(&bytes);
        let bytes = self.end.hear(usize::MAX);
        self.read(&bytes);
    }

    /// The client says when an event came and was shown, in milliseconds after now of the server's clock.
    fn ack(&mut self, offset: u64, rx_ms: i64, paint_ms: Option<i64>) {
        let now_ms = self.end.now.ms() as i64;
        self.say(&serde_json::json!({
            "type": "ack", "ch": "dag/line", "o": offset, "rx": now_ms + rx_ms,
            "paint": paint_ms.map(|ms| now_ms + ms), "rtt": 0.5,
        }));
    }

    fn samples(&self) -> [u64; 3] {
        [Beyond::EdgeQueue, Beyond::EdgeWire, Beyond::ClientPaint]
            .map(|hop| self.end.hops.totals(hop).count())
    }

    fn untaken(&self, why: Untaken) -> u64 {
        self.end.hops.untaken()[why as usize]
    }
}

#[test]
fn a_sample_goes_from_the_edge_to_the_screen() {
    let mut viewer = Viewer::new();
    viewer.publish(20, 3 * MS);
    assert_eq!(viewer.samples(), [1, 0, 0], "one event of sixteen");
    let queue = viewer.end.hops.totals(Beyond::EdgeQueue);
    assert_eq!((queue.min_ns(), queue.max_ns()), (3 * MS, 3 * MS));
    viewer.wait(50 * MS);
    viewer.ack(EDGE_SAMPLE_EVERY, -45, Some(-29));
    assert_eq!(viewer.samples(), [1, 1, 1]);
    assert_eq!(
        viewer.end.hops.totals(Beyond::EdgeWire).max_ns(),
        5 * MS,
        "it came 5 ms after it was written"
    );
    assert_eq!(
        viewer.end.hops.totals(Beyond::ClientPaint).max_ns(),
        16 * MS
    );
    assert_eq!(viewer.end.hops.uncertain().max_ns(), 250_000);
    assert_eq!(viewer.end.counts.acks, 1);
    assert!(viewer.refusals.is_empty());
}

#[test]
fn a_sample_has_left_once_the_socket_has_its_last_byte() {
    let mut viewer = Viewer::new();
    for _ in 0..EDGE_SAMPLE_EVERY {
        viewer
            .end
            .publish(viewer.dag, Kind::NodeState, Some("node:a"), "{}");
    }
    // A socket that takes a byte a millisecond.
    let mut bytes = Vec::new();
    loop {
        viewer.wait(MS);
        let piece = viewer.end.hear(1);
        if piece.is_empty() {
            break;
        }
        assert_eq!(
            viewer.samples()[0],
            0,
            "byte {} is not the last",
            bytes.len()
        );
        bytes.extend(piece);
        if viewer.end.client.output().is_empty() {
            break;
        }
        if viewer.end.client.output().len() == 1 {
            viewer.wait(MS);
            bytes.extend(viewer.end.hear(1));
            break;
        }
    }
    assert_eq!(viewer.samples()[0], 1);
    let queue = viewer.end.hops.totals(Beyond::EdgeQueue);
    assert_eq!(queue.max_ns(), bytes.len() as u64 * MS);
}

#[test]
fn what_a_client_gets_wrong_is_counted_by_why_and_nothing_of_it_is_taken() {
    for (rx, paint, why) in [
        // Its clock is an hour behind, or ahead: it never asked for ours.
        (-HOUR_MS, Some(16 - HOUR_MS), Untaken::Clock),
        (HOUR_MS, Some(HOUR_MS + 16), Untaken::Clock),
        // On the screen before it came.
        (-5, Some(-6), Untaken::PaintFirst),
    ] {
        let mut viewer = Viewer::new();
        viewer.publish(16, MS);
        viewer.wait(20 * MS);
        viewer.ack(16, rx, paint);
        assert_eq!(viewer.samples(), [1, 0, 0], "{rx}");
        assert_eq!(viewer.untaken(why), 1, "{rx}");
        assert_eq!(viewer.end.hops.untaken().iter().sum::<u64>(), 1);
        assert!(
            viewer.refusals.is_empty(),
            "it follows the line all the same"
        );
    }
}

#[test]
fn what_came_before_it_was_sent_counts_as_zero_and_is_counted() {
    let mut viewer = Viewer::new();
    viewer.publish(16, 5 * MS);
    viewer.wait(10 * MS);
    viewer.ack(16, -12, Some(-8));
    assert_eq!(viewer.samples(), [1, 1, 1]);
    assert_eq!(viewer.end.hops.totals(Beyond::EdgeWire).max_ns(), 0);
    assert_eq!(
        (viewer.end.hops.clamped(), viewer.end.hops.least_ns()),
        (1, Some(-2_000_000))
    );
}

#[test]
fn what_was_never_sent_is_refused_and_what_is_no_sample_is_not_taken() {
    let mut viewer = Viewer::new();
    viewer.publish(16, MS);
    viewer.ack(17, 0, Some(1));
    assert_eq!(viewer.untaken(Untaken::NeverSent), 1);
    viewer.say(&serde_json::json!({"type": "ack", "ch": "alerts/line", "o": 0, "rx": 1}));
    assert_eq!(
        viewer.untaken(Untaken::NeverSent),
        2,
        "it does not follow that"
    );
    assert_eq!(viewer.refusals, ["bad_ack", "bad_ack"]);
    viewer.ack(15, 0, Some(1));
    assert_eq!(viewer.untaken(Untaken::NotSampled), 1, "none of sixteen");
    viewer.ack(16, 0, Some(1));
    viewer.ack(16, 0, Some(1));
    assert_eq!(viewer.untaken(Untaken::NotSampled), 2, "once");
    viewer.publish(16, MS);
    viewer.say(&serde_json::json!({"type": "ack", "ch": "dag/line", "o": 32, "paint": 5}));
    assert_eq!(viewer.untaken(Untaken::NoRx), 1);
    assert_eq!(viewer.samples(), [2, 1, 1]);
    // Whoever says nothing of times is asked for none.
    viewer.say(&serde_json::json!({"type": "ack", "ch": "dag/line", "o": 32}));
    assert_eq!(viewer.end.hops.untaken().iter().sum::<u64>(), 5);
}

#[test]
fn an_answer_after_a_minute_is_not_taken() {
    let mut viewer = Viewer::new();
    viewer.publish(16, MS);
    viewer.wait(60_001 * MS);
    viewer.ack(16, -60_000, Some(-59_990));
    assert_eq!(viewer.untaken(Untaken::Late), 1);
    assert_eq!(viewer.samples(), [1, 0, 0]);
}

#[test]
fn a_client_that_answers_nothing_or_everything_adds_no_more_than_it_was_sent() {
    let mut viewer = Viewer::new();
    let events = 10 * EDGE_SAMPLES_WAITING_MAX as u64 * EDGE_SAMPLE_EVERY;
    for _ in 0..events / 32 {
        viewer.publish(32, MS);
    }
    assert_eq!(viewer.samples()[0], events / EDGE_SAMPLE_EVERY);
    for offset in 1..=events {
        viewer.ack(offset, 0, Some(0));
        viewer.wait(10 * MS);
    }
    let [_, wire, paint] = viewer.samples();
    assert!(wire <= EDGE_SAMPLES_WAITING_MAX as u64, "{wire}");
    assert_eq!(wire, paint);
    assert_eq!(
        wire + viewer.end.hops.untaken().iter().sum::<u64>(),
        viewer.end.counts.acks
    );
}

#[test]
fn what_waited_for_the_client_to_come_back_says_nothing_of_the_edge() {
    let mut viewer = Viewer::new();
    viewer.publish(10, MS);
    viewer.wait(10_000 * MS);
    for _ in 0..30 {
        viewer
            .end
            .publish(viewer.dag, Kind::NodeState, Some("node:a"), "{}");
    }
    viewer.wait(10_000 * MS);
    viewer.join(&format!("?since={EPOCH}:10"));
    assert_eq!(viewer.events.len(), 40, "it came");
    assert_eq!(viewer.samples(), [0, 0, 0]);
    viewer.publish(10, MS);
    assert_eq!(viewer.samples(), [1, 0, 0], "the 48th is new");
}

#[test]
fn who_wants_fewer_events_waits_by_its_own_wish() {
    let mut viewer = Viewer::since("?rate=1");
    for _ in 0..100 {
        viewer.publish(16, 1_000 * MS);
    }
    assert!(viewer.events.len() > 50);
    assert_eq!(viewer.samples(), [0, 0, 0]);
}

#[test]
fn critical_events_are_samples_once_and_not_when_they_are_sent_again() {
    let mut viewer = Viewer::new();
    viewer.say(&serde_json::json!({"type": "hello", "subs": [{"ch": "alerts/line"}]}));
    for _ in 0..EDGE_SAMPLE_EVERY {
        viewer.end.publish(viewer.alerts, Kind::Error, None, "{}");
    }
    viewer.wait(MS);
    let bytes = viewer.end.hear(usize::MAX);
    viewer.read(&bytes);
    assert_eq!(viewer.samples(), [1, 0, 0]);
    viewer.wait(600 * MS);
    let end = &mut viewer.end;
    end.client.step(end.now, &mut end.counts);
    let bytes = viewer.end.hear(usize::MAX);
    viewer.read(&bytes);
    assert_eq!(viewer.events.len() as u64, 2 * EDGE_SAMPLE_EVERY, "again");
    assert_eq!(viewer.samples(), [1, 0, 0]);
}

#[test]
fn a_listener_that_cannot_answer_is_sampled_up_to_its_socket() {
    for accept in ["", "Accept: text/event-stream\r\n"] {
        let (hub, dag, ..) = hub();
        let mut end = End::new(hub);
        end.ask(&get("/dag", accept));
        for _ in 0..100 {
            end.publish(dag, Kind::NodeState, Some("node:a"), "{}");
            end.now.ns += MS;
            end.hear(usize::MAX);
        }
        let queue = end.hops.totals(Beyond::EdgeQueue);
        assert_eq!(
            (queue.count(), queue.max_ns()),
            (100 / EDGE_SAMPLE_EVERY, MS)
        );
    }
}
