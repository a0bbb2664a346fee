//! Another policy for a hop while its line runs.
//!
//! Invariant: a hop gets no policy that it could not have been built with.

use crate::base::{Reason, Shed};
use crate::overload::{Policy, WhenFull};

use super::problem::{Problem, all, closest};
use super::run::Running;
use super::wire::HopView;

impl Running {
    /// Has a hop, such as `btc->book`, do something else when there is too much. Both of its ends hear of it at their next turn;
    /// what is queued stays. The counters go on, and the report has the last policy.
    ///
    /// ```
    /// use std::time::Duration;
    /// use hopline::adapter::{Binance, blackhole, synthetic};
    /// use hopline::overload::{Policy, WhenFull};
    /// use hopline::topology::{Hop, Line, Stop};
    ///
    /// let mut line = Line::builder("steered");
    /// line.source("btc", synthetic("BTCUSDT", 50_000.0).decode(Binance::new(&["BTCUSDT"])));
    /// line.sink("out", blackhole());
    /// line.connect("btc", "out", Hop::depth(1024));
    /// let mut running = line.build()?.start()?;
    /// let policy = Policy { deadline_ns: 500_000, ..Policy::of(WhenFull::DropNewest) };
    /// running.set_policy("btc->out", policy)?;
    /// let cause = running.watch(&Stop::after(Duration::from_millis(50)), |_| {});
    /// assert_eq!(running.end(cause).hops[0].policy, "drop_newest, deadline 500us");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// No such hop; limits that contradict each other or could never be kept; one that conflates, degrades what has a key or
    /// overflows, without having been built for it: a table is not made while the line runs, nor for every hop that might be
    /// given one, since it takes half a megabyte; one that blocks with a depth that a message may not fit in; one that would hold the
    /// producer back for a tap, or never cut off a consumer that is to be [disconnected](crate::overload::Slow::Disconnect); or a
    /// hop whose consumer has been cut off, to which no policy means anything any more.
    pub fn set_policy(&mut self, hop: &str, policy: Policy) -> Result<(), Problem> {
        let Some(view) = self.hops.iter().find(|view| view.name == hop) else {
            let names = || self.hops.iter().map(|view| view.name.as_str());
            let help = match closest(hop, names()) {
                Some(meant) => format!("did you mean \"{meant}\"?"),
                None => all("hops", names()),
            };
            return Err(Problem::new(
                format!("\"{hop}\" is no hop of this line"),
                help,
            ));
        };
        fits(view, &policy)?;
        view.policy.set(policy);
        self.control.news();
        self.wake();
        Ok(())
    }

    /// What a hop does when there is too much, if there is such a hop.
    #[must_use]
    pub fn policy(&self, hop: &str) -> Option<Policy> {
        let view = self.hops.iter().find(|view| view.name == hop)?;
        view.policy.get()
    }
}

/// Whether a hop was built for that policy.
fn fits(hop: &HopView, policy: &Policy) -> Result<(), Problem> {
    let wrong = |what: String, help: &str| Err(Problem::new(format!("{}: {what}", hop.name), help));
    if let Err((what, help)) = policy.check(hop.depth) {
        return wrong(what, &help);
    }
    // To what is protected the ladder does nothing before it refuses, and what has no key conflates on no rung.
    let degrades = policy.degrade_high_ns > 0 && !policy.protected && hop.has_keys;
    if (policy.conflates() || degrades) && !hop.has_table {
        let what = "it has no table to conflate in".to_owned();
        return wrong(
            what,
            "build it with when_full = \"conflate\", or with degrade_high",
        );
    }
    if policy.spills() && !hop.has_spill {
        let what = "it has nowhere to overflow to".to_owned();
        return wrong(
            what,
            "build it with when_full = \"overflow\" and overflow_to",
        );
    }
    let blocks = policy.when_full == WhenFull::Block;
    if hop.is_tap && blocks {
        let what = "its consumer is a tap, for which nobody waits".to_owned();
        return wrong(
            what,
            "write when_full = \"drop_newest\", or another that sheds",
        );
    }
    if hop.disconnects {
        if hop.offers.tx.shed[Shed::Disconnected.index()].get() > 0 {
            let what = "its consumer was cut off and gets nothing more".to_owned();
            return wrong(
                what,
                "leave it: nothing connects it again while the line runs",
            );
        }
        if !blocks || policy.block_timeout_ns == 0 || policy.then != WhenFull::DropNewest {
            let what = "its consumer is cut off once it has held the others back for too long, and nothing would say when";
            return wrong(
                what.to_owned(),
                "write when_full = \"block\" and block_timeout = \"10ms\", without then",
            );
        }
    }
    if blocks && hop.max_emit > hop.depth {
        let what = format!(
            "it would block with a depth of {}, and a message may have {} frames",
            hop.depth, hop.max_emit
        );
        return wrong(
            what,
            "build it deeper, or write when_full = \"drop_newest\"",
        );
    }
    Ok(())
}
