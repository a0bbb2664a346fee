//! What is on a ring and what came of it by each of its consumers, as far as its parts saw it.
//!
//! Invariant: a message is on it once, and each consumer takes it at most once.

#![allow(
    clippy::disallowed_types,
    reason = "an account is kept by tests, where allocating is no matter"
)]

use std::collections::{BTreeMap, BTreeSet};

use hopline::base::{Reason, Shed};

use crate::account::{Counts, Made, Seen, count};
use crate::policies::Rules;

/// The part of a ring's slots that a consumer gives back at once, one in so many; a smaller ring's one by one.
const GIVEN_BACK_AT_ONCE: usize = 8;

/// A message on a ring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OnRing {
    pub(crate) seq: u64,
    pub(crate) parts: usize,
    pub(crate) kind: &'static str,
    pub(crate) alien_at: Option<usize>,
    pub(crate) key: Option<u64>,
    /// Whether it certainly is.
    pub(crate) sure: bool,
}

/// One consumer of a ring: a hop.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    pub(crate) node: usize,
    /// Place in the ring's list of the message that is next.
    pub(crate) next: usize,
    /// Fragments of it that came.
    pub(crate) part: usize,
    /// Frames whose slots it has given back.
    pub(crate) freed: usize,
    pub(crate) delivered: u64,
    /// Messages that cannot have been handed to it, as they have a fragment that it does not take.
    pub(crate) malformed: u64,
    /// The same of messages that may not have been accepted.
    pub(crate) maybe_malformed: u64,
    pub(crate) gone: bool,
    /// Of a ring whose messages may pass each other, the message in hand and the fragments of it that came.
    pub(crate) in_hand: Option<(u64, usize)>,
    /// Likewise those that have begun to come, and those that came whole.
    pub(crate) begun: BTreeSet<u64>,
    pub(crate) done: BTreeSet<u64>,
    /// The last one that began to come of each key, and of those that have none.
    pub(crate) last_of: BTreeMap<Option<u64>, u64>,
    /// Messages that came whole, by kind.
    pub(crate) by_kind: Counts,
}

#[derive(Debug, Default)]
pub(crate) struct Ring {
    pub(crate) offered: u64,
    /// Messages that may have been offered, or not.
    pub(crate) perhaps: u64,
    pub(crate) offered_by_kind: Counts,
    /// Messages that were shed for one of several reasons.
    pub(crate) somehow: u64,
    /// The last message of each key that was offered.
    pub(crate) last_of: BTreeMap<u64, u64>,
    pub(crate) accepted: u64,
    /// Messages of which it is not known whether they were accepted.
    pub(crate) maybe: u64,
    pub(crate) shed: Counts,
    pub(crate) shed_by_kind: BTreeMap<&'static str, Counts>,
    pub(crate) readers: Vec<Reader>,
    pub(crate) messages: Vec<OnRing>,
    pub(crate) written: usize,
    /// Whether what is on it is known.
    pub(crate) sure: bool,
    /// What its policy allows.
    pub(crate) rules: Option<Rules>,
}

impl Ring {
    /// What its policy allows.
    pub(crate) fn rules(&self) -> &Rules {
        self.rules.as_ref().expect("each has some")
    }

    /// Whether it is known of each message what became of it.
    pub(crate) fn is_foretold(&self) -> bool {
        self.maybe + self.perhaps + self.somehow == 0
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.readers.iter().all(|reader| reader.gone)
    }

    /// Slots that are free.
    pub(crate) fn free(&self, depth: usize) -> usize {
        let there = self.readers.iter().filter(|reader| !reader.gone);
        let least = there.map(|reader| reader.freed).min();
        depth - (self.written - least.unwrap_or(self.written))
    }
}

/// What becomes of a message on a ring of its port.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fate {
    Accepted,
    Shed(Shed),
    /// It is on it or shed.
    Open,
    /// It may not even have been offered.
    Perhaps,
}

/// Slots that a consumer may be done with and has not given back yet: it does so for several at a time.
pub(crate) fn slack(depth: usize) -> usize {
    (depth / GIVEN_BACK_AT_ONCE).saturating_sub(1)
}

impl Ring {
    pub(crate) fn put(&mut self, made: Made) {
        self.messages.push(OnRing {
            seq: made.seq,
            parts: made.parts,
            kind: made.kind,
            alien_at: made.alien_at,
            key: made.key,
            sure: false,
        });
    }

    /// The message may be on the ring or not.
    pub(crate) fn may_have(&mut self, made: Made) -> Fate {
        self.maybe += 1;
        self.put(made);
        Fate::Open
    }

    /// The message may not even have been offered to the ring.
    pub(crate) fn perhaps_has(&mut self, made: Made) -> Fate {
        self.perhaps += 1;
        self.sure = false;
        self.put(made);
        Fate::Perhaps
    }

    pub(crate) fn message(&self, seq: u64) -> Option<&OnRing> {
        let at = self
            .messages
            .binary_search_by_key(&seq, |message| message.seq);
        at.ok().map(|at| &self.messages[at])
    }

    /// A frame comes by a ring whose messages may pass each other: whether it is one of them, the next of its message, and no
    /// older than another of its key that came before.
    pub(crate) fn takes_out_of_turn(&mut self, place: usize, seen: Seen, takes_any: bool) -> bool {
        let message = self.message(seen.seq).copied();
        let before = self.readers[place].in_hand;
        let spoilt = before.is_some_and(|(seq, part)| {
            !takes_any
                && self
                    .message(seq)
                    .is_some_and(|message| message.alien_at == Some(part))
        });
        let reader = &mut self.readers[place];
        let Some(message) = message.filter(|message| message.parts == seen.parts && !reader.gone)
        else {
            return false;
        };
        if seen.part == 0 {
            if (before.is_some() && !spoilt) || !reader.begun.insert(seen.seq) {
                return false;
            }
            let last = reader.last_of.insert(message.key, seen.seq);
            if last.is_some_and(|last| last > seen.seq) {
                return false;
            }
        } else if before != Some((seen.seq, seen.part)) {
            return false;
        }
        reader.in_hand = (!seen.is_last()).then_some((seen.seq, seen.part + 1));
        if seen.is_last() {
            reader.done.insert(seen.seq);
            count(&mut reader.by_kind, message.kind, 1);
        }
        true
    }

    pub(crate) fn note_shed(&mut self, kind: &'static str, why: Shed) {
        count(&mut self.shed, why.name(), 1);
        count(self.shed_by_kind.entry(kind).or_default(), why.name(), 1);
    }

    /// Whether a hop of it may have such messages that its consumer has not come to yet.
    pub(crate) fn aliens_left(&self, place: usize) -> u64 {
        let reader = &self.readers[place];
        let rest = self.messages.iter().skip(reader.next);
        let left = rest.filter(|message| !reader.done.contains(&message.seq));
        left.filter(|message| message.alien_at.is_some()).count() as u64
    }
}
