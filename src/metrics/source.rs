//! The samples of a source: its ledger, its clocks, its connection, its feed, its replay.
//!
//! Invariant: every label's value is a name of the line's spec or a word of a closed enum; what a peer says, such as a code, is
//! none.

use super::family::Id;
use super::page::Page;
use crate::base::{Hangup, Lost, Reject};
use crate::budget::report::SourceReport;
use crate::budget::sequenced::{FeedLineReport, SequencedReport};
use crate::budget::{FidelityReport, GapsReport, LinkReport, LinkState, SkewReport};
use crate::feed::packets::PacketReject;
use crate::feed::sequenced::State;

/// Puts all samples of a source on the page.
pub(super) fn fill(page: &mut Page, name: &str, source: &SourceReport) {
    let of = [name];
    ledger(page, name, source);
    page.count(Id::SourceConnected, &of, source.connected);
    page.reasons::<Hangup>(Id::SourceDisconnected, &of, &source.disconnected);
    let ended: u64 = source.disconnected.values().sum();
    let stand = source.connected.saturating_sub(ended);
    page.count(Id::SourceConnections, &of, stand);
    page.count(Id::SourceRefused, &of, source.refused);
    page.span(Id::SourceClaimMax, &of, source.claim_open_ns_max);
    if let Some(wire) = &source.wire {
        page.count(Id::SourceClamped, &of, wire.clamped);
        page.count(Id::SourceClockSteps, &of, wire.clock_steps);
        page.count(Id::SourceNotByDevice, &of, wire.not_by_device);
    }
    if let Some(one) = &source.gaps {
        gaps(page, name, one);
    }
    if let Some(one) = &source.skew {
        skew(page, name, one);
    }
    if let Some(one) = &source.link {
        link(page, name, one);
    }
    if let Some(one) = &source.sequenced {
        feed(page, name, one);
    }
    for (line, one) in &source.feed_lines {
        feed_line(page, name, line, one);
    }
    if let Some(one) = &source.fidelity {
        replay(page, name, one);
    }
}

fn ledger(page: &mut Page, name: &str, source: &SourceReport) {
    let of = [name];
    page.count(Id::SourceReceived, &of, source.received);
    page.count(Id::SourceBytes, &of, source.bytes);
    page.count(Id::SourceIngested, &of, source.ingested);
    page.count(Id::SourceShed, &of, source.shed);
    page.reasons::<Reject>(Id::SourceRejected, &of, &source.rejected);
    page.count(Id::SourceUndeclared, &of, source.undeclared);
    page.count(Id::SourceDuplicates, &of, source.duplicates);
    page.count(Id::SourceSkipped, &of, source.skipped);
    page.count(Id::SourceDatagrams, &of, source.datagrams_received);
    page.count(Id::SourceKernelDropped, &of, source.kernel_dropped);
    let at_least = source.kernel_dropped_at_least;
    page.flag(Id::SourceDropsAtLeast, &of, at_least);
    page.count(Id::SourceBackwards, &of, source.time_backwards);
    page.span(Id::SourceLateMax, &of, source.late_ns_max);
}

fn gaps(page: &mut Page, name: &str, gaps: &GapsReport) {
    let of = [name];
    page.count(Id::SourceGaps, &of, gaps.gaps);
    page.span(Id::SourceGapMean, &of, gaps.mean_ns);
    page.span(Id::SourceGapDeviation, &of, gaps.deviation_ns);
    page.span(Id::SourceGapMax, &of, gaps.longest_ns);
}

fn skew(page: &mut Page, name: &str, skew: &SkewReport) {
    let of = [name];
    page.count(Id::SourceDated, &of, skew.messages);
    page.count(Id::SourceSkewed, &of, skew.clamped);
    if let Some(latency_ns) = &skew.latency_ns {
        page.percentiles(Id::SourceLatency, &of, latency_ns);
    }
    page.signed(Id::SourceLatencyLeast, &of, skew.least_ns);
    page.span(Id::SourceLatencyJitter, &of, skew.jitter_ns);
    if let Some(ppb) = skew.drift_ppb {
        page.signed(Id::SourceDrift, &of, ppb);
    }
    page.count(Id::SourceSteps, &of, skew.steps);
    page.signed(Id::SourceStep, &of, skew.step_ns);
}

