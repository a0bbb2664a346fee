//! How far the cores of a run are from each other: what a cache line takes from one to the other, right before and after it.
//!
//! ```text
//!   probe ─→ the measured run ─→ probe      each two cores of the line and its sender
//! ```
//!
//! A host that moves a guest's cores about puts them on one physical core, below one last-level cache or below two: 40, 100
//! and 390 ns were seen within a minute, and an echo over UDP took 7.0 or 8.2 us by it, with no gap and no slow core to show.
//!
//! Invariant: nothing is probed while the line runs.

use hopline::base::units::Span;
use hopline::clock::Clock;

use super::model::{CoresApart, RunAnalysis};
use crate::measure::{Floor, Plan, clock_step_ns, ping_pong};

/// Pairs that are probed at the most: those of four cores. Each takes two milliseconds.
const PAIRS_MAX: usize = 6;

/// Round trips of a probe, and those before that settle.
const TRIPS: u64 = 2_000;
const WARM_UP: u64 = 500;

/// Looks at one answer before it is given up: some tens of milliseconds, longer than a host takes a core away for as a rule.
const SPINS_MAX: u64 = 1 << 24;

/// Distances that differ by more than this factor are of different places: caches are at least two times farther than those
/// before them.
const MOVED: f64 = 1.75;

/// What was probed so far. A pair that could not be probed has none.
pub(crate) struct Apart {
    clock: Clock,
    clock_step_ns: u64,
    pairs: Vec<CoresApart>,
}

/// Each two of those cores.
fn pairs(mut cores: Vec<usize>) -> Vec<[usize; 2]> {
    cores.sort_unstable();
    cores.dedup();
    let of = |at: usize| cores[at + 1..].iter().map(move |other| (at, *other));
    let all = (0..cores.len()).flat_map(of);
    all.map(|(at, other)| [cores[at], other])
        .take(PAIRS_MAX)
        .collect()
}

impl Apart {
    /// For a run on those cores.
    pub(crate) fn of(cores: Vec<usize>) -> Apart {
        let clock = Clock::calibrated();
        let clock_step_ns = clock_step_ns(&clock);
        let none = |cores| CoresApart {
            cores,
            before_ns: 0,
            after_ns: 0,
        };
        Apart {
            clock,
            clock_step_ns,
            pairs: pairs(cores).into_iter().map(none).collect(),
        }
    }

    fn probe(&self, cores: [usize; 2]) -> u64 {
        let plan = Plan {
            cores,
            clock: self.clock.clone(),
            warm_up: WARM_UP,
            trips: TRIPS,
            open_items: 0,
            period_ns: 0,
            stream_items: 0,
            spins_max: SPINS_MAX,
            clock_step_ns: self.clock_step_ns,
        };
        // Not known is not moved: a note would say no more than the distance that is missing.
        ping_pong(&Floor, &plan, 0).map_or(0, |found| found.p50.round() as u64)
    }

    /// Before the run.
    pub(crate) fn before(&mut self) {
        for at in 0..self.pairs.len() {
            self.pairs[at].before_ns = self.probe(self.pairs[at].cores);
        }
    }

    /// After it.
    pub(crate) fn after(mut self, analysis: &mut RunAnalysis) {
        for at in 0..self.pairs.len() {
            self.pairs[at].after_ns = self.probe(self.pairs[at].cores);
        }
        analysis.cores_apart = self.pairs;
        analysis
            .cores_apart
            .retain(|pair| pair.before_ns > 0 && pair.after_ns > 0);
    }
}

fn differ(one_ns: u64, other_ns: u64) -> bool {
    let (less, more) = (one_ns.min(other_ns), one_ns.max(other_ns));
    more as f64 > MOVED * less as f64
}

/// Whether cores were moved while a run lasted.
pub(super) fn moved(run: &RunAnalysis) -> bool {
    let mut pairs = run.cores_apart.iter();
    pairs.any(|pair| differ(pair.before_ns, pair.after_ns))
}

/// Whether two runs had their cores at different distances.
pub(super) fn elsewhere(one: &RunAnalysis, other: &RunAnalysis) -> bool {
    let mut pairs = one.cores_apart.iter().zip(&other.cores_apart);
    pairs.any(|(one, other)| {
        one.cores == other.cores
            && (differ(one.before_ns, other.before_ns) || differ(one.after_ns, other.after_ns))
    })
}

/// Where runs had their cores at different distances: those distances, in words.
pub(super) fn varied<'a>(runs: impl Iterator<Item = &'a RunAnalysis>) -> Option<String> {
    let pairs = runs.flat_map(|run| &run.cores_apart);
    let all = pairs.map(|pair| (pair.cores, pair.before_ns, pair.after_ns));
    let mut all: Vec<([usize; 2], u64, u64)> = all.collect();
    all.sort_unstable();
    let of_pair = all.chunk_by(|one, other| one.0 == other.0);
    let words = of_pair.filter_map(|seen| {
        let spans = || seen.iter().flat_map(|(_, before, after)| [*before, *after]);
        let (least, most) = (spans().min()?, spans().max()?);
        let [one, other] = seen.first()?.0;
        differ(least, most).then(|| {
            format!(
                "the host moved cores {one} and {other}: a cache line took {} to {} between them",
                Span(least),
                Span(most)
            )
        })
    });
    let words: Vec<String> = words.collect();
    (!words.is_empty()).then(|| words.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hopline::host::allowed_cores;

    fn run(before_ns: u64, after_ns: u64) -> RunAnalysis {
        RunAnalysis {
            cores_apart: vec![CoresApart {
                cores: [0, 1],
                before_ns,
                after_ns,
            }],
            ..RunAnalysis::default()
        }
    }

    #[test]
    fn each_two_cores_are_a_pair_and_one_core_is_none() {
        assert_eq!(pairs(vec![2, 0, 2, 1]), [[0, 1], [0, 2], [1, 2]]);
        assert!(pairs(vec![3, 3]).is_empty());
        assert_eq!(pairs((0..32).collect()).len(), PAIRS_MAX);
    }

    #[test]
    fn a_core_that_is_elsewhere_is_told_from_noise() {
        assert!(!moved(&run(100, 110)) && moved(&run(100, 390)) && moved(&run(100, 40)));
        assert!(!elsewhere(&run(100, 100), &run(110, 95)));
        assert!(elsewhere(&run(100, 100), &run(390, 390)));
        assert!(elsewhere(&run(100, 100), &run(100, 40)));
        let unknown = RunAnalysis::default();
        assert!(!moved(&unknown) && !elsewhere(&unknown, &run(100, 100)));
        assert_eq!(varied([run(100, 100), run(110, 95)].iter()), None);
        let words = varied([run(100, 100), run(390, 400)].iter()).unwrap();
        assert!(words.contains("100ns to 400ns"), "{words}");
    }

    #[test]
    fn two_cores_of_this_machine_are_some_way_apart() {
        let mut cores = allowed_cores().to_vec();
        cores.truncate(2);
        let count = pairs(cores.clone()).len();
        let mut apart = Apart::of(cores);
        apart.before();
        let mut analysis = RunAnalysis::default();
        apart.after(&mut analysis);
        assert!(analysis.cores_apart.len() <= count);
        let mut pairs = analysis.cores_apart.iter();
        assert!(pairs.all(|pair| pair.before_ns < 1_000_000_000));
    }
}
