//! Why a frame did not go on: closed enums, so that a counter exists for every case.

use core::fmt;

/// A closed set of reasons; [`reasons!`](crate::reasons) writes the implementation.
pub trait Reason: Copy + fmt::Debug + Send + 'static {
    /// The names, in the order of the variants, as reports print them.
    const NAMES: &'static [&'static str];

    /// This reason's place in [`Reason::NAMES`].
    fn index(self) -> usize;

    /// This reason's name.
    fn name(self) -> &'static str {
        Self::NAMES[self.index()]
    }
}

/// Declares a closed enum of reasons with the name that reports print for each.
///
/// ```
/// hopline::reasons! {
///     /// Why the spread stage ends a quote.
///     pub enum Why {
///         /// The spread is too tight to trade.
///         Tight = "tight",
///     }
/// }
/// use hopline::base::Reason;
/// assert_eq!(Why::Tight.name(), "tight");
/// ```
#[macro_export]
macro_rules! reasons {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($(#[$vmeta:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        $vis enum $name { $($(#[$vmeta])* $variant),+ }

        impl $name {
            /// All of them, in order.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];
        }

        impl $crate::base::Reason for $name {
            const NAMES: &'static [&'static str] = {
                const NAMES: &[&str] = &[$($text),+];
                assert!(NAMES.len() <= $crate::base::limits::REASONS_MAX);
                NAMES
            };
            #[inline]
            fn index(self) -> usize { self as usize }
        }
    };
}

/// The reasons of a stage that never absorbs nor rejects: there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoWhy {}

impl Reason for NoWhy {
    const NAMES: &'static [&'static str] = &[];

    fn index(self) -> usize {
        match self {}
    }
}

reasons! {
    /// Why a producer did not put a message on a hop.
    pub enum Shed {
        /// The ring was full and the policy is `drop_newest`, or `overflow` into a file that had no room either.
        Full = "full",
        /// The ring was full and the policy is `reject`: the producing stage was told.
        Rejected = "rejected",
        /// The message has more fragments than the ring has slots; it could never fit.
        Oversize = "oversize",
        /// The consumer is gone.
        Closed = "closed",
        /// A newer message of the same key took its place while it waited for room.
        Conflated = "conflated",
        /// It was not the one in so many that a hop takes while it is filled.
        Sampled = "sampled",
        /// More messages came than the hop's rate lets through.
        RateLimited = "rate_limited",
        /// By the time its turn would come it would be too old.
        Hopeless = "hopeless",
        /// The hop has degraded as far as to shed what is not protected.
        Degraded = "degraded",
        /// The hop has degraded to the last rung, at which it refuses everything.
        Refused = "refused",
        /// The ring was full and the message went to another hop, or to who writes it into a file.
        Overflowed = "overflowed",
        /// The ring was full for longer than a producer may be held back.
        BlockTimeout = "block_timeout",
        /// The consumer was too slow for a broadcast and was cut off.
        Disconnected = "disconnected",
        /// Its key was being moved to another hop, and what was queued of it had to be taken first.
        Moving = "moving",
        /// The stage emitted more frames for one input than it declares; room for them was never
        /// secured.
        Undeclared = "undeclared_emission",
    }
}

reasons! {
    /// Why a message that a hop had accepted was never delivered.
    pub enum Discard {
        /// The consuming stage had failed.
        StageFailed = "stage_failed",
        /// The drain's deadline passed with the message still queued.
        DrainDeadline = "drain_deadline",
        /// The payload did not pass the check of its kind.
        Malformed = "malformed",
        /// A second signal ended the run.
        Aborted = "aborted",
        /// It was too old when its turn came.
        Late = "late",
        /// It had waited for more than twice the target of a queue that was too long for too long.
        Stale = "stale",
        /// It was the oldest of a queue that was nearly full.
        Oldest = "oldest",
    }
}

