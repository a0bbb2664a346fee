//! The connections of an edge and its channels, a turn at a time.
//!
//! ```text
//!   turn:  accept ─→ read those that became readable ─→ what is due ─→ those whose channels have news, or that can be
//!          written to again: fill, write, until there is nothing more or no room
//! ```
//!
//! A client is looked at only when something came of it: bytes, room, a time, or an event of a channel that it follows. Events
//! of state and streams are gathered for [`EdgeConfig::debounce_ns`], so that a client gets what a busy line published in that
//! time with one write; critical events leave at once.
//!
//! Invariant: a turn's work is bounded for each client, so that none keeps another waiting; a client that does not read costs
//! nothing but its place.

use core::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{IpAddr, SocketAddr};

use super::admission::{Admission, AdmissionLimits, Refused, TurnedAway};
use super::channel::Lane;
use super::client::{Client, ClientKey, Now, On, Rules, Said, Waits};
use super::code::Code;
use super::counts::{Counts, Ended};
use super::hops::Hops;
use super::hub::Hub;
use super::lanes::ChannelId;
use super::places::Places;
use super::published::{NotPublished, Outline};
use super::run::{Run, Runs};
use crate::base::limits::{
    EDGE_LINGER_NS, EDGE_NOTSENT_BYTES, EDGE_READ_BYTES, EDGE_READS_PER_TURN, EDGE_REFUSED_MAX,
    EDGE_WRITES_PER_TURN,
};
use crate::budget::BeyondBudgets;
use crate::clock::Clock;
use crate::io::{
    Driver, Endpoint, Half, IoError, ListenerId, StreamId, StreamRead, StreamSpec, StreamWrite,
};

/// How an edge is opened.
#[derive(Debug)]
pub struct EdgeConfig {
    /// Where it listens; port 0 lets the system choose.
    pub at: SocketAddr,
    /// What clients go by.
    pub rules: Rules,
    /// How many may come in.
    pub admission: AdmissionLimits,
    /// How long events of state and streams are gathered, in nanoseconds.
    pub debounce_ns: u64,
    /// What the hops beyond the line owe.
    pub budgets: BeyondBudgets,
}

#[derive(Debug)]
struct Held {
    turn: u32,
    id: StreamId,
    /// Whether it counts as inside: one that was refused does not.
    address: Option<IpAddr>,
    client: Client,
    /// Until when the peer's last bytes are read and thrown away, so that it gets ours.
    lingers_ns: Option<u64>,
    /// When it is looked at next, whatever comes.
    due_ns: u64,
    /// Whether its socket had no room.
    blocked: bool,
    /// It was not read to its end, because it waits for something.
    stopped: bool,
}

/// The connections of an edge and its channels.
#[derive(Debug)]
pub struct Edge {
    driver: Driver,
    listener: ListenerId,
    address: SocketAddr,
    hub: Hub,
    rules: Rules,
    door: Admission,
    held: Vec<Option<Held>>,
    turns: Vec<u32>,
    open: usize,
    refused: usize,
    /// Those to write to.
    dirty: Places,
    /// Those that have sent more than was read in a turn.
    unread: Places,
    /// Those whose request waits for an answer of whoever holds the line.
    waiting: Vec<u32>,
    timers: BinaryHeap<Reverse<(u64, u32, u32)>>,
    /// Those whose time has come.
    due: Places,
    /// Channels with news that are not given out yet.
    gathered: Vec<ChannelId>,
    debounce_ns: u64,
    flushed_ns: Option<u64>,
    buffer: Box<[u8]>,
    text: String,
    runs: Runs,
    draining: bool,
    counts: Counts,
    hops: Hops,
    /// By which writes are timed; without it, all of a turn are at its time.
    clock: Option<Clock>,
}

