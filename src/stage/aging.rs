//! What the consuming end of a hop asks of a message whose turn has come: whether it is not too old.
//!
//! Invariant: judges a message once, by its first frame, and neither waits nor counts.

use crate::base::limits::DROPS_PER_TURN_MAX;
use crate::base::{Discard, Envelope};
use crate::overload::{
    Codel, CodelParams, Pace, PaceMeter, Policy, ServiceTime, WhenFull, late, pace,
};

/// A ring that is filled by more than this part of its depth is nearly full: one eighth is left.
const NEARLY_FULL: usize = 8;

/// What is stepped over then: a quarter, so that it does not happen at each turn.
const STEPPED_OVER: usize = 4;

/// The state behind a policy, at the consuming end.
#[derive(Debug)]
pub(crate) struct Aging {
    policy: Policy,
    codel: Option<Codel>,
    /// A message younger than that, in nanoseconds since its intended time, and without a deadline of its own has nothing to answer
    /// for: its work is likely done by the hop's deadline. 0 where more than its age is asked of each.
    young_ns: u64,
    /// What the work on a message takes.
    service: ServiceTime,
    /// What messages and frames take, as long as messages wait, with what other stages take of the core between them. It is
    /// measured in runs, of which all messages count, each by what it added to the time since the one before: to measure one in
    /// eight alone would measure those that begin a turn, or never one of them, where turns are of eight or sixteen.
    pace: PaceMeter,
    /// What the work on a message likely takes, in nanoseconds.
    likely_ns: u64,
    /// When the last message was done with.
    t_done_ns: u64,
    /// What the run of messages that is measured next took so far, without the time in which none waited.
    busy_ns: u64,
    /// Messages that it lacks, and how many it has.
    lacking: u32,
    run: u32,
    /// Frames that are still to be stepped over of a ring that was nearly full: one turn may not be enough.
    over: usize,
}

/// A message that has become too old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooOld {
    pub(crate) why: Discard,
    /// Whether it is so already, and not only by the time that its work will likely take. Where nothing else waits, such a message
    /// is worked on: that is how a measure that was too high is corrected.
    pub(crate) is_sure: bool,
}

impl Aging {
    pub(crate) fn new(policy: Policy) -> Aging {
        let mut aging = Aging {
            policy,
            codel: None,
            young_ns: 0,
            service: ServiceTime::new(),
            pace: PaceMeter::new(),
            likely_ns: 0,
            t_done_ns: 0,
            busy_ns: 0,
            lacking: 1,
            run: 1,
            over: 0,
        };
        aging.set_policy(policy);
        aging
    }

    /// Goes on by another policy; what is not changed by it keeps its state.
    pub(crate) fn set_policy(&mut self, policy: Policy) {
        // Parameters that are none were refused when the policy was given.
        let codel = CodelParams::new(policy.codel_target_ns, policy.codel_interval_ns).ok();
        self.codel = match (self.codel.take(), codel) {
            (Some(mut codel), Some(params)) => {
                codel.set_params(params);
                Some(codel)
            }
            (_, params) => params.map(Codel::new),
        };
        if policy.when_full != WhenFull::DropOldest {
            self.over = 0;
        }
        self.policy = policy;
        self.plan();
    }

    /// Makes what is asked first of what is known.
    fn plan(&mut self) {
        self.likely_ns = self.service.likely_ns();
        let left_ns = self.policy.deadline_ns.saturating_sub(self.likely_ns);
        self.young_ns = if self.codel.is_some() { 0 } else { left_ns };
    }

    /// Why a message goes no further, if it has become too old. `envelope` is its first frame's.
    ///
    /// The hop's deadline counts from the intended time, a frame's own from its offer.
    #[inline(always)]
    pub(crate) fn too_late(&mut self, envelope: &Envelope, now_ns: u64) -> Option<TooOld> {
        // One whose intended time is yet to come is older than any: that is looked at.
        let age_ns = now_ns
            .wrapping_sub(envelope.t_offer_ns)
            .wrapping_add(envelope.origin_ns.into());
        if age_ns < self.young_ns && envelope.deadline_ns == 0 {
            return None;
        }
        self.judge(envelope, now_ns)
    }

    #[inline(never)]
    fn judge(&mut self, envelope: &Envelope, now_ns: u64) -> Option<TooOld> {
        if self.policy.deadline_ns > 0 {
            let hops_ns = envelope
                .t_intended_ns()
                .saturating_add(self.policy.deadline_ns);
            let own_ns = match envelope.deadline_ns {
                0 => late::NEVER_NS,
                span_ns => envelope.t_offer_ns.saturating_add(u64::from(span_ns)),
            };
            let at_ns = hops_ns.min(own_ns);
            if late::is_late(now_ns, self.likely_ns, at_ns) {
                return Some(TooOld {
                    why: Discard::Late,
                    is_sure: late::is_late(now_ns, 0, at_ns),
                });
            }
        }
        let waited_ns = now_ns.saturating_sub(envelope.t_offer_ns);
        let stale = self
            .codel
            .as_mut()
            .is_some_and(|one| one.judge(now_ns, waited_ns));
        stale.then_some(TooOld {
            why: Discard::Stale,
            is_sure: true,
        })
    }

    /// A message that was offered then was left out though it may have been in time. If it waited for others that were done with
    /// meanwhile that says nothing: what is in front of a queue that is too long is left out, one after the other, until one can
    /// be made.
    #[cold]
    pub(crate) fn doubted(&mut self, t_offer_ns: u64) {
        if t_offer_ns >= self.t_done_ns {
            self.service.doubted();
            self.plan();
        }
    }

