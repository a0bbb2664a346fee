//! The consuming end of a hop.
//!
//! Invariant: a message is recorded or discarded once, with its last fragment.

use std::sync::Arc;

use crate::base::envelope::saturate_ns;
use crate::base::{Cause, Discard, Envelope};
use crate::budget::{HopCounters, Passage, Peaks};
use crate::frame::KindInfo;
use crate::hist::Recorder;
use crate::hist::swap::{self, Reader, Writer};
use crate::overload::Policy;
use crate::stage::aging::{Aging, TooOld};
use crate::stage::log::HopLog;
use crate::stage::orders::Orders;
use crate::stage::ring::RxRing;
use crate::stage::tap::{Desk, Inlet};

use super::{Doorbell, kind_at};

/// What a consumer shows of the backlog in front of it: the age of the oldest now, and the most since the last hand-over.
#[derive(Debug)]
pub(crate) struct Backlog {
    counters: Arc<HopCounters>,
    peaks: Writer<Peaks>,
}

impl Backlog {
    /// A turn begins at `now_ns` with a message that was offered at `t_offer_ns`, the oldest.
    #[inline]
    pub(crate) fn begins(&mut self, t_offer_ns: u64, now_ns: u64) {
        self.counters.rx.head_offer_ns.set(t_offer_ns);
        let age_ns = now_ns.saturating_sub(t_offer_ns);
        self.peaks
            .with(|peaks| peaks.age_ns = peaks.age_ns.max(age_ns));
    }

    /// A turn ends that saw so many frames waiting; of those that are left the oldest was offered at
    /// `head_offer_ns`, 0 where none is.
    #[inline]
    pub(crate) fn ends(&mut self, frames: usize, head_offer_ns: u64) {
        self.counters.rx.head_offer_ns.set(head_offer_ns);
        let depth_frames = frames as u64;
        self.counters.rx.depth_max.raise(depth_frames);
        self.peaks
            .with(|peaks| peaks.depth_frames = peaks.depth_frames.max(depth_frames));
    }
}

/// The consuming end of a hop.
#[derive(Debug)]
pub struct HopRx {
    pub(crate) ring: RxRing,
    pub(crate) backlog: Backlog,
    pub(super) counters: Arc<HopCounters>,
    recorder: Recorder<3>,
    name: Arc<str>,
    kinds: &'static [KindInfo],
    /// The kind of the first part that was discarded of the message that is.
    discarded_kind: Option<u16>,
    /// Service time of the fragments of the message in hand.
    service_ns: u64,
    /// Fragments before the last ones of messages, since what they take was last measured.
    pub(super) fragments: u32,
    /// Of the consumers that follow this one on a shared ring.
    bells: Vec<Doorbell>,
    tap: Inlet,
    log: HopLog,
    /// What marks its messages in the log.
    mark: u16,
    /// Whether its policy asks for anything of a message whose turn has come.
    pub(crate) judged: bool,
    /// What it asks for.
    pub(crate) aging: Box<Aging>,
    /// Its class: inputs of a lower one come first.
    pub(super) rank: u8,
    /// Where other policies come.
    pub(super) orders: Option<Orders>,
    /// The tightest limit that its frames owe, in nanoseconds; 0 where there is none.
    limit_ns: u64,
}

impl HopRx {
    /// Joins a ring's consumer with counters, of which it writes the consuming side, and a recorder of wait,
    /// service and sojourn. `bells` wake the loops of those that follow it on a shared ring.
    #[must_use]
    pub fn new(
        name: Arc<str>,
        ring: impl Into<RxRing>,
        counters: Arc<HopCounters>,
        recorder: Recorder<3>,
        bells: Vec<Doorbell>,
    ) -> HopRx {
        // Nobody looks until `watched` says who.
        let (peaks, _) = swap::pair(Peaks::default(), Peaks::default());
        HopRx {
            ring: ring.into(),
            backlog: Backlog {
                counters: counters.clone(),
                peaks,
            },
            counters,
            recorder,
            name,
            kinds: &[],
            discarded_kind: None,
            service_ns: 0,
            fragments: 0,
            bells,
            tap: Inlet::default(),
            log: HopLog::default(),
            mark: 0,
            judged: false,
            aging: Box::new(Aging::new(Policy::default())),
            rank: 0,
            orders: None,
            limit_ns: 0,
        }
    }

    /// The same with the kinds of frames that it carries: those that it discards are counted by them.
    #[must_use]
    pub fn of_kinds(mut self, kinds: &'static [KindInfo]) -> HopRx {
        self.kinds = kinds;
        self
    }

    /// The same with the tightest limit that its frames owe, in nanoseconds; 0 where there is none.
    pub(crate) fn limited(mut self, limit_ns: u64) -> HopRx {
        self.limit_ns = limit_ns;
        self
    }

    /// The same with one who looks at the peaks of its backlog: what is seen once is handed over once.
    pub(crate) fn watched(mut self) -> (HopRx, Reader<Peaks>) {
        let (peaks, reader) = swap::pair(Peaks::default(), Peaks::default());
        self.backlog.peaks = peaks;
        (self, reader)
    }

