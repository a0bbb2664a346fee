//! Lines that get more than they can work on: what each policy keeps, what it sheds, and that both are told.

#[path = "overload/file.rs"]
mod file;
#[path = "overload/hangs.rs"]
mod hangs;
#[path = "overload/line.rs"]
mod line;
#[path = "common/numbers.rs"]
mod numbers;

use hopline::budget::report::HopReport;
use hopline::overload::{Policy, WhenFull};
use hopline::topology::{Hop, Report};

use line::{PARTS, SYMBOLS, Seen, run, run_shut};

/// Ten times of what a stage can do that takes 10 us, for 20 ms, then half of it for 20 ms.
const TEN_TIMES: &[(u64, u64)] = &[(20_000_000, 1_000), (20_000_000, 20_000)];

/// Messages of it.
const MESSAGES: u64 = 20_000 + 1_000;

/// A tenth of the messages have fragments, and each takes a service of its own.
const SERVICE_NS: u64 = 10_000;

fn hop<'r>(report: &'r Report, name: &str) -> &'r HopReport {
    let found = report.hops.iter().find(|hop| hop.name == name);
    found.unwrap_or_else(|| panic!("no hop {name}"))
}

fn count(by_reason: &hopline::budget::report::ByReason, reason: &str) -> u64 {
    by_reason.get(reason).copied().unwrap_or(0)
}

/// What left of each kind, and what is gone by the ledger, make up all that was sent.
fn adds_up(report: &Report, seen: &Seen, hops: &[&str]) {
    assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
    let left = seen.quotes.len() + seen.trades.len() + seen.depths.len();
    let gone: u64 = hops
        .iter()
        .map(|name| hop(report, name))
        .map(|hop| hop.shed.values().sum::<u64>() + hop.discarded.values().sum::<u64>())
        .sum();
    assert_eq!(left as u64 + gone, MESSAGES);
}

/// Runs at ten times its capacity under one policy.
fn under(policy: Policy) -> (Report, Seen) {
    let (report, seen) = run(TEN_TIMES, SERVICE_NS, |line| {
        line.connect("in", "work", Hop::depth(256).policy(policy));
    });
    adds_up(&report, &seen, &["in->work"]);
    (report, seen)
}

#[test]
fn block_loses_nothing_and_keeps_all_for_long() {
    let (report, seen) = under(Policy::of(WhenFull::Block));
    assert_eq!(seen.trades.len() as u64, MESSAGES / 3);
    assert!(hop(&report, "in->work").shed.is_empty());
    // It ends when all is worked on, five fragments for three messages.
    let work_ns = MESSAGES / 3 * (2 + u64::from(PARTS)) * SERVICE_NS;
    assert!(report.line.elapsed_ns >= work_ns);
    assert!(report.end_to_end.sojourn_ns.p50 > 50_000_000);
}

#[test]
fn drop_newest_keeps_what_is_queued_and_says_what_it_dropped_of_each_kind() {
    let (report, seen) = under(Policy::of(WhenFull::DropNewest));
    let hop = hop(&report, "in->work");
    assert!(count(&hop.shed, "full") > MESSAGES / 4, "{hop:?}");
    let of_kind = |kind: &str| hop.shed_by_kind[kind]["full"];
    assert_eq!(of_kind("quote") + seen.quotes.len() as u64, MESSAGES / 3);
    assert_eq!(of_kind("trade") + seen.trades.len() as u64, MESSAGES / 3);
    assert_eq!(of_kind("depth") + seen.depths.len() as u64, MESSAGES / 3);
}

#[test]
fn drop_oldest_steps_over_the_head_of_the_queue_message_by_message() {
    let (report, seen) = under(Policy::of(WhenFull::DropOldest));
    let hop = hop(&report, "in->work");
    assert!(count(&hop.discarded, "oldest") > MESSAGES / 10, "{hop:?}");
    // What is left is in order.
    assert!(seen.trades.is_sorted() && seen.depths.is_sorted());
}

