//! The server's half of a WebSocket's opening handshake, on the machine's own sockets.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use hopline::wire::Output;
use hopline::wire::http::{RequestLimits, Requests};
use hopline::wire::websocket::Offer;

/// Takes the one who connects, and answers its handshake.
pub(crate) fn accept(listener: &TcpListener) -> TcpStream {
    let (mut stream, _) = listener.accept().unwrap();
    let mut requests = Requests::new(RequestLimits::default());
    let mut output = Output::new(4096);
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "it ended within its handshake");
        let mut input = &buffer[..count];
        if let Some(request) = requests.poll(&mut input).unwrap() {
            let offer = Offer::of(&request).unwrap();
            offer.accept(&mut output, None).unwrap();
            break;
        }
    }
    stream.write_all(output.pending()).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}
