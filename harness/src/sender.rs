//! Senders: what feeds a line over the loopback when its sources listen to UDP.
//!
//! One thread of its own feeds all of them, each datagram at a time that is fixed ahead and not
//! when the line has dealt with the one before (an *open loop*), so that a slow line cannot slow
//! the load down and hide its worst figures. What the thread itself adds, it reports: how late each
//! datagram left, and for datagrams that come back how long they were away, from their intended time.
//!
//! Invariant: memory is bounded whatever a capture holds; nothing allocates while it sends.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;

use hopline::base::limits::MESSAGE_BYTES_MAX;
use hopline::base::primitive::{Arc, AtomicBool, AtomicU64, Ordering, spin_hint};
use hopline::base::{Counter, Reason, Reject};
use hopline::budget::report::Percentiles;
use hopline::clock::Clock;
use hopline::feed::{Arrivals, Schedule, Synthetic, SyntheticSpec, parse_line};
use hopline::hist::Totals;
use hopline::host::{self, Pin};
use hopline::io::{Driver, Fill, LineEvent, LineReader, Sent, UdpId, UdpSpec};
use hopline::topology::report::percentiles;
use serde::Serialize;

use crate::exit::Failure;

/// Bytes of a capture that are read ahead: some 10 ms at 400 times the speed of the market.
const READ_AHEAD_BYTES: usize = 1 << 20;

/// Bytes of a capture taken at once, so that reading ahead delays no datagram by more than 0.2 ms.
const FILL_BYTES: usize = 32 << 10;

/// Nearer than this to a due time the thread spins: a sleep ends up to 60 us late.
const SPIN_NS: u64 = 100_000;

/// Longest the thread sleeps before it looks for a stop.
const LOOK_NS: u64 = 5_000_000;

/// Returned datagrams taken between two sent ones, so that taking does not delay sending.
const RETURNS_BURST: usize = 8;

/// Wanted receive buffer for what returns, in bytes: some 0.3 s of small datagrams at 20,000 a
/// second, should the sender lose its core. The system may grant less.
const RETURNS_BYTES: usize = 4 << 20;

/// Bytes at the head of a datagram of ours: sequence and intended time, both little endian.
const STAMP_BYTES: usize = 16;

/// What a lane sends.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// A synthetic market.
    Market(SyntheticSpec),
    /// Opaque datagrams that know when they were meant to leave.
    Datagrams {
        rate_per_s: f64,
        arrivals: Arrivals,
        seed: u64,
        /// At least 16.
        bytes: usize,
    },
    /// The messages of a capture, at a multiple of their recorded pace.
    Capture {
        file: PathBuf,
        /// `None` is as fast as it goes.
        speed: Option<f64>,
        /// The recorded time that the start stands for.
        epoch_ns: u64,
    },
}

/// What feeds one source.
#[derive(Clone, Debug)]
pub(crate) struct LaneSpec {
    /// The source, by name.
    pub(crate) source: String,
    /// Where it listens.
    pub(crate) to: SocketAddr,
    pub(crate) content: Content,
}

/// What a lane did, as the report has it.
#[derive(Clone, Debug, Serialize)]
pub struct SenderReport {
    /// The source that it fed.
    pub source: String,
    /// Where it sent to.
    pub to: String,
    /// `market`, `datagrams` or the capture's path.
    pub content: String,
    /// The core that the sending thread was bound to, if it was.
    pub core: Option<usize>,
    /// Datagrams that the system took.
    pub sent: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Datagrams that it did not take.
    pub unsent: u64,
    /// Times that it had no room for one, and the sender waited.
    pub would_block: u64,
    /// Lines of the capture that are no messages, by reason.
    pub skipped: BTreeMap<&'static str, u64>,
    /// How long after its intended time each datagram left, in nanoseconds.
    pub late_ns: Percentiles,
    /// Datagrams that came back; absent where none is expected.
    pub returned: Option<u64>,
    /// Datagrams that came back and that the kernel dropped before the sender took them.
    pub kernel_dropped: u64,
    /// From the intended time to the return, in nanoseconds; absent where none is expected.
    pub round_trip_ns: Option<Percentiles>,
    /// What went wrong first, in words.
    pub fault: Option<String>,
}

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

/// The sending thread, from outside.
#[derive(Debug)]
pub(crate) struct Senders {
    shared: Arc<Shared>,
    sources: Vec<String>,
    thread: JoinHandle<Vec<SenderReport>>,
}

