//! What a source has been through that keeps one connection open: where it stands, why it was lost,
//! what was missed meanwhile.
//!
//! Invariant: one writer, and a fixed number of counters whatever a peer answers.

use std::collections::BTreeMap;

use serde::Serialize;

use super::report::{ByReason, by_reason};
use crate::base::{Counter, Lost, Reason};

/// Most codes that are told apart: a peer gives a handful, and one that makes them up fills no memory.
const CODES: usize = 12;

/// Most outages of which the times are kept, the last ones: what a report has room for. All of them are counted.
const OUTAGES: usize = 8;

/// Where a connection stands that is kept open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum LinkState {
    /// Between two tries.
    BackingOff,
    /// A try is under way.
    Connecting,
    /// Open, with data that is no older than it may be.
    Live,
    /// Open, with data that is older.
    Stale,
    /// Over for good.
    Ended,
}

impl LinkState {
    /// All of them.
    pub const ALL: [LinkState; 5] = [
        LinkState::BackingOff,
        LinkState::Connecting,
        LinkState::Live,
        LinkState::Stale,
        LinkState::Ended,
    ];

    /// Its name, as reports print it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            LinkState::BackingOff => "backing_off",
            LinkState::Connecting => "connecting",
            LinkState::Live => "live",
            LinkState::Stale => "stale",
            LinkState::Ended => "ended",
        }
    }
}

/// Counts by numbers that somebody else gives, such as codes of closes: as many as there is room for, the others together.
///
/// ```
/// use hopline::budget::link::Codes;
/// let codes = Codes::default();
/// for code in [1000, 1006, 1000] {
///     codes.count(code);
/// }
/// assert_eq!(format!("{:?}", codes.all()), r#"{"1000": 2, "1006": 1}"#);
/// ```
#[derive(Debug, Default)]
pub struct Codes {
    /// A number and one, and its count.
    known: [(Counter, Counter); CODES],
    others: Counter,
}

impl Codes {
    /// Counts one.
    pub fn count(&self, code: u16) {
        let word = u64::from(code) + 1;
        let place = self
            .known
            .iter()
            .find(|(known, _)| known.get() == word || known.get() == 0);
        match place {
            Some((known, count)) => {
                count.add(1);
                known.set(word);
            }
            None => self.others.add(1),
        }
    }

    /// All of them; `other` for those that had no room.
    #[must_use]
    pub fn all(&self) -> ByReason {
        let known = self.known.iter().filter(|(word, _)| word.get() > 0);
        let mut all: ByReason = known
            .map(|(word, count)| ((word.get() - 1).to_string(), count.get()))
            .collect();
        if self.others.get() > 0 {
            all.insert("other".to_owned(), self.others.get());
        }
        all
    }
}

/// What a source counts that keeps one connection open. Times are of the line's clock, in nanoseconds.
#[derive(Debug, Default)]
pub struct LinkCounters {
    /// The state's place and one; 0 for a source that keeps none.
    state: Counter,
    /// When the next try is due; 0 while none is awaited.
    pub retry_at_ns: Counter,
    /// Tries.
    pub dials: Counter,
    /// Times that it came to be open.
    pub opened: Counter,
    /// Times that its data was called stale.
    pub stale: Counter,
    /// Nanoseconds that it was not open, since its first try and up to the last time that it was.
    pub down_ns: Counter,
    /// Pings sent.
    pub pings: Counter,
    /// Answers to them.
    pub pongs: Counter,
    /// Pings of the peer.
    pub pinged: Counter,
    /// Answers to those that found no room, since the peer did not read.
    pub pongs_dropped: Counter,
    /// Bytes that came in and that went out, all of the protocol included.
    pub bytes_in: Counter,
    /// Bytes that went out.
    pub bytes_out: Counter,
    /// How long the last answer to a ping took, and the longest one, in nanoseconds.
    pub round_trip_ns: Counter,
    /// The longest.
    pub round_trip_ns_max: Counter,
    /// Why it was lost, or a try came to nothing: by reason.
    pub lost: [Counter; Lost::NAMES.len()],
    /// The last of them, and one.
    last_lost: Counter,
    /// Codes of its ends: the peer's, 1005 where it gave none, 1006 where it ended without a close (RFC 6455, section 7.1.5).
    pub closed: Codes,
    /// Statuses of the answers that refused it.
    pub refused: Codes,
    /// Since when it has been down, and one; 0 while it is open.
    down_since_ns: Counter,
    outages: Counter,
    /// From and until, of the last ones in turn.
    outage_spans: [(Counter, Counter); OUTAGES],
}

impl LinkCounters {
    /// Notes where it stands.
    pub fn set_state(&self, state: LinkState) {
        self.state.set(state as u64 + 1);
    }

    /// Where it stands, if there is one.
    #[must_use]
    pub fn state(&self) -> Option<LinkState> {
        let at = self.state.get().checked_sub(1)?;
        LinkState::ALL.get(at as usize).copied()
    }

    /// Notes that it is open.
    pub fn up(&self, now_ns: u64) {
        let Some(since_ns) = self.down_since_ns.get().checked_sub(1) else {
            return;
        };
        self.down_since_ns.set(0);
        let at = self.outages.get();
        let (from_ns, until_ns) = &self.outage_spans[at as usize % OUTAGES];
        from_ns.set(since_ns);
        until_ns.set(now_ns);
        self.outages.set(at + 1);
    }

    /// Notes that it was lost while it was open.
    pub fn down(&self, now_ns: u64) {
        self.down_since_ns.set(now_ns.saturating_add(1));
    }

