//! Senders: what feeds a line over the loopback when its sources listen to UDP.
//!
//! One thread of its own feeds all of them, each datagram at a time that is fixed ahead and not
//! when the line has dealt with the one before (an *open loop*), so that a slow line cannot slow
//! the load down and hide its worst figures. What the thread itself adds, it reports: how late each
//! datagram left, and for datagrams that come back how long they were away, from their intended time.
//!
//! Invariant: memory is bounded whatever a capture holds; nothing allocates while it sends.
mod lane;

use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;

use hopline::base::Counter;
use hopline::base::limits::MESSAGE_BYTES_MAX;
use hopline::base::primitive::{Arc, AtomicBool, AtomicU64, Ordering, spin_hint};
use hopline::clock::Clock;
use hopline::host::{self, Pin};
use hopline::io::Driver;

use crate::exit::Failure;
pub use lane::SenderReport;
pub(crate) use lane::{Content, LaneSpec};
use lane::{Due, Lane};

/// Nearer than this to a due time the thread spins: a sleep ends up to 60 us late.
const SPIN_NS: u64 = 100_000;

/// Longest the thread sleeps before it looks for a stop.
const LOOK_NS: u64 = 5_000_000;

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

struct Loop {
    driver: Driver,
    clock: Clock,
    core: Option<usize>,
    most_ns: u64,
    lanes: Vec<Lane>,
    shared: Arc<Shared>,
    inbox: Box<[u8]>,
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
            self.send(at, t0_ns);
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
        due.filter_map(|(at, lane)| lane.next().map(|due| (at, due)))
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
            progress |= lane.read_ahead(&mut self.driver);
        }
        progress
    }

    fn rest(&mut self, most_ns: u64) {
        // Without a poll that rests, the thread offers its core instead of spinning.
        if self.driver.poll(self.clock.stamp(), Some(most_ns)).is_err() {
            std::thread::yield_now();
        }
    }

    fn send(&mut self, at: usize, t0_ns: u64) {
        let shared = &self.shared;
        let stopped = || shared.stop.load(Ordering::Relaxed);
        if self.lanes[at].send(&mut self.driver, &self.clock, t0_ns, stopped) {
            shared.sent[at].add(1);
        }
    }

    /// Takes datagrams that came back, at most `most` of each lane, and says how many.
    fn take_returns(&mut self, most: usize) -> usize {
        let mut taken = 0;
        for lane in &mut self.lanes {
            taken += lane.take_returns(&mut self.driver, &self.clock, &mut self.inbox, most);
        }
        taken
    }
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
