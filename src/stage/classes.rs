//! Which input a node takes from next, where they are of several classes.
//!
//! The inputs of the lowest class come first, strictly; a guard lets one of a higher class through after so many turns in which
//! it had something and was passed over, so that none starves. Inputs of one class take turns.
//!
//! Invariant: an input with something to take is taken from after a bounded number of turns.

use crate::base::limits::HOPS_PER_NODE_MAX;

/// Most turns in a row for inputs of lower classes while one of a higher class waits. With 32 frames a turn a class gets one part
/// in 65 of its node at the least, which empties it in the long run of an overload that is shed.
pub(crate) const PASSED_OVER_MAX: u32 = 64;

/// The turns of a node's inputs.
#[derive(Debug, Default)]
pub(crate) struct Classes {
    ranks: Vec<u8>,
    /// Turns in which an input had something and was passed over.
    passed_over: [u32; HOPS_PER_NODE_MAX],
}

impl Classes {
    /// Of inputs with these ranks.
    pub(crate) fn new(ranks: Vec<u8>) -> Classes {
        Classes {
            ranks,
            passed_over: [0; HOPS_PER_NODE_MAX],
        }
    }

    /// Whether there are several.
    pub(crate) fn are_several(&self) -> bool {
        self.ranks.iter().any(|rank| *rank != self.ranks[0])
    }

    /// The input to take from, of those that have something.
    pub(crate) fn next(&mut self, mut has_something: impl FnMut(usize) -> bool) -> Option<usize> {
        let (mut best, mut starved) = (None::<usize>, None::<usize>);
        let inputs = self.ranks.len().min(HOPS_PER_NODE_MAX);
        for at in (0..inputs).filter(|at| has_something(*at)) {
            let waited = self.passed_over[at];
            self.passed_over[at] += 1;
            if waited >= PASSED_OVER_MAX
                && starved.is_none_or(|other| self.passed_over[other] < waited)
            {
                starved = Some(at);
            }
            let order = |at: usize| (self.ranks[at], u32::MAX - self.passed_over[at]);
            if best.is_none_or(|other| order(at) < order(other)) {
                best = Some(at);
            }
        }
        let next = starved.or(best)?;
        self.passed_over[next] = 0;
        Some(next)
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::base::Prng;

    #[test]
    fn the_lowest_class_comes_first_and_those_of_one_take_turns() {
        let mut classes = Classes::new(vec![1, 0, 0, 2]);
        assert!(classes.are_several());
        let turns: Vec<_> = (0..4).map(|_| classes.next(|_| true)).collect();
        assert_eq!(turns, [1, 2, 1, 2].map(Some));
        assert_eq!(classes.next(|at| at == 3), Some(3));
        assert_eq!(classes.next(|_| false), None);
        assert!(!Classes::new(vec![4, 4]).are_several());
    }

    #[test]
    fn none_that_has_something_is_passed_over_for_ever() {
        for seed in 0..20 {
            let mut random = Prng::new(seed);
            let inputs = 2 + random.below(6) as usize;
            let ranks = (0..inputs).map(|_| random.below(4) as u8).collect();
            let mut classes = Classes::new(ranks);
            let mut waits = vec![0; inputs];
            for _ in 0..5_000 {
                let ready: Vec<bool> = (0..inputs).map(|_| random.below(4) > 0).collect();
                let next = classes.next(|at| ready[at]);
                for (at, wait) in waits.iter_mut().enumerate() {
                    *wait = if next == Some(at) {
                        0
                    } else {
                        *wait + u32::from(ready[at])
                    };
                    assert!(
                        *wait <= PASSED_OVER_MAX + inputs as u32,
                        "input {at}: {wait}"
                    );
                }
            }
        }
    }
}
