//! When to send what has gathered: as late as the budget of the tightest item allows, and at once when a batch is full.
//!
//! Invariant: if it is asked often enough, a flush ends before the first of its items is due.
//!
//! A fixed delay, as in Nagle's algorithm (RFC 896) or a debounce by a timer, costs every item the same, whether it had time
//! or not. Here an item waits only for time that it has to spare: its slack less what a flush takes. Later items of the same
//! batch never put a flush off, so what keeps changing is still sent. Clipper (Crankshaw et al., NSDI 2017) bounds its batches by a latency
//! objective too; there the size of the batch gives way.

use super::bounds::{Amount, BoundError, span, within};
use super::late::NEVER_NS;
use super::service::ServiceTime;
use crate::base::limits::DEPTH_MAX;

/// What a [`Flush`] holds on to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlushParams {
    batch_max: u32,
    takes_ns: u64,
    wait_max_ns: u64,
}

impl FlushParams {
    /// At most `batch_max` items at once; a flush is planned to take `takes_ns`, or what it was measured to take if that is
    /// more; no item waits longer than `wait_max_ns`, even if it has more time or no deadline at all.
    ///
    /// # Errors
    /// The batch is not 1 to [`DEPTH_MAX`], or one of the spans is not one that a policy may have.
    pub fn new(batch_max: u32, takes_ns: u64, wait_max_ns: u64) -> Result<FlushParams, BoundError> {
        within(
            "batch",
            batch_max.into(),
            1,
            DEPTH_MAX as u64,
            Amount::Count,
            "64",
        )?;
        span("flush", takes_ns, "\"5us\"")?;
        span("wait_max", wait_max_ns, "\"1ms\"")?;
        Ok(FlushParams {
            batch_max,
            takes_ns,
            wait_max_ns,
        })
    }

    /// Items at once.
    #[must_use]
    pub const fn batch_max(&self) -> u32 {
        self.batch_max
    }

    /// What a flush is planned to take at least, in nanoseconds.
    #[must_use]
    pub const fn takes_ns(&self) -> u64 {
        self.takes_ns
    }

    /// Longest that an item waits, in nanoseconds.
    #[must_use]
    pub const fn wait_max_ns(&self) -> u64 {
        self.wait_max_ns
    }
}

impl Default for FlushParams {
    /// 64 items, which is what Linux sends as one train of datagrams (`UDP_MAX_SEGMENTS`); 5 us for a flush, which is what a
    /// send over loopback takes; 1 ms at most, so that a reader sees a change within a frame of its screen.
    fn default() -> FlushParams {
        FlushParams {
            batch_max: 64,
            takes_ns: 5_000,
            wait_max_ns: 1_000_000,
        }
    }
}

/// What has gathered for one flush, and when that has to begin.
///
/// ```
/// use hopline::overload::{Flush, FlushParams};
/// let mut flush = Flush::new(FlushParams::default());
/// // Items with 500 us and 100 us to go: the second one decides.
/// assert!(!flush.add(0, 500_000));
/// assert!(!flush.add(1_000, 101_000));
/// assert_eq!(flush.at_ns(), Some(96_000));
/// assert!(!flush.is_due(95_999));
/// assert!(flush.is_due(96_000));
/// flush.flushed(4_000);
/// assert_eq!(flush.at_ns(), None);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Flush {
    params: FlushParams,
    items: u32,
    /// When the first of the items has to be out.
    due_ns: u64,
    took: ServiceTime,
}

impl Flush {
    /// One that has nothing.
    #[must_use]
    pub const fn new(params: FlushParams) -> Flush {
        Flush {
            params,
            items: 0,
            due_ns: NEVER_NS,
            took: ServiceTime::new(),
        }
    }

    /// An item has come that is due at `due_ns` ([`NEVER_NS`] if it has no deadline). Gives whether to flush now.
    #[inline]
    #[must_use]
    pub fn add(&mut self, now_ns: u64, due_ns: u64) -> bool {
        let latest_ns = now_ns
            .saturating_add(self.params.wait_max_ns)
            .saturating_add(self.takes_ns());
        self.due_ns = self.due_ns.min(due_ns).min(latest_ns);
        self.items = self.items.saturating_add(1);
        self.is_due(now_ns)
    }

    /// Whether to flush now.
    #[inline]
    #[must_use]
    pub fn is_due(&self, now_ns: u64) -> bool {
        self.items >= self.params.batch_max
            || self.items > 0 && now_ns.saturating_add(self.takes_ns()) >= self.due_ns
    }

    /// When to flush at the latest, unless items come that change it; `None` if there is nothing to flush. For the timer of a
    /// loop that rests.
    #[must_use]
    pub fn at_ns(&self) -> Option<u64> {
        (self.items > 0).then(|| self.due_ns.saturating_sub(self.takes_ns()))
    }

