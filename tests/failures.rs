//! What goes wrong at the edges of a node's life is accounted for and named, and nothing hangs.

use std::time::Duration;

use hopline::base::{NoWhy, Reject};
use hopline::budget::IngressCounters;
use hopline::clock::Clock;
use hopline::frame::View;
use hopline::host::Pin;
use hopline::io::{Driver, IoError, IoErrorKind, Virtual};
use hopline::stage::{
    Arrival, Context, Decode, Decoded, Delivery, Egress, Feed, Ingress, Leaving, Out, Outcome,
    Port, SourceContext, Stage,
};
use hopline::topology::{
    Builder, Hop, Inline, Line, Placement, Report, Stop, ThreadSpec, p50, p99,
};
use hopline::wait::Strategy;

#[path = "common/numbers.rs"]
mod numbers;

use numbers::{Counting, NUMBERS, Number};

#[hopline::frame(schema = 901, version = 1, name = "other")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Other {
    a: u32,
}

#[hopline::frame_set]
#[derive(Clone, Debug)]
enum Both {
    Number(Number),
    Other(Other),
}

/// A sink that misbehaves as its fields say.
#[derive(Default)]
struct Sink {
    not_now: u64,
    flush_fails: bool,
    reject: Option<u8>,
}

impl Egress for Sink {
    fn open(&mut self, _io: &mut Driver) -> Result<(), IoError> {
        Ok(())
    }

    fn on_frame(&mut self, frame: Leaving<'_>, _io: &mut Driver) -> Delivery {
        if self.not_now > 0 {
            self.not_now -= 1;
            return Delivery::NotNow;
        }
        if !frame.envelope.flags.is_last() {
            return Delivery::Part;
        }
        self.reject.map_or(Delivery::Sent, Delivery::Rejected)
    }

    fn flush(&mut self, _io: &mut Driver) -> Result<(), IoError> {
        if self.flush_fails {
            return Err(IoError::new(IoErrorKind::Other, "flush"));
        }
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq)]
enum How {
    Pass,
    HoldAll,
    EmitInDrain,
    Timer(u64),
    Nothing,
    TakeBack(usize),
    TimerThenPanic,
    PanicInStart,
}

struct Odd(How);

impl Stage for Odd {
    type In = Number;
    type Why = NoWhy;
    const PORTS: &'static [Port] = &[Port::new::<Number>("out")];

    fn on_start(&mut self) {
        assert!(self.0 != How::PanicInStart, "planted in on_start");
    }

    fn on_frame(&mut self, number: View<'_, Number>, cx: &mut Context<'_>) -> Outcome<NoWhy> {
        match self.0 {
            How::HoldAll => return Outcome::held(),
            How::Timer(gap_ns) => cx.wake_at(cx.now_ns() + gap_ns),
            How::Nothing => drop(cx.message(NUMBERS, 900, 0)),
            How::TimerThenPanic if number.value() > 0 => panic!("planted"),
            How::TimerThenPanic => cx.wake_at(cx.now_ns()),
            How::TakeBack(frames) => drop(cx.message(NUMBERS, 900, frames)),
            _ => {}
        }
        if !matches!(self.0, How::TakeBack(_)) {
            cx.emit(NUMBERS, &number.to_owned());
        }
        Outcome::done()
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) {
        if let How::Timer(gap_ns) = self.0 {
            cx.emit(NUMBERS, &Number { value: 1 });
            cx.wake_at(cx.now_ns() + gap_ns);
        }
    }

    fn on_drain(&mut self, cx: &mut Context<'_>) {
        if self.0 == How::EmitInDrain {
            cx.emit(NUMBERS, &Number { value: 99 });
        }
    }
}

fn three(count: u64, gap_ns: u64, how: How, sink: Sink, depth: usize) -> Builder {
    let mut line = Line::builder("odd");
    line.source("in", Counting::new(count, gap_ns));
    line.stage("odd", move || Odd(how));
    line.sink("out", sink);
    line.connect("in", "odd", Hop::depth(depth));
    line.connect("odd", "out", Hop::depth(depth));
    line
}

fn inline(mut line: Builder) -> Report {
    let inline = Inline::new(Driver::Virtual(Virtual::new()));
    let line = line.build().expect("a right line");
    line.run_inline(inline, None).expect("it runs").0
}

