//! Taint while a line runs: messages wait in a delay line until it is known which gaps touched them.
//!
//! ```text
//!   told by the loops ─→ held ──────────────────────────┬─→ decided: clean, touched, not judged
//!                        └── D ──┤ all known up to here │
//!                                                       due + G at the latest, D ago
//! ```
//!
//! A message can be decided once every loop has told what it did until the message was exposed no longer, and every message
//! that was under way then is done with. The first is said by the loops; the second is taken to be so after [`DELAY_NS`].
//! What takes longer is counted ([`DelayLine::overdue`]), since what was decided meanwhile may count as clean by mistake.
//!
//! Where a log had no room, all that is held and all that comes until the logs are whole again is *not judged*, as is what
//! follows until the line is empty.
//!
//! Invariant: with whole logs, no message overdue and the same gaps the answers are those of [`taint`](super::taint) over the whole
//! run, in whatever pieces the logs arrive; and what is held is bounded.

use std::collections::VecDeque;

use crate::base::limits::{DELAY_GAPS_MAX, DELAY_HELD_MAX, DELAY_NS};

use super::evidence::Passage;
use super::taint::{Gaps, Interval, busy_with, exposed_until_ns, union};

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch {
    /// No gap touched it.
    Clean,
    /// One did.
    Tainted,
    /// The logs were not whole.
    NotJudged,
}

/// Messages and gaps that are held until they can be decided.
///
/// ```
/// use hopline::budget::Passage;
/// use hopline::budget::delay::{DelayLine, Touch};
/// use hopline::budget::taint::Interval;
/// let mut delay = DelayLine::new(1, 20_000);
/// let at = |t_offer_ns| Passage { t_offer_ns, service_ns: 500, ..Passage::default() };
/// delay.message(0, at(1_000_000));
/// delay.message(0, at(2_000_000));
/// delay.gap(Interval { start_ns: 2_000_100, end_ns: 2_000_400 });
/// let mut seen = Vec::new();
/// delay.settle(3_000_000, |_, _, touch| seen.push(touch));
/// assert!(seen.is_empty(), "it is too early to say");
/// delay.settle(u64::MAX, |_, _, touch| seen.push(touch));
/// assert_eq!(seen, [Touch::Clean, Touch::Tainted]);
/// ```
#[derive(Debug)]
pub struct DelayLine {
    exposure_ns: u64,
    /// By hop, in the order in which they were done with.
    held: Vec<VecDeque<Passage>>,
    count: usize,
    /// When the messages were that have come since the last time.
    came: Vec<Interval>,
    /// When the line had something under way, disjoint and sorted.
    busy: Vec<Interval>,
    gaps: Vec<Interval>,
    /// From when until when something is not known.
    blind: Option<Interval>,
    /// Up to where everything was known the last time.
    known_ns: u64,
    overdue: u64,
}

impl DelayLine {
    /// An empty one for so many hops. A message is exposed for `exposure_ns` at least, and that at most for [`DELAY_NS`].
    #[must_use]
    pub fn new(hops: usize, exposure_ns: u64) -> DelayLine {
        DelayLine {
            exposure_ns: exposure_ns.min(DELAY_NS),
            held: (0..hops).map(|_| VecDeque::new()).collect(),
            count: 0,
            came: Vec::new(),
            busy: Vec::new(),
            gaps: Vec::new(),
            blind: None,
            known_ns: 0,
            overdue: 0,
        }
    }

    /// The least time that a message is exposed, in nanoseconds.
    #[must_use]
    pub const fn exposure_ns(&self) -> u64 {
        self.exposure_ns
    }

    /// Sets that time for what is decided from now on.
    pub fn expose_for(&mut self, exposure_ns: u64) {
        self.exposure_ns = exposure_ns.min(DELAY_NS);
    }

    /// A gap of the host.
    pub fn gap(&mut self, gap: Interval) {
        if self.gaps.len() < DELAY_GAPS_MAX {
            self.gaps.push(gap);
        } else {
            self.blind_over(gap);
        }
    }

