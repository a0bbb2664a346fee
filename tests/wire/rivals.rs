//! Connections to tungstenite's own client and server over pipes in memory, as a peer that was
//! written by others.
//!
//! Invariant: nothing blocks: a pipe without bytes says so, and the test goes round again.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::rc::Rc;

use hopline::base::Prng;
use hopline::wire::Output;
use hopline::wire::http::{RequestLimits, Requests, Responses};
use hopline::wire::websocket::{Limits, Offer, Opening, Role, WebSocket};
use tungstenite::handshake::client::ClientHandshake;
use tungstenite::handshake::server::{NoCallback, ServerHandshake};
use tungstenite::handshake::{HandshakeError, HandshakeRole, MidHandshake};
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Error, Message};

use crate::cuts::{Heard, pieces};
use crate::websocket::frame;

/// Bytes on their way.
type Way = Rc<RefCell<VecDeque<u8>>>;

/// One end of two ways.
#[derive(Clone, Default)]
struct End {
    incoming: Way,
    outgoing: Way,
}

impl Read for End {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut bytes = self.incoming.borrow_mut();
        if bytes.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        bytes.read(buffer)
    }
}

impl Write for End {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outgoing.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl End {
    /// What the peer has written, up to `most` bytes.
    fn sent(&self, most: u64, prng: &mut Prng) -> Vec<u8> {
        let mut bytes = self.outgoing.borrow_mut();
        let count = (1 + prng.below(most) as usize).min(bytes.len());
        bytes.drain(..count).collect()
    }

