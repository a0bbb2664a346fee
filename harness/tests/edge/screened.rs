//! The way to a client's screen, from a real run to its report: what clients say of it, and what they get wrong.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::peer::Peer;
use crate::program::{Program, case};

/// Samples that each client answers.
const SAMPLES: u64 = 5;

fn wall_ms() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_secs_f64() * 1_000.0
}

/// A client that follows the DAG, with its own idea of the server's clock.
struct Viewer {
    peer: Peer,
    /// Milliseconds to add to its clock, and the round trip that this rests on.
    offset_ms: f64,
    trip_ms: f64,
}

impl Viewer {
    /// Asks for the server's time once, and is off by so much all the same.
    fn open(address: &str, off_ms: f64) -> Viewer {
        let mut peer = Peer::greeted(address, &json!([{"ch": "dag/line"}]));
        let sent_ms = wall_ms();
        peer.say(&json!({"type": "ping", "ts": sent_ms as u64}));
        let pong = loop {
            let message = peer.message();
            if message["type"] == "pong" {
                break message;
            }
        };
        let now_ms = wall_ms();
        let [rx, tx] = ["rx_us", "tx_us"].map(|key| pong[key].as_f64().unwrap() / 1_000.0);
        Viewer {
            peer,
            offset_ms: (rx - sent_ms + tx - now_ms) / 2.0 + off_ms,
            trip_ms: now_ms - sent_ms - (tx - rx),
        }
    }

    /// Answers samples, each shown so long after it came.
    fn answers(&mut self, count: u64, shown_after_ms: f64) {
        let mut answered = 0;
        while answered < count {
            let event = self.peer.message();
            let rx = wall_ms() + self.offset_ms;
            let Some(offset) = event["o"].as_u64() else {
                continue;
            };
            let is_event = event["type"] != "subscribed" && event["type"] != "snapshot";
            if is_event && offset.is_multiple_of(16) {
                self.peer.say(&json!({
                    "type": "ack", "ch": "dag/line", "o": offset,
                    "rx": rx, "paint": rx + shown_after_ms, "rtt": self.trip_ms,
                }));
                answered += 1;
            }
        }
        // What was said before is heard before.
        self.peer.say(&json!({"type": "ping", "ts": 0}));
        while self.peer.message()["type"] != "pong" {}
    }
}

/// The hop of that name.
fn hop<'a>(edge: &'a Value, name: &str) -> &'a Value {
    let mut hops = edge["hops"].as_array().unwrap().iter();
    hops.find(|hop| hop["name"] == name).unwrap()
}

#[test]
fn what_clients_say_of_their_screens_is_in_the_report_and_what_cannot_be_is_counted() {
    const BUDGET: &str = "[hop.\"edge.queue\"]\np99 = \"10s\"\n\
        [hop.\"edge.wire\"]\np50 = \"1us\"\np99 = \"10s\"\n\
        [hop.\"client.paint\"]\nmax = \"20ms\"\n";
    let small = case("");
    std::fs::write(small.path().join("budget.toml"), BUDGET).unwrap();
    let more = ["--for", "10m"];
    let program = Program::start(small.path().to_str().unwrap(), small.path(), &more);
    let address = program.address.clone();
    const HOUR_MS: f64 = 3_600_000.0;
    let each = [(0.0, 16.0), (-HOUR_MS, 16.0), (HOUR_MS, 16.0), (0.0, -3.0)];
    let viewers = each.map(|(off_ms, shown_after_ms)| {
        let address = address.clone();
        std::thread::spawn(move || {
            let mut viewer = Viewer::open(&address, off_ms);
            viewer.answers(SAMPLES, shown_after_ms);
            viewer
        })
    });
    let mut viewers = viewers.map(|viewer| viewer.join().unwrap());
    let liar = &mut viewers[0].peer;
    liar.say(&json!({"type": "ack", "ch": "dag/line", "o": 1_000_000_000, "rx": 1}));
    while liar.message()["code"] != "bad_ack" {}
    // Others are told the figures, and so are scrapers.
    let mut stats = Peer::lines(&address, "/stream/stats/line");
    let told = loop {
        let event = stats.line().unwrap();
        let beyond = event["beyond"].as_array();
        let wire = beyond.and_then(|all| all.iter().find(|hop| hop["hop"] == "edge.wire"));
        if let Some(wire) = wire.filter(|wire| wire["samples"] == SAMPLES) {
            break wire.clone();
        }
    };
    assert_eq!(told["budget_us"], 10_000_000);
    assert!(told["raw"]["p99_ns"].as_u64() > Some(0), "{told}");
    let lines = [
        format!("hopline_hop_sojourn_seconds_count{{hop=\"edge.wire\"}} {SAMPLES}"),
        format!("hopline_hop_sojourn_seconds_count{{hop=\"client.paint\"}} {SAMPLES}"),
        "hopline_hop_budget_seconds{hop=\"edge.wire\",of=\"sojourn\",limit=\"p50\"} 0.000001"
            .to_owned(),
        "hopline_hop_over_budget_messages_total{hop=\"client.paint\",limit=\"max\"} 0".to_owned(),
        format!(
            "hopline_edge_untaken_acks_total{{reason=\"clock\"}} {}",
            2 * SAMPLES
        ),
        "hopline_edge_untaken_acks_total{reason=\"never_sent\"} 1".to_owned(),
    ];
    // A page is of figures that are a look or two old.
    let has_all = (0..1_000).any(|_| {
        let page = Peer::ask(&address, "GET", "/metrics", "").response().body;
        lines
            .iter()
            .all(|line| page.lines().any(|one| one == *line))
    });
    assert!(has_all, "{lines:#?}");
    let report = program.end();
    let edge = &report["edge"];
    assert_eq!(
        (&edge["closed"], &edge["breaches"]),
        (&json!(true), &json!([]))
    );
    let count = |name: &str| hop(edge, name)["sojourn_ns"]["count"].as_u64().unwrap();
    assert!(count("edge.queue") >= 4 * SAMPLES);
    assert_eq!([count("edge.wire"), count("client.paint")], [SAMPLES; 2]);
    let paint = hop(edge, "client.paint")["sojourn_ns"]["max"].as_u64();
    let paint = paint.unwrap().abs_diff(16_000_000);
    assert!(paint < 10_000, "to the microsecond, off by {paint} ns");
    // Too few to say whether a P99 or a P50 holds; whether all were within a limit can be said of any.
    let few = |name: &str| hop(edge, name)["too_few"].clone();
    assert_eq!(few("edge.wire"), json!({"p50": 20, "p99": 1_000}));
    assert_eq!(few("client.paint"), Value::Null);
    assert_eq!(hop(edge, "client.paint")["over_budget"]["max"], 0);
    let untaken = json!({"clock": 2 * SAMPLES, "paint_before_rx": SAMPLES, "never_sent": 1});
    assert_eq!(edge["acks"]["untaken"], untaken);
    assert_eq!(edge["acks"]["acks"], 4 * SAMPLES + 1);
    assert_eq!(edge["acks"]["uncertain_ns"]["count"], SAMPLES);
    let connections = &edge["connections"];
    assert_eq!(
        connections["streams"],
        json!({"websocket": each.len(), "ndjson": 1})
    );
    assert!(connections["accepted"].as_u64() >= Some(each.len() as u64 + 2));
}
