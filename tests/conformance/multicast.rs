//! What a multicast ring must show with several readers, written against the suite's traits.

use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use hopline::base::primitive::{AtomicU64, Ordering};
use hopline::base::{Cause, Prng, Sequence};
use hopline::ring::ClaimError;
use hopline::ring::multicast::{Graph, ReaderId};
use proptest::prelude::*;

use crate::conformance::{Ring, Rx, Tx, mix};

/// A kind of ring that makes handles for a graph.
pub(crate) trait Kind {
    type Tx: Tx;
    type Rx: Rx;
    fn make(graph: &Graph) -> (Self::Tx, Vec<Self::Rx>);
    fn slowest(tx: &Self::Tx) -> Option<usize>;
}

/// A ring with one reader, for the suite of rings of two ends.
pub(crate) struct One<K>(PhantomData<K>);

impl<K: Kind> Ring for One<K> {
    type Tx = K::Tx;
    type Rx = K::Rx;
    fn open(depth: usize, start: u64) -> (Self::Tx, Self::Rx) {
        let (tx, rx) = open::<K, 1>(depth, start, [&[]]);
        let [rx] = rx;
        (tx, rx)
    }
}

/// A ring with a reader for each list of those that it follows.
pub(crate) fn open<K: Kind, const N: usize>(
    depth: usize,
    start: u64,
    after: [&[usize]; N],
) -> (K::Tx, [K::Rx; N]) {
    let mut graph = Graph::new(depth).starting_at(Sequence(start));
    let mut ids: Vec<ReaderId> = Vec::new();
    for after in after {
        let after: Vec<ReaderId> = after.iter().map(|at| ids[*at]).collect();
        ids.push(graph.reader_after(&after));
    }
    let (tx, readers) = K::make(&graph);
    (tx, readers.try_into().ok().expect("as many as were added"))
}

pub(crate) const DIAMOND: [&[usize]; 3] = [&[], &[], &[0, 1]];

pub(crate) fn fill(tx: &mut impl Tx) -> u64 {
    let mut count = 0;
    while tx.offer(count).is_ok() {
        count += 1;
    }
    count
}

/// Every reader of every shape sees everything in order, from threads of their own.
pub(crate) fn each_sees_all_in_order<K: Kind>(items: u64) {
    let shapes: [&[&[usize]]; 4] = [
        &[&[], &[]],
        &[&[], &[], &[0, 1]],
        &[&[], &[0], &[1]],
        &[&[], &[0], &[0, 1], &[]],
    ];
    for (at, shape) in shapes.iter().enumerate() {
        let start = 0u64.wrapping_sub(items / 2);
        let mut graph = Graph::new(16).starting_at(Sequence(start));
        let mut ids: Vec<ReaderId> = Vec::new();
        for after in *shape {
            let after: Vec<ReaderId> = after.iter().map(|at| ids[*at]).collect();
            ids.push(graph.reader_after(&after));
        }
        let (mut tx, readers) = K::make(&graph);
        // How far each has come, told before its head is: nobody may be ahead of what it follows.
        let told: Arc<Vec<AtomicU64>> = Arc::new(shape.iter().map(|_| AtomicU64::new(0)).collect());
        let threads: Vec<_> = readers
            .into_iter()
            .enumerate()
            .map(|(me, mut rx)| {
                let (told, after) = (Arc::clone(&told), shape[me].to_vec());
                thread::spawn(move || {
                    let (mut hash, mut count) = (0, 0);
                    while !rx.is_finished() {
                        let Some(item) = rx.peek() else {
                            thread::yield_now();
                            continue;
                        };
                        for before in &after {
                            let passed = told[*before].load(Ordering::Relaxed);
                            assert!(
                                passed > count,
                                "{me} sees {count}, {before} passed {passed}"
                            );
                        }
                        hash = mix(hash, item);
                        count += 1;
                        told[me].store(count, Ordering::Relaxed);
                        assert!(rx.advance());
                    }
                    (hash, count)
                })
            })
            .collect();
        let (mut hash, mut next, mut prng) = (0, 0, Prng::new(at as u64));
        while next < items {
            let count = (1 + prng.below(8)).min(items - next);
            let batch: Vec<u64> = (next..next + count).collect();
            while !tx.has_room(batch.len()) {
                thread::yield_now();
            }
            tx.offer_batch(&batch).expect("has_room was true");
            hash = batch.iter().fold(hash, |hash, &item| mix(hash, item));
            next += count;
        }
        tx.close(Cause::Finished);
        for thread in threads {
            assert_eq!(thread.join().unwrap(), (hash, items), "shape {at}");
        }
    }
}

