//! A recording again, by its own times or as fast as it goes: lines of text, captures of a hop, packets.
//!
//! At a speed, a message is due at t0 + (recorded − epoch) / speed: times are absolute, so that being late once makes nothing else
//! late. Flat out there is no schedule, and a message's intended time is when it is read.
//!
//! | word | a recording of | as |
//! |---|---|---|
//! | `replay` | an exchange's messages | lines of `<nanoseconds> <message>`, plain or gzip |
//! | `capture` | what went over a hop | `docs/CAPTURES.md`, plain or gzip |
//! | `pcap` | a network's packets, by UDP port | pcap and pcapng, plain or gzip |
//!
//! What is wrong with the file is counted in its place and the feed goes on: a bad message by its reason, a file that ends too early
//! as `truncated`, one without a message as `empty`. A time before that of an earlier message is counted as well; its message goes
//! out in the file's order, at once.
//!
//! Invariant: nothing is allocated after opening; reading ahead is done in slices of bounded cost, and not while a message is due.

mod capture;
mod lines;
mod look;
mod packets;

use std::path::{Path, PathBuf};

use crate::adapter::{Intake, Trouble, decodes};
use crate::base::Reject;
use crate::base::limits::BURST_MESSAGES;
use crate::base::units::{hash_text, parse_speed};
use crate::budget::{Fidelity, FidelityReport, IngressCounters};
use crate::clock::Clock;
use crate::frame::capture::{CaptureKind, chain_hash};
use crate::io::{Driver, Fill, IoError, IoErrorKind};
use crate::stage::hop::Doorbell;
use crate::stage::{Arrival, Decode, Feed, Ingress, Port, SourceContext};
use crate::topology::{Params, Problem};

pub(crate) use capture::{CAPTURED, captured_word};
pub use capture::{Capture, Captured, capture, captured, captured_of};
use lines::Lines;
pub use look::Recorded;
pub use packets::{Pcap, pcap};

/// Bytes of text that are read ahead: at 400 times the pace of a busy capture (27 MB/s) this is
/// 40 ms, longer than a disk's pauses.
const AHEAD_BYTES: usize = 1 << 20;

/// Most bytes in one slice while there is a schedule: gzip takes about 12 us for them.
const SLICE_BYTES: usize = 4 << 10;

/// The same flat out, where nothing waits for its time.
const FLAT_SLICE_BYTES: usize = 16 << 10;

/// A slice is begun only if the next message is due no sooner than this, in nanoseconds.
const SLICE_NS: u64 = 25_000;

const _: () = assert!(SLICE_BYTES <= FLAT_SLICE_BYTES && FLAT_SLICE_BYTES <= AHEAD_BYTES);

/// What is next in a recording.
#[derive(Debug)]
enum Item<'r> {
    /// A message.
    Message {
        /// When it was recorded, in nanoseconds since 1970.
        at_ns: u64,
        /// Its bytes, for the decoder.
        bytes: &'r [u8],
        /// Who sent it, where that is known.
        peer: Option<core::net::SocketAddr>,
    },
    /// What is no message, and how long it is in bytes.
    Bad(Reject, usize),
}

/// A recording as the source reads it, slice by slice.
trait Recording: Send + Sized + 'static {
    /// What it is opened with, beside its path.
    type Wish: Send + 'static;

    /// Most bytes of a message.
    const MESSAGE_BYTES: usize;

    /// Bytes that it allocates.
    const MEMORY_BYTES: usize;

    /// Opens it. Allocates all that it will use.
    fn open(io: &mut Driver, path: &Path, wish: &Self::Wish) -> Result<Self, IoError>;

    /// The next message; `None` if more must be read first, if it has looked at a bounded number of others, or at the end.
    fn next(&mut self) -> Option<Item<'_>>;

    /// Whether it must be read on, whatever is due: less than a burst is buffered.
    fn is_short(&self) -> bool;

    /// Whether reading on would do something.
    fn needs_fill(&self) -> bool;

    /// Reads on: at most one read, of at most so many bytes.
    fn fill(&mut self, io: &mut Driver, budget_bytes: usize) -> Result<Fill, IoError>;

    /// Whether everything was read and given out.
    fn at_end(&self) -> bool;

    /// Whether nothing at all was in it.
    fn was_empty(&self) -> bool;

    /// Packets that are for somebody else, since it was last asked.
    fn take_skipped(&mut self) -> u64 {
        0
    }

    /// The content hash after another message.
    fn fold(hash: u64, bytes: &[u8]) -> u64 {
        chain_hash(hash, bytes)
    }

    /// The content hash that the recorder had at the last message, where it kept one.
    fn recorded_hash(&self) -> Option<u64> {
        None
    }

    /// The kinds of its frames, where its messages are such.
    fn kinds(&self) -> &[CaptureKind] {
        &[]
    }

    /// Closes the file.
    fn close(self, io: &mut Driver) -> Result<(), IoError>;
}