    /// The same with a desk at which taps are attached.
    pub(crate) fn tapped_at(mut self, desk: Arc<Desk>) -> HopRx {
        self.tap = Inlet::new(desk);
        self
    }

    /// The same with a log of its messages, each with that mark.
    pub(crate) fn logged(mut self, log: HopLog, mark: u16) -> HopRx {
        self.log = log;
        self.mark = mark;
        self
    }

    /// The hop's name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Records a frame that is done with; a message counts with its last fragment.
    ///
    /// Sojourn is from the offer to the end of the last fragment's handler, service is the sum of
    /// its fragments' handlers, and wait is the rest.
    #[inline]
    pub(crate) fn finish(&mut self, envelope: &Envelope, t_dequeue_ns: u64, t_done_ns: u64) {
        self.service_ns += t_done_ns.saturating_sub(t_dequeue_ns);
        if envelope.flags.is_last() {
            let service_ns = self.take_service_ns();
            self.record(envelope, service_ns, t_done_ns);
        } else {
            self.fragments = self.fragments.saturating_add(1);
            self.counters.rx.parts.add(1);
        }
    }

    /// Whether a message in front that is too old by what its work likely takes is worked on nevertheless: nothing else waits. Of
    /// one of several fragments the next ones count as others.
    #[cold]
    pub(crate) fn spares(&mut self, old: TooOld, t_offer_ns: u64) -> bool {
        if old.is_sure {
            return false;
        }
        let is_alone = self.ring.ready_ahead(2) < 2;
        if !is_alone {
            self.aging.doubted(t_offer_ns);
        }
        is_alone
    }

    /// Service time of the fragments before the last of a message, to be recorded with it.
    pub(crate) fn take_service_ns(&mut self) -> u64 {
        core::mem::take(&mut self.service_ns)
    }

    /// Records a message that was done with at `t_done_ns`.
    #[inline(always)]
    pub(crate) fn record(&mut self, envelope: &Envelope, service_ns: u64, t_done_ns: u64) {
        let sojourn_ns = t_done_ns
            .saturating_sub(envelope.t_offer_ns)
            .max(service_ns);
        self.recorder
            .record_all([sojourn_ns - service_ns, service_ns, sojourn_ns]);
        self.counters.rx.delivered.add(1);
        if self.judged && self.aging.took(envelope.t_offer_ns, service_ns, t_done_ns) {
            self.learn(service_ns);
        }
        if self.log.is_on() && self.log.picks(envelope) {
            let (wait_ns, _) = saturate_ns(sojourn_ns - service_ns);
            self.log.note(Passage {
                t_offer_ns: envelope.t_offer_ns,
                origin_ns: envelope.origin_ns,
                wait_ns,
                service_ns: saturate_ns(service_ns).0,
                source: envelope.source,
                flags: self.mark,
            });
        }
        if envelope.origin_ns == u32::MAX {
            self.counters.rx.origin_saturated.add(1);
        }
    }

    /// Has the producer know what messages take, of which the last one took `service_ns`.
    #[inline(never)]
    fn learn(&mut self, service_ns: u64) {
        let fragments = core::mem::take(&mut self.fragments);
        let pace = self.aging.learn(fragments, service_ns);
        self.counters.rx.message_ns.set(pace.message_ns);
        self.counters.rx.frame_ns.set(pace.frame_ns);
    }

    /// Steps over the frame in hand, of which an attached tap gets a copy.
    #[inline]
    pub(crate) fn step_over(&mut self, envelope: &Envelope) {
        self.tap.offer(&mut self.ring);
        self.advance(envelope);
    }

    /// Steps over the frame in hand. A producer that is judged by what waits learns of it at once, but not within a message: those
    /// that follow on a shared ring would see a part of it, and wait in it for the rest while this one waits for them.
    #[inline]
    fn advance(&mut self, envelope: &Envelope) {
        let is_last = envelope.flags.is_last();
        if self.judged && is_last {
            self.ring.advance_now();
        } else {
            self.ring.advance(is_last);
        }
    }

    /// Steps over the frame in hand, which goes no further.
    pub(crate) fn discard(&mut self, envelope: &Envelope, why: Discard) {
        let of_message = self.discarded_kind.filter(|_| !envelope.flags.is_first());
        let kind = of_message.unwrap_or(envelope.kind);
        self.discarded_kind = Some(kind);
        if envelope.flags.is_last() {
            self.service_ns = 0;
            self.discarded_kind = None;
            self.discard_message(kind, why);
        } else {
            self.counters.rx.parts.add(1);
        }
        self.advance(envelope);
    }

    /// When the frame in front is due, in nanoseconds of the line's clock: at its deadline if it has one,
    /// else by the tightest limit of the hop after its intended time, else since it was offered.
    #[inline]
    pub(crate) fn due_ns(&mut self) -> Option<u64> {
        let limit_ns = self.limit_ns;
        let envelope = self.ring.peek()?.envelope();
        Some(match (envelope.deadline_ns, limit_ns) {
            (0, 0) => envelope.t_offer_ns,
            (0, limit_ns) => envelope.t_intended_ns().saturating_add(limit_ns),
            (deadline_ns, _) => envelope.t_offer_ns.saturating_add(u64::from(deadline_ns)),
        })
    }

