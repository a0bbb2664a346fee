//! What a ring with many producers owes beyond the suite for one: written against small traits, too.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Barrier;
use std::thread;

use hopline::base::{Cause, Prng, Sequence};
use hopline::ring::ClaimError;
use hopline::ring::mpsc::{OpenClaim, ProducerId};

use super::conformance::{Ring, Rx, Tx};

/// What the suite asks of one of several writing handles.
pub(crate) trait ManyTx: Tx + Clone {
    /// Pushes what `make` gives, with the claim in hand.
    fn offer_with(&mut self, make: impl FnOnce() -> u64) -> Result<(), ClaimError>;
    fn id(&self) -> ProducerId;
}

/// What the suite asks of their reading handle.
pub(crate) trait ManyRx: Rx {
    fn aborted(&self) -> u64;
    fn open_claim(&mut self) -> Option<OpenClaim>;
    fn claimed(&self) -> u64;
}

/// A panic without words, so that the log has none either.
pub(crate) fn quiet_panic() -> ! {
    resume_unwind(Box::new(()))
}

/// An item that says whose it is and whether the batch that it came in goes on behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tagged {
    producer: u64,
    goes_on: bool,
    number: u64,
}

impl Tagged {
    fn pack(self) -> u64 {
        self.producer << 48 | u64::from(self.goes_on) << 47 | self.number
    }
    fn unpack(item: u64) -> Tagged {
        Tagged {
            producer: item >> 48,
            goes_on: item >> 47 & 1 == 1,
            number: item & ((1 << 47) - 1),
        }
    }
}

/// What each producer pushes arrives once, in its order, batches in one piece, whatever the others do.
pub(crate) fn keeps_the_order_of_each<R: Ring<Tx: ManyTx>>(
    producers: u64,
    depth: usize,
    start: u64,
    items: u64,
) {
    let (tx, mut rx) = R::open(depth, start);
    let writers: Vec<_> = (0..producers)
        .map(|producer| {
            let mut tx = tx.clone();
            thread::spawn(move || {
                let mut prng = Prng::new(start ^ producer);
                let mut next = 0;
                while next < items {
                    let count = (1 + prng.below(depth as u64 / 2)).min(items - next);
                    let batch: Vec<u64> = (0..count)
                        .map(|at| Tagged {
                            producer,
                            goes_on: at + 1 < count,
                            number: next + at,
                        })
                        .map(Tagged::pack)
                        .collect();
                    while match batch[..] {
                        [item] => tx.offer(item),
                        _ => tx.offer_batch(&batch),
                    }
                    .is_err()
                    {
                        thread::yield_now();
                    }
                    next += count;
                }
            })
        })
        .collect();
    drop(tx);
    let mut next = vec![0; producers as usize];
    let mut in_batch: Option<u64> = None;
    while !rx.is_finished() {
        let Some(item) = rx.take() else {
            assert_eq!(in_batch, None, "a torn batch");
            thread::yield_now();
            continue;
        };
        let item = Tagged::unpack(item);
        assert!(
            in_batch.is_none_or(|producer| producer == item.producer),
            "another producer's item within a batch"
        );
        let next = &mut next[item.producer as usize];
        assert_eq!(item.number, *next);
        *next += 1;
        in_batch = item.goes_on.then_some(item.producer);
    }
    assert_eq!(next, vec![items; producers as usize]);
    assert_eq!(rx.position().since(Sequence(start)), producers * items);
    for writer in writers {
        writer.join().unwrap();
    }
}