/// The error of a recording with frames in a version that its decoder does not read, if there are any.
fn other_version(kinds: &[CaptureKind], decoder: &dyn Decode, path: &Path) -> Option<IoError> {
    let other = kinds.iter().find_map(|kind| {
        let version = decoder.other_version(kind)?;
        Some((kind, version))
    });
    other.map(|(kind, version)| {
        IoError::new(IoErrorKind::OtherVersion, "replay").on(&format_args!(
            "{} with frames \"{}\" of version {}, not {version}",
            path.display(),
            kind.name,
            kind.version
        ))
    })
}

/// A description of a source that replays a capture.
#[derive(Clone, Debug, PartialEq)]
pub struct Replay {
    path: PathBuf,
    pace: Pace,
}

/// By which times a recording is replayed.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Pace {
    /// Times its own; `None` is flat out.
    speed: Option<f64>,
    /// The recorded time that is due at the line's start; without it, it is the first message's.
    epoch_ns: Option<u64>,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            speed: Some(1.0),
            epoch_ns: None,
        }
    }
}

impl Pace {
    /// From the settings `speed` and `epoch_ns`.
    fn from_params(params: &mut Params) -> Result<Pace, Problem> {
        let speed = params.unit("speed", "\"1x\", \"100x\" or \"max\"", parse_speed)?;
        let epoch_ns = params.count("epoch_ns", 0, 0..=i64::MAX as u64)?;
        Ok(Pace {
            speed: speed.unwrap_or(Some(1.0)),
            epoch_ns: params.has("epoch_ns").then_some(epoch_ns),
        })
    }

    fn check(&self) -> Result<(), Problem> {
        match self.speed {
            Some(speed) if !(speed > 0.0 && speed.is_finite()) => {
                let what = format!("{speed} is no speed");
                Err(Problem::new(what, "a speed is above 0; flat out is none"))
            }
            _ => Ok(()),
        }
    }
}

/// Replays a file of lines, plain or gzip, at the pace at which it was recorded; "-" is standard input.
#[must_use]
pub fn replay(path: impl AsRef<Path>) -> Replay {
    Replay {
        path: path.as_ref().to_owned(),
        pace: Pace::default(),
    }
}

/// Gives a description of a replay its pace.
macro_rules! paced {
    ($replay:ty, $recording:ty, $wish:expr) => {
        decodes!($replay);

        impl $replay {
            /// The same at that many times the recorded pace; `None` is flat out.
            #[must_use]
            pub fn speed(mut self, speed: Option<f64>) -> $replay {
                self.pace.speed = speed;
                self
            }

            /// The same with the recorded time, in nanoseconds, that is due at the line's start. Several
            /// recordings stay aligned by one epoch; without it, it is the first message's time.
            #[must_use]
            pub fn epoch_ns(mut self, epoch_ns: u64) -> $replay {
                self.pace.epoch_ns = Some(epoch_ns);
                self
            }

            /// The recorded time of the first message, in nanoseconds since 1970; `None` if the first megabyte has none.
            /// Allocates.
            ///
            /// # Errors
            /// The file cannot be read.
            pub fn first_ns(&self, io: &mut Driver) -> Result<Option<u64>, IoError> {
                let wish: fn(&$replay) -> _ = $wish;
                crate::adapter::replay::look::first_ns::<$recording>(io, &self.path, &wish(self))
            }

            /// How many of its messages are due within `span_ns` of the line's start; what is no message is never due. `None`
            /// where nothing paces it. Reads the recording up to there: some 100 MB a second.
            ///
            /// # Errors
            /// The file cannot be read.
            pub fn due_before(
                &self,
                io: &mut Driver,
                span_ns: u64,
            ) -> Result<Option<u64>, IoError> {
                let wish: fn(&$replay) -> _ = $wish;
                crate::adapter::replay::look::due_before::<$recording>(
                    io,
                    &self.path,
                    &wish(self),
                    self.pace,
                    span_ns,
                )
            }
        }
    };
}
use paced;

