//! Lines of `<nanoseconds> <message>`.
//!
//! Invariant: splits lines; what is behind the time is the decoder's.

use std::path::Path;

use super::{AHEAD_BYTES, Item, Recording};
use crate::base::limits::{BURST_MESSAGES, LINE_BYTES_MAX};
use crate::feed::parse_line;
use crate::io::{Driver, Fill, IoError, LineEvent, LineReader};

pub(super) struct Lines(LineReader);

impl Recording for Lines {
    type Wish = ();
    const MESSAGE_BYTES: usize = LINE_BYTES_MAX;
    const MEMORY_BYTES: usize = AHEAD_BYTES;

    fn open(io: &mut Driver, path: &Path, (): &()) -> Result<Lines, IoError> {
        LineReader::open(io, path, AHEAD_BYTES).map(Lines)
    }

    fn next(&mut self) -> Option<Item<'_>> {
        let line = match self.0.next_line()? {
            LineEvent::Line(line) => line,
            LineEvent::Bad(why) => return Some(Item::Bad(why, 0)),
        };
        Some(match parse_line(line) {
            Ok((at_ns, bytes)) => Item::Message {
                at_ns,
                bytes,
                peer: None,
            },
            Err(why) => Item::Bad(why, line.len()),
        })
    }

    fn is_short(&self) -> bool {
        self.0.buffered_lines_hint() < BURST_MESSAGES
    }

    fn needs_fill(&self) -> bool {
        self.0.needs_fill()
    }

    fn fill(&mut self, io: &mut Driver, budget_bytes: usize) -> Result<Fill, IoError> {
        self.0.fill(io, budget_bytes)
    }

    fn at_end(&self) -> bool {
        self.0.at_end()
    }

    fn was_empty(&self) -> bool {
        self.0.line_number() == 0
    }

    fn close(self, io: &mut Driver) -> Result<(), IoError> {
        self.0.close(io)
    }
}
