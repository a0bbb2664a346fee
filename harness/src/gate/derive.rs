//! `budget derive`: a budget for each hop from what the line owes end to end and what its hops were measured to take.
//!
//! **The method.** Each hop gets what it takes now, and a part of the slack that is left up to the objective. Now is its clean
//! sojourn in all runs, up to two standard deviations of what runs vary by. The slack goes by how long a hop takes and how much
//! it scatters (quantile less median): a hop that is slow or unsteady gets more of it. What is between the hops, from the
//! intended time to the first of them and from the last one out, takes part as if it were a hop. Where a line has several ways
//! through it, the longest one decides.
//!
//! **What the sum means.** Quantiles do not add up: that each of three hops keeps its P99 says only that at least 97 of a
//! hundred frames keep all three limits, and so their sum (Boole's inequality; Embrechts and Puccetti, *Bounds for functions of
//! dependent risks*, Finance and Stochastics 10, 2006, show that nothing better holds for any dependence). Usually the sum is
//! pessimistic, since a frame is seldom slow on all hops at once. So the budgets of the hops say which hop has become slow; the
//! objective itself stays in the file and is judged by itself. The text says both.
//!
//! Invariant: along each way through the line, budgets and what is between them sum up to at most the objective less its margin.

use std::collections::BTreeMap;
use std::fmt::Write;

use hopline::base::units::Span;
use hopline::budget::report::ends;
use hopline::budget::{Budget, BudgetError, Quantile};

use super::budget::{BAND_MIN, RUNS_MIN, value_ns};
use super::model::{END_TO_END, RunAnalysis, SpanAnalysis};
use super::stats::Moments;

/// The part of the objective that is kept back, unless somebody says otherwise: what a gate cannot tell from the limit.
pub const MARGIN: f64 = BAND_MIN;

/// Headroom below which a budget will often be INCONCLUSIVE: cold caches beside a neighbour alone cost 14 %.
pub const HEADROOM_MIN: f64 = 0.20;

/// Most halvings in the search for how much slack each hop gets; finer than a nanosecond in a minute.
const HALVINGS: u32 = 60;

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// What the line owes from end to end: quantiles and limits in nanoseconds.
    pub slo: Vec<(Quantile, u64)>,
    /// Most that P99 may lie above P50 from end to end; copied into the file.
    pub jitter_ns: Option<u64>,
    /// Most that P99 of the differences between successive messages' spans may be; copied into the file.
    pub ipdv_ns: Option<u64>,
    /// The hops that may lose nothing; copied into the file.
    pub lossless: Vec<String>,
    /// The part of each limit that is kept back, from 0 to below 1.
    pub margin: f64,
}

/// Why there is no budget.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DeriveError {
    /// Nothing is owed.
    #[error("no objective: give what the line owes end to end, such as p99=5ms")]
    NoObjective,
    /// Limits that a budget cannot have.
    #[error("the objective is no budget: {0}")]
    Objective(#[from] BudgetError),
    /// A margin that leaves nothing, or none at all.
    #[error("a margin of {0} keeps back nothing sensible: give 0 to 0.9, such as 0.1")]
    Margin(f64),
    /// Too few runs.
    #[error("{0} runs do not show how much runs vary: measure {RUNS_MIN}")]
    Runs(usize),
    /// A span without clean frames.
    #[error(
        "{0} has no clean frames in a run: see that the load reaches it, or measure on a quieter machine"
    )]
    NoFrames(String),
    /// No hop was measured.
    #[error("no hop was measured: a line of one node has nothing to share out")]
    NoHops,
    /// The hops lead round in a circle, so that no way through them is the longest.
    #[error("the hops lead round in a circle at {0}")]
    Circle(String),
    /// It takes longer now than it may.
    #[error("{quantile} = {} cannot hold: with its margin it is {}, and now the longest way through the hops takes {}",
        Span(*limit_ns), Span(*target_ns), Span(*now_ns))]
    TooTight {
        /// The quantile.
        quantile: &'static str,
        /// What is owed.
        limit_ns: u64,
        /// That less the margin.
        target_ns: u64,
        /// What the longest way takes now.
        now_ns: u64,
    },
}

/// A limit of a hop, derived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Which quantile.
    pub quantile: Quantile,
    /// What the hop takes now, with what runs vary by.
    pub now_ns: u64,
    /// What it may take.
    pub limit_ns: u64,
}

