//! How often a loop that does nothing but spin is stopped: by the host, by interrupts, by others.

use hopline::clock::Clock;
use hopline::host::{Pin, PinError, pin};

use super::report::Gaps;

/// Most cores that are watched, one after the other: beyond that it takes too long.
pub(super) const CORES_MAX: usize = 16;

/// A gap is a time between two reads of the clock that is longer than this. Reads take tens of
/// nanoseconds.
const GAP_NS: u64 = 1_000;

/// Which cores are watched at once: those of `pair`, as a line of two loops keeps them, since what else
/// runs on the machine then has to take its time from one of them. The others follow one by one.
pub(crate) fn groups(cores: &[usize], pair: Option<[usize; 2]>) -> Vec<Vec<usize>> {
    let pair = pair.unwrap_or_default();
    let is_apart = |core: &&usize| pair[0] == pair[1] || !pair.contains(core);
    let mut groups: Vec<Vec<usize>> = cores
        .iter()
        .take(CORES_MAX)
        .filter(is_apart)
        .map(|core| vec![*core])
        .collect();
    if pair[0] != pair[1] {
        groups.push(pair.to_vec());
    }
    groups
}

/// Watches each core for that long, on a thread of its own, so that the caller is not pinned.
pub(crate) fn measure(
    clock: &Clock,
    groups: Vec<Vec<usize>>,
    each_ns: u64,
) -> Result<Vec<Gaps>, PinError> {
    let mut found = Vec::new();
    for group in groups {
        found.extend(watch(clock, &group, each_ns)?);
    }
    found.sort_by_key(|gaps| gaps.core);
    Ok(found)
}

/// Watches cores, all at once.
fn watch(clock: &Clock, cores: &[usize], each_ns: u64) -> Result<Vec<Gaps>, PinError> {
    std::thread::scope(|scope| {
        let spinning = |&core: &usize| {
            scope.spawn(move || {
                pin(core, Pin::Require)?;
                Ok(spin(clock, core, each_ns))
            })
        };
        let watchers: Vec<_> = cores.iter().map(spinning).collect();
        watchers
            .into_iter()
            .map(|watcher| {
                watcher
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect()
    })
}

fn spin(clock: &Clock, core: usize, each_ns: u64) -> Gaps {
    let begin_ns = clock.stamp();
    let (mut last_ns, mut lost_ns) = (begin_ns, 0);
    let (mut over, mut worst_ns) = ([0_u32; 3], 0);
    while last_ns - begin_ns < each_ns {
        let now_ns = clock.stamp().max(last_ns);
        let gap_ns = now_ns - last_ns;
        if gap_ns > GAP_NS {
            lost_ns += gap_ns;
            worst_ns = gap_ns.max(worst_ns);
            for (count, times) in over.iter_mut().zip([1, 10, 100]) {
                *count += u32::from(gap_ns > GAP_NS * times);
            }
        }
        last_ns = now_ns;
    }
    let watched_ns = (last_ns - begin_ns).max(1);
    let per_s = |count: u32| f64::from(count) * 1e9 / watched_ns as f64;
    Gaps {
        core,
        watched_ns,
        over_1us_per_s: per_s(over[0]),
        over_10us_per_s: per_s(over[1]),
        over_100us_per_s: per_s(over[2]),
        worst_ns,
        lost_percent: lost_ns as f64 * 100.0 / watched_ns as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_counted_by_their_length() {
        // Each stamp of this clock is a tick after the last, and a tick is a gap.
        let (clock, time) = Clock::virtual_at(1_000_000_000);
        for (tick_ns, expected) in [
            (900, (0.0, 0.0, 0.0, 0, 0.0)),
            (20_000, (50_000.0, 50_000.0, 0.0, 20_000, 100.0)),
            (200_000, (5_000.0, 5_000.0, 5_000.0, 200_000, 100.0)),
        ] {
            time.set_tick_ns(tick_ns);
            let gaps = spin(&clock, 3, 10_000_000);
            let found = (
                gaps.over_1us_per_s.round(),
                gaps.over_10us_per_s.round(),
                gaps.over_100us_per_s.round(),
                gaps.worst_ns,
                gaps.lost_percent.round(),
            );
            assert_eq!(found, expected, "{tick_ns}");
            assert_eq!(gaps.core, 3);
        }
    }
}
