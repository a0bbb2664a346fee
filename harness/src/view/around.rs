//! The tables of what stands around a line: what fed it, and what listened where it sends to.
//!
//! Invariant: figures of others are shown beside the line's own, and never mixed with them.

use hopline::base::units::Span;
use hopline::budget::report::Percentiles;

use super::rows::unless_zero;
use super::table::{Cell, Table, numbers, words};
use super::text::{Tone, bytes, grouped};
use crate::exchange::ExchangeReport;
use crate::report::RunReport;
use crate::sender::SenderReport;

/// What listened where the line sends to: what came, beside what the sink says that it sent.
pub(crate) fn listeners(run: &RunReport) -> Table {
    let mut table = Table::new(vec![
        words("listener for"),
        words("address"),
        numbers("sent"),
        numbers("received"),
        numbers("bytes"),
    ]);
    for listener in &run.listeners {
        let mut stages = run.report.stages.iter();
        let sink = stages.find(|stage| stage.name == listener.sink);
        let sent = sink.map_or(0, |stage| stage.forwarded);
        let tone = if listener.received < sent {
            Tone::Bad
        } else {
            Tone::Plain
        };
        table.row(vec![
            Cell::new(&*listener.sink, Tone::Strong),
            Cell::new(&*listener.address, Tone::Dim),
            grouped(sent).into(),
            Cell::new(grouped(listener.received), tone),
            bytes(listener.bytes).into(),
        ]);
    }
    table
}

/// The share of the rate asked for below which a sender has not kept it.
const RATE_KEPT: f64 = 0.99;

/// What fed the line, and how well it kept its own times.
pub(crate) fn senders(senders: &[SenderReport]) -> Table {
    let mut table = Table::new(vec![
        words("sender to"),
        words("address").may_go(4),
        words("content").may_go(3),
        numbers("core").may_go(2),
        numbers("sent"),
        numbers("unsent"),
        numbers("missed"),
        numbers("late p50").may_go(1),
        numbers("late p99"),
        numbers("late max"),
        numbers("returned"),
        numbers("rtt p50"),
        numbers("rtt p99"),
        numbers("rtt max"),
    ]);
    for sender in senders {
        let span = |spans: &Percentiles, ns: u64| match spans.count {
            0 => Cell::new("-", Tone::Dim),
            _ => Span(ns).to_string().into(),
        };
        let mut cells = vec![
            Cell::new(&*sender.source, Tone::Strong),
            Cell::new(&*sender.to, Tone::Dim),
            Cell::new(&*sender.content, Tone::Dim),
            match sender.core {
                Some(core) => core.to_string().into(),
                None => Cell::new("any", Tone::Dim),
            },
            grouped(sender.sent).into(),
            unless_zero(sender.unsent, Tone::Bad),
            unless_zero(sender.missed, Tone::Bad),
            span(&sender.late_ns, sender.late_ns.p50),
            span(&sender.late_ns, sender.late_ns.p99),
            span(&sender.late_ns, sender.late_ns.max),
        ];
        if let (Some(returned), Some(away)) = (sender.returned, &sender.round_trip_ns) {
            let tone = if returned < sender.sent {
                Tone::Bad
            } else {
                Tone::Plain
            };
            cells.push(Cell::new(grouped(returned), tone));
            cells.push(span(away, away.p50));
            cells.push(span(away, away.p99));
            cells.push(span(away, away.max));
        }
        table.row(cells);
        if sender.achieved_per_s < RATE_KEPT * sender.offered_per_s {
            let text = format!(
                "it fell behind: {}/s were due, and {}/s left",
                grouped(sender.offered_per_s as u64),
                grouped(sender.achieved_per_s as u64)
            );
            table.remark(text, Tone::Bad);
        }
        if sender.kernel_dropped > 0 {
            let text = format!(
                "the kernel dropped {} that came back, before the sender took them",
                grouped(sender.kernel_dropped)
            );
            table.remark(text, Tone::Warn);
        }
        for (why, count) in &sender.skipped {
            table.remark(format!("not sent: {why} {}", grouped(*count)), Tone::Warn);
        }
        if let Some(fault) = &sender.fault {
            table.remark(fault.clone(), Tone::Bad);
        }
    }
    table
}

/// What an exchange served, and what nobody was there for.
pub(crate) fn exchanges(feeds: &[ExchangeReport]) -> Table {
    let mut table = Table::new(vec![
        words("exchange for"),
        words("address").may_go(4),
        words("content").may_go(3),
        numbers("served"),
        numbers("missed"),
        numbers("cut"),
        numbers("bytes").may_go(2),
        numbers("clients"),
        numbers("late p99"),
        numbers("late max").may_go(1),
    ]);
    for feed in feeds {
        let late = |ns: u64| match feed.late_ns.count {
            0 => Cell::new("-", Tone::Dim),
            _ => Span(ns).to_string().into(),
        };
        table.row(vec![
            Cell::new(&*feed.source, Tone::Strong),
            Cell::new(&*feed.at, Tone::Dim),
            Cell::new(&*feed.content, Tone::Dim),
            grouped(feed.served).into(),
            unless_zero(feed.missed, Tone::Bad),
            unless_zero(feed.cut, Tone::Warn),
            bytes(feed.bytes).into(),
            grouped(feed.connected).into(),
            late(feed.late_ns.p99),
            late(feed.late_ns.max),
        ]);
        for gap in &feed.gaps {
            let (first, last) = (gap.first, gap.first + gap.messages - 1);
            let text = format!(
                "nobody was connected for messages {} to {}",
                grouped(first),
                grouped(last)
            );
            table.remark(text, Tone::Warn);
        }
        if feed.refused + feed.too_slow > 0 {
            let text = format!(
                "{} asked for no WebSocket, {} read too slowly and were closed",
                grouped(feed.refused),
                grouped(feed.too_slow)
            );
            table.remark(text, Tone::Warn);
        }
        for (why, count) in &feed.skipped {
            table.remark(format!("not served: {why} {}", grouped(*count)), Tone::Warn);
        }
        if let Some(fault) = &feed.fault {
            table.remark(fault.clone(), Tone::Bad);
        }
    }
    table
}
