//! What a window has to say about one metric.
//!
//! Invariant: a view of the aggregate's memory, valid until the next row.

use crate::feed::sample::{Class, TagSet};
use crate::hist::Tally;

/// One metric in one window.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// When the window began, in nanoseconds since 1970.
    pub window_start_ns: u64,
    /// How long it is, in nanoseconds.
    pub window_ns: u64,
    /// The metric's name, as sent.
    pub name: &'a [u8],
    /// The field of a measurement; empty in formats that have none.
    pub field: &'a [u8],
    /// Its tags, in the order that was asked for.
    pub tags: TagSet<'a>,
    /// What its values mean.
    pub class: Class,
    /// Values, or members, that came in.
    pub values: u64,
    /// What they stand for: each counts one over its rate.
    pub weight: f64,
    /// Of a counter, what it counted; otherwise the sum of the values by their weight. Whole numbers
    /// are exact up to 2^53.
    pub sum: f64,
    /// The least value, exactly; 0 for a set.
    pub min: f64,
    /// The largest value, exactly; 0 for a set.
    pub max: f64,
    /// The latest value, by event time where it is known; 0 for a set.
    pub last: f64,
    /// Different members of a set.
    pub members: u64,
    /// There were more members than a set can tell apart, or no set was left for it.
    pub members_incomplete: bool,
    pub(super) tally: Option<&'a Tally>,
    pub(super) units_per_one: f64,
}

impl<'a> Row<'a> {
    /// The mean of the values by their weight; 0 for a set.
    #[must_use]
    pub fn mean(&self) -> f64 {
        if self.weight > 0.0 {
            self.sum / self.weight
        } else {
            0.0
        }
    }

    /// The value that a share `q` of all does not exceed, rounded up by at most one bucket (1 %) and
    /// never beyond least and largest; `None` for what has no distribution, and where no histogram
    /// was left for it.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let value = self.tally?.quantile(q) as f64 / self.units_per_one;
        Some(value.clamp(self.min, self.max))
    }

    /// Its histogram, in units of which [`Row::units_per_one`] make one of its values.
    #[must_use]
    pub const fn tally(&self) -> Option<&'a Tally> {
        self.tally
    }

    /// Units of its histogram that make one of its values.
    #[must_use]
    pub const fn units_per_one(&self) -> f64 {
        self.units_per_one
    }
}
