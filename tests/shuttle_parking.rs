//! The announced sleep and the histogram hand-over in long stories, under random schedules.
//!
//! `RUSTFLAGS="--cfg shuttle" cargo test --test shuttle_parking --target-dir target/shuttle`
//!
//! Where loom tries all orders of a few steps, this tries some orders of many: several producers,
//! hundreds of frames, many sleeps. With `--cfg planted_bound` as well the sleeper looks before it
//! announces, or the writer forgets what it handed over, and the run has to fail.

#![cfg(shuttle)]

#[path = "common/reached.rs"]
mod reached;
#[path = "common/schedules.rs"]
mod schedules;

use hopline::base::primitive::{Arc, AtomicBool, AtomicU64, Ordering};
use hopline::hist::swap;
use hopline::wait::announce;
use reached::Reached;
use schedules::explore;
use shuttle::thread;

/// A ring as far as waking is concerned: how many frames were published.
type Published = Arc<[AtomicU64; 2]>;

fn sum(published: &Published) -> u64 {
    published
        .iter()
        .map(|count| count.load(Ordering::Acquire))
        .sum()
}

/// Two producers and a consumer that sleeps whenever it finds nothing: with every frame published
/// it has either taken all, or somebody has rung for it.
#[test]
fn a_sleeper_with_work_is_always_rung_for() {
    const FRAMES: u64 = 20;
    static REACHED: Reached<2> = Reached::new(["a sleep", "a frame found in time"]);
    explore(|| {
        let (sleeper, alarm) = announce::pair();
        let published: Published = Arc::default();
        let bell = Arc::new(AtomicBool::new(false));
        let producers = [0, 1].map(|at| {
            let (published, bell, alarm) = (published.clone(), bell.clone(), alarm.clone());
            thread::spawn(move || {
                for frame in 1..=FRAMES {
                    published[at].store(frame, Ordering::Release);
                    if alarm.should_wake() {
                        bell.store(true, Ordering::Release);
                    }
                }
            })
        });
        let (mut taken, mut sleeps) = (0, 0);
        while taken < 2 * FRAMES {
            let seen = sum(&published);
            if seen > taken {
                taken = seen;
                continue;
            }
            let looked_early = cfg!(planted_bound) && sum(&published) == taken;
            sleeper.announce();
            if !looked_early && sum(&published) > taken {
                sleeper.retract();
                REACHED.mark(1);
                continue;
            }
            // Asleep: only the bell ends it. A lost one is a deadlock, which the scheduler reports
            // as a run that never ends.
            sleeps += 1;
            REACHED.mark(0);
            while !bell.swap(false, Ordering::Acquire) {
                thread::yield_now();
            }
            sleeper.retract();
        }
        assert!(sleeps <= 2 * FRAMES, "more sleeps than frames");
        for producer in producers {
            producer.join().unwrap();
        }
    });
    REACHED.each();
}

/// A long recording with an observer that asks all the time: every count arrives once.
#[test]
fn a_long_recording_loses_no_count() {
    const COUNTS: u64 = 100;
    static REACHED: Reached<2> = Reached::new(["one hand-over", "many"]);
    explore(|| {
        let (mut writer, mut reader) = swap::pair(0_u64, 0_u64);
        let recording = thread::spawn(move || {
            let mut hand_overs = 0;
            for count in 1..=COUNTS {
                writer.with(|buffer| *buffer += count);
                let handed = writer.hand_over_if_asked();
                hand_overs += u32::from(handed);
                if cfg!(planted_bound) && handed {
                    writer.with(|buffer| *buffer += count);
                }
            }
            hand_overs
        });
        let mut total = 0;
        for _ in 0..COUNTS / 4 {
            reader.ask();
            reader.collect(|buffer| total += core::mem::take(buffer));
            thread::yield_now();
        }
        let hand_overs = recording.join().unwrap();
        REACHED.mark_if(0, hand_overs > 0);
        REACHED.mark_if(1, hand_overs > 3);
        while !reader.finished() {
            reader.collect(|buffer| total += core::mem::take(buffer));
        }
        reader.collect(|buffer| total += core::mem::take(buffer));
        assert_eq!(total, COUNTS * (COUNTS + 1) / 2);
    });
    REACHED.each();
}
