//! Clean figures while a line runs: what loops and hops tell, decided with a delay.
//!
//! ```text
//!   loops ─ long segments, how far they are ─→ rings ─┐
//!   others' loops (a generator) ──────── gaps ─→ ring ┼─→ delay line ─→ percentiles of clean messages
//!   hops ─ every message ───────────────────→ rings ──┘
//! ```
//!
//! Gaps that the program makes itself on another core are not told from the host's here, as they are over a whole run: that needs
//! what handlers usually take. Slow cores are not looked for either.
//!
//! Nothing waits for the one who listens: what a ring has no room for is counted, and what may be wrong for it is not judged.
//!
//! Invariant: a loop says how far it is after it has told what was before, and it is heard before its hops are: so all that
//! was done with before that point has been heard.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::base::limits::BATCH_FRAMES;
use crate::budget::delay::{DelayLine, Touch};
use crate::budget::report::Percentiles;
use crate::budget::taint::{Interval, Thresholds};
use crate::budget::{Budget, Of, Passage};
use crate::hist::Totals;
use crate::stage::hop::{SERVICE, WAIT};
use crate::stage::log::{Ear, Meter, Notes, Told};

use super::line::Line;
use super::report::{over_budget, percentiles};
use super::samples::Samples;
use super::wire::{HopView, NodeView};

/// The least time that a message counts as exposed to gaps, in nanoseconds, whatever it took.
pub const EXPOSURE_MIN_NS: u64 = 20_000;

/// Clean messages from end to end that settle how long a message counts as exposed: thirty of them lie beyond their P99.9.
const SETTLES: u64 = 30_000;

/// What of a hop, or of the whole line, was told from the host's doing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CleanSpan {
    /// Messages that no gap touched.
    pub clean: u64,
    /// Those that one did.
    pub tainted: u64,
    /// Those of which it is not known.
    pub not_judged: u64,
    /// The clean ones from the offer to the dequeue; none from end to end.
    pub wait_ns: Percentiles,
    /// In the handler; none from end to end.
    pub service_ns: Percentiles,
    /// Both together, or from the intended time until it has left.
    pub sojourn_ns: Percentiles,
    /// Clean ones over the budget, by quantile.
    pub over_budget: BTreeMap<&'static str, u64>,
}

/// So long with that gap as well: one that is told before its end lasts for ever.
fn lasted(before_ns: u64, gap: Interval) -> u64 {
    before_ns.saturating_add(gap.end_ns.saturating_sub(gap.start_ns))
}

impl CleanSpan {
    /// Messages that were judged.
    #[must_use]
    pub const fn judged(&self) -> u64 {
        self.clean + self.tainted
    }
}

/// Clean figures of a line, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CleanReport {
    /// Each hop, by its name.
    pub hops: BTreeMap<String, CleanSpan>,
    /// From the intended time until the message has left.
    pub end_to_end: CleanSpan,
    /// The least time that a message counts as exposed to gaps, in nanoseconds.
    pub exposure_ns: u64,
    /// Messages and segments that found no room on their way to the view.
    pub lost: u64,
    /// Messages that took longer than the view waits: those beside them may count as clean by mistake.
    pub overdue: u64,
    /// How long gaps of the host lasted so far, all loops together, in nanoseconds.
    pub gaps_ns: u64,
    /// Messages that are held until they can be decided.
    pub held: u64,
}

impl Line {
    /// Has each hop note its first so many messages, and the loops nothing, for
    /// [`Running::end_noted`](super::Running::end_noted): when each was due, waited and was served, for those who draw a line's
    /// course but do not ask what the host did to it. 24 B a message and hop, touched before the run; some nanoseconds a message
    /// in it, where [`Line::note_evidence`] also asks the kernel about every long handler.
    pub fn note_passages(&mut self, messages: usize) {
        self.notes = Notes::Passages(messages);
    }

    /// Has every loop and hop tell what [`Running::clean`](super::Running::clean) is made from, in place of
    /// [`Line::note_evidence`]: 2 MiB of rings a hop and loop at the most, some nanoseconds a message, and a look at the clock in
    /// every idle turn. Loops that park see no gaps: of a line with one, clean figures say too little.
    pub fn watch_clean(&mut self) {
        self.notes = Notes::Told(Vec::new());
    }

