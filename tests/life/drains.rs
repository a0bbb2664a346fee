//! The end of a line whose stage panics: nobody waits for a back-off, and nothing is drained twice.

use std::time::Duration;

use hopline::io::{Driver, IoError, Virtual};
use hopline::stage::{Delivery, Egress, Leaving, OnPanic};
use hopline::topology::{Hop, Inline, Left, Line, Report, Running};
use hopline::wait::Strategy;

use crate::numbers::Counting;
use crate::{MS, Odd, Wrong, closed, good, inline, is_about, odd, on_threads, stage};

/// A stage that is away for a minute after its first panic.
const LONG: OnPanic = OnPanic::Restart {
    most: 3,
    within_ns: 600_000 * MS,
    after_ns: 60_000 * MS,
    after_max_ns: 60_000 * MS,
};

fn until_away(running: &mut Running) -> Report {
    loop {
        let report = running.report();
        if stage(&report, "odd").state == "restarting" {
            return report;
        }
        assert!(!running.wait(Duration::from_millis(1)), "it is over");
    }
}

#[test]
fn a_drain_does_not_wait_for_a_back_off_and_what_is_queued_goes_to_the_new_instance() {
    for wait in [Strategy::YIELD, Strategy::PARK] {
        let (mut line, _) = odd(Counting::new(u64::MAX, 100_000), Wrong::At(&[50]), LONG);
        let mut running = on_threads(&mut line, 2, wait).start().expect("it starts");
        let report = until_away(&mut running);
        assert!(report.is_good() && !running.has_failed());
        // What comes meanwhile waits, as it does for any slow consumer.
        let held_back = |report: &Report| stage(report, "in").held_back_by.is_some();
        while !held_back(&running.report()) {
            assert!(!running.wait(Duration::from_millis(1)), "it is over");
        }
        let drain = running.drain("signal");
        assert!(drain.complete && drain.left.is_empty(), "{drain:?}");
        assert_eq!(
            running.drain("duration"),
            drain,
            "a second drain is the first one"
        );
        running.begin_drain();
        let report = running.end("duration");
        good(&report);
        assert_eq!(report.drain, Some(drain));
        let odd = stage(&report, "odd");
        assert_eq!((odd.restarts, odd.state, odd.panics), (1, "done", 1));
        assert!(report.hops[0].discarded.is_empty());
        assert_eq!(report.hops[1].delivered + 1, report.hops[0].accepted);
    }
}

#[test]
fn on_virtual_time_a_drain_ends_a_back_off_in_the_turn_that_sees_it() {
    let (mut line, _) = odd(Counting::new(u64::MAX, MS), Wrong::At(&[10]), LONG);
    let end = Inline::new(Driver::Virtual(Virtual::new())).stop_after_ns(30 * MS);
    let report = line
        .build()
        .expect("a right line")
        .run_inline(end, None)
        .expect("it runs")
        .0;
    good(&report);
    let odd = stage(&report, "odd");
    assert_eq!(odd.restarts, 1);
    is_about(odd.away_ns, 20 * MS);
    assert!(report.drain.is_some_and(|drain| drain.elapsed_ns < MS));
}

#[test]
fn one_that_panics_on_during_a_drain_comes_to_its_limit_at_once() {
    let (mut line, told) = odd(Counting::new(u64::MAX, MS), Wrong::From(10), LONG);
    let end = Inline::new(Driver::Virtual(Virtual::new())).stop_after_ns(30 * MS);
    let report = line
        .build()
        .expect("a right line")
        .run_inline(end, None)
        .expect("it runs")
        .0;
    closed(&report);
    let odd = stage(&report, "odd");
    assert_eq!((odd.state, odd.panics, odd.restarts), ("failed", 4, 3));
    assert_eq!(told.made.load(std::sync::atomic::Ordering::Relaxed), 4);
    assert_eq!(odd.rejected["panicked"], 4);
    assert!(report.hops[0].discarded["stage_failed"] > 0);
    assert!(
        report
            .drain
            .is_some_and(|drain| drain.complete && drain.elapsed_ns < MS)
    );
}