/// On threads that park, placed by hand.
fn placed(line: &mut Builder, threads: &[&[&str]]) {
    placed_as("loop", line, threads);
}

fn placed_as(prefix: &str, line: &mut Builder, threads: &[&[&str]]) {
    let thread = |(at, nodes): (usize, &&[&str])| ThreadSpec {
        name: format!("{prefix}-{at}"),
        core: None,
        wait: Some(Strategy::PARK),
        nodes: nodes.iter().map(|node| (*node).to_owned()).collect(),
        ..ThreadSpec::default()
    };
    line.placement(Placement {
        pin: Pin::Off,
        wait: Some(Strategy::PARK),
        threads_max: None,
        threads: threads.iter().enumerate().map(thread).collect(),
        ..Placement::default()
    });
}

fn breach(report: &Report, words: &str) {
    assert!(!report.is_good() && !report.ledger.closed);
    assert!(
        report
            .ledger
            .breaches
            .iter()
            .any(|told| told.contains(words)),
        "{:?}",
        report.ledger.breaches
    );
}

/// Every message is accounted for, and some are lost that must not be.
fn loss(report: &Report, words: &str) {
    assert!(
        !report.is_good() && report.ledger.closed,
        "{:?}",
        report.ledger.breaches
    );
    assert!(
        report.ledger.losses.iter().any(|told| told.contains(words)),
        "{:?}",
        report.ledger.losses
    );
}

#[test]
fn an_emission_while_draining_waits_for_room_as_any_other_does() {
    let sink = Sink {
        not_now: 50,
        ..Sink::default()
    };
    let report = inline(three(4, 0, How::EmitInDrain, sink, 4));
    assert!(report.is_good(), "{:?}", report.ledger.breaches);
    assert_eq!(report.hops[1].delivered, 5);
}

#[test]
fn what_is_held_at_the_end_opens_the_ledger() {
    breach(
        &inline(three(5, 0, How::HoldAll, Sink::default(), 8)),
        "odd: still holds 5",
    );
}

#[test]
fn a_message_of_nothing_is_nothing() {
    let report = inline(three(2, 0, How::Nothing, Sink::default(), 8));
    assert!(report.is_good(), "{:?}", report.ledger.breaches);
    assert_eq!((report.hops[1].offered, report.hops[1].delivered), (2, 2));
}

#[test]
fn a_message_that_is_taken_back_was_never_offered() {
    // One that fits, and one that has no room.
    for frames in [2, 9] {
        let report = inline(three(3, 0, How::TakeBack(frames), Sink::default(), 8));
        assert_eq!((report.hops[1].offered, report.hops[1].accepted), (0, 0));
        assert!(report.hops[1].shed.is_empty());
        breach(&report, "odd: absorbed{undeclared} = 3");
    }
}

#[test]
fn a_sink_that_cannot_pass_on_what_it_took_is_a_fault() {
    let sink = Sink {
        flush_fails: true,
        ..Sink::default()
    };
    let report = inline(three(3, 0, How::Pass, sink, 8));
    assert!(!report.is_good());
    assert!(
        report.faults[0].starts_with("out: i/o: "),
        "{:?}",
        report.faults
    );
}

#[test]
fn a_reason_beyond_the_closed_enum_is_seen() {
    let reject = |why| {
        let sink = Sink {
            reject: Some(why),
            ..Sink::default()
        };
        inline(three(3, 0, How::Pass, sink, 8))
    };
    let unnamed = reject(20);
    let out = unnamed
        .stages
        .iter()
        .find(|stage| stage.name == "out")
        .expect("the sink");
    assert_eq!(out.rejected["unnamed"], 3);
    assert_eq!(
        unnamed.end_to_end.sojourn_ns.count, 0,
        "nothing has left the line"
    );
    breach(&reject(200), "out: absorbed{undeclared} = 3");
}

