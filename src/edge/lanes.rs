//! What waits for one client: its own messages, and how far it has come in each of its channels.
//!
//! ```text
//!   own messages ──────────────┐
//!   critical channels ─────────┤ in this order, each channel in the order of its offsets
//!   state channels ────────────┼──→ next ─→ room in the output? ─→ taken
//!   streams ───────────────────┘
//! ```
//!
//! Only its own messages lie here, bounded; of a channel it is a number. What it does not want of a channel (types that it left
//! out, more a second than it asked for) is skipped here, what it wants no longer (older than its budget) is shed here, and told.
//!
//! Critical events of a client that acknowledges are sent again, all that are not acknowledged, after [`EDGE_RESEND_NS`]; after
//! the last time they are counted as unheard until the acknowledgement comes after all, or the client.
//!
//! Where nothing is special about a client, `stretch` gives all that its channels have for it at once.
//!
//! Invariant: what is offered by [`Lanes::next`] is offered again until it is taken; of each channel offsets only rise, but for
//! critical events that are sent again.

mod stretch;

use std::collections::VecDeque;

pub(super) use stretch::Stretch;

use super::channel::{Channel, Joined, Lane, Missing, Next};
use super::event::{GapWhy, Kind, ShedWhy};
use super::position::Since;
use super::published::Published;
use crate::base::limits::{
    EDGE_CHANNELS_MAX, EDGE_CONFLATE_FROM, EDGE_OWN_BYTES_MAX, EDGE_OWN_MESSAGES_MAX,
    EDGE_RESEND_NS, EDGE_SAMPLE_EVERY,
};
use crate::overload::Bucket;

/// Which of the hub's channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelId(pub(super) u32);

/// What a client wants of a channel.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Where to begin.
    pub since: Option<Since>,
    /// Without a snapshot.
    pub no_snapshot: bool,
    /// Most events a second.
    pub rate: Option<Bucket>,
    /// How old an event may be when its turn comes, in nanoseconds; of streams only.
    pub budget_ns: Option<u64>,
    /// Only these types; all where it is empty.
    pub kinds: Vec<Kind>,
    /// Whether it acknowledges critical events.
    pub acks: bool,
}

/// What is to be sent next.
#[derive(Clone, Copy, Debug)]
pub enum Out<'a> {
    /// A message of its own, as JSON.
    Own(&'a str),
    /// A channel's snapshot.
    Snapshot(ChannelId),
    /// An event.
    Event {
        /// Its channel.
        channel: ChannelId,
        /// The event.
        event: &'a Published,
        /// Events before it that the client will not get.
        skipped: u64,
        /// The last event of the channel: up to it others are not coming either.
        head: u64,
        /// Whether it is a sample of the way to the client's screen.
        is_sample: bool,
    },
    /// Events of a channel that it will not get.
    Gap(ChannelId, Missing),
    /// Events without numbers that it did not get, and why.
    Shed(ChannelId, u64, ShedWhy),
}

/// Why nothing can be put in or sent any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooSlow {
    /// Its own messages are more than it may have waiting.
    Own,
    /// Critical events have left the log before it got them.
    Critical,
}

/// Why a client gets no channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoSubscription {
    /// It has as many as it may.
    TooMany,
    /// It has this one.
    Twice,
}

/// Critical events on their way to be acknowledged.
#[derive(Clone, Copy, Debug, Default)]
struct Acks {
    /// Up to here it has acknowledged.
    acked: u64,
    /// From when on the times count at which what is not acknowledged is sent again.
    since_ns: Option<u64>,
    /// Since when it has acknowledged nothing of what was sent.
    unheard_ns: Option<u64>,
    /// How often it was sent again.
    resent: usize,
}

#[derive(Debug)]
struct Cursor {
    channel: ChannelId,
    lane: Lane,
    numbered: bool,
    wish: Wish,
    /// It has got everything up to here, or been told.
    at: u64,
    /// The last number that it was given.
    told: u64,
    snapshot: bool,
    gap: Option<Missing>,
    /// Without numbers: what was shed and not told yet.
    shed: [u64; ShedWhy::ALL.len()],
    acks: Acks,
    /// It was subscribed behind this.
    begun: u64,
    /// What the channel had when it was subscribed, or begun anew: what comes up to there comes late for a reason of its own.
    head: u64,
}

