//! Keys that become hot and cool again while the line is short of room, now and then, or for long.

use hopline::base::Prng;
use hopline::overload::{Policy, Split, WhenFull};
use hopline::topology::Hop;

use crate::line::{Load, run_load};
use crate::{WORKERS, keys_in_order};

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
