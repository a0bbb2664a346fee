//! A thread that feeds sources from outside, each message at its time: what a sender and an exchange have in common.
//!
//! ```text
//!   open ──→ feeds ──stop──→ done ──finish──→ ended, with what it has to say
//! ```
//!
//! Invariant: whoever opens it waits until the thread has opened all it needs, and is told why if it cannot.

use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;

use hopline::base::Counter;
use hopline::base::primitive::{Arc, AtomicBool, Ordering};

use crate::exit::Failure;

/// What the thread and those outside of it share. All is relaxed: each word stands for itself.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    stop: AtomicBool,
    done: AtomicBool,
    finish: AtomicBool,
    counts: Vec<Counter>,
}

impl Shared {
    /// Whether no more is to be sent.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Whether nothing more will come back either, so that the thread is to end.
    pub(crate) fn is_finished(&self) -> bool {
        self.finish.load(Ordering::Relaxed)
    }

    /// All that will be sent has left.
    pub(crate) fn set_done(&self) {
        self.done.store(true, Ordering::Relaxed);
    }

    /// Messages that have left to each source, in the order of the sources.
    pub(crate) fn counts(&self) -> &[Counter] {
        &self.counts
    }
}

/// The thread, from outside; at its end it has an `R` to say.
#[derive(Debug)]
pub(crate) struct Feeder<R> {
    shared: Arc<Shared>,
    sources: Vec<String>,
    thread: JoinHandle<R>,
}

impl<R: Default + Send + 'static> Feeder<R> {
    /// Starts a thread of that name for those sources. It calls `open` and then, if all went well, what that gave; what
    /// `open` gave beside it comes back from here.
    pub(crate) fn open<A, F>(
        name: &'static str,
        sources: Vec<String>,
        open: impl FnOnce(Arc<Shared>) -> Result<(F, A), Failure> + Send + 'static,
    ) -> Result<(Feeder<R>, A), Failure>
    where
        A: Send + 'static,
        F: FnOnce() -> R,
    {
        let shared = Arc::new(Shared {
            counts: sources.iter().map(|_| Counter::default()).collect(),
            ..Shared::default()
        });
        let (opened_tx, opened) = sync_channel(1);
        let theirs = shared.clone();
        let spawned = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let (result, feed) = match open(theirs) {
                    Ok((feed, answer)) => (Ok(answer), Some(feed)),
                    Err(failure) => (Err(failure), None),
                };
                // The channel has a place for this one word.
                let _ = opened_tx.send(result);
                feed.map(|feed| feed()).unwrap_or_default()
            });
        let thread = spawned
            .map_err(|error| Failure::io(format!("cannot start the {name}: {error}"), ""))?;
        let gone = || Err(Failure::io(format!("the {name} ended before it began"), ""));
        let answer = opened.recv().unwrap_or_else(|_| gone())?;
        let feeder = Feeder {
            shared,
            sources,
            thread,
        };
        Ok((feeder, answer))
    }

    /// Sends no more.
    pub(crate) fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }

    /// Whether all that will be sent has left.
    pub(crate) fn is_done(&self) -> bool {
        self.shared.done.load(Ordering::Relaxed) || self.thread.is_finished()
    }

    /// Messages that have left to each source so far.
    pub(crate) fn sent(&self) -> impl Iterator<Item = (&str, u64)> {
        let counts = self.shared.counts.iter().map(Counter::get);
        self.sources.iter().map(String::as_str).zip(counts)
    }

    /// Ends the thread and says what it did.
    pub(crate) fn finish(self) -> R {
        self.stop();
        self.shared.finish.store(true, Ordering::Relaxed);
        // A panic of the thread has been printed; the run's own report is still worth having.
        self.thread.join().unwrap_or_default()
    }
}
