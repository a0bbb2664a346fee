//! The tables that the live view and the summary share.

use std::collections::BTreeMap;

use hopline::base::units::Span;
use hopline::budget::Quantile;
use hopline::budget::report::{
    BudgetReport, ByReason, HopReport, OUTSIDE, Percentiles, RegimeReport, SourceReport,
    StageReport,
};
use hopline::overload::Rung;
use hopline::topology::clean::CleanSpan;
use hopline::topology::{CleanReport, Report};

use super::clean::{clean_cell, clean_cells};
use super::link;
use super::table::{Cell, Table, numbers, words};
use super::text::{Tone, grouped, limit, rate, seconds, share};

/// How much of a hop is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    /// A line each, for a view that changes.
    Live,
    /// All three spans, for a view that stays.
    Full,
}

/// Share of a regime, in nanoseconds, and the whole that it is a share of.
fn of_thread(part_ns: u64, whole_ns: u64, tone: Tone) -> Cell {
    let tone = if part_ns == 0 { Tone::Dim } else { tone };
    Cell::new(share(part_ns, whole_ns), tone)
}

fn percentile_cells(spans: &Percentiles, tone: Tone) -> [Cell; 5] {
    let values = [spans.p50, spans.p90, spans.p99, spans.p99_9, spans.max];
    values.map(|ns| match spans.count {
        0 => Cell::new("-", Tone::Dim),
        _ => Cell::new(Span(ns).to_string(), tone),
    })
}

/// A count, or nothing where it is zero.
pub(super) fn unless_zero(count: u64, tone: Tone) -> Cell {
    match count {
        0 => Cell::default(),
        count => Cell::new(grouped(count), tone),
    }
}

/// Counts by reason: `full 3, closed 1`.
pub(crate) fn by_reason(counts: &ByReason) -> String {
    let parts = counts
        .iter()
        .map(|(why, count)| format!("{why} {}", grouped(*count)));
    parts.collect::<Vec<_>>().join(", ")
}

/// Counts by kind and reason: `trade (full 3, closed 1), depth (full 2)`.
fn by_kind(counts: &BTreeMap<String, ByReason>) -> String {
    let kinds = counts
        .iter()
        .map(|(kind, reasons)| format!("{kind} ({})", by_reason(reasons)));
    kinds.collect::<Vec<_>>().join(", ")
}

/// The rung of the degrade ladder that a hop is on, and how often and for how long it was on each; nothing where it never left
/// the ground.
fn rungs(hop: &HopReport) -> Option<String> {
    let reached = |rung: &&Rung| **rung != Rung::None && hop.rungs.contains_key(rung.name());
    let parts = Rung::ALL.iter().filter(reached).map(|rung| {
        let of = |counts: &ByReason| counts.get(rung.name()).copied().unwrap_or(0);
        let (times, span) = (grouped(of(&hop.rungs)), Span(of(&hop.rungs_ns)));
        format!("{rung} {times} times, {span}")
    });
    let parts = parts.collect::<Vec<_>>().join("; ");
    (!parts.is_empty()).then(|| format!("ladder: on {} now; {parts}", hop.rung))
}

/// What is owed and how many were over it, a limit a line and the highest first: `p99 20us`, `12`. Where nothing came by there
/// is nothing that could have been over.
pub(super) fn limits(
    budget: Option<&BudgetReport>,
    over: &BTreeMap<&'static str, u64>,
    lost: u64,
    has_any: bool,
) -> Vec<[Cell; 2]> {
    let Some(budget) = budget else {
        return Vec::new();
    };
    let count = |count: u64| {
        let tone = if count == 0 { Tone::Dim } else { Tone::Warn };
        Cell::new(grouped(count), tone)
    };
    let span = match budget.of.name() {
        "sojourn" => String::new(),
        other => format!("{other} "),
    };
    let mut quantiles = Quantile::ALL.map(Quantile::name);
    quantiles.reverse();
    let mut lines: Vec<[Cell; 2]> = quantiles
        .iter()
        .filter_map(|name| {
            let limit_ns = budget.limits_ns.get(name)?;
            let shown = name.replace('_', ".");
            let text = format!("{span}{shown} {}", limit(*limit_ns));
            let over = over.get(name).copied().unwrap_or(0);
            let over = match has_any {
                true => count(over),
                false => Cell::new("-", Tone::Dim),
            };
            Some([text.into(), over])
        })
        .collect();
    if budget.lossless {
        let tone = if lost == 0 { Tone::Dim } else { Tone::Bad };
        lines.push(["no loss".into(), Cell::new(grouped(lost), tone)]);
    }
    lines
}

