//! Lines with hops that lead to several nodes: one ring, orders among its consumers, a ledger for each.

use std::sync::Arc;
use std::time::Duration;

use hopline::base::NoWhy;
use hopline::base::limits::PARK_MAX_NS;
use hopline::base::primitive::{AtomicU64, Ordering};
use hopline::budget::report::HopReport;
use hopline::frame::View;
use hopline::io::{Driver, IoError, Virtual};
use hopline::overload::WhenFull;
use hopline::ring::{hop, multicast};
use hopline::stage::{Context, Delivery, Egress, Leaving, Outcome, Port, Stage};
use hopline::topology::{
    Builder, Hop, Inline, Line, Placement, Plan, Report, Stop, ThreadSpec, p99,
};
use hopline::wait::{Rung, Strategy};

#[path = "common/numbers.rs"]
mod numbers;

use numbers::{Collect, Counting, NUMBERS, Number};

/// Passes numbers on, says how far it has come, and checks that others are further.
#[derive(Clone, Default)]
struct Pass {
    mine: Option<Arc<AtomicU64>>,
    others: Vec<Arc<AtomicU64>>,
    panic_at: Option<u64>,
    hang_at: Option<u64>,
    work_ns: u64,
}

impl Stage for Pass {
    type In = Number;
    type Why = NoWhy;
    const PORTS: &'static [Port] = &[Port::new::<Number>("out")];

    fn on_frame(&mut self, number: View<'_, Number>, cx: &mut Context<'_>) -> Outcome<NoWhy> {
        let value = number.value();
        assert!(self.panic_at != Some(value), "planted");
        while self.hang_at == Some(value) {
            std::hint::spin_loop();
        }
        for other in &self.others {
            assert!(
                other.load(Ordering::Relaxed) > value,
                "seen before a barrier"
            );
        }
        let done_ns = cx.now_ns() + self.work_ns;
        while self.work_ns > 0 && cx.stamp() < done_ns {
            std::hint::spin_loop();
        }
        if cx.flags().is_last() {
            cx.emit(NUMBERS, &number.to_owned());
            if let Some(mine) = &self.mine {
                mine.store(value + 1, Ordering::Relaxed);
            }
        }
        Outcome::done()
    }
}

/// Takes nothing, ever.
struct Stubborn;

impl Egress for Stubborn {
    fn open(&mut self, _io: &mut Driver) -> Result<(), IoError> {
        Ok(())
    }

    fn on_frame(&mut self, _frame: Leaving<'_>, _io: &mut Driver) -> Delivery {
        Delivery::NotNow
    }
}

/// `in` to `a`, `b` and `c`, where `c` follows both; each has a sink of its own.
fn three(source: Counting, ring: Hop, stages: [Pass; 3]) -> Builder {
    let mut line = Line::builder("three");
    line.source("in", source);
    for (name, pass) in ["a", "b", "c"].into_iter().zip(stages) {
        line.stage(name, move || pass.clone());
    }
    for name in ["out-a", "out-b", "out-c"] {
        line.sink(name, Collect::default());
    }
    line.connect("in", ["c", "a", "b"], ring.after("c", ["a", "b"]));
    for name in ["a", "b", "c"] {
        line.connect(name, &format!("out-{name}"), Hop::depth(64));
    }
    line
}

/// Stages that check that `c` is never ahead.
fn ordered() -> [Pass; 3] {
    let [a, b] = [(); 2].map(|()| Arc::new(AtomicU64::new(0)));
    let first = |mine: &Arc<AtomicU64>| Pass {
        mine: Some(mine.clone()),
        ..Pass::default()
    };
    let last = Pass {
        others: vec![a.clone(), b.clone()],
        ..Pass::default()
    };
    [first(&a), first(&b), last]
}

fn inline(mut line: Builder) -> Report {
    let line = line.build().unwrap_or_else(|problems| panic!("{problems}"));
    let inline = Inline::new(Driver::Virtual(Virtual::new()));
    line.run_inline(inline, None).expect("it runs").0
}

