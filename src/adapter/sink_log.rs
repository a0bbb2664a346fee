//! What left a stage, as text: one line of JSON for each message, in order.
//!
//! ```text
//! {"symbol":"BTCUSDT","kind":"depthUpdate","id":5123107837557,"prev":5123107831937}
//! ```
//!
//! Lines are gathered in a bounded buffer, written when it is full and when nothing more is
//! waiting. When the disk has no room the file is cut back to whole lines, the fault says how many
//! it has, and what comes later is counted as rejected; nothing else of the line is affected.
//!
//! Invariant: a line is in the file or counted as rejected, never both; no frame allocates.

use std::path::{Path, PathBuf};

use crate::adapter::IO_FAULT;
use crate::adapter::gathered::{Gathered, NotWrittenOut};
use crate::base::Reason;
use crate::base::text::Text;
use crate::feed::symbols::SYMBOL_BYTES_MAX;
use crate::feed::{BookTicker, DepthHead, Left, SnapshotHead, Symbols, Trade};
use crate::frame::{Frame, Input, KindInfo, View};
use crate::io::{Driver, FileMode, IoError, IoErrorKind};
use crate::stage::{Delivery, Egress, Leaving};
use crate::topology::{IntoSink, Params, Problem};

/// Bytes that are gathered before they are written: some 700 lines, a write every few
/// milliseconds at full rate.
pub const SINK_LOG_BUFFER_BYTES: usize = 64 << 10;

/// Longest line, in bytes: keys and marks, a symbol, a kind and two numbers of 20 digits.
const LINE_BYTES: usize = 64 + SYMBOL_BYTES_MAX + 16 + 2 * 20;

const _: () = assert!(LINE_BYTES < SINK_LOG_BUFFER_BYTES);

crate::reasons! {
    /// Why a line is not in the log.
    pub enum LogLost {
        /// The disk has no room.
        DiskFull = "disk_full",
        /// The file could not be written; the sink's fault says why.
        WriteFailed = "write_failed",
        /// A symbol that the sink does not know by name.
        UnknownSymbol = "unknown_symbol",
        /// No frame of this kind, or of no message of the exchange.
        Malformed = "malformed",
    }
}

/// Writes what left a stage to a file.
#[derive(Debug)]
pub struct SinkLog {
    path: PathBuf,
    /// Names by number; empty where a number has none.
    names: Vec<Box<str>>,
    gathered: Gathered<LogLost>,
    /// Whole lines in the file, and bytes up to their end.
    lines: u64,
    whole_bytes: u64,
    fault: Option<String>,
}

/// A description of a sink log: file and symbols.
#[derive(Clone, Debug)]
pub struct LogTo {
    path: PathBuf,
    symbols: Vec<String>,
}

/// Writes one line of JSON for each [`Left`] to `path`, which is made or emptied. `symbols` is the
/// line's list, as its sources have it.
#[must_use]
pub fn sink_log(path: impl AsRef<Path>, symbols: &[&str]) -> LogTo {
    LogTo {
        path: path.as_ref().to_owned(),
        symbols: symbols.iter().map(|&name| name.to_owned()).collect(),
    }
}

impl IntoSink for LogTo {
    fn into_sink(self) -> Result<Box<dyn Egress>, Problem> {
        Ok(Box::new(SinkLog::new(self)?))
    }
}

impl SinkLog {
    fn new(to: LogTo) -> Result<SinkLog, Problem> {
        let names: Vec<&str> = to.symbols.iter().map(String::as_str).collect();
        // Only plain names can stand in the JSON as they are; the table has that rule.
        Symbols::new(&names).map_err(|error| {
            Problem::new(
                error.to_string(),
                "write the line's symbols = [\"BTCUSDT\", …]",
            )
        })?;
        Ok(SinkLog {
            path: to.path,
            names: to.symbols.into_iter().map(String::into_boxed_str).collect(),
            gathered: Gathered::new(),
            lines: 0,
            whole_bytes: 0,
            fault: None,
        })
    }

    /// From the settings `file` and `symbols`.
    pub(crate) fn from_params(params: &mut Params) -> Result<SinkLog, Problem> {
        let path = params.need_text("file", "out.ndjson")?.into();
        let symbols = params.texts("symbols")?;
        SinkLog::new(LogTo { path, symbols }).map_err(|error| error.at(params.place_of("symbols")))
    }

