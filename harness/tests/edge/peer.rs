//! A client of the edge on a plain socket: HTTP and WebSocket by hand, so that it can also say what no client would.
//!
//! Invariant: what comes is read whole, or the test ends: nothing is waited for longer than [`PATIENCE`].

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// Longest wait for anything that the server says.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What a server says over a WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Text(String),
    Close(u16),
    Control,
}

/// A response to a request.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Response {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The name of the problem in it.
    pub(crate) fn problem(&self) -> Option<String> {
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        let body: Value = serde_json::from_str(&self.body).ok()?;
        assert_eq!(body["status"], self.status, "{body}");
        assert!(body["title"].is_string() && body["detail"].is_string());
        let name = body["type"].as_str()?.strip_prefix("tag:hopline,2026:")?;
        Some(name.to_owned())
    }
}

/// A connection.
pub(crate) struct Peer {
    stream: TcpStream,
    heard: Vec<u8>,
}

impl Peer {
    pub(crate) fn connect(address: &str) -> Peer {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Peer {
            stream,
            heard: Vec::new(),
        }
    }

    /// What can be read of the stream by another thread, for one that writes more than the server takes.
    pub(crate) fn twin(&self) -> Peer {
        Peer {
            stream: self.stream.try_clone().unwrap(),
            heard: Vec::new(),
        }
    }

    /// Sends as much as the server takes; one that has closed takes no more.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Sends a request without a body.
    pub(crate) fn ask(address: &str, method: &str, target: &str, headers: &str) -> Peer {
        let mut peer = Peer::connect(address);
        let host = if headers.to_lowercase().contains("host:") {
            String::new()
        } else {
            format!("Host: {address}\r\n")
        };
        let head = format!("{method} {target} HTTP/1.1\r\n{host}{headers}\r\n");
        peer.send(head.as_bytes());
        peer
    }

    /// Follows a channel as lines of JSON.
    pub(crate) fn lines(address: &str, target: &str) -> Peer {
        let mut peer = Peer::ask(address, "GET", target, "");
        let response = peer.head();
        assert_eq!(response.status, 200, "{}", response.head);
        peer
    }

    /// Opens a WebSocket.
    pub(crate) fn socket(address: &str, target: &str) -> Peer {
        let mut peer = Peer::ask(address, "GET", target, UPGRADE);
        let response = peer.head();
        assert_eq!(response.status, 101, "{}", response.head);
        let protocol = response.header("sec-websocket-protocol");
        assert_eq!(protocol, Some("hopline.v1.json"));
        peer
    }

    /// Opens a WebSocket for many channels, and says hello.
    pub(crate) fn greeted(address: &str, subs: &Value) -> Peer {
        let mut peer = Peer::socket(address, "/ws");
        peer.say(&serde_json::json!({"type": "hello", "subs": subs}));
        assert_eq!(peer.message()["type"], "hello");
        peer
    }

