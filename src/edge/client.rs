//! One connection, sans-IO: bytes and the time in, bytes out.
//!
//! ```text
//!   Http ─ GET /stream/…, Upgrade ──→ WebSocket ┐
//!     │  ─ Accept: text/event-stream → Sse      ├─ events of its channels, as its output has room ─→ over
//!     │  ─ anything else that streams → Ndjson  ┘
//!     └─ a page, a problem, health ─→ written ─→ Http (keep-alive) or over
//! ```
//!
//! Events are not queued here: [`Client::fill`] takes them from the channels as the output has room, all that fit at once, so
//! that what came since the last turn leaves in one write. A message that is larger than the output leaves straight from the
//! memory that all clients share, and what is due to many alike from where it was put together for all.
//!
//! | file | what it does |
//! |---|---|
//! | `request` | follows a request: a page, a stream, a WebSocket, or why not |
//! | `talk` | follows what a client says over a WebSocket |
//! | `output` | fills the output from the channels, and notes what has left |
//! | `piece` | a message on its way into an output, as each transport writes it |
//!
//! Invariant: what a connection holds is bounded: a head, a message that comes in pieces, an output of [`EDGE_OUTPUT_BYTES`], and
//! its own messages; messages leave whole, one after the other, whatever the cuts.

mod output;
mod piece;
mod request;
mod talk;

use bytes::Bytes;

use super::admission::Refused;
use super::code::Code;
use super::counts::{Counts, Ended};
use super::event::{Body as _, Disconnect, Kind, Ping};
use super::hops::Hops;
use super::hub::Hub;
use super::lanes::{ChannelId, Lanes, Wish};
use super::route::{Exposition, Router, Transport};
use super::sampled::Sampled;
use super::session::{Due, Over, Session, SessionTimes};
use crate::base::Reason as _;
use crate::base::limits::{
    EDGE_BODY_BYTES_MAX, EDGE_HEAD_BYTES_MAX, EDGE_OUTPUT_BYTES, EDGE_UNREAD_BYTES_MAX,
};
use crate::wire::http::{Method, Methods, RequestLimits, Requests};
use crate::wire::websocket::WebSocket;
use crate::wire::{Output, ndjson, sse};

pub(super) use piece::{Form, Piece, Text, write};

use output::Large;

/// Who a connection is among those of its server: a place, and how often it was given away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientKey {
    pub(super) place: u32,
    pub(super) turn: u32,
}

impl ClientKey {
    /// The one at that place, which was given away so often.
    #[must_use]
    pub const fn of(place: u32, turn: u32) -> ClientKey {
        ClientKey { place, turn }
    }
}

/// What all connections of a server go by.
#[derive(Debug)]
pub struct Rules {
    /// Which path leads where.
    pub router: Router,
    /// Heartbeats and patience.
    pub times: SessionTimes,
    /// What a client has to show to be served events; `None` lets everybody be.
    pub token: Option<Box<str>>,
}

/// The time, by the server's clock and by the wall's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Nanoseconds of any clock.
    pub ns: u64,
    /// Microseconds since 1970.
    pub us: u64,
}

impl Now {
    /// Milliseconds since 1970.
    #[must_use]
    pub const fn ms(self) -> u64 {
        self.us / 1_000
    }

    /// A little later, by the same clock.
    #[must_use]
    pub(super) const fn at(self, ns: u64) -> Now {
        Now {
            ns,
            us: self.us + ns.saturating_sub(self.ns) / 1_000,
        }
    }
}

/// What a connection is looked at with: its server, and the time.
#[derive(Debug)]
pub struct On<'a> {
    /// The channels.
    pub hub: &'a mut Hub,
    /// What all connections go by.
    pub rules: &'a Rules,
    /// What is counted.
    pub counts: &'a mut Counts,
    /// What samples of the way to a screen took.
    pub hops: &'a mut Hops,
    /// The time.
    pub now: Now,
}

/// What a request waits for from whoever holds the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// Whether the line is alive.
    Health,
    /// Whether it takes messages.
    Ready,
    /// Its metrics.
    Metrics(Exposition),
}

/// A small response.
#[derive(Clone, Debug)]
pub struct Said {
    /// Its status.
    pub status: u16,
    /// Its type.
    pub media_type: &'static str,
    /// Its body.
    pub body: Bytes,
}

#[derive(Debug)]
enum Via {
    Http(Box<Http>),
    WebSocket {
        socket: Box<WebSocket>,
        /// The channel of its URL, which waits for a hello with a token.
        wished: Option<(ChannelId, Wish)>,
        /// Frames that it has paid for.
        charged: u64,
        /// What was read and is not taken, because it says too much: of one read at the most.
        unread: Vec<u8>,
    },
    Sse {
        output: Output,
        types: bool,
    },
    Ndjson {
        output: Output,
    },
}

