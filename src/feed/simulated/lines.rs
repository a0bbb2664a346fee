//! What an exchange says, packed into packets, on one or two lines that lose, repeat and reorder.
//!
//! A packet holds the messages of a span of [`PACK_NS`], as many as fit. Each line carries a copy of it,
//! or does not, each line by its own dice; a copy that is delayed comes after those of later packets. Where
//! nothing is said for a while there are heartbeats, and in the end, or where a session gives way to the
//! next, MoldUDP64 says that it is over.
//!
//! Invariant: times never fall; the same spec gives the same packets; nothing allocates after `new`.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::base::Prng;
use crate::feed::packets::{Purpose, Transport};
use crate::feed::schedule::Schedule;
use crate::feed::simulated::{Levels, Orders};
use crate::feed::{iex, iextp, itch, moldudp64};

/// Span whose messages share a packet, in nanoseconds: a sender flushes about that often.
pub const PACK_NS: u64 = 20_000;

/// Bytes of the longest packet: what a network of 1,500 bytes carries in one piece over UDP.
pub const PACKET_BYTES_MAX: usize = 1_472;

/// Copies that are on their way at most; where there are more, the next ones arrive early. A burst of
/// 8,000 messages in a millisecond is 400 copies.
const WAY_MAX: usize = 1_024;

/// When the simulated day is: 2024-08-08, 09:30 in New York, in nanoseconds since 1970 and since midnight.
const EPOCH_NS: u64 = 1_723_123_800_000_000_000;
const MIDNIGHT_NS: u64 = 34_200_000_000_000;

/// Who says something.
#[derive(Clone, Debug)]
pub enum Saying {
    /// ITCH over MoldUDP64.
    Orders(Orders),
    /// DEEP or TOPS over IEX-TP.
    Levels(Levels),
}

impl Saying {
    /// The word for it: `itch`, `deep` or `tops`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Saying::Orders(_) => "itch",
            Saying::Levels(levels) => levels.feed().name(),
        }
    }
}

/// How a sender begins again from sequence 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// In a session of another name.
    Session,
    /// In the same session.
    Sequence,
}

/// What the lines are like. Shares are from 0 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct LinesSpec {
    /// Seed of everything that the lines do.
    pub seed: u64,
    /// Lines, 1 or 2.
    pub lines: usize,
    /// How many messages are said in all.
    pub messages: u64,
    /// Share of copies that are lost.
    pub loss: f64,
    /// Share of copies that are delayed.
    pub delayed: f64,
    /// By how much, in nanoseconds.
    pub delay_ns: u64,
    /// Share of copies that come twice.
    pub repeated: f64,
    /// How much later the second line is, in nanoseconds.
    pub skew_ns: u64,
    /// After how much silence there is a heartbeat, in nanoseconds, from 1.
    pub heartbeat_ns: u64,
    /// After how many messages the sender begins again, and how.
    pub restart: Option<(u64, Restart)>,
}

impl Default for LinesSpec {
    /// Two good lines, 10 us apart, a heartbeat a second.
    fn default() -> LinesSpec {
        LinesSpec {
            seed: 1,
            lines: 2,
            messages: 100_000,
            loss: 0.0,
            delayed: 0.0,
            delay_ns: 100_000,
            repeated: 0.0,
            skew_ns: 10_000,
            heartbeat_ns: 1_000_000_000,
            restart: None,
        }
    }
}

/// A packet that arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent<'a> {
    /// When, in nanoseconds from the start.
    pub at_ns: u64,
    /// On which line.
    pub line: usize,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// Messages that were said up to its end: whoever gets it knows of so many.
    pub said: u64,
}

/// A copy on its way. The earliest is the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Way {
    at_ns: u64,
    /// Breaks ties: copies of the same time arrive in the order in which they were sent.
    order: u64,
    line: usize,
    slot: usize,
    len: usize,
    said: u64,
}

