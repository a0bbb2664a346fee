//! The loop of a load: one thread, one driver, all clients.
//!
//! ```text
//!   turn:  connect those whose time has come ─→ cut ─→ those whose sockets became writable ─→ read those that became readable
//!          ─→ what is due ─→ rest until the next of all times
//! ```
//!
//! The load is an open loop: when each client connects is fixed ahead, and no answer of the server moves it. What was to happen
//! and did not in time counts from when it was to happen.
//!
//! Invariant: a turn's work is bounded for each client, and what the loop itself took is in the report.

use core::cmp::Reverse;
use std::collections::BinaryHeap;

use hopline::clock::Clock;
use hopline::edge::{ChannelName, Position};
use hopline::feed::{Arrivals, Schedule};
use hopline::io::{Driver, IoError, StreamId, StreamRead, StreamSpec, StreamWrite};
use hopline::wire::websocket::NONCE_BYTES;

use super::client::{Client, FLOOD, Lost, Phase};
use super::plan::{Cut, Manner, Via};
use super::server::Watched;
use super::via::{Door, Link};
use super::world::{CutReport, Now, World};

/// Bytes of a read.
const READ_BYTES: usize = 64 << 10;

/// Reads of a client in a turn.
const READS: usize = 8;

/// Writes of a client in a turn: one that sends without end takes no other's time.
const WRITES: usize = 4;

/// Connections begun in a turn, so that those that stand are read meanwhile.
const CONNECTS: usize = 64;

/// Receive buffer that a client asks for that never reads, in bytes: else its kernel would read for it, for minutes.
const SLOW_RECV_BYTES: usize = 4 << 10;

/// Send buffer that a client asks for that sends without end, in bytes: what waits in it was not read.
const FLOOD_SEND_BYTES: usize = 16 << 10;

/// Longest rest before it looks for a signal, and how often the server's memory is looked at.
const LOOK_NS: u64 = 250_000_000;

/// Time between two words of clients that are live.
const TELL_NS: u64 = 1_000_000_000;

/// How long what clients are owed at the end may take.
const GOODBYE_NS: u64 = 2_000_000_000;

/// Reads of a client that never read, at the end.
const BACKLOG_READS: usize = 1_024;

/// How a load goes on in time.
#[derive(Clone, Debug)]
pub(super) struct Course {
    /// How many connect a second; all at once without.
    pub(super) connects_per_s: Option<f64>,
    pub(super) span_ns: u64,
    pub(super) cuts: Vec<Cut>,
    /// How long nobody may be connected, with a server that does not answer, until it is given up.
    pub(super) give_up_ns: u64,
}

/// How a load ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ending {
    /// How long it took.
    pub(super) elapsed_ns: u64,
    /// Clients whose time to connect had not come.
    pub(super) not_begun: u32,
    /// The server was given up.
    pub(super) gave_up: bool,
    /// A signal ended it.
    pub(super) signalled: bool,
}

#[derive(Debug)]
struct Held {
    client: Client,
    stream: Option<StreamId>,
    link: Option<Link>,
    /// When it is looked at next, whatever comes.
    due_ns: u64,
    /// Whether it is on the list of those with more to read or write than a turn has time for.
    again: bool,
    /// Nothing can be written any more; what was sent before may still be read.
    is_broken: bool,
}

/// A load under way.
#[derive(Debug)]
pub(super) struct Load {
    driver: Driver,
    clock: Clock,
    server: StreamSpec,
    door: Door,
    course: Course,
    world: World,
    held: Vec<Held>,
    /// Whose connection lies at a place of the driver.
    at_place: Vec<u32>,
    timers: BinaryHeap<Reverse<(u64, u32)>>,
    again: Vec<u32>,
    buffer: Box<[u8]>,
    cuts_done: usize,
    /// Connections that stand.
    standing: usize,
    /// Since when none does, and the system says that nobody listens.
    alone_ns: Option<u64>,
    /// Whether that all are live was told, and when.
    told_live: bool,
    told_ns: Option<u64>,
    watched: Option<Watched>,
    looked_ns: u64,
}

