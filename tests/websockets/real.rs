//! On the machine's own sockets.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use hopline::adapter::{blackhole, datagrams, websocket};
use hopline::topology::{Hop, Line, Placement, Running};
use hopline::wait::Strategy;
use hopline::wire::websocket::{Event, Limits, Role, WebSocket};

use crate::handshake;
use crate::rig::S;

const PATIENCE: Duration = Duration::from_secs(30);

/// A line with a source that connects to there.
fn line(at: SocketAddr, wait: Strategy) -> Running {
    let mut line = Line::builder("ws");
    line.source("in", websocket(&format!("ws://{at}/")).decode(datagrams()));
    line.sink("end", blackhole());
    line.connect("in", "end", Hop::depth(64));
    line.placement(Placement {
        wait: Some(wait),
        ..Placement::default()
    });
    line.build().unwrap().start().unwrap()
}

#[test]
fn a_peer_that_floods_and_reads_late_is_answered_again_once_it_reads() {
    const PINGS: usize = 150_000;
    // A loop that spins is told by nobody that there is room again.
    for wait in [Strategy::Spin, Strategy::PARK] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let running = line(listener.local_addr().unwrap(), wait);
        let mut stream = handshake::accept(&listener);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        // More of pongs than sockets hold.
        let ping = [&[0x89, 125][..], &[b'p'; 125]].concat();
        let pings = ping.repeat(1_000);
        for _ in 0..PINGS / 1_000 {
            stream.write_all(&pings).unwrap();
        }
        let limits = Limits {
            output_bytes_max: 1 << 20,
            ..Limits::default()
        };
        let mut socket = WebSocket::new(Role::Server, limits);
        let (mut buffer, mut asked, mut answered) = (vec![0; 64 << 10], 0, false);
        while !answered {
            let count = stream.read(&mut buffer).unwrap();
            assert!(count > 0, "it hung up");
            let mut input = &buffer[..count];
            while let Some(event) = socket.poll(&mut input) {
                answered |= event == Event::Pong(b"last");
            }
            // One for which there was no room either is asked for again.
            asked += 1;
            stream.write_all(b"\x89\x04last").unwrap();
        }
        stream.write_all(b"\x81\x04tick\x88\x00").unwrap();
        while stream.read(&mut buffer).is_ok_and(|count| count > 0) {}
        let report = running.end("duration");
        assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
        let source = &report.ledger.sources["in"];
        let link = source.link.as_ref().unwrap();
        assert_eq!((source.ingested, source.rejected.len()), (1, 0));
        assert_eq!((link.opened, link.outages), (1, 1));
        assert_eq!(link.pinged, (PINGS + asked) as u64);
        assert!(link.pongs_dropped > 0, "{link:?}");
    }
}

#[test]
fn health_shows_where_it_stands_and_when_the_next_try_is() {
    // A port that nobody listens at.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap();
    drop(taken);
    let mut running = line(at, Strategy::PARK);
    let mut seen = None;
    for _ in 0..100_000 {
        let health = running.health();
        let node = health.nodes.iter().find(|node| node.name == "in").unwrap();
        let link = node.link.clone().unwrap_or_default();
        if link.state == "backing_off" {
            let retry_in_ns = link.retry_in_ns.expect("it will be tried again");
            assert!(retry_in_ns <= 2 * S, "{retry_in_ns}");
            assert_eq!((link.last_lost, link.dials), (Some("refused"), 1));
            assert!(
                health.is_live(),
                "a peer that is away is no fault of the line"
            );
            seen = Some(link);
            break;
        }
        std::thread::yield_now();
    }
    assert!(seen.is_some(), "it never backed off");
    let report = running.end("duration");
    assert!(report.ledger.closed);
    assert!(
        report.faults[0].contains("nobody listens there"),
        "{:?}",
        report.faults
    );
}
