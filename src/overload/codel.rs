//! Controlled delay: what has waited too long is dropped at the front, and much sooner once the queue stands.
//!
//! Invariant: a frame is dropped for its age only, and outside of overload never one younger than the interval.
//!
//! The rule is the one of Maurer, "Fail at Scale" (ACM Queue 13(8), 2015), as Facebook's servers run it, and not the
//! AQM of RFC 8289, which drops one packet after another at a growing rate to slow senders down that react:
//!
//! - Time is cut into windows of `interval`; a window ends with the first frame that is judged after it.
//! - A window in which every frame had waited longer than `target`, and at whose end frames were still queued, shows a
//!   queue that stands: *overloaded*. A window with one delay of at most `target`, or one whose end found the queue
//!   empty, ends the overload. (That it was empty is seen from the next frame: it was queued after the window's end.)
//! - While overloaded, frames that have waited longer than 2 x `target` are dropped; else those that have waited longer
//!   than `interval`.
//!
//! So a queue that drains now and then may be long for a while, which is what a burst needs, and one that never does
//! is kept as short as it has to be to keep the server busy.

use super::bounds::{Amount, BoundError, SPAN_MAX_NS, span};

/// While overloaded, frames older than so many targets are dropped ("Fail at Scale", and Breakwater's AQM).
pub const DROP_TARGETS: u64 = 2;

/// What a [`Codel`] aims at.
///
/// The targets of the presets are those of Breakwater (Cho et al., OSDI 2020): 45, 80 and 500 us for mean
/// services of 1, 10 and 100 us. Their intervals are the window in which DAGOR is run at such services there, 1 ms,
/// and 20 targets where that is longer, which is what Facebook uses (5 ms and 100 ms).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CodelParams {
    target_ns: u64,
    interval_ns: u64,
}

impl CodelParams {
    /// For services of about 1 us: target 45 us, interval 1 ms.
    pub const FOR_1_US: CodelParams = CodelParams {
        target_ns: 45_000,
        interval_ns: 1_000_000,
    };

    /// For services of about 10 us: target 80 us, interval 1 ms.
    pub const FOR_10_US: CodelParams = CodelParams {
        target_ns: 80_000,
        interval_ns: 1_000_000,
    };

    /// For services of about 100 us: target 500 us, interval 10 ms.
    pub const FOR_100_US: CodelParams = CodelParams {
        target_ns: 500_000,
        interval_ns: 10_000_000,
    };

    /// A delay that is fine to have, and how long the least delay has to stay above it; both in nanoseconds.
    ///
    /// # Errors
    /// Either is not between [`SPAN_MIN_NS`](super::bounds::SPAN_MIN_NS) and [`SPAN_MAX_NS`], or the interval is
    /// shorter than 2 targets: overload would drop less than the lack of it.
    pub fn new(target_ns: u64, interval_ns: u64) -> Result<CodelParams, BoundError> {
        span("target", target_ns, "\"80us\"")?;
        span("interval", interval_ns, "\"1ms\"")?;
        let least_ns = DROP_TARGETS * target_ns;
        if interval_ns < least_ns {
            return Err(BoundError::TooLittle {
                what: "interval",
                given: Amount::SpanNs(interval_ns),
                least: Amount::SpanNs(least_ns),
                because: "2 targets, so that overload drops more than the lack of it",
                write: "20 targets",
            });
        }
        Ok(CodelParams {
            target_ns,
            interval_ns,
        })
    }

    /// The preset for a mean service of so many nanoseconds; beyond those measured, 5 services and 20 times that.
    ///
    /// ```
    /// use hopline::overload::CodelParams;
    /// assert_eq!(CodelParams::for_service_ns(11_000), CodelParams::FOR_10_US);
    /// assert_eq!(CodelParams::for_service_ns(1_000_000).target_ns(), 5_000_000);
    /// ```
    #[must_use]
    pub fn for_service_ns(service_ns: u64) -> CodelParams {
        // The borders are the geometric means of the services that were measured.
        match service_ns {
            0..3_162 => CodelParams::FOR_1_US,
            3_162..31_623 => CodelParams::FOR_10_US,
            31_623..=100_000 => CodelParams::FOR_100_US,
            _ => {
                let target_ns = service_ns.saturating_mul(5).min(SPAN_MAX_NS / 20);
                CodelParams {
                    target_ns,
                    interval_ns: 20 * target_ns,
                }
            }
        }
    }

