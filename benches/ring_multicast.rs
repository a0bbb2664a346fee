//! What a hop costs when several read it: beside the ring of two ends and beside two bare cache lines.
//!
//! ```text
//! cargo bench --bench ring_multicast [-- --quick]
//! ```
//!
//! On two cores the producer has one and all readers have the other, polled in turn by one thread, as a
//! loop polls the nodes that are fused onto it:
//!
//! - *ping-pong* (closed loop): a number goes out by the ring in question and comes back by a ring of two
//!   ends once every reader has it; a round trip, halved. `spsc` and `hop` are the rings of two ends, `one` is a multicast
//!   ring with one reader, `two` has two, `diamond` two and a third that follows both.
//! - *stream* (flat out): nanoseconds an item until the last reader has it, one by one.
//!
//! All candidates, the floor and the cost of measuring run in each round in rotating order. Only ratios travel
//! between machines. Both cores have to be free.

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;

use core_affinity::CoreId;
use crossbeam_utils::CachePadded;
use hopline::base::primitive::{AtomicU64, Ordering, spin_hint};
use hopline::clock::Clock;
use hopline::ring::multicast::{FrameProducer, FrameReader, Graph, Producer, Reader};
use hopline::ring::{hop, spsc};

/// Slots of the rings in the ping-pong: they fit in the first-level cache.
const DEPTH: usize = 64;
/// Slots of the rings in the stream.
const STREAM_DEPTH: usize = 1024;
/// Round trips before the measured ones.
const WARM_UP: usize = 2_000;

struct Plan {
    rounds: usize,
    trips: usize,
    items: u64,
    cores: [CoreId; 2],
    clock: Clock,
}

/// Whether a reader follows both others, and how many there are.
#[derive(Clone, Copy)]
enum Shape {
    One,
    Two,
    Diamond,
}

fn graph(depth: usize, shape: Shape) -> Graph {
    let mut graph = Graph::new(depth);
    let first = graph.reader();
    if !matches!(shape, Shape::One) {
        let second = graph.reader();
        if matches!(shape, Shape::Diamond) {
            graph.reader_after(&[first, second]);
        }
    }
    graph
}

fn values(depth: usize, shape: Shape) -> (Producer<u64>, Vec<Reader<u64>>) {
    graph(depth, shape).values().expect("a right graph")
}

fn frames(depth: usize, shape: Shape) -> (FrameProducer, Vec<FrameReader>) {
    graph(depth, shape).frames().expect("a right graph")
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
fn null(plan: &Plan) -> Vec<u64> {
    ping_pong(plan, |number| _ = black_box(number), || {})
}

/// Two bare cache lines.
fn floor(plan: &Plan) -> Vec<u64> {
    let [there, back]: [CachePadded<AtomicU64>; 2] = Default::default();
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

/// A ring there, by `send` and by `take` of every reader, and a ring of two ends back.
fn there_and_back(
    plan: &Plan,
    mut send: impl FnMut(u64),
    mut take: impl FnMut() -> u64 + Send,
) -> Vec<u64> {
    let (mut back, mut returned) = spsc::ring(DEPTH).expect("a depth within the limits");
    ping_pong(
        plan,
        |number| {
            send(number);
            assert_eq!(wait(|| returned.pop()), number);
        },
        || {
            let number = take();
            assert!(back.push(number).is_ok());
        },
    )
}

fn spsc_8(plan: &Plan) -> Vec<u64> {
    let (mut tx, mut rx) = spsc::ring(DEPTH).expect("a depth within the limits");
    there_and_back(
        plan,
        |number| assert!(tx.push(number).is_ok()),
        || wait(|| rx.pop()),
    )
}

fn multicast_8(plan: &Plan, shape: Shape) -> Vec<u64> {
    let (mut tx, mut readers) = values(DEPTH, shape);
    there_and_back(
        plan,
        |number| assert!(tx.push(number).is_ok()),
        || {
            let mut last = 0;
            for reader in &mut readers {
                last = wait(|| reader.peek().copied());
                reader.advance();
            }
            last
        },
    )
}

/// Writes all of a frame of 96 B.
macro_rules! write_frame {
    ($tx:expr, $number:expr) => {
        $tx.claim().is_ok_and(|mut claim| {
            claim.envelope_mut().t_offer_ns = $number;
            claim.envelope_mut().len = 96;
            for word in claim.payload_mut().chunks_exact_mut(8) {
                word.copy_from_slice(&u64::to_le_bytes($number));
            }
            claim.commit();
            true
        })
    };
}

/// Reads every byte of a frame of 96 B.
#[inline(always)]
fn read(frame: hop::FrameRef<'_>) -> u64 {
    let words = frame.payload().chunks_exact(8);
    let words = words.map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes")));
    words.fold(0, |a, b| a | b)
}

fn hop_96(plan: &Plan) -> Vec<u64> {
    let (mut tx, mut rx) = hop::frames(DEPTH).expect("a depth within the limits");
    there_and_back(
        plan,
        |number| assert!(write_frame!(tx, number)),
        || {
            let number = wait(|| rx.peek().map(read));
            rx.advance();
            number
        },
    )
}

fn multicast_96(plan: &Plan, shape: Shape) -> Vec<u64> {
    let (mut tx, mut readers) = frames(DEPTH, shape);
    there_and_back(
        plan,
        |number| assert!(write_frame!(tx, number)),
        || {
            let mut last = 0;
            for reader in &mut readers {
                last = wait(|| reader.peek().map(read));
                reader.advance();
            }
            last
        },
    )
}

/// Nanoseconds to move `plan.items` items to the last reader: `send` says how many it has put on the
/// ring, `take` how many the last reader has taken.
fn stream(
    plan: &Plan,
    mut send: impl FnMut(u64) -> bool,
    mut take: impl FnMut() -> u64 + Send,
) -> f64 {
    let start = Barrier::new(2);
    let took_ns = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            core_affinity::set_for_current(plan.cores[1]);
            start.wait();
            let mut taken = 0;
            while taken < plan.items {
                taken += take();
            }
            plan.clock.stamp_after()
        });
        start.wait();
        let begin_ns = plan.clock.stamp();
        let mut sent = 0;
        while sent < plan.items {
            sent += u64::from(send(sent));
        }
        reader.join().expect("the reader ends") - begin_ns
    });
    took_ns as f64 / plan.items as f64
}