    /// All that had gathered is out, and that took so long.
    #[inline]
    pub fn flushed(&mut self, took_ns: u64) {
        self.took.measured(took_ns);
        self.items = 0;
        self.due_ns = NEVER_NS;
    }

    /// Items that have gathered.
    #[must_use]
    pub const fn items(&self) -> u32 {
        self.items
    }

    /// What a flush is planned to take now, in nanoseconds.
    #[inline]
    #[must_use]
    pub fn takes_ns(&self) -> u64 {
        self.params.takes_ns.max(self.took.likely_ns())
    }

    /// The parameters.
    #[must_use]
    pub const fn params(&self) -> FlushParams {
        self.params
    }

    /// Goes on with other parameters: what has gathered keeps the due time that it had.
    pub const fn set_params(&mut self, params: FlushParams) {
        self.params = params;
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_full_batch_goes_at_once() {
        let mut flush = Flush::new(FlushParams::new(3, 5_000, MS).unwrap());
        assert!(!flush.add(0, NEVER_NS));
        assert!(!flush.add(0, NEVER_NS));
        assert!(flush.add(0, NEVER_NS));
        assert_eq!(flush.items(), 3);
    }

    #[test]
    fn an_item_without_time_goes_at_once() {
        let mut flush = Flush::new(FlushParams::default());
        assert!(flush.add(MS, MS - 1));
        flush.flushed(1_000);
        assert!(flush.add(MS, MS + 5_000));
        flush.flushed(1_000);
        assert!(!flush.add(MS, MS + 5_001));
    }

    #[test]
    fn one_without_a_deadline_waits_no_longer_than_it_may() {
        let mut flush = Flush::new(FlushParams::default());
        assert!(!flush.add(7, NEVER_NS));
        assert_eq!(flush.at_ns(), Some(MS + 7));
    }

    #[test]
    fn a_flush_that_takes_longer_begins_sooner() {
        let mut flush = Flush::new(FlushParams::default());
        for _ in 0..200 {
            let _ = flush.add(0, MS);
            flush.flushed(50_000);
        }
        let _ = flush.add(0, MS);
        assert!(flush.at_ns().unwrap() <= 950_000);
    }

    #[test]
    fn what_keeps_changing_is_still_sent() {
        let mut flush = Flush::new(FlushParams::new(1_000, 5_000, MS).unwrap());
        let first = (0..).find(|&at| flush.add(at * 10_000, at * 10_000 + 300_000));
        assert_eq!(first, Some(30));
    }

    #[test]
    fn parameters_change_while_it_runs() {
        let mut flush = Flush::new(FlushParams::default());
        for _ in 0..10 {
            assert!(!flush.add(0, MS));
        }
        flush.set_params(FlushParams::new(10, 5_000, MS).unwrap());
        assert!(flush.is_due(0));
        let error = FlushParams::new(0, 5_000, MS).unwrap_err();
        assert_eq!(
            error.to_string(),
            "batch is 0, and not between 1 and 1048576; write for example 64"
        );
        assert!(FlushParams::new(1, 0, MS).is_err());
        let preset = FlushParams::default();
        let again = FlushParams::new(preset.batch_max, preset.takes_ns, preset.wait_max_ns);
        assert_eq!(again, Ok(preset));
    }

    proptest! {
        /// A loop that looks each microsecond, flushes of 4 us, items of any slack that leaves time for one.
        #[test]
        fn no_item_is_late_and_none_goes_sooner_than_it_has_to(
            items in vec((0u64..60_000, 7_000u64..2_000_000), 1..60), batch_max in 1u32..20,
        ) {
            const STEP_NS: u64 = 1_000;
            let mut flush = Flush::new(FlushParams::new(batch_max, 6_000, MS).unwrap());
            let mut gathered: Vec<(u64, u64)> = Vec::new();
            let (mut now_ns, mut next_ns) = (0, 0);
            let mut items = items.into_iter();
            let mut coming = items.next();
            while coming.is_some() || !gathered.is_empty() {
                if let Some((gap_ns, slack_ns)) = coming && next_ns + gap_ns <= now_ns {
                    next_ns = now_ns;
                    gathered.push((now_ns, now_ns + slack_ns));
                    let _ = flush.add(now_ns, now_ns + slack_ns);
                    coming = items.next();
                }
                if flush.is_due(now_ns) {
                    let done_ns = now_ns + 4_000;
                    prop_assert!(gathered.iter().all(|&(_, due_ns)| done_ns <= due_ns));
                    let full = gathered.len() as u32 >= batch_max;
                    let tight = gathered.iter().any(|&(at_ns, due_ns)| {
                        due_ns.min(at_ns + MS + 6_000) <= now_ns + 6_000 + STEP_NS
                    });
                    prop_assert!(full || tight);
                    gathered.clear();
                    flush.flushed(4_000);
                }
                now_ns += STEP_NS;
            }
        }
    }
}
