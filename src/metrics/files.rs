//! The samples of the files that a line writes beside its sinks: what hops overflow into, and recordings.
//!
//! Invariant: a file is named by its hop, never by its path.

use super::family::Id;
use super::page::Page;
use crate::io::Unrecorded;
use crate::stage::spill::Unspilled;
use crate::topology::{OverflowReport, RecordReport, Report};

/// Puts all samples of files on the page.
pub(super) fn fill(page: &mut Page, report: &Report) {
    for one in &report.overflow_files {
        overflow(page, one);
    }
    for one in &report.records {
        recorder(page, one);
    }
}

fn overflow(page: &mut Page, file: &OverflowReport) {
    let of = [file.hop.as_str()];
    page.count(Id::OverflowHanded, &of, file.handed);
    page.reasons::<Unspilled>(Id::OverflowRefused, &of, &file.refused);
    page.count(Id::OverflowWritten, &of, file.written);
    page.reasons::<Unrecorded>(Id::OverflowFailed, &of, &file.failed);
    page.count(Id::OverflowPending, &of, file.pending);
    page.count(Id::OverflowBytes, &of, file.bytes);
    page.count(Id::OverflowLimit, &of, file.bytes_max);
    page.flag(Id::OverflowFaulty, &of, file.fault.is_some());
}

fn recorder(page: &mut Page, record: &RecordReport) {
    let of = [record.hop.as_str()];
    page.count(Id::RecordMessages, &of, record.messages);
    page.count(Id::RecordFrames, &of, record.frames);
    page.count(Id::RecordBytes, &of, record.bytes);
    page.count(Id::RecordLost, &of, record.frames_lost);
    page.reasons::<Unrecorded>(Id::RecordUnrecorded, &of, &record.unrecorded);
    page.flag(Id::RecordFaulty, &of, record.fault.is_some());
}
