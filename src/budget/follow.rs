//! Messages that are followed while a line runs: what its hops tell of each, joined into its way.
//!
//! ```text
//!   hops ─ passages of the messages that a rule picks ─→ gathered by source and due time
//!                                                          └─ the last one was seen long enough ago ─→ ways
//! ```
//!
//! Which passage comes of which is found as in [`ways`](super::ways). Messages that entered together, with one due time, are told
//! apart by it; of these the slowest is told, and how many they were. One that a stage held and passed on later was offered in
//! no handler of its own: it is the one that came to that stage, if only one did.
//!
//! A message is done when it has left and nothing more was seen of it for [`DELAY_NS`], or for [`SAMPLE_PATIENCE_NS`] in which it
//! has not left: a stage has absorbed it, or a hop has shed it.
//!
//! Invariant: a way that is told is whole; where a passage may be missing, the message is counted and not told. What is held is
//! bounded.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::Serialize;

use crate::base::OneIn;
use crate::base::limits::{
    DELAY_GAPS_MAX, DELAY_NS, SAMPLE_PASSAGES_MAX, SAMPLE_PATIENCE_NS, SAMPLE_RULES_KEPT,
    SAMPLES_HELD_MAX, SAMPLES_PER_S,
};

use super::evidence::Passage;
use super::taint::Interval;
use super::ways::Shape;

mod tree;

/// A rule is seen by all hops within that time of its being set, in nanoseconds: a store takes less than a microsecond, and this
/// spares nobody's sample.
const SEEN_NS: u64 = 1_000_000;

/// Done messages that are remembered, so that a passage that comes too late is known as such: those of sixteen seconds, twice
/// what an envelope can tell of a message before a hop and on it.
const REMEMBERED: usize = 16 * SAMPLES_PER_S as usize;

/// How far back gaps are kept, in nanoseconds: what was offered earlier than that has no way any more.
const GAPS_KEPT_NS: u64 = 8_000_000_000;

/// A message's passage over one hop of its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stop {
    /// The hop, by its place in the line.
    pub hop: usize,
    /// The stop that it came from, by its place in the way; none of the first.
    pub after: Option<usize>,
    /// From the message's due time until it was offered to the hop, in nanoseconds.
    pub at_ns: u64,
    /// From then until it was taken.
    pub wait_ns: u64,
    /// In the consumer's handler.
    pub service_ns: u64,
    /// How long of that the host had taken the consumer's core away, where that is watched.
    pub gap_ns: Option<u64>,
}

impl Stop {
    /// When the consumer was done with it, since the message's due time.
    #[must_use]
    pub const fn done_ns(&self) -> u64 {
        self.at_ns + self.wait_ns + self.service_ns
    }
}

/// The way of a message: a tree, since a line splits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// Index of the source.
    pub source: u16,
    /// When it was due, in nanoseconds of the line's clock.
    pub due_ns: u64,
    /// From then until the last of it has left, or was done with where nothing did.
    pub total_ns: u64,
    /// Whether something of it has left the line.
    pub has_left: bool,
    /// Messages that entered together, this one among them, which is the slowest.
    pub together: usize,
    /// Its passages, in the order in which they were offered; the first one is that by which it entered.
    pub stops: Vec<Stop>,
}

/// A part of the time that a message took, on the way to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The stop, by its place in the way.
    pub stop: usize,
    /// Time before the offer that no stop before it had: at the source for the first one, else held by the stage between.
    pub held_ns: u64,
    /// Waiting.
    pub wait_ns: u64,
    /// In the handler, until the next stop's offer, or to its end for the last one.
    pub service_ns: u64,
}

impl Way {
    /// What its time consists of: the stops to the one that ended last, from the first on. All parts together are
    /// `total_ns`.
    ///
    /// ```
    /// use hopline::budget::follow::{Stop, Way};
    /// let first = Stop { at_ns: 5, wait_ns: 10, service_ns: 20, ..Stop::default() };
    /// // Offered while the first was still worked on.
    /// let last = Stop { hop: 1, after: Some(0), at_ns: 30, wait_ns: 1, service_ns: 2, gap_ns: None };
    /// let way = Way { total_ns: 33, stops: vec![first, last], has_left: true, ..Way::default() };
    /// let parts: Vec<u64> = way.parts().iter().flat_map(|one| [one.held_ns, one.wait_ns, one.service_ns]).collect();
    /// assert_eq!(parts, [5, 10, 15, 0, 1, 2]);
    /// ```
    #[must_use]
    pub fn parts(&self) -> Vec<Part> {
        let ends = |stop: &&Stop| stop.done_ns() == self.total_ns;
        let last = self.stops.iter().rposition(|stop| ends(&stop));
        let mut parts = Vec::new();
        let (mut at, mut until_ns) = (last, self.total_ns);
        while let Some(stop) = at {
            let Some(one) = self.stops.get(stop) else {
                break;
            };
            at = one.after.filter(|before| *before < stop);
            let before_ns = at.map_or(0, |before| self.stops[before].done_ns());
            let taken_ns = one.at_ns + one.wait_ns;
            parts.push(Part {
                stop,
                held_ns: one.at_ns.saturating_sub(before_ns),
                wait_ns: one.wait_ns,
                service_ns: until_ns.min(one.done_ns()).saturating_sub(taken_ns),
            });
            until_ns = one.at_ns;
        }
        parts.reverse();
        parts
    }
}

