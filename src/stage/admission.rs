//! What the producing end of a hop asks of a message before it looks for room: the soft limits of its policy.
//!
//! The order is from what concerns the message alone to what concerns the hop: rate, age, ladder, sample. The first that
//! refuses gives the reason.
//!
//! The backlog is known from above: what was offered since the consumer's head was last seen counts as if nothing had been
//! taken. Only where that refuses a message is the head looked at, which takes a cache line from the consumer.
//!
//! Invariant: knows the ring's fill and the stamp that it is given, and neither waits nor counts.

use crate::base::Shed;
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

/// Windows of calm before a rung is left: DAGOR's window of a millisecond, and all rungs are left within 100 ms.
const DWELL: u32 = 20;

/// Length of the ladder's windows, in nanoseconds.
const WINDOW_NS: u64 = 1_000_000;

/// The state behind a policy, at the producing end.
#[derive(Debug)]
pub(crate) struct Admission {
    policy: Policy,
    depth: usize,
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
    /// Most frames that may be on the ring.
    backlog: usize,
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
            bucket: None,
            sample: None,
            watermark: None,
            ladder: None,
            degraded: Sample::new(always, SAMPLE_SEED),
            reached: None,
            held_since_ns: None,
            expired: false,
            backlog: 0,
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
        if policy.block_timeout_ns == 0 {
            self.expired = false;
        }
        self.policy = policy;
    }

    /// Whether a producer that is held back may go on: there is room, below its marks, or it has waited for long enough.
    pub(crate) fn has_room(&mut self, ring: &mut TxRing, frames: usize) -> bool {
        let paused = match &mut self.watermark {
            None => false,
            Some(watermark) => watermark.is_paused(ring.backlog()),
        };
        if !paused && ring.has_room(frames) {
            self.expired = false;
            self.held_since_ns = None;
            return true;
        }
        self.expired
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
    pub(crate) fn keeps_waiting(&mut self, ring: &mut TxRing, service_ns: u64) -> bool {
        if !self.is_degraded() {
            return false;
        }
        self.backlog = ring.backlog();
        self.backlog as u64 * service_ns >= self.policy.degrade_low_ns.max(service_ns)
    }

    /// The rung that was reached since the last call.
    pub(crate) fn take_reached(&mut self) -> Option<Rung> {
        self.reached.take()
    }

    /// Takes a message to the ladder: why that rung refuses it, if it does.
    fn refused_by_ladder(&mut self, ring: &mut TxRing, service_ns: u64) -> Option<Shed> {
        let ladder = self.ladder.as_mut()?;
        let mut wait_ns = (self.backlog as u64).saturating_mul(service_ns);
        if wait_ns >= self.policy.degrade_low_ns {
            self.backlog = ring.backlog();
            wait_ns = (self.backlog as u64).saturating_mul(service_ns);
        }
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

    /// Why the policy refuses a message of so many frames, if it does. `deadline_at_ns` is when it is worthless, 0 if never;
    /// `service_ns` is what one message takes, 0 if nobody knows yet.
    pub(crate) fn refusal(
        &mut self,
        ring: &mut TxRing,
        frames: usize,
        deadline_at_ns: u64,
        service_ns: u64,
        now_ns: u64,
    ) -> Option<Shed> {
        self.now_ns = now_ns;
        if self.bucket.as_mut().is_some_and(|one| !one.admit(now_ns)) {
            return Some(Shed::RateLimited);
        }
        let is_hopeless = |backlog| {
            deadline_at_ns > 0 && late::is_hopeless(backlog, service_ns, now_ns, deadline_at_ns)
        };
        if self.policy.deadline_ns > 0 && is_hopeless(self.backlog) {
            self.backlog = ring.backlog();
            if is_hopeless(self.backlog) {
                return Some(Shed::Hopeless);
            }
        }
        if let Some(why) = self.refused_by_ladder(ring, service_ns) {
            return Some(why);
        }
        if let Some(sample) = &mut self.sample {
            if self.backlog >= sample.params().above() {
                self.backlog = ring.backlog();
            }
            if !sample.admit(self.backlog) {
                return Some(Shed::Sampled);
            }
        }
        self.backlog = self.backlog.saturating_add(frames);
        None
    }
}
