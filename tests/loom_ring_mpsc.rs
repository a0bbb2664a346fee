//! The rings with many producers in the model checker: every order of events that the memory model allows,
//! for short stories of two producers.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --test loom_ring_mpsc --target-dir target/loom`
//!
//! The model itself is proven by planted faults: with `--cfg loom --cfg planted_ordering` the stores that commit slots
//! are Relaxed, with `--cfg planted_return` that of the head, with `--cfg planted_close` the closing marks, the count of
//! open producers and the seal, and with each of them the run has to fail.

#![cfg(loom)]

#[path = "common/reached.rs"]
mod reached;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use hopline::base::primitive::{Arc, AtomicU64, Ordering};
use hopline::base::{Cause, Sequence};
use hopline::ring::{Packed, PushError, mpsc};
use hopline::wait::announce;
use loom::thread;
use reached::Reached;

/// Known faults of queues need two preemptions or fewer; three keep all stories below a minute.
const PREEMPTIONS_MAX: usize = 3;

fn model(story: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS_MAX);
    builder.check(story);
}

/// A ring that wraps past 2^64 within the story.
fn open(depth: usize) -> mpsc::Pair<u64> {
    mpsc::ring_at::<u64, Packed>(depth, Sequence(u64::MAX)).unwrap()
}

fn pop(consumer: &mut mpsc::Consumer<u64>) -> u64 {
    loop {
        if let Some(value) = consumer.pop() {
            return value;
        }
        thread::yield_now();
    }
}

/// Pushes as soon as there is room. Whether there was none at first.
fn push(producer: &mut mpsc::Producer<u64>, mut value: u64) -> bool {
    let mut waited = false;
    while let Err(PushError::Full(back)) = producer.push(value) {
        waited = true;
        value = back;
        thread::yield_now();
    }
    waited
}

#[test]
fn two_producers_values_are_seen_whole_and_once() {
    model(|| {
        let (mut one, mut consumer) = open(2);
        let mut two = one.clone();
        let first = thread::spawn(move || one.push(7).unwrap());
        let second = thread::spawn(move || two.push(8).unwrap());
        let mut seen = [pop(&mut consumer), pop(&mut consumer)];
        seen.sort_unstable();
        assert_eq!(seen, [7, 8]);
        assert_eq!(consumer.position(), Sequence(1));
        first.join().unwrap();
        second.join().unwrap();
    });
}

#[test]
fn a_slot_goes_from_one_producer_to_the_other_only_when_read() {
    static REACHED: Reached<2> = Reached::new(["a full ring", "room at once"]);
    model(|| {
        let (mut one, mut consumer) = open(2);
        let mut two = one.clone();
        one.push(1).unwrap();
        two.push(2).unwrap();
        let first = thread::spawn(move || push(&mut one, 3));
        assert_eq!((pop(&mut consumer), pop(&mut consumer)), (1, 2));
        consumer.return_credits();
        two.push(4).unwrap();
        let mut seen = [pop(&mut consumer), pop(&mut consumer)];
        seen.sort_unstable();
        assert_eq!(seen, [3, 4]);
        REACHED.mark(usize::from(!first.join().unwrap()));
    });
    REACHED.each();
}

#[test]
fn the_last_slot_goes_to_one_of_two() {
    static REACHED: Reached<2> = Reached::new(["to the first", "to the second"]);
    model(|| {
        let (mut one, mut consumer) = open(2);
        let mut two = one.clone();
        one.push(1).unwrap();
        let first = thread::spawn(move || one.push(2).is_ok());
        let second = two.push(2).is_ok();
        assert_ne!(first.join().unwrap(), second, "both, or neither");
        REACHED.mark(usize::from(second));
        assert_eq!((consumer.pop(), consumer.pop()), (Some(1), Some(2)));
        assert_eq!(consumer.pop(), None);
    });
    REACHED.each();
}

