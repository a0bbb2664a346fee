//! Hops that overflow into a file: what gets there, what does not, and that both are told, whatever becomes of disk and process.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use hopline::base::NoWhy;
use hopline::base::primitive::{AtomicBool, Ordering};
use hopline::budget::report::ByReason;
use hopline::clock::Clock;
use hopline::control::What;
use hopline::frame::View;
use hopline::frame::capture::WhyEnded;
use hopline::host::{Host, Pin};
use hopline::io::{
    CaptureBreak, CaptureEvent, CaptureReader, Driver, FaultPlan, Faulty, Fill, IoError, VirtualNet,
};
use hopline::overload::{Policy, WhenFull};
use hopline::stage::{Context, Delivery, Egress, Leaving, Outcome, Port, Stage};
use hopline::topology::{
    Builder, Hop, Line, OverflowReport, Placement, Report, Running, StartError, ThreadSpec,
};
use hopline::wait::Strategy;

use crate::line::{Depth, PARTS, Quote, Seen, Trade, run_on};
use crate::numbers::{Collect, Counting, NUMBERS, Number};
use crate::{MESSAGES, SERVICE_NS, TEN_TIMES, adds_up, count, hop};

const PATH: &str = "overflow.cap";

/// A hop that overflows into a file with room for all.
fn into(path: impl AsRef<Path>, bytes_max: u64) -> Hop {
    let hop = Hop::depth(64).when_full(WhenFull::Overflow);
    hop.overflow_file(path.as_ref(), bytes_max)
}

/// What a file holds.
#[derive(Debug, Default)]
struct Held {
    seen: Seen,
    /// The values of messages that are none of those.
    numbers: Vec<u64>,
    messages: u64,
    /// How it ended, if it did: messages, frames lost and messages not in it.
    end: Option<(Option<WhyEnded>, [u64; 3])>,
    torn: Option<CaptureBreak>,
}

fn read(io: &mut Driver, path: impl AsRef<Path>) -> Held {
    let mut reader = CaptureReader::open(io, path.as_ref()).expect("a capture");
    let mut held = Held::default();
    let mut offered_ns = 0;
    loop {
        match reader.next_event() {
            Some(CaptureEvent::Message(message)) => {
                held.messages += 1;
                assert!(message.about.offered_ns >= offered_ns, "they are in order");
                offered_ns = message.about.offered_ns;
                for (nth, (header, payload)) in message.frames().enumerate() {
                    match header.schema() {
                        900 => held
                            .numbers
                            .push(View::<Number>::read(payload).unwrap().value()),
                        901 => {
                            let quote = View::<Quote>::read(payload).unwrap();
                            held.seen.quotes.push(quote.to_owned());
                        }
                        902 => held
                            .seen
                            .trades
                            .push(View::<Trade>::read(payload).unwrap().value()),
                        _ => {
                            let depth = View::<Depth>::read(payload).unwrap().to_owned();
                            assert_eq!(
                                (usize::from(depth.nth), message.frames),
                                (nth, PARTS.into())
                            );
                            if depth.nth == 0 {
                                held.seen.depths.push(depth.value);
                            }
                        }
                    }
                }
                continue;
            }
            Some(CaptureEvent::End(end)) => {
                let counts = [end.messages, end.frames_lost, end.unrecorded];
                held.end = Some((end.why, counts));
                continue;
            }
            Some(CaptureEvent::Bad(wrong)) => panic!("{wrong}"),
            None => {}
        }
        if reader.fill(io, 1 << 16).expect("it can be read") == Fill::End {
            held.torn = reader.torn();
            reader.close(io).expect("it was open");
            return held;
        }
    }
}

/// Runs at ten times its capacity on that driver, with a file of so many bytes.
fn overflowed(driver: Driver, bytes_max: u64) -> (Report, Seen, Driver) {
    let (ran, seen) = run_on(driver, TEN_TIMES, SERVICE_NS, None, 1024, |line| {
        line.connect("in", "work", into(PATH, bytes_max));
    });
    let (report, driver) = ran.expect("it runs");
    adds_up(&report, &seen, &["in->work"]);
    (report, seen, driver)
}

/// The only file of a line at its end, of which all is said that must hold.
fn file(report: &Report) -> &OverflowReport {
    let [file] = report.overflow_files.as_slice() else {
        panic!("{:?}", report.overflow_files);
    };
    let shed = &hop(report, &file.hop).shed;
    let all = |by: &ByReason| by.values().sum::<u64>();
    assert_eq!(file.handed, count(shed, "overflowed"), "{file:?}");
    assert_eq!(all(&file.refused), count(shed, "full"), "{file:?}");
    assert_eq!(file.handed, file.written + all(&file.failed), "{file:?}");
    assert_eq!(file.pending, 0);
    assert!(file.bytes <= file.bytes_max);
    file
}

