//! What a run says of its edge, below the tables.

use hopline::base::units::Span;
use hopline::edge::EdgeReport;

use super::rows::by_reason;
use super::summary::Lines;
use super::text::{Tone, bytes, grouped};

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
