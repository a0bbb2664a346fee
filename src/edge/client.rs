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
//! memory that all clients share.
//!
//! Invariant: what a connection holds is bounded: a head, a message that comes in pieces, an output of [`EDGE_OUTPUT_BYTES`], and
//! its own messages; messages leave whole, one after the other, whatever the cuts.

use core::fmt::Write as _;

use bytes::Bytes;

use super::admission::Refused;
use super::channel::Channel;
use super::code::Code;
use super::counts::{Counts, Ended};
use super::event::{
    Body as _, Disconnect, Gap, Hello, Kind, Ping, Pong, Refusal, Shed, Subscribed, with_skip,
};
use super::hub::Hub;
use super::lanes::{ChannelId, Lanes, NoSubscription, Out, TooSlow, Wish};
use super::message::{FaultCode, Message, Subscription};
use super::position::Position;
use super::problem::{Answer, Problem};
use super::route::{Asset, Exposition, Router, Stream, Transport, Wanted};
use super::session::{Due, Over, Session, SessionTimes};
use super::{Epoch, SUBPROTOCOL};
use crate::base::Reason as _;
use crate::base::limits::{
    EDGE_DEBOUNCE_MS, EDGE_HEAD_BYTES_MAX, EDGE_MESSAGE_BYTES_MAX, EDGE_OUTPUT_BYTES,
    EDGE_RETRY_NS_MAX, EDGE_UNREAD_BYTES_MAX,
};
use crate::overload::{Bucket, BucketParams};
use crate::wire::http::{Content, Method, Methods, Request, RequestLimits, Requests, respond};
use crate::wire::websocket::{Event, Limits, Offer, Role, SendError, WebSocket};
use crate::wire::{Full, Output, ndjson, sse};

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
    /// Milliseconds since 1970.
    pub ms: u64,
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
        greeted: bool,
    },
    Sse {
        output: Output,
        types: bool,
    },
    Ndjson {
        output: Output,
    },
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

/// What leaves by itself, without passing through the output.
#[derive(Debug)]
struct Large {
    bytes: Bytes,
    left: usize,
    /// Whether it comes before what is in the output: a handshake's answer.
    leads: bool,
}

impl Large {
    /// Bytes that leave behind what is in the output; nothing where there are none.
    fn behind(bytes: Bytes) -> Option<Large> {
        (!bytes.is_empty()).then_some(Large {
            bytes,
            left: 0,
            leads: false,
        })
    }

    /// Whether it is what is written next, with an output that is empty or not.
    fn is_next(&self, output_is_empty: bool) -> bool {
        self.leads || self.left > 0 || output_is_empty
    }
}

