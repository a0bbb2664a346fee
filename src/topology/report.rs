//! The report of a run: one value, printed as JSON or drawn as a table.

pub(super) mod hop;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::base::units::hash_text;
use crate::base::{Counter, Hangup, Reason, Reject, Shed};
use crate::budget::culprit::{Culprit, Figures, LoopTimes};
use crate::budget::report::{
    BudgetReport, ByReason, EndToEndReport, HopReport, LedgerReport, OUTSIDE, Percentiles,
    RegimeReport, SourceReport, StageReport, WireReport, by_name, by_reason, ends,
};
use crate::budget::{Budget, Regime};
use crate::hist::Totals;
use crate::host::{Host, MemoryReport, Pinned};
use crate::reactor::LoopCounters;
use crate::stage::{IO_FAULT, Role, State};

use super::drain::{DrainReport, STALLED};
use super::panics::{Panics, Quarantined};
use super::plan::PlannedThread;
use super::record::RecordReport;
use super::spill::{self, OverflowReport, SpillView};
use super::split::{SplitReport, SplitView};
use super::window::{Seen, Window, Windows};
use super::wire::{Collected, HopView, NodeView};

use hop::{Hangs, hop_report};

/// Version of the report's shape; it rises when a key changes its meaning or goes away.
pub const SCHEMA: u32 = 1;

/// The state of a node that a drain left behind in its handler.
pub const STUCK: &str = "stuck";

/// What a run did, from its first frame to now or to its end.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The line and its run.
    pub line: LineReport,
    /// The machine.
    pub host: Host,
    /// The loops: where each node ran.
    pub placement: Vec<LoopReport>,
    /// Every hop.
    pub hops: Vec<HopReport>,
    /// The hops among which messages are divided, each group by itself.
    pub splits: Vec<SplitReport>,
    /// The files into which hops overflow.
    pub overflow_files: Vec<OverflowReport>,
    /// Every node.
    pub stages: Vec<StageReport>,
    /// From the intended time to the end of the sinks' handlers.
    pub end_to_end: EndToEndReport,
    /// Whether it adds up.
    pub ledger: LedgerReport,
    /// How it ended; absent while it runs.
    pub drain: Option<DrainReport>,
    /// The stage to blame for what was held back, full or shed since this reader's last report; in the last report of a run,
    /// in all of it.
    pub culprit: Option<Culprit>,
    /// What went wrong, a line each, with the node's name first.
    pub faults: Vec<String>,
    /// What is kept of panics that did not stop the line, with the frames in hand; how many there were and how many
    /// have no room here is in `stages`.
    pub quarantine: Vec<Quarantined>,
    /// What came of recordings.
    pub records: Vec<RecordReport>,
    /// Always `unjudged`: counts over budget are raw, and a run judges nothing.
    pub verdict: &'static str,
}

/// The line and its run.
#[derive(Clone, Debug, Serialize)]
pub struct LineReport {
    /// Its name.
    pub name: String,
    /// `threads` or `inline`.
    pub mode: &'static str,
    /// `tsc`, `os` or `virtual`.
    pub clock: &'static str,
    /// Nanoseconds from the start to this report, on the line's clock.
    pub elapsed_ns: u64,
    /// Nanoseconds since this reader's last report, which `culprit` and what is named a window are of; in the last report of a
    /// run, all of it.
    pub window_ns: u64,
    /// Bytes that the plan says the line takes.
    pub planned_bytes: usize,
    /// Bytes of the process that are in memory; absent on virtual time.
    pub resident_bytes: Option<u64>,
    /// What the line asked of its memory, and what was granted.
    pub memory: MemoryReport,
}

