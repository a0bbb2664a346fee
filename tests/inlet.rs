//! An inlet: frames from any threads, all of them accounted for, whatever their threads do.

#![cfg(not(any(loom, shuttle)))]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::thread;

use hopline::adapter::{Inlet, InletSource, Refused, blackhole, inlet};
use hopline::base::Cause;
use hopline::base::limits::CLAIM_OPEN_NS;
use hopline::base::primitive::{AtomicBool, Ordering};
use hopline::budget::report::SourceReport;
use hopline::clock::Clock;
use hopline::host::Pin;
use hopline::io::{Driver, Virtual};
use hopline::ring::{ClaimError, PushError};
use hopline::stage::Ingress;
use hopline::stage::hop::Doorbell;
use hopline::topology::{Builder, Hop, Inline, Line, Placement, Report, Stop};
use hopline::wait::{Strategy, announce};

#[path = "common/numbers.rs"]
mod numbers;

use numbers::Number;

fn builder(source: InletSource<Number>, depth: usize) -> Builder {
    let mut line = Line::builder("inlet");
    line.source("in", source);
    line.sink("out", blackhole());
    line.connect("in", "out", Hop::depth(depth));
    line
}

fn run_inline(source: InletSource<Number>, inline: impl FnOnce(Inline) -> Inline) -> Report {
    let line = builder(source, 64).build().expect("a right line");
    let world = inline(Inline::new(Driver::Virtual(Virtual::new())));
    line.run_inline(world, None).expect("it runs").0
}

fn on_threads(source: InletSource<Number>, wait: Strategy) -> Line {
    let mut line = builder(source, 64);
    line.placement(Placement {
        pin: Pin::Off,
        wait: Some(wait),
        ..Placement::default()
    });
    line.build().expect("a right line")
}

fn ingress(report: &Report) -> &SourceReport {
    let source = &report.ledger.sources["in"];
    assert!(source.adds_up(), "{source:?}");
    assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
    source
}

/// Pushes until `stop`, or until refused for good. Returns how many were accepted.
fn push_all(mut inlet: Inlet<Number>, items: u64) -> u64 {
    for value in 0..items {
        let mut frame = Number { value };
        loop {
            match inlet.push(frame) {
                Ok(()) => break,
                Err(PushError::Full(back)) => frame = back,
                Err(PushError::Closed(..)) => return value,
            }
            thread::yield_now();
        }
    }
    items
}

#[test]
fn what_is_pushed_before_the_start_arrives_and_the_last_inlet_ends_the_line() {
    let (mut one, source) = inlet::<Number>(8).unwrap();
    let mut two = one.clone();
    for value in 0..4 {
        one.push(Number { value }).unwrap();
        two.push_with(|| Number { value }).unwrap();
    }
    assert!(matches!(
        one.push(Number { value: 9 }),
        Err(PushError::Full(Number { value: 9 }))
    ));
    drop((one, two));
    let report = run_inline(source, |inline| inline);
    assert!(report.is_good(), "{:?}", report.faults);
    let source = ingress(&report);
    assert_eq!(
        (source.received, source.ingested, source.refused),
        (8, 8, 1)
    );
    assert_eq!(report.hops[0].delivered, 8);
    assert_eq!(report.drain.unwrap().cause, "finished");
}

#[test]
fn a_closure_that_panics_is_a_rejected_message() {
    let (mut one, source) = inlet::<Number>(8).unwrap();
    one.push(Number { value: 1 }).unwrap();
    let planted = || -> Number { resume_unwind(Box::new(())) };
    assert!(catch_unwind(AssertUnwindSafe(|| one.push_with(planted))).is_err());
    one.push(Number { value: 2 }).unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| one.push_with(planted))).is_err());
    drop(one);
    let report = run_inline(source, |inline| inline);
    let source = ingress(&report);
    assert_eq!((source.received, source.ingested), (4, 2));
    assert_eq!(source.rejected["panicked"], 2);
}

#[test]
fn a_claim_that_stays_open_is_named_and_what_waits_behind_it_is_accounted_for() {
    let (mut one, source) = inlet::<Number>(8).unwrap();
    let mut two = one.clone();
    let mut report = None;
    one.push(Number { value: 1 }).unwrap();
    two.push_with(|| {
        one.push(Number { value: 2 }).unwrap();
        one.push(Number { value: 3 }).unwrap();
        // The line runs, drains and is given up while this closure has not returned.
        let stop_ns = 3 * CLAIM_OPEN_NS;
        report = Some(run_inline(source, |inline| inline.stop_after_ns(stop_ns)));
        Number { value: 4 }
    })
    .unwrap();
    let report = report.unwrap();
    let fault = report.stages[0].fault.as_deref().unwrap();
    assert!(
        fault.contains("stalled claim: producer 1 ") && fault.contains("2 slots wait behind it"),
        "{fault}"
    );
    let in_ = ingress(&report);
    assert!(in_.claim_open_ns_max > CLAIM_OPEN_NS);
    assert_eq!((in_.received, in_.ingested), (4, 1));
    assert_eq!(
        in_.rejected["line_ended"], 3,
        "the open claim is among them"
    );
    assert!(!report.drain.unwrap().complete);
    let cause = two.source_closed().unwrap();
    let refused = two.push_with(|| Number { value: 5 });
    assert_eq!(refused, Err(ClaimError::Closed(cause)));
}

