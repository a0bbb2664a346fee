//! An edge on its own thread, with real sockets, and somebody who holds the line and answers for it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use hopline::base::limits::METRICS_ANSWER_NS;
use hopline::clock::Clock;
use hopline::edge::{AdmissionLimits, Epoch, Hub, Router, Rules, Server, ServerConfig};

fn server() -> Server {
    Server::open(ServerConfig {
        at: "127.0.0.1:0".parse().unwrap(),
        rules: Rules {
            router: Router::new(Default::default(), &[]),
            times: Default::default(),
            token: None,
        },
        admission: AdmissionLimits::default(),
        hub: Hub::new(Epoch(7)),
        budgets: Default::default(),
    })
    .unwrap()
}

fn connect(at: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(at).unwrap();
    let patience = Duration::from_nanos(10 * METRICS_ANSWER_NS);
    stream.set_read_timeout(Some(patience)).unwrap();
    stream
}

/// Asks for the health: the answer's first line.
fn ask(stream: &mut TcpStream) -> String {
    stream
        .write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    let (mut heard, mut buffer) = (String::new(), [0; 4096]);
    while !heard.ends_with("ok\n") && !heard.ends_with("answer\n") {
        let count = stream.read(&mut buffer).unwrap();
        assert_ne!(count, 0, "{heard}");
        heard.push_str(core::str::from_utf8(&buffer[..count]).unwrap());
    }
    heard.lines().next().unwrap().to_owned()
}

/// Asks again as soon as it is answered, for twice as long as an answer may take.
fn ask_on(at: SocketAddr) -> Vec<String> {
    let (mut stream, mut statuses) = (connect(at), Vec::new());
    let clock = Clock::os();
    let until_ns = clock.stamp() + 2 * METRICS_ANSWER_NS;
    while clock.stamp() < until_ns {
        statuses.push(ask(&mut stream));
    }
    statuses
}

#[test]
fn whoever_asks_without_end_has_nobody_told_that_the_line_does_not_answer() {
    let server = server();
    let at = server.address();
    let statuses = thread::scope(|scope| {
        // Of several there is always one that waits.
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(move || ask_on(at))).collect();
        while clients.iter().any(|client| !client.is_finished()) {
            if server.asked().health {
                server.tell_health(Vec::new(), true);
            }
            thread::yield_now();
        }
        let clients = clients.into_iter().map(|client| client.join().unwrap());
        clients.collect::<Vec<_>>().concat()
    });
    assert!(statuses.len() > 100, "{}", statuses.len());
    assert!(
        statuses.iter().all(|status| status == "HTTP/1.1 200 OK"),
        "{:?}",
        statuses.last()
    );
}

#[test]
fn a_line_that_does_not_answer_is_said_so() {
    let server = server();
    let status = ask(&mut connect(server.address()));
    assert_eq!(status, "HTTP/1.1 503 Service Unavailable");
}
