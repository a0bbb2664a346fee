//! How long a line takes to be itself again when the load falls.
//!
//! A window of 10 ms slides by 1 ms from the fall on. The line has recovered at the end of the first window whose P99, from the
//! due time, is no more than a quarter above the usual one of the same line without overload. A quarter, because a window has some
//! seven hundred messages, and seven that the host held up move its P99.
//!
//! Invariant: a window without messages is no recovery.

use hopline::budget::Passage;
use serde::Serialize;

use super::figures::{Window, quantile};

/// Length of the window, in nanoseconds.
pub const WINDOW_NS: u64 = 10_000_000;

/// By how much it slides, in nanoseconds.
const STEP_NS: u64 = 1_000_000;

/// How much more than without overload a window's P99 may be.
const TOLERANCE: f64 = 1.25;

/// When a line was itself again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Recovery {
    /// The usual P99 without overload, in nanoseconds.
    pub reference_ns: u64,
    /// P99 of the last window before the load fell, in nanoseconds.
    pub before_ns: u64,
    /// From the fall of the load to the end of the first window that is as without overload, in nanoseconds; `None` where the
    /// run ended before.
    pub took_ns: Option<u64>,
}

/// The messages of a run by when they were done with, for questions about windows of it.
#[derive(Clone, Debug, Default)]
pub struct Course {
    /// When each was done with, and how long it took from its due time; in the order of time.
    done: Vec<(u64, u64)>,
}

impl Course {
    /// Of passages in any order.
    pub fn of<'a>(passages: impl Iterator<Item = &'a Passage>) -> Course {
        let mut done: Vec<(u64, u64)> = passages
            .map(|one| (one.done_ns(), one.end_to_end_ns()))
            .collect();
        done.sort_unstable();
        Course { done }
    }

    /// P99 of the messages of the window that ends then; `None` if there are none.
    fn p99_ending_at(&self, to_ns: u64) -> Option<u64> {
        let before = |limit_ns: u64| self.done.partition_point(|(at_ns, _)| *at_ns < limit_ns);
        let done = &self.done[before(to_ns.saturating_sub(WINDOW_NS))..before(to_ns)];
        let mut spans_ns: Vec<u64> = done.iter().map(|(_, span_ns)| *span_ns).collect();
        spans_ns.sort_unstable();
        (!spans_ns.is_empty()).then(|| quantile(&spans_ns, 0.99))
    }

    /// What a P99 is without overload: the median of those of the windows within a stretch that has none, since a few that the
    /// host held up say nothing of the line. 0 where no window has a message.
    #[must_use]
    pub fn usual_p99_ns(&self, stretch: Window) -> u64 {
        let ends = (stretch.from_ns + WINDOW_NS..=stretch.to_ns).step_by(STEP_NS as usize);
        let mut p99s: Vec<u64> = ends.filter_map(|to_ns| self.p99_ending_at(to_ns)).collect();
        p99s.sort_unstable();
        quantile(&p99s, 0.5)
    }

    /// When the line recovered from a load that fell at `fell_ns` of its clock; it was watched until `until_ns`, and without
    /// overload its P99 is `reference_ns`.
    #[must_use]
    pub fn recovery(&self, fell_ns: u64, until_ns: u64, reference_ns: u64) -> Recovery {
        let limit_ns = (reference_ns as f64 * TOLERANCE) as u64;
        let is_usual = |to_ns: &u64| {
            self.p99_ending_at(*to_ns)
                .is_some_and(|p99| p99 <= limit_ns)
        };
        let mut ends = (fell_ns + WINDOW_NS..=until_ns).step_by(STEP_NS as usize);
        Recovery {
            reference_ns,
            before_ns: self.p99_ending_at(fell_ns).unwrap_or(0),
            took_ns: ends.find(is_usual).map(|to_ns| to_ns - fell_ns),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message every 10 us, done with at once, that took so long.
    fn every(window: Window, span_ns: u32) -> impl Iterator<Item = Passage> {
        (window.from_ns..window.to_ns)
            .step_by(10_000)
            .map(move |at_ns| Passage {
                t_offer_ns: at_ns - u64::from(span_ns),
                service_ns: span_ns,
                ..Passage::default()
            })
    }

    const FELL_NS: u64 = 1_000_000_000;

    fn recovered(quiet_from_ns: u64, quiet_span_ns: u32) -> Recovery {
        let loud = Window {
            from_ns: FELL_NS - WINDOW_NS,
            to_ns: quiet_from_ns,
        };
        let quiet = Window {
            from_ns: quiet_from_ns,
            to_ns: FELL_NS + 300_000_000,
        };
        let passages: Vec<Passage> = every(loud, 400_000)
            .chain(every(quiet, quiet_span_ns))
            .collect();
        Course::of(passages.iter()).recovery(FELL_NS, quiet.to_ns, 12_000)
    }

    #[test]
    fn it_takes_until_a_whole_window_is_quiet() {
        let at_once = recovered(FELL_NS, 12_000);
        assert_eq!(at_once.took_ns, Some(WINDOW_NS));
        assert_eq!(at_once.before_ns, 400_000);
        // One of a hundred may be loud, so the window may begin a tenth of a millisecond too early.
        assert_eq!(
            recovered(FELL_NS + 55_000_000, 15_000).took_ns,
            Some(65_000_000)
        );
        assert_eq!(recovered(FELL_NS, 15_001).took_ns, None);
    }

    #[test]
    fn a_line_that_delivers_nothing_has_not_recovered() {
        let course = Course::default();
        assert_eq!(course.recovery(FELL_NS, 2 * FELL_NS, 12_000).took_ns, None);
    }

    #[test]
    fn a_few_windows_that_were_held_up_do_not_change_what_is_usual() {
        let window = |from_ns, to_ns| Window { from_ns, to_ns };
        let quiet = every(window(FELL_NS, FELL_NS + 100_000_000), 12_000);
        let held_up = every(window(FELL_NS, FELL_NS + 20_000_000), 900_000);
        let passages: Vec<Passage> = quiet.chain(held_up).collect();
        let course = Course::of(passages.iter());
        assert_eq!(
            course.usual_p99_ns(window(FELL_NS, FELL_NS + 100_000_000)),
            12_000
        );
        assert_eq!(course.usual_p99_ns(window(0, WINDOW_NS)), 0);
    }
}