paced!(Replay, Lines, |_| ());

impl Replay {
    /// From the settings `file`, `speed` and `epoch_ns`.
    pub(crate) fn from_params(params: &mut Params) -> Result<Replay, Problem> {
        let path = params.need_text("file", "capture.gz")?.into();
        let pace = Pace::from_params(params)?;
        Ok(Replay { path, pace })
    }
}

impl Intake for Replay {
    fn into_ingress(self, decoder: Box<dyn Decode>) -> Result<Box<dyn Ingress>, Problem> {
        source::<Lines>(self.path, self.pace, (), decoder)
    }
}

/// The source of a recording.
fn source<R: Recording>(
    path: PathBuf,
    pace: Pace,
    wish: R::Wish,
    decoder: Box<dyn Decode>,
) -> Result<Box<dyn Ingress>, Problem> {
    pace.check()?;
    Ok(Box::new(ReplaySource::<R> {
        path,
        pace,
        wish,
        is_packed: decoder.is_packed(),
        decoder,
        recording: None,
        kept: Box::default(),
        waiting: None,
        t0_ns: 0,
        newest_ns: 0,
        trouble: Trouble::default(),
        system: None,
        fidelity: None,
        told: FidelityReport::default(),
        hash: 0,
    }))
}

/// A message that is not due yet, or a packet of which not all messages had room; its bytes are kept apart, so that the reader can
/// go on.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    due_ns: u64,
    /// Whether that is by a schedule.
    scheduled: bool,
    recorded_ns: u64,
    len: usize,
    peer: Option<core::net::SocketAddr>,
    /// Whether a message of it was asked for.
    begun: bool,
    /// Where in it to go on.
    at: usize,
}

/// Reads a recording.
struct ReplaySource<R: Recording> {
    path: PathBuf,
    pace: Pace,
    wish: R::Wish,
    decoder: Box<dyn Decode>,
    /// Whether what is recorded may hold any number of messages.
    is_packed: bool,
    /// In a box, for it is taken out for each turn.
    recording: Option<Box<R>>,
    kept: Box<[u8]>,
    waiting: Option<Waiting>,
    t0_ns: u64,
    /// Latest recorded time so far.
    newest_ns: u64,
    trouble: Trouble,
    /// The system's clock, where the line's is real.
    system: Option<Clock>,
    /// How near to its times it is, where it has a schedule.
    fidelity: Option<Box<Fidelity>>,
    told: FidelityReport,
    hash: u64,
}

/// When a message of that recorded time is due, on the line's clock.
fn due_ns(t0_ns: u64, recorded_ns: u64, epoch_ns: u64, speed: f64) -> u64 {
    // Exact at 1x for 104 days, and to a nanosecond at any speed for as long.
    let after_ns = recorded_ns.saturating_sub(epoch_ns) as f64 / speed;
    t0_ns.saturating_add(after_ns as u64)
}

impl<R: Recording> ReplaySource<R> {
    /// Takes what is due, a bounded burst; false when the file has nothing more.
    fn take_due(&mut self, cx: &mut SourceContext<'_, '_>) -> bool {
        let Some(mut recording) = self.recording.take() else {
            return false;
        };
        let more = self.take_from(&mut recording, cx);
        let skipped = recording.take_skipped();
        if skipped > 0 {
            cx.note_skipped(skipped);
        }
        self.recording = Some(recording);
        more
    }

