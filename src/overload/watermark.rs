//! Two marks of a backlog: above the high one its source pauses, below the low one it goes on.
//!
//! Invariant: between the marks nothing changes.
//!
//! The pair of marks is the usual one of flow control (XON and XOFF, Netty's write buffer, Reactive Streams): one mark alone
//! would pause and resume with each frame.

use super::bounds::{Amount, BoundError, within};
use crate::base::limits::{DEPTH_MAX, DEPTH_MIN};

/// The marks, in frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WatermarkParams {
    high: usize,
    low: usize,
}

impl WatermarkParams {
    /// Pause at `high` frames or more, go on at `low` or fewer.
    ///
    /// # Errors
    /// `high` is not 1 to [`DEPTH_MAX`], or not above `low`.
    pub fn new(high: usize, low: usize) -> Result<WatermarkParams, BoundError> {
        within(
            "high",
            high as u64,
            1,
            DEPTH_MAX as u64,
            Amount::Count,
            "3072",
        )?;
        if high <= low {
            return Err(BoundError::TooLittle {
                what: "high",
                given: Amount::Count(high as u64),
                least: Amount::Count(low as u64 + 1),
                because: "1 more than low",
                write: "three quarters of the depth, and half of it for low",
            });
        }
        Ok(WatermarkParams { high, low })
    }

    /// Marks at three quarters and at half of a ring's depth: a quarter of room takes what is under way while a source
    /// pauses, a quarter between the marks is worth the pause, and half a ring keeps the consumer busy until it goes on.
    ///
    /// ```
    /// use hopline::overload::WatermarkParams;
    /// assert_eq!(WatermarkParams::of_depth(4096), WatermarkParams::new(3072, 2048)?);
    /// # Ok::<(), hopline::overload::BoundError>(())
    /// ```
    #[must_use]
    pub const fn of_depth(depth: usize) -> WatermarkParams {
        let depth = if depth < DEPTH_MIN {
            DEPTH_MIN
        } else if depth > DEPTH_MAX {
            DEPTH_MAX
        } else {
            depth
        };
        WatermarkParams {
            high: depth - depth / 4,
            low: depth / 2,
        }
    }

    /// Frames at which to pause.
    #[must_use]
    pub const fn high(&self) -> usize {
        self.high
    }

    /// Frames at which to go on.
    #[must_use]
    pub const fn low(&self) -> usize {
        self.low
    }
}

/// Whether the source of one queue is paused. It begins running.
///
/// ```
/// use hopline::overload::{Watermark, WatermarkParams};
/// let mut watermark = Watermark::new(WatermarkParams::new(30, 20)?);
/// let paused: Vec<bool> = [29, 30, 21, 20, 29].map(|n| watermark.is_paused(n)).into();
/// assert_eq!(paused, [false, true, true, false, false]);
/// # Ok::<(), hopline::overload::BoundError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Watermark {
    params: WatermarkParams,
    paused: bool,
}

impl Watermark {
    /// One that is not paused.
    #[must_use]
    pub const fn new(params: WatermarkParams) -> Watermark {
        Watermark {
            params,
            paused: false,
        }
    }

    /// Whether the source has to pause with so many frames waiting.
    #[inline]
    #[must_use]
    pub const fn is_paused(&mut self, backlog: usize) -> bool {
        // Paused already, it stays so above the low mark.
        let mark = if self.paused {
            self.params.low + 1
        } else {
            self.params.high
        };
        self.paused = backlog >= mark;
        self.paused
    }

    /// The parameters.
    #[must_use]
    pub const fn params(&self) -> WatermarkParams {
        self.params
    }

    /// Goes on with other marks: a source that is paused stays so until the backlog is at the new low one.
    pub const fn set_params(&mut self, params: WatermarkParams) {
        self.params = params;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parameters_change_while_it_runs() {
        let mut watermark = Watermark::new(WatermarkParams::new(30, 20).unwrap());
        assert!(watermark.is_paused(30));
        watermark.set_params(WatermarkParams::new(300, 200).unwrap());
        assert!(!watermark.is_paused(200));
        assert!(!watermark.is_paused(299));
        assert!(watermark.is_paused(300));
    }

    #[test]
    fn bad_parameters_are_refused_in_words() {
        let error = WatermarkParams::new(5, 5).unwrap_err();
        assert_eq!(
            error.to_string(),
            "high is 5, and has to be at least 6, 1 more than low; \
             write for example three quarters of the depth, and half of it for low"
        );
        assert!(WatermarkParams::new(0, 0).is_err());
        assert!(WatermarkParams::new(DEPTH_MAX + 1, 0).is_err());
        for depth in [0, DEPTH_MIN, 4, DEPTH_MAX, usize::MAX] {
            let params = WatermarkParams::of_depth(depth);
            assert_eq!(WatermarkParams::new(params.high, params.low), Ok(params));
        }
    }

    proptest! {
        #[test]
        fn it_changes_only_beyond_the_marks(
            low in 0usize..100, above in 1usize..100, backlogs in proptest::collection::vec(0usize..250, 0..200),
        ) {
            let high = low + above;
            let mut watermark = Watermark::new(WatermarkParams::new(high, low).unwrap());
            let mut before = false;
            for backlog in backlogs {
                let paused = watermark.is_paused(backlog);
                let expected = backlog >= high || (before && backlog > low);
                prop_assert_eq!(paused, expected);
                before = paused;
            }
        }
    }
}