/// What changed between two looks, for rates: the reports and the nanoseconds between them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Since<'a> {
    pub(crate) before: Option<&'a Report>,
    pub(crate) span_ns: u64,
}

impl Since<'_> {
    fn per_s(&self, at: usize, now: u64, what: impl Fn(&Report, usize) -> Option<u64>) -> String {
        let before = self.before.and_then(|before| what(before, at)).unwrap_or(0);
        let events = now.saturating_sub(before);
        rate(events as f64 * 1e9 / self.span_ns.max(1) as f64)
    }
}

/// Hop by hop, and the whole line.
pub(crate) fn hops(
    report: &Report,
    clean: Option<&CleanReport>,
    since: Since<'_>,
    detail: Detail,
) -> Table {
    let (live, is_clean) = (detail == Detail::Live, clean.is_some());
    let mut table = Table::new(vec![
        words("hop"),
        numbers("msgs").may_go(if live { 8 } else { 3 }),
        if live {
            numbers("msg/s")
        } else {
            numbers("msg/s").may_go(4)
        },
        if live {
            numbers("depth")
        } else {
            numbers("deepest").may_go(5)
        },
        if live {
            numbers("peak").may_go(6)
        } else {
            numbers("")
        },
        if live {
            numbers("oldest").may_go(7)
        } else {
            numbers("")
        },
        // Only where something is: a line that keeps up has no such column.
        numbers("at full"),
        words("when full").may_go(9),
        // A line that sheds millions needs the room for that on a narrow terminal: then the middle goes, and then what
        // `over` says as well.
        numbers("p50").may_go(if live { 2 } else { 0 }),
        numbers("p90").may_go(if is_clean { 4 } else { 2 }),
        numbers("p99"),
        // Beside a clean P99 the raw ones further out are worth least.
        numbers("p99.9").may_go(if is_clean { 3 } else { 0 }),
        numbers("max").may_go(if live && is_clean { 2 } else { 0 }),
        numbers("clean p99"),
        // Before names are cut.
        numbers("kept").may_go(1),
        words("budget").may_go(if live { 1 } else { 0 }),
        numbers("over"),
        numbers("shed"),
    ]);
    let none = CleanSpan::default();
    for (at, hop) in report.hops.iter().enumerate() {
        let of_slots = |frames: u64| format!("{}/{}", grouped(frames), grouped(hop.depth as u64));
        let [depth, peak, oldest] = if live {
            let oldest = match hop.age_window_max_ns {
                0 => String::new(),
                age_ns => Span(age_ns).to_string(),
            };
            let now = grouped(hop.depth_now);
            [now, grouped(hop.depth_window_max), oldest].map(Cell::from)
        } else {
            [
                of_slots(hop.depth_max).into(),
                Cell::default(),
                Cell::default(),
            ]
        };
        let then = since.before.and_then(|before| before.hops.get(at));
        let full_ns = hop.full_ns - then.map_or(0, |then| then.full_ns.min(hop.full_ns));
        let full = match full_ns {
            0 => Cell::default(),
            full_ns => Cell::new(share(full_ns.min(since.span_ns), since.span_ns), Tone::Warn),
        };
        let delivered = |report: &Report, at: usize| report.hops.get(at).map(|hop| hop.delivered);
        let head = vec![
            Cell::new(&*hop.name, Tone::Strong),
            grouped(hop.delivered).into(),
            since.per_s(at, hop.delivered, delivered).into(),
            depth,
            peak,
            oldest,
            full,
            Cell::new(hop.when_full, Tone::Dim),
        ];
        let has_any = hop.sojourn_ns.count > 0;
        let mut limits = limits(hop.budget.as_ref(), &hop.over_budget, hop.lost(), has_any);
        if live {
            // Of one line that which is broken for certain.
            let is_lossy = hop.lost() > 0 && hop.budget.as_ref().is_some_and(|one| one.lossless);
            limits.rotate_right(usize::from(is_lossy));
            limits.truncate(1);
        }
        let clean = clean.map(|clean| clean.hops.get(&hop.name).unwrap_or(&none));
        let part = |of: fn(&CleanSpan) -> &Percentiles| {
            clean.map_or_else(Default::default, |clean| {
                [clean_cell(of(clean)), Cell::default()]
            })
        };
        let spans: [Row<'_>; 3] = [
            ("", &hop.sojourn_ns, clean_cells(clean)),
            ("  wait", &hop.wait_ns, part(|clean| &clean.wait_ns)),
            (
                "  service",
                &hop.service_ns,
                part(|clean| &clean.service_ns),
            ),
        ];
        let shown = if live { 1 } else { spans.len() };
        block(
            &mut table,
            head,
            &spans[..shown],
            limits,
            unless_zero(hop.shed_once(), Tone::Bad),
        );
        if let Some(text) = rungs(hop) {
            table.remark(text, Tone::Warn);
        }
        if !live {
            hop_remarks(&mut table, hop);
        }
    }
    end_to_end(&mut table, report, clean, detail);
    table
}