#[test]
fn a_push_wakes_a_loop_that_sleeps_and_no_other() {
    let (mut one, mut source) = inlet::<Number>(8).unwrap();
    let mut driver = Driver::Virtual(Virtual::new());
    let (sleeper, alarm) = announce::pair();
    let bell = Doorbell::new(alarm, driver.waker());
    source.join(&Clock::virtual_at(0).0, Some(bell));
    let mut is_woken = move || driver.poll(0, Some(1)).unwrap().woken;
    one.push(Number { value: 1 }).unwrap();
    assert!(!is_woken(), "the loop is awake: no system call");
    sleeper.announce();
    assert!(source.has_input(), "what was pushed before keeps it awake");
    one.push(Number { value: 2 }).unwrap();
    assert!(is_woken());
    one.push(Number { value: 3 }).unwrap();
    assert!(!is_woken(), "one wake-up for one announcement");
    sleeper.announce();
    let planted = || -> Number { resume_unwind(Box::new(())) };
    assert!(catch_unwind(AssertUnwindSafe(|| one.push_with(planted))).is_err());
    assert!(is_woken(), "an aborted push is news as well");
    sleeper.announce();
    one.push_with(|| Number { value: 4 }).unwrap();
    assert!(is_woken());
    sleeper.announce();
    drop(one);
    assert!(is_woken(), "the end is, too");
}

#[test]
fn many_threads_feed_a_line_that_spins_yields_or_parks() {
    const EACH: u64 = 20_000;
    for wait in [Strategy::YIELD, Strategy::PARK] {
        let (inlet, source) = inlet::<Number>(64).unwrap();
        let running = on_threads(source, wait).start().unwrap();
        let writers: Vec<_> = (0..3)
            .map(|_| {
                let inlet = inlet.clone();
                thread::spawn(move || push_all(inlet, EACH))
            })
            .collect();
        drop(inlet);
        for writer in writers {
            assert_eq!(writer.join().unwrap(), EACH);
        }
        let mut running = running;
        let cause = running.watch(&Stop::when_done(), |_| {});
        let report = running.end(cause);
        assert!(report.is_good(), "{:?} {:?}", report.faults, report.ledger);
        assert_eq!(ingress(&report).ingested, 3 * EACH);
        assert_eq!(report.hops[0].delivered, 3 * EACH);
    }
}

#[test]
fn a_drain_takes_exactly_what_was_accepted() {
    for _ in 0..5 {
        let (inlet, source) = inlet::<Number>(16).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let mut running = on_threads(source, Strategy::PARK).start().unwrap();
        let writers: Vec<_> = (0..2)
            .map(|_| {
                let (inlet, stop) = (inlet.clone(), Arc::clone(&stop));
                thread::spawn(move || {
                    let accepted = push_all(inlet, u64::MAX);
                    stop.store(true, Ordering::Relaxed);
                    accepted
                })
            })
            .collect();
        while running.report().hops[0].delivered < 100 {
            thread::yield_now();
        }
        let report = running.end("signal");
        let accepted: u64 = writers.into_iter().map(|one| one.join().unwrap()).sum();
        assert!(report.is_good(), "{:?} {:?}", report.faults, report.ledger);
        assert_eq!(ingress(&report).received, accepted);
        assert_eq!(report.hops[0].delivered, accepted);
        assert_eq!(inlet.source_closed(), Some(Cause::Finished));
        assert!(stop.load(Ordering::Relaxed));
        let Refused { closed, .. } = inlet.refused();
        assert_eq!(closed, 2);
    }
}

#[test]
fn a_line_that_is_ended_at_once_accounts_for_what_it_had_accepted() {
    let (inlet, source) = inlet::<Number>(64).unwrap();
    let mut running = on_threads(source, Strategy::YIELD).start().unwrap();
    let writer = {
        let inlet = inlet.clone();
        thread::spawn(move || push_all(inlet, u64::MAX))
    };
    while running.report().hops[0].delivered < 100 {
        thread::yield_now();
    }
    running.abort();
    let report = running.end("signal");
    let accepted = writer.join().unwrap();
    let source = &report.ledger.sources["in"];
    assert!(source.adds_up(), "{source:?}");
    assert_eq!(source.received, accepted);
}

#[test]
fn a_depth_that_is_no_power_of_two_is_refused() {
    assert!(inlet::<Number>(100).is_err());
}