/// A follower sees exactly what all that it follows have passed.
pub(crate) fn nobody_passes_a_barrier<K: Kind>() {
    let (mut tx, [mut a, mut b, mut join]) = open::<K, 3>(8, u64::MAX - 2, DIAMOND);
    assert_eq!(fill(&mut tx), 8);
    assert_eq!((join.peek(), join.ready_ahead(8)), (None, 0));
    for _ in 0..5 {
        a.take();
    }
    assert_eq!(join.peek(), None, "b has passed nothing");
    b.take();
    assert_eq!((join.peek(), join.ready_ahead(8)), (Some(0), 1));
    b.take();
    b.take();
    assert_eq!(join.ready_ahead(8), 3);
    assert_eq!(
        (join.take(), join.take(), join.take()),
        (Some(0), Some(1), Some(2))
    );
    assert_eq!(join.take(), None);
    tx.close(Cause::Finished);
    assert!(!join.is_finished(), "there are five more");
    while b.take().is_some() {}
    assert_eq!(join.ready_ahead(8), 2);
    while a.take().is_some() {}
    for item in 3..8 {
        assert_eq!(join.take(), Some(item));
    }
    assert!(a.is_finished() && b.is_finished() && join.is_finished());
}

/// The producer is held back by the slowest of the last readers, to the slot, and it can be named.
pub(crate) fn the_slowest_holds_back_exactly<K: Kind>() {
    let (mut tx, [mut a, mut b]) = open::<K, 2>(8, u64::MAX - 5, [&[], &[]]);
    assert_eq!(fill(&mut tx), 8);
    for _ in 0..8 {
        a.take();
    }
    assert_eq!(a.take(), None);
    assert_eq!((tx.credits(), K::slowest(&tx)), (0, Some(1)));
    for taken in 1..=8 {
        assert!(b.take().is_some());
        assert_eq!(
            tx.credits(),
            taken,
            "a depth of 8 gives back every credit at once"
        );
    }
    assert_eq!(fill(&mut tx), 8);

    // In a diamond the join holds back, or whom it waits for.
    let (mut tx, [mut a, mut b, mut join]) = open::<K, 3>(8, 7, DIAMOND);
    fill(&mut tx);
    assert_eq!(K::slowest(&tx), Some(0));
    for _ in 0..8 {
        a.take();
    }
    assert_eq!(K::slowest(&tx), Some(1));
    for _ in 0..8 {
        b.take();
    }
    assert_eq!(K::slowest(&tx), Some(2));
    assert!(!tx.has_room(1), "the join has passed nothing");
    join.take();
    assert!(tx.has_room(1) && !tx.has_room(2));
}

/// A reader that goes in mid-lap holds nobody up any more, and its cause can be read.
pub(crate) fn one_that_goes_lets_the_others_on<K: Kind>() {
    // A last reader: the ones that it followed hold back now.
    let (mut tx, [mut a, mut b, mut join]) = open::<K, 3>(4, u64::MAX, DIAMOND);
    fill(&mut tx);
    (0..3).for_each(|_| assert!(a.take().is_some()));
    (0..2).for_each(|_| assert!(b.take().is_some()));
    join.take();
    assert_eq!(tx.credits(), 1);
    drop(join);
    assert_eq!(tx.credits(), 2, "b has passed two");
    assert_eq!(K::slowest(&tx), Some(1));
    assert_eq!(tx.offer(9), Ok(()));
    b.close(Cause::Failed);
    assert_eq!((b.peek(), b.ready_ahead(4), b.advance()), (None, 0, false));
    assert_eq!(tx.credits(), 2, "a has passed three");
    assert_eq!((a.take(), a.take(), a.take()), (Some(3), Some(9), None));
    assert_eq!(tx.consumer_closed(), None);
    a.close(Cause::Aborted);
    assert_eq!(tx.consumer_closed(), Some(Cause::Aborted));
    assert_eq!(tx.offer(1), Err(ClaimError::Closed(Cause::Aborted)));
    tx.close(Cause::Finished);
    assert!(a.is_finished() && b.is_finished());

    // One in the middle: who followed it follows those before it, and in the end the producer.
    let (mut tx, [mut a, mut b, mut c]) = open::<K, 3>(4, 3, [&[], &[0], &[1]]);
    fill(&mut tx);
    a.take();
    a.take();
    assert_eq!(c.peek(), None);
    assert_eq!(b.take(), Some(0));
    assert_eq!(c.ready_ahead(4), 1);
    drop(b);
    assert_eq!(c.ready_ahead(4), 2, "as far as a is");
    assert_eq!((c.take(), c.take(), c.take()), (Some(0), Some(1), None));
    drop(a);
    assert_eq!(c.ready_ahead(4), 2, "whatever is published");
    assert_eq!((c.take(), c.take(), c.take()), (Some(2), Some(3), None));
    assert_eq!(fill(&mut tx), 4);
    assert_eq!(c.ready_ahead(4), 4);
    tx.close(Cause::Finished);
    while c.take().is_some() {}
    assert!(c.is_finished());
}

