//! A capture, line by line, by its own times or as fast as it goes.
//!
//! Each line is `<nanoseconds> <message>`. At a speed, a message is due at
//! t0 + (recorded − epoch) / speed: times are absolute, so that being late once makes nothing else
//! late. Flat out there is no schedule, and a message's intended time is when it is read.
//!
//! What is wrong with the file is counted in its place and the feed goes on: a bad line by its
//! reason, a file that ends too early as `truncated`, one without a line as `empty`. A time before
//! that of an earlier line is counted as well; its message goes out in the file's order, at once.
//!
//! Invariant: nothing is allocated after opening; reading ahead is done in slices of bounded cost,
//! and not while a message is due.

use std::path::{Path, PathBuf};

use crate::adapter::{Intake, Trouble, decodes};
use crate::base::Reject;
use crate::base::limits::{BURST_MESSAGES, LINE_BYTES_MAX};
use crate::base::units::parse_speed;
use crate::feed::parse_line;
use crate::io::{Driver, Fill, IoError, LineEvent, LineReader};
use crate::stage::{Arrival, Decode, Feed, Ingress, Port, SourceContext};
use crate::topology::{Params, Problem};

/// Bytes of text that are read ahead: at 400 times the pace of a busy capture (27 MB/s) this is
/// 40 ms, longer than a disk's pauses.
const AHEAD_BYTES: usize = 1 << 20;

/// Most bytes of text in one slice while there is a schedule: gzip takes about 12 us for them.
const SLICE_BYTES: usize = 4 << 10;

/// The same flat out, where nothing waits for its time.
const FLAT_SLICE_BYTES: usize = 16 << 10;

/// A slice is begun only if the next message is due no sooner than this, in nanoseconds.
const SLICE_NS: u64 = 25_000;

const _: () = assert!(SLICE_BYTES <= FLAT_SLICE_BYTES && FLAT_SLICE_BYTES <= AHEAD_BYTES);

/// A description of a source that replays a capture.
#[derive(Clone, Debug)]
pub struct Replay {
    path: PathBuf,
    speed: Option<f64>,
    epoch_ns: Option<u64>,
}

/// Replays a file, plain or gzip, at the pace at which it was recorded; "-" is standard input.
#[must_use]
pub fn replay(path: impl AsRef<Path>) -> Replay {
    Replay {
        path: path.as_ref().to_owned(),
        speed: Some(1.0),
        epoch_ns: None,
    }
}

decodes!(Replay);

impl Replay {
    /// The same at that many times the recorded pace; `None` is flat out.
    #[must_use]
    pub fn speed(self, speed: Option<f64>) -> Replay {
        Replay { speed, ..self }
    }

    /// The same with the recorded time, in nanoseconds, that is due at the line's start. Several
    /// captures stay aligned by one epoch; without it, it is the first line's time.
    #[must_use]
    pub fn epoch_ns(self, epoch_ns: u64) -> Replay {
        Replay {
            epoch_ns: Some(epoch_ns),
            ..self
        }
    }

    /// From the settings `file`, `speed` and `epoch_ns`.
    pub(crate) fn from_params(params: &mut Params) -> Result<Replay, Problem> {
        let path = params.need_text("file", "capture.gz")?;
        let speed = params.unit("speed", "\"1x\", \"100x\" or \"max\"", parse_speed)?;
        let epoch_ns = params.count("epoch_ns", 0, 0..=i64::MAX as u64)?;
        Ok(Replay {
            path: path.into(),
            speed: speed.unwrap_or(Some(1.0)),
            epoch_ns: params.has("epoch_ns").then_some(epoch_ns),
        })
    }
}

impl Intake for Replay {
    fn into_ingress(self, decoder: Box<dyn Decode>) -> Result<Box<dyn Ingress>, Problem> {
        if let Some(speed) = self.speed
            && !(speed > 0.0 && speed.is_finite())
        {
            let what = format!("{speed} is no speed");
            return Err(Problem::new(what, "a speed is above 0; flat out is none"));
        }
        Ok(Box::new(ReplaySource {
            path: self.path,
            speed: self.speed,
            epoch_ns: self.epoch_ns,
            decoder,
            lines: None,
            kept: Box::default(),
            waiting: None,
            t0_ns: 0,
            newest_ns: 0,
            trouble: Trouble::default(),
        }))
    }
}

/// A message that is not due yet; its bytes are kept apart, so that the reader can go on.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    due_ns: u64,
    recorded_ns: u64,
    len: usize,
}

/// Reads a capture.
pub struct ReplaySource {
    path: PathBuf,
    speed: Option<f64>,
    epoch_ns: Option<u64>,
    decoder: Box<dyn Decode>,
    lines: Option<LineReader>,
    kept: Box<[u8]>,
    waiting: Option<Waiting>,
    t0_ns: u64,
    /// Latest recorded time so far.
    newest_ns: u64,
    trouble: Trouble,
}

impl core::fmt::Debug for ReplaySource {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ReplaySource")
            .field("path", &self.path)
            .field("speed", &self.speed)
            .field("waiting", &self.waiting)
            .finish_non_exhaustive()
    }
}

