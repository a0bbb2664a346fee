//! A hop's row of the report: its counters and spans as values.
//!
//! Invariant: reads what both ends have counted, and changes nothing.

use std::collections::BTreeMap;

use crate::base::{Counter, Discard, Reason, Shed};
use crate::budget::report::{BudgetReport, ByReason, HopReport, by_name, by_reason};
use crate::budget::{Budget, HopCounters, Of, Peaks};
use crate::frame::KindInfo;
use crate::hist::Totals;
use crate::overload::Rung;
use crate::stage::hop::kind_name;
use crate::topology::wire::HopView;

use super::{over_budget, percentiles};

/// The name of the rung at that place.
pub(in crate::topology) fn rung_name(at: u64) -> &'static str {
    let rung = usize::try_from(at).ok().and_then(|at| Rung::ALL.get(at));
    rung.copied().unwrap_or_default().name()
}

/// The rows of a table by kind that hold something.
fn by_kind<R: Reason, const N: usize>(
    kinds: &[KindInfo],
    table: &[[Counter; N]],
) -> BTreeMap<String, ByReason> {
    let rows = table.iter().enumerate();
    let rows = rows.map(|(at, reasons)| (kind_name(kinds, at).to_owned(), by_reason::<R>(reasons)));
    rows.filter(|(_, reasons)| !reasons.is_empty()).collect()
}

/// How long it has been on each rung, up to now.
fn rungs_ns(offers: &HopCounters, now_ns: u64) -> ByReason {
    let tx = &offers.tx;
    let mut spans_ns = by_name(&Rung::ALL.map(Rung::name), &tx.rungs_ns);
    let since_ns = tx.rung_since_ns.get();
    if since_ns > 0 && now_ns > since_ns {
        let present = spans_ns.entry(rung_name(tx.rung.get()).to_owned());
        *present.or_default() += now_ns - since_ns;
    }
    spans_ns
}

/// Which ends of a hop are left behind on a loop that hangs for good.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hangs {
    pub(super) producer: bool,
    pub(super) consumer: bool,
}

/// What a hop shows at `now_ns` of the line's clock. Where its consumer hangs, what is still on it will not be delivered: the
/// drain's deadline has passed with it queued, or in the hand of that consumer. Where its producer hangs, what waits there for room
/// will not get it: it counts as it does where a producer ends with messages that wait.
pub(super) fn hop_report(hop: &HopView, peaks: Peaks, now_ns: u64, hangs: Hangs) -> HopReport {
    let counters = &hop.counters;
    let offers = &hop.offers;
    let mut arrivals = hop.arrivals();
    let left = match hangs.consumer {
        true => core::mem::take(&mut arrivals.in_flight),
        false => 0,
    };
    arrivals.discarded[Discard::DrainDeadline.index()] += left;
    let discarded = Discard::NAMES.iter().zip(arrivals.discarded);
    let discarded = discarded.filter(|(_, count)| *count > 0);
    let mut shed = by_reason::<Shed>(&offers.tx.shed);
    let mut shed_by_kind = by_kind::<Shed, _>(hop.kinds, &offers.tx.shed_by_kind);
    let mut waiting = offers.tx.waiting.get();
    if hangs.producer && waiting > 0 {
        // Only the producer knows of what kinds they are.
        let other = kind_name(hop.kinds, hop.kinds.len()).to_owned();
        let why = Shed::Closed.name();
        *shed.entry(why.to_owned()).or_default() += waiting;
        let row = shed_by_kind.entry(other).or_default();
        *row.entry(why.to_owned()).or_default() += core::mem::take(&mut waiting);
    }
    let mut discarded_by_kind = by_kind::<Discard, _>(hop.kinds, &counters.rx.discarded_by_kind);
    for ((why, count), all) in Discard::ALL
        .iter()
        .zip(&counters.rx.discarded)
        .zip(arrivals.discarded)
    {
        // What a consumer that has left never saw, or does not let go of.
        let unseen = all.saturating_sub(count.get());
        let is_rest = counters.rx.rest.get() == why.index() as u64 + 1;
        if unseen > 0 && (is_rest || (left > 0 && *why == Discard::DrainDeadline)) {
            let other = kind_name(hop.kinds, hop.kinds.len()).to_owned();
            let row = discarded_by_kind.entry(other).or_default();
            *row.entry(why.name().to_owned()).or_default() += unseen;
        }
    }
    let span = hop.budget.as_ref().map_or(Of::Sojourn, Budget::span);
    let policy = hop.policy.get().unwrap_or_default();
    HopReport {
        name: hop.name.clone(),
        depth: hop.depth,
        when_full: policy.when_full.name(),
        policy: policy.to_string(),
        shares: hop.shares.clone(),
        offered: offers.tx.offered.get(),
        accepted: arrivals.accepted,
        shed,
        waiting,
        shed_by_kind,
        delivered: arrivals.delivered,
        in_flight: arrivals.in_flight,
        discarded: discarded
            .map(|(name, count)| ((*name).to_owned(), count))
            .collect(),
        discarded_by_kind,
        rung: rung_name(offers.tx.rung.get()),
        rungs: by_name(&Rung::ALL.map(Rung::name), &offers.tx.rungs),
        rungs_ns: rungs_ns(offers, now_ns),
        depth_now: hop.backlog.seen.depth_frames,
        depth_max: counters.rx.depth_max.get(),
        depth_window_max: peaks.depth_frames,
        age_now_ns: hop.backlog.seen.age_ns,
        age_window_max_ns: peaks.age_ns,
        full_ns: hop.full_ns(),
        wakes: counters.tx.wakes.get(),
        closed: counters.closed().map(Reason::name),
        wait_ns: percentiles(&hop.spans.totals[Of::Wait as usize]),
        service_ns: percentiles(&hop.spans.totals[Of::Service as usize]),
        sojourn_ns: percentiles(&hop.spans.totals[Of::Sojourn as usize]),
        budget: hop.budget.as_ref().map(BudgetReport::new),
        over_budget: over_budget(hop.budget.as_ref(), &hop.spans.totals[span as usize]),
        saturated: hop.spans.totals.iter().map(Totals::saturated).sum(),
    }
}
