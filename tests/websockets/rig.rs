//! A line with a WebSocket source, and in the same line the peer that it connects to, which has a manner for each connection.

#![allow(
    clippy::disallowed_types,
    reason = "a test looks at what a sink saw after the run"
)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use hopline::adapter::{Content, WebSocketFrom, datagrams, synthetic, websocket};
use hopline::budget::LinkReport;
use hopline::budget::report::SourceReport;
use hopline::feed::{Arrivals, Datagram};
use hopline::frame::View;
use hopline::io::{
    Driver, Endpoint, IoError, ListenerId, StreamId, StreamRead, StreamSpec, StreamWrite,
    VirtualNet,
};
use hopline::stage::{Delivery, Egress, Leaving};
use hopline::topology::{Hop, Inline, Line, Report};
use hopline::wire::Output;
use hopline::wire::http::{RequestLimits, Requests};
use hopline::wire::websocket::{Event, Limits, Offer, Role, WebSocket};

pub(crate) const S: u64 = 1_000_000_000;

/// Time between two messages of a peer.
const PACE_NS: u64 = 10_000_000;

/// How often the peer looks after its connections, a second.
const TURNS_PER_S: f64 = 200.0;

/// What a peer does with a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Manner {
    /// Sends a number every 10 ms, and answers.
    Well,
    /// Sends so many, then does that, and sends on if it can.
    After(u64, Then),
    /// Sends each number in three fragments with pings between.
    Fragments,
    /// Sends a text of so many bytes behind the twentieth number.
    Sends(usize),
    /// Answers the handshake with that status and these headers.
    Answers(&'static str),
    /// Accepts with another's key.
    WrongKey,
    /// Answers with what is no HTTP.
    Babbles,
    /// Never answers.
    Mute,
    /// Ends the connection instead of an answer.
    HangsUp,
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Then {
    Close(Option<u16>),
    /// Ends without a word.
    End,
    /// Writes these bytes.
    Raw(&'static [u8]),
    /// Writes these bytes and ends.
    RawThenEnd(&'static [u8]),
    /// Neither reads nor writes any more.
    Silence,
    /// Answers pings, and sends nothing more.
    Quiet,
    /// Sends so many pings and reads nothing meanwhile.
    Pings(u64),
}

/// How a connection is expected to end.
pub(crate) struct Ends {
    pub(crate) lost: &'static str,
    pub(crate) hangup: &'static str,
    pub(crate) code: Option<&'static str>,
    pub(crate) rejects: Option<&'static str>,
}

impl Ends {
    pub(crate) fn of(lost: &'static str, hangup: &'static str) -> Ends {
        Ends {
            lost,
            hangup,
            code: None,
            rejects: None,
        }
    }

    pub(crate) fn code(mut self, code: &'static str) -> Ends {
        self.code = Some(code);
        self
    }

    pub(crate) fn rejects(mut self, why: &'static str) -> Ends {
        self.rejects = Some(why);
        self
    }
}

/// What peer and sink saw.
#[derive(Debug, Default)]
struct Log {
    texts: Vec<u64>,
    heard: Vec<String>,
    closes: Vec<u16>,
    asked_ns: Vec<u64>,
}

struct Conn {
    stream: StreamId,
    manner: Manner,
    requests: Requests,
    answer: Output,
    socket: Option<WebSocket>,
    /// Bytes beside the codec's.
    raw: Vec<u8>,
    opened_ns: u64,
    sent: u64,
    done: bool,
    silent: bool,
    quiet: bool,
    ends: bool,
    pings: u64,
}

/// The peer: a sink that lives off the line's housekeeping.
struct Peer {
    at: Endpoint,
    listener: Option<ListenerId>,
    manners: Vec<Manner>,
    accepted: usize,
    conns: Vec<Conn>,
    /// When the line is told to end, and the time now.
    until_ns: u64,
    now_ns: u64,
    log: Arc<Mutex<Log>>,
}

impl Conn {
    fn new(stream: StreamId, manner: Manner) -> Conn {
        Conn {
            stream,
            manner,
            requests: Requests::new(RequestLimits::default()),
            answer: Output::new(4 << 10),
            socket: None,
            raw: Vec::new(),
            opened_ns: 0,
            sent: 0,
            done: false,
            silent: false,
            quiet: false,
            ends: false,
            pings: 0,
        }
    }

    fn take(&mut self, mut input: &[u8], now_ns: u64, log: &mut Log) {
        if self.socket.is_none() {
            let Some(request) = self.requests.poll(&mut input).unwrap() else {
                return;
            };
            log.asked_ns.push(now_ns);
            let offer = Offer::of(&request).unwrap();
            match self.manner {
                Manner::Answers(head) => {
                    let text = format!("HTTP/1.1 {head}\r\nContent-Length: 0\r\n\r\n");
                    self.raw.extend(text.as_bytes());
                }
                Manner::Babbles => self.raw.extend(b"220 mail ready\r\n"),
                Manner::Mute => {}
                Manner::HangsUp => self.ends = true,
                Manner::WrongKey => {
                    offer.accept(&mut self.answer, None).unwrap();
                    let text = String::from_utf8(self.answer.pending().to_vec()).unwrap();
                    self.answer.clear();
                    let at = text.find("Accept: ").unwrap() + 8;
                    let other = [&text[..at], "AAAA", &text[at + 4..]].concat();
                    self.raw.extend(other.as_bytes());
                }
                _ => {
                    offer.accept(&mut self.answer, None).unwrap();
                    let limits = Limits {
                        output_bytes_max: 2 << 20,
                        ..Limits::default()
                    };
                    self.socket = Some(WebSocket::new(Role::Server, limits));
                    self.opened_ns = now_ns;
                }
            }
        }
        let Some(socket) = &mut self.socket else {
            return;
        };
        while let Some(event) = socket.poll(&mut input) {
            match event {
                Event::Text(text) => log.heard.push(text.to_owned()),
                Event::Close { code, .. } => log.closes.extend(code),
                _ => {}
            }
        }
    }

    /// Sends what is due.
    fn speak(&mut self, now_ns: u64) {
        let Some(socket) = &mut self.socket else {
            return;
        };
        if !socket.is_open() || !self.raw.is_empty() || self.pings > 0 {
            return;
        }
        while now_ns - self.opened_ns >= self.sent * PACE_NS && !self.quiet {
            // One that is not read from holds its market still.
            if socket.output().len() > 1 << 20 {
                self.opened_ns = now_ns - self.sent * PACE_NS;
                return;
            }
            let due = match self.manner {
                Manner::After(after, _) => after,
                Manner::Sends(_) => 20,
                _ => u64::MAX,
            };
            if !self.done && self.sent == due {
                self.done = true;
                if let Manner::Sends(bytes) = self.manner {
                    socket.send_text(&"x".repeat(bytes)).unwrap();
                }
                if let Manner::After(_, then) = self.manner {
                    return self.misbehave(then);
                }
            }
            let text = self.sent.to_string();
            if let Manner::Fragments = self.manner {
                let text = format!("{text:0>6}");
                let (first, rest) = text.split_at(2);
                let (second, third) = rest.split_at(3);
                let mut bytes = Vec::new();
                for (head, part) in [(0x01, first), (0x00, second), (0x80, third)] {
                    bytes.extend([head, part.len() as u8]);
                    bytes.extend(part.as_bytes());
                    bytes.extend(b"\x89\x01p");
                }
                self.raw.extend(bytes);
                self.sent += 1;
                return;
            }
            socket.send_text(&text).unwrap();
            self.sent += 1;
        }
    }

    fn misbehave(&mut self, then: Then) {
        match then {
            Then::Close(None) => self.raw.extend(b"\x88\0"),
            Then::Close(Some(code)) => {
                if let Some(socket) = &mut self.socket {
                    socket.close(code, "as told");
                }
            }
            Then::End => self.ends = true,
            Then::Raw(bytes) => {
                self.raw.extend(bytes);
                self.quiet = true;
            }
            Then::RawThenEnd(bytes) => {
                self.raw.extend(bytes);
                self.ends = true;
            }
            Then::Silence => self.silent = true,
            Then::Quiet => self.quiet = true,
            Then::Pings(count) => self.pings = count,
        }
    }

    /// Writes what waits. False if the connection is over.
    fn write(&mut self, io: &mut Driver) -> bool {
        loop {
            if self.pings > 0 && self.raw.is_empty() {
                let now = self.pings.min(1_000);
                self.pings -= now;
                self.raw.extend(b"\x89\0".repeat(now as usize));
            }
            let codec = self.socket.as_ref().map_or(&[][..], WebSocket::output);
            let (which, bytes) = match (self.answer.is_empty(), codec.is_empty()) {
                (false, _) => (0, self.answer.pending()),
                (true, false) => (1, codec),
                (true, true) if !self.raw.is_empty() => (2, self.raw.as_slice()),
                _ => break,
            };
            match io.stream_write(self.stream, bytes).unwrap() {
                StreamWrite::Bytes(count) => match which {
                    0 => self.answer.written(count),
                    1 => self.socket.as_mut().unwrap().written(count),
                    _ => drop(self.raw.drain(..count)),
                },
                StreamWrite::WouldBlock => return true,
                StreamWrite::Broken => return false,
            }
        }
        !self.ends && !self.socket.as_ref().is_some_and(WebSocket::is_over)
    }

    fn turn(&mut self, now_ns: u64, io: &mut Driver, log: &mut Log) -> bool {
        if self.silent {
            return true;
        }
        let mut buffer = [0; 4 << 10];
        while self.pings == 0 {
            match io.stream_read(self.stream, &mut buffer).unwrap() {
                StreamRead::Bytes(count) => self.take(&buffer[..count], now_ns, log),
                StreamRead::WouldBlock => break,
                StreamRead::End | StreamRead::Reset => return false,
            }
        }
        self.speak(now_ns);
        self.write(io)
    }
}

impl Egress for Peer {
    fn open(&mut self, io: &mut Driver) -> Result<(), IoError> {
        if !self.manners.is_empty() {
            self.listener = Some(io.listen(&StreamSpec::at(self.at.clone()))?);
        }
        Ok(())
    }

    fn on_frame(&mut self, frame: Leaving<'_>, _io: &mut Driver) -> Delivery {
        match frame.envelope.flags.is_last() {
            true => Delivery::Sent,
            false => Delivery::Part,
        }
    }

    /// It hears the end of its connections.
    fn pending(&self) -> bool {
        self.now_ns >= self.until_ns && !self.conns.is_empty()
    }

    fn housekeep(&mut self, now_ns: u64, io: &mut Driver) {
        self.now_ns = now_ns;
        let is_over = now_ns >= self.until_ns;
        let log = &mut *self.log.lock().unwrap();
        while let Some(listener) = self.listener
            && let Some(stream) = io.accept(listener).unwrap()
        {
            let last = self.manners.len() - 1;
            let manner = self.manners[self.accepted.min(last)];
            self.accepted += 1;
            self.conns.push(Conn::new(stream, manner));
        }
        self.conns.retain_mut(|conn| {
            let stays = conn.turn(now_ns, io, log) && !(is_over && conn.silent);
            if !stays {
                io.stream_close(conn.stream).unwrap();
            }
            stays
        });
    }
}

/// The sink of the source: keeps the numbers, from a time on.
struct Tap {
    from_ns: u64,
    now_ns: u64,
    log: Arc<Mutex<Log>>,
}

impl Egress for Tap {
    fn open(&mut self, _io: &mut Driver) -> Result<(), IoError> {
        Ok(())
    }

    fn on_frame(&mut self, frame: Leaving<'_>, _io: &mut Driver) -> Delivery {
        if self.now_ns < self.from_ns {
            return Delivery::NotNow;
        }
        if frame.envelope.flags.is_first() {
            let head = View::<Datagram>::read(frame.payload).unwrap().to_owned();
            let text = core::str::from_utf8(head.as_slice()).unwrap();
            self.log.lock().unwrap().texts.push(text.parse().unwrap());
        }
        match frame.envelope.flags.is_last() {
            true => Delivery::Sent,
            false => Delivery::Part,
        }
    }

    fn housekeep(&mut self, now_ns: u64, _io: &mut Driver) {
        self.now_ns = now_ns;
    }
}

/// A source, its peer, and a virtual network between them.
pub(crate) struct World {
    pub(crate) source: WebSocketFrom,
    /// In nanoseconds from the start.
    pub(crate) takes_nothing_until_ns: u64,
    at: Endpoint,
    manners: Vec<Manner>,
}

/// What came of a run.
pub(crate) struct Seen {
    pub(crate) report: Report,
    /// The numbers that left the line, in order.
    pub(crate) texts: Vec<u64>,
    /// What the source asked for.
    pub(crate) heard: Vec<String>,
    /// The codes that it closed with.
    pub(crate) closes: Vec<u16>,
    /// When it asked for a WebSocket.
    pub(crate) asked_ns: Vec<u64>,
}

impl World {
    /// Each connection finds the next of the manners; there it stays at the last one. With none nobody listens.
    pub(crate) fn new(manners: Vec<Manner>) -> World {
        let mut world = World {
            source: websocket("ws://127.0.0.1:1/"),
            takes_nothing_until_ns: 0,
            at: Endpoint::Tcp("127.0.0.1:1".parse().unwrap()),
            manners,
        };
        world.at(26460);
        world
    }

    pub(crate) fn at(&mut self, port: u16) {
        self.source = websocket(&format!("ws://127.0.0.1:{port}/ws"));
        self.at = Endpoint::Tcp(format!("127.0.0.1:{port}").parse().unwrap());
    }

    /// Runs for so long in virtual time. The ledger is closed behind it.
    pub(crate) fn run(self, span_ns: u64) -> Seen {
        let log = Arc::<Mutex<Log>>::default();
        let mut line = Line::builder("ws");
        line.source("in", self.source.decode(datagrams()));
        let tap = Tap {
            from_ns: self.takes_nothing_until_ns,
            now_ns: 0,
            log: log.clone(),
        };
        line.sink("end", tap);
        line.connect("in", "end", Hop::depth(64));
        // Nothing but the times at which the peer runs.
        let idle = synthetic("BTCUSDT", TURNS_PER_S).content(Content::Datagrams { bytes: 8 });
        line.source(
            "idle",
            idle.arrivals(Arrivals::Constant).decode(datagrams()),
        );
        let peer = Peer {
            at: self.at,
            listener: None,
            manners: self.manners,
            accepted: 0,
            conns: Vec::new(),
            // Virtual time begins at one second; a little before the line is told.
            until_ns: S + span_ns - PACE_NS,
            now_ns: 0,
            log: log.clone(),
        };
        line.sink("peer", peer);
        line.connect("idle", "peer", Hop::depth(64));
        let line = line.build().unwrap_or_else(|problems| panic!("{problems}"));
        let net = VirtualNet::new();
        net.set_delay_ns(200_000);
        let inline = Inline::new(net.driver().into()).stop_after_ns(span_ns);
        let (report, _) = line.run_inline(inline, None).unwrap();
        assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
        let source = &report.ledger.sources["in"];
        let over: u64 = source.disconnected.values().sum();
        assert_eq!(source.connected, over, "{:?}", source.disconnected);
        assert!(source.adds_up());
        let log = core::mem::take(&mut *log.lock().unwrap());
        Seen {
            report,
            texts: log.texts,
            heard: log.heard,
            closes: log.closes,
            asked_ns: log.asked_ns,
        }
    }
}

impl Seen {
    pub(crate) fn source(&self) -> &SourceReport {
        &self.report.ledger.sources["in"]
    }

    pub(crate) fn link(&self) -> &LinkReport {
        self.source().link.as_ref().expect("it keeps a connection")
    }
}

/// Counts by reason as a short list.
pub(crate) fn counts(by: &BTreeMap<String, u64>) -> Vec<(&str, u64)> {
    by.iter()
        .map(|(why, count)| (why.as_str(), *count))
        .collect()
}
