//! Frames by hand on mio's sockets: what somebody writes who wants nothing between the bytes.
//!
//! Payloads are unmasked where they lie, answers are built in one buffer a connection and leave in
//! one write a read. Few connections are read in every turn, of many those that a poll reports, as
//! hopline's echo does it. Text is not checked, fragments and messages beyond the buffer end a
//! connection: the client sends none.
//!
//! Invariant: nothing of hopline's codec is in it but the opening handshake, which is not measured.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

use hopline::base::primitive::{Ordering, spin_hint};
use hopline::clock::Clock;
use hopline::wire::Output;
use hopline::wire::http::{RequestLimits, Requests};
use hopline::wire::websocket::Offer;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use crate::{Ends, Server};

/// Connections up to which each is read in every turn.
const HOT_MAX: usize = 4;
/// Turns between two polls, while there are few.
const LOOK_TURNS: u32 = 64;
/// Bytes that are read at a time.
const BUFFER_BYTES: usize = 64 << 10;

const LISTENER: Token = Token(usize::MAX);

struct Conn {
    stream: TcpStream,
    opening: Option<Requests>,
    input: Box<[u8]>,
    have: usize,
    output: Vec<u8>,
    /// The system took not all of it: what is left waits for a report.
    full: bool,
}

struct ByHand {
    poll: Poll,
    listener: TcpListener,
    conns: Vec<Option<Conn>>,
    live: usize,
}

/// Starts it on that core.
///
/// # Errors
/// In words, what did not open.
pub fn start(core: usize, _clock: &Clock) -> Result<Server, String> {
    Server::start(core, open, |mut server: ByHand, ends| server.run(&ends))
}

fn open() -> Result<(ByHand, SocketAddr), String> {
    let open = || {
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind(([127, 0, 0, 1], 0).into())?;
        let registry = poll.registry();
        registry.register(&mut listener, LISTENER, Interest::READABLE)?;
        let at = listener.local_addr()?;
        let server = ByHand {
            poll,
            listener,
            conns: Vec::new(),
            live: 0,
        };
        Ok((server, at))
    };
    open().map_err(|error: std::io::Error| error.to_string())
}

impl ByHand {
    fn run(&mut self, ends: &Ends) -> Result<(), String> {
        let mut events = Events::with_capacity(1024);
        let mut turns = 0_u32;
        while !ends.load(Ordering::Relaxed) {
            turns = turns.wrapping_add(1);
            let crowded = self.live > HOT_MAX;
            if crowded || turns.is_multiple_of(LOOK_TURNS) {
                let polled = self
                    .poll
                    .poll(&mut events, Some(core::time::Duration::ZERO));
                match polled {
                    Err(error) if error.kind() != ErrorKind::Interrupted => {
                        return Err(error.to_string());
                    }
                    _ => {}
                }
                for event in &events {
                    match event.token() {
                        LISTENER => self.accept()?,
                        Token(at) => {
                            if event.is_writable() {
                                self.flush(at);
                            }
                            if event.is_readable() || event.is_read_closed() {
                                self.serve(at, event.is_read_closed());
                            }
                        }
                    }
                }
            }
            if !crowded {
                for at in 0..self.conns.len() {
                    self.serve(at, false);
                }
            }
            spin_hint();
        }
        Ok(())
    }

    fn accept(&mut self) -> Result<(), String> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.to_string()),
            };
            let free = self.conns.iter().position(Option::is_none);
            let at = free.unwrap_or(self.conns.len());
            let interest = Interest::READABLE | Interest::WRITABLE;
            let ready = stream.set_nodelay(true).and_then(|()| {
                self.poll
                    .registry()
                    .register(&mut stream, Token(at), interest)
            });
            ready.map_err(|error| error.to_string())?;
            let conn = Conn {
                stream,
                opening: Some(Requests::new(RequestLimits::default())),
                input: vec![0; BUFFER_BYTES].into_boxed_slice(),
                have: 0,
                output: Vec::with_capacity(BUFFER_BYTES),
                full: false,
            };
            match self.conns.get_mut(at) {
                Some(place) => *place = Some(conn),
                None => self.conns.push(Some(conn)),
            }
            self.live += 1;
            // It may have sent something by now that is reported only once.
            self.serve(at, false);
        }
    }

    fn flush(&mut self, at: usize) {
        if let Some(Some(conn)) = self.conns.get_mut(at)
            && conn.full
            && !conn.write()
        {
            self.hang_up(at);
        }
    }

    fn serve(&mut self, at: usize, closed: bool) {
        let Some(Some(conn)) = self.conns.get_mut(at) else {
            return;
        };
        if !conn.serve(closed) {
            self.hang_up(at);
        }
    }

    fn hang_up(&mut self, at: usize) {
        if let Some(mut conn) = self.conns[at].take() {
            let _ = self.poll.registry().deregister(&mut conn.stream);
            self.live -= 1;
        }
    }
}

