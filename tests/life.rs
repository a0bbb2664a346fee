//! A stage that panics stops its line, goes on without the frame, or is made anew, and every message is accounted for.

use std::panic::panic_any;
use std::sync::Arc;
use std::time::Duration;

use hopline::base::primitive::{AtomicU64, Ordering};
use hopline::base::{Cause, NoWhy};
use hopline::budget::report::StageReport;
use hopline::frame::View;
use hopline::host::Pin;
use hopline::io::{Driver, IoError, Virtual};
use hopline::stage::{Context, Delivery, Egress, Emit, Leaving, OnPanic, Outcome, Port, Stage};
use hopline::topology::{Builder, Hop, Inline, Line, Placement, Quarantined, Report, Stop};
use hopline::wait::Strategy;

#[path = "life/config.rs"]
mod config;
#[path = "life/drains.rs"]
mod drains;
#[path = "common/numbers.rs"]
mod numbers;
#[path = "life/signs.rs"]
mod signs;

use numbers::{Collect, Counting, NUMBERS, Number};

const MS: u64 = 1_000_000;

/// What goes wrong, and with what.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Wrong {
    Nothing,
    /// Panics with these numbers, by three kinds of words in turn.
    At(&'static [u64]),
    /// With all from that one on.
    From(u64),
    /// Holds all from the first to the second, and panics with that one.
    HoldAndPanic(u64, u64),
    /// Panics in a fragment in the middle of that message, and never sees its last.
    Middle(u64),
    /// Begins a message of two frames, writes one, and panics.
    InTheMaking(u64),
    /// Each of its first so many timers panics, 1 ms after the last.
    Timers(u64),
    Drain,
    /// The factory's instances from the first to before the second panic in `on_start`.
    Starts(u64, u64),
    /// Its drop panics as well, and so does the drop of what it panics with.
    Drops(u64),
}

/// What instances of a stage tell the test.
#[derive(Debug, Default)]
pub(crate) struct Told {
    made: AtomicU64,
    started: AtomicU64,
    timers: AtomicU64,
    /// The most that one instance has seen.
    seen: AtomicU64,
}

fn add(to: &AtomicU64) -> u64 {
    to.fetch_add(1, Ordering::Relaxed)
}

/// Whose drop panics.
struct Barbed;

impl Drop for Barbed {
    fn drop(&mut self) {
        panic!("planted in a drop");
    }
}

pub(crate) struct Odd {
    wrong: Wrong,
    told: Arc<Told>,
    nth: u64,
    seen: u64,
    barbed: Option<Barbed>,
}

impl Odd {
    pub(crate) fn new(wrong: Wrong, told: &Arc<Told>) -> Odd {
        let nth = add(&told.made);
        Odd {
            wrong,
            told: Arc::clone(told),
            nth,
            seen: 0,
            // Only one that panics is dropped on the loop.
            barbed: None,
        }
    }
}

impl Stage for Odd {
    type In = Number;
    type Why = NoWhy;
    const PORTS: &'static [Port] = &[Port::new::<Number>("out")];
    const MAX_EMIT: usize = 2;

    fn on_start(&mut self) {
        if let Wrong::Starts(from, to) = self.wrong {
            assert!(!(from..to).contains(&self.nth), "planted in on_start");
        }
        add(&self.told.started);
    }

    fn on_frame(&mut self, number: View<'_, Number>, cx: &mut Context<'_>) -> Outcome<NoWhy> {
        let value = number.value();
        self.seen += 1;
        self.told.seen.fetch_max(self.seen, Ordering::Relaxed);
        match self.wrong {
            Wrong::At(values) => match values.iter().position(|at| *at == value) {
                Some(0) => panic!("a literal"),
                Some(1) => panic!("the number {value}"),
                Some(_) => panic_any(value),
                None => {}
            },
            Wrong::From(from) => assert!(value < from, "planted"),
            Wrong::HoldAndPanic(from, to) if (from..=to).contains(&value) => {
                assert!(value < to, "planted while it held");
                return Outcome::held();
            }
            Wrong::Middle(at) if value == at => {
                assert!(cx.flags().is_first(), "planted in a fragment");
                return Outcome::held();
            }
            Wrong::InTheMaking(at) if value == at => {
                let mut message = cx.message(NUMBERS, 900, 2);
                message.push(&Number { value });
                panic!("planted in a message");
            }
            Wrong::Drops(at) if value == at && self.nth == 0 => {
                self.barbed = Some(Barbed);
                panic_any(Barbed);
            }
            Wrong::Timers(_) if self.seen == 1 => cx.wake_at(cx.now_ns() + MS),
            Wrong::Starts(..) => assert!(self.nth > 0 || value != 5, "planted"),
            _ => {}
        }
        if !cx.flags().is_last() {
            return Outcome::held();
        }
        cx.emit(NUMBERS, &Number { value });
        Outcome::done()
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) {
        cx.wake_at(cx.now_ns() + MS);
        if let Wrong::Timers(wrong) = self.wrong {
            assert!(add(&self.told.timers) >= wrong, "planted in a timer");
        }
    }

