//! The way of a message through the line: from the hop that it left by back to the first one.
//!
//! A passage carries no number of its message, only its source and its due time, and a batch of datagrams has one due time
//! for all. But a node handles one message at a time and offers what it makes of it meanwhile, so that the offer of a passage
//! lies in the handler of the one before it:
//!
//! ```text
//!   in->stage   offer ├─ wait ─┤──── service ────┤ done
//!   stage->out                      offer ├─ wait ─┤─ service ─┤ done, left
//! ```
//!
//! A message that a stage made by itself, such as by a timer, begins there.
//!
//! Invariant: a way is exact or there is none; what is not followed is never guessed.

use super::evidence::{Evidence, Passage};
use super::report::ends;

/// Most hops of a way: a line without circles has fewer.
const HOPS_MAX: usize = 1_024;

/// How a line's hops hang together.
///
/// ```
/// use hopline::budget::ways::Shape;
/// let shape = Shape::of(["in->stage", "stage->out"].into_iter());
/// assert_eq!((shape.before(1), shape.is_first(0)), (&[0][..], true));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// The hops into the node that offers to each hop.
    before: Vec<Vec<usize>>,
}

impl Shape {
    /// The shape of a line with these hops, by their names.
    #[must_use]
    pub fn of<'n>(hops: impl Iterator<Item = &'n str>) -> Shape {
        let ends: Vec<(&str, &str)> = hops.map(ends).collect();
        let into = |node: &str| {
            let hops = ends.iter().enumerate();
            let into = hops.filter(|(_, (_, to))| *to == node);
            into.map(|(at, _)| at).collect()
        };
        Shape {
            before: ends.iter().map(|(from, _)| into(from)).collect(),
        }
    }

    /// How many hops there are.
    #[must_use]
    pub fn hops(&self) -> usize {
        self.before.len()
    }

    /// The hops into the node that offers to that hop, by their places; none of one that does not exist.
    #[must_use]
    pub fn before(&self, hop: usize) -> &[usize] {
        self.before.get(hop).map_or(&[], Vec::as_slice)
    }

    /// Whether a source offers to it.
    #[must_use]
    pub fn is_first(&self, hop: usize) -> bool {
        self.before(hop).is_empty()
    }

    /// What lies before a passage over that hop, sought in the logs of all hops.
    #[must_use]
    pub fn find(&self, logs: &[Log<'_>], hop: usize, passage: &Passage) -> Before {
        let at_ns = passage.t_offer_ns;
        // Beyond that, due times are only a bound and tell messages no more apart.
        let is_same = |other: &Passage| {
            other.source == passage.source
                && other.due_ns() == passage.due_ns()
                && other.origin_ns != u32::MAX
        };
        let (mut in_hand, mut next) = (None, None);
        for &at in self.before(hop) {
            let passages = logs.get(at).map_or(&[][..], |log| log.passages);
            let first = passages.partition_point(|one| one.done_ns() < at_ns);
            // Where one handler ends at the very stamp that the next one begins with, the next one's node only copies.
            let running = passages[first..]
                .iter()
                .take_while(|one| dequeue_ns(one) <= at_ns)
                .count();
            if let Some(place) = (first + running).checked_sub(1).filter(|_| running > 0) {
                let one = &passages[place];
                let best: Option<(usize, usize, &Passage)> = in_hand;
                if best.is_none_or(|(_, _, best)| dequeue_ns(best) < dequeue_ns(one)) {
                    in_hand = Some((at, place, one));
                }
            } else if let Some(one) = passages.get(first).filter(|one| one.t_offer_ns <= at_ns) {
                // Of a message in fragments only the sum of its handlers is known: it may have begun earlier.
                let best: Option<(usize, usize, &Passage)> = next;
                if best.is_none_or(|(_, _, best)| one.done_ns() < best.done_ns()) {
                    next = Some((at, first, one));
                }
            }
        }
        match in_hand.or(next.filter(|(_, _, one)| is_same(one))) {
            Some((hop, place, one)) if is_same(one) => Before::Passage { hop, place },
            Some(_) => Before::Unknown,
            None if self.is_cut(logs, hop, at_ns) => Before::Unknown,
            None => Before::Nothing,
        }
    }

    /// Whether the passage before may be one for which a log had no room.
    fn is_cut(&self, logs: &[Log<'_>], hop: usize, at_ns: u64) -> bool {
        self.before(hop)
            .iter()
            .filter_map(|at| logs.get(*at))
            .any(|log| {
                let last = log.passages.last();
                log.is_cut && last.is_none_or(|last| last.done_ns() < at_ns)
            })
    }
}

/// What is known of a hop's messages.
#[derive(Clone, Copy, Debug, Default)]
pub struct Log<'a> {
    /// In the order in which they were done with.
    pub passages: &'a [Passage],
    /// Whether later ones found no room.
    pub is_cut: bool,
}

/// What lies before a passage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// The passage in whose handler it was offered.
    Passage {
        /// Its hop.
        hop: usize,
        /// Its place in that hop's log.
        place: usize,
    },
    /// Nothing: it was offered by a source, or by a stage of its own accord.
    Nothing,
    /// Something that cannot be told.
    Unknown,
}

/// The ways of a run's messages.
#[derive(Clone, Debug)]
pub struct Ways<'a> {
    shape: Shape,
    logs: Vec<Log<'a>>,
}

