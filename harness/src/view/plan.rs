//! The plan of a line as tables.

use hopline::base::limits::BATCH_FRAMES;
use hopline::host::Wish;
use hopline::reactor::Schedule;
use hopline::topology::Plan;

use super::table::{Cell, Table, numbers, words};
use super::text::{Paint, Tone, bytes, grouped, wrap};

/// Threads, hops and bytes in lines of at most `width` columns.
pub(crate) fn lines(plan: &Plan, width: usize, paint: Paint) -> Vec<String> {
    let mut threads = Table::new(vec![
        words("thread"),
        numbers("core"),
        words("placement"),
        words("waits by"),
    ]);
    for thread in &plan.threads {
        threads.row(vec![
            Cell::new(&*thread.name, Tone::Strong),
            match thread.core {
                Some(core) => core.to_string().into(),
                None => Cell::new("any", Tone::Dim),
            },
            thread.placement.into(),
            Cell::new(&*thread.wait, Tone::Dim),
        ]);
        threads.remark(format!("runs {}", thread.nodes.join(", ")), Tone::Dim);
        threads.remark(format!("idle: {}", thread.ladder), Tone::Dim);
        if thread.schedule != Schedule::default().name() || thread.batch != BATCH_FRAMES {
            let (schedule, batch) = (thread.schedule, thread.batch);
            let turns = format!("turns: {schedule}, of up to {batch} frames");
            threads.remark(turns, Tone::Dim);
        }
    }
    let mut hops = Table::new(vec![
        words("hop"),
        numbers("depth"),
        words("when full"),
        numbers("ring"),
        numbers("histograms"),
        words("path").may_go(1),
    ]);
    for hop in &plan.hops {
        hops.row(vec![
            Cell::new(&*hop.name, Tone::Strong),
            grouped(hop.depth as u64).into(),
            hop.when_full.into(),
            match &hop.shares {
                Some(_) => Cell::new("shared", Tone::Dim),
                None => bytes(hop.ring_bytes as u64).into(),
            },
            bytes(hop.hist_bytes as u64).into(),
            Cell::new(hop.path, Tone::Dim),
        ]);
    }
    let nodes: usize = plan.threads.iter().map(|thread| thread.nodes.len()).sum();
    let mut out = vec![
        String::new(),
        format!(
            "  {}  {nodes} nodes and {} hops on {} threads",
            paint.paint(&plan.line, Tone::Strong),
            plan.hops.len(),
            plan.threads.len()
        ),
        String::new(),
    ];
    for table in [threads, hops] {
        out.extend(table.lines(width, paint));
        out.push(String::new());
    }
    out.push(format!(
        "  memory    {} in all: rings and histograms {}, nodes {}, the rest stacks and sinks' histograms",
        bytes(plan.memory_bytes as u64),
        bytes(
            plan.hops
                .iter()
                .map(|hop| (hop.ring_bytes + hop.hist_bytes) as u64)
                .sum()
        ),
        bytes(plan.node_bytes as u64)
    ));
    let wish = plan.memory;
    for (name, wish) in [
        ("prefault", wish.prefault),
        ("lock", wish.lock),
        ("huge_pages", wish.huge_pages),
    ] {
        if wish != Wish::Off {
            out.push(format!("            {name}: asked, \"{wish}\""));
        }
    }
    for note in plan.notes.iter().chain(&plan.foreseen) {
        for (at, line) in wrap(note, width.saturating_sub(12).max(20))
            .iter()
            .enumerate()
        {
            let lead = if at == 0 { "note" } else { "" };
            out.push(format!("  {lead:<10}{line}"));
        }
    }
    out
}
