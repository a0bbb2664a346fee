//! The two laps of a point-to-point ring against a queue that knows of none.
//!
//! The moods of a story make the backlog long, short and nothing in turn, so laps change both ways, at positions that
//! pass 2^64: single items, batches, batches that end early, aborts, and a last drop with items in either lap. Where a
//! value lies tells the lap: the suite counts the changes, and fails if it has seen too few to say anything.

#![cfg(not(any(loom, shuttle)))]

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::thread;

use hopline::base::primitive::{AtomicU64, Ordering};
use hopline::base::{Prng, Sequence};
use hopline::ring::{Apart, ClaimError, Layout, Lined, Packed, spsc};

/// Operations of a story, and those between two changes of mood.
const OPS: u64 = 4_000;
const MOOD_OPS: u64 = 130;

/// Changes each way that all stories of a depth have to show.
const CHANGES_MIN: u64 = 30;

/// A number, how often each number was dropped, and so many words that make the slots of a short lap fewer.
struct Item<const W: usize>(u64, Arc<[AtomicU64]>, [u64; W]);

impl<const W: usize> Drop for Item<W> {
    fn drop(&mut self) {
        self.1[self.0 as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// An iterator that states more than it gives.
struct EndsEarly<I> {
    said: usize,
    given: I,
}

impl<I: Iterator> Iterator for EndsEarly<I> {
    type Item = I::Item;
    fn next(&mut self) -> Option<I::Item> {
        self.given.next()
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.said, Some(self.said))
    }
}

impl<I: Iterator> ExactSizeIterator for EndsEarly<I> {}

/// Tells the laps apart by addresses, and counts the changes.
struct Laps {
    long: RangeInclusive<usize>,
    on_long: bool,
    to_long: u64,
    to_short: u64,
}

impl Laps {
    /// From a ring that is empty and has never been used: a batch as deep as the ring lies in the long lap, all of it.
    fn of<T, L: Layout>(
        tx: &mut spsc::Producer<T, L>,
        rx: &mut spsc::Consumer<T, L>,
        items: impl ExactSizeIterator<Item = T>,
    ) -> Laps {
        assert_eq!(items.len(), tx.depth());
        assert!(tx.push_batch(items).is_ok());
        let (mut low, mut high) = (usize::MAX, 0);
        while let Some(at) = rx.peek().map(|item| (&raw const *item).addr()) {
            (low, high) = (low.min(at), high.max(at));
            assert!(rx.advance());
        }
        Laps {
            long: low..=high,
            on_long: true,
            to_long: 0,
            to_short: 0,
        }
    }

    fn see<T>(&mut self, item: &T) {
        let on_long = self.long.contains(&(&raw const *item).addr());
        self.to_long += u64::from(on_long && !self.on_long);
        self.to_short += u64::from(!on_long && self.on_long);
        self.on_long = on_long;
    }
}

/// What makes the backlog longer, and what keeps it short.
#[derive(Clone, Copy)]
enum Mood {
    /// Large batches, few are taken.
    Burst,
    /// What has been left is taken soon, and then each item as it comes.
    Trickle,
    /// Anything.
    Mixed,
}

/// One story. Returns the changes seen, to the long lap and to the short one.
fn agrees_with_a_queue<L: Layout, const W: usize>(depth: usize, seed: u64) -> (u64, u64) {
    let mut prng = Prng::new(seed);
    let start = Sequence(0).since(Sequence(prng.below(4 * depth as u64)));
    let (mut tx, mut rx) = spsc::ring_at::<Item<W>, L>(depth, Sequence(start)).unwrap();
    let most = depth as u64 * (OPS + 20);
    let drops: Arc<[AtomicU64]> = (0..most).map(|_| AtomicU64::new(0)).collect();
    let item = |number: u64| Item(number, Arc::clone(&drops), [number; W]);

    let mut laps = Laps::of(&mut tx, &mut rx, (0..depth).map(|at| item(at as u64)));
    // Numbers made; items pushed, taken, and given back by a published head.
    let (mut made, mut pushed) = (depth as u64, depth as u64);
    let (mut taken, mut head) = (pushed, pushed);
    let lazy = (depth as u64 / 8).max(1);
    let mut queue = VecDeque::new();
    let mut mood = Mood::Burst;
    for op in 0..OPS {
        if op % MOOD_OPS == 0 {
            mood = [Mood::Burst, Mood::Trickle, Mood::Mixed][prng.below(3) as usize];
        }
        let (batch, takes) = match mood {
            Mood::Burst => (prng.below(depth as u64 / 2), prng.below(8)),
            Mood::Trickle if queue.len() > 2 => (1, 40),
            Mood::Trickle => (1, 1),
            Mood::Mixed => (prng.below(40), prng.below(40)),
        };
        // What it gives is less than what it said, now and then; nothing is an abort.
        let given = if prng.below(8) == 0 {
            prng.below(batch + 1)
        } else {
            batch
        };
        let credits = depth as u64 - (pushed - head);
        let outcome = tx.push_batch(EndsEarly {
            said: batch as usize,
            given: (made..made + given).map(item),
        });
        match outcome {
            Ok(count) => {
                assert!(batch <= credits, "{batch} fit into {credits}");
                assert_eq!(count as u64, given);
                queue.extend(made..made + given);
                (pushed, made) = (pushed + given, made + given);
            }
            Err(refused) => {
                assert!(
                    refused.reason() == ClaimError::Full && batch > credits,
                    "{batch} do not fit into {credits}"
                );
            }
        }
        if prng.below(16) == 0 && pushed - head < depth as u64 {
            drop(tx.claim().unwrap().write(item(made)));
            assert_eq!(drops[made as usize].load(Ordering::Relaxed), 1);
            made += 1;
        }
        if prng.below(4) == 0 {
            let limit = 1 + prng.below(2 * depth as u64) as usize;
            if queue.is_empty() {
                head = taken;
            }
            assert_eq!(rx.ready_ahead(limit), queue.len().min(limit).min(depth));
        }
        for _ in 0..takes {
            let found = rx.peek();
            if let Some(item) = found {
                laps.see(item);
            }
            assert_eq!(found.map(|item| item.0), queue.front().copied());
            let Some(number) = queue.pop_front() else {
                head = taken;
                break;
            };
            assert_eq!(rx.pop().map(|item| item.0), Some(number));
            assert_eq!(drops[number as usize].load(Ordering::Relaxed), 1);
            taken += 1;
            if taken - head >= lazy {
                head = taken;
            }
        }
        assert_eq!(tx.position().since(Sequence(start)), pushed);
        assert_eq!(rx.position().since(Sequence(start)), taken);
        // Not always, so that the cached head gets old as well.
        if prng.below(8) == 0 {
            assert_eq!(tx.credits() as u64, depth as u64 - (pushed - head));
        }
    }
    // Batches of about as many as the short lap has slots, from an empty short lap: they fit there, or not at all.
    while rx.advance() {}
    for count in [7, 8, 9, 10, 15, 16, 17, 18, 31, 32, 33, 34, 0] {
        for _ in 0..3 * depth {
            assert!(tx.push(item(made)).is_ok() && rx.advance() && !rx.advance());
            made += 1;
        }
        // So the producer knows that all is free, and decides by its own bound.
        assert_eq!(tx.credits(), depth);
        let batch: Vec<Item<W>> = (made..made + count).map(item).collect();
        assert!(tx.push_batch(batch).is_ok());
        for number in made..made + count {
            assert_eq!(rx.pop().map(|item| item.0), Some(number));
        }
        made += count;
    }
    // What is left for the last drop begins in the short lap, and goes on in the long one if it is much.
    for _ in 0..1 + prng.below(depth as u64) {
        assert!(tx.push(item(made)).is_ok());
        made += 1;
    }
    laps.see(rx.peek().unwrap());
    assert!(!laps.on_long, "nothing is left in the short lap");
    if prng.below(2) == 0 {
        drop(tx);
        drop(rx);
    } else {
        drop(rx);
        drop(tx);
    }
    let mut counts = drops.iter().map(|count| count.load(Ordering::Relaxed));
    assert!(
        counts.by_ref().take(made as usize).all(|count| count == 1),
        "dropped once"
    );
    assert!(counts.all(|count| count == 0), "never made");
    (laps.to_long, laps.to_short)
}

/// Many stories; laps have to change both ways.
fn agree_with_a_queue<L: Layout, const W: usize>() {
    for depth in [64, 128] {
        let mut changes = (0, 0);
        for seed in 0..12 {
            let (to_long, to_short) = agrees_with_a_queue::<L, W>(depth, seed);
            changes = (changes.0 + to_long, changes.1 + to_short);
        }
        assert!(
            changes.0 >= CHANGES_MIN && changes.1 >= CHANGES_MIN,
            "few laps changed at depth {depth}: {changes:?}"
        );
    }
}

#[test]
fn packed_slots_agree_with_a_queue() {
    agree_with_a_queue::<Packed, 0>();
}

#[test]
fn lined_slots_agree_with_a_queue() {
    agree_with_a_queue::<Lined, 0>();
}

#[test]
fn apart_slots_agree_with_a_queue() {
    // Short laps of 16 slots and of 8.
    agree_with_a_queue::<Apart, 28>();
    agree_with_a_queue::<Apart, 120>();
}

/// Looks in vain after which a story counts as stuck: seconds, where a look takes microseconds.
const LOOKS_MAX: u64 = 10_000_000;

/// Looks until there is what it looks for.
fn patiently(mut found: impl FnMut() -> bool) {
    for _ in 0..LOOKS_MAX {
        if found() {
            return;
        }
        thread::yield_now();
    }
    panic!("stuck: no credits come back");
}

/// Over threads: a producer that fills the ring, then goes on by single items, each of which is taken before the next,
/// for long enough that it looks. So each round changes laps twice.
fn changes_laps_over_threads<L: Layout>(start: u64) {
    const DEPTH: usize = 128;
    const ROUNDS: u64 = 20;
    const SINGLES: u64 = 300;
    let (mut tx, mut rx) = spsc::ring_at::<u64, L>(DEPTH, Sequence(start)).unwrap();
    let mut laps = Laps::of(&mut tx, &mut rx, [u64::MAX; DEPTH].into_iter());
    let reader = thread::spawn(move || {
        let mut next = 0;
        while !rx.is_finished() {
            let Some(&item) = rx.peek().inspect(|item| laps.see(*item)) else {
                thread::yield_now();
                continue;
            };
            assert_eq!(item, next, "lost, doubled or out of order");
            next += 1;
            assert!(rx.advance());
        }
        (next, laps)
    });
    let mut next = 0;
    for _ in 0..ROUNDS {
        let mut push = |tx: &mut spsc::Producer<u64, L>, count: u64| {
            patiently(|| {
                tx.push_batch((0..count as usize).map(|at| next + at as u64))
                    .is_ok()
            });
            next += count;
        };
        for count in [DEPTH as u64, 3, DEPTH as u64 / 2, 1] {
            push(&mut tx, count);
        }
        for _ in 0..SINGLES {
            patiently(|| tx.credits() == DEPTH);
            push(&mut tx, 1);
        }
    }
    drop(tx);
    let (seen, laps) = reader.join().unwrap();
    assert_eq!(seen, next);
    assert!(
        laps.to_long >= ROUNDS - 1 && laps.to_short >= ROUNDS,
        "laps did not change"
    );
}

#[test]
fn laps_change_both_ways_over_threads() {
    changes_laps_over_threads::<Packed>(0);
    changes_laps_over_threads::<Lined>(u64::MAX - 3_000);
    changes_laps_over_threads::<Apart>(u64::MAX - 3_000);
}
