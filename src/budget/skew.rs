//! Two clocks that never agree: the sender's, by which events are dated, and the receiver's.
//!
//! What lies between an event's time and its receipt is the way and the difference of the clocks, and nobody can tell one from
//! the other. So nothing of it is judged: budgets count from the receipt. What can be told is how the sum changes: a *drift*, by the
//! least of each second, and a *step*, where the least jumps and stays there.
//!
//! Invariant: measures and changes nothing; constant memory; a negative latency counts as zero and is counted.

use std::sync::OnceLock;

use serde::Serialize;

use crate::base::Counter;
use crate::hist::Totals;

use super::report::Percentiles;
use super::slope::Slope;

/// The stretches of which the least latency counts, in nanoseconds.
const WINDOW_NS: u64 = 1_000_000_000;

/// A change of the least from one stretch to the next that is a step if it stays, in nanoseconds: more than a queue on the way
/// usually adds to the quickest message of a second, and events are often dated to the millisecond.
const STEP_NS: f64 = 20_000_000.0;

/// What lies between the sender's time and the receiver's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SkewReport {
    /// Messages whose event time and time of receipt are known.
    pub messages: u64,
    /// From the event to the receipt, in nanoseconds, what is negative as zero: the way, and the difference of the clocks. Absent
    /// until the source has ended.
    pub latency_ns: Option<Percentiles>,
    /// The least of it, in nanoseconds, below zero where the sender's clock is ahead.
    pub least_ns: i64,
    /// Negative ones.
    pub clamped: u64,
    /// How fast the receiver's clock gains on the sender's, in parts per billion; absent for less than five seconds.
    pub drift_ppb: Option<i64>,
    /// Steps of one of the clocks.
    pub steps: u64,
    /// The latest step, in nanoseconds: above zero where receipts got later.
    pub step_ns: i64,
    /// Smoothed change of the latency from message to message, in nanoseconds (RFC 3550, section 6.4.1).
    pub jitter_ns: u64,
}

impl SkewReport {
    /// The most by which an event time lay after its receipt, in nanoseconds.
    #[must_use]
    pub const fn ahead_ns_max(&self) -> u64 {
        match self.least_ns {
            0.. => 0,
            ahead_ns => ahead_ns.unsigned_abs(),
        }
    }
}

/// What a source shows of the two clocks, for anybody to read while it runs.
#[derive(Debug, Default)]
pub struct SkewCounters {
    messages: Counter,
    clamped: Counter,
    steps: Counter,
    jitter_ns: Counter,
    /// These three may be below zero, and are kept as the same bits.
    least_ns: Counter,
    step_ns: Counter,
    drift_ppb: Counter,
    /// Whether there is a drift to tell.
    drifts: Counter,
    /// Too many figures for each look; given as the source ends.
    latency_ns: OnceLock<Percentiles>,
}

impl SkewCounters {
    /// What was seen; `None` before the first message.
    #[must_use]
    pub fn report(&self) -> Option<SkewReport> {
        let messages = self.messages.get();
        let signed = |counter: &Counter| counter.get() as i64;
        (messages > 0).then(|| SkewReport {
            messages,
            latency_ns: self.latency_ns.get().copied(),
            least_ns: signed(&self.least_ns),
            clamped: self.clamped.get(),
            drift_ppb: (self.drifts.get() > 0).then(|| signed(&self.drift_ppb)),
            steps: self.steps.get(),
            step_ns: signed(&self.step_ns),
            jitter_ns: self.jitter_ns.get(),
        })
    }
}

/// Watches the two clocks of one source.
#[derive(Debug)]
pub struct Skew {
    latency: Totals,
    least_ns: i64,
    clamped: u64,
    slope: Slope,
    /// What steps have added so far.
    stepped_ns: f64,
    /// The least of the stretch before, and of the one before a jump that may be a step.
    before_ns: Option<f64>,
    jumped_from_ns: Option<f64>,
    steps: u64,
    step_ns: f64,
    last_ns: Option<i64>,
    jitter_ns: f64,
}

impl Default for Skew {
    fn default() -> Skew {
        Skew::new()
    }
}

impl Skew {
    /// Of a source that begins. Allocates once.
    ///
    /// # Panics
    /// Never: totals without limits can always be made.
    #[must_use]
    pub fn new() -> Skew {
        Skew {
            latency: Totals::new(&[]).expect("no limits are not too many"),
            least_ns: i64::MAX,
            clamped: 0,
            slope: Slope::new(WINDOW_NS),
            stepped_ns: 0.0,
            before_ns: None,
            jumped_from_ns: None,
            steps: 0,
            step_ns: 0.0,
            last_ns: None,
            jitter_ns: 0.0,
        }
    }

