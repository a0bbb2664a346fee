//! The suite that every ring with one consumer passes, written against small traits.
//!
//! A ring with many producers passes it with one of them; what several do is in `producers.rs`.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use hopline::base::{Cause, Envelope, Prng, Sequence};
use hopline::ring::ClaimError;
use hopline::ring::hop::FrameRef;
use proptest::prelude::*;

/// What the suite asks of a writing handle; items are numbers.
pub(crate) trait Tx: Send + 'static {
    fn offer(&mut self, item: u64) -> Result<(), ClaimError>;
    /// All or none, with one publish.
    fn offer_batch(&mut self, items: &[u64]) -> Result<(), ClaimError>;
    /// Claims, writes `item` and drops the claim.
    fn abort(&mut self, item: u64) -> Result<(), ClaimError>;
    /// Claims one slot more than `items`, writes `items`, then panics with the claim in hand.
    fn panic_in_claim(&mut self, items: &[u64]);
    fn has_room(&mut self, count: usize) -> bool;
    fn credits(&mut self) -> usize;
    fn position(&self) -> Sequence;
    fn close(&mut self, cause: Cause);
    fn consumer_closed(&self) -> Option<Cause>;
}

/// What the suite asks of a reading handle.
pub(crate) trait Rx: Send + 'static {
    /// Whether what was published before this side closed can still be taken.
    const READS_ON: bool = true;
    fn peek(&mut self) -> Option<u64>;
    fn advance(&mut self) -> bool;
    fn take(&mut self) -> Option<u64> {
        let item = self.peek()?;
        assert!(self.advance());
        Some(item)
    }
    /// Borrows the oldest item, then panics with it in hand.
    fn panic_in_peek(&mut self);
    fn ready_ahead(&mut self, limit: usize) -> usize;
    fn return_credits(&mut self);
    fn position(&self) -> Sequence;
    fn is_finished(&mut self) -> bool;
    fn close(&mut self, cause: Cause);
    fn producer_closed(&self) -> Option<Cause>;
}

/// A kind of ring.
pub(crate) trait Ring {
    type Tx: Tx;
    type Rx: Rx;
    /// Slots that an aborted claim takes: none where it is given back, one where it is stepped over.
    const ABORT_TAKES: usize = 0;
    fn open(depth: usize, start: u64) -> (Self::Tx, Self::Rx);
}

pub(crate) fn mix(hash: u64, item: u64) -> u64 {
    (hash ^ item)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .rotate_left(29)
}

/// Everything arrives once and in order over threads, whatever the mixture of single and batch pushes.
pub(crate) fn keeps_order_over_threads<R: Ring>(depth: usize, start: u64, items: u64) {
    let (mut tx, mut rx) = R::open(depth, start);
    let reader = thread::spawn(move || {
        let (mut hash, mut count) = (0, 0);
        loop {
            if let Some(item) = rx.take() {
                hash = mix(hash, item);
                count += 1;
            } else if rx.is_finished() {
                return (hash, count, rx.position());
            } else {
                thread::yield_now();
            }
        }
    });
    let (mut hash, mut next, mut prng) = (0, 0, Prng::new(start ^ depth as u64));
    while next < items {
        let count = (1 + prng.below(depth as u64 / 2)).min(items - next);
        let batch: Vec<u64> = (next..next + count).map(|n| n ^ start).collect();
        while !tx.has_room(batch.len()) {
            thread::yield_now();
        }
        if let [item] = batch[..] {
            tx.offer(item).expect("has_room was true");
        } else {
            tx.offer_batch(&batch).expect("has_room was true");
        }
        hash = batch.iter().fold(hash, |hash, &item| mix(hash, item));
        next += count;
    }
    let end = tx.position();
    assert_eq!(end.since(Sequence(start)), items);
    drop(tx);
    assert_eq!(reader.join().unwrap(), (hash, items, end));
}

