//! The rules, in the order in which they are asked; the table is in the room above.
//!
//! Invariant: each INCONCLUSIVE says what would decide, and a rule that does not apply says nothing.

use hopline::base::units::Span;

use super::evidence::{Evidence, Side};
use super::{
    CLOCK_GRAIN_NS, CONTAMINATION_MAX, HALVES_GRAIN_NS, HALVES_MAX, RATE_MIN, RUNS_MIN,
    TAINTED_MAX, share,
};
use crate::gate::model::{
    Exceedances, LimitCounts, LoopAnalysis, RunAnalysis, SpanAnalysis, Verdict, Word,
};
use crate::gate::outcome::{Said, cut_words, others_words, percent, touched};
use crate::gate::{apart, drift, stats, wake};

impl<'a> Evidence<'a> {
    /// The word with its figures.
    pub(super) fn verdict(&self) -> Verdict {
        let mut verdict = self.figures();
        let mut said = self.said();
        if self.options.strict && said.word == Word::PassClean {
            said = Said::inconclusive(
                "strict",
                format!(
                    "only clean frames hold it ({}): a quieter machine, or without --strict",
                    said.reason
                ),
            );
        }
        said.put_into(&mut verdict);
        verdict
    }

    fn said(&self) -> Said {
        let Some(quantile) = share(&self.owed.quantile) else {
            return Said::inconclusive("quantile", "write p50, p90, p99, p99_9, max or jitter");
        };
        let invalid = self
            .loss()
            .or_else(|| self.unmeasured(quantile))
            .or_else(|| self.rate())
            .or_else(|| self.warmup());
        if let Some(said) = invalid {
            return said;
        }
        if self.is_max() {
            return self.max();
        }
        self.by_share(quantile)
    }

    fn loss(&self) -> Option<Said> {
        let ledgers = || self.runs.iter().map(|run| &run.ledger);
        let lost = ledgers().flat_map(|ledger| ledger.losses.iter());
        let open = ledgers()
            .filter(|ledger| !ledger.closed)
            .map(|ledger| ledger.breaches.first());
        if let Some(breach) = open.into_iter().next() {
            let words = breach.map_or("its equations do not hold", String::as_str);
            return Some(Said::bad(
                Word::Loss,
                format!("the ledger is open: {words}"),
                "frames are not accounted for: mend that first, no latency can be judged",
            ));
        }
        lost.into_iter().next().map(|words| {
            Said::bad(
                Word::Loss,
                words.clone(),
                "a lower rate, a deeper hop, a faster consumer, or a budget that allows it",
            )
        })
    }

    fn unmeasured(&self, quantile: f64) -> Option<Said> {
        let loops = self.runs.iter().flat_map(|run| &run.loops);
        let cut: u64 = loops.map(LoopAnalysis::cut).sum();
        if cut > 0 {
            return Some(Said::inconclusive(
                "log",
                format!(
                    "{cut} segments or looks at the core's pace found no room in a loop's log: shorter runs or a lower rate"
                ),
            ));
        }
        if self.found.iter().any(|(_, span, _)| span.log_lost > 0) {
            return Some(self.cut());
        }
        if self.n == 0 {
            let next = match self.sent_least().filter(|&sent| sent < RATE_MIN) {
                Some(sent) => format!(
                    "no frame that was due after the warm-up came here, with {} of the offered rate: a lower rate",
                    percent(sent)
                ),
                None => "no frame was measured here: see that the load reaches this hop".to_owned(),
            };
            return Some(Said::inconclusive("samples", next));
        }
        if let Some(said) = self.not_alone() {
            return Some(said);
        }
        if let Some(off_ns) = self.runs.iter().find_map(RunAnalysis::clock_is_off_ns) {
            return Some(Said::inconclusive("clock", drift::words(off_ns)));
        }
        if let Some(said) = self.below_the_clock() {
            return Some(said);
        }
        let runs = self.found.iter().filter(|(_, span, _)| span.n > 0).count();
        if runs < self.runs.len() {
            let next = format!(
                "{} of {} runs measured no frame here: see that the load reaches this hop",
                self.runs.len() - runs,
                self.runs.len()
            );
            return Some(Said::inconclusive("samples", next));
        }
        if runs < RUNS_MIN {
            let next =
                format!("{runs} process runs do not show how much runs vary: run {RUNS_MIN}");
            return Some(Said::inconclusive("samples", next));
        }
        let least = stats::frames_min(quantile, self.alpha())?;
        (self.raw.n < least).then(|| self.too_few("frames", self.raw.n, least))
    }

    fn cut(&self) -> Said {
        Said::inconclusive("log", cut_words(self.runs.iter()))
    }