/// A loop of the run.
#[derive(Clone, Debug, Serialize)]
pub struct LoopReport {
    /// What was planned.
    #[serde(flatten)]
    pub planned: PlannedThread,
    /// The core it was found on after pinning, if it was pinned.
    pub pinned: Option<usize>,
    /// What a person should know of the pinning.
    pub note: Option<String>,
    /// The kernel's number of its thread, as `perf -t` and `/proc/PID/task` have it; absent without a thread of its own.
    pub thread_id: Option<u32>,
    /// Turns.
    pub turns: u64,
    /// The node that had the turn when this was read; none between turns.
    pub current: Option<String>,
    /// Nanoseconds for which the loop had made no turn by then, as far as somebody looked: a loop that sleeps makes none either.
    pub silent_ns: u64,
    /// Longest turn that did work, without the idle time before it, in nanoseconds.
    pub turn_ns_max: u64,
    /// The node that took the most of it.
    pub turn_max_node: Option<String>,
    /// When it ended, in nanoseconds from the start of the line.
    pub turn_max_at_ns: u64,
    /// The time accounted for, in nanoseconds: at the end of a run the sum of this loop's regimes
    /// and those of its nodes, and how long it ran.
    pub span_ns: u64,
    /// The loop's own time; its nodes' time is in `stages`.
    pub regimes_ns: RegimeReport,
}

impl LoopReport {
    /// What a loop has counted; the line began at `began_ns` of its clock.
    pub(crate) fn new(
        planned: PlannedThread,
        pinned: Option<&Pinned>,
        counters: &LoopCounters,
        began_ns: u64,
    ) -> LoopReport {
        let turn_max_at = counters.turn_max_node.get().checked_sub(1);
        let named = |at: u64| planned.nodes.get(at as usize).cloned();
        let turn_max_node = turn_max_at.and_then(named);
        let current = counters.current.get().checked_sub(1).and_then(named);
        LoopReport {
            planned,
            pinned: pinned.and_then(|pinned| pinned.got),
            note: pinned.and_then(|pinned| pinned.note.clone()),
            thread_id: u32::try_from(counters.thread.get())
                .ok()
                .filter(|id| *id > 0),
            turns: counters.turns.get(),
            current,
            silent_ns: 0,
            turn_ns_max: counters.turn_ns_max.get(),
            turn_max_node,
            turn_max_at_ns: counters.turn_max_at_ns.get().saturating_sub(began_ns),
            span_ns: counters.span_ns.get(),
            regimes_ns: RegimeReport::new(counters.regimes.all()),
        }
    }
}

impl Report {
    /// The stage to blame for what was held back, full or shed in this report's window: who it is, why, and the figures. `None`
    /// where nothing was lost.
    #[must_use]
    pub fn culprit(&self) -> Option<&Culprit> {
        self.culprit.as_ref()
    }

    /// Whether the run was good: the ledger closed, no loss where none is allowed, no fault, and at
    /// its end every node done, which nothing but a stall had brought about.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let ended = self.drain.is_some();
        let stalled = self.drain.as_ref().map(|drain| drain.cause) == Some(STALLED);
        let is_good = |state: &str| match ended {
            true => state == State::Done.name(),
            false => state != State::Failed.name(),
        };
        self.ledger.closed
            && self.ledger.losses.is_empty()
            && self.faults.is_empty()
            && !stalled
            && self.stages.iter().all(|stage| is_good(stage.state))
    }
}

/// The percentiles of a histogram.
#[must_use]
pub fn percentiles(totals: &Totals) -> Percentiles {
    Percentiles::of(totals)
}

pub(crate) fn over_budget(budget: Option<&Budget>, totals: &Totals) -> BTreeMap<&'static str, u64> {
    let limits = budget.map(Budget::limits).unwrap_or_default();
    limits
        .iter()
        .enumerate()
        .map(|(at, limit)| (limit.quantile.name(), totals.over(at)))
        .collect()
}

