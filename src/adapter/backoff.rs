//! How long to wait before a lost connection is tried again.
//!
//! Invariant: a wait is never zero and never above its bound.

use crate::base::Prng;
use crate::base::limits::{RECONNECT_NS_MAX, RECONNECT_NS_MIN};

/// Waits that double from [`RECONNECT_NS_MIN`] to [`RECONNECT_NS_MAX`], each drawn from its upper
/// half, so that those who lost one peer at the same time come back at different ones.
#[derive(Debug)]
pub(super) struct Backoff {
    wait_ns: u64,
    prng: Option<Prng>,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff {
            wait_ns: RECONNECT_NS_MIN,
            prng: None,
        }
    }
}

impl Backoff {
    /// When to try again after a failure at `now_ns`. The first failure's time seeds the draws:
    /// no two processes count it alike to the nanosecond.
    pub(super) fn retry_at_ns(&mut self, now_ns: u64) -> u64 {
        let prng = self.prng.get_or_insert_with(|| Prng::new(now_ns));
        let half_ns = self.wait_ns / 2;
        let wait_ns = half_ns + prng.below(half_ns + 1);
        self.wait_ns = (2 * self.wait_ns).min(RECONNECT_NS_MAX);
        now_ns.saturating_add(wait_ns)
    }

    /// It has connected: the next failure waits shortly again.
    pub(super) fn connected(&mut self) {
        self.wait_ns = RECONNECT_NS_MIN;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_their_bound_and_differ_between_two_who_wait() {
        let waits = |seed_ns: u64| -> Vec<u64> {
            let mut backoff = Backoff::default();
            (0..12)
                .map(|_| backoff.retry_at_ns(seed_ns) - seed_ns)
                .collect()
        };
        let (one, other) = (waits(1_000), waits(1_001));
        for (nth, wait_ns) in one.iter().enumerate() {
            let most = (RECONNECT_NS_MIN << nth).min(RECONNECT_NS_MAX);
            assert!((most / 2..=most).contains(wait_ns), "{nth}: {wait_ns}");
        }
        let same = one.iter().zip(&other).filter(|(a, b)| a == b).count();
        assert!(same <= 1, "{one:?} {other:?}");
        let mut backoff = Backoff::default();
        for _ in 0..12 {
            backoff.retry_at_ns(0);
        }
        backoff.connected();
        assert!(backoff.retry_at_ns(0) <= RECONNECT_NS_MIN);
    }
}
