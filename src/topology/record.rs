//! Recorders: hops whose messages go to capture files while the line runs.
//!
//! ```text
//!   the hop's consumer              a thread for all recorders of the line
//!   ──────────────────              ──────────────────────────────────────
//!   copies each frame ──→ tap ────→ joins fragments ─ seals blocks ─→ file
//!     no room: lost, counted           no room on the disk, bound: counted
//! ```
//!
//! Invariant: nobody waits for a recorder, and whether a line is recorded changes nothing of what it does; each message that
//! came to a recorder is in its file or counted, each frame that did not come is counted.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use serde::Serialize;

use crate::base::Counter;
use crate::base::limits::{RECORD_BURST, RECORD_DEPTH, RECORD_FLUSH_NS};
use crate::base::primitive::{AtomicBool, Ordering};
use crate::base::units::hash_text;
use crate::budget::report::{ByReason, by_reason};
use crate::clock::Clock;
use crate::frame::capture::{CaptureKind, CaptureStart, WhyEnded};
use crate::io::{CaptureCounts, CaptureWriter, Driver, IoError, Unrecorded, Waker};
use crate::stage::Role;
use crate::stage::tap::{LOST_MARK, Tap};

use super::line::Line;
use super::problem::Problem;
use super::start::StartError;

/// Where what a hop delivers is recorded to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The file, which is made or emptied.
    pub path: PathBuf,
    /// Most bytes that it gets.
    pub bytes_max: u64,
}

/// What came of a recording.
#[derive(Clone, Debug, Serialize)]
pub struct RecordReport {
    /// The hop.
    pub hop: String,
    /// The file.
    pub file: String,
    /// Messages in it.
    pub messages: u64,
    /// Frames of them.
    pub frames: u64,
    /// Bytes of it.
    pub bytes: u64,
    /// Frames that the hop delivered and the recorder had no room for.
    pub frames_lost: u64,
    /// Messages that came to the recorder and are not in the file, by reason.
    pub unrecorded: ByReason,
    /// The content hash of what is in the file, in hexadecimal.
    pub content_hash: String,
    /// What kept it from writing, if something did.
    pub fault: Option<String>,
}

impl Line {
    /// Has what a hop delivers recorded to a file, instead of what [`Hop::record`](super::Hop::record) said.
    ///
    /// # Errors
    /// No such hop.
    pub fn record(&mut self, hop: &str, record: Record) -> Result<(), Problem> {
        match self.hops.iter_mut().find(|one| one.name == hop) {
            Some(found) => {
                found.hop.record = Some(record);
                Ok(())
            }
            None => Err(super::tap::no_such_hop(
                hop,
                self.hops.iter().map(|hop| hop.name.as_str()),
            )),
        }
    }
}

/// What a recorder shows, for anybody to read while it runs.
#[derive(Debug)]
struct Shown {
    hop: String,
    file: String,
    messages: Counter,
    frames: Counter,
    bytes: Counter,
    frames_lost: Counter,
    unrecorded: [Counter; Unrecorded::ALL.len()],
    hash: Counter,
    fault: OnceLock<String>,
}

impl Shown {
    fn new(hop: &str, path: &Path) -> Shown {
        Shown {
            hop: hop.to_owned(),
            file: path.display().to_string(),
            messages: Counter::default(),
            frames: Counter::default(),
            bytes: Counter::default(),
            frames_lost: Counter::default(),
            unrecorded: Default::default(),
            hash: Counter::default(),
            fault: OnceLock::new(),
        }
    }

    fn tell(&self, counts: &CaptureCounts, hash: u64, error: Option<&IoError>) {
        self.messages.set(counts.messages);
        self.frames.set(counts.frames);
        self.bytes.set(counts.bytes);
        self.frames_lost.set(counts.frames_lost);
        for (shown, count) in self.unrecorded.iter().zip(counts.unrecorded) {
            shown.set(count);
        }
        self.hash.set(hash);
        if let Some(error) = error {
            // The first one is the cause.
            let words = || format!("{error}, after {} messages", counts.messages);
            self.fault.get_or_init(words);
        }
    }

