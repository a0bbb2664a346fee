//! Model of the hand-over between a recorder and its observer: every interleaving of a small run.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --test loom_hist --target-dir target/loom`; with
//! `--cfg planted_ordering` as well, the hand-over is weakened and this must fail.
#![cfg(loom)]

use hopline::hist::swap;

/// Takes a number out and leaves 0, as an observer empties a histogram.
fn take(sum: &mut u64) -> impl FnMut(&mut u64) + '_ {
    |buffer| *sum += core::mem::take(buffer)
}

#[test]
fn no_count_is_lost_or_doubled() {
    loom::model(|| {
        let (mut writer, mut reader) = swap::pair(0_u64, 0_u64);
        let thread = loom::thread::spawn(move || {
            // Each value is a digit of its own, so that a lost and a doubled one cannot cancel out.
            for value in [1, 10, 100] {
                writer.with(|buffer| *buffer += value);
                writer.hand_over_if_asked();
            }
        });
        let mut sum = 0;
        for _ in 0..2 {
            reader.ask();
            reader.collect(take(&mut sum));
        }
        thread.join().unwrap();
        reader.collect(take(&mut sum));
        assert!(reader.finished());
        assert_eq!(sum, 111);
        assert!(!reader.collect(take(&mut sum)));
    });
}

#[test]
fn a_buffer_comes_back_empty() {
    loom::model(|| {
        let (mut writer, mut reader) = swap::pair(0_u64, 0_u64);
        reader.ask();
        let thread = loom::thread::spawn(move || {
            writer.with(|buffer| *buffer += 1);
            assert!(writer.hand_over_if_asked());
            writer.with(|buffer| {
                assert_eq!(*buffer, 0);
                *buffer += 10;
            });
            if writer.hand_over_if_asked() {
                // The first buffer again: what the reader took must be gone.
                writer.with(|buffer| assert_eq!(*buffer, 0));
            }
        });
        let mut sum = 0;
        if reader.collect(take(&mut sum)) {
            reader.ask();
        }
        thread.join().unwrap();
        reader.collect(take(&mut sum));
        assert_eq!(sum, 11);
    });
}
