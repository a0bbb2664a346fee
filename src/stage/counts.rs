//! What a stage counts beside what becomes of its messages: one list of the stage's own, shown under its names.
//!
//! ```text
//!   Stage::COUNTS ─[housekeeping, the end]─→ OwnCounts ─→ report: counts ─→ page: hopline_stage_counted_total
//! ```
//!
//! Invariant: a count only rises, also where the instance that counted is gone and another one begins at 0.

use std::sync::OnceLock;

use super::Stage;
use crate::base::Counter;

/// A count of a stage's own: its name, and where the stage has it.
pub type Count<S> = (&'static str, fn(&S) -> u64);

/// A count as the outside sees it.
#[derive(Debug)]
struct Shown {
    name: &'static str,
    count: Counter,
    /// What instances counted that are gone.
    before: Counter,
}

/// The counts of a node whose stage has some; read by anybody while it runs.
#[derive(Debug, Default)]
pub struct OwnCounts(OnceLock<Box<[Shown]>>);

impl OwnCounts {
    /// Shows what the stage has counted by now. The node's own loop only; the first call, which opens the node, allocates.
    pub(crate) fn tell<S: Stage>(&self, stage: &S) {
        let shown = self.0.get_or_init(|| {
            let shown = |(name, _): &Count<S>| Shown {
                name,
                count: Counter::default(),
                before: Counter::default(),
            };
            S::COUNTS.iter().map(shown).collect()
        });
        for (shown, (_, of)) in shown.iter().zip(S::COUNTS) {
            shown
                .count
                .set(shown.before.get().saturating_add(of(stage)));
        }
    }

    /// The instance is gone: what it counted stays, and the next one begins at 0.
    pub(crate) fn keep(&self) {
        for shown in self.0.get().into_iter().flatten() {
            shown.before.set(shown.count.get());
        }
    }

    /// All of them, those that are 0 as well.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let shown = self.0.get().into_iter().flatten();
        shown.map(|shown| (shown.name, shown.count.get()))
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::base::NoWhy;
    use crate::frame::View;
    use crate::stage::{Context, Outcome};

    #[hopline::frame(schema = 906, version = 1, name = "bead")]
    struct Bead {
        weight: u64,
    }

    struct Sieve {
        passed: u64,
        stuck: u64,
    }

    impl Stage for Sieve {
        type In = Bead;
        type Why = NoWhy;
        const COUNTS: &'static [Count<Sieve>] = &[
            ("passed", |sieve| sieve.passed),
            ("stuck", |sieve| sieve.stuck),
        ];

        fn on_frame(&mut self, _bead: View<'_, Bead>, _cx: &mut Context<'_>) -> Outcome<NoWhy> {
            Outcome::held()
        }
    }

    #[test]
    fn counts_go_on_where_another_instance_begins() {
        let counts = OwnCounts::default();
        assert_eq!(counts.all().count(), 0);
        let mut sieve = Sieve {
            passed: 7,
            stuck: 0,
        };
        counts.tell(&sieve);
        counts.tell(&sieve);
        let all = || counts.all().collect::<Vec<_>>();
        assert_eq!(all(), [("passed", 7), ("stuck", 0)]);
        counts.keep();
        sieve.passed = 2;
        sieve.stuck = 1;
        counts.tell(&sieve);
        assert_eq!(all(), [("passed", 9), ("stuck", 1)]);
    }
}
