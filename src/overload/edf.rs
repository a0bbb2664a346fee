//! Earliest deadline first: of several queues the one whose head is due first.
//!
//! Invariant: no ready head is due before the chosen one, and of those that are due at the same time each gets its turn.
//!
//! Liu and Layland, "Scheduling Algorithms for Multiprogramming in a Hard-Real-Time Environment" (JACM 20(1), 1973): if any
//! order meets all deadlines, this one does. It says nothing about overload, where it prefers those that are the nearest to
//! being late and so makes many late: drop what is late first (see [`late`](super::late)).

use crate::base::limits::HOPS_PER_NODE_MAX;

/// Chooses among the heads of up to [`HOPS_PER_NODE_MAX`] queues.
///
/// ```
/// use hopline::overload::{Edf, late::NEVER_NS};
/// let mut edf = Edf::new();
/// let dues_ns = [900, 500, 500, NEVER_NS];
/// assert_eq!(edf.choose(0b1111, |queue| dues_ns[queue]), Some(1));
/// assert_eq!(edf.choose(0b1111, |queue| dues_ns[queue]), Some(2));
/// assert_eq!(edf.choose(0b1001, |queue| dues_ns[queue]), Some(0));
/// assert_eq!(edf.choose(0b1000, |queue| dues_ns[queue]), Some(3));
/// assert_eq!(edf.choose(0, |queue| dues_ns[queue]), None);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Edf {
    /// Where a tie is looked at first: behind the last one chosen.
    first: u32,
}

impl Edf {
    /// One that has chosen nobody.
    #[must_use]
    pub const fn new() -> Edf {
        Edf { first: 0 }
    }

    /// The queue whose head is due first, among those whose bit is set in `ready`; `due_ns` is asked for each of them. Bits
    /// from [`HOPS_PER_NODE_MAX`] on are none. A head without a deadline is due at
    /// [`NEVER_NS`](super::late::NEVER_NS) and goes after all that have one: give it a due time if it must not starve.
    #[inline]
    #[must_use]
    pub fn choose(&mut self, ready: u32, mut due_ns: impl FnMut(usize) -> u64) -> Option<usize> {
        let behind = ready & ALL_QUEUES & !((1 << self.first) - 1);
        let before = ready & ALL_QUEUES & !behind;
        let mut best: Option<(u64, u32)> = None;
        for mut some in [behind, before] {
            while some != 0 {
                let queue = some.trailing_zeros();
                some &= some - 1;
                let due_ns = due_ns(queue as usize);
                if best.is_none_or(|(least_ns, _)| due_ns < least_ns) {
                    best = Some((due_ns, queue));
                }
            }
        }
        let (_, queue) = best?;
        self.first = (queue + 1) % HOPS_PER_NODE_MAX as u32;
        Some(queue as usize)
    }
}

/// The bits that are queues.
const ALL_QUEUES: u32 = ((1u64 << HOPS_PER_NODE_MAX) - 1) as u32;

const _: () = assert!(HOPS_PER_NODE_MAX < u32::BITS as usize);

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::overload::late::NEVER_NS;

    #[test]
    fn ties_go_round() {
        let mut edf = Edf::new();
        for round in 0..3 {
            let turns: Vec<_> = (0..HOPS_PER_NODE_MAX)
                .filter_map(|_| edf.choose(u32::MAX, |_| NEVER_NS))
                .collect();
            let expected: Vec<usize> = (0..HOPS_PER_NODE_MAX).collect();
            assert_eq!(turns, expected, "round {round}");
        }
    }

    proptest! {
        #[test]
        fn none_that_is_ready_is_due_before(rounds in vec((any::<u32>(), vec(0u64..4, HOPS_PER_NODE_MAX)), 1..50)) {
            let mut edf = Edf::new();
            for (ready, dues_ns) in rounds {
                let among: Vec<usize> = (0..HOPS_PER_NODE_MAX).filter(|queue| ready & (1 << queue) != 0).collect();
                let chosen = edf.choose(ready, |queue| dues_ns[queue]);
                prop_assert_eq!(chosen.is_some(), !among.is_empty());
                let Some(chosen) = chosen else { continue };
                prop_assert!(among.contains(&chosen));
                prop_assert!(among.iter().all(|&queue| dues_ns[queue] >= dues_ns[chosen]));
            }
        }

        /// Jobs that some order can do in time are all done in time.
        #[test]
        fn what_can_be_done_in_time_is(services_ns in vec(1u64..50, 1..12), order: u64) {
            // Deadlines by some order: each job is due when it ends in it, so no time is to spare.
            let mut prng = crate::base::Prng::new(order);
            let mut left: Vec<usize> = (0..services_ns.len()).collect();
            let mut dues_ns = vec![0; services_ns.len()];
            let mut end_ns = 0;
            while !left.is_empty() {
                let job = left.swap_remove(prng.below(left.len() as u64) as usize);
                end_ns += services_ns[job];
                dues_ns[job] = end_ns;
            }
            let mut edf = Edf::new();
            let mut ready = (1u32 << services_ns.len()) - 1;
            let mut now_ns = 0;
            while let Some(job) = edf.choose(ready, |job| dues_ns[job]) {
                ready &= !(1 << job);
                now_ns += services_ns[job];
                prop_assert!(now_ns <= dues_ns[job]);
            }
            prop_assert_eq!(ready, 0);
        }
    }
}
