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

use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;

use hopline::base::Counter;
use hopline::base::limits::MESSAGE_BYTES_MAX;
use hopline::base::primitive::{Arc, AtomicBool, AtomicU64, Ordering, spin_hint};
use hopline::clock::Clock;
use hopline::host::{self, Pin};
use hopline::io::Driver;
use hopline::stage::log::Meter;

use crate::exit::Failure;
pub(crate) use capture::Capture;
pub(crate) use lane::{Content, Due, LaneSpec, totals};
use lane::{Lane, Sending};
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

#[derive(Debug, Default)]
struct Shared {
    /// The line's start on its clock; 0 before.
    t0_ns: AtomicU64,
    stop: AtomicBool,
    /// All that will be sent is sent.
    done: AtomicBool,
    /// Nothing more will come back.
    finish: AtomicBool,
    sent: Vec<Counter>,
}

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
    shared: Arc<Shared>,
    sources: Vec<String>,
    thread: JoinHandle<(Vec<SenderReport>, GeneratorGaps)>,
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
        let sources: Vec<String> = lanes.iter().map(|lane| lane.source.clone()).collect();
        let shared = Arc::new(Shared {
            sent: lanes.iter().map(|_| Counter::default()).collect(),
            ..Shared::default()
        });
        let (opened_tx, opened) = sync_channel(1);
        let theirs = shared.clone();
        let spawned = std::thread::Builder::new()
            .name("sender".to_owned())
            .spawn(move || {
                let pinned = core.map(|core| host::pin(core, Pin::Prefer));
                let core = pinned.and_then(Result::ok).and_then(|pinned| pinned.got);
                let loops = Loop::open(lanes, core, clock, span, theirs);
                let (result, sender) = match loops {
                    Ok(sender) => (Ok(()), Some(sender.metered(meter))),
                    Err(failure) => (Err(failure), None),
                };
                // The channel has a place for this one word.
                let _ = opened_tx.send(result);
                sender.map(Loop::run).unwrap_or_default()
            });
        let thread = spawned
            .map_err(|error| Failure::io(format!("cannot start the sender: {error}"), ""))?;
        let gone = || Err(Failure::io("the sender ended before it began", ""));
        opened.recv().unwrap_or_else(|_| gone())?;
        Ok(Senders {
            shared,
            sources,
            thread,
        })
    }

    /// Begins to send; schedules count from `t0_ns`.
    pub(crate) fn start(&self, t0_ns: u64) {
        // Relaxed here and below: each word stands for itself.
        self.shared.t0_ns.store(t0_ns.max(1), Ordering::Relaxed);
    }

    /// Sends no more.
    pub(crate) fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }

    /// Whether all that will be sent is sent.
    pub(crate) fn is_done(&self) -> bool {
        self.shared.done.load(Ordering::Relaxed) || self.thread.is_finished()
    }

    /// Datagrams sent so far to each source.
    pub(crate) fn sent(&self) -> impl Iterator<Item = (&str, u64)> {
        let counts = self.shared.sent.iter().map(Counter::get);
        self.sources.iter().map(String::as_str).zip(counts)
    }

    /// Ends the thread and says what it did, and when it did not run.
    pub(crate) fn finish(self) -> (Vec<SenderReport>, GeneratorGaps) {
        self.stop();
        self.shared.finish.store(true, Ordering::Relaxed);
        // A panic of the thread has been printed; the run's own report is still worth having.
        self.thread.join().unwrap_or_default()
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
    shared: Arc<Shared>,
    inbox: Box<[u8]>,
}

