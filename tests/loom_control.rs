//! Model of the cell with the latest value, and of the line's one word: every interleaving of a small run.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --test loom_control --target-dir target/loom`; with `--cfg planted_ordering` as well, the
//! version that publishes a value and the word that tells a command are weakened, with `--cfg planted_return` the fence is left
//! out that says that the words are written anew, and with each of them this must fail. The queues of the room are crossbeam's.
#![cfg(loom)]

#[path = "common/reached.rs"]
mod reached;

use hopline::control::{Command, Control, Epoch, Latest, Words};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;
use reached::Reached;

/// Whole only if both are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Twins(u64, u64);

impl Words<2> for Twins {
    fn to_words(self) -> [u64; 2] {
        [self.0, self.1]
    }
    fn from_words([a, b]: [u64; 2]) -> Twins {
        Twins(a, b)
    }
}

impl Twins {
    fn of(value: u64) -> Twins {
        Twins(value, value)
    }

    fn value(self) -> u64 {
        assert_eq!(self.0, self.1, "parts of two values");
        self.0
    }
}

#[test]
fn a_reader_never_sees_parts_of_two_values() {
    static REACHED: Reached<4> = Reached::new([
        "the first value",
        "one in between",
        "the last one",
        "a look that met a write",
    ]);
    loom::model(|| {
        let cell = Arc::new(Latest::new(Twins::of(0)));
        let writer = {
            let cell = cell.clone();
            thread::spawn(move || {
                cell.set(Twins::of(1));
                cell.set(Twins::of(2));
            })
        };
        let mut last = 0;
        for _ in 0..2 {
            match cell.read() {
                Some((twins, _)) => {
                    let value = twins.value();
                    assert!(value >= last, "{value} after {last}");
                    last = value;
                    REACHED.mark(value as usize);
                }
                None => REACHED.mark(3),
            }
        }
        writer.join().unwrap();
    });
    REACHED.each();
}

#[test]
fn a_late_reader_sees_the_last_value_and_sees_it_once() {
    static REACHED: Reached<2> = Reached::new(["news in time", "news only afterwards"]);
    loom::model(|| {
        let cell = Arc::new(Latest::new(Twins::of(0)));
        let mut seen = Epoch::NEVER;
        assert_eq!(cell.news(&mut seen), Some(Twins::of(0)));
        let writer = {
            let cell = cell.clone();
            thread::spawn(move || cell.set(Twins::of(1)))
        };
        let early = cell.news(&mut seen).map(Twins::value);
        writer.join().unwrap();
        let late = cell.news(&mut seen).map(Twins::value);
        // However it looks: the value comes exactly once.
        assert!(matches!((early, late), (Some(1), None) | (None, Some(1))));
        assert!(!cell.changed_since(seen));
        REACHED.mark(usize::from(early.is_none()));
    });
    REACHED.each();
}

#[test]
fn what_was_written_before_the_value_is_there_with_it() {
    static REACHED: Reached<1> = Reached::new(["a value with what it announces"]);
    loom::model(|| {
        let cell: Arc<Latest<bool, 1>> = Arc::new(Latest::new(false));
        let words = Arc::new(AtomicU64::new(0));
        let writer = {
            let (cell, words) = (cell.clone(), words.clone());
            thread::spawn(move || {
                words.store(7, Ordering::Relaxed);
                cell.set(true);
            })
        };
        if let Some((true, _)) = cell.read() {
            assert_eq!(words.load(Ordering::Relaxed), 7);
            REACHED.mark(0);
        }
        writer.join().unwrap();
    });
    REACHED.each();
}

#[test]
fn two_readers_each_see_whole_values() {
    static REACHED: Reached<1> = Reached::new(["both with the new value"]);
    loom::model(|| {
        let cell = Arc::new(Latest::new(Twins::of(0)));
        let read = |cell: &Latest<Twins, 2>| cell.read().map(|(twins, _)| twins.value());
        let other = {
            let cell = cell.clone();
            thread::spawn(move || read(&cell))
        };
        let writer = {
            let cell = cell.clone();
            thread::spawn(move || cell.set(Twins::of(1)))
        };
        let mine = read(&cell);
        let its = other.join().unwrap();
        writer.join().unwrap();
        REACHED.mark_if(0, mine == Some(1) && its == Some(1));
    });
    REACHED.each();
}

#[test]
fn a_loop_that_is_told_to_run_has_its_start_time() {
    static REACHED: Reached<1> = Reached::new(["told in time"]);
    loom::model(|| {
        let control = Arc::new(Control::default());
        let teller = {
            let control = control.clone();
            thread::spawn(move || control.run(42))
        };
        control.tell(Command::Hold);
        if control.command() == Command::Run {
            assert_eq!(control.t0_ns(), 42);
            REACHED.mark(0);
        }
        teller.join().unwrap();
        control.tell(Command::Drain);
        control.tell(Command::Run);
        assert_eq!(control.command(), Command::Drain);
    });
    REACHED.each();
}
