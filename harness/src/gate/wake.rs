//! What a bare wake takes where a loop of the line parks: the reference for frames that no gap can be told of.
//!
//! ```text
//!   probe ─→ the measured run ─→ probe      on the cores of the loop that parks and of one that may wake it
//! ```
//!
//! Invariant: nothing is probed while the line runs, and nothing at all where no loop parks.

use hopline::base::units::Span;
use hopline::clock::Clock;
use hopline::host::allowed_cores;
use hopline::topology::Plan;

use super::model::{Quantiles, RunAnalysis, WakeProbe};
use crate::floor::wake::{Pair, bare};
use crate::measure::{Spans, clock_step_ns};
use crate::view::text::grouped;

/// Wakes on each side of a run: ten of them lie beyond the P99, and they take a quarter of a second.
const WAKES: u64 = 1_000;

/// A probe, or why there is none.
pub(crate) enum Probe {
    /// No loop parks.
    Unneeded,
    /// It cannot be done here, in words.
    Cannot(String),
    /// What was measured so far.
    Measuring(Box<Measuring>),
}

/// Where it is measured, and what came of it.
pub(crate) struct Measuring {
    of: String,
    cores: [usize; 2],
    clock: Clock,
    clock_step_ns: u64,
    late: Spans,
}

/// Of a plan: the first loop that parks, where it is, and where all loops are.
fn parked(plan: &Plan) -> Option<(&str, Option<usize>)> {
    let parks = plan.threads.iter().find(|thread| thread.wait == "park")?;
    Some((&parks.name, parks.core))
}

/// A core to wake from and the one to be woken: another loop's before any other, and the last ones where no core is given.
fn pair(sleeper: Option<usize>, others: &[usize], allowed: &[usize]) -> Option<[usize; 2]> {
    let sleeper = sleeper.or(allowed.last().copied())?;
    let mut all = others.iter().chain(allowed.iter().rev());
    let waker = all.find(|core| **core != sleeper)?;
    Some([*waker, sleeper])
}

impl Probe {
    /// The probe that a run by that plan needs.
    pub(crate) fn of(plan: &Plan) -> Probe {
        let Some((of, core)) = parked(plan) else {
            return Probe::Unneeded;
        };
        let others: Vec<usize> = plan
            .threads
            .iter()
            .filter_map(|thread| thread.core)
            .collect();
        let Some(cores) = pair(core, &others, allowed_cores()) else {
            return Probe::Cannot("there is a single core".to_owned());
        };
        let clock = Clock::calibrated();
        let clock_step_ns = clock_step_ns(&clock);
        Probe::Measuring(Box::new(Measuring {
            of: of.to_owned(),
            cores,
            clock,
            clock_step_ns,
            late: Spans::new(clock_step_ns),
        }))
    }

    /// Measures some wakes more.
    pub(crate) fn measure(&mut self) {
        let Probe::Measuring(measuring) = self else {
            return;
        };
        let pair = Pair {
            cores: measuring.cores,
            clock: &measuring.clock,
            clock_step_ns: measuring.clock_step_ns,
        };
        match bare(pair, WAKES) {
            Ok((late, _)) => measuring.late.add(&late),
            Err(trouble) => *self = Probe::Cannot(trouble.to_string()),
        }
    }

    /// Adds to an analysis what was measured, or why nothing was.
    pub(crate) fn put_into(self, analysis: &mut RunAnalysis) {
        match self {
            Probe::Unneeded => {}
            Probe::Cannot(why) => analysis
                .notes
                .push(format!("what a bare wake takes was not measured: {why}")),
            Probe::Measuring(measuring) => {
                let late = &measuring.late;
                let at = |quantile: f64| late.quantile(quantile).round() as u64;
                analysis.wake_probe = Some(WakeProbe {
                    of: measuring.of,
                    cores: measuring.cores,
                    wakes: late.count(),
                    late: Quantiles {
                        p50: at(0.5),
                        p90: at(0.9),
                        p99: at(0.99),
                        p99_9: at(0.999),
                        max: late.max(),
                    },
                });
            }
        }
    }
}

