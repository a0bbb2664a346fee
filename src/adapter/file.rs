//! The bytes of messages into a file, one behind the other: texts of whole lines, as the stage `format` writes
//! them.
//!
//! They are gathered in a bounded buffer, which is written when it is full and when nothing more is waiting.
//!
//! Invariant: a message is in the file or counted as rejected, never both; no frame allocates.

use std::path::{Path, PathBuf};

use crate::adapter::Trouble;
use crate::adapter::gathered::Gathered;
use crate::adapter::stream_sink::Piece;
use crate::base::Reason;
use crate::feed::datagram::{DATAGRAM_BYTES_MAX, Datagrams};
use crate::frame::{Input, KindInfo};
use crate::io::{Driver, FileMode, IoError, IoErrorKind};
use crate::stage::{Delivery, Egress, Leaving};
use crate::topology::{IntoSink, Params, Problem};

/// Bytes that are gathered before they are written: the longest message, and some hundred lines.
pub const FILE_BUFFER_BYTES: usize = 128 << 10;

const _: () = assert!(FILE_BUFFER_BYTES >= 2 * DATAGRAM_BYTES_MAX);

crate::reasons! {
    /// Why a message is not in the file.
    pub enum NotKept {
        /// The disk has no room.
        DiskFull = "disk_full",
        /// The file could not be written; the sink's fault says why.
        WriteFailed = "write_failed",
        /// Its fragments do not make a message.
        Malformed = "malformed",
    }
}

/// A description of a sink that writes to a file.
#[derive(Clone, Debug)]
pub struct FileTo {
    path: PathBuf,
    mode: FileMode,
}

/// Writes the bytes of each message to `path`, which is made or emptied; `/dev/stdout` is the standard output.
///
/// ```
/// use hopline::adapter::{file_to, statsd, udp};
/// use hopline::feed::aggregate::Settings;
/// use hopline::stages::{Format, Sums, TextFormat};
/// use hopline::topology::{Hop, Line};
/// let mut line = Line::builder("metrics");
/// line.source("statsd", udp("127.0.0.1:8125").decode(statsd()));
/// line.stage("sums", || Sums::new(Settings::default()).expect("within their bounds"));
/// line.stage("text", || Format::new(TextFormat::Ndjson));
/// line.sink("out", file_to("metrics.ndjson"));
/// line.connect("statsd", "sums", Hop::depth(1024));
/// line.connect("sums", "text", Hop::depth(1024));
/// line.connect("text", "out", Hop::depth(1024));
/// assert!(line.build().is_ok());
/// ```
#[must_use]
pub fn file_to(path: impl AsRef<Path>) -> FileTo {
    FileTo {
        path: path.as_ref().to_owned(),
        mode: FileMode::CreateTruncate,
    }
}

impl FileTo {
    /// The same behind what the file has already.
    #[must_use]
    pub fn append(self) -> FileTo {
        FileTo {
            mode: FileMode::Append,
            ..self
        }
    }

    /// From the settings `file` and `append`.
    pub(crate) fn from_params(params: &mut Params) -> Result<FileSink, Problem> {
        let append = params.flag("append", false);
        let to = file_to(params.need_text("file", "metrics.ndjson")?);
        Ok(FileSink::new(if append? { to.append() } else { to }))
    }
}

impl IntoSink for FileTo {
    fn into_sink(self) -> Result<Box<dyn Egress>, Problem> {
        Ok(Box::new(FileSink::new(self)))
    }
}

/// Writes the bytes of messages to a file.
#[derive(Debug)]
pub struct FileSink {
    to: FileTo,
    gathered: Gathered<NotKept>,
    /// The message in hand: its bytes, and how many of them are there.
    len: usize,
    filled: usize,
    trouble: Trouble,
}

impl FileSink {
    fn new(to: FileTo) -> FileSink {
        FileSink {
            to,
            gathered: Gathered::new(),
            len: 0,
            filled: 0,
            trouble: Trouble::default(),
        }
    }

    /// Takes bytes at their place behind the whole messages; anything but the next ones leaves a hole.
    #[inline]
    fn put(&mut self, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        if (at == self.filled || end == self.filled) && end <= self.len {
            self.gathered.room()[at..end].copy_from_slice(bytes);
            self.filled = end;
        }
    }

    /// Writes the whole messages out.
    fn write_out(&mut self, io: &mut Driver) {
        let Err(failed) = self.gathered.write_out(io) else {
            return;
        };
        let why = match failed.error.kind {
            IoErrorKind::DiskFull => NotKept::DiskFull,
            _ => NotKept::WriteFailed,
        };
        self.trouble.note(failed.error);
        // What of it came to the file nobody can tell from here: none of it counts as kept.
        self.gathered.give_up(why, failed.messages);
    }
}

impl Egress for FileSink {
    fn takes(&self) -> &'static [KindInfo] {
        Datagrams::KINDS
    }

    fn reasons(&self) -> &'static [&'static str] {
        NotKept::NAMES
    }

    fn memory_bytes(&self) -> usize {
        size_of::<FileSink>() + FILE_BUFFER_BYTES
    }

    fn open(&mut self, io: &mut Driver) -> Result<(), IoError> {
        let FileTo { path, mode } = &self.to;
        self.gathered.open(io, path, *mode, FILE_BUFFER_BYTES)
    }

    fn on_frame(&mut self, frame: Leaving<'_>, io: &mut Driver) -> Delivery {
        match Piece::of(&frame) {
            Piece::Head(head) => {
                let total = usize::from(head.total).min(DATAGRAM_BYTES_MAX);
                if self.gathered.room().len() < total {
                    self.write_out(io);
                }
                (self.len, self.filled) = (total, 0);
                self.put(0, head.as_slice());
            }
            Piece::Part(part) => self.put(usize::from(part.at), part.as_slice()),
            Piece::Wrong => self.filled = usize::MAX,
        }
        if !frame.envelope.flags.is_last() {
            return Delivery::Part;
        }
        if let Some(why) = self.gathered.broken() {
            return why.into();
        }
        if self.filled != self.len {
            return NotKept::Malformed.into();
        }
        self.gathered.keep(self.len);
        Delivery::Sent
    }

    fn flush(&mut self, io: &mut Driver) -> Result<(), IoError> {
        self.write_out(io);
        Ok(())
    }

    fn close(&mut self, io: &mut Driver) -> Result<(), IoError> {
        self.write_out(io);
        self.gathered.close(io)
    }

    fn lost(&mut self) -> Option<(u8, u64)> {
        self.gathered.lost()
    }

    fn fault(&mut self) -> Option<String> {
        self.trouble.tell(&self.to.path.display())
    }
}
