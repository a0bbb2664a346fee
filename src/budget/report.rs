//! The values of a report: what a run says of its hops, stages, sources and of the whole line.
//!
//! Names of fields are the keys of the JSON report. Maps by reason hold only what is not zero.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::fidelity::FidelityReport;
use super::limit::{Budget, Of};
use super::link::LinkReport;
use super::regime::Regime;
use super::sequenced::{FeedLineReport, SequencedReport};
use super::skew::{GapsReport, SkewReport};
use crate::base::{Counter, Reason};
use crate::hist::Totals;

/// The nodes that a hop's name tells: those of `from->to`, `from.port->to` and `from->to#class`. What is no hop's name has only
/// the first.
///
/// ```
/// use hopline::budget::report::ends;
/// assert_eq!(ends("book.log->sink#trades"), ("book", "sink"));
/// assert_eq!(ends("end_to_end"), ("end_to_end", ""));
/// ```
#[must_use]
pub fn ends(hop: &str) -> (&str, &str) {
    let (from, to) = hop.split_once("->").unwrap_or((hop, ""));
    let node = from.split_once('.').map_or(from, |(node, _)| node);
    let consumer = to.split_once('#').map_or(to, |(consumer, _)| consumer);
    (node, consumer)
}

/// Counts by reason; only what is not zero.
pub type ByReason = BTreeMap<String, u64>;

/// In `held_back_by_ns`, what no hop of the line holds back: the outside of a sink.
pub const OUTSIDE: &str = "outside";

/// The counters of a closed enum of reasons as a map.
#[must_use]
pub fn by_reason<R: Reason>(counters: &[Counter]) -> ByReason {
    by_name(R::NAMES, counters)
}

/// Counters beside their names as a map; what has no name is `unnamed`.
#[must_use]
pub fn by_name(names: &[&str], counters: &[Counter]) -> ByReason {
    let mut map: ByReason = names
        .iter()
        .zip(counters)
        .filter(|(_, counter)| counter.get() != 0)
        .map(|(name, counter)| ((*name).to_owned(), counter.get()))
        .collect();
    let unnamed: u64 = counters.iter().skip(names.len()).map(Counter::get).sum();
    if unnamed > 0 {
        map.insert("unnamed".to_owned(), unnamed);
    }
    map
}

/// The percentiles of a span, in nanoseconds. All zero where there was no sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Percentiles {
    /// Samples.
    pub count: u64,
    /// The median.
    pub p50: u64,
    /// Nine of ten.
    pub p90: u64,
    /// 99 of a hundred.
    pub p99: u64,
    /// 999 of a thousand.
    pub p99_9: u64,
    /// The largest, exact.
    pub max: u64,
}

impl Percentiles {
    /// Those of a histogram.
    #[must_use]
    pub fn of(totals: &Totals) -> Percentiles {
        if totals.count() == 0 {
            return Percentiles::default();
        }
        Percentiles {
            count: totals.count(),
            p50: totals.quantile_ns(0.5),
            p90: totals.quantile_ns(0.9),
            p99: totals.quantile_ns(0.99),
            p99_9: totals.quantile_ns(0.999),
            max: totals.max_ns(),
        }
    }
}

/// A budget and the raw counts beside it. Nothing here is judged: a count over a limit on a
/// shared machine says little by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BudgetReport {
    /// The span that is limited.
    pub of: Of,
    /// Limits in nanoseconds, by quantile.
    pub limits_ns: BTreeMap<&'static str, u64>,
    /// Whether a shed message breaks the budget.
    pub lossless: bool,
}

impl BudgetReport {
    /// The values of a budget.
    #[must_use]
    pub fn new(budget: &Budget) -> BudgetReport {
        let limits = budget.limits().iter();
        BudgetReport {
            of: budget.span(),
            limits_ns: limits
                .map(|limit| (limit.quantile.name(), limit.limit_ns))
                .collect(),
            lossless: budget.is_lossless(),
        }
    }
}