/// What became of the messages that were followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FollowCounts {
    /// Of which a first passage was told; those that entered together count once.
    pub seen: u64,
    /// Whose ways are whole.
    pub whole: u64,
    /// Whose ways are not: a passage found no room, took longer than can be told, or cannot be told from another.
    pub incomplete: u64,
    /// Passages of messages that counted as done.
    pub late: u64,
    /// Passages that found no room on their way.
    pub lost: u64,
}

/// What was told of the messages of one source and due time.
#[derive(Debug, Default)]
struct Group {
    passages: Vec<(usize, Passage)>,
    newest_ns: u64,
    has_left: bool,
    /// Whether one of them may be missing.
    is_spoilt: bool,
}

impl Group {
    fn is_done(&self, now_ns: u64) -> bool {
        let for_ns = if self.has_left {
            DELAY_NS
        } else {
            SAMPLE_PATIENCE_NS
        };
        self.newest_ns.saturating_add(for_ns) <= now_ns
    }
}

/// Joins what is told of followed messages.
///
/// ```
/// use hopline::base::OneIn;
/// use hopline::budget::Passage;
/// use hopline::budget::follow::Follow;
/// use hopline::budget::ways::Shape;
/// let mut follow = Follow::new(Shape::of(["in->stage", "stage->out"].into_iter()));
/// follow.rule(OneIn::ALL, 0);
/// let at = |t_offer_ns, flags| Passage {
///     t_offer_ns,
///     origin_ns: (t_offer_ns - 5_000_000) as u32,
///     wait_ns: 100,
///     service_ns: 300,
///     flags,
///     ..Passage::default()
/// };
/// follow.passage(1, at(5_000_300, Passage::LEFT));
/// follow.passage(0, at(5_000_010, 0));
/// let mut ways = Vec::new();
/// follow.settle(u64::MAX, |way| ways.push(way));
/// assert_eq!((ways.len(), ways[0].total_ns, ways[0].stops.len()), (1, 700, 2));
/// ```
#[derive(Debug)]
pub struct Follow {
    shape: Shape,
    groups: BTreeMap<(u64, u16), Group>,
    held: usize,
    /// Keys of the last ones that are done, and the same in the order in which they were.
    done: BTreeSet<(u64, u16)>,
    done_in_order: VecDeque<(u64, u16)>,
    /// From when on which rule was set.
    rules: VecDeque<(u64, OneIn)>,
    /// What was due before it may miss something.
    blind_until_ns: u64,
    /// By hop, the loop of its consumer, if its gaps are told.
    loops: Vec<Option<usize>>,
    /// Gaps by loop, in the order of their ends.
    gaps: Vec<VecDeque<Interval>>,
    counts: FollowCounts,
}

impl Follow {
    /// Follows nothing yet.
    #[must_use]
    pub fn new(shape: Shape) -> Follow {
        Follow {
            loops: vec![None; shape.hops()],
            shape,
            groups: BTreeMap::new(),
            held: 0,
            done: BTreeSet::new(),
            done_in_order: VecDeque::new(),
            rules: VecDeque::from([(0, OneIn::NONE)]),
            blind_until_ns: 0,
            gaps: Vec::new(),
            counts: FollowCounts::default(),
        }
    }

    /// The same where gaps of so many loops are told, with the loop of each hop's consumer.
    #[must_use]
    pub fn with_gaps(mut self, loops: Vec<Option<usize>>, of: usize) -> Follow {
        self.loops = loops;
        self.loops.resize(self.shape.hops(), None);
        self.gaps = (0..of).map(|_| VecDeque::new()).collect();
        self
    }

    /// From `now_ns` on the hops tell these messages.
    pub fn rule(&mut self, rule: OneIn, now_ns: u64) {
        if self.rules.len() >= SAMPLE_RULES_KEPT {
            self.rules.pop_front();
        }
        self.rules.push_back((now_ns, rule));
    }

    /// The rule by which all hops have told a message that was due then: the rarest that was set since. A rule of before is in
    /// force until all have seen the next one.
    fn rule_since(&self, due_ns: u64) -> OneIn {
        if self
            .rules
            .front()
            .is_none_or(|(from_ns, _)| *from_ns > due_ns)
        {
            return OneIn::NONE;
        }
        let mut rarest = OneIn::ALL;
        let mut until_ns = u64::MAX;
        for (from_ns, rule) in self.rules.iter().rev() {
            if until_ns < due_ns {
                break;
            }
            rarest = rarest.max(*rule);
            until_ns = from_ns.saturating_add(SEEN_NS);
        }
        rarest
    }

