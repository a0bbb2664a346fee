//! Messages into a connection that the sink makes, and makes again when it is lost.
//!
//! A lone message leaves at once. As soon as a turn brings several, they leave together: one write
//! for all of a turn.
//!
//! Invariant: a connection that takes no more, or is not there, holds the hop back; what was taken and did
//! not leave whole is counted when the connection breaks.

use crate::adapter::outbox::{NoBegin, Outbox, Pushed};
use crate::adapter::stream::framing_from_params;
use crate::adapter::{Trouble, peer, unix_name};
use crate::base::Backoff;
use crate::base::Reason;
use crate::base::limits::{BATCH_FRAMES, MESSAGE_BYTES_MAX, STREAM_MESSAGE_BYTES_DEFAULT};
use crate::feed::datagram::{Datagram, DatagramPart, Datagrams};
use crate::frame::{Frame, Input, KindInfo, View};
use crate::io::{Driver, Endpoint, IoError, IoErrorKind, StreamId, StreamRead, StreamSpec};
use crate::stage::{Delivery, Egress, Leaving};
use crate::topology::{IntoSink, Params, Problem};
use crate::wire::{Framing, Prefix};

/// Bytes that a sink keeps for a connection that takes no more, at least: what Linux sends at once.
const OUTBOX_BYTES: usize = 64 << 10;

crate::reasons! {
    /// Why a message did not leave by a connection.
    pub enum Unwritten {
        /// Its connection broke before it had left whole.
        Broken = "broken",
        /// Longer than the longest message of that connection.
        TooLong = "too_long",
        /// To be sent back, but it came from no connection of that source.
        NoPeer = "no_peer",
        /// The connection that it came from has ended.
        Gone = "gone",
        /// Its client did not read for so long that it was disconnected.
        Stalled = "stalled",
        /// Its fragments do not make a message.
        Malformed = "malformed",
    }
}

/// What a frame is of its message.
pub(super) enum Piece {
    /// The first, of a message of so many bytes.
    Head(Datagram),
    /// A further one.
    Part(DatagramPart),
    /// Neither.
    Wrong,
}

impl Piece {
    #[inline]
    pub(super) fn of(frame: &Leaving<'_>) -> Piece {
        if !frame.envelope.flags.is_first() {
            return match View::<DatagramPart>::read(frame.payload) {
                Ok(part) => Piece::Part(part.to_owned()),
                Err(_) => Piece::Wrong,
            };
        }
        match View::<Datagram>::read(frame.payload) {
            Ok(head) if frame.envelope.kind == Datagram::SCHEMA => Piece::Head(head.to_owned()),
            _ => Piece::Wrong,
        }
    }
}

/// When to write: a lone message at once, several of a turn together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    of_this_turn: usize,
    /// Whether the turn before brought several.
    backlog: bool,
}

impl Pace {
    /// A message is ready: whether it is to be written now.
    #[inline]
    pub(super) fn write_now(&mut self) -> bool {
        self.of_this_turn += 1;
        (self.of_this_turn == 1 && !self.backlog) || self.of_this_turn.is_multiple_of(BATCH_FRAMES)
    }

    /// No more are waiting.
    #[inline]
    pub(super) fn turn_ends(&mut self) {
        self.backlog = self.of_this_turn > 1;
        self.of_this_turn = 0;
    }
}

/// A description of a sink that writes to a connection.
#[derive(Clone, Debug)]
pub struct StreamTo {
    spec: Result<StreamSpec, Problem>,
    prefix: Prefix,
    message_bytes_max: usize,
}

fn stream_to(at: Result<Endpoint, Problem>) -> StreamTo {
    StreamTo {
        spec: at.map(StreamSpec::at),
        prefix: Prefix::default(),
        message_bytes_max: STREAM_MESSAGE_BYTES_DEFAULT,
    }
}

/// Writes each message to a TCP connection to `to`: an address with a port, in numbers. A wrong one
/// is reported when the line is built; nobody there holds the hop back until somebody is.
///
/// ```
/// use hopline::adapter::{datagrams, synthetic, tcp_to, Content};
/// use hopline::topology::{Hop, Line};
/// let mut line = Line::builder("out");
/// let feed = synthetic("BTCUSDT", 1e3).content(Content::Datagrams { bytes: 64 });
/// line.source("in", feed.count(10).decode(datagrams()));
/// line.sink("out", tcp_to("127.0.0.1:26510"));
/// line.connect("in", "out", Hop::depth(256));
/// assert!(line.build().is_ok());
/// ```
#[must_use]
pub fn tcp_to(to: &str) -> StreamTo {
    stream_to(peer("to", to).map(Endpoint::Tcp))
}

/// Writes each message to a connection to the Unix socket `to`: a path, or `@name`.
#[must_use]
pub fn unix_to(to: &str) -> StreamTo {
    stream_to(unix_name("to", to))
}

impl StreamTo {
    /// The same with that length before each message; [`Prefix::U32Be`] if nothing is said.
    #[must_use]
    pub fn framing(mut self, prefix: Prefix) -> StreamTo {
        self.prefix = prefix;
        self
    }

