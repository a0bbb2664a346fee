//! What a report says of backlogs, of time at full, of who held back whom, and who is to blame, on lines with a planted slow
//! stage: exact on virtual time, and what must hold on threads.

use std::sync::Arc;
use std::time::Duration;

use hopline::base::NoWhy;
use hopline::base::primitive::{AtomicU64, Ordering};
use hopline::budget::culprit::Cause;
use hopline::budget::report::{HopReport, OUTSIDE, StageReport};
use hopline::clock::{Clock, VirtualTime};
use hopline::frame::View;
use hopline::host::Pin;
use hopline::io::{Driver, IoError, Virtual};
use hopline::overload::WhenFull;
use hopline::stage::{
    Arrival, Context, Delivery, Egress, Feed, Ingress, Leaving, Outcome, Port, SourceContext, Stage,
};
use hopline::topology::{Builder, Hop, Inline, Line, Placement, Report, Running, Stop, ThreadSpec};
use hopline::wait::Strategy;

#[path = "common/numbers.rs"]
mod numbers;

use numbers::{Collect, Counting, NUMBERS, Number};

/// Works for a set time on each number: by moving virtual time, or by looking at the clock.
#[derive(Clone, Default)]
struct Works {
    takes_ns: u64,
    virtual_time: Option<VirtualTime>,
    /// Hangs at that number until this is set.
    hangs: Option<(u64, Arc<AtomicU64>)>,
}

impl Stage for Works {
    type In = Number;
    type Why = NoWhy;
    const PORTS: &'static [Port] = &[Port::new::<Number>("out")];

    fn on_frame(&mut self, number: View<'_, Number>, cx: &mut Context<'_>) -> Outcome<NoWhy> {
        if let Some(time) = &self.virtual_time {
            time.advance_by(self.takes_ns);
        } else {
            let until_ns = cx.now_ns() + self.takes_ns;
            while cx.stamp() < until_ns {
                std::hint::spin_loop();
            }
        }
        if let Some((at, released)) = &self.hangs {
            while *at == number.value() && released.load(Ordering::Relaxed) == 0 {
                std::hint::spin_loop();
            }
        }
        if cx.flags().is_last() {
            cx.emit(NUMBERS, &number.to_owned());
        }
        Outcome::done()
    }
}

/// A sink that takes one number each so many turns.
struct Grudging {
    every: u64,
    turns: u64,
}

impl Egress for Grudging {
    fn open(&mut self, _io: &mut Driver) -> Result<(), IoError> {
        Ok(())
    }

    fn on_frame(&mut self, _frame: Leaving<'_>, _io: &mut Driver) -> Delivery {
        self.turns += 1;
        if self.turns.is_multiple_of(self.every) {
            return Delivery::Sent;
        }
        Delivery::NotNow
    }
}

/// Runs inline on a clock that only the planted stage moves.
fn inline(make: impl FnOnce(&VirtualTime) -> Builder) -> Report {
    let (clock, time) = Clock::virtual_at(1_000_000_000);
    time.set_tick_ns(0);
    let line = make(&time).build();
    let line = line.unwrap_or_else(|problems| panic!("{problems}"));
    let inline = Inline {
        driver: Driver::Virtual(Virtual::new()),
        clock: (clock, time),
        stop_after_ns: None,
    };
    line.run_inline(inline, None).expect("it runs").0
}

fn works(takes_ns: u64, time: &VirtualTime) -> Works {
    Works {
        takes_ns,
        virtual_time: Some(time.clone()),
        hangs: None,
    }
}

/// `in -> slow -> out`.
fn three(source: Counting, works: Works, hop: Hop) -> Builder {
    let mut line = Line::builder("three");
    line.source("in", source);
    line.stage("slow", move || works.clone());
    line.sink("out", Collect::default());
    line.connect("in", "slow", hop);
    line.connect("slow", "out", Hop::depth(64));
    line
}

fn hop<'r>(report: &'r Report, name: &str) -> &'r HopReport {
    report.hops.iter().find(|hop| hop.name == name).expect(name)
}

fn stage<'r>(report: &'r Report, name: &str) -> &'r StageReport {
    let mut stages = report.stages.iter();
    stages.find(|stage| stage.name == name).expect(name)
}