#[test]
fn what_a_warm_up_recorded_is_forgotten_whole() {
    let mut line = three(100_000, 1_000_000, How::Pass, Sink::default(), 64);
    placed(&mut line, &[&["in"], &["odd", "out"]]);
    let mut running = line
        .build()
        .expect("a right line")
        .start()
        .expect("it starts");
    running.wait(Duration::from_millis(300));
    running.forget_latencies();
    running.wait(Duration::from_millis(300));
    let report = running.end("duration");
    assert!(report.is_good(), "{:?}", report.ledger.breaches);
    let (recorded, delivered) = (report.hops[0].wait_ns.count, report.hops[0].delivered);
    assert!(recorded > 0, "what came afterwards is there");
    assert!(
        recorded < delivered * 3 / 4,
        "{recorded} of {delivered}: half was before"
    );
}

#[test]
fn a_node_that_is_over_keeps_no_loop_awake() {
    let mut line = Line::builder("over");
    line.source("short", Counting::new(1, 0));
    line.sink("short-out", Sink::default());
    line.connect("short", "short-out", Hop::depth(8));
    line.source("long", Counting::new(4, 100_000_000));
    line.sink("long-out", Sink::default());
    line.connect("long", "long-out", Hop::depth(8));
    placed(&mut line, &[&["short", "short-out", "long", "long-out"]]);
    let report = line
        .build()
        .expect("a right line")
        .run_until(Stop::when_done())
        .expect("it starts");
    assert!(report.is_good(), "{:?}", report.ledger.breaches);
    // A loop that never parks makes hundreds of thousands of turns in that time.
    assert!(
        report.placement[0].turns < 50_000,
        "{} turns",
        report.placement[0].turns
    );
}

#[test]
fn a_panic_while_opening_names_its_node_at_once() {
    let mut line = three(10, 1_000_000, How::PanicInStart, Sink::default(), 64);
    placed(&mut line, &[&["in"], &["odd", "out"]]);
    let error = line
        .build()
        .expect("a right line")
        .start()
        .map(|_| ())
        .expect_err("it panics");
    assert_eq!(error.to_string(), "odd: panicked: planted in on_start");
}

/// Panics in its chores once it has received some.
struct PanicInChores(Counting);

impl Ingress for PanicInChores {
    fn ports(&self) -> &'static [Port] {
        self.0.ports()
    }

    fn max_emit(&self) -> usize {
        1
    }

    fn open(&mut self, io: &mut Driver) -> Result<(), IoError> {
        self.0.open(io)
    }

    fn start(&mut self, t0_ns: u64) {
        Ingress::start(&mut self.0, t0_ns);
    }

    fn turn(&mut self, cx: &mut SourceContext<'_, '_>) -> Feed {
        self.0.turn(cx)
    }

    fn next_due_ns(&self) -> Option<u64> {
        self.0.next_due_ns()
    }

    fn housekeep(&mut self, _io: &mut Driver, counters: &IngressCounters) {
        assert!(counters.received.get() < 20, "planted in housekeep");
    }
}

#[test]
fn a_panic_outside_a_turn_fails_the_node_and_the_run() {
    let mut line = Line::builder("chores");
    line.source("in", PanicInChores(Counting::new(1_000, 5_000_000)));
    line.sink("out", Sink::default());
    line.connect("in", "out", Hop::depth(64));
    placed(&mut line, &[&["in", "out"]]);
    let stop = Stop::after(Duration::from_secs(60));
    let report = line
        .build()
        .expect("a right line")
        .run_until(stop)
        .expect("it starts");
    assert!(!report.is_good());
    assert_eq!(report.faults, ["in: panicked: planted in housekeep"]);
    assert_eq!(report.drain.map(|drain| drain.cause), Some("fault"));
}

/// What a decoder does that it must not.
#[derive(Clone, Copy, PartialEq)]
enum Wrong {
    Panic,
    EmitAndRefuse,
    OtherKind,
    OtherKindInTheMiddle,
    Old,
}

struct WrongDecoder(Wrong);