/// Exactly `depth` items fit; an aborted claim takes of that what it says.
pub(crate) fn holds_exactly_its_depth<R: Ring>(depth: usize, start: u64) {
    let (mut tx, mut rx) = R::open(depth, start);
    assert_eq!(rx.peek(), None, "an initial slot looks ready");
    assert_eq!(rx.ready_ahead(depth), 0);
    for lap in 0..4 {
        let each = 1 + R::ABORT_TAKES;
        for item in 0..(depth / each) as u64 {
            assert_eq!(tx.abort(u64::MAX), Ok(()));
            assert_eq!(tx.offer(lap * 1000 + item), Ok(()));
        }
        assert_eq!(tx.offer(0), Err(ClaimError::Full));
        assert_eq!(tx.abort(0), Err(ClaimError::Full));
        assert!(!tx.has_room(1));
        assert_eq!(rx.ready_ahead(usize::MAX), depth / each);
        for item in 0..(depth / each) as u64 {
            assert_eq!(rx.peek(), Some(lap * 1000 + item));
            assert_eq!(rx.peek(), Some(lap * 1000 + item));
            assert_eq!(rx.take(), Some(lap * 1000 + item));
        }
        assert_eq!(rx.take(), None);
        assert!(!rx.advance());
    }
}

/// Credits return every `depth / 8` items, when asked to, and when the ring is found empty.
pub(crate) fn gives_credits_back_exactly<R: Ring>(depth: usize) {
    let lazy = (depth / 8).max(1);
    let (mut tx, mut rx) = R::open(depth, 0);
    let fill = |tx: &mut R::Tx| while tx.offer(7).is_ok() {};
    fill(&mut tx);
    for taken in 1..=depth {
        assert_eq!(rx.take(), Some(7));
        assert_eq!(
            tx.credits(),
            taken / lazy * lazy,
            "after {taken} of {depth}"
        );
    }
    assert_eq!(rx.take(), None);
    assert_eq!(tx.credits(), depth);

    // One item, then an empty look: the credit is back although fewer than `lazy` were taken.
    tx.offer(1).unwrap();
    assert_eq!(rx.take(), Some(1));
    assert_eq!(rx.take(), None);
    assert_eq!(tx.credits(), depth);

    fill(&mut tx);
    assert_eq!(rx.take(), Some(7));
    rx.return_credits();
    assert!(tx.has_room(1) && !tx.has_room(2));
}

/// A batch is seen whole or not at all, and fits whole or not at all.
pub(crate) fn publishes_batches_all_or_none<R: Ring>(depth: usize, start: u64) {
    let (mut tx, mut rx) = R::open(depth, start);
    let whole: Vec<u64> = (0..depth as u64).collect();
    let beyond: Vec<u64> = (0..=depth as u64).collect();
    assert_eq!(tx.offer_batch(&beyond), Err(ClaimError::Full));
    assert_eq!(tx.offer_batch(&[]), Ok(()));
    assert_eq!(rx.peek(), None);
    assert_eq!(tx.offer_batch(&whole), Ok(()));
    assert_eq!(rx.ready_ahead(depth), depth);
    assert_eq!(rx.ready_ahead(1), 1);
    assert_eq!(rx.ready_ahead(0), 0);
    assert_eq!(rx.take(), Some(0));
    rx.return_credits();
    assert_eq!(tx.offer_batch(&[8, 9]), Err(ClaimError::Full));
    assert_eq!(tx.offer_batch(&[8]), Ok(()));
    for item in 1..depth as u64 {
        assert_eq!(rx.take(), Some(item));
    }
    assert_eq!((rx.take(), rx.take()), (Some(8), None));
}

