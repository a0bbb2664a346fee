//! Model of the hand-over between a recorder and its observer: every interleaving of a small run.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --test loom_hist --target-dir target/loom`; with
//! `--cfg planted_ordering` as well, the hand-over is weakened, with `--cfg planted_return` the request that gives an
//! emptied buffer back, with `--cfg planted_close` the writer's end; with each of them this must fail.
#![cfg(loom)]

#[path = "common/reached.rs"]
mod reached;

use hopline::hist::swap;
use loom::thread;
use reached::Reached;

/// Takes a number out and leaves 0, as an observer empties a histogram.
fn take(sum: &mut u64) -> impl FnMut(&mut u64) + '_ {
    |buffer| *sum += core::mem::take(buffer)
}

#[test]
fn no_count_is_lost_or_doubled() {
    static REACHED: Reached<3> = Reached::new([
        "a hand-over collected while the writer goes on",
        "one that is collected after the writer's end",
        "a writer that was never asked",
    ]);
    loom::model(|| {
        let (mut writer, mut reader) = swap::pair(0_u64, 0_u64);
        let thread = thread::spawn(move || {
            let mut handed = 0;
            // Each value is a digit of its own, so that a lost and a doubled one cannot cancel out.
            for value in [1, 10, 100] {
                writer.with(|buffer| *buffer += value);
                handed += usize::from(writer.hand_over_if_asked());
            }
            handed
        });
        let (mut sum, mut collected) = (0, 0);
        for _ in 0..2 {
            reader.ask();
            let is_collected = reader.collect(take(&mut sum));
            if is_collected && !reader.finished() {
                collected += 1;
                REACHED.mark(0);
            }
        }
        let handed = thread.join().unwrap();
        REACHED.mark_if(1, handed > collected);
        REACHED.mark_if(2, handed == 0);
        reader.collect(take(&mut sum));
        assert!(reader.finished());
        assert_eq!(sum, 111);
        assert!(!reader.collect(take(&mut sum)));
    });
    REACHED.each();
}

#[test]
fn a_buffer_comes_back_empty() {
    static REACHED: Reached<1> = Reached::new(["the first buffer back with the writer"]);
    loom::model(|| {
        let (mut writer, mut reader) = swap::pair(0_u64, 0_u64);
        reader.ask();
        let thread = thread::spawn(move || {
            writer.with(|buffer| *buffer += 1);
            assert!(writer.hand_over_if_asked());
            writer.with(|buffer| {
                assert_eq!(*buffer, 0);
                *buffer += 10;
            });
            while !writer.hand_over_if_asked() {
                thread::yield_now();
            }
            // The first buffer again: what the reader took must be gone, and its taking over.
            REACHED.mark(0);
            writer.with(|buffer| {
                assert_eq!(*buffer, 0);
                *buffer += 100;
            });
        });
        let mut sum = 0;
        while !reader.collect(take(&mut sum)) {
            thread::yield_now();
        }
        assert_eq!(sum, 1);
        reader.ask();
        thread.join().unwrap();
        reader.collect(take(&mut sum));
        assert!(reader.finished());
        assert_eq!(sum, 111);
    });
    REACHED.each();
}
