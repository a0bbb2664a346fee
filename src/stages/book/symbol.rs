//! One symbol's book: how snapshots and changes become one state.
//!
//! Who moves the arrow is in brackets:
//! ```text
//!   empty ─[snapshot that joins]→ live ─[a change is missing]→ stale ─[snapshot that joins]→ live
//! ```
//!
//! The exchange's rule for a correct book, with what it leaves open:
//! - Changes that come before the snapshot wait ([`Pending`]). A change whose last id is not beyond
//!   the snapshot's is in the snapshot already and is dropped.
//! - The first change after a snapshot joins if nothing can lie between the two: its `prev` is not
//!   beyond the snapshot's id (or, where the product has no `prev`, its first id is at most the
//!   next one). If it does not join, the snapshot is too old and is not used.
//! - Each later change must name the one before it: `prev` equals its last id. If not, the book is
//!   stale: it stays as it was, changes wait again, and the next snapshot that joins repairs it.
//! - A snapshot that a live book is beyond already says nothing new.
//!
//! Invariant: while it is live, the book is the snapshot and every change since.

use crate::feed::market::{DepthHead, Level, SnapshotHead};
use crate::stages::frames::BookState;

use super::ladder::{Better, Ladder};
use super::pending::Pending;

/// The ids of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ids {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) prev: Option<u64>,
}

impl Ids {
    pub(crate) fn of(head: &DepthHead) -> Ids {
        Ids {
            first: head.first_id,
            last: head.last_id,
            prev: head.prev(),
        }
    }

    /// Whether this change comes right after the one that ended with `last_id`.
    #[inline]
    pub(crate) fn follows(&self, last_id: u64) -> bool {
        match self.prev {
            Some(prev) => prev == last_id,
            None => last_id.checked_add(1) == Some(self.first),
        }
    }

    /// Whether nothing can be missing between a snapshot of that id and this change.
    #[inline]
    pub(crate) fn joins(&self, snapshot_id: u64) -> bool {
        match self.prev {
            Some(prev) => prev <= snapshot_id,
            None => self.first <= snapshot_id.saturating_add(1),
        }
    }
}

/// A change of the book with its levels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change<'a> {
    pub(crate) ids: Ids,
    pub(crate) bids: &'a [Level],
    pub(crate) asks: &'a [Level],
}

/// What a message came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    /// It is in the book.
    Yes,
    /// The book, or what waits, is beyond it already.
    Old,
    /// It waits for a snapshot.
    Waits,
    /// A change before it is missing: the book was live and is stale now.
    Gap,
    /// A snapshot that is too old for the changes that wait.
    TooOld,
}

/// A symbol's book.
#[derive(Debug)]
pub(crate) struct SymbolBook {
    bids: Ladder,
    asks: Ladder,
    state: BookState,
    last_id: u64,
    /// Whether a change has joined the last snapshot.
    joined: bool,
    pending: Pending,
}

impl SymbolBook {
    /// An empty book of at most `levels` levels a side. Allocates all that it will ever need.
    pub(crate) fn new(levels: usize) -> SymbolBook {
        SymbolBook {
            bids: Ladder::new(Better::Higher, levels),
            asks: Ladder::new(Better::Lower, levels),
            state: BookState::Empty,
            last_id: 0,
            joined: false,
            pending: Pending::new(),
        }
    }

    /// Bytes of its stores.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.bids.memory_bytes() + self.asks.memory_bytes() + self.pending.memory_bytes()
    }

    /// Touches all stores of an empty book.
    pub(crate) fn touch(&mut self) {
        self.bids.touch();
        self.asks.touch();
        self.pending.touch();
    }

    pub(crate) fn state(&self) -> BookState {
        self.state
    }

    /// The id of the last change that is in the book; 0 before the first snapshot.
    pub(crate) fn last_id(&self) -> u64 {
        self.last_id
    }

    pub(crate) fn bids(&self) -> &Ladder {
        &self.bids
    }

    pub(crate) fn asks(&self) -> &Ladder {
        &self.asks
    }

    /// Takes a change.
    pub(crate) fn change(&mut self, change: &Change<'_>) -> Applied {
        if self.state != BookState::Live {
            self.pending.push(change);
            return Applied::Waits;
        }
        if change.ids.last <= self.last_id {
            return Applied::Old;
        }
        let fits = if self.joined {
            change.ids.follows(self.last_id)
        } else {
            change.ids.joins(self.last_id)
        };
        if !fits {
            self.state = BookState::Stale;
            self.pending.push(change);
            return Applied::Gap;
        }
        change.bids.iter().for_each(|level| self.bids.set(*level));
        change.asks.iter().for_each(|level| self.asks.set(*level));
        self.last_id = change.ids.last;
        self.joined = true;
        Applied::Yes
    }

    /// Takes a snapshot.
    pub(crate) fn snapshot(
        &mut self,
        head: &SnapshotHead,
        bids: &[Level],
        asks: &[Level],
    ) -> Applied {
        if self.state == BookState::Live && head.last_id <= self.last_id {
            return Applied::Old;
        }
        self.pending.forget_until(head.last_id);
        if let Some(first) = self.pending.first()
            && !first.joins(head.last_id)
        {
            return Applied::TooOld;
        }
        let (bid_side, ask_side) = (&mut self.bids, &mut self.asks);
        bid_side.clear();
        ask_side.clear();
        bids.iter().for_each(|level| bid_side.set(*level));
        asks.iter().for_each(|level| ask_side.set(*level));
        let waited = self
            .pending
            .drain(|level| bid_side.set(level), |level| ask_side.set(level));
        self.joined = waited.is_some();
        self.last_id = waited.unwrap_or(head.last_id);
        self.state = BookState::Live;
        Applied::Yes
    }
}
