//! A thread that takes a core away when it is told to, and knows when it had it.
//!
//! It runs under SCHED_FIFO on the loop's core, so that the kernel gives it the core at once, whatever the loop does there, and
//! sleeps until somebody hits it: a node in its own turn, where the system call that wakes it does not return before it is
//! done, or a thread on another core, at any time.
//!
//! Invariant: what it notes is its own time on the core, by the line's clock; the switch to it and back is not in it.

use std::process::Command;
use std::sync::OnceLock;
use std::sync::mpsc::sync_channel;
use std::thread::{JoinHandle, Thread};

use hopline::base::primitive::{Arc, AtomicBool, AtomicU64, Ordering, spin_hint};
use hopline::budget::taint::Interval;
use hopline::clock::Clock;
use hopline::host::{Pin, pin};

/// Above every thread that has no real-time class; any priority is.
const PRIORITY: &str = "10";

/// Most times that it is hit in a run.
const HITS_MAX: usize = 1 << 14;

#[derive(Debug, Default)]
struct Shared {
    /// For how long it is to have the core; 0 if nobody asked.
    asked_ns: AtomicU64,
    is_over: AtomicBool,
    /// The line's clock, from its first turn on.
    clock: OnceLock<Clock>,
    /// When the line's schedule began; 0 before it did.
    t0_ns: AtomicU64,
}

/// What hits it.
#[derive(Clone, Debug)]
pub(crate) struct Fist {
    shared: Arc<Shared>,
    thread: Thread,
}

impl Fist {
    /// Has the core taken away for so long, in nanoseconds.
    pub(crate) fn hit(&self, ns: u64) {
        self.shared.asked_ns.store(ns, Ordering::Release);
        self.thread.unpark();
    }

    /// The clock by which it notes its times.
    pub(crate) fn set_clock(&self, clock: &Clock) {
        // A line has one clock: what is there already is the same.
        let _ = self.shared.clock.set(clock.clone());
    }

    /// The line's schedule begins.
    pub(crate) fn start(&self, t0_ns: u64) {
        self.shared.t0_ns.store(t0_ns, Ordering::Release);
    }

    /// Whether the run is over.
    pub(crate) fn is_over(&self) -> bool {
        self.shared.is_over.load(Ordering::Acquire)
    }

    /// The clock and the begin of the schedule, once both are known.
    pub(crate) fn schedule(&self) -> Option<(Clock, u64)> {
        let t0_ns = self.shared.t0_ns.load(Ordering::Acquire);
        let clock = self.shared.clock.get().filter(|_| t0_ns > 0)?;
        Some((clock.clone(), t0_ns))
    }
}

/// The thread.
#[derive(Debug)]
pub(crate) struct Preempter {
    fist: Fist,
    thread: JoinHandle<Vec<Interval>>,
}

impl Preempter {
    /// Starts it on a core.
    ///
    /// # Errors
    /// Why it cannot have its class or its core.
    pub(crate) fn start(core: usize) -> Result<Preempter, String> {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let (ready, is_ready) = sync_channel(1);
        let thread = std::thread::spawn(move || {
            let begun = pin(core, Pin::Require).map_err(|error| error.to_string());
            let begun = begun.and_then(|_| take_class());
            let is_good = begun.is_ok();
            // Who waits for it is there until it comes.
            let _ = ready.send(begun);
            if is_good {
                preempt(&theirs)
            } else {
                Vec::new()
            }
        });
        is_ready
            .recv()
            .map_err(|_| "its thread ended at once".to_owned())??;
        let fist = Fist {
            shared,
            thread: thread.thread().clone(),
        };
        Ok(Preempter { fist, thread })
    }

    /// What hits it.
    pub(crate) fn fist(&self) -> Fist {
        self.fist.clone()
    }

    /// Ends it, and gives the times that it had the core.
    pub(crate) fn end(self) -> Vec<Interval> {
        self.fist.shared.is_over.store(true, Ordering::Release);
        self.fist.thread.unpark();
        self.thread.join().expect("it does not panic")
    }
}

/// Gives the calling thread its class. By util-linux's command: there is no safe call for it.
fn take_class() -> Result<(), String> {
    let at = std::fs::read_link("/proc/thread-self").map_err(|error| error.to_string())?;
    let id = at.file_name().ok_or("/proc/thread-self has no number")?;
    let chrt = Command::new("chrt")
        .args(["-f", "-p", PRIORITY])
        .arg(id)
        .output()
        .map_err(|error| format!("chrt: {error}"))?;
    if chrt.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&chrt.stderr);
    Err(words.trim().to_owned())
}

#[allow(
    clippy::disallowed_methods,
    reason = "it is no loop of the line, and a queue's wake would hold a lock that it then runs into"
)]
fn preempt(shared: &Shared) -> Vec<Interval> {
    let mut had = vec![
        Interval {
            start_ns: 1,
            end_ns: 1
        };
        HITS_MAX
    ];
    had.clear();
    loop {
        let asked_ns = shared.asked_ns.swap(0, Ordering::AcqRel);
        if asked_ns == 0 {
            if shared.is_over.load(Ordering::Acquire) {
                return had;
            }
            std::thread::park();
            continue;
        }
        let Some(clock) = shared.clock.get() else {
            continue;
        };
        let start_ns = clock.stamp_after();
        let mut end_ns = start_ns;
        while end_ns < start_ns + asked_ns {
            spin_hint();
            end_ns = clock.stamp_after();
        }
        assert!(had.len() < HITS_MAX, "hit more often than it notes");
        had.push(Interval { start_ns, end_ns });
    }
}
