//! The client: every message goes out masked, every answer is compared with it.
//!
//! One connection is read without asking, many are reported by a poll; the client spins either way.
//!
//! Invariant: the same for all servers, to the byte.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

use hopline::base::primitive::spin_hint;
use hopline::clock::Clock;
use hopline::wire::Output;
use hopline::wire::websocket::Opening;
use hopline_harness::measure::{Percentiles, Plan, Spans};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::{PAYLOAD_BYTES, WINDOW};

/// Bytes of a frame of a client: two, a mask, the payload.
const SENT_BYTES: usize = 6 + PAYLOAD_BYTES;
/// Bytes of a frame of a server.
const CAME_BYTES: usize = 2 + PAYLOAD_BYTES;
/// Binary, whole.
const OPCODE: u8 = 0x82;
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
/// How long nothing may come, in nanoseconds.
const PATIENCE_NS: u64 = 10_000_000_000;

/// What driving came to.
#[derive(Clone, Copy, Debug)]
pub struct Driven {
    /// Of round trips; of the last message of each window where there are more in flight.
    pub rtt: Percentiles,
    /// Messages a second.
    pub per_s: f64,
}

struct Conn {
    stream: TcpStream,
    /// Messages that were sent, and that came back.
    sent: u64,
    came: u64,
    /// How many there are to be.
    until: u64,
    sent_ns: u64,
    have: usize,
    input: Box<[u8; WINDOW * CAME_BYTES]>,
    output: Vec<u8>,
}

/// All connections to one server.
pub struct Load {
    conns: Vec<Conn>,
    poll: Poll,
    events: Events,
    clock: Clock,
    clock_step_ns: u64,
}

/// The payload of a message: its number, and the same bytes behind it.
const fn payload() -> [u8; PAYLOAD_BYTES] {
    [0x5a; PAYLOAD_BYTES]
}

/// A frame as it is sent, but for its number: a client that masked each byte anew would be slower than the servers.
const SENT: [u8; SENT_BYTES] = {
    let mut frame = [0; SENT_BYTES];
    frame[0] = OPCODE;
    frame[1] = 0x80 | PAYLOAD_BYTES as u8;
    let (mut at, payload) = (0, payload());
    while at < PAYLOAD_BYTES {
        frame[6 + at] = payload[at] ^ MASK[at % 4];
        at += 1;
    }
    let mut at = 0;
    while at < 4 {
        frame[2 + at] = MASK[at];
        at += 1;
    }
    frame
};

/// A frame as it has to come back, but for its number.
const CAME: [u8; CAME_BYTES] = {
    let mut frame = [payload()[0]; CAME_BYTES];
    frame[0] = OPCODE;
    frame[1] = PAYLOAD_BYTES as u8;
    frame
};

fn sent(number: u64) -> [u8; SENT_BYTES] {
    let mut frame = SENT;
    let mask = u32::from_ne_bytes(MASK);
    let wide = u64::from(mask) << 32 | u64::from(mask);
    let masked = u64::from_ne_bytes(number.to_le_bytes()) ^ wide;
    frame[6..14].copy_from_slice(&masked.to_ne_bytes());
    frame
}

fn came(number: u64) -> [u8; CAME_BYTES] {
    let mut frame = CAME;
    frame[2..10].copy_from_slice(&number.to_le_bytes());
    frame
}

impl Conn {
    fn open(at: SocketAddr) -> io::Result<Conn> {
        let mut stream = std::net::TcpStream::connect(at)?;
        stream.set_nodelay(true)?;
        let opening = Opening::new("echo", "/").ok_or(ErrorKind::InvalidInput)?;
        let mut request = Output::new(4096);
        let nonce = [7; 16];
        opening
            .write(&mut request, nonce)
            .map_err(io::Error::other)?;
        stream.write_all(request.pending())?;
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        if !head.starts_with(b"HTTP/1.1 101 ") {
            return Err(io::Error::other("the server opens no WebSocket"));
        }
        stream.set_nonblocking(true)?;
        Ok(Conn {
            stream: TcpStream::from_std(stream),
            sent: 0,
            came: 0,
            until: 0,
            sent_ns: 0,
            have: 0,
            input: Box::new([0; WINDOW * CAME_BYTES]),
            output: Vec::with_capacity(WINDOW * SENT_BYTES),
        })
    }

    /// Sends so many messages in one write.
    fn send(&mut self, window: usize, clock: &Clock) -> Result<(), String> {
        self.output.clear();
        for _ in 0..window {
            self.output.extend_from_slice(&sent(self.sent));
            self.sent += 1;
        }
        self.sent_ns = clock.stamp();
        let mut bytes = &self.output[..];
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => spin_hint(),
                Err(error) => return Err(format!("the server is gone: {error}")),
            }
        }
        Ok(())
    }

    /// Reads what is there, and says whether all that was sent has come back.
    fn receive(&mut self) -> Result<bool, String> {
        let count = match self.stream.read(&mut self.input[self.have..]) {
            Ok(0) => return Err("the server hung up".to_owned()),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(format!("the server is gone: {error}")),
        };
        self.have += count;
        let whole = self.have / CAME_BYTES * CAME_BYTES;
        for frame in self.input[..whole].chunks_exact(CAME_BYTES) {
            if frame != came(self.came) {
                return Err(format!("message {} came back as another", self.came));
            }
            self.came += 1;
        }
        self.input.copy_within(whole..self.have, 0);
        self.have -= whole;
        Ok(self.came == self.sent)
    }
}

