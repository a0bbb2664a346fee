//! Captures on disk: a writer that gathers whole blocks, and a reader that may follow it.
//!
//! The writer hands the system whole blocks only, so that whoever reads meanwhile, or after the process was killed, finds messages
//! up to the last whole one. What it cannot write is counted under a reason, and nobody waits for it.
//!
//! Invariant: a message is in the file or counted, never both; nothing is allocated after `create` and `open`.

mod reader;

use std::path::Path;

use crate::base::limits::KINDS_PER_HOP_MAX;
use crate::base::{Envelope, Reason};
use crate::frame::capture::{
    About, BLOCK_BYTES_MAX, BLOCK_HEAD_BYTES, CaptureEnd, CaptureStart, WhyEnded, content_hash,
    seal,
};
use crate::frame::{Header, Meta};
use crate::io::error::{IoError, IoErrorKind};
use crate::io::{Driver, FileId, FileMode};

pub use reader::{CaptureBreak, CaptureEvent, CaptureReader};

/// Bytes that are gathered before they are written: some thousand messages a system call.
const GATHER_BYTES: usize = 256 << 10;

/// Room for what is gathered and the longest message behind it.
const ROOM_BYTES: usize = GATHER_BYTES + BLOCK_BYTES_MAX;

crate::reasons! {
    /// Why a message that came to a recorder is not in its file.
    pub enum Unrecorded {
        /// The file has as many bytes as it may.
        Bound = "bound",
        /// The disk has no room.
        DiskFull = "disk_full",
        /// The file could not be written.
        WriteFailed = "write_failed",
        /// Some of its frames were lost on the way. At least so many: of neighbours that were torn by one gap, one may count.
        Torn = "torn",
        /// A frame of a kind that the file does not name.
        UnknownKind = "unknown_kind",
    }
}

/// What a writer did. Messages that came = messages + those in `unrecorded`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CaptureCounts {
    /// Messages in the file, or about to be.
    pub messages: u64,
    /// Frames of them.
    pub frames: u64,
    /// Bytes in the file.
    pub bytes: u64,
    /// Frames that never came to the writer.
    pub frames_lost: u64,
    /// Messages that came and are not in the file, by [`Unrecorded`].
    pub unrecorded: [u64; Unrecorded::ALL.len()],
}

impl CaptureCounts {
    /// Messages that came and are not in the file.
    #[must_use]
    pub fn unrecorded_total(&self) -> u64 {
        self.unrecorded.iter().sum()
    }
}

/// A message of which not all frames have come.
#[derive(Clone, Copy, Debug)]
struct Open {
    about: About,
    frames: usize,
    /// Where its next record goes.
    at: usize,
    next_sequence: u64,
    hash: u64,
}

/// Writes a capture.
///
/// ```
/// use hopline::base::{Envelope, Flags};
/// use hopline::frame::capture::{CaptureKind, CaptureStart, WhyEnded};
/// use hopline::frame::{Frame, KindInfo};
/// use hopline::io::{CaptureEvent, CaptureReader, CaptureWriter, Driver, Virtual};
///
/// #[hopline::frame(schema = 7, version = 1)]
/// struct Tick { id: u64 }
///
/// let mut io = Driver::from(Virtual::new());
/// let start = CaptureStart { kinds: vec![CaptureKind::of(&KindInfo::of::<Tick>())], ..CaptureStart::default() };
/// let mut writer = CaptureWriter::create(&mut io, "one.cap".as_ref(), &start, 1 << 20)?;
/// let envelope = Envelope { kind: 7, len: 8, flags: Flags::WHOLE, ..Envelope::default() };
/// writer.frame(&mut io, &envelope, &3_u64.to_le_bytes(), 0);
/// let (counts, _) = writer.close(&mut io, WhyEnded::Stopped);
/// assert_eq!((counts.messages, counts.unrecorded_total()), (1, 0));
///
/// let mut reader = CaptureReader::open(&mut io, "one.cap".as_ref())?;
/// reader.fill(&mut io, 4096)?;
/// let Some(CaptureEvent::Message(message)) = reader.next_event() else { panic!() };
/// assert_eq!(message.frames().next().unwrap().1, 3_u64.to_le_bytes());
/// # Ok::<(), hopline::io::IoError>(())
/// ```
#[derive(Debug)]
pub struct CaptureWriter {
    file: FileId,
    room: Box<[u8]>,
    /// Bytes of whole blocks in `room`.
    used: usize,
    open: Option<Open>,
    /// Whether the frames that come belong to a message that was counted as torn.
    in_torn: bool,
    /// Version of each kind, by its schema.
    versions: Box<[(u16, u16)]>,
    bytes_max: u64,
    /// Wall time less the line's time.
    offset_ns: i128,
    written_wall_ns: u64,
    hash: u64,
    /// The hash of what is in the file.
    written_hash: u64,
    counts: CaptureCounts,
    /// Messages and frames in `room`.
    gathered: (u64, u64),
    broken: Option<Unrecorded>,
    error: Option<IoError>,
}

