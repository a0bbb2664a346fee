//! Whether the line's clock and the system's ran alike over a run.
//!
//! All figures of a run are differences of the line's clock. If that is the stamp counter, its rate was measured when the
//! program began: on a guest that is suspended, moved to another machine or given another scale meanwhile, it is wrong,
//! and so are all figures. The system's clock is kept right through all that, which is why it is read beside.
//!
//! Invariant: a drift is a number, whatever the clocks say.

use hopline::budget::taint::Interval;
use hopline::clock::Clock;

use super::model::RunAnalysis;

/// Most that the clocks may drift apart, in parts per million: twice what the kernel steers its own by, and far above what
/// calibrating leaves (some 20).
pub const DRIFT_MAX_PPM: f64 = 1_000.0;

/// And so much in any run, in nanoseconds: what the two readings at its ends may be apart on a machine that takes the
/// processor away in between.
pub const DRIFT_MAX_NS: f64 = 1_000_000.0;

/// Tries for a reading of both; the one with the closest reads around it counts.
const TRIES: usize = 16;

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Both {
    /// The line's, in nanoseconds.
    pub line_ns: u64,
    /// The system's.
    pub system_ns: u64,
}

impl Both {
    /// Reads both, as near to each other as this machine allows.
    #[must_use]
    pub fn read(line: &Clock) -> Both {
        let system = Clock::os();
        let tries = (0..TRIES).map(|_| {
            let start_ns = line.stamp_after();
            let system_ns = system.stamp();
            let end_ns = line.stamp_after();
            (Interval { start_ns, end_ns }, system_ns)
        });
        let closest = tries.min_by_key(|(around, _)| around.end_ns.saturating_sub(around.start_ns));
        closest.map_or_else(Both::default, |(around, system_ns)| Both {
            line_ns: u64::midpoint(around.start_ns, around.end_ns),
            system_ns,
        })
    }

    /// By how much the line's clock ran faster since `before`, in parts per million.
    ///
    /// ```
    /// use hopline_harness::gate::drift::Both;
    /// let began = Both { line_ns: 0, system_ns: 500 };
    /// let ended = Both { line_ns: 1_000_100, system_ns: 1_000_500 };
    /// assert_eq!(ended.drift_ppm(&began), 100.0);
    /// ```
    #[must_use]
    pub fn drift_ppm(&self, before: &Both) -> f64 {
        let since = |now: u64, then: u64| now as f64 - then as f64;
        let line_ns = since(self.line_ns, before.line_ns);
        let system_ns = since(self.system_ns, before.system_ns);
        // The system's clock never runs backwards; a span of nothing is told by the line's alone.
        (line_ns - system_ns) / system_ns.max(1.0) * 1e6
    }
}

impl RunAnalysis {
    /// By how many nanoseconds the clocks drifted apart over the measured span, if that is more than figures bear.
    #[must_use]
    pub fn clock_is_off_ns(&self) -> Option<f64> {
        let off_ns = self.clock_drift_ppm * self.span_ns as f64 / 1e6;
        let most_ns = DRIFT_MAX_PPM * self.span_ns as f64 / 1e6 + DRIFT_MAX_NS;
        (off_ns.is_nan() || off_ns.abs() > most_ns).then_some(off_ns)
    }
}

/// What a clock that is off is said to be, and what to do about it.
pub(super) fn words(off_ns: f64) -> String {
    let way = if off_ns < 0.0 { "less" } else { "more" };
    format!(
        "the line's clock counted {:.1} ms {way} than the system's in a run: the machine was stopped, moved or its counter is \
         scaled wrong; run it again, or on a machine whose clock source is tsc",
        off_ns.abs() / 1e6
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(drift_ppm: f64, span_ns: u64) -> RunAnalysis {
        RunAnalysis {
            clock_drift_ppm: drift_ppm,
            span_ns,
            ..RunAnalysis::default()
        }
    }

    #[test]
    fn clocks_of_a_sane_machine_run_alike() {
        for clock in [Clock::calibrated(), Clock::os()] {
            let began = Both::read(&clock);
            let mut now = began;
            while now.system_ns < began.system_ns + 20_000_000 {
                now = Both::read(&clock);
            }
            let drift_ppm = now.drift_ppm(&began);
            let span_ns = now.system_ns - began.system_ns;
            assert_eq!(
                run(drift_ppm, span_ns).clock_is_off_ns(),
                None,
                "{drift_ppm}"
            );
        }
    }

    #[test]
    fn a_clock_that_stepped_stopped_or_is_scaled_wrong_is_off() {
        let began = Both {
            line_ns: 7,
            system_ns: 7,
        };
        let after = |line_ns: u64, system_ns: u64| {
            let now = Both {
                line_ns: 7 + line_ns,
                system_ns: 7 + system_ns,
            };
            let off = run(now.drift_ppm(&began), line_ns.max(1)).clock_is_off_ns();
            off.is_some()
        };
        const S: u64 = 1_000_000_000;
        assert!(!after(S, S));
        // Steered, and read on a busy machine.
        assert!(!after(S + 500_000, S) && !after(S, S + 900_000));
        // A step of 10 ms, a guest that was stopped for a second, a counter at twice its rate.
        assert!(after(S + 10_000_000, S) && after(S, S + 10_000_000));
        assert!(after(S, 2 * S) && after(2 * S, S));
        // The line's clock ran backwards, or the system's stood still.
        let back = Both {
            line_ns: 0,
            system_ns: S,
        };
        assert!(
            back.drift_ppm(&Both {
                line_ns: S,
                system_ns: 0
            }) < -1_000_000.0
        );
        assert!(after(S, 0));
    }

    #[test]
    fn what_is_no_number_is_off_and_a_run_of_nothing_is_not() {
        assert!(run(f64::NAN, 1).clock_is_off_ns().is_some());
        assert_eq!(run(0.0, 0).clock_is_off_ns(), None);
        assert!(words(-2e6).contains("2.0 ms less"));
    }
}
