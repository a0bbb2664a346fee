//! What the consuming end of a hop asks of a message whose turn has come: whether it is not too old.
//!
//! Invariant: judges a message once, by its first frame, and neither waits nor counts.

use crate::base::{Discard, Envelope};
use crate::overload::{Codel, CodelParams, Policy, ServiceTime, WhenFull, late};

/// A ring that is filled by more than this part of its depth is nearly full: one eighth is left.
const NEARLY_FULL: usize = 8;

/// One message in so many is measured: what a message takes changes over many of them, and a measure costs some 20 instructions.
const MEASURED: u32 = 8;

/// What is stepped over then: a quarter, so that it does not happen at each turn.
const STEPPED_OVER: usize = 4;

/// The state behind a policy, at the consuming end.
#[derive(Debug)]
pub(crate) struct Aging {
    policy: Policy,
    codel: Option<Codel>,
    /// Whether nothing but its deadline is asked of a message.
    by_age: bool,
    service: ServiceTime,
    /// What a message likely takes, in nanoseconds.
    likely_ns: u64,
    /// When the last message was done with.
    t_done_ns: u64,
    /// Messages until the next one is measured.
    unmeasured: u32,
}

impl Aging {
    pub(crate) fn new(policy: Policy) -> Aging {
        let mut aging = Aging {
            policy,
            codel: None,
            by_age: false,
            service: ServiceTime::new(),
            likely_ns: 0,
            t_done_ns: 0,
            unmeasured: 0,
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
        self.policy = policy;
    }

    /// Why a message goes no further, if it has become too old. `envelope` is its first frame's.
    ///
    /// The hop's deadline counts from the intended time, a frame's own from its offer.
    #[inline(always)]
    pub(crate) fn too_late(&mut self, envelope: &Envelope, now_ns: u64) -> Option<Discard> {
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
    fn judge(&mut self, envelope: &Envelope, now_ns: u64, hops_ns: u64) -> Option<Discard> {
        if self.policy.deadline_ns > 0 {
            let own_ns = match envelope.deadline_ns {
                0 => late::NEVER_NS,
                span_ns => envelope.t_offer_ns.saturating_add(u64::from(span_ns)),
            };
            if late::is_late(now_ns, self.likely_ns, hops_ns.min(own_ns)) {
                return Some(Discard::Late);
            }
        }
        let waited_ns = now_ns.saturating_sub(envelope.t_offer_ns);
        let stale = self
            .codel
            .as_mut()
            .is_some_and(|one| one.judge(now_ns, waited_ns));
        stale.then_some(Discard::Stale)
    }

    /// Learns from a message that was done with what one takes, and gives the mean in nanoseconds if it did: one in
    /// [`MEASURED`] is measured. Of one that waited for its turn that is the time since the one before it was done with: other
    /// stages may have had the core between them.
    #[inline]
    pub(crate) fn took(&mut self, t_offer_ns: u64, service_ns: u64, t_done_ns: u64) -> Option<u64> {
        let before_ns = core::mem::replace(&mut self.t_done_ns, t_done_ns);
        if self.unmeasured > 0 {
            self.unmeasured -= 1;
            return None;
        }
        self.unmeasured = MEASURED - 1;
        let took_ns = if t_offer_ns < before_ns {
            t_done_ns.saturating_sub(before_ns).max(service_ns)
        } else {
            service_ns
        };
        self.service.measured(took_ns);
        self.likely_ns = self.service.likely_ns();
        Some(self.service.mean_ns())
    }

    /// Whether it steps over the oldest of a ring that is nearly full.
    pub(crate) fn skips_oldest(&self) -> bool {
        self.policy.when_full == WhenFull::DropOldest
    }

    /// How many of so many frames that wait are to be stepped over.
    pub(crate) fn too_many(&self, waiting: usize, depth: usize) -> usize {
        if waiting < depth - depth / NEARLY_FULL {
            return 0;
        }
        (depth / STEPPED_OVER).max(1)
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn what_a_message_takes_includes_what_others_took_between() {
        let mut aging = Aging::new(Policy::default());
        assert_eq!(aging.took(0, 100, 1_000), Some(100));
        assert_eq!(aging.took(0, 100, 2_000), None, "not each is measured");
        // It waited since before the last one was done with, which was 900 ns ago.
        let mut aging = Aging::new(Policy::default());
        aging.t_done_ns = 1_000;
        assert_eq!(aging.took(500, 100, 1_900), Some(900));
        // It came later: what was between was idle.
        let mut aging = Aging::new(Policy::default());
        aging.t_done_ns = 1_000;
        assert_eq!(aging.took(1_500, 100, 1_900), Some(100));
    }

    #[test]
    fn a_ring_that_is_nearly_full_loses_a_quarter() {
        let aging = Aging::new(Policy::of(WhenFull::DropOldest));
        assert!(aging.skips_oldest());
        assert_eq!(aging.too_many(55, 64), 0);
        assert_eq!(aging.too_many(56, 64), 16);
        assert_eq!(aging.too_many(2, 2), 1);
    }
}