    /// A place for another loop that works on the line's cores, such as a generator's, to tell its gaps. From then on nothing
    /// is decided before that loop has said how far it is. None unless the line is watched.
    pub fn meter(&mut self) -> Option<Meter> {
        let Notes::Told(ears) = &mut self.notes else {
            return None;
        };
        let (meter, ear) = Meter::pair()?;
        ears.push(ear);
        Some(meter)
    }
}

/// A loop, as it is heard.
struct HeardLoop {
    ear: Ear<Told>,
    usual: Thresholds,
    /// All before has been told.
    until_ns: u64,
}

/// A hop, as it is heard.
struct HeardHop {
    ear: Option<Ear<Passage>>,
    decided: Decided<3>,
    budget: Option<Budget>,
}

/// What was decided of some spans.
struct Decided<const N: usize> {
    clean: [Totals; N],
    tainted: u64,
    not_judged: u64,
}

impl<const N: usize> Decided<N> {
    /// Nothing yet, with the limits of those that count raw.
    fn like(totals: &[Totals; N]) -> Decided<N> {
        let mut clean = totals.clone();
        clean.iter_mut().for_each(Totals::clear);
        Decided {
            clean,
            tainted: 0,
            not_judged: 0,
        }
    }

    fn add(&mut self, touch: Touch, spans_ns: [u64; N]) {
        match touch {
            Touch::Clean => {
                for (totals, ns) in self.clean.iter_mut().zip(spans_ns) {
                    totals.record(ns);
                }
            }
            Touch::Tainted => self.tainted += 1,
            Touch::NotJudged => self.not_judged += 1,
        }
    }

    fn clear(&mut self) {
        self.clean.iter_mut().for_each(Totals::clear);
        (self.tainted, self.not_judged) = (0, 0);
    }

    /// The counts, and the percentiles of the last span.
    fn counts(&self) -> CleanSpan {
        let last = self.clean.last();
        CleanSpan {
            clean: last.map_or(0, Totals::count),
            tainted: self.tainted,
            not_judged: self.not_judged,
            sojourn_ns: last.map(percentiles).unwrap_or_default(),
            ..CleanSpan::default()
        }
    }
}

impl HeardHop {
    fn span(&self) -> CleanSpan {
        let budget = self.budget.as_ref();
        let of = budget.map(Budget::span).unwrap_or_default();
        CleanSpan {
            wait_ns: percentiles(&self.decided.clean[WAIT]),
            service_ns: percentiles(&self.decided.clean[SERVICE]),
            over_budget: over_budget(budget, &self.decided.clean[of as usize]),
            ..self.decided.counts()
        }
    }
}

/// The one who listens.
pub(crate) struct Clean {
    loops: Vec<HeardLoop>,
    hops: Vec<HeardHop>,
    /// None where nothing leaves the line.
    end_to_end: Option<Decided<1>>,
    objective: Option<Budget>,
    delay: DelayLine,
    /// Messages that were due earlier are the warm-up's.
    from_ns: u64,
    /// Whether it is known how long a message counts as exposed.
    is_settled: bool,
    lost: u64,
    /// How long gaps lasted so far.
    gaps_ns: u64,
}

impl Clean {
    /// Listens to those loops and to the hops' ends.
    pub(crate) fn new(
        loops: Vec<Ear<Told>>,
        hops: &mut [HopView],
        nodes: &[NodeView],
        objective: Option<&Budget>,
    ) -> Clean {
        let heard = |ear| HeardLoop {
            ear,
            usual: Thresholds::by(0, 0),
            until_ns: 0,
        };
        let hops = hops.iter_mut().map(|hop| HeardHop {
            ear: hop.ear.take(),
            decided: Decided::like(&hop.spans.totals),
            budget: hop.budget.clone(),
        });
        let hops: Vec<HeardHop> = hops.collect();
        let leaves = nodes
            .iter()
            .find(|node| node.in_objective && node.end_to_end.is_some());
        let whole = leaves.and_then(|node| node.end_to_end.as_ref());
        Clean {
            delay: DelayLine::new(hops.len(), EXPOSURE_MIN_NS),
            loops: loops.into_iter().map(heard).collect(),
            hops,
            end_to_end: whole.map(|whole| Decided::like(&whole.totals)),
            objective: objective.cloned(),
            from_ns: 0,
            is_settled: false,
            lost: 0,
            gaps_ns: 0,
        }
    }

