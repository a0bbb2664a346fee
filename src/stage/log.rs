//! The logs of a run that is to be judged: long segments of a loop, messages of a hop.
//!
//! Both are bounded and their memory is touched before the run, so that noting neither allocates nor faults; and it is laid
//! on huge pages, since a guest that writes straight on pays 30 to 60 ns a message for page tables otherwise. What has no
//! room is counted: a run whose logs were too small is not judged.
//!
//! ```text
//!   kept: a vector, left on a shelf at the end ─→ judged afterwards
//!   told: a bounded ring, read while it runs   ─→ a live view, which decides with a delay
//!   sampled: the same for few of the messages  ─→ whoever draws their ways
//! ```
//!
//! Invariant: a log that is off costs a comparison that is never true; one that is on is written by its loop alone, and
//! handed over once, at the end, or piece by piece to one reader, for whom it never waits.

use std::sync::{Arc, OnceLock};

use crate::base::limits::{
    BLAME_FROM_NS, GAP_LOG_SEGMENTS, IDLE_FLOOR_NS, PACE_NS, PASSAGES_TOLD, SEGMENTS_TOLD,
    SUSPECT_NS,
};
use crate::base::{Counter, Envelope, addresses};
use crate::budget::taint::{Interval, Thresholds};
use crate::budget::{HopCounters, LongSegment, LoopEvidence, Passage, Segment, Witness};
use crate::control::Sampling;
use crate::host::{ThreadUse, lay_on_huge_pages};
use crate::ring::spsc;

use super::paces::Paces;
use super::sheds::Sheds;
use super::short::Short;

/// Chores between two looks at what idle turns take: a scan of a thousand buckets takes half a microsecond.
const CHORES_PER_FLOOR: u32 = 16;

/// Idle turns that say what one takes: a hundred of them lie beyond the P99.9.
const IDLE_TURNS_MIN: u64 = 10_000;

/// The highest floor: the longest threshold of a gap is no lower.
const IDLE_FLOOR_MAX_NS: u64 = 5_000;

/// Where a log is left at the end.
pub(crate) type Shelf<T> = Arc<OnceLock<T>>;

/// For how much there is room in what is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Room {
    /// Messages of each hop.
    pub(crate) messages: usize,
    /// How long the line is to run, in nanoseconds; 0 where nobody knows.
    pub(crate) span_ns: u64,
}

/// Whether and how the loops and hops of a line note what a verdict is made from.
#[derive(Debug, Default)]
pub(crate) enum Notes {
    /// Nothing is noted.
    #[default]
    Nothing,
    /// Each hop keeps its first messages, each loop its long segments, for the end.
    Kept(Room),
    /// So many messages a hop for the end, and nothing of the loops.
    Passages(usize),
    /// All of it is told to one who reads while the line runs; beside the line's own loops these tell.
    Told(Vec<Ear<Told>>),
    /// Each hop tells the messages that a rule picks; these are their logs, by their places.
    Sampled(Vec<HopLog>),
}

/// What a loop tells of itself while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// A long segment.
    Long(LongSegment),
    /// Time that is a gap, whatever the thresholds say.
    Gap(Interval),
    /// All long segments that ended before `at_ns` have been told, and what turns take so far.
    Until { at_ns: u64, usual: Thresholds },
}

/// The writing end of a log that is told: what has no room is counted.
#[derive(Debug)]
struct Mouth<T: Send> {
    ring: spsc::Producer<T>,
    lost: Arc<Counter>,
}

impl<T: Send> Mouth<T> {
    #[inline]
    fn tell(&mut self, what: T) {
        if self.ring.push(what).is_err() {
            self.lost.add(1);
        }
    }
}

/// The reading end of a log that is told.
#[derive(Debug)]
pub(crate) struct Ear<T: Send> {
    pub(crate) ring: spsc::Consumer<T>,
    lost: Arc<Counter>,
    lost_before: u64,
}

