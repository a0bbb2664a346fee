//! The sending loop as its own hiccup meter: every stretch of its time that was longer than it should
//! be, so that a frame which was due or on its way then is known to have been disturbed from here.
//!
//! | stretch | is a gap |
//! |---|---|
//! | spinning, looking at the clock, receiving one datagram | from [`GAP_FROM_NS`] on |
//! | a rest, or reading ahead | what it lasted beyond the time that it had, from [`GAP_FROM_NS`] on |
//! | a send, and making the next message | from three times the median of the first [`SENDS_SEEN`] on, and never below [`GAP_FROM_NS`] |
//!
//! While the loop rests or reads ahead nothing is due: what happens to it then disturbs nobody.
//!
//! A send over the loopback takes 1 to 5 us by itself, since the receiving half of the kernel runs
//! in it: by a fixed bound every one of them, or none, would be a gap. Lone datagrams and batches have a
//! median each. The median it is, because a preempted send among the first must not move the bound.
//!
//! A gap lasts until the sender has caught up with it: what was due before its end leaves in a burst, which is no load that
//! anybody asked for.
//!
//! Invariant: memory is taken at the start; what the log has no room for is counted as lost.

use hopline::base::limits::HOUSEKEEPING_NS;
use hopline::budget::taint::Interval;
use hopline::stage::log::Meter;
use serde::Serialize;

/// From how long on a stretch of the loop is a gap, in nanoseconds: what the longest clean turn with a
/// system call takes.
pub const GAP_FROM_NS: u64 = 2_000;

/// Most gaps that are kept: 1 MiB, a minute of a machine that interrupts its cores a thousand times a
/// second.
pub const GAPS_MAX: usize = 1 << 16;

/// Sends from which the bound for sends is taken; an odd number, so that one is in the middle. Until
/// then no send is a gap: at 10,000 a second, for the first 26 ms.
pub const SENDS_SEEN: usize = 255;

/// How many medians long a send is a gap.
const MEDIANS: u64 = 3;

/// The gaps of the thread that sent, in the order in which they ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GeneratorGaps {
    /// The core that the thread was bound to, if it was.
    pub core: Option<usize>,
    /// From how long on a stretch is a gap.
    pub from_ns: u64,
    /// From how long on a lone send is one; absent before [`SENDS_SEEN`] of them.
    pub send_from_ns: Option<u64>,
    /// From how long on the send of a batch is one; absent before [`SENDS_SEEN`] of them.
    pub batch_from_ns: Option<u64>,
    /// How many there were, those that the log has no room for included.
    pub count: u64,
    /// Their lengths together, in nanoseconds.
    pub total_ns: u64,
    /// The longest, in nanoseconds.
    pub longest_ns: u64,
    /// How many the log had no room for: with any, the log is no witness.
    pub lost: u64,
    /// Start on the line's clock, and length, in nanoseconds, of the first [`GAPS_MAX`].
    #[serde(skip)]
    pub log: Vec<(u64, u64)>,
}

/// The lengths of the first sends of a kind, and the bound that follows from them.
struct Lengths {
    seen: [u64; SENDS_SEEN],
    count: usize,
    from_ns: Option<u64>,
}

impl Lengths {
    const NONE: Lengths = Lengths {
        seen: [0; SENDS_SEEN],
        count: 0,
        from_ns: None,
    };

    /// Whether a send of that length is a gap.
    fn is_gap(&mut self, length_ns: u64) -> bool {
        if let Some(from_ns) = self.from_ns {
            return length_ns >= from_ns;
        }
        self.seen[self.count] = length_ns;
        self.count += 1;
        if self.count == SENDS_SEEN {
            self.seen.sort_unstable();
            let median_ns = self.seen[SENDS_SEEN / 2];
            self.from_ns = Some(median_ns.saturating_mul(MEDIANS).max(GAP_FROM_NS));
        }
        false
    }
}

/// Cuts the loop's time into stretches.
pub(super) struct Segments {
    /// Where the stretch began that is going on.
    since_ns: u64,
    /// Until when it may last without being a gap, if it rests or reads ahead.
    may_last_until_ns: Option<u64>,
    /// Nothing more is noted.
    closed: bool,
    /// When the last gap ended; 0 before there was one.
    gap_until_ns: u64,
    /// Whether what is being sent was due before that.
    catches_up: bool,
    lone: Lengths,
    batches: Lengths,
    gaps: GeneratorGaps,
    /// Who is told of the gaps at once, and when it is told next how far this is: as often as the line's loops say it.
    meter: Option<Meter>,
    tell_at_ns: u64,
}