/// A connection.
#[derive(Debug)]
pub struct Client {
    key: ClientKey,
    /// It is told that it may not come in, in the way of what it asks for.
    refused: Option<Refused>,
    session: Session,
    lanes: Lanes,
    via: Via,
    /// A message larger than the output, or a page, and how much of it has left.
    large: Option<Large>,
    /// Why it is over once everything that waits has left.
    ending: Option<Ended>,
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
            body_bytes_max: 0,
            methods: METHODS,
        };
        Client {
            key,
            refused,
            session: Session::new(times, now.ns),
            lanes: Lanes::default(),
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

    /// Takes what was read.
    pub fn take(
        &mut self,
        bytes: &[u8],
        hub: &mut Hub,
        rules: &Rules,
        counts: &mut Counts,
        now: Now,
    ) {
        self.session.heard(now.ns);
        let mut input = bytes;
        if let Via::Http(http) = &mut self.via {
            if http.unread.is_empty() && http.waits.is_none() && !http.writing {
                self.take_request(&mut input, hub, rules, counts, now);
            }
            if let Via::Http(http) = &mut self.via {
                http.unread.extend_from_slice(input);
                return;
            }
        }
        self.take_frames(&mut input, hub, rules, counts, now);
    }

    /// Reads the next request, and follows it.
    fn take_request(
        &mut self,
        input: &mut &[u8],
        hub: &mut Hub,
        rules: &Rules,
        counts: &mut Counts,
        now: Now,
    ) {
        let Via::Http(http) = &mut self.via else {
            return;
        };
        let Http {
            requests, output, ..
        } = &mut **http;
        let request = match requests.poll(input) {
            Ok(None) => return,
            Ok(Some(request)) => request,
            Err(fault) => {
                let answer = Answer::of_fault(fault, METHODS);
                counts.refuse(answer.problem);
                let _ = answer.respond(output, false, true);
                http.keeps = false;
                self.write_response();
                return;
            }
        };
        let head_only = request.method == Method::Head;
        let keeps = request.keep_alive();
        let routed = rules.router.route(&request);
        let next = match routed {
            Ok(Wanted::Stream(stream)) => open_stream(&request, stream, output, hub, rules),
            Ok(Wanted::Socket) => open_socket(&request, output, rules),
            Ok(Wanted::Page(asset)) => page(asset, output, head_only, keeps),
            Ok(Wanted::Health) => Followed::Wait(Waits::Health),
            Ok(Wanted::Ready) => Followed::Wait(Waits::Ready),
            Ok(Wanted::Metrics(exposition)) => Followed::Wait(Waits::Metrics(exposition)),
            Err(answer) => Followed::Refused(answer),
        };
        http.keeps = keeps && self.refused.is_none();
        let (next, away) = match self.refused {
            Some(refused) => refusal(refused, next),
            None => (next, None),
        };
        match next {
            Followed::Refused(answer) => {
                counts.refuse(answer.problem);
                let _ = answer.respond(&mut http.output, head_only, !http.keeps);
                self.write_response();
            }
            Followed::Wait(waits) => http.waits = Some((waits, head_only)),
            Followed::Page(body) => {
                self.large = Large::behind(body);
                self.write_response();
            }
            Followed::HeadOnly => {
                http.keeps = false;
                self.write_response();
            }
            Followed::Stream {
                output,
                channel,
                wish,
                types,
            } => {
                self.via = match types {
                    Some(types) => Via::Sse { output, types },
                    None => Via::Ndjson { output },
                };
                self.session.open(false, now.ns);
                if let Some(after_ms) = away {
                    self.end(Code::Busy, Ended::Refused, Some(after_ms), now);
                    return;
                }
                self.greet(None, hub.epoch(), rules, now);
                self.subscribe(channel, wish, hub, counts);
            }
            Followed::Socket { output, channel } => {
                let limits = Limits {
                    message_bytes_max: EDGE_MESSAGE_BYTES_MAX,
                    output_bytes_max: EDGE_OUTPUT_BYTES,
                };
                let socket = Box::new(WebSocket::new(Role::Server, limits));
                self.large = Some(Large {
                    bytes: Bytes::copy_from_slice(output.pending()),
                    left: 0,
                    leads: true,
                });
                self.via = Via::WebSocket {
                    socket,
                    greeted: false,
                };
                self.session.upgraded(now.ns);
                if let Some(after_ms) = away {
                    self.end(Code::Busy, Ended::Refused, Some(after_ms), now);
                    return;
                }
                if let Some((channel, wish)) = channel {
                    self.session.open(true, now.ns);
                    self.greet(None, hub.epoch(), rules, now);
                    self.subscribe(channel, wish, hub, counts);
                }
            }
        }
    }

    /// A response is whole in the output.
    fn write_response(&mut self) {
        if let Via::Http(http) = &mut self.via {
            http.writing = true;
            http.waits = None;
            if !http.keeps {
                self.ending = Some(match self.refused {
                    Some(_) => Ended::Refused,
                    None => Ended::Answered,
                });
            }
        }
    }

    /// Answers what it waits for.
    pub fn answer(&mut self, said: &Said) {
        let Via::Http(http) = &mut self.via else {
            return;
        };
        let Some((_, head_only)) = http.waits else {
            return;
        };
        let ends = [
            ("Content-Type", said.media_type),
            ("Cache-Control", "no-store"),
            ("Connection", "close"),
        ];
        let headers = if http.keeps { &ends[..2] } else { &ends };
        let length = Content::HeadOnly(said.body.len() as u64);
        let sent = respond(&mut http.output, said.status, headers, length);
        debug_assert!(sent.is_ok(), "the output is empty and large enough");
        self.large = Large::behind(match head_only {
            true => Bytes::new(),
            false => said.body.clone(),
        });
        self.write_response();
    }

    /// Reads on in what a WebSocket sent; what others send is passed over.
    fn take_frames(
        &mut self,
        input: &mut &[u8],
        hub: &mut Hub,
        rules: &Rules,
        counts: &mut Counts,
        now: Now,
    ) {
        loop {
            let Via::WebSocket { socket, .. } = &mut self.via else {
                return;
            };
            match socket.poll(input) {
                None => return,
                Some(Event::Text(text)) => {
                    counts.messages += 1;
                    self.session.message(now.ns);
                    // The text lives in the socket's buffer, and what it asks for may write to the socket.
                    let text = text.to_owned();
                    match Message::parse(&text) {
                        Ok(message) => self.follow(message, hub, rules, counts, now),
                        Err(fault) => {
                            counts.refused += 1;
                            self.refuse(fault.code, &fault.message);
                        }
                    }
                }
                Some(Event::Binary(_)) => {
                    counts.messages += 1;
                    counts.refused += 1;
                    self.session.message(now.ns);
                    self.refuse(FaultCode::BadMessage, "send texts: JSON, one object each");
                }
                Some(Event::Ping(_)) => self.session.message(now.ns),
                Some(Event::Pong(_)) => {}
                Some(Event::Close { .. }) => {
                    self.ending.get_or_insert(Ended::Left);
                    self.session.closing(now.ns);
                }
                Some(Event::Failed(_)) => {
                    self.ending = Some(Ended::Protocol);
                    self.session.closing(now.ns);
                }
            }
        }
    }

    /// Does what a client asks for.
    fn follow(
        &mut self,
        message: Message<'_>,
        hub: &mut Hub,
        rules: &Rules,
        counts: &mut Counts,
        now: Now,
    ) {
        let greeted = match &mut self.via {
            Via::WebSocket { greeted, .. } => greeted,
            _ => return,
        };
        match message {
            Message::Hello(hello) => {
                if !is_token(rules, hello.token.as_deref()) {
                    self.end(Code::BadAuth, Ended::BadAuth, None, now);
                    return;
                }
                let is_first = !core::mem::replace(greeted, true);
                if is_first && !self.session.is_open() {
                    self.session.open(true, now.ns);
                    self.greet(hello.sid.as_deref(), hub.epoch(), rules, now);
                }
                for one in hello.subs {
                    self.follow_subscribe(one, hub, counts);
                }
            }
            Message::Bye => self.end(Code::Bye, Ended::Left, None, now),
            Message::Ping { sent_ms } => {
                let pong = Pong {
                    sent_ms,
                    received_ms: now.ms,
                    answered_ms: now.ms,
                };
                self.push(&pong.text());
            }
            Message::Pong { .. } => {}
            _ if !self.session.is_open() => {
                self.refuse(FaultCode::NoHello, "say hello first");
            }
            Message::Subscribe(one) => self.follow_subscribe(one, hub, counts),
            Message::Unsubscribe(channel) => {
                let id = hub.find(channel.as_str());
                if !id.is_some_and(|id| self.lanes.unsubscribe(id)) {
                    self.refuse(FaultCode::NotSubscribed, "that channel is not followed");
                }
            }
            Message::Ack(ack) => {
                let id = hub.find(ack.channel.as_str());
                if !id.is_some_and(|id| self.lanes.ack(id, ack.offset)) {
                    counts.refused += 1;
                    self.refuse(FaultCode::BadAck, "that was never sent here");
                }
            }
            Message::Resync { channel, .. } => {
                let id = hub.find(channel.as_str());
                let done = id.and_then(|id| {
                    let channel = hub.channel(id)?;
                    self.lanes.resync(id, channel).then_some(())
                });
                match done {
                    Some(()) => counts.resyncs += 1,
                    None => self.refuse(
                        FaultCode::NotSubscribed,
                        "there is no snapshot of that channel here",
                    ),
                }
            }
        }
    }

    fn follow_subscribe(&mut self, one: Subscription<'_>, hub: &mut Hub, counts: &mut Counts) {
        let Some(id) = hub.find(one.channel.as_str()) else {
            counts.refused += 1;
            self.refuse(FaultCode::NoChannel, "there is no such channel");
            return;
        };
        let wish = Wish {
            since: one.since,
            rate: one.rate.map(|rate| bucket(rate.get())),
            budget_ns: one.budget_ms.map(|ms| u64::from(ms.get()) * 1_000_000),
            acks: true,
            ..Wish::default()
        };
        self.subscribe(id, wish, hub, counts);
    }

    fn subscribe(&mut self, id: ChannelId, wish: Wish, hub: &mut Hub, counts: &mut Counts) {
        let Some(channel) = hub.channel(id) else {
            return;
        };
        match self.lanes.subscribe(id, channel, wish) {
            Ok(joined) => {
                counts.recovered += u64::from(joined.recovered);
                let subscribed = Subscribed {
                    channel: channel.name(),
                    epoch: channel.epoch(),
                    offset: channel.last(),
                    recovered: joined.recovered,
                    replayed: joined.replayed,
                };
                let text = subscribed.text();
                self.push(&text);
                hub.follow(id, self.key);
            }
            Err(why) => {
                counts.refused += 1;
                let (code, words) = match why {
                    NoSubscription::TooMany => (
                        FaultCode::TooManyChannels,
                        "as many channels are followed as may be",
                    ),
                    NoSubscription::Twice => {
                        (FaultCode::Subscribed, "that channel is followed already")
                    }
                };
                self.refuse(code, words);
            }
        }
    }

    /// Says the first thing that is said on a connection.
    fn greet(&mut self, sid: Option<&str>, epoch: Epoch, rules: &Rules, now: Now) {
        let mut own = String::new();
        let sid = match sid {
            Some(sid) => sid,
            None => {
                // A name for it, not a secret: nothing is opened by it.
                let _ = write!(
                    own,
                    "{:x}.{:x}.{:x}",
                    epoch.0, self.key.place, self.key.turn
                );
                &own
            }
        };
        let hello = Hello {
            sid,
            epoch,
            ping_ms: rules.times.heartbeat_ns / 1_000_000,
            misses: u64::from(rules.times.misses),
            message_bytes_max: EDGE_MESSAGE_BYTES_MAX as u64,
            debounce_ms: EDGE_DEBOUNCE_MS,
            now_ms: now.ms,
        };
        self.push(&hello.text());
    }

    fn refuse(&mut self, code: FaultCode, message: &str) {
        let refusal = Refusal {
            code,
            message,
            temporary: false,
        };
        self.push(&refusal.text());
    }

    /// Puts in a message of its own; one that reads none of them is ended.
    fn push(&mut self, text: &str) {
        if self.lanes.push(text).is_err() {
            self.ending.get_or_insert(Ended::Slow);
            self.gone = true;
        }
    }

    /// Ends it from this side: what it is told is the last that it gets.
    pub fn end(&mut self, code: Code, why: Ended, retry_after_ms: Option<u64>, now: Now) {
        if self.ending.is_some() {
            return;
        }
        self.ending = Some(why);
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

    /// Does what is due.
    pub fn step(&mut self, now: Now) {
        self.lanes.resend(now.ns);
        while let Some(due) = self.session.step(now.ns) {
            match due {
                Due::Ping => {
                    self.push(&Ping { sent_ms: now.ms }.text());
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
                    if matches!(self.via, Via::Http(_)) && over == Over::NoHello {
                        self.time_out();
                    }
                    self.end(code, why, None, now);
                    // Nobody is there to read the last words.
                    self.gone |= is_deaf;
                    return;
                }
            }
        }
    }

    /// A request that did not come in time is told so, if it had begun.
    fn time_out(&mut self) {
        if let Via::Http(http) = &mut self.via
            && http.requests.is_inside()
            && !http.writing
        {
            let answer = Answer::new(
                Problem::TimedOut,
                "send the whole request within ten seconds",
            );
            let _ = answer.respond(&mut http.output, false, true);
            http.keeps = false;
            self.ending = Some(Ended::NoHello);
        }
    }

    /// Takes from its channels what its output has room for. `text` is used for what is this client's alone.
    pub fn fill(&mut self, hub: &mut Hub, now: Now, text: &mut String) {
        if self.ending.is_some() || matches!(self.via, Via::Http(_)) {
            return;
        }
        while self.large.is_none() {
            let epoch = hub.epoch();
            let out = match self.lanes.next(hub.channels(), now.ns) {
                Ok(Some(out)) => out,
                Ok(None) => return,
                Err(TooSlow::Own | TooSlow::Critical) => {
                    self.end(Code::Slow, Ended::Slow, None, now);
                    return;
                }
            };
            let put = match out {
                Out::Own(json) => {
                    // Its type is for the event's name alone, where there is one.
                    put(&mut self.via, &Piece::own(json), epoch)
                }
                Out::Event { event, skipped, .. } => {
                    let piece = Piece {
                        kind: event.kind().name(),
                        offset: event.offset(),
                        json: event.json(),
                        encoded: Some(event.encoded()),
                    };
                    if skipped == 0 {
                        put(&mut self.via, &piece, epoch)
                    } else {
                        text.clear();
                        text.push_str(&with_skip(event.json(), skipped));
                        let piece = Piece {
                            json: text,
                            encoded: None,
                            ..piece
                        };
                        put(&mut self.via, &piece, epoch)
                    }
                }
                Out::Gap(id, missing) => {
                    let name = hub.channel(id).map_or("", Channel::name);
                    let gap = Gap {
                        channel: name,
                        from: missing.from,
                        to: missing.to,
                        why: missing.why,
                    };
                    put(&mut self.via, &Piece::own(&gap.text()), epoch)
                }
                Out::Shed(id, count, why) => {
                    let name = hub.channel(id).map_or("", Channel::name);
                    let shed = Shed {
                        channel: name,
                        count,
                        why,
                    };
                    put(&mut self.via, &Piece::own(&shed.text()), epoch)
                }
                Out::Snapshot(id) => {
                    let Some(channel) = hub.channel_mut(id) else {
                        return;
                    };
                    let last = channel.last();
                    let Some(snapshot) = channel.snapshot() else {
                        return;
                    };
                    let piece = Piece {
                        kind: Kind::Snapshot.name(),
                        offset: Some(last),
                        json: snapshot.json(),
                        encoded: Some(snapshot.encoded()),
                    };
                    let put = put(&mut self.via, &piece, epoch);
                    if !matches!(put, Put::NoRoom) {
                        self.lanes.snapshot_is_of(id, last);
                    }
                    put
                }
            };
            match put {
                Put::Done => {}
                Put::NoRoom => return,
                Put::Large(bytes) => self.large = Large::behind(bytes),
                Put::Closed => return,
            }
            self.lanes.taken(now.ns);
        }
    }

    /// What is to be written next.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        let first = match &self.via {
            Via::Http(http) => http.output.pending(),
            Via::WebSocket { socket, .. } => socket.output(),
            Via::Sse { output, .. } | Via::Ndjson { output } => output.pending(),
        };
        match &self.large {
            // What was begun is written to its end before anything else, and begun only behind what waits.
            Some(large) if large.is_next(first.is_empty()) => &large.bytes[large.left..],
            _ => first,
        }
    }

    /// So many bytes of it have left.
    pub fn written(
        &mut self,
        count: usize,
        hub: &mut Hub,
        rules: &Rules,
        counts: &mut Counts,
        now: Now,
    ) {
        let first_is_empty = match &self.via {
            Via::Http(http) => http.output.is_empty(),
            Via::WebSocket { socket, .. } => socket.output().is_empty(),
            Via::Sse { output, .. } | Via::Ndjson { output } => output.is_empty(),
        };
        match &mut self.large {
            Some(large) if large.is_next(first_is_empty) => {
                large.left += count;
                if large.left >= large.bytes.len() {
                    self.large = None;
                }
            }
            _ => match &mut self.via {
                Via::Http(http) => http.output.written(count),
                Via::WebSocket { socket, .. } => socket.written(count),
                Via::Sse { output, .. } | Via::Ndjson { output } => output.written(count),
            },
        }
        let waits = !self.output().is_empty();
        self.session.wrote(count > 0, waits, now.ns);
        if !waits
            && let Via::Http(http) = &mut self.via
            && http.writing
            && http.keeps
        {
            http.writing = false;
            let unread = core::mem::take(&mut http.unread);
            let mut input = unread.as_slice();
            self.take_request(&mut input, hub, rules, counts, now);
            if let Via::Http(http) = &mut self.via {
                http.unread = input.to_vec();
            } else {
                let rest = input.to_vec();
                self.take(&rest, hub, rules, counts, now);
            }
        }
    }

    /// A write found no room.
    pub fn blocked(&mut self, now: Now) {
        self.session.wrote(false, true, now.ns);
    }
}

