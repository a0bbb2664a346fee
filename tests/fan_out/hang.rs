//! A broadcast on threads of which one consumer hangs until it is let go.

use std::sync::Arc;

use hopline::base::primitive::{AtomicBool, AtomicU64, Ordering};

use hopline::clock::Clock;
use hopline::io::{Driver, IoError};
use hopline::overload::{Policy, Slow, WhenFull};
use hopline::stage::{Delivery, Egress, Leaving};
use hopline::topology::{Hop, Line, Placement, Report, Running, ThreadSpec};
use hopline::wait::Strategy;

use crate::numbers::Counting;

/// Messages of a run.
pub(crate) const COUNT: u64 = 20_000;

/// Longest that anything is waited for.
const PATIENCE_NS: u64 = 60_000_000_000;

/// Counts, and hangs with its hundredth message until it is let go.
struct Sink {
    seen: Arc<AtomicU64>,
    let_go: Option<Arc<AtomicBool>>,
}

impl Egress for Sink {
    fn open(&mut self, _io: &mut Driver) -> Result<(), IoError> {
        Ok(())
    }

    fn on_frame(&mut self, _frame: Leaving<'_>, _io: &mut Driver) -> Delivery {
        let seen = self.seen.fetch_add(1, Ordering::Release) + 1;
        if let Some(let_go) = &self.let_go {
            while seen == 100 && !let_go.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
        }
        Delivery::Sent
    }
}

/// A line in → good, other, hangs, of which the last has a thread of its own.
pub(crate) struct Broadcast {
    running: Running,
    seen: [Arc<AtomicU64>; 3],
    let_go: Arc<AtomicBool>,
}

impl Broadcast {
    pub(crate) fn with(slow: Slow) -> Broadcast {
        let seen = [(); 3].map(|()| Arc::<AtomicU64>::default());
        let let_go = Arc::<AtomicBool>::default();
        let mut line = Line::builder("broadcast");
        line.source("in", Counting::new(COUNT, 0));
        let names = ["good", "other", "hangs"];
        for (name, seen) in names.iter().zip(&seen) {
            let sink = Sink {
                seen: seen.clone(),
                let_go: (*name == "hangs").then(|| let_go.clone()),
            };
            line.sink(name, sink);
        }
        let policy = Policy {
            block_timeout_ns: u64::from(slow == Slow::Disconnect) * 5_000_000,
            ..Policy::of(WhenFull::Block)
        };
        let hop = Hop::depth(256).policy(policy);
        line.connect("in", names, hop.slow("hangs", slow));
        let threads = [vec!["in", "good", "other"], vec!["hangs"]];
        let thread = |nodes: Vec<&str>| ThreadSpec {
            name: nodes[0].to_owned(),
            nodes: nodes.into_iter().map(str::to_owned).collect(),
            ..ThreadSpec::default()
        };
        line.placement(Placement {
            pin: hopline::host::Pin::Off,
            wait: Some(Strategy::YIELD),
            threads: threads.into_iter().map(thread).collect(),
            ..Placement::default()
        });
        let line = line.build().expect("a line");
        Broadcast {
            running: line.start().expect("it starts"),
            seen,
            let_go,
        }
    }

    /// Waits until the two that do not hang have seen so many.
    pub(crate) fn others_get(&self, count: u64) {
        let clock = Clock::os();
        let until_ns = clock.stamp() + PATIENCE_NS;
        let seen = |at: usize| self.seen[at].load(Ordering::Acquire);
        while seen(0) < count || seen(1) < count {
            assert!(clock.stamp() < until_ns, "{} and {}", seen(0), seen(1));
            std::thread::yield_now();
        }
    }

    /// The line's report when it satisfies `is_it`.
    pub(crate) fn report_with(&mut self, is_it: impl Fn(&Report) -> bool) -> Report {
        let clock = Clock::os();
        let until_ns = clock.stamp() + PATIENCE_NS;
        loop {
            let report = self.running.report();
            if is_it(&report) {
                return report;
            }
            assert!(clock.stamp() < until_ns, "{report:?}");
            std::thread::yield_now();
        }
    }

    /// How many those that do not hang have seen at the most.
    pub(crate) fn most(&self) -> u64 {
        let seen = self.seen[..2].iter();
        seen.map(|one| one.load(Ordering::Acquire))
            .max()
            .unwrap_or(0)
    }

    /// Lets it go and waits for the end.
    pub(crate) fn end(mut self) -> Report {
        self.let_go.store(true, Ordering::Release);
        assert!(
            self.running
                .wait(core::time::Duration::from_nanos(PATIENCE_NS)),
            "it ends"
        );
        self.running.end("finished")
    }
}
