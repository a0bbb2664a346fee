//! What a loop noted of its own time, and a hop of each message: what a verdict is made from afterwards.
//!
//! A loop that spins is its own meter of the host: whatever takes the processor away shows as a stretch of time that is far
//! too long for what the loop did in it. Stretches below a floor are not noted; they are summed up by their regimes.
//!
//! Invariant: values only; they are written on the loop and read after its end.

use super::limit::Of;
use super::regime::Regime;

/// What a loop did in a stretch of its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    /// It looked for work and found none.
    Idle,
    /// It received.
    Receive,
    /// A handler had a frame, or a decoder a message.
    Handler,
    /// It sent.
    Send,
    /// There was input, and no room for what it would emit.
    HeldBack,
    /// Paced chores.
    Housekeeping,
    /// It noted a segment and asked the kernel about it.
    Blame,
}

impl Segment {
    /// All of them.
    pub const ALL: [Segment; 7] = [
        Segment::Idle,
        Segment::Receive,
        Segment::Handler,
        Segment::Send,
        Segment::HeldBack,
        Segment::Housekeeping,
        Segment::Blame,
    ];

    /// The word that reports use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Segment::Idle => "idle",
            Segment::Receive => "receive",
            Segment::Handler => "handler",
            Segment::Send => "send",
            Segment::HeldBack => "held_back",
            Segment::Housekeeping => "housekeeping",
            Segment::Blame => "blame",
        }
    }

    /// Of a regime's time, on a node that sends where it does I/O.
    #[must_use]
    pub const fn of(regime: Regime) -> Segment {
        match regime {
            Regime::Work => Segment::Handler,
            Regime::Io => Segment::Send,
            Regime::HeldBack => Segment::HeldBack,
            Regime::Housekeeping => Segment::Housekeeping,
            Regime::Idle => Segment::Idle,
        }
    }

    /// Whether its length alone says that the host took the time: the loop's own share of it is short and always the same.
    #[must_use]
    pub const fn speaks_for_itself(self) -> bool {
        matches!(self, Segment::Idle | Segment::Receive | Segment::Blame)
    }
}

/// What the kernel said of the thread over a segment that does not speak for itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Witness {
    /// Time on no processor, in nanoseconds.
    pub off_cpu_ns: u64,
    /// Times that the thread gave the processor up.
    pub voluntary: u32,
    /// Times that it was taken away.
    pub involuntary: u32,
    /// Page faults.
    pub faults: u32,
}

impl Witness {
    /// Time off the processor from which on it counts: below it, it is the cost of the two readings.
    pub const OFF_CPU_NS: u64 = 1_000;

    /// Whether the thread itself waited or faulted. That is never excused, whatever the host did beside it.
    #[must_use]
    pub const fn is_own(&self) -> bool {
        self.voluntary > 0 || self.faults > 0
    }

    /// Whether the processor was taken away, and nothing of it was the thread's own doing.
    #[must_use]
    pub const fn is_host(&self) -> bool {
        !self.is_own() && (self.involuntary > 0 || self.off_cpu_ns > Witness::OFF_CPU_NS)
    }
}

/// A segment above the floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongSegment {
    /// When it began, in nanoseconds of the line's clock.
    pub start_ns: u64,
    /// How long it was.
    pub len_ns: u64,
    /// What the loop did.
    pub kind: Segment,
    /// The node that had the turn, by its place on the loop, plus one; 0 between turns.
    pub node: u16,
    /// What the kernel said; none where the segment speaks for itself.
    pub witness: Option<Witness>,
}

impl LongSegment {
    /// When it ended.
    #[must_use]
    pub const fn end_ns(&self) -> u64 {
        self.start_ns.saturating_add(self.len_ns)
    }
}

/// How fast a loop's core ran: a fixed piece of work, timed in an idle turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// When it was done, in nanoseconds of the line's clock.
    pub at_ns: u64,
    /// How long it took, in nanoseconds; saturates.
    pub took_ns: u32,
}

/// Messages that a loop's nodes shed on a hop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShedNote {
    /// When it was last looked before: they were shed after that. 0 before the first look.
    pub since_ns: u64,
    /// When it was noticed, in nanoseconds of the line's clock: with the loop's chores, a millisecond after the fact at most, or
    /// a turn if that was longer.
    pub at_ns: u64,
    /// Messages that were shed on that hop since the note before.
    pub messages: u64,
    /// The hop, by its place among those of [`Evidence`]: that whose ring it is, where several share one.
    pub hop: u32,
}