/// One hop of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HopReport {
    /// `from->to`.
    pub name: String,
    /// Slots of the ring.
    pub depth: usize,
    /// What happens when it is full.
    pub when_full: &'static str,
    /// The same with its soft limits, in words; the last one where it was changed while the line ran.
    pub policy: String,
    /// The hop that this one shares its ring with, where a ring has several consumers: offered, accepted
    /// and shed are that ring's, and count there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shares: Option<String>,
    /// Messages that the producer wanted to put on the hop: accepted + shed + waiting.
    pub offered: u64,
    /// Messages that got on the ring: delivered + in flight + discarded.
    pub accepted: u64,
    /// Messages that did not, by reason.
    pub shed: ByReason,
    /// Messages that wait at the producer for room, the latest of each key; 0 at the end of a run.
    pub waiting: u64,
    /// The same as `shed` by kind of message, then by reason.
    pub shed_by_kind: BTreeMap<String, ByReason>,
    /// Messages that the consumer disposed of.
    pub delivered: u64,
    /// Messages that the consumer is not done with: on the ring, or queued in a sink.
    pub in_flight: u64,
    /// Messages that will never be delivered, by reason.
    pub discarded: ByReason,
    /// The same as `discarded` by kind of message, then by reason; of a consumer that left a ring which went on, what it never
    /// saw is `other`.
    pub discarded_by_kind: BTreeMap<String, ByReason>,
    /// The rung of the degrade ladder that it is on: `none` where everything is served.
    pub rung: &'static str,
    /// How often it came to each rung, on the way up or down.
    pub rungs: ByReason,
    /// Nanoseconds on each rung since the first change, up to now.
    pub rungs_ns: ByReason,
    /// Frames that the consumer is not done with now: where a message is one frame, as many as `in_flight`.
    pub depth_now: u64,
    /// Most frames seen waiting at once.
    pub depth_max: u64,
    /// The same since this reader's last report; in the last report of a run, all of it.
    pub depth_window_max: u64,
    /// Age of the oldest message that the consumer is not done with now, in nanoseconds: since its offer, as far as that is
    /// known from outside.
    pub age_now_ns: u64,
    /// Highest age of the oldest message since this reader's last report, in nanoseconds; in the last one, of the run.
    pub age_window_max_ns: u64,
    /// Nanoseconds at full because of this consumer: the producer found no room, or shed because there was none.
    pub full_ns: u64,
    /// System calls by which the producer woke a consumer that slept; none while it was awake.
    pub wakes: u64,
    /// Why its consumer takes nothing more, once that is so: what was shed as `closed` was shed for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closed: Option<&'static str>,
    /// From the offer to the dequeue.
    pub wait_ns: Percentiles,
    /// From the dequeue to the end of the handler.
    pub service_ns: Percentiles,
    /// Both together.
    pub sojourn_ns: Percentiles,
    /// What the hop owes, if anything was said.
    pub budget: Option<BudgetReport>,
    /// Messages over each limit: exact, raw, unjudged.
    pub over_budget: BTreeMap<&'static str, u64>,
    /// Samples longer than histograms tell apart.
    pub saturated: u64,
}

impl HopReport {
    /// The names of the nodes that it leads from and to.
    ///
    /// ```
    /// use hopline::budget::report::HopReport;
    /// let hop = HopReport { name: "btc->book#urgent".to_owned(), ..HopReport::default() };
    /// assert_eq!(hop.ends(), ("btc", "book"));
    /// ```
    #[must_use]
    pub fn ends(&self) -> (&str, &str) {
        ends(&self.name)
    }

    /// Messages shed, for sums over hops: those of a shared ring count with its first hop.
    #[must_use]
    pub fn shed_once(&self) -> u64 {
        match self.shares {
            None => self.shed.values().sum(),
            Some(_) => 0,
        }
    }

