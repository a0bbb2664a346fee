//! What the producing end of a hop asks of a message before it looks for room: the soft limits of its policy.
//!
//! The order is rate, ladder, age, sample; the first that refuses gives the reason. The ladder comes before the age, which would
//! keep from it most of what it is to see.
//!
//! The backlog is known from above: what was offered since the consumer's head was last seen counts as if nothing had been
//! taken. Only where that refuses a message, and once in a while, is the consumer looked at, which takes cache lines from it.
//!
//! Invariant: knows the ring's fill and the stamp that it is given, and neither waits nor counts.

use std::sync::Arc;

use crate::base::Shed;
use crate::budget::HopCounters;
use crate::overload::{
    Bucket, BucketParams, Ladder, LadderParams, Policy, Rung, Sample, SampleParams, Watermark,
    WatermarkParams, WhenFull, late,
};

use super::ring::TxRing;

/// Seed of what is sampled: the same run takes the same messages.
const SAMPLE_SEED: u64 = 1;

/// Of so many messages one is taken on the ladder's rung of sampling, where the policy does not say: it bears ten times what
/// the consumer can do.
const SAMPLE_ONE_IN: u32 = 10;

/// Most messages that are taken without a look at the consumer.
const UNLOOKED: usize = 64;

/// Windows of calm before a rung is left: DAGOR's window of a millisecond, and all rungs are left within 100 ms.
const DWELL: u32 = 20;

/// Length of the ladder's windows, in nanoseconds.
const WINDOW_NS: u64 = 1_000_000;

/// The state behind a policy, at the producing end.
#[derive(Debug)]
pub(crate) struct Admission {
    policy: Policy,
    depth: usize,
    /// Most messages that are taken without a look at the consumer: [`UNLOOKED`], and half of a shallow ring.
    unlooked: usize,
    bucket: Option<Bucket>,
    sample: Option<Sample>,
    watermark: Option<Watermark>,
    ladder: Option<Ladder>,
    /// What the ladder samples by.
    degraded: Sample,
    /// The rung that was reached since it was last asked.
    reached: Option<Rung>,
    /// Since when the producer has been held back.
    held_since_ns: Option<u64>,
    /// Whether it has been for longer than the policy lets it.
    expired: bool,
    /// Whether nothing but its age can refuse a message.
    by_age: bool,
    /// Whether the producer has ended.
    ended: bool,
    /// Most frames that may be on the ring.
    backlog: usize,
    /// What a frame takes at the slowest consumer, as last seen, in nanoseconds; 0 if nobody knows yet.
    service_ns: u64,
    /// Most frames that its producer emits at once.
    emits: usize,
    /// The last stamp that it was given.
    now_ns: u64,
}

