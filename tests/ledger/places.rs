//! What has to be come to by the seeds, or what is asserted of it holds of nothing.
//!
//! Invariant: a place is looked for in a run's report, so that a policy that never acts is never come to.

use hopline::budget::report::HopReport;
use hopline::overload::Slow;
use hopline::topology::SplitReport;

use crate::on_ring::Ring;
use crate::parts::lock;
use crate::plan::RingPlan;
use crate::{Ran, oracle};

/// Whether a run has something.
pub(crate) type Has = fn(&Ran) -> bool;

/// What the seeds have to come to, or what is asserted of it holds of nothing.
pub(crate) const PLACES: [(&str, Has); 50] = [
    ("a message shed by drop_newest", |ran| ran.has_shed("full")),
    ("a message refused", |ran| ran.has_shed("rejected")),
    ("a message longer than its ring", |ran| {
        ran.has_shed("oversize")
    }),
    ("a message for a node that has failed", |ran| {
        ran.has_shed("closed")
    }),
    ("a message on the ring of a node that failed", |ran| {
        ran.has_discarded("stage_failed")
    }),
    ("a message left at a drain's deadline", |ran| {
        ran.has_discarded("drain_deadline")
    }),
    ("a message with a hole", |ran| {
        ran.has_discarded("malformed")
    }),
    ("a shared ring that shed", |ran| {
        let mut hops = ran.report.hops.iter();
        hops.any(|hop| hop.shares.is_some() && !hop.shed.is_empty())
    }),
    ("a shared ring that one of its consumers left", |ran| {
        let mut hops = ran.report.hops.iter();
        hops.any(|hop| hop.shares.is_some() && hop.discarded.contains_key("stage_failed"))
    }),
    ("a stage that failed", |ran| ran.has_failed("stage")),
    ("a source that failed", |ran| ran.has_failed("source")),
    ("a sink that failed", |ran| ran.has_failed("sink")),
    ("a node held back", |ran| {
        ran.report
            .stages
            .iter()
            .any(|node| node.held_back_by.is_some())
    }),
    ("a message held to the end", |ran| {
        ran.report.stages.iter().any(|node| node.held > 0)
    }),
    ("a message that nobody accounted for", |ran| {
        !ran.report.ledger.closed
    }),
    ("a message that its source had in hand at the end", |ran| {
        ran.has_rejected("line_ended")
    }),
    ("a message that its sink lost", |ran| {
        ran.report
            .stages
            .iter()
            .any(|node| node.rejected.contains_key("lost"))
    }),
    ("a datagram that was refused", |ran| {
        ran.report
            .stages
            .iter()
            .any(|node| node.rejected.contains_key("refused"))
    }),
    ("a message whose newer one took its place", |ran| {
        ran.has_shed("conflated")
    }),
    ("a message of those that are sampled out", |ran| {
        ran.has_shed("sampled")
    }),
    ("a message over a rate", |ran| ran.has_shed("rate_limited")),
    ("a message that would be late", |ran| {
        ran.has_shed("hopeless")
    }),
    ("a message that is not protected", |ran| {
        ran.has_shed("degraded")
    }),
    ("a message refused on the last rung", |ran| {
        ran.has_shed("refused")
    }),
    ("a message passed on to another hop", |ran| {
        ran.has_shed("overflowed")
    }),
    ("a message of several frames in a file", |ran| {
        let mut files = ran.report.overflow_files.iter();
        files.any(|file| file.written > 0 && file.bytes > 200 * file.written)
    }),
    ("a message that had no room for too long", |ran| {
        ran.has_shed("block_timeout")
    }),
    ("a message that was late", |ran| ran.has_discarded("late")),
    ("a message that was stale", |ran| ran.has_discarded("stale")),
    ("a message that was the oldest", |ran| {
        ran.has_discarded("oldest")
    }),
    ("a shared ring whose consumers drop by age", |ran| {
        let mut hops = ran.report.hops.iter();
        hops.any(|hop| hop.shares.is_some() && hop.discarded.contains_key("late"))
    }),
    ("a shared ring that conflates", |ran| {
        let mut hops = ran.report.hops.iter();
        hops.any(|hop| hop.shares.is_some() && hop.shed.contains_key("conflated"))
    }),
    ("a shared ring that passes on", |ran| {
        let mut hops = ran.report.hops.iter();
        hops.any(|hop| hop.shares.is_some() && hop.shed.contains_key("overflowed"))
    }),
    ("a class that delivers and another that sheds", |ran| {
        let is = |hop: &HopReport, class: &str| hop.name.ends_with(class);
        let mut hops = ran.report.hops.iter();
        hops.any(|hop| is(hop, "#urgent") && hop.delivered > 0)
            && ran
                .report
                .hops
                .iter()
                .any(|hop| is(hop, "#rest") && !hop.shed.is_empty())
    }),
    ("a hop that came down the whole ladder", |ran| {
        let mut hops = ran.report.hops.iter();
        hops.any(|hop| hop.rungs.contains_key("none"))
    }),
    ("a hop with two soft limits that acted", |ran| {
        let soft = ["sampled", "rate_limited", "hopeless", "refused", "degraded"];
        let mut hops = ran.report.hops.iter();
        hops.any(|hop| {
            soft.iter()
                .filter(|why| hop.shed.contains_key(**why))
                .count()
                >= 2
        })
    }),
    ("a stage that went on after a panic", |ran| {
        ran.has_survived("skip")
    }),
    ("a stage that was made anew", |ran| {
        ran.has_survived("restart")
    }),
    ("a stage that panicked too often", |ran| {
        let mut nodes = ran.report.stages.iter();
        nodes.any(|node| node.on_panic != "stop" && node.state == "failed")
    }),
    ("a key whose last one had to come", Ran::has_kept_the_last),
    ("a good run that was shed from by a soft limit", |ran| {
        ran.report.is_good() && ran.has_shed("rate_limited")
    }),
    ("a split by key that led to two", |ran| ran.has_split("key")),
    ("a split that led to any of two", |ran| ran.has_split("any")),
    ("a split that shed", |ran| {
        let mut splits = ran.report.splits.iter();
        splits.any(|split| ran.has_shed_token(split))
    }),
    ("a tap that lost some", |ran| {
        let taps = (0..ran.plan.rings.len()).filter(|at| ran.plan.slow_of(*at) == Slow::Tap);
        let names = taps.map(|at| {
            let ring = &ran.plan.rings[at];
            oracle::hop_name(&ran.plan, ring, ring.to[0])
        });
        let names: Vec<String> = names.collect();
        let mut hops = ran.report.hops.iter();
        hops.any(|hop| names.contains(&hop.name) && hop.shed.contains_key("full"))
    }),
    ("a message for one that was cut off", |ran| {
        ran.has_shed("disconnected")
    }),
    ("a run that finished", |ran| ran.cause() == "finished"),
    ("a run that was told to end", |ran| ran.cause() == "signal"),
    ("a run whose time was over", |ran| ran.cause() == "duration"),
    ("a run that was good", |ran| ran.report.is_good()),
];

