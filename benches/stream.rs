//! What a line on connections costs beside a bare loop over the same sockets.
//!
//! ```text
//! cargo bench --bench stream [-- --quick]
//! ```
//!
//! - *echo* (closed loop): 64 B there and back over loopback. The line is a source, a stage that
//!   does nothing and a sink that replies, fused on one thread, with two rings between them; *raw* is
//!   a loop that reads without blocking and writes back what it read. Both spin on the same core,
//!   the client is the same, and rounds of all candidates alternate. The bar: p50 within 1.10 x of raw.
//! - *bulk* (flat out): nanoseconds a message of 64 B that a client writes in blocks of 16 KiB, until
//!   the last one is in. *raw* reads and finds the messages; the line also stamps, queues, counts them.
//!
//! Only ratios travel between machines. Both cores have to be free.

#![allow(
    clippy::disallowed_methods,
    reason = "threads of a bench begin and end together"
)]

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::thread;

use core_affinity::CoreId;
use hopline::adapter::{
    blackhole, datagrams, shared_tcp, shared_unix, stream_on, stream_reply, unix_datagram,
    unix_datagram_to,
};
use hopline::base::primitive::{AtomicBool, Ordering, spin_hint};
use hopline::clock::Clock;
use hopline::feed::Datagrams;
use hopline::io::{Endpoint, SharedStream};
use hopline::stages::Forward;
use hopline::topology::{Builder, Hop, Line, Placement, Running, ThreadSpec};
use hopline::wait::Strategy;
use hopline::wire::{Decoder, Framing, Prefix};

/// Payload of a message; its length stands before it in a stream.
const PAYLOAD_BYTES: usize = 64;
/// Round trips before the measured ones.
const WARM_UP: usize = 1_000;
/// Most that a line's p50 may be of the raw loop's.
const BAR: f64 = 1.10;
/// Bytes of a block in bulk.
const BLOCK_BYTES: usize = 16 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Tcp,
    UnixStream,
    UnixDatagram,
}

const KINDS: [Kind; 3] = [Kind::Tcp, Kind::UnixStream, Kind::UnixDatagram];

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Tcp => "TCP",
            Kind::UnixStream => "Unix stream",
            Kind::UnixDatagram => "Unix datagram",
        }
    }
}

struct Plan {
    rounds: usize,
    trips: usize,
    messages: usize,
    cores: [CoreId; 2],
    clock: Clock,
}

/// One end, whatever it is made of.
enum Wire {
    Tcp(TcpStream),
    Unix(UnixStream),
    /// And where it sends to. Not connected: such a socket hears nobody else.
    Datagram(UnixDatagram, SocketAddr),
}

impl Wire {
    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Wire::Tcp(stream) => stream.write(bytes),
            Wire::Unix(stream) => stream.write(bytes),
            Wire::Datagram(socket, to) => socket.send_to_addr(bytes, to),
        }
    }

    fn recv(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Tcp(stream) => stream.read(buf),
            Wire::Unix(stream) => stream.read(buf),
            Wire::Datagram(socket, _) => socket.recv(buf),
        }
    }

    fn spinning(self) -> Wire {
        match &self {
            Wire::Tcp(stream) => stream
                .set_nodelay(true)
                .and_then(|()| stream.set_nonblocking(true)),
            Wire::Unix(stream) => stream.set_nonblocking(true),
            Wire::Datagram(socket, _) => socket.set_nonblocking(true),
        }
        .expect("a socket that does not block");
        self
    }

    /// Spins until the call does something.
    #[inline]
    fn until(
        &mut self,
        mut call: impl FnMut(&mut Wire) -> io::Result<usize>,
        over: &AtomicBool,
    ) -> Option<usize> {
        loop {
            match call(self) {
                Ok(count) => return Some(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if over.load(Ordering::Relaxed) {
                        return None;
                    }
                    spin_hint();
                }
                Err(_) => return None,
            }
        }
    }

    fn send_all(&mut self, mut bytes: &[u8], over: &AtomicBool) -> Option<()> {
        while !bytes.is_empty() {
            let count = self.until(|wire| wire.send(bytes), over)?;
            bytes = &bytes[count..];
        }
        Some(())
    }
}

fn name(of: &str) -> String {
    format!("hopline-bench-{}-{of}", std::process::id())
}

fn abstract_name(of: &str) -> SocketAddr {
    SocketAddr::from_abstract_name(name(of)).expect("a short name")
}

