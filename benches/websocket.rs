//! What a message costs that comes over a WebSocket, beside the same bytes as lines of raw TCP.
//!
//! ```text
//! cargo bench --bench websocket [-- --quick]
//! ```
//!
//! - *one way* (open loop): a sender writes a JSON text of 184 B, the median of an exchange's, every 50 us; each carries when
//!   it was written. *raw* is a loop that reads without blocking and finds the ends of lines (NDJSON over TCP); the *line* is
//!   a WebSocket source and a sink with a ring between them, fused on one thread, and the time ends in the sink's handler.
//! - *bulk* (flat out): nanoseconds a message that the sender writes in blocks of 16 KiB, until the last one is in.
//!
//! Both spin on the same core, the sender has the other one, rounds alternate. Only ratios travel between machines.

#![allow(
    clippy::disallowed_methods,
    reason = "threads of a bench begin and end together"
)]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use core_affinity::CoreId;
use hopline::adapter::{datagrams, websocket};
use hopline::base::primitive::{Arc, AtomicU64, Ordering, spin_hint};
use hopline::clock::Clock;
use hopline::feed::Datagram;
use hopline::frame::View;
use hopline::io::{Driver, IoError};
use hopline::stage::{Delivery, Egress, Leaving};
use hopline::topology::{Hop, Line, Placement, ThreadSpec};
use hopline::wait::Strategy;
use hopline::wire::Output;
use hopline::wire::http::{RequestLimits, Requests};
use hopline::wire::websocket::{Encoded, Offer};

/// Bytes of a message: the stamp in front, in digits, and what an exchange would say.
const MESSAGE_BYTES: usize = 184;
/// Digits of the stamp.
const STAMP_BYTES: usize = 20;
/// What an exchange says, as far as there is room for it.
const TEXT: &str = r#"{"e":"bookTicker","u":5123107839020,"s":"BTCUSDT","b":"61800.20","B":"2.507","a":"61800.30","A":"2.510"}"#;
/// Time between two messages of the open loop.
const GAP_NS: u64 = 50_000;
/// How long a round of a line may take.
const PATIENCE_NS: u64 = 30_000_000_000;
/// Bytes of a block in bulk.
const BLOCK_BYTES: usize = 16 << 10;
/// Most messages of a round, for which there is room to note each.
const MESSAGES_MAX: usize = 1 << 20;

/// What the receiving side notes: spans in the order they came.
#[derive(Clone)]
struct Notes(Arc<Vec<AtomicU64>>, Arc<AtomicU64>);

impl Notes {
    fn new() -> Notes {
        let spans = (0..MESSAGES_MAX).map(|_| AtomicU64::new(0)).collect();
        Notes(Arc::new(spans), Arc::new(AtomicU64::new(0)))
    }

    #[inline]
    fn note(&self, message: &[u8], clock: &Clock) {
        let sent_ns = message[..STAMP_BYTES]
            .iter()
            .fold(0_u64, |number, digit| number * 10 + u64::from(digit - b'0'));
        let at = self.1.load(Ordering::Relaxed);
        let span_ns = clock.stamp().saturating_sub(sent_ns);
        self.0[at as usize % MESSAGES_MAX].store(span_ns, Ordering::Relaxed);
        self.1.store(at + 1, Ordering::Release);
    }

    fn came(&self) -> u64 {
        self.1.load(Ordering::Acquire)
    }

    /// The spans behind the first tenth, in order of size.
    fn spans(&self) -> Vec<u64> {
        let came = self.came() as usize;
        let spans = &self.0[came / 10..came];
        let mut spans: Vec<u64> = spans.iter().map(|ns| ns.load(Ordering::Relaxed)).collect();
        spans.sort_unstable();
        spans
    }
}

/// The sink of the line.
struct Tap {
    notes: Notes,
    clock: Clock,
}

impl Egress for Tap {
    fn open(&mut self, _io: &mut Driver) -> Result<(), IoError> {
        Ok(())
    }

