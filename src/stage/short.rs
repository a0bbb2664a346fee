//! A histogram of spans of some microseconds at most, quick to write.
//!
//! Invariant: one writer; recording never allocates.

/// A histogram of short spans: buckets of the same width, the last one for all that is longer.
#[derive(Debug)]
pub(super) struct Short {
    counts: Box<[u32; Short::BUCKETS]>,
    pub(super) total: u64,
}

impl Short {
    const BUCKETS: usize = 1024;
    /// Up to 20 us: an idle turn with a system call or two takes one or two.
    const WIDTH_NS: u64 = 20;

    pub(super) fn new() -> Short {
        Short {
            counts: Box::new([0; Short::BUCKETS]),
            total: 0,
        }
    }

    #[inline(always)]
    pub(super) fn record(&mut self, ns: u64) {
        let at = ((ns / Short::WIDTH_NS) as usize).min(Short::BUCKETS - 1);
        self.counts[at] = self.counts[at].saturating_add(1);
        self.total += 1;
    }

    /// The upper end of the bucket that holds that share of the spans; 0 of none.
    pub(super) fn quantile(&self, share: f64) -> u64 {
        let rank = (self.total as f64 * share).ceil() as u64;
        let mut seen = 0u64;
        for (at, count) in self.counts.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= rank.max(1) {
                return (at as u64 + 1) * Short::WIDTH_NS;
            }
        }
        0
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_short_spans_are_the_upper_ends_of_their_buckets() {
        let mut short = Short::new();
        assert_eq!(short.quantile(0.5), 0);
        (0..1000).for_each(|_| short.record(105));
        assert_eq!(short.quantile(0.999), 120);
        (0..10).for_each(|_| short.record(1_000_000));
        assert_eq!(short.quantile(0.5), 120);
        assert_eq!(
            short.quantile(0.999),
            Short::BUCKETS as u64 * Short::WIDTH_NS
        );
    }
}
