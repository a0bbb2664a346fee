//! Single operations of each ring on one thread: what the code costs when no cache line has to move.
//!
//! `cargo bench --bench ring_ops`, with `-- --quick` for a short look. A hop between cores costs what
//! `ring_spsc` says; the difference between the two is the machine's.
//!
//! Invariant: every row leaves the ring as empty as it found it.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use hopline::ring::{Layout, Lined, Packed, hop, spsc};

/// Slots: the ring and its slots stay in the first-level cache.
const DEPTH: usize = 64;
/// Items of a batch.
const BATCH: usize = 32;

fn values<const W: usize, L: Layout>(criterion: &mut Criterion, name: &str) {
    let (mut tx, mut rx) =
        spsc::ring_at::<[u64; W], L>(DEPTH, hopline::base::Sequence(0)).expect("a fit depth");
    let bytes = W * 8;
    criterion.bench_function(&format!("{name} {bytes} B, push and pop"), |bencher| {
        bencher.iter(|| {
            let pushed = tx.push(black_box([1; W])).is_ok();
            black_box((pushed, rx.pop()));
        });
    });
    criterion.bench_function(
        &format!("{name} {bytes} B, claim, peek, advance"),
        |bencher| {
            bencher.iter(|| {
                if let Ok(claim) = tx.claim() {
                    claim.write(black_box([1; W])).commit();
                }
                black_box(rx.peek());
                black_box(rx.advance());
            });
        },
    );
    criterion.bench_function(
        &format!("{name} {bytes} B, a batch of {BATCH}"),
        |bencher| {
            bencher.iter(|| {
                let pushed = tx.push_batch((0..BATCH).map(|number| [black_box(number as u64); W]));
                black_box(pushed.is_ok());
                black_box(rx.drain(BATCH, |value| _ = black_box(value)));
            });
        },
    );
}

fn packed(criterion: &mut Criterion) {
    values::<1, Packed>(criterion, "packed");
    values::<7, Packed>(criterion, "packed");
}

fn lined(criterion: &mut Criterion) {
    values::<1, Lined>(criterion, "lined");
    values::<7, Lined>(criterion, "lined");
    values::<15, Lined>(criterion, "lined");
}

fn frames(criterion: &mut Criterion) {
    let (mut tx, mut rx) = hop::frames(DEPTH).expect("a fit depth");
    criterion.bench_function("hop 96 B, claim, peek, advance", |bencher| {
        bencher.iter(|| {
            if let Ok(mut claim) = tx.claim() {
                *claim.payload_mut() = black_box([1; 96]);
                claim.envelope_mut().len = 96;
                claim.commit();
            }
            black_box(rx.peek().map(|frame| frame.payload().len()));
            black_box(rx.advance());
        });
    });
    criterion.bench_function(&format!("hop 96 B, a batch of {BATCH}"), |bencher| {
        bencher.iter(|| {
            if let Ok(mut batch) = tx.claim_batch(BATCH) {
                for at in 0..BATCH {
                    let (envelope, payload) = batch.frame_mut(at);
                    *payload = black_box([1; 96]);
                    envelope.len = 96;
                }
                batch.commit(BATCH);
            }
            for _ in 0..BATCH {
                black_box(rx.peek().map(|frame| frame.payload().len()));
                black_box(rx.advance());
            }
        });
    });
}

criterion_group!(rings, packed, lined, frames);
criterion_main!(rings);
