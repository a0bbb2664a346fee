//! The ways in which a client is connected: bytes from its socket in, texts of the server out.
//!
//! All protocols are the library's own: opening handshake, frames, heads, server-sent events, lines.
//!
//! Invariant: memory of a connection is bounded; a text comes out whole, or what was wrong with it does.

use hopline::base::Reason;
use hopline::edge::{ChannelName, Position, SUBPROTOCOL};
use hopline::wire::Output;
use hopline::wire::http::{BodyReader, Method, Response, Responses};
use hopline::wire::ndjson::{self, Line, Lines};
use hopline::wire::sse::{self, Incoming, Parser};
use hopline::wire::websocket::{Event, Limits, NONCE_BYTES, Opening, Role, WebSocket};

use super::message::Head;
use super::plan::Via;

/// Most bytes of a response's head.
const HEAD_BYTES: usize = 16 << 10;

/// Longest text that a client takes: a snapshot of a line with some hundreds of hops.
const TEXT_BYTES: usize = 256 << 10;

/// Most bytes that a client has to say at once: a hello with a position in each of its channels, or pings.
const OUTPUT_BYTES: usize = 64 << 10;

/// Bytes of pings that wait at the most.
const FLOOD_BYTES: usize = 16 << 10;

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard<'a> {
    /// It is open: the server will say things, and on a WebSocket wants to hear some.
    Opened,
    /// A text, and of a server-sent event its id.
    Text { text: &'a str, id: Option<&'a str> },
    /// When to come back, in milliseconds.
    Retry(u64),
    /// It is refused, with a status, and perhaps a time to come back after, in seconds.
    Refused { status: u16, after_s: Option<u64> },
    /// The server closes it, with a code if it is a WebSocket.
    Closed(Option<u16>),
    /// What came is not what may come. Nothing more will.
    Broken(&'static str),
}

#[derive(Debug)]
enum Stream {
    Sse(Box<Parser>),
    Ndjson(Box<Lines>),
}

#[derive(Debug)]
enum State {
    /// A handshake is under way; beside it waits what is said behind it.
    Opening {
        responses: Responses,
        nonce: [u8; NONCE_BYTES],
    },
    Open,
    /// A stream's head is on its way.
    Head(Responses),
    Body(BodyReader),
    Over,
}

/// A connection without its socket.
#[derive(Debug)]
pub(super) struct Link {
    state: State,
    /// The request, in front of all that is said.
    request: Output,
    /// Whether what is said leaves before the handshake is done.
    is_hasty: bool,
    socket: Option<Box<WebSocket>>,
    stream: Option<Stream>,
}

/// What all connections of one load have in common.
#[derive(Debug)]
pub(super) struct Door {
    opening: Opening,
    host: String,
    token: Option<String>,
}

impl Door {
    /// The way to the server at that host; `None` if that can stand in no request.
    pub(super) fn new(host: &str, token: Option<String>) -> Option<Door> {
        let opening = Opening::new(host, "/ws")?.protocol(SUBPROTOCOL)?;
        Some(Door {
            opening,
            host: host.to_owned(),
            token,
        })
    }

    pub(super) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Begins a WebSocket, over which all else is said.
    pub(super) fn socket(&self, nonce: [u8; NONCE_BYTES]) -> Link {
        let limits = Limits {
            message_bytes_max: TEXT_BYTES,
            output_bytes_max: OUTPUT_BYTES,
        };
        let mut request = Output::new(HEAD_BYTES);
        let written = self.opening.write(&mut request, nonce);
        debug_assert!(written.is_ok(), "a handshake is shorter than a head may be");
        Link {
            state: State::Opening {
                responses: Responses::new(HEAD_BYTES),
                nonce,
            },
            socket: Some(Box::new(WebSocket::new(Role::Client, limits))),
            ..Link::with(request)
        }
    }

