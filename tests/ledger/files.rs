//! The files into which hops of the random lines overflow, held against the report.
//!
//! Invariant: what a file holds is counted by reading it, and not by asking who wrote it.

use std::path::PathBuf;

use hopline::base::Flags;
use hopline::io::{CaptureEvent, CaptureReader, Driver, Fill};
use hopline::topology::Report;

use crate::oracle::hop_name;
use crate::plan::Plan;

/// The file of the ring at that place.
pub(crate) fn path(ring: usize) -> PathBuf {
    format!("ring{ring}.cap").into()
}

/// What a file holds: messages, and what it says of itself at its end.
fn held(io: &mut Driver, ring: usize) -> Result<(u64, Option<u64>), String> {
    let failed = |error: &dyn std::fmt::Display| format!("ring{ring}.cap: {error}");
    let mut reader = CaptureReader::open(io, &path(ring)).map_err(|error| failed(&error))?;
    let (mut messages, mut end) = (0, None);
    loop {
        match reader.next_event() {
            Some(CaptureEvent::Message(message)) => {
                messages += 1;
                let marks = message.frames().map(|(header, _)| header.meta().flags);
                let whole = (0..message.frames).map(|at| Flags::fragment(at, message.frames));
                if !marks.eq(whole) {
                    return Err(failed(&"a message that is not whole"));
                }
            }
            Some(CaptureEvent::End(told)) => end = Some(told.messages),
            Some(CaptureEvent::Bad(wrong)) => return Err(failed(&wrong)),
            None => match reader.fill(io, 1 << 16) {
                Ok(Fill::End) => break,
                Ok(_) => {}
                Err(error) => return Err(failed(&error)),
            },
        }
    }
    match reader.torn() {
        Some(torn) => Err(failed(&torn)),
        None => Ok((messages, end)),
    }
}

/// All in which the files and the report differ, in words.
pub(crate) fn differences(plan: &Plan, report: &Report, io: &mut Driver) -> Vec<String> {
    let mut found = Vec::new();
    let rings = plan.rings.iter().enumerate();
    let with_file = rings.filter(|(_, ring)| ring.into_file);
    let mut files: Vec<_> = report.overflow_files.iter().collect();
    for (at, ring) in with_file {
        // Of a shared ring the first hop has it, which is not the first of the plan.
        let names = ring.to.iter().map(|to| hop_name(plan, ring, *to));
        let names: Vec<String> = names.collect();
        let told = files.iter().position(|file| names.contains(&file.hop));
        let told = told.map(|at| files.remove(at));
        let name = told.map_or(&names[0], |told| &told.hop);
        let hop = report.hops.iter().find(|hop| hop.name == *name);
        let (Some(hop), Some(told)) = (hop, told) else {
            found.push(format!("{name}: it or its file is not in the report"));
            continue;
        };
        let overflowed = hop.shed.get("overflowed").copied().unwrap_or(0);
        let failed: u64 = told.failed.values().sum();
        if (told.handed, told.written + failed) != (overflowed, overflowed) {
            found.push(format!("{name}: {overflowed} overflowed, and {told:?}"));
        }
        match held(io, at) {
            Ok(held) if held == (told.written, Some(told.written)) => {}
            Ok(held) => found.push(format!("{name}: its file holds {held:?}, and {told:?}")),
            Err(wrong) => found.push(wrong),
        }
    }
    for file in files {
        found.push(format!("{file:?} is of no hop that overflows into a file"));
    }
    found
}