    fn on_drain(&mut self, _cx: &mut Context<'_>) {
        assert!(self.wrong != Wrong::Drain, "planted in on_drain");
    }
}

pub(crate) fn odd(source: Counting, wrong: Wrong, policy: OnPanic) -> (Builder, Arc<Told>) {
    let told = Arc::new(Told::default());
    let tells = Arc::clone(&told);
    let mut line = Line::builder("life");
    line.source("in", source);
    line.stage("odd", move || Odd::new(wrong, &tells));
    line.sink("out", Collect::default());
    line.connect("in", "odd", Hop::depth(64));
    line.connect("odd", "out", Hop::depth(64));
    line.on_panic("odd", policy);
    (line, told)
}

pub(crate) fn inline(mut line: Builder) -> Report {
    let inline = Inline::new(Driver::Virtual(Virtual::new()));
    let line = line.build().expect("a right line");
    line.run_inline(inline, None).expect("it runs").0
}

pub(crate) fn on_threads(line: &mut Builder, threads: usize, wait: Strategy) -> Line {
    line.placement(Placement {
        pin: Pin::Off,
        wait: Some(wait),
        threads_max: Some(threads),
        ..Placement::default()
    });
    line.build().expect("a right line")
}

pub(crate) fn stage<'r>(report: &'r Report, name: &str) -> &'r StageReport {
    let named = report.stages.iter().find(|stage| stage.name == name);
    named.expect("a stage of that name")
}

pub(crate) fn closed(report: &Report) {
    assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
}

pub(crate) fn good(report: &Report) {
    closed(report);
    assert!(report.is_good(), "{:?}", report.faults);
    let drain = report.drain.as_ref().expect("an end");
    assert!(drain.complete, "{drain:?}");
}

/// Whether that is a span of virtual time, which each look at the clock moves by some nanoseconds.
pub(crate) fn is_about(span_ns: u64, expected_ns: u64) {
    let most_ns = expected_ns + 2_000;
    assert!(
        (expected_ns..most_ns).contains(&span_ns),
        "{span_ns}, not {expected_ns}"
    );
}

/// Panics of the stage with a frame in hand or without, and messages that went with them.
fn panics(report: &Report) -> (u64, u64) {
    let odd = stage(report, "odd");
    let panicked = odd.rejected.get("panicked").copied().unwrap_or(0);
    (odd.panics, panicked)
}

fn words(of: &[Quarantined]) -> Vec<(&str, &str)> {
    of.iter()
        .map(|one| (one.during, one.words.as_str()))
        .collect()
}

/// A limit that no test comes up to, and a back-off of 5 ms, 10 ms and so on up to 40 ms.
pub(crate) const PATIENT: OnPanic = OnPanic::Restart {
    most: 1_000,
    within_ns: 60_000 * MS,
    after_ns: 5 * MS,
    after_max_ns: 40 * MS,
};