impl Via {
    /// How events are written; `None` while it has asked for none.
    fn form(&self) -> Option<Form> {
        match self {
            Via::Http(_) => None,
            Via::WebSocket { .. } => Some(Form::WebSocket),
            Via::Sse { types: true, .. } => Some(Form::Typed),
            Via::Sse { types: false, .. } => Some(Form::Untyped),
            Via::Ndjson { .. } => Some(Form::Ndjson),
        }
    }

    /// Bytes that wait for the socket, but for what leaves by itself.
    fn output(&self) -> &Output {
        match self {
            Via::Http(http) => &http.output,
            Via::WebSocket { socket, .. } => socket.buffer(),
            Via::Sse { output, .. } | Via::Ndjson { output } => output,
        }
    }

    /// So many bytes of that have left.
    fn written(&mut self, count: usize) {
        match self {
            Via::Http(http) => http.output.written(count),
            Via::WebSocket { socket, .. } => socket.written(count),
            Via::Sse { output, .. } | Via::Ndjson { output } => output.written(count),
        }
    }

    /// The rest of what has begun to leave from elsewhere; there is room for it.
    fn push_rest(&mut self, bytes: &[u8]) {
        let pushed = match self {
            Via::Http(http) => http.output.push(bytes),
            Via::WebSocket { socket, .. } => socket.push_rest(bytes),
            Via::Sse { output, .. } | Via::Ndjson { output } => output.push(bytes),
        };
        debug_assert!(pushed.is_ok(), "the output was empty");
    }
}

#[derive(Debug)]
struct Http {
    requests: Requests,
    unread: Vec<u8>,
    output: Output,
    keeps: bool,
    waits: Option<(Waits, bool)>,
    writing: bool,
}

/// A connection.
#[derive(Debug)]
pub struct Client {
    key: ClientKey,
    /// It is told that it may not come in, in the way of what it asks for.
    refused: Option<Refused>,
    session: Session,
    lanes: Lanes,
    sampled: Sampled,
    via: Via,
    /// A message larger than the output, or a page, and how much of it has left.
    large: Option<Large>,
    /// Why it is over once everything that waits has left.
    ending: Option<Ended>,
    /// What it was told of that.
    code: Option<Code>,
    /// Its last bytes are not to be waited for.
    gone: bool,
}

const METHODS: Methods = Methods::of(Method::ALL);

impl Client {
    /// A connection that was just accepted, or that is to be told why it is not.
    #[must_use]
    pub fn new(key: ClientKey, times: SessionTimes, refused: Option<Refused>, now: Now) -> Client {
        let limits = RequestLimits {
            head_bytes_max: EDGE_HEAD_BYTES_MAX,
            body_bytes_max: EDGE_BODY_BYTES_MAX,
            methods: METHODS,
        };
        Client {
            key,
            refused,
            session: Session::new(times, now.ns),
            lanes: Lanes::default(),
            sampled: Sampled::default(),
            via: Via::Http(Box::new(Http {
                requests: Requests::new(limits),
                unread: Vec::new(),
                output: Output::new(EDGE_OUTPUT_BYTES),
                keeps: true,
                waits: None,
                writing: false,
            })),
            large: None,
            ending: None,
            code: None,
            gone: false,
        }
    }

