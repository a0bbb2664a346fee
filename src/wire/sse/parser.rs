//! The client's side: events from a stream of bytes.
//!
//! Invariant: the same events come out however the stream was cut; an event of which a part is
//! missing does not come out at all, and is counted with its reason.

use core::fmt;

use memchr::memchr2;

use crate::base::Reason;

/// Longest line of a parser that names no bound, in bytes: the largest message of the edge in one
/// line, with its field's name.
pub const LINE_BYTES_DEFAULT: usize = (64 << 10) + 16;

/// Most data of one event of a parser that names no bound, in bytes: as much.
pub const EVENT_BYTES_DEFAULT: usize = 64 << 10;

/// Longest id that is kept, in bytes: it goes back to the server in one header, which has little
/// room beside the others.
pub const ID_BYTES_MAX: usize = 1 << 10;

/// Longest type of an event, in bytes: a name.
pub const TYPE_BYTES_MAX: usize = 256;

/// What a parser may take up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest line, in bytes, without its end.
    pub line_bytes_max: usize,
    /// Most data of one event, in bytes, with the line's ends between its lines.
    pub event_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            line_bytes_max: LINE_BYTES_DEFAULT,
            event_bytes_max: EVENT_BYTES_DEFAULT,
        }
    }
}

impl Limits {
    /// Most bytes of memory that a parser with these limits holds: a line, the data of an event, its
    /// type and two ids.
    #[must_use]
    pub const fn memory_bytes(self) -> usize {
        self.line_bytes_max + self.event_bytes_max + 1 + TYPE_BYTES_MAX + 2 * ID_BYTES_MAX
    }
}

crate::reasons! {
    /// Why an event did not come out.
    pub enum Dropped {
        /// A line of it was longer than a line may be.
        LineTooLong = "line_too_long",
        /// It had more data than an event may have.
        EventTooLong = "event_too_long",
        /// Its type was longer than a type may be.
        TypeTooLong = "type_too_long",
        /// Its id was longer than what is kept: the place in the stream is the one before.
        IdTooLong = "id_too_long",
        /// The stream ended inside it (section 9.2.6: it is not dispatched).
        Truncated = "truncated",
    }
}

/// What came in. It lives until the parser is asked for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// An event.
    Event {
        /// Its type; `message` if it named none.
        event: &'a [u8],
        /// Its data, whose lines are parted by `\n`. Whether it is UTF-8 is for its reader to say.
        data: &'a [u8],
        /// The id that the stream has reached with it: its own, or the last one before; empty if
        /// there was none.
        id: &'a [u8],
    },
    /// The time that the server wants a client to wait before it reconnects, in milliseconds.
    Retry(u64),
    /// An event that did not come out, and why.
    Dropped(Dropped),
}

/// What a parser has seen. Counts only rise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SseCounts {
    /// Bytes taken.
    pub bytes: u64,
    /// Events that came out.
    pub events: u64,
    /// Comments: heartbeats, mostly.
    pub comments: u64,
    /// Lines with a field that means nothing, or a value that its field cannot have.
    pub ignored: u64,
    dropped: [u64; Dropped::ALL.len()],
}

impl SseCounts {
    /// Events that did not come out for that reason.
    #[must_use]
    pub fn dropped(&self, why: Dropped) -> u64 {
        self.dropped[why.index()]
    }
}

/// Where in the stream's bytes the parser is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// So many bytes of a byte order mark have come, and nothing else.
    Mark(u8),
    /// In a line.
    Line,
    /// Behind a `\r`: a `\n` belongs to it.
    Return,
    /// In a line that is too long; it is passed over to its end.
    Skip,
}

const MARK: &[u8; 3] = b"\xef\xbb\xbf";

/// What a line came to.
#[derive(Clone, Copy)]
enum Made {
    Nothing,
    Event,
    Retry(u64),
    Dropped(Dropped),
}

