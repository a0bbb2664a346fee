//! What the protocols of `wire` take of memory: nothing once they run, where they say so, and never
//! more than they say, whatever a peer does.

#[path = "common/counting.rs"]
mod counting;

use counting::{Counting, counted, peak};
use hopline::base::Prng;
use hopline::wire::http::{Content, RequestLimits, Requests, respond};
use hopline::wire::ndjson::{self, Lines};
use hopline::wire::sse::{self, Outgoing, Parser, encode};
use hopline::wire::websocket::{Encoded, Event, Limits, Role, WebSocket};
use hopline::wire::{Output, Session, session};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Does `work` until its buffers have grown, and then counts.
fn steady(mut work: impl FnMut()) -> u64 {
    for _ in 0..100 {
        work();
    }
    counted(|| {
        for _ in 0..1_000 {
            work();
        }
    })
}

fn socket(role: Role, message_bytes_max: usize) -> (WebSocket, Limits) {
    let limits = Limits {
        message_bytes_max,
        output_bytes_max: 2 * message_bytes_max,
    };
    (WebSocket::new(role, limits), limits)
}

/// A header of a frame that says it has so many bytes, masked if it is a client's.
fn header(first: u8, len: u64, masked: bool) -> Vec<u8> {
    let mut bytes = vec![first, 127 | if masked { 0x80 } else { 0 }];
    bytes.extend_from_slice(&len.to_be_bytes());
    bytes.extend_from_slice(if masked { &[0; 4] } else { &[] });
    bytes
}

#[test]
fn messages_in_one_frame_are_read_without_allocating() {
    let (mut client, _) = socket(Role::Client, 10_000);
    let frames = [Encoded::text("tick"), Encoded::binary(&[7; 9_000])];
    let bytes = frames.map(|frame| frame.bytes().to_vec()).concat();
    for piece in [1_000, 7_777, bytes.len()] {
        let allocated = steady(|| {
            for mut input in bytes.chunks(piece) {
                while let Some(event) = client.poll(&mut input) {
                    assert!(matches!(
                        event,
                        Event::Text("tick") | Event::Binary([7, ..])
                    ));
                }
            }
        });
        assert_eq!(allocated, 0, "in pieces of {piece}");
    }
}

#[test]
fn a_server_sends_without_allocating() {
    let (mut server, _) = socket(Role::Server, 10_000);
    let encoded = Encoded::text("tick");
    let allocated = steady(|| {
        server.send_text("tick").unwrap();
        server.send_binary(&[1; 5_000]).unwrap();
        server.send_encoded(&encoded).unwrap();
        server.written(usize::MAX);
    });
    assert_eq!(allocated, 0);
}

#[test]
fn streams_and_lines_and_requests_run_without_allocating() {
    let mut output = Output::new(1 << 12);
    let mut parser = Parser::new(sse::Limits::default());
    let mut lines = Lines::new(1 << 10);
    let mut requests = Requests::new(RequestLimits::default());
    let request = b"PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc";
    let allocated = steady(|| {
        let outgoing = Outgoing {
            id: Some("7:42"),
            event: Some("delta"),
            data: b"one\ntwo",
        };
        encode(&mut output, &outgoing).unwrap();
        for mut input in output.pending().chunks(5) {
            while parser.poll(&mut input).is_some() {}
        }
        output.written(usize::MAX);
        ndjson::write(&mut output, b"{}").unwrap();
        for mut input in output.pending().chunks(2) {
            while lines.poll(&mut input).is_some() {}
        }
        output.written(usize::MAX);
        let mut asked = 0;
        for mut input in request.chunks(20) {
            asked += u32::from(requests.poll(&mut input).unwrap().is_some());
        }
        assert_eq!(asked, 1);
        respond(&mut output, 200, &[("A", "b")], Content::Sized(b"c")).unwrap();
        output.written(usize::MAX);
    });
    assert_eq!(allocated, 0);
    let mut session = Session::new(session::SessionConfig::default(), 0);
    let mut now_ns = 0;
    let allocated = steady(|| {
        now_ns = session.next_ns();
        session.poll(now_ns);
        session.connected(now_ns);
        session.opened(now_ns);
    });
    assert_eq!(allocated, 0);
}

/// What a peer may send to take up memory, for limits of `most` bytes a message.
fn hostile(most: usize, masked: bool, prng: &mut Prng) -> Vec<Vec<u8>> {
    let body = |len: usize| vec![b'x'; len];
    let framed = |first: u8, len: usize| [header(first, len as u64, masked), body(len)].concat();
    let fragments = |first: u8, each: usize| -> Vec<u8> {
        let more = (0..most / each).flat_map(|_| framed(0x00, each));
        [framed(first, 0), more.collect(), framed(0x80, 0)].concat()
    };
    let lies = |len: u64| header(0x82, len, masked);
    let mut noise = Vec::new();
    for _ in 0..200 {
        let len = prng.below(most as u64) as usize;
        noise.extend(framed(
            [0x81, 0x82, 0x01, 0x80, 0x00, 0x89][prng.below(6) as usize],
            len % 126,
        ));
        noise.extend(framed(0x82, len));
    }
    vec![
        lies(u64::MAX),
        lies(most as u64 + 1),
        lies(most as u64),
        framed(0x81, most).repeat(3),
        framed(0x82, most - 1).repeat(3),
        fragments(0x01, 1),
        fragments(0x02, most / 3),
        fragments(0x02, most),
        fragments(0x01, 7).repeat(2),
        framed(0x89, 125).repeat(2_000),
        framed(0x00, 0).repeat(1_000),
        [framed(0x01, 0), framed(0x00, 0).repeat(5_000)].concat(),
        noise,
    ]
}

#[test]
fn a_connection_stays_within_its_memory_whatever_its_peer_sends() {
    let mut prng = Prng::new(1);
    for role in [Role::Server, Role::Client] {
        for most in [200, 5_000, 70_000] {
            for (nth, bytes) in hostile(most, role == Role::Server, &mut prng)
                .iter()
                .enumerate()
            {
                for piece in [1_009, 16 << 10, bytes.len()] {
                    let mut allowed = 0;
                    let taken = peak(|| {
                        let (mut socket, limits) = socket(role, most);
                        allowed = limits.memory_bytes() as u64;
                        let sent = vec![b'y'; most / 2];
                        for mut input in bytes.chunks(piece) {
                            while socket.poll(&mut input).is_some() {
                                let _ = socket.send_binary(&sent);
                            }
                        }
                    });
                    // What is sent is the test's own.
                    let taken = taken - (most / 2) as u64;
                    assert!(
                        taken <= allowed,
                        "{role:?} {most} {nth} in pieces of {piece}: {taken} > {allowed}"
                    );
                }
            }
        }
    }
}

#[test]
fn the_bound_of_memory_is_no_larger_than_it_has_to_be() {
    // Fragments of a long message, and a full output, come to a good part of it.
    let most = 100_000;
    let mut allowed = 0;
    let taken = peak(|| {
        let (mut socket, limits) = socket(Role::Server, most);
        allowed = limits.memory_bytes() as u64;
        while socket.send_binary(&[0; 1_000]).is_ok() {}
        let piece = [header(0x02, 50_001, true), vec![0; 50_001]].concat();
        let mut input = piece.as_slice();
        assert!(socket.poll(&mut input).is_none());
        let piece = [header(0x80, 49_999, true), vec![0; 49_999]].concat();
        let mut input = piece.as_slice();
        assert!(socket.poll(&mut input).is_some());
    });
    assert!(taken > allowed / 4, "{taken} of {allowed}");
}
