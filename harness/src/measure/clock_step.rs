//! By how much a clock steps: no span is known better.
//!
//! Two stamps in a row are no measure of it: reading takes longer than a step may be, and their least
//! difference is what a read takes. Over work of many lengths differences fall on all multiples of
//! the step, and how far those are apart is the step.
//!
//! Invariant: a clock that is finer than this can tell counts as one that steps by 1 ns.

use std::hint::black_box;

use hopline::clock::Clock;

/// Differences that are looked at: some 50 for each length of work.
const READS: u32 = 16_384;

/// Longest work between two reads, in rounds of a loop of about a nanosecond each.
const WORK_MAX: u32 = 64;

/// Differences from here on, in nanoseconds, say that something else ran in between.
const APART_NS_MAX: usize = 512;

/// How often a difference has to be seen, so that one of chance does not count.
const SEEN_MIN: u32 = 4;

/// Nanoseconds by which differences of as many steps are apart at most: a step is no whole number of
/// them, and both stamps are rounded down.
const ROUNDING_NS: usize = 2;

/// The step of a clock, in nanoseconds, at least 1. Takes some milliseconds.
pub(crate) fn clock_step_ns(clock: &Clock) -> u64 {
    step_of(|work| {
        for round in 0..work {
            black_box(round);
        }
        clock.stamp_after()
    })
}

/// The step of what `stamp` reads after that much work.
fn step_of(mut stamp: impl FnMut(u32) -> u64) -> u64 {
    let mut seen = [0_u32; APART_NS_MAX];
    let mut last_ns = stamp(0);
    for nth in 0..READS {
        let now_ns = stamp(nth % WORK_MAX);
        let apart_ns = usize::try_from(now_ns.saturating_sub(last_ns)).unwrap_or(usize::MAX);
        if let Some(times) = seen.get_mut(apart_ns).filter(|_| apart_ns > 0) {
            *times += 1;
        }
        last_ns = now_ns;
    }
    step_between(&seen)
}

/// Differences of so many steps each, as a mean and the span that they cover.
struct Group {
    first_ns: usize,
    last_ns: usize,
    sum_ns: f64,
    times: f64,
}

impl Group {
    fn mean_ns(&self) -> f64 {
        self.sum_ns / self.times
    }
}

/// The step that makes differences fall as they did, by how often each was seen.
fn step_between(seen: &[u32]) -> u64 {
    let mut groups: Vec<Group> = Vec::new();
    for (apart_ns, times) in seen.iter().enumerate() {
        if *times < SEEN_MIN {
            continue;
        }
        let (sum_ns, times) = (apart_ns as f64 * f64::from(*times), f64::from(*times));
        match groups.last_mut() {
            Some(group) if group.last_ns + 1 == apart_ns => {
                group.last_ns = apart_ns;
                group.sum_ns += sum_ns;
                group.times += times;
            }
            _ => groups.push(Group {
                first_ns: apart_ns,
                last_ns: apart_ns,
                sum_ns,
                times,
            }),
        }
    }
    // Where they lie side by side there are no steps to be seen.
    let blurred = |group: &Group| group.last_ns - group.first_ns > ROUNDING_NS;
    if groups.iter().any(blurred) {
        return 1;
    }
    let apart = groups
        .windows(2)
        .map(|pair| pair[1].mean_ns() - pair[0].mean_ns());
    // The first is a whole number of steps from zero as well.
    let least = groups.first().map(Group::mean_ns);
    let step_ns = apart.chain(least).fold(f64::MAX, f64::min);
    // A clock that did not move at all has no step to spread equal spans over.
    if step_ns == f64::MAX {
        return 1;
    }
    (step_ns.round() as u64).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A counter that moves by `step_ns`, read by a call that takes `read_ns`; and, if `moves_on` is not 0,
    /// somebody else for that long at each 100th read.
    fn counter(step_ns: f64, read_ns: f64, moves_on_ns: f64) -> impl FnMut(u32) -> u64 {
        let (mut now_ns, mut nth) = (0.0, 0_u32);
        move |work| {
            nth += 1;
            // No round takes just as long as another: what a step is must not be met by chance.
            let odd = f64::from(nth.wrapping_mul(2_654_435_761) >> 16) / f64::from(1 << 16);
            now_ns += read_ns + 0.7 * f64::from(work) + odd;
            if nth.is_multiple_of(100) {
                now_ns += moves_on_ns * odd;
            }
            ((now_ns / step_ns).floor() * step_ns) as u64
        }
    }

    #[test]
    fn a_step_is_found_though_a_read_takes_two_of_them() {
        for (step_ns, read_ns, expected) in [
            (10.0, 20.8, 10),
            // A counter of 26 ticks at 2.6 GHz and a little more: rounding moves each stamp.
            (9.999_86, 20.8, 10),
            (10.003, 20.8, 10),
            (41.666_67, 20.8, 42),
            (100.0, 25.0, 100),
            (4.0, 20.8, 4),
            (0.38, 20.8, 1),
            (1.0, 8.0, 1),
        ] {
            for moves_on_ns in [0.0, 300.0, 50_000.0] {
                let found = step_of(counter(step_ns, read_ns, moves_on_ns));
                assert_eq!(found, expected, "{step_ns} {read_ns} {moves_on_ns}");
            }
        }
    }

    #[test]
    fn a_clock_that_stands_or_only_counts_its_reads_has_a_step_too() {
        assert_eq!(step_of(|_| 7), 1);
        let mut ns = 0;
        let ticks = |_| {
            ns += 25;
            ns
        };
        assert_eq!(step_of(ticks), 25);
        let clock = Clock::calibrated();
        assert!((1..=1_000_000).contains(&clock_step_ns(&clock)));
    }
}