/// What a request came to.
enum Followed {
    Refused(Answer),
    Wait(Waits),
    Page(Bytes),
    HeadOnly,
    Stream {
        output: Output,
        channel: ChannelId,
        wish: Wish,
        /// Of server-sent events: whether they say their type.
        types: Option<bool>,
    },
    Socket {
        output: Output,
        channel: Option<(ChannelId, Wish)>,
    },
}

/// What one that may not come in is told instead, in the way of what it asked for, and when it may come back. The script of a
/// page sees nothing of a status that its stream got: a WebSocket is opened and closed with a code, an event source is told to
/// wait. Milliseconds.
fn refusal(refused: Refused, next: Followed) -> (Followed, Option<u64>) {
    let after_ns = match refused {
        Refused::Full(ns) | Refused::Rate(ns) => Some(ns),
        Refused::Address => None,
    };
    let answer = match after_ns {
        Some(ns) => Answer {
            retry_after_s: Some(ns.div_ceil(1_000_000_000)),
            ..Answer::new(
                Problem::Unavailable,
                "come back after the time in Retry-After",
            )
        },
        None => Answer::new(
            Problem::TooMany,
            "close some of the connections of this address first",
        ),
    };
    match next {
        Followed::Socket { .. } => {
            let ns = after_ns.unwrap_or(EDGE_RETRY_NS_MAX);
            (next, Some(ns / 1_000_000))
        }
        Followed::Stream { types: Some(_), .. } if after_ns.is_some() => {
            (next, after_ns.map(|ns| ns / 1_000_000))
        }
        Followed::Refused(_) => (next, None),
        _ => (Followed::Refused(answer), None),
    }
}