    /// An event of `event_ns` by the sender's clock was received at `received_ns` by the receiver's.
    #[inline]
    pub fn note(&mut self, event_ns: u64, received_ns: u64) {
        let latency_ns = i128::from(received_ns) - i128::from(event_ns);
        let latency_ns =
            i64::try_from(latency_ns).unwrap_or(if latency_ns < 0 { i64::MIN } else { i64::MAX });
        self.latency.record(u64::try_from(latency_ns).unwrap_or(0));
        self.clamped += u64::from(latency_ns < 0);
        self.least_ns = self.least_ns.min(latency_ns);
        if let Some(last_ns) = self.last_ns.replace(latency_ns) {
            let change_ns = latency_ns.abs_diff(last_ns) as f64;
            self.jitter_ns += (change_ns - self.jitter_ns) / 16.0;
        }
        let apart_ns = latency_ns as f64 - self.stepped_ns;
        if let Some(least_ns) = self.slope.add(received_ns, apart_ns) {
            self.end_stretch(least_ns);
        }
    }

    /// A stretch has ended with that least latency, the steps before it taken off.
    fn end_stretch(&mut self, least_ns: f64) {
        if let Some(from_ns) = self.jumped_from_ns.take() {
            if (least_ns - from_ns).abs() >= STEP_NS {
                // It stayed.
                self.steps += 1;
                self.step_ns = least_ns - from_ns;
                self.stepped_ns += self.step_ns;
                self.slope.shift(self.step_ns);
                self.before_ns = Some(from_ns);
                return;
            }
        } else if let Some(before_ns) = self.before_ns
            && (least_ns - before_ns).abs() >= STEP_NS
        {
            self.jumped_from_ns = Some(before_ns);
            return;
        }
        self.before_ns = Some(least_ns);
    }

    /// Shows what was seen so far, all but the percentiles of the latency.
    pub fn tell(&self, shown: &SkewCounters) {
        let drift_ppb = self.slope.ppb();
        shown.clamped.set(self.clamped);
        shown.least_ns.set(self.least_ns as u64);
        shown.drift_ppb.set(drift_ppb.unwrap_or(0) as u64);
        shown.drifts.set(u64::from(drift_ppb.is_some()));
        shown.steps.set(self.steps);
        shown.step_ns.set(self.step_ns as i64 as u64);
        shown.jitter_ns.set(self.jitter_ns as u64);
        shown.messages.set(self.latency.count());
    }

    /// Shows what was seen in all: nothing more comes.
    pub fn end(&self, shown: &SkewCounters) {
        self.tell(shown);
        if self.latency.count() > 0 {
            // A source ends once.
            let _ = shown.latency_ns.set(Percentiles::of(&self.latency));
        }
    }
}

/// How evenly messages arrive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GapsReport {
    /// Gaps between a message and the one before it.
    pub gaps: u64,
    /// Their mean, in nanoseconds.
    pub mean_ns: u64,
    /// Their standard deviation, in nanoseconds: the root of their variance.
    pub deviation_ns: u64,
    /// The longest, in nanoseconds.
    pub longest_ns: u64,
}

/// What a source shows of the gaps between its messages, for anybody to read while it runs.
#[derive(Debug, Default)]
pub struct GapsCounters {
    gaps: Counter,
    mean_ns: Counter,
    deviation_ns: Counter,
    longest_ns: Counter,
}

impl GapsCounters {
    /// What was seen; `None` for fewer than two messages.
    #[must_use]
    pub fn report(&self) -> Option<GapsReport> {
        let gaps = self.gaps.get();
        (gaps > 0).then(|| GapsReport {
            gaps,
            mean_ns: self.mean_ns.get(),
            deviation_ns: self.deviation_ns.get(),
            longest_ns: self.longest_ns.get(),
        })
    }
}

/// Gaps between messages, by the receiver's clock: sums only, some nanoseconds a message.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gaps {
    last_ns: Option<u64>,
    gaps: u64,
    sum: f64,
    squares: f64,
    longest_ns: u64,
}

