//! The hops beyond the line, of all clients of an edge: how long samples took, and the answers of which nothing was taken.
//!
//! A client says when a sample came and when it was on its screen, by the server's clock as far as it knows it. Between its writing
//! and its answer there is so much time by the server's own clock, and no client can add more than that: it can lie within it, once
//! for each sample that it was sent.
//!
//! Invariant: constant memory; every answer with times was taken, or is counted by why it was not; a negative span counts as zero
//! and is counted.

use super::client::Now;
use super::message::Ack;
use crate::base::limits::{EDGE_CLOCK_OFF_NS, EDGE_SAMPLE_NS_MAX};
use crate::budget::{Beyond, BeyondBudgets, BeyondReport, Budget};
use crate::hist::Totals;

crate::reasons! {
    /// Why nothing was taken of an acknowledgement.
    pub enum Untaken {
        /// It is of what was never sent to that client.
        NeverSent = "never_sent",
        /// It has times of an event that is no sample, or was answered before, or is not kept any more.
        NotSampled = "not_sampled",
        /// It came too long after the event was sent.
        Late = "late",
        /// Its times are before the event was sent, or yet to come: the client does not know how far its clock is off.
        Clock = "clock",
        /// The event was on the screen before it came.
        PaintFirst = "paint_before_rx",
        /// It has the time of the screen alone.
        NoRx = "no_rx",
    }
}

/// The hops beyond the line, as far as samples of them were taken.
#[derive(Clone, Debug)]
pub struct Hops {
    spans: [Totals; Beyond::COUNT],
    budgets: BeyondBudgets,
    /// Half of the round trips that the clocks of clients rest on.
    uncertain: Totals,
    untaken: [u64; Untaken::ALL.len()],
    clamped: u64,
    least_ns: Option<i64>,
}

impl Default for Hops {
    fn default() -> Hops {
        Hops::new(BeyondBudgets::default())
    }
}

impl Hops {
    /// Without samples, counted over these limits. Allocates once.
    ///
    /// # Panics
    /// Never: a budget has no more limits than totals may have.
    #[must_use]
    pub fn new(budgets: BeyondBudgets) -> Hops {
        let totals = |budget: &Option<Budget>| {
            let limits = budget.as_ref().map_or(&[][..], Budget::limits);
            let limits: Vec<u64> = limits.iter().map(|limit| limit.limit_ns).collect();
            Totals::new(&limits).expect("a budget has no more limits than totals may have")
        };
        Hops {
            spans: core::array::from_fn(|at| totals(&budgets[at])),
            uncertain: totals(&None),
            untaken: [0; Untaken::ALL.len()],
            clamped: 0,
            least_ns: None,
            budgets,
        }
    }

    /// A sample was handed to a socket, and the edge had it for so long.
    pub(super) fn queued(&mut self, ns: u64) {
        self.spans[Beyond::EdgeQueue as usize].record(ns);
    }

    /// Nothing is taken of an acknowledgement.
    pub(super) fn pass_over(&mut self, why: Untaken) {
        self.untaken[why as usize] += 1;
    }

    /// The times of an acknowledgement that came at `now`, of a sample that was handed to the socket at `written`.
    ///
    /// # Errors
    /// They cannot be; nothing is taken of them.
    pub(super) fn answered(
        &mut self,
        ack: &Ack<'_>,
        written: Now,
        now: Now,
    ) -> Result<(), Untaken> {
        let Some(received_us) = ack.received_us else {
            return Err(Untaken::NoRx);
        };
        if now.ns.saturating_sub(written.ns) > EDGE_SAMPLE_NS_MAX {
            return Err(Untaken::Late);
        }
        let off_us = EDGE_CLOCK_OFF_NS / 1_000;
        // By the server's own time, so that a step of the wall's does not make it older.
        let latest_us = written.us + (now.ns.saturating_sub(written.ns)) / 1_000 + off_us;
        let shown_us = ack.painted_us.unwrap_or(received_us);
        if received_us + off_us < written.us || received_us > latest_us || shown_us > latest_us {
            return Err(Untaken::Clock);
        }
        if shown_us < received_us {
            return Err(Untaken::PaintFirst);
        }
        let wire_us = received_us as i64 - written.us as i64;
        self.least_ns = Some(self.least_ns.unwrap_or(i64::MAX).min(1_000 * wire_us));
        self.clamped += u64::from(wire_us < 0);
        self.spans[Beyond::EdgeWire as usize].record(1_000 * u64::try_from(wire_us).unwrap_or(0));
        if ack.painted_us.is_some() {
            self.spans[Beyond::ClientPaint as usize].record(1_000 * (shown_us - received_us));
        }
        if let Some(us) = ack.round_trip_us {
            self.uncertain.record(500 * us);
        }
        Ok(())
    }