/// What an objective came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Which quantile.
    pub quantile: Quantile,
    /// What is owed from end to end.
    pub limit_ns: u64,
    /// The limits of the hops on the longest way, summed up.
    pub hops_ns: u64,
    /// What is left for everything between them.
    pub between_ns: u64,
    /// How many hops that way has.
    pub hops: usize,
}

/// Budgets for all hops.
#[derive(Clone, Debug, PartialEq)]
pub struct Derived {
    /// By hop.
    pub hops: BTreeMap<String, Vec<Envelope>>,
    /// By quantile, rising.
    pub shares: Vec<Shares>,
    asked: Asked,
    runs: usize,
}

/// A hop, or what is between them, at one quantile.
#[derive(Clone, Copy, Debug)]
struct Part {
    now_ns: f64,
    /// How much of the slack it gets, beside others.
    weight: f64,
}

impl Part {
    fn with(self, slack: f64) -> f64 {
        self.now_ns + slack * self.weight
    }
}

/// A hop between its two nodes.
struct Link {
    hop: String,
    from: String,
    to: String,
    part: Part,
}

impl Asked {
    /// Whether a budget can come of it by so many runs, which can be known before any of them.
    ///
    /// # Errors
    /// What is wrong with it: an objective that a budget.toml could not have is one thing.
    pub fn check(&self, runs: usize) -> Result<(), DeriveError> {
        if self.slo.is_empty() {
            return Err(DeriveError::NoObjective);
        }
        if !(0.0..=0.9).contains(&self.margin) {
            return Err(DeriveError::Margin(self.margin));
        }
        if runs < RUNS_MIN {
            return Err(DeriveError::Runs(runs));
        }
        let mut limits = self.slo.iter();
        let add = |budget: Budget, (quantile, limit_ns): &(Quantile, u64)| {
            budget.limit_ns(*quantile, *limit_ns)
        };
        limits.try_fold(Budget::default(), add)?;
        Ok(())
    }
}

/// Derives budgets from at least three runs.
///
/// # Errors
/// What is missing in the runs or the objective, or why it cannot be kept.
pub fn derive(runs: &[RunAnalysis], asked: &Asked) -> Result<Derived, DeriveError> {
    asked.check(runs.len())?;
    let mut asked = asked.clone();
    asked
        .slo
        .sort_by(|a, b| a.0.share().total_cmp(&b.0.share()));
    let mut derived = Derived {
        hops: BTreeMap::new(),
        shares: Vec::new(),
        runs: runs.len(),
        asked: asked.clone(),
    };
    for &(quantile, limit_ns) in &asked.slo {
        derived.add(runs, quantile, limit_ns)?;
    }
    derived.make_rise();
    Ok(derived)
}

/// What a span takes now, and how much it scatters.
fn part(
    runs: &[RunAnalysis],
    hop: &str,
    of: &str,
    quantile: Quantile,
) -> Result<Part, DeriveError> {
    let none = || DeriveError::NoFrames(hop.to_owned());
    let spans: Vec<&SpanAnalysis> = runs
        .iter()
        .filter_map(|run| {
            let spans = run.spans.iter();
            spans
                .filter(|span| span.hop == hop && span.of == of)
                .find(|span| span.n_clean > 0)
        })
        .collect();
    if spans.len() < runs.len() {
        return Err(none());
    }
    let typical = |quantile: Quantile| {
        let logs: Option<Vec<f64>> = spans
            .iter()
            .map(|span| Some((value_ns(&span.clean, quantile.name())?.max(1) as f64).ln()))
            .collect();
        logs.map(|logs| Moments::of(&logs))
    };
    let at = typical(quantile).ok_or_else(none)?;
    let median = typical(Quantile::P50).ok_or_else(none)?;
    let now_ns = (at.mean + 2.0 * at.sd).exp();
    Ok(Part {
        now_ns,
        weight: now_ns + (now_ns - median.mean.exp()).max(0.0),
    })
}