#[test]
fn a_deadline_refuses_what_is_hopeless_and_what_is_late_at_its_turn() {
    let policy = Policy {
        deadline_ns: 2_000_000,
        ..Policy::of(WhenFull::DropNewest)
    };
    let (report, _) = under(policy);
    let hop = hop(&report, "in->work");
    assert!(count(&hop.shed, "hopeless") > MESSAGES / 3, "{hop:?}");
    // What was taken was in time, but for the fragments of a message in hand and the way out.
    let max_ns = report.end_to_end.sojourn_ns.max;
    assert!(max_ns < 2_000_000 + 40 * SERVICE_NS, "{max_ns}");
}

#[test]
fn codel_keeps_a_queue_short_that_stands() {
    let policy = Policy {
        codel_target_ns: 80_000,
        codel_interval_ns: 1_000_000,
        ..Policy::of(WhenFull::DropNewest)
    };
    let (report, _) = under(policy);
    let hop = hop(&report, "in->work");
    let stale = count(&hop.discarded, "stale");
    assert!(stale > MESSAGES / 20, "{hop:?}");
    // Two kinds share the ring, and each is told by itself.
    let kinds = hop.discarded_by_kind.values();
    let by_kind: Vec<u64> = kinds.map(|kind| count(kind, "stale")).collect();
    assert!(
        by_kind.len() > 1 && by_kind.iter().all(|kind| *kind > 0),
        "{hop:?}"
    );
    assert_eq!(by_kind.iter().sum::<u64>(), stale);
    assert!(!hop.discarded_by_kind.contains_key("other"), "{hop:?}");
    assert!(hop.wait_ns.p90 <= 1_010_000, "{hop:?}");
}

#[test]
fn a_sample_takes_one_in_so_many_while_the_ring_is_filled() {
    let policy = Policy {
        sample: 20,
        sample_above: 50,
        ..Policy::of(WhenFull::DropNewest)
    };
    let (report, seen) = under(policy);
    let hop = hop(&report, "in->work");
    assert!(count(&hop.shed, "sampled") > MESSAGES / 4, "{hop:?}");
    assert!(!seen.trades.is_empty());
}

#[test]
fn a_rate_lets_through_what_it_says_and_all_again_when_less_comes() {
    let policy = Policy {
        rate_per_s: 50_000,
        burst: 10,
        ..Policy::of(WhenFull::Block)
    };
    let (report, seen) = under(policy);
    let hop = hop(&report, "in->work");
    // 20 ms of it, and the burst; then all of the second half.
    let limited = count(&hop.shed, "rate_limited");
    let expected = 20_000 - 1_000 - 10_u64;
    assert!(limited.abs_diff(expected) <= 5, "{hop:?}");
    assert!(seen.trades.contains(&(MESSAGES - 2)));
}

#[test]
fn a_watermark_pauses_the_source_and_loses_nothing() {
    let policy = Policy {
        high: 50,
        low: 25,
        ..Policy::of(WhenFull::Block)
    };
    let (report, _) = under(policy);
    let hop = hop(&report, "in->work");
    assert_eq!((hop.delivered, hop.offered), (MESSAGES, MESSAGES));
    assert!(hop.depth_max <= 128 + u64::from(PARTS), "{hop:?}");
    assert!(
        report
            .stages
            .iter()
            .any(|stage| stage.name == "in" && stage.regimes_ns.held_back > 0)
    );
}