    fn on_frame(&mut self, frame: Leaving<'_>, _io: &mut Driver) -> Delivery {
        if frame.envelope.flags.is_first()
            && let Ok(head) = View::<Datagram>::read(frame.payload)
        {
            self.notes.note(head.to_owned().as_slice(), &self.clock);
        }
        match frame.envelope.flags.is_last() {
            true => Delivery::Sent,
            false => Delivery::Part,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Raw,
    WebSocket,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Load {
    OneWay,
    Bulk,
}

/// A message with that stamp, as it goes to the socket.
fn message(kind: Kind, stamp_ns: u64, bytes: &mut Vec<u8>) {
    let mut text = format!("{stamp_ns:0STAMP_BYTES$}");
    text.push_str(&TEXT.repeat(2));
    text.truncate(MESSAGE_BYTES);
    match kind {
        Kind::Raw => {
            bytes.extend(text.as_bytes());
            bytes.push(b'\n');
        }
        Kind::WebSocket => bytes.extend_from_slice(Encoded::text(&text).bytes()),
    }
}

/// The server's half of the handshake.
fn accept(listener: &TcpListener, kind: Kind) -> io::Result<TcpStream> {
    let (mut stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    if kind == Kind::WebSocket {
        let mut requests = Requests::new(RequestLimits::default());
        let mut output = Output::new(4096);
        let mut buffer = [0; 4096];
        loop {
            let count = stream.read(&mut buffer)?;
            assert!(count > 0, "it ended within its handshake");
            let mut input = &buffer[..count];
            if let Ok(Some(request)) = requests.poll(&mut input) {
                let offer = Offer::of(&request).expect("a handshake");
                offer.accept(&mut output, None).expect("room");
                break;
            }
        }
        stream.write_all(output.pending())?;
    }
    Ok(stream)
}

/// Sends so many messages once somebody is there.
fn send(
    mut stream: TcpStream,
    kind: Kind,
    load: Load,
    messages: usize,
    clock: &Clock,
) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(2 * BLOCK_BYTES);
    let began_ns = clock.stamp();
    match load {
        Load::OneWay => {
            for nth in 0..messages as u64 {
                while clock.stamp() < began_ns + nth * GAP_NS {
                    spin_hint();
                }
                bytes.clear();
                message(kind, clock.stamp(), &mut bytes);
                // The stamp is of when it leaves; making the text is not part of it.
                stream.write_all(&bytes)?;
            }
        }
        Load::Bulk => {
            let mut one = Vec::new();
            message(kind, began_ns, &mut one);
            let block: Vec<u8> = one.repeat(BLOCK_BYTES / one.len());
            let (mut left, each) = (messages, BLOCK_BYTES / one.len());
            while left > 0 {
                let now = left.min(each);
                stream.write_all(&block[..now * one.len()])?;
                left -= now;
            }
        }
    }
    // Until the other side has read all and ends.
    stream.set_read_timeout(Some(std::time::Duration::from_secs(20)))?;
    let mut buffer = [0; 64];
    while matches!(stream.read(&mut buffer), Ok(count) if count > 0) {}
    Ok(())
}

/// A loop that reads lines until it has that many.
fn raw(at: SocketAddr, messages: usize, notes: &Notes, clock: &Clock, core: CoreId) {
    core_affinity::set_for_current(core);
    let mut stream = TcpStream::connect(at).expect("the sender listens");
    stream
        .set_nonblocking(true)
        .expect("a socket that does not block");
    let mut buffer = vec![0; 64 << 10];
    let mut have = 0;
    while notes.came() < messages as u64 {
        match stream.read(&mut buffer[have..]) {
            Ok(0) => return,
            Ok(count) => {
                let end = have + count;
                let mut start = 0;
                for at in memchr::memchr_iter(b'\n', &buffer[..end]) {
                    notes.note(&buffer[start..at], clock);
                    start = at + 1;
                }
                buffer.copy_within(start..end, 0);
                have = end - start;
            }
            Err(_) => spin_hint(),
        }
    }
}

/// The same by a line.
fn by_line(at: SocketAddr, messages: usize, notes: &Notes, clock: &Clock, core: CoreId) {
    let mut line = Line::builder("bench");
    line.source("in", websocket(&format!("ws://{at}/")).decode(datagrams()));
    let tap = Tap {
        notes: notes.clone(),
        clock: clock.clone(),
    };
    line.sink("end", tap);
    line.connect("in", "end", Hop::depth(1024));
    line.placement(Placement {
        wait: Some(Strategy::Spin),
        threads: vec![ThreadSpec {
            name: "line".into(),
            core: Some(core.id),
            nodes: vec!["in".to_owned(), "end".to_owned()],
            ..ThreadSpec::default()
        }],
        ..Placement::default()
    });
    let running = line.build().expect("a right line").start();
    let mut running = running.expect("it starts");
    let began_ns = clock.stamp();
    while notes.came() < messages as u64 {
        thread::sleep(std::time::Duration::from_millis(1));
        if clock.stamp() - began_ns > PATIENCE_NS {
            println!("{} came: {:?}", notes.came(), running.report().ledger);
            std::process::exit(1);
        }
    }
    let report = running.end("done");
    assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
}

/// One round: p50 and p99 in nanoseconds of one way, or nanoseconds a message in bulk.
fn round(kind: Kind, load: Load, messages: usize, cores: [CoreId; 2], clock: &Clock) -> (u64, u64) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let at = listener.local_addr().expect("an address");
    let notes = Notes::new();
    let (theirs, their_clock) = (notes.clone(), clock.clone());
    let receiver = thread::spawn(move || match kind {
        Kind::Raw => raw(at, messages, &theirs, &their_clock, cores[0]),
        Kind::WebSocket => by_line(at, messages, &theirs, &their_clock, cores[0]),
    });
    core_affinity::set_for_current(cores[1]);
    let stream = accept(&listener, kind).expect("somebody connects");
    send(stream, kind, load, messages, clock).expect("they read");
    receiver.join().expect("the receiver ends");
    assert_eq!(notes.came(), messages as u64);
    match load {
        Load::OneWay => {
            let spans = notes.spans();
            (spans[spans.len() / 2], spans[spans.len() * 99 / 100])
        }
        // Each says how long after the beginning it was in; the last one is the longest.
        Load::Bulk => {
            let last_ns = notes.spans().last().copied().unwrap_or(0);
            (last_ns / messages as u64, 0)
        }
    }
}

fn median(mut all: Vec<u64>) -> (u64, u64, u64) {
    all.sort_unstable();
    (all[all.len() / 2], all[0], all[all.len() - 1])
}

fn main() {
    // Before any thread is bound to a core.
    let _ = hopline::host::allowed_cores();
    let quick = std::env::args().any(|word| word == "--quick");
    let (rounds, trips, bulk) = if quick {
        (3, 5_000, 100_000)
    } else {
        (9, 40_000, 1_000_000)
    };
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    match cores[..] {
        [first, second, ..] => run(rounds, trips, bulk, [first, second]),
        _ => println!("two cores are needed"),
    }
}

fn run(rounds: usize, trips: usize, bulk: usize, cores: [CoreId; 2]) {
    let clock = Clock::calibrated();
    let kinds = [
        (Kind::Raw, "TCP, lines, raw loop"),
        (Kind::WebSocket, "WebSocket, line"),
    ];
    for (load, messages) in [(Load::OneWay, trips), (Load::Bulk, bulk)] {
        let mut figures = [Vec::new(), Vec::new()];
        for _ in 0..rounds {
            for ((kind, _), figures) in kinds.iter().zip(&mut figures) {
                figures.push(round(*kind, load, messages, cores, &clock));
            }
        }
        for ((_, name), figures) in kinds.iter().zip(&figures) {
            let (p50, low, high) = median(figures.iter().map(|figure| figure.0).collect());
            match load {
                Load::OneWay => {
                    let (p99, _, _) = median(figures.iter().map(|figure| figure.1).collect());
                    println!("one way  {name:<24} p50 {p50} ns ({low}-{high}), p99 {p99} ns");
                }
                Load::Bulk => println!("bulk     {name:<24} {p50} ns a message ({low}-{high})"),
            }
        }
    }
}