impl Segments {
    pub(super) fn new(core: Option<usize>) -> Segments {
        Segments {
            since_ns: 0,
            may_last_until_ns: None,
            closed: false,
            gap_until_ns: 0,
            catches_up: false,
            lone: Lengths::NONE,
            batches: Lengths::NONE,
            gaps: GeneratorGaps {
                core,
                from_ns: GAP_FROM_NS,
                log: Vec::with_capacity(GAPS_MAX),
                ..GeneratorGaps::default()
            },
            meter: None,
            tell_at_ns: 0,
        }
    }

    /// Tells the gaps to one who wants to know them at once, too.
    pub(super) fn tell(&mut self, meter: Option<Meter>) {
        self.meter = meter;
    }

    #[inline]
    fn known_until(&mut self, now_ns: u64) {
        if now_ns >= self.tell_at_ns
            && let Some(meter) = &mut self.meter
        {
            meter.known_until(now_ns);
            self.tell_at_ns = now_ns + HOUSEKEEPING_NS;
        }
    }

    /// A stretch begins, and what was before does not count.
    pub(super) fn begin(&mut self, now_ns: u64) {
        self.since_ns = now_ns;
        self.may_last_until_ns = None;
    }

    /// The load is over: what follows is no gap.
    pub(super) fn close(&mut self) {
        self.closed = true;
        self.meter = None;
    }

    /// The loop has that much time until it is wanted, and rests or reads ahead.
    pub(super) fn may_last(&mut self, most_ns: u64) {
        self.may_last_until_ns = Some(self.since_ns.saturating_add(most_ns));
    }

    /// A stretch ends here that was no send, and the next begins.
    #[inline]
    pub(super) fn end(&mut self, now_ns: u64) {
        let began_ns = match self.may_last_until_ns.take() {
            Some(until_ns) => until_ns.max(self.since_ns),
            None => self.since_ns,
        };
        let length_ns = now_ns.saturating_sub(began_ns);
        self.since_ns = now_ns;
        if length_ns >= GAP_FROM_NS {
            self.note(began_ns, length_ns);
        }
        self.known_until(now_ns);
    }

    /// A send begins of messages of which the first was due at `due_ns`. Says whether it is late by a gap.
    #[inline]
    pub(super) fn begin_send(&mut self, due_ns: u64) -> bool {
        self.catches_up = due_ns < self.gap_until_ns;
        self.catches_up
    }

    /// The send of that many datagrams ends here, and the next stretch begins.
    #[inline]
    pub(super) fn end_send(&mut self, now_ns: u64, datagrams: usize) {
        if self.catches_up {
            self.extend(now_ns);
            self.since_ns = now_ns;
            return;
        }
        let length_ns = now_ns.saturating_sub(self.since_ns);
        let lengths = match datagrams {
            0 | 1 => &mut self.lone,
            _ => &mut self.batches,
        };
        if lengths.is_gap(length_ns) {
            self.note(self.since_ns, length_ns);
        }
        self.since_ns = now_ns;
        self.known_until(now_ns);
    }

    /// The last gap lasts until now.
    #[cold]
    fn extend(&mut self, now_ns: u64) {
        let more_ns = now_ns.saturating_sub(self.gap_until_ns);
        self.gap_until_ns = self.gap_until_ns.max(now_ns);
        if self.closed {
            return;
        }
        self.gaps.total_ns = self.gaps.total_ns.saturating_add(more_ns);
        // With one that the log had no room for it is no witness any more, whatever its last entry says.
        if let Some((_, length_ns)) = self.gaps.log.last_mut() {
            *length_ns = length_ns.saturating_add(more_ns);
            self.gaps.longest_ns = self.gaps.longest_ns.max(*length_ns);
        }
    }

    #[cold]
    fn note(&mut self, began_ns: u64, length_ns: u64) {
        self.gap_until_ns = began_ns.saturating_add(length_ns);
        if self.closed {
            return;
        }
        if let Some(meter) = &mut self.meter {
            meter.gap(Interval {
                start_ns: began_ns,
                end_ns: began_ns.saturating_add(length_ns),
            });
        }
        let gaps = &mut self.gaps;
        gaps.count += 1;
        gaps.total_ns = gaps.total_ns.saturating_add(length_ns);
        gaps.longest_ns = gaps.longest_ns.max(length_ns);
        if gaps.log.len() < GAPS_MAX {
            gaps.log.push((began_ns, length_ns));
        } else {
            gaps.lost += 1;
        }
    }

