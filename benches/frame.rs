//! What a frame costs in a slot: written in place, read checked, beside a plain copy and nothing.
//!
//! `nothing` is what the measuring itself costs; `plain_*` moves the same fields as a native
//! `repr(C)` struct, which is what a ring of bare values would do. Figures are for comparing the
//! rows of one run.
//!
//! Invariant: the bytes read are hidden from the optimiser in each iteration, so no check is hoisted.

use criterion::{Criterion, criterion_group, criterion_main};
use hopline::frame::{Aligned, Frame, Input, View};
use std::hint::black_box;

#[hopline::frame_part]
#[derive(Clone, Copy, Debug)]
struct Level {
    price: i64,
    qty: i64,
}

/// Integers only, 64 B: the shape of a typed market frame.
#[hopline::frame(schema = 1, version = 1)]
#[derive(Clone, Copy, Debug)]
struct Quote {
    symbol: u32,
    venue: u32,
    time_ns: u64,
    update: u64,
    bid: Level,
    ask: Level,
    sum: u64,
}

/// The same with a bool and an enum, whose bytes are checked.
#[hopline::frame(schema = 2, version = 1)]
#[derive(Clone, Copy, Debug)]
struct Order {
    symbol: u32,
    side: Side,
    live: bool,
    time_ns: u64,
    id: u64,
    limit: Level,
    stop: Level,
    parent: u64,
}

#[hopline::frame_part]
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
enum Side {
    Buy,
    Sell,
}

#[hopline::frame_set]
#[derive(Debug)]
enum Market {
    Quote(Quote),
    Order(Order),
}

fn quote() -> Quote {
    Quote {
        symbol: 3,
        venue: 1,
        time_ns: 1_700_000_000_000_000_000,
        update: 77,
        bid: Level { price: 100, qty: 5 },
        ask: Level { price: 102, qty: 7 },
        sum: 12,
    }
}

fn order() -> Order {
    Order {
        symbol: 3,
        side: Side::Sell,
        live: true,
        time_ns: 1_700_000_000_000_000_000,
        id: 9,
        limit: Level { price: 100, qty: 5 },
        stop: Level { price: 90, qty: 5 },
        parent: 8,
    }
}

fn write(c: &mut Criterion) {
    let mut group = c.benchmark_group("frame_write");
    let mut slot = Aligned::<96>::new();
    group.bench_function("nothing", |b| {
        let value = quote();
        b.iter(|| {
            black_box(&value);
            black_box(&mut slot);
        });
    });
    group.bench_function("plain_copy_64", |b| {
        let (value, mut place) = (quote(), quote());
        b.iter(|| {
            *black_box(&mut place) = *black_box(&value);
            black_box(&mut place);
        });
    });
    group.bench_function("integers_64", |b| {
        let value = quote();
        b.iter(|| {
            let written = black_box(&value).write(black_box(&mut slot));
            black_box(&mut slot);
            written
        });
    });
    group.bench_function("with_enum_and_bool_64", |b| {
        let value = order();
        b.iter(|| {
            let written = black_box(&value).write(black_box(&mut slot));
            black_box(&mut slot);
            written
        });
    });
    group.finish();
}

fn read(c: &mut Criterion) {
    let mut group = c.benchmark_group("frame_read");
    let mut quotes = Aligned::<64>::new();
    quote().write(&mut quotes).expect("64 bytes hold a quote");
    let mut orders = Aligned::<64>::new();
    order().write(&mut orders).expect("64 bytes hold an order");

    group.bench_function("nothing", |b| {
        b.iter(|| {
            black_box(&quotes[..]);
        });
    });
    group.bench_function("plain_field", |b| {
        let value = quote();
        b.iter(|| black_box(&value).bid.price);
    });
    group.bench_function("plain_copy_64", |b| {
        let value = quote();
        b.iter(|| {
            black_box(*black_box(&value));
        });
    });
    group.bench_function("checked_integers_field", |b| {
        b.iter(|| View::<Quote>::read(black_box(&quotes[..])).map_or(0, |quote| quote.bid().price));
    });
    group.bench_function("checked_enum_and_bool_field", |b| {
        b.iter(|| {
            View::<Order>::read(black_box(&orders[..])).map_or(0, |order| order.limit().price)
        });
    });
    group.bench_function("checked_integers_owned", |b| {
        b.iter(|| {
            black_box(View::<Quote>::read(black_box(&quotes[..])).map(View::to_owned)).is_ok()
        });
    });
    group.bench_function("checked_set_field", |b| {
        b.iter(
            || match Market::view(black_box(1), black_box(&quotes[..])) {
                Ok(MarketView::Quote(quote)) => quote.bid().price,
                Ok(MarketView::Order(order)) => order.limit().price,
                Err(_) => 0,
            },
        );
    });
    group.finish();
}

criterion_group!(benches, write, read);
criterion_main!(benches);
