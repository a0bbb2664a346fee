//! Changes of a book that wait for a snapshot to join.
//!
//! Bounded by messages and by levels; when either is full, the oldest change goes. A snapshot that
//! would have needed it is then too old to join, and the book waits for the next one.
//!
//! Invariant: each change in it follows the one before it.

use std::collections::VecDeque;

use crate::feed::market::{LEVELS_MAX, Level};

use super::symbol::{Change, Ids};

/// Most changes that wait: 13 s of the busiest stream of changes in the captures (20 a second).
pub const PENDING_CHANGES: usize = 256;

/// Most levels of the changes that wait: 240 changes of the captures' mean of 68.
pub const PENDING_LEVELS: usize = 16_384;

const _: () = assert!(LEVELS_MAX <= PENDING_LEVELS);

#[derive(Clone, Copy, Debug)]
struct Waiting {
    ids: Ids,
    bids: u16,
    asks: u16,
}

/// The changes since a book was last live.
#[derive(Debug)]
pub(crate) struct Pending {
    changes: VecDeque<Waiting>,
    levels: VecDeque<Level>,
}

impl Pending {
    /// An empty store. Allocates for all that it may hold.
    pub(crate) fn new() -> Pending {
        Pending {
            changes: VecDeque::with_capacity(PENDING_CHANGES),
            levels: VecDeque::with_capacity(PENDING_LEVELS),
        }
    }

    /// Bytes of its store.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.changes.capacity() * size_of::<Waiting>() + self.levels.capacity() * size_of::<Level>()
    }

    /// Touches the whole store of levels, so that no page of it is met first in a turn. Forgets all
    /// changes.
    pub(crate) fn touch(&mut self) {
        self.levels.resize(PENDING_LEVELS, Level::default());
        self.clear();
    }

    /// Forgets all changes.
    pub(crate) fn clear(&mut self) {
        self.changes.clear();
        self.levels.clear();
    }

    /// Keeps a change. One that does not follow the last makes all before it useless.
    pub(crate) fn push(&mut self, change: &Change<'_>) {
        if let Some(last) = self.changes.back() {
            if change.ids.last <= last.ids.last {
                return;
            }
            if !change.ids.follows(last.ids.last) {
                self.clear();
            }
        }
        let needed = change.bids.len() + change.asks.len();
        while self.changes.len() == PENDING_CHANGES || self.levels.len() + needed > PENDING_LEVELS {
            if !self.drop_first() {
                return;
            }
        }
        self.changes.push_back(Waiting {
            ids: change.ids,
            bids: change.bids.len() as u16,
            asks: change.asks.len() as u16,
        });
        self.levels.extend(change.bids);
        self.levels.extend(change.asks);
    }

    /// Drops the oldest change; whether there was one.
    fn drop_first(&mut self) -> bool {
        let Some(first) = self.changes.pop_front() else {
            return false;
        };
        let gone = usize::from(first.bids) + usize::from(first.asks);
        self.levels.drain(..gone);
        true
    }

    /// Drops the changes that a snapshot of that id has in it.
    pub(crate) fn forget_until(&mut self, id: u64) {
        while self
            .changes
            .front()
            .is_some_and(|first| first.ids.last <= id)
        {
            self.drop_first();
        }
    }

    /// The ids of the oldest change.
    pub(crate) fn first(&self) -> Option<Ids> {
        self.changes.front().map(|first| first.ids)
    }

    /// Takes all changes out, level by level in their order, and answers the last change's id.
    pub(crate) fn drain(
        &mut self,
        mut bid: impl FnMut(Level),
        mut ask: impl FnMut(Level),
    ) -> Option<u64> {
        let mut last_id = None;
        for change in self.changes.drain(..) {
            last_id = Some(change.ids.last);
            self.levels
                .drain(..usize::from(change.bids))
                .for_each(&mut bid);
            self.levels
                .drain(..usize::from(change.asks))
                .for_each(&mut ask);
        }
        last_id
    }
}
