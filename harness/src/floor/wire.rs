//! Round trips over loopback sockets: answered by bare system calls, and by a line.
//!
//! Invariant: one client for both, and both in each round.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::sync::Arc;

use hopline::adapter::{
    datagrams, shared_tcp, shared_udp, shared_unix, stream_on, stream_reply, udp_on, udp_reply,
    unix_datagram, unix_datagram_to,
};
use hopline::base::primitive::{AtomicBool, Ordering, spin_hint};
use hopline::feed::Datagrams;
use hopline::host::{Pin, pin};
use hopline::io::{Endpoint, SharedStream};
use hopline::stages::Forward;
use hopline::topology::{Builder, Hop, Line, Placement, Problem, Running, ThreadSpec};
use hopline::wait::Strategy;
use hopline::wire::{Framing, Prefix};

use super::Trouble;
use super::report::Wire;
use super::share::{ROUNDS_MIN, Share};
use crate::measure::{MeasureError, Percentiles, Plan, Spans, median, ratios};

/// Bytes of a message's payload.
const BYTES: usize = 64;

/// Bytes of the length before a message on a stream.
const LENGTH_BYTES: usize = 4;

/// Room for what one read may bring: a message, and more if something is wrong.
const BUFFER_BYTES: usize = 4 * BYTES;

/// Slots of each ring: as many as a datagram of many fragments may take.
const DEPTH: usize = 1024;

/// Longest wait for an answer: loopback loses nothing, so it only ends what hangs.
const ANSWER_NS: u64 = 2_000_000_000;

/// Fewest trips of a round: of fewer a p99 would be one of two.
const TRIPS_MIN: u64 = 200;

/// Fewest trips before those.
const WARM_UP_MIN: u64 = 100;

/// A kind of socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Udp,
    Tcp,
    Unix,
    UnixDatagram,
}

impl Kind {
    pub(super) const ALL: [Kind; 4] = [Kind::Udp, Kind::Tcp, Kind::Unix, Kind::UnixDatagram];

    /// The word for it in a `line.toml`.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Kind::Udp => "udp",
            Kind::Tcp => "tcp",
            Kind::Unix => "unix",
            Kind::UnixDatagram => "unix_datagram",
        }
    }

    /// Bytes of a message as it lies on the socket: on a stream its length stands before it.
    const fn message_bytes(self) -> usize {
        match self {
            Kind::Tcp | Kind::Unix => LENGTH_BYTES + BYTES,
            Kind::Udp | Kind::UnixDatagram => BYTES,
        }
    }

    /// The message of that number.
    fn write_message(self, number: u64, to: &mut [u8]) {
        let mut payload = [0; BYTES];
        payload[..8].copy_from_slice(&number.to_le_bytes());
        match self {
            Kind::Tcp | Kind::Unix => {
                let framed = Framing::new(Prefix::U32Be, BYTES).encode(&payload, to);
                debug_assert_eq!(framed, Some(to.len()));
            }
            Kind::Udp | Kind::UnixDatagram => to.copy_from_slice(&payload),
        }
    }
}

/// Round trips over one kind of socket, `trips` in each of `rounds`, or as many of both as fit; and how
/// many rounds those were.
pub(super) fn measure(
    plan: &Plan,
    kind: Kind,
    rounds: usize,
    trips: u64,
    share: &Share<'_>,
) -> Result<(Wire, usize), Trouble> {
    let mut raw = Vec::with_capacity(rounds);
    let mut line = Vec::with_capacity(rounds);
    // Both ends of the fewest rounds fit, whatever a trip takes.
    let each_ns = share.left_ns() / (2 * ROUNDS_MIN as u64);
    for round in 0..rounds {
        if !share.has_room(round) {
            break;
        }
        // The one that goes second finds the host as the first has left it.
        for turn in 0..2 {
            if (round + turn) % 2 == 0 {
                raw.push(over_raw(plan, kind, round, (trips, each_ns))?);
            } else {
                line.push(over_line(plan, kind, round, (trips, each_ns))?);
            }
        }
    }
    let of = |runs: &[Percentiles], which: fn(&Percentiles) -> f64| -> Vec<f64> {
        runs.iter().map(which).collect()
    };
    let middle = |runs: &[Percentiles]| Percentiles {
        p50: median(&of(runs, |one| one.p50)),
        p90: median(&of(runs, |one| one.p90)),
        p99: median(&of(runs, |one| one.p99)),
    };
    let ratio = |which| median(&ratios(&of(&line, which), &of(&raw, which)));
    let measured = Wire {
        name: kind.name(),
        payload_bytes: BYTES,
        raw: middle(&raw),
        line: middle(&line),
        ratio: ratio(|one| one.p50),
        ratio_p99: ratio(|one| one.p99),
    };
    Ok((measured, raw.len()))
}

