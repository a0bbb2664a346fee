//! How long a hop takes, beside the physical floor: two bare cache lines between the same two cores.
//!
//! ```text
//! cargo bench --bench ring_spsc [-- --quick]
//! ```
//!
//! - *ping-pong* (closed loop): a round trip over two rings, halved. All candidates, the floor and the
//!   cost of measuring (null) run in each round, in rotating order; the ratio is taken to the floor of
//!   the same round, for the floor itself drifts from round to round. The bar: p50 within 1.10 x of it for
//!   8 B in a packed ring and 56 B in a lined one. The *walk* is the floor over as many lines as a ring
//!   has slots: beyond the first-level cache, walking costs more than the ring does.
//! - *stream* (flat out): nanoseconds an item, one by one and in batches of 32.
//!
//! Only ratios travel between machines. Both cores have to be free: with other work on them the
//! p50 is noisy and the p99 is that work's.

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;

use core_affinity::CoreId;
use crossbeam_utils::CachePadded;
use hopline::base::primitive::{AtomicU64, Ordering, spin_hint};
use hopline::clock::Clock;
use hopline::ring::{PushError, hop, spsc};

/// Slots of the rings in the ping-pong: two such rings of cache lines fit in the first-level cache, or do not.
const DEPTHS: [usize; 2] = [64, 1024];
/// Slots of the rings in the stream.
const DEPTH: usize = 1024;
/// Round trips before the measured ones.
const WARM_UP: usize = 2_000;
/// Most that a ring's p50 may be of the floor's.
const BAR: f64 = 1.10;
/// Items of a batch in the stream.
const BATCH: usize = 32;

struct Plan {
    rounds: usize,
    trips: usize,
    items: usize,
    cores: [CoreId; 2],
    clock: Clock,
}

/// Nanoseconds of each round trip: `trip` runs here, `echo` answers on the other core.
fn ping_pong(plan: &Plan, mut trip: impl FnMut(u64), mut echo: impl FnMut() + Send) -> Vec<u64> {
    let trips = WARM_UP + plan.trips;
    let start = Barrier::new(2);
    thread::scope(|scope| {
        scope.spawn(|| {
            core_affinity::set_for_current(plan.cores[1]);
            start.wait();
            for _ in 0..trips {
                echo();
            }
        });
        let mut spans_ns = Vec::with_capacity(trips);
        start.wait();
        for number in 0..trips as u64 {
            let begin_ns = plan.clock.stamp();
            trip(number);
            spans_ns.push(plan.clock.stamp_after() - begin_ns);
        }
        spans_ns.split_off(WARM_UP)
    })
}

/// Looks until there is something, as a spinning loop does.
#[inline(always)]
fn wait<T>(mut look: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(found) = look() {
            return found;
        }
        spin_hint();
    }
}

/// What measuring costs: no trip at all.
fn null(plan: &Plan, _round: usize, _depth: usize) -> Vec<u64> {
    ping_pong(plan, |number| _ = black_box(number), || {})
}

/// Two bare cache lines, another pair each round, for where they lie matters.
fn floor(plan: &Plan, round: usize, _depth: usize) -> Vec<u64> {
    let lines: Vec<[CachePadded<AtomicU64>; 2]> = (0..64).map(|_| Default::default()).collect();
    let [there, back] = &lines[round % lines.len()];
    let mut answered = 0;
    ping_pong(
        plan,
        |number| {
            there.store(number + 1, Ordering::Release);
            while back.load(Ordering::Acquire) != number + 1 {
                spin_hint();
            }
        },
        || {
            answered += 1;
            while there.load(Ordering::Acquire) != answered {
                spin_hint();
            }
            back.store(answered, Ordering::Release);
        },
    )
}

