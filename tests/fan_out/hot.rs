//! Keys that become hot and cool again while the line is short of room, now and then, or for long.

use hopline::base::Prng;
use hopline::overload::{Policy, Split, WhenFull};
use hopline::topology::Hop;

use crate::line::{Load, run_load};
use crate::{WORKERS, keys_in_order, once_and_in_order};

const US: u64 = 1_000;
const MS: u64 = 1_000_000;

/// A load whose rate, hot key and share of it change some dozen times, on workers of any speed.
fn changing(prng: &mut Prng) -> Load {
    let one_of = |prng: &mut Prng, among: [u64; 4]| among[prng.below(4) as usize];
    let (mut at_ns, mut gap_ns, mut hot, mut percent) = (0, 5 * US, 7, 0);
    let mut messages = Vec::new();
    while at_ns < 120 * MS {
        if prng.below(3_000) == 0 {
            gap_ns = one_of(prng, [US, 2 * US, 4 * US, 12 * US]);
        }
        if prng.below(3_000) == 0 {
            percent = one_of(prng, [0, 30, 60, 90]);
            hot = 7 + prng.below(3);
        }
        at_ns += 1 + prng.below(2 * gap_ns);
        let is_hot = prng.below(100) < percent;
        messages.push((at_ns, if is_hot { hot } else { 1_000 + prng.below(400) }));
    }
    let service_ns = |_| one_of(prng, [500, 3 * US, 8 * US, 15 * US]);
    Load {
        services_ns: [0; 3].map(service_ns),
        ..Load::of(messages)
    }
}

#[test]
fn the_messages_of_a_key_stay_in_order_under_every_policy() {
    let drops = Policy::of(WhenFull::DropNewest);
    let times_out = |then| Policy {
        block_timeout_ns: MS,
        then,
        ..Policy::of(WhenFull::Block)
    };
    for policy in [
        Policy::of(WhenFull::Conflate),
        Policy::of(WhenFull::Block),
        times_out(WhenFull::Conflate),
        times_out(WhenFull::DropNewest),
        drops,
        Policy::of(WhenFull::DropOldest),
        Policy {
            degrade_high_ns: 100 * US,
            degrade_low_ns: 50 * US,
            ..drops
        },
    ] {
        let mut moves = 0;
        for seed in 0..4 {
            let mut prng = Prng::new(seed);
            let load = changing(&mut prng);
            let depth = [8, 16, 64][prng.below(3) as usize];
            let (report, seen) = run_load(load, |line| {
                let hop = Hop::depth(depth).policy(policy);
                line.connect("in", WORKERS, hop.split(Split::ByKey).isolate());
            });
            let breaches = &report.ledger.breaches;
            assert!(report.ledger.closed, "{policy}, seed {seed}: {breaches:?}");
            keys_in_order(&format!("{policy}, seed {seed}"), &seen);
            moves += report.splits[0].moves;
        }
        assert!(moves > 0, "{policy}");
    }
}

/// Of ten messages nine have key 7, and one comes each `gap_ns`.
fn nine_of_ten(messages: u64, gap_ns: u64) -> Load {
    let key = |nth: u64| match nth % 10 {
        0 => 1_000 + nth % 100,
        _ => 7,
    };
    Load::of((0..messages).map(|nth| (nth * gap_ns, key(nth))))
}

#[test]
fn a_hot_key_is_found_at_any_rate_at_which_a_share_means_something() {
    // 24,000, 5,000 and 500 messages a second.
    for gap_us in [42, 200, 2_000] {
        let load = Load {
            services_ns: [gap_us * US; 3],
            ..nine_of_ten(4_000, gap_us * US)
        };
        let (report, seen) = run_load(load, |line| {
            let hop = Hop::depth(64).split(Split::ByKey).isolate();
            line.connect("in", WORKERS, hop);
        });
        once_and_in_order(&report, &seen, 4_000);
        let split = &report.splits[0];
        assert_eq!(split.hot_keys.len(), 1, "{gap_us} us: {split:?}");
        assert_eq!((split.hot_keys[0].key, split.moves), (7, 1), "{split:?}");
        assert!(split.isolated > 2_000, "{split:?}");
    }
}

#[test]
fn a_hot_key_whose_old_consumer_was_stuck_moves_once_that_goes_on() {
    for when_full in [WhenFull::Block, WhenFull::DropNewest] {
        let mut load = nine_of_ten(120_000, 25 * US);
        load.services_ns = [US; 3];
        // From the start, for longer than a move may take; the line's clock begins at a second.
        load.stalls_ns[..2].fill((0, 1_200 * MS));
        let (report, seen) = run_load(load, |line| {
            let hop = Hop::depth(1_024).when_full(when_full);
            line.connect("in", WORKERS, hop.split(Split::ByKey).isolate());
        });
        once_and_in_order(&report, &seen, 120_000);
        let split = &report.splits[0];
        assert_eq!((split.moves, split.stays), (1, 1), "{when_full}: {split:?}");
        assert!(split.isolated > 60_000, "{split:?}");
    }
}

#[test]
fn a_move_that_failed_is_tried_again_where_the_old_consumer_never_rests() {
    let mut load = nine_of_ten(120_000, 25 * US);
    // Slower than its messages come, so that its ring is never empty, and stuck for longer than the first try may take.
    load.services_ns = [30 * US, 30 * US, US];
    load.stalls_ns[..2].fill((0, 1_200 * MS));
    let (report, seen) = run_load(load, |line| {
        let hop = Hop::depth(1_024).when_full(WhenFull::DropNewest);
        line.connect("in", WORKERS, hop.split(Split::ByKey).isolate());
    });
    once_and_in_order(&report, &seen, 120_000);
    let split = &report.splits[0];
    assert_eq!((split.moves, split.stays), (1, 1), "{split:?}");
}

#[test]
fn a_key_that_moves_holds_the_producer_back_for_no_longer_than_its_hop_may() {
    let policy = Policy {
        block_timeout_ns: 2 * MS,
        ..Policy::of(WhenFull::Block)
    };
    let run = |stuck: Option<usize>| {
        // Of ten messages nine have key 7, and the others keys of both hops.
        let key = |nth: u64| match nth % 10 {
            0 => 1_000 + nth / 10 % 100,
            _ => 7,
        };
        let mut load = Load::of((0..4_000).map(|nth| (nth * 25 * US, key(nth))));
        load.services_ns = [20 * US; 3];
        if let Some(at) = stuck {
            // From the start until its ring is full; then it takes 20 ms and more to be done with what is on it.
            load.stalls_ns[at] = (0, 1_040 * MS);
        }
        let (report, seen) = run_load(load, |line| {
            let hop = Hop::depth(1_024).policy(policy);
            line.connect("in", WORKERS, hop.split(Split::ByKey).isolate());
        });
        once_and_in_order(&report, &seen, 4_000);
        report
    };
    let offered =
        |report: &hopline::topology::Report| [0, 1].map(|at: usize| report.hops[at].offered);
    let [first, second] = offered(&run(None));
    let home = usize::from(second > first);
    let report = run(Some(home));
    let hop = &report.hops[home];
    assert!(hop.shed["block_timeout"] > 0, "{hop:?}");
    assert_eq!(report.splits[0].stays, 1);
    // Those of the other keys waited while it held the producer back.
    let longest_ns = report.hops[1 - home].sojourn_ns.max;
    assert!((MS..3 * MS).contains(&longest_ns), "{longest_ns}");
}
