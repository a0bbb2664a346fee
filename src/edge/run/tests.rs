//! One client is written to from runs where it may be, its twin never is: both get the same bytes.

use super::*;
use crate::base::Prng;
use crate::edge::channel::{ChannelLimits, Lane};
use crate::edge::client::{Client, ClientKey, Now, On, Rules};
use crate::edge::counts::Counts;
use crate::edge::event::Kind;
use crate::edge::hops::Hops;
use crate::edge::lanes::LaneCounts;
use crate::edge::position::Epoch;
use crate::edge::published::Outline;
use crate::edge::route::Router;
use crate::edge::session::SessionTimes;

const KEY: ClientKey = ClientKey::of(0, 1);
const BEGIN: Now = Now {
    ns: 1,
    us: 1_764_500_000_000_000,
};

/// A server with one client.
struct End {
    client: Client,
    counts: Counts,
    hops: Hops,
    heard: Vec<u8>,
}

impl End {
    fn new(now: Now) -> End {
        End {
            client: Client::new(KEY, SessionTimes::default(), None, now),
            counts: Counts::default(),
            hops: Hops::default(),
            heard: Vec::new(),
        }
    }

    fn on<'a>(
        &'a mut self,
        hub: &'a mut Hub,
        rules: &'a Rules,
        now: Now,
    ) -> (On<'a>, &'a mut Client) {
        let on = On {
            hub,
            rules,
            counts: &mut self.counts,
            hops: &mut self.hops,
            now,
        };
        (on, &mut self.client)
    }

    fn say(&mut self, bytes: &[u8], hub: &mut Hub, rules: &Rules, now: Now) {
        let (mut on, client) = self.on(hub, rules, now);
        client.take(bytes, &mut on);
    }

    /// One write of at most so many bytes; whether it was of a run.
    fn write(
        &mut self,
        most: usize,
        hub: &mut Hub,
        rules: &Rules,
        now: Now,
        runs: Option<&mut Runs>,
    ) -> bool {
        let run = runs.and_then(|runs| self.client.run(hub, runs));
        if run.is_none() {
            self.client.fill(hub, now, &mut String::new());
        }
        let output = run.map_or(self.client.output(), Run::bytes);
        let count = output.len().min(most);
        if count == 0 {
            return false;
        }
        self.heard.extend_from_slice(&output[..count]);
        let (mut on, client) = self.on(hub, rules, now);
        match run {
            Some(run) => client.ran(run, count, &mut on),
            None => client.written(count, &mut on),
        }
        run.is_some()
    }

    fn lanes(&self, hub: &Hub) -> LaneCounts {
        self.client.lanes().counts(hub.channels())
    }
}

/// A text of a client, whose mask changes nothing.
fn text(words: &str) -> Vec<u8> {
    let len = u8::try_from(words.len()).unwrap_or_default();
    let header: &[u8] = match len {
        0..126 => &[0x81, 0x80 | len],
        _ => &[0x81, 0xfe, 0, len],
    };
    [header, &[0; 4], words.as_bytes()].concat()
}

fn get(path: &str, more: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n").into_bytes()
}

