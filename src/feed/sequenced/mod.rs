//! One feed of messages out of one or two lines of packets that lose, repeat and reorder.
//!
//! Bytes of datagrams and the time go in; messages in order come out, each once, with what was lost
//! before it. It is the same for both transports of [`packets`](crate::feed::packets).
//!
//! **Words.** A *session* names a numbering that counts from 1. An *era* is one run of such a
//! numbering: a session that starts again from 1 is another era of the same session. *Position* is
//! the sequence that is due next. A *gap* is a sequence before one that is known to have been sent
//! and has come on no line yet.
//!
//! **Two lines** carry the same packets. Of each message the first copy counts, wherever it came
//! from; the other is a duplicate. A gap is open only for what no line has brought.
//!
//! **Waiting.** Messages behind a gap are held, copied, in a window of so many sequences. The gap is
//! given up, and what is missing in it is *lost*, when
//! - a held message has waited for the deadline: none waits longer ([`Why::Deadline`]),
//! - a message comes that would lie beyond the window ([`Why::Window`]), or
//! - its era ends ([`Why::Session`], [`Why::Restart`], [`Why::Finished`]).
//!
//! Heartbeats and ends of sessions tell of gaps too; one that only they tell of is given up after the
//! deadline, or, where they tell of ever more meanwhile, after two. A copy that comes when its message
//! was given up is *late*: counted, not handed out, for order is the promise.
//!
//! **Eras end** when a line brings a session that is new, or falls back to sequence 1 in the session
//! that it is in: from farther than the window, or after it was quiet for the deadline (else it is
//! one more copy of a first packet). What the other line still brings of an era that is over is
//! counted as *stragglers*. It joins the new era by itself: when its own numbering falls, or when it
//! was quiet for the deadline. A session that was left is taken up again, and a numbering that fell to
//! something other than 1 is believed, only when the feed has gone stale.
//!
//! **States**
//!
//! | state | is | until |
//! |---|---|---|
//! | live | nothing is missing | |
//! | recovering | messages were lost, or it was joined midway | [`Params::heals_after`], an era from 1, or [`Sequenced::resynced`] |
//! | gap | something is missing that may yet come | it comes, or is given up |
//! | stale | no line brought anything up to date for so long | one does |
//!
//! Every message carries the worst of the state that is and those entered since the message before it, so
//! that who looks at nothing but messages misses none; changes are events besides.
//!
//! **Lost, exactly.** In each era: sequences from its first to the last known to be sent = delivered +
//! lost + held + still missing. On each line: messages = first copies + duplicates + late + old +
//! stragglers + not held; its own losses are counted apart from those of the union.
//!
//! | file | what it knows |
//! |---|---|
//! | `engine` | the rules above |
//! | `line` | what one line brought and passed over |
//! | `counts` | what is counted |
//! | `window` | the messages held |
//! | `past` | which of the last sequences were there |
//!
//! Invariant: no clock, no socket, nothing random: the same calls give the same messages. Memory is
//! allocated by [`Sequenced::new`] only, and no datagram panics.

mod counts;
mod engine;
mod line;
mod past;
mod window;

use crate::feed::packets::{Session, Transport};

pub use counts::{LineCounts, UnionCounts};
pub use engine::Sequenced;

/// Most lines of a feed: A and B.
pub const LINES_MAX: usize = crate::base::limits::FEED_LINES_MAX;

/// Fewest messages of a window: the marks of sequences are words of 64.
pub const WINDOW_MESSAGES_MIN: usize = 64;

/// Most messages of a window: eight bursts of 8,000.
pub const WINDOW_MESSAGES_MAX: usize = 1 << 16;

/// Most bytes of a message that is held; datagrams have no more than this.
pub const MESSAGE_BYTES_MAX: usize = 1 << 16;

/// Most memory of a window, in bytes.
pub const WINDOW_BYTES_MAX: usize = 1 << 28;

/// Fewest sequences that are remembered to tell duplicates from late copies: half a kilobyte of marks,
/// so that a small window does not call a second copy old.
pub(crate) const PAST_MIN: usize = 1 << 12;

/// How many windows back they are remembered.
pub(crate) const PAST_WINDOWS: usize = 4;

/// Eras that are remembered after they ended, so that stragglers are known for what they are: a line that
/// is this many restarts behind begins another.
pub(crate) const ERAS_KEPT: usize = 8;

/// Where the first era of a feed begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// At 1: what was sent before the first packet is missing.
    AtOne,
    /// Wherever the first packet is: what was sent before is none of this run.
    AtFirst,
}

/// How a feed is sequenced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Params {
    /// The transport, and which of its packets are meant.
    pub transport: Transport,
    /// Lines, 1 or 2.
    pub lines: usize,
    /// Where the first era begins.
    pub join: Join,
    /// Messages that are held behind a gap: a power of two from [`WINDOW_MESSAGES_MIN`] to
    /// [`WINDOW_MESSAGES_MAX`].
    pub window_messages: usize,
    /// Longest message that is held, in bytes; a longer one that comes before its turn counts as
    /// not held. From 1 to [`MESSAGE_BYTES_MAX`] - 1.
    pub window_message_bytes: usize,
    /// How long a message is held at most, in nanoseconds, from 1.
    pub deadline_ns: u64,
    /// After how long without anything up to date the feed is stale, in nanoseconds, from the deadline
    /// on.
    pub stale_ns: u64,
    /// How many messages in unbroken order end the state of recovering; 0: none, somebody has to say
    /// so. Where each message says all there is of its part (price levels, quotes) the feed heals by
    /// itself; orders do not.
    pub heals_after: u64,
}

