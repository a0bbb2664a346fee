//! The multicast ring in the model checker: every order of events that the memory model allows, for short stories.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --test loom_ring_multicast --target-dir target/loom`
//!
//! The model itself is proven by a planted fault: with `--cfg loom --cfg planted_ordering` the stores
//! that publish slots, heads and closings are Relaxed, and the run has to fail.

#![cfg(loom)]

use hopline::base::primitive::{Arc, AtomicU64, Ordering};
use hopline::base::{Cause, Sequence};
use hopline::ring::multicast::{Graph, Producer, Reader, ReaderId};
use loom::thread;

/// Known faults of queues need two preemptions or fewer; three keep the stories below a minute.
const PREEMPTIONS_MAX: usize = 3;

fn model(story: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS_MAX);
    builder.check(story);
}

/// A ring of two slots that wraps past 2^64 within the story, with a reader for each list of those
/// that it follows.
fn open<const N: usize>(after: [&[usize]; N]) -> (Producer<u64>, [Reader<u64>; N]) {
    let mut graph = Graph::new(2).starting_at(Sequence(u64::MAX));
    let mut ids: Vec<ReaderId> = Vec::new();
    for after in after {
        let after: Vec<ReaderId> = after.iter().map(|at| ids[*at]).collect();
        ids.push(graph.reader_after(&after));
    }
    let (producer, readers) = graph.values().unwrap();
    (producer, readers.try_into().expect("as many as were added"))
}

fn push(producer: &mut Producer<u64>, value: u64) {
    while producer.push(value).is_err() {
        thread::yield_now();
    }
}

fn take(reader: &mut Reader<u64>) -> u64 {
    loop {
        if let Some(value) = reader.peek() {
            let value = *value;
            reader.advance();
            return value;
        }
        thread::yield_now();
    }
}

#[test]
fn two_readers_see_a_value_whole() {
    model(|| {
        let (mut producer, readers) = open([&[], &[]]);
        // None of them waits: two that yield to each other have no end.
        let looks = readers.map(|mut reader| {
            thread::spawn(move || {
                let seen = reader.peek().copied();
                assert!(seen.is_none_or(|value| value == 7));
            })
        });
        // Refused where both have looked and gone.
        let _ = producer.push(7);
        for look in looks {
            look.join().unwrap();
        }
    });
}

#[test]
fn a_slot_is_overwritten_only_when_both_have_read_it() {
    model(|| {
        let (mut producer, [mut a, mut b]) = open([&[], &[]]);
        push(&mut producer, 0);
        push(&mut producer, 1);
        let reader = thread::spawn(move || {
            assert_eq!(take(&mut a), 0);
            a
        });
        let other = thread::spawn(move || {
            assert_eq!(take(&mut b), 0);
            b
        });
        // The third one goes where the first was.
        push(&mut producer, 2);
        let mut a = reader.join().unwrap();
        let mut b = other.join().unwrap();
        assert_eq!((take(&mut a), take(&mut a)), (1, 2));
        assert_eq!((take(&mut b), take(&mut b)), (1, 2));
    });
}

#[test]
fn in_a_chain_nobody_is_overtaken() {
    model(|| {
        let (mut producer, [mut a, mut b]) = open([&[], &[0]]);
        let seen = Arc::new(AtomicU64::new(0));
        let first = {
            let seen = Arc::clone(&seen);
            thread::spawn(move || {
                for value in 0..2 {
                    assert_eq!(*wait(&mut a), value);
                    // Relaxed: the head, which is told after it, carries it.
                    seen.store(value + 1, Ordering::Relaxed);
                    a.advance();
                }
            })
        };
        let second = thread::spawn(move || {
            for value in 0..2 {
                assert_eq!(*wait(&mut b), value);
                assert!(seen.load(Ordering::Relaxed) > value);
                b.advance();
            }
        });
        for value in 0..2 {
            push(&mut producer, value);
        }
        first.join().unwrap();
        second.join().unwrap();
    });
}

fn wait(reader: &mut Reader<u64>) -> &u64 {
    while reader.peek().is_none() {
        thread::yield_now();
    }
    reader.peek().expect("it was there")
}

