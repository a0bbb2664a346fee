//! What it costs to sleep and to be woken, by hopline's way and by the bare system call.
//!
//! Invariant: a wake is only sent to a sleeper that has said that it sleeps, and has had the time to.

use std::sync::Arc;
use std::thread::Thread;
use std::time::Duration;

use hopline::base::primitive::{AtomicU64, Ordering, spin_hint};
use hopline::clock::Clock;
use hopline::host::{Pin, pin};
use hopline::io::{Driver, Waker};
use hopline::wait::{Alarm, announce};

use super::Trouble;
use super::clock::cost;
use super::report::{Timer, WakeReport};
use super::share::Share;
use crate::measure::{Plan, Spans};

/// From the announcement until the sleeper is taken to be asleep: a sleep takes some microseconds
/// to begin, and a processor that is left to itself some more to slow down.
const ASLEEP_NS: u64 = 200_000;

/// Longest sleep of the sleeper, after which it looks up and sleeps on.
const SLEEP_NS: u64 = 50_000_000;

/// Sleeps after which nobody will come any more.
const SLEEPS_MAX: u32 = 20;

/// Fewest wakes, and fewest ends of a park, of which percentiles are taken.
const TIMES_MIN: u64 = 20;

/// The parks whose ends are measured: below a millisecond, and above.
const TIMERS_NS: [u64; 3] = [50_000, 250_000, 2_000_000];

/// The word between waker and sleeper: how often the sleeper said that it sleeps, times two, and one
/// more once the waker has answered; and when it answered.
#[derive(Debug, Default)]
struct Between {
    turn: AtomicU64,
    woke_at_ns: AtomicU64,
}

/// A way to sleep and to be woken.
trait Way: Send {
    /// Sleeps until woken, or for a while, if that is `wanted` at the last moment.
    fn sleep(&mut self, wanted: impl Fn() -> bool) -> Result<(), Trouble>;
}

/// hopline's: the announced sleep in the driver's poll.
struct Parked {
    driver: Driver,
    sleeper: hopline::wait::Sleeper,
}

impl Way for Parked {
    fn sleep(&mut self, wanted: impl Fn() -> bool) -> Result<(), Trouble> {
        self.sleeper.announce();
        if wanted() {
            self.driver.poll(0, Some(SLEEP_NS))?;
        }
        self.sleeper.retract();
        Ok(())
    }
}

/// The operating system's: a futex, as the standard library has it.
struct Bare;

#[allow(
    clippy::disallowed_methods,
    reason = "the bare call is what the line's way is compared with"
)]
impl Way for Bare {
    fn sleep(&mut self, _wanted: impl Fn() -> bool) -> Result<(), Trouble> {
        // A wake that came before is remembered.
        std::thread::park_timeout(Duration::from_nanos(SLEEP_NS));
        Ok(())
    }
}

/// Sleeping and waking between the plan's cores, `times` of each or as many as fit: how many those were.
pub(super) fn between_cores(
    plan: &Plan,
    times: u64,
    share: &Share<'_>,
    to: &mut WakeReport,
) -> Result<u64, Trouble> {
    let driver = Driver::real()?;
    let (sleeper, alarm) = announce::pair();
    let waker = driver.waker();
    let pair = Pair {
        cores: plan.cores,
        clock: &plan.clock,
        clock_step_ns: plan.clock_step_ns,
    };
    let all = |spans: &Spans| Some(spans.percentiles(1.0));
    let until_ns = share.part(2).until_ns;
    let way = Parked { driver, sleeper };
    let (park, cost) = wakes(pair, (times, until_ns), way, |_| ring(&alarm, &waker))?;
    (to.park, to.waker) = (all(&park), all(&cost));
    let done = park.count();
    let until_ns = share.part(1).until_ns;
    let (park, cost) = wakes(pair, (times, until_ns), Bare, Thread::unpark)?;
    (to.bare_park, to.bare_waker) = (all(&park), all(&cost));
    Ok(done.min(park.count()))
}

/// Where somebody is woken, and by what clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair<'a> {
    /// The cores of the waker and the sleeper.
    pub(crate) cores: [usize; 2],
    pub(crate) clock: &'a Clock,
    pub(crate) clock_step_ns: u64,
}

/// From the wake until a thread runs that slept in a futex, and what the wake took.
pub(crate) fn bare(pair: Pair<'_>, times: u64) -> Result<(Spans, Spans), Trouble> {
    wakes(pair, (times, u64::MAX), Bare, Thread::unpark)
}

fn ring(alarm: &Alarm, waker: &Waker) {
    if alarm.should_wake() {
        // A waker that fails leaves the sleeper to its own timeout.
        let _ = waker.wake();
    }
}