impl Edge {
    /// Listens. The driver has room for as many connections as may come in, and those that are told that they may not.
    ///
    /// # Errors
    /// The address is in use, not of this machine or not allowed.
    pub fn open(mut driver: Driver, hub: Hub, config: EdgeConfig) -> Result<Edge, IoError> {
        let listener = driver.listen(&StreamSpec {
            notsent_lowat_bytes: Some(EDGE_NOTSENT_BYTES),
            ..StreamSpec::at(config.at)
        })?;
        let address = match driver.listener_endpoint(listener)? {
            Endpoint::Tcp(address) => address,
            _ => config.at,
        };
        Ok(Edge {
            driver,
            listener,
            address,
            hub,
            rules: config.rules,
            door: Admission::new(config.admission),
            held: Vec::new(),
            turns: Vec::new(),
            open: 0,
            refused: 0,
            dirty: Places::default(),
            unread: Places::default(),
            waiting: Vec::new(),
            timers: BinaryHeap::new(),
            due: Places::default(),
            gathered: Vec::new(),
            debounce_ns: config.debounce_ns,
            flushed_ns: None,
            buffer: vec![0; EDGE_READ_BYTES].into_boxed_slice(),
            text: String::new(),
            runs: Runs::new(),
            draining: false,
            counts: Counts::default(),
            hops: Hops::new(config.budgets),
            clock: None,
        })
    }

