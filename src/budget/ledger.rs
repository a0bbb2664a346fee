//! The counters that must add up.
//!
//! - ingress: received = ingested + shed + rejected{reason} + undeclared + duplicates; the kernel's drops stand beside it.
//! - hop: offered = accepted + shed{reason} + waiting, and nothing waits at the end; accepted = delivered + in flight +
//!   discarded{reason}. A ring with several consumers has one offering side, and the second equation holds for each consumer.
//! - stage: consumed = forwarded + absorbed{reason} + rejected{reason} + held, where
//!   absorbed{undeclared} breaks the ledger.
//!
//! All counts are of messages, unless their words say frames: the fragments of one message count once. Each counter has one
//! writing thread, so counting takes no locked instruction; each side of a hop has cache lines of
//! its own.

use std::sync::{Arc, OnceLock};

use crossbeam_utils::CachePadded;

use super::link::LinkCounters;
use crate::base::limits::{KINDS_PER_HOP_MAX, READERS_MAX, REASONS_MAX};
use crate::base::{Cause, Counter, Counters, Discard, Hangup, Reason, Reject, Shed};

use super::fidelity::FidelityReport;
use super::sequenced::SequencedCounters;
use super::skew::{GapsCounters, SkewCounters};

const SHEDS: usize = Shed::NAMES.len();
const DISCARDS: usize = Discard::NAMES.len();
const REJECTS: usize = Reject::NAMES.len();
/// Rungs of the degrade ladder, which `overload::ladder` names.
const RUNGS: usize = 5;
const HANGUPS: usize = Hangup::NAMES.len();

/// What the producing side of a hop counts.
#[derive(Debug, Default)]
pub struct Offered {
    /// Messages that the producer wanted to put on the hop.
    pub offered: Counter,
    /// Messages that are on the ring, or were.
    pub accepted: Counter,
    /// Messages that never got on the ring, by reason.
    pub shed: [Counter; SHEDS],
    /// Messages that wait at the producer for room, the latest of each key: offered = accepted + shed + waiting.
    pub waiting: Counter,
    /// The rung of the degrade ladder that it is on, by its place.
    pub rung: Counter,
    /// How often each rung was reached, on the way up or down.
    pub rungs: [Counter; RUNGS],
    /// System calls that woke the consumer's loop; none while it is awake.
    pub wakes: Counter,
    /// The same as `shed` by the message's kind (its place in the hop's list of kinds), then by reason.
    pub shed_by_kind: [[Counter; SHEDS]; KINDS_PER_HOP_MAX],
    /// Frames that got on the ring beyond the first of each message.
    pub parts: Counter,
    /// Nanoseconds at full, by the consumer that was furthest behind, in the ring's order of consumers.
    ///
    /// A producer that waits counts from when it found no room until it found some. One that sheds counts at each shed
    /// message the time since the offer before it: between two offers room only grows, so the ring was full all the while.
    pub full_ns: [Counter; READERS_MAX],
    /// Nanoseconds on each rung that was left; what came before the first change counts for none.
    pub rungs_ns: [Counter; RUNGS],
    /// When the present rung was reached, in nanoseconds of the line's clock; 0 before the first change.
    pub rung_since_ns: Counter,
}