impl Load {
    /// Connects so often, handshakes included.
    ///
    /// # Errors
    /// In words, what did not work.
    pub fn connect(at: SocketAddr, connections: usize, plan: &Plan) -> Result<Load, String> {
        let connect = || {
            let poll = Poll::new()?;
            let mut conns = Vec::new();
            for nth in 0..connections {
                let mut conn = Conn::open(at)?;
                let registry = poll.registry();
                // One is read without asking.
                if connections > 1 {
                    registry.register(&mut conn.stream, Token(nth), Interest::READABLE)?;
                }
                conns.push(conn);
            }
            Ok((poll, conns))
        };
        let (poll, conns) =
            connect().map_err(|error: io::Error| format!("no connection to it: {error}"))?;
        Ok(Load {
            conns,
            poll,
            events: Events::with_capacity(connections.max(1)),
            clock: plan.clock.clone(),
            clock_step_ns: plan.clock_step_ns,
        })
    }

    /// Sends `messages` in all and takes them back, `window` at a time in flight on each connection:
    /// as many whole windows as there are in them, one at the least.
    ///
    /// # Errors
    /// In words, what went wrong: the server is gone, something came back as another, or nothing does.
    pub fn drive(&mut self, window: usize, messages: u64) -> Result<Driven, String> {
        let in_flight = (self.conns.len() * window) as u64;
        let each = (messages / in_flight).max(1) * window as u64;
        let mut spans = Spans::new(self.clock_step_ns);
        let mut busy = self.conns.len();
        let began_ns = self.clock.stamp();
        for conn in &mut self.conns {
            conn.until = conn.sent + each;
            conn.send(window, &self.clock)?;
        }
        let mut heard_ns = began_ns;
        while busy > 0 {
            let mut heard = false;
            if let [conn] = &mut self.conns[..] {
                let before = conn.came;
                let whole = conn.receive()?;
                heard = conn.came > before;
                if whole && heard {
                    busy -= usize::from(next(conn, window, &mut spans, &self.clock)?);
                }
            } else {
                let polled = self
                    .poll
                    .poll(&mut self.events, Some(core::time::Duration::ZERO));
                match polled {
                    Err(error) if error.kind() != ErrorKind::Interrupted => {
                        return Err(format!("the poll failed: {error}"));
                    }
                    _ => {}
                }
                for event in &self.events {
                    let conn = &mut self.conns[event.token().0];
                    heard = true;
                    // A window may come in pieces, each of them reported; what is not is read here.
                    let before = conn.came;
                    let whole = conn.receive()?;
                    if whole && conn.came > before {
                        busy -= usize::from(next(conn, window, &mut spans, &self.clock)?);
                    }
                }
            }
            let now_ns = self.clock.stamp();
            if heard {
                heard_ns = now_ns;
            } else if now_ns - heard_ns > PATIENCE_NS {
                return Err("nothing comes back".to_owned());
            }
        }
        let span_ns = self.clock.stamp() - began_ns;
        let all = each * self.conns.len() as u64;
        Ok(Driven {
            rtt: spans.percentiles(1.0),
            per_s: all as f64 * 1e9 / span_ns as f64,
        })
    }
}

/// A window is through: notes it and sends the next one; true if there is none.
fn next(conn: &mut Conn, window: usize, spans: &mut Spans, clock: &Clock) -> Result<bool, String> {
    spans.record(clock.stamp_after() - conn.sent_ns);
    if conn.sent == conn.until {
        return Ok(true);
    }
    conn.send(window, clock)?;
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Amount, SERVERS, round};

    #[test]
    fn every_server_gives_back_what_it_gets() {
        let plan = Plan::new().unwrap();
        let amount = Amount {
            warm_up: 64,
            trips: 640,
            flat_out: 2_048,
        };
        for (name, _, start) in SERVERS {
            for connections in [1, 4, 9] {
                let figures = round(start, connections, amount, &plan)
                    .unwrap_or_else(|error| panic!("{name}, {connections}: {error}"));
                assert!(figures.flat_out_per_s > 0.0 && figures.rtt.p50 > 0.0);
            }
        }
    }

    #[test]
    fn an_answer_that_is_another_is_found() {
        use std::io::Write as _;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") {
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            stream.write_all(b"HTTP/1.1 101 x\r\n\r\n").unwrap();
            let mut frame = [0; SENT_BYTES];
            stream.read_exact(&mut frame).unwrap();
            let mut back = came(0);
            back[CAME_BYTES - 1] ^= 1;
            stream.write_all(&back).unwrap();
            stream
        });
        let plan = Plan::new().unwrap();
        let mut load = Load::connect(at, 1, &plan).unwrap();
        let error = load.drive(1, 1).unwrap_err();
        assert_eq!(error, "message 0 came back as another");
        drop(server.join().unwrap());
    }
}