#[test]
fn a_producer_is_held_back_for_so_long_and_then_gives_way() {
    // Nothing leaves for 8 ms, in which 400 messages come: 128 frames fit on the two hops.
    let shut_ns = 1_002_000_000..1_010_000_000;
    for (then, reason) in [
        (WhenFull::DropNewest, "block_timeout"),
        (WhenFull::Reject, "rejected"),
    ] {
        let policy = Policy {
            block_timeout_ns: 1_000_000,
            then,
            ..Policy::of(WhenFull::Block)
        };
        let rates = &[(20_000_000, 20_000)];
        let (report, seen) = run_shut(rates, 1_000, Some(shut_ns.clone()), 64, |line| {
            line.connect("in", "work", Hop::depth(64).policy(policy));
        });
        assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
        let hop = hop(&report, "in->work");
        let shed = count(&hop.shed, reason);
        assert_eq!(shed, hop.shed.values().sum::<u64>());
        // Those of the last 8 ms but for what fits and for what came while it was held back.
        assert!((100..400).contains(&shed), "{hop:?}");
        assert_eq!(hop.offered, 1_000);
        // It takes all again once there is room.
        assert!(seen.trades.contains(&997));
    }
}

#[test]
fn a_source_that_has_ended_and_waits_for_room_has_nothing_due() {
    let begin_ns = 1_000_000_000;
    let shut_ns = begin_ns..begin_ns + 1_100_000;
    let (report, seen) = run_shut(&[(1_000_000, 5_000)], 1_000, Some(shut_ns), 4, |line| {
        let conflate = Hop::depth(4).when_full(WhenFull::Conflate);
        line.connect("in", "work", conflate);
    });
    assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
    let hop = hop(&report, "in->work");
    assert!(count(&hop.shed, "conflated") > 0, "{hop:?}");
    assert!(seen.quotes.len() >= SYMBOLS as usize);
    // Virtual time moves on at once where nothing is due: four times as many turns where something seems to be.
    let turns = report.placement[0].turns;
    assert!(turns < 1_000, "{turns}");
}

#[test]
fn the_latest_quote_of_each_symbol_gets_through_and_the_ones_before_it_are_counted() {
    let (report, seen) = run(TEN_TIMES, SERVICE_NS, |line| {
        let rest = Hop::depth(64).when_full(WhenFull::DropNewest);
        line.connect("in", "work", rest.class("rest", ["trade", "depth"]));
        let quotes = Hop::depth(64).when_full(WhenFull::Conflate);
        line.connect("in", "work", quotes.class("quotes", "quote"));
    });
    adds_up(&report, &seen, &["in->work#quotes", "in->work#rest"]);
    let quotes = hop(&report, "in->work#quotes");
    let conflated = count(&quotes.shed, "conflated");
    assert!(conflated > 1_000, "{quotes:?}");
    assert_eq!(quotes.shed.len(), 1, "nothing else was lost: {quotes:?}");
    assert_eq!(conflated + seen.quotes.len() as u64, MESSAGES / 3);
    // Of each symbol the last one sent is the last one seen, and none came after a newer one.
    for symbol in 0..SYMBOLS as u16 {
        let of_symbol = seen.quotes.iter().filter(|quote| quote.symbol == symbol);
        let values: Vec<u64> = of_symbol.map(|quote| quote.value).collect();
        assert!(values.is_sorted());
        let sent = (0..MESSAGES).filter(|value| value % 3 == 0);
        let last = sent
            .filter(|value| value / 3 % SYMBOLS == u64::from(symbol))
            .max();
        assert_eq!(values.last().copied(), last);
    }
}

#[test]
fn a_protected_class_comes_first_and_loses_nothing_beside_one_that_is_shed() {
    let (report, seen) = run(
        &[(20_000_000, 10_000), (20_000_000, 20_000)],
        SERVICE_NS,
        |line| {
            line.connect("in", "work", Hop::depth(64).class("depth", "depth"));
            let late = Policy {
                deadline_ns: 1_000_000,
                ..Policy::of(WhenFull::DropNewest)
            };
            line.connect(
                "in",
                "work",
                Hop::depth(64).policy(late).class("rest", [""; 0]),
            );
        },
    );
    assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
    let rest = hop(&report, "in->work#rest");
    assert!(rest.shed.values().sum::<u64>() > 500, "{rest:?}");
    // 2,000 and 1,000 messages, a third each: none of these is missing.
    let depths: Vec<u64> = (0..3_000).filter(|value| value % 3 == 2).collect();
    assert_eq!(seen.depths, depths);
    assert!(count(&rest.discarded, "late") > 0, "{rest:?}");
}