impl Load {
    /// A load that has not begun.
    pub(super) fn new(
        driver: Driver,
        server: StreamSpec,
        door: Door,
        mut course: Course,
        world: World,
        watched: Option<Watched>,
    ) -> Load {
        let count = world.plan.clients as usize;
        course.cuts.sort_by_key(|cut| cut.at_ns);
        Load {
            at_place: vec![0; driver.streams_max()],
            driver,
            clock: Clock::calibrated(),
            server,
            door,
            course,
            world,
            held: Vec::with_capacity(count),
            timers: BinaryHeap::with_capacity(2 * count),
            again: Vec::new(),
            buffer: vec![0; READ_BYTES].into_boxed_slice(),
            cuts_done: 0,
            standing: 0,
            alone_ns: None,
            told_live: false,
            told_ns: None,
            watched,
            looked_ns: 0,
        }
    }

    fn now(&self) -> Now {
        Now {
            ns: self.clock.stamp(),
            wall_ns: self.clock.wall_ns(),
        }
    }

    /// Runs it to its end, and says what came of it. `stops` is asked now and then; `tells` is told whenever all clients that read
    /// have come to be live, but not more often than once a second.
    ///
    /// # Errors
    /// What the system said to a poll.
    pub(super) fn run(
        mut self,
        stops: impl Fn() -> bool,
        tells: impl Fn(u32, u64),
    ) -> Result<(World, Ending, Option<Watched>), IoError> {
        let from_ns = self.clock.stamp();
        self.intend(from_ns);
        let end_ns = from_ns.saturating_add(self.course.span_ns);
        let mut ending = Ending::default();
        loop {
            let now = self.now();
            ending.elapsed_ns = now.ns - from_ns;
            ending.signalled = stops();
            ending.gave_up = self.is_hopeless(now);
            if now.ns >= end_ns || ending.signalled || ending.gave_up {
                break;
            }
            self.cut_due(now, from_ns);
            let full = self.time(now);
            self.writable();
            self.readable();
            self.on_again();
            self.look(now);
            if self.are_newly_live(now) {
                tells(self.world.live, now.ns - from_ns);
            }
            let after_ns = self.clock.stamp();
            self.world.spans.turn.record(after_ns - now.ns);
            let rest_ns = match full || !self.again.is_empty() {
                true => 0,
                false => self.next_ns(from_ns).min(end_ns).saturating_sub(after_ns),
            };
            self.driver.poll(now.ns, Some(rest_ns.min(LOOK_NS)))?;
        }
        let held = self.held.iter();
        ending.not_begun = held.filter(|held| !held.client.has_begun()).count() as u32;
        self.goodbye()?;
        Ok((self.world, ending, self.watched))
    }

    /// Fixes when each client connects.
    fn intend(&mut self, from_ns: u64) {
        let count = self.world.plan.clients;
        let rate = self.course.connects_per_s;
        let mut schedule = rate.and_then(|rate| Schedule::new(rate, Arrivals::Constant, 0).ok());
        for number in 0..count {
            let after_ns = schedule.as_mut().map_or(0, Schedule::next_ns);
            let due_ns = from_ns.saturating_add(after_ns);
            self.held.push(Held {
                client: Client::new(number, due_ns, &self.world),
                stream: None,
                link: None,
                due_ns,
                again: false,
                is_broken: false,
            });
            self.timers.push(Reverse((due_ns, number)));
        }
    }

    /// Clients that are to be live: all but those that never read and those that were told not to come back.
    fn expected(&self) -> u32 {
        let given_up = self.world.counts.given_up as u32;
        (self.world.plan.clients - self.world.plan.slow).saturating_sub(given_up)
    }

    fn are_newly_live(&mut self, now: Now) -> bool {
        let live = self.world.live;
        let all_are = live > 0 && live == self.expected();
        let is_time = self.told_ns.is_none_or(|ns| now.ns - ns >= TELL_NS);
        let is_new = all_are && !self.told_live && is_time;
        self.told_live &= all_are;
        if is_new {
            (self.told_live, self.told_ns) = (true, Some(now.ns));
        }
        is_new
    }

    fn is_hopeless(&self, now: Now) -> bool {
        let is_alone = self
            .alone_ns
            .is_some_and(|since_ns| now.ns - since_ns >= self.course.give_up_ns);
        let none_comes_back = self.world.counts.given_up == u64::from(self.world.plan.clients);
        is_alone || none_comes_back
    }