impl Params {
    /// Two lines from the beginning, a window of 8,192 messages of 128 bytes (1 MiB; a burst of
    /// 8,000 fits in), a deadline of 2 ms, stale after 3 s (three heartbeats a second apart), not
    /// healing by itself.
    #[must_use]
    pub const fn of(transport: Transport) -> Params {
        Params {
            transport,
            lines: 2,
            join: Join::AtOne,
            window_messages: 8_192,
            window_message_bytes: 128,
            deadline_ns: 2_000_000,
            stale_ns: 3_000_000_000,
            heals_after: 0,
        }
    }

    /// Bytes that a feed of these parameters allocates, but for a few hundred.
    #[must_use]
    pub const fn memory_bytes(&self) -> usize {
        let window = self.window_messages;
        let marks = self.past_marks() / 8 * (self.lines + 1);
        window * (self.window_message_bytes + 32) + window / 8 + marks
    }

    pub(crate) const fn past_marks(&self) -> usize {
        let marks = self.window_messages * PAST_WINDOWS;
        if marks > PAST_MIN { marks } else { PAST_MIN }
    }

    pub(crate) fn check(&self) -> Result<(), ParamsError> {
        if !(1..=LINES_MAX).contains(&self.lines) {
            return Err(ParamsError::Lines(self.lines));
        }
        let window = self.window_messages;
        if !window.is_power_of_two()
            || !(WINDOW_MESSAGES_MIN..=WINDOW_MESSAGES_MAX).contains(&window)
        {
            return Err(ParamsError::Window(window));
        }
        if !(1..MESSAGE_BYTES_MAX).contains(&self.window_message_bytes) {
            return Err(ParamsError::MessageBytes(self.window_message_bytes));
        }
        if self.memory_bytes() > WINDOW_BYTES_MAX {
            return Err(ParamsError::Memory(self.memory_bytes()));
        }
        if self.deadline_ns == 0 || self.stale_ns < self.deadline_ns {
            return Err(ParamsError::Spans);
        }
        Ok(())
    }
}

/// Why a feed cannot be sequenced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParamsError {
    /// Not 1 or 2 lines.
    #[error("{0} lines; a feed has 1 or 2")]
    Lines(usize),
    /// No window of that size.
    #[error(
        "a window of {0} messages; a power of two from {WINDOW_MESSAGES_MIN} to {WINDOW_MESSAGES_MAX} is possible"
    )]
    Window(usize),
    /// No message is that long.
    #[error("held messages of at most {0} bytes; 1 to 65535 is possible")]
    MessageBytes(usize),
    /// Too much memory.
    #[error(
        "the window would take {0} bytes, more than {WINDOW_BYTES_MAX}; fewer or shorter messages fit"
    )]
    Memory(usize),
    /// Times that make no sense.
    #[error("a deadline is from 1 ns, and a feed is stale no sooner than that")]
    Spans,
}

/// What can be relied on, best first.
#[hopline::frame_part]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum State {
    /// Nothing is missing.
    Live = 0,
    /// Messages were lost, and what was built from them has not been made whole.
    Recovering = 1,
    /// Something is missing that may yet come.
    Gap = 2,
    /// Nothing was heard for too long, or ever.
    Stale = 3,
}

impl State {
    /// All of them, best first.
    pub const ALL: [State; 4] = [State::Live, State::Recovering, State::Gap, State::Stale];

    /// The name, as reports print it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            State::Live => "live",
            State::Recovering => "recovering",
            State::Gap => "gap",
            State::Stale => "stale",
        }
    }
}

crate::reasons! {
    /// Why messages were given up.
    pub enum Why {
        /// A message behind them had waited for the deadline, or a heartbeat had told of them that long ago.
        Deadline = "deadline",
        /// A message came that lay too far ahead to be held.
        Window = "window",
        /// A new session began.
        Session = "session_changed",
        /// The session began again from 1.
        Restart = "restarted",
        /// The run ended.
        Finished = "finished",
    }
}

/// A message, in its turn.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// The session that it is of.
    pub session: Session,
    /// The era, counted from 1.
    pub era: u64,
    /// Its sequence.
    pub sequence: u64,
    /// The line whose copy this is.
    pub line: u8,
    /// The worst of the state that is and those entered since the message before it.
    pub state: State,
    /// Whether it is the first of its era: what was built from earlier ones is void.
    pub begins: bool,
    /// How many messages were lost right before it, in its era: those with the sequences from
    /// `sequence - lost` on.
    pub lost: u64,
    /// How many were lost at the ends of earlier eras since the message before it.
    pub lost_earlier: u64,
    /// When its copy came in, in nanoseconds of the caller's clock.
    pub received_ns: u64,
    /// The message.
    pub bytes: &'a [u8],
}

/// What happens beside messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// An era begins.
    Began {
        /// Its session.
        session: Session,
        /// Its number, from 1.
        era: u64,
        /// Its first sequence that matters: 1, or where the feed was joined.
        first: u64,
    },
    /// The state changed.
    State(State),
    /// Messages were given up: those from `first` on and before `end`.
    Lost {
        /// Their session.
        session: Session,
        /// Their era.
        era: u64,
        /// The first of them.
        first: u64,
        /// The one after the last of them.
        end: u64,
        /// Why.
        why: Why,
    },
    /// The session said that it is over, and all of it was handed out or given up.
    Ended {
        /// The session.
        session: Session,
        /// The sequence that never came to be.
        next: u64,
    },
}

/// Takes what a feed hands out. Calls come in the order in which things happen.
pub trait Sink {
    /// A message, in its turn.
    fn message(&mut self, delivery: &Delivery<'_>);

    /// Something else. What matters of it is in the next message too.
    fn event(&mut self, event: Event) {
        let _ = event;
    }
}