/// What is offered: what [`Lanes::taken`] is about.
#[derive(Clone, Copy, Debug)]
enum Offered {
    Own,
    Of(usize, u64),
    SnapshotOf(usize),
    GapOf(usize),
    ShedOf(usize, ShedWhy),
}

/// What a client's lanes counted, events of all of its channels together: due + again + resent =
/// sent + skipped + shed + covered + waiting + left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneCounts {
    /// Published while it followed, and behind the position that it came with.
    pub due: u64,
    /// Due once more, because it began a channel anew further back.
    pub again: u64,
    /// Critical events due once more, because it did not acknowledge them.
    pub resent: u64,
    /// Sent.
    pub sent: u64,
    /// Newer ones stood for them, or it did not want them.
    pub skipped: u64,
    /// It lost them and was told so, by reason.
    pub shed: [u64; ShedWhy::ALL.len()],
    /// A snapshot had them.
    pub covered: u64,
    /// They wait.
    pub waiting: u64,
    /// It left them before they were sent.
    pub left: u64,
    /// Gaps that it was told of, by reason.
    pub gaps: [u64; GapWhy::ALL.len()],
    /// Messages sent: events, snapshots, what it was told of gaps, and its own.
    pub messages: u64,
}

impl LaneCounts {
    /// Whether every event that was due has come to an end, or waits.
    #[must_use]
    pub fn adds_up(&self) -> bool {
        let shed: u64 = self.shed.iter().sum();
        self.due + self.again + self.resent
            == self.sent + self.skipped + shed + self.covered + self.waiting + self.left
    }

    /// Adds another's.
    pub(super) fn add(&mut self, other: &LaneCounts) {
        self.due += other.due;
        self.again += other.again;
        self.resent += other.resent;
        self.sent += other.sent;
        self.skipped += other.skipped;
        self.covered += other.covered;
        self.waiting += other.waiting;
        self.left += other.left;
        self.messages += other.messages;
        for (to, count) in self.shed.iter_mut().zip(other.shed) {
            *to += count;
        }
        for (to, count) in self.gaps.iter_mut().zip(other.gaps) {
            *to += count;
        }
    }
}

/// What waits for one client.
#[derive(Debug, Default)]
pub struct Lanes {
    own: VecDeque<Box<str>>,
    own_bytes: usize,
    cursors: Vec<Cursor>,
    offered: Option<Offered>,
    /// When a rate that a client asked for lets the next event through.
    retry_ns: Option<u64>,
    counts: LaneCounts,
}

impl Lanes {
    /// Puts in a message of its own.
    ///
    /// # Errors
    /// More wait than may: the client does not read.
    pub fn push(&mut self, text: &str) -> Result<(), TooSlow> {
        if self.own.len() >= EDGE_OWN_MESSAGES_MAX
            || self.own_bytes + text.len() > EDGE_OWN_BYTES_MAX
        {
            return Err(TooSlow::Own);
        }
        self.own_bytes += text.len();
        self.own.push_back(text.into());
        Ok(())
    }

    /// Begins a channel where it wants to, and says where that is.
    ///
    /// # Errors
    /// It has it, or has as many as it may.
    pub fn subscribe(
        &mut self,
        id: ChannelId,
        channel: &Channel,
        wish: Wish,
    ) -> Result<Joined, NoSubscription> {
        if self.cursors.iter().any(|cursor| cursor.channel == id) {
            return Err(NoSubscription::Twice);
        }
        if self.cursors.len() >= EDGE_CHANNELS_MAX {
            return Err(NoSubscription::TooMany);
        }
        let joined = channel.join(wish.since, !wish.no_snapshot);
        let cursor = Cursor {
            channel: id,
            lane: channel.lane(),
            numbered: channel.is_numbered(),
            at: joined.at,
            told: joined.at,
            snapshot: joined.snapshot,
            gap: joined.gap,
            shed: [0; ShedWhy::ALL.len()],
            acks: Acks {
                acked: joined.at,
                ..Acks::default()
            },
            begun: joined.at,
            head: channel.last(),
            wish,
        };
        let place = self
            .cursors
            .partition_point(|other| other.lane <= cursor.lane);
        self.cursors.insert(place, cursor);
        self.offered = None;
        Ok(joined)
    }

    /// Ends a channel, which has come to `last`; false if it did not have it.
    pub fn unsubscribe(&mut self, id: ChannelId, last: u64) -> bool {
        let Some(place) = self.cursors.iter().position(|one| one.channel == id) else {
            return false;
        };
        let cursor = self.cursors.remove(place);
        let waited = cursor.settle(last, &mut self.counts);
        self.counts.left += waited;
        self.offered = None;
        true
    }

