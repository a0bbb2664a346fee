//! A client's end and the server's, joined by memory: what one writes the other reads, as much of it as a test lets through.

use hopline::edge::{
    Access, Asset, Channel, ChannelId, ChannelLimits, Client, ClientKey, Counts, Epoch, Hops, Hub,
    Kind, Lane, Now, On, Outline, Refused, Router, Rules, SessionTimes,
};

pub(crate) const EPOCH: Epoch = Epoch(0x00c0_ffee_00c0_ffee);

pub(crate) const PAGES: &[Asset] = &[Asset {
    path: "/",
    content_type: "text/html; charset=utf-8",
    bytes: b"<!doctype html><title>a page</title>",
}];

/// A server with its channels, and one connection at a time.
pub(crate) struct End {
    pub(crate) hub: Hub,
    pub(crate) rules: Rules,
    pub(crate) counts: Counts,
    pub(crate) hops: Hops,
    pub(crate) now: Now,
    pub(crate) client: Client,
    text: String,
}

fn key() -> ClientKey {
    ClientKey::of(0, 1)
}

impl End {
    pub(crate) fn new(hub: Hub) -> End {
        let now = Now {
            ns: 1,
            us: 1_764_500_000_000_000,
        };
        let rules = Rules {
            router: Router::new(Access::default(), PAGES),
            times: SessionTimes::default(),
            token: None,
        };
        End {
            client: Client::new(key(), rules.times, None, now),
            hub,
            rules,
            counts: Counts::default(),
            hops: Hops::default(),
            now,
            text: String::new(),
        }
    }

    /// The connection is another one.
    pub(crate) fn reconnect(&mut self) {
        self.refuse_next(None);
    }

    /// It is, and may not come in.
    pub(crate) fn refuse_next(&mut self, refused: Option<Refused>) {
        self.client = Client::new(key(), self.rules.times, refused, self.now);
    }

    /// The client says that.
    pub(crate) fn say(&mut self, bytes: &[u8]) {
        let mut on = On {
            hub: &mut self.hub,
            rules: &self.rules,
            counts: &mut self.counts,
            hops: &mut self.hops,
            now: self.now,
        };
        self.client.take(bytes, &mut on);
    }

    /// At most so many bytes of what the server has for it.
    pub(crate) fn hear(&mut self, most: usize) -> Vec<u8> {
        let mut heard = Vec::new();
        loop {
            self.client.fill(&mut self.hub, self.now, &mut self.text);
            let output = self.client.output();
            let count = output.len().min(most - heard.len());
            if count == 0 {
                return heard;
            }
            heard.extend_from_slice(&output[..count]);
            let mut on = On {
                hub: &mut self.hub,
                rules: &self.rules,
                counts: &mut self.counts,
                hops: &mut self.hops,
                now: self.now,
            };
            self.client.written(count, &mut on);
        }
    }

    /// All of it, as text.
    pub(crate) fn hear_text(&mut self) -> String {
        String::from_utf8(self.hear(usize::MAX)).unwrap()
    }

    /// What a request gets.
    pub(crate) fn ask(&mut self, request: &str) -> String {
        self.say(request.as_bytes());
        self.hear_text()
    }

    pub(crate) fn channel(&self, id: ChannelId) -> &Channel {
        self.hub.channel(id).unwrap()
    }

    pub(crate) fn publish(&mut self, id: ChannelId, kind: Kind, key: Option<&str>, value: &str) {
        let outline = Outline {
            kind,
            key,
            value,
            time_ms: self.now.ms(),
            born_ns: self.now.ns,
        };
        self.hub.publish(id, &outline).unwrap();
    }
}

pub(crate) fn get(path: &str, more: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n")
}

pub(crate) fn upgrade(path: &str) -> String {
    get(
        path,
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: hopline.v1.json\r\n",
    )
}

/// A hub with the channels of a line.
pub(crate) fn hub() -> (Hub, ChannelId, ChannelId, ChannelId) {
    let mut hub = Hub::new(EPOCH);
    let limits = ChannelLimits::default();
    let dag = hub.open("dag/line", Lane::State, limits).unwrap();
    let alerts = hub.open("alerts/line", Lane::Critical, limits).unwrap();
    let stats = hub.open_passing("stats/line", limits).unwrap();
    (hub, dag, alerts, stats)
}