impl Admission {
    /// Of a ring of that depth.
    pub(crate) fn new(policy: Policy, depth: usize) -> Admission {
        let always = SampleParams::new(SAMPLE_ONE_IN, 0).unwrap_or(SampleParams::of_depth(depth));
        let mut admission = Admission {
            policy,
            depth,
            unlooked: UNLOOKED.min(depth / 2).max(1),
            bucket: None,
            sample: None,
            watermark: None,
            ladder: None,
            degraded: Sample::new(always, SAMPLE_SEED),
            reached: None,
            held_since_ns: None,
            expired: false,
            by_age: false,
            ended: false,
            backlog: 0,
            service_ns: 0,
            emits: usize::MAX,
            now_ns: 0,
        };
        admission.set_policy(policy);
        admission
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Goes on by another policy; what is not changed by it keeps its state.
    pub(crate) fn set_policy(&mut self, policy: Policy) {
        let of_depth = |percent: u8| self.depth * usize::from(percent) / 100;
        // Parameters that are none were refused when the policy was given.
        let bucket = BucketParams::new(policy.rate_per_s, policy.burst.into()).ok();
        self.bucket = match (self.bucket.take(), bucket) {
            (Some(mut bucket), Some(params)) => {
                bucket.set_params(self.now_ns, params);
                Some(bucket)
            }
            (_, params) => params.map(Bucket::new),
        };
        let sample = SampleParams::new(policy.sample, of_depth(policy.sample_above)).ok();
        if self.sample.as_ref().map(Sample::params) != sample {
            self.sample = sample.map(|params| Sample::new(params, SAMPLE_SEED));
        }
        let marks = (policy.high > 0)
            .then(|| WatermarkParams::new(of_depth(policy.high), of_depth(policy.low)));
        self.watermark = match (self.watermark.take(), marks.and_then(Result::ok)) {
            (Some(mut watermark), Some(params)) => {
                watermark.set_params(params);
                Some(watermark)
            }
            (_, params) => params.map(Watermark::new),
        };
        let (high_ns, low_ns) = (policy.degrade_high_ns, policy.degrade_low_ns);
        let params = LadderParams::new(high_ns, low_ns, WINDOW_NS, DWELL).ok();
        self.ladder = match (self.ladder.take(), params) {
            (Some(mut ladder), Some(params)) => {
                ladder.set_params(self.now_ns, params);
                Some(ladder)
            }
            (Some(_), None) => {
                // Whoever takes the ladder away gets everything again.
                self.reached = Some(Rung::None);
                None
            }
            (None, params) => params.map(Ladder::new),
        };
        let one_in = if policy.sample > 1 {
            policy.sample
        } else {
            SAMPLE_ONE_IN
        };
        if let Ok(params) = SampleParams::new(one_in, 0) {
            self.degraded.set_params(params);
        }
        let blocks = |policy: &Policy| (policy.when_full, policy.block_timeout_ns);
        if blocks(&policy) != blocks(&self.policy) {
            // How long it was held back under another one counts for nothing: the time begins with the next look for room.
            (self.expired, self.held_since_ns) = (false, None);
        }
        self.by_age = policy.deadline_ns > 0
            && !policy.conflates()
            && self.bucket.is_none()
            && self.sample.is_none()
            && self.ladder.is_none();
        self.policy = policy;
    }

    /// Whether a message of one frame is in time and nothing else is asked, as far as that is known without a look at the
    /// consumer. It counts as taken then.
    #[inline(always)]
    pub(crate) fn is_calm(&mut self, t_intended_ns: u64, own_at_ns: u64, now_ns: u64) -> bool {
        let backlog = self.backlog + 1;
        let done_ns = now_ns.saturating_add(backlog as u64 * self.service_ns);
        let in_time = done_ns <= t_intended_ns.saturating_add(self.policy.deadline_ns);
        let calm = self.by_age && in_time && own_at_ns == 0 && backlog < self.unlooked;
        if calm {
            self.backlog = backlog;
        }
        calm
    }

    /// Leaves no message out, whatever the policy asks for.
    pub(crate) fn look_at_each(&mut self) {
        self.by_age = false;
    }

    /// Its producer emits no more than so many frames at once.
    pub(crate) fn set_emits(&mut self, frames: usize) {
        self.emits = frames;
    }

    /// Looks at what is on the ring and what a frame takes.
    fn look(&mut self, ring: &mut TxRing, consumers: &[Arc<HopCounters>]) {
        self.backlog = ring.backlog();
        let each = consumers.iter().map(|one| one.rx.interval_ns.get());
        self.service_ns = each.max().unwrap_or(0);
    }

    /// Time passes: the rung that the ladder has come to by that.
    pub(crate) fn turn(&mut self, now_ns: u64) -> Option<Rung> {
        let change = self.ladder.as_mut()?.turn(now_ns)?;
        Some(change.to)
    }

    /// Whether a producer that is held back may go on: there is room for `frames` and what waits before them, below its marks, or
    /// it has waited for long enough.
    pub(crate) fn has_room(&mut self, ring: &mut TxRing, frames: usize, waiting: usize) -> bool {
        let paused = match &mut self.watermark {
            None => false,
            Some(watermark) => watermark.is_paused(ring.backlog()),
        };
        if !paused && ring.has_room(frames.saturating_add(waiting)) {
            self.expired = false;
            self.held_since_ns = None;
            return true;
        }
        // Who asks for more than can come at once may go on without an answer, and asks again for what does: only that ends it.
        self.expired && frames <= self.emits
    }

    /// The producer waits for room.
    pub(crate) fn held_back(&mut self, now_ns: u64) {
        let timeout_ns = self.policy.block_timeout_ns;
        let since_ns = *self.held_since_ns.get_or_insert(now_ns);
        if timeout_ns > 0 && now_ns.saturating_sub(since_ns) >= timeout_ns {
            self.expired = true;
        }
    }

    /// Whether the producer has been held back for longer than the policy lets it.
    pub(crate) fn is_expired(&self) -> bool {
        self.expired
    }

    /// Whether what has a key is to wait for room.
    pub(crate) fn conflates(&self) -> bool {
        self.policy.when_full_now(self.expired) == WhenFull::Conflate || self.is_degraded()
    }

    /// Whether it is on a rung on which only the latest of each key is served.
    fn is_degraded(&self) -> bool {
        let rung = self.ladder.as_ref().map_or(Rung::None, Ladder::rung);
        rung >= Rung::Conflate && !self.policy.protected
    }

    /// Whether what waits is to wait on though there is room, so that newer ones take its place: the queue is longer than it
    /// should be.
    pub(crate) fn keeps_waiting(
        &mut self,
        ring: &mut TxRing,
        consumers: &[Arc<HopCounters>],
    ) -> bool {
        if self.ended || !self.is_degraded() {
            return false;
        }
        self.look(ring, consumers);
        self.wait_ns() >= self.policy.degrade_low_ns.max(self.service_ns)
    }

    /// The producer has ended: what waits has nothing newer to wait for.
    pub(crate) fn nothing_more_comes(&mut self) {
        self.ended = true;
    }

    /// How long a message would wait that is put on the ring now, in nanoseconds.
    fn wait_ns(&self) -> u64 {
        (self.backlog as u64).saturating_mul(self.service_ns)
    }

    /// The rung that was reached since the last call.
    pub(crate) fn take_reached(&mut self) -> Option<Rung> {
        self.reached.take()
    }

    /// Takes a message to the ladder: why that rung refuses it, if it does.
    fn refused_by_ladder(
        &mut self,
        ring: &mut TxRing,
        consumers: &[Arc<HopCounters>],
    ) -> Option<Shed> {
        let low_ns = self.policy.degrade_low_ns;
        if self.ladder.is_some() && (self.service_ns == 0 || self.wait_ns() >= low_ns) {
            self.look(ring, consumers);
        }
        let wait_ns = self.wait_ns();
        let ladder = self.ladder.as_mut()?;
        if let Some(change) = ladder.saw(self.now_ns, wait_ns) {
            self.reached = Some(change.to);
        }
        match ladder.rung() {
            Rung::Refuse => Some(Shed::Refused),
            _ if self.policy.protected => None,
            Rung::ShedUnprotected => Some(Shed::Degraded),
            Rung::Sample if !self.degraded.draw() => Some(Shed::Sampled),
            _ => None,
        }
    }

    /// Whether a message of `frames` could not be done by that time.
    fn is_hopeless(&self, frames: usize, at_ns: u64) -> bool {
        let before = match self.backlog {
            0 => 0,
            backlog => backlog + frames.saturating_sub(1),
        };
        late::is_hopeless(before, self.service_ns, self.now_ns, at_ns)
    }

    /// Why the policy refuses a message, if it does.
    pub(crate) fn refusal(
        &mut self,
        message: &Offered,
        ring: &mut TxRing,
        consumers: &[Arc<HopCounters>],
    ) -> Option<Shed> {
        let now_ns = message.now_ns;
        self.now_ns = now_ns;
        if self.bucket.as_mut().is_some_and(|one| !one.admit(now_ns)) {
            return Some(Shed::RateLimited);
        }
        if self.backlog >= self.unlooked {
            self.look(ring, consumers);
        }
        if let Some(why) = self.refused_by_ladder(ring, consumers) {
            return Some(why);
        }
        if self.policy.deadline_ns > 0 {
            let hops_ns = message
                .t_intended_ns
                .saturating_add(self.policy.deadline_ns);
            let at_ns = match message.own_at_ns {
                0 => hops_ns,
                own_ns => own_ns.min(hops_ns),
            };
            if self.is_hopeless(message.frames, at_ns) {
                self.look(ring, consumers);
                if self.is_hopeless(message.frames, at_ns) {
                    return Some(Shed::Hopeless);
                }
            }
        }
        if let Some(sample) = &mut self.sample {
            if self.backlog >= sample.params().above() {
                self.backlog = ring.backlog();
            }
            if !sample.admit(self.backlog) {
                return Some(Shed::Sampled);
            }
        }
        self.backlog = self.backlog.saturating_add(message.frames);
        None
    }
}

/// A message that is offered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offered {
    /// Frames of it.
    pub(crate) frames: usize,
    /// Its intended time.
    pub(crate) t_intended_ns: u64,
    /// When it is worthless by a deadline of its own; 0 if it has none.
    pub(crate) own_at_ns: u64,
    /// When it is offered.
    pub(crate) now_ns: u64,
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::base::Envelope;
    use crate::ring::hop;

