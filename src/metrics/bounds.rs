//! The upper bounds of the buckets in which latencies are exported.
//!
//! Invariant: they never change while a line runs, and rise.

/// The upper bound of a bucket, in nanoseconds and as the label `le` writes it, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Values up to this one are in the bucket.
    pub ns: u64,
    /// The same in seconds, as Go writes a number, which OpenMetrics asks for.
    pub le: &'static str,
}

macro_rules! bounds {
    ($($ns:literal = $le:literal),+ $(,)?) => { [$(Bound { ns: $ns, le: $le }),+] };
}

/// All bounds: 1, 2, 3 and 5 of each power of ten from 100 ns to 10 s. The step is at most a factor of two, so a quantile that
/// is computed from them is wrong by less than that; whoever needs it to 1 % reads the summary beside it. Beyond the last one
/// there is `+Inf`. A histogram is 35 lines of text.
pub const BOUNDS: [Bound; 33] = bounds![
    100 = "1e-07",
    200 = "2e-07",
    300 = "3e-07",
    500 = "5e-07",
    1_000 = "1e-06",
    2_000 = "2e-06",
    3_000 = "3e-06",
    5_000 = "5e-06",
    10_000 = "1e-05",
    20_000 = "2e-05",
    30_000 = "3e-05",
    50_000 = "5e-05",
    100_000 = "0.0001",
    200_000 = "0.0002",
    300_000 = "0.0003",
    500_000 = "0.0005",
    1_000_000 = "0.001",
    2_000_000 = "0.002",
    3_000_000 = "0.003",
    5_000_000 = "0.005",
    10_000_000 = "0.01",
    20_000_000 = "0.02",
    30_000_000 = "0.03",
    50_000_000 = "0.05",
    100_000_000 = "0.1",
    200_000_000 = "0.2",
    300_000_000 = "0.3",
    500_000_000 = "0.5",
    1_000_000_000 = "1.0",
    2_000_000_000 = "2.0",
    3_000_000_000 = "3.0",
    5_000_000_000 = "5.0",
    10_000_000_000 = "10.0",
];

/// The bounds alone, in nanoseconds.
pub(super) fn bounds_ns() -> [u64; BOUNDS.len()] {
    BOUNDS.map(|bound| bound.ns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::limits::HIST_MAX_NS;

    #[test]
    fn labels_are_the_bounds_in_seconds_and_the_steps_are_small() {
        for bound in BOUNDS {
            let seconds: f64 = bound.le.parse().unwrap();
            assert_eq!((seconds * 1e9).round() as u64, bound.ns, "{}", bound.le);
            assert_eq!(bound.le.contains('e'), bound.ns < 100_000, "{}", bound.le);
        }
        for pair in BOUNDS.windows(2) {
            assert!(pair[0].ns < pair[1].ns && pair[1].ns <= 2 * pair[0].ns);
        }
        assert!(bounds_ns().iter().all(|bound_ns| *bound_ns < HIST_MAX_NS));
    }
}