    /// The delay that is fine, in nanoseconds.
    #[must_use]
    pub const fn target_ns(&self) -> u64 {
        self.target_ns
    }

    /// How long the least delay has to stay above the target, in nanoseconds.
    #[must_use]
    pub const fn interval_ns(&self) -> u64 {
        self.interval_ns
    }
}

impl Default for CodelParams {
    fn default() -> CodelParams {
        CodelParams::FOR_10_US
    }
}

/// Judges the frames at the front of one queue, each once, in their order.
///
/// Time that steps back makes the present window longer by as much, and nothing else.
///
/// ```
/// use hopline::overload::{Codel, CodelParams};
/// let mut codel = Codel::new(CodelParams::default());
/// // A queue that stands at 300 us is borne for an interval, and then cut to 160 us.
/// assert!(!codel.judge(1_000_000, 300_000));
/// assert!(!codel.judge(1_900_000, 300_000));
/// assert!(codel.judge(2_000_000, 300_000));
/// assert!(!codel.judge(2_000_010, 150_000));
/// assert!(codel.is_overloaded());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Codel {
    params: CodelParams,
    /// When the present window began.
    since_ns: u64,
    /// The least age of the present window; `u64::MAX` before its first frame.
    least_ns: u64,
    /// What is older is dropped.
    limit_ns: u64,
    overloaded: bool,
}

impl Codel {
    /// One that has seen nothing: not overloaded.
    #[must_use]
    pub const fn new(params: CodelParams) -> Codel {
        Codel {
            params,
            since_ns: 0,
            least_ns: u64::MAX,
            limit_ns: params.interval_ns,
            overloaded: false,
        }
    }

    /// Whether to drop the frame at the front, which has waited for `age_ns`.
    #[inline]
    #[must_use]
    pub fn judge(&mut self, now_ns: u64, age_ns: u64) -> bool {
        if now_ns.saturating_sub(self.since_ns) >= self.params.interval_ns {
            self.end_window(now_ns, age_ns);
        }
        self.least_ns = self.least_ns.min(age_ns);
        age_ns > self.limit_ns
    }

    /// Whether the last window showed a queue that stands.
    #[inline]
    #[must_use]
    pub const fn is_overloaded(&self) -> bool {
        self.overloaded
    }

    /// The age above which frames are dropped now, in nanoseconds.
    #[must_use]
    pub const fn limit_ns(&self) -> u64 {
        self.limit_ns
    }

    /// The parameters.
    #[must_use]
    pub const fn params(&self) -> CodelParams {
        self.params
    }

    /// Goes on with other parameters: they hold at once, and the verdict of the last window stands until the present one
    /// ends by the new interval.
    pub const fn set_params(&mut self, params: CodelParams) {
        self.params = params;
        self.set_limit();
    }

    const fn set_limit(&mut self) {
        self.limit_ns = if self.overloaded {
            DROP_TARGETS * self.params.target_ns
        } else {
            self.params.interval_ns
        };
    }