/// What the consuming side of a hop counts.
#[derive(Debug, Default)]
pub struct Delivered {
    /// Messages that the consumer has taken and disposed of.
    pub delivered: Counter,
    /// Messages that were accepted and will never be delivered, by reason.
    pub discarded: [Counter; DISCARDS],
    /// How long a message that waited took to be done with after the one before it, in nanoseconds: an average over the last
    /// ones, measured where a policy asks for it.
    pub message_ns: Counter,
    /// The same from one frame to the next, by all frames of those messages.
    pub frame_ns: Counter,
    /// Frames that the consumer is done with and that were not the last of their message.
    pub parts: Counter,
    /// Most frames seen waiting on the ring at once.
    pub depth_max: Counter,
    /// When the oldest message that the consumer knows to be waiting was offered, in nanoseconds of the line's clock: set when
    /// a turn begins with it, so within a turn it may be the age of one before it. 0 where the ring was last seen empty.
    pub head_offer_ns: Counter,
    /// Envelopes whose age at the offer did not fit in 32 bits.
    pub origin_saturated: Counter,
    /// Why everything that is not delivered counts as discarded, as the reason's index plus one: set by a
    /// consumer that has left a ring which goes on for others. 0 while it is there.
    pub rest: Counter,
    /// Why the consumer takes nothing more, as the cause's index plus one; 0 while it does.
    pub closed: Counter,
    /// The same as `discarded` by the message's kind, as in `shed_by_kind`.
    pub discarded_by_kind: [[Counter; DISCARDS]; KINDS_PER_HOP_MAX],
}

/// Both sides of a hop.
#[derive(Debug, Default)]
pub struct HopCounters {
    /// Written by the producer's thread.
    pub tx: CachePadded<Offered>,
    /// Written by the consumer's thread.
    pub rx: CachePadded<Delivered>,
}

impl HopCounters {
    /// Counts a shed message of the kind at `kind_at` in the hop's list of kinds.
    #[inline]
    pub fn shed(&self, kind_at: usize, reason: Shed) {
        self.tx.shed[reason.index()].add(1);
        self.tx.shed_by_kind[kind_at.min(KINDS_PER_HOP_MAX - 1)][reason.index()].add(1);
    }

    /// Notes that the hop has come to that rung of the degrade ladder, at `now_ns` of the line's clock.
    #[cold]
    pub fn reached(&self, rung: usize, now_ns: u64) {
        let since_ns = self.tx.rung_since_ns.get();
        let left = self.tx.rungs_ns.get(self.tx.rung.get() as usize);
        if let Some(span_ns) = left.filter(|_| since_ns > 0) {
            span_ns.add(now_ns.saturating_sub(since_ns));
        }
        self.tx.rung_since_ns.set(now_ns);
        self.tx.rung.set(rung as u64);
        if let Some(count) = self.tx.rungs.get(rung) {
            count.add(1);
        }
    }

    /// Messages shed so far, for whatever reason.
    #[must_use]
    pub fn shed_total(&self) -> u64 {
        self.tx.shed.iter().map(Counter::get).sum()
    }

    /// Counts a discarded message of the kind at `kind_at` in the hop's list of kinds.
    #[inline]
    pub fn discard(&self, kind_at: usize, reason: Discard) {
        self.rx.discarded[reason.index()].add(1);
        self.rx.discarded_by_kind[kind_at.min(KINDS_PER_HOP_MAX - 1)][reason.index()].add(1);
    }

    /// Messages so far that a policy had accepted and gave up: those that were late, stale, or the oldest of a ring that was
    /// nearly full.
    #[must_use]
    pub fn given_up_total(&self) -> u64 {
        let by_policy = [Discard::Late, Discard::Stale, Discard::Oldest];
        by_policy
            .iter()
            .map(|why| self.rx.discarded[why.index()].get())
            .sum()
    }

    /// Notes why the consumer takes nothing more. The first cause stays.
    pub fn close(&self, cause: Cause) {
        if self.rx.closed.get() == 0 {
            self.rx.closed.set(cause.index() as u64 + 1);
        }
    }

    /// Why the consumer takes nothing more, once that is so.
    #[must_use]
    pub fn closed(&self) -> Option<Cause> {
        let at = self.rx.closed.get().checked_sub(1)?;
        Cause::ALL.get(at as usize).copied()
    }

    /// Counts all that is accepted and not delivered, now and from now on, as discarded.
    pub fn discard_rest(&self, reason: Discard) {
        if self.rx.rest.get() == 0 {
            self.rx.rest.set(reason.index() as u64 + 1);
        }
    }