#[test]
fn a_stage_that_skips_drains_as_any_other() {
    let skip = OnPanic::Skip {
        most: 1_024,
        within_ns: MS,
    };
    let (mut line, _) = odd(Counting::new(u64::MAX, 50_000), Wrong::From(20), skip);
    let mut running = on_threads(&mut line, 2, Strategy::YIELD)
        .start()
        .expect("it starts");
    while running.quarantine().len() < 10 {
        assert!(!running.wait(Duration::from_millis(1)), "it is over");
    }
    let drain = running.drain("signal");
    assert!(drain.complete, "{drain:?}");
    let report = running.end("signal");
    good(&report);
    let odd = stage(&report, "odd");
    assert_eq!((odd.forwarded, odd.rejected["panicked"]), (20, odd.panics));
    assert_eq!(odd.consumed, report.hops[0].accepted);
}

#[test]
fn a_back_off_beyond_the_end_of_the_sources_and_the_drains_deadline_is_no_stall() {
    // Ten numbers, and a minute away after the fifth: nothing is delivered for longer than a drain may take.
    let (line, _) = odd(Counting::new(10, MS), Wrong::At(&[5]), LONG);
    let report = inline(line);
    good(&report);
    assert_eq!(
        report.drain.as_ref().map(|drain| drain.cause),
        Some("finished")
    );
    is_about(stage(&report, "odd").away_ns, 60_000 * MS);
    assert_eq!(report.hops[1].delivered, 9);
    // With nothing left to take there is nothing to wait for either.
    let (line, _) = odd(Counting::new(10, MS), Wrong::At(&[9]), LONG);
    let report = inline(line);
    good(&report);
    assert!(
        stage(&report, "odd").away_ns < MS,
        "{}",
        stage(&report, "odd").away_ns
    );
}

#[test]
fn a_line_that_is_ended_at_once_waits_for_no_back_off() {
    let (mut line, _) = odd(Counting::new(u64::MAX, 100_000), Wrong::At(&[50]), LONG);
    let mut running = on_threads(&mut line, 2, Strategy::PARK)
        .start()
        .expect("it starts");
    until_away(&mut running);
    running.abort();
    let report = running.end("signal");
    closed(&report);
    assert_eq!(stage(&report, "odd").state, "aborted");
}

/// Takes nothing.
struct Never;

impl Egress for Never {
    fn open(&mut self, _io: &mut Driver) -> Result<(), IoError> {
        Ok(())
    }

    fn on_frame(&mut self, _frame: Leaving<'_>, _io: &mut Driver) -> Delivery {
        Delivery::NotNow
    }
}

#[test]
fn what_a_stage_holds_when_the_drain_is_given_up_is_disposed_of_and_listed() {
    // What passes is held back by the sink that takes nothing, so that the stage beside it does not see its end.
    let mut line = Line::builder("held");
    line.source("in", Counting::new(u64::MAX, MS));
    line.stage("pass", || Odd::new(Wrong::Nothing, &Default::default()));
    line.stage("holds", || {
        Odd::new(Wrong::HoldAndPanic(0, u64::MAX), &Default::default())
    });
    line.sink("out", Never);
    line.sink("never", Never);
    line.connect("in", "pass", Hop::depth(64));
    line.connect("pass", ["holds", "never"], Hop::depth(32));
    line.connect("holds", "out", Hop::depth(64));
    line.drain_within_ns(20 * MS);
    let end = Inline::new(Driver::Virtual(Virtual::new())).stop_after_ns(50 * MS);
    let line = line.build().expect("a right line");
    let report = line.run_inline(end, None).expect("it runs").0;
    closed(&report);
    assert!(!report.is_good());
    let holds = stage(&report, "holds");
    let taken = holds.consumed;
    assert!((30..=32).contains(&taken), "{taken}");
    assert_eq!((holds.state, holds.held), ("aborted", 0));
    assert_eq!(holds.rejected["line_ended"], taken);
    let drain = report.drain.as_ref().expect("an end");
    assert!(!drain.complete);
    let held = Left {
        hop: "holds".to_owned(),
        messages: taken,
        held_by: "holds".to_owned(),
    };
    assert!(drain.left.contains(&held), "{:?}", drain.left);
}