impl<T: Send> Ear<T> {
    /// How many found no room since the last time that this was asked.
    pub(crate) fn newly_lost(&mut self) -> u64 {
        let lost = self.lost.get();
        lost - core::mem::replace(&mut self.lost_before, lost)
    }
}

/// A log that is told, with its memory touched. Such a ring has the depth that it was given, a power of two.
fn told<T: Send + Copy>(depth: usize, touch: T) -> Option<(Mouth<T>, Ear<T>)> {
    let (mut producer, mut consumer) = spsc::ring(depth).ok()?;
    for _ in 0..depth {
        // It has room for that many.
        let _ = producer.push(touch);
    }
    consumer.drain(depth, drop);
    consumer.return_credits();
    let lost = Arc::new(Counter::default());
    let mouth = Mouth {
        ring: producer,
        lost: Arc::clone(&lost),
    };
    let ear = Ear {
        ring: consumer,
        lost,
        lost_before: 0,
    };
    Some((mouth, ear))
}

/// The log of a loop that is not the line's own and disturbs it all the same, such as a generator's: it tells a live view
/// its gaps. Dropping it says that there will be no more.
///
/// ```
/// use hopline::budget::taint::Interval;
/// use hopline::topology::Line;
/// # use hopline::adapter::{Content, blackhole, datagrams, synthetic};
/// # use hopline::topology::Hop;
/// # let mut builder = Line::builder("x");
/// # builder.source("in", synthetic("X", 1e3).content(Content::Datagrams { bytes: 64 }).decode(datagrams()));
/// # builder.sink("out", blackhole());
/// # builder.connect("in", "out", Hop::depth(1024));
/// # let mut line = builder.build().unwrap();
/// line.watch_clean();
/// let mut meter = line.meter().expect("it is watched");
/// meter.gap(Interval { start_ns: 1_000, end_ns: 9_000 });
/// meter.known_until(9_000);
/// ```
#[derive(Debug)]
pub struct Meter(Mouth<Told>);

impl Meter {
    pub(crate) fn pair() -> Option<(Meter, Ear<Told>)> {
        let (mouth, ear) = told(SEGMENTS_TOLD, Told::Gap(Interval::default()))?;
        Some((Meter(mouth), ear))
    }

    /// Time that the loop did not have, in nanoseconds of the line's clock.
    pub fn gap(&mut self, gap: Interval) {
        self.0.tell(Told::Gap(gap));
    }

    /// All gaps that ended before `at_ns` have been told, and those that come begin no earlier. Nothing is decided beyond it:
    /// say it every millisecond or so.
    pub fn known_until(&mut self, at_ns: u64) {
        let usual = Thresholds {
            idle_ns: u64::MAX,
            receive_ns: u64::MAX,
        };
        // The next one says more: this one may be lost.
        let _ = self.0.ring.push(Told::Until { at_ns, usual });
    }
}

/// What a loop that is judged has.
#[derive(Debug)]
struct Noting {
    to: Listener,
    idle: Short,
    receive: Short,
    /// The thread at the end of the last segment that was looked into.
    before: ThreadUse,
    /// Times that the loop did its chores.
    chores: u32,
    /// What is told of its turns, and how often that was.
    usual: Thresholds,
    tellings: u32,
}

impl Noting {
    fn push(&mut self, segment: LongSegment) {
        match &mut self.to {
            Listener::Ear(mouth) => mouth.tell(Told::Long(segment)),
            Listener::Shelf(kept) if kept.segments.len() == kept.segments.capacity() => {
                kept.lost += 1;
            }
            Listener::Shelf(kept) => kept.segments.push(segment),
        }
    }
}

/// What is kept for the end of a run.
#[derive(Debug)]
struct Kept {
    segments: Vec<LongSegment>,
    lost: u64,
    paces: Paces,
    sheds: Sheds,
    shelf: Shelf<LoopEvidence>,
}