/// From another thread: what `ready_ahead` counts is there, and the first item of a batch is never
/// seen without its last.
pub(crate) fn shows_batches_whole_over_threads<R: Ring>(groups: u64) {
    // Three single items, then a batch of four: a group of seven.
    const GROUP: u64 = 7;
    let (mut tx, mut rx) = R::open(16, u64::MAX - 100);
    let writer = thread::spawn(move || {
        for group in 0..groups {
            let first = group * GROUP;
            for item in first..first + 3 {
                while tx.offer(item).is_err() {
                    thread::yield_now();
                }
            }
            let batch: Vec<u64> = (first + 3..first + GROUP).collect();
            while tx.offer_batch(&batch).is_err() {
                thread::yield_now();
            }
        }
    });
    let mut next = 0;
    while next < groups * GROUP {
        let ready = rx.ready_ahead(16);
        for _ in 0..ready {
            assert_eq!(rx.take(), Some(next), "counted but not there");
            next += 1;
            if (4..GROUP).contains(&(next % GROUP)) {
                assert_eq!(rx.peek(), Some(next), "a torn batch");
            }
        }
        if ready == 0 {
            thread::yield_now();
        }
    }
    writer.join().unwrap();
}

/// A cause reaches the other side; the first one stays; what was on its way still arrives.
pub(crate) fn closes_with_a_cause<R: Ring>() {
    let (mut tx, mut rx) = R::open(4, 0);
    assert_eq!((tx.consumer_closed(), rx.producer_closed()), (None, None));
    tx.offer(1).unwrap();
    tx.close(Cause::Finished);
    tx.close(Cause::Failed);
    let refusal = Err(ClaimError::Closed(Cause::Finished));
    assert_eq!((tx.offer(2), tx.offer_batch(&[2])), (refusal, refusal));
    assert_eq!(rx.producer_closed(), Some(Cause::Finished));
    assert!(!rx.is_finished());
    assert_eq!(rx.take(), Some(1));
    assert!(rx.is_finished());
    drop(tx);
    assert_eq!(rx.producer_closed(), Some(Cause::Finished));

    let (mut tx, mut rx) = R::open(2, 0);
    while tx.offer(3).is_ok() {}
    rx.close(Cause::Aborted);
    rx.close(Cause::Finished);
    assert_eq!(tx.consumer_closed(), Some(Cause::Aborted));
    let refusal = Err(ClaimError::Closed(Cause::Aborted));
    assert_eq!(tx.offer(4), refusal, "closed goes before full");
    let left = if R::Rx::READS_ON { Some(3) } else { None };
    assert_eq!((rx.take(), rx.take(), rx.take()), (left, left, None));
    assert!(!rx.is_finished(), "the producer has not closed");
    assert_eq!(tx.abort(4), refusal);

    let (tx, mut rx) = R::open(2, 0);
    drop(tx);
    assert_eq!(rx.producer_closed(), Some(Cause::Dropped));
    assert!(rx.is_finished());

    let (tx, rx) = R::open(2, 0);
    drop(rx);
    assert_eq!(tx.consumer_closed(), Some(Cause::Dropped));
}

/// Nothing that was pushed before a close is missed by a reader that stops when finished.
pub(crate) fn finishes_only_when_empty<R: Ring>(rounds: u64) {
    for round in 0..rounds {
        let (mut tx, mut rx) = R::open(2, round);
        let reader = thread::spawn(move || {
            let mut count = 0;
            while !rx.is_finished() {
                count += u64::from(rx.take().is_some());
            }
            count
        });
        tx.offer(1).unwrap();
        tx.close(Cause::Finished);
        assert_eq!(reader.join().unwrap(), 1);
    }
}

/// A panic in mid-write publishes nothing; one in mid-read consumes nothing; the ring goes on.
pub(crate) fn survives_panics<R: Ring>() {
    let (mut tx, mut rx) = R::open(8, 0);
    tx.offer(1).unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| tx.panic_in_claim(&[8, 9]))).is_err());
    assert_eq!(rx.ready_ahead(8), 1);
    tx.offer(2).unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| rx.panic_in_peek())).is_err());
    assert_eq!((rx.take(), rx.take(), rx.take()), (Some(1), Some(2), None));
    assert_eq!(tx.credits(), 8);

    // A thread that dies with its handle closes the ring: nobody waits for ever.
    let (mut tx, mut rx) = R::open(4, 0);
    assert!(
        thread::spawn(move || tx.panic_in_claim(&[1]))
            .join()
            .is_err()
    );
    assert!(rx.is_finished());
    assert_eq!(rx.producer_closed(), Some(Cause::Dropped));

    let (mut tx, mut rx) = R::open(4, 0);
    tx.offer(1).unwrap();
    assert!(thread::spawn(move || rx.panic_in_peek()).join().is_err());
    assert_eq!(tx.offer(2), Err(ClaimError::Closed(Cause::Dropped)));
}

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Offer(u64),
    Batch(usize),
    Abort,
    Take(usize),
    Peek,
    Ready(usize),
    Return,
}