fn bucket(rate_per_s: u32) -> Bucket {
    let burst = u64::from(rate_per_s / 10).clamp(1, 1_000);
    let params = BucketParams::new(u64::from(rate_per_s), burst);
    Bucket::new(params.unwrap_or_else(|_| unreachable!("a rate that was asked for is in bounds")))
}

fn is_token(rules: &Rules, shown: Option<&str>) -> bool {
    match (&rules.token, shown) {
        (None, _) => true,
        (Some(ours), Some(theirs)) => is_same(ours.as_bytes(), theirs.as_bytes()),
        (Some(_), None) => false,
    }
}

/// Compares in a time that does not tell where they differ.
fn is_same(ours: &[u8], theirs: &[u8]) -> bool {
    let differ = ours.iter().zip(theirs).fold(0, |all, (a, b)| all | (a ^ b));
    ours.len() == theirs.len() && differ == 0
}

/// The token that a request's head shows (RFC 6750, section 2.1).
fn bearer<'a>(request: &Request<'a>) -> Option<&'a str> {
    let value = request.headers.text("authorization")?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

const NO_TOKEN: Answer = Answer::new(
    Problem::Unauthorized,
    "send Authorization: Bearer with the token that this server was started with",
);

fn open_stream(
    request: &Request<'_>,
    stream: Stream<'_>,
    output: &mut Output,
    hub: &Hub,
    rules: &Rules,
) -> Followed {
    let is_socket = stream.transport == Transport::WebSocket;
    let shown = bearer(request);
    // A page cannot set a header on a WebSocket: it says its token in hello.
    if !is_token(rules, shown) {
        return Followed::Refused(NO_TOKEN);
    }
    let Some(channel) = hub.find(stream.channel.as_str()) else {
        return Followed::Refused(Answer::new(
            Problem::NoChannel,
            "the channels of a line are dag/line, alerts/line, stats/line and samples/HOP",
        ));
    };
    let wish = Wish {
        since: stream.since,
        no_snapshot: !stream.snapshot,
        rate: stream.rate.map(|rate| bucket(rate.get())),
        ..Wish::default()
    };
    if is_socket {
        return match open_socket(request, output, rules) {
            Followed::Socket { output, .. } => Followed::Socket {
                output,
                channel: Some((channel, wish)),
            },
            other => other,
        };
    }
    let media_type = match stream.transport {
        Transport::Sse => sse::CONTENT_TYPE,
        _ => ndjson::CONTENT_TYPE,
    };
    // What stands in front must not gather the events, nor keep them for another client.
    let headers = [
        ("Content-Type", media_type),
        ("Cache-Control", "no-store"),
        ("X-Accel-Buffering", "no"),
        ("Connection", "close"),
    ];
    if request.method == Method::Head {
        let sent = respond(output, 200, &headers, Content::UntilClose);
        debug_assert!(sent.is_ok(), "the output is empty and large enough");
        return Followed::HeadOnly;
    }
    let mut own = Output::new(EDGE_OUTPUT_BYTES);
    let sent = respond(&mut own, 200, &headers, Content::UntilClose);
    debug_assert!(sent.is_ok(), "the output is empty and large enough");
    Followed::Stream {
        output: own,
        channel,
        wish,
        types: (stream.transport == Transport::Sse).then_some(stream.types),
    }
}