impl Senders {
    /// Opens everything and waits for [`Senders::start`]. Without `core` the thread is not pinned.
    /// Nothing is sent whose intended time is after `most_ns` from the start.
    pub(crate) fn open(
        lanes: Vec<LaneSpec>,
        core: Option<usize>,
        clock: Clock,
        most_ns: Option<u64>,
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
                let loops = Loop::open(lanes, core, clock, most_ns, theirs);
                let (result, sender) = match loops {
                    Ok(sender) => (Ok(()), Some(sender)),
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

    /// Ends the thread and says what it did.
    pub(crate) fn finish(self) -> Vec<SenderReport> {
        self.stop();
        self.shared.finish.store(true, Ordering::Relaxed);
        // A panic of the thread has been printed; the run's own report is still worth having.
        self.thread.join().unwrap_or_default()
    }
}

enum Feed {
    Market(Box<Synthetic>),
    Datagrams { schedule: Schedule, sequence: u64 },
    Capture(Box<Capture>),
}

struct Capture {
    lines: LineReader,
    file: PathBuf,
    speed: Option<f64>,
    epoch_ns: u64,
    skipped: [u64; Reject::NAMES.len()],
}

/// When a message leaves.
#[derive(Clone, Copy)]
struct Due {
    /// Nanoseconds after the start.
    at_ns: u64,
    /// False where it leaves as soon as it can, and `at_ns` only gives its place among the lanes.
    paced: bool,
}

struct Lane {
    source: String,
    to: SocketAddr,
    content: String,
    socket: UdpId,
    feed: Feed,
    /// The next message, and when it leaves; `None` at the end.
    next: Option<Due>,
    message: Box<[u8]>,
    len: usize,
    bytes: u64,
    unsent: u64,
    would_block: u64,
    late: Totals,
    returned: u64,
    round_trip: Totals,
    fault: Option<String>,
}

struct Loop {
    driver: Driver,
    clock: Clock,
    core: Option<usize>,
    most_ns: u64,
    lanes: Vec<Lane>,
    shared: Arc<Shared>,
    inbox: Box<[u8]>,
}

fn totals() -> Totals {
    Totals::new(&[]).expect("no limits are never too many")
}

impl Loop {
    fn open(
        specs: Vec<LaneSpec>,
        core: Option<usize>,
        clock: Clock,
        most_ns: Option<u64>,
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
            most_ns: most_ns.unwrap_or(u64::MAX),
            lanes,
            shared,
            inbox: vec![0; MESSAGE_BYTES_MAX].into_boxed_slice(),
        })
    }

    fn run(mut self) -> Vec<SenderReport> {
        for lane in &mut self.lanes {
            lane.prepare(&mut self.driver);
        }
        let t0_ns = self.wait_for_start();
        while let Some((at, due)) = self.next_lane() {
            if !self.wait_until(t0_ns, due) {
                break;
            }
            self.send(at, t0_ns, due);
            self.take_returns(RETURNS_BURST);
        }
        self.shared.done.store(true, Ordering::Relaxed);
        while !self.shared.finish.load(Ordering::Relaxed) {
            if self.take_returns(usize::MAX) == 0 {
                self.rest(LOOK_NS);
            }
        }
        self.take_returns(usize::MAX);
        let (core, driver) = (self.core, &self.driver);
        let counts = self.shared.sent.iter().map(Counter::get);
        self.lanes
            .into_iter()
            .zip(counts)
            .map(|(lane, sent)| lane.report(driver, core, sent))
            .collect()
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
        let due = self.lanes.iter().enumerate();
        due.filter_map(|(at, lane)| lane.next.map(|due| (at, due)))
            .filter(|(_, due)| !due.paced || due.at_ns <= self.most_ns)
            .min_by_key(|(_, due)| due.at_ns)
    }