    /// The same for messages of at most that many bytes; longer ones are rejected.
    #[must_use]
    pub fn max_message(mut self, bytes: usize) -> StreamTo {
        self.message_bytes_max = bytes.min(MESSAGE_BYTES_MAX);
        self
    }

    /// The same with `TCP_NODELAY` or without it.
    #[must_use]
    pub fn nodelay(mut self, on: bool) -> StreamTo {
        if let Ok(spec) = &mut self.spec {
            spec.nodelay = on;
        }
        self
    }

    /// From the settings `to`, `framing`, `max_message`, and `nodelay` if `is_tcp`.
    pub(crate) fn from_params(params: &mut Params, is_tcp: bool) -> Result<StreamSink, Problem> {
        let example = if is_tcp {
            "127.0.0.1:26510"
        } else {
            "feed.sock"
        };
        let text = params.need_text("to", example)?;
        let at = if is_tcp {
            peer("to", &text).map(Endpoint::Tcp)
        } else {
            unix_name("to", &text)
        };
        let mut made = stream_to(Ok(at.map_err(|error| error.at(params.place_of("to")))?));
        (made.prefix, made.message_bytes_max) = framing_from_params(params)?;
        if is_tcp {
            made = made.nodelay(params.flag("nodelay", true)?);
        }
        made.make()
    }

    fn make(self) -> Result<StreamSink, Problem> {
        let framing = Framing::new(self.prefix, self.message_bytes_max);
        Ok(StreamSink {
            spec: self.spec?,
            framing,
            outbox: None,
            link: Link::Down(None),
            backoff: Backoff::default(),
            pace: Pace::default(),
            refused: None,
            lost: 0,
            was_up: false,
            last_error: None,
            trouble: Trouble::default(),
        })
    }
}

impl IntoSink for StreamTo {
    fn into_sink(self) -> Result<Box<dyn Egress>, Problem> {
        Ok(Box::new(self.make()?))
    }
}

#[derive(Clone, Copy, Debug)]
enum Link {
    /// Not connected; tried again at that time, or as soon as the time is known.
    Down(Option<u64>),
    Dialing(StreamId),
    Up(StreamId),
}

/// Writes messages to a connection.
#[derive(Debug)]
pub struct StreamSink {
    spec: StreamSpec,
    framing: Framing,
    outbox: Option<Outbox>,
    link: Link,
    backoff: Backoff,
    pace: Pace,
    /// Why the message in hand goes no further.
    refused: Option<Unwritten>,
    /// Messages that were taken and will not leave, not told yet.
    lost: u64,
    was_up: bool,
    /// Why the last try to connect failed.
    last_error: Option<IoError>,
    trouble: Trouble,
}

impl StreamSink {
    #[cold]
    fn dial(&mut self, io: &mut Driver) {
        match io.stream_connect(&self.spec) {
            Ok(id) => {
                self.link = Link::Dialing(id);
                self.look(id, io);
            }
            Err(error) => self.failed(error, None, io),
        }
    }

    /// Looks what became of a connection that was begun.
    #[cold]
    fn look(&mut self, id: StreamId, io: &mut Driver) {
        match io.stream_connected(id) {
            Ok(true) => {
                (self.link, self.was_up, self.last_error) = (Link::Up(id), true, None);
                self.backoff.connected();
            }
            Ok(false) => {}
            Err(error) => self.failed(error, Some(id), io),
        }
    }

    fn failed(&mut self, error: IoError, id: Option<StreamId>, io: &mut Driver) {
        self.last_error = Some(error);
        if let Some(id) = id {
            let _ = io.stream_close(id);
        }
        self.link = Link::Down(None);
    }

    #[cold]
    fn broken(&mut self, id: StreamId, io: &mut Driver) {
        self.lost += self.outbox.as_mut().map_or(0, Outbox::clear);
        let _ = io.stream_close(id);
        self.link = Link::Down(None);
    }

    /// Writes what is complete; whether the connection still stands.
    #[inline]
    fn push(&mut self, io: &mut Driver) -> bool {
        let (Link::Up(id), Some(outbox)) = (self.link, &mut self.outbox) else {
            return false;
        };
        match outbox.push(id, io) {
            Ok(Pushed::Empty | Pushed::Pending) => true,
            Ok(Pushed::Broken) => {
                self.broken(id, io);
                false
            }
            Err(error) => {
                self.trouble.note(error);
                self.broken(id, io);
                false
            }
        }
    }

    #[inline]
    fn put(&mut self, at: usize, bytes: &[u8]) {
        if let Some(outbox) = self.outbox.as_mut().filter(|_| self.refused.is_none()) {
            outbox.put(at, bytes);
        }
    }

    #[inline]
    fn begin(&mut self, len: usize, io: &mut Driver) -> Result<(), NoBegin> {
        match self.link {
            Link::Up(_) => {}
            Link::Down(_) => return Err(NoBegin::Full),
            Link::Dialing(id) => {
                self.look(id, io);
                if !matches!(self.link, Link::Up(_)) {
                    return Err(NoBegin::Full);
                }
            }
        }
        let outbox = self.outbox.as_mut().ok_or(NoBegin::Full)?;
        match outbox.begin(len) {
            Err(NoBegin::Full) if self.push(io) => {
                let outbox = self.outbox.as_mut().ok_or(NoBegin::Full)?;
                outbox.begin(len)
            }
            begun => begun,
        }
    }
}