#[test]
fn what_overflows_into_a_file_is_there_once_and_whole() {
    let net = VirtualNet::new();
    let (report, seen, mut io) = overflowed(net.driver().into(), 64 << 20);
    let file = file(&report);
    let held = read(&mut io, PATH);
    assert_eq!((held.messages, held.torn), (file.written, None));
    assert_eq!(
        held.end,
        Some((Some(WhyEnded::HopEnded), [file.written, 0, 0]))
    );
    assert_eq!(file.bytes, net.file(PATH).unwrap().len() as u64);
    let mut trades = [seen.trades, held.seen.trades].concat();
    trades.sort_unstable();
    let sent: Vec<u64> = (0..MESSAGES).filter(|value| value % 3 == 1).collect();
    assert_eq!(trades, sent, "each trade is in one of the two places");
    assert_eq!(seen.depths.len() + held.seen.depths.len(), sent.len());
    assert_eq!(seen.quotes.len() + held.seen.quotes.len(), sent.len());
    assert!(file.refused.is_empty() && report.is_good(), "{file:?}");
}

#[test]
fn a_file_never_gets_more_than_its_bound_and_what_it_has_no_room_for_is_told() {
    let net = VirtualNet::new();
    let (report, _, mut io) = overflowed(net.driver().into(), 1 << 20);
    let file = file(&report);
    let length = net.file(PATH).unwrap().len() as u64;
    assert_eq!(file.bytes, length);
    // A head of 64 KiB and the longest message may be left free.
    assert!(
        length <= 1 << 20 && length > (1 << 20) - (140 << 10),
        "{length}"
    );
    assert!(
        file.refused["bound"] > 0 && file.failed.is_empty(),
        "{file:?}"
    );
    let held = read(&mut io, PATH);
    let (_, [messages, frames_lost, unrecorded]) = held.end.expect("it ended");
    assert_eq!(
        (held.messages, messages, unrecorded),
        (file.written, file.written, 0)
    );
    assert!(
        frames_lost > file.refused["bound"],
        "it says itself how many are missing"
    );
    assert!(report.is_good(), "that is what was asked for");
}

#[test]
fn a_full_disk_costs_messages_and_is_told_once() {
    let net = VirtualNet::new();
    let plan = FaultPlan {
        disk_full_after_bytes: Some(300_000),
        short_write_one_in: 3,
        ..FaultPlan::default()
    };
    let faulty = Faulty::new(net.driver().into(), plan);
    let (report, _, _) = overflowed(faulty.into(), 64 << 20);
    let file = file(&report);
    assert!(
        file.written > 100 && file.failed["disk_full"] > 0,
        "{file:?}"
    );
    // Once that is known nothing is handed over any more.
    assert!(
        file.refused["broken"] > file.failed["disk_full"],
        "{file:?}"
    );
    let expected = "in->work: overflow.cap: cannot write: no space left on the device";
    assert_eq!(report.faults, [expected]);
    assert!(!report.is_good());
    // What is there is whole.
    let held = read(&mut net.driver().into(), PATH);
    assert_eq!(
        (held.messages, held.end, held.torn),
        (file.written, None, None)
    );
}

#[test]
fn what_an_earlier_run_had_no_room_for_is_not_overwritten() {
    let net = VirtualNet::new();
    let calm = |net: &VirtualNet| {
        run_on(
            net.driver().into(),
            &[(1_000_000, 50_000)],
            SERVICE_NS,
            None,
            1024,
            |line| {
                line.connect("in", "work", into(PATH, 1 << 20));
            },
        )
    };
    // A file that got nothing is nothing to keep.
    for _ in 0..2 {
        let (ran, _) = calm(&net);
        let (report, _) = ran.expect("it runs");
        assert_eq!((file(&report).handed, report.is_good()), (0, true));
    }
    overflowed(net.driver().into(), 1 << 20);
    let before = net.file(PATH);
    let (ran, _) = calm(&net);
    let refused = ran.expect_err("it does not start");
    let StartError::Open { node, error } = &refused else {
        panic!("{refused}");
    };
    assert_eq!(node, "in->work");
    let expected = "cannot write to overflow.cap: it holds what an earlier run left there";
    assert_eq!(error.to_string(), expected);
    assert!(error.hint().is_some());
    assert_eq!(net.file(PATH), before);
    // Nor does one that cannot be made, or not be written to at all.
    for (path, expected) in [
        ("/nowhere/overflow.cap", "no such file or folder"),
        ("/dev/full", "no space left"),
    ] {
        let mut line = to_a_stuck_sink(&Arc::default(), into(path, 1 << 20));
        let refused = line.build().expect("a line").start().err();
        let told = refused.expect("it does not start").to_string();
        assert!(
            told.contains("in->out: ") && told.contains(expected),
            "{told}"
        );
    }
}

