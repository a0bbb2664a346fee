//! The announced sleep: who wants to sleep says so first, who publishes looks before it wakes.
//!
//! ```text
//! consumer                          producer
//!   flag = true                       publish a frame
//!   fence                             fence
//!   look at the rings once more       flag? take it and wake the consumer
//!   nothing: sleep
//! ```
//!
//! Each side writes one thing and then reads the other's. With a full fence between, at least one of
//! them sees the other (Dekker's rule): the consumer finds the frame, or the producer finds the flag.
//! So no wake-up is lost, and while the consumer is awake a producer pays a fence and a load, but no
//! system call. `tests/loom_wait.rs` tries every interleaving.
//!
//! Invariant: it only says whether to wake; the waking is the driver's. A wake-up may come after the
//! sleeper has changed its mind, so it must be of a kind that is remembered and harmless (an eventfd).

use crate::base::primitive::{Arc, AtomicBool, Ordering, fence};

/// A flag with one sleeper and any number of alarms.
///
/// ```
/// use hopline::wait::announce;
/// let (sleeper, alarm) = announce::pair();
/// assert!(!alarm.should_wake(), "awake: no system call");
/// sleeper.announce();
/// // … the rings are still empty, so the loop sleeps; then a producer publishes:
/// assert!(alarm.should_wake(), "exactly one producer wakes it");
/// assert!(!alarm.should_wake());
/// ```
#[must_use]
pub fn pair() -> (Sleeper, Alarm) {
    let flag = Arc::new(AtomicBool::new(false));
    (Sleeper { flag: flag.clone() }, Alarm { flag })
}

/// The consumer's side; one loop's own.
#[derive(Debug)]
pub struct Sleeper {
    flag: Arc<AtomicBool>,
}

impl Sleeper {
    /// Says that this loop is about to sleep. Afterwards look at all inputs once more, and sleep only
    /// if all are empty; else [`Sleeper::retract`].
    #[inline]
    pub fn announce(&self) {
        // Relaxed: the fence orders it before the second look.
        self.flag.store(true, Ordering::Relaxed);
        // Left out under `--cfg planted_return`, only to show that the model would find that.
        if !cfg!(planted_return) {
            // Pairs with the fence in `Alarm::should_wake`.
            fence(Ordering::SeqCst);
        }
    }

    /// Says that this loop is awake, after a sleep or instead of one.
    #[inline]
    pub fn retract(&self) {
        // Relaxed: a producer that still sees the flag wakes in vain, which is harmless.
        self.flag.store(false, Ordering::Relaxed);
    }

    /// Another alarm for another producer.
    #[must_use]
    pub fn alarm(&self) -> Alarm {
        Alarm {
            flag: self.flag.clone(),
        }
    }
}

/// A producer's side.
#[derive(Clone, Debug)]
pub struct Alarm {
    flag: Arc<AtomicBool>,
}

impl Alarm {
    /// Whether this producer must wake the consumer now; call it after a publish, once for a batch.
    ///
    /// True takes the announcement, so only one producer wakes. False means that the consumer is
    /// awake and will find what was published, or that another has taken it.
    #[inline]
    #[must_use]
    pub fn should_wake(&self) -> bool {
        // Left out under `--cfg planted_ordering`, only to show that the model would find that.
        if !cfg!(planted_ordering) {
            // Pairs with the fence in `Sleeper::announce`: orders the publish before the load.
            fence(Ordering::SeqCst);
        }
        // Relaxed: the frame itself is published by its ring; the flag carries nothing. The load
        // first keeps the cache line shared while the consumer is awake.
        self.flag.load(Ordering::Relaxed) && self.flag.swap(false, Ordering::Relaxed)
    }
}
