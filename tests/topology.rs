//! Lines put together in code and run inline on virtual time, and on real threads.

use std::time::Duration;

use hopline::base::NoWhy;
use hopline::frame::View;
use hopline::io::{Driver, Virtual};
use hopline::overload::WhenFull;
use hopline::stage::{Context, Outcome, Port, Stage};
use hopline::topology::{Hop, Inline, Line, Placement, Report, Stop, p99};
use hopline::wait::Strategy;

#[path = "common/numbers.rs"]
mod numbers;

use numbers::{Collect, Counting, NUMBERS, Number};

/// Passes numbers on; what it does wrong, and when, is set by the fields.
#[derive(Clone, Default)]
struct Pass {
    silent_every: u64,
    panic_at: Option<u64>,
    hang_at: Option<u64>,
    seen: u64,
}

impl Stage for Pass {
    type In = Number;
    type Why = NoWhy;
    const PORTS: &'static [Port] = &[Port::new::<Number>("out")];

    fn on_frame(&mut self, number: View<'_, Number>, cx: &mut Context<'_>) -> Outcome<NoWhy> {
        self.seen += 1;
        assert!(self.panic_at != Some(number.value()), "planted");
        while self.hang_at == Some(number.value()) {
            std::hint::spin_loop();
        }
        if self.silent_every > 0 && self.seen.is_multiple_of(self.silent_every) {
            return Outcome::done();
        }
        cx.emit(NUMBERS, &number.to_owned());
        Outcome::done()
    }
}

fn line(source: Counting, pass: Pass, depth: usize, when_full: WhenFull) -> Line {
    let mut line = Line::builder("test");
    line.source("in", source);
    line.stage("pass", move || pass.clone());
    line.sink("out", Collect::default());
    line.connect(
        "in",
        "pass",
        Hop::depth(depth).when_full(when_full).budget(p99("20us")),
    );
    line.connect("pass", "out", Hop::depth(depth));
    line.build().expect("a right line")
}

fn inline(line: Line) -> Report {
    let (report, _) = line
        .run_inline(Inline::new(Driver::Virtual(Virtual::new())), None)
        .expect("it runs");
    report
}

/// The first stage, checked to be the one named.
fn stage<'r>(report: &'r Report, name: &str) -> &'r hopline::budget::report::StageReport {
    report
        .stages
        .iter()
        .find(|stage| stage.name == name)
        .expect("such a stage")
}

#[test]
fn a_line_inline_delivers_all_and_its_ledger_closes() {
    let report = inline(line(
        Counting::new(10_000, 1_000),
        Pass::default(),
        64,
        WhenFull::Block,
    ));
    assert!(report.is_good(), "{:?}", report.ledger.breaches);
    assert_eq!(report.ledger.sources["in"].ingested, 10_000);
    assert_eq!(report.hops[1].delivered, 10_000);
    assert_eq!(report.hops[0].sojourn_ns.count, 10_000);
    assert_eq!(report.end_to_end.sojourn_ns.count, 10_000);
    assert!(report.hops[0].sojourn_ns.p50 >= report.hops[0].service_ns.p50);
    assert_eq!(
        report
            .drain
            .as_ref()
            .map(|drain| (drain.cause, drain.complete)),
        Some(("finished", true))
    );
}

#[test]
fn the_same_line_inline_gives_the_same_report_twice() {
    let run = || {
        let mut report = inline(line(
            Counting::new(5_000, 777),
            Pass::default(),
            16,
            WhenFull::Block,
        ));
        report.line.resident_bytes = None;
        format!("{report:?}")
    };
    assert_eq!(run(), run());
}

#[test]
fn messages_of_many_fragments_count_once() {
    let source = Counting::new(1_000, 0).parts(7);
    let mut builder = Line::builder("fragments");
    builder.source("in", source);
    builder.sink("out", Collect::default());
    builder.connect("in", "out", Hop::depth(16));
    let report = inline(builder.build().expect("a right line"));
    assert!(report.is_good(), "{:?}", report.ledger.breaches);
    assert_eq!(report.hops[0].offered, 1_000);
    assert_eq!(report.hops[0].delivered, 1_000);
    assert_eq!(report.hops[0].sojourn_ns.count, 1_000);
}

#[test]
fn what_is_shed_is_counted_by_reason_and_kind() {
    // Two fragments a message do not fit into what is left of 16 slots after the source's burst of 32.
    let source = Counting::new(1_000, 0).parts(2);
    let mut builder = Line::builder("shed");
    builder.source("in", source);
    builder.sink("out", Collect::default());
    builder.connect("in", "out", Hop::depth(16).when_full(WhenFull::DropNewest));
    let report = inline(builder.build().expect("a right line"));
    let hop = &report.hops[0];
    assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
    assert!(hop.shed["full"] > 0);
    assert_eq!(hop.shed_by_kind["number"]["full"], hop.shed["full"]);
    assert_eq!(hop.offered, 1_000);
    assert_eq!(hop.delivered + hop.shed["full"], 1_000);
    assert_eq!(report.ledger.sources["in"].shed, hop.shed["full"]);
}

