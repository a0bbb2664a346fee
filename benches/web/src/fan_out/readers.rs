//! The clients: all of them on one thread, each message's number compared with the one that has to come.
//!
//! Invariant: the same for all servers; what a server says before the first numbered message is passed over.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use hopline::base::primitive::{Arc, AtomicBool, AtomicU64, Ordering, spin_hint};
use hopline::clock::Clock;
use hopline::wire::Output;
use hopline::wire::websocket::Opening;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

/// The number of the first message: all have as many digits.
pub const NUMBERED: u64 = 10_000_000;
const DIGITS: usize = 8;
/// Bytes that are read at a time: more than a turn has for a client.
const BUFFER_BYTES: usize = 16 << 10;
/// How long nothing may come, in nanoseconds.
const PATIENCE_NS: u64 = 10_000_000_000;

/// How far both sides are.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    ready: AtomicBool,
    gave_up: AtomicBool,
    read: AtomicU64,
}

impl Progress {
    /// All clients are in.
    pub fn all_are_in(&self) {
        // Relaxed here and below: what is told is the value itself.
        self.0.ready.store(true, Ordering::Relaxed);
    }

    /// Whether all clients are in.
    ///
    /// # Errors
    /// They gave up.
    pub fn are_all_in(&self) -> Result<bool, String> {
        self.go_on()?;
        Ok(self.0.ready.load(Ordering::Relaxed))
    }

    /// A client found something wrong: nobody waits any more.
    pub fn give_up(&self) {
        self.0.gave_up.store(true, Ordering::Relaxed);
    }

    fn go_on(&self) -> Result<(), String> {
        match self.0.gave_up.load(Ordering::Relaxed) {
            true => Err("the clients gave up".to_owned()),
            false => Ok(()),
        }
    }

    /// Waits until the clients have read so many messages, all together.
    ///
    /// # Errors
    /// They gave up.
    pub fn await_read(&self, messages: u64) -> Result<(), String> {
        while self.0.read.load(Ordering::Relaxed) < messages {
            self.go_on()?;
            spin_hint();
        }
        Ok(())
    }
}

struct Reader {
    stream: TcpStream,
    /// The beginning of a message that has not come whole.
    kept: Vec<u8>,
    next: u64,
}

/// All clients of a server.
pub struct Readers {
    all: Vec<Reader>,
    poll: Poll,
    progress: Progress,
    /// Where all of them read into, one after the other.
    buffer: Box<[u8]>,
}

impl Readers {
    /// Connects so many, and waits until the server has let each of them in.
    ///
    /// # Errors
    /// In words, what did not work.
    pub fn connect(at: SocketAddr, clients: usize, progress: &Progress) -> Result<Readers, String> {
        let connect = || {
            let poll = Poll::new()?;
            let mut all = Vec::with_capacity(clients);
            for nth in 0..clients {
                let mut reader = Reader::open(at)?;
                poll.registry()
                    .register(&mut reader.stream, Token(nth), Interest::READABLE)?;
                all.push(reader);
            }
            Ok((poll, all))
        };
        let (poll, all) = connect().map_err(|error: std::io::Error| {
            format!("no connection (ulimit -n has to be twice the clients): {error}")
        })?;
        Ok(Readers {
            all,
            poll,
            progress: progress.clone(),
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
        })
    }

    /// Reads so many messages with each client.
    ///
    /// # Errors
    /// In words, what went wrong: the server is gone, a message is another than the next, or nothing comes.
    pub fn read(&mut self, each: u64) -> Result<(), String> {
        let clock = Clock::os();
        let all = each * self.all.len() as u64;
        let mut events = Events::with_capacity(self.all.len());
        let (mut count, mut heard_ns) = (0, clock.stamp());
        // What came with the answer to the handshake is reported by nobody.
        for reader in &mut self.all {
            count += reader.take(&mut self.buffer)?;
        }
        while count < all {
            let polled = self.poll.poll(&mut events, Some(Duration::ZERO));
            if let Err(error) = polled
                && error.kind() != ErrorKind::Interrupted
            {
                return Err(format!("the poll failed: {error}"));
            }
            for event in &events {
                count += self.all[event.token().0].take(&mut self.buffer)?;
            }
            self.progress.0.read.store(count, Ordering::Relaxed);
            let now_ns = clock.stamp();
            if !events.is_empty() {
                heard_ns = now_ns;
            } else if now_ns - heard_ns > PATIENCE_NS {
                return Err(format!("{count} of {all} messages came, and no more"));
            }
        }
        Ok(())
    }
}

impl Reader {
    fn open(at: SocketAddr) -> std::io::Result<Reader> {
        let mut stream = std::net::TcpStream::connect(at)?;
        stream.set_nodelay(true)?;
        let opening = Opening::new(&at.to_string(), "/stream/ticks/all?snapshot=0");
        let opening = opening.ok_or(ErrorKind::InvalidInput)?;
        let mut request = Output::new(4096);
        let written = opening.write(&mut request, [7; 16]);
        written.map_err(std::io::Error::other)?;
        stream.write_all(request.pending())?;
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        if !head.starts_with(b"HTTP/1.1 101 ") {
            let what = String::from_utf8_lossy(&head).into_owned();
            return Err(std::io::Error::other(what));
        }
        stream.set_nonblocking(true)?;
        Ok(Reader {
            stream: TcpStream::from_std(stream),
            kept: Vec::new(),
            next: NUMBERED,
        })
    }

    /// Reads what there is, and says how many messages it was.
    fn take(&mut self, buffer: &mut [u8]) -> Result<u64, String> {
        let mut count = 0;
        loop {
            let have = self.kept.len();
            buffer[..have].copy_from_slice(&self.kept);
            let read = match self.stream.read(&mut buffer[have..]) {
                Ok(0) => return Err("the server hung up".to_owned()),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(count),
                Err(error) => return Err(format!("the server is gone: {error}")),
            };
            let mut input = &buffer[..have + read];
            while let Some((from, to)) = frame(input) {
                count += self.check(&input[from..to])?;
                input = &input[to..];
            }
            self.kept.clear();
            self.kept.extend_from_slice(input);
            // A read that was not filled has emptied the socket.
            if have + read < buffer.len() {
                return Ok(count);
            }
        }
    }

    fn check(&mut self, payload: &[u8]) -> Result<u64, String> {
        let digits = payload
            .strip_suffix(b"}")
            .and_then(|rest| rest.get(rest.len().checked_sub(DIGITS + 1)?..))
            .and_then(|rest| rest.strip_prefix(b":"))
            .and_then(|digits| core::str::from_utf8(digits).ok());
        match digits.and_then(|digits| digits.parse::<u64>().ok()) {
            Some(number) if number == self.next => {
                self.next += 1;
                Ok(1)
            }
            None if self.next == NUMBERED => Ok(0),
            _ => Err(format!(
                "message {} has to come, and it is {}",
                self.next - NUMBERED,
                String::from_utf8_lossy(payload)
            )),
        }
    }
}

/// Where the payload of the frame is that begins there, if it is whole.
fn frame(bytes: &[u8]) -> Option<(usize, usize)> {
    let from = match bytes.get(1)? {
        126 => 4,
        _ => 2,
    };
    let len = match bytes[1] {
        126 => usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?])),
        len => usize::from(len),
    };
    (bytes.len() >= from + len).then_some((from, from + len))
}
