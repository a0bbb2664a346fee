//! The measuring kit: one loop for a link between two pinned threads, whoever made the link.
//!
//! The bare physical floor (two cache lines), hopline's rings and any rival run under the very same
//! loop, because the loop knows a [`Link`] only. What it offers:
//!
//! - [`ping_pong`] (closed loop): a round trip over two links, halved, by hopline's clock: `rdtsc`
//!   before the send, `rdtscp` after the answer. The p50 and p99 of it are the link's own.
//! - [`open_loop`]: one way, from *intended* times at a fixed rate, so that a late sender hides nothing.
//!   It reads two cores' clocks: [`clock_skew_ns`] says how far they are apart.
//! - [`stream`]: flat out, one by one or in batches; nanoseconds an item.
//! - [`interleave`]: every candidate in each round, the order rotated, so that what the host does to
//!   one round it does to all; [`Summary`] takes every ratio *within a round* and only then the median.
//!
//! Every byte of a payload is written and read: a receiver returns the sum of all its words, and the
//! echo sends that sum on, so the answer cannot leave before the last byte was there.
//!
//! ```no_run
//! use hopline_harness::measure::{self, Candidate, Floor, LinedLink, Plan, Role, Summary};
//!
//! let plan = Plan::new()?;
//! let runs = measure::interleave(9, vec![
//!     Candidate::new("floor", 8, Role::Floor, |round| measure::ping_pong(&Floor, &plan, round)),
//!     Candidate::new("lined", 56, Role::Ours, |round| measure::ping_pong(&LinedLink::<7>::of(64), &plan, round)),
//! ])?;
//! let summary = Summary::of(&runs, None);
//! println!("{}", summary.table());
//! # Ok::<(), measure::MeasureError>(())
//! ```
//!
//! Invariant: between the first and the last stamp of a loop nothing allocates, prints or locks.

mod clock_step;
mod floor;
mod link;
mod loops;
mod rings;
mod rounds;
mod spans;
mod spread;
mod summary;
pub mod typed;

use hopline::clock::Clock;
use hopline::host::{Host, PinError, usable_threads};

pub(crate) use clock_step::clock_step_ns;
pub use floor::{Floor, Null, Walk};
pub use link::{Link, Rx, Tx, fill, fill_bytes, sum, sum_bytes};
pub use loops::{clock_skew_ns, open_loop, ping_pong, stream};
pub use rings::{
    Answers, ApartLink, BlobLink, BlobTx, BulkLink, FanInLink, HopLink, LinedLink, MpscLink,
    MulticastLink, PackedLink,
};
pub use rounds::{Candidate, Role, Runs, interleave, interleave_while};
pub use spans::{Percentiles, Spans};
pub use spread::{Spread, median, ratios, signs};
pub use summary::{Measured, Row, Summary, stream_table};

/// Why nothing could be measured.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MeasureError {
    /// Two threads need two cores of their own.
    #[error(
        "needs two free cores: this process may use {allowed:?}, with time for {threads} at once"
    )]
    TooFewCores {
        /// The cores that the process may use.
        allowed: Vec<usize>,
        /// How many threads its quota lets run at once.
        threads: usize,
    },
    /// A thread could not be bound to its core.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// An item did not arrive, or found no room, within [`Plan::spins_max`] looks.
    #[error("an item did not come through within {spins_max} looks at {doing}")]
    Stuck {
        /// What was waited for.
        doing: &'static str,
        /// How often it looked.
        spins_max: u64,
    },
    /// What arrived is not what was sent.
    #[error("{wrong} of {items} items arrived with other contents than were sent")]
    Corrupt {
        /// How many were wrong.
        wrong: u64,
        /// Out of how many.
        items: u64,
    },
    /// A rival in a process of its own failed.
    #[error("a rival failed: {doing}")]
    Peer {
        /// What it was doing, in words.
        doing: String,
    },
    /// Nothing to measure was given.
    #[error("there is nothing to measure")]
    Nothing,
}

