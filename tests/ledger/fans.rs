//! Lists of consumers of which each message goes to one, or of which some may be slow.
//!
//! Invariant: the hops of a list differ in their consumers only, and in what happens where one of those is slow.

use hopline::base::Prng;
use hopline::overload::{Policy, Slow, Split, WhenFull};

use crate::plan::{NodePlan, Plan, RingPlan};

/// A ring as one of a list.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Fan {
    /// Which list: a number of its own.
    list: usize,
    /// How each message gets to one of them, if it goes to one only.
    split: Option<Split>,
    /// What happens where its consumer is slow.
    slow: Slow,
}

impl Plan {
    /// The rings of the list that a ring is one of, by their places.
    pub(crate) fn list_of(&self, at: usize) -> Vec<usize> {
        let Some(fan) = self.rings[at].fan else {
            return vec![at];
        };
        let same = |other: &usize| {
            let other = self.rings[*other].fan;
            other.is_some_and(|other| other.list == fan.list)
        };
        (0..self.rings.len()).filter(same).collect()
    }

    /// How its messages are divided, where several are left to divide them among.
    pub(crate) fn split_of(&self, at: usize) -> Option<Split> {
        let fan = self.rings[at].fan?;
        fan.split.filter(|_| self.list_of(at).len() > 1)
    }

    /// What happens where its consumer is slower than others.
    pub(crate) fn slow_of(&self, at: usize) -> Slow {
        let fan = self.rings[at].fan;
        let fan = fan.filter(|_| self.list_of(at).len() > 1);
        fan.map_or(Slow::Hold, |fan| fan.slow)
    }

    /// The policy that a list is given, of which each of its rings has its own.
    pub(crate) fn policy_of(&self, list: &[usize]) -> Policy {
        let rank = |at: &&usize| match self.slow_of(**at) {
            Slow::Disconnect => 0,
            Slow::Hold => 1,
            Slow::Tap => 2,
        };
        let first = list.iter().min_by_key(rank);
        self.rings[*first.expect("a list has some")].policy
    }
}

/// Divides the messages of some rings with several consumers, and gives others some that may be slow.
pub(crate) fn draw(prng: &mut Prng, nodes: &[NodePlan], rings: Vec<RingPlan>) -> Vec<RingPlan> {
    let mut all = Vec::new();
    // Few lines come to the upper rungs of a ladder, so those that have one stay as they are.
    let degrades = rings.iter().any(|ring| ring.policy.degrade_high_ns > 0);
    for (list, ring) in rings.into_iter().enumerate() {
        let overflows = ring.overflow_to.is_some() || ring.into_file;
        let may = ring.to.len() > 1 && !overflows && !degrades;
        match prng.below(3) {
            0 if may => all.extend(divided(prng, list, &ring)),
            1 if may => all.extend(with_slow(prng, list, &ring, nodes[ring.from].max_emit())),
            _ => all.push(ring),
        }
    }
    all
}

fn one(ring: &RingPlan, to: Vec<usize>, policy: Policy, fan: Fan) -> RingPlan {
    let there = |(node, others): &(usize, Vec<usize>)| {
        to.contains(node) && others.iter().all(|other| to.contains(other))
    };
    RingPlan {
        after: ring
            .after
            .iter()
            .filter(|one| there(one))
            .cloned()
            .collect(),
        to,
        policy,
        fan: Some(fan),
        ..ring.clone()
    }
}

fn divided(prng: &mut Prng, list: usize, ring: &RingPlan) -> Vec<RingPlan> {
    let split = match prng.below(2) {
        0 if !ring.policy.conflates() => Split::AnyOf,
        _ => Split::ByKey,
    };
    let fan = Fan {
        list,
        split: Some(split),
        slow: Slow::Hold,
    };
    let to = ring.to.iter();
    to.map(|to| one(ring, vec![*to], ring.policy, fan))
        .collect()
}

/// The first of its consumers shares what is left of the ring with those that are not slow.
fn with_slow(prng: &mut Prng, list: usize, ring: &RingPlan, emit_max: usize) -> Vec<RingPlan> {
    let mut slow = vec![Slow::Hold];
    slow.resize_with(ring.to.len(), || Slow::ALL[prng.below(3) as usize]);
    let (mut given, mut ring) = (ring.policy, ring.clone());
    if slow.contains(&Slow::Disconnect) {
        given.when_full = WhenFull::Block;
        given.block_timeout_ns = [1, 2_000, 200_000][prng.below(3) as usize];
        given.then = WhenFull::DropNewest;
        ring.depth = ring.depth.max(emit_max.next_power_of_two());
    }
    let of = |slow| {
        let mut policy = given;
        match slow {
            Slow::Disconnect => {}
            Slow::Hold => policy.block_timeout_ns = 0,
            Slow::Tap => {
                policy.when_full = WhenFull::DropNewest;
                policy.block_timeout_ns = 0;
                (policy.high, policy.low) = (0, 0);
            }
        }
        policy
    };
    // Without one that is cut off, the time is for those that share.
    let shared = match slow.contains(&Slow::Disconnect) {
        true => of(Slow::Hold),
        false => given,
    };
    let fan = |slow| Fan {
        list,
        split: None,
        slow,
    };
    let consumers = || ring.to.iter().copied().zip(slow.iter().copied());
    let holds = consumers().filter(|(_, slow)| *slow == Slow::Hold);
    let holds = holds.map(|(to, _)| to).collect();
    let mut all = vec![one(&ring, holds, shared, fan(Slow::Hold))];
    for (to, slow) in consumers().filter(|(_, slow)| *slow != Slow::Hold) {
        all.push(one(&ring, vec![to], of(slow), fan(slow)));
    }
    all
}