    /// Takes what has been told, and decides what can be decided. `now_ns` is the time of the line's clock. A little and often:
    /// whoever listens may take a core from a loop for as long.
    pub(crate) fn listen(&mut self, now_ns: u64, samples: Option<&mut Samples>) {
        let mut samples = samples.filter(|samples| samples.is_on());
        let (mut lost, mut gaps_ns) = (0, 0);
        for (of_loop, one) in self.loops.iter_mut().enumerate() {
            // Asked first: what is told after the mouth is gone is nothing.
            let is_over = one.ear.ring.producer_closed().is_some();
            let most = one.ear.ring.depth();
            let (usual, until_ns, delay) = (&mut one.usual, &mut one.until_ns, &mut self.delay);
            let mut heard = |gap| {
                gaps_ns = lasted(gaps_ns, gap);
                delay.gap(gap);
                if let Some(samples) = &mut samples {
                    samples.gap(of_loop, gap);
                }
            };
            one.ear.ring.drain(most, |told| match told {
                Told::Long(segment) if usual.is_gap(&segment) => heard(Interval::of(&segment)),
                Told::Long(_) => {}
                Told::Gap(gap) => heard(gap),
                Told::Until { at_ns, usual: now } => {
                    *usual = now;
                    *until_ns = at_ns.max(*until_ns);
                }
            });
            one.ear.ring.return_credits();
            if is_over && one.ear.ring.is_finished() {
                one.until_ns = u64::MAX;
            }
            lost += one.ear.newly_lost();
        }
        for (at, hop) in self.hops.iter_mut().enumerate() {
            let Some(ear) = &mut hop.ear else {
                continue;
            };
            let unheard = ear.newly_lost();
            lost += unheard;
            // Once around, and what comes meanwhile: a loop that is quicker than this one keeps nobody here.
            let most = ear.ring.depth() + BATCH_FRAMES;
            ear.ring.drain(most, |passage| {
                if let Some(samples) = &mut samples {
                    samples.hear(at, passage);
                }
                self.delay.message(at, passage);
            });
            ear.ring.return_credits();
            if let Some(samples) = samples.as_mut().filter(|_| unheard > 0) {
                samples.lost(unheard, now_ns);
            }
        }
        self.gaps_ns = self.gaps_ns.saturating_add(gaps_ns);
        if lost > 0 {
            self.lost += lost;
            self.delay.lost(now_ns);
        }
        self.settle();
    }

    fn settle(&mut self) {
        let known_ns = self.loops.iter().map(|one| one.until_ns).min();
        let (hops, end_to_end, from_ns) = (&mut self.hops, &mut self.end_to_end, self.from_ns);
        self.delay
            .settle(known_ns.unwrap_or(u64::MAX), |at, passage, touch| {
                if passage.due_ns() < from_ns {
                    return;
                }
                let spans_ns = Of::ALL.map(|of| passage.span_ns(of));
                if let Some(hop) = hops.get_mut(at) {
                    hop.decided.add(touch, spans_ns);
                }
                if passage.has_left()
                    && let Some(whole) = end_to_end
                {
                    whole.add(touch, [passage.end_to_end_ns()]);
                }
            });
        if let Some(whole) = &self.end_to_end
            && !self.is_settled
            && whole.clean[0].count() >= SETTLES
        {
            let long_ns = whole.clean[0].quantile_ns(0.999);
            self.delay.expose_for((2 * long_ns).max(EXPOSURE_MIN_NS));
            self.is_settled = true;
        }
    }

    /// Forgets what was due before `now_ns`.
    pub(crate) fn forget(&mut self, now_ns: u64) {
        self.from_ns = now_ns;
        self.hops.iter_mut().for_each(|hop| hop.decided.clear());
        self.end_to_end.iter_mut().for_each(Decided::clear);
    }

    /// What has been decided.
    pub(crate) fn report(&self, views: &[HopView]) -> CleanReport {
        let hops = self.hops.iter().zip(views);
        let whole = self.end_to_end.as_ref();
        CleanReport {
            hops: hops
                .map(|(hop, view)| (view.name.clone(), hop.span()))
                .collect(),
            end_to_end: CleanSpan {
                over_budget: whole
                    .map(|whole| over_budget(self.objective.as_ref(), &whole.clean[0]))
                    .unwrap_or_default(),
                ..whole.map(Decided::counts).unwrap_or_default()
            },
            exposure_ns: self.delay.exposure_ns(),
            lost: self.lost,
            overdue: self.delay.overdue(),
            gaps_ns: self.gaps_ns,
            held: self.delay.held() as u64,
        }
    }
}
