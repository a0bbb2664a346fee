//! The capture that a lane sends.
//!
//! Invariant: holds what it has read ahead, within a bound, and nothing of what it gave out.

use std::collections::BTreeMap;
use std::path::PathBuf;

use hopline::base::{Reason, Reject};
use hopline::feed::parse_line;
use hopline::io::{Driver, Fill, LineEvent, LineReader};

use super::feed::Due;
use crate::exit::Failure;

/// Bytes of a capture that are read ahead: some 10 ms at 400 times the speed of the market.
const READ_AHEAD_BYTES: usize = 1 << 20;

/// Bytes of a capture taken at once, so that reading ahead delays no datagram by more than 0.2 ms.
const FILL_BYTES: usize = 32 << 10;

/// A capture that is being read.
pub(crate) struct Capture {
    lines: LineReader,
    file: PathBuf,
    speed: Option<f64>,
    epoch_ns: u64,
    skipped: [u64; Reject::NAMES.len()],
}

impl Capture {
    /// Opens the capture; at `speed` times the recorded pace, or as fast as it goes, from `epoch_ns` on.
    pub(crate) fn open(
        driver: &mut Driver,
        file: PathBuf,
        speed: Option<f64>,
        epoch_ns: u64,
    ) -> Result<Capture, Failure> {
        Ok(Capture {
            lines: LineReader::open(driver, &file, READ_AHEAD_BYTES)?,
            file,
            speed,
            epoch_ns,
            skipped: [0; Reject::NAMES.len()],
        })
    }

    /// Reads a little ahead. False if there was nothing to read, or no room.
    pub(crate) fn read_ahead(&mut self, driver: &mut Driver) -> bool {
        if self.lines.at_end() {
            return false;
        }
        let filled = self.lines.fill(driver, FILL_BYTES);
        matches!(filled, Ok(Fill::Progress { .. }))
    }

    /// Lines that are no messages, by reason.
    pub(crate) fn skipped(&self) -> BTreeMap<&'static str, u64> {
        let counts = Reject::NAMES.iter().copied().zip(self.skipped);
        counts.filter(|(_, count)| *count > 0).collect()
    }

    /// Copies the next message into `message`: when it leaves, and its length. `None` at the end.
    pub(crate) fn next(
        &mut self,
        driver: &mut Driver,
        message: &mut [u8],
    ) -> Result<Option<(Due, usize)>, String> {
        while !self.lines.at_end() {
            match self.lines.next_line() {
                Some(LineEvent::Line(line)) => match parse_line(line) {
                    Ok((_, json)) if json.len() > message.len() => {
                        self.skipped[Reject::TooLong.index()] += 1;
                    }
                    Ok((at_ns, json)) => {
                        message[..json.len()].copy_from_slice(json);
                        let span_ns = at_ns.saturating_sub(self.epoch_ns);
                        let due = match self.speed {
                            Some(speed) => Due {
                                at_ns: (span_ns as f64 / speed) as u64,
                                paced: true,
                            },
                            None => Due {
                                at_ns: span_ns,
                                paced: false,
                            },
                        };
                        return Ok(Some((due, json.len())));
                    }
                    Err(why) => self.skipped[why.index()] += 1,
                },
                Some(LineEvent::Bad(why)) => self.skipped[why.index()] += 1,
                None => {
                    let filled = self.lines.fill(driver, FILL_BYTES);
                    filled.map_err(|error| format!("{}: {error}", self.file.display()))?;
                }
            }
        }
        Ok(None)
    }
}