impl CaptureWriter {
    /// Bytes that it allocates: what it gathers, and what it knows of the kinds.
    pub const MEMORY_BYTES: usize = ROOM_BYTES + KINDS_PER_HOP_MAX * size_of::<(u16, u16)>();

    /// Makes or empties the file and writes its head. It gets at most `bytes_max` bytes, its end included; of what comes after
    /// that, and of what the disk has no room for, messages are counted.
    ///
    /// # Errors
    /// The file cannot be made or its head not be written, or `bytes_max` has no room for head and end.
    pub fn create(
        io: &mut Driver,
        path: &Path,
        start: &CaptureStart,
        bytes_max: u64,
    ) -> Result<CaptureWriter, IoError> {
        let head = start.encode();
        if bytes_max < (head.len() + BLOCK_HEAD_BYTES) as u64 {
            return Err(IoError::new(IoErrorKind::InvalidInput, "bound").on(&path.display()));
        }
        let file = io.file_open(path, FileMode::CreateTruncate)?;
        let mut written = 0;
        while written < head.len() {
            match io.file_write(file, &head[written..]) {
                Ok(more) if more > 0 => written += more,
                failed => {
                    // The error of writing is the one to tell.
                    let _ = io.file_close(file);
                    let error = failed.err();
                    let error =
                        error.unwrap_or(const { IoError::new(IoErrorKind::Other, "write") });
                    return Err(error.on(&path.display()));
                }
            }
        }
        let versions = start.kinds.iter().map(|kind| (kind.schema, kind.version));
        Ok(CaptureWriter {
            file,
            room: vec![0; ROOM_BYTES].into_boxed_slice(),
            used: 0,
            open: None,
            in_torn: false,
            versions: versions.collect(),
            bytes_max,
            offset_ns: i128::from(start.wall_ns) - i128::from(start.line_ns),
            written_wall_ns: start.wall_ns,
            hash: 0,
            written_hash: 0,
            counts: CaptureCounts {
                bytes: head.len() as u64,
                ..CaptureCounts::default()
            },
            gathered: (0, 0),
            broken: None,
            error: None,
        })
    }

    /// It is now so late on both clocks, in nanoseconds; records get their wall times by it. Once a batch is enough.
    pub fn at(&mut self, wall_ns: u64, line_ns: u64) {
        self.offset_ns = i128::from(wall_ns) - i128::from(line_ns);
        self.written_wall_ns = wall_ns;
    }

    /// Takes one frame, in the hop's order; `sequence` is its position on the hop. A message is added with its last frame.
    /// Writes to the file when enough is gathered.
    pub fn frame(&mut self, io: &mut Driver, envelope: &Envelope, payload: &[u8], sequence: u64) {
        if envelope.flags.is_first() {
            if self.open.take().is_some() {
                self.unrecorded(Unrecorded::Torn, 1);
            }
            self.in_torn = false;
            if self.used >= GATHER_BYTES {
                self.flush(io);
            }
            self.open = Some(Open {
                about: About {
                    source: envelope.source,
                    class: envelope.class,
                    deadline_ns: envelope.deadline_ns,
                    offered_ns: envelope.t_offer_ns,
                    intended_ns: envelope.t_intended_ns(),
                },
                frames: 0,
                at: self.used + BLOCK_HEAD_BYTES,
                next_sequence: sequence,
                hash: self.hash,
            });
        }
        match self.open.take() {
            Some(mut open) if open.next_sequence == sequence => {
                match self.add(&mut open, envelope, payload, sequence) {
                    Ok(()) if envelope.flags.is_last() => self.end(&open),
                    Ok(()) => self.open = Some(open),
                    Err(why) => self.tear(why, envelope),
                }
            }
            None if self.in_torn => self.in_torn = !envelope.flags.is_last(),
            _ => self.tear(Unrecorded::Torn, envelope),
        }
    }

    /// Gives up the message in hand, of which `envelope` is a frame.
    #[cold]
    fn tear(&mut self, why: Unrecorded, envelope: &Envelope) {
        self.unrecorded(why, 1);
        self.in_torn = !envelope.flags.is_last();
    }

    fn unrecorded(&mut self, why: Unrecorded, messages: u64) {
        self.counts.unrecorded[why.index()] += messages;
    }