/// The node of a port: `book` of `book.log`.
/// The longest way through the hops by `length`: how long it is and which hops it takes.
fn longest(
    links: &[Link],
    length: impl Fn(&Link) -> f64,
) -> Result<(f64, Vec<usize>), DeriveError> {
    // The longest way to each node so far, with its last hop. A line has no circles, so as many rounds as hops are enough.
    let mut to: BTreeMap<&str, (f64, usize)> = BTreeMap::new();
    for round in 0..=links.len() {
        let mut longer = None;
        for (at, link) in links.iter().enumerate() {
            let here = to.get(link.from.as_str()).map_or(0.0, |way| way.0) + length(link);
            if to.get(link.to.as_str()).is_none_or(|way| here > way.0) {
                to.insert(&link.to, (here, at));
                longer = Some(link);
            }
        }
        match longer {
            None => break,
            Some(link) if round == links.len() => {
                return Err(DeriveError::Circle(link.hop.clone()));
            }
            Some(_) => {}
        }
    }
    let end = to.into_iter().collect::<Vec<_>>();
    let mut last = end.iter().max_by(|a, b| a.1.0.total_cmp(&b.1.0));
    let total = last.map_or(0.0, |(_, way)| way.0);
    let mut way = Vec::new();
    while let Some((_, (_, at))) = last {
        way.push(*at);
        last = end.iter().find(|(node, _)| **node == links[*at].from);
    }
    way.reverse();
    Ok((total, way))
}

/// Rounded down to two digits, as people write limits; down, so that sums stay below what they were.
fn round_down(ns: f64) -> u64 {
    let whole = ns.max(0.0) as u64;
    let digits = whole.checked_ilog10().unwrap_or(0);
    let unit = 10_u64.pow(digits.saturating_sub(1));
    whole / unit * unit
}

impl Derived {
    fn add(
        &mut self,
        runs: &[RunAnalysis],
        quantile: Quantile,
        limit_ns: u64,
    ) -> Result<(), DeriveError> {
        let mut links = Vec::new();
        for span in &runs[0].spans {
            let (from, to) = ends(&span.hop);
            if to.is_empty() || span.of != "sojourn" {
                continue;
            }
            links.push(Link {
                hop: span.hop.clone(),
                from: from.to_owned(),
                to: to.to_owned(),
                part: part(runs, &span.hop, "sojourn", quantile)?,
            });
        }
        if links.is_empty() {
            return Err(DeriveError::NoHops);
        }
        let between = between(runs, &links, quantile)?;
        let target = limit_ns as f64 * (1.0 - self.asked.margin);
        let sum = |slack: f64| -> Result<f64, DeriveError> {
            Ok(longest(&links, |link| link.part.with(slack))?.0 + between.with(slack))
        };
        let now = sum(0.0)?;
        if now > target {
            return Err(DeriveError::TooTight {
                quantile: quantile.name(),
                limit_ns,
                target_ns: target as u64,
                now_ns: now.ceil() as u64,
            });
        }
        // The sum rises with the slack, and every weight is at least what is now.
        let (mut low, mut high) = (0.0, target / now.max(1.0));
        for _ in 0..HALVINGS {
            let mid = f64::midpoint(low, high);
            if sum(mid)? <= target {
                low = mid;
            } else {
                high = mid;
            }
        }
        for link in &links {
            let now_ns = link.part.now_ns.ceil() as u64;
            // Where rounding would take a budget below what is, it is not rounded.
            let exact = link.part.with(low) as u64;
            let rounded = round_down(link.part.with(low));
            self.hops
                .entry(link.hop.clone())
                .or_default()
                .push(Envelope {
                    quantile,
                    now_ns,
                    limit_ns: if rounded < now_ns { exact } else { rounded }.max(1),
                });
        }
        let limit_of = |link: &Link| {
            let of_hop = self.hops.get(&link.hop).and_then(|all| all.last());
            of_hop.map_or(0, |envelope| envelope.limit_ns)
        };
        let (hops_ns, way) = longest(&links, |link| limit_of(link) as f64)?;
        self.shares.push(Shares {
            quantile,
            limit_ns,
            hops_ns: hops_ns.round() as u64,
            between_ns: between.with(low) as u64,
            hops: way.len(),
        });
        Ok(())
    }

    /// Limits must not fall as quantiles rise: the lower ones are lowered, which keeps every sum.
    fn make_rise(&mut self) {
        for envelopes in self.hops.values_mut() {
            let mut most = u64::MAX;
            for envelope in envelopes.iter_mut().rev() {
                envelope.limit_ns = envelope.limit_ns.min(most);
                most = envelope.limit_ns;
            }
        }
    }

