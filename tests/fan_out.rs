//! A port whose messages are divided among several consumers, and a broadcast with a slow one.

#![allow(
    clippy::disallowed_types,
    reason = "counters of a test beside the line, which no model looks at"
)]

#[path = "fan_out/hang.rs"]
mod hang;
#[path = "fan_out/hot.rs"]
mod hot;
#[path = "fan_out/line.rs"]
mod line;
#[path = "common/numbers.rs"]
mod numbers;

use hopline::budget::report::HopReport;
use hopline::overload::{Policy, Slow, Split, WhenFull};
use hopline::topology::{Hop, Report};

use hang::{Broadcast, COUNT};
use line::{Keyed, Load, PARTS, Run, Seen, run, run_load};

const WORKERS: [&str; 3] = ["a", "b", "c"];

fn hop<'r>(report: &'r Report, name: &str) -> &'r HopReport {
    let found = report.hops.iter().find(|hop| hop.name == name);
    found.unwrap_or_else(|| panic!("no hop {name}"))
}

fn shed(report: &Report, name: &str, reason: &str) -> u64 {
    hop(report, name).shed.get(reason).copied().unwrap_or(0)
}

/// Each message is in one place at most, those of a key are in their order, and what is missing is counted.
fn once_and_in_order(report: &Report, seen: &[(&str, Seen)], sent: u64) {
    assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
    let mut all: Vec<u64> = Vec::new();
    for (name, seen) in seen {
        let values = seen.values.iter().map(|one| one.value);
        all.extend(values);
        let hop = hop(report, &format!("in->{name}"));
        assert_eq!(hop.delivered, seen.values.len() as u64, "{name}");
    }
    let here = all.len() as u64;
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len() as u64, here, "some are in two places");
    let gone: u64 = seen
        .iter()
        .map(|(name, _)| hop(report, &format!("in->{name}")))
        .map(|hop| hop.shed.values().sum::<u64>() + hop.discarded.values().sum::<u64>())
        .sum();
    assert_eq!(here + gone, sent);
    keys_in_order("", seen);
}

/// Those of a key were handled in the order in which they were sent, wherever they were.
fn keys_in_order(of: &str, seen: &[(&str, Seen)]) {
    let all = seen.iter().flat_map(|(_, seen)| &seen.values);
    let mut all: Vec<&Keyed> = all.collect();
    all.sort_by_key(|one| one.done);
    let mut latest = std::collections::BTreeMap::new();
    for one in all {
        let before = latest.insert(one.key, one.value);
        assert!(
            before.is_none_or(|before| before < one.value),
            "{one:?} after {before:?} {of}"
        );
    }
}

fn of<'s>(seen: &'s [(&str, Seen)], name: &str) -> &'s Seen {
    let found = seen.iter().find(|(one, _)| *one == name);
    &found.expect("a worker").1
}

#[test]
fn each_message_goes_to_one_hop_by_its_key_and_stays_in_order() {
    let (report, seen) = run(Run::default(), |line| {
        line.connect("in", WORKERS, Hop::depth(64).split(Split::ByKey));
    });
    once_and_in_order(&report, &seen, Run::MESSAGES);
    let mut keys_of: Vec<Vec<u64>> = Vec::new();
    for (name, seen) in &seen {
        assert!(seen.values.len() as u64 > Run::MESSAGES / 6, "{name}");
        let mut keys: Vec<u64> = seen.values.iter().map(|one| one.key).collect();
        keys.sort_unstable();
        keys.dedup();
        keys_of.push(keys);
    }
    let all: usize = keys_of.iter().map(Vec::len).sum();
    keys_of.concat().sort_unstable();
    let mut one = keys_of.concat();
    one.sort_unstable();
    one.dedup();
    assert_eq!(one.len(), all, "a key is on two hops");
    // Only the chosen one counts an offer.
    let offered: u64 = report
        .hops
        .iter()
        .filter(|hop| hop.name.starts_with("in->"))
        .map(|hop| hop.offered)
        .sum();
    assert_eq!(offered, Run::MESSAGES);
    let split = &report.splits[0];
    assert_eq!((split.hops.len(), split.split, split.moves), (3, "key", 0));
    assert_eq!(split.hot_keys, []);
}