pub(crate) fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        any::<u64>().prop_map(Op::Offer),
        (0usize..40).prop_map(Op::Batch),
        Just(Op::Abort),
        (1usize..40).prop_map(Op::Take),
        Just(Op::Peek),
        (0usize..40).prop_map(Op::Ready),
        Just(Op::Return),
    ];
    proptest::collection::vec(op, 1..200)
}

/// What a bounded `VecDeque` with a lazily published head does. `None` is an aborted slot.
struct Model {
    queue: VecDeque<Option<u64>>,
    taken: u64,
    head: u64,
    lazy: u64,
}

impl Model {
    fn step(&mut self) -> Option<u64> {
        let item = self.queue.pop_front().flatten();
        self.taken += 1;
        if self.taken - self.head >= self.lazy {
            self.head = self.taken;
        }
        item
    }

    /// Steps over what was aborted; finding nothing publishes the head.
    fn front(&mut self) -> Option<u64> {
        while self.queue.front() == Some(&None) {
            self.step();
        }
        if self.queue.is_empty() {
            self.head = self.taken;
        }
        self.queue.front().copied().flatten()
    }
}

/// The ring does, step by step, what the model does.
pub(crate) fn agrees_with_the_model<R: Ring>(
    depth: usize,
    start: u64,
    ops: &[Op],
) -> Result<(), TestCaseError> {
    let (mut tx, mut rx) = R::open(depth, start);
    let mut model = Model {
        queue: VecDeque::new(),
        taken: 0,
        head: 0,
        lazy: (depth as u64 / 8).max(1),
    };
    let mut pushed = 0u64;
    for op in ops {
        let credits = depth - (pushed - model.head) as usize;
        match *op {
            Op::Offer(item) => {
                prop_assert_eq!(tx.offer(item).is_ok(), credits > 0);
                if credits > 0 {
                    model.queue.push_back(Some(item));
                    pushed += 1;
                }
            }
            Op::Batch(count) => {
                let items: Vec<u64> = (pushed..).take(count).collect();
                prop_assert_eq!(tx.offer_batch(&items).is_ok(), credits >= count);
                if credits >= count {
                    pushed += count as u64;
                    model.queue.extend(items.into_iter().map(Some));
                }
            }
            Op::Abort => {
                prop_assert_eq!(tx.abort(5).is_ok(), credits > 0);
                if credits > 0 {
                    pushed += R::ABORT_TAKES as u64;
                    model.queue.extend([None].repeat(R::ABORT_TAKES));
                }
            }
            Op::Take(count) => {
                for _ in 0..count {
                    let item = rx.take();
                    prop_assert_eq!(item, model.front());
                    if item.is_some() {
                        model.step();
                    }
                }
            }
            Op::Peek => prop_assert_eq!(rx.peek(), model.front()),
            Op::Ready(limit) => {
                let ready = rx.ready_ahead(limit);
                if limit > 0 {
                    model.front();
                }
                let waiting = model.queue.iter().flatten().count();
                prop_assert_eq!(ready, waiting.min(limit));
            }
            Op::Return => {
                rx.return_credits();
                model.head = model.taken;
            }
        }
        prop_assert_eq!(tx.position().since(Sequence(start)), pushed);
        prop_assert_eq!(rx.position().since(Sequence(start)), model.taken);
        // Half of the time, so that the cached head gets old as well.
        if pushed.is_multiple_of(2) {
            prop_assert_eq!(tx.credits(), depth - (pushed - model.head) as usize);
        }
    }
    Ok(())
}