/// When a message of that recorded time is due, on the line's clock.
fn due_ns(t0_ns: u64, recorded_ns: u64, epoch_ns: u64, speed: f64) -> u64 {
    // Exact at 1x for 104 days, and to a nanosecond at any speed for as long.
    let after_ns = recorded_ns.saturating_sub(epoch_ns) as f64 / speed;
    t0_ns.saturating_add(after_ns as u64)
}

impl ReplaySource {
    /// Takes what is due, a bounded burst; false when the file has nothing more.
    fn take_due(&mut self, cx: &mut SourceContext<'_, '_>) -> bool {
        let Some(lines) = &mut self.lines else {
            return false;
        };
        for nth in 0..BURST_MESSAGES {
            if let Some(waiting) = self.waiting {
                if cx.stamp() < waiting.due_ns || !cx.has_room() {
                    return true;
                }
                if nth == 0 {
                    cx.begin_io();
                }
                self.waiting = None;
                let arrival = Arrival {
                    bytes: &self.kept[..waiting.len],
                    t_intended_ns: waiting.due_ns,
                    scheduled: true,
                    received_wall_ns: Some(waiting.recorded_ns),
                    peer: None,
                };
                cx.message(arrival, self.decoder.as_mut());
                continue;
            }
            if !cx.has_room() {
                return true;
            }
            if nth == 0 {
                cx.begin_io();
            }
            let line = match lines.next_line() {
                Some(LineEvent::Line(line)) => line,
                Some(LineEvent::Bad(why)) => {
                    cx.reject(why, 0);
                    continue;
                }
                None => return !lines.at_end(),
            };
            let (recorded_ns, json) = match parse_line(line) {
                Ok(parsed) => parsed,
                Err(why) => {
                    cx.reject(why, line.len());
                    continue;
                }
            };
            if recorded_ns < self.newest_ns {
                cx.note_time_backwards();
            }
            self.newest_ns = self.newest_ns.max(recorded_ns);
            let epoch_ns = *self.epoch_ns.get_or_insert(recorded_ns);
            let now_ns = cx.stamp();
            let due_ns = self
                .speed
                .map(|speed| due_ns(self.t0_ns, self.newest_ns, epoch_ns, speed));
            if let Some(due_ns) = due_ns.filter(|due_ns| now_ns < *due_ns) {
                self.kept[..json.len()].copy_from_slice(json);
                self.waiting = Some(Waiting {
                    due_ns,
                    recorded_ns,
                    len: json.len(),
                });
                return true;
            }
            let arrival = Arrival {
                bytes: json,
                t_intended_ns: due_ns.unwrap_or(now_ns),
                scheduled: due_ns.is_some(),
                received_wall_ns: Some(recorded_ns),
                peer: None,
            };
            cx.message(arrival, self.decoder.as_mut());
        }
        true
    }

    /// Reads a slice ahead, if lines run short or there is time for it.
    fn read_ahead(&mut self, cx: &mut SourceContext<'_, '_>) {
        let Some(lines) = &mut self.lines else {
            return;
        };
        if !lines.needs_fill() {
            return;
        }
        let due_ns = self.waiting.map(|waiting| waiting.due_ns);
        let has_time = due_ns.is_some_and(|due_ns| cx.stamp().saturating_add(SLICE_NS) < due_ns);
        if !has_time && lines.buffered_lines_hint() >= BURST_MESSAGES {
            return;
        }
        let slice_bytes = match self.speed {
            Some(_) => SLICE_BYTES,
            None => FLAT_SLICE_BYTES,
        };
        cx.begin_io();
        match lines.fill(cx.io(), slice_bytes) {
            Ok(Fill::Full) => {}
            Ok(Fill::Progress { .. } | Fill::End) => cx.did_io(),
            Err(error) => {
                self.trouble.note(error);
                cx.did_io();
            }
        }
    }
}

impl Ingress for ReplaySource {
    fn ports(&self) -> &'static [Port] {
        self.decoder.ports()
    }

    fn max_emit(&self) -> usize {
        self.decoder.max_emit()
    }

    fn memory_bytes(&self) -> usize {
        size_of::<ReplaySource>() + AHEAD_BYTES + LINE_BYTES_MAX + self.decoder.memory_bytes()
    }

    fn open(&mut self, io: &mut Driver) -> Result<(), IoError> {
        let mut lines = LineReader::open(io, &self.path, AHEAD_BYTES)?;
        // A first slice, so that the first messages are in hand when the line starts.
        if let Err(error) = lines.fill(io, FLAT_SLICE_BYTES) {
            self.trouble.note(error);
        }
        self.lines = Some(lines);
        self.kept = vec![0; LINE_BYTES_MAX].into_boxed_slice();
        Ok(())
    }

    fn start(&mut self, t0_ns: u64) {
        self.t0_ns = t0_ns;
    }

    fn turn(&mut self, cx: &mut SourceContext<'_, '_>) -> Feed {
        if self.take_due(cx) {
            self.read_ahead(cx);
            return Feed::Live;
        }
        if let Some(lines) = self.lines.take() {
            if lines.line_number() == 0 {
                cx.reject(Reject::Empty, 0);
            }
            if let Err(error) = lines.close(cx.io()) {
                self.trouble.note(error);
            }
        }
        Feed::Ended
    }

    fn next_due_ns(&self) -> Option<u64> {
        self.waiting.map(|waiting| waiting.due_ns)
    }

    fn fault(&mut self) -> Option<String> {
        self.trouble.tell(&self.path.display())
    }
}
