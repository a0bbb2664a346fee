//! Every ring in long stories, under random schedules.
//!
//! `RUSTFLAGS="--cfg shuttle" cargo test --test shuttle_rings --target-dir target/shuttle`
//!
//! Dozens of items through a few slots, with batches, full rings, changes of lap and a close: what comes out is
//! what went in, once and in order. With `--cfg planted_bound` as well each ring gives a credit too many, and
//! every story has to fail; with `--cfg planted_laps` the stories of the rings that have two laps.

#![cfg(shuttle)]

#[path = "common/reached.rs"]
mod reached;
#[path = "common/schedules.rs"]
mod schedules;

use hopline::base::{Cause, Sequence};
use hopline::ring::multicast::Graph;
use hopline::ring::{Lined, Packed, PushError, bulk, hop, mpsc, spsc};
use reached::Reached;
use schedules::explore;
use shuttle::thread;

/// Items of a story: several laps, whichever lap it is.
const ITEMS: u64 = 24;

/// Four slots, two of them in a short lap where the ring has one; positions wrap past 2^64.
const DEPTH: usize = 4;
const START: Sequence = Sequence(u64::MAX - 9);

/// What a story has to come to.
const PLACES: [&str; 2] = ["a full ring", "an empty one"];

/// Pushes all items, now and then three at once, by what `push` says of them.
fn push_all(reached: &Reached<2>, mut push: impl FnMut(u64, u64) -> bool) {
    let mut next = 0;
    while next < ITEMS {
        let count = if next % 5 == 2 { 3 } else { 1 }.min(ITEMS - next);
        if push(next, count) {
            next += count;
        } else {
            reached.mark(0);
            thread::yield_now();
        }
    }
}

/// Takes until there is nothing more, and checks that it was everything.
fn take_all(
    reached: &Reached<2>,
    mut take: impl FnMut() -> Option<u64>,
    mut finished: impl FnMut() -> bool,
) {
    let mut next = 0;
    loop {
        if let Some(item) = take() {
            assert_eq!(item, next, "lost, doubled or out of order");
            next += 1;
        } else if finished() {
            break;
        } else {
            reached.mark(1);
            thread::yield_now();
        }
    }
    assert_eq!(next, ITEMS, "the end came early");
}

macro_rules! values {
    ($($story:ident: $open:expr;)+) => {$(
        #[test]
        fn $story() {
            static REACHED: Reached<2> = Reached::new(PLACES);
            explore(|| {
                let (mut tx, mut rx) = $open;
                let writer = thread::spawn(move || {
                    push_all(&REACHED, |first, count| {
                        if count == 1 {
                            tx.push(first).is_ok()
                        } else {
                            tx.push_batch((0..count as usize).map(|at| first + at as u64)).is_ok()
                        }
                    });
                    tx.close(Cause::Finished);
                });
                let rx = std::cell::RefCell::new(&mut rx);
                take_all(&REACHED, || rx.borrow_mut().pop(), || rx.borrow_mut().is_finished());
                writer.join().unwrap();
            });
            REACHED.each();
        }
    )+};
}

values! {
    packed_slots: spsc::ring_at::<u64, Packed>(DEPTH, START).unwrap();
    lined_slots: spsc::ring_at::<u64, Lined>(DEPTH, START).unwrap();
    bulk_slots: bulk::ring_at::<u64>(DEPTH, START).unwrap();
}

#[test]
fn frames() {
    static REACHED: Reached<2> = Reached::new(PLACES);
    explore(|| {
        let (mut tx, mut rx) = hop::frames_at(DEPTH, START).unwrap();
        let writer = thread::spawn(move || {
            push_all(&REACHED, |first, count| {
                let Ok(mut batch) = tx.claim_batch(count as usize) else {
                    return false;
                };
                for at in 0..count {
                    batch.frame_mut(at as usize).0.t_offer_ns = first + at;
                }
                batch.commit(count as usize);
                true
            });
        });
        let rx = std::cell::RefCell::new(&mut rx);
        let take = || {
            let mut rx = rx.borrow_mut();
            let item = rx.peek()?.envelope().t_offer_ns;
            rx.advance();
            Some(item)
        };
        take_all(&REACHED, take, || rx.borrow_mut().is_finished());
        writer.join().unwrap();
    });
    REACHED.each();
}

/// Two producers: what each pushes arrives once and in its order.
#[test]
fn many_producers() {
    static REACHED: Reached<2> = Reached::new(PLACES);
    explore(|| {
        let (tx, mut rx) = mpsc::ring_at::<(usize, u64), Packed>(DEPTH, START).unwrap();
        let writers = [0, 1].map(|from| {
            let mut tx = tx.clone();
            thread::spawn(move || {
                for item in 0..ITEMS {
                    let mut value = (from, item);
                    while let Err(PushError::Full(back)) = tx.push(value) {
                        REACHED.mark(0);
                        value = back;
                        thread::yield_now();
                    }
                }
            })
        });
        drop(tx);
        let mut next = [0; 2];
        while !rx.is_finished() {
            match rx.pop() {
                Some((from, item)) => {
                    assert_eq!(item, next[from], "lost, doubled or out of order");
                    next[from] += 1;
                }
                None => {
                    REACHED.mark(1);
                    thread::yield_now();
                }
            }
        }
        assert_eq!(next, [ITEMS; 2]);
        for writer in writers {
            writer.join().unwrap();
        }
    });
    REACHED.each();
}

/// A diamond on one ring: the last reader sees what both others have passed, and all see everything.
#[test]
fn several_readers() {
    static REACHED: Reached<2> = Reached::new(PLACES);
    explore(|| {
        let mut graph = Graph::new(DEPTH).starting_at(START);
        let first = graph.reader();
        let second = graph.reader();
        graph.reader_after(&[first, second]);
        let (mut tx, readers) = graph.values::<u64>().unwrap();
        let writer = thread::spawn(move || {
            push_all(&REACHED, |first, count| {
                tx.push_batch((0..count as usize).map(|at| first + at as u64))
                    .is_ok()
            });
        });
        let readers: Vec<_> = readers
            .into_iter()
            .map(|mut rx| {
                thread::spawn(move || {
                    let rx = std::cell::RefCell::new(&mut rx);
                    let take = || {
                        let mut rx = rx.borrow_mut();
                        let item = *rx.peek()?;
                        rx.advance();
                        Some(item)
                    };
                    take_all(&REACHED, take, || rx.borrow_mut().is_finished());
                })
            })
            .collect();
        writer.join().unwrap();
        for reader in readers {
            reader.join().unwrap();
        }
    });
    REACHED.each();
}
