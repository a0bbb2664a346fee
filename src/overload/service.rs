//! How long a service takes: means that follow what is measured, and do not follow what the host did.
//!
//! Invariant: one measure, however long, moves a mean by a bounded part of it; a mean is 0 only before the first.

/// Part of the difference by which a new measure moves a mean: the last 16 or so count.
pub(super) const WEIGHT_SHIFT: u32 = 4;

/// Fraction bits of the means, so that a service of some tens of nanoseconds does not stand still by rounding.
const FRACTION_BITS: u32 = 8;

/// How many times what is expected a measure may count for: an interruption by the host of a thousand services is no reason
/// to refuse a thousand frames.
pub(super) const OUTLIER_TIMES: u64 = 4;

/// Longest measure that is told apart, in nanoseconds (18 minutes), so that sums stay in 64 bits.
pub(super) const TOOK_MAX_NS: u64 = 1 << 40;

/// How many mean deviations above the mean a service is planned for (RFC 6298 waits for an answer as long).
const DEVIATIONS: u64 = 4;

/// The measured time of one service: exponentially weighted means of it and of its deviation over the last 16 or so, in
/// whole numbers (Jacobson, "Congestion Avoidance and Control", SIGCOMM 1988, as in RFC 6298).
///
/// One measure, however long, raises the mean by at most 19 %.
///
/// ```
/// use hopline::overload::ServiceTime;
/// let mut service = ServiceTime::new();
/// assert_eq!(service.mean_ns(), 0);
/// service.measured(10_000);
/// assert_eq!((service.mean_ns(), service.likely_ns()), (10_000, 10_000));
/// service.measured(5_000_000);
/// assert!(service.mean_ns() < 12_000 && service.likely_ns() < 20_000);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceTime {
    mean: u64,
    deviation: u64,
}

impl ServiceTime {
    /// A mean of nothing, 0, until the first measure.
    #[must_use]
    pub const fn new() -> ServiceTime {
        ServiceTime {
            mean: 0,
            deviation: 0,
        }
    }

    /// One service took `took_ns`; of a batch, give the mean of its frames.
    #[inline]
    pub fn measured(&mut self, took_ns: u64) {
        let took = took_ns.min(TOOK_MAX_NS) << FRACTION_BITS;
        if self.mean == 0 {
            self.mean = took;
            return;
        }
        let took = took.min(OUTLIER_TIMES * self.mean);
        self.deviation = moved(self.deviation, took.abs_diff(self.mean));
        // Never down to 0, which says that nothing was measured.
        self.mean = moved(self.mean, took).max(1);
    }

    /// A frame was refused because of what one likely takes, though its deadline had not passed: the longer nothing is measured
    /// for that reason, the less the old measure says. A sixteenth each time.
    #[inline]
    pub fn doubted(&mut self) {
        self.deviation -= self.deviation >> WEIGHT_SHIFT;
        self.mean = (self.mean - (self.mean >> WEIGHT_SHIFT)).max(1);
    }

    /// The mean in nanoseconds, which many services take each: what [`is_hopeless`](super::late::is_hopeless) is asked with. 0
    /// before the first measure.
    #[inline]
    #[must_use]
    pub const fn mean_ns(&self) -> u64 {
        self.mean >> FRACTION_BITS
    }

    /// The mean and four mean deviations, in nanoseconds, which one service hardly exceeds: what [`is_late`](super::late::is_late)
    /// is asked with.
    #[inline]
    #[must_use]
    pub const fn likely_ns(&self) -> u64 {
        (self.mean + DEVIATIONS * self.deviation) >> FRACTION_BITS
    }
}

#[inline]
const fn moved(mean: u64, measure: u64) -> u64 {
    mean - (mean >> WEIGHT_SHIFT) + (measure >> WEIGHT_SHIFT)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_mean_stays_among_what_was_measured(all in proptest::collection::vec(1u64..1 << 45, 1..100)) {
            let mut service = ServiceTime::new();
            for &took_ns in &all {
                service.measured(took_ns);
            }
            let most = all.iter().max().copied().unwrap_or(0);
            prop_assert!(service.mean_ns() <= most);
        }
    }
}