/// However many race for the slots, exactly `depth` items get in, and they are those that were told so.
pub(crate) fn is_full_exactly<R: Ring<Tx: ManyTx>>(threads: u64, depth: usize, rounds: u64) {
    for round in 0..rounds {
        let (tx, mut rx) = R::open(depth, u64::MAX - round);
        let begin = Barrier::new(threads as usize);
        let accepted: Vec<Vec<u64>> = thread::scope(|scope| {
            let writers: Vec<_> = (0..threads)
                .map(|thread| {
                    let (mut tx, begin) = (tx.clone(), &begin);
                    scope.spawn(move || {
                        begin.wait();
                        (0..depth as u64)
                            .map(|number| thread << 32 | number)
                            .filter(|item| tx.offer(*item).is_ok())
                            .collect()
                    })
                })
                .collect();
            writers.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let mut accepted = accepted.concat();
        assert_eq!(accepted.len(), depth);
        let mut seen = Vec::new();
        while let Some(item) = rx.take() {
            seen.push(item);
        }
        accepted.sort_unstable();
        seen.sort_unstable();
        assert_eq!(seen, accepted);
    }
}

/// A closure that panics takes a slot, stalls nobody, and is counted.
pub(crate) fn counts_an_aborted_claim<R: Ring<Tx: ManyTx, Rx: ManyRx>>(start: u64) {
    let (mut one, mut rx) = R::open(4, start);
    let mut other = one.clone();
    let panic_in = |tx: &mut R::Tx| {
        let caught = catch_unwind(AssertUnwindSafe(|| tx.offer_with(|| quiet_panic())));
        assert!(caught.is_err());
    };
    for lap in 1..=6 {
        one.offer(1).unwrap();
        panic_in(&mut one);
        other.offer(2).unwrap();
        panic_in(&mut other);
        assert_eq!(one.offer(3), Err(ClaimError::Full));
        assert_eq!((rx.take(), rx.take(), rx.take()), (Some(1), Some(2), None));
        assert_eq!(rx.aborted(), 2 * lap);
        assert_eq!(one.credits(), 4, "the slots come back");
    }
    // A whole lap of them, and nothing else.
    for _ in 0..4 {
        panic_in(&mut other);
    }
    assert_eq!((rx.take(), rx.aborted()), (None, 16));
    assert_eq!(rx.open_claim(), None);
    assert!(!rx.is_finished());
    panic_in(&mut one);
    drop((one, other));
    assert!(rx.is_finished());
    assert_eq!(rx.aborted(), 17);
}

/// A claim that is open is told, with its holder and with what waits behind it.
pub(crate) fn tells_an_open_claim<R: Ring<Tx: ManyTx, Rx: ManyRx>>(start: u64) {
    let (mut one, mut rx) = R::open(8, start);
    let mut other = one.clone();
    assert_ne!(one.id(), other.id());
    assert_eq!(rx.open_claim(), None);
    one.offer(1).unwrap();
    assert_eq!(
        rx.open_claim(),
        None,
        "an item that is ready is no open claim"
    );
    let (held, behind) = (other.id(), one.id());
    other
        .offer_with(|| {
            one.offer_with(|| {
                assert_eq!(rx.open_claim(), None, "the 1 is still to be taken");
                assert_eq!(rx.take(), Some(1));
                let open = rx.open_claim().unwrap();
                let sequence = Sequence(start).plus(1);
                let expected = OpenClaim {
                    sequence,
                    behind: 1,
                    producer: Some(held),
                };
                assert_eq!(open, expected);
                3
            })
            .unwrap();
            one.offer(4).unwrap();
            assert_eq!((rx.take(), rx.ready_ahead(8)), (None, 0));
            assert_eq!(rx.open_claim().unwrap().behind, 2);
            assert!(!rx.is_finished());
            2
        })
        .unwrap();
    assert_eq!(rx.open_claim(), None);
    assert_eq!(
        (rx.take(), rx.take(), rx.take()),
        (Some(2), Some(3), Some(4))
    );
    one.offer_with(|| {
        assert_eq!(rx.open_claim().unwrap().producer, Some(behind));
        5
    })
    .unwrap();
    assert_eq!(rx.take(), Some(5));
}

/// One that closes leaves; the ring is closed with the last, by the first cause that was given.
pub(crate) fn closes_with_the_last<R: Ring<Tx: ManyTx, Rx: ManyRx>>() {
    let (mut one, mut rx) = R::open(4, 0);
    let (mut two, three) = (one.clone(), one.clone());
    one.offer(1).unwrap();
    one.close(Cause::Failed);
    assert_eq!(one.offer(2), Err(ClaimError::Closed(Cause::Failed)));
    let mut heir = one.clone();
    assert_eq!(heir.offer(2), Err(ClaimError::Closed(Cause::Failed)));
    assert_eq!(rx.producer_closed(), None);
    drop((one, heir, three));
    assert_eq!(rx.producer_closed(), None);
    two.offer(2).unwrap();
    two.close(Cause::Finished);
    assert_eq!(rx.producer_closed(), Some(Cause::Failed));
    assert!(!rx.is_finished());
    assert_eq!((rx.claimed(), rx.take(), rx.take()), (2, Some(1), Some(2)));
    assert_eq!(rx.claimed(), 0);
    assert!(rx.is_finished());

    let (one, rx) = R::open(4, 0);
    drop((one.clone(), one));
    assert_eq!(rx.producer_closed(), Some(Cause::Dropped));

    let (mut one, mut rx) = R::open(4, 0);
    let mut two = one.clone();
    one.offer(7).unwrap();
    rx.close(Cause::Aborted);
    let refusal = Err(ClaimError::Closed(Cause::Aborted));
    assert_eq!((one.offer(8), two.offer(8)), (refusal, refusal));
    assert_eq!(two.position(), Sequence(1), "the seal does not show");
    assert_eq!((rx.claimed(), rx.open_claim()), (1, None));
    assert_eq!(rx.take(), Some(7));
    assert_eq!((rx.claimed(), rx.open_claim(), rx.take()), (0, None, None));
    drop(rx);
    assert_eq!(two.consumer_closed(), Some(Cause::Aborted));
}

/// Producers that are cloned and dropped all the while: nothing is lost, and the end is no earlier
/// than the last push.
pub(crate) fn outlives_its_clones<R: Ring<Tx: ManyTx>>(rounds: u64, generations: u64) {
    for round in 0..rounds {
        let (tx, mut rx) = R::open(2, round.wrapping_sub(3));
        let lines: Vec<_> = [tx.clone(), tx]
            .into_iter()
            .map(|mut tx| {
                thread::spawn(move || {
                    for number in 0..generations {
                        tx = tx.clone(); // the old one is dropped
                        while tx.offer(number) == Err(ClaimError::Full) {
                            thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        let mut count = 0;
        while !rx.is_finished() {
            match rx.take() {
                Some(_) => count += 1,
                None => thread::yield_now(),
            }
        }
        assert_eq!(count, 2 * generations);
        for line in lines {
            line.join().unwrap();
        }
    }
}

/// Whatever races with the consumer's close is either refused or among what it counts.
pub(crate) fn knows_what_it_accepted<R: Ring<Tx: ManyTx, Rx: ManyRx>>(rounds: u64) {
    for round in 0..rounds {
        let (tx, mut rx) = R::open(64, u64::MAX - round);
        let writers: Vec<_> = (0..2)
            .map(|_| {
                let mut tx = tx.clone();
                thread::spawn(move || (0..20).filter(|item| tx.offer(*item).is_ok()).count())
            })
            .collect();
        let mut received = 0;
        for _ in 0..round % 8 {
            received += usize::from(rx.take().is_some());
        }
        rx.close(Cause::Finished);
        while rx.claimed() > 0 {
            match rx.take() {
                Some(_) => received += 1,
                None => thread::yield_now(),
            }
        }
        let accepted: usize = writers.into_iter().map(|one| one.join().unwrap()).sum();
        assert_eq!((received, rx.take()), (accepted, None));
    }
}

/// Numbers are the lowest free ones and come back.
pub(crate) fn numbers_its_producers<R: Ring<Tx: ManyTx>>() {
    let (tx, _rx) = R::open(2, 0);
    let mut clones: Vec<_> = (1..64).map(|_| tx.clone()).collect();
    for (at, clone) in clones.iter().enumerate() {
        assert_eq!(clone.id(), ProducerId(at as u16 + 1));
    }
    let beyond = tx.clone();
    assert_eq!(beyond.id(), ProducerId::OTHER);
    drop(clones.remove(6));
    assert_eq!(tx.clone().id(), ProducerId(7));
    drop(beyond);
    assert_eq!(
        tx.clone().id(),
        ProducerId(7),
        "the shared number is nobody's to free"
    );
}

/// The suite, as a module of tests for each ring.
macro_rules! conforms_with_many {
    ($($ring:ident: $type:ty;)+) => {$(
        mod $ring {
            use super::*;
            use super::producers::*;

            #[test]
            fn order_of_each() {
                keeps_the_order_of_each::<$type>(2, 2, 0, 3_000);
                keeps_the_order_of_each::<$type>(3, 64, u64::MAX - 10_000, 20_000);
                keeps_the_order_of_each::<$type>(4, 16, (1 << 48) - 1_000, 5_000);
            }

            #[test]
            fn full() {
                is_full_exactly::<$type>(3, 2, 100);
                is_full_exactly::<$type>(4, 64, 50);
            }

            #[test]
            fn aborts() {
                for start in [0, u64::MAX - 5, (1 << 48) - 2, (1 << 63) - 2] {
                    counts_an_aborted_claim::<$type>(start);
                }
            }

            #[test]
            fn open_claims() {
                for start in [0, u64::MAX - 1, (1 << 48) - 2, (1 << 63) - 2] {
                    tells_an_open_claim::<$type>(start);
                }
            }

            #[test]
            fn ends() {
                closes_with_the_last::<$type>();
                outlives_its_clones::<$type>(20, 200);
                knows_what_it_accepted::<$type>(300);
            }

            #[test]
            fn numbers() {
                numbers_its_producers::<$type>();
            }
        }
    )+};
}
pub(crate) use conforms_with_many;