    /// Adds a record to the message in the making.
    fn add(
        &mut self,
        open: &mut Open,
        envelope: &Envelope,
        payload: &[u8],
        sequence: u64,
    ) -> Result<(), Unrecorded> {
        if let Some(why) = self.broken {
            return Err(why);
        }
        let kind = self.versions.iter().find(|kind| kind.0 == envelope.kind);
        let (schema, version) = *kind.ok_or(Unrecorded::UnknownKind)?;
        let intended_ns = i128::from(open.about.intended_ns) + self.offset_ns;
        let meta = Meta {
            sequence,
            time_ns: self.written_wall_ns,
            intended_ns: u64::try_from(intended_ns).unwrap_or(0),
            flags: envelope.flags,
        };
        let header = Header::new(schema, version, payload.len(), meta);
        let header = header.map_err(|_| Unrecorded::UnknownKind)?;
        let most = (self.used + BLOCK_BYTES_MAX).min(self.room.len());
        let record = self.room.get_mut(open.at..most);
        let record = record
            .and_then(|room| room.get_mut(..header.record_bytes()))
            .ok_or(Unrecorded::Torn)?;
        let head = header.write(record).map_err(|_| Unrecorded::Torn)?;
        let (body, padding) = record[head..].split_at_mut(payload.len());
        body.copy_from_slice(payload);
        padding.fill(0);
        open.at += header.record_bytes();
        open.frames += 1;
        open.next_sequence = sequence + 1;
        open.hash = content_hash(open.hash, schema, version, envelope.flags, payload);
        Ok(())
    }

    /// The message in the making is whole.
    fn end(&mut self, open: &Open) {
        let block = self.used..open.at;
        let bytes = self.counts.bytes + (open.at + BLOCK_HEAD_BYTES) as u64;
        if bytes > self.bytes_max {
            self.broken = Some(Unrecorded::Bound);
            self.unrecorded(Unrecorded::Bound, 1);
            return;
        }
        seal(&mut self.room[block], &open.about, open.frames, open.hash);
        self.used = open.at;
        self.hash = open.hash;
        self.counts.messages += 1;
        self.counts.frames += open.frames as u64;
        self.gathered.0 += 1;
        self.gathered.1 += open.frames as u64;
    }

    /// Counts frames that never came.
    pub fn note_lost(&mut self, frames: u64) {
        self.counts.frames_lost += frames;
    }

    /// Writes out the whole messages that are gathered. One in the making is kept.
    pub fn flush(&mut self, io: &mut Driver) {
        let mut written = 0;
        while written < self.used {
            match io.file_write(self.file, &self.room[written..self.used]) {
                Ok(more) if more > 0 => written += more,
                failed => {
                    let error = failed.err();
                    let error =
                        error.unwrap_or(const { IoError::new(IoErrorKind::Other, "write") });
                    return self.give_up(io, written, error);
                }
            }
        }
        self.counts.bytes += self.used as u64;
        self.written_hash = self.hash;
        self.forget_gathered();
    }

    fn forget_gathered(&mut self) {
        if let Some(open) = &mut self.open {
            self.room.copy_within(self.used..open.at, 0);
            open.at -= self.used;
        }
        self.used = 0;
        self.gathered = (0, 0);
    }

    /// Cuts the file back to whole messages, and writes no more.
    #[cold]
    fn give_up(&mut self, io: &mut Driver, written: usize, error: IoError) {
        let (mut whole, mut messages, mut frames) = (0, 0, 0);
        while let Ok((message, bytes)) =
            crate::frame::capture::CapturedMessage::parse(&self.room[whole..written])
        {
            whole += bytes;
            messages += 1;
            frames += message.frames as u64;
            self.written_hash = message.hash;
        }
        self.counts.bytes += whole as u64;
        if whole < written {
            // A file that cannot be cut keeps a part of a block at its end, which a reader names.
            let _ = io.file_set_len(self.file, self.counts.bytes);
        }
        let why = match error.kind {
            IoErrorKind::DiskFull => Unrecorded::DiskFull,
            _ => Unrecorded::WriteFailed,
        };
        self.unrecorded(why, self.gathered.0 - messages);
        self.counts.messages -= self.gathered.0 - messages;
        self.counts.frames -= self.gathered.1 - frames;
        self.hash = self.written_hash;
        self.broken = Some(why);
        self.error = Some(error);
        self.forget_gathered();
    }

    /// What it did so far.
    #[must_use]
    pub fn counts(&self) -> CaptureCounts {
        self.counts
    }

    /// The content hash of what is in the file, or about to be.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// What kept it from writing, if something did.
    #[must_use]
    pub fn error(&self) -> Option<&IoError> {
        self.error.as_ref()
    }

    /// Writes out what is gathered and the end, and closes the file.
    pub fn close(mut self, io: &mut Driver, why: WhyEnded) -> (CaptureCounts, Option<IoError>) {
        if self.open.take().is_some() {
            self.unrecorded(Unrecorded::Torn, 1);
        }
        self.flush(io);
        if self.error.is_none() {
            let why = match self.broken {
                Some(_) => WhyEnded::Bound,
                None => why,
            };
            let end = CaptureEnd {
                why: Some(why),
                messages: self.counts.messages,
                frames_lost: self.counts.frames_lost,
                unrecorded: self.counts.unrecorded_total(),
                hash: self.hash,
            };
            let block = end.encode();
            self.room[..block.len()].copy_from_slice(&block);
            self.used = block.len();
            self.flush(io);
        }
        let closed = io.file_close(self.file).err();
        (self.counts, self.error.or(closed))
    }
}
