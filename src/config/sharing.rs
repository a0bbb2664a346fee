//! How the nodes of a thread share it, as `line.toml` says it.
//!
//! Invariant: reads keys; who is on which thread, and so whether a priority says anything, is checked with the line.

use crate::base::limits::{
    BATCH_FRAMES, BATCH_FRAMES_MAX, GUARD_TURNS, GUARD_TURNS_MAX, PRIORITY_MAX,
};
use crate::reactor::Schedule;
use crate::topology::{Params, Place, Priority, Problem, Problems, Sharing};

use super::line::noted;

/// The settings `schedule`, `batch` and `guard` of a line or a thread.
pub(super) fn read(params: &mut Params, problems: &mut Problems) -> Sharing {
    let words = Schedule::ALL.map(Schedule::name);
    let schedule = params.word("schedule", &words, Schedule::parse);
    let schedule = noted(schedule, problems).flatten();
    let batches = 1..=BATCH_FRAMES_MAX as u64;
    let batch = noted(
        params.count("batch", BATCH_FRAMES as u64, batches),
        problems,
    );
    let guards = 1..=u64::from(GUARD_TURNS_MAX);
    let guard = noted(
        params.count("guard", u64::from(GUARD_TURNS), guards),
        problems,
    );
    Sharing {
        schedule,
        batch: batch
            .filter(|_| params.has("batch"))
            .map(|frames| frames as usize),
        guard_turns: guard
            .filter(|_| params.has("guard"))
            .map(|turns| turns as u32),
    }
}

/// Whether there is a schedule that could not be read.
pub(super) fn is_misread(params: &Params, read: Sharing) -> bool {
    params.has("schedule") && read.schedule.is_none()
}

/// A guard where each has its turn in its place.
pub(super) fn stray_guard(place: Option<&Place>) -> Problem {
    let schedule = Schedule::RoundRobin;
    let what = format!("\"guard\" has no effect where schedule = \"{schedule}\"");
    let help = "write schedule = \"priority\" or schedule = \"edf\", or remove it";
    Problem::new(what, help).at(place)
}

/// The setting `priority` of a node.
pub(super) fn priority(
    params: &mut Params,
    node: Option<&str>,
    problems: &mut Problems,
) -> Option<Priority> {
    let last = u64::from(PRIORITY_MAX);
    let priority = noted(params.count("priority", last, 0..=last), problems)?;
    let place = params.place_of("priority").cloned();
    let given = params.has("priority").then_some(priority as u8)?;
    Some(Priority {
        node: node?.to_owned(),
        priority: given,
        place,
    })
}
