//! What all clients of a load share: the channels as they are known, what is checked and counted, and what they do alike.
//!
//! Invariant: no sockets and no clock; times are what it is told.

use hopline::base::Prng;
use serde::Serialize;

use super::check::Checks;
use super::counts::{Beats, Counts, Spans};
use super::known::Channel;
use super::plan::Plan;

/// The time, by a clock that only rises and by the wall's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Now {
    pub(super) ns: u64,
    pub(super) wall_ns: u64,
}

impl Now {
    pub(super) fn wall_ms(self) -> u64 {
        self.wall_ns / 1_000_000
    }
}

/// Waits between two attempts, in seconds: the browser's client has the same.
const WAITS_S: [u64; 6] = [1, 2, 4, 8, 16, 30];

/// After so long up the next failure waits shortly again.
pub(super) const UP_NS: u64 = 30_000_000_000;

/// How long an attempt may take until the server has said hello.
pub(super) const HELLO_NS: u64 = 10_000_000_000;

/// A cut, and how those that it hit came back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct CutReport {
    /// When it was, from the start.
    pub(crate) at_ns: u64,
    /// Connections that were to be cut.
    pub(crate) asked: usize,
    /// Connections that were cut: of clients that were live.
    pub(crate) cut: usize,
    /// Those whose clients are not live again.
    pub(crate) away: usize,
    /// How long it took until all were.
    pub(crate) all_live_ns: Option<u64>,
    /// The latest time to come back that the edge told one of them, from the cut.
    pub(crate) told_ns: Option<u64>,
    /// Those whom it told so more than once.
    pub(crate) told_again: usize,
    /// When it was, by the clock.
    #[serde(skip)]
    pub(super) from_ns: u64,
}

/// What all clients share.
#[derive(Debug)]
pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) channels: Vec<Channel>,
    pub(super) checks: Checks,
    pub(super) counts: Counts,
    pub(super) beats: Beats,
    pub(super) spans: Spans,
    pub(super) cuts: Vec<CutReport>,
    pub(super) prng: Prng,
    /// Between two sampled acknowledgements of a client.
    pub(super) ack_every_ns: Option<u64>,
    /// Clients that are live now.
    pub(super) live: u32,
    /// Clients that have been.
    pub(super) been_live: u32,
}

impl World {
    pub(super) fn new(plan: Plan, ack_every_ns: Option<u64>, seed: u64) -> World {
        let channels = plan.channels.iter();
        World {
            channels: channels.map(|name| Channel::new(name.as_str())).collect(),
            plan,
            checks: Checks::default(),
            counts: Counts::default(),
            beats: Beats::default(),
            spans: Spans::default(),
            cuts: Vec::new(),
            prng: Prng::new(seed),
            ack_every_ns,
            live: 0,
            been_live: 0,
        }
    }

    /// How long a client waits that has failed so often before.
    pub(super) fn back_off_ns(&mut self, failed_before: u32) -> u64 {
        let nth = (failed_before as usize).min(WAITS_S.len() - 1);
        let wait_ns = WAITS_S[nth] * 1_000_000_000;
        wait_ns + self.prng.below(3 * wait_ns / 10)
    }

    /// A client that the cut of that number hit was told to come back at that time.
    pub(super) fn told(&mut self, cut: usize, back_ns: u64, is_again: bool) {
        if let Some(cut) = self.cuts.get_mut(cut) {
            cut.told_ns = cut.told_ns.max(Some(back_ns.saturating_sub(cut.from_ns)));
            cut.told_again += usize::from(is_again);
        }
    }

    /// A client that the cut of that number hit is live again.
    pub(super) fn came_back(&mut self, cut: usize, now_ns: u64) {
        if let Some(cut) = self.cuts.get_mut(cut) {
            cut.away = cut.away.saturating_sub(1);
            if cut.away == 0 {
                cut.all_live_ns = Some(now_ns - cut.from_ns);
            }
        }
    }
}