    /// What a hop told; of one that does not exist, and what no rule picks, is ignored.
    pub fn passage(&mut self, hop: usize, passage: Passage) {
        let rule = self.rules.back().map_or(OneIn::NONE, |(_, rule)| *rule);
        let (due_ns, source) = (passage.due_ns(), passage.source);
        let is_named = passage.origin_ns != u32::MAX && hop < self.shape.hops();
        if !is_named || !rule.picks(source, due_ns) {
            return;
        }
        if self.held >= SAMPLES_HELD_MAX {
            return self.lost(1, due_ns);
        }
        let key = (due_ns, source);
        if !self.groups.contains_key(&key) {
            if self.done.contains(&key) {
                self.counts.late += 1;
                return;
            }
            self.counts.seen += 1;
        }
        let is_blind = due_ns <= self.blind_until_ns;
        let group = self.groups.entry(key).or_default();
        group.is_spoilt |= is_blind || passage.is_saturated();
        group.newest_ns = group.newest_ns.max(passage.done_ns());
        group.has_left |= passage.has_left();
        if group.passages.len() < SAMPLE_PASSAGES_MAX {
            group.passages.push((hop, passage));
            self.held += 1;
        } else {
            group.is_spoilt = true;
        }
    }

    /// So many passages found no room by `now_ns`: whatever was due before may miss one.
    pub fn lost(&mut self, passages: u64, now_ns: u64) {
        self.counts.lost += passages;
        self.blind_until_ns = self.blind_until_ns.max(now_ns);
        for group in self.groups.values_mut() {
            group.is_spoilt = true;
        }
    }

    /// A gap of the host on that loop.
    pub fn gap(&mut self, of_loop: usize, gap: Interval) {
        if let Some(gaps) = self.gaps.get_mut(of_loop) {
            if gaps.len() >= DELAY_GAPS_MAX {
                gaps.pop_front();
            }
            gaps.push_back(gap);
        }
    }

    /// How long of a span the host had taken the core of that hop's consumer away, if it is known.
    fn gap_in(&self, hop: usize, from_ns: u64, until_ns: u64) -> Option<u64> {
        let gaps = self.gaps.get((*self.loops.get(hop)?)?)?;
        let first = gaps.partition_point(|gap| gap.end_ns <= from_ns);
        // From the last one back, so that what two of them tell counts once.
        let (mut inside_ns, mut left_ns) = (0, until_ns);
        for gap in gaps.range(first..).rev() {
            let start_ns = gap.start_ns.max(from_ns);
            let end_ns = gap.end_ns.min(left_ns);
            if start_ns < end_ns {
                inside_ns += end_ns - start_ns;
                left_ns = start_ns;
            }
        }
        Some(inside_ns)
    }

    /// Gives the ways of the messages that are done by `now_ns`; all that are held at the end of time.
    pub fn settle(&mut self, now_ns: u64, mut each: impl FnMut(Way)) {
        let is_done = |group: &Group| group.is_done(now_ns) || now_ns == u64::MAX;
        let done: Vec<(u64, u16)> = self
            .groups
            .iter()
            .filter(|(_, group)| is_done(group))
            .map(|(key, _)| *key)
            .collect();
        for key in done {
            let Some(group) = self.groups.remove(&key) else {
                continue;
            };
            self.held -= group.passages.len();
            self.remember(key);
            let (due_ns, source) = key;
            if !self.rule_since(due_ns).picks(source, due_ns) {
                // Not all hops were asked for it.
                continue;
            }
            match self.way(key, group) {
                Some(way) => {
                    self.counts.whole += 1;
                    each(way);
                }
                None => self.counts.incomplete += 1,
            }
        }
        let before_ns = now_ns.saturating_sub(GAPS_KEPT_NS);
        for gaps in &mut self.gaps {
            while gaps.front().is_some_and(|gap| gap.end_ns < before_ns) {
                gaps.pop_front();
            }
        }
    }

    fn remember(&mut self, key: (u64, u16)) {
        if self.done_in_order.len() >= REMEMBERED
            && let Some(oldest) = self.done_in_order.pop_front()
        {
            self.done.remove(&oldest);
        }
        if self.done.insert(key) {
            self.done_in_order.push_back(key);
        }
    }

    fn way(&self, (due_ns, source): (u64, u16), group: Group) -> Option<Way> {
        if group.is_spoilt {
            return None;
        }
        let mut way = tree::slowest(&self.shape, due_ns, group.passages)?;
        way.source = source;
        for stop in &mut way.stops {
            let from_ns = due_ns + stop.at_ns;
            stop.gap_ns = self.gap_in(stop.hop, from_ns, due_ns + stop.done_ns());
        }
        Some(way)
    }

    /// What became of all messages so far.
    #[must_use]
    pub const fn counts(&self) -> FollowCounts {
        self.counts
    }

    /// Passages that wait for others of theirs.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.held
    }
}

#[cfg(test)]
mod tests;