    /// Waits for a due time, reading ahead and taking returns meanwhile. False if it is to stop.
    fn wait_until(&mut self, t0_ns: u64, due: Due) -> bool {
        if !due.paced {
            let elapsed_ns = self.clock.stamp().saturating_sub(t0_ns);
            return !self.stopped() && elapsed_ns <= self.most_ns;
        }
        let due_ns = t0_ns.saturating_add(due.at_ns);
        loop {
            if self.stopped() {
                return false;
            }
            let now_ns = self.clock.stamp();
            if now_ns >= due_ns {
                return true;
            }
            let left_ns = due_ns - now_ns;
            if self.take_returns(RETURNS_BURST) > 0 {
                continue;
            }
            if left_ns > SPIN_NS {
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
            if let Feed::Capture(capture) = &mut lane.feed
                && !capture.lines.at_end()
            {
                let filled = capture.lines.fill(&mut self.driver, FILL_BYTES);
                progress |= matches!(filled, Ok(Fill::Progress { .. }));
            }
        }
        progress
    }

    fn rest(&mut self, most_ns: u64) {
        // Without a poll that rests, the thread offers its core instead of spinning.
        if self.driver.poll(self.clock.stamp(), Some(most_ns)).is_err() {
            std::thread::yield_now();
        }
    }

    fn send(&mut self, at: usize, t0_ns: u64, due: Due) {
        let lane = &mut self.lanes[at];
        let sending_ns = self.clock.stamp();
        let intended_ns = if due.paced {
            t0_ns.saturating_add(due.at_ns)
        } else {
            sending_ns
        };
        lane.stamp(intended_ns);
        let mut refused = false;
        loop {
            let message = &lane.message[..lane.len];
            match self.driver.udp_send(lane.socket, None, message) {
                Ok(Sent::Yes) => {
                    self.shared.sent[at].add(1);
                    lane.bytes += lane.len as u64;
                    if due.paced {
                        lane.late.record(sending_ns.saturating_sub(intended_ns));
                    }
                    break;
                }
                Ok(Sent::WouldBlock) if !self.shared.stop.load(Ordering::Relaxed) => {
                    lane.would_block += 1;
                    std::thread::yield_now();
                }
                // The word is about an earlier datagram: this one gets its chance.
                Ok(Sent::Refused) if !refused => refused = true,
                Ok(_) => {
                    lane.unsent += 1;
                    break;
                }
                Err(error) => {
                    lane.unsent += 1;
                    lane.fault.get_or_insert_with(|| error.to_string());
                    break;
                }
            }
        }
        lane.prepare(&mut self.driver);
    }

    /// Takes datagrams that came back, at most `most`, and says how many.
    fn take_returns(&mut self, most: usize) -> usize {
        let mut taken = 0;
        for lane in &mut self.lanes {
            if !matches!(lane.feed, Feed::Datagrams { .. }) {
                continue;
            }
            while taken < most {
                let Ok(Some(datagram)) = self.driver.udp_recv(lane.socket, &mut self.inbox) else {
                    break;
                };
                let now_ns = self.clock.stamp_after();
                taken += 1;
                let stamp = self.inbox[..datagram.len].get(8..STAMP_BYTES);
                if let Some(Ok(intended)) = stamp.map(<[u8; 8]>::try_from) {
                    lane.returned += 1;
                    let away_ns = now_ns.saturating_sub(u64::from_le_bytes(intended));
                    lane.round_trip.record(away_ns);
                }
            }
        }
        taken
    }
}

impl Lane {
    fn open(spec: LaneSpec, driver: &mut Driver) -> Result<Lane, Failure> {
        let wrong = |what: &dyn std::fmt::Display| {
            Failure::usage(format!("cannot feed \"{}\": {what}", spec.source), "")
        };
        let mut message_bytes = MESSAGE_BYTES_MAX;
        let (feed, content) = match spec.content {
            Content::Market(market) => {
                let feed = Synthetic::new(&market).map_err(|error| wrong(&error))?;
                (Feed::Market(Box::new(feed)), "market".to_owned())
            }
            Content::Datagrams {
                rate_per_s,
                arrivals,
                seed,
                bytes,
            } => {
                let schedule =
                    Schedule::new(rate_per_s, arrivals, seed).map_err(|error| wrong(&error))?;
                message_bytes = bytes.clamp(STAMP_BYTES, MESSAGE_BYTES_MAX);
                let sequence = 0;
                (
                    Feed::Datagrams { schedule, sequence },
                    "datagrams".to_owned(),
                )
            }
            Content::Capture {
                file,
                speed,
                epoch_ns,
            } => {
                let lines = LineReader::open(driver, &file, READ_AHEAD_BYTES)?;
                let content = file.display().to_string();
                let skipped = [0; Reject::NAMES.len()];
                let capture = Capture {
                    lines,
                    file,
                    speed,
                    epoch_ns,
                    skipped,
                };
                (Feed::Capture(Box::new(capture)), content)
            }
        };
        Ok(Lane {
            source: spec.source,
            to: spec.to,
            content,
            socket: driver.udp_open(&UdpSpec {
                recv_buffer_bytes: Some(RETURNS_BYTES),
                ..UdpSpec::connected(spec.to)
            })?,
            feed,
            next: None,
            message: vec![b'.'; message_bytes].into_boxed_slice(),
            len: 0,
            bytes: 0,
            unsent: 0,
            would_block: 0,
            late: totals(),
            returned: 0,
            round_trip: totals(),
            fault: None,
        })
    }