fn threaded(mut line: Builder, threads: usize, wait: Strategy, stop: Stop) -> Report {
    line.placement(Placement {
        wait: Some(wait),
        threads_max: Some(threads),
        pin: hopline::host::Pin::Off,
        ..Placement::default()
    });
    line.build().unwrap().run_until(stop).expect("it starts")
}

fn hop_named<'r>(report: &'r Report, name: &str) -> &'r HopReport {
    report.hops.iter().find(|hop| hop.name == name).expect(name)
}

fn discarded(hop: &HopReport) -> u64 {
    hop.discarded.values().sum()
}

#[test]
fn each_consumer_gets_all_and_the_offers_count_once() {
    let ring = Hop::depth(64).budget(p99("20us"));
    let report = inline(three(Counting::new(10_000, 1_000), ring, ordered()));
    assert!(report.is_good(), "{:?} {:?}", report.ledger, report.faults);
    let names: Vec<&str> = report.hops.iter().map(|hop| hop.name.as_str()).collect();
    assert_eq!(names[..3], ["in->c", "in->a", "in->b"]);
    let shares: Vec<Option<&str>> = report
        .hops
        .iter()
        .map(|hop| hop.shares.as_deref())
        .collect();
    assert_eq!(shares[..3], [Some("in->a"), None, Some("in->a")]);
    for name in &names[..3] {
        let hop = hop_named(&report, name);
        assert_eq!(
            (hop.offered, hop.accepted, hop.delivered),
            (10_000, 10_000, 10_000)
        );
        assert_eq!(hop.sojourn_ns.count, 10_000);
        assert!(hop.budget.is_some());
    }
    assert_eq!(report.ledger.sources["in"].ingested, 10_000);
    assert_eq!(hop_named(&report, "c->out-c").delivered, 10_000);
}

#[test]
fn a_report_has_the_new_key_only_where_a_ring_is_shared() {
    let report = inline(three(Counting::new(10, 0), Hop::depth(64), ordered()));
    let json = serde_json::to_value(&report.hops).unwrap();
    let shares: Vec<bool> = json
        .as_array()
        .unwrap()
        .iter()
        .map(|hop| hop.get("shares").is_some())
        .collect();
    assert_eq!(shares, [true, false, true, false, false, false]);
}

#[test]
fn what_a_shared_ring_sheds_counts_once_and_is_missing_at_each() {
    let ring = Hop::depth(16).when_full(WhenFull::DropNewest);
    let report = inline(three(Counting::new(1_000, 0).parts(2), ring, ordered()));
    assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
    let shed = hop_named(&report, "in->a").shed["full"];
    assert!(shed > 0);
    assert_eq!(report.ledger.shed, shed, "not three times");
    assert_eq!(report.ledger.sources["in"].shed, shed);
    for name in ["in->a", "in->b", "in->c"] {
        let hop = hop_named(&report, name);
        assert_eq!((hop.offered, hop.delivered), (1_000, 1_000 - shed));
    }
}

#[test]
fn messages_of_many_fragments_reach_followers_whole() {
    // Seven fragments through sixteen slots.
    for threads in [1, 2] {
        let line = three(Counting::new(2_000, 0).parts(7), Hop::depth(16), ordered());
        let stop = Stop::after(Duration::from_secs(60));
        let report = threaded(line, threads, Strategy::YIELD, stop);
        assert!(
            report.is_good(),
            "{threads}: {:?} {:?}",
            report.ledger,
            report.faults
        );
        assert_eq!(hop_named(&report, "in->c").delivered, 2_000);
    }
}

#[test]
fn threads_deliver_all_in_order_however_they_wait() {
    for wait in [Strategy::YIELD, Strategy::PARK] {
        for threads in [1, 2] {
            let line = three(Counting::new(20_000, 0), Hop::depth(64), ordered());
            let report = threaded(line, threads, wait, Stop::after(Duration::from_secs(60)));
            assert!(report.is_good(), "{wait} on {threads}: {:?}", report.ledger);
            assert_eq!(
                hop_named(&report, "in->c").delivered,
                20_000,
                "{wait} on {threads}"
            );
        }
    }
}