/// Who gets a loop's long segments.
#[derive(Debug)]
enum Listener {
    Shelf(Box<Kept>),
    Ear(Box<Mouth<Told>>),
}

/// The log of a loop's long segments.
#[derive(Debug)]
pub struct LoopLog {
    /// From how long on a segment that speaks for itself is noted, in nanoseconds.
    pub(crate) floor_ns: u64,
    /// From how long on the kernel is asked about any other.
    pub(crate) suspect_ns: u64,
    /// The node that has the turn, as [`LongSegment::node`].
    pub(crate) node: u16,
    /// When the pace is looked at next.
    pace_at_ns: u64,
    noting: Option<Box<Noting>>,
}

impl LoopLog {
    /// A log that notes nothing.
    #[must_use]
    pub const fn off() -> LoopLog {
        LoopLog {
            floor_ns: u64::MAX,
            suspect_ns: u64::MAX,
            node: 0,
            pace_at_ns: u64::MAX,
            noting: None,
        }
    }

    /// A log that is left on that shelf, of a loop whose nodes offer to those hops (with their places in
    /// the line), with room for a segment of each message that
    /// a hop has room for, and [`GAP_LOG_SEGMENTS`]. Call it before the run: it allocates and touches its memory.
    pub(crate) fn on(
        shelf: Shelf<LoopEvidence>,
        offers: impl Iterator<Item = (usize, Arc<HopCounters>)>,
        room: Room,
    ) -> LoopLog {
        let nothing = LongSegment {
            start_ns: 0,
            len_ns: 1,
            kind: Segment::Idle,
            node: 0,
            witness: None,
        };
        let mut segments = vec![nothing; GAP_LOG_SEGMENTS + room.messages];
        lay_on_huge_pages(&[addresses(&segments)]);
        segments.clear();
        LoopLog {
            pace_at_ns: 0,
            ..LoopLog::to(Listener::Shelf(Box::new(Kept {
                segments,
                lost: 0,
                paces: Paces::over(room.span_ns),
                sheds: Sheds::of(offers),
                shelf,
            })))
        }
    }

    /// A log that is told while it runs. None if there is no ring of that depth.
    pub(crate) fn told() -> Option<(LoopLog, Ear<Told>)> {
        let (mouth, ear) = told(SEGMENTS_TOLD, Told::Gap(Interval::default()))?;
        Some((LoopLog::to(Listener::Ear(Box::new(mouth))), ear))
    }

    fn to(to: Listener) -> LoopLog {
        LoopLog {
            floor_ns: IDLE_FLOOR_NS,
            suspect_ns: SUSPECT_NS,
            node: 0,
            pace_at_ns: u64::MAX,
            noting: Some(Box::new(Noting {
                to,
                idle: Short::new(),
                receive: Short::new(),
                before: ThreadUse::default(),
                chores: 0,
                usual: Thresholds::by(0, 0),
                tellings: 0,
            })),
        }
    }

    /// Whether it notes.
    #[inline(always)]
    pub(crate) const fn is_on(&self) -> bool {
        self.noting.is_some()
    }

    /// Begins, on the loop's own thread: what went before is forgotten.
    pub(crate) fn begin(&mut self) {
        if let Some(noting) = &mut self.noting {
            if let Listener::Shelf(kept) = &mut noting.to {
                kept.segments.clear();
                kept.lost = 0;
                kept.paces.clear();
            }
            noting.idle = Short::new();
            noting.receive = Short::new();
            noting.before = ThreadUse::now();
        }
    }

    /// A turn without work took so long.
    #[inline(always)]
    pub(crate) fn idle_turn(&mut self, ns: u64) {
        if let Some(noting) = &mut self.noting {
            noting.idle.record(ns);
        }
    }

    /// Whether it is time to look at how fast the core runs.
    #[inline(always)]
    pub(crate) const fn wants_pace(&self, now_ns: u64) -> bool {
        now_ns >= self.pace_at_ns
    }

