//! On the machine's own sockets.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use hopline::adapter::{
    Content, blackhole, datagrams, shared_tcp, shared_unix, stream_on, stream_reply, synthetic,
    tcp, tcp_from, tcp_to, unix_datagram, unix_datagram_to, unix_to,
};
use hopline::io::{Endpoint, SharedStream};
use hopline::topology::{Hop, Line, Running};
use hopline::wait::Strategy;

use crate::{counts, ended, framed, on_threads, waiting};

const PATIENCE: Duration = Duration::from_secs(20);

fn tcp_addr(of: &SharedStream) -> SocketAddr {
    match of.endpoint().unwrap() {
        Endpoint::Tcp(addr) => addr,
        other => panic!("{other} is no TCP address"),
    }
}

fn client(of: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(of).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.set_write_timeout(Some(PATIENCE)).unwrap();
    client.set_nodelay(true).unwrap();
    client
}

fn read_message(from: &mut impl Read) -> Vec<u8> {
    let mut len = [0; 4];
    from.read_exact(&mut len).unwrap();
    let mut message = vec![0; u32::from_be_bytes(len) as usize];
    from.read_exact(&mut message).unwrap();
    message
}

/// Until the other end closes.
fn read_to_end(from: &mut impl Read) -> Vec<u8> {
    let mut out = Vec::new();
    match from.read_to_end(&mut out) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    out
}

/// An echo of at most `connections`, on one thread or on two.
fn echo(connections: usize, wait: Strategy) -> (Running, SocketAddr) {
    let shared = shared_tcp("127.0.0.1:0").unwrap();
    let mut line = Line::builder("echo");
    let source = stream_on(&shared).connections(connections);
    line.source("in", source.decode(datagrams().at_most(16_000)));
    line.sink("out", stream_reply(&shared));
    line.connect("in", "out", Hop::depth(1024));
    let running = waiting(&mut line, wait);
    let addr = tcp_addr(&shared);
    (running, addr)
}

#[test]
fn each_reply_goes_to_the_connection_that_asked() {
    // Spinning loops never poll by themselves, parked ones do nothing else.
    for wait in [Strategy::YIELD, Strategy::Spin, Strategy::PARK] {
        let (running, addr) = echo(64, wait);
        let mut clients: Vec<TcpStream> = (0..12).map(|_| client(addr)).collect();
        for len in [0, 1, 75, 76, 1_472, 16_000] {
            for (at, client) in clients.iter_mut().enumerate() {
                client.write_all(&framed(&vec![at as u8; len])).unwrap();
            }
            for (at, client) in clients.iter_mut().enumerate() {
                assert!(
                    read_message(client) == vec![at as u8; len],
                    "{len} bytes to {at}"
                );
            }
        }
        drop(clients);
        let report = ended(running);
        let source = &report.ledger.sources["in"];
        assert_eq!(
            (source.received, source.ingested, source.connected),
            (72, 72, 12)
        );
        assert_eq!(report.faults, Vec::<String>::new());
    }
}

#[test]
fn a_client_that_sends_byte_by_byte_is_served_as_any_other() {
    let (running, addr) = echo(4, Strategy::YIELD);
    let mut slow = client(addr);
    let mut fast = client(addr);
    for byte in framed(b"byte by byte") {
        slow.write_all(&[byte]).unwrap();
        fast.write_all(&framed(b"beside it")).unwrap();
        assert_eq!(read_message(&mut fast), b"beside it");
    }
    assert_eq!(read_message(&mut slow), b"byte by byte");
    let report = ended(running);
    assert_eq!(
        counts(&report.ledger.sources["in"].disconnected),
        [("ended", 2)]
    );
}