fn on_threads(mut line: Builder, threads: &[&[&str]]) -> Running {
    line.placement(Placement {
        wait: Some(Strategy::Yield {
            spins: hopline::wait::Rung::Turns(10),
        }),
        pin: Pin::Off,
        threads: threads
            .iter()
            .map(|nodes| ThreadSpec {
                name: nodes[0].to_owned(),
                nodes: nodes.iter().map(|name| (*name).to_owned()).collect(),
                core: None,
                wait: None,
                sharing: hopline::topology::Sharing::default(),
                place: None,
            })
            .collect(),
        ..Placement::default()
    });
    let line = line.build();
    line.unwrap_or_else(|problems| panic!("{problems}"))
        .start()
        .expect("it starts")
}

/// Watches a running line until that holds, which it does within seconds on any machine.
fn until(running: &mut Running, mut holds: impl FnMut(&mut Running) -> bool) {
    let mut held = false;
    let found = Arc::new(AtomicU64::new(0));
    let asked = found.clone();
    let stop =
        Stop::when(move || asked.load(Ordering::Relaxed) > 0).or_after(Duration::from_secs(60));
    running.watch(&stop, |running| {
        held = held || holds(running);
        found.store(u64::from(held), Ordering::Relaxed);
    });
    assert!(held, "not within a minute: {:#?}", running.report());
}

/// Offers a number each so many nanoseconds of virtual time, which it moves by itself, 32 in a turn.
struct Ticking {
    inner: Counting,
    gap_ns: u64,
    time: VirtualTime,
}

impl Ticking {
    fn new(count: u64, gap_ns: u64, time: &VirtualTime) -> Ticking {
        Ticking {
            inner: Counting::new(count, 0),
            gap_ns,
            time: time.clone(),
        }
    }
}

impl Ingress for Ticking {
    fn ports(&self) -> &'static [Port] {
        self.inner.ports()
    }

    fn max_emit(&self) -> usize {
        1
    }

    fn open(&mut self, _io: &mut Driver) -> Result<(), IoError> {
        Ok(())
    }

    fn turn(&mut self, cx: &mut SourceContext<'_, '_>) -> Feed {
        for _ in 0..32 {
            if self.inner.sent == self.inner.count {
                return Feed::Ended;
            }
            if !cx.has_room() {
                return Feed::Live;
            }
            self.time.advance_by(self.gap_ns);
            let arrival = Arrival {
                bytes: &self.inner.sent.to_le_bytes(),
                t_intended_ns: self.time.now_ns(),
                scheduled: false,
                received_wall_ns: None,
                peer: None,
            };
            cx.message(arrival, &mut self.inner.decoder);
            self.inner.sent += 1;
        }
        Feed::Live
    }
}

/// Ten turns of a source that offers 32 numbers a turn, 1 us apart, to a hop of eight slots before a stage of 20 us.
fn overloaded(when_full: WhenFull) -> Report {
    let count = match when_full {
        WhenFull::Block => 80,
        _ => 320,
    };
    inline(|time| {
        let mut line = Line::builder("overloaded");
        line.source("in", Ticking::new(count, 1_000, time));
        let slow = works(20_000, time);
        line.stage("slow", move || slow.clone());
        line.sink("out", Collect::default());
        line.connect("in", "slow", Hop::depth(8).when_full(when_full));
        line.connect("slow", "out", Hop::depth(64));
        line
    })
}

#[test]
fn what_a_full_hop_sheds_is_counted_with_the_time_that_it_was_full() {
    let report = overloaded(WhenFull::DropNewest);
    assert!(report.is_good(), "{:?}", report.ledger);
    let into = hop(&report, "in->slow");
    assert_eq!((into.accepted, into.shed["full"]), (80, 240));
    // The eighth fills it, and at each of the 24 that follow it has been full for 1 us more.
    assert_eq!(into.full_ns, 10 * 24 * 1_000);
    assert_eq!(
        (into.depth_max, into.depth_window_max, into.depth_now),
        (8, 8, 0)
    );
    // The eighth was offered 24 us before the turn ended, and done with after all eight.
    assert_eq!(into.age_window_max_ns, 24_000 + 8 * 20_000);
    assert_eq!((into.age_now_ns, into.sojourn_ns.max), (0, 184_000));
    let out = hop(&report, "slow->out");
    assert_eq!((out.full_ns, out.depth_window_max), (0, 8));
    assert_eq!(report.line.window_ns, report.line.elapsed_ns);
    assert_eq!(report.line.window_ns, 10 * (32_000 + 160_000));
    let culprit = report.culprit().unwrap();
    assert_eq!(
        (culprit.node.as_str(), culprit.cause),
        ("slow", Cause::Busy)
    );
    assert_eq!((culprit.full_ns, culprit.lost), (240_000, 240));
    assert_eq!((culprit.busy_ns, culprit.thread_ns), (1_600_000, 1_920_000));
    assert_eq!(
        culprit.why,
        "slow was too slow for 240 messages that in->slow lost, full for 12 % of the time; it works 83 % of its thread's time"
    );
}