/// Finds the events in a stream that comes in any cuts.
///
/// ```
/// use hopline::wire::sse::{Incoming, Limits, Parser};
/// let mut parser = Parser::new(Limits::default());
/// let mut piece: &[u8] = b"id: 1\ndata: one\nda";
/// assert_eq!(parser.poll(&mut piece), None);
/// let mut piece: &[u8] = b"ta:two\r\n\r\n";
/// let expected = Incoming::Event { event: b"message", data: b"one\ntwo", id: b"1" };
/// assert_eq!(parser.poll(&mut piece), Some(expected));
/// assert_eq!(parser.last_event_id(), b"1");
/// ```
#[derive(Clone)]
pub struct Parser {
    limits: Limits,
    at: At,
    /// The line in hand, as far as it came in earlier pieces.
    line: Vec<u8>,
    data: Vec<u8>,
    kind: Vec<u8>,
    /// The id of the event in hand, and the one that the stream has reached.
    id: Vec<u8>,
    last_id: Vec<u8>,
    /// Whether a field of the event in hand has come.
    inside: bool,
    /// Why the event in hand will not come out.
    spoiled: Option<Dropped>,
    /// The event in hand was given out: what it had goes before the next line.
    given: bool,
    counts: SseCounts,
}

impl fmt::Debug for Parser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parser")
            .field("at", &self.at)
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

impl Parser {
    /// A parser at the beginning of a stream. Memory is taken as it is needed, up to
    /// [`Limits::memory_bytes`].
    #[must_use]
    pub fn new(limits: Limits) -> Parser {
        Parser {
            limits,
            at: At::Mark(0),
            line: Vec::new(),
            data: Vec::new(),
            kind: Vec::new(),
            id: Vec::new(),
            last_id: Vec::new(),
            inside: false,
            spoiled: None,
            given: false,
            counts: SseCounts::default(),
        }
    }

    /// Begins another stream: what is in hand is forgotten, but not the last id.
    pub fn restart(&mut self) {
        self.at = At::Mark(0);
        self.line.clear();
        self.clear_event();
        self.id.clone_from(&self.last_id);
    }

    /// The id that the stream has reached: send it as [`LAST_EVENT_ID`](super::LAST_EVENT_ID) when
    /// another connection goes on from here. Empty if there was none.
    #[must_use]
    pub fn last_event_id(&self) -> &[u8] {
        &self.last_id
    }

    /// What it has seen.
    #[must_use]
    pub fn counts(&self) -> &SseCounts {
        &self.counts
    }

    /// Bytes of memory that it holds now.
    #[must_use]
    pub fn capacity(&self) -> usize {
        let ids = self.id.capacity() + self.last_id.capacity();
        self.line.capacity() + self.data.capacity() + self.kind.capacity() + ids
    }

