//! How faithful a replay is: what it brought, in what order, and how far from the times at which it was due.
//!
//! The *send error* is the time from a message's due time, which is absolute, to its hand-over. A *stall* is a stretch in which
//! a message was due and the source did not get its turn, whoever took it: the host, or another node on its loop. What became due
//! in one, or behind what did, is late because of it; figures *apart from stalls* leave that out, and say how much it is.
//!
//! The *slope* is how fast the least send error of each tenth of a second grows against the system's `CLOCK_MONOTONIC`: an error
//! in the scale of the line's clock shows there and nowhere else.
//!
//! Invariant: measures and changes nothing; constant memory.

use serde::Serialize;

use crate::hist::Totals;

use super::report::Percentiles;
use super::slope::Slope;

/// A stretch without a turn that is called a stall, in nanoseconds: half of what a send error may be, and many times what a turn
/// of a source takes.
pub const STALL_NS: u64 = 25_000;

/// Up to this send error a message is on time, in nanoseconds: the bar of the send error's p99.
pub const ON_TIME_NS: u64 = 50_000;

/// How often the system's clock is read, in nanoseconds: it costs tens of them.
const LOOK_NS: u64 = 1_000_000;

/// The stretches of which the least send error counts.
const WINDOW_NS: u64 = 100_000_000;

/// What came of a replay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FidelityReport {
    /// How many times the recorded pace it ran at; absent flat out.
    pub speed: Option<String>,
    /// Messages that were handed over.
    pub messages: u64,
    /// Messages whose recorded time lies before that of an earlier one; they left in the file's order all the same.
    pub time_backwards: u64,
    /// What was handed over, in its order, without times: the same capture gives the same, at any speed. In hexadecimal.
    pub content_hash: String,
    /// Whether it is the one that the recorder had at that place; absent where the file has none.
    pub hash_matches: Option<bool>,
    /// Send errors of all messages, in nanoseconds.
    pub send_error_ns: Percentiles,
    /// The same without messages that stalls made late.
    pub apart_from_stalls_ns: Percentiles,
    /// Messages that stalls made late.
    pub stalled_messages: u64,
    /// Stalls.
    pub stalls: u64,
    /// All of them together, in nanoseconds.
    pub stalled_ns: u64,
    /// The longest, in nanoseconds.
    pub stall_ns_max: u64,
    /// Longest time from the end of a stall until a message was on time again, in nanoseconds.
    pub catch_up_ns_max: u64,
    /// How fast the least send error grows against `CLOCK_MONOTONIC`, in parts per billion; absent for less than half a second.
    pub slope_ppb: Option<i64>,
}

/// Measures a replay that has a schedule.
#[derive(Debug)]
pub struct Fidelity {
    all: Totals,
    apart: Totals,
    turned_ns: Option<u64>,
    /// When the latest stall ended, until what it made late has left.
    stalled_until_ns: Option<u64>,
    stalls: u64,
    stalled_ns: u64,
    stall_ns_max: u64,
    catch_up_ns_max: u64,
    looked_ns: u64,
    /// The line's time and the system's at the first look.
    began: Option<(u64, u64)>,
    slope: Slope,
}

impl Default for Fidelity {
    fn default() -> Fidelity {
        Fidelity::new()
    }
}

impl Fidelity {
    /// Of a replay that begins. Allocates once.
    ///
    /// # Panics
    /// Never: totals without limits can always be made.
    #[must_use]
    pub fn new() -> Fidelity {
        let totals = || Totals::new(&[]).expect("no limits are not too many");
        Fidelity {
            all: totals(),
            apart: totals(),
            turned_ns: None,
            stalled_until_ns: None,
            stalls: 0,
            stalled_ns: 0,
            stall_ns_max: 0,
            catch_up_ns_max: 0,
            looked_ns: 0,
            began: None,
            slope: Slope::new(WINDOW_NS),
        }
    }

    /// The source has its turn at `now_ns`, and its next message is due at `due_ns`.
    #[inline]
    pub fn turned(&mut self, now_ns: u64, due_ns: u64) {
        let last_ns = self.turned_ns.replace(now_ns).unwrap_or(now_ns);
        let span_ns = now_ns.saturating_sub(last_ns.max(due_ns));
        if span_ns >= STALL_NS {
            self.stalls += 1;
            self.stalled_ns += span_ns;
            self.stall_ns_max = self.stall_ns_max.max(span_ns);
            self.stalled_until_ns = Some(now_ns);
        }
    }