/// One message as it lies on that wire.
fn message(kind: Kind) -> Vec<u8> {
    let payload = [7; PAYLOAD_BYTES];
    if kind == Kind::UnixDatagram {
        return payload.to_vec();
    }
    let mut out = vec![0; PAYLOAD_BYTES + 4];
    let framing = Framing::new(Prefix::U32Be, PAYLOAD_BYTES);
    assert_eq!(framing.encode(&payload, &mut out), Some(out.len()));
    out
}

/// Nanoseconds of each round trip of a client on the first core.
fn trips(plan: &Plan, kind: Kind, mut wire: Wire) -> Vec<u64> {
    let never = AtomicBool::new(false);
    let body = || {
        core_affinity::set_for_current(plan.cores[0]);
        let (message, mut buf) = (message(kind), [0; 256]);
        let mut spans_ns = Vec::with_capacity(plan.trips);
        for number in 0..WARM_UP + plan.trips {
            let begin_ns = plan.clock.stamp();
            let sent = wire.until(|wire| wire.send(&message), &never);
            assert_eq!(sent, Some(message.len()));
            let mut got = 0;
            while got < message.len() {
                got += wire
                    .until(|wire| wire.recv(&mut buf), &never)
                    .expect("an answer");
            }
            let span_ns = plan.clock.stamp_after() - begin_ns;
            if number >= WARM_UP {
                spans_ns.push(span_ns);
            }
        }
        spans_ns
    };
    thread::scope(|scope| scope.spawn(body).join()).expect("a client that ends")
}

/// Writes `messages` in blocks from the first core.
fn pour(plan: &Plan, kind: Kind, mut wire: Wire) {
    let never = AtomicBool::new(false);
    core_affinity::set_for_current(plan.cores[0]);
    let one = message(kind);
    let mut left = plan.messages;
    if kind == Kind::UnixDatagram {
        for _ in 0..left {
            wire.send_all(&one, &never).expect("a receiver");
        }
        return;
    }
    let block = one.repeat(BLOCK_BYTES / one.len());
    while left > 0 {
        let now = left.min(block.len() / one.len());
        wire.send_all(&block[..now * one.len()], &never)
            .expect("a receiver");
        left -= now;
    }
}

/// Both ends of a wire without a line.
fn raw_pair(kind: Kind, round: usize) -> (Wire, Wire) {
    let pair = match kind {
        Kind::Tcp => {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let client = TcpStream::connect(listener.local_addr().expect("its address"));
            let (server, _) = listener.accept().expect("the client");
            (Wire::Tcp(client.expect("a connection")), Wire::Tcp(server))
        }
        Kind::UnixStream => {
            let at = abstract_name(&format!("raw-{round}"));
            let listener = UnixListener::bind_addr(&at).expect("a name");
            let client = UnixStream::connect_addr(&at).expect("a connection");
            let (server, _) = listener.accept().expect("the client");
            (Wire::Unix(client), Wire::Unix(server))
        }
        Kind::UnixDatagram => {
            let [there, back] = ["there", "back"].map(|end| {
                let at = abstract_name(&format!("raw-{end}-{round}"));
                (UnixDatagram::bind_addr(&at).expect("a name"), at)
            });
            (
                Wire::Datagram(there.0, back.1),
                Wire::Datagram(back.0, there.1),
            )
        }
    };
    (pair.0.spinning(), pair.1.spinning())
}

fn raw_echo(plan: &Plan, kind: Kind, round: usize) -> Vec<u64> {
    let (client, mut server) = raw_pair(kind, round);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            core_affinity::set_for_current(plan.cores[1]);
            let mut buf = [0; BLOCK_BYTES];
            while let Some(count) = server.until(|wire| wire.recv(&mut buf), &over) {
                if count == 0 || server.send_all(&buf[..count], &over).is_none() {
                    return;
                }
            }
        });
        let spans_ns = trips(plan, kind, client);
        over.store(true, Ordering::Relaxed);
        spans_ns
    })
}

/// Nanoseconds from the first message to the last.
fn raw_bulk(plan: &Plan, kind: Kind, round: usize) -> u64 {
    let (client, mut server) = raw_pair(kind, round + 1_000_000);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            core_affinity::set_for_current(plan.cores[1]);
            let mut decoder = Decoder::new(Framing::new(Prefix::U32Be, PAYLOAD_BYTES));
            let mut found = 0;
            while found < plan.messages {
                let space = decoder.space();
                let Some(count) = server.until(|wire| wire.recv(space), &over) else {
                    break;
                };
                if kind == Kind::UnixDatagram {
                    found += 1;
                    continue;
                }
                decoder.filled(count);
                while let Ok(Some(message)) = decoder.next_message() {
                    std::hint::black_box(message);
                    found += 1;
                }
            }
        });
        let begin_ns = plan.clock.stamp();
        scope.spawn(|| pour(plan, kind, client));
        let _ = reader.join();
        plan.clock.stamp_after() - begin_ns
    })
}