    /// Begins the channel anew, because the client says that it is out of step: behind the last event that it has seen, or with
    /// a snapshot. False if it does not have it, or there is nothing to begin with.
    pub fn resync(&mut self, id: ChannelId, channel: &Channel, since: Option<Since>) -> bool {
        let Some(cursor) = self.of(id) else {
            return false;
        };
        let joined = channel.join(since, true);
        if since.is_none() && !joined.snapshot {
            return false;
        }
        let (back, on) = (
            cursor.at.saturating_sub(joined.at),
            joined.at.saturating_sub(cursor.at),
        );
        (cursor.at, cursor.told) = (joined.at, joined.at);
        (cursor.snapshot, cursor.gap) = (joined.snapshot, joined.gap);
        if joined.at < cursor.acks.acked {
            // It takes back that it had those behind.
            cursor.acks = Acks {
                acked: joined.at,
                ..Acks::default()
            };
        }
        cursor.head = channel.last();
        self.counts.again += back;
        self.counts.covered += on;
        self.offered = None;
        true
    }

    /// The client has everything of the channel up to that offset. False if it acknowledges what it was never given, or a
    /// channel that it does not have.
    pub fn ack(&mut self, id: ChannelId, offset: u64, now_ns: u64) -> bool {
        let Some(cursor) = self.of(id) else {
            return false;
        };
        if offset > cursor.told.max(cursor.acks.acked) {
            return false;
        }
        if offset > cursor.acks.acked {
            // It hears; what it has not acknowledged yet counts from now on.
            let since_ns = (offset < cursor.told).then_some(now_ns);
            cursor.acks = Acks {
                acked: offset,
                since_ns,
                unheard_ns: since_ns,
                resent: 0,
            };
        }
        true
    }

    fn of(&mut self, id: ChannelId) -> Option<&mut Cursor> {
        self.cursors.iter_mut().find(|cursor| cursor.channel == id)
    }

