//! Taps by the name of a hop, on a line that is about to run and on one that does.
//!
//! Invariant: whoever taps a hop changes nothing of what the line does and reports.

use crate::stage::tap::{Desk, Tap, TapError};

use super::line::Line;
use super::problem::{Problem, all, closest};
use super::run::Running;

use std::sync::Arc;

impl Line {
    /// Attaches a tap of `depth` slots to a hop, such as `btc->book`, from the first frame on: a lossy
    /// copy of what its consumer has done with, which can hold nothing up. See [`Tap`].
    ///
    /// ```
    /// use hopline::adapter::{blackhole, synthetic};
    /// use hopline::adapter::Binance;
    /// use hopline::topology::{Hop, Line, Stop};
    ///
    /// let mut line = Line::builder("tapped");
    /// let feed = synthetic("BTCUSDT", 50_000.0).count(100);
    /// line.source("btc", feed.decode(Binance::new(&["BTCUSDT"])));
    /// line.sink("out", blackhole());
    /// line.connect("btc", "out", Hop::depth(1024));
    /// let line = line.build()?;
    /// let mut tap = line.tap("btc->out", 4096)?;
    /// let report = line.run_until(Stop::when_done())?;
    /// assert!(report.is_good() && tap.peek().is_some());
    /// assert_eq!(tap.counts().offered, tap.counts().accepted + tap.lost());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// No such hop, a depth that is no power of two within the limits, or a tap that is already there.
    pub fn tap(&self, hop: &str, depth: usize) -> Result<Tap, Problem> {
        let hops = || self.hops.iter().map(|hop| (hop.name.as_str(), &hop.desk));
        attach(hop, depth, hops())
    }
}

impl Running {
    /// Attaches a tap of `depth` slots to a hop while the line runs: a lossy copy of what its consumer
    /// has done with, which can hold nothing up. Frames come from the consumer's next housekeeping on, within a
    /// millisecond, or as soon as a parked loop looks up. Dropping the tap detaches it, and another may follow.
    ///
    /// # Errors
    /// No such hop, a depth that is no power of two within the limits, a tap that is already there, or
    /// a hop that has ended.
    pub fn tap(&self, hop: &str, depth: usize) -> Result<Tap, Problem> {
        let hops = || self.hops.iter().map(|hop| (hop.name.as_str(), &hop.desk));
        attach(hop, depth, hops())
    }
}

fn attach<'a>(
    name: &str,
    depth: usize,
    hops: impl Iterator<Item = (&'a str, &'a Arc<Desk>)> + Clone,
) -> Result<Tap, Problem> {
    let Some((_, desk)) = hops.clone().find(|(hop, _)| *hop == name) else {
        return Err(no_such_hop(name, hops.map(|(hop, _)| hop)));
    };
    desk.attach(depth).map_err(|error| no_tap(name, error))
}

/// There is no hop of that name.
pub(super) fn no_such_hop<'a>(name: &str, hops: impl Iterator<Item = &'a str> + Clone) -> Problem {
    let help = match closest(name, hops.clone()) {
        Some(meant) => format!("did you mean \"{meant}\"?"),
        None => all("hops", hops),
    };
    Problem::new(format!("\"{name}\" is no hop of this line"), help)
}

/// Why a hop got no tap, and what to do.
pub(super) fn no_tap(name: &str, error: TapError) -> Problem {
    let help = match error {
        TapError::Depth(_) => "",
        TapError::Taken => {
            "drop that one first: a hop has one tap at a time, and a recorder is one"
        }
        TapError::Over => "attach a tap before its consumer ends",
    };
    Problem::new(format!("no tap of {name}: {error}"), help)
}