    fn report(&self) -> RecordReport {
        RecordReport {
            hop: self.hop.clone(),
            file: self.file.clone(),
            messages: self.messages.get(),
            frames: self.frames.get(),
            bytes: self.bytes.get(),
            frames_lost: self.frames_lost.get(),
            unrecorded: by_reason::<Unrecorded>(&self.unrecorded),
            content_hash: hash_text(self.hash.get()),
            fault: self.fault.get().cloned(),
        }
    }
}

/// One hop on its way to a file.
#[derive(Debug)]
struct Recorder {
    path: PathBuf,
    shown: Arc<Shown>,
    tap: Tap,
    writer: Option<CaptureWriter>,
    /// Frames of the hop up to now, the lost ones included.
    sequence: u64,
    flushed_ns: u64,
}

/// All recorders of a line.
#[derive(Debug, Default)]
pub(super) struct Recorders(Vec<Recorder>);

impl Recorders {
    /// Opens the files and taps the hops of a line that is about to start.
    pub(super) fn open(
        line: &Line,
        clock: &Clock,
        io: &mut Driver,
    ) -> Result<Recorders, StartError> {
        let mut recorders = Recorders::default();
        let sources = line
            .nodes
            .iter()
            .filter(|node| node.descriptor.role == Role::Source);
        let sources: Vec<String> = sources.map(|node| node.name.clone()).collect();
        for hop in &line.hops {
            let Some(record) = &hop.hop.record else {
                continue;
            };
            let failed = |error| StartError::Open {
                node: format!("the recorder of {}", hop.name),
                error,
            };
            if recorders.0.iter().any(|other| other.path == record.path) {
                return Err(failed(same_file(&record.path)));
            }
            let kinds = hop.only.as_deref().unwrap_or(hop.kinds);
            let (line_ns, wall_ns) = (clock.now_ns(), clock.wall_ns());
            let start = CaptureStart {
                wall_ns,
                line_ns,
                line: line.name.clone(),
                hop: hop.name.clone(),
                sources: sources.clone(),
                kinds: kinds.iter().map(CaptureKind::of).collect(),
            };
            let writer = CaptureWriter::create(io, &record.path, &start, record.bytes_max);
            let writer = writer.map_err(failed)?;
            let tap = hop
                .desk
                .attach_as(RECORD_DEPTH, true)
                .map_err(|error| StartError::Line(super::tap::no_tap(&hop.name, error).into()))?;
            recorders.0.push(Recorder {
                shown: Arc::new(Shown::new(&hop.name, &record.path)),
                path: record.path.clone(),
                tap,
                writer: Some(writer),
                sequence: 0,
                flushed_ns: line_ns,
            });
        }
        Ok(recorders)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes a bounded burst of each tap, and says whether there was anything. With `last` what is there is all that comes.
    pub(super) fn pump(&mut self, clock: &Clock, io: &mut Driver, last: bool) -> bool {
        let mut worked = false;
        for one in &mut self.0 {
            worked |= one.pump(clock, io, last);
        }
        worked
    }

    pub(super) fn are_done(&self) -> bool {
        self.0.iter().all(|one| one.writer.is_none())
    }

    /// What came of them.
    pub(super) fn reports(&self) -> Vec<RecordReport> {
        self.0.iter().map(|one| one.shown.report()).collect()
    }
}

fn same_file(path: &Path) -> IoError {
    use crate::io::IoErrorKind;
    IoError::new(IoErrorKind::InvalidInput, "record two hops to").on(&path.display())
}

impl Recorder {
    fn pump(&mut self, clock: &Clock, io: &mut Driver, last: bool) -> bool {
        let Some(writer) = &mut self.writer else {
            return false;
        };
        // A virtual clock does not move by that.
        let now_ns = clock.now_ns();
        writer.at(clock.wall_ns(), now_ns);
        let mut taken = 0;
        while taken < RECORD_BURST
            && let Some(frame) = self.tap.peek()
        {
            let envelope = frame.envelope();
            if envelope.kind == LOST_MARK {
                let lost = frame
                    .payload()
                    .first_chunk()
                    .map_or(0, |lost| u64::from_le_bytes(*lost));
                self.sequence += lost;
                writer.note_lost(lost);
            } else {
                writer.frame(io, envelope, frame.payload(), self.sequence);
                self.sequence += 1;
            }
            self.tap.advance();
            taken += 1;
        }
        if now_ns.saturating_sub(self.flushed_ns) >= RECORD_FLUSH_NS || taken == 0 {
            writer.flush(io);
            self.flushed_ns = now_ns;
        }
        self.shown
            .tell(&writer.counts(), writer.hash(), writer.error());
        if taken == 0 && (last || self.tap.is_finished()) {
            self.close(io, last);
        }
        taken > 0
    }