#[test]
fn a_hop_that_may_overflow_into_a_file_can_be_told_to_and_another_not() {
    let folder = tempfile::tempdir().unwrap();
    let let_go = Arc::new(AtomicBool::new(true));
    let path = folder.path().join(PATH);
    let mut running = start(&mut to_a_stuck_sink(&let_go, into(&path, 1 << 20)));
    running
        .set_policy("in->out", Policy::of(WhenFull::Block))
        .unwrap();
    running
        .set_policy("in->out", Policy::of(WhenFull::Overflow))
        .unwrap();
    assert!(running.wait(PATIENT));
    assert!(running.end("finished").is_good());
    let mut line = to_a_stuck_sink(&let_go, Hop::depth(64));
    let mut running = start(&mut line);
    let told = running.set_policy("in->out", Policy::of(WhenFull::Overflow));
    assert!(
        told.unwrap_err()
            .to_string()
            .contains("nowhere to overflow to")
    );
    assert!(running.wait(PATIENT));
    running.end("finished");
}

const PATIENT: Duration = Duration::from_secs(60);

/// Numbers of a run on threads.
const COUNT: u64 = 20_000;

/// Hangs with its hundredth message until it is let go.
struct Stuck {
    let_go: Arc<AtomicBool>,
    seen: u64,
}

impl Egress for Stuck {
    fn open(&mut self, _io: &mut Driver) -> Result<(), IoError> {
        Ok(())
    }

    fn on_frame(&mut self, _frame: Leaving<'_>, _io: &mut Driver) -> Delivery {
        self.seen += 1;
        while self.seen == 100 && !self.let_go.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        Delivery::Sent
    }
}

/// in → out, each on a thread of its own.
fn to_a_stuck_sink(let_go: &Arc<AtomicBool>, hop: Hop) -> Builder {
    from(Counting::new(COUNT, 0), let_go, hop)
}

/// The same from that source.
fn from(source: Counting, let_go: &Arc<AtomicBool>, hop: Hop) -> Builder {
    let mut line = Line::builder("overflows");
    line.source("in", source);
    let let_go = let_go.clone();
    line.sink("out", Stuck { let_go, seen: 0 });
    line.connect("in", "out", hop);
    on_threads_of_their_own(&mut line, &["in", "out"]);
    line
}

fn on_threads_of_their_own(line: &mut Builder, nodes: &[&str]) {
    let thread = |name: &&str| ThreadSpec {
        name: (*name).to_owned(),
        nodes: vec![(*name).to_owned()],
        ..ThreadSpec::default()
    };
    line.placement(Placement {
        pin: Pin::Off,
        wait: Some(Strategy::YIELD),
        threads: nodes.iter().map(thread).collect(),
        ..Placement::default()
    });
}

fn start(line: &mut Builder) -> Running {
    line.build().expect("a line").start().expect("it starts")
}

/// Looks on until a report says so.
fn until(running: &mut Running, said: impl Fn(&Report) -> bool) -> Report {
    for _ in 0..60_000 {
        let report = running.report();
        if said(&report) {
            return report;
        }
        running.wait(Duration::from_millis(1));
    }
    panic!("{:?}", running.report().overflow_files);
}

#[test]
fn a_file_is_read_while_a_line_on_threads_writes_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(PATH);
    let let_go = Arc::<AtomicBool>::default();
    let endless = Counting::new(u64::MAX, 10_000);
    let mut running = start(&mut from(endless, &let_go, into(&path, 64 << 20)));
    let report = until(&mut running, |report| {
        report.overflow_files[0].written > 1_000
    });
    let mut io = Driver::real().unwrap();
    let held = read(&mut io, &path);
    // As many as were written by then, and perhaps a part of one that is being written.
    assert!(held.messages >= report.overflow_files[0].written);
    assert!(held.numbers.is_sorted() && held.end.is_none());
    let_go.store(true, Ordering::Release);
    let report = running.end("signal");
    assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
    assert!(report.is_good(), "{:?}", report.faults);
    let file = file(&report);
    let held = read(&mut io, &path);
    let (why, [messages, ..]) = held.end.expect("it has ended");
    assert_eq!((why, messages), (Some(WhyEnded::HopEnded), file.written));
    assert_eq!(held.messages, file.written);
    assert_eq!(file.bytes, std::fs::metadata(&path).unwrap().len());
}

