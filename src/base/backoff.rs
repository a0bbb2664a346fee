//! How long to wait before what failed is tried again.
//!
//! Invariant: a wait is never zero and never above its bound; the same seed gives the same waits.

use super::Prng;
use super::limits::{RECONNECT_NS_MAX, RECONNECT_NS_MIN};

/// From where a wait is drawn, up to a ceiling that doubles with each failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jitter {
    /// The upper half: waits grow for sure, and two who lost one peer still come back at different
    /// times.
    UpperHalf,
    /// Everything from the shortest wait on: a crowd that lost one peer comes back spread as widely
    /// as it can be.
    Full,
}

/// Waits whose ceiling doubles from one failure to the next, up to a bound, each drawn at random.
///
/// ```
/// use hopline::base::{Backoff, Jitter};
/// let mut backoff = Backoff::new(1_000, 30_000, Jitter::Full, 7);
/// for _ in 0..10 {
///     assert!((1_000..=30_000).contains(&(backoff.retry_at_ns(5) - 5)));
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Backoff {
    min_ns: u64,
    max_ns: u64,
    jitter: Jitter,
    ceiling_ns: u64,
    prng: Option<Prng>,
}

impl Default for Backoff {
    /// From [`RECONNECT_NS_MIN`] to [`RECONNECT_NS_MAX`], from the upper half. The first failure's
    /// time seeds the draws: no two processes count it alike to the nanosecond.
    fn default() -> Backoff {
        Backoff {
            prng: None,
            ..Backoff::new(RECONNECT_NS_MIN, RECONNECT_NS_MAX, Jitter::UpperHalf, 0)
        }
    }
}

impl Backoff {
    /// Waits between `min_ns` and `max_ns`, drawn from `seed`. A shortest wait of zero is taken as
    /// one nanosecond, and a longest below the shortest as the shortest.
    ///
    /// The first ceiling is `min_ns` with [`Jitter::UpperHalf`], whose shortest wait is so half of
    /// it, and twice `min_ns` with [`Jitter::Full`], so that the first wait is spread as well.
    #[must_use]
    pub fn new(min_ns: u64, max_ns: u64, jitter: Jitter, seed: u64) -> Backoff {
        let min_ns = min_ns.max(1);
        let mut backoff = Backoff {
            min_ns,
            max_ns: max_ns.max(min_ns),
            jitter,
            ceiling_ns: 0,
            prng: Some(Prng::new(seed)),
        };
        backoff.connected();
        backoff
    }

    /// When to try again after a failure at `now_ns`.
    pub fn retry_at_ns(&mut self, now_ns: u64) -> u64 {
        let prng = self.prng.get_or_insert_with(|| Prng::new(now_ns));
        let floor_ns = match self.jitter {
            Jitter::UpperHalf => self.ceiling_ns.div_ceil(2),
            Jitter::Full => self.min_ns,
        };
        let wait_ns = floor_ns + prng.below(self.ceiling_ns - floor_ns + 1);
        self.ceiling_ns = self.ceiling_ns.saturating_mul(2).min(self.max_ns);
        now_ns.saturating_add(wait_ns)
    }

    /// It has worked: the next failure waits shortly again.
    pub fn connected(&mut self) {
        self.ceiling_ns = match self.jitter {
            Jitter::UpperHalf => self.min_ns,
            Jitter::Full => self.min_ns.saturating_mul(2).min(self.max_ns),
        };
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

    #[test]
    fn full_jitter_reaches_down_to_the_shortest_wait_and_up_to_each_ceiling() {
        let (min_ns, max_ns) = (1_000, 30_000);
        let mut seen = [(u64::MAX, 0); 8];
        for seed in 0..2_000 {
            let mut backoff = Backoff::new(min_ns, max_ns, Jitter::Full, seed);
            for (least, most) in &mut seen {
                let wait_ns = backoff.retry_at_ns(0);
                (*least, *most) = ((*least).min(wait_ns), (*most).max(wait_ns));
            }
        }
        for (nth, (least, most)) in seen.into_iter().enumerate() {
            let ceiling = ((2 * min_ns) << nth).min(max_ns);
            let spread = ceiling - min_ns;
            assert!(least >= min_ns && least <= min_ns + spread / 50, "{nth}");
            assert!(most <= ceiling && most >= ceiling - spread / 50, "{nth}");
        }
    }

    #[test]
    fn odd_bounds_are_put_right_and_the_end_of_time_is_no_overflow() {
        let mut backoff = Backoff::new(0, 0, Jitter::Full, 1);
        assert_eq!(backoff.retry_at_ns(5), 6);
        let mut backoff = Backoff::new(u64::MAX, 3, Jitter::UpperHalf, 1);
        assert_eq!(backoff.retry_at_ns(u64::MAX - 1), u64::MAX);
    }
}
