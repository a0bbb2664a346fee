//! What a run says of its edge: the hops beyond the line in the table of hops, and the rest below the tables.

use hopline::base::units::Span;
use hopline::budget::BeyondReport;
use hopline::edge::EdgeReport;

use super::rows::{block, by_reason, limits};
use super::summary::Lines;
use super::table::{Cell, Table};
use super::text::{Tone, bytes, grouped};

/// The hops beyond the line, of which samples were taken.
pub(super) fn hops(table: &mut Table, hops: &[BeyondReport]) {
    for hop in hops {
        let mut head = vec![
            Cell::new(hop.name, Tone::Strong),
            grouped(hop.sojourn_ns.count).into(),
        ];
        head.resize(8, Cell::default());
        let has_any = hop.sojourn_ns.count > 0;
        let limits = limits(hop.budget.as_ref(), &hop.over_budget, 0, has_any);
        let spans = [("", &hop.sojourn_ns, Default::default())];
        block(table, head, &spans, limits, Cell::default());
        let few = hop.too_few.iter().map(|(quantile, fewest)| {
            format!("{} needs {}", quantile.replace('_', "."), grouped(*fewest))
        });
        let few: Vec<String> = few.collect();
        if has_any && !few.is_empty() {
            let text = format!("too few samples to say: {}", few.join(", "));
            table.remark(text, Tone::Dim);
        }
        if hop.saturated > 0 {
            let text = format!(
                "{} spans were longer than histograms tell apart",
                grouped(hop.saturated)
            );
            table.remark(text, Tone::Warn);
        }
    }
}

/// Words for counts that are there, and nothing for those that are not.
fn more(text: &mut String, counts: &[(&str, u64)]) {
    for (word, count) in counts.iter().filter(|(_, count)| *count > 0) {
        *text += &format!(", {} {word}", grouped(*count));
    }
}

/// Who came, what became of events, and how far what clients told is to be believed.
pub(crate) fn lines(lines: &mut Lines<'_>, edge: &EdgeReport) {
    let connections = &edge.connections;
    let turned: u64 = connections.turned_away.values().sum();
    let mut text = format!("{} connections", grouped(connections.accepted));
    let streams = by_reason(&connections.streams);
    if !streams.is_empty() {
        text += &format!(" ({streams})");
    }
    more(
        &mut text,
        &[
            ("open", connections.open),
            ("not let in", turned),
            ("half-open", connections.half_open),
            ("came back to all", connections.recovered),
            ("came back to a gap", connections.unrecovered),
            ("out of step", connections.resyncs),
        ],
    );
    lines.add("edge:", &text, Tone::Plain);
    let (events, traffic) = (&edge.events, &edge.traffic);
    let mut text = format!(
        "{} events published, {} due to clients: {} sent",
        grouped(events.published),
        grouped(events.due + events.again + events.resent),
        grouped(events.sent)
    );
    let shed: u64 = events.shed.values().sum();
    more(
        &mut text,
        &[
            ("newer ones stood for", events.skipped),
            ("in snapshots", events.covered),
            ("shed", shed),
            ("left", events.left),
            ("wait", events.waiting),
            ("sent again", events.resent),
        ],
    );
    text += &format!(
        "; {} messages, {} out",
        grouped(traffic.messages_out),
        bytes(traffic.bytes_out)
    );
    lines.add("", &text, Tone::Plain);
    let acks = &edge.acks;
    if acks.acks > 0 {
        let mut text = format!("{} acks", grouped(acks.acks));
        if !acks.untaken.is_empty() {
            text += &format!(", no times of {}", by_reason(&acks.untaken));
        }
        if acks.uncertain_ns.count > 0 {
            text += &format!(
                "; clients' clocks are known to {} (p50), {} (max)",
                Span(acks.uncertain_ns.p50),
                Span(acks.uncertain_ns.max)
            );
        }
        if acks.clamped > 0 {
            text += &format!(
                "; {} samples came before they were sent, by {} at most",
                grouped(acks.clamped),
                Span(acks.least_ns.unwrap_or(0).unsigned_abs())
            );
        }
        lines.add("", &text, Tone::Plain);
    }
    for breach in &edge.breaches {
        lines.add("", breach, Tone::Bad);
    }
}