/// A line on the second core.
fn start(plan: &Plan, mut line: Builder, nodes: &[&str]) -> Running {
    line.placement(Placement {
        threads: vec![ThreadSpec {
            name: "line".into(),
            core: Some(plan.cores[1].id),
            wait: Some(Strategy::Spin),
            nodes: nodes.iter().map(|node| (*node).to_owned()).collect(),
            ..ThreadSpec::default()
        }],
        ..Placement::default()
    });
    let line = line.build().expect("a right line");
    line.start().expect("it starts")
}

fn connect(shared: &SharedStream) -> Wire {
    let wire = match shared.endpoint().expect("it listens") {
        Endpoint::Tcp(addr) => Wire::Tcp(TcpStream::connect(addr).expect("a connection")),
        Endpoint::Abstract(name) => {
            let at = SocketAddr::from_abstract_name(name).expect("its name");
            Wire::Unix(UnixStream::connect_addr(&at).expect("a connection"))
        }
        Endpoint::Path(path) => Wire::Unix(UnixStream::connect(path).expect("a connection")),
    };
    wire.spinning()
}

fn shared(kind: Kind, round: usize) -> SharedStream {
    match kind {
        Kind::Tcp => shared_tcp("127.0.0.1:0"),
        _ => shared_unix(&format!("@{}", name(&format!("line-{round}")))),
    }
    .expect("a right address")
}

/// The client's end of datagrams to and from a line.
fn datagram_client(round: usize) -> (UnixDatagram, [String; 2]) {
    let names = ["in", "out"].map(|end| name(&format!("line-{end}-{round}")));
    let at = SocketAddr::from_abstract_name(&names[1]).expect("a short name");
    (UnixDatagram::bind_addr(&at).expect("a name"), names)
}

fn line_echo(plan: &Plan, kind: Kind, round: usize) -> Vec<u64> {
    let mut line = Line::builder("echo");
    line.stage("forward", Forward::<Datagrams>::new);
    let mut datagram = None;
    let mut stream = None;
    if kind == Kind::UnixDatagram {
        let (client, [from, to]) = datagram_client(round);
        line.source("in", unix_datagram(&format!("@{from}")).decode(datagrams()));
        line.sink("out", unix_datagram_to(&format!("@{to}")));
        datagram = Some((client, from));
    } else {
        let shared = shared(kind, round);
        line.source("in", stream_on(&shared).decode(datagrams()));
        line.sink("out", stream_reply(&shared));
        stream = Some(shared);
    }
    line.connect("in", "forward", Hop::depth(1024));
    line.connect("forward", "out", Hop::depth(1024));
    let running = start(plan, line, &["in", "forward", "out"]);
    let client = match (datagram, stream) {
        (Some((client, from)), _) => {
            let at = SocketAddr::from_abstract_name(from).expect("its name");
            Wire::Datagram(client, at).spinning()
        }
        (None, Some(shared)) => connect(&shared),
        (None, None) => unreachable!("one of the two was made"),
    };
    let spans_ns = trips(plan, kind, client);
    let report = running.end("duration");
    assert!(report.is_good(), "{:?}", report.ledger.breaches);
    assert_eq!(report.hops[1].delivered as usize, WARM_UP + plan.trips);
    spans_ns
}

fn line_bulk(plan: &Plan, kind: Kind, round: usize) -> u64 {
    let round = round + 1_000_000;
    let mut line = Line::builder("bulk");
    let mut stream = None;
    let from = name(&format!("line-in-{round}"));
    if kind == Kind::UnixDatagram {
        line.source("in", unix_datagram(&format!("@{from}")).decode(datagrams()));
    } else {
        let shared = shared(kind, round);
        line.source("in", stream_on(&shared).decode(datagrams()));
        stream = Some(shared);
    }
    line.sink("end", blackhole());
    line.connect("in", "end", Hop::depth(1024));
    let mut running = start(plan, line, &["in", "end"]);
    let client = match stream {
        Some(shared) => connect(&shared),
        None => {
            let client = UnixDatagram::unbound().expect("a socket");
            let at = SocketAddr::from_abstract_name(from).expect("its name");
            Wire::Datagram(client, at).spinning()
        }
    };
    thread::scope(|scope| {
        let begin_ns = plan.clock.stamp();
        scope.spawn(|| pour(plan, kind, client));
        // Counters are read from the first core, beside the client.
        while running.report().hops[0].delivered < plan.messages as u64 {
            thread::yield_now();
        }
        let span_ns = plan.clock.stamp_after() - begin_ns;
        assert!(running.end("duration").is_good());
        span_ns
    })
}