/// What clients ask for, and what those that talk say then.
fn asked() -> Vec<(Vec<u8>, Vec<u8>)> {
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: hopline.v1.json\r\n";
    let hello = |subs: &str| text(&format!("{{\"type\":\"hello\",\"subs\":[{subs}]}}"));
    let sse = "Accept: text/event-stream\r\n";
    vec![
        (
            get("/ws", upgrade),
            hello(r#"{"ch":"dag/line"},{"ch":"stats/line"},{"ch":"alerts/line"}"#),
        ),
        (
            get("/ws", upgrade),
            hello(r#"{"ch":"dag/line","rate":200},{"ch":"trades/line"}"#),
        ),
        (
            get("/ws", upgrade),
            hello(r#"{"ch":"stats/line","budget_ms":5},{"ch":"dag/line"}"#),
        ),
        (get("/stream/dag/line", sse), Vec::new()),
        (get("/stream/trades/line?types=off", sse), Vec::new()),
        (get("/stream/trades/line", ""), Vec::new()),
        (get("/stream/dag/line?rate=50", ""), Vec::new()),
    ]
}

fn rules() -> Rules {
    Rules {
        router: Router::new(Default::default(), &[]),
        times: SessionTimes::default(),
        token: None,
    }
}

/// A hub with a channel of each kind.
fn hub(limits: ChannelLimits) -> (Hub, [ChannelId; 4]) {
    let mut hub = Hub::new(Epoch(7));
    let channels = [
        hub.open("dag/line", Lane::State, limits).unwrap(),
        hub.open("alerts/line", Lane::Critical, limits).unwrap(),
        hub.open("trades/line", Lane::Stream, limits).unwrap(),
        hub.open_passing("stats/line", limits).unwrap(),
    ];
    (hub, channels)
}

fn publish(hub: &mut Hub, id: ChannelId, key: Option<&str>, value: &str, now: Now) {
    let outline = Outline {
        kind: Kind::HopStats,
        key,
        value,
        time_ms: now.ms(),
        born_ns: now.ns,
    };
    hub.publish(id, &outline).unwrap();
}

/// Two clients that have asked for the same.
fn twins(asked: &(Vec<u8>, Vec<u8>), hub: &mut Hub, rules: &Rules) -> (End, End) {
    let [mut one, mut twin] = [End::new(BEGIN), End::new(BEGIN)];
    for end in [&mut one, &mut twin] {
        end.say(&asked.0, hub, rules, BEGIN);
        end.write(usize::MAX, hub, rules, BEGIN, None);
        end.say(&asked.1, hub, rules, BEGIN);
    }
    (one, twin)
}

#[test]
fn a_client_gets_the_same_from_a_run_as_from_its_own_output() {
    let limits = ChannelLimits::default();
    let rules = rules();
    for (nth, asked) in asked().into_iter().enumerate() {
        let mut prng = Prng::new(nth as u64 + 1);
        let (mut hub, channels) = hub(limits);
        let mut now = BEGIN;
        let (mut one, mut twin) = twins(&asked, &mut hub, &rules);
        let (mut runs, mut ran) = (Runs::new(), 0);
        for _ in 0..3_000 {
            let events = match prng.below(40) {
                0 => 150,
                _ => prng.below(5),
            };
            for _ in 0..events {
                let at = prng.below(10) as usize;
                let (at, key) = match at {
                    0 => (1, None),
                    1..4 => (0, Some(["node:a", "node:b", "node:c"][at - 1])),
                    _ => (2 + at % 2, None),
                };
                let value = format!("{{\"n\":{}}}", prng.below(1 << 40));
                publish(&mut hub, channels[at], key, &value, now);
            }
            now.ns += prng.below(3_000_000);
            let most = match prng.below(4) {
                0 => 1 + prng.below(300) as usize,
                _ => usize::MAX,
            };
            ran += u32::from(one.write(most, &mut hub, &rules, now, Some(&mut runs)));
            twin.write(most, &mut hub, &rules, now, None);
            if prng.below(50) == 0 {
                for end in [&mut one, &mut twin] {
                    end.client.step(now, &mut end.counts);
                }
            }
        }
        while one.heard.len() != twin.heard.len() || !one.client.output().is_empty() {
            let before = twin.heard.len();
            one.write(usize::MAX, &mut hub, &rules, now, Some(&mut runs));
            twin.write(usize::MAX, &mut hub, &rules, now, None);
            assert!(
                twin.heard.len() > before || one.heard.len() == before,
                "{nth}"
            );
        }
        let said = |end: &End| String::from_utf8_lossy(&end.heard).into_owned();
        assert_eq!(said(&one), said(&twin), "{nth}");
        assert_eq!(one.lanes(&hub), twin.lanes(&hub), "{nth}");
        assert!(one.lanes(&hub).adds_up());
        let hops = |end: &End| format!("{:?}", end.hops.reports());
        assert_eq!(hops(&one), hops(&twin), "{nth}");
        assert!(one.heard.len() > 1_000, "{nth}");
        // Whoever chooses among the events has no run of them.
        match nth {
            0 | 3 | 4 | 5 => assert!(ran > 100, "{nth}: {ran}"),
            6 => assert_eq!(ran, 0),
            _ => {}
        }
    }
}

/// Says something that changes what it follows, or nothing.
fn changed(prng: &mut Prng) -> Option<Vec<u8>> {
    if prng.below(20) > 0 {
        return None;
    }
    let name = ["dag/line", "alerts/line", "trades/line", "stats/line"][prng.below(4) as usize];
    Some(match prng.below(4) {
        0 => text(&format!("{{\"type\":\"unsubscribe\",\"ch\":\"{name}\"}}")),
        1 => text(&format!(
            "{{\"type\":\"resync_request\",\"ch\":\"{name}\"}}"
        )),
        2 => text(&format!("{{\"type\":\"subscribe\",\"ch\":\"{name}\"}}")),
        _ => text("{\"type\":\"ping\",\"t\":1}"),
    })
}

#[test]
fn whatever_it_follows_meanwhile_and_however_far_it_is_behind() {
    let rules = rules();
    // Logs that overrun, and events that no output has room for.
    let limits = ChannelLimits {
        events_max: 120,
        bytes_max: 40_000,
        ..ChannelLimits::default()
    };
    let (asked, mut ran) = (asked().remove(0), 0);
    for seed in 0..20 {
        let mut prng = Prng::new(1_000 + seed);
        let (mut hub, channels) = hub(limits);
        let mut now = BEGIN;
        let (mut one, mut twin) = twins(&asked, &mut hub, &rules);
        let mut runs = Runs::new();
        for _ in 0..1_000 {
            let events = match prng.below(60) {
                0 => 98 + prng.below(4),
                1 => 130,
                _ => prng.below(5),
            };
            let only = prng.below(8) as usize;
            for _ in 0..events {
                let at = channels.get(only).map_or(prng.below(4) as usize, |_| only);
                let at = if prng.below(4) > 0 && at == 1 { 0 } else { at };
                let key = (at == 0).then(|| ["a", "b", "c"][prng.below(3) as usize]);
                let pad = match prng.below(200) {
                    0 => 20_000,
                    1 => 8_000,
                    _ => prng.below(200) as usize,
                };
                let value = format!("{{\"pad\":\"{}\"}}", "z".repeat(pad));
                publish(&mut hub, channels[at], key, &value, now);
            }
            now.ns += prng.below(3_000_000);
            if let Some(bytes) = changed(&mut prng) {
                for end in [&mut one, &mut twin] {
                    end.say(&bytes, &mut hub, &rules, now);
                }
            }
            let most = match prng.below(3) {
                0 => 1 + prng.below(300) as usize,
                1 => continue,
                _ => usize::MAX,
            };
            ran += u32::from(one.write(most, &mut hub, &rules, now, Some(&mut runs)));
            twin.write(most, &mut hub, &rules, now, None);
            assert_eq!(one.heard.len(), twin.heard.len(), "{seed}");
            assert!(one.lanes(&hub).adds_up(), "{seed}: {:?}", one.lanes(&hub));
        }
        assert!(one.heard == twin.heard, "{seed}");
        assert_eq!(one.lanes(&hub), twin.lanes(&hub), "{seed}");
        let hops = |end: &End| format!("{:?}", end.hops.reports());
        assert_eq!(hops(&one), hops(&twin), "{seed}");
    }
    assert!(ran > 500, "{ran}");
}