impl Decode for WrongDecoder {
    fn ports(&self) -> &'static [Port] {
        const PORTS: &[Port] = &[Port::new::<Number>("out")];
        PORTS
    }

    fn max_emit(&self) -> usize {
        4
    }

    fn decode(&mut self, _message: &[u8], cx: &mut Context<'_>) -> Result<Decoded, Reject> {
        let number = Number { value: 1 };
        match self.0 {
            Wrong::Panic => panic!("planted in decode"),
            Wrong::OtherKind => drop(cx.emit(Out::<Other>::at(0), &Other { a: 1 })),
            Wrong::OtherKindInTheMiddle => {
                let mut message = cx.message(Out::<Both>::at(0), 900, 3);
                message.push(&number);
                message.push(&Other { a: 1 });
                message.push(&number);
                message.send();
            }
            Wrong::EmitAndRefuse => {
                cx.emit(NUMBERS, &number);
                return Err(Reject::BadLine);
            }
            Wrong::Old => drop(cx.emit(NUMBERS, &number)),
        }
        Ok(Decoded::default())
    }
}

/// Three messages whose intended time is ten seconds ago.
struct Three {
    left: u64,
    decoder: WrongDecoder,
}

impl Ingress for Three {
    fn ports(&self) -> &'static [Port] {
        self.decoder.ports()
    }

    fn max_emit(&self) -> usize {
        4
    }

    fn open(&mut self, _io: &mut Driver) -> Result<(), IoError> {
        Ok(())
    }

    fn turn(&mut self, cx: &mut SourceContext<'_, '_>) -> Feed {
        if self.left == 0 {
            return Feed::Ended;
        }
        self.left -= 1;
        let arrival = Arrival {
            bytes: b"x",
            t_intended_ns: cx.stamp() - 10_000_000_000,
            scheduled: true,
            received_wall_ns: None,
            peer: None,
        };
        cx.message(arrival, &mut self.decoder);
        Feed::Live
    }
}

fn wrong(wrong: Wrong) -> Report {
    let mut line = Line::builder("wrong");
    let decoder = WrongDecoder(wrong);
    line.source("in", Three { left: 3, decoder });
    line.stage("odd", || Odd(How::Pass));
    line.sink("out", Sink::default());
    let lossless = p50("1s").map(|budget| budget.lossless(true));
    line.connect("in", "odd", Hop::depth(64).budget(lossless));
    line.connect("odd", "out", Hop::depth(64));
    let mut inline = Inline::new(Driver::Virtual(Virtual::new()));
    inline.clock = Clock::virtual_at(100_000_000_000);
    let line = line.build().expect("a right line");
    line.run_inline(inline, None).expect("it runs").0
}

#[test]
fn a_decoder_that_panics_has_its_message_accounted_for() {
    let report = wrong(Wrong::Panic);
    assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
    assert!(!report.is_good());
    assert_eq!(report.ledger.sources["in"].rejected["panicked"], 1);
}

#[test]
fn a_decoder_that_emits_and_refuses_breaks_the_ledger() {
    breach(
        &wrong(Wrong::EmitAndRefuse),
        "in: 3 messages decoded into nothing, or into something",
    );
}

#[test]
fn a_frame_of_a_kind_that_is_not_taken_is_lost_on_a_hop_that_must_lose_none() {
    let report = wrong(Wrong::OtherKind);
    assert_eq!(report.hops[0].discarded["malformed"], 3);
    loss(
        &report,
        "in->odd: 3 messages lost on a hop that must lose none",
    );
}

#[test]
fn a_message_with_a_hole_is_discarded_whole_and_once() {
    let report = wrong(Wrong::OtherKindInTheMiddle);
    assert_eq!(report.hops[0].discarded["malformed"], 3);
    assert_eq!(report.hops[0].delivered, 0);
    assert!(report.hops[0].accepted == 3);
}

#[test]
fn an_age_that_does_not_fit_in_an_envelope_is_counted_and_no_objective_may_rest_on_it() {
    let report = wrong(Wrong::Old);
    assert_eq!(report.end_to_end.origin_saturated, 3);
    let mut line = three(1, 0, How::Pass, Sink::default(), 8);
    line.objective(p99("5s"));
    let problems = line.build().expect_err("too long").to_string();
    assert!(problems.contains("write at most \"4.2s\""), "{problems}");
}