#[test]
fn a_stage_that_skips_goes_on_and_what_panicked_is_kept_with_its_frame() {
    let (line, told) = odd(
        Counting::new(1_000, 1_000),
        Wrong::At(&[500, 7, 999]),
        OnPanic::SKIP,
    );
    let report = inline(line);
    good(&report);
    assert_eq!(panics(&report), (3, 3));
    let odd = stage(&report, "odd");
    assert_eq!((odd.state, odd.on_panic, odd.restarts), ("done", "skip", 0));
    assert_eq!((odd.quarantined, odd.quarantine_lost), (3, 0));
    assert_eq!((odd.consumed, odd.forwarded), (1_000, 997));
    assert_eq!(report.hops[0].delivered, 1_000);
    assert_eq!(report.hops[1].delivered, 997);
    assert_eq!(told.made.load(Ordering::Relaxed), 1);
    assert_eq!(
        told.seen.load(Ordering::Relaxed),
        1_000,
        "one instance saw all"
    );
    let said = [
        ("frame", "the number 7"),
        ("frame", "a literal"),
        ("frame", "without words"),
    ];
    assert_eq!(words(&report.quarantine), said);
    let first = &report.quarantine[0];
    let frame = first.frame.as_ref().expect("it had one in hand");
    assert_eq!(
        (first.node.as_str(), frame.hop.as_str()),
        ("odd", "in->odd")
    );
    assert_eq!(
        (frame.kind, frame.schema, frame.fragment),
        ("number", 900, "whole")
    );
    assert_eq!(frame.payload, "0700000000000000");
    assert_eq!(frame.t_intended_ns, 7_000);
    assert!(frame.t_offer_ns >= 7_000 && first.at_ns >= frame.t_offer_ns);
    let json = serde_json::to_value(&report).expect("it is JSON");
    assert_eq!(
        json["quarantine"][0]["frame"]["payload"],
        "0700000000000000"
    );
    assert_eq!(json["stages"][1]["quarantined"], 3);
}

#[test]
fn a_stage_that_stops_ends_its_line_as_ever() {
    let (line, told) = odd(
        Counting::new(1_000, 1_000),
        Wrong::At(&[500]),
        OnPanic::Stop,
    );
    let report = inline(line);
    closed(&report);
    assert_eq!(
        report.drain.as_ref().map(|drain| drain.cause),
        Some("fault")
    );
    assert_eq!(report.faults, ["odd: panicked: a literal"]);
    assert_eq!(panics(&report), (1, 1));
    assert_eq!(
        (
            stage(&report, "odd").state,
            told.made.load(Ordering::Relaxed)
        ),
        ("failed", 1)
    );
    assert!(report.quarantine.is_empty());
}

#[test]
fn a_stage_that_restarts_is_away_for_its_back_off_and_no_longer() {
    // A number a millisecond: those that come meanwhile wait, and are all taken afterwards.
    let (line, told) = odd(Counting::new(100, MS), Wrong::At(&[10, 11, 60]), PATIENT);
    let report = inline(line);
    good(&report);
    assert_eq!(panics(&report), (3, 3));
    let odd = stage(&report, "odd");
    assert_eq!((odd.state, odd.restarts), ("done", 3));
    // The third panic in the window waits four times as long as the first.
    is_about(odd.away_ns, (5 + 10 + 20) * MS);
    assert_eq!(report.hops[1].delivered, 97);
    assert!(
        report.hops[0].depth_max >= 15,
        "they were queued: {}",
        report.hops[0].depth_max
    );
    let (made, started) = (&told.made, &told.started);
    assert_eq!(
        (
            made.load(Ordering::Relaxed),
            started.load(Ordering::Relaxed)
        ),
        (4, 4)
    );
    assert!(
        told.seen.load(Ordering::Relaxed) < 60,
        "each instance begins anew"
    );
    let at: Vec<u64> = report.quarantine.iter().map(|one| one.at_ns).collect();
    // The next one came at once after the back-off.
    is_about(at[1] - at[0], 5 * MS);
}

#[test]
fn on_threads_both_policies_account_for_every_message() {
    let restart = OnPanic::Restart {
        most: 10,
        within_ns: 60_000 * MS,
        after_ns: MS,
        after_max_ns: 2 * MS,
    };
    for policy in [OnPanic::SKIP, restart] {
        for (threads, wait) in [
            (1, Strategy::YIELD),
            (3, Strategy::YIELD),
            (2, Strategy::PARK),
        ] {
            let wrong = Wrong::At(&[3, 5_000, 19_999]);
            let (mut line, _) = odd(Counting::new(20_000, 0), wrong, policy);
            let line = on_threads(&mut line, threads, wait);
            let report = line
                .run_until(Stop::after(Duration::from_secs(60)))
                .expect("it starts");
            good(&report);
            assert_eq!(panics(&report), (3, 3), "{policy:?} {threads} {wait}");
            assert_eq!(report.hops[1].delivered, 19_997);
            assert_eq!(report.quarantine.len(), 3);
            let restarts = if policy == restart { 3 } else { 0 };
            assert_eq!(stage(&report, "odd").restarts, restarts);
        }
    }
}

