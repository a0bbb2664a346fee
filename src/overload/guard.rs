//! Strict priority among the inputs of one consumer, with a guard so that none of them starves.
//!
//! Invariant: an input that is ready gets a turn after at most `turns` turns of more important ones.
//!
//! Strict priority alone lets one busy input silence all below it; the guard is the ageing of operating systems' schedulers
//! in its simplest form, a count of the turns for which an input was passed over. Of several that have waited long enough the
//! least important goes first: its turn is none of a more important one to the others.

use super::bounds::{Amount, BoundError, within};
use crate::base::limits::HOPS_PER_NODE_MAX;

/// Fewest turns after which the guard steps in: while one input waits each other one may step in once, so fewer would
/// let those that step in starve each other.
pub const TURNS_MIN: u32 = HOPS_PER_NODE_MAX as u32;

/// Most turns: at a batch of 32 frames a turn and 10 us each, the last input waits for 20 s, which is no service.
pub const TURNS_MAX: u32 = 1 << 16;

// A set of inputs is a word of bits.
const _: () = assert!(HOPS_PER_NODE_MAX <= u32::BITS as usize);

/// How long a [`Guard`] passes an input over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GuardParams {
    turns: u32,
}

impl GuardParams {
    /// A ready input gets its turn after so many of more important ones.
    ///
    /// # Errors
    /// It is not [`TURNS_MIN`] to [`TURNS_MAX`].
    pub fn new(turns: u32) -> Result<GuardParams, BoundError> {
        within(
            "turns",
            turns.into(),
            TURNS_MIN.into(),
            TURNS_MAX.into(),
            Amount::Count,
            "16",
        )?;
        Ok(GuardParams { turns })
    }

    /// Turns of more important inputs.
    #[must_use]
    pub const fn turns(&self) -> u32 {
        self.turns
    }
}

impl Default for GuardParams {
    /// 16 turns: a lower input has at least one in 17, and at a batch of 32 frames of 10 us waits for 5 ms at most.
    fn default() -> GuardParams {
        GuardParams { turns: TURNS_MIN }
    }
}

/// Chooses the input whose turn it is. Input 0 is the most important.
///
/// ```
/// use hopline::overload::{Guard, GuardParams};
/// let mut guard = Guard::new(GuardParams::default());
/// assert_eq!(guard.choose(0b100), Some(2));
/// assert_eq!(guard.choose(0b110), Some(1));
/// assert_eq!(guard.choose(0), None);
/// // Both ready: 16 turns for the first, then one for the second.
/// let turns: Vec<_> = (0..34).map(|_| guard.choose(0b11)).collect();
/// assert_eq!(turns.iter().filter(|turn| **turn == Some(1)).count(), 2);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Guard {
    params: GuardParams,
    /// For each input the turns for which it was ready and passed over.
    passed: [u32; HOPS_PER_NODE_MAX],
    /// Inputs that were passed over at all.
    waiting: u32,
}

impl Guard {
    /// One that has passed nobody over.
    #[must_use]
    pub const fn new(params: GuardParams) -> Guard {
        Guard {
            params,
            passed: [0; HOPS_PER_NODE_MAX],
            waiting: 0,
        }
    }

    /// The input whose turn it is, among those whose bit is set in `ready`; bits from [`HOPS_PER_NODE_MAX`] on are none.
    ///
    /// An input that is not ready has nothing that waits, and begins anew.
    #[inline]
    #[must_use]
    pub fn choose(&mut self, ready: u32) -> Option<usize> {
        let ready = ready & ALL_INPUTS;
        let first = ready.trailing_zeros() as usize;
        // One input ready and none that has waited is what most turns are.
        if self.waiting == 0 && ready & ready.wrapping_sub(1) == 0 {
            return (ready != 0).then_some(first);
        }
        self.choose_among(ready)
    }

    fn choose_among(&mut self, ready: u32) -> Option<usize> {
        self.waiting &= ready;
        if ready == 0 {
            return None;
        }
        let mut chosen = ready.trailing_zeros();
        let mut waiting = self.waiting;
        while waiting != 0 {
            let input = waiting.trailing_zeros();
            waiting &= waiting - 1;
            if self.passed[input as usize] >= self.params.turns {
                chosen = input;
            }
        }
        // Those less important than the chosen one have been passed over by it.
        let mut lower = ready & !((2 << chosen) - 1);
        while lower != 0 {
            let input = lower.trailing_zeros();
            lower &= lower - 1;
            let waited = self.waiting & (1 << input) != 0;
            let before = if waited {
                self.passed[input as usize]
            } else {
                0
            };
            self.passed[input as usize] = before + 1;
            self.waiting |= 1 << input;
        }
        self.waiting &= !(1 << chosen);
        Some(chosen as usize)
    }

