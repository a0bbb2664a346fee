//! How the messages of a port are divided among several consumers, and what a broadcast does about a slow one.
//!
//! Invariant: words of the configuration and nothing else; what they come to is the hops' own.

use core::fmt;

/// How each message gets to exactly one of several consumers.
///
/// ```
/// use hopline::overload::Split;
/// assert_eq!(Split::parse("any"), Some(Split::AnyOf));
/// assert_eq!(Split::ByKey.to_string(), "key");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Split {
    /// By a hash of its key: those of one key go to one consumer, in their order.
    ByKey,
    /// To the first one with room, going round.
    AnyOf,
}

impl Split {
    /// Both, in the order in which errors list them.
    pub const ALL: [Split; 2] = [Split::ByKey, Split::AnyOf];

    /// The word that config files and reports use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Split::ByKey => "key",
            Split::AnyOf => "any",
        }
    }

    /// The one of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Split> {
        Split::ALL.into_iter().find(|split| split.name() == name)
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a broadcast does where one of its consumers is slower than the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Slow {
    /// It holds the producer back, and with it the others.
    #[default]
    Hold,
    /// It has a ring of its own, on which what does not fit is dropped and counted.
    Tap,
    /// It has a ring of its own, which holds the producer back for `block_timeout` at most and is then closed: what comes
    /// after that is `shed{disconnected}`, and the consumer ends when it has read what is queued.
    Disconnect,
}

impl Slow {
    /// All of them, in the order in which errors list them.
    pub const ALL: [Slow; 3] = [Slow::Hold, Slow::Tap, Slow::Disconnect];

    /// The word that config files use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Slow::Hold => "hold",
            Slow::Tap => "tap",
            Slow::Disconnect => "disconnect",
        }
    }

    /// The one of that name.
    ///
    /// ```
    /// use hopline::overload::Slow;
    /// assert_eq!(Slow::parse("tap"), Some(Slow::Tap));
    /// ```
    #[must_use]
    pub fn parse(name: &str) -> Option<Slow> {
        Slow::ALL.into_iter().find(|slow| slow.name() == name)
    }
}

impl fmt::Display for Slow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