impl Egress for StreamSink {
    fn takes(&self) -> &'static [KindInfo] {
        Datagrams::KINDS
    }

    fn reasons(&self) -> &'static [&'static str] {
        Unwritten::NAMES
    }

    fn memory_bytes(&self) -> usize {
        size_of::<StreamSink>() + Outbox::bytes(self.framing, OUTBOX_BYTES)
    }

    fn open(&mut self, io: &mut Driver) -> Result<(), IoError> {
        self.outbox = Some(Outbox::new(self.framing, OUTBOX_BYTES));
        self.dial(io);
        Ok(())
    }

    #[inline]
    fn on_frame(&mut self, frame: Leaving<'_>, io: &mut Driver) -> Delivery {
        match Piece::of(&frame) {
            Piece::Head(head) => {
                self.refused = match self.begin(usize::from(head.total), io) {
                    Ok(()) => None,
                    Err(NoBegin::Full) => return Delivery::NotNow,
                    Err(NoBegin::TooLong) => Some(Unwritten::TooLong),
                };
                self.put(0, head.as_slice());
            }
            Piece::Part(part) => self.put(usize::from(part.at), part.as_slice()),
            Piece::Wrong => self.refused = Some(Unwritten::Malformed),
        }
        if !frame.envelope.flags.is_last() {
            return Delivery::Part;
        }
        if let Some(why) = self.refused.take() {
            return why.into();
        }
        if !self.outbox.as_mut().is_some_and(Outbox::commit) {
            return Unwritten::Malformed.into();
        }
        if self.pace.write_now() {
            self.push(io);
        }
        Delivery::Sent
    }

    fn flush(&mut self, io: &mut Driver) -> Result<(), IoError> {
        self.pace.turn_ends();
        if self.pending() {
            self.push(io);
        }
        Ok(())
    }

    fn pending(&self) -> bool {
        matches!(self.link, Link::Up(_))
            && self
                .outbox
                .as_ref()
                .is_some_and(|outbox| !outbox.is_empty())
    }

    fn housekeep(&mut self, now_ns: u64, io: &mut Driver) {
        match self.link {
            Link::Down(None) => self.link = Link::Down(Some(self.backoff.retry_at_ns(now_ns))),
            Link::Down(Some(at_ns)) if at_ns <= now_ns => self.dial(io),
            Link::Down(Some(_)) => {}
            Link::Dialing(id) => self.look(id, io),
            Link::Up(id) => {
                // Nothing is expected back; reading finds out early that the peer has gone.
                let mut unread = [0; 64];
                match io.stream_read(id, &mut unread) {
                    Ok(StreamRead::Bytes(_) | StreamRead::WouldBlock) => {}
                    Ok(StreamRead::End | StreamRead::Reset) | Err(_) => self.broken(id, io),
                }
            }
        }
    }

    fn give_up(&mut self, io: &mut Driver) -> Result<(), IoError> {
        // What is still queued waited for this connection, so it is told even if there was one before.
        self.was_up = false;
        self.close(io)
    }

    fn close(&mut self, io: &mut Driver) -> Result<(), IoError> {
        // It may stand by now, or have failed since the last look.
        if let Link::Dialing(id) = self.link {
            self.look(id, io);
        }
        self.flush(io)?;
        match self.link {
            Link::Up(id) => self.broken(id, io),
            Link::Dialing(id) => {
                let waiting = IoError::new(IoErrorKind::NoAnswer, "connect");
                self.last_error.get_or_insert(waiting);
                drop(io.stream_close(id));
            }
            Link::Down(_) => {}
        }
        self.link = Link::Down(None);
        // In words only where it never came to anything: losing a peer is part of a day.
        if let Some(error) = self.last_error.take().filter(|_| !self.was_up) {
            self.trouble.note(error);
        }
        Ok(())
    }

    fn lost(&mut self) -> Option<(u8, u64)> {
        let count = core::mem::take(&mut self.lost);
        (count > 0).then_some((Unwritten::Broken.index() as u8, count))
    }

    fn fault(&mut self) -> Option<String> {
        self.trouble.tell(&self.spec.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_message_leaves_at_once_and_a_backlog_in_one_write() {
        let mut pace = Pace::default();
        let mut turn = |messages: usize| -> usize {
            let now = (0..messages).filter(|_| pace.write_now()).count();
            pace.turn_ends();
            now
        };
        // What a turn does not write at once, its end writes.
        assert_eq!(
            [turn(1), turn(1), turn(5), turn(5), turn(1), turn(1)],
            [1, 1, 1, 0, 0, 1]
        );
        assert_eq!(
            turn(3 * BATCH_FRAMES),
            1 + 3,
            "a backlog without end is no delay without end"
        );
    }
}
