//! The gaps between the messages of a capture, as a shape for other messages.
//!
//! Invariant: bounded whatever a capture holds; there is a gap, and not all of them are zero.

/// Most gaps that are kept: 4 MiB, some minutes of a busy market. What a capture has beyond them does
/// not count; the rhythm begins again after them.
pub const RHYTHM_GAPS_MAX: usize = 1 << 19;

/// Why times make no rhythm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RhythmError {
    /// Fewer than two times, or all the same.
    #[error("it has no two messages of different times, so it has no rhythm")]
    NoGap,
}

/// Gaps that repeat.
#[derive(Clone, PartialEq, Eq)]
pub struct Rhythm {
    gaps_ns: Box<[u64]>,
    total_ns: u64,
}

impl core::fmt::Debug for Rhythm {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Rhythm")
            .field("gaps", &self.gaps_ns.len())
            .field("total_ns", &self.total_ns)
            .finish()
    }
}

impl Rhythm {
    /// The gaps between these times, in nanoseconds. A time before an earlier one counts as the same:
    /// a capture's clock may step back. Takes no more times than it keeps gaps of. Allocates.
    ///
    /// # Errors
    /// [`RhythmError::NoGap`].
    pub fn of(times_ns: impl IntoIterator<Item = u64>) -> Result<Rhythm, RhythmError> {
        let mut newest: Option<u64> = None;
        let mut gaps_ns = Vec::new();
        for at_ns in times_ns.into_iter().take(RHYTHM_GAPS_MAX + 1) {
            if let Some(newest_ns) = newest {
                gaps_ns.push(at_ns.saturating_sub(newest_ns));
            }
            newest = newest.max(Some(at_ns));
        }
        // Gaps of times that only rise add up to the last less the first: no overflow.
        match gaps_ns.iter().sum() {
            0 => Err(RhythmError::NoGap),
            total_ns => Ok(Rhythm {
                gaps_ns: gaps_ns.into_boxed_slice(),
                total_ns,
            }),
        }
    }

    /// The mean gap, in nanoseconds, above 0.
    #[must_use]
    pub fn mean_gap_ns(&self) -> f64 {
        self.total_ns() / self.gaps_ns.len() as f64
    }

    /// By how much the recorded pace is multiplied at that rate, in messages a second: 2.0 is twice as
    /// fast as recorded.
    #[must_use]
    pub fn speed_at(&self, rate_per_s: f64) -> f64 {
        self.mean_gap_ns() * rate_per_s / 1e9
    }

    /// How many gaps there are until they repeat.
    #[must_use]
    pub fn gaps(&self) -> usize {
        self.gaps_ns.len()
    }

    /// Memory beside its own size, in bytes.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        size_of_val(&*self.gaps_ns)
    }

    /// All gaps together, in nanoseconds.
    #[inline]
    pub(super) fn total_ns(&self) -> f64 {
        self.total_ns as f64
    }

    /// The gap at `at`, which moves on to the next; 0 stands for the first one again.
    #[inline]
    pub(super) fn gap_ns(&self, at: &mut usize) -> u64 {
        let gap_ns = self.gaps_ns[*at];
        *at += 1;
        if *at == self.gaps_ns.len() {
            *at = 0;
        }
        gap_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_those_of_the_times_and_never_negative() {
        let rhythm = Rhythm::of([1_000, 1_500, 1_200, 1_600, 1_600]).unwrap();
        assert_eq!(*rhythm.gaps_ns, [500, 0, 100, 0]);
        assert_eq!((rhythm.total_ns, rhythm.mean_gap_ns()), (600, 150.0));
        assert_eq!((rhythm.gaps(), rhythm.heap_bytes()), (4, 32));
        assert_eq!(rhythm.speed_at(2e9 / 150.0), 2.0);
        assert!(Rhythm::of([0, u64::MAX, 0, u64::MAX]).is_ok());
    }

    #[test]
    fn times_without_a_gap_are_refused_and_long_captures_cut() {
        for times in [&[][..], &[5], &[5, 5, 3]] {
            assert_eq!(Rhythm::of(times.iter().copied()), Err(RhythmError::NoGap));
        }
        assert_eq!(Rhythm::of(0..).unwrap().gaps(), RHYTHM_GAPS_MAX);
    }
}