impl Loop {
    fn open(
        specs: Vec<LaneSpec>,
        core: Option<usize>,
        clock: Clock,
        span: Span,
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
        self.shared.done.store(true, Ordering::Relaxed);
        while !self.shared.finish.load(Ordering::Relaxed) {
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

    fn stopped(&self) -> bool {
        self.shared.stop.load(Ordering::Relaxed)
    }

    fn wait_for_start(&mut self) -> u64 {
        loop {
            let t0_ns = self.shared.t0_ns.load(Ordering::Relaxed);
            if t0_ns > 0 || self.stopped() {
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
            if self.stopped() {
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
                None if self.stopped() => return Wait::Stopped(now_ns),
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
        let stopped = || shared.stop.load(Ordering::Relaxed);
        let mut sending = Sending {
            driver: &mut self.driver,
            clock: &self.clock,
            segments: &mut self.segments,
            t0_ns,
            most_ns: self.span.most_ns.unwrap_or(u64::MAX),
            warmup_ns: self.span.warmup_ns,
        };
        let sent = self.lanes[at].send(&mut sending, stopped);
        shared.sent[at].add(sent);
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
mod tests {
    use std::collections::BTreeMap;
    use std::net::SocketAddr;

    use hopline::feed::Arrivals;
    use hopline::io::{UdpId, UdpSpec};

    use super::*;

    fn lane(to: SocketAddr, content: Content) -> LaneSpec {
        LaneSpec {
            source: "in".to_owned(),
            to,
            content,
            recorded: None,
        }
    }

    fn until(most_ns: u64) -> Span {
        Span {
            most_ns: Some(most_ns),
            warmup_ns: 0,
        }
    }

    /// Everything that arrives at a socket of `driver` until `count` have, or nothing more comes.
    fn receive(driver: &mut Driver, socket: UdpId, count: usize) -> Vec<Vec<u8>> {
        let mut got = Vec::new();
        let mut buffer = vec![0; MESSAGE_BYTES_MAX];
        let mut idle = 0;
        while got.len() < count && idle < 200 {
            match driver.udp_recv(socket, &mut buffer).unwrap() {
                Some(datagram) => {
                    got.push(buffer[..datagram.len].to_vec());
                    // Back to its sender, as an echo does.
                    let _ = driver.udp_send(socket, Some(datagram.from), &buffer[..datagram.len]);
                }
                None => {
                    driver.poll(0, Some(10_000_000)).unwrap();
                    idle += 1;
                }
            }
        }
        got
    }

    fn listening() -> (Driver, UdpId, SocketAddr) {
        let mut driver = Driver::real().unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let socket = driver.udp_open(&UdpSpec::bound(any)).unwrap();
        let to = driver.udp_local_addr(socket).unwrap();
        (driver, socket, to)
    }

    #[test]
    fn a_capture_is_sent_in_order_and_what_is_no_message_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("capture");
        std::fs::write(
            &file,
            "1000 {\"a\":1}\nno line\n2000 {\"a\":2}\n\n1500 {}\n",
        )
        .unwrap();
        let (mut driver, socket, to) = listening();
        let clock = Clock::calibrated();
        let capture = Content::Capture {
            file,
            speed: Some(1.0),
            epoch_ns: 1000,
        };
        let senders = Senders::open(
            vec![lane(to, capture)],
            None,
            clock.clone(),
            Span::default(),
            None,
        )
        .unwrap();
        senders.start(clock.stamp());
        let got = receive(&mut driver, socket, 3);
        assert_eq!(got, [&b"{\"a\":1}"[..], b"{\"a\":2}", b"{}"]);
        let report = &senders.finish().0[0];
        assert_eq!((report.sent, report.unsent, report.returned), (3, 0, None));
        assert_eq!(report.late_ns.count, 3);
        assert_eq!(
            report.skipped,
            BTreeMap::from([("bad_line", 1), ("empty", 1)])
        );
    }

    #[test]
    fn datagrams_that_return_are_counted_and_timed_from_their_intended_time() {
        let (mut driver, socket, to) = listening();
        let clock = Clock::calibrated();
        let datagrams = Content::Datagrams {
            rate_per_s: 10_000.0,
            arrivals: Arrivals::Constant,
            seed: 1,
            bytes: 64,
        };
        // Ten times 100 us from the start: 0, 100, ... 900 us.
        let senders = Senders::open(
            vec![lane(to, datagrams)],
            None,
            clock.clone(),
            until(950_000),
            None,
        )
        .unwrap();
        senders.start(clock.stamp());
        let got = receive(&mut driver, socket, 10);
        assert_eq!(got.len(), 10);
        for (at, datagram) in got.iter().enumerate() {
            assert_eq!(datagram.len(), 64);
            assert_eq!(datagram[..8], (at as u64).to_le_bytes());
        }
        while !senders.is_done() {
            std::thread::yield_now();
        }
        assert_eq!(senders.sent().collect::<Vec<_>>(), [("in", 10)]);
        let report = &senders.finish().0[0];
        assert_eq!(report.returned, Some(10));
        let away = report.round_trip_ns.unwrap();
        assert_eq!(away.count, 10);
        assert!(away.max >= report.late_ns.max);
    }

    fn datagrams(rate_per_s: f64, arrivals: Arrivals) -> Content {
        Content::Datagrams {
            rate_per_s,
            arrivals,
            seed: 1,
            bytes: 64,
        }
    }

    /// What a sender says that was started at `t0_ns`, once it has sent all.
    fn sent_all(
        lanes: Vec<LaneSpec>,
        span: Span,
        t0_ns: impl FnOnce(u64) -> u64,
    ) -> (SenderReport, GeneratorGaps) {
        let clock = Clock::calibrated();
        let senders = Senders::open(lanes, None, clock.clone(), span, None).unwrap();
        senders.start(t0_ns(clock.stamp()));
        while !senders.is_done() {
            std::thread::yield_now();
        }
        let (mut reports, gaps) = senders.finish();
        (reports.remove(0), gaps)
    }

    #[test]
    fn what_is_due_at_once_leaves_in_few_calls_and_in_order() {
        let (mut driver, socket, to) = listening();
        let at_once = Arrivals::Bursts {
            messages: 50,
            within_ns: 0,
        };
        let lanes = vec![lane(to, datagrams(5_000.0, at_once))];
        // A burst at 0, 10 and 20 ms, and the first message of none behind.
        let (report, _) = sent_all(lanes, until(29_000_000), |now_ns| now_ns);
        assert_eq!((report.sent, report.unsent, report.missed), (150, 0, 0));
        assert_eq!((report.bytes, report.late_ns.count), (150 * 64, 150));
        assert!(report.calls < 50, "{} calls", report.calls);
        let got = receive(&mut driver, socket, 150);
        let numbers = got
            .iter()
            .map(|datagram| u64::from_le_bytes(datagram[..8].try_into().unwrap()));
        assert!(numbers.eq(0..150));
        // Each says when it was due, not when it left.
        let due = got
            .iter()
            .map(|datagram| u64::from_le_bytes(datagram[8..16].try_into().unwrap()));
        let due: Vec<u64> = due.collect();
        assert!(
            due.iter()
                .all(|due_ns| (due_ns - due[0]).is_multiple_of(10_000_000))
        );
        assert_eq!(due[149] - due[0], 20_000_000);
    }

    #[test]
    fn what_is_a_second_late_is_missed_and_nothing_is_skipped() {
        let (_driver, _socket, to) = listening();
        let specs = || vec![lane(to, datagrams(1_000.0, Arrivals::Constant))];
        // Due from 10 s ago to 8 s ago: none of the 2,000 may leave.
        let long_ago = |now_ns: u64| now_ns - 10_000_000_000;
        let (report, _) = sent_all(specs(), until(2_000_000_000), long_ago);
        assert_eq!((report.sent, report.unsent, report.missed), (0, 0, 2_000));
        assert_eq!((report.late_ns.count, report.achieved_per_s), (0, 0.0));
        let analysis = report.analysis();
        assert_eq!(analysis.missed, 2_000);
        assert!(
            (analysis.offered_per_s - 1_000.0).abs() < 1.0,
            "{analysis:?}"
        );
        // Due from 3 s ago until now: what is older than a second is missed, the others leave at once.
        let (report, _) = sent_all(specs(), until(3_000_000_000), |now_ns| {
            now_ns - 3_000_000_000
        });
        assert_eq!(report.sent + report.unsent + report.missed, 3_000);
        assert!(report.missed >= 2_000 && report.sent > 0, "{report:?}");
        assert!(report.late_ns.p50 > 100_000_000, "{report:?}");
    }

    #[test]
    fn a_stop_leaves_nothing_uncounted() {
        let (_driver, _socket, to) = listening();
        let clock = Clock::calibrated();
        // Behind by half a second from the start on, at a rate that no sender keeps: what it may still
        // send after the stop is a small part of what it owes.
        let lanes = vec![lane(to, datagrams(2e7, Arrivals::Constant))];
        let senders = Senders::open(lanes, None, clock.clone(), Span::default(), None).unwrap();
        let t0_ns = clock.stamp().saturating_sub(500_000_000);
        senders.start(t0_ns);
        while senders.sent().map(|(_, sent)| sent).sum::<u64>() < 1_000 {
            std::thread::yield_now();
        }
        let stopping_ns = clock.stamp() - t0_ns;
        senders.stop();
        let (reports, _) = senders.finish();
        let over_ns = clock.stamp() - t0_ns;
        let report = &reports[0];
        let due = report.sent + report.unsent + report.missed;
        // One each fifty nanoseconds, up to when the sender saw the stop; they sweep by one gap.
        let span = stopping_ns / 50 - 1..=over_ns / 50 + 1;
        assert!(span.contains(&due), "{due} of {span:?}");
        assert!(report.missed > 0 && report.sent >= 1_000, "{report:?}");
        assert!(
            report.achieved_per_s < 0.99 * report.offered_per_s,
            "{report:?}"
        );
    }

    #[test]
    fn the_warm_up_is_in_no_rate_and_no_lateness() {
        let (_driver, _socket, to) = listening();
        let span = Span {
            most_ns: Some(20_000_000),
            warmup_ns: 5_000_000,
        };
        // 20 ms at 10,000 a second are 200 messages, 50 of them before 5 ms. All are due at the start, so
        // that they leave in batches, of which one would hold both kinds.
        let lanes = vec![lane(to, datagrams(10_000.0, Arrivals::Constant))];
        let (report, _) = sent_all(lanes, span, |now_ns| now_ns - 100_000_000);
        assert_eq!((report.sent, report.late_ns.count), (200, 150));
        let offered = 150.0 / 0.015;
        assert!((report.offered_per_s - offered).abs() < 1.0, "{report:?}");
    }

    #[test]
    fn a_rhythm_takes_the_place_of_other_arrivals() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("capture");
        // Gaps of 1 and 3 recorded milliseconds: 4 for two messages.
        std::fs::write(&file, "0 {}\n1000000 {}\n4000000 {}\n").unwrap();
        let (mut driver, socket, to) = listening();
        let spec = LaneSpec {
            recorded: Some(file),
            ..lane(to, datagrams(2_000.0, Arrivals::Constant))
        };
        let (report, _) = sent_all(vec![spec], until(2_900_000), |now_ns| now_ns);
        assert_eq!(report.sent, 6);
        let got = receive(&mut driver, socket, 6);
        let due: Vec<u64> = got
            .iter()
            .map(|datagram| u64::from_le_bytes(datagram[8..16].try_into().unwrap()))
            .collect();
        let gaps: Vec<u64> = due.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(gaps, [250_000, 750_000, 250_000, 750_000, 250_000]);
    }

    #[test]
    fn gaps_lie_within_the_run_and_in_order() {
        let (mut driver, socket, to) = listening();
        let clock = Clock::calibrated();
        let lanes = vec![lane(to, datagrams(50_000.0, Arrivals::Poisson))];
        let senders = Senders::open(lanes, None, clock.clone(), until(50_000_000), None).unwrap();
        let t0_ns = clock.stamp();
        senders.start(t0_ns);
        while !senders.is_done() {
            std::thread::yield_now();
        }
        let done_ns = clock.stamp();
        // One that comes back long after the end.
        for datagram in receive(&mut driver, socket, 1) {
            assert_eq!(datagram.len(), 64);
        }
        let (reports, gaps) = senders.finish();
        assert!(reports[0].sent > 2_000);
        // Known only if enough of them left alone.
        assert!(
            gaps.send_from_ns
                .is_none_or(|from_ns| from_ns >= GAP_FROM_NS)
        );
        assert_eq!(gaps.count, gaps.log.len() as u64 + gaps.lost);
        // Whatever the sender waits for before the start and after the end is no gap.
        let mut end_ns = t0_ns;
        for (start_ns, length_ns) in &gaps.log {
            assert!(*start_ns >= end_ns && *length_ns >= GAP_FROM_NS);
            end_ns = start_ns + length_ns;
        }
        assert!(end_ns <= done_ns, "{end_ns} of {done_ns}");
    }

    #[test]
    fn a_missing_capture_is_an_error_before_anything_is_sent() {
        let to = "127.0.0.1:9".parse().unwrap();
        let capture = Content::Capture {
            file: "/nowhere/capture.gz".into(),
            speed: None,
            epoch_ns: 0,
        };
        let failure = Senders::open(
            vec![lane(to, capture)],
            None,
            Clock::calibrated(),
            Span::default(),
            None,
        )
        .unwrap_err();
        assert_eq!(failure.exit, crate::exit::Exit::Io);
        assert!(failure.what.contains("/nowhere/capture.gz"), "{failure}");
    }
}
