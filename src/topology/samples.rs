//! Messages that are followed over the whole line, while it runs.
//!
//! ```text
//!   Samples ── one in n ──→ control's word ──→ every hop's consumer
//!      ↑                                            │ passages of those messages
//!      └── ways ←── joined ←── a ring a hop, or what a view of clean figures hears anyway
//! ```
//!
//! Of how many one is followed changes with how many there are: about [`SAMPLES_PER_S`] a second. Hops that do not see a change at
//! once do no harm, since a message is told only if it was followed by the rule of before and by the new one.
//!
//! Invariant: while nothing is followed no hop tells anything, and what tells has no room it counts and never waits.

use std::fmt;
use std::sync::Arc;

use crate::base::OneIn;
use crate::base::limits::{SAMPLE_PACE_NS, SAMPLES_PER_S, SAMPLES_TOLD};
use crate::budget::Passage;
use crate::budget::follow::{Follow, FollowCounts, Way};
use crate::budget::taint::Interval;
use crate::budget::ways::Shape;
use crate::control::Sampling;
use crate::stage::log::{Ear, HopLog, Notes};

use super::line::Line;
use super::run::Running;

/// One in so many is followed until it is known how many there are.
const FIRST: OneIn = OneIn::new(1 << 10);

/// How much more often one is followed where none was seen for a while.
const NONE_SEEN: u64 = 8;

/// How many messages are followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rate {
    /// None.
    #[default]
    Off,
    /// One in so many, rounded up to a power of two.
    OneIn(u64),
    /// About [`SAMPLES_PER_S`] a second, whatever the line carries.
    Paced,
}

/// Follows messages over a line's hops and joins what they tell. See [`Line::samples`].
pub struct Samples {
    sampling: Arc<Sampling>,
    /// By hop; none where others hear for it.
    ears: Vec<Option<Ear<Passage>>>,
    follow: Follow,
    rate: Rate,
    /// When it was last looked at how many are followed, and how many had been seen and lost by then.
    paced_ns: u64,
    seen: u64,
    lost: u64,
}

impl fmt::Debug for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Samples")
            .field("rate", &self.rate)
            .field("rule", &self.sampling.get())
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

impl Line {
    /// Has each hop tell the messages that are followed, once [`Running::sample`] says so: what is drawn of single messages is
    /// made of it. 48 KiB a hop; a comparison a message while none is followed. A line that is watched for clean figures
    /// ([`Line::watch_clean`]) tells all of them anyway, and needs no more.
    pub fn watch_samples(&mut self) {
        if matches!(self.notes, Notes::Nothing) {
            self.samples = Some(self.samples());
        }
    }

    /// The same for who holds the samples himself, such as beside a line that runs inline. Instead of
    /// [`Line::note_evidence`] and [`Line::watch_clean`]: the last one that is called counts.
    ///
    /// ```
    /// use hopline::adapter::{Binance, blackhole, synthetic};
    /// use hopline::io::{Driver, Virtual};
    /// use hopline::topology::{Hop, Inline, Line, Rate};
    ///
    /// let mut line = Line::builder("followed");
    /// let feed = synthetic("BTCUSDT", 50_000.0).count(100);
    /// line.source("btc", feed.decode(Binance::new(&["BTCUSDT"])));
    /// line.sink("out", blackhole());
    /// line.connect("btc", "out", Hop::depth(1024));
    /// let mut line = line.build()?;
    /// let mut samples = line.samples();
    /// samples.rate(Rate::OneIn(1), 0);
    /// line.run_inline(Inline::new(Driver::Virtual(Virtual::new())), None)?;
    /// let ways = samples.ways(u64::MAX);
    /// assert!(ways.iter().all(|way| way.has_left && way.stops.len() == 1));
    /// assert_eq!(samples.counts().incomplete, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn samples(&mut self) -> Samples {
        let sampling = Arc::new(Sampling::default());
        let mut logs = Vec::new();
        let mut ears = Vec::new();
        for _ in &self.hops {
            let (log, ear) = match HopLog::sampled(sampling.clone(), SAMPLES_TOLD) {
                Some((log, ear)) => (log, Some(ear)),
                None => (HopLog::Off, None),
            };
            logs.push(log);
            ears.push(ear);
        }
        self.notes = Notes::Sampled(logs);
        Samples::new(sampling, ears, self.hop_names())
    }
}

