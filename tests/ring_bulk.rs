//! Conformance of the bulk mode, and what only values can show: drops, panics in mid-write, runs over the end.

#![cfg(not(any(loom, shuttle)))]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use hopline::base::primitive::{AtomicU64, Ordering};
use hopline::base::{Cause, Sequence};
use hopline::ring::{ClaimError, PushError, bulk};

#[allow(dead_code, reason = "the suite also serves rings of frames")]
#[path = "conformance/ring.rs"]
mod conformance;

use conformance::{Ring, Rx, Tx, conforms, forward};

struct Bulk;

impl Ring for Bulk {
    type Tx = bulk::Producer<u64>;
    type Rx = bulk::Consumer<u64>;
    fn open(depth: usize, start: u64) -> (Self::Tx, Self::Rx) {
        bulk::ring_at(depth, Sequence(start)).unwrap()
    }
}

impl Tx for bulk::Producer<u64> {
    fn offer(&mut self, item: u64) -> Result<(), ClaimError> {
        self.push(item).map_err(|refused| {
            assert_eq!(refused.into_inner(), item);
            refused.reason()
        })
    }
    fn offer_batch(&mut self, items: &[u64]) -> Result<(), ClaimError> {
        match self.push_batch(items.iter().copied()) {
            Ok(count) => {
                assert_eq!(count, items.len());
                Ok(())
            }
            Err(refused) => {
                let reason = refused.reason();
                assert_eq!(refused.into_inner().len(), items.len());
                Err(reason)
            }
        }
    }
    fn abort(&mut self, item: u64) -> Result<(), ClaimError> {
        let mut filled = self.claim()?.write(item);
        assert_eq!(*filled.value_mut(), item);
        Ok(())
    }
    fn panic_in_claim(&mut self, items: &[u64]) {
        let _ = self.push_batch((0..items.len() + 1).map(|at| match items.get(at) {
            Some(&item) => item,
            None => panic!("planted"),
        }));
    }
    forward!(tx);
}

impl Rx for bulk::Consumer<u64> {
    fn peek(&mut self) -> Option<u64> {
        self.peek().copied()
    }
    fn panic_in_peek(&mut self) {
        let item = self.peek().expect("an item");
        panic!("planted, at {item}");
    }
    forward!(rx);
}

conforms! {
    bulk_values: Bulk;
}