pub(crate) fn stage_report(node: &NodeView, hops: &[HopView]) -> StageReport {
    let stage = &node.counters.stage;
    let mut absorbed = by_name(node.reasons, &stage.absorbed);
    insert(&mut absorbed, "undeclared", &stage.undeclared);
    let mut rejected = by_name(node.reasons, &stage.rejected);
    insert(&mut rejected, "panicked", &stage.panicked);
    insert(&mut rejected, Reject::LineEnded.name(), &stage.ended);
    let life = &node.counters.life;
    let (quarantined, lost) = (life.quarantined.get(), life.quarantine_lost.get());
    let counts = |panics: &Panics| panics.counts(quarantined, lost);
    let (quarantined, quarantine_lost) = node.panics.as_ref().map_or((0, 0), counts);
    let mut held_back_by_ns = ByReason::new();
    for (span, hop) in node.counters.held_back_by.iter().zip(&node.outputs) {
        insert(&mut held_back_by_ns, &hops[*hop].name, span);
    }
    let regimes = &node.counters.regimes;
    let by_hops_ns: u64 = held_back_by_ns.values().sum();
    let outside_ns = regimes.get(Regime::HeldBack).saturating_sub(by_hops_ns);
    let worst = held_back_by_ns.iter().max_by_key(|(_, span)| **span);
    let worst = worst.map(|(hop, _)| hop.clone());
    if outside_ns > 0 && node.role == Role::Sink {
        held_back_by_ns.insert(OUTSIDE.to_owned(), outside_ns);
    }
    StageReport {
        name: node.name.clone(),
        role: node.role.name(),
        kind: node.kind.clone(),
        state: node.counters.state().name(),
        consumed: stage.consumed.get(),
        forwarded: stage.forwarded.get(),
        absorbed,
        rejected,
        held: stage.held.get(),
        counts: node.counters.own.all().collect(),
        emitted: stage.emitted.get(),
        regimes_ns: RegimeReport::new(regimes.all()),
        held_back_by: worst,
        held_back_by_ns,
        on_panic: node.on_panic,
        panics: life.panics.get(),
        restarts: life.restarts.get(),
        away_ns: life.away_ns.get(),
        quarantined,
        quarantine_lost,
        out_of_order: stage.out_of_order.get(),
        inversions: stage.inversions.get(),
        inversion_ns_max: stage.inversion_ns_max.get(),
        state_hash: node.counters.state_hash().map(hash_text),
        fault: node.counters.fault().map(str::to_owned),
    }
}

fn insert(map: &mut BTreeMap<String, u64>, name: &str, counter: &Counter) {
    if counter.get() > 0 {
        map.insert(name.to_owned(), counter.get());
    }
}

fn wire_report(node: &NodeView) -> Option<WireReport> {
    let ingress = &node.counters.ingress;
    let clock = ingress.wire_clock.get()?;
    let [span] = &node.wire.as_ref()?.totals;
    Some(WireReport {
        clock: clock.clone(),
        span_ns: percentiles(span),
        clamped: ingress.stamps_clamped.get(),
        clock_steps: ingress.clock_steps.get(),
        not_by_device: ingress.not_by_device.get(),
    })
}

fn source_report(node: &NodeView, now_ns: u64, began_ns: u64) -> SourceReport {
    let ingress = &node.counters.ingress;
    SourceReport {
        received: ingress.received.get(),
        bytes: ingress.bytes.get(),
        ingested: ingress.ingested.get(),
        shed: ingress.shed.get(),
        rejected: {
            let mut rejected = by_reason::<Reject>(&ingress.rejected);
            insert(&mut rejected, "panicked", &ingress.panicked);
            rejected
        },
        undeclared: ingress.undeclared.get(),
        duplicates: ingress.duplicates.get(),
        feed_lines: ingress
            .sequenced
            .get()
            .map(|feed| feed.line_reports())
            .unwrap_or_default(),
        sequenced: ingress.sequenced.get().map(|feed| feed.report()),
        is_in_lines: ingress.in_lines.get() > 0,
        datagrams_received: ingress.datagrams.get(),
        kernel_dropped: ingress.kernel_dropped.get(),
        kernel_dropped_at_least: ingress.drops_are_trains.get() > 0
            && ingress.kernel_dropped.get() > 0,
        wire: wire_report(node),
        skipped: ingress.skipped.get(),
        fidelity: ingress.fidelity.get().cloned(),
        skew: ingress.skew.report(),
        gaps: ingress.gaps.report(),
        time_backwards: ingress.time_backwards.get(),
        late_ns_max: ingress.late_ns_max.get(),
        connected: ingress.connected.get(),
        disconnected: by_reason::<Hangup>(&ingress.disconnected),
        link: ingress.link.report(now_ns, began_ns),
        refused: ingress.refused.get(),
        claim_open_ns_max: ingress.claim_open_ns_max.get(),
    }
}