    /// Counts a message of that kind that goes no further, after it has left the ring.
    pub(crate) fn discard_message(&self, kind: u16, why: Discard) {
        self.counters.discard(kind_at(self.kinds, kind), why);
    }

    /// Discards all that is on the ring, and of a shared one, which goes on without this consumer, all that comes.
    pub(crate) fn discard_all(&mut self, why: Discard) {
        if self.ring.is_shared() {
            self.counters.discard_rest(why);
        }
        while let Some(frame) = self.ring.peek() {
            let envelope = *frame.envelope();
            self.discard(&envelope, why);
        }
    }

    /// Hands the recorded spans to the observer if it has asked.
    pub(crate) fn housekeep(&mut self) {
        self.recorder.publish_if_asked();
        self.backlog.peaks.hand_over_if_asked();
        self.tap.housekeep();
    }

    /// Wakes the loops of those that follow and announced that they sleep.
    #[inline]
    pub(crate) fn ring_bells(&self) {
        for bell in &self.bells {
            bell.ring();
        }
    }

    /// Says that nobody reads any more, and why.
    pub(crate) fn close(&mut self, cause: Cause) {
        self.counters.close(cause);
        self.ring.close(cause);
        self.tap.close(cause);
        self.ring_bells();
    }

    /// Whether the producer has closed and everything is taken.
    #[must_use]
    pub fn is_finished(&mut self) -> bool {
        self.ring.is_finished()
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::base::limits::DROPS_PER_TURN_MAX;
    use crate::base::{Flags, Reason};
    use crate::hist;
    use crate::overload::WhenFull;
    use crate::ring::hop;
    use crate::ring::multicast::Graph;
    use crate::stage::ring::TxRing;

    #[test]
    fn the_oldest_of_a_deep_ring_are_stepped_over_in_as_many_turns_as_that_takes() {
        let (ring, rx) = hop::frames(8 * DROPS_PER_TURN_MAX).unwrap();
        let mut tx = TxRing::from(ring);
        for _ in 0..tx.depth() {
            let whole = Envelope {
                flags: Flags::WHOLE,
                ..Envelope::default()
            };
            tx.put(|_| whole).unwrap();
        }
        let (recorder, _observer) = hist::pair([&[], &[], &[]]).unwrap();
        let counters = Arc::new(HopCounters::default());
        let mut rx = HopRx::new("hop".into(), rx, counters.clone(), recorder, Vec::new())
            .aging(Policy::of(WhenFull::DropOldest));
        let oldest = &counters.rx.discarded[Discard::Oldest.index()];
        let turn = |rx: &mut HopRx| {
            rx.skip_oldest();
            oldest.get() / DROPS_PER_TURN_MAX as u64
        };
        // A quarter of it, and no more once that is done.
        assert_eq!([(); 4].map(|()| turn(&mut rx)), [1, 2, 2, 2]);
        // What is left of a quarter is nothing to another policy.
        for _ in 0..DROPS_PER_TURN_MAX + 100 {
            let whole = Envelope {
                flags: Flags::WHOLE,
                ..Envelope::default()
            };
            tx.put(|_| whole).unwrap();
        }
        assert_eq!(turn(&mut rx), 3);
        rx.set_policy(Policy::of(WhenFull::DropNewest));
        rx.set_policy(Policy::of(WhenFull::DropOldest));
        assert_eq!(turn(&mut rx), 3);
    }

    #[test]
    fn who_follows_sees_whole_messages_whatever_the_policy_before_it_asks_for() {
        for policy in ["codel", "plain"] {
            let mut graph = Graph::new(8);
            let first = graph.reader();
            graph.reader_after(&[first]);
            let (producer, mut readers) = graph.frames().unwrap();
            let mut tx = TxRing::Many {
                ring: producer,
                consumers: 2,
            };
            let mut follower = readers.pop().unwrap();
            let leader = readers.pop().unwrap();
            let policy = Policy {
                codel_target_ns: if policy == "codel" { 80_000 } else { 0 },
                ..Policy::default()
            };
            let (recorder, _observer) = hist::pair([&[], &[], &[]]).unwrap();
            let counters = Arc::new(HopCounters::default());
            let mut rx =
                HopRx::new("hop".into(), leader, counters, recorder, Vec::new()).aging(policy);
            for at in 0..2 {
                tx.write_ahead(at, 2, |_| Envelope {
                    flags: Flags::fragment(at, 2),
                    ..Envelope::default()
                });
            }
            tx.publish(2).unwrap();
            for expected in [false, true] {
                let envelope = *rx.ring.peek().unwrap().envelope();
                rx.step_over(&envelope);
                assert_eq!(follower.peek().is_some(), expected, "{policy:?}");
            }
        }
    }
}
