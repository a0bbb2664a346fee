//! Conformance of the ring of blobs, and what only bytes can show: sizes, wraps, aborts, what is free.

#![cfg(not(any(loom, shuttle)))]

use std::collections::VecDeque;
use std::thread;

use hopline::base::limits::{ARENA_BYTES_MAX, ARENA_BYTES_MIN};
use hopline::base::{Cause, Prng, Sequence};
use hopline::ring::blob::{self, BlobConsumer, BlobError, BlobProducer, OpenError};
use hopline::ring::{ClaimError, DepthError};
use proptest::prelude::*;

#[allow(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "the suite serves other rings as well"
)]
#[path = "conformance/ring.rs"]
mod conformance;

use conformance::*;

/// Bytes of an item in the suite: two cache lines and one byte, so that the third line is mostly empty.
const ITEM_BYTES: usize = 129;

struct Blobs;

impl Ring for Blobs {
    type Tx = BlobProducer;
    type Rx = BlobConsumer;
    fn open(depth: usize, start: u64) -> (Self::Tx, Self::Rx) {
        // Twice what the items take, so that slots run out first.
        let bytes = (2 * depth * ITEM_BYTES).next_power_of_two();
        blob::ring_at(depth, bytes, Sequence(start)).unwrap()
    }
}

fn refusal(reason: BlobError) -> ClaimError {
    match reason {
        BlobError::SlotsFull => ClaimError::Full,
        BlobError::Closed(cause) => ClaimError::Closed(cause),
        other => panic!("{other}"),
    }
}

/// Writes all of a blob, so that a torn one shows.
fn write_item(claim: &mut blob::BlobClaim<'_>, item: u64) {
    claim.words_mut()[2] = item;
    claim.envelope_mut().t_offer_ns = item;
    claim.bytes_mut().fill(item as u8);
}

impl Tx for BlobProducer {
    fn offer(&mut self, item: u64) -> Result<(), ClaimError> {
        let mut claim = self.claim(ITEM_BYTES).map_err(refusal)?;
        write_item(&mut claim, item);
        claim.commit(usize::MAX);
        Ok(())
    }
    /// One by one, with as many publishes: blobs have no batches.
    fn offer_batch(&mut self, items: &[u64]) -> Result<(), ClaimError> {
        if !self.has_slots(items.len()) {
            return Err(ClaimError::Full);
        }
        items.iter().try_for_each(|&item| self.offer(item))
    }
    fn abort(&mut self, item: u64) -> Result<(), ClaimError> {
        let mut claim = self.claim(ITEM_BYTES).map_err(refusal)?;
        write_item(&mut claim, item);
        Ok(())
    }
    fn panic_in_claim(&mut self, items: &[u64]) {
        let mut claim = self.claim(ITEM_BYTES).unwrap();
        write_item(&mut claim, items[0]);
        panic!("planted");
    }
    fn has_room(&mut self, count: usize) -> bool {
        self.has_slots(count)
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
        self.consumer_closed()
    }
}

impl Rx for BlobConsumer {
    fn peek(&mut self) -> Option<u64> {
        let position = self.position();
        let blob = self.peek()?;
        assert_eq!(blob.sequence(), position);
        assert_eq!(blob.bytes().len(), ITEM_BYTES);
        assert_eq!(blob.bytes().as_ptr() as usize % 64, 0);
        let item = blob.words()[2];
        assert_eq!(blob.envelope().t_offer_ns, item);
        assert!(blob.bytes().iter().all(|&byte| byte == item as u8), "torn");
        Some(item)
    }
    fn panic_in_peek(&mut self) {
        let blob = self.peek().expect("a blob");
        panic!("planted, at {:?}", blob.sequence());
    }
    forward!(rx);
}

// The suite, without its batches: `conforms!` has them.

#[test]
fn order() {
    keeps_order_over_threads::<Blobs>(2, 0, 5_000);
    keeps_order_over_threads::<Blobs>(64, 0, 50_000);
    keeps_order_over_threads::<Blobs>(16, u64::MAX - 10_000, 20_000);
    keeps_order_over_threads::<Blobs>(2, u64::MAX, 5_000);
}