    #[cold]
    fn end_window(&mut self, now_ns: u64, age_ns: u64) {
        let end_ns = self.since_ns.saturating_add(self.params.interval_ns);
        // This frame is the first since the window's end. Queued after it, it found nothing older in the queue.
        let was_empty = now_ns.saturating_sub(age_ns) >= end_ns;
        let seen = self.least_ns != u64::MAX;
        self.overloaded = seen && !was_empty && self.least_ns > self.params.target_ns;
        self.since_ns = now_ns;
        self.least_ns = u64::MAX;
        self.set_limit();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::overload::sim::{self, Load, Server};

    const BUDGET_NS: u64 = 500_000;
    const MS: u64 = 1_000_000;

    fn served(load: Load) -> Server {
        let mut codel = Codel::new(CodelParams::FOR_10_US);
        load.run(
            |_, _| true,
            |now_ns, age_ns| codel.judge(now_ns, age_ns),
            |_| {},
        )
    }

    #[test]
    fn overload_keeps_what_is_admitted_in_budget_and_the_server_busy() {
        sim::stays_in_budget(served, BUDGET_NS);
    }

    #[test]
    fn nothing_is_dropped_below_capacity() {
        sim::drops_nothing_below_capacity(served);
    }

    #[test]
    fn a_fall_of_the_load_is_recovered_from_within_two_intervals() {
        sim::recovers(served, 2 * MS);
    }

    #[test]
    fn one_delay_below_the_target_ends_the_overload() {
        let mut codel = Codel::new(CodelParams::FOR_10_US);
        for at in 0..30 {
            let _ = codel.judge(MS + at * 100_000, 200_000);
        }
        assert!(codel.is_overloaded());
        let _ = codel.judge(4 * MS + 100_000, 80_000);
        for at in 2..20 {
            let _ = codel.judge(4 * MS + at * 100_000, 200_000);
        }
        assert!(!codel.is_overloaded());
    }

    #[test]
    fn an_empty_queue_ends_the_overload_however_long_nothing_came() {
        let mut codel = Codel::new(CodelParams::FOR_10_US);
        for at in 0..30 {
            let _ = codel.judge(MS + at * 100_000, 200_000);
        }
        assert!(codel.is_overloaded());
        // It waited for a second because its consumer was held back: nothing shows that the queue was empty.
        let mut held = codel;
        assert!(held.judge(1_000 * MS, 998 * MS));
        assert!(held.is_overloaded());
        // It came after the window's end.
        assert!(!codel.judge(1_000 * MS, 300_000));
        assert!(!codel.is_overloaded());
    }

    #[test]
    fn parameters_change_while_it_runs() {
        let mut codel = Codel::new(CodelParams::FOR_10_US);
        codel.set_params(CodelParams::FOR_100_US);
        assert_eq!(codel.limit_ns(), 10 * MS);
        for at in 0..30 {
            let _ = codel.judge(MS * at, 2 * MS);
        }
        assert!(codel.is_overloaded());
        codel.set_params(CodelParams::FOR_1_US);
        assert!(codel.is_overloaded());
        assert_eq!(codel.limit_ns(), 90_000);
    }

    #[test]
    fn bad_parameters_are_refused_in_words() {
        let error = CodelParams::new(80_000, 100_000).unwrap_err();
        assert_eq!(
            error.to_string(),
            "interval is 100us, and has to be at least 160us, 2 targets, so that overload drops more than the lack of it; \
             write for example 20 targets"
        );
        assert!(CodelParams::new(u64::MAX, u64::MAX).is_err());
        for service_ns in [0, 1, 3_162, 31_623, 100_000, 100_001, u64::MAX] {
            let params = CodelParams::for_service_ns(service_ns);
            assert_eq!(
                CodelParams::new(params.target_ns, params.interval_ns),
                Ok(params)
            );
        }
    }

    proptest! {
        /// Whatever the times are, and whichever way they go.
        #[test]
        fn only_age_drops_and_never_below_two_targets(
            frames in proptest::collection::vec((any::<u64>(), 0u64..5_000_000), 0..200),
        ) {
            let mut codel = Codel::new(CodelParams::FOR_10_US);
            for (now_ns, age_ns) in frames {
                let dropped = codel.judge(now_ns, age_ns);
                if age_ns <= 160_000 {
                    prop_assert!(!dropped);
                }
                if age_ns > 1_000_000 {
                    prop_assert!(dropped);
                }
                if !codel.is_overloaded() {
                    prop_assert_eq!(dropped, age_ns > 1_000_000);
                }
            }
        }
    }
}
