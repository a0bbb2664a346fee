//! The log of how fast a judged loop's core runs.
//!
//! Invariant: it neither allocates nor faults while the loop runs; what has no room is counted.

use crate::base::limits::{PACE_LOG, PACE_LOG_MAX, PACE_NS};
use crate::budget::Pace;

/// How fast the core runs, looked at every [`PACE_NS`].
#[derive(Debug)]
pub(super) struct Paces {
    pub(super) log: Vec<Pace>,
    pub(super) lost: u64,
}

impl Paces {
    /// With room for a run of that length and [`PACE_LOG`] looks more, since it takes a while until it begins and has ended.
    pub(super) fn over(span_ns: u64) -> Paces {
        let touched = Pace {
            at_ns: 1,
            ..Pace::default()
        };
        let looks = usize::try_from(span_ns / PACE_NS).unwrap_or(usize::MAX);
        let room = looks.saturating_add(PACE_LOG).min(PACE_LOG_MAX);
        let mut log = vec![touched; room];
        log.clear();
        Paces { log, lost: 0 }
    }

    pub(super) fn clear(&mut self) {
        self.log.clear();
        self.lost = 0;
    }

    pub(super) fn note(&mut self, at_ns: u64, took_ns: u64) {
        if self.log.len() < self.log.capacity() {
            self.log.push(Pace {
                at_ns,
                took_ns: u32::try_from(took_ns).unwrap_or(u32::MAX),
            });
        } else {
            self.lost += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks that find no room in a run as long as that, with the room for one of `for_ns`.
    fn lost(for_ns: u64, run_ns: u64) -> u64 {
        let mut paces = Paces::over(for_ns);
        (1..=run_ns / PACE_NS).for_each(|nth| paces.note(nth * PACE_NS, 110));
        paces.lost
    }

    #[test]
    fn a_run_of_known_length_has_room_for_all_its_looks_and_what_has_none_is_counted() {
        let second = 1_000_000_000;
        for seconds in [5, 30, 60] {
            assert_eq!(
                lost(seconds * second, (seconds + 10) * second),
                0,
                "{seconds} s"
            );
        }
        let spare = PACE_LOG as u64 * PACE_NS;
        assert_eq!((lost(0, spare), lost(0, spare + 3 * PACE_NS)), (0, 3));
        assert_eq!(Paces::over(u64::MAX).log.capacity(), PACE_LOG_MAX);
    }
}
