//! The one word that all loops of a line obey.
//!
//! Invariant: a command only rises; a loop that looks late sees the last one.

use crate::base::primitive::{AtomicU32, AtomicU64, Ordering};

/// What the line is told to do. Commands only rise: a drain cannot be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Command {
    /// Wait for the others to open what they need.
    Hold = 0,
    /// Run.
    Run = 1,
    /// Sources stop, what is queued is finished.
    Drain = 2,
    /// The drain took too long: what is queued is discarded.
    GiveUp = 3,
    /// End at once.
    Abort = 4,
}

/// One word that all loops of a line read in every turn; it is written a few times in a run, so
/// it stays in every core's cache.
#[derive(Debug)]
pub struct Control {
    command: AtomicU32,
    /// How often there was news for the nodes, such as another policy.
    news: AtomicU32,
    t0_ns: AtomicU64,
}

impl Default for Control {
    fn default() -> Control {
        Control {
            command: AtomicU32::new(Command::Hold as u32),
            news: AtomicU32::new(0),
            t0_ns: AtomicU64::new(0),
        }
    }
}

impl Control {
    /// Lets all loops run; schedules count from `t0_ns` of the line's clock.
    pub fn run(&self, t0_ns: u64) {
        self.t0_ns.store(t0_ns, Ordering::Relaxed);
        self.tell(Command::Run);
    }

    /// Tells all loops. A command lower than the last one is ignored.
    pub fn tell(&self, command: Command) {
        // Release pairs with Acquire in `command`: the start time is there when Run is seen. Weakened under
        // `--cfg planted_ordering`, only to show that the model would find that.
        let telling = match cfg!(planted_ordering) {
            true => Ordering::Relaxed,
            false => Ordering::Release,
        };
        self.command.fetch_max(command as u32, telling);
    }

    /// The last command.
    #[inline]
    #[must_use]
    pub fn command(&self) -> Command {
        // Acquire pairs with Release in `tell`.
        match self.command.load(Ordering::Acquire) {
            0 => Command::Hold,
            1 => Command::Run,
            2 => Command::Drain,
            3 => Command::GiveUp,
            _ => Command::Abort,
        }
    }

    /// Has all nodes look at their cells in their loop's next turn.
    pub fn news(&self) {
        // Release pairs with Acquire in `heard`: what is new is there when it is seen that there is something.
        self.news.fetch_add(1, Ordering::Release);
    }

    /// How often there was news so far.
    #[inline]
    #[must_use]
    pub fn heard(&self) -> u32 {
        // Acquire pairs with Release in `news`.
        self.news.load(Ordering::Acquire)
    }

    /// The time from which schedules count, once the line runs.
    #[must_use]
    pub fn t0_ns(&self) -> u64 {
        self.t0_ns.load(Ordering::Relaxed)
    }
}