fn open_socket(request: &Request<'_>, _output: &mut Output, _rules: &Rules) -> Followed {
    let offer = match Offer::of(request) {
        Ok(offer) => offer,
        Err(fault) => return Followed::Refused(Answer::of_offer(fault)),
    };
    // One that offers protocols and not ours is told by the lack of one in the answer (RFC 6455, section 4.2.2).
    let protocol = offer.choose(&[SUBPROTOCOL]);
    let mut output = Output::new(EDGE_OUTPUT_BYTES);
    let sent = offer.accept(&mut output, protocol);
    debug_assert!(sent.is_ok(), "the output is empty and large enough");
    Followed::Socket {
        output,
        channel: None,
    }
}

/// What a page may do: load from here and talk to here, nothing else (CSP Level 3).
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

fn page(asset: &'static Asset, output: &mut Output, head_only: bool, keeps: bool) -> Followed {
    let headers = [
        ("Content-Type", asset.content_type),
        ("Cache-Control", "no-cache"),
        ("X-Content-Type-Options", "nosniff"),
        ("Content-Security-Policy", POLICY),
        ("Referrer-Policy", "no-referrer"),
        ("Connection", "close"),
    ];
    let count = headers.len() - usize::from(keeps);
    let length = Content::HeadOnly(asset.bytes.len() as u64);
    let sent = respond(output, 200, &headers[..count], length);
    debug_assert!(sent.is_ok(), "the output is empty and large enough");
    Followed::Page(match head_only {
        true => Bytes::new(),
        false => Bytes::from_static(asset.bytes),
    })
}

