//! A client that stays connected: the opening handshake, the frames, and the times, in one.
//!
//! Its socket is somebody else's. Who has it does what [`Client::poll`] says, hands in what comes in,
//! writes what is in [`Client::output`], and says when the connection is lost.
//!
//! Invariant: whatever happens to a connection, it is told once, with its reason; the next one begins
//! with nothing of it.

use super::{
    AnswerFault, Event, Got, Limits, NONCE_BYTES, Opening, Role, SendError, Violation, WebSocket,
};
use crate::base::Prng;
use crate::wire::Output;
use crate::wire::http::{HEAD_BYTES_DEFAULT, Responses};
use crate::wire::session::{Lost, Phase, Session, SessionConfig, Step};

/// Bytes for the request of the handshake: what most servers take as a head.
const REQUEST_BYTES_MAX: usize = HEAD_BYTES_DEFAULT;

/// Nanoseconds of a second.
const SECOND_NS: u64 = 1_000_000_000;

/// What a client is made of.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// What the server is asked for.
    pub opening: Opening,
    /// What a connection may take up.
    pub limits: Limits,
    /// The times.
    pub session: SessionConfig,
}

/// What has come of the input. Texts and bytes live until the client is asked for the next event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientEvent<'a> {
    /// The server has accepted: messages may be sent, such as those that subscribe.
    Opened {
        /// The subprotocol that the server chose: its place among those that were offered.
        protocol: Option<usize>,
    },
    /// A text, whole.
    Text(&'a str),
    /// Bytes, whole.
    Binary(&'a [u8]),
    /// A ping of ours has come back after that many nanoseconds.
    RoundTrip(u64),
    /// The connection is over: write what is in the output, as far as it goes, and end it.
    Lost {
        /// Why, as it is counted.
        why: Lost,
        /// The code of the server's close, or the status of its refusal.
        code: Option<u16>,
        /// The server's reason, for people.
        reason: &'a str,
    },
}

enum Link {
    Down,
    Opening {
        output: Output,
        responses: Responses,
        nonce: [u8; NONCE_BYTES],
    },
    Open(Box<WebSocket>),
}

/// A WebSocket client that stays connected.
///
/// ```
/// use hopline::wire::session::{SessionConfig, Step};
/// use hopline::wire::websocket::{Client, ClientConfig, Limits, Opening};
/// let mut client = Client::new(
///     ClientConfig {
///         opening: Opening::new("stream.example", "/ws").unwrap(),
///         limits: Limits::default(),
///         session: SessionConfig::default(),
///     },
///     0,
/// );
/// assert_eq!(client.poll(0), Some(Step::Dial));
/// client.connected(1_000);
/// assert!(client.output().starts_with(b"GET /ws HTTP/1.1\r\nHost: stream.example\r\n"));
/// ```
pub struct Client {
    config: ClientConfig,
    session: Session,
    prng: Prng,
    link: Link,
    last_violation: Option<Violation>,
    last_answer: Option<AnswerFault>,
    /// Pings of the server, and of its earlier connections the pongs that found no room.
    pinged: u64,
    pongs_dropped: u64,
}

impl core::fmt::Debug for Client {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Client")
            .field("opening", &self.config.opening)
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}

/// What one look at the input came to, apart from its bytes.
#[derive(Clone, Copy)]
enum Seen {
    Opened(Option<usize>),
    Data(Got),
    RoundTrip(u64),
    Lost(Lost, Option<u16>),
    Closed,
}

impl Client {
    /// A client that dials at `now_ns`.
    #[must_use]
    pub fn new(config: ClientConfig, now_ns: u64) -> Client {
        Client {
            session: Session::new(config.session, now_ns),
            // Not the waits' own numbers, which would tell the nonces.
            prng: Prng::new(!config.session.seed),
            config,
            link: Link::Down,
            last_violation: None,
            last_answer: None,
            pinged: 0,
            pongs_dropped: 0,
        }
    }

    /// What is to be done at `now_ns`, if anything: dial, take the connection down, or say that the
    /// data is stale. Ask until there is nothing, hand in what has come before, and write the
    /// [output](Client::output) behind it.
    pub fn poll(&mut self, now_ns: u64) -> Option<Step> {
        loop {
            match self.session.poll(now_ns)? {
                Step::Ping(number) => {
                    if let Link::Open(socket) = &mut self.link {
                        // Where it finds no room its answer will be missed, and that has a limit.
                        let _ = socket.send_ping(&number.to_be_bytes());
                    }
                }
                Step::Drop(why) => {
                    self.take_down();
                    return Some(Step::Drop(why));
                }
                step => return Some(step),
            }
        }
    }

    /// When to [poll](Client::poll) next at the latest, if nothing happens before.
    #[must_use]
    pub fn next_ns(&self) -> u64 {
        self.session.next_ns()
    }

    /// The dial has come through: the request of the handshake is in the output.
    pub fn connected(&mut self, now_ns: u64) {
        if self.session.phase() != Phase::Connecting {
            return;
        }
        self.session.connected(now_ns);
        self.take_down();
        let mut nonce = [0; NONCE_BYTES];
        for half in nonce.chunks_mut(8) {
            half.copy_from_slice(&self.prng.next_u64().to_le_bytes()[..half.len()]);
        }
        let mut output = Output::new(REQUEST_BYTES_MAX);
        // A request that is too long is answered by nobody, and that has a limit.
        let _ = self.config.opening.write(&mut output, nonce);
        self.link = Link::Opening {
            output,
            responses: Responses::new(HEAD_BYTES_DEFAULT),
            nonce,
        };
    }

    /// Takes from `input` and gives the next event; `None` once all of it is taken and more is
    /// needed, or the connection is over. Ask until there is none.
    pub fn handle_input(&mut self, input: &mut &[u8], now_ns: u64) -> Option<ClientEvent<'_>> {
        if !input.is_empty() {
            self.session.received(now_ns);
        }
        self.event(input, false, now_ns)
    }

    /// The server's half of the connection has ended. Ask until there is no event.
    pub fn handle_end(&mut self, now_ns: u64) -> Option<ClientEvent<'_>> {
        let mut nothing: &[u8] = &[];
        self.event(&mut nothing, true, now_ns)
    }

    /// The dial failed, or the connection broke. Nothing of it is left.
    pub fn lost(&mut self, why: Lost, now_ns: u64) {
        self.session.lost(why, now_ns);
        self.take_down();
    }

    /// Nobody could take in what came, up to now: see [`Session::unheard`].
    pub fn unheard(&mut self, now_ns: u64) {
        self.session.unheard(now_ns);
    }

    /// Forgets the connection, and keeps what is counted of it.
    fn take_down(&mut self) {
        if let Link::Open(socket) = &self.link {
            self.pongs_dropped += socket.pongs_dropped();
        }
        self.link = Link::Down;
    }

    /// Ends it: an open connection is closed in good order, which takes until [`Phase::Stopped`];
    /// of any other the step says what to do.
    pub fn stop(&mut self, now_ns: u64) -> Option<Step> {
        let step = self.session.stop(now_ns)?;
        match &mut self.link {
            Link::Open(socket) if step == Step::Close => {
                socket.close(1000, "");
                None
            }
            _ => {
                self.take_down();
                Some(step)
            }
        }
    }

    fn event(&mut self, input: &mut &[u8], ended: bool, now_ns: u64) -> Option<ClientEvent<'_>> {
        loop {
            let seen = match &mut self.link {
                Link::Down => return None,
                Link::Opening { .. } => self.look_at_answer(input, ended, now_ns)?,
                Link::Open(socket) => match socket.advance(input, ended)? {
                    got @ (Got::Text | Got::Binary) => {
                        self.session.message(now_ns);
                        Seen::Data(got)
                    }
                    Got::Ping => {
                        self.pinged += 1;
                        continue;
                    }
                    Got::Pong => match (socket.lend(Got::Pong), &mut self.session) {
                        (Event::Pong(bytes), session) => {
                            let number = bytes.try_into().map(u64::from_be_bytes);
                            match number.ok().and_then(|number| session.pong(number, now_ns)) {
                                Some(round_ns) => Seen::RoundTrip(round_ns),
                                None => continue,
                            }
                        }
                        _ => continue,
                    },
                    Got::Close => {
                        self.session.lost(Lost::Closed, now_ns);
                        Seen::Closed
                    }
                    Got::Failed(violation) => {
                        let why = match violation {
                            Violation::TooLong => Lost::TooLong,
                            Violation::CutOff => Lost::CutOff,
                            _ => Lost::Violation,
                        };
                        self.last_violation = Some(violation);
                        self.session.lost(why, now_ns);
                        Seen::Lost(why, None)
                    }
                },
            };
            return Some(self.lend(seen));
        }
    }

    /// The answer to the handshake, once it is whole.
    fn look_at_answer(&mut self, input: &mut &[u8], ended: bool, now_ns: u64) -> Option<Seen> {
        let Link::Opening {
            output,
            responses,
            nonce,
        } = &mut self.link
        else {
            return None;
        };
        let (why, code, retry_after_ns) = match responses.poll(input) {
            Ok(None) if !ended => return None,
            Ok(None) => (Lost::CutOff, None, 0),
            Ok(Some(response)) => match self.config.opening.check(&response, *nonce) {
                Ok(protocol) => {
                    let mut socket = WebSocket::new(Role::Client, self.config.limits);
                    // A server that answers before it has read all of the request still gets it.
                    let _ = socket.outgoing.output.push(output.pending());
                    self.link = Link::Open(Box::new(socket));
                    self.session.opened(now_ns);
                    return Some(Seen::Opened(protocol));
                }
                Err(fault) => {
                    self.last_answer = Some(fault);
                    let retry_s = response.retry_after_s().unwrap_or(0);
                    let why = match fault {
                        AnswerFault::Refused => Lost::HandshakeRefused,
                        _ => Lost::HandshakeBad,
                    };
                    let code = Some(response.status);
                    (why, code, retry_s.saturating_mul(SECOND_NS))
                }
            },
            Err(_) => (Lost::HandshakeBad, None, 0),
        };
        self.session.lost_until(why, now_ns, retry_after_ns);
        self.link = Link::Down;
        Some(Seen::Lost(why, code))
    }

    fn lend(&self, seen: Seen) -> ClientEvent<'_> {
        let event = match (&self.link, seen) {
            (Link::Open(socket), Seen::Data(got)) => Some(socket.lend(got)),
            (Link::Open(socket), Seen::Closed) => Some(socket.lend(Got::Close)),
            _ => None,
        };
        match (seen, event) {
            (Seen::Opened(protocol), _) => ClientEvent::Opened { protocol },
            (Seen::RoundTrip(round_ns), _) => ClientEvent::RoundTrip(round_ns),
            (Seen::Data(_), Some(Event::Text(text))) => ClientEvent::Text(text),
            (Seen::Data(_), Some(Event::Binary(bytes))) => ClientEvent::Binary(bytes),
            (Seen::Closed, Some(Event::Close { code, reason })) => ClientEvent::Lost {
                why: Lost::Closed,
                code,
                reason,
            },
            (Seen::Lost(why, code), _) => ClientEvent::Lost {
                why,
                code,
                reason: "",
            },
            // A message is what was got, so the two above have it.
            (Seen::Data(_) | Seen::Closed, _) => ClientEvent::Lost {
                why: Lost::Closed,
                code: None,
                reason: "",
            },
        }
    }

    /// The open connection, to send on; `None` if there is none. Closing it is not the same as
    /// [stopping](Client::stop): behind a close another connection is dialled.
    pub fn socket(&mut self) -> Option<&mut WebSocket> {
        match &mut self.link {
            Link::Open(socket) => Some(socket),
            _ => None,
        }
    }

    /// Sends a text.
    ///
    /// # Errors
    /// There is no room for it, or no open connection; nothing was sent.
    pub fn send_text(&mut self, text: &str) -> Result<(), SendError> {
        self.socket().ok_or(SendError::Closing)?.send_text(text)
    }

    /// What is to be written to the socket next, all of it.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        match &self.link {
            Link::Down => &[],
            Link::Opening { output, .. } => output.pending(),
            Link::Open(socket) => socket.output(),
        }
    }

    /// The first `count` bytes of the [output](Client::output) have left.
    pub fn written(&mut self, count: usize) {
        match &mut self.link {
            Link::Down => {}
            Link::Opening { output, .. } => output.written(count),
            Link::Open(socket) => socket.written(count),
        }
    }

    /// Where the connection stands in time, and what it has been through.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Whether the opening handshake is still to be answered: what comes in is no frame yet.
    #[must_use]
    pub fn is_opening(&self) -> bool {
        matches!(self.link, Link::Opening { .. })
    }

    /// Pings of the server, all of them answered but for [`Client::pongs_dropped`].
    #[must_use]
    pub fn pinged(&self) -> u64 {
        self.pinged
    }

    /// Pongs that found no room, since the server did not read.
    #[must_use]
    pub fn pongs_dropped(&self) -> u64 {
        let now = match &self.link {
            Link::Open(socket) => socket.pongs_dropped(),
            _ => 0,
        };
        self.pongs_dropped + now
    }

    /// The rule that a server broke last, if any did.
    #[must_use]
    pub fn last_violation(&self) -> Option<Violation> {
        self.last_violation
    }

    /// What was wrong with the last answer that opened no connection, if there was one.
    #[must_use]
    pub fn last_answer(&self) -> Option<AnswerFault> {
        self.last_answer
    }
}
