//! Conformance of the multicast ring: with one reader as a ring of two ends, and with several.

#![cfg(not(any(loom, shuttle)))]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use hopline::base::limits::READERS_MAX;
use hopline::base::primitive::{AtomicU64, Ordering};
use hopline::base::{Cause, Envelope, Sequence};
use hopline::ring::multicast::{
    FrameProducer, FrameReader, Graph, GraphError, Producer, Reader, ReaderId,
};
use hopline::ring::{Apart, ClaimError, DepthError, Layout, Lined, Packed, PushError};

#[path = "conformance/ring.rs"]
mod conformance;
#[path = "conformance/multicast.rs"]
mod several;

use conformance::{Rx, Tx, conforms, forward, read, write};
use several::{Kind, One, open};

impl<L: Layout> Tx for Producer<u64, L> {
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
            Err(refused) => Err(refused.reason()),
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
    forward!(tx, readers_closed);
}

impl<L: Layout> Rx for Reader<u64, L> {
    fn peek(&mut self) -> Option<u64> {
        self.peek().copied()
    }
    fn panic_in_peek(&mut self) {
        let item = self.peek().expect("an item");
        panic!("planted, at {item}");
    }
    const READS_ON: bool = false;
    forward!(rx);
}

impl Tx for FrameProducer {
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
    forward!(tx, readers_closed);
}

impl Rx for FrameReader {
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
    const READS_ON: bool = false;
    forward!(rx);
}

struct Values<L>(L);

impl<L: Layout> Kind for Values<L> {
    type Tx = Producer<u64, L>;
    type Rx = Reader<u64, L>;
    fn make(graph: &Graph) -> (Self::Tx, Vec<Self::Rx>) {
        graph.values_as().unwrap()
    }
    fn slowest(tx: &Self::Tx) -> Option<usize> {
        tx.slowest_reader().map(ReaderId::place)
    }
}

struct Frames;

impl Kind for Frames {
    type Tx = FrameProducer;
    type Rx = FrameReader;
    fn make(graph: &Graph) -> (Self::Tx, Vec<Self::Rx>) {
        graph.frames().unwrap()
    }
    fn slowest(tx: &Self::Tx) -> Option<usize> {
        tx.slowest_reader()
    }
}

/// One reader: the suite of the rings with two ends.
mod alone {
    use super::*;

    conforms! {
        packed: One<Values<Packed>>;
        lined: One<Values<Lined>>;
        apart: One<Values<Apart>>;
        frames: One<Frames>;
    }
}

/// Several readers.
macro_rules! serves {
    ($($ring:ident: $kind:ty;)+) => {$(
        mod $ring {
            use super::*;
            use proptest::prelude::*;
            use several::*;

            #[test]
            fn order() {
                each_sees_all_in_order::<$kind>(10_000);
            }

            #[test]
            fn credits() {
                the_slowest_holds_back_exactly::<$kind>();
            }

            #[test]
            fn barriers() {
                nobody_passes_a_barrier::<$kind>();
            }

            #[test]
            fn close() {
                one_that_goes_lets_the_others_on::<$kind>();
                readers_may_go_at_any_time::<$kind>(300);
            }

            #[test]
            fn panics() {
                panics_release_the_others::<$kind>();
            }

            proptest! {
                #![proptest_config(ProptestConfig {
                    cases: 64,
                    failure_persistence: None,
                    ..ProptestConfig::default()
                })]
                #[test]
                fn model_of_a_diamond(power in 1u32..5, steps in steps()) {
                    agrees_with_three_counts::<$kind>(1 << power, &steps)?;
                }
            }
        }
    )+};
}

serves! {
    packed: Values<Packed>;
    lined: Values<Lined>;
    frames: Frames;
}

// What only values and graphs can show.