/// On threads by hand, a list of nodes each, that park: the plan would fuse them on a machine with few cores.
fn parked(mut line: Builder, threads: &[&[&str]]) -> Report {
    let thread = |nodes: &&[&str]| ThreadSpec {
        name: nodes.join("-"),
        core: None,
        // At once: a yield takes milliseconds where others want the core.
        wait: Some(Strategy::Park {
            spins: Rung::Turns(1),
            yields: Rung::Turns(0),
            max_park_ns: PARK_MAX_NS,
        }),
        nodes: nodes.iter().map(|node| (*node).to_owned()).collect(),
        ..ThreadSpec::default()
    };
    line.placement(Placement {
        pin: hopline::host::Pin::Off,
        threads: threads.iter().map(thread).collect(),
        ..Placement::default()
    });
    let stop = Stop::after(Duration::from_secs(60));
    line.build().unwrap().run_until(stop).expect("it starts")
}

#[test]
fn followers_that_sleep_are_woken_by_those_that_they_follow() {
    // `a` works for so long that `c`, which the message has woken, sleeps again. Without a bell of `a` it
    // would sleep until the next message, forty milliseconds later.
    let mut stages = ordered();
    stages[0].work_ns = 3_000_000;
    let line = three(Counting::new(20, 40_000_000), Hop::depth(64), stages);
    let report = parked(
        line,
        &[&["in"], &["a", "b", "out-a", "out-b"], &["c", "out-c"]],
    );
    assert!(report.is_good(), "{:?}", report.ledger);
    let waited = hop_named(&report, "in->c").wait_ns;
    assert!(
        waited.p50 < 25_000_000,
        "half of them waited {} ns",
        waited.p50
    );
}

#[test]
fn a_thread_for_each_node_delivers_all() {
    let line = three(Counting::new(5_000, 0), Hop::depth(64), ordered());
    let each: [&[&str]; 7] = [
        &["in"],
        &["a"],
        &["b"],
        &["c"],
        &["out-a"],
        &["out-b"],
        &["out-c"],
    ];
    let report = parked(line, &each);
    assert!(report.is_good(), "{:?}", report.ledger);
    assert_eq!(hop_named(&report, "in->c").delivered, 5_000);
}

#[test]
fn one_that_fails_releases_the_others_and_its_rest_is_accounted_for() {
    for fails in 0..3 {
        let mut stages = [Pass::default(), Pass::default(), Pass::default()];
        stages[fails].panic_at = Some(500);
        let line = || three(Counting::new(5_000, 100), Hop::depth(64), stages.clone());
        let name = ["in->a", "in->b", "in->c"][fails];
        let threads = || threaded(line(), 3, Strategy::YIELD, Stop::when_done());
        for report in [inline(line()), threads()] {
            assert_eq!(
                report.drain.as_ref().map(|drain| drain.cause),
                Some("fault")
            );
            assert!(report.ledger.closed, "{name}: {:?}", report.ledger.breaches);
            let failed = hop_named(&report, name);
            let lost = failed.discarded.get("stage_failed").copied().unwrap_or(0);
            assert_eq!((failed.delivered, failed.in_flight), (501, 0));
            assert_eq!(failed.accepted, 501 + lost);
            for other in ["in->a", "in->b", "in->c"] {
                let hop = hop_named(&report, other);
                assert!(
                    other == name || hop.delivered == hop.accepted,
                    "{other}: {hop:?}"
                );
            }
        }
    }
}

