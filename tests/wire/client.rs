//! A client that stays connected, against a server of ours in virtual time: cut, silent, refusing,
//! and wrong.
//!
//! Invariant: bytes take their time from one end to the other; nothing else does.

use std::collections::VecDeque;

use hopline::base::Prng;
use hopline::wire::Output;
use hopline::wire::http::{RequestLimits, Requests};
use hopline::wire::session::{Lost, Phase, SessionConfig, Step};
use hopline::wire::websocket::{
    AnswerFault, Client, ClientConfig, ClientEvent, Event, Limits, Offer, Opening, Role, SendError,
    Violation, WebSocket,
};

const S: u64 = 1_000_000_000;
const MS: u64 = 1_000_000;

fn config(seed: u64) -> ClientConfig {
    let opening = Opening::new("stream.example", "/ws?x=1").unwrap();
    ClientConfig {
        opening: opening.protocol("a").unwrap().protocol("b").unwrap(),
        limits: Limits {
            message_bytes_max: 4_000,
            output_bytes_max: 4_000,
        },
        session: SessionConfig {
            seed,
            ..SessionConfig::default()
        },
    }
}

/// What the server does with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// Sends a text every 100 ms, and answers.
    Well,
    /// Takes the connection and never says a word.
    Mute,
    /// Answers the handshake with 503 and asks for 40 s.
    Busy,
    /// Answers with what is no HTTP.
    Babbles,
    /// Accepts with another's key.
    Confused,
    /// Sends for 2 s, then takes nothing in and sends nothing more.
    HalfOpen,
    /// Sends for 2 s, then only answers pings.
    Stale,
    /// Sends for 2 s, then a message of 700 KB.
    TooLong,
    /// Sends for 2 s, then a masked frame.
    Masks,
    /// Sends for 2 s, then closes.
    Closes,
    /// Sends for 2 s, then the connection is cut.
    Cut,
}

/// Bytes that are on their way, with the times at which they arrive.
#[derive(Default)]
struct Way(VecDeque<(u64, Vec<u8>)>);

impl Way {
    fn send(&mut self, at_ns: u64, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.0.push_back((at_ns, bytes.to_vec()));
        }
    }

    fn arrived(&mut self, now_ns: u64) -> Option<Vec<u8>> {
        let due = self.0.front().is_some_and(|(at_ns, _)| *at_ns <= now_ns);
        due.then(|| self.0.pop_front().unwrap().1)
    }
}

struct Server {
    manner: Manner,
    requests: Requests,
    output: Output,
    socket: Option<WebSocket>,
    opened_ns: u64,
    sent: u64,
    heard: Vec<String>,
}

impl Server {
    fn new(manner: Manner) -> Server {
        Server {
            manner,
            requests: Requests::new(RequestLimits::default()),
            output: Output::new(1 << 20),
            socket: None,
            opened_ns: 0,
            sent: 0,
            heard: Vec::new(),
        }
    }