fn quantile(sorted_ns: &[u64], quantile: f64) -> f64 {
    sorted_ns[((sorted_ns.len() - 1) as f64 * quantile) as usize] as f64
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

/// `median (lowest-highest)`.
fn spread(values: &[f64], digits: usize) -> String {
    let all = sorted(values.to_vec());
    let (middle, lowest, highest) = (all[all.len() / 2], all[0], all[all.len() - 1]);
    format!("{middle:.digits$} ({lowest:.digits$}-{highest:.digits$})")
}

fn main() {
    // cargo passes `--bench`; whatever else it passes is not for this bench.
    let quick = std::env::args().any(|argument| argument == "--quick");
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let &[first, second, ..] = &cores[..] else {
        println!(
            "stream: needs two cores, this process has {}; nothing measured",
            cores.len()
        );
        return;
    };
    let plan = Plan {
        rounds: if quick { 9 } else { 15 },
        trips: if quick { 4_000 } else { 20_000 },
        messages: if quick { 200_000 } else { 1_000_000 },
        cores: [first, second],
        clock: Clock::calibrated(),
    };
    println!(
        "echo: round trip of {PAYLOAD_BYTES} B in us over {} rounds of {} trips, cores {} and {}; median (lowest-highest)",
        plan.rounds, plan.trips, first.id, second.id
    );
    println!(
        "{:<24} {:>22} {:>22} {:>22} {:>18}",
        "", "p50", "p90", "p99", "p50 / raw"
    );
    let mut spans = vec![[const { Vec::new() }; 3]; 2 * KINDS.len()];
    for round in 0..plan.rounds {
        for turn in 0..spans.len() {
            let at = (round + turn) % spans.len();
            let (kind, round) = (KINDS[at / 2], round * 10 + at);
            let mut spans_ns = if at % 2 == 0 {
                raw_echo(&plan, kind, round)
            } else {
                line_echo(&plan, kind, round)
            };
            spans_ns.sort_unstable();
            for (kept, of) in spans[at].iter_mut().zip([0.50, 0.90, 0.99]) {
                kept.push(quantile(&spans_ns, of) / 1e3);
            }
        }
    }
    for (at, kept) in spans.iter().enumerate() {
        let raw = &spans[at & !1][0];
        let ratios: Vec<f64> = kept[0].iter().zip(raw).map(|(a, b)| a / b).collect();
        let middle = sorted(ratios.clone())[ratios.len() / 2];
        let (what, verdict) = match at % 2 {
            0 => ("raw", String::new()),
            _ if middle <= BAR => ("line", format!("  within {BAR:.2}")),
            _ => ("line", format!("  OVER {BAR:.2}")),
        };
        println!(
            "{:<24} {:>22} {:>22} {:>22} {:>18}{verdict}",
            format!("{} {what}", KINDS[at / 2].name()),
            spread(&kept[0], 2),
            spread(&kept[1], 2),
            spread(&kept[2], 2),
            spread(&ratios, 2),
        );
    }

    let mut took = vec![[const { Vec::new() }; 2]; KINDS.len()];
    for round in 0..plan.rounds {
        for (at, kind) in KINDS.into_iter().enumerate() {
            let of = round * 10 + at;
            let messages = plan.messages as f64;
            took[at][0].push(raw_bulk(&plan, kind, of) as f64 / messages);
            took[at][1].push(line_bulk(&plan, kind, of) as f64 / messages);
        }
    }
    println!(
        "\nbulk: ns a message of {PAYLOAD_BYTES} B over {} rounds of {} messages; median (lowest-highest)",
        plan.rounds, plan.messages
    );
    println!("{:<24} {:>24} {:>24}", "", "raw", "line");
    for (kind, [raw, line]) in KINDS.into_iter().zip(&took) {
        println!(
            "{:<24} {:>24} {:>24}",
            kind.name(),
            spread(raw, 0),
            spread(line, 0)
        );
    }
}