#[test]
fn a_producer_that_waits_counts_all_the_time_for_which_it_does() {
    let report = overloaded(WhenFull::Block);
    assert!(report.is_good(), "{:?}", report.ledger);
    let into = hop(&report, "in->slow");
    assert_eq!((into.accepted, into.shed.len(), into.depth_max), (80, 0, 8));
    // All turns but the last end with no room, and the stage makes some in its own.
    assert_eq!(into.full_ns, 9 * 8 * 20_000);
    let culprit = report.culprit().unwrap();
    assert_eq!(
        (culprit.node.as_str(), culprit.cause),
        ("slow", Cause::Busy)
    );
    assert_eq!(culprit.full_ns, into.full_ns);
    assert!(
        culprit
            .why
            .starts_with("slow holds back in for 86 % of the time"),
        "{}",
        culprit.why
    );
}

#[test]
fn a_line_that_keeps_up_has_nobody_to_blame() {
    let report = inline(|time| {
        three(
            Counting::new(1_000, 30_000),
            works(20_000, time),
            Hop::depth(8),
        )
    });
    let into = hop(&report, "in->slow");
    assert_eq!((into.full_ns, into.depth_window_max), (0, 1));
    assert_eq!(into.age_window_max_ns, 20_000);
    assert_eq!(report.culprit(), None);
    assert!(stage(&report, "in").held_back_by_ns.is_empty());
}

#[test]
fn a_sink_that_nothing_is_taken_from_is_to_blame() {
    let mut line = Line::builder("grudging");
    line.source("in", Counting::new(200, 1_000));
    line.sink("out", Grudging { every: 5, turns: 0 });
    line.connect("in", "out", Hop::depth(8));
    let (report, _) = line
        .build()
        .unwrap()
        .run_inline(Inline::new(Driver::Virtual(Virtual::new())), None)
        .unwrap();
    assert!(report.is_good(), "{:?}", report.ledger);
    let out = stage(&report, "out");
    assert_eq!(out.held_back_by_ns[OUTSIDE], out.regimes_ns.held_back);
    assert_eq!(out.held_back_by, None);
    let source = stage(&report, "in");
    let by: u64 = source.held_back_by_ns.values().sum();
    assert_eq!(by, source.regimes_ns.held_back);
    assert!(source.held_back_by_ns.keys().eq(["in->out"]));
    assert!(hop(&report, "in->out").full_ns >= by);
    let culprit = report.culprit().unwrap();
    assert_eq!(
        (culprit.node.as_str(), culprit.cause),
        ("out", Cause::Outside)
    );
    assert_eq!(culprit.outside_ns, out.regimes_ns.held_back);
}

#[test]
fn a_stage_that_hangs_is_named_with_what_waits_for_it_and_every_window_sees_the_spike_once() {
    const MESSAGES: u64 = 10;
    const PARTS: u64 = 4;
    let released = Arc::new(AtomicU64::new(0));
    let hangs = Works {
        hangs: Some((3, released.clone())),
        ..Works::default()
    };
    let source = Counting::new(MESSAGES, 0).parts(PARTS as usize);
    let line = three(source, hangs, Hop::depth(64));
    let mut running = on_threads(line, &[&["in", "out"], &["slow"]]);
    let own = running.window().unwrap();
    until(&mut running, |running| {
        let report = running.report();
        let named = report
            .culprit()
            .is_some_and(|culprit| culprit.cause == Cause::Hangs);
        named && hop(&report, "in->slow").accepted == MESSAGES
    });
    let report = running.report();
    let into = hop(&report, "in->slow");
    assert_eq!(into.in_flight, MESSAGES - 3, "messages");
    assert_eq!(into.depth_now, (MESSAGES - 3) * PARTS, "frames");
    assert_eq!(into.depth_window_max, into.depth_now);
    assert!(into.age_now_ns > 50_000_000, "{}", into.age_now_ns);
    let later = running.report();
    assert!(
        hop(&later, "in->slow").age_now_ns > into.age_now_ns,
        "it grows"
    );
    released.store(1, Ordering::Relaxed);
    assert!(running.wait(Duration::from_secs(60)));
    for (reader, window) in [("own", Some(own)), ("unnamed", None)] {
        let mut read = || match window {
            Some(window) => running.report_since(window),
            None => running.report(),
        };
        let first = read();
        let seen = hop(&first, "in->slow");
        assert!(
            seen.depth_window_max >= (MESSAGES - 3) * PARTS,
            "{reader}: {seen:?}"
        );
        assert!(seen.age_window_max_ns > 50_000_000, "{reader}: {seen:?}");
        assert_eq!((seen.depth_now, seen.age_now_ns), (0, 0));
        let second = read();
        let quiet = hop(&second, "in->slow");
        assert_eq!(
            (quiet.depth_window_max, quiet.age_window_max_ns),
            (0, 0),
            "{reader}"
        );
        assert_eq!(second.culprit(), None, "{reader}: nothing since");
    }
    let whole = running.end("finished");
    assert!(whole.is_good(), "{:?}", whole.ledger);
    assert_eq!(
        hop(&whole, "in->slow").depth_window_max,
        hop(&whole, "in->slow").depth_max
    );
}

