//! Conformance of the rings with many producers: with one of them they pass the suite of the
//! point-to-point rings, with several the parts about several. What only values can show follows.

#![cfg(not(any(loom, shuttle)))]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use hopline::base::primitive::{AtomicU64, Ordering};
use hopline::base::{Cause, Envelope, Sequence};
use hopline::ring::mpsc::{self, OpenClaim, ProducerId};
use hopline::ring::{Apart, ClaimError, Layout, Lined, Packed, PushError};

#[path = "conformance/ring.rs"]
mod conformance;
#[path = "conformance/producers.rs"]
mod producers;

use conformance::{Ring, Rx, Tx, conforms, forward, read, write};
use producers::{ManyRx, ManyTx, conforms_with_many, quiet_panic};

struct Values<L>(L);

impl<L: Layout> Ring for Values<L> {
    type Tx = mpsc::Producer<u64, L>;
    type Rx = mpsc::Consumer<u64, L>;
    const ABORT_TAKES: usize = 1;
    fn open(depth: usize, start: u64) -> (Self::Tx, Self::Rx) {
        mpsc::ring_at(depth, Sequence(start)).unwrap()
    }
}

impl<L: Layout> Tx for mpsc::Producer<u64, L> {
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
    fn abort(&mut self, _item: u64) -> Result<(), ClaimError> {
        let caught = catch_unwind(AssertUnwindSafe(|| self.push_with(|_| quiet_panic())));
        caught.unwrap_or(Ok(()))
    }
    fn panic_in_claim(&mut self, items: &[u64]) {
        let _ = self.push_batch((0..items.len() + 1).map(|at| match items.get(at) {
            Some(&item) => item,
            None => quiet_panic(),
        }));
    }
    forward!(tx);
}

impl<L: Layout> Rx for mpsc::Consumer<u64, L> {
    fn peek(&mut self) -> Option<u64> {
        self.peek().copied()
    }
    fn panic_in_peek(&mut self) {
        let item = self.peek().expect("an item");
        panic!("planted, at {item}");
    }
    forward!(rx);
}

impl<L: Layout> ManyTx for mpsc::Producer<u64, L> {
    fn offer_with(&mut self, make: impl FnOnce() -> u64) -> Result<(), ClaimError> {
        let next = self.position();
        self.push_with(|sequence| {
            assert!(sequence.since(next) < 1 << 32, "a sequence from the past");
            make()
        })
    }
    fn id(&self) -> ProducerId {
        self.id()
    }
}

impl<L: Layout> ManyRx for mpsc::Consumer<u64, L> {
    fn aborted(&self) -> u64 {
        self.aborted()
    }
    fn open_claim(&mut self) -> Option<OpenClaim> {
        self.open_claim()
    }
    fn claimed(&self) -> u64 {
        self.claimed()
    }
}

struct Frames;

impl Ring for Frames {
    type Tx = mpsc::FrameProducer;
    type Rx = mpsc::FrameConsumer;
    const ABORT_TAKES: usize = 1;
    fn open(depth: usize, start: u64) -> (Self::Tx, Self::Rx) {
        mpsc::frames_at(depth, Sequence(start)).unwrap()
    }
}

fn fill(slot: &mut mpsc::FrameSlot<'_>, item: u64) {
    let mut envelope = Envelope::default();
    write(&mut envelope, slot.payload_mut(), item);
    *slot.envelope_mut() = envelope;
}

impl Tx for mpsc::FrameProducer {
    fn offer(&mut self, item: u64) -> Result<(), ClaimError> {
        self.push_with(|slot| fill(slot, item))
    }
    fn offer_batch(&mut self, items: &[u64]) -> Result<(), ClaimError> {
        self.push_batch_with(items.len(), |at, slot| fill(slot, items[at]))
    }
    fn abort(&mut self, item: u64) -> Result<(), ClaimError> {
        let caught = catch_unwind(AssertUnwindSafe(|| {
            self.push_with(|slot| {
                fill(slot, item);
                quiet_panic()
            })
        }));
        caught.unwrap_or(Ok(()))
    }
    fn panic_in_claim(&mut self, items: &[u64]) {
        let _ = self.push_batch_with(items.len() + 1, |at, slot| match items.get(at) {
            Some(&item) => fill(slot, item),
            None => quiet_panic(),
        });
    }
    forward!(tx);
}

impl Rx for mpsc::FrameConsumer {
    fn peek(&mut self) -> Option<u64> {
        let before = self.position();
        let frame = self.peek()?;
        assert!(frame.sequence().since(before) < 1 << 20);
        let (sequence, item) = (frame.sequence(), read(frame));
        assert_eq!(sequence, self.position());
        Some(item)
    }
    fn panic_in_peek(&mut self) {
        let frame = self.peek().expect("a frame");
        panic!("planted, at {:?}", frame.sequence());
    }
    forward!(rx);
}

impl ManyTx for mpsc::FrameProducer {
    fn offer_with(&mut self, make: impl FnOnce() -> u64) -> Result<(), ClaimError> {
        self.push_with(|slot| fill(slot, make()))
    }
    fn id(&self) -> ProducerId {
        self.id()
    }
}

impl ManyRx for mpsc::FrameConsumer {
    fn aborted(&self) -> u64 {
        self.aborted()
    }
    fn open_claim(&mut self) -> Option<OpenClaim> {
        self.open_claim()
    }
    fn claimed(&self) -> u64 {
        self.claimed()
    }
}