/// A socket that does not block and has one peer.
enum Socket {
    /// Connected.
    Udp(UdpSocket),
    /// Not connected: it answers who sent last, as a line does.
    Answering(UdpSocket, std::net::SocketAddr),
    Tcp(TcpStream),
    Unix(UnixStream),
    /// And where it sends to. Not connected: such a socket hears nobody but its peer, and a line
    /// answers from a socket of its own.
    Datagram(UnixDatagram, SocketAddr),
}

impl Socket {
    fn spinning(self) -> io::Result<Socket> {
        match &self {
            Socket::Udp(socket) | Socket::Answering(socket, _) => socket.set_nonblocking(true)?,
            Socket::Tcp(stream) => {
                stream.set_nodelay(true)?;
                stream.set_nonblocking(true)?;
            }
            Socket::Unix(stream) => stream.set_nonblocking(true)?,
            Socket::Datagram(socket, _) => socket.set_nonblocking(true)?,
        }
        Ok(self)
    }

    #[inline]
    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Udp(socket) => socket.send(bytes),
            Socket::Answering(socket, to) => socket.send_to(bytes, *to),
            Socket::Tcp(stream) => stream.write(bytes),
            Socket::Unix(stream) => stream.write(bytes),
            Socket::Datagram(socket, to) => socket.send_to_addr(bytes, to),
        }
    }

    #[inline]
    fn recv(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Udp(socket) => socket.recv(buf),
            Socket::Answering(socket, to) => {
                let (len, from) = socket.recv_from(buf)?;
                *to = from;
                Ok(len)
            }
            Socket::Tcp(stream) => stream.read(buf),
            Socket::Unix(stream) => stream.read(buf),
            Socket::Datagram(socket, _) => socket.recv(buf),
        }
    }
}

/// A name of this process that no other round has, for a Unix socket without a file.
fn name(of: &str, round: usize) -> String {
    format!("hopline-floor-{}-{of}-{round}", std::process::id())
}

/// The client's end and the bare loop's.
fn bare_pair(kind: Kind, round: usize) -> io::Result<(Socket, Socket)> {
    let (client, server) = match kind {
        Kind::Udp => {
            let client = UdpSocket::bind("127.0.0.1:0")?;
            let server = UdpSocket::bind("127.0.0.1:0")?;
            client.connect(server.local_addr()?)?;
            let to = client.local_addr()?;
            (Socket::Udp(client), Socket::Answering(server, to))
        }
        Kind::Tcp => {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let client = TcpStream::connect(listener.local_addr()?)?;
            (Socket::Tcp(client), Socket::Tcp(listener.accept()?.0))
        }
        Kind::Unix => {
            let at = SocketAddr::from_abstract_name(name("raw", round))?;
            let listener = UnixListener::bind_addr(&at)?;
            let client = UnixStream::connect_addr(&at)?;
            (Socket::Unix(client), Socket::Unix(listener.accept()?.0))
        }
        Kind::UnixDatagram => {
            let there = SocketAddr::from_abstract_name(name("raw-there", round))?;
            let back = SocketAddr::from_abstract_name(name("raw-back", round))?;
            let server = UnixDatagram::bind_addr(&there)?;
            let client = UnixDatagram::bind_addr(&back)?;
            (
                Socket::Datagram(client, there),
                Socket::Datagram(server, back),
            )
        }
    };
    Ok((client.spinning()?, server.spinning()?))
}