/// Counts its drops.
struct Counted(Arc<AtomicU64>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

type Pair = (Producer<Counted>, [Reader<Counted>; 2]);

fn counted(depth: usize) -> (Pair, Arc<AtomicU64>) {
    let mut graph = Graph::new(depth).starting_at(Sequence(u64::MAX - 1));
    let first = graph.reader();
    graph.reader_after(&[first]);
    let (tx, readers) = graph.values().unwrap();
    let readers = readers.try_into().expect("two");
    ((tx, readers), Arc::new(AtomicU64::new(0)))
}

#[test]
fn a_value_is_dropped_when_it_is_overwritten_or_with_the_ring() {
    let ((mut tx, [mut a, mut b]), drops) = counted(4);
    let item = || Counted(Arc::clone(&drops));
    let dropped = || drops.load(Ordering::Relaxed);
    tx.push_batch([item(), item(), item()]).unwrap();
    assert_eq!((a.drain(9, |_| ()), b.drain(9, |_| ())), (3, 3));
    assert_eq!(dropped(), 0, "read, and still in their slots");
    tx.push(item()).unwrap();
    assert_eq!(dropped(), 0, "that slot held nothing");
    tx.push_batch([item(), item()]).unwrap();
    assert_eq!(dropped(), 2);
    let refused = tx.push_batch([item(), item()]).unwrap_err();
    assert!(matches!(refused, PushError::Full(_)));
    drop(refused);
    assert_eq!(dropped(), 4, "only what was refused");
    drop(a);
    drop(tx);
    assert_eq!(dropped(), 4);
    drop(b);
    assert_eq!(dropped(), 8, "the four in their slots");
}

#[test]
fn an_aborted_value_is_dropped_and_its_slot_holds_nothing() {
    let ((mut tx, [mut a, mut b]), drops) = counted(2);
    let item = || Counted(Arc::clone(&drops));
    let dropped = || drops.load(Ordering::Relaxed);
    tx.push_batch([item(), item()]).unwrap();
    while a.advance() {}
    while b.advance() {}
    drop(tx.claim().unwrap());
    assert_eq!(
        dropped(),
        0,
        "nothing was written, so nothing was overwritten"
    );
    drop(tx.claim().unwrap().write(item()));
    assert_eq!(dropped(), 2, "the one of a lap ago, and the aborted one");
    std::mem::forget(tx.claim().unwrap().write(item())); // leaks its value, nothing else
    assert_eq!((dropped(), a.peek().is_none()), (2, true));
    tx.claim().unwrap().write(item()).commit();
    assert_eq!(dropped(), 2);
    drop((tx, a, b));
    assert_eq!(dropped(), 4, "one a slot");
}

#[test]
fn a_batch_whose_iterator_panics_drops_what_it_had_given() {
    let ((mut tx, [mut a, mut b]), drops) = counted(4);
    let item = || Counted(Arc::clone(&drops));
    tx.push_batch([item(), item(), item(), item()]).unwrap();
    while a.advance() {}
    while b.advance() {}
    let caught = catch_unwind(AssertUnwindSafe(|| {
        let values = (0..3).map(|at| {
            assert!(at < 2, "planted");
            item()
        });
        tx.push_batch(values).is_ok()
    }));
    assert!(caught.is_err());
    assert_eq!(
        drops.load(Ordering::Relaxed),
        4,
        "two overwritten, two given"
    );
    assert!(a.peek().is_none() && tx.has_room(4));
    drop((tx, a, b));
    assert_eq!(drops.load(Ordering::Relaxed), 6);
}

#[test]
fn a_value_whose_drop_panics_is_dropped_once() {
    struct Grim(Arc<AtomicU64>, bool);
    impl Drop for Grim {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
            assert!(!self.1, "planted");
        }
    }
    let drops = Arc::new(AtomicU64::new(0));
    let item = |grim| Grim(Arc::clone(&drops), grim);
    let mut graph = Graph::new(2);
    graph.reader();
    let (mut tx, mut readers) = graph.values::<Grim>().unwrap();
    tx.push_batch([item(true), item(false)]).ok().unwrap();
    while readers[0].advance() {}
    let caught = catch_unwind(AssertUnwindSafe(|| tx.push(item(false)).is_ok()));
    assert!(caught.is_err());
    assert_eq!(
        drops.load(Ordering::Relaxed),
        2,
        "the old one, and the one in hand"
    );
    assert!(tx.push(item(false)).is_ok());
    drop((tx, readers));
    assert_eq!(drops.load(Ordering::Relaxed), 4);
}

