//! What the messages that a hop lost were lost to: which of its limits, and so what may be done about it.
//!
//! Invariant: every reason to shed or discard belongs to one of them.

use super::report::HopReport;
use crate::base::{Discard, Reason, Shed};

/// What a message was lost to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LostTo {
    /// There was no room for it, or it made room for others: the one thing that a deeper hop may help.
    Room,
    /// A newer one of its key took its place.
    Newer,
    /// It was too old, or would have been: a deeper hop makes that worse.
    Age,
    /// More came than the hop's rate lets through.
    Rate,
    /// The hop was on a rung of the degrade ladder.
    Ladder,
    /// It was not the one in so many that is taken.
    Sample,
    /// Something that is no limit of the hop: it was closed, or its consumer had failed.
    Other,
}

impl LostTo {
    /// All of them.
    pub const ALL: [LostTo; 7] = [
        LostTo::Room,
        LostTo::Newer,
        LostTo::Age,
        LostTo::Rate,
        LostTo::Ladder,
        LostTo::Sample,
        LostTo::Other,
    ];

    /// What was shed for that reason by a hop that has been on the degrade ladder, or has not.
    #[must_use]
    pub const fn shed(why: Shed, was_degraded: bool) -> LostTo {
        match why {
            Shed::Full | Shed::Rejected | Shed::Overflowed | Shed::BlockTimeout => LostTo::Room,
            Shed::Conflated if was_degraded => LostTo::Ladder,
            Shed::Conflated => LostTo::Newer,
            Shed::Sampled if was_degraded => LostTo::Ladder,
            Shed::Sampled => LostTo::Sample,
            Shed::RateLimited => LostTo::Rate,
            Shed::Hopeless => LostTo::Age,
            Shed::Degraded | Shed::Refused => LostTo::Ladder,
            Shed::Oversize
            | Shed::Closed
            | Shed::Disconnected
            | Shed::Moving
            | Shed::Undeclared => LostTo::Other,
        }
    }

    /// What was discarded for that reason.
    #[must_use]
    pub const fn discarded(why: Discard) -> LostTo {
        match why {
            Discard::Late | Discard::Stale => LostTo::Age,
            Discard::Oldest => LostTo::Room,
            Discard::StageFailed
            | Discard::DrainDeadline
            | Discard::Malformed
            | Discard::Aborted => LostTo::Other,
        }
    }

    /// Whether a consumer that takes more in the same time would lose less to it.
    #[must_use]
    pub const fn is_slowness(self) -> bool {
        !matches!(self, LostTo::Rate | LostTo::Other)
    }
}

/// Messages lost, by what they were lost to.
///
/// ```
/// use hopline::budget::losses::LostTo;
/// use hopline::budget::report::HopReport;
/// let mut hop = HopReport::default();
/// hop.shed.insert("full".to_owned(), 3);
/// hop.discarded.insert("stale".to_owned(), 5);
/// let losses = hop.losses();
/// assert_eq!((losses.to(LostTo::Room), losses.to(LostTo::Age)), (3, 5));
/// assert_eq!(losses.worst(), Some(LostTo::Age));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses([u64; LostTo::ALL.len()]);

impl Losses {
    /// Messages lost to that.
    #[must_use]
    pub const fn to(&self, what: LostTo) -> u64 {
        self.0[what as usize]
    }

    /// Messages lost because the consumer did not take them in time.
    #[must_use]
    pub fn to_slowness(&self) -> u64 {
        let slow = LostTo::ALL.into_iter().filter(|what| what.is_slowness());
        slow.map(|what| self.to(what)).sum()
    }

    /// Of what a quicker consumer would have lost less to, that to which most were lost; the first of equals.
    #[must_use]
    pub fn worst(&self) -> Option<LostTo> {
        let slow = LostTo::ALL.into_iter().rev();
        let slow = slow.filter(|what| what.is_slowness() && self.to(*what) > 0);
        slow.max_by_key(|what| self.to(*what))
    }

    /// What came since `before`.
    #[must_use]
    pub fn since(&self, before: &Losses) -> Losses {
        Losses(core::array::from_fn(|at| {
            self.0[at].saturating_sub(before.0[at])
        }))
    }

    fn add(&mut self, what: LostTo, messages: u64) {
        self.0[what as usize] += messages;
    }
}

impl HopReport {
    /// What it lost, by what to. What a shared ring sheds counts with its first hop; of the others only what they discard.
    #[must_use]
    pub fn losses(&self) -> Losses {
        let mut losses = Losses::default();
        let was_degraded = !self.rungs.is_empty();
        for why in Shed::ALL.iter().filter(|_| self.shares.is_none()) {
            let messages = self.shed.get(why.name()).copied().unwrap_or(0);
            losses.add(LostTo::shed(*why, was_degraded), messages);
        }
        for why in Discard::ALL {
            let messages = self.discarded.get(why.name()).copied().unwrap_or(0);
            losses.add(LostTo::discarded(*why), messages);
        }
        losses
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn what_a_hop_lost_is_told_by_its_limit() {
        let mut hop = HopReport::default();
        assert_eq!(
            (hop.losses().worst(), hop.losses().to_slowness()),
            (None, 0)
        );
        for why in Shed::ALL {
            hop.shed.insert(why.name().to_owned(), 1);
        }
        for why in Discard::ALL {
            hop.discarded.insert(why.name().to_owned(), 10);
        }
        let all = |hop: &HopReport| LostTo::ALL.map(|what| hop.losses().to(what));
        assert_eq!(all(&hop), [14, 1, 21, 1, 2, 1, 45]);
        assert_eq!(hop.losses().to_slowness(), 39);
        assert_eq!(hop.losses().worst(), Some(LostTo::Age));
        // On the ladder, who waits for room or is not drawn is left out by a rung.
        hop.rungs.insert("conflate".to_owned(), 1);
        assert_eq!(all(&hop), [14, 0, 21, 1, 4, 0, 45]);
        assert_eq!(hop.losses().since(&hop.losses()), Losses::default());
        // Of a ring that is shared the first hop counts what was shed.
        hop.shares = Some("in->a".to_owned());
        assert_eq!(all(&hop), [10, 0, 20, 0, 0, 0, 40]);
    }

    #[test]
    fn of_equals_the_first_is_the_worst() {
        let mut hop = HopReport::default();
        hop.shed.insert("full".to_owned(), 2);
        hop.shed.insert("hopeless".to_owned(), 2);
        hop.shed.insert("rate_limited".to_owned(), 90);
        assert_eq!(hop.losses().worst(), Some(LostTo::Room));
    }
}