#[test]
fn a_sink_that_never_takes_anything_ends_the_run_and_is_named() {
    let never = || Sink {
        not_now: u64::MAX,
        ..Sink::default()
    };
    let mut on_threads = three(4, 0, How::Pass, never(), 64);
    placed(&mut on_threads, &[&["in", "odd", "out"]]);
    let line = on_threads.build().expect("a right line");
    for report in [
        inline(three(4, 0, How::Pass, never(), 64)),
        line.run_until(Stop::when_done()).expect("it starts"),
    ] {
        let drain = report.drain.as_ref().expect("a drain");
        assert_eq!((drain.cause, drain.complete), ("stalled", false));
        assert_eq!(report.hops[1].discarded["drain_deadline"], 4);
        loss(&report, "the drain was given up");
    }
}

#[test]
fn a_sink_that_fails_as_it_is_given_up_is_a_fault() {
    let sink = Sink {
        not_now: u64::MAX,
        flush_fails: true,
        ..Sink::default()
    };
    let report = inline(three(4, 0, How::Pass, sink, 64));
    assert!(
        report.faults[0].starts_with("out: i/o: "),
        "{:?}",
        report.faults
    );
}

#[test]
fn a_timer_without_room_waits_for_room_and_not_for_a_nanosecond() {
    let never = Sink {
        not_now: u64::MAX,
        ..Sink::default()
    };
    let report = inline(three(2, 0, How::Timer(1_000), never, 4));
    assert_eq!(report.drain.map(|drain| drain.cause), Some("stalled"));
    // Two drains' time in steps of a look for room, not of a nanosecond.
    let turns = report.placement[0].turns;
    assert!(turns < 100_000, "{turns} turns");
}

#[test]
fn a_stage_that_failed_has_no_timer_any_more() {
    let mut line = three(2, 0, How::TimerThenPanic, Sink::default(), 8);
    // Keeps the failed stage's input open until the drain is given up.
    let never = Sink {
        not_now: u64::MAX,
        ..Sink::default()
    };
    line.source("more", Counting::new(9, 0));
    line.stage("two", || Odd(How::Pass));
    line.sink("never", never);
    line.connect("more", "two", Hop::depth(16));
    line.connect("two", "odd", Hop::depth(16));
    line.connect("two", "never", Hop::depth(2));
    let report = inline(line);
    let drain = report.drain.expect("a drain");
    assert_eq!((drain.cause, drain.complete), ("fault", false));
    let turns = report.placement[0].turns;
    assert!(turns < 100_000, "{turns} turns");
}

/// Threads of this process whose name begins so.
fn threads_named(prefix: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("threads");
    let names =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.starts_with(prefix)).count()
}

/// Looks at the list of threads before one of them counts as staying: seconds.
const LOOKS_MAX: u32 = 20_000;

#[test]
fn a_line_that_nobody_holds_any_more_ends() {
    let mut line = three(u64::MAX, 1_000_000, How::Pass, Sink::default(), 64);
    placed_as("dropped", &mut line, &[&["in", "odd"], &["out"]]);
    let running = line
        .build()
        .expect("a right line")
        .start()
        .expect("it starts");
    assert_eq!(threads_named("dropped"), 2);
    // Dropping it waits for its loops; the kernel strikes a thread off its list a moment after it was joined.
    drop(running);
    let gone = (0..LOOKS_MAX).any(|_| {
        std::thread::yield_now();
        threads_named("dropped") == 0
    });
    assert!(gone, "a loop goes on that nobody holds");
}

#[test]
fn a_timer_rings_the_bell_of_a_loop_that_sleeps() {
    let mut line = three(1, 0, How::Timer(7_000_000), Sink::default(), 64);
    // Keeps the stage's input open.
    line.source("open", Counting::new(2, 900_000_000));
    line.connect("open", "odd", Hop::depth(64));
    placed(&mut line, &[&["in", "open", "odd"], &["out"]]);
    let stop = Stop::after(Duration::from_millis(600));
    let report = line
        .build()
        .expect("a right line")
        .run_until(stop)
        .expect("it starts");
    let hop = report
        .hops
        .iter()
        .find(|hop| hop.name == "odd->out")
        .expect("the hop");
    assert!(hop.delivered > 10, "{} timers", hop.delivered);
    // Without the bell each waits for the end of the park: tens of milliseconds.
    assert!(hop.wait_ns.p50 < 15_000_000, "{:?}", hop.wait_ns);
}