    fn take_from(&mut self, recording: &mut R, cx: &mut SourceContext<'_, '_>) -> bool {
        // A drain waits for what is in hand, and no longer: nothing is begun behind it.
        let had_begun = self.waiting.is_some_and(|waiting| waiting.begun);
        for nth in 0..BURST_MESSAGES {
            if let Some(waiting) = self.waiting {
                let now_ns = cx.stamp();
                if now_ns < waiting.due_ns || !cx.has_room() {
                    return true;
                }
                if nth == 0 {
                    cx.begin_io();
                }
                if !waiting.begun {
                    self.sent(waiting.scheduled.then_some(waiting.due_ns), now_ns);
                    self.hash = R::fold(self.hash, &self.kept[..waiting.len]);
                }
                if self.hand_over(waiting, cx) {
                    continue;
                }
                self.check_hash(recording);
                if had_begun {
                    return true;
                }
                continue;
            }
            if !cx.has_room() {
                return true;
            }
            if nth == 0 {
                cx.begin_io();
            }
            let (recorded_ns, bytes, peer) = match recording.next() {
                Some(Item::Message { at_ns, bytes, peer }) => (at_ns, bytes, peer),
                Some(Item::Bad(why, len)) => {
                    cx.reject(why, len);
                    continue;
                }
                None => return !recording.at_end(),
            };
            if recorded_ns < self.newest_ns {
                cx.note_time_backwards();
            }
            self.newest_ns = self.newest_ns.max(recorded_ns);
            let epoch_ns = *self.pace.epoch_ns.get_or_insert(recorded_ns);
            let now_ns = cx.stamp();
            let due_ns = self
                .pace
                .speed
                .map(|speed| due_ns(self.t0_ns, self.newest_ns, epoch_ns, speed));
            let is_early = due_ns.is_some_and(|due_ns| now_ns < due_ns);
            if is_early || self.is_packed {
                self.kept[..bytes.len()].copy_from_slice(bytes);
                self.waiting = Some(Waiting {
                    due_ns: due_ns.unwrap_or(now_ns),
                    scheduled: due_ns.is_some(),
                    recorded_ns,
                    len: bytes.len(),
                    peer,
                    begun: false,
                    at: 0,
                });
                if is_early {
                    return true;
                }
                continue;
            }
            self.hash = R::fold(self.hash, bytes);
            let arrival = Arrival {
                bytes,
                t_intended_ns: due_ns.unwrap_or(now_ns),
                scheduled: due_ns.is_some(),
                received_wall_ns: Some(recorded_ns),
                peer,
            };
            cx.message(arrival, self.decoder.as_mut());
            self.sent(due_ns, now_ns);
            self.check_hash(recording);
        }
        true
    }

    /// Hands over what has waited, or the next message of it; whether it may hold more.
    fn hand_over(&mut self, waiting: Waiting, cx: &mut SourceContext<'_, '_>) -> bool {
        let arrival = Arrival {
            bytes: &self.kept[..waiting.len],
            t_intended_ns: waiting.due_ns,
            scheduled: waiting.scheduled,
            received_wall_ns: Some(waiting.recorded_ns),
            peer: waiting.peer,
        };
        if !self.is_packed {
            self.waiting = None;
            cx.message(arrival, self.decoder.as_mut());
            return false;
        }
        // Kept while the decoder has it: what it leaves, if it panics, is still to be counted.
        self.waiting = Some(Waiting {
            begun: true,
            ..waiting
        });
        let mut at = waiting.at;
        let has_more = cx.packet(arrival, &mut at, self.decoder.as_mut());
        self.waiting = has_more.then_some(Waiting {
            begun: true,
            at,
            ..waiting
        });
        has_more
    }

    /// A message is handed over.
    #[inline]
    fn sent(&mut self, due_ns: Option<u64>, now_ns: u64) {
        self.told.messages += 1;
        if let (Some(due_ns), Some(fidelity)) = (due_ns, &mut self.fidelity) {
            let system = self.system.as_ref();
            fidelity.sent(due_ns, now_ns, || system.map_or(now_ns, Clock::stamp));
        }
    }

    /// Compares the content hash with the recorder's.
    #[inline]
    fn check_hash(&mut self, recording: &R) {
        if let Some(hash) = recording.recorded_hash() {
            self.told.hash_matches = Some(hash == self.hash);
        }
    }