#[test]
fn what_overflows_goes_to_another_hop_and_nowhere_else() {
    let spilled = line::Keep::default();
    let (report, seen) = run(TEN_TIMES, SERVICE_NS, |line| {
        line.sink("spill", spilled.clone());
        let hop = Hop::depth(64)
            .when_full(WhenFull::Overflow)
            .overflow_to("spill");
        line.connect("in", "work", hop);
        line.connect("in", "spill", Hop::depth(1024));
    });
    adds_up(&report, &seen, &["in->work"]);
    let overflowed = count(&hop(&report, "in->work").shed, "overflowed");
    let spill = hop(&report, "in->spill");
    assert_eq!((spill.offered, spill.delivered), (overflowed, overflowed));
    let spilled = spilled.seen.lock().unwrap();
    let mut trades = [seen.trades, spilled.trades.clone()].concat();
    trades.sort_unstable();
    let sent: Vec<u64> = (0..MESSAGES).filter(|value| value % 3 == 1).collect();
    assert_eq!(trades, sent, "each trade is in one of the two places");
    assert_eq!(seen.depths.len() + spilled.depths.len(), sent.len());
}

#[test]
fn what_overflows_to_a_node_with_classes_goes_to_the_class_of_its_kind_once() {
    let spilled = line::Keep::default();
    let (report, seen) = run(TEN_TIMES, SERVICE_NS, |line| {
        line.sink("spill", spilled.clone());
        let hop = Hop::depth(64)
            .when_full(WhenFull::Overflow)
            .overflow_to("spill");
        line.connect("in", "work", hop);
        let class = |name, kinds: &[&str]| Hop::depth(1024).class(name, kinds);
        line.connect("in", "spill", class("quotes", &["quote"]));
        line.connect("in", "spill", class("rest", &[]));
    });
    adds_up(&report, &seen, &["in->work"]);
    let overflowed = &hop(&report, "in->work").shed_by_kind;
    let [quotes, rest] = ["quotes", "rest"].map(|class| {
        let hop = hop(&report, &format!("in->spill#{class}"));
        assert_eq!(hop.offered, hop.delivered);
        hop.offered
    });
    assert_eq!(quotes, overflowed["quote"]["overflowed"]);
    let others = ["trade", "depth"].map(|kind| overflowed[kind]["overflowed"]);
    assert_eq!(rest, others.iter().sum::<u64>());
    let spilled = spilled.seen.lock().unwrap();
    let all = [seen.quotes.clone(), spilled.quotes.clone()].concat();
    let mut values: Vec<u64> = all.iter().map(|quote| quote.value).collect();
    values.sort_unstable();
    let sent: Vec<u64> = (0..MESSAGES).filter(|value| value % 3 == 0).collect();
    assert_eq!(values, sent, "each quote is in one of the two places");
}

#[test]
fn a_hop_degrades_rung_by_rung_and_serves_everything_again_once_less_comes() {
    let policy = Policy {
        degrade_high_ns: 300_000,
        degrade_low_ns: 150_000,
        ..Policy::of(WhenFull::DropNewest)
    };
    let rates = &[(40_000_000, 1_000), (200_000_000, 50_000)];
    let (report, seen) = run(rates, SERVICE_NS, |line| {
        line.connect("in", "work", Hop::depth(256).policy(policy));
    });
    assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
    let hop = hop(&report, "in->work");
    for reason in ["conflated", "sampled", "degraded"] {
        assert!(count(&hop.shed, reason) > 0, "{reason}: {hop:?}");
    }
    assert_eq!(hop.rung, "none", "{hop:?}");
    assert!(hop.rungs["conflate"] >= 2, "up and down: {hop:?}");
    let on_rungs_ns = hop.rungs_ns.iter().filter(|(rung, _)| *rung != "none");
    let on_rungs_ns: u64 = on_rungs_ns.map(|(_, span_ns)| span_ns).sum();
    assert!(hop.rungs_ns.keys().eq(hop.rungs.keys()), "{hop:?}");
    // It degrades for as long as there is too much, 40 ms, and is back within 100 ms of the end of that.
    assert!((30_000_000..=150_000_000).contains(&on_rungs_ns), "{hop:?}");
    assert_eq!(hop.waiting, 0);
    // The last hundred of each kind are all there.
    let last = 40_000 + 4_000;
    let sent = |kind: u64| (last - 300..last).filter(move |value| value % 3 == kind);
    assert!(sent(1).all(|value| seen.trades.contains(&value)));
    assert!(sent(2).all(|value| seen.depths.contains(&value)));
}