    /// Hops whose budgets are so near to what they take now that a gate will often not decide.
    pub fn tight(&self) -> impl Iterator<Item = (&str, &Envelope)> {
        let all = self.hops.iter();
        all.flat_map(|(hop, envelopes)| envelopes.iter().map(move |one| (hop.as_str(), one)))
            .filter(|(_, one)| (one.limit_ns as f64) < one.now_ns as f64 * (1.0 + HEADROOM_MIN))
    }

    /// The whole `budget.toml`, with how its figures came about.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) {
        let mut line = |words: String| {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{words}");
        };
        line(format!(
            "# Derived from {} runs and the objective below: each hop has what it takes now and a share of the slack, by how long it",
            self.runs
        ));
        line(format!(
            "# takes and how much it scatters; {:.0} % of the objective is kept back. Every key is in docs/CONFIG.md.",
            self.asked.margin * 100.0
        ));
        line("#".to_owned());
        for shares in &self.shares {
            line(format!(
                "# {}: {} hops {} + between them {} <= {}",
                shares.quantile.name(),
                shares.hops,
                Span(shares.hops_ns),
                Span(shares.between_ns),
                Span(shares.limit_ns)
            ));
            if shares.quantile != Quantile::Max {
                let kept = 1.0 - shares.hops as f64 * (1.0 - shares.quantile.share());
                line(format!(
                    "#   quantiles do not add up: all hops within their limits means at least {:.1} % of frames within the sum",
                    kept.max(0.0) * 100.0
                ));
            }
        }
        for (hop, one) in self.tight() {
            line(format!(
                "# {hop}: {} is within {:.0} % of the {} that it takes now: expect INCONCLUSIVE, or loosen the objective",
                exact(one.limit_ns),
                HEADROOM_MIN * 100.0,
                exact(one.now_ns)
            ));
        }
        line("\n[slo]".to_owned());
        for (quantile, limit_ns) in &self.asked.slo {
            line(format!("{} = \"{}\"", quantile.name(), exact(*limit_ns)));
        }
        if let Some(jitter_ns) = self.asked.jitter_ns {
            line(format!("jitter = \"{}\"", exact(jitter_ns)));
        }
        if let Some(ipdv_ns) = self.asked.ipdv_ns {
            line(format!("ipdv = \"{}\"", exact(ipdv_ns)));
        }
        for (hop, envelopes) in &self.hops {
            line(format!("\n[hop.\"{hop}\"]\nof = \"sojourn\""));
            for one in envelopes {
                let limit = format!("{} = \"{}\"", one.quantile.name(), exact(one.limit_ns));
                line(format!("{limit:<26} # now {}", Span(one.now_ns)));
            }
            if self.asked.lossless.contains(hop) {
                line("lossless = true".to_owned());
            }
        }
    }
}

/// What is between the hops: by medians, which nearly add up, or by the quantile itself, whichever leaves more.
fn between(runs: &[RunAnalysis], links: &[Link], quantile: Quantile) -> Result<Part, DeriveError> {
    let gap = |quantile: Quantile| -> Result<f64, DeriveError> {
        let whole = part(runs, END_TO_END, END_TO_END, quantile)?;
        let mut parts = BTreeMap::new();
        for link in links {
            parts.insert(
                &link.hop,
                part(runs, &link.hop, "sojourn", quantile)?.now_ns,
            );
        }
        let (hops, _) = longest(links, |link| parts.get(&link.hop).copied().unwrap_or(0.0))?;
        Ok((whole.now_ns - hops).max(0.0))
    };
    let (median, here) = (gap(Quantile::P50)?, gap(quantile)?);
    let now_ns = median.max(here);
    Ok(Part {
        now_ns,
        weight: now_ns + (now_ns - median),
    })
}

/// A span that reads back as the same number of nanoseconds.
fn exact(ns: u64) -> String {
    for (unit, name) in [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us")] {
        // Two digits behind the point are enough for what is rounded to two digits.
        if ns >= unit && (ns * 100).is_multiple_of(unit) {
            return format!("{}{name}", ns as f64 / unit as f64);
        }
    }
    format!("{ns}ns")
}

#[cfg(test)]
mod tests;
