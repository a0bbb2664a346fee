//! A WebSocket source allocates nothing for messages that come in one frame, proven by a counting allocator.

use std::io::Write;
use std::net::{TcpListener, UdpSocket};

use hopline::adapter::{datagrams, udp_to, websocket};
use hopline::host::Pin;
use hopline::topology::{Hop, Line, Placement};
use hopline::wait::Strategy;
use hopline::wire::websocket::Encoded;

#[path = "common/counting.rs"]
mod counting;
#[path = "common/handshake.rs"]
mod handshake;

use counting::{Counting, counted_elsewhere};

#[global_allocator]
static GLOBAL: Counting = Counting;

#[test]
fn no_turn_allocates_for_a_message_in_one_frame() {
    for wait in [Strategy::YIELD, Strategy::PARK] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ends = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut line = Line::builder("ws");
        let url = format!("ws://{}/", listener.local_addr().unwrap());
        let sink = udp_to(&ends.local_addr().unwrap().to_string());
        line.source("in", websocket(&url).decode(datagrams()));
        line.sink("out", sink);
        line.connect("in", "out", Hop::depth(256));
        line.placement(Placement {
            pin: Pin::Off,
            wait: Some(wait),
            threads_max: Some(2),
            ..Placement::default()
        });
        let running = line.build().unwrap().start().unwrap();
        let mut peer = handshake::accept(&listener);
        let texts = [1, 125, 126, 1_400].map(|bytes| Encoded::text(&"x".repeat(bytes)));
        let mut buffer = [0; 2_048];
        let mut trips = |count: usize| {
            for _ in 0..count {
                for text in &texts {
                    peer.write_all(text.bytes()).unwrap();
                }
                for text in &texts {
                    let len = ends.recv(&mut buffer).unwrap();
                    assert!(text.bytes().ends_with(&buffer[..len]));
                }
            }
        };
        // What a connection costs at its beginning, it costs here.
        trips(200);
        let seen = counted_elsewhere(|| trips(500));
        assert_eq!(seen, 0, "{wait:?}");
        assert!(running.end("duration").ledger.closed);
    }
}
