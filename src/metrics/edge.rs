//! The samples of an edge: its counts, and the hops beyond the line as hops.
//!
//! Invariant: every label's value is a word of a closed enum, or a number of one.

use super::family::Id;
use super::page::{Page, Quantiles, Spread, Value, views};
use crate::base::Reason;
use crate::budget::{Beyond, BeyondReport};
use crate::edge::event::{GapWhy, ShedWhy};
use crate::edge::route::Transport;
use crate::edge::{Code, Counts, Ended, Figures, Problem, TurnedAway, Untaken};

/// What a page says of an edge.
#[derive(Clone, Debug)]
pub(super) struct EdgeSnapshot {
    counts: Counts,
    untaken: [u64; Untaken::ALL.len()],
    clamped: u64,
    hops: Vec<(BeyondReport, Spread, Quantiles)>,
    uncertain: Quantiles,
}

impl EdgeSnapshot {
    pub(super) fn new(figures: &Figures) -> EdgeSnapshot {
        let hops = &figures.hops;
        let each = Beyond::ALL.iter().zip(hops.reports());
        EdgeSnapshot {
            counts: figures.counts.clone(),
            untaken: hops.untaken(),
            clamped: hops.clamped(),
            hops: each
                .map(|(hop, report)| {
                    let (spread, quantiles) = views(hops.totals(*hop));
                    (report, spread, quantiles)
                })
                .collect(),
            uncertain: views(hops.uncertain()).1,
        }
    }
}

/// All of a closed enum, those that never came as 0.
fn each<R: Reason>(page: &mut Page, id: Id, counts: &[u64]) {
    for (name, count) in R::NAMES.iter().zip(counts) {
        page.count(id, &[name], *count);
    }
}

/// Puts the samples of an edge on the page.
pub(super) fn fill(page: &mut Page, edge: &EdgeSnapshot) {
    for (hop, spread, quantiles) in &edge.hops {
        let name = [hop.name];
        page.put(Id::HopSojourn, &name, Value::Spread(spread.clone()));
        page.put(Id::HopSojournQuantiles, &name, Value::Quantiles(*quantiles));
        page.count(Id::HopSaturated, &name, hop.saturated);
        let limits = hop.budget.iter().flat_map(|budget| &budget.limits_ns);
        for (quantile, ns) in limits {
            page.span(Id::HopBudget, &[hop.name, "sojourn", quantile], *ns);
        }
        for (quantile, count) in &hop.over_budget {
            page.count(Id::HopOver, &[hop.name, quantile], *count);
        }
    }
    let counts = &edge.counts;
    page.count(Id::EdgeConnections, &[], counts.open());
    page.count(Id::EdgeAccepted, &[], counts.accepted);
    each::<TurnedAway>(page, Id::EdgeTurnedAway, &counts.turned_away);
    each::<Ended>(page, Id::EdgeEnded, &counts.ended);
    for (code, count) in Code::ALL.iter().zip(counts.closes) {
        page.count(Id::EdgeCloses, &[&code.number().to_string()], count);
    }
    each::<Transport>(page, Id::EdgeStreams, &counts.streams);
    each::<Transport>(page, Id::EdgeStreamsOpen, &counts.streams_open);
    each::<Problem>(page, Id::EdgeProblems, &counts.problems);
    page.count(Id::EdgePublished, &[], counts.published);
    page.count(Id::EdgeUnpublished, &[], counts.unpublished);
    let lanes = &counts.lanes;
    for (why, count) in [
        ("published", lanes.due),
        ("again", lanes.again),
        ("resent", lanes.resent),
    ] {
        page.count(Id::EdgeDue, &[why], count);
    }
    page.count(Id::EdgeSent, &[], lanes.sent);
    page.count(Id::EdgeSkipped, &[], lanes.skipped);
    each::<ShedWhy>(page, Id::EdgeShed, &lanes.shed);
    page.count(Id::EdgeCovered, &[], lanes.covered);
    page.count(Id::EdgeLeft, &[], lanes.left);
    page.count(Id::EdgeWaiting, &[], lanes.waiting);
    each::<GapWhy>(page, Id::EdgeGaps, &lanes.gaps);
    for (outcome, count) in [
        ("recovered", counts.recovered),
        ("not_recovered", counts.unrecovered),
    ] {
        page.count(Id::EdgeResumes, &[outcome], count);
    }
    page.count(Id::EdgeResyncs, &[], counts.resyncs);
    page.count(Id::EdgeMessagesOut, &[], lanes.messages);
    page.count(Id::EdgeBytesOut, &[], counts.bytes);
    page.count(Id::EdgeWrites, &[], counts.writes);
    page.count(Id::EdgeMessagesIn, &[], counts.messages);
    page.count(Id::EdgeRefused, &[], counts.refused);
    page.count(Id::EdgeAcks, &[], counts.acks);
    each::<Untaken>(page, Id::EdgeUntaken, &edge.untaken);
    page.count(Id::EdgeClamped, &[], edge.clamped);
    page.put(Id::EdgeUncertain, &[], Value::Quantiles(edge.uncertain));
}