    /// Frames that `offers` has accepted and this consumer is not done with: those on the ring, and of a sink those that it
    /// has queued. Seen from outside, so late by what both sides did between two loads.
    #[must_use]
    pub fn frames_waiting(&self, offers: &HopCounters) -> u64 {
        let done = self.rx.parts.get();
        let messages = self.arrivals(offers).in_flight;
        if messages == 0 {
            return 0;
        }
        messages + offers.tx.parts.get().saturating_sub(done)
    }

    /// Where the messages are that `offers` has accepted, for this consumer; exact once both sides
    /// are at rest. `offers` is the same counters, or those of the ring's first consumer.
    #[must_use]
    pub fn arrivals(&self, offers: &HopCounters) -> Arrivals {
        // The consumer's side is read first, so that a running line never shows less than nothing.
        let rest = self.rx.rest.get();
        let delivered = self.rx.delivered.get();
        let mut discarded = [0; DISCARDS];
        for (count, counter) in discarded.iter_mut().zip(&self.rx.discarded) {
            *count = counter.get();
        }
        let accepted = offers.tx.accepted.get();
        let mut in_flight = accepted.saturating_sub(delivered + discarded.iter().sum::<u64>());
        if let Some(discarded) = rest
            .checked_sub(1)
            .and_then(|why| discarded.get_mut(why as usize))
        {
            *discarded += core::mem::take(&mut in_flight);
        }
        Arrivals {
            accepted,
            delivered,
            discarded,
            in_flight,
        }
    }
}

/// The most that a hop's consumer saw between two hand-overs.
///
/// ```
/// use hopline::budget::ledger::Peaks;
/// let mut window = Peaks { depth_frames: 3, age_ns: 900 };
/// window.raise(Peaks { depth_frames: 7, age_ns: 100 });
/// assert_eq!(window, Peaks { depth_frames: 7, age_ns: 900 });
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peaks {
    /// Most frames waiting at once.
    pub depth_frames: u64,
    /// Highest age of the oldest message waiting, in nanoseconds.
    pub age_ns: u64,
}

impl Peaks {
    /// Raises each to the other's where that is higher.
    #[inline]
    pub fn raise(&mut self, other: Peaks) {
        self.depth_frames = self.depth_frames.max(other.depth_frames);
        self.age_ns = self.age_ns.max(other.age_ns);
    }
}

/// Where the messages are that a hop has accepted: accepted = delivered + in flight + discarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrivals {
    /// Messages that got on the ring.
    pub accepted: u64,
    /// Messages that the consumer disposed of.
    pub delivered: u64,
    /// Messages that will never be delivered, in the order of the reasons.
    pub discarded: [u64; DISCARDS],
    /// Messages on the ring.
    pub in_flight: u64,
}

/// What a stage or sink counts of the messages it consumes.
#[derive(Debug, Default)]
pub struct StageCounters {
    /// Messages taken from the inputs.
    pub consumed: Counter,
    /// Messages for which something was emitted, or that a sink sent on.
    pub forwarded: Counter,
    /// Messages that ended here on purpose, by the stage's own reasons.
    pub absorbed: Counters<REASONS_MAX>,
    /// Messages that ended here and nobody said why. Any of them breaks the ledger.
    pub undeclared: Counter,
    /// Messages that the stage refused, by the stage's own reasons.
    pub rejected: Counters<REASONS_MAX>,
    /// Messages in hand when the stage panicked, and those held by an instance that is gone.
    pub panicked: Counter,
    /// Messages that the stage kept when the line was ended under it.
    pub ended: Counter,
    /// Messages that the stage keeps for later.
    pub held: Counter,
    /// Emissions: a message counts once, on however many hops.
    pub emitted: Counter,
    /// Messages that a sink got after one of the same source that was due later.
    pub out_of_order: Counter,
    /// Messages that a sink got after one of another source that was due later.
    pub inversions: Counter,
    /// By how many nanoseconds at most.
    pub inversion_ns_max: Counter,
    /// When it was last done with a frame, or a source at a message, in nanoseconds of the line's clock; 0 before the first.
    pub done_ns: Counter,
}

