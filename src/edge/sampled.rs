//! The samples of one client: which events of what it was sent are followed to its screen, and how far they are.
//!
//! ```text
//!   put ─→ in the output ─ written ─→ handed to the socket ─ answer ─→ its times are looked at, once
//! ```
//!
//! Where an event ends in the output is a position in all that was ever written to the client, so that a write says which of them
//! have left whole.
//!
//! Invariant: at most [`EDGE_SAMPLES_WAITING_MAX`] of them; the oldest go, and an answer to what is not here is none.

use std::collections::VecDeque;

use super::client::Now;
use super::lanes::ChannelId;
use crate::base::limits::EDGE_SAMPLES_WAITING_MAX;

#[derive(Clone, Copy, Debug)]
struct Sample {
    channel: ChannelId,
    offset: u64,
    born_ns: u64,
    /// All that was ever written reaches up to here once it has left.
    ends_at: u64,
    written: Option<Now>,
}

/// The samples of a client that are on their way to it, or wait for its answer.
#[derive(Debug, Default)]
pub(super) struct Sampled {
    waiting: VecDeque<Sample>,
    /// Bytes that were ever written.
    written_bytes: u64,
    /// How many of the last ones have not left.
    unwritten: usize,
}

impl Sampled {
    /// An event is in the output, which has so many bytes waiting up to its end.
    pub(super) fn put(
        &mut self,
        channel: ChannelId,
        offset: u64,
        born_ns: u64,
        waiting_bytes: usize,
    ) {
        if self.waiting.len() >= EDGE_SAMPLES_WAITING_MAX {
            self.waiting.pop_front();
            self.unwritten = self.unwritten.min(self.waiting.len());
        }
        self.waiting.push_back(Sample {
            channel,
            offset,
            born_ns,
            ends_at: self.written_bytes + waiting_bytes as u64,
            written: None,
        });
        self.unwritten += 1;
    }

    /// Whether one is in the output.
    pub(super) fn is_on_its_way(&self) -> bool {
        self.unwritten > 0
    }

    /// So many bytes were handed to the socket: gives, of each sample that has left with them, how long the edge had it. One that
    /// cannot be answered is not kept.
    pub(super) fn written(
        &mut self,
        bytes: usize,
        now: Now,
        is_answered: bool,
        mut left: impl FnMut(u64),
    ) {
        self.written_bytes += bytes as u64;
        if self.unwritten == 0 {
            return;
        }
        let from = self.waiting.len() - self.unwritten;
        for sample in self.waiting.range_mut(from..) {
            if sample.ends_at > self.written_bytes {
                break;
            }
            sample.written = Some(now);
            self.unwritten -= 1;
            left(now.ns.saturating_sub(sample.born_ns));
        }
        if !is_answered {
            self.waiting.drain(..self.waiting.len() - self.unwritten);
        }
    }

    /// When a sample was handed to the socket that the client has now: it is answered but once. Those before it in the same channel
    /// will not be answered any more.
    pub(super) fn answered(&mut self, channel: ChannelId, offset: u64) -> Option<Now> {
        let is_it = |one: &&Sample| one.channel == channel && one.offset == offset;
        let written = self.waiting.iter().find(is_it)?.written?;
        // Only what has left is forgotten, so that what has not stays the end of the list.
        self.waiting
            .retain(|one| one.channel != channel || one.offset > offset || one.written.is_none());
        Some(written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ChannelId = ChannelId(0);
    const B: ChannelId = ChannelId(1);

    fn at(ns: u64) -> Now {
        Now { ns, us: ns / 1_000 }
    }

    /// Writes, and what of the edge's time the samples had that left with it.
    fn write(sampled: &mut Sampled, bytes: usize, ns: u64) -> Vec<u64> {
        let mut left = Vec::new();
        sampled.written(bytes, at(ns), true, |ns| left.push(ns));
        left
    }

    #[test]
    fn a_sample_has_left_with_its_last_byte_and_not_before() {
        let mut sampled = Sampled::default();
        assert!(write(&mut sampled, 1_000, 5).is_empty());
        sampled.put(A, 16, 10, 100);
        sampled.put(A, 32, 10, 250);
        assert!(sampled.is_on_its_way());
        assert!(write(&mut sampled, 99, 20).is_empty());
        assert_eq!(sampled.answered(A, 16), None, "it has not left");
        assert_eq!(write(&mut sampled, 1, 30), [20]);
        assert!(write(&mut sampled, 149, 40).is_empty());
        assert_eq!(write(&mut sampled, 1, 50), [40]);
        assert!(!sampled.is_on_its_way());
        assert_eq!(sampled.answered(A, 16), Some(at(30)));
    }

    #[test]
    fn an_answer_counts_once_and_stands_for_those_before_it() {
        let mut sampled = Sampled::default();
        for (channel, offset) in [(A, 16), (B, 16), (A, 32), (A, 48)] {
            sampled.put(channel, offset, 0, 10);
        }
        assert_eq!(write(&mut sampled, 10, 7).len(), 4);
        assert_eq!(sampled.answered(A, 32), Some(at(7)));
        assert_eq!(sampled.answered(A, 32), None, "once");
        assert_eq!(sampled.answered(A, 16), None, "it was passed over");
        assert_eq!(sampled.answered(A, 40), None, "no sample");
        assert_eq!(sampled.answered(B, 16), Some(at(7)));
        assert_eq!(sampled.answered(A, 48), Some(at(7)));
    }

    #[test]
    fn what_is_answered_out_of_order_does_not_mix_up_what_has_left() {
        let mut sampled = Sampled::default();
        sampled.put(A, 16, 0, 10);
        assert_eq!(write(&mut sampled, 10, 1), [1]);
        sampled.put(B, 16, 0, 10);
        sampled.put(A, 32, 0, 20);
        assert_eq!(sampled.answered(A, 16), Some(at(1)));
        assert_eq!(write(&mut sampled, 10, 2), [2]);
        assert_eq!(sampled.answered(A, 32), None);
        assert_eq!(write(&mut sampled, 10, 3), [3]);
        assert_eq!(sampled.answered(A, 32), Some(at(3)));
    }

    #[test]
    fn there_are_no_more_than_may_be_and_none_without_answers() {
        let mut sampled = Sampled::default();
        for n in 0..10 * EDGE_SAMPLES_WAITING_MAX as u64 {
            sampled.put(A, n, 0, 10 * (n as usize + 1));
        }
        assert_eq!(sampled.waiting.len(), EDGE_SAMPLES_WAITING_MAX);
        let left = write(&mut sampled, usize::MAX >> 1, 9);
        assert_eq!(left.len(), EDGE_SAMPLES_WAITING_MAX);
        assert_eq!(sampled.answered(A, 0), None);
        let mut sampled = Sampled::default();
        sampled.put(A, 16, 0, 10);
        sampled.written(10, at(1), false, |_| {});
        assert!(sampled.waiting.is_empty());
    }
}
