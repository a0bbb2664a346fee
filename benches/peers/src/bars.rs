//! The bars: what hopline has to reach beside the floor and beside each rival, from the rounds of one run.
//!
//! Invariant: every bar that has its figures is stated with them, met or missed.

use hopline_harness::measure::{Percentiles, Role, Runs, Spread, ratios, signs};
use serde::Serialize;

/// The rivals that keep their positions in shared indices, apart from the payload.
const INDEX_RINGS: [&str; 5] = ["nexus-queue", "gil", "ringbuf", "rtrb", "disruptor"];

/// The rival that is nearest in its making: a stamp in each slot.
pub const NEAREST: &str = "omango";

/// One bar and how it came out.
#[derive(Clone, Debug, Serialize)]
pub struct Bar {
    /// What was asked.
    pub bar: String,
    /// What was found.
    pub found: String,
    /// Whether that is within it.
    pub met: bool,
}

/// The median of the ratios within rounds of `of` over `to`.
fn ratio<S>(of: &Runs<S>, to: &Runs<S>, figure: impl Fn(&S) -> f64 + Copy) -> f64 {
    Spread::of(&ratios(&of.series(figure), &to.series(figure))).median
}

fn peers<S>(runs: &[Runs<S>], bytes: usize) -> impl Iterator<Item = &Runs<S>> {
    let same = move |run: &&Runs<S>| run.role == Role::Peer && run.payload_bytes == bytes;
    runs.iter().filter(same)
}

/// The layout that is judged for each payload: what `hopline::ring` says to take for it. It is fixed
/// before anything is measured; the quickest of several, picked afterwards, would flatter.
const JUDGED: [(usize, &str); 8] = [
    (8, "hopline packed"),
    (56, "hopline lined"),
    (64, "hopline lined"),
    (96, "hopline hop"),
    (120, "hopline lined"),
    (256, "hopline apart"),
    (256, "hopline blob"),
    (1024, "hopline blob"),
];

/// The same for the stream: payload, whether in batches, layout.
const JUDGED_IN_STREAMS: [(usize, bool, &str); 4] = [
    (8, false, "hopline bulk"),
    (56, false, "hopline lined"),
    (8, true, "hopline bulk"),
    (64, true, "hopline bulk"),
];

/// hopline's candidates that are judged for a payload: inline, and by descriptor where both are of use.
fn all_ours<S>(runs: &[Runs<S>], bytes: usize) -> impl Iterator<Item = &Runs<S>> {
    let judged = JUDGED.iter().filter(move |(judged, _)| *judged == bytes);
    judged.filter_map(move |(_, name)| named(runs, bytes, name))
}

/// hopline's candidate that is judged first for a payload.
fn ours<S>(runs: &[Runs<S>], bytes: usize) -> Option<&Runs<S>> {
    all_ours(runs, bytes).next()
}

fn named<'a, S>(runs: &'a [Runs<S>], bytes: usize, name: &str) -> Option<&'a Runs<S>> {
    runs.iter()
        .find(|run| run.name == name && run.payload_bytes == bytes)
}

/// The highest ratio of `ours` over any of the peers, that is, over the best one; and its name.
fn over_best<'a, S: 'a>(
    ours: &Runs<S>,
    peers: impl Iterator<Item = &'a Runs<S>>,
    figure: impl Fn(&S) -> f64 + Copy,
) -> Option<(f64, String)> {
    peers
        .map(|peer| (ratio(ours, peer, figure), peer.name.clone()))
        .max_by(|a, b| a.0.total_cmp(&b.0))
}

fn p50(percentiles: &Percentiles) -> f64 {
    percentiles.p50
}

fn at_most(bar: String, name: &str, found: f64, most: f64, to: &str) -> Bar {
    Bar {
        bar,
        found: format!("{name}: {found:.2} of {to}"),
        met: found <= most,
    }
}