    /// Learns from a message that was done with: whether that ends a run, of which [`Aging::learn`] then makes a measure.
    #[inline(always)]
    pub(crate) fn took(&mut self, t_offer_ns: u64, service_ns: u64, t_done_ns: u64) -> bool {
        let before_ns = core::mem::replace(&mut self.t_done_ns, t_done_ns);
        // If it came when nothing waited the core was free until its work began.
        self.busy_ns += if t_offer_ns < before_ns {
            t_done_ns.saturating_sub(before_ns)
        } else {
            service_ns
        };
        self.lacking -= 1;
        self.lacking == 0
    }

    /// Learns from a run that has ended, of messages with so many fragments beyond the first of each, and with one that took
    /// `service_ns`: what the consumer takes.
    #[inline(never)]
    pub(crate) fn learn(&mut self, fragments: u32, service_ns: u64) -> Pace {
        // The first run is one message, and counts as if there had been eight like it.
        let scale = u64::from(pace::MESSAGES / self.run);
        let frames = u64::from(self.run) + u64::from(fragments);
        self.pace
            .measured(frames * scale, self.busy_ns.saturating_mul(scale));
        self.service.measured(service_ns);
        self.plan();
        (self.busy_ns, self.lacking, self.run) = (0, pace::MESSAGES, pace::MESSAGES);
        self.pace.pace()
    }

    /// Whether it steps over the oldest of a ring that is nearly full.
    pub(crate) fn skips_oldest(&self) -> bool {
        self.policy.when_full == WhenFull::DropOldest
    }

    /// How many of so many frames that wait are to be stepped over in this turn, [`DROPS_PER_TURN_MAX`] at the most: what is left
    /// of a quarter of the ring, or a new one where it is nearly full.
    pub(crate) fn too_many(&mut self, waiting: usize, depth: usize) -> usize {
        if self.over == 0 && waiting >= depth - depth / NEARLY_FULL {
            self.over = (depth / STEPPED_OVER).max(1);
        }
        self.over.min(DROPS_PER_TURN_MAX)
    }

    /// So many frames of those were stepped over, and more of them if a message ended behind the last one.
    pub(crate) fn stepped_over(&mut self, frames: usize) {
        self.over = self.over.saturating_sub(frames);
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    /// A message of 100 ns with so many fragments beyond the first: what one of one frame is then known to take.
    fn took(aging: &mut Aging, fragments: u32, t_offer_ns: u64, t_done_ns: u64) -> Option<u64> {
        let is_run = aging.took(t_offer_ns, 100, t_done_ns);
        is_run.then(|| aging.learn(fragments, 100).takes_ns(1, 1))
    }

    /// Eight messages of 100 ns each and 50 ns between two, the first one done with at `t_ns`: what it then knows.
    fn eight(aging: &mut Aging, mut t_ns: u64, t_offer_ns: impl Fn(u64) -> u64) -> Option<u64> {
        let mut known = None;
        for at in 0..8 {
            assert_eq!(known, None, "not each is measured");
            known = took(aging, 0, t_offer_ns(t_ns), t_ns);
            t_ns += if at == 7 { 0 } else { 150 };
        }
        known
    }

    #[test]
    fn the_time_between_messages_counts_where_they_wait_and_does_not_where_the_core_was_free() {
        let mut aging = Aging::new(Policy::default());
        assert_eq!(
            took(&mut aging, 0, 0, 1_000),
            Some(100),
            "the first one at once"
        );
        // They have waited since before: 150 ns each, of which the mean of 16 takes over a sixteenth.
        let mean_ns = eight(&mut aging, 1_150, |_| 500).unwrap();
        assert_eq!(mean_ns, 100 + 50 / 16);
        assert_eq!(aging.likely_ns, 100);
        // Each came when nothing waited.
        let mut aging = Aging::new(Policy::default());
        assert_eq!(took(&mut aging, 0, 900, 1_000), Some(100));
        assert_eq!(eight(&mut aging, 5_000, |t_ns| t_ns - 100), Some(100));
    }

    #[test]
    fn turns_of_as_many_messages_as_a_run_are_measured_right() {
        // Turns of eight, after each of which others have the core for 400 ns: 150 ns a message.
        for first in 0..8 {
            let mut aging = Aging::new(Policy::default());
            let (mut t_ns, mut known) = (1_000, 0);
            for at in first..first + 8 * 100 {
                t_ns += 100 + if at % 8 == 0 { 400 } else { 0 };
                known = took(&mut aging, 0, 0, t_ns).unwrap_or(known);
            }
            assert!((140..=151).contains(&known), "{first}: {known}");
        }
    }

    #[test]
    fn a_ring_that_is_nearly_full_loses_a_quarter() {
        let mut aging = Aging::new(Policy::of(WhenFull::DropOldest));
        assert!(aging.skips_oldest());
        assert_eq!(aging.too_many(55, 64), 0);
        assert_eq!(aging.too_many(56, 64), 16);
        aging.stepped_over(16);
        assert_eq!(aging.too_many(55, 64), 0);
        assert_eq!(aging.too_many(2, 2), 1);
        // The rest of a message may be more than was to go.
        aging.stepped_over(3);
        assert_eq!(aging.too_many(1, 2), 0);
    }
}
