//! The files into which hops overflow: who writes them beside the loops, and what is told of them.
//!
//! ```text
//!   producers ─ rings ─→ writer: write what is there, look again in a millisecond … sleep until a producer rings
//!   drain: loops end ─→ their rings are closed ─→ writer takes the rest, ends the files ─→ report
//!            └ or not by the deadline ─→ writer is told to stop: what it has not taken counts as failed
//! ```
//!
//! Invariant: the writer is waited for within the drain's deadline and no longer, and what it did not write by then is counted.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use serde::Serialize;

use crate::base::limits::{OVERFLOW_LOOK_NS, OVERFLOW_LOOKS, PARK_MAX_NS};
use crate::base::primitive::{AtomicBool, Ordering};
use crate::base::{Counter, Reason};
use crate::budget::report::{ByReason, by_reason};
use crate::frame::capture::{CaptureKind, CaptureStart};
use crate::io::{CaptureWriter, Driver, Unrecorded, Waker};
use crate::stage::hop::{Doorbell, SpillTx};
use crate::stage::spill::{SpillCounters, SpillFile, SpillWriter, Unspilled, messages_bytes};
use crate::wait::Sleeper;

use super::drain::Left;
use super::hop::OverflowFile;
use super::line::LineHop;

/// The name of the writer's thread.
pub(super) const THREAD: &str = "overflow";

/// Why a message was handed over and is not in the file, where the writer had not come to it by the drain's deadline.
const DRAIN_DEADLINE: &str = "drain_deadline";

/// What a hop's overflow file got, and what it did not. At the end of a run handed = written + failed; what was handed is what its
/// hop counts as `shed{overflowed}`, what was refused counts there as `shed{full}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OverflowReport {
    /// The hop.
    pub hop: String,
    /// The file.
    pub file: String,
    /// Messages that were handed to the writer.
    pub handed: u64,
    /// Messages that were not, by reason: `writer_behind`, `bound`, `broken`.
    pub refused: ByReason,
    /// Messages in the file.
    pub written: u64,
    /// Messages that were handed over and are not in the file, by reason: `disk_full`, `write_failed`, `drain_deadline`.
    pub failed: ByReason,
    /// Messages that were handed over and wait to be written; 0 at the end of a run.
    pub pending: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Most that it may have.
    pub bytes_max: u64,
    /// What went wrong with the file, if something did.
    pub fault: Option<String>,
}

/// What the outside sees of a file.
#[derive(Debug)]
pub(crate) struct SpillView {
    /// The hop that overflows into it, by its place in the line.
    pub(crate) hop: usize,
    name: String,
    file: String,
    bytes_max: u64,
    counters: Arc<SpillCounters>,
    /// Whether its fault was told among the complaints.
    told: bool,
}

impl SpillView {
    /// What it got so far. Where the writer `is_left` behind, what it has not written will not be.
    pub(crate) fn report(&self, is_left: bool) -> OverflowReport {
        let counters = &self.counters;
        let mut failed = by_reason::<Unrecorded>(&counters.failed);
        let mut pending = counters.pending();
        if is_left && pending > 0 {
            failed.insert(DRAIN_DEADLINE.to_owned(), core::mem::take(&mut pending));
        }
        OverflowReport {
            hop: self.name.clone(),
            file: self.file.clone(),
            handed: counters.handed.get(),
            refused: by_reason::<Unspilled>(&counters.refused),
            written: counters.written.get(),
            failed,
            pending,
            bytes: counters.bytes.get(),
            bytes_max: self.bytes_max,
            fault: counters.fault().map(str::to_owned),
        }
    }

    /// What a drain that was given up left unwritten.
    pub(crate) fn left(&self) -> Option<Left> {
        let messages = self.counters.pending();
        (messages > 0).then(|| Left {
            hop: self.name.clone(),
            messages,
            held_by: self.file.clone(),
        })
    }

    /// Whether something went wrong.
    pub(crate) fn has_failed(&self) -> bool {
        self.counters.fault().is_some()
    }

    /// Its hop and what went wrong, the first time that it is asked after that.
    pub(crate) fn take_fault(&mut self) -> Option<(usize, &str)> {
        let fault = self.counters.fault().filter(|_| !self.told)?;
        self.told = true;
        Some((self.hop, fault))
    }
}

impl OverflowReport {
    /// What does not add up, in words. `overflowed` and `full` are what the hop has shed for these reasons.
    pub(crate) fn breaches(&self, overflowed: u64, full: u64) -> impl Iterator<Item = String> {
        let failed: u64 = self.failed.values().sum();
        let refused: u64 = self.refused.values().sum();
        let (hop, file) = (&self.hop, &self.file);
        let of_hop = (self.handed != overflowed || refused > full).then(|| {
            format!(
                "{hop}: shed {overflowed} as overflowed and {full} as full, and \"{file}\" was handed {} and refused {refused}",
                self.handed
            )
        });
        let of_file = (self.handed != self.written + failed).then(|| {
            format!(
                "{hop}: handed {} = written {} + failed {failed} does not hold for \"{file}\"",
                self.handed, self.written
            )
        });
        of_hop.into_iter().chain(of_file)
    }
}

