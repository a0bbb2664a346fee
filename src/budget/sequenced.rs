//! What a source of a sequenced feed counts, a line and in union, and which sequences were lost.
//!
//! - a line: messages = first + duplicate + late + old + straggler + unheld;
//! - the lines together: first = delivered + held, and nothing is held at the end of a run;
//! - the source: received = messages + packets rejected, of all lines (but for packets that were never opened).
//!
//! Invariant: numbers only, each with one writing thread; what they mean is said where they are counted.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::Serialize;

use super::report::{ByReason, by_name};
use crate::base::limits::{FEED_LINES_MAX, LOST_RANGES_MAX, REASONS_MAX};
use crate::base::{Counter, Counters};

/// Names of the lines of a feed, in their order.
pub const LINE_NAMES: [&str; FEED_LINES_MAX] = ["a", "b"];

/// A run of sequences that no line brought in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostRange {
    /// The session, in ten characters.
    pub session: [u8; 10],
    /// Which run of a numbering from 1 it is, from 1.
    pub era: u64,
    /// The first of them.
    pub first: u64,
    /// The one after the last of them.
    pub end: u64,
    /// Why they were given up.
    pub why: &'static str,
}

/// What one line brought.
#[derive(Debug, Default)]
pub struct LineCounters {
    /// Datagrams taken from the socket.
    pub packets: Counter,
    /// Bytes of them.
    pub bytes: Counter,
    /// Datagrams refused, by reason.
    pub rejected: Counters<REASONS_MAX>,
    /// Datagrams without messages.
    pub heartbeats: Counter,
    /// Messages.
    pub messages: Counter,
    /// Messages that came first on this line.
    pub first: Counter,
    /// Messages of which a copy had come before.
    pub duplicate: Counter,
    /// Messages that had been given up.
    pub late: Counter,
    /// Messages from before the feed was joined, or too long ago.
    pub old: Counter,
    /// Messages of a session that was over.
    pub straggler: Counter,
    /// Messages before their turn that were longer than what is held.
    pub unheld: Counter,
    /// Messages that this line never brought, as far as its own sequences tell.
    pub missed: Counter,
    /// Messages that it brought after later ones.
    pub reordered: Counter,
    /// Messages that it brought twice.
    pub repeated: Counter,
    /// Datagrams that the kernel dropped before the line saw them.
    pub kernel_dropped: Counter,
}

/// What a source of a sequenced feed counts.
#[derive(Debug)]
pub struct SequencedCounters {
    /// The lines; those that the feed does not have stay empty.
    pub lines: [LineCounters; FEED_LINES_MAX],
    /// How many lines it has.
    lines_used: usize,
    /// Names of the reasons for which packets are refused.
    rejects: &'static [&'static str],
    /// Names of the states.
    states: &'static [&'static str],
    /// The state now, by its place among the names.
    pub state: Counter,
    /// Messages handed out in their turn.
    pub delivered: Counter,
    /// Messages given up: no line brought them in time.
    pub lost: Counter,
    /// Messages that wait for those before them.
    pub held: Counter,
    /// Most messages that did at once.
    pub held_max: Counter,
    /// Times that something was missing when nothing was before.
    pub gaps: Counter,
    /// Sessions that began.
    pub sessions: Counter,
    /// Sessions that began again from 1.
    pub restarts: Counter,
    /// Sessions that said that they were over.
    pub ended: Counter,
    /// Times that nothing was heard for too long.
    pub stale: Counter,
    /// What was lost, the first runs of it, each written once.
    ranges: Box<[OnceLock<LostRange>]>,
    /// Runs that were lost in all.
    ranges_lost: Counter,
}

impl SequencedCounters {
    /// Counters of a feed of `lines` lines, whose reasons to refuse packets and whose states have these
    /// names. Allocates 8 KiB.
    #[must_use]
    pub fn new(
        lines: usize,
        rejects: &'static [&'static str],
        states: &'static [&'static str],
    ) -> SequencedCounters {
        SequencedCounters {
            lines: Default::default(),
            lines_used: lines.min(FEED_LINES_MAX),
            rejects,
            states,
            state: Counter::default(),
            delivered: Counter::default(),
            lost: Counter::default(),
            held: Counter::default(),
            held_max: Counter::default(),
            gaps: Counter::default(),
            sessions: Counter::default(),
            restarts: Counter::default(),
            ended: Counter::default(),
            stale: Counter::default(),
            ranges: (0..LOST_RANGES_MAX).map(|_| OnceLock::new()).collect(),
            ranges_lost: Counter::default(),
        }
    }

    /// Notes what was lost: by name as long as there is room, else in the count. The feed's own thread only.
    pub fn note_lost(&self, range: LostRange) {
        let at = self.ranges_lost.get();
        if let Some(place) = self.ranges.get(at as usize) {
            // Written once: each place has its turn once.
            let _ = place.set(range);
        }
        self.ranges_lost.add(1);
    }

    /// The lines as values.
    #[must_use]
    pub fn line_reports(&self) -> BTreeMap<&'static str, FeedLineReport> {
        let lines = LINE_NAMES.into_iter().zip(&self.lines);
        let report = |line: &LineCounters| FeedLineReport {
            packets: line.packets.get(),
            bytes: line.bytes.get(),
            rejected: by_name(self.rejects, &line.rejected),
            heartbeats: line.heartbeats.get(),
            messages: line.messages.get(),
            first: line.first.get(),
            duplicates: line.duplicate.get(),
            late: line.late.get(),
            old: line.old.get(),
            straggler: line.straggler.get(),
            unheld: line.unheld.get(),
            missed: line.missed.get(),
            reordered: line.reordered.get(),
            repeated: line.repeated.get(),
            kernel_dropped: line.kernel_dropped.get(),
        };
        lines
            .take(self.lines_used)
            .map(|(name, line)| (name, report(line)))
            .collect()
    }

    /// What became of the lines together, as a value.
    #[must_use]
    pub fn report(&self) -> SequencedReport {
        let state = self.states.get(self.state.get() as usize);
        let lost_ranges = self.ranges.iter().map_while(OnceLock::get);
        let lost_ranges: Vec<LostRangeReport> = lost_ranges.map(LostRangeReport::of).collect();
        SequencedReport {
            state: state.copied().unwrap_or_default(),
            delivered: self.delivered.get(),
            lost: self.lost.get(),
            held: self.held.get(),
            held_max: self.held_max.get(),
            gaps: self.gaps.get(),
            sessions: self.sessions.get(),
            restarts: self.restarts.get(),
            ended: self.ended.get(),
            stale: self.stale.get(),
            lost_ranges_more: self
                .ranges_lost
                .get()
                .saturating_sub(lost_ranges.len() as u64),
            lost_ranges,
        }
    }
}