pub(crate) fn end_to_end_report(
    hops: &[HopView],
    nodes: &[NodeView],
    objective: Option<&Budget>,
) -> EndToEndReport {
    let mut all: Option<Totals> = None;
    let mut sinks = BTreeMap::new();
    for node in nodes {
        let Some(Collected {
            totals: [totals], ..
        }) = &node.end_to_end
        else {
            continue;
        };
        sinks.insert(node.name.clone(), percentiles(totals));
        if !node.in_objective {
            continue;
        }
        match &mut all {
            None => all = Some(totals.clone()),
            // All sinks count over the same limits, so they always merge.
            Some(sum) => drop(sum.merge(totals)),
        }
    }
    let sojourn_ns = all.as_ref().map(percentiles).unwrap_or_default();
    EndToEndReport {
        sojourn_ns,
        jitter_ns: sojourn_ns.p99.saturating_sub(sojourn_ns.p50),
        origin_saturated: hops
            .iter()
            .map(|hop| hop.counters.rx.origin_saturated.get())
            .max()
            .unwrap_or(0),
        budget: objective.map(BudgetReport::new),
        over_budget: all
            .as_ref()
            .map(|all| over_budget(objective, all))
            .unwrap_or_default(),
        sinks,
    }
}

/// Checks every equation. `at_rest` says that nothing runs any more, so that nothing may be in
/// flight; on a running line only what always holds is checked.
pub(crate) fn ledger_report(
    hops: &[HopReport],
    stages: &[StageReport],
    nodes: &[NodeView],
    at_rest: bool,
    hung: impl Fn(usize) -> bool,
    (now_ns, began_ns): (u64, u64),
) -> LedgerReport {
    let sources: BTreeMap<String, SourceReport> = nodes
        .iter()
        .filter(|node| node.role == Role::Source)
        .map(|node| (node.name.clone(), source_report(node, now_ns, began_ns)))
        .collect();
    let mut breaches = Vec::new();
    for stage in stages {
        let undeclared = stage.undeclared();
        if undeclared > 0 {
            breaches.push(format!(
                "{}: absorbed{{undeclared}} = {undeclared}: the stage returned done without emitting",
                stage.name
            ));
        }
    }
    for (name, source) in &sources {
        if source.undeclared > 0 {
            breaches.push(format!(
                "{name}: {} messages decoded into nothing, or into something and a refusal",
                source.undeclared
            ));
        }
    }
    if at_rest {
        for hop in hops {
            if !hop.adds_up() {
                breaches.push(format!(
                    "{}: offered {} = accepted {} + shed, accepted = delivered {} + in flight {} + discarded: does not hold",
                    hop.name, hop.offered, hop.accepted, hop.delivered, hop.in_flight
                ));
            }
            if let Some(undeclared) = hop.shed.get(Shed::Undeclared.name())
                && hop.shares.is_none()
            {
                breaches.push(format!(
                    "{}: {undeclared} emissions shed for which no room had been secured",
                    hop.name
                ));
            }
            if hop.waiting > 0 {
                breaches.push(format!(
                    "{}: {} messages still wait for room",
                    hop.name, hop.waiting
                ));
            }
            if hop.in_flight > 0 {
                breaches.push(format!(
                    "{}: {} messages still in flight",
                    hop.name, hop.in_flight
                ));
            }
        }
        // One that did not return has not said yet what it did in that turn, and who is behind it on its loop cannot say what
        // became of what it held: that is among what the drain left.
        let stages = stages.iter().enumerate();
        let returned = stages.filter(|(at, _)| !hung(*at)).map(|(_, stage)| stage);
        for stage in returned.filter(|stage| stage.role != "source") {
            if stage.held > 0 {
                breaches.push(format!(
                    "{}: still holds {} messages",
                    stage.name, stage.held
                ));
            }
            if !stage.adds_up() {
                breaches.push(format!(
                    "{}: consumed {} is not all disposed of",
                    stage.name, stage.consumed
                ));
            }
            let delivered: u64 = nodes_inputs(hops, &stage.name);
            if delivered != stage.consumed {
                breaches.push(format!(
                    "{}: its hops delivered {delivered}, it consumed {}",
                    stage.name, stage.consumed
                ));
            }
        }
        for (name, source) in &sources {
            if !source.adds_up() {
                breaches.push(format!(
                    "{name}: received {} is not all accounted for",
                    source.received
                ));
            }
            if let Some(breach) = source.lines_breach() {
                breaches.push(format!("{name}: {breach}"));
            }
        }
    }
    let mut losses = Vec::new();
    for hop in hops {
        let lost = hop.lost();
        if lost > 0 && hop.budget.as_ref().is_some_and(|budget| budget.lossless) {
            losses.push(format!(
                "{}: {lost} messages lost on a hop that must lose none",
                hop.name
            ));
        }
    }
    LedgerReport {
        closed: breaches.is_empty(),
        breaches,
        losses,
        sources,
        shed: hops.iter().map(HopReport::shed_once).sum(),
        discarded: hops.iter().flat_map(|hop| hop.discarded.values()).sum(),
    }
}