    pub(super) fn into_gaps(self) -> GeneratorGaps {
        GeneratorGaps {
            send_from_ns: self.lone.from_ns,
            batch_from_ns: self.batches.from_ns,
            ..self.gaps
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_from_the_bound_on_are_gaps_and_shorter_ones_are_not() {
        let mut segments = Segments::new(Some(1));
        segments.begin(1_000);
        for now_ns in [2_999, 4_999, 5_000, 105_000] {
            segments.end(now_ns);
        }
        segments.close();
        segments.end(999_000);
        let gaps = segments.into_gaps();
        assert_eq!(gaps.log, [(2_999, 2_000), (5_000, 100_000)]);
        assert_eq!((gaps.core, gaps.count, gaps.lost), (Some(1), 2, 0));
        assert_eq!((gaps.total_ns, gaps.longest_ns), (102_000, 100_000));
    }

    #[test]
    fn of_a_rest_only_what_was_too_long_is_a_gap() {
        let mut segments = Segments::new(None);
        segments.begin(0);
        // Woken early, in time, late; and a stretch behind it that is no rest.
        for (now_ns, most_ns) in [(4_000_000, 5_000_000), (9_001_000, 5_000_000)] {
            segments.may_last(most_ns);
            segments.end(now_ns);
        }
        segments.may_last(1_000_000);
        segments.end(10_061_000);
        segments.end(10_071_000);
        let gaps = segments.into_gaps();
        assert_eq!(gaps.log, [(10_001_000, 60_000), (10_061_000, 10_000)]);
    }

    #[test]
    fn sends_are_held_against_the_median_of_their_kind() {
        let mut segments = Segments::new(None);
        let mut now_ns = 0;
        let mut send = |segments: &mut Segments, length_ns, datagrams| {
            segments.begin(now_ns);
            now_ns += length_ns;
            segments.end_send(now_ns, datagrams);
        };
        for nth in 0..SENDS_SEEN {
            // A few that were preempted do not move the bound.
            let length_ns = if nth % 10 == 0 { 5_000_000 } else { 3_000 };
            send(&mut segments, length_ns, 1);
            send(&mut segments, 500, 64);
        }
        assert_eq!(segments.gaps.count, 0);
        for (length_ns, datagrams, count) in
            [(8_999, 1, 0), (9_000, 1, 1), (1_999, 2, 1), (2_000, 64, 2)]
        {
            send(&mut segments, length_ns, datagrams);
            assert_eq!(segments.gaps.count, count, "{length_ns} of {datagrams}");
        }
        let gaps = segments.into_gaps();
        assert_eq!(gaps.send_from_ns, Some(9_000));
        assert_eq!(gaps.batch_from_ns, Some(2_000));
    }

    #[test]
    fn a_gap_lasts_until_what_was_due_before_its_end_has_left() {
        let mut segments = Segments::new(None);
        segments.begin(1_000);
        segments.end(50_000);
        // Due within the gap, within the burst after it, and after both: the last is on time.
        for (due_ns, done_ns) in [(20_000, 58_000), (55_000, 60_000), (60_000, 61_500)] {
            segments.begin_send(due_ns);
            segments.end_send(done_ns, 1);
        }
        // A send without a gap before it is held against its own kind.
        segments.end(62_000);
        let gaps = segments.into_gaps();
        assert_eq!(gaps.log, [(1_000, 59_000)]);
        assert_eq!(
            (gaps.count, gaps.total_ns, gaps.longest_ns),
            (1, 59_000, 59_000)
        );
    }

    #[test]
    fn the_log_is_bounded_and_says_what_it_lost() {
        let mut segments = Segments::new(None);
        let room = segments.gaps.log.capacity();
        for nth in 1..=GAPS_MAX as u64 + 3 {
            segments.end(nth * 10_000);
        }
        assert_eq!(segments.gaps.log.capacity(), room);
        let gaps = segments.into_gaps();
        assert_eq!((gaps.log.len(), gaps.lost), (GAPS_MAX, 3));
        assert_eq!(gaps.count, GAPS_MAX as u64 + 3);
    }
}