    #[test]
    fn the_time_for_which_a_producer_is_held_back_begins_anew_with_another_timeout_alone() {
        let (ring, _rx) = hop::frames(2).unwrap();
        let mut ring = TxRing::from(ring);
        for _ in 0..2 {
            ring.put(|_| Envelope::default()).unwrap();
        }
        let blocks = Policy {
            block_timeout_ns: 1_000,
            ..Policy::of(WhenFull::Block)
        };
        let mut admission = Admission::new(blocks, 2);
        let mut expired_at = |policy: Policy, at_ns| {
            admission.set_policy(policy);
            if !admission.has_room(&mut ring, 1, 0) {
                admission.held_back(at_ns);
            }
            admission.is_expired()
        };
        let ages = Policy {
            deadline_ns: 500_000,
            ..blocks
        };
        assert!(!expired_at(blocks, 10_000));
        assert!(!expired_at(ages, 10_900));
        assert!(expired_at(ages, 11_000), "the time goes on");
        // One that sheds never waits, and what came before it is over.
        assert!(!expired_at(Policy::of(WhenFull::DropNewest), 12_000));
        assert!(!expired_at(blocks, 30_000));
        assert!(!expired_at(blocks, 30_999));
        let longer = Policy {
            block_timeout_ns: 5_000,
            ..blocks
        };
        assert!(!expired_at(longer, 31_500));
        assert!(!expired_at(longer, 36_499));
        assert!(expired_at(longer, 36_500));
    }
}
