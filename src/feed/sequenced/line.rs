//! One line of a feed: what it brought, and what it passed over.
//!
//! Invariant: each sequence of its era is counted as missing once, and taken back once if it comes.

use crate::feed::sequenced::counts::LineCounts;
use crate::feed::sequenced::past::Past;

/// One line.
#[derive(Debug)]
pub(super) struct Line {
    /// The era that it is in; 0 before its first packet.
    pub(super) era: u64,
    pub(super) past: Past,
    /// When it last brought something that it had not brought before.
    pub(super) advanced_ns: u64,
    pub(super) counts: LineCounts,
}

impl Line {
    /// Takes note that the line brought the sequences from `first` on and before `end`, or, if there
    /// are none, that all before were sent.
    #[inline]
    pub(super) fn note(&mut self, first: u64, end: u64, now_ns: u64) {
        let next = self.past.next();
        if first >= next {
            self.counts.missing = self.counts.missing.saturating_add(first - next);
            self.past.advance(first, false);
            self.advanced_ns = now_ns;
        } else {
            for sequence in first..end.min(next) {
                match self.past.get(sequence) {
                    Some(false) => {
                        self.past.set(sequence);
                        self.counts.missing = self.counts.missing.saturating_sub(1);
                        self.counts.reordered += 1;
                    }
                    Some(true) => self.counts.repeated += 1,
                    None => {}
                }
            }
            if end > next {
                self.advanced_ns = now_ns;
            }
        }
        self.past.advance(end, true);
    }
}