#[test]
fn depth() {
    for depth in [2, 4, 64] {
        for start in [0, 1, 3, u64::MAX - 70, u64::MAX, 1 << 63] {
            holds_exactly_its_depth::<Blobs>(depth, start);
        }
    }
}

#[test]
fn credits() {
    for depth in [2, 8, 16, 64] {
        gives_credits_back_exactly::<Blobs>(depth);
    }
}

#[test]
fn close() {
    closes_with_a_cause::<Blobs>();
    finishes_only_when_empty::<Blobs>(200);
}

#[test]
fn panics() {
    survives_panics::<Blobs>();
}

// What only bytes can show.

/// The arena as a model: positions in bytes, nothing else.
struct Arena {
    bytes: u64,
    at: u64,
    freed: u64,
    done: u64,
    passed_over: u64,
}

impl Arena {
    /// Where `len` bytes would begin, if they are free.
    fn find(&self, len: u64) -> Option<u64> {
        let in_lap = self.at % self.bytes;
        let start = if in_lap + len <= self.bytes {
            self.at
        } else {
            self.at + self.bytes - in_lap
        };
        (start + len.next_multiple_of(64) - self.freed <= self.bytes).then_some(start)
    }
}

#[derive(Clone, Debug)]
enum Op {
    /// Claim, and commit that many per cent of it.
    Send(usize, usize),
    Abort(usize),
    Take(usize),
    Look,
    Return,
}

fn steps() -> impl Strategy<Value = Vec<Op>> {
    let len = || prop_oneof![0usize..70, 0usize..600, Just(512usize), Just(64usize)];
    let op = prop_oneof![
        4 => (len(), 0usize..=100).prop_map(|(len, used)| Op::Send(len, used)),
        2 => len().prop_map(|len| Op::Send(len, 100)),
        1 => len().prop_map(Op::Abort),
        3 => (1usize..6).prop_map(Op::Take),
        1 => Just(Op::Look),
        1 => Just(Op::Return),
    ];
    proptest::collection::vec(op, 1..300)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 256,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]
    /// The ring does, step by step, what a queue of byte strings beside a count of free bytes does.
    #[test]
    fn model(from_the_end in 0u64..40, steps in steps()) {
        const DEPTH: u64 = 8;
        let start = 0u64.wrapping_sub(from_the_end);
        let (mut tx, mut rx) = blob::ring_at(DEPTH as usize, 1024, Sequence(start)).unwrap();
        // The model's bytes begin a lap later in the same place, so that it needs no wrapping.
        let first = 1024 + (start.wrapping_mul(64) % 1024);
        let mut arena = Arena { bytes: 1024, at: first, freed: first, done: first, passed_over: 0 };
        let mut queue: VecDeque<(Vec<u8>, u64)> = VecDeque::new();
        let (mut pushed, mut taken, mut head) = (0u64, 0u64, 0u64);
        let mut prng = Prng::new(from_the_end);
        for step in steps {
            let slot = pushed - head < DEPTH;
            match step {
                Op::Send(len, _) | Op::Abort(len) => {
                    let expected = match arena.find(len as u64) {
                        _ if len > 512 => Err(BlobError::TooLong),
                        _ if !slot => Err(BlobError::SlotsFull),
                        None => Err(BlobError::BytesFull),
                        Some(start) => Ok(start),
                    };
                    prop_assert_eq!(tx.has_room(len), expected.is_ok());
                    match (tx.claim(len), expected) {
                        (Ok(mut claim), Ok(start)) => {
                            let mut bytes = vec![0; len];
                            bytes.fill_with(|| prng.below(256) as u8);
                            prop_assert_eq!(claim.bytes_mut().len(), len);
                            claim.bytes_mut().copy_from_slice(&bytes);
                            claim.words_mut()[0] = pushed;
                            if let Op::Send(_, used) = step {
                                let used = len * used / 100;
                                claim.commit(used);
                                bytes.truncate(used);
                                arena.passed_over += start - arena.at;
                                arena.at = start + (used as u64).next_multiple_of(64);
                                queue.push_back((bytes, arena.at));
                                pushed += 1;
                            }
                        }
                        (Err(reason), Err(expected)) => prop_assert_eq!(reason, expected),
                        (got, expected) => prop_assert!(false, "{:?}, expected {:?}", got, expected),
                    }
                }
                Op::Take(count) => {
                    for _ in 0..count {
                        let Some((bytes, end)) = queue.pop_front() else {
                            prop_assert!(rx.peek().is_none());
                            (head, arena.freed) = (taken, arena.done);
                            break;
                        };
                        let blob = rx.peek().expect("a blob");
                        prop_assert_eq!(blob.bytes(), &bytes[..]);
                        prop_assert_eq!(blob.words()[0], taken);
                        prop_assert!(rx.advance());
                        taken += 1;
                        arena.done = end;
                        if taken - head >= DEPTH / 8 {
                            head = taken;
                        }
                        if arena.done - arena.freed >= 1024 / 8 {
                            arena.freed = arena.done;
                        }
                    }
                }
                Op::Look => {
                    prop_assert_eq!(rx.ready_ahead(99), queue.len());
                    if queue.is_empty() {
                        (head, arena.freed) = (taken, arena.done);
                    }
                }
                Op::Return => {
                    rx.return_credits();
                    (head, arena.freed) = (taken, arena.done);
                }
            }
            prop_assert_eq!(tx.passed_over_bytes(), arena.passed_over);
            // Half of the time, so that the known position gets old as well.
            if pushed.is_multiple_of(2) {
                prop_assert_eq!(tx.free_bytes() as u64, 1024 - (arena.at - arena.freed));
            }
        }
        // Nothing is lost: when all is read, all is free.
        rx.drain(usize::MAX, |_| {});
        rx.return_credits();
        prop_assert_eq!((tx.free_bytes(), tx.credits()), (1024, DEPTH as usize));
    }
}

