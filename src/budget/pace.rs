//! When a core ran slowly: the same piece of work takes longer while a neighbour uses the core's units.
//!
//! Two hardware threads share a core, and a host may put another guest, or another thread of this one, on the second: then
//! everything on the first takes up to twice as long, for some tens of microseconds or for seconds, and no time is missing
//! anywhere that a gap would show. A judged loop times the [same work](crate::host::pace_work) again and again.
//!
//! ```text
//!   work took   110 110 120 110 │ 190 210 200 │ 110 110
//!                               └── slowed ───┘
//! ```
//!
//! The work is no part of any program, so what is usual on a machine is usual for all programs that are judged on it.
//!
//! Invariant: values only; the same evidence gives the same answer.

use super::evidence::LoopEvidence;
use super::taint::Interval;

/// Fewest looks that say what is usual.
const LOOKS_MIN: usize = 100;

/// The part of all looks that went faster than what is usual.
const USUAL_SHARE: f64 = 0.1;

/// By how much slower than usual a look is slowed: the clock's steps move an undisturbed one by a tenth, a shared core by 0.4
/// to 1.
const SLOWER: f64 = 0.25;

/// When a loop's core ran slowly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slowed {
    /// What the work usually takes, in nanoseconds; 0 where there were too few looks to say.
    pub usual_ns: u64,
    /// From the look before a slow one to the look after it; disjoint and sorted.
    pub spans: Vec<Interval>,
}

impl Slowed {
    /// Of a loop, from the looks after `from_ns`. `known_ns` is what the work usually took in earlier runs on this machine, if
    /// there were any: the faster of the two counts, or a run that was slowed from its beginning to its end would look
    /// undisturbed.
    #[must_use]
    pub fn find(noted: &LoopEvidence, from_ns: u64, known_ns: Option<u64>) -> Slowed {
        let measured = noted.paces.iter().filter(|pace| pace.at_ns >= from_ns);
        let mut took: Vec<u32> = measured.map(|pace| pace.took_ns).collect();
        if took.len() < LOOKS_MIN {
            return Slowed::default();
        }
        took.sort_unstable();
        let own_ns = u64::from(took[(took.len() as f64 * USUAL_SHARE) as usize]);
        let usual_ns = own_ns.min(known_ns.filter(|&ns| ns > 0).unwrap_or(u64::MAX));
        let slow_ns = (usual_ns as f64 * (1.0 + SLOWER)) as u64;
        let mut spans: Vec<Interval> = Vec::new();
        let at = |at: usize| noted.paces.get(at).map(|pace| pace.at_ns);
        for (nth, pace) in noted.paces.iter().enumerate() {
            if u64::from(pace.took_ns) <= slow_ns {
                continue;
            }
            let start_ns = nth.checked_sub(1).and_then(at).unwrap_or(0);
            let end_ns = at(nth + 1).unwrap_or(u64::MAX);
            match spans.last_mut() {
                Some(last) if last.end_ns >= start_ns => last.end_ns = end_ns,
                _ => spans.push(Interval { start_ns, end_ns }),
            }
        }
        Slowed { usual_ns, spans }
    }

    /// Whether the core ran slowly at any time of a span.
    #[must_use]
    pub fn touches(&self, from_ns: u64, until_ns: u64) -> bool {
        let at = self.spans.partition_point(|span| span.end_ns <= from_ns);
        // A span of no length lies in one that has some.
        let until_ns = until_ns.max(from_ns + 1);
        self.spans
            .get(at)
            .is_some_and(|span| span.start_ns < until_ns)
    }

    /// For how long it ran slowly in a span, in nanoseconds.
    #[must_use]
    pub fn time_in(&self, from_ns: u64, until_ns: u64) -> u64 {
        let inside = |span: &Interval| {
            let end_ns = span.end_ns.min(until_ns);
            end_ns.saturating_sub(span.start_ns.max(from_ns))
        };
        self.spans.iter().map(inside).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Pace;

    const EVERY_NS: u64 = 50_000;

    fn noted(took_ns: &[u32]) -> LoopEvidence {
        let paces = took_ns.iter().zip(1..).map(|(&took_ns, nth)| Pace {
            at_ns: nth * EVERY_NS,
            took_ns,
        });
        LoopEvidence {
            paces: paces.collect(),
            ..LoopEvidence::default()
        }
    }

    #[test]
    fn a_stretch_of_slow_looks_is_found_from_the_look_before_it_to_the_one_after() {
        let mut took = vec![110; 300];
        took[100..103].fill(190);
        took[104] = 200;
        // Within the steps of a clock.
        took[200] = 130;
        let slowed = Slowed::find(&noted(&took), 0, None);
        // Looks are numbered from one.
        let found = Interval {
            start_ns: 100 * EVERY_NS,
            end_ns: 106 * EVERY_NS,
        };
        assert_eq!(
            (slowed.usual_ns, slowed.spans.as_slice()),
            (110, &[found][..])
        );
        assert!(slowed.touches(found.start_ns, found.start_ns));
        assert!(slowed.touches(0, found.start_ns + 1) && !slowed.touches(0, found.start_ns));
        assert!(!slowed.touches(found.end_ns, u64::MAX));
        assert_eq!(slowed.time_in(0, found.start_ns + 10), 10);
    }

    #[test]
    fn a_run_that_was_slow_throughout_is_known_by_an_earlier_one() {
        let slow = noted(&[190; 200]);
        assert!(Slowed::find(&slow, 0, None).spans.is_empty());
        let known = Slowed::find(&slow, 0, Some(110));
        assert_eq!((known.usual_ns, known.spans.len()), (110, 1));
        assert_eq!(known.time_in(0, 200 * EVERY_NS), 200 * EVERY_NS);
        // One that was faster than the earlier one is not slowed.
        assert!(Slowed::find(&slow, 0, Some(400)).spans.is_empty());
    }

    #[test]
    fn too_few_looks_say_nothing() {
        let few = noted(&[190; LOOKS_MIN - 1]);
        assert_eq!(Slowed::find(&few, 0, Some(110)), Slowed::default());
        assert!(!Slowed::default().touches(0, u64::MAX));
    }
}