    fn next_ns(&self, from_ns: u64) -> u64 {
        let timer_ns = self.timers.peek().map_or(u64::MAX, |Reverse((ns, _))| *ns);
        let cut = self.course.cuts.get(self.cuts_done);
        let cut_ns = cut.map_or(u64::MAX, |cut| from_ns.saturating_add(cut.at_ns));
        timer_ns.min(cut_ns)
    }

    /// Does what is due; true if there is more of it than a turn has time for.
    fn time(&mut self, now: Now) -> bool {
        let mut connects = 0;
        while let Some(Reverse((due_ns, number))) = self.timers.peek().copied() {
            if due_ns > now.ns {
                return false;
            }
            if connects == CONNECTS {
                return true;
            }
            self.timers.pop();
            let held = &mut self.held[number as usize];
            if held.due_ns != due_ns {
                continue;
            }
            held.due_ns = u64::MAX;
            if held.client.due_ns() > now.ns {
                self.schedule(number);
                continue;
            }
            if let Phase::Waiting(_) = held.client.phase() {
                connects += 1;
                self.connect(number);
                continue;
            }
            held.client.step(now, &mut self.world);
            self.speak(number, now);
            self.settle(number);
        }
        false
    }

    fn schedule(&mut self, number: u32) {
        let held = &mut self.held[number as usize];
        let due_ns = held.client.due_ns();
        // One that is due later is found so when its time comes.
        if due_ns < held.due_ns {
            held.due_ns = due_ns;
            self.timers.push(Reverse((due_ns, number)));
        }
    }

    fn connect(&mut self, number: u32) {
        let now = self.now();
        let held = &mut self.held[number as usize];
        let client = &mut held.client;
        let since = client.connect(now, &mut self.world);
        let mut link = match client.via {
            Via::WebSocket => {
                let mut nonce = [0; NONCE_BYTES];
                for half in nonce.as_chunks_mut::<8>().0 {
                    *half = self.world.prng.next_u64().to_le_bytes();
                }
                self.door.socket(nonce)
            }
            via => {
                let channel = self.world.plan.follows(number).start;
                let name: &ChannelName<'_> = &self.world.plan.channels[usize::from(channel)];
                let since: Option<Position> = since.first().copied().flatten();
                self.door.stream(via, name, since)
            }
        };
        if client.via == Via::WebSocket {
            // It waits until the handshake is done.
            link.say(&client.hello(&since, self.door.token(), &self.world));
            if client.manner == Manner::Slow {
                link.does_not_wait();
            }
        }
        let mut spec = self.server.clone();
        match client.manner {
            Manner::Slow => spec.recv_buffer_bytes = Some(SLOW_RECV_BYTES),
            Manner::Flood => spec.send_buffer_bytes = Some(FLOOD_SEND_BYTES),
            Manner::Steady => {}
        }
        match self.driver.stream_connect(&spec) {
            Ok(stream) => {
                held.stream = Some(stream);
                held.link = Some(link);
                held.is_broken = false;
                self.at_place[stream.place()] = number;
                self.connected(number);
            }
            Err(error) => {
                client.ended = Some(Lost::Failed(error.kind.text()));
                self.settle(number);
            }
        }
    }

    /// Sees whether a connection that was begun stands, and says what is to be said on it first.
    fn connected(&mut self, number: u32) {
        let held = &mut self.held[number as usize];
        let (Some(stream), Phase::Connecting(_)) = (held.stream, held.client.phase()) else {
            return;
        };
        match self.driver.stream_connected(stream) {
            Ok(false) => {}
            Ok(true) => {
                held.client.stands();
                self.standing += 1;
                self.alone_ns = None;
                self.flush(number);
            }
            Err(error) => held.client.ended = Some(Lost::Failed(error.kind.text())),
        }
        self.settle(number);
    }

    fn writable(&mut self) {
        while let Some(stream) = self.driver.unlistened_next_writable() {
            let number = self.at_place[stream.place()];
            match self.held[number as usize].client.phase() {
                Phase::Connecting(_) => self.connected(number),
                _ => {
                    self.flush(number);
                    self.settle(number);
                }
            }
        }
    }

