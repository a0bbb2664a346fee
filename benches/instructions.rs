//! Instructions of the hot operations, counted by valgrind: a check that no noise can move.
//!
//! `.ci/instructions` runs it. Each row does [`TIMES`] operations; its ceiling is what was counted when the
//! row was last looked at, with some 3 % for another compiler. A count above it fails. An operation
//! that became cheaper on purpose lowers its ceiling here, so that it stays cheap.
//!
//! Built with the environment variable `HOPLINE_PLANTED_COST` set, every operation pays for some
//! 32 instructions more, and every row has to fail.
//!
//! Invariant: what is counted are instructions of the operation and its loop; making and dropping are outside.

#![allow(
    missing_docs,
    reason = "gungraun's macros make items without documentation"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "gungraun's own main ends the process"
)]

use std::hint::black_box;

use gungraun::{
    Callgrind, EventKind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main,
};
use hopline::clock::{Clock, VirtualTime};
use hopline::feed::decimal::{Price, Qty};
use hopline::feed::market::BookTicker;
use hopline::hist::{self, Observer, Recorder};
use hopline::overload::{Policy, WhenFull};
use hopline::ring::{hop, spsc};
use hopline::stage::{TypedEnds, TypedRx, TypedTx, typed, typed_under};

/// Operations of a row: enough that the loop around them is all but nothing, within the depth.
const TIMES: usize = 1024;
/// Slots of the rings: no operation finds them full.
const DEPTH: usize = 2 * TIMES;
/// Items of a batch.
const BATCH: usize = 32;

/// What a row may take, for [`TIMES`] operations.
fn at_most(instructions: u64) -> LibraryBenchmarkConfig {
    let mut callgrind = Callgrind::default();
    callgrind.hard_limits([(EventKind::Ir, instructions)]);
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(callgrind);
    config
}

/// The cost that the check has to see, if it was built in.
#[inline(always)]
fn planted() {
    if option_env!("HOPLINE_PLANTED_COST").is_some() {
        for step in 0..32 {
            black_box(step);
        }
    }
}

type Values = spsc::Pair<u64>;

fn empty() -> Values {
    spsc::ring(DEPTH).expect("a depth within the limits")
}

fn filled() -> Values {
    let mut pair = empty();
    for number in 0..TIMES as u64 {
        pair.0.push(number).expect("there is room");
    }
    pair
}

#[library_benchmark(config = at_most(37_000))]
#[bench::packed_8(empty())]
fn push(mut pair: Values) -> Values {
    for number in 0..TIMES as u64 {
        planted();
        let _ = black_box(pair.0.push(black_box(number)));
    }
    pair
}

#[library_benchmark(config = at_most(29_600))]
#[bench::packed_8(filled())]
fn pop(mut pair: Values) -> Values {
    for _ in 0..TIMES {
        planted();
        black_box(pair.1.pop());
    }
    pair
}

#[library_benchmark(config = at_most(36_900))]
#[bench::packed_8(empty())]
fn push_and_pop_batch_32(mut pair: Values) -> Values {
    for first in (0..TIMES as u64).step_by(BATCH) {
        let values = (0..BATCH).map(|at| {
            planted();
            first + at as u64
        });
        let _ = black_box(pair.0.push_batch(values));
        pair.1.drain(BATCH, |number| _ = black_box(number));
    }
    pair
}

type Frames = (hop::FrameProducer, hop::FrameConsumer);

fn no_frames() -> Frames {
    hop::frames(DEPTH).expect("a depth within the limits")
}

fn claim_all(frames: &mut Frames) {
    for number in 0..TIMES as u64 {
        planted();
        if let Ok(mut claim) = frames.0.claim() {
            claim.payload_mut()[..8].copy_from_slice(&black_box(number).to_le_bytes());
            claim.envelope_mut().len = 8;
            claim.commit();
        }
    }
}

fn frames() -> Frames {
    let mut frames = no_frames();
    claim_all(&mut frames);
    frames
}

#[library_benchmark(config = at_most(32_900))]
#[bench::write_8(no_frames())]
fn hop_claim_commit(mut frames: Frames) -> Frames {
    claim_all(&mut frames);
    frames
}

#[library_benchmark(config = at_most(45_400))]
#[bench::read_8(frames())]
fn hop_peek_advance(mut frames: Frames) -> Frames {
    for _ in 0..TIMES {
        planted();
        if let Some(frame) = frames.1.peek() {
            black_box(frame.payload());
        }
        frames.1.advance();
    }
    frames
}

type Typed = (
    TypedTx<BookTicker>,
    TypedRx<BookTicker>,
    TypedEnds,
    VirtualTime,
);

/// On a virtual clock, so that the count does not depend on which clock the machine has; `stamp` is
/// counted by itself.
fn no_tickers() -> Typed {
    let (clock, time) = Clock::virtual_at(1_000);
    let (tx, rx, ends) = typed("typed", DEPTH, &clock).expect("a depth within the limits");
    (tx, rx, ends, time)
}