/// What a loop noted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoopEvidence {
    /// Its nodes, in the order of their turns.
    pub nodes: Vec<String>,
    /// Segments above the floor, in the order of their ends.
    pub segments: Vec<LongSegment>,
    /// Segments for which the log had no room.
    pub lost: u64,
    /// 999 of a thousand idle turns were shorter, in nanoseconds.
    pub idle_p99_9_ns: u64,
    /// 99 of a hundred receptions were shorter, in nanoseconds; 0 where there were none.
    pub receive_p99_ns: u64,
    /// Turns without work.
    pub idle_turns: u64,
    /// How fast its core ran, from time to time.
    pub paces: Vec<Pace>,
    /// Times for which the log had no room: how fast the core ran after the last of `paces` is not known.
    pub paces_lost: u64,
    /// What its nodes shed on the hops that leave them, in the order of time.
    pub sheds: Vec<ShedNote>,
}

/// A message over a hop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Passage {
    /// When it was offered, in nanoseconds of the line's clock.
    pub t_offer_ns: u64,
    /// From its intended time to the offer; saturates at 4.29 s.
    pub origin_ns: u32,
    /// From the offer to the dequeue; saturates likewise.
    pub wait_ns: u32,
    /// In the handler; saturates likewise.
    pub service_ns: u32,
    /// Index of its source.
    pub source: u16,
    /// Bit 0: it counts as having left the line.
    pub flags: u16,
}

impl Passage {
    /// Marks a message that left the line.
    pub const LEFT: u16 = 1;

    /// The longest span that its fields tell, in nanoseconds: 4.29 s. No limit from there on can be judged by it.
    pub const SPAN_MAX_NS: u64 = u32::MAX as u64;

    /// Whether it took longer than can be told, on its way to the hop or on it.
    #[must_use]
    pub const fn is_saturated(&self) -> bool {
        self.origin_ns == u32::MAX || self.wait_ns == u32::MAX || self.service_ns == u32::MAX
    }

    /// When it was due.
    #[must_use]
    pub const fn due_ns(&self) -> u64 {
        self.t_offer_ns.saturating_sub(self.origin_ns as u64)
    }

    /// When the consumer was done with it.
    #[must_use]
    pub const fn done_ns(&self) -> u64 {
        self.t_offer_ns + self.sojourn_ns()
    }

    /// From the offer until it was done with.
    #[must_use]
    pub const fn sojourn_ns(&self) -> u64 {
        self.wait_ns as u64 + self.service_ns as u64
    }

    /// One of its three spans on the hop.
    #[must_use]
    pub const fn span_ns(&self, of: Of) -> u64 {
        match of {
            Of::Wait => self.wait_ns as u64,
            Of::Service => self.service_ns as u64,
            Of::Sojourn => self.sojourn_ns(),
        }
    }

    /// From its due time until it was done with.
    #[must_use]
    pub const fn end_to_end_ns(&self) -> u64 {
        self.origin_ns as u64 + self.sojourn_ns()
    }

    /// Whether it left the line here.
    #[must_use]
    pub const fn has_left(&self) -> bool {
        self.flags & Passage::LEFT != 0
    }
}

/// The messages of a hop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HopEvidence {
    /// `from->to`.
    pub name: String,
    /// In the order in which they were done with.
    pub passages: Vec<Passage>,
    /// Messages for which the log had no room.
    pub lost: u64,
}

/// What a run noted, all loops and hops together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Each loop, in the order of the plan.
    pub loops: Vec<LoopEvidence>,
    /// Each hop, in the order of the line.
    pub hops: Vec<HopEvidence>,
    /// When the line began to run, in nanoseconds of its clock.
    pub began_ns: u64,
}

const _: () = assert!(size_of::<Passage>() == 24);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_program_did_itself_is_never_the_hosts() {
        let mut witness = Witness {
            off_cpu_ns: 50_000,
            involuntary: 1,
            ..Witness::default()
        };
        assert!(witness.is_host() && !witness.is_own());
        witness.faults = 1;
        assert!(witness.is_own() && !witness.is_host());
        witness.faults = 0;
        witness.voluntary = 1;
        assert!(witness.is_own() && !witness.is_host());
        let short = Witness {
            off_cpu_ns: Witness::OFF_CPU_NS,
            ..Witness::default()
        };
        assert!(!short.is_host() && !short.is_own());
    }
}
