//! A connection that is cut after any byte, and taken up again where the client was: nothing is missing and nothing comes twice.

use hopline::edge::{ChannelId, ChannelLimits, Hub, Kind, Lane};
use hopline::wire::sse::{Incoming, Limits as SseLimits, Parser};
use hopline::wire::websocket::{Event, Limits, Role, WebSocket};

use super::end::{EPOCH, End, get, upgrade};

const EVENTS: u64 = 10_000;

/// A server with a stream of so many events, all of them in its log.
fn server(events: u64) -> (End, ChannelId) {
    let mut hub = Hub::new(EPOCH);
    let limits = ChannelLimits {
        events_max: events as usize,
        bytes_max: 64 << 20,
        ..ChannelLimits::default()
    };
    let id = hub.open("trades/all", Lane::Stream, limits).unwrap();
    let mut end = End::new(hub);
    for number in 0..events {
        // Lengths differ, so that cuts fall everywhere.
        let filler = "x".repeat((number % 37) as usize);
        let value = format!("{{\"n\":{number},\"s\":\"{filler}\"}}");
        end.publish(id, Kind::Sample, None, &value);
    }
    (end, id)
}

/// What a client has: a hash over all that it got, in the order in which it got it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    last: u64,
    hash: u64,
}

impl Seen {
    /// Takes a message; those without an offset are none of the stream.
    fn take(&mut self, json: &[u8]) {
        let text = core::str::from_utf8(json).unwrap();
        let object: serde_json::Value = serde_json::from_str(text).unwrap();
        if object["type"] == "subscribed" {
            assert!(object["recovered"] == true || self.last == 0);
            return;
        }
        let Some(offset) = object["o"].as_u64().filter(|_| object["type"] == "sample") else {
            assert!(object["type"] != "gap", "{text}");
            return;
        };
        assert_eq!(
            offset,
            self.last + 1,
            "none is missing and none comes twice"
        );
        self.last = offset;
        self.hash = text.bytes().fold(self.hash, |hash, byte| {
            hash.wrapping_mul(31).wrapping_add(u64::from(byte))
        });
    }
}

/// A transport, as a client reads it: fed with any pieces, it hands out whole messages.
trait Reader {
    fn request(since: u64) -> String;
    fn new() -> Self;
    fn read(&mut self, bytes: &[u8], seen: &mut Seen);
}

/// Takes bytes until a head has ended.
#[derive(Default)]
struct Head(Vec<u8>, bool);

impl Head {
    /// What of the bytes is behind the head.
    fn behind<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        if self.1 {
            return bytes;
        }
        for (at, byte) in bytes.iter().enumerate() {
            self.0.push(*byte);
            if self.0.ends_with(b"\r\n\r\n") {
                self.1 = true;
                return &bytes[at + 1..];
            }
        }
        &[]
    }
}

struct Sse(Head, Parser);

impl Reader for Sse {
    fn request(since: u64) -> String {
        let header = match since {
            0 => String::new(),
            offset => format!("Last-Event-ID: {EPOCH}:{offset}\r\n"),
        };
        get(
            "/stream/trades/all?since=earliest",
            &format!("Accept: text/event-stream\r\n{header}"),
        )
    }

    fn new() -> Sse {
        Sse(Head::default(), Parser::new(SseLimits::default()))
    }

    fn read(&mut self, bytes: &[u8], seen: &mut Seen) {
        let mut input = self.0.behind(bytes);
        loop {
            match self.1.poll(&mut input) {
                Some(Incoming::Event { data, .. }) => seen.take(data),
                Some(_) => {}
                None => return,
            }
        }
    }
}

struct Lines(Head, Vec<u8>);

impl Reader for Lines {
    fn request(since: u64) -> String {
        let since = match since {
            0 => "earliest".to_owned(),
            offset => format!("{EPOCH}:{offset}"),
        };
        get(&format!("/stream/trades/all?since={since}"), "")
    }

    fn new() -> Lines {
        Lines(Head::default(), Vec::new())
    }

    fn read(&mut self, bytes: &[u8], seen: &mut Seen) {
        for byte in self.0.behind(bytes) {
            match byte {
                b'\n' => seen.take(&core::mem::take(&mut self.1)),
                byte => self.1.push(*byte),
            }
        }
    }
}