/// Writes all of a frame, so that a torn one shows.
pub(crate) fn write(envelope: &mut Envelope, payload: &mut [u8; 96], item: u64) {
    envelope.t_offer_ns = item;
    envelope.len = 96;
    for word in payload.chunks_exact_mut(8) {
        word.copy_from_slice(&item.to_le_bytes());
    }
}

/// The number of a frame, all of which is looked at.
pub(crate) fn read(frame: FrameRef<'_>) -> u64 {
    assert_eq!(frame.payload().len(), 96);
    let item = frame.envelope().t_offer_ns;
    for word in frame.payload().chunks_exact(8) {
        assert_eq!(u64::from_le_bytes(word.try_into().unwrap()), item, "torn");
    }
    item
}

/// The methods that values and frames have under the same names.
macro_rules! forward {
    (tx) => {
        forward!(tx, consumer_closed);
    };
    (tx, $closed:ident) => {
        fn has_room(&mut self, count: usize) -> bool {
            self.has_room(count)
        }
        fn credits(&mut self) -> usize {
            self.credits()
        }
        fn position(&self) -> Sequence {
            self.position()
        }
        fn close(&mut self, cause: Cause) {
            self.close(cause);
        }
        fn consumer_closed(&self) -> Option<Cause> {
            self.$closed()
        }
    };
    (rx) => {
        fn advance(&mut self) -> bool {
            self.advance()
        }
        fn ready_ahead(&mut self, limit: usize) -> usize {
            self.ready_ahead(limit)
        }
        fn return_credits(&mut self) {
            self.return_credits();
        }
        fn position(&self) -> Sequence {
            self.position()
        }
        fn is_finished(&mut self) -> bool {
            self.is_finished()
        }
        fn close(&mut self, cause: Cause) {
            self.close(cause);
        }
        fn producer_closed(&self) -> Option<Cause> {
            self.producer_closed()
        }
    };
}

pub(crate) use forward;

/// The suite, as a module of tests for each ring.
macro_rules! conforms {
    ($($ring:ident: $type:ty;)+) => {$(
        mod $ring {
            use super::*;
            use super::conformance::*;
            use proptest::prelude::*;

            #[test]
            fn order() {
                keeps_order_over_threads::<$type>(2, 0, 5_000);
                keeps_order_over_threads::<$type>(64, 0, 100_000);
                keeps_order_over_threads::<$type>(16, u64::MAX - 10_000, 20_000);
                keeps_order_over_threads::<$type>(2, u64::MAX, 5_000);
            }

            #[test]
            fn depth() {
                for depth in [2, 4, 64] {
                    for start in [0, 1, 3, u64::MAX - 70, u64::MAX, 1 << 63] {
                        holds_exactly_its_depth::<$type>(depth, start);
                    }
                }
            }

            #[test]
            fn credits() {
                for depth in [2, 8, 16, 64] {
                    gives_credits_back_exactly::<$type>(depth);
                }
            }

            #[test]
            fn batches() {
                for start in [0, u64::MAX - 2, u64::MAX] {
                    publishes_batches_all_or_none::<$type>(2, start);
                    publishes_batches_all_or_none::<$type>(32, start);
                }
                shows_batches_whole_over_threads::<$type>(10_000);
            }

            #[test]
            fn close() {
                closes_with_a_cause::<$type>();
                finishes_only_when_empty::<$type>(200);
            }

            #[test]
            fn panics() {
                survives_panics::<$type>();
            }

            proptest! {
                #![proptest_config(ProptestConfig {
                    cases: 64,
                    failure_persistence: None,
                    ..ProptestConfig::default()
                })]
                #[test]
                fn model(power in 1u32..9, from_the_end in 0u64..200, ops in ops()) {
                    let start = 0u64.wrapping_sub(from_the_end);
                    agrees_with_the_model::<$type>(1 << power, start, &ops)?;
                }
            }
        }
    )+};
}

pub(crate) use conforms;