#[test]
fn a_push_that_sees_a_head_beyond_its_tail_looks_again() {
    static REACHED: Reached<2> = Reached::new(["refused", "accepted"]);
    model(|| {
        let (mut one, mut consumer) = open(2);
        let mut two = one.clone();
        one.push(1).unwrap();
        let busy = thread::spawn(move || {
            let mut seen = Vec::new();
            seen.extend(consumer.pop());
            consumer.return_credits();
            if one.push(2).is_ok() {
                seen.extend(consumer.pop());
            }
            while consumer.advance() {}
            consumer.return_credits();
            (seen, consumer)
        });
        // `two` has the head of the beginning in mind, so it looks at the shared one.
        let accepted = two.push_batch([7, 8]).is_ok();
        let (seen, _consumer) = busy.join().unwrap();
        assert_eq!(seen[0], 1);
        REACHED.mark(usize::from(accepted));
        // What it was refused while the other was busy, there is room for now.
        assert!(accepted || two.push_batch([7, 8]).is_ok());
    });
    REACHED.each();
}

#[test]
fn a_batch_is_seen_whole_or_not_at_all() {
    static REACHED: Reached<3> = Reached::new(["nothing", "the batch", "the other's"]);
    model(|| {
        let (mut one, mut consumer) = open(4);
        let mut two = one.clone();
        let first = thread::spawn(move || {
            assert_eq!(one.push_batch([7, 8]).unwrap(), 2);
            one
        });
        let second = thread::spawn(move || {
            two.push(9).unwrap();
            two
        });
        let mut seen = 0;
        while let Some(value) = consumer.pop() {
            seen += 1;
            match value {
                7 => {
                    assert_eq!(consumer.pop(), Some(8), "a torn batch");
                    REACHED.mark(1);
                }
                other => {
                    assert_eq!(other, 9);
                    REACHED.mark(2);
                }
            }
        }
        REACHED.mark_if(0, seen == 0);
        drop((first.join().unwrap(), second.join().unwrap()));
    });
    REACHED.each();
}

#[test]
fn the_end_comes_after_the_last_item_of_the_last_producer() {
    model(|| {
        let (mut one, mut consumer) = open(2);
        let mut two = one.clone();
        let first = thread::spawn(move || {
            one.push(7).unwrap();
            one.close(Cause::Failed);
        });
        let second = thread::spawn(move || two.push(8).unwrap());
        let mut seen = 0;
        while !consumer.is_finished() {
            match consumer.pop() {
                Some(value) => seen += value,
                None => thread::yield_now(),
            }
        }
        assert_eq!(seen, 15);
        assert_eq!(consumer.producer_closed(), Some(Cause::Failed));
        first.join().unwrap();
        second.join().unwrap();
    });
}

#[test]
fn a_clone_made_while_the_others_end_keeps_the_ring_open() {
    model(|| {
        let (one, mut consumer) = open(2);
        let two = one.clone();
        let first = thread::spawn(move || drop(one));
        let second = thread::spawn(move || {
            let mut heir = two.clone();
            drop(two);
            heir.push(7).unwrap();
        });
        let mut seen = 0;
        while !consumer.is_finished() {
            match consumer.pop() {
                Some(value) => seen += value,
                None => thread::yield_now(),
            }
        }
        assert_eq!(seen, 7);
        first.join().unwrap();
        second.join().unwrap();
    });
}

#[test]
fn a_close_against_two_pushes_loses_and_doubles_nothing() {
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
        let (mut one, mut consumer) =
            mpsc::ring_at::<Counted, Packed>(2, Sequence(u64::MAX)).unwrap();
        let mut two = one.clone();
        let items = [Counted(Arc::clone(&drops)), Counted(Arc::clone(&drops))];
        let [item, other] = items;
        // Refused or accepted: in both cases somebody owns it.
        let first = thread::spawn(move || one.push(item).is_ok());
        let second = thread::spawn(move || two.push(other).is_ok());
        REACHED.mark(usize::from(consumer.pop().is_none()));
        consumer.close(Cause::Aborted);
        drop(consumer);
        let accepted = [first.join().unwrap(), second.join().unwrap()];
        REACHED.mark(if accepted == [true; 2] { 3 } else { 2 });
        assert_eq!(drops.load(Ordering::Relaxed), 2);
    });
    REACHED.each();
}

