//! Fan-in over rings of one writer each: fair, in order within an input, and back pressed one by one.

#![cfg(not(any(loom, shuttle)))]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use hopline::base::limits::BATCH_FRAMES;
use hopline::base::{Cause, Prng};
use hopline::ring::fan_in::{FanIn, Rotation};
use hopline::ring::{PushError, hop, mpsc, spsc};
use proptest::prelude::*;

#[test]
fn an_order_has_each_once_whatever_it_begins_with() {
    let mut rotation = Rotation::default();
    assert_eq!(rotation.order(0).count(), 0);
    rotation.begin_after(0, 0);
    for count in 1..5 {
        for first in 0..count {
            rotation.begin_with(first);
            let order: Vec<usize> = rotation.order(count).collect();
            assert_eq!(order[0], first);
            for pair in order.windows(2) {
                assert_eq!(pair[1], (pair[0] + 1) % count);
            }
            assert_eq!(order.len(), count);
        }
    }
    // Begun beyond the end, as when inputs went away: still each once.
    rotation.begin_with(9);
    assert_eq!(rotation.order(2).collect::<Vec<_>>(), [0, 1]);
}

/// Rings of `depth` values, each filled with its place.
fn full<const N: usize>(
    depth: usize,
) -> ([spsc::Producer<usize>; N], FanIn<spsc::Consumer<usize>>) {
    let mut inputs = Vec::new();
    let producers = std::array::from_fn(|at| {
        let (mut tx, rx) = spsc::ring(depth).unwrap();
        while tx.push(at).is_ok() {}
        inputs.push(rx);
        tx
    });
    (producers, FanIn::new(inputs))
}

#[test]
fn full_inputs_get_equal_shares_by_any_limit() {
    for limit in [1, 2, 3, 7, 32, 1000] {
        let (mut producers, mut inputs) = full::<3>(64);
        let mut served = [0usize; 3];
        for _ in 0..200 {
            let taken = inputs.poll(limit, |input, item| {
                assert_eq!(input, item);
                served[input] += 1;
            });
            assert!(taken > 0 && taken <= limit);
            for (at, tx) in producers.iter_mut().enumerate() {
                while tx.push(at).is_ok() {}
            }
        }
        let (least, most) = (served.iter().min().unwrap(), served.iter().max().unwrap());
        // A poll may end within a round: at most a share apart.
        assert!(most - least <= BATCH_FRAMES, "{served:?} by {limit}");
    }
}

#[test]
fn nobody_waits_for_more_than_a_batch_of_each_other() {
    let (mut producers, mut inputs) = full::<3>(256);
    assert_eq!(inputs.poll(600, |_, _| {}), 600);
    assert_eq!(inputs.poll(usize::MAX, |_, _| {}), 168);
    for at in [0, 2] {
        while producers[at].push(at).is_ok() {}
    }
    producers[1].push(1).unwrap();
    let mut before = 0;
    let mut seen = None;
    inputs.poll(usize::MAX, |input, _| {
        if input == 1 {
            seen = Some(before);
        }
        before += 1;
    });
    assert!(seen.unwrap() <= 2 * BATCH_FRAMES, "waited for {seen:?}");
}

#[test]
fn a_full_input_holds_back_its_own_producer_only() {
    let ([mut one, mut two], mut inputs) = full::<2>(4);
    inputs.inputs_mut()[1].pop();
    inputs.inputs_mut()[1].return_credits();
    assert!(matches!(one.push(0), Err(PushError::Full(_))));
    assert!(two.push(1).is_ok());
    assert_eq!(inputs.inputs()[0].depth(), 4);
}

#[test]
fn it_is_finished_when_all_are() {
    let ([mut one, two], mut inputs) = full::<2>(2);
    drop(two);
    assert!(!inputs.is_finished());
    one.close(Cause::Finished);
    assert!(!inputs.is_finished(), "values are left");
    assert_eq!(inputs.poll(usize::MAX, |_, _| {}), 4);
    assert!(inputs.is_finished());
    let mut none = FanIn::<hop::FrameConsumer>::new([]);
    assert_eq!(none.poll(8, |_, _| {}), 0);
    assert!(none.is_finished());
}