#[test]
fn one_panic_more_than_allowed_stops_the_line_and_says_so() {
    let skip = OnPanic::Skip {
        most: 2,
        within_ns: 1_000 * MS,
    };
    let restart = OnPanic::Restart {
        most: 2,
        within_ns: 1_000 * MS,
        after_ns: MS,
        after_max_ns: MS,
    };
    for policy in [skip, restart] {
        let (line, _) = odd(Counting::new(100, MS), Wrong::From(50), policy);
        let report = inline(line);
        closed(&report);
        assert_eq!(panics(&report), (3, 3));
        assert_eq!(stage(&report, "odd").state, "failed");
        assert_eq!(
            report.drain.as_ref().map(|drain| drain.cause),
            Some("fault")
        );
        let fault = format!(
            "odd: panicked: planted; on_panic = \"{}\" allows 2 within 1.00s, and this was one more",
            policy.name()
        );
        assert_eq!(report.faults, [fault]);
        assert_eq!(report.quarantine.len(), 3, "that one is kept as well");
    }
    // As many, each in a window of its own.
    let skip = OnPanic::Skip {
        most: 1,
        within_ns: MS,
    };
    let (line, _) = odd(Counting::new(100, 2 * MS), Wrong::From(50), skip);
    let report = inline(line);
    good(&report);
    assert_eq!(panics(&report), (50, 50));
}

#[test]
fn a_message_whose_fragment_panicked_counts_once_and_the_rest_goes_no_further() {
    for policy in [OnPanic::Stop, OnPanic::SKIP, PATIENT] {
        let (line, told) = odd(Counting::new(20, MS).parts(3), Wrong::Middle(7), policy);
        let report = inline(line);
        closed(&report);
        assert_eq!(panics(&report), (1, 1), "{policy:?}");
        let odd = stage(&report, "odd");
        assert_eq!(
            (odd.consumed, odd.forwarded + 1),
            (report.hops[0].delivered, odd.consumed)
        );
        if policy == OnPanic::SKIP {
            good(&report);
            assert_eq!(told.seen.load(Ordering::Relaxed), 20 * 3 - 1);
            let frame = report.quarantine[0].frame.as_ref();
            assert_eq!(frame.map(|frame| frame.fragment), Some("middle"));
        }
        if policy != OnPanic::Stop {
            assert_eq!(
                (report.hops[0].delivered, report.hops[1].delivered),
                (20, 19)
            );
        }
    }
}

#[test]
fn a_message_in_the_making_is_taken_back() {
    for policy in [OnPanic::Stop, OnPanic::SKIP, PATIENT] {
        let (line, _) = odd(Counting::new(20, MS), Wrong::InTheMaking(7), policy);
        let report = inline(line);
        closed(&report);
        assert_eq!(panics(&report), (1, 1));
        let out = &report.hops[1];
        assert_eq!(
            (out.offered, out.delivered),
            (out.accepted, out.accepted),
            "{policy:?}"
        );
        let all = if policy == OnPanic::Stop { 7 } else { 19 };
        assert_eq!(out.accepted, all);
    }
}

#[test]
fn what_an_instance_held_goes_with_it_and_stays_with_one_that_goes_on() {
    for policy in [OnPanic::Stop, PATIENT] {
        let (line, _) = odd(Counting::new(20, MS), Wrong::HoldAndPanic(3, 6), policy);
        let report = inline(line);
        closed(&report);
        assert_eq!(panics(&report), (1, 4), "{policy:?}");
        assert_eq!(stage(&report, "odd").held, 0);
    }
    let (line, _) = odd(
        Counting::new(20, MS),
        Wrong::HoldAndPanic(3, 6),
        OnPanic::SKIP,
    );
    let report = inline(line);
    assert_eq!((panics(&report), stage(&report, "odd").held), ((1, 1), 3));
}