#[test]
fn a_drain_that_panics_has_not_read_the_value_in_hand() {
    let ((mut tx, [mut a, _b]), drops) = counted(4);
    tx.push_batch((0..3).map(|_| Counted(Arc::clone(&drops))))
        .unwrap();
    let caught = catch_unwind(AssertUnwindSafe(|| a.drain(3, |_| panic!("planted"))));
    assert!(caught.is_err());
    assert_eq!((a.ready_ahead(4), drops.load(Ordering::Relaxed)), (3, 0));
}

#[test]
fn frames_kept_unseen_are_seen_together() {
    let (mut tx, [mut a, mut b]) = open::<Frames, 2>(8, u64::MAX, [&[], &[0]]);
    tx.offer_batch(&[1, 2, 3]).unwrap();
    assert!(a.advance_unseen() && a.advance_unseen());
    assert_eq!(Rx::peek(&mut b), None);
    assert!(a.advance());
    assert_eq!(b.ready_ahead(8), 3);
    tx.offer(4).unwrap();
    assert!(a.advance_unseen() && !a.advance_unseen());
    assert_eq!(b.ready_ahead(8), 4, "a look that finds nothing tells all");
}

#[test]
fn a_graph_says_what_is_wrong_with_it() {
    assert_eq!(Graph::new(8).frames().unwrap_err(), GraphError::NoReader);
    let mut graph = Graph::new(3);
    let first = graph.reader();
    let nearest = DepthError {
        given: 3,
        nearest: 4,
    };
    assert_eq!(
        graph.values::<u8>().unwrap_err(),
        GraphError::Depth(nearest)
    );
    let mut other = Graph::new(8);
    other.reader_after(&[first]);
    let itself = GraphError::Order {
        reader: 0,
        after: 0,
    };
    assert_eq!(other.values::<u8>().unwrap_err(), itself);
    let mut many = Graph::new(8);
    let last = (0..READERS_MAX).map(|_| many.reader()).last();
    let (mut tx, mut readers) = many.values::<u8>().unwrap();
    assert_eq!(last.map(ReaderId::place), Some(READERS_MAX - 1));
    while tx.push(1).is_ok() {}
    assert!(
        readers
            .iter_mut()
            .all(|reader| reader.drain(9, |_| ()) == 8)
    );
    assert_eq!(tx.credits(), 8);
    many.reader();
    let given = READERS_MAX + 1;
    assert_eq!(
        many.values::<u8>().unwrap_err(),
        GraphError::Readers { given }
    );
}

#[test]
fn a_reader_that_follows_through_another_needs_to_look_at_that_one_only() {
    // The third follows both, but the second is never ahead of the first: it is seen all the same.
    let (mut tx, [mut a, mut b, mut c]) = open::<Frames, 3>(4, 0, [&[], &[0], &[0, 1]]);
    tx.offer(1).unwrap();
    a.advance();
    assert!(Rx::peek(&mut c).is_none());
    b.close(Cause::Failed);
    assert!(Rx::peek(&mut c).is_some(), "a has passed it");
}

#[test]
fn a_drain_without_a_limit_ends_beside_a_producer_that_is_as_quick() {
    let mut graph = Graph::new(8);
    graph.reader();
    let (mut tx, mut readers) = graph.values().unwrap();
    let rx = &mut readers[0];
    tx.push_batch(0..4).unwrap();
    let mut given = 0;
    let taken = rx.drain(usize::MAX, |_| {
        given += 1;
        assert!(given <= 8, "more than there are slots");
        tx.push(given).unwrap();
    });
    assert_eq!((taken, rx.ready_ahead(8)), (8, 4));
}