/// One line of a sequenced feed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FeedLineReport {
    /// Datagrams taken from the socket.
    pub packets: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Datagrams refused, by reason.
    pub rejected: ByReason,
    /// Datagrams without messages among those understood: heartbeats and ends of sessions.
    pub heartbeats: u64,
    /// Messages: first + duplicates + late + old + straggler + unheld.
    pub messages: u64,
    /// Messages that came first on this line.
    pub first: u64,
    /// Messages of which a copy had come before.
    pub duplicates: u64,
    /// Messages that came when they had been given up.
    pub late: u64,
    /// Messages from before the feed was joined, or too long ago to tell a duplicate from a late one.
    pub old: u64,
    /// Messages of a session, or of a run of its numbering, that was over.
    pub straggler: u64,
    /// Messages before their turn that were longer than what is held.
    pub unheld: u64,
    /// Messages that this line never brought, as far as its own sequences tell: its losses.
    pub missed: u64,
    /// Messages that it brought after later ones.
    pub reordered: u64,
    /// Messages that it brought twice.
    pub repeated: u64,
    /// Datagrams that the kernel dropped before they were taken.
    pub kernel_dropped: u64,
}

impl FeedLineReport {
    /// Whether each of its messages is under one heading.
    #[must_use]
    pub fn adds_up(&self) -> bool {
        let headings = self.first + self.duplicates + self.late + self.old;
        self.messages == headings + self.straggler + self.unheld
    }
}

/// What became of the lines of a sequenced feed together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SequencedReport {
    /// What can be relied on now: `live`, `recovering`, `gap` or `stale`.
    pub state: &'static str,
    /// Messages handed out, each once and in order.
    pub delivered: u64,
    /// Messages given up: no line brought them in time.
    pub lost: u64,
    /// Messages that wait for those before them; 0 at the end of a run.
    pub held: u64,
    /// Most messages that did at once.
    pub held_max: u64,
    /// Times that something was missing when nothing was before.
    pub gaps: u64,
    /// Sessions that began, the first included.
    pub sessions: u64,
    /// Sessions that began again from 1 under the same name.
    pub restarts: u64,
    /// Sessions that said that they were over.
    pub ended: u64,
    /// Times that nothing up to date was heard for too long.
    pub stale: u64,
    /// What was lost, in the order in which it was given up: the first so many runs.
    pub lost_ranges: Vec<LostRangeReport>,
    /// Further runs.
    pub lost_ranges_more: u64,
}

/// A run of sequences that were lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LostRangeReport {
    /// The session.
    pub session: String,
    /// Which run of a numbering from 1 it is, from 1.
    pub era: u64,
    /// The first of them.
    pub first: u64,
    /// The last of them.
    pub last: u64,
    /// Why they were given up.
    pub why: &'static str,
}

impl LostRangeReport {
    fn of(range: &LostRange) -> LostRangeReport {
        LostRangeReport {
            session: range.session.trim_ascii().escape_ascii().to_string(),
            era: range.era,
            first: range.first,
            last: range.end.saturating_sub(1),
            why: range.why,
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn what_was_lost_is_named_as_long_as_there_is_room() {
        let counters = SequencedCounters::new(1, &["bad"], &["live", "gap"]);
        for at in 0..LOST_RANGES_MAX as u64 + 3 {
            counters.note_lost(LostRange {
                session: *b"  00000007",
                era: 1,
                first: at * 10 + 1,
                end: at * 10 + 3,
                why: "deadline",
            });
        }
        counters.state.set(1);
        counters.lines[0].rejected[0].add(2);
        let report = counters.report();
        assert_eq!((report.state, report.lost_ranges_more), ("gap", 3));
        assert_eq!(report.lost_ranges.len(), LOST_RANGES_MAX);
        let second = &report.lost_ranges[1];
        assert_eq!((second.first, second.last), (11, 12));
        assert_eq!(second.session, "00000007");
        let lines = counters.line_reports();
        assert_eq!(lines.keys().copied().collect::<Vec<_>>(), ["a"]);
        assert_eq!(lines["a"].rejected["bad"], 2);
    }
}
