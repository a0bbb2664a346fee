//! One in so many frames, once a queue is fuller than it should be.
//!
//! Invariant: below its fill everything passes; above it exactly one of each n does.
//!
//! Which of the n passes is drawn anew each time (stratified sampling: Cochran, "Sampling Techniques", chapter 5). Always the
//! first of them would follow a feed that has a beat of its own: of two symbols in turn it would never let one pass.

use super::bounds::{Amount, BoundError, within};
use crate::base::Prng;
use crate::base::limits::DEPTH_MAX;

/// Most frames that one stands for: a rarer sample of a market feed shows less than a heartbeat.
pub const ONE_IN_MAX: u32 = 1_000_000;

/// What a [`Sample`] lets pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SampleParams {
    one_in: u32,
    above: usize,
}

impl SampleParams {
    /// One of `one_in` frames, while at least `above` frames wait.
    ///
    /// # Errors
    /// `one_in` is not 2 to [`ONE_IN_MAX`], or `above` is more than [`DEPTH_MAX`].
    pub fn new(one_in: u32, above: usize) -> Result<SampleParams, BoundError> {
        within(
            "one_in",
            one_in.into(),
            2,
            ONE_IN_MAX.into(),
            Amount::Count,
            "10",
        )?;
        within(
            "above",
            above as u64,
            0,
            DEPTH_MAX as u64,
            Amount::Count,
            "2048",
        )?;
        Ok(SampleParams { one_in, above })
    }

    /// One in 10 while a ring is at least half full: it bears 5 times its capacity and leaves half of the room to what is not
    /// sampled.
    #[must_use]
    pub fn of_depth(depth: usize) -> SampleParams {
        SampleParams {
            one_in: 10,
            above: (depth / 2).min(DEPTH_MAX),
        }
    }

    /// Of so many frames one passes.
    #[must_use]
    pub const fn one_in(&self) -> u32 {
        self.one_in
    }

    /// While at least so many frames wait.
    #[must_use]
    pub const fn above(&self) -> usize {
        self.above
    }
}

/// Chooses among the frames that a producer has for one queue.
///
/// ```
/// use hopline::overload::{Sample, SampleParams};
/// let mut sample = Sample::new(SampleParams::new(4, 100)?, 7);
/// assert!((0..50).all(|_| sample.admit(99)));
/// assert_eq!((0..400).filter(|_| sample.admit(100)).count(), 100);
/// # Ok::<(), hopline::overload::BoundError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Sample {
    params: SampleParams,
    prng: Prng,
    /// Place in the present group, and the one that passes.
    at: u32,
    chosen: u32,
}

impl Sample {
    /// One that draws by `seed`: the same seed lets the same frames pass.
    #[must_use]
    pub fn new(params: SampleParams, seed: u64) -> Sample {
        let mut sample = Sample {
            params,
            prng: Prng::new(seed),
            at: 0,
            chosen: 0,
        };
        sample.begin_group();
        sample
    }

    /// Whether a frame passes with so many waiting before it.
    #[inline]
    #[must_use]
    pub fn admit(&mut self, backlog: usize) -> bool {
        backlog < self.params.above || self.draw()
    }

    /// Whether a frame is the one of its group, whatever waits: for a degrade ladder that has decided to sample.
    #[inline]
    #[must_use]
    pub fn draw(&mut self) -> bool {
        let passes = self.at == self.chosen;
        self.at += 1;
        if self.at == self.params.one_in {
            self.begin_group();
        }
        passes
    }

    /// The parameters.
    #[must_use]
    pub const fn params(&self) -> SampleParams {
        self.params
    }

    /// Goes on with other parameters, at the beginning of a group.
    pub fn set_params(&mut self, params: SampleParams) {
        self.params = params;
        self.begin_group();
    }

    fn begin_group(&mut self) {
        self.at = 0;
        self.chosen = self.prng.below(u64::from(self.params.one_in)) as u32;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_feed_with_a_beat_is_sampled_evenly() {
        for beat in [2, 3, 5, 10] {
            let mut sample = Sample::new(SampleParams::new(10, 0).unwrap(), 1);
            let mut passed = [0u32; 10];
            for nth in 0..100_000 {
                passed[nth % beat] += u32::from(sample.admit(1));
            }
            let mean = 10_000 / beat as u32;
            for (at, &count) in passed[..beat].iter().enumerate() {
                assert!(
                    count.abs_diff(mean) * 5 < mean,
                    "beat {beat}, place {at}: {count}"
                );
            }
        }
    }

    #[test]
    fn parameters_change_while_it_runs() {
        let mut sample = Sample::new(SampleParams::new(1_000, 0).unwrap(), 1);
        let _ = (0..500).filter(|_| sample.admit(1)).count();
        sample.set_params(SampleParams::new(2, 0).unwrap());
        assert_eq!((0..500).filter(|_| sample.admit(1)).count(), 250);
    }

    #[test]
    fn bad_parameters_are_refused_in_words() {
        let error = SampleParams::new(1, 0).unwrap_err();
        assert_eq!(
            error.to_string(),
            "one_in is 1, and not between 2 and 1000000; write for example 10"
        );
        assert!(SampleParams::new(2, DEPTH_MAX + 1).is_err());
        for depth in [0, 2, usize::MAX] {
            let params = SampleParams::of_depth(depth);
            assert_eq!(SampleParams::new(params.one_in, params.above), Ok(params));
        }
    }

    proptest! {
        #[test]
        fn one_of_each_group_passes_and_all_below_the_fill(
            seed: u64, one_in in 2u32..20, above in 0usize..50, backlogs in proptest::collection::vec(0usize..100, 0..300),
        ) {
            let mut sample = Sample::new(SampleParams::new(one_in, above).unwrap(), seed);
            let (mut sampled, mut passed) = (0, 0);
            for backlog in backlogs {
                let admitted = sample.admit(backlog);
                if backlog < above {
                    prop_assert!(admitted);
                    continue;
                }
                sampled += 1;
                passed += u32::from(admitted);
                let groups = sampled / one_in;
                prop_assert!(passed == groups || passed == groups + 1);
                if sampled % one_in == 0 {
                    prop_assert_eq!(passed, groups);
                }
            }
        }
    }
}