#[test]
fn what_was_accepted_at_a_close_is_counted_exactly() {
    static REACHED: Reached<3> = Reached::new(["none accepted", "one of two", "both"]);
    model(|| {
        let (mut one, mut consumer) = open(4);
        let mut two = one.clone();
        let first = thread::spawn(move || u64::from(one.push(7).is_ok()));
        let second = thread::spawn(move || u64::from(two.push(8).is_ok()));
        consumer.close(Cause::Finished);
        let mut received = 0;
        while consumer.claimed() > 0 {
            match consumer.pop() {
                Some(_) => received += 1,
                None => thread::yield_now(),
            }
        }
        let accepted = first.join().unwrap() + second.join().unwrap();
        assert_eq!(received, accepted);
        REACHED.mark(received as usize);
    });
    REACHED.each();
}

#[test]
fn a_loop_that_announced_its_sleep_is_woken_by_one_of_two() {
    static REACHED: Reached<2> = Reached::new(["a sleep", "an item found in time"]);
    model(|| {
        let (mut one, mut consumer) = open(2);
        let mut two = one.clone();
        let (sleeper, alarm) = announce::pair();
        let bell = alarm.clone();
        let first = thread::spawn(move || {
            one.push(7).unwrap();
            bell.should_wake()
        });
        let second = thread::spawn(move || {
            two.push(8).unwrap();
            alarm.should_wake()
        });
        sleeper.announce();
        let sleeps = consumer.peek().is_none();
        let woken = first.join().unwrap() | second.join().unwrap();
        assert!(woken || !sleeps, "asleep with an item on the ring");
        REACHED.mark(usize::from(!sleeps));
    });
    REACHED.each();
}

#[test]
fn an_aborted_slot_is_stepped_over_and_written_by_the_next() {
    model(|| {
        let (mut doomed, mut consumer) = mpsc::frames_at(2, Sequence(u64::MAX)).unwrap();
        let mut next = doomed.clone();
        let first = thread::spawn(move || {
            let caught = catch_unwind(AssertUnwindSafe(|| {
                doomed.push_with(|slot| {
                    slot.payload_mut()[0] = 1;
                    resume_unwind(Box::new(()))
                })
            }));
            assert!(caught.is_err());
        });
        while consumer.aborted() == 0 {
            assert!(consumer.peek().is_none());
            thread::yield_now();
        }
        consumer.return_credits();
        for byte in [7, 8] {
            let write = |slot: &mut mpsc::FrameSlot<'_>| {
                slot.payload_mut()[0] = byte;
                slot.envelope_mut().len = 1;
            };
            next.push_with(write).unwrap();
        }
        for byte in [7, 8] {
            assert_eq!(consumer.peek().unwrap().payload(), [byte]);
            consumer.advance();
        }
        first.join().unwrap();
    });
}

#[test]
fn an_open_claim_names_the_one_whose_item_comes() {
    static REACHED: Reached<3> = Reached::new(["a name", "an open claim without one", "none"]);
    model(|| {
        let (mut one, mut consumer) = open(2);
        let mut two = one.clone();
        let first = thread::spawn(move || {
            let id = u64::from(one.id().0);
            one.push_with(|_| id).unwrap();
        });
        let second = thread::spawn(move || {
            let id = u64::from(two.id().0);
            two.push_with(|_| id).unwrap();
        });
        let mut ids = 0;
        for _ in 0..2 {
            let open = consumer.open_claim();
            let sequence = consumer.position();
            let id = pop(&mut consumer);
            ids += id + 1;
            REACHED.mark(match &open {
                Some(open) => usize::from(open.producer.is_none()),
                None => 2,
            });
            if let Some(open) = open {
                assert_eq!(open.sequence, sequence);
                assert!(open.behind <= 1);
                assert!(open.producer.is_none_or(|named| u64::from(named.0) == id));
            }
        }
        assert_eq!(ids, 3);
        assert_eq!(consumer.open_claim(), None);
        first.join().unwrap();
        second.join().unwrap();
    });
    REACHED.each();
}