impl<'a> Ways<'a> {
    /// The ways that are in that evidence.
    #[must_use]
    pub fn new(evidence: &'a Evidence) -> Ways<'a> {
        let logs = evidence.hops.iter().map(|hop| Log {
            passages: &hop.passages,
            is_cut: hop.lost > 0,
        });
        Ways {
            shape: Shape::of(evidence.hops.iter().map(|hop| hop.name.as_str())),
            logs: logs.collect(),
        }
    }

    /// The way of a message up to its passage over that hop, first hop first; none if a part of it is not known.
    #[must_use]
    pub fn of(&self, hop: usize, passage: &'a Passage) -> Option<Vec<(usize, &'a Passage)>> {
        let mut way = vec![(hop, passage)];
        while way.len() < HOPS_MAX {
            let (hop, passage) = *way.last()?;
            match self.shape.find(&self.logs, hop, passage) {
                Before::Passage { hop, place } => {
                    way.push((hop, self.logs[hop].passages.get(place)?));
                }
                Before::Nothing => {
                    way.reverse();
                    return Some(way);
                }
                Before::Unknown => return None,
            }
        }
        None
    }
}

/// When the consumer took a message.
#[must_use]
pub const fn dequeue_ns(passage: &Passage) -> u64 {
    passage.done_ns().saturating_sub(passage.service_ns as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::HopEvidence;

    /// A passage due at `due_ns`, offered, taken and done at the other times.
    fn passage(due_ns: u64, [offer, dequeue, done]: [u64; 3]) -> Passage {
        Passage {
            t_offer_ns: offer,
            origin_ns: (offer - due_ns) as u32,
            wait_ns: (dequeue - offer) as u32,
            service_ns: (done - dequeue) as u32,
            ..Passage::default()
        }
    }

    fn line(hops: Vec<(&str, Vec<Passage>)>) -> Evidence {
        let hops = hops.into_iter().map(|(name, passages)| HopEvidence {
            name: name.to_owned(),
            passages,
            lost: 0,
        });
        Evidence {
            hops: hops.collect(),
            ..Evidence::default()
        }
    }

    /// When the ways of the messages over that hop began: none where they are not known.
    fn firsts(evidence: &Evidence, hop: usize) -> Vec<Option<u64>> {
        let ways = Ways::new(evidence);
        let passages = evidence.hops[hop].passages.iter();
        let first = |passage| Some(ways.of(hop, passage)?.first()?.1.t_offer_ns);
        passages.map(first).collect()
    }

    #[test]
    fn messages_of_one_due_time_are_told_apart_by_who_had_them_in_hand() {
        // A batch of three, due at 100; the stage drops the second, and makes two of the third.
        let evidence = line(vec![
            (
                "in->stage",
                vec![
                    passage(100, [110, 200, 300]),
                    passage(100, [120, 300, 400]),
                    passage(100, [130, 400, 500]),
                ],
            ),
            (
                "stage.out->sink",
                vec![
                    passage(100, [250, 600, 650]),
                    passage(100, [450, 650, 700]),
                    passage(100, [460, 700, 750]),
                ],
            ),
        ]);
        assert_eq!(firsts(&evidence, 1), [Some(110), Some(130), Some(130)]);
        let ways = Ways::new(&evidence);
        let way = ways.of(1, &evidence.hops[1].passages[1]).unwrap();
        assert_eq!(way.iter().map(|(hop, _)| *hop).collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn a_copy_is_offered_at_the_stamp_at_which_the_one_before_ends() {
        let evidence = line(vec![
            (
                "in->stage",
                vec![passage(100, [110, 200, 300]), passage(100, [120, 300, 400])],
            ),
            (
                "stage->sink",
                vec![passage(100, [200, 500, 550]), passage(100, [300, 550, 600])],
            ),
        ]);
        assert_eq!(firsts(&evidence, 1), [Some(110), Some(120)]);
    }

    #[test]
    fn a_message_in_fragments_may_have_begun_before_the_sum_of_its_handlers() {
        // Its two handlers took 50 each, with 100 between them: offered in the first of them.
        let evidence = line(vec![
            ("in->stage", vec![passage(100, [110, 300, 400])]),
            ("stage->sink", vec![passage(100, [230, 500, 550])]),
        ]);
        assert_eq!(firsts(&evidence, 1), [Some(110)]);
    }

    #[test]
    fn what_a_stage_makes_of_its_own_accord_begins_there() {
        let evidence = line(vec![
            (
                "in->stage",
                vec![passage(100, [110, 200, 300]), passage(440, [450, 700, 800])],
            ),
            ("stage->sink", vec![passage(500, [505, 600, 650])]),
        ]);
        assert_eq!(firsts(&evidence, 1), [Some(505)]);
    }

    #[test]
    fn of_two_inputs_the_one_counts_that_was_in_hand() {
        let evidence = line(vec![
            ("a->join", vec![passage(100, [110, 200, 300])]),
            ("b->join", vec![passage(100, [115, 300, 400])]),
            ("join->sink", vec![passage(100, [350, 500, 550])]),
        ]);
        assert_eq!(firsts(&evidence, 2), [Some(115)]);
    }

    #[test]
    fn what_cannot_be_told_is_not_guessed() {
        let mut evidence = line(vec![
            ("in->stage", vec![passage(100, [110, 200, 300])]),
            (
                "stage->sink",
                vec![passage(101, [250, 500, 550]), passage(400, [410, 550, 600])],
            ),
        ]);
        // In hand was a message of another due time; behind the end of a full log nothing is known.
        evidence.hops[0].lost = 1;
        assert_eq!(firsts(&evidence, 1), [None, None]);
        evidence.hops[0].passages[0].origin_ns = u32::MAX;
        evidence.hops[1].passages[0] = passage(100, [250, 500, 550]);
        assert_eq!(
            firsts(&evidence, 1)[0],
            None,
            "a due time that is only a bound"
        );
    }
}