    fn readable(&mut self) {
        while let Some(stream) = self.driver.unlistened_next_ready() {
            let number = self.at_place[stream.place()];
            if self.held[number as usize].client.manner != Manner::Slow {
                self.read(number, READS);
            }
        }
    }

    fn on_again(&mut self) {
        for number in core::mem::take(&mut self.again) {
            let held = &mut self.held[number as usize];
            held.again = false;
            match held.client.manner {
                Manner::Slow => {}
                _ => self.read(number, READS),
            }
        }
    }

    fn mark(&mut self, number: u32) {
        let held = &mut self.held[number as usize];
        if !core::mem::replace(&mut held.again, true) {
            self.again.push(number);
        }
    }

    /// Reads what there is, as far as a turn has time for it, and answers.
    fn read(&mut self, number: u32, most: usize) {
        let mut reads = 0;
        let mut now = self.now();
        loop {
            let held = &mut self.held[number as usize];
            let (Some(stream), Some(link)) = (held.stream, held.link.as_mut()) else {
                return;
            };
            if matches!(held.client.phase(), Phase::Connecting(_)) {
                return;
            }
            if reads == most {
                self.mark(number);
                break;
            }
            reads += 1;
            let (client, world) = (&mut held.client, &mut self.world);
            match self.driver.stream_read(stream, &mut self.buffer) {
                Ok(StreamRead::Bytes(count)) => {
                    now = Now {
                        ns: self.clock.stamp(),
                        wall_ns: self.clock.wall_ns(),
                    };
                    world.counts.reads += 1;
                    world.counts.bytes += count as u64;
                    client.heard(now);
                    link.read(&self.buffer[..count], &self.door, &mut |heard| {
                        client.hear(heard, now, world);
                    });
                }
                Ok(StreamRead::WouldBlock) if held.is_broken => {
                    client.ended.get_or_insert(Lost::Ended("reset"));
                }
                Ok(StreamRead::WouldBlock) => break,
                Ok(StreamRead::End) => {
                    client.ended.get_or_insert(Lost::Ended("end of stream"));
                }
                Ok(StreamRead::Reset) => {
                    client.ended.get_or_insert(Lost::Ended("reset"));
                }
                Err(error) => {
                    client.ended.get_or_insert(Lost::Ended(error.kind.text()));
                }
            }
            if client.ended.is_some() {
                break;
            }
        }
        self.speak(number, now);
        self.settle(number);
    }

    /// Puts what a client wants to say on its way.
    fn speak(&mut self, number: u32, now: Now) {
        let held = &mut self.held[number as usize];
        if let Some(link) = &mut held.link {
            for text in held.client.says(now, &mut self.world) {
                // A link without room is one that the server does not read: it is as good as silent, and ends as that.
                link.say(&text);
            }
        }
        self.flush(number);
    }

    fn flush(&mut self, number: u32) {
        for writes in 0.. {
            let held = &mut self.held[number as usize];
            let (Some(stream), Some(link)) = (held.stream, held.link.as_mut()) else {
                return;
            };
            let is_flood = held.client.manner == Manner::Flood;
            if is_flood && held.client.phase() == Phase::Greeted {
                self.world.counts.flooded += link.flood(FLOOD);
            }
            let output = link.output();
            let is_connecting = matches!(held.client.phase(), Phase::Connecting(_));
            if output.is_empty() || is_connecting || held.is_broken {
                return;
            }
            if writes == WRITES {
                return self.mark(number);
            }
            match self.driver.stream_write(stream, output) {
                Ok(StreamWrite::Bytes(count)) => link.written(count),
                Ok(StreamWrite::WouldBlock) => return,
                Ok(StreamWrite::Broken) | Err(_) => {
                    // What it was told before is still to be read.
                    held.is_broken = true;
                    return self.mark(number);
                }
            }
        }
    }