    /// Takes bytes in; gives what it writes, and whether it hangs up.
    fn turn(&mut self, bytes: &[u8], now_ns: u64) -> (Vec<u8>, bool) {
        let mut input = bytes;
        let since_ns = now_ns.saturating_sub(self.opened_ns);
        let after = self.socket.is_some() && since_ns >= 2 * S;
        if self.manner == Manner::Mute || (self.manner == Manner::HalfOpen && after) {
            return (vec![], false);
        }
        let Some(socket) = &mut self.socket else {
            if let Some(request) = self.requests.poll(&mut input).unwrap() {
                let offer = Offer::of(&request).unwrap();
                assert_eq!(request.target, "/ws?x=1");
                match self.manner {
                    Manner::Busy => {
                        self.output
                            .push(b"HTTP/1.1 503 x\r\nRetry-After: 40\r\n\r\n")
                            .unwrap();
                    }
                    Manner::Babbles => self.output.push(b"220 mail ready\r\n").unwrap(),
                    _ => offer
                        .accept(&mut self.output, offer.choose(&["b"]))
                        .unwrap(),
                }
                if self.manner == Manner::Confused {
                    let text = String::from_utf8(self.output.pending().to_vec()).unwrap();
                    let at = text.find("Accept: ").unwrap() + 8;
                    let other = [&text[..at], "AAAA", &text[at + 4..]].concat();
                    self.output.clear();
                    self.output.push(other.as_bytes()).unwrap();
                } else if !matches!(self.manner, Manner::Busy | Manner::Babbles) {
                    self.socket = Some(WebSocket::new(Role::Server, Limits::default()));
                    (self.opened_ns, self.sent) = (now_ns, 0);
                }
            }
            let bytes = self.output.pending().to_vec();
            self.output.clear();
            return (bytes, false);
        };
        while let Some(event) = socket.poll(&mut input) {
            if let Event::Text(text) = event {
                self.heard.push(text.to_owned());
            }
        }
        if after {
            match self.manner {
                Manner::Cut => return (vec![], true),
                Manner::Closes => socket.close(1012, "restart"),
                Manner::TooLong if socket.is_open() => {
                    self.output
                        .push(b"\x81\x7f\0\0\0\0\0\x0a\xf0\0xxxx")
                        .unwrap();
                }
                Manner::Masks => self.output.push(b"\x81\x81\0\0\0\0x").unwrap(),
                _ => {}
            }
        }
        let quiet = after && self.manner != Manner::Well;
        while socket.is_open() && !quiet && since_ns >= self.sent * 100 * MS {
            let number = self.sent.to_string();
            socket.send_text(&number).unwrap();
            self.sent += 1;
        }
        let bytes = [socket.output(), self.output.pending()].concat();
        socket.written(usize::MAX);
        self.output.clear();
        (bytes, socket.is_over())
    }
}

/// What happened, with its time.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Step(Step),
    Opened(Option<usize>),
    Text(String),
    RoundTrip(u64),
    Lost(Lost, Option<u16>, String),
}

struct World {
    client: Client,
    manners: Vec<Manner>,
    server: Option<Server>,
    up: Way,
    down: Way,
    delay_ns: u64,
    prng: Prng,
    now_ns: u64,
    log: Vec<(u64, Told)>,
    heard: Vec<String>,
}

impl World {
    /// Each connection finds the next of the manners; there it stays at the last one.
    fn new(seed: u64, manners: &[Manner]) -> World {
        World {
            client: Client::new(config(seed), 0),
            manners: manners.iter().rev().copied().collect(),
            server: None,
            up: Way::default(),
            down: Way::default(),
            delay_ns: 30 * MS,
            prng: Prng::new(seed),
            now_ns: 0,
            log: Vec::new(),
            heard: Vec::new(),
        }
    }

    fn hang_up(&mut self) {
        self.heard.extend(
            self.server
                .take()
                .into_iter()
                .flat_map(|server| server.heard),
        );
        (self.up, self.down) = (Way::default(), Way::default());
    }

    fn dial(&mut self) {
        let manner = match self.manners.len() {
            1 => self.manners[0],
            _ => self.manners.pop().unwrap(),
        };
        self.server = Some(Server::new(manner));
        self.client.connected(self.now_ns);
    }

    /// Hands input to the client in random pieces.
    fn hand_in(&mut self, bytes: &[u8], end: bool) {
        let mut lost = false;
        for piece in crate::cuts::pieces(bytes, 90, &mut self.prng) {
            let mut input = piece;
            while let Some(event) = self.client.handle_input(&mut input, self.now_ns) {
                lost |= matches!(event, ClientEvent::Lost { .. });
                self.log.push((self.now_ns, told(event)));
                if matches!(event, ClientEvent::Opened { .. }) {
                    self.client.send_text("subscribe").unwrap();
                }
            }
        }
        while end && let Some(event) = self.client.handle_end(self.now_ns) {
            lost = true;
            self.log.push((self.now_ns, told(event)));
        }
        if lost {
            self.hang_up();
        }
    }