    /// Channels that it has.
    pub fn channels(&self) -> impl Iterator<Item = ChannelId> + '_ {
        self.cursors.iter().map(|cursor| cursor.channel)
    }

    /// What it counted, with what waits for it of these channels.
    #[must_use]
    pub fn counts(&self, channels: &[Channel]) -> LaneCounts {
        let mut counts = self.counts;
        for cursor in &self.cursors {
            if let Some(channel) = channels.get(cursor.channel.0 as usize) {
                let waits = cursor.settle(channel.last(), &mut counts);
                counts.waiting += waits;
            }
        }
        counts
    }

    /// Whether it has been sent critical events for the last time and acknowledged none: it is there, and does not hear.
    #[must_use]
    pub fn is_deaf(&self, now_ns: u64) -> bool {
        self.cursors.iter().any(|cursor| {
            let since = cursor.acks.unheard_ns.map(|ns| now_ns.saturating_sub(ns));
            cursor.acks.resent >= EDGE_RESEND_NS.len()
                && since > EDGE_RESEND_NS.last().map(|last| 2 * last)
        })
    }

    /// When critical events are to be sent again, or an event that waits for its rate may be sent.
    #[must_use]
    pub fn due_ns(&self) -> u64 {
        let due = self.cursors.iter().filter_map(|cursor| {
            let since_ns = cursor.acks.since_ns?;
            Some(since_ns + EDGE_RESEND_NS.get(cursor.acks.resent)?)
        });
        let due_ns = due.min().unwrap_or(u64::MAX);
        due_ns.min(self.retry_ns.unwrap_or(u64::MAX))
    }

    /// Sends again what is due. A time to look again that has come is not due a second time: whoever can be sent to is looked at
    /// now, others once they can.
    pub fn resend(&mut self, now_ns: u64) {
        self.retry_ns = self.retry_ns.filter(|ns| *ns > now_ns);
        for cursor in &mut self.cursors {
            let Some(since_ns) = cursor.acks.since_ns else {
                continue;
            };
            match EDGE_RESEND_NS.get(cursor.acks.resent) {
                Some(after_ns) if now_ns >= since_ns + after_ns => {
                    self.counts.resent += cursor.at.saturating_sub(cursor.acks.acked);
                    cursor.at = cursor.acks.acked;
                    cursor.acks.resent += 1;
                    self.offered = None;
                }
                _ => {}
            }
        }
    }

    /// What is to be sent next, from these channels. The same again until it is [taken](Lanes::taken).
    ///
    /// # Errors
    /// Critical events were lost.
    pub fn next<'a>(
        &'a mut self,
        channels: &'a [Channel],
        now_ns: u64,
    ) -> Result<Option<Out<'a>>, TooSlow> {
        (self.offered, self.retry_ns) = (None, None);
        if !self.own.is_empty() {
            self.offered = Some(Offered::Own);
            return Ok(self.own.front().map(|text| Out::Own(text)));
        }
        for at in 0..self.cursors.len() {
            let Some(channel) = channels.get(self.cursors[at].channel.0 as usize) else {
                continue;
            };
            if let Some(offered) = self.look(at, channel, now_ns)? {
                self.offered = Some(offered);
                return Ok(self.show(offered, channel));
            }
        }
        Ok(None)
    }

    /// What is next of the channel at that place, behind what the client does not want.
    fn look(
        &mut self,
        place: usize,
        channel: &Channel,
        now_ns: u64,
    ) -> Result<Option<Offered>, TooSlow> {
        let (counts, retry_ns) = (&mut self.counts, &mut self.retry_ns);
        let cursor = &mut self.cursors[place];
        if cursor.gap.is_some() {
            return Ok(Some(Offered::GapOf(place)));
        }
        if cursor.snapshot {
            return Ok(Some(Offered::SnapshotOf(place)));
        }
        while let Some(next) = channel.next(cursor.at, cursor.conflate_from()) {
            match next {
                Next::Lost { .. } if cursor.lane == Lane::Critical => {
                    return Err(TooSlow::Critical);
                }
                Next::Lost { from, to } => {
                    cursor.lose(from, to, GapWhy::Slow, counts);
                    break;
                }
                Next::Event { event, at, .. } => {
                    let age_ns = now_ns.saturating_sub(event.born_ns());
                    let is_late = cursor.lane == Lane::Stream
                        && cursor.wish.budget_ns.is_some_and(|most| age_ns > most);
                    if is_late {
                        // What was lost for another reason before is told first.
                        if cursor.gap.is_some_and(|gap| gap.why != GapWhy::Deadline) {
                            break;
                        }
                        cursor.lose(at, at, GapWhy::Deadline, counts);
                        continue;
                    }
                    let kinds = &cursor.wish.kinds;
                    let is_wanted = kinds.is_empty() || kinds.contains(&event.kind());
                    let is_due = is_wanted
                        && match &mut cursor.wish.rate {
                            Some(bucket) => {
                                // What newer events of a state channel stand for waits instead: the newest comes through.
                                let admits = bucket.admit(now_ns);
                                if !admits && cursor.lane == Lane::State {
                                    let step_ns = 1_000_000_000 / bucket.params().rate_per_s();
                                    let due_ns = now_ns + step_ns.max(1_000_000);
                                    *retry_ns = Some(retry_ns.unwrap_or(u64::MAX).min(due_ns));
                                    break;
                                }
                                admits
                            }
                            None => true,
                        };
                    if !is_due {
                        let passed = at - core::mem::replace(&mut cursor.at, at);
                        if is_wanted && !cursor.numbered {
                            counts.shed[ShedWhy::Rate as usize] += passed;
                            cursor.shed[ShedWhy::Rate as usize] += passed;
                        } else {
                            counts.skipped += passed;
                        }
                        continue;
                    }
                    if cursor.gap.is_some() || cursor.shed.iter().any(|count| *count > 0) {
                        break;
                    }
                    return Ok(Some(Offered::Of(place, at)));
                }
            }
        }
        if cursor.gap.is_some() {
            return Ok(Some(Offered::GapOf(place)));
        }
        let mut whys = ShedWhy::ALL.iter().copied();
        let why = whys.find(|why| cursor.shed[*why as usize] > 0);
        Ok(why.map(|why| Offered::ShedOf(place, why)))
    }

    fn show<'a>(&'a self, offered: Offered, channel: &'a Channel) -> Option<Out<'a>> {
        match offered {
            Offered::Own => self.own.front().map(|text| Out::Own(text)),
            Offered::SnapshotOf(place) => Some(Out::Snapshot(self.cursors[place].channel)),
            Offered::GapOf(place) => {
                let cursor = &self.cursors[place];
                cursor.gap.map(|gap| Out::Gap(cursor.channel, gap))
            }
            Offered::ShedOf(place, why) => {
                let cursor = &self.cursors[place];
                Some(Out::Shed(cursor.channel, cursor.shed[why as usize], why))
            }
            Offered::Of(place, _) => {
                let cursor = &self.cursors[place];
                match channel.next(cursor.at, cursor.conflate_from())? {
                    Next::Event { event, at, .. } => Some(Out::Event {
                        channel: cursor.channel,
                        event,
                        head: channel.last(),
                        is_sample: cursor.samples(at),
                        skipped: if cursor.numbered && at > cursor.told {
                            at - cursor.told - 1
                        } else {
                            0
                        },
                    }),
                    Next::Lost { .. } => None,
                }
            }
        }
    }

    /// What was offered last is on its way.
    pub fn taken(&mut self, now_ns: u64) {
        self.counts.messages += u64::from(self.offered.is_some());
        match self.offered.take() {
            None => {}
            Some(Offered::Own) => {
                if let Some(text) = self.own.pop_front() {
                    self.own_bytes -= text.len();
                }
                if self.own.is_empty() {
                    // An idle client holds nothing.
                    self.own = VecDeque::new();
                }
            }
            Some(Offered::SnapshotOf(place)) => self.cursors[place].snapshot = false,
            Some(Offered::GapOf(place)) => {
                if let Some(gap) = self.cursors[place].gap.take() {
                    self.counts.gaps[gap.why as usize] += 1;
                }
            }
            Some(Offered::ShedOf(place, why)) => self.cursors[place].shed[why as usize] = 0,
            Some(Offered::Of(place, at)) => {
                let cursor = &mut self.cursors[place];
                self.counts.sent += 1;
                self.counts.skipped += at.saturating_sub(cursor.at + 1);
                cursor.at = at;
                let is_new = at > cursor.told;
                cursor.told = cursor.told.max(at);
                if cursor.lane == Lane::Critical && cursor.wish.acks {
                    let acks = &mut cursor.acks;
                    acks.unheard_ns.get_or_insert(now_ns);
                    if acks.since_ns.is_none() {
                        acks.since_ns = Some(now_ns);
                    } else if is_new && acks.resent >= EDGE_RESEND_NS.len() {
                        // Those before have had their times; this one has its own.
                        (acks.since_ns, acks.resent) = (Some(now_ns), 0);
                    }
                }
            }
        }
    }

    /// The channel's snapshot is of that offset: what follows is behind it.
    pub fn snapshot_is_of(&mut self, id: ChannelId, offset: u64) {
        if let Some(cursor) = self.of(id) {
            let covered = offset.saturating_sub(cursor.at);
            (cursor.at, cursor.told) = (offset, offset);
            self.counts.covered += covered;
        }
    }
}