impl Ran {
    /// Whether it is known of each message what became of it on each ring.
    pub(crate) fn is_foretold(&self) -> bool {
        lock(&self.shared).rings.iter().all(Ring::is_foretold)
    }

    pub(crate) fn has_shed(&self, why: &str) -> bool {
        self.report
            .hops
            .iter()
            .any(|hop| hop.shed.contains_key(why))
    }

    pub(crate) fn has_discarded(&self, why: &str) -> bool {
        self.report
            .hops
            .iter()
            .any(|hop| hop.discarded.contains_key(why))
    }

    fn hops_of<'r>(&'r self, split: &'r SplitReport) -> impl Iterator<Item = &'r HopReport> {
        let hops = self.report.hops.iter();
        hops.filter(|hop| split.hops.contains(&hop.name))
    }

    /// Whether at least so many hops of a split delivered something.
    pub(crate) fn has_delivered(&self, split: &SplitReport, hops: usize) -> bool {
        let delivered = self.hops_of(split).filter(|hop| hop.delivered > 0);
        delivered.count() >= hops
    }

    /// Whether one of them had no room for a message that begins with a token.
    pub(crate) fn has_shed_token(&self, split: &SplitReport) -> bool {
        let mut hops = self.hops_of(split);
        let full = |hop: &HopReport| hop.shed_by_kind.get("token")?.get("full").copied();
        hops.any(|hop| full(hop).is_some())
    }

    fn has_split(&self, how: &str) -> bool {
        let mut splits = self.report.splits.iter();
        splits.any(|split| split.split == how && self.has_delivered(split, 2))
    }

    pub(crate) fn has_rejected(&self, why: &str) -> bool {
        let mut sources = self.report.ledger.sources.values();
        sources.any(|source| source.rejected.contains_key(why))
    }

    /// Whether a hop conflated of which it is known that the last of each key came.
    pub(crate) fn has_kept_the_last(&self) -> bool {
        let complete = self
            .report
            .drain
            .as_ref()
            .is_some_and(|drain| drain.complete);
        let kept = |ring: &RingPlan| {
            let name = oracle::hop_name(&self.plan, ring, ring.to[0]);
            let mut hops = self.report.hops.iter();
            let hop = hops.find(|hop| hop.name == name);
            hop.is_some_and(|hop| {
                hop.shed.contains_key("conflated") && oracle::keeps_the_last(ring, hop)
            })
        };
        complete && self.plan.rings.iter().any(kept)
    }

    pub(crate) fn has_survived(&self, on_panic: &str) -> bool {
        let mut nodes = self.report.stages.iter();
        nodes.any(|node| node.on_panic == on_panic && node.panics > 0 && node.state == "done")
    }

    pub(crate) fn has_failed(&self, role: &str) -> bool {
        let mut nodes = self.report.stages.iter();
        nodes.any(|node| node.role == role && node.state == "failed")
    }

    pub(crate) fn cause(&self) -> &'static str {
        self.report.drain.as_ref().map_or("", |drain| drain.cause)
    }
}
