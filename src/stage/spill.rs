//! The files into which hops overflow, and the one who writes them: outside the turns, on a thread of its own or between them.
//!
//! The format is that of captures ([`frame::capture`](crate::frame::capture)): readable while it is written, and up to its last
//! whole message whatever becomes of the process.
//!
//! Invariant: handed = written + failed{reason} once both ends are at rest; a file is never larger than its bound; a file that
//! holds messages of an earlier run is not overwritten; and what fails once is told once, and not tried again.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::base::Counter;
use crate::base::primitive::{AtomicBool, Ordering};
use crate::clock::Clock;
use crate::frame::capture::{
    BLOCK_BYTES_MAX, BLOCK_HEAD_BYTES, CaptureStart, HEAD_BYTES_MAX, WhyEnded,
};
use crate::io::{
    CaptureEvent, CaptureReader, CaptureWriter, Driver, Fill, IoError, IoErrorKind, Unrecorded,
};
use crate::ring::hop::FrameConsumer;

crate::reasons! {
    /// Why a message for which a hop had no room did not get to its file either. The hop counts it as `shed{full}`.
    pub enum Unspilled {
        /// The ring to the writer was full: the disk is slower than what overflows, or has kept its writer waiting.
        Behind = "writer_behind",
        /// The file is as large as it may be.
        Bound = "bound",
        /// The file could not be written, and is not tried again.
        Broken = "broken",
    }
}

/// What goes to a file.
#[derive(Debug, Default)]
pub struct SpillCounters {
    /// Messages that were handed to the writer. By the hop's producer, as the next two.
    pub handed: Counter,
    /// Messages that were not, by [`Unspilled`].
    pub refused: [Counter; Unspilled::ALL.len()],
    /// Frames of those.
    pub refused_frames: Counter,
    /// Messages in the file. By the writer, as all that follow.
    pub written: Counter,
    /// Messages that were handed over and are not in the file, by [`Unrecorded`].
    pub failed: [Counter; Unrecorded::ALL.len()],
    /// Bytes of the file.
    pub bytes: Counter,
    broken: AtomicBool,
    /// What went wrong; written once.
    fault: OnceLock<String>,
}

impl SpillCounters {
    /// Whether the file cannot be written any more.
    #[inline]
    #[must_use]
    pub fn is_broken(&self) -> bool {
        // Relaxed: who sees it late hands over what then counts as failed.
        self.broken.load(Ordering::Relaxed)
    }

    /// What went wrong with the file, once something has.
    #[must_use]
    pub fn fault(&self) -> Option<&str> {
        self.fault.get().map(String::as_str)
    }

    /// Notes that the file cannot be written any more. The first words stay.
    #[cold]
    pub(crate) fn set_broken(&self, why: &str) {
        let _ = self.fault.set(why.to_owned());
        self.broken.store(true, Ordering::Relaxed);
    }

    /// Messages that were handed over and are neither in the file nor failed yet. Exact once both ends are at rest.
    #[must_use]
    pub fn pending(&self) -> u64 {
        // What the writer did is read first, so that a running line never shows less than nothing.
        let failed: u64 = self.failed.iter().map(Counter::get).sum();
        let done = self.written.get() + failed;
        self.handed.get().saturating_sub(done)
    }
}

/// Bytes that messages may take of a file of `bytes_max`, whatever it says of itself and at its end.
#[must_use]
pub(crate) const fn messages_bytes(bytes_max: u64) -> u64 {
    bytes_max.saturating_sub((HEAD_BYTES_MAX + BLOCK_HEAD_BYTES) as u64)
}

const _: () = assert!(
    messages_bytes(crate::base::limits::OVERFLOW_FILE_BYTES_MIN) >= 8 * BLOCK_BYTES_MAX as u64
);

/// A file, and the ring by which its messages come.
#[derive(Debug)]
pub(crate) struct SpillFile {
    ring: FrameConsumer,
    counters: Arc<SpillCounters>,
    path: PathBuf,
    bytes_max: u64,
    /// What it says of itself, but for the times.
    start: CaptureStart,
    writer: Option<CaptureWriter>,
    /// Frames that came so far.
    frames: u64,
}

impl SpillFile {
    /// The file of the hop that `start` names, for what comes by `ring`.
    pub(crate) fn new(
        ring: FrameConsumer,
        counters: Arc<SpillCounters>,
        path: &Path,
        bytes_max: u64,
        start: CaptureStart,
    ) -> SpillFile {
        SpillFile {
            ring,
            counters,
            path: path.to_owned(),
            bytes_max,
            start,
            writer: None,
            frames: 0,
        }
    }

