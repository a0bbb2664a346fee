//! What an edge counts.
//!
//! Invariant: every connection that was accepted is open, or has ended for one of the reasons here.

use super::lanes::LaneCounts;
use super::problem::Problem;

crate::reasons! {
    /// Why a connection ended.
    pub enum Ended {
        /// The client left: it closed, said that it goes, or its stream broke off.
        Left = "left",
        /// A response without keep-alive was written.
        Answered = "answered",
        /// It did not say in time what it wants.
        NoHello = "no_hello",
        /// No sign of life.
        Silent = "silent",
        /// It took nothing of what waited for it.
        Stuck = "stuck",
        /// More waited for it than may.
        Slow = "slow",
        /// It sent too much for too long.
        Flood = "flood",
        /// It broke the protocol.
        Protocol = "protocol",
        /// It had no token, or a wrong one.
        BadAuth = "bad_auth",
        /// It was not let in: too many, of one address or in all, or too fast.
        Refused = "refused",
        /// The server sent it away.
        Drained = "drained",
    }
}

/// Counts of an edge, from its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that were accepted.
    pub accepted: u64,
    /// Connections that ended, by reason.
    pub ended: [u64; Ended::ALL.len()],
    /// Requests that were refused, by problem.
    pub problems: [u64; Problem::ALL.len()],
    /// Events published, in all channels.
    pub published: u64,
    /// Events that their channel did not take.
    pub unpublished: u64,
    /// Messages that clients sent.
    pub messages: u64,
    /// Messages of clients that were refused.
    pub refused: u64,
    /// Events sent, to all clients together.
    pub sent: u64,
    /// Events that newer ones stood for, or that a client did not want.
    pub skipped: u64,
    /// Events that clients lost, and were told of.
    pub lost: u64,
    /// Critical events sent again.
    pub resent: u64,
    /// Clients whose view was out of step, and that got a snapshot anew.
    pub resyncs: u64,
    /// Clients that came back to all that they had missed.
    pub recovered: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Writes.
    pub writes: u64,
}

impl Counts {
    /// One ended.
    pub(super) fn end(&mut self, why: Ended) {
        self.ended[why as usize] += 1;
    }

    /// A request was refused.
    pub(super) fn refuse(&mut self, problem: Problem) {
        self.problems[problem as usize] += 1;
    }

    /// What a client's lanes counted.
    pub(super) fn add_lanes(&mut self, lanes: LaneCounts) {
        self.sent += lanes.sent;
        self.skipped += lanes.skipped;
        self.lost += lanes.lost;
        self.resent += lanes.resent;
    }

    /// Connections that are open.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.accepted - self.ended.iter().sum::<u64>()
    }
}