/// Bare lines again, but `depth` of them each way, one after the other, as a ring uses its slots:
/// what the walk through memory costs without any ring.
fn walk(plan: &Plan, _round: usize, depth: usize) -> Vec<u64> {
    let lines =
        || -> Vec<CachePadded<AtomicU64>> { (0..depth).map(|_| Default::default()).collect() };
    let (there, back) = (lines(), lines());
    let at = |number: u64| (number as usize) & (depth - 1);
    let mut answered = 0;
    ping_pong(
        plan,
        |number| {
            there[at(number)].store(number + 1, Ordering::Release);
            while back[at(number)].load(Ordering::Acquire) != number + 1 {
                spin_hint();
            }
        },
        || {
            let line = at(answered);
            answered += 1;
            while there[line].load(Ordering::Acquire) != answered {
                spin_hint();
            }
            back[line].store(answered, Ordering::Release);
        },
    )
}

/// Two rings of values, by the given constructor.
macro_rules! over_values {
    ($name:ident, $ring:path, $value:ty, $make:expr, $number:expr) => {
        fn $name(plan: &Plan, _round: usize, depth: usize) -> Vec<u64> {
            let (mut there, mut arrived) = $ring(depth).expect("a depth within the limits");
            let (mut back, mut returned) = $ring(depth).expect("a depth within the limits");
            let make: fn(u64) -> $value = $make;
            let number_of: fn(&$value) -> u64 = $number;
            ping_pong(
                plan,
                |number| {
                    assert!(there.push(make(number)).is_ok());
                    let value = wait(|| returned.pop());
                    assert_eq!(number_of(&value), number);
                },
                || {
                    let value = wait(|| arrived.pop());
                    assert!(back.push(value).is_ok());
                },
            )
        }
    };
}

type Seven = [u64; 7];
over_values!(packed_8, spsc::ring, u64, |n| n, |&n| n);
over_values!(lined_8, spsc::ring_lined, u64, |n| n, |&n| n);
over_values!(packed_56, spsc::ring, Seven, |n| [n; 7], |n| n[6]);
over_values!(lined_56, spsc::ring_lined, Seven, |n| [n; 7], |n| n[6]);

/// Writes all of a frame of 96 B.
#[inline(always)]
fn write_frame(producer: &mut hop::FrameProducer, number: u64) -> bool {
    let Ok(mut claim) = producer.claim() else {
        return false;
    };
    claim.envelope_mut().t_offer_ns = number;
    claim.envelope_mut().len = 96;
    for word in claim.payload_mut().chunks_exact_mut(8) {
        word.copy_from_slice(&number.to_le_bytes());
    }
    claim.commit();
    true
}

/// Reads every byte of a frame of 96 B.
#[inline(always)]
fn read_frame(consumer: &mut hop::FrameConsumer) -> Option<u64> {
    let frame = consumer.peek()?;
    let number = frame
        .payload()
        .chunks_exact(8)
        .map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes")))
        .fold(0, |a, b| a | b);
    consumer.advance();
    Some(number)
}

fn hop_96(plan: &Plan, _round: usize, depth: usize) -> Vec<u64> {
    let (mut there, mut arrived) = hop::frames(depth).expect("a depth within the limits");
    let (mut back, mut returned) = hop::frames(depth).expect("a depth within the limits");
    ping_pong(
        plan,
        |number| {
            assert!(write_frame(&mut there, number));
            let answer = wait(|| read_frame(&mut returned));
            assert_eq!(answer, number);
        },
        || {
            let number = wait(|| read_frame(&mut arrived));
            assert!(write_frame(&mut back, number));
        },
    )
}

/// Nanoseconds to move `plan.items` items: `send` puts a number or says that there is no room.
fn stream(
    plan: &Plan,
    mut send: impl FnMut(u64) -> u64,
    mut take: impl FnMut() -> u64 + Send,
) -> u64 {
    let items = plan.items as u64;
    let start = Barrier::new(2);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            core_affinity::set_for_current(plan.cores[1]);
            start.wait();
            let mut taken = 0;
            while taken < items {
                taken += take();
            }
            plan.clock.stamp_after()
        });
        start.wait();
        let begin_ns = plan.clock.stamp();
        let mut sent = 0;
        while sent < items {
            sent += send(sent);
        }
        reader.join().expect("the reader ends") - begin_ns
    })
}