#[test]
fn requests_before_a_half_close_are_answered_and_then_it_is_closed() {
    let (running, addr) = echo(4, Strategy::YIELD);
    let mut client = client(addr);
    let requests: Vec<u8> = (0..500_u32)
        .flat_map(|n| framed(&n.to_be_bytes()))
        .collect();
    client.write_all(&requests).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    // Ends because the source closes it, after the last reply.
    assert!(read_to_end(&mut client) == requests);
    let report = ended(running);
    let source = &report.ledger.sources["in"];
    assert_eq!((source.received, source.ingested), (500, 500));
    assert_eq!(counts(&source.disconnected), [("finished", 1)]);
}

#[test]
fn messages_that_are_cut_off_and_lengths_over_the_limit_are_counted() {
    let (mut running, addr) = echo(8, Strategy::YIELD);
    let mut cut = client(addr);
    cut.write_all(&framed(b"whole")).unwrap();
    assert_eq!(read_message(&mut cut), b"whole");
    cut.write_all(&framed(b"never finished")[..9]).unwrap();
    cut.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&mut cut), b"");

    let mut long = client(addr);
    long.write_all(&framed(b"whole")).unwrap();
    assert_eq!(read_message(&mut long), b"whole");
    long.write_all(&[0xff; 64]).unwrap();
    assert_eq!(read_to_end(&mut long), b"", "it is closed");

    // A peer that closes over what it has not read sends a reset.
    let mut reset = client(addr);
    reset.write_all(&framed(b"whole")).unwrap();
    assert_eq!(reset.peek(&mut [0]).unwrap(), 1);
    reset.write_all(&[0, 0]).unwrap();
    drop(reset);
    let again = client(addr);
    wait_for(&mut running, "in", |source| {
        source.disconnected.values().sum::<u64>() == 3
    });
    drop(again);

    let report = ended(running);
    let source = &report.ledger.sources["in"];
    assert_eq!((source.ingested, source.received), (3, 6));
    assert_eq!(
        counts(&source.rejected),
        [("too_long", 1), ("truncated", 2)]
    );
    let ends = &source.disconnected;
    assert_eq!(
        (ends["cut_off"], ends["too_long"], ends["reset"]),
        (1, 1, 1),
        "{ends:?}"
    );
}

/// Asks a running line until its source is as wanted.
fn wait_for(
    running: &mut Running,
    source: &str,
    wanted: impl Fn(&hopline::budget::report::SourceReport) -> bool,
) {
    let mut seen = None;
    for _ in 0..20_000 {
        let report = running.report();
        let found = &report.ledger.sources[source];
        if wanted(found) {
            return;
        }
        seen = Some(found.clone());
        std::thread::yield_now();
    }
    panic!("it never came: {seen:?}");
}

#[test]
fn a_thousand_come_and_go_and_one_too_many_is_turned_away() {
    let (running, addr) = echo(3, Strategy::YIELD);
    for number in 0..1_000_u32 {
        let mut client = client(addr);
        client.write_all(&framed(&number.to_be_bytes())).unwrap();
        assert_eq!(read_message(&mut client), number.to_be_bytes());
    }
    // Those that have ended make room; those that have not do not.
    let mut three: Vec<TcpStream> = (0..3).map(|_| client(addr)).collect();
    for client in &mut three {
        client.write_all(&framed(b"held")).unwrap();
        assert_eq!(read_message(client), b"held");
    }
    let mut fourth = client(addr);
    assert_eq!(read_to_end(&mut fourth), b"", "turned away");
    drop(three);
    let report = ended(running);
    let source = &report.ledger.sources["in"];
    assert_eq!((source.connected, source.ingested), (1_004, 1_003));
    assert_eq!(
        source.disconnected["too_many"], 1,
        "{:?}",
        source.disconnected
    );
    assert_eq!(report.faults, Vec::<String>::new());
}

#[test]
fn an_address_in_use_is_named() {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = held.local_addr().unwrap().to_string();
    let mut line = Line::builder("twice");
    line.source("in", tcp(&addr).decode(datagrams()));
    line.sink("end", blackhole());
    line.connect("in", "end", Hop::depth(64));
    let error = line.build().unwrap().start().unwrap_err().to_string();
    assert_eq!(
        error,
        format!("in: cannot bind {addr}: address already in use")
    );
}