/// A loop that answers with the same bytes, by two system calls a message.
fn over_raw(
    plan: &Plan,
    kind: Kind,
    round: usize,
    trips: (u64, u64),
) -> Result<Percentiles, Trouble> {
    let (client, mut server) = bare_pair(kind, round)?;
    let over = Arc::new(AtomicBool::new(false));
    let theirs = over.clone();
    std::thread::scope(|scope| {
        let echo = scope.spawn(move || {
            pin(plan.cores[1], Pin::Require).map_err(MeasureError::from)?;
            let mut buf = [0; BUFFER_BYTES];
            // Relaxed: the flag publishes nothing but itself.
            while !theirs.load(Ordering::Relaxed) {
                match server.recv(&mut buf) {
                    // The client has gone: its own error is the news.
                    Ok(0) => break,
                    Ok(len) => answer(&mut server, &buf[..len], &theirs)?,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => spin_hint(),
                    Err(error) => return Err(Trouble::from(error)),
                }
            }
            Ok(())
        });
        let asked = ask(plan, kind, client, trips);
        over.store(true, Ordering::Relaxed);
        let echoed = echo
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let asked = asked?;
        echoed.map(|()| asked)
    })
}

/// Writes all of an answer; a stream may take it in parts.
#[inline]
fn answer(server: &mut Socket, mut bytes: &[u8], over: &AtomicBool) -> Result<(), Trouble> {
    while !bytes.is_empty() {
        match server.send(bytes) {
            Ok(len) => bytes = &bytes[len..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                spin_hint();
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// A line of a source, a stage and a sink, fused on one loop.
fn over_line(
    plan: &Plan,
    kind: Kind,
    round: usize,
    trips: (u64, u64),
) -> Result<Percentiles, Trouble> {
    let refused = |problem: Problem| Trouble::Line(problem.into());
    let mut line = Line::builder("echo");
    line.stage("forward", Forward::<Datagrams>::new);
    let core = plan.cores[1];
    let (running, client) = match kind {
        Kind::Udp => {
            // A port that was free a moment ago: a line's own socket is not to be had from outside.
            let addr = UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
            let socket = shared_udp(&addr.to_string()).map_err(refused)?;
            line.source("in", udp_on(&socket).decode(datagrams()));
            line.sink("out", udp_reply(&socket));
            let running = start(core, line)?;
            let client = UdpSocket::bind("127.0.0.1:0")?;
            client.connect(addr)?;
            (running, Socket::Udp(client))
        }
        Kind::Tcp | Kind::Unix => {
            let connections = match kind {
                Kind::Tcp => shared_tcp("127.0.0.1:0"),
                _ => shared_unix(&format!("@{}", name("line", round))),
            };
            let connections = connections.map_err(refused)?;
            line.source("in", stream_on(&connections).decode(datagrams()));
            line.sink("out", stream_reply(&connections));
            (start(core, line)?, connect(&connections)?)
        }
        Kind::UnixDatagram => {
            let [there, back] = ["line-there", "line-back"].map(|end| name(end, round));
            let client = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&back)?)?;
            line.source(
                "in",
                unix_datagram(&format!("@{there}")).decode(datagrams()),
            );
            line.sink("out", unix_datagram_to(&format!("@{back}")));
            let to = SocketAddr::from_abstract_name(there)?;
            (start(core, line)?, Socket::Datagram(client, to))
        }
    };
    let asked = ask(plan, kind, client.spinning()?, trips);
    drop(running.end("duration"));
    asked
}

fn connect(connections: &SharedStream) -> Result<Socket, Trouble> {
    Ok(match connections.endpoint() {
        Some(Endpoint::Tcp(addr)) => Socket::Tcp(TcpStream::connect(addr)?),
        Some(Endpoint::Abstract(name)) => {
            let at = SocketAddr::from_abstract_name(name)?;
            Socket::Unix(UnixStream::connect_addr(&at)?)
        }
        Some(Endpoint::Path(path)) => Socket::Unix(UnixStream::connect(path)?),
        None => return Err(Trouble::Unanswered),
    })
}

fn start(core: usize, mut line: Builder) -> Result<Running, Trouble> {
    line.connect("in", "forward", Hop::depth(DEPTH));
    line.connect("forward", "out", Hop::depth(DEPTH));
    line.placement(Placement {
        pin: Pin::Require,
        threads: vec![ThreadSpec {
            name: "echo".to_owned(),
            core: Some(core),
            wait: Some(Strategy::Spin),
            nodes: ["in", "forward", "out"].map(str::to_owned).to_vec(),
            ..ThreadSpec::default()
        }],
        ..Placement::default()
    });
    Ok(line.build()?.start()?)
}

/// The client: one message at a time, each answer checked. So many, or fewer after that time.
fn ask(
    plan: &Plan,
    kind: Kind,
    mut socket: Socket,
    (trips, most_ns): (u64, u64),
) -> Result<Percentiles, Trouble> {
    let client = move || {
        pin(plan.cores[0], Pin::Require).map_err(MeasureError::from)?;
        let clock = &plan.clock;
        let mut warm_up = (trips / 10).max(WARM_UP_MIN);
        let mut spans = Spans::new(plan.clock_step_ns);
        let mut message = [0_u8; LENGTH_BYTES + BYTES];
        let message = &mut message[..kind.message_bytes()];
        let mut answer = [0_u8; BUFFER_BYTES];
        let since_ns = clock.stamp();
        let mut number = 0;
        while number < warm_up + trips {
            kind.write_message(number, message);
            let begin_ns = clock.stamp();
            let took_ns = begin_ns - since_ns;
            if took_ns >= most_ns / 10 && number >= WARM_UP_MIN {
                warm_up = warm_up.min(number);
            }
            if took_ns >= most_ns && number >= warm_up + TRIPS_MIN {
                break;
            }
            // One message fits into any socket's buffer, whole.
            let sent = socket.send(message)?;
            let mut got = 0;
            while got < message.len() {
                match socket.recv(&mut answer[got..]) {
                    Ok(0) => return Err(Trouble::Unanswered),
                    Ok(len) => got += len,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        if clock.stamp() - begin_ns > ANSWER_NS {
                            return Err(Trouble::Unanswered);
                        }
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            let end_ns = clock.stamp_after();
            if sent != message.len() || answer[..got] != *message {
                return Err(MeasureError::Corrupt { wrong: 1, items: 1 }.into());
            }
            if number >= warm_up {
                spans.record(end_ns.saturating_sub(begin_ns));
            }
            number += 1;
        }
        Ok(spans.percentiles(1.0))
    };
    std::thread::scope(|scope| {
        scope
            .spawn(client)
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[cfg(test)]
mod tests {
    use hopline::clock::Clock;

    use super::*;

    /// Small, and without a look at the times. `None` where two threads cannot run at once.
    fn plan() -> Option<Plan> {
        Plan::new().ok().map(Plan::quick)
    }

    #[test]
    fn every_kind_is_answered_by_the_bare_loop_and_by_the_line() {
        let Some(plan) = plan() else { return };
        for kind in Kind::ALL {
            let clock = Clock::os();
            let share = Share::until(&clock, u64::MAX);
            let (wire, rounds) = measure(&plan, kind, 2, 50, &share).unwrap();
            assert_eq!(rounds, 2);
            assert_eq!((wire.name, wire.payload_bytes), (kind.name(), BYTES));
            assert!(wire.raw.p50 > 0.0 && wire.line.p50 > 0.0, "{wire:?}");
            assert!(wire.ratio > 0.0 && wire.ratio_p99 > 0.0, "{wire:?}");
        }
    }

    #[test]
    fn a_wrong_answer_and_a_closed_connection_are_told() {
        let Some(plan) = plan() else { return };
        // Answers with something else.
        let (client, mut server) = bare_pair(Kind::Unix, 1_000).unwrap();
        let wrong = std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut buf = [0; BUFFER_BYTES];
                loop {
                    match server.recv(&mut buf) {
                        Ok(0) => break,
                        Ok(len) => {
                            buf[len - 1] ^= 1;
                            server.send(&buf[..len]).unwrap();
                        }
                        Err(_) => std::thread::yield_now(),
                    }
                }
            });
            ask(&plan, Kind::Unix, client, (1, ANSWER_NS)).unwrap_err()
        });
        assert!(
            matches!(wrong, Trouble::Measure(MeasureError::Corrupt { .. })),
            "{wrong:?}"
        );
        let (client, server) = bare_pair(Kind::Unix, 1_001).unwrap();
        drop(server);
        assert!(ask(&plan, Kind::Unix, client, (1, ANSWER_NS)).is_err());
    }
}