impl Cursor {
    /// How far behind it has to be for newer events to stand for older ones: with a rate of its own always.
    fn conflate_from(&self) -> u64 {
        match self.wish.rate {
            Some(_) => 0,
            None => EDGE_CONFLATE_FROM,
        }
    }

    /// Whether an event at that place, which is about to be sent, is a sample: one of so many, sent for the first time and as soon as
    /// it could be. One that was there before the client, or that waits because it wants fewer, says nothing of the edge.
    fn samples(&self, at: u64) -> bool {
        let is_fresh = at > self.head && at > self.told;
        self.numbered
            && at.is_multiple_of(EDGE_SAMPLE_EVERY)
            && is_fresh
            && self.wish.rate.is_none()
    }

    /// Counts what was due of its channel, which has come to `last`, and gives what of that waits.
    fn settle(&self, last: u64, counts: &mut LaneCounts) -> u64 {
        counts.due += last.saturating_sub(self.begun);
        last.saturating_sub(self.at)
    }

    /// The client will not get these.
    fn lose(&mut self, from: u64, to: u64, why: GapWhy, counts: &mut LaneCounts) {
        let shed = match why {
            GapWhy::Deadline => ShedWhy::Deadline,
            _ => ShedWhy::Slow,
        };
        counts.shed[shed as usize] += to + 1 - from;
        self.at = to;
        if self.numbered {
            let from = self.gap.map_or(from, |gap| gap.from);
            self.gap = Some(Missing { from, to, why });
            self.told = to;
        } else {
            self.shed[shed as usize] += to + 1 - from;
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