#[test]
fn a_timer_and_a_last_word_may_panic_with_no_frame_in_hand() {
    for policy in [OnPanic::SKIP, PATIENT] {
        let (line, told) = odd(Counting::new(100, MS), Wrong::Timers(2), policy);
        let report = inline(line);
        good(&report);
        assert_eq!(panics(&report), (2, 0), "{policy:?}");
        assert_eq!(
            words(&report.quarantine),
            [("timer", "planted in a timer"); 2]
        );
        assert!(report.quarantine.iter().all(|one| one.frame.is_none()));
        assert_eq!(report.hops[1].delivered, 100);
        assert!(
            told.timers.load(Ordering::Relaxed) > 2,
            "it has its timer again"
        );
        let (line, told) = odd(Counting::new(10, MS), Wrong::Drain, policy);
        let report = inline(line);
        good(&report);
        assert_eq!(
            (panics(&report), told.made.load(Ordering::Relaxed)),
            ((1, 0), 1)
        );
        assert_eq!(
            words(&report.quarantine),
            [("drain", "planted in on_drain")]
        );
        assert_eq!(stage(&report, "odd").state, "done");
    }
    let (line, _) = odd(Counting::new(10, MS), Wrong::Drain, OnPanic::Stop);
    let report = inline(line);
    closed(&report);
    assert_eq!(stage(&report, "odd").state, "failed");
}

#[test]
fn a_new_instance_that_panics_in_its_start_is_tried_again_after_a_longer_wait() {
    // Instances 1 and 2 do not start; 3 does.
    let (line, told) = odd(Counting::new(100, MS), Wrong::Starts(1, 3), PATIENT);
    let report = inline(line);
    good(&report);
    assert_eq!(panics(&report), (3, 1));
    let odd_stage = stage(&report, "odd");
    assert_eq!(odd_stage.restarts, 1);
    is_about(odd_stage.away_ns, (5 + 10 + 20) * MS);
    assert_eq!(told.made.load(Ordering::Relaxed), 4);
    let started = ("start", "planted in on_start");
    assert_eq!(
        words(&report.quarantine),
        [("frame", "planted"), started, started]
    );
    assert_eq!(report.hops[1].delivered, 99);

    // None ever starts again.
    let (line, told) = odd(
        Counting::new(100, MS),
        Wrong::Starts(1, u64::MAX),
        OnPanic::RESTART,
    );
    let report = inline(line);
    closed(&report);
    assert_eq!(panics(&report), (6, 1));
    assert_eq!(told.made.load(Ordering::Relaxed), 6);
    assert!(
        report.faults[0].contains("panicked: planted in on_start; on_panic = \"restart\" allows 5")
    );
    assert!(report.hops[0].discarded["stage_failed"] > 0);
}

#[test]
fn drops_that_panic_harm_nobody() {
    for policy in [OnPanic::SKIP, PATIENT] {
        let (line, _) = odd(Counting::new(20, MS), Wrong::Drops(7), policy);
        let line = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| inline(line)));
        // Under skip the instance lives on and its own drop, with the line, is the caller's to see.
        let Ok(report) = line else {
            assert_eq!(policy, OnPanic::SKIP);
            continue;
        };
        good(&report);
        assert_eq!(panics(&report), (1, 1));
        assert_eq!(report.hops[1].delivered, 19);
    }
}

#[test]
fn a_full_quarantine_keeps_the_first_and_counts_the_others() {
    let skip = OnPanic::Skip {
        most: 1_000,
        within_ns: MS,
    };
    let (line, _) = odd(Counting::new(150, 1_000), Wrong::From(50), skip);
    // Inline nobody looks before the end.
    let report = inline(line);
    good(&report);
    assert_eq!(panics(&report), (100, 100));
    let odd_stage = stage(&report, "odd");
    assert_eq!((odd_stage.quarantined, odd_stage.quarantine_lost), (64, 36));
    let payload = |at: usize| {
        report.quarantine[at]
            .frame
            .as_ref()
            .map(|frame| frame.payload.clone())
    };
    assert_eq!(payload(0).as_deref(), Some("3200000000000000"));
    assert_eq!(payload(63).as_deref(), Some("7100000000000000"));

    // One that looks has room for more, up to the bound of the line.
    let (mut line, _) = odd(Counting::new(u64::MAX, 100_000), Wrong::From(50), skip);
    let mut running = on_threads(&mut line, 1, Strategy::PARK)
        .start()
        .expect("it starts");
    while running.quarantine().len() < 256 || stage(&running.report(), "odd").quarantine_lost == 0 {
        assert!(!running.wait(Duration::from_millis(1)), "it is over");
    }
    let report = running.end("signal");
    good(&report);
    let odd_stage = stage(&report, "odd");
    assert_eq!((odd_stage.quarantined, report.quarantine.len()), (256, 256));
    assert_eq!(odd_stage.quarantine_lost, odd_stage.panics - 256);
}

