//! What a sequenced feed counts, a line and in union.
//!
//! Invariant: numbers only; who counts what is the engine's.

use crate::feed::packets::PacketReject;

/// Reasons for which a packet can be refused.
const REJECTS: usize = PacketReject::ALL.len();

/// What one line brought. All counts are since the feed was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineCounts {
    /// Datagrams.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Datagrams that were refused, by [`PacketReject`]; the others were understood.
    pub rejected: [u64; REJECTS],
    /// Heartbeats and ends of sessions among those understood.
    pub heartbeats: u64,
    /// Messages in those understood: the sum of the six counts below.
    pub messages: u64,
    /// Messages that came first on this line: handed out, or held until their turn.
    pub first: u64,
    /// Messages of which a copy had come before.
    pub duplicate: u64,
    /// Messages that came when they had been given up.
    pub late: u64,
    /// Messages from before the feed was joined, or too long ago to tell a duplicate from a late one.
    pub old: u64,
    /// Messages of an era that was over.
    pub straggler: u64,
    /// Messages before their turn that were longer than what is held.
    pub unheld: u64,
    /// Messages that this line never brought, as far as its own sequences tell: its losses.
    pub missing: u64,
    /// Messages that it brought after later ones, and that were missing until then.
    pub reordered: u64,
    /// Messages that it brought twice.
    pub repeated: u64,
}

/// What became of the lines together. All counts are since the feed was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnionCounts {
    /// Messages handed out.
    pub delivered: u64,
    /// Messages given up.
    pub lost: u64,
    /// Times that a gap opened when there was none.
    pub gaps: u64,
    /// Eras begun by a new session, the first included.
    pub sessions: u64,
    /// Eras begun by a numbering that fell.
    pub restarts: u64,
    /// Sessions that said they were over, and were.
    pub ended: u64,
    /// Times that the feed went stale.
    pub stale: u64,
    /// Most messages held at once.
    pub held_max: u64,
    /// Datagrams said to be from a line that the feed does not have.
    pub unknown_line: u64,
}

impl LineCounts {
    /// Datagrams that were refused, for whatever reason.
    #[must_use]
    pub fn rejected_all(&self) -> u64 {
        self.rejected.iter().sum()
    }
}