#[test]
fn a_client_that_does_not_read_is_disconnected_and_the_others_go_on() {
    let (running, addr) = echo(4, Strategy::YIELD);
    let mut deaf = client(addr);
    let block = framed(&[7; 16_000]);
    // Until nothing more is taken: every buffer on the way is full, and the line held back.
    while deaf.write(&block).is_ok_and(|count| count == block.len()) {}
    let mut other = client(addr);
    other.write_all(&framed(b"still there?")).unwrap();
    assert_eq!(read_message(&mut other), b"still there?");
    let report = ended(running);
    let sink = report
        .stages
        .iter()
        .find(|stage| stage.name == "out")
        .unwrap();
    assert!(sink.rejected["stalled"] > 0, "{:?}", sink.rejected);
    assert_eq!(report.faults, Vec::<String>::new());
}

#[test]
fn a_sink_writes_in_order_through_a_full_socket_and_a_lost_peer() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = server.local_addr().unwrap().to_string();
    let mut line = Line::builder("out");
    let feed = synthetic("BTCUSDT", 1e6).content(Content::Datagrams { bytes: 900 });
    line.source("in", feed.count(20_000).decode(datagrams()));
    line.sink("out", tcp_to(&to));
    line.connect("in", "out", Hop::depth(1024));
    let running = on_threads(&mut line);
    let (mut first, _) = server.accept().unwrap();
    // 18 MB do not fit in any buffer: the line is held back until somebody reads.
    for number in 0..5_000_u64 {
        let message = read_message(&mut first);
        assert_eq!(message[..8], number.to_le_bytes());
    }
    drop(first);
    // It comes back by itself, with what it has not given to the first one.
    let (mut second, _) = server.accept().unwrap();
    let (mut next, mut got) = (5_000, 0);
    while next < 19_999 {
        let message = read_message(&mut second);
        let number = u64::from_le_bytes(*message.first_chunk().unwrap());
        assert!(number >= next, "{number} after {next}");
        (next, got) = (number, got + 1);
    }
    assert_eq!(read_to_end(&mut second), b"");
    let report = running.end("finished");
    assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
    let sink = report
        .stages
        .iter()
        .find(|stage| stage.name == "out")
        .unwrap();
    let broken = sink.rejected.get("broken").copied().unwrap_or(0);
    assert_eq!(sink.forwarded + broken, 20_000);
    // What the kernel had taken for the first peer is lost without anybody knowing.
    assert!(sink.forwarded >= 5_000 + got, "{} {got}", sink.forwarded);
    assert_eq!(report.faults, Vec::<String>::new());
}

#[test]
fn a_source_that_connects_comes_back_after_a_loss() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut line = Line::builder("feed");
    let from = tcp_from(&server.local_addr().unwrap().to_string());
    line.source("in", from.decode(datagrams()));
    line.sink("end", blackhole());
    line.connect("in", "end", Hop::depth(256));
    let mut running = on_threads(&mut line);
    for nth in 1..=3_u64 {
        let (mut feed, _) = server.accept().unwrap();
        feed.write_all(&framed(b"tick")).unwrap();
        wait_for(&mut running, "in", |source| source.ingested == nth);
    }
    let report = ended(running);
    let source = &report.ledger.sources["in"];
    assert_eq!((source.connected, source.ingested), (3, 3));
    assert_eq!(report.faults, Vec::<String>::new());
}

#[test]
fn nobody_to_connect_to_is_said_at_the_end() {
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut line = Line::builder("feed");
    line.source("in", tcp_from(&nobody.to_string()).decode(datagrams()));
    line.sink("out", tcp_to(&nobody.to_string()));
    line.connect("in", "out", Hop::depth(256));
    let mut running = on_threads(&mut line);
    wait_for(&mut running, "in", |source| source.received == 0);
    let report = running.end("duration");
    assert!(report.ledger.closed);
    assert!(
        report
            .faults
            .iter()
            .all(|fault| fault.contains("nobody listens there")),
        "{:?}",
        report.faults
    );
    assert!(!report.faults.is_empty());
}