/// What wakes take over several runs: the median of each quantile, and the largest of all. None without a probe.
pub(super) fn typical<'a>(probes: impl Iterator<Item = &'a WakeProbe>) -> Option<Quantiles> {
    let late: Vec<Quantiles> = probes.map(|probe| probe.late).collect();
    let middle = |of: fn(&Quantiles) -> u64| {
        let mut values: Vec<u64> = late.iter().map(of).collect();
        values.sort_unstable();
        values.get(values.len() / 2).copied()
    };
    Some(Quantiles {
        p50: middle(|late| late.p50)?,
        p90: middle(|late| late.p90)?,
        p99: middle(|late| late.p99)?,
        p99_9: middle(|late| late.p99_9)?,
        max: late.iter().map(|late| late.max).max()?,
    })
}

/// The same in a line; none where no loop parks.
pub(super) fn row(runs: &[RunAnalysis]) -> Option<String> {
    let probes = || runs.iter().filter_map(|run| run.wake_probe.as_ref());
    let (first, late) = (probes().next()?, typical(probes())?);
    let wakes: u64 = probes().map(|probe| probe.wakes).sum();
    let [waker, sleeper] = first.cores;
    Some(format!(
        "wake: {} parks; a bare wake of core {sleeper} from core {waker} takes p50 {}, p90 {}, p99 {}, p99.9 {} ({} wakes)",
        first.of,
        Span(late.p50),
        Span(late.p90),
        Span(late.p99),
        Span(late.p99_9),
        grouped(wakes)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waker_is_another_loop_or_at_least_another_core() {
        assert_eq!(pair(Some(1), &[0, 1], &[0, 1, 2]), Some([0, 1]));
        assert_eq!(pair(Some(1), &[1], &[0, 1, 2]), Some([2, 1]));
        assert_eq!(pair(None, &[], &[3, 4]), Some([3, 4]));
        assert_eq!(pair(Some(0), &[0], &[0]), None);
        assert_eq!(pair(None, &[], &[]), None);
    }

    fn probe(p99: u64) -> WakeProbe {
        WakeProbe {
            of: "loop-0".to_owned(),
            cores: [0, 1],
            wakes: 2_000,
            late: Quantiles {
                p50: 5_000,
                p90: 6_000,
                p99,
                p99_9: 90_000,
                max: 2 * p99,
            },
        }
    }

    #[test]
    fn runs_come_to_their_median_and_no_probe_to_nothing() {
        let probes = [probe(30_000), probe(900_000), probe(40_000)];
        let late = typical(probes.iter()).unwrap();
        assert_eq!((late.p99, late.max), (40_000, 1_800_000));
        assert_eq!(typical([].into_iter()), None);
        let mut runs = vec![RunAnalysis::default()];
        assert_eq!(row(&runs), None);
        runs[0].wake_probe = Some(probe(40_000));
        let row = row(&runs).unwrap();
        assert!(
            row.contains("p99 40.0us") && row.contains("2,000 wakes"),
            "{row}"
        );
    }

    #[test]
    fn a_probe_that_cannot_be_made_is_said_and_an_unneeded_one_is_not() {
        let mut analysis = RunAnalysis::default();
        Probe::Unneeded.put_into(&mut analysis);
        assert!(analysis.notes.is_empty() && analysis.wake_probe.is_none());
        Probe::Cannot("there is a single core".to_owned()).put_into(&mut analysis);
        assert!(analysis.notes[0].contains("single core"));
    }

    #[test]
    fn wakes_are_counted_on_both_sides_of_a_run() {
        let Some(cores) = pair(None, &[], allowed_cores()) else {
            return;
        };
        let clock = Clock::calibrated();
        let mut probe = Probe::Measuring(Box::new(Measuring {
            of: "loop-0".to_owned(),
            cores,
            clock,
            clock_step_ns: 1,
            late: Spans::new(1),
        }));
        probe.measure();
        probe.measure();
        let mut analysis = RunAnalysis::default();
        probe.put_into(&mut analysis);
        let seen = analysis.wake_probe.unwrap();
        assert!(seen.wakes > 0 && seen.wakes <= 2 * WAKES);
        assert!(seen.late.p50 > 0 && seen.late.p50 <= seen.late.p99);
        assert!(seen.late.p99 <= seen.late.max);
    }
}
