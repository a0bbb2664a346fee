//! Pure decisions about what happens when there is too much.
//!
//! Invariant: nothing here holds a ring, a clock or a counter; a policy is a value.

pub mod bounds;
pub mod bucket;
pub mod codel;
pub mod edf;
pub mod flush;
pub mod guard;
pub mod hot;
pub mod ladder;
pub mod late;
pub mod sample;
#[cfg(test)]
mod sim;
pub mod watermark;

pub use bounds::{Amount, BoundError};
pub use bucket::{Bucket, BucketParams};
pub use codel::{Codel, CodelParams};
pub use edf::Edf;
pub use flush::{Flush, FlushParams};
pub use guard::{Guard, GuardParams};
pub use hot::{Hot, HotKey, HotParams};
pub use ladder::{Ladder, LadderParams, Rung, RungChange};
pub use late::ServiceTime;
pub use sample::{Sample, SampleParams};
pub use watermark::{Watermark, WatermarkParams};

use core::fmt;

/// What happens when a hop's ring has no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WhenFull {
    /// The consumer holds its producer back: the producing stage gets no input until there is room
    /// for what it may emit. Nothing is lost, and latency grows upstream.
    #[default]
    Block,
    /// The new message is refused and the producing stage is told so, and counted as
    /// `shed{rejected}`.
    Reject,
    /// The new message is dropped and counted as `shed{full}`; what is queued stays.
    DropNewest,
}

impl WhenFull {
    /// All policies, in the order in which errors list them.
    pub const ALL: [WhenFull; 3] = [WhenFull::Block, WhenFull::Reject, WhenFull::DropNewest];

    /// The word that config files and reports use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            WhenFull::Block => "block",
            WhenFull::Reject => "reject",
            WhenFull::DropNewest => "drop_newest",
        }
    }

    /// The policy of that name.
    ///
    /// ```
    /// use hopline::overload::WhenFull;
    /// assert_eq!(WhenFull::parse("drop_newest"), Some(WhenFull::DropNewest));
    /// assert_eq!(WhenFull::parse("drop"), None);
    /// ```
    #[must_use]
    pub fn parse(name: &str) -> Option<WhenFull> {
        WhenFull::ALL
            .into_iter()
            .find(|policy| policy.name() == name)
    }
}

impl fmt::Display for WhenFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
