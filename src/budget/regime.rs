//! Where the time of a loop goes: each tick belongs to exactly one regime.

use crate::base::Counter;

/// An exclusive class of time in a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Regime {
    /// In a handler.
    Work,
    /// In a call to the operating system that moved bytes.
    Io,
    /// There is input and no room for what it would emit.
    HeldBack,
    /// Paced chores of the loop.
    Housekeeping,
    /// Nothing to do.
    Idle,
}

impl Regime {
    /// All of them, in the order of the counters.
    pub const ALL: [Regime; 5] = [
        Regime::Work,
        Regime::Io,
        Regime::HeldBack,
        Regime::Housekeeping,
        Regime::Idle,
    ];

    /// The word that reports use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Regime::Work => "work",
            Regime::Io => "io",
            Regime::HeldBack => "held_back",
            Regime::Housekeeping => "housekeeping",
            Regime::Idle => "idle",
        }
    }
}

/// Nanoseconds spent in each regime; written by one loop, read by anybody.
#[derive(Debug, Default)]
pub struct Regimes([Counter; 5]);

impl Regimes {
    /// Adds a span to a regime. Only the loop that owns it may call this.
    #[inline(always)]
    pub fn add(&self, regime: Regime, span_ns: u64) {
        self.0[regime as usize].add(span_ns);
    }

    /// Forgets all spans. Only the loop that owns it may call this.
    pub fn clear(&self) {
        self.0.iter().for_each(|span| span.set(0));
    }

    /// Nanoseconds in a regime so far.
    #[must_use]
    pub fn get(&self, regime: Regime) -> u64 {
        self.0[regime as usize].get()
    }

    /// All spans, in the order of [`Regime::ALL`].
    #[must_use]
    pub fn all(&self) -> [u64; 5] {
        Regime::ALL.map(|regime| self.get(regime))
    }
}