#[test]
fn the_one_that_holds_back_is_named_and_the_drain_discards_for_each() {
    let mut line = Line::builder("stubborn");
    line.source("in", Counting::new(1_000, 0));
    line.sink("good", Collect::default());
    line.sink("follower", Collect::default());
    line.sink("bad", Stubborn);
    let ring = Hop::depth(16).after("follower", ["bad"]);
    line.connect("in", ["good", "bad", "follower"], ring);
    let inline = Inline::new(Driver::Virtual(Virtual::new())).stop_after_ns(10_000_000);
    let (report, _) = line.build().unwrap().run_inline(inline, None).unwrap();
    assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
    let source = report
        .stages
        .iter()
        .find(|stage| stage.name == "in")
        .unwrap();
    assert_eq!(source.held_back_by.as_deref(), Some("in->bad"));
    let accepted = hop_named(&report, "in->bad").accepted;
    assert!(accepted >= 16);
    assert_eq!(hop_named(&report, "in->good").delivered, accepted);
    assert_eq!(discarded(hop_named(&report, "in->bad")), accepted);
    let follower = hop_named(&report, "in->follower");
    assert_eq!(follower.delivered + discarded(follower), accepted);
    let left = &report.drain.as_ref().unwrap().left;
    assert!(left.iter().all(|left| left.held_by == "bad"), "{left:?}");
}

#[test]
fn a_consumer_that_hangs_is_named_and_the_others_end() {
    let mut stages = ordered();
    stages[0].hang_at = Some(100);
    let line = three(Counting::new(u64::MAX, 1_000), Hop::depth(64), stages);
    let report = threaded(
        line,
        7,
        Strategy::YIELD,
        Stop::after(Duration::from_millis(200)),
    );
    let drain = report.drain.as_ref().expect("a drain");
    assert_eq!(drain.stuck, ["a"]);
    let held = |name: &str| {
        let left = drain.left.iter().find(|left| left.hop == name);
        left.map(|left| left.held_by.clone())
    };
    assert_eq!(held("in->a").as_deref(), Some("a"));
    assert_eq!(held("in->c").as_deref(), Some("a"), "c waits for a");
}

#[test]
fn the_plan_counts_one_ring() {
    let line = |hop| three(Counting::new(1, 0), hop, ordered()).build().unwrap();
    let plan = Plan::inline(&line(Hop::depth(256)));
    let bytes: Vec<usize> = plan.hops[..3].iter().map(|hop| hop.ring_bytes).collect();
    assert_eq!(bytes, [0, multicast::memory_bytes(256, 3), 0]);
    assert_eq!(plan.hops[0].shares.as_deref(), Some("in->a"));
    let rings: usize = plan.hops.iter().map(|hop| hop.ring_bytes).sum();
    assert_eq!(rings, bytes[1] + 3 * hop::memory_bytes(64));
}

#[test]
fn what_is_wrong_with_a_shared_hop_is_told() {
    let told = |to: &[&str], hop: Hop| {
        let mut line = Line::builder("wrong");
        line.source("in", Counting::new(1, 0));
        line.sink("a", Collect::default());
        line.sink("b", Collect::default());
        line.connect("in", to, hop);
        line.build()
            .err()
            .map_or(String::new(), |problems| problems.to_string())
    };
    let hop = || Hop::depth(64);
    assert_eq!(told(&["a", "b"], hop().after("b", "a")), "");
    for (to, hop, words) in [
        (
            &["a", "b"][..],
            hop().after("c", "a"),
            "\"after\" names \"c\"",
        ),
        (
            &["a", "b"],
            hop().after("b", "in"),
            "\"after\" names \"in\"",
        ),
        (
            &["a", "b"],
            hop().after("b", "b"),
            "\"b\" is to wait for itself",
        ),
        (
            &["a", "b"],
            hop().after("b", "a").after("a", "b"),
            "the line has a cycle",
        ),
        (&["a", "a", "b"], hop(), "the hop in->a is there twice"),
        (&["a", "b", "bb"], hop(), "to = \"bb\" names no node"),
    ] {
        let told = told(to, hop);
        assert!(told.contains(words), "{words}: {told}");
    }
}