    /// Messages lost, shed and discarded alike: what a budget without loss is broken by.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.shed.values().chain(self.discarded.values()).sum()
    }

    /// Whether offered = accepted + shed + waiting and accepted = delivered + in flight + discarded.
    #[must_use]
    pub fn adds_up(&self) -> bool {
        let shed: u64 = self.shed.values().sum();
        let by_kind: u64 = self.shed_by_kind.values().flat_map(BTreeMap::values).sum();
        let discarded: u64 = self.discarded.values().sum();
        let discards = self.discarded_by_kind.values();
        let discarded_by_kind: u64 = discards.flat_map(BTreeMap::values).sum();
        self.offered == self.accepted + shed + self.waiting
            && shed == by_kind
            && discarded == discarded_by_kind
            && self.accepted == self.delivered + self.in_flight + discarded
    }
}

/// Nanoseconds by regime.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RegimeReport {
    /// In a handler.
    pub work: u64,
    /// In calls that moved bytes.
    pub io: u64,
    /// With input, and no room for what it would emit.
    pub held_back: u64,
    /// In paced chores.
    pub housekeeping: u64,
    /// With nothing to do.
    pub idle: u64,
}

impl RegimeReport {
    /// The values of a loop's or stage's counters, in the order of [`Regime::ALL`].
    #[must_use]
    pub fn new(spans_ns: [u64; Regime::ALL.len()]) -> RegimeReport {
        let [work, io, held_back, housekeeping, idle] = spans_ns;
        RegimeReport {
            work,
            io,
            held_back,
            housekeeping,
            idle,
        }
    }
}

/// One stage, sink or source of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StageReport {
    /// Its name in the line.
    pub name: String,
    /// `source`, `stage` or `sink`.
    pub role: &'static str,
    /// Its kind in the registry.
    pub kind: String,
    /// Where it is in its life: `boot`, `run`, `restarting`, `drain`, `done`, `failed`, `aborted`, `stuck`.
    pub state: &'static str,
    /// Messages taken: forwarded + absorbed + rejected + held.
    pub consumed: u64,
    /// Messages that led to an emission, or that a sink sent on.
    pub forwarded: u64,
    /// Messages that ended here on purpose, by reason; `undeclared` where nobody gave one.
    pub absorbed: ByReason,
    /// Messages refused, by reason; `panicked` for those in hand then, and for those held by an instance that is gone.
    pub rejected: ByReason,
    /// Messages kept for later.
    pub held: u64,
    /// What the stage counts of its own, all under its own names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub counts: BTreeMap<&'static str, u64>,
    /// Emissions: a message counts once, on however many hops.
    pub emitted: u64,
    /// Where its time went.
    pub regimes_ns: RegimeReport,
    /// The consumer that held it back longest, if any did.
    pub held_back_by: Option<String>,
    /// Nanoseconds held back, by the hop whose consumer did it; `outside` for what took nothing from a sink.
    pub held_back_by_ns: ByReason,
    /// What happens when it panics: `stop`, `skip`, `restart`.
    pub on_panic: &'static str,
    /// How often it panicked, with a frame in hand or without.
    pub panics: u64,
    /// How often another instance of it was made.
    pub restarts: u64,
    /// How long it was away between two instances, in nanoseconds: no regime of its own, for its loop worked on or idled.
    pub away_ns: u64,
    /// Panics of it that are in the report's `quarantine`.
    pub quarantined: u64,
    /// Panics of it for which the quarantine had no room.
    pub quarantine_lost: u64,
    /// What its state came to at its end, in 16 hexadecimal digits, where it tells: the same for the same
    /// messages in the same order, whatever their times.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_hash: Option<String>,
    /// Of a sink: messages that came after one of the same source that was due later.
    pub out_of_order: u64,
    /// Of a sink: messages that came after one of another source that was due later.
    pub inversions: u64,
    /// By how many nanoseconds at most.
    pub inversion_ns_max: u64,
    /// What went wrong, in words.
    pub fault: Option<String>,
}