/// The lines.
///
/// ```
/// use hopline::feed::simulated::{Lines, LinesSpec, Orders, Saying, burst};
/// use hopline::feed::{Schedule, moldudp64};
/// let spec = LinesSpec { messages: 100, loss: 0.05, ..LinesSpec::default() };
/// let schedule = Schedule::new(1e6, burst(), 1)?;
/// let mut lines = Lines::new(&spec, Saying::Orders(Orders::new(1, 10, 100)), schedule);
/// let first = lines.next().unwrap();
/// assert_eq!(moldudp64::Downstream::parse(first.bytes).unwrap().header.sequence.get(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Lines {
    spec: LinesSpec,
    saying: Saying,
    schedule: Schedule,
    prng: Prng,
    /// Due time of the next message.
    due_ns: u64,
    /// When the last packet was sent.
    sent_ns: u64,
    said: u64,
    /// Messages since the sender last began again.
    since: u64,
    session: u32,
    next: u64,
    stream_offset: u64,
    /// Whether the session's end has still to be said, and whether all is over after that.
    ending: bool,
    done: bool,
    way: BinaryHeap<Reverse<Way>>,
    /// When the last copy arrived.
    arrived_ns: u64,
    order: u64,
    bytes: Vec<[u8; PACKET_BYTES_MAX]>,
    free: Vec<usize>,
    message: [u8; iex::MESSAGE_BYTES_MAX],
    message_len: usize,
}

const _: () = assert!(itch::MESSAGE_BYTES_MAX <= iex::MESSAGE_BYTES_MAX);

/// Copies of one packet: two lines, twice each.
const COPIES_MAX: usize = 4;

impl Lines {
    /// Lines on which nothing was sent yet; messages are due by the schedule.
    #[must_use]
    pub fn new(spec: &LinesSpec, saying: Saying, mut schedule: Schedule) -> Lines {
        let due_ns = schedule.next_ns();
        Lines {
            spec: LinesSpec {
                lines: spec.lines.clamp(1, 2),
                heartbeat_ns: spec.heartbeat_ns.max(1),
                ..spec.clone()
            },
            saying,
            schedule,
            prng: Prng::new(spec.seed),
            due_ns,
            sent_ns: 0,
            said: 0,
            since: 0,
            session: 1,
            next: 1,
            stream_offset: 0,
            ending: false,
            done: false,
            way: BinaryHeap::with_capacity(WAY_MAX),
            arrived_ns: 0,
            order: 0,
            bytes: vec![[0; PACKET_BYTES_MAX]; WAY_MAX],
            free: (0..WAY_MAX).rev().collect(),
            message: [0; iex::MESSAGE_BYTES_MAX],
            message_len: 0,
        }
    }

    /// Messages are due by another schedule from now on, before which none was asked for.
    pub fn follow(&mut self, mut schedule: Schedule) {
        self.due_ns = schedule.next_ns();
        self.schedule = schedule;
    }

    /// The transport, as [`Sequenced`](crate::feed::Sequenced) wants it.
    #[must_use]
    pub fn transport(&self) -> Transport {
        match &self.saying {
            Saying::Orders(_) => Transport::MoldUdp64,
            Saying::Levels(levels) => Transport::IexTp {
                protocol: levels.feed().protocol(),
                channel: 1,
            },
        }
    }

    /// Messages that were said so far, whatever came of them, those of packets on their way included.
    #[must_use]
    pub fn said(&self) -> u64 {
        self.said
    }

