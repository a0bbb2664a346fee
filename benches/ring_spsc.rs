//! What a hop over hopline's rings costs beside the physical floor, two bare cache lines that bounce
//! between the same two cores.
//!
//! `cargo bench --bench ring_spsc`, with `-- --quick` for a short look. Two tables:
//! - *ping-pong* (closed loop): a round trip over two rings, halved. The bar: p50 within 1.10 x of the floor for
//!   8 B in a packed ring and 56 B in a lined one. The *walk* is the floor over as many cache lines as a ring
//!   has slots: beyond the first-level cache, walking costs more than the ring does.
//! - *stream* (flat out): nanoseconds an item, one by one and in batches of 32.
//!
//! Only ratios travel between machines. Both cores have to be free: with other work on them the
//! p50 is noisy and the p99 is that work's. `benches/peers` sets the rivals beside it.
//!
//! Invariant: every candidate runs under the loops of `hopline_harness::measure`.

use hopline_harness::measure::{
    self, BlobLink, BulkLink, Candidate, Floor, HopLink, LinedLink, Link, MeasureError, Null,
    PackedLink, Percentiles, Plan, Role, Summary, Walk,
};

/// Slots of the rings in the ping-pong: two such rings of cache lines fit in the first-level cache, or do not.
const DEPTHS: [usize; 2] = [64, 1024];
/// Slots of the rings in the stream.
const DEPTH: usize = 1024;
/// Most that a ring's p50 may be of the floor's.
const BAR: f64 = 1.10;
/// Items of a batch in the stream.
const BATCH: usize = 32;

fn trips<'a, L: Link + 'a>(
    plan: &'a Plan,
    name: String,
    role: Role,
    link: L,
) -> Candidate<'a, Percentiles> {
    let bytes = link.words() as usize * 8;
    Candidate::new(name, bytes, role, move |round| {
        measure::ping_pong(&link, plan, round)
    })
}

fn streams<'a, L: Link + Copy + 'a>(
    plan: &'a Plan,
    name: &str,
    link: L,
) -> [Candidate<'a, f64>; 2] {
    let bytes = link.words() as usize * 8;
    [("one by one", 1), ("batches of 32", BATCH)].map(|(how, batch)| {
        Candidate::new(format!("{name}, {how}"), bytes, Role::Ours, move |round| {
            measure::stream(&link, plan, batch, round)
        })
    })
}

/// Whether that name is one of those that the bar is for.
fn has_bar(name: &str) -> bool {
    name.starts_with("packed, 8 B") || name.starts_with("lined, 56 B")
}

fn run(quick: bool) -> Result<(), MeasureError> {
    let plan = Plan::new()?;
    let (rounds, plan) = if quick { (9, plan.quick()) } else { (15, plan) };

    let mut candidates = vec![
        trips(&plan, "null (cost of measuring)".into(), Role::Null, Null),
        trips(&plan, "floor (two bare lines)".into(), Role::Floor, Floor),
    ];
    for depth in DEPTHS {
        let at = |what: &str| format!("{what}, depth {depth}");
        candidates.extend([
            trips(&plan, at("walk"), Role::Aside, Walk { depth }),
            trips(
                &plan,
                at("packed, 8 B"),
                Role::Ours,
                PackedLink::<1>::of(depth),
            ),
            trips(
                &plan,
                at("lined, 8 B"),
                Role::Ours,
                LinedLink::<1>::of(depth),
            ),
            trips(
                &plan,
                at("packed, 56 B"),
                Role::Ours,
                PackedLink::<7>::of(depth),
            ),
            trips(
                &plan,
                at("lined, 56 B"),
                Role::Ours,
                LinedLink::<7>::of(depth),
            ),
            trips(
                &plan,
                at("hop, envelope"),
                Role::Ours,
                HopLink::of(depth, 96),
            ),
            trips(&plan, at("bulk"), Role::Ours, BulkLink::<7>::of(depth)),
            trips(&plan, at("blob"), Role::Ours, BlobLink::of(depth, 256)),
            trips(&plan, at("blob"), Role::Ours, BlobLink::of(depth, 1024)),
        ]);
    }
    let summary = Summary::of(&measure::interleave(rounds, candidates)?, None);
    println!(
        "ping-pong: round trip / 2 over {rounds} rounds of {} trips, cores {:?}; median (lowest-highest)",
        plan.trips, plan.cores
    );
    print!("{}", summary.table());
    for one in summary.measured.iter().filter(|one| has_bar(&one.name)) {
        let ratio = one.p50_to_floor.unwrap_or_default().median;
        let verdict = if ratio <= BAR { "within" } else { "OVER" };
        println!("{}: {ratio:.2} of the floor, {verdict} {BAR:.2}", one.name);
    }

    let candidates = [
        streams(&plan, "packed", PackedLink::<1>::of(DEPTH)),
        streams(&plan, "lined", LinedLink::<1>::of(DEPTH)),
        streams(&plan, "lined", LinedLink::<7>::of(DEPTH)),
    ]
    .into_iter()
    .chain([
        streams(&plan, "hop, envelope", HopLink::of(DEPTH, 96)),
        streams(&plan, "bulk", BulkLink::<1>::of(DEPTH)),
        streams(&plan, "bulk", BulkLink::<7>::of(DEPTH)),
        streams(&plan, "bulk", BulkLink::<8>::of(DEPTH)),
        streams(&plan, "blob", BlobLink::of(DEPTH, 1024)),
    ])
    .flatten();
    let runs = measure::interleave(rounds, candidates.collect())?;
    println!(
        "\nstream: flat out over {rounds} rounds of {} items; median (lowest-highest)",
        plan.stream_items
    );
    print!("{}", measure::stream_table(&runs));
    Ok(())
}

fn main() {
    // cargo passes `--bench`; whatever else it passes is not for this bench.
    let quick = std::env::args().any(|argument| argument == "--quick");
    if let Err(error) = run(quick) {
        println!("ring_spsc: {error}; nothing measured");
    }
}
