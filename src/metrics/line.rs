//! The samples of a snapshot: of the line, its hops, stages and loops.
//!
//! A closed enum has all of its reasons on every page, those that never came as 0, so that a query finds them before they
//! matter; only the reasons of stages, which are their own, come with their first message.
//!
//! Invariant: every label's value is a name of the line's spec or a word of a closed enum.

use std::collections::BTreeMap;

use super::family::Id;
use super::page::{Page, Value};
use super::snapshot::{Latency, Snapshot, Which};
use super::{files, source};
use crate::base::{Discard, Shed};
use crate::budget::Of;
use crate::budget::report::{BudgetReport, ByReason, HopReport, RegimeReport, StageReport};
use crate::control::What;
use crate::overload::Rung;
use crate::stage::{Role, State};
use crate::topology::report::STUCK;
use crate::topology::{LoopReport, Report};

/// Puts all samples of the snapshot on the page.
pub(super) fn fill(page: &mut Page, snapshot: &Snapshot) {
    let report = &snapshot.report;
    line(page, snapshot);
    for latency in &snapshot.latencies {
        latencies(page, latency);
    }
    report.hops.iter().for_each(|one| hop(page, one));
    for split in &report.splits {
        let first = [split.hops.first().map_or("", String::as_str)];
        page.count(Id::SplitIsolated, &first, split.isolated);
        page.count(Id::SplitMoves, &first, split.moves);
        page.count(Id::SplitStays, &first, split.stays);
        page.count(Id::SplitHot, &first, split.hot_keys.len() as u64);
    }
    files::fill(page, report);
    report.stages.iter().for_each(|one| stage(page, one));
    for (name, one) in &report.ledger.sources {
        source::fill(page, name, one);
    }
    report.placement.iter().for_each(|one| turns(page, one));
}

fn line(page: &mut Page, snapshot: &Snapshot) {
    let report = &snapshot.report;
    let Report { line, ledger, .. } = report;
    let version = env!("CARGO_PKG_VERSION");
    let info = [line.name.as_str(), line.mode, line.clock, version];
    page.count(Id::LineInfo, &info, 1);
    page.span(Id::LineElapsed, &[], line.elapsed_ns);
    page.flag(Id::LineLive, &[], snapshot.why_not.is_empty());
    page.flag(Id::LineDraining, &[], snapshot.is_ending);
    let drain = report.drain.as_ref();
    page.flag(Id::LineDrained, &[], drain.is_some());
    page.span(
        Id::LineDrain,
        &[],
        drain.map_or(0, |drain| drain.elapsed_ns),
    );
    let left = drain.iter().flat_map(|drain| &drain.left);
    page.count(Id::LineLeft, &[], left.map(|left| left.messages).sum());
    page.count(Id::LinePlanned, &[], line.planned_bytes as u64);
    page.count(Id::LineFaults, &[], report.faults.len() as u64);
    page.count(Id::LedgerBreaches, &[], ledger.breaches.len() as u64);
    page.count(Id::LedgerLosses, &[], ledger.losses.len() as u64);
    for (kind, count) in What::NAMES.iter().zip(snapshot.complaints) {
        page.count(Id::Complaints, &[kind], count);
    }
    let end_to_end = &report.end_to_end;
    page.span(Id::Jitter, &[], end_to_end.jitter_ns);
    page.count(Id::OriginSaturated, &[], end_to_end.origin_saturated);
    for (quantile, ns) in limits(end_to_end.budget.as_ref()) {
        page.span(Id::LineBudget, &[quantile], ns);
    }
    for (quantile, count) in &end_to_end.over_budget {
        page.count(Id::LineOver, &[quantile], *count);
    }
}

/// What a budget allows, by quantile, in nanoseconds.
fn limits(budget: Option<&BudgetReport>) -> impl Iterator<Item = (&'static str, u64)> {
    let limits = budget.into_iter().flat_map(|budget| &budget.limits_ns);
    limits.map(|(quantile, ns)| (*quantile, *ns))
}

fn latencies(page: &mut Page, latency: &Latency) {
    let (histogram, summary) = match latency.of {
        Which::Hop(Of::Wait) => (Id::HopWait, Id::HopWaitQuantiles),
        Which::Hop(Of::Service) => (Id::HopService, Id::HopServiceQuantiles),
        Which::Hop(Of::Sojourn) => (Id::HopSojourn, Id::HopSojournQuantiles),
        Which::Sink => (Id::EndToEnd, Id::EndToEndQuantiles),
        Which::Wire => (Id::SourceWire, Id::SourceWireQuantiles),
    };
    let name = [latency.name.as_str()];
    page.put(histogram, &name, Value::Spread(latency.spread.clone()));
    page.put(summary, &name, Value::Quantiles(latency.quantiles));
}

/// Counts by kind of message and reason, those that came.
fn by_kind(page: &mut Page, id: Id, hop: &str, counts: &BTreeMap<String, ByReason>) {
    for (kind, reasons) in counts {
        for (reason, count) in reasons {
            page.count(id, &[hop, kind, reason], *count);
        }
    }
}

