//! A running line as those who follow it see it: over real sockets, from a real edge.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use hopline::base::NoWhy;
use hopline::clock::Clock;
use hopline::dashboard::Feed;
use hopline::edge::{Epoch, Hub, Router, Rules, Server, ServerConfig, SessionTimes};
use hopline::frame::View;
use hopline::host::Pin;
use hopline::stage::{Context, OnPanic, Outcome, Port, Stage};
use hopline::topology::{Hop, Line, Placement, Running, Samples};
use hopline::wait::Strategy;
use serde_json::Value;

#[path = "common/numbers.rs"]
mod numbers;

use numbers::{Collect, Counting, NUMBERS, Number};

/// Panics with one number, and passes the others on.
struct Odd(u64);

impl Stage for Odd {
    type In = Number;
    type Why = NoWhy;
    const PORTS: &'static [Port] = &[Port::new::<Number>("out")];

    fn on_frame(&mut self, frame: View<'_, Number>, cx: &mut Context<'_>) -> Outcome<NoWhy> {
        let value = frame.value();
        assert!(value != self.0, "planted");
        cx.emit(NUMBERS, &Number { value });
        Outcome::done()
    }
}

/// A client that follows a channel by NDJSON.
struct Follower {
    socket: TcpStream,
    bytes: Vec<u8>,
    head: bool,
}