    /// Asks for a stream of one channel, from that position on.
    pub(super) fn stream(
        &self,
        via: Via,
        channel: &ChannelName<'_>,
        since: Option<Position>,
    ) -> Link {
        let (accept, stream) = match via {
            Via::Sse => {
                let limits = sse::parser::Limits {
                    line_bytes_max: TEXT_BYTES,
                    event_bytes_max: TEXT_BYTES,
                };
                let parser = Parser::new(limits);
                (sse::CONTENT_TYPE, Stream::Sse(Box::new(parser)))
            }
            Via::Ndjson | Via::WebSocket => {
                let lines = Lines::new(TEXT_BYTES);
                (ndjson::CONTENT_TYPE, Stream::Ndjson(Box::new(lines)))
            }
        };
        let name = format!("{}/{}", encoded(channel.name()), encoded(channel.group()));
        let mut head = format!(
            "GET /stream/{name}{} HTTP/1.1\r\nHost: {}\r\nAccept: {accept}\r\n",
            match since {
                Some(position) if via == Via::Ndjson => format!("?since={position}"),
                _ => String::new(),
            },
            self.host,
        );
        if let Some(position) = since.filter(|_| via == Via::Sse) {
            head.push_str(&format!("{}: {position}\r\n", sse::LAST_EVENT_ID));
        }
        if let Some(token) = &self.token {
            head.push_str(&format!("Authorization: Bearer {token}\r\n"));
        }
        head.push_str("\r\n");
        let mut request = Output::new(OUTPUT_BYTES);
        let written = request.push(head.as_bytes());
        debug_assert!(written.is_ok(), "names and tokens are bounded");
        Link {
            state: State::Head(Responses::new(HEAD_BYTES)),
            stream: Some(stream),
            ..Link::with(request)
        }
    }
}