#[test]
fn in_a_diamond_the_join_waits_for_both() {
    model(|| {
        let (mut producer, [a, b, mut join]) = open([&[], &[], &[0, 1]]);
        producer.push(7).unwrap();
        let passed = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
        let one = |mut reader: Reader<u64>, at: usize| {
            let passed = Arc::clone(&passed);
            move || {
                passed[at].store(*wait(&mut reader), Ordering::Relaxed);
                reader.advance();
                reader
            }
        };
        let left = thread::spawn(one(a, 0));
        let right = thread::spawn(one(b, 1));
        if let Some(value) = join.peek() {
            assert_eq!(*value, 7);
            for passed in passed.iter() {
                assert_eq!(passed.load(Ordering::Relaxed), 7);
            }
        }
        left.join().unwrap();
        right.join().unwrap();
    });
}

#[test]
fn one_that_closes_has_read_its_last_before_the_slot_is_written() {
    model(|| {
        let (mut producer, [mut a, mut b]) = open([&[], &[]]);
        push(&mut producer, 0);
        push(&mut producer, 1);
        assert_eq!((take(&mut b), take(&mut b), b.peek()), (0, 1, None));
        let leaves = thread::spawn(move || {
            // It looks and goes, without a head that says that it has passed.
            assert_eq!(*wait(&mut a), 0);
            drop(a);
        });
        push(&mut producer, 2);
        assert_eq!(take(&mut b), 2);
        leaves.join().unwrap();
    });
}

#[test]
fn who_followed_one_that_closes_follows_those_before_it() {
    model(|| {
        let (mut producer, [mut a, mut b]) = open([&[], &[0]]);
        push(&mut producer, 0);
        push(&mut producer, 1);
        let leaves = thread::spawn(move || {
            if a.peek().is_some() {
                a.advance();
            }
            a.close(Cause::Aborted);
        });
        for value in 0..2 {
            assert_eq!(take(&mut b), value);
        }
        push(&mut producer, 2);
        assert_eq!(take(&mut b), 2);
        leaves.join().unwrap();
    });
}

#[test]
fn a_finished_ring_is_read_to_its_end() {
    model(|| {
        let (mut producer, [mut a, mut b]) = open([&[], &[0]]);
        let follower = thread::spawn(move || {
            let mut seen = 0;
            while !b.is_finished() {
                match b.peek() {
                    Some(value) => {
                        assert_eq!(*value, seen);
                        seen += 1;
                        b.advance();
                    }
                    None => thread::yield_now(),
                }
            }
            assert_eq!(seen, 1);
            assert_eq!(b.producer_closed(), Some(Cause::Finished));
        });
        producer.push(0).unwrap();
        producer.close(Cause::Finished);
        assert_eq!(take(&mut a), 0);
        assert!(a.is_finished());
        follower.join().unwrap();
    });
}

#[test]
fn the_producer_learns_that_all_have_gone() {
    model(|| {
        let (mut producer, [a, b]) = open([&[], &[]]);
        let one = thread::spawn(move || drop(a));
        let other = thread::spawn(move || drop(b));
        while producer.readers_closed().is_none() {
            thread::yield_now();
        }
        assert!(producer.push(1).is_err());
        one.join().unwrap();
        other.join().unwrap();
    });
}

#[test]
fn values_are_dropped_once_whoever_goes_last() {
    /// Counts its drops.
    struct Counted(Arc<AtomicU64>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    model(|| {
        let drops = Arc::new(AtomicU64::new(0));
        let mut graph = Graph::new(2);
        graph.reader();
        let (mut producer, mut readers) = graph.values::<Counted>().unwrap();
        let items = [0, 1, 2].map(|_| Counted(Arc::clone(&drops)));
        let writer = thread::spawn(move || {
            for item in items {
                // Refused or accepted: in both cases somebody owns it.
                drop(producer.push(item));
            }
        });
        readers[0].advance();
        drop(readers);
        writer.join().unwrap();
        assert_eq!(drops.load(Ordering::Relaxed), 3);
    });
}
