//! What an edge counts.
//!
//! Invariant: every connection that was accepted is open, or has ended for one of the reasons here; every event that was due to a
//! client was sent, has a reason why not, or waits.

use super::admission::TurnedAway;
use super::code::Code;
use super::lanes::LaneCounts;
use super::problem::Problem;
use super::route::Transport;

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
        /// It broke the protocol, or says that the edge did.
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
    /// Connections of them that were not let in, by reason.
    pub turned_away: [u64; TurnedAway::ALL.len()],
    /// Connections that ended, by reason.
    pub ended: [u64; Ended::ALL.len()],
    /// Connections that were told why they end, by code.
    pub closes: [u64; Code::ALL.len()],
    /// Streams that began, by transport.
    pub streams: [u64; Transport::ALL.len()],
    /// Those of them that are open.
    pub streams_open: [u64; Transport::ALL.len()],
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
    /// Acknowledgements among them.
    pub acks: u64,
    /// What became of events, all clients together.
    pub lanes: LaneCounts,
    /// Clients whose view was out of step, and that got a snapshot anew.
    pub resyncs: u64,
    /// Clients that came back to all that they had missed.
    pub recovered: u64,
    /// Clients that came back to something else: what they had missed was gone, or another server's.
    pub unrecovered: u64,
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

    /// Connections that are open.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.accepted.saturating_sub(self.all_ended())
    }

    fn all_ended(&self) -> u64 {
        self.ended.iter().sum()
    }

    /// Connections that were there and dead, found by their silence or because they took nothing.
    #[must_use]
    pub fn half_open(&self) -> u64 {
        self.ended[Ended::Silent as usize] + self.ended[Ended::Stuck as usize]
    }

    /// What does not add up, in words; empty where all does.
    #[must_use]
    pub fn breaches(&self) -> Vec<String> {
        let mut breaches = Vec::new();
        if self.all_ended() > self.accepted {
            breaches.push(format!(
                "edge: {} connections ended, and {} were accepted",
                self.all_ended(),
                self.accepted
            ));
        }
        let open: u64 = self.streams_open.iter().sum();
        if open > self.open() {
            breaches.push(format!(
                "edge: {open} streams are open on {} connections",
                self.open()
            ));
        }
        let told: u64 = self.closes.iter().sum();
        if told > self.all_ended() {
            breaches.push(format!(
                "edge: {told} were told why they end, and {} ended",
                self.all_ended()
            ));
        }
        if !self.lanes.adds_up() {
            breaches.push(format!(
                "edge: what was due to clients is not what became of it: {:?}",
                self.lanes
            ));
        }
        breaches
    }
}
