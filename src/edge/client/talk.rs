//! Follows what a client says over its WebSocket.
//!
//! Invariant: whatever it says, it is answered, or counted and ended.

use core::fmt::Write as _;

use super::request::{bucket, is_token};
use super::{Client, On, Via};
use crate::base::limits::{EDGE_DEBOUNCE_MS, EDGE_MESSAGE_BYTES_MAX, EDGE_SAMPLE_EVERY};
use crate::edge::channel::Channel;
use crate::edge::code::Code;
use crate::edge::counts::Ended;
use crate::edge::event::{Body as _, Hello, Pong, Refusal, Subscribed};
use crate::edge::hops::Untaken;
use crate::edge::lanes::{ChannelId, NoSubscription, Wish};
use crate::edge::message::{Ack, FaultCode, LastSeen, Message, Subscription};
use crate::edge::position::{Position, Since};
use crate::wire::websocket::Event;

impl Client {
    /// Reads on in what a WebSocket sent; what others send is passed over.
    pub(super) fn take_frames(&mut self, input: &mut &[u8], on: &mut On<'_>) {
        loop {
            // Pongs and fragments are work as well: whatever comes is paid for by the frame.
            self.charge(on.now.ns);
            if self.session.is_held() || self.gone {
                return;
            }
            let is_ending = self.ending.is_some();
            let Via::WebSocket { socket, .. } = &mut self.via else {
                return;
            };
            let Some(event) = socket.poll(input) else {
                return self.charge(on.now.ns);
            };
            match event {
                // Behind its end nothing is heard but that it agrees to it.
                Event::Text(_) | Event::Binary(_) if is_ending => {}
                Event::Text(text) => {
                    on.counts.messages += 1;
                    // The text lives in the socket's buffer, and what it asks for may write to the socket.
                    let text = text.to_owned();
                    match Message::parse(&text) {
                        Ok(message) => self.follow(message, on),
                        Err(fault) => self.refuse(fault.code, &fault.message, on),
                    }
                }
                Event::Binary(_) => {
                    on.counts.messages += 1;
                    self.refuse(
                        FaultCode::BadMessage,
                        "send texts: JSON, one object each",
                        on,
                    );
                }
                Event::Ping(_) | Event::Pong(_) => {}
                Event::Close { .. } => {
                    self.leave_large();
                    self.ending.get_or_insert(Ended::Left);
                    self.session.closing(on.now.ns);
                }
                Event::Failed(violation) => {
                    self.leave_large();
                    // One that was told to go keeps what it was told.
                    if self.ending.is_none() {
                        self.code = Code::of_violation(violation);
                        self.ending = Some(Ended::Protocol);
                    }
                    self.session.closing(on.now.ns);
                }
            }
        }
    }

    /// Has it pay for the frames that have begun since it last did.
    fn charge(&mut self, now_ns: u64) {
        if let Via::WebSocket {
            socket, charged, ..
        } = &mut self.via
        {
            let frames = socket.frames() - core::mem::replace(charged, socket.frames());
            self.session.frames(frames, now_ns);
        }
    }

    /// Does what a client asks for.
    fn follow(&mut self, message: Message<'_>, on: &mut On<'_>) {
        match message {
            Message::Hello(hello) => {
                if !is_token(on.rules, hello.token.as_deref()) {
                    self.end(Code::BadAuth, Ended::BadAuth, None, on.now);
                    return;
                }
                if !self.session.is_open() {
                    self.session.open(true, on.now.ns);
                    self.greet(hello.sid.as_deref(), on);
                }
                let wished = match &mut self.via {
                    Via::WebSocket { wished, .. } => wished.take(),
                    _ => None,
                };
                if let Some((channel, wish)) = wished {
                    self.subscribe(channel, wish, on);
                }
                for one in hello.subs {
                    self.follow_subscribe(one, on);
                }
            }
            Message::Bye => self.end(Code::Bye, Ended::Left, None, on.now),
            Message::Ping { sent_ms } => {
                let pong = Pong {
                    sent_ms,
                    received_us: on.now.us,
                    answered_us: on.now.us,
                };
                self.push(&pong.text(), on.now);
            }
            Message::Pong { .. } => {}
            _ if !self.session.is_open() => {
                self.refuse(FaultCode::NoHello, "say hello first", on);
            }
            Message::Subscribe(one) => self.follow_subscribe(one, on),
            Message::Unsubscribe(channel) => {
                let id = on.hub.find(channel.as_str());
                let last = |id| on.hub.channel(id).map_or(0, Channel::last);
                match id.filter(|id| self.lanes.unsubscribe(*id, last(*id))) {
                    Some(id) => on.hub.unfollow(id, self.key),
                    None => {
                        self.refuse(FaultCode::NotSubscribed, "that channel is not followed", on);
                    }
                }
            }
            Message::Ack(ack) => {
                on.counts.acks += 1;
                let id = on.hub.find(ack.channel.as_str());
                match id.filter(|id| self.lanes.ack(*id, ack.offset, on.now.ns)) {
                    Some(id) => self.follow_times(id, &ack, on),
                    None => {
                        on.hops.pass_over(Untaken::NeverSent);
                        self.refuse(FaultCode::BadAck, "that was never sent here", on);
                    }
                }
            }
            Message::Resync { channel, last_seen } => {
                let id = on.hub.find(channel.as_str());
                let epoch = on.hub.epoch();
                let since = last_seen.map(|seen| {
                    Since::After(match seen {
                        LastSeen::Offset(offset) => Position { epoch, offset },
                        LastSeen::Position(position) => position,
                    })
                });
                let done = id.and_then(|id| {
                    let channel = on.hub.channel(id)?;
                    self.lanes.resync(id, channel, since).then_some(())
                });
                match done {
                    Some(()) => on.counts.resyncs += 1,
                    None => self.refuse(
                        FaultCode::NotSubscribed,
                        "there is no snapshot of that channel here",
                        on,
                    ),
                }
            }
        }
    }

