//! An echo over connections allocates nothing in its turns, proven by a counting allocator.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};

use hopline::adapter::{datagrams, shared_tcp, shared_unix, stream_on, stream_reply};
use hopline::host::Pin;
use hopline::io::{Endpoint, SharedStream};
use hopline::topology::{Hop, Line, Placement, Running};
use hopline::wait::Strategy;

#[path = "common/counting.rs"]
mod counting;

use counting::{Counting, counted_elsewhere};

#[global_allocator]
static GLOBAL: Counting = Counting;

fn echo(shared: &SharedStream, wait: Strategy) -> Running {
    let mut line = Line::builder("echo");
    line.source("in", stream_on(shared).decode(datagrams()));
    line.sink("out", stream_reply(shared));
    line.connect("in", "out", Hop::depth(256));
    line.placement(Placement {
        pin: Pin::Off,
        wait: Some(wait),
        threads_max: Some(2),
        ..Placement::default()
    });
    line.build().unwrap().start().unwrap()
}

fn trips(client: &mut (impl Read + Write), count: usize, buf: &mut [u8]) {
    for _ in 0..count {
        client.write_all(b"\0\0\0\x04tick").unwrap();
        client.read_exact(&mut buf[..8]).unwrap();
        assert_eq!(&buf[..8], b"\0\0\0\x04tick");
    }
    // Several at once leave in one write; a message of many frames goes beside them.
    let mut many = [0; 8 * 100];
    for one in many.chunks_exact_mut(8) {
        one.copy_from_slice(b"\0\0\0\x04tick");
    }
    client.write_all(&many).unwrap();
    client.read_exact(&mut buf[..many.len()]).unwrap();
    let mut long = [1; 1_404];
    long[..4].copy_from_slice(&1_400_u32.to_be_bytes());
    client.write_all(&long).unwrap();
    client.read_exact(&mut buf[..long.len()]).unwrap();
    assert_eq!(buf[..long.len()], long);
}

#[test]
fn no_turn_of_an_echo_allocates() {
    let name = format!("@hopline-alloc-{}", std::process::id());
    let mut buf = vec![0; 4_096];
    for wait in [Strategy::YIELD, Strategy::PARK] {
        let shared = shared_tcp("127.0.0.1:0").unwrap();
        let running = echo(&shared, wait);
        let Endpoint::Tcp(addr) = shared.endpoint().unwrap() else {
            panic!("it is TCP");
        };
        let mut clients: Vec<TcpStream> =
            (0..6).map(|_| TcpStream::connect(addr).unwrap()).collect();
        for client in &mut clients {
            client.set_nodelay(true).unwrap();
            // What a connection costs at its beginning, it costs here.
            trips(client, 50, &mut buf);
        }
        let seen = counted_elsewhere(|| {
            for client in &mut clients {
                trips(client, 500, &mut buf);
            }
        });
        assert_eq!(seen, 0, "{wait:?}");
        assert!(running.end("duration").ledger.closed);
    }
    let shared = shared_unix(&name).unwrap();
    let running = echo(&shared, Strategy::YIELD);
    let addr = SocketAddr::from_abstract_name(&name[1..]).unwrap();
    let mut client = UnixStream::connect_addr(&addr).unwrap();
    trips(&mut client, 50, &mut buf);
    let seen = counted_elsewhere(|| trips(&mut client, 500, &mut buf));
    assert_eq!(seen, 0);
    assert!(running.end("duration").ledger.closed);
}
