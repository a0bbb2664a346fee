//! Frames from threads of one's own: an inlet for each thread, one source on the line.
//!
//! `cargo run --release --example inlet`

use std::error::Error;
use std::thread;

use hopline::adapter::{blackhole, inlet};
use hopline::ring::PushError;
use hopline::topology::{Hop, Line, Stop};

/// What the threads have to say.
#[hopline::frame(schema = 1001, version = 1, name = "reading")]
#[derive(Clone, Copy, Debug)]
struct Reading {
    sensor: u32,
    value: i64,
}

const THREADS: u32 = 3;
const READINGS: i64 = 100_000;

fn main() -> Result<(), Box<dyn Error>> {
    let (first, source) = inlet::<Reading>(1024)?;

    let mut line = Line::builder("inlet");
    line.source("readings", source);
    line.sink("end", blackhole());
    line.connect("readings", "end", Hop::depth(1024));
    let mut running = line.build()?.start()?;

    let threads: Vec<_> = (0..THREADS)
        .map(|sensor| {
            let mut inlet = first.clone();
            thread::spawn(move || {
                for value in 0..READINGS {
                    let mut reading = Reading { sensor, value };
                    // A full inlet gives the frame back: what to do then is up to the thread.
                    loop {
                        match inlet.push(reading) {
                            Ok(()) => break,
                            Err(PushError::Full(back)) => reading = back,
                            Err(PushError::Closed(..)) => return,
                        }
                        thread::yield_now();
                    }
                }
            })
        })
        .collect();
    drop(first); // the source ends with the last inlet
    let cause = running.watch(&Stop::when_done(), |_| {});
    for thread in threads {
        thread.join().map_err(|_| "a thread failed")?;
    }

    let report = running.end(cause);
    let source = &report.ledger.sources["readings"];
    println!(
        "{} readings received, {} ingested, {} pushes refused for want of room",
        source.received, source.ingested, source.refused
    );
    let end_to_end = &report.end_to_end.sojourn_ns;
    println!(
        "from the push to the sink: p50 {} ns, p99 {} ns",
        end_to_end.p50, end_to_end.p99
    );
    assert_eq!(source.ingested, u64::from(THREADS) * READINGS as u64);
    assert!(report.is_good(), "{:?}", report.faults);
    Ok(())
}