    /// A message that was due at `due_ns` is handed over at `now_ns`; `system_ns` reads the system's clock, now and then.
    #[inline]
    pub fn sent(&mut self, due_ns: u64, now_ns: u64, system_ns: impl FnOnce() -> u64) {
        let error_ns = now_ns.saturating_sub(due_ns);
        self.all.record(error_ns);
        // A burst is a turn as well, or its own length would be a stall.
        self.turned_ns = Some(now_ns);
        match self.stalled_until_ns {
            Some(until_ns) if due_ns >= until_ns && error_ns <= ON_TIME_NS => {
                self.catch_up_ns_max = self.catch_up_ns_max.max(now_ns.saturating_sub(until_ns));
                self.stalled_until_ns = None;
                self.apart.record(error_ns);
            }
            Some(_) => {}
            None => self.apart.record(error_ns),
        }
        if now_ns.saturating_sub(self.looked_ns) >= LOOK_NS {
            self.looked_ns = now_ns;
            let system_ns = system_ns();
            let (line_began_ns, system_began_ns) = *self.began.get_or_insert((now_ns, system_ns));
            let due_after_ns = due_ns as f64 - line_began_ns as f64;
            let after_ns = system_ns.saturating_sub(system_began_ns);
            self.slope.add(after_ns, after_ns as f64 - due_after_ns);
        }
    }

    /// What came of it, into a report that knows what was brought.
    pub fn report(&self, report: &mut FidelityReport) {
        report.send_error_ns = Percentiles::of(&self.all);
        report.apart_from_stalls_ns = Percentiles::of(&self.apart);
        report.stalled_messages = self.all.count() - self.apart.count();
        report.stalls = self.stalls;
        report.stalled_ns = self.stalled_ns;
        report.stall_ns_max = self.stall_ns_max;
        report.catch_up_ns_max = self.catch_up_ns_max;
        report.slope_ppb = self.slope.ppb();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(fidelity: &Fidelity) -> FidelityReport {
        let mut report = FidelityReport::default();
        fidelity.report(&mut report);
        report
    }

    #[test]
    fn what_a_stall_made_late_is_told_from_the_rest() {
        let mut fidelity = Fidelity::new();
        let mut now_ns = 1_000_000;
        for due_ns in (1_000_000..2_000_000).step_by(10_000) {
            now_ns = due_ns + 100;
            fidelity.turned(now_ns, due_ns);
            fidelity.sent(due_ns, now_ns, || now_ns);
        }
        // 300 us without a turn: thirty are due by then, and leave at once.
        now_ns += 300_000;
        fidelity.turned(now_ns, 2_000_000);
        for due_ns in (2_000_000..2_290_000).step_by(10_000) {
            fidelity.sent(due_ns, now_ns, || now_ns);
            now_ns += 1_000;
        }
        for due_ns in (2_320_000..2_500_000).step_by(10_000) {
            now_ns = now_ns.max(due_ns) + 100;
            fidelity.turned(now_ns, due_ns);
            fidelity.sent(due_ns, now_ns, || now_ns);
        }
        let report = report(&fidelity);
        // From 2 ms on something was due.
        assert_eq!((report.stalls, report.stall_ns_max), (1, 290_100));
        assert_eq!(report.stalled_messages, 29);
        assert!(report.send_error_ns.max >= 290_000);
        assert_eq!(report.apart_from_stalls_ns.max, 100);
        assert!(report.catch_up_ns_max > 0 && report.catch_up_ns_max < 100_000);
    }

    #[test]
    fn a_line_clock_of_a_wrong_scale_has_a_slope() {
        for (ppm, slope_ppb) in [(0.0, 0), (3.0, 3_000), (-20.0, -20_000)] {
            let mut fidelity = Fidelity::new();
            for due_ns in (0..10_000_000_000_u64).step_by(2_000_000) {
                let late_ns = due_ns % 7_000_000 / 1_000;
                let now_ns = 1_000_000_000 + due_ns + late_ns;
                // The system's clock runs faster by that.
                let system_ns = now_ns as f64 * (1.0 + ppm / 1e6);
                fidelity.turned(now_ns, now_ns);
                fidelity.sent(1_000_000_000 + due_ns, now_ns, || system_ns as u64);
            }
            let found = report(&fidelity).slope_ppb.unwrap();
            assert!((found - slope_ppb).abs() < 60, "{ppm}: {found}");
        }
    }
}