/// A panic of one reader in its hand-over releases the others; one of the producer publishes nothing.
pub(crate) fn panics_release_the_others<K: Kind>() {
    let (mut tx, [mut a, mut b]) = open::<K, 2>(4, 0, [&[], &[]]);
    tx.offer(1).unwrap();
    assert!(thread::spawn(move || a.panic_in_peek()).join().is_err());
    assert_eq!(b.take(), Some(1));
    assert_eq!(fill(&mut tx), 4);
    while b.take().is_some() {}
    assert!(catch_unwind(AssertUnwindSafe(|| tx.panic_in_claim(&[8, 9]))).is_err());
    assert_eq!((b.peek(), tx.credits()), (None, 4));
    tx.offer(5).unwrap();
    assert_eq!(b.take(), Some(5));
    assert!(
        thread::spawn(move || tx.panic_in_claim(&[1]))
            .join()
            .is_err()
    );
    assert!(b.is_finished());
}

/// Readers that come and go while the producer runs: it is never held for ever, and who stays sees all.
pub(crate) fn readers_may_go_at_any_time<K: Kind>(rounds: u64) {
    for round in 0..rounds {
        let (mut tx, [mut a, mut b, mut join]) = open::<K, 3>(4, round, DIAMOND);
        let leave = thread::spawn(move || {
            for _ in 0..round % 7 {
                let _ = a.take();
            }
        });
        let leave_too = thread::spawn(move || {
            for _ in 0..round % 5 {
                let _ = b.take();
            }
        });
        let stays = thread::spawn(move || {
            let mut seen = 0;
            while !join.is_finished() {
                match join.take() {
                    Some(item) => {
                        assert_eq!(item, seen);
                        seen += 1;
                    }
                    None => thread::yield_now(),
                }
            }
            seen
        });
        for item in 0..50 {
            while tx.offer(item).is_err() {
                thread::yield_now();
            }
        }
        tx.close(Cause::Finished);
        assert_eq!(stays.join().unwrap(), 50);
        leave.join().unwrap();
        leave_too.join().unwrap();
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Offer,
    Take(usize),
    Go(usize),
}

pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        20 => Just(Step::Offer),
        30 => (0usize..3).prop_map(Step::Take),
        1 => (0usize..3).prop_map(Step::Go),
    ];
    proptest::collection::vec(step, 1..200)
}

/// A diamond does, step by step, what three counts do.
pub(crate) fn agrees_with_three_counts<K: Kind>(
    depth: usize,
    steps: &[Step],
) -> Result<(), TestCaseError> {
    let (mut tx, readers) = open::<K, 3>(depth, u64::MAX - 20, DIAMOND);
    let mut readers = readers.map(Some);
    let (mut pushed, mut at) = (0u64, [0u64; 3]);
    for step in steps {
        let open = [0, 1, 2].map(|reader: usize| readers[reader].is_some());
        match *step {
            Step::Offer => {
                // Exact, whatever is published lazily: each look that finds nothing gives all back.
                for reader in readers.iter_mut().flatten() {
                    reader.return_credits();
                }
                let behind = match open {
                    [_, _, true] => pushed - at[2],
                    _ => (0..2)
                        .filter(|r| open[*r])
                        .map(|r| pushed - at[r])
                        .max()
                        .unwrap_or(0),
                };
                let expected = match open {
                    [false, false, false] => Err(ClaimError::Closed(Cause::Dropped)),
                    _ if behind == depth as u64 => Err(ClaimError::Full),
                    _ => Ok(()),
                };
                prop_assert_eq!(tx.offer(pushed), expected);
                pushed += u64::from(expected.is_ok());
            }
            Step::Take(reader) => {
                let Some(rx) = &mut readers[reader] else {
                    continue;
                };
                let limit = match reader {
                    2 => (0..2)
                        .filter(|r| open[*r])
                        .map(|r| at[r])
                        .min()
                        .unwrap_or(pushed),
                    _ => pushed,
                };
                let expected = (at[reader] < limit).then_some(at[reader]);
                prop_assert_eq!(rx.ready_ahead(usize::MAX) as u64, limit - at[reader]);
                prop_assert_eq!(rx.take(), expected);
                at[reader] += u64::from(expected.is_some());
            }
            Step::Go(reader) => readers[reader] = None,
        }
    }
    Ok(())
}
