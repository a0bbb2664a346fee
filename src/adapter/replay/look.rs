//! A recording before a line replays it: what it is, when it begins, and what of it is due by when.
//!
//! Invariant: reads by the rules of the source that replays it; whatever happens, the file is closed again.

use std::path::Path;

use super::{Item, Pace, Recording};
use crate::frame::capture::{CAPTURE_MAGIC, CaptureKind};
use crate::io::{ByteReader, CaptureReader, Driver, Fill, IoError};

/// Bytes that are read at once: of a size that reading a recording is not made of calls.
const FILL_BYTES: usize = 64 << 10;

/// Bytes that are searched for a first message; beyond them the file is its source's to judge.
const PEEK_BYTES: usize = 1 << 20;

/// First bytes of pcap in micro- and nanoseconds, in either byte order, and of pcapng.
const PACKETS: [[u8; 4]; 5] = [
    [0xa1, 0xb2, 0xc3, 0xd4],
    [0xd4, 0xc3, 0xb2, 0xa1],
    [0xa1, 0xb2, 0x3c, 0x4d],
    [0x4d, 0x3c, 0xb2, 0xa1],
    [0x0a, 0x0d, 0x0d, 0x0a],
];

/// What a file is a recording of.
///
/// ```
/// use hopline::adapter::Recorded;
/// use hopline::io::{Driver, VirtualNet};
/// let net = VirtualNet::new();
/// net.put_file("a", b"1723161255030314667 {}\n");
/// net.put_file("b", b"\x0a\x0d\x0d\x0a\x1c\0\0\0");
/// net.put_file("c", b"");
/// let mut io = Driver::from(net.driver());
/// let mut look = |file: &str| Recorded::look(&mut io, file.as_ref());
/// assert_eq!(look("a")?, Some(Recorded::Text));
/// assert_eq!(look("b")?, Some(Recorded::Packets));
/// assert_eq!(look("c")?, None);
/// # Ok::<(), hopline::io::IoError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// Lines of `<nanoseconds> <message>`; also whatever is none of the others, which its source then refuses line by line.
    Text,
    /// What went over a hop, and the kinds of its frames.
    Frames(Vec<CaptureKind>),
    /// Packets of a network: pcap or pcapng.
    Packets,
}

impl Recorded {
    /// What a file is by its first bytes, plain or gzip; `None` if it is empty. Allocates.
    ///
    /// # Errors
    /// The file cannot be read, or begins as a capture of a hop and has no whole head.
    pub fn look(io: &mut Driver, path: &Path) -> Result<Option<Recorded>, IoError> {
        let mut bytes = ByteReader::open(io, path, FILL_BYTES)?;
        let first = first_bytes(io, &mut bytes);
        bytes.close(io)?;
        let first = first.map_err(|error| error.on(&path.display()))?;
        Ok(match first {
            (_, 0) => None,
            (CAPTURE_MAGIC, _) => {
                let reader = CaptureReader::open(io, path)?;
                let kinds = reader.start().kinds.clone();
                reader.close(io)?;
                Some(Recorded::Frames(kinds))
            }
            (first, _) if PACKETS.contains(&first) => Some(Recorded::Packets),
            _ => Some(Recorded::Text),
        })
    }

    /// What it is, in words for a problem.
    pub(crate) fn words(&self) -> &'static str {
        match self {
            Recorded::Text => "lines of text",
            Recorded::Frames(_) => "frames of a hop",
            Recorded::Packets => "packets",
        }
    }
}

/// The first four bytes, and how many of them there are.
fn first_bytes(io: &mut Driver, bytes: &mut ByteReader) -> Result<([u8; 4], usize), IoError> {
    let mut first = [0; 4];
    while bytes.window().len() < first.len() {
        if bytes.fill(io, FILL_BYTES)? == Fill::End {
            break;
        }
    }
    let found = bytes.window().len().min(first.len());
    first[..found].copy_from_slice(&bytes.window()[..found]);
    Ok((first, found))
}

/// Opens a recording, looks at it, and closes it.
fn looked_at<R: Recording, T>(
    io: &mut Driver,
    path: &Path,
    wish: &R::Wish,
    look: impl FnOnce(&mut Driver, &mut R) -> Result<T, IoError>,
) -> Result<T, IoError> {
    let mut recording = R::open(io, path, wish)?;
    let seen = look(io, &mut recording).map_err(|error| error.on(&path.display()));
    recording.close(io)?;
    seen
}

/// The recorded time of the first message, if the first [`PEEK_BYTES`] have one.
pub(super) fn first_ns<R: Recording>(
    io: &mut Driver,
    path: &Path,
    wish: &R::Wish,
) -> Result<Option<u64>, IoError> {
    looked_at(io, path, wish, |io, recording: &mut R| {
        let mut read_bytes = 0;
        loop {
            match recording.next() {
                Some(Item::Message { at_ns, .. }) => return Ok(Some(at_ns)),
                Some(Item::Bad(..)) => continue,
                None => {}
            }
            if recording.at_end() || read_bytes > PEEK_BYTES {
                return Ok(None);
            }
            if let Fill::Progress { text_bytes } = recording.fill(io, FILL_BYTES)? {
                // A file of nothing but gzip frames makes no text; it still must end.
                read_bytes += text_bytes.max(1);
            }
        }
    })
}

/// How many messages are due within `span_ns` of the start.
pub(super) fn due_before<R: Recording>(
    io: &mut Driver,
    path: &Path,
    wish: &R::Wish,
    pace: Pace,
    span_ns: u64,
) -> Result<Option<u64>, IoError> {
    let Some(speed) = pace.speed else {
        return Ok(None);
    };
    looked_at(io, path, wish, |io, recording: &mut R| {
        let (mut due, mut newest_ns, mut epoch_ns) = (0, 0, pace.epoch_ns);
        loop {
            match recording.next() {
                Some(Item::Message { at_ns, .. }) => {
                    // A time before an earlier one is due with that one.
                    newest_ns = at_ns.max(newest_ns);
                    let epoch_ns = *epoch_ns.get_or_insert(at_ns);
                    if super::due_ns(0, newest_ns, epoch_ns, speed) >= span_ns {
                        return Ok(Some(due));
                    }
                    due += 1;
                }
                Some(Item::Bad(..)) => {}
                None => {
                    if recording.at_end() {
                        return Ok(Some(due));
                    }
                    recording.fill(io, FILL_BYTES)?;
                }
            }
        }
    })
}