#[test]
fn fragments_go_where_the_key_of_the_first_one_says() {
    let (report, seen) = run(
        Run {
            fragments: true,
            ..Run::default()
        },
        |line| {
            line.connect("in", WORKERS, Hop::depth(64).split(Split::ByKey));
        },
    );
    once_and_in_order(&report, &seen, Run::MESSAGES);
    let parts: u64 = seen.iter().map(|(_, seen)| seen.parts).sum();
    assert_eq!(parts, Run::MESSAGES / 2 * (u64::from(PARTS) - 1));
    let where_is = |key: u64| {
        seen.iter()
            .filter(|(_, seen)| seen.values.iter().any(|one| one.key == key))
            .count()
    };
    assert!((0..Run::KEYS).all(|key| where_is(key) == 1));
}

#[test]
fn any_of_balances_around_a_slow_one() {
    let slow = Run {
        services_ns: [1_000, 100_000, 1_000],
        ..Run::default()
    };
    let (report, seen) = run(slow, |line| {
        line.connect("in", WORKERS, Hop::depth(4).split(Split::AnyOf));
    });
    assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
    let count = |name| of(&seen, name).values.len() as u64;
    assert_eq!(count("a") + count("b") + count("c"), Run::MESSAGES);
    assert!(count("b") < Run::MESSAGES / 10, "{}", count("b"));
    assert!(count("a").abs_diff(count("c")) < Run::MESSAGES / 10);
    assert!(report.hops.iter().all(|hop| hop.shed.is_empty()));
}

#[test]
fn any_of_holds_back_only_where_none_has_room_and_sheds_by_the_one_whose_turn_it_is() {
    let overloaded = Run {
        services_ns: [100_000; 3],
        ..Run::default()
    };
    let (report, seen) = run(overloaded, |line| {
        line.connect("in", WORKERS, Hop::depth(4).split(Split::AnyOf));
    });
    assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
    let all: u64 = seen.iter().map(|(_, seen)| seen.values.len() as u64).sum();
    assert_eq!(all, Run::MESSAGES);

    let (report, _) = run(overloaded, |line| {
        let hop = Hop::depth(4).when_full(WhenFull::DropNewest);
        line.connect("in", WORKERS, hop.split(Split::AnyOf));
    });
    assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
    let sheds = WORKERS.map(|name| shed(&report, &format!("in->{name}"), "full"));
    assert!(sheds.iter().all(|one| *one > 0), "{sheds:?}");
    let most = sheds.iter().max().unwrap() - sheds.iter().min().unwrap();
    assert!(most <= 1 + sheds[0] / 10, "{sheds:?}");
}

#[test]
fn a_hot_key_is_found_and_moved_without_overtaking() {
    for when_full in [
        WhenFull::Block,
        WhenFull::DropNewest,
        WhenFull::DropOldest,
        WhenFull::Reject,
    ] {
        // Half of them have one key, which is more than one hop can do.
        let hot = Run {
            hot_key: Some(7),
            services_ns: [3_000, 3_000, 1_500],
            ..Run::default()
        };
        let (report, seen) = run(hot, |line| {
            let hop = Hop::depth(64).when_full(when_full);
            line.connect("in", WORKERS, hop.split(Split::ByKey).isolate());
        });
        once_and_in_order(&report, &seen, Run::MESSAGES);
        let split = &report.splits[0];
        assert_eq!(split.hot_keys.len(), 1, "{split:?}");
        let told = split.hot_keys[0];
        assert_eq!(told.key, 7);
        assert!(told.share_max > 0.45 && told.share_max < 0.55, "{told:?}");
        assert_eq!((split.moves, split.stays), (1, 0), "{when_full}");
        // The last hop serves it alone.
        let isolated = of(&seen, "c");
        assert!(isolated.values.iter().all(|one| one.key == 7));
        assert_eq!(split.isolated, hop(&report, "in->c").offered);
        assert!(split.isolated > Run::MESSAGES / 4, "{split:?}");
        let moving: u64 = WORKERS
            .iter()
            .map(|name| shed(&report, &format!("in->{name}"), "moving"))
            .sum();
        assert!(moving < Run::MESSAGES / 20, "{moving}");
        assert!(when_full != WhenFull::Block || moving == 0);
    }
}

