//! What the consuming end of a hop asks of a message whose turn has come: whether it is not too old.
//!
//! Invariant: judges a message once, by its first frame, and neither waits nor counts.

use crate::base::limits::DROPS_PER_TURN_MAX;
use crate::base::{Discard, Envelope};
use crate::overload::{Codel, CodelParams, Policy, ServiceTime, WhenFull, late};

/// A ring that is filled by more than this part of its depth is nearly full: one eighth is left.
const NEARLY_FULL: usize = 8;

/// Messages are measured in runs of so many: what one takes changes over many of them, and a measure costs some 20 instructions.
/// All of a run count: to measure one in eight alone would measure those that begin a turn, or never one of them, where turns are
/// of eight or sixteen.
const MEASURED: u32 = 8;

/// One frame in the mean of frames, and the part of it that a run counts for: as in [`ServiceTime`].
const FRAMES_ONE: u64 = 256;
const WEIGHT_SHIFT: u32 = 4;

/// What is stepped over then: a quarter, so that it does not happen at each turn.
const STEPPED_OVER: usize = 4;

/// The state behind a policy, at the consuming end.
#[derive(Debug)]
pub(crate) struct Aging {
    policy: Policy,
    codel: Option<Codel>,
    /// Whether nothing but its deadline is asked of a message.
    by_age: bool,
    /// What the work on a message takes.
    service: ServiceTime,
    /// What a run takes, as long as messages wait.
    interval: ServiceTime,
    /// Frames of a run, of the last 16 or so, times [`FRAMES_ONE`]. The two means are divided, and not the mean taken of what a
    /// frame took in each run: a message of many frames would count for little in it.
    run_frames: u64,
    /// What the work on a message likely takes, in nanoseconds.
    likely_ns: u64,
    /// When the last message was done with.
    t_done_ns: u64,
    /// When the run of messages began that is measured next, moved on by the time in which none waited.
    began_ns: u64,
    /// Messages of it so far, and how many it has.
    taken: u32,
    run: u32,
    /// Their frames.
    frames: u32,
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
            by_age: false,
            service: ServiceTime::new(),
            interval: ServiceTime::new(),
            run_frames: 0,
            likely_ns: 0,
            t_done_ns: 0,
            began_ns: 0,
            taken: 0,
            run: 1,
            frames: 0,
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
        self.by_age = policy.deadline_ns > 0 && self.codel.is_none();
        if policy.when_full != WhenFull::DropOldest {
            self.over = 0;
        }
        self.policy = policy;
    }

    /// Why a message goes no further, if it has become too old. `envelope` is its first frame's.
    ///
    /// The hop's deadline counts from the intended time, a frame's own from its offer.
    #[inline(always)]
    pub(crate) fn too_late(&mut self, envelope: &Envelope, now_ns: u64) -> Option<TooOld> {
        let hops_ns = envelope
            .t_intended_ns()
            .saturating_add(self.policy.deadline_ns);
        let in_time = now_ns.saturating_add(self.likely_ns) <= hops_ns;
        if self.by_age && in_time && envelope.deadline_ns == 0 {
            return None;
        }
        self.judge(envelope, now_ns, hops_ns)
    }

    #[inline(never)]
    fn judge(&mut self, envelope: &Envelope, now_ns: u64, hops_ns: u64) -> Option<TooOld> {
        if self.policy.deadline_ns > 0 {
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

    /// A message was left out that may have been in time.
    #[cold]
    pub(crate) fn doubted(&mut self) {
        self.service.doubted();
        self.likely_ns = self.service.likely_ns();
    }

    /// Learns from a message of `frames` that was done with, and at the end of a run gives the mean time from one frame to the
    /// next, in nanoseconds: of those that waited for their turn that includes what other stages took of the core between them.
    #[inline]
    pub(crate) fn took(
        &mut self,
        frames: u32,
        t_offer_ns: u64,
        service_ns: u64,
        t_done_ns: u64,
    ) -> Option<u64> {
        let before_ns = core::mem::replace(&mut self.t_done_ns, t_done_ns);
        if t_offer_ns >= before_ns {
            // It came when nothing waited: until its work began the core was free.
            let idle_ns = t_done_ns
                .saturating_sub(service_ns)
                .saturating_sub(before_ns);
            self.began_ns += idle_ns;
        }
        self.taken += 1;
        self.frames += frames;
        if self.taken < self.run {
            return None;
        }
        // The first run is one message, and counts as if there had been eight like it.
        let scale = u64::from(MEASURED / self.run);
        let span_ns = t_done_ns.saturating_sub(self.began_ns);
        self.interval.measured(span_ns.saturating_mul(scale));
        let frames = u64::from(self.frames) * scale * FRAMES_ONE;
        self.run_frames = match self.run_frames {
            0 => frames,
            mean => mean - (mean >> WEIGHT_SHIFT) + (frames >> WEIGHT_SHIFT),
        };
        self.service.measured(service_ns);
        self.likely_ns = self.service.likely_ns();
        (self.began_ns, self.taken, self.frames, self.run) = (t_done_ns, 0, 0, MEASURED);
        Some(self.interval.mean_ns().saturating_mul(FRAMES_ONE) / self.run_frames.max(1))
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

    /// Eight messages of 100 ns each and 50 ns between two, the first one done with at `t_ns`: what it then knows.
    fn eight(aging: &mut Aging, mut t_ns: u64, t_offer_ns: impl Fn(u64) -> u64) -> Option<u64> {
        let mut known = None;
        for at in 0..8 {
            assert_eq!(known, None, "not each is measured");
            known = aging.took(1, t_offer_ns(t_ns), 100, t_ns);
            t_ns += if at == 7 { 0 } else { 150 };
        }
        known
    }

    #[test]
    fn the_time_between_messages_counts_where_they_wait_and_does_not_where_the_core_was_free() {
        let mut aging = Aging::new(Policy::default());
        assert_eq!(
            aging.took(1, 0, 100, 1_000),
            Some(100),
            "the first one at once"
        );
        // They have waited since before: 150 ns each, of which the mean of 16 takes over a sixteenth.
        let mean_ns = eight(&mut aging, 1_150, |_| 500).unwrap();
        assert_eq!(mean_ns, 100 + 50 / 16);
        assert_eq!(aging.likely_ns, 100);
        // Each came when nothing waited.
        let mut aging = Aging::new(Policy::default());
        assert_eq!(aging.took(1, 900, 100, 1_000), Some(100));
        assert_eq!(eight(&mut aging, 5_000, |t_ns| t_ns - 100), Some(100));
    }

    #[test]
    fn a_frame_takes_what_all_take_by_their_frames() {
        // Of eight messages of 100 ns each, now and then one has 21 frames.
        let mut aging = Aging::new(Policy::default());
        let (mut t_ns, mut known) = (1_000, 0);
        for at in 0..8 * 400 {
            t_ns += 100;
            let frames = if at % 16 == 3 { 21 } else { 1 };
            known = aging.took(frames, 0, 100, t_ns).unwrap_or(known);
        }
        // 16 messages, 36 frames: 44 ns, where the mean of 100 and 29 would be 64.
        assert!((40..=49).contains(&known), "{known}");
    }

    #[test]
    fn turns_of_as_many_messages_as_a_run_are_measured_right() {
        // Turns of eight, after each of which others have the core for 400 ns: 150 ns a message.
        for first in 0..8 {
            let mut aging = Aging::new(Policy::default());
            let (mut t_ns, mut known) = (1_000, 0);
            for at in first..first + 8 * 100 {
                t_ns += 100 + if at % 8 == 0 { 400 } else { 0 };
                known = aging.took(1, 0, 100, t_ns).unwrap_or(known);
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
