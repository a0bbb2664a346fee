//! What a policy measures may be wrong for a while: a service that was slow, a consumer of several, messages of several frames, a
//! sink that stopped. All of it is right again once it is over.

#[path = "overload/line.rs"]
mod line;

use hopline::base::NoWhy;
use hopline::budget::report::HopReport;
use hopline::clock::VirtualTime;
use hopline::io::{Driver, Virtual};
use hopline::overload::{Policy, WhenFull};
use hopline::stage::{Context, Out, Outcome, Port, Stage};
use hopline::topology::{Hop, Inline, Line, Report};

use line::{Keep, Mixed, MixedView, Paced, Quote, Seen, Slow, run, run_shut};

const MS: u64 = 1_000_000;

const OUT: Out<Mixed> = Out::at(0);

/// When the virtual time begins.
const BEGAN_NS: u64 = 1_000 * MS;

/// Takes for each first frame of a message what it is told for the time since the start, and nothing for the others.
struct Varying {
    time: VirtualTime,
    service_ns: fn(u64) -> u64,
    /// Whether what it emits for a fragment is a message by itself, of which others may be shed.
    flat: bool,
}

impl Stage for Varying {
    type In = Mixed;
    type Why = NoWhy;
    const PORTS: &'static [Port] = &[Port::new::<Mixed>("out")];

    fn on_frame(&mut self, frame: MixedView<'_>, cx: &mut Context<'_>) -> Outcome<NoWhy> {
        let since_ns = self.time.now_ns() - BEGAN_NS;
        let is_first = !matches!(&frame, MixedView::Depth(depth) if depth.nth() > 0);
        if is_first {
            self.time.advance_by((self.service_ns)(since_ns));
        }
        match frame {
            MixedView::Quote(view) => cx.emit(OUT, &view.to_owned()),
            MixedView::Trade(view) => cx.emit(OUT, &view.to_owned()),
            MixedView::Depth(view) if self.flat => {
                let value = view.value();
                cx.emit(OUT, &Quote { value, symbol: 0 })
            }
            MixedView::Depth(view) => cx.emit(OUT, &view.to_owned()),
        };
        Outcome::done()
    }
}

fn varying(rates: &[(u64, u64)], policy: Policy, service_ns: fn(u64) -> u64) -> (Report, Seen) {
    let inline = Inline::new(Driver::Virtual(Virtual::new()));
    let time = inline.clock.1.clone();
    let keep = Keep::default();
    let mut line = Line::builder("measured");
    line.source("in", Paced::new(rates));
    line.stage("work", move || Varying {
        time: time.clone(),
        service_ns,
        flat: false,
    });
    line.sink("out", keep.clone());
    line.connect("in", "work", Hop::depth(256).policy(policy));
    line.connect("work", "out", Hop::depth(1024));
    let line = line.build().expect("a right line");
    let (report, _) = line.run_inline(inline, None).expect("it opens");
    assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
    let seen = keep.seen.lock().expect("nobody panicked").clone();
    (report, seen)
}

fn hop<'r>(report: &'r Report, name: &str) -> &'r HopReport {
    let found = report.hops.iter().find(|hop| hop.name == name);
    found.unwrap_or_else(|| panic!("no hop {name}"))
}

fn lost(hop: &HopReport) -> u64 {
    hop.shed.values().sum::<u64>() + hop.discarded.values().sum::<u64>()
}

const fn within(deadline_ns: u64) -> Policy {
    let mut policy = Policy::of(WhenFull::DropNewest);
    policy.deadline_ns = deadline_ns;
    policy
}

#[test]
fn a_first_message_that_took_longer_than_the_deadline_is_no_reason_to_refuse_the_others() {
    // A message a millisecond.
    let rates = &[(1_000 * MS, MS)];
    let slow_first = |since_ns| if since_ns < MS { 3 * MS } else { 10_000 };
    let (report, seen) = varying(rates, within(2 * MS), slow_first);
    assert!(lost(hop(&report, "in->work")) < 30, "{:?}", report.hops[0]);
    assert!(seen.trades.contains(&997));
}

#[test]
fn a_phase_in_which_nothing_is_done_in_time_ends_with_it() {
    let rates = &[(1_000 * MS, 100_000)];
    let slow_phase = |since_ns| match since_ns / MS {
        100..400 => 600_000,
        _ => 10_000,
    };
    let (report, seen) = varying(rates, within(MS / 2), slow_phase);
    // Of the 3,000 messages of the phase at most one in six could be worked on.
    let lost = lost(hop(&report, "in->work"));
    assert!((2_000..3_300).contains(&lost), "{:?}", report.hops[0]);
    // From a tenth of a second after it on, each.
    let after = seen.trades.iter().filter(|value| **value >= 5_000).count();
    assert_eq!(
        after,
        (5_000..10_000).filter(|value| value % 3 == 1).count()
    );
}