    /// Reads a slice ahead, if messages run short or there is time for it.
    fn read_ahead(&mut self, cx: &mut SourceContext<'_, '_>) {
        let Some(recording) = &mut self.recording else {
            return;
        };
        if !recording.needs_fill() {
            return;
        }
        let due_ns = self.waiting.map(|waiting| waiting.due_ns);
        let has_time = due_ns.is_some_and(|due_ns| cx.stamp().saturating_add(SLICE_NS) < due_ns);
        if !has_time && !recording.is_short() {
            return;
        }
        let slice_bytes = match self.pace.speed {
            Some(_) => SLICE_BYTES,
            None => FLAT_SLICE_BYTES,
        };
        cx.begin_io();
        match recording.fill(cx.io(), slice_bytes) {
            Ok(Fill::Full) => {}
            Ok(Fill::Progress { .. } | Fill::End) => cx.did_io(),
            Err(error) => {
                self.trouble.note(error);
                cx.did_io();
            }
        }
    }
}

impl<R: Recording> Ingress for ReplaySource<R> {
    fn ports(&self) -> &'static [Port] {
        self.decoder.ports()
    }

    fn max_emit(&self) -> usize {
        self.decoder.max_emit()
    }

    fn memory_bytes(&self) -> usize {
        size_of::<Self>() + R::MEMORY_BYTES + R::MESSAGE_BYTES + self.decoder.memory_bytes()
    }

    fn open(&mut self, io: &mut Driver) -> Result<(), IoError> {
        let mut recording = R::open(io, &self.path, &self.wish)?;
        if let Some(error) = other_version(recording.kinds(), self.decoder.as_ref(), &self.path) {
            // The refusal is what to tell.
            let _ = recording.close(io);
            return Err(error);
        }
        // A first slice, so that the first messages are in hand when the line starts.
        if let Err(error) = recording.fill(io, FLAT_SLICE_BYTES) {
            self.trouble.note(error);
        }
        self.recording = Some(Box::new(recording));
        self.kept = vec![0; R::MESSAGE_BYTES].into_boxed_slice();
        if self.pace.speed.is_some() {
            self.fidelity = Some(Box::default());
        }
        Ok(())
    }

    fn join(&mut self, clock: &Clock, _bell: Option<Doorbell>) {
        self.system = (!clock.is_virtual()).then(Clock::os);
    }

    fn start(&mut self, t0_ns: u64) {
        self.t0_ns = t0_ns;
    }

    fn turn(&mut self, cx: &mut SourceContext<'_, '_>) -> Feed {
        // Virtual time moves between turns, and not in them.
        if let (Some(fidelity), Some(_), Some(waiting)) =
            (&mut self.fidelity, &self.system, &self.waiting)
        {
            fidelity.turned(cx.stamp(), waiting.due_ns);
        }
        if self.take_due(cx) {
            self.read_ahead(cx);
            return Feed::Live;
        }
        if let Some(recording) = self.recording.take() {
            if recording.was_empty() {
                cx.reject(Reject::Empty, 0);
            }
            if let Err(error) = recording.close(cx.io()) {
                self.trouble.note(error);
            }
        }
        Feed::Ended
    }

    fn housekeep(&mut self, _io: &mut Driver, counters: &IngressCounters) {
        let is = self.decoder.line_ends().is_some();
        counters.in_lines.set(u64::from(is));
    }

    fn in_hand(&self) -> usize {
        let begun = self.waiting.filter(|waiting| waiting.begun);
        begun.map_or(0, |waiting| {
            let packet = &self.kept[..waiting.len];
            self.decoder.messages_left(packet, waiting.at)
        })
    }

    fn next_due_ns(&self) -> Option<u64> {
        self.waiting.map(|waiting| waiting.due_ns)
    }

    fn close(&mut self, io: &mut Driver, counters: &IngressCounters) {
        if let Some(recording) = self.recording.take()
            && let Err(error) = recording.close(io)
        {
            self.trouble.note(error);
        }
        if let Some(fidelity) = &self.fidelity {
            fidelity.report(&mut self.told);
        }
        self.told.speed = self.pace.speed.map(|speed| format!("{speed}x"));
        self.told.content_hash = hash_text(self.hash);
        self.told.time_backwards = counters.time_backwards.get();
        // Nothing else sets it.
        let _ = counters.fidelity.set(self.told.clone());
    }

    fn fault(&mut self) -> Option<String> {
        self.trouble.tell(&self.path.display())
    }
}