#[test]
fn a_protected_hop_does_not_degrade_before_the_last_rung() {
    let policy = Policy {
        degrade_high_ns: 300_000,
        degrade_low_ns: 150_000,
        protected: true,
        ..Policy::of(WhenFull::DropNewest)
    };
    let (report, _) = run(&[(3_000_000, 1_000)], SERVICE_NS, |line| {
        line.connect("in", "work", Hop::depth(4096).policy(policy));
    });
    let hop = hop(&report, "in->work");
    assert!(hop.shed.keys().all(|reason| reason == "refused"), "{hop:?}");
}

#[test]
fn a_hop_that_overflows_to_another_has_to_overflow() {
    let mut line = hopline::topology::Line::builder("overloaded");
    line.source("in", line::Paced::new(TEN_TIMES));
    line.sink("out", line::Keep::default());
    line.sink("spill", line::Keep::default());
    let hop = Hop::depth(64).when_full(WhenFull::DropNewest);
    line.connect("in", "out", hop.overflow_to("spill"));
    line.connect("in", "spill", Hop::depth(64));
    let told = line.build().expect_err("it does not").to_string();
    assert!(
        told.contains("in->out does not overflow, and \"spill\" would get nothing"),
        "{told}"
    );
}

#[test]
fn a_hop_without_a_table_is_given_no_ladder_that_would_conflate() {
    let mut line = hopline::topology::Line::builder("overloaded");
    line.source("in", line::Paced::new(&[(1_000_000, 10_000)]));
    line.sink("out", line::Keep::default());
    let rest = Hop::depth(64).when_full(WhenFull::DropNewest);
    line.connect("in", "out", rest.clone().class("quotes", "quote"));
    line.connect("in", "out", rest.class("rest", [""; 0]));
    let mut running = line.build().expect("a line").start().expect("it starts");
    let ladder = Policy {
        degrade_high_ns: 10_000,
        degrade_low_ns: 5_000,
        ..Policy::of(WhenFull::DropNewest)
    };
    let told = running.set_policy("in->out#quotes", ladder).unwrap_err();
    let expected = "in->out#quotes: it has no table to conflate in";
    assert!(told.to_string().starts_with(expected), "{told}");
    // That rung does nothing to what is protected, nor to what has no key.
    let protected = Policy {
        protected: true,
        ..ladder
    };
    running.set_policy("in->out#quotes", protected).unwrap();
    running.set_policy("in->out#rest", ladder).unwrap();
    // What no limit would come of is refused as when it is built.
    let d = Policy::of(WhenFull::DropNewest);
    for none in [
        Policy {
            rate_per_s: 1,
            burst: u32::MAX,
            ..d
        },
        Policy {
            rate_per_s: 2_000_000_000,
            burst: 1,
            ..d
        },
        Policy {
            sample: 2_000_000,
            ..d
        },
        Policy {
            degrade_high_ns: 100_000,
            ..d
        },
        Policy {
            codel_target_ns: 1_000_000,
            codel_interval_ns: 70_000_000_000,
            ..d
        },
        Policy {
            deadline_ns: 1,
            ..d
        },
        Policy {
            high: 1,
            ..Policy::of(WhenFull::Block)
        },
    ] {
        assert!(running.set_policy("in->out#rest", none).is_err(), "{none}");
    }
    running.end("finished");
}