fn link(page: &mut Page, name: &str, link: &LinkReport) {
    let of = [name];
    for state in LinkState::ALL.map(LinkState::name) {
        page.flag(Id::LinkState, &[name, state], link.state == state);
    }
    page.span(Id::LinkRetry, &of, link.retry_in_ns.unwrap_or(0));
    page.count(Id::LinkDials, &of, link.dials);
    page.count(Id::LinkOpened, &of, link.opened);
    page.reasons::<Lost>(Id::LinkLost, &of, &link.lost);
    page.count(Id::LinkCloses, &of, link.closed.values().sum());
    page.count(Id::LinkRefusals, &of, link.refused.values().sum());
    page.count(Id::LinkOutages, &of, link.outages);
    page.span(Id::LinkDown, &of, link.down_ns);
    page.count(Id::LinkStale, &of, link.stale);
    page.count(Id::LinkPings, &of, link.pings);
    page.count(Id::LinkPongs, &of, link.pongs);
    page.count(Id::LinkPinged, &of, link.pinged);
    page.count(Id::LinkPongsDropped, &of, link.pongs_dropped);
    page.span(Id::LinkRoundTrip, &of, link.round_trip_ns);
    page.span(Id::LinkRoundTripMax, &of, link.round_trip_ns_max);
    page.count(Id::LinkIn, &of, link.bytes_in);
    page.count(Id::LinkOut, &of, link.bytes_out);
}

fn feed(page: &mut Page, name: &str, feed: &SequencedReport) {
    let of = [name];
    for state in State::ALL.map(State::name) {
        page.flag(Id::FeedState, &[name, state], feed.state == state);
    }
    page.count(Id::FeedDelivered, &of, feed.delivered);
    page.count(Id::FeedLost, &of, feed.lost);
    let ranges = feed.lost_ranges.len() as u64 + feed.lost_ranges_more;
    page.count(Id::FeedLostRanges, &of, ranges);
    page.count(Id::FeedHeld, &of, feed.held);
    page.count(Id::FeedHeldMax, &of, feed.held_max);
    page.count(Id::FeedGaps, &of, feed.gaps);
    page.count(Id::FeedSessions, &of, feed.sessions);
    page.count(Id::FeedRestarts, &of, feed.restarts);
    page.count(Id::FeedEnded, &of, feed.ended);
    page.count(Id::FeedStale, &of, feed.stale);
}

fn feed_line(page: &mut Page, name: &str, line: &str, counts: &FeedLineReport) {
    let of = [name, line];
    page.count(Id::LinePackets, &of, counts.packets);
    page.count(Id::LineBytes, &of, counts.bytes);
    page.reasons::<PacketReject>(Id::LineRejected, &of, &counts.rejected);
    page.count(Id::LineHeartbeats, &of, counts.heartbeats);
    for (outcome, count) in [
        ("first", counts.first),
        ("duplicate", counts.duplicates),
        ("late", counts.late),
        ("old", counts.old),
        ("straggler", counts.straggler),
        ("unheld", counts.unheld),
    ] {
        page.count(Id::LineMessages, &[name, line, outcome], count);
    }
    page.count(Id::LineMissed, &of, counts.missed);
    page.count(Id::LineReordered, &of, counts.reordered);
    page.count(Id::LineRepeated, &of, counts.repeated);
    page.count(Id::LineKernelDropped, &of, counts.kernel_dropped);
}

fn replay(page: &mut Page, name: &str, replay: &FidelityReport) {
    let of = [name];
    page.count(Id::ReplayMessages, &of, replay.messages);
    if let Some(matches) = replay.hash_matches {
        page.flag(Id::ReplayHash, &of, matches);
    }
    if replay.send_error_ns.count > 0 {
        page.percentiles(Id::ReplayError, &of, &replay.send_error_ns);
        page.percentiles(Id::ReplayApart, &of, &replay.apart_from_stalls_ns);
    }
    page.count(Id::ReplayStalled, &of, replay.stalled_messages);
    page.count(Id::ReplayStalls, &of, replay.stalls);
    page.span(Id::ReplayStallTime, &of, replay.stalled_ns);
    page.span(Id::ReplayStallMax, &of, replay.stall_ns_max);
    page.span(Id::ReplayCatchUp, &of, replay.catch_up_ns_max);
    if let Some(ppb) = replay.slope_ppb {
        page.signed(Id::ReplaySlope, &of, ppb);
    }
}