    /// Hears more; false at the end.
    fn hear(&mut self) -> bool {
        let mut bytes = [0; 16 << 10];
        match self.stream.read(&mut bytes) {
            Ok(0) => false,
            Ok(count) => {
                self.heard.extend_from_slice(&bytes[..count]);
                true
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => false,
            Err(error) => panic!("nothing comes: {error}"),
        }
    }

    /// One more byte of what a slow client says, if the server has not said anything yet.
    pub(crate) fn trickle(&mut self, byte: u8, pace: Duration) -> bool {
        self.stream.set_read_timeout(Some(pace)).unwrap();
        let mut bytes = [0; 1 << 10];
        let read = self.stream.read(&mut bytes);
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        match read {
            Ok(count) => {
                self.heard.extend_from_slice(&bytes[..count]);
                false
            }
            Err(_) => self.send(&[byte]),
        }
    }

    /// The head of a response; what is behind it stays to be read.
    pub(crate) fn head(&mut self) -> Response {
        let end = loop {
            let found = self.heard.windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(end) = found {
                break end;
            }
            let heard = String::from_utf8_lossy(&self.heard).into_owned();
            assert!(self.hear(), "it ends within a head: {heard:?}");
        };
        let head = String::from_utf8(self.heard.drain(..end + 4).collect()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Response {
            status,
            head,
            body: String::new(),
        }
    }

    /// A whole response.
    pub(crate) fn response(&mut self) -> Response {
        let mut response = self.head();
        let length = response.header("content-length").unwrap_or("0").parse();
        let length: usize = length.unwrap();
        while self.heard.len() < length {
            assert!(self.hear(), "it ends within a body");
        }
        response.body = String::from_utf8(self.heard.drain(..length).collect()).unwrap();
        response
    }

    /// Whether the server has ended the connection and said nothing more.
    pub(crate) fn is_ended(&mut self) -> bool {
        while self.hear() {}
        self.heard.is_empty()
    }

    /// The next line of JSON; none at the end.
    pub(crate) fn line(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.heard.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.heard.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            if !self.hear() {
                return None;
            }
        }
    }

    /// Sends one frame, masked as a client has to (RFC 6455, section 5.2), with these first bits.
    pub(crate) fn frame(&mut self, first: u8, payload: &[u8]) -> bool {
        let mask = [1, 2, 3, 4];
        let mut bytes = vec![first];
        match payload.len() {
            length @ 0..126 => bytes.push(0x80 | length as u8),
            length @ 126..65_536 => {
                bytes.push(0x80 | 126);
                bytes.extend_from_slice(&(length as u16).to_be_bytes());
            }
            length => {
                bytes.push(0x80 | 127);
                bytes.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        bytes.extend_from_slice(&mask);
        let masked = payload.iter().zip(mask.iter().cycle());
        bytes.extend(masked.map(|(byte, mask)| byte ^ mask));
        self.send(&bytes)
    }

    /// Says that text.
    pub(crate) fn text(&mut self, text: &str) -> bool {
        self.frame(0x81, text.as_bytes())
    }

    /// Says that message.
    pub(crate) fn say(&mut self, message: &Value) {
        self.text(&message.to_string());
    }

    /// What the server says next; none at the end.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, length)) = parsed(&self.heard) {
                self.heard.drain(..length);
                return Some(frame);
            }
            if !self.hear() {
                return None;
            }
        }
    }

    /// The next message.
    pub(crate) fn message(&mut self) -> Value {
        loop {
            match self.next() {
                Some(Frame::Text(text)) => return serde_json::from_str(&text).unwrap(),
                Some(Frame::Control) => {}
                other => panic!("a message was to come, not {other:?}"),
            }
        }
    }

    /// The next message of that type; others are passed over.
    pub(crate) fn message_of(&mut self, kind: &str) -> Value {
        loop {
            let message = self.message();
            if message["type"] == kind {
                return message;
            }
        }
    }

    /// The code of the close that comes; messages before it are passed over.
    pub(crate) fn closed(&mut self) -> Option<u16> {
        loop {
            match self.next()? {
                Frame::Close(code) => return Some(code),
                Frame::Text(_) | Frame::Control => {}
            }
        }
    }
}

/// The headers of a handshake.
pub(crate) const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: hopline.v1.json\r\n";

/// The first frame in these bytes, if it is there whole, and its length.
fn parsed(bytes: &[u8]) -> Option<(Frame, usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    assert_eq!(second & 0x80, 0, "a server does not mask");
    let (length, head) = match second {
        126 => {
            let length = bytes.get(2..4)?.try_into().ok()?;
            (u64::from(u16::from_be_bytes(length)), 4)
        }
        127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?), 10),
        length => (u64::from(length), 2),
    };
    let end = head + length as usize;
    let payload = bytes.get(head..end)?;
    let frame = match first {
        0x81 => Frame::Text(String::from_utf8(payload.to_vec()).unwrap()),
        0x88 => Frame::Close(u16::from_be_bytes(payload.get(..2)?.try_into().ok()?)),
        0x89 | 0x8a => Frame::Control,
        other => panic!("the edge sends no frame that begins with {other:#x}"),
    };
    Some((frame, end))
}