    /// Takes the times of an acknowledgement, if it has any. Those that cannot be are counted and not answered: a client whose clock
    /// is off follows the line as well as any other.
    fn follow_times(&mut self, id: ChannelId, ack: &Ack<'_>, on: &mut On<'_>) {
        if ack.received_us.is_none() && ack.painted_us.is_none() {
            return;
        }
        let taken = match self.sampled.answered(id, ack.offset) {
            Some(written) => on.hops.answered(ack, written, on.now),
            None => Err(Untaken::NotSampled),
        };
        if let Err(why) = taken {
            on.hops.pass_over(why);
        }
    }

    fn follow_subscribe(&mut self, one: Subscription<'_>, on: &mut On<'_>) {
        let Some(id) = on.hub.find(one.channel.as_str()) else {
            self.refuse(FaultCode::NoChannel, "there is no such channel", on);
            return;
        };
        let wish = Wish {
            since: one.since,
            rate: one.rate.map(|rate| bucket(rate.get())),
            budget_ns: one.budget_ms.map(|ms| u64::from(ms.get()) * 1_000_000),
            acks: true,
            ..Wish::default()
        };
        self.subscribe(id, wish, on);
    }

    pub(super) fn subscribe(&mut self, id: ChannelId, wish: Wish, on: &mut On<'_>) {
        let Some(channel) = on.hub.channel(id) else {
            return;
        };
        let is_back = matches!(wish.since, Some(Since::After(_)));
        match self.lanes.subscribe(id, channel, wish) {
            Ok(joined) => {
                on.counts.recovered += u64::from(joined.recovered);
                on.counts.unrecovered += u64::from(is_back && !joined.recovered);
                let subscribed = Subscribed {
                    channel: channel.name(),
                    epoch: channel.epoch(),
                    offset: if channel.is_numbered() {
                        channel.last()
                    } else {
                        0
                    },
                    recovered: joined.recovered,
                    replayed: joined.replayed,
                };
                let text = subscribed.text();
                self.push(&text, on.now);
                on.hub.follow(id, self.key);
            }
            Err(why) => {
                let (code, words) = match why {
                    NoSubscription::TooMany => (
                        FaultCode::TooManyChannels,
                        "as many channels are followed as may be",
                    ),
                    NoSubscription::Twice => {
                        (FaultCode::Subscribed, "that channel is followed already")
                    }
                };
                self.refuse(code, words, on);
            }
        }
    }

    /// Says the first thing that is said on a connection.
    pub(super) fn greet(&mut self, sid: Option<&str>, on: &mut On<'_>) {
        let epoch = on.hub.epoch();
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
            ping_ms: on.rules.times.heartbeat_ns / 1_000_000,
            misses: u64::from(on.rules.times.misses),
            message_bytes_max: EDGE_MESSAGE_BYTES_MAX as u64,
            debounce_ms: EDGE_DEBOUNCE_MS,
            sample_every: EDGE_SAMPLE_EVERY,
            now_ms: on.now.ms(),
        };
        self.push(&hello.text(), on.now);
    }

    fn refuse(&mut self, code: FaultCode, message: &str, on: &mut On<'_>) {
        on.counts.refused += 1;
        let refusal = Refusal {
            code,
            message,
            temporary: false,
        };
        self.push(&refusal.text(), on.now);
    }
}