    fn run(&mut self, until_ns: u64) {
        while self.now_ns < until_ns {
            while let Some(bytes) = self.down.arrived(self.now_ns) {
                self.hand_in(&bytes, false);
            }
            while let Some(step) = self.client.poll(self.now_ns) {
                self.log.push((self.now_ns, Told::Step(step)));
                match step {
                    Step::Dial => self.dial(),
                    Step::Drop(_) => self.hang_up(),
                    _ => {}
                }
            }
            let arrives_ns = self.now_ns + self.delay_ns;
            let count = self.client.output().len();
            self.up.send(arrives_ns, self.client.output());
            self.client.written(count);
            let arrived = self.up.arrived(self.now_ns).unwrap_or_default();
            if let Some(server) = &mut self.server {
                let (bytes, hangs_up) = server.turn(&arrived, self.now_ns);
                self.down.send(arrives_ns, &bytes);
                if hangs_up {
                    let mut rest = Vec::new();
                    while let Some(bytes) = self.down.arrived(u64::MAX) {
                        rest.extend(bytes);
                    }
                    self.hand_in(&rest, true);
                    self.hang_up();
                }
            }
            self.now_ns += 10 * MS;
        }
    }

    fn texts(&self) -> Vec<u64> {
        let text = |(_, told): &(u64, Told)| match told {
            Told::Text(text) => text.parse().ok(),
            _ => None,
        };
        self.log.iter().filter_map(text).collect()
    }

    fn find(&self, wanted: impl Fn(&Told) -> bool) -> Option<u64> {
        self.log
            .iter()
            .find(|(_, told)| wanted(told))
            .map(|(at_ns, _)| *at_ns)
    }

    fn lost(&self, why: Lost) -> u64 {
        self.client.session().counts().lost(why)
    }
}

fn told(event: ClientEvent<'_>) -> Told {
    match event {
        ClientEvent::Opened { protocol } => Told::Opened(protocol),
        ClientEvent::Text(text) => Told::Text(text.to_owned()),
        ClientEvent::Binary(_) => panic!("none is sent"),
        ClientEvent::RoundTrip(round_ns) => Told::RoundTrip(round_ns),
        ClientEvent::Lost { why, code, reason } => Told::Lost(why, code, reason.to_owned()),
    }
}

#[test]
fn a_feed_comes_in_order_and_its_pings_are_answered() {
    let mut world = World::new(1, &[Manner::Well]);
    world.run(100 * S);
    assert!(world.find(|told| *told == Told::Opened(Some(1))).unwrap() <= 100 * MS);
    let texts = world.texts();
    assert!(texts.len() > 990 && texts.iter().copied().eq(0..texts.len() as u64));
    let counts = world.client.session().counts().clone();
    assert_eq!(
        (
            counts.dials,
            counts.opened,
            counts.lost_in_all(),
            counts.stale
        ),
        (1, 1, 0, 0)
    );
    assert_eq!((counts.pings, counts.pongs), (6, 6));
    let round =
        |told: &Told| matches!(told, Told::RoundTrip(ns) if (60 * MS..=90 * MS).contains(ns));
    assert_eq!(world.log.iter().filter(|(_, told)| round(told)).count(), 6);
    // And then it is ended in good order.
    assert_eq!(world.client.stop(world.now_ns), None);
    assert_eq!(world.client.send_text("late"), Err(SendError::Closing));
    world.run(101 * S);
    assert_eq!(world.client.session().phase(), Phase::Stopped);
    let closed = |told: &Told| matches!(told, Told::Lost(Lost::Closed, Some(1000), _));
    assert!(world.find(closed).is_some() && world.lost(Lost::Stopped) == 1);
    assert_eq!(world.heard, ["subscribe"]);
}