    /// Takes from `input` and gives what comes next; `None` once all of it is taken.
    pub fn poll(&mut self, input: &mut &[u8]) -> Option<Incoming<'_>> {
        let before = input.len();
        let made = self.take(input);
        self.counts.bytes += (before - input.len()) as u64;
        Some(match made {
            Made::Nothing => return None,
            Made::Retry(wait_ms) => Incoming::Retry(wait_ms),
            Made::Dropped(why) => Incoming::Dropped(why),
            Made::Event => Incoming::Event {
                event: if self.kind.is_empty() {
                    b"message"
                } else {
                    &self.kind
                },
                data: &self.data[..self.data.len() - 1],
                id: &self.last_id,
            },
        })
    }

    /// The stream has ended: an event in hand is dropped, as section 9.2.6 has it.
    pub fn end(&mut self) -> Option<Dropped> {
        let left = !self.line.is_empty() || self.at == At::Skip;
        let cut = left || (self.inside && !self.given);
        self.restart();
        cut.then(|| self.count(Dropped::Truncated))
    }

    fn count(&mut self, why: Dropped) -> Dropped {
        self.counts.dropped[why.index()] += 1;
        why
    }

    fn take(&mut self, input: &mut &[u8]) -> Made {
        while let Some(first) = input.first().copied() {
            match self.at {
                At::Mark(seen) if MARK.get(usize::from(seen)) == Some(&first) => {
                    self.at = At::Mark(seen + 1);
                    *input = &input[1..];
                    if seen + 1 == MARK.len() as u8 {
                        self.at = At::Line;
                    }
                    continue;
                }
                At::Mark(seen) => {
                    // A beginning of a mark that is none belongs to the first line.
                    self.at = At::Line;
                    self.gather(&MARK[..usize::from(seen)]);
                    continue;
                }
                At::Return => {
                    self.at = At::Line;
                    if first == b'\n' {
                        *input = &input[1..];
                        continue;
                    }
                }
                At::Line | At::Skip => {}
            }
            let Some(end) = memchr2(b'\n', b'\r', input) else {
                self.gather(input);
                *input = &[];
                break;
            };
            let (piece, rest) = input.split_at(end);
            let skipped = self.at == At::Skip;
            self.at = if rest[0] == b'\r' {
                At::Return
            } else {
                At::Line
            };
            *input = &rest[1..];
            let made = match (skipped, self.line.is_empty()) {
                (true, _) => Made::Nothing,
                (false, true) if piece.len() <= self.limits.line_bytes_max => self.line(piece),
                (false, _) => {
                    let at = core::mem::replace(&mut self.at, At::Line);
                    self.gather(piece);
                    let whole = self.at == At::Line;
                    self.at = at;
                    let line = core::mem::take(&mut self.line);
                    let made = if whole {
                        self.line(&line)
                    } else {
                        Made::Nothing
                    };
                    self.line = line;
                    self.line.clear();
                    made
                }
            };
            if !matches!(made, Made::Nothing) {
                return made;
            }
        }
        Made::Nothing
    }

    /// Adds to the line in hand, or gives it up.
    fn gather(&mut self, piece: &[u8]) {
        if self.at == At::Skip || piece.is_empty() {
            return;
        }
        if self.line.len() + piece.len() > self.limits.line_bytes_max {
            self.begin_field();
            self.spoil(Dropped::LineTooLong);
            self.line.clear();
            self.at = At::Skip;
        } else {
            append(&mut self.line, piece, self.limits.line_bytes_max);
        }
    }

    fn spoil(&mut self, why: Dropped) {
        self.spoiled.get_or_insert(why);
    }

    fn clear_event(&mut self) {
        self.data.clear();
        self.kind.clear();
        (self.inside, self.given, self.spoiled) = (false, false, None);
    }

    /// A field comes: if the last event was given out, it belongs to another one.
    fn begin_field(&mut self) {
        if self.given {
            self.clear_event();
        }
        self.inside = true;
    }

    /// A whole line (section 9.2.6).
    fn line(&mut self, line: &[u8]) -> Made {
        if line.is_empty() {
            return self.dispatch();
        }
        if line[0] == b':' {
            self.counts.comments += 1;
            return Made::Nothing;
        }
        self.begin_field();
        let (name, value) = match memchr::memchr(b':', line) {
            None => (line, &[][..]),
            Some(colon) => {
                let value = &line[colon + 1..];
                (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
            }
        };
        match name {
            b"data" => {
                let most = self.limits.event_bytes_max + 1;
                if self.data.len() + value.len() + 1 > most {
                    self.spoil(Dropped::EventTooLong);
                } else {
                    append(&mut self.data, value, most);
                    append(&mut self.data, b"\n", most);
                }
            }
            b"event" if value.len() > TYPE_BYTES_MAX => self.spoil(Dropped::TypeTooLong),
            b"event" => {
                self.kind.clear();
                append(&mut self.kind, value, TYPE_BYTES_MAX);
            }
            b"id" if value.contains(&0) => self.counts.ignored += 1,
            b"id" if value.len() > ID_BYTES_MAX => self.spoil(Dropped::IdTooLong),
            b"id" => {
                self.id.clear();
                append(&mut self.id, value, ID_BYTES_MAX);
            }
            b"retry" => match number(value) {
                Some(wait_ms) => return Made::Retry(wait_ms),
                None => self.counts.ignored += 1,
            },
            _ => self.counts.ignored += 1,
        }
        Made::Nothing
    }

    /// An empty line: the event in hand is whole.
    fn dispatch(&mut self) -> Made {
        if self.given {
            self.clear_event();
        }
        self.last_id.clear();
        append(&mut self.last_id, &self.id, ID_BYTES_MAX);
        if let Some(why) = self.spoiled {
            self.clear_event();
            return Made::Dropped(self.count(why));
        }
        if self.data.is_empty() {
            self.clear_event();
            return Made::Nothing;
        }
        self.given = true;
        self.counts.events += 1;
        Made::Event
    }
}

/// The number that the digits are, if they are digits; one of more than 64 bits is the largest.
fn number(digits: &[u8]) -> Option<u64> {
    let good = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    good.then(|| {
        digits.iter().fold(0_u64, |number, digit| {
            number
                .saturating_mul(10)
                .saturating_add(u64::from(digit - b'0'))
        })
    })
}

/// Appends, with a memory that doubles, up to `max` bytes.
fn append(bytes: &mut Vec<u8>, more: &[u8], max: usize) {
    let wanted = bytes.len() + more.len();
    if wanted > bytes.capacity() {
        let to = wanted.max((2 * bytes.capacity()).min(max));
        bytes.reserve_exact(to - bytes.len());
    }
    bytes.extend_from_slice(more);
}