conforms! {
    packed_alone: Values<Packed>;
    lined_alone: Values<Lined>;
    frames_alone: Frames;
}

conforms_with_many! {
    packed: Values<Packed>;
    lined: Values<Lined>;
    apart: Values<Apart>;
    frames: Frames;
}

// What only values can show.

/// Counts its drops.
struct Counted(Arc<AtomicU64>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A ring of counted values that wraps past 2^64, and their count.
fn counted(depth: usize) -> (mpsc::Pair<Counted>, Arc<AtomicU64>) {
    let ring = mpsc::ring_at(depth, Sequence(u64::MAX - 1)).unwrap();
    (ring, Arc::new(AtomicU64::new(0)))
}

#[test]
fn values_left_in_the_ring_are_dropped_once_with_its_last_handle() {
    for producers_first in [true, false] {
        let ((mut one, mut rx), drops) = counted(8);
        let mut two = one.clone();
        let item = || Counted(Arc::clone(&drops));
        let dropped = || drops.load(Ordering::Relaxed);
        one.push_batch([item(), item()]).unwrap();
        let caught = catch_unwind(AssertUnwindSafe(|| one.push_with(|_| quiet_panic())));
        assert!(caught.is_err());
        two.push_batch([item(), item()]).unwrap();
        drop(rx.pop());
        assert!(rx.peek().is_some());
        assert_eq!(dropped(), 1);
        if producers_first {
            drop((one, two));
            assert_eq!(dropped(), 1);
            drop(rx);
            assert_eq!(dropped(), 4);
        } else {
            drop(rx);
            let refused = two.push(item()).unwrap_err();
            assert!(matches!(refused, PushError::Closed(_, Cause::Dropped)));
            drop(refused);
            assert_eq!(dropped(), 2);
            drop((one, two));
            assert_eq!(dropped(), 5);
        }
    }
}

#[test]
fn a_batch_whose_iterator_panics_or_ends_early_aborts_what_it_did_not_give() {
    let ((mut tx, mut rx), drops) = counted(8);
    let caught = catch_unwind(AssertUnwindSafe(|| {
        let values = (0..3).map(|at| match at {
            2 => quiet_panic(),
            _ => Counted(Arc::clone(&drops)),
        });
        tx.push_batch(values).is_ok()
    }));
    assert!(caught.is_err());
    assert_eq!(drops.load(Ordering::Relaxed), 2);
    assert!(rx.pop().is_none());
    assert_eq!(rx.aborted(), 3);

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

    let (mut tx, mut rx) = mpsc::ring::<usize>(4).unwrap();
    assert_eq!(tx.push_batch(Liar { said: 3, given: 1 }).unwrap(), 1);
    assert_eq!((rx.drain(9, drop), rx.aborted()), (1, 2));
    assert_eq!(tx.push_batch(Liar { said: 2, given: 9 }).unwrap(), 2);
    assert_eq!((rx.drain(9, drop), rx.aborted()), (2, 2));
}

#[test]
fn every_value_of_many_threads_is_dropped_once() {
    const THREADS: u64 = 3;
    const EACH: u64 = 2_000;
    let ((tx, mut rx), drops) = counted(16);
    let writers: Vec<_> = (0..THREADS)
        .map(|_| {
            let (mut tx, drops) = (tx.clone(), Arc::clone(&drops));
            thread::spawn(move || {
                for _ in 0..EACH {
                    // Refused or accepted: in both cases somebody drops it.
                    if tx.push(Counted(Arc::clone(&drops))).is_err() {
                        thread::yield_now();
                    }
                }
            })
        })
        .collect();
    drop(tx);
    for _ in 0..EACH {
        drop(rx.pop());
    }
    // With values on the ring and on the way.
    drop(rx);
    for writer in writers {
        writer.join().unwrap();
    }
    assert_eq!(drops.load(Ordering::Relaxed), THREADS * EACH);
}

#[test]
fn a_thread_that_dies_with_a_claim_in_hand_stalls_nobody() {
    let (tx, mut rx) = mpsc::ring::<u64>(4).unwrap();
    let mut doomed = tx.clone();
    let dead = thread::spawn(move || doomed.push_with(|_| quiet_panic()));
    assert!(dead.join().is_err());
    let mut tx = tx;
    tx.push(7).unwrap();
    assert_eq!((rx.pop(), rx.aborted()), (Some(7), 1));
    drop(tx);
    assert!(rx.is_finished());
}

#[test]
fn a_depth_that_is_no_power_of_two_is_refused() {
    assert!(mpsc::ring::<u8>(3).is_err());
    assert!(mpsc::ring_lined::<u8>(0).is_err());
    assert!(mpsc::frames(1).is_err());
}

#[test]
fn a_drain_without_a_limit_ends_beside_a_producer_that_is_as_quick() {
    let (mut tx, mut rx) = mpsc::ring(8).unwrap();
    tx.push_batch(0..4).unwrap();
    let mut given = 0;
    let taken = rx.drain(usize::MAX, |_| {
        given += 1;
        assert!(given <= 8, "more than there are slots");
        tx.push(given).unwrap();
    });
    assert_eq!((taken, rx.ready_ahead(8)), (8, 4));
}
