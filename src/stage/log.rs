//! The logs of a run that is to be judged: long segments of a loop, messages of a hop.
//!
//! Both are bounded and their memory is touched before the run, so that noting neither allocates nor faults. What has no
//! room is counted: a run whose logs were too small is not judged.
//!
//! Invariant: a log that is off costs a comparison that is never true; one that is on is written by its loop alone, and
//! handed over once, at the end.

use std::sync::{Arc, OnceLock};

use crate::base::limits::{GAP_LOG_SEGMENTS, IDLE_FLOOR_NS, PACE_LOG, PACE_NS, SUSPECT_NS};
use crate::budget::{
    HopCounters, LongSegment, LoopEvidence, Pace, Passage, Segment, ShedNote, Witness,
};
use crate::host::ThreadUse;

/// Chores between two looks at what idle turns take: a scan of a thousand buckets takes half a microsecond.
const CHORES_PER_FLOOR: u32 = 16;

/// Idle turns that say what one takes: a hundred of them lie beyond the P99.9.
const IDLE_TURNS_MIN: u64 = 10_000;

/// The highest floor: the longest threshold of a gap is no lower.
const IDLE_FLOOR_MAX_NS: u64 = 5_000;

/// Most notes of sheds, at most one for each of the loop's chores: a minute of them. What comes later is added to the last.
const SHED_NOTES: usize = 1 << 16;

/// Where a log is left at the end.
pub(crate) type Shelf<T> = Arc<OnceLock<T>>;

/// A histogram of short spans: buckets of the same width, the last one for all that is longer.
#[derive(Debug)]
struct Short {
    counts: Box<[u32; Short::BUCKETS]>,
    total: u64,
}

impl Short {
    const BUCKETS: usize = 1024;
    /// Up to 20 us: an idle turn with a system call or two takes one or two.
    const WIDTH_NS: u64 = 20;

    fn new() -> Short {
        Short {
            counts: Box::new([0; Short::BUCKETS]),
            total: 0,
        }
    }

    #[inline(always)]
    fn record(&mut self, ns: u64) {
        let at = ((ns / Short::WIDTH_NS) as usize).min(Short::BUCKETS - 1);
        self.counts[at] = self.counts[at].saturating_add(1);
        self.total += 1;
    }

    /// The upper end of the bucket that holds that share of the spans; 0 of none.
    fn quantile(&self, share: f64) -> u64 {
        let rank = (self.total as f64 * share).ceil() as u64;
        let mut seen = 0u64;
        for (at, count) in self.counts.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= rank.max(1) {
                return (at as u64 + 1) * Short::WIDTH_NS;
            }
        }
        0
    }
}

/// How fast the core runs, looked at every [`PACE_NS`].
#[derive(Debug)]
struct Paces {
    log: Vec<Pace>,
    lost: u64,
}

impl Paces {
    fn new() -> Paces {
        let touched = Pace {
            at_ns: 1,
            ..Pace::default()
        };
        let mut log = vec![touched; PACE_LOG];
        log.clear();
        Paces { log, lost: 0 }
    }

    fn clear(&mut self) {
        self.log.clear();
        self.lost = 0;
    }

    fn note(&mut self, at_ns: u64, took_ns: u64) {
        if self.log.len() < self.log.capacity() {
            self.log.push(Pace {
                at_ns,
                took_ns: u32::try_from(took_ns).unwrap_or(u32::MAX),
            });
        } else {
            self.lost += 1;
        }
    }
}

/// What a loop that is judged has.
#[derive(Debug)]
struct Noting {
    segments: Vec<LongSegment>,
    lost: u64,
    idle: Short,
    receive: Short,
    paces: Paces,
    /// The thread at the end of the last segment that was looked into.
    before: ThreadUse,
    /// Times that the loop did its chores.
    chores: u32,
    /// The hops that the loop's nodes offer to, and what they had shed when it was last looked at.
    offers: Vec<Arc<HopCounters>>,
    shed: u64,
    sheds: Vec<ShedNote>,
    shelf: Shelf<LoopEvidence>,
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