#[test]
fn without_isolation_a_hot_key_is_told_and_stays() {
    let hot = Run {
        hot_key: Some(7),
        ..Run::default()
    };
    let (report, seen) = run(hot, |line| {
        line.connect("in", WORKERS, Hop::depth(64).split(Split::ByKey));
    });
    once_and_in_order(&report, &seen, Run::MESSAGES);
    let split = &report.splits[0];
    assert_eq!(
        (split.hot_keys[0].key, split.isolated, split.moves),
        (7, 0, 0)
    );
}

#[test]
fn a_tap_loses_what_it_cannot_do_and_the_others_nothing() {
    let slow = Run {
        services_ns: [1_000, 100_000, 1_000],
        ..Run::default()
    };
    let (report, seen) = run(slow, |line| {
        line.connect("in", WORKERS, Hop::depth(64).slow("b", Slow::Tap));
    });
    assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
    for name in ["a", "c"] {
        assert_eq!(of(&seen, name).values.len() as u64, Run::MESSAGES);
    }
    let lost = shed(&report, "in->b", "full");
    assert!(lost > Run::MESSAGES / 2);
    assert_eq!(of(&seen, "b").values.len() as u64 + lost, Run::MESSAGES);
    assert_eq!(hop(&report, "in->c").shares.as_deref(), Some("in->a"));
    assert_eq!(hop(&report, "in->b").shares, None);
}

#[test]
fn a_consumer_that_is_too_slow_for_too_long_is_cut_off_and_ends() {
    let slow = Run {
        // From its tenth message on it takes 50 ms for each.
        services_ns: [1_000, 50_000_000, 1_000],
        ..Run::default()
    };
    let policy = Policy {
        block_timeout_ns: 2_000_000,
        ..Policy::of(WhenFull::Block)
    };
    let (report, seen) = run(slow, |line| {
        let hop = Hop::depth(16).policy(policy);
        line.connect("in", WORKERS, hop.slow("b", Slow::Disconnect));
    });
    assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
    for name in ["a", "c"] {
        assert_eq!(of(&seen, name).values.len() as u64, Run::MESSAGES);
        assert!(hop(&report, &format!("in->{name}")).shed.is_empty());
    }
    let cut = hop(&report, "in->b");
    let lost = shed(&report, "in->b", "disconnected");
    assert_eq!(cut.accepted, cut.delivered, "it has read what was queued");
    assert!(cut.accepted >= 16 && cut.accepted < 64, "{}", cut.accepted);
    assert_eq!(cut.accepted + lost, Run::MESSAGES);
    assert_eq!(cut.shed.len(), 1);
    let stage = report.stages.iter().find(|stage| stage.name == "b");
    assert_eq!(stage.unwrap().state, "done");
}

#[test]
fn several_that_hang_hold_the_others_back_for_one_timeout_in_all() {
    let mut longest_us = Vec::new();
    for hang in 1..=2 {
        let mut load = Load::of((0..50_000).map(|nth| (nth * 1_000, nth % 100)));
        // From 5 ms on, and for good; the line's clock begins at a second.
        load.stalls_ns[1..=hang].fill((1_005_000_000, u64::MAX));
        let policy = Policy {
            block_timeout_ns: 5_000_000,
            ..Policy::of(WhenFull::Block)
        };
        let (report, seen) = run_load(load, |line| {
            let mut hop = Hop::depth(16).policy(policy);
            for name in &WORKERS[1..=hang] {
                hop = hop.slow(name, Slow::Disconnect);
            }
            line.connect("in", WORKERS, hop);
            line.drain_within_ns(50_000_000);
        });
        assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
        assert_eq!(of(&seen, "a").values.len(), 50_000);
        for name in &WORKERS[1..=hang] {
            assert!(shed(&report, &format!("in->{name}"), "disconnected") > 0);
        }
        longest_us.push(hop(&report, "in->a").sojourn_ns.max / 1_000);
    }
    // Both held it back at the same time.
    assert!(
        longest_us.iter().all(|one| (5_000..5_500).contains(one)),
        "{longest_us:?}"
    );
}