/// Sizes at random over two threads, with aborts: each blob arrives whole and in order.
#[test]
fn blobs_of_all_sizes_arrive_whole_over_threads() {
    const BLOBS: u64 = 20_000;
    for start in [0, u64::MAX - 500] {
        let (mut tx, mut rx) = blob::ring_at(16, 4096, Sequence(start)).unwrap();
        let reader = thread::spawn(move || {
            let (mut prng, mut bytes) = (Prng::new(7), 0);
            for number in 0..BLOBS {
                let len = prng.below(2049) as usize;
                let blob = loop {
                    if rx.ready_ahead(1) > 0 {
                        break rx.peek().expect("counted but not there");
                    }
                    thread::yield_now();
                };
                assert_eq!((blob.words()[0], blob.bytes().len()), (number, len));
                assert!(
                    blob.bytes().iter().all(|&byte| byte == number as u8),
                    "torn"
                );
                bytes += len;
                rx.advance();
            }
            bytes
        });
        let (mut prng, mut bytes) = (Prng::new(7), 0);
        for number in 0..BLOBS {
            let len = prng.below(2049) as usize;
            while !tx.has_room(len) {
                assert_eq!(tx.consumer_closed(), None, "the reader ended early");
                thread::yield_now();
            }
            if number % 3 == 0 {
                tx.claim(len).unwrap().bytes_mut().fill(0xAA);
            }
            let mut claim = tx.claim(len).expect("has_room was true");
            claim.bytes_mut().fill(number as u8);
            claim.words_mut()[0] = number;
            claim.commit(len);
            bytes += len;
        }
        assert_eq!(reader.join().unwrap(), bytes);
        assert!(tx.passed_over_bytes() > 0);
    }
}