macro_rules! stream_values {
    ($unit:ident, $batch:ident, $ring:path, $make:expr) => {
        fn $unit(plan: &Plan) -> u64 {
            let (mut tx, mut rx) = $ring(DEPTH).expect("a depth within the limits");
            stream(
                plan,
                |number| u64::from(tx.push($make(number)).is_ok()),
                || rx.drain(BATCH, |value| _ = black_box(value)) as u64,
            )
        }
        fn $batch(plan: &Plan) -> u64 {
            let (mut tx, mut rx) = $ring(DEPTH).expect("a depth within the limits");
            stream(
                plan,
                |number| {
                    let values = (0..BATCH).map(|at| $make(number + at as u64));
                    match tx.push_batch(values) {
                        Ok(count) => count as u64,
                        Err(PushError::Full(_) | PushError::Closed(..)) => 0,
                    }
                },
                || rx.drain(BATCH, |value| _ = black_box(value)) as u64,
            )
        }
    };
}

stream_values!(stream_packed_8, batch_packed_8, spsc::ring, |n: u64| n);
stream_values!(stream_lined_8, batch_lined_8, spsc::ring_lined, |n: u64| n);
stream_values!(
    stream_lined_56,
    batch_lined_56,
    spsc::ring_lined,
    |n: u64| [n; 7]
);

fn stream_hop(plan: &Plan) -> u64 {
    let (mut tx, mut rx) = hop::frames(DEPTH).expect("a depth within the limits");
    stream(
        plan,
        |number| u64::from(write_frame(&mut tx, number)),
        || u64::from(read_frame(&mut rx).map(black_box).is_some()),
    )
}