#[test]
fn classes_are_divided_each_by_itself() {
    let (report, seen) = run(
        Run {
            fragments: true,
            ..Run::default()
        },
        |line| {
            let hop = Hop::depth(64);
            let heads = hop.clone().class("heads", ["head"]).split(Split::ByKey);
            line.connect("in", WORKERS, heads);
            let rest = hop.class("rest", [""; 0]).split(Split::AnyOf);
            line.connect("in", WORKERS, rest);
        },
    );
    assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
    let all: u64 = seen.iter().map(|(_, seen)| seen.values.len() as u64).sum();
    assert_eq!(all, Run::MESSAGES);
    assert_eq!(report.splits.len(), 2);
    let of_class = |class: &str| {
        let hops = report.hops.iter().filter(|hop| hop.name.ends_with(class));
        hops.map(|hop| hop.delivered).sum::<u64>()
    };
    assert_eq!(of_class("#heads"), Run::MESSAGES / 2);
    assert_eq!(of_class("#rest"), Run::MESSAGES / 2);
}

#[test]
fn a_consumer_that_hangs_leaves_the_others_alone_where_it_is_tapped_or_cut_off() {
    for (slow, reason) in [(Slow::Tap, "full"), (Slow::Disconnect, "disconnected")] {
        let mut broadcast = Broadcast::with(slow);
        // It hangs all the while.
        broadcast.others_get(COUNT);
        let report = broadcast.end();
        assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
        for name in ["in->good", "in->other"] {
            let others = hop(&report, name);
            assert_eq!((others.delivered, others.shed.len()), (COUNT, 0), "{name}");
        }
        let hangs = hop(&report, "in->hangs");
        let lost = shed(&report, "in->hangs", reason);
        assert!(lost > 0);
        assert_eq!(hangs.delivered + lost, COUNT, "{hangs:?}");
    }
}

#[test]
fn a_consumer_that_hangs_and_holds_the_others_back_is_named() {
    let mut broadcast = Broadcast::with(Slow::Hold);
    let report = broadcast.blamed();
    let culprit = report.culprit().expect("it was found");
    assert_eq!(culprit.node, "hangs", "{}", culprit.why);
    // No more than what it took and what the ring has room for.
    assert!(broadcast.most() <= 100 + 256);
    let report = broadcast.end();
    assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
    assert!(report.hops.iter().all(|hop| hop.delivered == COUNT));
}

#[test]
fn a_slow_consumer_is_given_no_policy_that_its_list_could_not_have_been_built_with() {
    let waits = |block_timeout_ns| Policy {
        block_timeout_ns,
        ..Policy::of(WhenFull::Block)
    };
    let mut line = hopline::topology::Line::builder("broadcast");
    // It sends when nobody looks any more.
    let hours_ns = 1 << 43;
    line.source("in", numbers::Counting::new(2, hours_ns));
    for name in WORKERS {
        line.sink(name, numbers::Collect::default());
    }
    let hop = Hop::depth(64).policy(waits(5_000_000));
    let hop = hop.slow("b", Slow::Tap).slow("c", Slow::Disconnect);
    line.connect("in", WORKERS, hop);
    let mut running = line.build().expect("a line").start().expect("it starts");
    let told = running.set_policy("in->b", waits(0)).unwrap_err();
    let expected = "in->b: its consumer is a tap, for which nobody waits";
    assert!(told.to_string().starts_with(expected), "{told}");
    let drops = Policy::of(WhenFull::DropOldest);
    running.set_policy("in->b", drops).unwrap();
    let never = [
        drops,
        waits(0),
        Policy {
            then: WhenFull::Reject,
            ..waits(1_000_000)
        },
    ];
    for policy in never {
        let told = running.set_policy("in->c", policy).unwrap_err();
        let expected = "in->c: its consumer is cut off once";
        assert!(told.to_string().starts_with(expected), "{policy}: {told}");
    }
    running.set_policy("in->c", waits(1_000_000)).unwrap();
    // Those that hold the producer back have no such bound.
    running.set_policy("in->a", waits(0)).unwrap();
    assert!(running.end("finished").ledger.closed);

    let mut broadcast = Broadcast::with(Slow::Disconnect);
    broadcast.others_get(COUNT);
    let told = broadcast.refused_policy(waits(1_000_000));
    let expected = "in->hangs: its consumer was cut off and gets nothing more";
    assert!(told.starts_with(expected), "{told}");
    broadcast.end();
}