struct Socket(Head, WebSocket);

impl Reader for Socket {
    fn request(since: u64) -> String {
        let since = match since {
            0 => "earliest".to_owned(),
            offset => format!("{EPOCH}:{offset}"),
        };
        upgrade(&format!("/stream/trades/all?since={since}"))
    }

    fn new() -> Socket {
        Socket(
            Head::default(),
            WebSocket::new(Role::Client, Limits::default()),
        )
    }

    fn read(&mut self, bytes: &[u8], seen: &mut Seen) {
        let mut input = self.0.behind(bytes);
        while let Some(event) = self.1.poll(&mut input) {
            match event {
                Event::Text(text) => seen.take(text.as_bytes()),
                other => panic!("{other:?}"),
            }
        }
    }
}

/// All that the server has from there on, over one connection.
fn whole<R: Reader>(end: &mut End, since: u64) -> Vec<u8> {
    end.reconnect();
    end.say(R::request(since).as_bytes());
    end.hear(usize::MAX)
}

/// Every byte of a stream of 10,000 events is one behind which the connection is cut. What a client knows then is how far it has
/// come, so each of those positions is taken up again once, and to the end.
fn cut_after_every_byte<R: Reader>(events: u64) {
    let (mut end, id) = server(events);
    let bytes = whole::<R>(&mut end, 0);
    // What the client has behind each cut.
    let (mut reader, mut seen, mut cuts) = (R::new(), Seen::default(), vec![Seen::default()]);
    for byte in &bytes {
        reader.read(core::slice::from_ref(byte), &mut seen);
        if cuts.last() != Some(&seen) {
            cuts.push(seen);
        }
    }
    let all = seen;
    assert_eq!((all.last, end.channel(id).last()), (events, events));
    assert_eq!(cuts.len() as u64, events + 1);
    for (at, cut) in cuts.into_iter().enumerate() {
        // To the end now and then, else the next few: the end of each is the beginning of the next.
        let rest = if at % 2_500 == 0 || at as u64 + 20 > events {
            usize::MAX
        } else {
            1_200
        };
        end.reconnect();
        end.say(R::request(cut.last).as_bytes());
        let bytes = end.hear(rest);
        let (mut reader, mut seen) = (R::new(), cut);
        reader.read(&bytes, &mut seen);
        match rest {
            usize::MAX => assert_eq!(seen, all, "from {}", cut.last),
            _ => assert!(seen.last > cut.last, "from {}", cut.last),
        }
    }
}

#[test]
fn server_sent_events_resume_after_any_byte() {
    cut_after_every_byte::<Sse>(EVENTS);
}

#[test]
fn lines_of_json_resume_after_any_byte() {
    cut_after_every_byte::<Lines>(EVENTS);
}

#[test]
fn web_sockets_resume_after_any_byte() {
    cut_after_every_byte::<Socket>(EVENTS);
}

/// A client that is cut again and again, each time a byte later than before, gets the whole stream all the same.
#[test]
fn a_connection_that_never_lasts_gets_everything_in_the_end() {
    fn run<R: Reader>() {
        let (mut end, _) = server(2_000);
        let (mut seen, mut lasts) = (Seen::default(), 1);
        while seen.last < 2_000 {
            end.reconnect();
            end.say(R::request(seen.last).as_bytes());
            let bytes = end.hear(lasts);
            let mut reader = R::new();
            for piece in bytes.chunks(7) {
                reader.read(piece, &mut seen);
            }
            lasts += 1;
        }
        let (mut reader, mut all) = (R::new(), Seen::default());
        reader.read(&whole::<R>(&mut end, 0), &mut all);
        assert_eq!(seen, all);
    }
    run::<Sse>();
    run::<Lines>();
    run::<Socket>();
}

/// The planted fault: a log that forgot an event is found by the very same reader.
#[test]
#[should_panic(expected = "none is missing")]
fn a_missing_event_is_found() {
    let (mut end, _) = server(50);
    let bytes = whole::<Lines>(&mut end, 0);
    let text = String::from_utf8(bytes).unwrap();
    let without = text.replace("\"o\":25,", "\"o\":26,");
    Lines::new().read(without.as_bytes(), &mut Seen::default());
}
