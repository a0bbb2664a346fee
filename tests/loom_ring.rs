//! The rings in the model checker: every order of events that the memory model allows, for short stories.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --test loom_ring --target-dir target/loom`
//!
//! The model itself is proven by planted faults: with `--cfg loom --cfg planted_ordering` the stores that publish slots
//! are Relaxed, with `--cfg planted_return` that of the head, with `--cfg planted_batch` that of a batch's beginning, with
//! `--cfg planted_close` the closing marks; with `--cfg planted_laps` a change of laps is announced over one that the
//! consumer has yet to find. With each of them the run has to fail.

#![cfg(loom)]

#[path = "common/reached.rs"]
mod reached;

use hopline::base::primitive::{Arc, AtomicU64, Ordering};
use hopline::base::{Cause, Sequence};
use hopline::ring::{Packed, PushError, hop, spsc};
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
fn open(depth: usize) -> spsc::Pair<u64> {
    spsc::ring_at::<u64, Packed>(depth, Sequence(u64::MAX)).unwrap()
}

fn pop(consumer: &mut spsc::Consumer<u64>) -> u64 {
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
    static REACHED: Reached<2> = Reached::new(["the batch", "nothing yet"]);
    model(|| {
        let (mut producer, mut consumer) = open(2);
        let writer = thread::spawn(move || {
            assert_eq!(producer.push_batch([7, 8]).unwrap(), 2);
            producer
        });
        let first = consumer.pop();
        REACHED.mark(usize::from(first.is_none()));
        if let Some(first) = first {
            assert_eq!((first, consumer.pop()), (7, Some(8)));
        }
        drop(writer.join().unwrap());
    });
    REACHED.each();
}

#[test]
fn what_is_counted_ahead_is_there() {
    static REACHED: Reached<2> = Reached::new(["without the batch", "with it"]);
    model(|| {
        // The first item lies in the short lap. From the second one on the doubling steps look four places ahead,
        // behind the missing 4 of a batch that is being published.
        let (mut producer, mut consumer) = open(8);
        for value in 0..4 {
            producer.push(value).unwrap();
        }
        let writer = thread::spawn(move || {
            assert_eq!(producer.push_batch([4, 5]).unwrap(), 2);
            producer
        });
        let ready = consumer.ready_ahead(8) as u64;
        assert!(ready >= 4);
        REACHED.mark_if(0, ready == 4);
        REACHED.mark_if(1, ready == 6);
        for value in 0..ready {
            assert_eq!(consumer.pop(), Some(value), "counted but not there");
        }
        drop(writer.join().unwrap());
    });
    REACHED.each();
}