fn batch_hop(plan: &Plan) -> u64 {
    let (mut tx, mut rx) = hop::frames(DEPTH).expect("a depth within the limits");
    stream(
        plan,
        |number| {
            let Ok(mut batch) = tx.claim_batch(BATCH) else {
                return 0;
            };
            for at in 0..BATCH {
                let (envelope, payload) = batch.frame_mut(at);
                envelope.t_offer_ns = number + at as u64;
                envelope.len = 96;
                payload.fill(at as u8);
            }
            batch.commit(BATCH);
            BATCH as u64
        },
        || u64::from(read_frame(&mut rx).map(black_box).is_some()),
    )
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

/// The quantile of sorted spans, interpolated within equal ones: the counter may step by tens of nanoseconds.
fn quantile(spans_ns: &[u64], quantile: f64) -> f64 {
    let target = quantile * spans_ns.len() as f64;
    let value = spans_ns[(target as usize).min(spans_ns.len() - 1)];
    let below = spans_ns.partition_point(|&other| other < value);
    let through = spans_ns.partition_point(|&other| other <= value);
    let step = (value - spans_ns[below.saturating_sub(1)]) as f64;
    value as f64 + step * ((target - below as f64) / (through - below) as f64 - 0.5)
}

/// `median (lowest-highest)`.
fn spread(values: &[f64], decimals: usize) -> String {
    let values = sorted(values.to_vec());
    let (low, middle, high) = (
        values[0],
        values[values.len() / 2],
        values[values.len() - 1],
    );
    format!("{middle:.decimals$} ({low:.decimals$}-{high:.decimals$})")
}

type Trips = fn(&Plan, usize, usize) -> Vec<u64>;
type Stream = fn(&Plan) -> u64;

fn main() {
    // cargo passes `--bench`; whatever else it passes is not for this bench.
    let quick = std::env::args().any(|argument| argument == "--quick");
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let &[first, second, ..] = &cores[..] else {
        println!(
            "ring_spsc: needs two cores, this process has {}; nothing measured",
            cores.len()
        );
        return;
    };
    let plan = Plan {
        rounds: if quick { 9 } else { 15 },
        trips: if quick { 5_000 } else { 50_000 },
        items: if quick { 64_000 } else { 640_000 },
        cores: [first, second],
        clock: Clock::calibrated(),
    };
    core_affinity::set_for_current(first);

    let shapes: [(&str, Trips, Option<f64>); 5] = [
        ("packed, 8 B", packed_8, Some(BAR)),
        ("lined, 8 B", lined_8, None),
        ("packed, 56 B", packed_56, None),
        ("lined, 56 B", lined_56, Some(BAR)),
        ("hop, 96 B + envelope", hop_96, None),
    ];
    let mut candidates: Vec<(String, Trips, usize, Option<f64>)> = vec![
        ("null (cost of measuring)".into(), null, 0, None),
        ("floor (two bare lines)".into(), floor, 0, None),
    ];
    for depth in DEPTHS {
        candidates.push((format!("walk over {depth} bare lines"), walk, depth, None));
        for (name, trips, bar) in shapes {
            candidates.push((format!("{name}, depth {depth}"), trips, depth, bar));
        }
    }
    const FLOOR: usize = 1;
    let mut p50 = vec![Vec::new(); candidates.len()];
    let mut p99 = vec![Vec::new(); candidates.len()];
    for round in 0..plan.rounds {
        for turn in 0..candidates.len() {
            let at = (round + turn) % candidates.len();
            let mut spans_ns = (candidates[at].1)(&plan, round, candidates[at].2);
            spans_ns.sort_unstable();
            p50[at].push(quantile(&spans_ns, 0.50) / 2.0);
            p99[at].push(quantile(&spans_ns, 0.99) / 2.0);
        }
    }
    println!(
        "ping-pong: round trip / 2 in ns over {} rounds of {} trips, cores {} and {}; median (lowest-highest)",
        plan.rounds, plan.trips, first.id, second.id
    );
    println!(
        "{:<32} {:>24} {:>24} {:>18}",
        "", "p50", "p99", "p50 / floor"
    );
    for (at, (name, _, _, bar)) in candidates.iter().enumerate() {
        let ratios: Vec<f64> = p50[at]
            .iter()
            .zip(&p50[FLOOR])
            .map(|(a, b)| a / b)
            .collect();
        let middle = sorted(ratios.clone())[ratios.len() / 2];
        let verdict = match bar {
            Some(bar) if middle <= *bar => format!("  within {bar:.2}"),
            Some(bar) => format!("  OVER {bar:.2}"),
            None => String::new(),
        };
        println!(
            "{name:<32} {:>24} {:>24} {:>18}{verdict}",
            spread(&p50[at], 1),
            spread(&p99[at], 1),
            spread(&ratios, 2),
        );
    }

    let streams: [(&str, Stream, Stream); 4] = [
        ("packed, 8 B", stream_packed_8, batch_packed_8),
        ("lined, 8 B", stream_lined_8, batch_lined_8),
        ("lined, 56 B", stream_lined_56, batch_lined_56),
        ("hop, 96 B + envelope", stream_hop, batch_hop),
    ];
    let mut took = vec![[Vec::new(), Vec::new()]; streams.len()];
    for _ in 0..plan.rounds {
        for (at, (_, unit, batch)) in streams.iter().enumerate() {
            took[at][0].push(unit(&plan) as f64 / plan.items as f64);
            took[at][1].push(batch(&plan) as f64 / plan.items as f64);
        }
    }
    println!(
        "\nstream: ns an item over {} rounds of {} items; median (lowest-highest)",
        plan.rounds, plan.items
    );
    println!(
        "{:<32} {:>24} {:>24}",
        "",
        "one by one",
        format!("batches of {BATCH}")
    );
    for ((name, ..), [unit, batch]) in streams.iter().zip(&took) {
        println!(
            "{name:<32} {:>24} {:>24}",
            spread(unit, 1),
            spread(batch, 1)
        );
    }
}