#[test]
fn a_disk_that_is_full_is_complained_of_once_by_a_line_on_threads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(PATH);
    let let_go = Arc::<AtomicBool>::default();
    let mut line = to_a_stuck_sink(&let_go, into(&path, 64 << 20));
    let line = line.build().expect("a line");
    let (host, clock) = (Host::read(), Clock::os());
    let plan = line.plan(&host).expect("a plan");
    let driver = || {
        let plan = FaultPlan {
            disk_full_after_bytes: Some(200_000),
            ..FaultPlan::default()
        };
        Ok(Faulty::new(Driver::real()?, plan).into())
    };
    let mut running = line
        .start_as(plan, host, clock, &driver)
        .expect("it starts");
    until(&mut running, |report| {
        report.overflow_files[0].fault.is_some()
    });
    let told = running.complaints();
    let of_files = |told: &[hopline::topology::Heard]| {
        let failed = told
            .iter()
            .filter(|one| one.complaint.what == What::FileFailed);
        failed.map(|one| one.words.clone()).collect::<Vec<_>>()
    };
    let words = of_files(&told);
    assert_eq!(words.len(), 1, "{words:?}");
    let expected = "in->out overflows no more: ";
    assert!(
        words[0].starts_with(expected) && words[0].contains("no space left"),
        "{words:?}"
    );
    let_go.store(true, Ordering::Release);
    assert!(running.wait(PATIENT));
    assert_eq!(of_files(&running.complaints()), Vec::<String>::new());
    let report = running.end("finished");
    assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
    let file = file(&report);
    assert!(file.written > 0 && file.bytes <= 200_000, "{file:?}");
    let held = read(&mut Driver::real().unwrap(), &path);
    assert_eq!((held.messages, held.torn), (file.written, None));
}

/// Hangs in its last frame until it is let go.
struct HangsAtTheEnd(Arc<AtomicBool>);

impl Stage for HangsAtTheEnd {
    type In = Number;
    type Why = NoWhy;
    const PORTS: &'static [Port] = &[Port::new::<Number>("out")];

    fn on_frame(&mut self, number: View<'_, Number>, cx: &mut Context<'_>) -> Outcome<NoWhy> {
        cx.emit(NUMBERS, &number.to_owned());
        while number.value() == COUNT - 1 && !self.0.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        Outcome::done()
    }
}

#[test]
fn a_file_is_ended_by_the_drains_deadline_though_its_hop_never_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(PATH);
    let let_go = Arc::<AtomicBool>::default();
    let mut line = Line::builder("hangs");
    line.source("in", Counting::new(COUNT, 0));
    let hangs = let_go.clone();
    line.stage("odd", move || HangsAtTheEnd(hangs.clone()));
    line.sink("out", Collect::default());
    line.connect("in", "odd", Hop::depth(64));
    line.connect("odd", "out", into(&path, 64 << 20));
    on_threads_of_their_own(&mut line, &["in", "odd", "out"]);
    let mut running = start(&mut line);
    until(&mut running, |report| {
        hop(report, "odd->out").offered == COUNT
    });
    let drain = running.drain_within("signal", Duration::from_millis(400));
    assert_eq!(
        (drain.complete, drain.stuck.as_slice()),
        (false, &["odd".to_owned()][..])
    );
    let report = running.end("signal");
    let_go.store(true, Ordering::Release);
    assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
    let file = file(&report);
    let held = read(&mut Driver::real().unwrap(), &path);
    assert_eq!(held.messages, file.written);
    assert_eq!(held.end.map(|(why, _)| why), Some(Some(WhyEnded::Stopped)));
}

/// By this variable a test finds that it is to be killed, and where it is to write.
const KILLED: &str = "HOPLINE_TEST_KILLED";

#[test]
fn what_a_killed_process_has_written_is_whole_up_to_its_last_message() {
    if let Some(path) = std::env::var_os(KILLED) {
        let mut line = to_a_stuck_sink(&Arc::default(), into(path, 1 << 30));
        line.source("more", Counting::new(u64::MAX, 2_000));
        line.connect(
            "more",
            "out",
            Hop::depth(64).when_full(WhenFull::DropNewest),
        );
        start(&mut line).wait(PATIENT);
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(PATH);
    let name = "file::what_a_killed_process_has_written_is_whole_up_to_its_last_message";
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name])
        .env(KILLED, &path)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let length = || std::fs::metadata(&path).map_or(0, |file| file.len());
    let mut io = Driver::real().unwrap();
    // A minute and more.
    for _ in 0..60_000 {
        if length() > 500_000 {
            break;
        }
        io.poll(0, Some(1_000_000)).unwrap();
        assert!(
            child.try_wait().unwrap().is_none(),
            "it runs until it is killed"
        );
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let held = read(&mut io, &path);
    assert!(
        held.numbers.is_sorted() && held.messages > 1_000,
        "{}",
        held.messages
    );
    assert_eq!(held.end, None);
    if let Some(torn) = held.torn {
        assert!(
            torn.to_string().contains("it ends within a block"),
            "{torn}"
        );
    }
}
