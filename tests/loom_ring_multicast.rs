//! The multicast ring in the model checker: every order of events that the memory model allows, for short stories.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --test loom_ring_multicast --target-dir target/loom`
//!
//! The model itself is proven by planted faults: with `--cfg loom --cfg planted_ordering` the stores that publish slots
//! are Relaxed, with `--cfg planted_return` those of heads, with `--cfg planted_batch` that of a batch's beginning, with
//! `--cfg planted_close` the closing marks, and with each of them the run has to fail.

#![cfg(loom)]

#[path = "common/reached.rs"]
mod reached;

use hopline::base::primitive::{Arc, AtomicU64, Ordering};
use hopline::base::{Cause, Sequence};
use hopline::ring::PushError;
use hopline::ring::multicast::{Graph, Producer, Reader, ReaderId};
use loom::thread;
use reached::Reached;

/// Known faults of queues need two preemptions or fewer; three keep the stories below a minute.
const PREEMPTIONS_MAX: usize = 3;

fn model(story: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS_MAX);
    builder.check(story);
}

/// A ring of two slots: see [`open_deep`].
fn open<const N: usize>(after: [&[usize]; N]) -> (Producer<u64>, [Reader<u64>; N]) {
    open_deep(2, after)
}

/// A ring that wraps past 2^64 within the story, with a reader for each list of those that it follows.
fn open_deep<const N: usize>(
    depth: usize,
    after: [&[usize]; N],
) -> (Producer<u64>, [Reader<u64>; N]) {
    let mut graph = Graph::new(depth).starting_at(Sequence(u64::MAX));
    let mut ids: Vec<ReaderId> = Vec::new();
    for after in after {
        let after: Vec<ReaderId> = after.iter().map(|at| ids[*at]).collect();
        ids.push(graph.reader_after(&after));
    }
    let (producer, readers) = graph.values().unwrap();
    (producer, readers.try_into().expect("as many as were added"))
}

/// Pushes as soon as there is room. Whether there was none at first.
fn push(producer: &mut Producer<u64>, value: u64) -> bool {
    let mut waited = false;
    while producer.push(value).is_err() {
        waited = true;
        thread::yield_now();
    }
    waited
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
    static REACHED: Reached<3> = Reached::new(["a value", "none yet", "both gone"]);
    model(|| {
        let (mut producer, readers) = open([&[], &[]]);
        // None of them waits: two that yield to each other have no end.
        let looks = readers.map(|mut reader| {
            thread::spawn(move || {
                let seen = reader.peek().copied();
                assert!(seen.is_none_or(|value| value == 7));
                REACHED.mark(usize::from(seen.is_none()));
            })
        });
        // Refused where both have looked and gone.
        REACHED.mark_if(2, producer.push(7).is_err());
        for look in looks {
            look.join().unwrap();
        }
    });
    REACHED.each();
}

#[test]
fn a_slot_is_overwritten_only_when_both_have_read_it() {
    static REACHED: Reached<2> = Reached::new(["a full ring", "room at once"]);
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
        REACHED.mark(usize::from(!push(&mut producer, 2)));
        let mut a = reader.join().unwrap();
        let mut b = other.join().unwrap();
        assert_eq!((take(&mut a), take(&mut a)), (1, 2));
        assert_eq!((take(&mut b), take(&mut b)), (1, 2));
    });
    REACHED.each();
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
fn what_is_counted_ahead_is_there() {
    static REACHED: Reached<2> = Reached::new(["without the batch", "with it"]);
    model(|| {
        // Steps of 1, 2 and 4, and the half of what is left: they look over the missing 5 of a batch that is being
        // published.
        let (mut producer, [mut reader]) = open_deep(8, [&[]]);
        for value in 0..5 {
            producer.push(value).unwrap();
        }
        let writer = thread::spawn(move || {
            assert_eq!(producer.push_batch([5, 6]).unwrap(), 2);
            producer
        });
        let ready = reader.ready_ahead(8) as u64;
        assert!(ready >= 5);
        REACHED.mark_if(0, ready == 5);
        REACHED.mark_if(1, ready == 7);
        for value in 0..ready {
            assert_eq!(reader.peek(), Some(&value), "counted but not there");
            reader.advance();
        }
        drop(writer.join().unwrap());
    });
    REACHED.each();
}