#[test]
fn a_slow_stage_on_its_own_thread_is_named_while_it_runs_and_at_the_end() {
    let slow = Works {
        takes_ns: 200_000,
        ..Works::default()
    };
    let line = three(Counting::new(u64::MAX, 0), slow, Hop::depth(64));
    let mut running = on_threads(line, &[&["in", "out"], &["slow"]]);
    until(&mut running, |running| {
        let report = running.report();
        let into = hop(&report, "in->slow");
        into.depth_window_max == 64
            && report.culprit().is_some_and(|culprit| {
                culprit.node == "slow" && culprit.hop.as_deref() == Some("in->slow")
            })
    });
    let report = running.end("duration");
    let culprit = report.culprit().unwrap();
    assert_eq!(culprit.node, "slow");
    let source = stage(&report, "in");
    assert_eq!(source.held_back_by.as_deref(), Some("in->slow"));
    let held_ns = source.held_back_by_ns["in->slow"];
    assert!(held_ns > 0 && held_ns <= source.regimes_ns.held_back);
    assert!(hop(&report, "in->slow").full_ns >= held_ns);
}

#[test]
fn of_a_broadcast_the_slow_consumer_is_named_and_the_time_is_in_its_row() {
    let mut line = Line::builder("broadcast");
    line.source("in", Counting::new(2_000, 0));
    line.sink("quick", Collect::default());
    let slow = Works {
        takes_ns: 100_000,
        ..Works::default()
    };
    line.stage("slow", move || slow.clone());
    line.sink("out", Collect::default());
    line.connect("in", ["quick", "slow"], Hop::depth(64));
    line.connect("slow", "out", Hop::depth(64));
    let mut running = on_threads(line, &[&["in", "quick", "out"], &["slow"]]);
    assert!(running.wait(Duration::from_secs(60)));
    let report = running.end("finished");
    assert!(report.is_good(), "{:?}", report.ledger);
    let (quick, slow) = (hop(&report, "in->quick"), hop(&report, "in->slow"));
    assert!(
        slow.full_ns > 10 * quick.full_ns,
        "{} {}",
        slow.full_ns,
        quick.full_ns
    );
    assert_eq!(report.culprit().unwrap().node, "slow");
    let by = &stage(&report, "in").held_back_by_ns;
    assert!(
        by["in->slow"] > by.get("in->quick").copied().unwrap_or(0),
        "{by:?}"
    );
}

#[test]
fn on_a_shared_thread_the_one_that_takes_its_time_is_named() {
    let mut line = Line::builder("shared");
    line.source("in", Counting::new(u64::MAX, 0));
    line.source("in2", Counting::new(u64::MAX, 0));
    for (name, takes_ns) in [("light", 1_000), ("heavy", 200_000)] {
        let works = Works {
            takes_ns,
            ..Works::default()
        };
        line.stage(name, move || works.clone());
        line.sink(&format!("out-{name}"), Collect::default());
        line.connect(name, &format!("out-{name}"), Hop::depth(64));
    }
    line.connect("in", "light", Hop::depth(8));
    line.connect("in2", "heavy", Hop::depth(8));
    let feeding = &["in", "in2", "out-light", "out-heavy"];
    let mut running = on_threads(line, &[feeding, &["light", "heavy"]]);
    until(&mut running, |running| {
        let report = running.report();
        let full = ["in->light", "in2->heavy"].map(|name| hop(&report, name).full_ns);
        full.iter().all(|full_ns| *full_ns > 0)
            && report
                .culprit()
                .is_some_and(|culprit| culprit.node == "heavy")
    });
    // Who took the most of so short a run may have been the host, in whoever's turn: only the ledger is asked at its end.
    let report = running.end("duration");
    assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
}
