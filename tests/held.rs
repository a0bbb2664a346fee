//! Stages that hold messages while they have time: when they let go, on virtual time, and that every
//! message is accounted for.

use hopline::base::Prng;
use hopline::frame::View;
use hopline::io::{Driver, IoError, Virtual};
use hopline::overload::WhenFull;
use hopline::stage::{Delivery, Egress, Leaving};
use hopline::stages::{Batch, BatchSpec, Debounce, DebounceSpec, SlackSpec};
use hopline::topology::{Hop, Inline, Line, Report, p99};

#[path = "common/numbers.rs"]
mod numbers;

use numbers::{Counting, Number};

const US: u64 = 1_000;
const MS: u64 = 1_000_000;

/// Checks that what leaves of each key is newer than what left before, and now and then takes nothing.
struct Sink {
    keys: u64,
    last: Vec<Option<u64>>,
    not_now_every: u64,
    asked: u64,
}

impl Sink {
    fn new(keys: u64, not_now_every: u64) -> Sink {
        Sink {
            keys,
            last: vec![None; keys as usize],
            not_now_every,
            asked: 0,
        }
    }
}

impl Egress for Sink {
    fn open(&mut self, _io: &mut Driver) -> Result<(), IoError> {
        Ok(())
    }

    fn on_frame(&mut self, frame: Leaving<'_>, _io: &mut Driver) -> Delivery {
        self.asked += 1;
        if self.not_now_every > 0 && self.asked.is_multiple_of(self.not_now_every) {
            return Delivery::NotNow;
        }
        if !frame.envelope.flags.is_last() {
            return Delivery::Part;
        }
        let value = View::<Number>::read(frame.payload).unwrap().value();
        let last = &mut self.last[(value % self.keys) as usize];
        assert!(last.is_none_or(|last| value > last), "{last:?}, {value}");
        *last = Some(value);
        Delivery::Sent
    }
}

fn slack(budget_ns: u64, rest_ns: u64) -> SlackSpec {
    SlackSpec { budget_ns, rest_ns }
}

fn run(
    source: Counting,
    add: impl FnOnce(&mut hopline::topology::Builder),
    sink: Sink,
    out: Hop,
) -> Report {
    let mut line = Line::builder("held");
    line.source("in", source);
    add(&mut line);
    line.sink("out", sink);
    line.connect("in", "holds", Hop::depth(1024));
    line.connect("holds", "out", out);
    line.objective(p99("4s"));
    let inline = Inline::new(Driver::Virtual(Virtual::new()));
    let line = line.build().unwrap();
    line.run_inline(inline, None).unwrap().0
}

fn batch(source: Counting, slack: SlackSpec, most: usize) -> Report {
    let spec = BatchSpec { slack, most };
    run(
        source,
        |line| {
            line.stage("holds", move || Batch::<Number>::new(spec));
        },
        Sink::new(1, 0),
        Hop::depth(1024),
    )
}

fn debounce(
    source: Counting,
    slack: SlackSpec,
    keys: usize,
    of: fn(&Number) -> u64,
    sink: Sink,
) -> Report {
    let spec = DebounceSpec { slack, keys };
    run(
        source,
        |line| {
            line.stage("holds", move || Debounce::<Number>::new(spec, of));
        },
        sink,
        Hop::depth(1024),
    )
}

fn held(report: &Report) -> &hopline::budget::report::StageReport {
    report
        .stages
        .iter()
        .find(|stage| stage.name == "holds")
        .unwrap()
}

/// The most from the intended time to the end, in nanoseconds.
fn oldest_ns(report: &Report) -> u64 {
    report.end_to_end.sojourn_ns.max
}

#[test]
fn a_lone_message_leaves_when_its_slack_ends() {
    // The second one comes long after and goes with the drain.
    let report = batch(Counting::new(2, 100 * MS), slack(500 * US, 50 * US), 64);
    assert!(report.is_good(), "{:?}", report.ledger);
    let most_ns = oldest_ns(&report);
    assert!((450 * US..455 * US).contains(&most_ns), "{most_ns}");
    assert_eq!(report.end_to_end.sojourn_ns.count, 2);

    let mod_one = |_: &Number| 0;
    let report = debounce(
        Counting::new(2, 100 * MS),
        slack(500 * US, 50 * US),
        64,
        mod_one,
        Sink::new(1, 0),
    );
    assert!(report.is_good(), "{:?}", report.ledger);
    let most_ns = oldest_ns(&report);
    assert!((450 * US..455 * US).contains(&most_ns), "{most_ns}");
}

#[test]
fn a_full_batch_leaves_at_once() {
    let report = batch(Counting::new(64, 10 * US), slack(100 * MS, MS), 4);
    assert!(report.is_good(), "{:?}", report.ledger);
    // The first of four waits for three more.
    let most_ns = oldest_ns(&report);
    assert!((30 * US..35 * US).contains(&most_ns), "{most_ns}");
    let alone = batch(Counting::new(64, 10 * US), slack(100 * MS, MS), 1);
    assert!(oldest_ns(&alone) < 5 * US, "{:?}", oldest_ns(&alone));
}

