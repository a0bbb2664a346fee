//! The bulk mode in the model checker: every order of events that the memory model allows, for short stories.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --test loom_ring_bulk --target-dir target/loom`
//!
//! With `--cfg planted_ordering` the store that publishes the tail is Relaxed, with `--cfg planted_return` that of the
//! head, with `--cfg planted_close` the closing marks, and with each of them the run has to fail.

#![cfg(loom)]

#[path = "common/reached.rs"]
mod reached;

use hopline::base::primitive::{Arc, AtomicU64, Ordering};
use hopline::base::{Cause, Sequence};
use hopline::ring::{PushError, bulk};
use loom::thread;
use reached::Reached;

/// Known faults of queues need two preemptions or fewer; three keep the stories below a minute.
const PREEMPTIONS_MAX: usize = 3;

fn model(story: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS_MAX);
    builder.check(story);
}

/// A ring that wraps past 2^64 within the story.
fn open(depth: usize) -> bulk::Pair<u64> {
    bulk::ring_at(depth, Sequence(u64::MAX)).unwrap()
}

fn pop(consumer: &mut bulk::Consumer<u64>) -> u64 {
    loop {
        if let Some(value) = consumer.pop() {
            return value;
        }
        thread::yield_now();
    }
}

#[test]
fn a_pushed_value_is_seen_whole() {
    model(|| {
        let (mut producer, mut consumer) = open(2);
        let writer = thread::spawn(move || {
            producer.push(7).unwrap();
            producer.push(8).unwrap();
            producer
        });
        assert_eq!(pop(&mut consumer), 7);
        assert_eq!(pop(&mut consumer), 8);
        drop(writer.join().unwrap());
    });
}

#[test]
fn a_full_ring_gives_its_slots_back_only_when_read() {
    static REACHED: Reached<2> = Reached::new(["a full ring", "room at once"]);
    model(|| {
        let (mut producer, mut consumer) = open(2);
        let writer = thread::spawn(move || {
            let mut waited = false;
            for value in 0..3 {
                let mut item = value;
                while let Err(PushError::Full(back)) = producer.push(item) {
                    waited = true;
                    item = back;
                    thread::yield_now();
                }
            }
            REACHED.mark(usize::from(!waited));
        });
        for value in 0..3 {
            assert_eq!(pop(&mut consumer), value);
        }
        writer.join().unwrap();
    });
    REACHED.each();
}

#[test]
fn a_batch_is_seen_whole_or_not_at_all() {
    static REACHED: Reached<3> =
        Reached::new(["nothing yet", "the batch", "a batch behind a look"]);
    model(|| {
        // Its first value is in the last slot, its second in the first.
        let (mut producer, mut consumer) = open(2);
        let writer = thread::spawn(move || {
            assert_eq!(producer.push_batch([7, 8]).unwrap(), 2);
            producer
        });
        let mut seen = Vec::new();
        let ready = consumer.ready_ahead(2);
        assert!(ready == 0 || ready == 2);
        REACHED.mark(ready / 2);
        let taken = consumer.drain(2, |value| seen.push(value));
        assert!(taken >= ready);
        assert_eq!(seen, [7, 8][..taken]);
        assert!(taken != 1);
        REACHED.mark_if(2, taken > ready);
        drop(writer.join().unwrap());
    });
    REACHED.each();
}

#[test]
fn a_finished_ring_is_empty() {
    model(|| {
        let (mut producer, mut consumer) = open(2);
        let writer = thread::spawn(move || {
            producer.push(7).unwrap();
            producer.close(Cause::Finished);
        });
        let mut seen = 0;
        while !consumer.is_finished() {
            match consumer.pop() {
                Some(value) => {
                    assert_eq!(value, 7);
                    seen += 1;
                }
                None => thread::yield_now(),
            }
        }
        assert_eq!(seen, 1);
        writer.join().unwrap();
    });
}

#[test]
fn a_close_against_a_push_loses_and_doubles_nothing() {
    /// Counts its drops.
    struct Counted(Arc<AtomicU64>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    static REACHED: Reached<4> = Reached::new([
        "a value taken",
        "no value yet",
        "a value refused",
        "all values accepted",
    ]);
    model(|| {
        let drops = Arc::new(AtomicU64::new(0));
        let (mut producer, mut consumer) = bulk::ring::<Counted>(2).unwrap();
        let items = [Counted(Arc::clone(&drops)), Counted(Arc::clone(&drops))];
        let writer = thread::spawn(move || {
            let mut refused = false;
            for item in items {
                // Refused or accepted: in both cases somebody owns it.
                refused |= producer.push(item).is_err();
            }
            REACHED.mark(if refused { 2 } else { 3 });
        });
        REACHED.mark(usize::from(consumer.pop().is_none()));
        consumer.close(Cause::Aborted);
        drop(consumer);
        writer.join().unwrap();
        assert_eq!(drops.load(Ordering::Relaxed), 2);
    });
    REACHED.each();
}
