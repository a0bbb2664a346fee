//! What an aggregate is built for: its windows and its bounds.
//!
//! Invariant: every bound has a least and a most, and the memory follows from them alone.

use core::ops::RangeInclusive;

use super::{keys, sets, windows};
use crate::base::limits::{
    METRIC_HISTOGRAMS_DEFAULT, METRIC_HISTOGRAMS_MAX, METRIC_KEY_BYTES_DEFAULT,
    METRIC_KEY_BYTES_MAX, METRIC_KEYS_DEFAULT, METRIC_KEYS_MAX, METRIC_LATE_WINDOWS_MAX,
    METRIC_SET_MEMBERS_DEFAULT, METRIC_SET_MEMBERS_MAX, METRIC_SETS_DEFAULT, METRIC_SETS_MAX,
    METRIC_WINDOW_NS_MAX, METRIC_WINDOW_NS_MIN,
};
use crate::hist::Tally;

/// Which order of tags makes a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TagOrder {
    /// Sorted and each once: clients that order their tags differently mean the same metric.
    #[default]
    Sorted,
    /// As sent, for senders that are known to agree: spares a look at each tag.
    AsSent,
}

/// What the sign of a gauge means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Signs {
    /// A change of it, as in StatsD.
    #[default]
    Changes,
    /// A plain number, as in DogStatsD.
    Numbers,
}

/// Windows and bounds of an [`Aggregate`](super::Aggregate).
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Length of a window, in nanoseconds.
    pub window_ns: u64,
    /// Windows that stay open behind the current one, for events that come late.
    pub late_windows: usize,
    /// Most keys at once.
    pub keys: usize,
    /// Most bytes of a key: its name, its field and its tags.
    pub key_bytes: usize,
    /// Histograms in reserve, one for each timer of each open window.
    pub histograms: usize,
    /// Sets in reserve, one for each set of each open window.
    pub sets: usize,
    /// Members that a set tells apart.
    pub set_members: usize,
    /// Units of a histogram that make a millisecond of a timer: it tells apart what is a unit, and
    /// reaches as far as [`HIST_MAX_NS`](crate::base::limits::HIST_MAX_NS) of them.
    pub timer_units: f64,
    /// The same for one of what histograms and distributions count.
    pub value_units: f64,
    /// Which order of tags makes a key.
    pub tag_order: TagOrder,
    /// What the sign of a gauge means.
    pub signs: Signs,
    /// Where hashes start, so that no sender knows which keys fall together. The same seed makes the
    /// same choices.
    pub seed: u64,
}

impl Default for Settings {
    /// Windows of ten seconds, as clients expect, one of them kept open for what is late; timers in
    /// nanoseconds up to 69 s, values in thousandths up to 69 million.
    fn default() -> Settings {
        Settings {
            window_ns: 10_000_000_000,
            late_windows: 1,
            keys: METRIC_KEYS_DEFAULT,
            key_bytes: METRIC_KEY_BYTES_DEFAULT,
            histograms: METRIC_HISTOGRAMS_DEFAULT,
            sets: METRIC_SETS_DEFAULT,
            set_members: METRIC_SET_MEMBERS_DEFAULT,
            timer_units: 1e6,
            value_units: 1e3,
            tag_order: TagOrder::Sorted,
            signs: Signs::Changes,
            seed: 0,
        }
    }
}

/// A setting beyond its bounds.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{name} is {given}; it may be {least} to {most}")]
pub struct SettingsError {
    /// Which one.
    pub name: &'static str,
    /// What was given.
    pub given: String,
    /// The least that it may be.
    pub least: String,
    /// The most that it may be.
    pub most: String,
}

fn within<T: PartialOrd + ToString>(
    name: &'static str,
    given: T,
    bounds: RangeInclusive<T>,
) -> Result<(), SettingsError> {
    if bounds.contains(&given) {
        return Ok(());
    }
    let (least, most) = bounds.into_inner();
    Err(SettingsError {
        name,
        given: given.to_string(),
        least: least.to_string(),
        most: most.to_string(),
    })
}

impl Settings {
    /// Whether all of them are within their bounds.
    ///
    /// # Errors
    /// The first that is not.
    pub fn check(&self) -> Result<(), SettingsError> {
        let window_ns = METRIC_WINDOW_NS_MIN..=METRIC_WINDOW_NS_MAX;
        within("window_ns", self.window_ns, window_ns)?;
        within(
            "late_windows",
            self.late_windows,
            0..=METRIC_LATE_WINDOWS_MAX,
        )?;
        within("keys", self.keys, 1..=METRIC_KEYS_MAX)?;
        within("key_bytes", self.key_bytes, 1..=METRIC_KEY_BYTES_MAX)?;
        within("histograms", self.histograms, 0..=METRIC_HISTOGRAMS_MAX)?;
        within("sets", self.sets, 0..=METRIC_SETS_MAX)?;
        within("set_members", self.set_members, 1..=METRIC_SET_MEMBERS_MAX)?;
        within("timer_units", self.timer_units, 1e-9..=1e9)?;
        within("value_units", self.value_units, 1e-9..=1e9)
    }

    /// Bytes of memory that an aggregate of these settings takes at its start, and never more.
    #[must_use]
    pub const fn memory_bytes(&self) -> usize {
        keys::memory_bytes(self.keys, self.key_bytes)
            + windows::memory_bytes(self.keys, self.late_windows)
            + self.histograms * (Tally::BYTES + size_of::<u32>())
            + sets::memory_bytes(self.sets, self.set_members)
            + self.key_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_its_bounds_is_named() {
        assert_eq!(Settings::default().check(), Ok(()));
        let settings = Settings {
            keys: 0,
            ..Settings::default()
        };
        assert_eq!(
            settings.check().unwrap_err().to_string(),
            format!("keys is 0; it may be 1 to {METRIC_KEYS_MAX}")
        );
        let settings = Settings {
            timer_units: f64::NAN,
            ..Settings::default()
        };
        assert_eq!(settings.check().unwrap_err().name, "timer_units");
    }
}