#[test]
fn a_refusal_says_which_of_both_is_full() {
    let (mut tx, mut rx) = blob::ring(2, 256).unwrap();
    assert_eq!(tx.claim(129).unwrap_err(), BlobError::TooLong);
    tx.claim(128).unwrap().commit(128);
    tx.claim(64).unwrap().commit(1);
    assert_eq!(tx.claim(1).unwrap_err(), BlobError::SlotsFull);
    assert!(rx.advance());
    rx.return_credits();
    // One line at the end and two at the start: enough, but not unbroken, for three.
    assert_eq!(tx.free_bytes(), 192);
    tx.claim(128).unwrap().commit(128);
    assert_eq!(tx.passed_over_bytes(), 64);
    assert!(rx.advance());
    rx.return_credits();
    assert_eq!(tx.claim(65).unwrap_err(), BlobError::BytesFull);
    assert!(tx.has_room(64) && !tx.has_room(65));
    tx.close(Cause::Finished);
    let closed = BlobError::Closed(Cause::Finished);
    assert_eq!(tx.claim(1).unwrap_err(), closed);
    assert_eq!(closed.to_string(), "the ring is closed (finished)");
}

/// The largest payload fits an empty arena wherever it stands; a consumer that only counts gives bytes back.
#[test]
fn the_longest_blob_fits_wherever_an_empty_arena_stands() {
    let (mut tx, mut rx) = blob::ring(4, 512).unwrap();
    for lines in [0, 1, 3, 4, 2, 1, 1, 4, 4, 0, 3] {
        tx.claim(lines * 64).unwrap().commit(lines * 64);
        assert!(rx.advance());
        assert_eq!(rx.ready_ahead(1), 0);
        assert!(tx.has_room(256), "after {lines} lines");
    }
}

#[test]
fn a_claim_that_is_not_committed_takes_nothing() {
    let (mut tx, mut rx) = blob::ring(2, 256).unwrap();
    tx.claim(100).unwrap().bytes_mut().fill(7);
    tx.claim(100).unwrap().commit(0); // takes a slot, no bytes
    assert_eq!((tx.free_bytes(), tx.credits()), (256, 1));
    assert_eq!(rx.drain(9, |blob| assert!(blob.bytes().is_empty())), 1);
}

#[test]
fn a_drain_that_panics_keeps_the_blob_in_hand() {
    let (mut tx, mut rx) = blob::ring(4, 1024).unwrap();
    for byte in 1..=3 {
        let mut claim = tx.claim(9).unwrap();
        claim.bytes_mut().fill(byte);
        claim.commit(9);
    }
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        rx.drain(9, |blob| assert!(blob.bytes()[0] < 2, "planted"))
    }));
    assert!(caught.is_err());
    assert_eq!(rx.peek().unwrap().bytes(), [2; 9]);
    assert_eq!(rx.drain(1, |_| {}), 1);
    assert_eq!(rx.drain(9, |blob| assert_eq!(blob.bytes(), [3; 9])), 1);
}

#[test]
fn a_size_that_no_ring_has_is_refused_with_the_next_one() {
    for (given, nearest) in [
        (0, ARENA_BYTES_MIN),
        (1000, 1024),
        (usize::MAX, ARENA_BYTES_MAX),
    ] {
        let refused = blob::ring(2, given).unwrap_err();
        assert_eq!(refused, OpenError::Bytes { given, nearest });
        assert!(refused.to_string().contains(&nearest.to_string()));
    }
    let depth = DepthError {
        given: 3,
        nearest: 4,
    };
    assert_eq!(blob::ring(3, 1024).unwrap_err(), OpenError::Depth(depth));
}

#[test]
fn a_drain_without_a_limit_ends_beside_a_producer_that_is_as_quick() {
    let (mut tx, mut rx) = blob::ring(8, 4096).unwrap();
    let mut send = || tx.claim(1).unwrap().commit(1);
    (0..4).for_each(|_| send());
    let mut given = 0;
    let taken = rx.drain(usize::MAX, |_| {
        given += 1;
        assert!(given <= 8, "more than there are slots");
        send();
    });
    assert_eq!((taken, rx.ready_ahead(8)), (8, 4));
}