fn nodes_inputs(hops: &[HopReport], name: &str) -> u64 {
    let into = hops.iter().filter(|hop| ends(&hop.name).1 == name);
    into.map(|hop| hop.delivered).sum()
}

/// What a culprit is found by, from the start of the run.
fn figures(
    hops: &[HopReport],
    stages: &[StageReport],
    loops: &[LoopReport],
    ledger: &LedgerReport,
) -> Figures {
    let loops = loops.iter().map(|one| LoopTimes {
        nodes: &one.planned.nodes,
        silent_ns: one.silent_ns,
        current: one.current.as_deref(),
        own: one.regimes_ns,
    });
    let figures = Figures::new(0, hops, stages, loops);
    let sources = ledger.sources.iter();
    sources.fold(figures, |figures, (name, source)| {
        figures.dropped(name, source.kernel_dropped)
    })
}

/// Everything that a report is made of.
pub(crate) struct Parts<'a> {
    pub(crate) line: LineReport,
    pub(crate) host: &'a Host,
    pub(crate) placement: Vec<LoopReport>,
    pub(crate) hops: &'a [HopView],
    pub(crate) nodes: &'a [NodeView],
    pub(crate) splits: &'a [SplitView],
    pub(crate) spills: &'a [SpillView],
    /// Whether who writes those has been told to stop before it had written all.
    pub(crate) writer_is_left: bool,
    pub(crate) objective: Option<&'a Budget>,
    pub(crate) quarantine: &'a [Quarantined],
    pub(crate) drain: Option<DrainReport>,
    pub(crate) at_rest: bool,
    /// The nodes, by their places, of loops that have not ended though the line has been given up.
    pub(crate) hung: &'a [usize],
    /// The windows on the line, which of them is read, and when.
    pub(crate) windows: &'a mut Windows,
    pub(crate) window: Window,
    pub(crate) records: Vec<RecordReport>,
    pub(crate) now_ns: u64,
}