    /// A message of a hop: those of one hop in the order in which they were done with. One of a hop that does not exist is
    /// ignored.
    pub fn message(&mut self, hop: usize, passage: Passage) {
        let decided_ns = self.decided_ns();
        let Some(held) = self.held.get_mut(hop) else {
            return;
        };
        self.overdue += u64::from(passage.due_ns() < decided_ns);
        self.came.push(busy_with(&passage));
        held.push_back(passage);
        self.count += 1;
    }

    /// Something was not told by `now_ns` that happened after everything was last known: what is held, and what comes until
    /// then, is not judged.
    pub fn lost(&mut self, now_ns: u64) {
        self.blind_over(Interval {
            start_ns: self.decided_ns(),
            end_ns: now_ns,
        });
    }

    fn blind_over(&mut self, span: Interval) {
        let so_far = self.blind.unwrap_or(span);
        self.blind = Some(Interval {
            start_ns: so_far.start_ns.min(span.start_ns),
            end_ns: so_far.end_ns.max(span.end_ns),
        });
    }

    /// Messages that took longer than they are waited for.
    #[must_use]
    pub const fn overdue(&self) -> u64 {
        self.overdue
    }

    /// Messages that are held.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.count
    }

    /// What was exposed until then has been decided.
    const fn decided_ns(&self) -> u64 {
        self.known_ns.saturating_sub(DELAY_NS)
    }

    /// Decides what can be decided, now that everything is known up to `known_ns`: gaps that ended later have begun later as
    /// well, or will be told. `u64::MAX` at the end. Calls `decided` with the hop and the message.
    pub fn settle(&mut self, known_ns: u64, mut decided: impl FnMut(usize, &Passage, Touch)) {
        self.known_ns = self.known_ns.max(known_ns);
        self.merge();
        let gaps = Gaps::lasting(self.gaps.clone(), &self.busy);
        let blind = Gaps::lasting(self.blind.into_iter().collect(), &self.busy);
        let until_ns = self.decided_ns();
        for (hop, held) in self.held.iter_mut().enumerate() {
            while let Some(passage) = held.front() {
                let is_full = self.count > DELAY_HELD_MAX;
                let is_due = exposed_until_ns(passage, self.exposure_ns) <= until_ns;
                if !is_due && !is_full {
                    break;
                }
                let touch = if !is_due || blind.taint(passage, self.exposure_ns) {
                    Touch::NotJudged
                } else if gaps.taint(passage, self.exposure_ns) {
                    Touch::Tainted
                } else {
                    Touch::Clean
                };
                decided(hop, passage, touch);
                held.pop_front();
                self.count -= 1;
            }
        }
        self.forget();
    }

    /// Adds to the busy spans those of the messages that have come.
    fn merge(&mut self) {
        self.came.sort_unstable();
        let Some(first) = self.came.first() else {
            return;
        };
        // What ended before the first of them stays as it is.
        let at = self
            .busy
            .partition_point(|span| span.end_ns < first.start_ns);
        let mut late = self.busy.split_off(at);
        late.append(&mut self.came);
        self.busy.append(&mut union(late));
    }

    /// Lets go of what can touch nothing that is still to be decided.
    fn forget(&mut self) {
        // What is held behind one that is exposed for long is due no earlier than this, unless it is overdue.
        let needed_ns = self
            .decided_ns()
            .saturating_sub(DELAY_NS + self.exposure_ns);
        let busy = &self.busy;
        let lasts = |gap: &Interval| gap.until_empty(busy).end_ns > needed_ns;
        self.gaps.retain(lasts);
        self.blind = self.blind.filter(lasts);
        let gone = self.busy.partition_point(|span| span.end_ns <= needed_ns);
        self.busy.drain(..gone);
        // Only where a loop has told nothing for long.
        if self.busy.len() > DELAY_HELD_MAX {
            let rest = self.busy.split_off(self.busy.len() - DELAY_HELD_MAX / 2);
            let ends = self.busy.first().zip(self.busy.last());
            let whole = ends.map(|(first, last)| Interval {
                start_ns: first.start_ns,
                end_ns: last.end_ns,
            });
            self.busy.clear();
            self.busy.extend(whole);
            self.busy.extend(rest);
            whole.into_iter().for_each(|span| self.blind_over(span));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::*;
    use crate::budget::evidence::{Evidence, HopEvidence};

    const HOPS: usize = 3;
    const EXPOSURE_NS: u64 = 20_000;

    fn passage(due_ns: u64, took_ns: u64) -> Passage {
        Passage {
            t_offer_ns: due_ns,
            service_ns: took_ns as u32,
            ..Passage::default()
        }
    }

    fn interval(start_ns: u64, len_ns: u64) -> Interval {
        Interval {
            start_ns,
            end_ns: start_ns + len_ns,
        }
    }

    /// By hop, in the order in which they are done with.
    fn run(messages: &[(usize, u64, u64)]) -> Evidence {
        let mut hops = vec![HopEvidence::default(); HOPS];
        for (hop, due_ns, took_ns) in messages {
            hops[*hop].passages.push(passage(*due_ns, *took_ns));
        }
        for hop in &mut hops {
            hop.passages
                .sort_by_key(|one| (one.done_ns(), one.due_ns()));
        }
        Evidence {
            hops,
            ..Evidence::default()
        }
    }

    /// Answers by hop, in the order in which they came.
    type Answers = Vec<Vec<(Passage, Touch)>>;

    /// Feeds it up to each of those times in turn, with some of what lies beyond, and then all the rest.
    fn in_pieces(
        evidence: &Evidence,
        gaps: &[Interval],
        times_ns: &[u64],
        beyond_ns: u64,
    ) -> Answers {
        let mut delay = DelayLine::new(HOPS, EXPOSURE_NS);
        let mut answers = vec![Vec::new(); HOPS];
        let mut taken = [0; HOPS];
        let mut gaps: Vec<Interval> = gaps.to_vec();
        let mut times_ns = times_ns.to_vec();
        times_ns.sort_unstable();
        for known_ns in times_ns.into_iter().chain([u64::MAX]) {
            let (now, later) = gaps.into_iter().partition(|gap| gap.start_ns < known_ns);
            gaps = later;
            let now: Vec<Interval> = now;
            now.into_iter().for_each(|gap| delay.gap(gap));
            for (hop, noted) in evidence.hops.iter().enumerate() {
                let rest = &noted.passages[taken[hop]..];
                let until_ns = known_ns.saturating_add(beyond_ns);
                let more = rest.partition_point(|one| one.done_ns() <= until_ns);
                rest[..more].iter().for_each(|one| delay.message(hop, *one));
                taken[hop] += more;
            }
            delay.settle(known_ns, |hop, one, touch| answers[hop].push((*one, touch)));
        }
        assert_eq!((delay.held(), delay.overdue()), (0, 0));
        answers
    }

    proptest! {
        /// Times are in steps of 10 us, so that ends meet often; spans are anything up to what is waited for.
        #[test]
        fn pieces_give_the_answers_of_the_whole(
            messages in vec((0..HOPS, 0u64..100_000, 0u32..3, 0u64..30), 0..300),
            gaps in vec((0u64..100_000, 1u64..100), 0..60),
            times in vec(0u64..130_000, 0..40),
            beyond in 0u64..1_000,
        ) {
            const STEP_NS: u64 = 10_000;
            let messages: Vec<(usize, u64, u64)> = messages
                .into_iter()
                .map(|(hop, due, size, took)| {
                    // Short, some milliseconds, or all but the longest.
                    let took_ns = [STEP_NS, 10 * STEP_NS, 800 * STEP_NS][size as usize] * took;
                    (hop, due * STEP_NS, took_ns)
                })
                .collect();
            let evidence = run(&messages);
            let gaps: Vec<Interval> = gaps
                .into_iter()
                .map(|(start, len)| interval(start * STEP_NS, len * STEP_NS))
                .collect();
            let times_ns: Vec<u64> = times.into_iter().map(|time| time * STEP_NS).collect();
            let whole = Gaps::find(&evidence, &gaps);
            let answers = in_pieces(&evidence, &gaps, &times_ns, beyond * STEP_NS);
            for (noted, answers) in evidence.hops.iter().zip(answers) {
                let expected: Vec<(Passage, Touch)> = noted
                    .passages
                    .iter()
                    .map(|one| match whole.taint(one, EXPOSURE_NS) {
                        true => (*one, Touch::Tainted),
                        false => (*one, Touch::Clean),
                    })
                    .collect();
                prop_assert_eq!(answers, expected);
            }
        }
    }

    fn settle(delay: &mut DelayLine, known_ns: u64) -> Vec<Touch> {
        let mut touches = Vec::new();
        delay.settle(known_ns, |_, _, touch| touches.push(touch));
        touches
    }

    #[test]
    fn what_is_held_when_something_was_lost_is_not_judged_nor_what_follows_until_the_line_is_empty()
    {
        let mut delay = DelayLine::new(1, EXPOSURE_NS);
        let second = 1_000_000_000;
        delay.message(0, passage(second / 2, 500));
        assert_eq!(settle(&mut delay, second), [Touch::Clean]);
        // Not yet decided; then a loss, seen at 1.1 s; one that is busy beyond it, one behind that, and one on its own.
        delay.message(0, passage(second - 10, 500));
        let lost_ns = second + second / 10;
        delay.lost(lost_ns);
        delay.message(0, passage(lost_ns - 10_000, 20_000));
        delay.message(0, passage(lost_ns + 5_000, 10_000));
        delay.message(0, passage(lost_ns + 50_000, 10_000));
        let expected = [
            Touch::NotJudged,
            Touch::NotJudged,
            Touch::NotJudged,
            Touch::Clean,
        ];
        assert_eq!(settle(&mut delay, 2 * second), expected);
        delay.message(0, passage(3 * second, 500));
        assert_eq!(settle(&mut delay, u64::MAX), [Touch::Clean]);
    }

    #[test]
    fn what_took_longer_than_it_is_waited_for_is_counted() {
        let mut delay = DelayLine::new(1, EXPOSURE_NS);
        assert!(settle(&mut delay, 2 * DELAY_NS).is_empty());
        delay.message(0, passage(DELAY_NS - 1, 1_000_000));
        delay.message(0, passage(DELAY_NS, 1_000_000));
        assert_eq!(delay.overdue(), 1);
    }

    #[test]
    fn what_is_held_is_bounded_whatever_the_loops_do_not_tell() {
        let mut delay = DelayLine::new(1, EXPOSURE_NS);
        let mut judged = 0;
        for round in 0..8u64 {
            for nth in 0..DELAY_HELD_MAX as u64 / 2 {
                let at_ns = (round * DELAY_HELD_MAX as u64 + nth) * 2_000;
                delay.message(0, passage(at_ns, 500));
                delay.gap(interval(at_ns, 400));
            }
            // No loop has said that it is any further.
            let touches = settle(&mut delay, 0);
            assert!(touches.iter().all(|touch| *touch == Touch::NotJudged));
            judged += touches.len();
            assert!(delay.held() <= DELAY_HELD_MAX && delay.gaps.len() <= DELAY_GAPS_MAX);
            assert!(delay.busy.len() <= DELAY_HELD_MAX);
        }
        let rest = settle(&mut delay, u64::MAX);
        assert_eq!(judged + rest.len(), 4 * DELAY_HELD_MAX);
        // Gaps were forgotten while nothing could be decided: nothing counts as clean.
        assert!(rest.iter().all(|touch| *touch == Touch::NotJudged));
        assert!(delay.gaps.is_empty() && delay.busy.is_empty() && delay.blind.is_none());
    }
}