#[test]
fn unix_sockets_carry_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("echo.sock");
    let shared = shared_unix(path.to_str().unwrap()).unwrap();
    let mut line = Line::builder("echo");
    line.source("in", stream_on(&shared).decode(datagrams()));
    line.sink("out", stream_reply(&shared));
    line.connect("in", "out", Hop::depth(256));
    let running = on_threads(&mut line);
    let mut client = UnixStream::connect(&path).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    for len in [0, 1, 75, 76, 1_472] {
        client.write_all(&framed(&vec![3; len])).unwrap();
        assert_eq!(read_message(&mut client), vec![3; len]);
    }
    drop(client);
    ended(running);
    assert!(!path.exists(), "the file is gone with its source");

    let server = UnixListener::bind(&path).unwrap();
    let inbox = folder.path().join("in.sock");
    let out = folder.path().join("out.sock");
    let mut line = Line::builder("through");
    line.source(
        "in",
        unix_datagram(inbox.to_str().unwrap()).decode(datagrams()),
    );
    line.sink("stream", unix_to(path.to_str().unwrap()));
    line.sink("datagram", unix_datagram_to(out.to_str().unwrap()));
    line.connect("in", "stream", Hop::depth(256));
    line.connect("in", "datagram", Hop::depth(256));
    let receiver = UnixDatagram::bind(&out).unwrap();
    receiver.set_read_timeout(Some(PATIENCE)).unwrap();
    let running = on_threads(&mut line);
    let (mut stream, _) = server.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let sender = UnixDatagram::unbound().unwrap();
    let mut buf = [0; 2_000];
    for len in [0, 1, 76, 1_472] {
        let message = vec![5; len];
        sender.send_to(&message, &inbox).unwrap();
        assert_eq!(read_message(&mut stream), message);
        let count = receiver.recv(&mut buf).unwrap();
        assert_eq!(&buf[..count], message);
    }
    // A receiver that is gone is counted; one that comes back is found.
    drop(receiver);
    std::fs::remove_file(&out).unwrap();
    sender.send_to(b"to nobody", &inbox).unwrap();
    assert_eq!(read_message(&mut stream), b"to nobody");
    let receiver = UnixDatagram::bind(&out).unwrap();
    receiver.set_read_timeout(Some(PATIENCE)).unwrap();
    sender.send_to(b"again", &inbox).unwrap();
    let count = receiver.recv(&mut buf).unwrap();
    let report = running.end("duration");
    assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
    let sink = report
        .stages
        .iter()
        .find(|stage| stage.name == "datagram")
        .unwrap();
    // The first one may have been on its way when the receiver came back.
    let refused = sink.rejected.get("refused").copied().unwrap_or(0);
    assert!((&buf[..count] == b"again" && refused == 1) || refused == 0);
    assert!(!inbox.exists());
}

/// A client that nobody of this project wrote the sockets of.
const PYTHON: &str = r#"
import socket, struct, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=20)
def read(n):
    out = b""
    while len(out) < n:
        more = s.recv(n - len(out))
        assert more, "closed early"
        out += more
    return out
for n in list(range(0, 1500, 7)) + [16000]:
    message = bytes(i % 251 for i in range(n))
    s.sendall(struct.pack(">I", n) + message)
    assert struct.unpack(">I", read(4))[0] == n
    assert read(n) == message
s.shutdown(socket.SHUT_WR)
assert s.recv(1) == b""
"#;

#[test]
fn a_client_in_another_language_understands_it() {
    if Command::new("python3").arg("--version").output().is_err() {
        println!("skipped: no python3 on this machine");
        return;
    }
    let (running, addr) = echo(4, Strategy::YIELD);
    let script = ["-c", PYTHON, &addr.port().to_string()];
    let done = Command::new("python3")
        .args(script)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    let report = ended(running);
    assert_eq!(
        counts(&report.ledger.sources["in"].disconnected),
        [("finished", 1)]
    );
}
