//! Where messages enter the line.

use core::net::SocketAddr;

use crate::base::Cause;
use crate::budget::IngressCounters;
use crate::clock::Clock;
use crate::io::{Driver, IoError};

use super::hop::Doorbell;
use super::port::Port;
use super::source_context::SourceContext;

/// Whether a source has more to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feed {
    /// There may be more.
    Live,
    /// That was all; the source's hops close.
    Ended,
}

/// Brings messages into the line through the driver. Runs on the line's loop: it must not block.
pub trait Ingress: Send + 'static {
    /// Its output ports.
    fn ports(&self) -> &'static [Port];

    /// Most frames that it emits on one port for one message.
    fn max_emit(&self) -> usize;

    /// Bytes that it allocates for itself.
    fn memory_bytes(&self) -> usize {
        0
    }

    /// Opens what it needs.
    ///
    /// # Errors
    /// What could not be opened and why.
    fn open(&mut self, io: &mut Driver) -> Result<(), IoError>;

    /// The source is joined with its line: the line's clock, and a bell for the loop that it will
    /// run on, if that loop parks. For sources that other threads feed: they ring it after a push.
    fn join(&mut self, _clock: &Clock, _bell: Option<Doorbell>) {}

    /// The line starts: schedules count from `t0_ns` of the line's clock, the same for all sources.
    fn start(&mut self, _t0_ns: u64) {}

    /// Takes a bounded burst of messages.
    fn turn(&mut self, cx: &mut SourceContext<'_, '_>) -> Feed;

    /// Whether a message waits to be taken that nothing else wakes the loop for; asked once more
    /// before it sleeps.
    fn has_input(&mut self) -> bool {
        false
    }

    /// The line drains: refuses what is new, and takes a bounded burst of what it has accepted
    /// already. Called in each turn until it says that this was all.
    fn drain(&mut self, _cx: &mut SourceContext<'_, '_>) -> Feed {
        Feed::Ended
    }

    /// The source ends and takes nothing more, for that cause, which it tells those who feed it: counts what it had
    /// accepted and never took.
    fn abandon(&mut self, _counters: &IngressCounters, _cause: Cause) {}

    /// Messages that it has received and not handed over yet: those of a batch for which there was
    /// no room. They are handed over before a drain ends the source.
    fn in_hand(&self) -> usize {
        0
    }

    /// Whether it may know when the kernel received its messages.
    fn tells_wire(&self) -> bool {
        false
    }

    /// When the next message is due, in nanoseconds of the line's clock, if that is known.
    fn next_due_ns(&self) -> Option<u64> {
        None
    }

    /// Looks after its I/O now and then, and once more before it closes: reads the kernel's drops.
    fn housekeep(&mut self, _io: &mut Driver, _counters: &IngressCounters) {}

    /// The source ends, whatever the cause: what it has in hand is counted, and what it opened closes.
    fn close(&mut self, _io: &mut Driver, _counters: &IngressCounters) {}

    /// What went wrong on the way, in words, once.
    fn fault(&mut self) -> Option<String> {
        None
    }
}

/// A message as an ingress hands it over.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'m> {
    /// Its bytes.
    pub bytes: &'m [u8],
    /// Its intended time, in nanoseconds of the line's clock: the schedule, else the receive time.
    pub t_intended_ns: u64,
    /// Whether it was ready at its intended time, whatever held the source back since: true for a
    /// schedule, false for a socket, where the message was not in hand yet.
    pub scheduled: bool,
    /// When its collector received it, in nanoseconds of the collector's wall clock.
    pub received_wall_ns: Option<u64>,
    /// Who sent it, where that is known.
    pub peer: Option<SocketAddr>,
}