impl Parts<'_> {
    pub(crate) fn report(mut self) -> Report {
        let peaks = self.windows.peaks(self.window);
        let hops = self.hops.iter().zip(peaks).enumerate();
        let hops: Vec<HopReport> = hops
            .map(|(at, (hop, peaks))| {
                let hangs = Hangs {
                    producer: self
                        .hung
                        .iter()
                        .any(|node| self.nodes[*node].outputs.contains(&at)),
                    consumer: self.hung.contains(&hop.to),
                };
                hop_report(hop, *peaks, self.now_ns, hangs)
            })
            .collect();
        let mut stages: Vec<StageReport> = self
            .nodes
            .iter()
            .map(|node| stage_report(node, self.hops))
            .collect();
        let mut faults = Vec::new();
        for stage in &mut stages {
            if self
                .drain
                .as_ref()
                .is_some_and(|drain| drain.stuck.contains(&stage.name))
            {
                stage.state = STUCK;
                faults.push(format!("{}: its handler did not return", stage.name));
            }
            if let Some(fault) = &stage.fault {
                faults.push(format!("{}: {fault}", stage.name));
            }
        }
        faults.extend(self.drain.iter().flat_map(DrainReport::faults));
        let spills = self.spills.iter();
        let overflow_files: Vec<OverflowReport> =
            spills.map(|one| one.report(self.writer_is_left)).collect();
        for (file, view) in overflow_files.iter().zip(self.spills) {
            let fault = file.fault.iter();
            faults.extend(fault.map(|fault| format!("{}: {fault}", hops[view.hop].name)));
        }
        // What a recorder had no room for is a count; that it could not write is a fault.
        faults.extend(self.records.iter().filter_map(|one| {
            let RecordReport { hop, file, .. } = one;
            let fault = one.fault.as_ref()?;
            Some(format!("the recorder of {hop}: {IO_FAULT}{file}: {fault}"))
        }));
        let began_ns = self.now_ns.saturating_sub(self.line.elapsed_ns);
        let times_ns = (self.now_ns, began_ns);
        let is_hung = |at: usize| self.hung.contains(&at);
        let mut ledger = ledger_report(&hops, &stages, self.nodes, self.at_rest, is_hung, times_ns);
        if self.at_rest {
            for (file, view) in overflow_files.iter().zip(self.spills) {
                let shed = |why| spill::count(&hops[view.hop].shed, why);
                let breaches = file.breaches(shed(Shed::Overflowed), shed(Shed::Full));
                ledger.breaches.extend(breaches);
            }
            ledger.closed = ledger.breaches.is_empty();
        }
        if let Some(drain) = self
            .drain
            .as_ref()
            .filter(|drain| !drain.complete && self.at_rest)
        {
            ledger.losses.push(drain.words());
        }
        let figures = figures(&hops, &stages, &self.placement, &ledger);
        let Seen { span_ns, before } = self.windows.read(self.window, self.now_ns, &figures);
        let mut figures = figures.since(&before, span_ns);
        let left = self.drain.iter().flat_map(|drain| &drain.left);
        for left in left {
            figures = figures.left(&left.hop, left.messages, &left.held_by);
        }
        self.line.window_ns = span_ns;
        Report {
            schema: SCHEMA,
            culprit: figures.culprit(),
            line: self.line,
            splits: self.splits.iter().map(SplitView::report).collect(),
            overflow_files,
            host: self.host.clone(),
            placement: self.placement,
            end_to_end: end_to_end_report(self.hops, self.nodes, self.objective),
            hops,
            stages,
            ledger,
            drain: self.drain,
            faults,
            quarantine: self.quarantine.to_vec(),
            records: self.records,
            verdict: "unjudged",
        }
    }
}

/// Whether a node is over, from outside.
pub(crate) fn is_over(node: &NodeView) -> bool {
    node.counters.state().is_over()
}