    fn close(&mut self, io: &mut Driver, stopped: bool) {
        let Some(mut writer) = self.writer.take() else {
            return;
        };
        let finished = self.tap.is_finished();
        // What was lost behind the last mark.
        let lost = self.tap.counts().lost;
        writer.note_lost(lost.saturating_sub(writer.counts().frames_lost));
        let why = if stopped && !finished {
            WhyEnded::Stopped
        } else {
            WhyEnded::HopEnded
        };
        let hash = writer.hash();
        let (counts, error) = writer.close(io, why);
        self.shown.tell(&counts, hash, error.as_ref());
    }
}

/// The thread that records.
#[derive(Debug)]
pub(super) struct Recording {
    thread: Option<std::thread::JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    waker: Waker,
    shown: Vec<Arc<Shown>>,
}

impl Recording {
    /// Opens and starts the recorders of a line, if it has any.
    pub(super) fn start(
        line: &Line,
        clock: &Clock,
        driver: &dyn Fn() -> Result<Driver, IoError>,
    ) -> Result<Option<Recording>, StartError> {
        if line.hops.iter().all(|hop| hop.hop.record.is_none()) {
            return Ok(None);
        }
        let no_thread = |why: String| StartError::Thread {
            thread: "recorder".to_owned(),
            why,
        };
        let mut io = driver().map_err(|error| no_thread(error.to_string()))?;
        let recorders = Recorders::open(line, clock, &mut io)?;
        let shown = recorders.0.iter().map(|one| Arc::clone(&one.shown));
        let shown = shown.collect();
        let stop = Arc::new(AtomicBool::new(false));
        let (waker, flag, clock) = (io.waker(), Arc::clone(&stop), clock.clone());
        let spawned = std::thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(move || record(recorders, &clock, io, &flag));
        Ok(Some(Recording {
            thread: Some(spawned.map_err(|error| no_thread(error.to_string()))?),
            stop,
            waker,
            shown,
        }))
    }

    /// What came of them so far.
    pub(super) fn reports(&self) -> Vec<RecordReport> {
        self.shown.iter().map(|one| one.report()).collect()
    }

    /// Ends the recorders once they have taken what is there.
    pub(super) fn end(&mut self) {
        self.stop.store(true, Ordering::Release); // pairs with Acquire in `record`
        // A waker that fails leaves the thread to its own timeout, which is bounded.
        let _ = self.waker.wake();
        if let Some(thread) = self.thread.take() {
            // What panics there is a defect of the recorder; what it did until then is shown.
            let _ = thread.join();
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.end();
    }
}

/// The body of the thread.
fn record(mut recorders: Recorders, clock: &Clock, mut io: Driver, stop: &AtomicBool) {
    while !recorders.are_done() {
        // Read before the taps are: what comes later is not waited for.
        let last = stop.load(Ordering::Acquire);
        if !recorders.pump(clock, &mut io, last)
            && io.poll(clock.now_ns(), Some(RECORD_FLUSH_NS)).is_err()
        {
            break;
        }
    }
}
