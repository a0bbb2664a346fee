//! Senders: what feeds a line over the loopback when its sources listen to UDP.
//!
//! One thread of its own feeds all of them, each datagram at a time that is fixed ahead and not
//! when the line has dealt with the one before (an *open loop*), so that a slow line cannot slow
//! the load down and hide its worst figures. What the thread itself adds, it reports: how late each
//! datagram left, what it could not send in time, at which times it did not run, and for datagrams
//! that come back how long they were away, from their intended time.
//!
//! A message that is late leaves at once and keeps its due time. One that is a second late, or is
//! left over when the load was stopped, is counted as missed: nothing is skipped silently.
//!
//! Invariant: memory is bounded whatever a capture holds; nothing allocates while it sends.
mod capture;
mod feed;
mod lane;
mod report;
mod segments;

use hopline::base::limits::MESSAGE_BYTES_MAX;
use hopline::base::primitive::{Arc, AtomicU64, Ordering, spin_hint};
use hopline::clock::Clock;
use hopline::host::{self, Pin};
use hopline::io::Driver;
use hopline::stage::log::Meter;

use crate::exit::Failure;
use crate::feeder::{Feeder, Shared};
use feed::Due;
pub(crate) use feed::{Content, Feed, Made, Opened};
use lane::{Lane, Sending};
pub(crate) use lane::{LaneSpec, totals};
pub use report::SenderReport;
use segments::Segments;
pub use segments::{GAP_FROM_NS, GAPS_MAX, GeneratorGaps, SENDS_SEEN};

/// Nearer than this to a due time the thread spins: a sleep ends up to 60 us late.
const SPIN_NS: u64 = 100_000;

/// Longest the thread sleeps before it looks for a stop.
const LOOK_NS: u64 = 5_000_000;

/// How long after a stop the sender may still send what was due before it: a sender that keeps its
/// times has nothing left then, and one that does not would hold up the end.
const CATCH_UP_NS: u64 = 100_000_000;

/// Returned datagrams taken between two sent ones, so that taking does not delay sending.
const RETURNS_BURST: usize = 8;

/// For how long a load lasts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Span {
    /// Nothing is sent that is due later than that from the start; no end if it is left out.
    pub(crate) most_ns: Option<u64>,
    /// What is due earlier than that from the start is not in lateness, returns and rates.
    pub(crate) warmup_ns: u64,
}

/// The sending thread, from outside.
#[derive(Debug)]
pub(crate) struct Senders {
    feeder: Feeder<(Vec<SenderReport>, GeneratorGaps)>,
    t0_ns: Arc<AtomicU64>,
}

impl Senders {
    /// Opens everything and waits for [`Senders::start`]. Without `core` the thread is not pinned. Its gaps are told to
    /// `meter` as well, for a live view.
    pub(crate) fn open(
        lanes: Vec<LaneSpec>,
        core: Option<usize>,
        clock: Clock,
        span: Span,
        meter: Option<Meter>,
    ) -> Result<Senders, Failure> {
        let sources = lanes.iter().map(|lane| lane.source.clone()).collect();
        let t0_ns = Arc::new(AtomicU64::new(0));
        let theirs = t0_ns.clone();
        let (feeder, ()) = Feeder::open("sender", sources, move |shared| {
            let pinned = core.map(|core| host::pin(core, Pin::Prefer));
            let core = pinned.and_then(Result::ok).and_then(|pinned| pinned.got);
            let sender = Loop::open(lanes, core, clock, span, theirs, shared)?.metered(meter);
            Ok((move || sender.run(), ()))
        })?;
        Ok(Senders { feeder, t0_ns })
    }

    /// Begins to send; schedules count from `t0_ns`.
    pub(crate) fn start(&self, t0_ns: u64) {
        // Relaxed: the word stands for itself.
        self.t0_ns.store(t0_ns.max(1), Ordering::Relaxed);
    }

    /// Sends no more.
    pub(crate) fn stop(&self) {
        self.feeder.stop();
    }