    /// What came from others was neither due when the load says nor as much as it says.
    fn not_alone(&self) -> Option<Said> {
        let others = self.runs.iter().filter_map(RunAnalysis::others);
        let (source, share) = others.max_by(|one, other| one.1.total_cmp(&other.1))?;
        (share > 1.0 - RATE_MIN).then(|| Said::inconclusive("others", others_words(source, share)))
    }

    /// A limit that no clock of this machine could tell a frame to be over or not.
    fn below_the_clock(&self) -> Option<Said> {
        let costs_ns = self.runs.iter().map(|run| run.clock_cost_ns);
        let told_ns = costs_ns.fold(CLOCK_GRAIN_NS as f64, f64::max);
        let is_below = (self.owed.limit_ns as f64) < told_ns || told_ns.is_nan();
        is_below.then(|| {
            Said::inconclusive(
                "resolution",
                format!(
                    "{} is less than this machine's clock can tell, {}: a budget above that",
                    self.limit(),
                    Span(told_ns.ceil() as u64)
                ),
            )
        })
    }

    fn too_few(&self, what: &str, n: u64, least: u64) -> Said {
        Said::inconclusive(
            "samples",
            format!(
                "{n} {what} cannot show a {}, {least} can: run {} times as long",
                self.owed.quantile,
                (2 * least).div_ceil(n.max(1))
            ),
        )
    }

    /// The least part of its offered rate that a generator sent in any run.
    fn sent_least(&self) -> Option<f64> {
        let sent = self.runs.iter().filter_map(RunAnalysis::sent_share);
        sent.reduce(f64::min)
    }

    fn rate(&self) -> Option<Said> {
        let slow = self
            .runs
            .iter()
            .filter_map(|run| Some((run, run.sent_share().filter(|&sent| sent < RATE_MIN)?)));
        let least = slow.clone().map(|(_, sent)| sent).reduce(f64::min)?;
        let held_back = slow.filter(|(run, _)| run.source_held_back).count();
        // One run in which the host stopped the line is not the line's doing.
        if 2 * held_back > self.runs.len() {
            return Some(Said::bad(
                Word::Fail,
                format!(
                    "the line held its source back: it took {} of the offered rate",
                    percent(least)
                ),
                "a lower rate, or a faster line",
            ));
        }
        Some(Said::inconclusive(
            "rate",
            format!(
                "only {} of the offered rate was sent: a lower rate, a core of its own for the generator, or a quieter machine",
                percent(least)
            ),
        ))
    }

    /// The run in the middle decides: drift is in all of them, a disturbed half in one. Where nearly all is disturbed, medians
    /// of what is left say nothing.
    fn warmup(&self) -> Option<Said> {
        if self.tainted_share() > TAINTED_MAX {
            return None;
        }
        let mut drifts: Vec<f64> = self
            .found
            .iter()
            .map(|(_, span, _)| span.clean_p50_halves)
            .filter(|halves| halves.iter().all(|&ns| ns > 0))
            .map(|[first, second]| {
                if first.abs_diff(second) <= HALVES_GRAIN_NS {
                    0.0
                } else {
                    (second as f64 / first as f64).ln()
                }
            })
            .collect();
        drifts.sort_by(f64::total_cmp);
        let drift = *drifts.get(drifts.len() / 2)?;
        (drift.abs() > (1.0 + HALVES_MAX).ln()).then(|| {
            Said::inconclusive(
                "warmup",
                format!(
                    "the median moved by {} between the halves of a run: a longer warm-up",
                    percent(drift.exp_m1())
                ),
            )
        })
    }

    fn resolution(&self, quantile: f64) -> Option<Said> {
        let weighted: f64 = self
            .found
            .iter()
            .map(|(_, span, _)| span.contamination * span.n_clean as f64)
            .sum();
        let expected = weighted / self.n_clean.max(1) as f64;
        let allowed = (1.0 - quantile) * CONTAMINATION_MAX;
        (expected > allowed || expected.is_nan()).then(|| {
            Said::inconclusive(
                "resolution",
                format!(
                    "gaps too short to be seen are expected in {} of the clean frames, {} would do: a lower quantile, or a quieter machine",
                    percent(expected),
                    percent(allowed)
                ),
            )
        })
    }