fn stream_spsc_8(plan: &Plan) -> f64 {
    let (mut tx, mut rx) = spsc::ring(STREAM_DEPTH).expect("a depth within the limits");
    stream(
        plan,
        |number| tx.push(number).is_ok(),
        || rx.drain(32, |value| _ = black_box(value)) as u64,
    )
}

fn stream_8(plan: &Plan, shape: Shape) -> f64 {
    let (mut tx, mut readers) = values(STREAM_DEPTH, shape);
    stream(
        plan,
        |number| tx.push(number).is_ok(),
        || {
            let mut last = 0;
            for reader in &mut readers {
                last = reader.drain(32, |value| _ = black_box(*value)) as u64;
            }
            last
        },
    )
}

fn stream_hop(plan: &Plan) -> f64 {
    let (mut tx, mut rx) = hop::frames(STREAM_DEPTH).expect("a depth within the limits");
    stream(
        plan,
        |number| write_frame!(tx, number),
        || {
            let mut taken = 0;
            while taken < 32 && rx.peek().map(read).map(black_box).is_some() {
                rx.advance();
                taken += 1;
            }
            taken
        },
    )
}

fn stream_96(plan: &Plan, shape: Shape) -> f64 {
    let (mut tx, mut readers) = frames(STREAM_DEPTH, shape);
    stream(
        plan,
        |number| write_frame!(tx, number),
        || {
            let mut taken = 0;
            for reader in &mut readers {
                taken = 0;
                while taken < 32 && reader.peek().map(read).map(black_box).is_some() {
                    reader.advance();
                    taken += 1;
                }
            }
            taken
        },
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

type Trips = fn(&Plan) -> Vec<u64>;
type Stream = fn(&Plan) -> f64;

fn main() {
    // cargo passes `--bench`; whatever else it passes is not for this bench.
    let quick = std::env::args().any(|argument| argument == "--quick");
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let &[first, second, ..] = &cores[..] else {
        println!(
            "ring_multicast: needs two cores, this process has {}; nothing measured",
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

    const FLOOR: usize = 1;
    let trips: [(&str, Trips); 10] = [
        ("null (cost of measuring)", null),
        ("floor (two bare lines)", floor),
        ("spsc, 8 B", spsc_8),
        ("one, 8 B", |plan| multicast_8(plan, Shape::One)),
        ("two, 8 B", |plan| multicast_8(plan, Shape::Two)),
        ("diamond, 8 B", |plan| multicast_8(plan, Shape::Diamond)),
        ("hop, 96 B + envelope", hop_96),
        ("one, 96 B + envelope", |plan| {
            multicast_96(plan, Shape::One)
        }),
        ("two, 96 B + envelope", |plan| {
            multicast_96(plan, Shape::Two)
        }),
        ("diamond, 96 B + envelope", |plan| {
            multicast_96(plan, Shape::Diamond)
        }),
    ];
    let mut p50 = vec![Vec::new(); trips.len()];
    let mut p99 = vec![Vec::new(); trips.len()];
    for round in 0..plan.rounds {
        for turn in 0..trips.len() {
            let at = (round + turn) % trips.len();
            let mut spans_ns = (trips[at].1)(&plan);
            spans_ns.sort_unstable();
            let quantile =
                |share: f64| spans_ns[(share * spans_ns.len() as f64) as usize] as f64 / 2.0;
            p50[at].push(quantile(0.50));
            p99[at].push(quantile(0.99));
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
    for (at, (name, _)) in trips.iter().enumerate() {
        let ratios: Vec<f64> = p50[at]
            .iter()
            .zip(&p50[FLOOR])
            .map(|(a, b)| a / b)
            .collect();
        println!(
            "{name:<26} {:>24} {:>24} {:>18}",
            spread(&p50[at], 1),
            spread(&p99[at], 1),
            spread(&ratios, 2),
        );
    }

    let streams: [(&str, Stream); 8] = [
        ("spsc, 8 B", stream_spsc_8),
        ("one, 8 B", |plan| stream_8(plan, Shape::One)),
        ("two, 8 B", |plan| stream_8(plan, Shape::Two)),
        ("diamond, 8 B", |plan| stream_8(plan, Shape::Diamond)),
        ("hop, 96 B + envelope", stream_hop),
        ("one, 96 B + envelope", |plan| stream_96(plan, Shape::One)),
        ("two, 96 B + envelope", |plan| stream_96(plan, Shape::Two)),
        ("diamond, 96 B + envelope", |plan| {
            stream_96(plan, Shape::Diamond)
        }),
    ];
    let mut took = vec![Vec::new(); streams.len()];
    for round in 0..plan.rounds {
        for turn in 0..streams.len() {
            let at = (round + turn) % streams.len();
            took[at].push((streams[at].1)(&plan));
        }
    }
    println!(
        "\nstream: ns an item to the last reader over {} rounds of {} items; median (lowest-highest)",
        plan.rounds, plan.items
    );
    for ((name, _), took) in streams.iter().zip(&took) {
        println!("{name:<26} {:>24}", spread(took, 1));
    }
}
