//! Model of the announced sleep: every interleaving of producers and one consumer.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --test loom_wait --target-dir target/loom`; with
//! `--cfg planted_ordering` as well, the producer's fence is left out, with `--cfg planted_return` the sleeper's, and with
//! each of them this must fail.
#![cfg(loom)]

#[path = "common/reached.rs"]
mod reached;

use hopline::wait::announce;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering};
use reached::Reached;

/// A ring as far as waking is concerned: a count of published frames.
#[derive(Default)]
struct Ring(AtomicU32);

impl Ring {
    fn publish(&self) {
        self.0.store(1, Ordering::Release);
    }

    fn is_empty(&self) -> bool {
        self.0.load(Ordering::Acquire) == 0
    }
}

/// What may become of a sleep.
const SLEEPS: [&str; 3] = ["a sleep", "a frame found in time", "a wake-up in vain"];

#[test]
fn no_wake_up_is_lost() {
    static REACHED: Reached<3> = Reached::new(SLEEPS);
    loom::model(|| {
        let (sleeper, alarm) = announce::pair();
        let ring = Arc::new(Ring::default());
        let published = ring.clone();
        let producer = loom::thread::spawn(move || {
            published.publish();
            alarm.should_wake()
        });
        sleeper.announce();
        let sleeps = ring.is_empty();
        if !sleeps {
            sleeper.retract();
        }
        let woken = producer.join().unwrap();
        assert!(woken || !sleeps, "asleep with a frame in the ring");
        REACHED.mark(usize::from(!sleeps));
        REACHED.mark_if(2, woken && !sleeps);
    });
    REACHED.each();
}

#[test]
fn of_two_producers_exactly_one_wakes() {
    static REACHED: Reached<3> = Reached::new(SLEEPS);
    loom::model(|| {
        let (sleeper, alarm) = announce::pair();
        let rings = Arc::new([Ring::default(), Ring::default()]);
        let producers = [0, 1].map(|at| {
            let (rings, alarm) = (rings.clone(), alarm.clone());
            loom::thread::spawn(move || {
                rings[at].publish();
                alarm.should_wake()
            })
        });
        sleeper.announce();
        let sleeps = rings.iter().all(Ring::is_empty);
        let wakes = producers.map(|producer| u32::from(producer.join().unwrap()));
        let wakes: u32 = wakes.iter().sum();
        assert!(wakes <= 1, "one announcement, {wakes} wake-ups");
        assert!(wakes == 1 || !sleeps, "asleep with a frame in a ring");
        REACHED.mark(usize::from(!sleeps));
        REACHED.mark_if(2, wakes == 1 && !sleeps);
    });
    REACHED.each();
}

#[test]
fn a_second_sleep_is_woken_like_the_first() {
    static REACHED: Reached<3> = Reached::new(SLEEPS);
    loom::model(|| {
        let (sleeper, alarm) = announce::pair();
        let ring = Arc::new(Ring::default());
        let published = ring.clone();
        let producer = loom::thread::spawn(move || {
            published.publish();
            alarm.should_wake()
        });
        // The producer may see the first announcement and take the second, or neither.
        sleeper.announce();
        sleeper.retract();
        sleeper.announce();
        let sleeps = ring.is_empty();
        let woken = producer.join().unwrap();
        assert!(woken || !sleeps, "asleep with a frame in the ring");
        REACHED.mark(usize::from(!sleeps));
        REACHED.mark_if(2, woken && !sleeps);
    });
    REACHED.each();
}