    /// The loops on the span's path.
    fn loops(
        run: &'a RunAnalysis,
        span: &'a SpanAnalysis,
    ) -> impl Iterator<Item = &'a LoopAnalysis> {
        run.loops
            .iter()
            .filter(move |one| span.loops.is_empty() || span.loops.contains(&one.name))
    }

    /// A loop that sleeps cannot see what it sleeps through; what a bare wake takes here is the reference.
    fn parked(&self) -> Said {
        const PARKS: &str = "a loop on its path parks and sees no gaps";
        const AWAKE: &str = "wait = \"spin\" or \"yield\"";
        let probes = self.runs.iter().filter_map(|run| run.wake_probe.as_ref());
        let Some(typical) = wake::typical(probes) else {
            return Said::inconclusive(
                "parked",
                format!("{PARKS}: {AWAKE}, or judge by raw figures"),
            );
        };
        // A limit on each frame, or on P99 less P50, is held against the P99: nothing higher is known as well.
        let (name, takes_ns) = match self.owed.quantile.as_str() {
            "p50" => ("P50", typical.p50),
            "p90" => ("P90", typical.p90),
            "p99_9" => ("P99.9", typical.p99_9),
            _ => ("P99", typical.p99),
        };
        let takes = format!("{PARKS}; a bare wake takes {name} {} here", Span(takes_ns));
        let next = if self.owed.limit_ns < takes_ns {
            format!("{takes}, and no line that is woken for its frames can hold less: {AWAKE}")
        } else {
            format!("{takes}: {AWAKE}, or judge by raw figures")
        };
        Said::inconclusive("parked", next)
    }

    /// Why clean frames say nothing here.
    fn no_clean(&self) -> Option<Said> {
        let parks = |(run, span, _): &(&'a RunAnalysis, &'a SpanAnalysis, _)| {
            Self::loops(run, span).any(|one| one.wait == "park")
        };
        if self.found.iter().any(parks) {
            return Some(self.parked());
        }
        // How long the line stayed busy behind a gap is known by the messages of all hops.
        if self.runs.iter().any(|run| run.cut_hops().next().is_some()) {
            return Some(self.cut());
        }
        self.dirty()
    }

    /// Whether the host touched nearly all of it.
    fn dirty(&self) -> Option<Said> {
        let tainted = self.tainted_share();
        (tainted > TAINTED_MAX).then(|| {
            Said::inconclusive(
                "dirty",
                format!(
                    "the host touched {}; {} can be left out: a quieter machine, a lower rate, or cores of its own",
                    touched(self.n, self.n_clean, self.n_slowed),
                    percent(TAINTED_MAX)
                ),
            )
        })
    }

    /// Whether what gaps are excused for may be the program's own doing.
    fn own_doing(&self, quantile: f64) -> Option<Said> {
        let shares = self.found.iter().map(|(run, span, _)| {
            Self::loops(run, span)
                .map(|one| one.own_fault_share)
                .sum::<f64>()
        });
        let own = shares.sum::<f64>() / self.found.len().max(1) as f64;
        (own > 1.0 - quantile || own.is_nan()).then(|| {
            Said::inconclusive(
                "self",
                format!(
                    "faults and blocking of the program itself touch {} of the time: mend what the blame names before gaps are excused",
                    percent(own)
                ),
            )
        })
    }

    fn by_share(&self, quantile: f64) -> Said {
        let allowed = 1.0 - quantile;
        let side = self.side();
        let raw_upper = self.upper(self.raw);
        if raw_upper <= allowed {
            return match side {
                Side::Above => Said::pass(
                    Word::Pass,
                    format!(
                        "at most {} of all frames took longer than {}, {} may",
                        percent(raw_upper),
                        self.limit(),
                        percent(allowed)
                    ),
                ),
                // Where the host touched nearly all of it, what varies is the host.
                _ => self.dirty().unwrap_or_else(|| self.band()),
            };
        }
        // What hides among clean frames only adds to them: it may spoil what they say, and not a pass by all frames.
        if let Some(said) = self.no_clean().or_else(|| self.resolution(quantile)) {
            return said;
        }
        let least = stats::frames_min(quantile, self.alpha()).unwrap_or(u64::MAX);
        if self.clean.n < least {
            return self.too_few("clean frames", self.clean.n, least);
        }
        // What was shed counts against a pass whether or not the host had a part in it, and for a fail only if not.
        let to_pass = self.counts(|span, limit| (limit.clean, span.shed));
        let to_fail = self.counts(|span, limit| (limit.clean, span.shed_clean));
        let over = self.lower(to_fail);
        if over > allowed {
            return self.too_slow(over, allowed, side);
        }
        let clean_upper = self.upper(to_pass);
        if clean_upper <= allowed {
            if let Some(said) = self.own_doing(quantile) {
                return said;
            }
            return match side {
                Side::Above => Said::pass(
                    Word::PassClean,
                    format!(
                        "at most {} of the clean frames took longer than {}, {} may; of all frames {} did",
                        percent(clean_upper),
                        self.limit(),
                        percent(allowed),
                        percent(self.raw.k as f64 / self.raw.n.max(1) as f64)
                    ),
                ),
                _ => self.band(),
            };
        }
        self.undecided(quantile, to_pass)
    }

    /// Clean frames fail: unless the generator, the variation between runs or the host's part in the shedding speaks against it.
    fn too_slow(&self, over: f64, allowed: f64, side: Side) -> Said {
        let fail = |what: &str| {
            Said::bad(
                Word::Fail,
                format!(
                    "at least {} of the clean frames {what} {}, {} may",
                    percent(over),
                    self.limit(),
                    percent(allowed)
                ),
                "see the blame of this hop for where the time goes",
            )
        };
        if self.lower(self.clean) <= allowed {
            let in_each_run = self.found.iter().all(|(_, span, limit)| {
                let k = limit.clean.k + span.shed_clean;
                k as f64 > allowed * (limit.clean.n + span.shed_clean) as f64
            });
            return if in_each_run {
                fail("were shed or took longer than")
            } else {
                Said::inconclusive(
                    "shed",
                    "messages were shed in some runs only: more runs, or lossless hops",
                )
            };
        }
        if self.is_end_to_end() {
            let counted: Vec<Exceedances> = self
                .found
                .iter()
                .filter_map(|(_, _, limit)| limit.from_send)
                .collect();
            let sent = stats::pooled(&counted);
            if counted.len() < self.found.len() || self.lower(sent) <= allowed {
                return Said::inconclusive(
                    "generator",
                    "counted from when messages were really sent it does not fail: a core of its own for the generator, or a lower rate",
                );
            }
        }
        match side {
            Side::Below => fail("took longer than"),
            _ => self.band(),
        }
    }

    fn band(&self) -> Said {
        let (low, high) = self.band_ns();
        let moved = apart::varied(self.runs.iter());
        Said::inconclusive(
            "band",
            format!(
                "process runs vary between {} and {}: a budget outside of that decides, or judge head against base",
                Span(low.round() as u64),
                Span(high.round() as u64)
            ) + &moved.map_or(String::new(), |words| format!(" ({words})")),
        )
    }

    fn undecided(&self, quantile: f64, clean: Exceedances) -> Said {
        let floor = self.host_floor_ns();
        if floor > self.owed.limit_ns {
            return Said::inconclusive(
                "host",
                format!(
                    "a hop without any cost would have had {} on this host: a quieter machine, or a longer run",
                    Span(floor)
                ),
            );
        }
        let (k, n) = (clean.k as f64 / clean.d, clean.n as f64 / clean.d);
        let next = match stats::frames_to_decide(k, n, quantile, self.alpha()) {
            Some(needed) => format!(
                "{} to {} of the clean frames are over it, {} may: about {:.0} clean frames would decide, {:.0} times as many",
                percent(self.lower(clean)),
                percent(self.upper(clean)),
                percent(1.0 - quantile),
                needed * clean.d,
                needed / n
            ),
            None => format!(
                "as many frames are over it as may be ({}): the budget is the quantile itself, and no run would decide",
                percent(1.0 - quantile)
            ),
        };
        Said::inconclusive("border", next)
    }

    /// A limit on each frame.
    fn max(&self) -> Said {
        let limit = self.limit();
        if self.raw.k == 0 {
            let reason = format!("none of {} frames took longer than {limit}", self.n);
            return Said::pass(Word::Pass, reason);
        }
        if let Some(said) = self.no_clean() {
            return said;
        }
        let clean_over = |(_, span, limit): &&(_, &SpanAnalysis, &LimitCounts)| {
            limit.clean.k + span.shed_clean > 0
        };
        let unknown = self
            .found
            .iter()
            .any(|(_, span, _)| span.shed > span.shed_clean);
        match self.found.iter().filter(clean_over).count() {
            0 if unknown => Said::inconclusive(
                "shed",
                "messages were shed, which is over any limit, and the host may have been the cause: more room, or a quantile such as p99_9",
            ),
            0 => self.own_doing(1.0).unwrap_or_else(|| {
                let reason = format!(
                    "none of {} clean frames took longer than {limit}, but {} that the host touched",
                    self.n_clean, self.raw.k
                );
                Said::pass(Word::PassClean, reason)
            }),
            1 => Said::inconclusive(
                "once",
                "a single run has clean frames over it, which an interrupt in a handler may be: more runs, or a quantile such as p99_9",
            ),
            runs => Said::bad(
                Word::Fail,
                format!("clean frames were shed or took longer than {limit} in {runs} runs"),
                "see the blame of this hop for where the time goes",
            ),
        }
    }
}
