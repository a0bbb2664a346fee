//! The report as tables for people.

use hopline::base::units::Span;

use super::report::FloorReport;
use crate::measure::Percentiles;
use crate::view::table::{Cell, Table, numbers, words};
use crate::view::text::{Paint, Tone, wrap};

/// Width of the words that lead the lines below the tables.
const LEAD: usize = 11;

/// The whole report in lines of at most `width` columns.
pub(super) fn lines(report: &FloorReport, width: usize, paint: Paint) -> Vec<String> {
    let mut out = vec![String::new()];
    let add = |out: &mut Vec<String>, lead: &str, text: &str| {
        let room = width.saturating_sub(LEAD + 2).max(20);
        for (at, line) in wrap(text, room).iter().enumerate() {
            let lead = if at == 0 { lead } else { "" };
            let lead = paint.paint(&format!("{lead:<LEAD$}"), Tone::Dim);
            out.push(format!("  {lead}{line}"));
        }
    };
    add(&mut out, "machine", &machine(report));
    add(&mut out, "noise", report.noise);
    add(&mut out, "clock", &clock(report));
    out.push(String::new());
    for table in [
        gaps(report),
        hops(report),
        wake(report),
        turns(report),
        wire(report),
    ] {
        if !table.is_empty() {
            out.extend(table.lines(width, paint));
            out.push(String::new());
        }
    }
    for cannot in &report.cannot {
        add(&mut out, "cannot", cannot);
    }
    for note in &report.notes {
        add(&mut out, "note", note);
    }
    add(
        &mut out,
        "took",
        &format!(
            "{}; figures are medians over interleaved rounds, ratios are taken within rounds",
            Span(report.took_ns)
        ),
    );
    out
}

fn machine(report: &FloorReport) -> String {
    let machine = &report.machine;
    let known = |text: &Option<String>, unknown: &str| text.clone().unwrap_or(unknown.to_owned());
    let mut text = format!(
        "{}, {} of {} cores",
        known(&machine.cpu_model, "unknown processor"),
        machine.allowed.len(),
        machine.cores.unwrap_or(machine.allowed.len())
    );
    if let Some(quota) = machine.quota_cores {
        text += &format!(", time of {quota} cores");
    }
    if machine.virtualised == Some(true) {
        text += ", a virtual machine";
    }
    text += &format!(
        ", Linux {}, governor {}",
        known(&machine.kernel, "?"),
        known(&machine.governor, "not to be seen")
    );
    if let Some([first, second]) = machine.measured {
        text += &format!("; measured between cores {first} and {second}");
    }
    text
}

fn clock(report: &FloorReport) -> String {
    let clock = &report.clock;
    let mut text = format!(
        "{}: {:.1} ns a stamp, {:.1} ns after a take, {:.1} ns by the system; steps of {} ns",
        clock.kind, clock.stamp_ns, clock.stamp_after_ns, clock.os_ns, clock.step_ns
    );
    if let Some(skew_ns) = clock.skew_ns {
        text += &format!("; the cores are {skew_ns:.0} ns apart");
    }
    text
}

fn strong(text: impl Into<String>) -> Cell {
    Cell::new(text, Tone::Strong)
}

/// Nanoseconds with as many digits as they deserve.
fn ns(ns: f64) -> Cell {
    match ns {
        ns if ns < 1_000.0 => format!("{ns:.1}ns").into(),
        ns => Span(ns as u64).to_string().into(),
    }
}

fn ratio(ratio: f64) -> Cell {
    format!("{ratio:.2}").into()
}

