//! hopline's rings beside two bare cache lines.
//!
//! To add a ring is to add a row here, once it is a [`Link`](crate::measure::Link) of the kit.

use super::Trouble;
use crate::measure::typed::{TYPED_BYTES, Typed};
use crate::measure::{
    Answers, ApartLink, BlobLink, Candidate, FanInLink, Floor, HopLink, LinedLink, MeasureError,
    MpscLink, MulticastLink, Null, PackedLink, Percentiles, Plan, Role, Summary, interleave,
    ping_pong,
};

/// Slots of each ring: two of cache lines fit in a first-level cache.
const DEPTH: usize = 64;

/// Every ring and the floor, interleaved over `rounds`.
pub(super) fn measure(plan: &Plan, rounds: usize) -> Result<Summary, Trouble> {
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
    let runs = interleave(rounds, candidates)?;
    Ok(Summary::of(&runs, None))
}

type Measure = fn(&Plan, usize) -> Result<Percentiles, MeasureError>;
