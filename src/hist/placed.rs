//! The buckets of one interval: what is added to for each value.
//!
//! The layout is that of `hdrhistogram`, so that what lies in a bucket here goes into the same bucket
//! of the totals there; that crate keeps, merges and reads them. Adding is written here because it
//! runs several times a frame: three operations and an add, a third of what the crate's general one
//! takes (`benches/udp.rs`, ingest).
//!
//! Invariant: a value's bucket is the one in which `hdrhistogram` would count it.

use crate::base::limits::HIST_DIGITS;
use crate::hist::BUCKETS;

/// Buckets of the first run, one for each value: a power of two.
const FIRST: usize = (2 * 10_usize.pow(HIST_DIGITS as u32)).next_power_of_two();

/// Buckets of each further run, which is twice as wide as the one before.
const HALF: usize = FIRST / 2;

/// Counts by bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placed(Box<[u32]>);

/// The bucket of a value within the histogram's bounds.
#[inline(always)]
const fn bucket(ns: u64) -> usize {
    // How often the range has doubled beyond the first run.
    let run = ((ns | (FIRST as u64 - 1)).ilog2() - (FIRST as u64 - 1).ilog2()) as usize;
    run * HALF + (ns >> run) as usize
}

/// The least value of a bucket.
const fn least_ns(bucket: usize) -> u64 {
    if bucket < FIRST {
        return bucket as u64;
    }
    let run = bucket / HALF - 1;
    ((bucket - run * HALF) as u64) << run
}

impl Placed {
    /// Empty buckets. Allocates.
    pub(crate) fn new() -> Placed {
        Placed(vec![0; BUCKETS].into_boxed_slice())
    }

    /// Adds `times` to the bucket of `ns`, which is at most `HIST_MAX_NS`.
    #[inline(always)]
    pub(crate) fn add(&mut self, ns: u64, times: u32) {
        let count = self.0.get_mut(bucket(ns));
        debug_assert!(
            count.is_some(),
            "the place is within the histogram's bounds"
        );
        if let Some(count) = count {
            *count += times;
        }
    }

    /// A value of each bucket that is not empty, and its count.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, u32)> {
        let counts = self.0.iter().enumerate();
        counts
            .filter(|(_, count)| **count > 0)
            .map(|(at, count)| (least_ns(at), *count))
    }

    /// Empties all buckets.
    pub(crate) fn clear(&mut self) {
        self.0.fill(0);
    }
}

// Between two hand-overs no more than `u32::MAX` values are placed, so that no count overflows.
const _: () = assert!(crate::hist::interval::PLACED_MAX == u32::MAX as u64);
const _: () = assert!(bucket(crate::base::limits::HIST_MAX_NS) < BUCKETS);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::limits::HIST_MAX_NS;
    use crate::hist::histogram;
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    #[test]
    fn every_bucket_begins_where_it_says() {
        for at in 0..BUCKETS {
            let least_ns = least_ns(at);
            if least_ns <= HIST_MAX_NS {
                assert_eq!(bucket(least_ns), at);
                assert!(least_ns == 0 || bucket(least_ns - 1) == at - 1);
            }
        }
    }

    proptest! {
        #[test]
        fn a_value_lies_where_the_reference_puts_it(bits in 0u32..37, low: u64) {
            let ns = ((1 << bits) | (low & ((1 << bits) - 1))).min(HIST_MAX_NS);
            let reference = histogram::<u32>();
            let mut placed = Placed::new();
            placed.add(ns, 3);
            let all: Vec<(u64, u32)> = placed.iter().collect();
            prop_assert_eq!(all.len(), 1);
            let (place_ns, count) = all[0];
            prop_assert_eq!(count, 3);
            prop_assert!(reference.equivalent(place_ns, ns));
            prop_assert_eq!(reference.lowest_equivalent(ns), place_ns);
            placed.clear();
            prop_assert_eq!(placed.iter().count(), 0);
        }
    }
}