/// Counts its drops.
struct Counted(Arc<AtomicU64>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A ring of counted values that wraps past 2^64, and their count.
fn counted(depth: usize) -> (bulk::Pair<Counted>, Arc<AtomicU64>) {
    let ring = bulk::ring_at(depth, Sequence(u64::MAX - 1)).unwrap();
    (ring, Arc::new(AtomicU64::new(0)))
}

#[test]
fn values_left_in_the_ring_are_dropped_once_with_its_last_handle() {
    for producer_first in [true, false] {
        let ((mut tx, mut rx), drops) = counted(8);
        let item = || Counted(Arc::clone(&drops));
        let dropped = || drops.load(Ordering::Relaxed);
        tx.push_batch((0..6).map(|_| item())).unwrap();
        drop(rx.pop());
        assert!(rx.advance());
        assert!(rx.peek().is_some());
        assert_eq!(dropped(), 2);
        if producer_first {
            drop(tx);
            assert_eq!(dropped(), 2);
            drop(rx);
            assert_eq!(dropped(), 6);
        } else {
            drop(rx);
            assert_eq!(dropped(), 2);
            let refused = tx.push(item()).unwrap_err();
            assert!(matches!(refused, PushError::Closed(_, Cause::Dropped)));
            drop(refused);
            assert_eq!(dropped(), 3);
            drop(tx);
            assert_eq!(dropped(), 7);
        }
    }
}

#[test]
fn a_full_ring_drops_each_of_its_values_once() {
    let ((mut tx, rx), drops) = counted(4);
    tx.push_batch((0..4).map(|_| Counted(Arc::clone(&drops))))
        .unwrap();
    assert!(!tx.has_room(1));
    drop((tx, rx));
    assert_eq!(drops.load(Ordering::Relaxed), 4);
}

#[test]
fn an_aborted_value_is_dropped_and_a_forgotten_claim_stalls_nothing() {
    let ((mut tx, mut rx), drops) = counted(2);
    let item = || Counted(Arc::clone(&drops));
    drop(tx.claim().unwrap().write(item()));
    assert_eq!(drops.load(Ordering::Relaxed), 1);
    std::mem::forget(tx.claim().unwrap().write(item())); // leaks its value, nothing else
    assert!(rx.pop().is_none());
    tx.claim().unwrap().write(item()).commit();
    drop(rx.pop().unwrap());
    assert_eq!(drops.load(Ordering::Relaxed), 2);
    assert_eq!(tx.credits(), 2);
}

#[test]
fn a_batch_whose_iterator_panics_drops_what_it_had_given() {
    // The batch of three lies in both runs: the ring begins one slot before the end of its memory.
    let mut panicking = 0;
    for planted in 0..3u32 {
        let (mut tx, mut rx) = bulk::ring_at(4, Sequence(3)).unwrap();
        let drops = Arc::new(AtomicU64::new(0));
        let caught = catch_unwind(AssertUnwindSafe(|| {
            let values = (0..3u32).map(|at| {
                assert!(at < planted, "planted");
                Counted(Arc::clone(&drops))
            });
            tx.push_batch(values).is_ok()
        }));
        panicking += u64::from(caught.is_err());
        assert_eq!(drops.load(Ordering::Relaxed), u64::from(planted));
        assert!(rx.pop().is_none());
        assert!(tx.has_room(4));
    }
    assert_eq!(panicking, 3);
}

#[test]
fn a_batch_follows_its_iterator_not_the_stated_length() {
    /// States `said` and gives `given`.
    struct Liar {
        said: usize,
        given: usize,
    }
    impl Iterator for Liar {
        type Item = usize;
        fn next(&mut self) -> Option<usize> {
            self.given = self.given.checked_sub(1)?;
            Some(self.given)
        }
        fn size_hint(&self) -> (usize, Option<usize>) {
            (self.said, Some(self.said))
        }
    }
    impl ExactSizeIterator for Liar {}

    for start in 0..4 {
        let (mut tx, mut rx) = bulk::ring_at::<usize>(4, Sequence(start)).unwrap();
        assert_eq!(tx.push_batch(Liar { said: 3, given: 1 }).unwrap(), 1);
        assert_eq!(tx.push_batch(Liar { said: 2, given: 9 }).unwrap(), 2);
        let mut seen = Vec::new();
        assert_eq!(rx.drain(9, |value| seen.push(value)), 3);
        assert_eq!(seen, [0, 8, 7], "from {start}");
    }
}

#[test]
fn a_drain_takes_what_is_there_over_the_end_and_no_more_than_asked() {
    let (mut tx, mut rx) = bulk::ring_at(4, Sequence(u64::MAX - 1)).unwrap();
    tx.push_batch(0..2).unwrap();
    assert_eq!(rx.peek(), Some(&0)); // the tail is known up to here
    tx.push_batch(2..4).unwrap();
    let mut seen = Vec::new();
    assert_eq!(rx.drain(3, |value| seen.push(value)), 3);
    assert_eq!(rx.drain(0, |value| seen.push(value)), 0);
    assert_eq!(rx.drain(usize::MAX, |value| seen.push(value)), 1);
    assert_eq!(seen, [0, 1, 2, 3]);
    assert_eq!(tx.credits(), 4);
}

#[test]
fn a_drain_that_panics_has_consumed_the_value_in_hand() {
    let ((mut tx, mut rx), drops) = counted(4);
    tx.push_batch((0..3).map(|_| Counted(Arc::clone(&drops))))
        .unwrap();
    let caught = catch_unwind(AssertUnwindSafe(|| rx.drain(3, |_value| panic!("planted"))));
    assert!(caught.is_err());
    assert_eq!(drops.load(Ordering::Relaxed), 1);
    assert_eq!(rx.ready_ahead(4), 2);
    drop((tx, rx));
    assert_eq!(drops.load(Ordering::Relaxed), 3);
}

#[test]
fn values_without_size_or_with_wide_alignment_work() {
    #[repr(align(128))]
    struct Wide(u8);
    let (mut tx, mut rx) = bulk::ring::<()>(2).unwrap();
    tx.push_batch([(), ()]).unwrap();
    assert_eq!((rx.pop(), rx.drain(2, drop)), (Some(()), 1));
    let (mut tx, mut rx) = bulk::ring::<Wide>(2).unwrap();
    tx.push(Wide(7)).unwrap();
    let wide = rx.peek().unwrap();
    assert_eq!((&raw const *wide as usize % 128, wide.0), (0, 7));
}

#[test]
fn a_depth_that_is_no_power_of_two_is_refused() {
    assert!(bulk::ring::<u8>(3).is_err());
}

#[test]
fn a_drain_without_a_limit_ends_beside_a_producer_that_is_as_quick() {
    let (mut tx, mut rx) = bulk::ring(8).unwrap();
    tx.push_batch(0..4).unwrap();
    let mut given = 0;
    let taken = rx.drain(usize::MAX, |_| {
        given += 1;
        assert!(given <= 8, "more than there are slots");
        tx.push(given).unwrap();
    });
    assert_eq!((taken, rx.ready_ahead(8)), (8, 4));
}