#[test]
fn a_message_that_could_never_fit_is_shed_as_oversize() {
    let source = Counting::new(10, 0).parts(17);
    let mut builder = Line::builder("oversize");
    builder.source("in", source);
    builder.sink("out", Collect::default());
    builder.connect("in", "out", Hop::depth(16).when_full(WhenFull::DropNewest));
    let report = inline(builder.build().expect("a right line"));
    assert_eq!(report.hops[0].shed["oversize"], 10);
    assert!(report.ledger.closed);
}

#[test]
fn a_stage_that_says_nothing_opens_the_ledger() {
    let pass = Pass {
        silent_every: 1_000,
        ..Pass::default()
    };
    let report = inline(line(
        Counting::new(10_000, 1_000),
        pass,
        64,
        WhenFull::Block,
    ));
    assert_eq!(stage(&report, "pass").absorbed["undeclared"], 10);
    assert!(!report.ledger.closed);
    assert!(report.ledger.breaches[0].contains("pass: absorbed{undeclared} = 10"));
}

#[test]
fn a_panic_is_caught_accounted_for_and_named() {
    let pass = Pass {
        panic_at: Some(500),
        ..Pass::default()
    };
    let report = inline(line(Counting::new(10_000, 100), pass, 64, WhenFull::Block));
    let failed = stage(&report, "pass");
    assert_eq!(failed.state, "failed");
    assert_eq!(failed.rejected["panicked"], 1);
    assert!(
        failed
            .fault
            .as_ref()
            .is_some_and(|fault| fault.contains("planted"))
    );
    assert!(
        report.ledger.closed,
        "every frame has its reason: {:?}",
        report.ledger.breaches
    );
    assert!(!report.is_good());
    assert_eq!(
        report.drain.as_ref().map(|drain| drain.cause),
        Some("fault")
    );
}

fn threaded(line: Line, stop: Stop) -> Report {
    line.run_until(stop).expect("it starts")
}

/// Tests run beside each other, so loops yield instead of spinning.
fn polite(mut line: hopline::topology::Builder, threads: usize, wait: Strategy) -> Line {
    line.placement(Placement {
        wait: Some(wait),
        threads_max: Some(threads),
        pin: hopline::host::Pin::Off,
        ..Placement::default()
    });
    line.build().expect("a right line")
}

fn pass_builder(source: Counting, pass: Pass) -> hopline::topology::Builder {
    let mut builder = Line::builder("threads");
    builder.source("in", source);
    builder.stage("pass", move || pass.clone());
    builder.sink("out", Collect::default());
    builder.connect("in", "pass", Hop::depth(64));
    builder.connect("pass", "out", Hop::depth(64));
    builder
}

#[test]
fn threads_deliver_all_however_they_wait() {
    for wait in [Strategy::YIELD, Strategy::PARK] {
        for threads in [1, 2, 3] {
            let builder = pass_builder(Counting::new(20_000, 0), Pass::default());
            let report = threaded(
                polite(builder, threads, wait),
                Stop::after(Duration::from_secs(60)),
            );
            assert!(
                report.is_good(),
                "{wait} on {threads}: {:?}",
                report.ledger.breaches
            );
            assert_eq!(report.hops[1].delivered, 20_000, "{wait} on {threads}");
            assert_eq!(report.end_to_end.sojourn_ns.count, 20_000);
        }
    }
}

#[test]
fn a_stop_in_mid_run_drains_and_adds_up() {
    let builder = pass_builder(Counting::new(u64::MAX, 0), Pass::default());
    let report = threaded(
        polite(builder, 2, Strategy::YIELD),
        Stop::after(Duration::from_millis(100)),
    );
    assert!(report.is_good(), "{:?}", report.ledger.breaches);
    let drain = report.drain.expect("a drain");
    assert_eq!((drain.cause, drain.complete), ("duration", true));
    assert!(report.ledger.sources["in"].ingested > 0);
}

#[test]
fn a_handler_that_never_returns_is_named_and_nothing_hangs() {
    let pass = Pass {
        hang_at: Some(100),
        ..Pass::default()
    };
    let builder = pass_builder(Counting::new(u64::MAX, 1_000), pass);
    let report = threaded(
        polite(builder, 3, Strategy::YIELD),
        Stop::after(Duration::from_millis(200)),
    );
    let drain = report.drain.as_ref().expect("a drain");
    assert!(!drain.complete);
    assert_eq!(drain.stuck, ["pass"]);
    assert_eq!(drain.left[0].hop, "in->pass");
    assert_eq!(drain.left[0].held_by, "pass");
    assert_eq!(stage(&report, "pass").state, "stuck");
    assert!(!report.is_good());
}

#[test]
fn a_panic_on_threads_ends_the_line_and_adds_up() {
    let pass = Pass {
        panic_at: Some(5_000),
        ..Pass::default()
    };
    let builder = pass_builder(Counting::new(u64::MAX, 0), pass);
    let report = threaded(
        polite(builder, 3, Strategy::YIELD),
        Stop::after(Duration::from_secs(60)),
    );
    assert_eq!(
        report.drain.as_ref().map(|drain| drain.cause),
        Some("fault")
    );
    assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
    assert_eq!(stage(&report, "pass").state, "failed");
}