    /// The parameters.
    #[must_use]
    pub const fn params(&self) -> GuardParams {
        self.params
    }

    /// Goes on with other parameters: turns for which an input was passed over stay counted.
    pub const fn set_params(&mut self, params: GuardParams) {
        self.params = params;
    }
}

/// The bits that are inputs.
const ALL_INPUTS: u32 = ((1u64 << HOPS_PER_NODE_MAX) - 1) as u32;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_most_important_goes_first_and_a_lower_one_after_its_turns() {
        let mut guard = Guard::new(GuardParams::default());
        let turns: Vec<_> = (0..18).map(|_| guard.choose(0b1001)).collect();
        assert!(turns[..16].iter().all(|turn| *turn == Some(0)));
        assert_eq!(turns[16..], [Some(3), Some(0)]);
    }

    #[test]
    fn an_input_that_had_nothing_begins_anew() {
        let mut guard = Guard::new(GuardParams::default());
        for _ in 0..10 {
            for _ in 0..15 {
                assert_eq!(guard.choose(0b11), Some(0));
            }
            assert_eq!(guard.choose(0b01), Some(0));
        }
    }

    #[test]
    fn fifteen_that_starve_get_one_turn_each() {
        let mut guard = Guard::new(GuardParams::default());
        for _ in 0..TURNS_MIN {
            assert_eq!(guard.choose(ALL_INPUTS), Some(0));
        }
        let turns: Vec<_> = (0..HOPS_PER_NODE_MAX)
            .filter_map(|_| guard.choose(u32::MAX))
            .collect();
        let expected: Vec<usize> = (0..HOPS_PER_NODE_MAX).rev().collect();
        assert_eq!(turns, expected);
    }

    #[test]
    fn parameters_change_while_it_runs() {
        let mut guard = Guard::new(GuardParams::new(1_000).unwrap());
        for _ in 0..500 {
            assert_eq!(guard.choose(0b11), Some(0));
        }
        guard.set_params(GuardParams::default());
        assert_eq!(guard.choose(0b11), Some(1));
        let error = GuardParams::new(1).unwrap_err();
        assert_eq!(
            error.to_string(),
            "turns is 1, and not between 16 and 65536; write for example 16"
        );
    }

    proptest! {
        /// Whichever inputs are ready when: those that are mostly so starve best.
        #[test]
        fn none_starves_and_nobody_else_goes_out_of_order(
            turns in TURNS_MIN..40,
            often in proptest::collection::vec(prop_oneof![Just(1.0), 0.0..1.0], HOPS_PER_NODE_MAX),
            seed: u64,
        ) {
            let mut guard = Guard::new(GuardParams::new(turns).unwrap());
            let mut prng = crate::base::Prng::new(seed);
            let mut above = [0u32; HOPS_PER_NODE_MAX];
            let mut any = [0u32; HOPS_PER_NODE_MAX];
            for _ in 0..2_000 {
                let ready = (0..HOPS_PER_NODE_MAX)
                    .filter(|&input| prng.unit() < often[input])
                    .fold(0, |set, input| set | 1 << input);
                let chosen = guard.choose(ready);
                prop_assert_eq!(chosen.is_none(), ready == 0);
                let Some(chosen) = chosen else {
                    above.fill(0);
                    any.fill(0);
                    continue;
                };
                prop_assert!(ready & (1 << chosen) != 0);
                if chosen > ready.trailing_zeros() as usize {
                    prop_assert_eq!(above[chosen], turns, "out of its turn");
                }
                for input in 0..HOPS_PER_NODE_MAX {
                    if ready & (1 << input) == 0 || input == chosen {
                        above[input] = 0;
                        any[input] = 0;
                    } else {
                        above[input] += u32::from(chosen < input);
                        any[input] += 1;
                        prop_assert!(above[input] <= turns, "input {input} starves");
                        // Nor do those that step in make it wait for long.
                        prop_assert!(any[input] <= turns + 2 * HOPS_PER_NODE_MAX as u32);
                    }
                }
            }
        }
    }
}