/// How much to measure and where.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The cores of the sender and the receiver (of the asker and the echo).
    pub cores: [usize; 2],
    /// The clock of all stamps.
    pub clock: Clock,
    /// Trips before the measured ones: caches, branch predictors and pages settle.
    pub warm_up: u64,
    /// Measured round trips of a [`ping_pong`].
    pub trips: u64,
    /// Items of an [`open_loop`].
    pub open_items: u64,
    /// Nanoseconds between two intended times of an [`open_loop`].
    pub period_ns: u64,
    /// Items of a [`stream`].
    pub stream_items: u64,
    /// Looks at one wait before the loop gives up. It bounds the time that a link which loses an
    /// item can take; a look costs some nanoseconds.
    pub spins_max: u64,
    /// Smallest step of the clock, in nanoseconds: no span is known better.
    pub clock_step_ns: u64,
}

impl Plan {
    /// A plan for two cores out of those that this process may use: the first two that are no
    /// hardware threads of one core.
    ///
    /// Call it before the calling thread pins itself. Takes about a millisecond, to calibrate.
    ///
    /// # Errors
    /// [`MeasureError::TooFewCores`] if two threads cannot run at once.
    pub fn new() -> Result<Plan, MeasureError> {
        let host = Host::read();
        let cores = two_cores(&host)?;
        let clock = Clock::calibrated();
        let clock_step_ns = clock_step_ns(&clock);
        Ok(Plan {
            cores,
            clock,
            warm_up: 2_000,
            trips: 20_000,
            open_items: 20_000,
            period_ns: 1_000,
            stream_items: 200_000,
            spins_max: 1 << 28,
            clock_step_ns,
        })
    }

    /// The same plan with less of everything: to see that it runs, not to quote.
    #[must_use]
    pub fn quick(self) -> Plan {
        Plan {
            warm_up: 500,
            trips: 2_000,
            open_items: 2_000,
            stream_items: 20_000,
            ..self
        }
    }
}

/// Two cores that do not share their hardware, if there are such; else any two.
fn two_cores(host: &Host) -> Result<[usize; 2], MeasureError> {
    let threads = usable_threads(host);
    let few = || MeasureError::TooFewCores {
        allowed: host.allowed.clone(),
        threads,
    };
    let &[first, .., last] = &host.allowed[..] else {
        return Err(few());
    };
    if threads < 2 {
        return Err(few());
    }
    let siblings = host.smt_siblings.as_deref().unwrap_or_default();
    let apart = |core: &usize| {
        *core != first
            && !siblings
                .iter()
                .any(|group| group.contains(&first) && group.contains(core))
    };
    let second = host.allowed.iter().copied().find(|core| apart(core));
    Ok([first, second.unwrap_or(last)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(allowed: &[usize], siblings: &[&[usize]], quota: Option<f64>) -> Host {
        let mut host = Host::read();
        host.allowed = allowed.to_vec();
        host.smt_siblings = Some(siblings.iter().map(|group| group.to_vec()).collect());
        host.quota_cores = quota;
        host
    }

    #[test]
    fn two_cores_are_apart_if_they_can_be() {
        let pairs: &[&[usize]] = &[&[0, 1], &[2, 3]];
        assert_eq!(two_cores(&host(&[0, 1, 2, 3], pairs, None)), Ok([0, 2]));
        assert_eq!(two_cores(&host(&[0, 1], pairs, None)), Ok([0, 1]));
        assert_eq!(two_cores(&host(&[5, 9], &[&[5], &[9]], None)), Ok([5, 9]));
    }

    #[test]
    fn one_core_or_a_small_quota_is_refused_in_words() {
        let error = two_cores(&host(&[3], &[], None)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "needs two free cores: this process may use [3], with time for 1 at once"
        );
        assert!(two_cores(&host(&[0, 1], &[], Some(0.5))).is_err());
    }
}