fn gaps(report: &FloorReport) -> Table {
    let mut table = Table::new(vec![
        words("gaps of a spinning loop"),
        numbers("> 1us /s"),
        numbers("> 10us /s"),
        numbers("> 100us /s"),
        numbers("worst"),
        numbers("time lost"),
    ]);
    for gaps in &report.gaps {
        table.row(vec![
            strong(format!("core {}", gaps.core)),
            format!("{:.0}", gaps.over_1us_per_s).into(),
            format!("{:.0}", gaps.over_10us_per_s).into(),
            format!("{:.1}", gaps.over_100us_per_s).into(),
            Span(gaps.worst_ns).to_string().into(),
            format!("{:.2} %", gaps.lost_percent).into(),
        ]);
    }
    table
}

fn hops(report: &FloorReport) -> Table {
    let mut table = Table::new(vec![
        words("ring, one hop"),
        numbers("bytes"),
        numbers("p50"),
        numbers("p90"),
        numbers("p99"),
        numbers("/ floor"),
    ]);
    let row = |name: &str, bytes: String, at: [f64; 3], to_floor: Cell| {
        let [p50, p90, p99] = at;
        vec![
            strong(name),
            bytes.into(),
            ns(p50),
            ns(p90),
            ns(p99),
            to_floor,
        ]
    };
    if let Some(Percentiles { p50, p90, p99 }) = report.floor {
        let name = "floor: two bare lines";
        table.row(row(name, String::new(), [p50, p90, p99], ratio(1.0)));
    }
    for ring in &report.rings {
        let at = [ring.p50, ring.p90, ring.p99];
        let bytes = ring.payload_bytes.to_string();
        table.row(row(&ring.name, bytes, at, ratio(ring.ratio)));
    }
    table
}

fn wake(report: &FloorReport) -> Table {
    let mut table = Table::new(vec![
        words("sleep and wake"),
        numbers("p50"),
        numbers("p99"),
        numbers("bare p50"),
        numbers("bare p99"),
        numbers("/ bare"),
    ]);
    let wake = &report.wake;
    let mut both = |name: String, ours: Option<Percentiles>, bare: Option<Percentiles>| {
        let (Some(ours), Some(bare)) = (ours, bare) else {
            return;
        };
        table.row(vec![
            strong(name),
            ns(ours.p50),
            ns(ours.p99),
            ns(bare.p50),
            ns(bare.p99),
            ratio(ours.p50 / bare.p50),
        ]);
    };
    both("woken until it runs".to_owned(), wake.park, wake.bare_park);
    both("cost to the waker".to_owned(), wake.waker, wake.bare_waker);
    for timer in &wake.timers {
        let name = format!("park of {}: late by", Span(timer.asked_ns));
        both(name, Some(timer.late), Some(timer.bare_late));
    }
    table.row(vec![
        strong("publish to one awake"),
        ns(wake.awake_ns),
        "".into(),
        "".into(),
        "".into(),
        "".into(),
    ]);
    table
}

fn turns(report: &FloorReport) -> Table {
    let mut table = Table::new(vec![
        words("turn of a loop"),
        numbers("median"),
        numbers("lowest"),
        numbers("highest"),
    ]);
    let Some(turns) = report.turns else {
        return table;
    };
    for (name, spread) in [
        ("five nodes, nothing to do", turns.empty_turn_ns),
        ("a frame through four hops", turns.frame_turn_ns),
        ("bare: four copies, four stamps", turns.bare_turn_ns),
    ] {
        let cells = [spread.median, spread.low, spread.high].map(ns);
        table.row([strong(name)].into_iter().chain(cells).collect());
    }
    table
}

fn wire(report: &FloorReport) -> Table {
    let mut table = Table::new(vec![
        words("round trip, 64 B"),
        numbers("raw p50"),
        numbers("raw p99"),
        numbers("line p50"),
        numbers("line p99"),
        numbers("/ raw"),
        numbers("p99 / raw"),
    ]);
    for wire in &report.wire {
        table.row(vec![
            strong(wire.name),
            ns(wire.raw.p50),
            ns(wire.raw.p99),
            ns(wire.line.p50),
            ns(wire.line.p99),
            ratio(wire.ratio),
            ratio(wire.ratio_p99),
        ]);
    }
    table
}