/// What a source counts of what the world sends it.
#[derive(Debug, Default)]
pub struct IngressCounters {
    /// Datagrams, lines or generated messages that arrived.
    pub received: Counter,
    /// Bytes of them.
    pub bytes: Counter,
    /// Messages that at least one hop accepted.
    pub ingested: Counter,
    /// Messages that every hop shed.
    pub shed: Counter,
    /// Messages refused, by reason.
    pub rejected: Counters<REJECTS>,
    /// The message in hand when the source panicked, or when a thread that feeds it did.
    pub panicked: Counter,
    /// Messages that decoded into nothing without a reason, or into something and a refusal. Any
    /// of them breaks the ledger.
    pub undeclared: Counter,
    /// Messages of which another line of the feed, or the same one, had brought a copy before.
    pub duplicates: Counter,
    /// What a sequenced feed counts, if this is one.
    pub sequenced: OnceLock<Arc<SequencedCounters>>,
    /// Datagrams that the system handed over, of sources that receive any: what was sent = these + the kernel's drops.
    pub datagrams: Counter,
    /// Whether the messages are lines of text, any number of which may come in a datagram or a read.
    pub in_lines: Counter,
    /// Datagrams that the kernel dropped before the line saw them.
    pub kernel_dropped: Counter,
    /// Whether one drop of the kernel's may be a whole train, so that its count is the least.
    pub drops_are_trains: Counter,
    /// Messages whose kernel stamp made no sense; the time of receipt stands for it.
    pub stamps_clamped: Counter,
    /// How often the wall clock was set while kernel stamps were mapped by it.
    pub clock_steps: Counter,
    /// Messages or trains with the kernel's stamp although a device's were granted.
    pub not_by_device: Counter,
    /// Whose receive stamps there are and of which clock, once they were granted.
    pub wire_clock: OnceLock<String>,
    /// Packets of a capture that are for somebody else.
    pub skipped: Counter,
    /// How faithful a replay was; given as it ends.
    pub fidelity: OnceLock<FidelityReport>,
    /// What lies between two clocks.
    pub skew: SkewCounters,
    /// How evenly messages arrive.
    pub gaps: GapsCounters,
    /// Messages whose recorded time lies before that of an earlier one.
    pub time_backwards: Counter,
    /// Most nanoseconds by which a message that was ready at a known time left after it.
    pub late_ns_max: Counter,
    /// Connections that began; without those that ended, what is connected now.
    pub connected: Counter,
    /// Connections that ended, by reason.
    pub disconnected: [Counter; HANGUPS],
    /// What a source has been through that keeps one connection open.
    pub link: LinkCounters,
    /// Pushes into an inlet that were refused; the pusher was told, and they count as not received.
    pub refused: Counter,
    /// Most nanoseconds for which a claim on an inlet was seen open.
    pub claim_open_ns_max: Counter,
}

impl IngressCounters {
    /// Counts a refused message.
    #[inline]
    pub fn reject(&self, reason: Reject) {
        self.rejected[reason.index()].add(1);
    }

    /// Counts a connection that ended.
    #[inline]
    pub fn hang_up(&self, reason: Hangup) {
        self.disconnected[reason.index()].add(1);
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn the_time_on_a_rung_ends_with_the_next_one() {
        let counters = HopCounters::default();
        for (rung, at_ns) in [(1, 1_000), (2, 1_400), (1, 2_000), (0, 2_050), (1, 9_000)] {
            counters.reached(rung, at_ns);
        }
        let tx = &counters.tx;
        let get = |all: &[Counter; RUNGS]| [0, 1, 2, 3, 4].map(|at: usize| all[at].get());
        assert_eq!(get(&tx.rungs), [1, 3, 1, 0, 0]);
        assert_eq!(get(&tx.rungs_ns), [6_950, 450, 600, 0, 0]);
        assert_eq!((tx.rung.get(), tx.rung_since_ns.get()), (1, 9_000));
    }
}
