//! What a sequenced source counts, for its ledger and for the report.
//!
//! Invariant: a message is counted as received once, when it is known what became of it.

use std::sync::Arc;

use crate::base::{Counter, Reason as _, Reject};
use crate::budget::IngressCounters;
use crate::budget::sequenced::SequencedCounters;
use crate::feed::Sequenced;
use crate::feed::packets::PacketReject;
use crate::feed::sequenced::{LINES_MAX, LineCounts, State};

/// What was told so far.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Whose receive stamps there are, until that was told.
    pub(super) wire_clock: Option<String>,
    /// Messages that were not handed out and are in the source's ledger.
    duplicates: u64,
    out_of_turn: u64,
    unheld: u64,
    /// Messages of a datagram in hand that nobody got to, by line: after a panic.
    unseen: [u64; LINES_MAX],
}

/// Names of the states, in their order.
const STATES: &[&str] = &[
    State::Live.name(),
    State::Recovering.name(),
    State::Gap.name(),
    State::Stale.name(),
];

/// Counters of a feed of so many lines.
pub(super) fn counters(lines: usize) -> Arc<SequencedCounters> {
    let counters = SequencedCounters::new(lines, PacketReject::NAMES, STATES);
    counters.state.set(State::Stale as u64);
    Arc::new(counters)
}

fn under_a_heading(counts: &LineCounts) -> u64 {
    let handed = counts.first + counts.duplicate;
    handed + counts.late + counts.old + counts.straggler + counts.unheld
}

impl Told {
    /// Messages of datagrams that were taken, and that are under no heading because a handler panicked before
    /// them: how many.
    pub(super) fn leave_unseen(&mut self, feed: &Sequenced, lines: usize) -> u64 {
        for (at, unseen) in self.unseen.iter_mut().enumerate().take(lines) {
            if let Some(counts) = feed.line(at) {
                *unseen = counts.messages.saturating_sub(under_a_heading(counts));
            }
        }
        self.unseen.iter().sum()
    }

    /// Tells all.
    pub(super) fn tell(
        &mut self,
        feed: &Sequenced,
        counters: &Arc<SequencedCounters>,
        ingress: &IngressCounters,
    ) {
        // The same each time.
        let _ = ingress.sequenced.set(Arc::clone(counters));
        if let Some(whose) = self.wire_clock.take() {
            let _ = ingress.wire_clock.set(whose);
        }
        let (mut duplicates, mut out_of_turn, mut unheld) = (0, 0, 0);
        for (at, line) in counters.lines.iter().enumerate() {
            let Some(counts) = feed.line(at) else { break };
            duplicates += counts.duplicate;
            out_of_turn += counts.late + counts.old + counts.straggler;
            unheld += counts.unheld;
            let unseen = self.unseen.get(at).copied().unwrap_or(0);
            for (counter, count) in line.rejected.iter().zip(counts.rejected) {
                counter.set(count);
            }
            let counts: [(&Counter, u64); 13] = [
                (&line.packets, counts.packets),
                (&line.bytes, counts.bytes),
                (&line.heartbeats, counts.heartbeats),
                (&line.messages, counts.messages.saturating_sub(unseen)),
                (&line.first, counts.first),
                (&line.duplicate, counts.duplicate),
                (&line.late, counts.late),
                (&line.old, counts.old),
                (&line.straggler, counts.straggler),
                (&line.unheld, counts.unheld),
                (&line.missed, counts.missing),
                (&line.reordered, counts.reordered),
                (&line.repeated, counts.repeated),
            ];
            for (counter, count) in counts {
                counter.set(count);
            }
        }
        let new = |now: u64, told: &mut u64| now - core::mem::replace(told, now);
        let late = new(out_of_turn, &mut self.out_of_turn);
        let too_long = new(unheld, &mut self.unheld);
        let again = new(duplicates, &mut self.duplicates);
        ingress.received.add(late + too_long + again);
        ingress.duplicates.add(again);
        ingress.rejected[Reject::OutOfTurn.index()].add(late);
        ingress.rejected[Reject::TooLong.index()].add(too_long);
        let union = feed.union();
        counters.state.set(feed.state() as u64);
        counters.delivered.set(union.delivered);
        counters.lost.set(union.lost);
        counters.held.set(feed.held() as u64);
        counters.held_max.set(union.held_max);
        counters.gaps.set(union.gaps);
        counters.sessions.set(union.sessions);
        counters.restarts.set(union.restarts);
        counters.ended.set(union.ended);
        counters.stale.set(union.stale);
    }
}