/// Several rows emit frames of this kind, so the compiler makes it a call, which is some 40 instructions of an emission here.
fn emit_all(hop: &mut Typed) {
    let ticker = BookTicker {
        update_id: 1,
        bid: Price(2),
        bid_qty: Qty(3),
        ask: Price(4),
        ask_qty: Qty(5),
        event_ms: 6,
        transaction_ms: 7,
        symbol: 8,
    };
    for _ in 0..TIMES {
        planted();
        let _ = black_box(hop.0.emit(black_box(&ticker), 1));
    }
}

fn tickers() -> Typed {
    let mut hop = no_tickers();
    emit_all(&mut hop);
    hop
}

#[library_benchmark(config = at_most(128_500))]
#[bench::book_ticker(no_tickers())]
fn typed_emit(mut hop: Typed) -> Typed {
    emit_all(&mut hop);
    hop
}

// More than when what is too old was stepped over before a frame was looked at, which cost a second stamp where there is a limit:
// the pass of an emission and this is cheaper by as much and more.
#[library_benchmark(config = at_most(299_000))]
#[bench::book_ticker(tickers())]
fn typed_take_finish(mut hop: Typed) -> Typed {
    take_all(&mut hop);
    hop
}

fn take_all(hop: &mut Typed) {
    for _ in 0..TIMES {
        planted();
        black_box(
            hop.1
                .take(|ticker| ticker.ask().0 - ticker.bid().0)
                .is_some(),
        );
    }
}

/// With a deadline that all of them meet: what a policy costs that has nothing to do.
fn no_tickers_in_time() -> Typed {
    no_tickers_under(Policy {
        deadline_ns: 500_000,
        ..Policy::of(WhenFull::Block)
    })
}

/// With a wait that none of them reaches.
fn no_tickers_that_stand() -> Typed {
    no_tickers_under(Policy {
        codel_target_ns: 80_000,
        ..Policy::of(WhenFull::Block)
    })
}

/// With a span for which the producer may be held back, and never is.
fn no_tickers_held_back() -> Typed {
    no_tickers_under(Policy {
        block_timeout_ns: 1_000_000,
        ..Policy::of(WhenFull::Block)
    })
}

fn no_tickers_under(policy: Policy) -> Typed {
    let (clock, time) = Clock::virtual_at(1_000);
    let ends = typed_under("typed", DEPTH, policy, &clock);
    let (tx, rx, ends) = ends.expect("a depth within the limits");
    (tx, rx, ends, time)
}

/// One after the other, as on a line that keeps up.
fn pass_all(hop: &mut Typed) {
    let ticker = BookTicker {
        symbol: 8,
        ..BookTicker::default()
    };
    for _ in 0..TIMES {
        planted();
        let _ = black_box(hop.0.emit(black_box(&ticker), 1));
        black_box(hop.1.take(|ticker| ticker.ask().0).is_some());
    }
}

#[library_benchmark(config = at_most(414_000))]
#[bench::book_ticker(no_tickers())]
fn typed_pass(mut hop: Typed) -> Typed {
    pass_all(&mut hop);
    hop
}

// No more than 1.15 of `typed_pass`: what a limit may cost that has nothing to do.
#[library_benchmark(config = at_most(466_000))]
#[bench::book_ticker(no_tickers_in_time())]
fn typed_pass_in_time(mut hop: Typed) -> Typed {
    pass_all(&mut hop);
    hop
}

#[library_benchmark(config = at_most(429_000))]
#[bench::book_ticker(no_tickers_held_back())]
fn typed_pass_block(mut hop: Typed) -> Typed {
    pass_all(&mut hop);
    hop
}

#[library_benchmark(config = at_most(491_000))]
#[bench::book_ticker(no_tickers_that_stand())]
fn typed_pass_codel(mut hop: Typed) -> Typed {
    pass_all(&mut hop);
    hop
}

type Histogram = (Recorder<1>, Observer<1>);

fn histogram() -> Histogram {
    hist::pair([&[20_000][..]]).expect("one limit is within the limits")
}

#[library_benchmark(config = at_most(52_800))]
#[bench::one_limit(histogram())]
fn record(mut histogram: Histogram) -> Histogram {
    for number in 0..TIMES as u64 {
        planted();
        histogram.0.record(0, black_box(number * 31));
    }
    histogram
}

#[library_benchmark(config = at_most(21_200))]
#[bench::calibrated(Clock::calibrated())]
fn stamp(clock: Clock) -> Clock {
    for _ in 0..TIMES {
        planted();
        black_box(clock.stamp());
    }
    clock
}

library_benchmark_group!(
    name = hot_operations,
    benchmarks = [
        push,
        pop,
        push_and_pop_batch_32,
        hop_claim_commit,
        hop_peek_advance,
        typed_emit,
        typed_take_finish,
        typed_pass,
        typed_pass_block,
        typed_pass_in_time,
        typed_pass_codel,
        record,
        stamp
    ]
);

main!(library_benchmark_groups = hot_operations);