impl Follower {
    fn open(at: SocketAddr, path: &str) -> Follower {
        let mut socket = TcpStream::connect(at).unwrap();
        write!(socket, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        socket.set_nonblocking(true).unwrap();
        Follower {
            socket,
            bytes: Vec::new(),
            head: true,
        }
    }

    /// The lines that have come since.
    fn hear(&mut self) -> Vec<Value> {
        let mut buf = [0; 16 << 10];
        loop {
            match self.socket.read(&mut buf) {
                Ok(0) => break,
                Ok(count) => self.bytes.extend_from_slice(&buf[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        if self.head {
            let Some(end) = self.bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
                return Vec::new();
            };
            assert!(self.bytes.starts_with(b"HTTP/1.1 200 "));
            self.bytes.drain(..end + 4);
            self.head = false;
        }
        let mut lines = Vec::new();
        while let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') {
            lines.push(serde_json::from_slice(&self.bytes[..end]).unwrap());
            self.bytes.drain(..=end);
        }
        lines
    }
}

#[test]
fn who_follows_a_line_sees_its_nodes_what_goes_wrong_and_how_it_ends() {
    let mut line = Line::builder("watched");
    line.source("in", Counting::new(u64::MAX, 1_000_000));
    line.stage("odd", || Odd(300));
    line.sink("out", Collect::default());
    line.connect("in", "odd", Hop::depth(64));
    line.connect("odd", "out", Hop::depth(64));
    line.on_panic("odd", OnPanic::SKIP);
    line.placement(Placement {
        pin: Pin::Off,
        wait: Some(Strategy::YIELD),
        threads_max: Some(1),
        ..Placement::default()
    });
    let mut hub = Hub::new(Epoch(7));
    let mut feed = Feed::open(&mut hub).unwrap();
    let server = Server::open(ServerConfig {
        at: "127.0.0.1:0".parse().unwrap(),
        rules: Rules {
            router: Router::new(Default::default(), &[]),
            times: SessionTimes::default(),
            token: None,
        },
        admission: Default::default(),
        hub,
        budgets: Default::default(),
    })
    .unwrap();
    let mut dag = Follower::open(server.address(), "/dag");
    let mut alerts = Follower::open(server.address(), "/stream/alerts/line");
    let mut stats = Follower::open(server.address(), "/stream/stats/line");
    let publisher = server.publisher();
    let clock = Clock::os();
    let mut running = line.build().unwrap().start().unwrap();
    let (mut nodes, mut whole, mut told, mut figures) = (Vec::new(), false, Vec::new(), 0);
    let until_ns = clock.stamp() + 30_000_000_000;
    while !(whole && !told.is_empty() && figures > 2 && nodes.len() == 3) {
        assert!(
            clock.stamp() < until_ns,
            "{nodes:?} {whole} {told:?} {figures}"
        );
        running.wait(Duration::from_millis(5));
        let _ = feed.look(&mut running, &publisher, clock.stamp());
        for event in dag.hear() {
            whole |= event["type"] == "dag_mutated" || event["data"]["dag"].is_object();
            let id = event["node_id"].as_str().map(str::to_owned);
            nodes.extend(id.filter(|id| !nodes.contains(id)));
            nodes.sort();
            nodes.dedup();
        }
        told.extend(
            alerts
                .hear()
                .into_iter()
                // Writing down a backtrace can take so long that the loop counts as not alive meanwhile.
                .filter(|event| event["code"] == "panicked"),
        );
        figures += stats
            .hear()
            .iter()
            .filter(|event| event["type"] == "hop_stats")
            .count();
    }
    assert_eq!(nodes, ["in", "odd", "out"]);
    assert_eq!(
        (&told[0]["code"], &told[0]["node_id"]),
        (&"panicked".into(), &"odd".into())
    );
    assert_eq!(told.len(), 1, "once: {told:?}");
    running.drain("finished");
    let report = running.end("finished");
    feed.last(&report, &publisher);
    let until_ns = clock.stamp() + 30_000_000_000;
    let end = loop {
        assert!(clock.stamp() < until_ns);
        let ends = alerts
            .hear()
            .into_iter()
            .find(|event| event["type"] == "execution_complete");
        if let Some(end) = ends {
            break end;
        }
        std::thread::yield_now();
    };
    assert_eq!(end["results"]["closed"], true);
    assert!(end["results"]["delivered"].as_u64().unwrap() > 300);
    let counts = server.end().counts;
    assert_eq!(counts.breaches(), Vec::<String>::new());
    assert_eq!((counts.accepted, counts.unpublished), (3, 0));
}

/// A line that counts on, one thread for all of it.
fn counting() -> Line {
    let mut line = Line::builder("counts");
    line.source("in", Counting::new(u64::MAX, 100_000));
    line.stage("all", || Odd(u64::MAX));
    line.sink("out", Collect::default());
    line.connect("in", "all", Hop::depth(1024));
    line.connect("all", "out", Hop::depth(1024));
    line.placement(Placement {
        pin: Pin::Off,
        wait: Some(Strategy::YIELD),
        threads_max: Some(1),
        ..Placement::default()
    });
    line.build().unwrap()
}

#[test]
fn messages_are_followed_while_somebody_wants_their_ways() {
    for watched in [false, true] {
        let mut line = counting();
        if watched {
            line.watch_clean();
        }
        line.watch_samples();
        let mut hub = Hub::new(Epoch(7));
        let mut feed = Feed::open(&mut hub).unwrap();
        let server = Server::open(ServerConfig {
            at: "127.0.0.1:0".parse().unwrap(),
            rules: Rules {
                router: Router::new(Default::default(), &[]),
                times: SessionTimes::default(),
                token: None,
            },
            admission: Default::default(),
            budgets: Default::default(),
            hub,
        })
        .unwrap();
        let publisher = server.publisher();
        let clock = Clock::os();
        let until_ns = clock.stamp() + 60_000_000_000;
        let mut running = line.start().unwrap();
        let mut stats = Follower::open(server.address(), "/stream/stats/line");
        let mut look = |running: &mut Running| {
            assert!(clock.stamp() < until_ns, "{:?}", running.samples());
            running.wait(Duration::from_millis(5));
            let _ = feed.look(running, &publisher, clock.stamp());
            running.samples().and_then(Samples::one_in)
        };
        // Whoever follows something else has none followed.
        while stats
            .hear()
            .iter()
            .all(|event| event["type"] != "hop_stats")
        {
            assert_eq!(look(&mut running), None);
        }
        let mut samples = Follower::open(server.address(), "/stream/samples/line");
        let mut told = Vec::new();
        while told.len() < 12 {
            look(&mut running);
            let heard = samples.hear().into_iter();
            told.extend(heard.filter(|event| event["type"] == "sample"));
        }
        for event in &told {
            let number = |of: &Value, key: &str| of[key].as_u64().unwrap();
            let hops = event["hops"].as_array().unwrap();
            let names: Vec<_> = hops.iter().map(|hop| &hop["hop"]).collect();
            assert_eq!(names, ["in->all", "all->out"], "{event}");
            assert_eq!(
                (&event["source"], &event["left"]),
                (&"in".into(), &true.into())
            );
            assert_eq!(
                (&hops[0]["after"], &hops[1]["after"]),
                (&Value::Null, &0.into())
            );
            assert_eq!(hops[0]["gap_ns"].is_u64(), watched);
            let last = number(&hops[1], "at_ns") + number(&hops[1], "wait_ns");
            let done_ns = last + number(&hops[1], "service_ns");
            assert_eq!(number(event, "total_ns"), done_ns);
        }
        assert!(told.iter().any(|event| event["slowest"] == true));
        drop(samples);
        while look(&mut running).is_some() {}
        assert!(running.end("finished").is_good());
        assert_eq!(server.end().counts.unpublished, 0);
    }
}

#[test]
fn an_address_that_others_reach_needs_a_token() {
    let config = |token: Option<&str>| ServerConfig {
        at: "0.0.0.0:0".parse().unwrap(),
        rules: Rules {
            router: Router::new(Default::default(), &[]),
            times: SessionTimes::default(),
            token: token.map(Into::into),
        },
        admission: Default::default(),
        hub: Hub::new(Epoch(1)),
        budgets: Default::default(),
    };
    let refused = Server::open(config(None)).unwrap_err().to_string();
    assert!(refused.contains("no token"), "{refused}");
    assert!(Server::open(config(Some("secret"))).is_ok());
}
