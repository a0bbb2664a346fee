//! A connection that a source keeps open, in words.

use hopline::base::units::Span;
use hopline::budget::LinkReport;

use super::rows::by_reason;
use super::text::{Tone, grouped};

/// Where a connection stands that a source keeps open, and what it has been through.
pub(super) fn words(link: &LinkReport) -> Vec<(String, Tone)> {
    let mut words = Vec::new();
    let (text, tone) = match (link.state, link.retry_in_ns) {
        ("live", _) => ("live".to_owned(), Tone::Dim),
        ("stale", _) => ("stale: no data comes".to_owned(), Tone::Bad),
        (_, Some(retry_in_ns)) => {
            let why = link.last_lost.unwrap_or("lost");
            let left = Span(retry_in_ns / 1_000_000 * 1_000_000);
            (format!("{why}, next try in {left}"), Tone::Bad)
        }
        (state, None) => (state.to_owned(), Tone::Dim),
    };
    let mut text = format!(
        "link: {text}; tries {}, opened {}",
        grouped(link.dials),
        grouped(link.opened)
    );
    if !link.lost.is_empty() {
        text.push_str(&format!("; lost: {}", by_reason(&link.lost)));
    }
    if !link.closed.is_empty() {
        text.push_str(&format!("; closes: {}", by_reason(&link.closed)));
    }
    if !link.refused.is_empty() {
        text.push_str(&format!("; refused with: {}", by_reason(&link.refused)));
    }
    words.push((text, tone));
    if link.outages > 0 {
        let text = format!(
            "not connected {} times in between, {} in all: what was sent meanwhile is missing",
            grouped(link.outages),
            Span(link.down_ns)
        );
        words.push((text, Tone::Warn));
    }
    if link.pings + link.pinged > 0 {
        let text = format!(
            "pings: {} sent, {} answered, last in {}; {} of the peer, {} not answered",
            grouped(link.pings),
            grouped(link.pongs),
            Span(link.round_trip_ns),
            grouped(link.pinged),
            grouped(link.pongs_dropped)
        );
        words.push((text, Tone::Dim));
    }
    words
}
