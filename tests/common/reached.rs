//! Places in a story that at least one of its runs has to come to.
//!
//! A story under a checker often branches on what a look finds. If no interleaving takes the branch, what is asserted
//! in it holds of nothing; so a story marks its branches, and once all runs are over each mark has to be there.
//!
//! Invariant: a mark is no event of the story: the checkers neither see it nor order anything by it.

#![allow(
    clippy::disallowed_types,
    reason = "shared by all runs of a story, so it has to be std's, outside of the checker"
)]

use std::sync::atomic::{AtomicUsize, Ordering};

/// How often the runs of a story came to each of its `N` places.
pub(crate) struct Reached<const N: usize> {
    places: [&'static str; N],
    times: [AtomicUsize; N],
}

impl<const N: usize> Reached<N> {
    /// Places by what is found at each. In a `static`, since a story is run from the start again and again.
    pub(crate) const fn new(places: [&'static str; N]) -> Reached<N> {
        Reached {
            places,
            times: [const { AtomicUsize::new(0) }; N],
        }
    }

    /// This run has come to the place `at`.
    pub(crate) fn mark(&self, at: usize) {
        self.times[at].fetch_add(1, Ordering::Relaxed);
    }

    /// The same if `is_there`.
    #[allow(
        dead_code,
        reason = "not every test has a place that goes with another"
    )]
    pub(crate) fn mark_if(&self, at: usize, is_there: bool) {
        if is_there {
            self.mark(at);
        }
    }

    /// To be called once all runs are over.
    ///
    /// # Panics
    /// If no run has come to one of the places.
    pub(crate) fn each(&self) {
        for (place, times) in self.places.iter().zip(&self.times) {
            assert!(times.load(Ordering::Relaxed) > 0, "never reached: {place}");
        }
    }
}
