//! The ring of blobs in the model checker: every order of events that the memory model allows, for short stories.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --test loom_ring_blob --target-dir target/loom`
//!
//! With `--cfg planted_ordering` the store that publishes a descriptor is Relaxed, with `--cfg planted_return` those that
//! give slots and bytes back, with `--cfg planted_close` the closing marks, and with each of them the run has to fail.

#![cfg(loom)]

#[path = "common/reached.rs"]
mod reached;

use hopline::base::{Cause, Sequence};
use hopline::ring::blob::{self, BlobConsumer, BlobError, BlobProducer};
use loom::thread;
use reached::Reached;

/// Known faults of queues need two preemptions or fewer; three keep the stories below a minute.
const PREEMPTIONS_MAX: usize = 3;

fn model(story: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS_MAX);
    builder.check(story);
}

/// The smallest arena, two cache lines, with positions that wrap past 2^64 within the story.
fn open(depth: usize) -> blob::Pair {
    blob::ring_at(depth, 128, Sequence(u64::MAX)).unwrap()
}

/// Sends a blob of one line, filled with `byte`; waits for room. Whether there was none at first.
fn send(producer: &mut BlobProducer, byte: u8) -> bool {
    let mut waited = false;
    loop {
        match producer.claim(64) {
            Ok(mut claim) => {
                claim.bytes_mut().fill(byte);
                claim.commit(64);
                return waited;
            }
            Err(BlobError::BytesFull | BlobError::SlotsFull) => {
                waited = true;
                thread::yield_now();
            }
            Err(reason) => panic!("{reason}"),
        }
    }
}

/// Takes a blob, all of it `byte`.
fn take(consumer: &mut BlobConsumer, byte: u8) {
    loop {
        if let Some(blob) = consumer.peek() {
            assert_eq!(blob.bytes(), [byte; 64]);
            consumer.advance();
            return;
        }
        thread::yield_now();
    }
}

#[test]
fn a_blob_is_seen_with_its_descriptor() {
    static REACHED: Reached<2> = Reached::new(["the blob", "none yet"]);
    model(|| {
        let (mut producer, mut consumer) = open(2);
        let writer = thread::spawn(move || {
            let mut claim = producer.claim(64).unwrap();
            claim.bytes_mut().fill(7);
            claim.words_mut()[0] = 8;
            claim.commit(3);
            producer
        });
        match consumer.peek() {
            Some(blob) => {
                assert_eq!((blob.bytes(), blob.words()[0]), (&[7; 3][..], 8));
                REACHED.mark(0);
            }
            None => REACHED.mark(1),
        }
        consumer.advance();
        drop(writer.join().unwrap());
    });
    REACHED.each();
}

/// Slots for four blobs, bytes for two: the third waits for the bytes of the first. After each commit the
/// producer takes a line ahead, which has to be free as well.
#[test]
fn bytes_are_written_again_only_when_given_back() {
    static REACHED: Reached<2> = Reached::new(["a full arena", "room at once"]);
    model(|| {
        let (mut producer, mut consumer) = open(4);
        let writer = thread::spawn(move || {
            let mut waited = false;
            for byte in 1..=3 {
                waited |= send(&mut producer, byte);
            }
            REACHED.mark(usize::from(!waited));
        });
        for byte in 1..=3 {
            take(&mut consumer, byte);
        }
        writer.join().unwrap();
    });
    REACHED.each();
}

#[test]
fn a_finished_ring_is_empty() {
    model(|| {
        let (mut producer, mut consumer) = open(2);
        let writer = thread::spawn(move || {
            send(&mut producer, 7);
            producer.close(Cause::Finished);
        });
        let mut seen = 0;
        while !consumer.is_finished() {
            if consumer.advance() {
                seen += 1;
            } else {
                thread::yield_now();
            }
        }
        assert_eq!(seen, 1);
        writer.join().unwrap();
    });
}
