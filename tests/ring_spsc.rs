//! Conformance of the point-to-point rings: one suite, written against small traits, run by each ring.
//!
//! A ring joins by implementing [`Ring`], [`Tx`] and [`Rx`] and adding a line to a `conforms!`. What only
//! values can show (drops, panics in mid-write) follows after the suite.

#![cfg(not(any(loom, shuttle)))]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use hopline::base::primitive::{AtomicU64, Ordering};
use hopline::base::{Cause, Envelope, Sequence};
use hopline::ring::{Apart, ClaimError, Layout, Lined, Packed, PushError, hop, spsc};

#[path = "conformance/ring.rs"]
mod conformance;

use conformance::{Ring, Rx, Tx, conforms, forward, read, write};

struct Values<L>(L);

impl<L: Layout> Ring for Values<L> {
    type Tx = spsc::Producer<u64, L>;
    type Rx = spsc::Consumer<u64, L>;
    fn open(depth: usize, start: u64) -> (Self::Tx, Self::Rx) {
        spsc::ring_at(depth, Sequence(start)).unwrap()
    }
}

impl<L: Layout> Tx for spsc::Producer<u64, L> {
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

impl<L: Layout> Rx for spsc::Consumer<u64, L> {
    fn peek(&mut self) -> Option<u64> {
        self.peek().copied()
    }
    fn panic_in_peek(&mut self) {
        let item = self.peek().expect("an item");
        panic!("planted, at {item}");
    }
    forward!(rx);
}

struct Frames;

impl Ring for Frames {
    type Tx = hop::FrameProducer;
    type Rx = hop::FrameConsumer;
    fn open(depth: usize, start: u64) -> (Self::Tx, Self::Rx) {
        hop::frames_at(depth, Sequence(start)).unwrap()
    }
}

impl Tx for hop::FrameProducer {
    fn offer(&mut self, item: u64) -> Result<(), ClaimError> {
        let mut claim = self.claim()?;
        let mut envelope = Envelope::default();
        write(&mut envelope, claim.payload_mut(), item);
        *claim.envelope_mut() = envelope;
        claim.commit();
        Ok(())
    }
    fn offer_batch(&mut self, items: &[u64]) -> Result<(), ClaimError> {
        let mut batch = self.claim_batch(items.len())?;
        for (at, &item) in items.iter().enumerate() {
            let (envelope, payload) = batch.frame_mut(at);
            write(envelope, payload, item);
        }
        batch.commit(items.len());
        Ok(())
    }
    fn abort(&mut self, item: u64) -> Result<(), ClaimError> {
        let mut claim = self.claim()?;
        claim.envelope_mut().t_offer_ns = item;
        Ok(())
    }
    fn panic_in_claim(&mut self, items: &[u64]) {
        let mut batch = self.claim_batch(items.len() + 1).unwrap();
        for (at, &item) in items.iter().enumerate() {
            let (envelope, payload) = batch.frame_mut(at);
            write(envelope, payload, item);
        }
        panic!("planted");
    }
    forward!(tx);
}

impl Rx for hop::FrameConsumer {
    fn peek(&mut self) -> Option<u64> {
        let position = self.position();
        let frame = self.peek()?;
        assert_eq!(frame.sequence(), position);
        Some(read(frame))
    }
    fn panic_in_peek(&mut self) {
        let frame = self.peek().expect("a frame");
        panic!("planted, at {:?}", frame.sequence());
    }
    forward!(rx);
}

// The suite.

conforms! {
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
fn counted(depth: usize) -> (spsc::Pair<Counted>, Arc<AtomicU64>) {
    let ring = spsc::ring_at(depth, Sequence(u64::MAX - 1)).unwrap();
    (ring, Arc::new(AtomicU64::new(0)))
}

#[test]
fn values_left_in_the_ring_are_dropped_once_with_its_last_handle() {
    for producer_first in [true, false] {
        let ((mut tx, mut rx), drops) = counted(8);
        let item = || Counted(Arc::clone(&drops));
        let dropped = || drops.load(Ordering::Relaxed);
        tx.push_batch([item(), item(), item(), item(), item(), item()])
            .unwrap();
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

/// Deep enough for both laps: what is left lies in the short one, in the long one, or in both.
#[test]
fn values_left_in_either_lap_are_dropped_once() {
    for (singles, taken, batch) in [(3, 1, 0), (0, 0, 40), (3, 1, 40), (10, 10, 40), (20, 0, 44)] {
        let ((mut tx, mut rx), drops) = counted(64);
        let item = || Counted(Arc::clone(&drops));
        for _ in 0..singles {
            tx.push(item()).unwrap();
        }
        assert_eq!(rx.drain(taken, drop), taken);
        assert_eq!(tx.push_batch((0..batch).map(|_| item())).unwrap(), batch);
        assert_eq!(drops.load(Ordering::Relaxed), taken as u64);
        drop((tx, rx));
        assert_eq!(drops.load(Ordering::Relaxed), (singles + batch) as u64);
    }
}

#[test]
fn a_full_ring_drops_each_of_its_values_once() {
    let ((mut tx, mut rx), drops) = counted(4);
    let mut made = 0;
    for _ in 0..3 {
        while tx.has_room(1) {
            tx.push(Counted(Arc::clone(&drops))).unwrap();
            made += 1;
        }
        assert_eq!(rx.drain(3, drop), 3);
    }
    tx.push(Counted(Arc::clone(&drops))).unwrap();
    assert_eq!(drops.load(Ordering::Relaxed), 9);
    drop((rx, tx));
    assert_eq!(drops.load(Ordering::Relaxed), made + 1);
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
    assert_eq!(drops.load(Ordering::Relaxed), 1);
    drop(rx.pop().unwrap());
    assert_eq!(drops.load(Ordering::Relaxed), 2);
    assert_eq!(tx.credits(), 2);
}

#[test]
fn a_batch_whose_iterator_panics_drops_what_it_had_given() {
    let ((mut tx, mut rx), drops) = counted(4);
    let caught = catch_unwind(AssertUnwindSafe(|| {
        let values = (0..3).map(|at| {
            assert!(at < 2, "planted");
            Counted(Arc::clone(&drops))
        });
        tx.push_batch(values).is_ok()
    }));
    assert!(caught.is_err());
    assert_eq!(drops.load(Ordering::Relaxed), 2);
    assert!(rx.pop().is_none());
    assert!(tx.has_room(4));
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

    let (mut tx, mut rx) = spsc::ring::<usize>(4).unwrap();
    assert_eq!(tx.push_batch(Liar { said: 3, given: 1 }).unwrap(), 1);
    assert_eq!(tx.push_batch(Liar { said: 2, given: 9 }).unwrap(), 2);
    assert_eq!(rx.drain(9, drop), 3);
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
    let (mut tx, mut rx) = spsc::ring::<()>(2).unwrap();
    tx.push(()).unwrap();
    assert_eq!((rx.pop(), rx.pop()), (Some(()), None));
    let (mut tx, mut rx) = spsc::ring_lined::<Wide>(2).unwrap();
    tx.push(Wide(7)).unwrap();
    let wide = rx.peek().unwrap();
    assert_eq!((&raw const *wide as usize % 128, wide.0), (0, 7));
}

#[test]
fn a_payload_is_aligned_and_cut_to_its_slot() {
    let (mut tx, mut rx) = hop::frames(2).unwrap();
    let mut claim = tx.claim().unwrap();
    claim.envelope_mut().len = u16::MAX;
    let written = claim.payload_mut().as_ptr();
    assert_eq!(written as usize % 32, 0);
    claim.commit();
    let frame = rx.peek().unwrap();
    assert_eq!(frame.payload().len(), 96);
    assert_eq!(frame.payload().as_ptr(), written);
}

#[test]
#[should_panic(expected = "beyond the claim")]
fn a_frame_beyond_the_batch_is_refused() {
    let (mut tx, _rx) = hop::frames(4).unwrap();
    tx.claim_batch(2).unwrap().frame_mut(2);
}

#[test]
fn a_depth_that_is_no_power_of_two_is_refused() {
    assert!(spsc::ring::<u8>(3).is_err());
    assert!(spsc::ring_lined::<u8>(0).is_err());
    assert!(hop::frames(1).is_err());
}

#[test]
fn a_drain_without_a_limit_ends_beside_a_producer_that_is_as_quick() {
    let (mut tx, mut rx) = spsc::ring(8).unwrap();
    tx.push_batch(0..4).unwrap();
    let mut given = 0;
    let taken = rx.drain(usize::MAX, |_| {
        given += 1;
        assert!(given <= 8, "more than there are slots");
        tx.push(given).unwrap();
    });
    assert_eq!((taken, rx.ready_ahead(8)), (8, 4));
}