    /// Gives the peer up to `most` of the bytes, and says how many.
    fn give(&self, bytes: &[u8], most: u64, prng: &mut Prng) -> usize {
        let count = (1 + prng.below(most) as usize).min(bytes.len());
        self.incoming.borrow_mut().extend(&bytes[..count]);
        count
    }
}

/// Goes on with a handshake as far as it goes.
fn go_on<R: HandshakeRole>(middle: MidHandshake<R>) -> Result<R::FinalResult, MidHandshake<R>> {
    match middle.handshake() {
        Ok(done) => Ok(done),
        Err(HandshakeError::Interrupted(middle)) => Err(middle),
        Err(HandshakeError::Failure(error)) => panic!("the rival refuses: {error}"),
    }
}

fn limits() -> Limits {
    Limits {
        message_bytes_max: 100_000,
        output_bytes_max: 300_000,
    }
}

/// A server of ours and a client of theirs, open.
fn our_server(prng: &mut Prng) -> (WebSocket, tungstenite::WebSocket<End>, End) {
    let end = End::default();
    let request =
        tungstenite::client::IntoClientRequest::into_client_request("ws://h/chat").unwrap();
    let mut middle = ClientHandshake::start(end.clone(), request, None).unwrap();
    let mut requests = Requests::new(RequestLimits::default());
    let mut output = Output::new(1 << 10);
    loop {
        middle = match go_on(middle) {
            Ok((theirs, response)) => {
                assert_eq!(response.status(), 101);
                return (WebSocket::new(Role::Server, limits()), theirs, end);
            }
            Err(middle) => middle,
        };
        let bytes = end.sent(40, prng);
        let mut input = bytes.as_slice();
        if let Some(request) = requests.poll(&mut input).unwrap() {
            let offer = Offer::of(&request).unwrap();
            offer.accept(&mut output, None).unwrap();
        }
        let given = end.give(output.pending(), 40, prng);
        output.written(given);
    }
}

/// A client of ours and a server of theirs, open.
fn our_client(prng: &mut Prng) -> (WebSocket, tungstenite::WebSocket<End>, End) {
    let end = End::default();
    let opening = Opening::new("h", "/chat").unwrap();
    let nonce = [7; 16];
    let mut output = Output::new(1 << 10);
    opening.write(&mut output, nonce).unwrap();
    let mut middle = ServerHandshake::start(end.clone(), NoCallback, None);
    let mut responses = Responses::new(1 << 10);
    let mut theirs = None;
    while theirs.is_none() {
        let given = end.give(output.pending(), 40, prng);
        output.written(given);
        match go_on(middle) {
            Ok(done) => {
                theirs = Some(done);
                break;
            }
            Err(again) => middle = again,
        }
    }
    loop {
        let bytes = end.sent(40, prng);
        let mut input = bytes.as_slice();
        if let Some(head) = responses.poll(&mut input).unwrap() {
            assert_eq!(opening.check(&head, nonce), Ok(None));
            return (WebSocket::new(Role::Client, limits()), theirs.unwrap(), end);
        }
    }
}

/// A random message: mostly short, now and then one with a length of 16 or 64 bits.
fn message(prng: &mut Prng) -> Message {
    let most = [10, 130, 1_000, 70_000][prng.below(4) as usize];
    let len = prng.below(most) as usize;
    match prng.below(8) {
        0 => Message::Ping(vec![b'p'; len % 126].into()),
        1..=3 => Message::Binary((0..len).map(|at| at as u8).collect::<Vec<_>>().into()),
        _ => Message::text("\u{e4}x".repeat(len / 3)),
    }
}

fn heard(message: &Message) -> Heard {
    match message {
        Message::Text(text) => Heard::Text(text.to_string()),
        Message::Binary(bytes) => Heard::Binary(bytes.to_vec()),
        Message::Ping(bytes) => Heard::Ping(bytes.to_vec()),
        Message::Pong(bytes) => Heard::Pong(bytes.to_vec()),
        Message::Close(frame) => {
            let code = frame.as_ref().map(|frame| frame.code.into());
            let reason = frame.as_ref().map(|frame| frame.reason.to_string());
            Heard::Close(code, reason.unwrap_or_default())
        }
        Message::Frame(_) => panic!("only whole messages are read"),
    }
}

/// Random messages both ways in random cuts, then a close from one side.
fn talk(seed: u64, open: fn(&mut Prng) -> (WebSocket, tungstenite::WebSocket<End>, End)) {
    let mut prng = Prng::new(seed);
    let (mut ours, mut theirs, end) = open(&mut prng);
    let (mut sent_here, mut sent_there) = (Vec::new(), Vec::new());
    let (mut got_here, mut got_there) = (Vec::new(), Vec::new());
    let mut close = Some(prng.below(2) == 0);
    for round in 0_u32.. {
        assert!(round < 1_000_000, "it comes to an end");
        if round < 100 {
            let message = message(&mut prng);
            let taken = match &message {
                Message::Text(text) => ours.send_text(text),
                Message::Binary(bytes) => ours.send_binary(bytes),
                Message::Ping(bytes) => ours.send_ping(bytes),
                _ => continue,
            };
            if taken.is_ok() {
                sent_here.push(heard(&message));
            }
            let message = self::message(&mut prng);
            sent_there.push(heard(&message));
            theirs.send(message).unwrap();
        } else if ours.output().is_empty() && end.outgoing.borrow().is_empty() {
            match close.take() {
                Some(true) => ours.close(1000, "ours"),
                Some(false) => theirs.close(None).unwrap(),
                None => {}
            }
        }
        let given = end.give(ours.output(), 9_000, &mut prng);
        ours.written(given);
        let bytes = end.sent(9_000, &mut prng);
        let mut input = bytes.as_slice();
        while let Some(event) = ours.poll(&mut input) {
            got_here.push(Heard::of(event));
        }
        let over = loop {
            match theirs.read() {
                Ok(message) => got_there.push(heard(&message)),
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => break false,
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => break true,
                Err(error) => panic!("the rival refuses: {error}"),
            }
        };
        // A client of theirs is done only when the connection ends; its answer is there before.
        if ours.is_over() && ours.output().is_empty() && (over || !theirs.can_read()) {
            break;
        }
    }
    // Pings are answered by both; each answer follows a ping, and only the last ones are owed.
    let messages = |all: Vec<Heard>| -> Vec<Heard> {
        let message = |heard: &Heard| !matches!(heard, Heard::Pong(_) | Heard::Close(..));
        all.into_iter().filter(message).collect()
    };
    let closes = |all: &[Heard]| all.iter().filter(|h| matches!(h, Heard::Close(..))).count();
    assert_eq!(
        (closes(&got_here), closes(&got_there)),
        (1, 1),
        "seed {seed}"
    );
    assert_eq!(messages(got_here), sent_there, "seed {seed}");
    assert_eq!(messages(got_there), sent_here, "seed {seed}");
}

#[test]
fn a_server_of_ours_talks_with_a_client_of_theirs() {
    for seed in 0..10 {
        talk(seed, our_server);
    }
}

#[test]
fn a_client_of_ours_talks_with_a_server_of_theirs() {
    for seed in 10..20 {
        talk(seed, our_client);
    }
}

/// Frames of a client that keeps most rules and breaks one now and then.
fn unruly(prng: &mut Prng) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut begun = false;
    for _ in 0..1 + prng.below(12) {
        let any = match prng.below(24) {
            0..=7 => 0x1,
            8..=11 => 0x2,
            12..=17 => 0x0,
            18..=19 => 0x9,
            20..=21 => 0xa,
            22 => 0x8,
            _ => prng.below(16) as u8,
        };
        let opcode = match (any, begun) {
            _ if prng.below(20) == 0 => any,
            (0x1 | 0x2, true) => 0x0,
            (0x0, false) => 0x1,
            _ => any,
        };
        let is_control = opcode & 0x8 != 0;
        let fin = match prng.below(if is_control { 60 } else { 3 }) {
            0 => 0,
            _ => 0x80,
        };
        if !is_control {
            begun = fin == 0;
        }
        let reserved = if prng.below(40) == 0 { 0x40 } else { 0 };
        let most = [4, if is_control { 127 } else { 300 }][prng.below(2) as usize];
        let len = prng.below(most) as usize;
        let payload: Vec<u8> = match (opcode, prng.below(20)) {
            // A code, most often one that may be given, and words.
            (0x8, _) => {
                let code = [999, 1000, 1001, 1004, 1005, 1011, 3000, 4999, 5000];
                let code: u16 = code[prng.below(9) as usize];
                [&code.to_be_bytes()[..], b"why"].concat()[..prng.below(6) as usize].to_vec()
            }
            // Cut anywhere, so that a character may lie in two fragments, or in none.
            (_, 0..6) => "\u{e4}\u{20ac}\u{1f600}x".as_bytes()[..len.min(10)].to_vec(),
            (_, 6) => vec![0xff; len],
            _ => vec![b'x'; len],
        };
        let mask = (prng.below(60) > 0).then(|| (prng.below(1 << 32) as u32).to_be_bytes());
        bytes.extend(frame(fin | reserved | opcode, &payload, mask));
    }
    bytes
}