/// A span: its name, what it took, and the cells of its clean part.
pub(super) type Row<'a> = (&'a str, &'a Percentiles, [Cell; 2]);

/// One thing that has spans and limits: its first line, the other spans under it, and as many
/// lines more as its limits need.
pub(super) fn block(
    table: &mut Table,
    head: Vec<Cell>,
    spans: &[Row<'_>],
    limits: Vec<[Cell; 2]>,
    shed: Cell,
) {
    let width = head.len();
    let mut head = Some(head);
    let mut shed = Some(shed);
    let mut limits = limits.into_iter();
    let mut spans = spans.iter();
    loop {
        let (span, limit) = (spans.next(), limits.next());
        let first = head.take();
        if span.is_none() && limit.is_none() && first.is_none() {
            return;
        }
        let is_first = first.is_some();
        let mut cells = first.unwrap_or_else(|| {
            let name = span.map_or("", |(name, ..)| name);
            let mut cells = vec![Cell::new(name, Tone::Dim)];
            cells.resize(width, Cell::default());
            cells
        });
        let tone = if is_first { Tone::Plain } else { Tone::Dim };
        match span {
            Some((_, spans, clean)) => {
                cells.extend(percentile_cells(spans, tone));
                cells.extend(clean.clone());
            }
            None => cells.extend(std::iter::repeat_n(Cell::default(), 7)),
        }
        cells.extend(limit.unwrap_or_default());
        cells.extend(shed.take());
        table.row(cells);
    }
}

fn hop_remarks(table: &mut Table, hop: &HopReport) {
    if let Some(first) = &hop.shares {
        table.remark(format!("shares the ring of {first}"), Tone::Dim);
    }
    if !hop.shed.is_empty() && hop.shares.is_none() {
        table.remark(format!("shed: {}", by_kind(&hop.shed_by_kind)), Tone::Bad);
    }
    if !hop.discarded.is_empty() {
        table.remark(
            format!("discarded: {}", by_kind(&hop.discarded_by_kind)),
            Tone::Warn,
        );
    }
    if hop.in_flight > 0 {
        table.remark(
            format!("still in flight: {}", grouped(hop.in_flight)),
            Tone::Bad,
        );
    }
    if hop.saturated > 0 {
        let text = format!(
            "{} spans were longer than histograms tell apart",
            grouped(hop.saturated)
        );
        table.remark(text, Tone::Warn);
    }
}

/// What is said of a run of which no message came out.
pub(super) const NOTHING_REACHED: &str = "nothing reached the end";

/// Whether messages came in and none of them left through a sink.
pub(super) fn reached_nothing(report: &Report) -> bool {
    let mut sources = report.ledger.sources.values();
    let mut sinks = report.stages.iter().filter(|stage| stage.role == "sink");
    sources.any(|source| source.received > 0) && sinks.all(|sink| sink.forwarded == 0)
}

fn end_to_end(table: &mut Table, report: &Report, clean: Option<&CleanReport>, detail: Detail) {
    let whole = &report.end_to_end;
    let head = |name: &str, tone: Tone, count: u64| {
        let mut cells = vec![Cell::new(name, tone), Cell::from(grouped(count))];
        cells.resize(8, Cell::default());
        cells
    };
    for (name, source) in &report.ledger.sources {
        if let Some(wire) = &source.wire {
            let first = head(&format!("wire->{name}"), Tone::Dim, wire.span_ns.count);
            let spans = [("", &wire.span_ns, Default::default())];
            block(table, first, &spans, Vec::new(), Cell::default());
            if detail == Detail::Full {
                table.remark(format!("by {}", wire.clock), Tone::Dim);
            }
            if wire.not_by_device > 0 {
                let count = grouped(wire.not_by_device);
                table.remark(format!("{count} by the kernel's clock instead"), Tone::Dim);
            }
        }
    }
    let has_any = whole.sojourn_ns.count > 0;
    let limits = limits(whole.budget.as_ref(), &whole.over_budget, 0, has_any);
    let clean = clean_cells(clean.map(|clean| &clean.end_to_end));
    let spans = [("", &whole.sojourn_ns, clean)];
    let first = head("end to end", Tone::Strong, whole.sojourn_ns.count);
    block(table, first, &spans, limits, Cell::default());
    if detail == Detail::Full && reached_nothing(report) {
        table.remark(NOTHING_REACHED.to_owned(), Tone::Bad);
    }
    if detail == Detail::Full && whole.sinks.len() > 1 {
        for (name, sink) in &whole.sinks {
            let first = head(&format!("  to {name}"), Tone::Dim, sink.count);
            let spans = [("", sink, Default::default())];
            block(table, first, &spans, Vec::new(), Cell::default());
        }
    }
}

/// A node's time, and the time of the thread that it shares.
struct Shares {
    thread: String,
    node: RegimeReport,
    thread_idle_ns: u64,
    thread_ns: u64,
}

fn total(regimes: &RegimeReport) -> u64 {
    regimes.work + regimes.io + regimes.held_back + regimes.housekeeping + regimes.idle
}

fn minus(now: &RegimeReport, before: Option<&RegimeReport>) -> RegimeReport {
    let Some(before) = before else {
        return *now;
    };
    RegimeReport {
        work: now.work.saturating_sub(before.work),
        io: now.io.saturating_sub(before.io),
        held_back: now.held_back.saturating_sub(before.held_back),
        housekeeping: now.housekeeping.saturating_sub(before.housekeeping),
        idle: now.idle.saturating_sub(before.idle),
    }
}

/// Where the time of a node and of its thread went since the last look.
fn shares(report: &Report, since: Since<'_>, at: usize) -> Shares {
    let node_ns = |at: usize| {
        let before = since.before.and_then(|before| before.stages.get(at));
        minus(
            &report.stages[at].regimes_ns,
            before.map(|stage| &stage.regimes_ns),
        )
    };
    let name = &report.stages[at].name;
    let on = |at: usize| report.placement[at].planned.nodes.contains(name);
    let thread = (0..report.placement.len()).find(|at| on(*at));
    let node = node_ns(at);
    let Some(thread) = thread else {
        return Shares {
            thread: String::new(),
            thread_ns: total(&node),
            thread_idle_ns: node.idle,
            node,
        };
    };
    let place = &report.placement[thread];
    let before = since.before.and_then(|before| before.placement.get(thread));
    let own = minus(&place.regimes_ns, before.map(|place| &place.regimes_ns));
    let nodes_ns: u64 = (0..report.stages.len())
        .filter(|at| place.planned.nodes.contains(&report.stages[*at].name))
        .map(|at| total(&node_ns(at)))
        .sum();
    Shares {
        thread: place.planned.name.clone(),
        node,
        thread_idle_ns: own.idle,
        thread_ns: total(&own) + nodes_ns,
    }
}

/// Ten characters for where a thread's time went: full work, dense I/O, light held back.
fn bar(shares: &Shares) -> String {
    const CELLS: u64 = 10;
    let node = &shares.node;
    let parts = [(node.work, '█'), (node.io, '▓'), (node.held_back, '▒')];
    let mut out = String::new();
    let (mut so_far, mut drawn) = (0, 0);
    for (part_ns, sign) in parts {
        so_far += part_ns;
        let until = (so_far * CELLS + shares.thread_ns / 2) / shares.thread_ns.max(1);
        let cells = until.min(CELLS).saturating_sub(drawn);
        out.extend(std::iter::repeat_n(sign, cells as usize));
        drawn += cells;
    }
    out.extend(std::iter::repeat_n('·', (CELLS - drawn) as usize));
    out
}

fn state(stage: &StageReport) -> Cell {
    let tone = match stage.state {
        "failed" | "stuck" => Tone::Bad,
        "done" => Tone::Dim,
        _ => Tone::Plain,
    };
    Cell::new(stage.state, tone)
}

/// Who held a stage back and for how much of its thread's time, the longest first; nothing where nobody did.
fn held_back_by(stage: &StageReport, thread_ns: u64) -> Option<String> {
    let mut by: Vec<(&String, &u64)> = stage.held_back_by_ns.iter().collect();
    by.sort_by_key(|(name, span_ns)| (std::cmp::Reverse(**span_ns), *name));
    let parts = by.iter().map(|(name, span_ns)| match name.as_str() {
        OUTSIDE => format!("the outside {}", share(**span_ns, thread_ns)),
        name => format!("{name} {}", share(**span_ns, thread_ns)),
    });
    let text = parts.collect::<Vec<_>>().join(", ");
    (!text.is_empty()).then(|| format!("held back by {text}"))
}

/// Node by node: what went in and out, and where its thread's time went.
pub(crate) fn stages(report: &Report, since: Since<'_>, detail: Detail) -> Table {
    let live = detail == Detail::Live;
    let mut table = Table::new(vec![
        words("stage"),
        words("thread").may_go(1),
        words("state").may_go(if live { 4 } else { 6 }),
        numbers("in").may_go(2),
        numbers("out").may_go(3),
        numbers("absorbed").may_go(if live { 6 } else { 0 }),
        numbers("rejected").may_go(if live { 7 } else { 0 }),
        numbers("held"),
        numbers("work"),
        numbers("io"),
        numbers("held back"),
        numbers("idle"),
        words("").may_go(5),
    ]);
    for (at, stage) in report.stages.iter().enumerate() {
        let shares = shares(report, since, at);
        let source = report.ledger.sources.get(&stage.name);
        let taken = source.map_or(stage.consumed, |source| source.received);
        let absorbed: u64 = stage.absorbed.values().sum();
        let rejected: u64 = match source {
            Some(source) => source.rejected.values().sum(),
            None => stage.rejected.values().sum(),
        };
        let out = if stage.role == "sink" {
            stage.forwarded
        } else {
            stage.emitted
        };
        let whole = shares.thread_ns;
        table.row(vec![
            Cell::new(&*stage.name, Tone::Strong),
            Cell::new(&*shares.thread, Tone::Dim),
            state(stage),
            grouped(taken).into(),
            grouped(out).into(),
            unless_zero(absorbed, Tone::Plain),
            unless_zero(rejected, Tone::Warn),
            unless_zero(stage.held, Tone::Warn),
            of_thread(shares.node.work, whole, Tone::Plain),
            of_thread(shares.node.io, whole, Tone::Plain),
            of_thread(shares.node.held_back, whole, Tone::Warn),
            of_thread(shares.thread_idle_ns, whole, Tone::Dim),
            Cell::new(bar(&shares), Tone::Dim),
        ]);
        if live {
            continue;
        }
        if !stage.absorbed.is_empty() {
            let tone = if stage.undeclared() > 0 {
                Tone::Bad
            } else {
                Tone::Dim
            };
            table.remark(format!("absorbed: {}", by_reason(&stage.absorbed)), tone);
        }
        if !stage.rejected.is_empty() {
            table.remark(
                format!("rejected: {}", by_reason(&stage.rejected)),
                Tone::Warn,
            );
        }
        if let Some(text) = held_back_by(stage, whole) {
            table.remark(text, Tone::Dim);
        }
    }
    table
}

/// What the world sent, source by source.
pub(crate) fn sources(sources: &BTreeMap<String, SourceReport>) -> Table {
    let mut table = Table::new(vec![
        words("source"),
        numbers("received"),
        numbers("bytes").may_go(2),
        numbers("ingested"),
        numbers("shed"),
        numbers("rejected"),
        numbers("kernel dropped"),
        numbers("late max").may_go(1),
    ]);
    for (name, source) in sources {
        let rejected: u64 = source.rejected.values().sum();
        let count = |count: u64| match count {
            0 => Cell::new("0", Tone::Dim),
            count => Cell::new(grouped(count), Tone::Bad),
        };
        table.row(vec![
            Cell::new(&**name, Tone::Strong),
            grouped(source.received).into(),
            Cell::new(super::text::bytes(source.bytes), Tone::Dim),
            grouped(source.ingested).into(),
            count(source.shed),
            count(rejected),
            count(source.kernel_dropped),
            match source.late_ns_max {
                0 => Cell::default(),
                late_ns => Span(late_ns).to_string().into(),
            },
        ]);
        if rejected > 0 {
            table.remark(
                format!("rejected: {}", by_reason(&source.rejected)),
                Tone::Warn,
            );
        }
        super::feeds::sequenced(source, &mut table);
        if source.connected > 0 {
            let text = format!(
                "connections: {}; ended: {}",
                grouped(source.connected),
                by_reason(&source.disconnected)
            );
            table.remark(text, Tone::Dim);
        }
        if let Some(link) = &source.link {
            for (text, tone) in link::words(link) {
                table.remark(text, tone);
            }
        }
        if source.undeclared > 0 {
            let text = format!(
                "{} messages decoded into nothing",
                grouped(source.undeclared)
            );
            table.remark(text, Tone::Bad);
        }
        if source.time_backwards > 0 {
            let text = format!(
                "{} recorded times lie before an earlier one",
                grouped(source.time_backwards)
            );
            table.remark(text, Tone::Warn);
        }
        if source.skipped > 0 {
            let text = format!("{} packets were for somebody else", grouped(source.skipped));
            table.remark(text, Tone::Dim);
        }
        if let Some(fidelity) = &source.fidelity {
            table.remark(super::captures::replayed(fidelity), Tone::Dim);
        }
        if let Some(skew) = source.skew.as_ref().filter(|skew| skew.clamped > 0) {
            let text = format!(
                "clock skew: {} events lie after their receipt, by up to {}; clamped to zero",
                grouped(skew.clamped),
                Span(skew.ahead_ns_max())
            );
            table.remark(text, Tone::Dim);
        }
    }
    table
}

/// Where everything ran.
pub(crate) fn threads(report: &Report) -> Table {
    let mut table = Table::new(vec![
        words("thread"),
        words("core"),
        words("placement"),
        words("waits by").may_go(1),
        numbers("turns").may_go(3),
        numbers("longest turn").may_go(2),
    ]);
    for place in &report.placement {
        let core = match (place.pinned, place.planned.core) {
            (Some(core), _) => Cell::from(format!("{core}")),
            (None, Some(core)) => Cell::new(format!("{core} (not pinned)"), Tone::Warn),
            (None, None) => Cell::new("any", Tone::Dim),
        };
        table.row(vec![
            Cell::new(&*place.planned.name, Tone::Strong),
            core,
            place.planned.placement.into(),
            Cell::new(&*place.planned.wait, Tone::Dim),
            grouped(place.turns).into(),
            Span(place.turn_ns_max).to_string().into(),
        ]);
        table.remark(
            format!("runs {}", place.planned.nodes.join(", ")),
            Tone::Dim,
        );
        if let Some(node) = &place.turn_max_node {
            let at = seconds(place.turn_max_at_ns);
            table.remark(format!("longest turn in {node}, at {at}"), Tone::Dim);
        }
        if let Some(note) = &place.note {
            table.remark(note.clone(), Tone::Warn);
        }
    }
    table
}
