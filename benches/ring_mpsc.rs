//! What a hop costs where producers share a ring: beside the ring for one producer, and beside crossbeam's `ArrayQueue`.
//!
//! ```text
//! cargo bench --bench ring_mpsc [-- --quick]
//! ```
//!
//! - *ping-pong* (closed loop, one producer each way): a round trip over two rings, halved, in nanoseconds.
//! - *stream* (flat out): nanoseconds an item, with one producer on the other core, and with two. On a
//!   machine of two cores two producers share one: the second figure shows what the claim costs when
//!   its holder may lose its core, not what three cores would do.
//!
//! All candidates run in each round, in rotating order, and ratios are taken within the round. Only
//! ratios travel between machines.

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;

use core_affinity::CoreId;
use crossbeam_queue::ArrayQueue;
use hopline::base::primitive::{Arc, spin_hint};
use hopline::clock::Clock;
use hopline::ring::{mpsc, spsc};

/// Slots of all rings: what both sides touch stays in the first-level cache.
const DEPTH: usize = 256;
/// Round trips before the measured ones.
const WARM_UP: usize = 2_000;
/// Producers that give way after so many looks in vain: two share a core.
const PATIENCE: u32 = 64;

struct Plan {
    rounds: usize,
    trips: usize,
    items: u64,
    cores: [CoreId; 2],
    clock: Clock,
}

type Push = Box<dyn FnMut(u64) -> bool + Send>;
type Pop = Box<dyn FnMut() -> Option<u64> + Send>;

/// Boxed alike, so that the call costs each candidate the same.
fn ring(kind: usize, producers: usize) -> (Vec<Push>, Pop) {
    fn all<P: Clone + 'static>(producers: usize, first: P, push: impl Fn(P) -> Push) -> Vec<Push> {
        (0..producers).map(|_| push(first.clone())).collect()
    }
    match kind {
        0 => {
            let (mut tx, mut rx) = spsc::ring::<u64>(DEPTH).expect("a right depth");
            (
                vec![Box::new(move |n| tx.push(n).is_ok())],
                Box::new(move || rx.pop()),
            )
        }
        1 => {
            let (tx, mut rx) = mpsc::ring::<u64>(DEPTH).expect("a right depth");
            let push =
                |mut tx: mpsc::Producer<u64>| -> Push { Box::new(move |n| tx.push(n).is_ok()) };
            (all(producers, tx, push), Box::new(move || rx.pop()))
        }
        2 => {
            let (tx, mut rx) = mpsc::ring_lined::<u64>(DEPTH).expect("a right depth");
            let push =
                |mut tx: mpsc::Producer<u64, _>| -> Push { Box::new(move |n| tx.push(n).is_ok()) };
            (all(producers, tx, push), Box::new(move || rx.pop()))
        }
        3 => {
            let (tx, mut rx) = mpsc::frames(DEPTH).expect("a right depth");
            let push = |mut tx: mpsc::FrameProducer| -> Push {
                Box::new(move |n| {
                    tx.push_with(|slot| slot.envelope_mut().t_offer_ns = n)
                        .is_ok()
                })
            };
            let pop = move || {
                let number = rx.peek()?.envelope().t_offer_ns;
                rx.advance();
                Some(number)
            };
            (all(producers, tx, push), Box::new(pop))
        }
        _ => {
            let queue = Arc::new(ArrayQueue::<u64>::new(DEPTH));
            let popped = Arc::clone(&queue);
            let push =
                |queue: Arc<ArrayQueue<u64>>| -> Push { Box::new(move |n| queue.push(n).is_ok()) };
            (all(producers, queue, push), Box::new(move || popped.pop()))
        }
    }
}

const NAMES: [&str; 5] = [
    "spsc, packed 8 B",
    "mpsc, packed 8 B",
    "mpsc, lined 8 B",
    "mpsc, frames",
    "crossbeam ArrayQueue 8 B",
];
/// What the others are compared with.
const RIVAL: usize = 4;

