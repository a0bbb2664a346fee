//! hopline's rings beside two bare cache lines.
//!
//! To add a ring is to add a row here, once it is a [`Link`](crate::measure::Link) of the kit.

use hopline::clock::Clock;

use super::Trouble;
use super::share::{ROUNDS_MIN, Share};
use crate::measure::typed::{TYPED_BYTES, Typed};
use crate::measure::{
    Answers, ApartLink, BlobLink, Candidate, FanInLink, Floor, HopLink, LinedLink, MeasureError,
    MpscLink, MulticastLink, Null, PackedLink, Percentiles, Plan, Role, Summary, interleave_while,
    ping_pong,
};

/// Slots of each ring: two of cache lines fit in a first-level cache.
const DEPTH: usize = 64;

/// Candidates below, and how much longer the longest of them takes than the floor, as a whole
/// number: both only say how long a round may be.
const CANDIDATES: u64 = 13;
const LONGEST: u64 = 5;

/// Share of a round's trips that find out how long it would take.
const PROBE: u64 = 20;

/// Fewest trips of a round: of fewer a p99 would be one of ten.
const TRIPS_MIN: u64 = 1_000;

/// Every ring and the floor, interleaved over `rounds`, or as many as fit; and how many those were.
pub(super) fn measure(
    plan: &Plan,
    rounds: usize,
    share: &Share<'_>,
) -> Result<(Summary, usize), Trouble> {
    let plan = &within(plan, share)?;
    let ours = |name: &str, bytes, measure: Measure| {
        Candidate::new(name, bytes, Role::Ours, move |round| measure(plan, round))
    };
    let candidates = vec![
        Candidate::new("cost of measuring", 0, Role::Null, |round| {
            ping_pong(&Null, plan, round)
        }),
        Candidate::new("two bare cache lines", 0, Role::Floor, |round| {
            ping_pong(&Floor, plan, round)
        }),
        ours("packed", 8, |plan, round| {
            ping_pong(&PackedLink::<1>::of(DEPTH), plan, round)
        }),
        ours("lined", 56, |plan, round| {
            ping_pong(&LinedLink::<7>::of(DEPTH), plan, round)
        }),
        ours("hop", 96, |plan, round| {
            ping_pong(&HopLink::of(DEPTH, 96), plan, round)
        }),
        ours("typed hop", TYPED_BYTES, |plan, round| {
            let link = Typed {
                depth: DEPTH,
                clock: plan.clock.clone(),
            };
            ping_pong(&link, plan, round)
        }),
        ours("mpsc, one producer", 56, |plan, round| {
            ping_pong(&MpscLink::<7>::of(DEPTH), plan, round)
        }),
        ours("fan-in of four", 56, |plan, round| {
            ping_pong(&FanInLink::<4, 7>::of(DEPTH), plan, round)
        }),
        ours("multicast, to each", 56, |plan, round| {
            let link = MulticastLink::<7>::of(DEPTH, Answers::First);
            ping_pong(&link, plan, round)
        }),
        ours("multicast, to both", 56, |plan, round| {
            let link = MulticastLink::<7>::of(DEPTH, Answers::Last);
            ping_pong(&link, plan, round)
        }),
        ours("apart", 256, |plan, round| {
            ping_pong(&ApartLink::<32>::of(DEPTH), plan, round)
        }),
        ours("blob", 256, |plan, round| {
            ping_pong(&BlobLink::of(DEPTH, 256), plan, round)
        }),
        ours("blob", 1024, |plan, round| {
            ping_pong(&BlobLink::of(DEPTH, 1024), plan, round)
        }),
    ];
    debug_assert_eq!(candidates.len() as u64, CANDIDATES);
    let runs = interleave_while(rounds, candidates, |done| share.has_room(done))?;
    let done = runs[0].rounds.len();
    Ok((Summary::of(&runs, None), done))
}

/// The plan with as many trips a round as leave time for the fewest rounds.
fn within(plan: &Plan, share: &Share<'_>) -> Result<Plan, Trouble> {
    let clock = Clock::os();
    let probe = Plan {
        warm_up: plan.warm_up / PROBE,
        trips: (plan.trips / PROBE).max(1),
        ..plan.clone()
    };
    let begin_ns = clock.stamp();
    ping_pong(&Floor, &probe, 0)?;
    let took_ns = clock.stamp().saturating_sub(begin_ns);
    let each_ns = took_ns / (probe.warm_up + probe.trips);
    let rounds_ns = share.left_ns() / (ROUNDS_MIN as u64 * CANDIDATES * LONGEST);
    Ok(fitted(plan, rounds_ns / each_ns.max(1)))
}

/// The plan with at most that many trips of a round, those of warming up among them.
fn fitted(plan: &Plan, trips_max: u64) -> Plan {
    let all = plan.warm_up + plan.trips;
    if all <= trips_max {
        return plan.clone();
    }
    let trips = (plan.trips * trips_max / all).max(TRIPS_MIN.min(plan.trips));
    Plan {
        trips,
        warm_up: plan.warm_up * trips / plan.trips,
        ..plan.clone()
    }
}

type Measure = fn(&Plan, usize) -> Result<Percentiles, MeasureError>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_has_as_many_trips_as_there_is_time_for() {
        let Ok(plan) = Plan::new() else { return };
        let of = |trips_max| {
            let fitted = fitted(&plan, trips_max);
            (fitted.warm_up, fitted.trips)
        };
        assert_eq!(of(u64::MAX), (2_000, 20_000));
        assert_eq!(of(11_000), (1_000, 10_000));
        assert_eq!(of(0), (100, TRIPS_MIN));
    }
}