    /// Whether more of what it sends is to be read now. What is not read stays in its socket, and holds it back.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        let is_free = match &self.via {
            Via::Http(http) => {
                http.waits.is_none() && !http.writing && http.unread.len() < EDGE_UNREAD_BYTES_MAX
            }
            _ => true,
        };
        is_free && !self.session.is_held() && !self.gone
    }

    /// Whether everything is over and it can be taken down, and why.
    #[must_use]
    pub fn is_over(&self) -> Option<Ended> {
        let why = self.ending?;
        let drained = match &self.via {
            Via::WebSocket { socket, .. } => socket.is_over() && self.output().is_empty(),
            _ => self.output().is_empty(),
        };
        (self.gone || drained).then_some(why)
    }

    /// Whether nothing more can be said to it.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.gone
    }

    /// Who it is.
    #[must_use]
    pub fn key(&self) -> ClientKey {
        self.key
    }

    /// What it waits for from whoever holds the line.
    #[must_use]
    pub fn waits(&self) -> Option<Waits> {
        match &self.via {
            Via::Http(http) => http.waits.map(|(waits, _)| waits),
            _ => None,
        }
    }

    /// With what code it was told that it ends; none where it was not told.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        self.code
    }

    /// How events reach it, once it has asked for some.
    #[must_use]
    pub fn transport(&self) -> Option<Transport> {
        match &self.via {
            Via::Http(_) => None,
            Via::WebSocket { .. } => Some(Transport::WebSocket),
            Via::Sse { .. } => Some(Transport::Sse),
            Via::Ndjson { .. } => Some(Transport::Ndjson),
        }
    }

    /// Whether a sample waits in its output: the time of the next write is to be known as it is.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.sampled.is_on_its_way()
    }

    /// Its lanes' counts.
    #[must_use]
    pub fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    /// When something is due.
    #[must_use]
    pub fn due_ns(&self) -> u64 {
        self.session.due_ns().min(self.lanes.due_ns())
    }

    /// The peer is gone, or reads nothing more.
    pub fn hang_up(&mut self) {
        self.ending.get_or_insert(Ended::Left);
        self.gone = true;
    }

    /// The peer sends nothing more. It may still read the response that is under way.
    pub fn end_of_input(&mut self) {
        match &mut self.via {
            Via::Http(http) if http.writing || http.waits.is_some() => {
                http.keeps = false;
                if http.writing {
                    self.ending.get_or_insert(Ended::Answered);
                }
            }
            _ => self.hang_up(),
        }
    }

    /// Whether something was read before that it is to take first, by [`Client::take`] with nothing.
    #[must_use]
    pub fn has_unread(&self) -> bool {
        matches!(&self.via, Via::WebSocket { unread, .. } if !unread.is_empty())
    }

    /// Takes what was read.
    pub fn take(&mut self, bytes: &[u8], on: &mut On<'_>) {
        if !bytes.is_empty() {
            self.session.heard(on.now.ns);
        }
        let mut input = bytes;
        if let Via::Http(http) = &mut self.via {
            if http.unread.is_empty() && http.waits.is_none() && !http.writing {
                self.take_request(&mut input, on);
            }
            if let Via::Http(http) = &mut self.via {
                http.unread.extend_from_slice(input);
                return;
            }
        }
        if !matches!(self.via, Via::WebSocket { .. }) {
            // One that only listens has nothing to say: what it says all the same is passed over, and no faster than a message a time.
            self.session.message(on.now.ns);
        }
        let before = match &mut self.via {
            Via::WebSocket { unread, .. } => core::mem::take(unread),
            _ => Vec::new(),
        };
        let mut joined;
        if !before.is_empty() {
            joined = before;
            joined.extend_from_slice(input);
            input = &joined;
        }
        self.take_frames(&mut input, on);
        // What is left of one that is not held back lies behind its end.
        if let Via::WebSocket { unread, .. } = &mut self.via
            && self.session.is_held()
            && !self.gone
        {
            *unread = input.to_vec();
        }
    }

    /// Puts in a message of its own; one that reads none of them is ended.
    fn push(&mut self, text: &str, now: Now) {
        if self.lanes.push(text).is_err() {
            self.end(Code::Slow, Ended::Slow, None, now);
        }
    }

    /// Ends it from this side: what it is told is the last that it gets.
    pub fn end(&mut self, code: Code, why: Ended, retry_after_ms: Option<u64>, now: Now) {
        if self.ending.is_some() {
            return;
        }
        self.leave_large();
        self.ending = Some(why);
        self.code = self.transport().map(|_| code);
        let disconnect = Disconnect {
            code,
            reason: code.reason(),
            retry_after_ms,
        };
        let text = disconnect.text();
        match &mut self.via {
            Via::Http(_) => self.gone = true,
            Via::WebSocket { socket, .. } => {
                // Where there is no room for the words, the code says it.
                let _ = socket.send_text(&text);
                socket.close(code.number(), code.reason());
            }
            Via::Sse { output, .. } => {
                let event = sse::Outgoing {
                    id: None,
                    event: Some(Kind::Disconnect.name()),
                    data: text.as_bytes(),
                };
                let _ = sse::encode(output, &event);
                if let Some(ms) = retry_after_ms {
                    let _ = sse::retry(output, ms);
                }
            }
            Via::Ndjson { output } => {
                let _ = ndjson::write(output, text.as_bytes());
            }
        }
        self.session.closing(now.ns);
    }

    /// Does what is due; a request that is refused by it is counted.
    pub fn step(&mut self, now: Now, counts: &mut Counts) {
        self.lanes.resend(now.ns);
        while let Some(due) = self.session.step(now.ns) {
            match due {
                Due::Ping => {
                    self.push(&Ping { sent_ms: now.ms() }.text(), now);
                    if let Via::WebSocket { socket, .. } = &mut self.via {
                        // A client that knows nothing of these messages answers this one all the same.
                        let _ = socket.send_ping(b"");
                    }
                }
                Due::Read => {}
                Due::End(over) => {
                    let (code, why) = match over {
                        Over::NoHello => (Code::Silent, Ended::NoHello),
                        Over::Silent => (Code::Silent, Ended::Silent),
                        Over::Stuck => (Code::Slow, Ended::Stuck),
                        Over::Flood => (Code::Flood, Ended::Flood),
                        Over::NotClosed => {
                            self.gone = true;
                            self.ending.get_or_insert(Ended::Left);
                            return;
                        }
                    };
                    let is_deaf = matches!(over, Over::Silent | Over::Stuck);
                    if over == Over::NoHello && self.is_answered() {
                        self.session.again(now.ns);
                        continue;
                    }
                    if over == Over::NoHello {
                        self.time_out(counts);
                    }
                    self.end(code, why, None, now);
                    // Nobody is there to read the last words.
                    self.gone |= is_deaf;
                    return;
                }
            }
        }
    }
}