    /// The core did [its piece of work](crate::host::pace_work) between two stamps.
    pub(crate) fn note_pace(&mut self, from_ns: u64, done_ns: u64) {
        self.pace_at_ns = done_ns + PACE_NS;
        if let Some(Listener::Shelf(kept)) = self.noting.as_mut().map(|noting| &mut noting.to) {
            kept.paces.note(done_ns, done_ns.saturating_sub(from_ns));
        }
    }

    /// A reception took so long.
    #[inline(always)]
    pub(crate) fn received(&mut self, ns: u64) {
        if let Some(noting) = &mut self.noting {
            noting.receive.record(ns);
        }
    }

    /// Whether a segment of that kind and length is to be noted.
    #[inline(always)]
    pub(crate) const fn is_long(&self, kind: Segment, len_ns: u64) -> bool {
        let floor_ns = if kind.speaks_for_itself() {
            self.floor_ns
        } else {
            self.suspect_ns
        };
        len_ns >= floor_ns
    }

    /// Notes a segment, and asks the kernel about it unless it speaks for itself. Takes a microsecond or two, which are no
    /// part of any segment: the caller takes a fresh stamp.
    #[cold]
    pub(crate) fn note(&mut self, kind: Segment, start_ns: u64, end_ns: u64) {
        let node = self.node;
        let Some(noting) = &mut self.noting else {
            return;
        };
        // Three system calls: not for a stretch that speaks for itself, or the frame behind it would wait for them. One that
        // is a gap by any threshold has held that frame up already, and what happened in it must not be the next one's.
        let witness =
            if !kind.speaks_for_itself() || end_ns.saturating_sub(start_ns) >= IDLE_FLOOR_MAX_NS {
                let now = ThreadUse::now();
                let since = now.since(&noting.before);
                noting.before = now;
                Some(Witness {
                    off_cpu_ns: since.off_cpu_ns(),
                    voluntary: since.voluntary as u32,
                    involuntary: since.involuntary as u32,
                    faults: since.faults as u32,
                })
            } else {
                None
            };
        let witness = witness.filter(|_| !kind.speaks_for_itself());
        noting.push(LongSegment {
            start_ns,
            len_ns: end_ns.saturating_sub(start_ns),
            kind,
            node,
            witness,
        });
    }

    /// What noting or refreshing took: whatever is much longer than that is the host's, like anything in an idle turn.
    #[inline]
    pub(crate) fn took(&mut self, from_ns: u64, until_ns: u64) {
        let len_ns = until_ns.saturating_sub(from_ns);
        if len_ns < BLAME_FROM_NS {
            return;
        }
        let node = self.node;
        if let Some(noting) = &mut self.noting {
            noting.push(LongSegment {
                start_ns: from_ns,
                len_ns,
                kind: Segment::Blame,
                node,
                witness: None,
            });
        }
    }

    /// Sets what the kernel says from now on apart from what it said before, and from time to time the floor by what turns
    /// take: what is well below the least gap need not be noted, or a slow build would fill the log with its own turns.
    /// For the loop's housekeeping.
    pub(crate) fn refresh(&mut self) {
        let Some(noting) = &mut self.noting else {
            return;
        };
        noting.before = ThreadUse::now();
        if noting.chores.is_multiple_of(CHORES_PER_FLOOR) && noting.idle.total >= IDLE_TURNS_MIN {
            let usual_ns = noting.idle.quantile(0.999);
            self.floor_ns = (2 * usual_ns).clamp(IDLE_FLOOR_NS, IDLE_FLOOR_MAX_NS);
        }
        noting.chores = noting.chores.wrapping_add(1);
    }

    /// Notes what was shed since the last call: a few loads where nothing was. For the loop's housekeeping.
    pub(crate) fn note_sheds(&mut self, now_ns: u64) {
        if let Some(Listener::Shelf(kept)) = self.noting.as_mut().map(|noting| &mut noting.to) {
            kept.sheds.note(now_ns);
        }
    }