#[test]
fn each_way_to_lose_a_connection_is_named_and_the_next_one_works() {
    let cases = [
        (
            Manner::Mute,
            Lost::HandshakeTimeout,
            10 * S,
            10 * S + 50 * MS,
            None,
        ),
        (Manner::Busy, Lost::HandshakeRefused, 0, 100 * MS, Some(503)),
        (Manner::Babbles, Lost::HandshakeBad, 0, 100 * MS, None),
        (Manner::Confused, Lost::HandshakeBad, 0, 100 * MS, Some(101)),
        (Manner::HalfOpen, Lost::Silent, 46 * S, 48 * S, None),
        (Manner::TooLong, Lost::TooLong, 2 * S, 3 * S, None),
        (Manner::Masks, Lost::Violation, 2 * S, 3 * S, None),
        (Manner::Closes, Lost::Closed, 2 * S, 3 * S, Some(1012)),
        (Manner::Cut, Lost::CutOff, 2 * S, 3 * S, None),
    ];
    for (manner, why, from_ns, to_ns, code) in cases {
        for seed in 0..5 {
            let mut world = World::new(seed, &[manner, Manner::Well]);
            world.run(120 * S);
            let lost = |told: &Told| match told {
                Told::Lost(lost, given, _) => (*lost, *given) == (why, code),
                Told::Step(step) => *step == Step::Drop(why) && code.is_none(),
                _ => false,
            };
            let at_ns = world.find(lost);
            let at_ns = at_ns.unwrap_or_else(|| panic!("{manner:?}: {:?}", world.log));
            assert!((from_ns..=to_ns).contains(&at_ns), "{manner:?} at {at_ns}");
            let counts = world.client.session().counts();
            assert_eq!(
                (counts.dials, counts.lost_in_all(), world.lost(why)),
                (2, 1, 1),
                "{manner:?}"
            );
            let dials = world
                .log
                .iter()
                .filter(|(_, told)| *told == Told::Step(Step::Dial));
            let again_ns = dials.map(|(at_ns, _)| *at_ns).next_back().unwrap();
            let least_ns = if manner == Manner::Busy { 40 * S } else { S };
            let most_ns = if manner == Manner::Busy {
                40 * S
            } else {
                2 * S
            };
            let wait_ns = again_ns - at_ns;
            // The loop looks every 10 ms.
            assert!(
                wait_ns >= least_ns && wait_ns <= most_ns + 10 * MS,
                "{manner:?}: {wait_ns}"
            );
            // What the second connection sent is there, from its beginning on.
            let texts = world.texts();
            let second = texts.iter().rposition(|number| *number == 0).unwrap();
            assert!(
                texts[second..]
                    .iter()
                    .copied()
                    .eq(0..(texts.len() - second) as u64)
            );
            assert!(texts.len() - second > 500);
            match manner {
                Manner::TooLong => {
                    assert_eq!(world.client.last_violation(), Some(Violation::TooLong))
                }
                Manner::Masks => assert_eq!(world.client.last_violation(), Some(Violation::Masked)),
                Manner::Confused => {
                    assert_eq!(world.client.last_answer(), Some(AnswerFault::BadAccept));
                }
                _ => {}
            }
        }
    }
}

#[test]
fn a_peer_that_is_well_and_has_no_data_is_stale_and_not_lost() {
    let mut world = World::new(1, &[Manner::Stale]);
    world.run(100 * S);
    let stale_ns = world.find(|told| *told == Told::Step(Step::Stale)).unwrap();
    assert!(
        (6 * S..8 * S).contains(&stale_ns),
        "5 s behind the last text: {stale_ns}"
    );
    assert_eq!(world.client.session().phase(), Phase::Stale);
    let counts = world.client.session().counts();
    assert_eq!(
        (counts.lost_in_all(), counts.stale, counts.pongs),
        (0, 1, 6)
    );
}

#[test]
fn many_losses_in_a_row_are_outlived_and_the_same_seed_lives_the_same() {
    let manners = [
        Manner::Cut,
        Manner::Closes,
        Manner::Mute,
        Manner::Masks,
        Manner::Cut,
        Manner::HalfOpen,
        Manner::TooLong,
        Manner::Confused,
        Manner::Cut,
        Manner::Babbles,
        Manner::Well,
    ];
    let live = |seed| {
        let mut world = World::new(seed, &manners);
        world.run(600 * S);
        let counts = world.client.session().counts().clone();
        assert_eq!(
            (counts.dials, counts.lost_in_all()),
            (11, 10),
            "{:?}",
            world.log
        );
        assert_eq!(
            counts.opened, 8,
            "all but the mute, the confused and the babbling"
        );
        assert_eq!(world.client.session().phase(), Phase::Live);
        assert!(counts.down_ns > 10 * S && counts.down_ns < 400 * S);
        world.log
    };
    let first = live(3);
    assert_eq!(live(3), first);
    assert_ne!(live(4), first);
}