    /// How long samples took on that hop.
    #[must_use]
    pub fn totals(&self, hop: Beyond) -> &Totals {
        &self.spans[hop as usize]
    }

    /// What that hop owes, if anything was said.
    #[must_use]
    pub fn budget(&self, hop: Beyond) -> Option<&Budget> {
        self.budgets[hop as usize].as_ref()
    }

    /// Each hop, for a report.
    #[must_use]
    pub fn reports(&self) -> Vec<BeyondReport> {
        let hops = Beyond::ALL.iter();
        hops.map(|hop| BeyondReport::new(*hop, self.totals(*hop), self.budget(*hop)))
            .collect()
    }

    /// Acknowledgements of which nothing was taken, by reason.
    #[must_use]
    pub fn untaken(&self) -> [u64; Untaken::ALL.len()] {
        self.untaken
    }

    /// Samples that came before they were sent, by the client's clock: they count as zero on [`Beyond::EdgeWire`].
    #[must_use]
    pub fn clamped(&self) -> u64 {
        self.clamped
    }

    /// The least that a sample took on [`Beyond::EdgeWire`], in nanoseconds: below zero where the clock of a client is behind.
    #[must_use]
    pub fn least_ns(&self) -> Option<i64> {
        self.least_ns
    }

    /// By how much the clocks of clients may be wrong that were corrected: half of the round trip that each rests on, a value for each
    /// answer that told it.
    #[must_use]
    pub fn uncertain(&self) -> &Totals {
        &self.uncertain
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Reason as _;
    use crate::edge::ChannelName;

    const S: u64 = 1_000_000_000;
    const WRITTEN: Now = Now {
        ns: 5 * S,
        us: 1_764_500_000_000_000,
    };

    /// What comes of an answer that came so many microseconds after the writing, with times after it.
    fn answer(came: u64, rx: i64, paint: Option<i64>) -> (Hops, Result<(), Untaken>) {
        let time = |after: i64| WRITTEN.us.checked_add_signed(after).unwrap();
        let ack = Ack {
            channel: ChannelName::new("dag/line").unwrap(),
            offset: 16,
            received_us: Some(time(rx)),
            painted_us: paint.map(time),
            round_trip_us: Some(300),
        };
        let now = Now {
            ns: WRITTEN.ns + 1_000 * came,
            us: WRITTEN.us + came,
        };
        let mut hops = Hops::default();
        let done = hops.answered(&ack, WRITTEN, now);
        (hops, done)
    }

    fn max_ns(hops: &Hops) -> [u64; Beyond::COUNT] {
        core::array::from_fn(|at| hops.spans[at].max_ns())
    }

    #[test]
    fn an_answer_gives_the_wire_the_screen_and_how_sure_that_is() {
        let (hops, done) = answer(20_000, 1_500, Some(17_500));
        assert_eq!(done, Ok(()));
        assert_eq!(max_ns(&hops), [0, 1_500_000, 16_000_000]);
        assert_eq!((hops.uncertain().max_ns(), hops.clamped()), (150_000, 0));
        let (hops, _) = answer(20_000, 1_500, None);
        assert_eq!(hops.totals(Beyond::ClientPaint).count(), 0);
    }

    #[test]
    fn what_came_before_it_was_sent_counts_as_zero_and_is_counted() {
        let (hops, done) = answer(20_000, -400, Some(15_600));
        assert_eq!(done, Ok(()));
        assert_eq!(max_ns(&hops), [0, 0, 16_000_000]);
        assert_eq!((hops.clamped(), hops.least_ns()), (1, Some(-400_000)));
    }

    #[test]
    fn what_cannot_be_is_not_taken() {
        let hour = 3_600 * 1_000_000;
        for (came, rx, paint, why) in [
            (20_000, -hour, Some(16_000 - hour), Untaken::Clock),
            (20_000, hour, Some(hour + 16_000), Untaken::Clock),
            (20_000, 1_000, Some(hour), Untaken::Clock),
            (20_000, 1_000, Some(999), Untaken::PaintFirst),
            (60_000_001, 1_000, Some(2_000), Untaken::Late),
        ] {
            let (hops, done) = answer(came, rx, paint);
            assert_eq!(done, Err(why), "{came} {rx} {paint:?}");
            assert_eq!(max_ns(&hops), [0; Beyond::COUNT], "{}", why.name());
            assert!(hops.least_ns().is_none() && hops.uncertain().count() == 0);
        }
    }

    #[test]
    fn the_bounds_are_a_second_each_way() {
        for (rx, fits) in [
            (-1_000_000, true),
            (-1_000_001, false),
            (1_020_000, true),
            (1_020_001, false),
        ] {
            assert_eq!(answer(20_000, rx, None).1.is_ok(), fits, "{rx}");
        }
    }
}