/// What a server of theirs hears, up to what it does not take.
fn theirs_hear(bytes: &[u8], limits: Limits) -> (Vec<Heard>, bool) {
    let end = End::default();
    end.incoming.borrow_mut().extend(bytes);
    let config = WebSocketConfig::default()
        .max_message_size(Some(limits.message_bytes_max))
        .max_frame_size(Some(limits.message_bytes_max));
    let server = tungstenite::protocol::Role::Server;
    let mut theirs = tungstenite::WebSocket::from_raw_socket(end, server, Some(config));
    let mut all = Vec::new();
    loop {
        match theirs.read() {
            Ok(message) => all.push(heard(&message)),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                return (all, false);
            }
            Err(Error::ConnectionClosed | Error::AlreadyClosed) => return (all, false),
            Err(_) => return (all, true),
        }
    }
}

#[test]
fn what_breaks_a_rule_for_them_breaks_it_for_us_and_nothing_else_does() {
    let limits = Limits {
        message_bytes_max: 600,
        output_bytes_max: 100_000,
    };
    let mut prng = Prng::new(7);
    let (mut failures, mut closes) = (0, 0);
    for nth in 0..20_000 {
        let bytes = unruly(&mut prng);
        let (mut theirs, mut they_fail) = theirs_hear(&bytes, limits);
        let pieces = pieces(&bytes, 40, &mut prng);
        let (mut ours, _) = crate::cuts::heard(Role::Server, limits, &pieces);
        let we_fail = matches!(ours.last(), Some(Heard::Failed(_)));
        if we_fail {
            ours.pop();
        }
        // A close with a code that may not be given is a close to them, and these are their words for it.
        if let Some(Heard::Close(Some(1002), words)) = theirs.last()
            && words == "Protocol violation"
        {
            theirs.pop();
            they_fail = true;
        }
        assert_eq!(
            (ours, we_fail),
            (theirs.clone(), they_fail),
            "{nth}: {bytes:02x?}"
        );
        failures += u32::from(they_fail);
        closes += u32::from(matches!(theirs.last(), Some(Heard::Close(..))));
    }
    assert!(failures > 1_000 && closes > 1_000, "{failures} {closes}");
}