    /// Tells that all long segments that ended before `at_ns` have been told, if somebody listens. For the end of the loop's
    /// housekeeping.
    pub(crate) fn tell_until(&mut self, at_ns: u64) {
        if let Some(noting) = &mut self.noting
            && let Listener::Ear(mouth) = &mut noting.to
        {
            if noting.tellings.is_multiple_of(CHORES_PER_FLOOR) {
                noting.usual =
                    Thresholds::by(noting.idle.quantile(0.999), noting.receive.quantile(0.99));
            }
            noting.tellings = noting.tellings.wrapping_add(1);
            let usual = noting.usual;
            // The next one says more: this one may be lost.
            let _ = mouth.ring.push(Told::Until { at_ns, usual });
        }
    }

    /// Leaves what was noted on the shelf.
    pub(crate) fn hand_over(&mut self, nodes: impl Iterator<Item = String>) {
        let Some(noting) = self.noting.take() else {
            return;
        };
        *self = LoopLog::off();
        // An ear hears that its mouth is gone.
        if let Listener::Shelf(kept) = noting.to {
            // The shelf is the log's own: nobody else has put anything there.
            let _ = kept.shelf.set(LoopEvidence {
                nodes: nodes.collect(),
                segments: kept.segments,
                lost: kept.lost,
                idle_p99_9_ns: noting.idle.quantile(0.999),
                receive_p99_ns: noting.receive.quantile(0.99),
                idle_turns: noting.idle.total,
                paces: kept.paces.log,
                paces_lost: kept.paces.lost,
                sheds: kept.sheds.notes,
            });
        }
    }
}

/// The log of a hop's messages. Dropping it leaves it on its shelf, if it has one.
#[derive(Debug, Default)]
pub(crate) enum HopLog {
    /// It notes nothing.
    #[default]
    Off,
    /// The first so many messages.
    Kept {
        passages: Vec<Passage>,
        lost: u64,
        shelf: Shelf<(Vec<Passage>, u64)>,
    },
    /// All of them, to one who reads while it runs.
    Told(Telling),
    /// Those that its rule picks, likewise.
    Sampled(Telling, Arc<Sampling>),
}

/// The writing end of a hop's log that is told.
#[derive(Debug)]
pub(crate) struct Telling(Box<Mouth<Passage>>);

const TOUCHED: Passage = Passage {
    t_offer_ns: 1,
    origin_ns: 0,
    wait_ns: 0,
    service_ns: 0,
    source: 0,
    flags: 0,
};

impl HopLog {
    /// A log with room for so many messages. Call it before the run: it allocates and touches its memory.
    pub(crate) fn on(messages: usize, shelf: Shelf<(Vec<Passage>, u64)>) -> HopLog {
        let mut passages = vec![TOUCHED; messages];
        lay_on_huge_pages(&[addresses(&passages)]);
        passages.clear();
        HopLog::Kept {
            passages,
            lost: 0,
            shelf,
        }
    }

    /// A log that is told while it runs, likewise. None if there is no ring of that depth.
    pub(crate) fn told() -> Option<(HopLog, Ear<Passage>)> {
        let (mouth, ear) = told(PASSAGES_TOLD, TOUCHED)?;
        Some((HopLog::Told(Telling(Box::new(mouth))), ear))
    }

    /// A log that is told of the messages that a rule picks, likewise. None if there is no ring of that depth.
    pub(crate) fn sampled(rule: Arc<Sampling>, depth: usize) -> Option<(HopLog, Ear<Passage>)> {
        let (mouth, ear) = told(depth, TOUCHED)?;
        Some((HopLog::Sampled(Telling(Box::new(mouth)), rule), ear))
    }

