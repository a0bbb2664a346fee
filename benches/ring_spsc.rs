//! How long a hop takes, beside the physical floor: two bare cache lines between the same two cores.
//!
//! ```text
//! cargo bench --bench ring_spsc [-- --quick]
//! ```
//!
//! - *ping-pong* (closed loop): a round trip over two rings, halved. All candidates, the floor and the
//!   cost of measuring (null) run in each round, in rotating order; the ratio is taken to the floor of
//!   the same round, for the floor itself drifts from round to round. The bar: p50 within 1.10 x of it for
//!   8 B in a packed ring and 56 B in a lined one.
//! - *stream* (flat out): nanoseconds an item, one by one and in batches of 32.
//!
//! Only ratios travel between machines. Both cores have to be free: with other work on them the
//! p50 is noisy and the p99 is that work's.

#![allow(
    unsafe_code,
    reason = "the time stamp counter has no safe form; an end stamp has to wait for the load before it"
)]

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;

use core_affinity::CoreId;
use crossbeam_utils::CachePadded;
use hopline::base::primitive::{AtomicU64, Ordering};
use hopline::ring::{PushError, hop, spsc};

/// Slots of each ring.
const DEPTH: usize = 1024;
/// Round trips before the measured ones.
const WARM_UP: usize = 2_000;
/// Items of a batch in the stream.
const BATCH: usize = 32;

struct Plan {
    rounds: usize,
    trips: usize,
    items: usize,
    cores: [CoreId; 2],
}

/// Ticks at a moment before what follows.
#[inline(always)]
fn stamp() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 processor has the instruction.
    unsafe {
        core::arch::x86_64::_rdtsc()
    }
    #[cfg(not(target_arch = "x86_64"))]
    quanta::Clock::new().raw()
}

/// Ticks at a moment after what came before: a plain `rdtsc` is speculated past the spin loop.
#[inline(always)]
fn stamp_after() -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        let mut core = 0;
        // SAFETY: every x86-64 processor of the last fifteen years has the instruction; it writes to `core` only.
        unsafe { core::arch::x86_64::__rdtscp(&raw mut core) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    quanta::Clock::new().raw()
}

/// Ticks of each round trip: `trip` runs here, `echo` answers on the other core.
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
        let mut ticks = Vec::with_capacity(trips);
        start.wait();
        for number in 0..trips as u64 {
            let begin = stamp();
            trip(number);
            ticks.push(stamp_after().wrapping_sub(begin));
        }
        ticks.split_off(WARM_UP)
    })
}

/// What measuring costs: no trip at all.
fn null(plan: &Plan, _round: usize) -> Vec<u64> {
    ping_pong(plan, |number| _ = black_box(number), || {})
}

/// Two bare cache lines, another pair each round, for where they lie matters.
fn floor(plan: &Plan, round: usize) -> Vec<u64> {
    let lines: Vec<[CachePadded<AtomicU64>; 2]> = (0..64).map(|_| Default::default()).collect();
    let [there, back] = &lines[round % lines.len()];
    let mut answered = 0;
    ping_pong(
        plan,
        |number| {
            there.store(number + 1, Ordering::Release);
            while back.load(Ordering::Acquire) != number + 1 {}
        },
        || {
            answered += 1;
            while there.load(Ordering::Acquire) != answered {}
            back.store(answered, Ordering::Release);
        },
    )
}

/// Two rings of values, by the given constructor.
macro_rules! over_values {
    ($name:ident, $ring:path, $value:ty, $make:expr, $number:expr) => {
        fn $name(plan: &Plan, _round: usize) -> Vec<u64> {
            let (mut there, mut arrived) = $ring(DEPTH).expect("a depth within the limits");
            let (mut back, mut returned) = $ring(DEPTH).expect("a depth within the limits");
            let make: fn(u64) -> $value = $make;
            let number_of: fn(&$value) -> u64 = $number;
            ping_pong(
                plan,
                |number| {
                    assert!(there.push(make(number)).is_ok());
                    let value = loop {
                        if let Some(value) = returned.pop() {
                            break value;
                        }
                    };
                    assert_eq!(number_of(&value), number);
                },
                || {
                    let value = loop {
                        if let Some(value) = arrived.pop() {
                            break value;
                        }
                    };
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

fn hop_96(plan: &Plan, _round: usize) -> Vec<u64> {
    let (mut there, mut arrived) = hop::frames(DEPTH).expect("a depth within the limits");
    let (mut back, mut returned) = hop::frames(DEPTH).expect("a depth within the limits");
    ping_pong(
        plan,
        |number| {
            assert!(write_frame(&mut there, number));
            let answer = loop {
                if let Some(answer) = read_frame(&mut returned) {
                    break answer;
                }
            };
            assert_eq!(answer, number);
        },
        || {
            let number = loop {
                if let Some(number) = read_frame(&mut arrived) {
                    break number;
                }
            };
            assert!(write_frame(&mut back, number));
        },
    )
}

/// Ticks to move `plan.items` items: `send` puts a number or says that there is no room.
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
            stamp_after()
        });
        start.wait();
        let begin = stamp();
        let mut sent = 0;
        while sent < items {
            sent += send(sent);
        }
        reader.join().expect("the reader ends").wrapping_sub(begin)
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

type Trips = fn(&Plan, usize) -> Vec<u64>;
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
    };
    core_affinity::set_for_current(first);
    let clock = quanta::Clock::new();
    let ns = |ticks: u64| clock.delta_as_nanos(0, ticks * 1_000) as f64 / 1_000.0;

    let candidates: [(&str, Trips, Option<f64>); 7] = [
        ("null (cost of measuring)", null, None),
        ("floor (two bare lines)", floor, None),
        ("packed, 8 B", packed_8, Some(1.10)),
        ("lined, 8 B", lined_8, None),
        ("packed, 56 B", packed_56, None),
        ("lined, 56 B", lined_56, Some(1.10)),
        ("hop, 96 B + envelope", hop_96, None),
    ];
    const FLOOR: usize = 1;
    let mut p50 = vec![Vec::new(); candidates.len()];
    let mut p99 = vec![Vec::new(); candidates.len()];
    for round in 0..plan.rounds {
        for turn in 0..candidates.len() {
            let at = (round + turn) % candidates.len();
            let mut ticks = (candidates[at].1)(&plan, round);
            ticks.sort_unstable();
            p50[at].push(ns(ticks[ticks.len() / 2]) / 2.0);
            p99[at].push(ns(ticks[ticks.len() * 99 / 100]) / 2.0);
        }
    }
    println!(
        "ping-pong: round trip / 2 in ns over {} rounds of {} trips, cores {} and {}; median (lowest-highest)",
        plan.rounds, plan.trips, first.id, second.id
    );
    println!(
        "{:<26} {:>24} {:>24} {:>18}",
        "", "p50", "p99", "p50 / floor"
    );
    for (at, (name, _, bar)) in candidates.iter().enumerate() {
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
            "{name:<26} {:>24} {:>24} {:>18}{verdict}",
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
            took[at][0].push(ns(unit(&plan)) / plan.items as f64);
            took[at][1].push(ns(batch(&plan)) / plan.items as f64);
        }
    }
    println!(
        "\nstream: ns an item over {} rounds of {} items; median (lowest-highest)",
        plan.rounds, plan.items
    );
    println!(
        "{:<26} {:>24} {:>24}",
        "",
        "one by one",
        format!("batches of {BATCH}")
    );
    for ((name, ..), [unit, batch]) in streams.iter().zip(&took) {
        println!(
            "{name:<26} {:>24} {:>24}",
            spread(unit, 1),
            spread(batch, 1)
        );
    }
}