#[test]
fn what_is_counted_ahead_of_two_batches_is_there() {
    static REACHED: Reached<3> = Reached::new([
        "without the batches",
        "with the first",
        "with the first of both",
    ]);
    model(|| {
        // As above; and who sees where the second batch begins has to see the first one whole.
        let (mut producer, [mut reader]) = open_deep(16, [&[]]);
        for value in 0..5 {
            producer.push(value).unwrap();
        }
        let writer = thread::spawn(move || {
            assert_eq!(producer.push_batch([5, 6]).unwrap(), 2);
            assert_eq!(producer.push_batch([7, 8]).unwrap(), 2);
            producer
        });
        let ready = reader.ready_ahead(8) as u64;
        assert!(ready >= 5);
        REACHED.mark_if(0, ready == 5);
        REACHED.mark_if(1, ready == 7);
        REACHED.mark_if(2, ready == 8);
        for value in 0..ready {
            assert_eq!(reader.peek(), Some(&value), "counted but not there");
            reader.advance();
        }
        drop(writer.join().unwrap());
    });
    REACHED.each();
}

#[test]
fn in_a_diamond_the_join_waits_for_both() {
    static REACHED: Reached<2> = Reached::new(["both have passed", "one has not"]);
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
        let seen = join.peek().copied();
        REACHED.mark(usize::from(seen.is_none()));
        if let Some(value) = seen {
            assert_eq!(value, 7);
            for passed in passed.iter() {
                assert_eq!(passed.load(Ordering::Relaxed), 7);
            }
        }
        left.join().unwrap();
        right.join().unwrap();
    });
    REACHED.each();
}

#[test]
fn one_that_closes_has_read_its_last_before_the_slot_is_written() {
    static REACHED: Reached<2> = Reached::new(["a full ring", "room at once"]);
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
        REACHED.mark(usize::from(!push(&mut producer, 2)));
        assert_eq!(take(&mut b), 2);
        leaves.join().unwrap();
    });
    REACHED.each();
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
    static REACHED: Reached<2> = Reached::new(["all gone at the first look", "one still there"]);
    model(|| {
        let (mut producer, [mut a, mut b]) = open([&[], &[]]);
        let one = thread::spawn(move || a.close(Cause::Aborted));
        let other = thread::spawn(move || b.close(Cause::Failed));
        let mut cause = producer.readers_closed();
        REACHED.mark(usize::from(cause.is_none()));
        while cause.is_none() {
            thread::yield_now();
            cause = producer.readers_closed();
        }
        // The first reader's, whoever was the last to go.
        assert_eq!(cause, Some(Cause::Aborted));
        assert!(matches!(
            producer.push(1),
            Err(PushError::Closed(1, Cause::Aborted))
        ));
        one.join().unwrap();
        other.join().unwrap();
    });
    REACHED.each();
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
    static REACHED: Reached<4> = Reached::new([
        "an item read",
        "no item yet",
        "an item refused",
        "all items accepted",
    ]);
    let story = |waits: bool| {
        let drops = Arc::new(AtomicU64::new(0));
        let mut graph = Graph::new(2);
        graph.reader();
        let (mut producer, mut readers) = graph.values::<Counted>().unwrap();
        let items = [0, 1, 2].map(|_| Counted(Arc::clone(&drops)));
        let writer = thread::spawn(move || {
            let mut refused = false;
            for item in items {
                // Refused or accepted: in both cases somebody owns it.
                refused |= producer.push(item).is_err();
            }
            REACHED.mark(if refused { 2 } else { 3 });
        });
        let mut is_read = readers[0].advance();
        while waits && !is_read {
            thread::yield_now();
            is_read = readers[0].advance();
        }
        REACHED.mark(usize::from(!is_read));
        drop(readers);
        writer.join().unwrap();
        assert_eq!(drops.load(Ordering::Relaxed), 3);
    };
    // Two models: of an order in which the reader waits for nothing the checker never looks at the one in which there
    // is something.
    model(move || story(false));
    model(move || story(true));
    REACHED.each();
}