impl Samples {
    fn new<'n>(
        sampling: Arc<Sampling>,
        ears: Vec<Option<Ear<Passage>>>,
        hops: impl Iterator<Item = &'n str>,
    ) -> Samples {
        Samples {
            sampling,
            ears,
            follow: Follow::new(Shape::of(hops)),
            rate: Rate::Off,
            paced_ns: 0,
            seen: 0,
            lost: 0,
        }
    }

    /// Samples of a line of which all messages are heard anyway, with the loop of each hop's consumer, of so many loops that tell
    /// their gaps.
    pub(super) fn heard<'n>(
        hops: impl Iterator<Item = &'n str>,
        loops: Vec<Option<usize>>,
        of: usize,
    ) -> Samples {
        let mut samples = Samples::new(Arc::default(), Vec::new(), hops);
        samples.follow = samples.follow.with_gaps(loops, of);
        samples
    }

    /// From `now_ns` of the line's clock on so many messages are followed.
    pub fn rate(&mut self, rate: Rate, now_ns: u64) {
        if rate == self.rate {
            return;
        }
        self.rate = rate;
        let rule = match rate {
            Rate::Off => OneIn::NONE,
            Rate::OneIn(n) => OneIn::new(n),
            Rate::Paced => FIRST,
        };
        self.set(rule, now_ns);
        self.paced(now_ns);
    }

    fn set(&mut self, rule: OneIn, now_ns: u64) {
        self.sampling.set(rule);
        self.follow.rule(rule, now_ns);
    }

    fn paced(&mut self, now_ns: u64) {
        let counts = self.follow.counts();
        (self.paced_ns, self.seen, self.lost) = (now_ns, counts.seen, counts.lost);
    }

    /// Follows more or fewer, by how many were seen since it last looked.
    fn pace(&mut self, now_ns: u64) {
        let span_ns = now_ns.saturating_sub(self.paced_ns);
        let rule = self.sampling.get();
        let Some(n) = rule.n().filter(|_| self.rate == Rate::Paced) else {
            return;
        };
        if span_ns < SAMPLE_PACE_NS {
            return;
        }
        let counts = self.follow.counts();
        let wanted = (u128::from(SAMPLES_PER_S) * u128::from(span_ns) / 1_000_000_000) as u64;
        let next = match counts.seen - self.seen {
            _ if counts.lost > self.lost => n.saturating_mul(4),
            0 => n / NONE_SEEN,
            // By powers of two, so that nothing changes between half and twice as many.
            seen if seen >= 2 * wanted.max(1) => n << (seen / wanted.max(1)).ilog2(),
            seen if 2 * seen <= wanted => n >> (wanted / seen).ilog2(),
            _ => n,
        };
        let next = OneIn::new(next.max(1));
        if next != rule {
            self.set(next, now_ns);
        }
        self.paced(now_ns);
    }

    /// The ways of those that are done by `now_ns` of the line's clock, and were not yet told. At the end of time: of all.
    pub fn ways(&mut self, now_ns: u64) -> Vec<Way> {
        let mut lost = 0;
        for (hop, ear) in self.ears.iter_mut().enumerate() {
            let Some(ear) = ear else { continue };
            lost += ear.newly_lost();
            let most = ear.ring.depth();
            ear.ring
                .drain(most, |passage| self.follow.passage(hop, passage));
            ear.ring.return_credits();
        }
        if lost > 0 {
            self.lost(lost, now_ns);
        }
        self.pace(now_ns);
        let mut ways = Vec::new();
        self.follow.settle(now_ns, |way| ways.push(way));
        ways
    }

    /// What became of those that were followed.
    #[must_use]
    pub const fn counts(&self) -> FollowCounts {
        self.follow.counts()
    }

    /// Of how many messages one is followed now; none if none is.
    #[must_use]
    pub fn one_in(&self) -> Option<u64> {
        self.sampling.get().n()
    }

    /// Whether any is.
    pub(super) fn is_on(&self) -> bool {
        self.rate != Rate::Off
    }

    /// A message over that hop was heard.
    #[inline]
    pub(super) fn hear(&mut self, hop: usize, passage: Passage) {
        if self.sampling.picks(passage.source, passage.due_ns()) {
            self.follow.passage(hop, passage);
        }
    }

    /// So many were not, by `now_ns`.
    pub(super) fn lost(&mut self, passages: u64, now_ns: u64) {
        self.follow.lost(passages, now_ns);
    }

    /// A gap of that loop was heard.
    pub(super) fn gap(&mut self, of_loop: usize, gap: Interval) {
        self.follow.gap(of_loop, gap);
    }
}

impl Running {
    /// From now on so many messages are followed, where [`Line::watch_samples`] or [`Line::watch_clean`] was called; else
    /// none ever is.
    pub fn sample(&mut self, rate: Rate) {
        if let Some(samples) = &mut self.samples {
            samples.rate(rate, self.clock.stamp());
        }
    }

    /// The ways of the messages that were followed, and are done since the last call: call it some times a second. One that has
    /// left is told a quarter of a second later, one that has not after a second.
    pub fn ways(&mut self) -> Vec<Way> {
        self.listen();
        let now_ns = self.clock.stamp();
        let samples = self.samples.as_mut();
        samples.map_or_else(Vec::new, |samples| samples.ways(now_ns))
    }

    /// Who follows messages, if anybody does.
    #[must_use]
    pub const fn samples(&self) -> Option<&Samples> {
        self.samples.as_ref()
    }

    /// The names of the line's hops.
    pub fn hop_names(&self) -> impl Iterator<Item = &str> {
        self.hops.iter().map(|hop| hop.name.as_str())
    }
}