    #[inline(always)]
    pub(crate) const fn is_on(&self) -> bool {
        !matches!(self, HopLog::Off)
    }

    /// Whether that message is to be noted by a log that is on. One of which it is not known when it was due has no name by
    /// which others would know it.
    #[inline]
    pub(crate) fn picks(&self, envelope: &Envelope) -> bool {
        let HopLog::Sampled(_, rule) = self else {
            return true;
        };
        rule.picks(envelope.source, envelope.t_intended_ns()) && envelope.origin_ns != u32::MAX
    }

    #[inline]
    pub(crate) fn note(&mut self, passage: Passage) {
        match self {
            HopLog::Off => {}
            HopLog::Kept { passages, lost, .. } => {
                if passages.len() < passages.capacity() {
                    passages.push(passage);
                } else {
                    *lost += 1;
                }
            }
            HopLog::Told(Telling(mouth)) | HopLog::Sampled(Telling(mouth), _) => {
                mouth.tell(passage);
            }
        }
    }
}

impl Drop for HopLog {
    fn drop(&mut self) {
        if let HopLog::Kept {
            passages,
            lost,
            shelf,
        } = self
        {
            // The shelf is the log's own: nobody else has put anything there.
            let _ = shelf.set((core::mem::take(passages), *lost));
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::base::OneIn;

    #[test]
    fn a_log_that_is_full_counts_what_it_loses_and_keeps_the_first() {
        let shelf = Shelf::default();
        let mut log = HopLog::on(2, shelf.clone());
        for t_offer_ns in 0..5 {
            log.note(Passage {
                t_offer_ns,
                ..Passage::default()
            });
        }
        drop(log);
        let (passages, lost) = shelf.get().unwrap();
        assert_eq!((passages.len(), passages[1].t_offer_ns, *lost), (2, 1, 3));
    }

    #[test]
    fn a_sampled_log_picks_what_its_rule_picks_and_tells_what_has_room() {
        let rule = Arc::new(Sampling::default());
        let (mut log, mut ear) = HopLog::sampled(rule.clone(), 2).unwrap();
        let message = |origin_ns| Envelope {
            t_offer_ns: 9_000_000_000,
            origin_ns,
            ..Envelope::default()
        };
        assert!(!log.picks(&message(7)), "no rule, no message");
        rule.set(OneIn::ALL);
        assert!(log.picks(&message(7)) && !log.picks(&message(u32::MAX)));
        for t_offer_ns in 0..5 {
            log.note(Passage {
                t_offer_ns,
                ..Passage::default()
            });
        }
        let mut told = Vec::new();
        ear.ring.drain(9, |passage| told.push(passage.t_offer_ns));
        assert_eq!((told, ear.newly_lost()), (vec![0, 1], 3));
        rule.set(OneIn::NONE);
        assert!(!log.picks(&message(7)));
    }

    #[test]
    fn only_long_segments_are_noted_and_some_with_a_witness() {
        let shelf = Shelf::default();
        let mut log = LoopLog::on(shelf.clone(), std::iter::empty(), Room::default());
        log.begin();
        assert!(!log.is_long(Segment::Idle, IDLE_FLOOR_NS - 1));
        assert!(log.is_long(Segment::Idle, IDLE_FLOOR_NS));
        assert!(!log.is_long(Segment::Handler, SUSPECT_NS - 1));
        log.note(Segment::Idle, 10, 2_000);
        log.note(Segment::Handler, 2_000, 9_000);
        log.hand_over(["a".to_owned()].into_iter());
        assert!(!log.is_on() && !log.is_long(Segment::Idle, 1 << 40));
        let evidence = shelf.get().unwrap();
        let witnesses: Vec<bool> = evidence
            .segments
            .iter()
            .map(|one| one.witness.is_some())
            .collect();
        assert_eq!(witnesses, [false, true]);
        assert_eq!((evidence.segments[1].len_ns, evidence.lost), (7_000, 0));
    }
}
