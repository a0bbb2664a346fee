//! What a run recorded and replayed, in words.

use hopline::base::units::Span;
use hopline::budget::FidelityReport;
use hopline::topology::RecordReport;

use super::rows::by_reason;
use super::text::{bytes, grouped};

/// How faithful a replay was, in a line.
pub(crate) fn replayed(fidelity: &FidelityReport) -> String {
    let mut text = format!(
        "replayed {}, content {}",
        grouped(fidelity.messages),
        fidelity.content_hash
    );
    match fidelity.hash_matches {
        Some(true) => text += " as recorded",
        Some(false) => text += ", which is not as recorded",
        None => {}
    }
    if fidelity.speed.is_some() {
        let apart = &fidelity.apart_from_stalls_ns;
        text += &format!(
            "; send error p99 {}, apart from {} stalls {}",
            Span(fidelity.send_error_ns.p99),
            grouped(fidelity.stalls),
            Span(apart.p99)
        );
    }
    text
}

/// What came of a recording, in a line.
pub(crate) fn recorded(record: &RecordReport) -> String {
    let mut text = format!(
        "recorded {}: {} messages, {}, content {}, in {}",
        record.hop,
        grouped(record.messages),
        bytes(record.bytes),
        record.content_hash,
        record.file
    );
    if record.frames_lost > 0 {
        text += &format!("; no room for {} frames", grouped(record.frames_lost));
    }
    if !record.unrecorded.is_empty() {
        text += &format!("; not in it: {}", by_reason(&record.unrecorded));
    }
    text
}