    /// Notes why it was lost, or a try came to nothing.
    pub fn lose(&self, why: Lost) {
        self.last_lost.set(why.index() as u64 + 1);
    }

    /// What it has been through, at `now_ns` of a line that began at `began_ns`; `None` for a source that keeps no connection.
    #[must_use]
    pub fn report(&self, now_ns: u64, began_ns: u64) -> Option<LinkReport> {
        let state = self.state()?;
        let outages = self.outages.get();
        let since_began = |ns: u64| ns.saturating_sub(began_ns);
        let kept = outages.saturating_sub(OUTAGES as u64)..outages;
        let mut spans: Vec<Outage> = kept
            .map(|at| {
                let (from_ns, until_ns) = &self.outage_spans[at as usize % OUTAGES];
                Outage {
                    from_ns: since_began(from_ns.get()),
                    until_ns: Some(since_began(until_ns.get())),
                }
            })
            .collect();
        let down_since_ns = self.down_since_ns.get().checked_sub(1);
        spans.extend(down_since_ns.map(|from_ns| Outage {
            from_ns: since_began(from_ns),
            until_ns: None,
        }));
        let last_lost = self.last_lost.get().checked_sub(1);
        Some(LinkReport {
            state: state.name(),
            retry_in_ns: match (state, self.retry_at_ns.get()) {
                (LinkState::BackingOff, at_ns) if at_ns > 0 => Some(at_ns.saturating_sub(now_ns)),
                _ => None,
            },
            dials: self.dials.get(),
            opened: self.opened.get(),
            lost: by_reason::<Lost>(&self.lost),
            last_lost: last_lost.and_then(|at| Lost::NAMES.get(at as usize).copied()),
            closed: self.closed.all(),
            refused: self.refused.all(),
            outages: outages + u64::from(down_since_ns.is_some()),
            outage_spans: spans,
            down_ns: self.down_ns.get(),
            stale: self.stale.get(),
            pings: self.pings.get(),
            pongs: self.pongs.get(),
            pinged: self.pinged.get(),
            pongs_dropped: self.pongs_dropped.get(),
            round_trip_ns: self.round_trip_ns.get(),
            round_trip_ns_max: self.round_trip_ns_max.get(),
            bytes_in: self.bytes_in.get(),
            bytes_out: self.bytes_out.get(),
        })
    }
}

/// A time in which a connection that had been open was not: what its peer sent meanwhile was missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Outage {
    /// When it was lost, in nanoseconds from the start of the line.
    pub from_ns: u64,
    /// When it was open again; absent if it is not.
    pub until_ns: Option<u64>,
}

/// What a connection has been through that a source keeps open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LinkReport {
    /// Where it stands: `backing_off`, `connecting`, `live`, `stale`, `ended`.
    pub state: &'static str,
    /// Nanoseconds until the next try, while it is backing off.
    pub retry_in_ns: Option<u64>,
    /// Tries to connect.
    pub dials: u64,
    /// Times that it came to be open.
    pub opened: u64,
    /// Why it was lost, or a try came to nothing, by [`Lost`].
    pub lost: ByReason,
    /// The last of them.
    pub last_lost: Option<&'static str>,
    /// Codes of its ends: the peer's, 1005 where it gave none, 1006 where it ended without a close.
    pub closed: BTreeMap<String, u64>,
    /// Statuses of the answers that refused it.
    pub refused: BTreeMap<String, u64>,
    /// Times that it was lost while it was open: each is a gap in what came.
    pub outages: u64,
    /// When those were, the last ones.
    pub outage_spans: Vec<Outage>,
    /// Nanoseconds that it was not open, since its first try and up to the last time that it was.
    pub down_ns: u64,
    /// Times that its data was called stale.
    pub stale: u64,
    /// Pings sent.
    pub pings: u64,
    /// Answers to them.
    pub pongs: u64,
    /// Pings of the peer.
    pub pinged: u64,
    /// Answers to those that found no room, since the peer did not read.
    pub pongs_dropped: u64,
    /// How long the last answer to a ping took.
    pub round_trip_ns: u64,
    /// The longest one.
    pub round_trip_ns_max: u64,
    /// Bytes that came in, all of the protocol included.
    pub bytes_in: u64,
    /// Bytes that went out.
    pub bytes_out: u64,
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn codes_beyond_the_room_are_counted_together() {
        let codes = Codes::default();
        for code in 0..20 {
            codes.count(code);
            codes.count(code);
        }
        let all = codes.all();
        assert_eq!(all.len(), CODES + 1);
        assert_eq!((all["0"], all["11"], all["other"]), (2, 2, 16));
    }

    #[test]
    fn an_outage_has_its_times_and_the_last_ones_are_kept() {
        let link = LinkCounters::default();
        assert_eq!(link.report(0, 0), None);
        link.set_state(LinkState::Live);
        link.up(1_000);
        assert_eq!(
            link.report(1_000, 1_000).unwrap().outages,
            0,
            "it was not open before"
        );
        for at_ns in (2_000..).step_by(1_000).take(10) {
            link.down(at_ns);
            link.up(at_ns + 10);
        }
        link.set_state(LinkState::BackingOff);
        link.retry_at_ns.set(20_500);
        link.down(20_000);
        let report = link.report(20_100, 1_000).unwrap();
        assert_eq!((report.outages, report.outage_spans.len()), (11, 9));
        assert_eq!(report.retry_in_ns, Some(400));
        let first = report.outage_spans[0];
        assert_eq!((first.from_ns, first.until_ns), (3_000, Some(3_010)));
        let last = report.outage_spans[8];
        assert_eq!((last.from_ns, last.until_ns), (19_000, None));
    }
}