    /// Times writes of samples by that clock, whose nanoseconds are those that turns are told: in a turn with many clients the last of
    /// them is written to well after its beginning.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Edge {
        self.clock = Some(clock);
        self
    }

    /// Where it listens, with the port that the system chose.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its channels.
    #[must_use]
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Its channels, to open and to publish; what is published leaves with the next turns.
    pub fn hub_mut(&mut self) -> &mut Hub {
        &mut self.hub
    }

    /// Its driver, to poll.
    pub fn driver_mut(&mut self) -> &mut Driver {
        &mut self.driver
    }

    /// What it counted, those of connections that are open included.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = self.counts.clone();
        for held in self.held.iter().flatten() {
            counts
                .lanes
                .add(&held.client.lanes().counts(self.hub.channels()));
            if let Some(transport) = held.client.transport() {
                counts.streams_open[transport as usize] += 1;
            }
        }
        counts
    }

    /// What samples of the way to a screen took.
    #[must_use]
    pub fn hops(&self) -> &Hops {
        &self.hops
    }

    /// Connections that are open.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.open
    }

    /// The line has so much headroom, in thousandths of its latency budget.
    pub fn headroom(&mut self, permille: u64, now: Now) {
        self.door.headroom(permille, now.ns);
    }

    /// Publishes an event; what its channel does not take is counted.
    pub fn publish(&mut self, id: ChannelId, outline: &Outline<'_>) -> Result<u64, NotPublished> {
        let published = self.hub.publish(id, outline);
        match published {
            Ok(_) => self.counts.published += 1,
            Err(_) => self.counts.unpublished += 1,
        }
        published
    }

    /// What requests wait for from whoever holds the line.
    pub fn waits(&self) -> impl Iterator<Item = Waits> + '_ {
        let places = self.waiting.iter();
        places.filter_map(|place| self.held.get(*place as usize)?.as_ref()?.client.waits())
    }

    /// Answers all that wait for that.
    pub fn answer(&mut self, what: Waits, said: &Said, now: Now) {
        for place in core::mem::take(&mut self.waiting) {
            let Some(held) = self.held_mut(place) else {
                continue;
            };
            match held.client.waits() {
                Some(waits) if waits == what => {
                    held.client.answer(said);
                    self.flush(place, now);
                    // The next request may lie behind this one.
                    self.note_wait(place);
                }
                Some(_) => self.note_wait(place),
                None => {}
            }
        }
    }

    /// Notes that a request waits, if one does and it is not noted yet.
    fn note_wait(&mut self, place: u32) {
        let held = self.held.get(place as usize).and_then(Option::as_ref);
        let waits = held.is_some_and(|held| held.client.waits().is_some());
        if waits && !self.waiting.contains(&place) {
            self.waiting.push(place);
        }
    }

    /// When it has something to do, whatever comes.
    #[must_use]
    pub fn due_ns(&self) -> u64 {
        let timer_ns = self.timers.peek().map_or(u64::MAX, |Reverse((ns, ..))| *ns);
        let gathered_ns = match (self.gathered.is_empty(), self.flushed_ns) {
            (true, _) => u64::MAX,
            (false, None) => 0,
            (false, Some(ns)) => ns + self.debounce_ns,
        };
        match self.dirty.is_empty() && self.unread.is_empty() {
            true => timer_ns.min(gathered_ns),
            false => 0,
        }
    }

    /// Tells each client when it may come back, and closes it; nobody is let in from here on.
    pub fn drain(&mut self, now: Now) {
        self.draining = true;
        for place in 0..self.held.len() as u32 {
            if self.held.get(place as usize).is_some_and(Option::is_none) {
                continue;
            }
            let retry_ms = self.door.slot(now.ns) / 1_000_000;
            if let Some(held) = self.held_mut(place) {
                held.client
                    .end(Code::Drain, Ended::Drained, Some(retry_ms), now);
                self.flush(place, now);
            }
        }
    }

    /// One turn at that time, after a poll.
    pub fn turn(&mut self, now: Now) {
        self.accept(now);
        self.unread.begin();
        while let Some(place) = self.unread.next() {
            self.read(place, now);
        }
        while let Some(id) = self.driver.listener_next_ready(self.listener) {
            self.read(id.place() as u32, now);
        }
        while let Some(id) = self.driver.listener_next_writable(self.listener) {
            let place = id.place() as u32;
            if let Some(held) = self.held_mut(place) {
                held.blocked = false;
                self.dirty.insert(place);
            }
        }
        self.time(now);
        self.gather(now);
        self.dirty.begin();
        // In the order of their places: what the system has of each lies so too, and is found sooner.
        while let Some(place) = self.dirty.next() {
            if self.held_mut(place).is_some_and(|held| !held.blocked) {
                self.flush(place, now);
            }
        }
    }

    fn held_mut(&mut self, place: u32) -> Option<&mut Held> {
        self.held.get_mut(place as usize)?.as_mut()
    }

    fn accept(&mut self, now: Now) {
        while self.driver.listener_maybe_readable(self.listener) {
            let id = match self.driver.accept(self.listener) {
                Ok(Some(id)) => id,
                // Too many files, or too many connections: it is tried again when something has ended.
                Ok(None) | Err(_) => return,
            };
            self.counts.accepted += 1;
            let address = self.driver.stream_peer(id);
            let address = address
                .ok()
                .flatten()
                .map_or(IpAddr::from([0; 4]), |peer| peer.ip());
            let entered = match self.draining {
                true => Err(Refused::Full(self.door.slot(now.ns))),
                false => self.door.enter(address, now.ns),
            };
            if let Err(refused) = entered {
                let why = match self.draining {
                    true => TurnedAway::Draining,
                    false => refused.why(),
                };
                self.counts.turned_away[why as usize] += 1;
                if self.refused >= EDGE_REFUSED_MAX {
                    self.counts.end(Ended::Refused);
                    let _ = self.driver.stream_close(id);
                    continue;
                }
                self.refused += 1;
            }
            self.hold(id, entered, address, now);
        }
    }

    fn hold(&mut self, id: StreamId, entered: Result<(), Refused>, address: IpAddr, now: Now) {
        let place = id.place();
        if self.held.len() <= place {
            self.held.resize_with(place + 1, || None);
            self.turns.resize(place + 1, 0);
        }
        self.turns[place] = self.turns[place].wrapping_add(1);
        let key = ClientKey {
            place: place as u32,
            turn: self.turns[place],
        };
        self.held[place] = Some(Held {
            turn: key.turn,
            id,
            address: entered.is_ok().then_some(address),
            client: Client::new(key, self.rules.times, entered.err(), now),
            lingers_ns: None,
            due_ns: u64::MAX,
            blocked: false,
            stopped: false,
        });
        self.open += 1;
        self.read(place as u32, now);
    }

    /// Reads what there is, as long as it is wanted, and of one that sends faster than it is read only so much at once.
    fn read(&mut self, place: u32, now: Now) {
        for reads in 0.. {
            let Some(held) = self.held.get_mut(place as usize).and_then(Option::as_mut) else {
                return;
            };
            let lingers = held.lingers_ns.is_some();
            if !lingers && !held.client.wants_input() {
                // No poll reports again what is there already.
                held.stopped = true;
                break;
            }
            held.stopped = false;
            if reads == EDGE_READS_PER_TURN {
                self.unread.insert(place);
                break;
            }
            let count = if !lingers && held.client.has_unread() {
                0
            } else {
                match self.driver.stream_read(held.id, &mut self.buffer) {
                    Ok(StreamRead::Bytes(_)) if lingers => continue,
                    Ok(StreamRead::Bytes(count)) => count,
                    Ok(StreamRead::WouldBlock) => break,
                    Ok(StreamRead::End) if !lingers => {
                        held.client.end_of_input();
                        break;
                    }
                    Ok(StreamRead::End | StreamRead::Reset) | Err(_) => {
                        held.client.hang_up();
                        break;
                    }
                }
            };
            held.client.take(
                &self.buffer[..count],
                &mut On {
                    hub: &mut self.hub,
                    rules: &self.rules,
                    counts: &mut self.counts,
                    hops: &mut self.hops,
                    now,
                },
            );
        }
        self.flush(place, now);
    }

    /// Does what is due. What is due again at once waits for the next turn, so that no client keeps this one from its end.
    fn time(&mut self, now: Now) {
        while let Some(Reverse((due_ns, place, turn))) = self.timers.peek().copied() {
            if due_ns > now.ns {
                break;
            }
            self.timers.pop();
            if let Some(held) = self.held_mut(place)
                && held.turn == turn
                && held.due_ns == due_ns
            {
                held.due_ns = u64::MAX;
                self.due.insert(place);
            }
        }
        self.due.begin();
        while let Some(place) = self.due.next() {
            let Some(held) = self.held.get_mut(place as usize).and_then(Option::as_mut) else {
                continue;
            };
            if held.lingers_ns.is_some_and(|until_ns| now.ns >= until_ns) {
                held.client.hang_up();
            }
            if held.client.due_ns() <= now.ns {
                held.client.step(now, &mut self.counts);
            }
            // Reading on is due too, where it was held back; what waits for the socket is tried with it.
            self.read(place, now);
        }
    }

    /// Marks those who follow a channel that has news.
    fn gather(&mut self, now: Now) {
        while let Some(id) = self.hub.take_news() {
            let lane = self.hub.channel(id).map(super::channel::Channel::lane);
            match lane {
                Some(Lane::Critical) => self.tell(id),
                _ => self.gathered.push(id),
            }
        }
        let is_time = self
            .flushed_ns
            .is_none_or(|ns| now.ns >= ns + self.debounce_ns);
        if !self.gathered.is_empty() && is_time {
            self.flushed_ns = Some(now.ns);
            for id in core::mem::take(&mut self.gathered) {
                self.tell(id);
            }
        }
    }

    fn tell(&mut self, id: ChannelId) {
        for key in self.hub.followers(id) {
            self.dirty.insert(key.place);
        }
    }

    /// Takes what its channels have and writes it, until there is nothing more or no room; takes it down if it is over.
    fn flush(&mut self, place: u32, now: Now) {
        let mut writes = 0;
        loop {
            let Some(held) = self.held.get_mut(place as usize).and_then(Option::as_mut) else {
                return;
            };
            let client = &mut held.client;
            if held.blocked {
                break;
            }
            let run = client.run(&self.hub, &mut self.runs);
            let had_all = run.is_some() || client.fill(&mut self.hub, now, &mut self.text);
            let output = run.map_or(client.output(), Run::bytes);
            if output.is_empty() {
                client.rests(now);
                break;
            }
            if writes == EDGE_WRITES_PER_TURN {
                self.dirty.insert(place);
                return self.schedule(place);
            }
            writes += 1;
            match self.driver.stream_write(held.id, output) {
                Ok(StreamWrite::Bytes(count)) => {
                    let was_all = had_all && count == output.len();
                    self.counts.writes += 1;
                    self.counts.bytes += count as u64;
                    let is_sampled = match run {
                        Some(run) => !run.samples().is_empty(),
                        None => client.is_sampled(),
                    };
                    let clock = self.clock.as_ref().filter(|_| is_sampled);
                    let on = &mut On {
                        hub: &mut self.hub,
                        rules: &self.rules,
                        counts: &mut self.counts,
                        hops: &mut self.hops,
                        now: clock.map_or(now, |clock| now.at(clock.stamp())),
                    };
                    match run {
                        Some(run) => client.ran(run, count, on),
                        None => client.written(count, on),
                    }
                    if was_all && client.output().is_empty() {
                        break;
                    }
                }
                Ok(StreamWrite::WouldBlock) => {
                    client.blocked(now);
                    held.blocked = true;
                    break;
                }
                Ok(StreamWrite::Broken) | Err(_) => {
                    client.hang_up();
                    break;
                }
            }
        }
        self.settle(place, now);
    }

    /// Takes down one that is over, and sees when the others are looked at next.
    fn settle(&mut self, place: u32, now: Now) {
        let Some(held) = self.held_mut(place) else {
            return;
        };
        let Some(why) = held.client.is_over() else {
            if held.stopped && held.client.wants_input() {
                held.stopped = false;
                self.unread.insert(place);
            }
            self.note_wait(place);
            return self.schedule(place);
        };
        if held.client.is_gone() {
            return self.take_down(place, why);
        }
        if held.lingers_ns.is_none() {
            // What it still sends would make the system break the connection off, and with it what it has not read yet.
            held.lingers_ns = Some(now.ns + EDGE_LINGER_NS);
            let id = held.id;
            let _ = self.driver.stream_shutdown(id, Half::Write);
            return self.read(place, now);
        }
        self.schedule(place);
    }

    fn take_down(&mut self, place: u32, why: Ended) {
        let Some(held) = self.held.get_mut(place as usize).and_then(Option::take) else {
            return;
        };
        self.waiting.retain(|other| *other != place);
        let _ = self.driver.stream_close(held.id);
        self.counts.end(why);
        let mut lanes = held.client.lanes().counts(self.hub.channels());
        lanes.left += core::mem::take(&mut lanes.waiting);
        self.counts.lanes.add(&lanes);
        if let Some(code) = held.client.code() {
            self.counts.closes[code as usize] += 1;
        }
        self.open -= 1;
        for id in held.client.lanes().channels() {
            self.hub.unfollow(id, held.client.key());
        }
        match held.address {
            Some(address) => self.door.leave(address),
            None => self.refused -= 1,
        }
    }

    fn schedule(&mut self, place: u32) {
        let Some(held) = self.held.get_mut(place as usize).and_then(Option::as_mut) else {
            return;
        };
        let due_ns = held
            .client
            .due_ns()
            .min(held.lingers_ns.unwrap_or(u64::MAX));
        // One that is due later is found so when its time comes: moving it each time it says something would cost more.
        if due_ns < held.due_ns {
            held.due_ns = due_ns;
            self.timers.push(Reverse((due_ns, place, held.turn)));
        }
    }
}