impl LineHop {
    /// The file for what it has no room for, if its policy has use for one.
    pub(crate) fn overflow_file(&self) -> Option<&OverflowFile> {
        let file = self.hop.overflow_file.as_ref();
        file.filter(|_| self.hop.policy.spills())
    }
}

/// What is made of a hop's overflow file when its line is joined.
pub(crate) struct Spill {
    pub(crate) tx: SpillTx,
    pub(crate) file: SpillFile,
    pub(crate) view: SpillView,
}

/// The way from a hop, at place `at` of the line, to its overflow file, if it has one and has somewhere use for it.
pub(crate) fn spill(
    hop: &LineHop,
    at: usize,
    line: &str,
    sources: &[String],
    bell: Option<Doorbell>,
) -> Option<Spill> {
    let file = hop.overflow_file()?;
    let counters = Arc::new(SpillCounters::default());
    let room = messages_bytes(file.bytes_max);
    let (tx, rx) = SpillTx::new(room, counters.clone(), bell);
    let start = CaptureStart {
        line: line.to_owned(),
        hop: hop.name.clone(),
        sources: sources.to_vec(),
        kinds: hop.kinds.iter().map(CaptureKind::of).collect(),
        ..CaptureStart::default()
    };
    Some(Spill {
        tx,
        file: SpillFile::new(rx, counters.clone(), &file.path, file.bytes_max, start),
        view: SpillView {
            hop: at,
            name: hop.name.clone(),
            file: file.path.display().to_string(),
            bytes_max: file.bytes_max,
            counters,
            told: false,
        },
    })
}

/// The writer's thread, as its line sees it.
#[derive(Debug)]
pub(crate) struct SpillThread {
    stop: Arc<AtomicBool>,
    waker: Waker,
    pub(super) over: bool,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl SpillThread {
    /// A thread of its own for that writer, which says by `ended` that it is over, as number `at`.
    pub(super) fn start(
        writer: SpillWriter,
        io: Driver,
        sleeper: Sleeper,
        ended: &SyncSender<usize>,
        at: usize,
    ) -> Result<SpillThread, String> {
        let (stop, waker, ended) = (Arc::<AtomicBool>::default(), io.waker(), ended.clone());
        let told = stop.clone();
        let thread = std::thread::Builder::new()
            .name(THREAD.to_owned())
            .spawn(move || run_writer(writer, io, &sleeper, &told, &ended, at))
            .map_err(|error| error.to_string())?;
        Ok(SpillThread {
            stop,
            waker,
            over: false,
            thread: Some(thread),
        })
    }

    /// It has said that it is over.
    pub(super) fn is_over(&mut self) {
        self.over = true;
        if let Some(thread) = self.thread.take() {
            // It catches its own panics.
            let _ = thread.join();
        }
    }

    /// Has it end the files at once, whatever is on its rings.
    pub(super) fn stop(&self) {
        // Release pairs with Acquire in `write_all`.
        self.stop.store(true, Ordering::Release);
        // A waker that fails leaves it to the end of its sleep, which is bounded.
        let _ = self.waker.wake();
    }
}

/// The body of the writer's thread. Says by `ended` that it is over, as number `at`.
fn run_writer(
    mut writer: SpillWriter,
    mut io: Driver,
    sleeper: &Sleeper,
    stop: &AtomicBool,
    ended: &SyncSender<usize>,
    at: usize,
) {
    // What panics here is a defect; its rings are closed then, and who hands over is told.
    let _ = catch_unwind(AssertUnwindSafe(|| {
        write_all(&mut writer, &mut io, sleeper, stop);
        writer.close(&mut io);
    }));
    drop(writer);
    // The channel has a place for it.
    let _ = ended.send(at);
}

fn write_all(writer: &mut SpillWriter, io: &mut Driver, sleeper: &Sleeper, stop: &AtomicBool) {
    let mut quiet = 0;
    // Acquire pairs with Release in `SpillThread::stop`.
    let is_told = || stop.load(Ordering::Acquire);
    while !is_told() {
        let taken = writer.work(io);
        if taken == 0 && writer.is_finished() {
            return;
        }
        quiet = if taken > 0 { 0 } else { quiet + 1 };
        if quiet < OVERFLOW_LOOKS {
            rest(io, OVERFLOW_LOOK_NS);
            continue;
        }
        sleeper.announce();
        // What was handed over before the announcement rang no bell: look once more.
        if !writer.has_work() && !writer.is_finished() && !is_told() {
            rest(io, PARK_MAX_NS);
        }
        sleeper.retract();
    }
}

/// A failed poll is a poll that returned at once: it looks again. No virtual time passes by it.
fn rest(io: &mut Driver, span_ns: u64) {
    let _ = io.poll(0, Some(span_ns));
}

/// Messages that a hop has shed for a reason, of its report.
pub(crate) fn count(by: &ByReason, reason: impl Reason) -> u64 {
    by.get(reason.name()).copied().unwrap_or(0)
}

/// Bytes that a file's ring takes, and what its writer gathers.
pub(crate) const fn memory_bytes() -> usize {
    crate::ring::hop::memory_bytes(crate::base::limits::OVERFLOW_DEPTH)
        + CaptureWriter::MEMORY_BYTES
        + size_of::<SpillFile>()
        + size_of::<Counter>() * (Unrecorded::ALL.len() + Unspilled::ALL.len())
}
