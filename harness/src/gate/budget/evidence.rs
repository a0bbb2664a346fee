//! What all runs say of one limit: counts, bounds, the band between runs, and the figures beside a word.
//!
//! Invariant: adds up and bounds, and says no word.

use hopline::base::units::Span;
use hopline::budget::Quantile;

use super::{ALPHA, BAND_MIN, Options, Owed, value_ns};
use crate::gate::model::{
    END_TO_END, Exceedances, LimitCounts, Quantiles, RunAnalysis, SpanAnalysis, Verdict,
};
use crate::gate::stats::Moments;
use crate::gate::{pooled, stats};

/// The geometric mean of spans and the standard deviation of their logarithms.
fn typical(values_ns: &[u64]) -> (f64, f64) {
    let logs: Vec<f64> = values_ns
        .iter()
        .map(|&ns| (ns.max(1) as f64).ln())
        .collect();
    let Moments { mean, sd, .. } = Moments::of(&logs);
    (mean.exp(), sd)
}

/// On which side of the band around its quantile a limit lies.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Below,
    Within,
    Above,
}

/// What all runs say of one limit.
pub(super) struct Evidence<'a> {
    pub(super) runs: &'a [RunAnalysis],
    pub(super) owed: &'a Owed,
    pub(super) options: &'a Options,
    /// Of the runs that have the span and counted the limit.
    pub(super) found: Vec<(&'a RunAnalysis, &'a SpanAnalysis, &'a LimitCounts)>,
    pub(super) n: u64,
    pub(super) n_clean: u64,
    pub(super) n_slowed: u64,
    /// All frames, with what was shed.
    pub(super) raw: Exceedances,
    /// Clean frames.
    pub(super) clean: Exceedances,
}

