//! What the producing end of a hop asks of a message before it looks for room: the soft limits of its policy.
//!
//! The order is rate, ladder, age, sample; the first that refuses gives the reason. The ladder comes before the age, which would
//! keep from it most of what it is to see.
//!
//! The backlog is known from above: what was offered since the consumer's head was last seen counts as if nothing had been
//! taken. Only where that refuses a message, and once in a while, is the consumer looked at, which takes cache lines from it.
//! A message that would be in time by that, and of which nothing else is asked, is taken by one comparison.
//!
//! How long it takes to be done with is told by its messages and its frames, each with what it takes ([`Pace`]).
//!
//! Invariant: knows the ring's fill and the stamp that it is given, and neither waits nor counts.

use std::sync::Arc;

use crate::base::Shed;
use crate::budget::HopCounters;
use crate::overload::{
    Bucket, BucketParams, Ladder, LadderParams, Pace, Policy, Rung, Sample, SampleParams,
    Watermark, WatermarkParams, WhenFull, late,
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
    /// Messages of one frame that are taken without a question, and how many were to be when that was last said.
    calm: usize,
    calm_of: usize,
    /// Such a message is younger than that, in nanoseconds since its intended time, and then done with by the deadline; 0 where
    /// none is.
    calm_ns: u64,
    /// What each of them takes, in nanoseconds.
    calm_each_ns: u64,
    /// Whether the producer has ended.
    ended: bool,
    /// Most frames that may be on the ring, and most messages.
    backlog: usize,
    messages: usize,
    /// Frames that were taken since the consumer was last looked at.
    since_look: usize,
    /// What messages and frames take at the slowest consumer, as last seen; 0 if nobody knows yet.
    pace: Pace,
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
            calm: 0,
            calm_of: 0,
            calm_ns: 0,
            calm_each_ns: 0,
            ended: false,
            backlog: 0,
            messages: 0,
            since_look: 0,
            pace: Pace::default(),
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
        self.count_calm();
        self.by_age = !policy.conflates()
            && self.bucket.is_none()
            && self.sample.is_none()
            && self.ladder.is_none();
        self.policy = policy;
    }

    /// Whether a message of one frame is in time and nothing else is asked, as far as that is known without a look at the
    /// consumer. It counts as taken then.
    #[inline(always)]
    pub(crate) fn is_calm(&mut self, t_intended_ns: u64, own_at_ns: u64, now_ns: u64) -> bool {
        // One whose intended time is yet to come is older than any: that is looked at.
        let age_ns = now_ns.wrapping_sub(t_intended_ns);
        if self.calm == 0 || age_ns >= self.calm_ns || own_at_ns != 0 {
            return false;
        }
        self.calm -= 1;
        self.calm_ns = self.calm_ns.saturating_sub(self.calm_each_ns);
        true
    }

    /// Leaves no message out, whatever the policy asks for.
    pub(crate) fn look_at_each(&mut self) {
        self.count_calm();
        self.by_age = false;
    }

    /// Counts those that were taken without a question; the next one is asked.
    #[inline]
    fn count_calm(&mut self) {
        let taken = self.calm_of - self.calm;
        (self.calm, self.calm_of) = (0, 0);
        self.count(1, taken);
    }

    /// Counts messages of so many frames each as taken.
    #[inline]
    fn count(&mut self, frames: usize, messages: usize) {
        let frames = frames.saturating_mul(messages);
        self.messages = self.messages.saturating_add(messages);
        self.backlog = self.backlog.saturating_add(frames);
        self.since_look = self.since_look.saturating_add(frames);
    }

    /// Says which of the next messages are taken without a question: until the consumer is to be looked at again those that are
    /// in time behind all that may wait.
    fn plan(&mut self) {
        if !self.by_age {
            return;
        }
        let deadline_ns = self.policy.deadline_ns;
        (self.calm, self.calm_ns) = if deadline_ns == 0 {
            // Nothing is asked but room, and nothing is counted.
            (usize::MAX, u64::MAX)
        } else {
            self.calm_each_ns = self.pace.takes_ns(1, 1);
            let needed_ns = self.wait_ns().saturating_add(self.calm_each_ns);
            match deadline_ns.checked_sub(needed_ns) {
                Some(left_ns) => (self.unlooked.saturating_sub(self.since_look), left_ns + 1),
                None => (0, 0),
            }
        };
        self.calm_of = self.calm;
    }

    /// Its producer emits no more than so many frames at once.
    pub(crate) fn set_emits(&mut self, frames: usize) {
        self.emits = frames;
    }

    /// Looks at what is on the ring and what it takes.
    fn look(&mut self, ends: &mut Ends<'_>) {
        (self.backlog, self.messages, self.since_look) = (ends.ring.backlog(), 0, 0);
        self.pace = Pace::default();
        for consumer in ends.consumers {
            let waiting = consumer.arrivals(ends.offers).in_flight;
            self.messages = self.messages.max(waiting as usize);
            let pace = Pace {
                message_ns: consumer.rx.message_ns.get(),
                frame_ns: consumer.rx.frame_ns.get(),
            };
            // The slowest, by messages of one frame.
            if pace.takes_ns(1, 1) > self.pace.takes_ns(1, 1) {
                self.pace = pace;
            }
        }
        // A sink may have queued some of them itself, and one that has left counts none.
        self.messages = self.messages.min(self.backlog);
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
    pub(crate) fn keeps_waiting(&mut self, mut ends: Ends<'_>) -> bool {
        if self.ended || !self.is_degraded() {
            return false;
        }
        self.look(&mut ends);
        self.wait_ns() >= self.policy.degrade_low_ns.max(self.pace.takes_ns(1, 1))
    }

    /// The producer has ended: what waits has nothing newer to wait for.
    pub(crate) fn nothing_more_comes(&mut self) {
        self.ended = true;
    }

    /// How long a message would wait that is put on the ring now, in nanoseconds.
    fn wait_ns(&self) -> u64 {
        self.pace.takes_ns(self.messages, self.backlog)
    }

    /// The rung that was reached since the last call.
    pub(crate) fn take_reached(&mut self) -> Option<Rung> {
        self.reached.take()
    }

    /// Takes a message to the ladder: why that rung refuses it, if it does.
    fn refused_by_ladder(&mut self, ends: &mut Ends<'_>) -> Option<Shed> {
        let low_ns = self.policy.degrade_low_ns;
        if self.ladder.is_some() && (self.pace == Pace::default() || self.wait_ns() >= low_ns) {
            self.look(ends);
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
        let messages = self.messages.saturating_add(1);
        let needed_ns = self
            .pace
            .takes_ns(messages, self.backlog.saturating_add(frames));
        late::is_hopeless(self.backlog, needed_ns, self.now_ns, at_ns)
    }

    /// Why the policy refuses a message, if it does. Else it counts as taken.
    pub(crate) fn refusal(&mut self, message: &Offered, mut ends: Ends<'_>) -> Option<Shed> {
        self.now_ns = message.now_ns;
        self.count_calm();
        let refused = self.refused(message, &mut ends);
        if refused.is_none() {
            self.count(message.frames, 1);
        }
        self.plan();
        refused
    }

    fn refused(&mut self, message: &Offered, ends: &mut Ends<'_>) -> Option<Shed> {
        let now_ns = message.now_ns;
        if self.bucket.as_mut().is_some_and(|one| !one.admit(now_ns)) {
            return Some(Shed::RateLimited);
        }
        if self.since_look >= self.unlooked {
            self.look(ends);
        }
        if let Some(why) = self.refused_by_ladder(ends) {
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
                self.look(ends);
                if self.is_hopeless(message.frames, at_ns) {
                    return Some(Shed::Hopeless);
                }
            }
        }
        if let Some(sample) = &mut self.sample {
            if self.backlog >= sample.params().above() {
                self.backlog = ends.ring.backlog();
            }
            if !sample.admit(self.backlog) {
                return Some(Shed::Sampled);
            }
        }
        None
    }
}

/// Where what the producer has offered lies, and who takes it.
#[derive(Debug)]
pub(crate) struct Ends<'h> {
    pub(crate) ring: &'h mut TxRing,
    /// The counters of the producer's side.
    pub(crate) offers: &'h HopCounters,
    /// Those of all consumers of the ring.
    pub(crate) consumers: &'h [Arc<HopCounters>],
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