/// Half of each round trip, in nanoseconds, sorted.
fn ping_pong(plan: &Plan, kind: usize) -> Vec<u64> {
    let (mut there, mut arrived) = ring(kind, 1);
    let (mut back, mut returned) = ring(kind, 1);
    let trips = WARM_UP + plan.trips;
    let begin = Barrier::new(2);
    thread::scope(|scope| {
        scope.spawn(|| {
            core_affinity::set_for_current(plan.cores[1]);
            begin.wait();
            for _ in 0..trips {
                let number = wait(&mut arrived);
                assert!(back[0](number));
            }
        });
        let mut spans_ns = Vec::with_capacity(trips);
        begin.wait();
        for number in 0..trips as u64 {
            let from_ns = plan.clock.stamp();
            assert!(there[0](number));
            assert_eq!(wait(&mut returned), number);
            spans_ns.push((plan.clock.stamp_after() - from_ns) / 2);
        }
        let mut spans_ns = spans_ns.split_off(WARM_UP);
        spans_ns.sort_unstable();
        spans_ns
    })
}

fn wait(pop: &mut Pop) -> u64 {
    loop {
        if let Some(number) = pop() {
            return number;
        }
        spin_hint();
    }
}

/// Nanoseconds an item, flat out, from `producers` threads on the other core.
fn stream(plan: &Plan, kind: usize, producers: usize) -> f64 {
    let (pushes, mut pop) = ring(kind, producers);
    let each = plan.items / producers as u64;
    let begin = Barrier::new(producers + 1);
    thread::scope(|scope| {
        for mut push in pushes {
            let begin = &begin;
            scope.spawn(move || {
                core_affinity::set_for_current(plan.cores[1]);
                begin.wait();
                for number in 0..each {
                    let mut looks = 0;
                    while !push(number) {
                        looks += 1;
                        if looks % PATIENCE == 0 {
                            thread::yield_now();
                        }
                        spin_hint();
                    }
                }
            });
        }
        begin.wait();
        let from_ns = plan.clock.stamp();
        let mut left = each * producers as u64;
        while left > 0 {
            match pop() {
                Some(number) => {
                    black_box(number);
                    left -= 1;
                }
                None => spin_hint(),
            }
        }
        (plan.clock.stamp_after() - from_ns) as f64 / (each * producers as u64) as f64
    })
}

/// `median (lowest-highest)`.
fn spread(values: &[f64]) -> (f64, String) {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let middle = values[values.len() / 2];
    let text = format!(
        "{middle:.2} ({:.2}-{:.2})",
        values[0],
        values[values.len() - 1]
    );
    (middle, text)
}

fn table(title: &str, figures: &[Vec<f64>]) {
    println!("{title}");
    for (name, of_rounds) in NAMES.iter().zip(figures) {
        if of_rounds.is_empty() {
            continue;
        }
        let ratios: Vec<f64> = of_rounds
            .iter()
            .zip(&figures[RIVAL])
            .map(|(own, rival)| own / rival)
            .collect();
        let (own, ratio) = (spread(of_rounds).1, spread(&ratios).1);
        println!("  {name:<26} {own:>28} ns   {ratio:>20} of ArrayQueue");
    }
}

fn main() {
    // cargo passes `--bench`; whatever else it passes is not for this bench.
    let quick = std::env::args().any(|argument| argument == "--quick");
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let &[first, second, ..] = &cores[..] else {
        println!(
            "ring_mpsc: needs two cores, this process has {}; nothing measured",
            cores.len()
        );
        return;
    };
    let plan = Plan {
        rounds: if quick { 3 } else { 15 },
        trips: if quick { 2_000 } else { 50_000 },
        items: if quick { 40_000 } else { 400_000 },
        cores: [first, second],
        clock: Clock::calibrated(),
    };
    core_affinity::set_for_current(first);
    let mut figures: [Vec<Vec<f64>>; 4] = std::array::from_fn(|_| vec![Vec::new(); NAMES.len()]);
    for round in 0..plan.rounds {
        for turn in 0..NAMES.len() {
            let kind = (round + turn) % NAMES.len();
            let spans_ns = ping_pong(&plan, kind);
            figures[0][kind].push(spans_ns[spans_ns.len() / 2] as f64);
            figures[1][kind].push(spans_ns[spans_ns.len() * 99 / 100] as f64);
            figures[2][kind].push(stream(&plan, kind, 1));
            if kind > 0 {
                figures[3][kind].push(stream(&plan, kind, 2));
            }
        }
    }
    let rounds = plan.rounds;
    println!("median of {rounds} rounds (lowest-highest), depth {DEPTH}");
    table("ping-pong, p50 of half a round trip:", &figures[0]);
    table("ping-pong, p99:", &figures[1]);
    table("stream of one producer, an item:", &figures[2]);
    table("stream of two producers on one core, an item:", &figures[3]);
}
