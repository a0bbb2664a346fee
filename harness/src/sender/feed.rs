//! What the messages of a lane are: made up by a schedule, or a capture's.
//!
//! Invariant: no feed takes more memory for being long.

use core::net::SocketAddr;

use hopline::feed::readings::Readings;
use hopline::feed::schedule::ScheduleError;
use hopline::feed::simulated::Lines;
use hopline::feed::{Schedule, Synthetic};

use super::capture::Capture;

/// Where the messages of a lane come from.
pub(super) enum Feed {
    Market {
        feed: Box<Synthetic>,
        rate_per_s: f64,
    },
    Datagrams {
        schedule: Schedule,
        sequence: u64,
        rate_per_s: f64,
    },
    /// Packets of a made-up exchange, on one line or two; with the address of each.
    Exchange {
        lines: Box<Lines>,
        to: [SocketAddr; 2],
        rate_per_s: f64,
    },
    Lines {
        schedule: Schedule,
        readings: Readings,
        rate_per_s: f64,
    },
    Capture(Box<Capture>),
}

impl Feed {
    /// Sends what is made up by another schedule of the same mean rate.
    pub(super) fn follow(
        &mut self,
        other: impl FnOnce(f64) -> Result<Schedule, ScheduleError>,
    ) -> Result<(), ScheduleError> {
        match self {
            Feed::Market { feed, rate_per_s } => feed.follow(other(*rate_per_s)?),
            Feed::Datagrams {
                schedule,
                rate_per_s,
                ..
            }
            | Feed::Lines {
                schedule,
                rate_per_s,
                ..
            } => *schedule = other(*rate_per_s)?,
            Feed::Exchange {
                lines, rate_per_s, ..
            } => lines.follow(other(*rate_per_s)?),
            Feed::Capture(_) => {}
        }
        Ok(())
    }
}
