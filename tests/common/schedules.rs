//! Runs a story under many random schedules: uniform ones, and ones that stay on a thread and
//! change a few times at chosen points (PCT: Burckhardt et al., "A Randomized Scheduler with
//! Probabilistic Guarantees of Finding Bugs", ASPLOS 2010).
//!
//! `SHUTTLE_SCHEDULES` sets how many of each; a failure prints the schedule to replay.

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, Runner};

/// Schedules of each kind, unless the environment says otherwise.
const SCHEDULES: usize = 300;

/// Changes of thread that a PCT schedule makes on purpose: known faults of queues need two or three.
const PCT_DEPTH: usize = 3;

/// Steps after which a story counts as one that never ends.
const STEPS_MAX: usize = 200_000;

pub(crate) fn explore(story: impl Fn() + Send + Sync + 'static) {
    let schedules = std::env::var("SHUTTLE_SCHEDULES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(SCHEDULES);
    let story = std::sync::Arc::new(story);
    run(RandomScheduler::new(schedules), story.clone());
    run(PctScheduler::new(PCT_DEPTH, schedules), story);
}

fn run<F: Fn() + Send + Sync + 'static>(
    scheduler: impl Scheduler + 'static,
    story: std::sync::Arc<F>,
) {
    let mut config = Config::new();
    config.max_steps = shuttle::MaxSteps::FailAfter(STEPS_MAX);
    config.stack_size = 1 << 18;
    Runner::new(scheduler, config).run(move || story());
}