impl Conn {
    /// Reads and answers; false if the connection is over. One that was `closed` is read to its end.
    fn serve(&mut self, closed: bool) -> bool {
        loop {
            let space = &mut self.input[self.have..];
            let room = space.len();
            match self.stream.read(space) {
                Ok(0) => return false,
                Ok(count) => {
                    self.have += count;
                    if !self.take() || !self.write() {
                        return false;
                    }
                    // A read that was not filled has emptied the socket.
                    if count < room && !closed {
                        return true;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(_) => return false,
            }
        }
    }

    fn take(&mut self) -> bool {
        if let Some(requests) = &mut self.opening {
            let mut input = &self.input[..self.have];
            let mut answer = Output::new(4096);
            let accepted = match requests.poll(&mut input) {
                Ok(None) => {
                    self.have = 0;
                    return true;
                }
                Ok(Some(request)) => {
                    let offer = Offer::of(&request);
                    offer.is_ok_and(|offer| offer.accept(&mut answer, None).is_ok())
                }
                Err(_) => false,
            };
            let left = input.len();
            self.output.extend_from_slice(answer.pending());
            self.input.copy_within(self.have - left..self.have, 0);
            self.have = left;
            self.opening = None;
            if !accepted {
                return false;
            }
        }
        let mut start = 0;
        while let Some(used) = self.frame(start) {
            match used {
                0 => return false,
                used => start += used,
            }
        }
        self.input.copy_within(start..self.have, 0);
        self.have -= start;
        self.have < self.input.len()
    }

    /// Answers the frame that begins there: its bytes, none if it is not whole, 0 for the end.
    fn frame(&mut self, start: usize) -> Option<usize> {
        let input = &mut self.input[start..self.have];
        let &[first, second, ..] = &*input else {
            return None;
        };
        let (header, len) = match second & 0x7f {
            126 => {
                let len = input.get(2..4)?;
                (4, usize::from(u16::from_be_bytes([len[0], len[1]])))
            }
            127 => return Some(0),
            short => (2, usize::from(short)),
        };
        // Whole texts and bytes, masked, are all that is spoken.
        if second & 0x80 == 0 || !matches!(first, 0x81 | 0x82) {
            return Some(0);
        }
        let whole = header + 4 + len;
        let (mask, payload) = input.get_mut(header..whole)?.split_at_mut(4);
        let mask = u32::from_ne_bytes([mask[0], mask[1], mask[2], mask[3]]);
        let wide = u64::from(mask) << 32 | u64::from(mask);
        let mut words = payload.chunks_exact_mut(8);
        for word in &mut words {
            let bytes: &mut [u8; 8] = word.try_into().ok()?;
            *bytes = (u64::from_ne_bytes(*bytes) ^ wide).to_ne_bytes();
        }
        for (byte, mask) in words.into_remainder().iter_mut().zip(mask.to_ne_bytes()) {
            *byte ^= mask;
        }
        self.output.push(first);
        match len {
            0..126 => self.output.push(len as u8),
            _ => {
                self.output.push(126);
                self.output.extend((len as u16).to_be_bytes());
            }
        }
        self.output.extend_from_slice(payload);
        Some(whole)
    }

    /// Writes what there is; false if the connection is broken.
    fn write(&mut self) -> bool {
        let mut written = 0;
        while written < self.output.len() {
            match self.stream.write(&self.output[written..]) {
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        self.full = written < self.output.len();
        self.output.drain(..written);
        true
    }
}
