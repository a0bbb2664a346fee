//! A message of the book in the making: its head, and the levels of its fragments so far.
//!
//! Invariant: the levels of a message come out together or not at all.

use crate::feed::frames_needed;
use crate::feed::market::{
    DepthHead, LEVELS_MAX, LEVELS_PER_FRAME, Level, Levels, SIDE_BIDS, SnapshotHead,
};

/// The head of the message in the making.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Head {
    Depth(DepthHead),
    Snapshot(SnapshotHead),
}

impl Head {
    fn counts(&self) -> (u16, u16) {
        match self {
            Head::Depth(head) => (head.bids, head.asks),
            Head::Snapshot(head) => (head.bids, head.asks),
        }
    }

    fn id(&self) -> (u64, u16) {
        match self {
            Head::Depth(head) => (head.last_id, head.symbol),
            Head::Snapshot(head) => (head.last_id, head.symbol),
        }
    }
}

/// What a fragment came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// More is to come.
    More,
    /// The message is whole.
    Whole,
    /// It belongs to no message in the making, which is given up; whether it says to be a last one.
    Broken { last: bool },
}

/// The bounded store of one message: as a stage gets the fragments of a message one after the
/// other, one is enough.
#[derive(Debug)]
pub(crate) struct Collector {
    levels: Box<[Level]>,
    used: usize,
    head: Option<Head>,
    part: u16,
    parts: u16,
}

impl Collector {
    /// An empty store. Allocates room for the largest message.
    pub(crate) fn new() -> Collector {
        Collector {
            levels: vec![Level::default(); LEVELS_MAX].into_boxed_slice(),
            used: 0,
            head: None,
            part: 0,
            parts: 0,
        }
    }

    /// Bytes of its store.
    pub(crate) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.levels)
    }

    /// Begins a message; one that was in the making is given up.
    pub(crate) fn begin(&mut self, head: Head) -> Step {
        let (bids, asks) = head.counts();
        let parts = frames_needed(usize::from(bids), usize::from(asks));
        self.used = 0;
        self.part = 1;
        if usize::from(bids) + usize::from(asks) > LEVELS_MAX {
            self.head = None;
            return Step::Broken { last: false };
        }
        self.head = Some(head);
        self.parts = parts as u16;
        self.step()
    }

    fn step(&self) -> Step {
        if self.part == self.parts {
            Step::Whole
        } else {
            Step::More
        }
    }

    /// Adds a fragment.
    pub(crate) fn add(&mut self, fragment: &Levels) -> Step {
        if !self.fits(fragment) {
            self.head = None;
            return Step::Broken {
                last: fragment.part.checked_add(1) == Some(fragment.parts),
            };
        }
        let levels = fragment.as_slice();
        self.levels[self.used..self.used + levels.len()].copy_from_slice(levels);
        self.used += levels.len();
        self.part += 1;
        self.step()
    }

    /// Whether this is the fragment that must come next, with as many levels as it must have.
    fn fits(&self, fragment: &Levels) -> bool {
        let Some(head) = &self.head else {
            return false;
        };
        let (bids, asks) = head.counts();
        let (bids, all) = (usize::from(bids), usize::from(bids) + usize::from(asks));
        let of_bids = self.used < bids;
        let end = if of_bids { bids } else { all };
        head.id() == (fragment.last_id, fragment.symbol)
            && (self.part, self.parts) == (fragment.part, fragment.parts)
            && (fragment.side == SIDE_BIDS) == of_bids
            && usize::from(fragment.count) == LEVELS_PER_FRAME.min(end - self.used)
    }

    /// The whole message: its head, its bids and its asks. Forgets the head.
    pub(crate) fn take(&mut self) -> Option<(Head, &[Level], &[Level])> {
        let head = self.head.take()?;
        let (bids, asks) = self.levels[..self.used].split_at(usize::from(head.counts().0));
        Some((head, bids, asks))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::decimal::{Price, Qty};
    use crate::feed::{Message, fragments};

    fn levels(count: usize) -> Vec<Level> {
        (1..=count as i64)
            .map(|n| Level {
                price: Price(n),
                qty: Qty(n),
            })
            .collect()
    }

    fn head(bids: usize, asks: usize) -> DepthHead {
        DepthHead {
            last_id: 7,
            bids: bids as u16,
            asks: asks as u16,
            ..DepthHead::default()
        }
    }

    #[test]
    fn fragments_come_out_as_they_went_in() {
        let mut store = Collector::new();
        for (bids, asks) in [(0, 0), (1, 0), (0, 5), (5, 6), (12, 1), (LEVELS_MAX - 5, 5)] {
            let (bids, asks) = (levels(bids), levels(asks));
            let head = head(bids.len(), asks.len());
            let message = Message::Depth {
                head,
                bids: &bids,
                asks: &asks,
            };
            let mut step = store.begin(Head::Depth(head));
            for fragment in fragments(&message) {
                assert_eq!(step, Step::More);
                step = store.add(&fragment);
            }
            assert_eq!(step, Step::Whole);
            let (_, got_bids, got_asks) = store.take().unwrap();
            assert_eq!((got_bids, got_asks), (&bids[..], &asks[..]));
            assert!(store.take().is_none());
        }
    }

    #[test]
    fn a_message_with_a_fragment_missing_is_given_up() {
        let (bids, asks) = (levels(11), levels(6));
        let head = head(bids.len(), asks.len());
        let message = Message::Depth {
            head,
            bids: &bids,
            asks: &asks,
        };
        let all: Vec<Levels> = fragments(&message).collect();
        for missing in 0..all.len() {
            let mut store = Collector::new();
            store.begin(Head::Depth(head));
            let mut last = Step::More;
            for (at, fragment) in all.iter().enumerate() {
                if at != missing {
                    last = store.add(fragment);
                    assert_ne!(last, Step::Whole);
                }
            }
            assert!(missing + 1 == all.len() || last == Step::Broken { last: true });
        }
    }

    #[test]
    fn strangers_are_refused() {
        let (bids, asks) = (levels(5), levels(5));
        let head = head(5, 5);
        let message = Message::Depth {
            head,
            bids: &bids,
            asks: &asks,
        };
        let first = fragments(&message).next().unwrap();
        let spoilt: [fn(&mut Levels); 6] = [
            |l| l.last_id += 1,
            |l| l.symbol += 1,
            |l| l.part = u16::MAX,
            |l| l.parts += 1,
            |l| l.count = 4,
            |l| l.side = 1,
        ];
        for spoil in spoilt {
            let mut stranger = first;
            spoil(&mut stranger);
            let mut store = Collector::new();
            assert_eq!(store.add(&stranger), Step::Broken { last: false });
            store.begin(Head::Depth(head));
            assert_eq!(store.add(&stranger), Step::Broken { last: false });
            assert!(store.take().is_none());
        }
    }
}