    /// The next packet that arrives; `None` when all were.
    #[expect(
        clippy::should_implement_trait,
        reason = "the packet lies in here until the next call, which no iterator can say"
    )]
    pub fn next(&mut self) -> Option<Sent<'_>> {
        loop {
            let first = self.way.peek().map(|Reverse(way)| *way);
            let is_full = self.free.len() < COPIES_MAX;
            match first {
                Some(way) if self.done || is_full || way.at_ns <= self.send_ns() => {
                    self.way.pop();
                    self.free.push(way.slot);
                    self.arrived_ns = self.arrived_ns.max(way.at_ns);
                    return Some(Sent {
                        at_ns: self.arrived_ns,
                        line: way.line,
                        bytes: &self.bytes[way.slot][..way.len],
                        said: way.said,
                    });
                }
                None if self.done => return None,
                _ => self.send(),
            }
        }
    }

    /// When the next packet will be sent.
    fn send_ns(&self) -> u64 {
        if self.ending {
            return self.sent_ns;
        }
        self.due_ns
            .min(self.sent_ns + self.spec.heartbeat_ns)
            .max(self.sent_ns)
    }

    fn send(&mut self) {
        let now_ns = self.send_ns();
        let mut packet = [0; PACKET_BYTES_MAX];
        let len = if self.ending {
            self.end(&mut packet)
        } else if self.due_ns > now_ns {
            self.empty(&mut packet, now_ns, Purpose::Heartbeat)
        } else {
            self.pack(&mut packet, now_ns)
        };
        self.sent_ns = now_ns;
        for line in 0..self.spec.lines {
            if len == 0 || self.happens(self.spec.loss) {
                continue;
            }
            let copies = 1 + usize::from(self.happens(self.spec.repeated));
            for _ in 0..copies {
                let delay_ns = if self.happens(self.spec.delayed) {
                    self.spec.delay_ns
                } else {
                    0
                };
                let at_ns = now_ns + line as u64 * self.spec.skew_ns + delay_ns;
                let Some(slot) = self.free.pop() else {
                    continue;
                };
                self.bytes[slot][..len].copy_from_slice(&packet[..len]);
                self.order += 1;
                self.way.push(Reverse(Way {
                    at_ns,
                    order: self.order,
                    line,
                    slot,
                    len,
                    said: self.said,
                }));
            }
        }
    }

    fn happens(&mut self, share: f64) -> bool {
        share > 0.0 && self.prng.unit() < share
    }

    /// Ends a session, or all: a packet that says so, where the transport has one.
    fn end(&mut self, packet: &mut [u8]) -> usize {
        let len = self.empty(packet, self.sent_ns, Purpose::EndOfSession);
        self.ending = false;
        if self.said >= self.spec.messages {
            self.done = true;
        } else {
            self.session += 1;
            self.again();
        }
        len
    }

    fn again(&mut self) {
        (self.next, self.since, self.stream_offset) = (1, 0, 0);
        match &mut self.saying {
            Saying::Orders(orders) => orders.restart(),
            Saying::Levels(levels) => levels.restart(),
        }
    }

    /// The session as MoldUDP64 has it: ten digits.
    fn name(&self) -> [u8; 10] {
        let (mut name, mut left) = ([b'0'; 10], self.session);
        for digit in name.iter_mut().rev() {
            *digit = b'0' + (left % 10) as u8;
            left /= 10;
        }
        name
    }

    fn place(&self, now_ns: u64) -> iextp::Place {
        let protocol = match &self.saying {
            Saying::Levels(levels) => levels.feed().protocol(),
            Saying::Orders(_) => 0,
        };
        iextp::Place {
            protocol,
            channel: 1,
            session: self.session,
            stream_offset: self.stream_offset,
            first: self.next,
            sent_ns: (EPOCH_NS + now_ns) as i64,
        }
    }

    fn empty(&self, packet: &mut [u8], now_ns: u64, purpose: Purpose) -> usize {
        match &self.saying {
            Saying::Orders(_) => {
                moldudp64::write_empty(packet, self.name(), self.next, purpose).unwrap_or(0)
            }
            Saying::Levels(_) => {
                iextp::Writer::new(packet, self.place(now_ns)).map_or(0, iextp::Writer::finish)
            }
        }
    }

    /// Says what is due, as much as fits in a packet.
    fn pack(&mut self, packet: &mut [u8], now_ns: u64) -> usize {
        enum Writer<'b> {
            Mold(moldudp64::Writer<'b>),
            Iex(iextp::Writer<'b>),
        }
        let writer = match &self.saying {
            Saying::Orders(_) => {
                moldudp64::Writer::new(packet, self.name(), self.next).map(Writer::Mold)
            }
            Saying::Levels(_) => iextp::Writer::new(packet, self.place(now_ns)).map(Writer::Iex),
        };
        let Some(mut writer) = writer else {
            return 0;
        };
        while self.due_ns < now_ns + PACK_NS {
            if self.message_len == 0 {
                self.message_len = self.say();
            }
            let message = &self.message[..self.message_len];
            let fits = match &mut writer {
                Writer::Mold(writer) => writer.push(message),
                Writer::Iex(writer) => writer.push(message),
            };
            if !fits {
                break;
            }
            self.stream_offset += 2 + self.message_len as u64;
            (self.message_len, self.next) = (0, self.next + 1);
            (self.said, self.since) = (self.said + 1, self.since + 1);
            self.due_ns = self.schedule.next_ns();
            if self.said >= self.spec.messages {
                self.ending = true;
                break;
            }
            match self.spec.restart {
                Some((after, Restart::Session)) if self.since >= after => {
                    self.ending = true;
                    break;
                }
                Some((after, Restart::Sequence)) if self.since >= after => {
                    self.again();
                    break;
                }
                _ => {}
            }
        }
        match writer {
            Writer::Mold(writer) => writer.finish(),
            Writer::Iex(writer) => writer.finish(),
        }
    }

    /// The next message into the buffer: its length.
    fn say(&mut self) -> usize {
        match &mut self.saying {
            Saying::Orders(orders) => {
                let Some(buffer) = self.message.first_chunk_mut() else {
                    return 0;
                };
                orders.next(MIDNIGHT_NS + self.due_ns, buffer)
            }
            Saying::Levels(levels) => levels.next(EPOCH_NS + self.due_ns, &mut self.message),
        }
    }
}