    /// Whether all that will be sent is sent.
    pub(crate) fn is_done(&self) -> bool {
        self.feeder.is_done()
    }

    /// Datagrams sent so far to each source.
    pub(crate) fn sent(&self) -> impl Iterator<Item = (&str, u64)> {
        self.feeder.sent()
    }

    /// Ends the thread and says what it did, and when it did not run.
    pub(crate) fn finish(self) -> (Vec<SenderReport>, GeneratorGaps) {
        self.feeder.finish()
    }
}

struct Loop {
    driver: Driver,
    clock: Clock,
    core: Option<usize>,
    span: Span,
    lanes: Vec<Lane>,
    segments: Segments,
    /// Until when what is due before the stop may be sent, once there was one.
    stops_ns: Option<u64>,
    /// The line's start on its clock; 0 before.
    t0_ns: Arc<AtomicU64>,
    shared: Arc<Shared>,
    inbox: Box<[u8]>,
}

impl Loop {
    fn open(
        specs: Vec<LaneSpec>,
        core: Option<usize>,
        clock: Clock,
        span: Span,
        t0_ns: Arc<AtomicU64>,
        shared: Arc<Shared>,
    ) -> Result<Loop, Failure> {
        let mut driver = Driver::real()?;
        let mut lanes = Vec::new();
        for spec in specs {
            lanes.push(Lane::open(spec, &mut driver)?);
        }
        Ok(Loop {
            driver,
            clock,
            core,
            span,
            lanes,
            segments: Segments::new(core),
            stops_ns: None,
            t0_ns,
            shared,
            inbox: vec![0; MESSAGE_BYTES_MAX].into_boxed_slice(),
        })
    }

    fn metered(mut self, meter: Option<Meter>) -> Loop {
        self.segments.tell(meter);
        self
    }

    fn run(mut self) -> (Vec<SenderReport>, GeneratorGaps) {
        for lane in &mut self.lanes {
            lane.prepare(&mut self.driver);
        }
        let t0_ns = self.wait_for_start();
        self.segments.begin(self.clock.stamp());
        if t0_ns > 0 {
            self.send_all(t0_ns);
        }
        // Nothing is due any more: what happens to the loop now is no gap.
        self.segments.close();
        self.shared.set_done();
        while !self.shared.is_finished() {
            if self.take_returns(usize::MAX) == 0 {
                self.rest(LOOK_NS);
            }
        }
        self.take_returns(usize::MAX);
        let (core, driver, most_ns) = (self.core, &self.driver, self.span.most_ns);
        let lanes = self.lanes.into_iter();
        let reports = lanes.map(|lane| lane.report(driver, core, most_ns));
        (reports.collect(), self.segments.into_gaps())
    }

    /// Sends until everything is sent, or was due before a stop and is given up.
    fn send_all(&mut self, t0_ns: u64) {
        while let Some((at, due)) = self.next_lane() {
            match self.wait_until(t0_ns, due) {
                Wait::Due => {
                    self.send(at, t0_ns);
                    self.take_returns(RETURNS_BURST);
                }
                // The schedule ends here; what was due before is still owed.
                Wait::Stopped(now_ns) => {
                    let elapsed_ns = now_ns.saturating_sub(t0_ns);
                    let most_ns = self.span.most_ns.unwrap_or(u64::MAX);
                    self.span.most_ns = Some(most_ns.min(elapsed_ns));
                    self.stops_ns = Some(now_ns.saturating_add(CATCH_UP_NS));
                }
                Wait::Over => break,
            }
        }
        // The end of the schedule without a stop is behind all that is due.
        if let (Some(_), Some(most_ns)) = (self.stops_ns, self.span.most_ns) {
            for lane in self.lanes.iter_mut().filter(|lane| lane.owes()) {
                lane.miss_rest(&mut self.driver, most_ns);
            }
        }
    }