    /// Adds a line to the buffer, which has room for it.
    fn gather(&mut self, left: &Left) -> Result<(), LogLost> {
        let kind = match left.kind {
            BookTicker::SCHEMA => BookTicker::NAME,
            Trade::SCHEMA => Trade::NAME,
            DepthHead::SCHEMA => DepthHead::NAME,
            SnapshotHead::SCHEMA => SnapshotHead::NAME,
            _ => return Err(LogLost::Malformed),
        };
        let symbol = self.names.get(usize::from(left.symbol));
        let symbol = symbol.ok_or(LogLost::UnknownSymbol)?;
        let mut text = Text::over(self.gathered.room());
        text.put(b"{\"symbol\":\"");
        text.put(symbol.as_bytes());
        text.put(b"\",\"kind\":\"");
        text.put(kind.as_bytes());
        text.put(b"\",\"id\":");
        text.number(left.id);
        text.put(b",\"prev\":");
        if left.has_prev == 0 {
            text.put(b"null");
        } else {
            text.number(left.prev);
        }
        text.put(b"}\n");
        // Names have a bound, so there is room for the longest line.
        let bytes = text.whole().ok_or(LogLost::Malformed)?.len();
        self.gathered.keep(bytes);
        Ok(())
    }

    /// Writes the buffer out.
    fn write_out(&mut self, io: &mut Driver) {
        match self.gathered.write_out(io) {
            Ok(written) => {
                self.lines += written.messages;
                self.whole_bytes += written.bytes as u64;
            }
            Err(failed) => self.give_up(&failed, io),
        }
    }

    /// Cuts the file back to whole lines, and writes no more.
    #[cold]
    fn give_up(&mut self, failed: &NotWrittenOut, io: &mut Driver) {
        let part = self.gathered.front(failed.written);
        let whole = memchr::memrchr(b'\n', part).map_or(0, |at| at + 1);
        let whole_lines = memchr::memchr_iter(b'\n', part).count() as u64;
        self.whole_bytes += whole as u64;
        self.lines += whole_lines;
        if whole < failed.written {
            // A file that cannot be cut keeps a part of a line at its end.
            let _ = self.gathered.cut(io, self.whole_bytes);
        }
        let (why, what) = if failed.error.kind == IoErrorKind::DiskFull {
            let what = format!(
                "disk full after {} lines: free space or write the log elsewhere",
                self.lines
            );
            (LogLost::DiskFull, what)
        } else {
            let what = format!("{} after {} lines", failed.error, self.lines);
            (LogLost::WriteFailed, what)
        };
        self.gathered.give_up(why, failed.messages - whole_lines);
        self.fault = Some(format!("{IO_FAULT}{}: {what}", self.path.display()));
    }
}

impl Egress for SinkLog {
    fn takes(&self) -> &'static [KindInfo] {
        <Left as Input>::KINDS
    }

    fn reasons(&self) -> &'static [&'static str] {
        LogLost::NAMES
    }

    fn in_objective(&self) -> bool {
        false
    }

    fn memory_bytes(&self) -> usize {
        let names: usize = self.names.iter().map(|name| name.len()).sum();
        size_of::<SinkLog>() + names + SINK_LOG_BUFFER_BYTES
    }

    fn open(&mut self, io: &mut Driver) -> Result<(), IoError> {
        let mode = FileMode::CreateTruncate;
        self.gathered
            .open(io, &self.path, mode, SINK_LOG_BUFFER_BYTES)
    }

    #[inline]
    fn on_frame(&mut self, frame: Leaving<'_>, io: &mut Driver) -> Delivery {
        if self.gathered.room().len() < LINE_BYTES {
            self.write_out(io);
        }
        if let Some(why) = self.gathered.broken() {
            return why.into();
        }
        let Ok(left) = View::<Left>::read(frame.payload) else {
            return LogLost::Malformed.into();
        };
        match self.gather(&left.to_owned()) {
            Ok(()) => Delivery::Sent,
            Err(why) => why.into(),
        }
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
        self.fault.take()
    }
}