impl StageReport {
    /// Whether all that was consumed is disposed of, and nothing without a reason.
    #[must_use]
    pub fn adds_up(&self) -> bool {
        let absorbed: u64 = self.absorbed.values().sum();
        let rejected: u64 = self.rejected.values().sum();
        self.consumed == self.forwarded + absorbed + rejected + self.held
    }

    /// Messages that ended here without a reason.
    #[must_use]
    pub fn undeclared(&self) -> u64 {
        self.absorbed.get("undeclared").copied().unwrap_or(0)
    }
}

/// What a source knows of its messages before it took them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WireReport {
    /// Whose stamps they are, and of which clock.
    pub clock: String,
    /// From the kernel's receive stamp to the receipt by the source.
    #[serde(flatten)]
    pub span_ns: Percentiles,
    /// Messages whose stamp made no sense: their span counts as 0.
    pub clamped: u64,
    /// How often the wall clock was set meanwhile.
    pub clock_steps: u64,
    /// Messages (or trains, which share a stamp) that have the kernel's stamp although a device's were
    /// granted: it gave none, or one that its clock cannot have meant as wall time.
    pub not_by_device: u64,
}

/// One source of a run. The JSON report has `lines` beside these: the same as `received`, where messages are lines of text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(remote = "Self")]
pub struct SourceReport {
    /// Datagrams, lines or generated messages, of a sequenced feed messages and datagrams that were refused:
    /// ingested + shed + rejected + undeclared + duplicates.
    pub received: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Messages that at least one hop accepted.
    pub ingested: u64,
    /// Messages that every hop shed.
    pub shed: u64,
    /// Messages refused, by reason.
    pub rejected: ByReason,
    /// Messages that decoded into nothing without a reason.
    pub undeclared: u64,
    /// Messages of a sequenced feed of which a copy had come before.
    pub duplicates: u64,
    /// The lines of a sequenced feed, by name; empty for other sources.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub feed_lines: BTreeMap<&'static str, FeedLineReport>,
    /// What became of those lines together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequenced: Option<SequencedReport>,
    /// Whether its messages are lines of text: the report then has them as `lines` as well.
    #[serde(skip)]
    pub is_in_lines: bool,
    /// Datagrams that the system handed over, whatever they held: what was sent is these and those that the kernel
    /// dropped. None for sources that receive none.
    pub datagrams_received: u64,
    /// Datagrams that the kernel dropped before the line saw them.
    pub kernel_dropped: u64,
    /// Whether that is the least that it may be: the kernel counts a train of datagrams once.
    pub kernel_dropped_at_least: bool,
    /// How long messages lay in the kernel, if it stamps them.
    pub wire: Option<WireReport>,
    /// Packets of a capture that are for somebody else: other ports, other protocols.
    pub skipped: u64,
    /// How faithful the replay was, once it has ended, where the source is one.
    pub fidelity: Option<FidelityReport>,
    /// What lies between the sender's clock and the receiver's, where events have times.
    pub skew: Option<SkewReport>,
    /// How evenly messages arrive.
    pub gaps: Option<GapsReport>,
    /// Messages whose recorded time lies before that of an earlier one.
    pub time_backwards: u64,
    /// Most nanoseconds by which a message that was ready at a known time left after it.
    pub late_ns_max: u64,
    /// Connections that began.
    pub connected: u64,
    /// Connections that ended, by [`Hangup`](crate::base::Hangup): those turned away because there
    /// were as many as there may be are `too_many`.
    pub disconnected: ByReason,
    /// What the connection has been through, of a source that keeps one open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<LinkReport>,
    /// Pushes into an inlet that were refused; the pusher was told, and they count as not received.
    pub refused: u64,
    /// Most nanoseconds for which a claim on an inlet was seen open.
    pub claim_open_ns_max: u64,
}