/// From the wake until the sleeper runs, and what the wake took: so many times, or fewer from that
/// time on.
fn wakes(
    pair: Pair<'_>,
    (times, until_ns): (u64, u64),
    mut way: impl Way,
    wake: impl Fn(&Thread) + Send,
) -> Result<(Spans, Spans), Trouble> {
    let between = Arc::new(Between::default());
    let clock = pair.clock;
    let theirs = between.clone();
    std::thread::scope(|scope| {
        let sleeper = scope.spawn(move || {
            let pinned = pin(pair.cores[1], Pin::Require);
            let mut late = Spans::new(pair.clock_step_ns);
            let mut slept = || {
                pinned
                    .as_ref()
                    .map_err(|error| Trouble::from(error.clone()))?;
                for nth in 1..=times {
                    if nth > TIMES_MIN && clock.stamp() >= until_ns {
                        break;
                    }
                    // Release pairs with Acquire in the waker: it sees the turn that it answers.
                    theirs.turn.store(2 * nth, Ordering::Release);
                    // Acquire pairs with Release in the waker: the time of the wake is there.
                    let asleep = || theirs.turn.load(Ordering::Acquire) == 2 * nth;
                    let mut sleeps = 0;
                    while asleep() {
                        way.sleep(asleep)?;
                        sleeps += 1;
                        if sleeps > SLEEPS_MAX {
                            return Err(Trouble::Unwoken);
                        }
                    }
                    let now_ns = clock.stamp_after();
                    late.record(now_ns.saturating_sub(theirs.woke_at_ns.load(Ordering::Relaxed)));
                }
                Ok::<(), Trouble>(())
            };
            let result = slept();
            // Over, well or not: the waker waits for nobody.
            theirs.turn.store(u64::MAX, Ordering::Release);
            result.map(|()| late)
        });
        let thread = sleeper.thread().clone();
        let waker = scope.spawn(move || {
            pin(pair.cores[0], Pin::Require)?;
            let mut took = Spans::new(pair.clock_step_ns);
            let mut nth = 1;
            loop {
                let turn = between.turn.load(Ordering::Acquire);
                if turn == u64::MAX {
                    return Ok::<Spans, Trouble>(took);
                }
                if turn != 2 * nth {
                    spin_hint();
                    continue;
                }
                let asleep_ns = clock.stamp() + ASLEEP_NS;
                while clock.stamp() < asleep_ns {
                    spin_hint();
                }
                let begin_ns = clock.stamp();
                between.woke_at_ns.store(begin_ns, Ordering::Relaxed);
                // Only now, so that no sleep that ended by itself counts as woken.
                let answered = between.turn.compare_exchange(
                    turn,
                    turn + 1,
                    Ordering::Release,
                    Ordering::Relaxed,
                );
                if answered.is_ok() {
                    wake(&thread);
                    took.record(clock.stamp_after().saturating_sub(begin_ns));
                }
                nth += 1;
            }
        });
        let join = |side: std::thread::Result<Result<Spans, Trouble>>| {
            side.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        let (took, late) = (join(waker.join()), join(sleeper.join()));
        Ok((late?, took?))
    })
}

/// What needs no second core: how late sleeps end by themselves, and what an awake consumer costs.
/// How often each park was measured at least.
pub(super) fn on_one_core(
    clock: &Clock,
    step_ns: u64,
    times: u64,
    share: &Share<'_>,
    to: &mut WakeReport,
) -> Result<u64, Trouble> {
    let mut driver = Driver::real()?;
    let (_awake, alarm) = announce::pair();
    let waker = driver.waker();
    to.awake_ns = cost(clock, || ring(&alarm, &waker));
    let mut done = times;
    for (nth, asked_ns) in TIMERS_NS.into_iter().enumerate() {
        let until_ns = share.part((TIMERS_NS.len() - nth) as u64).until_ns;
        let mut late = Spans::new(step_ns);
        let mut bare_late = Spans::new(step_ns);
        for nth in 0..times {
            if nth >= TIMES_MIN && clock.stamp() >= until_ns {
                break;
            }
            late.record(beyond(clock, asked_ns, || {
                driver.poll(0, Some(asked_ns)).map(drop)
            })?);
            bare_late.record(beyond(clock, asked_ns, || {
                bare_sleep(asked_ns);
                Ok(())
            })?);
        }
        to.timers.push(Timer {
            asked_ns,
            late: late.percentiles(1.0),
            bare_late: bare_late.percentiles(1.0),
        });
        done = done.min(late.count());
    }
    Ok(done)
}

#[allow(
    clippy::disallowed_methods,
    reason = "the bare call is what the driver's timer is compared with"
)]
fn bare_sleep(span_ns: u64) {
    std::thread::sleep(Duration::from_nanos(span_ns));
}

/// By how much `sleep` was longer than asked for.
fn beyond(
    clock: &Clock,
    asked_ns: u64,
    sleep: impl FnOnce() -> Result<(), hopline::io::IoError>,
) -> Result<u64, Trouble> {
    let begin_ns = clock.stamp();
    sleep()?;
    let took_ns = clock.stamp_after().saturating_sub(begin_ns);
    Ok(took_ns.saturating_sub(asked_ns))
}
