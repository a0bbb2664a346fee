//! How a hop hears of another policy while it runs.
//!
//! Invariant: an end of a hop does as the last policy says, however many it has missed.

use std::sync::Arc;

use crate::control::{Epoch, Latest, Words};
use crate::overload::{Policy, WhenFull};

/// Words of a policy in its cell.
const WORDS: usize = 8;

/// Where the policy of a hop is put: written by whoever holds the line, read by both ends of the hop.
pub type PolicyCell = Latest<Policy, WORDS>;

/// An end's view of the cell.
#[derive(Clone, Debug)]
pub(crate) struct Orders {
    cell: Arc<PolicyCell>,
    seen: Epoch,
}

impl Orders {
    /// Of an end that does as the cell says now.
    pub(crate) fn new(cell: Arc<PolicyCell>) -> Orders {
        let seen = cell.read().map_or(Epoch::NEVER, |(_, epoch)| epoch);
        Orders { cell, seen }
    }

    /// The policy, if it is another than at the last call.
    pub(crate) fn changed(&mut self) -> Option<Policy> {
        self.cell.news(&mut self.seen)
    }
}

fn place_of(when_full: WhenFull) -> u64 {
    let at = WhenFull::ALL.iter().position(|one| *one == when_full);
    at.unwrap_or(0) as u64
}

/// The policy at that place; what is no place blocks, which loses nothing.
fn at_place(at: u64) -> WhenFull {
    let at = usize::try_from(at).ok();
    let found = at.and_then(|at| WhenFull::ALL.get(at));
    found.copied().unwrap_or_default()
}

impl Words<WORDS> for Policy {
    fn to_words(self) -> [u64; WORDS] {
        let small = place_of(self.when_full)
            | place_of(self.then) << 8
            | u64::from(self.sample_above) << 16
            | u64::from(self.high) << 24
            | u64::from(self.low) << 32
            | u64::from(self.protected) << 40;
        [
            small,
            u64::from(self.sample) | u64::from(self.burst) << 32,
            self.block_timeout_ns,
            self.deadline_ns,
            self.codel_target_ns,
            self.codel_interval_ns,
            self.rate_per_s,
            // Both are spans that an envelope could carry.
            (self.degrade_high_ns & 0xFFFF_FFFF) | self.degrade_low_ns << 32,
        ]
    }

    fn from_words(words: [u64; WORDS]) -> Policy {
        let [
            small,
            counts,
            block_timeout_ns,
            deadline_ns,
            codel_target_ns,
            codel_interval_ns,
            rate_per_s,
            degrade,
        ] = words;
        let byte = |at: u32| (small >> at & 0xFF) as u8;
        Policy {
            when_full: at_place(small & 0xFF),
            then: at_place(small >> 8 & 0xFF),
            sample_above: byte(16),
            high: byte(24),
            low: byte(32),
            protected: byte(40) != 0,
            sample: counts as u32,
            burst: (counts >> 32) as u32,
            block_timeout_ns,
            deadline_ns,
            codel_target_ns,
            codel_interval_ns,
            rate_per_s,
            degrade_high_ns: degrade & 0xFFFF_FFFF,
            degrade_low_ns: degrade >> 32,
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn a_policy_comes_out_of_its_cell_as_it_went_in() {
        for (when_full, then) in WhenFull::ALL
            .into_iter()
            .zip(WhenFull::ALL.into_iter().rev())
        {
            let policy = Policy {
                when_full,
                then,
                block_timeout_ns: u64::MAX,
                deadline_ns: 4_200_000_000,
                codel_target_ns: 80_000,
                codel_interval_ns: 1_000_000,
                sample: u32::MAX,
                sample_above: 99,
                rate_per_s: 900_000,
                burst: u32::MAX,
                high: 100,
                low: 99,
                degrade_high_ns: u64::from(u32::MAX),
                degrade_low_ns: u64::from(u32::MAX) - 1,
                protected: true,
            };
            assert_eq!(Policy::from_words(policy.to_words()), policy);
        }
        let plain = Policy::of(WhenFull::Block);
        assert_eq!(Policy::from_words(plain.to_words()), plain);
    }

    #[test]
    fn an_end_that_is_late_hears_the_last_one_once() {
        let cell = Arc::new(PolicyCell::new(Policy::default()));
        let mut orders = Orders::new(cell.clone());
        assert_eq!(orders.changed(), None);
        for when_full in [WhenFull::Reject, WhenFull::DropOldest] {
            cell.set(Policy::of(when_full));
        }
        assert_eq!(orders.changed(), Some(Policy::of(WhenFull::DropOldest)));
        assert_eq!(orders.changed(), None);
    }
}
