//! A ring without a line: two threads of one's own, values and batches, and what a message costs.
//!
//! `cargo run --release --example ring_alone`

use std::error::Error;
use std::hint::black_box;
use std::thread;

use hopline::clock::Clock;
use hopline::host::Pin;
use hopline::ring::{ClaimError, spsc};

const MESSAGES: u64 = 10_000_000;
const DEPTH: usize = 1024;
const BATCH: u32 = 32;

fn main() -> Result<(), Box<dyn Error>> {
    // Read before anything is pinned: after a pin only one core is left to see.
    let cores = hopline::host::allowed_cores().to_vec();
    if cores.len() < 2 {
        println!("only one core: two threads that spin would wait for each other's time slice");
        return Ok(());
    }
    let clock = Clock::calibrated();
    for (name, batch) in [("one by one", 1), ("in batches of 32", BATCH)] {
        let (mut producer, mut consumer) = spsc::ring::<u64>(DEPTH)?;
        let (writing, reading) = (cores[0], cores[1]);
        let _ = hopline::host::pin(writing, Pin::Prefer);
        let reader = thread::spawn(move || {
            let _ = hopline::host::pin(reading, Pin::Prefer);
            let mut sum = 0u64;
            while !consumer.is_finished() {
                if consumer.drain(BATCH as usize, |value| sum = sum.wrapping_add(value)) == 0 {
                    std::hint::spin_loop();
                }
            }
            sum
        });
        let began_ns = clock.stamp();
        let mut next = 0;
        while next < MESSAGES {
            let pushed = if batch == 1 {
                producer.push(next).map_err(|refused| refused.reason())
            } else {
                let values = (0..batch).map(|n| next + u64::from(n));
                let pushed = producer.push_batch(values).map(drop);
                pushed.map_err(|refused| refused.reason())
            };
            // A ring that is full gives the values back: what to do then is up to the caller.
            let pushed = match pushed {
                Ok(()) => u64::from(batch),
                Err(ClaimError::Full) => 0,
                Err(ClaimError::Closed(_)) => return Err("the reader is gone".into()),
            };
            next += pushed;
            if pushed == 0 {
                std::hint::spin_loop();
            }
        }
        drop(producer);
        let sum = reader.join().map_err(|_| "the reader failed")?;
        let elapsed_ns = clock.stamp().saturating_sub(began_ns);
        assert_eq!(
            black_box(sum),
            MESSAGES * (MESSAGES - 1) / 2,
            "nothing lost, nothing twice"
        );
        let each_ns = elapsed_ns as f64 / MESSAGES as f64;
        println!(
            "{name}: {each_ns:.1} ns a message, {:.0} million a second",
            1e3 / each_ns
        );
    }
    Ok(())
}
