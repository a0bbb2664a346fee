//! One client of a load: what it says, what it makes of what it hears, and when it comes back.
//!
//! ```text
//!            its time            stands           opened, hello          all channels have what there was
//!   Waiting ─────────→ Connecting ─────→ Asking ────────────────→ Greeted ──────────────────────────────→ (live)
//!      ↑                   │               │                        │
//!      └── back-off, or as the server says ┴────────────────────────┘     told not to come back ─→ Over
//! ```
//!
//! Its rules are those of the page's client: back-off, heartbeats both ways, a position for each channel, acknowledgements of
//! critical events.
//!
//! Invariant: no sockets and no clock; what it says waits in a list until its link takes it.

use std::ops::Range;

use hopline::base::Reason as _;
use hopline::edge::json::object;
use hopline::edge::{Code, Epoch, Kind, Position, VERSION};

use super::check::{Follow, Took, Whose};
use super::counts::add;
use super::known::Unread;
use super::message::{Head, Notice, name};
use super::plan::{Manner, Via};
use super::via::Heard;
use super::world::{HELLO_NS, Now, UP_NS, World};

/// What one says that sends without end.
pub(super) const FLOOD: &str = r#"{"type":"ping","ts":0}"#;

/// Where a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Until then.
    Waiting(u64),
    /// Until then at the most.
    Connecting(u64),
    /// It stands, and until then at the most the server says hello.
    Asking(u64),
    /// The server has said hello.
    Greeted,
    /// It does not come back.
    Over,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// It came to nothing.
    Failed(&'static str),
    /// This load has cut it, with the cut of that number.
    Cut(usize),
    /// The server closed it, with a code if it gave one.
    Closed(Option<u16>),
    /// It broke off, or ended without a code.
    Ended(&'static str),
    /// The server refused it.
    Refused { status: u16, after_s: Option<u64> },
}

/// A client.
#[derive(Debug)]
pub(super) struct Client {
    number: u32,
    pub(super) manner: Manner,
    pub(super) via: Via,
    follows: Vec<Follow>,
    phase: Phase,
    /// When it was to connect first.
    intended_ns: u64,
    has_begun: bool,
    sid: Option<String>,
    /// Attempts that failed since it was up for long.
    failed: u32,
    greeted_ns: u64,
    /// When to come back, as the server said last, in milliseconds.
    retry_ms: Option<u64>,
    /// The code that the server said it would close with.
    told_code: Option<u16>,
    pub(super) ended: Option<Lost>,
    is_live: bool,
    has_been_live: bool,
    has_snapshot: bool,
    /// Since when it is not live that was, and by which cut.
    away: Option<(u64, Option<usize>)>,
    /// How often it was told when to come back, since it was live.
    told: u32,
    /// What the server announced.
    beat_ns: u64,
    silence_ns: u64,
    heard_ns: u64,
    beaten_ns: u64,
    ping_due_ns: u64,
    pinged: Option<(u64, u64)>,
    /// The last read that brought events.
    events_ns: Option<u64>,
    ack_due_ns: u64,
    owes: Option<(u16, u64)>,
    says: Vec<String>,
}

impl Client {
    /// A client that is to connect at `intended_ns`.
    pub(super) fn new(number: u32, intended_ns: u64, world: &World) -> Client {
        let follows: Range<u16> = world.plan.follows(number);
        Client {
            number,
            manner: world.plan.manner(number),
            via: world.plan.via(number),
            follows: follows.map(Follow::new).collect(),
            phase: Phase::Waiting(intended_ns),
            intended_ns,
            has_begun: false,
            sid: None,
            failed: 0,
            greeted_ns: 0,
            retry_ms: None,
            told_code: None,
            ended: None,
            is_live: false,
            has_been_live: false,
            has_snapshot: false,
            away: None,
            told: 0,
            beat_ns: 0,
            silence_ns: 0,
            heard_ns: 0,
            beaten_ns: 0,
            ping_due_ns: u64::MAX,
            pinged: None,
            events_ns: None,
            ack_due_ns: 0,
            owes: None,
            says: Vec::new(),
        }
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    pub(super) fn is_live(&self) -> bool {
        self.is_live
    }

    /// Whether its time to connect has come.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Whether its spans are those of a client as it should be.
    fn is_steady(&self) -> bool {
        self.manner == Manner::Steady
    }

    /// When it has something to do, whatever comes.
    pub(super) fn due_ns(&self) -> u64 {
        match self.phase {
            Phase::Waiting(until_ns) | Phase::Connecting(until_ns) => until_ns,
            Phase::Asking(_) if self.manner == Manner::Slow => u64::MAX,
            Phase::Asking(until_ns) => until_ns,
            Phase::Greeted => self.ping_due_ns.min(self.heard_ns + self.silence_ns),
            Phase::Over => u64::MAX,
        }
    }

    /// It begins to connect; says from where on each of its channels is asked for.
    pub(super) fn connect(&mut self, now: Now, world: &mut World) -> Vec<Option<Position>> {
        if !core::mem::replace(&mut self.has_begun, true) && self.is_steady() {
            let late_ns = now.ns.saturating_sub(self.intended_ns);
            world.spans.connect_late.record(late_ns);
        }
        world.counts.begun += 1;
        self.phase = Phase::Connecting(now.ns + HELLO_NS);
        (self.told_code, self.ended, self.owes, self.pinged) = (None, None, None, None);
        (self.events_ns, self.heard_ns) = (None, now.ns);
        self.says.clear();
        let mut since = Vec::with_capacity(self.follows.len());
        for follow in &mut self.follows {
            let position = follow.position(&world.channels[usize::from(follow.channel)]);
            follow.begin(position);
            since.push(position);
        }
        since
    }

    /// The connection stands.
    pub(super) fn stands(&mut self) {
        if let Phase::Connecting(until_ns) = self.phase {
            self.phase = Phase::Asking(until_ns);
        }
    }

    /// The first message on a WebSocket.
    pub(super) fn hello(
        &self,
        since: &[Option<Position>],
        token: Option<&str>,
        world: &World,
    ) -> String {
        object(|to| {
            to.text("type", "hello");
            if let Some(token) = token {
                to.text("token", token);
            }
            if let Some(sid) = &self.sid {
                to.text("sid", sid);
            }
            to.number("attempt", u64::from(self.failed));
            to.objects(
                "subs",
                self.follows.iter().zip(since),
                |to, (follow, since)| {
                    to.text("ch", world.channels[usize::from(follow.channel)].name());
                    if let Some(position) = since {
                        to.text("since", &position.to_string());
                    }
                },
            );
        })
    }

    /// Bytes came.
    pub(super) fn heard(&mut self, now: Now) {
        self.heard_ns = now.ns;
    }

    /// What it wants to say, one after the other.
    pub(super) fn says(&mut self, now: Now, world: &mut World) -> Vec<String> {
        if let Some((channel, offset)) = self.owes.take() {
            let channel = world.channels[usize::from(channel)].name();
            self.says.push(object(|to| {
                to.text("type", "ack");
                to.text("ch", channel);
                to.number("o", offset);
                to.number("rx", now.wall_ms());
            }));
            world.counts.acks += 1;
        }
        core::mem::take(&mut self.says)
    }

    /// Takes what its link gives.
    pub(super) fn hear(&mut self, heard: Heard<'_>, now: Now, world: &mut World) {
        match heard {
            Heard::Opened => {}
            Heard::Text { text, id } => self.text(text, id, now, world),
            Heard::Retry(wait_ms) => self.retry_ms = Some(wait_ms),
            Heard::Refused { status, after_s } => {
                self.ended = Some(Lost::Refused { status, after_s });
            }
            Heard::Closed(code) => self.ended = Some(Lost::Closed(code)),
            Heard::Broken(what) => {
                let number = self.number;
                world.checks.breach(what, || {
                    format!("client {number}: what came is broken: {what}")
                });
                self.ended = Some(Lost::Ended(what));
            }
        }
    }

    fn text(&mut self, text: &str, id: Option<&str>, now: Now, world: &mut World) {
        let Some(head) = Head::of(text) else {
            return self.breach("not_canonical", text, world);
        };
        if head.is_event() || head.kind == name(Kind::Snapshot) {
            self.event(&head, text, id, now, world);
        } else {
            match Notice::of(text) {
                Some(notice) => self.notice(notice, text, now, world),
                None => self.breach("bad_notice", text, world),
            }
        }
        self.settle(now, world);
    }

    /// The server said what it may not.
    fn breach(&self, what: &'static str, text: &str, world: &mut World) {
        const SHOWN: usize = 120;
        let number = self.number;
        world.checks.breach(what, || {
            let shown: String = text.chars().take(SHOWN).collect();
            format!("client {number}: {what}: {shown}")
        });
    }

    fn event(
        &mut self,
        head: &Head<'_>,
        text: &str,
        id: Option<&str>,
        now: Now,
        world: &mut World,
    ) {
        let escaped = head.channel.unwrap_or_default();
        let channels = &world.channels;
        let place = self
            .follows
            .iter()
            .position(|follow| channels[usize::from(follow.channel)].is(escaped));
        let Some(follow) = place.map(|place| &mut self.follows[place]) else {
            return self.breach("unasked_channel", text, world);
        };
        let place = follow.channel;
        let channel = &mut world.channels[usize::from(place)];
        let is_steady = self.manner == Manner::Steady;
        let Some(epoch) = follow.epoch() else {
            return self.breach("not_subscribed", text, world);
        };
        let Some(offset) = head.offset else {
            channel.is_numbered = false;
            world.checks.unnumbered += 1;
            self.came(head.time_ms, now, world);
            return;
        };
        if id.is_some_and(|id| id.parse() != Ok(Position { epoch, offset })) {
            return self.breach("wrong_id", text, world);
        }
        let is_snapshot = head.kind == name(Kind::Snapshot);
        let client = self.number;
        let read = match is_snapshot {
            true => channel
                .snapshot(epoch, offset, head, text)
                .map(|view| (Some(view), None)),
            false => channel
                .event(epoch, offset, head, text)
                .map(|known| (None, Some(known))),
        };
        let (channel, checks) = (&world.channels[usize::from(place)], &mut world.checks);
        let whose = Whose { client, channel };
        match read {
            Err(Unread::Differs) => {
                checks.differing += 1;
                checks.tell(|| format!("{whose}: others were given another text for {offset}"));
            }
            Err(Unread::NotCanonical) => self.breach("not_canonical", text, world),
            Err(Unread::TooManyKeys) => self.breach("too_many_keys", text, world),
            Ok((Some(view), _)) => {
                follow.snapshot(offset, &view, whose, checks);
                if is_steady && !core::mem::replace(&mut self.has_snapshot, true) {
                    world.spans.snapshot.record(now.ns - self.intended_ns);
                }
            }
            Ok((None, known)) => {
                let Some((known, skip)) = known else { return };
                let is_replayed = follow.is_replayed(offset);
                let took = follow.event(offset, skip, known, whose, checks);
                let is_critical = channel.is_critical;
                if took == Took::Astray {
                    self.resync(place, offset, world);
                }
                if took != Took::Again && !is_replayed {
                    self.came(head.time_ms, now, world);
                }
                self.owe(place, offset, is_critical, now, world);
            }
        }
    }

    /// An event came that is new in the world.
    fn came(&mut self, time_ms: Option<u64>, now: Now, world: &mut World) {
        if !self.is_steady() {
            return;
        }
        if let Some(time_ms) = time_ms {
            let born_ns = time_ms.saturating_mul(1_000_000);
            world
                .spans
                .delay
                .record(now.wall_ns.saturating_sub(born_ns));
        }
        match self.events_ns.replace(now.ns) {
            Some(before_ns) if before_ns != now.ns => {
                world.spans.between.record(now.ns - before_ns);
            }
            _ => {}
        }
    }

    /// It owes an acknowledgement for a critical event, and now and then for any other.
    fn owe(&mut self, channel: u16, offset: u64, is_critical: bool, now: Now, world: &World) {
        let is_sampled = world.ack_every_ns.is_some() && now.ns >= self.ack_due_ns;
        if self.via != Via::WebSocket || !(is_critical || is_sampled) {
            return;
        }
        // Of several at once the critical one's counts.
        let waits_for_critical = self.owes.is_some_and(|(owed, _)| {
            owed != channel && world.channels[usize::from(owed)].is_critical
        });
        if waits_for_critical {
            return;
        }
        let reached = self.follows.iter().find(|follow| follow.channel == channel);
        let reached = reached.map_or(offset, Follow::at);
        self.owes = Some((channel, reached));
        if let Some(every_ns) = world.ack_every_ns {
            self.ack_due_ns = now.ns + every_ns;
        }
    }

    /// Its state of a channel has gone astray: a WebSocket asks for a snapshot.
    fn resync(&mut self, channel: u16, offset: u64, world: &World) {
        let channel = &world.channels[usize::from(channel)];
        if self.via == Via::WebSocket && channel.sends_snapshots {
            self.says.push(object(|to| {
                to.text("type", "resync_request");
                to.text("ch", channel.name());
                to.number("last_seen", offset);
            }));
        }
    }

    fn notice(&mut self, notice: Notice, text: &str, now: Now, world: &mut World) {
        let is_first = self.phase != Phase::Greeted;
        match notice {
            Notice::Hello {
                v,
                sid,
                epoch,
                ping_ms,
                misses,
            } => {
                if v != VERSION || epoch.parse::<Epoch>().is_err() || ping_ms == 0 || !is_first {
                    return self.breach("bad_hello", text, world);
                }
                self.greet(sid, ping_ms, misses, now, world);
            }
            Notice::Disconnect {
                code,
                retry_after_ms,
            } => (self.told_code, self.retry_ms) = (Some(code), retry_after_ms),
            Notice::Error { code, message } => {
                let number = self.number;
                add(&mut world.counts.errors, &code);
                if code == "bad_ack" || code == "not_json" || code == "bad_message" {
                    let words = || format!("client {number}: {code}: {message}");
                    world.checks.breach("refused_message", words);
                }
            }
            Notice::Other => {}
            _ if is_first => self.breach("no_hello", text, world),
            Notice::Ping { ts } => self.beat(ts, now, world),
            Notice::Pong { ts } => {
                if let Some((_, sent_ns)) = self.pinged.take_if(|(sent_ms, _)| *sent_ms == ts) {
                    world.beats.pongs += 1;
                    if self.is_steady() {
                        world.spans.pong.record(now.ns - sent_ns);
                    }
                }
            }
            Notice::Shed { n } => world.checks.shed += n,
            Notice::Subscribed {
                ch,
                epoch,
                o,
                recovered,
                replayed,
            } => {
                let (client, checks) = (self.number, &mut world.checks);
                let followed = follow_of(&mut self.follows, &world.channels, &ch);
                match (followed, epoch.parse()) {
                    (Some((follow, channel)), Ok(epoch)) => {
                        let whose = Whose { client, channel };
                        follow.subscribed(epoch, o, recovered, replayed, whose, checks);
                    }
                    _ => self.breach("unasked_channel", text, world),
                }
            }
            Notice::Gap { ch, from, to, why } => {
                let (client, checks) = (self.number, &mut world.checks);
                match follow_of(&mut self.follows, &world.channels, &ch) {
                    Some((follow, channel)) => {
                        let whose = Whose { client, channel };
                        follow.gap(from, to, &why, whose, checks);
                    }
                    None => self.breach("unasked_channel", text, world),
                }
            }
        }
    }

    fn greet(&mut self, sid: String, ping_ms: u64, misses: u64, now: Now, world: &mut World) {
        if self.is_steady() && !self.has_been_live && self.sid.is_none() {
            world.spans.hello.record(now.ns - self.intended_ns);
        }
        self.sid = Some(sid);
        self.phase = Phase::Greeted;
        self.greeted_ns = now.ns;
        self.beat_ns = ping_ms.saturating_mul(1_000_000);
        self.silence_ns = self.beat_ns.saturating_mul(misses.max(1));
        self.beaten_ns = now.ns;
        // Not all at once: each has a place of its own between two beats.
        self.ping_due_ns = match self.via {
            Via::WebSocket => now.ns + 1 + world.prng.below(self.beat_ns),
            _ => u64::MAX,
        };
    }

    /// A heartbeat of the server.
    fn beat(&mut self, sent_ms: u64, now: Now, world: &mut World) {
        world.beats.heard += 1;
        let late_ns = self.overdue_ns(now);
        if self.is_steady() {
            world.spans.beat_late.record(late_ns);
        }
        world.beats.late += u64::from(late_ns > self.beat_ns / 10);
        self.beaten_ns = now.ns;
        if self.via == Via::WebSocket {
            self.says.push(object(|to| {
                to.text("type", "pong");
                to.number("ts", sent_ms);
            }));
        }
    }

    fn overdue_ns(&self, now: Now) -> u64 {
        (now.ns - self.beaten_ns).saturating_sub(self.beat_ns)
    }

    /// Whether it is live by now.
    fn settle(&mut self, now: Now, world: &mut World) {
        let is_all_there = self.phase == Phase::Greeted && self.follows.iter().all(Follow::is_live);
        if self.is_live || !is_all_there || self.manner == Manner::Slow {
            return;
        }
        self.is_live = true;
        self.told = 0;
        world.live += 1;
        if let Some((since_ns, cut)) = self.away.take() {
            if self.is_steady() {
                world.spans.again.record(now.ns - since_ns);
            }
            if let Some(cut) = cut {
                world.came_back(cut, now.ns);
            }
        } else if !self.has_been_live {
            self.has_been_live = true;
            world.been_live += 1;
            if self.is_steady() {
                world.spans.live.record(now.ns - self.intended_ns);
            }
        }
    }

    /// Does what is due on a connection that stands.
    pub(super) fn step(&mut self, now: Now, world: &mut World) {
        match self.phase {
            Phase::Connecting(until_ns) if now.ns >= until_ns => {
                self.ended = Some(Lost::Failed("no answer"));
            }
            Phase::Asking(until_ns) if now.ns >= until_ns && self.manner != Manner::Slow => {
                self.ended = Some(Lost::Failed("no hello"));
            }
            Phase::Greeted if now.ns >= self.heard_ns + self.silence_ns => {
                world.beats.silent += 1;
                self.ended = Some(Lost::Ended("silent"));
            }
            Phase::Greeted if now.ns >= self.ping_due_ns => {
                let wall_ms = now.wall_ms();
                world.beats.unanswered += u64::from(self.pinged.is_some());
                world.beats.pings += 1;
                self.pinged = Some((wall_ms, now.ns));
                self.ping_due_ns = now.ns + self.beat_ns;
                self.says.push(object(|to| {
                    to.text("type", "ping");
                    to.number("ts", wall_ms);
                }));
            }
            _ => {}
        }
    }

    /// The connection is gone. It waits, or does not come back.
    pub(super) fn lost(&mut self, lost: Lost, now: Now, world: &mut World) {
        let was_greeted = self.phase == Phase::Greeted;
        if core::mem::take(&mut self.is_live) {
            world.live -= 1;
            world.counts.lost += 1;
            let cut = match lost {
                Lost::Cut(cut) => Some(cut),
                _ => None,
            };
            self.away = Some((now.ns, cut));
        }
        let mut returns = true;
        let counts = &mut world.counts;
        match lost {
            Lost::Failed(why) => add(&mut counts.failed, why),
            Lost::Cut(_) => counts.cut += 1,
            Lost::Refused { status, after_s } => {
                add(&mut counts.refused, &status.to_string());
                self.retry_ms = after_s.map(|after_s| after_s.saturating_mul(1_000));
                returns = status >= 500 || matches!(status, 408 | 429);
            }
            Lost::Closed(code) => {
                let code = code.or(self.told_code);
                let name = code.map_or_else(|| "no code".to_owned(), code_name);
                let to = match was_greeted {
                    true => &mut counts.closed,
                    false => &mut counts.refused,
                };
                add(to, &name);
                returns = code.is_none_or(|code| matches!(code, 3000..3500));
            }
            Lost::Ended(how) => {
                let code = self.told_code.map(code_name);
                let to = match was_greeted || code.is_none() {
                    true => &mut counts.closed,
                    false => &mut counts.refused,
                };
                add(to, code.as_deref().unwrap_or(how));
                returns = self.told_code.is_none_or(|code| matches!(code, 3000..3500));
            }
        }
        if !returns {
            counts.given_up += 1;
            self.phase = Phase::Over;
            return;
        }
        if was_greeted && now.ns - self.greeted_ns >= UP_NS {
            self.failed = 0;
        }
        let wait_ns = match self.retry_ms.take() {
            // To be told when to come is no failure.
            Some(wait_ms) => {
                let wait_ns = wait_ms.saturating_mul(1_000_000);
                self.told += 1;
                if let Some((_, Some(cut))) = self.away {
                    world.told(cut, now.ns.saturating_add(wait_ns), self.told == 2);
                }
                wait_ns
            }
            None => {
                let wait_ns = world.back_off_ns(self.failed);
                self.failed += 1;
                wait_ns
            }
        };
        self.phase = Phase::Waiting(now.ns.saturating_add(wait_ns));
    }

    /// The load is over for it. A heartbeat that should have come by now is late.
    pub(super) fn leave(&mut self, now: Now, world: &mut World) {
        if self.phase == Phase::Greeted && self.manner != Manner::Slow {
            let is_late = self.overdue_ns(now) > self.beat_ns / 10;
            world.beats.late += u64::from(is_late);
        }
        self.is_live = false;
        self.phase = Phase::Over;
    }
}

fn code_name(code: u16) -> String {
    match Code::of_number(code) {
        Some(known) => format!("{code} {}", known.name()),
        None => code.to_string(),
    }
}

/// The subscription to that channel, and what is known of it.
fn follow_of<'f, 'c>(
    follows: &'f mut [Follow],
    channels: &'c [super::known::Channel],
    name: &str,
) -> Option<(&'f mut Follow, &'c super::known::Channel)> {
    let follow = follows
        .iter_mut()
        .find(|follow| channels[usize::from(follow.channel)].name() == name)?;
    let channel = &channels[usize::from(follow.channel)];
    Some((follow, channel))
}

#[cfg(test)]
mod tests;