    fn wait_for_start(&mut self) -> u64 {
        loop {
            let t0_ns = self.t0_ns.load(Ordering::Relaxed);
            if t0_ns > 0 || self.shared.is_stopped() {
                return t0_ns;
            }
            self.rest(1_000_000);
        }
    }

    /// The lane whose message is due first, if any has one within the time to send.
    fn next_lane(&self) -> Option<(usize, Due)> {
        let most_ns = self.span.most_ns.unwrap_or(u64::MAX);
        let due = self.lanes.iter().enumerate();
        due.filter(|(_, lane)| self.stops_ns.is_none() || lane.owes())
            .filter_map(|(at, lane)| lane.next().map(|due| (at, due)))
            .filter(|(_, due)| !due.paced || due.at_ns <= most_ns)
            .min_by_key(|(_, due)| due.at_ns)
    }

    /// Waits for a due time, reading ahead and taking returns meanwhile.
    fn wait_until(&mut self, t0_ns: u64, due: Due) -> Wait {
        if !due.paced {
            let now_ns = self.clock.stamp();
            self.segments.end(now_ns);
            if self.shared.is_stopped() {
                return Wait::Stopped(now_ns);
            }
            let most_ns = self.span.most_ns.unwrap_or(u64::MAX);
            return if now_ns.saturating_sub(t0_ns) <= most_ns {
                Wait::Due
            } else {
                Wait::Over
            };
        }
        let due_ns = t0_ns.saturating_add(due.at_ns);
        loop {
            let now_ns = self.clock.stamp();
            self.segments.end(now_ns);
            match self.stops_ns {
                Some(stops_ns) if now_ns > stops_ns => return Wait::Over,
                None if self.shared.is_stopped() => return Wait::Stopped(now_ns),
                _ => {}
            }
            if now_ns >= due_ns {
                return Wait::Due;
            }
            let left_ns = due_ns - now_ns;
            if self.take_returns(RETURNS_BURST) > 0 {
                continue;
            }
            if left_ns > SPIN_NS {
                self.segments.may_last(left_ns);
                if !self.read_ahead() {
                    self.rest((left_ns - SPIN_NS).min(LOOK_NS));
                }
            } else if self.core.is_some() {
                spin_hint();
            } else {
                std::thread::yield_now();
            }
        }
    }

    /// Reads a little of each capture. False if there was nothing to read, or no room.
    fn read_ahead(&mut self) -> bool {
        let mut progress = false;
        for lane in &mut self.lanes {
            progress |= lane.read_ahead(&mut self.driver);
        }
        progress
    }

    fn rest(&mut self, most_ns: u64) {
        self.segments.may_last(most_ns);
        // Without a poll that rests, the thread offers its core instead of spinning.
        if self.driver.poll(self.clock.stamp(), Some(most_ns)).is_err() {
            std::thread::yield_now();
        }
    }

    fn send(&mut self, at: usize, t0_ns: u64) {
        let shared = &self.shared;
        let stopped = || shared.is_stopped();
        let mut sending = Sending {
            driver: &mut self.driver,
            clock: &self.clock,
            segments: &mut self.segments,
            t0_ns,
            most_ns: self.span.most_ns.unwrap_or(u64::MAX),
            warmup_ns: self.span.warmup_ns,
        };
        let sent = self.lanes[at].send(&mut sending, stopped);
        shared.counts()[at].add(sent);
    }

    /// Takes datagrams that came back, at most `most` of each lane, and says how many.
    fn take_returns(&mut self, most: usize) -> usize {
        let mut taken = 0;
        for lane in &mut self.lanes {
            taken += lane.take_returns(
                &mut self.driver,
                &self.clock,
                &mut self.segments,
                &mut self.inbox,
                most,
            );
        }
        taken
    }
}

/// How a wait for a due time ends.
enum Wait {
    Due,
    /// A stop is seen for the first time, at this time.
    Stopped(u64),
    /// There is no more time to send.
    Over,
}

#[cfg(test)]
mod tests;