    fn open(&mut self, io: &mut Driver, clock: &Clock) -> Result<(), IoError> {
        if holds_messages(io, &self.path) {
            let error = IoError::new(IoErrorKind::AlreadyThere, "write to");
            return Err(error.on(&self.path.display()));
        }
        (self.start.wall_ns, self.start.line_ns) = (clock.wall_ns(), clock.now_ns());
        let writer = CaptureWriter::create(io, &self.path, &self.start, self.bytes_max)?;
        self.counters.bytes.set(writer.counts().bytes);
        self.writer = Some(writer);
        Ok(())
    }

    /// Writes what has come, at most a ring of it: frames of it.
    fn work(&mut self, io: &mut Driver, clock: &Clock) -> usize {
        let Some(writer) = &mut self.writer else {
            return 0;
        };
        if self.ring.peek().is_none() {
            return 0;
        }
        writer.at(clock.wall_ns(), clock.now_ns());
        let mut taken = 0;
        while taken < self.ring.depth()
            && let Some(frame) = self.ring.peek()
        {
            writer.frame(io, frame.envelope(), frame.payload(), self.frames);
            self.frames += 1;
            taken += 1;
            self.ring.advance();
        }
        self.ring.return_credits();
        writer.flush(io);
        let (counts, error) = (writer.counts(), writer.error());
        self.counters.written.set(counts.messages);
        self.counters.bytes.set(counts.bytes);
        for (counter, count) in self.counters.failed.iter().zip(counts.unrecorded) {
            counter.set(count);
        }
        if let Some(error) = error.filter(|_| !self.counters.is_broken()) {
            let words = format!("{}: {error}", self.path.display());
            self.counters.set_broken(&words);
        }
        taken
    }

    /// Ends the file. What is on the ring by then does not get into it.
    fn close(&mut self, io: &mut Driver, why: WhyEnded) {
        let Some(mut writer) = self.writer.take() else {
            return;
        };
        writer.note_lost(self.counters.refused_frames.get());
        let (counts, error) = writer.close(io, why);
        self.counters.written.set(counts.messages);
        self.counters.bytes.set(counts.bytes);
        for (counter, count) in self.counters.failed.iter().zip(counts.unrecorded) {
            counter.set(count);
        }
        if let Some(error) = error {
            let words = format!("{}: {error}", self.path.display());
            self.counters.set_broken(&words);
        }
    }
}

/// Whether a file is a capture with messages in it. What cannot be read is for whoever opens it to say.
fn holds_messages(io: &mut Driver, path: &Path) -> bool {
    let Ok(mut reader) = CaptureReader::open(io, path) else {
        return false;
    };
    let holds = loop {
        match reader.next_event() {
            Some(CaptureEvent::Message(_) | CaptureEvent::Bad(_)) => break true,
            Some(CaptureEvent::End(_)) => break false,
            None => {}
        }
        match reader.fill(io, BLOCK_BYTES_MAX) {
            Ok(Fill::Progress { .. }) => {}
            Ok(Fill::End | Fill::Full) | Err(_) => break false,
        }
    };
    // It was only looked at.
    let _ = reader.close(io);
    holds
}

/// The one who writes the files of a line.
#[derive(Debug)]
pub(crate) struct SpillWriter {
    files: Vec<SpillFile>,
    clock: Clock,
}

/// Which file could not be opened, and why.
#[derive(Debug)]
pub(crate) struct SpillError {
    /// The hop that overflows into it.
    pub(crate) hop: String,
    /// What and why.
    pub(crate) error: IoError,
}

impl SpillWriter {
    /// A writer of these files.
    pub(crate) fn new(files: Vec<SpillFile>, clock: &Clock) -> SpillWriter {
        SpillWriter {
            files,
            clock: clock.clone(),
        }
    }

    /// Makes the files.
    ///
    /// # Errors
    /// One cannot be made, or holds messages already.
    pub(crate) fn open(&mut self, io: &mut Driver) -> Result<(), SpillError> {
        for file in &mut self.files {
            file.open(io, &self.clock).map_err(|error| SpillError {
                hop: file.start.hop.clone(),
                error,
            })?;
        }
        Ok(())
    }

    /// Writes what has been handed over, at most a ring of each file, and says how many frames that was.
    pub(crate) fn work(&mut self, io: &mut Driver) -> usize {
        let files = self.files.iter_mut();
        files.map(|file| file.work(io, &self.clock)).sum()
    }

    /// Whether something waits to be written.
    pub(crate) fn has_work(&mut self) -> bool {
        let mut files = self.files.iter_mut();
        files.any(|file| file.ring.peek().is_some())
    }

    /// Whether every hop has ended and all that it handed over was taken.
    pub(crate) fn is_finished(&mut self) -> bool {
        self.files.iter_mut().all(|file| file.ring.is_finished())
    }

    /// Ends the files; what is not taken by then does not get into them.
    pub(crate) fn close(&mut self, io: &mut Driver) {
        for file in &mut self.files {
            let why = match file.ring.is_finished() {
                true => WhyEnded::HopEnded,
                false => WhyEnded::Stopped,
            };
            file.close(io, why);
        }
    }
}