#[test]
fn one_of_several_consumers_of_a_ring_skips_and_the_others_see_all() {
    for policy in [OnPanic::SKIP, PATIENT] {
        let (mut line, _) = {
            let told = Arc::new(Told::default());
            let tells = Arc::clone(&told);
            let mut line = Line::builder("shared");
            line.source("in", Counting::new(500, 100_000).parts(3));
            line.stage("odd", move || Odd::new(Wrong::Middle(100), &tells));
            line.sink("out", Collect::default());
            line.sink("other", Collect::default());
            line.connect("in", ["odd", "other"], Hop::depth(64));
            line.connect("odd", "out", Hop::depth(64));
            line.on_panic("odd", policy);
            (line, told)
        };
        let line = line.build().expect("a right line");
        let inline = Inline::new(Driver::Virtual(Virtual::new()));
        let report = line.run_inline(inline, None).expect("it runs").0;
        good(&report);
        assert_eq!(panics(&report), (1, 1));
        let delivered = |name: &str| {
            report
                .hops
                .iter()
                .find(|hop| hop.name == name)
                .map(|hop| hop.delivered)
        };
        assert_eq!(
            (delivered("in->odd"), delivered("in->other")),
            (Some(500), Some(500))
        );
        assert_eq!(delivered("odd->out"), Some(499));
    }
}

/// Panics with that number.
struct PanicAt(u64);

impl Egress for PanicAt {
    fn open(&mut self, _io: &mut Driver) -> Result<(), IoError> {
        Ok(())
    }

    fn on_frame(&mut self, frame: Leaving<'_>, _io: &mut Driver) -> Delivery {
        let number = View::<Number>::read(frame.payload).expect("a number");
        assert!(number.value() != self.0, "planted in a sink");
        Delivery::Sent
    }
}

/// Emits what it gets, and notes why nobody takes it any more.
struct Asks(Arc<AtomicU64>);

impl Stage for Asks {
    type In = Number;
    type Why = NoWhy;
    const PORTS: &'static [Port] = &[Port::new::<Number>("out")];
    const MAX_EMIT: usize = 2;

    fn on_frame(&mut self, number: View<'_, Number>, cx: &mut Context<'_>) -> Outcome<NoWhy> {
        let value = number.value();
        match cx.emit(NUMBERS, &Number { value }) {
            Emit::Sent => assert_eq!(self.0.load(Ordering::Relaxed), 0, "a cause is final"),
            Emit::Closed(Cause::Failed) => drop(add(&self.0)),
            other => panic!("{other:?}"),
        }
        let mut message = cx.message(NUMBERS, 900, 1);
        message.push(&Number { value });
        if self.0.load(Ordering::Relaxed) > 0 {
            assert_eq!(message.send(), Emit::Closed(Cause::Failed));
        }
        Outcome::done()
    }
}

#[test]
fn a_producer_sees_why_its_hop_is_closed_and_the_report_says_so() {
    let closed_by = Arc::new(AtomicU64::new(0));
    let tells = Arc::clone(&closed_by);
    let mut line = Line::builder("closed");
    // All are there at once, so that the stage still emits when its sink is gone.
    line.source("in", Counting::new(100, 0));
    line.stage("asks", move || Asks(Arc::clone(&tells)));
    line.sink("out", PanicAt(7));
    line.connect("in", "asks", Hop::depth(128));
    line.connect("asks", "out", Hop::depth(16));
    let report = inline(line);
    closed(&report);
    assert!(closed_by.load(Ordering::Relaxed) > 0);
    let hop = &report.hops[1];
    assert!(hop.shed["closed"] > 0);
    assert_eq!(
        (hop.closed, report.hops[0].closed),
        (Some("failed"), Some("finished"))
    );
}