    /// A log that is left on that shelf, of a loop whose nodes offer to those hops. Call it before the run: it allocates and
    /// touches its memory.
    pub(crate) fn on(shelf: Shelf<LoopEvidence>, offers: Vec<Arc<HopCounters>>) -> LoopLog {
        let nothing = LongSegment {
            start_ns: 0,
            len_ns: 1,
            kind: Segment::Idle,
            node: 0,
            witness: None,
        };
        let mut segments = vec![nothing; GAP_LOG_SEGMENTS];
        segments.clear();
        let none = ShedNote {
            at_ns: 1,
            messages: 1,
        };
        let mut sheds = vec![none; SHED_NOTES];
        sheds.clear();
        LoopLog {
            floor_ns: IDLE_FLOOR_NS,
            suspect_ns: SUSPECT_NS,
            node: 0,
            pace_at_ns: 0,
            noting: Some(Box::new(Noting {
                segments,
                lost: 0,
                idle: Short::new(),
                receive: Short::new(),
                paces: Paces::new(),
                before: ThreadUse::default(),
                chores: 0,
                offers,
                shed: 0,
                sheds,
                shelf,
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
            noting.segments.clear();
            noting.lost = 0;
            noting.idle = Short::new();
            noting.receive = Short::new();
            noting.paces.clear();
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
        if let Some(noting) = &mut self.noting {
            noting.paces.note(done_ns, done_ns.saturating_sub(from_ns));
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
        if noting.segments.len() == noting.segments.capacity() {
            noting.lost += 1;
            return;
        }
        noting.segments.push(LongSegment {
            start_ns,
            len_ns: end_ns.saturating_sub(start_ns),
            kind,
            node,
            witness,
        });
    }

    /// Sets what the kernel says from now on apart from what it said before, and from time to time the floor by what turns
    /// take: what is below a third of the least gap need not be noted, or a slow build would fill the log with its own turns.
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
        let Some(noting) = &mut self.noting else {
            return;
        };
        let shed = noting.offers.iter().map(|hop| hop.shed_total()).sum();
        let messages = shed - core::mem::replace(&mut noting.shed, shed);
        if messages == 0 {
            return;
        }
        let is_full = noting.sheds.len() == noting.sheds.capacity();
        match noting.sheds.last_mut().filter(|_| is_full) {
            Some(last) => last.messages += messages,
            None => noting.sheds.push(ShedNote {
                at_ns: now_ns,
                messages,
            }),
        }
    }

    /// Leaves what was noted on the shelf.
    pub(crate) fn hand_over(&mut self, nodes: impl Iterator<Item = String>) {
        let Some(noting) = self.noting.take() else {
            return;
        };
        *self = LoopLog::off();
        // The shelf is the log's own: nobody else has put anything there.
        let _ = noting.shelf.set(LoopEvidence {
            nodes: nodes.collect(),
            segments: noting.segments,
            lost: noting.lost,
            idle_p99_9_ns: noting.idle.quantile(0.999),
            receive_p99_ns: noting.receive.quantile(0.99),
            idle_turns: noting.idle.total,
            paces: noting.paces.log,
            paces_lost: noting.paces.lost,
            sheds: noting.sheds,
        });
    }
}

/// The log of a hop's messages. Dropping it leaves it on its shelf.
#[derive(Debug, Default)]
pub(crate) struct HopLog {
    passages: Vec<Passage>,
    lost: u64,
    shelf: Option<Shelf<(Vec<Passage>, u64)>>,
}

impl HopLog {
    /// A log with room for so many messages. Call it before the run: it allocates and touches its memory.
    pub(crate) fn on(messages: usize, shelf: Shelf<(Vec<Passage>, u64)>) -> HopLog {
        let touched = Passage {
            t_offer_ns: 1,
            ..Passage::default()
        };
        let mut passages = vec![touched; messages];
        passages.clear();
        HopLog {
            passages,
            lost: 0,
            shelf: Some(shelf),
        }
    }

    #[inline(always)]
    pub(crate) const fn is_on(&self) -> bool {
        self.shelf.is_some()
    }

    #[inline]
    pub(crate) fn note(&mut self, passage: Passage) {
        if self.passages.len() < self.passages.capacity() {
            self.passages.push(passage);
        } else {
            self.lost += 1;
        }
    }
}

impl Drop for HopLog {
    fn drop(&mut self) {
        if let Some(shelf) = self.shelf.take() {
            // The shelf is the log's own: nobody else has put anything there.
            let _ = shelf.set((core::mem::take(&mut self.passages), self.lost));
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

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
    fn quantiles_of_short_spans_are_the_upper_ends_of_their_buckets() {
        let mut short = Short::new();
        assert_eq!(short.quantile(0.5), 0);
        (0..1000).for_each(|_| short.record(105));
        assert_eq!(short.quantile(0.999), 120);
        (0..10).for_each(|_| short.record(1_000_000));
        assert_eq!(short.quantile(0.5), 120);
        assert_eq!(
            short.quantile(0.999),
            Short::BUCKETS as u64 * Short::WIDTH_NS
        );
    }

    #[test]
    fn only_long_segments_are_noted_and_some_with_a_witness() {
        let shelf = Shelf::default();
        let mut log = LoopLog::on(shelf.clone(), Vec::new());
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

    #[test]
    fn sheds_are_noted_when_they_are_noticed_and_none_twice() {
        use crate::base::Shed;

        let shelf = Shelf::default();
        let hops: Vec<Arc<HopCounters>> = (0..2).map(|_| Arc::default()).collect();
        let mut log = LoopLog::on(shelf.clone(), hops.clone());
        log.begin();
        log.note_sheds(10);
        hops[0].shed(0, Shed::Full);
        hops[1].shed(0, Shed::Rejected);
        log.note_sheds(20);
        log.note_sheds(30);
        for at_ns in 0..SHED_NOTES as u64 + 3 {
            hops[1].shed(0, Shed::Full);
            log.note_sheds(40 + at_ns);
        }
        log.hand_over(std::iter::empty());
        let sheds = &shelf.get().unwrap().sheds;
        let first = ShedNote {
            at_ns: 20,
            messages: 2,
        };
        assert_eq!((sheds[0], sheds[1].messages), (first, 1));
        assert_eq!(
            (sheds.len(), sheds[SHED_NOTES - 1].messages),
            (SHED_NOTES, 5)
        );
    }
}