impl<'a> Evidence<'a> {
    pub(super) fn new(
        runs: &'a [RunAnalysis],
        owed: &'a Owed,
        options: &'a Options,
    ) -> Evidence<'a> {
        let found: Vec<_> = runs
            .iter()
            .filter_map(|run| {
                let span = run
                    .spans
                    .iter()
                    .find(|span| span.hop == owed.hop && span.of == owed.of)?;
                let limit = span.limits.iter().find(|limit| {
                    limit.quantile == owed.quantile && limit.limit_ns == owed.limit_ns
                })?;
                Some((run, span, limit))
            })
            .collect();
        let mut evidence = Evidence {
            runs,
            owed,
            options,
            n: found.iter().map(|(_, span, _)| span.n).sum(),
            n_clean: found.iter().map(|(_, span, _)| span.n_clean).sum(),
            n_slowed: found.iter().map(|(_, span, _)| span.n_slowed).sum(),
            found,
            raw: Exceedances::default(),
            clean: Exceedances::default(),
        };
        evidence.raw = evidence.counts(|span, limit| (limit.raw, span.shed));
        evidence.clean = evidence.counts(|_, limit| (limit.clean, 0));
        evidence
    }

    /// Counts over all runs, with messages that were shed as frames over the limit.
    pub(super) fn counts(
        &self,
        of: impl Fn(&SpanAnalysis, &LimitCounts) -> (Exceedances, u64),
    ) -> Exceedances {
        let counts = self.found.iter().map(|(_, span, limit)| {
            let (counts, shed) = of(span, limit);
            Exceedances {
                n: counts.n + shed,
                k: counts.k + shed,
                // What is shed is shed in bursts, and how large those were is not known.
                d: counts
                    .d
                    .max(shed.min(u64::from(stats::BLOCK_FRAMES)) as f64),
            }
        });
        stats::pooled(&counts.collect::<Vec<_>>())
    }

    pub(super) fn alpha(&self) -> f64 {
        ALPHA / f64::from(self.options.looks.max(1))
    }

    pub(super) fn upper(&self, counts: Exceedances) -> f64 {
        stats::upper(
            counts.k as f64 / counts.d,
            counts.n as f64 / counts.d,
            self.alpha(),
        )
    }

    pub(super) fn lower(&self, counts: Exceedances) -> f64 {
        stats::lower(
            counts.k as f64 / counts.d,
            counts.n as f64 / counts.d,
            self.alpha(),
        )
    }

    pub(super) fn limit(&self) -> Span {
        Span(self.owed.limit_ns)
    }

    pub(super) fn is_max(&self) -> bool {
        self.owed.quantile == Quantile::Max.name()
    }

    pub(super) fn is_end_to_end(&self) -> bool {
        self.owed.hop == END_TO_END
    }

    pub(super) fn tainted_share(&self) -> f64 {
        if self.n == 0 {
            return 0.0;
        }
        1.0 - self.n_clean.min(self.n) as f64 / self.n as f64
    }

    /// The quantile in each run: of clean frames where each run has some, else of all.
    fn by_run_ns(&self) -> Vec<u64> {
        let all_clean = self.found.iter().all(|(_, span, _)| span.n_clean > 0);
        let of = self.found.iter().filter_map(|(_, span, _)| {
            let quantiles = if all_clean { &span.clean } else { &span.raw };
            value_ns(quantiles, &self.owed.quantile)
        });
        of.collect()
    }

    /// The span around the quantile in which no word is said.
    pub(super) fn band_ns(&self) -> (f64, f64) {
        let (typical, sd) = typical(&self.by_run_ns());
        let wide = (2.0 * sd).max((1.0 + BAND_MIN).ln());
        (typical * (-wide).exp(), typical * wide.exp())
    }

    pub(super) fn side(&self) -> Side {
        let (low, high) = self.band_ns();
        let limit = self.owed.limit_ns as f64;
        if limit > high {
            Side::Above
        } else if limit < low {
            Side::Below
        } else {
            Side::Within
        }
    }

    /// The figures beside the word.
    pub(super) fn figures(&self) -> Verdict {
        let name = &self.owed.quantile;
        // A run without such a frame says nothing, and no run took no time.
        let typical_of = |of: fn(&SpanAnalysis) -> (u64, &Quantiles)| {
            let found = self.found.iter().map(|(_, span, _)| of(span));
            let values: Vec<u64> = found
                .filter(|(n, _)| *n > 0)
                .filter_map(|(_, quantiles)| value_ns(quantiles, name))
                .collect();
            match (self.is_max(), values.iter().max()) {
                (_, None) => 0,
                (true, Some(&max)) => max,
                (false, Some(0)) => 0,
                (false, Some(_)) => typical(&values).0.round() as u64,
            }
        };
        let mut verdict = Verdict {
            hop: self.owed.hop.clone(),
            of: self.owed.of.clone(),
            quantile: name.clone(),
            budget_ns: Some(self.owed.limit_ns),
            n: self.n,
            n_clean: self.n_clean,
            n_slowed: self.n_slowed,
            tainted_share: self.tainted_share(),
            raw_ns: typical_of(|span| (span.n, &span.raw)),
            clean_ns: typical_of(|span| (span.n_clean, &span.clean)),
            host_floor_ns: self.host_floor_ns(),
            raw: self.raw,
            clean: self.clean,
            ..Verdict::default()
        };
        (verdict.clean_low_ns, verdict.clean_high_ns) = self.clean_bounds_ns(verdict.clean_ns);
        verdict
    }

    /// Bounds of the clean quantile: at the levels between which it lies where the runs carry their histograms, and never
    /// narrower than what the runs themselves came to.
    fn clean_bounds_ns(&self, clean_ns: u64) -> (u64, u64) {
        let by_run: Vec<u64> = self
            .found
            .iter()
            .filter(|(_, span, _)| span.n_clean > 0)
            .filter_map(|(_, span, _)| value_ns(&span.clean, &self.owed.quantile))
            .collect();
        let low = by_run.iter().copied().min().unwrap_or(0).min(clean_ns);
        let high = by_run.iter().copied().max().unwrap_or(0).max(clean_ns);
        let quantile = Quantile::parse(&self.owed.quantile).filter(|_| !self.is_max());
        let texts = self.found.iter().map(|(_, span, _)| &*span.clean_histogram);
        let (Some(quantile), Some(all)) = (quantile, pooled::merged(texts)) else {
            return (low, high);
        };
        // The clustering at the limit stands for that at the quantile.
        let n = all.len() as f64 / self.clean.d;
        let (from, to) = stats::levels(quantile.share(), n, ALPHA);
        (
            low.min(all.value_at_quantile(from)),
            high.max(all.value_at_quantile(to)),
        )
    }

    /// What a span without cost would have had: the run in the middle.
    pub(super) fn host_floor_ns(&self) -> u64 {
        let mut floors: Vec<u64> = self
            .found
            .iter()
            .filter_map(|(_, span, _)| value_ns(&span.host_floor, &self.owed.quantile))
            .collect();
        floors.sort_unstable();
        floors.get(floors.len() / 2).copied().unwrap_or(0)
    }
}