/// A message on its way into an output.
struct Piece<'a> {
    kind: &'a str,
    offset: Option<u64>,
    json: &'a str,
    encoded: Option<&'a crate::wire::websocket::Encoded>,
}

impl<'a> Piece<'a> {
    /// A message for this client alone, whose type stands at its beginning.
    fn own(json: &'a str) -> Piece<'a> {
        let kind = json.strip_prefix("{\"type\":\"");
        let kind = kind.and_then(|rest| rest.split('"').next());
        Piece {
            kind: kind.unwrap_or_default(),
            offset: None,
            json,
            encoded: None,
        }
    }
}

enum Put {
    Done,
    NoRoom,
    /// It is larger than the output, and leaves by itself.
    Large(Bytes),
    Closed,
}

fn put(via: &mut Via, piece: &Piece<'_>, epoch: Epoch) -> Put {
    let is_large =
        |full: Full, output_is_empty: bool| full.needed > EDGE_OUTPUT_BYTES && output_is_empty;
    match via {
        Via::Http(_) => Put::Closed,
        Via::WebSocket { socket, .. } => {
            let sent = match piece.encoded {
                Some(encoded) => socket.send_encoded(encoded),
                None => socket.send_text(piece.json),
            };
            match sent {
                Ok(()) => Put::Done,
                Err(SendError::Full(full)) if is_large(full, socket.output().is_empty()) => {
                    let encoded = piece.encoded.cloned();
                    let encoded = encoded
                        .unwrap_or_else(|| crate::wire::websocket::Encoded::text(piece.json));
                    Put::Large(encoded.bytes().clone())
                }
                Err(SendError::Full(_)) => Put::NoRoom,
                Err(_) => Put::Closed,
            }
        }
        Via::Sse { output, types } => {
            let position = piece
                .offset
                .map(|offset| Position { epoch, offset }.to_string());
            let event = sse::Outgoing {
                id: position.as_deref(),
                event: types.then_some(piece.kind),
                data: piece.json.as_bytes(),
            };
            match sse::encode(output, &event) {
                Ok(()) => Put::Done,
                Err(sse::NotEncoded::Full(full)) if is_large(full, output.is_empty()) => {
                    let mut own = Output::new(full.needed);
                    let _ = sse::encode(&mut own, &event);
                    Put::Large(Bytes::copy_from_slice(own.pending()))
                }
                Err(_) => Put::NoRoom,
            }
        }
        Via::Ndjson { output } => match ndjson::write(output, piece.json.as_bytes()) {
            Ok(()) => Put::Done,
            Err(ndjson::NotWritten::Full(full)) if is_large(full, output.is_empty()) => {
                let mut own = Output::new(full.needed);
                let _ = ndjson::write(&mut own, piece.json.as_bytes());
                Put::Large(Bytes::copy_from_slice(own.pending()))
            }
            Err(_) => Put::NoRoom,
        },
    }
}
