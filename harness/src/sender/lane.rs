//! One lane of the sender: what feeds one source, and what it has to say of it.
//!
//! A message leaves when it is due. What has become due meanwhile leaves with it, in as few calls to
//! the system as it takes: one by one a socket takes some 300,000 datagrams a second, in trains some
//! millions. Each keeps the time at which it was due.
//!
//! ```text
//!   due = sent + unsent + missed
//! ```
//!
//! Invariant: a lane holds two messages and a batch, so that any number of captures takes bounded
//! memory; whatever was due is counted as one of the three.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use hopline::base::limits::MESSAGE_BYTES_MAX;
use hopline::clock::Clock;
use hopline::hist::Totals;
use hopline::io::{BatchSent, Driver, SendBatch, Sent, TRAIN_SEGMENTS_MAX, UdpId, UdpSpec};
use hopline::topology::report::percentiles;

use super::feed::{Content, Due, Feed, Made, Opened, STAMP_BYTES};
use super::report::SenderReport;
use super::segments::Segments;
use crate::exit::Failure;

/// How late a message may leave, in nanoseconds; then it is missed. A sender that lost its core for
/// that long would otherwise send a second's messages at once, which is no load that anybody asked for.
pub(super) const LATE_MAX_NS: u64 = 1_000_000_000;

/// How far behind a sender may be at the end, in nanoseconds, if a gap of the host is why: a few slices of a scheduler. One that
/// cannot keep its rate falls behind by more, or in all runs.
const STOPPED_MAX_NS: u64 = 20_000_000;

/// Most datagrams that leave at once: a train's, or as many calls' as one call may be made of.
const BATCH_DATAGRAMS: usize = TRAIN_SEGMENTS_MAX;

/// Bytes of a batch: two of the largest messages, or 64 of 2 KiB.
const BATCH_BYTES: usize = 2 * (64 << 10);

const _: () = assert!(BATCH_BYTES >= 2 * MESSAGE_BYTES_MAX);

/// Wanted receive buffer for what returns, in bytes: some 0.3 s of small datagrams at 20,000 a
/// second, should the sender lose its core. The system may grant less.
const RETURNS_BYTES: usize = 4 << 20;

/// What is to feed one source.
#[derive(Clone, Debug)]
pub(crate) struct LaneSpec {
    /// The source, by name.
    pub(crate) source: String,
    /// Where it listens.
    pub(crate) to: SocketAddr,
    pub(crate) content: Content,
    /// A capture whose gaps between messages take the place of the arrivals of what is made up.
    pub(crate) recorded: Option<PathBuf>,
}

/// What was due and became of it.
#[derive(Clone, Copy, Default)]
struct Counts {
    sent: u64,
    unsent: u64,
    missed: u64,
}

impl Counts {
    fn due(self) -> u64 {
        self.sent + self.unsent + self.missed
    }
}

/// What a lane sends by, and until when.
pub(super) struct Sending<'l> {
    pub(super) driver: &'l mut Driver,
    pub(super) clock: &'l Clock,
    pub(super) segments: &'l mut Segments,
    pub(super) t0_ns: u64,
    /// The end of the schedule, after the start.
    pub(super) most_ns: u64,
    /// What is due earlier is not in histograms and rates.
    pub(super) warmup_ns: u64,
}

impl Sending<'_> {
    /// When a message is due on the line's clock; now for one that leaves as soon as it can.
    fn intended_ns(&self, due: Due, now_ns: u64) -> u64 {
        if due.paced {
            self.t0_ns.saturating_add(due.at_ns)
        } else {
            now_ns
        }
    }
}

/// What feeds one source.
pub(super) struct Lane {
    source: String,
    to: SocketAddr,
    content: String,
    socket: UdpId,
    feed: Feed,
    /// The next message, and the one behind it.
    hand: Made,
    ahead: Made,
    /// What a made-up exchange had said up to the last packet that was due.
    said: u64,
    batch: SendBatch,
    /// Of those in the batch when they were due, on the line's clock, and their bytes.
    batched: [(u64, u64); BATCH_DATAGRAMS],
    bytes: u64,
    counts: Counts,
    /// What was counted when the warm-up ended, and where it ended.
    before: Counts,
    from_ns: u64,
    /// After the start: the last due time, and when the last one left.
    last_due_ns: u64,
    last_sent_ns: u64,
    /// Whether what was sent last was late by a gap of the sender's.
    catches_up: bool,
    calls: u64,
    would_block: u64,
    late: Totals,
    returned: u64,
    round_trip: Totals,
    fault: Option<String>,
}