#[test]
fn what_is_counted_ahead_of_two_batches_is_there() {
    static REACHED: Reached<3> =
        Reached::new(["without the batches", "with the first", "with both"]);
    model(|| {
        // As above; and who sees where the second batch begins has to see the first one whole.
        let (mut producer, mut consumer) = open(8);
        for value in 0..4 {
            producer.push(value).unwrap();
        }
        let writer = thread::spawn(move || {
            assert_eq!(producer.push_batch([4, 5]).unwrap(), 2);
            assert_eq!(producer.push_batch([6, 7]).unwrap(), 2);
            producer
        });
        let ready = consumer.ready_ahead(8) as u64;
        assert!(ready >= 4);
        REACHED.mark_if(0, ready == 4);
        REACHED.mark_if(1, ready == 6);
        REACHED.mark_if(2, ready == 8);
        for value in 0..ready {
            assert_eq!(consumer.pop(), Some(value), "counted but not there");
        }
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
        assert_eq!(consumer.producer_closed(), Some(Cause::Finished));
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
        let (mut producer, mut consumer) = spsc::ring::<Counted>(2).unwrap();
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

#[test]
fn a_frame_is_seen_with_its_envelope() {
    static REACHED: Reached<2> = Reached::new(["the frame", "none yet"]);
    model(|| {
        let (mut producer, mut consumer) = hop::frames(2).unwrap();
        let writer = thread::spawn(move || {
            let mut claim = producer.claim().unwrap();
            claim.envelope_mut().len = 1;
            claim.payload_mut()[0] = 7;
            claim.commit();
            producer
        });
        match consumer.peek() {
            Some(frame) => {
                assert_eq!(frame.payload(), [7]);
                REACHED.mark(0);
            }
            None => REACHED.mark(1),
        }
        consumer.advance();
        drop(writer.join().unwrap());
    });
    REACHED.each();
}

// Under the checker the short lap has two slots, and a ring of four has both laps.

#[test]
fn a_backlog_that_changes_laps_arrives_in_order() {
    model(|| {
        let (mut producer, mut consumer) = open(4);
        let writer = thread::spawn(move || {
            for value in 0..4 {
                // Four fit whatever the consumer does: two in the short lap, two in the long one.
                producer.push(value).unwrap();
            }
            producer
        });
        for value in 0..4 {
            assert_eq!(pop(&mut consumer), value);
        }
        drop(writer.join().unwrap());
    });
}

#[test]
fn a_producer_that_comes_back_to_the_short_lap_is_followed() {
    model(|| {
        let (mut producer, mut consumer) = open(4);
        // Three at once change to the long lap; the looks behind them may change back.
        assert!(matches!(producer.push_batch([0, 1, 2]), Ok(3)));
        assert_eq!((consumer.pop(), consumer.pop()), (Some(0), Some(1)));
        let writer = thread::spawn(move || {
            for value in 3..6 {
                // Two were taken, so there is room for all of them whatever the consumer does.
                producer.push(value).unwrap();
            }
            producer.close(Cause::Finished);
        });
        for value in 2..6 {
            assert_eq!(pop(&mut consumer), value);
        }
        writer.join().unwrap();
        assert!(consumer.is_finished());
    });
}

#[test]
fn a_change_of_laps_stays_announced_until_it_is_found() {
    model(|| {
        let (mut producer, mut consumer) = open(4);
        let writer = thread::spawn(move || {
            // The second lies in the long lap. A producer that went back to the short one behind the third, whatever
            // the consumer had seen, would announce a next change with the word that the consumer still needs.
            for value in 0..4 {
                producer.push(value).unwrap();
            }
            producer.close(Cause::Finished);
        });
        let mut count = 0;
        while !consumer.is_finished() {
            match consumer.pop() {
                Some(value) => {
                    assert_eq!(value, count);
                    count += 1;
                }
                None => thread::yield_now(),
            }
        }
        assert_eq!(count, 4, "the end came early");
        writer.join().unwrap();
    });
}

#[test]
fn a_closed_ring_is_finished_only_behind_its_last_lap() {
    model(|| {
        let (mut producer, mut consumer) = open(4);
        let writer = thread::spawn(move || {
            producer.push(0).unwrap();
            assert!(matches!(producer.push_batch([1, 2]), Ok(2)));
            producer.close(Cause::Finished);
        });
        let mut count = 0;
        while !consumer.is_finished() {
            match consumer.pop() {
                Some(value) => {
                    assert_eq!(value, count);
                    count += 1;
                }
                None => thread::yield_now(),
            }
        }
        assert_eq!(count, 3);
        writer.join().unwrap();
    });
}

#[test]
fn what_is_counted_ahead_over_both_laps_is_there() {
    static REACHED: Reached<3> = Reached::new(["nothing", "the first", "all"]);
    model(|| {
        let (mut producer, mut consumer) = open(4);
        let writer = thread::spawn(move || {
            producer.push(0).unwrap();
            assert!(matches!(producer.push_batch([1, 2]), Ok(2)));
            producer
        });
        let ready = consumer.ready_ahead(4);
        match ready {
            0 | 1 => REACHED.mark(ready),
            3 => REACHED.mark(2),
            _ => panic!("half a batch: {ready}"),
        }
        for value in 0..ready as u64 {
            assert_eq!(consumer.pop(), Some(value), "counted but not there");
        }
        drop(writer.join().unwrap());
        assert_eq!(consumer.ready_ahead(4) + ready, 3);
    });
    REACHED.each();
}
