//! Who of the nodes on a loop has the next turn.
//!
//! Invariant: names and values; the turns are given elsewhere.

use core::fmt;

use crate::base::limits::GUARD_TURNS;

/// How the nodes of a loop share its turns. Whatever it is, a node takes a bounded batch in its turn, and
/// nobody is interrupted in one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Schedule {
    /// Each in its place, all the same.
    #[default]
    RoundRobin,
    /// After each turn with work the most important node that has input; those of one priority go round.
    Priority,
    /// After each turn with work the node of whose input a frame is due first.
    Edf,
}

impl Schedule {
    /// All of them, in the order in which errors list them.
    pub const ALL: [Schedule; 3] = [Schedule::RoundRobin, Schedule::Priority, Schedule::Edf];

    /// The word that config files and plans use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Schedule::RoundRobin => "round_robin",
            Schedule::Priority => "priority",
            Schedule::Edf => "edf",
        }
    }

    /// The schedule of that name.
    ///
    /// ```
    /// use hopline::reactor::Schedule;
    /// assert_eq!(Schedule::parse("edf"), Some(Schedule::Edf));
    /// assert_eq!(Schedule::parse("fifo"), None);
    /// ```
    #[must_use]
    pub fn parse(name: &str) -> Option<Schedule> {
        Schedule::ALL
            .into_iter()
            .find(|schedule| schedule.name() == name)
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The schedule of one loop with what it needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Which it is.
    pub schedule: Schedule,
    /// Turns of others after which a node that has input gets one all the same; says nothing of
    /// [`Schedule::RoundRobin`].
    pub guard_turns: u32,
    /// Each node's priority, in the order of the loop's nodes, 0 being the first; those that are missing
    /// are the last. Only [`Schedule::Priority`] looks at them.
    pub priorities: Vec<u8>,
}

impl Default for Order {
    fn default() -> Order {
        Order {
            schedule: Schedule::default(),
            guard_turns: GUARD_TURNS,
            priorities: Vec::new(),
        }
    }
}