#[test]
fn nothing_waits_longer_than_it_may_whatever_the_load() {
    for (gap_ns, most) in [(US, 512), (7 * US, 512), (90 * US, 512), (400 * US, 3)] {
        let report = batch(Counting::new(3_000, gap_ns), slack(MS, 100 * US), most);
        assert!(report.is_good(), "{:?}", report.ledger);
        let most_ns = oldest_ns(&report);
        assert!(most_ns < 910 * US, "{gap_ns}, {most}: {most_ns}");
        // It waits for what it may, not for less, but for those that a full batch or the end let go.
        if most == 512 && gap_ns > 2 * US {
            assert!(most_ns >= 900 * US, "{gap_ns}: {most_ns}");
        }
        assert_eq!(held(&report).held, 0);
    }
}

#[test]
fn a_drain_lets_all_go() {
    let report = batch(Counting::new(40, US), slack(4_000 * MS, US), 64);
    assert!(report.is_good(), "{:?}", report.ledger);
    assert_eq!((held(&report).forwarded, held(&report).held), (40, 0));
    assert!(
        report.line.elapsed_ns < 10 * MS,
        "{}",
        report.line.elapsed_ns
    );
    let report = debounce(
        Counting::new(40, US),
        slack(4_000 * MS, US),
        64,
        |number| number.value % 8,
        Sink::new(8, 0),
    );
    assert!(report.is_good(), "{:?}", report.ledger);
    assert_eq!((held(&report).forwarded, held(&report).held), (8, 0));
    assert_eq!(held(&report).absorbed["superseded"], 32);
    assert!(
        report.line.elapsed_ns < 10 * MS,
        "{}",
        report.line.elapsed_ns
    );
}

#[test]
fn of_each_key_the_latest_leaves_once_a_slack() {
    let report = debounce(
        Counting::new(10_000, US),
        slack(100 * US, 10 * US),
        16,
        |number| number.value % 4,
        Sink::new(4, 0),
    );
    assert!(report.is_good(), "{:?}", report.ledger);
    let stage = held(&report);
    // Four frames each 90 us of 10 ms, and what a turn adds to it.
    assert!(
        (400..=460).contains(&stage.forwarded),
        "{}",
        stage.forwarded
    );
    assert_eq!(stage.forwarded + stage.absorbed["superseded"], 10_000);
    // What leaves is young: its predecessors did the waiting.
    assert!(oldest_ns(&report) < 90 * US, "{:?}", oldest_ns(&report));
}

#[test]
fn one_key_more_than_there_is_room_for_lets_all_go() {
    let report = debounce(
        Counting::new(1_000, US),
        slack(1_000 * MS, US),
        3,
        |number| number.value,
        Sink::new(1, 0),
    );
    assert!(report.is_good(), "{:?}", report.ledger);
    assert_eq!(held(&report).forwarded, 1_000);
    assert!(oldest_ns(&report) < 10 * US, "{:?}", oldest_ns(&report));
}

#[test]
fn parts_of_a_message_have_no_key() {
    let report = debounce(
        Counting::new(10, US).parts(3),
        slack(MS, US),
        3,
        |number| number.value,
        Sink::new(1, 0),
    );
    assert!(report.ledger.closed, "{:?}", report.ledger);
    assert_eq!(held(&report).rejected["fragment"], 10);
}

#[test]
fn the_ledger_closes_whatever_comes_and_whatever_is_shed() {
    let mut prng = Prng::new(5);
    for case in 0..120 {
        let mut among = |of: &[u64]| of[prng.below(of.len() as u64) as usize];
        let count = among(&[1, 7, 700]);
        let gap_ns = among(&[0, 300, 20 * US]);
        let parts = among(&[1, 1, 2, 7, 300, 512]) as usize;
        let most = among(&[1, 2, 64, 512]) as usize;
        let budget_ns = among(&[30 * US, MS, 900 * MS]);
        let slack = slack(budget_ns, among(&[US, 10 * US]));
        let not_now_every = among(&[0, 3, 50]);
        let out = match among(&[0, 1, 2]) {
            0 => Hop::depth(1024),
            1 => Hop::depth(512),
            _ => Hop::depth(8).when_full(WhenFull::DropNewest),
        };
        let source = Counting::new(count, gap_ns).parts(parts);
        let what = format!(
            "case {case}: {count} of {parts} parts each {gap_ns} ns, {most} in {slack:?}, {out:?}"
        );
        let report = if case % 2 == 0 {
            let spec = BatchSpec { slack, most };
            run(
                source,
                |line| {
                    line.stage("holds", move || Batch::<Number>::new(spec));
                },
                Sink::new(1, not_now_every),
                out,
            )
        } else {
            let keys = most.min(255);
            let spec = DebounceSpec { slack, keys };
            run(
                source,
                |line| {
                    line.stage("holds", move || {
                        Debounce::<Number>::new(spec, |number| number.value % 5)
                    });
                },
                Sink::new(5, not_now_every),
                out,
            )
        };
        assert!(report.ledger.closed, "{what}: {:?}", report.ledger);
        assert_eq!(held(&report).held, 0, "{what}");
        assert_eq!(held(&report).consumed, count, "{what}");
        assert!(
            report.stages.iter().all(|stage| stage.fault.is_none()),
            "{what}"
        );
        let complete = report.drain.as_ref().is_some_and(|drain| drain.complete);
        assert!(complete, "{what}: {:?}", report.drain);
    }
}