impl Serialize for SourceReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        /// The fields, and what follows from them.
        #[derive(Serialize)]
        struct Whole<'a> {
            // The function that was derived for the fields, not this one.
            #[serde(flatten, serialize_with = "SourceReport::serialize")]
            fields: &'a SourceReport,
            #[serde(skip_serializing_if = "Option::is_none")]
            lines: Option<u64>,
        }
        let whole = Whole {
            fields: self,
            lines: self.lines(),
        };
        Serialize::serialize(&whole, serializer)
    }
}

impl SourceReport {
    /// Lines of text that were received, where messages are lines.
    #[must_use]
    pub fn lines(&self) -> Option<u64> {
        self.is_in_lines.then_some(self.received)
    }

    /// Whether all that was received is accounted for.
    #[must_use]
    pub fn adds_up(&self) -> bool {
        let rejected: u64 = self.rejected.values().sum();
        self.received == self.ingested + self.shed + rejected + self.undeclared + self.duplicates
    }

    /// What does not hold of the lines of a sequenced feed at the end of a run, if anything.
    #[must_use]
    pub fn lines_breach(&self) -> Option<String> {
        let feed = self.sequenced.as_ref()?;
        let sum = |of: fn(&FeedLineReport) -> u64| self.feed_lines.values().map(of).sum::<u64>();
        if let Some((name, line)) = self.feed_lines.iter().find(|(_, line)| !line.adds_up()) {
            return Some(format!(
                "line {name}: {} messages are not all under one heading",
                line.messages
            ));
        }
        let first = sum(|line| line.first);
        // What the run's end found held was rejected with it.
        let ended = self.rejected.get("line_ended").copied().unwrap_or(0);
        if first < feed.delivered || first > feed.delivered + ended {
            return Some(format!(
                "its lines brought {first} messages first, and {} were handed out",
                feed.delivered
            ));
        }
        let brought = sum(|line| line.messages) + sum(|line| line.rejected.values().sum());
        if self.received < brought || self.received > brought + ended {
            return Some(format!(
                "received {} is not the {brought} that its lines brought",
                self.received
            ));
        }
        None
    }

    /// Datagrams that were taken, where a datagram is not the same as a message; else what was received.
    #[must_use]
    pub fn datagrams(&self) -> u64 {
        match self.sequenced {
            Some(_) => self.feed_lines.values().map(|line| line.packets).sum(),
            None if self.is_in_lines && self.datagrams_received > 0 => self.datagrams_received,
            None => self.received,
        }
    }
}

/// The whole line, from the intended time of a message to the end of its sink's handler.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EndToEndReport {
    /// Percentiles over all sinks that count towards the objective.
    #[serde(flatten)]
    pub sojourn_ns: Percentiles,
    /// p99 − p50, in nanoseconds.
    pub jitter_ns: u64,
    /// Messages whose age did not fit in an envelope (4.29 s): their spans are cut there.
    pub origin_saturated: u64,
    /// The objective, if one was given.
    pub budget: Option<BudgetReport>,
    /// Messages over each limit: exact, raw, unjudged.
    pub over_budget: BTreeMap<&'static str, u64>,
    /// Each sink for itself.
    pub sinks: BTreeMap<String, Percentiles>,
}

/// Whether the run's counters add up, and what was lost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LedgerReport {
    /// Every equation holds, nothing is in flight, and every frame's end has a reason.
    pub closed: bool,
    /// What does not hold, in words.
    pub breaches: Vec<String>,
    /// What was lost where nothing may be, in words: every message of it is accounted for, and the
    /// run is not good all the same.
    pub losses: Vec<String>,
    /// Each source.
    pub sources: BTreeMap<String, SourceReport>,
    /// Messages shed on all hops.
    pub shed: u64,
    /// Messages discarded on all hops.
    pub discarded: u64,
}