/// The bars of the closed loop.
#[must_use]
pub fn latency(runs: &[Runs<Percentiles>]) -> Vec<Bar> {
    let mut bars = Vec::new();
    let floor = runs.iter().find(|run| run.role == Role::Floor);
    for bytes in [8, 56] {
        let Some(ours) = ours(runs, bytes) else {
            continue;
        };
        if let Some(floor) = floor {
            let p50s = ratio(ours, floor, p50);
            let bar = format!("{bytes} B p50 <= 1.10 of the floor");
            bars.push(at_most(bar, &ours.name, p50s, 1.10, "the floor"));
            let p99s = ratio(ours, floor, |one: &Percentiles| one.p99);
            let bar = format!("{bytes} B p99 <= 1.30 of the floor's");
            bars.push(at_most(bar, &ours.name, p99s, 1.30, "the floor's p99"));
        }
        let index = peers(runs, bytes).filter(|peer| INDEX_RINGS.contains(&peer.name.as_str()));
        if let Some((worst, name)) = over_best(ours, index, p50) {
            let bar = format!("{bytes} B p50 at least 15 % below every index ring");
            bars.push(at_most(bar, &ours.name, worst, 0.85, &name));
        }
        let nearest = peers(runs, bytes).find(|peer| peer.name == NEAREST);
        if let Some(nearest) = nearest {
            let (below, rounds) = signs(&ours.series(p50), &nearest.series(p50));
            bars.push(Bar {
                bar: format!("{bytes} B p50 below {NEAREST} in 8 of 9 rounds"),
                found: format!("{}: {below} of {rounds}", ours.name),
                met: below * 9 >= rounds * 8,
            });
        }
    }
    for bytes in [64, 96, 120, 256, 1024] {
        for ours in all_ours(runs, bytes) {
            if let Some((found, name)) = over_best(ours, peers(runs, bytes), p50) {
                let bar = format!("{bytes} B p50 <= 1.10 of the best peer");
                bars.push(at_most(bar, &ours.name, found, 1.10, &name));
            }
        }
    }
    bars
}

/// The bar of the typed hop, whose peers carry `bytes` bare.
#[must_use]
pub fn typed(runs: &[Runs<Percentiles>], bytes: usize) -> Vec<Bar> {
    let Some(ours) = runs.iter().find(|run| run.name == super::TYPED) else {
        return Vec::new();
    };
    let best = over_best(ours, peers(runs, bytes), p50);
    let bar = |(found, name): (f64, String)| {
        let bar = format!("typed hop of {bytes} B p50 <= 1.30 of the best bare peer");
        at_most(bar, &ours.name, found, 1.30, &name)
    };
    best.map(bar).into_iter().collect()
}

/// The bar of the open loop.
#[must_use]
pub fn open(runs: &[Runs<Percentiles>], bytes: usize) -> Vec<Bar> {
    let Some(ours) = ours(runs, bytes) else {
        return Vec::new();
    };
    let best = over_best(ours, peers(runs, bytes), p50);
    let bar = |(found, name): (f64, String)| Bar {
        bar: format!("open loop of {bytes} B at 1 MHz, p50 below every peer"),
        found: format!("{}: {found:.3} of {name}", ours.name),
        met: found < 1.0,
    };
    best.map(bar).into_iter().collect()
}

/// The bars of the stream, one by one or in batches of `batch`.
#[must_use]
pub fn throughput(runs: &[Runs<f64>], batch: usize) -> Vec<Bar> {
    let limits: &[(usize, f64)] = if batch == 1 {
        &[(8, 1.0), (56, 1.2)]
    } else {
        &[(8, 1.15), (64, 1.15)]
    };
    let mut bars = Vec::new();
    for &(bytes, most) in limits {
        let judged = JUDGED_IN_STREAMS
            .iter()
            .find(|(of, batched, _)| *of == bytes && *batched == (batch > 1))
            .and_then(|(_, _, name)| named(runs, bytes, name));
        let Some(ours) = judged else {
            continue;
        };
        if let Some((found, name)) = over_best(ours, peers(runs, bytes), |&ns| ns) {
            let how = if batch == 1 {
                "one by one".to_owned()
            } else {
                format!("batches of {batch}")
            };
            let bar = format!("{bytes} B {how}, ns an item <= {most:.2} of the best peer");
            bars.push(at_most(bar, &ours.name, found, most, &name));
        }
    }
    bars
}