#[test]
fn a_panic_has_had_its_inputs_turn() {
    let (_producers, mut inputs) = full::<2>(4);
    let caught = catch_unwind(AssertUnwindSafe(|| {
        inputs.poll(8, |_, _| panic!("planted"));
    }));
    assert!(caught.is_err());
    let mut order = Vec::new();
    assert_eq!(inputs.poll(8, |input, _| order.push(input)), 7);
    assert_eq!(order[0], 1, "the other one comes next");
}

#[test]
fn frames_and_rings_with_many_producers_fan_in_as_well() {
    let (mut tx, rx) = hop::frames(4).unwrap();
    let mut claim = tx.claim().unwrap();
    claim.payload_mut()[0] = 7;
    claim.envelope_mut().len = 1;
    claim.commit();
    let mut inputs = FanIn::new([rx, hop::frames(2).unwrap().1]);
    let mut seen = Vec::new();
    inputs.poll(4, |input, frame| seen.push((input, frame.payload()[0])));
    assert_eq!(seen, [(0, 7)]);

    let (mut tx, rx) = mpsc::ring(4).unwrap();
    tx.push(1).unwrap();
    tx.clone().push(2).unwrap();
    let mut sum = 0;
    assert_eq!(FanIn::new([rx]).poll(4, |_, value| sum += value), 2);
    assert_eq!(sum, 3);

    let (mut tx, rx) = mpsc::frames(4).unwrap();
    tx.push_with(|slot| slot.envelope_mut().len = 3).unwrap();
    assert_eq!(
        FanIn::new([rx]).poll(4, |_, frame| assert_eq!(frame.payload().len(), 3)),
        1
    );
}

#[test]
fn nothing_is_lost_over_threads() {
    const EACH: u64 = 50_000;
    let (senders, receivers): (Vec<_>, Vec<_>) =
        (0..3).map(|_| spsc::ring::<u64>(32).unwrap()).unzip();
    let writers: Vec<_> = senders
        .into_iter()
        .map(|mut tx| {
            thread::spawn(move || {
                for number in 0..EACH {
                    while tx.push(number).is_err() {
                        thread::yield_now();
                    }
                }
            })
        })
        .collect();
    let mut inputs = FanIn::new(receivers);
    let (mut next, mut prng) = ([0; 3], Prng::new(1));
    while !inputs.is_finished() {
        let limit = 1 + prng.below(100) as usize;
        let taken = inputs.poll(limit, |input, number| {
            assert_eq!(number, next[input]);
            next[input] += 1;
        });
        if taken == 0 {
            thread::yield_now();
        }
    }
    assert_eq!(next, [EACH; 3]);
    for writer in writers {
        writer.join().unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_poll_takes_what_there_is_up_to_its_limit(
        waiting in proptest::collection::vec(0usize..64, 0..6),
        limits in proptest::collection::vec(0usize..100, 1..20),
    ) {
        let mut producers = Vec::new();
        let mut inputs = Vec::new();
        for &count in &waiting {
            let (mut tx, rx) = spsc::ring(64).unwrap();
            tx.push_batch(0..count).unwrap();
            producers.push(tx);
            inputs.push(rx);
        }
        let mut inputs = FanIn::new(inputs);
        let mut left: usize = waiting.iter().sum();
        let mut next = vec![0; waiting.len()];
        for limit in limits {
            let mut in_order = true;
            let taken = inputs.poll(limit, |input, value| {
                in_order &= value == next[input];
                next[input] += 1;
            });
            prop_assert!(in_order);
            prop_assert_eq!(taken, limit.min(left));
            left -= taken;
        }
    }
}

#[test]
fn a_poll_without_a_limit_ends_beside_producers_that_are_as_quick() {
    let mut inputs = Vec::new();
    let mut producers = [0, 1].map(|_| {
        let (mut tx, rx) = spsc::ring(4).unwrap();
        tx.push_batch(0..2).unwrap();
        inputs.push(rx);
        tx
    });
    let mut inputs = FanIn::new(inputs);
    let mut given = 0;
    let taken = inputs.poll(usize::MAX, |input, _| {
        given += 1;
        assert!(given <= 8, "more than there are slots");
        producers[input].push(given).unwrap();
    });
    assert_eq!(taken, 8);
    assert_eq!(inputs.inputs_mut()[0].ready_ahead(4), 2);
}
