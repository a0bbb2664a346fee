//! The policies that the hops of the random lines are given, and what is to be held against the ledger of a hop with each.
//!
//! Invariant: every policy that is drawn is one that a hop may have, and gives no reasons but those that its rules name.

use hopline::base::{Prng, Shed};
use hopline::overload::{Policy, Slow, WhenFull};

/// What a hop's policy allows, and what of it can be foretold.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) no_room: NoRoom,
    /// All reasons that the policy knows, beside those of every policy: oversize and closed.
    pub(crate) sheds: Vec<Shed>,
    /// Reasons for which what was accepted is discarded by the policy itself.
    pub(crate) discards: Vec<&'static str>,
    /// Whether messages with a key may wait for room, so that others pass them.
    pub(crate) waits: bool,
}

/// What becomes of a message that finds no room.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum NoRoom {
    /// There is none: room was secured before, and what finds none is a fault of the library.
    Never,
    /// It is shed, for this reason.
    Sheds(Shed),
    /// That takes more than what is queued and what comes, so that only the sums are held against the ledger.
    Unforetold,
}

/// Each soft limit is drawn for one hop in so many, so that several come together now and then.
const SOFT_ONE_IN: u64 = 5;

fn one_of<T: Copy>(prng: &mut Prng, all: &[T]) -> T {
    all[prng.below(all.len() as u64) as usize]
}

/// A policy with its settings; `spills` says whether there is a hop for what overflows.
pub(crate) fn draw(prng: &mut Prng, spills: bool) -> Policy {
    let mut hard = vec![
        WhenFull::Block,
        WhenFull::Block,
        WhenFull::Block,
        WhenFull::Reject,
        WhenFull::DropNewest,
        WhenFull::DropNewest,
        WhenFull::DropOldest,
        WhenFull::Conflate,
    ];
    if spills {
        hard.extend([WhenFull::Overflow; 8]);
    }
    let mut policy = Policy::of(one_of(prng, &hard));
    let is_block = policy.when_full == WhenFull::Block;
    if is_block && prng.below(4) == 0 {
        policy.block_timeout_ns = one_of(prng, &[1, 2_000, 200_000, 2_000_000]);
        let mut then = vec![WhenFull::DropNewest, WhenFull::Reject, WhenFull::Conflate];
        if spills {
            then.push(WhenFull::Overflow);
        }
        policy.then = one_of(prng, &then);
    }
    // Half of the hops have no soft limit, so that what is on their rings is foretold.
    if prng.below(2) == 0 {
        return policy;
    }
    let mut soft = || prng.below(SOFT_ONE_IN) == 0;
    let has = [soft(), soft(), soft(), soft(), soft(), soft()];
    if has[0] {
        policy.deadline_ns = one_of(prng, &[1_000, 30_000, 500_000, 5_000_000]);
    }
    if has[1] {
        policy.codel_target_ns = one_of(prng, &[1_000, 5_000, 50_000]);
        policy.codel_interval_ns = policy.codel_target_ns * one_of(prng, &[2, 10]);
    }
    if has[2] {
        policy.sample = 2 + prng.below(4) as u32;
        policy.sample_above = one_of(prng, &[0, 25, 50, 90]);
    }
    if has[3] {
        policy.rate_per_s = one_of(prng, &[1_000, 50_000, 2_000_000]);
        policy.burst = 1 + prng.below(8) as u32;
    }
    if has[4] && is_block {
        policy.high = one_of(prng, &[20, 50, 100]);
        policy.low = one_of(prng, &[0, 10]);
    }
    if has[5] {
        policy.degrade_high_ns = one_of(prng, &[1_000, 1_000, 20_000, 200_000]);
        policy.degrade_low_ns = one_of(prng, &[1, policy.degrade_high_ns / 2]);
        policy.protected = prng.below(3) == 0;
    }
    policy
}

/// What is to be held against the ledger of a hop with this policy, whose consumer may be slow.
pub(crate) fn rules(policy: &Policy, slow: Slow) -> Rules {
    let mut rules = Rules {
        no_room: NoRoom::Unforetold,
        sheds: Vec::new(),
        discards: Vec::new(),
        waits: policy.conflates(),
    };
    let of_full = |when_full, expired| match when_full {
        WhenFull::Block => None,
        WhenFull::Reject => Some(Shed::Rejected),
        WhenFull::Overflow => Some(Shed::Overflowed),
        WhenFull::DropNewest if expired && slow == Slow::Disconnect => Some(Shed::Disconnected),
        WhenFull::DropNewest if expired => Some(Shed::BlockTimeout),
        WhenFull::DropNewest | WhenFull::DropOldest | WhenFull::Conflate => Some(Shed::Full),
    };
    rules.sheds.extend(of_full(policy.when_full, false));
    let is_judged = policy.is_judged_at_offer() || policy.is_judged_at_take();
    if !is_judged {
        rules.no_room = rules
            .sheds
            .first()
            .map_or(NoRoom::Never, |why| NoRoom::Sheds(*why));
        return rules;
    }
    // What a policy looks at comes before what concerns every hop.
    rules.sheds.extend([Shed::Closed, Shed::Oversize]);
    if policy.when_full == WhenFull::DropOldest {
        rules.discards.push("oldest");
    }
    if policy.block_timeout_ns > 0 {
        rules.sheds.extend(of_full(policy.then, true));
    }
    if policy.deadline_ns > 0 {
        rules.sheds.push(Shed::Hopeless);
    }
    // A message may have a deadline from a hop before, which only those hops heed that have one themselves.
    if policy.deadline_ns > 0 {
        rules.discards.push("late");
    }
    if policy.codel_target_ns > 0 {
        rules.discards.push("stale");
    }
    if policy.sample > 1 {
        rules.sheds.push(Shed::Sampled);
    }
    if policy.rate_per_s > 0 {
        rules.sheds.push(Shed::RateLimited);
    }
    if policy.degrade_high_ns > 0 {
        rules.sheds.push(Shed::Refused);
        if !policy.protected {
            rules.waits = true;
            rules.sheds.extend([Shed::Degraded, Shed::Sampled]);
        }
    }
    if rules.waits {
        // The table may be full where the ring is not.
        rules.sheds.extend([Shed::Conflated, Shed::Full]);
    }
    rules
}