fn hop(page: &mut Page, hop: &HopReport) {
    let name = hop.name.as_str();
    let of = [name];
    page.count(Id::HopSlots, &of, hop.depth as u64);
    if hop.shares.is_none() {
        // Of a ring with several consumers these count once, so that they may be summed up.
        page.count(Id::HopOffered, &of, hop.offered);
        page.count(Id::HopAccepted, &of, hop.accepted);
        page.count(Id::HopWaiting, &of, hop.waiting);
        page.reasons::<Shed>(Id::HopShed, &of, &hop.shed);
        by_kind(page, Id::HopShedByKind, name, &hop.shed_by_kind);
    }
    page.count(Id::HopDelivered, &of, hop.delivered);
    page.count(Id::HopInFlight, &of, hop.in_flight);
    page.reasons::<Discard>(Id::HopDiscarded, &of, &hop.discarded);
    by_kind(page, Id::HopDiscardedByKind, name, &hop.discarded_by_kind);
    page.count(Id::HopBacklog, &of, hop.depth_now);
    page.count(Id::HopBacklogPeak, &of, hop.depth_window_max);
    page.count(Id::HopBacklogMax, &of, hop.depth_max);
    page.span(Id::HopAge, &of, hop.age_now_ns);
    page.span(Id::HopAgePeak, &of, hop.age_window_max_ns);
    page.span(Id::HopFull, &of, hop.full_ns);
    page.count(Id::HopWakes, &of, hop.wakes);
    page.flag(Id::HopClosed, &of, hop.closed.is_some());
    for rung in Rung::ALL.map(Rung::name) {
        let get = |counts: &ByReason| counts.get(rung).copied().unwrap_or(0);
        page.flag(Id::HopRung, &[name, rung], hop.rung == rung);
        page.count(Id::HopRungEntries, &[name, rung], get(&hop.rungs));
        page.span(Id::HopRungTime, &[name, rung], get(&hop.rungs_ns));
    }
    let span = hop.budget.as_ref().map_or("", |budget| budget.of.name());
    for (quantile, ns) in limits(hop.budget.as_ref()) {
        page.span(Id::HopBudget, &[name, span, quantile], ns);
    }
    for (quantile, count) in &hop.over_budget {
        page.count(Id::HopOver, &[name, quantile], *count);
    }
    page.count(Id::HopSaturated, &of, hop.saturated);
}

/// The regimes by their names.
fn regimes(spans: &RegimeReport) -> [(&'static str, u64); 5] {
    [
        ("work", spans.work),
        ("io", spans.io),
        ("held_back", spans.held_back),
        ("housekeeping", spans.housekeeping),
        ("idle", spans.idle),
    ]
}

fn stage(page: &mut Page, stage: &StageReport) {
    let name = stage.name.as_str();
    let of = [name];
    let info = [name, stage.role, stage.kind.as_str(), stage.on_panic];
    page.count(Id::StageInfo, &info, 1);
    for state in State::ALL.map(State::name).into_iter().chain([STUCK]) {
        page.flag(Id::StageState, &[name, state], stage.state == state);
    }
    page.count(Id::StageConsumed, &of, stage.consumed);
    page.count(Id::StageForwarded, &of, stage.forwarded);
    page.count(Id::StageEmitted, &of, stage.emitted);
    page.count(Id::StageHeld, &of, stage.held);
    for (id, counts) in [
        (Id::StageAbsorbed, &stage.absorbed),
        (Id::StageRejected, &stage.rejected),
    ] {
        for (reason, count) in counts {
            page.count(id, &[name, reason], *count);
        }
    }
    for (what, count) in &stage.counts {
        page.count(Id::StageCounted, &[name, what], *count);
    }
    if stage.role == Role::Sink.name() {
        page.count(Id::SinkOutOfOrder, &of, stage.out_of_order);
        page.count(Id::SinkInversions, &of, stage.inversions);
        page.span(Id::SinkInversionMax, &of, stage.inversion_ns_max);
    }
    for (regime, ns) in regimes(&stage.regimes_ns) {
        page.span(Id::StageTime, &[name, regime], ns);
    }
    for (by, ns) in &stage.held_back_by_ns {
        page.span(Id::StageHeldBack, &[name, by], *ns);
    }
    page.count(Id::StagePanics, &of, stage.panics);
    page.count(Id::StageRestarts, &of, stage.restarts);
    page.span(Id::StageAway, &of, stage.away_ns);
    page.count(Id::StageQuarantined, &of, stage.quarantined);
    page.count(Id::StageQuarantineLost, &of, stage.quarantine_lost);
}

fn turns(page: &mut Page, one: &LoopReport) {
    let name = one.planned.name.as_str();
    page.count(Id::LoopTurns, &[name], one.turns);
    page.span(Id::LoopSilent, &[name], one.silent_ns);
    page.span(Id::LoopTurnMax, &[name], one.turn_ns_max);
    for (regime, ns) in regimes(&one.regimes_ns) {
        page.span(Id::LoopTime, &[name, regime], ns);
    }
}