    /// Makes the next message ready, if there is one.
    fn prepare(&mut self, driver: &mut Driver) {
        self.next = match &mut self.feed {
            Feed::Market(feed) => feed.next(&mut self.message).map(|(at_ns, len)| {
                self.len = len;
                Due { at_ns, paced: true }
            }),
            Feed::Datagrams { schedule, sequence } => {
                self.len = self.message.len();
                self.message[..8].copy_from_slice(&sequence.to_le_bytes());
                *sequence += 1;
                Some(Due {
                    at_ns: schedule.next_ns(),
                    paced: true,
                })
            }
            Feed::Capture(capture) => match capture.next(driver, &mut self.message) {
                Ok(next) => next.map(|(due, len)| {
                    self.len = len;
                    due
                }),
                Err(what) => {
                    self.fault.get_or_insert(what);
                    None
                }
            },
        };
    }

    /// Writes the intended time into a datagram of ours.
    fn stamp(&mut self, intended_ns: u64) {
        if let Feed::Datagrams { .. } = self.feed {
            self.message[8..STAMP_BYTES].copy_from_slice(&intended_ns.to_le_bytes());
        }
    }

    fn report(self, driver: &Driver, core: Option<usize>, sent: u64) -> SenderReport {
        let expects_returns = matches!(self.feed, Feed::Datagrams { .. });
        let skipped = match &self.feed {
            Feed::Capture(capture) => Reject::NAMES
                .iter()
                .zip(capture.skipped)
                .filter(|(_, count)| *count > 0)
                .map(|(name, count)| (*name, count))
                .collect(),
            _ => BTreeMap::new(),
        };
        SenderReport {
            source: self.source,
            to: self.to.to_string(),
            content: self.content,
            core,
            sent,
            bytes: self.bytes,
            unsent: self.unsent,
            would_block: self.would_block,
            skipped,
            late_ns: percentiles(&self.late),
            returned: expects_returns.then_some(self.returned),
            kernel_dropped: driver.udp_kernel_drops(self.socket).unwrap_or(0),
            round_trip_ns: expects_returns.then(|| percentiles(&self.round_trip)),
            fault: self.fault,
        }
    }
}

impl Capture {
    /// Copies the next message into `message`: when it leaves, and its length. `None` at the end.
    fn next(
        &mut self,
        driver: &mut Driver,
        message: &mut [u8],
    ) -> Result<Option<(Due, usize)>, String> {
        while !self.lines.at_end() {
            match self.lines.next_line() {
                Some(LineEvent::Line(line)) => match parse_line(line) {
                    Ok((_, json)) if json.len() > message.len() => {
                        self.skipped[Reject::TooLong.index()] += 1;
                    }
                    Ok((at_ns, json)) => {
                        message[..json.len()].copy_from_slice(json);
                        let span_ns = at_ns.saturating_sub(self.epoch_ns);
                        let due = match self.speed {
                            Some(speed) => Due {
                                at_ns: (span_ns as f64 / speed) as u64,
                                paced: true,
                            },
                            None => Due {
                                at_ns: span_ns,
                                paced: false,
                            },
                        };
                        return Ok(Some((due, json.len())));
                    }
                    Err(why) => self.skipped[why.index()] += 1,
                },
                Some(LineEvent::Bad(why)) => self.skipped[why.index()] += 1,
                None => {
                    let filled = self.lines.fill(driver, FILL_BYTES);
                    filled.map_err(|error| format!("{}: {error}", self.file.display()))?;
                }
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(to: SocketAddr, content: Content) -> LaneSpec {
        LaneSpec {
            source: "in".to_owned(),
            to,
            content,
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
        let senders = Senders::open(vec![lane(to, capture)], None, clock.clone(), None).unwrap();
        senders.start(clock.stamp());
        let got = receive(&mut driver, socket, 3);
        assert_eq!(got, [&b"{\"a\":1}"[..], b"{\"a\":2}", b"{}"]);
        let report = &senders.finish()[0];
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
            Some(950_000),
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
        let report = &senders.finish()[0];
        assert_eq!(report.returned, Some(10));
        let away = report.round_trip_ns.unwrap();
        assert_eq!(away.count, 10);
        assert!(away.max >= report.late_ns.max);
    }

    #[test]
    fn a_missing_capture_is_an_error_before_anything_is_sent() {
        let to = "127.0.0.1:9".parse().unwrap();
        let capture = Content::Capture {
            file: "/nowhere/capture.gz".into(),
            speed: None,
            epoch_ns: 0,
        };
        let failure =
            Senders::open(vec![lane(to, capture)], None, Clock::calibrated(), None).unwrap_err();
        assert_eq!(failure.exit, crate::exit::Exit::Io);
        assert!(failure.what.contains("/nowhere/capture.gz"), "{failure}");
    }
}