    /// Takes down a connection that has ended, and sees when its client is looked at next.
    fn settle(&mut self, number: u32) {
        let held = &mut self.held[number as usize];
        if let Some(lost) = held.client.ended.take() {
            let now = Now {
                ns: self.clock.stamp(),
                wall_ns: self.clock.wall_ns(),
            };
            let failed = matches!(lost, Lost::Failed(_));
            let stood = !matches!(held.client.phase(), Phase::Connecting(_));
            held.client.lost(lost, now, &mut self.world);
            held.link = None;
            if let Some(stream) = held.stream.take() {
                let _ = self.driver.stream_close(stream);
                self.standing -= usize::from(stood);
            }
            if failed && self.standing == 0 {
                self.alone_ns.get_or_insert(now.ns);
            }
        }
        self.schedule(number);
    }

    /// Cuts connections of clients that are live, drawn at random.
    fn cut_due(&mut self, now: Now, from_ns: u64) {
        while let Some(cut) = self.course.cuts.get(self.cuts_done).copied()
            && now.ns >= from_ns.saturating_add(cut.at_ns)
        {
            let at = self.cuts_done;
            self.cuts_done += 1;
            let held = self.held.iter().enumerate();
            let live = held
                .filter(|(_, held)| held.client.is_live() && held.client.manner == Manner::Steady);
            let mut live: Vec<u32> = live.map(|(number, _)| number as u32).collect();
            let count = cut.count.min(live.len());
            self.world.cuts.push(CutReport {
                at_ns: cut.at_ns,
                asked: cut.count,
                cut: count,
                away: count,
                all_live_ns: None,
                told_ns: None,
                told_again: 0,
                from_ns: now.ns,
            });
            for nth in 0..count {
                let left = (live.len() - nth) as u64;
                let drawn = nth + self.world.prng.below(left) as usize;
                live.swap(nth, drawn);
                self.held[live[nth] as usize].client.ended = Some(Lost::Cut(at));
                self.settle(live[nth]);
            }
        }
    }

    fn look(&mut self, now: Now) {
        if now.ns - self.looked_ns >= LOOK_NS
            && let Some(watched) = &mut self.watched
        {
            self.looked_ns = now.ns;
            watched.look();
        }
    }

    /// Reads what those have been sent that never read, closes all connections, and waits a little for those that agree.
    fn goodbye(&mut self) -> Result<(), IoError> {
        if let Some(watched) = &mut self.watched {
            watched.look();
        }
        for number in 0..self.held.len() as u32 {
            let is_slow = self.held[number as usize].client.manner == Manner::Slow;
            if is_slow {
                self.read(number, BACKLOG_READS);
            }
        }
        let now = self.now();
        let live = (self.world.live, self.world.been_live);
        for number in 0..self.held.len() as u32 {
            let held = &mut self.held[number as usize];
            held.client.leave(now, &mut self.world);
            if held.client.manner == Manner::Flood {
                // What it has to say is never said to its end.
                held.link = None;
            } else if let Some(link) = &mut held.link {
                link.close();
                self.flush(number);
            }
        }
        let until_ns = now.ns.saturating_add(GOODBYE_NS);
        let mut left: usize = 0;
        for number in 0..self.held.len() {
            left += usize::from(self.read_last(number));
        }
        while left > 0 {
            let now_ns = self.clock.stamp();
            if now_ns >= until_ns {
                break;
            }
            self.driver.poll(now_ns, Some(until_ns - now_ns))?;
            while let Some(stream) = self.driver.unlistened_next_ready() {
                let number = self.at_place[stream.place()] as usize;
                let is_left = self.held[number].link.is_some() && !self.read_last(number);
                left -= usize::from(is_left);
            }
        }
        (self.world.live, self.world.been_live) = live;
        Ok(())
    }

    /// Reads on until the other side agrees to the end; what comes is thrown away. Whether it has yet to.
    fn read_last(&mut self, number: usize) -> bool {
        let held = &mut self.held[number];
        let (Some(stream), Some(link)) = (held.stream, held.link.as_mut()) else {
            return false;
        };
        loop {
            if link.is_over() {
                break;
            }
            match self.driver.stream_read(stream, &mut self.buffer) {
                Ok(StreamRead::Bytes(count)) => {
                    link.read(&self.buffer[..count], &self.door, &mut |_| {});
                }
                Ok(StreamRead::WouldBlock) => return true,
                Ok(StreamRead::End | StreamRead::Reset) | Err(_) => break,
            }
        }
        held.link = None;
        held.stream = None;
        let _ = self.driver.stream_close(stream);
        false
    }
}