impl Gaps {
    /// A message arrived.
    #[inline]
    pub fn note(&mut self, at_ns: u64) {
        if let Some(last_ns) = self.last_ns.replace(at_ns) {
            let gap_ns = at_ns.saturating_sub(last_ns);
            self.gaps += 1;
            self.sum += gap_ns as f64;
            self.squares += gap_ns as f64 * gap_ns as f64;
            self.longest_ns = self.longest_ns.max(gap_ns);
        }
    }

    /// Shows what was seen so far.
    pub fn tell(&self, shown: &GapsCounters) {
        if self.gaps == 0 {
            return;
        }
        let mean = self.sum / self.gaps as f64;
        let variance = (self.squares / self.gaps as f64 - mean * mean).max(0.0);
        shown.mean_ns.set(mean.round() as u64);
        shown.deviation_ns.set(variance.sqrt().round() as u64);
        shown.longest_ns.set(self.longest_ns);
        shown.gaps.set(self.gaps);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    fn ended(skew: &Skew) -> Option<SkewReport> {
        let shown = SkewCounters::default();
        skew.end(&shown);
        shown.report()
    }

    /// A sender whose clock is 5 s behind, runs slower by `ppm`, and is set forward by `step_ms` after half a minute.
    fn watched(ppm: f64, step_ms: i64) -> SkewReport {
        let mut skew = Skew::new();
        for at in 0..6_000_u64 {
            let received_ns = 1_000 * SECOND_NS + at * SECOND_NS / 100;
            let way_ns = 2_000_000 + at % 13 * 100_000;
            let behind_ns = 5e9 + at as f64 * 1e7 * ppm / 1e6;
            let step_ns = if at >= 3_000 {
                step_ms as f64 * 1e6
            } else {
                0.0
            };
            let event_ns = received_ns as f64 - way_ns as f64 - behind_ns + step_ns;
            skew.note(event_ns as u64, received_ns);
        }
        ended(&skew).unwrap()
    }

    #[test]
    fn a_drift_is_told_with_and_without_a_step() {
        for ppm in [0.0, 50.0, -120.0] {
            for step_ms in [0, 300, -300] {
                let report = watched(ppm, step_ms);
                let drift = report.drift_ppb.unwrap() as f64 / 1e3;
                assert!((drift - ppm).abs() < 15.0, "{ppm} {step_ms}: {drift}");
                assert_eq!(report.steps, u64::from(step_ms != 0), "{ppm} {step_ms}");
                let off_ms = (report.step_ns + step_ms * 1_000_000).abs() / 1_000_000;
                assert!(off_ms <= 2, "{ppm} {step_ms}: {}", report.step_ns);
            }
        }
    }

    #[test]
    fn a_second_of_congestion_is_no_step() {
        let mut skew = Skew::new();
        for at in 0..2_000_u64 {
            let received_ns = 1_000 * SECOND_NS + at * SECOND_NS / 100;
            let queued_ns = if (1_000..1_100).contains(&at) {
                80_000_000
            } else {
                0
            };
            skew.note(received_ns - 1_000_000 - queued_ns, received_ns);
        }
        assert_eq!(ended(&skew).unwrap().steps, 0);
    }

    #[test]
    fn what_is_negative_is_clamped_and_counted() {
        let mut skew = Skew::new();
        assert_eq!(ended(&skew), None);
        skew.note(10, 4);
        skew.note(10, 12);
        skew.note(u64::MAX, 0);
        let shown = SkewCounters::default();
        skew.tell(&shown);
        let so_far = shown.report().unwrap();
        assert_eq!((so_far.messages, so_far.latency_ns), (3, None));
        skew.end(&shown);
        let report = shown.report().unwrap();
        assert_eq!((report.clamped, report.least_ns), (2, i64::MIN));
        assert_eq!(report.ahead_ns_max(), 1 << 63);
        let latency_ns = report.latency_ns.unwrap();
        assert_eq!((latency_ns.p50, latency_ns.max), (0, 2));
    }

    #[test]
    fn gaps_have_a_mean_and_a_spread() {
        let (mut gaps, shown) = (Gaps::default(), GapsCounters::default());
        gaps.note(100);
        gaps.tell(&shown);
        assert_eq!(shown.report(), None);
        for at_ns in [200, 400, 500, 700] {
            gaps.note(at_ns);
        }
        gaps.tell(&shown);
        let report = shown.report().unwrap();
        assert_eq!(
            (
                report.gaps,
                report.mean_ns,
                report.deviation_ns,
                report.longest_ns
            ),
            (4, 150, 50, 200)
        );
    }
}