reasons! {
    /// Why an ingress refused what it received.
    pub enum Reject {
        /// Not valid UTF-8.
        NotUtf8 = "not_utf8",
        /// The text line is not `<nanoseconds> <json>`.
        BadLine = "bad_line",
        /// Not JSON, or cut off in the middle.
        NotJson = "not_json",
        /// No message kind of this feed.
        UnknownKind = "unknown_kind",
        /// A field that the kind needs is absent.
        MissingField = "missing_field",
        /// A value has the wrong type.
        WrongType = "wrong_type",
        /// A number has more digits than its scale or its width can hold.
        BeyondScale = "beyond_scale",
        /// Longer than the largest message.
        TooLong = "too_long",
        /// More price levels than the largest message carries.
        TooManyLevels = "too_many_levels",
        /// A symbol that this source does not carry.
        UnknownSymbol = "unknown_symbol",
        /// The input ended inside a message or inside its compressed stream.
        Truncated = "truncated",
        /// A compressed stream that does not decompress.
        Corrupt = "corrupt",
        /// Encoded for a schema or version that this line does not know.
        UnknownSchema = "unknown_schema",
        /// A datagram in fragments of IP, which a capture's reader does not join; the first of them counts.
        Fragmented = "fragmented",
        /// A packet of a link whose headers are not known.
        UnknownLink = "unknown_link",
        /// Headers of a packet or a file that contradict themselves.
        BadHeader = "bad_header",
        /// Nothing in it.
        Empty = "empty",
        /// Received or waiting to be taken in, and not decoded when the run was ended.
        LineEnded = "line_ended",
        /// A number that is NaN or infinite.
        NotFinite = "not_finite",
        /// A metric without a name.
        EmptyName = "empty_name",
        /// The name of a metric, or of its field, is longer than the bound.
        NameTooLong = "name_too_long",
        /// More tags, or more bytes of them, than the bound.
        TagsTooLong = "tags_too_long",
        /// Tags that do not follow the format's grammar.
        BadTags = "bad_tags",
        /// A sample rate that is no number above 0 and up to 1.
        BadRate = "bad_rate",
        /// A timestamp that is none, or none that nanoseconds in 64 bits can hold.
        BadTime = "bad_time",
        /// A backslash at the end of a name, which escapes nothing.
        BadEscape = "bad_escape",
        /// An event whose lengths do not fit it.
        BadEvent = "bad_event",
        /// A service check without a name or with an unknown status.
        BadCheck = "bad_check",
        /// A packet of another feed, or of another channel of it.
        OtherFeed = "other_feed",
        /// A packet of a sequenced feed with a sequence that cannot be.
        BadSequence = "bad_sequence",
        /// A packet whose counts contradict its bytes.
        BadCount = "bad_count",
        /// A message of a sequenced feed that came when its turn was over: given up, of a session that has
        /// ended, or from before the feed was joined.
        OutOfTurn = "out_of_turn",
        /// What carries it breaks the rules of its protocol.
        Violation = "violation",
    }
}

reasons! {
    /// Why a source's connection ended.
    pub enum Hangup {
        /// The peer closed it between two messages.
        Finished = "finished",
        /// The peer closed it inside a message; that message is rejected as truncated.
        CutOff = "cut_off",
        /// It broke off.
        Reset = "reset",
        /// The peer announced a message over the limit, so where the next one begins is unknown.
        TooLong = "too_long",
        /// The source had as many connections as it may; this one was closed before it was read.
        TooMany = "too_many",
        /// The system failed; the source's fault says why.
        Failed = "failed",
        /// The line was ended.
        Ended = "ended",
        /// The peer broke the protocol.
        Violation = "violation",
        /// Nothing came from the peer for too long, or no answer to a ping: half-open.
        Silent = "silent",
        /// The peer was there and its data was not, for too long.
        Stale = "stale",
    }
}

reasons! {
    /// Why a connection that a client keeps open, or a try at one, ended.
    pub enum Lost {
        /// The peer's host has no address that is known.
        Unresolved = "unresolved",
        /// Nobody listens there, or there is no way there.
        Refused = "refused",
        /// The dial took too long.
        ConnectTimeout = "connect_timeout",
        /// The handshake took too long.
        HandshakeTimeout = "handshake_timeout",
        /// The peer answered the handshake with a refusal.
        HandshakeRefused = "handshake_refused",
        /// The peer's answer to the handshake is none.
        HandshakeBad = "handshake_bad",
        /// The peer closed in good order.
        Closed = "closed",
        /// The connection ended without a close.
        CutOff = "cut_off",
        /// The connection was reset, or broke.
        Reset = "reset",
        /// Nothing came in for too long: half-open.
        Silent = "silent",
        /// No answer to a ping came for too long.
        NoPong = "no_pong",
        /// No data came for too long.
        Stale = "stale",
        /// The peer sent what is over a limit.
        TooLong = "too_long",
        /// The peer broke the protocol.
        Violation = "violation",
        /// What was to be sent found no room for too long, or at all.
        OutputFull = "output_full",
        /// The session was stopped, and the peer agreed.
        Stopped = "stopped",
        /// The session was stopped, and the peer did not agree in time.
        CloseTimeout = "close_timeout",
    }
}

reasons! {
    /// Why a ring is closed.
    pub enum Cause {
        /// The other side has finished in good order.
        Finished = "finished",
        /// The other side failed.
        Failed = "failed",
        /// The line is being ended at once.
        Aborted = "aborted",
        /// The other side's handle was dropped without a word.
        Dropped = "dropped",
    }
}
