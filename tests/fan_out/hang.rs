//! A broadcast on threads of which one consumer hangs until it is let go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hopline::io::{Driver, IoError};
use hopline::overload::{Policy, Slow, WhenFull};
use hopline::stage::{Delivery, Egress, Leaving};
use hopline::topology::{Hop, Line, Placement, Report, Running, ThreadSpec};
use hopline::wait::Strategy;

use crate::numbers::Counting;

/// Messages of a run.
pub(crate) const COUNT: u64 = 20_000;

/// How long the line is left alone between two looks, and most looks for one thing: a minute and more.
const LOOK: Duration = Duration::from_millis(1);
const LOOKS_MAX: u32 = 60_000;

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
    pub(crate) fn others_get(&mut self, count: u64) {
        for _ in 0..LOOKS_MAX {
            let others = self.seen[..2].iter();
            if others.map(|one| one.load(Ordering::Acquire)).min() == Some(count) {
                return;
            }
            self.running.wait(LOOK);
        }
        panic!("{:?}", self.seen);
    }

    /// The line's report once it says who is to blame.
    pub(crate) fn blamed(&mut self) -> Report {
        for _ in 0..LOOKS_MAX {
            let report = self.running.report();
            if report.culprit().is_some() {
                return report;
            }
            self.running.wait(LOOK);
        }
        panic!("nobody is to blame");
    }

    /// How many those that do not hang have seen at the most.
    pub(crate) fn most(&self) -> u64 {
        let seen = self.seen[..2].iter();
        seen.map(|one| one.load(Ordering::Acquire))
            .max()
            .unwrap_or(0)
    }

    /// Why the hop of the one that hangs is given no other policy.
    pub(crate) fn refused_policy(&mut self, policy: Policy) -> String {
        let refused = self.running.set_policy("in->hangs", policy);
        refused.expect_err("it was cut off").to_string()
    }

    /// Lets it go and waits for the end.
    pub(crate) fn end(mut self) -> Report {
        self.let_go.store(true, Ordering::Release);
        assert!(self.running.wait(LOOK * LOOKS_MAX), "it ends");
        self.running.end("finished")
    }
}