/// Any port of the family of that address.
fn any_port(to: SocketAddr) -> SocketAddr {
    let ip: IpAddr = match to.ip() {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    SocketAddr::new(ip, 0)
}

pub(crate) fn totals() -> Totals {
    Totals::new(&[]).expect("no limits are never too many")
}

impl Lane {
    pub(super) fn open(spec: LaneSpec, driver: &mut Driver) -> Result<Lane, Failure> {
        let wrong = |what: &dyn std::fmt::Display| {
            Failure::usage(format!("cannot feed \"{}\": {what}", spec.source), "")
        };
        let Opened {
            feed,
            name,
            message_bytes,
        } = Feed::open(
            spec.content,
            spec.recorded.as_deref(),
            spec.to,
            driver,
            wrong,
        )?;
        let socket = match &feed {
            // To two addresses, so connected to none.
            Feed::Exchange { to: [to, _], .. } => UdpSpec::bound(any_port(*to)),
            _ => UdpSpec {
                recv_buffer_bytes: Some(RETURNS_BYTES),
                ..UdpSpec::connected(spec.to)
            },
        };
        Ok(Lane {
            source: spec.source,
            to: spec.to,
            content: name,
            socket: driver.udp_open(&socket)?,
            feed,
            hand: Made::new(message_bytes),
            ahead: Made::new(message_bytes),
            said: 0,
            batch: SendBatch::new(BATCH_DATAGRAMS, BATCH_BYTES),
            batched: [(0, 0); BATCH_DATAGRAMS],
            bytes: 0,
            counts: Counts::default(),
            before: Counts::default(),
            from_ns: 0,
            last_due_ns: 0,
            last_sent_ns: 0,
            catches_up: false,
            calls: 0,
            would_block: 0,
            late: totals(),
            returned: 0,
            round_trip: totals(),
            fault: None,
        })
    }

    /// Makes the first two messages ready.
    pub(super) fn prepare(&mut self, driver: &mut Driver) {
        self.advance(driver);
        self.advance(driver);
    }

    /// Takes the message behind the one in hand, and makes the one behind that.
    fn advance(&mut self, driver: &mut Driver) {
        self.said = self.said.max(self.hand.said);
        std::mem::swap(&mut self.hand, &mut self.ahead);
        if let Err(what) = self.feed.make(driver, &mut self.ahead) {
            self.fault.get_or_insert(what);
        }
    }

    /// When the next message leaves; `None` at the end.
    pub(super) fn next(&self) -> Option<Due> {
        self.hand.due
    }

    /// Whether what is late is still owed after a stop, and missed if it gets too late: not for a
    /// capture, whose messages build on one another.
    pub(super) fn owes(&self) -> bool {
        !matches!(self.feed, Feed::Capture(_))
    }

    /// Reads a little ahead. False if there was nothing to read, or no room.
    pub(super) fn read_ahead(&mut self, driver: &mut Driver) -> bool {
        match &mut self.feed {
            Feed::Capture(capture) => capture.read_ahead(driver),
            _ => false,
        }
    }

    /// Sends the message in hand, with those behind it that are due as well, and makes the next one
    /// ready. Waits for room unless `stopped`. Says how many the system took.
    pub(super) fn send(&mut self, to: &mut Sending<'_>, stopped: impl Fn() -> bool) -> u64 {
        let Some(due) = self.hand.due else {
            return 0;
        };
        let now_ns = to.clock.stamp();
        to.segments.end(now_ns);
        if due.at_ns >= to.warmup_ns && self.from_ns < to.warmup_ns {
            self.forget(to.warmup_ns);
        }
        let intended_ns = to.intended_ns(due, now_ns);
        self.last_due_ns = due.at_ns;
        if self.owes() && now_ns.saturating_sub(intended_ns) > LATE_MAX_NS {
            self.counts.missed += 1;
            self.advance(to.driver);
            return 0;
        }
        self.catches_up = to.segments.begin_send(intended_ns);
        let before = self.counts.sent;
        if self.goes_along(to, now_ns) {
            self.send_batch(to, now_ns, stopped);
        } else {
            self.send_one(to, due, now_ns, stopped);
            self.advance(to.driver);
            to.segments.end_send(to.clock.stamp(), 1);
        }
        self.counts.sent - before
    }

    /// Whether the message behind the one in hand is due by now and has room in the batch beside it.
    fn goes_along(&self, to: &Sending<'_>, now_ns: u64) -> bool {
        let (Some(hand), Some(ahead)) = (self.hand.due, self.ahead.due) else {
            return false;
        };
        // The warm-up ends between two sends, so that what counts is known of each as a whole.
        let ends_warm_up = hand.at_ns < to.warmup_ns && ahead.at_ns >= to.warmup_ns;
        hand.paced
            && ahead.paced
            && ahead.at_ns <= to.most_ns
            && to.intended_ns(ahead, now_ns) <= now_ns
            && !ends_warm_up
            && self.batch.len() + 1 < BATCH_DATAGRAMS
            && self.batch.has_room(self.hand.len + self.ahead.len)
    }

    fn send_one(
        &mut self,
        to: &mut Sending<'_>,
        due: Due,
        now_ns: u64,
        stopped: impl Fn() -> bool,
    ) {
        let intended_ns = to.intended_ns(due, now_ns);
        self.stamp(intended_ns);
        let mut refused = false;
        loop {
            let message = self.hand.message();
            match to.driver.udp_send(self.socket, self.hand.to, message) {
                Ok(Sent::Yes) => {
                    self.calls += 1;
                    self.bytes += self.hand.len as u64;
                    self.sent(to, now_ns, due.paced.then_some(intended_ns));
                    return;
                }
                Ok(Sent::WouldBlock) => {
                    self.would_block += 1;
                    if stopped() || self.is_too_late(to, intended_ns) {
                        self.counts.missed += 1;
                        return;
                    }
                    std::thread::yield_now();
                }
                // The word is about an earlier datagram: this one gets its chance.
                Ok(Sent::Refused) if !refused => refused = true,
                Ok(Sent::Refused) => break,
                Err(error) => {
                    self.fault.get_or_insert_with(|| error.to_string());
                    break;
                }
            }
        }
        self.counts.unsent += 1;
    }

    /// Sends all that is due, in as few calls as the system allows.
    fn send_batch(&mut self, to: &mut Sending<'_>, now_ns: u64, stopped: impl Fn() -> bool) {
        loop {
            let goes_on = self.goes_along(to, now_ns);
            let Some(due) = self.hand.due else {
                break;
            };
            let intended_ns = to.intended_ns(due, now_ns);
            self.stamp(intended_ns);
            self.batched[self.batch.len()] = (intended_ns, self.hand.len as u64);
            // There is room: it was looked at before the message came into the hand.
            self.batch.push(self.hand.to, self.hand.message());
            self.last_due_ns = due.at_ns;
            self.advance(to.driver);
            if !goes_on {
                break;
            }
        }
        let count = self.batch.len();
        let sending_ns = to.clock.stamp();
        let mut gone = 0;
        while !self.batch.is_empty() {
            let left = self.batch.len();
            match to.driver.udp_send_batch(self.socket, &mut self.batch) {
                Ok(BatchSent {
                    count,
                    what: Sent::Yes,
                }) => {
                    self.calls += 1;
                    for at in gone..gone + count {
                        let (intended_ns, bytes) = self.batched[at];
                        self.bytes += bytes;
                        self.sent(to, sending_ns, Some(intended_ns));
                    }
                }
                Ok(BatchSent {
                    what: Sent::WouldBlock,
                    ..
                }) => {
                    self.would_block += 1;
                    if stopped() || self.is_too_late(to, self.batched[gone].0) {
                        self.counts.missed += left as u64;
                        self.batch.clear();
                        break;
                    }
                    std::thread::yield_now();
                }
                // The word is about earlier datagrams, and these have gone with it.
                Ok(BatchSent { count, .. }) => self.counts.unsent += count as u64,
                Err(error) => {
                    self.fault.get_or_insert_with(|| error.to_string());
                    self.counts.unsent += (left - self.batch.len()) as u64;
                }
            }
            gone += left - self.batch.len();
        }
        to.segments.end_send(to.clock.stamp(), count);
    }

    fn is_too_late(&self, to: &Sending<'_>, intended_ns: u64) -> bool {
        self.owes() && to.clock.stamp().saturating_sub(intended_ns) > LATE_MAX_NS
    }

    /// Counts a datagram that left at `now_ns`, and by how much it was late if it had a time.
    fn sent(&mut self, to: &Sending<'_>, now_ns: u64, intended_ns: Option<u64>) {
        self.counts.sent += 1;
        self.last_sent_ns = now_ns.saturating_sub(to.t0_ns);
        if let Some(intended_ns) = intended_ns {
            self.late.record(now_ns.saturating_sub(intended_ns));
        }
    }

    /// Counts as missed all that is still due before the end of the schedule.
    pub(super) fn miss_rest(&mut self, driver: &mut Driver, most_ns: u64) {
        while let Some(due) = self.hand.due.filter(|due| due.at_ns <= most_ns) {
            self.counts.missed += 1;
            self.last_due_ns = due.at_ns;
            self.advance(driver);
        }
    }

    /// Forgets the warm-up, which ended `from_ns` after the start.
    fn forget(&mut self, from_ns: u64) {
        (self.from_ns, self.before) = (from_ns, self.counts);
        self.late.clear();
        self.round_trip.clear();
    }

    /// Takes datagrams that came back, at most `most`, and says how many.
    pub(super) fn take_returns(
        &mut self,
        driver: &mut Driver,
        clock: &Clock,
        segments: &mut Segments,
        inbox: &mut [u8],
        most: usize,
    ) -> usize {
        if !matches!(self.feed, Feed::Datagrams { .. }) {
            return 0;
        }
        let mut taken = 0;
        while taken < most {
            let Ok(Some(datagram)) = driver.udp_recv(self.socket, inbox) else {
                break;
            };
            let now_ns = clock.stamp_after();
            segments.end(now_ns);
            taken += 1;
            let stamp = inbox[..datagram.len].get(8..STAMP_BYTES);
            if let Some(Ok(intended)) = stamp.map(<[u8; 8]>::try_from) {
                self.returned += 1;
                let away_ns = now_ns.saturating_sub(u64::from_le_bytes(intended));
                self.round_trip.record(away_ns);
            }
        }
        taken
    }

    /// Writes the intended time into a datagram of ours.
    fn stamp(&mut self, intended_ns: u64) {
        if let Feed::Datagrams { .. } = self.feed {
            self.hand.bytes[8..STAMP_BYTES].copy_from_slice(&intended_ns.to_le_bytes());
        }
    }

    /// What it did by the end of the schedule, `most_ns` after the start if it was to end.
    pub(super) fn report(
        self,
        driver: &Driver,
        core: Option<usize>,
        most_ns: Option<u64>,
    ) -> SenderReport {
        // A feed that ended by itself ended with its last message.
        let end_ns = match self.hand.due {
            Some(_) => most_ns.unwrap_or(self.last_due_ns),
            None => self.last_due_ns,
        };
        let per_s = |count: u64, end_ns: u64| match end_ns.saturating_sub(self.from_ns) {
            0 => 0.0,
            span_ns => count as f64 * 1e9 / span_ns as f64,
        };
        // A sender that the host stopped near the end, and that was in time before, has kept its rate.
        let behind_ns = self.last_sent_ns.saturating_sub(end_ns);
        let sent_until_ns = if self.catches_up && behind_ns <= STOPPED_MAX_NS {
            end_ns
        } else {
            end_ns.max(self.last_sent_ns)
        };
        let due = self.counts.due() - self.before.due();
        let sent = self.counts.sent - self.before.sent;
        let offered_per_s = per_s(due, end_ns);
        let achieved_per_s = per_s(sent, sent_until_ns);
        let expects_returns = matches!(self.feed, Feed::Datagrams { .. });
        let said = match &self.feed {
            // Not what is made ahead: nobody can know of that.
            Feed::Exchange { .. } => Some(self.said),
            _ => None,
        };
        SenderReport {
            source: self.source,
            to: self.to.to_string(),
            content: self.content,
            core,
            said,
            sent: self.counts.sent,
            bytes: self.bytes,
            unsent: self.counts.unsent,
            missed: self.counts.missed,
            calls: self.calls,
            offered_per_s,
            achieved_per_s,
            would_block: self.would_block,
            skipped: self.feed.skipped(),
            late_ns: percentiles(&self.late),
            returned: expects_returns.then_some(self.returned),
            kernel_dropped: driver.udp_kernel_drops(self.socket).unwrap_or(0),
            round_trip_ns: expects_returns.then(|| percentiles(&self.round_trip)),
            fault: self.fault,
        }
    }
}
