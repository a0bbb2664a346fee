//! Where frames leave the line.

use crate::base::{Envelope, Reason};
use crate::frame::KindInfo;
use crate::io::{Driver, IoError};

/// How a fault begins that is a failure of a file, a socket or a disk, and not of the program.
pub const IO_FAULT: &str = "i/o: ";

/// A frame as a sink sees it.
#[derive(Clone, Copy, Debug)]
pub struct Leaving<'a> {
    /// The hop's words.
    pub envelope: &'a Envelope,
    /// The payload.
    pub payload: &'a [u8],
}

/// What a sink says of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It has left the line, or is in the sink's own bounded buffer.
    Sent,
    /// A fragment whose message is not complete yet.
    Part,
    /// Refused, by the index of the reason in [`Egress::reasons`].
    Rejected(u8),
    /// In the sink's own queue, and out of the line only when [`Egress::send_queued`] says so. For
    /// a message of fragments, of its last one.
    Queued,
    /// Not now: the frame stays on the hop, and its producer is held back in the end.
    NotNow,
}

/// Refused for that reason, of a sink whose [`Egress::reasons`] are the reason's names.
impl<W: Reason> From<W> for Delivery {
    fn from(why: W) -> Delivery {
        Delivery::Rejected(why.index() as u8)
    }
}

/// Takes frames out of the line. Runs on the line's loop: it must not block.
pub trait Egress: Send + 'static {
    /// The kinds it takes; empty means any.
    fn takes(&self) -> &'static [KindInfo] {
        &[]
    }

    /// Names of its reasons to reject.
    fn reasons(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether its frames count towards the objective from end to end. Logs do not.
    fn in_objective(&self) -> bool {
        true
    }

    /// Bytes that it allocates for itself.
    fn memory_bytes(&self) -> usize {
        0
    }

    /// Opens what it needs.
    ///
    /// # Errors
    /// What could not be opened and why.
    fn open(&mut self, io: &mut Driver) -> Result<(), IoError>;

    /// Takes one frame.
    fn on_frame(&mut self, frame: Leaving<'_>, io: &mut Driver) -> Delivery;

    /// Most messages that it keeps [queued](Delivery::Queued).
    fn queue_max(&self) -> usize {
        0
    }

    /// Sends the oldest of what it has [queued](Delivery::Queued), in order: what became of how many.
    ///
    /// Asked at the end of each turn until nothing is queued, or until it answers
    /// [`Delivery::NotNow`] because the outside takes no more; then again in the next turn.
    fn send_queued(&mut self, _io: &mut Driver) -> Option<(Delivery, usize)> {
        None
    }

    /// Passes on what is buffered; runs when frames were taken and no more are waiting, or none can
    /// be taken now.
    ///
    /// # Errors
    /// A failure that the report must name; the sink goes on.
    fn flush(&mut self, _io: &mut Driver) -> Result<(), IoError> {
        Ok(())
    }

    /// Whether something of what was taken waits here for the outside. Asked after each flush: then
    /// the next turn flushes again, and the node does not end before a drain's deadline.
    fn pending(&self) -> bool {
        false
    }

    /// Looks after its I/O now and then: `now_ns` is the line's clock.
    fn housekeep(&mut self, _now_ns: u64, _io: &mut Driver) {}

    /// The node is ended from outside: what cannot be passed on now is lost, and is counted as
    /// [`Egress::lost`].
    ///
    /// # Errors
    /// A failure that the report must name.
    fn give_up(&mut self, io: &mut Driver) -> Result<(), IoError> {
        self.flush(io)
    }

    /// Passes on the last of it and closes.
    ///
    /// # Errors
    /// A failure that the report must name.
    fn close(&mut self, io: &mut Driver) -> Result<(), IoError> {
        self.flush(io)
    }

    /// Messages that were [`Delivery::Sent`] into the sink's buffer and did not leave after all, by
    /// the index of the reason, once: the ledger takes them back. Asked after each flush until there
    /// is nothing more to tell.
    fn lost(&mut self) -> Option<(u8, u64)> {
        None
    }

    /// What went wrong on the way, in words, once.
    fn fault(&mut self) -> Option<String> {
        None
    }
}