#[test]
fn a_message_that_would_be_made_is_worked_on_however_much_services_differ() {
    let rates = &[(5_000 * MS, 10 * MS)];
    // Half a millisecond more or less, by the time.
    let differing = |since_ns: u64| {
        if (since_ns / (10 * MS)).is_multiple_of(3) {
            MS
        } else {
            10_000
        }
    };
    let (report, _) = varying(rates, within(2 * MS), differing);
    // Of a message of several frames it is not known that nothing else waits: some of those are left out.
    let hop = hop(&report, "in->work");
    assert!(lost(hop) < 25, "{hop:?}");
}

#[test]
fn a_backlog_is_as_long_as_its_frames_take_and_not_as_if_each_were_a_message() {
    // A third of the messages have three frames. 45 at once are 75 frames, and 450 us of work.
    let rates = &[(100 * MS, 100_000), (45, 1), (10 * MS, 100_000)];
    let (report, _) = varying(rates, within(MS / 2), |_| 10_000);
    let hop = hop(&report, "in->work");
    assert_eq!((lost(hop), hop.depth_max > 50), (0, true), "{hop:?}");
}

#[test]
fn a_ladder_sees_the_slowest_consumer_of_a_ring_wherever_it_stands() {
    for order in [["fast", "slow"], ["slow", "fast"]] {
        let policy = Policy {
            degrade_high_ns: MS / 2,
            degrade_low_ns: MS / 4,
            ..Policy::of(WhenFull::DropNewest)
        };
        let inline = Inline::new(Driver::Virtual(Virtual::new()));
        let time = inline.clock.1.clone();
        let mut line = Line::builder("broadcast");
        line.source("in", Paced::new(&[(100 * MS, 10_000)]));
        for (name, service_ns) in [("fast", 100), ("slow", 100_000)] {
            let time = time.clone();
            line.stage(name, move || Slow {
                time: time.clone(),
                service_ns,
            });
            let sink = format!("after-{name}");
            line.sink(&sink, Keep::default());
            line.connect(name, sink.as_str(), Hop::depth(1024));
        }
        line.connect("in", &order[..], Hop::depth(1024).policy(policy));
        let line = line.build().expect("a right line");
        let (report, _) = line.run_inline(inline, None).expect("it opens");
        assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
        let first = hop(&report, &format!("in->{}", order[0]));
        assert!(first.rungs.contains_key("conflate"), "{first:?}");
        assert!(!first.shed.contains_key("full"), "{first:?}");
    }
}

#[test]
fn a_stage_that_was_held_back_for_too_long_once_blocks_again() {
    // Nothing leaves for 20 ms; then bursts of 45 messages, for which the sink has room after each of its turns.
    let policy = Policy {
        block_timeout_ns: MS,
        ..Policy::of(WhenFull::Block)
    };
    let mut rates = vec![(2 * MS, 100_000), (22 * MS, 20_000)];
    for _ in 0..50 {
        rates.extend([(45_000, 1_000), (5 * MS, 5 * MS)]);
    }
    let shut_ns = BEGAN_NS + 2 * MS..BEGAN_NS + 22 * MS;
    let inline = Inline::new(Driver::Virtual(Virtual::new()));
    let time = inline.clock.1.clone();
    let mut keep = Keep::default();
    keep.shut = Some((time.clone(), shut_ns));
    let mut line = Line::builder("held");
    line.source("in", Paced::new(&rates));
    line.stage("work", move || Varying {
        time: time.clone(),
        service_ns: |_| 0,
        flat: true,
    });
    line.sink("out", keep.clone());
    line.connect("in", "work", Hop::depth(4096));
    line.connect("work", "out", Hop::depth(16).policy(policy));
    let line = line.build().expect("a right line");
    let (report, _) = line.run_inline(inline, None).expect("it opens");
    assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
    let hop = hop(&report, "work->out");
    let shed = hop.shed["block_timeout"];
    assert_eq!(shed, lost(hop));
    // At most what came while the sink was shut: 1,100 messages of five frames in three.
    assert!((1..1_834).contains(&shed), "{hop:?}");
    let seen = keep.seen.lock().expect("nobody panicked");
    let after = seen.trades.iter().filter(|value| **value >= 1_200);
    let due = (1_200..1_120 + 50 * 46).filter(|value| value % 3 == 1);
    assert_eq!(after.count(), due.count(), "{hop:?}");
}

#[test]
fn what_waits_for_room_takes_none_that_was_secured() {
    // Conflating gives way to blocking and back while the sink stands still now and then.
    let policy = Policy {
        block_timeout_ns: MS,
        then: WhenFull::Conflate,
        ..Policy::of(WhenFull::Block)
    };
    let rates = &[(40 * MS, 5_000)];
    for from_ms in 0..8 {
        let from_ns = BEGAN_NS + from_ms * 1_300_000;
        let shut_ns = from_ns..from_ns + 15 * MS;
        let (report, _) = run_shut(rates, 100, Some(shut_ns), 16, |line| {
            line.connect("in", "work", Hop::depth(16).policy(policy));
        });
        assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
    }
    let (report, _) = run(rates, 20_000, |line| {
        line.connect("in", "work", Hop::depth(16).policy(policy));
    });
    assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
}