/// A part of a path (RFC 3986, section 2).
fn encoded(part: &str) -> String {
    let mut out = String::with_capacity(part.len());
    for byte in part.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

impl Link {
    fn with(request: Output) -> Link {
        Link {
            state: State::Over,
            request,
            is_hasty: false,
            socket: None,
            stream: None,
        }
    }

    /// Lets what is said leave before the handshake is done: for one that will never read that it is. Any other waits, as
    /// RFC 6455, section 4.1, has it.
    pub(super) fn does_not_wait(&mut self) {
        self.is_hasty = true;
    }

    /// Whether nothing more comes.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Says a text. False where there is no room for it, or it is over; a stream is said nothing.
    pub(super) fn say(&mut self, text: &str) -> bool {
        match &mut self.socket {
            Some(socket) => socket.send_text(text).is_ok(),
            None => false,
        }
    }

    /// Says pings until as many wait as may, and how many those are.
    pub(super) fn flood(&mut self, text: &str) -> u64 {
        let mut count = 0;
        while let Some(socket) = &mut self.socket
            && socket.is_open()
            && socket.output().len() < FLOOD_BYTES
            && socket.send_text(text).is_ok()
        {
            count += 1;
        }
        count
    }

    /// Closes it in good order.
    pub(super) fn close(&mut self) {
        match &mut self.socket {
            Some(socket) if !self.request.is_empty() || socket.is_over() => {
                self.state = State::Over
            }
            Some(socket) => socket.close(1000, "bye"),
            None => self.state = State::Over,
        }
    }

    /// What is to be written next.
    pub(super) fn output(&self) -> &[u8] {
        let waits = matches!(self.state, State::Opening { .. }) && !self.is_hasty;
        match &self.socket {
            Some(socket) if self.request.is_empty() && !waits => socket.output(),
            _ => self.request.pending(),
        }
    }

    /// So much of it has left.
    pub(super) fn written(&mut self, count: usize) {
        match &mut self.socket {
            Some(socket) if self.request.is_empty() => socket.written(count),
            _ => self.request.written(count),
        }
    }

    /// Takes all of the input, and hands out what comes.
    pub(super) fn read(&mut self, mut input: &[u8], door: &Door, hear: &mut impl FnMut(Heard<'_>)) {
        while let Some(state) = self.step(&mut input, door, hear) {
            self.state = state;
        }
    }

    /// Reads on as far as this state goes, and gives the next one; `None` once all of the input is taken, or it is over.
    fn step(
        &mut self,
        input: &mut &[u8],
        door: &Door,
        hear: &mut impl FnMut(Heard<'_>),
    ) -> Option<State> {
        match &mut self.state {
            State::Over => None,
            State::Opening { responses, nonce } => {
                let (state, heard) = match responses.poll(input) {
                    Ok(None) => return None,
                    Ok(Some(response)) => match door.opening.check(&response, *nonce) {
                        Ok(Some(_)) => (State::Open, Heard::Opened),
                        Ok(None) => (State::Over, Heard::Broken("no_subprotocol")),
                        Err(_) if response.status != 101 => (State::Over, refused(&response)),
                        Err(fault) => (State::Over, Heard::Broken(fault.name())),
                    },
                    Err(fault) => (State::Over, Heard::Broken(fault.name())),
                };
                hear(heard);
                Some(state)
            }
            State::Open => {
                let socket = self.socket.as_mut()?;
                while let Some(event) = socket.poll(input) {
                    match event {
                        Event::Ping(_) | Event::Pong(_) => {}
                        Event::Text(text) => hear(Heard::Text { text, id: None }),
                        Event::Binary(_) => {
                            hear(Heard::Broken("binary_message"));
                            return Some(State::Over);
                        }
                        Event::Close { code, .. } => {
                            hear(Heard::Closed(code));
                            return Some(State::Over);
                        }
                        Event::Failed(violation) => {
                            hear(Heard::Broken(violation.name()));
                            return Some(State::Over);
                        }
                    }
                }
                None
            }
            State::Head(responses) => {
                let (state, heard) = match responses.poll(input) {
                    Ok(None) => return None,
                    Ok(Some(response)) if response.status != 200 => {
                        (State::Over, refused(&response))
                    }
                    Ok(Some(response)) if !self.stream.as_ref()?.is_in(&response) => {
                        (State::Over, Heard::Broken("wrong_content_type"))
                    }
                    Ok(Some(response)) => match response.body_length(Method::Get) {
                        Ok(length) => (State::Body(BodyReader::new(length)), Heard::Opened),
                        Err(fault) => (State::Over, Heard::Broken(fault.name())),
                    },
                    Err(fault) => (State::Over, Heard::Broken(fault.name())),
                };
                hear(heard);
                Some(state)
            }
            State::Body(body) => {
                let stream = self.stream.as_mut()?;
                loop {
                    match body.poll(input) {
                        Ok(Some(piece)) => {
                            if let Err(what) = stream.read(piece, hear) {
                                hear(Heard::Broken(what));
                                return Some(State::Over);
                            }
                        }
                        Ok(None) if body.is_done() => {
                            hear(Heard::Closed(None));
                            return Some(State::Over);
                        }
                        Ok(None) => return None,
                        Err(fault) => {
                            hear(Heard::Broken(fault.name()));
                            return Some(State::Over);
                        }
                    }
                }
            }
        }
    }
}

fn refused(response: &Response<'_>) -> Heard<'static> {
    Heard::Refused {
        status: response.status,
        after_s: response.retry_after_s(),
    }
}

fn text(bytes: &[u8]) -> Result<&str, &'static str> {
    str::from_utf8(bytes).map_err(|_| "not_utf8")
}

impl Stream {
    /// Whether a response says that its body is such a stream.
    fn is_in(&self, response: &Response<'_>) -> bool {
        let expected = match self {
            Stream::Sse(_) => sse::CONTENT_TYPE,
            Stream::Ndjson(_) => ndjson::CONTENT_TYPE,
        };
        let told = response.headers.text("content-type").unwrap_or_default();
        let bare = told.split(';').next().unwrap_or_default().trim_end();
        bare.eq_ignore_ascii_case(expected)
    }

    /// Takes a piece of the stream.
    ///
    /// # Errors
    /// What is wrong with it.
    fn read(
        &mut self,
        mut piece: &[u8],
        hear: &mut impl FnMut(Heard<'_>),
    ) -> Result<(), &'static str> {
        match self {
            Stream::Sse(parser) => {
                while let Some(incoming) = parser.poll(&mut piece) {
                    match incoming {
                        Incoming::Event { data, id, event } => {
                            let (data, id, event) = (text(data)?, text(id)?, text(event)?);
                            let is_own = Head::of(data).is_none_or(|head| head.kind == event);
                            if !is_own {
                                return Err("wrong_event_type");
                            }
                            hear(Heard::Text {
                                text: data,
                                id: Some(id),
                            });
                        }
                        Incoming::Retry(wait_ms) => hear(Heard::Retry(wait_ms)),
                        Incoming::Dropped(why) => return Err(why.name()),
                    }
                }
            }
            Stream::Ndjson(lines) => {
                while let Some(line) = lines.poll(&mut piece) {
                    match line {
                        Line::Whole(line) => hear(Heard::Text {
                            text: text(line)?,
                            id: None,
                        }),
                        Line::TooLong(_) | Line::Rest(_) => return Err("line_too_long"),
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use hopline::edge::Epoch;
    use hopline::wire::http::{Content, RequestLimits, Requests, respond};
    use hopline::wire::websocket::Offer;

    use super::*;

    fn door() -> Door {
        Door::new("127.0.0.1:9", Some("secret".to_owned())).unwrap()
    }

    /// What comes of all of that, cut into pieces of so many bytes.
    fn heard(link: &mut Link, bytes: &[u8], piece: usize) -> Vec<String> {
        let door = door();
        let mut all = Vec::new();
        for piece in bytes.chunks(piece) {
            link.read(piece, &door, &mut |heard| all.push(format!("{heard:?}")));
        }
        all
    }

    const SINCE: Position = Position {
        epoch: Epoch(42),
        offset: 7,
    };

    #[test]
    fn a_request_says_where_it_goes_on_and_who_asks() {
        let name = ChannelName::new("samples/a->b").unwrap();
        for (via, line, header) in [
            (
                Via::Ndjson,
                "/stream/samples/a-%3Eb?since=000000000000002a:7",
                None,
            ),
            (
                Via::Sse,
                "/stream/samples/a-%3Eb",
                Some("000000000000002a:7"),
            ),
        ] {
            let link = door().stream(via, &name, Some(SINCE));
            let mut requests = Requests::new(RequestLimits::default());
            let mut bytes = link.output();
            let request = requests.poll(&mut bytes).unwrap().unwrap();
            assert_eq!((request.method, request.target), (Method::Get, line));
            assert_eq!(request.headers.text("last-event-id"), header);
            assert_eq!(request.headers.text("authorization"), Some("Bearer secret"));
        }
    }

    #[test]
    fn streams_come_out_as_texts_however_they_are_cut() {
        let name = ChannelName::new("dag/line").unwrap();
        let body = concat!(
            "id: 000000000000002a:7\nevent: x\ndata: {\"type\":\"x\"}\n\n",
            "retry: 250\n\n",
            "event: y\ndata: {\"type\":\"y\"}\n\n",
        );
        let lines = "{\"type\":\"x\"}\n{\"type\":\"y\"}\n";
        for (via, media_type, body, count) in [
            (Via::Sse, sse::CONTENT_TYPE, body, 4),
            (Via::Ndjson, "application/x-ndjson; charset=utf-8", lines, 3),
        ] {
            let mut bytes = Output::new(1 << 10);
            let headers = [("Content-Type", media_type)];
            respond(&mut bytes, 200, &headers, Content::UntilClose).unwrap();
            bytes.push(body.as_bytes()).unwrap();
            for piece in [1, 7, 1_000] {
                let mut link = door().stream(via, &name, None);
                let all = heard(&mut link, bytes.pending(), piece);
                assert_eq!(all.len(), count, "{all:?}");
                assert_eq!(all[0], "Opened");
                assert!(all[1].contains("{\\\"type\\\":\\\"x\\\"}"), "{all:?}");
                assert!(!link.is_over());
            }
        }
    }

    #[test]
    fn an_event_under_another_name_is_none() {
        let name = ChannelName::new("dag/line").unwrap();
        let mut bytes = Output::new(1 << 10);
        let headers = [("Content-Type", sse::CONTENT_TYPE)];
        respond(&mut bytes, 200, &headers, Content::UntilClose).unwrap();
        bytes.push(b"event: y\ndata: {\"type\":\"x\"}\n\n").unwrap();
        let mut link = door().stream(Via::Sse, &name, None);
        let all = heard(&mut link, bytes.pending(), 9);
        assert_eq!(all[1], "Broken(\"wrong_event_type\")");
        assert!(link.is_over());
        let mut other = door().stream(Via::Ndjson, &name, None);
        let all = heard(&mut other, bytes.pending(), 9);
        assert_eq!(all, ["Broken(\"wrong_content_type\")"]);
    }

    #[test]
    fn a_refusal_says_when_to_come_back() {
        let name = ChannelName::new("dag/line").unwrap();
        let mut bytes = Output::new(1 << 10);
        let headers = [("Retry-After", "3")];
        respond(&mut bytes, 503, &headers, Content::Sized(b"no")).unwrap();
        let refused = "Refused { status: 503, after_s: Some(3) }";
        for mut link in [
            door().stream(Via::Ndjson, &name, None),
            door().socket([1; NONCE_BYTES]),
        ] {
            assert_eq!(heard(&mut link, bytes.pending(), 1_000), [refused]);
            assert!(link.is_over());
        }
    }

    #[test]
    fn a_socket_opens_with_our_protocol_and_with_no_other() {
        for (protocol, opens) in [(Some(SUBPROTOCOL), true), (None, false)] {
            let mut link = door().socket([1; NONCE_BYTES]);
            let mut requests = Requests::new(RequestLimits::default());
            let mut bytes = link.output();
            let request = requests.poll(&mut bytes).unwrap().unwrap();
            let mut answer = Output::new(1 << 10);
            let offer = Offer::of(&request).unwrap();
            offer.accept(&mut answer, protocol).unwrap();
            let mut server = WebSocket::new(Role::Server, Limits::default());
            server.send_text("{}").unwrap();
            server.close(3001, "ends");
            answer.push(server.output()).unwrap();
            link.written(usize::MAX);
            let all = heard(&mut link, answer.pending(), 3);
            match opens {
                true => assert_eq!(
                    all,
                    [
                        "Opened",
                        "Text { text: \"{}\", id: None }",
                        "Closed(Some(3001))"
                    ]
                ),
                false => assert_eq!(all, ["Broken(\"no_subprotocol\")"]),
            }
        }
    }

    #[test]
    fn what_is_said_waits_for_the_handshake_unless_it_is_never_read() {
        let mut link = door().socket([1; NONCE_BYTES]);
        assert!(link.say("{}"));
        link.written(usize::MAX);
        assert!(link.output().is_empty());
        link.does_not_wait();
        assert!(!link.output().is_empty());
    }

    #[test]
    fn a_flood_stops_where_nobody_reads_it() {
        let mut link = door().socket([1; NONCE_BYTES]);
        link.does_not_wait();
        let ping = r#"{"type":"ping","ts":1}"#;
        let count = link.flood(ping);
        assert!(count > 100 && link.flood(ping) == 0, "{count}");
        link.written(usize::MAX);
        assert!(link.output().len() >= FLOOD_BYTES);
        link.written(usize::MAX);
        assert!(link.flood(ping) >= count);
    }
}
